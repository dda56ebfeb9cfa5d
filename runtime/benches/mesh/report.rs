//! What is measured, and how it is shown: a table of ratios to the bare limit of the same run, and the same as JSON.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use crate::socket::Scheme;

/// How the guests call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// A typed import: each call is waited for, or many by `async func`; over a direct link by a unix socket, by TCP or by TLS.
    Direct,
    DirectTcp,
    DirectTls,
    /// The same, through the controller, which is in the callee's runtime.
    Relayed,
    /// The same, through a controller in a runtime of its own.
    Apart(Scheme),
    /// The same between two modules of one runtime.
    Local,
    /// BG, by name, from a guest without async.
    Background,
    /// BROADCAST, by name, to so many processes in runtimes of their own; over direct links, or through a controller in one of its own.
    Broadcast(usize),
    BroadcastRelayed(usize),
}

impl How {
    /// What the rows of one kind have in common.
    pub fn group(self) -> &'static str {
        match self {
            Self::Direct => "over a direct link",
            Self::DirectTcp => "over a direct link by TCP",
            Self::DirectTls => "over a direct link by TLS",
            Self::Relayed => "through the controller, which is in the callee's runtime",
            Self::Apart(_) => "through a controller in a runtime of its own",
            Self::Local => "local, within one runtime",
            Self::Background => "BG, by name",
            Self::Broadcast(_) => "BROADCAST, by name, over direct links",
            Self::BroadcastRelayed(_) => "BROADCAST, by name, through a controller in a runtime of its own",
        }
    }
}

/// One row: an operation at a size and a number of calls in flight.
#[derive(Clone, Debug)]
pub struct Case {
    /// How it is called.
    pub how: How,
    /// What the guests do: `sum`, `echo`, `record` or `records`.
    pub op: &'static str,
    /// Bytes of arguments each way.
    pub payload_bytes: usize,
    /// Calls on the way at a time.
    pub in_flight: usize,
    /// Calls measured.
    pub calls: u64,
}

impl Case {
    /// Calls made before the clock starts.
    pub fn warm_up_calls(&self) -> u64 {
        (self.calls / 10).max(self.in_flight as u64)
    }

    /// `sum`, `1 KiB list<u8>`, `record`, `sum TLS`, `sum relayed apart TLS`, `sum BG`, `sum at 8`.
    pub fn label(&self) -> String {
        let what = match self.payload_bytes {
            _ if self.op == "sum" || self.op == "record" => self.op.to_owned(),
            _ if self.op == "records" => "1,000 records".to_owned(),
            bytes if bytes >= 1 << 20 => format!("{} MiB list<u8>", bytes >> 20),
            bytes => format!("{} KiB list<u8>", bytes >> 10),
        };
        match self.how {
            How::Direct => what,
            How::DirectTcp => format!("{what} TCP"),
            How::DirectTls => format!("{what} TLS"),
            How::Relayed => format!("{what} relayed"),
            How::Apart(Scheme::Unix) => format!("{what} relayed apart"),
            How::Apart(Scheme::Tcp) => format!("{what} relayed apart TCP"),
            How::Apart(Scheme::Tls) => format!("{what} relayed apart TLS"),
            How::Local => format!("{what} local"),
            How::Background => format!("{what} BG"),
            How::Broadcast(receivers) => format!("{what} at {receivers}"),
            How::BroadcastRelayed(receivers) => format!("{what} at {receivers} relayed apart"),
        }
    }
}

/// What one run gave.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// Median time of one call.
    pub p50: Duration,
    /// The time that 99 of 100 calls stay below.
    pub p99: Duration,
    /// Calls a second over the whole run.
    pub calls_per_second: f64,
    /// CPU time for one call.
    pub cpu_per_call: Cpu,
}

/// CPU time of processes, all threads.
#[derive(Clone, Copy, Debug)]
pub struct Cpu {
    /// Of the process that the caller's guest is in, with all that is in it beside: the callee, where it is local.
    pub caller: Duration,
    /// Of all other processes of the row.
    pub others: Duration,
}

impl Cpu {
    /// What they have used until now.
    pub fn of(caller: u32, others: &[u32]) -> Self {
        Self { caller: cpu_of(&[caller]), others: cpu_of(others) }
    }

    /// What they have used since then, for each of so many calls.
    pub fn since(self, before: Self, calls: u64) -> Self {
        let calls = u32::try_from(calls.max(1)).unwrap_or(u32::MAX);
        let each = |now: Duration, before: Duration| now.saturating_sub(before) / calls;
        Self { caller: each(self.caller, before.caller), others: each(self.others, before.others) }
    }

