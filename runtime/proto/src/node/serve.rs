//! Calls that processes of this node serve.
//!
//! ```text
//!   from a call of this node, a Call over the link, or a scheduled task
//!     └──▶ Serve ──Served──▶ the caller's answer
//!            ├──Accepted──▶ a caller who waits for no more ─────────────Served──▶ dropped (Ended over the link)
//!            ├──Replied──▶ the caller's answer, and it goes on with its streams ──▶ Served, all ended ──▶ (Ended)
//!            ├──Answered──▶ the caller's answer, and it runs on ─────────Served──▶ dropped (Ended over the link)
//!            └──CancelServe──▶ nobody waits, the calls below end ────────Served──▶ dropped (Ended over the link)
//! ```
//!
//! A served call stays until the user tells that it is over, and its streams are, whether or not somebody waits: the
//! counts of calls in flight are those of calls that really run or are queued.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::repeats::Attempt;
use super::streams::Route;
use super::{CallKey, MAX_SERVED_CALLS, Node, Output, Peer, Request, Via, Wire, outcome};
use crate::call::{Answer, Hop, Incoming, MAX_TIMEOUT, Mode, ServeResult};
use crate::error::{CallError, Outcome};
use crate::frame::{Frame, Header, Target};
use crate::id::{LocalId, ProcessName, RepeatKey, ServeId, Token};
use crate::schedule::{RunNumber, TaskNumber};
use crate::session::LinkFault;
use crate::stream::{Flows, StreamCall};

/// A call that is served.
#[derive(Debug)]
pub(super) struct Served {
    pub id: ServeId,
    pub caller: AnswerTo,
    pub process: LocalId,
    pub deadline: Duration,
    /// How much time it had when it came; of a call with streams, without progress.
    pub timeout: Duration,
    pub chain: Arc<[Hop]>,
    pub wish: Wish,
    pub answer: Answer,
    /// What a task's run has come to, where it runs on.
    verdict: Option<CallError>,
    /// Whether the user has told that it is over: only its streams go on.
    pub is_done: bool,
    /// What it is known by if it comes again.
    pub repeat: Option<RepeatKey>,
    /// Until when it runs on for a caller whose link was lost.
    pub orphan_until: Option<Duration>,
    /// The requests that were made for it and are open.
    pub below: BTreeSet<Request>,
}

/// Whether somebody waits for a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// Its caller does.
    Wanted,
    /// Its caller waits for no more than that it is here ([`Answer`]), and it is to be carried out.
    Detached,
    /// Its caller has the result, and reads or writes its streams.
    Replied,
    /// Its caller has been told; it runs on, as do the calls below it, until their deadlines.
    Answered,
    /// Its caller has given up: nothing may begin for it any more.
    Cancelled,
}

/// Whom the answer, or the end, is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AnswerTo {
    /// A call of this node.
    Call(CallKey),
    /// Another node, by the call's id on the link that it came over.
    Link(Wire),
    /// A scheduled task of its process: it is a run of that.
    Task { task: TaskNumber, run: RunNumber },
    /// The call that it serves one item of.
    Item(ServeId),
    /// Nobody any more.
    Nobody,
}

impl AnswerTo {
    /// The link that the call came over, if it did and its caller still waits.
    pub fn via(self) -> Option<Via> {
        match self {
            Self::Link(wire) => Some(wire.via),
            Self::Call(_) | Self::Task { .. } | Self::Item(_) | Self::Nobody => None,
        }
    }
}

/// What is known of a call that begins to be served.
#[derive(Debug)]
pub(super) struct Serving {
    pub id: ServeId,
    pub process: LocalId,
    pub deadline: Duration,
    pub timeout: Duration,
    pub chain: Arc<[Hop]>,
    pub answer: Answer,
}

impl Serving {
    pub fn of(incoming: &Incoming, timeout: Duration) -> Self {
        let Incoming { id, process, deadline, answer, .. } = *incoming;
        Self { id, process, deadline, timeout, chain: incoming.chain.clone(), answer }
    }
}

/// How a call is to be served.
#[derive(Clone, Copy, Debug)]
pub(super) struct Way {
    pub mode: Mode,
    /// How much time it has; with streams, without progress.
    pub time: Duration,
    /// The call of this node whose streams are in it.
    pub streams_of: Option<Token>,
}

