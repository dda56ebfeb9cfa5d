//! `daffi:runtime/mesh`: who is there, and waiting for them.

use std::collections::BTreeMap;

use daffi_proto::call::{ProcessInfo, WaitFor};
use daffi_proto::error::CallError;
use daffi_proto::signature::Fingerprint;
use wasmtime::AsContextMut;
use wasmtime::component::{Access, Resource};
use wasmtime_wasi::WasiView;
use wasmtime_wasi::p2::DynPollable;

use super::super::fault::FetchFailed;
use super::super::grants::Act;
use super::super::state::{CallOrigin, GuestState, ModuleContext};
use super::watch::{self, MemberEvents, Watching};
use super::{Guests, held, mesh, milliseconds, process_name, push, types};

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
        Ok(wait_process(&origin, &name, timeout).await?)
    }

    async fn wait_callback(
        mut host: Access<'_, GuestState, Self>,
        callback: String,
        timeout: u64,
    ) -> Result<(), types::CallError> {
        let origin = CallOrigin::of(host.as_context_mut());
        Ok(wait_callback(&origin, callback, timeout).await?)
    }

    async fn processes(mut host: Access<'_, GuestState, Self>) -> Vec<mesh::ProcessInfo> {
        let module = host.get().module.clone();
        processes(&module).await
    }

    async fn callbacks(mut host: Access<'_, GuestState, Self>) -> Vec<mesh::CallbackInfo> {
        let module = host.get().module.clone();
        callbacks(&module).await
    }

    async fn watch(mut host: Access<'_, GuestState, Self>) -> Result<Resource<held::MemberEvents>, types::CallError> {
        let origin = CallOrigin::of(host.as_context_mut());
        let events = MemberEvents::new(Watching::begin(&origin).await?);
        Ok(push(&mut host, events, "mesh#watch")?)
    }

    async fn stop(mut host: Access<'_, GuestState, Self>, code: u8) -> wasmtime::Result<()> {
        let module = host.get().module.clone();
        if let Err(error) = module.grants.act(&module.process, Act::Stop, "mesh#stop") {
            return Err(FetchFailed { name: "mesh#stop".to_owned(), error }.into());
        }
        tracing::info!("{} stops this runtime with exit code {code}", module.process);
        module.mesh.stop(code);
        Ok(())
    }
}

impl mesh::HostMemberEvents for &mut GuestState {}

impl mesh::HostMemberEventsWithStore<GuestState> for Guests {
    async fn subscribe(
        mut host: Access<'_, GuestState, Self>,
        events: Resource<held::MemberEvents>,
    ) -> wasmtime::Result<Resource<DynPollable>> {
        watch::subscribe(host.get(), &events)
    }

    async fn try_next(
        mut host: Access<'_, GuestState, Self>,
        events: Resource<held::MemberEvents>,
    ) -> wasmtime::Result<Result<Option<mesh::MemberEvent>, types::CallError>> {
        let events = host.get().ctx().table.get(&events)?.shared();
        Ok(events.try_next().map_err(types::CallError::from))
    }

    async fn next(
        mut host: Access<'_, GuestState, Self>,
        events: Resource<held::MemberEvents>,
        timeout: u64,
    ) -> wasmtime::Result<Result<mesh::MemberEvent, types::CallError>> {
        let origin = CallOrigin::of(host.as_context_mut());
        let events = host.get().ctx().table.get(&events)?.shared();
        Ok(match milliseconds(timeout, "") {
            Ok(timeout) => events.next(timeout.min(origin.left)).await.map_err(types::CallError::from),
            Err(error) => Err(error.into()),
        })
    }

    fn drop(mut host: Access<'_, GuestState, Self>, events: Resource<held::MemberEvents>) -> wasmtime::Result<()> {
        host.get().ctx().table.delete(events)?.shared().close();
        Ok(())
    }
}

/// Waits for a process of this name.
///
/// # Errors
/// `bad-arguments`, `overloaded`, `deadline-exceeded`, `cancelled`
pub(super) async fn wait_process(origin: &CallOrigin, name: &str, timeout: u64) -> Result<(), CallError> {
    origin.may(Act::List, "mesh#wait-process")?;
    let process = process_name(name, "")?;
    let _place = origin.open("mesh#wait-process", 0)?;
    wait(origin, WaitFor::Process(process), timeout, "").await
}

/// Waits for another process that has the callback.
///
/// # Errors
/// As of [`wait_process`], and `ambiguous`.
pub(super) async fn wait_callback(origin: &CallOrigin, callback: String, timeout: u64) -> Result<(), CallError> {
    let _place = origin.open("mesh#wait-callback", 0)?;
    wait(origin, WaitFor::Callback(callback.clone()), timeout, &callback).await
}

/// The processes of the module's tenant, by name.
pub(super) async fn processes(module: &ModuleContext) -> Vec<mesh::ProcessInfo> {
    let mut processes = members(module).await;
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

/// The callbacks of the module's tenant, by name.
pub(super) async fn callbacks(module: &ModuleContext) -> Vec<mesh::CallbackInfo> {
    let processes = members(module).await;
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

/// What the node knows. There is no place for an error in a list, so that a module that asks for many at once has one
/// after another. Cancel safe.
async fn members(module: &ModuleContext) -> Vec<ProcessInfo> {
    // Nobody closes it.
    let _turn = module.lists.acquire().await;
    let mut members = module.mesh.processes(module.process.tenant.clone()).await.unwrap_or_default();
    if module.grants.act(&module.process, Act::List, "").is_err() {
        members.retain(|member| member.process == module.process);
    }
    members
}

async fn wait(origin: &CallOrigin, what: WaitFor, timeout: u64, callback: &str) -> Result<(), CallError> {
    let timeout = milliseconds(timeout, callback)?.min(origin.left);
    origin.module.mesh.wait(origin.caller(callback)?, what, timeout).await
}
