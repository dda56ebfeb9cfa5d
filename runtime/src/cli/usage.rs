//! What processes have used, in words for tables and in JSON: the same for `ps` and `top`.

use std::time::Duration;

use daffi_proto::usage::{Usage, upper_bound};
use serde::Serialize;

use super::client::outcome;

/// Usage in JSON. Times are in seconds.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct UsageJson<'a> {
    calls_served: u64,
    calls_failed: u64,
    failures: Vec<FailuresJson<'a>>,
    served_seconds: f64,
    p50_seconds: Option<f64>,
    p99_seconds: Option<f64>,
    latencies: Vec<BucketJson>,
    queue_seconds: f64,
    queue_longest_seconds: f64,
    cpu_seconds: f64,
    memory_bytes: u64,
    memory_most_bytes: u64,
    argument_bytes: u64,
    result_bytes: u64,
    stream_bytes_in: u64,
    stream_bytes_out: u64,
}

/// Calls that failed in one way.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct FailuresJson<'a> {
    outcome: &'static str,
    code: &'a str,
    calls: u64,
}

/// Calls that took less than this, and not less than the bucket before says; the last one has no end.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct BucketJson {
    below_seconds: Option<f64>,
    calls: u64,
}

impl<'a> From<&'a Usage> for UsageJson<'a> {
    fn from(usage: &'a Usage) -> Self {
        let quantile = |part| usage.latencies.quantile(part).map(|time: Duration| time.as_secs_f64());
        let failures = usage.failures.iter().map(|failures| FailuresJson {
            outcome: outcome(failures.outcome),
            code: &failures.code,
            calls: failures.calls,
        });
        let buckets = usage.latencies.buckets();
        let buckets = buckets.map(|(bucket, calls)| BucketJson {
            below_seconds: upper_bound(bucket).map(|bound| bound.as_secs_f64()),
            calls,
        });
        Self {
            calls_served: usage.served(),
            calls_failed: usage.failed(),
            failures: failures.collect(),
            served_seconds: usage.served_time.as_secs_f64(),
            p50_seconds: quantile(0.5),
            p99_seconds: quantile(0.99),
            latencies: buckets.collect(),
            queue_seconds: usage.queue_time.as_secs_f64(),
            queue_longest_seconds: usage.queue_longest.as_secs_f64(),
            cpu_seconds: usage.cpu_time.as_secs_f64(),
            memory_bytes: usage.memory_bytes,
            memory_most_bytes: usage.memory_most_bytes,
            argument_bytes: usage.argument_bytes,
            result_bytes: usage.result_bytes,
            stream_bytes_in: usage.stream_bytes_in,
            stream_bytes_out: usage.stream_bytes_out,
        }
    }
}

/// A time in three digits or so: `1.25µs`, `340ms`, `12.5s`, `3h 20m`.
pub fn short_time(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    if time >= Duration::from_secs(3600) {
        return format!("{}h {}m", time.as_secs() / 3600, time.as_secs() / 60 % 60);
    }
    if time >= Duration::from_secs(600) {
        return format!("{}m {}s", time.as_secs() / 60, time.as_secs() % 60);
    }
    if time.is_zero() {
        return "0".to_owned();
    }
    let units = [("s", 1.0), ("ms", 1e3), ("µs", 1e6), ("ns", 1e9)];
    // A value that would be shown as 1000 is one of the next unit.
    let unit = units.into_iter().find(|(_, factor)| seconds * factor >= 0.9995).unwrap_or(("ns", 1e9));
    format!("{}{}", digits(seconds * unit.1), unit.0)
}

/// A number of bytes in three digits or so: `512B`, `1.5MiB`.
pub fn short_bytes(bytes: u64) -> String {
    let units = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
    match units.into_iter().find(|(_, shift)| bytes >> shift > 0) {
        Some((unit, shift)) => format!("{}{unit}", digits(bytes as f64 / f64::from(1_u32 << shift))),
        None => format!("{bytes}B"),
    }
}

/// A number that is shown with three digits; larger ones whole.
pub fn digits(number: f64) -> String {
    let places = match number {
        n if n < 9.995 => 2,
        n if n < 99.95 => 1,
        _ => 0,
    };
    let text = format!("{number:.places$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_are_shown_in_three_digits() {
        let us = |micros: f64| short_time(Duration::from_secs_f64(micros / 1e6));
        let shown = [us(0.0), us(0.3), us(1.25), us(12.34), us(999.7), us(340_000.0), us(12_500_000.0), us(1.2e10)];
        assert_eq!(shown, ["0", "300ns", "1.25µs", "12.3µs", "1ms", "340ms", "12.5s", "3h 20m"]);
        assert_eq!(short_time(Duration::from_secs(754)), "12m 34s");
        let shown = [0, 512, 1536, 64 << 20, 5 << 40].map(short_bytes);
        assert_eq!(shown, ["0B", "512B", "1.5KiB", "64MiB", "5120GiB"]);
    }
}
