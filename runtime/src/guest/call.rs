//! `daffi:runtime`: what guests ask the mesh by name.
//!
//! | module | serves |
//! |---|---|
//! | (here) | `call`, and the linker |
//! | `asynchronous` | `call-async` and `mesh-async`, by the same functions |
//! | `dynamic` | from a guest's text to a call, and from the reply to a guest's value |
//! | `options` | how a call is to be made |
//! | `pending` | BG calls |
//! | `sent` | calls whose results nobody waits for |
//! | `arrivals` | BROADCAST |
//! | `schedule` | PERIOD |
//! | `streaming` | STREAM: the call and its reply |
//! | `outbound`, `inbound` | the streams that guests write and read |
//! | `streamed` | STREAM for `call-async`: those joined with streams of the guest |
//! | `items` | from a guest's values to chunks of a stream, and back |
//! | `members` | `mesh` |
//! | `watch` | the events of `mesh` |
//!
//! Invariant: nothing that a guest passes in makes it trap; what is wrong comes back as a `call-error`. Only a handle too
//! many ends an instance, where the WIT has no place for an error.
//! Those of `call` and `mesh` are synchronous in WIT: in a component whose calls interleave, all of them wait with the one
//! that calls there. Those of the async twins hold up nobody.

mod arrivals;
mod asynchronous;
mod dynamic;
mod flows;
mod inbound;
mod items;
mod members;
mod options;
mod outbound;
mod pending;
mod schedule;
mod sent;
mod streamed;
mod streaming;
mod watch;

use std::time::Duration;

use daffi_proto::call::{MAX_TIMEOUT, MIN_TIMEOUT};
use daffi_proto::error::{CallError, Outcome, code};
use daffi_proto::id::ProcessName;
use wasmtime::component::{Access, HasData, Linker, Resource};
use wasmtime::{AsContextMut, Result};
use wasmtime_wasi::WasiView;
use wasmtime_wasi::p2::{DynPollable, Pollable, subscribe as subscribe_to};

use self::arrivals::{Arrivals, Flow};
use self::dynamic::Wish;
use self::options::How;
use self::pending::Pending;
use super::engine::EngineKind;
use super::fault::out_of_handles;
use super::handles::Handle;
use super::state::{CallOrigin, GuestState};

mod bindings {
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "imports-async",
        imports: {
            "daffi:runtime/call.[method]pending.subscribe": async | store | trappable,
            "daffi:runtime/call.[method]pending.try-get": async | store | trappable,
            "daffi:runtime/call.[method]pending.wait": async | store | trappable,
            "daffi:runtime/call.[method]pending.cancel": async | store | trappable,
            "daffi:runtime/call.[drop]pending": store,
            "daffi:runtime/call.[method]arrivals.subscribe": async | store | trappable,
            "daffi:runtime/call.[method]arrivals.try-next": async | store | trappable,
            "daffi:runtime/call.[method]arrivals.next": async | store | trappable,
            "daffi:runtime/call.[drop]arrivals": store,
            "daffi:runtime/call.[method]reply.subscribe": async | store | trappable,
            "daffi:runtime/call.[method]reply.try-get": async | store | trappable,
            "daffi:runtime/call.[method]reply.wait": async | store | trappable,
            "daffi:runtime/call.[drop]reply": store,
            "daffi:runtime/call.[method]outbound.subscribe": async | store | trappable,
            "daffi:runtime/call.[method]outbound.check-write": async | store | trappable,
            "daffi:runtime/call.[method]outbound.write": async | store | trappable,
            "daffi:runtime/call.[method]outbound.finish": async | store | trappable,
            "daffi:runtime/call.[method]outbound.fail": async | store | trappable,
            "daffi:runtime/call.[method]outbound.ended": async | store | trappable,
            "daffi:runtime/call.[drop]outbound": store,
            "daffi:runtime/call.[method]inbound.subscribe": async | store | trappable,
            "daffi:runtime/call.[method]inbound.try-next": async | store | trappable,
            "daffi:runtime/call.[method]inbound.next": async | store | trappable,
            "daffi:runtime/call.[drop]inbound": store,
            "daffi:runtime/mesh.[method]member-events.subscribe": async | store | trappable,
            "daffi:runtime/mesh.[method]member-events.try-next": async | store | trappable,
            "daffi:runtime/mesh.[method]member-events.next": async | store | trappable,
            "daffi:runtime/mesh.[drop]member-events": store,
            "daffi:runtime/mesh.stop": async | store | trappable,
            default: async | store,
        },
        with: {
            "wasi:io": wasmtime_wasi::p2::bindings::io,
            "daffi:runtime/call.pending": super::held::Pending,
            "daffi:runtime/call.arrivals": super::held::Arrivals,
            "daffi:runtime/call.reply": super::held::Reply,
            "daffi:runtime/call.outbound": super::held::Outbound,
            "daffi:runtime/call.inbound": super::held::Inbound,
            "daffi:runtime/mesh.member-events": super::held::MemberEvents,
        },
        require_store_data_send: true,
    });
}

