//! Instances of `per-call` modules that are made before they are called.
//!
//! ```text
//!   its call ended at the driver's desk ──answered──▶ the network's next task: the instance ends, a spare one is made
//!      ▲                                                                                     │
//!      └───────────────────────── the next call ◀────────────────── kept for [`KEPT`] ───────┘
//! ```
//!
//! An instance is called once all the same: what is saved is that a caller waits for the end of another's, and for the
//! beginning of his own. While calls come fast, each finds one; after a pause the first one has to wait, as it would
//! without.
//!
//! Invariants: a module has one spare instance at most, which counts among those that it may have; none is made while the module has no
//! seat beside the one whose call has ended, as the next call may come before that is free; a tenant with a limit on what an
//! instance holds, or on calls at a time, has none, as another of its modules may want the room. What it takes to make one is the tenant's
//! time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::ceiling::Kind;
use super::super::instance::Instance;
use super::super::roster::Seat;
use super::super::stint::Stint;
use super::super::threads::{Polled, Side, here};
use super::super::worker::{Progress, Run};
use super::Pool;

/// How long a spare instance is kept that nobody calls.
const KEPT: Duration = Duration::from_secs(1);

/// How it stands with a module's spare instance.
#[derive(Debug, Default)]
pub(super) struct Spare {
    /// The seat in which one is made, or in which its predecessor ends.
    on_its_way: Option<u32>,
    /// Until when the one is kept that there is, or was: by then the housekeeper looks.
    kept_until: Option<Instant>,
}

impl Spare {
    /// When the housekeeper looks.
    pub fn next_look(&self) -> Option<Instant> {
        self.kept_until
    }

    /// This seat is free again, or has what was made in it.
    pub fn is_released(&mut self, number: u32) {
        self.on_its_way.take_if(|on_its_way| *on_its_way == number);
    }

    /// There is one, from now on. Whether the housekeeper is to know of it.
    pub fn is_kept(&mut self, now: Instant) -> bool {
        self.kept_until.replace(now + KEPT).is_none()
    }

    /// Whether it has been kept for long enough.
    fn is_over(&mut self, now: Instant) -> bool {
        self.kept_until.take_if(|until| *until <= now).is_some()
    }
}

impl Pool {
    /// Whether an instance that has not been called is kept for a call: of a tenant whose other modules cannot want what it holds.
    pub(super) fn may_spare(&self) -> bool {
        const HELD: [Kind; 5] = [Kind::Instances, Kind::Memory, Kind::Handles, Kind::Running, Kind::Queued];
        let ceiling = &self.template.context.ceiling;
        !HELD.into_iter().any(|kind| ceiling.bounds(kind))
    }

    /// A call has ended in this seat at the driver's desk: its instance ends, and a spare one is made, when what is done in this thread now is
    /// done. Or the seat is given back: where a guest is polled in this thread that has called it, that one may call again before anything else
    /// happens here.
    pub(super) fn renew_later(self: &Arc<Self>, seat: Seat<Box<Instance>>) -> Option<Seat<Box<Instance>>> {
        if self.policy.is_long_lived() || seat.instance.is_none() || here().is_some() || !self.may_spare() {
            return Some(seat);
        }
        let mut state = self.lock();
        if state.spare.on_its_way.is_some() || !state.roster.has_free_seat() {
            return Some(seat);
        }
        state.spare.on_its_way = Some(seat.number);
        drop(state);
        let pool = self.clone();
        self.threads.spawn(Side::Network, async move { pool.renew(seat) });
        None
    }

    fn renew(self: &Arc<Self>, seat: Seat<Box<Instance>>) {
        let stint = Stint::begin(Instant::now());
        let waiting = self.release(seat);
        let mut state = self.lock();
        let seat = if waiting.is_none() { state.roster.seat_for_spare() } else { None };
        if let Some(seat) = &seat {
            state.spare.on_its_way = Some(seat.number);
        }
        drop(state);
        if let Some(run) = waiting {
            self.move_to_worker(run, Side::Guests);
        }
        if let Some(seat) = seat {
            // As for a call that is made here.
            let _guests = self.threads.enter_guests();
            Polled::take();
            let mut run = Run::prepare(self, seat, None);
            match run.poll_once() {
                Progress::Pending => self.move_to_worker(run, Side::Guests),
                Progress::Prepared(seat, _) | Progress::Ended(seat, _) => {
                    if let Some(run) = self.release(seat) {
                        self.move_to_worker(run, Side::Guests);
                    }
                }
            }
        }
        self.took(&stint);
    }

    /// Ends a spare instance that nobody has called for long enough.
    pub(super) fn end_spare(self: &Arc<Self>) {
        let mut state = self.lock();
        let seats = if state.spare.is_over(Instant::now()) { state.roster.take_idle(|_| true) } else { Vec::new() };
        drop(state);
        for Seat { number, instance } in seats {
            let pool = self.clone();
            self.threads.spawn(Side::Guests, async move {
                // First, so that there never are more instances than seats.
                drop(instance);
                if let Some(run) = pool.release(Seat { number, instance: None }) {
                    pool.move_to_worker(run, Side::Guests);
                }
            });
        }
    }
}