impl Node {
    /// Gives a call of this node to a process of this node. Nothing when it was refused at once: the call has ended.
    pub(super) fn serve_here(&mut self, call: CallKey, way: Way, incoming: Incoming) {
        let (id, answer) = (incoming.id, incoming.answer);
        if let Some(token) = way.streams_of {
            let (here, there) = (StreamCall::Served(id), StreamCall::Made(token));
            self.exchange(here, way.time).route = Route::Here(there);
            self.exchange(there, way.time).route = Route::Here(here);
            self.stir(there);
        }
        let caller = if answer == Answer::Sent { AnswerTo::Nobody } else { AnswerTo::Call(call) };
        self.begin(caller, way, incoming);
    }

    /// A call came over the link; an error of it closes the link, an error of the call is answered.
    pub(super) fn take_call(&mut self, header: Header, args: Bytes) -> Result<(), LinkFault> {
        let Header::Call { id, target, timeout_ms, ref chain, .. } = header else {
            return Ok(());
        };
        if self.incoming.contains_key(&Wire { via: Via::Controller, id }) {
            return Err(LinkFault::Broken(format!("the call id {} is used twice", id.0)));
        }
        let (number, callback) = match target {
            Target::Callback(number, callback) => (number, callback),
            Target::TasksHere(number) => {
                self.take_task_op(id, LocalId(number), timeout_ms, chain, &args);
                return Ok(());
            }
            Target::Any(_) | Target::Process(..) | Target::Tasks(_) | Target::Direct(..) => {
                return Err(LinkFault::Broken("a call that names no process of this node".to_owned()));
            }
        };
        self.take_checked_call(Wire { via: Via::Controller, id }, (LocalId(number), callback), header, args);
        Ok(())
    }

    /// A call came, of somebody who may make it: begins it, or answers why not.
    pub(super) fn take_checked_call(
        &mut self,
        id: Wire,
        (process, callback): (LocalId, u32),
        header: Header,
        args: Bytes,
    ) {
        let Header::Call { timeout_ms, chain, answer, mode, channels, key, .. } = header else { return };
        let is_streaming = !channels.is_empty();
        let caller = chain.last().and_then(|hop| hop.process.clone());
        // Only who waits for a result, and for nothing else, can miss it and ask again.
        let repeat = key.filter(|_| answer == Answer::Result && mode == Mode::Whole && !is_streaming);
        let repeat = repeat.map(|key| (key, Attempt::new(process, callback, caller.clone(), &args)));
        if let Some((key, attempt)) = &repeat
            && self.take_repeated(id, *key, attempt)
        {
            return;
        }
        let refused = self
            .may_serve(process, callback, timeout_ms)
            .and_then(|()| self.may_open(channels.len(), ""))
            .and_then(|()| outcome::check_streams(mode, &channels, answer, String::new()));
        if let Err(error) = refused {
            return self.fail_incoming(id, &error, false);
        }
        let serve = self.next_serve();
        let time = Duration::from_millis(timeout_ms).min(MAX_TIMEOUT);
        let deadline = self.deadline(if is_streaming { MAX_TIMEOUT } else { time });
        self.incoming.insert(id, serve);
        if is_streaming {
            self.exchange(StreamCall::Served(serve), time).route = Route::Link(id);
            self.watch_exchange(StreamCall::Served(serve));
        }
        let way = Way { mode, time, streams_of: None };
        let incoming = Incoming { id: serve, process, callback, args, caller, chain, deadline, answer, channels };
        self.begin(AnswerTo::Link(id), way, incoming);
        if let (Some((key, attempt)), Some(served)) = (repeat, self.serves.get_mut(&serve)) {
            served.repeat = Some(key);
            self.repeats.runs(key, attempt, serve);
        }
    }

    /// Begins a call in the way that it is to be served.
    fn begin(&mut self, caller: AnswerTo, way: Way, incoming: Incoming) {
        let call = StreamCall::Served(incoming.id);
        // What comes from its first item on takes the room of its process.
        if let Some(exchange) = self.exchanges.get_mut(&call) {
            exchange.process = Some(incoming.process);
        }
        if let Err(refused) = self.may_have_streams(incoming.process, way.mode, incoming.channels.len()) {
            self.note_served(caller, Serving::of(&incoming, way.time));
            return self.served(incoming.id, Err(refused));
        }
        match way.mode {
            Mode::Whole => {
                self.open_readers(call, &incoming.channels);
                self.begin_serve(caller, incoming, way.time);
            }
            Mode::Each => self.begin_once_an_item(caller, incoming, way.time),
        }
    }

