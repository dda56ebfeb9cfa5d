//! How calls end that were made here: with an answer, at their deadline, given up, or with their link.
//!
//! A failed attempt of a call that may be made again is no end: it sleeps for a pause, and is placed anew.
//!
//! Invariant: whichever comes first takes the call out of every table ([`Node::take_call_out`]); what comes after finds
//! nothing, and is counted as late.

use bytes::Bytes;

use super::calls::{Call, Chosen, MAX_PLACEMENTS, Owner, Place};
use super::errands::Errand;
use super::streams::{Exchange, Route};
use super::{CallKey, Node, Output, Peer, Request, Via, Wire, outcome};
use crate::call::{CallReply, Retry, WhenAbandoned};
use crate::error::{CallError, Outcome, code};
use crate::frame::{Frame, Header};
use crate::id::{LocalId, ProcessName, ServeId, Token};
use crate::stream::{Flows, StreamCall};

impl Node {
    /// A process of this node answered a call of this node.
    pub(super) fn call_served(&mut self, id: CallKey, result: Result<Bytes, CallError>) {
        let Some(Call { place: Place::Here { chosen, .. }, .. }) = self.calls.get(&id).map(Box::as_ref) else { return };
        let (fingerprint, process) = (chosen.fingerprint, chosen.process.clone());
        let reply = |result| CallReply { result, fingerprint, process, channels: Flows::default() };
        let result = result.map(reply);
        self.finish_call(id, result);
    }

    /// The same of a call that goes on, with these streams in its result.
    pub(super) fn call_replied(&mut self, id: CallKey, serve: ServeId, result: Bytes, channels: Flows) {
        let Some(call) = self.calls.get(&id) else { return };
        let (Place::Here { chosen, .. }, Owner::User(token)) = (&call.place, call.owner) else {
            return self.call_served(id, Ok(result));
        };
        let (fingerprint, process) = (chosen.fingerprint, chosen.process.clone());
        let (made, served) = (StreamCall::Made(token), StreamCall::Served(serve));
        let call = call.clone();
        self.open_made(token, &call);
        for (here, there) in [(made, served), (served, made)] {
            self.exchange(here, call.own_time).route = Route::Here(there);
        }
        self.open_readers(made, &channels);
        self.finish_call(id, Ok(CallReply { result, fingerprint, process, channels }));
    }

    /// The answer to a call came over the link; whether the call goes on, and with which streams in its result.
    pub(super) fn take_reply(
        &mut self,
        wire: Wire,
        process: Option<ProcessName>,
        goes_on: Option<Flows>,
        result: Bytes,
    ) {
        let (id, chosen) = match self.come_back(wire) {
            Some((id, Some(chosen))) => (id, chosen),
            Some((id, None)) => return self.errand_done(id, &result),
            None => return,
        };
        // Over a direct link the callee's node does not say who it was: it was the one that was asked.
        if let (Via::Controller, Some(process), Some(call)) = (wire.via, &process, self.calls.get(&id)) {
            let origin = call.origin.clone();
            self.note_placed(wire, &chosen, process, &origin);
        }
        let process = process.unwrap_or(chosen.process);
        let channels = goes_on.clone().unwrap_or_default();
        let mut reply = Ok(CallReply { result, fingerprint: chosen.fingerprint, process, channels: channels.clone() });
        let Some(owner) = self.calls.get(&id).map(|call| call.owner) else { return };
        let refused = match owner {
            Owner::User(_) => self.may_open(channels.len(), "").err(),
            Owner::Gather(_) if channels.is_empty() => None,
            Owner::Gather(_) => reply.as_ref().ok().map(|reply| outcome::streams_to_all(&reply.process, String::new())),
        };
        if let Some(error) = refused {
            let error = CallError { callback: chosen.callback.to_string(), outcome: Outcome::Failed, ..error };
            self.send_over(wire.via, Frame::new(Header::Cancel { id: wire.id, lost: false }));
            reply = Err(error);
        } else if let (Owner::User(token), Some(_)) = (owner, goes_on) {
            if let Some(call) = self.calls.get(&id).cloned() {
                self.open_made(token, &call);
            }
            self.set_out(token, wire);
            self.open_readers(StreamCall::Made(token), &channels);
        } else if let Owner::User(token) = owner
            && self.exchanges.contains_key(&StreamCall::Made(token))
        {
            self.cut(StreamCall::Made(token), &outcome::streams_forgotten());
        }
        self.finish_answered(id, reply, Some(chosen.peer).filter(|_| chosen.counts));
    }

