//! The calls of one module whose calls interleave: components with async functions.
//!
//! Each instance is a lane with a task of its own ([`super::lane`]); which call goes where is decided by
//! [`super::lanes`], under a lock that is held for moments. At a deadline the caller is told at once; it and a
//! cancellation stop the callback only where that costs no other call. A synchronous export of such a component is served in
//! the same way; the component model lets nobody else into the instance until it returns.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use daffi_proto::call::{Incoming, ServeResult};
use daffi_proto::error::{CallError, code};
use daffi_proto::id::ServeId;
use daffi_proto::stream::Flows;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use super::answer::{
    Busy, given_up, late_in_queue, may_enter, queued_too_long, refused, runs_on, signed, signed_error,
};
use super::audience::Ticket;
use super::fault::{Fault, TimeUpBy};
use super::heat::Heat;
use super::house::{Chore, House, Reports};
use super::instance::LinkHistory;
use super::lane::{self, Culprit, LaneEnd};
use super::lanes::{End, Lanes, Lost, NewLane, Open, Placed, Shape, Unqueued};
use super::limits::{InstancePolicy, OnCancel};
use super::roster::{Job, Refused};
use super::streams::CallStreams;
use super::template::Template;
use super::threads::{Side, Threads};
use crate::mesh::handle::{Begin, LinkState, Serve, StreamReader, StreamWriter};

/// The lanes and the queue of one module.
pub(super) struct Interleave {
    pub template: Arc<Template>,
    threads: Threads,
    /// Whether its guests may run in the network's thread.
    pub heat: Arc<Heat>,
    lanes: Mutex<Lanes>,
    /// A place for each instance: a lane that is to be made waits for that of the one before it, whose guest may take a
    /// tick to end.
    pub places: Semaphore,
    link: watch::Sender<LinkHistory>,
    house: House,
}

impl Interleave {
    pub fn new(
        template: Arc<Template>,
        policy: InstancePolicy,
        on_cancel: OnCancel,
        threads: Threads,
        shutdown: CancellationToken,
    ) -> Arc<Self> {
        let limits = &template.context.limits;
        let lanes = usize::try_from(limits.instances(policy)).unwrap_or(usize::MAX);
        let shape = Shape {
            lanes,
            per_lane: if policy.is_long_lived() { limits.async_calls.max(1) } else { 1 },
            queue: limits.queue,
            single_use: !policy.is_long_lived(),
            kills: on_cancel == OnCancel::Kill,
            max_call_time: limits.max_call_time,
        };
        let house = House::new(template.context.clone(), shutdown);
        let (link, _) = watch::channel(LinkHistory::default());
        let places = Semaphore::new(shape.lanes.min(Semaphore::MAX_PERMITS));
        let lanes = Lanes::new(shape, template.context.ceiling.clone());
        let heat = Arc::new(Heat::new(Instant::now()));
        Arc::new(Self { template, threads, heat, lanes: Mutex::new(lanes), places, link, house })
    }

    /// Makes the first instance, so that its lifecycle functions run before anybody calls.
    pub fn make_first(self: &Arc<Self>) {
        let lane = self.lock().first_lane();
        self.spawn(lane);
        self.house.load_changed();
    }

    fn accept(self: &Arc<Self>, incoming: Incoming, readers: Vec<StreamReader>) -> Option<ServeResult> {
        let context = &self.template.context;
        context.set_local(incoming.process);
        let now = Instant::now();
        context.meter.asked(incoming.args.len());
        let deadline = context.mesh.instant(incoming.deadline);
        let job = Job::new(incoming, &context.process, (now, deadline), context.limits.queue_time, readers);
        let (audience, is_async) = (job.audience, self.template.is_async(job.incoming.callback));
        if let Err(error) = may_enter(&self.template, &job, now) {
            context.meter.failed(&error);
            return Some(signed(&self.template, audience, Err(error)));
        }
        let (placed, is_first_due) = {
            let mut lanes = self.lock();
            let waits_until = job.waits_until;
            let placed = lanes.admit(job, is_async, &context.process);
            (placed, lanes.is_before_alarm(waits_until))
        };
        match placed {
            Placed::Sent | Placed::Queued => {}
            Placed::New(lane) => self.spawn([lane]),
            Placed::Refused(why, job) => {
                let error = refused(&self.template, &why, &job.incoming);
                context.meter.failed(&error);
                return Some(signed(&self.template, audience, Err(error)));
            }
        }
        if is_first_due {
            self.house.ring();
        }
        self.house.load_changed();
        None
    }

    /// What the link did so far, and what it does next.
    pub fn link(&self) -> watch::Receiver<LinkHistory> {
        self.link.subscribe()
    }

