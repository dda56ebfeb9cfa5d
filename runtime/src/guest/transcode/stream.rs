//! Streams and futures between guests and the host, for item types that are known at run time only.
//!
//! ```text
//!   guest ── stream<T> ──▶ consumer ──▶ Slot ──▶ Drain     chunks of items in postcard, for the host to send on
//!   guest ◀── stream<T> ── producer ◀── Slot ◀── Feed      chunks of items that were checked
//! ```
//!
//! Where a stream stands in a value, its bytes are the number of its channel: 0, 1, … in the order of the value. The
//! streams themselves come and go beside the bytes: [`FromGuest`], [`ToGuest`]. A future is a stream of one item.
//!
//! # Invariants
//! * A slot holds one chunk at most ([`Flow::chunk`](daffi_proto::stream::Flow)), or one item that is larger and has its
//!   [`Room`]; the guest's write ends when its items are in the slot, and waits while they do not fit. So the memory of a
//!   stream is bounded on either side, that of a module's streams too, and a slow reader slows the writer.
//! * Items keep their order; a batch of them is lifted or lowered at once, in one poll.
//! * Whoever ends tells: a guest that drops its end, an instance that ends ([`Life`]), a [`Drain`] or [`Feed`] that is
//!   dropped. An instance's end is never taken for the end of a stream.
//! * What comes from other machines is checked (`value::check_items`) before it is fed: what does not fit ends the
//!   instance.
//!
//! What has no item type (`stream`, `future`) is refused, and so is a stream of streams: [`super::shape`] does.
//!
//! | module | holds |
//! |---|---|
//! | `slot` | where items wait between a guest and the host |
//! | `life` | [`Life`]: whether an instance still lives |
//! | `drain` | [`Drain`], and the consumers that fill it |
//! | `feed` | [`Feed`], and the producers that empty it |
//! | `ends` | a guest's ends of streams, in and out of its table of handles |
//! | `batch` | items that are lifted at once |
//! | `room` | [`ItemRoom`]: what large items a module may have on their way, and a tenant's [`ItemBudget`] |
//! | `item` | the item type that wasmtime sees; `unsafe` |

mod batch;
mod drain;
mod ends;
mod feed;
mod item;
mod life;
mod room;
mod slot;

use bytes::Bytes;
use daffi_proto::error::CallError;

pub use self::drain::Drain;
pub(super) use self::ends::{Inflows, LiftedParts, Reader, lower_channel};
pub use self::feed::{Feed, Inflow, feed};
pub use self::life::{Life, Witness};
pub use self::room::{ItemBudget, ItemRoom, Room, StreamRoom};
pub use self::slot::ReaderGone;

/// A value that a guest gave: arguments of an import, or the result of an export.
#[derive(Debug)]
pub struct FromGuest {
    /// In postcard.
    pub bytes: Bytes,
    /// The streams and futures in it, by the number of their channel.
    pub drains: Vec<Drain>,
}

/// A value that a guest gets: arguments of an export, or the result of an import.
#[derive(Debug)]
pub struct ToGuest {
    /// In postcard.
    pub bytes: Bytes,
    /// The streams and futures in it, by the number of their channel.
    pub inflows: Vec<Inflow>,
}

impl From<Bytes> for ToGuest {
    /// A value without streams.
    fn from(bytes: Bytes) -> Self {
        Self { bytes, inflows: Vec::new() }
    }
}

/// What holds for the streams that come out of a guest.
#[derive(Clone, Debug)]
pub struct Terms {
    /// Tells an instance's end from the end of a stream: a witness of the [`Life`] in the data of the guest's store.
    pub witness: Witness,
    /// Most bytes of one item.
    pub max_item_bytes: usize,
    /// For items that are larger than a chunk.
    pub room: ItemRoom,
}

/// What becomes of a guest that reads a stream or future which has failed: its type has no place for an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFailure {
    /// The reading guest traps with the message: it shall not take a part for the whole.
    Trap,
    /// A stream ends as if it were finished; a future never has its value. For guests whose result nobody waits for
    /// any more.
    End,
}

/// A stream ended before its end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StreamFailure {
    /// Whoever wrote it failed, or is gone.
    #[error("{0}")]
    Broken(Box<CallError>),
    /// The guest wrote an item over the payload limit.
    #[error(
        "the guest wrote an item of more than {limit_bytes} bytes to a stream; send less at once, or raise the payload \
         limit"
    )]
    ItemTooLarge {
        /// The limit.
        limit_bytes: usize,
    },
}

impl StreamFailure {
    /// One of this kind, in these words.
    fn broken(code: &str, message: &str) -> Self {
        Self::Broken(Box::new(CallError::failed(code, message, "")))
    }
}
