//! Broadcasts: who is called, what he gives, and when it is over.

use std::time::Duration;

use daffi_proto::call::{CallRequest, Caller, GatherEnd, GatherRequest, Need, WhenAbandoned};
use daffi_proto::error::{CallError, Outcome, code};
use daffi_proto::id::{LocalId, Token};
use daffi_proto::node::{Command, MAX_BROADCAST, MAX_GATHERED_BYTES};
use daffi_proto::session::GRACE;

use crate::net::{Behaviour, Net, SUM, below, call, callback, ms, name, secs, text_type};

fn all(call: CallRequest) -> GatherRequest {
    GatherRequest { call, need: Need::All, stall: None }
}

/// Connected nodes, each with one process of this name that has SUM and behaves so.
fn members(net: &mut Net, behaviours: &[(&str, Behaviour)]) -> Vec<(usize, LocalId)> {
    let member = |(name, behaviour): &(&str, Behaviour)| {
        let (node, process) = net.member(name, &[SUM]);
        net.nodes[node].behaviours.insert(process, behaviour.clone());
        (node, process)
    };
    behaviours.iter().map(member).collect()
}

/// The entries of a gather, in the order in which they came.
fn entries(net: &Net, node: usize, token: Token) -> Vec<String> {
    let entries = net.nodes[node].entries.get(&token).into_iter().flatten();
    let text = |result: &Result<_, CallError>| match result {
        Ok(_) => "ok".to_owned(),
        Err(error) => format!("{:?} {}", error.outcome, error.code),
    };
    entries.map(|entry| format!("{}: {}", entry.process, text(&entry.result))).collect()
}

fn end(net: &Net, node: usize, token: Token) -> GatherEnd {
    *net.nodes[node].gathers[&token].as_ref().unwrap()
}

fn why(net: &Net, node: usize, token: Token) -> &CallError {
    net.nodes[node].gathers[&token].as_ref().unwrap_err()
}

fn nothing_is_left(net: &Net) {
    for node in 0..net.nodes.len() {
        let counts = net.count(node);
        let open = [counts.calls, counts.gathers, counts.away, counts.waiting, counts.deadlines];
        assert_eq!(open, [0; 5], "node {node}: {counts:?}");
    }
}

const ECHO: Behaviour = Behaviour::Echo(Duration::ZERO);

#[test]
fn every_process_that_has_the_callback_is_called_once_but_the_caller_is_not() {
    let mut net = Net::new(1);
    let nodes = members(&mut net, &[("one", ECHO), ("two", ECHO)]);
    let (node, caller) = net.member("caller", &[SUM]);
    net.add(node, "beside", &[SUM]);
    net.add(node, "other", &["x#f"]);
    net.settle();
    let token = net.gather(node, all(call(Some(caller), SUM)));
    net.settle();
    let mut came = entries(&net, node, token);
    came.sort();
    assert_eq!(came, ["beside: ok", "one: ok", "two: ok"]);
    assert_eq!(end(&net, node, token), GatherEnd::Met);
    assert!(nodes.iter().all(|(node, _)| net.nodes[*node].served.len() == 1));
    nothing_is_left(&net);
}

#[test]
fn entries_come_as_they_arrive_and_a_failure_is_one_of_them() {
    let mut net = Net::new(2);
    let trap = Behaviour::Fail(CallError::failed(code::TRAP, "it trapped", ""));
    members(&mut net, &[("slow", Behaviour::Echo(secs(2))), ("bad", trap), ("quick", Behaviour::Echo(ms(100)))]);
    let client = net.client();
    let token = net.gather(client, all(call(None, SUM)));
    net.run(secs(1));
    assert_eq!(entries(&net, client, token), ["bad: Failed trap", "quick: ok"]);
    net.run(secs(2));
    assert_eq!(entries(&net, client, token).last().unwrap(), "slow: ok");
    assert_eq!(end(&net, client, token), GatherEnd::Met);
    nothing_is_left(&net);
}

