//! Random runs of everything: processes come and go, calls are made and given up, links break and heal, the controller
//! dies and comes back. Afterwards the mesh is let come to rest, and all promises are checked.

mod checks;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use daffi_proto::call::{
    Answer, CallRequest, Caller, GatherRequest, Incoming, Load, Need, ResolveRequest, Retry, WaitFor, WhenAbandoned,
};
use daffi_proto::error::CallError;
use daffi_proto::id::{LocalId, Token};
use daffi_proto::node::Command;
use daffi_proto::session::{PeerIdentity, Role};

use crate::net::{Behaviour, Net, call, ms, name, question, secs};

const SEEDS: u64 = 400;
const STEPS: u32 = 150;
const NODES: usize = 4;
const CALLBACKS: [&str; 3] = ["a#f", "b#f", "c#f"];

/// A call that the run has made.
struct Made {
    node: usize,
    deadline: Duration,
    /// Whether it is to be finished when the call above it is given up.
    finish: bool,
    answer: Answer,
    /// Whether it may run more than once.
    repeats: bool,
    given_up: bool,
}

/// The call that is served: its arguments are its token.
fn token_of(incoming: &Incoming) -> Token {
    Token(u64::from_le_bytes(incoming.args[..8].try_into().unwrap()))
}

/// How many calls of all runs ended how: a run in which nothing happens shows nothing.
type Endings = BTreeMap<String, u32>;

