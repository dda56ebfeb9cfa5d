//! The task that owns the node's state.
//!
//! ```text
//!   MeshHandle ──Request──▶ ┌────────┐ ◀──frames── link ◀──delivers── dialer
//!                           │ Driver │ ──frames──▶ link
//!   answers, LinkState ◀─── └────────┘ ──Serve::serve──▶ guests (polled once, here)
//! ```
//!
//! Invariants: [`Node`] is told everything in the order in which it happened, with times that never go back; its
//! outputs are carried out before the next event; its streams move for a turn at most, so that whatever flows, a heartbeat
//! and a small call wait no longer than that and the guest that is polled in it; what a batch of events has to send goes off
//! in one flush. Nothing here waits: a full link gives the frame back to the node. It decides nothing about calls: that is
//! the node's.

mod requests;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant, SystemTime};

use daffi_proto::call::{Answer, Incoming};
use daffi_proto::error::CallError;
use daffi_proto::frame::{Frame, Header};
use daffi_proto::id::{LocalId, ServeId, Token};
use daffi_proto::node::{Command, Input, Node, NodeConfig, Output, StreamAct};
use daffi_proto::schedule::Clock;
use daffi_proto::stream::{StreamCall, StreamId};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::alarm::Alarm;
use super::asked::Asked;
use super::handle::{Asks, LinkState, MeshHandle, Port, Request, Serve, StreamingReply};
use super::ledger::Ledger;
use super::link::{Link, LinkEnd, NotTaken, recv};
use super::news::News;
use super::streams::Streams;
use super::uplink::{Delivery, Order, Uplink};

/// Most requests that are taken in one go.
const REQUESTS_AT_ONCE: usize = 256;

/// Most ends of streams that are looked at in one go.
const BELLS_AT_ONCE: usize = 256;

/// Guests that are polled here may take so long together before what is ready to be sent is sent.
const FLUSH_AT_LEAST_EVERY: Duration = Duration::from_millis(1);

/// So long frames or requests may be taken and streams may move before something else has its turn: guests may run in
/// each of their steps.
const TURN: Duration = Duration::from_millis(2);

/// What happens to the driver.
enum Event {
    /// Requests are in the driver's `requests_taken` or `requests_left`; none when all handles are gone.
    Requests(usize),
    /// Ends of streams are in the driver's `bells_taken`.
    Bells,
    /// Frames are in the driver's `frames` or `frames_left`; none, when only a part of one has come, or the link ended.
    Frames(Result<(), LinkEnd>),
    /// The dialer has something.
    Delivery(Option<Delivery>),
    /// The link has room for streams again.
    Room,
    /// The streams have more to do than there was time for.
    Streams,
    /// It is time.
    Alarm,
    /// The runtime ends.
    Cancelled,
}

/// See the module.
pub struct Driver {
    node: Node,
    news: News,
    /// Where scheduled tasks go that are to be written down, if anybody writes them.
    ledger: Option<Ledger>,
    epoch: Instant,
    alarm: Alarm,
    requests: mpsc::Receiver<Request>,
    requests_taken: Vec<Request>,
    /// What an earlier turn has left.
    requests_left: VecDeque<Request>,
    bells: mpsc::UnboundedReceiver<Arc<Port>>,
    bells_taken: Vec<Arc<Port>>,
    streams: Streams,
    uplink: Uplink,
    /// Whether a link is on order.
    dialing: bool,
    link: Option<Link>,
    /// Whether nothing can be sent over the link any more: it is only heard out.
    mute: bool,
    /// Whether the node lets its streams wait for the link.
    congested: bool,
    frames: Vec<Frame>,
    /// What an earlier turn has left of the link's frames, and the link's end, which comes after them.
    frames_left: VecDeque<Frame>,
    end_left: Option<LinkEnd>,
    link_state: watch::Sender<LinkState>,
    asked: Asked,
    services: HashMap<LocalId, Arc<dyn Serve>>,
    serving: HashMap<ServeId, Arc<dyn Serve>>,
    last_flush: Instant,
    /// When the turn under way is over.
    turn_ends: Instant,
    drained: bool,
    drains: Vec<oneshot::Sender<()>>,
    leaves: Vec<oneshot::Sender<()>>,
    tasks: TaskTracker,
}

