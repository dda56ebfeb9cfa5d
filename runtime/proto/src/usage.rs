//! What a process has done and used, as counters since it was put on the mesh.
//!
//! ```text
//!   module ── counts ──▶ its node ── Usage, once a second at most, after a change ──▶ controller ── to who lists it ──▶ top, ps
//! ```
//!
//! A process counts for itself, and its node passes that on: whoever reads it believes the node, as with loads. What a
//! node says is checked for its form and its size alone ([`Usage::open`]).
//! Invariant: every call that a process was asked for and that is over is in it once, as served or by how it failed.

mod latencies;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{Outcome, code};

pub use latencies::{BUCKETS, Latencies, bucket_of, upper_bound};

/// How often it is told to the controller at most, and so how old it is at most when listed.
pub const USAGE_EVERY: Duration = Duration::from_secs(1);

/// Most bytes of an encoded [`Usage`].
pub const MAX_USAGE_BYTES: usize = 4 * 1024;

/// Most kinds of failures in one: each outcome with each code that there is, and as many again for those of a later version.
pub const MAX_FAILURES: usize = 6 * (code::ALL.len() + 1);

/// Longest code in one, in bytes.
const MAX_CODE_BYTES: usize = 32;

/// The counters of a process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// How long it has been counting: what of two looks gives rates.
    pub age: Duration,
    /// How long the calls took that it served, from when they arrived until they were over, the wait included.
    pub latencies: Latencies,
    /// The same, all together.
    pub served_time: Duration,
    /// The calls that failed, or did not run.
    pub failures: Vec<Failures>,
    /// How long its guests had a thread.
    pub cpu_time: Duration,
    /// Bytes of arguments that it was given, those of calls that failed too.
    pub argument_bytes: u64,
    /// Bytes of results that it gave.
    pub result_bytes: u64,
    /// Bytes of items of streams that its guests read.
    pub stream_bytes_in: u64,
    /// Bytes of items of streams that its guests wrote.
    pub stream_bytes_out: u64,
    /// Linear memory of all its instances, now.
    pub memory_bytes: u64,
    /// The most that this was.
    pub memory_most_bytes: u64,
    /// How long calls waited before their guest was entered, all together: in the queue, or until an instance was made.
    pub queue_time: Duration,
    /// The longest of these waits.
    pub queue_longest: Duration,
}

/// How many calls failed in one way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failures {
    /// Whether the callback ran.
    pub outcome: Outcome,
    /// The kind, one of [`code`]'s, or [`code::OTHER`].
    pub code: String,
    /// How many.
    pub calls: u64,
}

/// What a node says of a process is no usage.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UsageError {
    /// It is too long.
    #[error("the usage of a process has {0} bytes, {MAX_USAGE_BYTES} are taken")]
    TooLong(usize),
    /// It cannot be decoded.
    #[error("the usage of a process cannot be decoded: {0}")]
    Garbled(String),
    /// It has kinds of failures that cannot be.
    #[error("the usage of a process has failures that cannot be")]
    Failures,
    /// It has latencies that cannot be.
    #[error("the usage of a process has latencies that cannot be")]
    Latencies,
}

impl Usage {
    /// Reads what a node said.
    ///
    /// # Errors
    /// [`UsageError`]
    pub fn open(bytes: &[u8]) -> Result<Self, UsageError> {
        if bytes.len() > MAX_USAGE_BYTES {
            return Err(UsageError::TooLong(bytes.len()));
        }
        let usage: Self = postcard::from_bytes(bytes).map_err(|error| UsageError::Garbled(error.to_string()))?;
        let is_code = |code: &str| {
            let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            !code.is_empty() && code.len() <= MAX_CODE_BYTES && code.chars().all(fits)
        };
        if usage.failures.len() > MAX_FAILURES || !usage.failures.iter().all(|failures| is_code(&failures.code)) {
            return Err(UsageError::Failures);
        }
        if !usage.latencies.is_sound() {
            return Err(UsageError::Latencies);
        }
        Ok(usage)
    }

    /// The bytes that [`Usage::open`] reads.
    pub fn encode(&self) -> Vec<u8> {
        // Writing to memory fails only for types that postcard cannot carry.
        postcard::to_stdvec(self).unwrap_or_default()
    }

    /// Calls that it served.
    pub fn served(&self) -> u64 {
        self.latencies.count()
    }

    /// Calls that failed, or did not run.
    pub fn failed(&self) -> u64 {
        self.failures.iter().fold(0, |sum, failures| sum.saturating_add(failures.calls))
    }

