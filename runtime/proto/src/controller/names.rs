//! Processes come and go: names, and the replicas of the registry at the nodes.
//!
//! ```text
//!   free ──Register──▶ held ──Unregister, Leave──▶ free
//!                       ▲ └──link lost──▶ kept, 5 s for the same identity ──▶ free
//!                       └──────Register by it──────┘
//! ```
//!
//! A replica has the processes of its node's tenants, and of others what they share with these; nothing else, nor what
//! others do.
//!
//! Each stay of a process is an entry of its own: one that comes back is a new incarnation, and calls to the former end
//! with its link.

use std::time::Duration;

use bytes::Bytes;

use super::links::Member;
use super::{
    Controller, Event, MAX_INSTANCES_BYTES, MAX_KEPT_NAMES, MAX_PROCESSES_PER_NODE, MAX_TABLE_BYTES_IN_ALL,
    MAX_TABLE_BYTES_PER_NODE,
};
use crate::call::Load;
use crate::frame::{Frame, Header};
use crate::id::{EntryId, GroupId, LinkId, NodeKey, ProcessName, ProcessRef};
use crate::registry::{CallbackTable, Process};
use crate::session::{LinkFault, PeerIdentity, Role, refusal};
use crate::share::{Export, MAX_EXPORTS};

/// One stay of a process.
#[derive(Debug)]
pub(super) struct Entry {
    pub link: LinkId,
    pub number: u32,
    pub process: ProcessRef,
    /// What of it other tenants may import.
    pub exports: Vec<Export>,
    /// Its callbacks as its node sent them, for the replicas.
    table: Bytes,
    pub load: Load,
    /// What it has used, as its node sent it; empty before that.
    pub usage: Bytes,
}

/// A name that is kept for a lost node.
#[derive(Debug)]
pub(super) struct Reservation {
    until: Duration,
    key: NodeKey,
    identity: PeerIdentity,
    node: String,
}

/// Why a process is not registered.
struct Refusal {
    code: &'static str,
    message: String,
    retryable: bool,
}

impl Refusal {
    fn bad(message: String) -> Self {
        Self { code: refusal::BAD_PROCESS, message, retryable: false }
    }
}

impl Controller {
    pub(super) fn register(
        &mut self,
        now: Duration,
        link: LinkId,
        number: u32,
        process: ProcessRef,
        (instances, exports): (String, Vec<Export>),
        table: Bytes,
    ) -> Result<(), LinkFault> {
        self.release_names(now);
        let Some(member) = self.links.get(&link).and_then(|link| link.member.as_ref()) else { return Ok(()) };
        if member.role == Role::Client {
            return Err(LinkFault::Broken("a client registers no processes".to_owned()));
        }
        if !member.tenants.contains(&process.tenant) {
            return Err(LinkFault::Broken(format!("the process {process} is of a tenant that the node did not claim")));
        }
        if member.processes.contains_key(&number) {
            return Err(LinkFault::Broken(format!("the process number {number} is used twice")));
        }
        let node = member.name.clone();
        if exports.len() > MAX_EXPORTS {
            return Err(LinkFault::Broken(format!("{} exports of a process, {MAX_EXPORTS} are taken", exports.len())));
        }
        match self.admit(link, &process, instances, &table) {
            Err(Refusal { code, message, retryable }) => {
                let code = code.to_owned();
                let reason = message.clone();
                self.send(link, Frame::new(Header::NotRegistered { number, code, message, retryable }));
                self.event(Event::NotRegistered { process, node, reason });
            }
            Ok(record) => {
                let callbacks = record.callbacks.len();
                self.vouch(link, number, &process);
                let entry = self.seat((link, number), record, exports, table);
                self.send(link, Frame::new(Header::Registered { number, entry }));
                self.event(Event::Registered { process, node, callbacks });
            }
        }
        Ok(())
    }