impl Driver {
    /// A driver and the handle to it. It orders its first link at once; the dialer may come later. `target` is what the
    /// dialer connects to, for the log. Links that are closed write their rest in tasks of `tasks`.
    pub fn new(config: NodeConfig, target: String, uplink: Uplink, tasks: TaskTracker) -> (MeshHandle, Self) {
        let epoch = Instant::now();
        let not_yet = LinkState::Down { reason: "not connected yet".to_owned() };
        let (link_state, link_states) = watch::channel(not_yet);
        let (handle, Asks { requests, bells, bell }) = MeshHandle::new(epoch, link_states);
        let news = News::new(&config, target);
        uplink.order(Order::Dial);
        let driver = Self {
            node: Node::new(config),
            news,
            ledger: None,
            epoch,
            alarm: Alarm::new(epoch),
            requests,
            requests_taken: Vec::with_capacity(REQUESTS_AT_ONCE),
            requests_left: VecDeque::with_capacity(REQUESTS_AT_ONCE),
            bells,
            bells_taken: Vec::with_capacity(BELLS_AT_ONCE),
            streams: Streams::new(bell),
            uplink,
            dialing: true,
            link: None,
            mute: false,
            congested: false,
            frames: Vec::new(),
            frames_left: VecDeque::new(),
            end_left: None,
            link_state,
            asked: Asked::new(),
            services: HashMap::new(),
            serving: HashMap::new(),
            last_flush: epoch,
            turn_ends: epoch,
            drained: false,
            drains: Vec::new(),
            leaves: Vec::new(),
            tasks,
        };
        (handle, driver)
    }

    /// The same, and what becomes of the scheduled tasks that are kept goes there.
    #[must_use]
    pub fn with_ledger(self, ledger: Option<Ledger>) -> Self {
        Self { ledger, ..self }
    }

    /// Runs until it is cancelled or no handle is left.
    pub async fn run(mut self, cancel: CancellationToken) {
        loop {
            let event = self.next_event(&cancel).await;
            if matches!(event, Event::Cancelled | Event::Requests(0)) {
                return;
            }
            self.handle(event);
            if !self.requests_left.is_empty() || !self.frames_left.is_empty() || self.node.has_steps() {
                // What is left is there at once: without this, nobody else in this thread would have a turn.
                tokio::task::yield_now().await;
            }
        }
    }

    /// Cancel safe, as its parts are.
    async fn next_event(&mut self, cancel: &CancellationToken) -> Event {
        self.alarm.set(self.node.next_timeout());
        let (source, sink) = self.link.as_mut().map(|link| (&mut link.source, &link.sink)).unzip();
        let frames = &mut self.frames;
        let (frames_left, requests_left) = (self.frames_left.len(), self.requests_left.len());
        let arrives = async {
            match source {
                Some(_) if frames_left > 0 => Ok(()),
                Some(source) => recv(&mut **source, frames).await,
                None => std::future::pending().await,
            }
        };
        let room = std::future::poll_fn(|cx| sink.map_or(Poll::Pending, |sink| sink.poll_room(cx)));
        let asks = async {
            match requests_left {
                0 => self.requests.recv_many(&mut self.requests_taken, REQUESTS_AT_ONCE).await,
                left => left,
            }
        };
        tokio::select! {
            end = arrives => Event::Frames(end),
            // What is asked for meanwhile waits for the next link, rather than fail with one that is as good as lost.
            count = asks, if !self.mute => Event::Requests(count),
            // It never ends: this very driver holds a bell.
            _ = self.bells.recv_many(&mut self.bells_taken, BELLS_AT_ONCE) => Event::Bells,
            delivery = self.uplink.delivery(), if self.dialing => Event::Delivery(delivery),
            () = room, if self.congested => Event::Room,
            () = std::future::ready(()), if self.node.has_steps() => Event::Streams,
            () = self.alarm.rings() => Event::Alarm,
            () = cancel.cancelled() => Event::Cancelled,
        }
    }

    fn handle(&mut self, event: Event) {
        self.turn_ends = Instant::now() + TURN;
        match event {
            Event::Requests(_) => self.take_requests(),
            Event::Bells => self.take_bells(),
            Event::Frames(Ok(())) if self.frames.is_empty() && self.frames_left.is_empty() => self.tell(Input::Heard),
            Event::Frames(end) => {
                if let Err(end) = end {
                    self.end_left = Some(end);
                }
                self.take_frames();
            }
            Event::Delivery(delivery) => self.take_delivery(delivery),
            Event::Room => self.set_congested(false),
            Event::Alarm => self.tell(Input::Timer),
            Event::Streams | Event::Cancelled => {}
        }
        self.carry_out();
        self.flush();
        // Only a link that is there can carry a goodbye.
        if self.link.is_none() {
            self.leaves.drain(..).for_each(|leave| leave.send(()).unwrap_or(()));
        }
    }

