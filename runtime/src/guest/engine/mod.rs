//! The wasmtime engines, and what the machine lets them be.
//!
//! | engine | concurrency support | runs |
//! |---|---|---|
//! | [`EngineKind::Sync`] | off | components without async functions: a call costs a third to a quarter |
//! | [`EngineKind::Concurrent`] | on | components with async functions, streams or WASI 0.3 |
//!
//! Invariants: every engine interrupts its guests by epochs, and all epochs advance together, every [`TICK`] while somebody is
//! in a guest ([`Engines::clock`]); the engines that are needed are known beforehand ([`EngineConfig::demand`]) and share what the machine has; how instances
//! are allocated is chosen once, by [`plan`], and the choice and its reason can be read in the [`EngineReport`].
//! It does not load components and holds no store.

mod demand;
mod machine;
mod plan;
mod ticker;

use std::num::NonZeroUsize;
use std::sync::{Arc, OnceLock};

use serde::Serialize;
use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, WasmBacktraceDetails};

pub use self::demand::{Demand, DoesNotFit, Lodger};
pub use self::machine::Machine;
use self::plan::{Plan, Share};
use self::ticker::Ticker;
pub use self::ticker::{Clock, Guest, TICK};
use super::limits::{MAX_CORE_INSTANCES, MAX_MEMORIES, MAX_TABLES};

/// Room on a guest's stack for the host functions that it calls, beyond what wasm may use.
const HOST_STACK_BYTES: usize = 1 << 20;

/// The stack that wasm may use in a call, unless said otherwise.
pub const DEFAULT_STACK_BYTES: usize = 1 << 20;

/// Instances of an engine where nobody says how many.
const DEFAULT_INSTANCES: u32 = 1000;

/// Frames of a guest's stack that are told when it traps, from the innermost on.
const MAX_BACKTRACE_FRAMES: usize = 20;

/// Most memory for the bookkeeping of one instance.
const MAX_INSTANCE_META_BYTES: usize = 4 << 20;

/// What the engines have to carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineConfig {
    /// How instances are allocated.
    pub allocator: AllocatorChoice,
    /// The largest linear memory that any module may have, in bytes.
    pub max_memory_bytes: u64,
    /// The most elements that any table may have.
    pub max_table_elements: u32,
    /// What each engine is to carry: one of each kind at most.
    pub demand: Vec<Demand>,
    /// The stack that wasm may use in a call, in bytes.
    pub stack_bytes: usize,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            allocator: AllocatorChoice::Auto,
            max_memory_bytes: 1 << 32,
            max_table_elements: 100_000,
            demand: vec![Demand {
                kind: EngineKind::Sync,
                types: TypeFeatures::Standard,
                instances: DEFAULT_INSTANCES,
                calls: 0,
            }],
            stack_bytes: DEFAULT_STACK_BYTES,
        }
    }
}

/// What the operator wants of the allocator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AllocatorChoice {
    /// Pooling where the machine can carry it.
    #[default]
    Auto,
    /// Never pooling.
    OnDemand,
}

/// The two ways to run a component.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum EngineKind {
    /// Without the component model's concurrency.
    Sync,
    /// With it.
    Concurrent,
}

/// The type features that no component needs unless it names such types; wasmtime calls them incomplete, so they are
/// off in the engines that everybody shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TypeFeatures {
    /// What wasmtime supports in full.
    Standard,
    /// Also `map` and fixed-length lists: for components that have functions with such types, which are left out, and
    /// others, which are served.
    Experimental,
}

/// What was chosen and why, for `doctor`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct EngineReport {
    /// Whether instances come from a pool that was reserved beforehand.
    pub pooling: bool,
    /// Why, one sentence.
    pub reason: String,
    /// The most instances that may live at once, in all engines together.
    pub max_instances: u64,
    /// Address space reserved for each linear memory, in bytes.
    pub memory_reservation_bytes: u64,
    /// How much of a memory's pages is kept for the next instance, in bytes.
    pub keep_resident_bytes: u64,
    /// The stack that wasm may use in a call, in bytes.
    pub stack_bytes: u64,
    /// What the machine allows.
    pub machine: Machine,
    /// How to get more, a sentence each.
    pub advice: Vec<String>,
}

