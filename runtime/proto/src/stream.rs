//! One stream between two nodes, with backpressure by credit: the states of its two ends, without I/O.
//!
//! ```text
//!   writer's node: Outlet                                     reader's node: Inlet
//!                          ◀───────────────────────── Grant   as much as the window, in all since the start
//!   push ────────── Items, Items ────────────────────▶ take   in order
//!                   Want ────────────────────────────▶        of an item that is larger than half of the window
//!                          ◀───────────────────────── Grant   when there is room for it
//!                          ◀───────────────────────── Grant   when half of the window was taken, or anything after 1 s
//!   finish or fail ─── End ──────────────────────────▶        behind the items
//!                          ◀────────────────────────── Done   everything was taken: both know the ending
//!
//!                          ◀──────────────────────── Cancel   at any time; what is on the way is dropped
//!                      End (Stopped) ────────────────▶        unless an End is on the way already
//! ```
//!
//! A future is a stream of exactly one item ([`Flow::One`]). Items go in chunks: `count` values in postcard, one after
//! another. What they are, and whether they are that (`value::check_items`), is not known here.
//!
//! # Invariants
//! * The writer never has more on the way, and the reader never more to take, than the reader's window and what the reader
//!   has allowed beyond it: an item that is larger than half of the window is asked for where it does not fit, and goes
//!   when the reader's side has room.
//! * A chunk is never more than half of the window, and half of the window is granted anew as soon as it was taken, so
//!   that neither end ever waits for the other's wait. A reader's window is at least the one of [`Flow::window`].
//! * Either end says one last word (`End`; `Done` or `Cancel`) and nothing after it. A stream is forgotten when both
//!   have been said and heard, so that a message for a stream that is not known is a fault of the peer, and no race.
//! * Each end learns exactly one [`Ending`], and both the same one unless the link breaks: the writer's counts when the
//!   reader confirms it.
//!
//! | module | holds |
//! |---|---|
//! | `outlet` | [`Outlet`]: the writer's end |
//! | `inlet` | [`Inlet`]: the reader's end |
//! | `channels` | [`Channels`]: the streams of one call |
//!
//! It has no timers: who drives it knows when there was progress, and ends what stands still for [`IDLE`].

mod channels;
mod inlet;
mod outlet;

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use self::channels::{Channels, Message};
pub use self::inlet::Inlet;
pub use self::outlet::{NotTaken, Outlet};
use crate::error::{CallError, code};
use crate::id::{ServeId, Token};
use crate::signature::Type;
use crate::value::Channel;

/// Most items that are on the way or wait at the reader, where items are not single bytes.
pub const WINDOW_ITEMS: u32 = 1024;

/// Most bytes that are on the way or wait at the reader, where items are not single bytes.
pub const WINDOW_BYTES: u32 = 256 * 1024;

/// The same of a stream of single bytes.
pub const WINDOW_OF_BYTES: u32 = 3 * CHUNK_OF_BYTES;

/// Most items in a chunk, where items are not single bytes.
pub const CHUNK_ITEMS: u32 = WINDOW_ITEMS / 4;

/// Most bytes in a chunk, unless it is a single item, where items are not single bytes.
pub const CHUNK_BYTES: u32 = WINDOW_BYTES / 4;

/// Most bytes in a chunk of a stream of single bytes, most of whose time goes into handing chunks on: with chunks of two thirds
/// of the size it takes a fifth more of it. One goes into a unix socket at once, which has room for 208 KiB (Linux's
/// `wmem_default`).
pub const CHUNK_OF_BYTES: u32 = 192 * 1024;

/// How long a stream may stand still, unless its call says otherwise.
pub const IDLE: Duration = crate::call::DEFAULT_TIMEOUT;

/// How soon a reader that takes less than half of the window grants what he took: so that a writer sees that he lives.
pub const GRANT_AFTER: Duration = Duration::from_secs(1);

/// How the items of a stream are counted. It follows from the type; the writer's side says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Flow {
    /// 0: a `stream<u8>`: many small items, whose number is that of their bytes.
    Bytes,
    /// 1: a stream of anything else.
    Items,
    /// 2: a future: one item.
    One,
}

/// The streams and futures of a value, by the number of their channel. Mostly there are none, and then nothing is shared:
/// all empty `Arc<[T]>`s count their owners in one place, for which threads would contend with each call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flows(Option<Arc<[Flow]>>);

impl Deref for Flows {
    type Target = [Flow];

    fn deref(&self) -> &[Flow] {
        self.0.as_deref().unwrap_or_default()
    }
}

