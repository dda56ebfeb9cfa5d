//! Drain of nodes and of the controller, leave, processes that are taken off; loads and lists.

use daffi_proto::call::{CallRequest, Detail, Load};
use daffi_proto::controller::Input;
use daffi_proto::error::{Outcome, code};
use daffi_proto::id::TenantName;
use daffi_proto::node::{Command, LOAD_EVERY};
use daffi_proto::session::HANDSHAKE_TIMEOUT;

use crate::net::{Behaviour, Net, SUM, below, call, ms, process, secs};

#[test]
fn a_draining_node_finishes_what_it_has_and_gets_nothing_new() {
    let mut net = Net::new(1);
    let (old, process) = net.member("old", &[SUM]);
    net.nodes[old].behaviours.insert(process, Behaviour::Hold);
    let (helper, _) = net.member("helper", &["help#f"]);
    let client = net.client();
    let token = net.call(client, call(None, SUM));
    net.settle();
    net.command(old, Command::Drain);
    net.settle();
    assert_eq!(net.count(client).remotes, 1);
    // Nobody sees it any more.
    let refused = net.call(client, call(None, SUM));
    assert_eq!(net.error(client, refused).code, code::NO_SUCH_CALLBACK);
    // What is in flight may still make calls; nothing else may.
    let parent = net.nodes[old].served[0].clone();
    let nested = net.call(old, below(&parent, "help#f"));
    let fresh = net.call(old, call(Some(process), "help#f"));
    net.settle();
    assert!(net.result(old, nested).is_ok());
    assert_eq!((net.error(old, fresh).code.as_str(), net.nodes[helper].served.len()), (code::DRAINING, 1));
    assert_eq!(net.nodes[old].log, ["connected"]);
    net.answer(old, parent.id, Ok("done".into()));
    net.settle();
    assert!(net.result(client, token).is_ok());
    assert_eq!(net.nodes[old].log, ["connected", "drained"]);
    net.command(old, Command::Leave);
    net.settle();
    assert_eq!(net.nodes[old].log[2..], ["close: this runtime left the mesh", "disconnected"]);
    let counts = net.controller.as_ref().unwrap().counts();
    assert_eq!((counts.links, counts.reserved), (2, 0));
}

#[test]
fn an_idle_node_is_drained_at_once() {
    let mut net = Net::new(2);
    let (node, main) = net.member("node", &[]);
    let waiting = net.call(node, CallRequest { wait_ready: true, ..call(Some(main), SUM) });
    net.command(node, Command::Drain);
    assert_eq!(net.error(node, waiting).code, code::DRAINING);
    assert_eq!(net.nodes[node].log, ["connected", "drained"]);
}

#[test]
fn a_straggler_does_not_run_at_a_draining_node_and_a_typed_caller_goes_elsewhere() {
    let mut net = Net::new(3);
    let (old, _) = net.member("old", &[SUM]);
    let client = net.client();
    // The controller sends the calls before it hears of the drain.
    net.delay = 0;
    let dynamic = net.call(client, call(None, SUM));
    let typed = net.call(client, CallRequest { wait_ready: true, ..call(None, SUM) });
    net.command(old, Command::Drain);
    net.settle();
    assert_eq!(net.nodes[old].served.len(), 0);
    let error = net.error(client, dynamic);
    assert_eq!((error.outcome, error.code.as_str(), error.retryable), (Outcome::NotRun, code::DRAINING, true));
    assert_eq!((error.process.as_deref(), error.callback.as_str()), (Some("old"), SUM));
    assert!(!net.nodes[client].calls.contains_key(&typed));
    net.member("new", &[SUM]);
    assert_eq!(net.result(client, typed).as_ref().unwrap().process.as_str(), "new");
}

