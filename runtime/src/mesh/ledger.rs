//! The scheduled tasks that are to be written down, on their way from the driver to whoever writes them.
//!
//! Invariants: the driver never waits; of a process only the latest tasks are on their way, so that a slow disk holds one
//! table a process at most. What is written, and where, is not known here.

use std::collections::BTreeMap;
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
    sheets: Mutex<BTreeMap<LocalId, Sheet>>,
    bell: Notify,
}

impl Ledger {
    /// These are to be written down, instead of those of the same process that are not yet.
    pub(super) fn put(&self, process: LocalId, name: ProcessRef, tasks: Box<Tasks>, changes: u64) {
        self.sheets().insert(process, Sheet { process, name, tasks, changes });
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
        self.sheets().pop_first().map(|(_, sheet)| sheet)
    }

    fn sheets(&self) -> MutexGuard<'_, BTreeMap<LocalId, Sheet>> {
        self.0.sheets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
