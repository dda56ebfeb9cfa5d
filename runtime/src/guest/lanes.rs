//! Who runs where, for components whose calls interleave: instances ("lanes") with several calls in each, and the
//! queue, as a plain state machine without tasks, clocks or wasm.
//!
//! ```text
//!   call ──► admit ──► sent to the emptiest lane, or to a new one     ──► returned
//!              │  └──► queued ── deadline, cancelled: not run              │
//!              └─────► refused                                            ▼
//!   a running call past its deadline or given up: its lane ends where the policy kills and nobody else is in it;
//!   otherwise the caller is answered and the call runs on, until all calls of its lane ran too long
//!   a lane whose tasks go on when its last call has returned ends when they did for too long and no call came
//! ```
//!
//! Invariants: a lane never has more than `per_lane` calls; a call is queued only while no lane can take it; the end of
//! a call is handed out exactly once, when it is really over, and what its caller is told before that once at most; a
//! call that has not begun (`begins`) did not run, and its time in the module's own limit has not begun either. A call
//! with streams runs too long when none of them has moved for as long as a call may run. A call for which a lane has room,
//! but its tenant no place among those that it may have running, is refused: nobody waits for another module.

mod clock;
mod end;
mod running;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use daffi_proto::call::Hop;
use daffi_proto::id::{ProcessRef, ServeId};
use foldhash::{HashMap, HashMapExt};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub(super) use self::end::{End, Lost, Open};
use self::running::{CallerWaits, Lane, Running};
use super::audience::Ticket;
use super::ceiling::{Ceiling, CeilingReached, Kind, Place};
use super::roster::{Job, Refused};
use super::streams::CallStreams;

/// How many lanes and calls there may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    /// Most lanes.
    pub lanes: usize,
    /// Most calls in one.
    pub per_lane: usize,
    /// Most calls that wait.
    pub queue: usize,
    /// Whether a lane takes one call in its life.
    pub single_use: bool,
    /// Whether a call that nobody waits for is stopped where that costs no other call.
    pub kills: bool,
    /// How long a call may run.
    pub max_call_time: Duration,
}

/// A lane that is to be made: its task gets these.
pub(super) struct NewLane {
    pub number: u32,
    pub jobs: mpsc::Receiver<Box<Job>>,
    /// Ends the lane.
    pub end: CancellationToken,
}

/// What becomes of a new call.
pub(super) enum Placed {
    /// A lane has it.
    Sent,
    /// A lane that is to be made has it.
    New(NewLane),
    /// It waits.
    Queued,
    /// It cannot run.
    Refused(Refused, Box<Job>),
}

/// What became of calls of the queue.
#[derive(Default)]
pub(super) struct Unqueued {
    /// Lanes that are to be made for some.
    pub lanes: Vec<NewLane>,
    /// Those that lanes have room for and the tenant has not.
    pub turned_away: Vec<(Box<Job>, CeilingReached)>,
}

/// A call in the queue, with its place among those that wait in its tenant.
struct Waiting {
    job: Box<Job>,
    is_async: bool,
    _place: Option<Place>,
}

/// Why a lane was not given a call.
enum NotPlaced {
    /// None has room.
    NoLane(Box<Job>),
    /// Its tenant has as many running as it may.
    Tenant(CeilingReached, Box<Job>),
}

/// The lanes and the queue of one module.
pub(super) struct Lanes {
    shape: Shape,
    /// What all modules of the tenant may have running, and waiting.
    ceiling: Arc<Ceiling>,
    lanes: BTreeMap<u32, Lane>,
    next_number: u32,
    queue: VecDeque<Waiting>,
    /// Which lane a call is in.
    whereabouts: HashMap<ServeId, u32>,
    /// When to look at a running call next.
    alarms: BTreeSet<(Instant, ServeId)>,
    /// When the housekeeper looks next, as far as it was told; never later than the first alarm that it knows of.
    armed: Option<Instant>,
    closed: bool,
}

impl Lanes {
    pub fn new(shape: Shape, ceiling: Arc<Ceiling>) -> Self {
        Self {
            shape,
            ceiling,
            lanes: BTreeMap::new(),
            next_number: 0,
            queue: VecDeque::new(),
            whereabouts: HashMap::default(),
            alarms: BTreeSet::new(),
            armed: None,
            closed: false,
        }
    }

