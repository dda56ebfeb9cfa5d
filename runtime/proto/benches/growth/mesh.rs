//! The real controller, with links that are none: their peers are frames that a node would send. And the real node, with
//! frames that a controller sent.
//!
//! Nothing is encoded here, and nothing delayed: what is measured is what the state machines do.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use daffi_proto::call::{Answer, CallRequest, CallbackSpec, Caller, Hop, Mode};
use daffi_proto::controller::{Controller, ControllerConfig, Input, Output};
use daffi_proto::frame::{Frame, Header, Target};
use daffi_proto::id::{CallId, EntryId, GroupId, LinkId, NodeKey, ProcessName, ProcessRef, TenantName};
use daffi_proto::name::CallbackName;
use daffi_proto::node::{self, Node, NodeConfig, Via};
use daffi_proto::registry::{Callback, CallbackTable};
use daffi_proto::schedule::{Clock, Utc};
use daffi_proto::session::{PeerIdentity, Role};
use daffi_proto::signature::{Signature, SignatureBuilder, Type};
use daffi_proto::stream::Flows;

/// Arguments and results: two small numbers.
pub const ARGS: &[u8] = &[2, 4];

/// A node that is simulated: what it says, and the one process that it has.
pub struct Peer {
    hello: Frame,
    process: ProcessRef,
    table: Bytes,
}

/// A controller and how many links and calls it has seen.
pub struct Mesh {
    controller: Controller,
    pub now: Duration,
    last_link: u64,
    last_call: u64,
}

/// A callback of a process, as the controller numbers them.
#[derive(Clone, Copy)]
pub struct Place {
    pub entry: EntryId,
    pub group: GroupId,
}

impl Peer {
    /// The node of this number in a tenant, with a process of the same number.
    pub fn new(number: usize, tenant: &TenantName, callbacks: &[Callback]) -> anyhow::Result<Self> {
        let name = ProcessName::new(&format!("process-{number}"))?;
        Ok(Self {
            hello: hello(number, tenant, Role::Node)?,
            process: ProcessRef { tenant: tenant.clone(), name },
            table: CallbackTable::encode(callbacks)?,
        })
    }

    /// The same with another node's number.
    pub fn with_key(self, number: usize) -> anyhow::Result<Self> {
        Ok(Self { hello: hello(number, &self.process.tenant, Role::Node)?, ..self })
    }

    /// What a new link of it begins with.
    pub fn inputs(&self, link: LinkId) -> [Input; 3] {
        let header = Header::Register {
            number: 1,
            process: self.process.clone(),
            instances: "singleton".to_owned(),
            exports: Vec::new(),
        };
        // A controller has read each table from a socket: it shares none with others.
        let table = Bytes::copy_from_slice(&self.table);
        [
            Input::Accepted { link, identity: PeerIdentity::Unix { uid: 1, pid: None } },
            Input::Frame { link, frame: self.hello.clone() },
            Input::Frame { link, frame: Frame::with_payload(header, table) },
        ]
    }
}

impl Mesh {
    /// A controller without links.
    pub fn new() -> Self {
        let controller = Controller::new(ControllerConfig::new(1));
        Self { controller, now: Duration::ZERO, last_link: 0, last_call: 0 }
    }

    /// A link's number.
    pub fn next_link(&mut self) -> LinkId {
        self.last_link += 1;
        LinkId(self.last_link)
    }

    /// Feeds the controller, and counts the frames that come out.
    pub fn feed(&mut self, inputs: impl IntoIterator<Item = Input>) -> usize {
        let mut frames = 0;
        for input in inputs {
            self.controller.handle(self.now, input);
            while let Some(output) = self.controller.poll_output() {
                frames += usize::from(matches!(output, Output::Send { .. }));
            }
        }
        frames
    }

    /// Feeds the controller, and gives what it sends.
    pub fn frames(&mut self, inputs: impl IntoIterator<Item = Input>) -> Vec<(LinkId, Frame)> {
        let mut frames = Vec::new();
        for input in inputs {
            self.controller.handle(self.now, input);
            while let Some(output) = self.controller.poll_output() {
                if let Output::Send { link, frame } = output {
                    frames.push((link, frame));
                }
            }
        }
        frames
    }

    /// Lets a peer join and register. Its link.
    pub fn join(&mut self, peer: &Peer) -> LinkId {
        let link = self.next_link();
        self.feed(peer.inputs(link));
        link
    }

    /// Lets a client of a tenant join: its link, and the frames that tell it of all that there is.
    pub fn client(&mut self, tenant: &TenantName) -> anyhow::Result<(LinkId, Vec<Frame>)> {
        let link = self.next_link();
        // No two nodes have one key.
        let frame = hello(usize::MAX - usize::try_from(link.0)?, tenant, Role::Client)?;
        let identity = PeerIdentity::Unix { uid: 1, pid: None };
        let frames = self.frames([Input::Accepted { link, identity }, Input::Frame { link, frame }]);
        Ok((link, frames.into_iter().map(|(_, frame)| frame).collect()))
    }

