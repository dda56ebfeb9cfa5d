//! Process names: taken, kept, freed.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use daffi_proto::call::{CallRequest, CallbackSpec};
use daffi_proto::controller::{
    self, MAX_KEPT_NAMES, MAX_PROCESSES_PER_NODE, MAX_TABLE_BYTES_IN_ALL, MAX_TABLE_BYTES_PER_NODE,
};
use daffi_proto::error::{Outcome, code};
use daffi_proto::frame::{Frame, Header};
use daffi_proto::grants::NodeGrants;
use daffi_proto::id::{LinkId, LocalId, NodeKey, TenantName};
use daffi_proto::node::{Command, NodeConfig};
use daffi_proto::registry::{Callback, CallbackTable};
use daffi_proto::session::{GRACE, Hello, PROTOCOL_VERSION, PeerIdentity, REGISTER_RETRY, Role, refusal};

use crate::net::{Net, SUM, call, ms, name, process, secs};

/// All process names of the one tenant.
const ANY: &str = "daffi:tenant/default?process=*";

fn user(uid: u32) -> PeerIdentity {
    PeerIdentity::Unix { uid, pid: Some(100 + uid) }
}

fn tcp(port: u16) -> PeerIdentity {
    PeerIdentity::Tcp { address: SocketAddr::from(([127, 0, 0, 1], port)) }
}

/// A node that has a certificate with these URIs, and comes from this port.
fn certificate(uris: &[&str], port: u16) -> PeerIdentity {
    let grants = Arc::new(NodeGrants::from_uris(uris.iter().copied()).unwrap());
    PeerIdentity::Certificate { grants, address: SocketAddr::from(([127, 0, 0, 1], port)) }
}

/// A node that dials with one process of this name.
fn newcomer(net: &mut Net, node: &str, process: &str, identity: PeerIdentity) -> usize {
    let node = net.runtime(node, Role::Node, identity);
    net.add(node, process, &[SUM]);
    net.dial(node);
    net.settle();
    node
}

#[test]
fn a_taken_name_is_refused_for_good_and_the_message_says_who_holds_it() {
    let mut net = Net::new(1);
    let holder = newcomer(&mut net, "first", "publisher", user(1));
    let late = newcomer(&mut net, "second", "publisher", user(1));
    let refused = net.nodes[late].log.last().unwrap();
    assert!(refused.starts_with(&format!("refused: {}", refusal::NAME_TAKEN)), "{refused}");
    assert!(refused.contains("\"publisher\" is held by the node \"first\" (uid 1, pid 101)"), "{refused}");
    net.run(secs(60));
    assert_eq!(net.nodes[holder].log, ["connected"]);
    assert_eq!(net.controller.as_ref().unwrap().counts().links, 1);
}

#[test]
fn a_runtime_may_not_have_two_processes_of_one_name() {
    let mut net = Net::new(2);
    let node = net.runtime("node", Role::Node, user(1));
    net.add(node, "p", &[]);
    let error = net.try_add(node, "p", &[]).unwrap_err();
    assert_eq!(error.code, refusal::NAME_TAKEN);
}

#[test]
fn one_callback_name_twice_in_a_process_is_refused() {
    let mut net = Net::new(3);
    let node = net.runtime("node", Role::Node, user(1));
    let twice = [("f", crate::net::sum_type()), ("f", crate::net::text_type())];
    let error = net.try_add(node, "p", &twice).unwrap_err();
    assert!(error.message.contains("the callback f twice"), "{error}");
}

#[test]
fn after_a_loss_the_same_user_takes_the_name_at_once_and_others_wait_for_the_grace_time() {
    let mut net = Net::new(4);
    let first = newcomer(&mut net, "first", "publisher", user(1));
    net.kill_node(first);
    net.settle();
    let stranger = newcomer(&mut net, "stranger", "publisher", user(2));
    assert!(net.nodes[stranger].log[0].contains("is kept for the node \"first\""), "{:?}", net.nodes[stranger].log);
    net.run(GRACE - secs(1));
    assert!(!net.nodes[stranger].log.contains(&"connected".to_owned()));
    let heir = newcomer(&mut net, "heir", "publisher", user(1));
    assert_eq!(net.nodes[heir].log, ["connected"]);
    // The stranger now meets a live holder, on what is still his first registration.
    net.run(secs(1));
    assert!(net.nodes[stranger].log.last().unwrap().starts_with("refused: name-taken"));
}