#[test]
fn who_has_not_answered_by_the_deadline_is_an_entry_and_his_call_is_cancelled() {
    let mut net = Net::new(3);
    let nodes = members(&mut net, &[("holds", Behaviour::Hold), ("quick", ECHO)]);
    let client = net.client();
    let token = net.gather(client, all(call(None, SUM)));
    net.run(secs(10));
    assert_eq!(entries(&net, client, token), ["quick: ok", "holds: Unknown deadline-exceeded"]);
    net.settle();
    assert_eq!(net.nodes[nodes[0].0].cancelled.len(), 1);
    nothing_is_left(&net);
}

#[test]
fn a_node_that_is_lost_is_an_entry_at_once_and_who_comes_later_is_no_part_of_it() {
    let mut net = Net::new(4);
    let nodes = members(&mut net, &[("dies", Behaviour::Hold), ("holds", Behaviour::Hold)]);
    let client = net.client();
    let token = net.gather(client, all(call(None, SUM)));
    net.settle();
    net.kill_node(nodes[0].0);
    let (late, _) = net.member("late", &[SUM]);
    net.run(ms(100));
    assert_eq!(entries(&net, client, token), ["dies: Unknown link-lost"]);
    let id = net.nodes[nodes[1].0].served[0].id;
    net.answer(nodes[1].0, id, Ok("done".into()));
    net.settle();
    assert_eq!(end(&net, client, token), GatherEnd::Met);
    assert_eq!(net.nodes[late].served.len(), 0);
    nothing_is_left(&net);
}

#[test]
fn when_the_first_values_are_there_the_rest_is_cancelled_without_entries() {
    for need in [Need::First(2), Need::Quorum(2)] {
        let mut net = Net::new(5);
        let trap = Behaviour::Fail(CallError::failed(code::TRAP, "it trapped", ""));
        let nodes = members(&mut net, &[("bad", trap), ("a", ECHO), ("b", ECHO), ("holds", Behaviour::Hold)]);
        let client = net.client();
        let token = net.gather(client, GatherRequest { need, ..all(call(None, SUM)) });
        net.settle();
        let mut came = entries(&net, client, token);
        came.sort();
        came.retain(|entry| !entry.starts_with("bad"));
        assert_eq!(came, ["a: ok", "b: ok"]);
        assert_eq!(end(&net, client, token), GatherEnd::Met);
        assert_eq!(net.nodes[nodes[3].0].cancelled.len(), 1);
        nothing_is_left(&net);
    }
}

#[test]
fn a_quorum_fails_as_soon_as_it_cannot_be_reached_and_first_waits_for_all() {
    let trap = Behaviour::Fail(CallError::failed(code::TRAP, "it trapped", ""));
    for (need, over) in [(Need::Quorum(2), true), (Need::First(2), false)] {
        let mut net = Net::new(6);
        let nodes = members(&mut net, &[("bad", trap.clone()), ("holds", Behaviour::Hold)]);
        let client = net.client();
        let token = net.gather(client, GatherRequest { need, ..all(call(None, SUM)) });
        net.settle();
        assert_eq!(entries(&net, client, token), ["bad: Failed trap"]);
        assert_eq!(net.nodes[client].gathers.contains_key(&token), over);
        assert_eq!(net.nodes[nodes[1].0].cancelled.len(), usize::from(over));
        net.run(secs(10));
        assert_eq!(end(&net, client, token), GatherEnd::Unmet);
        nothing_is_left(&net);
    }
}

#[test]
fn a_quorum_of_more_than_there_are_is_not_begun() {
    let mut net = Net::new(7);
    let nodes = members(&mut net, &[("one", ECHO)]);
    let client = net.client();
    for (need, end_as) in [(Need::Quorum(2), GatherEnd::Unmet), (Need::First(0), GatherEnd::Met)] {
        let token = net.gather(client, GatherRequest { need, ..all(call(None, SUM)) });
        net.settle();
        assert_eq!((end(&net, client, token), entries(&net, client, token).len()), (end_as, 0));
    }
    assert_eq!(net.nodes[nodes[0].0].served.len(), 0);
    nothing_is_left(&net);
}