    fn may_serve(&self, process: LocalId, callback: u32, timeout_ms: u64) -> Result<(), CallError> {
        let record = self.mesh.get(Peer::Local(process));
        let Some(record) = record else { return Err(outcome::receiver_left("")) };
        let name = &record.process.name;
        let Some(callback) = record.callbacks.get(callback as usize).map(|callback| &callback.name) else {
            return Err(outcome::internal("the call names a callback that the process does not have", ""));
        };
        if self.draining {
            Err(outcome::receiver_drains(name, callback.to_string()))
        } else if self.serves.len() >= MAX_SERVED_CALLS {
            Err(outcome::node_full(name, callback.to_string()))
        } else if timeout_ms == 0 {
            Err(outcome::late(name, callback.to_string()))
        } else {
            Ok(())
        }
    }

    pub(super) fn next_serve(&mut self) -> ServeId {
        self.last_serve += 1;
        ServeId(self.last_serve)
    }

    pub(super) fn begin_serve(&mut self, caller: AnswerTo, incoming: Incoming, time: Duration) {
        self.note_served(caller, Serving::of(&incoming, time));
        self.outputs.push_back(Output::Serve(incoming));
    }

    /// A call is served from now on.
    pub(super) fn note_served(&mut self, caller: AnswerTo, serving: Serving) {
        let Serving { id, process, deadline, timeout, chain, answer } = serving;
        let served = Served {
            id,
            caller,
            process,
            deadline,
            timeout,
            chain,
            wish: if answer == Answer::Sent { Wish::Detached } else { Wish::Wanted },
            answer,
            verdict: None,
            is_done: false,
            repeat: None,
            orphan_until: None,
            below: BTreeSet::new(),
        };
        self.serves.insert(id, Box::new(served));
        self.wanted_serves += 1;
        if !matches!(caller, AnswerTo::Item(_)) {
            self.began(Peer::Local(process));
        }
        self.note_serving(process, caller, |serving| *serving += 1);
    }

    /// The process has the call: a caller who waits for no more is told.
    pub(super) fn accepted(&mut self, id: ServeId) {
        let Some(served) = self.serves.get_mut(&id) else { return };
        if served.wish != Wish::Wanted || served.answer != Answer::Accepted {
            return;
        }
        served.wish = Wish::Detached;
        match served.caller {
            AnswerTo::Nobody | AnswerTo::Item(_) | AnswerTo::Task { .. } => {}
            AnswerTo::Call(call) => {
                served.caller = AnswerTo::Nobody;
                self.call_served(call, Ok(Bytes::new()));
            }
            AnswerTo::Link(call) => {
                let process = self.locals.get(&served.process).map(|local| local.process.name.clone());
                self.send_over(call.via, Frame::new(Header::Accepted { id: call.id, process }));
            }
        }
    }

    /// The caller is told, and the call runs on.
    pub(super) fn answered(&mut self, id: ServeId, error: CallError) {
        let Some(served) = self.serves.get_mut(&id) else { return };
        let told = match served.wish {
            Wish::Wanted => false,
            Wish::Detached => true,
            Wish::Answered | Wish::Cancelled | Wish::Replied => return,
        };
        served.wish = Wish::Answered;
        self.wanted_serves -= 1;
        self.forget_repeat(id);
        let Some(served) = self.serves.get_mut(&id) else { return };
        if told {
            return;
        }
        match served.caller {
            AnswerTo::Nobody => {}
            AnswerTo::Task { .. } => served.verdict = Some(error.clone()),
            AnswerTo::Item(whole) => self.item_answered(whole, Err(error.clone())),
            AnswerTo::Call(call) => {
                served.caller = AnswerTo::Nobody;
                self.call_served(call, Err(error.clone()));
            }
            AnswerTo::Link(call) => self.fail_incoming(call, &error, true),
        }
        self.cut(StreamCall::Served(id), &error);
    }

