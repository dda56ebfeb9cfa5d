//! The processes of a core, and the calls that are handed to them.

use std::time::Duration;

use daffi_proto::call::{Answer, Incoming, ServeResult};
use daffi_proto::error::{CallError, code};
use daffi_proto::id::{LocalId, ServeId, Token};
use daffi_proto::node::{Command, Input};
use daffi_proto::stream::StreamCall;

use super::super::super::handle::Begin;
use super::Core;

/// Guests that are polled here may take so long together before what is ready to be sent is sent.
const FLUSH_AT_LEAST_EVERY: Duration = Duration::from_millis(1);

impl Core {
    pub(super) fn process_added(&mut self, token: Token, result: Result<LocalId, CallError>) {
        let Some((service, reply)) = self.asked.take_add(token) else { return };
        if let Ok(process) = &result {
            self.services.insert(*process, service);
        }
        if let Err(Ok(process)) = reply.send(result) {
            // Whoever added it is gone, so nobody would ever take it off.
            self.services.remove(&process);
            self.tell(Input::Command(Command::RemoveProcess(process)));
        }
    }

    /// Hands a call to its process, and tells the node where it is over by then.
    pub(super) fn serve(&mut self, incoming: Incoming) {
        let (id, process, answer) = (incoming.id, incoming.process, incoming.answer);
        let served = self.hand_over(incoming);
        self.look_at_clock();
        match served {
            Some(result) => self.tell(Input::Command(Command::Served { id, result })),
            None => {
                if answer == Answer::Accepted {
                    self.tell(Input::Command(Command::Accepted(id)));
                }
                self.is_serving(id, process);
            }
        }
        // Behind this call others may wait to be served: what is ready by now must not wait for all of them.
        if self.since_flush() >= FLUSH_AT_LEAST_EVERY {
            self.flush();
        }
    }

    /// A process has a call that is not over.
    pub(super) fn is_serving(&mut self, id: ServeId, process: LocalId) {
        if let Some(service) = self.services.get(&process) {
            self.serving.insert(id, service.clone());
        }
    }

    /// Hands a call to its process. The guest may run here, for a tick of the epoch and a millisecond at most, while the turn is not over: one thing may give
    /// thousands of calls to serve.
    pub(super) fn hand_over(&mut self, incoming: Incoming) -> Option<ServeResult> {
        let id = incoming.id;
        let Some(service) = self.services.get(&incoming.process) else {
            // Taken off a moment ago; the node knows by now, or will with the next input.
            return Some(Err(CallError::not_run(code::NO_SUCH_PROCESS, "the process has left", "")));
        };
        let begin = if self.now < self.turn_ends { Begin::Here } else { Begin::Elsewhere };
        match incoming.channels.is_empty() {
            true => service.serve(incoming, begin),
            false => {
                let readers = self.streams.readers(StreamCall::Served(id), &incoming.channels);
                service.serve_streams(incoming, readers)
            }
        }
    }
}
