//! The table as text for `--state-dir`, and back: JSON, so that an operator can read what his runtime will do. What has
//! come since is told by a [journal](super::journal), where there is one.
//!
//! After a restart a task goes on as if it had only been paused: its id and counts are the same, `every` keeps its
//! phase in UTC (the monotonic clock began anew), what was to come meanwhile was missed. A run that was in flight is
//! counted as failed, since nobody knows how far it came. A tick that came after what was written down last comes again.
//!
//! The format has a version; fields may be added to it, and a reader passes over those that it does not know.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::info::{Counts, LastError, TaskNumber};
use super::journal::{self, Entry, JournalError};
use super::plan::{Missed, TaskSpec};
use super::task::Task;
use super::tasks::{MAX_TASKS, Tasks};
use super::ticks::{SavedTicks, Ticks};
use super::time::{Clock, Utc};
use super::unwritten::Marks;
use super::{KEPT_FINISHED_TASKS, ScheduleError};
use crate::error::{CallError, code};
use crate::id::ProcessName;

/// The version that is written, and the highest that is read. The first was one without journals; who knows only that
/// would have times come again.
const VERSION: u32 = 2;

/// Longest snapshot that is read: as many tasks as there can be, with arguments as large as there can be, fit well.
pub const MAX_SNAPSHOT_BYTES: usize = 256 * 1024 * 1024;

/// A snapshot cannot be written or read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// It is too long.
    #[error("schedules of {0} bytes: {MAX_SNAPSHOT_BYTES} are read at most; is this the right file?")]
    TooLong(usize),
    /// It is no snapshot.
    #[error("schedules that cannot be read: {0}")]
    Unreadable(String),
    /// It was written by a later version.
    #[error("schedules in the format {0}, this runtime knows {VERSION}: start the newer runtime that wrote them")]
    Newer(u32),
    /// It is another process's.
    #[error("schedules of the process {found:?}, not of {wanted:?}: was the file renamed?")]
    OtherProcess {
        /// Whose they are.
        found: ProcessName,
        /// Whose they should be.
        wanted: ProcessName,
    },
    /// More tasks than there can be.
    #[error("{0} schedules of one process, {MAX_TASKS} are allowed")]
    TooManyTasks(usize),
    /// A task that could not have been made.
    #[error("the schedule {number} cannot be: {error}")]
    BadTask {
        /// Which.
        number: TaskNumber,
        /// What is wrong with it.
        error: ScheduleError,
    },
    /// A task whose state belongs to another kind of plan.
    #[error("the schedule {0} is at a place that its plan does not have")]
    OtherPlan(TaskNumber),
}

#[derive(Deserialize)]
struct Head {
    version: u32,
}

/// A table that was written down, with what its journal tells.
#[derive(Debug, Serialize, Deserialize)]
pub struct Snapshot {
    version: u32,
    process: ProcessName,
    /// Which journal goes with it. Version 1 had none.
    #[serde(default)]
    generation: u64,
    next_number: TaskNumber,
    tasks: Vec<SavedTask>,
}

#[derive(Debug, Serialize, Deserialize)]
struct SavedTask {
    number: TaskNumber,
    spec: TaskSpec,
    made: Utc,
    #[serde(flatten)]
    progress: Progress,
}

/// Where a task is, and what came of its runs: what a journal tells anew.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Progress {
    ticks: SavedTicks,
    pub(super) running: usize,
    queued: Option<Utc>,
    counts: Counts,
    last_run: Option<Utc>,
    pub(super) last_error: Option<LastError>,
}

impl Tasks {
    /// The table as text. What a later run of the node makes of it with [`Tasks::restore`] goes on where this one was.
    ///
    /// # Errors
    /// [`SnapshotError::Unreadable`], which would be a defect.
    pub fn snapshot(&self, clock: Clock) -> Result<String, SnapshotError> {
        let tasks = self.tasks.values().map(|task| SavedTask {
            number: task.number,
            spec: task.spec.clone(),
            made: task.made,
            progress: Progress::of(task, clock),
        });
        let saved = Snapshot {
            version: VERSION,
            process: self.process.clone(),
            generation: self.generation,
            next_number: self.next_number,
            tasks: tasks.collect(),
        };
        serde_json::to_string_pretty(&saved).map_err(|error| SnapshotError::Unreadable(error.to_string()))
    }