impl<T: AsRef<[Flow]>> From<T> for Flows {
    fn from(flows: T) -> Self {
        let flows = flows.as_ref();
        Self((!flows.is_empty()).then(|| flows.into()))
    }
}

impl FromIterator<Flow> for Flows {
    fn from_iter<I: IntoIterator<Item = Flow>>(flows: I) -> Self {
        let mut flows = flows.into_iter().peekable();
        Self(flows.peek().is_some().then(|| flows.collect()))
    }
}

impl Serialize for Flows {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (**self).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Flows {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::<Flow>::deserialize(deserializer).map(Self::from)
    }
}

impl Flow {
    /// That of a stream or future in a value.
    pub fn of(channel: &Channel) -> Self {
        match channel {
            Channel::Stream(Some(Type::U8)) => Self::Bytes,
            Channel::Stream(_) => Self::Items,
            Channel::Future(_) => Self::One,
        }
    }

    /// How much the reader lets come before it takes anything.
    pub const fn window(self) -> Credit {
        match self {
            Self::Bytes => Credit::of(WINDOW_OF_BYTES, WINDOW_OF_BYTES),
            Self::Items => Credit::of(WINDOW_ITEMS, WINDOW_BYTES),
            Self::One => Credit::of(1, WINDOW_BYTES),
        }
    }

    /// What has no more bytes always finds enough of the window free, sooner or later; larger items may have to be asked for.
    /// No chunk of several items is larger, and none of single bytes.
    const fn small_bytes(self) -> u64 {
        match self {
            Self::Bytes => u64::MAX,
            Self::Items | Self::One => self.window().bytes / 2,
        }
    }

    /// Most items and most bytes of a chunk; a single item may have more bytes.
    pub const fn chunk(self) -> Credit {
        match self {
            Self::Bytes => Credit::of(CHUNK_OF_BYTES, CHUNK_OF_BYTES),
            Self::Items => Credit::of(CHUNK_ITEMS, CHUNK_BYTES),
            Self::One => Credit::of(1, CHUNK_BYTES),
        }
    }
}

/// An amount of items and bytes; what is granted, sent and taken is counted from the stream's start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Credit {
    /// Items.
    pub items: u64,
    /// Bytes of items.
    pub bytes: u64,
}

impl Credit {
    const fn of(items: u32, bytes: u32) -> Self {
        Self { items: items as u64, bytes: bytes as u64 }
    }

    fn plus(self, other: Self) -> Self {
        Self { items: self.items.saturating_add(other.items), bytes: self.bytes.saturating_add(other.bytes) }
    }

    /// What is left; nothing where more was used than was there.
    fn less(self, used: Self) -> Self {
        Self { items: self.items.saturating_sub(used.items), bytes: self.bytes.saturating_sub(used.bytes) }
    }

    /// Whether a chunk may be sent while so much is left.
    fn admits(self, chunk: &Chunk) -> bool {
        let Self { items, bytes } = chunk.size();
        items <= self.items && bytes <= self.bytes
    }
}

/// Items on their way: `count` values in postcard, one after another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// How many; never none.
    pub count: u32,
    /// Their bytes; every value has at least one.
    pub bytes: Bytes,
}

impl Chunk {
    fn size(&self) -> Credit {
        Credit { items: u64::from(self.count), bytes: self.bytes.len() as u64 }
    }

    /// Whether it is one that this flow has, whatever its values are.
    ///
    /// # Errors
    /// [`BadStream::BadChunk`], [`BadStream::ItemTooLarge`].
    fn check(&self, flow: Flow, max_item_bytes: usize) -> Result<(), BadStream> {
        let (size, most, bytes) = (self.size(), flow.chunk(), self.bytes.len());
        let is_possible = match flow {
            Flow::Bytes => size.items == size.bytes,
            Flow::Items | Flow::One => size.items <= size.bytes,
        };
        if size.items == 0 || !is_possible || size.items > most.items || (size.items > 1 && size.bytes > most.bytes) {
            return Err(BadStream::BadChunk { count: self.count, bytes });
        }
        if bytes > max_item_bytes && size.items == 1 {
            return Err(BadStream::ItemTooLarge { bytes, limit: max_item_bytes });
        }
        Ok(())
    }
}

/// Most bytes of a chunk of so many items, where a value may have `limit` of them. Several go together however low that is:
/// every link takes the largest chunk.
pub(crate) fn most_chunk_bytes(count: u32, limit: u64) -> u64 {
    if count <= 1 { limit } else { limit.max(CHUNK_OF_BYTES.into()) }
}

const _: () = assert!(CHUNK_OF_BYTES as usize <= crate::frame::MIN_PAYLOAD_LIMIT_BYTES);

