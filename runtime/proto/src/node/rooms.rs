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
//! Where a tenant has a ceiling ([`NodeConfig::max_stream_bytes`](super::NodeConfig)), its processes have no more than that
//! together: they take turns, an item each, and one whose own room is full lets the others pass.
//!
//! Results of callbacks that are called once an item ([`super::each`]) have a room of the same size. A stream has two of
//! them at most; but how large one is, is known when it is there, so that one that finds no room fails its stream.
//!
//! Invariants: what was let in counts until its reader is done with it, also when its stream has ended before. An item that
//! is as large as all there is, or larger, is let in when nothing else is there.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::each::Each;
use super::streams::Counted;
use super::{Node, outcome};
use crate::error::CallError;
use crate::id::{LocalId, ServeId, TenantName};
use crate::stream::{CHUNK_BYTES, StreamCall, StreamId};

/// How many payloads of full size clients of this node have room for together.
const CLIENT_PAYLOADS: usize = 4;

/// An item that was asked for and let in is to be here in this time, and a second for each so many bytes of it. Whoever asks and does not
/// send would keep the room from all others.
const PROMISE_PATIENCE: Duration = Duration::from_secs(30);
const PROMISE_BYTES_A_SECOND: u64 = 64 * 1024;

/// What there is room for.
#[derive(Debug, Default)]
pub(super) struct Rooms {
    /// By process; clients have one together.
    of: BTreeMap<Option<LocalId>, Room>,
    /// By tenant, where it has a ceiling.
    tenants: BTreeMap<TenantName, TenantRoom>,
    /// When to look whether items have come that were let in.
    promised: BTreeSet<(Duration, StreamId)>,
}

/// What a process has.
#[derive(Debug)]
struct Room {
    budget: Budget,
    /// Whose item is let in next; perhaps some that have ended.
    waits: VecDeque<StreamId>,
    /// Its tenant, where that has a ceiling, and whether the process is in its line.
    tenant: Option<TenantName>,
    in_line: bool,
}

/// What the processes of a tenant have together.
#[derive(Debug)]
struct TenantRoom {
    budget: Budget,
    /// Whose item is let in next; perhaps some that have nothing to be let in now.
    line: VecDeque<LocalId>,
}

/// How many bytes there are, and may be.
#[derive(Debug)]
struct Budget {
    most: u64,
    /// Bytes of large items that are here or were let in.
    large: u64,
    /// Bytes of results that wait for their readers.
    results: u64,
}

impl Budget {
    fn new(most: u64) -> Self {
        Self { most, large: 0, results: 0 }
    }

    /// Whether an item of so many bytes may come.
    fn admits(&self, bytes: u64) -> bool {
        self.large == 0 || self.large + bytes <= self.most
    }

    /// Whether there are more results than may be, one of so many bytes among them.
    fn is_past(&self, bytes: u64) -> bool {
        self.results > self.most.max(bytes)
    }

    fn change(&mut self, before: Counted, now: Counted) {
        self.large = (self.large + now.large).saturating_sub(before.large);
        self.results = (self.results + now.results).saturating_sub(before.results);
    }
}

impl Rooms {
    /// With these ceilings of tenants.
    pub fn new(ceilings: &BTreeMap<TenantName, usize>) -> Self {
        let room = |most: usize| TenantRoom { budget: Budget::new(most as u64), line: VecDeque::new() };
        let tenants = ceilings.iter().map(|(tenant, most)| (tenant.clone(), room(*most))).collect();
        Self { of: BTreeMap::new(), tenants, promised: BTreeSet::new() }
    }

