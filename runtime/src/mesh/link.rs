//! A link as the drivers see it: frames go out, frames come in.
//!
//! Invariants: frames arrive whole, and in order but for those that may pass a large one
//! ([`Header::may_pass`](daffi_proto::frame::Header::may_pass)), or the link ends with a reason; what waits to be sent is bounded
//! ([`LinkLimits`]), and so is how long it may wait. The end of a link is its source's alone: one to which nothing can be written any more ends when all
//! that the peer said before has been received. There are two kinds: a pipe in memory ([`super::pipe`]), and a socket (the `net` modules), which
//! this module does not know.

use std::future;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use daffi_proto::frame::{DEFAULT_MAX_PAYLOAD_BYTES, Frame, FrameError, Header};
use futures::future::BoxFuture;

/// What a waiting frame counts at least against the limits.
pub const FRAME_COST_BYTES: usize = 128;

/// While more bytes than these wait, a node lets its streams wait: a small frame finds no more before it than this and
/// a chunk (of 192 KiB at most), and two parts of a large frame where there is one.
pub const STREAMS_WAIT_ABOVE_BYTES: usize = daffi_proto::stream::CHUNK_BYTES as usize;

/// Up to so many bytes of payload a frame is small, and finds room that larger ones leave to it: whoever asks for much takes
/// no answers from those who ask for little.
const SMALL_BYTES: usize = 1 << 10;

/// The same, for what is neither small nor large.
const MEDIUM_BYTES: usize = daffi_proto::stream::CHUNK_OF_BYTES as usize;

/// The bounds of a link.
#[derive(Clone, Copy, Debug)]
pub struct LinkLimits {
    /// Most bytes of a payload that is received.
    pub max_payload_bytes: usize,
    /// Whoever receives passes payloads on at once: none is copied, each keeps what was read with it in memory.
    pub passes_on: bool,
    /// Above this many waiting bytes calls, results and all that streams say are given back: their calls fail as
    /// `overloaded`. Small ones ([`LinkLimits::admits`]) have up to twice the room.
    pub refuse_above_bytes: usize,
    /// Above this many waiting bytes everything is given back, which ends the link: the peer does not read.
    pub close_above_bytes: usize,
    /// How long a peer may take nothing of what waits for it, which ends the link: it does not read, whatever it says.
    pub stall_timeout: Duration,
    /// How long a link that is closed may take to send what still waits.
    pub close_timeout: Duration,
    /// How long a peer to whom nothing can be written any more may take to end what he says.
    pub last_words_timeout: Duration,
}

/// How long a peer may take nothing of what waits for it, unless said otherwise: somewhat longer than it may be silent.
pub const STALL_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a link that is closed may take to send what still waits, unless said otherwise.
pub const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a peer to whom nothing can be written any more may take to end what he says, unless said otherwise. Mostly
/// all of it has arrived by then.
pub const LAST_WORDS_TIMEOUT: Duration = Duration::from_secs(1);

impl LinkLimits {
    /// The bounds that go with a limit of payloads: some payloads of full size fit in.
    pub fn for_payload(max_payload_bytes: usize) -> Self {
        let refuse_above_bytes = max_payload_bytes.saturating_mul(8).max(8 * 1024 * 1024);
        let close_above_bytes = refuse_above_bytes.saturating_mul(4);
        Self {
            max_payload_bytes,
            passes_on: false,
            refuse_above_bytes,
            close_above_bytes,
            stall_timeout: STALL_TIMEOUT,
            close_timeout: CLOSE_TIMEOUT,
            last_words_timeout: LAST_WORDS_TIMEOUT,
        }
    }

    /// Whether a frame is to be sent, with so much waiting already. What may be refused has the more room the smaller
    /// it is: half as much again for payloads of up to 192 KiB, as chunks of streams are, twice as much for those of up to
    /// 1 KiB.
    pub fn admits(&self, frame: &Frame, waiting_bytes: usize) -> bool {
        let most_bytes = match (frame.header.may_be_refused(), frame.payload.len()) {
            (false, _) => self.close_above_bytes,
            (true, ..=SMALL_BYTES) => self.refuse_above_bytes.saturating_mul(2),
            (true, ..=MEDIUM_BYTES) => self.refuse_above_bytes.saturating_add(self.refuse_above_bytes / 2),
            (true, _) => self.refuse_above_bytes,
        };
        waiting_bytes <= most_bytes
    }