/// What the writer's end sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Push {
    /// The next items.
    Items(Chunk),
    /// So many bytes has the item that comes next and waits for credit.
    Want(u64),
    /// Its last word.
    End(End),
}

/// The last word of the writer's end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// These were all items.
    Finished,
    /// There would have been more.
    Failed(Box<CallError>),
    /// The reader's [`Pull::Cancel`] has arrived.
    Stopped,
}

/// What the reader's end sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pull {
    /// How much the writer may send in all, since the stream's start.
    Grant(Credit),
    /// Its last word: everything was taken, and the end was seen.
    Done,
    /// Its last word: it takes no more, for this reason where it is not the reader's own wish.
    Cancel(Option<Box<CallError>>),
}

impl Push {
    /// What it is, for errors.
    fn what(&self) -> &'static str {
        match self {
            Self::Items(_) => "items",
            Self::Want(_) => "a wish",
            Self::End(End::Finished) => "the end",
            Self::End(End::Failed(_)) => "a failure",
            Self::End(End::Stopped) => "a stop",
        }
    }
}

impl Pull {
    /// What it is, for errors.
    fn what(&self) -> &'static str {
        match self {
            Self::Grant(_) => "a grant",
            Self::Done => "a confirmation",
            Self::Cancel(_) => "a cancellation",
        }
    }
}

/// A call as the user of a node names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StreamCall {
    /// One that was made here; until its streams have ended, its token is in use.
    Made(Token),
    /// One that is served here.
    Served(ServeId),
}

/// One end of a stream as the user of a node names it. What it is, a writing or a reading end, is said by what is done
/// with it: those of a call are numbered apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId {
    /// Its call.
    pub call: StreamCall,
    /// The number of its channel.
    pub number: u32,
}

/// What a stream came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// All items arrived.
    Finished,
    /// The writer failed in between.
    Failed(Box<CallError>),
    /// The reader wanted no more, or could take no more for this reason.
    Cancelled(Option<Box<CallError>>),
    /// The link broke: it is not known how much arrived.
    Lost,
}

impl Ending {
    /// What to tell of a stream that has not come to its end; none where it has.
    pub fn error(&self) -> Option<CallError> {
        match self {
            Self::Finished => None,
            Self::Failed(error) | Self::Cancelled(Some(error)) => Some(error.as_ref().clone()),
            Self::Cancelled(None) => {
                Some(CallError::failed(code::CANCELLED, "the reader of the stream wants no more of it", ""))
            }
            Self::Lost => {
                let message = "the link broke in the middle of a stream; it is not known how much of it arrived";
                Some(CallError::unknown(code::LINK_LOST, message, ""))
            }
        }
    }
}

/// The peer did what it must not; its link is to be closed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadStream {
    /// Not a stream of this call, or not any more.
    #[error("{what} for the stream {number}, which the call does not have")]
    Unknown {
        /// What came.
        what: &'static str,
        /// The stream's number.
        number: u32,
    },
    /// No items, more than a chunk has, or more than its bytes can hold.
    #[error("a chunk of {count} items in {bytes} bytes")]
    BadChunk {
        /// How many items.
        count: u32,
        /// In how many bytes.
        bytes: usize,
    },
    /// An item over the payload limit.
    #[error("an item of {bytes} bytes, the limit is {limit}")]
    ItemTooLarge {
        /// How large.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// More than was granted.
    #[error(
        "{count} items of {bytes} bytes where {} items and {} bytes were left of what was granted",
        left.items, left.bytes
    )]
    OverCredit {
        /// How many items.
        count: u32,
        /// Of how many bytes.
        bytes: usize,
        /// How much was left.
        left: Credit,
    },
    /// It asked for what needs no asking, or for two things.
    #[error("a wish for {bytes} bytes, which needs none or is one too many")]
    BadWish {
        /// For how many bytes.
        bytes: u64,
    },
    /// Less than it asked for and was allowed to send next.
    #[error("an item of {bytes} bytes where one of {wished} was asked for")]
    NotTheWish {
        /// How many.
        bytes: usize,
        /// How many were to come.
        wished: u64,
    },
    /// Something after the last word.
    #[error("{what} after the end of the stream")]
    AfterEnd {
        /// What came.
        what: &'static str,
    },
    /// The end of a future that has no value.
    #[error("a future ended without its value")]
    NoValue,
    /// The answer to a cancellation that was not sent.
    #[error("the writer stopped without being told to")]
    Unasked,
    /// The confirmation of an end that was not sent.
    #[error("the reader was done before the stream ended")]
    DoneTooEarly,
    /// Less credit than before.
    #[error("credit was taken back")]
    LessCredit,
}
