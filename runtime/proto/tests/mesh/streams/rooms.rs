//! Giant items: what is not read stays with whoever writes it, and what is here is counted until its reader is done.

use bytes::Bytes;
use daffi_proto::call::{CallRequest, Mode};
use daffi_proto::error::{CallError, code};
use daffi_proto::frame::{Frame, Header, Side, StreamRef};
use daffi_proto::id::{CallId, ServeId, Token};
use daffi_proto::node::{Command, NodeConfig};
use daffi_proto::session::{PeerIdentity, Role};
use daffi_proto::stream::{Chunk, Flow};

use super::{DONE, Pair, both, nothing_is_left};
use crate::net::{Behaviour, LARGE_BYTES, Net, SUM, call, call_in, chunk, made, name, secs, served, tenant};

const GIANT: usize = 16 * 1024 * 1024;

fn giant() -> Chunk {
    chunk(7, 1, GIANT)
}

#[test]
fn giant_items_on_many_streams_to_a_reader_that_stands_still_stay_with_their_writers() {
    for mut pair in both() {
        let (streams, each) = (64, 3);
        let token = pair.call(&vec![Flow::Items; streams as usize]);
        let (id, caller, callee) = (pair.incoming().id, pair.caller, pair.callee);
        let one = giant();
        for number in 0..streams {
            pair.net.slow_reader(callee, served(id, number), true);
            for _ in 0..each {
                pair.net.write(caller, made(token, number), one.clone());
            }
            pair.net.finish(caller, made(token, number));
        }
        pair.net.settle();
        let items = |pair: &Pair, number| pair.net.reader(callee, served(id, number)).items();
        let there: u64 = (0..streams).map(|number| items(&pair, number)).sum();
        assert_eq!(there, (LARGE_BYTES / GIANT) as u64, "as many as there is room for");
        let counts = pair.net.count(callee);
        assert!(counts.large_bytes > 0 && counts.large_bytes <= LARGE_BYTES as u64, "{counts:?}");
        assert_eq!(counts.stream_bytes, 0, "the readers have them");
        assert!((0..streams).all(|number| pair.net.writer(caller, made(token, number)).ending.is_none()));

        // Small items of another call go on beside them.
        let other = pair.call(&[Flow::Items]);
        let other_id = pair.incoming().id;
        pair.net.write(caller, made(other, 0), chunk(1, 9, 1000));
        pair.net.finish(caller, made(other, 0));
        pair.net.settle();
        assert_eq!(pair.net.reader(callee, served(other_id, 0)).items(), 9);
        pair.net.answer(callee, other_id, Ok("".into()));

        // Each that is read lets the next one in, until all are there.
        for number in 0..streams {
            pair.net.slow_reader(callee, served(id, number), false);
            pair.net.settle();
            assert!(pair.net.count(callee).large_bytes <= LARGE_BYTES as u64);
        }
        for number in 0..streams {
            assert_eq!(items(&pair, number), each, "stream {number}");
            assert_eq!(pair.endings((caller, made(token, number)), (callee, served(id, number))), DONE);
        }
        pair.net.answer(callee, id, Ok("".into()));
        pair.nothing_is_left();
    }
}

#[test]
fn what_a_caller_does_not_read_of_a_result_stays_with_the_callee() {
    for mut pair in both() {
        let token = pair.call(&[]);
        let (id, caller, callee) = (pair.incoming().id, pair.caller, pair.callee);
        let flows = vec![Flow::One; 32];
        pair.net.reply(callee, id, "ok", &flows);
        pair.net.settle();
        let one = giant();
        for number in 0..32 {
            pair.net.slow_reader(caller, made(token, number), true);
            pair.net.write(callee, served(id, number), one.clone());
        }
        pair.net.settle();
        let there: u64 = (0..32).map(|number| pair.net.reader(caller, made(token, number)).items()).sum();
        assert_eq!(there, 4, "clients have room for four payloads of full size");
        // Whoever waits for room and ends is in nobody's way.
        for number in 4..31 {
            pair.net.stop_reading(caller, made(token, number), None);
        }
        pair.net.read(caller, made(token, 0));
        pair.net.settle();
        assert_eq!(pair.net.reader(caller, made(token, 31)).items(), 1);
        pair.net.answer(callee, id, Ok("".into()));
        for number in [1, 2, 3, 31] {
            pair.net.read(caller, made(token, number));
        }
        pair.nothing_is_left();
    }
}

