//! The node's own processes and their registration; the replica of everybody else's.
//!
//! ```text
//!   own:     Idle ──link up──▶ Asked ──Registered──▶ Registered        others:  Entry ──▶ in the mesh
//!             ▲                  └──NotRegistered, to be retried──▶ Idle         Gone ──▶ out
//!             └──link lost──────────────────────────────────────────┘           link lost ──▶ stale
//! ```
//!
//! What was on the mesh when the link was lost is kept as stale: it cannot be called, but who asks for it waits for it
//! to come back, until the grace time after the reconnection is over.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;

use super::waiting::Key;
use super::{MAX_PROCESSES, Node, Output, Peer, Request, outcome};
use crate::call::{Load, ProcessSpec};
use crate::frame::{Frame, Header, plain};
use crate::id::{EntryId, GroupId, LocalId, ProcessRef, Token};
use crate::registry::{Callback, CallbackTable, Process};
use crate::session::{LinkFault, REGISTER_RETRY, Role};
use crate::share::{Export, MAX_EXPORTS};
use crate::usage::Usage;

/// A process of this node.
#[derive(Debug)]
pub(super) struct Local {
    pub process: ProcessRef,
    exports: Arc<[Export]>,
    pub instances: Arc<str>,
    table: Bytes,
    pub registration: Registration,
    /// Why it is not registered, where the controller said so.
    pub held: Option<String>,
    /// Whether it was on the mesh before: then a held name is waited for.
    pub known: bool,
    /// Taken off the mesh: it stays here while it serves, or while the controller's answer is on its way.
    pub removed: bool,
    pub serving: usize,
    /// Of the calls that it serves, those that the controller relays.
    pub relayed: usize,
    pub load: Load,
    /// The load and the calls apart that the controller knows of.
    pub told: (Load, u32),
    /// What it has used, as it last told.
    pub usage: Option<Box<Usage>>,
    /// Its room for large items of streams.
    pub large_bytes: usize,
    /// How many streams the calls that it serves may have, and have.
    pub max_streams: usize,
    pub streams: usize,
}

/// How a process stands to the controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Registration {
    Idle,
    Asked,
    Registered(EntryId),
}

impl Node {
    pub(super) fn add_process(&mut self, token: Token, spec: ProcessSpec) {
        let result = self.admit(spec);
        let added = result.as_ref().ok().copied();
        self.outputs.push_back(Output::ProcessAdded { token, result });
        if let Some(id) = added {
            self.register(id);
            self.wake_for(Peer::Local(id));
            if let Some(process) = self.locals.get(&id).map(|local| local.process.clone()) {
                self.tell_joined(&process, None);
            }
        }
    }

    fn admit(&mut self, spec: ProcessSpec) -> Result<LocalId, crate::error::CallError> {
        let taken = self.mesh.named(&spec.process).iter().any(|peer| matches!(peer, Peer::Local(_)));
        if taken {
            return Err(outcome::name_taken(&spec.process.name, &self.config.name));
        }
        if self.config.role == Role::Client {
            return Err(outcome::bad_process(&spec.process.name, "a client has no processes"));
        }
        if !self.config.tenants.contains(&spec.process.tenant) {
            let why = format!("this node does not belong to the tenant {:?}", spec.process.tenant.as_str());
            return Err(outcome::bad_process(&spec.process.name, &why));
        }
        if self.locals.len() >= MAX_PROCESSES {
            let why = format!("a node may have {MAX_PROCESSES} processes");
            return Err(outcome::bad_process(&spec.process.name, &why));
        }
        if spec.exports.len() > MAX_EXPORTS {
            let why = format!("it has {} exports, at most {MAX_EXPORTS} are taken", spec.exports.len());
            return Err(outcome::bad_process(&spec.process.name, &why));
        }
        let callbacks: Arc<[Callback]> = spec.callbacks.iter().map(Callback::new).collect();
        let table = CallbackTable::encode(&callbacks)
            .map_err(|error| outcome::bad_process(&spec.process.name, &error.to_string()))?;
        self.last_local += 1;
        let id = LocalId(self.last_local);
        let instances: Arc<str> = spec.instances.into();
        let node = self.config.name.as_str().into();
        let record = Process { process: spec.process.clone(), node, instances: instances.clone(), callbacks };
        self.shares.show(Peer::Local(id), &record, &spec.exports);
        self.mesh.insert(Peer::Local(id), record);
        let (process, schedules) = (spec.process.name.clone(), spec.schedules);
        let local = Local {
            process: spec.process,
            exports: spec.exports,
            instances,
            table,
            registration: Registration::Idle,
            held: None,
            known: false,
            removed: false,
            serving: 0,
            relayed: 0,
            told: (Load::default(), 0),
            load: Load::default(),
            usage: None,
            large_bytes: spec.large_bytes,
            max_streams: spec.max_streams,
            streams: 0,
        };
        self.locals.insert(id, local);
        self.add_table(id, &process, schedules);
        Ok(id)
    }

