//! Calls that processes and clients of this node make.
//!
//! ```text
//!   Call ─eta─▶ Waiting ──candidate──▶ Here (served by this node) ──Served──▶ done
//!               │                └▶ Away (sent over the link) ──Reply, Fail──▶ done
//!               │                        │   (or Accepted, or when it was sent: Answer)
//!               ├── none, and none will come: not-run      ├── deadline, link lost: unknown, and Cancel
//!               └── deadline: not-run                      └── given up, parent cancelled: Cancel
//!                                                              (or on to its end: WhenAbandoned::Finish)
//! ```
//!
//! Whom they go to says [`super::placing`], how they end [`super::ends`].

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::errands::Errand;
use super::origin::{Asker, Origin};
use super::streams::Exchange;
use super::waiting::Key;
use super::{CallKey, GatherKey, MAX_OPEN_REQUESTS, Node, Output, Peer, Request, Wire, outcome};
use crate::call::{Answer, CallRequest, Hop, MAX_CHAIN, MAX_TIMEOUT, Mode, Retry, WhenAbandoned, chain};
use crate::error::{CallError, Outcome};
use crate::id::{ProcessName, ServeId, Token};
use crate::name::CallbackName;
use crate::signature::Fingerprint;
use crate::stream::{Flows, StreamCall};

/// The part of what is left of a call's time that one hop keeps for the way back: a twentieth.
const MARGIN_DIVISOR: u32 = 20;

/// And the most of it.
const MAX_MARGIN: Duration = Duration::from_millis(50);

/// How often a call is placed again after a receiver that was just leaving.
pub(super) const MAX_PLACEMENTS: u32 = 8;

/// Who is told of a call's end.
#[derive(Clone, Copy, Debug)]
pub(super) enum Owner {
    /// The user, who calls it so.
    User(Token),
    /// The broadcast that it is a leg of.
    Gather(GatherKey),
}

/// A call that was made here.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub owner: Owner,
    pub origin: Origin,
    pub callbacks: Arc<[CallbackName]>,
    pub accepts: Arc<[Fingerprint]>,
    pub signature: Option<Arc<crate::signature::Signature>>,
    pub receiver: Option<ProcessName>,
    pub args: Bytes,
    pub timeout: Duration,
    pub deadline: Duration,
    /// How much it asked for, whatever is left above it.
    pub own_time: Duration,
    /// When that is over, which a later attempt does not change.
    pub own_end: Duration,
    /// The streams that the caller writes.
    pub flows: Flows,
    pub mode: Mode,
    /// When it begins, or did.
    pub begins: Duration,
    /// Whether it has not begun.
    pub asleep: bool,
    pub answer: Answer,
    pub wait_ready: bool,
    pub when_abandoned: WhenAbandoned,
    /// Whether the call that it is made for was given up.
    pub abandoned: bool,
    pub chain: Arc<[Hop]>,
    /// What it is sent for.
    pub errand: Errand,
    pub place: Place,
    pub placements: u32,
    /// Whether the controller is to find the receiver, whatever ways there are.
    pub by_controller: bool,
    pub retry: Retry,
    /// How often it has failed and was made again, or is to be.
    pub failures: u32,
    /// What those attempts came to, taken together.
    pub so_far: Outcome,
}

/// Where a call is.
#[derive(Clone, Debug)]
pub(super) enum Place {
    Waiting,
    Here {
        serve: ServeId,
        chosen: Chosen,
    },
    /// With the call's id on the link: a fresh one each time that a call is sent.
    Away {
        wire: Wire,
        chosen: Chosen,
    },
    /// An errand: it went over the link; or it is done here, and is being written down.
    Asked {
        wire: Option<Wire>,
        process: ProcessName,
    },
}

/// Whom a call went to.
#[derive(Clone, Debug)]
pub(super) struct Chosen {
    pub peer: Peer,
    pub process: ProcessName,
    pub callback: CallbackName,
    pub fingerprint: Fingerprint,
    /// Whether it counts among the calls in flight to that process: not where its node tells how many those are.
    pub counts: bool,
}