    /// Whether a process may come onto the mesh.
    fn admit(&self, link: LinkId, process: &ProcessRef, instances: String, table: &Bytes) -> Result<Process, Refusal> {
        let state = self.links.get(&link);
        let Some((identity, member)) = state.and_then(|link| Some((&link.identity, link.member.as_ref()?))) else {
            return Err(Refusal::bad("the node has gone".to_owned()));
        };
        let name = &process.name;
        if member.processes.len() >= MAX_PROCESSES_PER_NODE {
            return Err(Refusal::bad(format!("process {name:?}: a node may have {MAX_PROCESSES_PER_NODE} processes")));
        }
        if instances.len() > MAX_INSTANCES_BYTES || instances.chars().any(char::is_control) {
            return Err(Refusal::bad(format!("process {name:?}: the text for its instances is no such text")));
        }
        // Before anything is said of others who may have the name.
        if let Err(message) = identity.may_register(process) {
            return Err(Refusal { code: refusal::NOT_ALLOWED, message, retryable: false });
        }
        if let Some(holder) = self.holders.get(process).and_then(|entry| self.entries.get(entry)) {
            let node = self.links.get(&holder.link).and_then(|link| Some((&link.identity, link.member.as_ref()?)));
            let holder = node.map(|(identity, node)| format!(" {:?} ({identity})", node.name)).unwrap_or_default();
            return Err(Refusal {
                code: refusal::NAME_TAKEN,
                message: format!(
                    "the process name {name:?} is held by the node{holder}: choose another, with --name, or for one of several \
                     modules with --module NAME=PATH or `name` in its [[module]]"
                ),
                retryable: false,
            });
        }
        if let Some(kept) = self.reserved.get(process)
            && !identity.may_succeed(&kept.identity, kept.key == member.key)
        {
            return Err(Refusal {
                code: refusal::NAME_TAKEN,
                message: format!(
                    "the process name {name:?} is kept for the node {:?} ({}), whose link was lost: trying again",
                    kept.node, kept.identity
                ),
                retryable: true,
            });
        }
        self.has_room(member, name, table.len())?;
        let callbacks =
            CallbackTable::open(table).map_err(|error| Refusal::bad(format!("process {name:?}: {error}")))?;
        Ok(Process {
            process: process.clone(),
            node: member.name.as_str().into(),
            instances: instances.into(),
            callbacks,
        })
    }

    /// Whether a node, and all of them together, may have a table of so many bytes more.
    fn has_room(&self, member: &Member, name: &ProcessName, bytes: usize) -> Result<(), Refusal> {
        if member.table_bytes + bytes > MAX_TABLE_BYTES_PER_NODE {
            return Err(Refusal::bad(format!(
                "process {name:?}: the callbacks and signatures of a node's processes may have {MAX_TABLE_BYTES_PER_NODE} bytes in all"
            )));
        }
        if self.table_bytes + bytes > MAX_TABLE_BYTES_IN_ALL {
            return Err(Refusal {
                code: refusal::FULL,
                message: format!(
                    "process {name:?}: the controller keeps {MAX_TABLE_BYTES_IN_ALL} bytes of callbacks and signatures, and has them: \
                     trying again"
                ),
                retryable: true,
            });
        }
        Ok(())
    }

    /// Puts an admitted process onto the mesh and tells the replicas.
    fn seat(&mut self, (link, number): (LinkId, u32), record: Process, exports: Vec<Export>, table: Bytes) -> EntryId {
        self.last_entry += 1;
        let id = EntryId(self.last_entry);
        let process = record.process.clone();
        if let Some(kept) = self.reserved.remove(&process) {
            self.reserved_until.remove(&(kept.until, process.clone()));
        }
        let mut draining = false;
        if let Some(member) = self.links.get_mut(&link).and_then(|link| link.member.as_mut()) {
            member.processes.insert(number, id);
            member.table_bytes += table.len();
            draining = member.draining;
        }
        // It is kept, and what was read with it is not to be.
        let table = Bytes::copy_from_slice(&table);
        self.holders.insert(process.clone(), id);
        self.tenants.put(&process.tenant, id);
        self.table_bytes += table.len();
        self.entries
            .insert(id, Entry { link, number, process, exports, table, load: Load::default(), usage: Bytes::new() });
        if !draining {
            self.registry.insert(id, record);
            for other in self.seers(id) {
                self.tell_entry(other, id);
            }
        }
        id
    }

    pub(super) fn unregister(&mut self, link: LinkId, number: u32) -> Result<(), LinkFault> {
        let Some(member) = self.links.get_mut(&link).and_then(|link| link.member.as_mut()) else { return Ok(()) };
        let Some(id) = member.processes.remove(&number) else {
            return Err(LinkFault::Broken(format!("the process number {number} was never registered")));
        };
        let node = member.name.clone();
        if let Some(entry) = self.take_off(id) {
            self.unvouch(link, number, &entry.process);
            if let Some(member) = self.links.get_mut(&link).and_then(|link| link.member.as_mut()) {
                member.table_bytes = member.table_bytes.saturating_sub(entry.table.len());
            }
            self.event(Event::Unregistered { process: entry.process, node });
        }
        Ok(())
    }

    /// The node takes no new calls: nobody sees its processes any more, and their names stay theirs.
    pub(super) fn drain(&mut self, link: LinkId) {
        let Some(member) = self.links.get_mut(&link).and_then(|link| link.member.as_mut()) else { return };
        member.draining = true;
        let entries: Vec<EntryId> = member.processes.values().copied().collect();
        for id in entries {
            self.hide(id);
        }
    }

