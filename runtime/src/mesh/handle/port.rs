//! Where one end of a stream meets the driver.
//!
//! Invariants: a chunk is handed over, never copied; an end holds one chunk at most, and the node the window of
//! [`Flow::window`]. A large chunk is still held when its reader has it, until he has dropped it: the node counts it as
//! long ([`Port::lend`]). The driver is told by a bell which rings once until it is heard, so that what waits for the driver
//! is bounded by the number of streams. A port's lock is held for a move, never over an await.

use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::task::Waker;

use bytes::Bytes;
use daffi_proto::error::CallError;
use daffi_proto::stream::{Chunk, Ending, Flow, StreamId};
use tokio::sync::mpsc;

use super::super::driver::Desk;

/// Where one end of a stream meets the driver.
#[derive(Debug)]
pub struct Port {
    id: StreamId,
    flow: Flow,
    bell: Bell,
    state: Mutex<State>,
}

/// How the driver is told that a port has something for it.
#[derive(Clone, Debug)]
pub struct Bell {
    rings: mpsc::UnboundedSender<Arc<Port>>,
    desk: Arc<OnceLock<Weak<Desk>>>,
}

impl Bell {
    /// A bell, and where it is heard.
    pub(super) fn new() -> (Self, mpsc::UnboundedReceiver<Arc<Port>>) {
        let (rings, heard) = mpsc::unbounded_channel();
        (Self { rings, desk: Arc::default() }, heard)
    }

    /// From now on what a port has may be heard there, in the thread of who rings.
    pub(super) fn open_desk(&self, desk: &Arc<Desk>) {
        let _ = self.desk.set(Arc::downgrade(desk));
    }

    /// Whether it was heard by now.
    fn is_heard_here(&self, port: &Arc<Port>) -> bool {
        self.desk.get().and_then(Weak::upgrade).is_some_and(|desk| desk.hear(port))
    }
}

/// [`Port::ring`] or [`Port::ring_here`].
pub(super) type Ring = fn(&Arc<Port>, MutexGuard<'_, State>);

/// What waits in a port.
#[derive(Debug, Default)]
pub(super) struct State {
    /// What a writer has given and the driver has not taken, or the driver has given and the reader has not taken.
    pub chunk: Option<Chunk>,
    /// Whether the reader has a large chunk and is not done with it.
    lent: bool,
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

    /// Whether nothing waits here, and nothing is lent.
    pub(in crate::mesh) fn is_empty(&self) -> bool {
        let state = self.lock();
        state.chunk.is_none() && !state.lent
    }

    /// Gives the reader items, where nothing waits for him; they are dropped where he takes no more.
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

    /// What the reader gets of a chunk that was here. The driver is told when he is done with it: of a large one when
    /// nothing refers to its bytes any more, of another one at once, by `ring`.
    pub(super) fn lend(self: &Arc<Self>, mut state: MutexGuard<'_, State>, chunk: Chunk, ring: Ring) -> Chunk {
        if chunk.bytes.len() as u64 <= self.flow.chunk().bytes {
            ring(self, state);
            return chunk;
        }
        state.lent = true;
        drop(state);
        let Chunk { count, bytes } = chunk;
        Chunk { count, bytes: Bytes::from_owner(Lent { bytes, port: self.clone() }) }
    }

    /// Lets the driver know that there is something for it.
    pub(super) fn ring(self: &Arc<Self>, mut state: MutexGuard<'_, State>) {
        let first = !mem::replace(&mut state.rung, true);
        drop(state);
        if first {
            self.leave_word();
        }
    }

    /// The same, and what there is is done here and now, where nobody is at the driver's desk. Other streams may move in it, for
    /// a turn, and guests be polled that serve them: it is not for who is polled by a guest, on his time.
    pub(super) fn ring_here(self: &Arc<Self>, mut state: MutexGuard<'_, State>) {
        let first = !mem::replace(&mut state.rung, true);
        drop(state);
        if first && !self.bell.is_heard_here(self) {
            self.leave_word();
        }
    }

    /// For the driver's task.
    fn leave_word(self: &Arc<Self>) {
        if self.bell.rings.send(self.clone()).is_err() {
            // The driver has ended, and nobody else will tell.
            self.end(Ending::Lost);
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics between two changes that belong together.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The bytes of a large chunk, which its reader has.
struct Lent {
    bytes: Bytes,
    port: Arc<Port>,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        // What it counts for ends when it does.
        self.bytes.clear();
        let mut state = self.port.lock();
        state.lent = false;
        self.port.ring(state);
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
