//! What a module may use, and how its instances are kept.
//!
//! Invariants: every limit here is enforced, by [`Limiter`] (memory, tables, core instances), at admission (arguments, calls
//! in a second), by the pool (time, queue, instances), by the instance (payloads, handles), by its streams (output), by the
//! module (open calls, open streams) or by the node (schedules), and has a test that runs into it. A guest that ends after it was refused something is told
//! apart from one that ends by itself: [`Limiter`] remembers what it refused. It does not know calls; the stack is bounded
//! per engine, not here.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use daffi_proto::schedule::DEFAULT_MAX_TASKS;
use wasmtime::ResourceLimiter;

use super::ceiling::{Ceiling, CeilingReached, Kind};
use super::fault::{CpuUp, TimeUp};
use super::meter::Meter;

/// Most instances of a `pool:N`.
pub const MAX_POOL: u32 = 4096;

/// Most core instances of one component, its inner components included: the engines have room for no more.
pub const MAX_CORE_INSTANCES: u32 = 128;

/// Most tables of one component, its inner components included.
pub const MAX_TABLES: u32 = 64;

/// Most linear memories of one component, its inner components included.
pub const MAX_MEMORIES: u32 = 8;

/// What one module may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModuleLimits {
    /// Linear memory of one instance, all its memories together.
    pub memory_bytes: usize,
    /// Elements of all tables of one instance together.
    pub table_elements: usize,
    /// Core instances that one component instance may have, its inner components included.
    pub core_instances: usize,
    /// Tables that it may have.
    pub tables: usize,
    /// Memories that it may have.
    pub memories: usize,
    /// How long a call may run, whatever its deadline: what ends a guest that nobody waits for any more.
    pub max_call_time: Duration,
    /// How long a call may compute: what it waits in the host does not count.
    pub max_call_cpu: Duration,
    /// Calls that a module takes in a second; beyond it they are refused (`overloaded`). A call of a callback that is called
    /// once an item is one for each.
    pub calls_per_second: u32,
    /// How long a call may wait for an instance; after that it is refused (`overloaded`).
    pub queue_time: Duration,
    /// Calls that may wait for an instance; beyond it they are refused (`overloaded`).
    pub queue: usize,
    /// Instances of a `per-call` module at one time.
    pub concurrency: u32,
    /// Calls in flight in one instance of a component with async functions.
    pub async_calls: usize,
    /// Bytes of arguments, and of a result, in postcard.
    pub payload_bytes: usize,
    /// Bytes of the arguments of the module's callbacks, where those may have fewer.
    pub argument_bytes: usize,
    /// Bytes of their results, where those may have fewer.
    pub result_bytes: usize,
    /// Calls to others that a module may have open; beyond it they are refused (`overloaded`). The arguments that they
    /// hold are bounded by [`ModuleLimits::payload_bytes`].
    pub open_calls: usize,
    /// Scheduled tasks that it may have; beyond it they are refused (`overloaded`).
    pub schedules: usize,
    /// Streams and futures that a module may have open, those of the calls that it serves and of those that it makes;
    /// beyond it a call is refused (`overloaded`).
    pub open_streams: usize,
    /// What its guests may print in a second, all together.
    pub output_bytes_per_second: u64,
    /// Handles that one instance may hold: to things of the host (streams, pollables), and its own (resources, subtasks,
    /// waitable sets), of which it may always have what its calls need.
    pub host_handles: usize,
}

/// How many calls with arguments of full size a module may have open at least. Where it has more instances, each may
/// have one, as the only call of an instance without async functions.
const LARGEST_CALLS: usize = 4;

/// Handles of an instance that each call in it, or made by it, may need at once: a thread, a subtask, sets to wait in.
const HANDLES_PER_CALL: usize = 4;

