//! A started runtime: its lines, its end.
//!
//! Two threads read its outputs into one transcript. A line is given out once: two waits for the same text find two
//! lines. Waiting is on a condition variable, never on time.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::PATIENCE;
use super::output::Output;

/// Which of its two outputs a line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output: what guests print, and results.
    Out,
    /// Standard error: logs and errors.
    Err,
}

/// What one runtime has said.
struct Transcript {
    name: String,
    lines: Mutex<Lines>,
    changed: Condvar,
}

#[derive(Default)]
struct Lines {
    all: Vec<Line>,
    /// Outputs that are not at their end yet.
    open: u8,
}

struct Line {
    stream: Stream,
    text: String,
    at: Duration,
    taken: bool,
}

/// A started runtime. Killed when dropped.
pub struct Running {
    child: Arc<Mutex<Child>>,
    transcript: Arc<Transcript>,
}

/// What is kept of a started runtime when the test has dropped it: enough to end it and to tell what it said.
struct Started {
    child: Arc<Mutex<Child>>,
    transcript: Arc<Transcript>,
}

/// Everything that a cluster has started.
#[derive(Default)]
pub struct Shared {
    started: Mutex<Vec<Started>>,
}

impl Shared {
    /// Starts a command; those of its outputs that are pipes of ours are read.
    pub fn start(&self, name: &str, mut command: Command) -> Running {
        let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let (out, err) = (child.stdout.take(), child.stderr.take());
        let open = u8::from(out.is_some()) + u8::from(err.is_some());
        let lines = Lines { all: Vec::new(), open };
        let transcript =
            Arc::new(Transcript { name: name.to_owned(), lines: Mutex::new(lines), changed: Condvar::new() });
        if let Some(out) = out {
            read(&transcript, Stream::Out, out);
        }
        if let Some(err) = err {
            read(&transcript, Stream::Err, err);
        }
        let child = Arc::new(Mutex::new(child));
        self.started.lock().unwrap().push(Started { child: child.clone(), transcript: transcript.clone() });
        Running { child, transcript }
    }

    /// Kills what still runs.
    pub fn end_all(&self) {
        for started in self.started.lock().unwrap().iter() {
            end(&started.child);
        }
    }

    /// What everything has said, for a failed test.
    pub fn transcript(&self) -> String {
        let mut text = String::new();
        for Started { transcript, .. } in self.started.lock().unwrap().iter() {
            text += &format!("---- {} said:\n", transcript.name);
            for line in &transcript.lines.lock().unwrap().all {
                text += &format!("{:>8.3} {:?} {}\n", line.at.as_secs_f64(), line.stream, line.text);
            }
        }
        text
    }
}

/// Kills it and takes its exit status. The lock is free again at once: nothing waits while it holds it.
fn end(child: &Mutex<Child>) {
    let mut child = child.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    // It may have ended by itself, which is as good.
    let _ = child.kill();
    let _ = child.wait();
}

fn read(transcript: &Arc<Transcript>, stream: Stream, pipe: impl Read + Send + 'static) {
    let transcript = transcript.clone();
    let start = Instant::now();
    std::thread::spawn(move || {
        let mut pipe = BufReader::new(pipe);
        let mut bytes = Vec::new();
        while pipe.read_until(b'\n', &mut bytes).is_ok_and(|n| n > 0) {
            let text = String::from_utf8_lossy(&bytes).trim_end_matches('\n').to_owned();
            bytes.clear();
            let mut lines = transcript.lines.lock().unwrap();
            lines.all.push(Line { stream, text, at: start.elapsed(), taken: false });
            transcript.changed.notify_all();
        }
        transcript.lines.lock().unwrap().open -= 1;
        transcript.changed.notify_all();
    });
}

impl Running {
    /// Waits for a line that contains this text and that no earlier wait was given.
    pub fn wait_for_line(&self, text: &str) -> String {
        self.wait_for(&format!("a line with {text:?}"), |line| line.contains(text))
    }

