//! Random runs with streams: calls of all kinds, readers and writers that do what they like, links that break. Afterwards
//! all is let come to rest, and the promises are checked.

use std::collections::BTreeMap;

use daffi_proto::call::{CallRequest, Caller, Mode, WhenAbandoned};
use daffi_proto::error::{CallError, code};
use daffi_proto::id::{LocalId, ServeId, Token};
use daffi_proto::node::Command;
use daffi_proto::session::{PeerIdentity, Role};
use daffi_proto::stream::{Chunk, Ending, Flow, StreamCall, StreamId};

use super::nothing_is_left;
use crate::net::{Behaviour, Net, SUM, call, ms, secs};

const SEEDS: u64 = 300;
const STEPS: u32 = 120;
const NODES: usize = 3;

struct Run {
    net: Net,
    processes: Vec<(usize, LocalId)>,
    /// What was written to each stream: an item is the count of those before it, in a byte.
    written: BTreeMap<(usize, StreamId), u64>,
    tokens: Vec<(usize, Token)>,
}

/// Arguments for `sum` that are also told apart: one byte, twice.
fn items(first: u64, count: u32, mode: Mode) -> Chunk {
    let bytes = (first..first + u64::from(count)).map(|number| (number % 64) as u8);
    let bytes: Vec<u8> = match mode {
        Mode::Whole => bytes.collect(),
        Mode::Each => bytes.flat_map(|byte| [byte, byte]).collect(),
    };
    Chunk { count, bytes: bytes.into() }
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut net = Net::new(seed);
        net.delay = net.random.bits() % 20;
        let mut processes = Vec::new();
        for node in 0..NODES {
            let node = net.runtime(&format!("node-{node}"), Role::Node, PeerIdentity::Unix { uid: 1, pid: None });
            for at in 0..2 {
                let process = net.add(node, &format!("p{node}{at}"), &[SUM]);
                let behaviour = if at == 0 { Behaviour::Hold } else { Behaviour::Echo(ms(3)) };
                net.nodes[node].behaviours.insert(process, behaviour);
                processes.push((node, process));
            }
            net.dial(node);
        }
        net.settle();
        Self { net, processes, written: BTreeMap::new(), tokens: Vec::new() }
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.net.random.bits() % bound
    }

    fn pick<T: Clone>(&mut self, of: &[T]) -> Option<T> {
        let at = self.below(of.len().max(1) as u64) as usize;
        of.get(at).cloned()
    }

    fn step(&mut self) {
        match self.below(100) {
            0..=14 => self.call(),
            15..=49 => self.write(),
            50..=57 => self.end_writer(),
            58..=61 => self.stop_reader(),
            62..=66 => self.change_pace(),
            67..=74 => self.reply(),
            75..=80 => self.answer(),
            81..=83 => self.give_up(),
            84..=85 => {
                let node = self.below(NODES as u64) as usize;
                self.net.cut(node);
            }
            _ => {
                let time = ms([0, 1, 5, 20, 100, 500, 4000][self.below(7) as usize]);
                self.net.run(time);
            }
        }
    }

    fn held(&mut self) -> Option<(usize, ServeId)> {
        let held = |node: usize| {
            let runtime = &self.net.nodes[node];
            let held = runtime.running.iter().filter(move |(_, running)| {
                matches!(runtime.behaviours.get(&running.incoming.process), Some(Behaviour::Hold))
            });
            held.map(move |(id, _)| (node, *id))
        };
        let all: Vec<_> = (0..NODES).flat_map(held).collect();
        self.pick(&all)
    }

    fn call(&mut self) {
        let (node, caller) = match (self.below(3), self.held()) {
            (0, Some((node, parent))) => {
                let process = self.net.nodes[node].running[&parent].incoming.process;
                (node, Caller::Process { id: process, instance: 1, parent: Some(parent), chain: [].into() })
            }
            _ => {
                let at = self.below(NODES as u64 * 2) as usize;
                let (node, id) = self.processes[at];
                (node, Caller::Process { id, instance: 0, parent: None, chain: [].into() })
            }
        };
        let flows = [Flow::Items, Flow::Bytes, Flow::One];
        let channels: Vec<Flow> = (0..self.below(3)).map(|at| flows[at as usize]).collect();
        let mode = if self.below(4) == 0 { Mode::Each } else { Mode::Whole };
        let when_abandoned = if self.below(3) == 0 { WhenAbandoned::Finish } else { WhenAbandoned::Cancel };
        let timeout = ms([300, 2000, 20_000][self.below(3) as usize]);
        let wait_ready = self.below(2) == 0;
        let request = CallRequest {
            caller,
            channels: channels.into(),
            mode,
            timeout,
            wait_ready,
            when_abandoned,
            ..call(None, SUM)
        };
        let token = self.net.call(node, request);
        if mode == Mode::Each {
            self.written.insert((node, crate::net::made(token, 0)), 1 << 32);
        }
        self.tokens.push((node, token));
    }

    fn open_writers(&self) -> Vec<(usize, StreamId)> {
        let of = |node: usize| {
            let writers = self.net.nodes[node].writers.iter();
            let open = writers.filter(|(_, writer)| writer.ending.is_none() && writer.last.is_none());
            open.map(move |(id, _)| (node, *id))
        };
        (0..NODES).flat_map(of).collect()
    }

    fn write(&mut self) {
        let open = self.open_writers();
        let Some((node, id)) = self.pick(&open) else { return };
        let count = 1 + self.below(200) as u32;
        let written = self.written.entry((node, id)).or_default();
        let mode = if *written >= 1 << 32 { Mode::Each } else { Mode::Whole };
        // A future takes one; what is more fails it, as the node says.
        let chunk = items(*written, count, mode);
        *written += u64::from(count);
        self.net.write(node, id, chunk);
    }

    fn end_writer(&mut self) {
        let open = self.open_writers();
        let Some((node, id)) = self.pick(&open) else { return };
        if self.below(3) == 0 {
            self.net.fail_stream(node, id, CallError::failed(code::TRAP, "it trapped", ""));
        } else {
            self.net.finish(node, id);
        }
    }

    fn open_readers(&self) -> Vec<(usize, StreamId)> {
        let of = |node: usize| {
            let open = self.net.nodes[node].readers.iter().filter(|(_, reader)| reader.ending.is_none());
            open.map(move |(id, _)| (node, *id))
        };
        (0..NODES).flat_map(of).collect()
    }

    fn stop_reader(&mut self) {
        let open = self.open_readers();
        if let Some((node, id)) = self.pick(&open) {
            self.net.stop_reading(node, id, None);
        }
    }

    fn change_pace(&mut self) {
        let open = self.open_readers();
        if let Some((node, id)) = self.pick(&open) {
            let is_slow = self.below(2) == 0;
            self.net.slow_reader(node, id, is_slow);
        }
    }

    fn reply(&mut self) {
        let Some((node, id)) = self.held() else { return };
        let replied = self.net.nodes[node].writers.contains_key(&crate::net::served(id, 0));
        if !replied {
            let flows = [Flow::Items, Flow::Bytes];
            let flows = &flows[..1 + self.below(2) as usize];
            self.net.reply(node, id, "ok", flows);
        }
    }

    fn answer(&mut self) {
        let Some((node, id)) = self.held() else { return };
        let result =
            if self.below(3) == 0 { Err(CallError::failed(code::TRAP, "it trapped", "")) } else { Ok("".into()) };
        self.net.answer(node, id, result);
    }

    fn give_up(&mut self) {
        let tokens = self.tokens.clone();
        let Some((node, token)) = self.pick(&tokens) else { return };
        if !self.net.nodes[node].calls.contains_key(&token) {
            self.net.command(node, Command::Cancel(token));
        }
    }

    /// Lets all that is open end; calls that waited for a link begin meanwhile.
    fn rest(&mut self) {
        for _ in 0..4 {
            for (node, id) in self.open_readers() {
                self.net.slow_reader(node, id, false);
            }
            while let Some((node, id)) = self.held() {
                self.net.answer(node, id, Ok("".into()));
            }
            self.net.run(secs(60));
        }
    }

    fn check(&self, seed: u64, endings: &mut BTreeMap<&'static str, u32>) {
        for node in 0..NODES {
            for (id, reader) in &self.net.nodes[node].readers {
                let ending = reader.ending.as_ref();
                let ending = ending.unwrap_or_else(|| panic!("seed {seed}, node {node}: {id:?} never ended"));
                *endings.entry(kind(ending)).or_default() += 1;
                self.check_items(seed, node, *id);
            }
            for (id, writer) in &self.net.nodes[node].writers {
                assert!(writer.ending.is_some(), "seed {seed}, node {node}: {id:?} was never told");
            }
        }
        nothing_is_left(&self.net);
    }

    /// What was read is what was written, from its start.
    fn check_items(&self, seed: u64, node: usize, id: StreamId) {
        let reader = &self.net.nodes[node].readers[&id];
        let is_result_of_each = match id.call {
            StreamCall::Made(_) => self.written.get(&(node, id)).is_some_and(|written| *written >= 1 << 32),
            StreamCall::Served(_) => false,
        };
        let bytes = reader.bytes();
        let item_bytes = if is_result_of_each { 2 } else { 1 };
        for (at, byte) in bytes.iter().enumerate() {
            assert_eq!(usize::from(*byte), at / item_bytes % 64, "seed {seed}: {id:?} at {at}");
        }
    }
}

fn kind(ending: &Ending) -> &'static str {
    match ending {
        Ending::Finished => "finished",
        Ending::Failed(_) => "failed",
        Ending::Cancelled(None) => "stopped",
        Ending::Cancelled(Some(_)) => "cancelled",
        Ending::Lost => "lost",
    }
}

#[test]
fn whatever_happens_every_end_is_told_once_and_what_was_read_was_written() {
    let mut endings = BTreeMap::new();
    for seed in 0..SEEDS {
        let mut run = Run::new(seed);
        for _ in 0..STEPS {
            run.step();
        }
        run.rest();
        run.check(seed, &mut endings);
    }
    for kind in ["finished", "failed", "stopped", "cancelled", "lost"] {
        assert!(endings.get(kind).is_some_and(|count| *count >= 50), "hardly any stream ended so: {kind}: {endings:?}");
    }
}
