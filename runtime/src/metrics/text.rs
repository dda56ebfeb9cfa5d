//! Usage in the text of OpenMetrics, which Prometheus reads too.
//!
//! Families are in the order in which they are written here, and all samples of one together, as the format wants it.

use std::fmt::{Display, Write as _};

use daffi_proto::error::Outcome;
use daffi_proto::id::ProcessRef;
use daffi_proto::usage::{BUCKETS, Usage, upper_bound};

/// Every so many buckets there is one in the text: those that end at a power of two.
const BUCKETS_TOLD: usize = 4;

/// A process and what it has done and used.
#[derive(Clone, Debug)]
pub struct Measured {
    /// Which.
    pub process: ProcessRef,
    /// Its counters.
    pub usage: Usage,
}

/// Reads one number of a usage.
type Read = fn(&Usage) -> f64;

/// A family with one sample a process: its name, its kind, its unit, what it is, and how it is read.
const FAMILIES: [(&str, &str, &str, &str, Read); 10] = [
    ("daffi_guest_cpu_seconds", "counter", "seconds", "How long guests had a thread.", |usage| {
        usage.cpu_time.as_secs_f64()
    }),
    ("daffi_queue_seconds", "counter", "seconds", "How long calls waited before their guest was entered.", |usage| {
        usage.queue_time.as_secs_f64()
    }),
    ("daffi_queue_longest_seconds", "gauge", "seconds", "The longest of these waits.", |usage| {
        usage.queue_longest.as_secs_f64()
    }),
    ("daffi_memory_bytes", "gauge", "bytes", "Linear memory of all instances.", |usage| usage.memory_bytes as f64),
    ("daffi_memory_most_bytes", "gauge", "bytes", "The most that this was.", |usage| usage.memory_most_bytes as f64),
    ("daffi_argument_bytes", "counter", "bytes", "Arguments of the calls that came.", |usage| {
        usage.argument_bytes as f64
    }),
    ("daffi_result_bytes", "counter", "bytes", "Results that were given.", |usage| usage.result_bytes as f64),
    ("daffi_stream_in_bytes", "counter", "bytes", "Items of streams that guests read.", |usage| {
        usage.stream_bytes_in as f64
    }),
    ("daffi_stream_out_bytes", "counter", "bytes", "Items of streams that guests wrote.", |usage| {
        usage.stream_bytes_out as f64
    }),
    ("daffi_process_age_seconds", "gauge", "seconds", "How long the process has been counting.", |usage| {
        usage.age.as_secs_f64()
    }),
];

/// The text for these processes.
pub fn text(processes: &[Measured]) -> String {
    let mut text = String::new();
    calls(&mut text, processes);
    durations(&mut text, processes);
    for (name, kind, unit, help, read) in FAMILIES {
        family(&mut text, name, kind, Some(unit), help);
        let suffix = if kind == "counter" { "_total" } else { "" };
        for process in processes {
            sample(&mut text, &format!("{name}{suffix}"), &labels(process), read(&process.usage));
        }
    }
    text.push_str("# EOF\n");
    text
}

/// Calls by what they came to.
fn calls(text: &mut String, processes: &[Measured]) {
    family(text, "daffi_calls", "counter", None, "Calls that are over, by outcome and code of their errors.");
    for process in processes {
        let labels = labels(process);
        let mut count = |outcome: &str, code: &str, calls: u64| {
            let labels = format!("{labels},outcome=\"{outcome}\",code=\"{}\"", escaped(code));
            sample(text, "daffi_calls_total", &labels, calls);
        };
        count("served", "", process.usage.served());
        for failures in &process.usage.failures {
            let outcome = match failures.outcome {
                Outcome::NotRun => "not-run",
                Outcome::Failed => "failed",
                Outcome::Unknown => "unknown",
            };
            count(outcome, &failures.code, failures.calls);
        }
    }
}

