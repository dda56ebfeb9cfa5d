//! Calls between two processes of one node that may be over at once: the harness has every second one of them so, here it
//! is looked at closely.

use bytes::Bytes;
use daffi_proto::call::{Answer, CallReply, CallRequest, Incoming, Mode, Retry};
use daffi_proto::error::{CallError, Outcome, code};
use daffi_proto::id::{LocalId, Token};
use daffi_proto::node::{Command, NodeConfig, NodeCounts, Offer};
use daffi_proto::session::{PeerIdentity, Role};
use daffi_proto::stream::{Flow, StreamCall};

use crate::net::{Behaviour, Net, SUM, call, secs};

/// A node with a process that calls, and two that have the same callback.
fn node() -> (Net, usize, LocalId) {
    let mut net = Net::new(77);
    let (node, caller) = net.member("caller", &[]);
    net.add(node, "one", &[SUM]);
    net.add(node, "two", &[SUM]);
    net.settle();
    (net, node, caller)
}

fn offer(net: &mut Net, node: usize, request: CallRequest) -> Option<(Offer, Incoming)> {
    offer_as(net, node, request).1
}

/// The same, with the call's token.
fn offer_as(net: &mut Net, node: usize, request: CallRequest) -> (Token, Option<(Offer, Incoming)>) {
    let (clock, token) = (net.clock(), net.token());
    (token, net.nodes[node].node.offer(clock, token, request))
}

fn over(net: &mut Net, node: usize, offer: Offer, result: Result<Bytes, CallError>) -> Option<CallReply> {
    let clock = net.clock();
    let reply = net.nodes[node].node.offer_over(clock, offer, result);
    net.carry_out(node);
    reply
}

/// What calls leave in a node.
fn open(net: &Net, node: usize) -> [usize; 4] {
    let NodeCounts { calls, serves, deadlines, waiting, .. } = net.nodes[node].node.counts();
    [calls, serves, deadlines, waiting]
}

#[test]
fn what_is_over_at_once_is_in_no_table_and_takes_the_turn_of_its_process() {
    let (mut net, node, caller) = node();
    let mut served = Vec::new();
    for _ in 0..4 {
        let (offer, incoming) = offer(&mut net, node, call(Some(caller), SUM)).unwrap();
        assert_eq!(open(&net, node), [0; 4]);
        assert_eq!(incoming.caller.as_ref().map(|caller| caller.name.as_str()), Some("caller"));
        assert_eq!((incoming.args.as_ref(), incoming.chain.len()), (b"args".as_slice(), 1));
        let reply = over(&mut net, node, offer, Ok(incoming.args)).unwrap();
        assert_eq!(reply.result.as_ref(), b"args");
        served.push(reply.process.to_string());
    }
    assert_eq!(open(&net, node), [0; 4]);
    assert_ne!(served[0], served[1]);
    assert_eq!(served[..2], served[2..]);
    assert!(net.nodes[node].calls.is_empty(), "the answers were given at once, and not told again");
}

#[test]
fn what_is_not_over_at_once_is_a_call_like_any_other() {
    let (mut net, node, caller) = node();
    let (token, offered) = offer_as(&mut net, node, call(Some(caller), SUM));
    let ((offer, incoming), clock) = (offered.unwrap(), net.clock());
    net.nodes[node].node.offer_pending(clock, offer);
    assert_eq!(open(&net, node), [1, 1, 1, 0]);
    net.command(node, Command::Served { id: incoming.id, result: Ok(Bytes::from_static(b"late")) });
    assert_eq!(net.nodes[node].calls[&token].as_ref().unwrap().result.as_ref(), b"late");
    assert_eq!(open(&net, node), [0; 4]);
}

