//! Calls that begin later, and calls whose callers do not wait for what they come to.

use daffi_proto::call::{Answer, CallRequest, GatherEnd, GatherRequest, Incoming, Need};
use daffi_proto::error::{CallError, Outcome, code};
use daffi_proto::id::{LocalId, Token};
use daffi_proto::node::Command;

use crate::net::{Behaviour, Net, SUM, below, call, ms, name, process, secs};

fn holder(net: &mut Net, called: &str, callbacks: &[&str]) -> (usize, LocalId) {
    let (node, process) = net.member(called, callbacks);
    net.nodes[node].behaviours.insert(process, Behaviour::Hold);
    (node, process)
}

fn last(net: &Net, node: usize) -> Incoming {
    net.nodes[node].served.last().unwrap().clone()
}

fn with(answer: Answer, request: CallRequest) -> CallRequest {
    CallRequest { answer, ..request }
}

/// The calls that the controller relays to a process.
fn relayed(net: &Net, called: &str) -> u32 {
    net.controller.as_ref().unwrap().in_flight(&process(called)).unwrap().0
}

fn code_of(net: &Net, node: usize, token: Token) -> (Outcome, &str) {
    let error = net.error(node, token);
    (error.outcome, error.code.as_str())
}

fn nothing_is_left(net: &Net) {
    for node in 0..net.nodes.len() {
        let counts = net.count(node);
        let open = [counts.calls, counts.gathers, counts.away, counts.waiting, counts.deadlines];
        assert_eq!((open, counts.serves, counts.incoming), ([0; 5], 0, 0), "node {node}: {counts:?}");
    }
    assert!(net.controller.as_ref().is_none_or(|controller| controller.counts().relays == 0));
}

#[test]
fn a_caller_hears_that_it_was_taken_and_no_end_of_his_cancels_it() {
    for answer in [Answer::Accepted, Answer::Sent] {
        let mut net = Net::new(1);
        let (worker, _) = holder(&mut net, "worker", &["w#f"]);
        let (middle, _) = holder(&mut net, "middle", &[SUM]);
        let client = net.client();
        let outer = net.call(client, call(None, SUM));
        net.settle();
        let parent = last(&net, middle);
        let token = net.call(middle, with(answer, below(&parent, "w#f")));
        net.settle();
        assert_eq!(net.result(middle, token).as_ref().unwrap().result, "");
        assert_eq!((net.count(middle).calls, relayed(&net, "worker")), (0, 1));
        let work = last(&net, worker);
        assert_eq!((work.chain.len(), work.answer), (2, answer));
        net.command(client, Command::Cancel(outer));
        net.settle();
        net.kill_node(middle);
        net.settle();
        assert!(net.nodes[worker].cancelled.is_empty());
        net.answer(worker, work.id, Ok("dropped".into()));
        net.settle();
        assert_eq!((net.closed.len(), relayed(&net, "worker")), (0, 0));
        nothing_is_left(&net);
    }
}

#[test]
fn what_it_calls_goes_on_too_and_has_no_more_time_than_it_has() {
    let mut net = Net::new(2);
    let (leaf, _) = holder(&mut net, "leaf", &["l#f"]);
    let (worker, _) = holder(&mut net, "worker", &[SUM]);
    let client = net.client();
    net.call(client, with(Answer::Accepted, CallRequest { timeout: secs(4), ..call(None, SUM) }));
    net.settle();
    let work = last(&net, worker);
    let inner = net.call(worker, CallRequest { timeout: secs(60), ..below(&work, "l#f") });
    net.settle();
    net.kill_node(client);
    net.settle();
    assert!(net.nodes[leaf].cancelled.is_empty());
    net.run(secs(5));
    assert_eq!(code_of(&net, worker, inner), (Outcome::Unknown, code::DEADLINE_EXCEEDED));
}

#[test]
fn a_refusal_is_heard_where_acceptance_is_waited_for_and_a_failure_is_not() {
    let mut net = Net::new(3);
    let (node, worker) = net.member("worker", &[SUM]);
    let client = net.client();
    for (error, heard) in [
        (CallError::not_run(code::OVERLOADED, "full", ""), true),
        (CallError::failed(code::TRAP, "it trapped", ""), false),
    ] {
        net.nodes[node].behaviours.insert(worker, Behaviour::Fail(error));
        let accepted = net.call(client, with(Answer::Accepted, call(None, SUM)));
        let sent = net.call(client, with(Answer::Sent, call(None, SUM)));
        net.settle();
        assert_eq!(net.result(client, accepted).is_err(), heard);
        assert!(net.result(client, sent).is_ok());
    }
    nothing_is_left(&net);
}