use bindings::daffi::runtime::{call, call_async, mesh, mesh_async, types};

/// What a guest's table holds of each resource.
mod held {
    use super::super::handles::Handle;

    pub type Pending = Handle<super::pending::Pending>;
    pub type Arrivals = Handle<super::arrivals::Arrivals>;
    pub type Reply = Handle<super::streaming::Reply>;
    pub type Outbound = Handle<super::outbound::Outbound>;
    pub type Inbound = Handle<super::inbound::Inbound>;
    pub type MemberEvents = Handle<super::watch::MemberEvents>;
}

/// Adds the interfaces; those with async functions where the engine has concurrency.
pub(super) fn add_to_linker(linker: &mut Linker<GuestState>, kind: EngineKind) -> Result<()> {
    types::add_to_linker::<_, Guests>(linker, |state| state)?;
    call::add_to_linker::<_, Guests>(linker, |state| state)?;
    mesh::add_to_linker::<_, Guests>(linker, |state| state)?;
    if kind == EngineKind::Concurrent {
        call_async::add_to_linker::<_, Guests>(linker, |state| state)?;
        mesh_async::add_to_linker::<_, Guests>(linker, |state| state)?;
    }
    Ok(())
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
        Ok(dynamic::fg(&origin, callback, arguments, options).await?)
    }

    async fn bg(
        mut host: Access<'_, GuestState, Self>,
        callback: String,
        arguments: types::Value,
        options: Option<call::BgOptions>,
    ) -> Result<Resource<held::Pending>, types::CallError> {
        let origin = CallOrigin::of(host.as_context_mut());
        let how = How::bg(options, &callback)?;
        let wish = Wish::new(&origin, callback, arguments, how)?;
        // The handle comes first: once there is one, the call cannot be lost.
        let (pending, result) = Pending::new(wish.callback());
        let handle = push(&mut host, pending, wish.callback())?;
        match pending::begin(origin, wish, result).await {
            Ok(()) => Ok(handle),
            Err(error) => {
                let _ = host.get().ctx().table.delete(handle);
                Err(error.into())
            }
        }
    }

    async fn send(
        mut host: Access<'_, GuestState, Self>,
        callback: String,
        arguments: types::Value,
        options: Option<call::SendOptions>,
    ) -> Result<(), types::CallError> {
        Ok(sent::send(CallOrigin::of(host.as_context_mut()), callback, arguments, options).await?)
    }

    async fn remaining(mut host: Access<'_, GuestState, Self>) -> Option<u64> {
        CallOrigin::of(host.as_context_mut())
            .remaining()
            .map(|left| u64::try_from(left.as_millis()).unwrap_or(u64::MAX))
    }

    async fn broadcast(
        mut host: Access<'_, GuestState, Self>,
        callback: String,
        arguments: types::Value,
        options: Option<call::BroadcastOptions>,
    ) -> Result<Vec<call::Entry>, types::CallError> {
        let origin = CallOrigin::of(host.as_context_mut());
        let flow = Flow::begin(&origin, callback, arguments, options).await?;
        Ok(flow.all().await?)
    }

    async fn send_all(
        mut host: Access<'_, GuestState, Self>,
        callback: String,
        arguments: types::Value,
        options: Option<call::SendOptions>,
    ) -> Result<Vec<call::Delivery>, types::CallError> {
        Ok(sent::send_all(CallOrigin::of(host.as_context_mut()), callback, arguments, options).await?)
    }

    async fn gather(
        mut host: Access<'_, GuestState, Self>,
        callback: String,
        arguments: types::Value,
        options: Option<call::BroadcastOptions>,
    ) -> Result<Resource<held::Arrivals>, types::CallError> {
        let origin = CallOrigin::of(host.as_context_mut());
        let flow = Flow::begin(&origin, callback.clone(), arguments, options).await?;
        Ok(push(&mut host, Arrivals::new(flow), &callback)?)
    }

    async fn schedule(
        mut host: Access<'_, GuestState, Self>,
        callback: String,
        arguments: types::Value,
        plan: call::Plan,
        options: Option<call::ScheduleOptions>,
    ) -> Result<call::Task, types::CallError> {
        let origin = CallOrigin::of(host.as_context_mut());
        Ok(schedule::schedule(&origin, callback, arguments, plan, options).await?)
    }

    async fn scheduled_tasks(
        mut host: Access<'_, GuestState, Self>,
        receiver: Option<String>,
    ) -> Result<Vec<call::Task>, types::CallError> {
        let origin = CallOrigin::of(host.as_context_mut());
        Ok(schedule::tasks(&origin, receiver).await?)
    }

    async fn scheduled_task(
        mut host: Access<'_, GuestState, Self>,
        id: String,
    ) -> Result<call::Task, types::CallError> {
        let origin = CallOrigin::of(host.as_context_mut());
        Ok(schedule::task(&origin, &id).await?)
    }

    async fn cancel_task(mut host: Access<'_, GuestState, Self>, id: String) -> Result<call::Task, types::CallError> {
        let origin = CallOrigin::of(host.as_context_mut());
        Ok(schedule::cancel(&origin, &id).await?)
    }

    async fn stream(
        mut host: Access<'_, GuestState, Self>,
        callback: String,
        arguments: types::Value,
        options: Option<call::StreamOptions>,
    ) -> Result<call::Streams, types::CallError> {
        let origin = CallOrigin::of(host.as_context_mut());
        let begun = streaming::Wish::new(&origin, callback, arguments, options)?.begin(&origin).await?;
        Ok(streaming::open(&mut host, begun)?)
    }
}

