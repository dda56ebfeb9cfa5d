//! The controller's state machine: it accepts nodes, keeps the registry and relays calls; it runs no callback.
//!
//! The user feeds [`Input`]s with the time and takes [`Output`]s until there are none; [`Controller::next_timeout`]
//! says when to come back with [`Input::Timer`] at the latest.
//!
//! | part | holds |
//! |---|---|
//! | `api` | what goes in and out |
//! | `links` | handshakes, heartbeats, the end of a link |
//! | `names` | processes come and go; names kept for lost nodes; the replicas |
//! | `tenants` | what there is of each tenant, and who sees it |
//! | `relay` | calls between nodes |
//! | `streams` | their streams |
//! | `meetings` | nodes that meet without it |
//! | `unsent` | what becomes of calls whose frames find a link full |
//!
//! Invariants: every frame of a link is handled in the order in which it came, and what follows from it is sent in
//! that order; a relayed call is answered to its caller exactly once, unless the caller has given up; a peer that
//! breaks the protocol loses its own link and nothing else.

mod api;
mod links;
mod loads;
mod meetings;
mod names;
mod relay;
mod streams;
mod tenants;
mod unsent;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Duration;

pub use api::{ControllerConfig, Event, Input, Output};
pub use meetings::MAX_MEETINGS_PER_NODE;

use crate::frame::{DEFAULT_MAX_PAYLOAD_BYTES, Frame};
use crate::id::{CallId, EntryId, LinkId, NodeKey, ProcessRef};
use crate::registry::Registry;
use crate::session::{GRACE, HEARTBEAT, MISSED_HEARTBEATS};

/// Most links at once.
pub const MAX_LINKS: usize = 16_384;

/// Most processes of one node.
pub const MAX_PROCESSES_PER_NODE: usize = 1024;

/// Most bytes of the callbacks with their signatures, as they are on the wire, of all processes of a node.
pub const MAX_TABLE_BYTES_PER_NODE: usize = 16 * 1024 * 1024;

/// The same of all nodes: so much the controller keeps, and every replica some times as much at most.
pub const MAX_TABLE_BYTES_IN_ALL: usize = 64 * 1024 * 1024;

/// Most names that are kept for lost nodes; those of more are free at once.
pub const MAX_KEPT_NAMES: usize = 65_536;

/// Most tenants that one node belongs to.
pub const MAX_TENANTS_PER_NODE: usize = 256;

/// Most calls in flight from one link, and most in flight to one link.
pub const MAX_CALLS_PER_LINK: usize = 16_384;

/// Most streams of calls in flight from and to one link.
pub const MAX_STREAMS_PER_LINK: usize = 8192;

/// Most processes whose loads are listed at once; those that came last are left out.
pub const MAX_LISTED_LOADS: usize = 65_536;

/// Most bytes of usages in a list, and half of what the asker takes; processes beyond it have none there.
pub const MAX_LISTED_USAGE_BYTES: usize = 4 * 1024 * 1024;

/// Longest description of how a process's instances are kept, in bytes.
pub const MAX_INSTANCES_BYTES: usize = 64;

impl ControllerConfig {
    /// The defaults, with this seed, and no secret: direct links are then for tests.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            secret: [0; 16],
            max_payload_bytes: DEFAULT_MAX_PAYLOAD_BYTES,
            heartbeat: HEARTBEAT,
            missed_heartbeats: MISSED_HEARTBEATS,
            grace: GRACE,
        }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Controller {
    config: ControllerConfig,
    outputs: VecDeque<Output>,
    links: BTreeMap<LinkId, links::Link>,
    /// When to look at which link: one entry a link.
    checks: BTreeSet<(Duration, LinkId)>,
    /// The joined links by their nodes' keys.
    keys: HashMap<NodeKey, LinkId>,
    /// The processes that can be called.
    registry: Registry<EntryId>,
    /// The processes that have names: those of the registry, and those of draining nodes.
    entries: BTreeMap<EntryId, names::Entry>,
    holders: HashMap<ProcessRef, EntryId>,
    tenants: tenants::Tenants,
    /// Bytes of the tables of all entries.
    table_bytes: usize,
    reserved: HashMap<ProcessRef, names::Reservation>,
    reserved_until: BTreeSet<(Duration, ProcessRef)>,
    relays: BTreeMap<CallId, relay::Relay>,
    draining: bool,
    drained_told: bool,
    last_ticket: u64,
    last_entry: u64,
    last_relay: u64,
}