#[test]
fn what_found_no_room_in_the_link_was_not_sent() {
    let mut net = Net::new(4);
    holder(&mut net, "worker", &[SUM]);
    let client = net.client();
    net.fill(client, true);
    let token = net.call(client, with(Answer::Sent, call(None, SUM)));
    assert_eq!(code_of(&net, client, token), (Outcome::NotRun, code::OVERLOADED));
    let nobody = net.call(client, with(Answer::Sent, call(None, "x#f")));
    assert_eq!(code_of(&net, client, nobody), (Outcome::NotRun, code::NO_SUCH_CALLBACK));
    nothing_is_left(&net);
}

#[test]
fn a_receiver_that_loses_its_link_goes_on_with_what_was_left_to_it() {
    for answer in [Answer::Accepted, Answer::Sent] {
        let mut net = Net::new(5);
        let (worker, _) = holder(&mut net, "worker", &[SUM]);
        let client = net.client();
        net.call(client, with(answer, call(None, SUM)));
        let waited_for = net.call(client, call(None, SUM));
        net.settle();
        net.cut(worker);
        net.run(secs(5));
        let served: Vec<_> = net.nodes[worker].served.iter().map(|incoming| incoming.id).collect();
        assert_eq!(net.nodes[worker].cancelled, [served[1]]);
        assert_eq!(code_of(&net, client, waited_for), (Outcome::Unknown, code::LINK_LOST));
        for id in served {
            net.answer(worker, id, Ok("done".into()));
        }
        net.settle();
        nothing_is_left(&net);
    }
}

#[test]
fn a_caller_that_gives_up_before_it_was_taken_cancels_it() {
    let mut net = Net::new(6);
    let (worker, _) = holder(&mut net, "worker", &[SUM]);
    let client = net.client();
    let token = net.call(client, with(Answer::Accepted, call(None, SUM)));
    net.command(client, Command::Cancel(token));
    net.settle();
    assert_eq!(net.nodes[worker].cancelled, [last(&net, worker).id]);
    net.answer(worker, last(&net, worker).id, Ok("dropped".into()));
    net.settle();
    assert!(!net.nodes[client].calls.contains_key(&token));
    nothing_is_left(&net);
}

#[test]
fn within_one_runtime_it_is_the_same_and_the_runtime_ends_after_it() {
    for answer in [Answer::Accepted, Answer::Sent] {
        let mut net = Net::new(7);
        let (node, _) = holder(&mut net, "worker", &[SUM]);
        let outer = net.call(node, call(None, SUM));
        let parent = last(&net, node);
        let other = net.add(node, "other", &["o#f"]);
        net.nodes[node].behaviours.insert(other, Behaviour::Hold);
        let token = net.call(node, with(answer, below(&parent, "o#f")));
        assert!(net.result(node, token).is_ok());
        net.command(node, Command::Cancel(outer));
        assert_eq!(net.nodes[node].cancelled, [parent.id]);
        net.command(node, Command::Drain);
        assert!(!net.nodes[node].log.contains(&"drained".to_owned()));
        net.answer(node, last(&net, node).id, Ok("dropped".into()));
        assert!(net.nodes[node].log.contains(&"drained".to_owned()));
        net.answer(node, parent.id, Ok("dropped".into()));
        net.settle();
        nothing_is_left(&net);
    }
}

#[test]
fn a_broadcast_whose_results_nobody_waits_for_has_an_entry_for_each_who_took_it() {
    let mut net = Net::new(8);
    let workers = [holder(&mut net, "one", &[SUM]), holder(&mut net, "two", &[SUM])];
    let client = net.client();
    let call = with(Answer::Accepted, call(None, SUM));
    let token = net.gather(client, GatherRequest { call, need: Need::All, stall: None });
    net.settle();
    assert_eq!(net.nodes[client].gathers[&token], Ok(GatherEnd::Met));
    assert!(net.nodes[client].entries[&token].iter().all(|entry| entry.result.is_ok()));
    for (node, _) in workers {
        assert!(net.nodes[node].cancelled.is_empty());
        net.answer(node, last(&net, node).id, Ok("dropped".into()));
    }
    net.settle();
    nothing_is_left(&net);
}

#[test]
fn a_call_that_begins_later_looks_names_up_then_and_has_its_whole_time_from_then() {
    let mut net = Net::new(9);
    let client = net.client();
    let later = CallRequest { eta: secs(20), timeout: secs(3), ..call(None, SUM) };
    let (lucky, vain) =
        (net.call(client, later.clone()), net.call(client, CallRequest { receiver: Some(name("x")), ..later }));
    net.run(secs(19));
    let (worker, _) = holder(&mut net, "worker", &[SUM]);
    net.run(ms(900));
    assert_eq!((net.nodes[worker].served.len(), net.count(client).calls), (0, 2));
    net.run(ms(200));
    assert_eq!(code_of(&net, client, vain), (Outcome::NotRun, code::NO_SUCH_PROCESS));
    net.run(secs(2));
    net.answer(worker, last(&net, worker).id, Ok("done".into()));
    net.settle();
    assert!(net.result(client, lucky).is_ok());
    nothing_is_left(&net);
}

