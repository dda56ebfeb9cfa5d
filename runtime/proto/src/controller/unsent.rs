//! What a full link gives back.
//!
//! A call whose frame finds no room has failed, and one that is under way is broken off at both ends, as `overloaded`: so
//! whoever lets others' frames pile up for a node costs that node neither its link nor its other calls' answers. What
//! cannot be missed has four times that room; where that is full too, the peer does not read, and its link is closed.

use std::time::Duration;

use super::Controller;
use crate::error::{CallError, code};
use crate::frame::{Frame, Header, Side, StreamRef};
use crate::id::{CallId, LinkId, ProcessName};
use crate::session::LinkFault;

impl Controller {
    pub(super) fn not_sent(&mut self, now: Duration, link: LinkId, frame: Frame) {
        if !self.links.contains_key(&link) {
            return;
        }
        match frame.header {
            Header::Call { id, .. } => self.call_not_sent(link, id),
            Header::Reply { id, process, .. } => self.reply_not_sent(link, id, process),
            Header::Items { stream, .. }
            | Header::End { stream, .. }
            | Header::Grant { stream, .. }
            | Header::Done { stream }
            | Header::Halt { stream }
            | Header::Want { stream, .. } => self.stream_not_sent(link, stream),
            header => self.shut(now, link, &LinkFault::Clogged(header.kind())),
        }
    }

    /// The callee's queue was full: the call was not sent.
    fn call_not_sent(&mut self, link: LinkId, id: CallId) {
        let Ok(relay) = self.take_relay(link, id) else { return };
        let Some((caller, caller_id)) = relay.caller else { return };
        let message = format!("the link to the process {:?} is full: try again later", relay.process.as_str());
        let error = CallError::not_run(code::OVERLOADED, message, self.callback(relay.group));
        self.fail(caller, caller_id, &error.at(relay.process.as_str()));
    }

    /// The caller's queue was full: he learns what became of his call instead of its result. One that goes on with its
    /// streams is cancelled.
    fn reply_not_sent(&mut self, link: LinkId, id: CallId, process: Option<ProcessName>) {
        let relay = self.member_mut(link).and_then(|member| member.calls.get(&id).copied());
        let group = relay.and_then(|relay| self.relays.get(&relay)?.group);
        if let Some(relay) = relay {
            self.part(relay);
        }
        // The caller's node knows the name, and fills it in where it is not known here any more.
        let message = "it ran, and the caller's link is too full for its result";
        let error = CallError::failed(code::OVERLOADED, message, self.callback(group));
        let error = process.map_or(error.clone(), |process| error.at(process.as_str()));
        self.fail(link, id, &error);
    }

    /// One end of a stream has no room for what the other one says: the stream would never come to its end.
    fn stream_not_sent(&mut self, link: LinkId, stream: StreamRef) {
        let relay = match stream.from {
            Side::Caller => Some(stream.call),
            Side::Callee => self.member_mut(link).and_then(|member| member.calls.get(&stream.call).copied()),
        };
        if let Some(relay) = relay {
            self.break_off(relay, code::OVERLOADED, "the link to one end of its streams is full");
        }
    }

    /// The call ends for its caller with this, as far as he waits, and for its callee, who is told that nobody does.
    pub(super) fn break_off(&mut self, id: CallId, code: &str, what: &str) {
        let Some(relay) = self.relays.get(&id) else { return };
        let (caller, process, group) = (relay.caller, relay.process.clone(), relay.group);
        self.part(id);
        if let Some((link, caller_id)) = caller {
            let error = CallError::unknown(code, what, self.callback(group)).at(process.as_str());
            self.fail(link, caller_id, &error);
        }
    }
}
