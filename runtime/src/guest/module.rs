//! A module on the mesh: one process, its instances and its `run`.
//!
//! ```text
//!   start ──► linked, registered, first instance made where it has lifecycle functions ──► calls
//!   run ────► an instance of its own, which shares nothing with those that serve
//!   shutdown ► off the mesh, queue refused, guests dropped, tasks gone
//! ```
//!
//! Invariants: no task outlives [`GuestModule::shutdown`]; dropping the module ends its guests too. When to run, and
//! when to leave, is the app's to decide.

use std::sync::Arc;
use std::time::Instant;

use daffi_proto::call::{CallbackSpec, ProcessSpec, Schedules, WhenAbandoned};
use daffi_proto::error::CallError;
use daffi_proto::id::{LocalId, ProcessRef};
use daffi_proto::schedule::Tasks;
use daffi_proto::share::Export;
use daffi_proto::usage::Usage;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::ceiling::Ceiling;
use super::component::Loaded;
use super::engine::EngineKind;
use super::fair::Share;
use super::grants::Grants;
use super::heat::Heat;
use super::interleave::{Interleave, InterleaveService};
use super::limits::{InstancePolicy, ModuleLimits, OnCancel};
use super::output::Output;
use super::outside::Outside;
use super::pool::{Pool, PoolService};
use super::run::{RunOutcome, guarded, run};
use super::state::{Background, ModuleContext};
use super::template::{LinkError, Template};
use super::threads::{Side, Threads, cancelled_and_left};
use crate::mesh::handle::{MeshHandle, Serve};

/// How a component becomes a process.
#[derive(Clone, Debug)]
pub struct ModuleSpec {
    /// Its tenant and name.
    pub process: ProcessRef,
    /// The name of this runtime.
    pub node: String,
    /// How its instances are kept.
    pub policy: InstancePolicy,
    /// What it may use.
    pub limits: ModuleLimits,
    /// What all modules of its tenant may use.
    pub ceiling: Arc<Ceiling>,
    /// Its tenant's share of the guests' threads.
    pub share: Arc<Share>,
    /// What becomes of calls that nobody waits for; the policy's own way where none is named.
    pub on_cancel: Option<OnCancel>,
    /// The scheduled tasks that it has from an earlier stay, where they are kept.
    pub schedules: Option<Box<Tasks>>,
    /// What of the host its guests see, and nothing else.
    pub outside: Outside,
    /// What of it other tenants may import.
    pub exports: Arc<[Export]>,
    /// What its guests may ask of the mesh.
    pub grants: Grants,
}

#[cfg(test)]
impl ModuleSpec {
    /// With what is usual, and no ceiling, schedules, exports or grants.
    pub(super) fn plain(process: ProcessRef, policy: InstancePolicy) -> Self {
        let ceiling = Arc::new(Ceiling::none(process.tenant.clone()));
        Self {
            process,
            node: "node".to_owned(),
            policy,
            limits: ModuleLimits::default(),
            ceiling,
            share: Share::alone(),
            on_cancel: None,
            schedules: None,
            outside: Outside::default(),
            exports: Arc::default(),
            grants: Grants::default(),
        }
    }
}

/// A module cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The component does not fit the host.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The node refuses the process; choose another name.
    #[error("process {process} cannot be registered: {error}")]
    Register {
        /// Its name.
        process: String,
        /// Why.
        error: CallError,
    },
}

/// A module on the mesh.
pub struct GuestModule {
    template: Arc<Template>,
    local: LocalId,
    threads: Threads,
    tasks: TaskTracker,
    shutdown: CancellationToken,
}

