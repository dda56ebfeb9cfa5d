//! A controller and a user that say anything to a node with two processes.
//!
//! The user keeps to what the node asks of him (he answers what he was given to serve, and writes where there is room),
//! late and out of order; the controller keeps to nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use daffi_proto::call::{
    Answer, CallRequest, CallbackSpec, Caller, Detail, GatherRequest, Incoming, Mode, Need, ProcessSpec,
    ResolveRequest, Retry, ScheduleRequest, Schedules, WaitFor,
};
use daffi_proto::error::CallError;
use daffi_proto::frame::{Frame, Header};
use daffi_proto::grants::NodeGrants;
use daffi_proto::id::{DirectId, LocalId, NodeKey, ServeId, TenantName, Token};
use daffi_proto::node::{Command, Input, Node, NodeConfig, NodeCounts, Output, StreamAct, StreamEvent, Via};
use daffi_proto::schedule::{Clock, Missed, Overlap, Terms, Utc};
use daffi_proto::session::Role;
use daffi_proto::stream::{Flow, StreamCall, StreamId};

use crate::script::{CALLBACKS, Script};

/// Most things that a node does about one thing that happened.
const MAX_OUTPUTS: usize = 100_000;

/// What becomes of the link after this output.
enum Link {
    Up,
    Down,
}

struct Run {
    node: Node,
    now: Duration,
    link: Link,
    /// The direct links that there are, and those that are dialed.
    directs: BTreeSet<Via>,
    dialed: Vec<DirectId>,
    last_visit: u64,
    locals: Vec<LocalId>,
    tokens: Vec<Token>,
    last_token: u64,
    /// The calls with streams that were answered: each of their ends is dropped by itself.
    answered: BTreeSet<Token>,
    serves: BTreeMap<ServeId, Incoming>,
    /// Those that were answered while they go on.
    replied: BTreeSet<ServeId>,
    /// The writers that the user has, and whether there is room.
    writers: BTreeMap<StreamId, bool>,
    /// The readers that he has, and whether one holds something that he has not taken.
    readers: BTreeMap<StreamId, bool>,
}

/// Lets the script happen, and looks at what is left when all is answered and all time is over.
pub fn run(data: &[u8]) {
    let mut script = Script::new(data);
    let mut run = Run::new(u64::from(script.below(4)));
    while let Some(what) = script.next() {
        run.step(what, &mut script);
    }
    run.end();
}

impl Run {
    fn new(seed: u64) -> Self {
        let key = NodeKey([7; 16]);
        let imports = vec![Script::import()];
        let reachable_at = vec!["unix:///node".to_owned()];
        let config = NodeConfig { seed, imports, reachable_at, ..NodeConfig::new(key, "node", Role::Node) };
        let mut run = Self {
            node: Node::new(config),
            now: Duration::ZERO,
            link: Link::Down,
            directs: BTreeSet::new(),
            dialed: Vec::new(),
            last_visit: 0,
            locals: Vec::new(),
            tokens: Vec::new(),
            last_token: 0,
            answered: BTreeSet::new(),
            serves: BTreeMap::new(),
            replied: BTreeSet::new(),
            writers: BTreeMap::new(),
            readers: BTreeMap::new(),
        };
        // "ann" and "bob" are the second and the third; "eve" is somewhere else.
        for name in [0, 1] {
            run.add(&mut Script::new(&[name]));
        }
        run
    }

