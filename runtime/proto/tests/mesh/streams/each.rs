//! Callbacks without streams that are called once an item.

use std::sync::Arc;

use daffi_proto::call::{CallRequest, Mode};
use daffi_proto::error::{CallError, Outcome, code};
use daffi_proto::id::{ServeId, Token};
use daffi_proto::node::{Command, NodeConfig};
use daffi_proto::session::{PeerIdentity, Role};
use daffi_proto::signature::{SignatureBuilder, Type};
use daffi_proto::stream::{Chunk, Ending, Flow};
use daffi_proto::value::UNIT_ITEM;

use super::{DONE, Pair, both};
use crate::net::{Behaviour, Net, SUM, call, callback, made, ms, secs};

fn request() -> CallRequest {
    CallRequest { mode: Mode::Each, ..call(None, SUM) }
}

/// The items of so many calls of `sum`, each with its number twice.
fn sums(first: i64, count: u32) -> Chunk {
    let items = (first..first + i64::from(count)).map(|number| postcard_of(&(number, number)));
    Chunk { count, bytes: items.flatten().collect::<Vec<u8>>().into() }
}

fn postcard_of((a, b): &(i64, i64)) -> Vec<u8> {
    // Small numbers: zigzag, one byte each.
    [a, b].map(|number| (number * 2) as u8).to_vec()
}

fn last(pair: &Pair) -> ServeId {
    pair.incoming().id
}

fn ended(pair: &Pair, token: Token) -> (Option<Ending>, Option<Ending>) {
    pair.endings((pair.caller, made(token, 0)), (pair.caller, made(token, 0)))
}

#[test]
fn each_item_is_a_call_in_order_one_at_a_time_and_its_result_an_item() {
    for mut pair in both() {
        let token = pair.call_with(request());
        let (caller, callee) = (pair.caller, pair.callee);
        let reply = pair.net.result(caller, token).as_ref().unwrap();
        assert_eq!((reply.result.len(), reply.channels.as_ref()), (0, &[Flow::Items][..]));
        assert!(pair.net.nodes[callee].served.is_empty(), "it has no item yet");
        pair.net.write(caller, made(token, 0), sums(1, 3));
        pair.net.finish(caller, made(token, 0));
        for at in 1..=3u8 {
            pair.net.settle();
            let served = &pair.net.nodes[callee].served;
            assert_eq!((served.len(), served.last().unwrap().args.as_ref()), (at.into(), &[2 * at, 2 * at][..]));
            assert_eq!(pair.net.count(callee).serves, 1);
            let id = last(&pair);
            pair.net.answer(callee, id, Ok(vec![4 * at].into()));
        }
        pair.net.settle();
        assert_eq!(pair.net.reader(caller, made(token, 0)).bytes(), [4, 8, 12]);
        assert_eq!(ended(&pair, token), DONE);
        pair.nothing_is_left();
    }
}

#[test]
fn thousands_of_items_take_no_round_trip_each() {
    let mut pair = Pair::remote(2);
    pair.net.nodes[pair.callee].behaviours.insert(pair.process, Behaviour::Echo(ms(0)));
    let caller = pair.caller;
    let token = pair.call_with(request());
    let began = pair.net.now;
    for _ in 0..40 {
        pair.net.write(caller, made(token, 0), sums(1, 50));
    }
    pair.net.finish(caller, made(token, 0));
    pair.net.settle();
    assert_eq!(pair.net.nodes[pair.callee].served.len(), 2000);
    assert_eq!(pair.net.reader(caller, made(token, 0)).items(), 2000);
    // Two hops of 3 ms at most, there and back, a window of 1024 items after the other.
    assert!(pair.net.now - began < ms(100), "{:?}", pair.net.now - began);
    pair.nothing_is_left();
}

#[test]
fn the_first_item_that_fails_ends_both_directions_with_its_error_and_place() {
    for mut pair in both() {
        let token = pair.call_with(request());
        let (caller, callee) = (pair.caller, pair.callee);
        pair.net.write(caller, made(token, 0), sums(1, 5));
        pair.net.settle();
        let id = last(&pair);
        pair.net.answer(callee, id, Ok("x".into()));
        pair.net.settle();
        let id = last(&pair);
        pair.net.answer(callee, id, Err(CallError::failed(code::TRAP, "it trapped", SUM)));
        pair.net.settle();
        assert_eq!(pair.net.nodes[callee].served.len(), 2, "those behind it are not served");
        assert_eq!(pair.net.reader(caller, made(token, 0)).items(), 1);
        let (writer, reader) = ended(&pair, token);
        for error in [writer.unwrap().error().unwrap(), reader.unwrap().error().unwrap()] {
            assert_eq!((error.code.as_str(), error.message.as_str()), (code::TRAP, "item 1: it trapped"));
        }
        pair.nothing_is_left();
    }
}

