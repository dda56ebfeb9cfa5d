//! Calls between nodes.
//!
//! ```text
//!   caller's link: Call 7 ──▶ relay 9 ──▶ Call 9 :callee's link
//!                  Reply 7 ◀── relay 9 ◀── Reply 9                both forget it
//!                  Reply 7 ◀── relay 9 ◀── Reply 9, open          with both, until Ended 9, which is passed on
//!                  Cancel 7 ─▶ relay 9, without a caller ─▶ Cancel 9
//!                              relay 9 ◀── Reply, Fail or Ended 9
//!                  Accepted 7 ◀── relay 9 ◀── Accepted 9         without a caller, until Ended 9
//!                  Fail 7  ◀── relay 9 ◀── Fail 9, runs on        without a caller, until Ended 9
//! ```
//!
//! A relay lives until the callee says that the call is over or the callee's link ends, also where nobody waits any
//! more. The caller's node keeps the deadline (it cancels), so that there are no timers here.

use bytes::Bytes;

use super::links::Member;
use super::names::Entry;
use super::streams::Talk;
use super::{Controller, MAX_CALLS_PER_LINK, MAX_STREAMS_PER_LINK, Output};
use crate::call::{Answer, Hop, MAX_CHAIN};
use crate::error::{CallError, MAX_ERROR_BYTES, code};
use crate::frame::{Frame, Header, Target};
use crate::id::{CallId, EntryId, GroupId, LinkId, ProcessName, RepeatKey, TenantName};
use crate::registry::Choice;
use crate::session::LinkFault;
use crate::stream::{Flow, Flows};
use crate::value::MAX_CHANNELS;

/// A call on its way.
#[derive(Debug)]
pub(super) struct Relay {
    /// Who waits for the answer, or has it and the call goes on, and his id of it; nobody once he has given up or gone.
    pub caller: Option<(LinkId, CallId)>,
    callee: LinkId,
    entry: EntryId,
    pub process: ProcessName,
    /// Of a call that runs a callback, and counts as in flight: which. None of a request to the process's tasks.
    pub group: Option<GroupId>,
    /// Whether the callee has given its answer, and the call goes on.
    answered: bool,
    /// How many streams it has, as the links count them.
    streams: usize,
    /// What was said of them.
    pub talk: Talk,
}

/// A process, and which callback of it in which group; none where its tasks are asked for.
type Chosen = (EntryId, Option<GroupId>, Option<u32>);

impl Relay {
    /// Where the call is served, and the caller with his id of it.
    pub fn ends(&self) -> (LinkId, Option<(LinkId, CallId)>) {
        (self.callee, self.caller)
    }
}

/// What every honest node keeps to.
fn check_channels(channels: &[Flow]) -> Result<(), LinkFault> {
    let (streams, most) = (channels.len(), MAX_CHANNELS as usize);
    match streams > most {
        true => Err(LinkFault::Broken(format!("{streams} streams in a value, {most} are taken"))),
        false => Ok(()),
    }
}

/// Whether a frame that says so holds an error.
pub(super) fn readable(frame: &Frame) -> Result<(), LinkFault> {
    let bytes = frame.payload.len();
    if bytes > MAX_ERROR_BYTES {
        return Err(LinkFault::Broken(format!("an error of {bytes} bytes, the limit is {MAX_ERROR_BYTES}")));
    }
    frame.decode_payload::<CallError>()?;
    Ok(())
}

/// The tenant that a call is made in; none of a client, who may be in any of his link's.
fn caller_tenant(chain: &[Hop]) -> Option<&TenantName> {
    Some(&chain.last()?.process.as_ref()?.tenant)
}

