//! The reading end of a stream, for guests without async.
//!
//! Invariants: the mesh gives the next chunk when the guest has taken the one before, so that a guest that does not read
//! holds up the writer, and the host holds one chunk for it; what was seen to be there waits for whoever fetches it; after
//! the end the end is told as often as it is asked for.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use daffi_proto::error::{CallError, code};
use daffi_proto::stream::Chunk;
use daffi_proto::value::Encoding;
use wasmtime::Result;
use wasmtime::component::{Access, Resource};
use wasmtime_wasi::p2::{DynPollable, Pollable};
use wasmtime_wasi::{WasiView, async_trait};

use super::super::instance::unfit;
use super::super::state::GuestState;
use super::items::Items;
use super::streaming::Held;
use super::{Guests, call, held, pollable, types};
use crate::mesh::handle::StreamReader;

/// What a guest holds of a stream that it reads.
pub struct Inbound(Arc<Shared>);

/// A stream, shared by its [`Inbound`] and what waits for it.
struct Shared {
    items: Items,
    encoding: Encoding,
    callback: String,
    state: Mutex<State>,
}

enum State {
    /// The items that are there, and where the rest comes from.
    Open {
        chunk: Option<Chunk>,
        reader: StreamReader,
        held: Held,
    },
    Over(Result<(), CallError>),
}

impl Inbound {
    pub fn new(reader: StreamReader, items: Items, encoding: Encoding, callback: String, held: Held) -> Self {
        let state = Mutex::new(State::Open { chunk: None, reader, held });
        Self(Arc::new(Shared { items, encoding, callback, state }))
    }
}

impl Inbound {
    /// What comes next, and what it was made of, for who reads it in the name of a guest with async functions.
    ///
    /// # Errors
    /// The rest will not come.
    pub fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
        most: u32,
    ) -> Poll<std::result::Result<(call::Received, Bytes), CallError>> {
        loop {
            ready!(self.0.poll(cx));
            let made_of = self.0.at_hand();
            if let Some(received) = self.0.take(most).transpose() {
                return Poll::Ready(received.map(|received| (received, made_of)));
            }
        }
    }
}

impl Drop for Inbound {
    fn drop(&mut self) {
        // Also for those who wait for it, and hold it.
        let error = CallError::failed(code::CANCELLED, "the stream was dropped", self.0.callback.as_str());
        *self.0.lock() = State::Over(Err(error));
    }
}

impl Shared {
    fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        let State::Open { chunk, reader, held } = &mut *state else { return Poll::Ready(()) };
        if chunk.is_some() {
            return Poll::Ready(());
        }
        match reader.poll_next(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Ok(Some(next))) => {
                held.place.read(next.bytes.len());
                *chunk = Some(next);
            }
            Poll::Ready(Ok(None)) => *state = State::Over(Ok(())),
            Poll::Ready(Err(ending)) => {
                let error = ending.error().map_or(Ok(()), |error| Err(self.named(error)));
                *state = State::Over(error);
            }
        }
        Poll::Ready(())
    }

    /// The bytes of what is there.
    fn at_hand(&self) -> Bytes {
        match &*self.lock() {
            State::Open { chunk: Some(chunk), .. } => chunk.bytes.clone(),
            State::Open { chunk: None, .. } | State::Over(_) => Bytes::new(),
        }
    }

    /// What is there.
    ///
    /// # Errors
    /// The rest will not come.
    fn take(&self, most: u32) -> Result<Option<call::Received>, CallError> {
        let mut state = self.lock();
        let (mut chunk, reader) = match &mut *state {
            State::Over(end) => return end.clone().map(|()| Some(call::Received::End)),
            State::Open { chunk, reader, .. } => match chunk.take() {
                None => return Ok(None),
                Some(taken) => (taken, reader),
            },
        };
        match self.items.decode(&mut chunk, most, self.encoding) {
            Ok(items) => {
                if let State::Open { chunk: rest, .. } = &mut *state
                    && chunk.count > 0
                {
                    *rest = Some(chunk);
                }
                Ok(Some(call::Received::Items(items)))
            }
            Err(error) => {
                let message = format!("{} gave an item that does not fit its type: {error}", self.callback);
                let error = CallError::failed(unfit(&error), message, self.callback.as_str());
                reader.cancel(Some(error.clone()));
                *state = State::Over(Err(error.clone()));
                Err(error)
            }
        }
    }

    /// What is there, once there is something. Cancel safe.
    ///
    /// # Errors
    /// The rest will not come.
    async fn next(&self, most: u32) -> Result<call::Received, CallError> {
        loop {
            poll_fn(|cx| self.poll(cx)).await;
            if let Some(received) = self.take(most)? {
                return Ok(received);
            }
        }
    }

    fn named(&self, error: CallError) -> CallError {
        if error.callback.is_empty() { CallError { callback: self.callback.clone(), ..error } } else { error }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl call::HostInbound for &mut GuestState {}

impl call::HostInboundWithStore<GuestState> for Guests {
    async fn subscribe(
        mut host: Access<'_, GuestState, Self>,
        inbound: Resource<held::Inbound>,
    ) -> Result<Resource<DynPollable>> {
        let arrival = Arrival(host.get().ctx().table.get(&inbound)?.0.clone());
        pollable(host.get(), arrival)
    }

    async fn try_next(
        mut host: Access<'_, GuestState, Self>,
        inbound: Resource<held::Inbound>,
        most: u32,
    ) -> Result<Result<Option<call::Received>, types::CallError>> {
        let shared = host.get().ctx().table.get(&inbound)?.0.clone();
        let _ = shared.poll(&mut Context::from_waker(Waker::noop()));
        Ok(shared.take(most).map_err(types::CallError::from))
    }

    async fn next(
        mut host: Access<'_, GuestState, Self>,
        inbound: Resource<held::Inbound>,
        most: u32,
    ) -> Result<Result<call::Received, types::CallError>> {
        let shared = host.get().ctx().table.get(&inbound)?.0.clone();
        Ok(shared.next(most).await.map_err(types::CallError::from))
    }

    fn drop(mut host: Access<'_, GuestState, Self>, inbound: Resource<held::Inbound>) -> Result<()> {
        host.get().ctx().table.delete(inbound)?;
        Ok(())
    }
}

/// What a guest waits for.
struct Arrival(Arc<Shared>);

#[async_trait]
impl Pollable for Arrival {
    async fn ready(&mut self) {
        poll_fn(|cx| self.0.poll(cx)).await;
    }
}
