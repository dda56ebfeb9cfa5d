//! Links that break, peers that are silent, queues that are full.

use bytes::Bytes;
use daffi_proto::call::{Answer, CallRequest, Hop, Mode};
use daffi_proto::controller::Input;
use daffi_proto::error::{CallError, MAX_ERROR_BYTES, Outcome, code};
use daffi_proto::frame::{Frame, Header, Target};
use daffi_proto::id::{CallId, EntryId, GroupId};
use daffi_proto::node;
use daffi_proto::schedule::{Missed, Overlap, Plan, TaskOp, TaskSpec};
use daffi_proto::session::{HEARTBEAT, LinkFault, Liveness, MISSED_HEARTBEATS, Pulse};

use crate::net::{ARGS, Behaviour, Net, SUM, call, callback, ms, process, secs, sum_type};

#[test]
fn a_lost_link_ends_the_calls_over_it_at_once_and_local_ones_go_on() {
    let mut net = Net::new(1);
    let (publisher, math) = net.member("publisher", &[SUM]);
    net.nodes[publisher].behaviours.insert(math, Behaviour::Hold);
    let (node, main) = net.member("main", &[]);
    let local = net.add(node, "local", &["local#f"]);
    net.nodes[node].behaviours.insert(local, Behaviour::Hold);
    net.settle();
    let away = net.call(node, call(Some(main), SUM));
    let here = net.call(node, call(Some(main), "local#f"));
    net.settle();
    net.cut(node);
    net.settle();
    let error = net.error(node, away).clone();
    assert_eq!((error.outcome, error.code.as_str(), error.retryable), (Outcome::Unknown, code::LINK_LOST, false));
    assert!(error.message.contains("cut by the test"), "{error}");
    assert_eq!(net.nodes[publisher].cancelled.len(), 1);
    let id = net.nodes[node].served[0].id;
    net.answer(node, id, Ok(Bytes::new()));
    assert!(net.result(node, here).is_ok());
}

#[test]
fn when_the_callee_dies_its_callers_hear_of_it_at_once() {
    let mut net = Net::new(2);
    let (publisher, math) = net.member("publisher", &[SUM]);
    net.nodes[publisher].behaviours.insert(math, Behaviour::Hold);
    let clients = [net.client(), net.client()];
    let tokens = clients.map(|client| net.call(client, call(None, SUM)));
    net.settle();
    net.kill_node(publisher);
    net.run(ms(10));
    for (client, token) in clients.into_iter().zip(tokens) {
        let error = net.error(client, token);
        assert_eq!((error.outcome, error.code.as_str()), (Outcome::Unknown, code::LINK_LOST));
        assert_eq!((error.process.as_deref(), error.callback.as_str()), (Some("publisher"), SUM));
    }
    let token = net.call(clients[0], call(None, SUM));
    assert_eq!(net.error(clients[0], token).outcome, Outcome::NotRun);
}

#[test]
fn a_controller_that_is_killed_and_started_again_finds_everybody_back() {
    let mut net = Net::new(3);
    let (publisher, _) = net.member("publisher", &[SUM]);
    let (consumer, main) = net.member("consumer", &[]);
    net.kill_controller();
    net.settle();
    let meanwhile = net.call(consumer, CallRequest { timeout: secs(1), ..call(Some(main), SUM) });
    let patient = net.call(consumer, CallRequest { timeout: secs(60), ..call(Some(main), SUM) });
    net.run(secs(2));
    let error = net.error(consumer, meanwhile);
    assert_eq!((error.outcome, error.code.as_str()), (Outcome::NotRun, code::NOT_CONNECTED));
    net.start_controller();
    net.run(secs(10));
    assert!(net.result(consumer, patient).is_ok());
    for node in [publisher, consumer] {
        assert_eq!(net.nodes[node].log, ["connected", "disconnected", "connected"]);
    }
}

#[test]
fn an_idle_link_lives_on_heartbeats() {
    let mut net = Net::new(4);
    let (node, _) = net.member("node", &[]);
    net.run(secs(3600));
    assert_eq!(net.nodes[node].log, ["connected"]);
    assert_eq!(net.closed.len(), 0);
}