#[test]
fn others_get_the_name_when_the_grace_time_is_over() {
    let mut net = Net::new(5);
    let first = newcomer(&mut net, "first", "publisher", user(1));
    net.kill_node(first);
    net.settle();
    let stranger = newcomer(&mut net, "stranger", "publisher", user(2));
    net.run(GRACE + REGISTER_RETRY);
    assert_eq!(net.nodes[stranger].log.last().unwrap(), "connected");
    assert_eq!(net.controller.as_ref().unwrap().counts().reserved, 0);
}

#[test]
fn over_tcp_only_the_same_runtime_takes_its_names_again() {
    let mut net = Net::new(6);
    let first = newcomer(&mut net, "first", "publisher", tcp(1));
    net.nodes[first].redial = false;
    net.cut(first);
    net.settle();
    let stranger = newcomer(&mut net, "stranger", "publisher", tcp(1));
    assert!(net.nodes[stranger].log[0].starts_with("held: "), "{:?}", net.nodes[stranger].log);
    net.dial(first);
    net.settle();
    assert_eq!(net.nodes[first].log, ["connected", "disconnected", "connected"]);
}

#[test]
fn a_node_registers_no_name_that_its_certificate_does_not_allow_and_is_told_which_it_does() {
    let mut net = Net::new(14);
    let uris = ["daffi:node/edge", "daffi:tenant/default?process=sensor-*", "daffi:tenant/other?process=publisher"];
    let allowed = newcomer(&mut net, "edge", "sensor-1", certificate(&uris, 1));
    assert_eq!(net.nodes[allowed].log, ["connected"]);
    let squatter = newcomer(&mut net, "edge", "publisher", certificate(&uris, 2));
    let refused = net.nodes[squatter].log.last().unwrap();
    assert!(refused.starts_with(&format!("refused: {}", refusal::NOT_ALLOWED)), "{refused}");
    for part in ["\"publisher\" is not for the node \"edge\"", "allows \"sensor-*\"", "--process publisher"] {
        assert!(refused.contains(part), "{refused}");
    }
    // Also of a name that somebody has, no more is said.
    newcomer(&mut net, "publisher", "publisher", user(1));
    let late = newcomer(&mut net, "edge", "publisher", certificate(&uris, 3));
    let refused = net.nodes[late].log.last().unwrap();
    assert!(refused.starts_with(&format!("refused: {}", refusal::NOT_ALLOWED)), "{refused}");
}

#[test]
fn after_a_loss_a_certificate_of_the_same_name_takes_the_process_name_at_once_also_a_renewed_one() {
    let mut net = Net::new(15);
    let first = newcomer(&mut net, "first", "publisher", certificate(&["daffi:node/a", ANY], 1));
    net.kill_node(first);
    net.settle();
    let strangers = [
        certificate(&["daffi:node/b", ANY], 2),
        user(1),
        PeerIdentity::Token { address: SocketAddr::from(([127, 0, 0, 1], 3)) },
    ];
    for identity in strangers {
        let stranger = newcomer(&mut net, "stranger", "publisher", identity);
        assert!(net.nodes[stranger].log[0].contains("(certificate of a, "), "{:?}", net.nodes[stranger].log);
    }
    let renewed = certificate(&["daffi:node/a", ANY, "daffi:tenant/default?process=more"], 4);
    let heir = newcomer(&mut net, "heir", "publisher", renewed);
    assert_eq!(net.nodes[heir].log, ["connected"]);
}

#[test]
fn a_runtime_that_comes_back_before_its_old_link_is_known_dead_takes_its_names_over() {
    let mut net = Net::new(7);
    let node = newcomer(&mut net, "node", "publisher", tcp(1));
    let (other, _) = net.member("other", &[]);
    net.silence(node);
    net.lose(node);
    net.run(secs(1));
    assert_eq!(net.nodes[node].log, ["connected", "disconnected", "connected"]);
    assert_eq!(net.closed, ["its node came back on another link"]);
    let token = net.call(other, call(None, SUM));
    net.settle();
    assert!(net.result(other, token).is_ok());
}

/// A node that has copied the key of another one.
fn copy_of(net: &mut Net, victim: usize, process: &str, identity: PeerIdentity) -> usize {
    let key = net.nodes[victim].config.key;
    let copy = net.runtime("copy", Role::Node, identity);
    net.replace(copy, |config| NodeConfig { key, ..config });
    net.add(copy, process, &[SUM]);
    net.dial(copy);
    net.settle();
    copy
}