#[test]
fn the_call_above_it_bounds_one_that_begins_later() {
    let mut net = Net::new(10);
    let (middle, _) = holder(&mut net, "middle", &[SUM]);
    let client = net.client();
    let outer = net.call(client, CallRequest { timeout: secs(4), ..call(None, SUM) });
    net.settle();
    let parent = last(&net, middle);
    let too_late = net.call(middle, CallRequest { eta: secs(60), ..below(&parent, SUM) });
    let cancelled = net.call(middle, CallRequest { eta: secs(2), ..below(&parent, SUM) });
    net.run(secs(1));
    net.command(middle, Command::Cancel(cancelled));
    net.run(secs(4));
    assert_eq!(code_of(&net, middle, too_late), (Outcome::NotRun, code::DEADLINE_EXCEEDED));
    assert!(net.nodes[middle].ended[&too_late] <= parent.deadline);
    assert!(!net.nodes[middle].calls.contains_key(&cancelled));
    assert!(net.result(client, outer).is_err());
}

#[test]
fn a_runtime_that_ends_does_not_wait_for_what_has_not_begun() {
    let mut net = Net::new(11);
    holder(&mut net, "worker", &[SUM]);
    let (node, caller) = net.member("caller", &[]);
    let later = CallRequest { eta: secs(60), ..call(Some(caller), SUM) };
    let token = net.call(node, later.clone());
    let gather = net.gather(node, GatherRequest { call: later, need: Need::All, stall: None });
    net.run(secs(1));
    net.command(node, Command::Drain);
    assert_eq!(code_of(&net, node, token), (Outcome::NotRun, code::DRAINING));
    assert_eq!(net.nodes[node].gathers[&gather].as_ref().unwrap_err().code, code::DRAINING);
    assert!(net.nodes[node].log.contains(&"drained".to_owned()));
    nothing_is_left(&net);
}

#[test]
fn a_broadcast_that_begins_later_takes_stock_then() {
    let mut net = Net::new(12);
    let client = net.client();
    let call = CallRequest { eta: secs(5), ..call(None, SUM) };
    let token = net.gather(client, GatherRequest { call, need: Need::All, stall: None });
    net.run(secs(4));
    net.member("there", &[SUM]);
    net.run(secs(2));
    net.member("late", &[SUM]);
    let names: Vec<_> = net.nodes[client].entries[&token].iter().map(|entry| entry.process.to_string()).collect();
    assert_eq!(names, ["there"]);
    nothing_is_left(&net);
}

#[test]
fn what_nobody_waits_for_is_not_bound_by_the_call_above_it_and_does_not_end_with_it() {
    let mut net = Net::new(13);
    let (worker, _) = holder(&mut net, "worker", &["w#f"]);
    let (middle, _) = holder(&mut net, "middle", &[SUM]);
    let client = net.client();
    let outer = net.call(client, CallRequest { timeout: secs(4), ..call(None, SUM) });
    net.settle();
    let parent = last(&net, middle);
    let later = CallRequest { eta: secs(10), timeout: secs(60), ..below(&parent, "w#f") };
    net.call(middle, with(Answer::Sent, later));
    let taken = CallRequest { timeout: secs(60), ..below(&parent, "w#f") };
    net.call(middle, with(Answer::Accepted, taken));
    net.command(client, Command::Cancel(outer));
    net.answer(middle, parent.id, Ok("dropped".into()));
    net.run(secs(11));
    assert!(net.nodes[worker].cancelled.is_empty());
    for incoming in net.nodes[worker].served.clone() {
        assert!(incoming.deadline > secs(50), "{incoming:?}");
        net.answer(worker, incoming.id, Ok("dropped".into()));
    }
    assert_eq!(net.nodes[worker].served.len(), 2);
    net.settle();
    nothing_is_left(&net);
}

#[test]
fn a_runtime_that_ends_sends_nothing_that_was_to_begin_later_also_below_calls() {
    let mut net = Net::new(14);
    let (middle, _) = holder(&mut net, "middle", &[SUM]);
    let client = net.client();
    net.call(client, call(None, SUM));
    net.settle();
    let parent = last(&net, middle);
    let later = with(Answer::Sent, CallRequest { eta: secs(60), ..below(&parent, SUM) });
    let before = net.call(middle, later.clone());
    net.command(middle, Command::Drain);
    let after = net.call(middle, later);
    for token in [before, after] {
        assert_eq!(code_of(&net, middle, token), (Outcome::NotRun, code::DRAINING));
    }
    net.answer(middle, parent.id, Ok("done".into()));
    net.settle();
    nothing_is_left(&net);
}
