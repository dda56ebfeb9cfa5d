//! What the log says of how a node stands to its controller.
//!
//! Also what becomes of scheduled callbacks whose runs nobody waits for.
//!
//! Invariant: a change is said once, and what goes on and on once every [`REMIND_AFTER`]. All of it is said of a node;
//! of a client, which people do not think of as a part of the mesh, nothing above `debug`.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use daffi_proto::id::LocalId;
use daffi_proto::node::{NodeConfig, TaskTrouble};
use daffi_proto::schedule::TaskId;
use daffi_proto::session::Role;

use super::handle::LinkState;

/// How often it is mentioned that something still is as it was.
pub const REMIND_AFTER: Duration = Duration::from_secs(60);

/// Most failing tasks that are remembered; past it all are mentioned anew.
const MAX_FAILING: usize = 4096;

/// Most kinds of waiting that are remembered.
const MAX_WAITING: usize = 64;

/// When to mention what goes on and on.
#[derive(Clone, Default)]
pub struct Reminder {
    last: Option<Instant>,
}

impl Reminder {
    /// Whether it is time to mention it.
    pub fn is_due(&mut self, now: Instant) -> bool {
        let due = self.last.is_none_or(|last| now.duration_since(last) >= REMIND_AFTER);
        if due {
            self.last = Some(now);
        }
        due
    }
}

/// Says it.
pub(super) struct News {
    name: String,
    /// What it connects to.
    target: String,
    is_client: bool,
    /// Whether it was told to leave: the end of the link is no news then.
    leaving: bool,
    /// Processes whose names others held, since the node was connected last.
    held: HashMap<LocalId, Reminder>,
    /// Scheduled tasks whose runs have failed.
    failing: HashMap<TaskId, Reminder>,
    /// What processes wait for.
    waiting: HashMap<(LocalId, String), Reminder>,
}

impl News {
    /// News of this node, which connects to `target`.
    pub(super) fn new(config: &NodeConfig, target: String) -> Self {
        let (name, is_client) = (config.name.clone(), config.role == Role::Client);
        let (held, failing, waiting) = (HashMap::new(), HashMap::new(), HashMap::new());
        Self { name, target, is_client, leaving: false, held, failing, waiting }
    }

    /// It was told to leave.
    pub(super) fn leaving(&mut self) {
        self.leaving = true;
    }

    /// How it stands now.
    pub(super) fn link(&mut self, state: &LinkState) {
        let Self { name, target, .. } = self;
        match state {
            LinkState::Down { reason } if self.is_client || self.leaving => {
                tracing::debug!("lost the controller: {reason}")
            }
            LinkState::Up if self.is_client => tracing::debug!("connected to {target}"),
            LinkState::Down { reason } => {
                tracing::warn!("{name}: lost the controller at {target} ({reason}); trying to come back");
            }
            LinkState::Up => {
                tracing::info!("{name}: connected to {target}");
                self.held.clear();
            }
            // Whoever waits for the link says it.
            LinkState::Refused { message, .. } => tracing::debug!("{name}: refused: {message}"),
        }
    }

    /// Somebody else still has the name of one of its processes, and it keeps trying.
    pub(super) fn name_held(&mut self, process: LocalId, message: &str) {
        let due = self.is_reminder_due(process, Instant::now());
        let name = &self.name;
        if due {
            tracing::warn!("{name}: {message}; trying again until the name is free");
        } else {
            tracing::debug!("{name}: {message}; trying again");
        }
    }

    /// A call of one of its processes waits for what is not there.
    pub(super) fn waits(&mut self, process: LocalId, why: String) {
        let is_due = self.is_wait_due(process, &why, Instant::now());
        let name = &self.name;
        if is_due {
            tracing::info!("{name}: a call waits: {why}");
        } else {
            tracing::debug!("{name}: another call waits: {why}");
        }
    }