/// How much a controller holds, for tests and metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ControllerCounts {
    /// Links, joined or not.
    pub links: usize,
    /// Processes that can be called.
    pub processes: usize,
    /// Bytes of the callbacks and signatures of all that have names, as they are on the wire.
    pub table_bytes: usize,
    /// Tenants that have a node, or that a node imports from.
    pub tenants: usize,
    /// Names that are kept for lost nodes.
    pub reserved: usize,
    /// Calls that are relayed, cancelled ones that still run included.
    pub relays: usize,
    /// Streams of calls that are relayed; each counts at both of its links.
    pub streams: usize,
}

impl Controller {
    /// A controller without links.
    pub fn new(config: ControllerConfig) -> Self {
        let registry = Registry::new(config.seed);
        Self {
            config,
            outputs: VecDeque::new(),
            links: BTreeMap::new(),
            checks: BTreeSet::new(),
            keys: HashMap::new(),
            registry,
            entries: BTreeMap::new(),
            holders: HashMap::new(),
            tenants: tenants::Tenants::default(),
            table_bytes: 0,
            reserved: HashMap::new(),
            reserved_until: BTreeSet::new(),
            relays: BTreeMap::new(),
            draining: false,
            drained_told: false,
            last_ticket: 0,
            last_entry: 0,
            last_relay: 0,
        }
    }

    /// Takes what happened. `now` counts from the controller's start and never goes back.
    pub fn handle(&mut self, now: Duration, input: Input) {
        match input {
            Input::Accepted { link, identity } => self.accept(now, link, identity),
            Input::Frame { link, frame } => {
                if let Err(fault) = self.take_frame(now, link, frame) {
                    self.shut(now, link, &fault);
                }
            }
            Input::Heard { link } => self.take_bytes(now, link),
            Input::Closed { link, reason } => self.drop_link(now, link, &reason, links::Farewell::None),
            Input::NotSent { link, frame } => self.not_sent(now, link, frame),
            Input::Drain => self.begin_drain(),
            Input::Timer => {}
        }
        self.check_links(now);
        self.release_names(now);
        self.check_drained();
    }

    /// What to do next, until there is nothing.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to come back with [`Input::Timer`] at the latest.
    pub fn next_timeout(&self) -> Option<Duration> {
        let check = self.checks.first().map(|(at, _)| *at);
        let release = self.reserved_until.first().map(|(at, _)| *at);
        check.into_iter().chain(release).min()
    }

    /// How much it holds.
    pub fn counts(&self) -> ControllerCounts {
        ControllerCounts {
            links: self.links.len(),
            processes: self.registry.len(),
            table_bytes: self.table_bytes,
            tenants: self.tenants.len(),
            reserved: self.reserved.len(),
            relays: self.relays.len(),
            streams: self.links.values().filter_map(|link| link.member.as_ref()).map(|member| member.streams).sum(),
        }
    }

    /// How many calls it relays to a process that can be called, and how many more that process serves, as its node last
    /// told; those that run on for nobody included.
    pub fn in_flight(&self, process: &ProcessRef) -> Option<(u32, u32)> {
        let entry = self.registry.named(process).first()?;
        Some(self.registry.in_flight(*entry))
    }

    fn send(&mut self, link: LinkId, frame: Frame) {
        self.outputs.push_back(Output::Send { link, frame });
    }

    fn event(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }
}
