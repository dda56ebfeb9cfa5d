//! The direct links that other nodes open, for calls that are served here.
//!
//! ```text
//!   controller: Expect A ──▶ expected ──Visit with the ticket──▶ Known …, Welcome ──Call …──▶ served
//!               Vouch A.p ─▶ … in the name of p                     └── Forget A: no new calls, and the end when none is open
//! ```
//!
//! The controller's word and the visitor come over different links, so that either may be first: a visitor whose ticket is not known
//! waits for as long as a handshake may take.
//!
//! Invariants: who has not shown the ticket that the controller gave to him and to us is not heard, and a ticket opens one link; who
//! has shown a certificate is who the controller says that he is, or has no ticket;
//! on every call it is checked that the process that makes it is one that the controller vouches for and that such a certificate
//! covers, and that the callback is of that process's own tenant. Whoever says otherwise loses his link, as at the controller.

mod visitor;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

pub(super) use self::visitor::Visitor;
use self::visitor::{Inbound, Member, check_caller};
use super::directory::Registration;
use super::loads::Reports;
use super::wire::{Via, Wire};
use super::{LOAD_EVERY, Node, Output, outcome};
use crate::call::MAX_CHAIN;
use crate::frame::{Frame, Header, Side, Target, plain};
use crate::grants::NodeGrants;
use crate::id::{DirectId, EntryId, LocalId, ProcessRef, SessionId};
use crate::session::{
    FEATURES, HANDSHAKE_TIMEOUT, HEARTBEAT, LinkFault, Liveness, MISSED_HEARTBEATS, PROTOCOL_VERSION, Pulse, refusal,
};
use crate::value::MAX_CHANNELS;

/// Most links of visitors, with those who have not said who they are.
pub const MAX_VISITS: usize = 1024;

/// Most of them that show one certificate and no ticket yet: who has joined takes no more places than that from the others.
pub const MAX_STRANGERS_OF_ONE: usize = 16;

/// Most nodes that the controller says may come.
const MAX_VISITORS: usize = crate::controller::MAX_LINKS;

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Visits {
    visitors: BTreeMap<SessionId, Visitor>,
    links: BTreeMap<DirectId, Inbound>,
    checks: BTreeSet<(Duration, DirectId)>,
    /// Of which processes visitors are to be told how busy they are.
    busy: Reports,
}

impl Visits {
    pub fn has_link(&self, id: DirectId) -> bool {
        self.links.contains_key(&id)
    }

    pub fn payload_limit(&self, id: DirectId) -> Option<u64> {
        self.links.get(&id)?.member.as_ref().map(|member| member.max_payload_bytes)
    }

    pub fn next_check(&self) -> Option<Duration> {
        self.checks.first().map(|(at, _)| *at).into_iter().chain(self.busy.due).min()
    }

    pub fn len(&self) -> usize {
        self.links.len()
    }

    fn recheck(&mut self, id: DirectId, at: Duration) {
        if let Some(link) = self.links.get_mut(&id) {
            let before = std::mem::replace(&mut link.check_at, at);
            self.checks.remove(&(before, id));
            self.checks.insert((at, id));
        }
    }
}

impl Node {
    /// Another node may come.
    pub(super) fn take_expect(&mut self, session: SessionId, mut visitor: Visitor) {
        let full = self.visits.visitors.len() >= MAX_VISITORS;
        if full && !self.visits.visitors.contains_key(&session) {
            return; // it is not let in, and goes by the controller
        }
        visitor.link = self.visits.visitors.get(&session).and_then(|visitor| visitor.link);
        self.visits.visitors.insert(session, visitor);
        // It may be here already.
        let waiting = |(id, link): (&DirectId, &Inbound)| {
            let is_it = link.member.is_none() && link.shown.is_some_and(|(shown, _)| shown == session);
            is_it.then_some(*id)
        };
        let waiting: Vec<DirectId> = self.visits.links.iter().filter_map(waiting).collect();
        for id in waiting {
            self.look_at_ticket(id);
        }
    }

    /// It may call in the name of this process.
    pub(super) fn take_vouch(&mut self, session: SessionId, number: u32, process: ProcessRef) {
        let Some(visitor) = self.visits.visitors.get_mut(&session) else { return };
        visitor.processes.insert(number, process.clone());
        let covers = |link: &DirectId| self.visits.links.get(link).is_some_and(|link| link.covers(&process));
        if let Some(link) = visitor.link.filter(covers) {
            let is_first = visitor.names.iter().all(|known| known.tenant != process.tenant);
            visitor.names.insert(process);
            if is_first {
                // Before it may call, it knows how busy those are whom it may call from now on.
                let all = self.locals.keys().copied().collect();
                self.tell_visitors(&[link], &all);
            }
            self.send_over(Via::From(link), Frame::new(Header::Known { number }));
        }
    }

