//! How much a thread passes on between other runtimes, for those who would have more of its time if that is nothing.

use std::cell::Cell;

thread_local! {
    static PASSED_ON: Cell<u64> = const { Cell::new(0) };
}

/// How many frames this thread's controller has passed on between other nodes; it wraps.
pub(crate) fn passed_on() -> u64 {
    PASSED_ON.get()
}

/// One more.
pub(crate) fn pass_on() {
    PASSED_ON.set(PASSED_ON.get().wrapping_add(1));
}
