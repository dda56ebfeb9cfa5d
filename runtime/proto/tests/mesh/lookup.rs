//! Names and signatures, and waiting for them.

use daffi_proto::call::{CallRequest, ResolveRequest, WaitFor};
use daffi_proto::error::{Outcome, code};
use daffi_proto::node::Command;
use daffi_proto::session::{GRACE, PeerIdentity, Role};

use crate::net::{Net, SUM, call, callback, ms, name, question, secs, sum_type, text_type};

#[test]
fn a_short_name_finds_the_callback_and_its_signature() {
    let mut net = Net::new(1);
    net.member("publisher", &[SUM]);
    let client = net.client();
    for pattern in ["sum", "math#sum", "demo:tutorial/math#sum"] {
        let token = net.resolve(client, question(None, pattern));
        let resolved = net.nodes[client].resolved[&token].as_ref().unwrap();
        assert_eq!(resolved.callback, callback(SUM));
        assert_eq!(resolved.signature, sum_type());
        assert_eq!(resolved.fingerprint, sum_type().fingerprint());
    }
}

#[test]
fn an_unknown_name_fails_at_once_with_near_matches() {
    let mut net = Net::new(2);
    net.member("publisher", &["demo:tutorial/math#sum-of-two-numbers"]);
    let client = net.client();
    let token = net.resolve(client, question(None, "sum-of-two-number"));
    let error = net.nodes[client].resolved[&token].as_ref().unwrap_err();
    assert_eq!((error.outcome, error.code.as_str()), (Outcome::NotRun, code::NO_SUCH_CALLBACK));
    assert!(error.message.contains("did you mean `demo:tutorial/math#sum-of-two-numbers`?"), "{error}");
    let token = net.call(client, call(None, "demo:tutorial/math#sum-of-two-number"));
    let error = net.error(client, token);
    assert!(error.message.contains("did you mean `demo:tutorial/math#sum-of-two-numbers`?"), "{error}");
    let token = net.resolve(client, question(None, "no name at all"));
    assert!(net.nodes[client].resolved[&token].as_ref().unwrap_err().message.contains("is no callback name"));
}

#[test]
fn an_ambiguous_name_lists_the_candidates() {
    let mut net = Net::new(3);
    net.member("one", &["a:b/math#sum"]);
    net.member("two", &["c:d/math#sum"]);
    let client = net.client();
    let token = net.resolve(client, question(None, "sum"));
    let error = net.nodes[client].resolved[&token].as_ref().unwrap_err();
    assert_eq!(error.code, code::AMBIGUOUS);
    assert!(error.message.contains("a:b/math#sum, c:d/math#sum"), "{error}");
    // Which one is meant is plain where a receiver is named.
    let request = ResolveRequest { receiver: Some(name("two")), ..question(None, "sum") };
    let token = net.resolve(client, request);
    assert_eq!(net.nodes[client].resolved[&token].as_ref().unwrap().callback, callback("c:d/math#sum"));
}

#[test]
fn one_name_with_two_signatures_must_pin_a_receiver() {
    let mut net = Net::new(4);
    net.member("numbers", &[SUM]);
    let texts = net.runtime("texts", Role::Node, PeerIdentity::InProcess);
    net.try_add(texts, "texts", &[(SUM, text_type())]).unwrap();
    net.dial(texts);
    net.settle();
    let client = net.client();
    let token = net.resolve(client, question(None, "sum"));
    let error = net.nodes[client].resolved[&token].as_ref().unwrap_err();
    assert_eq!(error.code, code::AMBIGUOUS);
    for part in ["func(a: s64, b: s64) -> s64` of the process \"numbers\"", "func(text: string) -> string`"] {
        assert!(error.message.contains(part), "{error}");
    }
    let request = ResolveRequest { receiver: Some(name("texts")), ..question(None, "sum") };
    let token = net.resolve(client, request);
    assert_eq!(net.nodes[client].resolved[&token].as_ref().unwrap().signature, text_type());
    // A typed caller reaches those that are equal to its own.
    for _ in 0..3 {
        let token = net.call(client, call(None, SUM));
        net.settle();
        assert_eq!(net.result(client, token).as_ref().unwrap().process.as_str(), "numbers");
    }
}