    fn tell(&mut self, input: Input) {
        self.node.handle(Clock { mono: self.epoch.elapsed(), utc: SystemTime::now().into() }, input);
    }

    /// Looks at the ends of streams that have something.
    fn take_bells(&mut self) {
        let mut rung = std::mem::take(&mut self.bells_taken);
        for port in rung.drain(..) {
            let acts = self.streams.rung(&port);
            self.act(acts);
        }
        self.bells_taken = rung;
    }

    fn act(&mut self, acts: Vec<(StreamId, StreamAct)>) {
        for (id, act) in acts {
            self.tell(Input::Command(Command::Stream { id, act }));
        }
    }

    /// Takes frames for one turn, and then the link's end, if it has come.
    fn take_frames(&mut self) {
        self.frames_left.extend(self.frames.drain(..));
        while Instant::now() < self.turn_ends
            && let Some(frame) = self.frames_left.pop_front()
        {
            self.tell(Input::Frame(frame));
            self.carry_out();
        }
        if self.frames_left.is_empty()
            && let Some(end) = self.end_left.take()
        {
            self.lose_link(&end);
        }
    }

    fn take_delivery(&mut self, delivery: Option<Delivery>) {
        self.dialing = matches!(delivery, Some(Delivery::NotYet(_)));
        match delivery {
            Some(Delivery::NotYet(reason)) => self.tell(Input::NoLink(reason)),
            Some(Delivery::Link(link)) => {
                self.link = Some(link);
                self.tell(Input::LinkUp);
            }
            Some(Delivery::Refused(message)) => {
                self.set_link_state(LinkState::Refused { code: "no-controller".to_owned(), message });
            }
            None => self.news.detail("nobody dials any more"),
        }
    }

    /// Does what the node wants, until it wants nothing more, or nothing but to let streams move and the turn is over.
    fn carry_out(&mut self) {
        loop {
            while let Some(output) = self.node.take_output() {
                self.carry(output);
            }
            // The clock is looked at for streams alone: most events are of calls without any.
            if !self.node.has_steps() || Instant::now() >= self.turn_ends {
                return;
            }
            self.node.step_streams();
        }
    }

    fn carry(&mut self, output: Output) {
        match output {
            Output::Send(frame) => self.send(frame),
            Output::CloseLink { reason, again } => self.close_link(&reason, again),
            Output::Connected => {
                self.uplink.order(Order::LinkWasGood);
                self.set_link_state(LinkState::Up);
            }
            Output::Disconnected { reason } => self.set_link_state(LinkState::Down { reason }),
            Output::Refused { code, message } => self.set_link_state(LinkState::Refused { code, message }),
            Output::NameHeld { process, message } => self.news.name_held(process, &message),
            Output::Serve(incoming) => self.serve(incoming),
            Output::CancelServe(id) => {
                if let Some(service) = self.serving.get(&id) {
                    service.cancel(id);
                }
            }
            Output::Drained => {
                self.drained = true;
                self.drains.drain(..).for_each(|drain| drain.send(()).unwrap_or(()));
            }
            Output::ProcessAdded { token, result } => self.process_added(token, result),
            Output::CallDone { token, result } => {
                let streams = &mut self.streams;
                let result = result.map(|reply| {
                    let readers = streams.readers(StreamCall::Made(token), &reply.channels);
                    StreamingReply { reply, readers }
                });
                self.asked.call_done(token, result);
            }
            Output::Stream { id, event } => {
                let acts = self.streams.take_event(id, event);
                self.act(acts);
            }
            Output::GatherEntry { token, entry } => self.asked.gathered(token, entry),
            Output::GatherDone { token, result } => self.asked.gather_done(token, result),
            Output::TasksDone { token, result } => self.asked.tasks_done(token, result),
            Output::SaveTasks { process, name, save, changes } => match &self.ledger {
                Some(ledger) => ledger.put(process, name, save, changes),
                // Nobody says that they are kept, where nobody keeps them.
                None => self.tell(Input::Command(Command::TasksSaved { process, changes, result: Ok(()) })),
            },
            Output::TaskTrouble { task, trouble } => self.news.task(&task, &trouble),
            Output::Resolved { token, result } => self.asked.resolved(token, result),
            Output::WaitDone { token, result } => self.asked.wait_done(token, result),
            Output::Membership { token, event } => {
                if !self.asked.member(token, event) {
                    self.tell(Input::Command(Command::Cancel(token)));
                }
            }
            Output::WatchRefused { token, error } => self.asked.watch_refused(token, error),
            Output::Processes { token, processes } => self.asked.listed(token, processes),
        }
    }

