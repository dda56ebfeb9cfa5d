//! PERIOD: when a scheduled callback runs, and what is known of its runs.
//!
//! A task belongs to the process that serves it (its receiver) and lives there: it outlives the caller, a reconnect
//! and, by its snapshot, a restart. This part has no I/O and no clock; whoever owns a [`Tasks`] feeds it the time and
//! carries out the [`Step`]s.
//!
//! | part | holds |
//! |---|---|
//! | `time` | [`Utc`] and [`Clock`]: the two times that come in |
//! | `text` | durations as people write them |
//! | `cron` | cron expressions: a checked text, a bounded search |
//! | `plan` | [`Plan`]: `every`, `at` or `cron`, within bounds; the two policies |
//! | `ticks` | where a task is in its plan |
//! | `task` | one task: what a tick comes to, counts |
//! | `tasks` | [`Tasks`], the bounded table of a process's tasks |
//! | `human` | how durations and bytes are written in files |
//! | `unwritten` | what of a table is to be written down, and how much that hurries |
//! | `snapshot` | the table as text for `--state-dir`, and back |
//! | `journal` | what has come since the snapshot, in small entries |
//! | `info` | ids, and tasks as lists show them |
//! | `ask` | what is asked of a table from afar |
//!
//! ```text
//!                     ┌────────────── next tick ◀─────────────┐
//!  add ─▶ waiting ─▶ due ─┬─▶ run ─▶ running ─▶ ended ok ─────┤
//!                         │                  └▶ ended failed ─┤
//!                         ├─▶ skipped  (a run is in flight) ──┤
//!                         └─▶ missed   (too late)  ───────────┘
//!  cancel ─▶ gone      no tick is left, no run in flight ─▶ finished: listed for a while
//! ```
//!
//! **Which clock.** `every` counts on the monotonic clock: its ticks are at `start + k × every` exactly, `k` from 1,
//! whatever UTC does. That clock may stand still while a machine sleeps; so does the task then. `at` and `cron` are
//! times of UTC, looked at anew at least every [`UTC_CHECK_EVERY`], so that a clock that was set is seen within that.
//!
//! **UTC jumps forwards** (it was set, or the machine slept): the ticks that were jumped over were missed, see below.
//! **UTC jumps backwards**: no time of `at` comes twice. No tick of `cron` does either if the jump is at most
//! [`MAX_BACK_JUMP`]: the task waits until the clock is where it was. After a longer jump the old time is taken for an
//! error, and the expression counts from the new one.
//!
//! **Late and missed.** Ticks that passed without anybody looking (the process was stopped, the runtime was down) are
//! never made up one by one. All but the latest are counted as missed; [`Missed`] says what becomes of the latest.
//!
//! **Overlap.** What becomes of a tick while a run of the same task is in flight is said by [`Overlap`].
//!
//! Invariants: a tick comes to exactly one of run, skipped and missed; a task has at most [`MAX_PARALLEL_RUNS`] runs in
//! flight, and one waiting; the work for one step is bounded however long the pause and whatever the expression.

mod ask;
mod cron;
mod human;
mod info;
mod journal;
mod plan;
mod snapshot;
mod task;
mod tasks;
mod text;
mod ticks;
mod time;
mod unwritten;

use std::time::Duration;

pub use ask::{MAX_PAGE_BYTES, Show, TaskOp, TaskPage, Terms};
pub use cron::{Cron, MAX_CRON_BYTES};
pub use info::{
    Counts, LastError, MAX_LAST_ERROR_BYTES, MAX_SHOWN_ARGS_BYTES, RunNumber, TaskId, TaskInfo, TaskNumber, TaskState,
};
pub(crate) use journal::most_bytes;
pub use journal::{Entry, Journal, JournalError, MAX_JOURNAL_BYTES};
pub use plan::{
    MAX_AT_TIMES, MAX_EVERY, MAX_TASK_ARGS_BYTES, MIN_EVERY, Missed, Overlap, PAST_TOLERANCE, Plan, TaskSpec,
};
pub use snapshot::{MAX_SNAPSHOT_BYTES, Snapshot, SnapshotError};
pub use tasks::{DEFAULT_MAX_TASKS, KEPT_FINISHED_TASKS, MAX_TASKS, Run, Step, Tasks};
pub use text::{MAX_DURATION_BYTES, parse_duration};
pub use time::{Clock, Utc};
pub use unwritten::{Save, Unwritten};

use crate::error::{CallError, code};
use crate::id::{ProcessName, TenantName};

/// After how long at most a task that is planned in UTC looks at the clock again.
pub const UTC_CHECK_EVERY: Duration = Duration::from_secs(10);

