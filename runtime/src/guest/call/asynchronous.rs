//! `daffi:runtime/call-async` and `mesh-async`: what [`super::call`] and [`super::mesh`] do, in functions that hold up
//! nobody.
//!
//! Invariant: nothing is done here but to find out for which call a task asks, before anything is waited for, and to hand
//! over: options, limits and errors are those of the synchronous functions.

use daffi_proto::error::CallError;
use wasmtime::component::{Accessor, StreamReader};
use wasmtime::{AsContextMut, StoreContextMut};

use super::super::state::{CallOrigin, GuestState};
use super::arrivals::Flow;
use super::flows::{self, Flowing, Verdict};
use super::watch::Watching;
use super::{Guests, call, call_async, dynamic, members, mesh, mesh_async, no_handle, schedule, sent, streamed, types};

type Host = Accessor<GuestState, Guests>;

impl call_async::Host for &mut GuestState {}
impl mesh_async::Host for &mut GuestState {}

impl call_async::HostWithStore<GuestState> for Guests {
    async fn fg(
        host: &Host,
        callback: String,
        arguments: types::Value,
        options: Option<call::FgOptions>,
    ) -> Result<types::Value, types::CallError> {
        Ok(dynamic::fg(&origin(host), callback, arguments, options).await?)
    }

    async fn send(
        host: &Host,
        callback: String,
        arguments: types::Value,
        options: Option<call::SendOptions>,
    ) -> Result<(), types::CallError> {
        Ok(sent::send(origin(host), callback, arguments, options).await?)
    }

    async fn send_all(
        host: &Host,
        callback: String,
        arguments: types::Value,
        options: Option<call::SendOptions>,
    ) -> Result<Vec<call::Delivery>, types::CallError> {
        Ok(sent::send_all(origin(host), callback, arguments, options).await?)
    }

    async fn broadcast(
        host: &Host,
        callback: String,
        arguments: types::Value,
        options: Option<call::BroadcastOptions>,
    ) -> Result<Vec<call::Entry>, types::CallError> {
        let flow = Flow::begin(&origin(host), callback, arguments, options).await?;
        Ok(flow.all().await?)
    }

    async fn gather(
        host: &Host,
        callback: String,
        arguments: types::Value,
        options: Option<call::BroadcastOptions>,
    ) -> Result<Flowing<call::Entry, Verdict>, types::CallError> {
        let flow = Flow::begin(&origin(host), callback.clone(), arguments, options).await?;
        Ok(with_store(host, &callback, |store| flows::entries(store, flow))?)
    }

    async fn stream(
        host: &Host,
        callback: String,
        arguments: types::Value,
        items: Vec<StreamReader<types::Value>>,
        options: Option<call::StreamOptions>,
    ) -> Result<call_async::Streamed, types::CallError> {
        Ok(streamed::stream(host, callback, arguments, items, options).await?)
    }

    async fn schedule(
        host: &Host,
        callback: String,
        arguments: types::Value,
        plan: call::Plan,
        options: Option<call::ScheduleOptions>,
    ) -> Result<call::Task, types::CallError> {
        Ok(schedule::schedule(&origin(host), callback, arguments, plan, options).await?)
    }

    async fn scheduled_tasks(host: &Host, receiver: Option<String>) -> Result<Vec<call::Task>, types::CallError> {
        Ok(schedule::tasks(&origin(host), receiver).await?)
    }

    async fn scheduled_task(host: &Host, id: String) -> Result<call::Task, types::CallError> {
        Ok(schedule::task(&origin(host), &id).await?)
    }

    async fn cancel_task(host: &Host, id: String) -> Result<call::Task, types::CallError> {
        Ok(schedule::cancel(&origin(host), &id).await?)
    }

    async fn given_up(host: &Host) {
        let given_up = host.with(|mut access| GuestState::scope(access.as_context_mut()).given_up);
        match given_up {
            Some(given_up) => given_up.cancelled().await,
            None => std::future::pending().await,
        }
    }
}

impl mesh_async::HostWithStore<GuestState> for Guests {
    async fn wait_process(host: &Host, name: String, timeout: u64) -> Result<(), types::CallError> {
        Ok(members::wait_process(&origin(host), &name, timeout).await?)
    }

    async fn wait_callback(host: &Host, callback: String, timeout: u64) -> Result<(), types::CallError> {
        Ok(members::wait_callback(&origin(host), callback, timeout).await?)
    }

    async fn processes(host: &Host) -> Vec<mesh::ProcessInfo> {
        members::processes(&origin(host).module).await
    }

    async fn callbacks(host: &Host) -> Vec<mesh::CallbackInfo> {
        members::callbacks(&origin(host).module).await
    }

    async fn watch(host: &Host) -> Result<Flowing<mesh::MemberEvent, types::CallError>, types::CallError> {
        let watching = Watching::begin(&origin(host)).await?;
        Ok(with_store(host, "mesh#watch", |store| flows::events(store, watching))?)
    }
}

/// For which call the task asks that has just called the host.
fn origin(host: &Host) -> CallOrigin {
    host.with(|mut access| CallOrigin::of(access.as_context_mut()))
}

/// Gives a guest handles.
///
/// # Errors
/// `overloaded` when its store has room for no more.
fn with_store<T>(
    host: &Host,
    callback: &str,
    make: impl FnOnce(StoreContextMut<'_, GuestState>) -> wasmtime::Result<T>,
) -> Result<T, CallError> {
    host.with(|mut access| make(access.as_context_mut()).map_err(|_| no_handle(access.get(), callback)))
}