    fn step(&mut self, what: u8, script: &mut Script<'_>) {
        match what % 32 {
            0 => self.connect(script),
            1 if matches!(self.link, Link::Up) => self.disconnect(),
            2 => self.input(Input::Heard(Via::Controller)),
            3 => self.input(Input::NotSent { via: Via::Controller, frame: script.frame() }),
            4 => self.input(Input::Congested { via: Via::Controller, congested: script.flag() }),
            5..=6 => self.call(script),
            7 => self.gather(script),
            8 => self.ask(script),
            9 => self.schedule(script),
            10 => self.cancel(script),
            11..=13 => self.serve(script),
            14..=15 => self.write(script),
            16 => self.read(script),
            17..=18 => {
                self.now += Duration::from_millis(u64::from(script.below(255)) * 20);
                self.input(Input::Timer);
            }
            19 if script.below(4) == 0 => self.remove(script),
            20 if self.locals.len() < 3 => self.add(script),
            21 if script.below(16) == 0 => self.command(Command::Drain),
            22 if script.below(16) == 0 => self.command(Command::Leave),
            23 | 24 => self.direct(script),
            _ if matches!(self.link, Link::Up) => {
                self.input(Input::Frame { via: Via::Controller, frame: script.frame() })
            }
            _ => self.connect(script),
        }
    }

    /// What a visitor shows: every third one a certificate, in turn of the node that is expected and of another one.
    fn certificate(&self) -> Option<Arc<NodeGrants>> {
        let node = match self.last_visit % 6 {
            3 => "daffi:node/node",
            0 => "daffi:node/other",
            _ => return None,
        };
        NodeGrants::from_uris([node, "daffi:tenant/default?process=*"]).ok().map(Arc::new)
    }

    /// Something becomes of direct links.
    fn direct(&mut self, script: &mut Script<'_>) {
        let reason = || "gone".to_owned();
        let via = self.directs.iter().nth(usize::from(script.below(4))).copied();
        match script.below(8) {
            0 | 1 => {
                if let Some(link) = self.dialed.pop() {
                    self.directs.insert(Via::To(link));
                    self.input(Input::DirectUp { via: Via::To(link), grants: None });
                }
            }
            2 => {
                if let Some(link) = self.dialed.pop() {
                    self.input(Input::DirectDown { via: Via::To(link), reason: reason() });
                }
            }
            3 => {
                self.last_visit += 1;
                let via = Via::From(DirectId(self.last_visit));
                self.directs.insert(via);
                let grants = self.certificate();
                self.input(Input::DirectUp { via, grants });
            }
            4 => {
                if let Some(via) = via {
                    self.directs.remove(&via);
                    self.input(Input::DirectDown { via, reason: reason() });
                }
            }
            _ => {
                if let Some(via) = via {
                    self.input(Input::Frame { via, frame: script.frame() });
                }
            }
        }
    }

    /// A link whose controller begins as it should.
    fn connect(&mut self, script: &mut Script<'_>) {
        if matches!(self.link, Link::Up) {
            return;
        }
        self.link = Link::Up;
        self.input(Input::LinkUp);
        if script.below(8) != 0 {
            self.input(Input::Frame { via: Via::Controller, frame: Frame::new(Script::welcome()) });
        }
    }

    fn disconnect(&mut self) {
        self.link = Link::Down;
        self.input(Input::LinkDown("gone".to_owned()));
    }

    fn add(&mut self, script: &mut Script<'_>) {
        let callbacks = (0..).zip(CALLBACKS).map(|(at, name)| CallbackSpec {
            name: daffi_proto::name::CallbackName::parse(name).expect("these are names"),
            signature: Script::signature(at == 2),
        });
        let (process, callbacks, exports) = (script.process(), callbacks.collect(), script.exports().into());
        let (instances, schedules) = ("singleton".into(), Schedules::default());
        let spec =
            ProcessSpec { process, callbacks, instances, exports, schedules, large_bytes: 1 << 20, max_streams: 64 };
        let token = self.token();
        self.command(Command::AddProcess { token, spec });
    }

    fn remove(&mut self, script: &mut Script<'_>) {
        if let Some(id) = self.locals.get(usize::from(script.below(3))).copied() {
            self.locals.retain(|local| *local != id);
            self.command(Command::RemoveProcess(id));
        }
    }

