//! Who may run: a module's instances and its queue, as a plain state machine without tasks, clocks or wasm.
//!
//! ```text
//!   call ──► admit ──► Run(seat)  an idle instance, or the number of one that is to be made
//!              │  └──► queued ──────────────┐ leave (cancelled), expire (deadline, queue time): not run
//!              └─────► refused              │
//!   seat ──► release ──► next call of the queue, with the seat    or idle    or gone
//! ```
//!
//! Invariants: at most `capacity` instances live; a call is queued only while all of them are taken, so that an idle
//! instance means an empty queue; the queue is bounded and served in order; a number is never used again. A call for which
//! there is a seat, but none among those that its tenant may have running, is refused: nobody waits for another module.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use daffi_proto::call::{Hop, Incoming};
use daffi_proto::id::{ProcessRef, ServeId};
use foldhash::{HashMap, HashSet};
use tokio::sync::oneshot;

use super::audience::{Audience, Ticket};
use super::ceiling::{Ceiling, CeilingReached, Kind, Place};
use crate::mesh::handle::StreamReader;

/// A call that waits for an instance or has one.
#[derive(Debug)]
pub(super) struct Job {
    pub incoming: Incoming,
    /// When it came.
    pub came: Instant,
    /// When its caller stops waiting.
    pub deadline: Instant,
    /// Until when it may wait for an instance: its deadline, or as long as the module lets calls wait.
    pub waits_until: Instant,
    /// The streams that the caller writes.
    pub readers: Box<[StreamReader]>,
    /// Of which tenant its caller is.
    pub audience: Audience,
}

impl Job {
    /// A call to this process that came at `now`, and may wait for so long.
    pub fn new(
        incoming: Incoming,
        own: &ProcessRef,
        (now, deadline): (Instant, Instant),
        queue_time: Duration,
        readers: Vec<StreamReader>,
    ) -> Box<Self> {
        let waits_until = now.checked_add(queue_time).map_or(deadline, |until| until.min(deadline));
        let audience = Audience::of_call(&incoming, &own.tenant);
        Box::new(Self { incoming, came: now, deadline, waits_until, readers: readers.into_boxed_slice(), audience })
    }

    /// Whose answer its end is.
    pub fn ticket(&self) -> Ticket {
        Ticket { id: self.incoming.id, audience: self.audience }
    }

    /// Whether it may not wait until its deadline: where its wait has ended, that is why.
    pub fn leaves_early(&self) -> bool {
        self.waits_until < self.deadline
    }
}

/// A call in a queue, with its place among those that wait in its tenant.
#[derive(Debug)]
struct Waiting {
    job: Box<Job>,
    _place: Option<Place>,
}

/// A place to run in: an instance, or the right to make one of this number.
#[derive(Debug)]
pub(super) struct Seat<I> {
    pub number: u32,
    pub instance: Option<I>,
}

/// What becomes of a new call.
#[derive(Debug)]
pub(super) enum Admission<I> {
    /// It runs now.
    Run(Seat<I>, Box<Job>),
    /// It waits for a seat.
    Queued,
    /// It cannot.
    Refused(Refused, Box<Job>),
}

/// Why a call is not even queued.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// The queue is full.
    Overloaded,
    /// The tenant has as much as it may.
    Tenant(CeilingReached),
    /// Every instance that could take it waits for it.
    Cycle,
    /// The module is shutting down.
    Closed,
}

/// What becomes of a seat that its call has left.
#[derive(Debug)]
pub(super) struct Released<I> {
    /// The next call of the queue has it; its cancellation comes by the channel. None where nobody needs it now.
    pub next: Option<(Seat<I>, Box<Job>, oneshot::Receiver<()>)>,
    /// Calls of the queue that may not run: the tenant has as many running as it may.
    pub turned_away: Vec<(Box<Job>, CeilingReached)>,
    /// An instance that nobody is to call any more, to be dropped outside the lock.
    pub dropped: Option<I>,
}

/// What became of a call that its caller gave up.
#[derive(Debug)]
pub(super) enum Left {
    /// It was in the queue, and is not any more.
    Queued(Box<Job>),
    /// It runs: whoever runs it is told.
    Running,
    /// It has ended already.
    Unknown,
}

