//! Calls that are made again when they fail, and receivers that see them twice.

use std::time::Duration;

use daffi_proto::call::{CallRequest, Retry};
use daffi_proto::error::{CallError, Outcome, code};
use daffi_proto::frame::{Frame, Header, Target};
use daffi_proto::id::{CallId, LocalId, NodeKey, RepeatKey, Token};
use daffi_proto::node::{Command, Input, KEPT_FOR, MAX_KEPT_BYTES, MAX_KEPT_RESULTS, Output};
use daffi_proto::session::GRACE;

use crate::net::{Behaviour, Net, SUM, below, call, ms, name, secs};

/// A call that is made so often, with pauses of 100 ms and more.
fn again(attempts: u32, idempotent: bool) -> CallRequest {
    CallRequest { retry: Retry { attempts, idempotent, ..Retry::NEVER }, ..call(None, SUM) }
}

fn member(net: &mut Net, called: &str, does: Behaviour) -> (usize, LocalId) {
    let (node, process) = net.member(called, &[SUM]);
    net.nodes[node].behaviours.insert(process, does);
    (node, process)
}

fn told(net: &Net, node: usize, token: Token) -> (Outcome, &str, bool) {
    let error = net.error(node, token);
    (error.outcome, error.code.as_str(), error.retryable)
}

fn served(net: &Net, node: usize) -> usize {
    net.nodes[node].served.len()
}

fn nothing_is_left(net: &mut Net) {
    net.run(KEPT_FOR);
    for node in 0..net.nodes.len() {
        let counts = net.count(node);
        let open = [counts.calls, counts.away, counts.waiting, counts.deadlines, counts.serves, counts.repeats];
        assert_eq!(open, [0; 6], "node {node}: {counts:?}");
    }
    assert_eq!(net.controller.as_ref().map_or(0, |controller| controller.counts().relays), 0);
}

fn overloaded() -> Behaviour {
    Behaviour::Fail(CallError::not_run(code::OVERLOADED, "full", ""))
}

#[test]
fn a_call_that_did_not_run_is_made_again_until_it_runs() {
    let mut net = Net::new(1);
    let (node, worker) = member(&mut net, "worker", overloaded());
    let client = net.client();
    let token = net.call(client, again(5, false));
    net.run(ms(250));
    assert!(served(&net, node) >= 2 && !net.nodes[client].calls.contains_key(&token));
    net.nodes[node].behaviours.insert(worker, Behaviour::Echo(Duration::ZERO));
    net.run(secs(1));
    assert!(net.result(client, token).is_ok());
    nothing_is_left(&mut net);
}

#[test]
fn pauses_double_with_jitter_and_the_last_error_counts_the_attempts() {
    let mut net = Net::new(2);
    let (node, _) = member(&mut net, "worker", overloaded());
    let client = net.client();
    let token = net.call(client, again(4, false));
    let began = net.now;
    net.run(secs(5));
    assert_eq!(served(&net, node), 4);
    // 100 + 200 + 400 ms, of each of which half at least.
    let took = net.nodes[client].ended[&token] - began;
    assert!((ms(350)..ms(1000)).contains(&took), "{took:?}");
    assert_eq!(told(&net, client, token), (Outcome::NotRun, code::OVERLOADED, true));
    assert!(net.error(client, token).message.ends_with("(attempts: 4)"));
    nothing_is_left(&mut net);
}

#[test]
fn what_ran_and_failed_is_made_again_only_where_it_may_run_twice() {
    for (idempotent, runs) in [(false, 1), (true, 3)] {
        let mut net = Net::new(3);
        let trap = CallError::failed(code::TRAP, "it trapped", "");
        let (node, _) = member(&mut net, "worker", Behaviour::Fail(trap));
        let client = net.client();
        let token = net.call(client, again(3, idempotent));
        net.run(secs(5));
        assert_eq!(served(&net, node), runs);
        assert_eq!(told(&net, client, token), (Outcome::Failed, code::TRAP, false));
        nothing_is_left(&mut net);
    }
}

#[test]
fn what_cannot_be_mended_is_not_tried_again() {
    let mut net = Net::new(4);
    let refused = CallError::not_run(code::BAD_ARGUMENTS, "no such value", "");
    let (node, _) = member(&mut net, "worker", Behaviour::Fail(refused));
    let client = net.client();
    let token = net.call(client, again(9, true));
    net.settle();
    assert_eq!((served(&net, node), told(&net, client, token).1), (1, code::BAD_ARGUMENTS));
    nothing_is_left(&mut net);
}

