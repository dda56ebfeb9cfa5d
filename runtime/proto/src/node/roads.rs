//! The ways to other nodes: direct links for the calls that are made here.
//!
//! ```text
//!   first call ──Meet──▶ Asked ──Meeting──▶ Dialing ──there, Visit──▶ Greeting ──Welcome──▶ Open ──60 s without calls──▶ none
//!                          └─────no address, not reached, refused, too late──▶ Closed, for 30 s ◀──lost────┘
//! ```
//!
//! A call of a process of this node to one of its own tenant on another node goes there directly, where that node can be
//! reached. While the way is opened, calls to that node wait, for a moment: so they stay in order. Where there is none, and
//! for all other calls, the controller is the way.
//!
//! Invariants: what is sent over a direct link is sent in the name of processes that the other side has said it knows; a link
//! that is lost ends what went over it and nothing else; the controller's link has no part in what goes over it, but what it
//! said of the nodes ends with that link: then no new call takes the way.

mod passage;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;

pub(super) use self::passage::Passage;
use super::waiting::Key;
use super::wire::{Via, Wire};
use super::{Node, Output, Peer, Request, outcome};
use crate::error::code;
use crate::frame::{Frame, Header, MAX_ADDRESSES, Side, plain};
use crate::id::{CallId, DirectId, EntryId, LocalId, ProcessName, SessionId, Ticket};
use crate::session::{HANDSHAKE_TIMEOUT, LinkFault, Liveness, PROTOCOL_VERSION, Pulse};

/// Most direct links that a node opens. Calls to more nodes go by the controller.
pub const MAX_ROADS: usize = 256;

/// Calls that more processes could serve go by the controller, which compares them.
pub const MAX_COMPARED: usize = 16;

/// How long calls wait for a way to be opened. Those that have less than twice that go by the controller meanwhile.
pub const ROAD_PATIENCE: Duration = Duration::from_secs(2);

/// How long a link is kept over which nothing goes.
pub const ROAD_IDLE: Duration = Duration::from_secs(60);

/// For how long it is not tried again where it failed.
pub const ROAD_PAUSE: Duration = Duration::from_secs(30);

/// How it stands with the way to a node.
#[derive(Debug)]
enum Road {
    /// The controller was asked how to get there.
    Asked,
    /// There is a link, or will be.
    Link(DirectId),
    /// There is none, until then.
    Closed(Duration),
}

/// A link that was opened here.
#[derive(Debug)]
struct Outbound {
    host: SessionId,
    state: State,
    /// What `checks` has for it.
    check_at: Duration,
    /// The processes of this node that the other side knows.
    known: BTreeSet<LocalId>,
    /// Those that have calls for it and are not known yet, and until when these wait.
    late: BTreeMap<LocalId, Duration>,
    /// When a call was last sent.
    used: Duration,
    /// Whether no new calls are sent.
    retired: bool,
}

#[derive(Debug)]
enum State {
    Dialing(Ticket),
    Greeting,
    Open { liveness: Liveness, max_payload_bytes: u64 },
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Roads {
    roads: BTreeMap<SessionId, Road>,
    /// The processes that are at nodes that can be met.
    hosts: BTreeMap<EntryId, SessionId>,
    /// Which call was the last to be sent before a node told how busy a process is.
    told: BTreeMap<EntryId, CallId>,
    links: BTreeMap<DirectId, Outbound>,
    /// When to look at which link, one entry each; and until when a node's address is waited for.
    checks: BTreeSet<(Duration, DirectId)>,
    asked: BTreeSet<(Duration, SessionId)>,
    last: u64,
}

impl Roads {
    /// The links that there are, and those that the controller was asked for.
    pub fn open_or_asked(&self) -> usize {
        self.links.len() + self.asked.len()
    }

    pub fn has_link(&self, id: DirectId) -> bool {
        self.links.get(&id).is_some_and(|link| !matches!(link.state, State::Dialing(_)))
    }

    pub fn payload_limit(&self, id: DirectId) -> Option<u64> {
        match self.links.get(&id)?.state {
            State::Open { max_payload_bytes, .. } => Some(max_payload_bytes),
            State::Dialing(_) | State::Greeting => None,
        }
    }

