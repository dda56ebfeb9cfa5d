//! Lines from stdin and to stdout, by threads that may wait for them as long as it takes.
//!
//! Invariant: a thread is one batch ahead at most. Nobody waits for a thread when the process ends: one that reads a
//! terminal would never come back.

use std::io::{self, BufRead, BufReader, Read};
use std::thread;

use bytes::{Bytes, BytesMut};
use daffi_proto::stream::{CHUNK_BYTES, CHUNK_ITEMS, Chunk, Flow};
use daffi_proto::value::Limits;
use tokio::sync::{mpsc, oneshot};

use super::super::stdout::{Reader, print};
use crate::exit::{self, Failure};

/// Longest line: as much as a payload may have unless limits say otherwise.
const MAX_LINE_BYTES: usize = Limits::for_payload(daffi_proto::frame::DEFAULT_MAX_PAYLOAD_BYTES).max_bytes;

/// Lines that were there at once: as many as make a chunk, or a single longer one.
#[derive(Default)]
pub struct Lines {
    /// The number of the first, from 1.
    first: u64,
    lines: Vec<Vec<u8>>,
}

impl Lines {
    /// The lines and their numbers.
    pub fn numbered(&self) -> impl Iterator<Item = (u64, &[u8])> {
        (self.first..).zip(self.lines.iter().map(Vec::as_slice))
    }
}

/// Reads stdin to its end, or to the first line that cannot be read, as fast as it is taken.
///
/// # Errors
/// There is no thread.
pub fn read() -> Result<mpsc::Receiver<Result<Lines, Failure>>, Failure> {
    let (sender, receiver) = mpsc::channel(1);
    let reading = move || read_all(BufReader::with_capacity(CHUNK_BYTES as usize, io::stdin()), &sender);
    let thread = thread::Builder::new().name("daffi-in".to_owned()).spawn(reading);
    thread.map_err(|error| Failure::new(exit::FAILED, format!("no thread for stdin: {error}")))?;
    Ok(receiver)
}

fn read_all(mut from: BufReader<impl Read>, to: &mpsc::Sender<Result<Lines, Failure>>) {
    let mut batch = Lines { first: 1, lines: Vec::new() };
    let mut bytes = 0;
    loop {
        let line = next_line(&mut from);
        let ends = !matches!(line, Ok(Some(_)));
        let error = match line {
            Ok(line) => {
                bytes += line.as_ref().map_or(0, Vec::len);
                batch.lines.extend(line);
                None
            }
            Err(error) => Some(format!("line {}: {error}", batch.first + batch.lines.len() as u64)),
        };
        let is_full = bytes >= CHUNK_BYTES as usize || batch.lines.len() >= CHUNK_ITEMS as usize;
        // What is there goes before the next line is waited for.
        if is_full || ends || !from.buffer().contains(&b'\n') {
            let first = batch.first + batch.lines.len() as u64;
            let full = std::mem::replace(&mut batch, Lines { first, lines: Vec::new() });
            bytes = 0;
            if to.blocking_send(Ok(full)).is_err() {
                return; // no more are wanted
            }
        }
        if let Some(error) = error {
            let _ = to.blocking_send(Err(Failure::usage(error)));
        }
        if ends {
            return;
        }
    }
}

/// A line without its end; none where there is no further one.
fn next_line(from: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let most = MAX_LINE_BYTES as u64 + 1;
    from.take(most).read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Ok(None);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
    }
    if line.len() > MAX_LINE_BYTES {
        return Err(io::Error::other(format!("it is longer than {MAX_LINE_BYTES} bytes")));
    }
    Ok(Some(line))
}

/// Items, put together to chunks.
pub struct Chunks {
    flow: Flow,
    chunks: Vec<(u32, BytesMut)>,
}

impl Chunks {
    /// None yet.
    pub fn new(flow: Flow) -> Self {
        Self { flow, chunks: Vec::new() }
    }

