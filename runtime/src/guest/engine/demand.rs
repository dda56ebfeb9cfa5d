//! What engines are to carry: known before they are built from what their modules say, and checked when these are
//! compiled, from what their instances need.

use wasmtime::component::Component;

use super::{EngineKind, MAX_MEMORIES, MAX_TABLES, TypeFeatures};

/// What an engine is to carry, or a module of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Demand {
    /// The engine's kind.
    pub kind: EngineKind,
    /// The types that it knows.
    pub types: TypeFeatures,
    /// The most instances that may live at once.
    pub instances: u32,
    /// The most calls that may wait in all of them at once, each on a stack of its own.
    pub calls: u32,
}

impl Demand {
    /// Whether both are for one engine.
    pub fn is_same_engine(&self, other: &Self) -> bool {
        (self.kind, self.types) == (other.kind, other.types)
    }
}

/// A compiled component that is to have instances, and what they need.
#[derive(Clone, Debug)]
pub struct Lodger {
    /// Its module's name.
    pub name: String,
    /// Its engine, its instances, and calls in them.
    pub demand: Demand,
    /// Linear memories of each instance.
    pub memories: u32,
    /// Tables of each instance.
    pub tables: u32,
}

impl Lodger {
    /// A component whose instances are these.
    pub fn new(name: String, demand: Demand, component: &Component) -> Self {
        // Without an answer (it imports core modules, which nothing provides) the most that there can be.
        let (memories, tables) = match component.resources_required() {
            Some(resources) => (resources.num_memories, resources.num_tables),
            None => (MAX_MEMORIES, MAX_TABLES),
        };
        Self { name, demand, memories, tables }
    }
}

/// A module's instances do not fit this machine, beside those of other modules.
#[derive(Debug, thiserror::Error)]
#[error(
    "module {name}: its {instances} instances do not fit this machine: they need {needs} {what}, and there is room for \
     {left}; lower its `instances` or `concurrency`{}",
    if *.helps { ", or raise vm.max_map_count (`daffi-runtime doctor` says more)" } else { "" }
)]
pub struct DoesNotFit {
    name: String,
    instances: u32,
    what: &'static str,
    needs: u64,
    left: u64,
    /// Whether more mappings would help.
    helps: bool,
}

impl DoesNotFit {
    pub(super) fn new(lodger: &Lodger, what: &'static str, needs: u64, left: u64, helps: bool) -> Self {
        Self { name: lodger.name.clone(), instances: lodger.demand.instances, what, needs, left, helps }
    }
}
