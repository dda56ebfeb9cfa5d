//! Both ends of one stream and the link between them, which keeps order and may break.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use daffi_proto::error::{CallError, code};
use daffi_proto::stream::*;

/// The payload limit of these tests.
pub const MAX_ITEM_BYTES: usize = 4 * WINDOW_BYTES as usize;

/// A chunk of items that can be told apart: each is its number in the stream, padded to so many bytes.
pub fn chunk(first: u64, count: u32, item_bytes: usize) -> Chunk {
    let mut bytes = Vec::new();
    for number in first..first + u64::from(count) {
        let item = number.to_le_bytes();
        bytes.extend((0..item_bytes).map(|at| item[at % item.len()]));
    }
    Chunk { count, bytes: Bytes::from(bytes) }
}

pub fn failure() -> CallError {
    CallError::failed(code::TRAP, "it trapped", "a:b/c#d")
}

/// A stream whose messages are delivered when the test says so.
pub struct Pair {
    pub outlet: Outlet,
    pub inlet: Inlet,
    pub down: VecDeque<Push>,
    pub up: VecDeque<Pull>,
    pub now: Duration,
    /// Items and bytes that were sent and not taken yet.
    in_flight: (u64, u64),
    most_in_flight: (u64, u64),
    pub broken: bool,
    /// Whether there is room for whatever the writer asks for.
    pub has_room: bool,
    pub taken: Vec<Chunk>,
}

impl Pair {
    pub fn new(flow: Flow) -> Self {
        let now = Duration::ZERO;
        let mut pair = Self {
            outlet: Outlet::new(flow, MAX_ITEM_BYTES, now),
            inlet: Inlet::new(flow, MAX_ITEM_BYTES, now),
            down: VecDeque::new(),
            up: VecDeque::new(),
            now,
            in_flight: (0, 0),
            most_in_flight: (0, 0),
            broken: false,
            has_room: true,
            taken: Vec::new(),
        };
        pair.send();
        pair
    }

    /// Puts on the link what both ends have to send.
    pub fn send(&mut self) {
        self.now += Duration::from_millis(1);
        if self.has_room && self.inlet.lines_up() {
            self.inlet.allow(Duration::MAX);
        }
        while let Some(push) = self.outlet.transmit(self.now) {
            if let Push::Items(chunk) = &push {
                self.in_flight.0 += u64::from(chunk.count);
                self.in_flight.1 += chunk.bytes.len() as u64;
                let most = &mut self.most_in_flight;
                *most = (most.0.max(self.in_flight.0), most.1.max(self.in_flight.1));
            }
            self.down.push_back(push);
        }
        self.up.extend(std::iter::from_fn(|| self.inlet.transmit(self.now)));
        if self.broken {
            self.down.clear();
            self.up.clear();
        }
    }

    /// Delivers the next message to the reader's end.
    pub fn deliver_down(&mut self) {
        if let Some(push) = self.down.pop_front() {
            self.inlet.receive(push, self.now).unwrap();
        }
        self.send();
    }

    /// Delivers the next message to the writer's end.
    pub fn deliver_up(&mut self) {
        if let Some(pull) = self.up.pop_front() {
            self.outlet.receive(pull, self.now).unwrap();
        }
        self.send();
    }

    /// The reader is done with a chunk and takes the next one.
    pub fn take(&mut self) {
        self.inlet.release(self.now);
        if let Some(chunk) = self.inlet.take(self.now) {
            self.in_flight.0 -= u64::from(chunk.count);
            self.in_flight.1 -= chunk.bytes.len() as u64;
            self.taken.push(chunk);
        }
        self.send();
    }

    /// The link breaks, and what is on it is gone.
    pub fn break_link(&mut self) {
        if !self.broken {
            self.broken = true;
            self.outlet.lost();
            self.inlet.lost();
            self.send();
        }
    }

    /// Delivers and takes until nothing moves any more.
    pub fn settle(&mut self) {
        loop {
            let before = (self.down.len(), self.up.len(), self.taken.len());
            self.deliver_down();
            self.deliver_up();
            self.take();
            if before == (0, 0, self.taken.len()) && self.down.is_empty() && self.up.is_empty() {
                return;
            }
        }
    }

    /// The most items and bytes that ever were on the way or waited at the reader.
    pub fn most_in_flight(&self) -> (u64, u64) {
        self.most_in_flight
    }
}
