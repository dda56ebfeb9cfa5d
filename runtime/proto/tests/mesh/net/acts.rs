//! What a test does with the mesh, and what it reads from it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use daffi_proto::call::{
    CallReply, CallRequest, CallbackSpec, Caller, Detail, GatherRequest, ProcessInfo, ProcessSpec, ResolveRequest,
    ScheduleRequest, Schedules, ServeResult, TasksRequest, WaitFor,
};
use daffi_proto::error::CallError;
use daffi_proto::id::{LocalId, NodeKey, ServeId, TenantName, Token};
use daffi_proto::node::{self, Command, Node, NodeConfig};
use daffi_proto::schedule::{TaskInfo, TaskOp};
use daffi_proto::session::{Backoff, PeerIdentity, Role};
use daffi_proto::share::Export;
use daffi_proto::signature::Signature;
use daffi_proto::stream::StreamCall;

use super::{Net, Runtime, SUM, call, callback, name, process, secs, sum_type, tenant};

/// How many bytes of large items each process has room for.
pub const LARGE_BYTES: usize = 64 * 1024 * 1024;

impl Net {
    pub fn runtime(&mut self, name: &str, role: Role, identity: PeerIdentity) -> usize {
        let mut key = [0; 16];
        key[..8].copy_from_slice(&self.random.bits().to_le_bytes());
        let reachable_at = if self.direct { vec![Self::address_of(self.nodes.len())] } else { Vec::new() };
        let config = NodeConfig { seed: self.random.bits(), reachable_at, ..NodeConfig::new(NodeKey(key), name, role) };
        self.runtime_with(config, identity)
    }

    /// A connected node or client of these tenants, without processes.
    pub fn runtime_of(&mut self, tenants: &[&str], role: Role) -> usize {
        let node = self.runtime("of-tenants", role, PeerIdentity::Unix { uid: 1, pid: None });
        let tenants = tenants.iter().map(|name| tenant(name)).collect();
        self.replace(node, |config| NodeConfig { tenants, ..config });
        self.dial(node);
        self.settle();
        node
    }

    /// Makes a node that nothing was done with anew, with a config that is made of its own.
    pub fn replace(&mut self, node: usize, change: impl FnOnce(NodeConfig) -> NodeConfig) -> usize {
        let config = change(self.nodes[node].config.clone());
        self.nodes[node].node = Node::new(config.clone());
        self.nodes[node].config = config;
        node
    }

    pub fn runtime_with(&mut self, config: NodeConfig, identity: PeerIdentity) -> usize {
        let shows = match &identity {
            PeerIdentity::Certificate { grants, .. } => Some(grants.clone()),
            _ => None,
        };
        self.nodes.push(Runtime {
            shows,
            node: Node::new(config.clone()),
            backoff: Backoff::new(config.seed),
            config,
            identity,
            link: None,
            redial: true,
            dead: false,
            behaviours: HashMap::new(),
            served: Vec::new(),
            answered: HashSet::new(),
            running: BTreeMap::new(),
            cancelled: Vec::new(),
            carried_out: false,
            calls: HashMap::new(),
            entries: HashMap::new(),
            gathers: HashMap::new(),
            ended: HashMap::new(),
            resolved: HashMap::new(),
            tasks: HashMap::new(),
            saves: BTreeMap::new(),
            waits: HashMap::new(),
            lists: HashMap::new(),
            members: HashMap::new(),
            added: HashMap::new(),
            writers: BTreeMap::new(),
            readers: BTreeMap::new(),
            log: Vec::new(),
        });
        self.nodes.len() - 1
    }

    /// A connected node with one process of this name that has these callbacks, of the type `sum`.
    pub fn member(&mut self, name: &str, callbacks: &[&str]) -> (usize, LocalId) {
        let node = self.runtime(name, Role::Node, PeerIdentity::Unix { uid: 1, pid: None });
        let id = self.add(node, name, callbacks);
        self.dial(node);
        self.settle();
        (node, id)
    }

    pub fn client(&mut self) -> usize {
        let node = self.runtime("client", Role::Client, PeerIdentity::Unix { uid: 1, pid: None });
        self.dial(node);
        self.settle();
        node
    }

    pub fn add(&mut self, node: usize, name: &str, callbacks: &[&str]) -> LocalId {
        let callbacks: Vec<_> = callbacks.iter().map(|name| (*name, sum_type())).collect();
        self.try_add(node, name, &callbacks).unwrap()
    }

    pub fn try_add(
        &mut self,
        node: usize,
        name: &str,
        callbacks: &[(&str, Arc<Signature>)],
    ) -> Result<LocalId, CallError> {
        self.try_add_with(node, name, callbacks, Schedules::default())
    }

    pub fn try_add_with(
        &mut self,
        node: usize,
        name: &str,
        callbacks: &[(&str, Arc<Signature>)],
        schedules: Schedules,
    ) -> Result<LocalId, CallError> {
        self.try_add_sharing(node, name, callbacks, schedules, &[])
    }

    /// The same, with exports; callbacks of the type `sum`.
    pub fn add_exporting(&mut self, node: usize, name: &str, callbacks: &[&str], exports: &[Export]) -> LocalId {
        let callbacks: Vec<_> = callbacks.iter().map(|name| (*name, sum_type())).collect();
        self.try_add_sharing(node, name, &callbacks, Schedules::default(), exports).unwrap()
    }

