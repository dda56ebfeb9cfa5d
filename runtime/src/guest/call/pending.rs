//! BG: calls whose results guests fetch later.
//!
//! ```text
//!   bg ──► looked up ──► on its way ─────┬──► the result is held ──► try-get, wait …  ──► dropped
//!     └──► (in the background, where ────┘
//!           that has to be waited for)         dropped or cancelled before: the call is given up
//! ```
//!
//! A task carries each call, so that a result that nobody fetches is counted, and refused beyond the module's limit, as
//! soon as it comes. Invariants: the task ends when the pending is dropped or cancelled, at the call's deadline at the
//! latest; the call's place among the module's open ones is free again when the pending is dropped.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use daffi_proto::call::CallReply;
use daffi_proto::error::{CallError, code};
use tokio::sync::oneshot;
use wasmtime::component::Resource;
use wasmtime_wasi::p2::{DynPollable, Pollable};
use wasmtime_wasi::{WasiView, async_trait};

use super::super::outgoing::OpenCall;
use super::super::state::{CallOrigin, GuestState};
use super::super::threads::leave_network_with;
use super::dynamic::{Prepared, Reader, Wish};
use super::{held, pollable, types};
use crate::mesh::handle::OpenCall as Placed;

/// What a guest holds of a call that it does not wait for.
pub struct Pending(Arc<Outcome>);

/// What came of a call, shared by a [`Pending`] and what waits for it.
pub(super) struct Outcome {
    callback: String,
    state: Mutex<State>,
    place: Place,
}

/// A call's place among those that its module has open, shared with the task that carries the call: none any more when
/// the call was given up or dropped.
type Place = Arc<Mutex<Option<OpenCall>>>;

enum State {
    Open(oneshot::Receiver<Result<Held, CallError>>),
    Over(Result<Held, CallError>),
}

/// A result that its guest has not dropped yet.
pub(super) struct Held {
    reply: CallReply,
    reader: Reader,
}

/// Where the result of a call goes.
pub(super) struct ResultTo {
    sender: oneshot::Sender<Result<Held, CallError>>,
    place: Place,
}

impl Pending {
    /// A call that has not begun, and where its result is to go.
    pub fn new(callback: &str) -> (Self, ResultTo) {
        let (sender, receiver) = oneshot::channel();
        let (callback, state, place) = (callback.to_owned(), Mutex::new(State::Open(receiver)), Place::default());
        let to = ResultTo { sender, place: place.clone() };
        (Self(Arc::new(Outcome { callback, state, place })), to)
    }

    pub fn shared(&self) -> Arc<Outcome> {
        self.0.clone()
    }
}

/// Begins a call. What can be known at once is known when this resolves.
///
/// # Errors
/// `not-run`: the call has not begun.
pub(super) async fn begin(origin: CallOrigin, mut wish: Wish, to: ResultTo) -> Result<(), CallError> {
    let module = origin.module.clone();
    *lock(&to.place) = wish.take_place();
    let place = to.place.clone();
    if wish.waits() {
        module.background.spawn(carry(to, async move {
            let (call, reader) = start(&origin, wish).await?;
            hold(call, reader, &place).await
        }));
    } else {
        // In the guest's own time, so that calls arrive in the order in which it makes them.
        let (call, reader) = start(&origin, wish).await?;
        module.background.spawn_waiting(carry(to, async move { hold(call, reader, &place).await }));
    }
    Ok(())
}

async fn start(origin: &CallOrigin, wish: Wish) -> Result<(Placed, Reader), CallError> {
    let Prepared { request, reader, .. } = wish.look_up(origin).await?;
    let call = origin.module.mesh.start(request).await?;
    Ok((call, reader))
}

async fn hold(call: Placed, reader: Reader, place: &Place) -> Result<Held, CallError> {
    let reply = call.await?;
    match lock(place).as_mut().map(|place| place.hold(reply.result.len())) {
        Some(Err(why)) => Err(reader.unheld(&reply, &why)),
        // Without a place nobody waits for it.
        Some(Ok(())) | None => Ok(Held { reply, reader }),
    }
}

/// Waits for the result, or until nobody does.
async fn carry(mut to: ResultTo, call: impl Future<Output = Result<Held, CallError>>) {
    let outcome = tokio::select! {
        biased;
        () = to.sender.closed() => return,
        outcome = call => outcome,
    };
    let _ = to.sender.send(outcome);
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Outcome {
    /// The result, once it is there.
    pub fn try_get(&self) -> Option<Result<types::Value, CallError>> {
        match self.poll(&mut Context::from_waker(std::task::Waker::noop())) {
            Poll::Ready(()) => self.result(),
            Poll::Pending => None,
        }
    }

    /// The result; cancel safe.
    pub async fn wait(&self) -> Result<types::Value, CallError> {
        poll_fn(|cx| self.poll(cx)).await;
        leave_network_with(self.bytes()).await;
        self.result().unwrap_or_else(|| Err(self.cancelled()))
    }

    /// Gives the call up, unless its result is there.
    pub fn cancel(&self) {
        if self.poll(&mut Context::from_waker(std::task::Waker::noop())).is_pending() {
            self.close();
        }
    }

    /// Its guest has no use for it any more: the call is given up, its result dropped, its place free.
    pub fn close(&self) {
        *lock(&self.state) = State::Over(Err(self.cancelled()));
        *lock(&self.place) = None;
    }

    fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = lock(&self.state);
        if let State::Open(receiver) = &mut *state {
            let Poll::Ready(outcome) = Pin::new(receiver).poll(cx) else { return Poll::Pending };
            // A task that is gone without a word went with the runtime.
            *state = State::Over(outcome.unwrap_or_else(|_| Err(self.cancelled())));
        }
        Poll::Ready(())
    }

    fn result(&self) -> Option<Result<types::Value, CallError>> {
        let (reply, reader) = match &*lock(&self.state) {
            State::Open(_) => return None,
            State::Over(Err(error)) => return Some(Err(error.clone())),
            State::Over(Ok(held)) => (held.reply.clone(), held.reader.clone()),
        };
        Some(reader.read(reply))
    }

    /// How much there is to be translated.
    fn bytes(&self) -> usize {
        match &*lock(&self.state) {
            State::Over(Ok(held)) => held.reply.result.len(),
            State::Over(Err(_)) | State::Open(_) => 0,
        }
    }

    fn cancelled(&self) -> CallError {
        let message = "the call was cancelled before its result was there; it may or may not have run";
        CallError::unknown(code::CANCELLED, message, self.callback.as_str())
    }
}

/// A pollable that is ready when the result is there.
pub(super) fn subscribe(
    state: &mut GuestState,
    pending: &Resource<held::Pending>,
) -> wasmtime::Result<Resource<DynPollable>> {
    let outcome = state.ctx().table.get(pending)?.shared();
    pollable(state, Arrival(outcome))
}

struct Arrival(Arc<Outcome>);

#[async_trait]
impl Pollable for Arrival {
    async fn ready(&mut self) {
        poll_fn(|cx| self.0.poll(cx)).await;
    }
}