/// An engine cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// wasmtime refuses the configuration or the machine refuses the memory.
    #[error("cannot set up the wasm engine: {0:#}; run `daffi-runtime doctor` to see what this machine allows")]
    Build(wasmtime::Error),
    /// The thread that ends busy loops cannot be started.
    #[error("cannot start the thread of the epoch clock: {0}; this user may have no threads left (`ulimit -u`)")]
    Ticker(std::io::Error),
}

/// The engines of this runtime. Clones are the same engines.
#[derive(Clone)]
pub struct Engines {
    shared: Arc<Shared>,
}

struct Shared {
    config: EngineConfig,
    plan: Plan,
    sync: OnceLock<Engine>,
    concurrent: OnceLock<Engine>,
    experimental_sync: OnceLock<Engine>,
    experimental_concurrent: OnceLock<Engine>,
    ticker: Ticker,
}

impl Engines {
    /// Looks at the machine, chooses how to allocate, and builds the engines that are wanted.
    ///
    /// # Errors
    /// [`EngineError`] when not even on-demand allocation can be set up.
    pub fn new(config: EngineConfig) -> Result<Self, EngineError> {
        let mut plan = Plan::new(Machine::probe(), &config);
        let build_all = |plan: &Plan| -> wasmtime::Result<Vec<Engine>> {
            config.demand.iter().map(|demand| build(&config, plan, demand)).collect()
        };
        let built = match build_all(&plan) {
            Ok(built) => built,
            // The probe cannot know everything that a container or a sandbox forbids: trying is the last word.
            Err(error) if plan.pooling => {
                plan = plan.without_pooling(format!("the machine refuses the pool: {error:#}"), &config);
                build_all(&plan).map_err(EngineError::Build)?
            }
            Err(error) => return Err(EngineError::Build(error)),
        };
        let ticker = Ticker::start().map_err(EngineError::Ticker)?;
        tracing::debug!(pooling = plan.pooling, reason = %plan.reason, "engine");
        let shared = Shared {
            config,
            plan,
            sync: OnceLock::new(),
            concurrent: OnceLock::new(),
            experimental_sync: OnceLock::new(),
            experimental_concurrent: OnceLock::new(),
            ticker,
        };
        for (demand, engine) in shared.config.demand.iter().zip(built) {
            shared.keep(demand, engine);
        }
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The engine of this kind.
    ///
    /// # Errors
    /// [`EngineError::Build`] when it cannot be built.
    pub fn get(&self, kind: EngineKind) -> Result<Engine, EngineError> {
        self.with_types(kind, TypeFeatures::Standard)
    }

    /// The engine of this kind that knows these types; one that nobody had asked for is built now.
    ///
    /// # Errors
    /// [`EngineError::Build`] when it cannot be built.
    pub fn with_types(&self, kind: EngineKind, types: TypeFeatures) -> Result<Engine, EngineError> {
        let shared = &*self.shared;
        let wanted = Demand { kind, types, instances: DEFAULT_INSTANCES, calls: 0 };
        if let Some(engine) = shared.slot(&wanted).get() {
            return Ok(engine.clone());
        }
        let built = build(&shared.config, &shared.plan, &wanted).map_err(EngineError::Build)?;
        Ok(shared.keep(&wanted, built))
    }

    /// Checks that all modules' instances fit beside one another, so that none of them lacks later what another has
    /// taken.
    ///
    /// # Errors
    /// [`DoesNotFit`] names the first that does not.
    pub fn fit(&self, lodgers: &[Lodger]) -> Result<(), DoesNotFit> {
        self.shared.plan.fit(lodgers)
    }

    /// Of so many calls that are wanted at once in each instance of a module, how many this machine has stacks for.
    pub fn calls(&self, module: &Demand, wanted: usize) -> usize {
        self.shared.plan.calls(module, wanted)
    }

    /// What interrupts guests. Whoever enters one tells it, for otherwise it may sleep.
    pub fn clock(&self) -> &Clock {
        self.shared.ticker.clock()
    }

    /// What was chosen and why.
    pub fn report(&self) -> EngineReport {
        self.shared.plan.report(&self.shared.config)
    }

    /// What the engines were asked to carry.
    pub fn config(&self) -> &EngineConfig {
        &self.shared.config
    }
}

impl Shared {
    fn slot(&self, demand: &Demand) -> &OnceLock<Engine> {
        match (demand.kind, demand.types) {
            (EngineKind::Sync, TypeFeatures::Standard) => &self.sync,
            (EngineKind::Concurrent, TypeFeatures::Standard) => &self.concurrent,
            (EngineKind::Sync, TypeFeatures::Experimental) => &self.experimental_sync,
            (EngineKind::Concurrent, TypeFeatures::Experimental) => &self.experimental_concurrent,
        }
    }