    fn caller(&self, script: &mut Script<'_>) -> Caller {
        let Some(id) = self.locals.get(usize::from(script.below(4))).copied() else {
            return Caller::Client { tenant: TenantName::default() };
        };
        let parent = self.serves.values().nth(usize::from(script.below(4))).filter(|serve| serve.process == id);
        let chain = parent.map(|parent| parent.chain.clone()).unwrap_or_default();
        Caller::Process { id, instance: 0, parent: parent.map(|parent| parent.id), chain }
    }

    fn request(&self, script: &mut Script<'_>) -> CallRequest {
        let streams = script.below(4) == 0;
        let callback = CALLBACKS[if streams { 2 } else { usize::from(script.below(2)) }];
        let callback = daffi_proto::name::CallbackName::parse(callback).expect("these are names");
        let mut request = CallRequest::new(self.caller(script), [callback].into());
        request.accepts = [Script::signature(streams).fingerprint()].into();
        request.args = Bytes::from_static(&[0]);
        request.receiver = (script.below(3) == 0).then(|| script.name());
        request.timeout = Duration::from_millis(u64::from(script.below(255)) * 50);
        request.wait_ready = script.flag();
        request.eta = Duration::from_millis(u64::from(script.below(8) / 6) * 100);
        if streams {
            request.channels = [Flow::Bytes].into();
        } else {
            request.mode = if script.below(4) == 0 { Mode::Each } else { Mode::Whole };
        }
        request
    }

    fn call(&mut self, script: &mut Script<'_>) {
        let mut request = self.request(script);
        if request.flows().is_empty() {
            request.answer = [Answer::Result, Answer::Accepted, Answer::Sent][usize::from(script.below(3))];
            if request.answer == Answer::Result && script.flag() {
                request.retry = Retry { attempts: 3, idempotent: script.flag(), ..Retry::NEVER };
            }
        }
        let token = self.token();
        self.open_writers(StreamCall::Made(token), &request.flows());
        if script.flag() {
            return self.command(Command::Call { token, request: request.into() });
        }
        let Some((offer, incoming)) = self.node.offer(self.clock(), token, request) else { return self.carry_out() };
        match script.below(3) {
            0 => {
                self.node.offer_pending(self.clock(), offer);
                self.output(Output::Serve(incoming));
            }
            1 => {
                let error = CallError::failed("trap", "it trapped", "");
                assert!(self.node.offer_over(self.clock(), offer, Err(error)).is_none());
            }
            _ => {
                if self.node.offer_over(self.clock(), offer, Ok(incoming.args)).is_some() {
                    self.answered.insert(token);
                }
            }
        }
        self.carry_out();
    }

    fn gather(&mut self, script: &mut Script<'_>) {
        let mut call = self.request(script);
        (call.mode, call.channels) = (Mode::Whole, [].into());
        let need = [Need::All, Need::First(1), Need::Quorum(2)][usize::from(script.below(3))];
        let stall = script.flag().then_some(Duration::from_millis(100));
        let token = self.token();
        self.command(Command::Gather { token, request: GatherRequest { call, need, stall } });
    }

    fn ask(&mut self, script: &mut Script<'_>) {
        let (caller, token) = (self.caller(script), self.token());
        let timeout = Duration::from_millis(u64::from(script.below(100)) * 50);
        let tenant = TenantName::default();
        let pattern = CALLBACKS[usize::from(script.below(3))].to_owned();
        self.command(match script.below(6) {
            0 => {
                let (receiver, wait_ready) = (script.flag().then(|| script.name()), script.flag());
                let request = ResolveRequest { caller, pattern, receiver, timeout, spent: Duration::ZERO, wait_ready };
                Command::Resolve { token, request }
            }
            1 => Command::Wait { token, caller, what: WaitFor::Process(script.name()), timeout },
            2 => Command::Wait { token, caller, what: WaitFor::Callback(pattern), timeout },
            3 => Command::Watch { token, tenant },
            4 => Command::Shared { token, from: script.tenant(), into: tenant },
            _ => Command::List { token, tenant, detail: if script.flag() { Detail::Load } else { Detail::Usage } },
        });
    }

