//! STREAM, for guests without async: calls whose streams are handles.
//!
//! ```text
//!   stream ──► looked up ──► on its way: outbound 0 1 …  ─────────────► written, finished
//!                              └──► reply ──► inbound 0 1 … ───────────► read to their end
//! ```
//!
//! A task carries each call to its reply, so that a result that nobody fetches is counted; one more carries each stream
//! that the guest writes. Invariants: every stream has its place among those that the module has open until it has ended,
//! and the call its place until its reply is dropped and its streams have ended; a guest that drops what it holds, or
//! ends, ends all of it.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use daffi_proto::call::{CallReply, CallRequest, Mode, ResolveRequest};
use daffi_proto::error::{CallError, code};
use daffi_proto::id::ProcessName;
use daffi_proto::signature::Signature;
use daffi_proto::stream::Flow;
use daffi_proto::value::{self, Channel, Encoded, Encoding, Limits as ValueLimits};
use tokio::sync::oneshot;
use wasmtime::Result;
use wasmtime::component::{Access, Resource};
use wasmtime_wasi::p2::{DynPollable, Pollable};
use wasmtime_wasi::{WasiView, async_trait};

use super::super::audience::Audience;
use super::super::handles::Handle;
use super::super::instance::bad_arguments;
use super::super::outgoing::OpenCall;
use super::super::state::{CallOrigin, GuestState, ModuleContext};
use super::super::streams::Place;
use super::super::transcode::stream::StreamRoom;
use super::dynamic::{decode, encode_args, encoding_of, length};
use super::inbound::Inbound;
use super::items::{Items, nothing};
use super::outbound::Outbound;
use super::{Guests, call, held, milliseconds, pollable, process_name, push, types};
use crate::mesh::handle::{Answer, StreamingReply};

/// A call with streams that a guest wants.
pub(super) struct Wish {
    callback: String,
    arguments: types::Value,
    receiver: Option<ProcessName>,
    wait_ready: bool,
    timeout: Duration,
    since: Instant,
    place: OpenCall,
    /// How many streams its caller has for it; none where he learns that from the call.
    streams: Option<usize>,
}

/// What a stream of a call holds until it ends.
pub(super) struct Held {
    pub place: Place,
    _call: Arc<Mutex<OpenCall>>,
}

impl Held {
    /// Room for the stream's large items.
    pub fn room(&self) -> StreamRoom {
        self.place.room()
    }
}

/// A call that has begun.
pub(super) struct Begun {
    pub outbound: Vec<Outbound>,
    pub reply: Reply,
    /// Who reads what is written.
    pub audience: Audience,
}

/// What a guest holds of a call whose reply it may fetch.
pub struct Reply(Arc<Shared>);

/// A call, shared by its [`Reply`] and what waits for it.
struct Shared {
    callback: String,
    state: Mutex<State>,
}

enum State {
    Open(oneshot::Receiver<Result<Replied, CallError>>),
    Over(Result<Replied, CallError>),
}

/// A reply that its guest has not dropped yet.
struct Replied {
    result: types::Value,
    /// Until they are fetched.
    inbound: Vec<Inbound>,
    _call: Arc<Mutex<OpenCall>>,
}

/// What is known of a call whose callback is known.
struct Known {
    signature: Arc<Signature>,
    mode: Mode,
    encoding: Encoding,
    limits: ValueLimits,
    callback: String,
    call: Arc<Mutex<OpenCall>>,
}

impl Wish {
    /// Checks it, and takes its place among the module's open calls.
    ///
    /// # Errors
    /// `not-run`: `bad-arguments`, `deadline-exceeded`, `overloaded`
    pub fn new(
        origin: &CallOrigin,
        callback: String,
        arguments: types::Value,
        options: Option<call::StreamOptions>,
    ) -> Result<Self, CallError> {
        let options = options.unwrap_or(call::StreamOptions { timeout: None, receiver: None, wait_ready: false });
        let timeout = options.timeout.map(|timeout| milliseconds(timeout, &callback)).transpose()?;
        let receiver = options.receiver.map(|name| process_name(&name, &callback)).transpose()?;
        let timeout = origin.timeout(timeout);
        if timeout == Duration::ZERO {
            return Err(origin.no_time(&callback));
        }
        let place = origin.open(&callback, length(&arguments))?;
        let wait_ready = options.wait_ready;
        Ok(Self { callback, arguments, receiver, wait_ready, timeout, since: Instant::now(), place, streams: None })
    }

