//! What guests print and what the runtime logs, on our own stdout and stderr.
//!
//! ```text
//!   guests' stdout ─────────────▶ queue ─▶ thread ─▶ stdout
//!   guests' stderr, log lines ──▶ queue ─▶ thread ─▶ stderr
//! ```
//!
//! Invariants: nothing that puts here ever waits for a reader; lines come out whole, each flushed, and in the order in
//! which they were put, on both streams together, for as long as both are read: a stream that is not holds the other up
//! by [`ORDER_GRACE`] a piece at most. Guests' output is bounded by [`crate::guest::output`]; the log by
//! [`MAX_LOG_BYTES`]: what is beyond is dropped and counted, and the count is told once there is room again.

use std::collections::VecDeque;
use std::io::Write;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::guest::output::{GuestStream, Output, Printed};

/// How much of the log may wait to be printed.
pub const MAX_LOG_BYTES: usize = 1 << 20;

/// What a log line counts beside its text: about what it takes to keep it.
const LOG_LINE_BYTES: usize = 128;

/// For how long a piece waits for what was put before it on the other stream.
const ORDER_GRACE: Duration = Duration::from_millis(200);

/// How long the end of the runtime waits for readers that do not read.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a panic waits for its message to be printed: what follows may be an abort.
const PANIC_TIMEOUT: Duration = Duration::from_millis(100);

/// The threads that print.
pub struct Printer {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    waiting: Mutex<Waiting>,
    /// Something changed that the stream's thread waits for.
    out_changed: Condvar,
    err_changed: Condvar,
    /// A piece was printed.
    printed: Condvar,
    order_grace: Duration,
}

#[derive(Default)]
struct Waiting {
    out: Queue,
    err: Queue,
    next_number: u64,
    log_bytes: usize,
    lost_log_lines: u64,
    closed: bool,
}

#[derive(Default)]
struct Queue {
    pieces: VecDeque<Piece>,
    /// What its thread prints right now.
    printing: Option<u64>,
    ended: bool,
}

struct Piece {
    number: u64,
    put: Instant,
    text: Text,
}

enum Text {
    /// What guests of the module of this name printed; none where there is only one module.
    Guest(Option<Arc<str>>, Printed),
    Log(String),
}

impl Printer {
    /// Starts the threads.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub fn start() -> std::io::Result<Self> {
        Self::to(std::io::stdout(), std::io::stderr(), ORDER_GRACE)
    }

    fn to(
        out: impl Write + Send + 'static,
        err: impl Write + Send + 'static,
        order_grace: Duration,
    ) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            waiting: Mutex::default(),
            out_changed: Condvar::new(),
            err_changed: Condvar::new(),
            printed: Condvar::new(),
            order_grace,
        });
        let (for_out, for_err) = (shared.clone(), shared.clone());
        let thread = |name: &str| std::thread::Builder::new().name(name.to_owned());
        // Held from here on: should the second thread not start, the first one ends.
        let mut printer = Self { shared, threads: Vec::new() };
        printer.threads.push(thread("daffi-out").spawn(move || for_out.print(GuestStream::Stdout, out))?);
        printer.threads.push(thread("daffi-err").spawn(move || for_err.print(GuestStream::Stderr, err))?);
        Ok(printer)
    }

    /// Where one module's guests print. With a name, each line begins with it.
    pub fn output(&self, name: Option<&str>) -> Output {
        let shared = self.shared.clone();
        let name: Option<Arc<str>> = name.map(Arc::from);
        Output::new(move |printed| shared.put(printed.stream, Text::Guest(name.clone(), printed)))
    }

    /// Makes writers for the log; each write is a line.
    pub fn log(&self) -> impl Fn() -> LogLine + Send + Sync + use<> {
        let shared = self.shared.clone();
        move || LogLine(shared.clone())
    }

    /// Lets the messages of panics go the way of the log: a panicking thread must not wait for a reader either.
    pub fn tell_panics(&self) {
        let shared = self.shared.clone();
        std::panic::set_hook(Box::new(move |info| {
            let trace = std::backtrace::Backtrace::capture();
            let trace = match trace.status() {
                std::backtrace::BacktraceStatus::Captured => format!("{trace}"),
                _ => String::new(),
            };
            let thread = std::thread::current();
            let name = thread.name().unwrap_or("without a name");
            shared.put(GuestStream::Stderr, Text::Log(format!("thread {name:?} {info}\n{trace}")));
            shared.wait_for_end(PANIC_TIMEOUT, |waiting| waiting.err.is_idle());
        }));
    }

    /// Prints what waits, and ends; or gives up where nobody reads.
    pub fn close(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.shared.lock().closed = true;
        self.shared.out_changed.notify_one();
        self.shared.err_changed.notify_one();
        let threads = std::mem::take(&mut self.threads);
        if self.shared.wait_for_end(CLOSE_TIMEOUT, |waiting| waiting.out.ended && waiting.err.ended) {
            for thread in threads {
                let _ = thread.join();
            }
        }
    }
}

