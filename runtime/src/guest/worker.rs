//! A call while it runs: its steps, and what ends it before its time.
//!
//! ```text
//!   Prepare ──► the instance is made, initialised, told of the link ──► Call ──► Ended
//!      │ deadline, cancelled:               │ deadline, cancelled:
//!      │ not run; a kept instance           │ kill: the instance is dropped, `failed`
//!      ▼ is finished all the same           ▼ finish: the guest runs on until max-call-time, for nobody
//! ```
//!
//! Invariants: the end of a call that moved here is told exactly once, when it is really over, and its caller is told at
//! the deadline at the latest; the guest is always polled before the clock is looked
//! at, so that a spinning guest ends by its own epoch check (with a backtrace), and only one that waits in the host is
//! dropped. When a call ends, the worker takes the next one of the queue without changing the thread.

use std::future::{Future, poll_fn, ready};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use daffi_proto::call::{Incoming, ServeResult};
use daffi_proto::error::{CallError, code};
use daffi_proto::id::{ProcessRef, ServeId};
use tokio::sync::oneshot;
use tokio::time::sleep_until;

use super::answer::{Busy, given_up, late, runs_on};
use super::audience::Ticket;
use super::fair::Stand;
use super::fault::TimeUpBy;
use super::instance::{Called, Instance, StopAt};
use super::limits::OnCancel;
use super::pool::Pool;
use super::roster::{Job, Seat};
use super::state::Scope;
use super::threads::{NETWORK_BYTES, Side, go_to, here, leave_network};

type Step<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A seat in use.
pub(super) struct Run {
    number: u32,
    step: Current,
    /// The call until it is over; none for an instance that is only prepared.
    call: Option<Ticket>,
    /// Whether its caller was told, or has gone, and it was counted then: it runs on for nobody.
    unwanted: bool,
    /// What to call once the instance is prepared.
    job: Option<Box<Job>>,
    /// The callback's name, for errors.
    name: Arc<str>,
    /// Whether it has to check and to lower much first.
    is_heavy: bool,
    /// Who called.
    caller: Option<ProcessRef>,
    deadline: Option<Instant>,
    stop: Option<StopAt>,
    /// Where its cancellation comes from, once it runs on a worker thread.
    cancel: Option<oneshot::Receiver<()>>,
    /// When its call came, if it has one.
    came: Instant,
    /// How long it ran on a thread.
    used: Duration,
}

enum Current {
    Prepare(Step<Result<Box<Instance>, CallError>>),
    Call(Step<Called>),
    Over,
}

/// How far a [`Run`] came.
pub(super) enum Progress {
    /// It waits, or a tick passed.
    Pending,
    /// The instance is ready for its call, if there is (still) one.
    Prepared(Seat<Box<Instance>>, Option<Box<Job>>),
    /// It is over; the call that ended with it, if any, and what that came to.
    Ended(Seat<Box<Instance>>, Option<(Ticket, ServeResult)>),
}

impl Run {
    /// Makes the instance of a seat that has none, or tells it of the link; for the call that is to follow, if any.
    pub fn prepare(pool: &Arc<Pool>, seat: Seat<Box<Instance>>, job: Option<Box<Job>>) -> Self {
        let template = pool.template.clone();
        let name = match &job {
            Some(job) => template.callback_name(job.incoming.callback),
            None => Arc::from(template.context.process.name.as_str()),
        };
        let now = Instant::now();
        let (number, pool, for_name) = (seat.number, pool.clone(), name.clone());
        let step = async move {
            let mut instance = match seat.instance {
                Some(instance) => instance,
                None => Instance::make(template, number, &for_name).await?,
            };
            // The link may change while the instance hears of it.
            loop {
                let link = pool.link();
                if !instance.is_behind(&link) {
                    return Ok(instance);
                }
                instance = instance.tell(link, &for_name).await?;
            }
        };
        Self {
            number,
            step: Current::Prepare(Box::pin(step)),
            call: job.as_deref().map(Job::ticket),
            unwanted: false,
            caller: job.as_ref().and_then(|job| job.incoming.caller.clone()),
            deadline: job.as_ref().map(|job| job.deadline),
            came: job.as_ref().map_or(now, |job| job.came),
            job,
            name,
            is_heavy: false,
            stop: None,
            cancel: None,
            used: Duration::ZERO,
        }
    }

