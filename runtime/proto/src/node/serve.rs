//! Calls that processes of this node serve.
//!
//! ```text
//!   from a call of this node, a Call over the link, or a scheduled task
//!     └──▶ Serve ──Served──▶ the caller's answer
//!            ├──Accepted──▶ a caller who waits for no more ─────────────Served──▶ dropped (Ended over the link)
//!            ├──Answered──▶ the caller's answer, and it runs on ─────────Served──▶ dropped (Ended over the link)
//!            └──CancelServe──▶ nobody waits, the calls below end ────────Served──▶ dropped (Ended over the link)
//! ```
//!
//! A served call stays until the user tells that it is over, whether or not somebody waits: the counts of calls in
//! flight are those of calls that really run or are queued.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::{CallKey, MAX_SERVED_CALLS, Node, Output, Peer, Request, outcome};
use crate::call::{Answer, Hop, Incoming, ServeResult};
use crate::error::{CallError, Outcome};
use crate::frame::{Frame, Header, Target};
use crate::id::{CallId, LocalId, ProcessRef, ServeId};
use crate::schedule::{RunNumber, TaskNumber};
use crate::session::LinkFault;

/// A call that is served.
#[derive(Debug)]
pub(super) struct Served {
    caller: AnswerTo,
    process: LocalId,
    pub deadline: Duration,
    pub chain: Arc<[Hop]>,
    pub wish: Wish,
    answer: Answer,
    /// What a task's run has come to, where it runs on.
    verdict: Option<CallError>,
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
    /// The controller, by its id.
    Link(CallId),
    /// A scheduled task of its process: it is a run of that.
    Task { task: TaskNumber, run: RunNumber },
    /// Nobody any more.
    Nobody,
}

impl Node {
    /// Gives a call of this node to a process of this node.
    #[expect(clippy::too_many_arguments, reason = "all that an incoming call is")]
    pub(super) fn serve_here(
        &mut self,
        call: CallKey,
        process: LocalId,
        callback: u32,
        args: Bytes,
        caller: Option<ProcessRef>,
        chain: Arc<[Hop]>,
        deadline: Duration,
        answer: Answer,
    ) -> ServeId {
        let id = self.next_serve();
        let incoming =
            Incoming { id, process, callback, args, caller, chain, deadline, answer, channels: Arc::from([]) };
        let caller = if answer == Answer::Sent { AnswerTo::Nobody } else { AnswerTo::Call(call) };
        self.begin_serve(caller, incoming);
        id
    }

    /// A call came over the link; an error of it closes the link, an error of the call is answered.
    pub(super) fn take_call(
        &mut self,
        id: CallId,
        target: Target,
        timeout_ms: u64,
        chain: Arc<[Hop]>,
        answer: Answer,
        args: Bytes,
    ) -> Result<(), LinkFault> {
        if let Some(up) = self.link.up_mut() {
            if up.last_incoming.is_some_and(|last| id <= last) {
                return Err(LinkFault::Broken(format!("the call id {} is used twice", id.0)));
            }
            up.last_incoming = Some(id);
        }
        let (number, callback) = match target {
            Target::Callback(number, callback) => (number, callback),
            Target::TasksHere(number) => {
                self.take_task_op(id, LocalId(number), timeout_ms, &args);
                return Ok(());
            }
            Target::Any(_) | Target::Process(..) | Target::Tasks(_) => {
                return Err(LinkFault::Broken("a call that names no process of this node".to_owned()));
            }
        };
        let process = LocalId(number);
        if let Err(error) = self.may_serve(process, callback, timeout_ms) {
            self.fail_incoming(id, &error, false);
            return Ok(());
        }
        let serve = self.next_serve();
        let caller = chain.last().and_then(|hop| hop.process.clone());
        let deadline = self.deadline(Duration::from_millis(timeout_ms));
        self.incoming.insert(id, serve);
        let incoming =
            Incoming { id: serve, process, callback, args, caller, chain, deadline, answer, channels: Arc::from([]) };
        self.begin_serve(AnswerTo::Link(id), incoming);
        Ok(())
    }

