//! Scheduled tasks that are written down: who asked for a change has his answer after it, a new stay goes on with them.

use daffi_proto::call::Schedules;
use daffi_proto::error::{Outcome, code};
use daffi_proto::id::LocalId;
use daffi_proto::node::{Command, SAVE_COUNTS_EVERY};
use daffi_proto::schedule::{Plan, TaskOp, Tasks};
use daffi_proto::session::{PeerIdentity, Role};

use crate::net::{Net, SUM, ms, name, schedule, secs, sum_type, text_type};

/// A connected node with a process whose tasks are written down.
fn keeper(net: &mut Net, tasks: Tasks) -> (usize, LocalId) {
    let node = net.runtime("keeper", Role::Node, PeerIdentity::Unix { uid: 1, pid: None });
    let kept = Schedules::Kept(Box::new(tasks));
    let id = net.try_add_with(node, "worker", &[(SUM, sum_type())], kept).unwrap();
    net.dial(node);
    net.settle();
    (node, id)
}

fn none_yet(net: &Net) -> Tasks {
    Tasks::new(name("worker"), 8, net.clock())
}

/// Writes down what is to be, or fails to.
fn save(net: &mut Net, node: usize, process: LocalId, result: Result<(), String>) -> Tasks {
    let (tasks, changes) = net.nodes[node].saves.remove(&process).unwrap();
    net.command(node, Command::TasksSaved { process, changes, result });
    net.settle();
    *tasks
}

#[test]
fn who_makes_or_cancels_a_task_is_answered_when_it_is_written_down() {
    let mut net = Net::new(1);
    let tasks = none_yet(&net);
    let (node, worker) = keeper(&mut net, tasks);
    let client = net.client();
    let tokens = [1, 2].map(|time| net.schedule(client, schedule(None, SUM, Plan::Every(secs(time * 60)))));
    net.settle();
    assert!(net.nodes[client].tasks.is_empty());
    save(&mut net, node, worker, Ok(()));
    let [first, _] = tokens.map(|token| net.tasks_of(client, token).unwrap().remove(0));
    let cancel = net.token();
    let caller = schedule(None, SUM, Plan::Every(secs(1))).call.caller;
    let op = TaskOp::Cancel(first.id.number);
    let request = daffi_proto::call::TasksRequest { caller, process: name("worker"), op, timeout: secs(10) };
    net.command(client, Command::Tasks { token: cancel, request });
    net.settle();
    assert!(!net.nodes[client].tasks.contains_key(&cancel));
    let saved = save(&mut net, node, worker, Ok(()));
    assert_eq!((net.tasks_of(client, cancel).unwrap()[0].id.clone(), saved.len()), (first.id, 1));
}

#[test]
fn a_task_that_cannot_be_written_down_is_not_made() {
    let mut net = Net::new(2);
    let tasks = none_yet(&net);
    let (node, worker) = keeper(&mut net, tasks);
    let client = net.client();
    let token = net.schedule(client, schedule(None, SUM, Plan::Every(secs(1))));
    net.settle();
    save(&mut net, node, worker, Err("no space left on device".to_owned()));
    let error = net.tasks_of(client, token).unwrap_err();
    assert_eq!((error.outcome, error.code.as_str()), (Outcome::NotRun, code::NOT_SAVED));
    assert!(error.message.contains("no space left"), "{error}");
    net.run(secs(5));
    assert_eq!((net.count(node).tasks, net.nodes[node].served.len()), (0, 0));
}

#[test]
fn counts_are_written_down_after_a_while_and_when_the_process_leaves() {
    let mut net = Net::new(3);
    let tasks = none_yet(&net);
    let (node, worker) = keeper(&mut net, tasks);
    let client = net.client();
    net.schedule(client, schedule(None, SUM, Plan::Every(secs(1))));
    net.settle();
    save(&mut net, node, worker, Ok(()));
    net.run(SAVE_COUNTS_EVERY);
    assert!(!net.nodes[node].saves.contains_key(&worker));
    net.run(secs(2));
    let runs = |tasks: &Tasks, net: &Net| tasks.list(net.clock()).next().unwrap().counts.runs;
    let saved = save(&mut net, node, worker, Ok(()));
    assert_eq!(runs(&saved, &net), 11);
    net.run(ms(3500));
    net.command(node, Command::RemoveProcess(worker));
    let (last, _) = net.nodes[node].saves.remove(&worker).unwrap();
    assert!(runs(&last, &net) > 13);
}

#[test]
fn a_new_stay_goes_on_with_its_tasks_and_one_whose_callback_is_gone_fails_until_it_is_back() {
    let mut net = Net::new(4);
    let tasks = none_yet(&net);
    let (node, worker) = keeper(&mut net, tasks);
    let client = net.client();
    let token = net.schedule(client, schedule(None, SUM, Plan::Every(secs(1))));
    net.settle();
    let saved = save(&mut net, node, worker, Ok(()));
    let task = net.tasks_of(client, token).unwrap().remove(0);
    net.kill_node(node);
    net.run(secs(6));
    for (callbacks, wanted) in [
        (vec![(SUM, sum_type())], None),
        (vec![(SUM, text_type())], Some(code::SIGNATURE_MISMATCH)),
        (vec![("x#f", sum_type())], Some(code::NO_SUCH_CALLBACK)),
    ] {
        let text = saved.snapshot(net.clock()).unwrap();
        let tasks = Tasks::restore(name("worker"), 8, net.clock(), &text).unwrap();
        let node = net.runtime("keeper", Role::Node, PeerIdentity::Unix { uid: 1, pid: None });
        net.try_add_with(node, "worker", &callbacks, Schedules::Kept(Box::new(tasks))).unwrap();
        net.run(secs(2));
        assert!(net.nodes[node].served.is_empty(), "it ran before it was on the mesh");
        net.dial(node);
        net.run(ms(2500));
        let now = net.ask(client, "worker", TaskOp::Get(task.id.number)).unwrap().remove(0);
        assert!(now.counts.runs > 0 && net.nodes[node].served.is_empty() == wanted.is_some(), "{now:?}");
        assert_eq!(now.last_error.map(|error| error.code).as_deref(), wanted);
        net.command(node, Command::Leave);
        net.settle();
    }
}

#[test]
fn an_answer_that_waits_to_be_written_down_does_not_go_to_another_link() {
    let mut net = Net::new(5);
    let tasks = none_yet(&net);
    let (node, worker) = keeper(&mut net, tasks);
    let client = net.client();
    let token = net.schedule(client, schedule(None, SUM, Plan::Every(secs(60))));
    net.settle();
    net.cut(node);
    net.run(secs(3));
    assert_eq!(net.tasks_of(client, token).unwrap_err().outcome, Outcome::Unknown);
    save(&mut net, node, worker, Ok(()));
    assert!(net.closed.iter().all(|reason| reason.contains("cut")), "{:?}", net.closed);
    assert_eq!(net.ask(client, "worker", TaskOp::List(None)).unwrap().len(), 1);
}