/// The instances `I` and the queue of one module, and what its busy seats do, `B`.
pub(super) struct Roster<I, B> {
    capacity: usize,
    queue_limit: usize,
    /// The last one used is on top: it is the warmest.
    idle: Vec<(u32, I)>,
    live: HashSet<u32>,
    next_number: u32,
    queue: VecDeque<Waiting>,
    /// The calls on the worker threads until they are over, and how those for which somebody waits are cancelled.
    running: HashMap<ServeId, Option<oneshot::Sender<()>>>,
    busy: HashMap<u32, B>,
    /// What all modules of the tenant may have running, and waiting.
    ceiling: Arc<Ceiling>,
    /// The places of the calls in seats, by the seats' numbers; none where there is no such ceiling.
    places: HashMap<u32, Place>,
    closed: bool,
}

impl<I, B> Roster<I, B> {
    pub fn new(capacity: u32, queue_limit: usize, ceiling: Arc<Ceiling>) -> Self {
        Self {
            capacity: capacity as usize,
            queue_limit,
            idle: Vec::new(),
            live: HashSet::default(),
            next_number: 0,
            queue: VecDeque::new(),
            running: HashMap::default(),
            busy: HashMap::default(),
            ceiling,
            places: HashMap::default(),
            closed: false,
        }
    }

    /// Finds a place for a call of this process.
    pub fn admit(&mut self, job: Box<Job>, own: &ProcessRef) -> Admission<I> {
        if self.closed {
            return Admission::Refused(Refused::Closed, job);
        }
        if !self.idle.is_empty() || self.live.len() < self.capacity {
            let place = match self.ceiling.place(Kind::Running, job.audience) {
                Ok(place) => place,
                Err(reached) => return Admission::Refused(Refused::Tenant(reached), job),
            };
            let idle = self.idle.pop().map(|(number, instance)| Seat { number, instance: Some(instance) });
            if let Some(seat) = idle.or_else(|| self.seat()) {
                self.places.extend(place.map(|place| (seat.number, place)));
                return Admission::Run(seat, job);
            }
        }
        if self.returns_to_all(&job.incoming.chain, own) {
            return Admission::Refused(Refused::Cycle, job);
        }
        if self.queue.len() >= self.queue_limit {
            return Admission::Refused(Refused::Overloaded, job);
        }
        match self.ceiling.place(Kind::Queued, job.audience) {
            Ok(place) => {
                self.queue.push_back(Waiting { job, _place: place });
                Admission::Queued
            }
            Err(reached) => Admission::Refused(Refused::Tenant(reached), job),
        }
    }

    /// A seat without a call: for an instance that is to be made before the first call.
    pub fn seat_for_new(&mut self) -> Option<Seat<I>> {
        if self.closed { None } else { self.seat() }
    }

    /// A seat in which an instance is to be made that waits for a call, where none does and none is to come into it first.
    pub fn seat_for_spare(&mut self) -> Option<Seat<I>> {
        if self.closed || !self.idle.is_empty() { None } else { self.seat() }
    }

    /// Whether an instance may be made for a call that comes now.
    pub fn has_free_seat(&self) -> bool {
        self.live.len() < self.capacity
    }

    /// Whether an instance waits for a call.
    pub fn has_idle(&self) -> bool {
        !self.idle.is_empty()
    }

    /// Takes the idle instances that `which` picks, to do something to them other than a call.
    pub fn take_idle(&mut self, which: impl Fn(&I) -> bool) -> Vec<Seat<I>> {
        let (taken, kept) = std::mem::take(&mut self.idle).into_iter().partition(|(_, instance)| which(instance));
        self.idle = kept;
        let taken: Vec<(u32, I)> = taken;
        taken.into_iter().map(|(number, instance)| Seat { number, instance: Some(instance) }).collect()
    }

    /// A seat is used on the worker threads, for this.
    pub fn moved(&mut self, number: u32, busy: B) {
        self.busy.insert(number, busy);
    }

    /// A call runs on the worker threads; its cancellation comes by the channel.
    pub fn runs(&mut self, id: ServeId) -> oneshot::Receiver<()> {
        let (sender, cancel) = oneshot::channel();
        self.running.insert(id, Some(sender));
        cancel
    }

    /// A call that ran on the worker threads is over.
    pub fn over(&mut self, id: ServeId) {
        self.running.remove(&id);
    }

    /// What keeps the seats from those who wait.
    pub fn busy(&self) -> impl Iterator<Item = &B> {
        self.busy.values()
    }

