//! What is too much or makes no sense is refused, and costs nobody else anything.

use daffi_proto::call::{Answer, CallRequest, GatherRequest, Mode, Need};
use daffi_proto::controller::{Controller, ControllerConfig, MAX_STREAMS_PER_LINK};
use daffi_proto::error::{CallError, Outcome, code};
use daffi_proto::frame::{Frame, Header, LastWord, Side, StreamRef};
use daffi_proto::id::CallId;
use daffi_proto::node::{MAX_STREAM_BYTES, MAX_STREAMS, NodeConfig};
use daffi_proto::session::{PeerIdentity, Role};
use daffi_proto::stream::{CHUNK_BYTES, CHUNK_OF_BYTES, Credit, Ending, Flow};
use daffi_proto::value::MAX_CHANNELS;

use super::Pair;
use crate::net::{Behaviour, Net, SUM, call, chunk, made, served};

fn refusal(pair: &Pair, token: daffi_proto::id::Token) -> (Outcome, String) {
    let error = pair.net.error(pair.caller, token);
    (error.outcome, error.code.clone())
}

fn refused(code: &str) -> (Outcome, String) {
    (Outcome::NotRun, code.to_owned())
}

#[test]
fn more_streams_than_a_call_or_a_link_has_are_overloaded() {
    let mut pair = Pair::remote(1);
    let token = pair.call(&vec![Flow::Items; MAX_CHANNELS as usize + 1]);
    assert_eq!(refusal(&pair, token), refused(code::OVERLOADED));
    let all = vec![Flow::Items; MAX_CHANNELS as usize];
    let calls = MAX_STREAMS_PER_LINK / all.len();
    const { assert!(MAX_STREAMS > MAX_STREAMS_PER_LINK) };
    let mut tokens: Vec<_> = (0..calls).map(|_| pair.call(&all)).collect();
    assert!(tokens.iter().all(|token| !pair.net.nodes[pair.caller].calls.contains_key(token)));
    let token = pair.call(&[Flow::Items]);
    assert_eq!(refusal(&pair, token), refused(code::OVERLOADED));
    // One gone, and there is room.
    let id = pair.net.nodes[pair.callee].served[0].id;
    pair.net.answer(pair.callee, id, Err(CallError::failed(code::TRAP, "it trapped", SUM)));
    pair.net.settle();
    tokens.push(pair.call(&[Flow::Items]));
    for token in tokens.split_off(1) {
        assert!(!pair.net.nodes[pair.caller].calls.contains_key(&token));
        pair.net.command(pair.caller, daffi_proto::node::Command::Cancel(token));
    }
    pair.net.settle();
    for incoming in pair.net.nodes[pair.callee].served.clone() {
        pair.net.answer(pair.callee, incoming.id, Ok("".into()));
    }
    pair.nothing_is_left();
}

#[test]
fn a_process_has_no_more_streams_of_calls_once_an_item_than_it_may_whoever_makes_them() {
    for at_home in [false, true] {
        let mut net = Net::new(3);
        net.max_streams = 4;
        let (callee, process) = net.member("publisher", &[SUM]);
        net.nodes[callee].behaviours.insert(process, Behaviour::Hold);
        let caller = if at_home { callee } else { net.client() };
        let make = |net: &mut Net| {
            let token = net.call(caller, CallRequest { mode: Mode::Each, ..call(None, SUM) });
            net.settle();
            token
        };
        let (first, _, third) = (make(&mut net), make(&mut net), make(&mut net));
        let error = net.error(caller, third).clone();
        assert_eq!((error.outcome, error.code.as_str()), (Outcome::NotRun, code::OVERLOADED), "{at_home}");
        assert!(error.message.contains("\"publisher\" may have 4 streams open"), "{}", error.message);
        // One gone, and there is room.
        net.finish(caller, made(first, 0));
        net.settle();
        let token = make(&mut net);
        assert!(net.result(caller, token).is_ok(), "{at_home}");
    }
}

