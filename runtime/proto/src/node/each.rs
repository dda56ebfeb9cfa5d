//! Calls of [`Mode::Each`](crate::call::Mode) that this node serves: a callback without streams is called once an item.
//!
//! ```text
//!   items ──▶ Inlet 0 ──next item──▶ Serve ──Served──▶ its result ──▶ Outlet 0 ──▶ results
//! ```
//!
//! The whole is a served call that the process does not know of: it has its answer at once, and is over when both streams
//! have ended. Each item is a served call of its own, of which there is one at a time.
//!
//! Invariants: an item is served when the result before it has found room, so that a reader who is slow slows the writer;
//! results have the order of their items. The first item that is no argument or whose call fails ends both streams with
//! that error, which names the item; items behind it are not served. A large item is in the room of its process until its
//! call is over, and so is a large result until it is sent ([`super::rooms`]).

use bytes::Bytes;

use std::sync::Arc;

use super::serve::{AnswerTo, Wish};
use super::{Node, outcome};
use crate::call::{Answer, Incoming, ServeResult};
use crate::error::{CallError, code};
use crate::id::ServeId;
use crate::signature::Signature;
use crate::stream::{Channels, Chunk, Ending, Flow, Flows, StreamCall};
use crate::value::{Limits, UNIT_ITEM, first_args};

/// A callback that is called once an item.
#[derive(Debug)]
pub(super) struct Each {
    signature: Arc<Signature>,
    /// What the call of an item is made of.
    incoming: Incoming,
    /// The rest of the chunk at hand, and how many items it has.
    rest: Bytes,
    left: u32,
    /// The number of the next item.
    next: u64,
    running: Option<ServeId>,
    /// What has no room yet.
    result: Option<Bytes>,
    /// What the items came to, behind those at hand.
    ending: Option<Ending>,
}

impl Each {
    /// Whether a call of it runs.
    pub fn runs(&self) -> bool {
        self.running.is_some()
    }

    /// Bytes of what has no room yet.
    pub fn result_bytes(&self) -> usize {
        self.result.as_ref().map_or(0, Bytes::len)
    }

    pub fn running(&self) -> Option<ServeId> {
        self.running
    }

    /// Keeps what the items came to: their stream is forgotten before the last of them is served.
    fn note_ending(&mut self, channels: &mut Channels) {
        if self.ending.is_none() {
            self.ending = channels.inlet(0).and_then(|inlet| inlet.ending().cloned());
        }
    }

    /// Cuts the next item off the chunk.
    fn cut(&mut self, limits: &Limits) -> Result<Bytes, CallError> {
        self.left -= 1;
        let bytes = match self.signature.params.is_empty() {
            true if self.rest.starts_with(UNIT_ITEM) => UNIT_ITEM.len(),
            true => return Err(outcome::bad_item("an item without parameters is one byte, 0")),
            false => first_args(&self.signature, &self.rest, limits).map_err(|error| outcome::bad_item(&error))?,
        };
        let item = self.rest.split_to(bytes.min(self.rest.len()));
        if self.left == 0 && !self.rest.is_empty() {
            return Err(outcome::bad_item(&format!("{} bytes are left over after the last item", self.rest.len())));
        }
        Ok(if self.signature.params.is_empty() { Bytes::new() } else { item })
    }
}

impl Node {
    /// Begins the whole. Its caller is answered, and its first item is served when it comes.
    pub(super) fn begin_each(&mut self, signature: Arc<Signature>, incoming: Incoming) {
        let (id, flows) = (incoming.id, [Flow::Items].into());
        let call = StreamCall::Served(id);
        let each = Each {
            signature,
            incoming,
            rest: Bytes::new(),
            left: 0,
            next: 0,
            running: None,
            result: None,
            ending: None,
        };
        self.eaches.insert(id, each);
        self.open_own_ends(call);
        self.answer_open(id, Bytes::new(), flows);
        if let Some(served) = self.serves.get_mut(&id) {
            served.is_done = true;
        }
    }

