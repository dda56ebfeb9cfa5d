//! Process names: taken, kept, freed.

use std::net::SocketAddr;
use std::sync::Arc;

use daffi_proto::call::CallRequest;
use daffi_proto::error::{Outcome, code};
use daffi_proto::grants::NodeGrants;
use daffi_proto::id::LocalId;
use daffi_proto::node::Command;
use daffi_proto::session::{GRACE, PeerIdentity, REGISTER_RETRY, Role, refusal};

use crate::net::{Net, SUM, call, ms, name, secs};

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
