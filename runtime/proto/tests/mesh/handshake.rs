//! Who may come in, and who loses his link.

use bytes::Bytes;
use daffi_proto::call::{Answer, Mode};
use daffi_proto::controller::{Event, Input, MAX_LINKS};
use daffi_proto::error::CallError;
use daffi_proto::frame::{Frame, Header};
use daffi_proto::id::{CallId, EntryId, LinkId, NodeKey, RepeatKey, TenantName};
use daffi_proto::session::{FEATURES, HANDSHAKE_TIMEOUT, Hello, PROTOCOL_VERSION, PeerIdentity, Role, refusal};

use crate::net::{Net, SUM, call, ms, name, process, secs};

fn hello(version: u32, name: &str, role: Role) -> Frame {
    let key = NodeKey([name.len() as u8; 16]);
    let tenants = vec![TenantName::default()];
    let hello = Hello {
        features: FEATURES,
        key,
        name: name.to_owned(),
        role,
        max_payload_bytes: 1 << 20,
        tenants,
        imports: Vec::new(),
    };
    Frame::with_payload(Header::Hello { version }, postcard::to_stdvec(&hello).unwrap().into())
}

#[test]
fn another_version_is_refused_with_both_versions_in_the_message() {
    let mut net = Net::new(1);
    let link = net.stranger();
    // Whatever else another version has changed, this much of a Hello can be read.
    let frame = Frame::with_payload(Header::Hello { version: 77 }, Bytes::from_static(b"\xff\xff\xff another layout"));
    net.forge(link, frame);
    let Header::Refused { code, message, retryable } = &net.told[0].header else { panic!("{:?}", net.told) };
    assert_eq!((code.as_str(), *retryable), (refusal::VERSION, false));
    assert!(message.contains("version 1") && message.contains("77"), "{message}");
    assert_eq!(net.controller.as_ref().unwrap().counts().links, 0);
}

#[test]
fn a_node_that_is_refused_for_good_says_so_and_does_not_dial_again() {
    let mut net = Net::new(2);
    let node = net.runtime("node", Role::Node, PeerIdentity::InProcess);
    net.dial(node);
    let header = Header::Refused { code: refusal::VERSION.into(), message: "version 1, 2".into(), retryable: false };
    net.node_input(node, crate::net::from_controller(Frame::new(header)));
    assert_eq!(net.nodes[node].log, ["close: version 1, 2", "refused: version: version 1, 2"]);
    let token = net.call(node, call(None, SUM));
    let error = net.error(node, token);
    assert!(error.message.contains("version 1, 2") && !error.retryable, "{error}");
}

#[test]
fn anything_before_the_handshake_closes_the_link_with_a_reason() {
    for frame in [Frame::new(Header::Ping), Frame::new(Header::Drain), Frame::new(Header::Gone { entry: EntryId(1) })] {
        let mut net = Net::new(3);
        let (bystander, _) = net.member("bystander", &[SUM]);
        let link = net.stranger();
        let kind = frame.header.kind();
        net.forge(link, frame);
        assert_eq!(net.closed, [format!("unexpected {kind} frame before the handshake")]);
        assert!(matches!(net.events.last(), Some(Event::TurnedAway { .. })));
        assert!(matches!(&net.told[0].header, Header::Close { reason } if reason.contains("before the handshake")));
        net.run(secs(1));
        assert_eq!(net.nodes[bystander].log, ["connected"]);
    }
}

#[test]
fn half_a_handshake_is_closed_after_a_while() {
    let mut net = Net::new(4);
    net.stranger();
    net.run(HANDSHAKE_TIMEOUT - ms(1));
    assert_eq!(net.closed.len(), 0);
    net.run(ms(1));
    assert_eq!(net.closed, ["no handshake within 5 s"]);
    assert_eq!(net.controller.as_ref().unwrap().counts().links, 0);
}

#[test]
fn a_node_gives_up_a_controller_that_does_not_answer_and_dials_again() {
    let mut net = Net::new(5);
    let node = net.runtime("node", Role::Node, PeerIdentity::InProcess);
    net.dial(node);
    net.silence(node);
    net.run(HANDSHAKE_TIMEOUT + secs(1));
    assert_eq!(net.nodes[node].log, ["close: no handshake within 5 s", "connected"]);
}

#[test]
fn a_hello_that_cannot_be_read_is_refused() {
    for frame in [
        Frame::new(Header::Hello { version: PROTOCOL_VERSION }),
        hello(PROTOCOL_VERSION, "", Role::Node),
        hello(PROTOCOL_VERSION, &"n".repeat(129), Role::Node),
    ] {
        let mut net = Net::new(6);
        let link = net.stranger();
        net.forge(link, frame);
        assert!(matches!(&net.told[0].header, Header::Refused { code, .. } if code == refusal::BAD_HELLO));
        assert_eq!(net.closed.len(), 1);
    }
}

