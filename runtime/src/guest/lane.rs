//! One instance of a component whose calls interleave: the task that owns its store.
//!
//! ```text
//!   made ──► on-init ──► run_concurrent { calls beside one another, on-connect and on-disconnect between } ──► ended
//! ```
//!
//! Invariants: arguments are checked before they are lowered, since a lowering that fails poisons the store; while a
//! lifecycle function runs, no new call is begun. A trap in one call is the end of `run_concurrent` and of all calls in
//! it. A call with streams is in it until they have ended ([`super::streams`]). What happens inside `run_concurrent` does
//! not watch the clock: a host function that blocks the store would keep it from doing so. [`super::lanes`] does, and ends
//! this task from outside; a guest that spins yields at each tick, and is ended where it has used the time that its task
//! may ([`super::tasks`]). Tasks may go on when their calls have returned: [`super::lanes`] is told when no call is left,
//! and some do.

use std::future::{Future, poll_fn, ready};
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use daffi_proto::call::ServeResult;
use daffi_proto::error::CallError;
use daffi_proto::id::ServeId;
use daffi_proto::value::{self, Limits as ValueLimits};
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use tokio::sync::mpsc;
use tokio::time::timeout;
use wasmtime::component::{Accessor, ComponentExportIndex, ComponentNamedList, Instance as WasmInstance, Lower};
use wasmtime::{AsContextMut, WasmBacktrace};

use super::fault::{Fault, TimeUp};
use super::instance::{Instance, LinkEvent, LinkHistory, bad_arguments, find, no_such_callback, result_too_large};
use super::interleave::Interleave;
use super::lanes::NewLane;
use super::roster::Job;
use super::state::{GuestState, Scope};
use super::streams::{CallStreams, Serving};
use super::tasks::Turn;
use super::template::{Target, Template};
use super::threads::{cancelled_and_left, leave_network, leave_network_with};
use super::transcode::DynFunc;
use super::transcode::stream::ToGuest;

/// Which of an instance's calls ended it. wasmtime does not say in which task a trap was. The backtrace names the export
/// where the call was just being entered; one that had waited is resumed through a callback, and tools fold the
/// callbacks of several exports into one, so that its name says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Culprit {
    Call(ServeId),
    /// A call of this callback.
    Callback(u32),
    /// What went on after a call had returned.
    Leftover,
    Unknown,
}

/// Why a lane ended.
pub(super) enum LaneEnd {
    /// There was no instance: the calls in it did not run.
    NotMade(CallError),
    /// A guest ended the instance, here as far as it is known.
    Fault(Fault, Culprit),
    /// It was told to, or has nothing more to do.
    Told,
}

/// Makes the instance and serves calls in it until it ends. Tracked by the module, ended by the lane's token.
pub(super) async fn live(pool: Arc<Interleave>, lane: NewLane) {
    let NewLane { number, jobs, end } = lane;
    let stand = pool.template.context.stand(pool.heat.clone());
    let why = tokio::select! {
        biased;
        () = cancelled_and_left(&end) => LaneEnd::Told,
        why = stand.run(serve(&pool, number, jobs)) => why,
    };
    pool.lane_ended(number, why).await;
}

async fn serve(pool: &Arc<Interleave>, number: u32, jobs: mpsc::Receiver<Box<Job>>) -> LaneEnd {
    let name = pool.template.context.process.name.clone();
    // Given back after the store is gone. It is never closed.
    let Ok(_place) = pool.places.acquire().await else { return LaneEnd::Told };
    let instance = match Instance::make(pool.template.clone(), number, name.as_str()).await {
        Ok(instance) => instance,
        Err(error) => return LaneEnd::NotMade(error),
    };
    let turn = instance.store.data().turn.clone();
    let guests = counted(&turn, instance.interleave(pool, jobs));
    // A defect of the runtime must not leave the calls of this lane without an answer.
    AssertUnwindSafe(guests).catch_unwind().await.unwrap_or_else(|_| {
        let message = "the runtime failed while it ran this instance; its log says how".to_owned();
        LaneEnd::Fault(Fault::Trap { message, trace: None }, Culprit::Unknown)
    })
}

/// Polls the guests, and counts their turns.
async fn counted<T>(turn: &Turn, guests: impl Future<Output = T>) -> T {
    let mut guests = pin!(guests);
    poll_fn(|cx| {
        let _guest = turn.begin();
        guests.as_mut().poll(cx)
    })
    .await
}

/// A step of a lane that ended.
enum Done {
    Call(ServeId, ServeResult),
    Told,
    /// A guest ended; in this call, where it is known.
    Broken(wasmtime::Error, Option<ServeId>),
}

type Step<'a> = Pin<Box<dyn Future<Output = Done> + Send + 'a>>;

