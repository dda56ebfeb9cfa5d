//! Streams of calls: items, backpressure, and what both ends learn however it ends.

mod each;
mod ends;
mod limits;
mod random;
mod rooms;
mod time;

use daffi_proto::call::{CallRequest, Incoming};
use daffi_proto::id::{LocalId, Token};
use daffi_proto::stream::{CHUNK_OF_BYTES, Ending, Flow, StreamId, WINDOW_ITEMS, WINDOW_OF_BYTES};

use crate::net::{Behaviour, Net, SUM, call, chunk, made, served};

/// A publisher that leaves its calls to the test, and a caller: of another node, or of the same.
pub struct Pair {
    pub net: Net,
    pub callee: usize,
    pub process: LocalId,
    pub caller: usize,
}

impl Pair {
    pub fn remote(seed: u64) -> Self {
        let mut net = Net::new(seed);
        let (callee, process) = holder(&mut net, "publisher");
        let caller = net.client();
        Self { net, callee, process, caller }
    }

    pub fn local(seed: u64) -> Self {
        let mut net = Net::new(seed);
        let (callee, process) = holder(&mut net, "publisher");
        Self { net, callee, process, caller: callee }
    }

    /// Makes a call with streams of these flows.
    pub fn call(&mut self, flows: &[Flow]) -> Token {
        self.call_with(CallRequest { channels: flows.into(), ..call(None, SUM) })
    }

    pub fn call_with(&mut self, request: CallRequest) -> Token {
        let token = self.net.call(self.caller, request);
        self.net.settle();
        token
    }

    /// The call that came last.
    pub fn incoming(&self) -> Incoming {
        self.net.nodes[self.callee].served.last().unwrap().clone()
    }

    /// What a writer and a reader were told their stream came to.
    pub fn endings(&self, writer: (usize, StreamId), reader: (usize, StreamId)) -> (Option<Ending>, Option<Ending>) {
        let (writer, reader) = (self.net.writer(writer.0, writer.1), self.net.reader(reader.0, reader.1));
        (writer.ending.clone(), reader.ending.clone())
    }

    /// Asserts that nothing is left of any call, anywhere.
    pub fn nothing_is_left(&mut self) {
        self.net.settle();
        nothing_is_left(&self.net);
    }
}

pub fn nothing_is_left(net: &Net) {
    for node in 0..net.nodes.len() {
        let counts = net.count(node);
        let streams = (counts.exchanges, counts.streams, counts.stream_bytes);
        assert_eq!(streams, (0, 0, 0), "node {node}");
        assert_eq!((counts.large_bytes, counts.result_bytes), (0, 0), "node {node}");
        assert_eq!((counts.calls, counts.away, counts.deadlines, counts.serves, counts.incoming), (0, 0, 0, 0, 0));
    }
    let controller = net.controller.as_ref().unwrap().counts();
    assert_eq!((controller.relays, controller.streams), (0, 0));
}

fn holder(net: &mut Net, called: &str) -> (usize, LocalId) {
    let (node, process) = net.member(called, &[SUM]);
    net.nodes[node].behaviours.insert(process, Behaviour::Hold);
    (node, process)
}

pub fn both() -> [Pair; 2] {
    [Pair::remote(1), Pair::local(2)]
}

pub const DONE: (Option<Ending>, Option<Ending>) = (Some(Ending::Finished), Some(Ending::Finished));

