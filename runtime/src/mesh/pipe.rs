//! A link in memory, between a node and a controller of one process.
//!
//! Invariants: as over a socket: bounded, in order, and what was sent before the sender went is still received. The
//! lock is held for a push or a swap, never over an await. A flush wakes the receiver, once for many frames.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use daffi_proto::frame::Frame;
use futures::future::BoxFuture;

use super::link::{
    FRAME_COST_BYTES, FrameSink, FrameSource, Link, LinkEnd, LinkLimits, Mute, NotTaken, STREAMS_WAIT_ABOVE_BYTES,
};

/// The two ends of a link in memory: the node's, and the controller's.
pub fn pair(limits: LinkLimits) -> (Link, Link) {
    let (there, back) = (Arc::new(Pipe::new(limits)), Arc::new(Pipe::new(limits)));
    let end = |out: &Arc<Pipe>, passes_on, into: &Arc<Pipe>| Link {
        sink: Box::new(PipeSink { pipe: Arc::clone(out), passes_on }),
        source: Box::new(PipeSource(Arc::clone(into))),
    };
    (end(&there, false, &back), end(&back, true, &there))
}

/// One direction.
struct Pipe {
    state: Mutex<State>,
    limits: LinkLimits,
}

#[derive(Default)]
struct State {
    frames: Vec<Frame>,
    waiting_bytes: usize,
    receiver: Option<Waker>,
    /// Who waits for room.
    sender: Option<Waker>,
    sink_gone: bool,
    source_gone: bool,
}

impl State {
    /// Whether streams have room, or nothing to wait for.
    fn has_room(&self) -> bool {
        self.source_gone || self.waiting_bytes <= STREAMS_WAIT_ABOVE_BYTES
    }
}

impl Pipe {
    fn new(limits: LinkLimits) -> Self {
        Self { state: Mutex::default(), limits }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct PipeSink {
    pipe: Arc<Pipe>,
    /// What is sent came off a socket just now, and keeps what was read with it in memory.
    passes_on: bool,
}

impl FrameSink for PipeSink {
    fn send(&self, mut frame: Frame) -> Result<(), NotTaken> {
        let mut state = self.pipe.lock();
        if state.source_gone {
            return LinkLimits::drop_unsent(frame);
        }
        if !self.pipe.limits.admits(&frame, state.waiting_bytes) {
            return Err(NotTaken(Box::new(frame)));
        }
        if self.passes_on {
            frame.detach();
        }
        state.waiting_bytes = state.waiting_bytes.saturating_add(frame.payload.len()).saturating_add(FRAME_COST_BYTES);
        state.frames.push(frame);
        Ok(())
    }

    fn flush(&self) -> Result<(), Mute> {
        let mut state = self.pipe.lock();
        if state.source_gone {
            return Err(Mute); // whoever drops the source drops the sink with it, and so our source ends
        }
        if !state.frames.is_empty() {
            wake(&mut state.receiver);
        }
        Ok(())
    }

    fn has_room(&self) -> bool {
        self.pipe.lock().has_room()
    }

    fn poll_room(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.pipe.lock();
        if state.has_room() {
            return Poll::Ready(());
        }
        state.sender = Some(cx.waker().clone());
        Poll::Pending
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(std::future::ready(()))
    }
}

impl Drop for PipeSink {
    fn drop(&mut self) {
        let mut state = self.pipe.lock();
        state.sink_gone = true;
        wake(&mut state.receiver);
    }
}

struct PipeSource(Arc<Pipe>);

impl FrameSource for PipeSource {
    fn poll_recv(&mut self, cx: &mut Context<'_>, frames: &mut Vec<Frame>) -> Poll<Result<(), LinkEnd>> {
        let mut state = self.0.lock();
        if !state.frames.is_empty() {
            frames.append(&mut state.frames);
            state.waiting_bytes = 0;
            wake(&mut state.sender);
            return Poll::Ready(Ok(()));
        }
        if state.sink_gone {
            return Poll::Ready(Err(LinkEnd::Closed));
        }
        state.receiver = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for PipeSource {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.source_gone = true;
        state.frames.clear();
        state.waiting_bytes = 0;
        wake(&mut state.sender);
    }
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}
