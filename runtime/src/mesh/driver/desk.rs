//! Where the driver's work may be done by others: whoever asks something does it himself, where nobody is at it.
//!
//! ```text
//!   MeshHandle::call ──▶ is the desk free? ──yes──▶ the node is told, its outputs are carried out, here and now
//!                             └──no──▶ the channel ──▶ the driver's task
//! ```
//!
//! To hand a call to another thread and to be woken there costs many times what the node needs for it. So a call between
//! modules of one runtime is made, served and answered in the caller's thread, and one to another runtime is written to the
//! socket there.
//!
//! What carries a stream sends its chunks off in the same way, and streams move meanwhile.
//!
//! Invariants: requests are heard in their order, so that nobody does what he asks while something that was asked before
//! waits; nobody but the driver's task waits for the desk, which is held for one request, for those that a guest asked in one poll, or for one end of a stream: for as long as
//! the node takes and the guests that are polled there, for a tick of the epoch and a millisecond or for one long instruction; for
//! a request no stream moves. While the task waits for the desk, others leave their
//! requests to it; in the task's own thread they do so too, once they were at it for a turn. What the task has to wait for is told to it. While something was sent off a moment ago, the task sends off the next: so
//! many calls at once go in few writes.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use daffi_proto::call::CallRequest;
use daffi_proto::id::Token;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use super::super::asked::Ended;
use super::super::handle::{Port, Request};
use super::core::{Called, Core, Waits};

/// Who sends within so short a time after the last flush leaves the next one to the driver's task.
const COALESCE: Duration = Duration::from_micros(20);

/// Where more calls than this are open, many are sent about the same time, and a flush for each would cost more than it saves:
/// they are left to the task too, which comes to it when some have gathered.
const FEW_CALLS: usize = 4;

/// The core, for one at a time; none when the driver has ended.
pub struct Desk {
    core: Mutex<Option<Core>>,
    /// The driver's task waits for it.
    wanted: Arc<AtomicBool>,
    /// What the driver's task waits for has changed.
    changed: Notify,
}

impl Desk {
    pub(super) fn new(core: Core, wanted: Arc<AtomicBool>) -> Self {
        Self { core: Mutex::new(Some(core)), wanted, changed: Notify::new() }
    }

    /// Does what is asked here and now, where nobody is at the desk. Otherwise it gives the request back, for the driver's
    /// channel.
    pub fn take(&self, request: Request) -> Option<Request> {
        let _on_defect = OnDefect(self); // dropped when the desk is free again
        let Some(mut guard) = self.try_lock() else { return Some(request) };
        // Where the driver has ended, whoever waits for this is told by its drop.
        let core = guard.as_mut()?;
        if !core.may_be_helped() {
            return Some(request);
        }
        core.begin_turn();
        core.take_request(request);
        core.carry_all();
        self.leave(guard, Core::flush);
        None
    }

    /// Makes a call without streams here and now, where nobody is at the desk. Otherwise it gives it back. Where it goes on, more
    /// is done here in a moment, or [`Desk::settle`] follows: what was sent for a call that is open may wait for that.
    pub fn call(&self, token: Token, request: Box<CallRequest>, goes_on: bool) -> Result<Called, Box<CallRequest>> {
        let _on_defect = OnDefect(self);
        let Some(mut guard) = self.try_lock() else { return Err(request) };
        let Some(core) = guard.as_mut().filter(|core| core.may_be_helped()) else { return Err(request) };
        core.begin_turn();
        let called = core.call(token, request);
        match called {
            // Nothing is left to do, and the task waits for what it did.
            Called::Over(_) if !core.unflushed && !core.asked.has_ended() => core.helped(),
            Called::Open(_) if goes_on && !core.asked.has_ended() => {}
            Called::Over(_) | Called::Open(_) => self.leave(guard, Core::flush),
        }
        Ok(called)
    }