#[test]
fn when_nothing_comes_for_too_long_the_rest_is_given_up() {
    let mut net = Net::new(8);
    let first = Behaviour::Echo(ms(800));
    members(&mut net, &[("first", first), ("second", Behaviour::Echo(ms(1600))), ("holds", Behaviour::Hold)]);
    let client = net.client();
    let request = GatherRequest { stall: Some(secs(1)), ..all(call(None, SUM)) };
    let token = net.gather(client, request);
    net.run(secs(4));
    let came = entries(&net, client, token);
    assert_eq!(came, ["first: ok", "second: ok", "holds: Unknown deadline-exceeded"]);
    assert!(net.nodes[client].ended[&token] < secs(3));
    nothing_is_left(&net);
}

#[test]
fn another_signature_is_an_entry_and_is_not_called() {
    let mut net = Net::new(9);
    members(&mut net, &[("same", ECHO)]);
    let (other, _) = net.member("other", &[]);
    net.try_add(other, "differs", &[(SUM, text_type())]).unwrap();
    net.settle();
    let client = net.client();
    let token = net.gather(client, all(call(None, SUM)));
    net.settle();
    assert_eq!(entries(&net, client, token), ["differs: NotRun signature-mismatch", "same: ok"]);
    assert_eq!(net.nodes[other].served.len(), 0);
    // Also where there is no other.
    let only = net.gather(other, all(call(None, "x:y/z#nobody")));
    net.settle();
    assert_eq!(why(&net, other, only).code, code::NO_SUCH_CALLBACK);
    nothing_is_left(&net);
}

#[test]
fn a_process_with_two_versions_is_called_once_with_the_higher_one() {
    let mut net = Net::new(10);
    let (node, _) = net.member("both", &["a:b/c@1.2.0#f", "a:b/c@1.1.0#f"]);
    let client = net.client();
    let token = net.gather(client, all(call(None, "a:b/c@1.0.0#f")));
    net.settle();
    assert_eq!(entries(&net, client, token), ["both: ok"]);
    assert_eq!(net.nodes[node].served.iter().map(|incoming| incoming.callback).collect::<Vec<_>>(), [0]);
}

#[test]
fn nobody_is_an_error_unless_it_waits_for_the_first() {
    let mut net = Net::new(11);
    let (node, caller) = net.member("caller", &[SUM]);
    let client = net.client();
    let token = net.gather(client, all(call(None, "x:y/z#f")));
    assert_eq!(
        (why(&net, client, token).code.as_str(), why(&net, client, token).outcome),
        (code::NO_SUCH_CALLBACK, Outcome::NotRun)
    );
    let own = net.gather(node, all(call(Some(caller), SUM)));
    assert!(why(&net, node, own).message.contains("only the calling process"));
    let waiting = all(CallRequest { wait_ready: true, ..call(None, "x:y/z#f") });
    let (lucky, vain) = (net.gather(client, waiting.clone()), net.gather(client, waiting.clone()));
    net.command(client, Command::Cancel(vain));
    net.run(secs(5));
    net.member("late", &["x:y/z#f"]);
    net.settle();
    assert_eq!(entries(&net, client, lucky), ["late: ok"]);
    assert!(!net.nodes[client].gathers.contains_key(&vain));
    let never =
        GatherRequest { call: CallRequest { callbacks: [callback("n:n/n#f")].into(), ..waiting.call }, ..waiting };
    let token = net.gather(client, never);
    net.run(secs(11));
    assert_eq!(why(&net, client, token).code, code::NO_SUCH_CALLBACK);
    nothing_is_left(&net);
}

