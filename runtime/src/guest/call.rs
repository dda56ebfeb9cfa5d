//! `daffi:runtime/call` and `daffi:runtime/mesh`: what guests ask the mesh by name.
//!
//! Invariant: nothing that a guest passes in makes it trap; what is wrong comes back as a `call-error`. A dynamic call
//! is resolved to one full name and signature first, its arguments are encoded by that signature, and the call accepts
//! that signature only: if the callback changes in between, the call fails instead of being misread.
//! These functions are synchronous in WIT: in a component whose calls interleave, all of them wait with the one that
//! calls here.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use daffi_proto::call::{CallRequest, ResolveRequest, WaitFor, WhenAbandoned};
use daffi_proto::error::{CallError, Outcome, code};
use daffi_proto::id::ProcessName;
use daffi_proto::signature::{Fingerprint, Signature};
use daffi_proto::value::{self, Limits as ValueLimits, ValueError};
use wasmtime::component::{Access, HasData, Linker};
use wasmtime::{AsContextMut, Result};

use super::state::{CallOrigin, GuestState};

mod bindings {
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "imports",
        imports: { default: async | store },
        require_store_data_send: true,
    });
}

use bindings::daffi::runtime::{call, mesh, types};

/// Longest timeout that a guest may ask for: a day.
pub(super) const MAX_TIMEOUT: Duration = Duration::from_secs(86_400);

/// Adds both interfaces.
pub(super) fn add_to_linker(linker: &mut Linker<GuestState>) -> Result<()> {
    types::add_to_linker::<_, Guests>(linker, |state| state)?;
    call::add_to_linker::<_, Guests>(linker, |state| state)?;
    mesh::add_to_linker::<_, Guests>(linker, |state| state)
}

/// Names the data that the host functions below work on.
struct Guests;

impl HasData for Guests {
    type Data<'a> = &'a mut GuestState;
}

impl types::Host for &mut GuestState {}
impl call::Host for &mut GuestState {}
impl mesh::Host for &mut GuestState {}

impl call::HostWithStore<GuestState> for Guests {
    async fn fg(
        mut host: Access<'_, GuestState, Self>,
        callback: String,
        arguments: types::Value,
        options: Option<call::FgOptions>,
    ) -> Result<types::Value, types::CallError> {
        let origin = CallOrigin::of(host.as_context_mut());
        Ok(fg(&origin, callback, arguments, options).await?)
    }
}

impl mesh::HostWithStore<GuestState> for Guests {
    async fn whoami(mut host: Access<'_, GuestState, Self>) -> mesh::SelfInfo {
        let module = host.get().module.clone();
        mesh::SelfInfo {
            process: module.process.name.to_string(),
            tenant: module.process.tenant.to_string(),
            node: module.node.clone(),
        }
    }

    async fn wait_process(
        mut host: Access<'_, GuestState, Self>,
        name: String,
        timeout: u64,
    ) -> Result<(), types::CallError> {
        let origin = CallOrigin::of(host.as_context_mut());
        let process = process_name(&name, "")?;
        Ok(wait(&origin, WaitFor::Process(process), timeout, "").await?)
    }

    async fn wait_callback(
        mut host: Access<'_, GuestState, Self>,
        callback: String,
        timeout: u64,
    ) -> Result<(), types::CallError> {
        let origin = CallOrigin::of(host.as_context_mut());
        Ok(wait(&origin, WaitFor::Callback(callback.clone()), timeout, &callback).await?)
    }

    async fn processes(mut host: Access<'_, GuestState, Self>) -> Vec<mesh::ProcessInfo> {
        let module = host.get().module.clone();
        let mut processes = module.mesh.processes(module.process.tenant.clone()).await.unwrap_or_default();
        processes.sort_by(|a, b| a.process.cmp(&b.process));
        processes
            .into_iter()
            .map(|process| {
                let mut callbacks: Vec<String> = process.callbacks.iter().map(|c| c.name.to_string()).collect();
                callbacks.sort();
                mesh::ProcessInfo { name: process.process.name.to_string(), node: process.node, callbacks }
            })
            .collect()
    }

    async fn callbacks(mut host: Access<'_, GuestState, Self>) -> Vec<mesh::CallbackInfo> {
        let module = host.get().module.clone();
        let processes = module.mesh.processes(module.process.tenant.clone()).await.unwrap_or_default();
        // One entry a name and signature, as the interface says.
        let mut found: BTreeMap<(String, Fingerprint), (String, Vec<String>)> = BTreeMap::new();
        for process in processes {
            for callback in process.callbacks {
                let key = (callback.name.to_string(), callback.signature.fingerprint());
                let entry = found.entry(key).or_insert_with(|| (callback.signature.to_wit(), Vec::new()));
                entry.1.push(process.process.name.to_string());
            }
        }
        found
            .into_iter()
            .map(|((name, _), (signature, mut processes))| {
                processes.sort();
                mesh::CallbackInfo { name, signature, processes }
            })
            .collect()
    }

    async fn stop(mut host: Access<'_, GuestState, Self>, code: u8) {
        host.get().module.mesh.stop(code);
    }
}

