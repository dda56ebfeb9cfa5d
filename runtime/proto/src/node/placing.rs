//! Whom calls go to that are made here.
//!
//! A call goes to the candidate with the fewest calls in flight that this node knows of. A remote one that is not
//! pinned is sent to the controller without saying whom, since the controller sees the calls of all nodes.

use bytes::Bytes;

use super::calls::{Call, Chosen, MAX_PLACEMENTS, Owner, Place, time_for_next_hop};
use super::directory::Registration;
use super::errands::Errand;
use super::origin::Origin;
use super::roads::Passage;
use super::serve::Way;
use super::waiting::Key;
use super::{CallKey, Node, Peer, Request, Via, Wire, outcome};
use crate::call::{Answer, Incoming, MAX_TIMEOUT};
use crate::error::CallError;
use crate::frame::{Frame, Header, Target};
use crate::id::{CallId, LocalId, ProcessRef, RepeatKey, ServeId};
use crate::registry::{Choice, process_ref};
use crate::schedule::TaskOp;
impl Node {
    /// Sends a waiting call to somebody, or lets it wait, or ends it.
    pub(super) fn place_call(&mut self, id: CallKey) {
        let Some(call) = self.calls.get(&id) else { return };
        if !matches!(call.place, Place::Waiting) || call.asleep {
            return;
        }
        if let Errand::Tasks(_) = call.errand {
            return self.place_question(id);
        }
        if let Owner::Gather(gather) = call.owner {
            return self.place_leg(gather, id);
        }
        if let Some(choice) = self.choose(call) {
            return self.place_with(id, choice);
        }
        if self.may_come(call) {
            // It may have waited for the way to somebody who has gone.
            self.waiting.remove(Request::Call(id));
            self.waiting.add(Request::Call(id), || call.waits_for());
            self.watch_waiting(Request::Call(id));
            return;
        }
        let error = self.why_unplaced(call);
        self.finish_call(id, Err(error));
    }

    /// Sends a call to the one who was chosen, or lets it wait for the way.
    pub(super) fn place_with(&mut self, id: CallKey, choice: Choice<Peer>) {
        self.waiting.remove(Request::Call(id));
        match self.way(id, &choice) {
            Passage::Over(via) => self.dispatch(id, choice, via),
            Passage::Opens(host) => self.waiting.add(Request::Call(id), || vec![Key::Road(host)]),
        }
    }

    /// The best candidate for the first of the call's names that has one; of the versions that a process has, the highest.
    pub(super) fn choose(&self, call: &Call) -> Option<Choice<Peer>> {
        let seen = self.seen_by(&call.origin);
        let tenant = &call.origin.tenant;
        let receiver = call.receiver.as_ref().map(|name| process_ref(tenant, name));
        let away = self.may_go_away(&call.origin) && !self.waits_for_next_controller(call);
        // A run of a task has no caller: nothing waits for itself where a process schedules its own callback.
        let itself = matches!(call.errand, Errand::Schedule(_)) && receiver.is_some();
        let may_serve = |peer: Peer| match peer {
            Peer::Local(id) => itself || Some(id) != call.origin.process,
            Peer::Remote(_) => away,
        };
        call.callbacks.iter().find_map(|name| {
            let groups = seen.matching(tenant, name);
            let accepted = groups.filter(|(_, group)| call.accepts.contains(&group.fingerprint));
            let choices = accepted.filter_map(|(id, group)| {
                let choice = match &receiver {
                    None => seen.best(id, may_serve),
                    Some(receiver) => {
                        let holders = seen.named(receiver).iter().filter(|peer| may_serve(**peer));
                        holders.filter_map(|peer| seen.pinned(id, *peer)).min()
                    }
                };
                Some((choice?, group.name.version()))
            });
            let best = choices.min_by(|(a, older), (b, newer)| a.by_process(b).then_with(|| newer.cmp(older)));
            best.map(|(choice, _)| choice)
        })
    }

    /// Whether calls of this caller can go over the link now.
    pub(super) fn may_go_away(&self, origin: &Origin) -> bool {
        let known = |id: &LocalId| {
            let local = self.locals.get(id);
            local.is_some_and(|local| matches!(local.registration, Registration::Registered(_)))
        };
        self.link.is_synced() && origin.process.as_ref().is_none_or(known)
    }

    /// Whether this call would be refused by a controller that ends, and may wait for the one that follows.
    pub(super) fn waits_for_next_controller(&self, call: &Call) -> bool {
        call.wait_ready && call.chain.len() == 1 && self.link.up().is_some_and(|up| up.draining)
    }