#[test]
fn items_go_up_before_the_answer_and_down_after_it_both_at_once() {
    for mut pair in both() {
        let (caller, callee) = (pair.caller, pair.callee);
        let token = pair.call(&[Flow::Items, Flow::Bytes]);
        let id = pair.incoming().id;
        assert_eq!(pair.incoming().channels.as_ref(), [Flow::Items, Flow::Bytes]);
        pair.net.write(caller, made(token, 0), chunk(1, 3, 8));
        pair.net.write(caller, made(token, 1), chunk(2, 5, 1));
        pair.net.settle();
        assert!(!pair.net.nodes[caller].calls.contains_key(&token), "it has no answer yet");
        assert_eq!(pair.net.reader(callee, served(id, 0)).items(), 3);
        assert_eq!(pair.net.reader(callee, served(id, 1)).bytes(), [2; 5]);

        pair.net.reply(callee, id, "ok", &[Flow::Items]);
        pair.net.settle();
        let reply = pair.net.result(caller, token).as_ref().unwrap();
        assert_eq!((reply.result.as_ref(), reply.channels.as_ref()), (&b"ok"[..], &[Flow::Items][..]));
        pair.net.write(callee, served(id, 0), chunk(3, 2, 4));
        pair.net.write(caller, made(token, 0), chunk(4, 1, 8));
        pair.net.settle();
        assert_eq!(pair.net.reader(caller, made(token, 0)).bytes(), [3; 8]);
        assert_eq!(pair.net.reader(callee, served(id, 0)).items(), 4);

        for number in [0, 1] {
            pair.net.finish(caller, made(token, number));
        }
        pair.net.finish(callee, served(id, 0));
        pair.net.answer(callee, id, Ok("dropped".into()));
        pair.net.settle();
        for number in [0, 1] {
            assert_eq!(pair.endings((caller, made(token, number)), (callee, served(id, number))), DONE);
        }
        assert_eq!(pair.endings((callee, served(id, 0)), (caller, made(token, 0))), DONE);
        pair.nothing_is_left();
    }
}

#[test]
fn a_call_is_in_flight_until_its_streams_have_ended_and_it_was_told_to_be_over() {
    for over_first in [true, false] {
        let mut pair = Pair::remote(3);
        let token = pair.call(&[]);
        let id = pair.incoming().id;
        pair.net.reply(pair.callee, id, "ok", &[Flow::Items]);
        pair.net.settle();
        assert!(pair.net.result(pair.caller, token).is_ok());
        let finish = |pair: &mut Pair| pair.net.finish(pair.callee, served(id, 0));
        let over = |pair: &mut Pair| pair.net.answer(pair.callee, id, Ok("".into()));
        let acts: [&dyn Fn(&mut Pair); 2] = if over_first { [&over, &finish] } else { [&finish, &over] };
        acts[0](&mut pair);
        pair.net.settle();
        let process = crate::net::process("publisher");
        let in_flight = |pair: &Pair| pair.net.controller.as_ref().unwrap().in_flight(&process).unwrap().0;
        assert_eq!((in_flight(&pair), pair.net.count(pair.callee).serves), (1, 1));
        acts[1](&mut pair);
        pair.net.settle();
        assert_eq!(in_flight(&pair), 0);
        pair.nothing_is_left();
    }
}

#[test]
fn an_answer_without_streams_leaves_those_of_the_arguments_open() {
    for mut pair in both() {
        let token = pair.call(&[Flow::Items]);
        let (id, caller, callee) = (pair.incoming().id, pair.caller, pair.callee);
        pair.net.answer(callee, id, Ok("early".into()));
        pair.net.settle();
        assert_eq!(pair.net.result(caller, token).as_ref().unwrap().result, "early");
        pair.net.write(caller, made(token, 0), chunk(1, 2, 2));
        pair.net.finish(caller, made(token, 0));
        pair.net.settle();
        assert_eq!(pair.net.reader(callee, served(id, 0)).items(), 2);
        assert_eq!(pair.endings((caller, made(token, 0)), (callee, served(id, 0))), DONE);
        pair.nothing_is_left();
    }
}

#[test]
fn a_future_is_one_item_and_its_end() {
    for mut pair in both() {
        let token = pair.call(&[Flow::One]);
        let (id, caller, callee) = (pair.incoming().id, pair.caller, pair.callee);
        pair.net.write(caller, made(token, 0), chunk(7, 1, 4));
        pair.net.settle();
        assert_eq!(pair.net.reader(callee, served(id, 0)).bytes(), [7; 4]);
        assert_eq!(pair.endings((caller, made(token, 0)), (callee, served(id, 0))), DONE);
        pair.net.answer(callee, id, Ok("".into()));
        pair.nothing_is_left();
    }
}

