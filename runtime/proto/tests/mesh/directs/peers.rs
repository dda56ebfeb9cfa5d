//! What a visitor is asked, and a node that is visited: who says what no honest node says loses the link and nothing else.

use super::*;

#[test]
fn who_says_what_no_honest_node_says_loses_the_direct_link_and_nothing_else() {
    let with = |change: &dyn Fn(&mut Header)| {
        let mut header = Pair::header_of(1000, Some(process("consumer")));
        change(&mut header);
        header
    };
    let of = |caller: &str| Pair::header_of(1000, Some(process(caller)));
    let unchained = with(&|header| {
        if let Header::Call { chain, .. } = header {
            *chain = [].into();
        }
    });
    let to_a_number = with(&|header| {
        if let Header::Call { target, .. } = header {
            *target = Target::Callback(1, 0);
        }
    });
    let with_a_key = with(&|header| {
        if let Header::Call { key, .. } = header {
            *key = Some(RepeatKey { node: NodeKey([9; 16]).mark(), number: 1 });
        }
    });
    let used_twice = Pair::header_of(2, Some(process("consumer")));
    let reply = Header::Reply { id: CallId(1), process: None, open: false, channels: [].into() };
    let forged: [(Header, &str); 9] = [
        (of("publisher"), "a call in the name of the process publisher, which consumer has not"),
        (of("globex::consumer"), "a call in the name of the process consumer, which consumer has not"),
        (Pair::header_of(1000, None), "a call over a direct link in nobody's name"),
        (unchained, "a chain of 0 calls, 1 to 32 are taken"),
        (used_twice, "the call id 2 is used twice"),
        (to_a_number, "a call over a direct link that names no process of this node"),
        (with_a_key, "a call with a key of another node"),
        (Header::Unregister { number: 1 }, "unexpected Unregister frame from a node that calls"),
        (reply, "unexpected Reply frame from a node that calls"),
    ];
    for (header, reason) in forged {
        let mut pair = Pair::open(15);
        pair.does(Behaviour::Hold);
        pair.call();
        pair.net.settle();
        let (visit, served) = (pair.visit(), pair.net.nodes[pair.publisher].served.len());
        pair.net.forge_directly(visit, Frame::new(header));
        let log = pair.net.nodes[pair.publisher].log.last().unwrap().clone();
        assert!(log.ends_with(reason), "{log}\n{reason}");
        assert_eq!(pair.net.nodes[pair.publisher].served.len(), served);
        pair.net.settle();
        assert_eq!(pair.directs(), (0, 0));
        assert!(pair.net.linked(pair.publisher) && pair.net.linked(pair.consumer));
    }
    // The honest one is served.
    let mut pair = Pair::open(15);
    let visit = pair.visit();
    let honest = Pair::header_of(1000, Some(process("consumer")));
    pair.net.forge_directly(visit, Frame::new(honest));
    assert_eq!(pair.net.nodes[pair.publisher].served.len(), 2);
}

#[test]
fn a_callee_that_says_what_none_says_loses_the_link_too() {
    for (header, reason) in [
        (Header::Cancel { id: CallId(1), lost: false }, "unexpected Cancel frame from a node that was called"),
        (Header::Visit { version: 1, session: SessionId(1), ticket: Ticket([0; 16]) }, "unexpected Visit frame"),
        (Header::Synced, "unexpected Synced frame from a node that was called"),
    ] {
        let mut pair = Pair::open(16);
        let end = pair.net.directs_of(pair.consumer)[0];
        pair.net.forge_directly(end, Frame::new(header));
        let log = pair.net.nodes[pair.consumer].log.last().unwrap();
        assert!(log.contains(reason), "{log}");
        pair.net.settle();
        assert_eq!(pair.directs(), (0, 0));
        assert_eq!(pair.directly(), 0);
    }
}

#[test]
fn nobody_is_let_in_without_the_ticket_of_this_visit() {
    let mut pair = Pair::open(17);
    let session = SessionId(pair.net.link_of(pair.consumer).0);
    for (version, session, what) in [
        (PROTOCOL_VERSION, session, "one that was used"),
        (PROTOCOL_VERSION, SessionId(77), "that of a stranger"),
        (PROTOCOL_VERSION + 1, session, "one of another protocol"),
    ] {
        let stranger = pair.net.visit_as_stranger(pair.publisher);
        let ticket = Ticket::new(&[0; 16], 1);
        pair.net.forge_directly(stranger, Frame::new(Header::Visit { version, session, ticket }));
        // The controller's word of it might be under way.
        pair.net.run(HANDSHAKE_TIMEOUT);
        let log = pair.net.nodes[pair.publisher].log.last().unwrap();
        assert!(log.contains("the controller has not said that this node may come"), "{what}: {log}");
    }
    // Who says nothing, or something else, is not waited for.
    let stranger = pair.net.visit_as_stranger(pair.publisher);
    pair.net.forge_directly(stranger, Frame::new(Header::Ping));
    let log = pair.net.nodes[pair.publisher].log.last().unwrap();
    assert!(log.contains("unexpected Ping frame before a visitor has said who it is"), "{log}");
    pair.net.visit_as_stranger(pair.publisher);
    pair.net.run(HANDSHAKE_TIMEOUT);
    let log = pair.net.nodes[pair.publisher].log.last().unwrap();
    assert!(log.contains("no handshake within 5 s"), "{log}");
    // And the one that is there is none the worse for it.
    assert_eq!(pair.directly(), 2);
}