#[test]
fn streams_whose_items_find_no_room_are_cancelled_as_overloaded() {
    let mut pair = Pair::local(2);
    let (flows, full) = (vec![Flow::Items; MAX_CHANNELS as usize], chunk(1, 1, CHUNK_BYTES as usize));
    // One chunk is at the reader's, and three of the window's four wait.
    let waiting = 3 * CHUNK_BYTES as usize;
    let calls: Vec<_> = (0..=MAX_STREAM_BYTES / waiting / flows.len())
        .map(|_| {
            let token = pair.call(&flows);
            let id = pair.incoming().id;
            for number in 0..flows.len() as u32 {
                pair.net.slow_reader(pair.callee, served(id, number), true);
                for _ in 0..6 {
                    pair.net.write(pair.caller, made(token, number), full.clone());
                }
            }
            pair.net.settle();
            assert!(pair.net.count(pair.callee).stream_bytes <= MAX_STREAM_BYTES);
            (token, id)
        })
        .collect();
    let numbers = || 0..flows.len() as u32;
    let endings = calls.iter().flat_map(|(token, _)| numbers().map(|number| made(*token, number)));
    let endings = endings.filter_map(|stream| pair.net.writer(pair.caller, stream).ending.as_ref());
    let codes: Vec<String> = endings.map(|ending| ending.error().unwrap().code).collect();
    assert!(!codes.is_empty() && codes.len() < flows.len() && codes.iter().all(|one| one == code::OVERLOADED));
    for (token, id) in calls {
        pair.net.command(pair.caller, daffi_proto::node::Command::Cancel(token));
        pair.net.answer(pair.callee, id, Ok("".into()));
    }
    pair.nothing_is_left();
}

#[test]
fn an_item_over_the_payload_limit_fails_its_stream_alone() {
    let mut pair = Pair::remote(3);
    let token = pair.call(&[Flow::Items, Flow::Items]);
    let (id, caller, callee) = (pair.incoming().id, pair.caller, pair.callee);
    pair.net.write(caller, made(token, 0), chunk(1, 1, 16 * 1024 * 1024 + 1));
    pair.net.write(caller, made(token, 1), chunk(2, 1, 16 * 1024 * 1024));
    pair.net.settle();
    for ending in [&pair.net.writer(caller, made(token, 0)).ending, &pair.net.reader(callee, served(id, 0)).ending] {
        assert_eq!(ending.as_ref().unwrap().error().unwrap().code, code::PAYLOAD_TOO_LARGE);
    }
    assert_eq!(pair.net.reader(callee, served(id, 1)).items(), 1);
    pair.net.finish(caller, made(token, 1));
    pair.net.answer(callee, id, Ok("".into()));
    pair.nothing_is_left();
}

#[test]
fn a_limit_of_payloads_below_a_chunk_holds_for_an_item_and_not_for_those_that_go_together() {
    // That of the reader's node, which the controller minds; that of the controller, which the writer's node minds.
    for at_the_reader in [true, false] {
        let mut net = Net::new(4);
        if !at_the_reader {
            let mut config = ControllerConfig::new(4);
            config.max_payload_bytes = 1000;
            net.controller = Some(Controller::new(config));
        }
        let callee = net.runtime("publisher", Role::Node, PeerIdentity::Unix { uid: 1, pid: None });
        if at_the_reader {
            net.replace(callee, |config| NodeConfig { max_payload_bytes: 1000, ..config });
        }
        let process = net.add(callee, "publisher", &[SUM]);
        net.nodes[callee].behaviours.insert(process, Behaviour::Hold);
        net.dial(callee);
        net.settle();
        let caller = net.client();
        let mut pair = Pair { net, callee, process, caller };
        let token = pair.call(&[Flow::Items, Flow::Bytes]);
        let id = pair.incoming().id;
        for _ in 0..3 {
            pair.net.write(caller, made(token, 0), chunk(1, 60, 1000));
            pair.net.write(caller, made(token, 1), chunk(2, CHUNK_OF_BYTES, 1));
        }
        pair.net.write(caller, made(token, 0), chunk(3, 1, 1000));
        pair.net.settle();
        assert_eq!(pair.net.reader(callee, served(id, 0)).items(), 181);
        assert_eq!(pair.net.reader(callee, served(id, 1)).items(), 3 * u64::from(CHUNK_OF_BYTES));
        pair.net.write(caller, made(token, 0), chunk(4, 1, 1001));
        pair.net.settle();
        let ending = pair.net.writer(caller, made(token, 0)).ending.as_ref().and_then(Ending::error);
        assert_eq!(ending.unwrap().code, code::PAYLOAD_TOO_LARGE);
        assert_eq!(pair.net.reader(callee, served(id, 0)).items(), 181);
        pair.net.command(caller, daffi_proto::node::Command::Cancel(token));
        pair.net.answer(callee, id, Ok("".into()));
        pair.nothing_is_left();
    }
}

