//! The outgoing direction of a link over a socket.
//!
//! ```text
//!   Open ── close ──▶ Finishing ── all written, or too late ──▶ Broken
//!     └─── a write failed, the peer takes nothing for too long, or the sink was dropped ────▲
//! ```
//!
//! A peer that writes and does not read would otherwise keep what waits for it in memory for as long as it likes.
//!
//! A large frame goes in parts, one when what waits before it has gone; meanwhile others find their way past it ([`held`]).
//!
//! A failed write is no end: the incoming direction is woken, and ends the link when it has heard the peer out.

mod held;

use std::collections::VecDeque;
use std::io::IoSlice;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::{future, io};

use bytes::{Buf, Bytes, BytesMut};
use daffi_proto::frame::{Frame, FrameError, MAX_HEADER_BYTES, PART_BYTES};
use futures::future::BoxFuture;
use tokio::io::AsyncWrite;
use tokio::sync::oneshot;

use self::held::{Held, Next};
use super::COPY_BELOW_BYTES;
use crate::mesh::link::{FRAME_COST_BYTES, FrameSink, LinkLimits, Mute, NotTaken, STREAMS_WAIT_ABOVE_BYTES};

/// The buffer of small frames is put into the queue as one piece when it is larger than this.
const PIECE_BYTES: usize = 64 * 1024;

/// The next part of a large frame is queued when fewer bytes than these wait.
const REFILL_BELOW_BYTES: usize = PART_BYTES / 4;

/// Most pieces in one write.
const PIECES_A_WRITE: usize = 32;

/// The owner's end.
pub(super) struct SocketSink(Arc<Outgoing>);

impl SocketSink {
    pub(super) fn new(outgoing: Arc<Outgoing>) -> Self {
        Self(outgoing)
    }
}

impl FrameSink for SocketSink {
    fn send(&self, frame: Frame) -> Result<(), NotTaken> {
        let mut state = self.0.lock();
        if let Phase::Broken(_) = state.phase {
            return LinkLimits::drop_unsent(frame);
        }
        if !self.0.limits.admits(&frame, state.waiting_bytes + state.held.bytes()) {
            return Err(NotTaken(Box::new(frame)));
        }
        if let Err(error) = state.push(frame) {
            state.fail(format!("a frame cannot be encoded: {error}"));
        }
        Ok(())
    }

    fn flush(&self) -> Result<(), Mute> {
        let mut state = self.0.lock();
        // When the writer task is busy, the socket has its waker and what waits will go; it must keep that waker.
        if state.has_work() && !state.busy {
            let written = state.poll_write(&mut Context::from_waker(Waker::noop()));
            if written.is_pending() {
                state.busy = true;
                state.wake_writer();
            }
        }
        if let Phase::Broken(_) = state.phase { Err(Mute) } else { Ok(()) }
    }

    fn has_room(&self) -> bool {
        self.0.lock().lets_streams_go()
    }

    fn poll_room(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.0.lock();
        if state.lets_streams_go() {
            return Poll::Ready(());
        }
        state.room_task = Some(cx.waker().clone());
        Poll::Pending
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, ()> {
        let (done, finished) = oneshot::channel();
        let mut state = self.0.lock();
        if let Phase::Open = state.phase {
            state.phase = Phase::Finishing { _done: done };
        }
        // Also while it is busy: the socket may never take more, and only the task itself can give up.
        state.wake_writer();
        drop(state);
        Box::pin(async move {
            // The sender is never used: dropping it, when the writer task has ended, is the signal.
            let _ = finished.await;
        })
    }
}

impl Drop for SocketSink {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        if let Phase::Open = state.phase {
            state.fail("the link was dropped".to_owned());
        }
    }
}

/// What waits to be written, and the socket that it goes to.
pub(super) struct Outgoing {
    state: Mutex<State>,
    limits: LinkLimits,
}

struct State {
    writer: Box<dyn AsyncWrite + Send + Unpin>,
    /// Pieces in order; after them comes `tail`.
    queue: VecDeque<Bytes>,
    /// Headers and small payloads, one behind the other. Emptied in place, so that it is rarely allocated.
    tail: BytesMut,
    /// Those of the queue and the tail.
    waiting_bytes: usize,
    /// Large frames, and what may not go before them.
    held: Held,
    /// How much was queued since the last of what was held.
    passed_bytes: usize,
    /// How many writes the socket has taken so far, to see that it takes none.
    writes: u64,
    phase: Phase,
    /// Whether the writer task is about to write or waits for the socket, which then has its waker.
    busy: bool,
    /// The writer task, whatever it waits for, once it has started.
    writer_task: Option<Waker>,
    /// Who reads this link, while he waits.
    reader_task: Option<Waker>,
    /// Who waits for room.
    room_task: Option<Waker>,
}