    fn may_serve(&self, process: LocalId, callback: u32, timeout_ms: u64) -> Result<(), CallError> {
        let record = self.mesh.get(Peer::Local(process));
        let Some(record) = record else { return Err(outcome::receiver_left("")) };
        let name = &record.process.name;
        let Some(callback) = record.callbacks.get(callback as usize).map(|callback| callback.name.to_string()) else {
            return Err(outcome::internal("the controller named a callback that the process does not have", ""));
        };
        if self.draining {
            Err(outcome::receiver_drains(name, callback))
        } else if self.serves.len() >= MAX_SERVED_CALLS {
            Err(outcome::node_full(name, callback))
        } else if timeout_ms == 0 {
            Err(outcome::late(name, callback))
        } else {
            Ok(())
        }
    }

    pub(super) fn next_serve(&mut self) -> ServeId {
        self.last_serve += 1;
        ServeId(self.last_serve)
    }

    pub(super) fn begin_serve(&mut self, caller: AnswerTo, incoming: Incoming) {
        let served = Served {
            caller,
            process: incoming.process,
            deadline: incoming.deadline,
            chain: incoming.chain.clone(),
            wish: if incoming.answer == Answer::Sent { Wish::Detached } else { Wish::Wanted },
            answer: incoming.answer,
            verdict: None,
            below: BTreeSet::new(),
        };
        self.serves.insert(incoming.id, served);
        self.wanted_serves += 1;
        self.mesh.began(Peer::Local(incoming.process));
        self.note_serving(incoming.process, caller, |serving| *serving += 1);
        self.outputs.push_back(Output::Serve(incoming));
    }

    /// The process has the call: a caller who waits for no more is told.
    pub(super) fn accepted(&mut self, id: ServeId) {
        let Some(served) = self.serves.get_mut(&id) else { return };
        if served.wish != Wish::Wanted || served.answer != Answer::Accepted {
            return;
        }
        served.wish = Wish::Detached;
        match served.caller {
            AnswerTo::Nobody | AnswerTo::Task { .. } => {}
            AnswerTo::Call(call) => {
                served.caller = AnswerTo::Nobody;
                self.call_served(call, Ok(Bytes::new()));
            }
            AnswerTo::Link(call) => {
                let process = self.locals.get(&served.process).map(|local| local.process.name.clone());
                self.send(Frame::new(Header::Accepted { id: call, process }));
            }
        }
    }

    /// The caller is told, and the call runs on.
    pub(super) fn answered(&mut self, id: ServeId, error: CallError) {
        let Some(served) = self.serves.get_mut(&id) else { return };
        let told = match served.wish {
            Wish::Wanted => false,
            Wish::Detached => true,
            Wish::Answered | Wish::Cancelled => return,
        };
        served.wish = Wish::Answered;
        self.wanted_serves -= 1;
        if told {
            return;
        }
        match served.caller {
            AnswerTo::Nobody => {}
            AnswerTo::Task { .. } => served.verdict = Some(error),
            AnswerTo::Call(call) => {
                served.caller = AnswerTo::Nobody;
                self.call_served(call, Err(error));
            }
            AnswerTo::Link(call) => self.fail_incoming(call, &error, true),
        }
    }