#[test]
fn a_silent_peer_is_dead_after_a_few_heartbeats_on_both_sides() {
    let mut net = Net::new(5);
    let (publisher, math) = net.member("publisher", &[SUM]);
    net.nodes[publisher].behaviours.insert(math, Behaviour::Hold);
    let client = net.client();
    let token = net.call(client, CallRequest { timeout: secs(60), ..call(None, SUM) });
    net.settle();
    net.silence(publisher);
    net.nodes[publisher].redial = false;
    net.run(HEARTBEAT * (MISSED_HEARTBEATS + 1) - ms(100));
    assert!(!net.nodes[client].calls.contains_key(&token));
    net.run(ms(200));
    assert_eq!(net.error(client, token).code, code::LINK_LOST);
    assert!(net.closed[0].contains("no sign of life for 80"), "{:?}", net.closed);
    assert!(net.nodes[publisher].log[1].contains("no sign of life"), "{:?}", net.nodes[publisher].log);
    assert_eq!(net.nodes[publisher].cancelled.len(), 1);
}

#[test]
fn liveness_pings_after_each_silence_and_gives_up_after_the_last() {
    let mut liveness = Liveness::new(secs(10), secs(2), 2);
    assert_eq!((liveness.check(secs(11)), liveness.next_check()), (Pulse::Fine, secs(12)));
    assert_eq!((liveness.check(secs(12)), liveness.next_check()), (Pulse::Ping, secs(14)));
    assert_eq!(liveness.check(secs(14)), Pulse::Ping);
    liveness.heard(secs(15), false);
    assert_eq!(liveness.next_check(), secs(17));
    for at in [17, 19] {
        assert_eq!(liveness.check(secs(at)), Pulse::Ping);
    }
    assert_eq!((liveness.check(secs(21)), liveness.silence(secs(21))), (Pulse::Dead, secs(6)));
}

#[test]
fn a_full_link_makes_calls_overloaded_and_they_did_not_run() {
    let mut net = Net::new(6);
    let (publisher, _) = net.member("publisher", &[SUM]);
    let client = net.client();
    // The caller's own link.
    net.fill(client, true);
    let token = net.call(client, call(None, SUM));
    let error = net.error(client, token);
    assert_eq!((error.outcome, error.code.as_str(), error.retryable), (Outcome::NotRun, code::OVERLOADED, true));
    net.fill(client, false);
    // The callee's link.
    net.fill(publisher, true);
    let token = net.call(client, call(None, SUM));
    net.settle();
    let error = net.error(client, token);
    assert_eq!((error.code.as_str(), error.process.as_deref()), (code::OVERLOADED, Some("publisher")));
    assert_eq!(net.controller.as_ref().unwrap().counts().relays, 0);
    net.fill(publisher, false);
    let token = net.call(client, call(None, SUM));
    net.settle();
    assert!(net.result(client, token).is_ok());
    assert_eq!(net.nodes[publisher].served.len(), 1);
}

#[test]
fn a_result_that_finds_a_full_link_is_a_failure_and_costs_no_link() {
    let mut net = Net::new(6);
    let (publisher, process) = net.member("publisher", &[SUM]);
    net.nodes[publisher].behaviours.insert(process, Behaviour::Hold);
    let client = net.client();
    for full in [publisher, client] {
        for goes_on in [false, true] {
            let token = net.call(client, call(None, SUM));
            net.settle();
            let id = net.nodes[publisher].served.last().unwrap().id;
            net.fill(full, true);
            if goes_on {
                net.reply(publisher, id, "large", &[]);
                net.settle();
                assert_eq!(net.nodes[publisher].cancelled.last(), Some(&id));
            }
            net.answer(publisher, id, Ok("large".into()));
            net.settle();
            net.fill(full, false);
            let error = net.error(client, token);
            assert_eq!((error.outcome, error.code.as_str()), (Outcome::Failed, code::OVERLOADED));
            assert_eq!((error.process.as_deref(), error.callback.as_str()), (Some("publisher"), SUM));
            assert_eq!((net.count(publisher).serves, net.count(client).calls), (0, 0));
            assert_eq!(net.controller.as_ref().unwrap().counts().relays, 0);
        }
    }
    // As is a page of tasks, which anybody may ask for as often as he likes.
    net.fill(publisher, true);
    let link = net.link_of(publisher);
    let list = Bytes::from_static(&[1, 0]);
    let header = Header::Call {
        id: CallId(900),
        target: Target::TasksHere(process.0),
        timeout_ms: 1000,
        chain: [].into(),
        answer: Answer::Result,
        mode: Mode::Whole,
        channels: [].into(),
        key: None,
    };
    net.node_input(publisher, crate::net::from_controller(Frame::with_payload(header, list)));
    assert_eq!(net.link_of(publisher), link);
    assert!(net.closed.is_empty() && net.linked(client));
}

