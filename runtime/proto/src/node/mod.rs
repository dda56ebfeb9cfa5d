//! A node's state machine: its processes on the mesh, the calls that it makes and those that it serves.
//!
//! The user feeds [`Input`]s with the time and takes [`Output`]s until there are none; [`Node::next_timeout`] says when
//! to come back with [`Input::Timer`] at the latest.
//!
//! | part | holds |
//! |---|---|
//! | `api` | what goes in and out |
//! | `counts` | how much it holds |
//! | `link` | the link to the controller: handshake, liveness, loss |
//! | `wire` | which links there are, and what names a call on one |
//! | `roads` | direct links to other nodes, for calls that are made here |
//! | `visits` | direct links from other nodes, for calls that are served here |
//! | `directory` | its processes and their registration; the replica of everybody else's |
//! | `calls` | calls that are made here |
//! | `placing` | whom they go to |
//! | `ends` | how they end |
//! | `offers` | those between two processes of it that may be over at once |
//! | `gather` | broadcasts: calls to all who have a callback |
//! | `serve` | calls that are served here |
//! | `cancels` | those that nobody waits for any more, and the end of the tree of calls below one |
//! | `replies` | answers of served calls that go on |
//! | `streams` | the streams of both |
//! | `stream_ends` | how they end |
//! | `rooms` | how many bytes of large items each process may have |
//! | `unsent` | what becomes of calls whose frames find the link full |
//! | `each` | callbacks that are called once an item of a stream |
//! | `shares` | what it sees of other tenants |
//! | `schedules` | the scheduled tasks of its processes, and their runs |
//! | `errands` | requests to the tasks of a process, here or elsewhere |
//! | `repeats` | what is kept of calls that may come twice |
//! | `asks` | questions: resolve, wait |
//! | `lists` | lists of the processes that there are |
//! | `loads` | what the controller is told of what its processes do |
//! | `waiting` | who waits for which callback or process |
//! | `patience` | calls that have waited so long that it is said |
//! | `watch` | who is told of processes that come and go |
//! | `outcome` | the errors of all of these |
//!
//! Invariants: every request is answered exactly once, by its deadline, unless it is cancelled; every `Serve` is
//! answered once by the user, and its caller hears of it unless he has given up; a call is `not-run` only if no
//! `Serve` was given out for it; calls between processes of this node never touch the link.

mod api;
mod asks;
mod calls;
mod cancels;
mod counts;
mod deadlines;
mod directory;
mod each;
mod ends;
mod errands;
mod gather;
mod link;
mod lists;
mod loads;
mod offers;
mod origin;
mod outcome;
mod patience;
mod placing;
mod repeats;
mod replies;
mod roads;
mod rooms;
mod schedules;
mod serve;
mod shares;
mod stream_ends;
mod streams;
mod unsent;
mod visits;
mod waiting;
mod watch;
mod wire;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

pub use api::{Command, Input, NodeConfig, Output, StreamAct, StreamEvent, TaskTrouble};
pub use counts::NodeCounts;
use foldhash::HashMap;
pub use gather::{MAX_BROADCAST, MAX_GATHERED_BYTES};
pub use offers::Offer;
pub use repeats::{KEPT_FOR, MAX_KEPT_BYTES, MAX_KEPT_RESULTS};
pub use roads::{MAX_COMPARED, MAX_ROADS, ROAD_IDLE, ROAD_PATIENCE, ROAD_PAUSE};
pub use schedules::SAVE_COUNTS_EVERY;
pub use visits::{MAX_STRANGERS_OF_ONE, MAX_VISITS};
pub use watch::MAX_WATCHES;
pub use wire::Via;
use wire::{ByWire, Wire};

use crate::call::{Answer, MAX_TIMEOUT};
use crate::frame::Header;
use crate::id::{EntryId, GroupId, LocalId, NodeMark, ServeId, Token};
use crate::registry::Registry;
use crate::schedule::{Clock, Utc};
use crate::session::Random;
use crate::stream::StreamCall;

/// Most requests that are open at once: calls, gathers, resolves, waits and lists; and most calls, legs included.
pub const MAX_OPEN_REQUESTS: usize = 65_536;

