//! The harness: runtimes in a folder of their own.
//!
//! | module | holds |
//! |---|---|
//! | (here) | [`Cluster`]: the folder, its socket, and how to start things in it |
//! | [`running`] | [`Running`]: a started runtime: its lines, its end |
//! | [`output`] | [`Output`]: what a command that ended has said |
//! | [`components`] | the guests, by name |
//! | [`peer`] | a client that speaks the protocol |
//! | [`raw`] | a client that speaks nonsense |
//!
//! Invariants: clusters share nothing (socket, configuration and environment are their own), so tests run in
//! parallel; nothing outlives its cluster; a failed test prints what every runtime of it has said.

pub mod components;
pub mod impostor;
pub mod output;
pub mod peer;
pub mod raw;
pub mod running;

use std::ffi::OsStr;
use std::fs::File;
use std::io::{PipeReader, PipeWriter};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

pub use components::component;
pub use output::Output;
pub use running::Running;
use running::Shared;

/// How long a test waits for what must come. Generous: the machine may be busy, and only a failing test takes it.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The real binary.
const BINARY: &str = env!("CARGO_BIN_EXE_daffi-runtime");

/// The line that a runtime logs when its node is connected and its processes are registered.
pub const CONNECTED: &str = "connected to ";

/// A folder with a socket, and the runtimes that were started in it.
pub struct Cluster {
    dir: tempfile::TempDir,
    shared: Shared,
}

impl Cluster {
    /// An empty one.
    pub fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("daffi-e2e-").tempdir().unwrap();
        std::fs::DirBuilder::new().mode(0o700).create(dir.path().join("run")).unwrap();
        Self { dir, shared: Shared::default() }
    }

    /// A path in the cluster's folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The default socket of everything that is started here.
    pub fn socket(&self) -> PathBuf {
        self.path("run").join("controller.sock")
    }

    /// The folder of the sockets over which its runtimes call each other.
    pub fn sockets(&self) -> PathBuf {
        self.path(&format!("daffi-{}", rustix::process::getuid().as_raw()))
    }

    /// Writes a file into the cluster's folder and gives its path.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        std::fs::write(&path, content).unwrap();
        path.display().to_string()
    }

    /// A runtime that is to be started: `--name`, and whatever else is added.
    pub fn runtime(&self, name: &str) -> Start<'_> {
        let mut start = Start { cluster: self, name: name.to_owned(), command: self.command() };
        start.command.args(["--name", name]);
        start
    }

    /// A runtime that is to be started, with no flag at all.
    pub fn bare(&self, label: &str) -> Start<'_> {
        Start { cluster: self, name: label.to_owned(), command: self.command() }
    }

    /// A controller with one node that serves the fixtures under this name, connected.
    pub fn serving(&self, name: &str) -> Running {
        self.runtime(name).controller().module(name, "fixtures").ready()
    }

    /// Runs a command of the binary to its end.
    pub fn run<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Output {
        self.bare("command").args(args).finish()
    }

    /// `daffi-runtime call 'EXPRESSION'`, with WAVE arguments.
    pub fn call(&self, expression: &str) -> Output {
        self.run(["call", expression])
    }

    /// `daffi-runtime call NAME --json ARGUMENTS`.
    pub fn call_json(&self, name: &str, arguments: &str) -> Output {
        self.run(["call", name, "--json", arguments])
    }

    /// Starts a call whose end is waited for later.
    pub fn calling(&self, args: &[&str]) -> Running {
        self.bare("call").args(["call"]).args(args).start()
    }

    /// An address of this machine that no other test uses, with a fixed port: all of 127.0.0.0/8 is loopback.
    pub fn loopback(&self) -> String {
        static NEXT: AtomicU8 = AtomicU8::new(1);
        let [_, high, middle, low] = std::process::id().to_be_bytes();
        let own = NEXT.fetch_add(1, Ordering::Relaxed);
        format!("127.{}.{}.{}:8888", 1 + (high ^ middle) % 254, low, own)
    }

    /// Runs the `run.sh` of an example to its end.
    pub fn example(&self, name: &str, args: &[&str], env: &[(&str, &str)]) -> Output {
        let mut command = self.prepared(Command::new("bash"));
        command.arg(components::root().join("examples").join(name).join("run.sh")).args(args);
        command.env("DAFFI_RUNTIME", BINARY).env("DAFFI_COMPONENTS", components::folder()).envs(env.iter().copied());
        self.shared.start(name, command).output()
    }

    /// `daffi-runtime ps --json`, parsed.
    pub fn ps(&self) -> serde_json::Value {
        self.ps_in("default")
    }

    /// The same of this tenant.
    fn ps_in(&self, tenant: &str) -> serde_json::Value {
        let output = self.run(["ps", "--json", "--tenant", tenant]);
        serde_json::from_str(output.success()).unwrap()
    }

    /// Asks until no process serves a call, has one in its queue, or has anything open to others: nothing was left behind.
    pub fn becomes_idle(&self) {
        let counts = ["in-flight", "open-calls", "open-streams", "handles", "schedules"];
        let idle = |process: &serde_json::Value| counts.iter().all(|count| process[count] == 0);
        self.ps_until("default", "no call, stream, handle or task is left", |processes| processes.iter().all(idle));
    }

    /// Asks until this process serves so many calls, those in its queue included.
    pub fn has_in_flight(&self, process: &str, calls: u32) {
        self.has(process, "in-flight", calls);
    }

    /// Asks until this process has so many of what `ps --json` calls so.
    pub fn has(&self, process: &str, what: &str, wanted: u32) {
        self.has_in("default", process, what, wanted);
    }

    /// The same for a process of this tenant.
    pub fn has_in(&self, tenant: &str, process: &str, what: &str, wanted: u32) {
        let so = |listed: &serde_json::Value| listed["process"] == process && listed[what] == wanted;
        self.ps_until(tenant, &format!("{process} has {wanted} {what}"), |processes| processes.iter().any(so));
    }

    /// Asks until what this process has used is so, and gives it as `ps --json` does.
    pub fn usage(&self, process: &str, what: &str, so: impl Fn(&serde_json::Value) -> bool) -> serde_json::Value {
        let find = |processes: &[serde_json::Value]| {
            let usage = &processes.iter().find(|listed| listed["process"] == process)?["usage"];
            (!usage.is_null() && so(usage)).then(|| usage.clone())
        };
        let processes =
            self.ps_until("default", &format!("{process} has used {what}"), |processes| find(processes).is_some());
        find(&processes).unwrap()
    }

    fn ps_until(&self, tenant: &str, what: &str, so: impl Fn(&[serde_json::Value]) -> bool) -> Vec<serde_json::Value> {
        let start = Instant::now();
        loop {
            let ps = self.ps_in(tenant);
            if so(ps.as_array().unwrap()) {
                return ps.as_array().unwrap().clone();
            }
            assert!(start.elapsed() < PATIENCE, "waited until {what}: {ps}");
        }
    }

    fn command(&self) -> Command {
        self.prepared(Command::new(BINARY))
    }

    fn prepared(&self, mut command: Command) -> Command {
        let kept = ["PATH", "HOME", "LLVM_PROFILE_FILE"].map(|key| (key, std::env::var_os(key)));
        command.env_clear().envs(kept.into_iter().filter_map(|(key, value)| Some((key, value?))));
        command.env("DAFFI_SOCKET", self.socket()).env("TMPDIR", self.dir.path()).current_dir(self.dir.path());
        // Compiled code is the same for all clusters.
        command.env("XDG_CACHE_HOME", env!("CARGO_TARGET_TMPDIR"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.shared.end_all();
        if std::thread::panicking() {
            eprintln!("{}", self.shared.transcript());
        }
    }
}

/// A runtime that is to be started.
pub struct Start<'a> {
    cluster: &'a Cluster,
    name: String,
    command: Command,
}