    /// A lane is about to enter the guest for a call, which may have streams: what fires when nobody waits for it any more.
    /// None when nobody does now.
    pub fn begins(
        self: &Arc<Self>,
        lane: u32,
        id: ServeId,
        streams: Option<Arc<CallStreams>>,
    ) -> Option<CancellationToken> {
        let now = Instant::now();
        let (begins, is_first_due, new) = {
            let mut lanes = self.lock();
            let begins = lanes.begins(lane, id, now, streams);
            if let Some(came) = lanes.wanted_since(id).filter(|_| begins.is_some()) {
                self.template.context.meter.waited(now.saturating_duration_since(came));
            }
            // The call that nobody waits for held a place on the way to the lane that a queued one can have now.
            let new =
                if begins.is_some() { Unqueued::default() } else { lanes.serve_queue(&self.template.context.process) };
            let too_long = now + self.template.context.limits.max_call_time;
            let is_first_due = begins.is_some() && lanes.is_before_alarm(too_long);
            (begins, is_first_due, new)
        };
        self.go_on(new);
        if is_first_due {
            self.house.ring();
        }
        begins
    }

    /// A callback has returned and its call goes on for the sake of its streams: its caller has his result. Gives the
    /// streams in it to be written; none where he does not wait any more.
    pub async fn reply(self: &Arc<Self>, id: ServeId, result: Bytes, streams: Flows) -> Vec<StreamWriter> {
        let (waits, new) = {
            let mut lanes = self.lock();
            let waits = lanes.replies(id);
            // A lane that was blocked by this call is free now.
            (waits, lanes.serve_queue(&self.template.context.process))
        };
        self.go_on(new);
        match waits {
            true => self.template.context.mesh.reply(id, result, streams).await,
            false => Vec::new(),
        }
    }

    /// A stream of a call's arguments broke: the call is given up as if its caller had.
    pub async fn broken(self: &Arc<Self>, id: ServeId, error: &CallError) {
        let (open, streams, new) = {
            let mut lanes = self.lock();
            let streams = lanes.streams(id);
            (lanes.breaks(id), streams, lanes.serve_queue(&self.template.context.process))
        };
        self.go_on(new);
        self.house.load_changed();
        if let Some(streams) = streams {
            streams.stop(error.clone());
        }
        if let Some(open) = open {
            self.end(&open, error.clone()).await;
        }
    }

    /// A call ended in its lane.
    pub async fn returned(self: &Arc<Self>, lane: u32, id: ServeId, result: ServeResult) {
        let (over, took, new) = {
            let mut lanes = self.lock();
            let now = Instant::now();
            let took = lanes.wanted_since(id).map(|came| now.saturating_duration_since(came));
            let over = lanes.returned(lane, id, now);
            (over, took, lanes.serve_queue(&self.template.context.process))
        };
        self.go_on(new);
        self.house.load_changed();
        let Some(ticket) = over else { return };
        if let Some(took) = took {
            self.template.context.meter.ended(took, &result);
        }
        self.answer(ticket, result).await;
    }

    /// No call is left in a lane, and its tasks go on. False where a call is on its way to it.
    pub fn lingers(&self, lane: u32) -> bool {
        let (lingers, is_first_due) = {
            let mut lanes = self.lock();
            let until = lanes.lingers(lane, Instant::now());
            (until.is_some(), until.is_some_and(|until| lanes.is_before_alarm(until)))
        };
        if is_first_due {
            self.house.ring();
        }
        lingers
    }

    /// The tasks of a lane without calls have ended.
    pub fn is_quiet(&self, lane: u32) {
        self.lock().is_quiet(lane);
    }

    /// A lane's task is about to end.
    pub async fn lane_ended(self: &Arc<Self>, number: u32, why: LaneEnd) {
        let (lost, new) = {
            let mut lanes = self.lock();
            let lost = lanes.ended(number);
            (lost, lanes.serve_queue(&self.template.context.process))
        };
        self.go_on(new);
        self.house.load_changed();
        if lost.iter().all(|lost| !lost.open && !lost.streams) {
            self.log_end(&why);
        }
        for call in &lost {
            let name = &*self.template.callback_name(call.callback);
            let error = match &why {
                LaneEnd::NotMade(error) => {
                    // The lane did not know for which call it was made.
                    let message = error.message.replacen(self.template.context.process.name.as_str(), name, 1);
                    CallError { callback: name.to_owned(), message, ..error.clone() }
                }
                LaneEnd::Fault(fault, culprit) if call.begun => self.fault_of(call, fault, *culprit, &lost),
                LaneEnd::Fault(fault, _) => not_begun(name, &fault.message()),
                LaneEnd::Told if !call.begun => not_begun(name, "it was stopped"),
                LaneEnd::Told => {
                    CallError::failed(code::CANCELLED, format!("{name} was stopped with its instance"), name)
                }
            };
            self.lose(call, error).await;
        }
    }

