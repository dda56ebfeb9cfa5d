//! The streams of the calls that this node makes and serves.
//!
//! ```text
//!   Nowhere ──placed──▶ Link, or Here (both ends in this node) ──both last words, of all streams──▶ over
//!      └────────────────────────┴──failed, given up, overdue, link lost──▶ Cut ──all is read──▶ over
//! ```
//!
//! An exchange is the streams of one call at one of its ends. It begins with the call where that has streams, or with
//! its answer; a call that was made here is over when it has its answer, and its exchange goes on until its streams have
//! ended. What an exchange does is done one message at a time, in turn with all others, when the node's other outputs
//! have been taken: so no stream holds up another.
//!
//! Invariants: every end that its user has is told once what it came to, behind all items; an exchange is forgotten when
//! all of that was told and said. What comes for an exchange that is not known has crossed its end. A peer that breaks
//! the rules of a stream costs its own call's streams, and never the link, which others share.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{MAX_STREAM_BYTES, MAX_STREAMS, Node, Output, Peer, Request, StreamAct, StreamEvent, Via, Wire, outcome};
use crate::call::{Mode, WhenAbandoned};
use crate::error::CallError;
use crate::frame::{Frame, Side, StreamRef};
use crate::id::{LocalId, ServeId};
use crate::stream::{
    Channels, Ending, Flow, Inlet, Message, NotTaken, Outlet, Push, StreamCall, StreamId, most_chunk_bytes,
};
use crate::value::MAX_CHANNELS;

/// The streams of a call at one of its ends.
#[derive(Debug)]
pub(super) struct Exchange {
    pub channels: Channels,
    pub route: Route,
    /// The ends that the user writes, until he is told what they came to; and whether he waits for room.
    pub writers: BTreeMap<u32, bool>,
    /// The ends that the user reads, until he is told what they came to; and whether he waits for items.
    pub readers: BTreeMap<u32, bool>,
    /// How long there may be no progress.
    pub idle: Duration,
    /// When something was known to go on that is not seen in the streams that there are.
    pub alive: Duration,
    /// When the other end was last told so.
    pub signed: Duration,
    /// Whose call it is; nobody's with a name where a client makes it.
    pub process: Option<LocalId>,
    /// What the call is made for.
    pub parent: Option<ServeId>,
    pub when_abandoned: WhenAbandoned,
    /// Whether what the call was made for was given up.
    pub abandoned: bool,
    /// Whether the call has its answer: no more streams come. Of one that is served here, its user tells.
    pub answered: bool,
    /// When to look whether there was progress: of a call that was made here once it has its answer, of one that came
    /// over the link from its begin.
    pub timer: Option<Duration>,
    /// Who serves the call, once it has its answer: what it takes there counts until all is over.
    pub peer: Option<Peer>,
    /// Whether it has its turn to come.
    stirred: bool,
    /// Its part of the node's counts.
    pub counted: Counted,
}

/// What an exchange has a part in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counted {
    pub streams: usize,
    /// Bytes that wait to be read.
    pub waiting: usize,
    /// Bytes of large items, in the room of its process.
    pub large: u64,
    /// Bytes of results, there.
    pub results: u64,
}

/// Where the other end of an exchange is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// Nobody serves the call yet.
    Nowhere,
    /// At another node, by the call's id on the link.
    Link(Wire),
    /// In this node.
    Here(StreamCall),
    /// It is not reached any more.
    Cut,
}

/// The side that the user of a call's streams is on.
fn side_of(call: StreamCall) -> Side {
    match call {
        StreamCall::Made(_) => Side::Caller,
        StreamCall::Served(_) => Side::Callee,
    }
}

impl Exchange {
    fn new(idle: Duration, now: Duration) -> Self {
        Self {
            channels: Channels::default(),
            route: Route::Nowhere,
            writers: BTreeMap::new(),
            readers: BTreeMap::new(),
            idle,
            alive: now,
            signed: now,
            process: None,
            parent: None,
            when_abandoned: WhenAbandoned::Cancel,
            abandoned: false,
            answered: false,
            timer: None,
            peer: None,
            stirred: false,
            counted: Counted::default(),
        }
    }

