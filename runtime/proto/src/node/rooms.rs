//! Room for large items: how many bytes of them a process may have in this runtime beyond the windows of its streams.
//!
//! ```text
//!   Want ──▶ in turn ── there is room ──▶ Grant ──▶ the item ──▶ its reader ── is done with it ──▶ room for the next
//! ```
//!
//! A stream's window bounds small items. One that no window lets through is let in when the process that reads it has
//! room: until then it stays with its writer, who may be anybody, and other streams go on. So what a process does not
//! read holds up those who write to it, and nobody else; and however many streams it has open, and whatever is
//! sent to it, what is here for it is bounded by their windows and [`ProcessSpec::large_bytes`](crate::call::ProcessSpec).
//!
//! Results of callbacks that are called once an item ([`super::each`]) have a room of the same size. A stream has two of
//! them at most; but how large one is, is known when it is there, so that one that finds no room fails its stream.
//!
//! Invariant: what was let in counts until its reader is done with it, also when its stream has ended before.

use std::collections::{BTreeMap, VecDeque};

use super::each::Each;
use super::streams::Counted;
use super::{Node, outcome};
use crate::error::CallError;
use crate::id::{LocalId, ServeId};
use crate::stream::{CHUNK_BYTES, StreamCall, StreamId};

/// How many payloads of full size clients of this node have room for together.
const CLIENT_PAYLOADS: usize = 4;

/// By process; clients have one together.
pub(super) type Rooms = BTreeMap<Option<LocalId>, Room>;

/// What a process has.
#[derive(Debug)]
pub(super) struct Room {
    most: u64,
    /// Bytes of large items that are here or were let in.
    large: u64,
    /// Bytes of results that wait for their readers.
    results: u64,
    /// Whose item is let in next; perhaps some that have ended.
    waits: VecDeque<StreamId>,
}

impl Node {
    /// Streams of a call may have items that no window lets through: they wait in line for room.
    pub(super) fn line_up(&mut self, call: StreamCall) {
        while let Some(exchange) = self.exchanges.get_mut(&call)
            && let Some(number) = exchange.channels.lines_up()
        {
            let (process, most_waits) = (exchange.process, 2 * self.open_streams);
            let room = self.room_of(process);
            room.waits.push_back(StreamId { call, number });
            if room.waits.len() > most_waits {
                self.forget_ended(process);
            }
        }
    }

    /// A callback that is called once an item has a result, which waits for its reader.
    ///
    /// # Errors
    /// There is no room for it.
    pub(super) fn hold_result(&mut self, whole: ServeId) -> Result<(), CallError> {
        let call = StreamCall::Served(whole);
        self.count_streams(call);
        let process = self.exchanges.get(&call).and_then(|exchange| exchange.process);
        let bytes = self.eaches.get(&whole).map_or(0, Each::result_bytes);
        match self.rooms.get(&process) {
            Some(room) if bytes as u64 > CHUNK_BYTES.into() && room.results > room.most.max(bytes as u64) => {
                Err(outcome::results_unread(bytes, room.most))
            }
            _ => Ok(()),
        }
    }

    /// The part of a process in what there is has changed.
    pub(super) fn count_room(&mut self, process: Option<LocalId>, before: Counted, now: Counted) {
        let room = self.room_of(process);
        room.large = (room.large + now.large).saturating_sub(before.large);
        room.results = (room.results + now.results).saturating_sub(before.results);
    }

    /// Lets in what there is room for, in turn; of one that is as large as all of it, when nothing else is there.
    pub(super) fn let_in(&mut self, process: Option<LocalId>) {
        while let Some(room) = self.rooms.get_mut(&process) {
            let Some(&stream) = room.waits.front() else {
                if (room.large, room.results) == (0, 0) {
                    self.rooms.remove(&process);
                }
                return;
            };
            let exchange = self.exchanges.get_mut(&stream.call);
            if let Some(inlet) = exchange.and_then(|exchange| exchange.channels.inlet(stream.number))
                && let Some(bytes) = inlet.wants()
            {
                if room.large > 0 && room.large + bytes > room.most {
                    return;
                }
                inlet.allow();
                room.waits.pop_front();
                self.recount(stream.call);
                self.stir(stream.call);
            } else {
                // It has ended.
                room.waits.pop_front();
            }
        }
    }

    /// Streams that ended while they waited are in nobody's way, but take place.
    fn forget_ended(&mut self, process: Option<LocalId>) {
        let Some(room) = self.rooms.get_mut(&process) else { return };
        let exchanges = &mut self.exchanges;
        room.waits.retain(|stream| {
            let exchange = exchanges.get_mut(&stream.call);
            exchange
                .and_then(|exchange| exchange.channels.inlet(stream.number))
                .is_some_and(|inlet| inlet.wants().is_some())
        });
    }

    fn room_of(&mut self, process: Option<LocalId>) -> &mut Room {
        let (locals, payload) = (&self.locals, self.config.max_payload_bytes);
        self.rooms.entry(process).or_insert_with(|| {
            let own = process.and_then(|process| locals.get(&process)).map(|local| local.large_bytes);
            let most = own.unwrap_or(payload.saturating_mul(CLIENT_PAYLOADS)) as u64;
            Room { most, large: 0, results: 0, waits: VecDeque::new() }
        })
    }

    /// How many bytes of large items, and of results, all of them have.
    pub(super) fn in_rooms(&self) -> (u64, u64) {
        let rooms = self.rooms.values();
        rooms.fold((0, 0), |(large, results), room| (large + room.large, results + room.results))
    }
}
