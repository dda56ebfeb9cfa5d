//! BROADCAST: one call to many, with what comes of it at once or as it arrives.
//!
//! Invariants: an entry that was seen to be there waits for whoever fetches it; after the end the end is told as often as
//! it is asked for; dropping what a guest holds cancels the calls that are open.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use daffi_proto::call::{GatherEnd, GatherEntry, GatherRequest, Need};
use daffi_proto::error::{CallError, code};
use wasmtime::component::Resource;
use wasmtime_wasi::p2::{DynPollable, Pollable};
use wasmtime_wasi::{WasiView, async_trait};

use super::super::grants::Act;
use super::super::outgoing::OpenCall;
use super::super::state::{CallOrigin, GuestState};
use super::super::threads::leave_network_with;
use super::dynamic::{Prepared, Reader, Wish};
use super::options::How;
use super::{call, held, milliseconds, pollable, types};
use crate::mesh::handle::Gather;

/// A broadcast under way.
pub(super) struct Flow {
    gather: Gather,
    reader: Reader,
    _place: Option<OpenCall>,
}

/// What a guest holds of a broadcast.
pub struct Arrivals(Arc<Shared>);

/// A broadcast, shared by its [`Arrivals`] and what waits for it.
pub(super) struct Shared(Mutex<State>);

enum State {
    /// Nothing is known to be there.
    Open(Box<Flow>),
    /// This was seen, and not fetched yet.
    Seen(GatherEntry, Box<Flow>),
    Over(Result<call::Verdict, CallError>),
}

impl Flow {
    /// Looks up the callback and calls all who have it.
    ///
    /// # Errors
    /// `not-run`: nothing was sent.
    pub async fn begin(
        origin: &CallOrigin,
        callback: String,
        arguments: types::Value,
        options: Option<call::BroadcastOptions>,
    ) -> Result<Self, CallError> {
        origin.may(Act::Broadcast, &callback)?;
        let (how, need, stall) = match options {
            None => (How::default(), Need::All, None),
            Some(options) => {
                let need = need(&options, &callback)?;
                let stall = options.stall.map(|stall| milliseconds(stall, &callback)).transpose()?;
                let timeout = options.timeout.map(|timeout| milliseconds(timeout, &callback)).transpose()?;
                (How { timeout, wait_ready: options.wait_ready, ..How::default() }, need, stall)
            }
        };
        let wish = Wish::new(origin, callback, arguments, how)?;
        let Prepared { request, reader, place } = wish.look_up(origin).await?;
        let gather = origin.module.mesh.gather(GatherRequest { call: request, need, stall }).await?;
        Ok(Self { gather, reader, _place: place })
    }

    /// All entries, by name. Cancel safety: dropping the future cancels the calls that are open.
    ///
    /// # Errors
    /// Nothing was sent, or the call that it was made for was cancelled.
    pub async fn all(mut self) -> Result<Vec<call::Entry>, CallError> {
        let mut entries = Vec::new();
        while let Some(entry) = self.gather.next().await {
            let entry = entry?;
            leave_network_with(entry.result.as_ref().map_or(0, |reply| reply.result.len())).await;
            entries.push(self.read(entry));
        }
        entries.sort_by(|a, b| a.process.cmp(&b.process));
        Ok(entries)
    }

    /// What arrived next, and none at the end.
    ///
    /// # Errors
    /// The rest will not come.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<GatherEntry, CallError>>> {
        self.gather.poll_next(cx)
    }

    /// An entry as guests have it.
    pub fn read(&self, entry: GatherEntry) -> call::Entry {
        let answer = entry.result.and_then(|reply| self.reader.read(reply));
        call::Entry { process: entry.process.to_string(), answer: answer.map_err(types::CallError::from) }
    }

    /// How it ended.
    pub fn verdict(&self) -> call::Verdict {
        match self.gather.end() {
            Some(GatherEnd::Met) => call::Verdict::Met,
            Some(GatherEnd::Unmet) | None => call::Verdict::Unmet,
        }
    }
}

fn need(options: &call::BroadcastOptions, callback: &str) -> Result<Need, CallError> {
    let bad = |message: &str| Err(CallError::not_run(code::BAD_ARGUMENTS, message, callback));
    match (options.first_n, options.quorum) {
        (None, None) => Ok(Need::All),
        (Some(_), Some(_)) => bad("a broadcast has `first-n` or `quorum`, not both"),
        (Some(0), None) | (None, Some(0)) => bad("`first-n` and `quorum` of a broadcast are 1 or more"),
        (Some(values), None) => Ok(Need::First(values)),
        (None, Some(values)) => Ok(Need::Quorum(values)),
    }
}

impl Arrivals {
    pub fn new(flow: Flow) -> Self {
        Self(Arc::new(Shared(Mutex::new(State::Open(Box::new(flow))))))
    }

    pub fn shared(&self) -> Arc<Shared> {
        self.0.clone()
    }
}

impl Shared {
    /// What arrived next, if it is there.
    ///
    /// # Errors
    /// The rest will not come.
    pub fn try_next(&self) -> Result<Option<call::Arrival>, CallError> {
        match self.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(()) => self.take(),
            Poll::Pending => Ok(None),
        }
    }

    /// What arrived next, once it is there. Cancel safe.
    ///
    /// # Errors
    /// The rest will not come.
    pub async fn next(&self) -> Result<call::Arrival, CallError> {
        poll_fn(|cx| self.poll(cx)).await;
        self.take()?.ok_or_else(dropped)
    }

    /// Cancels what is open.
    pub fn close(&self) {
        *self.lock() = State::Over(Err(dropped()));
    }

    fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        let State::Open(flow) = &mut *state else { return Poll::Ready(()) };
        let Poll::Ready(next) = flow.poll_next(cx) else { return Poll::Pending };
        let verdict = flow.verdict();
        let before = std::mem::replace(&mut *state, State::Over(Ok(verdict)));
        match (next, before) {
            (Some(Ok(entry)), State::Open(flow)) => *state = State::Seen(entry, flow),
            (Some(Err(error)), _) => *state = State::Over(Err(error)),
            (None | Some(Ok(_)), _) => {} // the end; there is no entry but of an open one
        }
        Poll::Ready(())
    }

    fn take(&self) -> Result<Option<call::Arrival>, CallError> {
        let mut state = self.lock();
        match std::mem::replace(&mut *state, State::Over(Err(dropped()))) {
            State::Seen(entry, flow) => {
                let entry = flow.read(entry);
                *state = State::Open(flow);
                Ok(Some(call::Arrival::Entry(entry)))
            }
            State::Open(flow) => {
                *state = State::Open(flow);
                Ok(None)
            }
            State::Over(end) => {
                *state = State::Over(end.clone());
                end.map(|verdict| Some(call::Arrival::End(verdict)))
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The error of a broadcast whose guest has dropped it.
pub(super) fn dropped() -> CallError {
    CallError::unknown(code::CANCELLED, "the broadcast was dropped", "")
}

/// A pollable that is ready when something arrived.
pub(super) fn subscribe(
    state: &mut GuestState,
    arrivals: &Resource<held::Arrivals>,
) -> wasmtime::Result<Resource<DynPollable>> {
    let arrived = Arrived(state.ctx().table.get(arrivals)?.shared());
    pollable(state, arrived)
}

struct Arrived(Arc<Shared>);

#[async_trait]
impl Pollable for Arrived {
    async fn ready(&mut self) {
        poll_fn(|cx| self.0.poll(cx)).await;
    }
}
