//! The measured side: `daffi-runtime` processes with the bench guests in them, and the rows of typed calls.
//!
//! The caller's guest times its own calls. It prints `warm` when the clock starts and `done` when it stops, so that CPU
//! time can be read from outside at both marks, then one line of JSON.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use serde::Deserialize;

use crate::allocations;
use crate::report::{Case, Cpu, Sample};
use crate::socket::{Scheme, certificates, free_address};

/// What the caller's guest has measured.
#[derive(Deserialize)]
pub struct Line {
    total_ns: u64,
    pub calls: u64,
    p50_ns: u64,
    p99_ns: u64,
}

/// What the runtimes of a row are made of.
#[derive(Clone, Copy)]
pub struct Setup<'a> {
    pub case: &'a Case,
    pub folder: &'a Path,
    /// What plays the runtime.
    pub program: Program,
    /// Further flags of the callee's runtime.
    pub flags: &'a [&'a str],
}

/// The runtimes of a row, which end with it.
pub struct Cast {
    pub caller: Runtime,
    /// The callee's, where it has one of its own, and then the controller's, where that has.
    pub others: Vec<Runtime>,
}

/// What plays the runtime.
#[derive(Clone, Copy)]
pub enum Program {
    Product,
    /// The same code in this binary, whose allocator counts.
    Counting,
}

/// What a runtime may be given at once. 64 calls of 1 MiB are more than a module may have open by default: four payloads of
/// full size.
const PAYLOADS: [&str; 2] = ["--max-payload", "32MiB"];

impl<'a> Setup<'a> {
    /// With the product, as it is.
    pub fn new(case: &'a Case, folder: &'a Path) -> Self {
        Self { case, folder, program: Program::Product, flags: &[] }
    }

    /// Between two modules of one runtime.
    pub fn local(self) -> anyhow::Result<Cast> {
        let mut args = words(&["--controller"]);
        for (name, file) in [("server", "bench-server"), ("caller", caller_of(self.case))] {
            args.extend(["--module".to_owned(), format!("{name}={}", component(file)?)]);
        }
        args.extend(job(self.case).into_iter().flat_map(|pair| ["--env".to_owned(), pair]));
        args.extend(words(self.flags));
        Ok(Cast { caller: self.start(args)?, others: Vec::new() })
    }

    /// Between two runtimes, whose `--direct` is this; the callee's is the controller.
    pub fn two(self, direct: &str) -> anyhow::Result<Cast> {
        let server = self.server(words(&["--controller", "--direct", direct]))?;
        Ok(Cast { caller: self.caller(words(&["--direct", direct]))?, others: vec![server] })
    }

    /// Between two runtimes whose controller is a third, over sockets of this kind; through it, where their `--direct` is `off`.
    pub fn apart(self, scheme: Scheme, direct: &str) -> anyhow::Result<Cast> {
        let certs = if scheme == Scheme::Tls { certificates(self.folder)? } else { PathBuf::new() };
        let address = free_address()?;
        // Over unix sockets all three take the default one.
        let flags = |endpoint: &str, name: &str| {
            let file = |file: String| certs.join(file).display().to_string();
            let files = [
                ("--tls-ca", "ca.pem".to_owned()),
                ("--tls-cert", format!("{name}.pem")),
                ("--tls-key", format!("{name}.key")),
            ];
            let files = files.into_iter().flat_map(|(flag, name)| [flag.to_owned(), file(name)]);
            match scheme {
                Scheme::Unix => Vec::new(),
                Scheme::Tcp => vec![endpoint.to_owned(), format!("tcp://{address}")],
                Scheme::Tls => [endpoint.to_owned(), format!("tls://{address}")].into_iter().chain(files).collect(),
            }
        };
        let controller = [words(&["--controller", "--no-node"]), flags("--listen", "mesh")].concat();
        let node = |name| [words(&["--direct", direct]), flags("--connect", name)].concat();
        let controller = self.start(controller)?;
        let server = self.server(node("server"))?;
        Ok(Cast { caller: self.caller(node("caller"))?, others: vec![server, controller] })
    }

    fn server(self, mut args: Vec<String>) -> anyhow::Result<Runtime> {
        args.extend(words(&["--name", "server", "--module", &component("bench-server")?]));
        args.extend(words(self.flags));
        self.start(args)
    }

    fn caller(self, mut args: Vec<String>) -> anyhow::Result<Runtime> {
        args.extend(words(&["--name", "caller", "--module", &component(caller_of(self.case))?]));
        args.extend(job(self.case).into_iter().flat_map(|pair| ["--env".to_owned(), pair]));
        self.start(args)
    }

    fn start(self, mut args: Vec<String>) -> anyhow::Result<Runtime> {
        args.extend(words(&PAYLOADS));
        Runtime::of(self.program, &self.folder.join("mesh.sock"), &args)
    }
}

impl Cast {
    /// Waits for what the caller's guest has measured, and ends all.
    pub fn timed(self) -> anyhow::Result<Sample> {
        timed(self.caller, &self.others)
    }
}

impl Program {
    fn command(self) -> anyhow::Result<Command> {
        Ok(match self {
            Self::Product => {
                let mut command = Command::new(env!("CARGO_BIN_EXE_daffi-runtime"));
                command.stdin(Stdio::null());
                command
            }
            Self::Counting => allocations::program()?,
        })
    }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
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

/// Waits for what the caller's guest has measured, and ends it.
pub fn timed(mut caller: Runtime, servers: &[Runtime]) -> anyhow::Result<Sample> {
    let others: Vec<u32> = servers.iter().map(Runtime::id).collect();
    let (before, after, line) = between(&mut caller, |caller| Ok(Cpu::of(caller.id(), &others)))?;
    Ok(Sample {
        p50: Duration::from_nanos(line.p50_ns),
        p99: Duration::from_nanos(line.p99_ns),
        calls_per_second: line.calls as f64 / Duration::from_nanos(line.total_ns).as_secs_f64(),
        cpu_per_call: after.since(before, line.calls),
    })
}

/// Looks when the clock of the caller's guest starts and when it stops; with what the guest has measured.
pub fn between<T>(
    caller: &mut Runtime,
    mut look: impl FnMut(&mut Runtime) -> anyhow::Result<T>,
) -> anyhow::Result<(T, T, Line)> {
    let mut lines = caller.lines()?;
    let mut next = || lines.next().context("the caller ended early")?.context("reading the caller's stdout");
    if next()? != "warm" {
        bail!("the caller's first line is not `warm`");
    }
    let before = look(caller)?;
    if next()? != "done" {
        bail!("the caller's second line is not `done`");
    }
    let after = look(caller)?;
    Ok((before, after, serde_json::from_str(&next()?)?))
}

/// A runtime that ends with its owner.
pub struct Runtime {
    pub child: Child,
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
        Self::of(Program::Product, socket, args)
    }

    /// The same, played by that program.
    fn of(program: Program, socket: &Path, args: &[impl AsRef<OsStr>]) -> anyhow::Result<Self> {
        let mut command = program.command()?;
        command.args(["--log", "error"]).args(args).env("DAFFI_SOCKET", socket);
        // The sockets of direct links are beside it.
        if let Some(folder) = socket.parent() {
            command.env("XDG_RUNTIME_DIR", folder);
        }
        Self::spawn(command)
    }

    /// Starts what prints as a runtime does.
    pub fn spawn(mut command: Command) -> anyhow::Result<Self> {
        Ok(Self { child: command.stdout(Stdio::piped()).spawn()? })
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
