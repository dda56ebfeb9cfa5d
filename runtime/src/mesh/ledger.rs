//! The scheduled tasks that are to be written down, on their way from the driver to whoever writes them.
//!
//! Invariants: the driver never waits; of a process only the latest tasks are on their way, so that a slow disk holds one
//! table a process at most; processes have their turns in the order in which they came, so that one whose tasks change all
//! the time holds up no other. What is written, and where, is not known here.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use daffi_proto::id::{LocalId, ProcessRef};
use daffi_proto::schedule::Tasks;
use tokio::sync::Notify;

/// Tasks that are to be written down.
pub struct Sheet {
    /// Whose; told with [`MeshHandle::tasks_saved`](super::handle::MeshHandle::tasks_saved).
    pub process: LocalId,
    /// His tenant and name.
    pub name: ProcessRef,
    /// The tasks.
    pub tasks: Box<Tasks>,
    /// Names this state of them; told too.
    pub changes: u64,
}

/// Both ends: clones are of the same.
#[derive(Clone, Default)]
pub struct Ledger(Arc<Inner>);

#[derive(Default)]
struct Inner {
    sheets: Mutex<VecDeque<Sheet>>,
    bell: Notify,
}

impl Ledger {
    /// These are to be written down, instead of those of the same process that are not yet, and in their turn.
    pub(super) fn put(&self, process: LocalId, name: ProcessRef, tasks: Box<Tasks>, changes: u64) {
        let sheet = Sheet { process, name, tasks, changes };
        let mut sheets = self.sheets();
        match sheets.iter_mut().find(|waiting| waiting.process == process) {
            Some(waiting) => *waiting = sheet,
            None => sheets.push_back(sheet),
        }
        drop(sheets);
        self.0.bell.notify_one();
    }

    /// The next tasks to be written down, once there are some; for one reader. Cancel safe.
    pub async fn next(&self) -> Sheet {
        loop {
            if let Some(sheet) = self.take() {
                return sheet;
            }
            self.0.bell.notified().await;
        }
    }

    /// The same, if there are any.
    pub fn take(&self) -> Option<Sheet> {
        self.sheets().pop_front()
    }

    fn sheets(&self) -> MutexGuard<'_, VecDeque<Sheet>> {
        self.0.sheets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use daffi_proto::id::{ProcessName, TenantName};
    use daffi_proto::schedule::{Clock, Utc};

    use super::*;

    fn put(ledger: &Ledger, process: u32, changes: u64) {
        let name: ProcessName = format!("p{process}").parse().unwrap();
        let tasks = Box::new(Tasks::new(name.clone(), 1, Clock { mono: Duration::ZERO, utc: Utc::default() }));
        ledger.put(LocalId(process), ProcessRef { tenant: TenantName::default(), name }, tasks, changes);
    }

    #[test]
    fn who_comes_again_and_again_has_one_sheet_and_holds_up_no_other() {
        let ledger = Ledger::default();
        put(&ledger, 1, 1);
        put(&ledger, 2, 1);
        put(&ledger, 1, 2);
        let next = |ledger: &Ledger| ledger.take().map(|sheet| (sheet.process.0, sheet.changes));
        assert_eq!(next(&ledger), Some((1, 2)));
        put(&ledger, 1, 3);
        assert_eq!((next(&ledger), next(&ledger), next(&ledger)), (Some((2, 1)), Some((1, 3)), None));
    }
}
