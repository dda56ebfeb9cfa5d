//! Questions to the mesh, which are answered from the replica: what does this name mean, is this process there yet?

use std::time::Duration;

use super::origin::{Asker, Origin};
use super::waiting::Key;
use super::{AskId, MAX_OPEN_REQUESTS, Node, Output, Peer, Request, outcome};
use crate::call::{Caller, ResolveRequest, Resolved, WaitFor, WhenAbandoned};
use crate::error::{CallError, Outcome};
use crate::id::{LocalId, ProcessName, Token};
use crate::name::{Lookup, Pattern, Qualified};
use crate::registry::{Found, Group, pattern_function, process_ref};

/// A question that waits for its answer.
#[derive(Debug)]
pub(super) struct Ask {
    token: Token,
    origin: Origin,
    question: Question,
    timeout: Duration,
}

#[derive(Debug)]
enum Question {
    /// What does it mean?
    Resolve { pattern: Pattern, receiver: Option<ProcessName>, wait_ready: bool },
    /// Is the process there?
    Process(ProcessName),
    /// Is the callback there?
    Callback(Pattern),
}

/// What a name means, for a resolve; nothing more than that it is there, for a wait.
type Answer = Option<Resolved>;

/// What there is to say of a question now.
enum State {
    Answered(Result<Answer, CallError>),
    /// Not there; [`Node::why_missing`] says it in words.
    Missing,
}

impl Node {
    pub(super) fn resolve(&mut self, token: Token, request: ResolveRequest) {
        let ResolveRequest { caller, pattern, receiver, timeout, spent, wait_ready } = request;
        let asked = self.asker(&caller, WhenAbandoned::Cancel).and_then(|mut asker| {
            let Qualified { tenant, pattern } =
                Qualified::parse(&pattern).map_err(|error| outcome::bad_name(&error, &pattern))?;
            asker.origin = asker.origin.looking_into(tenant);
            let own = |receiver: &&ProcessName| asker.origin.is(receiver);
            if let Some(receiver) = receiver.as_ref().filter(own) {
                return Err(outcome::own_receiver(receiver));
            }
            Ok((asker.origin, Question::Resolve { pattern, receiver, wait_ready }, asker.most))
        });
        match asked {
            Ok((origin, question, most)) => self.ask(token, origin, question, (timeout, spent), most),
            Err(error) => {
                let result = Err(CallError { callback: pattern, ..error });
                self.outputs.push_back(Output::Resolved { token, result });
            }
        }
    }

    pub(super) fn wait(&mut self, token: Token, caller: &Caller, what: WaitFor, timeout: Duration) {
        let question = match &what {
            WaitFor::Process(name) => Ok((None, Question::Process(name.clone()))),
            WaitFor::Callback(text) => Qualified::parse(text)
                .map(|asked| (asked.tenant, Question::Callback(asked.pattern)))
                .map_err(|error| outcome::bad_name(&error, text)),
        };
        let asker = self.asker(caller, WhenAbandoned::Cancel);
        match question.and_then(|question| Ok((asker?, question))) {
            Ok((Asker { origin, most, .. }, (tenant, question))) => {
                self.ask(token, origin.looking_into(tenant), question, (timeout, Duration::ZERO), most)
            }
            Err(error) => {
                let callback = match what {
                    WaitFor::Process(_) => error.callback,
                    WaitFor::Callback(text) => text,
                };
                let result = Err(CallError { callback, ..error });
                self.outputs.push_back(Output::WaitDone { token, result });
            }
        }
    }

    /// Asks, for a time of which some may have been spent before.
    fn ask(
        &mut self,
        token: Token,
        origin: Origin,
        question: Question,
        (timeout, spent): (Duration, Duration),
        most: Duration,
    ) {
        self.last_ask += 1;
        let id = AskId(self.last_ask);
        let deadline = self.deadline(timeout).min(most);
        let timeout = deadline.saturating_sub(self.now) + spent;
        let ask = Ask { token, origin, question, timeout };
        if self.requests.len() >= MAX_OPEN_REQUESTS {
            let error = outcome::too_many_requests(ask.question.text());
            self.outputs.push_back(ask.output(Err(error)));
            return;
        }
        if let Some(parent) = ask.origin.parent.and_then(|parent| self.serves.get_mut(&parent)) {
            parent.below.insert(Request::Ask(id));
        }
        self.deadlines.set(deadline, Request::Ask(id));
        self.requests.insert(token, Request::Ask(id));
        self.asks.insert(id, ask);
        self.try_ask(id);
    }

