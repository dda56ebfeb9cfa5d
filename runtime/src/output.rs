//! What guests print, on our own stdout and stderr.
//!
//! Invariants: lines come out whole, in the order in which they were printed, each flushed; a guest that prints faster
//! than the reader reads waits, at [`MAX_WAITING_BYTES`]; but a thread of the network never waits: what it cannot leave
//! is dropped and counted, since a full pipe must not cost the node its links.

use std::collections::VecDeque;
use std::io::Write;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::guest::output::{GuestStream, Output};

/// How much may wait to be printed.
pub const MAX_WAITING_BYTES: usize = 4 << 20;

/// How long the end of the runtime waits for a reader that does not read.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// How the names of the network's threads begin.
pub const NET_THREAD: &str = "daffi-net";

/// The thread that prints.
pub struct Printer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    /// Something was put, or the end has come.
    put: Condvar,
    /// Something was taken.
    taken: Condvar,
}

#[derive(Default)]
struct Waiting {
    lines: VecDeque<(GuestStream, String)>,
    bytes: usize,
    dropped: u64,
    closed: bool,
    printed_all: bool,
}

impl Printer {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub fn start() -> std::io::Result<Self> {
        Self::to(std::io::stdout(), std::io::stderr())
    }

    fn to(out: impl Write + Send + 'static, err: impl Write + Send + 'static) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let thread = std::thread::Builder::new().name("daffi-print".to_owned());
        let printing = Arc::clone(&shared);
        let thread = thread.spawn(move || printing.print(out, err))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Where one module's guests print. With a name, each line begins with it.
    pub fn output(&self, name: Option<&str>) -> Output {
        Output::new(self.taker(name))
    }

    fn taker(&self, name: Option<&str>) -> impl Fn(GuestStream, &str) + Send + Sync + use<> {
        let shared = Arc::clone(&self.shared);
        let prefix = name.map(|name| format!("{name} | ")).unwrap_or_default();
        move |stream, line| shared.put(stream, format!("{prefix}{line}\n"))
    }

    /// Prints what waits, and ends; or gives up where nobody reads.
    pub fn close(mut self) {
        let mut waiting = self.shared.lock();
        waiting.closed = true;
        self.shared.put.notify_one();
        let ends = Instant::now() + CLOSE_TIMEOUT;
        while !waiting.printed_all {
            let left = ends.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            waiting = self.shared.taken.wait_timeout(waiting, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        drop(waiting);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, stream: GuestStream, line: String) {
        let mut waiting = self.lock();
        if waiting.bytes > MAX_WAITING_BYTES {
            if std::thread::current().name().is_some_and(|name| name.starts_with(NET_THREAD)) {
                waiting.dropped += 1;
                return;
            }
            while waiting.bytes > MAX_WAITING_BYTES && !waiting.closed {
                waiting = self.taken.wait(waiting).unwrap_or_else(PoisonError::into_inner);
            }
        }
        waiting.bytes += line.len();
        waiting.lines.push_back((stream, line));
        self.put.notify_one();
    }

    fn print(&self, mut out: impl Write, mut err: impl Write) {
        loop {
            let mut waiting = self.lock();
            while waiting.lines.is_empty() && !waiting.closed {
                waiting = self.put.wait(waiting).unwrap_or_else(PoisonError::into_inner);
            }
            let lines = std::mem::take(&mut waiting.lines);
            let dropped = std::mem::take(&mut waiting.dropped);
            if lines.is_empty() {
                waiting.printed_all = true;
                self.taken.notify_all();
                return;
            }
            drop(waiting);
            // A reader that has gone (a closed pipe) is no reason to end the guests.
            let bytes = lines.iter().map(|(_, line)| line.len()).sum();
            for (stream, line) in lines {
                let _ = match stream {
                    GuestStream::Stdout => out.write_all(line.as_bytes()).and_then(|()| out.flush()),
                    GuestStream::Stderr => err.write_all(line.as_bytes()).and_then(|()| err.flush()),
                };
            }
            if dropped > 0 {
                tracing::warn!("{dropped} lines of guests were dropped: nobody reads this runtime's output");
            }
            let mut waiting = self.lock();
            waiting.bytes = waiting.bytes.saturating_sub(bytes);
            self.taken.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl Kept {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    /// A writer that takes nothing until it is let go.
    struct Stuck(std::sync::mpsc::Receiver<()>);

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let _ = self.0.recv();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn one_module_prints_as_it_is_and_several_with_their_names() {
        let (out, err) = (Kept::default(), Kept::default());
        let printer = Printer::to(out.clone(), err.clone()).unwrap();
        printer.shared.put(GuestStream::Stderr, "oops\n".to_owned());
        printer.taker(None)(GuestStream::Stdout, "Result = 20");
        printer.taker(Some("b"))(GuestStream::Stdout, "hello");
        printer.close();
        assert_eq!((out.text().as_str(), err.text().as_str()), ("Result = 20\nb | hello\n", "oops\n"));
    }

    #[test]
    fn a_network_thread_never_waits_for_a_reader() {
        let (go, stuck) = std::sync::mpsc::channel();
        let printer = Printer::to(Stuck(stuck), Kept::default()).unwrap();
        let shared = Arc::clone(&printer.shared);
        let line = "x".repeat(1 << 20);
        let thread = std::thread::Builder::new().name(format!("{NET_THREAD}-1"));
        let putting = thread.spawn(move || {
            for _ in 0..20 {
                shared.put(GuestStream::Stdout, line.clone());
            }
            shared.lock().dropped
        });
        assert!(putting.unwrap().join().unwrap() > 0);
        drop(go);
        printer.close();
    }
}
