//! The harness: a mesh in one thread.
//!
//! Every frame goes through its encoding. A link delivers in order, after a delay of its own; what is under way when a
//! link is cut is lost, as are the frames that a silent link swallows. Timers fire when the time is moved on.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use daffi_proto::call::{
    CallReply, CallRequest, CallbackSpec, Caller, Incoming, ProcessInfo, ProcessSpec, ResolveRequest, Resolved,
    ServeResult, WaitFor,
};
use daffi_proto::controller::{self, Controller, ControllerConfig, Event};
use daffi_proto::error::CallError;
use daffi_proto::frame::{DEFAULT_MAX_PAYLOAD_BYTES, Decoder, Frame, Header};
use daffi_proto::id::{LinkId, LocalId, NodeKey, ProcessName, ProcessRef, ServeId, TenantName, Token};
use daffi_proto::name::CallbackName;
use daffi_proto::node::{self, Command, Node, NodeConfig};
use daffi_proto::session::{Backoff, PeerIdentity, Random, Role};
use daffi_proto::signature::{Signature, SignatureBuilder, Type};

pub const SUM: &str = "demo:tutorial/math#sum";

pub fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// `func(a: s64, b: s64) -> s64`
pub fn sum_type() -> Arc<Signature> {
    let builder = SignatureBuilder::new();
    Arc::new(builder.function([("a", Type::S64), ("b", Type::S64)], Some(Type::S64)).unwrap())
}

/// `func(text: string) -> string`
pub fn text_type() -> Arc<Signature> {
    let builder = SignatureBuilder::new();
    Arc::new(builder.function([("text", Type::String)], Some(Type::String)).unwrap())
}

pub fn name(text: &str) -> ProcessName {
    ProcessName::new(text).unwrap()
}

pub fn process(text: &str) -> ProcessRef {
    ProcessRef { tenant: TenantName::default(), name: name(text) }
}

pub fn callback(text: &str) -> CallbackName {
    CallbackName::parse(text).unwrap()
}

/// What a process does with a call that it gets.
#[derive(Clone, Debug)]
pub enum Behaviour {
    /// Answers with the arguments after this time.
    Echo(Duration),
    /// Leaves it to the test.
    Hold,
    /// Fails at once.
    Fail(CallError),
}

/// A node and what has come of it.
pub struct Runtime {
    pub node: Node,
    pub config: NodeConfig,
    identity: PeerIdentity,
    link: Option<LinkId>,
    backoff: Backoff,
    /// Whether the driver dials anew.
    pub redial: bool,
    pub behaviours: HashMap<LocalId, Behaviour>,
    pub served: Vec<Incoming>,
    pub cancelled: Vec<ServeId>,
    pub calls: HashMap<Token, Result<CallReply, CallError>>,
    pub resolved: HashMap<Token, Result<Resolved, CallError>>,
    pub waits: HashMap<Token, Result<(), CallError>>,
    pub lists: HashMap<Token, Vec<ProcessInfo>>,
    pub added: HashMap<Token, Result<LocalId, CallError>>,
    /// Everything else, in words.
    pub log: Vec<String>,
}

/// One direction's state is in the deliveries; this is what both share.
struct Wire {
    node: usize,
    up: bool,
    /// Nothing arrives any more, and nobody notices.
    silent: bool,
    /// Frames of calls find no room.
    full: bool,
    last: [Duration; 2],
    decoders: [Decoder; 2],
}

enum Delivery {
    Bytes { link: LinkId, to_controller: bool, bytes: Bytes },
    Closed { link: LinkId, to_controller: bool, reason: String },
    Dial { node: usize },
    Answer { node: usize, id: ServeId, result: ServeResult },
}

pub struct Net {
    pub now: Duration,
    pub random: Random,
    pub controller: Option<Controller>,
    pub nodes: Vec<Runtime>,
    pub events: Vec<Event>,
    /// The reasons for which the controller closed links.
    pub closed: Vec<String>,
    wires: BTreeMap<LinkId, Wire>,
    deliveries: BTreeMap<(Duration, u64), Delivery>,
    last_delivery: u64,
    last_link: u64,
    last_token: u64,
    /// Most milliseconds that a frame is under way.
    pub delay: u64,
}

impl Net {
    pub fn new(seed: u64) -> Self {
        Self {
            now: Duration::ZERO,
            random: Random::new(seed),
            controller: Some(Controller::new(ControllerConfig::new(seed))),
            nodes: Vec::new(),
            events: Vec::new(),
            closed: Vec::new(),
            wires: BTreeMap::new(),
            deliveries: BTreeMap::new(),
            last_delivery: 0,
            last_link: 0,
            last_token: 0,
            delay: 3,
        }
    }

