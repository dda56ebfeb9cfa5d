//! Who is told of processes that come and go.

use daffi_proto::call::MemberEvent;
use daffi_proto::id::{TenantName, Token};
use daffi_proto::node::{Command, MAX_WATCHES};
use daffi_proto::session::{GRACE, PeerIdentity, Role};

use crate::net::{Net, SUM, call, secs, sum_type, text_type};

fn watch(net: &mut Net, node: usize) -> Token {
    let token = net.token();
    net.command(node, Command::Watch { token, tenant: TenantName::default() });
    token
}

/// What a watch was told since this was asked last, in words.
fn told(net: &mut Net, node: usize, token: Token) -> Vec<String> {
    let events = net.nodes[node].members.remove(&token).unwrap_or_default();
    let words = |event: MemberEvent| match event {
        MemberEvent::Joined(member) => {
            format!("{} of {} with {}", member.name, member.node, member.callbacks.len())
        }
        MemberEvent::CallbacksChanged(member) => format!("{} has {}", member.name, member.callbacks.len()),
        MemberEvent::Left { name, node } => format!("{name} of {node} left"),
    };
    events.into_iter().map(words).collect()
}

#[test]
fn a_watch_begins_with_all_who_are_there_and_goes_on_with_those_who_come_and_go() {
    let mut net = Net::new(1);
    let (node, _) = net.member("first", &[SUM]);
    let (second, process) = net.member("second", &[]);
    let token = watch(&mut net, node);
    assert_eq!(told(&mut net, node, token), ["first of first with 1", "second of second with 0"]);
    let (third, _) = net.member("third", &[SUM]);
    net.command(second, Command::RemoveProcess(process));
    net.settle();
    assert_eq!(told(&mut net, node, token), ["third of third with 1", "second of second left"]);
    net.kill_node(third);
    net.settle();
    assert_eq!(told(&mut net, node, token), ["third of third left"]);
}

#[test]
fn processes_of_the_watchers_own_node_are_told_of_too_also_without_a_link() {
    let mut net = Net::new(2);
    let node = net.runtime("alone", Role::Node, PeerIdentity::InProcess);
    let token = watch(&mut net, node);
    let process = net.add(node, "own", &[SUM]);
    net.command(node, Command::RemoveProcess(process));
    assert_eq!(told(&mut net, node, token), ["own of alone with 1", "own of alone left"]);
}

#[test]
fn a_lost_link_is_no_news_of_the_others_but_who_is_not_back_after_the_grace_time_has_left() {
    let mut net = Net::new(3);
    let (node, _) = net.member("watcher", &[]);
    let (_, _) = net.member("stays", &[SUM]);
    let (goes, _) = net.member("goes", &[SUM]);
    let token = watch(&mut net, node);
    assert_eq!(told(&mut net, node, token).len(), 3);
    net.kill_controller();
    net.settle();
    net.kill_node(goes);
    net.run(secs(30));
    assert_eq!(told(&mut net, node, token), [""; 0]);
    net.start_controller();
    net.run(secs(30) + GRACE);
    assert_eq!(told(&mut net, node, token), ["goes of goes left"]);
}

#[test]
fn a_watch_that_begins_while_the_link_is_lost_is_told_of_those_who_may_come_back() {
    let mut net = Net::new(4);
    let (node, _) = net.member("watcher", &[]);
    net.member("other", &[SUM]);
    net.kill_controller();
    net.settle();
    let token = watch(&mut net, node);
    assert_eq!(told(&mut net, node, token), ["other of other with 1", "watcher of watcher with 0"]);
    net.start_controller();
    net.run(secs(30) + GRACE);
    assert_eq!(told(&mut net, node, token), [""; 0]);
}

#[test]
fn a_process_that_comes_back_with_other_callbacks_has_changed() {
    let mut net = Net::new(5);
    let (node, _) = net.member("watcher", &[]);
    let (other, former) = net.member("other", &[SUM]);
    let token = watch(&mut net, node);
    told(&mut net, node, token);
    net.kill_controller();
    net.settle();
    net.command(other, Command::RemoveProcess(former));
    net.try_add(other, "other", &[("f", sum_type()), ("g", text_type())]).unwrap();
    net.start_controller();
    net.run(secs(30) + GRACE);
    assert_eq!(told(&mut net, node, token), ["other has 2"]);
}

#[test]
fn a_watch_that_is_given_up_is_told_nothing_and_leaves_nothing() {
    let mut net = Net::new(6);
    let (node, _) = net.member("watcher", &[]);
    let token = watch(&mut net, node);
    told(&mut net, node, token);
    assert_eq!(net.count(node).watches, 1);
    net.command(node, Command::Cancel(token));
    net.member("late", &[]);
    assert_eq!((told(&mut net, node, token).len(), net.count(node).watches), (0, 0));
    // Its place among the open requests is free: calls go on.
    let asked = net.call(node, call(None, "nobody:has/this#f"));
    net.settle();
    assert!(net.error(node, asked).message.contains("nobody:has/this#f"));
}

#[test]
fn watches_are_bounded_and_see_their_own_tenant_only() {
    let mut net = Net::new(7);
    let (node, _) = net.member("watcher", &[]);
    let token = net.token();
    net.command(node, Command::Watch { token, tenant: TenantName::new("other").unwrap() });
    assert_eq!(told(&mut net, node, token), [""; 0]);
    for _ in 1..MAX_WATCHES {
        watch(&mut net, node);
    }
    assert!(net.nodes[node].log.iter().all(|line| !line.starts_with("watch refused")));
    let late = watch(&mut net, node);
    assert!(net.nodes[node].log.last().unwrap().starts_with("watch refused"), "{:?}", net.nodes[node].log);
    assert!(!net.nodes[node].members.contains_key(&late));
}
