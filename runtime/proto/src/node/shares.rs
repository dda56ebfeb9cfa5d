//! What this node sees of other tenants: the callbacks that they export and that it imports.
//!
//! For each pair of a tenant that imports and one that exports there is a registry of its own, with the shared callbacks
//! and no others. Whoever looks into a foreign tenant looks into that one: what is not shared is not there, so that it
//! cannot be told from what nobody has.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::origin::Origin;
use super::{Node, Output, Peer};
use crate::call::{CallbackInfo, Load, ProcessInfo};
use crate::id::{TenantName, Token};
use crate::name::Pattern;
use crate::registry::{Group, Process, Registry};
use crate::share::{Export, Import, is_shared};

/// See the module.
#[derive(Debug)]
pub(super) struct Shares {
    /// By the tenant that imports, and the one that exports.
    views: BTreeMap<(TenantName, TenantName), Registry<Peer>>,
    imports: Arc<[Import]>,
    /// What is seen of a tenant that nothing is imported from.
    nothing: Registry<Peer>,
}

impl Shares {
    pub fn new(imports: &[Import], seed: u64) -> Self {
        let pairs = imports.iter().map(|import| (import.into.clone(), import.from.clone()));
        let views = pairs.map(|pair| (pair, Registry::new(seed))).collect();
        Self { views, imports: imports.into(), nothing: Registry::new(seed) }
    }

    /// Shows a process where a callback of it is shared.
    pub fn show(&mut self, peer: Peer, process: &Process, exports: &[Export]) {
        let from = &process.process.tenant;
        for ((into, _), view) in self.views.iter_mut().filter(|((_, exporter), _)| exporter == from) {
            let shared = |callback: &crate::registry::Callback| {
                is_shared((from, exports), (into, &self.imports), &callback.name)
            };
            if process.callbacks.iter().any(shared) {
                view.insert_part(peer, process.clone(), shared);
            }
        }
    }

    /// It is nowhere any more.
    pub fn hide(&mut self, peer: Peer) {
        for view in self.views.values_mut() {
            view.remove(peer);
        }
    }

    /// A process by whoever sees it.
    pub fn get(&self, peer: Peer) -> Option<&Process> {
        self.views.values().find_map(|view| view.get(peer))
    }
}

impl Node {
    /// Where an origin looks names up: among the processes of his own tenant, or what another one shares with it.
    pub(super) fn seen_by(&self, origin: &Origin) -> &Registry<Peer> {
        if origin.tenant == origin.home {
            return &self.mesh;
        }
        let pair = (origin.home.clone(), origin.tenant.clone());
        self.shares.views.get(&pair).unwrap_or(&self.shares.nothing)
    }

    /// Answers what a tenant shares with another. Whoever calls it learns who has it and of which type, and no more: neither
    /// does this tell where it runs, or what it does.
    pub(super) fn list_shared(&mut self, token: Token, from: TenantName, into: TenantName) {
        let mut by_name = BTreeMap::new();
        if let Some(view) = self.shares.views.get(&(into, from)) {
            for (peer, process) in view.processes() {
                let info = || ProcessInfo {
                    process: process.process.clone(),
                    node: String::new(),
                    instances: String::new(),
                    load: Load::default(),
                    callbacks: view.shown(peer).map(CallbackInfo::from).collect(),
                    usage: None,
                };
                by_name.entry(process.process.name.clone()).or_insert_with(info);
            }
        }
        self.outputs.push_back(Output::Processes { token, processes: by_name.into_values().collect() });
    }

    /// The names that are like one that nobody has where an origin looks, as he writes them.
    pub(super) fn near(
        &self,
        origin: &Origin,
        pattern: &Pattern,
        counts: impl Fn(&Group<Peer>) -> bool,
    ) -> Vec<String> {
        let near = self.seen_by(origin).near(&origin.tenant, pattern, counts);
        near.iter().map(|name| origin.told(name)).collect()
    }

    /// A call goes to this process, whoever sees it.
    pub(super) fn began(&mut self, peer: Peer) {
        self.mesh.began(peer);
        self.shares.views.values_mut().for_each(|view| view.began(peer));
    }

    /// A call to this process is over.
    pub(super) fn ended(&mut self, peer: Peer) {
        self.mesh.ended(peer);
        self.shares.views.values_mut().for_each(|view| view.ended(peer));
    }
}