#[test]
fn a_draining_controller_finishes_what_it_relays_and_passes_on_nothing_new() {
    let mut net = Net::new(10);
    let (publisher, process) = net.member("publisher", &[SUM]);
    net.nodes[publisher].behaviours.insert(process, Behaviour::Hold);
    let (helper, _) = net.member("helper", &["help#f"]);
    let client = net.client();
    let token = net.call(client, call(None, SUM));
    let given_up = net.call(client, call(None, SUM));
    net.settle();
    net.command(client, Command::Cancel(given_up));
    net.settle();
    net.controller_input(Input::Drain);
    net.settle();
    let refused = net.call(client, call(None, SUM));
    net.settle();
    let error = net.error(client, refused);
    assert_eq!((error.outcome, error.code.as_str(), error.retryable), (Outcome::NotRun, code::DRAINING, true));
    assert!(error.message.contains("the controller") && error.callback == SUM, "{error:?}");
    // What is in flight may need others to finish.
    let parent = net.nodes[publisher].served[0].clone();
    let nested = net.call(publisher, CallRequest { wait_ready: true, ..below(&parent, "help#f") });
    net.settle();
    assert!(net.result(publisher, nested).is_ok());
    assert_eq!((net.nodes[helper].served.len(), net.drained), (1, false));
    net.answer(publisher, parent.id, Ok("done".into()));
    net.settle();
    assert!(net.result(client, token).is_ok());
    // The call that was given up still runs, and keeps nobody waiting.
    assert!(net.drained);
    assert_eq!(net.controller.as_ref().unwrap().counts().relays, 1);
}

#[test]
fn a_controller_that_relays_nothing_is_drained_at_once() {
    let mut net = Net::new(11);
    net.member("publisher", &[SUM]);
    net.controller_input(Input::Drain);
    assert!(net.drained);
}

#[test]
fn a_typed_call_waits_for_the_controller_after_the_one_that_drains() {
    for early in [true, false] {
        let mut net = Net::new(12);
        net.member("publisher", &[SUM]);
        let client = net.client();
        net.delay = 0;
        let typed = CallRequest { wait_ready: true, ..call(None, SUM) };
        // One meets the drain on its way; the other is made by a client that came after it.
        let (client, token) = if early {
            let token = net.call(client, typed.clone());
            net.controller_input(Input::Drain);
            net.settle();
            (client, token)
        } else {
            net.controller_input(Input::Drain);
            let late = net.client();
            (late, net.call(late, typed.clone()))
        };
        let hasty = net.call(client, CallRequest { timeout: secs(1), ..typed });
        net.settle();
        assert!(!net.nodes[client].calls.contains_key(&token));
        net.run(secs(2));
        let error = net.error(client, hasty);
        assert_eq!((error.outcome, error.code.as_str()), (Outcome::NotRun, code::DRAINING), "{error}");
        net.kill_controller();
        net.start_controller();
        net.run(secs(5));
        assert_eq!(net.result(client, token).as_ref().unwrap().process.as_str(), "publisher");
    }
}

#[test]
fn a_process_that_is_taken_off_still_answers_what_it_serves() {
    let mut net = Net::new(4);
    let (node, process) = net.member("node", &[SUM]);
    net.nodes[node].behaviours.insert(process, Behaviour::Hold);
    let client = net.client();
    let token = net.call(client, call(None, SUM));
    net.settle();
    net.command(node, Command::RemoveProcess(process));
    net.settle();
    assert_eq!((net.count(node).locals, net.list(client).len()), (1, 0));
    let id = net.nodes[node].served[0].id;
    net.answer(node, id, Ok("done".into()));
    net.settle();
    assert_eq!(net.result(client, token).as_ref().unwrap().process.as_str(), "node");
    assert_eq!(net.count(node).locals, 0);
}

