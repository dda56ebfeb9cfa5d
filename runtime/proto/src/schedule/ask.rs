//! What is asked of a process's table from afar, and what it answers: the payloads of frames.
//!
//! Invariant: an answer fits every link. A list comes in pages of [`MAX_PAGE_BYTES`], each as its table is then; a task
//! that comes or goes between two of them may be missed, no task comes twice.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::info::{TaskId, TaskInfo, TaskNumber};
use super::plan::{Missed, Overlap, Plan, TaskSpec};
use super::tasks::Tasks;
use super::time::Clock;
use super::{MAX_AT_TIMES, MAX_CRON_BYTES, MAX_LAST_ERROR_BYTES, MAX_SHOWN_ARGS_BYTES, ScheduleError};
use crate::call::DEFAULT_TIMEOUT;
use crate::frame::MIN_PAYLOAD_LIMIT_BYTES;
use crate::id::{MAX_NAME_BYTES, ProcessRef};
use crate::name::{CallbackName, MAX_CALLBACK_NAME_BYTES};
use crate::signature::Fingerprint;

/// Most bytes of the tasks of one page, as far as they can be told without encoding them; less than any link's limit.
pub const MAX_PAGE_BYTES: usize = 256 * 1024;

/// Most bytes of a task in an answer beside those that are counted one by one: names, numbers, times, a cron expression.
const TASK_BYTES: usize = MAX_CALLBACK_NAME_BYTES + 3 * MAX_NAME_BYTES + MAX_CRON_BYTES + 256;

/// Bytes of a time.
const TIME_BYTES: usize = 9;

// A page has room for one task at least, and every link for a page.
const _: () = assert!(
    MAX_PAGE_BYTES > TASK_BYTES + MAX_AT_TIMES * TIME_BYTES + 2 * MAX_LAST_ERROR_BYTES + 2 * MAX_SHOWN_ARGS_BYTES
);
const _: () = assert!(MAX_PAGE_BYTES < MIN_PAYLOAD_LIMIT_BYTES);

/// How a callback is to be scheduled; with the callback and its arguments it is a [`TaskSpec`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Terms {
    /// When it runs.
    pub plan: Plan,
    /// The deadline of a run.
    pub timeout: Duration,
    /// What becomes of a tick while a run is in flight.
    pub overlap: Overlap,
    /// What becomes of a tick that passed.
    pub missed: Missed,
}

/// What is asked; the payload of the frame that asks. Append-only.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum TaskOp {
    /// 0: make a task.
    Add(Box<TaskSpec>),
    /// 1: the tasks that were made after this one; of none: all.
    List(Option<TaskNumber>),
    /// 2: one task.
    Get(TaskNumber),
    /// 3: take a task out.
    Cancel(TaskNumber),
}

/// How a task's arguments are shown, where that is known.
pub type Show<'a> = &'a dyn Fn(&TaskSpec) -> Option<String>;

/// The answer: the task that was made or asked for, or was there until it was cancelled; or those of a list.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct TaskPage {
    /// The tasks, the oldest first.
    pub tasks: Vec<TaskInfo>,
    /// Whether the list goes on after them.
    pub more: bool,
}

impl Terms {
    /// The default deadline and policies.
    pub fn new(plan: Plan) -> Self {
        Self { plan, timeout: DEFAULT_TIMEOUT, overlap: Overlap::default(), missed: Missed::default() }
    }

    /// What can be said of them before it is known whom they are for.
    ///
    /// # Errors
    /// Which bound they break, whatever the time is at the receiver.
    pub fn bounded(self) -> Result<Self, ScheduleError> {
        super::plan::bounded_timeout(self.timeout)?;
        Ok(Self { plan: self.plan.bounded()?, ..self })
    }

    /// The task of this callback.
    pub(crate) fn spec(
        &self,
        callback: CallbackName,
        fingerprint: Fingerprint,
        args: Bytes,
        creator: Option<ProcessRef>,
    ) -> TaskSpec {
        let Self { plan, timeout, overlap, missed } = self;
        let (plan, timeout, overlap, missed) = (plan.clone(), *timeout, *overlap, *missed);
        TaskSpec { callback, fingerprint, args, plan, timeout, overlap, missed, creator }
    }
}

impl TaskPage {
    fn of(task: TaskInfo) -> Self {
        Self { tasks: vec![task], more: false }
    }
}

impl TaskInfo {
    /// How many bytes it takes in an answer, at most.
    fn bytes(&self) -> usize {
        let times = if let Plan::At(times) = &self.plan { times.len() } else { 0 };
        let error = self.last_error.as_ref().map_or(0, |error| error.message.len() + error.code.len());
        TASK_BYTES + times * TIME_BYTES + error + self.arguments.as_ref().map_or(0, String::len)
    }
}

impl Tasks {
    /// Does what is asked. `show` gives a task's arguments as [`TaskInfo::arguments`] has them.
    ///
    /// # Errors
    /// Why not.
    pub fn carry_out(&mut self, clock: Clock, op: TaskOp, show: Show<'_>) -> Result<TaskPage, ScheduleError> {
        let id = |number| TaskId { process: self.process().clone(), number };
        match op {
            TaskOp::Add(spec) => {
                let id = self.add(clock, *spec)?;
                self.shown(clock, &id, show)
            }
            TaskOp::Get(number) => self.shown(clock, &id(number), show),
            TaskOp::Cancel(number) => {
                let id = id(number);
                let task = self.shown(clock, &id, show)?;
                self.cancel(&id)?;
                Ok(task)
            }
            TaskOp::List(after) => Ok(self.page(clock, after, show)),
        }
    }

    fn shown(&self, clock: Clock, id: &TaskId, show: Show<'_>) -> Result<TaskPage, ScheduleError> {
        self.get(clock, id).map(|task| TaskPage::of(self.with_arguments(task, show)))
    }

    fn with_arguments(&self, task: TaskInfo, show: Show<'_>) -> TaskInfo {
        let arguments = self.tasks.get(&task.id.number).and_then(|task| show(&task.spec));
        TaskInfo { arguments, ..task }
    }

    fn page(&self, clock: Clock, after: Option<TaskNumber>, show: Show<'_>) -> TaskPage {
        let mut page = TaskPage::default();
        let mut bytes = 0;
        for task in self.list_after(clock, after).map(|task| self.with_arguments(task, show)) {
            bytes += task.bytes();
            if bytes > MAX_PAGE_BYTES {
                page.more = true;
                break;
            }
            page.tasks.push(task);
        }
        page
    }
}
