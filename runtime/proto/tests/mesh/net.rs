//! The harness: a mesh in one thread.
//!
//! Every frame goes through its encoding. A link delivers in order, after a delay of its own; what is under way when a
//! link is cut is lost, as are the frames that a silent link swallows. A slow link delivers a frame when all its bytes
//! have come, and tells of those that have while they do. Timers fire when the time is moved on.

mod acts;
mod breaks;
mod directs;
mod kit;
mod streams;
mod user;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use daffi_proto::call::{CallReply, GatherEnd, GatherEntry, Incoming, MemberEvent, ProcessInfo, Resolved, ServeResult};
use daffi_proto::controller::{self, Controller, ControllerConfig, Event};
use daffi_proto::error::CallError;
use daffi_proto::frame::{DEFAULT_MAX_PAYLOAD_BYTES, Decoder, Frame, Header};
use daffi_proto::grants::NodeGrants;
use daffi_proto::id::{LinkId, LocalId, ServeId, Token};
use daffi_proto::node::{self, Node, NodeConfig};
use daffi_proto::schedule::{Clock, Save, TaskPage, Utc};
use daffi_proto::session::{Backoff, PeerIdentity, Random};
use daffi_proto::stream::StreamId;

pub use acts::LARGE_BYTES;
pub use kit::*;
pub use streams::{Reader, Writer, chunk, made, served};

/// A node and what has come of it.
pub struct Runtime {
    pub node: Node,
    pub config: NodeConfig,
    identity: PeerIdentity,
    /// The certificate that it shows to other nodes, where it has one.
    pub shows: Option<Arc<NodeGrants>>,
    link: Option<LinkId>,
    backoff: Backoff,
    /// Whether the driver dials anew.
    pub redial: bool,
    /// Its process was killed.
    pub dead: bool,
    pub behaviours: HashMap<LocalId, Behaviour>,
    pub served: Vec<Incoming>,
    pub answered: HashSet<ServeId>,
    /// What really runs.
    pub running: BTreeMap<ServeId, Running>,
    pub cancelled: Vec<ServeId>,
    /// Whether somebody does what it wants.
    carried_out: bool,
    pub calls: HashMap<Token, Result<CallReply, CallError>>,
    /// What the gathers have given, and how they ended.
    pub entries: HashMap<Token, Vec<GatherEntry>>,
    pub gathers: HashMap<Token, Result<GatherEnd, CallError>>,
    /// When they ended.
    pub ended: HashMap<Token, Duration>,
    pub resolved: HashMap<Token, Result<Resolved, CallError>>,
    /// What became of schedules, and of questions about tasks.
    pub tasks: HashMap<Token, Result<TaskPage, CallError>>,
    /// What is to be written down of tables, by their processes, with what names it.
    pub saves: BTreeMap<LocalId, (Save, u64)>,
    pub waits: HashMap<Token, Result<(), CallError>>,
    pub lists: HashMap<Token, Vec<ProcessInfo>>,
    /// What the watches were told.
    pub members: HashMap<Token, Vec<MemberEvent>>,
    pub added: HashMap<Token, Result<LocalId, CallError>>,
    /// The ends of streams that the test has.
    pub writers: BTreeMap<StreamId, Writer>,
    pub readers: BTreeMap<StreamId, Reader>,
    /// Everything else, in words.
    pub log: Vec<String>,
}

/// A call that a node's user works on, and the link that the node had when it came.
#[derive(Clone, Debug)]
pub struct Running {
    pub incoming: Incoming,
    pub link: Option<LinkId>,
}

/// One direction's state is in the deliveries; this is what both share.
struct Wire {
    node: usize,
    up: bool,
    /// Nothing arrives any more, and nobody notices.
    silent: bool,
    /// Frames of calls, and items of streams, find no room.
    full: bool,
    /// For a slow link.
    bytes_a_second: Option<u64>,
    last: [Duration; 2],
    decoders: [Decoder; 2],
}