/// The longest backward jump of UTC that a cron expression waits out, as cron(8) does.
pub const MAX_BACK_JUMP: Duration = Duration::from_secs(3 * 60 * 60);

/// How late a tick may be and still be on time for [`Missed::Skip`]. More than a busy runtime needs.
pub const LATE_GRACE: Duration = Duration::from_secs(1);

/// Most runs of one task in flight at once, for [`Overlap::Parallel`].
pub const MAX_PARALLEL_RUNS: usize = 16;

/// A schedule was refused, or a task was not found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// Neither `every` nor `at` nor `cron`.
    #[error("a schedule without a time: give one of `every`, `at` and `cron`")]
    NoPlan,
    /// `at` with no time at all.
    #[error("`at` without a time: give 1 to {MAX_AT_TIMES}")]
    NoTimes,
    /// More than one of them.
    #[error("a schedule with {0}: give one of `every`, `at` and `cron`")]
    SeveralPlans(&'static str),
    /// A text that is no duration.
    #[error("{text:?} is no duration: write a number with ms, s, m, h or days, such as 500ms, 1m24s or `1.2 minutes`")]
    BadDuration {
        /// What was written, cut.
        text: String,
    },
    /// `every` is too short.
    #[error("every {0:?} is too often: a schedule runs every {MIN_EVERY:?} at most")]
    TooOften(Duration),
    /// `every` is too long.
    #[error("every {0:?} is too seldom: `every` is 366 days at most, longer ones take `at` or `cron`")]
    TooSeldom(Duration),
    /// A text that is no time.
    #[error("{text:?} is no time: {why}; write RFC 3339, such as 2026-05-04T12:30:00Z")]
    BadTime {
        /// What was written, cut.
        text: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Too many times.
    #[error("`at` with {0} times: {MAX_AT_TIMES} are allowed; a cron expression may say the same")]
    TooManyTimes(usize),
    /// A time that is over.
    #[error("{time} is in the past: it is {now} at the receiver")]
    Past {
        /// The time.
        time: Utc,
        /// The receiver's clock.
        now: Utc,
    },
    /// No cron expression.
    #[error(
        "the cron expression {text:?}: {why}; write `minute hour day month weekday`, with seconds before them or not, such as `30 4 * * MON-FRI`"
    )]
    BadCron {
        /// What was written, cut.
        text: String,
        /// What is wrong with it.
        why: String,
    },
    /// A cron expression that no day fits.
    #[error("the cron expression `{0}` never comes: no such day exists")]
    NeverComes(Cron),
    /// A deadline that no run can keep, or none at all.
    #[error("a deadline of {0:?} for a run: 1 ms to 7 days are allowed")]
    BadTimeout(Duration),
    /// Arguments that are too large to keep.
    #[error("arguments of {0} bytes: a schedule keeps {MAX_TASK_ARGS_BYTES} at most")]
    ArgumentsTooLarge(usize),
    /// The table is full.
    #[error("the process {:?} has {limit} schedules, its limit: cancel one or raise `max-schedules`", process.as_str())]
    TooManyTasks {
        /// The receiver.
        process: ProcessName,
        /// Its limit.
        limit: usize,
    },
    /// The receiver's tenant has as many as it may.
    #[error(
        "tenant {tenant} may have {limit} schedules in that runtime, its max-schedules, and has them: cancel one or raise it"
    )]
    TenantIsFull {
        /// The receiver's.
        tenant: TenantName,
        /// Its limit, for all its processes there.
        limit: usize,
    },
    /// A text that is no task's id.
    #[error("{text:?} is no id of a scheduled task: it is what `schedule ls` shows, such as `backup/mide74zf`")]
    BadId {
        /// What was written, cut.
        text: String,
    },
    /// No such task.
    #[error("no scheduled task {0}: it was cancelled, has finished, or was lost with its runtime")]
    NoSuchTask(TaskId),
}

impl ScheduleError {
    /// The kind, one of [`code`]'s.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooManyTasks { .. } | Self::TenantIsFull { .. } => code::OVERLOADED,
            Self::ArgumentsTooLarge(_) => code::PAYLOAD_TOO_LARGE,
            Self::NoSuchTask(_) => code::NO_SUCH_TASK,
            _ => code::BAD_ARGUMENTS,
        }
    }

    /// The error as guests see it: nothing has run.
    pub fn into_call_error(self, callback: &str) -> CallError {
        CallError::not_run(self.code(), self.to_string(), callback)
    }
}

/// A hostile text, fit for an error message.
fn cut(text: &str) -> String {
    const MOST_BYTES: usize = 80;
    text.get(..text.floor_char_boundary(MOST_BYTES)).unwrap_or_default().to_owned()
}