impl Instance {
    /// Serves calls beside one another until the instance ends.
    async fn interleave(self: Box<Self>, pool: &Arc<Interleave>, mut jobs: mpsc::Receiver<Box<Job>>) -> LaneEnd {
        let Self { template, mut store, instance, callbacks, told, .. } = *self;
        let number = store.data().number;
        let longest = template.context.limits.max_call_time;
        GuestState::enter(&mut store, Scope::until(Instant::now() + longest), None);
        let ended = store
            .run_concurrent(async |accessor| {
                let mut lane = Lane { pool, number, accessor, template: &template, instance, callbacks, told };
                lane.drive(&mut jobs).await
            })
            .await;
        let (error, culprit) = match ended {
            Ok(Ok(())) => return LaneEnd::Told,
            Ok(Err((error, culprit))) => (error, culprit.map_or(Culprit::Unknown, Culprit::Call)),
            Err(error) => {
                let culprit = match store.data().overrun() {
                    Some(over) if over.returned => Culprit::Leftover,
                    Some(over) => over.scope.parent.map_or(Culprit::Unknown, Culprit::Call),
                    None => culprit(&error, &template),
                };
                (error, culprit)
            }
        };
        let fault = Fault::of(&error, store.data_mut());
        store.data().life.end(fault.of_streams(&template.context.process.name));
        leave_network().await; // the store is dropped
        LaneEnd::Fault(fault, culprit)
    }
}

/// Serves a call of a module that has streams in its types, until they have ended.
async fn serve_streams(
    accessor: &Accessor<GuestState>,
    serving: Serving<'_>,
    function: DynFunc,
    job: Box<Job>,
) -> Done {
    let Job { incoming, deadline, readers, .. } = *job;
    let (id, args, chain) = (serving.ticket.id, incoming.args, incoming.chain);
    leave_network_with(args.len()).await;
    let taken = serving.check(&args).and_then(|channels| serving.take_in(&channels, readers.into_vec()));
    let args = match taken {
        Ok(inflows) => ToGuest { bytes: args, inflows },
        Err(error) => return Done::Call(id, Err(error)),
    };
    let (deadline, streams) = (Some(deadline), Some(serving.streams.clone()));
    let scope = Scope { parent: Some(id), deadline, chain, streams, given_up: Some(serving.given_up.clone()) };
    let mut task = None;
    let terms = accessor.with(|mut store| {
        GuestState::renew(store.as_context_mut());
        store.data_mut().terms()
    });
    let called = function
        .call_streaming(accessor, args, terms, |state, started| {
            state.begin_task(started, scope);
            task = Some(started);
        })
        .await;
    let returned = match called {
        Ok(returned) => returned,
        Err(error) => return Done::Broken(error, Some(id)),
    };
    if let Some(task) = task {
        accessor.with(|mut store| store.data_mut().task_streams(task));
    }
    let result = serving.give_out(returned).await;
    if let Some(task) = task {
        accessor.with(|mut store| store.data_mut().task_returned(task));
    }
    Done::Call(id, result)
}

/// Looks for the export in which a guest ended, from the oldest frame on.
fn culprit(error: &wasmtime::Error, template: &Template) -> Culprit {
    let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() else { return Culprit::Unknown };
    let names = backtrace.frames().iter().rev().filter_map(|frame| frame.func_name());
    let exports = names.map(|name| name.strip_prefix("[async-lift]").unwrap_or(name));
    exports
        .filter_map(|export| template.callbacks.iter().position(|target| target.place == export))
        .find_map(|callback| u32::try_from(callback).ok())
        .map_or(Culprit::Unknown, Culprit::Callback)
}

/// The inside of `run_concurrent`.
struct Lane<'a> {
    pool: &'a Arc<Interleave>,
    number: u32,
    accessor: &'a Accessor<GuestState>,
    template: &'a Arc<Template>,
    instance: WasmInstance,
    callbacks: Vec<Option<DynFunc>>,
    /// How many events of the link the instance was told.
    told: u64,
}

impl<'a> Lane<'a> {
    async fn drive(&mut self, jobs: &mut mpsc::Receiver<Box<Job>>) -> Result<(), (wasmtime::Error, Option<ServeId>)> {
        let mut link = self.pool.link();
        let mut steps: FuturesUnordered<Step<'a>> = FuturesUnordered::new();
        let mut telling = false;
        let mut lingers = false;
        loop {
            let history = link.borrow_and_update().clone();
            if !telling && self.told < history.events && self.template.lifecycle.is_some() {
                steps.push(self.tell(&history));
                telling = true;
            }
            if steps.is_empty() && !lingers && self.tasks_end(&mut Context::from_waker(Waker::noop())).is_pending() {
                lingers = self.pool.lingers(self.number);
            }
            tokio::select! {
                biased;
                Some(done) = steps.next(), if !steps.is_empty() => match done {
                    Done::Call(id, result) => self.pool.returned(self.number, id, result).await,
                    Done::Told => telling = false,
                    Done::Broken(error, culprit) => return Err((error, culprit)),
                },
                Ok(()) = link.changed(), if !telling => {}
                // No call is begun while the instance hears of the link.
                job = jobs.recv(), if !telling => match job {
                    Some(job) => {
                        steps.extend(self.begin(job));
                        lingers = false;
                    }
                    None => return Ok(()),
                },
                () = poll_fn(|cx| self.tasks_end(cx)), if lingers => {
                    self.pool.is_quiet(self.number);
                    lingers = false;
                }
            }
        }
    }

