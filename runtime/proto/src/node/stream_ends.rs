//! How the streams of a call end together: with their last words, with their call, for lack of progress, or with their
//! link.
//!
//! Invariant: whatever comes first settles it; an exchange that is cut sends and takes nothing more, and is forgotten when
//! its user has been told.

use std::time::Duration;

use super::each::Each;
use super::streams::{Counted, Route};
use super::{Node, Request, Via, Wire, outcome};
use crate::call::{MAX_CHAIN, WhenAbandoned};
use crate::error::{CallError, Outcome, code};
use crate::frame::{Frame, Header};
use crate::id::{LocalId, ServeId};
use crate::stream::{Ending, GRANT_AFTER, StreamCall};

impl Node {
    /// There was progress in a call: what it is made for goes on, and whoever waits for that sees it.
    pub(super) fn note_progress(&mut self, call: StreamCall) {
        let mut parent = self.exchanges.get(&call).and_then(|exchange| exchange.parent);
        for _ in 0..MAX_CHAIN {
            let Some(above) = parent.map(StreamCall::Served) else { return };
            let Some(exchange) = self.exchanges.get_mut(&above) else { return };
            exchange.alive = self.now;
            if self.now.saturating_sub(exchange.signed) < GRANT_AFTER {
                return;
            }
            exchange.signed = self.now;
            exchange.channels.sign();
            let route = exchange.route;
            self.stir(above);
            let Route::Here(made) = route else { return };
            let Some(exchange) = self.exchanges.get_mut(&made) else { return };
            exchange.alive = self.now;
            parent = exchange.parent;
        }
    }

    /// Forgets the streams that are over, and the exchange when all are.
    pub(super) fn sweep(&mut self, call: StreamCall) {
        let Some(exchange) = self.exchanges.get_mut(&call) else { return };
        let progress = exchange.channels.last_progress().unwrap_or_default();
        exchange.alive = exchange.alive.max(progress);
        let told = exchange.writers.is_empty() && exchange.readers.is_empty();
        let (swept, answered) = (exchange.channels.sweep(), exchange.answered);
        self.count_streams(call);
        if !swept || !told {
            return;
        }
        match call {
            StreamCall::Made(_) if !answered => {}
            StreamCall::Made(_) => self.forget_exchange(call),
            StreamCall::Served(serve) => {
                self.forget_exchange(call);
                self.streams_over(serve);
            }
        }
        self.check_drained();
    }

    /// Keeps the node's counts of open streams and of what waits in them.
    pub(super) fn count_streams(&mut self, call: StreamCall) {
        self.recount(call);
        if let Some(process) = self.exchanges.get(&call).map(|exchange| exchange.process) {
            self.let_in(process);
        }
    }

    /// The same, and nothing is let in for it.
    pub(super) fn recount(&mut self, call: StreamCall) {
        let each = match call {
            StreamCall::Served(serve) => self.eaches.get(&serve).map(Each::result_bytes),
            StreamCall::Made(_) => None,
        };
        let Some(exchange) = self.exchanges.get_mut(&call) else { return };
        let channels = &mut exchange.channels;
        let results = each.map_or(0, |bytes| bytes + channels.outlet(0).map_or(0, |outlet| outlet.waiting_bytes()));
        let (streams, waiting, large) = (channels.len(), channels.waiting_bytes(), channels.beyond());
        let now = Counted { streams, waiting, large, results: results as u64 };
        let before = std::mem::replace(&mut exchange.counted, now);
        let process = exchange.process;
        self.count_change(call, process, before, now);
    }

    fn count_change(&mut self, call: StreamCall, process: Option<LocalId>, before: Counted, now: Counted) {
        if let (StreamCall::Served(_), Some(local)) = (call, process.and_then(|id| self.locals.get_mut(&id))) {
            local.streams = (local.streams + now.streams).saturating_sub(before.streams);
        }
        self.open_streams = (self.open_streams + now.streams).saturating_sub(before.streams);
        self.stream_bytes = (self.stream_bytes + now.waiting).saturating_sub(before.waiting);
        if (before.large, before.results) != (now.large, now.results) {
            self.count_room(process, before, now);
        }
    }

    /// Takes an exchange out of every table.
    fn forget_exchange(&mut self, call: StreamCall) {
        let Some(exchange) = self.exchanges.remove(&call) else { return };
        let request = Request::Streams(call);
        if let (StreamCall::Made(_), Route::Link(wire)) = (call, exchange.route) {
            self.wires.remove(&wire);
        }
        self.deadlines.remove(request);
        if let Some(peer) = exchange.peer {
            self.ended(peer);
        }
        if let Some(parent) = exchange.parent.and_then(|parent| self.serves.get_mut(&parent)) {
            parent.below.remove(&request);
        }
        self.held.remove(&call);
        self.count_change(call, exchange.process, exchange.counted, Counted::default());
        self.let_in(exchange.process);
    }