impl Controller {
    pub(super) fn relay_call(&mut self, link: LinkId, header: Header, payload: Bytes) -> Result<(), LinkFault> {
        let Header::Call { id, target, timeout_ms, chain, answer, mode, channels, key } = header else { return Ok(()) };
        self.check_call(link, id, &chain, key)?;
        check_channels(&channels)?;
        if self.draining && chain.len() == 1 {
            let message = "the controller is shutting down and passes on no new calls";
            if answer != Answer::Sent {
                self.fail(link, id, &CallError::not_run(code::DRAINING, message, ""));
            }
            return Ok(());
        }
        let (process, group, place) =
            match self.choose(link, caller_tenant(&chain), target, payload.len(), channels.len())? {
                Ok(chosen) => chosen,
                // Who does not wait does not know the call any more.
                Err(_) if answer == Answer::Sent => return Ok(()),
                Err(error) => {
                    self.fail(link, id, &error);
                    return Ok(());
                }
            };
        let entry = process;
        let Some(seat) = self.entries.get(&entry) else { return Ok(()) };
        let (callee, number, process) = (seat.link, seat.number, seat.process.name.clone());
        self.last_relay += 1;
        let relay = CallId(self.last_relay);
        let caller = (answer != Answer::Sent).then_some((link, id));
        self.relays.insert(
            relay,
            Relay {
                caller,
                callee,
                entry,
                process,
                group,
                answered: false,
                streams: 0,
                talk: Talk::of(channels.len()),
            },
        );
        if group.is_some() {
            self.registry.began(entry);
        }
        if caller.is_some()
            && let Some(member) = self.member_mut(link)
        {
            member.calls.insert(id, relay);
        }
        if let Some(member) = self.member_mut(callee) {
            member.serving.insert(relay);
        }
        self.note_streams(relay, channels.len());
        let target = place.map_or(Target::TasksHere(number), |place| Target::Callback(number, place));
        let header = Header::Call { id: relay, target, timeout_ms, chain, answer, mode, channels, key };
        self.send(callee, Frame::with_payload(header, payload));
        Ok(())
    }

    /// What every honest node keeps to.
    fn check_call(&mut self, link: LinkId, id: CallId, chain: &[Hop], key: Option<RepeatKey>) -> Result<(), LinkFault> {
        let broken = |what: String| Err(LinkFault::Broken(what));
        let Some(hop) = chain.last().filter(|_| chain.len() <= MAX_CHAIN) else {
            return broken(format!("a chain of {} calls, 1 to {MAX_CHAIN} are taken", chain.len()));
        };
        if let Some(process) = &hop.process {
            let entry = self.holders.get(process).and_then(|entry| self.entries.get(entry));
            if entry.is_none_or(|entry| entry.link != link) {
                return broken(format!("a call in the name of the process {}, which is not its own", process.name));
            }
        }
        let Some(member) = self.member_mut(link) else { return Ok(()) };
        if key.is_some_and(|key| key.node != member.mark) {
            return broken("a call with a key of another node".to_owned());
        }
        if member.calls.contains_key(&id) {
            return broken(format!("the call id {} is used twice", id.0));
        }
        member.last_call = member.last_call.max(Some(id));
        Ok(())
    }

