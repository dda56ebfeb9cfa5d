//! Links on which a frame takes longer than silence may: bytes are a sign of life, and whoever gets many gives one.

use bytes::Bytes;
use daffi_proto::call::CallRequest;
use daffi_proto::error::CallError;
use daffi_proto::frame::Header;
use daffi_proto::session::{HEARTBEAT, Liveness, MISSED_HEARTBEATS, Pulse};

use crate::net::{Behaviour, Net, SUM, call, ms, secs};

/// What a slow link takes: a payload of 60,000 bytes is under way for a minute.
const BYTES_A_SECOND: u64 = 1000;

fn large(bytes: usize) -> CallRequest {
    CallRequest { args: Bytes::from(vec![7; bytes]), timeout: secs(600), ..call(None, SUM) }
}

fn nobody_was_given_up(net: &Net) {
    assert_eq!(net.closed.len(), 0, "{:?}", net.closed);
    for runtime in &net.nodes {
        assert_eq!(runtime.log, ["connected"]);
    }
}

#[test]
fn a_payload_that_takes_longer_than_silence_may_arrives_both_ways() {
    for slow_caller in [true, false] {
        let mut net = Net::new(1);
        let (publisher, _) = net.member("publisher", &[SUM]);
        let client = net.client();
        net.slow(if slow_caller { client } else { publisher }, BYTES_A_SECOND);
        let token = net.call(client, large(60_000));
        net.run(secs(200));
        assert_eq!(net.result(client, token).as_ref().unwrap().result.len(), 60_000);
        assert!(net.nodes[client].ended[&token] > secs(120));
        nobody_was_given_up(&net);
    }
}

#[test]
fn a_side_that_only_listens_gives_signs_of_life() {
    // Many whole frames and nothing to say to them; then one frame that takes a minute.
    for (calls, bytes) in [(60, 1000), (1, 60_000)] {
        let mut net = Net::new(2);
        let (publisher, math) = net.member("publisher", &[SUM]);
        net.nodes[publisher].behaviours.insert(math, Behaviour::Hold);
        let client = net.client();
        net.slow(publisher, BYTES_A_SECOND);
        let tokens: Vec<_> = (0..calls).map(|_| net.call(client, large(bytes))).collect();
        net.run(secs(100));
        assert_eq!(net.nodes[publisher].served.len(), calls);
        nobody_was_given_up(&net);
        for at in 0..calls {
            let id = net.nodes[publisher].served[at].id;
            net.answer(publisher, id, Err(CallError::failed("trap", "done", "")));
        }
        net.run(secs(100));
        assert!(tokens.iter().all(|token| net.error(client, *token).message == "done"));
    }
}

#[test]
fn a_peer_that_dies_while_a_large_frame_is_sent_to_it_is_given_up_in_time() {
    let mut net = Net::new(3);
    let (publisher, _) = net.member("publisher", &[SUM]);
    let client = net.client();
    net.slow(publisher, BYTES_A_SECOND);
    let token = net.call(client, large(60_000));
    net.run(secs(30));
    net.silence(publisher);
    net.nodes[publisher].redial = false;
    net.run(HEARTBEAT * (MISSED_HEARTBEATS + 1) + secs(1));
    assert!(net.error(client, token).message.contains("broke"), "{:?}", net.error(client, token));
    assert!(net.closed[0].contains("no sign of life"), "{:?}", net.closed);
}

#[test]
fn one_that_listens_and_one_that_is_asked_give_one_sign_a_heartbeat() {
    let mut liveness = Liveness::new(secs(10), secs(2), 3);
    assert!(!liveness.heard(secs(11), false));
    assert!(liveness.heard(secs(12), false));
    assert!(!liveness.heard(secs(12) + ms(1999), false));
    assert!(liveness.heard(secs(13), true), "who asks is always answered");
    assert!(!liveness.heard(secs(14), false));
    assert_eq!(liveness.check(secs(16)), Pulse::Ping);
    assert!(!liveness.heard(secs(17), false), "a ping is a sign too");
    assert!(liveness.heard(secs(18), false));
}

#[test]
fn bytes_of_a_handshake_buy_a_stranger_no_time() {
    let mut net = Net::new(4);
    let link = net.stranger();
    for _ in 0..60 {
        net.controller_input(daffi_proto::controller::Input::Heard { link });
        net.run(ms(100));
    }
    assert_eq!(net.closed, ["no handshake within 5 s"]);
    assert!(matches!(&net.told[0].header, Header::Close { .. }), "{:?}", net.told);
}
