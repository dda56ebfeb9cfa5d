//! When a task is to run, and what it is made with.
//!
//! A [`Plan`] may come from another machine: it is what somebody wrote until [`TaskSpec::checked`] has let it pass.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::cron::Cron;
use super::time::Utc;
use super::{ScheduleError, human};
use crate::call::{DEFAULT_TIMEOUT, MAX_TIMEOUT, MIN_TIMEOUT};
use crate::id::ProcessRef;
use crate::name::CallbackName;
use crate::signature::Fingerprint;

/// The shortest `every`: two ticks of the clock by which guests are stopped. What must come more often is a stream.
pub const MIN_EVERY: Duration = Duration::from_millis(10);

/// The longest `every`: a leap year.
pub const MAX_EVERY: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// Most times of `at`: about 9 KiB on a link.
pub const MAX_AT_TIMES: usize = 1024;

/// How far in the past a time may be and still be taken, to run at once: it was to come when the caller wrote it, or
/// his clock is a little behind.
pub const PAST_TOLERANCE: Duration = Duration::from_secs(1);

/// Most bytes of a task's arguments: they are kept for as long as it lives, in memory and in the state directory.
pub const MAX_TASK_ARGS_BYTES: usize = 64 * 1024;

/// When a task runs. Append-only: a variant's place is its number on links.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Plan {
    /// 0: over and over, the first time when this much has passed.
    Every(#[serde(with = "human::duration")] Duration),
    /// 1: once at each of these times.
    At(Arc<[Utc]>),
    /// 2: at the times that the expression names.
    Cron(Cron),
}

/// What becomes of a tick while a run of the same task is in flight. Append-only.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum Overlap {
    /// 0: nothing; it is counted as skipped (Kubernetes: `Forbid`).
    #[default]
    Skip,
    /// 1: one waits, and runs when the run in flight ends; further ones are skipped.
    QueueOne,
    /// 2: it runs beside the others (Kubernetes: `Allow`), up to [`super::MAX_PARALLEL_RUNS`]; beyond, it is skipped.
    Parallel,
}

/// What becomes of the latest of the ticks that passed while nobody looked. Append-only.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum Missed {
    /// 0: it runs, once for all of them, however late.
    #[default]
    RunOnce,
    /// 1: it runs if it is at most [`super::LATE_GRACE`] late; else it is missed too.
    Skip,
}

/// What a task is made with; the payload of the frame that asks for it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TaskSpec {
    /// The callback's full name, at the process that the task is made at.
    pub callback: CallbackName,
    /// The signature that the arguments were made for.
    #[serde(with = "human::fingerprint")]
    pub fingerprint: Fingerprint,
    /// The arguments of every run, in postcard; not checked yet.
    #[serde(with = "human::bytes")]
    pub args: Bytes,
    /// When.
    pub plan: Plan,
    /// The deadline of a run, from its beginning: the queue of the module included.
    #[serde(with = "human::duration")]
    pub timeout: Duration,
    /// What becomes of a tick while a run is in flight.
    pub overlap: Overlap,
    /// What becomes of a tick that passed.
    pub missed: Missed,
    /// Who makes it, where that has a name.
    pub creator: Option<ProcessRef>,
}

impl Plan {
    /// The plan of one who may have given any of them.
    ///
    /// # Errors
    /// [`ScheduleError::NoPlan`], [`ScheduleError::SeveralPlans`], and what is wrong with a cron expression. Times and
    /// intervals are checked when the task is made.
    pub fn from_parts(every: Option<Duration>, at: Vec<Utc>, cron: Option<&str>) -> Result<Self, ScheduleError> {
        match (every, at.is_empty(), cron) {
            (Some(every), true, None) => Ok(Self::Every(every)),
            (None, false, None) => Ok(Self::At(at.into())),
            (None, true, Some(cron)) => cron.parse().map(Self::Cron),
            (None, true, None) => Err(ScheduleError::NoPlan),
            (Some(_), false, None) => Err(ScheduleError::SeveralPlans("both `every` and `at`")),
            (Some(_), true, Some(_)) => Err(ScheduleError::SeveralPlans("both `every` and `cron`")),
            (None, false, Some(_)) => Err(ScheduleError::SeveralPlans("both `at` and `cron`")),
            (Some(_), false, Some(_)) => Err(ScheduleError::SeveralPlans("`every`, `at` and `cron`")),
        }
    }