    /// The process for a call, and the callback: the outer error is the link's, the inner one the call's. What is neither
    /// of the caller's tenant nor shared with it is passed over as what is not there: nobody can tell one from the other.
    fn choose(
        &mut self,
        link: LinkId,
        tenant: Option<&TenantName>,
        target: Target,
        bytes: usize,
        streams: usize,
    ) -> Result<Result<Chosen, CallError>, LinkFault> {
        let (group, pin) = match target {
            Target::Any(group) => (Some(group), None),
            Target::Process(entry, group) => (Some(group), Some(entry)),
            Target::Tasks(entry) => (None, Some(entry)),
            Target::Callback(..) | Target::TasksHere(_) | Target::Direct(..) => {
                return Err(LinkFault::Broken("a call to a process by its number".to_owned()));
            }
        };
        // The caller's node knows the name, and fills it in.
        let not_run = |code, message: &str| Ok(Err(CallError::not_run(code, message, "")));
        let entries = &self.entries;
        let caller = self.links.get(&link).and_then(|link| link.member.as_ref());
        let name = group.and_then(|group| self.registry.group(group)).map(|group| &group.name);
        let open = |entry: &Entry| caller.is_some_and(|member| member.may_call(tenant, entry, name));
        let elsewhere = |entry: &Entry| entry.link != link && open(entry);
        let callable = |id: EntryId| entries.get(&id).is_some_and(elsewhere);
        let called = |choice: Choice<EntryId>| (choice.process, Some(choice.group), Some(choice.callback));
        let chosen: Option<Chosen> = match (group, pin) {
            (Some(group), None) => self.registry.best(group, callable).map(called),
            (Some(group), Some(entry)) => self.registry.pinned(group, entry).map(called),
            (None, pin) => pin.map(|entry| (entry, None, None)),
        };
        let Some(chosen) = chosen.filter(|(entry, ..)| callable(*entry)) else {
            return match pin {
                None => not_run(code::NO_SUCH_CALLBACK, "the last process that had the callback has just left"),
                Some(_) => not_run(code::NO_SUCH_PROCESS, "the receiver has just left the mesh"),
            };
        };
        let callee = self.entries.get(&chosen.0).and_then(|entry| self.links.get(&entry.link));
        let callee = callee.and_then(|link| link.member.as_ref());
        if callee.is_none_or(|member| bytes as u64 > member.max_payload_bytes) {
            return not_run(code::PAYLOAD_TOO_LARGE, "the arguments are larger than the receiver's node takes");
        }
        let full = |member: &Member| member.serving.len() >= MAX_CALLS_PER_LINK;
        if callee.is_some_and(full) || caller.is_some_and(|member| member.calls.len() >= MAX_CALLS_PER_LINK) {
            return not_run(code::OVERLOADED, "too many calls are in flight between these nodes: try again later");
        }
        let full = |member: &Member| streams > 0 && member.streams + streams > MAX_STREAMS_PER_LINK;
        if callee.is_some_and(full) || caller.is_some_and(full) {
            return not_run(code::OVERLOADED, "too many streams are open between these nodes: try again later");
        }
        Ok(Ok(chosen))
    }

    /// The answer; of a call that goes on with the streams in its result.
    pub(super) fn relay_reply(
        &mut self,
        link: LinkId,
        id: CallId,
        goes_on: Option<Flows>,
        payload: Bytes,
    ) -> Result<(), LinkFault> {
        self.check_unanswered(id)?;
        let open = goes_on.is_some();
        let channels = goes_on.unwrap_or_default();
        check_channels(&channels)?;
        let (caller, process, group) = if open {
            let relay = self.served_by(link, id)?;
            relay.answered = true;
            relay.talk.answered(channels.len());
            (relay.caller, relay.process.clone(), relay.group)
        } else {
            let Relay { caller, process, group, .. } = self.take_relay(link, id)?;
            (caller, process, group)
        };
        let Some((caller, caller_id)) = caller else { return Ok(()) };
        let refused = self.member_mut(caller).and_then(|member| {
            if payload.len() as u64 > member.max_payload_bytes {
                Some((code::PAYLOAD_TOO_LARGE, "the result is larger than the caller's node takes"))
            } else if !channels.is_empty() && member.streams + channels.len() > MAX_STREAMS_PER_LINK {
                Some((code::OVERLOADED, "too many streams are open at the caller's node"))
            } else {
                None
            }
        });
        if let Some((code, message)) = refused {
            if open {
                self.part(id);
            }
            let error = CallError::failed(code, message, self.callback(group));
            self.fail(caller, caller_id, &error.at(process.as_str()));
            return Ok(());
        }
        self.note_streams(id, channels.len());
        let header = Header::Reply { id: caller_id, process: Some(process), open, channels };
        self.send(caller, Frame::with_payload(header, payload));
        Ok(())
    }

    /// The caller waits no more, since he is told that it failed: the callee is told so too.
    pub(super) fn part(&mut self, id: CallId) {
        if let Some(caller) = self.relays.get(&id).map(|relay| relay.caller) {
            self.forget_call(caller);
            self.abandon(id, false);
        }
    }