    pub(super) fn take_unvouch(&mut self, session: SessionId, number: u32) {
        let Some(visitor) = self.visits.visitors.get_mut(&session) else { return };
        if let Some(process) = visitor.processes.remove(&number) {
            visitor.names.remove(&process);
        }
    }

    /// A node has gone from the mesh.
    pub(super) fn take_forget(&mut self, session: SessionId) {
        if let Some(link) = self.visits.visitors.remove(&session).and_then(|visitor| visitor.link) {
            self.retire_visit(link);
        }
    }

    /// The link to the controller is lost: nobody is vouched for. What is under way goes on.
    pub(super) fn forget_visitors(&mut self) {
        for visitor in std::mem::take(&mut self.visits.visitors).into_values() {
            if let Some(link) = visitor.link {
                self.retire_visit(link);
            }
        }
        // What was shown before is not for who comes next.
        for link in self.visits.links.values_mut().filter(|link| link.member.is_none()) {
            link.shown = None;
        }
    }

    /// Nobody vouches any more for who came over this link: it makes no new calls.
    fn retire_visit(&mut self, id: DirectId) {
        if let Some(member) = self.visits.links.get_mut(&id).and_then(|link| link.member.as_mut()) {
            member.vouched = false;
        }
        self.end_if_unused(id);
    }

    /// Somebody has connected.
    pub(super) fn visit_begins(&mut self, id: DirectId, grants: Option<Arc<NodeGrants>>) {
        if self.visits.links.len() >= MAX_VISITS || self.shut.is_some() {
            let reason = "this node takes no more direct links".to_owned();
            return self.outputs.push_back(Output::CloseDirect { via: Via::From(id), reason });
        }
        let of_one = |grants: &Arc<NodeGrants>| {
            let of_it = |link: &&Inbound| {
                link.member.is_none() && link.grants.as_ref().is_some_and(|other| other.node() == grants.node())
            };
            self.visits.links.values().filter(of_it).count()
        };
        if grants.as_ref().is_some_and(|grants| of_one(grants) >= MAX_STRANGERS_OF_ONE) {
            let reason = "too many direct links with this certificate have shown no ticket".to_owned();
            return self.outputs.push_back(Output::CloseDirect { via: Via::From(id), reason });
        }
        let check_at = self.now + HANDSHAKE_TIMEOUT;
        self.visits.links.insert(id, Inbound { check_at, grants, shown: None, member: None });
        self.visits.checks.insert((check_at, id));
    }

    /// A frame from a node that came.
    pub(super) fn take_visit_frame(&mut self, id: DirectId, frame: Frame) -> Result<(), LinkFault> {
        let via = Via::From(id);
        let wire = |id| Wire { via, id };
        let Some(link) = self.visits.links.get_mut(&id) else { return Ok(()) };
        if link.member.is_none() {
            return self.take_visit(id, frame.header);
        }
        match frame.header {
            Header::Ping | Header::Pong => {}
            header @ Header::Call { .. } => return self.take_visitors_call(id, header, frame.payload),
            Header::Cancel { id, .. } => self.take_cancel(wire(id), false),
            Header::Close { reason } => {
                self.drop_visit(id, &format!("the other node closed it: {}", plain(&reason)), true);
            }
            header => {
                let frame = Frame { header, payload: frame.payload };
                return self.take_stream_frame(via, Side::Caller, frame, "from a node that calls");
            }
        }
        Ok(())
    }

    /// The first frame of a link. What the controller says of its node may still be on its way: that comes over another link.
    fn take_visit(&mut self, id: DirectId, header: Header) -> Result<(), LinkFault> {
        let Some(link) = self.visits.links.get_mut(&id) else { return Ok(()) };
        let Header::Visit { version, session, ticket } = header else {
            return Err(LinkFault::unexpected(&header, "before a visitor has said who it is"));
        };
        if version != PROTOCOL_VERSION {
            self.refuse_visit(id);
        } else if link.shown.replace((session, ticket)).is_some() {
            return Err(LinkFault::Broken("a visitor said twice who it is".to_owned()));
        } else {
            self.look_at_ticket(id);
        }
        Ok(())
    }

