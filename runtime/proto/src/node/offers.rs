//! Calls between two processes of this node that may be over at once.
//!
//! ```text
//!   Node::offer ──Offer, Incoming──▶ the user has it served, and tells nothing else meanwhile
//!      │                               ├── Node::offer_over ──▶ the answer; a failure is told as that of any other call
//!      │                               └── Node::offer_pending ──▶ from now on it is a call like any other
//!      └── none: it is a call like any other
//! ```
//!
//! Most of these calls are served and answered before anything else happens to the node, so that nobody can see them while
//! they last: then they are in no table. By whom such a call may be made, whom it goes to, how long it may take and how
//! much it may bring is decided as for all others, by the same functions.
//!
//! Invariant: an offer is over or pending before the node is told anything else.

use super::calls::{Call, Chosen, Place, time_for_next_hop};
use super::serve::{AnswerTo, Serving};
use super::{Node, Peer, Via};
use crate::call::{Answer, CallReply, CallRequest, Incoming, Mode, ServeResult};
use crate::id::Token;
use crate::registry::Choice;
use crate::schedule::Clock;
use crate::stream::Flows;

/// A call that a process of this node is asked to serve at once.
#[derive(Debug)]
#[must_use = "a call has its end"]
pub struct Offer {
    token: Token,
    call: Box<Call>,
    chosen: Chosen,
    serving: Serving,
}

impl Node {
    /// As [`Command::Call`](super::Command::Call), and where a process of this node can serve it, the user has it done at
    /// once: nothing else is told to the node before [`Node::offer_over`] or [`Node::offer_pending`].
    pub fn offer(
        &mut self,
        clock: Clock,
        token: Token,
        request: impl Into<Box<CallRequest>>,
    ) -> Option<(Offer, Incoming)> {
        let request = request.into();
        self.begin_event(clock);
        // What may be made again, or begins or goes on without its caller, is to be remembered.
        let is_plain = request.eta.is_zero()
            && request.answer == Answer::Result
            && request.retry.attempts <= 1
            && request.mode == Mode::Whole
            && request.channels.is_empty();
        let offer = self.users_call(token, request).and_then(|call| {
            let choice = if is_plain { self.choose(&call) } else { None };
            match choice {
                Some(choice) => self.offer_to(token, call, choice),
                None => {
                    self.begin_call(token, call);
                    None
                }
            }
        });
        if offer.is_none() {
            self.end_event();
        }
        offer
    }

    /// Where the choice is a process of this node; a call to another goes there.
    fn offer_to(&mut self, token: Token, mut call: Box<Call>, choice: Choice<Peer>) -> Option<(Offer, Incoming)> {
        let local = match choice.process {
            Peer::Local(process) => self.chosen(&call, &choice, Via::Controller).map(|chosen| (process, chosen)),
            Peer::Remote(_) => None,
        };
        let Some((process, chosen)) = local else {
            let id = self.enter_call(token, call);
            self.place_with(id, choice);
            return None;
        };
        let serve = self.next_serve();
        let time = time_for_next_hop(self.time_left(&call));
        let deadline = self.now + time;
        let incoming = Incoming {
            id: serve,
            process,
            callback: choice.callback,
            args: std::mem::take(&mut call.args),
            caller: self.process_of(call.origin.process),
            chain: call.chain.clone(),
            deadline,
            answer: call.answer,
            channels: Flows::default(),
        };
        let serving = Serving::of(&incoming, time);
        Some((Offer { token, call, chosen, serving }, incoming))
    }

    /// It is over already. None, where the answer is among the outputs: a failure.
    pub fn offer_over(&mut self, clock: Clock, offer: Offer, result: ServeResult) -> Option<CallReply> {
        match result {
            // Within a node there is no limit but its own.
            Ok(result) if result.len() <= self.result_limit(AnswerTo::Nobody) => {
                // Its process had a turn, which nobody could see before.
                self.began(offer.chosen.peer);
                self.ended(offer.chosen.peer);
                let Chosen { fingerprint, process, .. } = offer.chosen;
                Some(CallReply { result, fingerprint, process, channels: Flows::default() })
            }
            result => {
                let serve = offer.serving.id;
                self.begin_event(clock);
                self.take_offered(offer);
                self.served(serve, result);
                self.end_event();
                None
            }
        }
    }

    /// It is not over.
    pub fn offer_pending(&mut self, clock: Clock, offer: Offer) {
        self.begin_event(clock);
        self.take_offered(offer);
        self.end_event();
    }

    fn take_offered(&mut self, offer: Offer) {
        let Offer { token, mut call, chosen, serving } = offer;
        call.place = Place::Here { serve: serving.id, chosen };
        call.placements = 1;
        let id = self.enter_call(token, call);
        self.note_served(AnswerTo::Call(id), serving);
    }
}
