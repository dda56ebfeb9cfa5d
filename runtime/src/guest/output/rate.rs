//! How fast guests may print, those of a module or of a whole tenant: a bucket that fills by the second.
//!
//! Invariants: on the average of any long time no more passes than the rate; a second's worth may pass at once. What
//! was allowed may overdraw the bucket; it opens again when that is paid back. It has no clock: the caller says when
//! it is.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

const NANOS_PER_SECOND: u128 = 1_000_000_000;

/// A rate that several share.
#[derive(Debug)]
pub(in crate::guest) struct Rate(Mutex<Bucket>);

impl Rate {
    /// Nothing was printed yet.
    pub fn new(bytes_per_second: u64, now: Instant) -> Self {
        Self(Mutex::new(Bucket::new(bytes_per_second, now)))
    }

    /// When something may pass; none where that is now.
    pub fn opens(&self, now: Instant) -> Option<Instant> {
        self.bucket().opens(now)
    }

    /// This much passes.
    pub fn take(&self, bytes: usize, now: Instant) {
        self.bucket().take(bytes, now);
    }

    fn bucket(&self) -> MutexGuard<'_, Bucket> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
struct Bucket {
    bytes_per_second: i64,
    /// What may pass; less than nothing where it is overdrawn.
    left_bytes: i64,
    /// When that was so.
    at: Instant,
}

impl Bucket {
    /// A full one.
    fn new(bytes_per_second: u64, now: Instant) -> Self {
        let bytes_per_second = i64::try_from(bytes_per_second).unwrap_or(i64::MAX).max(1);
        Self { bytes_per_second, left_bytes: bytes_per_second, at: now }
    }

    fn opens(&mut self, now: Instant) -> Option<Instant> {
        self.fill(now);
        if self.left_bytes > 0 {
            return None;
        }
        let missing = 1u128 + u128::from(self.left_bytes.unsigned_abs());
        let nanos = (missing * NANOS_PER_SECOND).div_ceil(self.per_second());
        Some(now + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)))
    }

    fn take(&mut self, bytes: usize, now: Instant) {
        self.fill(now);
        self.left_bytes = self.left_bytes.saturating_sub(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    fn fill(&mut self, now: Instant) {
        let nanos = now.saturating_duration_since(self.at).as_nanos();
        let gained = nanos.saturating_mul(self.per_second()) / NANOS_PER_SECOND;
        // Less than a byte is left to gather.
        if gained == 0 {
            return;
        }
        let gained = i64::try_from(gained).unwrap_or(i64::MAX);
        self.left_bytes = self.left_bytes.saturating_add(gained).min(self.bytes_per_second);
        self.at = now;
    }

    fn per_second(&self) -> u128 {
        u128::from(self.bytes_per_second.unsigned_abs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_of_output_passes_at_once_and_then_the_rate_holds() {
        let start = Instant::now();
        let mut bucket = Bucket::new(1000, start);
        bucket.take(999, start);
        assert_eq!(bucket.opens(start), None);
        bucket.take(501, start);
        let opens = bucket.opens(start).unwrap();
        assert_eq!(opens - start, Duration::from_millis(501));
        assert!(bucket.opens(start + Duration::from_millis(500)).is_some());
        assert_eq!(bucket.opens(opens), None);
    }

    #[test]
    fn a_long_rest_saves_up_one_second_and_no_more() {
        let start = Instant::now();
        let mut bucket = Bucket::new(1000, start);
        let later = start + Duration::from_secs(3600);
        assert_eq!(bucket.opens(later), None);
        bucket.take(1000, later);
        assert!(bucket.opens(later).is_some());
    }

    #[test]
    fn a_slow_rate_gathers_parts_of_a_byte() {
        let start = Instant::now();
        let mut bucket = Bucket::new(1, start);
        bucket.take(1, start);
        for step in 1..10 {
            assert!(bucket.opens(start + Duration::from_millis(100 * step)).is_some());
        }
        assert_eq!(bucket.opens(start + Duration::from_secs(1)), None);
    }
}
