//! Calls that run on after their caller was told, or has given up.

use daffi_proto::call::{CallRequest, Incoming};
use daffi_proto::error::{CallError, Outcome, code};
use daffi_proto::frame::{Frame, Header};
use daffi_proto::id::{CallId, LocalId};
use daffi_proto::node::Command;

use crate::net::{Behaviour, Net, SUM, below, call, name, process, secs};

/// A node with a process that leaves its calls to the test.
fn holder(net: &mut Net, called: &str, callbacks: &[&str]) -> (usize, LocalId) {
    let (node, process) = net.member(called, callbacks);
    net.nodes[node].behaviours.insert(process, Behaviour::Hold);
    (node, process)
}

fn last(net: &Net, node: usize) -> Incoming {
    net.nodes[node].served.last().unwrap().clone()
}

fn tell_that_it_runs_on(net: &mut Net, node: usize) {
    let id = last(net, node).id;
    let error = CallError::unknown(code::DEADLINE_EXCEEDED, "it runs on", SUM);
    net.command(node, Command::Answered { id, error });
}

fn in_flight(net: &Net, called: &str) -> Option<u32> {
    net.controller.as_ref().unwrap().in_flight(&process(called)).map(|(relayed, _)| relayed)
}

#[test]
fn a_caller_is_told_at_once_and_the_call_is_counted_until_it_is_over() {
    let mut net = Net::new(1);
    let (publisher, _) = holder(&mut net, "publisher", &[SUM]);
    let client = net.client();
    let token = net.call(client, call(None, SUM));
    net.settle();
    tell_that_it_runs_on(&mut net, publisher);
    net.settle();
    let error = net.error(client, token);
    assert_eq!((error.outcome, error.code.as_str()), (Outcome::Unknown, code::DEADLINE_EXCEEDED));
    assert_eq!((net.count(client).calls, net.count(client).away), (0, 0));
    assert_eq!((in_flight(&net, "publisher"), net.count(publisher).serves), (Some(1), 1));
    let id = last(&net, publisher).id;
    net.answer(publisher, id, Ok("too late".into()));
    net.settle();
    assert_eq!((in_flight(&net, "publisher"), net.count(publisher).serves), (Some(0), 0));
    assert_eq!((net.controller.as_ref().unwrap().counts().relays, net.count(client).late_answers), (0, 0));
    assert_eq!(net.closed.len(), 0);
}

#[test]
fn a_process_that_is_busy_for_nobody_is_not_taken_for_idle() {
    let mut net = Net::new(2);
    let (busy, _) = holder(&mut net, "busy", &[SUM]);
    let client = net.client();
    let to_busy = CallRequest { receiver: Some(name("busy")), ..call(None, SUM) };
    let told = net.call(client, to_busy.clone());
    net.settle();
    tell_that_it_runs_on(&mut net, busy);
    let given_up = net.call(client, to_busy);
    net.settle();
    net.command(client, Command::Cancel(given_up));
    net.settle();
    assert!(net.result(client, told).is_err());
    assert_eq!(in_flight(&net, "busy"), Some(2));
    let (idle, _) = net.member("idle", &[SUM]);
    for _ in 0..6 {
        net.call(client, call(None, SUM));
        net.settle();
    }
    assert_eq!((net.nodes[busy].served.len(), net.nodes[idle].served.len()), (2, 6));
}

#[test]
fn within_one_runtime_it_is_the_same() {
    let mut net = Net::new(3);
    let (node, _) = holder(&mut net, "busy", &[SUM]);
    let idle = net.add(node, "idle", &[SUM]);
    let told = net.call(node, CallRequest { receiver: Some(name("busy")), ..call(None, SUM) });
    tell_that_it_runs_on(&mut net, node);
    assert_eq!(net.error(node, told).code, code::DEADLINE_EXCEEDED);
    let busy = last(&net, node);
    for _ in 0..4 {
        net.call(node, call(None, SUM));
        net.settle();
        assert_eq!(last(&net, node).process, idle);
    }
    assert_eq!(net.count(node).serves, 1);
    net.answer(node, busy.id, Ok("too late".into()));
    assert_eq!(net.count(node).serves, 0);
}