    /// Whether something may be on its way to the other end.
    pub fn has_begun(&self) -> bool {
        self.channels.has_begun()
    }

    /// When it is overdue, unless there is progress.
    pub fn deadline(&self) -> Duration {
        self.channels.last_progress().unwrap_or_default().max(self.alive) + self.idle
    }
}

impl Node {
    /// The streams of a call that has none here yet.
    pub(super) fn exchange(&mut self, call: StreamCall, idle: Duration) -> &mut Exchange {
        let now = self.now;
        self.exchanges.entry(call).or_insert_with(|| Exchange::new(idle, now))
    }

    /// Whether so many more streams may be opened.
    pub(super) fn may_open(&self, streams: usize, callback: &str) -> Result<(), CallError> {
        let most = MAX_CHANNELS as usize;
        if streams > most {
            return Err(outcome::too_many_streams_of_call(streams, most, callback));
        }
        if streams > 0 && self.open_streams + streams > MAX_STREAMS {
            return Err(outcome::too_many_streams(callback));
        }
        Ok(())
    }

    /// Whether a callback of this process may be called once an item by one call more: who may call one process must not take the
    /// streams that all of this node have. Of other calls the process itself knows, and says so.
    pub(super) fn may_have_streams(&self, process: LocalId, mode: Mode, streams: usize) -> Result<(), CallError> {
        let Some(local) = self.locals.get(&process).filter(|_| mode == Mode::Each) else { return Ok(()) };
        // That of the results too.
        let wanted = streams + 1;
        match local.streams + wanted > local.max_streams {
            true => Err(outcome::too_many_streams_of_process(&local.process.name, local.max_streams)),
            false => Ok(()),
        }
    }

    /// Opens ends that the user writes.
    pub(super) fn open_writers(&mut self, call: StreamCall, flows: &[Flow]) {
        let (now, most) = (self.now, self.config.max_payload_bytes);
        let Some(exchange) = self.exchanges.get_mut(&call) else { return };
        for (number, flow) in (0..).zip(flows) {
            exchange.channels.add_outlet(number, Outlet::new(*flow, most, now));
            exchange.writers.insert(number, false);
        }
        self.count_streams(call);
        self.stir(call);
    }

    /// Opens ends that the user reads.
    pub(super) fn open_readers(&mut self, call: StreamCall, flows: &[Flow]) {
        let (now, most) = (self.now, self.config.max_payload_bytes);
        let Some(exchange) = self.exchanges.get_mut(&call) else { return };
        for (number, flow) in (0..).zip(flows) {
            exchange.channels.add_inlet(number, Inlet::new(*flow, most, now));
            exchange.readers.insert(number, true);
        }
        self.count_streams(call);
        self.stir(call);
    }

    /// Opens the two ends that the node itself has in a call that is made once an item.
    pub(super) fn open_own_ends(&mut self, call: StreamCall) {
        let (now, most) = (self.now, self.config.max_payload_bytes);
        let Some(exchange) = self.exchanges.get_mut(&call) else { return };
        exchange.channels.add_inlet(0, Inlet::new(Flow::Items, most, now));
        exchange.channels.add_outlet(0, Outlet::new(Flow::Items, most, now));
        self.count_streams(call);
        self.stir(call);
    }

    /// Tells writers that nothing will come of their streams, of which there is no exchange.
    pub(super) fn refuse_writers(&mut self, call: StreamCall, flows: &[Flow], why: &CallError) {
        for (number, _) in (0..).zip(flows) {
            let event = StreamEvent::Written(Ending::Cancelled(Some(Box::new(why.clone()))));
            self.outputs.push_back(Output::Stream { id: StreamId { call, number }, event });
        }
    }