#[test]
fn after_leaving_calls_over_the_link_fail_at_once() {
    let mut net = Net::new(5);
    net.member("publisher", &[SUM]);
    let (node, main) = net.member("node", &[]);
    let waiting = net.call(node, CallRequest { wait_ready: true, ..call(Some(main), "other#f") });
    net.command(node, Command::Leave);
    assert_eq!(net.error(node, waiting).code, code::NOT_CONNECTED);
    let token = net.call(node, call(Some(main), SUM));
    let error = net.error(node, token);
    assert_eq!((error.code.as_str(), error.retryable), (code::NOT_CONNECTED, false));
    assert!(error.message.contains("this runtime left the mesh"), "{error}");
}

#[test]
fn lists_show_all_processes_with_their_callbacks_and_loads() {
    let mut net = Net::new(6);
    let (node, process) = net.member("b", &[SUM, "clock#now"]);
    net.member("a", &[]);
    let client = net.client();
    let load = Load { instances: 4, in_flight: 2, schedules: 0, open_calls: 7, open_streams: 3, handles: 9 };
    net.command(node, Command::Load { process, load });
    net.settle();
    let list = net.list(client);
    let names: Vec<_> = list.iter().map(|info| info.process.name.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(list[1].load, load);
    assert_eq!((list[1].node.as_str(), list[1].instances.as_str()), ("b", "singleton"));
    let callbacks: Vec<_> = list[1].callbacks.iter().map(|callback| callback.name.to_string()).collect();
    assert_eq!(callbacks, [SUM, "clock#now"]);
}

#[test]
fn a_list_that_the_controller_does_not_answer_is_what_this_node_knows() {
    let mut net = Net::new(19);
    net.member("publisher", &[SUM]);
    let client = net.client();
    net.silence(client);
    let token = net.token();
    net.command(client, Command::List { token, tenant: TenantName::default(), detail: Detail::Load });
    net.run(HANDSHAKE_TIMEOUT - ms(10));
    assert!(net.nodes[client].lists.is_empty());
    net.run(ms(20));
    assert_eq!(net.nodes[client].lists[&token][0].process, process("publisher"));
    assert!(net.linked(client), "the link was not yet given up");
    assert_eq!((net.count(client).asks, net.count(client).deadlines), (0, 0));
}

#[test]
fn loads_are_told_at_a_bounded_rate_and_the_last_one_is_told() {
    let mut net = Net::new(7);
    let (node, process) = net.member("node", &[SUM]);
    let client = net.client();
    let told = |net: &mut Net| net.list(client)[0].load.in_flight;
    for in_flight in 1..=100 {
        net.command(node, Command::Load { process, load: Load { instances: 1, in_flight, ..Load::default() } });
    }
    net.settle();
    assert_eq!(told(&mut net), 1);
    net.run(LOAD_EVERY);
    assert_eq!(told(&mut net), 100);
    // A node's own processes are always as they are.
    net.command(node, Command::Load { process, load: Load { instances: 1, in_flight: 7, ..Load::default() } });
    assert_eq!(net.list(node)[0].load.in_flight, 7);
}

#[test]
fn loads_are_told_again_after_a_reconnection() {
    let mut net = Net::new(8);
    let (node, process) = net.member("node", &[SUM]);
    let client = net.client();
    net.command(node, Command::Load { process, load: Load { instances: 1, in_flight: 9, ..Load::default() } });
    net.cut(node);
    net.run(secs(1));
    assert_eq!(net.list(client)[0].load.in_flight, 9);
}

#[test]
fn a_list_without_a_link_shows_what_is_here() {
    let mut net = Net::new(9);
    let (node, _) = net.member("node", &[SUM]);
    net.member("other", &[SUM]);
    net.nodes[node].redial = false;
    let token = net.token();
    net.command(node, Command::List { token, tenant: Default::default(), detail: Detail::Usage });
    net.cut(node);
    net.settle();
    // The one that was open is answered with what was known.
    assert_eq!(net.nodes[node].lists[&token].len(), 2);
    assert_eq!(net.list(node).len(), 1);
    assert_eq!(net.count(node).asks, 0);
}
