//! Ids of tasks and runs, and tasks as lists show them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::plan::{Missed, Overlap, Plan};
use super::time::Utc;
use super::{ScheduleError, cut};
use crate::error::CallError;
use crate::id::{ProcessName, ProcessRef};
use crate::name::CallbackName;

/// Most bytes that are kept of the message of a task's last error.
pub const MAX_LAST_ERROR_BYTES: usize = 1024;

/// Most bytes that are shown of a task's arguments.
pub const MAX_SHOWN_ARGS_BYTES: usize = 128;

/// The digits of a task's number in its id.
const RADIX: u32 = 36;

/// A task of one process. Numbers begin at the milliseconds of UTC at which the process's table was made and rise, so
/// that an id from before a restart that lost the tasks does not name another task today.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TaskNumber(pub u64);

/// A run of one task: the first, the second …
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct RunNumber(pub u64);

/// A task of a tenant: `backup/mide74zf`. It outlives reconnects, and restarts where the table is kept.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct TaskId {
    /// The process that it runs at.
    pub process: ProcessName,
    /// Which of that process's tasks.
    pub number: TaskNumber,
}

impl TaskNumber {
    fn parse(text: &str) -> Option<Self> {
        // The library takes a sign, which no number has.
        let plain = text.bytes().all(|digit| digit.is_ascii_alphanumeric());
        u64::from_str_radix(text, RADIX).ok().filter(|_| plain).map(Self)
    }
}

/// A number on links, as in ids in files.
impl Serialize for TaskNumber {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() { serializer.collect_str(self) } else { serializer.serialize_u64(self.0) }
    }
}

impl<'de> Deserialize<'de> for TaskNumber {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if !deserializer.is_human_readable() {
            return u64::deserialize(deserializer).map(Self);
        }
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| D::Error::custom(format_args!("{:?} is no number of a task", cut(&text))))
    }
}

impl fmt::Display for TaskNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut digits = Vec::new();
        let mut rest = self.0;
        while rest > 0 || digits.is_empty() {
            let digit = u32::try_from(rest % u64::from(RADIX)).unwrap_or_default();
            digits.extend(char::from_digit(digit, RADIX));
            rest /= u64::from(RADIX);
        }
        digits.iter().rev().try_for_each(|digit| write!(f, "{digit}"))
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.process, self.number)
    }
}

impl FromStr for TaskId {
    type Err = ScheduleError;

    fn from_str(text: &str) -> Result<Self, ScheduleError> {
        let parse = || {
            let (process, number) = text.trim().rsplit_once('/')?;
            Some(Self { process: ProcessName::new(process).ok()?, number: TaskNumber::parse(number)? })
        };
        parse().ok_or_else(|| ScheduleError::BadId { text: cut(text) })
    }
}

/// What a task is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum TaskState {
    /// 0: it waits for its next tick.
    Waiting,
    /// 1: a run is in flight.
    Running,
    /// 2: its last run has ended and no tick is left.
    Finished,
}

/// What came of a task's ticks. A tick counts once: as a run, as skipped or as missed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Counts {
    /// Runs that began.
    pub runs: u64,
    /// Runs that ended with an error.
    pub failures: u64,
    /// Ticks that came while a run was in flight and were passed over.
    pub skipped: u64,
    /// Ticks that passed while nobody looked. Of a cron expression at most 100 are counted a pause.
    pub missed: u64,
}

/// The last error of a task's runs; a run that ends well leaves it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LastError {
    /// When that run ended.
    pub at: Utc,
    /// The kind, as in [`CallError::code`].
    pub code: String,
    /// For people; cut to [`MAX_LAST_ERROR_BYTES`].
    pub message: String,
}

impl LastError {
    pub(super) fn new(at: Utc, error: &CallError) -> Self {
        let message = error.message.get(..error.message.floor_char_boundary(MAX_LAST_ERROR_BYTES));
        Self { at, code: error.code.clone(), message: message.unwrap_or_default().to_owned() }
    }
}

/// A task, as lists show it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TaskInfo {
    /// Its id.
    pub id: TaskId,
    /// What it calls.
    pub callback: CallbackName,
    /// When.
    pub plan: Plan,
    /// The deadline of a run.
    pub timeout: Duration,
    /// What becomes of a tick while a run is in flight.
    pub overlap: Overlap,
    /// What becomes of a tick that passed.
    pub missed: Missed,
    /// Who made it, where that has a name.
    pub creator: Option<ProcessRef>,
    /// When it was made.
    pub made: Utc,
    /// What it is doing.
    pub state: TaskState,
    /// Its next tick, as far as the clock can tell now.
    pub next_run: Option<Utc>,
    /// When its last run began.
    pub last_run: Option<Utc>,
    /// Runs in flight.
    pub running: u32,
    /// What came of its ticks.
    pub counts: Counts,
    /// The last error of its runs.
    pub last_error: Option<LastError>,
    /// The arguments of its runs in WAVE, for people: [`MAX_SHOWN_ARGS_BYTES`] of them, and a `…` where that is not all. None
    /// where its process has the callback no more, or of another type.
    pub arguments: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_as_it_is_written() {
        for number in [0, 35, 36, 1_764_003_600_123, u64::MAX] {
            let id = TaskId { process: ProcessName::new("back.up-1").unwrap(), number: TaskNumber(number) };
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        assert_eq!(TaskNumber(1_764_003_600_123).to_string(), "mide74zf");
    }

    #[test]
    fn what_is_no_id_is_told_where_to_find_one() {
        for text in ["", "backup", "backup/", "/1", "backup/-1", "backup/+1", "backup/zzzzzzzzzzzzzz", "a b/1", "a/b/1"]
        {
            let error = text.parse::<TaskId>().unwrap_err().to_string();
            assert!(error.contains("schedule ls"), "{text}: {error}");
        }
    }
}
