//! What is asked of the driver: each request becomes a command for the node, and who asked waits under its token.

use daffi_proto::node::{Command, Input};

use super::super::asked::Asker;
use super::super::handle::Request;
use super::core::Core;

impl Core {
    /// Takes requests for one turn.
    pub(super) fn take_requests(&mut self) {
        while self.has_turn()
            && let Some(request) = self.requests_left.pop_front()
        {
            self.take_request(request);
            self.carry_out();
        }
    }

    pub(super) fn take_request(&mut self, request: Request) {
        let command = match request {
            Request::AddProcess { spec, service, reply } => {
                let token = self.asked.next_token();
                self.asked.insert(token, Asker::Add(service, reply));
                Command::AddProcess { token, spec }
            }
            Request::RemoveProcess(process) => {
                self.services.remove(&process);
                Command::RemoveProcess(process)
            }
            Request::Call { token, request, ports, reply } => {
                self.asked.insert(token, Asker::Call(reply));
                self.tell(Input::Command(Command::Call { token, request }));
                return self.add_writers(ports);
            }
            Request::Gather { token, request, reply } => {
                self.asked.insert(token, Asker::Gather(reply));
                Command::Gather { token, request }
            }
            Request::Schedule { token, request, reply } => {
                self.asked.insert(token, Asker::Tasks(reply));
                Command::Schedule { token, request }
            }
            Request::Tasks { token, request, reply } => {
                self.asked.insert(token, Asker::Tasks(reply));
                Command::Tasks { token, request }
            }
            Request::Resolve { token, request, reply } => {
                self.asked.insert(token, Asker::Resolve(reply));
                Command::Resolve { token, request }
            }
            Request::Wait { token, caller, what, timeout, reply } => {
                self.asked.insert(token, Asker::Wait(reply));
                Command::Wait { token, caller, what, timeout }
            }
            Request::List { token, tenant, detail, reply } => {
                self.asked.insert(token, Asker::List(reply));
                Command::List { token, tenant, detail }
            }
            Request::Shared { token, from, into, reply } => {
                self.asked.insert(token, Asker::List(reply));
                Command::Shared { token, from, into }
            }
            Request::Watch { token, tenant, events } => {
                self.asked.insert(token, Asker::Watch(events));
                Command::Watch { token, tenant }
            }
            Request::Cancel(token) => {
                self.asked.forget(token);
                Command::Cancel(token)
            }
            Request::Answered { id, error } => Command::Answered { id, error },
            Request::Replied { id, result, channels, ports } => {
                self.tell(Input::Command(Command::Replied { id, result, channels }));
                return self.add_writers(ports);
            }
            Request::Served { id, result } => {
                self.serving.remove(&id);
                Command::Served { id, result }
            }
            Request::TasksSaved { process, changes, result } => Command::TasksSaved { process, changes, result },
            Request::Load { process, load } => Command::Load { process, load },
            Request::Usage { process, usage } => Command::Usage { process, usage },
            Request::Drain { reply } => {
                if self.drained {
                    let _ = reply.send(());
                } else {
                    self.drains.push(reply);
                }
                Command::Drain
            }
            Request::Leave { reply } => {
                self.news().leaving();
                self.leaves.push(reply);
                Command::Leave
            }
            Request::All(requests) => {
                for request in requests {
                    self.take_request(request);
                    self.carry_all();
                }
                return;
            }
        };
        self.tell(Input::Command(command));
    }
}
