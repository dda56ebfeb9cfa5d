//! The streams of relayed calls.
//!
//! Their frames go from one link to the other with the call's other id, payloads untouched, but for errors, which are
//! read: who got what cannot be read would not know whose fault it is. How much may be on its way is between the two
//! ends. Nothing is dropped while both ends are there; where one has no room, the call is broken off.

use super::Controller;
use super::relay::readable;
use crate::error::code;
use crate::frame::{Frame, Side, StreamRef};
use crate::id::{CallId, LinkId};
use crate::session::LinkFault;

/// Where a frame of a stream goes.
enum Way {
    /// To this link, by its id of the call, for a relay of this number.
    To(LinkId, CallId, CallId),
    /// Nowhere: the call is over at this controller, which the frame has crossed.
    Crossed,
}

impl Controller {
    pub(super) fn relay_stream(&mut self, link: LinkId, mut frame: Frame) -> Result<(), LinkFault> {
        if frame.header.has_error() && !frame.payload.is_empty() {
            readable(&frame)?;
        }
        let bytes = frame.payload.len() as u64;
        let Some(stream) = frame.header.stream_mut() else { return Ok(()) };
        let Way::To(to, id, relay) = self.way(link, *stream)? else { return Ok(()) };
        stream.call = id;
        if self.member_mut(to).is_some_and(|member| bytes > member.max_payload_bytes) {
            self.break_off(
                relay,
                code::PAYLOAD_TOO_LARGE,
                "an item of a stream is larger than its reader's node takes",
            );
            return Ok(());
        }
        self.send(to, frame);
        Ok(())
    }

    /// The link that a stream's items were to go to has no room for them: the stream has lost them.
    pub(super) fn items_not_sent(&mut self, link: LinkId, stream: StreamRef) {
        let relay = match stream.from {
            Side::Caller => Some(stream.call),
            Side::Callee => self.member_mut(link).and_then(|member| member.calls.get(&stream.call).copied()),
        };
        if let Some(relay) = relay {
            self.break_off(relay, code::OVERLOADED, "the link to the reader of a stream is full");
        }
    }

    fn way(&mut self, link: LinkId, stream: StreamRef) -> Result<Way, LinkFault> {
        let id = stream.call;
        let unknown = || Err(LinkFault::Broken(format!("a stream of the call {}, which was never made", id.0)));
        match stream.from {
            Side::Caller => {
                let Some(member) = self.member_mut(link) else { return Ok(Way::Crossed) };
                let Some(relay) = member.calls.get(&id).copied() else {
                    return if member.last_call.is_some_and(|last| id <= last) { Ok(Way::Crossed) } else { unknown() };
                };
                let callee = self.relays.get(&relay).map(|relay| relay.ends().0);
                Ok(callee.map_or(Way::Crossed, |callee| Way::To(callee, relay, relay)))
            }
            Side::Callee => match self.relays.get(&id).map(|relay| relay.ends()) {
                Some((callee, _)) if callee != link => {
                    Err(LinkFault::Broken(format!("a stream of the call {}, which was not given to it", id.0)))
                }
                Some((_, Some((caller, caller_id)))) => Ok(Way::To(caller, caller_id, id)),
                Some((_, None)) => Ok(Way::Crossed),
                None if id.0 <= self.last_relay => Ok(Way::Crossed),
                None => unknown(),
            },
        }
    }
}
