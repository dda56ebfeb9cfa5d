//! Tenants take turns on the guests' threads, by their weights.
//!
//! Whatever polls a guest has a [`Stand`], and polls in its tenant's turn only: so long as there is a free place nobody
//! notices, and where more guests want to run than there are threads, [`turns`] says who is next. A guest leaves its place
//! when it waits for the host, and at each tick of the epoch. How long it had the thread is measured here, once, for its
//! tenant's turns and for what its module is counted. What short calls use at the driver's desk is charged to their
//! tenants too, and [`driver`] says how much that may be.
//!
//! Invariants: nobody waits for a turn on a thread, only as a pending future, which can be dropped at any time; deadlines and
//! cancellation need no turn. No place is held over an await. The lock is held for moments, and nobody is woken under it.

mod driver;
mod turns;

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;

use self::driver::{Alone, DriverTime, VisitTime};
use self::turns::{Asked, Place, TenantId, Ticket, Turns};
pub use self::turns::{Portion, USUAL_WEIGHT};
use super::heat::Heat;
use super::lent::lent;
use super::meter::Meter;
use super::stint::Stint;
use super::threads::{Polled, Side, Threads, go_to, here};
use crate::mesh::handle::outbox;
use crate::mesh::handle::passing::passed_on;

/// The turns of all tenants of a runtime. Clones are the same.
#[derive(Clone)]
pub struct Fair(Arc<Shared>);

struct Shared {
    epoch: Instant,
    state: Mutex<State>,
    /// Whether turns make a difference: there are several tenants, or one has an allowance.
    counts: AtomicBool,
    /// A tenant has to wait for its allowance.
    held: Notify,
    /// What guests that wait in the network's thread took of it.
    visits: VisitTime,
    /// Whether there is one.
    alone: Alone,
    /// Of the stands that there were.
    last_stand: AtomicU64,
}

/// A guest that takes longer between two waits for the host is not quick: it gains little where its answer is read, and holds up
/// others there.
const QUICK: Duration = Duration::from_micros(200);

/// One beside which no other guest runs, in a runtime that passes nothing on between others, holds up next to nobody: it may take so long for the many answers that it gets at
/// a time.
const QUICK_ALONE: Duration = Duration::from_millis(1);

/// A guest that waits for more answers gets many at a time: on the guests' side it takes them while the network's thread reads the
/// next. A broadcast is one.
const FEW_ANSWERS: usize = 8;

/// The desk of the driver, as one who runs guests, and the controller as one who passes something on; stands are counted from 1.
const DESK: u64 = 0;

/// Whether a guest that had the thread for so long, and now waits, is to go on in the network's. Asked once for each poll: one that a
/// tick has interrupted computes, and one that waits for many answers has no use for it where there are others.
pub(super) fn goes_on_in_network(held: Duration, is_alone: bool) -> bool {
    let Polled { interrupted, awaited } = Polled::take();
    let is_quick = if is_alone { held < QUICK_ALONE } else { held < QUICK && awaited <= FEW_ANSWERS };
    !interrupted && is_quick
}

struct State {
    turns: Turns<Waker>,
    driver: DriverTime,
    tenants: usize,
}

impl Fair {
    /// So many guests run at a time, and one more of a tenant that is behind all others.
    pub fn new(places: usize) -> Self {
        let state = State { turns: Turns::new(places), driver: DriverTime::default(), tenants: 0 };
        Self(Arc::new(Shared {
            epoch: Instant::now(),
            state: Mutex::new(state),
            counts: AtomicBool::new(false),
            held: Notify::new(),
            visits: VisitTime::default(),
            alone: Alone::default(),
            last_stand: AtomicU64::new(DESK),
        }))
    }

    /// One more tenant.
    pub fn add(&self, portion: Portion) -> Arc<Share> {
        let mut state = self.0.lock();
        let (tenant, number) = (state.turns.add(portion), state.tenants);
        state.driver.add(portion.weight);
        state.tenants += 1;
        if state.tenants > 1 || portion.cpu_millis.is_some() {
            self.0.counts.store(true, Ordering::Relaxed);
        }
        drop(state);
        Arc::new(Share { shared: self.0.clone(), tenant, number, driver_from: AtomicU64::new(0) })
    }

