//! What a module has done and used, as counters for `ps`, `top` and the metrics endpoint.
//!
//! Invariants: each call that the module was asked for is counted once, as served or by its error, when it is over or its
//! caller need not wait any more, whichever comes first; counting waits for nothing, locks nothing and looks at no clock: whoever counts
//! a time has measured it for another reason; a change rings the housekeeper once, until it has told of it.
//! Counters of one look need not be of the same moment.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use daffi_proto::call::ServeResult;
use daffi_proto::error::{CallError, Outcome, code};
use daffi_proto::usage::{BUCKETS, Failures, Latencies, Usage, bucket_of};

use super::bell::Bell;

/// The kinds of errors that are told apart, and one for all others.
const KINDS: usize = code::ALL.len() + 1;

/// Whether a callback ran, in the order of the counters.
const OUTCOMES: [Outcome; 3] = [Outcome::NotRun, Outcome::Failed, Outcome::Unknown];

/// A shorter time before a guest is entered is no wait: it is what entering it takes.
const SHORTEST_WAIT: Duration = Duration::from_micros(1);

/// The counters of a module.
#[derive(Debug)]
pub(super) struct Meter {
    began: Instant,
    latencies: [AtomicU64; BUCKETS],
    served_ns: AtomicU64,
    failures: [[AtomicU64; KINDS]; OUTCOMES.len()],
    cpu_ns: AtomicU64,
    argument_bytes: AtomicU64,
    result_bytes: AtomicU64,
    stream_bytes_in: AtomicU64,
    stream_bytes_out: AtomicU64,
    memory_bytes: AtomicU64,
    memory_most_bytes: AtomicU64,
    queue_ns: AtomicU64,
    queue_longest_ns: AtomicU64,
    bell: Arc<Bell>,
}

impl Meter {
    /// Nothing yet; changes ring the bell.
    pub fn new(bell: Arc<Bell>) -> Self {
        let zero = AtomicU64::default;
        Self {
            began: Instant::now(),
            latencies: std::array::from_fn(|_| zero()),
            served_ns: zero(),
            failures: std::array::from_fn(|_| std::array::from_fn(|_| zero())),
            cpu_ns: zero(),
            argument_bytes: zero(),
            result_bytes: zero(),
            stream_bytes_in: zero(),
            stream_bytes_out: zero(),
            memory_bytes: zero(),
            memory_most_bytes: zero(),
            queue_ns: zero(),
            queue_longest_ns: zero(),
            bell,
        }
    }

    /// A call came, with so many bytes of arguments.
    pub fn asked(&self, argument_bytes: usize) {
        add(&self.argument_bytes, argument_bytes as u64);
    }

    /// The guest is about to be entered for a call that came so long ago.
    pub fn waited(&self, time: Duration) {
        if time >= SHORTEST_WAIT {
            let ns = nanoseconds(time);
            add(&self.queue_ns, ns);
            self.queue_longest_ns.fetch_max(ns, Ordering::Relaxed);
        }
    }

    /// A call is over, which came so long ago.
    pub fn ended(&self, took: Duration, result: &ServeResult) {
        match result {
            Ok(result) => {
                if let Some(calls) = self.latencies.get(bucket_of(took)) {
                    add(calls, 1);
                }
                add(&self.served_ns, nanoseconds(took));
                add(&self.result_bytes, result.len() as u64);
                self.bell.usage_changed();
            }
            Err(error) => self.failed(error),
        }
    }

    /// A call failed, or did not run, or its caller is told why he waits no longer.
    pub fn failed(&self, error: &CallError) {
        let outcome = match error.outcome {
            Outcome::NotRun => 0,
            Outcome::Failed => 1,
            Outcome::Unknown => 2,
        };
        let kind = code::ALL.iter().position(|code| *code == error.code).unwrap_or(KINDS - 1);
        if let Some(calls) = self.failures.get(outcome).and_then(|kinds| kinds.get(kind)) {
            add(calls, 1);
        }
        self.bell.usage_changed();
    }

    /// Guests had a thread for so long.
    pub fn computed(&self, time: Duration) {
        add(&self.cpu_ns, nanoseconds(time));
        self.bell.usage_changed();
    }

    /// Guests read so many bytes of streams.
    pub fn streamed_in(&self, bytes: usize) {
        add(&self.stream_bytes_in, bytes as u64);
        self.bell.usage_changed();
    }