/// How long served calls took.
fn durations(text: &mut String, processes: &[Measured]) {
    let (name, help) =
        ("daffi_call_duration_seconds", "How long served calls took, from their arrival at the process on.");
    family(text, name, "histogram", Some("seconds"), help);
    for process in processes {
        let (labels, usage) = (labels(process), &process.usage);
        let mut below = 0_u64;
        let mut filled = usage.latencies.buckets().peekable();
        for bucket in (0..BUCKETS - 1).step_by(BUCKETS_TOLD) {
            while let Some((_, calls)) = filled.next_if(|(filled, _)| *filled <= bucket) {
                below = below.saturating_add(calls);
            }
            if let Some(bound) = upper_bound(bucket) {
                sample(text, &format!("{name}_bucket"), &format!("{labels},le=\"{}\"", bound.as_secs_f64()), below);
            }
        }
        sample(text, &format!("{name}_bucket"), &format!("{labels},le=\"+Inf\""), usage.served());
        sample(text, &format!("{name}_count"), &labels, usage.served());
        sample(text, &format!("{name}_sum"), &labels, usage.served_time.as_secs_f64());
    }
}

fn family(text: &mut String, name: &str, kind: &str, unit: Option<&str>, help: &str) {
    // Writing to memory does not fail.
    let _ = writeln!(text, "# TYPE {name} {kind}");
    if let Some(unit) = unit {
        let _ = writeln!(text, "# UNIT {name} {unit}");
    }
    let _ = writeln!(text, "# HELP {name} {help}");
}

fn sample(text: &mut String, name: &str, labels: &str, value: impl Display) {
    let _ = writeln!(text, "{name}{{{labels}}} {value}");
}

fn labels(process: &Measured) -> String {
    let (tenant, name) = (process.process.tenant.as_str(), process.process.name.as_str());
    format!("tenant=\"{}\",process=\"{}\"", escaped(tenant), escaped(name))
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use daffi_proto::error::code;
    use daffi_proto::id::{ProcessName, TenantName};
    use daffi_proto::usage::{Failures, Latencies, bucket_of};

    use super::*;

    #[test]
    fn families_have_their_samples_together_and_histograms_are_cumulative() {
        let mut counts = [0; BUCKETS];
        counts[bucket_of(Duration::from_micros(100))] = 3;
        counts[bucket_of(Duration::from_millis(100))] = 2;
        counts[BUCKETS - 1] = 1;
        let usage = Usage {
            latencies: Latencies::of(counts),
            failures: vec![Failures { outcome: Outcome::Failed, code: code::TRAP.to_owned(), calls: 4 }],
            cpu_time: Duration::from_millis(1500),
            memory_bytes: 1 << 20,
            ..Usage::default()
        };
        let process = ProcessRef { tenant: TenantName::new("t").unwrap(), name: ProcessName::new("p").unwrap() };
        let text = text(&[Measured { process, usage }]);
        let labels = r#"tenant="t",process="p""#;
        for line in [
            format!(r#"daffi_calls_total{{{labels},outcome="served",code=""}} 6"#),
            format!(r#"daffi_calls_total{{{labels},outcome="failed",code="trap"}} 4"#),
            format!("daffi_guest_cpu_seconds_total{{{labels}}} 1.5"),
            format!("daffi_memory_bytes{{{labels}}} 1048576"),
            format!(r#"daffi_call_duration_seconds_bucket{{{labels},le="0.000131072"}} 3"#),
            format!(r#"daffi_call_duration_seconds_bucket{{{labels},le="68.719476736"}} 5"#),
            format!(r#"daffi_call_duration_seconds_bucket{{{labels},le="+Inf"}} 6"#),
        ] {
            assert!(text.lines().any(|told| told == line), "{line} is not in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
        let types: Vec<_> = text.lines().filter(|line| line.starts_with("# TYPE")).collect();
        assert_eq!(types.len(), FAMILIES.len() + 2);
    }

    #[test]
    fn what_a_label_may_not_have_is_escaped() {
        assert_eq!(escaped("a\"b\\c\nd"), "a\\\"b\\\\c\\nd");
    }
}