    /// The callee has the call, and whoever made it waits for no more.
    pub(super) fn relay_accepted(&mut self, link: LinkId, id: CallId) -> Result<(), LinkFault> {
        self.check_unanswered(id)?;
        let process = Some(self.served_by(link, id)?.process.clone());
        if let Some((caller, id)) = self.answer_relay(link, id)? {
            self.send(caller, Frame::new(Header::Accepted { id, process }));
        }
        Ok(())
    }

    pub(super) fn relay_fail(
        &mut self,
        link: LinkId,
        id: CallId,
        runs_on: bool,
        payload: Bytes,
    ) -> Result<(), LinkFault> {
        self.check_unanswered(id)?;
        let frame = Frame::with_payload(Header::Fail { id, runs_on: false }, payload);
        // The caller's node takes it for the controller's word: what it could not read would be laid to this side.
        if let Err(fault) = readable(&frame) {
            let relay = self.take_relay(link, id)?;
            self.fail_relay(relay, code::INTERNAL, "its node answered with an error that cannot be read");
            return Err(fault);
        }
        let caller = if runs_on { self.answer_relay(link, id)? } else { self.take_relay(link, id)?.caller };
        if let Some((caller, id)) = caller {
            self.send(caller, Frame { header: Header::Fail { id, runs_on: false }, ..frame });
        }
        Ok(())
    }

    pub(super) fn relay_ended(&mut self, link: LinkId, id: CallId) -> Result<(), LinkFault> {
        let relay = self.take_relay(link, id)?;
        if let Some((caller, id)) = relay.caller.filter(|_| relay.answered) {
            self.send(caller, Frame::new(Header::Ended { id }));
        } else if relay.caller.is_some() {
            // Neither cancelled nor answered: the caller must not wait for an answer that will not come.
            self.fail_relay(relay, code::INTERNAL, "the receiver's node dropped the call");
            return Err(LinkFault::Broken(format!("the call {} ended without an answer", id.0)));
        }
        Ok(())
    }

    /// Nobody waits any more: the callee is told, and the relay stays until it says that the call is over.
    pub(super) fn relay_cancel(&mut self, link: LinkId, id: CallId) {
        let Some(member) = self.member_mut(link) else { return };
        // None: it was answered, and the answer is on its way; or it found no room in its node's queue.
        if let Some(relay) = member.calls.remove(&id) {
            self.abandon(relay, false);
        }
    }

    /// A link ended, lost or with a goodbye: who waits for an answer from it gets his error, what it asked for is cancelled.
    pub(super) fn end_relays(&mut self, member: &Member, lost: bool) {
        for id in &member.serving {
            self.forget_streams(*id);
            let Some(relay) = self.relays.remove(id) else { continue };
            self.count_out(&relay);
            self.forget_call(relay.caller);
            self.fail_relay(relay, code::LINK_LOST, "the link to its node broke while it had the call");
        }
        for relay in member.calls.values() {
            self.abandon(*relay, lost);
        }
    }

    /// Tells all nodes that new calls find no way; those below a call in flight do, since it may need them to finish.
    pub(super) fn begin_drain(&mut self) {
        if std::mem::replace(&mut self.draining, true) {
            return;
        }
        let joined = self.links.iter().filter(|(_, link)| link.member.is_some());
        let joined: Vec<LinkId> = joined.map(|(link, _)| *link).collect();
        for link in joined {
            self.send(link, Frame::new(Header::Drain));
        }
    }

    /// A cancelled call may still run, and has nobody who waits for it.
    pub(super) fn check_drained(&mut self) {
        let mut members = self.links.values().filter_map(|link| link.member.as_ref());
        if self.draining && !self.drained_told && members.all(|member| member.calls.is_empty()) {
            self.drained_told = true;
            self.outputs.push_back(Output::Drained);
        }
    }

    fn abandon(&mut self, id: CallId, lost: bool) {
        self.forget_streams(id);
        let Some(relay) = self.relays.get_mut(&id) else { return };
        relay.caller = None;
        let callee = relay.callee;
        self.send(callee, Frame::new(Header::Cancel { id, lost }));
    }