#[test]
fn a_peer_that_does_not_read_loses_its_link() {
    let mut net = Net::new(7);
    let (node, _) = net.member("node", &[SUM]);
    let link = net.link_of(node);
    net.controller_input(Input::NotSent { link, frame: Frame::new(Header::Synced) });
    assert_eq!(net.closed, [LinkFault::Clogged("Synced").to_string()]);
    net.run(secs(1));
    net.node_input(node, crate::net::not_sent(Frame::new(Header::Drain)));
    assert!(net.nodes[node].log.contains(&format!("close: {}", LinkFault::Clogged("Drain"))));
}

#[test]
fn a_replica_that_cannot_be_read_closes_the_link() {
    for (groups, table) in [(vec![], b"\xff\xff".as_slice()), (vec![GroupId(1)], b"\x00\x00")] {
        let mut net = Net::new(8);
        let (node, _) = net.member("node", &[]);
        let header = Header::Entry {
            entry: EntryId(99),
            process: process("p"),
            node: "n".to_owned(),
            instances: "singleton".to_owned(),
            groups,
            exports: Vec::new(),
            host: None,
        };
        net.node_input(node, crate::net::from_controller(Frame::with_payload(header, Bytes::copy_from_slice(table))));
        assert!(net.nodes[node].log[1].starts_with("close: the controller sent a process"));
    }
}

#[test]
fn callbacks_that_cannot_be_read_are_refused_and_the_link_lives() {
    let mut net = Net::new(9);
    let (node, _) = net.member("node", &[]);
    let link = net.link_of(node);
    for (number, table) in [(50, b"\xff\xff\xff".as_slice()), (51, b"\x00\x01\x01f\x05"), (52, b"\x00\x01\x01F\x00")] {
        let header = Header::Register { number, process: process("p"), instances: String::new(), exports: Vec::new() };
        net.forge(link, Frame::with_payload(header, Bytes::copy_from_slice(table)));
    }
    let header = Header::Register { number: 53, process: process("p"), instances: "i".repeat(65), exports: Vec::new() };
    net.forge(link, Frame::with_payload(header, Bytes::from_static(b"\x00\x00")));
    net.settle();
    assert_eq!(net.closed.len(), 0);
    assert_eq!(net.controller.as_ref().unwrap().counts().processes, 1);
}

#[test]
fn a_failure_that_cannot_be_read_ends_its_call_and_the_link_of_who_sent_it_and_nothing_else() {
    let unreadable = CallError::failed(code::TRAP, "x".repeat(MAX_ERROR_BYTES), SUM);
    let long = Bytes::from(postcard::to_stdvec(&unreadable).unwrap());
    for payload in [Bytes::new(), Bytes::from_static(b"\x01\x04\xff\xff\xff\xff"), long] {
        let mut net = Net::new(11);
        let (publisher, math) = net.member("publisher", &[SUM]);
        net.nodes[publisher].behaviours.insert(math, Behaviour::Hold);
        net.nodes[publisher].redial = false;
        let (bystander, _) = net.member("bystander", &["other#f"]);
        let client = net.client();
        let token = net.call(client, call(None, SUM));
        net.settle();
        // The first call that the controller ever relayed.
        net.forge(net.link_of(publisher), Frame::with_payload(Header::Fail { id: CallId(1), runs_on: false }, payload));
        net.settle();
        let error = net.error(client, token);
        assert_eq!((error.outcome, error.code.as_str()), (Outcome::Unknown, code::INTERNAL));
        assert_eq!((error.process.as_deref(), error.callback.as_str()), (Some("publisher"), SUM));
        assert_eq!(net.closed.len(), 1, "{:?}", net.closed);
        assert!(!net.linked(publisher) && net.linked(client) && net.linked(bystander));
        let token = net.call(client, call(None, "other#f"));
        net.settle();
        assert!(net.result(client, token).is_ok());
    }
}

