//! `call-error`: what happened to a call that failed.

use std::fmt;

use crate::types::Outcome;

/// What happened to a call that failed.
///
/// `Display` and `Debug` both give one line for people, and `Debug` the trace below it where there is one: so a `main`
/// that returns `Result<(), CallError>` ends with something to read.
#[derive(Clone, PartialEq)]
pub struct CallError {
    /// Whether the callback ran: what one must know before one repeats the call.
    pub outcome: Outcome,
    /// The kind of failure, such as `no-such-callback` or `deadline-exceeded`; see `wit/types.wit`.
    pub code: String,
    /// What happened, where, and what to do.
    pub message: String,
    /// The callback's full name, or what was asked for where no callback was found.
    pub callback: String,
    /// The process that served or would have served the call, where one was chosen.
    pub process: Option<String>,
    /// Whether the same call may be sent again without the risk of running twice, and may then succeed.
    pub retryable: bool,
    /// A wasm backtrace and what the callback's guest last wrote to its stderr, where there is one.
    pub trace: Option<String>,
}

impl CallError {
    /// An error that this crate finds before or after the call itself.
    pub(crate) fn local(outcome: Outcome, code: &str, callback: &str, message: String) -> Self {
        Self {
            outcome,
            code: code.into(),
            message,
            callback: callback.into(),
            process: None,
            retryable: false,
            trace: None,
        }
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let outcome = match self.outcome {
            Outcome::NotRun => "not-run",
            Outcome::Failed => "failed",
            Outcome::Unknown => "unknown",
        };
        write!(f, "{} ({outcome}, {})", self.message, self.code)
    }
}

impl fmt::Debug for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")?;
        match &self.trace {
            Some(trace) => write!(f, "\n{trace}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for CallError {}
