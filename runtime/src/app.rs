//! A runtime's life: start, serve, end.
//!
//! ```text
//!   load all modules ─▶ listen, controller ─▶ node, modules registered ─▶ connected: `run`s start
//!        │ bad input; signal                                                  │
//!        ▼                                                                    ▼
//!      Failure; exit 0            signal, stop(code), all is done, refused ─▶ drain ─▶ leave ─▶ exit code
//! ```
//!
//! Invariants: nothing listens before all modules are loaded; a module is on the mesh before the node connects, so that
//! whoever waits for one finds all; every task is tracked and has ended, or its time is up, when this returns.
//! What ends a runtime is decided in [`verdict`], which does nothing itself.

mod exports;
mod signals;
mod start;
mod verdict;

use std::future;
use std::time::Duration;

use daffi_proto::name::CallbackName;
use futures::FutureExt;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::config::RuntimeConfig;
use crate::exit::{self, Failure};
use crate::guest::run::RunOutcome;
use crate::mesh::handle::{LinkState, MeshHandle};
use crate::output::Printer;
use crate::state_dir::StateDir;
use signals::{Came, Signals};
use start::Running;
use verdict::{ModuleState, Verdict};

/// How long the goodbye to the controller, and the end of each part, may take.
const PART_TIMEOUT: Duration = Duration::from_secs(3);

/// What happens to a runtime.
enum Event {
    /// The node is connected for the first time.
    Connected,
    /// The controller refuses the node.
    Refused(String),
    /// A module's `run` ended.
    Ran(usize, RunOutcome),
    /// Somebody asked for the end, with this exit code.
    Stopped(u8),
    /// A signal asks for the end.
    Signal(Came),
    /// Other runtimes' nodes came or went.
    Nodes,
}

/// Reads the components of all modules and tells whether they can be served, without starting anything.
///
/// # Errors
/// The first that cannot.
pub fn examine(config: &RuntimeConfig) -> Result<(), Failure> {
    start::examine(&config.modules)
}

/// Reads the components of all modules, and gives the callbacks of each.
///
/// # Errors
/// The first that cannot be served.
pub fn callbacks(config: &RuntimeConfig) -> Result<Vec<Vec<CallbackName>>, Failure> {
    start::callbacks(&config.modules)
}

/// Runs a runtime to its end, and gives its exit code. Its guests print to the printer.
///
/// # Errors
/// [`Failure`] when it cannot start, or the controller refuses it.
pub async fn run(config: RuntimeConfig, guests: Handle, printer: &Printer) -> Result<u8, Failure> {
    let (exit_after_run, drain_timeout) = (config.exit_after_run, config.drain_timeout);
    let mut signals = Signals::listen()?;
    // First what takes no time: compiling may.
    let state = config.state_dir.as_deref().map(StateDir::open).transpose().map_err(Failure::usage)?;
    tracing::debug!("loading the modules");
    let loaded = tokio::select! {
        loaded = start::load(&config) => loaded?,
        // Compiling cannot be interrupted; nobody waits for it any more, and the process ends without it.
        Came { name, .. } = signals.next() => {
            tracing::info!("{name}: ending before the start");
            return Ok(exit::OK);
        }
    };
    let running = start::start(config, loaded, state, guests, printer).await?;
    let mut app = App {
        modules: running
            .modules
            .iter()
            .map(|module| ModuleState::new(module.has_callbacks(), module.has_run()))
            .collect(),
        link: running.mesh.as_ref().map(MeshHandle::link),
        nodes: running.hub.as_ref().map(|hub| hub.nodes()),
        running,
        connected: false,
        exit_after_run,
        runs: JoinSet::new(),
        signals,
        signalled: false,
    };
    let end = app.serve().await;
    match app.end(drain_timeout).await {
        Some(Came { name, exit_code }) => {
            tracing::warn!("{name} again: ending at once");
            Ok(exit_code)
        }
        None => end,
    }
}

struct App {
    running: Running,
    modules: Vec<ModuleState>,
    link: Option<watch::Receiver<LinkState>>,
    nodes: Option<watch::Receiver<usize>>,
    connected: bool,
    exit_after_run: bool,
    runs: JoinSet<(usize, RunOutcome)>,
    signals: Signals,
    /// Whether a signal is why it ends.
    signalled: bool,
}

impl App {
    /// Serves until there is a reason to end.
    async fn serve(&mut self) -> Result<u8, Failure> {
        loop {
            let event = self.next_event().await;
            if let Some(end) = self.handle(event).await {
                return end;
            }
        }
    }

    /// Cancel safe, as its parts are.
    async fn next_event(&mut self) -> Event {
        let connected = &mut self.connected;
        let (link, nodes) = (&mut self.link, &mut self.nodes);
        let mesh = self.running.mesh.as_ref();
        tokio::select! {
            // In this order: a guest that asks for the end and then returns has asked first.
            biased;
            code = stopped(mesh) => Event::Stopped(code),
            event = link_event(link, connected) => event,
            Some(Ok((module, outcome))) = self.runs.join_next() => Event::Ran(module, outcome),
            signal = self.signals.next() => Event::Signal(signal),
            () = nodes_changed(nodes) => Event::Nodes,
        }
    }

