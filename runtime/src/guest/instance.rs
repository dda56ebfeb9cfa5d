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
use daffi_proto::signature::Signature;
use daffi_proto::value::{self, Limits as ValueLimits};
use tokio::time::timeout_at;
use wasmtime::component::{ComponentExportIndex, Instance as WasmInstance};
use wasmtime::{AsContextMut, Store};

use super::component::LifecycleExports;
use super::fault::{Fault, TimeUpBy, cut, instantiation_error};
use super::state::{GuestState, Scope};
use super::template::{Target, Template};
use super::transcode::DynFunc;
use crate::mesh::handle::LinkState;

/// Most bytes of a signature in an error.
const MAX_SIGNATURE_BYTES: usize = 1 << 10;

/// What a node's link did: the events that a lifecycle export is told, in turns, the first of which is a connect.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct LinkHistory {
    /// How many events there were: an odd number means connected.
    pub events: u64,
    /// Why the link was last lost.
    pub reason: String,
}

/// An event of the link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum LinkEvent {
    /// The node is connected.
    Connected,
    /// It no longer is, for this reason.
    Disconnected(String),
}

impl LinkHistory {
    fn is_up(events: u64) -> bool {
        events % 2 == 1
    }

    /// How many events an instance that was told `told` of them has been told after the next: two events later the
    /// link is as it was, so of a long past pairs are left out and the turns stay.
    pub fn next_to_tell(&self, told: u64) -> u64 {
        let behind = self.events.saturating_sub(told);
        told + behind.saturating_sub(1) / 2 * 2 + 1
    }

    /// The event of this number; the first is 1.
    pub fn event(&self, number: u64) -> LinkEvent {
        if Self::is_up(number) { LinkEvent::Connected } else { LinkEvent::Disconnected(self.reason.clone()) }
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
    pub(super) template: Arc<Template>,
    pub(super) store: Store<GuestState>,
    pub(super) instance: WasmInstance,
    /// By the callback's place in the module; made when first called.
    pub(super) callbacks: Vec<Option<DynFunc>>,
    /// How many events of the link it was told.
    pub(super) told: u64,
    called: bool,
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
        let mut store = template.new_store(number).map_err(|reached| {
            let message = format!("{callback} was not called: no instance could be made: {reached}; try later");
            CallError::not_run(code::OVERLOADED, message, callback)
        })?;
        let stop_at = Instant::now() + template.context.limits.max_call_time;
        GuestState::enter(&mut store, Scope::until(stop_at), Some(stop_at));
        let turn = store.data().turn.clone();
        let made = turn.entering(template.pre.instantiate_async(&mut store));
        let made = timeout_at(stop_at.into(), made).await;
        let instance = match made {
            Ok(Ok(instance)) => instance,
            Ok(Err(error)) => return Err(instantiation_error(&error, store.data_mut(), callback)),
            Err(_) => return Err(too_slow(callback, "its start")),
        };
        let callbacks = template.callbacks.iter().map(|_| None).collect();
        let mut made = Box::new(Self { template, store, instance, callbacks, told: 0, called: false });
        if made.template.lifecycle.is_some() {
            made.lifecycle(|exports| exports.on_init, None)
                .await
                .map_err(|error| not_ready(error, callback, "on-init"))?;
        }
        Ok(made)
    }

    /// Whether a callback of it was called.
    pub fn was_called(&self) -> bool {
        self.called
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
        while self.told < link.events {
            self.told = link.next_to_tell(self.told);
            let told = match link.event(self.told) {
                LinkEvent::Connected => self.lifecycle(|exports| exports.on_connect, None).await,
                LinkEvent::Disconnected(reason) => self.lifecycle(|exports| exports.on_disconnect, Some(&reason)).await,
            };
            told.map_err(|error| not_ready(error, callback, "hearing of the link"))?;
        }
        Ok(self)
    }

