//! What this machine allows, and how instances are allocated on it.
//!
//! A pool makes an instance in half the time of on-demand allocation, and pays for it with reservations: 4 GiB of
//! address space a memory (so that wasm needs no bounds checks), a mapping or more a slot. Some machines refuse that:
//! this file finds out which before the engine is built, and says why in words that an operator can act on.
//! Invariant: a plan never asks for more than the probe found; what the probe could not find limits nothing.

use std::path::Path;

use rustix::process::{Resource, getrlimit};
use serde::Serialize;

use super::{AllocatorChoice, EngineConfig, EngineReport, HOST_STACK_BYTES};

/// Address space for each linear memory: all that a 32-bit guest can address, so that no bounds checks are needed.
const FULL_RESERVATION_BYTES: u64 = 1 << 32;

/// Address space for each linear memory where it is scarce: wasm is checked at each access, and memories may move.
const SMALL_RESERVATION_BYTES: u64 = 16 << 20;

/// How much of a memory stays in RAM for the slot's next instance.
const KEEP_RESIDENT_BYTES: u64 = 128 << 10;

/// Mappings of one idle instance, as measured: its memory, image and tables.
const MAPPINGS_PER_INSTANCE: u64 = 7;

/// Mappings of one stack of the pool: the stack and its guard.
const MAPPINGS_PER_STACK: u64 = 2;

/// Stacks for each instance: its call, and one that a host function of a concurrent component holds.
const STACKS_PER_INSTANCE: u32 = 2;

/// Engines that may be built with this plan in one process, each with a pool of its own.
const ENGINES: u64 = 2;

/// Under fewer slots than this, a pool is not worth its reservations.
const MIN_POOL_INSTANCES: u32 = 16;

/// What the machine allows this process. `None`: unlimited, or not to be found out here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Machine {
    /// `ulimit -v`, in bytes.
    pub address_space_bytes: Option<u64>,
    /// `vm.max_map_count`: mappings of a process.
    pub max_map_count: Option<u64>,
    /// `vm.overcommit_memory`: 0 and 1 let reservations be, 2 counts them.
    pub overcommit_memory: Option<u64>,
    /// Memory of the machine or of this process's control group, whichever is less, in bytes.
    pub memory_bytes: Option<u64>,
}

/// How instances are allocated.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) pooling: bool,
    pub(super) reason: String,
    pub(super) max_instances: u32,
    pub(super) memories_per_instance: u32,
    pub(super) memory_reservation_bytes: u64,
    pub(super) keep_resident_bytes: u64,
    advice: Vec<String>,
    machine: Machine,
}

impl Machine {
    /// Looks at this process's limits and at `/proc` and the control group, where there are any.
    pub fn probe() -> Self {
        let number = |path: &str| std::fs::read_to_string(path).ok().and_then(|text| text.trim().parse().ok());
        Self {
            address_space_bytes: getrlimit(Resource::As).current,
            max_map_count: number("/proc/sys/vm/max_map_count"),
            overcommit_memory: number("/proc/sys/vm/overcommit_memory"),
            memory_bytes: [total_memory(), group_memory()].into_iter().flatten().min(),
        }
    }

    /// Chooses how to allocate.
    pub(super) fn plan(self, config: &EngineConfig) -> Plan {
        let mut plan = Plan {
            pooling: true,
            reason: String::new(),
            max_instances: config.max_instances.max(1),
            memories_per_instance: 2,
            memory_reservation_bytes: FULL_RESERVATION_BYTES,
            keep_resident_bytes: KEEP_RESIDENT_BYTES,
            advice: Vec::new(),
            machine: self.clone(),
        };
        if self.address_space_bytes.is_some_and(|limit| limit < FULL_RESERVATION_BYTES * 16) {
            plan.memory_reservation_bytes = SMALL_RESERVATION_BYTES;
            plan.advice.push("`ulimit -v unlimited`: guests run faster and more of them fit".to_owned());
        }
        let wanted = plan.max_instances;
        plan.fit_mappings();
        plan.fit_address_space(config);
        plan.fit_memory();
        if config.allocator == AllocatorChoice::OnDemand {
            return plan.without_pooling("the configuration asks for it".to_owned());
        }
        if self.overcommit_memory == Some(2) {
            plan.advice.push("`sysctl vm.overcommit_memory=0`: instances are made in half the time".to_owned());
            return plan.without_pooling("vm.overcommit_memory is 2, which counts reservations as use".to_owned());
        }
        if plan.max_instances < MIN_POOL_INSTANCES.min(wanted) {
            let reason = format!("the machine has room for a pool of {} instances only", plan.max_instances);
            return plan.without_pooling(reason);
        }
        plan.reason = if plan.max_instances < wanted {
            format!("the machine has room for a pool of {} of {wanted} instances", plan.max_instances)
        } else {
            format!("the machine has room for a pool of {wanted} instances")
        };
        plan
    }
}

