//! Time for which a thread ran another guest than the one that has it.
//!
//! A call between modules of one runtime is served in its caller's thread, in the middle of what the caller computes. That
//! is the callee's time: whoever measures the caller's asks here how much of it was not his.

use std::cell::Cell;
use std::time::Duration;

thread_local! {
    static LENT: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// How long this thread has run guests in the middle of something else, in all. What is between two looks in one poll is the
/// difference.
pub(super) fn lent() -> Duration {
    LENT.get()
}

/// A guest ran so long in the middle of something else.
pub(super) fn lend(time: Duration) {
    LENT.set(LENT.get().saturating_add(time));
}