#[test]
fn a_slow_reader_slows_the_writer_and_memory_is_bounded() {
    for mut pair in both() {
        let token = pair.call(&[Flow::Items, Flow::Bytes]);
        let (id, caller, callee) = (pair.incoming().id, pair.caller, pair.callee);
        for number in [0, 1] {
            pair.net.slow_reader(callee, served(id, number), true);
            for _ in 0..100 {
                let chunk = if number == 0 { chunk(1, 256, 8) } else { chunk(2, CHUNK_OF_BYTES, 1) };
                pair.net.write(caller, made(token, number), chunk);
            }
        }
        pair.net.settle();
        // The window, one chunk that waits for credit, and one that the reader holds.
        let held = pair.net.count(callee).stream_bytes;
        assert!(held <= WINDOW_OF_BYTES as usize + WINDOW_ITEMS as usize * 8, "{held} bytes wait");
        for number in [0, 1] {
            let written = 100 - pair.net.writer(caller, made(token, number)).queue.len();
            assert!((4..=6).contains(&written), "{written} chunks are on the way");
        }
        for number in [0, 1] {
            pair.net.slow_reader(callee, served(id, number), false);
            pair.net.finish(caller, made(token, number));
        }
        pair.net.settle();
        assert_eq!(pair.net.reader(callee, served(id, 0)).items(), 25_600);
        assert_eq!(pair.net.reader(callee, served(id, 1)).items(), 100 * u64::from(CHUNK_OF_BYTES));
        pair.net.answer(callee, id, Ok("".into()));
        pair.nothing_is_left();
    }
}

#[test]
fn a_stream_that_nobody_reads_holds_up_no_other_and_no_call() {
    let mut pair = Pair::remote(5);
    let token = pair.call(&[Flow::Bytes, Flow::Items]);
    let (id, caller, callee) = (pair.incoming().id, pair.caller, pair.callee);
    pair.net.slow_reader(callee, served(id, 0), true);
    for _ in 0..20 {
        pair.net.write(caller, made(token, 0), chunk(1, 64 * 1024, 1));
    }
    pair.net.write(caller, made(token, 1), chunk(2, 1, 3));
    pair.net.settle();
    assert_eq!(pair.net.reader(callee, served(id, 1)).bytes(), [2; 3]);
    let small = pair.call(&[]);
    let other = pair.incoming().id;
    pair.net.answer(callee, other, Ok("quick".into()));
    pair.net.settle();
    assert!(pair.net.result(caller, small).is_ok());
    pair.net.command(caller, daffi_proto::node::Command::Cancel(token));
    pair.net.settle();
    pair.net.answer(callee, id, Ok("".into()));
    pair.nothing_is_left();
}

#[test]
fn while_the_link_is_congested_calls_go_and_streams_wait() {
    let mut pair = Pair::remote(6);
    let token = pair.call(&[Flow::Items]);
    let (id, caller, callee) = (pair.incoming().id, pair.caller, pair.callee);
    pair.net.settle();
    pair.net.node_input(caller, crate::net::congested(true));
    pair.net.write(caller, made(token, 0), chunk(1, 1, 1));
    pair.net.settle();
    assert_eq!(pair.net.reader(callee, served(id, 0)).items(), 0);
    let small = pair.call(&[]);
    let other = pair.incoming().id;
    pair.net.answer(callee, other, Ok("quick".into()));
    pair.net.settle();
    assert!(pair.net.result(caller, small).is_ok());
    pair.net.node_input(caller, crate::net::congested(false));
    pair.net.finish(caller, made(token, 0));
    pair.net.settle();
    assert_eq!(pair.net.reader(callee, served(id, 0)).items(), 1);
    pair.net.answer(callee, id, Ok("".into()));
    pair.nothing_is_left();
}

#[test]
fn a_call_waits_for_its_callback_and_its_first_items_with_it() {
    let mut net = Net::new(7);
    let caller = net.client();
    let request = CallRequest { channels: [Flow::Items].into(), wait_ready: true, ..call(None, SUM) };
    let token = net.call(caller, request);
    net.write(caller, made(token, 0), chunk(1, 2, 2));
    net.write(caller, made(token, 0), chunk(2, 2, 2));
    net.settle();
    assert_eq!(net.writer(caller, made(token, 0)).queue.len(), 1);
    let (callee, process) = holder(&mut net, "late");
    net.settle();
    let mut pair = Pair { net, callee, process, caller };
    let id = pair.incoming().id;
    assert_eq!(pair.net.reader(callee, served(id, 0)).bytes(), [1, 1, 1, 1, 2, 2, 2, 2]);
    pair.net.finish(caller, made(token, 0));
    pair.net.answer(callee, id, Ok("".into()));
    pair.nothing_is_left();
}