    /// Calls into the seat's instance, unless the deadline has passed by now.
    pub fn call(pool: &Arc<Pool>, seat: Seat<Box<Instance>>, job: Box<Job>, now: Instant) -> Self {
        let Some(instance) = seat.instance else { return Self::prepare(pool, seat, Some(job)) };
        let ticket = job.ticket();
        let Job { incoming, came, deadline, .. } = *job;
        let Incoming { id, callback, args, caller, chain, .. } = incoming;
        let (name, is_heavy) = (pool.template.callback_name(callback), args.len() > NETWORK_BYTES);
        pool.meter().waited(now.saturating_duration_since(came));
        let longest = now + pool.template.context.limits.max_call_time;
        let stop = if pool.on_cancel == OnCancel::Kill && deadline < longest {
            StopAt { at: deadline, by: TimeUpBy::Deadline }
        } else {
            StopAt { at: longest, by: TimeUpBy::MaxCallTime }
        };
        let step: Step<Called> = if deadline <= now {
            let error = late(&name, "before it could begin");
            Box::pin(ready((Some(instance), Err(error))))
        } else {
            let scope = Scope { parent: Some(id), deadline: Some(deadline), chain, streams: None, given_up: None };
            Box::pin(instance.call(callback, args, scope, stop))
        };
        Self {
            number: seat.number,
            step: Current::Call(step),
            call: Some(ticket),
            unwanted: false,
            job: None,
            name,
            is_heavy,
            caller,
            deadline: Some(deadline),
            stop: Some(stop),
            cancel: None,
            came,
            used: Duration::ZERO,
        }
    }

    /// Its call, where that one's cancellation does not come here yet.
    pub fn uncancellable(&self) -> Option<ServeId> {
        if self.cancel.is_none() { self.call.map(|ticket| ticket.id) } else { None }
    }

    /// The cancellation of its call comes from there.
    pub fn cancelled_by(&mut self, cancel: oneshot::Receiver<()>) {
        self.cancel = Some(cancel);
    }

    /// What its seat is busy with, for the errors of those who wait for it.
    pub fn busy(&self) -> (u32, Busy) {
        (self.number, Busy { callback: self.name.clone(), caller: self.caller.clone() })
    }

    /// Goes on without waiting; for the driver's desk, which is not woken by guests.
    pub fn poll_once(&mut self) -> Progress {
        match self.poll_step(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(progress) => progress,
            Poll::Pending => Progress::Pending,
        }
    }

    /// So long it ran at the driver's desk.
    pub fn has_used(&mut self, time: Duration) {
        self.used = time;
    }

    /// Goes on in its tenant's turn. What takes long keeps the next calls away from the driver's desk before it ends.
    fn poll(&mut self, stand: &mut Stand, pool: &Pool, cx: &mut Context<'_>) -> Poll<Progress> {
        // Making an instance that is kept says nothing about the calls to come.
        let prepares = !self.is_calling() && pool.policy.is_long_lived();
        if here() == Some(Side::Network) && (prepares || self.is_heavy) {
            go_to(Side::Guests);
            return Poll::Pending;
        }
        self.is_heavy = false;
        let progress = stand.poll(cx, |cx| self.poll_step(cx));
        if prepares {
            // An instance that is to be kept may take its time to begin: until then it stays.
            go_to(Side::Guests);
        }
        let took = stand.took();
        self.used += took;
        // Of the network's thread, its stand tells.
        if !prepares && !took.is_zero() && here() != Some(Side::Network) {
            pool.heat.took_elsewhere(Instant::now(), self.used);
        }
        progress
    }

    fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<Progress> {
        let polled = catch_unwind(AssertUnwindSafe(|| self.poll_guest(cx)));
        let Ok(progress) = polled else {
            // A defect of the runtime, and not of this call's task, which may be the driver's: only the instance, whose
            // state nobody knows, goes with it.
            let message = format!("the runtime failed while it ran {}; its log says how", self.name);
            let error = CallError::failed(code::INTERNAL, message, &*self.name);
            let answer = self.take_answer(Err(error));
            return Poll::Ready(Progress::Ended(self.abandon(), answer));
        };
        progress
    }

