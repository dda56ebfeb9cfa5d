//! Nodes with certificates: each is told whose the other one's is, and has nothing to do with anybody else.

use std::net::SocketAddr;
use std::sync::Arc;

use daffi_proto::grants::NodeGrants;
use daffi_proto::node::MAX_STRANGERS_OF_ONE;
use daffi_proto::session::{PeerIdentity, Role};

use super::*;

fn grants(node: &str, pattern: &str) -> Arc<NodeGrants> {
    let uris = [format!("daffi:node/{node}"), format!("daffi:tenant/default?process={pattern}")];
    Arc::new(NodeGrants::from_uris(uris.iter().map(String::as_str)).unwrap())
}

/// A pair with the certificates `right` and `left`, which were shown to the controller too.
fn certified(seed: u64) -> Pair {
    let mut net = Net::new(seed);
    net.direct = true;
    let mut member = |name: &str, node: &str, callbacks: &[&str]| {
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        let identity = PeerIdentity::Certificate { grants: grants(node, "*"), address };
        let at = net.runtime(name, Role::Node, identity);
        let id = net.add(at, name, callbacks);
        net.dial(at);
        net.settle();
        (at, id)
    };
    let (publisher, math) = member("publisher", "right", &[SUM]);
    let (consumer, main) = member("consumer", "left", &[]);
    Pair { net, publisher, math, consumer, main }
}

/// The ticket of the first visit.
fn first_ticket() -> Ticket {
    Ticket::new(&[0; 16], 1)
}

fn show(pair: &mut Pair, visitor: (usize, Via), ticket: Ticket) {
    let session = SessionId(pair.net.link_of(pair.consumer).0);
    let header = Header::Visit { version: PROTOCOL_VERSION, session, ticket };
    pair.net.forge_directly(visitor, Frame::new(header));
}

#[test]
fn nodes_with_certificates_meet_where_each_is_who_the_controller_says() {
    let mut pair = certified(31);
    assert_eq!(pair.directly(), 4 + 2);
    assert_eq!(pair.directs(), (1, 1));
    assert_eq!(pair.net.controller.as_ref().unwrap().counts().relays, 0);
}

#[test]
fn nothing_is_said_to_who_has_another_certificate_at_the_address_of_a_node() {
    let mut pair = certified(32);
    pair.net.nodes[pair.publisher].shows = Some(grants("mallory", "*"));
    assert_eq!(pair.directly(), 0, "the call went by the controller");
    assert_eq!(pair.directs(), (0, 0));
}

#[test]
fn a_node_of_which_the_controller_knows_no_certificate_is_not_visited_where_certificates_are_shown() {
    let mut pair = Pair::new(33);
    pair.net.nodes[pair.publisher].shows = Some(grants("right", "*"));
    assert_eq!(pair.directly(), 0);
    assert_eq!(pair.directs(), (0, 0));
}

#[test]
fn who_shows_another_certificate_is_not_let_in_with_the_right_ticket_and_does_not_use_it_up() {
    let mut pair = certified(34);
    // The honest node does not get there, so its ticket is not used.
    pair.net.unreachable = true;
    assert_eq!(pair.directly(), 0);
    for shown in ["mallory", "right"] {
        let thief = pair.net.visit_with(pair.publisher, Some(grants(shown, "*")));
        show(&mut pair, thief, first_ticket());
        assert_eq!(pair.net.told_directly(thief), [], "as for one whose ticket may still come");
        pair.net.run(HANDSHAKE_TIMEOUT);
        let log = pair.net.nodes[pair.publisher].log.last().unwrap();
        assert!(log.contains("the controller has not said that this node may come"), "{log}");
        let told: Vec<&str> = pair.net.told_directly(thief).iter().map(Header::kind).collect();
        assert_eq!(told, ["Refused"], "the same words as for a wrong ticket");
    }
    let honest = pair.net.visit_with(pair.publisher, Some(grants("left", "*")));
    show(&mut pair, honest, first_ticket());
    let told: Vec<&str> = pair.net.told_directly(honest).iter().map(Header::kind).collect();
    assert_eq!(told, ["Known", "Busy", "Welcome"]);
}

#[test]
fn a_visitor_that_joined_without_a_certificate_is_not_let_in_with_one() {
    let mut pair = Pair::new(35);
    pair.net.unreachable = true;
    assert_eq!(pair.directly(), 0);
    let visitor = pair.net.visit_with(pair.publisher, Some(grants("left", "*")));
    show(&mut pair, visitor, first_ticket());
    pair.net.run(HANDSHAKE_TIMEOUT);
    let log = pair.net.nodes[pair.publisher].log.last().unwrap();
    assert!(log.contains("the controller has not said that this node may come"), "{log}");
}

#[test]
fn calls_of_a_process_that_a_renewed_certificate_does_not_cover_go_by_the_controller() {
    let mut pair = certified(36);
    // The controller has let it in before, and vouches for it; the visited node sees the new one.
    pair.net.nodes[pair.consumer].shows = Some(grants("left", "consumer-2"));
    let before = pair.net.frames_sent_directly;
    let token = pair.call();
    pair.net.settle();
    assert_eq!(pair.net.frames_sent_directly - before, 2, "the visit and the welcome");
    pair.net.run(ROAD_PATIENCE);
    pair.net.settle();
    assert!(pair.net.result(pair.consumer, token).is_ok());
    assert_eq!(pair.directs(), (1, 1));
    assert_eq!(pair.directly(), 0, "later ones do not wait");
    // Another process of that node is covered; it comes later.
    let before = pair.net.frames_sent_directly;
    let second = pair.net.add(pair.consumer, "consumer-2", &[]);
    pair.net.settle();
    let token = pair.net.call(pair.consumer, call(Some(second), SUM));
    pair.net.settle();
    assert!(pair.net.result(pair.consumer, token).is_ok());
    assert_eq!(pair.net.frames_sent_directly - before, 4, "Busy, Known, the call and its answer");
    // Who does it all the same loses the link, whatever the controller says of the process.
    let served = pair.net.nodes[pair.publisher].served.len();
    let visit = pair.visit();
    pair.net.forge_directly(visit, Frame::new(Pair::header_of(1000, Some(process("consumer")))));
    let log = pair.net.nodes[pair.publisher].log.last().unwrap();
    assert!(log.ends_with("a call in the name of the process consumer, which consumer has not"), "{log}");
    assert_eq!(pair.net.nodes[pair.publisher].served.len(), served);
}

#[test]
fn who_shows_one_certificate_over_and_over_and_no_ticket_takes_few_places_from_others() {
    let mut pair = certified(37);
    let mallory = Some(grants("mallory", "*"));
    for _ in 0..MAX_STRANGERS_OF_ONE {
        pair.net.visit_with(pair.publisher, mallory.clone());
    }
    assert_eq!(pair.net.count(pair.publisher).directs.1, MAX_STRANGERS_OF_ONE);
    pair.net.visit_with(pair.publisher, mallory);
    let log = pair.net.nodes[pair.publisher].log.last().unwrap();
    assert!(log.contains("too many direct links with this certificate"), "{log}");
    assert_eq!(pair.directly(), 4 + 2, "another one is let in");
    pair.net.run(HANDSHAKE_TIMEOUT);
    assert_eq!(pair.directs(), (1, 1));
}