    fn schedule(&mut self, script: &mut Script<'_>) {
        let mut call = self.request(script);
        (call.mode, call.channels) = (Mode::Whole, [].into());
        let timeout = Duration::from_millis(500);
        let terms = Terms { plan: script.plan(), timeout, overlap: Overlap::default(), missed: Missed::default() };
        let token = self.token();
        self.command(Command::Schedule { token, request: ScheduleRequest { call, terms } });
    }

    fn cancel(&mut self, script: &mut Script<'_>) {
        let from_end = usize::from(script.below(8));
        if let Some(token) = self.tokens.iter().rev().nth(from_end).copied() {
            self.give_up(token);
        }
    }

    /// As a handle does it that is dropped: its streams are nobody's any more, and those that are open say so once it has its
    /// answer.
    fn give_up(&mut self, token: Token) {
        let is_its = |id: &StreamId| id.call == StreamCall::Made(token);
        let writers: Vec<StreamId> = self.writers.extract_if(.., |id, _| is_its(id)).map(|(id, _)| id).collect();
        let readers: Vec<StreamId> = self.readers.extract_if(.., |id, _| is_its(id)).map(|(id, _)| id).collect();
        if self.answered.contains(&token) {
            for id in writers {
                let error = CallError::failed("trap", "it is dropped", "");
                self.command(Command::Stream { id, act: StreamAct::Fail(error) });
            }
            for id in readers {
                self.command(Command::Stream { id, act: StreamAct::Cancel(None) });
            }
        }
        self.command(Command::Cancel(token));
    }

    fn serve(&mut self, script: &mut Script<'_>) {
        let at = usize::from(script.below(4));
        let Some(id) = self.serves.keys().nth(at).copied() else { return };
        match script.below(5) {
            0 => self.command(Command::Accepted(id)),
            1 => self.command(Command::Answered { id, error: script.error() }),
            2 if self.replied.insert(id) => {
                let channels = script.flows();
                self.open_writers(StreamCall::Served(id), &channels);
                self.command(Command::Replied { id, result: Bytes::from_static(&[0]), channels });
            }
            _ => {
                self.serves.remove(&id);
                let ok = script.flag() && !self.replied.contains(&id);
                let result = if ok { Ok(Bytes::from_static(&[3])) } else { Err(script.error()) };
                self.command(Command::Served { id, result });
            }
        }
    }

    fn write(&mut self, script: &mut Script<'_>) {
        let at = usize::from(script.below(4));
        let Some((id, room)) = self.writers.iter_mut().nth(at) else { return };
        let id = *id;
        let act = match script.below(6) {
            0 => StreamAct::Finish,
            1 => StreamAct::Fail(script.error()),
            _ if std::mem::take(room) => StreamAct::Push(script.chunk()),
            _ => return,
        };
        if !matches!(act, StreamAct::Push(_)) {
            self.writers.remove(&id);
        }
        self.command(Command::Stream { id, act });
    }

    fn read(&mut self, script: &mut Script<'_>) {
        let at = usize::from(script.below(4));
        let Some((id, holds)) = self.readers.iter_mut().nth(at) else { return };
        let id = *id;
        let act = match script.below(6) {
            0 => StreamAct::Cancel(script.flag().then(|| script.error())),
            _ if std::mem::take(holds) => StreamAct::Take,
            _ => return,
        };
        if matches!(act, StreamAct::Cancel(_)) {
            self.readers.remove(&id);
        }
        self.command(Command::Stream { id, act });
    }

    fn open_writers(&mut self, call: StreamCall, flows: &[Flow]) {
        self.writers.extend((0..).zip(flows).map(|(number, _)| (StreamId { call, number }, true)));
    }

    fn open_readers(&mut self, call: StreamCall, flows: &[Flow]) {
        self.readers.extend((0..).zip(flows).map(|(number, _)| (StreamId { call, number }, false)));
    }

    fn token(&mut self) -> Token {
        self.last_token += 1;
        self.tokens.push(Token(self.last_token));
        Token(self.last_token)
    }

