//! The errors of a node's requests: one line each, with what, where and what to do.

mod streams;

use std::time::Duration;

use bytes::Bytes;

pub(super) use self::streams::*;

use super::calls::Call;
use super::errands::Errand;
use super::origin::Origin;
use super::{Node, Peer, Via};
use crate::call::MAX_CHAIN;
use crate::error::{CallError, Outcome, code};
use crate::id::ProcessName;
use crate::name::{BadCallbackName, Lookup, Pattern, names_like, nearest};
use crate::registry::{Group, process_ref};
use crate::schedule::TaskId;
use crate::session::refusal;
use crate::signature::Signature;

impl Node {
    /// Why no process takes a call, and none is waited for any more.
    pub(super) fn why_unplaced(&self, call: &Call) -> CallError {
        let error = self.why_not_placed(call);
        if call.wait_ready { waited(error, call.timeout) } else { error }
    }

    /// Why no process takes it now.
    pub(super) fn why_not_placed(&self, call: &Call) -> CallError {
        let callback = call.callback();
        if self.shut.is_some() || !self.settled() {
            return self.not_connected(callback);
        }
        if self.waits_for_next_controller(call) {
            return controller_drains(callback);
        }
        if let Some(error) = self.why_held_back(call, &callback) {
            return error;
        }
        let (tenant, seen) = (&call.origin.tenant, self.seen_by(&call.origin));
        if let Some(receiver) = &call.receiver
            && seen.named(&process_ref(tenant, receiver)).is_empty()
        {
            return self.no_such_process(&call.origin, receiver, callback);
        }
        if let Errand::Tasks(_) = call.errand {
            return self.not_connected(callback);
        }
        if let Some(error) = self.why_mismatched(call, &callback) {
            return error;
        }
        if self.only_caller_has(call) {
            return only_own(callback);
        }
        let pattern = call.callbacks.first().cloned().map(Pattern::from);
        let near = pattern.map(|pattern| self.near(&call.origin, &pattern, |_| true)).unwrap_or_default();
        let wanted = nearest(&near);
        match &call.receiver {
            Some(receiver) => {
                let message = format!("the process {:?} has no callback {callback}{wanted}", receiver.as_str());
                CallError::not_run(code::NO_SUCH_CALLBACK, message, callback).at(receiver.as_str())
            }
            None => {
                let message = format!("no process has the callback {callback}{wanted}");
                CallError::not_run(code::NO_SUCH_CALLBACK, message, callback)
            }
        }
    }

    pub(super) fn not_connected(&self, callback: String) -> CallError {
        let known = self.shut.as_deref().or(self.unlinked.as_deref());
        let why = known.unwrap_or("no controller was reached in time");
        let error = CallError::not_run(code::NOT_CONNECTED, format!("not connected to a controller: {why}"), callback);
        if self.shut.is_some() { lasting(error) } else { error }
    }

    /// Others have the callback, and the caller may not call them: it is not on the mesh itself.
    fn why_held_back(&self, call: &Call, callback: &str) -> Option<CallError> {
        let caller = self.locals.get(&call.origin.process?).filter(|_| !self.may_go_away(&call.origin))?;
        let (tenant, seen) = (&call.origin.tenant, self.seen_by(&call.origin));
        let wanted = |peer: Peer| {
            let process = seen.get(peer).map(|process| &process.process.name);
            process.is_some_and(|name| call.receiver.as_ref().is_none_or(|receiver| receiver == name))
        };
        let mut groups = call.callbacks.iter().flat_map(|name| seen.matching(tenant, name));
        let own = call.origin.process.map(Peer::Local);
        groups.find(|(_, group)| {
            let mut members = group.members().iter().map(|member| member.process);
            call.accepts.contains(&group.fingerprint) && members.any(|peer| Some(peer) != own && wanted(peer))
        })?;
        let why = caller.held.as_deref().unwrap_or("the controller has not yet answered its registration");
        let message = format!("the calling process {:?} is not on the mesh: {why}", caller.process.name.as_str());
        Some(CallError::not_run(code::NOT_CONNECTED, message, callback))
    }