    fn poll_guest(&mut self, cx: &mut Context<'_>) -> Poll<Progress> {
        let number = self.number;
        match &mut self.step {
            Current::Prepare(step) => match step.as_mut().poll(cx) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(Ok(instance)) => {
                    self.step = Current::Over;
                    Poll::Ready(Progress::Prepared(Seat { number, instance: Some(instance) }, self.job.take()))
                }
                Poll::Ready(Err(error)) => {
                    self.step = Current::Over;
                    Poll::Ready(Progress::Ended(Seat { number, instance: None }, self.take_answer(Err(error))))
                }
            },
            Current::Call(step) => match step.as_mut().poll(cx) {
                Poll::Pending => Poll::Pending,
                Poll::Ready((instance, result)) => {
                    self.step = Current::Over;
                    Poll::Ready(Progress::Ended(Seat { number, instance }, self.take_answer(result)))
                }
            },
            Current::Over => Poll::Pending,
        }
    }

    /// The end of its call, if there is one; an error for which nobody waits goes to the log.
    fn take_answer(&mut self, result: ServeResult) -> Option<(Ticket, ServeResult)> {
        if let Err(error) = &result
            && !self.is_awaited()
        {
            tracing::error!(what = %self.name, %error, "an instance ended, or could not be made; no caller waits");
        }
        self.call.take().map(|ticket| (ticket, result))
    }

    /// Gives up what runs, the instance with it; the seat that it leaves.
    fn abandon(&mut self) -> Seat<Box<Instance>> {
        self.step = Current::Over;
        self.job = None;
        Seat { number: self.number, instance: None }
    }

    /// Whether somebody waits for its call.
    fn is_awaited(&self) -> bool {
        self.call.is_some() && !self.unwanted
    }

    fn is_calling(&self) -> bool {
        matches!(self.step, Current::Call(_))
    }

    /// When somebody must look at the clock: the caller's deadline while he waits, the guest's last moment.
    fn next_time(&self) -> Option<Instant> {
        let deadline = self.deadline.filter(|_| self.is_awaited());
        let stop = self.stop.map(|stop| stop.at);
        match (deadline, stop) {
            (Some(deadline), Some(stop)) => Some(deadline.min(stop)),
            (one, other) => one.or(other),
        }
    }
}

/// What happens to a run.
enum Event {
    Progress(Progress),
    Time,
    Cancelled,
    Shutdown,
}

impl Event {
    /// Whether a store may be dropped for it, which takes long where the guest has much memory.
    fn may_end_an_instance(&self, kept: bool) -> bool {
        match self {
            Self::Progress(Progress::Ended(seat, _)) => !kept || seat.instance.is_none(),
            Self::Progress(Progress::Pending | Progress::Prepared(..)) => false,
            Self::Time | Self::Cancelled | Self::Shutdown => true,
        }
    }
}

/// What an event leaves to do.
enum Then {
    /// The same run goes on.
    GoOn,
    /// The seat is free, and the call is over that was in it.
    Free(Seat<Box<Instance>>, Option<(Ticket, ServeResult)>),
    /// The call is over before it began, and the seat is not free yet.
    Leave(Ticket, CallError),
    /// The caller is told, and the call runs on.
    RunsOn(Ticket, CallError),
}

/// Runs this and, as long as the queue has calls, what comes after it. Tracked by the pool, ended by its shutdown.
pub(super) async fn work(pool: Arc<Pool>, mut run: Run) {
    let mut stand = pool.template.context.stand(pool.heat.clone());
    pool.note_busy(&run);
    loop {
        let event = next_event(&pool, &mut stand, &mut run).await;
        if event.may_end_an_instance(pool.policy.is_long_lived()) {
            leave_network().await;
        }
        match handle(&pool, &mut run, event) {
            Then::GoOn => {}
            Then::Leave(ticket, error) => pool.fail(ticket, error).await,
            Then::RunsOn(ticket, error) => pool.runs_on(ticket, error).await,
            Then::Free(seat, answer) => {
                let now = Instant::now();
                if let Some((_, result)) = &answer
                    && !run.unwanted
                {
                    pool.meter().ended(now.saturating_duration_since(run.came), result);
                }
                let next = pool.release(seat);
                if let Some((ticket, result)) = answer {
                    pool.answer(ticket, result).await;
                }
                match next {
                    Some(next) => {
                        run = next;
                        pool.note_busy(&run);
                    }
                    None => return,
                }
            }
        }
    }
}

