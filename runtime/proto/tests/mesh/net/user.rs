//! What the user of a node does: he notes what comes out of it, and serves the calls that come.

use std::time::Duration;

use daffi_proto::call::{Answer, CallRequest, Incoming, ServeResult};
use daffi_proto::error::{CallError, code};
use daffi_proto::id::{ServeId, Token};
use daffi_proto::node::{self, Command};
use daffi_proto::schedule::Save;
use daffi_proto::stream::StreamCall;

use super::{Behaviour, Delivery, Net, Running};

impl Net {
    pub(super) fn node_output(&mut self, node: usize, output: node::Output) {
        let runtime = &mut self.nodes[node];
        match output {
            node::Output::Send { via: node::Via::Controller, frame } => {
                let Some(link) = runtime.link else { return };
                if !self.transmit(link, true, &frame) {
                    let clock = self.clock();
                    self.nodes[node].node.handle(clock, crate::net::not_sent(frame));
                }
            }
            node::Output::Send { via, frame } => {
                if !self.send_directly((node, via), &frame) {
                    let clock = self.clock();
                    self.nodes[node].node.handle(clock, node::Input::NotSent { via, frame });
                }
            }
            node::Output::Dial { link, at, identity } => self.dial_directly(node, link, &at, identity.as_ref()),
            node::Output::CloseDirect { via, reason } => {
                runtime.log.push(format!("direct link closed: {reason}"));
                self.close_directly((node, via), &reason);
            }
            node::Output::CloseLink { reason, again } => {
                runtime.log.push(format!("close: {reason}"));
                if let Some(link) = runtime.link.take() {
                    self.hang_up(link, false, &reason);
                }
                if again {
                    self.later(node);
                }
            }
            node::Output::Connected => {
                runtime.backoff.reset();
                runtime.log.push("connected".to_owned());
            }
            node::Output::Disconnected { .. } => runtime.log.push("disconnected".to_owned()),
            node::Output::Refused { code, message } => runtime.log.push(format!("refused: {code}: {message}")),
            node::Output::NameHeld { message, .. } => runtime.log.push(format!("held: {message}")),
            node::Output::Waits { why, .. } => runtime.log.push(format!("waits: {why}")),
            node::Output::Drained => runtime.log.push("drained".to_owned()),
            node::Output::ProcessAdded { token, result } => drop(runtime.added.insert(token, result)),
            node::Output::CancelServe(id) => self.unwanted(node, id),
            node::Output::CallDone { token, result } => {
                if let Ok(reply) = &result {
                    runtime.open_readers(StreamCall::Made(token), &reply.channels);
                }
                runtime.ended.insert(token, self.now);
                assert!(runtime.calls.insert(token, result).is_none(), "a call ended twice");
            }
            node::Output::GatherEntry { token, entry } => {
                assert!(!runtime.gathers.contains_key(&token), "an entry after the end");
                runtime.entries.entry(token).or_default().push(entry);
            }
            node::Output::GatherDone { token, result } => {
                runtime.ended.insert(token, self.now);
                assert!(runtime.gathers.insert(token, result).is_none(), "a gather ended twice");
            }
            node::Output::Resolved { token, result } => {
                runtime.ended.insert(token, self.now);
                assert!(runtime.resolved.insert(token, result).is_none(), "a resolve ended twice");
            }
            node::Output::WaitDone { token, result } => {
                runtime.ended.insert(token, self.now);
                assert!(runtime.waits.insert(token, result).is_none(), "a wait ended twice");
            }
            node::Output::TasksDone { token, result } => {
                runtime.ended.insert(token, self.now);
                assert!(runtime.tasks.insert(token, result).is_none(), "a question about tasks ended twice");
            }
            node::Output::SaveTasks { process, save, changes, .. } => {
                let last = matches!(save, Save::Table(_));
                let before = runtime.saves.insert(process, (save, changes));
                assert!(before.is_none() || last, "more than one is on its way");
            }
            node::Output::TaskTrouble { task, trouble } => runtime.log.push(format!("{}: {trouble:?}", task.process)),
            node::Output::Processes { token, processes } => drop(runtime.lists.insert(token, processes)),
            node::Output::Membership { token, event } => {
                runtime.members.entry(token).or_default().push(event);
            }
            node::Output::WatchRefused { error, .. } => runtime.log.push(format!("watch refused: {error}")),
            node::Output::Stream { id, event } => self.streamed(node, id, event),
            node::Output::Serve(incoming) => self.serve(node, incoming),
        }
    }

