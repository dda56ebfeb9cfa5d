//! The bell of a module's housekeeper: whatever a module has open, and all that it uses, rings it.
//!
//! Invariant: a change that was noted before the bell's note was taken is seen by who looks after that.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// The bell.
#[derive(Debug, Default)]
pub(super) struct Bell {
    load: Note,
    usage: Note,
    rung: Notify,
}

/// That something is to be told.
#[derive(Debug, Default)]
struct Note(AtomicBool);

impl Note {
    /// Whether it was not noted yet.
    fn set(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }

    fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    fn take(&self) -> bool {
        self.0.swap(false, Ordering::AcqRel)
    }
}

impl Bell {
    /// Makes the housekeeper look at once: something is due earlier than it knows.
    pub fn ring(&self) {
        self.rung.notify_one();
    }

    /// The load is to be told.
    pub fn load_changed(&self) {
        if self.load.set() {
            self.ring();
        }
    }

    /// Whether the load is to be told.
    pub fn has_load(&self) -> bool {
        self.load.is_set()
    }

    /// The same, for who tells it now: what changes from here on is told the next time.
    pub fn take_load(&self) -> bool {
        self.load.take()
    }

    /// It could not be told: it is still to be told, as soon as it may.
    pub fn keep_load(&self) {
        self.load.set();
    }

    /// What was used is to be told.
    pub fn usage_changed(&self) {
        if self.usage.set() {
            self.ring();
        }
    }

    /// Whether it is to be told.
    pub fn has_usage(&self) -> bool {
        self.usage.is_set()
    }

    /// As [`Bell::take_load`].
    pub fn take_usage(&self) -> bool {
        self.usage.take()
    }

    /// As [`Bell::keep_load`].
    pub fn keep_usage(&self) {
        self.usage.set();
    }

    /// Resolves when it rings, or has since this last resolved. Cancel safe.
    pub async fn rung(&self) {
        self.rung.notified().await;
    }
}