    /// Guests wrote so many bytes of streams.
    pub fn streamed_out(&self, bytes: usize) {
        add(&self.stream_bytes_out, bytes as u64);
        self.bell.usage_changed();
    }

    /// An instance has so much more memory.
    pub fn memory_taken(&self, bytes: usize) {
        let now = self.memory_bytes.fetch_add(bytes as u64, Ordering::Relaxed).saturating_add(bytes as u64);
        self.memory_most_bytes.fetch_max(now, Ordering::Relaxed);
        self.bell.usage_changed();
    }

    /// An instance has so much less memory.
    pub fn memory_given(&self, bytes: usize) {
        self.memory_bytes.fetch_sub(bytes as u64, Ordering::Relaxed);
        self.bell.usage_changed();
    }

    /// All counters, as they are.
    pub fn usage(&self) -> Usage {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let time = |counter: &AtomicU64| Duration::from_nanos(read(counter));
        let codes = || code::ALL.into_iter().chain([code::OTHER]);
        let failures = OUTCOMES.into_iter().zip(&self.failures).flat_map(|(outcome, kinds)| {
            codes().zip(kinds).map(move |(code, calls)| Failures { outcome, code: code.to_owned(), calls: read(calls) })
        });
        Usage {
            age: self.began.elapsed(),
            latencies: Latencies::of(std::array::from_fn(|bucket| self.latencies.get(bucket).map_or(0, read))),
            served_time: time(&self.served_ns),
            failures: failures.filter(|failures| failures.calls > 0).collect(),
            cpu_time: time(&self.cpu_ns),
            argument_bytes: read(&self.argument_bytes),
            result_bytes: read(&self.result_bytes),
            stream_bytes_in: read(&self.stream_bytes_in),
            stream_bytes_out: read(&self.stream_bytes_out),
            memory_bytes: read(&self.memory_bytes),
            memory_most_bytes: read(&self.memory_most_bytes),
            queue_time: time(&self.queue_ns),
            queue_longest: time(&self.queue_longest_ns),
        }
    }
}

impl Default for Meter {
    fn default() -> Self {
        Self::new(Arc::default())
    }
}

fn add(counter: &AtomicU64, more: u64) {
    counter.fetch_add(more, Ordering::Relaxed);
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn meter() -> (Meter, Arc<Bell>) {
        let bell = Arc::new(Bell::default());
        (Meter::new(bell.clone()), bell)
    }

    #[test]
    fn calls_are_counted_by_what_they_come_to() {
        let (meter, bell) = meter();
        let ms = Duration::from_millis;
        meter.asked(10);
        meter.ended(ms(3), &Ok(Bytes::from_static(b"four")));
        meter.ended(ms(3), &Err(CallError::failed(code::TRAP, "", "")));
        meter.failed(&CallError::not_run(code::OVERLOADED, "", ""));
        meter.failed(&CallError::not_run("of-a-later-version", "", ""));
        meter.failed(&CallError::unknown(code::TRAP, "", ""));
        let usage = meter.usage();
        assert_eq!((usage.served(), usage.failed(), usage.served_time), (1, 4, ms(3)));
        assert_eq!((usage.argument_bytes, usage.result_bytes), (10, 4));
        let kinds: Vec<_> = usage.failures.iter().map(|failures| (failures.outcome, failures.code.as_str())).collect();
        assert_eq!(
            kinds,
            [
                (Outcome::NotRun, code::OVERLOADED),
                (Outcome::NotRun, code::OTHER),
                (Outcome::Failed, code::TRAP),
                (Outcome::Unknown, code::TRAP)
            ]
        );
        assert!(bell.take_usage() && !bell.has_usage() && !bell.has_load());
        assert_eq!(Usage::open(&usage.encode()), Ok(usage));
    }

    #[test]
    fn memory_is_what_there_is_now_and_the_most_that_there_was() {
        let (meter, _) = meter();
        meter.memory_taken(60);
        meter.memory_taken(40);
        meter.memory_given(60);
        let usage = meter.usage();
        assert_eq!((usage.memory_bytes, usage.memory_most_bytes), (40, 100));
    }

    #[test]
    fn waits_are_added_and_the_longest_is_kept() {
        let (meter, _) = meter();
        for micros in [5, 20, 10] {
            meter.waited(Duration::from_micros(micros));
        }
        meter.waited(Duration::from_nanos(999));
        let usage = meter.usage();
        assert_eq!((usage.queue_time, usage.queue_longest), (Duration::from_micros(35), Duration::from_micros(20)));
    }
}
