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
use wasmtime::component::Resource;
use wasmtime_wasi::p2::{DynPollable, Pollable};
use wasmtime_wasi::{WasiView, async_trait};

use super::super::grants::Act;
use super::super::outgoing::OpenCall;
use super::super::state::{CallOrigin, GuestState};
use super::{held, mesh, pollable};
use crate::mesh::handle::{MAX_UNREAD_EVENTS, Watch};

/// A watch under way, with its place among the calls that its module has open.
pub(super) struct Watching {
    watch: Watch,
    _place: OpenCall,
}

/// What a guest holds of a watch.
pub struct MemberEvents(Arc<Events>);

/// The events of a watch, shared by its [`MemberEvents`] and what waits for it.
pub(super) struct Events(Mutex<State>);

enum State {
    /// Nothing is known to be there.
    Open(Box<Watching>),
    /// This was seen, and not fetched yet.
    Seen(MemberEvent, Box<Watching>),
    Over(CallError),
}

impl Watching {
    /// Begins to watch.
    ///
    /// # Errors
    /// `overloaded`
    pub async fn begin(origin: &CallOrigin) -> Result<Self, CallError> {
        origin.may(Act::Watch, "mesh#watch")?;
        let place = origin.open("mesh#watch", 0)?;
        let watch = origin.module.mesh.watch(origin.module.process.tenant.clone()).await?;
        Ok(Self { watch, _place: place })
    }

    /// The next event.
    ///
    /// # Errors
    /// The watch is over.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<MemberEvent, CallError>> {
        self.watch.poll_next(cx).map(|next| next.unwrap_or_else(|| Err(unread())))
    }
}

impl MemberEvents {
    pub fn new(watching: Watching) -> Self {
        Self(Arc::new(Events(Mutex::new(State::Open(Box::new(watching))))))
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
        *self.lock() = State::Over(dropped());
    }

    fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        let State::Open(watching) = &mut *state else { return Poll::Ready(()) };
        let Poll::Ready(next) = watching.poll_next(cx) else { return Poll::Pending };
        match (next, std::mem::replace(&mut *state, State::Over(dropped()))) {
            (Ok(event), State::Open(watching)) => *state = State::Seen(event, watching),
            (Err(error), _) => *state = State::Over(error),
            (Ok(_), State::Seen(..) | State::Over(_)) => {} // it was open
        }
        Poll::Ready(())
    }

    fn take(&self) -> Result<Option<mesh::MemberEvent>, CallError> {
        let mut state = self.lock();
        match std::mem::replace(&mut *state, State::Over(dropped())) {
            State::Seen(event, watching) => {
                *state = State::Open(watching);
                Ok(Some(event.into()))
            }
            State::Open(watching) => {
                *state = State::Open(watching);
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

/// The error of a watch whose guest has dropped it.
pub(super) fn dropped() -> CallError {
    CallError::not_run(code::CANCELLED, "the watch is over: it was dropped", "")
}

/// The mesh gave the watch up.
fn unread() -> CallError {
    let message = format!(
        "the watch is over: {MAX_UNREAD_EVENTS} events were not fetched in time, or the runtime ends; watch anew, who is \
         there is told first"
    );
    CallError::not_run(code::OVERLOADED, message, "")
}

/// A pollable that is ready when an event is there or the watch is over.
pub(super) fn subscribe(
    state: &mut GuestState,
    events: &Resource<held::MemberEvents>,
) -> wasmtime::Result<Resource<DynPollable>> {
    let arrival = Arrival(state.ctx().table.get(events)?.shared());
    pollable(state, arrival)
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
        let mut callbacks: Vec<String> = member.callback_names().collect();
        callbacks.sort();
        Self { name: member.name.to_string(), node: member.node.to_string(), callbacks }
    }
}