    /// Does what is asked, in its order, where nobody is at the desk, and sends it off with what was done before. What it leaves,
    /// since the driver's task wants the desk or a turn is over, is for the driver's channel.
    pub fn take_all(&self, requests: &mut VecDeque<Request>) {
        let _on_defect = OnDefect(self);
        let Some(mut guard) = self.try_lock() else {
            // Whoever is there may have told the task already what it is to wait for.
            return self.changed.notify_one();
        };
        let Some(core) = guard.as_mut() else { return requests.clear() };
        if core.may_be_helped() {
            core.begin_turn();
            while core.has_turn()
                && let Some(request) = requests.pop_front()
            {
                core.take_request(request);
                core.carry_all();
            }
            core.flush();
        }
        self.leave(guard, Core::flush);
    }

    /// Sends off what was done.
    pub fn settle(&self) {
        self.take_all(&mut VecDeque::new());
    }

    /// Looks at an end of a stream that has something, and lets streams move, where nobody is at the desk: for a turn at most, or
    /// until the driver's task waits for it. False otherwise: nothing has changed.
    pub fn hear(&self, port: &Arc<Port>) -> bool {
        let _on_defect = OnDefect(self);
        let Some(mut guard) = self.try_lock() else { return false };
        let Some(core) = guard.as_mut().filter(|core| core.may_be_helped()) else { return false };
        core.begin_turn();
        core.take_bell(port);
        core.carry_out();
        self.leave(guard, Core::send_off);
        true
    }

    /// The desk, where nobody is at it or waits for it.
    fn try_lock(&self) -> Option<MutexGuard<'_, Option<Core>>> {
        if self.wanted.load(Ordering::Relaxed) {
            return None;
        }
        self.core.try_lock().ok()
    }

    /// What was done is sent off, or left to the driver's task, which learns what it is to wait for now.
    fn leave(&self, mut guard: MutexGuard<'_, Option<Core>>, send_off: fn(&mut Core)) {
        let Some(core) = guard.as_mut() else { return };
        if core.unflushed && core.open_calls() <= FEW_CALLS && core.since_flush() >= COALESCE {
            send_off(core);
        }
        core.helped();
        let waits = core.waits();
        let changed = waits.differ(core.awaited);
        if changed {
            // It is told once, however often somebody is here before it comes.
            core.awaited = waits;
        }
        let mut ended = Ended::default();
        core.asked.swap_ended(&mut ended);
        drop(guard);
        if changed {
            self.changed.notify_one();
        }
        ended.tell();
    }

    /// Waits for the desk, for moments; none when a defect has ended whoever was there last, and nobody knows what the state
    /// is.
    pub(super) fn lock(&self) -> Option<MutexGuard<'_, Option<Core>>> {
        match self.core.try_lock() {
            Ok(guard) => Some(guard),
            Err(TryLockError::Poisoned(_)) => None,
            Err(TryLockError::WouldBlock) => {
                self.wanted.store(true, Ordering::Relaxed);
                let guard = self.core.lock();
                self.wanted.store(false, Ordering::Relaxed);
                guard.ok()
            }
        }
    }

    /// What the task is to wait for, and does from now on; none, when there is nothing left to do.
    pub(super) fn waits(&self) -> Option<Waits> {
        let mut guard = self.lock()?;
        let core = guard.as_mut()?;
        core.awaited = core.waits();
        Some(core.awaited)
    }

    /// Resolves when there is something else to wait for. Who drops it when it has resolved has heard it.
    pub(super) fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }

    /// The driver has ended: everybody who waits is told by what is dropped.
    pub(super) fn close(&self) {
        // Not under the lock: what is dropped may ask.
        let core = self.core.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Whoever comes finds that there is none, rather than nobody who knows.
        self.core.clear_poison();
        drop(core);
    }
}

/// Lets the driver's task know of a defect that ends who is at the desk.
struct OnDefect<'a>(&'a Desk);

impl Drop for OnDefect<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.changed.notify_one();
        }
    }
}