struct Run {
    net: Net,
    locals: Vec<(usize, LocalId)>,
    /// What the processes are called.
    names: BTreeMap<(usize, LocalId), String>,
    /// The calls that were made, by their tokens, which are also their arguments.
    made: BTreeMap<Token, Made>,
    /// The broadcasts, by their tokens, which are also their arguments.
    gathered: BTreeMap<Token, Made>,
    /// Resolves and waits, with their deadlines.
    asked: BTreeMap<Token, Made>,
    /// The runtimes that were not killed; the client is the last.
    alive: Vec<usize>,
    next_name: u32,
    /// How many calls were found to run for nobody, and be counted by the controller, in all looks at it together.
    unwanted: u64,
    /// And how many to run that it does not relay, when it was told of them.
    apart: u64,
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut net = Net::new(seed);
        net.delay = net.random.bits() % 40;
        // In every other run nodes may call each other directly.
        net.direct = seed % 2 == 1;
        for node in 0..NODES {
            net.runtime(&format!("node-{node}"), Role::Node, PeerIdentity::Unix { uid: 1, pid: None });
        }
        net.runtime("client", Role::Client, PeerIdentity::Unix { uid: 2, pid: None });
        for node in 0..=NODES {
            net.dial(node);
        }
        let alive = (0..=NODES).collect();
        let (made, gathered, asked) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self {
            net,
            locals: Vec::new(),
            names: BTreeMap::new(),
            made,
            gathered,
            asked,
            alive,
            next_name: 0,
            unwanted: 0,
            apart: 0,
        }
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.net.random.bits() % bound
    }

    /// A runtime with processes.
    fn node(&mut self) -> usize {
        let at = self.below(NODES as u64) as usize;
        self.alive[at]
    }

    /// A runtime, or the client.
    fn anyone(&mut self) -> usize {
        let at = self.below(NODES as u64 + 1) as usize;
        self.alive[at]
    }

    fn step(&mut self) {
        match self.below(100) {
            0..=7 => self.add(),
            8..=10 => self.remove(),
            11..=39 => self.call(),
            40..=44 => self.gather(),
            45..=48 => self.ask(),
            49..=53 => self.give_up(),
            54..=68 => self.answer(),
            69..=70 => self.load(),
            71..=72 => {
                let node = self.anyone();
                self.net.cut(node);
            }
            73..=74 => {
                let node = self.node();
                self.net.cut_directs(node);
                self.net.unreachable = self.below(4) == 0;
            }
            75 => {
                let node = self.anyone();
                if self.net.linked(node) {
                    self.net.silence(node);
                }
            }
            76 => self.net.kill_controller(),
            77..=79 if self.net.controller.is_none() => self.net.start_controller(),
            80..=82 => {
                let (node, full) = (self.node(), self.below(2) == 0);
                if self.net.linked(node) {
                    self.net.fill(node, full);
                }
                self.net.fill_directs(node, full);
            }
            83 => self.kill(),
            _ => {
                let time = ms([0, 1, 5, 20, 100, 500, 3000][self.below(7) as usize]);
                self.net.run(time);
            }
        }
    }

    /// A runtime dies, and another one comes in its place.
    fn kill(&mut self) {
        let at = self.below(NODES as u64) as usize;
        let dead = self.alive[at];
        self.net.kill_node(dead);
        self.locals.retain(|(node, _)| *node != dead);
        let name = format!("node-{}", self.net.nodes.len());
        self.alive[at] = self.net.runtime(&name, Role::Node, PeerIdentity::Unix { uid: 1, pid: None });
        self.net.dial(self.alive[at]);
    }

    fn ask(&mut self) {
        let (node, caller, inherited) = self.caller();
        let timeout = ms([0, 30, 3000][self.below(3) as usize]);
        let callback = CALLBACKS[self.below(3) as usize];
        let token = match self.below(3) {
            0 => {
                let name = name(&format!("p{}", self.next_name + self.below(3) as u32));
                self.net.wait_as(node, caller, WaitFor::Process(name), timeout)
            }
            1 => self.net.wait_as(node, caller, WaitFor::Callback(callback.to_owned()), timeout),
            _ => {
                let request =
                    ResolveRequest { caller, timeout, wait_ready: self.below(2) == 0, ..question(None, callback) };
                self.net.resolve(node, request)
            }
        };
        let now = self.net.now;
        let deadline = (now + timeout).min(inherited.max(now));
        self.asked.insert(
            token,
            Made { node, deadline, finish: false, answer: Answer::Result, repeats: false, given_up: false },
        );
    }

    fn load(&mut self) {
        if self.locals.is_empty() {
            return;
        }
        let at = self.below(self.locals.len() as u64) as usize;
        let (node, process) = self.locals[at];
        let load = Load { instances: 1, in_flight: self.below(5) as u32, ..Load::default() };
        self.net.command(node, Command::Load { process, load });
    }

    fn add(&mut self) {
        let node = self.node();
        self.next_name += 1;
        let callbacks: Vec<&str> = CALLBACKS.into_iter().filter(|_| self.below(2) == 0).collect();
        let id = self.net.add(node, &format!("p{}", self.next_name), &callbacks);
        let behaviour = match self.below(7) {
            0 => Behaviour::Hold,
            1..=4 => {
                let takes = ms([0, 100, 1000, 60_000][self.below(4) as usize]);
                Behaviour::Pool { takes, kills: self.below(2) == 0 }
            }
            5 => Behaviour::Fail(CallError::failed("trap", "it trapped", "")),
            _ => Behaviour::Echo(ms(self.below(300))),
        };
        self.net.nodes[node].behaviours.insert(id, behaviour);
        self.locals.push((node, id));
        self.names.insert((node, id), format!("p{}", self.next_name));
    }

    fn remove(&mut self) {
        if self.locals.is_empty() {
            return;
        }
        let at = self.below(self.locals.len() as u64) as usize;
        let (node, id) = self.locals.swap_remove(at);
        self.net.command(node, Command::RemoveProcess(id));
    }

    /// A call that is being served and has not been answered.
    fn open_serve(&mut self) -> Option<(usize, Incoming)> {
        let mut open = Vec::new();
        for node in self.alive.iter().copied() {
            let runtime = &self.net.nodes[node];
            let held = |incoming: &&Incoming| {
                let behaviour = runtime.behaviours.get(&incoming.process);
                matches!(behaviour, Some(Behaviour::Hold)) && !runtime.answered.contains(&incoming.id)
            };
            open.extend(runtime.served.iter().filter(held).map(|incoming| (node, incoming.clone())));
        }
        let at = self.below(open.len().max(1) as u64) as usize;
        open.get(at).cloned()
    }

    /// A call that is being served, for whomever.
    fn running(&mut self) -> Option<(usize, Incoming)> {
        let of =
            |node: usize| self.net.nodes[node].running.values().map(move |running| (node, running.incoming.clone()));
        let running: Vec<_> = self.alive.iter().flat_map(|node| of(*node)).collect();
        let at = self.below(running.len().max(1) as u64) as usize;
        running.get(at).cloned()
    }

    fn caller(&mut self) -> (usize, Caller, Duration) {
        match self.below(3) {
            0 if !self.locals.is_empty() => {
                let at = self.below(self.locals.len() as u64) as usize;
                let (node, id) = self.locals[at];
                (node, Caller::Process { id, instance: 0, parent: None, chain: [].into() }, Duration::MAX)
            }
            1 => match self.running() {
                Some((node, incoming)) => {
                    let parent = Some(incoming.id);
                    (
                        node,
                        Caller::Process { id: incoming.process, instance: 1, parent, chain: incoming.chain.clone() },
                        incoming.deadline,
                    )
                }
                None => (self.alive[NODES], call(None, "a#f").caller, Duration::MAX),
            },
            _ => (self.anyone(), call(None, "a#f").caller, Duration::MAX),
        }
    }

    fn gather(&mut self) {
        let (token, node, made, call) = self.request();
        let need = match self.below(4) {
            0 => Need::First(1 + self.below(3) as u32),
            1 => Need::Quorum(1 + self.below(3) as u32),
            _ => Need::All,
        };
        let stall = (self.below(3) == 0).then_some(ms(200));
        self.gathered.insert(token, made);
        let request = GatherRequest { call: CallRequest { receiver: None, ..call }, need, stall };
        self.net.command(node, Command::Gather { token, request });
    }

    fn call(&mut self) {
        let (token, node, mut made, mut request) = self.request();
        if request.answer == Answer::Result {
            let attempts = [1, 1, 2, 5][self.below(4) as usize];
            request.retry = Retry { attempts, idempotent: self.below(2) == 0, ..Retry::NEVER };
            made.repeats = attempts > 1 && request.retry.idempotent;
        }
        self.made.insert(token, made);
        self.net.make(node, token, request);
    }

    /// A call with its token, which is also its arguments, and the node that makes it.
    fn request(&mut self) -> (Token, usize, Made, CallRequest) {
        let (node, caller, inherited) = self.caller();
        let timeout = ms([0, 1, 30, 300, 2000, 20_000][self.below(6) as usize]);
        let token = self.net.token();
        let receiver = (self.below(6) == 0 && self.next_name > 0)
            .then(|| name(&format!("p{}", 1 + self.below(u64::from(self.next_name)))));
        let finish = self.below(3) == 0;
        let eta = ms([0, 0, 0, 0, 200][self.below(5) as usize]);
        let answer =
            [Answer::Result, Answer::Result, Answer::Result, Answer::Accepted, Answer::Sent][self.below(5) as usize];
        let request = CallRequest {
            caller,
            callbacks: [crate::net::callback(CALLBACKS[self.below(3) as usize])].into(),
            receiver,
            args: Bytes::copy_from_slice(&token.0.to_le_bytes()),
            timeout,
            eta,
            answer,
            wait_ready: self.below(2) == 0,
            when_abandoned: if finish { WhenAbandoned::Finish } else { WhenAbandoned::Cancel },
            ..call(None, "a#f")
        };
        let now = self.net.now;
        let inherited = if answer == Answer::Result { inherited } else { Duration::MAX };
        let deadline = (now + eta + timeout).min(inherited.max(now));
        (token, node, Made { node, deadline, finish, answer, repeats: false, given_up: false }, request)
    }

    fn give_up(&mut self) {
        let open: Vec<Token> = self.open_calls().collect();
        if open.is_empty() {
            return;
        }
        let token = open[self.below(open.len() as u64) as usize];
        let made = self.made.get_mut(&token).or_else(|| self.gathered.get_mut(&token)).unwrap();
        made.given_up = true;
        let node = made.node;
        self.net.command(node, Command::Cancel(token));
    }

    fn open_calls(&self) -> impl Iterator<Item = Token> {
        self.made.keys().chain(self.gathered.keys()).copied().filter(|token| self.is_open(*token))
    }

    /// The call or broadcast that has this token.
    fn made_by(&self, token: Token) -> &Made {
        self.made.get(&token).unwrap_or_else(|| &self.gathered[&token])
    }

    /// Whether somebody waits for a call.
    fn is_open(&self, token: Token) -> bool {
        let made = self.made_by(token);
        let runtime = &self.net.nodes[made.node];
        let ended = runtime.calls.contains_key(&token) || runtime.gathers.contains_key(&token);
        !made.given_up && !runtime.dead && !ended
    }

    fn answer(&mut self) {
        if let Some((node, incoming)) = self.open_serve() {
            self.net.answer(node, incoming.id, Ok(incoming.args));
        }
    }

    /// Heals everything and lets all that is open end.
    fn rest(&mut self, seed: u64) {
        if self.net.controller.is_none() {
            self.net.start_controller();
        }
        self.net.run(secs(30));
        self.check_in_flight(seed, true);
        for node in self.alive.clone() {
            for incoming in self.net.nodes[node].served.clone() {
                let held = matches!(self.net.nodes[node].behaviours[&incoming.process], Behaviour::Hold);
                if held && !self.net.nodes[node].answered.contains(&incoming.id) {
                    self.net.answer(node, incoming.id, Ok(incoming.args));
                }
            }
        }
        self.net.run(secs(90));
    }
}

