//! How instances are allocated on this machine, and which engine gets how much of it.
//!
//! A pool makes an instance in half the time of on-demand allocation, and pays for it with reservations: 4 GiB of
//! address space a memory (so that wasm needs no bounds checks), and mappings. All engines share what the machine has
//! of both, each in proportion to the instances that it is to carry.
//! Invariants: a plan never asks for more than the probe found; what was promised to one engine is not promised to
//! another; a component that fits ([`Plan::fit`]) has its slots whenever it needs them, whatever other modules do.

use serde::Serialize;

use super::machine::Machine;
use super::{
    AllocatorChoice, Demand, DoesNotFit, EngineConfig, EngineReport, HOST_STACK_BYTES, Lodger, MAX_MEMORIES, MAX_TABLES,
};

/// Address space for each linear memory: all that a 32-bit guest can address, so that no bounds checks are needed.
const FULL_RESERVATION_BYTES: u64 = 1 << 32;

/// Address space for each linear memory where it is scarce: wasm is checked at each access, and memories may move.
const SMALL_RESERVATION_BYTES: u64 = 16 << 20;

/// What wasmtime leaves unused beside each memory, so that bounds are checked by the machine.
const GUARD_BYTES: u64 = 32 << 20;

/// Address space of a process where nothing limits it, less a quarter for everything that is no instance.
const ALL_ADDRESS_SPACE_BYTES: u64 = (1 << 47) / 4 * 3;

/// A table's element.
const TABLE_ELEMENT_BYTES: u64 = 8;

/// How much of a memory stays in RAM for the slot's next instance.
const KEEP_RESIDENT_BYTES: u64 = 128 << 10;

/// Mappings of one linear memory, as measured: its image, what has grown, what has not, and one more.
const MAPPINGS_PER_MEMORY: u64 = 4;

/// Mappings of an instance beside its memories, as measured: tables and bookkeeping, where no pool has them.
const MAPPINGS_ON_DEMAND: u64 = 3;

/// Mappings of one stack: the stack and its guard.
const MAPPINGS_PER_STACK: u64 = 2;

/// Stacks for each instance: its call, and one that a host function of a concurrent component holds.
const STACKS_PER_INSTANCE: u64 = 2;

/// Tables of an ordinary component: for its code, and for the shim of its imports; and as many again.
const ORDINARY_TABLES: u64 = 4;

/// The most instances that a plan has room for, whatever the machine has.
const MAX_INSTANCES: u64 = 9000;

/// Under fewer instances than this, a pool is not worth its reservations.
const MIN_POOL_INSTANCES: u64 = 16;

/// How instances are allocated.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) pooling: bool,
    pub(super) reason: String,
    pub(super) memory_reservation_bytes: u64,
    pub(super) keep_resident_bytes: u64,
    /// Instances of one memory that the machine has room for, in all engines together.
    room: u64,
    /// Whether more mappings would make more room.
    is_short_of_mappings: bool,
    shares: Vec<(Demand, Share)>,
    advice: Vec<String>,
    machine: Machine,
}

/// What one engine gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Share {
    pub(super) instances: u32,
    pub(super) memories: u32,
    pub(super) tables: u32,
    pub(super) stacks: u32,
    /// Calls that may wait in its instances, each on a stack of its own, beyond one in each.
    calls: u32,
}

/// What there is to share: what an instance cannot do without, and of how much.
struct Supply {
    mappings: u64,
    memories: u64,
    tables: u64,
    stacks: u64,
}

