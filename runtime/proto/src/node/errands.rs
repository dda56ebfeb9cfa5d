//! Requests to the tasks that a process keeps: to make one, to look at them, to cancel one.
//!
//! ```text
//!   Schedule ──▶ as a call, until somebody is chosen ─┐            ┌─ here ─▶ done ─(written down)─▶ TasksDone
//!   Tasks ─────▶ until its process is there ──────────┴─▶ errand ──┴─ Call (Tasks) over the link ──▶ Reply, Fail
//! ```
//!
//! An errand is a call that runs no callback: it waits, ends and is given up as calls are, but is nobody's call in flight,
//! and its receiver, once chosen, is the only one that can have done it.

use std::sync::Arc;

use super::calls::{Call, Owner, Place, time_for_next_hop};
use super::schedules::AnswerTo;
use super::waiting::Key;
use super::{CallKey, Node, Output, Peer, Request, Via, outcome};
use crate::call::{Answer, CallReply, CallRequest, Mode, Retry, ScheduleRequest, TasksRequest};
use crate::error::{CallError, Outcome};
use crate::frame::{Frame, Header, Target};
use crate::id::Token;
use crate::registry::process_ref;
use crate::schedule::{TaskOp, TaskPage, Terms};
use crate::stream::Flows;

/// What a call is sent for.
#[derive(Clone, Debug)]
pub(super) enum Errand {
    /// To run the callback.
    Run,
    /// To have it run so.
    Schedule(Box<Terms>),
    /// This question.
    Tasks(TaskOp),
}

impl Call {
    /// What a question is about, for errors.
    pub fn asked_for(&self) -> String {
        let process = self.receiver.as_ref().map(ToString::to_string).unwrap_or_default();
        match &self.errand {
            Errand::Tasks(TaskOp::Get(number) | TaskOp::Cancel(number)) => format!("{process}/{number}"),
            Errand::Tasks(_) | Errand::Schedule(_) | Errand::Run => process,
        }
    }
}

impl Node {
    pub(super) fn schedule(&mut self, token: Token, request: ScheduleRequest) {
        let ScheduleRequest { call, terms } = request;
        let callbacks = call.callbacks.clone();
        let call = CallRequest { answer: Answer::Result, retry: Retry::NEVER, ..call };
        let admitted = self.admit_call(Owner::User(token), Box::new(call)).and_then(|mut call| {
            if call.origin.tenant != call.origin.home {
                return Err(outcome::foreign_schedule());
            }
            let terms = terms.bounded().map_err(|error| error.into_call_error(""))?;
            call.errand = Errand::Schedule(Box::new(terms));
            Ok(call)
        });
        match admitted {
            Ok(call) => self.begin_call(token, call),
            Err(mut error) => {
                error.callback = callbacks.first().map(ToString::to_string).unwrap_or_default();
                self.outputs.push_back(Output::TasksDone { token, result: Err(error) });
            }
        }
    }

    pub(super) fn ask_for_tasks(&mut self, token: Token, request: TasksRequest) {
        let TasksRequest { caller, process, op, timeout } = request;
        let call = CallRequest { receiver: Some(process), timeout, ..CallRequest::new(caller, Arc::default()) };
        match self.admit_call(Owner::User(token), Box::new(call)) {
            Ok(mut call) => {
                call.errand = Errand::Tasks(op);
                self.begin_call(token, call);
            }
            Err(error) => self.outputs.push_back(Output::TasksDone { token, result: Err(error) }),
        }
    }

    /// Asks the process, or lets the question wait for the mesh, or ends it.
    pub(super) fn place_question(&mut self, id: CallKey) {
        let Some(call) = self.calls.get(&id) else { return };
        let (Errand::Tasks(op), Some(receiver)) = (&call.errand, &call.receiver) else { return };
        let process = process_ref(&call.origin.tenant, receiver);
        let away = self.may_go_away(&call.origin);
        let reachable = |peer: &&Peer| matches!(peer, Peer::Local(_)) || away;
        if let Some(peer) = self.mesh.named(&process).iter().rfind(reachable).copied() {
            let op = op.clone();
            self.waiting.remove(Request::Call(id));
            return self.run_errand(id, peer, op);
        }
        let may_come = !self.settled() || !away || !self.stale.named(&process).is_empty();
        if self.shut.is_none() && may_come {
            let caller = call.origin.process.map(Key::Caller);
            self.waiting.add(Request::Call(id), || caller.into_iter().chain([Key::Process(process)]).collect());
            return;
        }
        let error = self.why_unplaced(call);
        self.finish_call(id, Err(error));
    }

    /// Has it done, here or by the node of this process.
    pub(super) fn run_errand(&mut self, id: CallKey, peer: Peer, op: TaskOp) {
        let wire = self.next_wire(Via::Controller);
        let Some(call) = self.calls.get_mut(&id) else { return };
        let Some(process) = self.mesh.get(peer).map(|process| process.process.name.clone()) else { return };
        let entry = match peer {
            Peer::Local(local) => {
                call.place = Place::Asked { wire: None, process };
                return self.do_task_op(local, op, AnswerTo::Call(id));
            }
            Peer::Remote(entry) => entry,
        };
        let payload = Frame::encode_payload(&op);
        let limit = self.link.up().map_or(0, |up| up.max_payload_bytes);
        if payload.len() as u64 > limit {
            let error = outcome::arguments_too_large(payload.len(), usize::try_from(limit).unwrap_or(usize::MAX));
            let callback = call.callback();
            return self.finish_call(id, Err(CallError { callback, ..error }));
        }
        call.place = Place::Asked { wire: Some(wire), process };
        let left = time_for_next_hop(call.deadline.saturating_sub(self.now));
        let timeout_ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
        let (chain, target) = (call.chain.clone(), Target::Tasks(entry));
        self.away.insert(wire, id);
        let (answer, mode, channels) = (Answer::Result, Mode::Whole, Flows::default());
        let header = Header::Call { id: wire.id, target, timeout_ms, chain, answer, mode, channels, key: None };
        self.send(Frame::with_payload(header, payload));
    }

    /// The answer to an errand came, from here or afar.
    pub(super) fn errand_done(&mut self, id: CallKey, answer: &[u8]) {
        let Some(call) = self.calls.get(&id) else { return };
        let callback = call.callback();
        let read = Frame::decode_bytes::<TaskPage>("Reply", answer);
        let result = read.map_err(|error| outcome::garbled(&error.to_string(), callback));
        if let (Owner::User(token), Some(_)) = (call.owner, self.take_call_out(id)) {
            self.outputs.push_back(Output::TasksDone { token, result });
        }
    }

    /// An errand ended without an answer to read.
    pub(super) fn errand_failed(&mut self, token: Token, result: Result<CallReply, CallError>) {
        let mut error = match result {
            Err(error) => error,
            Ok(reply) => outcome::internal("an errand was answered as a call", reply.process.as_str()),
        };
        if error.outcome == Outcome::Unknown {
            error.message.push_str("; look at the scheduled tasks to see");
        }
        self.outputs.push_back(Output::TasksDone { token, result: Err(error) });
    }
}