    /// Waits for a line that contains all of these.
    pub fn wait_for_line_with(&self, texts: &[&str]) -> String {
        self.wait_for(&format!("a line with all of {texts:?}"), |line| texts.iter().all(|text| line.contains(text)))
    }

    /// Waits for a line that contains one of these.
    pub fn wait_for_line_with_any(&self, texts: &[&str]) -> String {
        self.wait_for(&format!("a line with one of {texts:?}"), |line| texts.iter().any(|text| line.contains(text)))
    }

    fn wait_for(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let patience_ends = Instant::now() + PATIENCE;
        let mut lines = self.transcript.lines.lock().unwrap();
        loop {
            if let Some(line) = lines.all.iter_mut().find(|line| !line.taken && wanted(&line.text)) {
                line.taken = true;
                return line.text.clone();
            }
            let left = patience_ends.saturating_duration_since(Instant::now());
            let ended = lines.open == 0;
            if ended || left.is_zero() {
                let name = &self.transcript.name;
                let why = if ended { "it ended without" } else { "it did not come in time" };
                drop(lines); // so that the cluster can still tell what was said
                panic!("{name}: waited for {what}: {why}");
            }
            lines = self.transcript.changed.wait_timeout(lines, left).unwrap().0;
        }
    }

    /// All lines so far, of both outputs.
    pub fn lines(&self) -> Vec<String> {
        self.transcript.lines.lock().unwrap().all.iter().map(|line| line.text.clone()).collect()
    }

    /// How many lines so far contain this text.
    pub fn count(&self, text: &str) -> usize {
        self.lines().iter().filter(|line| line.contains(text)).count()
    }

    /// SIGKILL, and waits for the end.
    pub fn kill(&self) {
        end(&self.child);
    }

    /// SIGTERM; does not wait.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Sends a signal; does not wait.
    pub fn signal(&self, signal: Signal) {
        let child = self.child.lock().unwrap();
        kill_process(Pid::from_child(&child), signal).unwrap();
    }

    /// The most memory that it had so far, in KiB.
    pub fn peak_memory_kib(&self) -> u64 {
        let id = self.child.lock().unwrap().id();
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches("kB").trim().parse().unwrap()
    }

    /// Whether it has ended.
    pub fn ended(&self) -> bool {
        self.child.lock().unwrap().try_wait().unwrap().is_some()
    }

    /// Waits for the end: of the process and of both its outputs.
    pub fn wait(&self) -> ExitStatus {
        let patience_ends = Instant::now() + PATIENCE;
        let mut lines = self.transcript.lines.lock().unwrap();
        while lines.open > 0 {
            let left = patience_ends.saturating_duration_since(Instant::now());
            if left.is_zero() {
                drop(lines); // so that the cluster can still tell what was said
                panic!("{}: did not end in time", self.transcript.name);
            }
            lines = self.transcript.changed.wait_timeout(lines, left).unwrap().0;
        }
        drop(lines);
        // Both outputs are closed: only the exit itself is left to wait for.
        self.child.lock().unwrap().wait().unwrap()
    }

    /// Waits for the end and gives its exit code; panics when a signal ended it.
    pub fn exit_code(&self) -> i32 {
        let status = self.wait();
        status.code().unwrap_or_else(|| panic!("{}: ended by a signal: {status}", self.transcript.name))
    }

    /// Waits for the end and gives all that it said.
    pub fn output(&self) -> Output {
        let status = self.wait();
        let lines = self.transcript.lines.lock().unwrap();
        let text = |stream| {
            let of_stream = lines.all.iter().filter(|line| line.stream == stream);
            of_stream.map(|line| line.text.clone() + "\n").collect::<String>()
        };
        Output { status, stdout: text(Stream::Out), stderr: text(Stream::Err) }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        end(&self.child);
    }
}