    /// Does what follows, and tells the end if this is it.
    async fn handle(&mut self, event: Event) -> Option<Result<u8, Failure>> {
        match event {
            Event::Connected => self.start_runs(),
            Event::Refused(message) => return Some(Err(Failure::new(exit::NO_CONTROLLER, message))),
            Event::Stopped(code) => return Some(Ok(code)),
            Event::Signal(Came { name, .. }) => {
                tracing::info!("{name}: finishing what is in flight; signal again to end at once");
                self.signalled = true;
                return Some(Ok(exit::OK));
            }
            Event::Ran(at, outcome) => self.ran(at, &outcome).await,
            Event::Nodes => {}
        }
        let others = self.nodes.as_ref().map(|nodes| *nodes.borrow());
        let verdict = verdict::decide(&self.modules, self.exit_after_run, others);
        end_of(self.running.mesh.as_ref(), verdict).map(Ok)
    }

    fn start_runs(&mut self) {
        for (at, module) in self.running.modules.iter().enumerate().filter(|(_, module)| module.has_run()) {
            let module = std::sync::Arc::clone(module);
            self.runs.spawn(async move { (at, module.run().await.unwrap_or(RunOutcome::Stopped)) });
        }
    }

    /// A module's `run` has ended: says so where it matters, and takes a module off that has nothing left to do.
    async fn ran(&mut self, at: usize, outcome: &RunOutcome) {
        let (Some(module), Some(state)) = (self.running.modules.get(at), self.modules.get_mut(at)) else { return };
        let name = &module.process().name;
        match outcome {
            RunOutcome::Trapped { message, trace } => {
                tracing::error!("{name}: its run trapped: {message}");
                if let Some(trace) = trace {
                    tracing::debug!("{name}: {trace}");
                }
            }
            RunOutcome::Err => tracing::error!("{name}: its run returned an error"),
            RunOutcome::Exited(code) if *code != 0 => tracing::error!("{name}: its run exited with code {code}"),
            RunOutcome::Ok | RunOutcome::Exited(_) | RunOutcome::Stopped => tracing::debug!("{name}: its run is over"),
        }
        state.ran(outcome.exit_code());
        if state.is_over() {
            within("a module", module.shutdown()).await;
        }
    }

    /// Ends everything in good order; or tells the signal that wants it at once: the second one.
    async fn end(self, drain_timeout: Duration) -> Option<Came> {
        let Self { running, runs, mut signals, signalled, .. } = self;
        let hurry = async {
            if !signalled {
                signals.next().await;
            }
            signals.next().await
        };
        tokio::select! {
            () = end(running, runs, drain_timeout) => None,
            came = hurry => Some(came),
        }
    }
}

/// Ends everything, in the order in which nobody is cut off who could still be served.
async fn end(running: Running, mut runs: JoinSet<(usize, RunOutcome)>, drain_timeout: Duration) {
    if tokio::time::timeout(drain_timeout, drained(&running)).await.is_err() {
        tracing::warn!("calls in flight did not finish within {drain_timeout:?}, and are given up");
    }
    for module in &running.modules {
        within("a module", module.shutdown()).await;
    }
    runs.shutdown().await;
    if let Some(mesh) = &running.mesh {
        within("the goodbye", mesh.leave()).await;
    }
    running.cancel.cancel();
    running.tasks.close();
    within("the network", running.tasks.wait()).await;
}

/// No call is in flight any more: of the own node, or through the controller.
async fn drained(running: &Running) {
    let node = async {
        if let Some(mesh) = &running.mesh {
            mesh.drain().await;
        }
    };
    let controller = async {
        if let Some(hub) = &running.hub {
            hub.drain().await;
        }
    };
    tokio::join!(node, controller);
}

/// The news of the link that matter here.
async fn link_event(link: &mut Option<watch::Receiver<LinkState>>, connected: &mut bool) -> Event {
    let Some(link) = link else { return future::pending().await };
    loop {
        match &*link.borrow_and_update() {
            LinkState::Up if !*connected => {
                *connected = true;
                return Event::Connected;
            }
            LinkState::Refused { message, .. } => return Event::Refused(message.clone()),
            LinkState::Up | LinkState::Down { .. } => {}
        }
        if link.changed().await.is_err() {
            return future::pending().await;
        }
    }
}

/// The code with which it ends, if it does: somebody may have asked for the end since the last look, in another thread, as a
/// guest whose `run` then ended by itself; who has asked is heard before what follows from that.
fn end_of(mesh: Option<&MeshHandle>, verdict: Verdict) -> Option<u8> {
    stopped(mesh).now_or_never().or(match verdict {
        Verdict::Serve => None,
        Verdict::End(code) => Some(code),
    })
}

async fn stopped(mesh: Option<&MeshHandle>) -> u8 {
    match mesh {
        Some(mesh) => mesh.stopped().await,
        None => future::pending().await,
    }
}

async fn nodes_changed(nodes: &mut Option<watch::Receiver<usize>>) {
    if let Some(nodes) = nodes
        && nodes.changed().await.is_ok()
    {
        return;
    }
    future::pending().await
}

/// Bounds a part of the end.
async fn within(what: &str, part: impl Future<Output = ()>) {
    if tokio::time::timeout(PART_TIMEOUT, part).await.is_err() {
        tracing::warn!("{what} took more than {PART_TIMEOUT:?} to end");
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn who_has_asked_for_the_end_is_heard_before_what_follows_from_a_run_that_has_ended() {
        let (_, link) = watch::channel(LinkState::Up);
        let (mesh, _) = MeshHandle::new(Instant::now(), link);
        for node in [None, Some(&mesh)] {
            assert_eq!((end_of(node, Verdict::Serve), end_of(node, Verdict::End(1))), (None, Some(1)));
        }
        mesh.stop(7);
        assert_eq!((end_of(Some(&mesh), Verdict::Serve), end_of(Some(&mesh), Verdict::End(1))), (Some(7), Some(7)));
    }
}
