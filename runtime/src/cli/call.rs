//! `daffi-runtime call`: one call from the command line.

use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use daffi_proto::call::{CallRequest, Caller, ResolveRequest, Resolved};
use daffi_proto::error::{CallError, code};
use daffi_proto::id::{ProcessName, TenantName};
use daffi_proto::name::Pattern;
use daffi_proto::value::{self, Limits};

use super::args::CallArgs;
use super::client::{self, Client, Joining, LEAVE_TIMEOUT, call_failure};
use crate::exit::Failure;

/// How long the goodbye may take at least: also a caller whose time is over tells that nobody waits any more.
const GOODBYE_AT_LEAST: Duration = Duration::from_millis(100);

/// What the arguments are written in, and so the result.
#[derive(Clone, Copy)]
enum Encoding {
    Wave,
    Json,
}

/// A call as the user wrote it.
struct Written<'a> {
    pattern: String,
    encoding: Encoding,
    args: &'a str,
}

/// How long to wait, and for what.
#[derive(Clone, Copy)]
struct Wait {
    /// Also for what is not there yet.
    ready: bool,
    /// When the timeout is over that began with the command.
    ends: Instant,
}

impl Wait {
    fn left(self) -> Duration {
        self.ends.saturating_duration_since(Instant::now())
    }
}

/// Calls, and prints the result.
///
/// # Errors
/// Bad input, no controller, or a call that failed; the exit code says which.
pub fn run(args: &CallArgs) -> Result<(), Failure> {
    let written = written(args)?;
    let receiver = args.receiver.as_deref().map(ProcessName::new).transpose();
    let receiver = receiver.map_err(|error| Failure::usage(format!("--receiver: {error}")))?;
    let ends = Instant::now() + args.timeout;
    let text = client::block_on(async {
        let joining = if args.wait_ready { Joining::Patiently } else { Joining::AtOnce };
        let client = Client::join(&args.connect, joining(args.timeout)).await?;
        let wait = Wait { ready: args.wait_ready, ends };
        let result = call(&client, &written, receiver, wait).await;
        client.leave(wait.left().clamp(GOODBYE_AT_LEAST, LEAVE_TIMEOUT)).await;
        result
    })?;
    if !text.is_empty() {
        // A reader that has gone is no failure of the call.
        let _ = writeln!(std::io::stdout(), "{text}");
    }
    Ok(())
}

fn written(args: &CallArgs) -> Result<Written<'_>, Failure> {
    let call = args.call.trim();
    match &args.json {
        Some(json) => {
            if call.contains('(') {
                let advice = "with --json the arguments are there: give the name alone, without parentheses";
                return Err(Failure::usage(format!("{call:?}: {advice}")));
            }
            let pattern = Pattern::parse(call).map_err(Failure::usage)?;
            Ok(Written { pattern: pattern.to_string(), encoding: Encoding::Json, args: json })
        }
        None => {
            let (pattern, arguments) =
                value::parse_call(call).map_err(|error| Failure::usage(format!("{call:?}: {error}")))?;
            Ok(Written { pattern: pattern.to_string(), encoding: Encoding::Wave, args: arguments })
        }
    }
}

async fn call(
    client: &Client,
    written: &Written<'_>,
    receiver: Option<ProcessName>,
    wait: Wait,
) -> Result<String, Failure> {
    let caller = || Caller::Client { tenant: TenantName::default() };
    let question = ResolveRequest {
        caller: caller(),
        pattern: written.pattern.clone(),
        receiver: receiver.clone(),
        timeout: wait.left(),
        wait_ready: wait.ready,
    };
    let resolved = client.mesh().resolve(question).await.map_err(|error| failure(&error))?;
    let args = encode(written, &resolved)?;
    let request = CallRequest {
        accepts: Arc::from([resolved.fingerprint]),
        signature: Some(Arc::clone(&resolved.signature)),
        receiver,
        args,
        timeout: wait.left(),
        wait_ready: wait.ready,
        ..CallRequest::new(caller(), Arc::from([resolved.callback.clone()]))
    };
    let reply = client.mesh().call(request).await.map_err(|error| failure(&error))?;
    let limits = Limits::for_payload(reply.result.len().max(Limits::default().max_bytes));
    let text = match written.encoding {
        Encoding::Wave => value::result_to_wave(&resolved.signature, &reply.result, &limits),
        Encoding::Json => value::result_to_json(&resolved.signature, &reply.result, &limits),
    };
    text.map_err(|error| {
        // It ran, but what it gave is not what its signature says: that is the callee's runtime's defect.
        let message = format!("the result cannot be read: {error}");
        let error = CallError::failed(code::INTERNAL, message, resolved.callback.to_string());
        failure(&error.at(reply.process.as_str()))
    })
}

fn encode(written: &Written<'_>, resolved: &Resolved) -> Result<Bytes, Failure> {
    let limits = Limits::for_payload(written.args.len().max(Limits::default().max_bytes));
    let plain = value::check_plain(&resolved.signature);
    let encoded = plain.and_then(|()| match written.encoding {
        Encoding::Wave => value::args_from_wave(&resolved.signature, written.args, &limits),
        Encoding::Json => value::args_from_json(&resolved.signature, written.args, &limits),
    });
    encoded.map(Bytes::from).map_err(|error| {
        let signature = resolved.signature.to_wit();
        Failure::usage(format!("{}: {error}; it is {signature}", resolved.callback))
    })
}

/// The error's line; its backtrace comes before it where backtraces were asked for.
fn failure(error: &CallError) -> Failure {
    let wanted = std::env::var_os("RUST_BACKTRACE").is_some_and(|value| value != "0" && !value.is_empty());
    if let Some(trace) = error.trace.as_deref().filter(|_| wanted) {
        let _ = writeln!(std::io::stderr(), "{}", trace.trim_end());
    }
    call_failure(error)
}