#[test]
fn a_giant_item_counts_until_its_reader_is_done_with_it_whatever_becomes_of_its_stream() {
    for how in ["finished", "failed", "cancelled", "given up", "lost"] {
        let mut pair = Pair::remote(3);
        let token = pair.call(&[Flow::Items]);
        let (id, caller, callee) = (pair.incoming().id, pair.caller, pair.callee);
        pair.net.slow_reader(callee, served(id, 0), true);
        pair.net.write(caller, made(token, 0), giant());
        pair.net.settle();
        match how {
            "finished" => pair.net.finish(caller, made(token, 0)),
            "failed" => pair.net.fail_stream(caller, made(token, 0), CallError::failed(code::TRAP, "it trapped", SUM)),
            "cancelled" => pair.net.stop_reading(callee, served(id, 0), None),
            "given up" => pair.net.command(caller, Command::Cancel(token)),
            _ => pair.net.cut(callee),
        }
        pair.net.settle();
        pair.net.answer(callee, id, Ok("".into()));
        pair.net.settle();
        assert!(pair.net.count(callee).large_bytes > 0, "{how}");
        assert!(pair.net.reader(callee, served(id, 0)).ending.is_none(), "{how}");
        pair.net.read(callee, served(id, 0));
        pair.net.settle();
        assert!(pair.net.reader(callee, served(id, 0)).ending.is_some(), "{how}");
        let counts = pair.net.count(callee);
        assert_eq!((counts.large_bytes, counts.streams, counts.serves), (0, 0, 0), "{how}");
    }
}

#[test]
fn a_peer_that_sends_giant_items_without_asking_or_asks_for_too_much_loses_its_stream() {
    let stream = StreamRef { call: CallId(1), from: Side::Caller, number: 0 };
    let want = |bytes| Frame::new(Header::Want { stream, bytes });
    let unasked = Frame::with_payload(Header::Items { stream, count: 1 }, Bytes::from(vec![1; GIANT]));
    let twice = vec![want(GIANT as u64), want(GIANT as u64)];
    for frames in [vec![unasked], twice, vec![want(1)], vec![want(GIANT as u64 + 1)], vec![want(u64::MAX)]] {
        let mut pair = Pair::remote(4);
        let blocker = pair.call(&[Flow::Items; 4]);
        let (blocked, caller, callee) = (pair.incoming().id, pair.caller, pair.callee);
        for number in 0..4 {
            pair.net.slow_reader(callee, served(blocked, number), true);
            pair.net.write(caller, made(blocker, number), giant());
        }
        pair.net.settle();
        let token = pair.call(&[Flow::Items]);
        let id = pair.incoming().id;
        let relayed = CallId(2);
        for mut frame in frames {
            match &mut frame.header {
                Header::Items { stream, .. } | Header::Want { stream, .. } => stream.call = relayed,
                _ => {}
            }
            pair.net.node_input(callee, crate::net::from_controller(frame));
        }
        pair.net.settle();
        let reader = pair.net.reader(callee, served(id, 0));
        let error = reader.ending.as_ref().and_then(daffi_proto::stream::Ending::error).unwrap();
        assert_eq!((error.code.as_str(), reader.items()), (code::INTERNAL, 0));
        assert!(pair.net.linked(callee));
        assert!(pair.net.count(callee).large_bytes <= LARGE_BYTES as u64);
        for (token, id) in [(token, id), (blocker, blocked)] {
            pair.net.command(caller, Command::Cancel(token));
            pair.net.answer(callee, id, Ok("".into()));
        }
        for number in 0..4 {
            pair.net.read(callee, served(blocked, number));
        }
        pair.nothing_is_left();
    }
}