    /// Takes the next step of a whole, where it can.
    pub(super) fn step_each(&mut self, id: ServeId) {
        let (call, now) = (StreamCall::Served(id), self.now);
        let limits = Limits::for_payload(self.config.max_payload_bytes);
        let (Some(each), Some(exchange)) = (self.eaches.get_mut(&id), self.exchanges.get_mut(&call)) else { return };
        let channels = &mut exchange.channels;
        each.note_ending(channels);
        let Some(outlet) = channels.outlet(0).filter(|outlet| outlet.ending().is_none()) else {
            // Nobody takes results any more; and of what is over both ways, nothing is left.
            let why = channels.outlet(0).and_then(|outlet| outlet.ending().and_then(Ending::error));
            return self.stop_each(id, why);
        };
        if let Some(result) = each.result.take_if(|_| outlet.is_ready()) {
            if let Err(error) = outlet.push(Chunk { count: 1, bytes: result }) {
                outlet.fail(outcome::bad_chunk(&error));
            }
            self.stir(call);
            return;
        }
        if each.result.is_some() || each.runs() {
            return;
        }
        if each.left == 0 {
            let chunk = channels.inlet(0).and_then(|inlet| {
                inlet.release(now);
                inlet.take(now)
            });
            each.note_ending(channels);
            match (chunk, each.ending.clone()) {
                (Some(chunk), _) => (each.left, each.rest) = (chunk.count, chunk.bytes),
                (None, Some(ending)) => return self.end_each(call, &ending),
                (None, None) => return,
            }
        }
        match each.cut(&limits) {
            Ok(args) => self.serve_item(id, args),
            Err(error) => self.fail_each(id, error),
        }
    }

    /// No more items come.
    fn end_each(&mut self, call: StreamCall, ending: &Ending) {
        let outlet = self.exchanges.get_mut(&call).and_then(|exchange| exchange.channels.outlet(0));
        match (outlet, ending.error()) {
            (Some(outlet), None) => outlet.finish(),
            (Some(outlet), Some(error)) => outlet.fail(error),
            (None, _) => {}
        }
    }

    fn serve_item(&mut self, whole: ServeId, args: Bytes) {
        let id = self.next_serve();
        let time = self.serves.get(&whole).map(|served| served.timeout).unwrap_or_default();
        let deadline = self.now + time;
        let Some(each) = self.eaches.get_mut(&whole) else { return };
        each.running = Some(id);
        let (answer, channels) = (Answer::Result, Flows::default());
        let incoming = Incoming { id, args, deadline, answer, channels, ..each.incoming.clone() };
        self.begin_serve(AnswerTo::Item(whole), incoming, time);
    }

    /// The call of an item is answered.
    pub(super) fn item_answered(&mut self, whole: ServeId, result: ServeResult) {
        let Some(each) = self.eaches.get_mut(&whole) else { return };
        match result {
            Ok(bytes) => {
                each.next += 1;
                let has_result = each.signature.result.is_some();
                each.result = Some(if has_result { bytes } else { Bytes::from_static(UNIT_ITEM) });
                match self.hold_result(whole) {
                    Ok(()) => self.stir(StreamCall::Served(whole)),
                    Err(error) => self.fail_each(whole, error),
                }
            }
            Err(error) => self.fail_each(whole, error),
        }
    }

    /// The call of an item is over, whatever it came to.
    pub(super) fn item_over(&mut self, whole: ServeId) {
        if let Some(each) = self.eaches.get_mut(&whole) {
            each.running = None;
        }
        let call = StreamCall::Served(whole);
        match self.exchanges.contains_key(&call) {
            true => self.stir(call),
            false => self.streams_over(whole),
        }
    }

    /// An item failed: both streams end with its error.
    fn fail_each(&mut self, whole: ServeId, error: CallError) {
        let call = StreamCall::Served(whole);
        let now = self.now;
        let Some(each) = self.eaches.get_mut(&whole) else { return };
        let error = CallError { message: format!("item {}: {}", each.next, error.message), ..error };
        (each.left, each.rest, each.result) = (0, Bytes::new(), None);
        if let Some(exchange) = self.exchanges.get_mut(&call) {
            exchange.channels.give_up(&error);
            if let Some(inlet) = exchange.channels.inlet(0) {
                inlet.release(now);
            }
        }
        self.stir(call);
    }

    /// Nobody takes results any more: no item is served from now on.
    fn stop_each(&mut self, whole: ServeId, why: Option<CallError>) {
        let Some(each) = self.eaches.get_mut(&whole) else { return };
        (each.left, each.rest, each.result) = (0, Bytes::new(), None);
        let running = each.running;
        let call = StreamCall::Served(whole);
        let now = self.now;
        if let Some(inlet) = self.exchanges.get_mut(&call).and_then(|exchange| exchange.channels.inlet(0)) {
            inlet.release(now);
            if inlet.ending().is_none() {
                inlet.cancel(why.filter(|error| error.code != code::CANCELLED));
                self.stir(call);
            }
        }
        let wanted = |id: &ServeId| self.serves.get(id).is_some_and(|served| served.wish == Wish::Wanted);
        if let Some(item) = running.filter(wanted) {
            self.cancel_serve(item);
        }
    }
}
