//! What all modules of one tenant in this runtime may use together, beside what each may by itself.
//!
//! Invariants: what was taken is given back when what it was taken for ends, however it does; what a ceiling has no room
//! for is refused at once, so that nobody waits for another module, but for what guests print and for large items of
//! streams: who prints or writes waits. Each module still has limits of its own. What has no ceiling is not counted, and
//! costs nothing. Calls that come from other tenants, and their streams, have half of what there is a ceiling on at most, so
//! that the tenant's own find room.
//! The tenant's schedules, and what its modules are to read of streams, are bounded by the node, which has them.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use daffi_proto::id::TenantName;

use super::audience::Audience;
use super::output::Rate;
use super::rate::CallRate;
use super::transcode::stream::ItemBudget;

/// What a tenant may have in this runtime; none for what only its modules' own limits bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CeilingLimits {
    /// Linear memory of all instances.
    pub memory_bytes: Option<usize>,
    /// Instances of all modules, those of `run` too.
    pub instances: Option<usize>,
    /// Calls to others that all modules have open.
    pub open_calls: Option<usize>,
    /// Bytes that these hold: arguments, and results that their guests have not dropped.
    pub held_bytes: Option<usize>,
    /// Calls that wait for an instance of any module.
    pub queue: Option<usize>,
    /// Calls that run at once, or are with an instance that will run them.
    pub concurrency: Option<usize>,
    /// Streams and futures that all modules have open.
    pub open_streams: Option<usize>,
    /// Bytes of large items of streams that guests of all modules wrote and that are still in this runtime; and as many of
    /// those that they are to read.
    pub stream_bytes: Option<usize>,
    /// Handles of the host that all instances hold, of `daffi:runtime` and of WASI.
    pub handles: Option<usize>,
    /// Scheduled tasks of all modules that have not finished.
    pub schedules: Option<usize>,
    /// Calls of all modules in a second.
    pub calls_per_second: Option<u32>,
    /// What all guests may print in a second.
    pub output_bytes_per_second: Option<u64>,
}

/// What there is a ceiling on, and a number of at any time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Memory,
    Instances,
    OpenCalls,
    Held,
    Queued,
    Running,
    OpenStreams,
    Handles,
}

impl Kind {
    /// What it is in words, after a number, and the key of its limit.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Memory => ("bytes of memory", "max-memory"),
            Self::Instances => ("instances", "max-instances"),
            Self::OpenCalls => ("open calls to others", "max-open-calls"),
            Self::Held => ("bytes of arguments and results in open calls", "max-held"),
            Self::Queued => ("calls in the queues of its modules", "max-queue"),
            Self::Running => ("calls that run at once", "max-concurrency"),
            Self::OpenStreams => ("open streams and futures", "max-open-streams"),
            Self::Handles => ("handles", "max-handles"),
        }
    }
}

/// How much of one thing there may be; what has no end is not counted.
#[derive(Debug)]
struct Gauge {
    used: AtomicUsize,
    /// As much of it as strangers use.
    by_strangers: AtomicUsize,
    most: usize,
}

impl Gauge {
    fn new(most: Option<usize>) -> Self {
        Self { used: AtomicUsize::new(0), by_strangers: AtomicUsize::new(0), most: most.unwrap_or(usize::MAX) }
    }

    fn is_open(&self) -> bool {
        self.most == usize::MAX
    }

    /// Takes so much, or nothing and false.
    fn take(&self, audience: Audience, more: usize) -> bool {
        if self.is_open() {
            return true;
        }
        if audience == Audience::Strangers && !add(&self.by_strangers, more, strangers_share(self.most)) {
            return false;
        }
        let taken = add(&self.used, more, self.most);
        if !taken && audience == Audience::Strangers {
            self.by_strangers.fetch_sub(more, Ordering::Relaxed);
        }
        taken
    }

    fn give(&self, audience: Audience, less: usize) {
        if self.is_open() {
            return;
        }
        self.used.fetch_sub(less, Ordering::Relaxed);
        if audience == Audience::Strangers {
            self.by_strangers.fetch_sub(less, Ordering::Relaxed);
        }
    }

