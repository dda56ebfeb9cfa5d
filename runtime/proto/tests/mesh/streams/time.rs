//! The time of calls with streams: they may last, and must not stand still.

use daffi_proto::call::{Answer, CallRequest, Mode};
use daffi_proto::error::code;
use daffi_proto::frame::{Frame, Header, Target};
use daffi_proto::id::CallId;
use daffi_proto::node::{Command, Input};
use daffi_proto::stream::{Ending, Flow};

use super::{Pair, both, holder};
use crate::net::{ARGS, Behaviour, Net, SUM, below, call, chunk, made, name, secs, served};

fn is_overdue(ending: &Option<Ending>) -> bool {
    let error = ending.as_ref().and_then(Ending::error);
    error.is_some_and(|error| error.code == code::DEADLINE_EXCEEDED || error.code == code::CANCELLED)
}

#[test]
fn a_call_lasts_while_items_come_and_ends_when_none_do() {
    for mut pair in both() {
        // Of 10 s.
        let token = pair.call(&[Flow::Items]);
        let (id, caller, callee) = (pair.incoming().id, pair.caller, pair.callee);
        for _ in 0..10 {
            pair.net.run(secs(8));
            pair.net.write(caller, made(token, 0), chunk(1, 1, 1));
        }
        pair.net.settle();
        assert_eq!(pair.net.reader(callee, served(id, 0)).items(), 10);
        let last = pair.net.now;
        pair.net.run(secs(11));
        let error = pair.net.error(caller, token);
        assert_eq!(error.code, code::DEADLINE_EXCEEDED);
        assert!(error.message.contains("nothing moved in the streams"), "{error}");
        let ended = pair.net.nodes[caller].ended[&token];
        assert!(ended >= last + secs(9) && ended <= last + secs(11), "{ended:?} after {last:?}");
        let (writer, reader) = pair.endings((caller, made(token, 0)), (callee, served(id, 0)));
        assert!(is_overdue(&writer) && is_overdue(&reader), "{writer:?}, {reader:?}");
        assert_eq!(pair.net.nodes[callee].cancelled, [id]);
        pair.net.answer(callee, id, Ok("".into()));
        pair.nothing_is_left();
    }
}

#[test]
fn after_the_answer_it_is_the_same() {
    for mut pair in both() {
        let token = pair.call(&[]);
        let (id, caller, callee) = (pair.incoming().id, pair.caller, pair.callee);
        pair.net.reply(callee, id, "ok", &[Flow::Items]);
        pair.net.answer(callee, id, Ok("".into()));
        for _ in 0..10 {
            pair.net.run(secs(8));
            pair.net.write(callee, served(id, 0), chunk(1, 1, 1));
        }
        pair.net.settle();
        assert_eq!(pair.net.reader(caller, made(token, 0)).items(), 10);
        pair.net.run(secs(11));
        let (writer, reader) = pair.endings((callee, served(id, 0)), (caller, made(token, 0)));
        assert!(is_overdue(&writer) && is_overdue(&reader), "{writer:?}, {reader:?}");
        pair.nothing_is_left();
    }
}

#[test]
fn a_reader_that_takes_one_item_in_a_while_keeps_a_call_alive() {
    for mut pair in both() {
        let token = pair.call(&[Flow::Items]);
        let (id, caller, callee) = (pair.incoming().id, pair.caller, pair.callee);
        pair.net.slow_reader(callee, served(id, 0), true);
        for byte in 0..20 {
            pair.net.write(caller, made(token, 0), chunk(byte, 1, 1));
        }
        for _ in 0..15 {
            pair.net.run(secs(8));
            pair.net.read(callee, served(id, 0));
        }
        pair.net.settle();
        assert!(!pair.net.nodes[caller].calls.contains_key(&token));
        assert_eq!(pair.net.reader(callee, served(id, 0)).items(), 16);
        // And one that takes none does not.
        pair.net.run(secs(11));
        assert_eq!(pair.net.error(caller, token).code, code::DEADLINE_EXCEEDED);
        pair.net.slow_reader(callee, served(id, 0), false);
        pair.net.answer(callee, id, Ok("".into()));
        pair.nothing_is_left();
    }
}

