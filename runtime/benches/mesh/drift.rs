//! Schedule drift under load: how far from its plan a callback runs while its runtime serves calls as fast as it can.
//!
//! The process prints a line a run, and the bench notes when each comes; the clock of the plan is not seen from outside, so
//! the earliest line, counted from its own tick, is taken for on time.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use crate::guests::{Runtime, component};

/// How often the callback is to run.
const EVERY: Duration = Duration::from_millis(20);

/// How many runs are measured.
const RUNS: usize = 500;

/// What came of the runs.
struct Drift {
    load: &'static str,
    p50: Duration,
    p99: Duration,
    /// How much later the last tenth ran than the first, at the median: what does not drift has none.
    drift: Duration,
    /// Ticks without a line.
    missing: u32,
}

/// Measures both ways, and shows it. The rows as JSON.
pub fn rows(folder: &Path) -> anyhow::Result<Vec<serde_json::Value>> {
    println!("\nschedule drift: a process that prints a line a run, alone and beside calls to its runtime\n");
    let mut rows = Vec::new();
    for loaded in [false, true] {
        let drift = measure(loaded, folder)?;
        println!("{}", drift.text());
        rows.push(drift.json());
    }
    Ok(rows)
}

/// Measures without load, or beside 64 calls in flight.
fn measure(loaded: bool, folder: &Path) -> anyhow::Result<Drift> {
    let socket = folder.join("drift.sock");
    let (server, ticker) = (component("bench-server")?, component("fixtures")?);
    let args = ["--controller", "--name", "server", "--module", &server, "--module", &ticker];
    let mut runtime = Runtime::with(&socket, &args)?;
    let lines = runtime.lines()?;
    let mut caller = None;
    if loaded {
        let component = component("bench-caller-async")?;
        let mut args = vec!["--name", "caller", "--module", &component];
        for pair in ["OP=sum", "PAYLOAD_BYTES=8", "IN_FLIGHT=64", "CALLS=10000000", "WARM_UP=64"] {
            args.extend(["--env", pair]);
        }
        let mut load = Runtime::with(&socket, &args)?;
        let mut said = load.lines()?;
        ensure!(said.next().context("the caller ended early")?? == "warm", "the caller's first line is not `warm`");
        // Whoever stops reading would hold the caller up at its next line.
        caller = Some((load, said));
    }
    let every = format!("{}ms", EVERY.as_millis());
    let added = Command::new(env!("CARGO_BIN_EXE_daffi-runtime"))
        .args(["schedule", "add", "print(\"tick\")", "--every", &every, "--wait-ready"])
        .env("DAFFI_SOCKET", &socket)
        .output()?;
    ensure!(added.status.success(), "{}", String::from_utf8_lossy(&added.stderr));
    let mut came = Vec::with_capacity(RUNS);
    for line in lines {
        if line?.ends_with("tick") {
            came.push(Instant::now());
        }
        if came.len() == RUNS {
            break;
        }
    }
    ensure!(came.len() == RUNS, "the runtime ended after {} runs", came.len());
    if let Some((mut load, _)) = caller {
        ensure!(load.runs()?, "the load ended before the runs did");
    }
    Ok(Drift::of(if loaded { "64 calls in flight" } else { "none" }, &came))
}

impl Drift {
    fn of(load: &'static str, came: &[Instant]) -> Self {
        let first = came[0];
        // Each line's own tick, and how long after it; from the earliest on.
        let ticks = came.iter().map(|at| (*at - first).as_secs_f64() / EVERY.as_secs_f64());
        let ticks: Vec<f64> = ticks.collect();
        let late: Vec<f64> = ticks.iter().map(|tick| tick - tick.round()).collect();
        let earliest = late.iter().copied().fold(f64::INFINITY, f64::min);
        let time = |part: f64| EVERY.mul_f64(part.max(0.0));
        let of = |late: &[f64], percent: usize| {
            let mut sorted = late.to_vec();
            sorted.sort_by(f64::total_cmp);
            sorted[sorted.len() * percent / 100] - earliest
        };
        let tenth = RUNS / 10;
        let drift = of(&late[RUNS - tenth..], 50) - of(&late[..tenth], 50);
        let ticked = ticks.last().map_or(0.0, |tick| tick.round()) as u32 + 1;
        let missing = ticked.saturating_sub(u32::try_from(RUNS).unwrap_or(u32::MAX));
        Self { load, p50: time(of(&late, 50)), p99: time(of(&late, 99)), drift: time(drift), missing }
    }

    /// A line of the table.
    fn text(&self) -> String {
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        format!(
            "every {EVERY:?}, {RUNS} runs, load: {:<18} | late p50 {:>7.3}ms p99 {:>7.3}ms | drift {:>7.3}ms | {} ticks without a run",
            self.load,
            ms(self.p50),
            ms(self.p99),
            ms(self.drift),
            self.missing,
        )
    }

    /// The row as JSON.
    fn json(&self) -> serde_json::Value {
        let micros = |time: Duration| time.as_secs_f64() * 1e6;
        serde_json::json!({
            "op": "schedule", "every_us": micros(EVERY), "runs": RUNS, "load": self.load,
            "late_p50_us": micros(self.p50), "late_p99_us": micros(self.p99), "drift_us": micros(self.drift),
            "ticks_without_a_run": self.missing,
        })
    }
}