impl ModuleLimits {
    /// Why a call ends that has computed for as long as one may.
    pub fn computed_too_long(&self) -> wasmtime::Error {
        let (most, longest) = (self.max_call_cpu, self.max_call_time);
        if most < longest { CpuUp { most }.into() } else { TimeUp.into() }
    }

    /// The most instances that serve a module's callbacks at one time.
    pub fn instances(&self, policy: InstancePolicy) -> u32 {
        match policy {
            InstancePolicy::Singleton => 1,
            InstancePolicy::Pool(size) => size,
            InstancePolicy::PerCall => self.concurrency.max(1),
        }
    }

    /// Bytes of arguments that a callback takes.
    pub fn max_arguments(&self) -> usize {
        self.argument_bytes.min(self.payload_bytes)
    }

    /// Bytes of a result that a callback may give.
    pub fn max_result(&self) -> usize {
        self.result_bytes.min(self.payload_bytes)
    }

    /// Bytes of arguments, and as many of large items of streams, that a module's guests may have on their way to others.
    pub fn held_bytes(&self, policy: InstancePolicy) -> usize {
        let largest = usize::try_from(self.instances(policy)).unwrap_or(usize::MAX).max(LARGEST_CALLS);
        self.payload_bytes.saturating_mul(largest)
    }

    /// Handles of its own that one instance may hold.
    pub fn component_handles(&self) -> usize {
        let calls = self.async_calls.saturating_add(self.open_calls);
        self.host_handles.max(calls.saturating_mul(HANDLES_PER_CALL))
    }
}

impl Default for ModuleLimits {
    fn default() -> Self {
        Self {
            memory_bytes: 256 << 20,
            table_elements: 100_000,
            core_instances: 100,
            tables: MAX_TABLES as usize,
            memories: MAX_MEMORIES as usize,
            calls_per_second: 1_000_000,
            queue_time: Duration::from_secs(30),
            max_call_time: Duration::from_secs(30),
            max_call_cpu: Duration::from_secs(30),
            queue: 1024,
            concurrency: 64,
            async_calls: 1024,
            payload_bytes: 16 << 20,
            argument_bytes: usize::MAX,
            result_bytes: usize::MAX,
            open_calls: 1024,
            schedules: DEFAULT_MAX_TASKS,
            open_streams: 256,
            output_bytes_per_second: 10 << 20,
            host_handles: 10_000,
        }
    }
}

/// How a module's instances are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InstancePolicy {
    /// One long-lived instance: its state survives calls.
    #[default]
    Singleton,
    /// This many long-lived instances, each with its own state.
    Pool(u32),
    /// A fresh instance for each call.
    PerCall,
}

impl InstancePolicy {
    /// Whether an instance outlives its call.
    pub fn is_long_lived(self) -> bool {
        !matches!(self, Self::PerCall)
    }
}

impl fmt::Display for InstancePolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Singleton => f.write_str("singleton"),
            Self::Pool(size) => write!(f, "pool:{size}"),
            Self::PerCall => f.write_str("per-call"),
        }
    }
}

/// A text was no [`InstancePolicy`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no way to keep instances: use `singleton`, `pool:N` (N from 1 to {MAX_POOL}) or `per-call`")]
pub struct BadPolicy(String);

impl FromStr for InstancePolicy {
    type Err = BadPolicy;

    fn from_str(text: &str) -> Result<Self, BadPolicy> {
        let bad = || BadPolicy(text.chars().take(64).collect());
        match text {
            "singleton" => Ok(Self::Singleton),
            "per-call" => Ok(Self::PerCall),
            _ => {
                let size: u32 = text.strip_prefix("pool:").and_then(|n| n.parse().ok()).ok_or_else(bad)?;
                if size == 0 || size > MAX_POOL {
                    return Err(bad());
                }
                Ok(Self::Pool(size))
            }
        }
    }
}

/// What becomes of a running call that nobody waits for any more: its caller gave up, or its deadline passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnCancel {
    /// It runs on, with its result dropped, until it returns or meets [`ModuleLimits::max_call_time`].
    Finish,
    /// Its instance is dropped, and the call with it.
    Kill,
}