fn run(seed: u64) -> Run {
    let mut run = Run::new(seed);
    for _ in 0..STEPS {
        run.step();
        run.check_in_flight(seed, false);
    }
    run.rest(seed);
    run
}

#[test]
fn whatever_happens_every_call_ends_once_in_time_with_the_truth_and_nothing_is_left() {
    let mut endings = Endings::new();
    let (mut unwanted, mut apart, mut direct) = (0, 0, 0);
    for seed in 0..SEEDS {
        let run = run(seed);
        run.check(seed, &mut endings);
        unwanted += run.unwanted;
        apart += run.apart;
        direct += run.net.frames_sent_directly;
    }
    assert!(apart > 100, "hardly any call ran that the controller was to be told of: {apart}");
    assert!(direct > 5000, "hardly anything went over direct links: {direct}");
    assert!(unwanted > 100, "hardly any call ran for nobody when it was looked: {unwanted}");
    for ending in [
        "ok",
        "ok Accepted",
        "ok Sent",
        "gather met",
        "gather unmet",
        "gather NotRun no-such-callback",
        "gather NotRun cancelled",
        "leg ok",
        "leg Failed trap",
        "leg Unknown deadline-exceeded",
        "leg Unknown link-lost",
        "given up",
        "Failed trap",
        "Failed deadline-exceeded",
        "NotRun cancelled",
        "NotRun deadline-exceeded",
        "NotRun no-such-callback",
        "NotRun no-such-process",
        "NotRun not-connected",
        "NotRun overloaded",
        "Unknown cancelled",
        "Unknown deadline-exceeded",
        "Unknown link-lost",
    ] {
        assert!(
            endings.get(ending).is_some_and(|count| *count >= 10),
            "hardly any call ended so: {ending}: {endings:#?}"
        );
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let outcome = |seed| {
        let run = run(seed);
        let served: Vec<_> = run.net.nodes.iter().map(|runtime| runtime.served.len()).collect();
        let ended = run.made.iter().map(|(token, made)| run.net.nodes[made.node].ended.get(token).copied());
        (served, ended.collect::<Vec<_>>(), run.net.closed.clone())
    };
    for seed in 1000..1020 {
        assert_eq!(outcome(seed), outcome(seed));
    }
}
