//! `daffi-runtime call`: one call from the command line, to one process or to all who have the callback.

use std::time::Instant;

use daffi_proto::call::{
    Answer, CallReply, CallRequest, GatherEnd, GatherEntry, GatherRequest, Need, ProcessInfo, Resolved, Retry,
};
use daffi_proto::error::{CallError, code};
use daffi_proto::id::ProcessName;
use daffi_proto::signature::Signature;
use daffi_proto::value::{self, Limits};

use super::args::CallArgs;
use super::client::{self, Client, Joining, LEAVE_TIMEOUT, call_failure, outcome};
use super::stdout::{Reader, print};
use super::stream;
use super::written::{Encoding, Wait, Written, failure, receiver};
use crate::exit::{self, Failure};
use crate::plain::{plain, plain_json};

/// Calls, and prints the result.
///
/// # Errors
/// Bad input, no controller, or a call that failed; the exit code says which.
pub fn run(args: &CallArgs) -> Result<(), Failure> {
    let bare = args.stream && args.json.is_none() && !args.call.contains('(');
    let call = if bare { format!("{}()", args.call) } else { args.call.clone() }; // there may be no arguments but the items
    let written = Written::read(&call, args.json.as_deref())?;
    let receiver = receiver(args.receiver.as_deref())?;
    let begins = Instant::now() + args.eta.unwrap_or_default();
    let wait = Wait { ready: args.wait_ready, given: args.timeout, ends: begins + args.timeout };
    client::block_on(async {
        // Who tries again does so with a controller that comes back, too.
        let patient = args.wait_ready || args.retry.is_some_and(|attempts| attempts > 1);
        let joining = match args.eta {
            _ if patient => Joining::Patiently,
            Some(_) => Joining::Again,
            None => Joining::AtOnce,
        };
        let client = Client::join(&args.connect, joining(args.timeout)).await?;
        let (result, goodbye) = if args.stream {
            (stream::run(&client, &written, receiver, wait, args).await, LEAVE_TIMEOUT)
        } else {
            (client.connected(call_once(&client, &written, receiver, (begins, wait), args)).await, wait.goodbye())
        };
        client.leave(goodbye).await;
        result
    })
}

async fn call_once(
    client: &Client,
    written: &Written<'_>,
    receiver: Option<ProcessName>,
    (begins, wait): (Instant, Wait),
    how: &CallArgs,
) -> Result<(), Failure> {
    let (request, resolved) = written.prepare(client, receiver, wait, of_streams).await?;
    let now = Instant::now();
    let timeout = wait.ends.saturating_duration_since(now.max(begins));
    let request = CallRequest {
        eta: begins.saturating_duration_since(now),
        timeout,
        spent: wait.spent(timeout),
        answer: match (how.no_result, how.unacknowledged) {
            (false, _) => Answer::Result,
            (true, false) => Answer::Accepted,
            (true, true) => Answer::Sent,
        },
        retry: Retry { attempts: how.retry.unwrap_or(1), idempotent: how.idempotent, ..Retry::NEVER },
        ..request
    };
    let reading = Reading { resolved: &resolved, encoding: written.encoding, answer: request.answer };
    if how.broadcast {
        return call_all(client, request, &reading, how).await;
    }
    let reply = client.mesh().call(request).await.map_err(|error| failure(&error))?;
    if let Some(text) = reading.text(&reply).map_err(|error| failure(&error))?.filter(|text| !text.is_empty()) {
        print(&format!("{text}\n")).map_err(|unprinted| {
            let message = format!("{} ran, and its result is lost: {}", resolved.callback, unprinted.message);
            Failure { message, ..unprinted }
        })?;
    }
    Ok(())
}

/// What to do where there are streams in the callback's type.
fn of_streams(signature: &Signature) -> String {
    match stream::why_no_lines(signature) {
        None => "call it with --stream".to_owned(),
        Some(why) => format!(
            "no command can call it, --stream neither, since {why}: guests do, by an import of the function or by `stream` of \
             daffi:runtime/call"
        ),
    }
}

/// When a broadcast has what it is for.
fn need(how: &CallArgs) -> Need {
    match (how.first_n, how.quorum) {
        (Some(values), _) => Need::First(values),
        (None, Some(values)) => Need::Quorum(values),
        (None, None) => Need::All,
    }
}

