//! The node's state with all that it needs to be carried out, whoever's thread that is in.
//!
//! Invariants: [`Node`] is told everything in the order in which it happened, with times that never go back; its
//! outputs are carried out before the next event; its streams move for a turn at most, so that whatever flows, a heartbeat
//! and a small call wait no longer than that and the guest that is polled in it. Nothing here waits: a full link gives the
//! frame back to the node. It decides nothing about calls: that is the node's.

mod links;
mod serving;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant, SystemTime};

use daffi_proto::call::{CallReply, CallRequest};
use daffi_proto::id::{LocalId, ServeId, Token};
use daffi_proto::node::{Command, Input, Node, NodeConfig, Output, StreamAct, Via};
use daffi_proto::schedule::{Clock, Utc};
use daffi_proto::stream::{StreamCall, StreamId};
use foldhash::HashMap;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::task::TaskTracker;

use super::super::asked::{Asked, Asker};
use super::super::direct::DialOrder;
use super::super::handle::{self, Bell, LinkState, Port, Request, Serve, StreamingReply};
use super::super::ledger::Ledger;
use super::super::link::FrameSink;
use super::super::news::News;
use super::super::streams::Streams;
use super::super::uplink::{Order, Orders};
use super::directs::Sinks;

/// Most requests that are taken in one go.
const REQUESTS_AT_ONCE: usize = 256;

/// So long frames or requests may be taken and streams may move before something else has its turn: guests may run in
/// each of their steps.
pub(super) const TURN: Duration = Duration::from_millis(2);

/// When somebody sets the machine's clock, it is noticed so much later at most, in the next turn. Meanwhile it goes as the
/// monotonic one.
const LOOK_AT_UTC_EVERY: Duration = Duration::from_millis(100);

/// Counts the links that a core has had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LinkNumber(u64);

/// What the driver's task waits for beside what it is asked, as the core would have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Waits {
    /// When the node is to look at its clock.
    pub alarm: Option<Duration>,
    /// Whether a link is on order.
    pub dialing: bool,
    /// Which link's frames are heard, if there is one.
    pub link: Option<LinkNumber>,
    /// Whether nothing can be sent over the link any more: it is only heard out.
    pub mute: bool,
    /// That streams wait for room on a link, and how many times they have come to: each link is to be waited for.
    pub congested: Option<u64>,
    /// Whether there is something to be done at once: streams move, requests are left, a flush is due.
    pub work: bool,
}

impl Waits {
    /// Whether who waits for what was is to know of what is. An alarm that is later is none: it is looked at when it rings.
    pub fn differ(self, before: Self) -> bool {
        let is_earlier = self.alarm.is_some_and(|alarm| before.alarm.is_none_or(|before| alarm < before));
        is_earlier || Self { alarm: before.alarm, ..self } != before
    }
}

/// See the module.
pub(super) struct Core {
    node: Node,
    news: News,
    /// Where scheduled tasks go that are to be written down, if anybody writes them.
    pub ledger: Option<Ledger>,
    pub epoch: Instant,
    requests: mpsc::Receiver<Request>,
    /// Where requests come out of the channel; empty but for that.
    requests_taken: Vec<Request>,
    /// What was taken from the channel and not done.
    pub requests_left: VecDeque<Request>,
    streams: Streams,
    orders: Orders,
    pub dialing: bool,
    link: Option<(LinkNumber, Box<dyn FrameSink>)>,
    links: LinkNumber,
    pub mute: bool,
    /// The links on which streams wait for room.
    congested: BTreeSet<Via>,
    /// How many times one was added to them.
    congestions: u64,
    pub(super) directs: Sinks,
    /// To who dials direct links, if anybody does.
    pub(super) dials: Option<mpsc::Sender<DialOrder>>,
    /// Whether something was sent and not sent off.
    pub unflushed: bool,
    link_state: watch::Sender<LinkState>,
    pub(super) asked: Asked,
    pub(super) services: HashMap<LocalId, Arc<dyn Serve>>,
    pub(super) serving: HashMap<ServeId, Arc<dyn Serve>>,
    last_flush: Instant,
    /// When somebody last looked at the clock.
    now: Instant,
    /// What the machine's clock said, and when that was.
    utc: Utc,
    utc_at: Instant,
    /// What the driver's task waits for.
    pub awaited: Waits,
    /// Whether the driver's task waits for the desk.
    wanted: Arc<AtomicBool>,
    /// When the turn under way is over.
    pub turn_ends: Instant,
    /// In which thread the driver's task was at the desk last.
    attended_in: Option<ThreadId>,
    /// For how long others were at it in that thread since then.
    helped: Duration,
    pub(super) drained: bool,
    pub(super) drains: Vec<oneshot::Sender<()>>,
    pub(super) leaves: Vec<oneshot::Sender<()>>,
    pub(super) tasks: TaskTracker,
}

