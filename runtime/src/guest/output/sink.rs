//! The two streams that an instance prints to.
//!
//! Whole lines go on as they come; the last [`TAIL_BYTES`] of stderr are kept too, since a Rust guest that panics says
//! why on its stderr and nowhere else.
//! Invariants: a line is at most [`MAX_LINE_BYTES`] long (longer ones are cut into several); what is kept of a guest is
//! bounded; a guest writes no more than it was allowed ([`WRITE_BYTES`] at once, however many handles of a stream it
//! has); a write that has no room is pending and never holds the thread. It does not read: a guest's stdin is closed.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};

use super::{GuestStream, ModuleOutput, PIECE_BYTES};

/// Longest line that is passed on in one piece.
pub const MAX_LINE_BYTES: usize = 8 << 10;

/// How much of a guest's last words an error carries.
pub const TAIL_BYTES: usize = 4 << 10;

/// How much a guest may write at once.
pub const WRITE_BYTES: usize = 16 << 10;

/// One stream of one instance. Clones are the same stream.
#[derive(Clone)]
pub(in crate::guest) struct LineSink {
    output: Arc<ModuleOutput>,
    lines: Arc<Mutex<Lines>>,
}

struct Lines {
    stream: GuestStream,
    output: Arc<ModuleOutput>,
    /// How much the guest may write yet, whether or not there still is room: it was told so.
    allowed_bytes: usize,
    partial: Vec<u8>,
    tail: VecDeque<u8>,
}

impl LineSink {
    pub fn new(stream: GuestStream, output: Arc<ModuleOutput>) -> Self {
        let lines =
            Lines { stream, output: output.clone(), allowed_bytes: 0, partial: Vec::new(), tail: VecDeque::new() };
        Self { output, lines: Arc::new(Mutex::new(lines)) }
    }

    /// Forgets what was written so far: a new call starts.
    pub fn start_tail(&self) {
        self.with(|lines| lines.tail.clear());
    }

    /// The last that was written since [`LineSink::start_tail`], [`TAIL_BYTES`] at most.
    pub fn tail(&self) -> String {
        self.with(|lines| String::from_utf8_lossy(lines.tail.make_contiguous()).trim().to_owned())
    }

    /// How much the guest may write; it may count on that.
    fn allowed(&self) -> usize {
        self.with(|lines| {
            if lines.output.is_open() {
                lines.allowed_bytes = WRITE_BYTES;
            }
            lines.allowed_bytes
        })
    }

    /// Waits until the guest may write, and allows it: others may have taken the room when it comes to that. Cancel
    /// safe.
    async fn allow(&self) {
        if self.allowed() == 0 {
            self.output.opened().await;
            self.with(|lines| lines.allowed_bytes = WRITE_BYTES);
        }
    }

    fn write(&self, bytes: &[u8]) {
        self.with(|lines| {
            // Each write is a piece, which costs more than its text.
            lines.allowed_bytes = lines.allowed_bytes.saturating_sub(bytes.len() + PIECE_BYTES);
            lines.write(bytes);
        });
        self.output.wrote(bytes.len());
    }

    fn with<R>(&self, f: impl FnOnce(&mut Lines) -> R) -> R {
        f(&mut self.lines.lock().unwrap_or_else(PoisonError::into_inner))
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
        // All lines of one write go on in one piece, which costs no more than their text.
        let mut text = String::new();
        for piece in bytes.split_inclusive(|&b| b == b'\n') {
            let (line, ends) = match piece.split_last() {
                Some((b'\n', line)) => (line, true),
                _ => (piece, false),
            };
            for part in line.chunks(MAX_LINE_BYTES) {
                if self.partial.len() + part.len() > MAX_LINE_BYTES {
                    self.end_line(&mut text);
                }
                self.partial.extend_from_slice(part);
            }
            if ends {
                self.end_line(&mut text);
            }
        }
        if !text.is_empty() {
            self.output.pass_on(self.stream, text);
        }
    }

    fn end_line(&mut self, text: &mut String) {
        let line = self.partial.strip_suffix(b"\r").unwrap_or(&self.partial);
        text.push_str(&String::from_utf8_lossy(line));
        text.push('\n');
        self.partial.clear();
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        if !self.partial.is_empty() {
            let mut text = String::new();
            self.end_line(&mut text);
            self.output.pass_on(self.stream, text);
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
        Box::new(AsyncSink { sink: self.clone(), allowing: None })
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl OutputStream for LineSink {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        if bytes.len() > self.allowed() {
            return Err(StreamError::trap("it wrote more than `check-write` allowed"));
        }
        LineSink::write(self, &bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(self.allowed())
    }
}

#[async_trait]
impl Pollable for LineSink {
    async fn ready(&mut self) {
        self.allow().await;
    }
}

/// A stream of WASI 0.3.
struct AsyncSink {
    sink: LineSink,
    allowing: Option<Pin<Box<dyn Future<Output = ()> + Send + Sync>>>,
}

impl AsyncWrite for AsyncSink {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            if let Some(allowing) = &mut self.allowing {
                ready!(allowing.as_mut().poll(cx));
                self.allowing = None;
            }
            let piece = bytes.get(..self.sink.allowed()).unwrap_or(bytes);
            if !piece.is_empty() || bytes.is_empty() {
                self.sink.write(piece);
                return Poll::Ready(Ok(piece.len()));
            }
            let sink = self.sink.clone();
            self.allowing = Some(Box::pin(async move { sink.allow().await }));
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
#[path = "sink_tests.rs"]
mod tests;