    /// A process is at a node that can be met.
    pub fn note_host(&mut self, entry: EntryId, host: SessionId) {
        self.hosts.insert(entry, host);
    }

    pub fn forget_process(&mut self, entry: EntryId) {
        self.hosts.remove(&entry);
        self.told.remove(&entry);
    }

    /// When to look again.
    pub fn next_check(&self) -> Option<Duration> {
        let asked = self.asked.first().map(|(at, _)| *at);
        self.checks.first().map(|(at, _)| *at).into_iter().chain(asked).min()
    }

    pub fn len(&self) -> usize {
        self.links.len()
    }

    /// A call is sent over a link.
    pub fn note_used(&mut self, via: Via, now: Duration) {
        if let Via::To(id) = via
            && let Some(link) = self.links.get_mut(&id)
        {
            link.used = now;
        }
    }

    /// What a call of so many bytes of this process does where there is a link, at this time, if it may wait.
    fn passage(&mut self, id: DirectId, process: LocalId, bytes: usize, now: Option<Duration>) -> Passage {
        let by_controller = Passage::Over(Via::Controller);
        let Some(link) = self.links.get_mut(&id) else { return by_controller };
        let opens = Passage::Opens(link.host);
        match (&link.state, now) {
            (State::Open { max_payload_bytes, .. }, _) if bytes as u64 > *max_payload_bytes => by_controller,
            (State::Open { .. }, _) if link.known.contains(&process) => Passage::Over(Via::To(id)),
            (State::Open { .. }, Some(now)) => {
                let until = *link.late.entry(process).or_insert(now + ROAD_PATIENCE);
                let check_at = link.check_at.min(until);
                if until <= now {
                    return by_controller;
                }
                self.recheck(id, check_at);
                opens
            }
            (State::Dialing(_) | State::Greeting, Some(_)) => opens,
            (_, None) => by_controller,
        }
    }

    fn recheck(&mut self, id: DirectId, at: Duration) {
        if let Some(link) = self.links.get_mut(&id) {
            let before = std::mem::replace(&mut link.check_at, at);
            self.checks.remove(&(before, id));
            self.checks.insert((at, id));
        }
    }

    /// Whether the node of a process tells, or is about to, how many calls it has in flight that do not take the link to it.
    pub fn is_told_of(&self, process: Peer) -> bool {
        let Peer::Remote(entry) = process else { return false };
        let road = self.hosts.get(&entry).and_then(|host| self.roads.get(host));
        matches!(road, Some(Road::Asked | Road::Link(_)))
    }

    /// Whether the node of a process has told how busy it is since this call was sent.
    pub fn was_told_since(&self, process: Peer, call: CallId) -> bool {
        let Peer::Remote(entry) = process else { return false };
        self.told.get(&entry).is_some_and(|last| *last >= call)
    }

    fn take(&mut self, id: DirectId) -> Option<Outbound> {
        let link = self.links.remove(&id)?;
        self.checks.remove(&(link.check_at, id));
        Some(link)
    }
}

impl Node {
    /// A node that was visited tells how many calls a process of it has in flight beside those that came over the link.
    fn take_busy(&mut self, entry: EntryId, calls: u32) {
        self.mesh.set_apart(Peer::Remote(entry), calls);
        self.roads.told.insert(entry, CallId(self.last_wire));
    }

    /// The controller says where a node is.
    pub(super) fn take_meeting(
        &mut self,
        host: SessionId,
        at: Vec<String>,
        ticket: Ticket,
        identity: Option<ProcessName>,
    ) {
        if !matches!(self.roads.roads.get(&host), Some(Road::Asked)) {
            return;
        }
        let (most, longest) = MAX_ADDRESSES;
        if at.is_empty() || at.len() > most || at.iter().any(|address| address.len() > longest) {
            return self.close_road(host);
        }
        self.roads.asked.retain(|(_, other)| *other != host);
        self.roads.last += 1;
        let id = DirectId(self.roads.last);
        self.roads.roads.insert(host, Road::Link(id));
        let check_at = self.now + ROAD_PATIENCE;
        let (state, known, late) = (State::Dialing(ticket), BTreeSet::new(), BTreeMap::new());
        self.roads.links.insert(id, Outbound { host, state, check_at, known, late, used: self.now, retired: false });
        self.roads.checks.insert((check_at, id));
        self.outputs.push_back(Output::Dial { link: id, at, identity });
    }

