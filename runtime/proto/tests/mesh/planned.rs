//! Random runs of schedules: whoever asks is answered once and in time, and what he was told holds.

use std::collections::BTreeMap;
use std::time::Duration;

use daffi_proto::call::{CallRequest, ScheduleRequest};
use daffi_proto::error::Outcome;
use daffi_proto::frame::{Frame, Header, Target};
use daffi_proto::id::{CallId, EntryId, Token};
use daffi_proto::node::Command;
use daffi_proto::schedule::{Plan, TaskId, TaskOp};

use crate::net::{Net, SUM, ms, name, schedule, secs};

const KEEPERS: usize = 3;

/// A run: some processes that keep tasks, some clients that ask.
struct Run {
    net: Net,
    clients: Vec<usize>,
    /// Questions, by who asks: when they must be answered.
    asked: BTreeMap<Token, (usize, Duration, Option<TaskId>)>,
    /// Tasks that a client was told of.
    known: Vec<TaskId>,
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut net = Net::new(seed);
        for keeper in 0..KEEPERS {
            net.member(&format!("k{keeper}"), &[SUM]);
        }
        let clients = (0..2).map(|_| net.client()).collect();
        net.delay = net.random.bits() % 60;
        Self { net, clients, asked: BTreeMap::new(), known: Vec::new() }
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.net.random.bits() % bound as u64) as usize
    }

    fn client(&mut self) -> usize {
        let at = self.below(self.clients.len());
        self.clients[at]
    }

    fn step(&mut self) {
        match self.below(12) {
            0..=3 => self.schedule(),
            4 | 5 => self.cancel(),
            6 => {
                let node = self.below(KEEPERS + self.clients.len());
                self.net.cut(node);
            }
            7 if self.below(4) == 0 => {
                let node = self.below(KEEPERS);
                if self.net.linked(node) {
                    self.net.silence(node);
                }
            }
            8 => {
                let (node, full) = (self.clients[0], self.below(2) == 0);
                if self.net.linked(node) {
                    self.net.fill(node, full);
                }
            }
            9 => self.give_up(),
            _ => {
                let time = ms([0, 5, 50, 500, 4000][self.below(5)]);
                self.net.run(time);
            }
        }
        self.learn();
    }

    fn schedule(&mut self) {
        let client = self.client();
        let request = schedule(None, SUM, Plan::Every(secs(3600)));
        let receiver = match self.below(3) {
            0 => None,
            keeper => Some(name(&format!("k{keeper}"))),
        };
        let wait_ready = self.below(2) == 0;
        let timeout = ms([10, 200, 8000][self.below(3)]);
        let call = CallRequest { receiver, wait_ready, timeout, ..request.call };
        let token = self.net.schedule(client, ScheduleRequest { call, ..request });
        self.asked.insert(token, (client, self.net.now + timeout, None));
    }

    fn cancel(&mut self) {
        if self.known.is_empty() {
            return;
        }
        let (client, place) = (self.client(), self.below(self.known.len()));
        let id = self.known.swap_remove(place);
        let (op, timeout) = (TaskOp::Cancel(id.number), secs(2));
        let caller = schedule(None, SUM, Plan::Every(secs(1))).call.caller;
        let request = daffi_proto::call::TasksRequest { caller, process: id.process.clone(), op, timeout };
        let token = self.net.token();
        self.net.command(client, Command::Tasks { token, request });
        self.asked.insert(token, (client, self.net.now + timeout, Some(id)));
    }

    fn give_up(&mut self) {
        let open = |(token, (client, ..)): (&Token, &(usize, Duration, _))| {
            (!self.net.nodes[*client].tasks.contains_key(token)).then_some((*token, *client))
        };
        if let Some((token, client)) = self.asked.iter().find_map(open) {
            self.asked.remove(&token);
            self.net.command(client, Command::Cancel(token));
        }
    }

    /// Takes note of the answers that came.
    fn learn(&mut self) {
        let answered: Vec<Token> = self.asked.keys().copied().collect();
        for token in answered {
            let (client, deadline, cancelled) = self.asked[&token].clone();
            let Some(result) = self.net.nodes[client].tasks.get(&token) else { continue };
            assert!(self.net.nodes[client].ended[&token] <= deadline, "{token:?} was answered too late");
            match (result, cancelled) {
                (Ok(page), None) => self.known.push(page.tasks[0].id.clone()),
                // It was not cancelled.
                (Err(error), Some(id)) if error.outcome == Outcome::NotRun => self.known.push(id),
                _ => {}
            }
            self.asked.remove(&token);
        }
    }
}

#[test]
fn whoever_asks_is_answered_once_in_time_and_a_task_that_was_made_is_there() {
    for seed in 0..60 {
        let mut run = Run::new(seed);
        for _ in 0..120 {
            run.step();
        }
        for client in run.clients.clone() {
            if run.net.linked(client) {
                run.net.fill(client, false);
            }
        }
        run.net.run(secs(60));
        run.learn();
        assert!(run.asked.is_empty(), "seed {seed}: never answered: {:?}", run.asked);
        for node in 0..run.net.nodes.len() {
            let counts = run.net.count(node);
            let open = [counts.calls, counts.asks, counts.away, counts.waiting, counts.deadlines, counts.serves];
            assert_eq!(open, [0; 6], "seed {seed}, node {node}: {counts:?}");
        }
        assert_eq!(run.net.controller.as_ref().unwrap().counts().relays, 0, "seed {seed}");
        let client = run.net.client();
        for id in run.known.clone() {
            let found = run.net.ask(client, id.process.as_str(), TaskOp::Get(id.number));
            assert!(found.is_ok(), "seed {seed}: {id} is lost: {found:?}");
        }
    }
}

#[test]
fn a_request_that_cannot_be_read_costs_nobody_his_link() {
    let mut net = Net::new(1);
    let (node, _) = net.member("worker", &[SUM]);
    let client = net.client();
    let hop = daffi_proto::call::Hop { process: None, instance: 0 };
    for (number, payload) in [&b""[..], b"\xff", b"\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff"].into_iter().enumerate() {
        let (id, target) = (CallId(100 + number as u64), Target::Tasks(EntryId(1)));
        let (timeout_ms, chain, answer) = (1000, [hop.clone()].into(), Default::default());
        let (mode, channels) = (Default::default(), [].into());
        let header = Header::Call { id, target, timeout_ms, chain, answer, mode, channels, key: None };
        net.forge(net.link_of(client), Frame::with_payload(header, payload.into()));
        net.settle();
    }
    assert!(net.closed.is_empty() && net.linked(node) && net.linked(client), "{:?}", net.closed);
    assert_eq!((net.count(client).late_answers, net.count(node).tasks), (3, 0));
    let other = net.client();
    net.scheduled(other, schedule(None, SUM, Plan::Every(secs(1))));
}
