//! Answers of served calls that go on after them: for their streams, or since the callback has not returned.
//!
//! The caller has the result; the call is in flight until its user tells that it is over and all its streams have ended.

use std::time::Duration;

use bytes::Bytes;

use super::calls::Owner;
use super::each::Each;
use super::serve::{AnswerTo, Served, Serving, Wish};
use super::streams::Route;
use super::{CallKey, Node, Peer, Wire, outcome};
use crate::call::{Answer, Incoming};
use crate::error::{CallError, Outcome};
use crate::frame::{Frame, Header};
use crate::id::ServeId;
use crate::stream::{Flows, StreamCall};

impl Node {
    /// Begins a call that is made once an item, where the callback is one for that.
    pub(super) fn begin_once_an_item(&mut self, caller: AnswerTo, incoming: Incoming, time: Duration) {
        let id = incoming.id;
        let record = self.mesh.get(Peer::Local(incoming.process));
        let callback = record.and_then(|record| {
            let callback = record.callbacks.get(incoming.callback as usize)?;
            Some((record.process.name.clone(), callback.name.to_string(), callback.signature.clone()))
        });
        self.note_served(caller, Serving::of(&incoming, time));
        let refused = match callback {
            Some((_, _, signature)) if !signature.has_streams() => return self.begin_each(signature, incoming),
            Some((process, name, _)) => outcome::not_for_each(&process, name),
            None => outcome::receiver_left(""),
        };
        self.served(id, Err(refused));
    }

    /// The caller has the result, and the call goes on.
    pub(super) fn replied(&mut self, id: ServeId, result: Bytes, channels: Flows) {
        if self.serves.get(&id).is_some_and(|served| served.orphan_until.is_some()) {
            // Streams are not read twice, and who is to read these has gone.
            self.cancel_serve(id);
        }
        let call = StreamCall::Served(id);
        let served = self.serves.get(&id).map(Box::as_ref).filter(|served| !served.is_done);
        // Of a scheduled task's run, nobody reads.
        let has_caller = |served: &&Served| !matches!(served.caller, AnswerTo::Task { .. });
        let waits = |served: &&Served| (served.wish, served.answer) == (Wish::Wanted, Answer::Result);
        let Some(served) = served.filter(waits).filter(has_caller) else {
            return self.refuse_writers(call, &channels, &outcome::given_up());
        };
        let name = self.locals.get(&served.process).map(|local| local.process.name.clone());
        let limit = self.result_limit(served.caller);
        let result = outcome::within_limit(result, limit, name.as_ref());
        let may_stream = match served.caller {
            AnswerTo::Item(_) if !channels.is_empty() => {
                Err(outcome::internal("the result of an item has streams", ""))
            }
            AnswerTo::Call(call) if !channels.is_empty() && self.is_leg(call) => {
                Err(name.as_ref().map_or_else(outcome::given_up, |name| outcome::streams_to_all(name, String::new())))
            }
            _ => self.may_open(channels.len(), ""),
        };
        match result.and_then(|result| may_stream.map(|()| result)) {
            Ok(result) => {
                self.answer_open(id, result, channels.clone());
                self.open_writers(call, &channels);
            }
            Err(error) => {
                let error = CallError { outcome: Outcome::Failed, retryable: false, ..error };
                self.refuse_writers(call, &channels, &error);
                self.answered(id, error);
            }
        }
    }

    /// Whether a call is a part of a broadcast, which takes no streams.
    fn is_leg(&self, call: CallKey) -> bool {
        self.calls.get(&call).is_some_and(|call| matches!(call.owner, Owner::Gather(_)))
    }

    /// Tells the caller the result of a call that goes on. Its streams are opened after this.
    pub(super) fn answer_open(&mut self, id: ServeId, result: Bytes, channels: Flows) {
        self.forget_repeat(id);
        let Some(served) = self.serves.get_mut(&id) else { return };
        served.wish = Wish::Replied;
        let (caller, time) = (served.caller, served.timeout);
        let process = self.locals.get(&served.process).map(|local| local.process.name.clone());
        if let AnswerTo::Call(_) = caller {
            served.caller = AnswerTo::Nobody;
        }
        if let AnswerTo::Item(whole) = caller {
            return self.item_answered(whole, Ok(result));
        }
        let exchange = self.exchange(StreamCall::Served(id), time);
        match caller {
            AnswerTo::Nobody | AnswerTo::Item(_) | AnswerTo::Task { .. } => {}
            AnswerTo::Call(call) => self.call_replied(call, id, result, channels),
            AnswerTo::Link(wire) => {
                exchange.route = Route::Link(wire);
                let header = Header::Reply { id: wire.id, process, open: true, channels };
                self.send_over(wire.via, Frame::with_payload(header, result));
                self.watch_exchange(StreamCall::Served(id));
            }
        }
    }

    /// Most bytes of a result for this caller.
    pub(super) fn result_limit(&self, caller: AnswerTo) -> usize {
        let limit = self.config.max_payload_bytes;
        match caller {
            AnswerTo::Link(Wire { via, .. }) => {
                let theirs = self.payload_limit(via).unwrap_or(u64::MAX);
                limit.min(usize::try_from(theirs).unwrap_or(usize::MAX))
            }
            AnswerTo::Call(_) | AnswerTo::Item(_) | AnswerTo::Task { .. } | AnswerTo::Nobody => limit,
        }
    }

    /// How long a call that is made for a served one may be without progress.
    pub(super) fn time_below(&self, served: &Served) -> Duration {
        match self.exchanges.get(&StreamCall::Served(served.id)) {
            Some(exchange) => exchange.idle,
            None => served.deadline.saturating_sub(self.now),
        }
    }

    /// When what is made for a served call is to be over. One with streams has time while there is progress.
    pub(super) fn time_of(&self, served: &Served) -> Duration {
        match self.exchanges.get(&StreamCall::Served(served.id)) {
            Some(exchange) => exchange.deadline(),
            None => served.deadline,
        }
    }

    /// All streams of a call have ended.
    pub(super) fn streams_over(&mut self, id: ServeId) {
        let runs = self.eaches.get(&id).is_some_and(Each::runs);
        if !runs && self.serves.get(&id).is_some_and(|served| served.is_done) {
            self.serve_over(id, Ok(Bytes::new()));
        }
    }
}
