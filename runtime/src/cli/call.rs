//! `daffi-runtime call`: one call from the command line.

use std::io::Write;
use std::time::Instant;

use daffi_proto::error::{CallError, code};
use daffi_proto::id::ProcessName;
use daffi_proto::value::{self, Limits};

use super::args::CallArgs;
use super::client::{self, Client, Joining};
use super::written::{Encoding, Wait, Written, failure, receiver};
use crate::exit::Failure;

/// Calls, and prints the result.
///
/// # Errors
/// Bad input, no controller, or a call that failed; the exit code says which.
pub fn run(args: &CallArgs) -> Result<(), Failure> {
    let written = Written::read(&args.call, args.json.as_deref())?;
    let receiver = receiver(args.receiver.as_deref())?;
    let ends = Instant::now() + args.timeout;
    let text = client::block_on(async {
        let joining = if args.wait_ready { Joining::Patiently } else { Joining::AtOnce };
        let client = Client::join(&args.connect, joining(args.timeout)).await?;
        let wait = Wait { ready: args.wait_ready, ends };
        let result = call(&client, &written, receiver, wait).await;
        client.leave(wait.goodbye()).await;
        result
    })?;
    if !text.is_empty() {
        // A reader that has gone is no failure of the call.
        let _ = writeln!(std::io::stdout(), "{text}");
    }
    Ok(())
}

async fn call(
    client: &Client,
    written: &Written<'_>,
    receiver: Option<ProcessName>,
    wait: Wait,
) -> Result<String, Failure> {
    let (request, resolved) = written.prepare(client, receiver, wait).await?;
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
