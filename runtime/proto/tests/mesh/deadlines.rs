//! Time that runs out, and trees of calls that are cancelled.

use std::time::Duration;

use daffi_proto::call::{CallRequest, Incoming, WaitFor};
use daffi_proto::error::{CallError, Outcome, code};
use daffi_proto::id::{LocalId, Token};
use daffi_proto::node::Command;

use crate::net::{Behaviour, Net, SUM, below, call, ms, secs};

/// Nodes `first`, `second` and `third`; the first calls `b#f` of the second, which calls `c#f` of the third, which
/// holds it. Tokens are those of the two calls.
fn chain(net: &mut Net) -> ([usize; 3], [Token; 2]) {
    let (c, third) = net.member("third", &["c#f"]);
    let (b, second) = net.member("second", &["b#f"]);
    let (a, first) = net.member("first", &[]);
    hold(net, b, second);
    hold(net, c, third);
    let outer = net.call(a, call(Some(first), "b#f"));
    net.settle();
    let parent = net.nodes[b].served[0].clone();
    let inner = net.call(b, below(&parent, "c#f"));
    net.settle();
    assert_eq!(net.nodes[c].served.len(), 1);
    ([a, b, c], [outer, inner])
}

fn hold(net: &mut Net, node: usize, process: LocalId) {
    net.nodes[node].behaviours.insert(process, Behaviour::Hold);
}

fn nothing_is_left(net: &Net, nodes: &[usize]) {
    for node in nodes {
        let counts = net.count(*node);
        let open = (counts.calls, counts.serves, counts.incoming, counts.deadlines, counts.waiting);
        assert_eq!(open, (0, 0, 0, 0, 0));
    }
    assert_eq!(net.controller.as_ref().unwrap().counts().relays, 0);
}

#[test]
fn a_call_without_an_answer_ends_at_its_deadline_and_nobody_knows_what_became_of_it() {
    let mut net = Net::new(1);
    let (publisher, math) = net.member("publisher", &[SUM]);
    hold(&mut net, publisher, math);
    let client = net.client();
    let made = net.now;
    // Of the time that its caller was given, half a second had passed before.
    let token = net.call(client, CallRequest { timeout: secs(2), spent: ms(500), ..call(None, SUM) });
    net.run(secs(3));
    let error = net.error(client, token).clone();
    assert!(error.message.starts_with("no answer within 2.5 s"), "{error}");
    assert_eq!((error.outcome, error.code.as_str()), (Outcome::Unknown, code::DEADLINE_EXCEEDED));
    assert_eq!((error.process.as_deref(), error.retryable), (Some("publisher"), false));
    assert_eq!(net.nodes[client].ended[&token], made + secs(2));
    // The callee hears that nobody waits, and its answer is dropped on the way.
    let id = net.nodes[publisher].served[0].id;
    assert_eq!(net.nodes[publisher].cancelled, [id]);
    net.answer(publisher, id, Ok("late".into()));
    net.settle();
    nothing_is_left(&net, &[publisher, client]);
}

#[test]
fn the_callee_has_a_little_less_time_so_that_its_verdict_arrives_first() {
    let mut net = Net::new(2);
    let (publisher, math) = net.member("publisher", &[SUM]);
    hold(&mut net, publisher, math);
    let client = net.client();
    for (timeout, least, most) in [(10_000, 9_940, 9_956), (100, 85, 96), (20, 9, 20)] {
        let deadline = net.now + ms(timeout);
        let token = net.call(client, CallRequest { timeout: ms(timeout), ..call(None, SUM) });
        net.settle();
        let incoming: Incoming = net.nodes[publisher].served.last().unwrap().clone();
        let theirs = incoming.deadline - (deadline - ms(timeout));
        assert!(theirs >= ms(least) && theirs <= ms(most + 6), "{timeout}: {theirs:?}");
        if timeout == 10_000 {
            // It was queued until its deadline: not-run.
            net.run(incoming.deadline - net.now);
            let verdict = CallError::not_run(code::DEADLINE_EXCEEDED, "queued behind another", SUM);
            net.answer(publisher, incoming.id, Err(verdict.clone()));
            net.run(secs(1));
            assert_eq!(net.error(client, token), &verdict);
        }
    }
}

