//! How long a guest has the thread, where others want the processor too.
//!
//! A thread that is put aside in the middle of a guest's call seems to have computed all that time: on a machine with more threads than
//! processors each call in a few hundred looks long that way, and would be taken for one that is. So what seems long is held
//! against the processor time of the thread. That costs a call of the system, so it is not asked for short times, and
//! what it is counted from is looked at in advance, each [`APART`].

use std::cell::Cell;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// What is shorter is taken as it is: to be put aside takes longer.
const LONG: Duration = Duration::from_millis(1);

/// How old what it is counted from may be: by so much a time is told too long at most.
const APART: Duration = Duration::from_micros(500);

thread_local! {
    /// Since when a guest has this thread, with those that it has called here.
    static BEGAN: Cell<Option<Instant>> = const { Cell::new(None) };
    /// When the thread's processor time was looked at last, and what it was.
    static LOOKED: Cell<Option<(Instant, Duration)>> = const { Cell::new(None) };
}

/// A guest has this thread until this is dropped. One that is called here in the middle of another's stint has one of its own.
#[must_use]
pub(super) struct Stint {
    began: Instant,
    is_outermost: bool,
}

impl Stint {
    /// A guest gets this thread now.
    pub fn begin(now: Instant) -> Self {
        if LOOKED.get().is_none_or(|(at, _)| now.saturating_duration_since(at) >= APART) {
            LOOKED.set(Some((now, processor_time())));
        }
        let is_outermost = BEGAN.get().is_none();
        if is_outermost {
            BEGAN.set(Some(now));
        }
        Self { began: now, is_outermost }
    }

    /// How long it has had it.
    pub fn took(&self, now: Instant) -> Duration {
        let time = now.saturating_duration_since(self.began);
        if time < LONG {
            return time;
        }
        let used = processor_time();
        let at_most = LOOKED.replace(Some((now, used))).map(|(at, before)| {
            // What was not looked at was used.
            used.saturating_sub(before).saturating_add(at.saturating_duration_since(self.began))
        });
        at_most.map_or(time, |at_most| time.min(at_most))
    }
}

impl Drop for Stint {
    fn drop(&mut self) {
        if self.is_outermost {
            BEGAN.set(None);
        }
    }
}

/// Whether guests got this thread only just now: the one that is polled, and whoever has called it here.
pub(super) fn has_just_begun(now: Instant) -> bool {
    BEGAN.get().is_some_and(|began| now.saturating_duration_since(began) < LONG)
}

/// What this thread has used of processors since it began.
fn processor_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computes until this thread has used so much more.
    fn compute(time: Duration) {
        let until = processor_time() + time;
        while processor_time() < until {}
    }

    #[test]
    fn a_thread_that_was_put_aside_took_no_longer_than_it_computed() {
        let stint = Stint::begin(Instant::now());
        // As long as it sleeps, others have the processor.
        std::thread::sleep(20 * LONG);
        assert!(stint.took(Instant::now()) < 10 * LONG);
    }

    #[test]
    fn what_computes_took_as_long_as_it_computed_whoever_looked_meanwhile() {
        let began = Instant::now();
        let stint = Stint::begin(began);
        compute(2 * LONG);
        drop(Stint::begin(Instant::now()));
        compute(2 * LONG);
        let now = Instant::now();
        let took = stint.took(now);
        assert!(took >= 4 * LONG && took <= now - began);
    }

    #[test]
    fn who_is_called_in_the_middle_of_a_stint_has_not_just_begun() {
        // Times are chosen, not lived through: whoever runs this may be put aside between two lines.
        let now = Instant::now();
        let later = now + 2 * LONG;
        assert!(!has_just_begun(now));
        let quick = Stint::begin(now);
        assert!(has_just_begun(now));
        assert!(!has_just_begun(later));
        drop(quick);
        assert!(!has_just_begun(now));
        let caller = Stint::begin(now);
        let callee = Stint::begin(later);
        assert!(!has_just_begun(later));
        drop(callee);
        assert!(!has_just_begun(later));
        drop(caller);
        assert!(BEGAN.get().is_none());
    }
}