/// What became of a call that was made at the desk.
pub enum Called {
    /// It is over.
    Over(CallReply),
    /// Its answer comes, or has come.
    Open(oneshot::Receiver<handle::Answer>),
}

/// The thread that asks, which is found once: it costs a count of who holds it each time.
fn own_thread() -> ThreadId {
    thread_local!(static ID: ThreadId = thread::current().id());
    ID.with(|id| *id)
}

/// What a core is made of.
pub(super) struct Parts {
    pub config: NodeConfig,
    pub news: News,
    pub epoch: Instant,
    pub requests: mpsc::Receiver<Request>,
    pub bell: Bell,
    pub orders: Orders,
    pub link_state: watch::Sender<LinkState>,
    pub tasks: TaskTracker,
    /// Whether the driver's task waits for the desk.
    pub wanted: Arc<AtomicBool>,
}

impl Core {
    /// A core without a link, which has ordered one.
    pub fn new(parts: Parts) -> Self {
        let Parts { config, news, epoch, requests, bell, orders, link_state, tasks, wanted } = parts;
        orders.send(Order::Dial);
        let nothing = Waits { alarm: None, dialing: true, link: None, mute: false, congested: None, work: false };
        Self {
            node: Node::new(config),
            awaited: nothing,
            news,
            ledger: None,
            epoch,
            requests,
            requests_taken: Vec::new(),
            requests_left: VecDeque::new(),
            streams: Streams::new(bell),
            orders,
            dialing: true,
            link: None,
            links: LinkNumber(0),
            mute: false,
            congested: BTreeSet::new(),
            congestions: 0,
            directs: Sinks::default(),
            dials: None,
            unflushed: false,
            link_state,
            asked: Asked::new(),
            services: HashMap::default(),
            serving: HashMap::default(),
            last_flush: epoch,
            now: epoch,
            utc: SystemTime::now().into(),
            utc_at: epoch,
            wanted,
            turn_ends: epoch,
            attended_in: None,
            helped: Duration::ZERO,
            drained: false,
            drains: Vec::new(),
            leaves: Vec::new(),
            tasks,
        }
    }

    /// What the driver's task is to wait for.
    pub fn waits(&self) -> Waits {
        Waits {
            alarm: self.node.next_timeout(),
            dialing: self.dialing,
            link: self.link_number(),
            mute: self.mute,
            congested: (!self.congested.is_empty()).then_some(self.congestions),
            // While the link is mute, what is left waits for the next one.
            work: self.node.has_steps() || self.unflushed || (!self.mute && !self.requests_left.is_empty()),
        }
    }

    /// Which link there is.
    pub fn link_number(&self) -> Option<LinkNumber> {
        self.link.as_ref().map(|(number, _)| *number)
    }

    /// A turn begins.
    pub fn begin_turn(&mut self) {
        let now = self.look_at_clock();
        if now.saturating_duration_since(self.utc_at) >= LOOK_AT_UTC_EVERY {
            (self.utc, self.utc_at) = (SystemTime::now().into(), now);
        }
        self.turn_ends = now + TURN;
        self.asked.begin_turn();
    }

    /// What time it is, for all that follows until somebody looks again: after whatever may have taken long.
    fn look_at_clock(&mut self) -> Instant {
        self.now = Instant::now();
        self.now
    }

    /// Whether the turn goes on; looks at the clock. One of somebody else ends when the driver's task waits for the desk, and any
    /// when many guests, or one that waits for many, have answers to go on with.
    pub fn has_turn(&mut self) -> bool {
        self.look_at_clock() < self.turn_ends && !self.asked.has_told_many() && !self.wanted.load(Ordering::Relaxed)
    }

    /// The driver's task is at the desk.
    pub fn is_attended(&mut self) {
        self.attended_in = Some(own_thread());
        self.helped = Duration::ZERO;
    }

    /// Takes requests from the channel, where none are left: how many there are, and none when all handles are gone.
    pub fn poll_requests(&mut self, cx: &mut Context<'_>) -> Poll<usize> {
        if self.requests_left.is_empty() {
            ready!(self.requests.poll_recv_many(cx, &mut self.requests_taken, REQUESTS_AT_ONCE));
            self.requests_left.extend(self.requests_taken.drain(..));
        }
        Poll::Ready(self.requests_left.len())
    }

    /// Whether something that was asked waits.
    pub fn is_behind(&self) -> bool {
        !(self.requests_left.is_empty() && self.requests.is_empty())
    }

    /// Whether others than the driver's task may be at the desk.
    pub fn may_be_helped(&self) -> bool {
        !self.mute && !self.is_behind() && self.helped < TURN
    }