    /// A room that nothing is in, and nobody waits for, is made anew when it is needed.
    fn forget_empty(&mut self, process: Option<LocalId>) {
        let is_empty =
            |room: &Room| (room.budget.large, room.budget.results) == (0, 0) && room.waits.is_empty() && !room.in_line;
        if self.of.get(&process).is_some_and(is_empty) {
            self.of.remove(&process);
        }
    }
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
        let Some(room) = self.rooms.of.get(&process).filter(|_| bytes as u64 > CHUNK_BYTES.into()) else {
            return Ok(());
        };
        if room.budget.is_past(bytes as u64) {
            return Err(outcome::results_unread(bytes, room.budget.most));
        }
        match room.tenant.as_ref().and_then(|name| Some((name, &self.rooms.tenants.get(name)?.budget))) {
            Some((name, budget)) if budget.is_past(bytes as u64) => {
                Err(outcome::results_of_tenant_unread(bytes, name, budget.most))
            }
            _ => Ok(()),
        }
    }

    /// The part of a process in what there is has changed.
    pub(super) fn count_room(&mut self, process: Option<LocalId>, before: Counted, now: Counted) {
        let room = self.room_of(process);
        room.budget.change(before, now);
        if let Some(tenant) = room.tenant.clone()
            && let Some(of_tenant) = self.rooms.tenants.get_mut(&tenant)
        {
            of_tenant.budget.change(before, now);
        }
    }

    /// Lets in what there is room for, in turn: of this process, and where its tenant has a ceiling of all processes of
    /// that.
    pub(super) fn let_in(&mut self, process: Option<LocalId>) {
        let Some(room) = self.rooms.of.get_mut(&process) else { return };
        match (room.tenant.clone(), process) {
            (Some(tenant), Some(local)) => {
                let was_in_line = std::mem::replace(&mut room.in_line, true);
                if let Some(of_tenant) = self.rooms.tenants.get_mut(&tenant)
                    && !was_in_line
                {
                    of_tenant.line.push_back(local);
                }
                self.let_in_of(&tenant);
            }
            _ => {
                while let Some((stream, _)) = self.next_in(process) {
                    self.allow(process, stream);
                }
                self.rooms.forget_empty(process);
            }
        }
    }

    /// The same of the processes of a tenant, an item each in turn.
    fn let_in_of(&mut self, tenant: &TenantName) {
        while let Some(local) = self.rooms.tenants.get(tenant).and_then(|of_tenant| of_tenant.line.front().copied()) {
            let process = Some(local);
            let next = self.next_in(process);
            let Some(of_tenant) = self.rooms.tenants.get_mut(tenant) else { return };
            if next.is_some_and(|(_, bytes)| !of_tenant.budget.admits(bytes)) {
                return;
            }
            of_tenant.line.pop_front();
            if let Some((stream, _)) = next {
                of_tenant.line.push_back(local);
                self.allow(process, stream);
            } else {
                if let Some(room) = self.rooms.of.get_mut(&process) {
                    room.in_line = false;
                }
                self.rooms.forget_empty(process);
            }
        }
    }

    /// Whose item a process has room for next, and of how many bytes.
    fn next_in(&mut self, process: Option<LocalId>) -> Option<(StreamId, u64)> {
        let (room, exchanges) = (self.rooms.of.get_mut(&process)?, &mut self.exchanges);
        while let Some(&stream) = room.waits.front() {
            let exchange = exchanges.get_mut(&stream.call);
            match exchange.and_then(|exchange| exchange.channels.inlet(stream.number)).and_then(|inlet| inlet.wants()) {
                Some(bytes) => return room.budget.admits(bytes).then_some((stream, bytes)),
                // It has ended.
                None => room.waits.pop_front(),
            };
        }
        None
    }

    /// Lets the item in that is next.
    fn allow(&mut self, process: Option<LocalId>, stream: StreamId) {
        if let Some(room) = self.rooms.of.get_mut(&process) {
            room.waits.pop_front();
        }
        let exchange = self.exchanges.get_mut(&stream.call);
        if let Some(inlet) = exchange.and_then(|exchange| exchange.channels.inlet(stream.number)) {
            let bytes = inlet.wants().unwrap_or_default();
            let until = self.now + PROMISE_PATIENCE + Duration::from_secs(bytes / PROMISE_BYTES_A_SECOND);
            inlet.allow(until);
            self.rooms.promised.insert((until, stream));
        }
        self.recount(stream.call);
        self.stir(stream.call);
    }

    /// Streams that ended while they waited are in nobody's way, but take place.
    fn forget_ended(&mut self, process: Option<LocalId>) {
        let Some(room) = self.rooms.of.get_mut(&process) else { return };
        let exchanges = &mut self.exchanges;
        room.waits.retain(|stream| {
            let exchange = exchanges.get_mut(&stream.call);
            exchange
                .and_then(|exchange| exchange.channels.inlet(stream.number))
                .is_some_and(|inlet| inlet.wants().is_some())
        });
    }

    /// Something came for a stream that had an item promised until then.
    pub(super) fn check_promise(&mut self, stream: StreamId, until: Duration) {
        let exchange = self.exchanges.get_mut(&stream.call);
        let inlet = exchange.and_then(|exchange| exchange.channels.inlet(stream.number));
        if inlet.and_then(|inlet| inlet.promised_until()) != Some(until) {
            self.rooms.promised.remove(&(until, stream));
        }
    }

    /// Streams whose items have not come in time end: others wait for the room that they were given.
    pub(super) fn check_promises(&mut self) {
        while let Some((until, stream)) = self.rooms.promised.first().copied().filter(|(until, _)| *until <= self.now) {
            self.rooms.promised.remove(&(until, stream));
            let exchange = self.exchanges.get_mut(&stream.call);
            let Some(inlet) = exchange.and_then(|exchange| exchange.channels.inlet(stream.number)) else { continue };
            if inlet.promised_until() == Some(until) {
                inlet.cancel(Some(outcome::item_did_not_come()));
                self.count_streams(stream.call);
                self.stir(stream.call);
            }
        }
    }

    /// When to look at the first of them.
    pub(super) fn next_promise(&self) -> Option<Duration> {
        self.rooms.promised.first().map(|(until, _)| *until)
    }

    fn room_of(&mut self, process: Option<LocalId>) -> &mut Room {
        let (locals, payload) = (&self.locals, self.config.max_payload_bytes);
        let Rooms { of, tenants, .. } = &mut self.rooms;
        of.entry(process).or_insert_with(|| {
            let local = process.and_then(|process| locals.get(&process));
            let most = local.map_or(payload.saturating_mul(CLIENT_PAYLOADS), |local| local.large_bytes);
            let tenant =
                local.map(|local| &local.process.tenant).filter(|tenant| tenants.contains_key(tenant)).cloned();
            Room { budget: Budget::new(most as u64), waits: VecDeque::new(), tenant, in_line: false }
        })
    }

    /// How many bytes of large items, and of results, all of them have.
    pub(super) fn in_rooms(&self) -> (u64, u64) {
        let budgets = self.rooms.of.values().map(|room| &room.budget);
        budgets.fold((0, 0), |(large, results), budget| (large + budget.large, results + budget.results))
    }
}
