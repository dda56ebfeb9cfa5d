//! Whose time is up: calls that wait, calls that run, and lanes whose tasks go on without a call.
//!
//! [`super::Lanes`] has no clock: whoever keeps its house asks when to look next ([`Lanes::arm`]), looks then
//! ([`Lanes::due`], [`Lanes::end_lingering`]), and earlier where something is due earlier ([`Lanes::is_before_alarm`]).

use std::time::Instant;

use daffi_proto::id::ServeId;

use super::running::{CallerWaits, Lane};
use super::{End, Lanes, Open, Waiting};

impl Lanes {
    /// The calls whose time is up at `now`.
    pub fn due(&mut self, now: Instant) -> Vec<Open> {
        let mut due = Vec::new();
        self.queue.retain(|Waiting { job, .. }| {
            let expired = job.waits_until <= now;
            if expired {
                let (ticket, callback) = (job.ticket(), job.incoming.callback);
                let end = if job.leaves_early() { End::Overdue } else { End::Expired };
                due.push(Open { ticket, callback, end, told: false, counted: false });
            }
            !expired
        });
        while let Some(&(at, id)) = self.alarms.first()
            && at <= now
        {
            self.alarms.pop_first();
            let longest = self.shape.max_call_time;
            let Some(running) = self.running(id) else { continue };
            let too_long = running.too_long(longest);
            if too_long.is_some_and(|too_long| too_long <= now) {
                self.ran_too_long(id, now, &mut due);
                continue;
            }
            // The alarm was its deadline, or streams have moved since it was set.
            let expired = running.waits_no_longer_than() <= now;
            let expires = expired && running.caller_waits == CallerWaits::ForResult;
            if let Some(too_long) = too_long {
                let next = if expired { too_long } else { too_long.min(running.deadline) };
                running.alarm = next;
                self.alarms.insert((next, id));
            }
            if expires {
                due.extend(self.give_up(id, |stopped| End::Deadline { stopped }));
            }
        }
        due
    }

    /// When somebody's time is up next, for the housekeeper, who will look then.
    pub fn arm(&mut self) -> Option<Instant> {
        let queued = self.queue.iter().map(|waiting| waiting.job.waits_until).min();
        let running = self.alarms.first().map(|(at, _)| *at);
        let lingering = self.lanes.values().filter_map(|lane| lane.lingers);
        self.armed = queued.into_iter().chain(running).chain(lingering).min();
        self.armed
    }

    /// Whether the housekeeper would look too late for this time.
    pub fn is_before_alarm(&self, time: Instant) -> bool {
        self.armed.is_none_or(|armed| time < armed)
    }

    /// No call is left in a lane, and its tasks go on. Until when they may; none where a call is on its way to it.
    pub fn lingers(&mut self, lane: u32, now: Instant) -> Option<Instant> {
        let until = now + self.shape.max_call_time;
        let lane = self.lanes.get_mut(&lane).filter(|lane| lane.running.is_empty())?;
        lane.lingers = Some(until);
        lane.lingers
    }

    /// The tasks of a lane without calls have ended.
    pub fn is_quiet(&mut self, lane: u32) {
        if let Some(lane) = self.lanes.get_mut(&lane) {
            lane.lingers = None;
        }
    }

    /// Ends the lanes whose tasks went on without a call for too long; how many those are.
    pub fn end_lingering(&mut self, now: Instant) -> usize {
        let is_late = |lane: &Lane| lane.lingers.is_some_and(|until| until <= now);
        let late: Vec<u32> = self.lanes.iter().filter(|(_, lane)| is_late(lane)).map(|(number, _)| *number).collect();
        for lane in &late {
            self.end_lane(*lane);
        }
        late.len()
    }

    /// A call met the module's own limit. When every call of its lane that has begun did, the lane ends: those that have
    /// not may never, since what runs too long may keep everybody else out.
    fn ran_too_long(&mut self, id: ServeId, now: Instant, due: &mut Vec<Open>) {
        let Some(&number) = self.whereabouts.get(&id) else { return };
        let Some(lane) = self.lanes.get_mut(&number) else { return };
        if lane.ran_too_long(now, self.shape.max_call_time) {
            due.extend(self.end_lane(number).into_iter().map(|(id, running)| {
                let end = if running.has_begun() { End::TooLong { stopped: true } } else { End::NotBegun };
                let (told, counted) =
                    (running.caller_waits != CallerWaits::ForResult, running.caller_waits == CallerWaits::No);
                Open { ticket: running.ticket(id), callback: running.callback, end, told, counted }
            }));
            return;
        }
        if let Some(running) = lane.running.get_mut(&id) {
            let waited = running.close();
            if waited != CallerWaits::No {
                let (end, told) = (End::TooLong { stopped: false }, waited == CallerWaits::ForStreams);
                due.push(Open { ticket: running.ticket(id), callback: running.callback, end, told, counted: false });
            }
        }
    }
}