    /// A link that was dialed is there.
    pub(super) fn road_up(&mut self, id: DirectId) {
        let session = self.link.up().map(|up| up.session);
        let Some(link) = self.roads.links.get_mut(&id) else {
            // It took too long.
            return self
                .outputs
                .push_back(Output::CloseDirect { via: Via::To(id), reason: "it came too late".to_owned() });
        };
        let (State::Dialing(ticket), Some(session)) = (&link.state, session) else {
            return self.drop_road(id, "it is not needed any more", true);
        };
        let ticket = *ticket;
        link.state = State::Greeting;
        self.roads.recheck(id, self.now + HANDSHAKE_TIMEOUT.min(ROAD_PATIENCE));
        let header = Header::Visit { version: PROTOCOL_VERSION, session, ticket };
        self.send_over(Via::To(id), Frame::new(header));
    }

    /// A frame from a node that was visited.
    pub(super) fn take_road_frame(&mut self, id: DirectId, frame: Frame) -> Result<(), LinkFault> {
        let via = Via::To(id);
        let wire = |id| Wire { via, id };
        let Some(link) = self.roads.links.get_mut(&id) else { return Ok(()) };
        match (&link.state, frame.header) {
            (_, Header::Close { reason }) | (State::Greeting, Header::Refused { message: reason, .. }) => {
                self.drop_road(id, &format!("the other node closed it: {}", plain(&reason)), true);
            }
            (State::Greeting, Header::Welcome { heartbeat_ms, missed_heartbeats, max_payload_bytes, .. }) => {
                let every = Duration::from_millis(heartbeat_ms.into());
                let liveness = Liveness::new(self.now, every, missed_heartbeats);
                let (check_at, host) = (liveness.next_check(), link.host);
                link.state = State::Open { liveness, max_payload_bytes };
                self.roads.recheck(id, check_at);
                self.wake_road(host, None);
            }
            (State::Greeting, Header::Known { number }) => drop(link.known.insert(LocalId(number))),
            (State::Open { .. } | State::Greeting, Header::Busy { entry, calls }) => {
                // Of a link that is left over from another controller, the numbers are that one's.
                let is_of_host = !link.retired && self.roads.hosts.get(&entry) == Some(&link.host);
                if is_of_host {
                    self.take_busy(entry, calls);
                }
            }
            (State::Dialing(_) | State::Greeting, header) => {
                return Err(LinkFault::unexpected(&header, "before a direct link was answered"));
            }
            (State::Open { .. }, Header::Ping | Header::Pong) => {}
            (State::Open { .. }, Header::Known { number }) => {
                let (host, process) = (link.host, LocalId(number));
                link.known.insert(process);
                link.late.remove(&process);
                self.wake_road(host, Some(process));
            }
            (State::Open { .. }, Header::Accepted { id, .. }) => self.take_reply(wire(id), None, None, Bytes::new()),
            (State::Open { .. }, Header::Reply { id, open, channels, .. }) => {
                self.take_reply(wire(id), None, open.then_some(channels), frame.payload);
            }
            (State::Open { .. }, Header::Ended { id }) => self.take_ended(wire(id)),
            (State::Open { .. }, Header::Fail { id, .. }) => {
                let error = Frame::decode_bytes("Fail", &frame.payload)
                    .unwrap_or_else(|error| outcome::garbled(&error.to_string(), String::new()));
                self.take_fail(wire(id), error);
            }
            (State::Open { .. }, header) => {
                let frame = Frame { header, payload: frame.payload };
                return self.take_stream_frame(via, Side::Callee, frame, "from a node that was called");
            }
        }
        Ok(())
    }

    /// The other side of a link lives. Answers a ping, and a long silence of this side.
    pub(super) fn heard_road(&mut self, id: DirectId, ping: bool) {
        let now = self.now;
        if let Some(Outbound { state: State::Open { liveness, .. }, .. }) = self.roads.links.get_mut(&id)
            && liveness.heard(now, ping)
        {
            self.send_over(Via::To(id), Frame::new(Header::Pong));
        }
    }

