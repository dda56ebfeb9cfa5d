//! Scheduled tasks: where they run, who sees them, what ends them.

use std::time::Duration;

use daffi_proto::call::{CallRequest, Load, ScheduleRequest, Schedules};
use daffi_proto::error::{CallError, Outcome, code};
use daffi_proto::id::LocalId;
use daffi_proto::node::Command;
use daffi_proto::schedule::{Counts, Missed, Overlap, Plan, TaskInfo, TaskOp, Terms};

use crate::net::{ARGS, Behaviour, Net, SUM, below, call, ms, name, process, schedule, secs, sum_type};

fn every(time: Duration) -> ScheduleRequest {
    schedule(None, SUM, Plan::Every(time))
}

fn at_receiver(receiver: &str, request: ScheduleRequest) -> ScheduleRequest {
    ScheduleRequest { call: CallRequest { receiver: Some(name(receiver)), ..request.call }, ..request }
}

fn on_overlap(overlap: Overlap, request: ScheduleRequest) -> ScheduleRequest {
    ScheduleRequest { terms: Terms { overlap, ..request.terms }, ..request }
}

fn holder(net: &mut Net, called: &str) -> (usize, LocalId) {
    let (node, process) = net.member(called, &[SUM]);
    net.nodes[node].behaviours.insert(process, Behaviour::Hold);
    (node, process)
}

/// Ends the calls that a node holds.
fn end_all(net: &mut Net, node: usize) {
    for id in net.nodes[node].running.keys().copied().collect::<Vec<_>>() {
        net.answer(node, id, Ok("done".into()));
    }
}

fn look(net: &mut Net, node: usize, task: &TaskInfo) -> TaskInfo {
    net.ask(node, task.id.process.as_str(), TaskOp::Get(task.id.number)).unwrap().remove(0)
}

fn counts(net: &mut Net, node: usize, task: &TaskInfo) -> [u64; 4] {
    let Counts { runs, failures, skipped, missed } = look(net, node, task).counts;
    [runs, failures, skipped, missed]
}

fn ran(net: &Net, node: usize) -> usize {
    net.nodes[node].served.len()
}

#[test]
fn a_task_runs_at_its_receiver_without_a_caller_each_time_with_its_own_deadline() {
    let mut net = Net::new(1);
    let (node, _) = net.member("worker", &[SUM]);
    let (asker, main) = net.member("asker", &[]);
    let request = schedule(Some(main), SUM, Plan::Every(secs(5)));
    let terms = Terms { timeout: secs(2), ..request.terms };
    let task = net.scheduled(asker, ScheduleRequest { terms, ..request });
    assert_eq!((task.id.process.as_str(), task.creator.clone()), ("worker", Some(process("asker"))));
    assert_eq!(task.arguments.as_deref(), Some("(1, 2)"));
    net.run(secs(16));
    assert_eq!(ran(&net, node), 3);
    let run = &net.nodes[node].served[2];
    assert_eq!((run.caller.clone(), run.chain.len(), &run.args[..]), (None, 1, ARGS));
    assert_eq!(run.deadline, net.nodes[node].served[1].deadline + secs(5));
    assert_eq!(counts(&mut net, asker, &task), [3, 0, 0, 0]);
    assert_eq!(net.count(node).serves, 0);
}

#[test]
fn a_run_counts_as_in_flight_and_what_it_calls_is_not_the_first_of_its_chain() {
    let mut net = Net::new(2);
    let (node, _) = holder(&mut net, "worker");
    let (leaf, _) = net.member("leaf", &["l#f"]);
    let client = net.client();
    net.scheduled(client, every(secs(1)));
    net.run(ms(1500));
    let run = net.nodes[node].served[0].clone();
    let inner = net.call(node, below(&run, "l#f"));
    net.settle();
    assert!(net.result(node, inner).is_ok());
    let chain = &net.nodes[leaf].served[0].chain;
    assert_eq!((chain.len(), chain[0].process.clone(), chain[1].process.clone()), (2, None, Some(process("worker"))));
    net.run(ms(300));
    assert_eq!(net.controller.as_ref().unwrap().in_flight(&process("worker")), Some((0, 1)));
}