impl OnCancel {
    /// What a policy does unless the user says otherwise: a singleton holds state that other callers rely on.
    pub fn default_of(policy: InstancePolicy) -> Self {
        match policy {
            InstancePolicy::Singleton => Self::Finish,
            InstancePolicy::Pool(_) | InstancePolicy::PerCall => Self::Kill,
        }
    }
}

impl fmt::Display for OnCancel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Finish => "finish",
            Self::Kill => "kill",
        })
    }
}

/// A text was no [`OnCancel`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is nothing to do with a call that was given up: use `finish` or `kill`")]
pub struct BadOnCancel(String);

impl FromStr for OnCancel {
    type Err = BadOnCancel;

    fn from_str(text: &str) -> Result<Self, BadOnCancel> {
        match text {
            "finish" => Ok(Self::Finish),
            "kill" => Ok(Self::Kill),
            _ => Err(BadOnCancel(text.chars().take(64).collect())),
        }
    }
}

/// What an instance was refused, in words for the error of the call that then failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It asked for more memory.
    #[error("the instance asked for {wanted} bytes of memory and may have {allowed}: raise the module's memory")]
    Memory {
        /// All its memories together, as it would have been.
        wanted: usize,
        /// The limit.
        allowed: usize,
    },
    /// It asked for more memory than its tenant has left.
    #[error("the instance asked for more memory: {0}")]
    Tenant(CeilingReached),
    /// It asked for more table elements.
    #[error("the instance asked for {wanted} table elements and may have {allowed}: raise the module's table-elements")]
    Table {
        /// All its tables together, as it would have been.
        wanted: usize,
        /// The limit.
        allowed: usize,
    },
    /// The limits allowed it, the machine or the memory's own maximum did not.
    #[error("the instance's memory could not grow: {reason}")]
    Machine {
        /// Why.
        reason: String,
    },
}

/// Keeps one store within its limits.
#[derive(Debug)]
pub struct Limiter {
    memory_bytes: usize,
    table_elements: usize,
    core_instances: usize,
    tables: usize,
    memories: usize,
    memory_used: usize,
    /// What the last granted growth added, to be taken back should it fail.
    memory_added: usize,
    table_used: usize,
    refusal: Option<Refusal>,
    /// What its tenant may have.
    ceiling: Arc<Ceiling>,
    meter: Arc<Meter>,
}

impl Limiter {
    /// A limiter of one store.
    pub(super) fn new(limits: &ModuleLimits, ceiling: Arc<Ceiling>, meter: Arc<Meter>) -> Self {
        Self {
            memory_bytes: limits.memory_bytes,
            table_elements: limits.table_elements,
            core_instances: limits.core_instances,
            tables: limits.tables,
            memories: limits.memories,
            memory_used: 0,
            memory_added: 0,
            table_used: 0,
            refusal: None,
            ceiling,
            meter,
        }
    }

    /// What its tenant had no room for, if that was last refused.
    pub fn refused_by_tenant(&self) -> Option<&CeilingReached> {
        match &self.refusal {
            Some(Refusal::Tenant(reached)) => Some(reached),
            _ => None,
        }
    }

    /// What was refused last since this was asked last. A guest may have coped with it: only the end of a call that
    /// followed makes it an error.
    pub fn take_refusal(&mut self) -> Option<Refusal> {
        self.refusal.take()
    }
}