    /// Of a caller who has so many streams for it already.
    pub fn with_streams(self, streams: usize) -> Self {
        Self { streams: Some(streams), ..self }
    }

    /// Looks the callback up and begins the call. Cancel safe.
    ///
    /// # Errors
    /// `not-run`
    pub async fn begin(self, origin: &CallOrigin) -> Result<Begun, CallError> {
        let Self { callback, arguments, receiver, wait_ready, timeout, since, place, streams } = self;
        let caller = origin.caller(&callback)?;
        let question = ResolveRequest {
            caller: caller.clone(),
            pattern: callback,
            receiver: receiver.clone(),
            timeout,
            spent: Duration::ZERO,
            wait_ready,
        };
        let resolved = origin.module.mesh.resolve(question).await?;
        origin.may_call(&resolved)?;
        let known = Known {
            mode: if resolved.signature.has_streams() { Mode::Whole } else { Mode::Each },
            signature: resolved.signature,
            encoding: encoding_of(&arguments),
            limits: ValueLimits::for_payload(origin.module.limits.payload_bytes),
            callback: resolved.callback.to_string(),
            call: Arc::new(Mutex::new(place)),
        };
        let (args, written) = known.arguments(arguments)?;
        if let Some(given) = streams.filter(|given| *given != written.len()) {
            let message = format!("{} takes {} streams, {given} were given", known.callback, written.len());
            return Err(CallError::not_run(code::BAD_ARGUMENTS, message, known.callback.as_str()));
        }
        let places = known.places(origin, written.len())?;
        let request = CallRequest {
            tenant: resolved.tenant.clone(),
            accepts: Arc::from([resolved.fingerprint]),
            signature: Some(known.signature.clone()),
            receiver,
            args,
            timeout: timeout.saturating_sub(since.elapsed()),
            wait_ready,
            channels: written.iter().map(|(flow, _)| *flow).collect(),
            mode: known.mode,
            ..CallRequest::new(caller, Arc::from([resolved.callback]))
        };
        let audience = Audience::of(request.tenant.as_ref(), &origin.module.process.tenant);
        let mut call = origin.module.mesh.start_streaming(request).await?;
        let ends = std::mem::take(&mut call.writers).into_iter().zip(written).zip(places);
        let outbound = ends.map(|((writer, (_, items)), place)| {
            let (outbound, pump) = Outbound::new(writer, items, known.callback.clone(), known.held(place));
            origin.module.background.spawn_pump(pump);
            outbound
        });
        let outbound = outbound.collect();
        Ok(Begun { outbound, reply: Reply::of(call, known, &origin.module), audience })
    }
}

impl Known {
    /// The arguments, and the streams in them.
    fn arguments(&self, arguments: types::Value) -> Result<(bytes::Bytes, Vec<(Flow, Items)>), CallError> {
        if self.mode == Mode::Each {
            if !Encoded::from(arguments).is_nothing() {
                let message = format!(
                    "{} has no stream in its type, and so is called once an item: give no other arguments",
                    self.callback
                );
                return Err(CallError::not_run(code::BAD_ARGUMENTS, message, self.callback.as_str()));
            }
            return Ok((bytes::Bytes::new(), vec![(Flow::Items, Items::of_calls(&self.signature, self.limits))]));
        }
        let encoded = encode_args(&self.signature, arguments, &self.limits).and_then(|args| {
            let channels = value::channels_of_args(&self.signature, &args, &self.limits)?;
            Ok((args, channels))
        });
        let (args, channels) = encoded.map_err(|error| bad_arguments(&error, &self.callback, &self.signature))?;
        Ok((args, channels.iter().map(|channel| (Flow::of(channel), self.items(channel))).collect()))
    }

    fn items(&self, channel: &Channel) -> Items {
        Items::of_channel(&self.signature, channel, self.limits)
    }