#[test]
fn a_mismatch_shows_both_sides_in_wit() {
    let mut net = Net::new(5);
    let texts = net.runtime("texts", Role::Node, PeerIdentity::InProcess);
    net.try_add(texts, "texts", &[(SUM, text_type())]).unwrap();
    net.dial(texts);
    net.settle();
    let client = net.client();
    let token = net.call(client, call(None, SUM));
    let error = net.error(client, token).clone();
    assert_eq!((error.outcome, error.code.as_str()), (Outcome::NotRun, code::SIGNATURE_MISMATCH));
    for part in ["the caller has `func(a: s64, b: s64) -> s64`", "the callback `func(text: string) -> string`"] {
        assert!(error.message.contains(part), "{error}");
    }
    assert_eq!((error.process.as_deref(), error.retryable), (Some("texts"), false));
    // A typed caller waits: another process may have the right one.
    let waiting = CallRequest { wait_ready: true, timeout: secs(3), ..call(None, SUM) };
    let lucky = net.call(client, CallRequest { timeout: secs(30), ..waiting.clone() });
    let unlucky = net.call(client, waiting);
    net.run(secs(3));
    assert_eq!(net.error(client, unlucky).code, code::SIGNATURE_MISMATCH);
    net.member("numbers", &[SUM]);
    net.settle();
    assert!(net.result(client, lucky).is_ok());
    assert_eq!(net.nodes[texts].served.len(), 0);
}

#[test]
fn versions_match_by_the_component_models_rule() {
    let mut net = Net::new(6);
    net.member("old", &["demo:tutorial/math@1.2.0#sum"]);
    net.member("new", &["demo:tutorial/math@2.1.0#sum"]);
    let client = net.client();
    let mut reached = |name: &str| {
        let token = net.call(client, call(None, name));
        net.settle();
        net.result(client, token).as_ref().map(|reply| reply.process.to_string()).map_err(|error| error.code.clone())
    };
    assert_eq!(reached("demo:tutorial/math@1.0.0#sum").as_deref(), Ok("old"));
    assert_eq!(reached("demo:tutorial/math@1.9.0#sum").as_deref(), Ok("old"));
    assert_eq!(reached("demo:tutorial/math@2.0.0#sum").as_deref(), Ok("new"));
    assert_eq!(reached("demo:tutorial/math@3.0.0#sum"), Err(code::NO_SUCH_CALLBACK.to_owned()));
    let both: std::collections::BTreeSet<_> = (0..2).map(|_| reached(SUM).unwrap()).collect();
    assert_eq!(both.len(), 2);
}

#[test]
fn of_the_versions_that_one_process_has_the_highest_serves() {
    let mut net = Net::new(16);
    let (both, _) = net.member("both", &["demo:tutorial/math@1.0.0#sum", "demo:tutorial/math@1.2.0#sum"]);
    let client = net.client();
    let pinned = CallRequest { receiver: Some(name("both")), ..call(None, "demo:tutorial/math@1.0.0#sum") };
    for request in [call(None, "demo:tutorial/math@1.0.0#sum"), call(None, SUM), pinned] {
        net.call(client, request);
        net.settle();
    }
    let served: Vec<u32> = net.nodes[both].served.iter().map(|incoming| incoming.callback).collect();
    assert_eq!(served, [1, 1, 1]);
}

#[test]
fn a_typed_call_waits_for_its_callback() {
    let mut net = Net::new(7);
    let (consumer, main) = net.member("consumer", &[]);
    let request = CallRequest { wait_ready: true, ..call(Some(main), SUM) };
    let token = net.call(consumer, request.clone());
    net.run(secs(2));
    assert_eq!(net.count(consumer).waiting, 1);
    net.member("publisher", &[SUM]);
    assert!(net.result(consumer, token).is_ok());
    // And for its receiver.
    let token = net.call(consumer, CallRequest { receiver: Some(name("late")), ..request });
    net.run(secs(2));
    net.member("late", &[SUM]);
    assert_eq!(net.result(consumer, token).as_ref().unwrap().process.as_str(), "late");
}

