//! Direct links: which calls take them, what a visitor may do, and what is left when one ends.

mod broadcasts;
mod certificates;
mod choices;
mod peers;

use bytes::Bytes;
use daffi_proto::call::{Answer, CallRequest, Hop, Mode};
use daffi_proto::error::{Outcome, code};
use daffi_proto::frame::{Frame, Header, Target};
use daffi_proto::id::{CallId, EntryId, LocalId, NodeKey, ProcessRef, RepeatKey, SessionId, Ticket};
use daffi_proto::node::{Command, ROAD_IDLE, ROAD_PATIENCE, ROAD_PAUSE, Via};
use daffi_proto::session::{HANDSHAKE_TIMEOUT, PROTOCOL_VERSION};
use daffi_proto::stream::{Ending, Flow};

use crate::net::{Behaviour, Net, SUM, call, chunk, made, ms, name, process, secs, served};

/// A publisher and a consumer whose nodes can reach each other.
struct Pair {
    net: Net,
    publisher: usize,
    math: LocalId,
    consumer: usize,
    main: LocalId,
}

impl Pair {
    fn new(seed: u64) -> Self {
        let mut net = Net::new(seed);
        net.direct = true;
        let (publisher, math) = net.member("publisher", &[SUM]);
        let (consumer, main) = net.member("consumer", &[]);
        Self { net, publisher, math, consumer, main }
    }

    fn does(&mut self, behaviour: Behaviour) {
        self.net.nodes[self.publisher].behaviours.insert(self.math, behaviour);
    }

    fn call(&mut self) -> daffi_proto::id::Token {
        self.net.call(self.consumer, call(Some(self.main), SUM))
    }

    /// A link that is open, over which one call went.
    fn open(seed: u64) -> Self {
        let mut pair = Self::new(seed);
        let token = pair.call();
        pair.net.settle();
        assert!(pair.net.result(pair.consumer, token).is_ok());
        assert_eq!(pair.directs(), (1, 1));
        pair
    }

    fn directs(&self) -> (usize, usize) {
        (self.net.count(self.consumer).directs.0, self.net.count(self.publisher).directs.1)
    }

    /// Lets so many calls end well, and tells how many frames of them took a direct link.
    fn directly(&mut self) -> u64 {
        let before = self.net.frames_sent_directly;
        let token = self.call();
        self.net.settle();
        assert!(self.net.result(self.consumer, token).is_ok());
        self.net.frames_sent_directly - before
    }

    /// The publisher's end.
    fn visit(&self) -> (usize, Via) {
        self.net.directs_of(self.publisher)[0]
    }

    /// A call over a direct link in the name of this process.
    fn header_of(id: u64, caller: Option<ProcessRef>) -> Header {
        Header::Call {
            id: CallId(id),
            target: Target::Direct(EntryId(1), 0),
            timeout_ms: 10_000,
            chain: [Hop { process: caller, instance: 0 }].into(),
            answer: Answer::Result,
            mode: Mode::Whole,
            channels: [].into(),
            key: None,
        }
    }
}

#[test]
fn the_first_call_opens_a_direct_link_and_none_of_them_passes_the_controller() {
    let mut pair = Pair::open(1);
    pair.does(Behaviour::Hold);
    let token = pair.call();
    pair.net.settle();
    let controller = pair.net.controller.as_ref().unwrap();
    assert_eq!(controller.counts().relays, 0);
    assert_eq!(pair.net.nodes[pair.publisher].served.len(), 2);
    let incoming = pair.net.nodes[pair.publisher].served[1].clone();
    assert_eq!((incoming.caller, incoming.callback), (Some(process("consumer")), 0));
    // It counts as in flight, as the controller is told.
    pair.net.run(ms(300));
    assert_eq!(pair.net.controller.as_ref().unwrap().in_flight(&process("publisher")), Some((0, 1)));
    pair.net.answer(pair.publisher, incoming.id, Ok(Bytes::from_static(b"done")));
    pair.net.settle();
    let reply = pair.net.result(pair.consumer, token).as_ref().unwrap();
    assert_eq!((&reply.result[..], reply.process.as_str()), (&b"done"[..], "publisher"));
    pair.does(Behaviour::Echo(ms(0)));
    assert_eq!(pair.directly(), 2);
}