#[test]
fn a_call_without_time_does_not_run() {
    let mut net = Net::new(3);
    let (publisher, _) = net.member("publisher", &[SUM]);
    let client = net.client();
    let token = net.call(client, CallRequest { timeout: Duration::ZERO, ..call(None, SUM) });
    assert_eq!(net.error(client, token).outcome, Outcome::NotRun);
    // Less than a millisecond is nothing once it is on the wire.
    let token = net.call(client, CallRequest { timeout: Duration::from_micros(900), ..call(None, SUM) });
    net.settle();
    assert!(net.nodes[client].calls.contains_key(&token));
    assert_eq!(net.nodes[publisher].served.len(), 0);
}

#[test]
fn nested_calls_inherit_what_is_left_of_the_deadline() {
    let mut net = Net::new(4);
    let (c, third) = net.member("third", &["c#f"]);
    let (b, second) = net.member("second", &["b#f"]);
    let client = net.client();
    hold(&mut net, b, second);
    hold(&mut net, c, third);
    net.call(client, CallRequest { timeout: secs(4), ..call(None, "b#f") });
    net.run(secs(1));
    let parent = net.nodes[b].served[0].clone();
    let inner = net.call(b, CallRequest { timeout: secs(100), ..below(&parent, "c#f") });
    net.settle();
    assert!(net.nodes[c].served[0].deadline < parent.deadline);
    assert!(net.nodes[c].served[0].deadline > parent.deadline - ms(100));
    net.run(secs(4));
    assert!(net.nodes[b].ended[&inner] <= parent.deadline);
}

#[test]
fn when_the_outermost_caller_gives_up_the_whole_tree_is_cancelled() {
    let mut net = Net::new(5);
    let ([a, b, c], [outer, inner]) = chain(&mut net);
    net.command(a, Command::Cancel(outer));
    net.settle();
    let error = net.error(b, inner);
    assert_eq!((error.outcome, error.code.as_str()), (Outcome::Unknown, code::CANCELLED));
    assert_eq!((net.nodes[b].cancelled.len(), net.nodes[c].cancelled.len()), (1, 1));
    // Served calls stay until they are really over.
    assert_eq!((net.count(b).serves, net.count(c).serves), (1, 1));
    for node in [b, c] {
        let id = net.nodes[node].served[0].id;
        net.answer(node, id, Ok("dropped".into()));
    }
    net.settle();
    nothing_is_left(&net, &[a, b, c]);
    assert!(!net.nodes[a].calls.contains_key(&outer));
}

#[test]
fn when_the_outermost_deadline_passes_the_whole_tree_is_cancelled() {
    let mut net = Net::new(6);
    let ([a, b, c], [outer, inner]) = chain(&mut net);
    net.run(secs(11));
    assert_eq!(net.error(a, outer).code, code::DEADLINE_EXCEEDED);
    assert_eq!(net.error(b, inner).code, code::DEADLINE_EXCEEDED);
    assert_eq!((net.nodes[b].cancelled.len(), net.nodes[c].cancelled.len()), (1, 1));
}

#[test]
fn when_the_outermost_caller_dies_the_whole_tree_is_cancelled() {
    let mut net = Net::new(7);
    let ([a, b, c], [_, inner]) = chain(&mut net);
    net.kill_node(a);
    net.settle();
    assert_eq!(net.error(b, inner).code, code::CANCELLED);
    assert_eq!((net.nodes[b].cancelled.len(), net.nodes[c].cancelled.len()), (1, 1));
}

