//! Whether a module's calls may run in the network's thread.
//!
//! A short call is done soonest where its frame was read, and where the answers are read that it waits for. One that takes
//! long keeps the driver from everything else, for an epoch tick or, in a single instruction such as the fill of a memory,
//! for longer. So after a call that took long the next ones run on the workers for many times as long: calls of one module keep the driver from others for a
//! hundredth of the time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A call that runs longer is too long for the network's thread; a change of threads costs a hundredth of it.
const INLINE_TIME: Duration = Duration::from_millis(1);

/// For how many times its own time a call that was too long keeps the next ones away from it.
const COOLING_TIMES: u32 = 100;

/// Longest time for which one call keeps the next ones out: it held up the driver for a tick or a little more, whatever
/// it took in all.
const MAX_COOLING: Duration = Duration::from_secs(10);

/// How hot a module is.
#[derive(Debug)]
pub(super) struct Heat {
    epoch: Instant,
    /// In nanoseconds from the epoch; 0 while it was never hot.
    cool_at: AtomicU64,
}

impl Heat {
    pub fn new(now: Instant) -> Self {
        Self { epoch: now, cool_at: AtomicU64::new(0) }
    }

    /// Whether the next call may run there.
    pub fn is_cool(&self) -> bool {
        // The usual case needs no clock.
        self.cool_at.load(Ordering::Relaxed) == 0 || self.is_cool_at(Instant::now())
    }

    /// A call took so long on a thread until now, its end included where it has come.
    pub fn took(&self, now: Instant, time: Duration) {
        if time >= INLINE_TIME {
            let cool_at = now + time.saturating_mul(COOLING_TIMES).min(MAX_COOLING);
            self.cool_at.fetch_max(self.nanoseconds(cool_at), Ordering::Relaxed);
        }
    }

    fn is_cool_at(&self, now: Instant) -> bool {
        self.nanoseconds(now) >= self.cool_at.load(Ordering::Relaxed)
    }

    fn nanoseconds(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.epoch).as_nanos()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_long_call_keeps_the_next_ones_out_for_a_hundred_times_its_time() {
        let now = Instant::now();
        let heat = Heat::new(now);
        heat.took(now, MS / 2);
        assert!(heat.is_cool());
        heat.took(now, 2 * MS);
        heat.took(now, MS);
        assert!(!heat.is_cool_at(now + 199 * MS) && heat.is_cool_at(now + 200 * MS));
    }

    #[test]
    fn a_very_long_call_keeps_the_next_ones_out_for_a_bounded_time() {
        let now = Instant::now();
        let heat = Heat::new(now);
        heat.took(now, 3600 * 1000 * MS);
        assert!(!heat.is_cool_at(now + MAX_COOLING / 2) && heat.is_cool_at(now + MAX_COOLING));
    }
}
