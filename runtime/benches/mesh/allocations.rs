//! How often the host asks its allocator for memory, a call: of each runtime on the way.
//!
//! A runtime that is looked at is this binary, started again with [`RUNTIME_ENV`] set: the product's own `main`, with an allocator
//! that counts. Whoever writes a line to its stdin is told the count on stderr. What guests ask of their own memory is not in
//! it, since that is no memory of the allocator.

#![expect(unsafe_code, reason = "a global allocator is unsafe to implement; this one hands on to the system's")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{ChildStderr, Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use anyhow::{Context, bail};
use serde_json::{Value, json};

use crate::SUM_BYTES;
use crate::guests::{Cast, Program, Runtime, Setup, between};
use crate::report::{Case, How};
use crate::socket::Scheme;

#[path = "../../src/main.rs"]
mod product;

/// Set to anything, it turns this binary into a runtime whose allocations are counted.
pub const RUNTIME_ENV: &str = "DAFFI_BENCH_RUNTIME";

/// What stands before the count.
const TOLD: &str = "allocations so far: ";

/// The bare echoes of the other rows are not to pay for counting.
static COUNTS: AtomicBool = AtomicBool::new(false);

static COUNT: AtomicU64 = AtomicU64::new(0);

struct Counting;

impl Counting {
    fn count() {
        if COUNTS.load(Ordering::Relaxed) {
            COUNT.fetch_add(1, Ordering::Relaxed);
        }
    }
}

// SAFETY: every call is handed on to the system's allocator as it came; counting touches no memory of it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::count();
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        Self::count();
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract.
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        Self::count();
        // SAFETY: the caller keeps the contract.
        unsafe { System.realloc(place, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Runs as the product does, and counts.
pub fn run_counted() -> ExitCode {
    COUNTS.store(true, Ordering::Relaxed);
    std::thread::spawn(|| {
        for _ in std::io::stdin().lines().map_while(Result::ok) {
            eprintln!("{TOLD}{}", COUNT.load(Ordering::Relaxed));
        }
    });
    product::main()
}

/// What starts such a runtime.
pub fn program() -> anyhow::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.env(RUNTIME_ENV, "1").stdin(Stdio::piped()).stderr(Stdio::piped());
    Ok(command)
}

/// Measures all of it, and shows it. The rows as JSON.
pub fn rows(folder: &Path) -> anyhow::Result<Vec<Value>> {
    println!("\nallocations of the host, a call\n");
    println!("{:<20} {:>9} | {:>8} {:>8} {:>10}", "op", "in flight", "caller's", "callee's", "controller");
    let cases = [
        (How::Local, "sum", SUM_BYTES, 1, 20_000),
        (How::Direct, "sum", SUM_BYTES, 1, 20_000),
        (How::Direct, "sum", SUM_BYTES, 64, 50_000),
        (How::Direct, "echo", 64 << 10, 1, 5_000),
        (How::Direct, "record", SUM_BYTES, 1, 20_000),
        (How::Apart(Scheme::Unix), "sum", SUM_BYTES, 1, 20_000),
        (How::Apart(Scheme::Unix), "sum", SUM_BYTES, 64, 50_000),
    ];
    let mut rows = Vec::new();
    for (how, op, payload_bytes, in_flight, calls) in cases {
        let case = Case { how, op, payload_bytes, in_flight, calls };
        eprintln!("counting allocations of {} with {in_flight} in flight", case.label());
        let counted = counted(&case, folder)?;
        let shown = |at: usize| counted.get(at).map_or_else(String::new, |count| format!("{count:.1}"));
        println!("{:<20} {in_flight:>9} | {:>8} {:>8} {:>10}", case.label(), shown(0), shown(1), shown(2));
        rows.push(json!({
            "row": format!("allocations of {}", case.label()), "op": op, "in_flight": in_flight, "calls": calls,
            "caller": counted.first(), "callee": counted.get(1), "controller": counted.get(2),
        }));
    }
    Ok(rows)
}

/// Allocations a call: of the caller's runtime, the callee's, the controller's, as far as they have one of their own.
fn counted(case: &Case, folder: &Path) -> anyhow::Result<Vec<f64>> {
    let setup = Setup { program: Program::Counting, ..Setup::new(case, folder) };
    let Cast { mut caller, mut others } = match case.how {
        How::Local => setup.local()?,
        How::Apart(scheme) => setup.apart(scheme, "off")?,
        _ => setup.two("unix")?,
    };
    let mut said = Vec::new();
    for runtime in std::iter::once(&mut caller).chain(&mut others) {
        said.push(BufReader::new(runtime.child.stderr.take().context("the runtime's stderr")?));
    }
    let (before, after, line) = between(&mut caller, |caller| {
        let runtimes = std::iter::once(caller).chain(&mut others);
        runtimes.zip(&mut said).map(|(runtime, said)| count_of(runtime, said)).collect::<anyhow::Result<Vec<u64>>>()
    })?;
    Ok(before.into_iter().zip(after).map(|(before, after)| (after - before) as f64 / line.calls as f64).collect())
}

/// Asks a runtime for its count.
fn count_of(runtime: &mut Runtime, said: &mut BufReader<ChildStderr>) -> anyhow::Result<u64> {
    runtime.child.stdin.as_mut().context("the runtime's stdin")?.write_all(b"\n")?;
    for line in said.lines() {
        let line = line?;
        match line.strip_prefix(TOLD) {
            Some(count) => return Ok(count.parse()?),
            None => eprintln!("{line}"),
        }
    }
    bail!("the runtime ended early")
}