/// Most calls that are served at once.
pub const MAX_SERVED_CALLS: usize = 65_536;

/// Most open ends of streams.
pub const MAX_STREAMS: usize = 16_384;

/// Most bytes of all streams that wait to be read, unless an item alone may be larger. A stream whose items find no room
/// is cancelled.
pub const MAX_STREAM_BYTES: usize = 256 * 1024 * 1024;

/// Most processes of a node.
pub const MAX_PROCESSES: usize = crate::controller::MAX_PROCESSES_PER_NODE;

/// How often loads are told to the controller at most, and so how old they are at most when listed.
pub const LOAD_EVERY: Duration = Duration::from_millis(200);

/// A process as this node's registry knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Peer {
    Local(LocalId),
    Remote(EntryId),
}

/// A call that was made here, by this node's own count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct CallKey(u64);

/// A broadcast, by this node's own count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct GatherKey(u64);

/// A question to the mesh, by this node's own count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct AskId(u64);

/// Something with a deadline that may have to wait for the mesh.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Request {
    Call(CallKey),
    Gather(GatherKey),
    /// The streams of a call that has its answer.
    Streams(StreamCall),
    Ask(AskId),
    List(u64),
    /// No timer and nothing to wait for: it lasts until it is cancelled.
    Watch,
}

/// See the module.
#[derive(Debug)]
pub struct Node {
    config: NodeConfig,
    now: Duration,
    /// What the machine takes for UTC.
    utc: Utc,
    outputs: VecDeque<Output>,
    link: link::Link,
    /// Why the node will never be connected again: it left, or was refused.
    shut: Option<String>,
    /// Why it is not connected now, as far as anybody has told.
    unlinked: Option<String>,
    draining: bool,
    drained_told: bool,
    /// All processes that can be called, those of this node included.
    mesh: Registry<Peer>,
    /// The numbers that the controller gave to the callbacks of the others.
    remote_groups: BTreeMap<EntryId, Arc<[GroupId]>>,
    /// What other tenants share with those of this node.
    shares: shares::Shares,
    /// The others that were there when the link was lost and may come back.
    stale: Registry<u64>,
    stale_until: Option<Duration>,
    locals: BTreeMap<LocalId, directory::Local>,
    /// Those that are on the mesh, as the controller numbers them.
    entries: BTreeMap<EntryId, LocalId>,
    roads: roads::Roads,
    visits: visits::Visits,
    schedules: schedules::Schedules,
    retry_names_at: Option<Duration>,
    /// Whose loads the controller is to be told.
    loads: loads::Reports,
    /// Of which processes it is to be told what they have used.
    usages: loads::Reports,
    requests: HashMap<Token, Request>,
    /// In boxes, as those that are served: a table moves its values about.
    calls: HashMap<CallKey, Box<calls::Call>>,
    /// A call that nobody waits for when it is sent, and was given to the link just now.
    handed_over: Option<Wire>,
    /// Those that were sent over a link, by their ids there.
    away: ByWire<CallKey>,
    gathers: BTreeMap<GatherKey, gather::Gather>,
    exchanges: BTreeMap<StreamCall, streams::Exchange>,
    /// Those of calls that went over a link, by their ids there.
    wires: ByWire<StreamCall>,
    /// Those that may have something to do, in the order of their turns.
    stirred: VecDeque<StreamCall>,
    /// The links that take nothing of streams for now, and who waits for them.
    congested: BTreeSet<Via>,
    held: BTreeSet<StreamCall>,
    open_streams: usize,
    stream_bytes: usize,
    rooms: rooms::Rooms,
    eaches: BTreeMap<ServeId, each::Each>,
    asks: BTreeMap<AskId, asks::Ask>,
    lists: BTreeMap<u64, lists::List>,
    deadlines: deadlines::Deadlines,
    waiting: waiting::Waiting,
    patience: patience::Patience,
    watches: watch::Watches,
    serves: HashMap<ServeId, Box<serve::Served>>,
    /// The calls that came over a link, by their ids there.
    incoming: ByWire<ServeId>,
    /// Served calls for which somebody waits.
    wanted_serves: usize,
    /// Calls that go on though the ones that they are made for were given up.
    abandoned_calls: usize,
    last_local: u32,
    last_call: u64,
    last_gather: u64,
    last_wire: u64,
    last_ask: u64,
    last_serve: u64,
    last_stale: u64,
    late_answers: u64,
    random: Random,
    /// What marks its calls that may be repeated.
    mark: NodeMark,
    repeats: repeats::Repeats,
}