#[test]
fn who_breaks_the_protocol_loses_his_link_and_nobody_else_does() {
    let call_id = |id| Header::Call {
        id: CallId(id),
        target: daffi_proto::frame::Target::Any(daffi_proto::id::GroupId(1)),
        timeout_ms: 1,
        answer: Answer::Result,
        mode: Mode::Whole,
        channels: [].into(),
        key: None,
        chain: [daffi_proto::call::Hop { process: None, instance: 0 }].into(),
    };
    let in_the_name_of = |who: &str| Header::Call {
        id: CallId(1),
        target: daffi_proto::frame::Target::Any(daffi_proto::id::GroupId(1)),
        timeout_ms: 1,
        answer: Answer::Result,
        mode: Mode::Whole,
        channels: [].into(),
        key: None,
        chain: [daffi_proto::call::Hop { process: Some(process(who)), instance: 0 }].into(),
    };
    let without_a_chain = Header::Call {
        id: CallId(1),
        target: daffi_proto::frame::Target::Any(daffi_proto::id::GroupId(1)),
        timeout_ms: 1,
        answer: Answer::Result,
        mode: Mode::Whole,
        channels: [].into(),
        key: None,
        chain: [].into(),
    };
    let with_a_key_of_another = Header::Call {
        id: CallId(1),
        target: daffi_proto::frame::Target::Any(daffi_proto::id::GroupId(1)),
        timeout_ms: 1,
        answer: Answer::Result,
        mode: Mode::Whole,
        channels: [].into(),
        key: Some(RepeatKey { node: NodeKey([9; 16]).mark(), number: 1 }),
        chain: [daffi_proto::call::Hop { process: None, instance: 0 }].into(),
    };
    let faults: [(&[Header], &str); 10] = [
        (&[Header::Hello { version: 1 }], "unexpected Hello frame"),
        (&[Header::Synced], "unexpected Synced frame"),
        (
            &[Header::Reply { id: CallId(5), process: None, open: false, channels: [].into() }],
            "the call 5 is answered, and was not given to it",
        ),
        (&[Header::Fail { id: CallId(5), runs_on: false }], "was not given to it"),
        (&[Header::Ended { id: CallId(5) }], "was not given to it"),
        (&[call_id(3), call_id(3)], "the call id 3 is used twice"),
        (&[in_the_name_of("bystander")], "the process bystander, which is not its own"),
        (&[without_a_chain], "a chain of 0 calls"),
        (&[with_a_key_of_another], "a key of another node"),
        (&[Header::Unregister { number: 3 }], "the process number 3 was never registered"),
    ];
    for (headers, reason) in faults {
        let mut net = Net::new(7);
        let (bystander, _) = net.member("bystander", &[SUM]);
        let link = net.stranger();
        net.forge(link, hello(PROTOCOL_VERSION, "stranger", Role::Node));
        for header in headers {
            net.forge(link, Frame::new(header.clone()));
        }
        assert!(net.closed[0].contains(reason), "{:?}", net.closed);
        assert!(matches!(net.events.last(), Some(Event::Left { orderly: false, .. })), "{:?}", net.events);
        net.run(secs(1));
        assert_eq!(net.nodes[bystander].log, ["connected"]);
    }
}

#[test]
fn an_answer_to_somebody_elses_call_closes_the_link_and_the_call_goes_on() {
    let mut net = Net::new(8);
    let (publisher, math) = net.member("publisher", &[SUM]);
    net.nodes[publisher].behaviours.insert(math, crate::net::Behaviour::Echo(secs(1)));
    let client = net.client();
    let token = net.call(client, call(None, SUM));
    net.run(ms(100));
    let link = net.stranger();
    net.forge(link, hello(PROTOCOL_VERSION, "stranger", Role::Node));
    net.forge(
        link,
        Frame::with_payload(
            Header::Reply { id: CallId(1), process: Some(name("x")), open: false, channels: [].into() },
            Bytes::new(),
        ),
    );
    assert_eq!(net.closed.len(), 1);
    net.run(secs(2));
    assert_eq!(net.result(client, token).as_ref().unwrap().process.as_str(), "publisher");
}

#[test]
fn a_client_may_not_register_processes() {
    let mut net = Net::new(9);
    let link = net.stranger();
    net.forge(link, hello(PROTOCOL_VERSION, "client", Role::Client));
    let header = Header::Register { number: 1, process: process("p"), instances: String::new(), exports: Vec::new() };
    net.forge(link, Frame::new(header));
    assert_eq!(net.closed, ["a client registers no processes"]);
    let client = net.client();
    let refused: CallError = net.try_add(client, "p", &[]).unwrap_err();
    assert!(refused.message.contains("a client has no processes"), "{refused}");
}

#[test]
fn a_node_closes_its_link_when_the_controller_sends_what_only_nodes_send() {
    for header in [Header::Leave, Header::Hello { version: 1 }, Header::Unregister { number: 1 }] {
        let mut net = Net::new(10);
        let (node, _) = net.member("node", &[SUM]);
        let kind = header.kind();
        net.node_input(node, crate::net::from_controller(Frame::new(header)));
        let closed = format!("close: unexpected {kind} frame from the controller");
        assert_eq!(net.nodes[node].log, ["connected", &closed, "disconnected"]);
        net.run(secs(1));
        assert_eq!(net.nodes[node].log.last().unwrap(), "connected");
    }
}

#[test]
fn the_controller_takes_no_more_links_than_its_limit() {
    let mut net = Net::new(11);
    for link in 0..MAX_LINKS as u64 {
        net.controller_input(Input::Accepted { link: LinkId(1000 + link), identity: PeerIdentity::InProcess });
    }
    assert_eq!(net.told.len(), 0);
    net.stranger();
    assert!(matches!(&net.told[0].header, Header::Refused { code, retryable: true, .. } if code == refusal::FULL));
    assert_eq!(net.controller.as_ref().unwrap().counts().links, MAX_LINKS);
}
