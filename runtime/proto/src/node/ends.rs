//! How calls end that were made here: with an answer, at their deadline, given up, or with their link.
//!
//! Invariant: whichever comes first takes the call out of every table ([`Node::take_call_out`]); what comes after finds
//! nothing, and is counted as late.

use std::sync::Arc;

use bytes::Bytes;

use super::calls::{Call, Chosen, MAX_PLACEMENTS, Owner, Place};
use super::errands::Errand;
use super::{CallKey, Node, Output, Request, outcome};
use crate::call::{CallReply, WhenAbandoned};
use crate::error::{CallError, Outcome, code};
use crate::frame::{Frame, Header};
use crate::id::{CallId, LocalId, ProcessName, ServeId};

impl Node {
    /// A process of this node answered a call of this node.
    pub(super) fn call_served(&mut self, id: CallKey, result: Result<Bytes, CallError>) {
        let Some(Call { place: Place::Here { chosen, .. }, .. }) = self.calls.get(&id) else { return };
        let (fingerprint, process) = (chosen.fingerprint, chosen.process.clone());
        let reply = |result| CallReply { result, fingerprint, process, channels: Arc::from([]) };
        let result = result.map(reply);
        self.finish_call(id, result);
    }

    pub(super) fn take_reply(&mut self, wire: CallId, process: Option<ProcessName>, result: Bytes) {
        match self.come_back(wire) {
            Some((id, Some(chosen))) => {
                let process = process.unwrap_or(chosen.process);
                self.finish_call(
                    id,
                    Ok(CallReply { result, fingerprint: chosen.fingerprint, process, channels: Arc::from([]) }),
                );
            }
            Some((id, None)) => self.errand_done(id, &result),
            None => {}
        }
    }

    pub(super) fn take_fail(&mut self, wire: CallId, mut error: CallError) {
        let Some((id, chosen)) = self.come_back(wire) else { return };
        let leaving = [code::NO_SUCH_CALLBACK, code::NO_SUCH_PROCESS, code::DRAINING].contains(&error.code.as_str());
        let again = self.calls.get(&id).is_some_and(|call| call.wait_ready && call.placements < MAX_PLACEMENTS);
        if again && leaving && error.outcome == Outcome::NotRun {
            // It met a receiver on its way out; the replica knows that by now.
            self.place_call(id);
            return;
        }
        if error.callback.is_empty() {
            error.callback = self.callback_of(id, chosen);
        }
        self.finish_call(id, Err(error));
    }

    pub(super) fn call_not_sent(&mut self, wire: CallId) {
        if let Some((id, chosen)) = self.come_back(wire) {
            let callback = self.callback_of(id, chosen);
            self.finish_call(id, Err(outcome::link_full(callback)));
        }
    }

    /// What a call that has come back was for.
    fn callback_of(&self, id: CallKey, chosen: Option<Chosen>) -> String {
        match chosen {
            Some(chosen) => chosen.callback.to_string(),
            None => self.calls.get(&id).map(Call::callback).unwrap_or_default(),
        }
    }

    /// Something came of a call that was sent: it is nowhere now. Of an errand, no callback was chosen to run.
    fn come_back(&mut self, wire: CallId) -> Option<(CallKey, Option<Chosen>)> {
        let Some(id) = self.away.remove(&wire) else {
            self.late_answers += 1;
            return None;
        };
        match std::mem::replace(&mut self.calls.get_mut(&id)?.place, Place::Waiting) {
            Place::Away { chosen, .. } => {
                self.mesh.ended(chosen.peer);
                Some((id, Some(chosen)))
            }
            Place::Asked { .. } => Some((id, None)),
            Place::Waiting | Place::Here { .. } => None,
        }
    }

    /// The link took a call whose caller does not wait.
    pub(super) fn call_sent(&mut self, wire: CallId) {
        if self.away.contains_key(&wire) {
            self.take_reply(wire, None, Bytes::new());
        }
    }

    /// The time of a call has come: it begins, or is over.
    pub(super) fn call_due(&mut self, id: CallKey) {
        let now = self.now;
        let Some(call) = self.calls.get_mut(&id) else { return };
        if call.deadline <= now {
            return self.call_overdue(id);
        }
        call.asleep = false;
        let timer = call.timer();
        self.deadlines.insert((timer, Request::Call(id)));
        self.waiting.remove(Request::Call(id));
        self.place_call(id);
    }

    /// The deadline came first.
    fn call_overdue(&mut self, id: CallKey) {
        let Some(call) = self.calls.get(&id) else { return };
        let error = match &call.place {
            Place::Waiting if call.asleep => CallError { callback: call.callback(), ..outcome::no_time_left() },
            Place::Waiting => self.why_unplaced(call),
            Place::Here { chosen, .. } | Place::Away { chosen, .. } => {
                outcome::no_answer(&chosen.process, call.timeout, call.callback())
            }
            Place::Asked { process, .. } => outcome::no_answer(process, call.timeout, call.callback()),
        };
        self.stop_below(id);
        self.finish_call(id, Err(error));
    }

