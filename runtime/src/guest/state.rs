//! What a guest's store holds: its WASI context, its limits, who it is and which calls it is in.
//!
//! Deny by default: no files, no network, no inherited environment, arguments or stdio. What a guest gets is what was given
//! to its module ([`Outside`]), clocks, randomness, and sinks for what it prints.
//! Invariants: a store's epoch deadline is one tick away whenever a guest is entered ([`GuestState::enter`]), so that a
//! spinning guest yields its thread at each tick, but for one that comes within a millisecond of when guests got that, and ends at the first tick past [`GuestState`]'s `stop_at`, or where its
//! task has used the time that it may ([`Tasks`]). The epoch ticks while a guest is polled in its [`Turn`].
//! It does not enter guests: [`super::instance`] does.

use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use daffi_proto::call::{Caller, DEFAULT_TIMEOUT, Hop, Resolved, WhenAbandoned};
use daffi_proto::error::{CallError, code};
use daffi_proto::id::{LocalId, ProcessRef, ServeId};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use wasmtime::component::GuestTaskId;
use wasmtime::{AsContextMut, Engine, Store, StoreContextMut, UpdateDeadline};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use super::audience::Audience;
use super::bell::Bell;
use super::ceiling::{Ceiling, CeilingReached, Kind, Place};
use super::engine::{Clock, TICK};
use super::fair::{Share, Stand};
use super::fault::TimeUp;
use super::grants::{Act, Grants};
use super::handle_table::HandleTable;
use super::handles::Handles;
use super::heat::Heat;
use super::limits::{Limiter, ModuleLimits};
use super::meter::Meter;
use super::module::ModuleSpec;
use super::outgoing::{OpenCall, Outgoing};
use super::output::{GuestStream, LineSink, ModuleOutput, Output};
use super::outside::Outside;
use super::rate::CallRate;
use super::stint;
use super::streams::{CallStreams, OpenStreams};
use super::tasks::{Awaited, Overrun, Tasks, Turn};
use super::threads::{self, Side, Threads};
use super::transcode::stream::{Life, Terms};
use super::transcode::{bound_lifts, lifted_bytes};
use crate::mesh::handle::MeshHandle;

/// The number of the instance that runs `wasi:cli/run`: it serves no callbacks, so no chain of calls returns to it.
pub const RUN_INSTANCE: u32 = Hop::NO_INSTANCE;

/// Most random bytes that a guest gets at once: making them cannot be interrupted.
const MAX_RANDOM_BYTES: u64 = 1 << 20;

/// Who a module's guests are on the mesh: the same for all its instances.
pub(super) struct ModuleContext {
    pub process: ProcessRef,
    /// The name of this runtime.
    pub node: String,
    pub mesh: MeshHandle,
    pub limits: ModuleLimits,
    /// What all modules of its tenant may use.
    pub ceiling: Arc<Ceiling>,
    /// Its tenant's share of the guests' threads.
    pub share: Arc<Share>,
    /// What its guests may ask of the mesh.
    pub grants: Grants,
    /// What of the host its guests see.
    pub outside: Outside,
    pub output: Arc<ModuleOutput>,
    /// What is rung when any of what it has open changes.
    pub bell: Arc<Bell>,
    /// What it has done and used.
    pub meter: Arc<Meter>,
    /// How often it may be called.
    pub rate: CallRate,
    /// What its guests have open to others.
    pub outgoing: Arc<Outgoing>,
    /// The streams that it has open, of the calls that it serves and of those that it makes.
    pub streams: Arc<OpenStreams>,
    /// What its guests hold of the host.
    pub handles: Arc<Handles>,
    /// Its turn to ask who is there: one list at a time.
    pub lists: Semaphore,
    /// Where what its guests began goes on while they do not wait for it.
    pub background: Background,
    /// What becomes of typed calls whose failure traps, when the calls that they are made for are given up.
    pub plain_calls: WhenAbandoned,
    /// The process's number, known from its registration on.
    local: OnceLock<LocalId>,
}

impl ModuleContext {
    /// The context of a module's guests, on this mesh.
    pub fn new(
        spec: ModuleSpec,
        (mesh, background): (MeshHandle, Background),
        output: Output,
        plain_calls: WhenAbandoned,
    ) -> Self {
        let ModuleSpec { process, node, policy, limits, ceiling, share, outside, grants, .. } = spec;
        let output = ModuleOutput::new(output, limits.output_bytes_per_second, ceiling.output());
        let bell = Arc::new(Bell::default());
        let meter = Arc::new(Meter::new(bell.clone()));
        let outgoing = Arc::new(Outgoing::new(&limits, policy, bell.clone(), ceiling.clone()));
        let streams = OpenStreams::new(
            limits.open_streams,
            limits.held_bytes(policy),
            (bell.clone(), meter.clone()),
            ceiling.clone(),
        );
        let handles = Arc::new(Handles::new(bell.clone()));
        let rate = CallRate::new(limits.calls_per_second, Instant::now());
        Self {
            process,
            node,
            mesh,
            limits,
            ceiling,
            share,
            grants,
            outside,
            output,
            bell,
            meter,
            rate,
            outgoing,
            streams: Arc::new(streams),
            handles,
            lists: Semaphore::new(1),
            background,
            plain_calls,
            local: OnceLock::new(),
        }
    }