    /// Finds a place for a call of this process.
    pub fn admit(&mut self, job: Box<Job>, is_async: bool, own: &ProcessRef) -> Placed {
        if self.closed {
            return Placed::Refused(Refused::Closed, job);
        }
        let job = match self.place(job, is_async, own) {
            Ok(new) => return new.map_or(Placed::Sent, Placed::New),
            Err(NotPlaced::Tenant(reached, job)) => return Placed::Refused(Refused::Tenant(reached), job),
            Err(NotPlaced::NoLane(job)) => job,
        };
        if self.all_wait_for(&job.incoming.chain, own) {
            return Placed::Refused(Refused::Cycle, job);
        }
        if self.queue.len() >= self.shape.queue {
            return Placed::Refused(Refused::Overloaded, job);
        }
        match self.ceiling.place(Kind::Queued, job.audience) {
            Ok(place) => {
                self.queue.push_back(Waiting { job, is_async, _place: place });
                Placed::Queued
            }
            Err(reached) => Placed::Refused(Refused::Tenant(reached), job),
        }
    }

    /// A lane that takes no call yet, to be made before the first one.
    pub fn first_lane(&mut self) -> Option<NewLane> {
        if self.closed || !self.lanes.is_empty() { None } else { Some(self.new_lane()) }
    }

    /// A lane is about to enter the guest for a call, which may have streams: what fires when nobody waits for it any more.
    /// None when nobody does now.
    pub fn begins(
        &mut self,
        lane: u32,
        id: ServeId,
        now: Instant,
        streams: Option<Arc<CallStreams>>,
    ) -> Option<CancellationToken> {
        let running = self.lanes.get_mut(&lane)?.running.get_mut(&id)?;
        let too_long = now + self.shape.max_call_time;
        self.alarms.remove(&(running.alarm, id));
        running.too_long = Some(too_long);
        running.streams = streams;
        running.alarm = running.deadline.min(too_long);
        self.alarms.insert((running.alarm, id));
        Some(running.given_up.clone())
    }

    /// The callback has returned, and the call goes on for the sake of its streams. False when its caller does not wait
    /// for the result any more.
    pub fn replies(&mut self, id: ServeId) -> bool {
        let Some(running) = self.running(id) else { return false };
        running.returned = true;
        let waits = running.caller_waits == CallerWaits::ForResult;
        if waits {
            running.caller_waits = CallerWaits::ForStreams;
        }
        waits
    }

    /// When a call in a lane came; none where its caller waits for nothing any more, and it was counted.
    pub fn wanted_since(&self, id: ServeId) -> Option<Instant> {
        let running = self.lanes.get(self.whereabouts.get(&id)?)?.running.get(&id)?;
        (running.caller_waits != CallerWaits::No).then_some(running.came)
    }

    /// A call ended in its lane: whose answer that is. None when its end was handed out before.
    pub fn returned(&mut self, lane: u32, id: ServeId, now: Instant) -> Option<Ticket> {
        let entry = self.lanes.get_mut(&lane)?;
        let running = entry.running.remove(&id)?;
        self.whereabouts.remove(&id);
        self.alarms.remove(&(running.alarm, id));
        if entry.used_up && entry.running.is_empty() {
            self.end_lane(lane);
        } else if entry.ran_too_long(now, self.shape.max_call_time)
            && let Some((&left, left_running)) = entry.running.iter_mut().find(|(_, running)| running.has_begun())
        {
            // Those that are left ran too long, and there is nobody any more for whose sake they were left alone.
            self.alarms.remove(&(left_running.alarm, left));
            left_running.alarm = now;
            self.alarms.insert((now, left));
        }
        Some(running.ticket(id))
    }

    /// Gives calls of the queue to lanes that have room.
    pub fn serve_queue(&mut self, own: &ProcessRef) -> Unqueued {
        let mut unqueued = Unqueued::default();
        let mut waiting = std::mem::take(&mut self.queue).into_iter();
        while self.has_room() {
            let Some(Waiting { job, is_async, _place }) = waiting.next() else { break };
            match self.place(job, is_async, own) {
                Ok(lane) => unqueued.lanes.extend(lane),
                Err(NotPlaced::NoLane(job)) => self.queue.push_back(Waiting { job, is_async, _place }),
                Err(NotPlaced::Tenant(reached, job)) => unqueued.turned_away.push((job, reached)),
            }
        }
        self.queue.extend(waiting);
        unqueued
    }