impl Node {
    /// A node without a link or processes.
    pub fn new(config: NodeConfig) -> Self {
        let rooms = rooms::Rooms::new(&config.max_stream_bytes);
        let (seed, mark) = (config.seed, config.key.mark());
        let shares = shares::Shares::new(&config.imports, seed);
        Self {
            config,
            now: Duration::ZERO,
            utc: Utc::default(),
            outputs: VecDeque::new(),
            link: link::Link::Down,
            shut: None,
            unlinked: None,
            draining: false,
            drained_told: false,
            mesh: Registry::new(seed),
            remote_groups: BTreeMap::new(),
            shares,
            stale: Registry::new(seed),
            stale_until: None,
            locals: BTreeMap::new(),
            entries: BTreeMap::new(),
            roads: roads::Roads::default(),
            visits: visits::Visits::default(),
            schedules: schedules::Schedules::default(),
            retry_names_at: None,
            loads: loads::Reports::default(),
            usages: loads::Reports::default(),
            requests: HashMap::default(),
            calls: HashMap::default(),
            handed_over: None,
            away: ByWire::default(),
            gathers: BTreeMap::new(),
            exchanges: BTreeMap::new(),
            wires: ByWire::default(),
            stirred: VecDeque::new(),
            congested: BTreeSet::new(),
            held: BTreeSet::new(),
            open_streams: 0,
            stream_bytes: 0,
            rooms,
            eaches: BTreeMap::new(),
            asks: BTreeMap::new(),
            lists: BTreeMap::new(),
            deadlines: deadlines::Deadlines::default(),
            waiting: waiting::Waiting::default(),
            patience: patience::Patience::default(),
            watches: watch::Watches::default(),
            serves: HashMap::default(),
            incoming: ByWire::default(),
            wanted_serves: 0,
            abandoned_calls: 0,
            last_local: 0,
            last_call: 0,
            last_gather: 0,
            last_wire: 0,
            last_ask: 0,
            last_serve: 0,
            last_stale: 0,
            late_answers: 0,
            random: Random::new(seed),
            mark,
            repeats: repeats::Repeats::default(),
        }
    }

    /// Takes what happened. The monotonic time counts from the node's start.
    pub fn handle(&mut self, clock: Clock, input: Input) {
        self.begin_event(clock);
        match input {
            Input::LinkUp => self.link_up(),
            Input::LinkDown(reason) => self.link_down(&reason),
            Input::NoLink(reason) => self.unlinked = Some(reason),
            Input::DirectUp { via, grants } => self.direct_up(via, grants),
            Input::DirectDown { via, reason } => self.direct_down(via, &reason),
            Input::Frame { via, frame } => self.take_frame(via, frame),
            Input::Heard(via) => self.heard(via, false),
            Input::NotSent { via, frame } => self.not_sent(via, frame),
            Input::Congested { via, congested } => self.set_congested(via, congested),
            Input::Command(command) => self.command(command),
            Input::Timer => {}
        }
        self.end_event();
    }

    /// Something happens.
    fn begin_event(&mut self, clock: Clock) {
        self.now = self.now.max(clock.mono);
        self.utc = clock.utc;
        // Before a call begins that may be over at once.
        self.tell_loads();
    }

    /// It has happened.
    fn end_event(&mut self) {
        self.check_time();
        self.check_drained();
    }

    /// What to do next, until there is nothing. Streams move as far as that takes; who has others to serve meanwhile takes
    /// turns: [`Node::take_output`] and [`Node::step_streams`].
    pub fn poll_output(&mut self) -> Option<Output> {
        loop {
            let output = self.take_output();
            if output.is_some() || !self.step_streams() {
                return output;
            }
        }
    }