    /// Where a task that polls guests waits for their turns; those with the same heat are quick together.
    pub fn stand(&self, heat: Arc<Heat>) -> Stand {
        self.share.stand(self.meter.clone(), heat, self.background.threads.clone())
    }

    /// Learns the process's number: from the registration's answer, or from the first call where that comes earlier.
    pub fn set_local(&self, id: LocalId) {
        let _ = self.local.set(id);
    }

    pub fn local(&self) -> Option<LocalId> {
        self.local.get().copied()
    }
}

/// Runs what guests began and do not wait for. The module's shutdown waits for all of it: each task ends by itself when
/// the guest that began it, or its handle, has gone, or else at the shutdown.
pub(super) struct Background {
    pub threads: Threads,
    pub shutdown: CancellationToken,
}

impl Background {
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.threads.spawn(Side::Guests, task);
    }

    /// The same, for what does next to nothing but wait for the mesh.
    pub fn spawn_waiting(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.threads.spawn(Side::Network, task);
    }

    /// The same, for what carries a stream between a guest and the mesh: it leaves the network's thread for what takes long.
    pub fn spawn_pump(&self, pump: impl Future<Output = ()> + Send + 'static) {
        self.threads.roam(Side::Network, pump);
    }
}

/// What a guest's own calls inherit from the call that it serves.
#[derive(Clone, Debug, Default)]
pub(super) struct Scope {
    /// The call; none for lifecycle calls and `run`.
    pub parent: Option<ServeId>,
    /// When it must have ended; none for `run`, and for what goes on for the sake of its streams.
    pub deadline: Option<Instant>,
    /// The calls above it.
    pub chain: Arc<[Hop]>,
    /// Its streams, and those of the calls that it makes; none where the module has no streams in its types.
    pub streams: Option<Arc<CallStreams>>,
    /// Fires when nobody waits for the call any more. Only where calls interleave.
    pub given_up: Option<CancellationToken>,
}

impl Scope {
    /// Of what must have ended by then, and is no call.
    pub fn until(deadline: Instant) -> Self {
        Self { deadline: Some(deadline), ..Self::default() }
    }
}

/// Which calls an instance is in.
enum Scopes {
    /// A synchronous component: one at a time.
    One(Scope),
    /// Calls interleave: by the task of the export.
    ByTask(Tasks<GuestTaskId>),
}

/// The data of a guest's store.
pub(super) struct GuestState {
    wasi: WasiCtx,
    table: HandleTable,
    pub limiter: Limiter,
    pub module: Arc<ModuleContext>,
    /// Which instance of the process this is.
    pub number: u32,
    scopes: Scopes,
    stderr: LineSink,
    /// From when on the guest is ended at the next tick.
    stop_at: Option<Instant>,
    pub turn: Arc<Turn>,
    /// Ends with the store, and tells the streams.
    pub life: Life,
    /// Its place among the instances of its tenant.
    _place: Option<Place>,
}

impl GuestState {
    /// A store with nothing in it yet. `interleaves`: whether the engine is the one with concurrency.
    ///
    /// # Errors
    /// The tenant has as many instances as it may.
    pub fn store(
        (engine, clock): (&Engine, &Clock),
        module: Arc<ModuleContext>,
        number: u32,
        interleaves: bool,
    ) -> Result<Store<Self>, CeilingReached> {
        let place = module.ceiling.place(Kind::Instances, Audience::Home)?;
        let stdout = LineSink::new(GuestStream::Stdout, module.output.clone());
        let stderr = LineSink::new(GuestStream::Stderr, module.output.clone());
        let mut wasi = WasiCtx::builder();
        wasi.arg(module.process.name.as_str()).stdout(stdout).stderr(stderr.clone()).max_random_size(MAX_RANDOM_BYTES);
        module.outside.give(&mut wasi);
        let wasi = wasi.build();
        let (most, folders) = (module.outside.handles(module.limits.host_handles), module.outside.preopens.len());
        let table = HandleTable::new(most, folders, module.ceiling.clone());
        let scopes = if interleaves {
            Scopes::ByTask(Tasks::new(module.limits.max_call_time.min(module.limits.max_call_cpu)))
        } else {
            Scopes::One(Scope::default())
        };
        let limiter = Limiter::new(&module.limits, module.ceiling.clone(), module.meter.clone());
        let (payload_bytes, handles) = (module.limits.payload_bytes, module.limits.component_handles());
        let (turn, life) = (Arc::new(Turn::new(clock.clone(), interleaves)), Life::default());
        let state =
            Self { wasi, table, limiter, module, number, scopes, stderr, stop_at: None, turn, life, _place: place };
        let mut store = Store::new(engine, state);
        store.limiter(|state| &mut state.limiter);
        bound_lifts(&mut store, lifted_bytes(payload_bytes));
        store.set_max_component_handles(handles);
        store.epoch_deadline_callback(Self::tick);
        Ok(store)
    }