#[test]
fn whoever_has_copied_the_key_of_a_node_with_another_certificate_takes_neither_its_link_nor_its_names() {
    let others = [
        certificate(&["daffi:node/b", ANY], 2),
        PeerIdentity::Token { address: SocketAddr::from(([127, 0, 0, 1], 3)) },
        user(1),
    ];
    for (seed, identity) in (60..).zip(others) {
        let mut net = Net::new(seed);
        let victim = newcomer(&mut net, "victim", "publisher", certificate(&["daffi:node/a", ANY], 1));
        let copy = copy_of(&mut net, victim, "publisher", identity.clone());
        let refused = &net.nodes[copy].log[0];
        assert!(refused.starts_with("close: another node has this key"), "{identity}: {refused}");
        assert_eq!(net.nodes[victim].log, ["connected"]);
        // Nor where the victim's link was lost just now.
        net.kill_node(victim);
        net.settle();
        let late = copy_of(&mut net, victim, "publisher", identity);
        assert!(net.nodes[late].log[0].contains("is kept for the node \"victim\""), "{:?}", net.nodes[late].log);
    }
}

#[test]
fn whoever_has_copied_a_key_where_the_transport_tells_nobody_from_another_takes_over() {
    for (seed, identity) in [(70, tcp(2)), (71, PeerIdentity::Token { address: ([127, 0, 0, 1], 3).into() })] {
        let mut net = Net::new(seed);
        let victim = newcomer(&mut net, "victim", "publisher", identity.clone());
        net.nodes[victim].redial = false;
        let copy = copy_of(&mut net, victim, "publisher", identity);
        assert_eq!(net.closed, ["its node came back on another link"]);
        assert_eq!(net.nodes[copy].log, ["connected"]);
    }
}

#[test]
fn leaving_frees_the_names_at_once() {
    let mut net = Net::new(8);
    let first = newcomer(&mut net, "first", "publisher", user(1));
    net.command(first, Command::Leave);
    net.settle();
    let second = newcomer(&mut net, "second", "publisher", user(2));
    assert_eq!(net.nodes[second].log, ["connected"]);
    assert_eq!(net.controller.as_ref().unwrap().counts().links, 1);
}

#[test]
fn a_process_that_is_taken_off_frees_its_name_at_once() {
    let mut net = Net::new(9);
    let (node, process) = net.member("publisher", &[SUM]);
    net.command(node, Command::RemoveProcess(process));
    net.settle();
    let second = newcomer(&mut net, "second", "publisher", user(2));
    assert_eq!(net.nodes[second].log, ["connected"]);
    assert_eq!(net.count(node).locals, 0);
}

#[test]
fn a_process_that_is_taken_off_while_it_is_registered_does_not_stay_on_the_mesh() {
    let mut net = Net::new(10);
    let (node, _) = net.member("node", &[]);
    let id = net.add(node, "publisher", &[SUM]);
    net.command(node, Command::RemoveProcess(id));
    net.settle();
    assert_eq!(net.controller.as_ref().unwrap().counts().processes, 1);
    assert_eq!(net.count(node).locals, 1);
    assert_eq!(net.closed.len(), 0);
}

#[test]
fn a_runtime_whose_name_was_taken_while_it_was_away_keeps_trying() {
    let mut net = Net::new(11);
    let first = newcomer(&mut net, "first", "publisher", user(1));
    net.nodes[first].redial = false;
    net.cut(first);
    net.run(GRACE + ms(100));
    let second = newcomer(&mut net, "second", "publisher", user(2));
    net.nodes[first].redial = true;
    net.dial(first);
    net.run(secs(5));
    let log = &net.nodes[first].log;
    assert!(log.len() > 5 && log.last().unwrap().contains("held by the node \"second\""), "{log:?}");
    net.command(second, Command::Leave);
    net.run(secs(1));
    assert_eq!(net.nodes[first].log.last().unwrap(), "connected");
}

#[test]
fn a_call_of_a_process_whose_name_others_hold_waits_and_then_says_so() {
    let mut net = Net::new(13);
    net.member("server", &[SUM]);
    let first = newcomer(&mut net, "first", "publisher", user(1));
    net.nodes[first].redial = false;
    net.cut(first);
    net.run(GRACE + ms(100));
    let second = newcomer(&mut net, "second", "publisher", user(2));
    net.nodes[first].redial = true;
    net.dial(first);
    net.run(secs(1));
    let caller = LocalId(1);
    let request = CallRequest { timeout: secs(2), ..call(Some(caller), SUM) };
    let pinned = CallRequest { receiver: Some(name("server")), ..request.clone() };
    let tokens = [net.call(first, request.clone()), net.call(first, pinned)];
    net.run(secs(3));
    for token in tokens {
        let error = net.error(first, token);
        assert_eq!((error.outcome, error.code.as_str()), (Outcome::NotRun, code::NOT_CONNECTED));
        for part in ["calling process \"publisher\" is not on the mesh", "held by the node \"second\""] {
            assert!(error.message.contains(part), "{error}");
        }
    }
    // What nobody has, nobody has.
    let token = net.call(first, CallRequest { timeout: secs(1), ..call(Some(caller), "nobody#f") });
    net.run(secs(2));
    assert_eq!(net.error(first, token).code, code::NO_SUCH_CALLBACK);
    // When the name is free again, calls go out.
    let token = net.call(first, CallRequest { timeout: secs(60), ..request });
    net.command(second, Command::Leave);
    net.run(secs(2));
    assert!(net.result(first, token).is_ok());
}