#[test]
fn all_attempts_have_one_deadline_and_no_pause_goes_beyond_it() {
    let mut net = Net::new(5);
    member(&mut net, "worker", overloaded());
    let client = net.client();
    let began = net.now;
    let token = net.call(client, CallRequest { timeout: secs(2), ..again(100, false) });
    net.run(secs(10));
    assert!(net.nodes[client].ended[&token] - began <= secs(2));
    assert_eq!(told(&net, client, token).1, code::OVERLOADED);
    nothing_is_left(&mut net);
}

#[test]
fn an_outcome_is_that_of_all_attempts() {
    let mut net = Net::new(6);
    let (node, worker) = member(&mut net, "worker", Behaviour::Fail(CallError::failed(code::TRAP, "it trapped", "")));
    let client = net.client();
    let token = net.call(client, again(2, true));
    net.run(ms(40));
    assert_eq!(served(&net, node), 1);
    net.nodes[node].behaviours.insert(worker, overloaded());
    net.run(secs(2));
    assert_eq!(told(&net, client, token), (Outcome::Failed, code::OVERLOADED, false));
    nothing_is_left(&mut net);
}

#[test]
fn a_call_that_is_given_up_or_cancelled_between_two_attempts_is_over() {
    let mut net = Net::new(7);
    let (node, _) = member(&mut net, "worker", Behaviour::Fail(CallError::failed(code::TRAP, "it trapped", "")));
    let (middle, process) = net.member("middle", &["m#f"]);
    net.nodes[middle].behaviours.insert(process, Behaviour::Hold);
    let client = net.client();
    let outer = net.call(client, call(None, "m#f"));
    net.settle();
    let parent = net.nodes[middle].served[0].clone();
    let inner = net.call(middle, CallRequest { retry: again(9, true).retry, ..below(&parent, SUM) });
    let own = net.call(client, again(9, true));
    net.run(ms(40));
    let before = served(&net, node);
    net.command(client, Command::Cancel(outer));
    net.command(client, Command::Cancel(own));
    net.settle();
    assert_eq!(told(&net, middle, inner), (Outcome::Unknown, code::CANCELLED, false));
    net.answer(middle, parent.id, Ok("dropped".into()));
    net.run(secs(5));
    assert_eq!((before, served(&net, node)), (2, 2));
    nothing_is_left(&mut net);
}

#[test]
fn a_pinned_receiver_has_every_attempt_and_others_go_to_whoever_is_free() {
    let mut net = Net::new(8);
    let (one, _) = member(&mut net, "one", overloaded());
    let (two, _) = member(&mut net, "two", Behaviour::Echo(Duration::ZERO));
    let client = net.client();
    let pinned = net.call(client, CallRequest { receiver: Some(name("one")), ..again(3, false) });
    net.run(secs(2));
    assert_eq!((served(&net, one), served(&net, two)), (3, 0));
    assert_eq!(told(&net, client, pinned).1, code::OVERLOADED);
    let free = net.call(client, again(4, false));
    net.run(secs(2));
    assert!(net.result(client, free).is_ok());
    nothing_is_left(&mut net);
}

/// A worker that holds its calls, a caller, and an idempotent call of his that has begun.
fn begun(seed: u64) -> (Net, usize, usize, Token) {
    let mut net = Net::new(seed);
    let (worker, _) = member(&mut net, "worker", Behaviour::Hold);
    let client = net.client();
    let token = net.call(client, again(5, true));
    net.settle();
    assert_eq!(served(&net, worker), 1);
    (net, worker, client, token)
}

fn finish(net: &mut Net, worker: usize) {
    let id = net.nodes[worker].served[0].id;
    net.answer(worker, id, Ok("once".into()));
}

#[test]
fn a_link_that_is_lost_while_it_runs_costs_no_second_run() {
    for lost in ["the caller's", "the receiver's", "the caller's, and only he knows"] {
        let (mut net, worker, client, token) = begun(9);
        match lost {
            "the caller's" => net.cut(client),
            "the receiver's" => net.cut(worker),
            _ => net.lose(client),
        }
        net.run(secs(4));
        assert!(net.nodes[worker].cancelled.is_empty(), "{lost}");
        finish(&mut net, worker);
        net.run(secs(1));
        assert_eq!(net.result(client, token).as_ref().unwrap().result, "once", "{lost}");
        assert_eq!(served(&net, worker), 1, "{lost}");
        nothing_is_left(&mut net);
    }
}

