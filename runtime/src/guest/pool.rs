//! The calls of one module with synchronous callbacks, and its instances.
//!
//! ```text
//!   driver's desk: serve ──► seat ──► polled once ──► done: answered on the spot
//!                    │                     └──► pending or a tick passed ──► worker thread ([`super::worker`])
//!                    └──► queued ──► the next worker that is free
//! ```
//!
//! Invariants: the lock is held for moments and never over an await or an entry into a guest; the end of each call that
//! [`Serve::serve`] leaves open is told exactly once, by whoever takes it out of the roster; every task is tracked and
//! ends when the pool is shut down.

mod spare;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use daffi_proto::call::{Incoming, ServeResult};
use daffi_proto::error::CallError;
use daffi_proto::id::ServeId;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use self::spare::Spare;
use super::answer::{Busy, given_up, late_in_queue, may_enter, queued_too_long, refused, signed, signed_error};
use super::audience::Ticket;
use super::fair::goes_on_in_network;
use super::heat::Heat;
use super::house::{Chore, House, Reports};
use super::instance::{Instance, LinkHistory};
use super::lent::lend;
use super::limits::{InstancePolicy, OnCancel};
use super::meter::Meter;
use super::roster::{Admission, Job, Left, Refused, Released, Roster, Seat};
use super::stint::Stint;
use super::template::Template;
use super::threads::{NETWORK_BYTES, Polled, Side, Threads};
use super::worker::{self, Progress, Run};
use crate::mesh::handle::{Begin, LinkState, Serve};

/// The instances and the queue of one module of synchronous callbacks.
pub(super) struct Pool {
    pub template: Arc<Template>,
    pub policy: InstancePolicy,
    pub on_cancel: OnCancel,
    pub threads: Threads,
    pub shutdown: CancellationToken,
    state: Mutex<State>,
    pub heat: Arc<Heat>,
    house: House,
}

/// What became of a call that came in.
enum Admitted {
    /// It has a seat; whether the instance there can be called at once.
    Run(Seat<Box<Instance>>, Box<Job>, bool),
    Queued,
    Refused(CallError),
}

struct State {
    roster: Roster<Box<Instance>, Busy>,
    link: LinkHistory,
    spare: Spare,
}

impl Pool {
    pub fn new(
        template: Arc<Template>,
        policy: InstancePolicy,
        on_cancel: OnCancel,
        threads: Threads,
        shutdown: CancellationToken,
    ) -> Arc<Self> {
        let limits = &template.context.limits;
        let house = House::new(template.context.clone(), shutdown.clone());
        let ceiling = template.context.ceiling.clone();
        let roster = Roster::new(limits.instances(policy), limits.queue, ceiling);
        Arc::new(Self {
            policy,
            on_cancel,
            threads,
            shutdown,
            state: Mutex::new(State { roster, link: LinkHistory::default(), spare: Spare::default() }),
            heat: Arc::new(Heat::new(Instant::now())),
            house,
            template,
        })
    }

    /// Makes the first instance, so that its lifecycle functions run before anybody calls.
    pub fn make_first(self: &Arc<Self>) {
        let seat = self.lock().roster.seat_for_new();
        if let Some(seat) = seat {
            self.move_to_worker(Run::prepare(self, seat, None), Side::Guests);
        }
    }

    /// Gives a new call a seat, and runs it here and now if it may and promises to be short.
    fn accept(self: &Arc<Self>, incoming: Incoming, begin: Begin) -> Option<ServeResult> {
        let context = &self.template.context;
        context.set_local(incoming.process);
        let began = Instant::now();
        context.meter.asked(incoming.args.len());
        let deadline = context.mesh.instant(incoming.deadline);
        let job = Job::new(incoming, &context.process, (began, deadline), context.limits.queue_time, Vec::new());
        let audience = job.audience;
        if let Err(error) = may_enter(&self.template, &job, began) {
            context.meter.failed(&error);
            return Some(signed(&self.template, audience, Err(error)));
        }
        let short = begin == Begin::Here
            && job.incoming.args.len() <= NETWORK_BYTES
            && self.heat.is_cool(began)
            && context.share.may_run_in_driver(began);
        let (seat, job, ready) = match self.admit(job) {
            Admitted::Run(seat, job, ready) => (seat, job, ready),
            Admitted::Queued => return None,
            Admitted::Refused(error) => {
                context.meter.failed(&error);
                return Some(signed(&self.template, audience, Err(error)));
            }
        };
        // A long-lived instance that is made or told something first may take its time; a per-call one is mostly made in
        // tens of microseconds; where its start takes long, heat keeps the next ones away.
        let mut run = if ready { Run::call(self, seat, job, began) } else { Run::prepare(self, seat, Some(job)) };
        let mut side = Side::Guests;
        if short && (ready || !self.policy.is_long_lived()) {
            // What the guest starts to wait for must be woken by the guests' runtime: the driver has no time for it.
            let _guests = self.threads.enter_guests();
            let _outer = Polled::set_apart();
            let stint = Stint::begin(began);
            loop {
                match run.poll_once() {
                    Progress::Pending => break,
                    Progress::Prepared(seat, Some(job)) => run = Run::call(self, seat, job, Instant::now()),
                    Progress::Prepared(seat, None) => {
                        self.took(&stint);
                        self.finish(seat);
                        return None;
                    }
                    Progress::Ended(seat, answer) => {
                        let result = answer.map(|answer| self.signed(answer));
                        // To drop an instance that is not kept may take longer than its call.
                        if let Some(seat) = self.renew_later(seat) {
                            self.finish(seat);
                        }
                        let took = self.took(&stint);
                        if let Some(result) = &result {
                            context.meter.ended(took, result);
                        }
                        return result;
                    }
                }
            }
            // It may take long from here on, and others come before it ends.
            let took = self.took(&stint);
            run.has_used(took);
            if goes_on_in_network(took, false) {
                side = Side::Network;
            }
        }
        self.move_to_worker(run, side);
        None
    }