    /// Places for streams of a call that has not run yet.
    fn places(&self, origin: &CallOrigin, wanted: usize) -> Result<Vec<Place>, CallError> {
        origin.module.streams.take(wanted, Audience::Home).map_err(|too_many| {
            let message = format!("{} was not called: {} {too_many}", self.callback, origin.module.process.name);
            CallError::not_run(code::OVERLOADED, message, self.callback.as_str())
        })
    }

    fn held(&self, place: Place) -> Held {
        Held { place, _call: self.call.clone() }
    }

    /// What a guest gets of the reply, for which there must be room. It alone holds the call from here on.
    fn replied(self, answer: StreamingReply, module: &ModuleContext) -> Result<Replied, CallError> {
        let StreamingReply { reply, readers } = answer;
        let failed = |code: &str, what: &str| {
            let message = format!("{} ran, and its result is lost: {what}", self.callback);
            CallError::failed(code, message, self.callback.as_str()).at(reply.process.as_str())
        };
        if let Err(unheld) = lock(&self.call).hold(reply.result.len()) {
            return Err(failed(code::LIMIT_EXCEEDED, &unheld.to_string()));
        }
        let (result, items) = self.result(&reply).map_err(|error| failed(code::INTERNAL, &error.to_string()))?;
        if !items.iter().map(|(flow, _)| *flow).eq(readers.iter().map(|reader| reader.flow())) {
            return Err(failed(code::INTERNAL, "the streams in it are not those that were opened"));
        }
        let places = module
            .streams
            .take(readers.len(), Audience::Home)
            .map_err(|too_many| failed(code::OVERLOADED, &format!("{} {too_many}", module.process.name)))?;
        let ends = readers.into_iter().zip(items).zip(places);
        let inbound = ends.map(|((reader, (_, items)), place)| {
            Inbound::new(reader, items, self.encoding, self.callback.clone(), self.held(place))
        });
        Ok(Replied { result, inbound: inbound.collect(), _call: self.call.clone() })
    }

    /// The result, and the streams in it.
    fn result(&self, reply: &CallReply) -> Result<(types::Value, Vec<(Flow, Items)>), value::ValueError> {
        if self.mode == Mode::Each {
            return Ok((nothing(self.encoding), vec![(Flow::Items, Items::of_results(&self.signature, self.limits))]));
        }
        let channels = value::channels_of_result(&self.signature, &reply.result, &self.limits)?;
        let result = decode(&self.signature, reply.result.clone(), self.encoding, &self.limits)?;
        Ok((result, channels.iter().map(|channel| (Flow::of(channel), self.items(channel))).collect()))
    }
}

impl Reply {
    /// That of a call, and its task.
    fn of(call: impl Future<Output = Answer> + Send + 'static, known: Known, module: &Arc<ModuleContext>) -> Self {
        let (mut sender, receiver) = oneshot::channel();
        let (callback, state) = (known.callback.clone(), Mutex::new(State::Open(receiver)));
        let of_call = module.clone();
        module.background.spawn(async move {
            let outcome = tokio::select! {
                biased;
                () = sender.closed() => return,
                // What is known goes with it: the guest that drops its reply at once finds its place free.
                answer = call => answer.and_then(|answer| known.replied(answer, &of_call)),
            };
            let _ = sender.send(outcome);
        });
        Self(Arc::new(Shared { callback, state }))
    }
}

impl Reply {
    /// The result and its streams, once they are there. Cancel safe.
    ///
    /// # Errors
    /// The call failed.
    pub async fn wait(&self) -> Result<(types::Value, Vec<Inbound>), CallError> {
        poll_fn(|cx| self.0.poll(cx)).await;
        self.0.take().unwrap_or_else(|| Err(self.0.dropped()))
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        // Also for those who wait for it, and hold it.
        *lock(&self.0.state) = State::Over(Err(self.0.dropped()));
    }
}

