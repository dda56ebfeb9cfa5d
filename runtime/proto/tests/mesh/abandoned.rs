//! Calls that are to be finished though the ones that they are made for are given up.

use daffi_proto::call::{CallRequest, Incoming, WhenAbandoned};
use daffi_proto::error::{Outcome, code};
use daffi_proto::id::{LocalId, Token};
use daffi_proto::node::Command;

use crate::net::{Behaviour, Net, SUM, below, call, ms, secs};

/// A keeper of state, which calls the leaf, and a client that calls the keeper; both hold their calls.
struct Tree {
    net: Net,
    keeper: usize,
    leaf: usize,
    client: usize,
    outer: Token,
    parent: Incoming,
}

fn tree(seed: u64) -> Tree {
    let mut net = Net::new(seed);
    let leaf = holder(&mut net, "leaf", "c#f").0;
    let keeper = holder(&mut net, "keeper", SUM).0;
    let client = net.client();
    let outer = net.call(client, CallRequest { timeout: secs(4), ..call(None, SUM) });
    net.settle();
    let parent = net.nodes[keeper].served[0].clone();
    Tree { net, keeper, leaf, client, outer, parent }
}

fn holder(net: &mut Net, called: &str, callback: &str) -> (usize, LocalId) {
    let (node, process) = net.member(called, &[callback]);
    net.nodes[node].behaviours.insert(process, Behaviour::Hold);
    (node, process)
}

fn to_be_finished(parent: &Incoming, callback: &str) -> CallRequest {
    CallRequest { when_abandoned: WhenAbandoned::Finish, ..below(parent, callback) }
}

impl Tree {
    fn give_up(&mut self) {
        let outer = self.outer;
        self.net.command(self.client, Command::Cancel(outer));
        self.net.settle();
        assert_eq!(self.net.nodes[self.keeper].cancelled, [self.parent.id]);
    }

    fn answer_leaf(&mut self) {
        let id = self.net.nodes[self.leaf].served.last().unwrap().id;
        self.net.answer(self.leaf, id, Ok("done".into()));
        self.net.settle();
    }
}

#[test]
fn a_call_to_be_finished_goes_on_when_the_one_above_it_is_given_up_and_others_end() {
    let mut tree = tree(1);
    let finished = tree.net.call(tree.keeper, to_be_finished(&tree.parent, "c#f"));
    let ended = tree.net.call(tree.keeper, below(&tree.parent, "c#f"));
    tree.net.settle();
    tree.give_up();
    assert_eq!(tree.net.error(tree.keeper, ended).code, code::CANCELLED);
    let leaf = &tree.net.nodes[tree.leaf];
    assert_eq!(leaf.cancelled, [leaf.served[1].id]);
    let id = leaf.served[0].id;
    tree.net.answer(tree.leaf, id, Ok("done".into()));
    tree.net.settle();
    assert_eq!(tree.net.result(tree.keeper, finished).as_ref().unwrap().result, "done");
}

#[test]
fn it_may_also_be_made_and_placed_after_that() {
    let mut tree = tree(2);
    let waiting = CallRequest { wait_ready: true, ..to_be_finished(&tree.parent, "late#f") };
    let waiting = tree.net.call(tree.keeper, waiting);
    tree.give_up();
    let made = tree.net.call(tree.keeper, to_be_finished(&tree.parent, "c#f"));
    tree.net.settle();
    tree.answer_leaf();
    assert!(tree.net.result(tree.keeper, made).is_ok());
    let (late, _) = tree.net.member("late", &["late#f"]);
    tree.net.settle();
    assert!(tree.net.result(tree.keeper, waiting).is_ok());
    assert_eq!(tree.net.nodes[late].served.len(), 1);
}