enum Phase {
    Open,
    /// Write what waits, close, and tell by dropping this.
    Finishing {
        _done: oneshot::Sender<()>,
    },
    Broken(String),
}

impl Outgoing {
    pub(super) fn new(writer: Box<dyn AsyncWrite + Send + Unpin>, limits: LinkLimits) -> Self {
        let state = State {
            writer,
            queue: VecDeque::new(),
            tail: BytesMut::new(),
            waiting_bytes: 0,
            held: Held::default(),
            passed_bytes: 0,
            writes: 0,
            phase: Phase::Open,
            busy: true,
            writer_task: None,
            reader_task: None,
            room_task: None,
        };
        Self { state: Mutex::new(state), limits }
    }

    /// For the reader: ready, with the reason, when nothing can be written any more.
    pub(super) fn poll_broken(&self, cx: &mut Context<'_>) -> Poll<String> {
        let mut state = self.lock();
        match &state.phase {
            Phase::Broken(reason) => Poll::Ready(reason.clone()),
            Phase::Open | Phase::Finishing { .. } => {
                state.reader_task = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// The writer task: writes what a flush could not, until the link is closed.
    pub(super) async fn write_the_rest(self: Arc<Self>) {
        self.write_until_closing().await;
        let closed = future::poll_fn(|cx| self.poll_close(cx));
        let in_time = tokio::time::timeout(self.limits.close_timeout, closed).await.is_ok();
        let reason = if in_time { "the link was closed" } else { "the link was closed before all was written" };
        self.lock().fail(reason.to_owned());
    }

    /// Ends when the link is not open any more; which it is not when the peer takes nothing.
    async fn write_until_closing(&self) {
        // How many writes there were when somebody was last found to wait for the socket.
        let mut stuck_after = None;
        loop {
            let closing = future::poll_fn(|cx| self.poll_until_closing(cx));
            if tokio::time::timeout(self.limits.stall_timeout, closing).await.is_ok() {
                return;
            }
            let mut state = self.lock();
            let waits = state.has_work().then_some(state.writes);
            if waits.is_some() && waits == stuck_after {
                state.fail(format!(
                    "nothing could be written for {:?}: the peer does not read",
                    self.limits.stall_timeout
                ));
            }
            stuck_after = waits;
        }
    }

    /// Ready when the link is not open any more.
    fn poll_until_closing(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        let Phase::Open = state.phase else {
            return Poll::Ready(());
        };
        state.writer_task = Some(cx.waker().clone());
        state.busy = true;
        ready!(state.poll_write(cx));
        let Phase::Open = state.phase else {
            return Poll::Ready(());
        };
        state.busy = false;
        Poll::Pending
    }

    fn poll_close(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        ready!(state.poll_write(cx));
        Pin::new(&mut state.writer).poll_shutdown(cx).map(drop)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing below panics between two changes that belong together.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Whether something is to be written.
    fn has_work(&self) -> bool {
        self.waiting_bytes > 0 || !self.held.is_empty()
    }

    /// Whether streams need not wait; they share the link with what is held.
    fn has_room(&self) -> bool {
        let of_parts = if self.held.is_empty() { 0 } else { REFILL_BELOW_BYTES + MAX_HEADER_BYTES + PART_BYTES };
        self.waiting_bytes <= STREAMS_WAIT_ABOVE_BYTES + of_parts && !self.held.stops_streams()
    }

    /// Whether they have room, or nothing to wait for.
    fn lets_streams_go(&self) -> bool {
        matches!(self.phase, Phase::Broken(_)) || self.has_room()
    }

    fn push(&mut self, frame: Frame) -> Result<(), FrameError> {
        if !self.held.lets_pass(&frame) {
            self.held.hold(frame);
            return Ok(());
        }
        if self.held.is_empty() {
            return self.queue(frame);
        }
        self.passed_bytes = self.passed_bytes.saturating_add(frame.payload.len() + FRAME_COST_BYTES);
        self.queue(frame)?;
        // Whoever passes takes half of the link at most.
        while self.passed_bytes >= PART_BYTES && self.queue_held()? {}
        Ok(())
    }

    /// Makes what is held the next that is written, as long as little waits.
    fn refill(&mut self) -> Result<(), FrameError> {
        while self.waiting_bytes < REFILL_BELOW_BYTES && self.queue_held()? {}
        Ok(())
    }

    /// Queues the next of what is held; whether there was any.
    fn queue_held(&mut self) -> Result<bool, FrameError> {
        let before = self.tail.len();
        match self.held.next(&mut self.tail)? {
            None => {
                self.passed_bytes = 0;
                return Ok(false);
            }
            Some(Next::Frame(frame)) => {
                self.passed_bytes = self.passed_bytes.saturating_sub(frame.payload.len() + FRAME_COST_BYTES);
                self.queue(frame)?;
            }
            Some(Next::Part(payload)) => {
                self.passed_bytes = self.passed_bytes.saturating_sub(PART_BYTES);
                self.waiting_bytes += self.tail.len().saturating_sub(before) + payload.len();
                self.queue.push_back(self.tail.split().freeze());
                self.queue.push_back(payload);
            }
        }
        Ok(true)
    }

    fn queue(&mut self, frame: Frame) -> Result<(), FrameError> {
        let before = self.tail.len();
        if frame.payload.len() < COPY_BELOW_BYTES {
            frame.encode_into(&mut self.tail)?;
            self.waiting_bytes += self.tail.len().saturating_sub(before);
            if self.tail.len() > PIECE_BYTES {
                self.queue.push_back(self.tail.split().freeze());
            }
        } else {
            frame.encode_head(&mut self.tail)?;
            self.waiting_bytes += self.tail.len().saturating_sub(before) + frame.payload.len();
            self.queue.push_back(self.tail.split().freeze());
            self.queue.push_back(frame.payload);
        }
        Ok(())
    }

    /// Writes until nothing waits (ready) or the socket takes no more (pending). A failure is put into the phase.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.has_work() {
            if let Err(error) = self.refill() {
                self.fail(format!("a frame cannot be encoded: {error}"));
            }
            if self.waiting_bytes == 0 {
                break; // the last part had gone
            }
            match ready!(self.poll_write_once(cx)) {
                Ok(0) => self.fail("the link broke: the socket takes nothing more".to_owned()),
                Ok(written) => self.consume(written),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => self.fail(format!("the link broke: {error}")),
            }
        }
        // A layer above the socket (encryption) may hold bytes back until it is flushed.
        if let Err(error) = ready!(Pin::new(&mut self.writer).poll_flush(cx)) {
            self.fail(format!("the link broke: {error}"));
        }
        Poll::Ready(())
    }

    fn poll_write_once(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let writer = Pin::new(&mut self.writer);
        if self.queue.is_empty() {
            return writer.poll_write(cx, &self.tail);
        }
        let mut slices = [IoSlice::new(&[]); PIECES_A_WRITE];
        let pieces = self.queue.iter().map(Bytes::as_ref).chain(std::iter::once(self.tail.as_ref()));
        let mut used = 0;
        for (slice, piece) in slices.iter_mut().zip(pieces) {
            *slice = IoSlice::new(piece);
            used += 1;
        }
        writer.poll_write_vectored(cx, slices.get(..used).unwrap_or_default())
    }

    fn consume(&mut self, mut written: usize) {
        self.writes = self.writes.wrapping_add(1);
        self.waiting_bytes = self.waiting_bytes.saturating_sub(written);
        if self.has_room()
            && let Some(task) = self.room_task.take()
        {
            task.wake();
        }
        while let Some(piece) = self.queue.front_mut() {
            if written < piece.len() {
                piece.advance(written);
                return;
            }
            written -= piece.len();
            self.queue.pop_front();
        }
        if written >= self.tail.len() {
            self.tail.clear();
        } else {
            self.tail.advance(written);
        }
    }

    fn fail(&mut self, reason: String) {
        self.queue.clear();
        self.tail.clear();
        self.waiting_bytes = 0;
        self.held = Held::default();
        // The first reason is the true one: closing comes after it.
        if !matches!(self.phase, Phase::Broken(_)) {
            self.phase = Phase::Broken(reason);
        }
        self.wake_writer();
        for task in [self.reader_task.take(), self.room_task.take()].into_iter().flatten() {
            task.wake();
        }
    }

    fn wake_writer(&self) {
        if let Some(task) = &self.writer_task {
            task.wake_by_ref();
        }
    }
}