    /// A call that is made here has streams.
    pub(super) fn open_made(&mut self, token: Token, call: &Call) {
        let (parent, when_abandoned, abandoned) = (call.origin.parent, call.when_abandoned, call.abandoned);
        let process = call.origin.process;
        let exchange = self.exchange(StreamCall::Made(token), call.own_time);
        (exchange.parent, exchange.when_abandoned, exchange.abandoned) = (parent, when_abandoned, abandoned);
        exchange.process = process;
    }

    /// The streams of a call go over the link.
    pub(super) fn set_out(&mut self, token: Token, wire: Wire) {
        let made = StreamCall::Made(token);
        if let Some(exchange) = self.exchanges.get_mut(&made) {
            exchange.route = Route::Link(wire);
            self.wires.insert(wire, made);
            self.stir(made);
        }
    }

    pub(super) fn take_fail(&mut self, wire: Wire, mut error: CallError) {
        if let Some(streams) = self.wires.get(&wire).copied().filter(|_| !self.away.contains_key(&wire)) {
            // The call has its answer: this is what became of its streams.
            return self.cut(streams, &error);
        }
        let Some((id, chosen)) = self.come_back(wire) else { return };
        let leaving = [code::NO_SUCH_CALLBACK, code::NO_SUCH_PROCESS, code::DRAINING].contains(&error.code.as_str());
        // Over a direct link it may be told before the controller tells.
        let direct = wire.via != Via::Controller;
        let again =
            |call: &Call| (call.wait_ready || direct) && call.placements < MAX_PLACEMENTS && !self.has_streamed(call);
        let again = self.calls.get(&id).map(Box::as_ref).is_some_and(again);
        if again && leaving && error.outcome == Outcome::NotRun {
            // It met a receiver on its way out; the replica knows that by now, or the controller does.
            if let Some(call) = self.calls.get_mut(&id).filter(|_| direct) {
                call.by_controller = true;
            }
            self.place_call(id);
            return;
        }
        if error.callback.is_empty() {
            error.callback = self.callback_of(id, chosen);
        }
        self.finish_call(id, Err(error));
    }

    /// What a call that has come back was for.
    pub(super) fn callback_of(&self, id: CallKey, chosen: Option<Chosen>) -> String {
        match chosen {
            Some(chosen) => chosen.callback.to_string(),
            None => self.calls.get(&id).map(Box::as_ref).map(Call::callback).unwrap_or_default(),
        }
    }

    /// Something came of a call that was sent: it is nowhere now. Of an errand, no callback was chosen to run.
    pub(super) fn come_back(&mut self, wire: Wire) -> Option<(CallKey, Option<Chosen>)> {
        let Some(id) = self.away.remove(&wire) else {
            self.late_answers += 1;
            return None;
        };
        match std::mem::replace(&mut self.calls.get_mut(&id)?.place, Place::Waiting) {
            Place::Away { chosen, .. } => {
                self.not_there_any_more(&chosen);
                self.call_back_streams(wire);
                Some((id, Some(chosen)))
            }
            Place::Asked { .. } => Some((id, None)),
            Place::Waiting | Place::Here { .. } => None,
        }
    }

    /// What streams have over the link, they have no more.
    fn call_back_streams(&mut self, wire: Wire) {
        let made = self.wires.remove(&wire);
        if let Some(exchange) = made.and_then(|made| self.exchanges.get_mut(&made)) {
            exchange.route = Route::Nowhere;
        }
    }

    /// The link took a call whose caller does not wait.
    pub(super) fn call_sent(&mut self, wire: Wire) {
        if self.away.contains_key(&wire) {
            self.take_reply(wire, None, None, Bytes::new());
        }
    }

    /// The time of a call has come: it begins, or is over.
    pub(super) fn call_due(&mut self, id: CallKey) {
        let now = self.now;
        let Some(call) = self.calls.get(&id) else { return };
        let time = if call.asleep { call.deadline } else { self.time_of_call(call) };
        let Some(call) = self.calls.get_mut(&id) else { return };
        call.deadline = time;
        if time <= now {
            return self.call_overdue(id);
        }
        let begins = std::mem::take(&mut call.asleep);
        let timer = call.timer();
        self.deadlines.set(timer, Request::Call(id));
        if begins {
            self.begin_streams(id);
            self.waiting.remove(Request::Call(id));
            self.place_call(id);
        }
    }

