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
//! Invariants: a module has one spare instance at most, which counts among those that it may have; a tenant whose memory,
//! instances or calls at a time are limited has none, as another of its modules may want the room. What it takes to make one is the
//! tenant's time.

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
    /// Whether one is on its way, or its predecessor's end.
    on_its_way: bool,
    /// Until when the one is kept that there is, or was: by then the housekeeper looks.
    kept_until: Option<Instant>,
}

impl Spare {
    /// When the housekeeper looks.
    pub fn next_look(&self) -> Option<Instant> {
        self.kept_until
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
    /// Whether a call that has ended at the driver's desk leaves it to [`Pool::renew_later`] to end its instance. Where a guest is polled
    /// in this thread that has called it, that one may call again before anything else happens here.
    pub(super) fn renews(&self) -> bool {
        let ceiling = &self.template.context.ceiling;
        !self.policy.is_long_lived()
            && here().is_none()
            && ![Kind::Instances, Kind::Memory, Kind::Running].into_iter().any(|kind| ceiling.bounds(kind))
            && !self.lock().spare.on_its_way
    }

    /// Ends an instance that has had its call, and makes a spare one, when what is done in this thread now is done.
    pub(super) fn renew_later(self: &Arc<Self>, seat: Seat<Box<Instance>>) {
        self.lock().spare.on_its_way = true;
        let pool = self.clone();
        self.threads.spawn(Side::Network, async move { pool.renew(seat) });
    }

    fn renew(self: &Arc<Self>, seat: Seat<Box<Instance>>) {
        let stint = Stint::begin(Instant::now());
        let waiting = self.release(seat);
        let mut state = self.lock();
        state.spare.on_its_way = false;
        let seat = if waiting.is_none() { state.roster.seat_for_spare() } else { None };
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
            if let Some(run) = self.release(Seat { number, instance: None }) {
                self.move_to_worker(run, Side::Guests);
            }
            self.threads.spawn(Side::Guests, async move { drop(instance) });
        }
    }
}