    /// What a call that had begun is told whose instance ended.
    fn fault_of(&self, call: &Lost, fault: &Fault, culprit: Culprit, lost: &[Lost]) -> CallError {
        let name = &*self.template.callback_name(call.callback);
        let served: Vec<&Lost> = lost.iter().filter(|lost| lost.begun).collect();
        let is_suspect = |lost: &&&Lost| match culprit {
            Culprit::Call(id) => lost.ticket.id == id,
            Culprit::Callback(callback) => lost.callback == callback,
            Culprit::Leftover => false,
            Culprit::Unknown => true,
        };
        let suspects: Vec<&&Lost> = served.iter().filter(is_suspect).collect();
        match suspects.as_slice() {
            _ if culprit == Culprit::Leftover => {
                fault.lost(name, served.len(), "what went on after a call had returned")
            }
            _ if served.len() == 1 => fault.clone().into_error(name, TimeUpBy::MaxCallTime),
            [one] if one.ticket == call.ticket => fault.clone().into_error(name, TimeUpBy::MaxCallTime),
            // It is one of several calls, and not this one.
            [one, ..] if !suspects.iter().any(|suspect| suspect.ticket == call.ticket) => {
                fault.lost(name, served.len(), &self.template.callback_name(one.callback))
            }
            several => fault.suspected(name, several.len().saturating_sub(1)),
        }
    }

    /// Does what no call does by itself until the module is shut down: looks at the clock for those who wait and run,
    /// and tells the mesh of the load.
    pub async fn keep_house(self: Arc<Self>, mut link: watch::Receiver<LinkState>) {
        let state = link.borrow_and_update().clone();
        self.link.send_modify(|history| history.update(&state));
        let mut reports = Reports::at_once();
        loop {
            let due = self.lock().arm();
            match self.house.next_chore(due, &reports, &mut link).await {
                Chore::Look => {}
                Chore::Link(state) => self.link.send_modify(|history| history.update(&state)),
                Chore::Close => break,
            }
            self.end_due().await;
            self.house.report(&mut reports, || {
                let lanes = self.lock();
                (lanes.instances(), lanes.in_flight())
            });
        }
        self.close().await;
    }

    async fn end_due(self: &Arc<Self>) {
        let (due, busy, new) = {
            let mut lanes = self.lock();
            let lingered = lanes.end_lingering(Instant::now());
            let due = lanes.due(Instant::now());
            if lingered > 0 {
                self.log_lingered(lingered);
            } else if due.is_empty() {
                return;
            }
            let busy: Vec<Busy> = lanes
                .busy()
                .map(|(callback, caller)| Busy { callback: self.template.callback_name(callback), caller })
                .collect();
            (due, busy, lanes.serve_queue(&self.template.context.process))
        };
        self.go_on(new);
        self.house.load_changed();
        for open in due {
            let error = self.verdict(&open, &busy);
            let streams = self.lock().streams(open.ticket.id);
            if let Some(streams) = streams {
                streams.stop(error.clone());
            }
            self.end(&open, error).await;
        }
    }

    /// Tells the caller of a call, and the node that it is over where it is; then the guest.
    async fn end(&self, open: &Open, error: CallError) {
        let context = &self.template.context;
        if !open.counted {
            context.meter.failed(&error);
        }
        if open.end.is_over() {
            self.answer(open.ticket, Err(error)).await;
        } else if !open.told {
            let error = signed_error(&self.template, open.ticket.audience, error);
            context.mesh.answered(open.ticket.id, error).await;
        }
        // Not before: what it returns because nobody waits is no result.
        self.lock().given_up(open.ticket.id);
    }

    fn verdict(&self, open: &Open, busy: &[Busy]) -> CallError {
        let name = &*self.template.callback_name(open.callback);
        match open.end {
            End::Expired => late_in_queue(&self.template, name, busy),
            End::Overdue => queued_too_long(&self.template, name, busy),
            End::LeftQueue => given_up(name),
            End::NotBegun => not_begun(name, "the calls that it served ran longer than the module's max-call-time"),
            End::Deadline { stopped: true } => TimeUpBy::Deadline.into_error(name),
            End::Deadline { stopped: false } => runs_on(name, code::DEADLINE_EXCEEDED, "the call's deadline passed"),
            End::GaveUp { stopped: true } => {
                CallError::failed(code::CANCELLED, format!("{name} was stopped: the caller gave up"), name)
            }
            End::GaveUp { stopped: false } => runs_on(name, code::CANCELLED, "the caller gave up"),
            End::TooLong { stopped: true } => TimeUpBy::MaxCallTime.into_error(name),
            End::TooLong { stopped: false } => runs_on(name, code::LIMIT_EXCEEDED, "the module's max-call-time passed"),
            End::Broken { .. } => CallError::failed(
                code::CANCELLED,
                format!("{name} was given up: a stream of its arguments broke"),
                name,
            ),
        }
    }