    /// The other end is not reached any more: the call failed so, or its link did. What has arrived can still be read by a
    /// caller; a callee whose call was given up has no use for it.
    pub(super) fn cut(&mut self, call: StreamCall, error: &CallError) {
        let Some(exchange) = self.exchanges.get_mut(&call) else { return };
        if exchange.route == Route::Cut {
            return;
        }
        // The calls that are served here have numbers of their own.
        if let (StreamCall::Made(_), Route::Link(wire)) = (call, std::mem::replace(&mut exchange.route, Route::Cut)) {
            self.wires.remove(&wire);
        }
        let why = Box::new(error.clone());
        match call {
            _ if error.code == code::LINK_LOST => exchange.channels.cut(&Ending::Lost, &Ending::Lost),
            StreamCall::Made(_) => exchange.channels.cut(&Ending::Cancelled(Some(why.clone())), &Ending::Failed(why)),
            StreamCall::Served(_) => {
                exchange.channels.drop_unread(error);
                exchange.channels.cut(&Ending::Cancelled(Some(why.clone())), &Ending::Cancelled(Some(why)));
            }
        }
        self.stir(call);
    }

    /// The streams of a call that has its answer end for this reason, and the callee is told. Gives the call of this node
    /// that is to be cancelled.
    pub(super) fn end_exchange(&mut self, call: StreamCall, error: &CallError) -> Option<ServeId> {
        let route = self.exchanges.get(&call)?.route;
        self.cut(call, error);
        match route {
            Route::Link(Wire { via, id }) => {
                self.send_over(via, Frame::new(Header::Cancel { id, lost: false }));
                None
            }
            Route::Here(StreamCall::Served(serve)) => Some(serve),
            Route::Here(StreamCall::Made(_)) | Route::Nowhere | Route::Cut => None,
        }
    }

    /// What a call was made for is cancelled after it had its answer. Gives the served call that is cancelled with it.
    pub(super) fn cancel_exchange_below(&mut self, call: StreamCall) -> Option<ServeId> {
        let exchange = self.exchanges.get_mut(&call)?;
        if exchange.when_abandoned == WhenAbandoned::Finish {
            exchange.abandoned = true;
            return None;
        }
        self.end_exchange(call, &outcome::caller_cancelled(Outcome::Unknown, String::new()))
    }

    /// Looks from now on whether there is progress, if it is not looked already.
    pub(super) fn watch_exchange(&mut self, call: StreamCall) {
        let at = self.overdue_at(call);
        if let (Some(at), Some(exchange)) = (at, self.exchanges.get_mut(&call))
            && exchange.timer.is_none()
        {
            exchange.timer = Some(at);
            self.deadlines.set(at, Request::Streams(call));
        }
    }

    /// When an exchange is overdue, unless there is progress.
    fn overdue_at(&self, call: StreamCall) -> Option<Duration> {
        let exchange = self.exchanges.get(&call)?;
        let own = exchange.deadline();
        match call {
            StreamCall::Made(_) => {
                let above = exchange.parent.and_then(|parent| self.serves.get(&parent));
                Some(above.map_or(own, |above| own.min(self.time_of(above))))
            }
            // The caller's node keeps the time, and sees progress that is not seen here: he is to be the first to speak.
            StreamCall::Served(_) => Some(own + exchange.idle + 2 * GRANT_AFTER),
        }
    }

    /// It may be that nothing has moved for too long.
    pub(super) fn exchange_due(&mut self, call: StreamCall) {
        let Some(at) = self.overdue_at(call) else { return };
        let Some(exchange) = self.exchanges.get_mut(&call) else { return };
        exchange.timer = None;
        let (idle, route) = (exchange.idle, exchange.route);
        if at > self.now {
            return self.watch_exchange(call);
        }
        let error = outcome::no_progress(idle);
        match (call, route) {
            (StreamCall::Made(_), _) => {
                if let Some(serve) = self.end_exchange(call, &error) {
                    self.cancel_serve(serve);
                }
            }
            // Nobody else will: the caller's node is not what it should be.
            (StreamCall::Served(serve), Route::Link(wire)) => self.break_off_served(wire, serve, &error),
            (StreamCall::Served(_), Route::Nowhere | Route::Here(_) | Route::Cut) => {}
        }
    }

    /// A link is lost: so are the streams of calls that went over it and have their answers.
    pub(super) fn lose_exchanges(&mut self, via: Via, reason: &str) {
        let error = outcome::link_lost(via, code::LINK_LOST, reason, String::new());
        for (_, call) in self.wires.of(via) {
            self.cut(call, &error);
        }
    }

    /// The callee has nothing more to say of a call that has its answer. What is open then was forgotten there.
    pub(super) fn take_ended(&mut self, wire: Wire) {
        let Some(call) = self.wires.get(&wire).copied() else { return };
        if self.exchanges.get(&call).is_some_and(|exchange| exchange.answered) {
            self.cut(call, &outcome::streams_forgotten());
        }
    }

    /// Whether streams of calls that were made here are open, which somebody wants.
    pub(super) fn streams_wanted(&self) -> bool {
        let made = self.exchanges.iter().filter(|(call, _)| matches!(call, StreamCall::Made(_)));
        made.into_iter().any(|(_, exchange)| exchange.answered && !exchange.abandoned)
    }
}