    fn admit(&self, job: Box<Job>) -> Admitted {
        let waits_until = job.waits_until;
        let mut state = self.lock();
        match state.roster.admit(job, &self.template.context.process) {
            Admission::Run(seat, job) => {
                let ready = seat.instance.as_ref().is_some_and(|instance| !instance.is_behind(&state.link));
                Admitted::Run(seat, job, ready)
            }
            Admission::Queued => {
                let is_first_to_expire = state.roster.next_expiry().is_some_and(|first| first >= waits_until);
                drop(state);
                if is_first_to_expire {
                    self.house.ring();
                }
                self.house.load_changed();
                Admitted::Queued
            }
            Admission::Refused(why, job) => {
                drop(state);
                Admitted::Refused(refused(&self.template, &why, &job.incoming))
            }
        }
    }

    fn signed(&self, (ticket, result): (Ticket, ServeResult)) -> ServeResult {
        signed(&self.template, ticket.audience, result)
    }

    /// A call ended at the driver's desk.
    fn finish(self: &Arc<Self>, seat: Seat<Box<Instance>>) {
        if let Some(next) = self.release(seat) {
            self.move_to_worker(next, Side::Guests);
        }
    }

    fn move_to_worker(self: &Arc<Self>, mut run: Run, side: Side) {
        if let Some(id) = run.uncancellable() {
            let cancel = self.lock().roster.runs(id);
            run.cancelled_by(cancel);
        }
        self.threads.roam(side, worker::work(self.clone(), run));
    }

    /// For how long whoever is at the driver's desk was busy here.
    fn took(&self, stint: &Stint) -> Duration {
        let now = Instant::now();
        let took = stint.took(now);
        lend(took);
        self.heat.took_here(now, took);
        self.template.context.share.ran_in_driver(took, now);
        self.meter().computed(took);
        took
    }

    /// What is counted.
    pub fn meter(&self) -> &Meter {
        &self.template.context.meter
    }

    /// Notes what a seat does on a worker thread.
    pub fn note_busy(&self, run: &Run) {
        let (number, busy) = run.busy();
        self.lock().roster.moved(number, busy);
        self.house.load_changed();
    }

    /// Takes back a seat; what is to be done next with it, if anything.
    pub fn release(self: &Arc<Self>, mut seat: Seat<Box<Instance>>) -> Option<Run> {
        let ended = seat.instance.is_none();
        if !self.policy.is_long_lived() {
            // First, so that there never are more instances than seats.
            let is_surplus = !self.may_spare() || self.lock().roster.has_idle();
            seat.instance.take_if(|instance| is_surplus || instance.was_called());
        }
        let spare = !self.policy.is_long_lived() && seat.instance.is_some();
        let mut state = self.lock();
        state.spare.is_released(seat.number);
        let behind = seat.instance.as_ref().is_some_and(|instance| instance.is_behind(&state.link));
        if behind && !self.shutdown.is_cancelled() {
            // It hears of the link before it is called again, or idles.
            drop(state);
            return Some(Run::prepare(self, seat, None));
        }
        if self.shutdown.is_cancelled() {
            state.roster.seal();
        }
        let Released { next, turned_away, dropped: _dropped_here } = state.roster.release(seat);
        let rings = spare && state.spare.is_kept(Instant::now());
        drop(state);
        if rings {
            self.house.ring();
            self.house.load_changed();
        }
        if ended {
            self.house.load_changed();
        }
        if !turned_away.is_empty() {
            let pool = self.clone();
            let refusals = turned_away.into_iter().map(|(job, reached)| (job, Refused::Tenant(reached)));
            self.threads.spawn(Side::Guests, async move { pool.refuse(refusals).await });
        }
        next.map(|(seat, job, cancel)| {
            let mut run = Run::call(self, seat, job, Instant::now());
            run.cancelled_by(cancel);
            run
        })
    }

