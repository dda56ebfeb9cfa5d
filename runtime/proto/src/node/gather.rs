//! Broadcasts: one call to every process that has a callback, and what each of them gives.
//!
//! ```text
//!   Gather ──▶ waits ──the first process has it──▶ a leg to each process ──▶ GatherEntry … ──▶ GatherDone
//!                │                                    │ value, error, its node lost, deadline, stall
//!                └── nobody, and nobody will come     └── need met or out of reach, given up: the rest is cancelled
//! ```
//!
//! Who has the callback when it begins has a leg, a call that is pinned to that stay of the process; who comes later has none. A leg waits
//! for the direct link to its node as any call does, so that it keeps its place among the calls to it. Invariants: a process has one entry at most, and exactly one where all are needed; after `GatherDone` nothing of
//! a gather is left; the caller himself has no leg.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;

use super::calls::{Call, Owner};
use super::roads::Passage;
use super::waiting::Key;
use super::{CallKey, GatherKey, MAX_OPEN_REQUESTS, Node, Output, Peer, Request, outcome};
use crate::call::{CallReply, GatherEnd, GatherEntry, GatherRequest, Need, WhenAbandoned};
use crate::error::{CallError, Outcome};
use crate::id::{ProcessName, ServeId, Token};
use crate::name::CallbackName;
use crate::registry::{Choice, Group};

/// Most processes that one broadcast goes to.
pub const MAX_BROADCAST: usize = 4096;

/// A broadcast to more processes has no direct links opened; it takes those that there are.
const MAX_ROADS_AT_ONCE: usize = 64;

/// Most bytes of all results of one broadcast together.
pub const MAX_GATHERED_BYTES: usize = 64 * 1024 * 1024;

/// A broadcast under way.
#[derive(Debug)]
pub(super) struct Gather {
    token: Token,
    /// What the legs are made of. It is never placed itself.
    pub call: Call,
    need: Need,
    stall: Option<Duration>,
    /// The legs that have no entry yet; none before it has begun.
    legs: BTreeSet<CallKey>,
    /// To whom those of them go that wait for a way.
    waiting: BTreeMap<CallKey, Choice<Peer>>,
    begun: bool,
    values: usize,
    bytes: usize,
}

/// Who has the callback now.
struct Receivers {
    legs: Vec<Choice<Peer>>,
    /// Those who have it with another signature.
    others: Vec<GatherEntry>,
}

/// Who has one name: with a signature that the caller takes, or with others only.
#[derive(Default)]
struct Holders<'a> {
    legs: BTreeMap<&'a ProcessName, (Option<&'a semver::Version>, Choice<Peer>)>,
    others: BTreeMap<&'a ProcessName, &'a Group<Peer>>,
}

impl Gather {
    /// How it ends, if what has come is enough or cannot become enough.
    fn end(&self, open: usize) -> Option<GatherEnd> {
        let (wanted, hopeless) = match self.need {
            Need::All => return (open == 0).then_some(GatherEnd::Met),
            Need::First(wanted) => (wanted as usize, open == 0),
            Need::Quorum(wanted) => (wanted as usize, self.values + open < wanted as usize),
        };
        match self.values >= wanted {
            true => Some(GatherEnd::Met),
            false => hopeless.then_some(GatherEnd::Unmet),
        }
    }
}

impl Node {
    pub(super) fn gather(&mut self, token: Token, request: GatherRequest) {
        let GatherRequest { call, need, stall } = request;
        let (callbacks, receiver) = (call.callbacks.clone(), call.receiver.clone());
        let id = GatherKey(self.last_gather + 1);
        let admitted = match &receiver {
            None if !call.flows().is_empty() => Err(outcome::no_streams_of_all(String::new())),
            None => self.admit_call(Owner::Gather(id), Box::new(call)).map(|call| *call),
            Some(receiver) => Err(outcome::receiver_of_all(receiver, String::new())),
        };
        let call = match admitted {
            Ok(call) => call,
            Err(mut error) => {
                error.callback = callbacks.first().map(ToString::to_string).unwrap_or_default();
                return self.outputs.push_back(Output::GatherDone { token, result: Err(error) });
            }
        };
        self.last_gather = id.0;
        self.requests.insert(token, Request::Gather(id));
        self.note_below(call.origin.parent, Request::Gather(id));
        let (timer, asleep) = (call.timer(), call.asleep);
        let (legs, waiting) = (BTreeSet::new(), BTreeMap::new());
        let gather = Gather { token, call, need, stall, legs, waiting, begun: false, values: 0, bytes: 0 };
        self.gathers.insert(id, gather);
        self.set_gather_timer(id, Some(timer));
        if asleep {
            self.waiting.add(Request::Gather(id), Vec::new);
        }
        self.try_gather(id);
    }

