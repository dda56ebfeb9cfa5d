//! The streams' ends in this runtime, between their ports and the node.
//!
//! Invariants: the node is given a chunk only when it has room for one, and gives a reader one only when nothing waits
//! for him and he is done with what he had; what a writer gave comes before his last word; a port is forgotten when the node has told what its stream
//! came to. Every port learns that, also when the driver ends.

use std::collections::HashMap;
use std::sync::Arc;

use daffi_proto::node::{StreamAct, StreamEvent};
use daffi_proto::stream::{Ending, Flow, StreamCall, StreamId};

use super::handle::{Bell, Port, StreamReader, Word};

/// All ends of streams that the node knows.
pub(super) struct Streams {
    bell: Bell,
    writers: HashMap<StreamId, Writer>,
    readers: HashMap<StreamId, Reader>,
}

struct Writer {
    port: Arc<Port>,
    /// Whether the node takes a chunk.
    has_room: bool,
}

struct Reader {
    port: Arc<Port>,
    /// Whether the node is to give the next items when there are some.
    is_asked: bool,
}

impl Streams {
    /// None.
    pub(super) fn new(bell: Bell) -> Self {
        Self { bell, writers: HashMap::new(), readers: HashMap::new() }
    }

    /// Ends that are written here, and whose call the node knows. Gives what was done with them before.
    pub(super) fn add_writers(&mut self, ports: Vec<Arc<Port>>) -> Vec<(StreamId, StreamAct)> {
        let mut acts = Vec::new();
        for port in ports {
            let id = port.id();
            let writer = self.writers.entry(id).insert_entry(Writer { port, has_room: true }).into_mut();
            acts.extend(writer.acts().map(|act| (id, act)));
        }
        acts
    }

    /// The readers of a call's streams.
    pub(super) fn readers(&mut self, call: StreamCall, flows: &[Flow]) -> Vec<StreamReader> {
        let numbered = (0..).zip(flows);
        let readers = numbered.map(|(number, flow)| {
            let id = StreamId { call, number };
            let (reader, port) = StreamReader::new(id, *flow, self.bell.clone());
            self.readers.insert(id, Reader { port, is_asked: true });
            reader
        });
        readers.collect()
    }

    /// A port has rung: what is done with its end.
    pub(super) fn rung(&mut self, port: &Arc<Port>) -> Vec<(StreamId, StreamAct)> {
        port.heard();
        let id = port.id();
        // One that the node does not know yet is looked at when it does.
        let writer = self.writers.get_mut(&id).filter(|writer| Arc::ptr_eq(&writer.port, port));
        if let Some(writer) = writer {
            return writer.acts().map(|act| (id, act)).collect();
        }
        let reader = self.readers.get_mut(&id).filter(|reader| Arc::ptr_eq(&reader.port, port));
        reader.into_iter().flat_map(Reader::acts).map(|act| (id, act)).collect()
    }

    /// The node has something for an end. Gives what its writer has for the node in turn.
    pub(super) fn take_event(&mut self, id: StreamId, event: StreamEvent) -> Vec<(StreamId, StreamAct)> {
        match event {
            StreamEvent::Room => {
                let Some(writer) = self.writers.get_mut(&id) else { return Vec::new() };
                writer.has_room = true;
                return writer.acts().map(|act| (id, act)).collect();
            }
            StreamEvent::Items(chunk) => {
                if let Some(reader) = self.readers.get_mut(&id) {
                    reader.is_asked = false;
                    reader.port.give(chunk);
                    // One who takes no more is done with it.
                    return reader.acts().map(|act| (id, act)).collect();
                }
            }
            StreamEvent::Written(ending) => {
                if let Some(writer) = self.writers.remove(&id) {
                    writer.port.end(ending);
                }
            }
            StreamEvent::Read(ending) => {
                if let Some(reader) = self.readers.remove(&id) {
                    reader.port.end(ending);
                }
            }
        }
        Vec::new()
    }
}

impl Writer {
    /// What its writer has for the node: a chunk where there is room, and the last word when no chunk is left.
    fn acts(&mut self) -> impl Iterator<Item = StreamAct> + use<> {
        let chunk = if self.has_room { self.port.take() } else { None };
        self.has_room &= chunk.is_none();
        let word = if self.port.is_empty() { self.port.word() } else { None };
        let word = word.and_then(|word| match word {
            Word::Finish => Some(StreamAct::Finish),
            Word::Fail(error) => Some(StreamAct::Fail(error)),
            Word::Cancel(_) | Word::Heard => None,
        });
        chunk.map(StreamAct::Push).into_iter().chain(word)
    }
}

impl Reader {
    /// What its reader has for the node: his last word, and that he is done with what he was given.
    fn acts(&mut self) -> impl Iterator<Item = StreamAct> + use<> {
        let cancel = match self.port.word() {
            Some(Word::Cancel(why)) => Some(StreamAct::Cancel(why)),
            _ => None,
        };
        let is_done = !self.is_asked && self.port.is_empty();
        self.is_asked |= is_done;
        cancel.into_iter().chain(is_done.then_some(StreamAct::Take))
    }
}

impl Drop for Streams {
    fn drop(&mut self) {
        let writers = self.writers.values().map(|writer| &writer.port);
        for port in writers.chain(self.readers.values().map(|reader| &reader.port)) {
            port.end(Ending::Lost);
        }
    }
}
