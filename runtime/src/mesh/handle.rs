//! The cloneable, asynchronous way to ask the node's driver.
//!
//! Invariants: the channel to the driver is bounded; a question that is open holds a place in it, so that giving the
//! question up (dropping the future) always finds room. Open questions are fewer than the channel has places, so that
//! an answer ([`MeshHandle::served`]), on which others' questions may depend, soon finds room too.
//! What is asked is done in the asker's own thread where the driver's desk is free (`driver::desk`). It does not know frames,
//! links or guests.

mod gather;
mod open;
pub(crate) mod outbox;
pub(crate) mod passing;
mod port;
mod stream;
mod tasks;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use daffi_proto::call::{
    CallReply, CallRequest, Caller, Detail, GatherRequest, Incoming, Load, MemberEvent, ProcessInfo, ProcessSpec,
    ResolveRequest, Resolved, ScheduleRequest, ServeResult, TasksRequest, WaitFor,
};
use daffi_proto::error::{CallError, code};
use daffi_proto::id::{LocalId, ServeId, TenantName, Token};
use daffi_proto::schedule::TaskPage;
use daffi_proto::stream::Flows;
use daffi_proto::usage::Usage;
pub use gather::{Gather, Gathered};
pub use open::OpenCall;
use open::{Begun, OpenRequest};
use outbox::AtDesk;
pub use port::{Bell, Port, Word};
pub use stream::{Answer, StreamReader, StreamWriter, StreamingCall, StreamingReply};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot, watch};

use super::driver::Desk;

/// Places in the channel to the driver, for requests on their way and for the cancellations of open ones.
pub const MAX_QUEUED_REQUESTS: usize = 65_536;

/// Most calls, look-ups, waits and lists that are open at once. More are refused at once, as `overloaded`.
pub const MAX_OPEN_REQUESTS: usize = MAX_QUEUED_REQUESTS / 2;

/// Most events of a [`Watch`] that wait to be fetched; one more ends the watch.
pub const MAX_UNREAD_EVENTS: usize = 4096;

/// Where a call may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// At the driver's desk, if it promises to be short.
    Here,
    /// In another thread: what one thing gave to serve (a broadcast, all that is scheduled for this time) has had a turn.
    Elsewhere,
}

/// Serves the calls of one process.
pub trait Serve: Send + Sync {
    /// Takes a call. Whoever is at the driver's desk calls this, the driver's task, the caller or what carries a stream: where it
    /// begins here it may run a guest for an epoch tick and a millisecond at most, must not block, and finds the desk taken for
    /// what it asks itself. `Some` is the answer; with `None` it comes later through [`MeshHandle::served`], exactly once.
    fn serve(&self, incoming: Incoming, begin: Begin) -> Option<ServeResult>;

    /// Takes a call whose caller streams: with a reader for each of [`Incoming::channels`]. Otherwise as [`Serve::serve`]. A
    /// process that takes no streams refuses it.
    fn serve_streams(&self, incoming: Incoming, readers: Vec<StreamReader>) -> Option<ServeResult> {
        drop((incoming, readers));
        Some(Err(CallError::not_run(code::SIGNATURE_MISMATCH, "this process takes no streams", "")))
    }

    /// Nobody waits for this call any more: its answer will be dropped. It is in flight until [`MeshHandle::served`] says
    /// that it is over.
    fn cancel(&self, id: ServeId);
}

