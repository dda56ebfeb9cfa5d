//! Whom a call goes to and what comes back.

use daffi_proto::call::{CallRequest, Caller, Hop, Incoming, MAX_CHAIN};
use daffi_proto::error::{CallError, Outcome, code};
use daffi_proto::id::Token;
use daffi_proto::node::{Command, Input, LOAD_EVERY, Output};
use daffi_proto::schedule::{Clock, Utc};
use daffi_proto::session::{PeerIdentity, Role};

use crate::net::{Behaviour, Net, SUM, below, call, ms, name, process, secs};

#[test]
fn a_call_reaches_the_process_that_has_the_callback_and_brings_its_result_back() {
    let mut net = Net::new(1);
    let (publisher, math) = net.member("publisher", &["demo:tutorial/math#other", SUM]);
    let (consumer, main) = net.member("consumer", &[]);
    let token = net.call(consumer, call(Some(main), SUM));
    net.settle();
    let reply = net.result(consumer, token).as_ref().unwrap();
    assert_eq!((&reply.result[..], reply.process.as_str()), (&b"args"[..], "publisher"));
    let incoming = &net.nodes[publisher].served[0];
    assert_eq!((incoming.process, incoming.callback), (math, 1));
    assert_eq!(incoming.caller, Some(process("consumer")));
    assert_eq!(incoming.chain.len(), 1);
    assert_eq!(net.controller.as_ref().unwrap().counts().relays, 0);
}

#[test]
fn a_client_without_a_name_calls_too() {
    let mut net = Net::new(2);
    let (publisher, _) = net.member("publisher", &[SUM]);
    let client = net.client();
    let token = net.call(client, call(None, SUM));
    net.settle();
    assert!(net.result(client, token).is_ok());
    assert_eq!(net.nodes[publisher].served[0].caller, None);
}

#[test]
fn calls_between_processes_of_one_node_never_touch_the_link() {
    let mut net = Net::new(3);
    let node = net.runtime("one", Role::Node, PeerIdentity::InProcess);
    net.add(node, "publisher", &[SUM]);
    let consumer = net.add(node, "consumer", &[]);
    let token = net.call(node, call(Some(consumer), SUM));
    net.settle();
    assert_eq!(net.result(node, token).as_ref().unwrap().process.as_str(), "publisher");
}

#[test]
fn a_failure_comes_back_as_the_callee_told_it() {
    let mut net = Net::new(4);
    let (publisher, math) = net.member("publisher", &[SUM]);
    let client = net.client();
    let failure = CallError::failed(code::TRAP, "it trapped: unreachable", SUM).at("publisher").with_trace("wasm");
    net.nodes[publisher].behaviours.insert(math, Behaviour::Fail(failure.clone()));
    let token = net.call(client, call(None, SUM));
    net.settle();
    assert_eq!(net.error(client, token), &failure);
}

#[test]
fn calls_go_to_the_process_with_the_fewest_in_flight_then_in_turn() {
    let mut net = Net::new(5);
    let members = ["a", "b", "c"].map(|name| net.member(name, &[SUM]));
    let client = net.client();
    for _ in 0..9 {
        net.call(client, call(None, SUM));
        net.settle();
    }
    assert_eq!(members.map(|(node, _)| net.nodes[node].served.len()), [3, 3, 3]);
    // `a` is busy with two calls: the next four go to the others.
    let (busy, process) = members[0];
    net.nodes[busy].behaviours.insert(process, Behaviour::Hold);
    for _ in 0..2 {
        let request = CallRequest { receiver: Some(name("a")), ..call(None, SUM) };
        net.call(client, request);
    }
    net.settle();
    for _ in 0..4 {
        net.call(client, call(None, SUM));
        net.settle();
    }
    assert_eq!(members.map(|(node, _)| net.nodes[node].served.len()), [5, 5, 5]);
}

#[test]
fn the_controller_spreads_the_calls_of_nodes_that_do_not_know_of_each_other() {
    let mut net = Net::new(6);
    let members = ["a", "b", "c", "d"].map(|name| net.member(name, &[SUM]));
    for (node, process) in members {
        net.nodes[node].behaviours.insert(process, Behaviour::Hold);
    }
    for _ in 0..4 {
        let client = net.client();
        net.call(client, call(None, SUM));
        net.settle();
    }
    assert_eq!(members.map(|(node, _)| net.nodes[node].served.len()), [1, 1, 1, 1]);
}