#[test]
fn a_node_without_a_link_waits_for_it_before_it_takes_stock() {
    let mut net = Net::new(12);
    members(&mut net, &[("one", ECHO), ("two", ECHO)]);
    let (node, caller) = net.member("caller", &[]);
    net.add(node, "beside", &[SUM]);
    net.settle();
    net.kill_controller();
    net.settle();
    let patient = net.gather(node, all(CallRequest { timeout: secs(60), ..call(Some(caller), SUM) }));
    let brief = net.gather(node, all(CallRequest { timeout: secs(1), ..call(Some(caller), SUM) }));
    net.run(secs(2));
    assert_eq!(why(&net, node, brief).code, code::NOT_CONNECTED);
    net.start_controller();
    net.run(secs(30) + GRACE);
    assert!(entries(&net, node, patient).contains(&"beside: ok".to_owned()));
    assert_eq!(end(&net, node, patient), GatherEnd::Met);
    nothing_is_left(&net);
}

#[test]
fn a_lost_link_of_the_caller_ends_all_legs_that_went_over_it_and_no_other() {
    let mut net = Net::new(13);
    let nodes = members(&mut net, &[("far", Behaviour::Hold)]);
    let (node, caller) = net.member("caller", &[]);
    let beside = net.add(node, "beside", &[SUM]);
    net.nodes[node].behaviours.insert(beside, Behaviour::Echo(secs(1)));
    net.settle();
    let token = net.gather(node, all(call(Some(caller), SUM)));
    net.run(ms(100));
    net.lose(node);
    assert_eq!(entries(&net, node, token), ["far: Unknown link-lost"]);
    net.run(secs(2));
    assert_eq!(entries(&net, node, token).last().unwrap(), "beside: ok");
    assert_eq!(net.nodes[nodes[0].0].cancelled.len(), 1);
}

#[test]
fn giving_it_up_or_the_call_above_it_cancels_every_leg() {
    for give_up_above in [false, true] {
        let mut net = Net::new(14);
        let nodes = members(&mut net, &[("far", Behaviour::Hold), ("too", Behaviour::Hold)]);
        let (node, middle) = net.member("middle", &["m#f"]);
        let beside = net.add(node, "beside", &[SUM]);
        net.nodes[node].behaviours.extend([(middle, Behaviour::Hold), (beside, Behaviour::Hold)]);
        net.settle();
        let client = net.client();
        let outer = net.call(client, call(None, "m#f"));
        net.settle();
        let parent = net.nodes[node].served[0].clone();
        let token = net.gather(node, all(below(&parent, SUM)));
        net.settle();
        if give_up_above {
            net.command(client, Command::Cancel(outer));
        } else {
            net.command(node, Command::Cancel(token));
        }
        net.settle();
        assert!(nodes.iter().all(|(node, _)| net.nodes[*node].cancelled.len() == 1));
        assert!(net.nodes[node].cancelled.contains(&net.nodes[node].served[1].id));
        assert_eq!(net.nodes[node].gathers.contains_key(&token), give_up_above);
        if give_up_above {
            assert_eq!(why(&net, node, token).code, code::CANCELLED);
            nothing_is_left(&net);
        }
        // The chain of each leg names who called whom.
        let chain = net.nodes[nodes[0].0].served[0].chain.clone();
        assert_eq!((chain.len(), chain[1].instance), (2, 7));
    }
}

#[test]
fn one_that_is_to_be_finished_goes_on_when_the_call_above_it_is_given_up() {
    let mut net = Net::new(15);
    let nodes = members(&mut net, &[("far", Behaviour::Hold)]);
    let (node, middle) = net.member("middle", &["m#f"]);
    net.nodes[node].behaviours.insert(middle, Behaviour::Hold);
    let outer = net.call(node, call(None, "m#f"));
    let parent = net.nodes[node].served[0].clone();
    let request = CallRequest { when_abandoned: WhenAbandoned::Finish, ..below(&parent, SUM) };
    let token = net.gather(node, all(request));
    net.settle();
    net.command(node, Command::Cancel(outer));
    net.command(node, Command::Drain);
    assert!(net.nodes[node].log.contains(&"drained".to_owned()));
    let id = net.nodes[nodes[0].0].served[0].id;
    net.answer(nodes[0].0, id, Ok("done".into()));
    net.settle();
    assert_eq!(entries(&net, node, token), ["far: ok"]);
    nothing_is_left(&net);
}

