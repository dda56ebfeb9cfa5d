//! One lane, and one call in it, as [`super::Lanes`] keeps them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use daffi_proto::id::{ProcessRef, ServeId};
use foldhash::HashMap;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::super::audience::{Audience, Ticket};
use super::super::ceiling::Place;
use super::super::roster::Job;
use super::super::streams::CallStreams;

/// An instance, and the calls that it was sent.
pub(super) struct Lane {
    pub jobs: mpsc::Sender<Box<Job>>,
    pub end: CancellationToken,
    pub running: HashMap<ServeId, Running>,
    /// Until when its tasks may go on without a call, where they do.
    pub lingers: Option<Instant>,
    /// Whether it takes no more calls.
    pub used_up: bool,
}

/// A call that a lane was sent.
pub(super) struct Running {
    pub callback: u32,
    pub caller: Option<ProcessRef>,
    pub audience: Audience,
    pub is_async: bool,
    pub came: Instant,
    pub deadline: Instant,
    /// Until when it may wait for the guest to be entered.
    pub waits_until: Instant,
    /// When it has run for too long; none as long as the guest was not entered for it.
    pub too_long: Option<Instant>,
    /// When to look at it next: the time of its entry among the alarms.
    pub alarm: Instant,
    pub caller_waits: CallerWaits,
    /// Whether the callback has returned, and the call goes on for the sake of its streams.
    pub returned: bool,
    /// Its streams, and those of the calls that it makes; none where it cannot have any.
    pub streams: Option<Arc<CallStreams>>,
    /// Fires when its caller waits for nothing any more.
    pub given_up: CancellationToken,
    /// Its place among those that run in its tenant.
    pub _place: Option<Place>,
}

/// What a running call's caller waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CallerWaits {
    ForResult,
    /// He has his result.
    ForStreams,
    /// He gave up, or was told why he need not wait.
    No,
}

impl Lane {
    pub fn has_room(&self, per_lane: usize) -> bool {
        !self.used_up && self.running.len() < per_lane && !self.jobs.is_closed()
    }

    /// Whether it has calls that have begun, and all of those ran too long.
    pub fn ran_too_long(&self, now: Instant, longest: Duration) -> bool {
        let mut begun = self.running.values().filter_map(|running| running.too_long(longest)).peekable();
        begun.peek().is_some() && begun.all(|too_long| too_long <= now)
    }

    /// Whether only synchronous exports are in it: the component model lets nobody else in until they return.
    pub fn is_blocked(&self) -> bool {
        !self.running.is_empty() && self.running.values().all(|running| !running.is_async && !running.returned)
    }
}

impl Running {
    /// Whose answer the end of this call is, of this number.
    pub fn ticket(&self, id: ServeId) -> Ticket {
        Ticket { id, audience: self.audience }
    }

    /// Its caller waits for nothing any more: what he waited for until now. The guest is to be told when he was.
    pub fn close(&mut self) -> CallerWaits {
        std::mem::replace(&mut self.caller_waits, CallerWaits::No)
    }

    /// When its caller waits no longer: for the guest to be entered, or for its result.
    pub fn waits_no_longer_than(&self) -> Instant {
        if self.has_begun() { self.deadline } else { self.waits_until }
    }

    /// Whether the guest was entered for it.
    pub fn has_begun(&self) -> bool {
        self.too_long.is_some()
    }

    /// When it has run for too long: so long since it began, or since one of its streams last moved.
    pub fn too_long(&self, longest: Duration) -> Option<Instant> {
        let too_long = self.too_long?;
        let moved = self.streams.as_ref().and_then(|streams| streams.last_moved());
        Some(moved.and_then(|moved| moved.checked_add(longest)).map_or(too_long, |moved| moved.max(too_long)))
    }
}