    fn check_unanswered(&self, id: CallId) -> Result<(), LinkFault> {
        match self.relays.get(&id) {
            Some(relay) if relay.answered => Err(LinkFault::Broken(format!("the call {} is answered twice", id.0))),
            _ => Ok(()),
        }
    }

    /// The relay of a call that this link's node serves.
    fn served_by(&mut self, link: LinkId, id: CallId) -> Result<&mut Relay, LinkFault> {
        let relay = self.relays.get_mut(&id).filter(|relay| relay.callee == link);
        relay.ok_or_else(|| LinkFault::Broken(format!("the call {} is answered, and was not given to it", id.0)))
    }

    /// So many more streams of a call are open.
    fn note_streams(&mut self, id: CallId, streams: usize) {
        let Some(relay) = self.relays.get_mut(&id).filter(|_| streams > 0) else { return };
        relay.streams += streams;
        let (callee, caller) = relay.ends();
        for link in caller.map(|(link, _)| link).into_iter().chain([callee]) {
            if let Some(member) = self.member_mut(link) {
                member.streams += streams;
            }
        }
    }

    /// The streams of a call are over, while both of its ends are still known.
    fn forget_streams(&mut self, id: CallId) {
        let Some(relay) = self.relays.get_mut(&id) else { return };
        let streams = std::mem::take(&mut relay.streams);
        let (callee, caller) = relay.ends();
        for link in caller.map(|(link, _)| link).into_iter().chain([callee]) {
            if let Some(member) = self.member_mut(link) {
                member.streams = member.streams.saturating_sub(streams);
            }
        }
    }

    /// The callee has answered, and the callback runs on: whoever waited, waits no more.
    fn answer_relay(&mut self, link: LinkId, id: CallId) -> Result<Option<(LinkId, CallId)>, LinkFault> {
        // Of its own calls alone may a node say so.
        self.served_by(link, id)?;
        self.forget_streams(id);
        let relay = self.served_by(link, id)?;
        relay.answered = true;
        let caller = relay.caller.take();
        self.forget_call(caller);
        Ok(caller)
    }

    /// Takes out a relay that is over at its callee.
    pub(super) fn take_relay(&mut self, link: LinkId, id: CallId) -> Result<Relay, LinkFault> {
        self.served_by(link, id)?;
        self.forget_streams(id);
        let Some(relay) = self.relays.remove(&id) else {
            return Err(LinkFault::Broken(format!("the call {} is over twice", id.0)));
        };
        self.count_out(&relay);
        if let Some(member) = self.member_mut(link) {
            member.serving.remove(&id);
        }
        self.forget_call(relay.caller);
        Ok(relay)
    }

    /// A call is in flight no more.
    fn count_out(&mut self, relay: &Relay) {
        if relay.group.is_some() {
            self.registry.ended(relay.entry);
        }
    }

    /// The caller's own call is over.
    fn forget_call(&mut self, caller: Option<(LinkId, CallId)>) {
        if let Some((link, id)) = caller
            && let Some(member) = self.member_mut(link)
        {
            member.calls.remove(&id);
        }
    }

    /// Tells the caller that nobody knows what became of his call.
    fn fail_relay(&mut self, relay: Relay, code: &str, what: &str) {
        let Some((caller, id)) = relay.caller else { return };
        let message = format!("process {:?}: {what}; it may or may not have run", relay.process.as_str());
        let error = CallError::unknown(code, message, self.callback(relay.group)).at(relay.process.as_str());
        self.fail(caller, id, &error);
    }

    pub(super) fn fail(&mut self, link: LinkId, id: CallId, error: &CallError) {
        self.send(link, Frame::with_payload(Header::Fail { id, runs_on: false }, Frame::encode_payload(error)));
    }

    /// The name for an error; empty, for the caller's node to fill in, where the group has gone or there is none.
    pub(super) fn callback(&self, group: Option<GroupId>) -> String {
        group.and_then(|group| self.registry.group(group)).map(|group| group.name.to_string()).unwrap_or_default()
    }

    pub(super) fn member_mut(&mut self, link: LinkId) -> Option<&mut Member> {
        self.links.get_mut(&link)?.member.as_mut()
    }
}
