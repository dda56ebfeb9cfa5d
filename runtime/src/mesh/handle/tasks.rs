//! PERIOD, as whoever schedules sees it: making tasks, looking at them, cancelling them.

use std::time::{Duration, SystemTime};

use daffi_proto::call::{Caller, ScheduleRequest, TasksRequest};
use daffi_proto::error::{CallError, code};
use daffi_proto::id::{LocalId, ProcessName, TenantName};
use daffi_proto::schedule::{Clock, TaskId, TaskInfo, TaskOp, TaskPage};
use futures::StreamExt;
use futures::stream;

use super::{MeshHandle, Request, driver_ended};

/// How many processes are asked at once for their tasks.
const ASKED_AT_ONCE: usize = 64;

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
        only(page, id.to_string())
    }

    /// Cancels a task, and gives it as it last was. A run in flight goes on.
    ///
    /// # Errors
    /// As of [`MeshHandle::task`]. Cancel safety: dropping the future leaves it open whether the task is cancelled.
    pub async fn cancel_task(&self, caller: Caller, id: &TaskId, timeout: Duration) -> Result<TaskInfo, CallError> {
        let page = self.ask_tasks(caller, id.process.clone(), TaskOp::Cancel(id.number), timeout).await?;
        only(page, id.to_string())
    }

    /// The tasks of a tenant, or of one of its processes, by id. Of a process that leaves meanwhile there are none.
    /// Cancel safe.
    ///
    /// # Errors
    /// `no-such-process` where one is named that is not there; the first other error of a process.
    pub async fn tasks(
        &self,
        caller: &Caller,
        tenant: TenantName,
        process: Option<ProcessName>,
        timeout: Duration,
    ) -> Result<Vec<TaskInfo>, CallError> {
        if let Some(process) = process {
            return self.tasks_of(caller.clone(), process, timeout).await;
        }
        let processes = self.processes(tenant).await?.into_iter().filter(|process| process.load.schedules > 0);
        let each = processes.map(|process| self.tasks_of(caller.clone(), process.process.name, timeout));
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

    async fn tasks_of(
        &self,
        caller: Caller,
        process: ProcessName,
        timeout: Duration,
    ) -> Result<Vec<TaskInfo>, CallError> {
        let (mut tasks, mut after) = (Vec::new(), None);
        loop {
            let page = self.ask_tasks(caller.clone(), process.clone(), TaskOp::List(after), timeout).await?;
            let last = page.tasks.last().map(|task| task.id.number);
            tasks.extend(page.tasks);
            // A table that says that there is more and gives nothing would be asked for ever.
            match last.filter(|last| page.more && after.is_none_or(|after| after < *last)) {
                Some(last) => after = Some(last),
                None => return Ok(tasks),
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

/// The task of an answer that has one.
fn only(page: TaskPage, asked: String) -> Result<TaskInfo, CallError> {
    let none = || CallError::unknown(code::INTERNAL, "the receiver answered without a task; it is defective", asked);
    page.tasks.into_iter().next().ok_or_else(none)
}
