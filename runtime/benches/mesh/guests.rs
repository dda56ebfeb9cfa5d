//! The measured side: two `daffi-runtime` processes with the bench guests in them.
//!
//! The caller's guest times its own calls. It prints `warm` when the clock starts and `done` when it stops, so that CPU
//! time can be read from outside at both marks, then one line of JSON.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use serde::Deserialize;

use crate::report::{Case, Sample, cpu_of};

#[derive(Deserialize)]
struct Line {
    total_ns: u64,
    calls: u64,
    p50_ns: u64,
    p99_ns: u64,
}

/// Measures `case` between two runtimes of their own.
pub fn measure(case: &Case, folder: &Path) -> anyhow::Result<Sample> {
    let socket = folder.join("mesh.sock");
    let mut server = Runtime::start(&socket, &["--controller", "--name", "server"], "bench-server.wasm", &[])?;
    let caller_component = if case.in_flight == 1 { "bench-caller.wasm" } else { "bench-caller-async.wasm" };
    let env = [
        format!("OP={}", case.op),
        format!("PAYLOAD_BYTES={}", case.payload_bytes),
        format!("IN_FLIGHT={}", case.in_flight),
        format!("CALLS={}", case.calls),
        format!("WARM_UP={}", case.warm_up_calls()),
    ];
    // 64 calls of 1 MiB are more than a module may have open by default: four payloads of full size.
    let caller_args = ["--name", "caller", "--max-payload", "32MiB"];
    let mut caller = Runtime::start(&socket, &caller_args, caller_component, &env)?;
    let pids = [server.child.id(), caller.child.id()];
    let mut lines = BufReader::new(caller.child.stdout.take().context("the caller's stdout")?).lines();
    let mut next = || lines.next().context("the caller ended early")?.context("reading the caller's stdout");
    if next()? != "warm" {
        bail!("the caller's first line is not `warm`");
    }
    let before = cpu_of(&pids);
    if next()? != "done" {
        bail!("the caller's second line is not `done`");
    }
    let cpu = cpu_of(&pids).saturating_sub(before);
    let line: Line = serde_json::from_str(&next()?)?;
    caller.child.wait()?;
    server.child.kill()?;
    server.child.wait()?;
    Ok(Sample {
        p50: Duration::from_nanos(line.p50_ns),
        p99: Duration::from_nanos(line.p99_ns),
        calls_per_second: line.calls as f64 / Duration::from_nanos(line.total_ns).as_secs_f64(),
        cpu_per_call: cpu / u32::try_from(line.calls).unwrap_or(u32::MAX),
    })
}

/// A runtime that ends with its owner.
struct Runtime {
    child: Child,
}

impl Runtime {
    fn start(socket: &Path, args: &[&str], component: &str, env: &[String]) -> anyhow::Result<Self> {
        let component = components().join(component);
        if !component.exists() {
            bail!("{} is missing: run `make guests`", component.display());
        }
        let mut command = Command::new(env!("CARGO_BIN_EXE_daffi-runtime"));
        command.args(["--log", "warn"]).args(args).arg("--module").arg(component).env("DAFFI_SOCKET", socket);
        for pair in env {
            command.arg("--env").arg(pair);
        }
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        Ok(Self { child })
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Where `make guests` puts the components.
fn components() -> PathBuf {
    std::env::var_os("DAFFI_COMPONENTS")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/components"), PathBuf::from)
}