impl Plan {
    /// Chooses how to allocate.
    pub(super) fn new(machine: Machine, config: &EngineConfig) -> Self {
        let mut plan = Self {
            pooling: true,
            reason: String::new(),
            memory_reservation_bytes: FULL_RESERVATION_BYTES,
            keep_resident_bytes: KEEP_RESIDENT_BYTES,
            room: 0,
            is_short_of_mappings: false,
            shares: Vec::new(),
            advice: Vec::new(),
            machine,
        };
        if plan.machine.address_space_bytes.is_some_and(|limit| limit < FULL_RESERVATION_BYTES * 16) {
            plan.memory_reservation_bytes = SMALL_RESERVATION_BYTES;
            plan.advice.push("`ulimit -v unlimited`: guests run faster and more of them fit".to_owned());
        }
        let wanted: u64 = config.demand.iter().map(|demand| u64::from(demand.instances)).sum();
        plan.share(config, wanted);
        plan.fit_memory(wanted);
        if plan.is_short_of_mappings && plan.room < wanted {
            let enough = wanted.saturating_mul(plan.mappings_of(1)) / 3 * 4 + 1000;
            plan.advice.push(format!("`sysctl vm.max_map_count={enough}`: more instances fit"));
        }
        if config.allocator == AllocatorChoice::OnDemand {
            return plan.without_pooling("the configuration asks for it".to_owned(), config);
        }
        if plan.machine.overcommit_memory == Some(2) {
            plan.advice.push("`sysctl vm.overcommit_memory=0`: instances are made in half the time".to_owned());
            let reason = "vm.overcommit_memory is 2, which counts reservations as use".to_owned();
            return plan.without_pooling(reason, config);
        }
        if plan.memory_reservation_bytes < config.max_memory_bytes {
            // A guest of a pool cannot move its memory: it could not grow to what it may have.
            return plan.without_pooling("the address space is limited (ulimit -v)".to_owned(), config);
        }
        if plan.room < MIN_POOL_INSTANCES.min(wanted) {
            let reason = format!("the machine has room for a pool of {} instances only", plan.room);
            return plan.without_pooling(reason, config);
        }
        plan.reason = if plan.room < wanted {
            format!("the machine has room for a pool of {} of {wanted} instances", plan.room)
        } else {
            format!("the machine has room for a pool of {} instances", plan.room)
        };
        plan
    }

    /// The same plan without a pool.
    pub(super) fn without_pooling(self, reason: String, config: &EngineConfig) -> Self {
        let mut plan = Self { pooling: false, reason, keep_resident_bytes: 0, ..self };
        plan.share(config, config.demand.iter().map(|demand| u64::from(demand.instances)).sum());
        plan
    }

    /// What an engine gets that is to carry this. One that nobody thought of gets as much as the first.
    pub(super) fn share_of(&self, demand: &Demand) -> Option<Share> {
        let found = self.shares.iter().find(|(known, _)| known.is_same_engine(demand)).or_else(|| self.shares.first());
        found.map(|(_, share)| *share)
    }

    /// Of so many calls that are wanted at once in each instance of an engine, how many there are stacks for.
    pub(super) fn calls(&self, engine: &Demand, wanted: usize) -> usize {
        let Some((demand, share)) = self.shares.iter().find(|(known, _)| known.is_same_engine(engine)) else {
            return wanted;
        };
        if share.calls >= demand.calls {
            return wanted;
        }
        let part = wanted as u128 * u128::from(share.calls) / u128::from(demand.calls.max(1));
        usize::try_from(part).unwrap_or(wanted).max(1)
    }

    /// Checks that all modules fit beside one another.
    ///
    /// # Errors
    /// [`DoesNotFit`] names the first that does not, beside those before it.
    pub(super) fn fit(&self, lodgers: &[Lodger]) -> Result<(), DoesNotFit> {
        let mut taken: Vec<(Demand, [u64; 3])> = Vec::new();
        let mut mappings: u64 = self.shares.iter().map(|(_, share)| u64::from(share.calls) * MAPPINGS_PER_STACK).sum();
        for lodger in lodgers {
            let each = [1, u64::from(lodger.memories), u64::from(lodger.tables)];
            let used = match taken.iter().position(|(demand, _)| demand.is_same_engine(&lodger.demand)) {
                Some(at) => taken.get_mut(at),
                None => {
                    taken.push((lodger.demand.clone(), [0; 3]));
                    taken.last_mut()
                }
            };
            let Some(((_, used), share)) = used.zip(self.share_of(&lodger.demand)) else { continue };
            let has = if self.pooling {
                [u64::from(share.instances), u64::from(share.memories), u64::from(share.tables)]
            } else {
                [self.room, u64::MAX, u64::MAX]
            };
            let instances = u64::from(lodger.demand.instances);
            let kinds = ["instances", "memories", "tables"];
            for (((used, has), each), what) in used.iter_mut().zip(has).zip(each).zip(kinds) {
                let left = has.saturating_sub(*used);
                *used = used.saturating_add(instances * each);
                if *used > has {
                    let helps = what == "instances" && self.is_short_of_mappings;
                    return Err(DoesNotFit::new(lodger, what, instances * each, left, helps));
                }
            }
            let left = self.mapping_limit().saturating_sub(mappings);
            let needs = instances * self.mappings_of(u64::from(lodger.memories));
            mappings += needs;
            if needs > left {
                return Err(DoesNotFit::new(lodger, "memory mappings", needs, left, true));
            }
        }
        Ok(())
    }

