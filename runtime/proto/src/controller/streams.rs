//! The streams of relayed calls.
//!
//! Their frames go from one link to the other with the call's other id, payloads untouched, but for errors, which are
//! read: who got what cannot be read would not know whose fault it is. How much may be on its way is between the two
//! ends. Nothing is dropped while both ends are there; where one has no room, the call is broken off.
//!
//! Who speaks of a stream that the call does not have, or of one after his own last word, loses his link, as whoever says
//! something senseless does: passed on, it would take the room that the other end's node has for others.

use std::collections::BTreeSet;

use super::Controller;
use super::relay::readable;
use crate::error::code;
use crate::frame::{Frame, Header, Side, StreamRef};
use crate::id::{CallId, LinkId};
use crate::session::LinkFault;
use crate::stream::most_chunk_bytes;

/// What the two sides of a call have said of its streams.
#[derive(Debug, Default)]
pub(super) struct Talk {
    /// How many the caller writes, and the callee.
    written: (usize, usize),
    /// Who has said his last word: which side, whether as the writer, of which stream.
    ended: BTreeSet<(Side, bool, u32)>,
}

impl Talk {
    /// That of a call with so many streams in its arguments.
    pub fn of(streams: usize) -> Self {
        Self { written: (streams, 0), ended: BTreeSet::new() }
    }

    /// So many are in the result.
    pub fn answered(&mut self, streams: usize) {
        self.written.1 = streams;
    }

    /// What every honest node keeps to.
    fn take(&mut self, header: &Header, stream: StreamRef) -> Result<(), LinkFault> {
        let StreamRef { from, number, .. } = stream;
        let writes = matches!(header, Header::Items { .. } | Header::Want { .. } | Header::End { .. });
        let is_last = matches!(header, Header::End { .. } | Header::Done { .. } | Header::Halt { .. });
        let written = if writes == (from == Side::Caller) { self.written.0 } else { self.written.1 };
        let kind = header.kind();
        if usize::try_from(number).is_ok_and(|number| number >= written) {
            return Err(LinkFault::Broken(format!("{kind} for the stream {number}, which the call does not have")));
        }
        let key = (from, writes, number);
        let is_late = if is_last { !self.ended.insert(key) } else { self.ended.contains(&key) };
        match is_late {
            true => Err(LinkFault::Broken(format!("{kind} for the stream {number} after the last word"))),
            false => Ok(()),
        }
    }
}

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
        let count = if let Header::Items { count, .. } = &frame.header { *count } else { 1 };
        let Some(stream) = frame.header.stream_mut().copied() else { return Ok(()) };
        let Way::To(to, id, relay) = self.way(link, stream)? else { return Ok(()) };
        if let Some(relay) = self.relays.get_mut(&relay) {
            relay.talk.take(&frame.header, stream)?;
        }
        if let Some(stream) = frame.header.stream_mut() {
            stream.call = id;
        }
        if self.member_mut(to).is_some_and(|member| bytes > most_chunk_bytes(count, member.max_payload_bytes)) {
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
