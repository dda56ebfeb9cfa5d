//! What a runtime costs before anybody calls: how long it takes to start, and what it uses while it waits.
//!
//! | rows | what is measured |
//! |---|---|
//! | `start` | from the exec of a node to its first served call: a caller in another runtime waits for it |
//! | `idle` | CPU time and memory of a controller and two nodes with a module each, which have served and wait |
//! | `modules` | from the exec of a runtime with so many modules of one component to a call between two of them; its memory |
//!
//! Compiled code is in the cache beforehand, and so are all files in the system's.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::guests::{Runtime, component};
use crate::report::{cpu_of, micros};

/// How often a start is measured.
const STARTS: usize = 21;

/// How long idle runtimes are watched; before that, what they still have to tell of their calls is told, and the threads that
/// have read their components end, whose time would be missed.
const WATCHED: Duration = Duration::from_secs(10);
const SETTLING: Duration = Duration::from_secs(12);

/// How many modules a runtime has.
const MODULES: [usize; 4] = [1, 10, 100, 1000];

/// How often their start is measured.
const MODULE_STARTS: usize = 3;

/// How long the bench waits for what is about to be.
const PATIENCE: Duration = Duration::from_secs(60);

/// A caller makes one call, says so, and another one.
const JOB: [&str; 5] = ["OP=sum", "PAYLOAD_BYTES=8", "IN_FLIGHT=1", "CALLS=1", "WARM_UP=1"];

/// Measures what is wanted, and shows it. The rows as JSON.
pub fn rows(folder: &Path, is_wanted: impl Fn(&str) -> bool) -> anyhow::Result<Vec<Value>> {
    let mut rows = Vec::new();
    if ["start", "idle", "modules"].into_iter().any(&is_wanted) {
        println!("\nruntimes that start, and that wait; compiled code is in the cache\n");
    }
    if is_wanted("start") {
        rows.push(cold_start(folder)?);
    }
    if is_wanted("idle") {
        rows.push(idle(folder)?);
    }
    if is_wanted("modules") {
        rows.extend(modules(folder)?);
    }
    Ok(rows)
}

/// A runtime whose compiled code is kept beside its socket.
fn runtime(folder: &Path, args: &[&str]) -> anyhow::Result<Runtime> {
    let cache = folder.join("cache").display().to_string();
    let args: Vec<&str> = args.iter().copied().chain(["--cache-dir", &cache]).collect();
    Runtime::with(&folder.join("start.sock"), &args)
}

/// One with a caller, and what it says.
fn caller(
    folder: &Path,
    name: &str,
    args: &[&str],
) -> anyhow::Result<(Runtime, impl Iterator<Item = std::io::Result<String>> + use<>)> {
    let module = format!("caller={}", component(name)?);
    let job = JOB.iter().flat_map(|pair| ["--env", pair]);
    let args: Vec<&str> = args.iter().copied().chain(["--module", &module]).chain(job).collect();
    let mut caller = runtime(folder, &args)?;
    let lines = caller.lines()?;
    Ok((caller, lines))
}

/// Asks the mesh by the command line; what it says.
fn ask(folder: &Path, args: &[&str]) -> anyhow::Result<Option<String>> {
    let asked = Command::new(env!("CARGO_BIN_EXE_daffi-runtime"))
        .args(args)
        .env("DAFFI_SOCKET", folder.join("start.sock"))
        .output()?;
    Ok(asked.status.success().then(|| String::from_utf8_lossy(&asked.stdout).into_owned()))
}

fn first_call(lines: &mut impl Iterator<Item = std::io::Result<String>>) -> anyhow::Result<()> {
    ensure!(lines.next().context("the caller ended early")?? == "warm", "the caller's first line is not `warm`");
    Ok(())
}

fn cold_start(folder: &Path) -> anyhow::Result<Value> {
    eprintln!("measuring start");
    let component = component("bench-server-async")?;
    let server = format!("server={component}");
    let mut took = Vec::with_capacity(STARTS);
    // The first one compiles.
    for _ in 0..=STARTS {
        let (caller, mut lines) = caller(folder, "bench-caller-async", &["--controller"])?;
        waits(folder)?;
        let began = Instant::now();
        let node = runtime(folder, &["--module", &server])?;
        first_call(&mut lines)?;
        took.push(began.elapsed());
        // In this order: it may be in its next call.
        drop(caller);
        drop(node);
    }
    let mut took = took.split_off(1);
    took.sort_unstable();
    let (p50, least, most) = (took[STARTS / 2], took[0], took[STARTS - 1]);
    let bytes = std::fs::metadata(&component)?.len();
    println!(
        "start: a guest of {} KiB, {STARTS} starts   | exec to first served call: p50 {:.1} ms (least {:.1}, most {:.1})",
        bytes >> 10,
        millis(p50),
        millis(least),
        millis(most)
    );
    Ok(json!({
        "op": "start", "guest_bytes": bytes, "starts": STARTS,
        "p50_us": micros(p50), "least_us": micros(least), "most_us": micros(most),
    }))
}

/// Waits until the caller waits for its callback.
fn waits(folder: &Path) -> anyhow::Result<()> {
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        if ask(folder, &["ps", "--json"])?.is_some_and(|processes| is_waiting(&processes)) {
            return Ok(());
        }
    }
    anyhow::bail!("the caller did not begin to wait for its callback")
}

fn is_waiting(processes: &str) -> bool {
    let Ok(processes) = serde_json::from_str::<Value>(processes) else { return false };
    let all = processes.as_array().cloned().unwrap_or_default();
    all.iter().any(|process| process["open-calls"] == 1)
}