#[test]
fn one_that_is_pending_is_cancelled_with_its_caller_and_ends_at_its_deadline() {
    let (mut net, node, caller) = node();
    let begin = |net: &mut Net, request| {
        let (token, offered) = offer_as(net, node, request);
        let ((offer, incoming), clock) = (offered.unwrap(), net.clock());
        net.nodes[node].node.offer_pending(clock, offer);
        net.carry_out(node);
        (token, incoming.id)
    };
    let (token, given_up) = begin(&mut net, call(Some(caller), SUM));
    net.command(node, Command::Cancel(token));
    assert_eq!(net.nodes[node].cancelled, [given_up]);
    let (token, late) = begin(&mut net, CallRequest { timeout: secs(1), ..call(Some(caller), SUM) });
    net.run(secs(2));
    let error = net.nodes[node].calls[&token].as_ref().unwrap_err();
    assert_eq!((error.outcome, error.code.as_str()), (Outcome::Unknown, code::DEADLINE_EXCEEDED));
    for id in [given_up, late] {
        net.command(node, Command::Served { id, result: Ok(Bytes::new()) });
    }
    assert_eq!(open(&net, node), [0; 4]);
}

#[test]
fn a_failure_is_told_as_that_of_any_other_call() {
    let (mut net, node, caller) = node();
    let trap = CallError::failed("trap", "it was unreachable", "").at("one");
    let (token, offered) = offer_as(&mut net, node, call(Some(caller), SUM));
    let (offer, _) = offered.unwrap();
    assert!(over(&mut net, node, offer, Err(trap.clone())).is_none());
    let at_once = net.nodes[node].calls[&token].as_ref().unwrap_err().clone();
    let processes: Vec<LocalId> = net.nodes[node].added.values().flatten().copied().collect();
    for id in processes {
        net.nodes[node].behaviours.insert(id, Behaviour::Fail(trap.clone()));
    }
    let token = net.token();
    net.command(node, Command::Call { token, request: call(Some(caller), SUM).into() });
    net.settle();
    assert_eq!(&at_once, net.nodes[node].calls[&token].as_ref().unwrap_err());
    assert_eq!(open(&net, node), [0; 4]);
}

#[test]
fn a_result_that_is_larger_than_any_may_be_is_refused() {
    let mut net = Net::new(78);
    let node = net.runtime("small", Role::Node, PeerIdentity::Unix { uid: 1, pid: None });
    net.replace(node, |config| NodeConfig { max_payload_bytes: 8, ..config });
    let caller = net.add(node, "small-caller", &[]);
    net.add(node, "small", &[SUM]);
    let (token, offered) = offer_as(&mut net, node, call(Some(caller), SUM));
    let (offer, _) = offered.unwrap();
    assert!(over(&mut net, node, offer, Ok(Bytes::from_static(b"nine bytes"))).is_none());
    let error = net.nodes[node].calls[&token].as_ref().unwrap_err();
    assert_eq!((error.outcome, error.code.as_str()), (Outcome::Failed, code::PAYLOAD_TOO_LARGE));
    assert_eq!(open(&net, node), [0; 4]);
}

#[test]
fn what_is_to_be_remembered_is_not_offered() {
    let (mut net, node, caller) = node();
    let plain = || call(Some(caller), SUM);
    let later = CallRequest { eta: secs(1), ..plain() };
    let accepted = CallRequest { answer: Answer::Accepted, ..plain() };
    let sent = CallRequest { answer: Answer::Sent, ..plain() };
    let again = CallRequest { retry: Retry { attempts: 2, ..Retry::NEVER }, ..plain() };
    let written = CallRequest { channels: [Flow::Items].into(), ..plain() };
    let each = CallRequest { mode: Mode::Each, ..plain() };
    let nobody = call(Some(caller), "acme:nobody/has#it");
    for request in [later, accepted, sent, again, written, each, nobody] {
        let told = format!("{request:?}");
        let (clock, token): (_, Token) = (net.clock(), net.token());
        let flows = request.flows();
        net.nodes[node].open_writers(StreamCall::Made(token), &flows);
        assert!(net.nodes[node].node.offer(clock, token, request).is_none(), "{told}");
        net.carry_out(node);
        net.command(node, Command::Cancel(token));
    }
}
