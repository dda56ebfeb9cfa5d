//! How a guest's end becomes the error of its call.
//!
//! Three things are kept apart: what the caller is told (a [`CallError`]), what ends the instance (every [`Fault`]),
//! and what a guest can cope with (values that [`super::call`] gives it, which never come here).
//! A message is one line; the backtrace and the guest's last words go into the trace, which is bounded.

use std::fmt::Write as _;
use std::time::Duration;

use daffi_proto::error::{CallError, code};
use daffi_proto::id::ProcessName;
use wasmtime::component::ResourceTableError;
use wasmtime::{PoolConcurrencyLimitError, Trap, WasmBacktrace};
use wasmtime_wasi::I32Exit;

use super::backtrace;
use super::limits::one_line;
use super::state::GuestState;
use super::transcode::stream::StreamFailure;
use super::transcode::{TranscodeError, lifted_bytes};

/// Longest trace of an error, in bytes.
pub(super) const MAX_TRACE_BYTES: usize = 16 << 10;

/// Longest message that is taken from a guest, in bytes.
const MAX_MESSAGE_BYTES: usize = 1 << 10;

/// The guest was still running when its time was up.
#[derive(Debug, thiserror::Error)]
#[error("the guest was still running when its time was up")]
pub(super) struct TimeUp;

/// The guest computed for as long as a call may.
#[derive(Debug, thiserror::Error)]
#[error("it computed for longer than the module's max-call-cpu, {most:?}")]
pub(super) struct CpuUp {
    /// So long.
    pub most: Duration,
}

/// A typed import that has no place for an error in its type failed: the guest that called it traps.
#[derive(Debug, thiserror::Error)]
#[error("its call of {name} failed: {error}")]
pub(super) struct FetchFailed {
    /// The callback.
    pub name: String,
    /// Why.
    pub error: CallError,
}

/// Why an instance ended.
#[derive(Clone, Debug)]
pub(super) enum Fault {
    /// It was stopped because its time was up; with a trace of what it was doing.
    TimeUp(Option<String>),
    /// It passed a limit.
    Limit { message: String, trace: Option<String> },
    /// It gave a value that is larger than it may be.
    TooLarge { message: String, trace: Option<String> },
    /// It ended by itself.
    Trap { message: String, trace: Option<String> },
}

impl Fault {
    /// Reads a failed entry into a guest. Takes the limiter's memory of what it refused.
    pub fn of(error: &wasmtime::Error, state: &mut GuestState) -> Self {
        let refusal = state.limiter.take_refusal();
        let last_words = state.last_words();
        let trace = trace(error, &last_words);
        if error.is::<TimeUp>() {
            return Self::TimeUp(trace);
        }
        if let Some(up) = error.downcast_ref::<CpuUp>() {
            return Self::Limit { message: up.to_string(), trace };
        }
        if let Some(I32Exit(status)) = error.downcast_ref::<I32Exit>() {
            return Self::Trap { message: format!("it called exit({status})"), trace };
        }
        if let Some(failed) = error.downcast_ref::<FetchFailed>() {
            let trace = join_traces(trace, failed.error.trace.as_deref(), &failed.name);
            // Part of it is what another machine said.
            return Self::Trap { message: cut(one_line(&failed.to_string()), MAX_MESSAGE_BYTES), trace };
        }
        if let Some(StreamFailure::Broken(error)) = error.downcast_ref::<StreamFailure>() {
            let trace = join_traces(trace, error.trace.as_deref(), &error.callback);
            let message = format!("a stream that it read ended before its end: {error}");
            return Self::Trap { message: cut(one_line(&message), MAX_MESSAGE_BYTES), trace };
        }
        if let Some(error @ TranscodeError::TooLarge { .. }) = error.downcast_ref() {
            return Self::TooLarge { message: error.to_string(), trace };
        }
        if let Some(message) = passed(error, state).or_else(|| refusal.map(|refusal| refusal.to_string())) {
            return Self::Limit { message, trace };
        }
        if error.downcast_ref::<Trap>() == Some(&Trap::StackOverflow) {
            return Self::Limit {
                message: "its stack overflowed: it needs less, or the runtime a larger stack".to_owned(),
                trace,
            };
        }
        let mut message = one_line(&error.root_cause().to_string());
        if let Some(said) = panic_text(&last_words) {
            message = format!("{said} ({message})");
        }
        Self::Trap { message: cut(message, MAX_MESSAGE_BYTES), trace }
    }