    /// A caller gave up.
    pub fn leave(&mut self, id: ServeId) -> Option<Open> {
        if let Some(at) = self.queue.iter().position(|waiting| waiting.job.incoming.id == id) {
            let job = self.queue.remove(at)?.job;
            return Some(Open {
                ticket: job.ticket(),
                callback: job.incoming.callback,
                end: End::LeftQueue,
                told: false,
                counted: false,
            });
        }
        self.give_up(id, |stopped| End::GaveUp { stopped })
    }

    /// A stream of a running call's arguments broke.
    pub fn breaks(&mut self, id: ServeId) -> Option<Open> {
        self.give_up(id, |stopped| End::Broken { stopped })
    }

    /// The streams of a running call.
    pub fn streams(&self, id: ServeId) -> Option<Arc<CallStreams>> {
        self.lanes.get(self.whereabouts.get(&id)?)?.running.get(&id)?.streams.clone()
    }

    /// The guest is told that nobody waits for this call any more, if it is in it.
    pub fn given_up(&self, id: ServeId) {
        let lane = self.whereabouts.get(&id).and_then(|lane| self.lanes.get(lane));
        if let Some(running) = lane.and_then(|lane| lane.running.get(&id)) {
            running.given_up.cancel();
        }
    }

    /// A lane is no more: the calls that were in it.
    pub fn ended(&mut self, lane: u32) -> Vec<Lost> {
        let running = self.end_lane(lane).into_iter();
        let lost = |(id, running): (ServeId, Running)| {
            let (open, begun) = (running.caller_waits == CallerWaits::ForResult, running.has_begun());
            Lost {
                ticket: running.ticket(id),
                callback: running.callback,
                open,
                streams: running.caller_waits == CallerWaits::ForStreams,
                begun,
            }
        };
        running.map(lost).collect()
    }

    /// Takes no more calls, and ends all lanes: the queue, and the calls that were in them.
    #[expect(clippy::vec_box, reason = "they come in boxes")]
    pub fn close(&mut self) -> (Vec<Box<Job>>, Vec<Lost>) {
        self.closed = true;
        let queued = std::mem::take(&mut self.queue).into_iter().map(|waiting| waiting.job).collect();
        let lanes: Vec<u32> = self.lanes.keys().copied().collect();
        (queued, lanes.into_iter().flat_map(|lane| self.ended(lane)).collect())
    }

    /// Lanes that live.
    pub fn instances(&self) -> usize {
        self.lanes.len()
    }

    /// Calls that run, for somebody or nobody, or wait.
    pub fn in_flight(&self) -> usize {
        self.whereabouts.len() + self.queue.len()
    }

    /// What keeps those who wait: the callbacks that run, and who called them.
    pub fn busy(&self) -> impl Iterator<Item = (u32, Option<ProcessRef>)> {
        let running = self.lanes.values().flat_map(|lane| lane.running.values());
        running.map(|running| (running.callback, running.caller.clone()))
    }

    /// Gives a call to a lane, or hands it back.
    fn place(&mut self, job: Box<Job>, is_async: bool, own: &ProcessRef) -> Result<Option<NewLane>, NotPlaced> {
        let waits: BTreeSet<u32> = waiting_lanes(&job.incoming.chain, own);
        let per_lane = self.shape.per_lane;
        let best = self
            .lanes
            .iter()
            .filter(|(number, lane)| lane.has_room(per_lane) && !(waits.contains(number) && lane.is_blocked()))
            .min_by_key(|(_, lane)| lane.running.len())
            .map(|(number, lane)| (*number, lane.running.len()));
        if best.is_none() && self.lanes.len() >= self.shape.lanes {
            return Err(NotPlaced::NoLane(job));
        }
        let place = match self.ceiling.place(Kind::Running, job.audience) {
            Ok(place) => place,
            Err(reached) => return Err(NotPlaced::Tenant(reached, job)),
        };
        let (number, new) = match best {
            Some((number, calls)) if calls == 0 || self.lanes.len() >= self.shape.lanes => (number, None),
            _ => {
                let new = self.new_lane();
                (new.number, Some(new))
            }
        };
        let Some(lane) = self.lanes.get_mut(&number) else { return Err(NotPlaced::NoLane(job)) };
        let (id, came, deadline, waits_until) = (job.incoming.id, job.came, job.deadline, job.waits_until);
        let (callback, caller, audience) = (job.incoming.callback, job.incoming.caller.clone(), job.audience);
        // The channel has room for as many calls as the lane may have.
        lane.jobs.try_send(job).map_err(|refused| NotPlaced::NoLane(refused.into_inner()))?;
        (lane.used_up, lane.lingers) = (self.shape.single_use, None);
        let running = Running {
            callback,
            caller,
            audience,
            is_async,
            came,
            deadline,
            waits_until,
            too_long: None,
            alarm: waits_until,
            caller_waits: CallerWaits::ForResult,
            returned: false,
            streams: None,
            given_up: CancellationToken::new(),
            _place: place,
        };
        lane.running.insert(id, running);
        self.whereabouts.insert(id, number);
        self.alarms.insert((waits_until, id));
        Ok(new)
    }

