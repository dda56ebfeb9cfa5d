//! From lists of processes to rows: what each did between two looks, and its tenant's sums.
//!
//! Nodes tell what was used once a second, so that two looks that are closer have the same counters: a row compares with a
//! look that is [`WINDOW`] old, and takes the time from the counters themselves.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use daffi_proto::call::ProcessInfo;
use daffi_proto::id::TenantName;
use daffi_proto::usage::Usage;

/// How far back a row looks, where there are looks that old.
const WINDOW: Duration = Duration::from_secs(3);

/// The looks of the last time.
#[derive(Default)]
pub struct Window(VecDeque<(Instant, Vec<ProcessInfo>)>);

impl Window {
    /// One more look; those that are not needed any more are dropped.
    pub fn add(&mut self, at: Instant, processes: Vec<ProcessInfo>) {
        self.0.push_back((at, processes));
        while self.0.get(1).is_some_and(|(second, _)| at.saturating_duration_since(*second) >= WINDOW) {
            self.0.pop_front();
        }
    }
}

/// A process, or all of a tenant.
#[derive(Clone, Debug, Default)]
pub struct Row {
    /// None in a tenant's sum.
    pub process: Option<String>,
    pub tenant: String,
    pub node: String,
    /// Calls that it serves or has in its queue.
    pub in_flight: u64,
    /// Calls served in a second.
    pub calls_per_second: f64,
    /// Calls that failed in a second.
    pub failures_per_second: f64,
    /// How many processors its guests kept busy.
    pub processors: f64,
    /// What was used in the window.
    pub since: Usage,
    /// What was used in all.
    pub all: Usage,
}

/// A row for each process that is there now.
pub fn rows(window: &Window) -> Vec<Row> {
    let Some((_, now)) = window.0.back() else { return Vec::new() };
    let nobody = Vec::new();
    let before = window.0.front().filter(|_| window.0.len() > 1).map_or(&nobody, |(_, before)| before);
    let before: BTreeMap<_, _> = before.iter().map(|process| (&process.process, process)).collect();
    now.iter().map(|process| row(process, before.get(&process.process).copied())).collect()
}

fn row(process: &ProcessInfo, before: Option<&ProcessInfo>) -> Row {
    let all = process.usage.as_deref().cloned().unwrap_or_default();
    // Who was not there before, or had told nothing, is looked at from his beginning on.
    let since = match before {
        Some(before) => before.usage.as_deref().map_or_else(|| all.clone(), |before| all.since(before)),
        None => all.clone(),
    };
    let seconds = since.age.as_secs_f64();
    let rate = |number: f64| if seconds > 0.0 { number / seconds } else { 0.0 };
    Row {
        process: Some(process.process.name.to_string()),
        tenant: process.process.tenant.to_string(),
        node: process.node.clone(),
        in_flight: process.load.in_flight.into(),
        // Counts are far below 2^53.
        calls_per_second: rate(since.served() as f64),
        failures_per_second: rate(since.failed() as f64),
        processors: rate(since.cpu_time.as_secs_f64()),
        since,
        all,
    }
}

/// The sums of each of these tenants, by name: also of one that has no process.
pub fn totals(rows: &[Row], tenants: &BTreeSet<&TenantName>) -> Vec<Row> {
    let fresh = |tenant: &str| Row { tenant: tenant.to_owned(), ..Row::default() };
    let mut totals: BTreeMap<&str, Row> =
        tenants.iter().map(|tenant| (tenant.as_str(), fresh(tenant.as_str()))).collect();
    for row in rows {
        let total = totals.entry(&row.tenant).or_insert_with(|| fresh(&row.tenant));
        total.in_flight += row.in_flight;
        total.calls_per_second += row.calls_per_second;
        total.failures_per_second += row.failures_per_second;
        total.processors += row.processors;
        total.since.add(&row.since);
        total.all.add(&row.all);
    }
    totals.into_values().collect()
}

#[cfg(test)]
pub mod tests {
    use daffi_proto::call::Load;
    use daffi_proto::id::{ProcessName, ProcessRef};
    use daffi_proto::usage::{BUCKETS, Latencies, bucket_of};

    use super::*;

    pub fn process(name: &str, tenant: &str, served: u64, age: u64) -> ProcessInfo {
        let mut counts = [0; BUCKETS];
        counts[bucket_of(Duration::from_millis(1))] = served;
        let usage = Usage {
            age: Duration::from_secs(age),
            latencies: Latencies::of(counts),
            cpu_time: Duration::from_millis(served),
            memory_bytes: 1 << 20,
            ..Usage::default()
        };
        ProcessInfo {
            process: ProcessRef { tenant: TenantName::new(tenant).unwrap(), name: ProcessName::new(name).unwrap() },
            node: "host-1".to_owned(),
            instances: "singleton".to_owned(),
            load: Load { in_flight: 2, ..Load::default() },
            callbacks: Vec::new(),
            usage: Some(usage.into()),
        }
    }

    #[test]
    fn rates_are_of_the_time_that_the_process_itself_counted() {
        let (mut window, start) = (Window::default(), Instant::now());
        window.add(start, vec![process("a", "t", 100, 10), process("gone", "t", 1, 1)]);
        window.add(start + Duration::from_secs(1), vec![process("a", "t", 500, 12), process("b", "t", 30, 3)]);
        let rows = rows(&window);
        assert_eq!(rows.len(), 2);
        assert_eq!((rows[0].calls_per_second, rows[0].processors), (200.0, 0.2));
        assert_eq!((rows[1].calls_per_second, rows[1].all.served()), (10.0, 30));
        let nobody = TenantName::new("nobody").unwrap();
        let totals = totals(&rows, &[&nobody].into());
        let [empty, total] = totals.as_slice() else { panic!("{totals:?}") };
        assert_eq!((empty.tenant.as_str(), empty.in_flight), ("nobody", 0));
        assert_eq!((total.calls_per_second, total.in_flight, total.all.served()), (210.0, 4, 530));
    }

    #[test]
    fn a_row_looks_back_over_the_window_and_no_further() {
        let (mut window, start) = (Window::default(), Instant::now());
        for second in 0..10 {
            window.add(start + Duration::from_secs(second), vec![process("a", "t", second, second)]);
        }
        assert_eq!(window.0.len(), 4);
        assert_eq!(rows(&window)[0].since.served(), 3);
    }

    #[test]
    fn who_told_nothing_new_does_nothing() {
        let (mut window, start) = (Window::default(), Instant::now());
        window.add(start, vec![process("a", "t", 100, 10)]);
        window.add(start + Duration::from_secs(3), vec![process("a", "t", 100, 10)]);
        let rows = rows(&window);
        assert_eq!((rows[0].calls_per_second, rows[0].since.latencies.quantile(0.5)), (0.0, None));
    }
}
