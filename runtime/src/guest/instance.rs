//! One instance of a synchronous component: a store with one instance in it, and calls into it.
//!
//! ```text
//!   make ──► on-init ──► tell (on-connect, on-disconnect in turns) ──► call ──► call …
//! ```
//!
//! Invariants: one call at a time, since a call takes `&mut self`; after any error but a bad argument the instance is
//! not entered again (a trap poisons the whole store), which the type says: such a call does not give it back.
//! Dropping a call's future ends the instance with it. It knows neither queue nor deadline of the caller.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use daffi_proto::error::{CallError, code};
use daffi_proto::value::{self, Limits as ValueLimits};
use tokio::time::timeout_at;
use wasmtime::Store;
use wasmtime::component::{ComponentExportIndex, Instance as WasmInstance};

use super::component::LifecycleExports;
use super::fault::{Fault, TimeUpBy, instantiation_error};
use super::state::{GuestState, Scope};
use super::template::Template;
use super::transcode::DynFunc;
use crate::mesh::handle::LinkState;

/// What a node's link did: the events that a lifecycle export is told, in turns, the first of which is a connect.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct LinkHistory {
    /// How many events there were: an odd number means connected.
    pub events: u64,
    /// Why the link was last lost.
    pub reason: String,
}

impl LinkHistory {
    fn is_up(events: u64) -> bool {
        events % 2 == 1
    }

    /// Takes in what the link is now. A link that was lost and is back when we look is two events.
    pub fn update(&mut self, link: &LinkState) {
        let was_up = Self::is_up(self.events);
        match link {
            LinkState::Up if was_up => {
                self.events += 2;
                self.reason = "the link was lost and is back".to_owned();
            }
            LinkState::Up => self.events += 1,
            LinkState::Down { reason } | LinkState::Refused { message: reason, .. } if was_up => {
                self.events += 1;
                self.reason.clone_from(reason);
            }
            LinkState::Down { .. } | LinkState::Refused { .. } => {}
        }
    }
}

/// A live instance of a synchronous component.
pub(super) struct Instance {
    template: Arc<Template>,
    store: Store<GuestState>,
    instance: WasmInstance,
    /// By the callback's place in the module; made when first called.
    callbacks: Vec<Option<DynFunc>>,
    /// How many events of the link it was told.
    told: u64,
}

/// What a call came to, and the instance if it can take another.
pub(super) type Called = (Option<Box<Instance>>, Result<Bytes, CallError>);

/// How long a call may take, and whose time that is.
#[derive(Clone, Copy, Debug)]
pub(super) struct StopAt {
    pub at: Instant,
    pub by: TimeUpBy,
}

impl Instance {
    /// Makes an instance and, where the module has lifecycle functions and keeps its instances, lets it initialise.
    ///
    /// # Errors
    /// `not-run`: `instantiation-failed`, or `overloaded` when the runtime has no room.
    pub async fn make(template: Arc<Template>, number: u32, callback: &str) -> Result<Box<Self>, CallError> {
        let mut store = template.new_store(number);
        let stop_at = Instant::now() + template.context.limits.max_call_time;
        GuestState::enter(&mut store, Scope { parent: None, deadline: Some(stop_at) }, Some(stop_at));
        let made = timeout_at(stop_at.into(), template.pre.instantiate_async(&mut store)).await;
        let instance = match made {
            Ok(Ok(instance)) => instance,
            Ok(Err(error)) => return Err(instantiation_error(&error, store.data_mut(), callback)),
            Err(_) => return Err(too_slow(callback, "its start")),
        };
        let callbacks = template.callbacks.iter().map(|_| None).collect();
        let mut made = Box::new(Self { template, store, instance, callbacks, told: 0 });
        if made.template.lifecycle.is_some() {
            made.lifecycle(|exports| exports.on_init, None)
                .await
                .map_err(|error| not_ready(error, callback, "on-init"))?;
        }
        Ok(made)
    }

    /// Whether it has events of the link to be told.
    pub fn is_behind(&self, link: &LinkHistory) -> bool {
        self.template.lifecycle.is_some() && self.told < link.events
    }

    /// Tells it what the link did since it was told last; of a long past, the last events suffice.
    ///
    /// # Errors
    /// `not-run`/`instantiation-failed`: the instance has ended in its lifecycle function.
    pub async fn tell(mut self: Box<Self>, link: LinkHistory, callback: &str) -> Result<Box<Self>, CallError> {
        let behind = link.events.saturating_sub(self.told);
        if behind > 2 {
            // Two events later the link is as it was: they are left out in pairs, so that the turns stay.
            self.told += (behind - 1) / 2 * 2;
        }
        while self.told < link.events {
            self.told += 1;
            let told = if LinkHistory::is_up(self.told) {
                self.lifecycle(|exports| exports.on_connect, None)
                    .await
                    .map_err(|error| not_ready(error, callback, "on-connect"))
            } else {
                let reason = Some(link.reason.as_str());
                self.lifecycle(|exports| exports.on_disconnect, reason)
                    .await
                    .map_err(|e| not_ready(e, callback, "on-disconnect"))
            };
            told?;
        }
        Ok(self)
    }

