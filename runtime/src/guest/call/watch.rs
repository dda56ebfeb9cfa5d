//! `daffi:runtime/mesh`: watching who comes and goes.
//!
//! Invariants: an event that was seen to be there waits for whoever fetches it; a watch that is over says so as often as
//! it is asked; a watch is one of its module's open calls, which bounds the events that the host keeps.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use daffi_proto::call::{Member, MemberEvent};
use daffi_proto::error::{CallError, code};
use tokio::time::timeout;
use wasmtime::component::{Resource, ResourceTable};
use wasmtime_wasi::async_trait;
use wasmtime_wasi::p2::{DynPollable, Pollable, subscribe as subscribe_to};

use super::super::outgoing::OpenCall;
use super::super::state::CallOrigin;
use super::mesh;
use crate::mesh::handle::{MAX_UNREAD_EVENTS, Watch};

/// What a guest holds of a watch.
pub struct MemberEvents(Arc<Events>);

/// The events of a watch, shared by its [`MemberEvents`] and what waits for it.
pub(super) struct Events(Mutex<State>);

enum State {
    /// Nothing is known to be there.
    Open(Box<Watch>, OpenCall),
    /// This was seen, and not fetched yet.
    Seen(MemberEvent, Box<Watch>, OpenCall),
    Over(CallError),
}

impl MemberEvents {
    /// Begins to watch.
    ///
    /// # Errors
    /// `overloaded`
    pub async fn watch(origin: &CallOrigin) -> Result<Self, CallError> {
        let place = origin.open("mesh#watch", 0)?;
        let watch = origin.module.mesh.watch(origin.module.process.tenant.clone()).await?;
        Ok(Self(Arc::new(Events(Mutex::new(State::Open(Box::new(watch), place))))))
    }

    pub fn shared(&self) -> Arc<Events> {
        self.0.clone()
    }
}

impl Events {
    /// The next event, if it is there.
    ///
    /// # Errors
    /// The watch is over.
    pub fn try_next(&self) -> Result<Option<mesh::MemberEvent>, CallError> {
        match self.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(()) => self.take(),
            Poll::Pending => Ok(None),
        }
    }

    /// The next event, once it is there. Cancel safe.
    ///
    /// # Errors
    /// `deadline-exceeded`, or the watch is over.
    pub async fn next(&self, within: Duration) -> Result<mesh::MemberEvent, CallError> {
        if timeout(within, poll_fn(|cx| self.poll(cx))).await.is_ok()
            && let Some(event) = self.take()?
        {
            return Ok(event);
        }
        let message = format!("nobody came, went or changed within {} ms", within.as_millis());
        Err(CallError::not_run(code::DEADLINE_EXCEEDED, message, ""))
    }

    /// Ends the watch.
    pub fn close(&self) {
        *self.lock() = State::Over(over("the watch was dropped"));
    }

    fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        let State::Open(watch, _) = &mut *state else { return Poll::Ready(()) };
        let Poll::Ready(next) = watch.poll_next(cx) else { return Poll::Pending };
        let before = std::mem::replace(&mut *state, State::Over(over("the runtime ends")));
        match (next, before) {
            (Some(Ok(event)), State::Open(watch, place)) => *state = State::Seen(event, watch, place),
            (Some(Err(error)), _) => *state = State::Over(error),
            (None, _) => *state = State::Over(unread()),
            (Some(Ok(_)), State::Seen(..) | State::Over(_)) => {} // it was open
        }
        Poll::Ready(())
    }

    fn take(&self) -> Result<Option<mesh::MemberEvent>, CallError> {
        let mut state = self.lock();
        match std::mem::replace(&mut *state, State::Over(over("the watch was dropped"))) {
            State::Seen(event, watch, place) => {
                *state = State::Open(watch, place);
                Ok(Some(event.into()))
            }
            State::Open(watch, place) => {
                *state = State::Open(watch, place);
                Ok(None)
            }
            State::Over(error) => {
                *state = State::Over(error.clone());
                Err(error)
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn over(why: &str) -> CallError {
    CallError::not_run(code::CANCELLED, format!("the watch is over: {why}"), "")
}

/// The mesh gave the watch up.
fn unread() -> CallError {
    let message = format!(
        "the watch is over: {MAX_UNREAD_EVENTS} events were not fetched in time, or the runtime ends; watch anew, who is \
         there is told first"
    );
    CallError::not_run(code::OVERLOADED, message, "")
}

/// A pollable that is ready when an event is there or the watch is over. It is no child of the watch, so that a guest
/// may drop both in any order.
pub(super) fn subscribe(
    table: &mut ResourceTable,
    events: &Resource<MemberEvents>,
) -> wasmtime::Result<Resource<DynPollable>> {
    let arrival = Arrival(table.get(events)?.shared());
    let arrival = table.push(arrival)?;
    subscribe_to(table, arrival)
}

struct Arrival(Arc<Events>);

#[async_trait]
impl Pollable for Arrival {
    async fn ready(&mut self) {
        poll_fn(|cx| self.0.poll(cx)).await;
    }
}

impl From<MemberEvent> for mesh::MemberEvent {
    fn from(event: MemberEvent) -> Self {
        match event {
            MemberEvent::Joined(member) => Self::Joined(member.into()),
            MemberEvent::CallbacksChanged(member) => Self::CallbacksChanged(member.into()),
            MemberEvent::Left { name, node } => {
                Self::Left(mesh::ProcessInfo { name: name.to_string(), node, callbacks: Vec::new() })
            }
        }
    }
}

impl From<Member> for mesh::ProcessInfo {
    fn from(member: Member) -> Self {
        let mut callbacks: Vec<String> = member.callbacks.iter().map(ToString::to_string).collect();
        callbacks.sort();
        Self { name: member.name.to_string(), node: member.node, callbacks }
    }
}