    /// Others have the callback with another signature only.
    fn why_mismatched(&self, call: &Call, callback: &str) -> Option<CallError> {
        let (tenant, seen) = (&call.origin.tenant, self.seen_by(&call.origin));
        let groups = call.callbacks.iter().flat_map(|name| seen.matching(tenant, name));
        let mut others = groups.filter(|(_, group)| !call.accepts.contains(&group.fingerprint));
        let (group, process) = others.find_map(|(_, group)| {
            let own = call.origin.process.map(Peer::Local);
            let named = |peer: Peer| seen.get(peer).map(|process| process.process.name.clone());
            let pinned = |name: &ProcessName| call.receiver.as_ref().is_none_or(|receiver| receiver == name);
            let members = group.members().iter().filter(|member| Some(member.process) != own);
            let process = members.filter_map(|member| named(member.process)).find(pinned)?;
            Some((group, process))
        })?;
        Some(mismatched(call, callback, group, &process))
    }

    fn only_caller_has(&self, call: &Call) -> bool {
        let (tenant, seen) = (&call.origin.tenant, self.seen_by(&call.origin));
        call.receiver.is_none()
            && call.callbacks.iter().any(|name| {
                let mut groups = seen.matching(tenant, name);
                groups.any(|(_, group)| call.accepts.contains(&group.fingerprint))
            })
    }

    pub(super) fn no_such_process(&self, origin: &Origin, receiver: &ProcessName, callback: String) -> CallError {
        let all = self.seen_by(origin).processes().filter(|(_, process)| process.process.tenant == origin.tenant);
        let near = names_like(receiver.as_str(), all.map(|(_, process)| process.process.name.as_str()));
        let message = format!("no process {:?} is on the mesh{}", receiver.as_str(), nearest(&near));
        CallError::not_run(code::NO_SUCH_PROCESS, message, callback).at(receiver.as_str())
    }
}

/// Both signatures; with their types where they would read the same without.
fn both_in_wit(ours: &Signature, theirs: &Signature) -> (String, String) {
    let short = (ours.to_wit(), theirs.to_wit());
    if short.0 == short.1 { (ours.to_wit_with_types(), theirs.to_wit_with_types()) } else { short }
}

/// The process has the callback, with a signature that the caller cannot take.
pub(super) fn mismatched(call: &Call, callback: &str, group: &Group<Peer>, process: &ProcessName) -> CallError {
    let message = match &call.signature {
        Some(signature) => {
            let (ours, theirs) = both_in_wit(signature, &group.signature);
            format!(
                "{callback} of the process {:?} has another signature: the caller has `{ours}`, the callback \
                 `{theirs}`",
                process.as_str()
            )
        }
        None => format!(
            "{callback} of the process {:?} has another signature than the caller: `{}`",
            process.as_str(),
            group.signature.to_wit_with_types()
        ),
    };
    CallError::not_run(code::SIGNATURE_MISMATCH, message, group.name.to_string()).at(process.as_str())
}

/// The error of who has waited so long for what is not there.
pub(super) fn waited(error: CallError, time: Duration) -> CallError {
    if !matches!(error.code.as_str(), code::NO_SUCH_CALLBACK | code::NO_SUCH_PROCESS) {
        return error;
    }
    let message = format!("waited {} for it: {}", seconds(time), error.message);
    CallError { message, ..error }
}

fn seconds(time: Duration) -> String {
    format!("{} s", time.as_millis() as f64 / 1000.0)
}

/// The same error, which sending the call again would not mend.
fn lasting(mut error: CallError) -> CallError {
    error.retryable = false;
    error
}

pub(super) fn name_taken(name: &ProcessName, node: &str) -> CallError {
    let message = format!("the runtime {node:?} has a process {:?} already: choose another name", name.as_str());
    CallError::not_run(refusal::NAME_TAKEN, message, "").at(name.as_str())
}