    /// The table of a snapshot without a journal. A lower limit than it was saved with only refuses new tasks.
    ///
    /// # Errors
    /// Why it is not taken; nothing of it is then.
    pub fn restore(process: ProcessName, limit: usize, clock: Clock, text: &str) -> Result<Self, SnapshotError> {
        Snapshot::read(process, text)?.open(limit, clock)
    }
}

impl Snapshot {
    /// The snapshot of this process's table.
    ///
    /// # Errors
    /// Why it is not taken.
    pub fn read(process: ProcessName, text: &str) -> Result<Self, SnapshotError> {
        if text.len() > MAX_SNAPSHOT_BYTES {
            return Err(SnapshotError::TooLong(text.len()));
        }
        let unreadable = |error: serde_json::Error| SnapshotError::Unreadable(error.to_string());
        let head: Head = serde_json::from_str(text).map_err(unreadable)?;
        if head.version > VERSION {
            return Err(SnapshotError::Newer(head.version));
        }
        let saved: Self = serde_json::from_str(text).map_err(unreadable)?;
        if saved.process != process {
            return Err(SnapshotError::OtherProcess { found: saved.process, wanted: process });
        }
        if saved.tasks.len() > MAX_TASKS + KEPT_FINISHED_TASKS {
            return Err(SnapshotError::TooManyTasks(saved.tasks.len()));
        }
        Ok(saved)
    }

    /// Takes in what the journal beside it tells, if that goes with it.
    ///
    /// # Errors
    /// Why it is not taken.
    pub fn replay(&mut self, journal: &[u8]) -> Result<(), JournalError> {
        let entries = journal::read(journal, self.generation)?;
        let mut tasks: BTreeMap<TaskNumber, &mut SavedTask> =
            self.tasks.iter_mut().map(|task| (task.number, task)).collect();
        for Entry { number, progress } in entries {
            let task = tasks.get_mut(&number).ok_or(JournalError::NoSuchTask(number))?;
            if !progress.ticks.fits(&task.spec.plan) {
                return Err(JournalError::OtherPlan(number));
            }
            let before = std::mem::replace(&mut task.progress, progress);
            task.progress.last_error = task.progress.last_error.take().or(before.last_error);
        }
        Ok(())
    }

    /// The table. A lower limit than it was saved with only refuses new tasks.
    ///
    /// # Errors
    /// A task that cannot be.
    pub fn open(self, limit: usize, clock: Clock) -> Result<Tasks, SnapshotError> {
        let mut tasks = Tasks::new(self.process, limit, clock);
        for saved in self.tasks {
            tasks.insert(saved.open(clock)?);
        }
        let last = tasks.tasks.last_key_value().map_or(0, |(number, _)| number.0.saturating_add(1));
        tasks.next_number = TaskNumber(tasks.next_number.0.max(self.next_number.0).max(last));
        tasks.generation = self.generation;
        // It is as it was written down, but for what a restart makes of it, which the next one would make of it too.
        tasks.marks = Marks::default();
        Ok(tasks)
    }
}

impl Progress {
    pub(super) fn of(task: &Task, clock: Clock) -> Self {
        Self {
            ticks: task.ticks.save(clock),
            running: task.running.len(),
            queued: task.queued,
            counts: task.counts,
            last_run: task.last_run,
            last_error: task.last_error.clone(),
        }
    }
}

impl SavedTask {
    fn open(self, clock: Clock) -> Result<Task, SnapshotError> {
        let (number, progress) = (self.number, self.progress);
        let spec = self.spec.bounded().map_err(|error| SnapshotError::BadTask { number, error })?;
        let ticks = Ticks::restore(&spec.plan, progress.ticks, clock).ok_or(SnapshotError::OtherPlan(number))?;
        let mut task = Task::new(number, spec, clock);
        task.ticks = ticks;
        task.made = self.made;
        task.counts = progress.counts;
        task.last_run = progress.last_run;
        task.last_error = progress.last_error;
        for _ in 0..progress.running.min(super::MAX_PARALLEL_RUNS) {
            task.fail(&interrupted(), clock.utc);
        }
        match progress.queued {
            // A tick that has come by now runs for this one too.
            Some(tick) if task.spec.missed == Missed::RunOnce && !task.is_due(clock) => task.queued = Some(tick),
            Some(_) => task.counts.missed = task.counts.missed.saturating_add(1),
            None => {}
        }
        Ok(task)
    }
}

fn interrupted() -> CallError {
    let message = "the runtime ended while it ran; it may or may not have finished";
    CallError::unknown(code::CANCELLED, message, "")
}
