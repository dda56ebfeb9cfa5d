//! What the link gives back since it is full.
//!
//! | the frame is of | what becomes of it |
//! |---|---|
//! | a call | it did not run |
//! | a result | its caller gets an error in its place: it ran, and failed |
//! | a stream | its call is broken off, at both ends |
//! | anything else | it cannot be missed: the link is closed |

use super::{Node, Via, Wire, outcome};
use crate::call::Retry;
use crate::error::CallError;
use crate::frame::{Frame, Header, Side, StreamRef};
use crate::id::{ProcessName, ServeId};
use crate::session::LinkFault;

impl Node {
    pub(super) fn not_sent(&mut self, via: Via, frame: Frame) {
        let wire = |id| Wire { via, id };
        match frame.header {
            _ if !self.is_open(via) => {}
            Header::Call { id, .. } => self.call_not_sent(wire(id)),
            Header::Reply { id, process, open, .. } => self.reply_not_sent(wire(id), process.as_ref(), open),
            Header::Items { stream, .. }
            | Header::End { stream, .. }
            | Header::Grant { stream, .. }
            | Header::Done { stream }
            | Header::Halt { stream }
            | Header::Want { stream, .. } => self.stream_not_sent(via, stream),
            header => self.close_faulty(via, &LinkFault::Clogged(header.kind())),
        }
    }

    fn call_not_sent(&mut self, wire: Wire) {
        if let Some((id, chosen)) = self.come_back(wire) {
            let callback = self.callback_of(id, chosen);
            self.finish_call(id, Err(outcome::link_full(wire.via, callback)));
        }
    }

    /// The caller is told instead that there is no room for the result. A call that goes on does so for nobody.
    fn reply_not_sent(&mut self, wire: Wire, process: Option<&ProcessName>, goes_on: bool) {
        let error = outcome::link_full_of_results();
        let error = process.map_or(error.clone(), |process| error.at(process.as_str()));
        self.fail_in_place(wire, &error, goes_on);
    }

    fn stream_not_sent(&mut self, via: Via, stream: StreamRef) {
        let (wire, error) = (Wire { via, id: stream.call }, outcome::link_full_of_streams());
        match stream.from {
            Side::Caller => self.break_off_made(wire, error),
            Side::Callee => {
                let Some(serve) = self.incoming.get(&wire).copied() else { return };
                self.break_off_served(wire, serve, &error);
            }
        }
    }

    /// A call that is served goes on for nobody, and the caller is told.
    pub(super) fn break_off_served(&mut self, wire: Wire, serve: ServeId, error: &CallError) {
        if self.is_unanswered(serve) {
            self.fail_in_place(wire, error, true);
        } else {
            // Its end, which follows, tells the caller that nothing more comes.
            self.cancel_serve_for(serve, error);
        }
    }

    /// A call of this node ends, and the callee is told that nobody waits.
    fn break_off_made(&mut self, wire: Wire, error: CallError) {
        if let Some(id) = self.away.get(&wire).copied() {
            let Some(call) = self.calls.get_mut(&id) else { return };
            call.retry = Retry::NEVER;
            let error = CallError { callback: call.callback(), ..error };
            self.stop_below(id);
            self.finish_call(id, Err(error));
        } else if let Some(call) = self.wires.get(&wire).copied()
            && let Some(serve) = self.end_exchange(call, &error)
        {
            self.cancel_serve(serve);
        }
    }

    /// Says that a call failed, in the place of the frame that was not sent: what follows on it may wait to be sent
    /// already. One that goes on does so for nobody.
    fn fail_in_place(&mut self, wire: Wire, error: &CallError, goes_on: bool) {
        let behind = std::mem::take(&mut self.outputs);
        self.fail_incoming(wire, error, goes_on);
        self.outputs.extend(behind);
        if let Some(serve) = self.incoming.get(&wire).copied() {
            self.cancel_serve_for(serve, error);
        }
    }
}