    pub(super) fn remove_process(&mut self, id: LocalId) {
        let Some(local) = self.locals.get_mut(&id).filter(|local| !local.removed) else { return };
        local.removed = true;
        if let Registration::Registered(entry) = local.registration {
            self.entries.remove(&entry);
            local.registration = Registration::Idle;
            self.send(Frame::new(Header::Unregister { number: id.0 }));
        }
        self.shares.hide(Peer::Local(id));
        if let Some(process) = self.mesh.remove(Peer::Local(id)) {
            self.tell_left(&process);
        }
        self.remove_table(id);
        self.loads.forget(id);
        self.usages.forget(id);
        self.forget_if_over(id);
        self.fail_waiting_calls_of(id);
        self.check_connected();
    }

    /// Forgets a removed process when nothing of it is left.
    pub(super) fn forget_if_over(&mut self, id: LocalId) {
        let over = |local: &Local| local.removed && local.serving == 0 && local.registration == Registration::Idle;
        if self.locals.get(&id).is_some_and(over) {
            self.locals.remove(&id);
        }
    }

    /// Asks the controller to put a process on the mesh.
    fn register(&mut self, id: LocalId) {
        let Some(local) = self.locals.get_mut(&id) else { return };
        if self.link.up().is_none() || local.removed || local.registration != Registration::Idle {
            return;
        }
        local.registration = Registration::Asked;
        let header = Header::Register {
            number: id.0,
            process: local.process.clone(),
            instances: local.instances.as_ref().to_owned(),
            exports: local.exports.to_vec(),
        };
        let frame = Frame::with_payload(header, local.table.clone());
        self.send(frame);
    }

    pub(super) fn register_all(&mut self) {
        let ids: Vec<LocalId> = self.locals.keys().copied().collect();
        for id in ids {
            self.register(id);
        }
    }

    pub(super) fn retry_names(&mut self) {
        if self.retry_names_at.is_some_and(|at| at <= self.now) {
            self.retry_names_at = None;
            self.register_all();
        }
    }

    pub(super) fn registered(&mut self, number: u32, entry: EntryId) {
        let id = LocalId(number);
        let Some(local) = self.locals.get_mut(&id) else { return };
        if local.removed {
            local.registration = Registration::Idle;
            self.send(Frame::new(Header::Unregister { number }));
            self.forget_if_over(id);
            return;
        }
        local.registration = Registration::Registered(entry);
        self.entries.insert(entry, id);
        local.held = None;
        local.known = true;
        local.told = (Load::default(), 0);
        match local.load.schedules {
            0 => self.load_changed(id),
            _ => self.load_changed_now(id),
        }
        self.usage_changed(id);
        self.look_at_schedules(id);
        self.check_connected();
        // Calls of this process could not go out before.
        self.wake(std::iter::once(Key::Caller(id)));
    }

    pub(super) fn not_registered(&mut self, number: u32, code: &str, message: &str, retryable: bool) {
        let (id, code, message) = (LocalId(number), plain(code), plain(message));
        let Some(local) = self.locals.get_mut(&id) else { return };
        local.registration = Registration::Idle;
        if local.removed {
            self.forget_if_over(id);
        } else if retryable || local.known {
            local.held = Some(message.clone());
            self.retry_names_at = Some(self.now + REGISTER_RETRY);
            self.outputs.push_back(Output::NameHeld { process: id, message });
        } else {
            self.shut = Some(message.clone());
            self.send(Frame::new(Header::Leave));
            self.close(&message, false);
            self.outputs.push_back(Output::Refused { code, message });
            self.wake_all();
        }
    }

    /// Tells the user once that all is registered and the replica is complete.
    pub(super) fn check_connected(&mut self) {
        let on_mesh = |local: &Local| local.removed || matches!(local.registration, Registration::Registered(_));
        let all = self.locals.values().all(on_mesh);
        if let Some(up) = self.link.up_mut()
            && up.synced
            && !up.connected
            && all
        {
            up.connected = true;
            self.outputs.push_back(Output::Connected);
        }
    }

    pub(super) fn forget_registrations(&mut self) {
        self.retry_names_at = None;
        self.entries.clear();
        for local in self.locals.values_mut() {
            local.registration = Registration::Idle;
            local.relayed = 0;
        }
        self.locals.retain(|_, local| !local.removed || local.serving > 0);
    }