    /// What becomes of a frame for a link that is mute: a call did not go out for certain, and the rest, which cannot be
    /// missed, goes down with the link.
    ///
    /// # Errors
    /// The call.
    pub fn drop_unsent(frame: Frame) -> Result<(), NotTaken> {
        match frame.header {
            Header::Call { .. } => Err(NotTaken(Box::new(frame))),
            _ => Ok(()),
        }
    }
}

impl Default for LinkLimits {
    fn default() -> Self {
        Self::for_payload(DEFAULT_MAX_PAYLOAD_BYTES)
    }
}

/// A frame was not taken, and is given back: too much waits already, or this is a call and nothing can be sent any more.
#[derive(Debug)]
pub struct NotTaken(pub Box<Frame>);

/// Nothing can be sent any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mute;

/// Why nothing more arrives.
#[derive(Debug, thiserror::Error)]
pub enum LinkEnd {
    /// The peer closed it between two frames.
    #[error("the peer closed the link")]
    Closed,
    /// The peer closed it inside a frame.
    #[error("the peer closed the link in the middle of a frame, {bytes} bytes into it")]
    HalfFrame {
        /// How much of the frame had arrived.
        bytes: usize,
    },
    /// The system says so.
    #[error("the link broke: {0}")]
    Broken(#[from] io::Error),
    /// Nothing can be written any more, and the peer has not ended in time.
    #[error("{0}")]
    Mute(String),
    /// What arrived is no frame.
    #[error("what arrived is no frame: {0}")]
    Garbage(#[from] FrameError),
}

/// The outgoing direction. Dropping it drops what waits; [`FrameSink::close`] sends it first.
pub trait FrameSink: Send + Sync {
    /// Puts a frame behind the others, or before large ones that it may pass; [`FrameSink::flush`] sends it off.
    ///
    /// # Errors
    /// [`NotTaken`]: the frame.
    fn send(&self, frame: Frame) -> Result<(), NotTaken>;

    /// Sends off what waits, without waiting itself.
    ///
    /// # Errors
    /// [`Mute`] when sending failed, now or before. The source tells the end, and why.
    fn flush(&self) -> Result<(), Mute>;

    /// Whether little waits ([`STREAMS_WAIT_ABOVE_BYTES`]), or nothing can be sent any more. Who waits for it still waits.
    fn has_room(&self) -> bool;

    /// Ready when it has room. One task may wait for it: the last who asked is woken.
    fn poll_room(&self, cx: &mut Context<'_>) -> Poll<()>;

    /// Sends what waits and closes this direction. The future resolves when that is done or took too long; dropping it
    /// changes nothing.
    fn close(self: Box<Self>) -> BoxFuture<'static, ()>;
}

/// The incoming direction.
pub trait FrameSource: Send {
    /// Appends all frames that are there; pending while nothing arrives. Ready without a frame says that bytes of one
    /// have arrived, which may take long on a slow network: the peer lives.
    fn poll_recv(&mut self, cx: &mut Context<'_>, frames: &mut Vec<Frame>) -> Poll<Result<(), LinkEnd>>;

    /// What says sooner than a round of the thread whether something has come; none where nothing does.
    fn glance(&self) -> Option<Arc<dyn Glance>> {
        None
    }
}

/// A look at what comes over a link, past all else that the thread looks at.
pub trait Glance: Send + Sync {
    /// Whether bytes have come; then who waits for them is woken. False says nothing: they may be on their way, or may be the
    /// link's end.
    fn glance(&self) -> bool;
}

/// A link. Its two directions may go to different owners.
pub struct Link {
    /// What goes out.
    pub sink: Box<dyn FrameSink>,
    /// What comes in.
    pub source: Box<dyn FrameSource>,
}

impl Link {
    /// The same, and this is kept as long as its source is.
    #[must_use]
    pub fn holding(self, held: impl Send + 'static) -> Self {
        let Self { sink, source } = self;
        Self { sink, source: Box::new(Holding { source, _held: held }) }
    }
}

/// A source, and what is kept as long.
struct Holding<T> {
    source: Box<dyn FrameSource>,
    _held: T,
}

impl<T: Send> FrameSource for Holding<T> {
    fn poll_recv(&mut self, cx: &mut Context<'_>, frames: &mut Vec<Frame>) -> Poll<Result<(), LinkEnd>> {
        self.source.poll_recv(cx, frames)
    }
}

/// Waits for frames and appends all that are there; none, when only a part of one has come. Cancel safe: what was read
/// stays for the next call.
///
/// # Errors
/// [`LinkEnd`]: nothing more will come.
pub async fn recv(source: &mut dyn FrameSource, frames: &mut Vec<Frame>) -> Result<(), LinkEnd> {
    future::poll_fn(|cx| source.poll_recv(cx, frames)).await
}