    /// Lets a visitor in, if its ticket is the one that the controller has told.
    fn look_at_ticket(&mut self, id: DirectId) {
        let Some(link) = self.visits.links.get_mut(&id) else { return };
        let Some((session, ticket)) = link.shown else { return };
        let visitor = self.visits.visitors.get_mut(&session);
        // Who is somebody else does not use the ticket up either.
        let expected =
            visitor.filter(|visitor| link.may_be_of(visitor) && visitor.ticket.is_some_and(|known| known.is(&ticket)));
        let Some(visitor) = expected else { return };
        visitor.ticket = None;
        let former = visitor.link.replace(id);
        let covered = visitor.processes.iter().filter(|(_, process)| link.covers(process));
        let (known, names): (Vec<u32>, _) = covered.map(|(number, process)| (*number, process.clone())).unzip();
        visitor.names = names;
        let liveness = Liveness::new(self.now, HEARTBEAT, MISSED_HEARTBEATS);
        let (check_at, max_payload_bytes) = (liveness.next_check(), visitor.max_payload_bytes);
        link.member = Some(Member { session, vouched: true, liveness, max_payload_bytes });
        self.visits.recheck(id, check_at);
        if let Some(former) = former {
            self.drop_visit(former, "its node came back on another link", true);
        }
        let welcome = Header::Welcome {
            features: FEATURES,
            session,
            heartbeat_ms: u32::try_from(HEARTBEAT.as_millis()).unwrap_or(u32::MAX),
            missed_heartbeats: MISSED_HEARTBEATS,
            grace_ms: 0,
            max_payload_bytes: self.config.max_payload_bytes as u64,
        };
        // All that may call now, before it is told that it may.
        for number in known {
            self.send_over(Via::From(id), Frame::new(Header::Known { number }));
        }
        let all = self.locals.keys().copied().collect();
        self.tell_visitors(&[id], &all);
        self.send_over(Via::From(id), Frame::new(welcome));
    }

    /// Turns a visitor away; all in the same words: who guesses learns nothing.
    fn refuse_visit(&mut self, id: DirectId) {
        let message = "the controller has not said that this node may come with this ticket now".to_owned();
        let refused =
            Header::Refused { code: refusal::FORBIDDEN.to_owned(), message: message.clone(), retryable: true };
        self.send_over(Via::From(id), Frame::new(refused));
        self.drop_visit(id, &message, true);
    }

    /// A call came over a direct link: what every honest node keeps to is checked here, as it is by the controller for all
    /// others.
    fn take_visitors_call(&mut self, id: DirectId, header: Header, args: Bytes) -> Result<(), LinkFault> {
        let broken = |what: String| Err(LinkFault::Broken(what));
        let Header::Call { id: call, chain, key, channels, target, .. } = &header else { return Ok(()) };
        let (call, key, wire) = (*call, *key, Wire { via: Via::From(id), id: *call });
        let Some(hop) = chain.last().filter(|_| chain.len() <= MAX_CHAIN) else {
            return broken(format!("a chain of {} calls, 1 to {MAX_CHAIN} are taken", chain.len()));
        };
        if channels.len() > MAX_CHANNELS as usize {
            return broken(format!("{} streams in a value, {MAX_CHANNELS} are taken", channels.len()));
        }
        let Some(member) = self.visits.links.get(&id).and_then(|link| link.member.as_ref()) else { return Ok(()) };
        if self.incoming.contains_key(&wire) {
            return broken(format!("the call id {} is used twice", call.0));
        }
        let Target::Direct(entry, place) = *target else {
            return broken("a call over a direct link that names no process of this node".to_owned());
        };
        let visitor = self.visits.visitors.get(&member.session).filter(|_| member.vouched);
        let Some(visitor) = visitor else {
            // Since a moment ago; the caller does not know yet.
            self.fail_incoming(wire, &outcome::receiver_left(""), false);
            return Ok(());
        };
        check_caller(visitor, hop, key)?;
        let Some(process) = self.by_entry(entry) else {
            self.fail_incoming(wire, &outcome::receiver_left(""), false);
            return Ok(());
        };
        let tenant = self.locals.get(&process).map(|local| &local.process.tenant);
        if hop.process.as_ref().map(|caller| &caller.tenant) != tenant {
            return broken("a call over a direct link to a process of another tenant".to_owned());
        }
        self.take_checked_call(wire, (process, place), header, args);
        Ok(())
    }

    /// A call of a process begins or is over: visitors are to be told, soon.
    pub(super) fn busy_changed(&mut self, process: LocalId) {
        if !self.visits.links.is_empty() {
            self.visits.busy.add_at(process, self.now + LOAD_EVERY);
        }
    }

    pub(super) fn tell_busy(&mut self) {
        let processes = self.visits.busy.take_due(self.now);
        if !processes.is_empty() {
            let links: Vec<DirectId> = self.visits.links.keys().copied().collect();
            self.tell_visitors(&links, &processes);
        }
    }