    /// A process of another node came.
    pub(super) fn take_entry(
        &mut self,
        entry: EntryId,
        (process, node, instances): (ProcessRef, &str, &str),
        groups: Vec<GroupId>,
        exports: &[Export],
        table: &[u8],
    ) -> Result<(), LinkFault> {
        let callbacks = CallbackTable::open(table)
            .map_err(|error| LinkFault::Broken(format!("the controller sent a process with {error}")))?;
        if groups.len() != callbacks.len() {
            return Err(LinkFault::Broken("the controller sent a process whose callbacks are not numbered".to_owned()));
        }
        let record = Process { process, node: node.into(), instances: instances.into(), callbacks };
        self.remote_groups.insert(entry, groups.into());
        self.shares.show(Peer::Remote(entry), &record, exports);
        let name = record.process.clone();
        if !self.config.tenants.contains(&name.tenant) {
            self.wake_for(Peer::Remote(entry));
            return Ok(());
        }
        let back: Vec<u64> = self.stale.named(&name).to_vec();
        let former = back.into_iter().filter_map(|former| self.stale.remove(former)).last();
        self.mesh.insert(Peer::Remote(entry), record);
        self.wake_for(Peer::Remote(entry));
        self.tell_joined(&name, former.as_ref());
        Ok(())
    }

    pub(super) fn take_gone(&mut self, entry: EntryId) {
        let left = self.mesh.remove(Peer::Remote(entry));
        self.shares.hide(Peer::Remote(entry));
        self.remote_groups.remove(&entry);
        self.roads.forget_process(entry);
        if let Some(process) = left {
            self.tell_left(&process);
        }
    }

    pub(super) fn take_synced(&mut self) {
        let Some(up) = self.link.up_mut() else { return };
        up.synced = true;
        let grace = up.grace;
        self.stale_until = (!self.stale.is_empty()).then_some(self.now + grace);
        self.check_connected();
        self.wake_all();
    }

    /// The link is lost: what the others had is stale.
    pub(super) fn keep_stale(&mut self) {
        self.stale_until = None;
        for entry in std::mem::take(&mut self.remote_groups).into_keys() {
            self.shares.hide(Peer::Remote(entry));
            let Some(process) = self.mesh.remove(Peer::Remote(entry)) else { continue };
            let former: Vec<u64> = self.stale.named(&process.process).to_vec();
            for former in former {
                self.stale.remove(former);
            }
            self.last_stale += 1;
            self.stale.insert(self.last_stale, process);
        }
    }

    /// What has not come back within the grace time will not be waited for any more.
    pub(super) fn check_stale(&mut self) {
        if self.stale_until.is_some_and(|until| until <= self.now) {
            self.stale_until = None;
            let gone: Vec<u64> = self.stale.processes().map(|(id, _)| id).collect();
            for id in gone {
                if let Some(process) = self.stale.remove(id) {
                    self.tell_left(&process);
                }
            }
            self.wake_all();
        }
    }

    /// Looks again at those who wait for this process or a callback of it.
    fn wake_for(&mut self, peer: Peer) {
        let Some(process) = self.mesh.get(peer).or_else(|| self.shares.get(peer)) else { return };
        let tenant = &process.process.tenant;
        let functions = process.callbacks.iter().map(|callback| callback.name.function());
        let mut keys: Vec<Key> = functions.map(|function| Key::Function(tenant.clone(), function.into())).collect();
        keys.push(Key::Process(process.process.clone()));
        self.wake(keys.into_iter());
    }

    /// Looks again at those who wait for any of these.
    fn wake(&mut self, keys: impl Iterator<Item = Key>) {
        let woken: BTreeSet<Request> = self.waiting.for_any(keys);
        for request in woken {
            self.look_again(request);
        }
    }

    /// Looks again at all who wait.
    pub(super) fn wake_all(&mut self) {
        for request in self.waiting.all() {
            self.look_again(request);
        }
    }

    fn look_again(&mut self, request: Request) {
        match request {
            Request::Call(id) => self.place_call(id),
            Request::Gather(id) => self.try_gather(id),
            Request::Ask(id) => self.try_ask(id),
            Request::Streams(_) | Request::List(_) | Request::Watch => {}
        }
    }

    /// Takes no new calls from now on.
    pub(super) fn drain(&mut self) {
        if std::mem::replace(&mut self.draining, true) {
            return;
        }
        if self.link.up().is_some() {
            self.send(Frame::new(Header::Drain));
        }
        self.fail_waiting_calls_without_parent();
    }

    /// Whether nobody waits for a call that was made here.
    fn nobody_calls(&self) -> bool {
        self.calls.len() == self.abandoned_calls && self.gathers.values().all(|gather| gather.call.abandoned)
    }

    pub(super) fn check_drained(&mut self) {
        if self.draining
            && !self.drained_told
            && self.nobody_calls()
            && self.wanted_serves == 0
            && !self.streams_wanted()
        {
            self.drained_told = true;
            self.outputs.push_back(Output::Drained);
        }
    }
}