#[test]
fn what_becomes_of_a_tick_while_a_run_is_in_flight_is_the_tasks_own_choice() {
    for (overlap, began, expected) in
        [(Overlap::Skip, 1, [1, 0, 3, 0]), (Overlap::QueueOne, 1, [1, 0, 2, 0]), (Overlap::Parallel, 4, [4, 0, 0, 0])]
    {
        let mut net = Net::new(3);
        let (node, _) = holder(&mut net, "worker");
        let client = net.client();
        let task = net.scheduled(client, on_overlap(overlap, every(secs(1))));
        net.run(ms(4500));
        assert_eq!((ran(&net, node), counts(&mut net, client, &task)), (began, expected));
        end_all(&mut net, node);
        assert_eq!(ran(&net, node), began + usize::from(overlap == Overlap::QueueOne));
    }
}

#[test]
fn a_run_that_runs_on_past_its_deadline_has_failed_and_is_in_flight_until_it_is_over() {
    let mut net = Net::new(4);
    let (node, worker) = net.member("worker", &[SUM]);
    net.nodes[node].behaviours.insert(worker, Behaviour::Pool { takes: ms(3500), kills: false });
    let client = net.client();
    let request = every(secs(1));
    let terms = Terms { timeout: secs(1), ..request.terms };
    let task = net.scheduled(client, ScheduleRequest { terms, ..request });
    net.run(ms(4900));
    assert_eq!(counts(&mut net, client, &task), [1, 1, 3, 0]);
    let error = look(&mut net, client, &task).last_error.unwrap();
    assert_eq!(error.code, code::DEADLINE_EXCEEDED);
}

#[test]
fn a_task_survives_its_caller_and_the_loss_of_its_receivers_link() {
    let mut net = Net::new(5);
    let (node, _) = net.member("worker", &[SUM]);
    let (asker, main) = net.member("asker", &[]);
    let task = net.scheduled(asker, schedule(Some(main), SUM, Plan::Every(secs(1))));
    net.kill_node(asker);
    net.run(ms(2500));
    assert_eq!(ran(&net, node), 2);
    net.nodes[node].redial = false;
    net.cut(node);
    net.run(secs(20));
    assert_eq!(ran(&net, node), 22);
    net.dial(node);
    net.settle();
    let client = net.client();
    assert_eq!(counts(&mut net, client, &task), [22, 0, 0, 0]);
    assert_eq!(net.list(client)[0].load.schedules, 1);
}

#[test]
fn a_task_ends_with_its_runtime_and_its_id_names_no_other_afterwards() {
    let mut net = Net::new(6);
    let (node, _) = net.member("worker", &[SUM]);
    let client = net.client();
    let task = net.scheduled(client, every(secs(1)));
    net.kill_node(node);
    net.settle();
    let error = net.ask(client, "worker", TaskOp::Get(task.id.number)).unwrap_err();
    assert_eq!((error.code.as_str(), error.callback), (code::NO_SUCH_PROCESS, task.id.to_string()));
    net.run(secs(6));
    let (_, _) = net.member("worker", &[SUM]);
    net.scheduled(client, every(secs(1)));
    let error = net.ask(client, "worker", TaskOp::Cancel(task.id.number)).unwrap_err();
    assert_eq!((error.outcome, error.code.as_str()), (Outcome::NotRun, code::NO_SUCH_TASK));
}