    /// The call that was made here has its answer, with streams of these flows; `peer` serves it.
    pub(super) fn exchange_answered(&mut self, call: StreamCall, peer: Option<Peer>) {
        let Some(exchange) = self.exchanges.get_mut(&call) else { return };
        exchange.answered = true;
        exchange.alive = self.now;
        exchange.peer = peer;
        let (parent, at) = (exchange.parent, exchange.deadline());
        exchange.timer = Some(at);
        self.deadlines.set(at, Request::Streams(call));
        if let Some(peer) = peer {
            self.began(peer);
        }
        self.note_below(parent, Request::Streams(call));
        self.stir(call);
    }

    /// What the user does with an end.
    pub(super) fn stream_act(&mut self, id: StreamId, act: StreamAct) {
        let StreamId { call, number } = id;
        let Some(exchange) = self.exchanges.get_mut(&call) else { return };
        let Exchange { channels, writers, readers, .. } = exchange;
        match act {
            StreamAct::Push(chunk) => {
                let Some(outlet) = channels.outlet(number) else { return };
                match outlet.push(chunk) {
                    Ok(()) => drop(writers.entry(number).and_modify(|waits| *waits = true)),
                    Err(NotTaken::Ended) => {}
                    Err(error) => outlet.fail(outcome::bad_chunk(&error)),
                }
            }
            StreamAct::Finish => {
                if let Some(outlet) = channels.outlet(number) {
                    outlet.finish();
                }
            }
            StreamAct::Fail(error) => {
                if let Some(outlet) = channels.outlet(number) {
                    outlet.fail(error);
                }
            }
            StreamAct::Take => {
                if let Some(inlet) = channels.inlet(number) {
                    inlet.release(self.now);
                }
                readers.entry(number).and_modify(|waits| *waits = true);
            }
            StreamAct::Cancel(why) => {
                if let Some(inlet) = channels.inlet(number) {
                    inlet.cancel(why);
                }
            }
        }
        self.stir(call);
    }

    /// A frame of a stream came over a link.
    pub(super) fn take_stream(&mut self, via: Via, stream: StreamRef, message: Message) {
        let wire = Wire { via, id: stream.call };
        let call = match stream.from {
            Side::Caller => self.incoming.get(&wire).map(|serve| StreamCall::Served(*serve)),
            Side::Callee => self.wires.get(&wire).copied(),
        };
        if let Some(call) = call {
            self.receive(call, stream.number, message);
        }
    }

    /// Something for an end of this node.
    fn receive(&mut self, call: StreamCall, number: u32, message: Message) {
        let room = MAX_STREAM_BYTES.max(self.config.max_payload_bytes).saturating_sub(self.stream_bytes);
        let Some(exchange) = self.exchanges.get_mut(&call) else { return };
        let bytes = match &message {
            Message::Push(Push::Items(chunk)) => chunk.bytes.len(),
            _ => 0,
        };
        let promised = match &message {
            Message::Push(_) => exchange.channels.inlet(number).and_then(|inlet| inlet.promised_until()),
            Message::Pull(_) => None,
        };
        match exchange.channels.receive(number, message, self.now) {
            Ok(()) if bytes > room => {
                if let Some(inlet) = exchange.channels.inlet(number) {
                    inlet.cancel(Some(outcome::too_much_unread()));
                }
            }
            Ok(()) => {}
            Err(bad) => exchange.channels.give_up(&outcome::bad_stream(&bad)),
        }
        if let Some(until) = promised {
            self.check_promise(StreamId { call, number }, until);
        }
        self.note_progress(call);
        self.stir(call);
    }

    /// An exchange may have something to do.
    pub(super) fn stir(&mut self, call: StreamCall) {
        if let Some(exchange) = self.exchanges.get_mut(&call)
            && !std::mem::replace(&mut exchange.stirred, true)
        {
            self.stirred.push_back(call);
        }
    }

    /// A link takes what streams have to send, or not for now.
    pub(super) fn set_congested(&mut self, via: Via, congested: bool) {
        if congested {
            self.congested.insert(via);
        } else if self.congested.remove(&via) {
            // Those of other links find them full, and wait on.
            for call in std::mem::take(&mut self.held) {
                self.stir(call);
            }
        }
    }

