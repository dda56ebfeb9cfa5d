//! The errors of streams.

use std::time::Duration;

use super::{lasting, seconds};
use crate::call::{Answer, Mode};
use crate::error::{CallError, code};
use crate::id::{ProcessName, TenantName};
use crate::node::{MAX_STREAM_BYTES, MAX_STREAMS};
use crate::stream::{BadStream, Flow, NotTaken};

/// A call that is overdue since nothing moves in its streams.
pub(in crate::node) fn no_progress(idle: Duration) -> CallError {
    let message = format!("nothing moved in the streams of the call for {}; it ran", seconds(idle));
    CallError::unknown(code::DEADLINE_EXCEEDED, message, "")
}

/// The caller dropped a call that has streams.
pub(in crate::node) fn given_up() -> CallError {
    CallError::unknown(code::CANCELLED, "the caller gave the call up", "")
}

/// Whether a call may have these streams.
pub(in crate::node) fn check_streams(
    mode: Mode,
    flows: &[Flow],
    answer: Answer,
    callback: String,
) -> Result<(), CallError> {
    let message = match (mode, flows, answer) {
        (Mode::Each, [Flow::Items], Answer::Result) | (Mode::Whole, [], _) | (Mode::Whole, _, Answer::Result) => {
            return Ok(());
        }
        (Mode::Each, _, Answer::Result) => "a call that is made once an item has one stream of items",
        (_, _, Answer::Accepted | Answer::Sent) => "a call that does not wait for its result has no streams",
    };
    Err(lasting(CallError::not_run(code::BAD_ARGUMENTS, message, callback)))
}

/// A broadcast to callbacks that would stream.
pub(in crate::node) fn no_streams_of_all(callback: String) -> CallError {
    let message = "a broadcast has no streams: call each process by itself";
    lasting(CallError::not_run(code::BAD_ARGUMENTS, message, callback))
}

/// The callback gave streams to a broadcast.
pub(in crate::node) fn streams_to_all(process: &ProcessName, callback: String) -> CallError {
    let message = "its result has streams, which a broadcast cannot take: call each process by itself";
    CallError::failed(code::SIGNATURE_MISMATCH, message, callback).at(process.as_str())
}

/// A callback that takes streams cannot be called once an item.
pub(in crate::node) fn not_for_each(process: &ProcessName, callback: String) -> CallError {
    let message = "the callback has streams in its own type: it is called once, and not once an item";
    lasting(CallError::not_run(code::SIGNATURE_MISMATCH, message, callback).at(process.as_str()))
}

pub(in crate::node) fn too_many_streams_of_call(streams: usize, most: usize, callback: &str) -> CallError {
    let message = format!("{streams} streams in a value, {most} are allowed");
    lasting(CallError::not_run(code::OVERLOADED, message, callback))
}

pub(in crate::node) fn too_many_streams(callback: &str) -> CallError {
    let most = MAX_STREAMS;
    CallError::not_run(code::OVERLOADED, format!("this runtime has {most} streams open: try again later"), callback)
}

pub(in crate::node) fn too_many_streams_of_process(process: &ProcessName, most: usize) -> CallError {
    let message = format!(
        "the process {:?} may have {most} streams open in the calls that it serves, and has them: try again later, or raise its \
         limit of open streams, open-streams",
        process.as_str()
    );
    CallError::not_run(code::OVERLOADED, message, "").at(process.as_str())
}

pub(in crate::node) fn item_did_not_come() -> CallError {
    CallError::failed(code::DEADLINE_EXCEEDED, "a large item was asked for and let in, and did not come in time", "")
}

pub(in crate::node) fn too_much_unread() -> CallError {
    let most = MAX_STREAM_BYTES;
    CallError::failed(code::OVERLOADED, format!("{most} bytes of streams wait to be read in this runtime"), "")
}

/// The callback gives more than its callers read.
pub(in crate::node) fn results_unread(bytes: usize, most: u64) -> CallError {
    let message = format!(
        "it ran, and there is no room for its result of {bytes} bytes: results of this process wait for their readers, \
         and {most} bytes of them may"
    );
    CallError::failed(code::OVERLOADED, message, "")
}

/// The same of all processes of its tenant.
pub(in crate::node) fn results_of_tenant_unread(bytes: usize, tenant: &TenantName, most: u64) -> CallError {
    let message = format!(
        "it ran, and there is no room for its result of {bytes} bytes: results of tenant {tenant} wait for their readers, \
         and {most} bytes of them may in this runtime, its max-stream-bytes"
    );
    CallError::failed(code::OVERLOADED, message, "")
}

/// A call is broken off.
pub(in crate::node) fn link_full_of_streams() -> CallError {
    CallError::unknown(code::OVERLOADED, "the link to the controller is too full for the call's streams", "")
}

pub(in crate::node) fn item_too_large(bytes: u64, limit: u64) -> CallError {
    let message = format!("an item of {bytes} bytes, the controller takes {limit}");
    CallError::failed(code::PAYLOAD_TOO_LARGE, message, "")
}

/// What a writer gave is none that a stream takes.
pub(in crate::node) fn bad_chunk(error: &NotTaken) -> CallError {
    match error {
        NotTaken::Bad(bad @ BadStream::ItemTooLarge { .. }) => {
            CallError::failed(code::PAYLOAD_TOO_LARGE, bad.to_string(), "")
        }
        error => CallError::failed(code::INTERNAL, format!("{error}; this is a defect of daffi-runtime"), ""),
    }
}

/// The other end broke the rules.
pub(in crate::node) fn bad_stream(bad: &BadStream) -> CallError {
    CallError::unknown(code::INTERNAL, format!("the other end of the stream is defective: {bad}"), "")
}

pub(in crate::node) fn streams_forgotten() -> CallError {
    CallError::unknown(code::INTERNAL, "the receiver's node ended the call before its streams", "")
}

/// An item is no argument of its callback.
pub(in crate::node) fn bad_item(why: &(impl std::fmt::Display + ?Sized)) -> CallError {
    CallError::not_run(code::BAD_ARGUMENTS, why.to_string(), "")
}