impl Start<'_> {
    /// `--controller`.
    pub fn controller(self) -> Self {
        self.args(["--controller"])
    }

    /// `--module NAME=` the component of this name.
    pub fn module(self, name: &str, component_name: &str) -> Self {
        self.module_at(name, &component(component_name))
    }

    /// `--module NAME=PATH`.
    pub fn module_at(self, name: &str, path: &Path) -> Self {
        let module = format!("{name}={}", path.display());
        self.args(["--module", &module])
    }

    /// The module `script` with these steps; see the fixture for what a step is.
    pub fn script(self, steps: &[&str]) -> Self {
        let name = self.name.clone();
        let script = format!("SCRIPT={}", steps.join("\n"));
        self.module(&name, "script").args(["--env", &script])
    }

    /// `--config` with a file of this content.
    pub fn config(self, toml: &str) -> Self {
        let path = self.cluster.file(&format!("{}.toml", self.name), toml);
        self.args(["--config", &path])
    }

    /// More flags.
    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.command.args(args);
        self
    }

    /// A variable of the runtime's own environment (not of a guest's).
    pub fn host_env(mut self, key: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(key, value);
        self
    }

    /// Starts it.
    pub fn start(self) -> Running {
        self.cluster.shared.start(&self.name, self.command)
    }

    /// Starts it with a standard output that is read by nobody but the test.
    pub fn start_unread(mut self) -> (Running, PipeReader) {
        let (reader, writer) = std::io::pipe().unwrap();
        self.command.stdout(writer);
        (self.start(), reader)
    }

    /// Starts it with a standard input that the test writes.
    pub fn start_fed(mut self) -> (Running, PipeWriter) {
        let (reader, writer) = std::io::pipe().unwrap();
        self.command.stdin(reader);
        (self.start(), writer)
    }

    /// Starts it on this terminal: its input and its output.
    pub fn start_on(mut self, terminal: &File) -> Running {
        self.command.stdin(terminal.try_clone().unwrap()).stdout(terminal.try_clone().unwrap());
        self.start()
    }

    /// This is its standard output.
    pub fn stdout(mut self, to: impl Into<Stdio>) -> Self {
        self.command.stdout(to);
        self
    }

    /// Starts it with a standard error that is read by nobody but the test.
    pub fn start_unlogged(mut self) -> (Running, PipeReader) {
        let (reader, writer) = std::io::pipe().unwrap();
        self.command.stderr(writer);
        (self.start(), reader)
    }

    /// Starts it and waits until it is connected.
    pub fn ready(self) -> Running {
        let running = self.start();
        running.wait_for_line(CONNECTED);
        running
    }

    /// Starts it and waits until it ends.
    pub fn finish(self) -> Output {
        self.start().output()
    }
}