    /// Whether a candidate for this call may yet come.
    pub(super) fn may_come(&self, call: &Call) -> bool {
        if self.shut.is_some() {
            return false;
        }
        let tenant = &call.origin.tenant;
        call.wait_ready
            || !self.settled()
            || !self.may_go_away(&call.origin)
            || call.callbacks.iter().any(|name| self.stale.matching(tenant, name).next().is_some())
    }

    /// Gives a call to a process: of this node, or over this link.
    pub(super) fn dispatch(&mut self, id: CallKey, choice: Choice<Peer>, via: Via) {
        let Some(call) = self.calls.get(&id) else { return };
        let left = time_for_next_hop(self.time_left(call));
        let Some(chosen) = self.chosen(call, &choice, via) else { return };
        let limit = self.payload_limit(via).unwrap_or(0);
        let Some(call) = self.calls.get_mut(&id) else { return };
        call.placements += 1;
        // A call that cannot be placed again does not hold on to its arguments.
        let is_placed_again = matches!(choice.process, Peer::Remote(_))
            && (call.wait_ready || via != Via::Controller)
            && call.placements < MAX_PLACEMENTS;
        let again = is_placed_again || call.failures + 1 < call.retry.attempts;
        let args = if again { call.args.clone() } else { std::mem::take(&mut call.args) };
        if let Errand::Schedule(terms) = &call.errand {
            let creator = call.origin.process.and_then(|id| self.locals.get(&id)).map(|local| local.process.clone());
            let spec = terms.spec(chosen.callback, chosen.fingerprint, args, creator);
            // Its turn is over: the next schedule goes to another process.
            self.began(choice.process);
            self.ended(choice.process);
            return self.run_errand(id, choice.process, TaskOp::Add(Box::new(spec)));
        }
        let (chain, answer, mode, channels) = (call.chain.clone(), call.answer, call.mode, call.flows.clone());
        let is_streaming = !channels.is_empty();
        let streams_of = match call.owner {
            Owner::User(token) => Some(token).filter(|_| is_streaming),
            Owner::Gather(_) => None,
        };
        match choice.process {
            Peer::Local(process) => {
                self.last_serve += 1;
                let serve = ServeId(self.last_serve);
                call.place = Place::Here { serve, chosen };
                let origin = call.origin.process;
                let caller = self.process_of(origin);
                let deadline = self.now + if is_streaming { MAX_TIMEOUT } else { left };
                let callback = choice.callback;
                let incoming =
                    Incoming { id: serve, process, callback, args, caller, chain, deadline, answer, channels };
                self.serve_here(id, Way { mode, time: left, streams_of }, incoming);
                if answer == Answer::Sent {
                    self.call_served(id, Ok(Bytes::new()));
                }
            }
            Peer::Remote(entry) => {
                if args.len() as u64 > limit {
                    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
                    let callback = call.callback();
                    let error = outcome::arguments_too_large(args.len(), limit);
                    self.finish_call(id, Err(CallError { callback, ..error }));
                    return;
                }
                let groups = self.remote_groups.get(&entry);
                let Some(group) = groups.and_then(|groups| groups.get(choice.callback as usize)) else { return };
                let target = match call.receiver {
                    _ if via != Via::Controller => Target::Direct(entry, choice.callback),
                    Some(_) => Target::Process(entry, *group),
                    None => Target::Any(*group),
                };
                let repeated = call.may_be_repeated();
                self.last_wire += 1;
                let wire = Wire { via, id: CallId(self.last_wire) };
                self.roads.note_used(via, self.now);
                let counts = chosen.counts;
                call.place = Place::Away { wire, chosen };
                self.away.insert(wire, id);
                self.began(choice.process);
                if !counts {
                    self.ended(choice.process); // its turn is over all the same
                }
                if let Some(token) = streams_of {
                    self.set_out(token, wire);
                }
                let key = repeated.then_some(RepeatKey { node: self.mark, number: id.0 });
                let timeout_ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
                let header = Header::Call { id: wire.id, target, timeout_ms, chain, answer, mode, channels, key };
                self.send_over(wire.via, Frame::with_payload(header, args));
            }
        }
    }

    /// Whom a choice means.
    pub(super) fn chosen(&self, call: &Call, choice: &Choice<Peer>, via: Via) -> Option<Chosen> {
        let seen = self.seen_by(&call.origin);
        let (group, process) = (seen.group(choice.group)?, seen.get(choice.process)?);
        Some(Chosen {
            peer: choice.process,
            process: process.process.name.clone(),
            callback: group.name.clone(),
            fingerprint: group.fingerprint,
            counts: via != Via::Controller || !self.roads.is_told_of(choice.process),
        })
    }

    /// A process of this node, as others know it.
    pub(super) fn process_of(&self, id: Option<LocalId>) -> Option<ProcessRef> {
        id.and_then(|id| self.locals.get(&id)).map(|local| local.process.clone())
    }
}