    fn try_add_sharing(
        &mut self,
        node: usize,
        name: &str,
        callbacks: &[(&str, Arc<Signature>)],
        schedules: Schedules,
        exports: &[Export],
    ) -> Result<LocalId, CallError> {
        let callbacks = callbacks
            .iter()
            .map(|(name, signature)| CallbackSpec { name: callback(name), signature: signature.clone() });
        let spec = ProcessSpec {
            process: process(name),
            callbacks: callbacks.collect(),
            instances: "singleton".to_owned(),
            schedules,
            large_bytes: LARGE_BYTES,
            max_streams: self.max_streams,
            exports: exports.into(),
        };
        let token = self.token();
        self.command(node, Command::AddProcess { token, spec });
        self.nodes[node].added[&token].clone()
    }

    pub fn token(&mut self) -> Token {
        self.last_token += 1;
        Token(self.last_token)
    }

    pub fn call(&mut self, node: usize, request: CallRequest) -> Token {
        let token = self.token();
        let flows = request.flows();
        self.nodes[node].open_writers(StreamCall::Made(token), &flows);
        self.make(node, token, request);
        token
    }

    pub fn gather(&mut self, node: usize, request: GatherRequest) -> Token {
        let token = self.token();
        self.command(node, Command::Gather { token, request });
        token
    }

    pub fn schedule(&mut self, node: usize, request: ScheduleRequest) -> Token {
        let token = self.token();
        self.command(node, Command::Schedule { token, request });
        token
    }

    /// Schedules, and gives the task.
    pub fn scheduled(&mut self, node: usize, request: ScheduleRequest) -> TaskInfo {
        let token = self.schedule(node, request);
        self.settle();
        self.tasks_of(node, token).unwrap().remove(0)
    }

    /// Asks for tasks, and gives what came of it.
    pub fn ask(&mut self, node: usize, process: &str, op: TaskOp) -> Result<Vec<TaskInfo>, CallError> {
        self.ask_in(&TenantName::default(), node, process, op)
    }

    /// The same, as somebody of this tenant.
    pub fn ask_in(
        &mut self,
        tenant: &TenantName,
        node: usize,
        process: &str,
        op: TaskOp,
    ) -> Result<Vec<TaskInfo>, CallError> {
        let caller = Caller::Client { tenant: tenant.clone() };
        let token = self.token();
        let request = TasksRequest { caller, process: name(process), op, timeout: secs(10) };
        self.command(node, Command::Tasks { token, request });
        self.settle();
        self.tasks_of(node, token)
    }

    pub fn tasks_of(&self, node: usize, token: Token) -> Result<Vec<TaskInfo>, CallError> {
        self.nodes[node].tasks[&token].clone().map(|page| page.tasks)
    }

    pub fn resolve(&mut self, node: usize, request: ResolveRequest) -> Token {
        let token = self.token();
        self.command(node, Command::Resolve { token, request });
        token
    }

    pub fn wait(&mut self, node: usize, what: WaitFor, caller: Option<LocalId>, timeout: Duration) -> Token {
        self.wait_as(node, call(caller, SUM).caller, what, timeout)
    }

    pub fn wait_as(&mut self, node: usize, caller: Caller, what: WaitFor, timeout: Duration) -> Token {
        let token = self.token();
        self.command(node, Command::Wait { token, caller, what, timeout });
        token
    }

    pub fn list(&mut self, node: usize) -> Vec<ProcessInfo> {
        self.list_of(node, TenantName::default())
    }

    /// The processes of this tenant.
    pub fn list_of(&mut self, node: usize, tenant: TenantName) -> Vec<ProcessInfo> {
        self.list_in_detail(node, tenant, Detail::Load)
    }

    pub fn list_in_detail(&mut self, node: usize, tenant: TenantName, detail: Detail) -> Vec<ProcessInfo> {
        let token = self.token();
        self.command(node, Command::List { token, tenant, detail });
        self.settle();
        self.nodes[node].lists[&token].clone()
    }

    /// What a tenant shares with another, as a node sees it: processes and callbacks.
    pub fn shared(&mut self, node: usize, from: &str, into: &str) -> Vec<(String, Vec<String>)> {
        let token = self.token();
        self.command(node, Command::Shared { token, from: tenant(from), into: tenant(into) });
        self.settle();
        let names =
            |process: &ProcessInfo| process.callbacks.iter().map(|callback| callback.name.to_string()).collect();
        self.nodes[node].lists[&token].iter().map(|process| (process.process.to_string(), names(process))).collect()
    }

    pub fn command(&mut self, node: usize, command: Command) {
        self.node_input(node, node::Input::Command(command));
    }

    /// Answers the calls that a node holds.
    pub fn answer(&mut self, node: usize, id: ServeId, result: ServeResult) {
        self.nodes[node].answered.insert(id);
        self.end(node, id, result);
    }

    /// The result of a call that has ended.
    pub fn result(&self, node: usize, token: Token) -> &Result<CallReply, CallError> {
        &self.nodes[node].calls[&token]
    }

    /// The error of a call that has failed.
    pub fn error(&self, node: usize, token: Token) -> &CallError {
        self.result(node, token).as_ref().unwrap_err()
    }

    pub fn count(&self, node: usize) -> node::NodeCounts {
        self.nodes[node].node.counts()
    }
}
