//! Whose turn it is: weighted fair queueing of tenants, as a plain state machine without clocks, threads or guests.
//!
//! ```text
//!   ask ──► Go(place)  a place is free and nobody is before it       done ──► the place is free, its time is charged
//!                                                                    done_for_now ──► the same, and Wait(ticket)
//!     └───► Wait(ticket) ──► next ──► whoever waited is woken, and asks again with the ticket ──► Go
//!                      └──► leave
//! ```
//!
//! Each tenant has a virtual time, which moves by the time that it used, divided by its weight; the one that is furthest
//! behind is next (start-time fair queueing; Goyal, Vin and Cheng, SIGCOMM 1996). The floor is the virtual time of those
//! who compete: who comes back after a rest begins [`CREDIT`] below it, so that a rest is no account to draw on for long.
//!
//! Invariants: a place is one tenant's turn from `Go`, or from `next`, until `done` or `leave`; while somebody may use a
//! free place, nobody waits; within a tenant those who wait are served in order. One place, the reserve, is for tenants
//! that are behind all others only: whoever uses little is not kept waiting by those who have taken all the rest. A
//! tenant with an allowance of time has no turn until what it used is paid for.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Duration;

/// How far below the floor a tenant's virtual time begins after a rest, for the weight [`USUAL_WEIGHT`].
const CREDIT: Duration = Duration::from_millis(20);

/// The weight of a tenant of which nothing is said.
pub const USUAL_WEIGHT: u32 = 100;

/// How much unused allowance a tenant keeps: what it has in so long.
const ALLOWANCE_KEPT: Duration = Duration::from_millis(100);

/// What a tenant may take.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Portion {
    /// Its weight against those of the others; above 0.
    pub weight: u32,
    /// The time of processors that it may use in a second, in thousandths of a second; none for all there is.
    pub cpu_millis: Option<u32>,
}

impl Default for Portion {
    fn default() -> Self {
        Self { weight: USUAL_WEIGHT, cpu_millis: None }
    }
}

/// A tenant, by the order in which it was added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct TenantId(usize);

/// Who waits. Never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Ticket(u64);

/// A turn's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Usual,
    Reserve,
}

/// The answer to who asks for a turn.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Go(Place),
    Wait(Ticket),
}

/// The turns of all tenants. `W` is how to wake who waits.
pub(super) struct Turns<W> {
    tenants: Vec<Tenant>,
    usual_free: usize,
    reserve_free: bool,
    /// Nanoseconds of virtual time.
    floor: u64,
    /// Tenants that wait and may have a turn, who is furthest behind first.
    ready: BTreeSet<(u64, TenantId)>,
    /// Tenants that wait and may not yet, by when they may.
    held: BTreeSet<(Duration, TenantId)>,
    waiting: HashMap<Ticket, W>,
    granted: HashMap<Ticket, Place>,
    next_ticket: u64,
}

#[derive(Debug)]
struct Tenant {
    weight: u64,
    virtual_time: u64,
    allowance: Option<Allowance>,
    /// Turns that it has now.
    turns: usize,
    /// In order; those that have left are passed over.
    queue: VecDeque<Ticket>,
    listed: Listed,
}

/// Where a tenant that waits is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Listed {
    No,
    /// By this virtual time.
    Ready(u64),
    Held(Duration),
}

/// A tenant's time of processors, which flows in at a rate and can be owed.
#[derive(Clone, Copy, Debug)]
struct Allowance {
    cpu_millis: u32,
    /// Nanoseconds.
    left: i64,
    at: Duration,
}

impl Allowance {
    fn new(cpu_millis: u32) -> Self {
        let mut allowance = Self { cpu_millis, left: 0, at: Duration::ZERO };
        allowance.left = allowance.flow(ALLOWANCE_KEPT);
        allowance
    }

    fn flow(&self, time: Duration) -> i64 {
        let nanos = time.as_nanos().saturating_mul(self.cpu_millis.into()) / 1000;
        i64::try_from(nanos).unwrap_or(i64::MAX)
    }

    fn refill(&mut self, now: Duration) {
        let more = self.flow(now.saturating_sub(self.at));
        self.left = self.left.saturating_add(more).min(self.flow(ALLOWANCE_KEPT));
        self.at = now;
    }

    fn charge(&mut self, used: Duration, now: Duration) {
        self.refill(now);
        self.left = self.left.saturating_sub(i64::try_from(used.as_nanos()).unwrap_or(i64::MAX));
    }