#[test]
fn calls_keep_their_order_while_the_link_is_opened() {
    for seed in 0..50 {
        let mut pair = Pair::new(seed);
        for number in 0..40u8 {
            let args = Bytes::copy_from_slice(&[number]);
            let answer = [Answer::Result, Answer::Accepted, Answer::Sent][usize::from(number) % 3];
            pair.net.call(pair.consumer, CallRequest { args, answer, ..call(Some(pair.main), SUM) });
            pair.net.run(ms(u64::from(number % 4)));
        }
        pair.net.settle();
        let order: Vec<u8> = pair.net.nodes[pair.publisher].served.iter().map(|incoming| incoming.args[0]).collect();
        assert_eq!(order, (0..40).collect::<Vec<u8>>(), "seed {seed}");
        assert_eq!(pair.net.controller.as_ref().unwrap().counts().relays, 0);
    }
}

#[test]
fn where_a_node_is_not_reached_its_calls_go_by_the_controller_and_it_is_tried_again_after_a_pause() {
    let mut pair = Pair::new(3);
    pair.net.unreachable = true;
    assert_eq!(pair.directly(), 0);
    pair.net.unreachable = false;
    assert_eq!(pair.directly(), 0);
    assert_eq!(pair.directs(), (0, 0));
    pair.net.run(ROAD_PAUSE);
    assert!(pair.directly() > 2);
    assert_eq!(pair.directs(), (1, 1));
}

#[test]
fn a_node_that_does_not_answer_holds_a_call_up_for_a_moment_only() {
    let mut pair = Pair::new(4);
    // Its frames to the controller are swallowed: it hears of no visitor.
    pair.net.silence(pair.publisher);
    let token = pair.call();
    pair.net.run(ROAD_PATIENCE * 2 + ms(50));
    let counts = pair.net.count(pair.consumer);
    assert_eq!((counts.waiting, counts.away), (0, 1), "it waits for the answer by the controller");
    assert!(!pair.net.nodes[pair.consumer].calls.contains_key(&token));
    // One with little time does not wait at all.
    let mut pair = Pair::new(5);
    pair.net.call(pair.consumer, CallRequest { timeout: ms(3000), ..call(Some(pair.main), SUM) });
    assert_eq!(pair.net.count(pair.consumer).away, 1);
}

#[test]
fn a_direct_link_that_breaks_ends_its_calls_and_the_next_ones_go_by_the_controller() {
    let mut pair = Pair::open(6);
    pair.does(Behaviour::Hold);
    let token = pair.call();
    pair.net.settle();
    pair.net.cut_directs(pair.consumer);
    pair.net.settle();
    let error = pair.net.error(pair.consumer, token);
    assert_eq!((error.outcome, error.code.as_str()), (Outcome::Unknown, code::LINK_LOST));
    assert!(error.message.contains("the link to the callback's node broke"), "{}", error.message);
    assert_eq!(pair.net.nodes[pair.publisher].cancelled.len(), 1);
    assert_eq!(pair.directs(), (0, 0));
    pair.does(Behaviour::Echo(ms(0)));
    assert_eq!(pair.directly(), 0);
    pair.net.run(ROAD_PAUSE);
    assert!(pair.directly() > 2);
}

#[test]
fn a_call_that_may_run_twice_finds_its_run_again_by_the_controller_when_the_direct_link_breaks() {
    let mut pair = Pair::open(7);
    pair.does(Behaviour::Hold);
    let retry = daffi_proto::call::Retry { attempts: 3, idempotent: true, ..daffi_proto::call::Retry::NEVER };
    let token = pair.net.call(pair.consumer, CallRequest { retry, ..call(Some(pair.main), SUM) });
    pair.net.settle();
    pair.net.cut_directs(pair.consumer);
    pair.net.run(secs(1));
    let served = &pair.net.nodes[pair.publisher].served;
    assert_eq!(served.len(), 2, "the one that opened the link, and this one once");
    let id = served[1].id;
    pair.net.answer(pair.publisher, id, Ok(Bytes::from_static(b"once")));
    pair.net.settle();
    assert_eq!(&pair.net.result(pair.consumer, token).as_ref().unwrap().result[..], b"once");
}