    fn process_added(&mut self, token: Token, result: Result<LocalId, CallError>) {
        let Some((service, reply)) = self.asked.take_add(token) else { return };
        if let Ok(process) = &result {
            self.services.insert(*process, service);
        }
        if let Err(Ok(process)) = reply.send(result) {
            // Whoever added it is gone, so nobody would ever take it off.
            self.services.remove(&process);
            self.tell(Input::Command(Command::RemoveProcess(process)));
        }
    }

    /// Hands a call to its process. The guest may run here, for a tick of the epoch at most.
    fn serve(&mut self, incoming: Incoming) {
        let (id, answer) = (incoming.id, incoming.answer);
        let Some(service) = self.services.get(&incoming.process).map(Arc::clone) else {
            // Taken off a moment ago; the node knows by now, or will with the next input.
            let error = CallError::not_run(daffi_proto::error::code::NO_SUCH_PROCESS, "the process has left", "");
            return self.tell(Input::Command(Command::Served { id, result: Err(error) }));
        };
        let served = match incoming.channels.is_empty() {
            true => service.serve(incoming),
            false => {
                let readers = self.streams.readers(StreamCall::Served(id), &incoming.channels);
                service.serve_streams(incoming, readers)
            }
        };
        match served {
            Some(result) => self.tell(Input::Command(Command::Served { id, result })),
            None => {
                if answer == Answer::Accepted {
                    self.tell(Input::Command(Command::Accepted(id)));
                }
                self.serving.insert(id, service);
            }
        }
        // Behind this call others may wait to be served: what is ready by now must not wait for all of them.
        if self.last_flush.elapsed() >= FLUSH_AT_LEAST_EVERY {
            self.flush();
        }
    }

    fn send(&mut self, frame: Frame) {
        let Some(link) = &self.link else { return };
        let is_of_stream = matches!(frame.header, Header::Items { .. });
        if let Err(NotTaken(frame)) = link.sink.send(frame) {
            self.tell(Input::NotSent(*frame));
        } else if is_of_stream && link.sink.poll_room(&mut Context::from_waker(Waker::noop())).is_pending() {
            self.set_congested(true);
        }
    }

    fn set_congested(&mut self, congested: bool) {
        if std::mem::replace(&mut self.congested, congested) != congested {
            self.tell(Input::Congested(congested));
        }
    }

    fn flush(&mut self) {
        self.last_flush = Instant::now();
        self.mute = self.link.as_ref().is_some_and(|link| link.sink.flush().is_err());
    }

    /// Nothing more arrives.
    fn lose_link(&mut self, end: &LinkEnd) {
        if let (LinkEnd::Garbage(error), Some(link)) = (end, &self.link) {
            // Tell the peer, who is defective, why.
            let _ = link.sink.send(Frame::close(&error.to_string()));
            let _ = link.sink.flush();
        }
        self.drop_link(end.to_string());
    }

    /// The link is of no use any more.
    fn drop_link(&mut self, reason: String) {
        if self.take_link().is_some() {
            self.news.detail(&reason);
            self.tell(Input::LinkDown(reason));
            self.dial();
        }
    }

    /// The node wants the link closed, when all that was to be sent before is.
    fn close_link(&mut self, reason: &str, again: bool) {
        let Some(Link { sink, source }) = self.take_link() else { return };
        self.news.detail(&format!("closing the link: {reason}"));
        drop(source);
        let leaves = std::mem::take(&mut self.leaves);
        let closed = sink.close();
        self.tasks.spawn(async move {
            closed.await;
            leaves.into_iter().for_each(|leave| leave.send(()).unwrap_or(()));
        });
        if again {
            self.dial();
        }
    }

    /// Forgets the link, with all of it that was not taken yet.
    fn take_link(&mut self) -> Option<Link> {
        self.frames_left.clear();
        self.end_left = None;
        self.set_congested(false);
        self.link.take()
    }

    fn dial(&mut self) {
        self.dialing = true;
        self.uplink.order(Order::Dial);
    }

    fn set_link_state(&mut self, state: LinkState) {
        self.news.link(&state);
        self.link_state.send_replace(state);
    }
}

#[cfg(test)]
#[path = "driver_tests.rs"]
mod tests;
