//! The ends of streams that a test has: what it does with them, and what came of them.

use std::collections::VecDeque;

use bytes::Bytes;
use daffi_proto::error::CallError;
use daffi_proto::id::{ServeId, Token};
use daffi_proto::node::{Command, StreamAct, StreamEvent};
use daffi_proto::stream::{Chunk, Ending, Flow, StreamCall, StreamId};

use super::{Net, Runtime};

/// The writing end of a stream.
#[derive(Debug, Default)]
pub struct Writer {
    /// What waits for room.
    pub queue: VecDeque<Chunk>,
    /// Whether the node has said that there is room.
    pub has_room: bool,
    /// What it says behind the queue.
    pub last: Option<Result<(), CallError>>,
    pub ending: Option<Ending>,
}

/// The reading end of a stream. It reads as soon as something comes, unless it is told to wait.
#[derive(Debug, Default)]
pub struct Reader {
    pub chunks: Vec<Chunk>,
    /// Whether it has something that the test has not taken, and so asks for nothing.
    pub holds: bool,
    /// Whether it takes what comes only when the test says so.
    pub is_slow: bool,
    pub ending: Option<Ending>,
}

impl Reader {
    /// All bytes that came.
    pub fn bytes(&self) -> Vec<u8> {
        self.chunks.iter().flat_map(|chunk| chunk.bytes.iter().copied()).collect()
    }

    pub fn items(&self) -> u64 {
        self.chunks.iter().map(|chunk| u64::from(chunk.count)).sum()
    }
}

/// The streams of a call that was made.
pub fn made(token: Token, number: u32) -> StreamId {
    StreamId { call: StreamCall::Made(token), number }
}

/// The streams of a call that is served.
pub fn served(id: ServeId, number: u32) -> StreamId {
    StreamId { call: StreamCall::Served(id), number }
}

/// So many items of so many bytes, all of them this one.
pub fn chunk(byte: u8, count: u32, item_bytes: usize) -> Chunk {
    Chunk { count, bytes: Bytes::from(vec![byte; count as usize * item_bytes]) }
}

impl Runtime {
    pub fn open_writers(&mut self, call: StreamCall, flows: &[Flow]) {
        for (number, _) in (0..).zip(flows) {
            let writer = Writer { has_room: true, ..Writer::default() };
            let before = self.writers.insert(StreamId { call, number }, writer);
            assert!(before.is_none(), "a stream was opened twice");
        }
    }

    pub fn open_readers(&mut self, call: StreamCall, flows: &[Flow]) {
        for (number, _) in (0..).zip(flows) {
            let before = self.readers.insert(StreamId { call, number }, Reader::default());
            assert!(before.is_none(), "a stream was opened twice");
        }
    }
}

impl Net {
    /// Gives a writer's end something, behind what waits there.
    pub fn write(&mut self, node: usize, id: StreamId, chunk: Chunk) {
        self.nodes[node].writers.get_mut(&id).unwrap().queue.push_back(chunk);
        self.push(node, id);
    }

    pub fn finish(&mut self, node: usize, id: StreamId) {
        self.nodes[node].writers.get_mut(&id).unwrap().last = Some(Ok(()));
        self.push(node, id);
    }

    pub fn fail_stream(&mut self, node: usize, id: StreamId, error: CallError) {
        self.nodes[node].writers.get_mut(&id).unwrap().last = Some(Err(error));
        self.push(node, id);
    }

    pub fn stop_reading(&mut self, node: usize, id: StreamId, why: Option<CallError>) {
        self.stream(node, id, StreamAct::Cancel(why));
    }

    /// A slow reader takes what came.
    pub fn read(&mut self, node: usize, id: StreamId) {
        let reader = self.nodes[node].readers.get_mut(&id).unwrap();
        if std::mem::take(&mut reader.holds) && reader.ending.is_none() {
            self.stream(node, id, StreamAct::Take);
        }
    }

    /// Lets a reader wait for the test from now on.
    pub fn slow_reader(&mut self, node: usize, id: StreamId, is_slow: bool) {
        self.nodes[node].readers.get_mut(&id).unwrap().is_slow = is_slow;
        if !is_slow {
            self.read(node, id);
        }
    }

    /// Answers a call while it goes on, with streams.
    pub fn reply(&mut self, node: usize, id: ServeId, result: &'static str, flows: &[Flow]) {
        self.nodes[node].open_writers(StreamCall::Served(id), flows);
        self.command(node, Command::Replied { id, result: result.into(), channels: flows.into() });
    }

    pub fn writer(&self, node: usize, id: StreamId) -> &Writer {
        &self.nodes[node].writers[&id]
    }

    pub fn reader(&self, node: usize, id: StreamId) -> &Reader {
        &self.nodes[node].readers[&id]
    }

    fn stream(&mut self, node: usize, id: StreamId, act: StreamAct) {
        self.command(node, Command::Stream { id, act });
    }

    fn push(&mut self, node: usize, id: StreamId) {
        let writer = self.nodes[node].writers.get_mut(&id).unwrap();
        if writer.ending.is_some() {
            return;
        }
        if writer.has_room
            && let Some(chunk) = writer.queue.pop_front()
        {
            writer.has_room = false;
            return self.stream(node, id, StreamAct::Push(chunk));
        }
        if writer.queue.is_empty()
            && let Some(last) = writer.last.take()
        {
            let act = last.map_or_else(StreamAct::Fail, |()| StreamAct::Finish);
            self.stream(node, id, act);
        }
    }

    /// Something came of a stream.
    pub(super) fn streamed(&mut self, node: usize, id: StreamId, event: StreamEvent) {
        let runtime = &mut self.nodes[node];
        match event {
            StreamEvent::Room => {
                let writer = runtime.writers.get_mut(&id).unwrap();
                assert!(writer.ending.is_none() && !writer.has_room, "room that nobody asked for");
                writer.has_room = true;
                self.push(node, id);
            }
            StreamEvent::Items(chunk) => {
                let reader = runtime.readers.get_mut(&id).unwrap();
                assert!(reader.ending.is_none() && !reader.holds, "items that nobody asked for");
                reader.chunks.push(chunk);
                reader.holds = true;
                if !reader.is_slow {
                    self.read(node, id);
                }
            }
            StreamEvent::Written(ending) => {
                let writer = runtime.writers.get_mut(&id).unwrap();
                assert!(writer.ending.replace(ending).is_none(), "a writer was told twice");
            }
            StreamEvent::Read(ending) => {
                let reader = runtime.readers.get_mut(&id).unwrap();
                assert!(reader.ending.replace(ending).is_none(), "a reader was told twice");
            }
        }
    }
}