    /// Prepares the store for a guest that is entered now and ended at the first tick past `stop_at`.
    pub fn enter(mut store: impl AsContextMut<Data = Self>, scope: Scope, stop_at: Option<Instant>) {
        let mut store = store.as_context_mut();
        store.set_epoch_deadline(1);
        let state = store.data_mut();
        state.stop_at = stop_at;
        state.turn.restart();
        state.limiter.take_refusal();
        state.stderr.start_tail();
        match &mut state.scopes {
            Scopes::One(current) => *current = scope,
            Scopes::ByTask(tasks) => tasks.others(scope),
        }
    }

    /// Prepares the store for one more call beside those that are in it.
    pub fn renew(mut store: StoreContextMut<'_, Self>) {
        store.set_epoch_deadline(1);
        store.data_mut().limiter.take_refusal();
    }

    /// Says for which call a task works from now on.
    pub fn begin_task(&mut self, task: GuestTaskId, scope: Scope) {
        if let Scopes::ByTask(tasks) = &mut self.scopes {
            tasks.begin(task, scope);
        }
    }

    /// The task's call has its result, and goes on for the sake of its streams.
    pub fn task_streams(&mut self, task: GuestTaskId) {
        if let Scopes::ByTask(tasks) = &mut self.scopes {
            tasks.streams(&task);
        }
    }

    /// The task's call has its result; what it does from now on, it does for nobody who waits.
    pub fn task_returned(&mut self, task: GuestTaskId) {
        if let Scopes::ByTask(tasks) = &mut self.scopes {
            tasks.returned(&task);
        }
    }

    /// No task is left in the instance.
    pub fn all_tasks_ended(&mut self) {
        if let Scopes::ByTask(tasks) = &mut self.scopes {
            tasks.all_ended();
        }
    }

    /// The task for whose time the instance was ended, if one was.
    pub fn overrun(&self) -> Option<&Overrun> {
        match &self.scopes {
            Scopes::ByTask(tasks) => tasks.overrun(),
            Scopes::One(_) => None,
        }
    }

    /// What holds for the streams that come out of the guest.
    pub fn terms(&self) -> Terms {
        let (room, max_item_bytes) = (self.module.streams.room().clone(), self.module.limits.payload_bytes);
        Terms { witness: self.life.witness(), max_item_bytes, room }
    }

    /// The call for which the guest calls the host right now.
    pub fn scope(mut store: StoreContextMut<'_, Self>) -> Scope {
        if let Scopes::One(scope) = &store.data().scopes {
            return scope.clone();
        }
        let task = root_task(&mut store);
        match (&store.data().scopes, task) {
            (Scopes::ByTask(tasks), Some(task)) => tasks.scope(&task),
            _ => Scope::default(),
        }
    }

    /// Why there was no room for a handle, where it was its tenant's.
    pub fn handles_refused(&self) -> Option<&CeilingReached> {
        self.table.refused()
    }

    /// What the guest last wrote to its stderr in this call.
    pub fn last_words(&self) -> String {
        self.stderr.tail()
    }

    fn tick(mut store: StoreContextMut<'_, Self>) -> wasmtime::Result<UpdateDeadline> {
        debug_assert!(store.data().turn.is_begun(), "a guest was entered past its turn: the clock may sleep");
        let late = store.data().stop_at.is_some_and(|stop_at| Instant::now() >= stop_at);
        if late {
            return Err(TimeUp.into());
        }
        if !Self::charge(&mut store) {
            return Err(store.data().module.limits.computed_too_long());
        }
        if stint::has_just_begun(Instant::now()) {
            return Ok(UpdateDeadline::Continue(1));
        }
        threads::interrupted();
        Ok(UpdateDeadline::Yield(1))
    }