pub(super) fn bad_process(name: &ProcessName, why: &str) -> CallError {
    let message = format!("the process {:?} cannot be put on the mesh: {why}", name.as_str());
    CallError::not_run(refusal::BAD_PROCESS, message, "").at(name.as_str())
}

pub(super) fn too_many_requests(callback: String) -> CallError {
    let most = super::MAX_OPEN_REQUESTS;
    CallError::not_run(code::OVERLOADED, format!("this runtime has {most} requests open: try again later"), callback)
}

pub(super) fn foreign_schedule() -> CallError {
    let message =
        "a callback of another tenant can be called, and not be scheduled: schedule one of your own that calls it";
    CallError::not_run(code::BAD_ARGUMENTS, message, "")
}

pub(super) fn too_deep() -> CallError {
    let message = format!("this would be the call number {} below one another, {MAX_CHAIN} are allowed", MAX_CHAIN + 1);
    CallError::not_run(code::TOO_DEEP, message, "")
}

pub(super) fn arguments_too_large(bytes: usize, limit: usize) -> CallError {
    let message = format!("the arguments have {bytes} bytes, {limit} are allowed");
    CallError::not_run(code::PAYLOAD_TOO_LARGE, message, "")
}

/// A result, if it is not too large.
pub(super) fn within_limit(result: Bytes, limit: usize, process: Option<&ProcessName>) -> Result<Bytes, CallError> {
    if result.len() <= limit {
        return Ok(result);
    }
    let message = format!("the result has {} bytes, {limit} are allowed", result.len());
    let error = CallError::failed(code::PAYLOAD_TOO_LARGE, message, "");
    Err(match process {
        Some(process) => error.at(process.as_str()),
        None => error,
    })
}

pub(super) fn shutting_down(callback: String) -> CallError {
    lasting(CallError::not_run(code::DRAINING, "this runtime is shutting down and makes no new calls", callback))
}

pub(super) fn process_left(callback: String) -> CallError {
    lasting(CallError::not_run(code::DRAINING, "the calling process has left the mesh", callback))
}

pub(super) fn own_receiver(receiver: &ProcessName) -> CallError {
    let message = format!("no process serves its own calls: name another receiver than {:?}", receiver.as_str());
    lasting(CallError::not_run(code::NO_SUCH_PROCESS, message, "").at(receiver.as_str()))
}

pub(super) fn caller_cancelled(outcome: Outcome, callback: String) -> CallError {
    let message = "the call that this one was made for was cancelled";
    match outcome {
        Outcome::NotRun => CallError::not_run(code::CANCELLED, message, callback),
        Outcome::Failed | Outcome::Unknown => CallError::unknown(code::CANCELLED, message, callback),
    }
}

pub(super) fn link_full(via: Via, callback: String) -> CallError {
    CallError::not_run(code::OVERLOADED, format!("the link to {} is full: try again later", other_end(via)), callback)
}

pub(super) fn link_full_of_results() -> CallError {
    CallError::failed(code::OVERLOADED, "it ran, and the link of its node is too full for its result", "")
}

pub(super) fn no_answer(process: &ProcessName, timeout: Duration, callback: String) -> CallError {
    let message = format!("no answer within {}; it may or may not have run", seconds(timeout));
    CallError::unknown(code::DEADLINE_EXCEEDED, message, callback).at(process.as_str())
}

/// A leg that is given up because nothing came for too long.
pub(super) fn stalled(process: &ProcessName, stall: Duration, callback: String) -> CallError {
    let message = format!("no process answered within {}; this one may or may not have run", seconds(stall));
    CallError::unknown(code::DEADLINE_EXCEEDED, message, callback).at(process.as_str())
}

pub(super) fn too_many_receivers(receivers: usize, callback: String) -> CallError {
    let most = super::MAX_BROADCAST;
    let message = format!("{receivers} processes have the callback, a broadcast goes to {most} at most");
    lasting(CallError::not_run(code::OVERLOADED, message, callback))
}