    /// Calls a callback; the arguments are checked before the guest is entered.
    ///
    /// Cancel safety: dropping the future ends the instance.
    pub async fn call(mut self: Box<Self>, callback: u32, args: Bytes, scope: Scope, stop: StopAt) -> Called {
        self.called = true;
        let template = self.template.clone();
        let Some(target) = template.target(callback) else {
            return (Some(self), Err(no_such_callback(&template, callback)));
        };
        let name = target.name.as_ref();
        let limits_of_call = &template.context.limits;
        let limits = ValueLimits::for_payload(limits_of_call.payload_bytes);
        if let Err(error) = value::check_args(&target.signature, &args, &limits) {
            return (Some(self), Err(bad_arguments(&error, name, &target.signature)));
        }
        let function = match self.function(callback) {
            Ok(function) => function,
            Err(error) => return (Some(self), Err(error)),
        };
        GuestState::enter(&mut self.store, scope, Some(stop.at));
        let turn = self.store.data().turn.clone();
        let called = turn.computing(limits_of_call.max_call_cpu, function.call(&mut self.store, args)).await;
        match called.unwrap_or_else(|| Err(limits_of_call.computed_too_long())) {
            Ok(result) if result.len() > limits_of_call.max_result() => {
                (Some(self), Err(result_too_large(result.len(), limits_of_call.max_result(), name)))
            }
            Ok(result) => (Some(self), Ok(result)),
            Err(error) => (None, Err(Fault::of(&error, self.store.data_mut()).into_error(name, stop.by))),
        }
    }

    fn function(&mut self, callback: u32) -> Result<DynFunc, CallError> {
        let place = usize::try_from(callback).unwrap_or(usize::MAX);
        let (Some(slot), Some(target)) = (self.callbacks.get_mut(place), self.template.callbacks.get(place)) else {
            return Err(no_such_callback(&self.template, callback));
        };
        if let Some(function) = slot {
            return Ok(*function);
        }
        Ok(*slot.insert(find(&mut self.store, &self.instance, target)?))
    }

    /// Calls a lifecycle function, within the module's own time for a call.
    async fn lifecycle(
        &mut self,
        which: fn(&LifecycleExports) -> ComponentExportIndex,
        reason: Option<&str>,
    ) -> Result<(), Fault> {
        let Some(export) = self.template.lifecycle.as_ref().map(which) else { return Ok(()) };
        let stop_at = Instant::now() + self.template.context.limits.max_call_time;
        GuestState::enter(&mut self.store, Scope::until(stop_at), Some(stop_at));
        let turn = self.store.data().turn.clone();
        let store = &mut self.store;
        let called = match reason {
            None => match self.instance.get_typed_func::<(), ()>(&mut *store, export) {
                Ok(function) => timeout_at(stop_at.into(), turn.entering(function.call_async(&mut *store, ()))).await,
                Err(error) => Ok(Err(error)),
            },
            Some(reason) => match self.instance.get_typed_func::<(&str,), ()>(&mut *store, export) {
                Ok(function) => {
                    timeout_at(stop_at.into(), turn.entering(function.call_async(&mut *store, (reason,)))).await
                }
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

/// Looks up a callback in an instance.
pub(super) fn find(
    store: &mut impl AsContextMut<Data = GuestState>,
    instance: &WasmInstance,
    target: &Target,
) -> Result<DynFunc, CallError> {
    let defect = |why: &str| CallError::not_run(code::INTERNAL, format!("{}: {why}", target.name), &*target.name);
    let function = instance
        .get_func(store.as_context_mut(), target.export)
        .ok_or_else(|| defect("the instance lacks the export"))?;
    DynFunc::new(store.as_context_mut(), &function).map_err(|error| defect(&error.to_string()))
}

/// The node asks for a callback that was never registered: a defect.
pub(super) fn no_such_callback(template: &Template, callback: u32) -> CallError {
    let name = &*template.callback_name(callback);
    CallError::not_run(code::INTERNAL, format!("there is no {name}"), name)
}

/// The arguments are no values of the parameters' types.
pub(super) fn bad_arguments(error: &value::ValueError, callback: &str, signature: &Signature) -> CallError {
    if error.is_too_large() {
        return CallError::not_run(code::PAYLOAD_TOO_LARGE, format!("arguments of {callback}: {error}"), callback);
    }
    let message = format!("arguments of {callback}: {error}; it is {}", short(signature));
    CallError::not_run(code::BAD_ARGUMENTS, message, callback)
}

/// A signature as errors show it.
pub(super) fn short(signature: &Signature) -> String {
    cut(signature.to_wit(), MAX_SIGNATURE_BYTES)
}

/// The kind of failure when a result that came from elsewhere is no value of its type, or a larger one than is taken.
pub(super) fn unfit(error: &value::ValueError) -> &'static str {
    if error.is_too_large() { code::PAYLOAD_TOO_LARGE } else { code::INTERNAL }
}

/// The callback ran, and gave more than it may.
pub(super) fn result_too_large(bytes: usize, allowed: usize, callback: &str) -> CallError {
    let message = format!(
        "the result of {callback} has {bytes} bytes, {allowed} are allowed: raise the module's max-result or the runtime's \
         max-payload"
    );
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