/// Waits for what happens next.
async fn next_event(pool: &Pool, stand: &mut Stand, run: &mut Run) -> Event {
    let time = run.next_time();
    let alarm = async {
        match time {
            Some(time) => sleep_until(time.into()).await,
            None => std::future::pending().await,
        }
    };
    let mut cancel = run.cancel.take();
    let cancelled = async {
        if let Some(receiver) = cancel.as_mut() {
            let cancelled = receiver.await.is_ok();
            cancel = None;
            if cancelled {
                return;
            }
        }
        // Without a sender nobody cancels any more.
        std::future::pending().await
    };
    let event = tokio::select! {
        biased;
        progress = poll_fn(|cx| run.poll(stand, pool, cx)) => Event::Progress(progress),
        () = pool.shutdown.cancelled() => Event::Shutdown,
        () = cancelled => Event::Cancelled,
        () = alarm => Event::Time,
    };
    run.cancel = cancel;
    event
}

fn handle(pool: &Arc<Pool>, run: &mut Run, event: Event) -> Then {
    match event {
        Event::Progress(Progress::Pending) => Then::GoOn,
        Event::Progress(Progress::Prepared(seat, job)) => {
            // Making a long-lived instance says nothing about the calls to come.
            let used = if pool.policy.is_long_lived() { Duration::ZERO } else { run.used };
            let Some(job) = job else {
                run.used = used;
                return Then::Free(seat, None);
            };
            let cancel = run.cancel.take();
            *run = Run { used, cancel, ..Run::call(pool, seat, job, Instant::now()) };
            Then::GoOn
        }
        Event::Progress(Progress::Ended(seat, answer)) => Then::Free(seat, answer),
        Event::Time => on_time(pool, run),
        Event::Cancelled => on_cancelled(pool, run),
        Event::Shutdown => on_shutdown(run),
    }
}

fn on_time(pool: &Pool, run: &mut Run) -> Then {
    let now = Instant::now();
    if let Some(stop) = run.stop.filter(|stop| stop.at <= now) {
        if !run.is_awaited() {
            let process = &pool.template.context.process.name;
            tracing::warn!(%process, callback = %run.name, "an instance was ended: nobody waits for its call any more, and it met max-call-time");
        }
        let error = stop.by.into_error(&run.name);
        let call = run.call.take();
        return Then::Free(run.abandon(), call.map(|ticket| (ticket, Err(error))));
    }
    let late_now = run.is_awaited() && run.deadline.is_some_and(|deadline| deadline <= now);
    let Some(ticket) = run.call.filter(|_| late_now) else { return Then::GoOn };
    if run.is_calling() {
        run.unwanted = true;
        return Then::RunsOn(ticket, runs_on(&run.name, code::DEADLINE_EXCEEDED, "the call's deadline passed"));
    }
    leave_preparation(pool, run, ticket, late(&run.name, "while its instance was made"))
}

fn on_cancelled(pool: &Pool, run: &mut Run) -> Then {
    let Some(ticket) = run.call.filter(|_| run.is_awaited()) else { return Then::GoOn };
    if !run.is_calling() {
        return leave_preparation(pool, run, ticket, given_up(&run.name));
    }
    match pool.on_cancel {
        OnCancel::Kill => {
            run.call = None;
            let message = format!("{} was stopped: the caller gave up", run.name);
            Then::Free(run.abandon(), Some((ticket, Err(CallError::failed(code::CANCELLED, message, &*run.name)))))
        }
        OnCancel::Finish => {
            run.unwanted = true;
            pool.meter().failed(&runs_on(&run.name, code::CANCELLED, "the caller gave up"));
            Then::GoOn
        }
    }
}

/// The call is over before it began. An instance that is kept is finished all the same, for the next call.
fn leave_preparation(pool: &Pool, run: &mut Run, ticket: Ticket, error: CallError) -> Then {
    run.call = None;
    run.job = None;
    if pool.policy.is_long_lived() {
        return Then::Leave(ticket, error);
    }
    Then::Free(run.abandon(), Some((ticket, Err(error))))
}

fn on_shutdown(run: &mut Run) -> Then {
    let error = if run.is_calling() {
        CallError::failed(code::CANCELLED, format!("{} was stopped: its runtime ends", run.name), &*run.name)
    } else {
        CallError::not_run(code::DRAINING, format!("{} was not called: its runtime ends", run.name), &*run.name)
    };
    let call = run.call.take();
    Then::Free(run.abandon(), call.map(|ticket| (ticket, Err(error))))
}
