//! The table: its limit, cancelling, lists, finished tasks.

use daffi_proto::error::code;
use daffi_proto::id::ProcessName;
use daffi_proto::schedule::{
    KEPT_FINISHED_TASKS, MAX_TASKS, Overlap, RunNumber, ScheduleError, TaskId, TaskNumber, Tasks,
};

use super::sim::{Sim, at, cron, every, process, time, utc, with};

#[test]
fn more_tasks_than_the_limit_are_refused_until_one_is_cancelled() {
    let mut sim = Sim::new();
    let ids: Vec<TaskId> = (0..8).map(|_| sim.add(every("1h"))).collect();
    let refused = sim.tasks.add(sim.clock, every("1h")).unwrap_err();
    assert_eq!(refused, ScheduleError::TooManyTasks { process: process(), limit: 8 });
    assert_eq!(refused.code(), code::OVERLOADED);
    sim.tasks.cancel(&ids[3]).unwrap();
    sim.add(every("1h"));
}

#[test]
fn the_limit_has_a_limit() {
    let sim = Sim::new();
    let mut tasks = Tasks::new(process(), usize::MAX, sim.clock);
    for _ in 0..MAX_TASKS {
        tasks.add(sim.clock, every("1h")).unwrap();
    }
    assert!(tasks.add(sim.clock, every("1h")).is_err());
}

#[test]
fn a_task_that_is_refused_leaves_nothing() {
    let mut sim = Sim::new();
    for spec in [every("1ms"), at(&["2020-01-01T00:00:00Z"]), cron("0 0 30 2 *")] {
        let refused = sim.tasks.add(sim.clock, spec).unwrap_err();
        assert_eq!(refused.code(), "bad-arguments", "{refused}");
    }
    assert!(sim.tasks.is_empty() && sim.tasks.next_timeout().is_none());
}

#[test]
fn a_cancelled_task_is_gone_and_its_runs_in_flight_are_counted_no_more() {
    let mut sim = Sim::new();
    sim.takes = time("1h");
    let id = sim.add(with(every("1s"), Overlap::Parallel, Default::default()));
    let other = sim.add(every("1h"));
    sim.pass(time("3s"));
    assert_eq!(sim.running.len(), 3);
    assert_eq!(sim.tasks.cancel(&id), Ok(()));
    assert_eq!(sim.tasks.cancel(&id), Err(ScheduleError::NoSuchTask(id.clone())));
    assert_eq!(sim.tasks.get(sim.clock, &id).unwrap_err().code(), code::NO_SUCH_TASK);
    sim.tasks.ended(sim.clock, &id, RunNumber(1), Ok(()));
    sim.took();
    sim.pass(time("59m"));
    assert!(sim.took().is_empty());
    sim.tasks.cancel(&other).unwrap();
    assert!(sim.tasks.is_empty() && sim.tasks.next_timeout().is_none());
}

#[test]
fn a_waiting_run_is_cancelled_with_its_task() {
    let mut sim = Sim::new();
    sim.takes = time("10s");
    let id = sim.add(with(every("1s"), Overlap::QueueOne, Default::default()));
    sim.pass(time("3s"));
    let run = sim.running.keys().next().unwrap().2;
    sim.tasks.ended(sim.clock, &id, run, Ok(()));
    assert_eq!(sim.tasks.next_timeout(), Some(sim.clock.mono));
    assert_eq!(sim.tasks.cancel(&id), Ok(()));
    assert_eq!(sim.tasks.next_timeout(), None);
    assert_eq!(sim.tasks.due(sim.clock), None);
}

#[test]
fn another_processs_task_is_not_ours_whatever_its_number() {
    let mut sim = Sim::new();
    let id = sim.add(every("1s"));
    let other = TaskId { process: ProcessName::new("other").unwrap(), ..id.clone() };
    assert_eq!(sim.tasks.cancel(&other), Err(ScheduleError::NoSuchTask(other.clone())));
    assert!(sim.tasks.get(sim.clock, &other).is_err());
    assert!(sim.tasks.get(sim.clock, &id).is_ok());
}

#[test]
fn an_end_that_is_told_twice_counts_once() {
    let mut sim = Sim::new();
    sim.takes = time("1h");
    let id = sim.add(every("1s"));
    sim.pass(time("1s"));
    let run = sim.running.keys().next().unwrap().2;
    for _ in 0..2 {
        sim.tasks.ended(sim.clock, &id, run, Err(&ScheduleError::NoPlan.into_call_error("f")));
    }
    assert_eq!(sim.counts(&id), [1, 1, 0, 0]);
}

#[test]
fn an_id_of_before_a_restart_that_lost_the_tasks_names_no_task_of_after_it() {
    let sim = &mut Sim::new();
    let lost: Vec<TaskId> = (0..8).map(|_| sim.add(every("1h"))).collect();
    sim.pause(time("1s"));
    let mut tasks = Tasks::new(process(), 8, sim.clock);
    let new: Vec<TaskId> = (0..8).map(|_| tasks.add(sim.clock, every("1h")).unwrap()).collect();
    assert!(new.iter().all(|id| !lost.contains(id)));
}

#[test]
fn a_list_shows_all_tasks_with_the_oldest_first() {
    let mut sim = Sim::new();
    let ids = [sim.add(cron("@daily")), sim.add(every("2s")), sim.add(at(&["2026-06-01T00:00:00Z"]))];
    let shown: Vec<_> = sim.tasks.list(sim.clock).map(|info| (info.id, info.next_run.unwrap())).collect();
    let next = [utc("2026-05-05T00:00:00Z"), utc("2026-05-04T12:00:02Z"), utc("2026-06-01T00:00:00Z")];
    assert_eq!(shown, ids.into_iter().zip(next).collect::<Vec<_>>());
}

#[test]
fn of_the_finished_tasks_the_last_ones_are_kept_and_take_no_place() {
    let mut sim = Sim::new();
    let mut ids = Vec::new();
    for _ in 0..KEPT_FINISHED_TASKS + 5 {
        let soon = sim.clock.utc.plus(time("1s")).to_string();
        ids.push(sim.add(at(&[&soon])));
        sim.pass(time("2s"));
    }
    let kept: Vec<TaskNumber> = sim.tasks.list(sim.clock).map(|info| info.id.number).collect();
    assert_eq!(kept, ids[5..].iter().map(|id| id.number).collect::<Vec<_>>());
    assert_eq!(sim.counts(&ids[5]), [1, 0, 0, 0]);
    sim.tasks.cancel(&ids[5]).unwrap();
    assert_eq!(sim.tasks.len(), KEPT_FINISHED_TASKS - 1);
}