#[test]
fn a_process_added_later_is_on_the_mesh_at_once() {
    let mut net = Net::new(12);
    let (node, _) = net.member("node", &[]);
    let client = net.client();
    net.add(node, "late", &[SUM]);
    net.settle();
    let token = net.call(client, call(None, SUM));
    net.settle();
    assert_eq!(net.result(client, token).as_ref().unwrap().process.as_str(), "late");
}

/// A member of which the test itself is the node.
fn forged_member(net: &mut Net, key: u8) -> LinkId {
    let link = net.stranger();
    let hello = Hello {
        features: 0,
        key: NodeKey([key; 16]),
        name: "forged".to_owned(),
        role: Role::Node,
        max_payload_bytes: 1 << 20,
        tenants: vec![TenantName::default()],
        imports: Vec::new(),
    };
    let payload = postcard::to_stdvec(&hello).unwrap().into();
    net.forge(link, Frame::with_payload(Header::Hello { version: PROTOCOL_VERSION }, payload));
    link
}

/// Registers a process, and gives the code with which it is refused.
fn refused(net: &mut Net, link: LinkId, number: u32, table: &Bytes) -> Option<String> {
    let process = process(&format!("p{}-{number}", link.0));
    let header = Header::Register { number, process, instances: "singleton".to_owned(), exports: Vec::new() };
    net.told.clear();
    net.forge(link, Frame::with_payload(header, table.clone()));
    net.told.iter().find_map(|frame| match &frame.header {
        Header::NotRegistered { code, .. } => Some(code.clone()),
        _ => None,
    })
}

#[test]
fn the_callbacks_of_a_node_and_of_all_nodes_have_so_many_bytes_at_most() {
    let mut net = Net::new(80);
    let callback = |at| CallbackSpec {
        name: format!("test:mesh/talk#f{at}{}", "x".repeat(450)).parse().unwrap(),
        signature: crate::net::sum_type(),
    };
    let callbacks: Vec<Callback> = (0..1024).map(|at| Callback::new(&callback(at))).collect();
    let table = CallbackTable::encode(&callbacks).unwrap();
    let of_node = MAX_TABLE_BYTES_PER_NODE / table.len();
    let mut links = Vec::new();
    let mut full = None;
    for key in 1..=16 {
        let link = forged_member(&mut net, key);
        links.push(link);
        let mut numbers = 0u32..;
        full = numbers.find_map(|number| refused(&mut net, link, number, &table));
        if full.as_deref() == Some(refusal::FULL) {
            break;
        }
        assert_eq!((full.as_deref(), numbers.start as usize), (Some(refusal::BAD_PROCESS), of_node + 1));
    }
    assert_eq!(full.as_deref(), Some(refusal::FULL));
    let kept = |net: &Net| net.controller.as_ref().unwrap().counts().table_bytes;
    assert!(kept(&net) <= MAX_TABLE_BYTES_IN_ALL && kept(&net) + table.len() > MAX_TABLE_BYTES_IN_ALL);
    // What one gives up, another one has.
    net.forge(links[0], Frame::new(Header::Unregister { number: 0 }));
    assert_eq!(refused(&mut net, links[0], 1000, &table), None);
    for link in &links[1..] {
        net.forge(*link, Frame::new(Header::Leave));
    }
    assert_eq!(kept(&net), of_node * table.len());
}

#[test]
fn no_more_names_are_kept_for_lost_nodes_than_a_controller_keeps() {
    let mut net = Net::new(81);
    let table = CallbackTable::encode(&[]).unwrap();
    for _ in 0..=MAX_KEPT_NAMES / MAX_PROCESSES_PER_NODE {
        let link = forged_member(&mut net, 1);
        for number in 0..MAX_PROCESSES_PER_NODE as u32 {
            assert_eq!(refused(&mut net, link, number, &table), None);
        }
        net.controller_input(controller::Input::Closed { link, reason: "gone".to_owned() });
    }
    let reserved = |net: &Net| net.controller.as_ref().unwrap().counts().reserved;
    assert_eq!(reserved(&net), MAX_KEPT_NAMES);
    net.run(GRACE + ms(1));
    assert_eq!(reserved(&net), 0);
}