    /// Answers a question if it can be, or lets it wait.
    pub(super) fn try_ask(&mut self, id: AskId) {
        let Some(ask) = self.asks.get(&id) else { return };
        match self.look(ask) {
            State::Answered(result) => self.answer(id, result),
            State::Missing if self.may_be_answered(ask) => {
                let key = ask.key();
                self.waiting.add(Request::Ask(id), || vec![key]);
                self.watch_waiting(Request::Ask(id));
            }
            State::Missing => {
                let error = self.why_missing(ask);
                self.answer(id, Err(error));
            }
        }
    }

    /// Whether what is missing may yet come.
    fn may_be_answered(&self, ask: &Ask) -> bool {
        if self.shut.is_some() {
            return false;
        }
        let Question::Resolve { pattern, wait_ready, .. } = &ask.question else { return true };
        let found = || self.stale.find(&ask.origin.tenant, pattern, |_| true);
        *wait_ready || !self.settled() || !matches!(found(), Found::None(Lookup::NotFound))
    }

    /// The answer to a question as far as the replica knows.
    fn look(&self, ask: &Ask) -> State {
        let tenant = &ask.origin.tenant;
        match &ask.question {
            Question::Process(name) => match self.seen_by(&ask.origin).named(&process_ref(tenant, name)) {
                [] => State::Missing,
                _ => State::Answered(Ok(None)),
            },
            Question::Callback(pattern) => {
                match self.seen_by(&ask.origin).find(tenant, pattern, |group| self.qualifies(ask, group)) {
                    Found::One(_) | Found::Kinds(_) => State::Answered(Ok(None)),
                    Found::None(Lookup::NotFound) => State::Missing,
                    Found::None(lookup) => State::Answered(Err(outcome::ambiguous(&lookup, ask.origin.told(pattern)))),
                }
            }
            Question::Resolve { pattern, receiver, .. } => self.look_up(ask, pattern, receiver.as_ref()),
        }
    }

    fn look_up(&self, ask: &Ask, pattern: &Pattern, receiver: Option<&ProcessName>) -> State {
        let tenant = &ask.origin.tenant;
        if let Some(receiver) = receiver
            && self.seen_by(&ask.origin).named(&process_ref(tenant, receiver)).is_empty()
        {
            return State::Missing;
        }
        match self.seen_by(&ask.origin).find(tenant, pattern, |group| self.qualifies(ask, group)) {
            Found::One(id) => match self.seen_by(&ask.origin).group(id) {
                Some(group) => State::Answered(Ok(Some(Resolved {
                    tenant: (ask.origin.tenant != ask.origin.home).then(|| tenant.clone()),
                    callback: group.name.clone(),
                    signature: group.signature.clone(),
                    fingerprint: group.fingerprint,
                }))),
                None => State::Missing,
            },
            Found::Kinds(ids) => {
                let groups: Vec<_> = ids.iter().filter_map(|id| self.seen_by(&ask.origin).group(*id)).collect();
                let named = groups.iter().map(|group| (group.signature.as_ref(), self.one_member(ask, group)));
                State::Answered(Err(outcome::several_kinds(ask.origin.told(pattern), named)))
            }
            Found::None(Lookup::NotFound) => State::Missing,
            Found::None(lookup) => State::Answered(Err(outcome::ambiguous(&lookup, ask.origin.told(pattern)))),
        }
    }

    /// What to say of what is not there and is waited for no longer.
    fn why_missing(&self, ask: &Ask) -> CallError {
        let error = self.why_not_found(ask);
        let waited = matches!(ask.question, Question::Resolve { wait_ready: true, .. });
        if waited { outcome::waited(error, ask.timeout) } else { error }
    }

    /// Whose question for a name that is waited for still has no answer, and why.
    pub(super) fn waits_for_name(&self, id: AskId) -> Option<(LocalId, CallError)> {
        let ask = self.asks.get(&id)?;
        let Question::Resolve { wait_ready: true, .. } = &ask.question else { return None };
        Some((ask.origin.process?, self.why_not_found(ask)))
    }

