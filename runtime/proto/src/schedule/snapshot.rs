//! The table as text for `--state-dir`, and back: JSON, so that an operator can read what his runtime will do.
//!
//! After a restart a task goes on as if it had only been paused: its id and counts are the same, `every` keeps its
//! phase in UTC (the monotonic clock began anew), what was to come meanwhile was missed. A run that was in flight is
//! counted as failed, since nobody knows how far it came. A tick that came after the last snapshot comes again.
//!
//! The format has a version; fields may be added to it, and a reader passes over those that it does not know.

use serde::{Deserialize, Serialize};

use super::info::{Counts, LastError, TaskNumber};
use super::plan::{Missed, TaskSpec};
use super::task::Task;
use super::tasks::{MAX_TASKS, Tasks};
use super::ticks::{SavedTicks, Ticks};
use super::time::{Clock, Utc};
use super::{KEPT_FINISHED_TASKS, ScheduleError};
use crate::error::{CallError, code};
use crate::id::ProcessName;

/// The version that is written, and the highest that is read.
const VERSION: u32 = 1;

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

#[derive(Serialize, Deserialize)]
struct Saved {
    version: u32,
    process: ProcessName,
    next_number: TaskNumber,
    tasks: Vec<SavedTask>,
}

#[derive(Serialize, Deserialize)]
struct SavedTask {
    number: TaskNumber,
    spec: TaskSpec,
    made: Utc,
    ticks: SavedTicks,
    running: usize,
    queued: Option<Utc>,
    counts: Counts,
    last_run: Option<Utc>,
    last_error: Option<LastError>,
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
            ticks: task.ticks.save(clock),
            running: task.running.len(),
            queued: task.queued,
            counts: task.counts,
            last_run: task.last_run,
            last_error: task.last_error.clone(),
        });
        let saved = Saved {
            version: VERSION,
            process: self.process.clone(),
            next_number: self.next_number,
            tasks: tasks.collect(),
        };
        serde_json::to_string_pretty(&saved).map_err(|error| SnapshotError::Unreadable(error.to_string()))
    }

    /// The table of a snapshot. A lower limit than it was saved with only refuses new tasks.
    ///
    /// # Errors
    /// Why it is not taken; nothing of it is then.
    pub fn restore(process: ProcessName, limit: usize, clock: Clock, text: &str) -> Result<Self, SnapshotError> {
        let saved = read(text)?;
        if saved.process != process {
            return Err(SnapshotError::OtherProcess { found: saved.process, wanted: process });
        }
        if saved.tasks.len() > MAX_TASKS + KEPT_FINISHED_TASKS {
            return Err(SnapshotError::TooManyTasks(saved.tasks.len()));
        }
        let mut tasks = Self::new(process, limit, clock);
        for saved in saved.tasks {
            tasks.insert(saved.open(clock)?);
        }
        let last = tasks.tasks.last_key_value().map_or(0, |(number, _)| number.0.saturating_add(1));
        tasks.next_number = TaskNumber(tasks.next_number.0.max(saved.next_number.0).max(last));
        Ok(tasks)
    }
}

fn read(text: &str) -> Result<Saved, SnapshotError> {
    if text.len() > MAX_SNAPSHOT_BYTES {
        return Err(SnapshotError::TooLong(text.len()));
    }
    let unreadable = |error: serde_json::Error| SnapshotError::Unreadable(error.to_string());
    let head: Head = serde_json::from_str(text).map_err(unreadable)?;
    if head.version > VERSION {
        return Err(SnapshotError::Newer(head.version));
    }
    serde_json::from_str(text).map_err(unreadable)
}

impl SavedTask {
    fn open(self, clock: Clock) -> Result<Task, SnapshotError> {
        let number = self.number;
        let spec = self.spec.bounded().map_err(|error| SnapshotError::BadTask { number, error })?;
        let ticks = Ticks::restore(&spec.plan, self.ticks, clock).ok_or(SnapshotError::OtherPlan(number))?;
        let mut task = Task::new(number, spec, clock);
        task.ticks = ticks;
        task.made = self.made;
        task.counts = self.counts;
        task.last_run = self.last_run;
        task.last_error = self.last_error;
        for _ in 0..self.running.min(super::MAX_PARALLEL_RUNS) {
            task.fail(&interrupted(), clock.utc);
        }
        match self.queued {
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
