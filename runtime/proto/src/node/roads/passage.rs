//! Which way a call takes: over a direct link, or by the controller; and what follows where the controller has chosen.
//!
//! Links themselves are the parent's business. A node chooses among several processes only where all of their nodes tell
//! it how busy they are.

use super::super::calls::{Chosen, Owner};
use super::super::errands::Errand;
use super::super::origin::Origin;
use super::super::wire::{Via, Wire};
use super::super::{CallKey, Node, Peer};
use super::{MAX_COMPARED, MAX_ROADS, ROAD_PATIENCE, Road};
use crate::frame::{Frame, Header};
use crate::id::{EntryId, LocalId, ProcessName, SessionId};
use crate::registry::{Choice, process_ref};

/// A call that may go directly.
struct Candidate {
    host: SessionId,
    /// Who makes it.
    process: LocalId,
    bytes: usize,
    /// Whether it has a way opened, and may wait for that.
    opens: bool,
    waits: bool,
}

/// How a call gets to the process that was chosen.
#[derive(Clone, Copy)]
pub(in crate::node) enum Passage {
    Over(Via),
    /// It is being opened.
    Opens(SessionId),
}

impl Node {
    /// The way that a call takes. The first one to a node has it opened.
    ///
    /// Where several processes have the callback, all of their nodes must be linked: only who is told by all of them how busy
    /// they are can choose as well as the controller. While the links are opened such calls wait too: this node would not know
    /// where those are that the controller places meanwhile.
    pub(in crate::node) fn way(&mut self, id: CallKey, choice: &Choice<Peer>) -> Passage {
        let by_controller = Passage::Over(Via::Controller);
        let Some(Candidate { host, process, bytes, waits, opens }) = self.may_go_directly(id, choice) else {
            return by_controller;
        };
        let others = self.others_than(id, choice);
        if others.is_empty() {
            return self.way_to_node(host, process, bytes, waits, opens);
        }
        if others.len() > MAX_COMPARED {
            return by_controller;
        }
        let mut way = self.way_to_node(host, process, bytes, waits, opens);
        for entry in others {
            let host = self.roads.hosts.get(&entry).copied();
            let its = host.map(|host| self.way_to_node(host, process, bytes, waits, opens));
            way = match (way, its) {
                (Passage::Over(Via::To(_)), Some(Passage::Over(Via::To(_)))) => way,
                (Passage::Over(Via::To(_)) | Passage::Opens(_), Some(opens @ Passage::Opens(_))) => opens,
                (opens @ Passage::Opens(_), Some(Passage::Over(Via::To(_)))) => opens,
                _ => by_controller,
            };
        }
        way
    }

    /// The way to a node, which is opened, if there is none and it may be; whether the call waits for it.
    fn way_to_node(&mut self, host: SessionId, process: LocalId, bytes: usize, waits: bool, opens: bool) -> Passage {
        let by_controller = Passage::Over(Via::Controller);
        match self.roads.roads.get(&host) {
            Some(Road::Link(link)) => {
                let link = *link;
                return self.roads.passage(link, process, bytes, waits.then_some(self.now));
            }
            Some(Road::Asked) => {}
            Some(Road::Closed(until)) if *until > self.now => return by_controller,
            Some(Road::Closed(_)) | None if !opens || self.roads.open_or_asked() >= MAX_ROADS => return by_controller,
            Some(Road::Closed(_)) | None => {
                self.roads.roads.insert(host, Road::Asked);
                self.roads.asked.insert((self.now + ROAD_PATIENCE, host));
                self.send(Frame::new(Header::Meet { session: host }));
            }
        }
        if waits { Passage::Opens(host) } else { by_controller }
    }

    /// The processes of other nodes that could have been chosen as well.
    fn others_than(&self, id: CallKey, choice: &Choice<Peer>) -> Vec<EntryId> {
        let Some(call) = self.calls.get(&id).filter(|call| call.receiver.is_none()) else { return Vec::new() };
        let group = self.seen_by(&call.origin).group(choice.group);
        let members = group.into_iter().flat_map(|group| group.members());
        let remote = members.filter_map(|member| match member.process {
            Peer::Remote(entry) if member.process != choice.process => Some(entry),
            Peer::Remote(_) | Peer::Local(_) => None,
        });
        remote.take(MAX_COMPARED + 1).collect()
    }

    /// Where a call goes that is not for the controller to see.
    fn may_go_directly(&self, id: CallKey, choice: &Choice<Peer>) -> Option<Candidate> {
        let Peer::Remote(entry) = choice.process else { return None };
        let host = *self.roads.hosts.get(&entry)?;
        let call = self.calls.get(&id)?;
        let process = call.origin.process?;
        let is_own = matches!(call.errand, Errand::Run) && call.origin.tenant == call.origin.home;
        if !is_own || call.by_controller {
            return None;
        }
        let opens = match call.owner {
            Owner::User(_) => true,
            Owner::Gather(gather) => self.opens_roads(gather),
        };
        let waits = opens && self.time_left(call) >= 2 * ROAD_PATIENCE;
        Some(Candidate { host, process, bytes: call.args.len(), waits, opens })
    }

    /// A call that the controller placed is over, and this process has served it.
    ///
    /// If that is another one than this node took for the next, it is that one's turn that is over. And where the receiver's
    /// node has told since the call was sent how busy that one is, the call was among them: there is one less, until it tells again.
    pub(in crate::node) fn note_placed(&mut self, wire: Wire, chosen: &Chosen, process: &ProcessName, origin: &Origin) {
        let is_other = *process != chosen.process;
        if origin.tenant != origin.home || (chosen.counts && !is_other) {
            return;
        }
        let Some(peer) = self.mesh.named(&process_ref(&origin.tenant, process)).last().copied() else { return };
        if is_other {
            self.mesh.began(peer);
            self.mesh.ended(peer);
        }
        if !chosen.counts && self.roads.was_told_since(peer, wire.id) {
            self.mesh.set_apart(peer, self.mesh.in_flight(peer).1.saturating_sub(1));
        }
    }
}