    /// From when on there is time; none where there is now.
    fn paid_at(&mut self, now: Duration) -> Option<Duration> {
        self.refill(now);
        if self.left > 0 {
            return None;
        }
        let owed = u128::from(self.left.unsigned_abs()) + 1;
        let nanos = (owed * 1000).div_ceil(self.cpu_millis.max(1).into());
        Some(now + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)))
    }
}

impl<W> Turns<W> {
    /// So many places for everybody, and one more in reserve.
    pub fn new(places: usize) -> Self {
        Self {
            tenants: Vec::new(),
            usual_free: places.max(1),
            reserve_free: true,
            floor: 0,
            ready: BTreeSet::new(),
            held: BTreeSet::new(),
            waiting: HashMap::new(),
            granted: HashMap::new(),
            next_ticket: 0,
        }
    }

    pub fn add(&mut self, portion: Portion) -> TenantId {
        self.tenants.push(Tenant {
            weight: portion.weight.max(1).into(),
            virtual_time: self.floor,
            allowance: portion.cpu_millis.map(Allowance::new),
            turns: 0,
            queue: VecDeque::new(),
            listed: Listed::No,
        });
        TenantId(self.tenants.len() - 1)
    }

    /// Somebody of this tenant wants a turn, or, with the ticket that he was given, asks whether it is his.
    pub fn ask(&mut self, id: TenantId, ticket: Option<Ticket>, waker: impl FnOnce() -> W, now: Duration) -> Asked {
        if let Some(ticket) = ticket {
            if let Some(place) = self.granted.remove(&ticket) {
                return Asked::Go(place);
            }
            if let Some(waiting) = self.waiting.get_mut(&ticket) {
                *waiting = waker();
                return Asked::Wait(ticket);
            }
        }
        self.wakes_up(id);
        if self.is_first(id)
            && self.paid_at(id, now).is_none()
            && let Some(place) = self.take_place(id)
        {
            return Asked::Go(place);
        }
        Asked::Wait(self.wait(id, waker(), now))
    }

    /// Somebody of this tenant waits for a turn.
    fn wait(&mut self, id: TenantId, waker: W, now: Duration) -> Ticket {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.waiting.insert(ticket, waker);
        if let Some(tenant) = self.tenants.get_mut(id.0) {
            tenant.queue.push_back(ticket);
        }
        self.list(id, now);
        ticket
    }

    /// A turn is over, which took so long.
    pub fn done(&mut self, id: TenantId, place: Place, used: Duration, now: Duration) {
        self.charge(id, used, now);
        self.raise_floor();
        self.give_back(id, place);
    }

    /// The same, and whoever had it wants the next one: he waits before somebody else is chosen. If he asked only when he is polled
    /// again, a tenant of few guests would have none that waits when a place is free, and others would get it.
    pub fn done_for_now(&mut self, id: TenantId, place: Place, used: Duration, waker: W, now: Duration) -> Ticket {
        self.charge(id, used, now);
        let ticket = self.wait(id, waker, now);
        self.raise_floor();
        self.give_back(id, place);
        ticket
    }

    /// A tenant used time, in a turn or elsewhere.
    pub fn charge(&mut self, id: TenantId, used: Duration, now: Duration) {
        let Some(tenant) = self.tenants.get_mut(id.0) else { return };
        let nanos = u64::try_from(used.as_nanos()).unwrap_or(u64::MAX);
        tenant.virtual_time = tenant
            .virtual_time
            .max(self.floor.saturating_sub(credit(tenant.weight)))
            .saturating_add(scaled(nanos, tenant.weight));
        if let Some(allowance) = &mut tenant.allowance {
            allowance.charge(used, now);
        }
        if tenant.listed != Listed::No {
            self.list(id, now);
        }
    }

    /// From when on a tenant has time left of its allowance; none where it has now.
    pub fn paid_at(&mut self, id: TenantId, now: Duration) -> Option<Duration> {
        self.tenants.get_mut(id.0)?.allowance.as_mut()?.paid_at(now)
    }

    /// Who waited, or had a turn and has not begun it, does not want it any more.
    pub fn leave(&mut self, id: TenantId, ticket: Ticket, now: Duration) {
        if let Some(place) = self.granted.remove(&ticket) {
            self.give_back(id, place);
        }
        self.waiting.remove(&ticket);
        self.list(id, now);
    }