    /// Calls a callback; the arguments are checked before the guest is entered.
    ///
    /// Cancel safety: dropping the future ends the instance.
    pub async fn call(mut self: Box<Self>, callback: u32, args: Bytes, scope: Scope, stop: StopAt) -> Called {
        let template = self.template.clone();
        let Some(target) = template.callbacks.get(callback as usize) else {
            let message = format!("process {} has no callback number {callback}", template.context.process.name);
            return (Some(self), Err(CallError::not_run(code::INTERNAL, message, "")));
        };
        let name = target.name.as_ref();
        let limits = ValueLimits::for_payload(template.context.limits.payload_bytes);
        if let Err(error) = value::check_args(&target.signature, &args, &limits) {
            return (Some(self), Err(bad_arguments(&error, name)));
        }
        let function = match self.function(callback) {
            Ok(function) => function,
            Err(error) => return (Some(self), Err(error)),
        };
        GuestState::enter(&mut self.store, scope, Some(stop.at));
        match function.call(&mut self.store, args).await {
            Ok(result) if result.len() > template.context.limits.payload_bytes => {
                (Some(self), Err(result_too_large(result.len(), template.context.limits.payload_bytes, name)))
            }
            Ok(result) => (Some(self), Ok(result)),
            Err(error) => (None, Err(Fault::of(&error, self.store.data_mut()).into_error(name, stop.by))),
        }
    }

    fn function(&mut self, callback: u32) -> Result<DynFunc, CallError> {
        let template = &self.template;
        let (Some(slot), Some(target)) =
            (self.callbacks.get_mut(callback as usize), template.callbacks.get(callback as usize))
        else {
            return Err(CallError::not_run(code::INTERNAL, "no such callback", ""));
        };
        if let Some(function) = slot {
            return Ok(*function);
        }
        let internal =
            |why: String| CallError::not_run(code::INTERNAL, format!("{}: {why}", target.name), &*target.name);
        let function = self
            .instance
            .get_func(&mut self.store, target.export)
            .ok_or_else(|| internal("the instance lacks the export".to_owned()))?;
        let function = DynFunc::new(&mut self.store, &function).map_err(|error| internal(error.to_string()))?;
        Ok(*slot.insert(function))
    }

    /// Calls a lifecycle function, within the module's own time for a call.
    async fn lifecycle(
        &mut self,
        which: fn(&LifecycleExports) -> ComponentExportIndex,
        reason: Option<&str>,
    ) -> Result<(), Fault> {
        let Some(export) = self.template.lifecycle.as_ref().map(which) else { return Ok(()) };
        let stop_at = Instant::now() + self.template.context.limits.max_call_time;
        GuestState::enter(&mut self.store, Scope { parent: None, deadline: Some(stop_at) }, Some(stop_at));
        let store = &mut self.store;
        let called = match reason {
            None => match self.instance.get_typed_func::<(), ()>(&mut *store, export) {
                Ok(function) => timeout_at(stop_at.into(), function.call_async(&mut *store, ())).await,
                Err(error) => Ok(Err(error)),
            },
            Some(reason) => match self.instance.get_typed_func::<(&str,), ()>(&mut *store, export) {
                Ok(function) => timeout_at(stop_at.into(), function.call_async(&mut *store, (reason,))).await,
                Err(error) => Ok(Err(error)),
            },
        };
        match called {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Fault::of(&error, self.store.data_mut())),
            Err(_) => Err(Fault::TimeUp(None)),
        }
    }
}

/// The arguments are no values of the parameters' types.
pub(super) fn bad_arguments(error: &value::ValueError, callback: &str) -> CallError {
    let code = if error.is_too_large() { code::PAYLOAD_TOO_LARGE } else { code::BAD_ARGUMENTS };
    CallError::not_run(code, format!("arguments of {callback}: {error}"), callback)
}

/// The callback ran, and gave more than it may.
pub(super) fn result_too_large(bytes: usize, allowed: usize, callback: &str) -> CallError {
    let message = format!("the result of {callback} has {bytes} bytes, {allowed} are allowed: raise the payload limit");
    CallError::failed(code::PAYLOAD_TOO_LARGE, message, callback)
}

fn not_ready(fault: Fault, callback: &str, function: &str) -> CallError {
    let message = format!("{callback} was not called: {function} of its instance failed: {}", fault.message());
    CallError { trace: fault.into_trace(), ..CallError::not_run(code::INSTANTIATION_FAILED, message, callback) }
}

fn too_slow(callback: &str, what: &str) -> CallError {
    let message = format!("{callback} was not called: {what} took longer than the module's max-call-time");
    CallError::not_run(code::INSTANTIATION_FAILED, message, callback)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_link_connects_and_disconnects_in_turns() {
        let down = |reason: &str| LinkState::Down { reason: reason.to_owned() };
        let mut link = LinkHistory::default();
        link.update(&down("not yet"));
        assert_eq!(link.events, 0);
        link.update(&LinkState::Up);
        link.update(&down("broken"));
        link.update(&down("still broken"));
        assert_eq!(link, LinkHistory { events: 2, reason: "broken".to_owned() });
        link.update(&LinkState::Up);
        link.update(&LinkState::Up);
        assert_eq!(link.events, 5);
    }
}