#[test]
fn what_a_call_is_made_for_lives_while_its_own_streams_do() {
    // A writes to B once, B writes to C all the time: A sees that it goes on.
    let mut net = Net::new(4);
    let (middle, _) = holder(&mut net, "middle");
    let (leaf, process) = net.member("leaf", &["c#f"]);
    net.nodes[leaf].behaviours.insert(process, Behaviour::Hold);
    let client = net.client();
    let to_middle = CallRequest { receiver: Some(name("middle")), channels: [Flow::Items].into(), ..call(None, SUM) };
    let outer = net.call(client, to_middle);
    net.settle();
    let parent = net.nodes[middle].served[0].clone();
    net.write(client, made(outer, 0), chunk(1, 1, 1));
    net.settle();
    let inner = net.call(middle, CallRequest { channels: [Flow::Items].into(), ..below(&parent, "c#f") });
    net.settle();
    for _ in 0..10 {
        net.run(secs(8));
        net.write(middle, made(inner, 0), chunk(2, 1, 1));
    }
    net.settle();
    let id = net.nodes[leaf].served[0].id;
    assert_eq!(net.reader(leaf, served(id, 0)).items(), 10);
    assert!(!net.nodes[client].calls.contains_key(&outer) && !net.nodes[middle].calls.contains_key(&inner));
    // A call that is made now has the time that is left since.
    let late = net.call(middle, CallRequest { timeout: secs(60), ..below(&parent, "c#f") });
    net.settle();
    let made_late = net.nodes[leaf].served.last().unwrap().clone();
    let left = made_late.deadline.saturating_sub(net.now);
    assert!(left > secs(8) && left <= secs(10), "{left:?}");
    net.run(secs(12));
    assert_eq!(net.error(client, outer).code, code::DEADLINE_EXCEEDED);
    assert!(net.nodes[middle].calls[&inner].is_err() && net.nodes[middle].calls[&late].is_err());
    for runtime in [middle, leaf] {
        for incoming in net.nodes[runtime].served.clone() {
            net.answer(runtime, incoming.id, Ok("".into()));
        }
    }
    net.settle();
    super::nothing_is_left(&net);
}

#[test]
fn a_callee_gives_up_a_caller_who_lives_and_neither_moves_nor_ends_his_streams() {
    for is_answered in [false, true] {
        let mut pair = Pair::remote(5);
        let header = Header::Call {
            id: CallId(900),
            target: Target::Callback(pair.process.0, 0),
            timeout_ms: 10_000,
            chain: [].into(),
            answer: Answer::Result,
            mode: Mode::Whole,
            channels: [Flow::Items].into(),
            key: None,
        };
        let frame = Frame::with_payload(header, ARGS.into());
        pair.net.node_input(pair.callee, crate::net::from_controller(frame));
        let (id, callee) = (pair.incoming().id, pair.callee);
        if is_answered {
            pair.net.command(callee, Command::Replied { id, result: "ok".into(), channels: [].into() });
        }
        // The controller, which knows nothing of the call, must not hear of it.
        pair.net.silence(callee);
        pair.net.nodes[callee].redial = false;
        for _ in 0..9 {
            pair.net.run(secs(2));
            pair.net.node_input(callee, Input::Heard(daffi_proto::node::Via::Controller));
        }
        assert!(pair.net.nodes[callee].cancelled.is_empty(), "its caller's node is to be the first");
        for _ in 0..3 {
            pair.net.run(secs(2));
            pair.net.node_input(callee, Input::Heard(daffi_proto::node::Via::Controller));
        }
        assert_eq!(pair.net.nodes[callee].cancelled, [id]);
        let ending = pair.net.reader(callee, served(id, 0)).ending.clone();
        assert_eq!(ending.and_then(|ending| ending.error()).unwrap().code, code::DEADLINE_EXCEEDED);
        pair.net.answer(callee, id, Ok("".into()));
        assert_eq!((pair.net.count(callee).exchanges, pair.net.count(callee).serves), (0, 0));
    }
}