impl call::HostArrivals for &mut GuestState {}

impl call::HostArrivalsWithStore<GuestState> for Guests {
    async fn subscribe(
        mut host: Access<'_, GuestState, Self>,
        arrivals: Resource<held::Arrivals>,
    ) -> Result<Resource<DynPollable>> {
        arrivals::subscribe(host.get(), &arrivals)
    }

    async fn try_next(
        mut host: Access<'_, GuestState, Self>,
        arrivals: Resource<held::Arrivals>,
    ) -> Result<Result<Option<call::Arrival>, types::CallError>> {
        let arrivals = host.get().ctx().table.get(&arrivals)?.shared();
        Ok(arrivals.try_next().map_err(types::CallError::from))
    }

    async fn next(
        mut host: Access<'_, GuestState, Self>,
        arrivals: Resource<held::Arrivals>,
    ) -> Result<Result<call::Arrival, types::CallError>> {
        let arrivals = host.get().ctx().table.get(&arrivals)?.shared();
        Ok(arrivals.next().await.map_err(types::CallError::from))
    }

    fn drop(mut host: Access<'_, GuestState, Self>, arrivals: Resource<held::Arrivals>) -> Result<()> {
        host.get().ctx().table.delete(arrivals)?.shared().close();
        Ok(())
    }
}