    /// The deadline came first.
    fn call_overdue(&mut self, id: CallKey) {
        let Some(call) = self.calls.get(&id) else { return };
        let error = match &call.place {
            Place::Waiting if call.asleep => CallError { callback: call.callback(), ..outcome::no_time_left() },
            Place::Waiting if self.choose(call).is_some() => outcome::no_way_in_time(call.timeout, call.callback()),
            Place::Waiting => self.why_unplaced(call),
            Place::Here { chosen, .. } | Place::Away { chosen, .. } if call.flows.is_empty() => {
                outcome::no_answer(&chosen.process, call.timeout, call.callback())
            }
            Place::Here { chosen, .. } | Place::Away { chosen, .. } => {
                let error = outcome::no_progress(call.own_time.min(call.timeout));
                CallError { callback: call.callback(), ..error }.at(chosen.process.as_str())
            }
            Place::Asked { process, .. } => outcome::no_answer(process, call.timeout, call.callback()),
        };
        self.stop_below(id);
        self.finish_call(id, Err(error));
    }

    /// The user gives a call up: nobody is told but those who serve it.
    pub(super) fn give_up_call(&mut self, id: CallKey) {
        self.stop_below(id);
        if let Some(Owner::User(token)) = self.take_call_out(id).map(|call| call.owner) {
            self.end_streams_of(token, &outcome::given_up());
        }
    }

    /// A call is over, and its streams with it.
    fn end_streams_of(&mut self, token: Token, error: &CallError) {
        let made = StreamCall::Made(token);
        self.cut(made, error);
        self.exchange_answered(made, None);
    }

    /// Whether something of its streams may be on its way to where the call was.
    fn has_streamed(&self, call: &Call) -> bool {
        let Owner::User(token) = call.owner else { return false };
        self.exchanges.get(&StreamCall::Made(token)).is_some_and(Exchange::has_begun)
    }

    /// The time of a call begins now, and that of its streams.
    fn begin_streams(&mut self, id: CallKey) {
        if let Some(Call { owner: Owner::User(token), .. }) = self.calls.get(&id).map(Box::as_ref) {
            let made = StreamCall::Made(*token);
            let now = self.now;
            if let Some(exchange) = self.exchanges.get_mut(&made) {
                exchange.alive = now;
            }
        }
    }

    /// The call that this one was made for is cancelled. Returns the served call that is cancelled with it.
    pub(super) fn cancel_call_below(&mut self, id: CallKey) -> Option<ServeId> {
        let call = self.calls.get_mut(&id)?;
        if call.when_abandoned == WhenAbandoned::Finish {
            self.abandoned_calls += usize::from(!std::mem::replace(&mut call.abandoned, true));
            return None;
        }
        let sent = match call.place {
            Place::Waiting => call.so_far,
            Place::Here { .. } | Place::Away { .. } | Place::Asked { .. } => Outcome::Unknown,
        };
        let error = outcome::caller_cancelled(sent, call.callback());
        call.retry = Retry::NEVER;
        let serve = self.let_go(id);
        self.finish_call(id, Err(error));
        serve
    }