    /// Somebody else was at the desk, for this turn.
    pub fn helped(&mut self) {
        // Elsewhere it kept the task from nothing.
        if self.attended_in.is_some_and(|thread| thread != own_thread()) {
            return;
        }
        // It was to end so long after it began.
        let now = self.look_at_clock();
        let left = self.turn_ends.saturating_duration_since(now);
        self.helped += TURN.saturating_sub(left);
    }

    /// A turn ends: what it gave to send is sent off.
    pub fn end_turn(&mut self) {
        self.carry_out();
        self.send_off();
        // Only a link that is there can carry a goodbye.
        if self.link.is_none() && !self.leaves.is_empty() {
            self.asked.tell_ended();
            self.leaves.drain(..).for_each(|leave| leave.send(()).unwrap_or(()));
        }
    }

    /// How long ago something was sent off.
    pub fn since_flush(&self) -> Duration {
        self.now.saturating_duration_since(self.last_flush)
    }

    /// How many calls are open, made or served.
    pub fn open_calls(&self) -> usize {
        self.asked.calls() + self.serving.len()
    }

    pub fn tell(&mut self, input: Input) {
        self.node.handle(self.clock(), input);
    }

    fn clock(&self) -> Clock {
        let utc = self.utc.plus(self.now.saturating_duration_since(self.utc_at));
        Clock { mono: self.now.saturating_duration_since(self.epoch), utc }
    }

    /// Makes a call without streams: what it came to, where a process of this node has served it by now.
    pub fn call(&mut self, token: Token, request: Box<CallRequest>) -> Called {
        let offered = self.node.offer(self.clock(), token, request);
        if let Some((offer, incoming)) = offered {
            let (id, process, clock) = (incoming.id, incoming.process, self.clock());
            match self.hand_over(incoming) {
                Some(result) => {
                    if let Some(reply) = self.node.offer_over(clock, offer, result) {
                        // Something may have been due when it began.
                        self.carry_all();
                        return Called::Over(reply);
                    }
                }
                None => {
                    self.node.offer_pending(clock, offer);
                    self.is_serving(id, process);
                }
            }
            self.look_at_clock();
        }
        // Its answer may be among the outputs already.
        let (reply, answer) = oneshot::channel();
        self.asked.insert(token, Asker::Call(reply));
        self.carry_all();
        Called::Open(answer)
    }

    /// Looks at an end of a stream that has something.
    pub fn take_bell(&mut self, port: &Arc<Port>) {
        let acts = self.streams.rung(port);
        self.act(acts);
    }

    fn act(&mut self, acts: Vec<(StreamId, StreamAct)>) {
        for (id, act) in acts {
            self.tell(Input::Command(Command::Stream { id, act }));
        }
    }

    /// Ends of streams that are written here, whose call the node knows by now.
    pub(super) fn add_writers(&mut self, ports: Vec<Arc<Port>>) {
        let acts = self.streams.add_writers(ports);
        self.act(acts);
    }

    /// Does what the node wants, until it wants nothing more, or nothing but to let streams move and the turn is over.
    pub fn carry_out(&mut self) {
        loop {
            self.carry_all();
            // The clock is looked at for streams alone: most events are of calls without any.
            if !self.node.has_steps() || !self.has_turn() {
                return;
            }
            // Streams may move for the rest of the turn.
            self.asked.tell_ended();
            self.node.step_streams();
        }
    }

    /// The same, and lets no streams move.
    pub fn carry_all(&mut self) {
        while let Some(output) = self.node.take_output() {
            self.carry(output);
        }
    }

    fn carry(&mut self, output: Output) {
        // What happened first is told first; and whoever is served may take its time.
        if !matches!(output, Output::Send { .. } | Output::CallDone { .. }) {
            self.asked.tell_ended();
        }
        match output {
            Output::Send { via, frame } => self.send(via, frame),
            Output::Dial { link, at, identity } => self.dial_directly(DialOrder { link, at, identity }),
            Output::CloseDirect { via, reason } => self.close_direct(via, &reason),
            Output::CloseLink { reason, again } => self.close_link(&reason, again),
            Output::Connected => {
                self.orders.send(Order::LinkWasGood);
                self.set_link_state(LinkState::Up);
            }
            Output::Disconnected { reason } => self.set_link_state(LinkState::Down { reason }),
            Output::Refused { code, message } => self.set_link_state(LinkState::Refused { code, message }),
            Output::NameHeld { process, message } => self.news.name_held(process, &message),
            Output::Waits { process, why } => self.news.waits(process, why),
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

    pub fn set_link_state(&mut self, state: LinkState) {
        self.news.link(&state);
        self.link_state.send_replace(state);
    }

    pub fn news(&mut self) -> &mut News {
        &mut self.news
    }
}