impl call::HostPending for &mut GuestState {}

impl call::HostPendingWithStore<GuestState> for Guests {
    async fn subscribe(
        mut host: Access<'_, GuestState, Self>,
        pending: Resource<held::Pending>,
    ) -> Result<Resource<DynPollable>> {
        pending::subscribe(host.get(), &pending)
    }

    async fn try_get(
        mut host: Access<'_, GuestState, Self>,
        pending: Resource<held::Pending>,
    ) -> Result<Option<Result<types::Value, types::CallError>>> {
        let result = host.get().ctx().table.get(&pending)?.shared();
        Ok(result.try_get().map(|result| result.map_err(types::CallError::from)))
    }

    async fn wait(
        mut host: Access<'_, GuestState, Self>,
        pending: Resource<held::Pending>,
    ) -> Result<Result<types::Value, types::CallError>> {
        let result = host.get().ctx().table.get(&pending)?.shared();
        Ok(result.wait().await.map_err(types::CallError::from))
    }

    async fn cancel(mut host: Access<'_, GuestState, Self>, pending: Resource<held::Pending>) -> Result<()> {
        host.get().ctx().table.get(&pending)?.shared().cancel();
        Ok(())
    }

    fn drop(mut host: Access<'_, GuestState, Self>, pending: Resource<held::Pending>) -> Result<()> {
        host.get().ctx().table.delete(pending)?.shared().close();
        Ok(())
    }
}

/// Gives a guest a handle.
///
/// # Errors
/// `overloaded` when its instance, or its tenant, has as many as it may have.
fn push<T: Send + 'static>(
    host: &mut Access<'_, GuestState, Guests>,
    what: T,
    callback: &str,
) -> Result<Resource<Handle<T>>, CallError> {
    let state = host.get();
    let what = state.module.handles.of(what);
    state.ctx().table.push(what).map_err(|_| no_handle(state, callback))
}

/// Gives a guest something to wait for with `wasi:io/poll`. It is no child of what it tells of, so that a guest may drop
/// both in any order.
fn pollable<T: Pollable>(state: &mut GuestState, what: T) -> wasmtime::Result<Resource<DynPollable>> {
    let what = state.module.handles.of(what);
    let table = state.ctx().table;
    let what = table.push(what)?;
    subscribe_to(table, what)
}

/// The error of a guest whose instance, or whose tenant, has as many handles as it may.
fn no_handle(state: &GuestState, callback: &str) -> CallError {
    let limit = state.module.limits.host_handles;
    let message = match state.handles_refused() {
        Some(reached) => format!("{reached}: drop some"),
        None => out_of_handles("this instance", state.module.outside.handles(limit), limit),
    };
    CallError::not_run(code::OVERLOADED, message, callback)
}

fn milliseconds(timeout: u64, callback: &str) -> Result<Duration, CallError> {
    let timeout = Duration::from_millis(timeout);
    if !(MIN_TIMEOUT..=MAX_TIMEOUT).contains(&timeout) {
        let (least, most) = (MIN_TIMEOUT.as_millis(), MAX_TIMEOUT.as_millis());
        let message = format!("a timeout is {least} to {most} milliseconds (7 days), not {}", timeout.as_millis());
        return Err(CallError::not_run(code::BAD_ARGUMENTS, message, callback));
    }
    Ok(timeout)
}

fn process_name(name: &str, callback: &str) -> Result<ProcessName, CallError> {
    ProcessName::new(name).map_err(|error| CallError::not_run(code::BAD_ARGUMENTS, error.to_string(), callback))
}

impl From<CallError> for types::CallError {
    fn from(error: CallError) -> Self {
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
