//! Served calls that nobody waits for any more: given up by their callers, or with the link that they came over.

use super::each::Each;
use super::serve::{AnswerTo, Wish};
use super::{Node, Output, Request, Via, Wire, outcome};
use crate::error::{CallError, code};
use crate::id::ServeId;
use crate::stream::StreamCall;

impl Node {
    pub(super) fn take_cancel(&mut self, id: Wire, lost: bool) {
        // None for a call that is answered already: the answer and the cancellation crossed.
        match self.incoming.get(&id).copied() {
            Some(serve) if lost => self.caller_lost(serve, &outcome::given_up()),
            Some(serve) => self.cancel_serve(serve),
            None => {}
        }
    }

    /// A link is lost: nobody waits for what came over it. Those who never did miss nothing.
    pub(super) fn cancel_incoming(&mut self, via: Via, reason: &str) {
        for (id, serve) in self.incoming.of(via) {
            self.incoming.remove(&id);
            if self.serves.get(&serve).is_some_and(|served| served.wish != Wish::Detached) {
                self.caller_lost(serve, &outcome::link_lost(via, code::LINK_LOST, reason, String::new()));
            }
            if let Some(served) = self.serves.get_mut(&serve) {
                served.caller = AnswerTo::Nobody;
            }
        }
    }

    /// Whether the caller of a served call waits for its answer.
    pub(super) fn is_unanswered(&self, id: ServeId) -> bool {
        self.serves.get(&id).is_some_and(|served| served.wish == Wish::Wanted)
    }

    /// Nobody waits for this call: the tree of calls below it ends, but for those that are to be finished.
    pub(super) fn cancel_serve(&mut self, id: ServeId) {
        self.cancel_serve_for(id, &outcome::given_up());
    }

    /// The same, and what its streams have to do with it.
    pub(super) fn cancel_serve_for(&mut self, id: ServeId, error: &CallError) {
        let mut open = vec![id];
        while let Some(id) = open.pop() {
            self.forget_repeat(id);
            let Some(served) = self.serves.get_mut(&id) else { continue };
            match std::mem::replace(&mut served.wish, Wish::Cancelled) {
                Wish::Cancelled => continue,
                // Whoever serves it has told the caller, and knows.
                Wish::Answered => {}
                // Of one that is detached: its caller had given up before he was told.
                Wish::Wanted | Wish::Detached | Wish::Replied => {
                    self.wanted_serves -= 1;
                    if !served.is_done {
                        self.outputs.push_back(Output::CancelServe(id));
                    }
                }
            }
            if let AnswerTo::Call(_) = served.caller {
                served.caller = AnswerTo::Nobody;
            }
            let below = std::mem::take(&mut served.below);
            for request in below {
                match request {
                    Request::Call(call) => open.extend(self.cancel_call_below(call)),
                    Request::Gather(gather) => open.extend(self.cancel_gather_below(gather)),
                    Request::Streams(call) => open.extend(self.cancel_exchange_below(call)),
                    Request::Ask(ask) => self.cancel_ask_below(ask),
                    Request::List(_) | Request::Watch => {}
                }
            }
            open.extend(self.eaches.get(&id).and_then(Each::running));
            self.cut(StreamCall::Served(id), error);
        }
    }
}