#[test]
fn a_node_meets_only_nodes_of_its_tenants_and_hears_only_of_processes_of_its_own() {
    let mut net = Net::new(18);
    net.direct = true;
    let acme = net.runtime_of(&["acme"], daffi_proto::session::Role::Node);
    let both = net.runtime_of(&["acme", "globex"], daffi_proto::session::Role::Node);
    let globex = net.runtime_of(&["globex"], daffi_proto::session::Role::Node);
    net.add(acme, "acme::shop", &[SUM]);
    let main = net.add(both, "acme::main", &[]);
    net.add(both, "globex::secret", &[]);
    net.settle();
    // By a foreign node: as of one that cannot be reached.
    let link = net.link_of(globex);
    let session = SessionId(net.link_of(acme).0);
    net.forge(link, Frame::new(Header::Meet { session }));
    net.settle();
    assert_eq!(net.count(acme).directs, (0, 0));
    let token = net.call(both, call(Some(main), SUM));
    net.settle();
    assert!(net.result(both, token).is_ok());
    assert_eq!(net.count(acme).directs, (0, 1));
    let visit = net.directs_of(acme)[0];
    let header = Pair::header_of(1000, Some(process("globex::secret")));
    net.forge_directly(visit, Frame::new(header));
    let log = net.nodes[acme].log.last().unwrap();
    assert!(log.contains("a call in the name of the process secret, which"), "{log}");
}

#[test]
fn a_visitor_may_be_there_before_the_controllers_word_of_it() {
    let mut pair = Pair::open(23);
    let stranger = pair.net.visit_as_stranger(pair.publisher);
    let (session, ticket) = (SessionId(99), Ticket([9; 16]));
    pair.net.forge_directly(stranger, Frame::new(Header::Visit { version: PROTOCOL_VERSION, session, ticket }));
    pair.net.run(HANDSHAKE_TIMEOUT / 2);
    let expect = |ticket| {
        let (node, mark, max_payload_bytes) = ("late".to_owned(), NodeKey([9; 16]).mark(), 1 << 20);
        let header = Header::Expect { session, node, ticket, mark, max_payload_bytes, identity: None };
        crate::net::from_controller(Frame::new(header))
    };
    // Of another visit, which the ticket is not for.
    pair.net.node_input(pair.publisher, expect(Ticket([8; 16])));
    pair.net.node_input(pair.publisher, expect(ticket));
    let vouch = Header::Vouch { session, number: 1, process: process("late") };
    pair.net.node_input(pair.publisher, crate::net::from_controller(Frame::new(vouch)));
    // It is told how busy those are that it may call, before it is told that it may.
    let told = pair.net.told_directly(stranger);
    let kinds: Vec<&str> = told.iter().map(Header::kind).collect();
    assert_eq!(kinds, ["Welcome", "Busy", "Known"]);
    let header = Pair::header_of(1, Some(process("late")));
    let before = pair.net.nodes[pair.publisher].served.len();
    pair.net.forge_directly(stranger, Frame::new(header));
    assert_eq!(pair.net.nodes[pair.publisher].served.len(), before + 1);
}

#[test]
fn a_link_that_outlives_its_controller_speaks_for_nobody_whom_the_next_one_gives_the_same_number() {
    let mut pair = Pair::open(24);
    pair.does(Behaviour::Hold);
    pair.call();
    pair.net.settle();
    let (visit, session) = (pair.visit(), SessionId(pair.net.link_of(pair.consumer).0));
    pair.net.kill_controller();
    pair.net.settle();
    pair.net.start_controller();
    pair.net.run(secs(5));
    assert_eq!(pair.directs(), (1, 1), "the call that is held keeps the link");
    // The next controller's node of this number is another one, and has a process of that name.
    let (node, mark, max_payload_bytes) = ("other".to_owned(), NodeKey([9; 16]).mark(), 1 << 20);
    let expect = Header::Expect { session, node, ticket: Ticket([9; 16]), mark, max_payload_bytes, identity: None };
    let vouch = Header::Vouch { session, number: 1, process: process("victim") };
    for header in [expect, vouch] {
        pair.net.node_input(pair.publisher, crate::net::from_controller(Frame::new(header)));
    }
    let header = Pair::header_of(1000, Some(process("victim")));
    let served = pair.net.nodes[pair.publisher].served.len();
    pair.net.forge_directly(visit, Frame::new(header));
    assert_eq!(pair.net.nodes[pair.publisher].served.len(), served, "nothing is called in the victim's name");
}