async fn fg(
    origin: &CallOrigin,
    callback: String,
    arguments: types::Value,
    options: Option<call::FgOptions>,
) -> Result<types::Value, CallErrorOf> {
    let options = options.unwrap_or(call::FgOptions { timeout: None, receiver: None, wait_ready: false });
    let timeout = options.timeout.map(|timeout| milliseconds(timeout, &callback)).transpose()?;
    let receiver = options.receiver.map(|name| process_name(&name, &callback)).transpose()?;
    let limits = ValueLimits::for_payload(origin.module.limits.payload_bytes);
    let timeout = origin.timeout(timeout);
    if timeout == Duration::ZERO {
        return Err(origin.no_time(&callback).into());
    }
    let started = Instant::now();
    // The arguments are held also while the callback is waited for.
    let _open = origin.open(&callback, length(&arguments))?;
    let caller = origin.caller(&callback)?;
    let resolved = origin
        .module
        .mesh
        .resolve(ResolveRequest {
            caller: caller.clone(),
            pattern: callback,
            receiver: receiver.clone(),
            timeout,
            wait_ready: options.wait_ready,
        })
        .await?;
    let name = resolved.callback.to_string();
    let encoding = Encoding::of(&arguments);
    let args = encode(&resolved.signature, arguments, &limits).map_err(|error| arguments_error(&error, &name))?;
    let request = CallRequest {
        caller,
        callbacks: Arc::from([resolved.callback]),
        accepts: Arc::from([resolved.fingerprint]),
        signature: Some(resolved.signature.clone()),
        receiver,
        args,
        timeout: timeout.saturating_sub(started.elapsed()),
        wait_ready: options.wait_ready,
        // Its failure is a value.
        when_abandoned: WhenAbandoned::Cancel,
    };
    let reply = origin.module.mesh.call(request).await?;
    decode(&resolved.signature, reply.result, encoding, &limits).map_err(|error| {
        let message = format!("{name} gave a result that does not fit its type: {error}");
        CallErrorOf(CallError::failed(code::INTERNAL, message, name).at(reply.process.as_str()))
    })
}

async fn wait(origin: &CallOrigin, what: WaitFor, timeout: u64, callback: &str) -> Result<(), CallErrorOf> {
    let timeout = milliseconds(timeout, callback)?.min(origin.left);
    let tenant = origin.module.process.tenant.clone();
    Ok(origin.module.mesh.wait(tenant, what, origin.module.local(), timeout).await?)
}

/// The encoding of a dynamic call's arguments, which its result is to have too.
#[derive(Clone, Copy)]
enum Encoding {
    Postcard,
    Json,
    Wave,
}

impl Encoding {
    fn of(value: &types::Value) -> Self {
        match value {
            types::Value::Postcard(_) => Self::Postcard,
            types::Value::Json(_) => Self::Json,
            types::Value::Wave(_) => Self::Wave,
        }
    }
}

/// How many bytes of the host's memory it takes.
fn length(value: &types::Value) -> usize {
    match value {
        types::Value::Postcard(bytes) => bytes.len(),
        types::Value::Json(text) | types::Value::Wave(text) => text.len(),
    }
}

fn encode(signature: &Signature, arguments: types::Value, limits: &ValueLimits) -> Result<Bytes, ValueError> {
    match arguments {
        types::Value::Postcard(bytes) => {
            value::check_args(signature, &bytes, limits)?;
            Ok(bytes.into())
        }
        types::Value::Json(text) => value::args_from_json(signature, &text, limits).map(Bytes::from),
        types::Value::Wave(text) => value::args_from_wave(signature, &text, limits).map(Bytes::from),
    }
}

fn decode(
    signature: &Signature,
    result: Bytes,
    encoding: Encoding,
    limits: &ValueLimits,
) -> Result<types::Value, ValueError> {
    match encoding {
        Encoding::Postcard => {
            value::check_result(signature, &result, limits)?;
            Ok(types::Value::Postcard(result.into()))
        }
        Encoding::Json => value::result_to_json(signature, &result, limits).map(types::Value::Json),
        Encoding::Wave => value::result_to_wave(signature, &result, limits).map(types::Value::Wave),
    }
}

fn milliseconds(timeout: u64, callback: &str) -> Result<Duration, CallErrorOf> {
    let timeout = Duration::from_millis(timeout);
    if timeout == Duration::ZERO || timeout > MAX_TIMEOUT {
        let message =
            format!("a timeout is 1 to {} milliseconds, not {}", MAX_TIMEOUT.as_millis(), timeout.as_millis());
        return Err(CallError::not_run(code::BAD_ARGUMENTS, message, callback).into());
    }
    Ok(timeout)
}

fn process_name(name: &str, callback: &str) -> Result<ProcessName, CallErrorOf> {
    ProcessName::new(name).map_err(|error| CallError::not_run(code::BAD_ARGUMENTS, error.to_string(), callback).into())
}

fn arguments_error(error: &ValueError, callback: &str) -> CallErrorOf {
    super::instance::bad_arguments(error, callback).into()
}

/// Carries the protocol's error into the guest's.
struct CallErrorOf(CallError);

impl From<CallError> for CallErrorOf {
    fn from(error: CallError) -> Self {
        Self(error)
    }
}

impl From<CallErrorOf> for types::CallError {
    fn from(CallErrorOf(error): CallErrorOf) -> Self {
        Self {
            outcome: match error.outcome {
                Outcome::NotRun => types::Outcome::NotRun,
                Outcome::Failed => types::Outcome::Failed,
                Outcome::Unknown => types::Outcome::Unknown,
            },
            code: error.code,
            message: error.message,
            callback: error.callback,
            process: error.process,
            retryable: error.retryable,
            trace: error.trace,
        }
    }
}
