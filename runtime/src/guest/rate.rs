//! How often a module, or all those of a tenant, may be called: so many calls in a second, and a second's worth at once.
//!
//! Invariants: on the average of any long time no more calls are let in than the rate says; a call that is refused costs
//! nothing. It has no clock: the caller says when it is. It has no lock either, since every call comes by: what it knows
//! is one time, that when the calls so far are paid for.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// How often it may be.
#[derive(Debug)]
pub(super) struct CallRate {
    /// What one call costs, in nanoseconds.
    cost: u64,
    /// The beginning of its time.
    start: Instant,
    /// When all calls so far are paid for, in nanoseconds since then.
    paid: AtomicU64,
}

impl CallRate {
    /// So many calls in a second, none of which have come yet.
    pub fn new(calls_per_second: u32, now: Instant) -> Self {
        Self { cost: NANOS_PER_SECOND / u64::from(calls_per_second.max(1)), start: now, paid: AtomicU64::new(0) }
    }

    /// Lets a call in.
    ///
    /// # Errors
    /// In how much time the next one may come.
    pub fn take(&self, now: Instant) -> Result<(), Duration> {
        let now = u64::try_from(now.saturating_duration_since(self.start).as_nanos()).unwrap_or(u64::MAX);
        let latest = now.saturating_add(NANOS_PER_SECOND);
        let pay = |paid: u64| paid.max(now).checked_add(self.cost).filter(|paid| *paid <= latest);
        match self.paid.fetch_update(Ordering::Relaxed, Ordering::Relaxed, pay) {
            Ok(_) => Ok(()),
            Err(paid) => Err(Duration::from_nanos(paid.saturating_add(self.cost).saturating_sub(latest))),
        }
    }

    /// A call that was let in was refused for another reason, and costs nothing.
    pub fn give_back(&self) {
        self.paid.fetch_sub(self.cost, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_of_calls_comes_at_once_and_then_the_rate_holds() {
        let start = Instant::now();
        let rate = CallRate::new(10, start);
        for _ in 0..10 {
            assert_eq!(rate.take(start), Ok(()));
        }
        let again = Duration::from_millis(100);
        assert_eq!(rate.take(start), Err(again));
        assert_eq!(rate.take(start + again / 4), Err(again * 3 / 4));
        assert_eq!(rate.take(start + again), Ok(()));
        assert_eq!(rate.take(start + again), Err(again));
    }

    #[test]
    fn a_call_that_is_given_back_costs_nothing() {
        let start = Instant::now();
        let rate = CallRate::new(1, start);
        for _ in 0..3 {
            assert_eq!(rate.take(start), Ok(()));
            assert!(rate.take(start).is_err());
            rate.give_back();
        }
    }

    #[test]
    fn a_long_rest_saves_up_one_second_and_no_more() {
        let start = Instant::now();
        let rate = CallRate::new(3, start);
        let later = start + Duration::from_secs(3600);
        let let_in = (0..10).filter(|_| rate.take(later).is_ok()).count();
        assert_eq!(let_in, 3);
    }
}