/// What the driver is asked.
pub enum Request {
    /// See [`MeshHandle::add_process`].
    AddProcess { spec: ProcessSpec, service: Arc<dyn Serve>, reply: oneshot::Sender<Result<LocalId, CallError>> },
    /// See [`MeshHandle::remove_process`].
    RemoveProcess(LocalId),
    /// See [`MeshHandle::call`].
    Call { token: Token, request: Box<CallRequest>, ports: Vec<Arc<Port>>, reply: oneshot::Sender<Answer> },
    /// See [`MeshHandle::gather`].
    Gather { token: Token, request: GatherRequest, reply: mpsc::Sender<Gathered> },
    /// See [`MeshHandle::schedule`].
    Schedule { token: Token, request: ScheduleRequest, reply: oneshot::Sender<Result<TaskPage, CallError>> },
    /// See [`MeshHandle::task`].
    Tasks { token: Token, request: TasksRequest, reply: oneshot::Sender<Result<TaskPage, CallError>> },
    /// See [`MeshHandle::resolve`].
    Resolve { token: Token, request: ResolveRequest, reply: oneshot::Sender<Result<Resolved, CallError>> },
    /// See [`MeshHandle::wait`].
    Wait {
        token: Token,
        caller: Caller,
        what: WaitFor,
        timeout: Duration,
        reply: oneshot::Sender<Result<(), CallError>>,
    },
    /// See [`MeshHandle::watch`].
    Watch { token: Token, tenant: TenantName, events: mpsc::Sender<Result<MemberEvent, CallError>> },
    /// See [`MeshHandle::processes`].
    List { token: Token, tenant: TenantName, detail: Detail, reply: oneshot::Sender<Vec<ProcessInfo>> },
    /// See [`MeshHandle::shared`].
    Shared { token: Token, from: TenantName, into: TenantName, reply: oneshot::Sender<Vec<ProcessInfo>> },
    /// The asker of this token has gone.
    Cancel(Token),
    /// See [`MeshHandle::answered`].
    Answered { id: ServeId, error: CallError },
    /// See [`MeshHandle::reply`].
    Replied { id: ServeId, result: Bytes, channels: Flows, ports: Vec<Arc<Port>> },
    /// See [`MeshHandle::served`].
    Served { id: ServeId, result: ServeResult },
    /// See [`MeshHandle::load`].
    Load { process: LocalId, load: Load },
    /// See [`MeshHandle::usage`].
    Usage { process: LocalId, usage: Box<Usage> },
    /// See [`MeshHandle::tasks_saved`].
    TasksSaved { process: LocalId, changes: u64, result: Result<(), String> },
    /// See [`MeshHandle::drain`].
    Drain { reply: oneshot::Sender<()> },
    /// See [`MeshHandle::leave`].
    Leave { reply: oneshot::Sender<()> },
    /// Several, in their order.
    All(VecDeque<Self>),
}

/// How the node stands to the controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// Not connected (yet, or any more); the driver keeps trying.
    Down {
        /// Why, for people.
        reason: String,
    },
    /// Connected and registered.
    Up,
    /// The controller refuses this node for good.
    Refused {
        /// The kind, as in `daffi_proto`.
        code: String,
        /// For people.
        message: String,
    },
}

/// Asks the driver. Clones ask the same one.
#[derive(Clone)]
pub struct MeshHandle {
    requests: mpsc::Sender<Request>,
    shared: Arc<Shared>,
}

struct Shared {
    next_token: AtomicU64,
    open: AtomicUsize,
    epoch: Instant,
    link: watch::Receiver<LinkState>,
    stop: watch::Sender<Option<u8>>,
    bell: Bell,
    /// Where what is asked may be done at once, once the driver has opened it.
    desk: OnceLock<Arc<Desk>>,
}

/// The driver's end of a handle.
pub struct Asks {
    /// What is asked.
    pub requests: mpsc::Receiver<Request>,
    /// The ends of streams that have something for the driver: each is in here once at most.
    pub bells: mpsc::UnboundedReceiver<Arc<Port>>,
    /// What new ends of streams ring.
    pub bell: Bell,
}

impl MeshHandle {
    /// A handle and the driver's end of it. `epoch` is the `Instant` that the node's times count from.
    pub fn new(epoch: Instant, link: watch::Receiver<LinkState>) -> (Self, Asks) {
        let (requests, receiver) = mpsc::channel(MAX_QUEUED_REQUESTS);
        let (bell, bells) = Bell::new();
        let (stop, _) = watch::channel(None);
        let (next_token, open) = (AtomicU64::new(1), AtomicUsize::new(0));
        let shared = Shared { next_token, open, epoch, link, stop, bell: bell.clone(), desk: OnceLock::new() };
        (Self { requests, shared: Arc::new(shared) }, Asks { requests: receiver, bells, bell })
    }

    /// From now on what is asked may be done there.
    pub(super) fn open_desk(&self, desk: Arc<Desk>) {
        self.shared.bell.open_desk(&desk);
        let _ = self.shared.desk.set(desk);
    }

    #[cfg(test)]
    pub(super) fn shared_desk(&self) -> Arc<Desk> {
        self.shared.desk.get().map(Arc::clone).unwrap()
    }