    fn has_room(&self) -> bool {
        self.lanes.len() < self.shape.lanes || self.lanes.values().any(|lane| lane.has_room(self.shape.per_lane))
    }

    fn new_lane(&mut self) -> NewLane {
        let number = self.next_number;
        // The last number belongs to the `run` instance.
        self.next_number = (number + 1) % (u32::MAX - 1);
        while self.lanes.contains_key(&self.next_number) {
            self.next_number = (self.next_number + 1) % (u32::MAX - 1);
        }
        let (sender, jobs) = mpsc::channel(self.shape.per_lane);
        let end = CancellationToken::new();
        let lane = Lane { jobs: sender, end: end.clone(), running: HashMap::new(), lingers: None, used_up: false };
        self.lanes.insert(number, lane);
        NewLane { number, jobs, end }
    }

    fn running(&mut self, id: ServeId) -> Option<&mut Running> {
        let lane = self.whereabouts.get(&id)?;
        self.lanes.get_mut(lane)?.running.get_mut(&id)
    }

    /// Nobody waits for a running call any more.
    fn give_up(&mut self, id: ServeId, end: impl FnOnce(bool) -> End) -> Option<Open> {
        let running = self.running(id)?;
        let (ticket, callback) = (running.ticket(id), running.callback);
        let told = match running.close() {
            CallerWaits::ForResult => false,
            CallerWaits::ForStreams => true,
            CallerWaits::No => return None,
        };
        let (begun, leaves_early) = (running.has_begun(), running.waits_until < running.deadline);
        let lane = *self.whereabouts.get(&id)?;
        if !begun {
            // Its lane is still being made, or blocked: it leaves as if it were in the queue, with nothing to stop.
            self.returned(lane, id, Instant::now());
            let end = match end(false) {
                End::GaveUp { .. } => End::LeftQueue,
                _ if leaves_early => End::Overdue,
                _ => End::Expired,
            };
            return Some(Open { ticket, callback, end, told, counted: false });
        }
        let alone = self.lanes.get(&lane).is_some_and(|lane| lane.running.len() == 1);
        let stopped = self.shape.kills && alone;
        if stopped {
            self.end_lane(lane);
        }
        Some(Open { ticket, callback, end: end(stopped), told, counted: false })
    }

    fn end_lane(&mut self, number: u32) -> HashMap<ServeId, Running> {
        let Some(lane) = self.lanes.remove(&number) else { return HashMap::new() };
        lane.end.cancel();
        for (id, running) in &lane.running {
            self.whereabouts.remove(id);
            self.alarms.remove(&(running.alarm, *id));
        }
        lane.running
    }

    /// Whether a call of this chain would wait, in every lane there can be, for itself.
    fn all_wait_for(&self, chain: &[Hop], own: &ProcessRef) -> bool {
        let waits = waiting_lanes(chain, own);
        self.lanes.len() >= self.shape.lanes
            && self.lanes.iter().all(|(number, lane)| waits.contains(number) && lane.is_blocked())
    }
}

/// The lanes of this process that the chain came through.
fn waiting_lanes(chain: &[Hop], own: &ProcessRef) -> BTreeSet<u32> {
    chain.iter().filter(|hop| hop.process.as_ref() == Some(own)).map(|hop| hop.instance).collect()
}

#[cfg(test)]
#[path = "lanes_tests.rs"]
mod tests;