    /// What was counted since an earlier look at the same process; memory and the longest wait are as they are now. One
    /// that counts less than before has begun anew meanwhile: all of it is new.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let Some(latencies) = self.latencies.since(&earlier.latencies) else { return self.clone() };
        let failures = self.failures.iter().map(|now| {
            let before = earlier.failures.iter().find(|before| before.is_as(now)).map_or(0, |before| before.calls);
            Failures { calls: now.calls.saturating_sub(before), ..now.clone() }
        });
        Self {
            age: self.age.saturating_sub(earlier.age),
            latencies,
            served_time: self.served_time.saturating_sub(earlier.served_time),
            failures: failures.filter(|failures| failures.calls > 0).collect(),
            cpu_time: self.cpu_time.saturating_sub(earlier.cpu_time),
            argument_bytes: self.argument_bytes.saturating_sub(earlier.argument_bytes),
            result_bytes: self.result_bytes.saturating_sub(earlier.result_bytes),
            stream_bytes_in: self.stream_bytes_in.saturating_sub(earlier.stream_bytes_in),
            stream_bytes_out: self.stream_bytes_out.saturating_sub(earlier.stream_bytes_out),
            queue_time: self.queue_time.saturating_sub(earlier.queue_time),
            ..*self
        }
    }

    /// Adds what another process used: for the totals of a tenant.
    pub fn add(&mut self, other: &Self) {
        self.age = self.age.max(other.age);
        self.latencies.add(&other.latencies);
        for failures in &other.failures {
            match self.failures.iter_mut().find(|known| known.is_as(failures)) {
                Some(known) => known.calls = known.calls.saturating_add(failures.calls),
                None => self.failures.push(failures.clone()),
            }
        }
        let times = [
            (&mut self.served_time, other.served_time),
            (&mut self.cpu_time, other.cpu_time),
            (&mut self.queue_time, other.queue_time),
        ];
        for (sum, more) in times {
            *sum = sum.saturating_add(more);
        }
        let numbers = [
            (&mut self.argument_bytes, other.argument_bytes),
            (&mut self.result_bytes, other.result_bytes),
            (&mut self.stream_bytes_in, other.stream_bytes_in),
            (&mut self.stream_bytes_out, other.stream_bytes_out),
            (&mut self.memory_bytes, other.memory_bytes),
            (&mut self.memory_most_bytes, other.memory_most_bytes),
        ];
        for (sum, more) in numbers {
            *sum = sum.saturating_add(more);
        }
        self.queue_longest = self.queue_longest.max(other.queue_longest);
    }
}

impl Failures {
    fn is_as(&self, other: &Self) -> bool {
        self.outcome == other.outcome && self.code == other.code
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failures(code: &str, calls: u64) -> Failures {
        Failures { outcome: Outcome::Failed, code: code.to_owned(), calls }
    }

    fn usage(served: u64, trapped: u64) -> Usage {
        let mut counts = [0; BUCKETS];
        counts[7] = served;
        Usage {
            latencies: Latencies::of(counts),
            failures: vec![failures(code::TRAP, trapped)],
            cpu_time: Duration::from_micros(served),
            memory_bytes: served,
            queue_longest: Duration::from_millis(served),
            ..Usage::default()
        }
    }

    #[test]
    fn what_is_encoded_comes_back_and_what_cannot_be_is_refused() {
        let good = usage(3, 2);
        assert_eq!(Usage::open(&good.encode()), Ok(good.clone()));
        for bad in ["", "Trap", "a b", "x\u{1b}[2J", "a-code-that-is-longer-than-any-code"] {
            let bad = Usage { failures: vec![failures(bad, 1)], ..good.clone() };
            assert_eq!(Usage::open(&bad.encode()), Err(UsageError::Failures));
        }
        let many = Usage { failures: vec![failures(code::TRAP, 1); MAX_FAILURES + 1], ..good.clone() };
        assert_eq!(Usage::open(&many.encode()), Err(UsageError::Failures));
        assert_eq!(Usage::open(&vec![0; MAX_USAGE_BYTES + 1]), Err(UsageError::TooLong(MAX_USAGE_BYTES + 1)));
        assert!(matches!(Usage::open(&[0xff; 40]), Err(UsageError::Garbled(_))));
    }

    #[test]
    fn the_fullest_usage_that_a_process_can_tell_of_is_taken() {
        let kinds = [Outcome::NotRun, Outcome::Failed, Outcome::Unknown].into_iter();
        let kinds =
            kinds.flat_map(|outcome| code::ALL.into_iter().chain([code::OTHER]).map(move |code| (outcome, code)));
        let full = Usage {
            age: Duration::MAX,
            latencies: Latencies::of([u64::MAX; BUCKETS]),
            served_time: Duration::MAX,
            failures: kinds
                .map(|(outcome, code)| Failures { outcome, code: code.to_owned(), calls: u64::MAX })
                .collect(),
            cpu_time: Duration::MAX,
            argument_bytes: u64::MAX,
            result_bytes: u64::MAX,
            stream_bytes_in: u64::MAX,
            stream_bytes_out: u64::MAX,
            memory_bytes: u64::MAX,
            memory_most_bytes: u64::MAX,
            queue_time: Duration::MAX,
            queue_longest: Duration::MAX,
        };
        assert_eq!(Usage::open(&full.encode()), Ok(full));
    }

    #[test]
    fn what_was_counted_since_is_the_difference_and_of_one_that_began_anew_all() {
        let since = usage(10, 5).since(&usage(4, 5));
        assert_eq!((since.served(), since.failed()), (6, 0));
        assert_eq!((since.cpu_time, since.memory_bytes), (Duration::from_micros(6), 10));
        assert_eq!(usage(2, 1).since(&usage(10, 5)), usage(2, 1));
    }

    #[test]
    fn totals_are_sums_and_the_longest_wait_is_the_longest() {
        let mut total = usage(10, 5);
        total.add(&usage(4, 5));
        assert_eq!((total.served(), total.failed(), total.failures.len()), (14, 10, 1));
        assert_eq!((total.memory_bytes, total.queue_longest), (14, Duration::from_millis(10)));
        total.add(&Usage { latencies: Latencies::of([u64::MAX; BUCKETS]), cpu_time: Duration::MAX, ..usage(1, 1) });
        assert_eq!((total.served(), total.cpu_time), (u64::MAX, Duration::MAX));
    }
}
