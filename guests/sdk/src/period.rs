//! PERIOD: callbacks that their own processes call, over and over or later.

use std::fmt;
use std::ops::Deref;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::CallError;
use crate::bindings::daffi::runtime::call as host;
use crate::mesh::milliseconds;

pub use host::{Missed, Overlap, TaskError, TaskState};

/// What is known of a [`Task`]: its fields. Times are milliseconds since 1970, as [`time`] reads them.
pub type TaskInfo = host::Task;

/// Over and over: `call & Every::time(Duration::from_secs(5))`, `call & Every::text("1m24s")`.
///
/// ```no_run
/// # use daffi::{Every, fetchers};
/// # fetchers! { fn backup(folder: &str) = "backup"; }
/// let task = (backup("home") & Every::text("1h").receiver("backup-1"))?;
/// println!("{} runs next at {:?}", task.id, task.next_run.map(daffi::time));
/// task.cancel()?;
/// # Ok::<(), daffi::CallError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Every;

impl Every {
    /// The first time when this much has passed: 10 ms to 366 days; a part of a millisecond counts as a whole one.
    pub fn time(time: Duration) -> Period {
        Period::new(host::Plan::Every(milliseconds(time)))
    }

    /// The same as people write it: `5s`, `1m24s`, `1.2 minutes`.
    pub fn text(time: impl Into<String>) -> Period {
        Period::new(host::Plan::EveryText(time.into()))
    }
}

/// Once at some times: `call & At::time(SystemTime::now() + Duration::from_secs(60))`.
#[derive(Clone, Copy, Debug)]
pub struct At;

impl At {
    /// At this time.
    pub fn time(time: SystemTime) -> Period {
        Self::times([time])
    }

    /// At each of these: 1 to 1,024.
    pub fn times(times: impl IntoIterator<Item = SystemTime>) -> Period {
        Period::new(host::Plan::At(times.into_iter().map(unix_milliseconds).collect()))
    }

    /// At each of these as people write them, in RFC 3339: `2026-05-04T12:30:00Z`.
    pub fn text<T: Into<String>>(times: impl IntoIterator<Item = T>) -> Period {
        Period::new(host::Plan::AtText(times.into_iter().map(Into::into).collect()))
    }
}

/// Whenever a cron expression says so, in UTC: `call & Cron::text("30 4 * * MON-FRI")`.
#[derive(Clone, Copy, Debug)]
pub struct Cron;

impl Cron {
    /// `minute hour day month weekday`, with seconds before them where there are six.
    pub fn text(expression: impl Into<String>) -> Period {
        Period::new(host::Plan::Cron(expression.into()))
    }
}

/// PERIOD with its options, made by [`Every`], [`At`] and [`Cron`].
#[derive(Clone, Debug)]
#[must_use = "a modifier does nothing until it is applied to a call: `call & modifier`"]
pub struct Period {
    pub(crate) plan: host::Plan,
    pub(crate) options: host::ScheduleOptions,
}

impl Period {
    fn new(plan: host::Plan) -> Self {
        let options = host::ScheduleOptions {
            timeout: None,
            receiver: None,
            wait_ready: false,
            within: None,
            overlap: None,
            missed: None,
        };
        Self { plan, options }
    }

    /// Each run takes so long at most, 1 ms to 7 days; 30 seconds unless it is said.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.options.timeout = Some(milliseconds(timeout));
        self
    }

    /// The process of this name keeps the task and runs it; it may be this one.
    pub fn receiver(mut self, process: impl Into<String>) -> Self {
        self.options.receiver = Some(process.into());
        self
    }

    /// Where the callback or the receiver is not there yet, wait for it. Otherwise that fails at once.
    pub fn wait_ready(mut self) -> Self {
        self.options.wait_ready = true;
        self
    }

    /// It takes so long at most until the task is made, 1 ms to 7 days; 30 seconds unless it is said.
    pub fn within(mut self, timeout: Duration) -> Self {
        self.options.within = Some(milliseconds(timeout));
        self
    }

    /// What becomes of a tick while a run is in flight.
    pub fn overlap(mut self, overlap: Overlap) -> Self {
        self.options.overlap = Some(overlap);
        self
    }

    /// What becomes of the latest of the ticks that passed while the receiver's runtime was down.
    pub fn missed(mut self, missed: Missed) -> Self {
        self.options.missed = Some(missed);
        self
    }
}

/// `waiting`, `running` or `finished`.
impl fmt::Display for TaskState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Finished => "finished",
        })
    }
}

/// A scheduled callback: what was known of it when this was asked for, and what can be done with it. Dropping it changes
/// nothing: the task lives at its receiver.
#[derive(Clone, PartialEq)]
pub struct Task(TaskInfo);

impl Task {
    pub(crate) fn new(info: TaskInfo) -> Self {
        Self(info)
    }

    /// The task of this id as it is now.
    pub fn of(id: &str) -> Result<Self, CallError> {
        host::scheduled_task(id).map(Self)
    }

    /// The same task as it is now.
    pub fn now(&self) -> Result<Self, CallError> {
        Self::of(&self.id)
    }

    /// Cancels it, and gives it as it last was: no run begins any more, one in flight goes on.
    pub fn cancel(&self) -> Result<Self, CallError> {
        host::cancel_task(&self.id).map(Self)
    }
}

impl Deref for Task {
    type Target = TaskInfo;

    fn deref(&self) -> &TaskInfo {
        &self.0
    }
}

impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// All scheduled tasks of the tenant, whoever made them.
///
/// ```no_run
/// for task in daffi::tasks()? {
///     println!("{}: {}, {} runs", task.id, task.plan, task.runs);
///     if let Some(error) = &task.last_error {
///         println!("    {}", error.message);
///     }
/// }
/// # Ok::<(), daffi::CallError>(())
/// ```
pub fn tasks() -> Result<Vec<Task>, CallError> {
    Ok(host::scheduled_tasks(None)?.into_iter().map(Task).collect())
}

/// Those of one process.
pub fn tasks_of(receiver: &str) -> Result<Vec<Task>, CallError> {
    Ok(host::scheduled_tasks(Some(receiver))?.into_iter().map(Task).collect())
}

/// A time of a task.
pub fn time(unix_milliseconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(unix_milliseconds)
}

/// A time before 1970 is 1970: the receiver refuses it as it does any other that is over.
fn unix_milliseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_a_schedule_add_up() {
        let how = Every::time(Duration::from_secs(5)).receiver("worker").overlap(Overlap::Parallel).wait_ready();
        assert_eq!(how.plan, host::Plan::Every(5000));
        // Nothing stays nothing: the host says what is wrong with it.
        assert_eq!(Every::time(Duration::ZERO).plan, host::Plan::Every(0));
        assert_eq!((how.options.receiver.as_deref(), how.options.wait_ready), (Some("worker"), true));
        assert_eq!((how.options.overlap, how.options.missed), (Some(Overlap::Parallel), None));
    }

    #[test]
    fn a_state_reads_as_the_command_line_writes_it() {
        let all = [TaskState::Waiting, TaskState::Running, TaskState::Finished].map(|state| state.to_string());
        assert_eq!(all, ["waiting", "running", "finished"]);
    }

    #[test]
    fn times_are_told_in_milliseconds() {
        let at = UNIX_EPOCH + Duration::from_millis(1500);
        assert_eq!(At::times([at, UNIX_EPOCH - Duration::from_secs(1)]).plan, host::Plan::At(vec![1500, 0]));
        assert_eq!(time(1500), at);
    }
}
