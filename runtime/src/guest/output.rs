//! What guests print.
//!
//! Whole lines of a guest's stdout and stderr go to the [`Output`] that the app gives, as they come; the last
//! [`TAIL_BYTES`] of stderr are kept too, since a Rust guest that panics says why on its stderr and nowhere else.
//! Invariants: a line is at most [`MAX_LINE_BYTES`] long (longer ones are cut into several); what is kept of a guest is
//! bounded; a guest's write is always taken at once. It does not read: a guest's stdin is closed.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

/// Longest line that is passed on in one piece.
pub const MAX_LINE_BYTES: usize = 8 << 10;

/// How much of a guest's last words an error carries.
pub const TAIL_BYTES: usize = 4 << 10;

/// How much a guest may write at once.
const WRITE_BYTES: usize = 64 << 10;

/// Which of a guest's two streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GuestStream {
    /// Its standard output.
    Stdout,
    /// Its standard error.
    Stderr,
}

/// Where the lines of a module's guests go. Called on whatever thread runs the guest: it must be quick.
#[derive(Clone)]
pub struct Output(Arc<TakeLine>);

type TakeLine = dyn Fn(GuestStream, &str) + Send + Sync;

impl Output {
    /// Passes lines (without their line break) to `take`.
    pub fn new(take: impl Fn(GuestStream, &str) + Send + Sync + 'static) -> Self {
        Self(Arc::new(take))
    }

    /// Drops all lines.
    pub fn none() -> Self {
        Self::new(|_, _| ())
    }
}

/// One stream of one instance. Clones are the same stream.
#[derive(Clone)]
pub(super) struct LineSink(Arc<Mutex<Lines>>);

struct Lines {
    stream: GuestStream,
    output: Output,
    partial: Vec<u8>,
    tail: VecDeque<u8>,
}

impl LineSink {
    pub(super) fn new(stream: GuestStream, output: Output) -> Self {
        Self(Arc::new(Mutex::new(Lines { stream, output, partial: Vec::new(), tail: VecDeque::new() })))
    }

    /// Forgets what was written so far: a new call starts.
    pub(super) fn start_tail(&self) {
        self.with(|lines| lines.tail.clear());
    }

    /// The last that was written since [`LineSink::start_tail`], [`TAIL_BYTES`] at most.
    pub(super) fn tail(&self) -> String {
        self.with(|lines| String::from_utf8_lossy(lines.tail.make_contiguous()).trim().to_owned())
    }

    fn write(&self, bytes: &[u8]) {
        self.with(|lines| lines.write(bytes));
    }

    fn with<R>(&self, f: impl FnOnce(&mut Lines) -> R) -> R {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Lines {
    fn write(&mut self, bytes: &[u8]) {
        if self.stream == GuestStream::Stderr {
            let kept = bytes.get(bytes.len().saturating_sub(TAIL_BYTES)..).unwrap_or(bytes);
            let over = (self.tail.len() + kept.len()).saturating_sub(TAIL_BYTES);
            self.tail.drain(..over);
            self.tail.extend(kept);
        }
        for piece in bytes.split_inclusive(|&b| b == b'\n') {
            let (text, ends) = match piece.split_last() {
                Some((b'\n', text)) => (text, true),
                _ => (piece, false),
            };
            for part in text.chunks(MAX_LINE_BYTES) {
                if self.partial.len() + part.len() > MAX_LINE_BYTES {
                    self.pass_on();
                }
                self.partial.extend_from_slice(part);
            }
            if ends {
                self.pass_on();
            }
        }
    }

    fn pass_on(&mut self) {
        let line = self.partial.strip_suffix(b"\r").unwrap_or(&self.partial);
        (self.output.0)(self.stream, &String::from_utf8_lossy(line));
        self.partial.clear();
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        if !self.partial.is_empty() {
            self.pass_on();
        }
    }
}

impl IsTerminal for LineSink {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for LineSink {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl OutputStream for LineSink {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        LineSink::write(self, &bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_BYTES)
    }
}

#[async_trait]
impl Pollable for LineSink {
    async fn ready(&mut self) {}
}

impl AsyncWrite for LineSink {
    fn poll_write(self: Pin<&mut Self>, _cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        LineSink::write(&self, bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sink(stream: GuestStream) -> (LineSink, Arc<Mutex<Vec<String>>>) {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let seen = lines.clone();
        (LineSink::new(stream, Output::new(move |_, line| seen.lock().unwrap().push(line.to_owned()))), lines)
    }

    #[test]
    fn lines_are_passed_on_whole_and_the_rest_when_the_instance_ends() {
        let (sink, lines) = sink(GuestStream::Stdout);
        sink.write(b"one\r\ntw");
        sink.write(b"o\n\nthr");
        assert_eq!(*lines.lock().unwrap(), ["one", "two", ""]);
        drop(sink);
        assert_eq!(lines.lock().unwrap().last().unwrap(), "thr");
    }

    #[test]
    fn a_line_without_end_is_cut_into_pieces() {
        let (sink, lines) = sink(GuestStream::Stdout);
        for _ in 0..5 {
            sink.write(&vec![b'x'; MAX_LINE_BYTES / 2]);
        }
        sink.write(&vec![b'y'; 3 * MAX_LINE_BYTES]);
        let lines = lines.lock().unwrap();
        assert!(lines.len() >= 4 && lines.iter().all(|line| line.len() <= MAX_LINE_BYTES));
    }

    #[test]
    fn the_tail_is_the_last_of_stderr_since_the_call_began() {
        let (sink, _) = sink(GuestStream::Stderr);
        sink.write(b"before\n");
        sink.start_tail();
        sink.write(&vec![b'a'; 2 * TAIL_BYTES]);
        sink.write(b"the end\n");
        let tail = sink.tail();
        assert!(tail.len() <= TAIL_BYTES && tail.ends_with("aaathe end"), "{tail}");
    }
}
