//! PERIOD, as whoever schedules sees it: making tasks, looking at them, cancelling them.

use std::time::{Duration, Instant, SystemTime};

use daffi_proto::call::{Caller, ScheduleRequest, TasksRequest};
use daffi_proto::error::{CallError, code};
use daffi_proto::id::{LocalId, ProcessName, TenantName};
use daffi_proto::schedule::{Clock, KEPT_FINISHED_TASKS, MAX_TASKS, TaskId, TaskInfo, TaskNumber, TaskOp, TaskPage};
use futures::StreamExt;
use futures::stream;

use super::{MeshHandle, Request, driver_ended};

/// How many processes are asked at once for their tasks.
const ASKED_AT_ONCE: usize = 64;

/// Most tasks that a process can have; who tells of more is not believed.
const MAX_LISTED: usize = MAX_TASKS + KEPT_FINISHED_TASKS;

impl MeshHandle {
    /// Has a callback called by its own process from now on.
    ///
    /// # Errors
    /// As [`CallError`] says: of outcome `unknown` the task may be there. Cancel safety: dropping the future leaves it open
    /// whether the task is made.
    pub async fn schedule(&self, request: ScheduleRequest) -> Result<TaskInfo, CallError> {
        let callback = request.call.callbacks.first().map(ToString::to_string).unwrap_or_default();
        let page =
            self.ask_cancellable(|token, reply| Request::Schedule { token, request, reply }, driver_ended).await??;
        only(page, callback)
    }

    /// A task as it is now. Cancel safe.
    ///
    /// # Errors
    /// `no-such-task`, `no-such-process`, and as of calls.
    pub async fn task(&self, caller: Caller, id: &TaskId, timeout: Duration) -> Result<TaskInfo, CallError> {
        let page = self.ask_tasks(caller, id.process.clone(), TaskOp::Get(id.number), timeout).await?;
        let task = only(page, id.to_string())?;
        if task.id == *id { Ok(task) } else { Err(defective("another task than the one that was asked for", id)) }
    }

    /// Cancels a task, and gives it as it last was. A run in flight goes on.
    ///
    /// # Errors
    /// As of [`MeshHandle::task`]. Cancel safety: dropping the future leaves it open whether the task is cancelled.
    pub async fn cancel_task(&self, caller: Caller, id: &TaskId, timeout: Duration) -> Result<TaskInfo, CallError> {
        let page = self.ask_tasks(caller, id.process.clone(), TaskOp::Cancel(id.number), timeout).await?;
        let task = only(page, id.to_string())?;
        if task.id == *id { Ok(task) } else { Err(defective("another task than the one that was asked for", id)) }
    }

    /// The tasks of a tenant, or of one of its processes, by id, within this time in all. Of a process that leaves meanwhile
    /// there are none. Cancel safe.
    ///
    /// # Errors
    /// `no-such-process` where one is named that is not there; the first other error of a process: `internal` where it
    /// tells of more tasks than there can be, or of another one's.
    pub async fn tasks(
        &self,
        caller: &Caller,
        tenant: TenantName,
        process: Option<ProcessName>,
        timeout: Duration,
    ) -> Result<Vec<TaskInfo>, CallError> {
        let ends = Instant::now() + timeout;
        if let Some(process) = process {
            return self.tasks_of(caller.clone(), process, ends).await;
        }
        let processes = self.processes(tenant).await?.into_iter().filter(|process| process.load.schedules > 0);
        let each = processes.map(|process| self.tasks_of(caller.clone(), process.process.name, ends));
        let mut lists = stream::iter(each).buffered(ASKED_AT_ONCE);
        let mut tasks = Vec::new();
        while let Some(list) = lists.next().await {
            match list {
                Ok(list) => tasks.extend(list),
                Err(error) if error.code == code::NO_SUCH_PROCESS => {}
                Err(error) => return Err(error),
            }
        }
        Ok(tasks)
    }

    async fn tasks_of(&self, caller: Caller, process: ProcessName, ends: Instant) -> Result<Vec<TaskInfo>, CallError> {
        let (mut tasks, mut after) = (Vec::new(), None);
        loop {
            let left = ends.saturating_duration_since(Instant::now());
            let page = self.ask_tasks(caller.clone(), process.clone(), TaskOp::List(after), left).await?;
            after = next_page(&mut tasks, page, &process)?;
            if after.is_none() {
                return Ok(tasks);
            }
        }
    }

    async fn ask_tasks(
        &self,
        caller: Caller,
        process: ProcessName,
        op: TaskOp,
        timeout: Duration,
    ) -> Result<TaskPage, CallError> {
        let request = TasksRequest { caller, process, op, timeout };
        self.ask_cancellable(|token, reply| Request::Tasks { token, request, reply }, driver_ended).await?
    }