#[test]
fn a_result_that_was_lost_with_a_link_is_given_again() {
    for both in [false, true] {
        let (mut net, worker, client, token) = begun(10);
        net.cut(client);
        if both {
            net.cut(worker);
        }
        finish(&mut net, worker);
        net.run(secs(4));
        assert_eq!(net.result(client, token).as_ref().unwrap().result, "once");
        assert_eq!(served(&net, worker), 1);
        nothing_is_left(&mut net);
    }
}

#[test]
fn a_controller_that_is_replaced_costs_no_second_run() {
    let (mut net, worker, client, token) = begun(11);
    net.kill_controller();
    net.run(secs(1));
    net.start_controller();
    net.run(ms(3900));
    finish(&mut net, worker);
    net.run(secs(2));
    assert_eq!(net.result(client, token).as_ref().unwrap().result, "once");
    assert_eq!(served(&net, worker), 1);
    nothing_is_left(&mut net);
}

#[test]
fn without_a_word_that_it_may_run_twice_a_lost_link_cancels_and_is_the_end() {
    let mut net = Net::new(12);
    let (worker, _) = member(&mut net, "worker", Behaviour::Hold);
    let client = net.client();
    let token = net.call(client, again(5, false));
    net.settle();
    net.cut(client);
    net.run(secs(1));
    assert_eq!(net.nodes[worker].cancelled.len(), 1);
    assert_eq!(told(&net, client, token), (Outcome::Unknown, code::LINK_LOST, false));
    finish(&mut net, worker);
    nothing_is_left(&mut net);
}

#[test]
fn who_does_not_come_back_is_waited_for_only_for_a_while() {
    let (mut net, worker, client, _) = begun(13);
    net.kill_node(client);
    net.run(GRACE - ms(500));
    assert!(net.nodes[worker].cancelled.is_empty());
    net.run(secs(1));
    assert_eq!(net.nodes[worker].cancelled.len(), 1);
    finish(&mut net, worker);
    nothing_is_left(&mut net);
}

#[test]
fn a_process_that_was_started_anew_knows_nothing_and_runs_it() {
    let (mut net, worker, client, token) = begun(14);
    net.kill_node(worker);
    net.run(ms(100));
    let (second, _) = member(&mut net, "worker", Behaviour::Echo(Duration::ZERO));
    net.run(secs(3));
    assert_eq!(net.result(client, token).as_ref().unwrap().result, "args");
    assert_eq!(served(&net, second), 1);
    nothing_is_left(&mut net);
}

#[test]
fn a_run_that_failed_is_no_answer_to_the_next_attempt() {
    let (mut net, worker, client, token) = begun(15);
    net.cut(client);
    let id = net.nodes[worker].served[0].id;
    net.answer(worker, id, Err(CallError::failed(code::TRAP, "it trapped", "")));
    net.run(secs(4));
    assert_eq!(served(&net, worker), 2);
    let id = net.nodes[worker].served[1].id;
    net.answer(worker, id, Ok("twice".into()));
    net.run(secs(1));
    assert_eq!(net.result(client, token).as_ref().unwrap().result, "twice");
    nothing_is_left(&mut net);
}

/// A receiver's node alone, and what the controller gives to it.
struct Receiver {
    net: Net,
    node: usize,
    last: u64,
}

impl Receiver {
    fn new(does: Behaviour) -> Self {
        let mut net = Net::new(16);
        let (node, _) = member(&mut net, "worker", does);
        Self { net, node, last: 1 << 32 }
    }

    /// What it answers at once to a call with this key and these arguments.
    fn take(&mut self, number: u64, caller: u8, args: &'static [u8]) -> Option<Frame> {
        self.last += 1;
        let hop =
            daffi_proto::call::Hop { process: Some(crate::net::process(&format!("caller-{caller}"))), instance: 0 };
        let header = Header::Call {
            id: CallId(self.last),
            target: Target::Callback(1, 0),
            timeout_ms: 60_000,
            chain: [hop].into(),
            answer: daffi_proto::call::Answer::Result,
            mode: daffi_proto::call::Mode::Whole,
            channels: [].into(),
            key: Some(RepeatKey { node: NodeKey([7; 16]).mark(), number }),
        };
        let frame = Frame::with_payload(header, args.into());
        let now = self.net.clock();
        let runtime = &mut self.net.nodes[self.node];
        runtime.node.handle(now, crate::net::from_controller(frame));
        let mut answer = None;
        while let Some(output) = runtime.node.poll_output() {
            match output {
                Output::Send { frame, .. } if matches!(frame.header, Header::Reply { .. } | Header::Fail { .. }) => {
                    answer = Some(frame);
                }
                Output::Serve(incoming) => runtime.served.push(incoming),
                _ => {}
            }
        }
        answer
    }