    /// The error of the call that ended so.
    pub fn into_error(self, callback: &str, time_up: TimeUpBy) -> CallError {
        let (error, trace) = match self {
            Self::TimeUp(trace) => (time_up.into_error(callback), trace),
            Self::Limit { message, trace } => {
                (CallError::failed(code::LIMIT_EXCEEDED, format!("{callback} was stopped: {message}"), callback), trace)
            }
            Self::TooLarge { message, trace } => {
                let message = format!("{callback} was stopped: {message}");
                (CallError::failed(code::PAYLOAD_TOO_LARGE, message, callback), trace)
            }
            Self::Trap { message, trace } => {
                (CallError::failed(code::TRAP, format!("{callback} trapped: {message}"), callback), trace)
            }
        };
        CallError { trace, ..error }
    }

    /// The error of a call that may have ended its instance, as may so many others of those that it served.
    pub fn suspected(&self, callback: &str, others: usize) -> CallError {
        let (code, why, trace) = self.parts();
        let did = if code == code::TRAP { "trapped" } else { "was stopped" };
        let others = match others {
            1 => "the other call".to_owned(),
            others => format!("one of the {others} other calls"),
        };
        let message = format!("{callback} {did}, or {others} beside it in its instance did: {why}");
        CallError { trace: trace.clone(), ..CallError::failed(code, message, callback) }
    }

    /// The error of a call that was lost with its instance, which served this many calls at once: another one ended it.
    pub fn lost(&self, callback: &str, calls: usize, culprit: &str) -> CallError {
        let (code, why, trace) = self.parts();
        let message =
            format!("{callback} was lost: its instance, which served {calls} calls at once, ended in {culprit}: {why}");
        CallError { trace: trace.clone(), ..CallError::failed(code, message, callback) }
    }

    /// The error of the streams that the instance of this process wrote.
    pub fn of_streams(&self, process: &ProcessName) -> CallError {
        let (code, why, trace) = self.parts();
        let message = format!("the instance of {process} that wrote it ended: {why}");
        CallError { trace: trace.clone(), ..CallError::failed(code, message, "") }
    }

    /// The kind of error, the reason in words, and the trace.
    fn parts(&self) -> (&'static str, &str, &Option<String>) {
        match self {
            Self::TimeUp(trace) => (code::LIMIT_EXCEEDED, "it used more time than max-call-time allows", trace),
            Self::Limit { message, trace } => (code::LIMIT_EXCEEDED, message, trace),
            Self::TooLarge { message, trace } => (code::PAYLOAD_TOO_LARGE, message, trace),
            Self::Trap { message, trace } => (code::TRAP, message, trace),
        }
    }

    /// The same in words, without a callback: for the log, and for instances that could not be made.
    pub fn message(&self) -> String {
        match self {
            Self::TimeUp(_) => TimeUp.to_string(),
            Self::Limit { message, .. } | Self::TooLarge { message, .. } | Self::Trap { message, .. } => {
                message.clone()
            }
        }
    }

    /// The trace, if there is one.
    pub fn into_trace(self) -> Option<String> {
        match self {
            Self::TimeUp(trace)
            | Self::Limit { trace, .. }
            | Self::TooLarge { trace, .. }
            | Self::Trap { trace, .. } => trace,
        }
    }
}

/// Whose time was up when a running call was stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TimeUpBy {
    /// The caller's.
    Deadline,
    /// The module's own.
    MaxCallTime,
}

impl TimeUpBy {
    pub fn into_error(self, callback: &str) -> CallError {
        match self {
            Self::Deadline => CallError::failed(
                code::DEADLINE_EXCEEDED,
                format!("{callback} was stopped: the call's deadline passed while it ran"),
                callback,
            ),
            Self::MaxCallTime => CallError::failed(
                code::LIMIT_EXCEEDED,
                format!("{callback} was stopped: it ran longer than the module's max-call-time"),
                callback,
            ),
        }
    }
}

/// Why no instance could be made for a call.
pub(super) fn instantiation_error(error: &wasmtime::Error, state: &mut GuestState, callback: &str) -> CallError {
    if error.is::<PoolConcurrencyLimitError>() {
        let message = format!("{callback} was not called: this runtime has no room for another instance");
        return CallError::not_run(code::OVERLOADED, message, callback);
    }
    if let Some(reached) = state.limiter.refused_by_tenant() {
        let message = format!("{callback} was not called: no instance could be made: {reached}; try later");
        return CallError::not_run(code::OVERLOADED, message, callback);
    }
    let fault = Fault::of(error, state);
    let limit = counted(&fault.message()).map(|key| format!(": raise the module's {key}")).unwrap_or_default();
    let message = format!("{callback} was not called: no instance could be made: {}{limit}", fault.message());
    CallError { trace: fault.into_trace(), ..CallError::not_run(code::INSTANTIATION_FAILED, message, callback) }
}