#[test]
fn a_call_that_waits_for_no_result_and_a_broadcast_have_no_streams() {
    let mut pair = Pair::remote(4);
    for answer in [Answer::Accepted, Answer::Sent] {
        for mode in [Mode::Whole, Mode::Each] {
            let token = pair.call_with(CallRequest { answer, mode, channels: [Flow::One].into(), ..call(None, SUM) });
            assert_eq!(refusal(&pair, token), refused(code::BAD_ARGUMENTS));
        }
    }
    let request = CallRequest { channels: [Flow::One].into(), ..call(None, SUM) };
    let token = pair.net.gather(pair.caller, GatherRequest { call: request, need: Need::All, stall: None });
    assert_eq!(pair.net.nodes[pair.caller].gathers[&token].as_ref().unwrap_err().code, code::BAD_ARGUMENTS);
    // And what a callback streams to a broadcast is an error entry.
    let request = GatherRequest { call: call(None, SUM), need: Need::All, stall: None };
    let token = pair.net.gather(pair.caller, request);
    pair.net.settle();
    let id = pair.incoming().id;
    pair.net.reply(pair.callee, id, "ok", &[Flow::Items]);
    pair.net.settle();
    let entry = &pair.net.nodes[pair.caller].entries[&token][0];
    assert_eq!(entry.result.as_ref().unwrap_err().code, code::SIGNATURE_MISMATCH);
    pair.net.answer(pair.callee, id, Ok("".into()));
    pair.nothing_is_left();
}

#[test]
fn a_link_that_has_no_room_for_items_costs_their_call_and_not_the_link() {
    let mut pair = Pair::remote(5);
    let token = pair.call(&[Flow::Items]);
    let (id, caller, callee) = (pair.incoming().id, pair.caller, pair.callee);
    pair.net.fill(callee, true);
    pair.net.write(caller, made(token, 0), chunk(1, 1, 1));
    pair.net.settle();
    assert_eq!(pair.net.error(caller, token).code, code::OVERLOADED);
    assert_eq!(pair.net.nodes[callee].cancelled, [id]);
    pair.net.fill(callee, false);
    pair.net.answer(callee, id, Ok("".into()));
    pair.nothing_is_left();

    let token = pair.call(&[Flow::Items]);
    let id = pair.incoming().id;
    pair.net.fill(caller, true);
    pair.net.write(caller, made(token, 0), chunk(1, 1, 1));
    pair.net.fill(caller, false);
    pair.net.settle();
    assert_eq!(pair.net.error(caller, token).code, code::OVERLOADED);
    assert_eq!(pair.net.nodes[callee].cancelled.last(), Some(&id));
    pair.net.answer(callee, id, Ok("".into()));
    pair.nothing_is_left();
    assert!(pair.net.closed.is_empty());
}

#[test]
fn no_word_of_a_stream_costs_the_link_that_is_too_full_for_it() {
    for (is_answered, says) in [(false, 0), (false, 1), (true, 0), (true, 1), (true, 2), (true, 3)] {
        for at_the_speaker in [true, false] {
            let mut pair = Pair::remote(8);
            let token = pair.call(&[Flow::Items]);
            let (id, caller, callee) = (pair.incoming().id, pair.caller, pair.callee);
            if is_answered {
                pair.net.reply(callee, id, "ok", &[Flow::Items]);
                pair.net.settle();
            }
            let (speaker, listener) = if says % 2 == 0 { (caller, callee) } else { (callee, caller) };
            let full = if at_the_speaker { speaker } else { listener };
            pair.net.fill(full, true);
            match says {
                0 => pair.net.finish(caller, made(token, 0)),
                1 => pair.net.stop_reading(callee, served(id, 0), None),
                2 => pair.net.stop_reading(caller, made(token, 0), None),
                _ => pair.net.finish(callee, served(id, 0)),
            }
            pair.net.settle();
            pair.net.fill(full, false);
            assert!(pair.net.closed.is_empty() && pair.net.linked(caller) && pair.net.linked(callee));
            if !is_answered {
                assert_eq!(pair.net.error(caller, token).code, code::OVERLOADED);
            }
            pair.net.answer(callee, id, Ok("".into()));
            pair.nothing_is_left();
            // The link is as good as before.
            let next = pair.call(&[]);
            let next_id = pair.incoming().id;
            pair.net.answer(callee, next_id, Ok("".into()));
            pair.net.settle();
            assert!(pair.net.result(caller, next).is_ok());
        }
    }
}