    pub fn runtime(&mut self, name: &str, role: Role, identity: PeerIdentity) -> usize {
        let mut key = [0; 16];
        key[..8].copy_from_slice(&self.random.bits().to_le_bytes());
        let config = NodeConfig {
            key: NodeKey(key),
            name: name.to_owned(),
            role,
            seed: self.random.bits(),
            max_payload_bytes: DEFAULT_MAX_PAYLOAD_BYTES,
        };
        self.runtime_with(config, identity)
    }

    pub fn runtime_with(&mut self, config: NodeConfig, identity: PeerIdentity) -> usize {
        self.nodes.push(Runtime {
            node: Node::new(config.clone()),
            backoff: Backoff::new(config.seed),
            config,
            identity,
            link: None,
            redial: true,
            behaviours: HashMap::new(),
            served: Vec::new(),
            cancelled: Vec::new(),
            calls: HashMap::new(),
            resolved: HashMap::new(),
            waits: HashMap::new(),
            lists: HashMap::new(),
            added: HashMap::new(),
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
        let callbacks =
            callbacks.iter().map(|(name, signature)| CallbackSpec { name: callback(name), signature: signature.clone() });
        let spec =
            ProcessSpec { process: process(name), callbacks: callbacks.collect(), instances: "singleton".to_owned() };
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
        self.command(node, Command::Call { token, request });
        token
    }

    pub fn resolve(&mut self, node: usize, request: ResolveRequest) -> Token {
        let token = self.token();
        self.command(node, Command::Resolve { token, request });
        token
    }

    pub fn wait(&mut self, node: usize, what: WaitFor, but: Option<LocalId>, timeout: Duration) -> Token {
        let token = self.token();
        self.command(node, Command::Wait { token, tenant: TenantName::default(), what, but, timeout });
        token
    }

    pub fn list(&mut self, node: usize) -> Vec<ProcessInfo> {
        let token = self.token();
        self.command(node, Command::List { token, tenant: TenantName::default() });
        self.settle();
        self.nodes[node].lists[&token].clone()
    }

    pub fn command(&mut self, node: usize, command: Command) {
        self.node_input(node, node::Input::Command(command));
    }

    /// Connects a node that is not.
    pub fn dial(&mut self, node: usize) {
        let controller = self.controller.is_some();
        if self.nodes[node].link.is_some() || !controller {
            if !controller {
                self.later(node);
            }
            return;
        }
        self.last_link += 1;
        let link = LinkId(self.last_link);
        let decoders = [(); 2].map(|()| Decoder::new(DEFAULT_MAX_PAYLOAD_BYTES));
        let wire = Wire { node, up: true, silent: false, full: false, last: [self.now; 2], decoders };
        self.wires.insert(link, wire);
        self.nodes[node].link = Some(link);
        let identity = self.nodes[node].identity.clone();
        self.controller_input(controller::Input::Accepted { link, identity });
        self.node_input(node, node::Input::LinkUp);
    }

    /// A link of which the test itself is the peer.
    pub fn stranger(&mut self) -> LinkId {
        self.last_link += 1;
        let link = LinkId(self.last_link);
        let identity = PeerIdentity::Unix { uid: 9, pid: None };
        self.controller_input(controller::Input::Accepted { link, identity });
        link
    }

    /// The number of a node's link.
    pub fn link_of(&self, node: usize) -> LinkId {
        self.nodes[node].link.unwrap()
    }

    /// Feeds the controller a frame in the name of the peer of this link.
    pub fn forge(&mut self, link: LinkId, frame: Frame) {
        self.controller_input(controller::Input::Frame { link, frame });
    }

    /// Cuts a node's link: each side hears of it after a while of its own.
    pub fn cut(&mut self, node: usize) {
        let Some(link) = self.nodes[node].link else { return };
        let Some(wire) = self.wires.get_mut(&link).filter(|wire| wire.up) else { return };
        wire.up = false;
        for to_controller in [false, true] {
            self.deliver(link, to_controller, |link| Delivery::Closed {
                link,
                to_controller,
                reason: "cut by the test".to_owned(),
            });
        }
    }

    /// The link swallows everything from now on.
    pub fn silence(&mut self, node: usize) {
        let link = self.link_of(node);
        self.wires.get_mut(&link).unwrap().silent = true;
    }

    /// The link's queues, both ways, have no room for calls.
    pub fn fill(&mut self, node: usize, full: bool) {
        let link = self.link_of(node);
        self.wires.get_mut(&link).unwrap().full = full;
    }

    /// The controller's process dies.
    pub fn kill_controller(&mut self) {
        self.controller = None;
        for node in 0..self.nodes.len() {
            self.cut(node);
        }
    }

    pub fn start_controller(&mut self) {
        self.controller = Some(Controller::new(ControllerConfig::new(self.random.bits())));
    }

    /// The node's process dies: nothing of it is left but its link's end.
    pub fn kill_node(&mut self, node: usize) {
        self.cut(node);
        let runtime = &mut self.nodes[node];
        runtime.link = None;
        runtime.redial = false;
        runtime.node = Node::new(runtime.config.clone());
    }

    /// Lets everything that is under way arrive.
    pub fn settle(&mut self) {
        while let Some((at, _)) = self.deliveries.first_key_value().map(|(key, _)| *key) {
            self.step(at);
        }
    }

    /// Moves the time on, with all that happens meanwhile.
    pub fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(next) = self.next_event().filter(|next| *next <= end) {
            self.step(next);
        }
        self.now = end;
    }

    fn next_event(&self) -> Option<Duration> {
        let delivery = self.deliveries.first_key_value().map(|((at, _), _)| *at);
        let nodes = self.nodes.iter().filter_map(|runtime| runtime.node.next_timeout());
        let controller = self.controller.as_ref().and_then(Controller::next_timeout);
        nodes.chain(delivery).chain(controller).min().map(|at| at.max(self.now))
    }

    /// Everything that is due at this time.
    fn step(&mut self, at: Duration) {
        self.now = self.now.max(at);
        for node in 0..self.nodes.len() {
            if self.nodes[node].node.next_timeout().is_some_and(|timer| timer <= self.now) {
                self.node_input(node, node::Input::Timer);
            }
        }
        let timer = self.controller.as_ref().and_then(Controller::next_timeout);
        if timer.is_some_and(|timer| timer <= self.now) {
            self.controller_input(controller::Input::Timer);
        }
        while let Some(entry) = self.deliveries.first_entry().filter(|entry| entry.key().0 <= self.now) {
            let delivery = entry.remove();
            self.arrive(delivery);
        }
    }

    fn arrive(&mut self, delivery: Delivery) {
        match delivery {
            Delivery::Dial { node } => self.dial(node),
            Delivery::Answer { node, id, result } => self.command(node, Command::Served { id, result }),
            Delivery::Closed { link, to_controller: true, reason } => {
                self.controller_input(controller::Input::Closed { link, reason });
            }
            Delivery::Closed { link, to_controller: false, reason } => self.node_lost(link, reason),
            Delivery::Bytes { link, to_controller, bytes } => {
                let Some(wire) = self.wires.get_mut(&link).filter(|wire| wire.up && !wire.silent) else { return };
                let node = wire.node;
                let mut buffer = BytesMut::from(bytes);
                let frame = wire.decoders[usize::from(to_controller)].next(&mut buffer).unwrap().unwrap();
                if to_controller {
                    self.controller_input(controller::Input::Frame { link, frame });
                } else if self.nodes[node].link == Some(link) {
                    self.node_input(node, node::Input::Frame(frame));
                }
            }
        }
    }

    fn node_lost(&mut self, link: LinkId, reason: String) {
        let node = self.wires[&link].node;
        if self.nodes[node].link == Some(link) {
            self.nodes[node].link = None;
            self.node_input(node, node::Input::LinkDown(reason));
            self.later(node);
        }
    }

    fn later(&mut self, node: usize) {
        if self.nodes[node].redial {
            let pause = self.nodes[node].backoff.pause();
            self.put(self.now + pause, Delivery::Dial { node });
        }
    }

    fn put(&mut self, at: Duration, delivery: Delivery) {
        self.last_delivery += 1;
        self.deliveries.insert((at, self.last_delivery), delivery);
    }

    fn deliver(&mut self, link: LinkId, to_controller: bool, what: impl FnOnce(LinkId) -> Delivery) {
        let delay = ms(self.random.bits() % (self.delay + 1));
        let wire = self.wires.get_mut(&link).unwrap();
        let last = &mut wire.last[usize::from(to_controller)];
        *last = (*last).max(self.now + delay);
        let at = *last;
        self.put(at, what(link));
    }

    /// Whether the frame was taken.
    fn transmit(&mut self, link: LinkId, to_controller: bool, frame: &Frame) -> bool {
        let Some(wire) = self.wires.get(&link).filter(|wire| wire.up) else { return true };
        if wire.full && matches!(frame.header, Header::Call { .. }) {
            return false;
        }
        let mut buffer = BytesMut::new();
        frame.encode_into(&mut buffer).unwrap();
        let bytes = buffer.freeze();
        self.deliver(link, to_controller, |link| Delivery::Bytes { link, to_controller, bytes });
        true
    }

    fn hang_up(&mut self, link: LinkId, by_controller: bool, reason: &str) {
        if !self.wires.get(&link).is_some_and(|wire| wire.up) {
            return;
        }
        let reason = reason.to_owned();
        let to_controller = !by_controller;
        self.deliver(link, to_controller, |link| Delivery::Closed { link, to_controller, reason });
    }

    pub fn controller_input(&mut self, input: controller::Input) {
        let Some(controller) = &mut self.controller else { return };
        controller.handle(self.now, input);
        while let Some(output) = self.controller.as_mut().and_then(Controller::poll_output) {
            match output {
                controller::Output::Send { link, frame } => {
                    if !self.transmit(link, false, &frame) {
                        let input = controller::Input::NotSent { link, frame };
                        self.controller.as_mut().unwrap().handle(self.now, input);
                    }
                }
                controller::Output::Close { link, reason } => {
                    self.hang_up(link, true, &reason);
                    self.closed.push(reason);
                }
                controller::Output::Event(event) => self.events.push(event),
            }
        }
    }

    pub fn node_input(&mut self, node: usize, input: node::Input) {
        self.nodes[node].node.handle(self.now, input);
        while let Some(output) = self.nodes[node].node.poll_output() {
            self.node_output(node, output);
        }
    }

    fn node_output(&mut self, node: usize, output: node::Output) {
        let runtime = &mut self.nodes[node];
        match output {
            node::Output::Send(frame) => {
                let Some(link) = runtime.link else { return };
                if !self.transmit(link, true, &frame) {
                    self.nodes[node].node.handle(self.now, node::Input::NotSent(frame));
                }
            }
            node::Output::CloseLink { reason, again } => {
                runtime.log.push(format!("close: {reason}"));
                if let Some(link) = runtime.link.take() {
                    self.hang_up(link, false, &reason);
                }
                if again {
                    self.later(node);
                }
            }
            node::Output::Connected => {
                runtime.backoff.reset();
                runtime.log.push("connected".to_owned());
            }
            node::Output::Disconnected { .. } => runtime.log.push("disconnected".to_owned()),
            node::Output::Refused { code, message } => runtime.log.push(format!("refused: {code}: {message}")),
            node::Output::NameHeld { message, .. } => runtime.log.push(format!("held: {message}")),
            node::Output::Drained => runtime.log.push("drained".to_owned()),
            node::Output::ProcessAdded { token, result } => drop(runtime.added.insert(token, result)),
            node::Output::CancelServe(id) => runtime.cancelled.push(id),
            node::Output::CallDone { token, result } => {
                assert!(runtime.calls.insert(token, result).is_none(), "a call ended twice");
            }
            node::Output::Resolved { token, result } => drop(runtime.resolved.insert(token, result)),
            node::Output::WaitDone { token, result } => drop(runtime.waits.insert(token, result)),
            node::Output::Processes { token, processes } => drop(runtime.lists.insert(token, processes)),
            node::Output::Serve(incoming) => self.serve(node, incoming),
        }
    }

    fn serve(&mut self, node: usize, incoming: Incoming) {
        let runtime = &mut self.nodes[node];
        let behaviour = runtime.behaviours.get(&incoming.process).cloned().unwrap_or(Behaviour::Echo(Duration::ZERO));
        let (id, args) = (incoming.id, incoming.args.clone());
        runtime.served.push(incoming);
        match behaviour {
            Behaviour::Echo(after) => self.put(self.now + after, Delivery::Answer { node, id, result: Ok(args) }),
            Behaviour::Fail(error) => self.put(self.now, Delivery::Answer { node, id, result: Err(error) }),
            Behaviour::Hold => {}
        }
    }

    /// Answers the calls that a node holds.
    pub fn answer(&mut self, node: usize, id: ServeId, result: ServeResult) {
        self.command(node, Command::Served { id, result });
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

/// A call of the type `sum` with a deadline of 10 s.
pub fn call(caller: Option<LocalId>, name: &str) -> CallRequest {
    let caller = match caller {
        Some(id) => Caller::Process { id, instance: 0, parent: None },
        None => Caller::Client { tenant: TenantName::default() },
    };
    let signature = sum_type();
    CallRequest {
        caller,
        callbacks: [callback(name)].into(),
        accepts: [signature.fingerprint()].into(),
        signature: Some(signature),
        receiver: None,
        args: Bytes::from_static(b"args"),
        timeout: secs(10),
        wait_ready: false,
    }
}

/// A call that is made while another is served.
pub fn below(parent: &Incoming, name: &str) -> CallRequest {
    let caller = Caller::Process { id: parent.process, instance: 7, parent: Some(parent.id) };
    CallRequest { caller, ..call(None, name) }
}

/// A question with a timeout of 10 s.
pub fn question(caller: Option<LocalId>, pattern: &str) -> ResolveRequest {
    let caller = call(caller, SUM).caller;
    ResolveRequest { caller, pattern: pattern.to_owned(), receiver: None, timeout: secs(10), wait_ready: false }
}
