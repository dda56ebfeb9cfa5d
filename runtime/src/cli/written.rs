//! A call as it is written on the command line: a name and arguments in WAVE, or a name and arguments in JSON.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use daffi_proto::call::{CallRequest, ResolveRequest, Resolved};
use daffi_proto::error::{CallError, code};
use daffi_proto::id::{ProcessName, TenantName};
use daffi_proto::name::Qualified;
use daffi_proto::signature::Signature;
use daffi_proto::value::{self, Encoded, Limits, ValueError};

use super::client::{Client, LEAVE_TIMEOUT, call_failure};
use crate::exit::Failure;

/// How long the goodbye may take at least.
const GOODBYE_AT_LEAST: Duration = Duration::from_millis(100);

/// What the arguments are written in, and so the result.
#[derive(Clone, Copy)]
pub enum Encoding {
    /// WAVE.
    Wave,
    /// JSON.
    Json,
}

/// A call as the user wrote it.
pub struct Written<'a> {
    pattern: String,
    /// What the arguments are written in.
    pub encoding: Encoding,
    args: &'a str,
}

/// How long to wait, and for what.
#[derive(Clone, Copy)]
pub struct Wait {
    /// Also for what is not there yet.
    pub ready: bool,
    /// How long, from when the call begins.
    pub given: Duration,
    /// When that is over.
    pub ends: Instant,
}

impl Wait {
    /// What is left of it.
    pub fn left(self) -> Duration {
        self.ends.saturating_duration_since(Instant::now())
    }

    /// What has passed of it where so much is left.
    pub fn spent(self, left: Duration) -> Duration {
        self.given.saturating_sub(left)
    }

    /// How long the goodbye may take: also a caller whose time is over tells that nobody waits any more.
    pub fn goodbye(self) -> Duration {
        self.left().clamp(GOODBYE_AT_LEAST, LEAVE_TIMEOUT)
    }
}

/// Who may say any tenant imports nothing.
fn in_own_tenant(callback: &Qualified) -> Result<(), Failure> {
    match &callback.tenant {
        Some(tenant) => {
            let advice = format!("write the name alone, and --tenant {tenant}");
            Err(Failure::usage(format!("{callback}: a command calls what is in its own tenant: {advice}")))
        }
        None => Ok(()),
    }
}

impl<'a> Written<'a> {
    /// Reads `NAME(ARGUMENTS)`, or with JSON the name alone.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(call: &'a str, json: Option<&'a str>) -> Result<Self, Failure> {
        let call = call.trim();
        match json {
            Some(json) => {
                if call.contains('(') {
                    let advice = "with --json the arguments are there: give the name alone, without parentheses";
                    return Err(Failure::usage(format!("{call:?}: {advice}")));
                }
                let pattern = Qualified::parse(call).map_err(Failure::usage)?;
                in_own_tenant(&pattern)?;
                Ok(Self { pattern: pattern.to_string(), encoding: Encoding::Json, args: json })
            }
            None => {
                let (pattern, args) =
                    value::parse_call(call).map_err(|error| Failure::usage(format!("{call:?}: {error}")))?;
                in_own_tenant(&pattern)?;
                Ok(Self { pattern: pattern.to_string(), encoding: Encoding::Wave, args })
            }
        }
    }

    /// Looks the name up, and makes the call, with what is left of the time. Where there are streams in the callback's type,
    /// `of_streams` says what to do.
    ///
    /// # Errors
    /// No such callback, or arguments that do not fit it.
    pub async fn prepare(
        &self,
        client: &Client,
        receiver: Option<ProcessName>,
        wait: Wait,
        of_streams: fn(&Signature) -> String,
    ) -> Result<(CallRequest, Resolved), Failure> {
        let resolved = self.resolve(client, receiver.clone(), wait).await?;
        if resolved.signature.has_streams() {
            let (callback, signature) = (&resolved.callback, &resolved.signature);
            let message = format!("{callback}: there is a stream or a future in its type");
            return Err(Failure::usage(format!("{message}: {}; it is {}", of_streams(signature), signature.to_wit())));
        }
        let args = self.encode_for(&resolved, &resolved.signature)?;
        Ok((CallRequest { args, ..request(client, &resolved, receiver, wait) }, resolved))
    }

    /// Looks the name up.
    ///
    /// # Errors
    /// No such callback, or several.
    pub async fn resolve(
        &self,
        client: &Client,
        receiver: Option<ProcessName>,
        wait: Wait,
    ) -> Result<Resolved, Failure> {
        let left = wait.left();
        let question = ResolveRequest {
            caller: client.caller(),
            pattern: self.pattern.clone(),
            receiver,
            timeout: left,
            spent: wait.spent(left),
            wait_ready: wait.ready,
        };
        let resolved = client.mesh().resolve(question).await;
        resolved.map_err(|error| failure(&in_tenant(error, &client.tenant())))
    }

    /// The arguments, for a function that has what is to be written of the callback's parameters.
    ///
    /// # Errors
    /// They do not fit it.
    pub fn encode_for(&self, resolved: &Resolved, function: &Signature) -> Result<Bytes, Failure> {
        let limits = Limits::for_payload(self.args.len().max(Limits::default().max_bytes));
        self.encoded().into_args(function, &limits).map_err(|error| unfit(resolved, &error))
    }

    /// Whether no arguments were written.
    pub fn has_no_args(&self) -> bool {
        self.encoded().is_nothing()
    }

    /// The encoding, as values have it.
    pub fn encoding(&self) -> value::Encoding {
        match self.encoding {
            Encoding::Wave => value::Encoding::Wave,
            Encoding::Json => value::Encoding::Json,
        }
    }

    fn encoded(&self) -> Encoded {
        match self.encoding {
            Encoding::Wave => Encoded::Wave(self.args.to_owned()),
            Encoding::Json => Encoded::Json(self.args.to_owned()),
        }
    }
}

/// The error of who asked in one tenant for what is not there, and may be in another.
fn in_tenant(error: CallError, tenant: &TenantName) -> CallError {
    match error.code.as_str() {
        code::NO_SUCH_CALLBACK | code::NO_SUCH_PROCESS => {
            CallError { message: format!("in tenant {tenant}: {}", error.message), ..error }
        }
        _ => error,
    }
}

/// A call of this callback, with what is left of the time and without arguments.
pub fn request(client: &Client, resolved: &Resolved, receiver: Option<ProcessName>, wait: Wait) -> CallRequest {
    let left = wait.left();
    CallRequest {
        tenant: resolved.tenant.clone(),
        accepts: Arc::from([resolved.fingerprint]),
        signature: Some(Arc::clone(&resolved.signature)),
        receiver,
        timeout: left,
        spent: wait.spent(left),
        wait_ready: wait.ready,
        ..CallRequest::new(client.caller(), Arc::from([resolved.callback.clone()]))
    }
}

fn unfit(resolved: &Resolved, error: &ValueError) -> Failure {
    Failure::usage(format!("{}: {error}; it is {}", resolved.callback, resolved.signature.to_wit()))
}

/// `--receiver`
///
/// # Errors
/// A text that is no name.
pub fn receiver(name: Option<&str>) -> Result<Option<ProcessName>, Failure> {
    name.map(ProcessName::new).transpose().map_err(|error| Failure::usage(format!("--receiver: {error}")))
}

/// The error's line, and its backtrace where backtraces were asked for.
pub fn failure(error: &CallError) -> Failure {
    let wanted = std::env::var_os("RUST_BACKTRACE").is_some_and(|value| value != "0" && !value.is_empty());
    Failure { trace: error.trace.clone().filter(|_| wanted), ..call_failure(error) }
}