    /// Lets the streams of one call take a step, in turn, which is short: one message, or one item that is served. False
    /// when none has anything to do. What comes of it is to be taken before the next ([`Node::take_output`]).
    pub fn step_streams(&mut self) -> bool {
        let Some(call) = self.stirred.pop_front() else { return false };
        if let Some(exchange) = self.exchanges.get_mut(&call) {
            exchange.stirred = false;
            self.step(call);
        }
        true
    }

    /// Whether streams have something to do.
    pub fn has_steps(&self) -> bool {
        !self.stirred.is_empty()
    }

    /// One turn of an exchange: the user is told, one message goes to the other end.
    fn step(&mut self, call: StreamCall) {
        if let StreamCall::Served(serve) = call {
            self.step_each(serve);
        }
        self.tell_ends(call);
        self.line_up(call);
        let now = self.now;
        let Some(exchange) = self.exchanges.get_mut(&call) else { return };
        let route = exchange.route;
        match route {
            Route::Link(wire) if self.congested.contains(&wire.via) => drop(self.held.insert(call)),
            Route::Link(_) | Route::Here(_) => {
                if let Some((number, message)) = exchange.channels.transmit(now) {
                    self.deliver(call, route, number, message);
                    self.stir(call);
                }
            }
            Route::Nowhere | Route::Cut => {}
        }
        self.sweep(call);
    }

    /// Tells the user of an exchange what there is for him.
    fn tell_ends(&mut self, call: StreamCall) {
        let now = self.now;
        let Some(exchange) = self.exchanges.get_mut(&call) else { return };
        let Exchange { channels, writers, readers, .. } = exchange;
        let mut events = Vec::new();
        writers.retain(|number, waits| {
            let Some(outlet) = channels.outlet(*number) else { return false };
            let ending = outlet.ending().cloned();
            let has_room = ending.is_none() && *waits && outlet.is_ready();
            *waits &= !has_room;
            let is_open = ending.is_none();
            let room = has_room.then_some(StreamEvent::Room);
            events.extend(ending.map(StreamEvent::Written).or(room).map(|event| (*number, event)));
            is_open
        });
        readers.retain(|number, waits| {
            let Some(inlet) = channels.inlet(*number) else { return false };
            if *waits && let Some(chunk) = inlet.take(now) {
                *waits = false;
                events.push((*number, StreamEvent::Items(chunk)));
            }
            let ending = inlet.ending().cloned();
            let is_open = ending.is_none();
            events.extend(ending.map(|ending| (*number, StreamEvent::Read(ending))));
            is_open
        });
        let told = !events.is_empty();
        let moved = events.iter().any(|(_, event)| matches!(event, StreamEvent::Items(_)));
        let outputs = events.into_iter().map(|(number, event)| Output::Stream { id: StreamId { call, number }, event });
        self.outputs.extend(outputs);
        if moved {
            self.note_progress(call);
        }
        if told {
            self.stir(call);
        }
    }

    fn deliver(&mut self, call: StreamCall, route: Route, number: u32, message: Message) {
        match route {
            Route::Link(wire) => {
                let limit = self.payload_limit(wire.via).unwrap_or(u64::MAX);
                let (bytes, most) = match &message {
                    Message::Push(Push::Items(chunk)) => {
                        (chunk.bytes.len() as u64, most_chunk_bytes(chunk.count, limit))
                    }
                    Message::Push(Push::Want(bytes)) => (*bytes, limit),
                    _ => (0, limit),
                };
                if bytes > most {
                    return self.fail_outlet(call, number, outcome::item_too_large(bytes, limit));
                }
                self.note_progress(call);
                let stream = StreamRef { call: wire.id, from: side_of(call), number };
                self.send_over(wire.via, Frame::of_stream(stream, message));
            }
            Route::Here(other) => self.receive(other, number, message),
            Route::Nowhere | Route::Cut => {}
        }
    }

    /// Items cannot be sent: what comes behind those before them is that the stream failed.
    fn fail_outlet(&mut self, call: StreamCall, number: u32, error: CallError) {
        if let Some(outlet) = self.exchanges.get_mut(&call).and_then(|exchange| exchange.channels.outlet(number)) {
            outlet.fail(error);
        }
        self.stir(call);
    }
}