#[test]
fn it_has_no_more_time_than_the_call_that_was_given_up() {
    let mut tree = tree(3);
    let early = tree.net.call(tree.keeper, CallRequest { timeout: secs(60), ..to_be_finished(&tree.parent, "c#f") });
    tree.net.settle();
    tree.give_up();
    let late = tree.net.call(tree.keeper, CallRequest { timeout: secs(60), ..to_be_finished(&tree.parent, "c#f") });
    tree.net.run(secs(5));
    for token in [early, late] {
        let error = tree.net.error(tree.keeper, token);
        assert_eq!((error.outcome, error.code.as_str()), (Outcome::Unknown, code::DEADLINE_EXCEEDED));
        assert!(tree.net.nodes[tree.keeper].ended[&token] <= tree.parent.deadline);
    }
    assert_eq!(tree.net.nodes[tree.leaf].cancelled.len(), 2);
    let token = tree.net.call(tree.keeper, to_be_finished(&tree.parent, "c#f"));
    assert_eq!(tree.net.error(tree.keeper, token).outcome, Outcome::NotRun);
}

#[test]
fn it_ends_when_its_own_caller_gives_it_up() {
    let mut tree = tree(4);
    let token = tree.net.call(tree.keeper, to_be_finished(&tree.parent, "c#f"));
    tree.net.settle();
    tree.give_up();
    tree.net.command(tree.keeper, Command::Cancel(token));
    tree.net.settle();
    assert_eq!(tree.net.nodes[tree.leaf].cancelled.len(), 1);
    assert_eq!(tree.net.count(tree.keeper).calls, 0);
}

#[test]
fn what_it_makes_others_call_goes_on_with_it() {
    let mut tree = tree(5);
    let end = holder(&mut tree.net, "end", "d#f").0;
    let finished = tree.net.call(tree.keeper, to_be_finished(&tree.parent, "c#f"));
    tree.net.settle();
    let parent = tree.net.nodes[tree.leaf].served[0].clone();
    let inner = tree.net.call(tree.leaf, below(&parent, "d#f"));
    tree.net.settle();
    tree.give_up();
    assert_eq!((tree.net.nodes[tree.leaf].cancelled.len(), tree.net.nodes[end].cancelled.len()), (0, 0));
    let id = tree.net.nodes[end].served[0].id;
    tree.net.answer(end, id, Ok("done".into()));
    tree.net.settle();
    assert!(tree.net.result(tree.leaf, inner).is_ok());
    tree.answer_leaf();
    assert!(tree.net.result(tree.keeper, finished).is_ok());
}

#[test]
fn within_one_runtime_it_is_the_same() {
    let mut net = Net::new(6);
    let (node, _) = holder(&mut net, "keeper", SUM);
    let leaf = net.add(node, "leaf", &["c#f"]);
    net.nodes[node].behaviours.insert(leaf, Behaviour::Hold);
    let outer = net.call(node, call(None, SUM));
    let parent = net.nodes[node].served[0].clone();
    let finished = net.call(node, to_be_finished(&parent, "c#f"));
    net.command(node, Command::Cancel(outer));
    assert_eq!(net.nodes[node].cancelled, [parent.id]);
    let id = net.nodes[node].served[1].id;
    net.answer(node, id, Ok("done".into()));
    assert!(net.result(node, finished).is_ok());
}

#[test]
fn the_end_of_a_runtime_does_not_wait_for_it() {
    let mut tree = tree(7);
    tree.net.call(tree.keeper, to_be_finished(&tree.parent, "c#f"));
    tree.net.settle();
    tree.net.command(tree.keeper, Command::Drain);
    tree.net.run(ms(100));
    assert!(!tree.net.nodes[tree.keeper].log.contains(&"drained".to_owned()));
    tree.give_up();
    assert!(tree.net.nodes[tree.keeper].log.contains(&"drained".to_owned()));
    // And what is made for it now counts no more than it does.
    tree.net.call(tree.keeper, to_be_finished(&tree.parent, "c#f"));
    tree.net.settle();
    tree.answer_leaf();
    assert_eq!(tree.net.count(tree.keeper).calls, 1);
}