#[test]
fn who_asks_for_room_and_does_not_send_gives_it_back_and_who_sends_less_loses_the_stream() {
    for sends_less in [false, true] {
        let mut pair = Pair::remote(6);
        let (caller, callee) = (pair.caller, pair.callee);
        let many =
            pair.call_with(CallRequest { channels: [Flow::Items; 4].into(), timeout: secs(3600), ..call(None, SUM) });
        let asks = pair.incoming().id;
        let stream = |number| StreamRef { call: CallId(1), from: Side::Caller, number };
        for number in 0..4 {
            let want = Frame::new(Header::Want { stream: stream(number), bytes: GIANT as u64 });
            pair.net.node_input(callee, crate::net::from_controller(want));
        }
        assert!(pair.net.count(callee).large_bytes > 3 * GIANT as u64);
        // An honest one waits behind it.
        let request = CallRequest { channels: [Flow::Items].into(), timeout: secs(3600), ..call(None, SUM) };
        let token = pair.call_with(request);
        let id = pair.incoming().id;
        pair.net.write(caller, made(token, 0), giant());
        pair.net.run(secs(20));
        assert_eq!(pair.net.reader(callee, served(id, 0)).items(), 0);
        if sends_less {
            for number in 0..4 {
                let header = Header::Items { stream: stream(number), count: 1 };
                let less = Frame::with_payload(header, Bytes::from_static(b"1"));
                pair.net.node_input(callee, crate::net::from_controller(less));
            }
            pair.net.settle();
        } else {
            // So long as a slow link may take for it, and not longer.
            pair.net.run(secs(30 + GIANT as u64 / (64 * 1024)));
        }
        assert_eq!(pair.net.reader(callee, served(id, 0)).items(), 1, "{sends_less}");
        let ending = pair.net.reader(callee, served(asks, 0)).ending.clone().unwrap();
        let code = ending.error().unwrap().code.clone();
        assert_eq!(code, if sends_less { code::INTERNAL } else { code::DEADLINE_EXCEEDED });
        for (token, id) in [(many, asks), (token, id)] {
            pair.net.command(caller, Command::Cancel(token));
            pair.net.answer(callee, id, Ok("".into()));
        }
    }
}

#[test]
fn results_of_items_that_wait_for_readers_who_do_not_read_are_bounded_and_the_next_fails_as_overloaded() {
    let mut pair = Pair::remote(5);
    let (caller, callee) = (pair.caller, pair.callee);
    let result = giant().bytes;
    let mut tokens = Vec::new();
    for _ in 0..12 {
        let token = pair.call_with(CallRequest { mode: Mode::Each, ..call(None, SUM) });
        pair.net.slow_reader(caller, made(token, 0), true);
        pair.net.write(caller, made(token, 0), Chunk { count: 1, bytes: vec![2, 2].into() });
        pair.net.settle();
        let id = pair.incoming().id;
        pair.net.answer(callee, id, Ok(result.clone()));
        pair.net.settle();
        assert!(pair.net.count(callee).result_bytes <= LARGE_BYTES as u64);
        tokens.push(token);
    }
    // Four are at the caller's, who has room for four, and four wait.
    let code = |token| {
        let ending = pair.net.reader(caller, made(token, 0)).ending.as_ref();
        ending.map(|ending| ending.error().unwrap().code)
    };
    let (kept, failed) = tokens.split_at(8);
    assert!(kept.iter().all(|token| code(*token).is_none()));
    assert!(failed.iter().all(|token| code(*token).as_deref() == Some(code::OVERLOADED)));
    for token in &tokens {
        pair.net.slow_reader(caller, made(*token, 0), false);
        pair.net.finish(caller, made(*token, 0));
    }
    pair.net.settle();
    assert!(kept.iter().all(|token| pair.net.reader(caller, made(*token, 0)).bytes().len() == GIANT));
    pair.nothing_is_left();
}

/// A node with processes `a` and `b` of acme, which has this ceiling, and `c` of globex, which has none; and who calls them.
struct OfTenants {
    net: Net,
    node: usize,
    caller: usize,
}

impl OfTenants {
    fn new(seed: u64, most_bytes: usize) -> Self {
        let mut net = Net::new(seed);
        let node = net.runtime("of-tenants", Role::Node, PeerIdentity::Unix { uid: 1, pid: None });
        let (tenants, max_stream_bytes) =
            (vec![tenant("acme"), tenant("globex")], [(tenant("acme"), most_bytes)].into());
        net.replace(node, |config| NodeConfig { tenants, max_stream_bytes, ..config });
        net.dial(node);
        for process in ["acme::a", "acme::b", "globex::c"] {
            let id = net.add(node, process, &[SUM]);
            net.nodes[node].behaviours.insert(id, Behaviour::Hold);
        }
        let caller = net.runtime_of(&["acme", "globex"], Role::Client);
        net.settle();
        Self { net, node, caller }
    }

    fn call(&mut self, process: &str, request: CallRequest) -> Token {
        let of = if process == "c" { "globex" } else { "acme" };
        let caller = call_in(of, SUM).caller;
        let token = self.net.call(self.caller, CallRequest { caller, receiver: Some(name(process)), ..request });
        self.net.settle();
        token
    }

    fn incoming(&self) -> ServeId {
        self.net.nodes[self.node].served.last().unwrap().id
    }

    /// Writes two giant items to each of so many streams, whose reader stands still.
    fn giants(&mut self, process: &str, streams: u32) -> ServeId {
        let token =
            self.call(process, CallRequest { channels: vec![Flow::Items; streams as usize].into(), ..call(None, SUM) });
        let id = self.incoming();
        for number in 0..streams {
            self.net.slow_reader(self.node, served(id, number), true);
            for _ in 0..2 {
                self.net.write(self.caller, made(token, number), giant());
            }
            self.net.finish(self.caller, made(token, number));
        }
        self.net.settle();
        id
    }

