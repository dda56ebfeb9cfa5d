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

/// Longest time for which one call keeps the next ones out: it held up the driver for a tick or a little more, whatever
/// it took in all.
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
        self.nanoseconds(now) >= self.cool_at.load(Ordering::Relaxed)
    }

    /// A call took so long on a thread until now, and so long before, which was told then.
    pub fn took(&self, time: Duration, before: Duration) {
        if before.saturating_add(time) >= INLINE_TIME {
            self.took_until(Instant::now(), time, before);
        }
    }

    fn took_until(&self, now: Instant, time: Duration, before: Duration) {
        let in_all = before.saturating_add(time);
        if in_all < INLINE_TIME {
            return;
        }
        // What was told before it was long was not counted.
        let long = if before < INLINE_TIME { in_all } else { time };
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let now = self.nanoseconds(now);
        let oldest = now.saturating_sub(nanos(CREDIT * COOLING_TIMES));
        let cooling = nanos(long.saturating_mul(COOLING_TIMES));
        let latest = now.saturating_add(nanos(MAX_COOLING));
        self.cool_at
            .update(Ordering::Relaxed, Ordering::Relaxed, |at| at.max(oldest).saturating_add(cooling).min(latest));
    }

    fn nanoseconds(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.epoch).as_nanos()).unwrap_or(u64::MAX)
    }
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
        heat.took_until(now, MS / 2, Duration::ZERO);
        assert!(heat.is_cool(now));
        heat.took_until(now, 2 * MS, Duration::ZERO);
        heat.took_until(now, MS, Duration::ZERO);
        assert!(!heat.is_cool(now + 299 * MS) && heat.is_cool(now + 300 * MS));
    }

    #[test]
    fn what_a_call_takes_is_counted_once_however_often_it_is_told() {
        let now = Instant::now();
        let heat = Heat::new(now);
        heat.took_until(now, MS / 2, Duration::ZERO);
        heat.took_until(now, MS / 2, MS / 2);
        heat.took_until(now, MS, MS);
        assert!(!heat.is_cool(now + 199 * MS) && heat.is_cool(now + 200 * MS));
    }

    #[test]
    fn short_calls_save_up_for_long_ones_and_no_more_than_a_few() {
        let began = Instant::now();
        let heat = Heat::new(began);
        let now = began + 10 * SAVED;
        (0..5).for_each(|_| heat.took_until(now, MS, Duration::ZERO));
        assert!(heat.is_cool(now));
        heat.took_until(now, MS, Duration::ZERO);
        assert!(!heat.is_cool(now + 99 * MS) && heat.is_cool(now + 100 * MS));
        // Half of the time, half of it.
        let now = now + 100 * MS + SAVED / 2;
        heat.took_until(now, 2 * MS, Duration::ZERO);
        assert!(heat.is_cool(now));
        heat.took_until(now, MS, Duration::ZERO);
        assert!(!heat.is_cool(now));
    }

    #[test]
    fn a_very_long_call_keeps_the_next_ones_out_for_a_bounded_time() {
        let now = Instant::now();
        let heat = Heat::new(now);
        heat.took_until(now, 3600 * 1000 * MS, Duration::ZERO);
        assert!(!heat.is_cool(now + MAX_COOLING / 2) && heat.is_cool(now + MAX_COOLING));
    }
}
