//! `wasi:cli/run`: a guest's own program, beside its callbacks.
//!
//! Invariants: it has a store of its own, which serves no callbacks, so no chain of calls returns to it; it has no
//! deadline, but yields its thread at each epoch tick as all guests do. One that streams lives until its streams have
//! ended, unless it fails, and what it does with them for `max-call-time` more. The module's limits hold for it too, but for
//! those on calls.

use std::future::{Future, poll_fn};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt;
use tokio::time::timeout;
use wasmtime::component::{Accessor, ComponentExportIndex};
use wasmtime_wasi::I32Exit;

use super::fault::Fault;
use super::state::{GuestState, RUN_INSTANCE, Scope};
use super::streams::CallStreams;
use super::template::Template;
use super::threads::leave_network;
use crate::exit;

/// How a guest's `run` ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunOutcome {
    /// It returned `ok`.
    Ok,
    /// It returned `err`.
    Err,
    /// It called `exit` with this status.
    Exited(u8),
    /// It trapped, or could not be started.
    Trapped {
        /// Why, one line.
        message: String,
        /// A wasm backtrace and what it last wrote to its stderr.
        trace: Option<String>,
    },
    /// The module was shut down while it ran.
    Stopped,
}

impl RunOutcome {
    /// The exit code that says the same: 0 for a good end, the guest's own status, 1 for `err`, 134 for a trap (as a
    /// shell says of a process that aborted).
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Ok | Self::Stopped => exit::OK,
            Self::Err => exit::FAILED,
            Self::Exited(status) => *status,
            Self::Trapped { .. } => exit::TRAPPED,
        }
    }
}

/// What a run comes to, also where a defect of the runtime ends it.
pub(super) async fn guarded(run: impl Future<Output = RunOutcome>) -> RunOutcome {
    AssertUnwindSafe(run).catch_unwind().await.unwrap_or_else(|_| RunOutcome::Trapped {
        message: "the runtime failed while it ran this guest; its log says how".to_owned(),
        trace: None,
    })
}

/// Makes an instance and runs it. Dropping the future ends the guest.
pub(super) async fn run(template: Arc<Template>, export: ComponentExportIndex) -> RunOutcome {
    let mut store = match template.new_store(RUN_INSTANCE) {
        Ok(store) => store,
        Err(reached) => {
            return RunOutcome::Trapped { message: format!("no instance could be made: {reached}"), trace: None };
        }
    };
    let streams = template.has_streams.then(CallStreams::new);
    let longest = template.context.limits.max_call_time;
    GuestState::enter(&mut store, Scope { streams: streams.clone(), ..Scope::default() }, None);
    let turn = store.data().turn.clone();
    let guest = async {
        let instance = template.pre.instantiate_async(&mut store).await?;
        let run = instance.get_typed_func::<(), (Result<(), ()>,)>(&mut store, export)?;
        let Some(streams) = streams else { return run.call_async(&mut store, ()).await };
        let to_the_end = async |accessor: &Accessor<GuestState>| {
            let returned = run.call_concurrent(accessor, ()).await?;
            // What it has begun to write and to read is still to be written and read.
            while returned.0.is_ok() {
                streams.idle().await;
                let rest = timeout(longest, poll_fn(|cx| accessor.poll_no_interesting_tasks(cx))).await;
                if streams.is_idle() || rest.is_err() {
                    break;
                }
            }
            Ok(returned)
        };
        store.run_concurrent(to_the_end).await?
    };
    let result = turn.entering(guest).await;
    leave_network().await; // the store is dropped
    match result {
        Ok((Ok(()),)) => RunOutcome::Ok,
        Ok((Err(()),)) => RunOutcome::Err,
        Err(error) => match error.downcast_ref::<I32Exit>() {
            Some(I32Exit(status)) => RunOutcome::Exited(u8::try_from(*status).unwrap_or(u8::MAX)),
            None => {
                let fault = Fault::of(&error, store.data_mut());
                store.data().life.end(fault.of_streams(&template.context.process.name));
                RunOutcome::Trapped { message: fault.message(), trace: fault.into_trace() }
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_failure_of_the_runtime_in_a_run_is_no_good_end() {
        assert_eq!(guarded(async { panic!("a defect") }).await.exit_code(), 134);
        assert_eq!(guarded(async { RunOutcome::Err }).await, RunOutcome::Err);
    }
}