#[test]
fn a_runtime_that_ends_waits_for_its_broadcasts_and_begins_none() {
    let mut net = Net::new(16);
    let nodes = members(&mut net, &[("far", Behaviour::Hold)]);
    let (node, caller) = net.member("caller", &[]);
    let token = net.gather(node, all(call(Some(caller), SUM)));
    let waiting = net.gather(node, all(CallRequest { wait_ready: true, ..call(Some(caller), "x:y/z#f") }));
    net.settle();
    net.command(node, Command::Drain);
    assert_eq!(why(&net, node, waiting).code, code::DRAINING);
    let refused = net.gather(node, all(call(Some(caller), SUM)));
    assert_eq!(why(&net, node, refused).code, code::DRAINING);
    assert!(!net.nodes[node].log.contains(&"drained".to_owned()));
    let id = net.nodes[nodes[0].0].served[0].id;
    net.answer(nodes[0].0, id, Ok("done".into()));
    net.settle();
    assert_eq!(end(&net, node, token), GatherEnd::Met);
    assert!(net.nodes[node].log.contains(&"drained".to_owned()));
    nothing_is_left(&net);
}

#[test]
fn results_beyond_the_limit_of_all_together_are_errors() {
    let mut net = Net::new(17);
    let (client, nodes) = (net.client(), members(&mut net, &[("a", Behaviour::Hold), ("b", Behaviour::Hold)]));
    let others: Vec<_> = ["c", "d", "e"].map(|name| net.member(name, &[SUM])).into_iter().collect();
    for (node, process) in &others {
        net.nodes[*node].behaviours.insert(*process, Behaviour::Hold);
    }
    let token = net.gather(client, all(call(None, SUM)));
    net.settle();
    for (node, _) in nodes.into_iter().chain(others) {
        let id = net.nodes[node].served[0].id;
        net.answer(node, id, Ok(vec![0; MAX_GATHERED_BYTES / 4].into()));
        net.settle();
    }
    let came = entries(&net, client, token);
    assert_eq!((came[3].as_str(), came[4].as_str()), ("d: ok", "e: Failed payload-too-large"));
    nothing_is_left(&net);
}

#[test]
fn more_receivers_than_allowed_and_a_named_one_are_refused() {
    let mut net = Net::new(18);
    let (node, caller) = net.member("caller", &[]);
    for batch in 0..=MAX_BROADCAST / 512 {
        let (other, _) = net.member(&format!("many{batch}"), &[]);
        for at in 0..512 {
            net.add(other, &format!("many{batch}-{at}"), &[SUM]);
        }
        net.settle();
    }
    let token = net.gather(node, all(call(Some(caller), SUM)));
    let error = why(&net, node, token);
    assert_eq!((error.code.as_str(), error.outcome, error.retryable), (code::OVERLOADED, Outcome::NotRun, false));
    let pinned = CallRequest { receiver: Some(name("many0-1")), ..call(Some(caller), SUM) };
    let token = net.gather(node, all(pinned));
    assert_eq!(why(&net, node, token).outcome, Outcome::NotRun);
    let gone = Caller::Process { id: LocalId(99), instance: 0, parent: None, chain: [].into() };
    let token = net.gather(node, all(CallRequest { caller: gone, ..call(None, SUM) }));
    assert_eq!(why(&net, node, token).outcome, Outcome::NotRun);
    nothing_is_left(&net);
}