    async fn close(&self) {
        let (queued, running) = self.lock().close();
        for job in queued {
            let error = refused(&self.template, &Refused::Closed, &job.incoming);
            self.fail(job.ticket(), error).await;
        }
        for call in running {
            let name = &*self.template.callback_name(call.callback);
            let error = if call.begun {
                CallError::failed(code::CANCELLED, format!("{name} was stopped: its runtime ends"), name)
            } else {
                CallError::not_run(code::DRAINING, format!("{name} was not called: its runtime ends"), name)
            };
            self.lose(&call, error).await;
        }
    }

    /// A call is over with its lane.
    async fn lose(&self, call: &Lost, error: CallError) {
        match call.open || call.streams {
            true => self.fail(call.ticket, error).await,
            false => self.answer(call.ticket, Err(error)).await,
        }
    }

    /// A call is over, and has failed.
    async fn fail(&self, ticket: Ticket, error: CallError) {
        self.template.context.meter.failed(&error);
        self.answer(ticket, Err(error)).await;
    }

    /// A call is over, and was counted.
    async fn answer(&self, ticket: Ticket, result: ServeResult) {
        let result = signed(&self.template, ticket.audience, result);
        self.template.context.mesh.served(ticket.id, result).await;
    }

    /// Calls of the queue go on: in lanes that are made for them, or as refused ones.
    fn go_on(self: &Arc<Self>, unqueued: Unqueued) {
        let Unqueued { lanes, turned_away } = unqueued;
        self.spawn(lanes);
        if turned_away.is_empty() {
            return;
        }
        let pool = self.clone();
        let answers = async move {
            for (job, reached) in turned_away {
                let error = refused(&pool.template, &Refused::Tenant(reached), &job.incoming);
                pool.fail(job.ticket(), error).await;
            }
        };
        self.threads.spawn(Side::Guests, answers);
    }

    fn spawn(self: &Arc<Self>, lanes: impl IntoIterator<Item = NewLane>) {
        for lane in lanes {
            self.threads.roam(Side::Guests, lane::live(self.clone(), lane));
        }
    }

    fn log_lingered(&self, instances: usize) {
        let process = &self.template.context.process.name;
        tracing::error!(%process, instances, "ended: their work went on for max-call-time after their last calls returned");
    }

    fn log_end(&self, why: &LaneEnd) {
        let process = &self.template.context.process.name;
        match why {
            LaneEnd::NotMade(error) => tracing::error!(%process, %error, "no instance could be made"),
            LaneEnd::Fault(fault, _) => {
                tracing::error!(%process, error = fault.message(), "an instance ended while no call was in it");
            }
            LaneEnd::Told => {}
        }
    }

    fn lock(&self) -> MutexGuard<'_, Lanes> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The instance that a call was sent to ended before the call could begin.
fn not_begun(name: &str, why: &str) -> CallError {
    let message = format!("{name} was not called: its instance ended before it could begin: {why}");
    CallError::not_run(code::INSTANTIATION_FAILED, message, name)
}

/// The driver's side.
pub(super) struct InterleaveService(pub Arc<Interleave>);

impl Serve for InterleaveService {
    fn serve(&self, incoming: Incoming, _: Begin) -> Option<ServeResult> {
        self.0.accept(incoming, Vec::new())
    }

    fn serve_streams(&self, incoming: Incoming, readers: Vec<StreamReader>) -> Option<ServeResult> {
        self.0.accept(incoming, readers)
    }

    fn cancel(&self, id: ServeId) {
        let (left, streams, new) = {
            let mut lanes = self.0.lock();
            let streams = lanes.streams(id);
            let left = lanes.leave(id);
            lanes.given_up(id);
            (left, streams, lanes.serve_queue(&self.0.template.context.process))
        };
        self.0.go_on(new);
        if let (Some(streams), Some(left)) = (streams, &left) {
            streams.stop(self.0.verdict(left, &[]));
        }
        let Some(left) = left else { return };
        let error = self.0.verdict(&left, &[]);
        self.0.template.context.meter.failed(&error);
        if left.end.is_over() {
            // Nobody waits for this answer; the node is told that the call is over.
            let pool = self.0.clone();
            let task = async move { pool.answer(left.ticket, Err(error)).await };
            self.0.threads.spawn(Side::Network, task);
            self.0.house.load_changed();
        }
    }
}