    /// Begins a gather if somebody is there, or lets it wait, or ends it.
    pub(super) fn try_gather(&mut self, id: GatherKey) {
        let Some(gather) = self.gathers.get(&id).filter(|gather| !gather.begun && !gather.call.asleep) else { return };
        let call = &gather.call;
        // Before the replica is complete a broadcast would miss those who are there.
        let complete = self.shut.is_some() || (self.settled() && self.may_go_away(&call.origin));
        let receivers = self.receivers(call);
        if complete && !receivers.legs.is_empty() {
            return self.begin_gather(id, receivers);
        }
        if self.may_come(call) {
            self.waiting.add(Request::Gather(id), || call.waits_for());
            return;
        }
        self.gather_from_nobody(id, receivers);
    }

    /// Nobody has the callback, or others of its name at most.
    fn gather_from_nobody(&mut self, id: GatherKey, receivers: Receivers) {
        let Some(gather) = self.gathers.get(&id) else { return };
        if self.settled() && !receivers.others.is_empty() {
            return self.begin_gather(id, Receivers { legs: Vec::new(), ..receivers });
        }
        let error = self.why_unplaced(&gather.call);
        self.end_gather(id, Err(error));
    }

    /// Who has the first of the call's names that anybody has with a signature that the caller takes.
    fn receivers(&self, call: &Call) -> Receivers {
        let mut mismatched = None;
        let mut chosen = None;
        for name in call.callbacks.iter() {
            let holders = self.holders(call, name);
            if !holders.legs.is_empty() {
                chosen = Some(holders);
                break;
            }
            mismatched = mismatched.or(Some(holders).filter(|holders| !holders.others.is_empty()));
        }
        let Holders { legs, others } = chosen.or(mismatched).unwrap_or_default();
        let callback = call.callback();
        let entry = |(process, group): (&ProcessName, _)| GatherEntry {
            process: process.clone(),
            result: Err(outcome::mismatched(call, &callback, group, process)),
        };
        // More than these are refused as a whole.
        let others = others.into_iter().take(MAX_BROADCAST + 1).map(entry).collect();
        Receivers { legs: legs.into_values().map(|(_, choice)| choice).collect(), others }
    }