    fn why_not_found(&self, ask: &Ask) -> CallError {
        let tenant = &ask.origin.tenant;
        match &ask.question {
            _ if self.shut.is_some() => self.not_connected(ask.question.text()),
            Question::Process(name) => outcome::process_did_not_come(name, ask.timeout),
            Question::Callback(pattern) => outcome::callback_did_not_come(ask.origin.told(pattern), ask.timeout),
            Question::Resolve { .. } if !self.settled() => self.not_connected(ask.question.text()),
            Question::Resolve { pattern, receiver: Some(receiver), .. } => {
                if self.seen_by(&ask.origin).named(&process_ref(tenant, receiver)).is_empty() {
                    return self.no_such_process(&ask.origin, receiver, ask.origin.told(pattern));
                }
                let near = self.near(&ask.origin, pattern, |group| self.qualifies(ask, group));
                outcome::receiver_lacks(receiver, ask.origin.told(pattern), &near)
            }
            Question::Resolve { pattern, .. } if self.only_asker_has(ask, pattern) => {
                outcome::only_own(pattern.to_string())
            }
            Question::Resolve { pattern, .. } => {
                let near = self.near(&ask.origin, pattern, |group| self.qualifies(ask, group));
                outcome::no_such_callback(ask.origin.told(pattern), &near)
            }
        }
    }

    fn only_asker_has(&self, ask: &Ask, pattern: &Pattern) -> bool {
        let found = || self.seen_by(&ask.origin).find(&ask.origin.tenant, pattern, |_| true);
        ask.origin.process.is_some() && matches!(found(), Found::One(_) | Found::Kinds(_))
    }

    /// Whether a group has a member that may answer this question.
    fn qualifies(&self, ask: &Ask, group: &Group<Peer>) -> bool {
        let receiver = match &ask.question {
            Question::Resolve { receiver: Some(receiver), .. } => Some(receiver),
            Question::Resolve { .. } | Question::Process(_) | Question::Callback(_) => None,
        };
        let own = ask.origin.process.map(Peer::Local);
        let pinned = |peer: Peer| match receiver {
            Some(receiver) => {
                self.seen_by(&ask.origin).get(peer).is_some_and(|process| process.process.name == *receiver)
            }
            None => true,
        };
        group.members().iter().any(|member| Some(member.process) != own && pinned(member.process))
    }

    fn one_member(&self, ask: &Ask, group: &Group<Peer>) -> String {
        let first = group.members().first().and_then(|member| self.seen_by(&ask.origin).get(member.process));
        first.map(|process| process.process.name.to_string()).unwrap_or_default()
    }

    fn answer(&mut self, id: AskId, result: Result<Answer, CallError>) {
        if let Some(ask) = self.end_ask(id) {
            self.outputs.push_back(ask.output(result));
        }
    }

    /// Takes a question out of every table.
    pub(super) fn end_ask(&mut self, id: AskId) -> Option<Ask> {
        let ask = self.asks.remove(&id)?;
        let request = Request::Ask(id);
        self.deadlines.remove(request);
        self.requests.remove(&ask.token);
        self.waiting.remove(request);
        if let Some(parent) = ask.origin.parent.and_then(|parent| self.serves.get_mut(&parent)) {
            parent.below.remove(&request);
        }
        Some(ask)
    }

    pub(super) fn ask_overdue(&mut self, id: AskId) {
        let Some(ask) = self.asks.get(&id) else { return };
        let error = match self.look(ask) {
            State::Missing => self.why_missing(ask),
            State::Answered(Err(error)) => error,
            State::Answered(Ok(_)) => self.not_connected(ask.question.text()),
        };
        self.answer(id, Err(error));
    }

    pub(super) fn cancel_ask_below(&mut self, id: AskId) {
        let Some(text) = self.asks.get(&id).map(|ask| ask.question.text()) else { return };
        self.answer(id, Err(outcome::caller_cancelled(Outcome::NotRun, text)));
    }
}

impl Question {
    /// What was asked for, for errors.
    fn text(&self) -> String {
        match self {
            Self::Resolve { pattern, .. } | Self::Callback(pattern) => pattern.to_string(),
            Self::Process(name) => name.to_string(),
        }
    }
}

impl Ask {
    fn key(&self) -> Key {
        let tenant = &self.origin.tenant;
        match &self.question {
            Question::Resolve { pattern, .. } | Question::Callback(pattern) => {
                Key::Function(tenant.clone(), pattern_function(pattern).into())
            }
            Question::Process(name) => Key::Process(process_ref(tenant, name)),
        }
    }

    fn output(&self, result: Result<Answer, CallError>) -> Output {
        let token = self.token;
        match &self.question {
            Question::Resolve { pattern, .. } => {
                let nothing = || outcome::internal("a resolve without an answer", &pattern.to_string());
                Output::Resolved { token, result: result.and_then(|answer| answer.ok_or_else(nothing)) }
            }
            Question::Process(_) | Question::Callback(_) => Output::WaitDone { token, result: result.map(drop) },
        }
    }
}