    /// What `doctor` shows.
    pub(super) fn report(&self, config: &EngineConfig) -> EngineReport {
        EngineReport {
            pooling: self.pooling,
            reason: self.reason.clone(),
            max_instances: self.room,
            memory_reservation_bytes: self.memory_reservation_bytes,
            keep_resident_bytes: self.keep_resident_bytes,
            stack_bytes: u64::try_from(config.stack_bytes).unwrap_or(u64::MAX),
            machine: self.machine.clone(),
            advice: self.advice.clone(),
        }
    }

    /// A quarter of the mappings is left to everything that is no instance.
    fn mapping_limit(&self) -> u64 {
        self.machine.max_map_count.map_or(u64::MAX, |limit| limit / 4 * 3)
    }

    fn mappings_of(&self, memories: u64) -> u64 {
        let tables = if self.pooling { 0 } else { MAPPINGS_ON_DEMAND };
        memories * MAPPINGS_PER_MEMORY + tables + STACKS_PER_INSTANCE * MAPPINGS_PER_STACK
    }

    /// Half of the address space is for memories, a quarter for tables and a quarter for stacks; where it is limited,
    /// half of it is left to everything else. Without a pool nothing of it is taken before it is used.
    fn supply(&self, config: &EngineConfig) -> Supply {
        if !self.pooling {
            let (memories, tables, stacks) = (u64::MAX, u64::MAX, u64::MAX);
            return Supply { mappings: self.mapping_limit(), memories, tables, stacks };
        }
        let address_space = self.machine.address_space_bytes.map_or(ALL_ADDRESS_SPACE_BYTES, |limit| limit / 2);
        let address_space = address_space.min(ALL_ADDRESS_SPACE_BYTES);
        let stack = u64::try_from(config.stack_bytes.saturating_add(HOST_STACK_BYTES)).unwrap_or(u64::MAX);
        let table = u64::from(config.max_table_elements).saturating_mul(TABLE_ELEMENT_BYTES).max(1);
        Supply {
            mappings: self.mapping_limit(),
            memories: address_space / 2 / (self.memory_reservation_bytes + GUARD_BYTES),
            tables: address_space / 4 / table,
            stacks: address_space / 4 / stack.max(1),
        }
    }

    /// Gives each engine its part, of so many instances that are wanted of all together.
    fn share(&mut self, config: &EngineConfig, wanted: u64) {
        let supply = self.supply(config);
        let by_mappings = supply.mappings / self.mappings_of(1);
        self.room = by_mappings.min(supply.room());
        self.is_short_of_mappings = by_mappings == self.room;
        let demands = config.demand.iter();
        let calls: u64 = demands.clone().map(|demand| u64::from(demand.calls)).sum();
        let instances = wanted.min(self.room);
        // What is left of mappings and stacks: half of it for calls, half for components with many memories.
        let mappings = supply.mappings.saturating_sub(instances * self.mappings_of(1)) / MAPPINGS_PER_STACK;
        let stacks = supply.stacks.saturating_sub(instances * STACKS_PER_INSTANCE);
        let room_for_calls = calls.min(mappings.min(stacks) / 2);
        let shares = demands.map(|demand| {
            let part_of = |all: u64| part(all, u64::from(demand.instances), wanted);
            let own = part_of(instances);
            let calls = part(room_for_calls, u64::from(demand.calls), calls);
            let share = Share {
                instances: to_u32(own),
                memories: to_u32(part_of(supply.memories).min(own * u64::from(MAX_MEMORIES))),
                tables: to_u32(part_of(supply.tables).min(own * u64::from(MAX_TABLES))),
                stacks: to_u32(own * STACKS_PER_INSTANCE + calls),
                calls: to_u32(calls),
            };
            (demand.clone(), share)
        });
        self.shares = shares.collect();
    }

    /// Keeps at most an eighth of the memory in slots that nobody uses.
    fn fit_memory(&mut self, instances: u64) {
        let Some(memory) = self.machine.memory_bytes else { return };
        if self.keep_resident_bytes * instances.min(self.room) > memory / 8 {
            self.keep_resident_bytes = 0;
        }
    }
}

impl Supply {
    /// For how many ordinary instances it is enough, mappings aside.
    fn room(&self) -> u64 {
        self.memories.min(self.tables / ORDINARY_TABLES).min(self.stacks / STACKS_PER_INSTANCE).min(MAX_INSTANCES)
    }
}

/// What one has of something to share who wants so much of all that is wanted.
fn part(of: u64, wanted: u64, all_wanted: u64) -> u64 {
    let part = u128::from(of) * u128::from(wanted) / u128::from(all_wanted.max(1));
    u64::try_from(part).unwrap_or(u64::MAX)
}

fn to_u32(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
