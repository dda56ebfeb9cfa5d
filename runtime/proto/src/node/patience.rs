//! Calls that wait for a callback that is not there, and names that are looked up for one: when that has gone on for a while, the
//! user is told, once.
//!
//! Nothing of this is asked of a call that finds its callback. Invariant: at most [`MAX_WATCHED`] are watched; of one beyond
//! nothing is said, and it waits on all the same.

use std::collections::VecDeque;
use std::time::Duration;

use super::calls::Place;
use super::{CallKey, Node, Output, Request};
use crate::error::CallError;
use crate::id::LocalId;

/// How long something waits until that is said.
const SAID_AFTER: Duration = Duration::from_secs(5);

/// Most that is watched at a time.
const MAX_WATCHED: usize = 64;

/// What waits, with the times when that is to be said: in their order.
#[derive(Debug, Default)]
pub(super) struct Patience(VecDeque<(Duration, Request)>);

impl Patience {
    /// When there is something to say.
    pub fn next(&self) -> Option<Duration> {
        self.0.front().map(|(at, _)| *at)
    }

    fn due(&mut self, now: Duration) -> Option<Request> {
        self.next().filter(|at| *at <= now)?;
        self.0.pop_front().map(|(_, request)| request)
    }
}

impl Node {
    /// A call or a question begins to wait for a callback, or goes on waiting.
    pub(super) fn watch_waiting(&mut self, request: Request) {
        let watched = &mut self.patience.0;
        if watched.len() < MAX_WATCHED && watched.iter().all(|(_, known)| *known != request) {
            watched.push_back((self.now + SAID_AFTER, request));
        }
    }

    /// Says of what has waited for a while what it waits for, where that is not the link.
    pub(super) fn check_patience(&mut self) {
        while let Some(request) = self.patience.due(self.now) {
            let waits = match request {
                Request::Call(id) => self.waits_for_callback(id),
                Request::Ask(id) => self.waits_for_name(id),
                Request::Gather(_) | Request::Streams(_) | Request::List(_) | Request::Watch => None,
            };
            if let Some((process, why)) = waits.filter(|_| self.settled()) {
                self.outputs.push_back(Output::Waits { process, why: why.message });
            }
        }
    }

    /// Whose call still has no callback, and why.
    fn waits_for_callback(&self, id: CallKey) -> Option<(LocalId, CallError)> {
        let call = self.calls.get(&id)?;
        let waits = matches!(call.place, Place::Waiting) && !call.asleep && self.choose(call).is_none();
        Some((call.origin.process.filter(|_| waits)?, self.why_not_placed(call)))
    }
}
