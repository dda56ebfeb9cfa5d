//! Lists of the processes that there are.
//!
//! A list asks the controller for the loads, which are at most [`super::LOAD_EVERY`] and the way old. Without a link, or
//! where no answer comes in time, a list is what this node knows.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{MAX_OPEN_REQUESTS, Node, Output, Peer, Request};
use crate::call::{CallbackInfo, Load, ProcessInfo};
use crate::frame::{Frame, Header, Loads};
use crate::id::{ProcessName, TenantName, Token};
use crate::registry::Process;
use crate::session::HANDSHAKE_TIMEOUT;

/// A list that waits for the loads.
#[derive(Debug)]
pub(super) struct List {
    token: Token,
    tenant: TenantName,
    deadline: Duration,
}

impl Node {
    pub(super) fn list(&mut self, token: Token, tenant: TenantName) {
        if !self.link.is_synced() || self.requests.len() >= MAX_OPEN_REQUESTS {
            let processes = self.processes(&tenant, &BTreeMap::new());
            self.outputs.push_back(Output::Processes { token, processes });
            return;
        }
        self.last_ask += 1;
        let id = self.last_ask;
        let deadline = self.deadline(HANDSHAKE_TIMEOUT);
        self.deadlines.insert((deadline, Request::List(id)));
        self.requests.insert(token, Request::List(id));
        self.lists.insert(id, List { token, tenant, deadline });
        self.send(Frame::new(Header::ListLoads { id }));
    }

    pub(super) fn take_loads(&mut self, id: u64, loads: Loads) {
        let Some(list) = self.end_list(id) else { return };
        let loads = loads.into_iter().map(|(entry, load)| (Peer::Remote(entry), load)).collect();
        self.answer_list(list, &loads);
    }

    /// The controller takes its time: what is known must do.
    pub(super) fn list_overdue(&mut self, id: u64) {
        if let Some(list) = self.end_list(id) {
            self.answer_list(list, &BTreeMap::new());
        }
    }

    /// Takes a list out of every table.
    pub(super) fn end_list(&mut self, id: u64) -> Option<List> {
        let list = self.lists.remove(&id)?;
        self.deadlines.remove(&(list.deadline, Request::List(id)));
        self.requests.remove(&list.token);
        Some(list)
    }

    /// The link is lost: what is known is all there will be.
    pub(super) fn answer_lists(&mut self) {
        while let Some(id) = self.lists.first_key_value().map(|(id, _)| *id) {
            self.list_overdue(id);
        }
    }

    fn answer_list(&mut self, list: List, loads: &BTreeMap<Peer, Load>) {
        let processes = self.processes(&list.tenant, loads);
        self.outputs.push_back(Output::Processes { token: list.token, processes });
    }

    /// The processes of a tenant by name; one that is here and there for a moment is shown once.
    fn processes(&self, tenant: &TenantName, loads: &BTreeMap<Peer, Load>) -> Vec<ProcessInfo> {
        let mut by_name: BTreeMap<ProcessName, ProcessInfo> = BTreeMap::new();
        for (peer, process) in self.mesh.processes().filter(|(_, process)| process.process.tenant == *tenant) {
            let load = match peer {
                Peer::Local(id) => self.locals.get(&id).map(|local| local.load),
                Peer::Remote(_) => loads.get(&peer).copied(),
            };
            let name = process.process.name.clone();
            by_name.entry(name).or_insert_with(|| process_info(process, load.unwrap_or_default()));
        }
        by_name.into_values().collect()
    }
}

fn process_info(process: &Process, load: Load) -> ProcessInfo {
    let info = |callback: &crate::registry::Callback| CallbackInfo {
        name: callback.name.clone(),
        signature: callback.signature.clone(),
    };
    ProcessInfo {
        process: process.process.clone(),
        node: process.node.as_ref().to_owned(),
        instances: process.instances.as_ref().to_owned(),
        load,
        callbacks: process.callbacks.iter().map(info).collect(),
    }
}