fn idle(folder: &Path) -> anyhow::Result<Value> {
    eprintln!("measuring idle");
    let controller = runtime(folder, &["--controller", "--no-node"])?;
    let module = component("bench-server")?;
    let nodes: Vec<Runtime> = ["one", "two"]
        .into_iter()
        .map(|name| runtime(folder, &["--name", name, "--module", &format!("{name}={module}")]))
        .collect::<Result<_, _>>()?;
    for name in ["one", "two"] {
        let called = ask(folder, &["call", "daffi:bench/ops#sum(1, 2)", "--receiver", name, "--wait-ready"])?;
        ensure!(called.is_some_and(|sum| sum.trim() == "3"), "a call to {name} failed");
    }
    std::thread::sleep(SETTLING);
    let pids: Vec<u32> = [&controller].into_iter().chain(&nodes).map(Runtime::id).collect();
    let (before, switches) = (cpu_of(&pids), wake_ups(&pids));
    std::thread::sleep(WATCHED);
    let cpu = cpu_of(&pids).saturating_sub(before);
    let percent = cpu.as_secs_f64() / WATCHED.as_secs_f64() * 100.0;
    let wake_ups = (wake_ups(&pids).saturating_sub(switches)) as f64 / WATCHED.as_secs_f64();
    let memory: Vec<Memory> = pids.iter().map(|pid| Memory::of(*pid)).collect();
    let each = memory.iter().fold(String::new(), |mut text, memory| {
        let separator = if text.is_empty() { "" } else { ", " };
        let _ = write!(text, "{separator}{:.1} ({:.1})", mib(memory.all), mib(memory.own));
        text
    });
    println!(
        "idle: controller and 2 nodes, {} s          | {percent:.3} % of a core, {wake_ups:.1} wake-ups/s | resident MiB (of them not of files): {each}",
        WATCHED.as_secs()
    );
    Ok(json!({
        "op": "idle", "watched_us": micros(WATCHED), "cpu_percent": percent, "wake_ups_per_second": wake_ups,
        "resident_bytes": memory.iter().map(|memory| memory.all).collect::<Vec<u64>>(),
        "resident_bytes_not_of_files": memory.iter().map(|memory| memory.own).collect::<Vec<u64>>(),
    }))
}

fn modules(folder: &Path) -> anyhow::Result<Vec<Value>> {
    let mut rows = Vec::new();
    let mut one = None;
    for modules in MODULES {
        eprintln!("measuring modules: {modules}");
        let config = config(folder, modules)?;
        let mut took = Vec::with_capacity(MODULE_STARTS);
        let mut memory = Vec::with_capacity(MODULE_STARTS);
        for _ in 0..=MODULE_STARTS {
            let began = Instant::now();
            let (runtime, mut lines) = caller(folder, "bench-caller", &["--controller", "--config", &config])?;
            first_call(&mut lines)?;
            took.push(began.elapsed());
            memory.push(Memory::of(runtime.id()).all);
        }
        let (mut took, mut memory) = (took.split_off(1), memory.split_off(1));
        took.sort_unstable();
        memory.sort_unstable();
        let (took, memory) = (took[MODULE_STARTS / 2], memory[MODULE_STARTS / 2]);
        let first = *one.get_or_insert((took, memory));
        let others = u32::try_from(modules - 1).unwrap_or(u32::MAX).max(1);
        let (time_each, bytes_each) =
            (took.saturating_sub(first.0) / others, memory.saturating_sub(first.1) / u64::from(others));
        println!(
            "modules: {modules:>4} of one component            | exec to first call {:>8.1} ms, resident {:>6.1} MiB | a module: {:>7.1} us, {:>6.1} KiB",
            millis(took),
            mib(memory),
            micros(time_each),
            bytes_each as f64 / 1024.0
        );
        rows.push(json!({
            "op": "modules", "modules": modules, "start_us": micros(took), "resident_bytes": memory,
            "start_us_a_module": micros(time_each), "resident_bytes_a_module": bytes_each,
        }));
    }
    Ok(rows)
}

/// A config with so many modules of the component that the caller calls.
fn config(folder: &Path, modules: usize) -> anyhow::Result<String> {
    let component = component("bench-server")?;
    let mut text = String::new();
    for number in 0..modules {
        writeln!(text, "[[module]]\nname = \"server-{number}\"\npath = {component:?}")?;
    }
    let path = folder.join("modules.toml");
    std::fs::write(&path, text)?;
    Ok(path.display().to_string())
}

/// What a process has in memory, in bytes.
struct Memory {
    all: u64,
    /// Of it what is no file's: heap, stacks, what guests have.
    own: u64,
}

impl Memory {
    fn of(pid: u32) -> Self {
        let status = status(&format!("/proc/{pid}/status"));
        let bytes = |key: &str| status.iter().find(|(name, _)| name == key).map_or(0, |(_, kib)| kib * 1024);
        Self { all: bytes("VmRSS"), own: bytes("RssAnon") }
    }
}

/// How often all threads of these processes have waited, and so were woken.
fn wake_ups(pids: &[u32]) -> u64 {
    let threads = pids.iter().filter_map(|pid| std::fs::read_dir(format!("/proc/{pid}/task")).ok()).flatten().flatten();
    let waits = threads.map(|thread| {
        let status = status(&thread.path().join("status").display().to_string());
        status.iter().find(|(name, _)| name == "voluntary_ctxt_switches").map_or(0, |(_, count)| *count)
    });
    waits.sum()
}

/// The numbers of a status file.
fn status(path: &str) -> Vec<(String, u64)> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let number = |line: &str| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_owned(), value.split_whitespace().next()?.parse().ok()?))
    };
    text.lines().filter_map(number).collect()
}

fn millis(time: Duration) -> f64 {
    micros(time) / 1e3
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
