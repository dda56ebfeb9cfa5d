//! How a guest wants a call made: its options, checked, and the same for every form of a call.
//!
//! Invariant: what is out of bounds is `bad-arguments`, which names the option and its bounds; nothing was sent then.

use std::time::Duration;

use daffi_proto::call::{Answer, DEFAULT_TIMEOUT, MAX_TIMEOUT, Retry};
use daffi_proto::error::{CallError, code};
use daffi_proto::id::ProcessName;

use super::super::state::CallOrigin;
use super::{call, milliseconds, process_name};

/// Most attempts of a call.
pub const MAX_ATTEMPTS: u32 = 100;

/// Longest pause before the second attempt that may be asked for.
const MAX_PAUSE: Duration = Duration::from_secs(60);

/// How a call is made.
pub(super) struct How {
    pub timeout: Option<Duration>,
    pub receiver: Option<ProcessName>,
    pub wait_ready: bool,
    pub eta: Duration,
    pub retry: Retry,
    pub answer: Answer,
}

impl How {
    /// FG, and BROADCAST, which has these of the options.
    ///
    /// # Errors
    /// `bad-arguments`
    pub fn fg(options: Option<call::FgOptions>, callback: &str) -> Result<Self, CallError> {
        let Some(options) = options else { return Ok(Self::default()) };
        Ok(Self {
            timeout: options.timeout.map(|timeout| milliseconds(timeout, callback)).transpose()?,
            receiver: options.receiver.map(|name| process_name(&name, callback)).transpose()?,
            wait_ready: options.wait_ready,
            retry: options.retry.map_or(Ok(Retry::NEVER), |again| retry(&again, callback))?,
            ..Self::default()
        })
    }

    /// BG.
    ///
    /// # Errors
    /// `bad-arguments`
    pub fn bg(options: Option<call::BgOptions>, callback: &str) -> Result<Self, CallError> {
        let Some(call::BgOptions { timeout, receiver, wait_ready, retry, eta }) = options else {
            return Ok(Self::default());
        };
        let how = Self::fg(Some(call::FgOptions { timeout, receiver, wait_ready, retry }), callback)?;
        Ok(Self { eta: delay(eta, callback)?, ..how })
    }

    /// A call whose result nobody waits for.
    ///
    /// # Errors
    /// `bad-arguments`
    pub fn send(options: Option<call::SendOptions>, callback: &str) -> Result<Self, CallError> {
        let unacknowledged = Self { answer: Answer::Sent, ..Self::default() };
        let Some(call::SendOptions { timeout, receiver, wait_ready, eta, acknowledge }) = options else {
            return Ok(unacknowledged);
        };
        let how = Self::fg(Some(call::FgOptions { timeout, receiver, wait_ready, retry: None }), callback)?;
        let answer = if acknowledge { Answer::Accepted } else { Answer::Sent };
        Ok(Self { eta: delay(eta, callback)?, answer, ..how })
    }

    /// How long it may take from its beginning on, if it is made for this one.
    ///
    /// # Errors
    /// `deadline-exceeded`: that one's time is over before this can begin.
    pub fn timeout(&self, origin: &CallOrigin, callback: &str) -> Result<Duration, CallError> {
        if self.answer != Answer::Result {
            return Ok(self.timeout.unwrap_or(DEFAULT_TIMEOUT));
        }
        let left = origin.left.saturating_sub(self.eta);
        if left == Duration::ZERO { Err(origin.no_time(callback)) } else { Ok(origin.timeout(self.timeout).min(left)) }
    }
}

impl Default for How {
    fn default() -> Self {
        Self {
            timeout: None,
            receiver: None,
            wait_ready: false,
            eta: Duration::ZERO,
            retry: Retry::NEVER,
            answer: Answer::Result,
        }
    }
}

fn delay(eta: Option<u64>, callback: &str) -> Result<Duration, CallError> {
    let eta = Duration::from_millis(eta.unwrap_or(0));
    if eta > MAX_TIMEOUT {
        return Err(bad(callback, "`eta`", "0", MAX_TIMEOUT.as_millis(), eta.as_millis()));
    }
    Ok(eta)
}

fn retry(again: &call::Retry, callback: &str) -> Result<Retry, CallError> {
    if !(1..=MAX_ATTEMPTS).contains(&again.attempts) {
        return Err(bad(callback, "`attempts` of a retry", "1", MAX_ATTEMPTS.into(), again.attempts.into()));
    }
    let pause = again.pause.map_or(Retry::PAUSE, Duration::from_millis);
    if pause == Duration::ZERO || pause > MAX_PAUSE {
        return Err(bad(callback, "`pause` of a retry", "1", MAX_PAUSE.as_millis(), pause.as_millis()));
    }
    Ok(Retry { attempts: again.attempts, pause, idempotent: again.idempotent })
}

fn bad(callback: &str, what: &str, least: &str, most: u128, is: u128) -> CallError {
    CallError::not_run(code::BAD_ARGUMENTS, format!("{what} is {least} to {most}, not {is}"), callback)
}
