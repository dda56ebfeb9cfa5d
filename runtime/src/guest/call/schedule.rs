//! PERIOD: callbacks that their own processes call, as guests make, see and cancel them.
//!
//! Here a guest's words become a plan, and a task becomes the guest's record; the rest is the mesh's.

use std::time::Duration;

use daffi_proto::call::ScheduleRequest;
use daffi_proto::error::CallError;
use daffi_proto::schedule::{
    Missed, Overlap, Plan, ScheduleError, TaskId, TaskInfo, TaskState, Terms, Utc, parse_duration,
};

use super::super::grants::Act;
use super::super::state::CallOrigin;
use super::dynamic::Wish;
use super::options::How;
use super::{call, milliseconds, process_name, types};

/// Schedules a callback.
///
/// # Errors
/// As the WIT says.
pub(super) async fn schedule(
    origin: &CallOrigin,
    callback: String,
    arguments: types::Value,
    plan: call::Plan,
    options: Option<call::ScheduleOptions>,
) -> Result<call::Task, CallError> {
    origin.may(Act::Schedule, &callback)?;
    let options = options.unwrap_or(call::ScheduleOptions {
        timeout: None,
        receiver: None,
        wait_ready: false,
        within: None,
        overlap: None,
        missed: None,
    });
    let terms = terms(plan, &options, &callback)?;
    let (timeout, receiver, wait_ready) = (options.within, options.receiver, options.wait_ready);
    let asking = call::FgOptions { timeout, receiver, wait_ready, retry: None };
    let how = How::fg(Some(asking), &callback)?;
    let prepared = Wish::new(origin, callback, arguments, how)?.look_up(origin).await?;
    let task = origin.module.mesh.schedule(ScheduleRequest { call: prepared.request, terms }).await?;
    Ok(task.into())
}

/// The tasks of the guest's tenant, or of one of its processes.
///
/// # Errors
/// As the WIT says.
pub(super) async fn tasks(origin: &CallOrigin, receiver: Option<String>) -> Result<Vec<call::Task>, CallError> {
    origin.may(Act::Schedule, "call#scheduled-tasks")?;
    let receiver = receiver.map(|name| process_name(&name, "")).transpose()?;
    let _place = origin.open("call#scheduled-tasks", 0)?;
    let (caller, timeout) = (origin.caller("")?, origin.timeout(None));
    let tenant = origin.module.process.tenant.clone();
    let tasks = origin.module.mesh.tasks(&caller, tenant, receiver, timeout).await?;
    Ok(tasks.into_iter().map(call::Task::from).collect())
}

/// A task as it is now.
///
/// # Errors
/// As the WIT says.
pub(super) async fn task(origin: &CallOrigin, id: &str) -> Result<call::Task, CallError> {
    origin.may(Act::Schedule, "call#scheduled-task")?;
    let _place = origin.open("call#scheduled-task", 0)?;
    let task = origin.module.mesh.task(origin.caller(id)?, &task_id(id)?, origin.timeout(None)).await?;
    Ok(task.into())
}

/// Cancels a task.
///
/// # Errors
/// As the WIT says.
pub(super) async fn cancel(origin: &CallOrigin, id: &str) -> Result<call::Task, CallError> {
    origin.may(Act::Schedule, "call#cancel-task")?;
    let _place = origin.open("call#cancel-task", 0)?;
    let task = origin.module.mesh.cancel_task(origin.caller(id)?, &task_id(id)?, origin.timeout(None)).await?;
    Ok(task.into())
}

fn task_id(id: &str) -> Result<TaskId, CallError> {
    id.parse().map_err(|error: ScheduleError| error.into_call_error(id))
}

fn terms(plan: call::Plan, options: &call::ScheduleOptions, callback: &str) -> Result<Terms, CallError> {
    let terms = Terms::new(read(plan).map_err(|error| error.into_call_error(callback))?);
    let timeout = options.timeout.map(|timeout| milliseconds(timeout, callback)).transpose()?;
    let terms = Terms {
        timeout: timeout.unwrap_or(terms.timeout),
        overlap: match options.overlap {
            None | Some(call::Overlap::Skip) => Overlap::Skip,
            Some(call::Overlap::QueueOne) => Overlap::QueueOne,
            Some(call::Overlap::Parallel) => Overlap::Parallel,
        },
        missed: match options.missed {
            None | Some(call::Missed::RunOnce) => Missed::RunOnce,
            Some(call::Missed::Skip) => Missed::Skip,
        },
        ..terms
    };
    terms.bounded().map_err(|error| error.into_call_error(callback))
}

fn read(plan: call::Plan) -> Result<Plan, ScheduleError> {
    Ok(match plan {
        call::Plan::Every(time) => Plan::Every(Duration::from_millis(time)),
        call::Plan::EveryText(text) => Plan::Every(parse_duration(&text)?),
        call::Plan::At(times) => Plan::At(times.into_iter().map(Utc::from_unix_millis).collect::<Result<_, _>>()?),
        call::Plan::AtText(times) => Plan::At(times.iter().map(|time| time.parse()).collect::<Result<_, _>>()?),
        call::Plan::Cron(text) => Plan::Cron(text.parse()?),
    })
}

impl From<TaskInfo> for call::Task {
    fn from(task: TaskInfo) -> Self {
        Self {
            id: task.id.to_string(),
            receiver: task.id.process.to_string(),
            callback: task.callback.to_string(),
            plan: task.plan.to_string(),
            creator: task.creator.map(|creator| creator.name.to_string()),
            state: match task.state {
                TaskState::Waiting => call::TaskState::Waiting,
                TaskState::Running => call::TaskState::Running,
                TaskState::Finished => call::TaskState::Finished,
            },
            next_run: task.next_run.map(Utc::as_millis),
            last_run: task.last_run.map(Utc::as_millis),
            runs: task.counts.runs,
            failures: task.counts.failures,
            skipped: task.counts.skipped,
            missed: task.counts.missed,
            last_error: task.last_error.map(|error| call::TaskError {
                at: error.at.as_millis(),
                code: error.code,
                message: error.message,
            }),
        }
    }
}