impl Drop for Limiter {
    fn drop(&mut self) {
        self.ceiling.give(Kind::Memory, self.memory_used);
        self.meter.memory_given(self.memory_used);
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let wanted = self.memory_used.saturating_sub(current).saturating_add(desired);
        let allowed = self.memory_bytes;
        if wanted > allowed {
            self.refusal = Some(Refusal::Memory { wanted, allowed });
            return Ok(false);
        }
        let more = wanted.saturating_sub(self.memory_used);
        if let Err(reached) = self.ceiling.take(Kind::Memory, more) {
            self.refusal = Some(Refusal::Tenant(reached));
            return Ok(false);
        }
        self.meter.memory_taken(more);
        self.memory_added = more;
        self.memory_used = wanted;
        Ok(true)
    }

    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        let added = std::mem::take(&mut self.memory_added);
        self.memory_used = self.memory_used.saturating_sub(added);
        self.ceiling.give(Kind::Memory, added);
        self.meter.memory_given(added);
        self.refusal = Some(Refusal::Machine { reason: one_line(&error.to_string()) });
        Ok(())
    }

    fn table_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let wanted = self.table_used.saturating_sub(current).saturating_add(desired);
        let allowed = self.table_elements;
        if wanted > allowed {
            self.refusal = Some(Refusal::Table { wanted, allowed });
            return Ok(false);
        }
        self.table_used = wanted;
        Ok(true)
    }

    fn instances(&self) -> usize {
        self.core_instances
    }

    fn tables(&self) -> usize {
        self.tables
    }

    fn memories(&self) -> usize {
        self.memories
    }
}

/// A message with its line breaks taken out: errors are one line.
pub(super) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use daffi_proto::id::TenantName;

    use super::*;
    use crate::guest::ceiling::CeilingLimits;

    #[test]
    fn stores_of_one_tenant_share_its_memory_and_give_it_back_when_they_end() {
        let limits = CeilingLimits { memory_bytes: Some(100), ..CeilingLimits::default() };
        let ceiling = Arc::new(Ceiling::new(TenantName::default(), limits));
        let meter = Arc::new(Meter::default());
        let limiter = || Limiter::new(&ModuleLimits::default(), ceiling.clone(), meter.clone());
        let (mut first, mut second) = (limiter(), limiter());
        assert!(first.memory_growing(0, 60, None).unwrap());
        assert!(!second.memory_growing(0, 41, None).unwrap());
        assert!(matches!(second.take_refusal(), Some(Refusal::Tenant(_))));
        assert!(second.memory_growing(0, 40, None).unwrap());
        second.memory_grow_failed(wasmtime::Error::msg("no pages")).unwrap();
        assert!(first.memory_growing(60, 100, None).unwrap());
        drop(first);
        let used = meter.usage();
        assert_eq!((used.memory_bytes, used.memory_most_bytes), (0, 100));
        assert!(second.memory_growing(0, 100, None).unwrap());
    }

    #[test]
    fn a_policy_reads_what_it_shows() {
        for policy in [InstancePolicy::Singleton, InstancePolicy::Pool(4), InstancePolicy::PerCall] {
            assert_eq!(policy.to_string().parse(), Ok(policy));
        }
    }

    #[test]
    fn a_policy_that_is_none_says_what_there_is() {
        for text in ["", "pool", "pool:", "pool:0", "pool:4097", "pool:-1", "Singleton"] {
            let error = text.parse::<InstancePolicy>().unwrap_err().to_string();
            assert!(error.contains("`singleton`, `pool:N`"), "{error}");
        }
    }

    #[test]
    fn memories_of_one_store_share_the_limit_and_a_refusal_is_remembered_once() {
        let ceiling = Arc::new(Ceiling::none(TenantName::default()));
        let mut limiter =
            Limiter::new(&ModuleLimits { memory_bytes: 100, ..ModuleLimits::default() }, ceiling, Arc::default());
        assert!(limiter.memory_growing(0, 60, None).unwrap());
        assert!(limiter.memory_growing(0, 40, None).unwrap());
        assert!(!limiter.memory_growing(40, 41, None).unwrap());
        assert_eq!(limiter.take_refusal(), Some(Refusal::Memory { wanted: 101, allowed: 100 }));
        assert_eq!(limiter.take_refusal(), None);
    }
}