#[test]
fn an_answer_that_crosses_the_cancellation_leaves_the_call_in_flight_until_it_is_over() {
    let mut net = Net::new(4);
    let (publisher, _) = holder(&mut net, "publisher", &[SUM]);
    let client = net.client();
    for answer_first in [true, false] {
        let token = net.call(client, call(None, SUM));
        net.settle();
        if answer_first {
            tell_that_it_runs_on(&mut net, publisher);
            net.command(client, Command::Cancel(token));
        } else {
            net.command(client, Command::Cancel(token));
            net.settle();
            tell_that_it_runs_on(&mut net, publisher);
        }
        net.settle();
        assert!(!net.nodes[client].calls.contains_key(&token));
        assert_eq!(in_flight(&net, "publisher"), Some(1));
        let id = last(&net, publisher).id;
        net.answer(publisher, id, Ok("too late".into()));
        net.settle();
        assert_eq!(in_flight(&net, "publisher"), Some(0));
    }
    // Who told its caller knows that nobody waits.
    assert_eq!(net.nodes[publisher].cancelled, [last(&net, publisher).id]);
    assert_eq!(net.closed.len(), 0);
}

#[test]
fn calls_below_one_that_runs_on_go_on_and_have_no_more_time_than_it_had() {
    let mut net = Net::new(5);
    let (leaf, _) = holder(&mut net, "leaf", &["c#f"]);
    let (publisher, _) = holder(&mut net, "publisher", &[SUM]);
    let client = net.client();
    net.call(client, CallRequest { timeout: secs(4), ..call(None, SUM) });
    net.settle();
    let parent = last(&net, publisher);
    let before = net.call(publisher, below(&parent, "c#f"));
    tell_that_it_runs_on(&mut net, publisher);
    let after = net.call(publisher, below(&parent, "c#f"));
    net.settle();
    assert_eq!((net.nodes[leaf].served.len(), net.nodes[leaf].cancelled.len()), (2, 0));
    net.run(secs(4));
    for token in [before, after] {
        assert_eq!(net.error(publisher, token).code, code::DEADLINE_EXCEEDED);
        assert!(net.nodes[publisher].ended[&token] <= parent.deadline);
    }
}

#[test]
fn the_end_of_a_runtime_does_not_wait_for_calls_that_run_on() {
    let mut net = Net::new(6);
    let (publisher, _) = holder(&mut net, "publisher", &[SUM]);
    let client = net.client();
    net.call(client, call(None, SUM));
    net.settle();
    net.command(publisher, Command::Drain);
    assert!(!net.nodes[publisher].log.contains(&"drained".to_owned()));
    tell_that_it_runs_on(&mut net, publisher);
    assert!(net.nodes[publisher].log.contains(&"drained".to_owned()));
}

#[test]
fn a_call_that_runs_on_over_a_lost_link_is_nobodys() {
    let mut net = Net::new(7);
    let (publisher, _) = holder(&mut net, "publisher", &[SUM]);
    let client = net.client();
    net.call(client, call(None, SUM));
    net.settle();
    tell_that_it_runs_on(&mut net, publisher);
    net.settle();
    net.cut(publisher);
    net.run(secs(5));
    assert_eq!(net.controller.as_ref().unwrap().counts().relays, 0);
    assert_eq!((net.count(publisher).serves, net.count(publisher).incoming), (1, 0));
    let id = last(&net, publisher).id;
    net.answer(publisher, id, Ok("too late".into()));
    net.settle();
    assert_eq!((net.count(publisher).serves, net.closed.len()), (0, 0));
}

#[test]
fn a_node_that_answers_twice_loses_its_link() {
    let error = CallError::unknown(code::DEADLINE_EXCEEDED, "it runs on", SUM);
    let error = bytes::Bytes::from(postcard::to_stdvec(&error).unwrap());
    let id = CallId(1);
    let again = [
        Frame::with_payload(Header::Fail { id, runs_on: true }, error.clone()),
        Frame::with_payload(Header::Fail { id, runs_on: false }, error.clone()),
        Frame::new(Header::Reply { id, process: None, open: false, channels: [].into() }),
    ];
    for again in again {
        let mut net = Net::new(8);
        let (publisher, _) = holder(&mut net, "publisher", &[SUM]);
        let client = net.client();
        let token = net.call(client, call(None, SUM));
        net.settle();
        let link = net.link_of(publisher);
        net.forge(link, Frame::with_payload(Header::Fail { id, runs_on: true }, error.clone()));
        net.forge(link, again);
        net.settle();
        assert_eq!(net.closed, ["the call 1 is answered twice"]);
        assert_eq!(net.error(client, token).code, code::DEADLINE_EXCEEDED);
        assert_eq!(net.nodes[client].log, ["connected"]);
    }
}
