//! What processes have used: when it is told, to whom, and what becomes of a node that says something else.

use daffi_proto::call::{Detail, ProcessInfo};
use daffi_proto::error::Outcome;
use daffi_proto::frame::{Frame, Header};
use daffi_proto::id::{LocalId, TenantName};
use daffi_proto::node::{Command, NodeConfig};
use daffi_proto::session::{PeerIdentity, Role};
use daffi_proto::usage::{Failures, MAX_USAGE_BYTES, USAGE_EVERY, Usage};

use crate::net::{Net, SUM, ms, secs};

fn used(net: &mut Net, node: usize, process: LocalId, argument_bytes: u64) {
    let usage = Usage { argument_bytes, ..Usage::default() };
    net.command(node, Command::Usage { process, usage: usage.into() });
}

fn told_bytes(process: &ProcessInfo) -> Option<u64> {
    process.usage.as_ref().map(|usage| usage.argument_bytes)
}

fn told(net: &mut Net, asker: usize) -> Option<u64> {
    told_bytes(&net.list_in_detail(asker, TenantName::default(), Detail::Usage)[0])
}

#[test]
fn usage_is_told_once_a_second_at_most_and_the_last_one_is_told() {
    let mut net = Net::new(7);
    let (node, process) = net.member("node", &[SUM]);
    let client = net.client();
    assert_eq!(told(&mut net, client), None);
    for bytes in 1..=100 {
        used(&mut net, node, process, bytes);
    }
    net.settle();
    assert_eq!(told(&mut net, client), Some(1));
    net.run(USAGE_EVERY - ms(50));
    assert_eq!(told(&mut net, client), Some(1));
    net.run(ms(100));
    assert_eq!(told(&mut net, client), Some(100));
    // A node's own processes are always as they are.
    used(&mut net, node, process, 101);
    assert_eq!(told(&mut net, node), Some(101));
}

#[test]
fn usage_is_told_only_to_who_asks_for_it() {
    let mut net = Net::new(8);
    let (node, process) = net.member("node", &[SUM]);
    let client = net.client();
    used(&mut net, node, process, 1);
    net.settle();
    assert!(net.list(client).iter().chain(&net.list(node)).all(|process| process.usage.is_none()));
}

#[test]
fn usage_is_told_again_after_a_reconnection() {
    let mut net = Net::new(9);
    let (node, process) = net.member("node", &[SUM]);
    let client = net.client();
    used(&mut net, node, process, 9);
    net.cut(node);
    net.run(secs(2));
    assert_eq!(told(&mut net, client), Some(9));
}

#[test]
fn a_list_has_as_much_usage_as_its_asker_takes() {
    let mut net = Net::new(10);
    let names: Vec<String> = (0..4).map(|number| format!("node-{number}")).collect();
    let members: Vec<_> = names.iter().map(|name| net.member(name, &[SUM])).collect();
    for (node, process) in members {
        used(&mut net, node, process, 1);
    }
    let bytes = Usage { argument_bytes: 1, ..Usage::default() }.encode().len();
    for (takes, told) in [(1 << 20, 4), (2 * 3 * bytes, 3), (0, 0)] {
        let client = net.runtime("client", Role::Client, PeerIdentity::Unix { uid: 1, pid: None });
        net.replace(client, |config| NodeConfig { max_payload_bytes: takes, ..config });
        net.dial(client);
        net.settle();
        let list = net.list_in_detail(client, TenantName::default(), Detail::Usage);
        assert_eq!((list.len(), list.iter().filter_map(told_bytes).sum::<u64>()), (4, told));
    }
}

#[test]
fn a_node_that_tells_what_no_process_can_have_used_loses_its_link() {
    let garbled = vec![0xff; 16];
    let failures = Failures { outcome: Outcome::Failed, code: "\u{1b}[2J".to_owned(), calls: 1 };
    let deceptive = Usage { failures: vec![failures], ..Usage::default() }.encode();
    for payload in [garbled, deceptive, vec![0; MAX_USAGE_BYTES + 1]] {
        let mut net = Net::new(11);
        let (node, _) = net.member("node", &[SUM]);
        net.nodes[node].redial = false;
        net.forge(net.link_of(node), Frame::with_payload(Header::Usage { number: 1 }, payload.into()));
        net.settle();
        assert!(!net.linked(node));
    }
    let mut net = Net::new(12);
    let (node, _) = net.member("node", &[SUM]);
    net.nodes[node].redial = false;
    let of_nobody = Frame::with_payload(Header::Usage { number: 99 }, Usage::default().encode().into());
    net.forge(net.link_of(node), of_nobody);
    net.settle();
    assert!(!net.linked(node));
}