    /// Looks at links whose time has come, and at questions that took too long.
    pub(super) fn check_roads(&mut self) {
        while let Some((at, host)) = self.roads.asked.first().copied().filter(|(at, _)| *at <= self.now) {
            self.roads.asked.remove(&(at, host));
            self.close_road(host);
        }
        while let Some((_, id)) = self.roads.checks.first().copied().filter(|(at, _)| *at <= self.now) {
            self.check_road(id);
        }
    }

    fn check_road(&mut self, id: DirectId) {
        let (now, via) = (self.now, Via::To(id));
        let is_used = self.away.has_any_of(via) || self.wires.has_any_of(via);
        let Some(link) = self.roads.links.get_mut(&id) else { return };
        if is_used {
            link.used = now;
        }
        let State::Open { liveness, .. } = &mut link.state else {
            return self.drop_road(id, "it could not be opened in time", true);
        };
        if !is_used && (link.retired || now.saturating_sub(link.used) >= ROAD_IDLE) {
            let host = link.host;
            self.drop_road(id, "nothing goes over it", true);
            // It may be opened again at any time.
            self.roads.roads.remove(&host);
            return;
        }
        let (pulse, silence_ms) = (liveness.check(now), liveness.silence(now).as_millis());
        let late = link.late.values().copied().filter(|until| *until > now).min();
        let (host, gave_up) = (link.host, link.late.values().any(|until| *until <= now));
        let next = late.into_iter().chain([liveness.next_check()]).min().unwrap_or(now);
        self.roads.recheck(id, next.max(now + Duration::from_millis(1)));
        if gave_up {
            self.wake_road(host, None);
        }
        match pulse {
            Pulse::Fine => {}
            Pulse::Ping => self.send_over(via, Frame::new(Header::Ping)),
            Pulse::Dead => self.close_faulty(via, &LinkFault::Silent { silence_ms }),
        }
    }

    /// The end of a link: what went over it ends, and who waits for it takes the other way.
    pub(super) fn drop_road(&mut self, id: DirectId, reason: &str, close: bool) {
        let Some(link) = self.roads.take(id) else { return };
        let via = Via::To(id);
        if close {
            self.outputs.push_back(Output::CloseDirect { via, reason: reason.to_owned() });
        }
        self.set_congested(via, false);
        self.fail_remote_calls(via, code::LINK_LOST, reason);
        self.lose_exchanges(via, reason);
        let is_current = matches!(self.roads.roads.get(&link.host), Some(Road::Link(current)) if *current == id);
        if is_current {
            // Nobody tells any more how busy they are.
            let of_host = self.roads.hosts.iter().filter(|(_, host)| **host == link.host).map(|(entry, _)| *entry);
            for entry in of_host.collect::<Vec<_>>() {
                self.take_busy(entry, 0);
            }
            self.close_road(link.host);
        }
    }

    /// There is no way to a node, for now.
    fn close_road(&mut self, host: SessionId) {
        self.roads.asked.retain(|(_, other)| *other != host);
        self.roads.roads.insert(host, Road::Closed(self.now + ROAD_PAUSE));
        self.wake_road(host, None);
    }

    /// Looks again at the calls that wait for a way, in the order in which they came; of one process, or all.
    fn wake_road(&mut self, host: SessionId, of: Option<LocalId>) {
        for request in self.waiting.for_any(std::iter::once(Key::Road(host))) {
            let Request::Call(id) = request else { continue };
            let process = self.calls.get(&id).and_then(|call| call.origin.process);
            if of.is_none() || process == of {
                self.place_call(id);
            }
        }
    }

    /// The link to the controller is lost: what it said of other nodes is void. What is under way goes on.
    pub(super) fn forget_roads(&mut self) {
        let waiting: Vec<SessionId> = self.roads.roads.keys().copied().collect();
        self.roads.roads.clear();
        self.roads.asked.clear();
        self.roads.hosts.clear();
        self.roads.told.clear();
        for link in self.roads.links.values_mut() {
            link.retired = true;
        }
        for host in waiting {
            self.wake_road(host, None);
        }
    }

    /// Ends all links.
    pub(super) fn leave_roads(&mut self) {
        let all: Vec<DirectId> = self.roads.links.keys().copied().collect();
        for id in all {
            self.drop_road(id, "this runtime left the mesh", true);
        }
    }
}