    fn command(&mut self, command: Command) {
        self.input(Input::Command(command));
    }

    fn input(&mut self, input: Input) {
        self.node.handle(self.clock(), input);
        self.carry_out();
    }

    fn clock(&self) -> Clock {
        Clock { mono: self.now, utc: Utc::default().plus(self.now) }
    }

    fn carry_out(&mut self) {
        for _ in 0..MAX_OUTPUTS {
            let Some(output) = self.node.poll_output() else { return };
            self.output(output);
        }
        panic!("it does not come to rest");
    }

    fn output(&mut self, output: Output) {
        match output {
            Output::Send { via, frame } => {
                let is_there = match via {
                    Via::Controller => matches!(self.link, Link::Up),
                    Via::To(_) | Via::From(_) => self.directs.contains(&via),
                };
                assert!(is_there, "a {} frame without a link", frame.header.kind());
                assert!(
                    !matches!(frame.header, Header::Welcome { .. } | Header::Entry { .. }),
                    "that is a controller's"
                );
            }
            Output::CloseLink { .. } => self.link = Link::Down,
            Output::Dial { link, .. } => self.dialed.push(link),
            Output::CloseDirect { via, .. } => drop(self.directs.remove(&via)),
            Output::ProcessAdded { result: Ok(id), .. } => self.locals.push(id),
            Output::CallDone { token, result: Ok(reply) } => {
                self.answered.insert(token);
                self.open_readers(StreamCall::Made(token), &reply.channels)
            }
            Output::Serve(incoming) => {
                self.open_readers(StreamCall::Served(incoming.id), &incoming.channels);
                let before = self.serves.insert(incoming.id, incoming);
                assert!(before.is_none(), "a call is served twice");
            }
            Output::CancelServe(id) => assert!(id.0 > 0),
            Output::Stream { id, event: StreamEvent::Room } => {
                // He may have ended it just now.
                if let Some(room) = self.writers.get_mut(&id) {
                    assert!(!std::mem::replace(room, true), "room that nobody asked for");
                }
            }
            Output::Stream { id, event: StreamEvent::Items(_) } => {
                if let Some(holds) = self.readers.get_mut(&id) {
                    assert!(!std::mem::replace(holds, true), "items that nobody asked for");
                }
            }
            Output::Stream { id, event: StreamEvent::Written(_) } => drop(self.writers.remove(&id)),
            Output::Stream { id, event: StreamEvent::Read(_) } => drop(self.readers.remove(&id)),
            Output::SaveTasks { process, changes, .. } => {
                panic!("tables of {process:?} are not kept, and are to be saved ({changes})");
            }
            _ => {}
        }
    }

    fn end(&mut self) {
        if matches!(self.link, Link::Up) {
            self.disconnect();
        }
        for token in std::mem::take(&mut self.tokens) {
            self.give_up(token);
        }
        while let Some((id, _)) = self.writers.pop_first() {
            let error = CallError::failed("trap", "it is the end", "");
            self.command(Command::Stream { id, act: StreamAct::Fail(error) });
        }
        while let Some((id, _)) = self.readers.pop_first() {
            self.command(Command::Stream { id, act: StreamAct::Cancel(None) });
        }
        for id in self.locals.clone() {
            self.command(Command::RemoveProcess(id));
        }
        // What is served may be all that keeps a timer, and ends with an error now.
        let late = self.now + Duration::from_secs(3600);
        loop {
            while let Some((id, _)) = self.serves.pop_first() {
                let error = CallError::failed("trap", "it is the end", "");
                self.command(Command::Served { id, result: Err(error) });
            }
            let Some(at) = self.node.next_timeout().filter(|at| *at < late) else { break };
            self.now = self.now.max(at);
            self.input(Input::Timer);
        }
        // Answers that came too late are only counted.
        let counts = NodeCounts { late_answers: 0, table_looks: 0, ..self.node.counts() };
        assert_eq!(counts, NodeCounts::default(), "something is left");
    }
}
