//! How long calls took, as a histogram of fixed buckets: four a power of two of nanoseconds, from 1 µs to 69 s.
//!
//! So what is read from it (a median, a 99th percentile) is at most a quarter too much, and never too little; and counts of
//! any two looks, or of any two processes, go together.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How many buckets there are.
pub const BUCKETS: usize = 106;

/// Below this power of two of nanoseconds, 1.024 µs, is the first bucket.
const FIRST_POWER: u32 = 10;

/// From this one on, 68.7 s, is the last.
const LAST_POWER: u32 = 36;

/// The bucket of a time.
pub fn bucket_of(time: Duration) -> usize {
    let ns = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    let Some(power) = ns.checked_ilog2().filter(|power| *power >= FIRST_POWER) else { return 0 };
    if power >= LAST_POWER {
        return BUCKETS - 1;
    }
    let quarter = usize::try_from(ns >> (power - 2) & 3).unwrap_or_default();
    1 + (power - FIRST_POWER) as usize * 4 + quarter
}

/// The time that all times of a bucket are below; none of the last one.
pub fn upper_bound(bucket: usize) -> Option<Duration> {
    let Some(place) = bucket.checked_sub(1) else { return Some(Duration::from_nanos(1 << FIRST_POWER)) };
    if bucket >= BUCKETS - 1 {
        return None;
    }
    let power = FIRST_POWER + u32::try_from(place / 4).unwrap_or_default();
    let quarters = 5 + u64::try_from(place % 4).unwrap_or_default();
    Some(Duration::from_nanos(quarters << (power - 2)))
}

/// How many calls are in each bucket: those that have any, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latencies(Vec<(u8, u64)>);

impl Latencies {
    /// Of the counts of all buckets.
    pub fn of(counts: [u64; BUCKETS]) -> Self {
        let filled = counts.into_iter().enumerate().filter(|(_, calls)| *calls > 0);
        Self(filled.map(|(bucket, calls)| (u8::try_from(bucket).unwrap_or(u8::MAX), calls)).collect())
    }

    /// Whether it can be: each bucket exists and is there once, with calls in it.
    pub(super) fn is_sound(&self) -> bool {
        let exist = self.0.iter().all(|(bucket, calls)| usize::from(*bucket) < BUCKETS && *calls > 0);
        exist && self.0.is_sorted_by(|one, next| one.0 < next.0)
    }

    /// How many calls there are.
    pub fn count(&self) -> u64 {
        self.0.iter().fold(0, |sum, (_, calls)| sum.saturating_add(*calls))
    }

    /// The buckets that have calls, in order, and how many.
    pub fn buckets(&self) -> impl Iterator<Item = (usize, u64)> {
        self.0.iter().map(|(bucket, calls)| (usize::from(*bucket), *calls))
    }

    /// The time within which this part of the calls was over, as the upper bound of its bucket; of the last one its lower
    /// bound. None where there are no calls.
    pub fn quantile(&self, part: f64) -> Option<Duration> {
        let all = self.count();
        // Counts are far below 2^53.
        let wanted = (all as f64 * part).ceil().max(1.0);
        let mut seen = 0_u64;
        for (bucket, calls) in self.buckets() {
            seen = seen.saturating_add(calls);
            if seen as f64 >= wanted {
                return upper_bound(bucket).or_else(|| upper_bound(BUCKETS - 2));
            }
        }
        None
    }

    /// What came since; none where there are fewer now.
    pub(super) fn since(&self, earlier: &Self) -> Option<Self> {
        let mut counts = [0; BUCKETS];
        for (bucket, calls) in self.buckets() {
            if let Some(count) = counts.get_mut(bucket) {
                *count = calls;
            }
        }
        for (bucket, calls) in earlier.buckets() {
            if let Some(count) = counts.get_mut(bucket) {
                *count = count.checked_sub(calls)?;
            }
        }
        Some(Self::of(counts))
    }

    pub(super) fn add(&mut self, other: &Self) {
        let mut counts = [0_u64; BUCKETS];
        for (bucket, calls) in self.buckets().chain(other.buckets()) {
            if let Some(count) = counts.get_mut(bucket) {
                *count = count.saturating_add(calls);
            }
        }
        *self = Self::of(counts);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_buckets_follow_on_one_another_without_a_gap() {
        for bucket in 0..BUCKETS - 1 {
            let bound = upper_bound(bucket).unwrap();
            assert_eq!(bucket_of(bound), bucket + 1, "{bound:?}");
            assert_eq!(bucket_of(bound - Duration::from_nanos(1)), bucket, "{bound:?}");
        }
        assert_eq!((bucket_of(Duration::ZERO), bucket_of(Duration::MAX)), (0, BUCKETS - 1));
        assert_eq!(upper_bound(BUCKETS - 1), None);
        assert_eq!(upper_bound(0), Some(Duration::from_nanos(1024)));
        assert!(upper_bound(BUCKETS - 2).unwrap() > Duration::from_secs(60));
    }

    #[test]
    fn a_quantile_is_at_most_a_quarter_too_much() {
        let mut counts = [0; BUCKETS];
        for micros in 1..=1000_u64 {
            counts[bucket_of(Duration::from_micros(micros))] += 1;
        }
        let latencies = Latencies::of(counts);
        for (part, micros) in [(0.5, 500), (0.99, 990), (1.0, 1000), (0.0, 1)] {
            let (told, true_one) = (latencies.quantile(part).unwrap(), Duration::from_micros(micros));
            assert!(told >= true_one && told <= true_one.mul_f64(1.26), "{part}: {told:?}");
        }
        assert_eq!(Latencies::default().quantile(0.5), None);
    }

    #[test]
    fn one_that_cannot_be_is_seen() {
        let good = Latencies(vec![(3, 1), (7, 2)]);
        assert!(good.is_sound() && Latencies::default().is_sound());
        for bad in [vec![(3, 1), (3, 2)], vec![(7, 2), (3, 1)], vec![(106, 1)], vec![(3, 0)]] {
            assert!(!Latencies(bad).is_sound());
        }
    }
}
