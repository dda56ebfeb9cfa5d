//! Nodes that meet without the controller: who may, where, and what the one that is visited is told of the other.
//!
//! ```text
//!   A: Meet B ──▶ may they? ──▶ Expect A with a ticket, Vouch A.p … :B
//!   A: Meeting B ◀──────────── where B is, and the ticket
//!      A's processes come and go ──▶ Vouch, Unvouch :B
//!      A's link ends ─────────────▶ Forget A :B
//! ```
//!
//! B hears of A before A hears where B is, and of a process of A before that process may call. What it is told is of its own
//! tenants, as all that it is told. Where they have shown certificates to the controller, each is told whose the other one's is: over TLS
//! it looks for that name. Tickets are made of a secret of this controller and a number: each opens one link.

use super::Controller;
use super::links::Member;
use super::names::Entry;
use crate::frame::{Frame, Header, MAX_ADDRESSES};
use crate::id::{LinkId, ProcessName, ProcessRef, SessionId, Ticket};
use crate::session::{LinkFault, Role};

/// Most nodes that one node may visit at a time.
pub const MAX_MEETINGS_PER_NODE: usize = 1024;

/// A node's stay is its link's.
pub(super) fn session_of(link: LinkId) -> SessionId {
    SessionId(link.0)
}

impl Member {
    /// Whether nodes of this one's tenants may know where it is.
    pub fn can_be_met(&self) -> bool {
        !self.reachable_at.is_empty() && !self.draining
    }
}

impl Controller {
    /// Where a node can be reached.
    pub(super) fn take_reachable(&mut self, link: LinkId, at: Vec<String>) -> Result<(), LinkFault> {
        let (most, longest) = MAX_ADDRESSES;
        if at.len() > most || at.iter().any(|address| address.len() > longest) {
            let what = format!("{} addresses of a node, {most} of {longest} bytes are taken", at.len());
            return Err(LinkFault::Broken(what));
        }
        let Some(member) = self.member_mut(link) else { return Ok(()) };
        if !member.processes.is_empty() {
            return Err(LinkFault::Broken("a node says where it is after its processes".to_owned()));
        }
        member.reachable_at = at;
        Ok(())
    }

    /// What a node of these tenants is told of where a process is.
    pub(super) fn host_of(&self, seer: &Member, entry: &Entry) -> Option<SessionId> {
        let host = self.links.get(&entry.link)?.member.as_ref()?;
        let may_meet = seer.role == Role::Node && seer.belongs(entry) && host.can_be_met();
        may_meet.then(|| session_of(entry.link))
    }

    /// A node has calls for another one.
    pub(super) fn meet(&mut self, link: LinkId, session: SessionId) {
        let host = LinkId(session.0);
        let made = self.arrange(link, host);
        let (at, ticket, identity) = made.unwrap_or((Vec::new(), Ticket([0; 16]), None));
        self.send(link, Frame::new(Header::Meeting { session, at, ticket, identity }));
    }

    /// Tells the one that is to be visited; where it is, the ticket, and whose certificate it has. None where it is not to be.
    fn arrange(&mut self, link: LinkId, host: LinkId) -> Option<(Vec<String>, Ticket, Option<ProcessName>)> {
        let visitor = self.links.get(&link)?.member.as_ref()?;
        let visited = self.links.get(&host)?.member.as_ref().filter(|member| member.can_be_met())?;
        let is_of_one_tenant = visitor.tenants.iter().any(|tenant| visited.tenants.contains(tenant));
        let has_room = visitor.meets.len() < MAX_MEETINGS_PER_NODE || visitor.meets.contains(&host);
        if link == host || visitor.role == Role::Client || !is_of_one_tenant || !has_room {
            return None;
        }
        let at = visited.reachable_at.clone();
        let of_visited = |process: &&(u32, ProcessRef)| visited.tenants.contains(&process.1.tenant);
        let named = visitor
            .processes
            .iter()
            .filter_map(|(number, entry)| Some((*number, self.entries.get(entry)?.process.clone())));
        let processes: Vec<(u32, ProcessRef)> = named.collect();
        let processes: Vec<(u32, ProcessRef)> = processes.iter().filter(of_visited).cloned().collect();
        let session = session_of(link);
        let (node, mark, max_payload_bytes) = (visitor.name.clone(), visitor.mark, visitor.max_payload_bytes);
        self.last_ticket += 1;
        let ticket = Ticket::new(&self.config.secret, self.last_ticket);
        let identity_of = |link| self.links.get(&link).and_then(|state| state.identity.certified()).cloned();
        let (identity, of_host) = (identity_of(link), identity_of(host));
        self.send(host, Frame::new(Header::Expect { session, node, ticket, mark, max_payload_bytes, identity }));
        for (number, process) in processes {
            self.send(host, Frame::new(Header::Vouch { session, number, process }));
        }
        self.member_mut(link)?.meets.insert(host);
        self.member_mut(host)?.met_by.insert(link);
        Some((at, ticket, of_host))
    }

    /// A process of a node has come: those that it visits are told, before it is.
    pub(super) fn vouch(&mut self, link: LinkId, number: u32, process: &ProcessRef) {
        for host in self.hosts_of(link, process) {
            let header = Header::Vouch { session: session_of(link), number, process: process.clone() };
            self.send(host, Frame::new(header));
        }
    }

    /// It has left.
    pub(super) fn unvouch(&mut self, link: LinkId, number: u32, process: &ProcessRef) {
        for host in self.hosts_of(link, process) {
            self.send(host, Frame::new(Header::Unvouch { session: session_of(link), number }));
        }
    }

    /// The nodes that this one visits and that are of the process's tenant.
    fn hosts_of(&self, link: LinkId, process: &ProcessRef) -> Vec<LinkId> {
        let meets = self.links.get(&link).and_then(|link| link.member.as_ref()).map(|member| &member.meets);
        let is_of = |host: &&LinkId| {
            let member = self.links.get(host).and_then(|link| link.member.as_ref());
            member.is_some_and(|member| member.tenants.contains(&process.tenant))
        };
        meets.into_iter().flatten().filter(is_of).copied().collect()
    }

    /// A node has gone: those that it visited are told.
    pub(super) fn end_meetings(&mut self, link: LinkId, member: &Member) {
        for host in &member.meets {
            if let Some(host) = self.member_mut(*host) {
                host.met_by.remove(&link);
            }
            self.send(*host, Frame::new(Header::Forget { session: session_of(link) }));
        }
        for visitor in &member.met_by {
            if let Some(visitor) = self.member_mut(*visitor) {
                visitor.meets.remove(&link);
            }
        }
    }
}