impl GuestModule {
    /// Puts the component on the mesh. Its guests run on `guests`, or, while they are quick, on the caller's own runtime, which is to
    /// be that of the network; what looks at the clock for those who wait runs there, where guests hold it up for moments only.
    ///
    /// # Errors
    /// [`StartError`]. An instance that cannot be made is no error here: it fails the calls that need it.
    pub async fn start(
        loaded: &Loaded,
        mut spec: ModuleSpec,
        mesh: MeshHandle,
        guests: Handle,
        output: Output,
    ) -> Result<Arc<Self>, StartError> {
        let (policy, on_cancel) = (spec.policy, spec.on_cancel.unwrap_or_else(|| OnCancel::default_of(spec.policy)));
        let registration = ProcessSpec {
            process: spec.process.clone(),
            callbacks: loaded
                .description
                .callbacks
                .iter()
                .map(|callback| CallbackSpec { name: callback.name.clone(), signature: callback.signature.clone() })
                .collect(),
            instances: policy.to_string(),
            schedules: spec.schedules.take().map_or(Schedules::Fresh(spec.limits.schedules), Schedules::Kept),
            large_bytes: spec.limits.held_bytes(policy),
            max_streams: spec.limits.open_streams,
            exports: spec.exports.clone(),
        };
        let interleaves = loaded.description.engine == EngineKind::Concurrent;
        let plain_calls = plain_calls(policy, on_cancel, interleaves);
        let (tasks, shutdown) = (TaskTracker::new(), CancellationToken::new());
        let threads = Threads::new(Handle::current(), guests, tasks.clone());
        let background = Background { threads: threads.clone(), shutdown: shutdown.clone() };
        let context = Arc::new(ModuleContext::new(spec, (mesh.clone(), background), output, plain_calls));
        let template = Arc::new(Template::new(loaded, context.clone(), policy.is_long_lived())?);
        let register = async |service: Arc<dyn Serve>| {
            let process = context.process.name.to_string();
            let local = mesh.add_process(registration, service).await;
            let local = local.map_err(|error| StartError::Register { process, error })?;
            context.set_local(local);
            Ok::<_, StartError>(local)
        };
        let link = mesh.link();
        let (shared, end) = (template.clone(), shutdown.clone());
        let local = if template.interleaves() {
            let pool = Interleave::new(shared, policy, on_cancel, threads.clone(), end);
            let local = register(Arc::new(InterleaveService(pool.clone()))).await?;
            if template.lifecycle.is_some() {
                pool.make_first();
            }
            tasks.spawn(pool.keep_house(link));
            local
        } else {
            let pool = Pool::new(shared, policy, on_cancel, threads.clone(), end);
            let local = register(Arc::new(PoolService(pool.clone()))).await?;
            if template.lifecycle.is_some() {
                pool.make_first();
            }
            tasks.spawn(pool.keep_house(link));
            local
        };
        Ok(Arc::new(Self { template, local, threads, tasks, shutdown }))
    }

    /// Its tenant and name.
    pub fn process(&self) -> &ProcessRef {
        &self.template.context.process
    }

    /// Its number in this node.
    pub fn local(&self) -> LocalId {
        self.local
    }

    /// What it has done and used until now.
    pub fn usage(&self) -> Usage {
        self.template.context.meter.usage()
    }

    /// Whether other processes can call it.
    pub fn has_callbacks(&self) -> bool {
        !self.template.callbacks.is_empty()
    }

    /// Whether it has a `wasi:cli/run`.
    pub fn has_run(&self) -> bool {
        self.template.run.is_some()
    }

    /// Runs `wasi:cli/run` in an instance of its own, without a limit of time, until it returns or the module is shut
    /// down. None when the component has no such export.
    ///
    /// Cancel safety: dropping the future leaves the guest running until the module is shut down.
    pub async fn run(&self) -> Option<RunOutcome> {
        let export = self.template.run?;
        let (template, shutdown) = (self.template.clone(), self.shutdown.clone());
        let stand = template.context.stand(Arc::new(Heat::new(Instant::now())));
        let (tell, outcome) = oneshot::channel();
        self.threads.roam(Side::Guests, async move {
            let outcome = tokio::select! {
                biased;
                () = cancelled_and_left(&shutdown) => RunOutcome::Stopped,
                outcome = guarded(stand.run(run(template, export))) => outcome,
            };
            let _ = tell.send(outcome);
        });
        // A task that ends without a word ends with the threads.
        Some(outcome.await.unwrap_or(RunOutcome::Stopped))
    }

    /// Leaves the mesh, refuses what is queued, ends what still runs, and waits until all of it is gone. To let calls
    /// finish, drain the node first.
    pub async fn shutdown(&self) {
        self.template.context.mesh.remove_process(self.local).await;
        self.shutdown.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// What becomes of calls whose failure traps, when the calls that they are made for are given up: where those run on, a
/// trap would end the instance that others rely on. Calls that interleave run on unless they are alone in their instance;
/// one that is alone goes with it, and takes the calls that it makes along.
fn plain_calls(policy: InstancePolicy, on_cancel: OnCancel, interleaves: bool) -> WhenAbandoned {
    match on_cancel {
        OnCancel::Finish => WhenAbandoned::Finish,
        OnCancel::Kill if interleaves && policy.is_long_lived() => WhenAbandoned::Finish,
        OnCancel::Kill => WhenAbandoned::Cancel,
    }
}

impl Drop for GuestModule {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}
