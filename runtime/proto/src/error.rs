//! `call-error`: what happened to a call that failed.
//!
//! The record is frozen from the first release (it is part of guests' WIT), so new kinds are new [`code`] strings.

use serde::{Deserialize, Serialize};

/// Longest text and longest trace of an error that is sent over a link, in bytes.
const MAX_TEXT_BYTES: (usize, usize) = (4 * 1024, 64 * 1024);

/// Most bytes of an error on a link. A node sends less ([`CallError::within_bounds`]); the rest is room for what may
/// follow the record one day.
pub const MAX_ERROR_BYTES: usize = 128 * 1024;

/// Whether the callback ran. The one thing a caller must know before it repeats a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Outcome {
    /// No instruction of the callback ran.
    NotRun,
    /// It ran, and failed.
    Failed,
    /// It was sent and no answer came: it may or may not have run.
    Unknown,
}

/// The error of a call, as guests see it (`daffi:runtime/types.call-error`); the order of fields is the WIT's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct CallError {
    /// Whether the callback ran.
    pub outcome: Outcome,
    /// The kind, one of [`code`]'s; more may be added.
    pub code: String,
    /// One line: what, where, and what to do.
    pub message: String,
    /// The callback's full name, or what the caller asked for where no name was found.
    pub callback: String,
    /// The process that served or would have served the call, where one was chosen.
    pub process: Option<String>,
    /// Whether the same call may be sent again without the risk of running it twice, and may then succeed.
    pub retryable: bool,
    /// A wasm backtrace and what the guest wrote before it ended, where there is one.
    pub trace: Option<String>,
}

/// The values of [`CallError::code`].
pub mod code {
    /// No process of the mesh has a callback of that name.
    pub const NO_SUCH_CALLBACK: &str = "no-such-callback";
    /// The caller's grants do not cover it.
    pub const PERMISSION_DENIED: &str = "permission-denied";
    /// The name matches several callbacks, or one callback with several signatures.
    pub const AMBIGUOUS: &str = "ambiguous";
    /// The pinned receiver is not on the mesh.
    pub const NO_SUCH_PROCESS: &str = "no-such-process";
    /// The process has no such scheduled task.
    pub const NO_SUCH_TASK: &str = "no-such-task";
    /// What was asked for is done, but could not be written down to outlive the runtime.
    pub const NOT_SAVED: &str = "not-saved";
    /// The callback exists, with another signature.
    pub const SIGNATURE_MISMATCH: &str = "signature-mismatch";
    /// The arguments are no values of the callback's parameter types.
    pub const BAD_ARGUMENTS: &str = "bad-arguments";
    /// The receiver's queue or the link to it is full.
    pub const OVERLOADED: &str = "overloaded";
    /// The call would enter an instance that waits for this very call.
    pub const CYCLE: &str = "cycle";
    /// More calls below one another than the mesh allows.
    pub const TOO_DEEP: &str = "too-deep";
    /// The deadline passed.
    pub const DEADLINE_EXCEEDED: &str = "deadline-exceeded";
    /// The caller gave up or ended.
    pub const CANCELLED: &str = "cancelled";
    /// A link on the way broke after the call was sent.
    pub const LINK_LOST: &str = "link-lost";
    /// The node is not connected to a controller.
    pub const NOT_CONNECTED: &str = "not-connected";
    /// The receiver leaves the mesh and takes no new calls.
    pub const DRAINING: &str = "draining";
    /// The callback trapped.
    pub const TRAP: &str = "trap";
    /// The guest was stopped because it passed a limit (memory, CPU time, stack, time).
    pub const LIMIT_EXCEEDED: &str = "limit-exceeded";
    /// Arguments or result are larger than allowed.
    pub const PAYLOAD_TOO_LARGE: &str = "payload-too-large";
    /// The instance could not be made.
    pub const INSTANTIATION_FAILED: &str = "instantiation-failed";
    /// A defect of the runtime.
    pub const INTERNAL: &str = "internal";

    /// All of them.
    pub const ALL: [&str; 21] = [
        NO_SUCH_CALLBACK,
        PERMISSION_DENIED,
        AMBIGUOUS,
        NO_SUCH_PROCESS,
        NO_SUCH_TASK,
        NOT_SAVED,
        SIGNATURE_MISMATCH,
        BAD_ARGUMENTS,
        OVERLOADED,
        CYCLE,
        TOO_DEEP,
        DEADLINE_EXCEEDED,
        CANCELLED,
        LINK_LOST,
        NOT_CONNECTED,
        DRAINING,
        TRAP,
        LIMIT_EXCEEDED,
        PAYLOAD_TOO_LARGE,
        INSTANTIATION_FAILED,
        INTERNAL,
    ];

    /// What is counted for a code that is none of these; no error has it.
    pub const OTHER: &str = "other";
}

impl CallError {
    /// An error of a call that did not run. `retryable` is set: the call may be sent again.
    pub fn not_run(code: &str, message: impl Into<String>, callback: impl Into<String>) -> Self {
        Self::new(Outcome::NotRun, code, message, callback)
    }

    /// An error of a callback that ran and failed.
    pub fn failed(code: &str, message: impl Into<String>, callback: impl Into<String>) -> Self {
        Self::new(Outcome::Failed, code, message, callback)
    }

    /// An error of a call that was sent and had no answer.
    pub fn unknown(code: &str, message: impl Into<String>, callback: impl Into<String>) -> Self {
        Self::new(Outcome::Unknown, code, message, callback)
    }

    /// The same error with the process that it happened at.
    #[must_use]
    pub fn at(mut self, process: impl Into<String>) -> Self {
        self.process = Some(process.into());
        self
    }

    /// The same error with a backtrace or other detail.
    #[must_use]
    pub fn with_trace(mut self, trace: impl Into<String>) -> Self {
        self.trace = Some(trace.into());
        self
    }

    /// The same error, fit for a link: a guest decides what is in its message and trace.
    #[must_use]
    pub fn within_bounds(&self) -> Self {
        let cut = |text: &str, most: usize| text.get(..text.floor_char_boundary(most)).unwrap_or_default().to_owned();
        let (text, trace) = MAX_TEXT_BYTES;
        Self {
            outcome: self.outcome,
            code: cut(&self.code, text),
            message: cut(&self.message, text),
            callback: cut(&self.callback, text),
            process: self.process.as_ref().map(|process| cut(process, text)),
            retryable: self.retryable,
            trace: self.trace.as_ref().map(|text| cut(text, trace)),
        }
    }

    fn new(outcome: Outcome, code: &str, message: impl Into<String>, callback: impl Into<String>) -> Self {
        let passing = [
            code::NO_SUCH_CALLBACK,
            code::NO_SUCH_PROCESS,
            code::OVERLOADED,
            code::DEADLINE_EXCEEDED,
            code::CYCLE,
            code::LINK_LOST,
            code::NOT_CONNECTED,
            code::DRAINING,
        ];
        Self {
            outcome,
            code: code.to_owned(),
            message: message.into(),
            callback: callback.into(),
            process: None,
            retryable: outcome == Outcome::NotRun && passing.contains(&code),
            trace: None,
        }
    }
}