    /// What was taken for the one is used by the other from now on, or false.
    fn hand_on(&self, from: Audience, to: Audience, what: usize) -> bool {
        match (from, to) {
            _ if self.is_open() => true,
            (Audience::Home, Audience::Strangers) => add(&self.by_strangers, what, strangers_share(self.most)),
            (Audience::Strangers, Audience::Home) => {
                self.by_strangers.fetch_sub(what, Ordering::Relaxed);
                true
            }
            _ => true,
        }
    }
}

/// Adds to what is used, where there is room.
fn add(used: &AtomicUsize, more: usize, most: usize) -> bool {
    let add = |used: usize| used.checked_add(more).filter(|sum| *sum <= most);
    used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).is_ok()
}

/// How much of a ceiling calls from other tenants may use together.
fn strangers_share(most: usize) -> usize {
    most.div_ceil(2)
}

/// The ceilings of one tenant, which its modules share.
#[derive(Debug)]
pub struct Ceiling {
    tenant: TenantName,
    memory: Gauge,
    instances: Gauge,
    open_calls: Gauge,
    held: Gauge,
    queued: Gauge,
    running: Gauge,
    open_streams: Gauge,
    handles: Gauge,
    items: Option<ItemBudget>,
    calls: Option<Calls>,
    output: Option<Arc<Rate>>,
}

/// How often a tenant may be called, by its own and others, and by others.
#[derive(Debug)]
struct Calls {
    per_second: u32,
    all: CallRate,
    by_strangers: CallRate,
}

/// A tenant has as much as it may, or strangers have as much of it as they may.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "tenant {tenant} may have {most} {} in this runtime, its {}, {}and has no room for more",
    .kind.words().0, .kind.words().1, of_which(*.audience)
)]
pub struct CeilingReached {
    tenant: TenantName,
    most: usize,
    kind: Kind,
    audience: Audience,
}

/// A tenant is called as often as it may be, or by strangers as often as it may be by them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "tenant {tenant} takes {rate} calls in a second in this runtime, its max-call-rate, {}and has had them; try again in {} ms",
    of_which(*.audience), .again.as_millis().saturating_add(1)
)]
pub(super) struct CalledTooOften {
    tenant: TenantName,
    rate: u32,
    again: Duration,
    audience: Audience,
}

/// How much of a ceiling is there for these, in words.
fn of_which(audience: Audience) -> &'static str {
    match audience {
        Audience::Home => "",
        Audience::Strangers => "half of them for callers of other tenants, ",
    }
}

impl Ceiling {
    /// Nothing of it is used yet.
    pub fn new(tenant: TenantName, limits: CeilingLimits) -> Self {
        let now = Instant::now();
        Self {
            tenant,
            memory: Gauge::new(limits.memory_bytes),
            instances: Gauge::new(limits.instances),
            open_calls: Gauge::new(limits.open_calls),
            held: Gauge::new(limits.held_bytes),
            queued: Gauge::new(limits.queue),
            running: Gauge::new(limits.concurrency),
            open_streams: Gauge::new(limits.open_streams),
            handles: Gauge::new(limits.handles),
            items: limits.stream_bytes.map(ItemBudget::new),
            calls: limits.calls_per_second.map(|per_second| Calls {
                per_second,
                all: CallRate::new(per_second, now),
                by_strangers: CallRate::new(per_second.div_ceil(2), now),
            }),
            output: limits.output_bytes_per_second.map(|rate| Arc::new(Rate::new(rate, now))),
        }
    }

    /// No ceiling.
    pub fn none(tenant: TenantName) -> Self {
        Self::new(tenant, CeilingLimits::default())
    }

    /// Takes so much, to be given back by [`Ceiling::give`].
    ///
    /// # Errors
    /// [`CeilingReached`]
    pub(super) fn take(&self, kind: Kind, more: usize) -> Result<(), CeilingReached> {
        self.take_for(Audience::Home, kind, more)
    }

    /// The same for a call from here or elsewhere.
    ///
    /// # Errors
    /// [`CeilingReached`]
    pub(super) fn take_for(&self, audience: Audience, kind: Kind, more: usize) -> Result<(), CeilingReached> {
        match self.gauge(kind).take(audience, more) {
            true => Ok(()),
            false => Err(self.reached(kind, audience)),
        }
    }