#[test]
fn any_process_sees_a_task_and_cancels_it_and_a_run_in_flight_goes_on() {
    let mut net = Net::new(7);
    let (node, _) = holder(&mut net, "worker");
    let (asker, main) = net.member("asker", &[]);
    let third = net.client();
    let task = net.scheduled(asker, schedule(Some(main), SUM, Plan::Every(secs(1))));
    net.run(ms(1500));
    let listed = net.ask(third, "worker", TaskOp::List(None)).unwrap();
    assert_eq!((listed.len(), listed[0].id.clone(), listed[0].running), (1, task.id.clone(), 1));
    let last = net.ask(third, "worker", TaskOp::Cancel(task.id.number)).unwrap();
    assert_eq!(last[0].counts.runs, 1);
    assert_eq!(net.ask(asker, "worker", TaskOp::Cancel(task.id.number)).unwrap_err().code, code::NO_SUCH_TASK);
    assert!(net.nodes[node].cancelled.is_empty());
    net.run(secs(5));
    end_all(&mut net, node);
    net.run(secs(5));
    assert_eq!((ran(&net, node), net.count(node).tasks, net.count(node).serves), (1, 0, 0));
    assert_eq!(net.list(third)[1].load, Load::default());
}

#[test]
fn who_has_his_answer_finds_the_task_in_the_next_list() {
    let mut net = Net::new(8);
    net.delay = 40;
    let (_, _) = net.member("worker", &[SUM]);
    let (first, second) = (net.client(), net.client());
    for tasks in 1..=5 {
        let task = net.scheduled(first, every(secs(60)));
        assert_eq!(net.list(second)[0].load.schedules, tasks);
        assert_eq!(look(&mut net, second, &task).id, task.id);
    }
}

#[test]
fn a_link_that_breaks_while_a_task_is_made_leaves_open_whether_it_was() {
    let mut net = Net::new(9);
    let (node, _) = net.member("worker", &[SUM]);
    let (client, other) = (net.client(), net.client());
    let token = net.schedule(client, every(secs(1)));
    net.cut(client);
    net.settle();
    let error = net.tasks_of(client, token).unwrap_err();
    assert_eq!((error.outcome, error.code.as_str()), (Outcome::Unknown, code::LINK_LOST));
    assert!(error.message.contains("look at the scheduled tasks"), "{}", error.message);
    net.silence(node);
    let token = net.schedule(other, every(secs(1)));
    net.run(secs(11));
    assert_eq!(net.tasks_of(other, token).unwrap_err().outcome, Outcome::Unknown);
    let counts = net.count(other);
    assert_eq!((counts.calls, counts.away, counts.deadlines, counts.waiting), (0, 0, 0, 0));
}

#[test]
fn a_node_that_drains_begins_no_run_waits_for_those_in_flight_and_makes_no_task() {
    let mut net = Net::new(10);
    let (node, worker) = holder(&mut net, "worker");
    let main = net.add(node, "main", &[]);
    net.settle();
    net.scheduled(node, schedule(Some(main), SUM, Plan::Every(secs(1))));
    net.run(ms(1500));
    net.command(node, Command::Drain);
    let refused = net.schedule(node, at_receiver("worker", schedule(Some(worker), SUM, Plan::Every(secs(1)))));
    net.run(secs(5));
    assert_eq!(net.tasks_of(node, refused).unwrap_err().code, code::DRAINING);
    assert_eq!((ran(&net, node), net.nodes[node].log.contains(&"drained".to_owned())), (1, false));
    end_all(&mut net, node);
    assert_eq!((ran(&net, node), net.nodes[node].log.contains(&"drained".to_owned())), (1, true));
}

#[test]
fn times_that_the_clock_jumped_over_run_once_or_are_missed() {
    for (missed, runs, expected) in [(Missed::RunOnce, 1, [1, 0, 0, 2]), (Missed::Skip, 0, [0, 0, 0, 3])] {
        let mut net = Net::new(11);
        let (node, _) = net.member("worker", &[SUM]);
        let client = net.client();
        let now = net.clock().utc;
        let times = [60, 120, 180].map(|time| now.plus(secs(time)));
        let request = schedule(None, SUM, Plan::At(times.into()));
        let terms = Terms { missed, ..request.terms };
        let task = net.scheduled(client, ScheduleRequest { terms, ..request });
        net.began = net.began.plus(secs(3600));
        net.run(secs(11));
        assert_eq!((ran(&net, node), counts(&mut net, client, &task)), (runs, expected));
    }
}

