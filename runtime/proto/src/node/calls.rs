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
//! A call goes to the candidate with the fewest calls in flight that this node knows of. A remote one that is not
//! pinned is sent to the controller without saying whom, since the controller sees the calls of all nodes.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::directory::Registration;
use super::errands::Errand;
use super::origin::{Asker, Origin};
use super::roads::Passage;
use super::serve::Way;
use super::streams::Exchange;
use super::waiting::Key;
use super::{CallKey, GatherKey, MAX_OPEN_REQUESTS, Node, Output, Peer, Request, Via, Wire, outcome};
use crate::call::{Answer, CallRequest, Hop, Incoming, MAX_CHAIN, MAX_TIMEOUT, Mode, Retry, WhenAbandoned, chain};
use crate::error::{CallError, Outcome};
use crate::frame::{Frame, Header, Target};
use crate::id::{CallId, LocalId, ProcessName, ProcessRef, RepeatKey, ServeId, Token};
use crate::name::CallbackName;
use crate::registry::{Choice, process_ref};
use crate::schedule::TaskOp;
use crate::signature::Fingerprint;
use crate::stream::{Flow, StreamCall};

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
    pub flows: Arc<[Flow]>,
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
    fn may_be_repeated(&self) -> bool {
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
    pub(super) fn call(&mut self, token: Token, request: CallRequest) {
        if let Some(call) = self.users_call(token, request) {
            self.begin_call(token, call);
        }
    }

    /// A call of the user that may be made; one that may not has ended.
    pub(super) fn users_call(&mut self, token: Token, request: CallRequest) -> Option<Box<Call>> {
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
    pub(super) fn admit_call(&self, owner: Owner, request: CallRequest) -> Result<Box<Call>, CallError> {
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
        self.deadlines.insert((call.timer(), Request::Call(id)));
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
                let origin = call.origin.process;
                let serve = self.next_serve();
                if let Some(call) = self.calls.get_mut(&id) {
                    call.place = Place::Here { serve, chosen };
                }
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