    /// Makes a call. Where a process of the node itself serves it, every second one that takes no time is over at once.
    pub fn make(&mut self, node: usize, token: Token, request: CallRequest) {
        let clock = self.clock();
        if let Some((offer, incoming)) = self.nodes[node].node.offer(clock, token, request) {
            match self.served_at_once(node, &incoming).filter(|_| token.0.is_multiple_of(2)) {
                Some(result) => {
                    let runtime = &mut self.nodes[node];
                    runtime.answered.insert(incoming.id);
                    runtime.served.push(incoming);
                    if let Some(reply) = runtime.node.offer_over(clock, offer, result) {
                        runtime.ended.insert(token, self.now);
                        assert!(runtime.calls.insert(token, Ok(reply)).is_none(), "a call ended twice");
                    }
                }
                None => {
                    self.nodes[node].node.offer_pending(clock, offer);
                    self.serve(node, incoming);
                }
            }
        }
        self.carry_out(node);
    }

    fn behaviour(&self, node: usize, incoming: &Incoming) -> Behaviour {
        self.nodes[node].behaviours.get(&incoming.process).cloned().unwrap_or(Behaviour::Echo(Duration::ZERO))
    }

    fn served_at_once(&self, node: usize, incoming: &Incoming) -> Option<ServeResult> {
        match self.behaviour(node, incoming) {
            Behaviour::Echo(Duration::ZERO) => Some(Ok(incoming.args.clone())),
            Behaviour::Fail(error) => Some(Err(error)),
            Behaviour::Echo(_) | Behaviour::Pool { .. } | Behaviour::Hold => None,
        }
    }

    fn serve(&mut self, node: usize, incoming: Incoming) {
        let behaviour = self.behaviour(node, &incoming);
        let runtime = &mut self.nodes[node];
        let (id, args) = (incoming.id, incoming.args.clone());
        runtime.open_readers(StreamCall::Served(id), &incoming.channels);
        if !matches!(behaviour, Behaviour::Hold) {
            runtime.answered.insert(id);
        }
        let (deadline, link, incoming_answer) = (incoming.deadline, runtime.link, incoming.answer);
        runtime.running.insert(id, Running { incoming: incoming.clone(), link });
        runtime.served.push(incoming);
        if incoming_answer == Answer::Accepted && !matches!(behaviour, Behaviour::Fail(_)) {
            self.command(node, Command::Accepted(id));
        }
        match behaviour {
            Behaviour::Pool { takes, kills } => {
                self.put(self.now + takes, Delivery::Answer { node, id, result: Ok(args) });
                self.put(deadline, Delivery::Deadline { node, id, kills });
            }
            Behaviour::Echo(after) => self.put(self.now + after, Delivery::Answer { node, id, result: Ok(args) }),
            Behaviour::Fail(error) => self.put(self.now, Delivery::Answer { node, id, result: Err(error) }),
            Behaviour::Hold => {}
        }
    }

    /// Nobody waits for a call any more.
    fn unwanted(&mut self, node: usize, id: ServeId) {
        let runtime = &mut self.nodes[node];
        runtime.cancelled.push(id);
        let behaviour = runtime.running.get(&id).map(|running| runtime.behaviours.get(&running.incoming.process));
        if let Some(Some(Behaviour::Pool { kills: true, .. })) = behaviour {
            let error = CallError::failed(code::CANCELLED, "stopped by its pool", "");
            self.put(self.now, Delivery::Answer { node, id, result: Err(error) });
        }
    }

    /// The deadline of a call that a pool serves.
    pub(super) fn overdue(&mut self, node: usize, id: ServeId, kills: bool) {
        if kills {
            self.end(node, id, Err(CallError::failed(code::DEADLINE_EXCEEDED, "stopped by its pool", "")));
        } else if self.nodes[node].running.contains_key(&id) {
            let error = CallError::unknown(code::DEADLINE_EXCEEDED, "it runs on", "");
            self.command(node, Command::Answered { id, error });
        }
    }

    /// A call that a node's user works on is over, unless it was before.
    pub(super) fn end(&mut self, node: usize, id: ServeId, result: ServeResult) {
        if self.nodes[node].running.remove(&id).is_some() {
            self.command(node, Command::Served { id, result });
        }
    }
}