#[test]
fn a_tree_within_one_node_is_cancelled_too() {
    let mut net = Net::new(8);
    let (node, one) = net.member("one", &["a#f"]);
    let two = net.add(node, "two", &["b#f"]);
    let three = net.add(node, "three", &["c#f"]);
    for process in [one, two, three] {
        hold(&mut net, node, process);
    }
    let outer = net.call(node, call(None, "a#f"));
    let parent = net.nodes[node].served[0].clone();
    let middle = net.call(node, below(&parent, "b#f"));
    let parent = net.nodes[node].served[1].clone();
    let inner = net.call(node, below(&parent, "c#f"));
    let waiting = net.call(node, CallRequest { wait_ready: true, ..below(&parent, "d#f") });
    net.command(node, Command::Cancel(outer));
    assert_eq!(net.nodes[node].cancelled.len(), 3);
    let outcomes = [middle, inner, waiting].map(|token| net.error(node, token).outcome);
    assert_eq!(outcomes, [Outcome::Unknown, Outcome::Unknown, Outcome::NotRun]);
    for serve in 0..3 {
        let id = net.nodes[node].served[serve].id;
        net.answer(node, id, Ok("dropped".into()));
    }
    net.settle();
    nothing_is_left(&net, &[node]);
}

#[test]
fn a_call_that_is_made_for_a_cancelled_one_does_not_run() {
    let mut net = Net::new(9);
    let ([a, b, c], [outer, _]) = chain(&mut net);
    net.command(a, Command::Cancel(outer));
    net.settle();
    let parent = net.nodes[b].served[0].clone();
    let token = net.call(b, below(&parent, "c#f"));
    let error = net.error(b, token);
    assert_eq!((error.outcome, error.code.as_str()), (Outcome::NotRun, code::CANCELLED));
    assert_eq!(net.nodes[c].served.len(), 1);
}

#[test]
fn a_wait_ends_with_the_call_that_it_is_made_for_and_has_no_more_time() {
    let mut net = Net::new(12);
    let ([a, b, _], [outer, _]) = chain(&mut net);
    let parent = net.nodes[b].served[0].clone();
    let wait = |net: &mut Net, what: &str| {
        net.wait_as(b, below(&parent, "c#f").caller, WaitFor::Callback(what.to_owned()), secs(100))
    };
    let there = wait(&mut net, "c#f");
    assert!(net.nodes[b].waits[&there].is_ok());
    let late = wait(&mut net, "late#f");
    net.command(a, Command::Cancel(outer));
    net.settle();
    let after = wait(&mut net, "late#f");
    for token in [late, after] {
        let error = net.nodes[b].waits[&token].as_ref().unwrap_err();
        assert_eq!((error.outcome, error.code.as_str()), (Outcome::NotRun, code::CANCELLED));
        assert_eq!(error.callback, "late#f");
    }

    let mut net = Net::new(13);
    let ([_, b, _], _) = chain(&mut net);
    let parent = net.nodes[b].served[0].clone();
    let token = net.wait_as(b, below(&parent, "c#f").caller, WaitFor::Callback("late#f".to_owned()), secs(100));
    net.run(secs(11));
    assert_eq!(net.nodes[b].waits[&token].as_ref().unwrap_err().code, code::DEADLINE_EXCEEDED);
    assert!(net.nodes[b].ended[&token] <= parent.deadline);
}

#[test]
fn a_call_that_outlives_the_one_that_it_was_made_for_goes_on() {
    let mut net = Net::new(10);
    let ([a, b, c], [outer, inner]) = chain(&mut net);
    let id = net.nodes[b].served[0].id;
    net.answer(b, id, Ok("done".into()));
    net.settle();
    assert!(net.result(a, outer).is_ok());
    let id = net.nodes[c].served[0].id;
    net.answer(c, id, Ok("done".into()));
    net.settle();
    assert!(net.result(b, inner).is_ok());
    nothing_is_left(&net, &[a, b, c]);
}

#[test]
fn an_answer_that_crosses_the_cancellation_is_dropped_and_counted() {
    let mut net = Net::new(11);
    let (publisher, math) = net.member("publisher", &[SUM]);
    hold(&mut net, publisher, math);
    let client = net.client();
    let token = net.call(client, call(None, SUM));
    net.settle();
    let id = net.nodes[publisher].served[0].id;
    net.answer(publisher, id, Ok("sent".into()));
    net.command(client, Command::Cancel(token));
    net.settle();
    assert!(net.nodes[client].calls.is_empty());
    assert_eq!(net.count(client).late_answers, 1);
    assert_eq!(net.closed.len(), 0);
    nothing_is_left(&net, &[publisher, client]);
}