    /// Has something done at once, in this thread, where nobody is at the driver's desk; otherwise gives it back.
    fn do_here(&self, request: Request) -> Option<Request> {
        let _at_desk = AtDesk::enter();
        match self.shared.desk.get() {
            Some(desk) => desk.take(request),
            None => Some(request),
        }
    }

    /// Has something done, at once or as soon as the driver comes to it.
    async fn tell(&self, request: Request) {
        if let Some(request) = self.do_here(request) {
            let _ = self.requests.send(request).await;
        }
    }

    /// The `Instant` of a time that the node tells ([`Incoming::deadline`]).
    pub fn instant(&self, at: Duration) -> Instant {
        self.shared.epoch + at
    }

    /// Puts a process on the mesh; resolves when the node has it, connected or not.
    ///
    /// # Errors
    /// `name-taken` when this node has a process of that name already.
    pub async fn add_process(&self, spec: ProcessSpec, service: Arc<dyn Serve>) -> Result<LocalId, CallError> {
        self.ask(|reply| Request::AddProcess { spec, service, reply }).await?
    }

    /// Takes a process off the mesh: it gets no new calls. Calls that it serves may still be answered.
    pub async fn remove_process(&self, process: LocalId) {
        let _ = self.requests.send(Request::RemoveProcess(process)).await;
    }

    /// Makes a call and waits for its answer, which comes by the call's deadline at the latest.
    ///
    /// # Errors
    /// As [`CallError`] says. Cancel safety: dropping the future cancels the call and the tree of calls below it.
    pub async fn call(&self, request: impl Into<Box<CallRequest>>) -> Result<CallReply, CallError> {
        match self.begin_here(request.into())? {
            Begun::Over(reply) => Ok(reply),
            Begun::Open(call) => call.await,
            Begun::Nowhere(request) => OpenCall::from(self.start_streaming(request).await?).await,
        }
    }

    /// Begins a call, whose answer comes through what this gives. Calls begin in the order in which this is asked. For calls
    /// with streams see [`MeshHandle::start_streaming`]: of those that a result has here, nothing is read.
    ///
    /// # Errors
    /// `overloaded` when this runtime has too many requests open, `not-connected` when it ends. Cancel safety: dropping
    /// the future, or later the [`OpenCall`], cancels the call and the tree of calls below it.
    pub async fn start(&self, request: impl Into<Box<CallRequest>>) -> Result<OpenCall, CallError> {
        Ok(self.start_streaming(request).await?.into())
    }

    /// Looks up what a dynamic caller's text means.
    ///
    /// # Errors
    /// `not-run`: no such callback (with near matches), ambiguous, no such process, not connected. Cancel safe.
    pub async fn resolve(&self, request: ResolveRequest) -> Result<Resolved, CallError> {
        self.ask_cancellable(|token, reply| Request::Resolve { token, request, reply }, driver_ended).await?
    }

    /// Waits until the process or callback is on the mesh; the caller's own callbacks do not count.
    ///
    /// # Errors
    /// `deadline-exceeded` after `timeout`; `cancelled` with the call that it is made for. Cancel safe.
    pub async fn wait(&self, caller: Caller, what: WaitFor, timeout: Duration) -> Result<(), CallError> {
        self.ask_cancellable(|token, reply| Request::Wait { token, caller, what, timeout, reply }, driver_ended).await?
    }

    /// The processes of a tenant that this node knows of, by name. Cancel safe.
    ///
    /// # Errors
    /// `internal` when the driver has ended.
    pub async fn processes(&self, tenant: TenantName) -> Result<Vec<ProcessInfo>, CallError> {
        self.processes_in_detail(tenant, Detail::Load).await
    }

    /// The same, with so much of each.
    ///
    /// # Errors
    /// As [`MeshHandle::processes`]. Cancel safe.
    pub async fn processes_in_detail(&self, tenant: TenantName, detail: Detail) -> Result<Vec<ProcessInfo>, CallError> {
        self.ask_cancellable(|token, reply| Request::List { token, tenant, detail, reply }, driver_ended).await
    }

    /// What one tenant shares with another, as far as this node imports it: of each process its name and the shared
    /// callbacks alone, by name. Cancel safe.
    ///
    /// # Errors
    /// As [`MeshHandle::processes`].
    pub async fn shared(&self, from: TenantName, into: TenantName) -> Result<Vec<ProcessInfo>, CallError> {
        self.ask_cancellable(|token, reply| Request::Shared { token, from, into, reply }, driver_ended).await
    }