    /// Gives a free place to who is next, and says how to wake him; to be called until there is none.
    pub fn next(&mut self, now: Duration) -> Option<W> {
        while let Some(&(at, id)) = self.held.first()
            && at <= now
        {
            self.list(id, now);
        }
        loop {
            let (_, id) = *self.ready.first()?;
            let Some(ticket) = self.front(id) else {
                self.list(id, now);
                continue;
            };
            let place = self.take_place(id)?;
            if let Some(tenant) = self.tenants.get_mut(id.0) {
                tenant.queue.pop_front();
            }
            self.list(id, now);
            let Some(waker) = self.waiting.remove(&ticket) else {
                self.give_back(id, place);
                continue;
            };
            self.granted.insert(ticket, place);
            return Some(waker);
        }
    }

    /// When [`Turns::next`] may find somebody whose allowance was used up.
    pub fn next_time(&self) -> Option<Duration> {
        self.held.first().map(|(at, _)| *at)
    }

    /// Whether nobody who waits is before this tenant.
    fn is_first(&self, id: TenantId) -> bool {
        let own = self.tenants.get(id.0).map(|tenant| tenant.virtual_time);
        self.ready.first().is_none_or(|(first, _)| own.is_some_and(|own| own < *first))
    }

    /// The first of a tenant's queue that has not left.
    fn front(&mut self, id: TenantId) -> Option<Ticket> {
        let queue = &mut self.tenants.get_mut(id.0)?.queue;
        while let Some(ticket) = queue.front() {
            if self.waiting.contains_key(ticket) {
                return Some(*ticket);
            }
            queue.pop_front();
        }
        None
    }

    /// A tenant that rested has no more than its credit.
    fn wakes_up(&mut self, id: TenantId) {
        if let Some(tenant) = self.tenants.get_mut(id.0)
            && tenant.turns == 0
            && tenant.listed == Listed::No
        {
            tenant.virtual_time = tenant.virtual_time.max(self.floor.saturating_sub(credit(tenant.weight)));
        }
    }

    /// The floor is the least virtual time of those who have a turn or wait for one, and never falls. It is raised at the
    /// end of a turn, while that is one still: who goes on at once after it has none for a moment.
    fn raise_floor(&mut self) {
        let waiting = self.ready.first().map(|(time, _)| *time);
        let working = self.tenants.iter().filter(|tenant| tenant.turns > 0).map(|tenant| tenant.virtual_time).min();
        if let Some(least) = waiting.into_iter().chain(working).min() {
            self.floor = self.floor.max(least);
        }
    }

    fn take_place(&mut self, id: TenantId) -> Option<Place> {
        let tenant = self.tenants.get_mut(id.0)?;
        let place = if self.usual_free > 0 {
            self.usual_free -= 1;
            Place::Usual
        } else {
            let is_behind = tenant.virtual_time.saturating_add(credit(tenant.weight) / 2) <= self.floor;
            if !self.reserve_free || !is_behind {
                return None;
            }
            self.reserve_free = false;
            Place::Reserve
        };
        tenant.turns += 1;
        Some(place)
    }

    fn give_back(&mut self, id: TenantId, place: Place) {
        match place {
            Place::Usual => self.usual_free += 1,
            Place::Reserve => self.reserve_free = true,
        }
        if let Some(tenant) = self.tenants.get_mut(id.0) {
            tenant.turns = tenant.turns.saturating_sub(1);
        }
    }

    /// Lists a tenant where it belongs now.
    fn list(&mut self, id: TenantId, now: Duration) {
        let waits = self.front(id).is_some();
        let Some(tenant) = self.tenants.get_mut(id.0) else { return };
        match tenant.listed {
            Listed::No => false,
            Listed::Ready(time) => self.ready.remove(&(time, id)),
            Listed::Held(at) => self.held.remove(&(at, id)),
        };
        tenant.listed = Listed::No;
        if !waits {
            return;
        }
        match tenant.allowance.as_mut().and_then(|allowance| allowance.paid_at(now)) {
            Some(at) => {
                tenant.listed = Listed::Held(at);
                self.held.insert((at, id));
            }
            None => {
                tenant.listed = Listed::Ready(tenant.virtual_time);
                self.ready.insert((tenant.virtual_time, id));
            }
        }
    }
}

/// Time, as it counts for a tenant of this weight.
fn scaled(nanos: u64, weight: u64) -> u64 {
    nanos.saturating_mul(USUAL_WEIGHT.into()) / weight
}

fn credit(weight: u64) -> u64 {
    scaled(u64::try_from(CREDIT.as_nanos()).unwrap_or(u64::MAX), weight)
}

#[cfg(test)]
#[path = "turns_tests.rs"]
mod tests;