#[test]
fn calls_that_a_process_has_from_its_own_runtime_count_too() {
    let mut net = Net::new(17);
    let (node, busy) = net.member("busy", &[SUM]);
    let main = net.add(node, "main", &[]);
    let (elsewhere, _) = net.member("idle", &[SUM]);
    let client = net.client();
    net.nodes[node].behaviours.insert(busy, Behaviour::Hold);
    let local = CallRequest { receiver: Some(name("busy")), ..call(Some(main), SUM) };
    net.call(node, local);
    let apart = |net: &Net| net.controller.as_ref().unwrap().in_flight(&process("busy")).unwrap().1;
    assert_eq!(apart(&net), 0);
    net.run(LOAD_EVERY + ms(10));
    assert_eq!(apart(&net), 1);
    for _ in 0..4 {
        net.call(client, call(None, SUM));
        net.settle();
    }
    assert_eq!((net.nodes[node].served.len(), net.nodes[elsewhere].served.len()), (1, 4));
    let held = net.nodes[node].served[0].id;
    net.answer(node, held, Ok("done".into()));
    net.nodes[node].behaviours.insert(busy, Behaviour::Echo(ms(0)));
    net.run(LOAD_EVERY + ms(10));
    assert_eq!(apart(&net), 0);
    for _ in 0..4 {
        net.call(client, call(None, SUM));
        net.settle();
    }
    // The one that had to stand back has its turns again.
    assert!(net.nodes[node].served.len() >= 3);
}