    /// A call is over.
    pub(super) fn served(&mut self, id: ServeId, result: ServeResult) {
        let Some(served) = self.serves.remove(&id) else { return };
        let name = self.locals.get(&served.process).map(|local| local.process.name.clone());
        self.mesh.ended(Peer::Local(served.process));
        let wanted = served.wish == Wish::Wanted;
        if wanted || served.wish == Wish::Detached {
            self.wanted_serves -= 1;
        }
        let result = match (served.answer, result) {
            // It was taken and is over before that could be told. A refusal is not what it came to.
            (Answer::Accepted, Err(error)) if error.outcome != Outcome::NotRun => Ok(Bytes::new()),
            (Answer::Accepted, Ok(_)) => Ok(Bytes::new()),
            (_, result) => result,
        };
        let limit = self.config.max_payload_bytes;
        match served.caller {
            AnswerTo::Nobody => {}
            AnswerTo::Task { task, run } => {
                let result = served.verdict.map_or(result.map(drop), Err);
                self.run_ended(served.process, task, run, result);
            }
            AnswerTo::Call(call) => {
                let result = result.and_then(|bytes| outcome::within_limit(bytes, limit, name.as_ref()));
                self.call_served(call, result);
            }
            AnswerTo::Link(call) => {
                self.incoming.remove(&call);
                let theirs = self.link.up().map_or(u64::MAX, |up| up.max_payload_bytes);
                let limit = limit.min(usize::try_from(theirs).unwrap_or(usize::MAX));
                match result.and_then(|bytes| outcome::within_limit(bytes, limit, name.as_ref())) {
                    _ if !wanted => self.send(Frame::new(Header::Ended { id: call })),
                    Ok(bytes) => {
                        self.send(Frame::with_payload(Header::Reply { id: call, process: name }, bytes));
                    }
                    Err(error) => self.fail_incoming(call, &error, false),
                }
            }
        }
        self.note_serving(served.process, served.caller, |serving| *serving = serving.saturating_sub(1));
        self.forget_if_over(served.process);
    }

    /// Counts a call of a process that began or is over.
    fn note_serving(&mut self, process: LocalId, caller: AnswerTo, count: impl Fn(&mut usize)) {
        let Some(local) = self.locals.get_mut(&process) else { return };
        count(&mut local.serving);
        match caller {
            AnswerTo::Link(_) => count(&mut local.relayed),
            AnswerTo::Call(_) | AnswerTo::Task { .. } | AnswerTo::Nobody => self.apart_changed(process),
        }
    }

    pub(super) fn fail_incoming(&mut self, id: CallId, error: &CallError, runs_on: bool) {
        let payload = Frame::encode_payload(&error.within_bounds());
        self.send(Frame::with_payload(Header::Fail { id, runs_on }, payload));
    }

    pub(super) fn take_cancel(&mut self, id: CallId) {
        // A call that is answered already: the answer and the cancellation crossed.
        if let Some(serve) = self.incoming.get(&id).copied() {
            self.cancel_serve(serve);
        }
    }

    /// The link is lost: nobody waits for what came over it. Those who never did miss nothing.
    pub(super) fn cancel_incoming(&mut self) {
        for serve in std::mem::take(&mut self.incoming).into_values() {
            if self.serves.get(&serve).is_some_and(|served| served.wish != Wish::Detached) {
                self.cancel_serve(serve);
            }
            if let Some(served) = self.serves.get_mut(&serve) {
                served.caller = AnswerTo::Nobody;
            }
        }
    }

    /// Nobody waits for this call: the tree of calls below it ends, but for those that are to be finished.
    pub(super) fn cancel_serve(&mut self, id: ServeId) {
        let mut open = vec![id];
        while let Some(id) = open.pop() {
            let Some(served) = self.serves.get_mut(&id) else { continue };
            match std::mem::replace(&mut served.wish, Wish::Cancelled) {
                Wish::Cancelled => continue,
                // Whoever serves it has told the caller, and knows.
                Wish::Answered => {}
                // Of one that is detached: its caller had given up before he was told.
                Wish::Wanted | Wish::Detached => {
                    self.wanted_serves -= 1;
                    self.outputs.push_back(Output::CancelServe(id));
                }
            }
            if let AnswerTo::Call(_) = served.caller {
                served.caller = AnswerTo::Nobody;
            }
            let below = std::mem::take(&mut served.below);
            for request in below {
                match request {
                    Request::Call(call) => open.extend(self.cancel_call_below(call)),
                    Request::Gather(gather) => open.extend(self.cancel_gather_below(gather)),
                    Request::Ask(ask) => self.cancel_ask_below(ask),
                    Request::List(_) | Request::Watch => {}
                }
            }
        }
    }
}