impl Call {
    /// When its time comes: to begin, or to end if it has begun.
    pub fn timer(&self) -> Duration {
        if self.asleep { self.begins.min(self.deadline) } else { self.deadline }
    }

    /// Whether its receiver may see it twice.
    pub fn may_be_repeated(&self) -> bool {
        self.retry.idempotent && self.retry.attempts > 1
    }

    /// What may bring somebody to serve it: one who has the callback, or that its caller may ask others.
    pub fn waits_for(&self) -> Vec<Key> {
        let function = |name: &CallbackName| Key::Function(self.origin.tenant.clone(), name.function().into());
        self.callbacks.iter().map(function).chain(self.origin.process.map(Key::Caller)).collect()
    }

    /// The name for errors.
    pub fn callback(&self) -> String {
        match (&self.place, self.callbacks.first()) {
            (Place::Here { chosen, .. } | Place::Away { chosen, .. }, _) => self.origin.told(&chosen.callback),
            (Place::Waiting | Place::Asked { .. }, Some(first)) => self.origin.told(first),
            (Place::Waiting | Place::Asked { .. }, None) => self.asked_for(),
        }
    }
}

/// No process serves its own calls.
fn not_by_itself(call: Box<Call>) -> Result<Box<Call>, CallError> {
    let own = |receiver: &&ProcessName| call.origin.is(receiver);
    match call.receiver.as_ref().filter(own) {
        Some(receiver) => Err(outcome::own_receiver(receiver)),
        None => Ok(call),
    }
}

/// What one hop gives to the next of the time that is left.
pub(super) fn time_for_next_hop(left: Duration) -> Duration {
    left.saturating_sub((left / MARGIN_DIVISOR).min(MAX_MARGIN))
}

impl Node {
    pub(super) fn call(&mut self, token: Token, request: Box<CallRequest>) {
        if let Some(call) = self.users_call(token, request) {
            self.begin_call(token, call);
        }
    }

    /// A call of the user that may be made; one that may not has ended.
    pub(super) fn users_call(&mut self, token: Token, request: Box<CallRequest>) -> Option<Box<Call>> {
        let (callbacks, flows) = (request.callbacks.clone(), request.flows());
        match self.admit_call(Owner::User(token), request).and_then(not_by_itself) {
            Ok(call) => {
                if !flows.is_empty() {
                    self.open_made(token, &call);
                    self.open_writers(StreamCall::Made(token), &flows);
                }
                Some(call)
            }
            Err(mut error) => {
                error.callback = callbacks.first().map(ToString::to_string).unwrap_or_default();
                self.refuse_writers(StreamCall::Made(token), &flows, &error);
                self.outputs.push_back(Output::CallDone { token, result: Err(error) });
                None
            }
        }
    }

    pub(super) fn begin_call(&mut self, token: Token, call: Box<Call>) {
        let id = self.enter_call(token, call);
        self.place_call(id);
    }

    /// A call that the user is to hear of counts from now on.
    pub(super) fn enter_call(&mut self, token: Token, call: Box<Call>) -> CallKey {
        let parent = call.origin.parent;
        let id = self.add_call(call);
        self.requests.insert(token, Request::Call(id));
        self.note_below(parent, Request::Call(id));
        id
    }