#[test]
fn a_wait_for_a_callback_that_never_comes_ends_at_the_deadline_and_it_did_not_run() {
    let mut net = Net::new(8);
    let client = net.client();
    let token = net.call(client, CallRequest { wait_ready: true, timeout: secs(3), ..call(None, SUM) });
    net.run(ms(2999));
    assert!(!net.nodes[client].calls.contains_key(&token));
    net.run(ms(1));
    let error = net.error(client, token);
    assert_eq!((error.outcome, error.code.as_str()), (Outcome::NotRun, code::NO_SUCH_CALLBACK));
    assert!(error.message.starts_with("waited 3 s for it: "), "{error}");
    // A question for what a name means says the same; what was not waited for is not said to be.
    let wait_ready = ResolveRequest { wait_ready: true, timeout: secs(1), spent: secs(1), ..question(None, "sum") };
    let (waited, at_once) = (net.resolve(client, wait_ready), net.resolve(client, question(None, "sum")));
    net.run(secs(1));
    let said = |token| net.nodes[client].resolved[&token].as_ref().unwrap_err().message.clone();
    assert_eq!(said(waited), format!("waited 2 s for it: {}", said(at_once)));
}

#[test]
fn a_call_that_waits_for_a_callback_says_so_once_after_a_while() {
    let mut net = Net::new(10);
    let (node, main) = net.member("consumer", &[]);
    let waits = |net: &Net| net.nodes[node].log.iter().filter(|line| line.starts_with("waits: ")).count();
    let request = CallRequest { wait_ready: true, timeout: secs(60), ..call(Some(main), SUM) };
    let (long, short) = (net.call(node, request.clone()), net.call(node, CallRequest { timeout: secs(4), ..request }));
    net.run(ms(4900));
    assert_eq!(waits(&net), 0);
    net.run(ms(100));
    assert!(
        net.nodes[node].log.contains(&format!("waits: no process has the callback {SUM}")),
        "{:?}",
        net.nodes[node].log
    );
    // Others that come do not make it begin anew.
    net.member("other", &["a:b/c#other"]);
    net.run(secs(20));
    assert_eq!(waits(&net), 1);
    net.member("publisher", &[SUM]);
    assert!(net.result(node, long).is_ok() && net.result(node, short).is_err());
    // So does who looks a name up for it, and not who has no need to wait.
    for wait_ready in [true, false] {
        net.resolve(node, ResolveRequest { wait_ready, timeout: secs(20), ..question(Some(main), "nothing") });
    }
    net.run(secs(20));
    assert!(net.nodes[node].log.iter().any(|line| line == "waits: `nothing`: no process has such a callback"));
    assert_eq!(waits(&net), 2);
    // Who finds what he calls says nothing, however long that takes, and neither does who only looks in.
    let client = net.client();
    net.call(client, CallRequest { wait_ready: true, timeout: secs(20), ..call(None, "a:b/c#nowhere") });
    net.run(secs(30));
    assert_eq!((waits(&net), net.nodes[client].log.iter().any(|line| line.starts_with("waits: "))), (2, false));
}

#[test]
fn waits_end_when_the_process_or_the_callback_is_there() {
    let mut net = Net::new(9);
    let (node, own) = net.member("own", &[SUM]);
    let there = net.wait(node, WaitFor::Process(name("own")), Some(own), secs(10));
    assert_eq!(net.nodes[node].waits[&there], Ok(()));
    let process = net.wait(node, WaitFor::Process(name("late")), Some(own), secs(10));
    let callback = net.wait(node, WaitFor::Callback("sum".to_owned()), Some(own), secs(10));
    let never = net.wait(node, WaitFor::Process(name("never")), Some(own), secs(1));
    net.run(secs(1));
    assert_eq!(net.nodes[node].waits[&never].as_ref().unwrap_err().code, code::DEADLINE_EXCEEDED);
    assert_eq!(net.count(node).waiting, 2);
    net.member("late", &[SUM]);
    assert_eq!((&net.nodes[node].waits[&process], &net.nodes[node].waits[&callback]), (&Ok(()), &Ok(())));
    assert_eq!(net.count(node).deadlines, 0);
}

