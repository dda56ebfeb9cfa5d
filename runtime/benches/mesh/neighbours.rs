//! Calls of a quiet tenant, one at a time, beside noisy tenants in the same runtime, and alone.
//!
//! The callee's module and those of the noisy tenants live in one runtime. Its caller is in a runtime of its own; so are the
//! callers of the noisy tenants, which share another one. All have the same weight.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde::Deserialize;

use crate::guests::{Runtime, component};
use crate::report::micros;

/// How many noisy tenants there are.
const NOISY: [usize; 3] = [1, 4, 16];

/// Calls of the quiet tenant that are measured.
const CALLS: usize = 3_000;

/// What the noisy tenants do.
#[derive(Clone, Copy)]
enum Noise {
    /// Two guests each that compute for ever, in the callee's runtime.
    Cpu,
    /// 256 calls in flight each.
    Calls,
    /// 16 calls in flight each, of 64 KiB both ways.
    Bytes,
}

impl Noise {
    const ALL: [Self; 3] = [Self::Cpu, Self::Calls, Self::Bytes];

    fn label(self) -> &'static str {
        match self {
            Self::Cpu => "computing",
            Self::Calls => "256 sums in flight",
            Self::Bytes => "16 x 64 KiB in flight",
        }
    }
}

/// Where the quiet tenant's calls go.
#[derive(Clone, Copy)]
enum Callee {
    Sync,
    Async,
}

impl Callee {
    fn label(self) -> &'static str {
        match self {
            Self::Sync => "func",
            Self::Async => "async func",
        }
    }
}

#[derive(Clone, Copy, Deserialize)]
struct Line {
    calls: u64,
    p50_ns: u64,
    p99_ns: u64,
}

/// Measures all of it, and shows it. The rows as JSON.
pub fn rows(folder: &Path) -> anyhow::Result<Vec<serde_json::Value>> {
    println!(
        "\na quiet tenant's calls of `sum`, 1 in flight, beside noisy tenants of the same weight in the callee's runtime\n"
    );
    let mut rows = Vec::new();
    for callee in [Callee::Sync, Callee::Async] {
        let alone = measure(callee, None, 0, folder)?;
        show(callee, "nobody", 0, alone, alone, &mut rows);
        for noise in Noise::ALL {
            for noisy in NOISY {
                eprintln!("measuring neighbours: {noisy} {}, {}", noise.label(), callee.label());
                let beside = measure(callee, Some(noise), noisy, folder)?;
                show(callee, noise.label(), noisy, beside, alone, &mut rows);
            }
        }
    }
    Ok(rows)
}

fn show(callee: Callee, noise: &str, noisy: usize, beside: Line, alone: Line, rows: &mut Vec<serde_json::Value>) {
    let us = |ns: u64| micros(Duration::from_nanos(ns));
    let (p50, p99) = (us(beside.p50_ns), us(beside.p99_ns));
    println!(
        "{:<10} | {noisy:>2} x {noise:<22} | p50 {p50:>8.1}us {:>6.2}x | p99 {p99:>8.1}us {:>6.2}x",
        callee.label(),
        p50 / us(alone.p50_ns),
        p99 / us(alone.p99_ns),
    );
    rows.push(serde_json::json!({
        "op": "neighbours", "callee": callee.label(), "noise": noise, "noisy_tenants": noisy, "calls": beside.calls,
        "p50_us": p50, "p99_us": p99, "p50_ratio": p50 / us(alone.p50_ns), "p99_ratio": p99 / us(alone.p99_ns),
    }));
}

fn measure(callee: Callee, noise: Option<Noise>, noisy: usize, folder: &Path) -> anyhow::Result<Line> {
    let socket = folder.join("neighbours.sock");
    let (sync, caller) = (component("bench-server")?, component("bench-caller")?);
    let served_by = match callee {
        Callee::Sync => sync.clone(),
        Callee::Async => component("bench-server-async")?,
    };
    let mut server = module(&served_by, "server", "quiet", "");
    let mut callers = String::new();
    for number in 0..noisy {
        let tenant = format!("noisy-{number}");
        server += &match noise {
            Some(Noise::Cpu) => ["a", "b"].map(|name| module(&caller, name, &tenant, &env("spin", 8, 1, 1))).concat(),
            _ => module(&sync, "server", &tenant, ""),
        };
        let job = match noise {
            Some(Noise::Calls) => env("sum", 8, 256, 20_000_000),
            Some(Noise::Bytes) => env("echo", 64 << 10, 16, 20_000_000),
            Some(Noise::Cpu) | None => continue,
        };
        callers += &module(&component("bench-caller-async")?, "caller", &tenant, &job);
    }
    let _server = start(&socket, folder, "server", "controller = true\n", &server)?;
    let mut noise_makers = Vec::new();
    if !callers.is_empty() {
        let mut runtime = start(&socket, folder, "noise", "", &callers)?;
        let mut lines = runtime.lines()?;
        for _ in 0..noisy {
            // `warm`: its calls are on the way.
            lines.next().context("the noisy callers ended early")??;
        }
        noise_makers.push((runtime, lines));
    }
    let alias = match callee {
        Callee::Sync => "",
        Callee::Async => "fetchers = { \"daffi:bench/ops\" = \"daffi:bench/ops-async\" }\n",
    };
    let job = env("sum", 8, 1, CALLS) + alias;
    let mut caller = start(&socket, folder, "quiet", "", &module(&caller, "caller", "quiet", &job))?;
    let mut lines = caller.lines()?;
    ensure!(lines.next().context("the caller ended early")?? == "warm", "the caller's first line is not `warm`");
    ensure!(lines.next().context("the caller ended early")?? == "done", "the caller's second line is not `done`");
    for (runtime, _) in &mut noise_makers {
        ensure!(runtime.runs()?, "the noise ended before the calls did");
    }
    Ok(serde_json::from_str(&lines.next().context("the caller's result")??)?)
}

/// A module's table; `more` are further keys of it.
fn module(path: &str, name: &str, tenant: &str, more: &str) -> String {
    format!("[[module]]\npath = '{path}'\nname = '{name}'\ntenant = '{tenant}'\n{more}")
}

fn env(op: &str, payload_bytes: usize, in_flight: usize, calls: usize) -> String {
    let mut line = String::new();
    let _ = writeln!(
        line,
        "env = {{ OP = '{op}', PAYLOAD_BYTES = '{payload_bytes}', IN_FLIGHT = '{in_flight}', CALLS = '{calls}', WARM_UP = '100' }}"
    );
    line
}

/// A runtime of this name and these modules, with more keys of its own.
fn start(socket: &Path, folder: &Path, name: &str, keys: &str, modules: &str) -> anyhow::Result<Runtime> {
    let config = folder.join(format!("{name}.toml"));
    std::fs::write(&config, format!("[runtime]\nname = '{name}'\n{keys}{modules}"))?;
    Runtime::with(socket, &["--config", &config.display().to_string()])
}