#[test]
fn an_item_that_is_no_argument_is_refused_by_its_place() {
    for bytes in [&[2, 2, 0x80][..], &[2, 2, 2], &[2, 2, 4, 4, 9]] {
        let mut pair = Pair::remote(4);
        pair.net.nodes[pair.callee].behaviours.insert(pair.process, Behaviour::Echo(ms(0)));
        let caller = pair.caller;
        let token = pair.call_with(request());
        pair.net.write(caller, made(token, 0), Chunk { count: 2, bytes: bytes.to_vec().into() });
        pair.net.settle();
        let error = ended(&pair, token).1.unwrap().error().unwrap();
        assert_eq!((error.outcome, error.code.as_str()), (Outcome::NotRun, code::BAD_ARGUMENTS));
        assert!(error.message.starts_with("item 1: "), "{error}");
        pair.nothing_is_left();
    }
}

#[test]
fn a_limit_of_payloads_holds_for_the_arguments_of_one_item_and_not_for_those_that_come_together() {
    let mut net = Net::new(5);
    let callee = net.runtime("publisher", Role::Node, PeerIdentity::Unix { uid: 1, pid: None });
    net.replace(callee, |config| NodeConfig { max_payload_bytes: 8, ..config });
    let process = net.add(callee, "publisher", &[SUM]);
    net.nodes[callee].behaviours.insert(process, Behaviour::Echo(ms(0)));
    net.dial(callee);
    net.settle();
    let caller = net.client();
    let mut pair = Pair { net, callee, process, caller };
    let token = pair.call_with(request());
    pair.net.write(caller, made(token, 0), sums(1, 50));
    // An item of eight bytes, and one of nine.
    let (eight, nine) =
        ([&[0xfe; 4][..], &[1, 0xfe, 0xfe, 1]].concat(), [&[0xfe; 5][..], &[1, 0xfe, 0xfe, 1]].concat());
    pair.net.write(caller, made(token, 0), Chunk { count: 2, bytes: [eight, nine].concat().into() });
    pair.net.settle();
    assert_eq!(pair.net.nodes[callee].served.len(), 51);
    assert_eq!(pair.net.reader(caller, made(token, 0)).items(), 51);
    let error = ended(&pair, token).1.unwrap().error().unwrap();
    assert_eq!(error.outcome, Outcome::NotRun);
    assert!(error.message.starts_with("item 51: ") && error.message.contains("9 bytes are more than the 8"), "{error}");
    pair.nothing_is_left();
}

#[test]
fn a_reader_of_results_that_is_slow_slows_the_items() {
    for mut pair in both() {
        pair.net.nodes[pair.callee].behaviours.insert(pair.process, Behaviour::Echo(ms(0)));
        let (caller, callee) = (pair.caller, pair.callee);
        let token = pair.call_with(request());
        pair.net.slow_reader(caller, made(token, 0), true);
        for _ in 0..100 {
            pair.net.write(caller, made(token, 0), sums(1, 50));
        }
        pair.net.settle();
        let served = pair.net.nodes[callee].served.len();
        assert!((1024..1100).contains(&served), "{served} items were served");
        assert!(pair.net.writer(caller, made(token, 0)).queue.len() > 50);
        pair.net.slow_reader(caller, made(token, 0), false);
        pair.net.finish(caller, made(token, 0));
        pair.net.settle();
        assert_eq!(pair.net.reader(caller, made(token, 0)).items(), 5000);
        pair.nothing_is_left();
    }
}

#[test]
fn when_nobody_reads_results_any_more_the_item_that_runs_is_cancelled() {
    for mut pair in both() {
        let token = pair.call_with(request());
        let (caller, callee) = (pair.caller, pair.callee);
        pair.net.write(caller, made(token, 0), sums(1, 5));
        pair.net.settle();
        pair.net.stop_reading(caller, made(token, 0), None);
        pair.net.settle();
        let id = last(&pair);
        assert_eq!(pair.net.nodes[callee].cancelled, [id]);
        assert_eq!(ended(&pair, token), (Some(Ending::Cancelled(None)), Some(Ending::Cancelled(None))));
        let process = crate::net::process("publisher");
        if caller != callee {
            let controller = pair.net.controller.as_ref().unwrap();
            assert_eq!(controller.in_flight(&process), Some((1, 0)), "it is in flight until it is over");
        }
        pair.net.answer(callee, id, Ok("".into()));
        pair.nothing_is_left();
    }
}