    /// What to do next, and no stream moves for it.
    pub fn take_output(&mut self) -> Option<Output> {
        // What was given out before has been taken: it would have come back.
        if let Some(wire) = self.handed_over.take() {
            self.call_sent(wire);
        }
        let output = self.outputs.pop_front();
        if let Some(Output::Send { via, frame }) = &output
            && let Header::Call { id, answer: Answer::Sent, .. } = &frame.header
        {
            self.handed_over = Some(Wire { via: *via, id: *id });
        }
        output
    }

    /// When to come back with [`Input::Timer`] at the latest.
    pub fn next_timeout(&self) -> Option<Duration> {
        let deadline = self.deadlines.first();
        let link = [self.link.next_check(), self.stale_until, self.retry_names_at, self.next_loads()];
        let directs = [self.roads.next_check(), self.visits.next_check()];
        let rest = link.into_iter().chain(directs).chain([
            deadline,
            self.schedules.next(),
            self.repeats.next_due(),
            self.next_promise(),
            self.patience.next(),
        ]);
        rest.flatten().min()
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::AddProcess { token, spec } => self.add_process(token, spec),
            Command::RemoveProcess(process) => self.remove_process(process),
            Command::Call { token, request } => self.call(token, request),
            Command::Gather { token, request } => self.gather(token, request),
            Command::Schedule { token, request } => self.schedule(token, request),
            Command::Tasks { token, request } => self.ask_for_tasks(token, request),
            Command::Cancel(token) => self.cancel(token),
            Command::Resolve { token, request } => self.resolve(token, request),
            Command::Wait { token, caller, what, timeout } => self.wait(token, &caller, what, timeout),
            Command::List { token, tenant, detail } => self.list(token, tenant, detail),
            Command::Shared { token, from, into } => self.list_shared(token, from, into),
            Command::Watch { token, tenant } => self.watch(token, tenant),
            Command::Accepted(id) => self.accepted(id),
            Command::Answered { id, error } => self.answered(id, error),
            Command::Replied { id, result, channels } => self.replied(id, result, channels),
            Command::Stream { id, act } => self.stream_act(id, act),
            Command::Served { id, result } => self.served(id, result),
            Command::TasksSaved { process, changes, result } => self.tasks_saved(process, changes, result),
            Command::Load { process, load } => self.take_load(process, load),
            Command::Usage { process, usage } => self.take_usage(process, usage),
            Command::Drain => self.drain(),
            Command::Leave => self.leave(),
        }
    }

    /// The user gives a request up.
    fn cancel(&mut self, token: Token) {
        match self.requests.get(&token).copied() {
            Some(Request::Call(id)) => self.give_up_call(id),
            Some(Request::Gather(id)) => self.give_up_gather(id),
            // Its streams are given up one by one.
            Some(Request::Streams(_)) => {}
            Some(Request::Ask(id)) => drop(self.end_ask(id)),
            Some(Request::List(id)) => drop(self.end_list(id)),
            Some(Request::Watch) => {
                self.watches.remove(token);
                self.requests.remove(&token);
            }
            None => {} // its answer is on the way to the user
        }
    }

    /// Everything that the time calls for.
    fn check_time(&mut self) {
        while let Some(request) = self.deadlines.take_due(self.now) {
            match request {
                Request::Call(id) => self.call_due(id),
                Request::Gather(id) => self.gather_overdue(id),
                Request::Streams(call) => self.exchange_due(call),
                Request::Ask(id) => self.ask_overdue(id),
                Request::List(id) => self.list_overdue(id),
                Request::Watch => {}
            }
        }
        self.check_link();
        self.check_roads();
        self.check_visits();
        self.tell_busy();
        self.check_stale();
        self.check_repeats();
        self.check_promises();
        self.check_patience();
        self.retry_names();
        self.run_schedules();
        self.tell_loads();
    }

    fn clock(&self) -> Clock {
        Clock { mono: self.now, utc: self.utc }
    }

    /// When a timeout that begins now is over; it is cut to [`MAX_TIMEOUT`], whoever asks.
    fn deadline(&self, timeout: Duration) -> Duration {
        self.now + timeout.min(MAX_TIMEOUT)
    }

    /// Whether the replica is all that there is: a name that is not in it is nowhere.
    fn settled(&self) -> bool {
        self.link.is_synced()
    }
}