#[test]
fn calls_in_flight_over_a_direct_link_outlive_the_controller() {
    let mut pair = Pair::open(8);
    pair.does(Behaviour::Hold);
    let token = pair.call();
    pair.net.settle();
    pair.net.kill_controller();
    pair.net.run(secs(1));
    let id = pair.net.nodes[pair.publisher].served[1].id;
    assert!(pair.net.nodes[pair.publisher].cancelled.is_empty());
    pair.net.answer(pair.publisher, id, Ok(Bytes::from_static(b"done")));
    pair.net.settle();
    assert!(pair.net.result(pair.consumer, token).is_ok());
    // Nobody vouches for anybody any more, and the links end.
    pair.net.run(secs(10));
    assert_eq!(pair.directs(), (0, 0));
    pair.net.start_controller();
    pair.net.run(secs(10));
    pair.does(Behaviour::Echo(ms(0)));
    assert!(pair.directly() > 2);
}

#[test]
fn a_link_over_which_nothing_goes_is_closed_and_opened_again_when_it_is_needed() {
    let mut pair = Pair::open(9);
    pair.net.run(ROAD_IDLE / 2);
    assert_eq!(pair.directly(), 2);
    pair.net.run(ROAD_IDLE + secs(10));
    assert_eq!(pair.directs(), (0, 0));
    assert!(pair.directly() > 2);
    // A long call keeps it.
    pair.does(Behaviour::Hold);
    pair.net.call(pair.consumer, CallRequest { timeout: secs(600), ..call(Some(pair.main), SUM) });
    pair.net.run(ROAD_IDLE * 3);
    assert_eq!(pair.directs(), (1, 1));
}

#[test]
fn processes_that_come_later_take_the_link_and_those_that_leave_make_no_more_calls() {
    let mut pair = Pair::open(10);
    let late = pair.net.add(pair.consumer, "late", &[]);
    pair.net.settle();
    let before = pair.net.frames_sent_directly;
    let token = pair.net.call(pair.consumer, call(Some(late), SUM));
    pair.net.settle();
    assert!(pair.net.result(pair.consumer, token).is_ok());
    assert_eq!(pair.net.frames_sent_directly - before, 2);
    pair.net.command(pair.consumer, Command::RemoveProcess(late));
    pair.net.settle();
    let header = Pair::header_of(1000, Some(process("late")));
    let visit = pair.visit();
    pair.net.forge_directly(visit, Frame::new(header));
    let log = pair.net.nodes[pair.publisher].log.last().unwrap();
    assert!(log.ends_with("a call in the name of the process late, which consumer has not"), "{log}");
}

#[test]
fn calls_of_clients_and_to_other_tenants_go_by_the_controller() {
    let mut pair = Pair::open(11);
    let client = pair.net.client();
    let before = pair.net.frames_sent_directly;
    let token = pair.net.call(client, call(None, SUM));
    pair.net.settle();
    assert!(pair.net.result(client, token).is_ok());
    assert_eq!(pair.net.frames_sent_directly, before);
    assert_eq!(pair.net.count(client).directs, (0, 0));
}

#[test]
fn a_receiver_that_has_just_left_is_passed_over_by_the_controller() {
    let mut pair = Pair::open(12);
    let (other, _) = pair.net.member("other", &[SUM]);
    // The consumer's replica does not know yet.
    pair.net.silence(pair.consumer);
    pair.net.command(pair.publisher, Command::RemoveProcess(pair.math));
    let receivers: Vec<usize> = (0..2)
        .map(|_| {
            let token = pair.call();
            pair.net.run(ms(100));
            usize::from(pair.net.nodes[pair.consumer].calls.contains_key(&token))
        })
        .collect();
    assert!(receivers.iter().sum::<usize>() <= 1 && pair.net.count(other).serves == 0);
    assert!(pair.net.nodes[pair.consumer].calls.values().all(Result::is_ok), "none fails for that");
}