#[test]
fn a_name_that_somebody_else_holds_pauses_its_ticks() {
    let mut net = Net::new(12);
    let (node, _) = net.member("worker", &[SUM]);
    let client = net.client();
    net.scheduled(client, every(secs(1)));
    net.nodes[node].redial = false;
    net.cut(node);
    net.run(ms(6200));
    assert_eq!(ran(&net, node), 6);
    let (thief, _) = net.member("worker", &[SUM]);
    net.dial(node);
    net.run(secs(10));
    assert_eq!(ran(&net, node), 6);
    net.command(thief, Command::Leave);
    net.run(secs(10));
    assert!(ran(&net, node) > 7);
    let task = net.ask(client, "worker", TaskOp::List(None)).unwrap().remove(0);
    assert!(task.counts.missed > 5, "{task:?}");
}

#[test]
fn schedules_go_to_the_processes_in_turn_and_to_the_caller_itself_only_by_name() {
    let mut net = Net::new(13);
    let workers = ["a", "b", "c"].map(|name| net.member(name, &[SUM]));
    let (own, id) = workers[0];
    let mut receivers: Vec<String> = Vec::new();
    for _ in 0..4 {
        receivers.push(net.scheduled(own, schedule(Some(id), SUM, Plan::Every(secs(60)))).id.process.to_string());
    }
    assert!(receivers[0] != receivers[1] && !receivers.contains(&"a".to_owned()), "{receivers:?}");
    let task = net.scheduled(own, at_receiver("a", schedule(Some(id), SUM, Plan::Every(secs(1)))));
    net.run(ms(1500));
    assert_eq!((task.id.process.as_str(), ran(&net, own)), ("a", 1));
}

#[test]
fn a_schedule_waits_for_its_callback_where_it_is_told_to() {
    let mut net = Net::new(14);
    let client = net.client();
    let refused = net.schedule(client, every(secs(1)));
    let request = every(secs(1));
    let token =
        net.schedule(client, ScheduleRequest { call: CallRequest { wait_ready: true, ..request.call }, ..request });
    net.settle();
    assert_eq!(net.tasks_of(client, refused).unwrap_err().code, code::NO_SUCH_CALLBACK);
    net.member("worker", &[SUM]);
    assert_eq!(net.tasks_of(client, token).unwrap()[0].id.process.as_str(), "worker");
}

#[test]
fn what_cannot_be_scheduled_is_refused_before_or_at_its_receiver() {
    let mut net = Net::new(15);
    let (node, _) = net.member("worker", &[SUM]);
    let client = net.client();
    let request = every(secs(1));
    let bad = CallRequest { args: "no numbers".into(), ..request.call.clone() };
    let past = Plan::At([net.clock().utc.minus(secs(60))].into());
    for (request, why) in [
        (every(ms(1)), "too often"),
        (schedule(None, SUM, Plan::At([].into())), "without a time"),
        (schedule(None, SUM, past), "in the past"),
        (
            ScheduleRequest { terms: Terms { timeout: Duration::ZERO, ..request.terms.clone() }, ..request.clone() },
            "7 days",
        ),
        (ScheduleRequest { call: bad, ..request }, SUM),
    ] {
        let token = net.schedule(client, request);
        net.settle();
        let error = net.tasks_of(client, token).unwrap_err();
        assert_eq!((error.outcome, error.code.as_str()), (Outcome::NotRun, code::BAD_ARGUMENTS), "{error}");
        assert!(error.message.contains(why), "{error}");
    }
    assert_eq!(net.count(node).tasks, 0);
}

