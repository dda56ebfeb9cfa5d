//! What all modules of one tenant in this runtime may use together, beside what each may by itself.
//!
//! Invariants: what was taken is given back when what it was taken for ends, however it does; what a ceiling has no room
//! for is refused at once, so that nobody waits for another module, but for what guests print and for large items of
//! streams: who prints or writes waits. Each module still has limits of its own. What has no ceiling is not counted, and
//! costs nothing.
//! The tenant's schedules, and what its modules are to read of streams, are bounded by the node, which has them.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use daffi_proto::id::TenantName;

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
    most: usize,
}

impl Gauge {
    fn new(most: Option<usize>) -> Self {
        Self { used: AtomicUsize::new(0), most: most.unwrap_or(usize::MAX) }
    }

    fn is_open(&self) -> bool {
        self.most == usize::MAX
    }

    fn take(&self, more: usize) -> bool {
        let add = |used: usize| used.checked_add(more).filter(|sum| *sum <= self.most);
        self.is_open() || self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).is_ok()
    }

    fn give(&self, less: usize) {
        if !self.is_open() {
            self.used.fetch_sub(less, Ordering::Relaxed);
        }
    }
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
    calls: Option<(CallRate, u32)>,
    output: Option<Arc<Rate>>,
}

/// A tenant has as much as it may.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "tenant {tenant} may have {most} {} in this runtime, its {}, and has no room for more",
    .kind.words().0, .kind.words().1
)]
pub struct CeilingReached {
    tenant: TenantName,
    most: usize,
    kind: Kind,
}

/// A tenant is called as often as it may be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "tenant {tenant} takes {rate} calls in a second in this runtime, its max-call-rate, and has had them; try again in {} ms",
    .again.as_millis().saturating_add(1)
)]
pub(super) struct CalledTooOften {
    tenant: TenantName,
    rate: u32,
    again: Duration,
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
            calls: limits.calls_per_second.map(|rate| (CallRate::new(rate, now), rate)),
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
        let gauge = self.gauge(kind);
        match gauge.take(more) {
            true => Ok(()),
            false => Err(CeilingReached { tenant: self.tenant.clone(), most: gauge.most, kind }),
        }
    }

    /// Whether there is a ceiling on this at all.
    pub(super) fn bounds(&self, kind: Kind) -> bool {
        !self.gauge(kind).is_open()
    }

    /// Gives back what was taken.
    pub(super) fn give(&self, kind: Kind, less: usize) {
        self.gauge(kind).give(less);
    }

    /// Takes one, which is given back when the result is dropped; none where there is no ceiling.
    ///
    /// # Errors
    /// [`CeilingReached`]
    pub(super) fn place(self: &Arc<Self>, kind: Kind) -> Result<Option<Place>, CeilingReached> {
        if !self.bounds(kind) {
            return Ok(None);
        }
        self.take(kind, 1)?;
        Ok(Some(Place { ceiling: self.clone(), kind }))
    }

    /// Lets a call in.
    ///
    /// # Errors
    /// [`CalledTooOften`]
    pub(super) fn call(&self, now: Instant) -> Result<(), CalledTooOften> {
        let Some((calls, rate)) = &self.calls else { return Ok(()) };
        let refused = |again| CalledTooOften { tenant: self.tenant.clone(), rate: *rate, again };
        calls.take(now).map_err(refused)
    }

    /// How fast all guests may print, where there is a ceiling.
    pub(super) fn output(&self) -> Option<Arc<Rate>> {
        self.output.clone()
    }

    /// How many bytes of large items guests may have written to streams, where there is a ceiling.
    pub(super) fn items(&self) -> Option<ItemBudget> {
        self.items.clone()
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
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Place").field(&self.kind).finish()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.ceiling.give(self.kind, 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ceiling(limits: CeilingLimits) -> Arc<Ceiling> {
        Arc::new(Ceiling::new(TenantName::default(), limits))
    }

    #[test]
    fn what_is_given_back_can_be_taken_again_and_an_error_names_the_ceiling() {
        let ceiling = ceiling(CeilingLimits { memory_bytes: Some(10), instances: Some(1), ..CeilingLimits::default() });
        let place = ceiling.place(Kind::Instances).unwrap();
        let error = ceiling.place(Kind::Instances).unwrap_err().to_string();
        assert_eq!(
            error,
            "tenant default may have 1 instances in this runtime, its max-instances, and has no room for more"
        );
        drop(place);
        assert!(ceiling.place(Kind::Instances).is_ok() && ceiling.place(Kind::Instances).is_ok());
        assert!(ceiling.take(Kind::Memory, 6).is_ok() && ceiling.take(Kind::Memory, 5).is_err());
        ceiling.give(Kind::Memory, 6);
        assert!(ceiling.take(Kind::Memory, 10).is_ok());
    }

    #[test]
    fn each_kind_has_a_ceiling_of_its_own_and_a_key_for_it() {
        let none = Some(0);
        let limits = CeilingLimits {
            memory_bytes: none,
            instances: none,
            open_calls: none,
            held_bytes: none,
            queue: none,
            concurrency: none,
            open_streams: none,
            handles: none,
            ..CeilingLimits::default()
        };
        let full = ceiling(limits);
        for (kind, key, others) in [
            (Kind::Memory, "its max-memory,", CeilingLimits { memory_bytes: None, ..limits }),
            (Kind::Instances, "its max-instances,", CeilingLimits { instances: None, ..limits }),
            (Kind::OpenCalls, "its max-open-calls,", CeilingLimits { open_calls: None, ..limits }),
            (Kind::Held, "its max-held,", CeilingLimits { held_bytes: None, ..limits }),
            (Kind::Queued, "its max-queue,", CeilingLimits { queue: None, ..limits }),
            (Kind::Running, "its max-concurrency,", CeilingLimits { concurrency: None, ..limits }),
            (Kind::OpenStreams, "its max-open-streams,", CeilingLimits { open_streams: None, ..limits }),
            (Kind::Handles, "its max-handles,", CeilingLimits { handles: None, ..limits }),
        ] {
            let error = full.take(kind, 1).unwrap_err().to_string();
            assert!(error.starts_with("tenant default may have 0 ") && error.contains(key), "{error}");
            assert!(ceiling(others).place(kind).unwrap().is_none(), "{kind:?}");
        }
    }

    #[test]
    fn without_limits_there_is_room_for_all() {
        let ceiling = Arc::new(Ceiling::none(TenantName::default()));
        for _ in 0..2 {
            assert!(ceiling.take(Kind::Memory, usize::MAX).is_ok());
            assert!(ceiling.take(Kind::OpenCalls, 1).is_ok() && ceiling.call(Instant::now()).is_ok());
        }
        assert!(ceiling.output().is_none() && ceiling.items().is_none());
    }

    #[test]
    fn a_tenant_is_called_as_often_as_it_may_be_and_then_told_when_to_come_again() {
        let ceiling = ceiling(CeilingLimits { calls_per_second: Some(2), ..CeilingLimits::default() });
        let now = Instant::now();
        assert!(ceiling.call(now).is_ok() && ceiling.call(now).is_ok());
        let error = ceiling.call(now).unwrap_err().to_string();
        assert!(
            error.contains("tenant default takes 2 calls in a second in this runtime, its max-call-rate"),
            "{error}"
        );
        assert!(ceiling.call(now + Duration::from_secs(1)).is_ok());
    }
}