    /// Ends the run that began last.
    fn end(&mut self, result: &[u8]) {
        let id = self.net.nodes[self.node].served.last().unwrap().id;
        let (now, result) = (self.net.clock(), Ok(result.to_vec().into()));
        let node = &mut self.net.nodes[self.node].node;
        node.handle(now, Input::Command(Command::Served { id, result }));
        while node.poll_output().is_some() {}
    }

    fn runs(&self) -> usize {
        served(&self.net, self.node)
    }
}

#[test]
fn of_two_attempts_at_once_the_later_has_the_answer_and_there_is_one_run() {
    let mut receiver = Receiver::new(Behaviour::Hold);
    assert_eq!(receiver.take(1, 1, b"args"), None);
    let first = receiver.take(1, 1, b"args").unwrap();
    let error: CallError = postcard::from_bytes(&first.payload).unwrap();
    assert_eq!((error.outcome, receiver.runs()), (Outcome::Unknown, 1));
    receiver.end(b"once");
    let again = receiver.take(1, 1, b"args").unwrap();
    assert_eq!((again.payload.as_ref(), receiver.runs()), (&b"once"[..], 1));
}

#[test]
fn a_key_that_comes_with_another_caller_or_other_arguments_gets_nothing() {
    let mut receiver = Receiver::new(Behaviour::Hold);
    assert_eq!(receiver.take(1, 1, b"args"), None);
    for done in [false, true] {
        if done {
            receiver.end(b"secret");
        }
        for (caller, args) in [(2, &b"args"[..]), (1, b"other")] {
            let refused = receiver.take(1, caller, args).unwrap();
            let error: CallError = postcard::from_bytes(&refused.payload).unwrap();
            assert_eq!((error.outcome, error.code.as_str()), (Outcome::NotRun, code::INTERNAL));
        }
    }
    assert_eq!(receiver.runs(), 1);
    assert_eq!(receiver.take(1, 1, b"args").unwrap().payload.as_ref(), b"secret");
}

#[test]
fn kept_results_have_bounds_of_number_bytes_and_time_and_the_oldest_go_first() {
    let mut receiver = Receiver::new(Behaviour::Hold);
    for number in 0..=MAX_KEPT_RESULTS as u64 {
        receiver.take(number, 1, b"args");
        receiver.end(b"small");
    }
    assert_eq!(receiver.net.count(receiver.node).repeats, MAX_KEPT_RESULTS);
    assert!(receiver.take(MAX_KEPT_RESULTS as u64, 1, b"args").is_some());
    assert_eq!(receiver.take(0, 1, b"args"), None, "the oldest was forgotten, and runs again");
    receiver.net.run(ms(1));
    receiver.end(&vec![0; MAX_KEPT_BYTES + 1]);
    assert_eq!(receiver.take(0, 1, b"args"), None, "it was too large to be kept");
    receiver.net.run(ms(1));
    receiver.end(&vec![0; MAX_KEPT_BYTES]);
    assert_eq!(receiver.net.count(receiver.node).repeats, 1);
    receiver.net.run(secs(61));
    assert_eq!(receiver.net.count(receiver.node).repeats, 0, "its call's time is over");
}

#[test]
fn attempts_of_a_call_below_another_one_have_no_more_time_together_than_it_was_given() {
    let mut net = Net::new(31);
    let (node, _) = member(&mut net, "worker", overloaded());
    let (above, main) = member(&mut net, "above", Behaviour::Hold);
    let client = net.client();
    let request = CallRequest { receiver: Some(name("above")), timeout: secs(60), ..call(None, SUM) };
    net.call(client, request);
    net.settle();
    let parent = net.nodes[above].served[0].clone();
    assert_eq!(parent.process, main);
    let retry = Retry { attempts: 100, idempotent: true, ..Retry::NEVER };
    let request = CallRequest { retry, timeout: secs(1), receiver: Some(name("worker")), ..below(&parent, SUM) };
    let began = net.now;
    let token = net.call(above, request);
    net.run(ms(900));
    assert!(served(&net, node) >= 2);
    // The last attempt is held, and ends when the time of all is over.
    let worker = net.nodes[node].served[0].process;
    net.nodes[node].behaviours.insert(worker, Behaviour::Hold);
    net.run(secs(5));
    assert!(net.nodes[above].ended[&token] <= began + secs(1), "{:?}", net.nodes[above].ended[&token]);
}