    /// Charges the task that runs with the time since the instance was given the thread. False when that is more than
    /// it may use.
    fn charge(store: &mut StoreContextMut<'_, Self>) -> bool {
        let state = store.data();
        if matches!(state.scopes, Scopes::One(_)) {
            // What is no call, `run`, has no end.
            return state.stop_at.is_none() || state.turn.tick() < state.module.limits.max_call_cpu;
        }
        let Some(time) = store.data().turn.take() else { return true };
        let task = root_task(store);
        match (&mut store.data_mut().scopes, task) {
            // A tick finds one of many short turns: it stands for those that none has found.
            (Scopes::ByTask(tasks), Some(task)) => tasks.charge(task, time.max(TICK)),
            _ => true,
        }
    }
}

/// The task that runs right now: that of the export which the host itself called, the last of the stack.
fn root_task(store: &mut StoreContextMut<'_, GuestState>) -> Option<GuestTaskId> {
    store.async_call_stack().ok().and_then(Iterator::last)
}

impl WasiView for GuestState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: self.table.get() }
    }
}

/// Who makes a call of the mesh, and how long it may take: what every call that a guest makes starts from. Owned, so
/// that it outlives the borrow of the store.
#[derive(Clone)]
pub(super) struct CallOrigin {
    pub module: Arc<ModuleContext>,
    number: u32,
    parent: Option<ServeId>,
    chain: Arc<[Hop]>,
    /// What is left of the call that this one is made for; no end where there is none.
    pub left: Duration,
    /// The streams of the call that this one is made for, where it may have some.
    pub streams: Option<Arc<CallStreams>>,
    pub turn: Arc<Turn>,
}

impl CallOrigin {
    pub fn of(store: StoreContextMut<'_, GuestState>) -> Self {
        let GuestState { module, number, turn, .. } = store.data();
        let (module, number, turn) = (module.clone(), *number, turn.clone());
        let scope = GuestState::scope(store);
        let left = match scope.deadline {
            Some(deadline) => deadline.saturating_duration_since(Instant::now()),
            None => Duration::MAX,
        };
        Self { module, number, parent: scope.parent, chain: scope.chain, left, streams: scope.streams, turn }
    }

    /// The guest as the mesh knows it.
    ///
    /// # Errors
    /// `not-connected` when the process is not on the mesh: a defect, since guests run only while it is.
    pub fn caller(&self, callback: &str) -> Result<Caller, CallError> {
        let id = self.module.local().ok_or_else(|| {
            let message = format!("{callback} was not called: {} is not on the mesh", self.module.process.name);
            CallError::not_run(code::NOT_CONNECTED, message, callback)
        })?;
        Ok(Caller::Process { id, instance: self.number, parent: self.parent, chain: self.chain.clone() })
    }

    /// Checks whether the guest may call what a name was found to be.
    ///
    /// # Errors
    /// `not-run`: `permission-denied`
    pub fn may_call(&self, resolved: &Resolved) -> Result<(), CallError> {
        self.module.grants.call(&self.module.process, resolved.tenant.as_ref(), &resolved.callback)
    }

    /// Checks whether the guest may do this; `what` is its name for the error.
    ///
    /// # Errors
    /// `not-run`: `permission-denied`
    pub fn may(&self, act: Act, what: &str) -> Result<(), CallError> {
        self.module.grants.act(&self.module.process, act, what)
    }

    /// Somebody without a name in the guest's tenant.
    pub fn nobody(&self) -> Caller {
        Caller::Client { tenant: self.module.process.tenant.clone() }
    }

    /// Takes a place among the calls that the module has open, for one with so many bytes of arguments.
    ///
    /// # Errors
    /// `overloaded`
    pub fn open(&self, callback: &str, bytes: usize) -> Result<OpenCall, CallError> {
        self.module.outgoing.open(&self.module.process, callback, bytes)
    }

    /// The guest waits for one more answer, until this is dropped.
    pub fn awaits(&self) -> Awaited {
        self.turn.awaits()
    }

    /// How long the call that the guest serves may still take; none where there is none.
    pub fn remaining(&self) -> Option<Duration> {
        (self.left != Duration::MAX).then_some(self.left)
    }

    /// The same, for what is none of the calls below the one that the guest serves.
    pub fn alone(&self) -> Self {
        Self { parent: None, left: Duration::MAX, ..self.clone() }
    }

    /// The timeout of a call that was asked for this one, or for none.
    pub fn timeout(&self, wanted: Option<Duration>) -> Duration {
        wanted.unwrap_or(DEFAULT_TIMEOUT).min(self.left)
    }

    /// The error of a call for which no time is left.
    pub fn no_time(&self, callback: &str) -> CallError {
        let message =
            format!("{callback} was not called: the deadline of the call that it was to be made for has passed");
        CallError::not_run(code::DEADLINE_EXCEEDED, message, callback)
    }
}