    /// Whether there is a ceiling on this at all.
    pub(super) fn bounds(&self, kind: Kind) -> bool {
        !self.gauge(kind).is_open()
    }

    /// Gives back what was taken.
    pub(super) fn give(&self, kind: Kind, less: usize) {
        self.give_for(Audience::Home, kind, less);
    }

    /// The same for a call from here or elsewhere.
    pub(super) fn give_for(&self, audience: Audience, kind: Kind, less: usize) {
        self.gauge(kind).give(audience, less);
    }

    /// Takes one, which is given back when the result is dropped; none where there is no ceiling.
    ///
    /// # Errors
    /// [`CeilingReached`]
    pub(super) fn place(self: &Arc<Self>, kind: Kind, audience: Audience) -> Result<Option<Place>, CeilingReached> {
        if !self.bounds(kind) {
            return Ok(None);
        }
        self.take_for(audience, kind, 1)?;
        Ok(Some(Place { ceiling: self.clone(), kind, audience }))
    }

    /// A place that a call has left is the next one's; where there was none, one is taken.
    ///
    /// # Errors
    /// [`CeilingReached`]: the next one may not have it, and it stays.
    pub(super) fn hand_on(
        self: &Arc<Self>,
        place: &mut Option<Place>,
        kind: Kind,
        to: Audience,
    ) -> Result<(), CeilingReached> {
        match place {
            Some(place) => place.hand_on(to),
            None => {
                *place = self.place(kind, to)?;
                Ok(())
            }
        }
    }

    /// Lets a call in.
    ///
    /// # Errors
    /// [`CalledTooOften`]
    pub(super) fn call(&self, audience: Audience, now: Instant) -> Result<(), CalledTooOften> {
        let Some(calls) = &self.calls else { return Ok(()) };
        let refused = |again| CalledTooOften { tenant: self.tenant.clone(), rate: calls.per_second, again, audience };
        if audience == Audience::Home {
            return calls.all.take(now).map_err(refused);
        }
        calls.by_strangers.take(now).map_err(refused)?;
        calls.all.take(now).map_err(|again| {
            calls.by_strangers.give_back();
            refused(again)
        })
    }

    /// How fast all guests may print, where there is a ceiling.
    pub(super) fn output(&self) -> Option<Arc<Rate>> {
        self.output.clone()
    }

    /// How many bytes of large items guests may have written to streams, where there is a ceiling.
    pub(super) fn items(&self) -> Option<ItemBudget> {
        self.items.clone()
    }

    fn reached(&self, kind: Kind, audience: Audience) -> CeilingReached {
        CeilingReached { tenant: self.tenant.clone(), most: self.gauge(kind).most, kind, audience }
    }

    fn gauge(&self, kind: Kind) -> &Gauge {
        match kind {
            Kind::Memory => &self.memory,
            Kind::Instances => &self.instances,
            Kind::OpenCalls => &self.open_calls,
            Kind::Held => &self.held,
            Kind::Queued => &self.queued,
            Kind::Running => &self.running,
            Kind::OpenStreams => &self.open_streams,
            Kind::Handles => &self.handles,
        }
    }
}

/// A place among those of a tenant.
pub(super) struct Place {
    ceiling: Arc<Ceiling>,
    kind: Kind,
    audience: Audience,
}

impl Place {
    /// The next call has it, from here or elsewhere.
    ///
    /// # Errors
    /// [`CeilingReached`]: strangers have as many as they may; it stays as it was.
    pub fn hand_on(&mut self, to: Audience) -> Result<(), CeilingReached> {
        if !self.ceiling.gauge(self.kind).hand_on(self.audience, to, 1) {
            return Err(self.ceiling.reached(self.kind, to));
        }
        self.audience = to;
        Ok(())
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Place").field(&self.kind).finish()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.ceiling.give_for(self.audience, self.kind, 1);
    }
}

#[cfg(test)]
#[path = "ceiling_tests.rs"]
mod tests;