    /// Who has one of the names: every process once, by its latest stay, with the highest version that it has.
    fn holders(&self, call: &Call, name: &CallbackName) -> Holders<'_> {
        let mut holders = Holders::default();
        // `matching` would tie the groups to the name.
        let seen = self.seen_by(&call.origin);
        let groups = seen.with_function(&call.origin.tenant, name.function());
        for (id, group) in groups.filter(|(_, group)| name.matches(&group.name)) {
            for peer in group.members().iter().map(|member| member.process) {
                let Some(process) = seen.get(peer).map(|process| &process.process) else { continue };
                let own = call.origin.process.map(Peer::Local) == Some(peer);
                if own || seen.named(process).last() != Some(&peer) {
                    continue;
                }
                if !call.accepts.contains(&group.fingerprint) {
                    holders.others.entry(&process.name).or_insert(group);
                } else if let Some(choice) = seen.pinned(id, peer) {
                    let leg = (group.name.version(), choice);
                    let best = holders.legs.entry(&process.name).or_insert(leg);
                    if best.0 < leg.0 {
                        *best = leg;
                    }
                }
            }
        }
        let legs = &holders.legs;
        holders.others.retain(|process, _| !legs.contains_key(process));
        holders
    }

    fn begin_gather(&mut self, id: GatherKey, receivers: Receivers) {
        self.waiting.remove(Request::Gather(id));
        self.set_gather_timer(id, None);
        let Some(gather) = self.gathers.get_mut(&id) else { return };
        gather.begun = true;
        let callback = gather.call.callback();
        let all = receivers.legs.len() + receivers.others.len();
        if all > MAX_BROADCAST {
            return self.end_gather(id, Err(outcome::too_many_receivers(all, callback)));
        }
        if self.calls.len() + receivers.legs.len() > MAX_OPEN_REQUESTS {
            return self.end_gather(id, Err(outcome::too_many_requests(callback)));
        }
        let (token, open) = (gather.token, receivers.legs.len());
        let entries = receivers.others.into_iter().map(|entry| Output::GatherEntry { token, entry });
        self.outputs.extend(entries);
        if let Some(end) = gather.end(open) {
            // Nothing is sent for nothing.
            return self.end_gather(id, Ok(end));
        }
        let template = gather.call.clone();
        // All before the first: one that fails at once must find the others.
        let mut legs = Vec::with_capacity(open);
        for choice in receivers.legs {
            let Some(process) = self.seen_by(&template.origin).get(choice.process) else { continue };
            let receiver = Some(process.process.name.clone());
            // The first process was waited for; a leg goes to a stay of one and to nobody else.
            let leg = self.add_call(Box::new(Call { receiver, wait_ready: false, ..template.clone() }));
            legs.push((leg, choice));
        }
        if let Some(gather) = self.gathers.get_mut(&id) {
            gather.legs = legs.iter().map(|(leg, _)| *leg).collect();
            // Each leg has its arguments.
            gather.call.args = Bytes::new();
        }
        self.restart_stall(id);
        for (leg, choice) in legs {
            self.send_leg(id, leg, choice);
        }
    }

    /// Sends a leg where it goes, or lets it wait for the way.
    fn send_leg(&mut self, id: GatherKey, leg: CallKey, choice: Choice<Peer>) {
        match self.way(leg, &choice) {
            Passage::Over(via) => self.dispatch(leg, choice, via),
            Passage::Opens(host) => {
                if let Some(gather) = self.gathers.get_mut(&id) {
                    gather.waiting.insert(leg, choice);
                    self.waiting.add(Request::Call(leg), || vec![Key::Road(host)]);
                }
            }
        }
    }

    /// A leg that waited for a way may go on.
    pub(super) fn place_leg(&mut self, id: GatherKey, leg: CallKey) {
        let choice = self.gathers.get_mut(&id).and_then(|gather| gather.waiting.remove(&leg));
        let (Some(choice), Some(call)) = (choice, self.calls.get(&leg)) else { return };
        self.waiting.remove(Request::Call(leg));
        let is_there = self.seen_by(&call.origin).get(choice.process).is_some();
        if !is_there || !self.may_go_away(&call.origin) {
            let error = outcome::receiver_left(&call.callback());
            return self.finish_call(leg, Err(error));
        }
        self.send_leg(id, leg, choice);
    }

    /// A leg is over, and in no table any more.
    pub(super) fn leg_ended(
        &mut self,
        id: GatherKey,
        leg: CallKey,
        process: ProcessName,
        mut result: Result<CallReply, CallError>,
    ) {
        let Some(gather) = self.gathers.get_mut(&id) else { return };
        gather.legs.remove(&leg);
        gather.waiting.remove(&leg);
        if let Ok(reply) = &result {
            gather.bytes += reply.result.len();
            if gather.bytes > MAX_GATHERED_BYTES {
                gather.bytes -= reply.result.len();
                result = Err(outcome::gathered_too_much(&process, gather.call.callback()));
            }
        }
        gather.values += usize::from(result.is_ok());
        let (token, end) = (gather.token, gather.end(gather.legs.len()));
        self.outputs.push_back(Output::GatherEntry { token, entry: GatherEntry { process, result } });
        match end {
            Some(end) => self.end_gather(id, Ok(end)),
            None => self.restart_stall(id),
        }
    }

    /// Whether a broadcast is worth that ways are opened for it.
    pub(super) fn opens_roads(&self, id: GatherKey) -> bool {
        self.gathers.get(&id).is_some_and(|gather| gather.legs.len() <= MAX_ROADS_AT_ONCE)
    }

    fn restart_stall(&mut self, id: GatherKey) {
        let stall = self.gathers.get(&id).and_then(|gather| gather.stall);
        if let Some(stall) = stall {
            self.set_gather_timer(id, Some(self.deadline(stall)));
        }
    }

    fn set_gather_timer(&mut self, id: GatherKey, at: Option<Duration>) {
        match at {
            Some(at) if self.gathers.contains_key(&id) => self.deadlines.set(at, Request::Gather(id)),
            Some(_) | None => self.deadlines.remove(Request::Gather(id)),
        }
    }

    /// It is to begin, did not begin in time, or nothing came for too long.
    pub(super) fn gather_overdue(&mut self, id: GatherKey) {
        let now = self.now;
        let Some(gather) = self.gathers.get_mut(&id) else { return };
        if gather.call.deadline > now && gather.call.asleep {
            gather.call.asleep = false;
            let deadline = gather.call.deadline;
            self.set_gather_timer(id, Some(deadline));
            self.waiting.remove(Request::Gather(id));
            return self.try_gather(id);
        }
        if gather.call.asleep {
            let error = CallError { callback: gather.call.callback(), ..outcome::no_time_left() };
            return self.end_gather(id, Err(error));
        }
        let Some(gather) = self.gathers.get(&id) else { return };
        if !gather.begun {
            let receivers = self.receivers(&gather.call);
            return self.gather_from_nobody(id, receivers);
        }
        let stall = gather.stall.unwrap_or_default();
        for leg in gather.legs.clone() {
            let Some(call) = self.calls.get(&leg) else { continue };
            let Some(process) = &call.receiver else { continue };
            let error = outcome::stalled(process, stall, call.callback());
            self.stop_below(leg);
            self.finish_call(leg, Err(error));
        }
    }

    /// The user gives a gather up.
    pub(super) fn give_up_gather(&mut self, id: GatherKey) {
        for serve in self.take_gather_out(id).1 {
            self.cancel_serve(serve);
        }
    }

    /// The call that a gather was made for is cancelled. Returns the served calls that are cancelled with it.
    pub(super) fn cancel_gather_below(&mut self, id: GatherKey) -> Vec<ServeId> {
        let Some(gather) = self.gathers.get_mut(&id) else { return Vec::new() };
        if gather.call.when_abandoned == WhenAbandoned::Finish {
            gather.call.abandoned = true;
            let legs = gather.legs.clone();
            return legs.into_iter().filter_map(|leg| self.cancel_call_below(leg)).collect();
        }
        let sent = if gather.begun { Outcome::Unknown } else { Outcome::NotRun };
        let error = outcome::caller_cancelled(sent, gather.call.callback());
        let (token, serves) = self.take_gather_out(id);
        self.outputs.extend(token.map(|token| Output::GatherDone { token, result: Err(error) }));
        serves
    }

    /// It is over: what is left of it is cancelled.
    pub(super) fn end_gather(&mut self, id: GatherKey, result: Result<GatherEnd, CallError>) {
        let (token, serves) = self.take_gather_out(id);
        for serve in serves {
            self.cancel_serve(serve);
        }
        self.outputs.extend(token.map(|token| Output::GatherDone { token, result }));
    }

    /// Takes a gather and its legs out of every table. Returns its token, and the calls of this node that nobody waits
    /// for now.
    fn take_gather_out(&mut self, id: GatherKey) -> (Option<Token>, Vec<ServeId>) {
        self.set_gather_timer(id, None);
        let request = Request::Gather(id);
        self.waiting.remove(request);
        let Some(gather) = self.gathers.remove(&id) else { return (None, Vec::new()) };
        self.requests.remove(&gather.token);
        if let Some(parent) = gather.call.origin.parent.and_then(|parent| self.serves.get_mut(&parent)) {
            parent.below.remove(&request);
        }
        let mut serves = Vec::new();
        for leg in gather.legs {
            serves.extend(self.let_go(leg));
            self.take_call_out(leg);
        }
        (Some(gather.token), serves)
    }
}