    /// A seat comes back; without its instance when that has ended, or is not to be called again.
    pub fn release(&mut self, seat: Seat<I>) -> Released<I> {
        let Seat { number, instance } = seat;
        self.busy.remove(&number);
        // That of the call that has left it, if it had one: the next call of the queue has it.
        let mut place = self.places.remove(&number);
        if self.closed {
            self.live.remove(&number);
            return Released { next: None, turned_away: Vec::new(), dropped: instance };
        }
        if instance.is_none() {
            self.live.remove(&number);
        }
        let mut turned_away = Vec::new();
        let waiting = loop {
            let Some(waiting) = self.queue.pop_front() else {
                self.idle.extend(instance.map(|instance| (number, instance)));
                return Released { next: None, turned_away, dropped: None };
            };
            match self.ceiling.hand_on(&mut place, Kind::Running, waiting.job.audience) {
                Ok(()) => break waiting,
                Err(reached) => turned_away.push((waiting.job, reached)),
            }
        };
        let seat = match instance {
            Some(instance) => Some(Seat { number, instance: Some(instance) }),
            None => self.seat(),
        };
        match seat {
            // From here on it is not in the queue any more, so it must be among those that run: a cancellation that
            // comes now finds it there.
            Some(seat) => {
                let job = waiting.job;
                let cancel = self.runs(job.incoming.id);
                self.places.extend(place.map(|place| (seat.number, place)));
                Released { next: Some((seat, job, cancel)), turned_away, dropped: None }
            }
            None => {
                self.queue.push_front(waiting);
                Released { next: None, turned_away, dropped: None }
            }
        }
    }

    /// A caller gave up.
    pub fn leave(&mut self, id: ServeId) -> Left {
        if let Some(cancel) = self.running.get_mut(&id) {
            if let Some(cancel) = cancel.take() {
                let _ = cancel.send(());
            }
            return Left::Running;
        }
        match self.queue.iter().position(|waiting| waiting.job.incoming.id == id).and_then(|at| self.queue.remove(at)) {
            Some(waiting) => Left::Queued(waiting.job),
            None => Left::Unknown,
        }
    }

    /// Takes the queued calls that may not wait any longer at `now`.
    #[expect(clippy::vec_box, reason = "they come in boxes")]
    pub fn expire(&mut self, now: Instant) -> Vec<Box<Job>> {
        if self.next_expiry().is_none_or(|first| first > now) {
            return Vec::new();
        }
        let (kept, expired) =
            std::mem::take(&mut self.queue).into_iter().partition(|waiting| waiting.job.waits_until > now);
        self.queue = kept;
        let expired: VecDeque<Waiting> = expired;
        expired.into_iter().map(|waiting| waiting.job).collect()
    }

    /// When the first of the queue may not wait any longer.
    pub fn next_expiry(&self) -> Option<Instant> {
        self.queue.iter().map(|waiting| waiting.job.waits_until).min()
    }

    /// Takes no more calls, and lets none of the queue begin.
    pub fn seal(&mut self) {
        self.closed = true;
    }

    /// Takes no more calls; gives back the queue and what is idle.
    #[expect(clippy::vec_box, reason = "they come in boxes")]
    pub fn close(&mut self) -> (Vec<Box<Job>>, Vec<I>) {
        self.closed = true;
        let idle = std::mem::take(&mut self.idle);
        for (number, _) in &idle {
            self.live.remove(number);
        }
        (
            self.queue.drain(..).map(|waiting| waiting.job).collect(),
            idle.into_iter().map(|(_, instance)| instance).collect(),
        )
    }

    /// Instances that live.
    pub fn instances(&self) -> usize {
        self.live.len()
    }

    /// Calls that run on the worker threads, for somebody or nobody, or are queued.
    pub fn in_flight(&self) -> usize {
        self.running.len() + self.queue.len()
    }

    /// One in which an instance is to be made.
    fn seat(&mut self) -> Option<Seat<I>> {
        self.new_number().map(|number| Seat { number, instance: None })
    }

    fn new_number(&mut self) -> Option<u32> {
        if self.live.len() >= self.capacity {
            return None;
        }
        let number = self.next_number;
        // Long before the number of the `run` instance (u32::MAX) is reached the counter starts again; numbers that
        // still live are passed over.
        self.next_number = (number + 1) % (u32::MAX - 1);
        while self.live.contains(&self.next_number) {
            self.next_number = (self.next_number + 1) % (u32::MAX - 1);
        }
        self.live.insert(number);
        Some(number)
    }

    fn returns_to_all(&self, chain: &[Hop], own: &ProcessRef) -> bool {
        let is_own = |hop: &&Hop| hop.process.as_ref() == Some(own) && self.live.contains(&hop.instance);
        let waiting: HashSet<u32> = chain.iter().filter(is_own).map(|hop| hop.instance).collect();
        !waiting.is_empty() && waiting.len() == self.live.len()
    }
}

#[cfg(test)]
#[path = "roster_tests.rs"]
mod tests;