    /// Keeps an engine. Two threads may build one at once: the first one's is everybody's, the other is dropped.
    fn keep(&self, demand: &Demand, built: Engine) -> Engine {
        let keep = || {
            self.ticker.add(built.clone());
            built
        };
        self.slot(demand).get_or_init(keep).clone()
    }
}

fn build(config: &EngineConfig, plan: &Plan, demand: &Demand) -> wasmtime::Result<Engine> {
    let concurrent = demand.kind == EngineKind::Concurrent;
    let mut wasm = Config::new();
    wasm.epoch_interruption(true)
        .concurrency_support(concurrent)
        .max_wasm_stack(config.stack_bytes)
        .async_stack_size(config.stack_bytes.saturating_add(HOST_STACK_BYTES))
        // Debug info is the component's own word, and untrusted: to read it, wasmtime recurses as deep as it is nested.
        .wasm_backtrace_details(WasmBacktraceDetails::Disable)
        .wasm_backtrace_max_frames(NonZeroUsize::new(MAX_BACKTRACE_FRAMES))
        .parallel_compilation(true)
        .memory_init_cow(true)
        .memory_reservation(plan.memory_reservation_bytes);
    if demand.types == TypeFeatures::Experimental {
        wasm.wasm_component_model_map(true).wasm_component_model_fixed_length_lists(true);
    }
    match plan.share_of(demand) {
        Some(share) if plan.pooling => {
            wasm.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(config, plan, share)));
        }
        _ if plan.memory_reservation_bytes < 1 << 32 => {
            wasm.memory_reservation_for_growth(plan.memory_reservation_bytes);
        }
        _ => {}
    }
    Engine::new(&wasm)
}

fn pool(config: &EngineConfig, plan: &Plan, share: Share) -> PoolingAllocationConfig {
    let memory_bytes = config.max_memory_bytes.min(plan.memory_reservation_bytes);
    let to_usize = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(share.instances)
        // These are counted only: a component has its own limit.
        .total_core_instances(share.instances.saturating_mul(MAX_CORE_INSTANCES))
        .total_memories(share.memories)
        .total_tables(share.tables)
        .total_stacks(share.stacks)
        .max_core_instances_per_component(MAX_CORE_INSTANCES)
        .max_memories_per_component(MAX_MEMORIES)
        .max_tables_per_component(MAX_TABLES)
        .max_memories_per_module(MAX_MEMORIES)
        .max_tables_per_module(MAX_TABLES)
        .max_component_instance_size(MAX_INSTANCE_META_BYTES)
        .max_core_instance_size(MAX_INSTANCE_META_BYTES)
        .max_memory_size(to_usize(memory_bytes))
        .table_elements(usize::try_from(config.max_table_elements).unwrap_or(usize::MAX))
        .linear_memory_keep_resident(to_usize(plan.keep_resident_bytes))
        .table_keep_resident(to_usize(plan.keep_resident_bytes));
    pool
}

#[cfg(test)]
mod tests;