impl Plan {
    /// The same plan without a pool.
    pub(super) fn without_pooling(self, reason: String) -> Self {
        Self { pooling: false, reason, keep_resident_bytes: 0, ..self }
    }

    /// Stacks of the pool.
    pub(super) fn stacks(&self) -> u32 {
        self.max_instances.saturating_mul(STACKS_PER_INSTANCE)
    }

    /// What `doctor` shows.
    pub(super) fn report(&self, config: &EngineConfig) -> EngineReport {
        EngineReport {
            pooling: self.pooling,
            reason: self.reason.clone(),
            max_instances: self.pooling.then_some(self.max_instances),
            memory_reservation_bytes: self.memory_reservation_bytes,
            keep_resident_bytes: self.keep_resident_bytes,
            stack_bytes: u64::try_from(config.stack_bytes).unwrap_or(u64::MAX),
            machine: self.machine.clone(),
            advice: self.advice.clone(),
        }
    }

    /// Leaves a quarter of the mappings to everything that is no instance.
    fn fit_mappings(&mut self) {
        let Some(limit) = self.machine.max_map_count else { return };
        let each = MAPPINGS_PER_INSTANCE + MAPPINGS_PER_STACK * u64::from(STACKS_PER_INSTANCE);
        let room = limit / 4 * 3 / ENGINES / each;
        if self.limit_instances(room) {
            let enough = u64::from(self.max_instances).max(1000) * each * ENGINES * 2;
            self.advice.push(format!("`sysctl vm.max_map_count={enough}`: more instances fit"));
        }
    }

    /// Leaves half of the address space to everything that is no memory, table or stack of a pool.
    fn fit_address_space(&mut self, config: &EngineConfig) {
        let Some(limit) = self.machine.address_space_bytes else { return };
        let stack = u64::try_from(config.stack_bytes.saturating_add(HOST_STACK_BYTES)).unwrap_or(u64::MAX);
        let each = self
            .memory_reservation_bytes
            .saturating_mul(u64::from(self.memories_per_instance))
            .saturating_add(stack.saturating_mul(u64::from(STACKS_PER_INSTANCE)))
            .saturating_add(u64::from(config.max_table_elements).saturating_mul(4 * 8));
        // A guest of a pool cannot move its memory: with small reservations it could not grow to what it may have.
        let room = if self.memory_reservation_bytes < config.max_memory_bytes { 0 } else { limit / 2 / ENGINES / each };
        self.limit_instances(room);
    }

    /// Keeps at most an eighth of the memory in slots that nobody uses.
    fn fit_memory(&mut self) {
        let Some(memory) = self.machine.memory_bytes else { return };
        let kept = self.keep_resident_bytes * u64::from(self.max_instances) * ENGINES;
        if kept > memory / 8 {
            self.keep_resident_bytes = 0;
        }
    }

    fn limit_instances(&mut self, room: u64) -> bool {
        let room = u32::try_from(room).unwrap_or(u32::MAX);
        let less = room < self.max_instances;
        self.max_instances = self.max_instances.min(room);
        less
    }
}

/// `MemTotal` of `/proc/meminfo`.
fn total_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// The least `memory.max` on the way from this process's control group (version 2) to the root.
fn group_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let group = text.lines().find_map(|line| line.strip_prefix("0::"))?;
    let root = Path::new("/sys/fs/cgroup");
    root.join(group.trim_start_matches('/'))
        .ancestors()
        .take_while(|folder| folder.starts_with(root))
        .filter_map(|folder| std::fs::read_to_string(folder.join("memory.max")).ok()?.trim().parse().ok())
        .min()
}
