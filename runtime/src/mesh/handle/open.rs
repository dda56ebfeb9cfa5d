//! What is open at the driver: a question or a call from when it is asked until its asker has the answer, or gives it up.
//!
//! Invariants: each holds a place in the driver's channel, so that giving it up finds room; they are counted, and no more of them
//! than [`MAX_OPEN_REQUESTS`] are open.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use daffi_proto::call::{CallReply, CallRequest, Mode};
use daffi_proto::error::{CallError, code};
use daffi_proto::id::Token;
use daffi_proto::name::CallbackName;
use tokio::sync::{mpsc, oneshot};

use super::super::driver::Called;
use super::outbox::{self, AtDesk};
use super::{Answer, MAX_OPEN_REQUESTS, MeshHandle, Request, Shared, driver_ended};

impl MeshHandle {
    pub(super) async fn ask_cancellable<T>(
        &self,
        request: impl FnOnce(Token, oneshot::Sender<T>) -> Request,
        unanswered: impl FnOnce() -> CallError,
    ) -> Result<T, CallError> {
        let (mut open, answer) = self.open(request).await?;
        // Only a driver that has ended drops the sender.
        let result = answer.await.map_err(|_| unanswered());
        open.place = None;
        result
    }

    pub(super) async fn open<T>(
        &self,
        request: impl FnOnce(Token, oneshot::Sender<T>) -> Request,
    ) -> Result<(OpenRequest, oneshot::Receiver<T>), CallError> {
        let (reply, answer) = oneshot::channel();
        Ok((self.open_with(|token| request(token, reply)).await?, answer))
    }

    pub(super) async fn open_with(&self, request: impl FnOnce(Token) -> Request) -> Result<OpenRequest, CallError> {
        let room = self.room().await?;
        let token = room.token;
        Ok(room.fill(request(token)))
    }

    /// Makes a call at the driver's desk, where it has no streams in its arguments and nobody is there.
    pub(super) fn begin_here(&self, request: Box<CallRequest>) -> Result<Begun, CallError> {
        let desk = self.shared.desk.get().filter(|_| request.mode == Mode::Whole && request.channels.is_empty());
        let Some(desk) = desk else { return Ok(Begun::Nowhere(request)) };
        let counted = Counted::new(&self.shared)?;
        let Ok(place) = self.requests.clone().try_reserve_owned() else { return Ok(Begun::Nowhere(request)) };
        let (token, callbacks) = (self.next_token(), request.callbacks.clone());
        let open = |answer| {
            let open = OpenRequest { token, place: Some(place), counted };
            Begun::Open(OpenCall { answer, callbacks, open })
        };
        if outbox::is_filling(&self.shared) {
            return Ok(open(self.put_call(token, request)));
        }
        let mut at_desk = AtDesk::enter();
        let goes_on = at_desk.goes_on();
        let called = desk.call(token, request, goes_on);
        let gathers = !matches!(called, Ok(Called::Over(_))) && at_desk.gather_for(self);
        drop(at_desk);
        Ok(match called {
            Ok(Called::Over(reply)) => Begun::Over(reply),
            Ok(Called::Open(answer)) => {
                if goes_on && !gathers {
                    desk.settle();
                }
                open(answer)
            }
            // The driver's task is at it: what else is asked in this poll would find it there too.
            Err(request) if gathers => open(self.put_call(token, request)),
            Err(request) => Begun::Nowhere(request),
        })
    }

    /// Puts a call into the outbox, which gathers: who gives it up does so in the same thread, while it is there.
    fn put_call(&self, token: Token, request: Box<CallRequest>) -> oneshot::Receiver<Answer> {
        let (reply, answer) = oneshot::channel();
        outbox::put(&self.shared, Request::Call { token, request, ports: Vec::new(), reply });
        answer
    }

    /// Waits for room for a request. It holds no request meanwhile, of which each future on the way would have a copy.
    pub(super) async fn room(&self) -> Result<Room<'_>, CallError> {
        let token = self.next_token();
        let counted = Counted::new(&self.shared)?;
        let place = self.requests.clone().reserve_owned().await.map_err(|_| driver_ended())?;
        let permit = self.requests.reserve().await.map_err(|_| driver_ended())?;
        Ok(Room { mesh: self, token, permit, place, counted })
    }
}

/// A call that was to be made at the driver's desk.
pub(super) enum Begun {
    /// It is over.
    Over(CallReply),
    /// It is under way.
    Open(OpenCall),
    /// It was not made.
    Nowhere(Box<CallRequest>),
}

/// Room at the driver for a request, and for giving it up.
pub(super) struct Room<'a> {
    mesh: &'a MeshHandle,
    pub token: Token,
    permit: mpsc::Permit<'a, Request>,
    place: mpsc::OwnedPermit<Request>,
    counted: Counted,
}

impl Room<'_> {
    pub fn fill(self, request: Request) -> OpenRequest {
        let Self { mesh, token, permit, place, counted } = self;
        if let Some(request) = mesh.do_here(request) {
            permit.send(request);
        }
        OpenRequest { token, place: Some(place), counted }
    }
}

/// A call under way: a future of its answer, which comes by the call's deadline at the latest. Dropping it cancels the
/// call and the tree of calls below it.
pub struct OpenCall {
    pub(super) answer: oneshot::Receiver<Answer>,
    pub(super) callbacks: Arc<[CallbackName]>,
    pub(super) open: OpenRequest,
}

impl Future for OpenCall {
    type Output = Result<CallReply, CallError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.poll_answer(cx).map_ok(|answer| answer.reply)
    }
}

impl OpenCall {
    pub(super) fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Answer> {
        let answer = match Pin::new(&mut self.answer).poll(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(answer) => answer,
        };
        self.open.place = None;
        // Only a driver that has ended drops the sender, and it has had the call.
        Poll::Ready(answer.unwrap_or_else(|_| Err(call_lost(&self.callbacks))))
    }
}

/// One of the open requests.
struct Counted(Arc<Shared>);

impl Counted {
    fn new(shared: &Arc<Shared>) -> Result<Self, CallError> {
        let counted = Self(shared.clone()); // counts down again also when refused
        if shared.open.fetch_add(1, Ordering::Relaxed) >= MAX_OPEN_REQUESTS {
            let message = format!("this runtime has {MAX_OPEN_REQUESTS} calls and questions open already");
            return Err(CallError::not_run(code::OVERLOADED, message, ""));
        }
        Ok(counted)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Sends the cancellation when the asker's future is dropped, into the place that it held from the start.
pub(super) struct OpenRequest {
    token: Token,
    /// For the cancellation; none when there is nothing to cancel any more.
    pub place: Option<mpsc::OwnedPermit<Request>>,
    counted: Counted,
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        if let Some(place) = self.place.take()
            && let Some(request) = outbox::put(&self.counted.0, Request::Cancel(self.token))
        {
            place.send(request);
        }
    }
}

/// The driver ended before it told what became of a call that it was given.
pub(super) fn call_lost(callbacks: &[CallbackName]) -> CallError {
    let callback = callbacks.first().map(ToString::to_string).unwrap_or_default();
    let message = "this runtime ended before the call had its answer; it may or may not have run";
    CallError::unknown(code::LINK_LOST, message, callback)
}