    /// Nobody waits for a call: tells the link, or gives the call of this node that is to be cancelled.
    pub(super) fn let_go(&mut self, id: CallKey) -> Option<ServeId> {
        match self.calls.get(&id)?.place {
            Place::Here { serve, .. } => Some(serve),
            Place::Away { wire, .. } | Place::Asked { wire: Some(wire), .. } => {
                self.send_over(wire.via, Frame::new(Header::Cancel { id: wire.id, lost: false }));
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

    /// All calls that went over a link end with it.
    pub(super) fn fail_remote_calls(&mut self, via: Via, code: &str, reason: &str) {
        for (_, id) in self.away.of(via) {
            let Some(call) = self.calls.get(&id) else { continue };
            let error = outcome::link_lost(via, code, reason, call.callback());
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
                Request::Call(id) => self.calls.get(&id).map(Box::as_ref),
                Request::Gather(id) => self.gathers.get(&id).map(|gather| &gather.call),
                Request::Streams(_) | Request::Ask(_) | Request::List(_) | Request::Watch => None,
            };
            let Some(error) = call.filter(|call| which(call)).map(&error) else { continue };
            match request {
                Request::Call(id) => self.finish_call(id, Err(error)),
                Request::Gather(id) => self.end_gather(id, Err(error)),
                Request::Streams(_) | Request::Ask(_) | Request::List(_) | Request::Watch => {}
            }
        }
    }

    pub(super) fn finish_call(&mut self, id: CallKey, result: Result<CallReply, CallError>) {
        self.finish_answered(id, result, None);
    }

    /// The same, of a call that `peer` of another node has answered, where it counts there.
    fn finish_answered(&mut self, id: CallKey, result: Result<CallReply, CallError>, peer: Option<Peer>) {
        let result = match result {
            Err(error) if self.tries_again(id, &error) => return,
            result => result,
        };
        let Some(call) = self.take_call_out(id) else { return };
        let result = result.map_err(|error| of_all_attempts(&call, error));
        match (call.owner, call.receiver) {
            (Owner::User(token), _) if !matches!(call.errand, Errand::Run) => self.errand_failed(token, result),
            (Owner::User(token), _) => {
                match &result {
                    Ok(_) => self.exchange_answered(StreamCall::Made(token), peer),
                    Err(error) => self.end_streams_of(token, error),
                }
                self.outputs.push_back(Output::CallDone { token, result });
            }
            (Owner::Gather(gather), Some(process)) => self.leg_ended(gather, id, process, result),
            (Owner::Gather(_), None) => {} // every leg has a receiver
        }
    }

    /// Lets a call that has failed sleep before it is made again, if it is to be and there is time for it.
    fn tries_again(&mut self, id: CallKey, error: &CallError) -> bool {
        let now = self.now;
        let Some(call) = self.calls.get_mut(&id) else { return false };
        if call.failures + 1 >= call.retry.attempts || call.abandoned || !call.retry.applies_to(error) {
            return false;
        }
        let begins = now + call.retry.pause_after(call.failures + 1, self.random.fraction());
        if begins >= call.deadline {
            return false;
        }
        call.failures += 1;
        call.so_far = worse(call.so_far, error.outcome);
        call.placements = 0;
        (call.begins, call.asleep) = (begins, true);
        let (next, place) = (call.timer(), std::mem::replace(&mut call.place, Place::Waiting));
        let request = Request::Call(id);
        self.deadlines.remove(request);
        self.deadlines.set(next, request);
        self.waiting.remove(request);
        self.waiting.add(request, Vec::new);
        if let Place::Away { wire, chosen } = place {
            self.away.remove(&wire);
            self.not_there_any_more(&chosen);
        }
        true
    }

    /// A call is no more in flight to the process that it went to.
    fn not_there_any_more(&mut self, chosen: &Chosen) {
        if chosen.counts {
            self.ended(chosen.peer);
        }
    }

    /// Takes a call out of every table.
    pub(super) fn take_call_out(&mut self, id: CallKey) -> Option<Box<Call>> {
        let call = self.calls.remove(&id)?;
        let request = Request::Call(id);
        self.abandoned_calls -= usize::from(call.abandoned);
        self.deadlines.remove(request);
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
                self.not_there_any_more(chosen);
            }
            Place::Asked { wire: Some(wire), .. } => drop(self.away.remove(wire)),
            Place::Waiting | Place::Here { .. } | Place::Asked { wire: None, .. } => {}
        }
        Some(call)
    }
}

/// What two attempts came to, taken together: `not-run` if neither ran.
fn worse(one: Outcome, other: Outcome) -> Outcome {
    match (one, other) {
        (Outcome::Unknown, _) | (_, Outcome::Unknown) => Outcome::Unknown,
        (Outcome::Failed, _) | (_, Outcome::Failed) => Outcome::Failed,
        (Outcome::NotRun, Outcome::NotRun) => Outcome::NotRun,
    }
}

/// The error of the last attempt, as that of all of them.
fn of_all_attempts(call: &Call, error: CallError) -> CallError {
    if call.failures == 0 {
        return error;
    }
    // While it sleeps after a failure, the attempt that is to come has not been made.
    let attempts = call.failures + u32::from(!call.asleep);
    let outcome = worse(call.so_far, error.outcome);
    let retryable = error.retryable && outcome == Outcome::NotRun;
    CallError { message: format!("{} (attempts: {attempts})", error.message), outcome, retryable, ..error }
}