    fn is_wait_due(&mut self, process: LocalId, why: &str, now: Instant) -> bool {
        if self.waiting.len() >= MAX_WAITING {
            self.waiting.retain(|_, reminder| !reminder.clone().is_due(now));
        }
        // Where there are too many they are details.
        self.waiting.len() < MAX_WAITING && self.waiting.entry((process, why.to_owned())).or_default().is_due(now)
    }

    fn is_reminder_due(&mut self, process: LocalId, now: Instant) -> bool {
        self.held.entry(process).or_default().is_due(now)
    }

    /// A scheduled callback did not run, or failed.
    pub(super) fn task(&mut self, task: &TaskId, trouble: &TaskTrouble) {
        match trouble {
            TaskTrouble::Skipped(tick) => tracing::debug!("{task}: passed over at {tick}: a run is in flight"),
            TaskTrouble::Missed(tick) => tracing::info!("{task}: missed at {tick}"),
            TaskTrouble::Failed(error) if self.is_failure_due(task, Instant::now()) => {
                tracing::warn!("{task}: {error} ({})", error.code);
            }
            TaskTrouble::Failed(error) => tracing::debug!("{task}: {error} ({}); again", error.code),
        }
    }

    /// A task that fails each 10 ms is mentioned no more often than one that fails once a minute.
    fn is_failure_due(&mut self, task: &TaskId, now: Instant) -> bool {
        if self.failing.len() >= MAX_FAILING && !self.failing.contains_key(task) {
            self.failing.clear();
        }
        self.failing.entry(task.clone()).or_default().is_due(now)
    }

    /// Something of less interest.
    pub(super) fn detail(&self, text: &str) {
        tracing::debug!("{}: {text}", self.name);
    }
}

#[cfg(test)]
mod tests {
    use daffi_proto::id::NodeKey;

    use super::*;

    fn news() -> News {
        let config = NodeConfig::new(NodeKey([0; 16]), "n", Role::Node);
        News::new(&config, "the test".to_owned())
    }

    #[test]
    fn a_held_name_is_mentioned_once_until_the_node_is_connected_again() {
        let mut news = news();
        let now = Instant::now();
        let due = |news: &mut News| [1, 2, 1].map(|process| news.is_reminder_due(LocalId(process), now));
        assert_eq!(due(&mut news), [true, true, false]);
        assert_eq!(due(&mut news), [false; 3]);
        news.link(&LinkState::Up);
        assert_eq!(due(&mut news), [true, true, false]);
    }

    #[test]
    fn a_task_that_fails_over_and_over_is_mentioned_once_a_minute() {
        let mut news = news();
        let now = Instant::now();
        let task = |text: &str| text.parse::<TaskId>().unwrap();
        assert!(news.is_failure_due(&task("worker/1"), now) && news.is_failure_due(&task("worker/2"), now));
        assert!(!news.is_failure_due(&task("worker/1"), now));
        assert!(news.is_failure_due(&task("worker/1"), now + REMIND_AFTER));
    }

    #[test]
    fn what_is_waited_for_is_mentioned_once_a_minute_for_each_process() {
        let mut news = news();
        let now = Instant::now();
        let due =
            |news: &mut News, now| [(1, "f"), (2, "f"), (1, "g")].map(|(at, f)| news.is_wait_due(LocalId(at), f, now));
        assert_eq!(due(&mut news, now), [true; 3]);
        assert_eq!(due(&mut news, now), [false; 3]);
        assert_eq!(due(&mut news, now + REMIND_AFTER), [true; 3]);
        let mut of_many = |now| (0..200).filter(|at| news.is_wait_due(LocalId(*at), "h", now)).count();
        assert!(of_many(now + REMIND_AFTER) < MAX_WAITING);
        assert_eq!(of_many(now + 3 * REMIND_AFTER), MAX_WAITING);
    }

    #[test]
    fn what_goes_on_is_mentioned_once_a_minute() {
        let start = Instant::now();
        let mut reminder = Reminder::default();
        assert!(reminder.is_due(start));
        assert!(!reminder.is_due(start + REMIND_AFTER / 2));
        assert!(reminder.is_due(start + REMIND_AFTER));
    }
}