pub(super) fn gathered_too_much(process: &ProcessName, callback: String) -> CallError {
    let most = super::MAX_GATHERED_BYTES;
    let message = format!("it ran, and its result was dropped: all results of a broadcast have {most} bytes at most");
    CallError::failed(code::PAYLOAD_TOO_LARGE, message, callback).at(process.as_str())
}

pub(super) fn receiver_of_all(receiver: &ProcessName, callback: String) -> CallError {
    let message = format!("a broadcast goes to all who have the callback, not to {:?} alone", receiver.as_str());
    lasting(CallError::not_run(code::NO_SUCH_PROCESS, message, callback).at(receiver.as_str()))
}

/// Who is at the other end of a link.
fn other_end(via: Via) -> &'static str {
    match via {
        Via::Controller => "the controller",
        Via::To(_) => "the callback's node",
        Via::From(_) => "the caller's node",
    }
}

pub(super) fn link_lost(via: Via, code: &str, reason: &str, callback: String) -> CallError {
    let message = format!("the link to {} broke ({reason}); the call may or may not have run", other_end(via));
    CallError::unknown(code, message, callback)
}

/// The call failed, and how is not to be read.
pub(super) fn garbled(detail: &str, callback: String) -> CallError {
    let message = format!("the call failed, and its error cannot be read ({detail}); it may or may not have run");
    CallError::unknown(code::INTERNAL, message, callback)
}

pub(super) fn controller_drains(callback: String) -> CallError {
    let message = "the controller is shutting down, and no other was reached in time";
    CallError::not_run(code::DRAINING, message, callback)
}

pub(super) fn receiver_left(callback: &str) -> CallError {
    CallError::not_run(code::NO_SUCH_PROCESS, "the receiver has just left the mesh", callback)
}

/// A task's callback is no more.
pub(super) fn lost_callback(callback: String) -> CallError {
    let message = format!("the process has no callback {callback} (any more): cancel the task, or run what it is for");
    lasting(CallError::not_run(code::NO_SUCH_CALLBACK, message, callback))
}

/// A task's callback is of another type now.
pub(super) fn changed_callback(theirs: &Signature, callback: String) -> CallError {
    let theirs = theirs.to_wit_with_types();
    let message = format!("{callback} is `{theirs}`, another type than the one that the arguments were made for");
    CallError::not_run(code::SIGNATURE_MISMATCH, message, callback)
}

/// A task's runs have nobody at the other end.
pub(super) fn streams_are_not_scheduled(callback: String) -> CallError {
    let message = format!("{callback} has streams, and a schedule has nobody to write or read them");
    CallError::not_run(code::BAD_ARGUMENTS, message, callback)
}

pub(super) fn bad_arguments(reason: &str, callback: String) -> CallError {
    CallError::not_run(code::BAD_ARGUMENTS, format!("{callback}: {reason}"), callback)
}

/// Whoever made or cancelled a task has no word of its being written down.
pub(super) fn left_while_saving() -> CallError {
    CallError::unknown(code::DRAINING, "the receiver has left before its tasks were written down", "")
}

/// A task was made and taken back, or was cancelled: the receiver's disk does not take it.
pub(super) fn not_saved(made: bool, task: &TaskId, reason: &str, callback: String) -> CallError {
    if made {
        let message = format!("the schedule cannot be kept, and was not made: {reason}");
        return CallError::not_run(code::NOT_SAVED, message, callback);
    }
    let message = format!("{task} is cancelled, and comes back when its runtime starts anew: {reason}");
    CallError::failed(code::NOT_SAVED, message, callback)
}

pub(super) fn receiver_drains(process: &ProcessName, callback: String) -> CallError {
    let message = format!("the runtime of the process {:?} is shutting down and takes no new calls", process.as_str());
    CallError::not_run(code::DRAINING, message, callback).at(process.as_str())
}