    /// Makes a call of a request, or of a gather's what its legs are made of. The name of the callback is left to be filled
    /// into an error: it is not written out for nothing.
    pub(super) fn admit_call(&self, owner: Owner, request: Box<CallRequest>) -> Result<Box<Call>, CallError> {
        if self.requests.len().max(self.calls.len()) >= MAX_OPEN_REQUESTS {
            return Err(outcome::too_many_requests(String::new()));
        }
        let Asker { mut origin, hop, most, chain, abandoned } = self.asker(&request.caller, request.when_abandoned)?;
        origin = origin.looking_into(request.tenant.clone());
        let begins = self.deadline(request.eta);
        let mut deadline = begins + request.timeout.min(MAX_TIMEOUT);
        if request.answer == Answer::Result {
            // What nobody waits for may take longer than the call that it is made for.
            deadline = deadline.min(most);
        }
        if chain.len() >= MAX_CHAIN {
            return Err(outcome::too_deep());
        }
        let chain = chain::of(chain.iter().cloned().chain([hop]));
        if request.args.len() > self.config.max_payload_bytes {
            return Err(outcome::arguments_too_large(request.args.len(), self.config.max_payload_bytes));
        }
        if deadline <= begins {
            return Err(outcome::no_time_left());
        }
        if self.draining && (origin.parent.is_none() || begins > self.now) {
            return Err(outcome::shutting_down(String::new()));
        }
        let flows = request.flows();
        outcome::check_streams(request.mode, &flows, request.answer, String::new())?;
        self.may_open(flows.len(), "")?;
        // A stream that was begun cannot be written again.
        let retry = if flows.is_empty() { request.retry } else { Retry::NEVER };
        if request.answer == Answer::Sent {
            // Nobody waits for it, so nobody's end is its end.
            origin.parent = None;
        }
        Ok(Box::new(Call {
            owner,
            origin,
            callbacks: request.callbacks,
            accepts: request.accepts,
            signature: request.signature,
            receiver: request.receiver,
            args: request.args,
            timeout: deadline.saturating_sub(begins) + request.spent,
            own_time: request.timeout.min(MAX_TIMEOUT),
            own_end: begins + request.timeout.min(MAX_TIMEOUT),
            flows,
            mode: request.mode,
            deadline,
            begins,
            asleep: begins > self.now,
            answer: request.answer,
            wait_ready: request.wait_ready,
            when_abandoned: request.when_abandoned,
            abandoned,
            chain,
            errand: Errand::Run,
            place: Place::Waiting,
            placements: 0,
            by_controller: false,
            retry,
            failures: 0,
            so_far: Outcome::NotRun,
        }))
    }

    /// A call counts from now on.
    pub(super) fn add_call(&mut self, call: Box<Call>) -> CallKey {
        self.last_call += 1;
        let id = CallKey(self.last_call);
        self.deadlines.set(call.timer(), Request::Call(id));
        if call.asleep {
            self.waiting.add(Request::Call(id), Vec::new);
        }
        self.abandoned_calls += usize::from(call.abandoned);
        self.calls.insert(id, call);
        id
    }

    /// Whatever is made for a call that is served here ends with it.
    pub(super) fn note_below(&mut self, parent: Option<ServeId>, request: Request) {
        if let Some(parent) = parent.and_then(|parent| self.serves.get_mut(&parent)) {
            parent.below.insert(request);
        }
    }

    /// How much time a call has that is placed now; with streams, from each progress on.
    pub(super) fn time_left(&self, call: &Call) -> Duration {
        if call.flows.is_empty() {
            return call.deadline.saturating_sub(self.now);
        }
        let above = call.origin.parent.and_then(|parent| self.serves.get(&parent));
        above.map_or(call.own_time, |above| call.own_time.min(self.time_below(above)))
    }

    /// When a call is overdue: of one with streams, unless there is progress in them or in what it is made for.
    pub(super) fn time_of_call(&self, call: &Call) -> Duration {
        let streams = match call.owner {
            Owner::User(token) => self.exchanges.get(&StreamCall::Made(token)),
            Owner::Gather(_) => None,
        };
        let own = streams.map_or(call.own_end, Exchange::deadline);
        let above = call.origin.parent.and_then(|parent| self.serves.get(&parent)).map(|above| self.time_of(above));
        match (above, streams) {
            (Some(above), _) => own.min(above),
            (None, Some(_)) => own,
            (None, None) => call.deadline,
        }
    }
}
