//! The scheduled tasks that are to be written down, on their way from the driver to whoever writes them.
//!
//! Invariants: the driver never waits; of a process one sheet is on its way, so that a slow disk holds one table a process at
//! most; processes have their turns in the order in which they came, so that one whose tasks change all the time holds up no
//! other. What is written, and where, is not known here.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use daffi_proto::id::{LocalId, ProcessRef};
use daffi_proto::schedule::Save;
use tokio::sync::Notify;

/// Tasks that are to be written down.
pub struct Sheet {
    /// Whose; told with [`MeshHandle::tasks_saved`](super::handle::MeshHandle::tasks_saved).
    pub process: LocalId,
    /// His tenant and name.
    pub name: ProcessRef,
    /// What of his tasks.
    pub save: Save,
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
    /// This is to be written down, in the process's turn; it takes the place of what is not yet, which only the last table
    /// of a process that leaves can find.
    pub(super) fn put(&self, process: LocalId, name: ProcessRef, save: Save, changes: u64) {
        let sheet = Sheet { process, name, save, changes };
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
    use daffi_proto::schedule::{Clock, Tasks, Utc};

    use super::*;

    fn put(ledger: &Ledger, process: u32, changes: u64) {
        let name: ProcessName = format!("p{process}").parse().unwrap();
        let tasks = Tasks::new(name.clone(), 1, Clock { mono: Duration::ZERO, utc: Utc::default() });
        let save = Save::Table(Box::new(tasks));
        ledger.put(LocalId(process), ProcessRef { tenant: TenantName::default(), name }, save, changes);
    }

    #[test]
    fn who_comes_again_has_one_sheet_and_holds_up_no_other() {
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
