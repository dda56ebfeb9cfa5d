//! Whether a module's calls may run in the network's thread.
//!
//! A short call is done soonest where its frame was read, and where the answers are read that it waits for. One that takes
//! long keeps the driver from everything else, for an epoch tick or, in a single instruction such as the fill of a memory,
//! for longer. So after a call that took long the next ones run on the workers for many times as long: calls of one module keep the driver from others for a
//! hundredth of the time. Of that a module whose calls are short saves some up ([`CREDIT`]): one call in thousands that the machine was slow with
//! sends no others away.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A call that runs longer is too long for the network's thread; a change of threads costs a hundredth of it.
const INLINE_TIME: Duration = Duration::from_millis(1);

/// For how many times its own time a call that was too long keeps the next ones away from it.
const COOLING_TIMES: u32 = 100;

/// What a module has saved up at most. Each millisecond of it takes a tenth of a second.
const CREDIT: Duration = Duration::from_millis(5);

/// Longest time for which one call keeps the next ones out: whatever it took in all, it held up the driver for a tick or a
/// little more, or for one instruction that fills a memory.
const MAX_COOLING: Duration = Duration::from_secs(10);

/// How hot a module is.
#[derive(Debug)]
pub(super) struct Heat {
    epoch: Instant,
    /// In nanoseconds from the epoch. How long ago that is, is what was saved up.
    cool_at: AtomicU64,
}

impl Heat {
    pub fn new(now: Instant) -> Self {
        Self { epoch: now, cool_at: AtomicU64::new(0) }
    }

    /// Whether the next call may run there.
    pub fn is_cool(&self, now: Instant) -> bool {
        nanos(self.time(now)) >= self.cool_at.load(Ordering::Relaxed)
    }

    /// A call took so long until now where it kept the driver from everything else.
    pub fn took_here(&self, now: Instant, time: Duration) {
        if time >= INLINE_TIME {
            let oldest = nanos(self.time(now).saturating_sub(CREDIT * COOLING_TIMES));
            let (cooling, latest) = (nanos(time.saturating_mul(COOLING_TIMES)), self.cools(now, MAX_COOLING));
            let add = |at: u64| at.max(oldest).saturating_add(cooling).min(latest);
            self.cool_at.update(Ordering::Relaxed, Ordering::Relaxed, add);
        }
    }

    /// A call has taken so long until now on a thread where it kept the driver from nothing: the next ones would take as long.
    pub fn took_elsewhere(&self, now: Instant, in_all: Duration) {
        if in_all >= INLINE_TIME {
            let cool_at = self.cools(now, in_all.saturating_mul(COOLING_TIMES).min(MAX_COOLING));
            self.cool_at.fetch_max(cool_at, Ordering::Relaxed);
        }
    }

    fn cools(&self, now: Instant, after: Duration) -> u64 {
        nanos(self.time(now).saturating_add(after))
    }

    fn time(&self, at: Instant) -> Duration {
        at.saturating_duration_since(self.epoch)
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// As long as is worth saving.
    const SAVED: Duration = Duration::from_millis(500);

    #[test]
    fn a_long_call_keeps_the_next_ones_out_for_a_hundred_times_its_time() {
        let now = Instant::now();
        let heat = Heat::new(now);
        heat.took_here(now, MS / 2);
        assert!(heat.is_cool(now));
        heat.took_here(now, 2 * MS);
        heat.took_here(now, MS);
        assert!(!heat.is_cool(now + 299 * MS) && heat.is_cool(now + 300 * MS));
    }

    #[test]
    fn a_call_that_is_long_elsewhere_counts_as_one_however_often_it_is_told_and_whatever_was_saved() {
        let began = Instant::now();
        let heat = Heat::new(began);
        let now = began + 10 * SAVED;
        (1..=4).for_each(|told| heat.took_elsewhere(now, told * MS / 2));
        assert!(!heat.is_cool(now + 199 * MS) && heat.is_cool(now + 200 * MS));
    }

    #[test]
    fn short_calls_save_up_for_long_ones_and_no_more_than_a_few() {
        let began = Instant::now();
        let heat = Heat::new(began);
        let now = began + 10 * SAVED;
        (0..5).for_each(|_| heat.took_here(now, MS));
        assert!(heat.is_cool(now));
        heat.took_here(now, MS);
        assert!(!heat.is_cool(now + 99 * MS) && heat.is_cool(now + 100 * MS));
        // Half of the time, half of it.
        let now = now + 100 * MS + SAVED / 2;
        heat.took_here(now, 2 * MS);
        assert!(heat.is_cool(now));
        heat.took_here(now, MS);
        assert!(!heat.is_cool(now));
    }

    #[test]
    fn a_very_long_call_keeps_the_next_ones_out_for_a_bounded_time() {
        let now = Instant::now();
        let heat = Heat::new(now);
        heat.took_here(now, 3600 * 1000 * MS);
        assert!(!heat.is_cool(now + MAX_COOLING / 2) && heat.is_cool(now + MAX_COOLING));
    }
}