    /// The plan within its bounds; its times sorted, each once.
    ///
    /// # Errors
    /// Which bound it breaks.
    pub fn checked(self, now: Utc) -> Result<Self, ScheduleError> {
        let plan = self.bounded()?;
        match &plan {
            Self::At(times) => match times.first() {
                Some(time) if now.since(*time) > PAST_TOLERANCE => Err(ScheduleError::Past { time: *time, now }),
                _ => Ok(plan),
            },
            Self::Cron(cron) if cron.after(now).is_none() => Err(ScheduleError::NeverComes(cron.clone())),
            Self::Every(_) | Self::Cron(_) => Ok(plan),
        }
    }

    /// As [`Plan::checked`], but for what depends on the time: what it was made with once.
    pub(super) fn bounded(self) -> Result<Self, ScheduleError> {
        match self {
            Self::Every(every) if every < MIN_EVERY => Err(ScheduleError::TooOften(every)),
            Self::Every(every) if every > MAX_EVERY => Err(ScheduleError::TooSeldom(every)),
            Self::At(times) if times.is_empty() => Err(ScheduleError::NoTimes),
            Self::At(times) if times.len() > MAX_AT_TIMES => Err(ScheduleError::TooManyTimes(times.len())),
            Self::At(times) => {
                let mut times = times.to_vec();
                times.sort_unstable();
                times.dedup();
                Ok(Self::At(times.into()))
            }
            plan @ (Self::Every(_) | Self::Cron(_)) => Ok(plan),
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Every(every) => write!(f, "every {}", humantime::format_duration(*every)),
            Self::At(times) => match times.as_ref() {
                [] => write!(f, "never"),
                [only] => write!(f, "at {only}"),
                [first, rest @ ..] => write!(f, "at {first} and {} more", rest.len()),
            },
            Self::Cron(cron) => write!(f, "cron {cron}"),
        }
    }
}

impl TaskSpec {
    /// A task with the default deadline and policies, made by nobody with a name.
    pub fn new(callback: CallbackName, fingerprint: Fingerprint, args: Bytes, plan: Plan) -> Self {
        Self {
            callback,
            fingerprint,
            args,
            plan,
            timeout: DEFAULT_TIMEOUT,
            overlap: Overlap::default(),
            missed: Missed::default(),
            creator: None,
        }
    }

    /// The same within all bounds; see [`Plan::checked`].
    ///
    /// # Errors
    /// Which bound it breaks.
    pub fn checked(self, now: Utc) -> Result<Self, ScheduleError> {
        let spec = self.bounded()?;
        Ok(Self { plan: spec.plan.checked(now)?, ..spec })
    }

    /// As [`TaskSpec::checked`], but for what depends on the time.
    pub(super) fn bounded(self) -> Result<Self, ScheduleError> {
        bounded_timeout(self.timeout)?;
        if self.args.len() > MAX_TASK_ARGS_BYTES {
            return Err(ScheduleError::ArgumentsTooLarge(self.args.len()));
        }
        Ok(Self { plan: self.plan.bounded()?, ..self })
    }
}

/// Whether a run can have this deadline.
pub(super) fn bounded_timeout(timeout: Duration) -> Result<(), ScheduleError> {
    let allowed = MIN_TIMEOUT..=MAX_TIMEOUT;
    if allowed.contains(&timeout) { Ok(()) } else { Err(ScheduleError::BadTimeout(timeout)) }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