#[test]
fn a_process_has_no_more_tasks_than_it_may() {
    let mut net = Net::new(16);
    let (node, _) = net.member("main", &[]);
    net.try_add_with(node, "worker", &[(SUM, sum_type())], Schedules::Fresh(2)).unwrap();
    net.settle();
    let client = net.client();
    let first = net.scheduled(client, every(secs(60)));
    net.scheduled(client, every(secs(60)));
    let token = net.schedule(client, every(secs(60)));
    net.settle();
    let error = net.tasks_of(client, token).unwrap_err();
    assert_eq!(
        (error.code.as_str(), error.retryable, error.process.as_deref()),
        (code::OVERLOADED, true, Some("worker"))
    );
    net.ask(client, "worker", TaskOp::Cancel(first.id.number)).unwrap();
    net.scheduled(client, every(secs(60)));
}

#[test]
fn a_failed_run_is_counted_with_its_error_and_the_next_one_runs() {
    let mut net = Net::new(17);
    let (node, worker) = net.member("worker", &[SUM]);
    net.nodes[node].behaviours.insert(worker, Behaviour::Fail(CallError::failed(code::TRAP, "it trapped", SUM)));
    let client = net.client();
    let task = net.scheduled(client, every(secs(1)));
    net.run(ms(2500));
    let info = look(&mut net, client, &task);
    let error = info.last_error.unwrap();
    assert_eq!((info.counts.failures, error.code.as_str(), error.message.as_str()), (2, code::TRAP, "it trapped"));
    assert!(net.nodes[node].log.iter().any(|line| line.contains("Failed")), "{:?}", net.nodes[node].log);
}

#[test]
fn a_long_list_comes_in_pages_that_fit_every_link() {
    let mut net = Net::new(18);
    let (node, _) = net.member("main", &[]);
    net.try_add_with(node, "worker", &[(SUM, sum_type())], Schedules::Fresh(100)).unwrap();
    net.settle();
    let client = net.client();
    let times: Vec<_> = (1..=1000).map(|time| net.clock().utc.plus(secs(3600 + time))).collect();
    for _ in 0..100 {
        net.scheduled(client, schedule(None, SUM, Plan::At(times.clone().into())));
    }
    let (mut all, mut pages, mut after) = (Vec::new(), 0, None);
    loop {
        let page = net.ask(client, "worker", TaskOp::List(after)).unwrap();
        let Some(last) = page.last() else { break };
        (after, pages) = (Some(last.id.number), pages + 1);
        all.extend(page.into_iter().map(|task| task.id));
    }
    all.dedup();
    assert!(all.len() == 100 && (4..10).contains(&pages), "{} in {pages} pages", all.len());
}

#[test]
fn a_call_that_ends_takes_its_open_questions_along() {
    let mut net = Net::new(19);
    let (middle, _) = holder(&mut net, "middle");
    net.member("worker", &["w#f"]);
    let client = net.client();
    let outer = net.call(client, call(None, SUM));
    net.settle();
    let parent = net.nodes[middle].served[0].clone();
    net.silence(middle);
    let call = CallRequest { args: ARGS.into(), ..below(&parent, "w#f") };
    let token = net.schedule(middle, ScheduleRequest { call, terms: Terms::new(Plan::Every(secs(1))) });
    net.lose(middle);
    assert_eq!(net.tasks_of(middle, token).unwrap_err().outcome, Outcome::Unknown);
    net.command(client, Command::Cancel(outer));
    net.settle();
    assert_eq!(net.count(middle).calls, 0);
}

#[test]
fn only_tables_that_are_due_are_looked_at_however_many_there_are() {
    let mut net = Net::new(20);
    let (node, _) = net.member("main", &[]);
    for worker in 0..50 {
        net.try_add_with(node, &format!("worker-{worker}"), &[(SUM, sum_type())], Schedules::Fresh(1)).unwrap();
    }
    net.settle();
    let client = net.client();
    for worker in 1..50 {
        net.scheduled(client, at_receiver(&format!("worker-{worker}"), every(secs(3600))));
    }
    net.scheduled(client, at_receiver("worker-0", every(secs(1))));
    let before = net.count(node).table_looks;
    net.run(secs(100));
    // Once for each of its ticks, and once for the end of each run.
    assert_eq!((ran(&net, node), net.count(node).table_looks - before), (100, 200));
}