    /// Gives turns to tenants whose allowance was used up, as it flows in. Ends when it is cancelled.
    pub async fn keep(self, cancel: CancellationToken) {
        loop {
            let next = self.0.lock().turns.next_time();
            let alarm = async {
                match next {
                    Some(at) => sleep_until((self.0.epoch + at).into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = cancel.cancelled() => return,
                () = self.0.held.notified() => {}
                () = alarm => self.0.settle(self.0.time(Instant::now()), |_| {}),
            }
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn time(&self, at: Instant) -> Duration {
        at.saturating_duration_since(self.epoch)
    }

    /// Changes something, and wakes those who have their turn then.
    fn settle(&self, now: Duration, change: impl FnOnce(&mut Turns<Waker>)) {
        let mut state = self.lock();
        change(&mut state.turns);
        let mut next = state.turns.next(now);
        drop(state);
        while let Some(waker) = next {
            waker.wake();
            next = self.lock().turns.next(now);
        }
    }
}

/// One tenant's share of the guests' threads.
pub struct Share {
    shared: Arc<Shared>,
    tenant: TenantId,
    number: usize,
    /// From when on its guests may run in the network's thread, in nanoseconds from the epoch; 0 while it is always so.
    driver_from: AtomicU64,
}

impl Share {
    /// That of a tenant that has no other beside it.
    pub fn alone() -> Arc<Self> {
        Fair::new(std::thread::available_parallelism().map_or(1, usize::from)).add(Portion::default())
    }

    /// A place to ask for turns from: one for each task that polls guests, of the module that has this meter. Those with the
    /// same heat are quick, or are not, together.
    pub(super) fn stand(self: &Arc<Self>, meter: Arc<Meter>, heat: Arc<Heat>, threads: Threads) -> Stand {
        let number = self.shared.last_stand.fetch_add(1, Ordering::Relaxed) + 1;
        Stand {
            share: self.clone(),
            number,
            passed_on: 0,
            meter,
            heat,
            threads,
            waits: None,
            took: Duration::ZERO,
            awaited: [0; 2],
        }
    }

    /// Whether its guests may run in the network's thread.
    pub(super) fn may_run_in_driver(&self, now: Instant) -> bool {
        let from = self.driver_from.load(Ordering::Relaxed);
        from == 0 || nanos(self.shared.time(now)) >= from
    }

    /// One of its guests ran in the network's thread, so long until now.
    pub(super) fn ran_in_driver(&self, used: Duration, now: Instant) {
        // Whom a guest calls there has that one's time.
        if here().is_none() {
            self.shared.alone.runs(DESK, self.shared.time(now));
        }
        if !self.shared.counts.load(Ordering::Relaxed) {
            return;
        }
        let now = self.shared.time(now);
        let mut state = self.shared.lock();
        state.turns.charge(self.tenant, used, now);
        let (part, paid) = (state.driver.used(self.number, used, now), state.turns.paid_at(self.tenant, now));
        drop(state);
        if let Some(from) = part.max(paid) {
            self.driver_from.store(nanos(from), Ordering::Relaxed);
        }
    }
}

impl fmt::Debug for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Share").field("tenant", &self.number).finish_non_exhaustive()
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Where a task that polls guests waits for its turns. Dropping it gives up what it has.
pub(super) struct Stand {
    share: Arc<Share>,
    number: u64,
    /// How much the network's thread had passed on between other runtimes when the guest was polled there last.
    passed_on: u64,
    meter: Arc<Meter>,
    heat: Arc<Heat>,
    threads: Threads,
    waits: Option<Ticket>,
    /// How long the last turn took.
    took: Duration,
    /// For how many answers the guest waited after it, and after the one before.
    awaited: [usize; 2],
}

impl Stand {
    /// Polls a guest if it is its tenant's turn; otherwise the task is woken when it is. A guest that is quick and waits goes
    /// on in the network's thread, one that is not comes back from there.
    pub fn poll<T>(&mut self, cx: &mut Context<'_>, guest: impl FnOnce(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
        let began = Instant::now();
        let shared = &self.share.shared;
        shared.alone.runs(self.number, shared.time(began));
        if here() == Some(Side::Network) {
            return self.poll_in_network(began, cx, guest);
        }
        Polled::take();
        let polled = self.poll_in_turn(began, cx, guest);
        if polled.is_pending() && here().is_some() {
            let waits = self.waits.is_none() && goes_on_in_network(began.elapsed(), self.is_alone(began));
            // What was said earlier in this poll of the task holds no more.
            go_to(if waits && self.may_be_in_network(began) { Side::Network } else { Side::Guests });
        }
        polled
    }

    /// Polls a guest where it may hold up everybody's frames.
    fn poll_in_network<T>(
        &mut self,
        began: Instant,
        cx: &mut Context<'_>,
        guest: impl FnOnce(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        self.took = Duration::ZERO;
        let passed_on = passed_on();
        if passed_on != self.passed_on {
            self.passed_on = passed_on;
            let shared = &self.share.shared;
            shared.alone.runs(DESK, shared.time(began));
        }
        if !self.may_be_in_network(began) {
            go_to(Side::Guests);
            return Poll::Pending;
        }
        let _guests = self.threads.enter_guests();
        let lent_before = lent();
        Polled::take();
        let stint = Stint::begin(began);
        let polled = poll_gathering(&mut self.awaited, || guest(cx));
        let now = Instant::now();
        // Whoever had the thread in the middle of this, others waited for it.
        let held = now.saturating_duration_since(began);
        self.took = stint.took(now).saturating_sub(lent().saturating_sub(lent_before));
        self.meter.computed(self.took);
        self.heat.took_here(now, self.took);
        self.share.ran_in_driver(self.took, now);
        let is_alone = self.is_alone(began);
        let shared = &self.share.shared;
        shared.visits.took(held, shared.time(now), is_alone);
        if polled.is_pending() && !goes_on_in_network(held, is_alone) {
            go_to(Side::Guests);
        }
        polled
    }

    fn may_be_in_network(&self, now: Instant) -> bool {
        let shared = &self.share.shared;
        shared.visits.is_left(shared.time(now)) && self.heat.is_cool(now) && self.share.may_run_in_driver(now)
    }

    /// Whether no other guest has run for a while.
    fn is_alone(&self, now: Instant) -> bool {
        let shared = &self.share.shared;
        shared.alone.is(self.number, shared.time(now))
    }

    fn poll_in_turn<T>(
        &mut self,
        began: Instant,
        cx: &mut Context<'_>,
        guest: impl FnOnce(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        let shared = &self.share.shared;
        let now = shared.time(began);
        self.took = Duration::ZERO;
        let mut state = shared.lock();
        match state.turns.ask(self.share.tenant, self.waits.take(), || cx.waker().clone(), now) {
            Asked::Go(place) => {
                drop(state);
                let (share, meter, took, waits) = (&self.share, &self.meter, &mut self.took, &mut self.waits);
                let mut turn =
                    Turn { share, meter, place, stint: Stint::begin(began), lent: lent(), took, again: None };
                // What it gathers is sent off in this turn.
                let polled = poll_gathering(&mut self.awaited, || guest(cx));
                if polled.is_pending() && Polled::was_interrupted() {
                    turn.again = Some((cx.waker().clone(), waits));
                }
                polled
            }
            Asked::Wait(ticket) => {
                self.waits = Some(ticket);
                if state.turns.next_time().is_some() {
                    shared.held.notify_one();
                }
                Poll::Pending
            }
        }
    }

    /// How long the guest had the thread when it was polled last; nothing, where that was not its turn.
    pub fn took(&self) -> Duration {
        self.took
    }

    /// Polls it to its end, in its tenant's turns. Those are what bounds a poll, not tokio's budget: with that, of more answers
    /// than 128 that wait for a guest each of the rest would wake it for nothing.
    pub async fn run<T>(mut self, guest: impl Future<Output = T>) -> T {
        let mut guest = pin!(tokio::task::coop::unconstrained(guest));
        poll_fn(|cx| self.poll(cx, |cx| guest.as_mut().poll(cx))).await
    }
}

/// Polls a guest that gathers what it asks, where it waited for many answers after the last poll or the one before: in one it may take
/// all of them, and go on in the next.
fn poll_gathering<T>(awaited: &mut [usize; 2], guest: impl FnOnce() -> Poll<T>) -> Poll<T> {
    let [last, before] = *awaited;
    let most = last.max(before);
    let gathering = (most > FEW_ANSWERS).then(|| outbox::gather(most));
    let polled = guest();
    drop(gathering);
    *awaited = [Polled::awaited(), last];
    polled
}

impl Drop for Stand {
    fn drop(&mut self) {
        if let Some(ticket) = self.waits.take() {
            let shared = &self.share.shared;
            let now = shared.time(Instant::now());
            shared.settle(now, |turns| turns.leave(self.share.tenant, ticket, now));
        }
    }
}

/// A guest has the thread, however that ends.
struct Turn<'a> {
    share: &'a Share,
    meter: &'a Meter,
    place: Place,
    stint: Stint,
    /// What the thread had lent by then.
    lent: Duration,
    took: &'a mut Duration,
    /// Who waits for the next turn at once, and where his ticket goes.
    again: Option<(Waker, &'a mut Option<Ticket>)>,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let shared = &self.share.shared;
        let now = Instant::now();
        // Of a guest that it called here, the time is that one's.
        let used = self.stint.took(now).saturating_sub(lent().saturating_sub(self.lent));
        *self.took = used;
        self.meter.computed(used);
        let now = shared.time(now);
        let (tenant, place, again) = (self.share.tenant, self.place, self.again.take());
        shared.settle(now, |turns| match again {
            Some((waker, waits)) => *waits = Some(turns.done_for_now(tenant, place, used, waker, now)),
            None => turns.done(tenant, place, used, now),
        });
    }
}

#[cfg(test)]
#[path = "fair_tests.rs"]
mod tests;