impl Shared {
    fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = lock(&self.state);
        if let State::Open(receiver) = &mut *state {
            let Poll::Ready(outcome) = Pin::new(receiver).poll(cx) else { return Poll::Pending };
            // A task that is gone without a word went with the runtime.
            *state = State::Over(outcome.unwrap_or_else(|_| Err(self.dropped())));
        }
        Poll::Ready(())
    }

    /// The result, and the streams that were not fetched yet, once they are there.
    fn take(&self) -> Option<Result<(types::Value, Vec<Inbound>), CallError>> {
        match &mut *lock(&self.state) {
            State::Open(_) => None,
            State::Over(Err(error)) => Some(Err(error.clone())),
            State::Over(Ok(replied)) => Some(Ok((replied.result.clone(), std::mem::take(&mut replied.inbound)))),
        }
    }

    fn dropped(&self) -> CallError {
        let message = "the call was dropped before its reply was there; it may or may not have run";
        CallError::unknown(code::CANCELLED, message, self.callback.as_str())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Gives the guest the handles of a call that has begun.
///
/// # Errors
/// `overloaded`, where it may have no more; the call is given up.
pub(super) fn open(host: &mut Access<'_, GuestState, Guests>, begun: Begun) -> Result<call::Streams, CallError> {
    let Begun { outbound, reply, .. } = begun;
    let callback = reply.0.callback.clone();
    let outbound = push_all(host, outbound, &callback)?;
    match push(host, reply, &callback) {
        Ok(reply) => Ok(call::Streams { outbound, reply }),
        Err(error) => {
            drop_all(host, outbound);
            Err(error)
        }
    }
}

/// Gives the guest a handle for each of these, or for none.
fn push_all<T: Send + 'static>(
    host: &mut Access<'_, GuestState, Guests>,
    all: Vec<T>,
    callback: &str,
) -> Result<Vec<Resource<Handle<T>>>, CallError> {
    let mut handles = Vec::with_capacity(all.len());
    for one in all {
        match push(host, one, callback) {
            Ok(handle) => handles.push(handle),
            Err(error) => {
                drop_all(host, handles);
                return Err(error);
            }
        }
    }
    Ok(handles)
}

/// Takes handles back that the guest has not seen.
fn drop_all<T: Send + 'static>(host: &mut Access<'_, GuestState, Guests>, handles: Vec<Resource<Handle<T>>>) {
    for handle in handles {
        let _ = host.get().ctx().table.delete(handle);
    }
}

fn fetch(
    host: &mut Access<'_, GuestState, Guests>,
    shared: &Shared,
) -> Option<Result<call::Replied, types::CallError>> {
    let fetched = shared.take()?.and_then(|(result, inbound)| {
        Ok(call::Replied { result, inbound: push_all(host, inbound, &shared.callback)? })
    });
    Some(fetched.map_err(types::CallError::from))
}

impl call::HostReply for &mut GuestState {}

impl call::HostReplyWithStore<GuestState> for Guests {
    async fn subscribe(
        mut host: Access<'_, GuestState, Self>,
        reply: Resource<held::Reply>,
    ) -> Result<Resource<DynPollable>> {
        let arrival = Arrival(host.get().ctx().table.get(&reply)?.0.clone());
        pollable(host.get(), arrival)
    }

    async fn try_get(
        mut host: Access<'_, GuestState, Self>,
        reply: Resource<held::Reply>,
    ) -> Result<Option<Result<call::Replied, types::CallError>>> {
        let shared = host.get().ctx().table.get(&reply)?.0.clone();
        let _ = shared.poll(&mut Context::from_waker(Waker::noop()));
        Ok(fetch(&mut host, &shared))
    }

    async fn wait(
        mut host: Access<'_, GuestState, Self>,
        reply: Resource<held::Reply>,
    ) -> Result<Result<call::Replied, types::CallError>> {
        let shared = host.get().ctx().table.get(&reply)?.0.clone();
        poll_fn(|cx| shared.poll(cx)).await;
        Ok(fetch(&mut host, &shared).unwrap_or_else(|| Err(shared.dropped().into())))
    }

    fn drop(mut host: Access<'_, GuestState, Self>, reply: Resource<held::Reply>) -> Result<()> {
        host.get().ctx().table.delete(reply)?;
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

#[cfg(test)]
#[path = "streaming_tests.rs"]
mod tests;