#[test]
fn short_calls_within_a_runtime_are_not_worth_a_frame() {
    let mut net = Net::new(18);
    let (node, _) = net.member("server", &[SUM]);
    let main = net.add(node, "main", &[]);
    net.settle();
    let (mut now, node, mut ended) = (net.now, &mut net.nodes[node].node, 0);
    for token in 0..1000 {
        now += ms(1);
        let command = Command::Call { token: Token(token), request: call(Some(main), SUM).into() };
        let clock = Clock { mono: now, utc: Utc::default() };
        node.handle(clock, Input::Command(command));
        while let Some(output) = node.poll_output() {
            match output {
                Output::Serve(Incoming { id, args, .. }) => {
                    node.handle(clock, Input::Command(Command::Served { id, result: Ok(args) }));
                }
                Output::CallDone { .. } => ended += 1,
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!(ended, 1000);
}

#[test]
fn the_first_turn_depends_on_the_seed() {
    let first = |seed| {
        let mut net = Net::new(seed);
        for name in ["a", "b", "c"] {
            net.member(name, &[SUM]);
        }
        let client = net.client();
        let token = net.call(client, call(None, SUM));
        net.settle();
        net.result(client, token).as_ref().unwrap().process.clone()
    };
    let firsts: std::collections::BTreeSet<_> = (0..20).map(first).collect();
    assert_eq!(firsts.len(), 3);
    assert_eq!(first(7), first(7));
}

#[test]
fn a_process_of_this_node_and_remote_ones_are_chosen_among_alike() {
    let mut net = Net::new(7);
    let (remote, _) = net.member("remote", &[SUM]);
    let (node, main) = net.member("main", &[]);
    net.add(node, "local", &[SUM]);
    net.settle();
    for _ in 0..4 {
        net.call(node, call(Some(main), SUM));
        net.settle();
    }
    assert_eq!(net.nodes[remote].served.len(), 2);
    assert_eq!(net.nodes[node].served.len(), 2);
}

#[test]
fn a_process_never_serves_its_own_call() {
    let mut net = Net::new(8);
    let (node, both) = net.member("both", &[SUM]);
    let token = net.call(node, call(Some(both), SUM));
    net.settle();
    let error = net.error(node, token);
    assert_eq!((error.outcome, error.code.as_str()), (Outcome::NotRun, code::NO_SUCH_CALLBACK));
    assert!(error.message.contains("no process serves its own calls"), "{error}");
    let request = CallRequest { receiver: Some(name("both")), ..call(Some(both), SUM) };
    let token = net.call(node, request);
    assert_eq!(net.error(node, token).code, code::NO_SUCH_PROCESS);

    let (other, _) = net.member("other", &[SUM]);
    for _ in 0..4 {
        net.call(node, call(Some(both), SUM));
        net.settle();
    }
    assert_eq!((net.nodes[node].served.len(), net.nodes[other].served.len()), (0, 4));
}

#[test]
fn two_processes_of_one_runtime_may_call_each_other_and_themselves_never() {
    let mut net = Net::new(9);
    let (node, one) = net.member("one", &[SUM]);
    let two = net.add(node, "two", &[SUM]);
    net.settle();
    for _ in 0..3 {
        net.call(node, call(Some(one), SUM));
        net.settle();
    }
    assert!(net.nodes[node].served.iter().all(|incoming| incoming.process == two));
}

#[test]
fn a_pinned_receiver_gets_the_call_and_nobody_else() {
    let mut net = Net::new(10);
    net.member("a", &[SUM]);
    let (b, _) = net.member("b", &[SUM]);
    net.member("c", &["other"]);
    let client = net.client();
    let to = |receiver: &str| CallRequest { receiver: Some(name(receiver)), ..call(None, SUM) };
    for _ in 0..5 {
        let token = net.call(client, to("b"));
        net.settle();
        assert_eq!(net.result(client, token).as_ref().unwrap().process.as_str(), "b");
    }
    assert_eq!(net.nodes[b].served.len(), 5);

    let token = net.call(client, to("bb"));
    let error = net.error(client, token).clone();
    assert_eq!((error.code.as_str(), error.outcome), (code::NO_SUCH_PROCESS, Outcome::NotRun));
    assert_eq!(error.message, "no process \"bb\" is on the mesh");
    let token = net.call(client, to("c"));
    let error = net.error(client, token).clone();
    assert_eq!((error.code.as_str(), error.process.as_deref()), (code::NO_SUCH_CALLBACK, Some("c")));
    assert!(error.message.contains("the process \"c\" has no callback demo:tutorial/math#sum"), "{error}");
}

#[test]
fn the_names_of_a_call_are_tried_in_their_order() {
    let mut net = Net::new(11);
    net.member("plain", &["demo:tutorial/math#sum"]);
    let client = net.client();
    let request = CallRequest {
        callbacks: ["demo:tutorial/math-checked#sum", "demo:tutorial/math#sum"].map(crate::net::callback).into(),
        ..call(None, SUM)
    };
    let token = net.call(client, request.clone());
    net.settle();
    assert_eq!(net.result(client, token).as_ref().unwrap().process.as_str(), "plain");
    net.member("checked", &["demo:tutorial/math-checked#sum"]);
    let token = net.call(client, request);
    net.settle();
    assert_eq!(net.result(client, token).as_ref().unwrap().process.as_str(), "checked");
}

#[test]
fn the_chain_names_every_caller_the_outermost_first() {
    let mut net = Net::new(12);
    let (c, third) = net.member("third", &["c#f"]);
    let (b, second) = net.member("second", &["b#f"]);
    let (a, first) = net.member("first", &[]);
    net.nodes[b].behaviours.insert(second, Behaviour::Hold);
    net.nodes[c].behaviours.insert(third, Behaviour::Hold);
    net.call(a, call(Some(first), "b#f"));
    net.settle();
    let parent = net.nodes[b].served[0].clone();
    net.call(b, below(&parent, "c#f"));
    net.settle();
    let chain: Vec<_> = net.nodes[c].served[0].chain.iter().map(|hop| (hop.process.clone(), hop.instance)).collect();
    assert_eq!(chain, [(Some(process("first")), 0), (Some(process("second")), 7)]);
}

#[test]
fn a_call_below_one_that_is_over_keeps_the_chain_and_nobody_waits_in_it() {
    let mut net = Net::new(17);
    let (c, third) = net.member("third", &["c#f"]);
    let (b, second) = net.member("second", &["b#f"]);
    let (a, first) = net.member("first", &[]);
    net.nodes[c].behaviours.insert(third, Behaviour::Hold);
    net.nodes[b].behaviours.insert(second, Behaviour::Echo(ms(0)));
    let token = net.call(a, call(Some(first), "b#f"));
    net.settle();
    assert!(net.result(a, token).is_ok());
    let over = net.nodes[b].served[0].clone();
    net.call(b, below(&over, "c#f"));
    net.settle();
    let chain: Vec<_> = net.nodes[c].served[0].chain.iter().map(|hop| (hop.process.clone(), hop.instance)).collect();
    assert_eq!(chain, [(Some(process("first")), Hop::NO_INSTANCE), (Some(process("second")), 7)]);
}

#[test]
fn a_chain_of_calls_ends_at_the_limit() {
    let mut net = Net::new(13);
    let (node, one) = net.member("one", &["a#f"]);
    let two = net.add(node, "two", &["b#f"]);
    net.nodes[node].behaviours.insert(one, Behaviour::Hold);
    net.nodes[node].behaviours.insert(two, Behaviour::Hold);
    net.call(node, call(None, "a#f"));
    for depth in 1..MAX_CHAIN {
        let parent = net.nodes[node].served[depth - 1].clone();
        net.call(node, below(&parent, if depth % 2 == 0 { "a#f" } else { "b#f" }));
    }
    let parent = net.nodes[node].served[MAX_CHAIN - 1].clone();
    assert_eq!(parent.chain.len(), MAX_CHAIN);
    let token = net.call(node, below(&parent, "a#f"));
    let error = net.error(node, token);
    assert_eq!((error.code.as_str(), error.outcome, error.retryable), (code::TOO_DEEP, Outcome::NotRun, false));
}

#[test]
fn arguments_and_results_over_the_limit_fail_and_nothing_else_does() {
    let mut net = Net::new(14);
    let mut config = {
        let probe = net.runtime("small", Role::Node, PeerIdentity::Unix { uid: 1, pid: None });
        net.nodes[probe].config.clone()
    };
    config.max_payload_bytes = 8;
    let small = net.runtime_with(config, PeerIdentity::Unix { uid: 1, pid: None });
    let process = net.add(small, "small", &[SUM]);
    net.dial(small);
    net.settle();
    let client = net.client();
    let with = |bytes: usize| CallRequest { args: vec![0; bytes].into(), ..call(None, SUM) };
    // Too large for the callee's node: the controller says so.
    let token = net.call(client, with(9));
    net.settle();
    let error = net.error(client, token).clone();
    assert_eq!((error.code.as_str(), error.outcome), (code::PAYLOAD_TOO_LARGE, Outcome::NotRun));
    assert_eq!(error.callback, SUM);
    // Too large a result.
    net.nodes[small].behaviours.insert(process, Behaviour::Hold);
    let token = net.call(client, with(8));
    net.settle();
    let id = net.nodes[small].served[0].id;
    net.answer(small, id, Ok(vec![0; 9].into()));
    net.settle();
    let error = net.error(client, token);
    assert_eq!((error.code.as_str(), error.outcome), (code::PAYLOAD_TOO_LARGE, Outcome::Failed));
    // Too large for the caller's own node.
    let token = net.call(small, CallRequest { args: vec![0; 9].into(), ..call(None, SUM) });
    assert_eq!(net.error(small, token).outcome, Outcome::NotRun);
}

#[test]
fn a_call_by_a_process_that_has_left_does_not_run() {
    let mut net = Net::new(15);
    net.member("publisher", &[SUM]);
    let (node, main) = net.member("main", &[]);
    net.command(node, daffi_proto::node::Command::RemoveProcess(main));
    let caller = Caller::Process { id: main, instance: 0, parent: None, chain: [].into() };
    let token = net.call(node, CallRequest { caller, ..call(None, SUM) });
    assert_eq!(net.error(node, token).outcome, Outcome::NotRun);
}

#[test]
fn a_caller_that_gives_up_hears_nothing_more_and_the_callee_is_told() {
    let mut net = Net::new(16);
    let (publisher, math) = net.member("publisher", &[SUM]);
    net.nodes[publisher].behaviours.insert(math, Behaviour::Echo(secs(1)));
    let client = net.client();
    let token = net.call(client, call(None, SUM));
    net.run(ms(100));
    net.command(client, daffi_proto::node::Command::Cancel(token));
    net.run(ms(100));
    assert_eq!(net.nodes[publisher].cancelled, [net.nodes[publisher].served[0].id]);
    // It runs on, and is counted at the controller until it is over.
    assert_eq!(net.controller.as_ref().unwrap().counts().relays, 1);
    net.run(secs(2));
    assert_eq!(net.controller.as_ref().unwrap().counts().relays, 0);
    assert!(net.nodes[client].calls.is_empty());
    assert_eq!(net.count(client).calls, 0);
}