    pub fn all(self) -> Duration {
        self.caller + self.others
    }
}

impl Sample {
    /// From each call's time in nanoseconds.
    pub fn new(mut latencies_ns: Vec<u64>, total: Duration, (before, after): (Cpu, Cpu)) -> Self {
        latencies_ns.sort_unstable();
        let at = |percent: usize| {
            Duration::from_nanos(latencies_ns.get(latencies_ns.len() * percent / 100).copied().unwrap_or_default())
        };
        let calls = latencies_ns.len() as u64;
        Self {
            p50: at(50),
            p99: at(99),
            calls_per_second: calls as f64 / total.as_secs_f64(),
            cpu_per_call: after.since(before, calls),
        }
    }
}

/// The table so far.
#[derive(Default)]
pub struct Report {
    rows: Vec<Value>,
    text: String,
    /// What the last row has in common with others.
    group: &'static str,
}

impl Report {
    /// Adds a row: what the guests reached beside the bare limit. Ratios of the medians of `pairs`.
    pub fn add(&mut self, case: &Case, mut pairs: Vec<(Sample, Sample)>) {
        if self.text.is_empty() {
            let _ = writeln!(
                self.text,
                "{:<35} {:>9} | {:>10} {:>10} {:>7} | {:>11} {:>11} {:>7} | {:>9} {:>9} {:>9}",
                "op",
                "in flight",
                "p50 bare",
                "p50",
                "ratio",
                "calls/s bare",
                "calls/s",
                "ratio",
                "cpu bare",
                "of caller",
                "of others"
            );
        }
        if self.group != case.how.group() {
            self.group = case.how.group();
            let _ = writeln!(self.text, "{}", self.group);
        }
        pairs.sort_by_key(|(_, daffi)| daffi.p50);
        let Some((bare, daffi)) = pairs.get(pairs.len() / 2) else { return };
        let latency = daffi.p50.as_secs_f64() / bare.p50.as_secs_f64();
        let rate = daffi.calls_per_second / bare.calls_per_second;
        let _ = writeln!(
            self.text,
            "{:<35} {:>9} | {:>8.1}us {:>8.1}us {:>6.2}x | {:>11.0} {:>11.0} {:>6.2}x | {:>7.1}us {:>7.1}us {:>7.1}us",
            format!("  {}", case.label()),
            case.in_flight,
            micros(bare.p50),
            micros(daffi.p50),
            latency,
            bare.calls_per_second,
            daffi.calls_per_second,
            rate,
            micros(bare.cpu_per_call.all()),
            micros(daffi.cpu_per_call.caller),
            micros(daffi.cpu_per_call.others),
        );
        self.rows.push(json!({
            "row": case.label(), "op": case.op, "payload_bytes": case.payload_bytes, "in_flight": case.in_flight, "calls": case.calls,
            "bare": sample_json(bare), "daffi": sample_json(daffi),
            "p50_ratio": latency, "calls_per_second_ratio": rate,
        }));
    }

    /// The table.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The rows as JSON.
    pub fn json(&self) -> Value {
        Value::Array(self.rows.clone())
    }
}

/// A sample as JSON.
pub fn sample_json(sample: &Sample) -> Value {
    json!({
        "p50_us": micros(sample.p50), "p99_us": micros(sample.p99),
        "calls_per_second": sample.calls_per_second, "cpu_per_call_us": micros(sample.cpu_per_call.all()),
        "caller_cpu_per_call_us": micros(sample.cpu_per_call.caller),
    })
}

/// As a number of microseconds.
pub fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

/// CPU time that these processes have used, all threads; zero for what cannot be read (Linux only).
pub fn cpu_of(pids: &[u32]) -> Duration {
    let of_thread = |path: std::path::PathBuf| -> u64 {
        std::fs::read_to_string(path.join("schedstat"))
            .ok()
            .and_then(|text| text.split_whitespace().next()?.parse().ok())
            .unwrap_or(0)
    };
    let nanoseconds = pids
        .iter()
        .filter_map(|pid| std::fs::read_dir(format!("/proc/{pid}/task")).ok())
        .flatten()
        .filter_map(|entry| Some(of_thread(entry.ok()?.path())))
        .sum();
    Duration::from_nanos(nanoseconds)
}