    fn read(&mut self, id: ServeId, number: u32) {
        self.net.read(self.node, served(id, number));
        self.net.settle();
    }

    /// How many items were let in, in all of so many streams.
    fn let_in(&self, id: ServeId, streams: u32) -> u64 {
        (0..streams).map(|number| self.net.reader(self.node, served(id, number)).items()).sum()
    }

    /// Reads all of it.
    fn ends(&mut self, id: ServeId, streams: u32) {
        for number in 0..streams {
            self.net.slow_reader(self.node, served(id, number), false);
            self.net.settle();
        }
        assert_eq!(self.let_in(id, streams), 2 * u64::from(streams));
        self.net.answer(self.node, id, Ok("".into()));
        self.net.settle();
    }
}

#[test]
fn processes_of_one_tenant_share_the_room_that_it_has_and_take_turns_where_it_is_full() {
    let mut of = OfTenants::new(6, LARGE_BYTES);
    let (a, b, c) = (of.giants("a", 2), of.giants("b", 4), of.giants("c", 4));
    // Each may have four by itself.
    assert_eq!((of.let_in(a, 2), of.let_in(b, 4), of.let_in(c, 4)), (2, 2, 4));
    // Who waited longest is next, whoever has read.
    of.read(a, 0);
    assert_eq!((of.let_in(a, 2), of.let_in(b, 4)), (2, 3));
    of.read(b, 0);
    assert_eq!((of.let_in(a, 2), of.let_in(b, 4)), (3, 3));
    of.read(a, 1);
    assert_eq!((of.let_in(a, 2), of.let_in(b, 4), of.let_in(c, 4)), (3, 4, 4));
    for (id, streams) in [(b, 4), (a, 2), (c, 4)] {
        of.ends(id, streams);
    }
    nothing_is_left(&of.net);
}

#[test]
fn an_item_that_is_larger_than_its_tenants_room_goes_alone_and_who_has_ended_is_in_nobodys_way() {
    let mut of = OfTenants::new(7, GIANT / 16);
    let (a, b, gone) = (of.giants("a", 1), of.giants("b", 1), of.giants("b", 1));
    assert_eq!((of.let_in(a, 1), of.let_in(b, 1), of.let_in(gone, 1)), (1, 0, 0));
    of.net.stop_reading(of.node, served(b, 0), None);
    of.net.settle();
    of.read(a, 0);
    assert_eq!((of.let_in(a, 1), of.let_in(gone, 1)), (1, 1), "the next in line is the other process's");
    of.net.answer(of.node, b, Ok("".into()));
    of.net.slow_reader(of.node, served(a, 0), false);
    of.ends(gone, 1);
    of.ends(a, 1);
    nothing_is_left(&of.net);
}

#[test]
fn results_of_items_that_wait_for_readers_are_bounded_for_all_processes_of_a_tenant() {
    let mut of = OfTenants::new(8, 2 * GIANT);
    let result = giant().bytes;
    let mut each = |process: &str| {
        let token = of.call(process, CallRequest { mode: Mode::Each, ..call(None, SUM) });
        of.net.slow_reader(of.caller, made(token, 0), true);
        of.net.write(of.caller, made(token, 0), Chunk { count: 1, bytes: vec![2, 2].into() });
        of.net.settle();
        let id = of.incoming();
        of.net.answer(of.node, id, Ok(result.clone()));
        of.net.settle();
        token
    };
    // Four are at the caller's, who has room for four, and of those that wait the tenant has room for two.
    let tokens: Vec<Token> = ["a", "b", "a", "b", "a", "b", "a", "b", "c"].into_iter().map(&mut each).collect();
    let error = |token: &Token| of.net.reader(of.caller, made(*token, 0)).ending.as_ref()?.error();
    let (kept, failed) = (tokens.iter().filter(|token| error(token).is_none()), tokens.iter().filter_map(error));
    assert_eq!(kept.count(), 7);
    for error in failed {
        assert_eq!(error.code, code::OVERLOADED);
        assert!(error.message.contains("tenant acme") && error.message.contains("max-stream-bytes"), "{error}");
    }
    for token in &tokens {
        of.net.slow_reader(of.caller, made(*token, 0), false);
        of.net.finish(of.caller, made(*token, 0));
    }
    of.net.settle();
    nothing_is_left(&of.net);
}