    /// Tells those who waited why they will not run.
    async fn refuse(&self, jobs: impl IntoIterator<Item = (Box<Job>, Refused)>) {
        for (job, why) in jobs {
            let error = refused(&self.template, &why, &job.incoming);
            self.fail(job.ticket(), error).await;
        }
    }

    /// Tells the caller why he waits no longer; the call runs on.
    pub async fn runs_on(&self, ticket: Ticket, error: CallError) {
        self.meter().failed(&error);
        let error = signed_error(&self.template, ticket.audience, error);
        self.template.context.mesh.answered(ticket.id, error).await;
    }

    /// A call that was left open is over, and has failed.
    pub async fn fail(&self, ticket: Ticket, error: CallError) {
        self.meter().failed(&error);
        self.answer(ticket, Err(error)).await;
    }

    /// A call that was left open is over, and was counted.
    pub async fn answer(&self, ticket: Ticket, result: ServeResult) {
        self.lock().roster.over(ticket.id);
        self.house.load_changed();
        let result = signed(&self.template, ticket.audience, result);
        self.template.context.mesh.served(ticket.id, result).await;
    }

    /// What the link did so far.
    pub fn link(&self) -> LinkHistory {
        self.lock().link.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does what no call does by itself until the pool is shut down: ends the wait of queued calls at their deadline,
    /// tells idle instances of the link, and the mesh of the load.
    pub async fn keep_house(self: Arc<Self>, mut link: watch::Receiver<LinkState>) {
        self.link_changed(&link.borrow_and_update().clone());
        let mut reports = Reports::at_once();
        loop {
            let due = {
                let state = self.lock();
                state.roster.next_expiry().into_iter().chain(state.spare.next_look()).min()
            };
            match self.house.next_chore(due, &reports, &mut link).await {
                Chore::Look => {}
                Chore::Link(link) => self.link_changed(&link),
                Chore::Close => break,
            }
            self.expire().await;
            self.end_spare();
            self.house.report(&mut reports, || {
                let state = self.lock();
                (state.roster.instances(), state.roster.in_flight())
            });
        }
        self.close().await;
    }

    fn link_changed(self: &Arc<Self>, link: &LinkState) {
        let behind = {
            let mut state = self.lock();
            state.link.update(link);
            let link = state.link.clone();
            state.roster.take_idle(|instance| instance.is_behind(&link))
        };
        for seat in behind {
            self.move_to_worker(Run::prepare(self, seat, None), Side::Guests);
        }
    }

    async fn expire(&self) {
        let (expired, busy) = {
            let mut state = self.lock();
            let expired = state.roster.expire(Instant::now());
            let busy: Vec<Busy> = if expired.is_empty() { Vec::new() } else { state.roster.busy().cloned().collect() };
            (expired, busy)
        };
        for job in expired {
            let name = self.template.callback_name(job.incoming.callback);
            let late = if job.leaves_early() { queued_too_long } else { late_in_queue };
            self.fail(job.ticket(), late(&self.template, &name, &busy)).await;
        }
    }

    /// Refuses what is queued, and drops the instances that idle.
    async fn close(&self) {
        let (queued, idle) = self.lock().roster.close();
        // There may be thousands.
        self.threads.spawn(Side::Guests, async move { drop(idle) });
        self.refuse(queued.into_iter().map(|job| (job, Refused::Closed))).await;
    }
}

/// The driver's side of a pool.
pub(super) struct PoolService(pub Arc<Pool>);

impl Serve for PoolService {
    fn serve(&self, incoming: Incoming, begin: Begin) -> Option<ServeResult> {
        self.0.accept(incoming, begin)
    }

    fn cancel(&self, id: ServeId) {
        let left = self.0.lock().roster.leave(id);
        if let Left::Queued(job) = left {
            // Nobody waits for this answer; the node is told that the call is over.
            let pool = self.0.clone();
            let name = pool.template.callback_name(job.incoming.callback);
            let (ticket, error) = (job.ticket(), given_up(&name));
            self.0.threads.spawn(Side::Network, async move { pool.fail(ticket, error).await });
        }
    }
}
