//! Where items wait between a guest and the host: a place for one chunk, with a writer and a reader, each of whom wakes
//! the other.
//!
//! ```text
//!   writer: room ──▶ put …  end                reader: take, take, …  the end
//!              ▲                                          │
//!              └───────── woken when it was taken ────────┘     or leaves: the writer learns it
//! ```
//!
//! It is a lock that is held for moments, and never while a guest runs. One side of it is polled by the store's event
//! loop, the other by a task of the host.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use super::{Room, StreamFailure};

/// The reader of a stream takes no more of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the reader of the stream is gone")]
pub struct ReaderGone;

/// Items and their bytes.
#[derive(Debug, Default)]
pub(super) struct Held<B> {
    pub(super) count: u32,
    pub(super) bytes: B,
    /// That of one item that is larger than a chunk, from a guest.
    pub(super) room: Option<Room>,
}

/// How a stream ended for its writer.
pub(super) type Ended = Result<(), StreamFailure>;

/// A place for items.
#[derive(Debug)]
pub(super) struct Slot<B> {
    state: Mutex<State<B>>,
}

#[derive(Debug)]
struct State<B> {
    held: Option<Held<B>>,
    /// What the writer said at last; it comes behind what is held.
    ended: Option<Ended>,
    reader_gone: bool,
    writer: Option<Waker>,
    reader: Option<Waker>,
}

impl<B> Slot<B> {
    /// An empty one.
    pub(super) fn new() -> Self {
        let state = State { held: None, ended: None, reader_gone: false, writer: None, reader: None };
        Self { state: Mutex::new(state) }
    }

    /// For the writer: takes out what is there and has room for more, or nothing from an empty slot, to be put back
    /// with more in it. The reader finds nothing in between.
    pub(super) fn poll_room(
        &self,
        cx: &mut Context<'_>,
        has_room: impl FnOnce(&Held<B>) -> bool,
    ) -> Poll<Result<Option<Held<B>>, ReaderGone>> {
        let mut state = self.lock();
        if state.reader_gone {
            return Poll::Ready(Err(ReaderGone));
        }
        match &state.held {
            Some(held) if !has_room(held) => {
                state.writer = Some(cx.waker().clone());
                Poll::Pending
            }
            _ => Poll::Ready(Ok(state.held.take())),
        }
    }

    /// For the writer: puts items into the empty slot; gives them back where it is not empty.
    pub(super) fn put(&self, held: Held<B>) -> Option<Held<B>> {
        let mut state = self.lock();
        if state.held.is_some() {
            return Some(held);
        }
        if held.count > 0 && !state.reader_gone {
            state.held = Some(held);
            wake(state.reader.take(), state);
        }
        None
    }

    /// For the writer: there is nothing more. What it said first holds.
    pub(super) fn end(&self, ended: Ended) {
        let mut state = self.lock();
        state.ended.get_or_insert(ended);
        wake(state.reader.take(), state);
    }

    /// For the writer: waits until the reader is gone.
    pub(super) fn poll_gone(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if state.reader_gone {
            return Poll::Ready(());
        }
        state.writer = Some(cx.waker().clone());
        Poll::Pending
    }

    /// For the reader: the next items, or nothing at the end.
    pub(super) fn poll_take(&self, cx: &mut Context<'_>) -> Poll<Result<Option<Held<B>>, StreamFailure>> {
        let mut state = self.lock();
        if let Some(held) = state.held.take() {
            wake(state.writer.take(), state);
            return Poll::Ready(Ok(Some(held)));
        }
        match &state.ended {
            Some(ended) => Poll::Ready(ended.clone().map(|()| None)),
            None => {
                state.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// For the reader: it takes no more.
    pub(super) fn leave(&self) {
        let mut state = self.lock();
        state.reader_gone = true;
        state.held = None;
        wake(state.writer.take(), state);
    }

    fn lock(&self) -> MutexGuard<'_, State<B>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Wakes somebody once the lock is free.
fn wake<B>(waker: Option<Waker>, state: MutexGuard<'_, State<B>>) {
    drop(state);
    if let Some(waker) = waker {
        waker.wake();
    }
}