    /// Tells of the processes of a tenant: of those that are there first, and then of those that come and go.
    ///
    /// # Errors
    /// `overloaded` when this runtime has too many requests open. Cancel safe.
    pub async fn watch(&self, tenant: TenantName) -> Result<Watch, CallError> {
        let (sender, events) = mpsc::channel(MAX_UNREAD_EVENTS);
        let open = self.open_with(|token| Request::Watch { token, tenant, events: sender }).await?;
        Ok(Watch { events, _open: open })
    }

    /// Tells the caller of a call that [`Serve::serve`] left open why he waits no longer, while the callback runs on. Nothing where
    /// the call is over by now.
    pub async fn answered(&self, id: ServeId, error: CallError) {
        self.tell(Request::Answered { id, error }).await;
    }

    /// A call that [`Serve::serve`] left open is over; the answer, unless its caller was told or has gone.
    pub async fn served(&self, id: ServeId, result: ServeResult) {
        self.tell(Request::Served { id, result }).await;
    }

    /// Tells what a process is doing. False where there was no room for it: it is to be told again, since nothing else may
    /// change any more.
    pub fn load(&self, process: LocalId, load: Load) -> bool {
        // Where the driver has ended there is nobody to tell.
        !matches!(self.requests.try_send(Request::Load { process, load }), Err(TrySendError::Full(_)))
    }

    /// Tells what a process has done and used; as [`MeshHandle::load`].
    pub fn usage(&self, process: LocalId, usage: Box<Usage>) -> bool {
        !matches!(self.requests.try_send(Request::Usage { process, usage }), Err(TrySendError::Full(_)))
    }

    /// Takes no new calls from now on, and tells the controller to send none. Resolves when no call is in flight on
    /// this node, served or made. Bound it with a timeout.
    pub async fn drain(&self) {
        let _ = self.ask(|reply| Request::Drain { reply }).await;
    }

    /// Says goodbye to the controller and closes the link. Resolves when the goodbye is written, or cannot be.
    pub async fn leave(&self) {
        let _ = self.ask(|reply| Request::Leave { reply }).await;
    }

    /// How the node stands to the controller, and every change of it.
    pub fn link(&self) -> watch::Receiver<LinkState> {
        self.shared.link.clone()
    }

    /// Asks the whole runtime to stop with this exit code; the first to ask wins.
    pub fn stop(&self, code: u8) {
        self.shared.stop.send_if_modified(|stop| {
            let first = stop.is_none();
            if first {
                *stop = Some(code);
            }
            first
        });
    }

    /// Resolves with the exit code when somebody asked the runtime to stop. Cancel safe.
    pub async fn stopped(&self) -> u8 {
        let mut stop = self.shared.stop.subscribe();
        match stop.wait_for(Option::is_some).await {
            Ok(code) => code.unwrap_or(0),
            Err(_) => 0, // unreachable while `self` holds the sender
        }
    }

    fn next_token(&self) -> Token {
        Token(self.shared.next_token.fetch_add(1, Ordering::Relaxed))
    }

    async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Result<T, CallError> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(request(reply)).await.map_err(|_| driver_ended())?;
        answer.await.map_err(|_| driver_ended())
    }
}

/// The processes of a tenant as they come and go. Dropping it ends the watch.
pub struct Watch {
    events: mpsc::Receiver<Result<MemberEvent, CallError>>,
    _open: OpenRequest,
}

impl Watch {
    /// The next event; `None` after [`MAX_UNREAD_EVENTS`] that were not fetched in time, or when the runtime ends: watch
    /// anew, the present state comes first then. Cancel safe.
    ///
    /// # Errors
    /// `overloaded` when the node has too many watches; the watch is over.
    pub async fn next(&mut self) -> Option<Result<MemberEvent, CallError>> {
        self.events.recv().await
    }

    /// As [`Watch::next`], for those who are polled.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<MemberEvent, CallError>>> {
        self.events.poll_recv(cx)
    }
}

fn driver_ended() -> CallError {
    CallError::not_run(code::NOT_CONNECTED, "this runtime is shutting down", "")
}

#[cfg(test)]
#[path = "handle_tests.rs"]
mod tests;