#[test]
fn a_failure_from_the_controller_that_cannot_be_read_is_the_end_of_its_call_alone() {
    let mut net = Net::new(12);
    let (publisher, math) = net.member("publisher", &[SUM]);
    net.nodes[publisher].behaviours.insert(math, Behaviour::Hold);
    let client = net.client();
    let tokens = [(); 2].map(|()| net.call(client, call(None, SUM)));
    net.settle();
    let garbage = Frame::with_payload(Header::Fail { id: CallId(1), runs_on: false }, Bytes::from_static(b"\xff"));
    net.node_input(client, crate::net::from_controller(garbage));
    let error = net.error(client, tokens[0]);
    assert_eq!((error.outcome, error.code.as_str()), (Outcome::Unknown, code::INTERNAL));
    assert_eq!(error.callback, SUM);
    assert_eq!(net.nodes[client].log, ["connected"]);
    assert!(!net.nodes[client].calls.contains_key(&tokens[1]));
}

#[test]
fn frames_of_a_link_that_is_closed_are_nobodys() {
    let mut net = Net::new(10);
    let (node, _) = net.member("node", &[SUM]);
    let link = net.link_of(node);
    net.nodes[node].redial = false;
    net.cut(node);
    net.settle();
    net.forge(link, Frame::new(Header::Drain));
    net.controller_input(Input::NotSent { link, frame: Frame::new(Header::Synced) });
    net.controller_input(Input::Closed { link, reason: "again".to_owned() });
    net.node_input(node, crate::net::from_controller(Frame::new(Header::Synced)));
    net.node_input(node, crate::net::not_sent(Frame::new(Header::Drain)));
    net.node_input(node, node::Input::LinkDown("again".to_owned()));
    assert_eq!(net.nodes[node].log, ["connected", "disconnected"]);
}

#[test]
fn who_made_a_task_is_not_what_the_frame_says_in_somebody_elses_name() {
    let spec = TaskSpec {
        callback: callback(SUM),
        fingerprint: sum_type().fingerprint(),
        args: Bytes::from_static(ARGS),
        plan: Plan::Every(secs(60)),
        timeout: secs(1),
        overlap: Overlap::default(),
        missed: Missed::default(),
        creator: Some(process("honest")),
    };
    let payload = Bytes::from(postcard::to_stdvec(&TaskOp::Add(Box::new(spec))).unwrap());
    for made_by in [Some(process("hostile")), None] {
        // A mesh for each: the controller, which knows nothing of the call, will close the link for its answer.
        let mut net = Net::new(13);
        let (worker, id) = net.member("worker", &[SUM]);
        let header = Header::Call {
            id: CallId(900),
            target: Target::TasksHere(id.0),
            timeout_ms: 1000,
            chain: [Hop { process: made_by.clone(), instance: 0 }].into(),
            answer: Answer::Result,
            mode: Mode::Whole,
            channels: [].into(),
            key: None,
        };
        // As the controller passes it on, which has seen to it that the chain's last is the sender's own.
        net.node_input(worker, crate::net::from_controller(Frame::with_payload(header, payload.clone())));
        let own = net.ask(worker, "worker", TaskOp::List(None)).unwrap();
        assert_eq!(own.last().unwrap().creator, made_by);
    }
}
