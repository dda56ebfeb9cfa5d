//! The measured side: `daffi-runtime` processes with the bench guests in them, and the rows of typed calls.
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

/// Measures typed calls between two runtimes of their own, whose `--direct` is this.
pub fn measure(case: &Case, folder: &Path, direct: &str) -> anyhow::Result<Sample> {
    let socket = folder.join("mesh.sock");
    let server_args = ["--controller", "--name", "server", "--max-payload", "32MiB", "--direct", direct];
    let server = Runtime::start(&socket, &server_args, "bench-server", &[])?;
    let caller_component = caller_of(case);
    // 64 calls of 1 MiB are more than a module may have open by default: four payloads of full size.
    let caller_args = ["--name", "caller", "--max-payload", "32MiB", "--direct", direct];
    let caller = Runtime::start(&socket, &caller_args, caller_component, &job(case))?;
    timed(caller, &[server])
}

/// Measures them between two modules of one runtime.
pub fn measure_local(case: &Case, folder: &Path) -> anyhow::Result<Sample> {
    let modules = [("server", "bench-server"), ("caller", caller_of(case))];
    let modules = modules.map(|(name, file)| Ok::<_, anyhow::Error>(format!("{name}={}", component(file)?)));
    let mut args = vec!["--controller".to_owned(), "--max-payload".to_owned(), "32MiB".to_owned()];
    for module in modules {
        args.extend(["--module".to_owned(), module?]);
    }
    args.extend(job(case).into_iter().flat_map(|pair| ["--env".to_owned(), pair]));
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    timed(Runtime::with(&folder.join("mesh.sock"), &args)?, &[])
}

fn caller_of(case: &Case) -> &'static str {
    if case.in_flight == 1 { "bench-caller" } else { "bench-caller-async" }
}

/// What a caller's guest is told by its environment.
pub fn job(case: &Case) -> Vec<String> {
    vec![
        format!("OP={}", case.op),
        format!("PAYLOAD_BYTES={}", case.payload_bytes),
        format!("IN_FLIGHT={}", case.in_flight),
        format!("CALLS={}", case.calls),
        format!("WARM_UP={}", case.warm_up_calls()),
    ]
}

/// Waits for what the caller's guest has measured, and ends it; CPU time is that of all these runtimes.
pub fn timed(mut caller: Runtime, servers: &[Runtime]) -> anyhow::Result<Sample> {
    let pids: Vec<u32> = servers.iter().chain([&caller]).map(|runtime| runtime.child.id()).collect();
    let mut lines = caller.lines()?;
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
    Ok(Sample {
        p50: Duration::from_nanos(line.p50_ns),
        p99: Duration::from_nanos(line.p99_ns),
        calls_per_second: line.calls as f64 / Duration::from_nanos(line.total_ns).as_secs_f64(),
        cpu_per_call: cpu / u32::try_from(line.calls).unwrap_or(u32::MAX),
    })
}

/// A runtime that ends with its owner.
pub struct Runtime {
    child: Child,
}

impl Runtime {
    /// Starts one whose module is the component of this name.
    pub fn start(socket: &Path, args: &[&str], component: &str, env: &[String]) -> anyhow::Result<Self> {
        let component = self::component(component)?;
        let env = env.iter().flat_map(|pair| ["--env", pair]);
        let args: Vec<&str> = args.iter().copied().chain(["--module", &component]).chain(env).collect();
        Self::with(socket, &args)
    }

    /// Starts one with these flags.
    pub fn with(socket: &Path, args: &[&str]) -> anyhow::Result<Self> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_daffi-runtime"));
        command.args(["--log", "error"]).args(args).env("DAFFI_SOCKET", socket);
        // The sockets of direct links are beside it.
        if let Some(folder) = socket.parent() {
            command.env("XDG_RUNTIME_DIR", folder);
        }
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        Ok(Self { child })
    }

    /// The number of its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has not ended.
    pub fn runs(&mut self) -> anyhow::Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// What its guests print; whose line it is, which a runtime of several modules says before it, is left off.
    pub fn lines(&mut self) -> anyhow::Result<impl Iterator<Item = std::io::Result<String>> + use<>> {
        let lines = BufReader::new(self.child.stdout.take().context("the runtime's stdout")?).lines();
        Ok(lines.map(|line| line.map(|line| line.rsplit_once(" | ").map(|(_, said)| said.to_owned()).unwrap_or(line))))
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// A component that `make guests` has made.
pub fn component(name: &str) -> anyhow::Result<String> {
    let folder = std::env::var_os("DAFFI_COMPONENTS")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/components"), PathBuf::from);
    let path = folder.join(name).with_extension("wasm");
    if !path.exists() {
        bail!("{} is missing: run `make guests`", path.display());
    }
    Ok(path.display().to_string())
}