#[test]
fn a_wait_for_an_ambiguous_callback_fails_at_once() {
    let mut net = Net::new(10);
    net.member("one", &["a:b/math#sum"]);
    net.member("two", &["c:d/math#sum"]);
    let client = net.client();
    let token = net.wait(client, WaitFor::Callback("sum".to_owned()), None, secs(10));
    assert_eq!(net.nodes[client].waits[&token].as_ref().unwrap_err().code, code::AMBIGUOUS);
}

#[test]
fn a_question_that_is_cancelled_leaves_nothing_behind() {
    let mut net = Net::new(11);
    let client = net.client();
    let token = net.wait(client, WaitFor::Process(name("never")), None, secs(10));
    net.command(client, Command::Cancel(token));
    let counts = net.count(client);
    assert_eq!((counts.asks, counts.waiting, counts.deadlines), (0, 0, 0));
    net.run(secs(20));
    assert!(net.nodes[client].waits.is_empty());
}

#[test]
fn who_waits_when_his_runtime_leaves_hears_that_and_not_that_time_passed() {
    let mut net = Net::new(17);
    let client = net.client();
    let waits = [
        net.wait(client, WaitFor::Process(name("late")), None, secs(60)),
        net.wait(client, WaitFor::Callback("late#f".to_owned()), None, secs(60)),
    ];
    net.command(client, Command::Leave);
    for token in waits {
        let error = net.nodes[client].waits[&token].as_ref().unwrap_err();
        assert_eq!((error.code.as_str(), error.retryable), (code::NOT_CONNECTED, false), "{error}");
    }
}

#[test]
fn without_a_link_calls_and_questions_wait_for_it() {
    let mut net = Net::new(12);
    net.member("publisher", &[SUM]);
    let node = net.runtime("node", Role::Node, PeerIdentity::InProcess);
    let lucky = net.call(node, call(None, SUM));
    let asked = net.resolve(node, question(None, "sum"));
    let brief = CallRequest { timeout: secs(1), ..call(None, SUM) };
    let unlucky = net.call(node, brief.clone());
    net.run(secs(2));
    let error = net.error(node, unlucky);
    assert_eq!((error.outcome, error.code.as_str()), (Outcome::NotRun, code::NOT_CONNECTED));
    // Who tries to connect knows more than that.
    let unlucky = net.call(node, brief.clone());
    for reason in ["no such file", "connection refused"] {
        net.node_input(node, daffi_proto::node::Input::NoLink(reason.to_owned()));
    }
    net.run(secs(2));
    let message = "not connected to a controller: connection refused";
    assert_eq!((net.error(node, unlucky).message.as_str(), net.error(node, unlucky).retryable), (message, true));
    net.dial(node);
    net.settle();
    assert!(net.result(node, lucky).is_ok());
    assert!(net.nodes[node].resolved[&asked].is_ok());
    // A link that is lost is a reason too, and the one before is none any more.
    net.nodes[node].redial = false;
    net.cut(node);
    net.settle();
    let unlucky = net.call(node, brief);
    net.run(secs(2));
    assert_eq!(net.error(node, unlucky).message, "not connected to a controller: cut by the test");
}

#[test]
fn what_was_on_the_mesh_before_a_loss_is_waited_for_and_what_was_not_is_not() {
    let mut net = Net::new(13);
    let (publisher, _) = net.member("publisher", &[SUM]);
    let (gone, _) = net.member("gone", &["gone#f"]);
    let client = net.client();
    net.nodes[publisher].redial = false;
    net.kill_controller();
    net.settle();
    net.kill_node(gone);
    net.start_controller();
    net.run(secs(4));
    assert_eq!(net.nodes[client].log.last().unwrap(), "connected");
    // Neither is back yet.
    let lucky = net.call(client, call(None, SUM));
    let asked = net.resolve(client, question(None, "sum"));
    let unlucky = net.call(client, call(None, "gone#f"));
    let unknown = net.call(client, call(None, "unknown#f"));
    assert_eq!(net.error(client, unknown).code, code::NO_SUCH_CALLBACK);
    net.dial(publisher);
    net.settle();
    assert!(net.result(client, lucky).is_ok());
    assert!(net.nodes[client].resolved[&asked].is_ok());
    assert!(!net.nodes[client].calls.contains_key(&unlucky));
    net.run(GRACE);
    assert_eq!(net.error(client, unlucky).code, code::NO_SUCH_CALLBACK);
}