    /// Adds an item, or a piece of bytes.
    pub fn add(&mut self, item: &Bytes) {
        let most = self.flow.chunk();
        let (most_items, most_bytes) = (most.items, usize::try_from(most.bytes).unwrap_or(usize::MAX));
        if self.flow == Flow::Bytes {
            let pieces = item.chunks(most_bytes);
            self.chunks.extend(pieces.map(|piece| (piece.len() as u32, BytesMut::from(piece))));
            return;
        }
        match self.chunks.last_mut() {
            Some((count, bytes)) if u64::from(*count) < most_items && bytes.len() + item.len() <= most_bytes => {
                *count += 1;
                bytes.extend_from_slice(item);
            }
            _ => self.chunks.push((1, BytesMut::from(&item[..]))),
        }
    }

    /// The chunks.
    pub fn take(self) -> impl Iterator<Item = Chunk> {
        self.chunks.into_iter().map(|(count, bytes)| Chunk { count, bytes: bytes.freeze() })
    }
}

/// What is printed, text by text.
pub struct Page {
    /// Takes whole lines; closed when nobody reads stdout any more.
    pub texts: mpsc::Sender<String>,
    printed: oneshot::Receiver<Result<Reader, Failure>>,
}

impl Page {
    /// Begins to print.
    pub fn open() -> Self {
        let (texts, mut receiver) = mpsc::channel::<String>(1);
        let (done, printed) = oneshot::channel();
        // Without a thread both ends are dropped with the closure, as where nobody reads.
        let _ = thread::Builder::new().name("daffi-out".to_owned()).spawn(move || {
            let mut printed = Ok(Reader::There);
            while let Some(text) = receiver.blocking_recv() {
                printed = print(&text);
                if !matches!(printed, Ok(Reader::There)) {
                    break;
                }
            }
            let _ = done.send(printed);
        });
        Self { texts, printed }
    }

    /// Resolves when all is printed, or nobody reads any more.
    ///
    /// # Errors
    /// It could not be printed.
    pub async fn close(self) -> Result<(), Failure> {
        drop(self.texts);
        self.printed.await.map_or(Ok(()), |printed| printed.map(drop))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &[u8]) -> Vec<Result<Vec<(u64, String)>, String>> {
        let (sender, mut receiver) = mpsc::channel(64);
        let text = text.to_vec();
        thread::spawn(move || read_all(BufReader::new(&text[..]), &sender));
        let mut read = Vec::new();
        while let Some(lines) = receiver.blocking_recv() {
            let texts = |lines: Lines| {
                lines.numbered().map(|(number, line)| (number, String::from_utf8_lossy(line).into_owned())).collect()
            };
            read.push(lines.map(texts).map_err(|failure| failure.message));
        }
        read
    }

    #[test]
    fn lines_are_numbered_and_the_last_one_needs_no_end() {
        let read = all(b"a\n\nb\nc");
        let lines: Vec<_> = read.into_iter().flat_map(Result::unwrap).collect();
        let texts: Vec<_> = lines.iter().map(|(number, text)| (*number, text.as_str())).collect();
        assert_eq!(texts, [(1, "a"), (2, ""), (3, "b"), (4, "c")]);
    }

    #[test]
    fn a_line_beyond_the_bound_is_an_error_that_names_it() {
        let mut text = b"a\n".to_vec();
        text.resize(2 + MAX_LINE_BYTES + 1, b'x');
        let read = all(&text);
        let error = read.last().unwrap().as_ref().unwrap_err();
        assert_eq!(error, &format!("line 2: it is longer than {MAX_LINE_BYTES} bytes"));
    }

    #[test]
    fn items_become_chunks_within_their_bounds() {
        let mut chunks = Chunks::new(Flow::Items);
        for _ in 0..CHUNK_ITEMS + 1 {
            chunks.add(&Bytes::from_static(b"x"));
        }
        chunks.add(&Bytes::from(vec![0; CHUNK_BYTES as usize]));
        let sizes: Vec<_> = chunks.take().map(|chunk| (chunk.count, chunk.bytes.len())).collect();
        assert_eq!(sizes, [(256, 256), (1, 1), (1, 65536)]);
    }
}
