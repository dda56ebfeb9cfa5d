//! Ticks that come while a run of the same task is in flight.

use daffi_proto::schedule::{MAX_PARALLEL_RUNS, Missed, Overlap, Step, TaskState};

use super::sim::{Sim, at, every, time, utc, with};

#[test]
fn by_default_they_are_skipped_and_the_phase_is_kept() {
    let mut sim = Sim::new();
    sim.takes = time("2.5s");
    let id = sim.add(every("1s"));
    sim.pass(time("7.5s"));
    assert_eq!(sim.took(), [1000, 4000, 7000]);
    assert_eq!(sim.counts(&id), [3, 0, 4, 0]);
    assert_eq!((sim.info(&id).state, sim.info(&id).running), (TaskState::Running, 1));
}

#[test]
fn a_skipped_tick_is_told_of() {
    let mut sim = Sim::new();
    sim.takes = time("1.5s");
    let id = sim.add(every("1s"));
    sim.pass(time("2s"));
    assert_eq!(sim.take()[1].1, Step::Skipped { task: id, tick: utc("2026-05-04T12:00:02Z") });
}

#[test]
fn of_those_that_may_wait_one_does_and_runs_when_the_run_in_flight_ends() {
    let mut sim = Sim::new();
    sim.takes = time("3.5s");
    let id = sim.add(with(every("1s"), Overlap::QueueOne, Missed::RunOnce));
    sim.pass(time("5s"));
    assert_eq!(sim.took(), [1000, 4500]);
    assert_eq!(sim.counts(&id), [2, 0, 2, 0]);
}

#[test]
fn the_run_of_a_waiting_tick_is_for_that_tick() {
    let mut sim = Sim::new();
    sim.takes = time("3s");
    sim.add(with(at(&["2026-05-04T12:00:01Z", "2026-05-04T12:00:02Z"]), Overlap::QueueOne, Missed::RunOnce));
    sim.pass(time("10s"));
    let late = ("2026-05-04T12:00:02Z".to_owned(), "2026-05-04T12:00:04Z".to_owned());
    assert_eq!(sim.ticks()[1], late);
}

#[test]
fn a_task_whose_last_tick_waits_has_not_finished() {
    let mut sim = Sim::new();
    sim.takes = time("3s");
    let spec = at(&["2026-05-04T12:00:01Z", "2026-05-04T12:00:02Z"]);
    let id = sim.add(with(spec, Overlap::QueueOne, Missed::RunOnce));
    sim.pass(time("6s"));
    assert_eq!((sim.info(&id).state, sim.info(&id).next_run), (TaskState::Running, None));
    sim.pass(time("1s"));
    assert_eq!(sim.info(&id).state, TaskState::Finished);
}

#[test]
fn those_that_may_run_beside_each_other_do_up_to_a_bound() {
    let mut sim = Sim::new();
    sim.takes = time("1h");
    let id = sim.add(with(every("1s"), Overlap::Parallel, Missed::RunOnce));
    sim.pass(time("20s"));
    assert_eq!(sim.info(&id).running as usize, MAX_PARALLEL_RUNS);
    assert_eq!(sim.counts(&id), [16, 0, 4, 0]);
}

#[test]
fn tasks_do_not_hold_each_other_up() {
    let mut sim = Sim::new();
    sim.takes = time("1h");
    sim.add(every("1s"));
    sim.add(every("1s"));
    sim.pass(time("1s"));
    assert_eq!(sim.took(), [1000, 1000]);
}

#[test]
fn a_run_that_fails_is_counted_and_its_error_is_kept() {
    let mut sim = Sim::new();
    sim.fails = true;
    let id = sim.add(every("1s"));
    sim.pass(time("1.5s"));
    sim.fails = false;
    sim.pass(time("1s"));
    let info = sim.info(&id);
    assert_eq!(sim.counts(&id), [2, 1, 0, 0]);
    let error = info.last_error.unwrap();
    assert_eq!((error.code.as_str(), error.message.as_str()), ("trap", "it trapped"));
    assert_eq!(error.at, utc("2026-05-04T12:00:01.001Z"));
    assert_eq!(info.last_run, Some(utc("2026-05-04T12:00:02Z")));
}