/// The key of a call came again with another one.
pub(super) fn other_call_of_key(process: Option<&ProcessName>) -> CallError {
    let error = internal("the caller's node used the key of one call for another", "");
    match process {
        Some(process) => error.at(process.as_str()),
        None => error,
    }
}

/// An attempt whose caller has made another one.
pub(super) fn superseded() -> CallError {
    CallError::unknown(code::LINK_LOST, "the call was made again; this attempt's answer goes to that one", "")
}

pub(super) fn node_full(process: &ProcessName, callback: String) -> CallError {
    let most = super::MAX_SERVED_CALLS;
    let message = format!("the runtime of the process {:?} serves {most} calls: try again later", process.as_str());
    CallError::not_run(code::OVERLOADED, message, callback).at(process.as_str())
}

pub(super) fn late(process: &ProcessName, callback: String) -> CallError {
    let message = "the deadline passed before the call reached its receiver";
    CallError::not_run(code::DEADLINE_EXCEEDED, message, callback).at(process.as_str())
}

/// The deadline came while a call waited for the way to its process.
pub(super) fn no_way_in_time(timeout: Duration, callback: String) -> CallError {
    let timeout = humantime::format_duration(timeout);
    let message = format!("the link to its process was still being opened after {timeout}");
    CallError::not_run(code::DEADLINE_EXCEEDED, message, callback)
}

pub(super) fn no_time_left() -> CallError {
    CallError::not_run(code::DEADLINE_EXCEEDED, "the deadline passes before the call can be made", "")
}

pub(super) fn internal(message: &str, callback: &str) -> CallError {
    CallError::not_run(code::INTERNAL, format!("{message}; this is a defect of daffi-runtime"), callback)
}

pub(super) fn bad_name(error: &BadCallbackName, text: &str) -> CallError {
    lasting(CallError::not_run(code::NO_SUCH_CALLBACK, error.to_string(), text))
}

pub(super) fn ambiguous(lookup: &Lookup, pattern: String) -> CallError {
    CallError::not_run(code::AMBIGUOUS, format!("`{pattern}`: {lookup}"), pattern)
}

pub(super) fn no_such_callback(pattern: String, near: &[String]) -> CallError {
    let message = format!("`{pattern}`: {}{}", Lookup::NotFound, nearest(near));
    CallError::not_run(code::NO_SUCH_CALLBACK, message, pattern)
}

/// A pinned receiver does not have what was looked up.
pub(super) fn receiver_lacks(receiver: &ProcessName, pattern: String, near: &[String]) -> CallError {
    let near = nearest(near);
    let message = format!("the process {:?} has no callback `{pattern}`{near}", receiver.as_str());
    CallError::not_run(code::NO_SUCH_CALLBACK, message, pattern).at(receiver.as_str())
}

pub(super) fn only_own(callback: String) -> CallError {
    let message = format!("only the calling process itself has {callback}, and no process serves its own calls");
    CallError::not_run(code::NO_SUCH_CALLBACK, message, callback)
}

pub(super) fn several_kinds<'a>(pattern: String, kinds: impl Iterator<Item = (&'a Signature, String)>) -> CallError {
    let kinds: Vec<String> = kinds
        .map(|(signature, process)| format!("`{}` of the process {process:?}", signature.to_wit_with_types()))
        .collect();
    let message = format!("`{pattern}` has several signatures: {}; name the receiver", kinds.join(", "));
    CallError::not_run(code::AMBIGUOUS, message, pattern)
}

pub(super) fn process_did_not_come(name: &ProcessName, timeout: Duration) -> CallError {
    let message = format!("no process {:?} came within {}", name.as_str(), seconds(timeout));
    CallError::not_run(code::DEADLINE_EXCEEDED, message, "").at(name.as_str())
}

pub(super) fn callback_did_not_come(pattern: String, timeout: Duration) -> CallError {
    let message = format!("no other process with the callback `{pattern}` came within {}", seconds(timeout));
    CallError::not_run(code::DEADLINE_EXCEEDED, message, pattern)
}