    /// A call is over, as far as its user is concerned.
    pub(super) fn served(&mut self, id: ServeId, result: ServeResult) {
        let call = StreamCall::Served(id);
        let Some(served) = self.serves.get(&id).filter(|served| !served.is_done) else { return };
        let waits = (served.wish, served.answer) == (Wish::Wanted, Answer::Result);
        match &result {
            Err(error) if waits => self.cut(call, error),
            // Its caller has his answer, and it goes on while there are streams.
            Ok(bytes) if waits && self.exchanges.contains_key(&call) => {
                self.replied(id, bytes.clone(), Flows::default())
            }
            Ok(_) | Err(_) => {}
        }
        if let Some(served) = self.serves.get_mut(&id)
            && served.wish != Wish::Wanted
            && self.exchanges.contains_key(&call)
        {
            served.is_done = true;
            return self.stir(call);
        }
        self.serve_over(id, result);
    }

    /// A call is over.
    pub(super) fn serve_over(&mut self, id: ServeId, result: ServeResult) {
        let Some(served) = self.serves.remove(&id) else { return };
        self.eaches.remove(&id);
        let name = self.locals.get(&served.process).map(|local| local.process.name.clone());
        if !matches!(served.caller, AnswerTo::Item(_)) {
            self.ended(Peer::Local(served.process));
        }
        self.keep_for_repeat(id, &served, &result);
        let wanted = served.wish == Wish::Wanted && served.orphan_until.is_none();
        if matches!(served.wish, Wish::Wanted | Wish::Detached | Wish::Replied) {
            self.wanted_serves -= 1;
        }
        let result = match (served.answer, result) {
            // It was taken and is over before that could be told. A refusal is not what it came to.
            (Answer::Accepted, Err(error)) if error.outcome != Outcome::NotRun => Ok(Bytes::new()),
            (Answer::Accepted, Ok(_)) => Ok(Bytes::new()),
            (_, result) => result,
        };
        let limit = self.result_limit(served.caller);
        let result = result.and_then(|bytes| outcome::within_limit(bytes, limit, name.as_ref()));
        match served.caller {
            AnswerTo::Nobody => {}
            AnswerTo::Task { task, run } => {
                let result = served.verdict.map_or(result.map(drop), Err);
                self.run_ended(served.process, task, run, result);
            }
            AnswerTo::Call(call) => self.call_served(call, result),
            AnswerTo::Item(whole) => {
                if wanted {
                    self.item_answered(whole, result);
                }
                self.item_over(whole);
            }
            AnswerTo::Link(call) => {
                self.incoming.remove(&call);
                if wanted {
                    self.answer_incoming(call, name, result);
                } else {
                    self.send_over(call.via, Frame::new(Header::Ended { id: call.id }));
                }
            }
        }
        self.note_serving(served.process, served.caller, |serving| *serving = serving.saturating_sub(1));
        self.forget_if_over(served.process);
    }

    /// Counts a call of a process that began or is over.
    fn note_serving(&mut self, process: LocalId, caller: AnswerTo, count: impl Fn(&mut usize)) {
        if !matches!(caller, AnswerTo::Item(_)) {
            self.busy_changed(process);
        }
        let Some(local) = self.locals.get_mut(&process) else { return };
        match caller {
            // The call that it is of counts.
            AnswerTo::Item(_) => {}
            AnswerTo::Link(Wire { via: Via::Controller, .. }) => {
                count(&mut local.serving);
                count(&mut local.relayed);
            }
            AnswerTo::Link(_) | AnswerTo::Call(_) | AnswerTo::Task { .. } | AnswerTo::Nobody => {
                count(&mut local.serving);
                self.apart_changed(process);
            }
        }
    }

    /// Tells over the link what a call came to.
    pub(super) fn answer_incoming(&mut self, id: Wire, process: Option<ProcessName>, result: ServeResult) {
        let limit = self.result_limit(AnswerTo::Link(id));
        match result.and_then(|bytes| outcome::within_limit(bytes, limit, process.as_ref())) {
            Ok(bytes) => {
                // Who has called directly knows whom.
                let process = process.filter(|_| id.via == Via::Controller);
                let header = Header::Reply { id: id.id, process, open: false, channels: Flows::default() };
                self.send_over(id.via, Frame::with_payload(header, bytes));
            }
            Err(error) => self.fail_incoming(id, &error, false),
        }
    }

    pub(super) fn fail_incoming(&mut self, id: Wire, error: &CallError, runs_on: bool) {
        let payload = Frame::encode_payload(&error.within_bounds());
        self.send_over(id.via, Frame::with_payload(Header::Fail { id: id.id, runs_on }, payload));
    }
}