impl Drop for Printer {
    fn drop(&mut self) {
        if !self.threads.is_empty() {
            self.end();
        }
    }
}

/// A line of the log.
pub struct LogLine(Arc<Shared>);

impl Write for LogLine {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.log(String::from_utf8_lossy(bytes).into_owned());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Queue {
    /// The number of the first piece that is not printed yet.
    fn first(&self) -> Option<u64> {
        self.printing.or_else(|| self.pieces.front().map(|piece| piece.number))
    }

    fn is_idle(&self) -> bool {
        self.first().is_none()
    }
}

impl Waiting {
    fn queue(&mut self, stream: GuestStream) -> &mut Queue {
        match stream {
            GuestStream::Stdout => &mut self.out,
            GuestStream::Stderr => &mut self.err,
        }
    }
}

impl Text {
    fn log_bytes(&self) -> usize {
        match self {
            Self::Guest(..) => 0,
            Self::Log(line) => line.len() + LOG_LINE_BYTES,
        }
    }

    fn print(&self, mut to: impl Write) -> std::io::Result<()> {
        match self {
            Self::Log(text) | Self::Guest(None, Printed { text, .. }) => to.write_all(text.as_bytes())?,
            Self::Guest(Some(name), printed) => {
                let lines = printed.text.split_inclusive('\n');
                let text: String = lines.flat_map(|line| [name, " | ", line]).collect();
                to.write_all(text.as_bytes())?;
            }
        }
        to.flush()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changed(&self, stream: GuestStream) -> &Condvar {
        match stream {
            GuestStream::Stdout => &self.out_changed,
            GuestStream::Stderr => &self.err_changed,
        }
    }

    fn put(&self, stream: GuestStream, text: Text) {
        self.put_in(self.lock(), stream, text);
    }

    fn put_in(&self, mut waiting: MutexGuard<'_, Waiting>, stream: GuestStream, text: Text) {
        let number = waiting.next_number;
        waiting.next_number += 1;
        waiting.log_bytes += text.log_bytes();
        waiting.queue(stream).pieces.push_back(Piece { number, put: Instant::now(), text });
        self.changed(stream).notify_one();
    }

    fn log(&self, line: String) {
        let mut waiting = self.lock();
        if waiting.log_bytes > MAX_LOG_BYTES {
            waiting.lost_log_lines += 1;
            return;
        }
        self.put_in(waiting, GuestStream::Stderr, Text::Log(line));
    }

    /// Waits until this holds; whether it does now.
    fn wait_for_end(&self, timeout: Duration, holds: impl Fn(&Waiting) -> bool) -> bool {
        let ends = Instant::now() + timeout;
        let mut waiting = self.lock();
        while !holds(&waiting) {
            let left = ends.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            waiting = self.printed.wait_timeout(waiting, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// What a stream's thread does.
    fn print(&self, stream: GuestStream, mut to: impl Write) {
        let other = match stream {
            GuestStream::Stdout => GuestStream::Stderr,
            GuestStream::Stderr => GuestStream::Stdout,
        };
        while let Some(piece) = self.next(stream, other) {
            // A reader that has gone (a closed pipe) is no reason to end the guests.
            let _ = piece.text.print(&mut to);
            let lost = self.was_printed(stream, other, &piece);
            // Guests may go on with what it took.
            drop(piece);
            if lost > 0 {
                let _ = writeln!(to, "warning: {lost} log lines were lost: nobody read them");
            }
        }
        self.lock().queue(stream).ended = true;
        self.printed.notify_all();
    }

    /// The next piece, once what was put before it on the other stream is printed, or cannot be for too long; none at
    /// the end.
    fn next(&self, stream: GuestStream, other: GuestStream) -> Option<Piece> {
        let mut waiting = self.lock();
        loop {
            let before = waiting.queue(other).first();
            let first = waiting.queue(stream).pieces.front();
            let Some(Piece { number, put, .. }) = first else {
                if waiting.closed {
                    return None;
                }
                waiting = self.changed(stream).wait(waiting).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let grace = self.order_grace.saturating_sub(put.elapsed());
            if before.is_none_or(|before| before > *number) || grace.is_zero() {
                waiting.queue(stream).printing = Some(*number);
                return waiting.queue(stream).pieces.pop_front();
            }
            let waited = self.changed(stream).wait_timeout(waiting, grace);
            waiting = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Notes that a piece is printed; how many log lines were lost that nobody told of yet, and can be now.
    fn was_printed(&self, stream: GuestStream, other: GuestStream, piece: &Piece) -> u64 {
        let mut waiting = self.lock();
        waiting.queue(stream).printing = None;
        waiting.log_bytes = waiting.log_bytes.saturating_sub(piece.text.log_bytes());
        self.changed(other).notify_one();
        self.printed.notify_all();
        if stream == GuestStream::Stderr && waiting.log_bytes <= MAX_LOG_BYTES / 2 {
            return std::mem::take(&mut waiting.lost_log_lines);
        }
        0
    }
}

#[cfg(test)]
#[path = "output_tests.rs"]
mod tests;