    /// Ready when no task is left in the instance.
    fn tasks_end(&self, cx: &mut Context<'_>) -> Poll<()> {
        let ended = self.accessor.poll_no_interesting_tasks(cx);
        if ended.is_ready() {
            self.accessor.with(|mut store| store.data_mut().all_tasks_ended());
        }
        ended
    }

    /// Starts a call; none when its caller has gone.
    fn begin(&mut self, job: Box<Job>) -> Option<Step<'a>> {
        let (ticket, id, callback) = (job.ticket(), job.incoming.id, job.incoming.callback);
        let streams = self.template.has_streams.then(CallStreams::new);
        let given_up = self.pool.begins(self.number, id, streams.clone())?;
        let function = self.function(callback);
        let (pool, accessor, template) = (self.pool, self.accessor, self.template);
        Some(Box::pin(async move {
            // What goes on when the call is over does so for nobody.
            let _over = given_up.clone().drop_guard();
            let (target, function) = match function {
                Ok(found) => found,
                Err(error) => return Done::Call(id, Err(error)),
            };
            if let Some(streams) = streams {
                let serving = Serving { pool, target, ticket, streams, given_up };
                return serve_streams(accessor, serving, function, job).await;
            }
            let limits = &template.context.limits;
            let (name, allowed, payload_bytes) = (&*target.name, limits.max_result(), limits.payload_bytes);
            let args = job.incoming.args;
            leave_network_with(args.len()).await;
            if let Err(error) = value::check_args(&target.signature, &args, &ValueLimits::for_payload(payload_bytes)) {
                return Done::Call(id, Err(bad_arguments(&error, name, &target.signature)));
            }
            let (deadline, chain) = (Some(job.deadline), job.incoming.chain);
            let scope = Scope { parent: Some(id), deadline, chain, streams: None, given_up: Some(given_up) };
            let mut task = None;
            accessor.with(|mut store| GuestState::renew(store.as_context_mut()));
            let called = function
                .call_concurrent(accessor, args, |state, started| {
                    state.begin_task(started, scope);
                    task = Some(started);
                })
                .await;
            if let Some(task) = task {
                accessor.with(|mut store| store.data_mut().task_returned(task));
            }
            match called {
                Ok(result) if result.len() > allowed => {
                    Done::Call(id, Err(result_too_large(result.len(), allowed, name)))
                }
                Ok(result) => Done::Call(id, Ok(result)),
                Err(error) => Done::Broken(error, Some(id)),
            }
        }))
    }

    fn function(&mut self, callback: u32) -> Result<(&'a Target, DynFunc), CallError> {
        let place = usize::try_from(callback).unwrap_or(usize::MAX);
        let (Some(target), Some(slot)) = (self.template.callbacks.get(place), self.callbacks.get_mut(place)) else {
            return Err(no_such_callback(self.template, callback));
        };
        if let Some(function) = slot {
            return Ok((target, *function));
        }
        let instance = self.instance;
        let function = self.accessor.with(|mut store| find(&mut store, &instance, target))?;
        *slot = Some(function);
        Ok((target, function))
    }

    /// Tells the instance the next event of the link.
    fn tell(&mut self, history: &LinkHistory) -> Step<'a> {
        self.told = history.next_to_tell(self.told);
        let (accessor, instance, event) = (self.accessor, self.instance, history.event(self.told));
        let Some(exports) = self.template.lifecycle.clone() else { return Box::pin(ready(Done::Told)) };
        let longest = self.template.context.limits.max_call_time;
        Box::pin(async move {
            let until = Instant::now() + longest;
            let called = async {
                match event {
                    LinkEvent::Connected => lifecycle(accessor, &instance, exports.on_connect, (), until).await,
                    LinkEvent::Disconnected(reason) => {
                        lifecycle(accessor, &instance, exports.on_disconnect, (reason,), until).await
                    }
                }
            };
            match timeout(longest, called).await {
                Ok(Ok(())) => Done::Told,
                Ok(Err(error)) => Done::Broken(error, None),
                Err(_) => Done::Broken(TimeUp.into(), None),
            }
        })
    }
}

/// Calls a lifecycle function, which has so long.
async fn lifecycle<P: ComponentNamedList + Lower + Send + Sync + 'static>(
    accessor: &Accessor<GuestState>,
    instance: &WasmInstance,
    export: ComponentExportIndex,
    arguments: P,
    until: Instant,
) -> wasmtime::Result<()> {
    let (function, call) = accessor.with(|mut store| {
        let function = instance.get_typed_func::<P, ()>(&mut store, export)?;
        let call = function.start_call_concurrent(&mut store, arguments)?;
        store.data_mut().begin_task(call.task(), Scope::until(until));
        Ok::<_, wasmtime::Error>((function, call))
    })?;
    let task = call.task();
    let called = function.finish_call_concurrent(accessor, call).await;
    accessor.with(|mut store| store.data_mut().task_returned(task));
    called
}