    /// The processes of a node that has gone; the names are kept for it until then, or freed.
    pub(super) fn free_processes(&mut self, member: &Member, identity: &PeerIdentity, keep_until: Option<Duration>) {
        for id in member.processes.values().copied() {
            let Some(entry) = self.take_off(id) else { continue };
            if let Some(until) = keep_until
                && self.reserved.len() < MAX_KEPT_NAMES
            {
                let (key, identity, node) = (member.key, identity.clone(), member.name.clone());
                self.reserved.insert(entry.process.clone(), Reservation { until, key, identity, node });
                self.reserved_until.insert((until, entry.process.clone()));
            }
            self.event(Event::Unregistered { process: entry.process, node: member.name.clone() });
        }
    }

    /// Ends the reservations whose time is over.
    pub(super) fn release_names(&mut self, now: Duration) {
        while let Some((until, _)) = self.reserved_until.first()
            && *until <= now
        {
            if let Some((_, process)) = self.reserved_until.pop_first() {
                self.reserved.remove(&process);
            }
        }
    }

    /// Takes a process off the mesh, and its name from it.
    fn take_off(&mut self, id: EntryId) -> Option<Entry> {
        self.hide(id);
        let entry = self.entries.remove(&id)?;
        self.holders.remove(&entry.process);
        self.tenants.take(&entry.process.tenant, id);
        self.table_bytes = self.table_bytes.saturating_sub(entry.table.len());
        Some(entry)
    }

    /// Takes a process out of the registry and the replicas, while its entry is still there.
    fn hide(&mut self, id: EntryId) {
        let seers = self.seers(id);
        if self.registry.remove(id).is_some() {
            for link in seers {
                self.send(link, Frame::new(Header::Gone { entry: id }));
            }
        }
    }

    /// All that there is for its tenants, for a node that just joined.
    pub(super) fn tell_directory(&mut self, link: LinkId) {
        let member = self.links.get(&link).and_then(|link| link.member.as_ref());
        let seen = member.map(|member| self.tenants.seen(member)).unwrap_or_default();
        for id in seen {
            self.tell_entry(link, id);
        }
        self.send(link, Frame::new(Header::Synced));
    }

    /// The other nodes that see something of a process.
    fn seers(&self, id: EntryId) -> Vec<LinkId> {
        let (Some(entry), Some(record)) = (self.entries.get(&id), self.registry.get(id)) else { return Vec::new() };
        let sees = |link: &LinkId| {
            let member = self.links.get(link).and_then(|link| link.member.as_ref());
            let callbacks = || record.callbacks.iter();
            member.is_some_and(|member| {
                member.belongs(entry) || callbacks().any(|callback| member.imports(entry, &callback.name))
            })
        };
        let others = self.tenants.seers(&entry.process.tenant).filter(|link| *link != entry.link);
        others.filter(sees).collect()
    }

    /// Tells a node what it sees of a process: all of it in the process's own tenant, in others what is shared.
    fn tell_entry(&mut self, link: LinkId, id: EntryId) {
        if let Some(frame) = self.entry_frame(link, id) {
            self.send(link, frame);
        }
    }

    fn entry_frame(&self, link: LinkId, id: EntryId) -> Option<Frame> {
        let member = self.links.get(&link)?.member.as_ref()?;
        let (entry, record) = (self.entries.get(&id)?, self.registry.get(id)?);
        let all = record.callbacks.iter().zip(self.registry.groups_of(id));
        let is_own = member.belongs(entry);
        let (groups, table) = if is_own {
            (all.map(|(_, group)| *group).collect(), entry.table.clone())
        } else {
            let shared = all.filter(|(callback, _)| member.imports(entry, &callback.name));
            let (callbacks, groups): (Vec<_>, Vec<GroupId>) =
                shared.map(|(callback, group)| (callback.clone(), *group)).unzip();
            if callbacks.is_empty() {
                return None;
            }
            (groups, CallbackTable::encode(&callbacks).ok()?)
        };
        let header = Header::Entry {
            entry: id,
            process: record.process.clone(),
            // Where and how a process of another tenant lives is not shared.
            node: if is_own { record.node.as_ref().to_owned() } else { String::new() },
            instances: if is_own { record.instances.as_ref().to_owned() } else { String::new() },
            groups,
            exports: entry.exports.iter().filter(|export| member.tenants.contains(&export.to)).cloned().collect(),
            host: self.host_of(member, entry),
        };
        Some(Frame::with_payload(header, table))
    }
}