#[test]
fn a_writer_that_fails_or_is_lost_ends_the_results_behind_those_before_it() {
    for lost in [false, true] {
        let mut pair = Pair::remote(7);
        let token = pair.call_with(request());
        let (caller, callee) = (pair.caller, pair.callee);
        pair.net.write(caller, made(token, 0), sums(1, 1));
        pair.net.settle();
        let id = last(&pair);
        if lost {
            pair.net.cut(caller);
            pair.net.settle();
            assert_eq!(ended(&pair, token), (Some(Ending::Lost), Some(Ending::Lost)));
            assert_eq!(pair.net.nodes[callee].cancelled, [id]);
            pair.net.answer(callee, id, Ok("x".into()));
            pair.net.run(secs(1));
        } else {
            let error = CallError::failed(code::TRAP, "the writer trapped", "");
            pair.net.fail_stream(caller, made(token, 0), error.clone());
            pair.net.settle();
            pair.net.answer(callee, id, Ok("x".into()));
            pair.net.settle();
            assert_eq!(pair.net.reader(caller, made(token, 0)).items(), 1);
            assert_eq!(ended(&pair, token).1, Some(Ending::Failed(Box::new(error))));
        }
        pair.nothing_is_left();
    }
}

#[test]
fn an_item_whose_caller_is_told_while_it_runs_on_fails_and_is_in_flight_until_it_is_over() {
    for mut pair in both() {
        let token = pair.call_with(request());
        let (caller, callee) = (pair.caller, pair.callee);
        pair.net.write(caller, made(token, 0), sums(1, 2));
        pair.net.settle();
        let id = last(&pair);
        let error = CallError::unknown(code::DEADLINE_EXCEEDED, "it runs on", SUM);
        pair.net.command(callee, Command::Answered { id, error });
        pair.net.settle();
        let error = ended(&pair, token).1.unwrap().error().unwrap();
        assert_eq!((error.code.as_str(), error.message.as_str()), (code::DEADLINE_EXCEEDED, "item 0: it runs on"));
        assert_eq!(pair.net.count(callee).serves, 1);
        pair.net.answer(callee, id, Ok("late".into()));
        pair.nothing_is_left();
    }
}

#[test]
fn functions_without_parameters_or_result_have_unit_items() {
    let mut net = Net::new(9);
    let caller = net.client();
    let (callee, _) = net.member("other", &[]);
    let signature = Arc::new(SignatureBuilder::new().function([] as [(&str, Type); 0], None).unwrap());
    let process = net.try_add(callee, "ticker", &[("a:b/c#tick", signature.clone())]).unwrap();
    net.nodes[callee].behaviours.insert(process, Behaviour::Echo(ms(1)));
    net.settle();
    let tick = || CallRequest {
        callbacks: [callback("a:b/c#tick")].into(),
        accepts: [signature.fingerprint()].into(),
        ..request()
    };
    let mut pair = Pair { net, callee, process, caller };
    let token = pair.call_with(tick());
    pair.net.write(caller, made(token, 0), Chunk { count: 3, bytes: UNIT_ITEM.repeat(3).into() });
    pair.net.finish(caller, made(token, 0));
    pair.net.settle();
    assert!(pair.net.nodes[callee].served.iter().all(|incoming| incoming.args.is_empty()));
    assert_eq!(pair.net.reader(caller, made(token, 0)).bytes(), UNIT_ITEM.repeat(3));
    let token = pair.call_with(tick());
    pair.net.write(caller, made(token, 0), Chunk { count: 1, bytes: vec![7].into() });
    pair.net.settle();
    assert_eq!(ended(&pair, token).1.unwrap().error().unwrap().code, code::BAD_ARGUMENTS);
    pair.nothing_is_left();
}

#[test]
fn a_callback_that_takes_streams_itself_is_not_called_once_an_item() {
    let mut net = Net::new(10);
    let caller = net.client();
    let (callee, _) = net.member("other", &[]);
    let mut types = SignatureBuilder::new();
    let items = types.stream(Some(Type::U8));
    let signature = Arc::new(types.function([("items", items)], None).unwrap());
    let process = net.try_add(callee, "taker", &[("a:b/c#take", signature.clone())]).unwrap();
    net.settle();
    let mut pair = Pair { net, callee, process, caller };
    let token = pair.call_with(CallRequest {
        callbacks: [callback("a:b/c#take")].into(),
        accepts: [signature.fingerprint()].into(),
        signature: Some(signature),
        ..request()
    });
    let error = pair.net.error(caller, token);
    assert_eq!((error.outcome, error.code.as_str()), (Outcome::NotRun, code::SIGNATURE_MISMATCH));
    pair.nothing_is_left();
}