/// Which limit ended a guest that wasmtime itself holds it to: in the words of its key. Some wasmtime tells by words alone.
fn passed(error: &wasmtime::Error, state: &GuestState) -> Option<String> {
    let (limits, outside) = (&state.module.limits, &state.module.outside);
    if error.chain().any(|cause| matches!(cause.downcast_ref(), Some(ResourceTableError::Full))) {
        if let Some(reached) = state.handles_refused() {
            return Some(reached.to_string());
        }
        return Some(out_of_handles("it", outside.handles(limits.host_handles), limits.host_handles));
    }
    let cause = error.root_cause().to_string();
    if cause.contains("store handle limit exceeded") {
        let most = limits.component_handles();
        return Some(out_of_handles("it", most, most));
    }
    cause.contains("fuel allocated for hostcalls").then(|| {
        let most = lifted_bytes(limits.payload_bytes);
        format!("it gave the host more than {most} bytes at once: send less, or raise the runtime's max-payload")
    })
}

/// An instance, in these words, has as many handles as it may, and what its module's limit is.
pub(super) fn out_of_handles(who: &str, most: usize, limit: usize) -> String {
    let more = match most < limit {
        true => "where a module has folders or network, its instances may have no more".to_owned(),
        false => format!("or raise the module's handles above {most}"),
    };
    format!("{who} has {most} handles, as many as it may: drop some, {more}")
}

/// Which limit a component passed that has too many parts: wasmtime says what there is too much of, but in words alone.
fn counted(message: &str) -> Option<&'static str> {
    let keys = [("instance count", "core-instances"), ("table count", "tables"), ("memory count", "memories")];
    keys.into_iter().find(|(what, _)| message.contains(&format!("{what} too high"))).map(|(_, key)| key)
}

fn trace(error: &wasmtime::Error, last_words: &str) -> Option<String> {
    let mut trace = String::new();
    if let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() {
        trace = backtrace::text(backtrace, MAX_TRACE_BYTES);
    }
    if !last_words.is_empty() {
        if !trace.is_empty() {
            trace.push('\n');
        }
        let _ = write!(trace, "last on stderr:\n{last_words}");
    }
    (!trace.is_empty()).then(|| cut(trace, MAX_TRACE_BYTES))
}

fn join_traces(own: Option<String>, nested: Option<&str>, name: &str) -> Option<String> {
    match (own, nested) {
        (own, None) => own,
        (own, Some(nested)) => {
            let own = own.map(|own| own + "\n").unwrap_or_default();
            Some(cut(format!("{own}in {name}:\n{nested}"), MAX_TRACE_BYTES))
        }
    }
}

/// What a guest that panicked said: the place and the message as Rust prints them, else the last line of its stderr
/// (where Python and others put their exceptions).
fn panic_text(last_words: &str) -> Option<String> {
    let lines: Vec<&str> = last_words.lines().collect();
    let said = match lines.iter().rposition(|line| line.contains("panicked at ")) {
        Some(at) => {
            let place = lines.get(at).and_then(|line| line.split_once("panicked at ")).map_or("", |(_, place)| place);
            let message = lines.iter().skip(at + 1).take_while(|line| !line.starts_with("note: "));
            format!("panicked at {place} {}", message.copied().collect::<Vec<_>>().join(" "))
        }
        None => lines.last().copied().unwrap_or_default().to_owned(),
    };
    let said = one_line(&said);
    (!said.is_empty()).then(|| cut(said, MAX_MESSAGE_BYTES))
}

/// The text, or as much of it as has these bytes, and a sign that there was more.
pub(super) fn cut(mut text: String, bytes: usize) -> String {
    if text.len() > bytes {
        let end = (0..=bytes).rev().find(|&i| text.is_char_boundary(i)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_of_a_rust_panic_is_found_on_stderr() {
        let said = "working\nthread 'main' panicked at src/lib.rs:7:5:\nindex out of bounds\nnote: run with `RUST_…`";
        assert_eq!(panic_text(said).unwrap(), "panicked at src/lib.rs:7:5: index out of bounds");
        let said = "thread 'x' panicked at a.rs:1:1:\nassertion failed\n  left: 1\n right: 2\nnote: run with";
        assert_eq!(panic_text(said).unwrap(), "panicked at a.rs:1:1: assertion failed left: 1 right: 2");
        assert_eq!(panic_text("Traceback\n  File x\nValueError: no\n").unwrap(), "ValueError: no");
        assert_eq!(panic_text(""), None);
    }

    #[test]
    fn who_is_out_of_handles_learns_which_limit_to_raise_where_that_helps() {
        let said = out_of_handles("it", 10, 10);
        assert_eq!(said, "it has 10 handles, as many as it may: drop some, or raise the module's handles above 10");
        assert!(out_of_handles("it", 256, 10_000).contains("folders or network"));
    }

    #[test]
    fn a_trace_is_cut_between_characters() {
        assert_eq!(cut("äöü".to_owned(), 3), "ä…");
    }
}