    /// A call of a client.
    pub fn call(&mut self, link: LinkId, target: Target) -> Input {
        self.last_call += 1;
        let header = Header::Call {
            id: CallId(self.last_call),
            target,
            timeout_ms: 10_000,
            chain: Arc::from([Hop { process: None, instance: 0 }]),
            answer: Answer::Result,
            mode: Mode::Whole,
            channels: Flows::default(),
            key: None,
        };
        Input::Frame { link, frame: Frame::with_payload(header, Bytes::from_static(ARGS)) }
    }
}

/// The callbacks in what a client was told, in the order in which they were registered.
pub fn places(frames: &[Frame]) -> Vec<Place> {
    let entries = frames.iter().filter_map(|frame| match &frame.header {
        Header::Entry { entry, groups, .. } => Some((*entry, groups)),
        _ => None,
    });
    entries.flat_map(|(entry, groups)| groups.iter().map(move |group| Place { entry, group: *group })).collect()
}

/// The answers to these calls.
pub fn answers(calls: &[(LinkId, Frame)]) -> Vec<Input> {
    let answer = |(link, frame): &(LinkId, Frame)| match frame.header {
        Header::Call { id, .. } => Some(Input::Frame { link: *link, frame: reply(id) }),
        _ => None,
    };
    calls.iter().filter_map(answer).collect()
}

/// The answer to a call.
pub fn reply(id: CallId) -> Frame {
    let process = ProcessName::new("process-1").ok();
    let header = Header::Reply { id, process, open: false, channels: Flows::default() };
    Frame::with_payload(header, Bytes::from_static(ARGS))
}

/// A node's first frame, by the real node.
fn hello(number: usize, tenant: &TenantName, role: Role) -> anyhow::Result<Frame> {
    let (_, frames) = greeting(number, tenant, role);
    frames.into_iter().next().context("a node greets")
}

/// A node with a link, and what it says.
fn greeting(number: usize, tenant: &TenantName, role: Role) -> (Node, Vec<Frame>) {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&number.to_le_bytes());
    let tenants = vec![tenant.clone()];
    let config = NodeConfig { tenants, ..NodeConfig::new(NodeKey(key), format!("node-{number}"), role) };
    let mut node = Node::new(config);
    let frames = tell(&mut node, node::Input::LinkUp);
    (node, frames)
}

/// A client's node, with the link that it has: what it is told of next is the first frame that it gets.
pub fn client_node(tenant: &TenantName) -> Node {
    greeting(usize::MAX, tenant, Role::Client).0
}

/// A node that may have processes.
pub fn node_of(tenant: &TenantName) -> (Node, Vec<Frame>) {
    greeting(usize::MAX, tenant, Role::Node)
}

/// Tells a node something, and gives what it sends.
pub fn tell(node: &mut Node, input: node::Input) -> Vec<Frame> {
    node.handle(clock(), input);
    let mut frames = Vec::new();
    while let Some(output) = node.poll_output() {
        if let node::Output::Send { frame, .. } = output {
            frames.push(frame);
        }
    }
    frames
}

/// Tells a node something, and counts what comes of it.
pub fn feed(node: &mut Node, input: node::Input) -> usize {
    node.handle(clock(), input);
    std::iter::from_fn(|| node.poll_output()).count()
}

/// A frame of a node's controller.
pub fn heard(frame: Frame) -> node::Input {
    node::Input::Frame { via: Via::Controller, frame }
}

/// Tells a node all of these.
pub fn feed_all(node: &mut Node, frames: Vec<Frame>) {
    for frame in frames {
        feed(node, heard(frame));
    }
}

/// The time of all nodes, which stands still.
pub fn clock() -> Clock {
    Clock { mono: Duration::ZERO, utc: Utc::default() }
}

/// `func(a: s64, b: s64) -> s64`
pub fn sum_type() -> anyhow::Result<Arc<Signature>> {
    let builder = SignatureBuilder::new();
    Ok(Arc::new(builder.function([("a", Type::S64), ("b", Type::S64)], Some(Type::S64))?))
}

/// Callbacks of the type of a sum.
pub fn sums(names: impl IntoIterator<Item = String>) -> anyhow::Result<Vec<Callback>> {
    let signature = sum_type()?;
    let spec = |name: String| {
        let name = CallbackName::parse(&name)?;
        Ok(Callback::new(&CallbackSpec { name, signature: signature.clone() }))
    };
    names.into_iter().map(spec).collect()
}

/// The eight callbacks of an ordinary process.
pub fn ordinary() -> anyhow::Result<Vec<Callback>> {
    sums((0..8).map(|number| format!("demo:tutorial/math#function-{number}")))
}

/// A client's typed call of a callback.
pub fn request(callback: &Callback, tenant: &TenantName) -> CallRequest {
    let caller = Caller::Client { tenant: tenant.clone() };
    CallRequest {
        accepts: Arc::from([callback.fingerprint]),
        args: Bytes::from_static(ARGS),
        ..CallRequest::new(caller, Arc::from([callback.name.clone()]))
    }
}
