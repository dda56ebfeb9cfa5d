//! Lists of the processes that there are.
//!
//! A list asks the controller for the loads, which are at most [`super::LOAD_EVERY`] and the way old, and for the usages where
//! they are wanted ([`USAGE_EVERY`](crate::usage::USAGE_EVERY)). Without a link, or
//! where no answer comes in time, a list is what this node knows.

use std::collections::BTreeMap;

use super::{MAX_OPEN_REQUESTS, Node, Output, Peer, Request};
use crate::call::{CallbackInfo, Detail, Load, ProcessInfo};
use crate::frame::{Frame, Header, LoadList};
use crate::id::{ProcessName, TenantName, Token};
use crate::registry::Process;
use crate::session::HANDSHAKE_TIMEOUT;
use crate::usage::Usage;

/// A list that waits for the loads.
#[derive(Debug)]
pub(super) struct List {
    token: Token,
    tenant: TenantName,
    detail: Detail,
}

/// What others told of themselves.
#[derive(Debug, Default)]
struct Told {
    loads: BTreeMap<Peer, Load>,
    usages: BTreeMap<Peer, Usage>,
}

impl Node {
    pub(super) fn list(&mut self, token: Token, tenant: TenantName, detail: Detail) {
        if !self.link.is_synced() || self.requests.len() >= MAX_OPEN_REQUESTS {
            let processes = self.processes((&tenant, detail), &mut Told::default());
            self.outputs.push_back(Output::Processes { token, processes });
            return;
        }
        self.last_ask += 1;
        let id = self.last_ask;
        let deadline = self.deadline(HANDSHAKE_TIMEOUT);
        self.deadlines.set(deadline, Request::List(id));
        self.requests.insert(token, Request::List(id));
        self.lists.insert(id, List { token, tenant, detail });
        self.send(Frame::new(Header::ListLoads { id, detail }));
    }

    pub(super) fn take_loads(&mut self, id: u64, told: LoadList) {
        let Some(list) = self.end_list(id) else { return };
        let loads = told.loads.into_iter().map(|(entry, load)| (Peer::Remote(entry), load)).collect();
        // The controller has checked them.
        let usages = told.usages.into_iter();
        let usages = usages.filter_map(|(entry, usage)| Some((Peer::Remote(entry), Usage::open(&usage).ok()?)));
        self.answer_list(list, Told { loads, usages: usages.collect() });
    }

    /// The controller takes its time: what is known must do.
    pub(super) fn list_overdue(&mut self, id: u64) {
        if let Some(list) = self.end_list(id) {
            self.answer_list(list, Told::default());
        }
    }

    /// Takes a list out of every table.
    pub(super) fn end_list(&mut self, id: u64) -> Option<List> {
        let list = self.lists.remove(&id)?;
        self.deadlines.remove(Request::List(id));
        self.requests.remove(&list.token);
        Some(list)
    }

    /// The link is lost: what is known is all there will be.
    pub(super) fn answer_lists(&mut self) {
        while let Some(id) = self.lists.first_key_value().map(|(id, _)| *id) {
            self.list_overdue(id);
        }
    }

    fn answer_list(&mut self, list: List, mut told: Told) {
        let processes = self.processes((&list.tenant, list.detail), &mut told);
        self.outputs.push_back(Output::Processes { token: list.token, processes });
    }

    /// The processes of a tenant by name; one that is here and there for a moment is shown once.
    fn processes(&self, (tenant, detail): (&TenantName, Detail), told: &mut Told) -> Vec<ProcessInfo> {
        let mut by_name: BTreeMap<ProcessName, ProcessInfo> = BTreeMap::new();
        for (peer, process) in self.mesh.processes().filter(|(_, process)| process.process.tenant == *tenant) {
            let (load, usage) = match peer {
                Peer::Local(id) => {
                    let local = self.locals.get(&id);
                    (local.map(|local| local.load), local.and_then(|local| local.usage.clone()))
                }
                Peer::Remote(_) => (told.loads.get(&peer).copied(), told.usages.remove(&peer).map(Box::new)),
            };
            let usage = usage.filter(|_| detail == Detail::Usage);
            let name = process.process.name.clone();
            by_name.entry(name).or_insert_with(|| process_info(process, load.unwrap_or_default(), usage));
        }
        by_name.into_values().collect()
    }
}

fn process_info(process: &Process, load: Load, usage: Option<Box<Usage>>) -> ProcessInfo {
    ProcessInfo {
        process: process.process.clone(),
        node: process.node.as_ref().to_owned(),
        instances: process.instances.as_ref().to_owned(),
        load,
        callbacks: process.callbacks.iter().map(CallbackInfo::from).collect(),
        usage,
    }
}