#[test]
fn who_goes_on_after_his_last_word_or_speaks_of_no_stream_of_the_call_loses_his_own_link() {
    let stream = |number| StreamRef { call: CallId(1), from: Side::Caller, number };
    let end = Header::End { stream: stream(0), last: LastWord::Finished };
    let items = Header::Items { stream: stream(0), count: 1 };
    let (halt, done) = (Header::Halt { stream: stream(0) }, Header::Done { stream: stream(0) });
    let grant = Header::Grant { stream: stream(0), total: Credit { items: 9, bytes: 9 } };
    let unknown = Header::Halt { stream: stream(1) };
    let talks = [vec![end.clone(), end.clone()], vec![end, items], vec![halt.clone(), done.clone()]];
    for talk in talks.into_iter().chain([vec![done, grant], vec![halt.clone(), halt], vec![unknown]]) {
        let mut pair = Pair::remote(9);
        pair.call(&[Flow::Items]);
        let (id, callee) = (pair.incoming().id, pair.callee);
        pair.net.reply(callee, id, "ok", &[Flow::Items]);
        pair.net.settle();
        let link = pair.net.link_of(pair.caller);
        for header in &talk {
            assert!(pair.net.closed.is_empty(), "{:?}", pair.net.closed);
            pair.net.forge(link, Frame::new(header.clone()));
        }
        assert_eq!(pair.net.closed.len(), 1, "{talk:?}");
        pair.net.settle();
        assert!(pair.net.linked(callee));
        assert_eq!(pair.net.nodes[callee].cancelled, [id]);
        pair.net.answer(callee, id, Ok("".into()));
        pair.net.run(crate::net::secs(5));
        pair.nothing_is_left();
    }
}

#[test]
fn a_peer_that_breaks_the_rules_costs_its_own_streams_and_nobody_his_link() {
    let stream = |number| StreamRef { call: CallId(1), from: Side::Caller, number };
    let items = |number, count, bytes: usize| {
        Frame::with_payload(Header::Items { stream: stream(number), count }, vec![1; bytes].into())
    };
    let garbled = Frame::with_payload(Header::End { stream: stream(0), last: LastWord::Failed }, vec![0xff].into());
    for frame in [items(0, 9, 2), items(0, 1024, 2048), items(7, 1, 1), items(0, 1, 1024 * 1024), garbled] {
        let mut pair = Pair::remote(6);
        let token = pair.call(&[Flow::Items]);
        let (id, caller, callee) = (pair.incoming().id, pair.caller, pair.callee);
        pair.net.node_input(callee, crate::net::from_controller(frame));
        pair.net.settle();
        let told = pair.net.reader(callee, served(id, 0)).ending.as_ref().and_then(Ending::error);
        let error = told.unwrap();
        assert_eq!(error.code, code::INTERNAL);
        let ending = pair.net.writer(caller, made(token, 0)).ending.as_ref();
        assert!(ending.is_none() || ending.unwrap().error().unwrap() == error);
        assert!(pair.net.linked(callee));
        pair.net.command(caller, daffi_proto::node::Command::Cancel(token));
        pair.net.answer(callee, id, Ok("".into()));
        pair.nothing_is_left();
    }
}

#[test]
fn the_controller_closes_the_link_of_who_speaks_of_calls_that_were_never_made_or_not_given_to_it() {
    let mut pair = Pair::remote(7);
    let token = pair.call(&[Flow::Items]);
    let id = pair.incoming().id;
    for (from, call) in [(Side::Caller, 900), (Side::Callee, 900), (Side::Callee, 1)] {
        let other = pair.net.client();
        let link = pair.net.link_of(other);
        let total = Credit { items: 1, bytes: 1 };
        let stream = StreamRef { call: CallId(call), from, number: 0 };
        pair.net.forge(link, Frame::new(Header::Grant { stream, total }));
        assert!(pair.net.closed.last().unwrap().contains("a stream of the call"), "{:?}", pair.net.closed);
    }
    assert_eq!(pair.net.closed.len(), 3);
    let link = pair.net.link_of(pair.caller);
    let garbled = Header::Halt { stream: StreamRef { call: CallId(1), from: Side::Caller, number: 0 } };
    pair.net.forge(link, Frame::with_payload(garbled, vec![0xff].into()));
    assert!(pair.net.closed.last().unwrap().contains("Halt"), "{:?}", pair.net.closed);
    pair.net.settle();
    let _ = token;
    pair.net.answer(pair.callee, id, Ok("".into()));
    pair.net.run(crate::net::secs(5));
    pair.nothing_is_left();
}
