//! What a module does beside its calls: it looks at the clock for those who wait, hears of the link, and tells its load and
//! what it has used.
//!
//! Invariants: both are told after each change, and not more often than each [`LOAD_INTERVAL`] and [`USAGE_EVERY`]; none of this runs
//! among the guests, which may hold all threads that they have for longer than anybody's deadline.

use std::sync::Arc;
use std::time::{Duration, Instant};

use daffi_proto::call::Load;
use daffi_proto::usage::USAGE_EVERY;
use tokio::sync::watch;
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;

use super::state::ModuleContext;
use crate::mesh::handle::LinkState;

/// How often the load is told at most.
const LOAD_INTERVAL: Duration = Duration::from_millis(100);

/// When it may be told again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reports {
    load: Instant,
    usage: Instant,
}

impl Reports {
    /// At once.
    pub fn at_once() -> Self {
        let now = Instant::now();
        Self { load: now, usage: now }
    }
}

/// What a module's housekeeper looks at, and hears of.
pub(super) struct House {
    context: Arc<ModuleContext>,
    shutdown: CancellationToken,
}

/// What the housekeeper is to do.
pub(super) enum Chore {
    /// Look at the clock, and tell the load where it is due.
    Look,
    /// The link is something else now.
    Link(LinkState),
    /// The module is shut down.
    Close,
}

impl House {
    pub fn new(context: Arc<ModuleContext>, shutdown: CancellationToken) -> Self {
        Self { context, shutdown }
    }

    /// Makes the housekeeper look at once: something is due earlier than it knows.
    pub fn ring(&self) {
        self.context.bell.ring();
    }

    /// The load is to be told.
    pub fn load_changed(&self) {
        self.context.bell.load_changed();
    }

    /// Waits for the next chore; `due` is when somebody's deadline passes.
    /// Cancel safe.
    pub async fn next_chore(
        &self,
        due: Option<Instant>,
        reports: &Reports,
        link: &mut watch::Receiver<LinkState>,
    ) -> Chore {
        let load = self.context.bell.has_load().then_some(reports.load);
        let usage = self.context.bell.has_usage().then_some(reports.usage);
        let alarm = async {
            match due.into_iter().chain(load).chain(usage).min() {
                Some(time) => sleep_until(time.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.shutdown.cancelled() => Chore::Close,
            Ok(()) = link.changed() => Chore::Link(link.borrow_and_update().clone()),
            () = self.context.bell.rung() => Chore::Look,
            () = alarm => Chore::Look,
        }
    }

    /// Tells what changed and may be told.
    pub fn report(&self, reports: &mut Reports, load: impl FnOnce() -> (usize, usize)) {
        let now = Instant::now();
        if now >= reports.load && self.context.bell.take_load() {
            reports.load = now + LOAD_INTERVAL;
            self.tell_load(load());
        }
        if now >= reports.usage && self.context.bell.take_usage() {
            reports.usage = now + USAGE_EVERY;
            let usage = Box::new(self.context.meter.usage());
            if !self.context.local().is_some_and(|process| self.context.mesh.usage(process, usage)) {
                self.context.bell.keep_usage();
            }
        }
    }

    fn tell_load(&self, (instances, in_flight): (usize, usize)) {
        let told = self.context.local().is_some_and(|process| {
            let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
            let load = Load {
                instances: count(instances),
                in_flight: count(in_flight),
                open_calls: count(self.context.outgoing.count()),
                open_streams: count(self.context.streams.count()),
                handles: count(self.context.handles.held()),
                ..Load::default()
            };
            self.context.mesh.load(process, load)
        });
        if !told {
            self.context.bell.keep_load();
        }
    }
}