enum Delivery {
    Bytes {
        link: LinkId,
        to_controller: bool,
        bytes: Bytes,
    },
    /// Bytes of a frame that has not come whole.
    Part {
        link: LinkId,
        to_controller: bool,
    },
    Closed {
        link: LinkId,
        to_controller: bool,
        reason: String,
    },
    /// Something comes to an end of a direct link, or to a node that dialed one.
    Direct {
        end: directs::End,
        news: directs::News,
        dialed: bool,
    },
    Answer {
        node: usize,
        id: ServeId,
        result: ServeResult,
    },
    /// The deadline of a call that a pool serves.
    Deadline {
        node: usize,
        id: ServeId,
        kills: bool,
    },
}

/// How often a slow link's reader reads.
const READ_EVERY: Duration = Duration::from_millis(300);

pub struct Net {
    pub now: Duration,
    /// What UTC was when the time began.
    pub began: Utc,
    pub random: Random,
    pub controller: Option<Controller>,
    pub nodes: Vec<Runtime>,
    pub events: Vec<Event>,
    /// The reasons for which the controller closed links.
    pub closed: Vec<String>,
    /// Whether the controller is drained.
    pub drained: bool,
    /// What the controller sent to strangers.
    pub told: Vec<Frame>,
    wires: BTreeMap<LinkId, Wire>,
    deliveries: BTreeMap<(Duration, u64), Delivery>,
    /// The ends of direct links.
    directs: BTreeMap<directs::End, directs::Direct>,
    last_direct: u64,
    told_strangers: Vec<(directs::End, Header)>,
    /// How many frames went over direct links.
    pub frames_sent_directly: u64,
    /// Whether nodes are reachable for each other, from their start; and whether none is for now.
    pub direct: bool,
    pub unreachable: bool,
    /// How many streams the calls may have that each process serves, of those that are added from now on.
    pub max_streams: usize,
    /// When who dials again.
    dials: BTreeSet<(Duration, usize)>,
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
            began: BEGAN.parse().unwrap(),
            random: Random::new(seed),
            controller: Some(Controller::new(ControllerConfig::new(seed))),
            nodes: Vec::new(),
            events: Vec::new(),
            closed: Vec::new(),
            drained: false,
            told: Vec::new(),
            wires: BTreeMap::new(),
            deliveries: BTreeMap::new(),
            directs: BTreeMap::new(),
            last_direct: 0,
            told_strangers: Vec::new(),
            frames_sent_directly: 0,
            direct: false,
            unreachable: false,
            max_streams: 20_000,
            dials: BTreeSet::new(),
            last_delivery: 0,
            last_link: 0,
            last_token: 0,
            delay: 3,
        }
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
        let wire =
            Wire { node, up: true, silent: false, full: false, bytes_a_second: None, last: [self.now; 2], decoders };
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

    pub fn linked(&self, node: usize) -> bool {
        self.nodes[node].link.is_some()
    }

    /// Feeds the controller a frame in the name of the peer of this link.
    pub fn forge(&mut self, link: LinkId, frame: Frame) {
        self.controller_input(controller::Input::Frame { link, frame });
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

    /// What time it is for every node.
    pub fn clock(&self) -> Clock {
        Clock { mono: self.now, utc: self.began.plus(self.now) }
    }

    /// Whether nothing is under way.
    pub fn is_quiet(&self) -> bool {
        !self.deliveries.values().any(|delivery| {
            matches!(delivery, Delivery::Bytes { .. } | Delivery::Closed { .. } | Delivery::Direct { .. })
        })
    }

    /// Whether a node's link carries frames, as far as the node knows and in truth.
    pub fn is_sound(&self, node: usize) -> bool {
        let wire = self.nodes[node].link.and_then(|link| self.wires.get(&link));
        wire.is_some_and(|wire| wire.up && !wire.silent)
    }

    fn next_event(&self) -> Option<Duration> {
        let delivery = self.deliveries.first_key_value().map(|((at, _), _)| *at);
        let nodes = self.nodes.iter().filter_map(|runtime| runtime.node.next_timeout());
        let controller = self.controller.as_ref().and_then(Controller::next_timeout);
        let dial = self.dials.first().map(|(at, _)| *at);
        nodes.chain(delivery).chain(controller).chain(dial).min().map(|at| at.max(self.now))
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
        while let Some((at, node)) = self.dials.first().copied().filter(|(at, _)| *at <= self.now) {
            self.dials.remove(&(at, node));
            if !self.nodes[node].dead {
                self.dial(node);
            }
        }
        while let Some(entry) = self.deliveries.first_entry().filter(|entry| entry.key().0 <= self.now) {
            let delivery = entry.remove();
            self.arrive(delivery);
        }
    }

    fn arrive(&mut self, delivery: Delivery) {
        match delivery {
            Delivery::Direct { end, news, dialed } => self.arrive_directly(end, news, dialed),
            Delivery::Answer { node, id, result } => self.end(node, id, result),
            Delivery::Deadline { node, id, kills } => self.overdue(node, id, kills),
            Delivery::Closed { link, to_controller: true, reason } => {
                self.controller_input(controller::Input::Closed { link, reason });
            }
            Delivery::Closed { link, to_controller: false, reason } => self.node_lost(link, reason),
            Delivery::Part { link, to_controller } => {
                let Some(wire) = self.wires.get(&link).filter(|wire| wire.up && !wire.silent) else { return };
                let node = wire.node;
                if to_controller {
                    self.controller_input(controller::Input::Heard { link });
                } else if self.nodes[node].link == Some(link) {
                    self.node_input(node, node::Input::Heard(node::Via::Controller));
                }
            }
            Delivery::Bytes { link, to_controller, bytes } => {
                let Some(wire) = self.wires.get_mut(&link).filter(|wire| wire.up && !wire.silent) else { return };
                let node = wire.node;
                let mut buffer = BytesMut::from(bytes);
                let frame = wire.decoders[usize::from(to_controller)].next(&mut buffer).unwrap().unwrap();
                if to_controller {
                    self.controller_input(controller::Input::Frame { link, frame });
                } else if self.nodes[node].link == Some(link) {
                    self.node_input(node, crate::net::from_controller(frame));
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
            self.dials.insert((self.now + pause, node));
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
        if !self.wires.contains_key(&link) {
            self.told.push(frame.clone());
        }
        let Some(wire) = self.wires.get(&link).filter(|wire| wire.up) else { return true };
        if wire.full && frame.header.may_be_refused() {
            return false;
        }
        let mut buffer = BytesMut::new();
        frame.encode_into(&mut buffer).unwrap();
        let bytes = buffer.freeze();
        self.trickle(link, to_controller, bytes.len());
        self.deliver(link, to_controller, |link| Delivery::Bytes { link, to_controller, bytes });
        true
    }

    /// Lets the bytes of a frame come at the rate of a slow link.
    fn trickle(&mut self, link: LinkId, to_controller: bool, bytes: usize) {
        let wire = self.wires.get_mut(&link).unwrap();
        let Some(rate) = wire.bytes_a_second else { return };
        let last = &mut wire.last[usize::from(to_controller)];
        let begins = (*last).max(self.now);
        let ends = begins + ms(bytes as u64 * 1000 / rate);
        *last = ends;
        for read in 1.. {
            let at = begins + READ_EVERY * read;
            if at >= ends {
                return;
            }
            self.put(at, Delivery::Part { link, to_controller });
        }
    }

    fn hang_up(&mut self, link: LinkId, by_controller: bool, reason: &str) {
        if !self.wires.get(&link).is_some_and(|wire| wire.up && !wire.silent) {
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
                controller::Output::Drained => self.drained = true,
            }
        }
    }

    pub fn node_input(&mut self, node: usize, input: node::Input) {
        let clock = self.clock();
        self.nodes[node].node.handle(clock, input);
        self.carry_out(node);
    }

    /// Does what a node wants. Who tells it something meanwhile leaves what follows to whoever is at it.
    pub fn carry_out(&mut self, node: usize) {
        if std::mem::replace(&mut self.nodes[node].carried_out, true) {
            return;
        }
        while let Some(output) = self.nodes[node].node.poll_output() {
            self.node_output(node, output);
        }
        self.nodes[node].carried_out = false;
    }
}