/// Calls all who have the callback, and prints a line for each as it answers.
async fn call_all(client: &Client, call: CallRequest, reading: &Reading<'_>, how: &CallArgs) -> Result<(), Failure> {
    let request = GatherRequest { call, need: need(how), stall: how.stall };
    let mut gather = client.mesh().gather(request).await.map_err(|error| failure(&error))?;
    let (mut all, mut failed, mut first) = (0_usize, 0_usize, None);
    let mut printed = Ok(Reader::There);
    while let Some(entry) = gather.next().await {
        let GatherEntry { process, result } = entry.map_err(|error| failure(&error))?;
        let result = result.and_then(|reply| reading.text(&reply));
        if reading.answer != Answer::Sent || result.is_err() {
            let line = print(&format!("{}\n", reading.line(&process, &result)));
            printed = printed.and(line); // the calls go on
        }
        all += 1;
        if let Err(error) = result {
            failed += 1;
            first.get_or_insert(error);
        }
    }
    // Where a number of values was asked for, the failures of others are in their lines.
    if let Some(wanted) = how.first_n.or(how.quorum) {
        if gather.end() == Some(GatherEnd::Met) {
            return printed.map(drop);
        }
        let (values, exit_code) = (all - failed, first.map_or(exit::FAILED, |error| call_failure(&error).code));
        let few = has_too_few(client, reading.resolved, wanted).await;
        return Err(Failure::new(exit_code, format!("of {wanted} values that were wanted {values} came{few}")));
    }
    // What each failed with is in its line.
    first.map_or(printed.map(drop), |error| {
        Err(Failure { message: format!("{failed} of {all} processes failed"), ..failure(&error) })
    })
}

/// That no more processes have the callback, where they are fewer than the values that are wanted of them.
async fn has_too_few(client: &Client, resolved: &Resolved, wanted: u32) -> String {
    // Who has left since has given what he could.
    let Ok(processes) = client.mesh().processes(client.tenant()).await else { return String::new() };
    let has =
        |process: &&ProcessInfo| process.callbacks.iter().any(|callback| resolved.callback.matches(&callback.name));
    match processes.iter().filter(has).count() {
        having if u32::try_from(having).is_ok_and(|having| having >= wanted) => String::new(),
        1 => format!(": only one process has {}", resolved.callback),
        having => format!(": only {having} processes have {}", resolved.callback),
    }
}

/// How what a call gives is shown.
pub struct Reading<'a> {
    resolved: &'a Resolved,
    encoding: Encoding,
    answer: Answer,
}

impl<'a> Reading<'a> {
    /// Of a call whose result is waited for.
    pub fn of_result(resolved: &'a Resolved, written: &Written<'_>) -> Self {
        Self { resolved, encoding: written.encoding, answer: Answer::Result }
    }

    /// The result; none where nobody waits for it.
    ///
    /// # Errors
    /// It is no value of its type.
    pub fn text(&self, reply: &CallReply) -> Result<Option<String>, CallError> {
        if self.answer != Answer::Result {
            return Ok(None);
        }
        let limits = Limits::for_payload(reply.result.len().max(Limits::default().max_bytes));
        let text = match self.encoding {
            Encoding::Wave => value::result_to_wave(&self.resolved.signature, &reply.result, &limits),
            Encoding::Json => {
                let json = value::result_to_json(&self.resolved.signature, &reply.result, &limits);
                json.map(|json| plain_json(&json))
            }
        };
        text.map(Some).map_err(|error| {
            // It ran, but what it gave is not what its signature says: that is the callee's runtime's defect.
            let message = format!("the result cannot be read: {error}");
            let error = CallError::failed(code::INTERNAL, message, self.resolved.callback.to_string());
            error.at(reply.process.as_str())
        })
    }

    /// A process's line in a broadcast.
    fn line(&self, process: &ProcessName, result: &Result<Option<String>, CallError>) -> String {
        match (self.encoding, result) {
            (Encoding::Wave, Ok(Some(text))) => format!("{process}: {text}").trim_end().to_owned(),
            (Encoding::Wave, Ok(None)) => format!("{process}: accepted"),
            (Encoding::Wave, Err(error)) => plain(&format!("{process}: error: {}", call_failure(error).message)),
            (Encoding::Json, result) => {
                // The text is JSON that we have written ourselves.
                let ok = |text: &String| serde_json::from_str::<serde_json::Value>(text).unwrap_or_default();
                let object = match result {
                    Ok(Some(text)) => serde_json::json!({ "process": process.as_str(), "ok": ok(text) }),
                    Ok(None) => serde_json::json!({ "process": process.as_str(), "accepted": true }),
                    Err(error) => serde_json::json!({ "process": process.as_str(), "error": call_error(error) }),
                };
                plain_json(&object.to_string())
            }
        }
    }
}

/// A `call-error` in JSON, as guests have it.
fn call_error(error: &CallError) -> serde_json::Value {
    serde_json::json!({
        "outcome": outcome(error.outcome),
        "code": error.code,
        "message": error.message,
        "callback": error.callback,
        "process": error.process,
        "retryable": error.retryable,
        "trace": error.trace,
    })
}
