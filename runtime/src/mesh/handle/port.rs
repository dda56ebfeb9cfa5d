//! Where one end of a stream meets the driver.
//!
//! Invariants: a chunk is handed over, never copied; an end holds one chunk at most, and the node the window of
//! [`Flow::window`]. The driver is told by a bell which rings once until it is heard, so that what waits for the driver
//! is bounded by the number of streams. A port's lock is held for a move, never over an await.

use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use daffi_proto::error::CallError;
use daffi_proto::stream::{Chunk, Ending, Flow, StreamId};
use tokio::sync::mpsc;

/// Where one end of a stream meets the driver.
#[derive(Debug)]
pub struct Port {
    id: StreamId,
    flow: Flow,
    bell: Bell,
    state: Mutex<State>,
}

/// How the driver is told that a port has something for it.
pub type Bell = mpsc::UnboundedSender<Arc<Port>>;

/// What waits in a port.
#[derive(Debug, Default)]
pub(super) struct State {
    /// What a writer has given and the driver has not taken, or the driver has given and the reader has not taken.
    pub chunk: Option<Chunk>,
    /// What this end said last, and whether the driver has heard it.
    pub word: Option<Word>,
    /// What the stream came to.
    pub ending: Option<Ending>,
    /// Whether the driver is to look at this port.
    rung: bool,
    /// Who waits at this end.
    pub waker: Option<Waker>,
}

/// The last word of an end.
#[derive(Debug)]
pub enum Word {
    /// The writer has no more.
    Finish,
    /// The writer failed.
    Fail(CallError),
    /// The reader takes no more.
    Cancel(Option<CallError>),
    /// The driver has heard it.
    Heard,
}

impl Port {
    pub(super) fn new(id: StreamId, flow: Flow, bell: Bell) -> Arc<Self> {
        Arc::new(Self { id, flow, bell, state: Mutex::default() })
    }

    /// How its items are counted.
    pub(super) fn flow(&self) -> Flow {
        self.flow
    }

    /// Which stream.
    pub(in crate::mesh) fn id(&self) -> StreamId {
        self.id
    }

    /// The driver looks: what comes after this rings again.
    pub(in crate::mesh) fn heard(&self) {
        self.lock().rung = false;
    }

    /// What the writer has given.
    pub(in crate::mesh) fn take(&self) -> Option<Chunk> {
        let mut state = self.lock();
        let chunk = state.chunk.take();
        if chunk.is_some() {
            wake(state);
        }
        chunk
    }

    /// Whether nothing waits here for the reader.
    pub(in crate::mesh) fn is_empty(&self) -> bool {
        self.lock().chunk.is_none()
    }

    /// Gives the reader items, where nothing waits for him.
    pub(in crate::mesh) fn give(&self, chunk: Chunk) {
        let mut state = self.lock();
        if !matches!(state.word, Some(Word::Cancel(_) | Word::Heard)) {
            state.chunk = Some(chunk);
            wake(state);
        }
    }

    /// The last word of this end, once.
    pub(in crate::mesh) fn word(&self) -> Option<Word> {
        let mut state = self.lock();
        match &mut state.word {
            None | Some(Word::Heard) => None,
            Some(word) => Some(mem::replace(word, Word::Heard)),
        }
    }

    /// What the stream came to.
    pub(in crate::mesh) fn end(&self, ending: Ending) {
        let mut state = self.lock();
        state.ending.get_or_insert(ending);
        wake(state);
    }

    /// Lets the driver know that there is something for it.
    pub(super) fn ring(self: &Arc<Self>, mut state: MutexGuard<'_, State>) {
        let first = !mem::replace(&mut state.rung, true);
        drop(state);
        if first && self.bell.send(self.clone()).is_err() {
            // The driver has ended, and nobody else will tell.
            self.end(Ending::Lost);
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics between two changes that belong together.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Wakes outside the lock.
fn wake(mut state: MutexGuard<'_, State>) {
    let waker = state.waker.take();
    drop(state);
    if let Some(waker) = waker {
        waker.wake();
    }
}
