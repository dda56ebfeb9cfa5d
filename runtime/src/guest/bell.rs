//! The bell of a module's housekeeper: whatever a module has open rings it.
//!
//! Invariant: a change that was noted before the bell's note was taken is seen by who looks after that.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// The bell.
#[derive(Debug, Default)]
pub(super) struct Bell {
    load_changed: AtomicBool,
    rung: Notify,
}

impl Bell {
    /// Makes the housekeeper look at once: something is due earlier than it knows.
    pub fn ring(&self) {
        self.rung.notify_one();
    }

    /// The load is to be told.
    pub fn load_changed(&self) {
        if !self.load_changed.swap(true, Ordering::AcqRel) {
            self.ring();
        }
    }

    /// Whether the load is to be told.
    pub fn has_load(&self) -> bool {
        self.load_changed.load(Ordering::Acquire)
    }

    /// The same, for who tells it now: what changes from here on is told the next time.
    pub fn take_load(&self) -> bool {
        self.load_changed.swap(false, Ordering::AcqRel)
    }

    /// It could not be told: it is still to be told, as soon as it may.
    pub fn keep_load(&self) {
        self.load_changed.store(true, Ordering::Release);
    }

    /// Resolves when it rings, or has since this last resolved. Cancel safe.
    pub async fn rung(&self) {
        self.rung.notified().await;
    }
}