#[test]
fn streams_flow_over_a_direct_link_both_ways() {
    let mut pair = Pair::open(13);
    pair.does(Behaviour::Hold);
    let request = CallRequest { channels: [Flow::Items].into(), ..call(Some(pair.main), SUM) };
    let token = pair.net.call(pair.consumer, request);
    pair.net.write(pair.consumer, made(token, 0), chunk(7, 10, 100));
    pair.net.finish(pair.consumer, made(token, 0));
    pair.net.settle();
    let incoming = pair.net.nodes[pair.publisher].served.last().unwrap().clone();
    assert_eq!(pair.net.reader(pair.publisher, served(incoming.id, 0)).items(), 10);
    assert_eq!(pair.net.writer(pair.consumer, made(token, 0)).ending, Some(Ending::Finished));
    pair.net.answer(pair.publisher, incoming.id, Ok(Bytes::from_static(b"read")));
    pair.net.settle();
    assert!(pair.net.result(pair.consumer, token).is_ok());
    assert_eq!(pair.net.controller.as_ref().unwrap().counts().streams, 0);
    // And end with it.
    let request = CallRequest { channels: [Flow::Items].into(), ..call(Some(pair.main), SUM) };
    let token = pair.net.call(pair.consumer, request);
    pair.net.write(pair.consumer, made(token, 0), chunk(7, 10, 100));
    pair.net.settle();
    pair.net.cut_directs(pair.publisher);
    pair.net.settle();
    assert_eq!(pair.net.error(pair.consumer, token).code, code::LINK_LOST);
    assert_eq!(pair.net.writer(pair.consumer, made(token, 0)).ending, Some(Ending::Lost));
}

#[test]
fn a_full_direct_link_refuses_calls_and_streams_as_the_controllers_does() {
    let mut pair = Pair::open(14);
    pair.net.fill_directs(pair.consumer, true);
    let token = pair.call();
    pair.net.settle();
    let error = pair.net.error(pair.consumer, token);
    assert_eq!((error.outcome, error.code.as_str()), (Outcome::NotRun, code::OVERLOADED));
    assert!(error.message.contains("the link to the callback's node is full"), "{}", error.message);
    pair.net.fill_directs(pair.consumer, false);
    assert_eq!(pair.directly(), 2);
}

#[test]
fn a_pinned_call_and_the_parts_of_a_broadcast_take_the_link_that_there_is() {
    let mut pair = Pair::open(19);
    let before = pair.net.frames_sent_directly;
    let request = CallRequest { receiver: Some(name("publisher")), ..call(Some(pair.main), SUM) };
    let token = pair.net.call(pair.consumer, request);
    pair.net.settle();
    assert!(pair.net.result(pair.consumer, token).is_ok());
    let request = daffi_proto::call::GatherRequest {
        call: call(Some(pair.main), SUM),
        need: daffi_proto::call::Need::All,
        stall: None,
    };
    let token = pair.net.gather(pair.consumer, request);
    pair.net.settle();
    assert_eq!(pair.net.nodes[pair.consumer].entries[&token].len(), 1);
    assert_eq!(pair.net.frames_sent_directly - before, 4);
}

#[test]
fn a_call_that_waited_for_the_way_to_somebody_who_has_gone_is_served_by_the_next_one() {
    for seed in 0..20 {
        let mut pair = Pair::new(seed);
        let token = pair.net.call(pair.consumer, CallRequest { wait_ready: true, ..call(Some(pair.main), SUM) });
        pair.net.command(pair.publisher, Command::Leave);
        pair.net.run(ROAD_PATIENCE * 2);
        if pair.net.nodes[pair.consumer].calls.contains_key(&token) {
            // It was on its way already.
            continue;
        }
        assert_eq!(pair.net.count(pair.consumer).waiting, 1, "seed {seed}");
        pair.net.member("other", &[SUM]);
        pair.net.settle();
        assert!(pair.net.result(pair.consumer, token).is_ok(), "seed {seed}");
    }
}