    /// The user gives a call up: nobody is told but those who serve it.
    pub(super) fn give_up_call(&mut self, id: CallKey) {
        self.stop_below(id);
        self.take_call_out(id);
    }

    /// The call that this one was made for is cancelled. Returns the served call that is cancelled with it.
    pub(super) fn cancel_call_below(&mut self, id: CallKey) -> Option<ServeId> {
        let call = self.calls.get_mut(&id)?;
        if call.when_abandoned == WhenAbandoned::Finish {
            self.abandoned_calls += usize::from(!std::mem::replace(&mut call.abandoned, true));
            return None;
        }
        let sent = match call.place {
            Place::Waiting => Outcome::NotRun,
            Place::Here { .. } | Place::Away { .. } | Place::Asked { .. } => Outcome::Unknown,
        };
        let error = outcome::caller_cancelled(sent, call.callback());
        let serve = self.let_go(id);
        self.finish_call(id, Err(error));
        serve
    }

    /// Nobody waits for a call: tells the link, or gives the call of this node that is to be cancelled.
    pub(super) fn let_go(&mut self, id: CallKey) -> Option<ServeId> {
        match self.calls.get(&id)?.place {
            Place::Here { serve, .. } => Some(serve),
            Place::Away { wire, .. } | Place::Asked { wire: Some(wire), .. } => {
                self.send(Frame::new(Header::Cancel { id: wire }));
                None
            }
            Place::Waiting | Place::Asked { wire: None, .. } => None,
        }
    }

    /// Tells whoever serves a call that nobody waits.
    pub(super) fn stop_below(&mut self, id: CallKey) {
        if let Some(serve) = self.let_go(id) {
            self.cancel_serve(serve);
        }
    }

    /// All calls that went over the link end with it.
    pub(super) fn fail_remote_calls(&mut self, code: &str, reason: &str) {
        let ids: Vec<CallKey> = self.away.values().copied().collect();
        for id in ids {
            let Some(call) = self.calls.get(&id) else { continue };
            let error = outcome::link_lost(code, reason, call.callback());
            self.finish_call(id, Err(error));
        }
    }

    pub(super) fn fail_waiting_calls_of(&mut self, process: LocalId) {
        self.fail_waiting(|call| call.origin.process == Some(process), |call| outcome::process_left(call.callback()));
    }

    pub(super) fn fail_waiting_calls_without_parent(&mut self) {
        self.fail_waiting(|call| call.origin.parent.is_none(), |call| outcome::shutting_down(call.callback()));
    }

    fn fail_waiting(&mut self, which: impl Fn(&Call) -> bool, error: impl Fn(&Call) -> CallError) {
        for request in self.waiting.all() {
            let call = match request {
                Request::Call(id) => self.calls.get(&id),
                Request::Gather(id) => self.gathers.get(&id).map(|gather| &gather.call),
                Request::Ask(_) | Request::List(_) | Request::Watch => None,
            };
            let Some(error) = call.filter(|call| which(call)).map(&error) else { continue };
            match request {
                Request::Call(id) => self.finish_call(id, Err(error)),
                Request::Gather(id) => self.end_gather(id, Err(error)),
                Request::Ask(_) | Request::List(_) | Request::Watch => {}
            }
        }
    }

    pub(super) fn finish_call(&mut self, id: CallKey, result: Result<CallReply, CallError>) {
        let Some(call) = self.take_call_out(id) else { return };
        match (call.owner, call.receiver) {
            (Owner::User(token), _) if !matches!(call.errand, Errand::Run) => self.errand_failed(token, result),
            (Owner::User(token), _) => self.outputs.push_back(Output::CallDone { token, result }),
            (Owner::Gather(gather), Some(process)) => self.leg_ended(gather, id, process, result),
            (Owner::Gather(_), None) => {} // every leg has a receiver
        }
    }

    /// Takes a call out of every table.
    pub(super) fn take_call_out(&mut self, id: CallKey) -> Option<Call> {
        let call = self.calls.remove(&id)?;
        let request = Request::Call(id);
        self.abandoned_calls -= usize::from(call.abandoned);
        self.deadlines.remove(&(call.timer(), request));
        if let Owner::User(token) = call.owner {
            self.requests.remove(&token);
        }
        self.waiting.remove(request);
        if let Some(parent) = call.origin.parent.and_then(|parent| self.serves.get_mut(&parent)) {
            parent.below.remove(&request);
        }
        match &call.place {
            Place::Away { wire, chosen } => {
                self.away.remove(wire);
                self.mesh.ended(chosen.peer);
            }
            Place::Asked { wire: Some(wire), .. } => drop(self.away.remove(wire)),
            Place::Waiting | Place::Here { .. } | Place::Asked { wire: None, .. } => {}
        }
        Some(call)
    }
}