    /// Tells that tasks of a [`Ledger`](crate::mesh::ledger::Ledger) were written down, or why they could not be.
    pub async fn tasks_saved(&self, process: LocalId, changes: u64, result: Result<(), String>) {
        let _ = self.requests.send(Request::TasksSaved { process, changes, result }).await;
    }

    /// What time it is for the node.
    pub fn clock(&self) -> Clock {
        Clock { mono: self.shared.epoch.elapsed(), utc: SystemTime::now().into() }
    }
}

/// Adds a page of a process's tasks to those before it; after which one the next page begins, if there is one. A page comes
/// from another machine: what it says is not believed.
///
/// # Errors
/// `internal`: no table gives such a page.
fn next_page(
    tasks: &mut Vec<TaskInfo>,
    page: TaskPage,
    process: &ProcessName,
) -> Result<Option<TaskNumber>, CallError> {
    if let Some(foreign) = page.tasks.iter().find(|task| task.id.process != *process) {
        return Err(defective(&format!("a task of {}", foreign.id.process), process));
    }
    let before = tasks.last().map(|task| task.id.number);
    tasks.extend(page.tasks);
    if tasks.len() > MAX_LISTED {
        return Err(defective(&format!("more than {MAX_LISTED} tasks"), process));
    }
    let last = tasks.last().map(|task| task.id.number);
    // A table that says that there is more and gives nothing would be asked for ever.
    Ok(last.filter(|last| page.more && before.is_none_or(|before| before < *last)))
}

/// The task of an answer that has one.
fn only(page: TaskPage, asked: String) -> Result<TaskInfo, CallError> {
    page.tasks.into_iter().next().ok_or_else(|| defective("no task", asked))
}

/// The error of a receiver that answers what no table of tasks can answer.
fn defective(answer: &str, asked: impl ToString) -> CallError {
    CallError::unknown(
        code::INTERNAL,
        format!("the receiver is defective: it answered with {answer}"),
        asked.to_string(),
    )
}

#[cfg(test)]
mod tests {
    use daffi_proto::schedule::{Counts, Missed, Overlap, Plan, TaskState, Utc};

    use super::*;

    fn process(name: &str) -> ProcessName {
        ProcessName::new(name).unwrap()
    }

    fn task(owner: &str, number: u64) -> TaskInfo {
        TaskInfo {
            id: TaskId { process: process(owner), number: TaskNumber(number) },
            callback: "a:b/c#d".parse().unwrap(),
            plan: Plan::from_parts(Some(Duration::from_secs(1)), Vec::new(), None).unwrap(),
            timeout: Duration::from_secs(1),
            overlap: Overlap::Skip,
            missed: Missed::Skip,
            creator: None,
            made: Utc::from_unix(0, 0),
            state: TaskState::Waiting,
            next_run: None,
            last_run: None,
            running: 0,
            counts: Counts::default(),
            last_error: None,
            arguments: None,
        }
    }

    fn page(numbers: impl IntoIterator<Item = u64>, more: bool) -> TaskPage {
        TaskPage { tasks: numbers.into_iter().map(|number| task("a", number)).collect(), more }
    }

    #[test]
    fn pages_follow_one_another_until_one_says_that_it_is_the_last_or_gives_nothing_new() {
        let mut tasks = Vec::new();
        assert_eq!(next_page(&mut tasks, page([1, 2], true), &process("a")).unwrap(), Some(TaskNumber(2)));
        assert_eq!(next_page(&mut tasks, page([3], false), &process("a")).unwrap(), None);
        assert_eq!(tasks.len(), 3);
        for stuck in [page([], true), page([3], true), page([2], true)] {
            assert_eq!(next_page(&mut tasks, stuck, &process("a")).unwrap(), None);
        }
    }

    #[test]
    fn a_process_that_tells_of_endless_tasks_or_of_anothers_is_not_believed() {
        let (mut tasks, mut next) = (Vec::new(), 0..);
        let error = loop {
            let number = next.next().unwrap();
            match next_page(&mut tasks, page([number], true), &process("a")) {
                Ok(after) => assert_eq!(after, Some(TaskNumber(number))),
                Err(error) => break error,
            }
        };
        assert!(error.message.contains("more than 1056 tasks"), "{error:?}");
        let error = next_page(&mut Vec::new(), page([1], false), &process("b")).unwrap_err();
        assert!(error.message.contains("a task of a") && error.callback == "b", "{error:?}");
    }
}
