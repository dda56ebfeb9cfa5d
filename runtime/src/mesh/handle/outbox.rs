//! What a guest asks while it has its turn goes to the driver together, where it asks much.
//!
//! ```text
//!   a guest that waits for many answers is polled ── 1st call ──▶ the desk: sent, not sent off
//!                                                 ── others ───▶ the outbox ── the poll ends ──▶ the desk, at once and in one
//!                                                                                                flush, or else the channel
//! ```
//!
//! Who asks for each of many calls by itself wakes the driver's task with the first, which then is at the desk while the next ones
//! are made: each of them takes the longer way through its channel, and the two threads hand the node's state to and fro.
//!
//! Invariants: what is asked is heard in the order in which it is asked. Only calls that the guest's own future alone holds wait, and
//! word that it gives one up. What is in an outbox goes off when the poll ends, however it does, so after two ticks of the epoch at
//! most; when it is a good part of what the guest waits for ([`PART`]); and before what may not wait. A call that is answered at the
//! desk itself, as one between modules of one runtime, never waits. While somebody is at the desk in this thread, there is no outbox.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::marker::PhantomData;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::{MeshHandle, Request, Shared};

/// Of what a guest waits for, so large a part goes to the driver without waiting for more: the others are on their way meanwhile.
const PART: usize = 4;

/// So many requests are worth a flush of their own, and are as many as wait.
const FEW: usize = 8;
const MOST: usize = 64;

thread_local! {
    static OUTBOX: RefCell<State> = const { RefCell::new(State::Closed) };
    /// The room of the last outbox.
    static SPARE: Cell<VecDeque<Request>> = const { Cell::new(VecDeque::new()) };
}

/// This thread's outbox.
enum State {
    /// There is none: who asks goes to the desk.
    Closed,
    /// The next call is made at the desk, since it may be over there. Then so many wait at most.
    Open { most: usize },
    /// All that is asked of this driver waits, behind what was done at its desk and not sent off.
    Filling(Outbox),
}

/// What waits.
struct Outbox {
    mesh: MeshHandle,
    /// In the driver's channel, for all of it.
    place: mpsc::OwnedPermit<Request>,
    requests: VecDeque<Request>,
    /// So many go off without waiting for more.
    most: usize,
}

/// While this lives, what is asked in this thread may wait. It is for one poll of a guest, and of this thread.
#[must_use]
pub(crate) struct Gathering(PhantomData<*const ()>);

/// See [`Gathering`]. Those who ask wait for so many answers by then.
pub(crate) fn gather(awaited: usize) -> Gathering {
    let closed = replace(State::Open { most: (awaited / PART).clamp(FEW, MOST) });
    debug_assert!(matches!(closed, State::Closed), "a guest is polled while another gathers");
    Gathering(PhantomData)
}

impl Drop for Gathering {
    fn drop(&mut self) {
        send(replace(State::Closed));
    }
}

/// Nobody gathers anything in this thread until this is dropped.
pub(super) struct AtDesk(State);

impl AtDesk {
    /// Somebody is about to be at the desk; what was asked before goes off first.
    pub fn enter() -> Self {
        let state = replace(State::Closed);
        if let State::Filling(Outbox { most, .. }) = state {
            send(state);
            return Self(State::Open { most });
        }
        Self(state)
    }

    /// Whether more may follow at once, so that what was sent need not be sent off yet.
    pub fn goes_on(&self) -> bool {
        matches!(self.0, State::Open { .. })
    }

    /// Has requests wait afterwards, behind what was done at the desk and not sent off. False where they may not, or the
    /// driver's channel is full.
    pub fn gather_for(&mut self, mesh: &MeshHandle) -> bool {
        let State::Open { most } = self.0 else { return false };
        let Ok(place) = mesh.requests.clone().try_reserve_owned() else { return false };
        self.0 = State::Filling(Outbox { mesh: mesh.clone(), place, requests: SPARE.take(), most });
        true
    }
}

impl Drop for AtDesk {
    fn drop(&mut self) {
        replace(std::mem::replace(&mut self.0, State::Closed));
    }
}

/// Puts a request behind those that wait for the same driver, if any do; otherwise gives it back. It must be of the guest that
/// gathers: what others may hold, in other threads, they may give up before it was asked.
pub(super) fn put(shared: &Arc<Shared>, request: Request) -> Option<Request> {
    if !is_filling(shared) {
        return Some(request);
    }
    let is_full = OUTBOX.with_borrow_mut(|state| match state {
        State::Filling(Outbox { requests, most, .. }) => {
            requests.push_back(request);
            requests.len() >= *most
        }
        State::Closed | State::Open { .. } => false,
    });
    if is_full {
        drop(AtDesk::enter());
    }
    None
}

/// Whether the next request to this driver waits.
pub(super) fn is_filling(shared: &Arc<Shared>) -> bool {
    let is_its = |outbox: &Outbox| Arc::ptr_eq(&outbox.mesh.shared, shared);
    // A thread that ends has none.
    OUTBOX.try_with(|state| matches!(&*state.borrow(), State::Filling(outbox) if is_its(outbox))).unwrap_or(false)
}

fn replace(state: State) -> State {
    OUTBOX.try_with(|own| own.replace(state)).unwrap_or(State::Closed)
}

/// Has done what waits.
fn send(state: State) {
    let State::Filling(Outbox { mesh, place, mut requests, .. }) = state else { return };
    let desk = mesh.shared.desk.get().filter(|_| !std::thread::panicking());
    if let Some(desk) = desk {
        desk.take_all(&mut requests);
        if requests.is_empty() {
            return SPARE.set(requests);
        }
    }
    // The driver's task sends off what was done before, too. Where it has ended, who asked hears it by what is dropped here.
    if !mesh.requests.is_closed() {
        place.send(Request::All(requests));
    }
}