    /// Tells visitors how busy these processes are with calls that did not come over their links, if they are such as the visitor may
    /// call. What the controller relayed for the visitor is told too: that one does not know whom the controller chose.
    fn tell_visitors(&mut self, links: &[DirectId], processes: &BTreeSet<LocalId>) {
        let mut calls: BTreeMap<LocalId, BTreeMap<Option<Via>, u32>> = BTreeMap::new();
        for served in self.serves.values().filter(|served| processes.contains(&served.process)) {
            *calls.entry(served.process).or_default().entry(served.caller.via()).or_default() += 1;
        }
        let mut told = Vec::new();
        for link in links {
            let member = self.visits.links.get(link).and_then(|link| link.member.as_ref());
            let member = member.filter(|member| member.vouched);
            let Some(visitor) = member.and_then(|member| self.visits.visitors.get(&member.session)) else { continue };
            for process in processes {
                let Some(local) = self.locals.get(process) else { continue };
                let is_of_tenant = |name: &ProcessRef| name.tenant == local.process.tenant;
                let Registration::Registered(entry) = local.registration else { continue };
                if visitor.names.iter().any(is_of_tenant) {
                    let of_process = calls.get(process).into_iter().flatten();
                    let others = of_process.filter(|(via, _)| **via != Some(Via::From(*link)));
                    let others = others.map(|(_, calls)| calls).sum();
                    told.push((*link, Header::Busy { entry, calls: others }));
                }
            }
        }
        for (link, header) in told {
            self.send_over(Via::From(link), Frame::new(header));
        }
    }

    /// The other side of a link lives.
    pub(super) fn heard_visitor(&mut self, id: DirectId, ping: bool) {
        let now = self.now;
        if let Some(Inbound { member: Some(member), .. }) = self.visits.links.get_mut(&id)
            && member.liveness.heard(now, ping)
        {
            self.send_over(Via::From(id), Frame::new(Header::Pong));
        }
    }

    pub(super) fn check_visits(&mut self) {
        while let Some((_, id)) = self.visits.checks.first().copied().filter(|(at, _)| *at <= self.now) {
            let (now, via) = (self.now, Via::From(id));
            let Some(link) = self.visits.links.get_mut(&id) else { return };
            let Some(member) = &mut link.member else {
                match link.shown {
                    Some(_) => self.refuse_visit(id),
                    None => self.close_faulty(via, &LinkFault::HandshakeTimeout),
                }
                continue;
            };
            let (pulse, silence_ms) = (member.liveness.check(now), member.liveness.silence(now).as_millis());
            let next = member.liveness.next_check().max(now + Duration::from_millis(1));
            self.visits.recheck(id, next);
            match pulse {
                Pulse::Fine => {}
                Pulse::Ping => self.send_over(via, Frame::new(Header::Ping)),
                Pulse::Dead => self.close_faulty(via, &LinkFault::Silent { silence_ms }),
            }
            self.end_if_unused(id);
        }
    }

    /// Ends a link of a node that is not on the mesh any more, as far as is known, once nothing goes over it.
    fn end_if_unused(&mut self, id: DirectId) {
        let member = self.visits.links.get(&id).and_then(|link| link.member.as_ref());
        let is_gone = member.is_some_and(|member| !member.vouched);
        if is_gone && !self.incoming.has_any_of(Via::From(id)) {
            self.drop_visit(id, "its node has left the mesh, as far as is known here", true);
        }
    }

    /// The end of a link: nobody waits for what came over it.
    pub(super) fn drop_visit(&mut self, id: DirectId, reason: &str, close: bool) {
        let Some(link) = self.visits.links.remove(&id) else { return };
        let via = Via::From(id);
        self.visits.checks.remove(&(link.check_at, id));
        if close {
            self.outputs.push_back(Output::CloseDirect { via, reason: reason.to_owned() });
        }
        if let Some(visitor) = link.member.and_then(|member| self.visits.visitors.get_mut(&member.session))
            && visitor.link == Some(id)
        {
            visitor.link = None;
        }
        self.set_congested(via, false);
        self.cancel_incoming(via, reason);
    }

    /// Ends all links.
    pub(super) fn leave_visits(&mut self) {
        let all: Vec<DirectId> = self.visits.links.keys().copied().collect();
        for id in all {
            self.drop_visit(id, "this runtime left the mesh", true);
        }
    }

    /// The process of this node that is on the mesh as this.
    fn by_entry(&self, entry: EntryId) -> Option<LocalId> {
        self.entries.get(&entry).copied()
    }
}
