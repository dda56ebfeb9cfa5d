//! Snapshots, and what a restart makes of them.

use daffi_proto::schedule::{
    MAX_SNAPSHOT_BYTES, Missed, Overlap, ScheduleError, SnapshotError, TaskNumber, TaskState, Tasks,
};

use super::sim::{Sim, at, cron, every, process, time, utc, with};

fn restore(sim: &Sim, text: &str) -> Result<Tasks, SnapshotError> {
    Tasks::restore(process(), 8, sim.clock, text)
}

#[test]
fn a_task_is_the_same_after_a_restart() {
    let mut sim = Sim::new();
    sim.fails = true;
    let tasks = [every("1m"), cron("30 4 * * *"), with(at(&["2027-01-01T00:00:00Z"]), Overlap::Parallel, Missed::Skip)];
    let ids = tasks.map(|spec| sim.add(spec));
    sim.pass(time("2m 10s"));
    let before: Vec<_> = ids.iter().map(|id| sim.info(id)).collect();
    assert_eq!(before[0].counts.failures, 2);
    let mut sim = sim.restart(time("5s"));
    assert_eq!(ids.iter().map(|id| sim.info(id)).collect::<Vec<_>>(), before);
    sim.pass(time("50s"));
    assert_eq!(sim.ticks()[0].0, "2026-05-04T12:03:00Z");
}

#[test]
fn every_keeps_its_phase_in_utc() {
    let mut sim = Sim::new();
    sim.add(every("7s"));
    sim.pass(time("10s"));
    let mut sim = sim.restart(time("1s"));
    sim.pass(time("10s"));
    let ticks: Vec<String> = sim.ticks().into_iter().map(|(tick, _)| tick).collect();
    assert_eq!(ticks, ["2026-05-04T12:00:14Z", "2026-05-04T12:00:21Z"]);
}

#[test]
fn what_was_missed_meanwhile_runs_once_and_the_rest_is_counted() {
    let mut sim = Sim::new();
    let seconds = sim.add(every("1m"));
    let hours = sim.add(cron("@hourly"));
    let times = sim.add(at(&["2026-05-04T12:30:00Z", "2026-05-04T12:40:00Z"]));
    let mut sim = sim.restart(time("3h 30.5m"));
    sim.look();
    let mut ticks: Vec<String> = sim.ticks().into_iter().map(|(tick, _)| tick).collect();
    ticks.sort();
    assert_eq!(ticks, ["2026-05-04T12:40:00Z", "2026-05-04T15:00:00Z", "2026-05-04T15:30:00Z"]);
    assert_eq!(sim.counts(&seconds), [1, 0, 0, 209]);
    assert_eq!(sim.counts(&hours), [1, 0, 0, 2]);
    assert_eq!(sim.counts(&times), [1, 0, 0, 1]);
    sim.pass(time("1s"));
    assert_eq!(sim.info(&times).state, TaskState::Finished);
    assert_eq!(sim.info(&seconds).next_run, Some(utc("2026-05-04T15:31:00Z")));
}

#[test]
fn one_who_wants_no_late_runs_gets_none_after_a_restart() {
    let mut sim = Sim::new();
    let id = sim.add(with(every("1m"), Overlap::Skip, Missed::Skip));
    let mut sim = sim.restart(time("10m 30s"));
    sim.look();
    assert_eq!(sim.counts(&id), [0, 0, 0, 10]);
    sim.pass(time("30s"));
    assert_eq!(sim.counts(&id), [1, 0, 0, 10]);
}

#[test]
fn a_run_that_was_in_flight_has_failed() {
    let mut sim = Sim::new();
    sim.takes = time("1h");
    let id = sim.add(at(&["2026-05-04T12:00:01Z"]));
    sim.pass(time("2s"));
    let sim = sim.restart(time("1s"));
    let info = sim.info(&id);
    assert_eq!((info.state, info.running), (TaskState::Finished, 0));
    assert_eq!(sim.counts(&id), [1, 1, 0, 0]);
    assert!(info.last_error.unwrap().message.starts_with("the runtime ended while it ran"));
}

#[test]
fn a_waiting_run_begins_after_a_restart_unless_a_later_tick_has_come() {
    let queue = |missed| {
        let mut sim = Sim::new();
        sim.takes = time("1h");
        let id = sim.add(with(every("10s"), Overlap::QueueOne, missed));
        sim.pass(time("21s"));
        assert_eq!(sim.took(), [10_000]);
        (sim, id)
    };
    let (sim, id) = queue(Missed::RunOnce);
    let mut sim = sim.restart(time("1s"));
    sim.look();
    assert_eq!(sim.ticks()[0].0, "2026-05-04T12:00:20Z");
    assert_eq!(sim.counts(&id), [2, 1, 0, 0]);

    let (sim, id) = queue(Missed::RunOnce);
    let mut sim = sim.restart(time("10s"));
    sim.look();
    assert_eq!(sim.ticks(), [("2026-05-04T12:00:30Z".to_owned(), "2026-05-04T12:00:31Z".to_owned())]);
    assert_eq!(sim.counts(&id), [2, 1, 0, 1]);

    let (sim, id) = queue(Missed::Skip);
    let mut sim = sim.restart(time("1s"));
    sim.look();
    assert_eq!(sim.counts(&id), [1, 1, 0, 1]);
}

#[test]
fn a_clock_that_was_set_back_while_the_runtime_was_down_holds_nothing_up() {
    let mut sim = Sim::new();
    let minutes = sim.add(every("1m"));
    let hours = sim.add(cron("@hourly"));
    sim.pass(time("10s"));
    let text = sim.tasks.snapshot(sim.clock).unwrap();
    sim.set_utc("2025-01-01T00:00:20Z");
    sim = Sim::of(restore(&sim, &text).unwrap(), sim.clock);
    assert_eq!(sim.info(&minutes).next_run, Some(utc("2025-01-01T00:01:00Z")));
    assert_eq!(sim.info(&hours).next_run, Some(utc("2025-01-01T01:00:00Z")));
    // Back by whole intervals: at a tick, the next one is an interval away.
    sim.set_utc("2026-05-03T12:00:00Z");
    let mut sim = Sim::of(restore(&sim, &text).unwrap(), sim.clock);
    assert_eq!(sim.info(&minutes).next_run, Some(utc("2026-05-03T12:01:00Z")));
    sim.look();
    assert!(sim.took().is_empty());
}

#[test]
fn a_lower_limit_keeps_what_there_is_and_refuses_more() {
    let mut sim = Sim::new();
    let ids: Vec<_> = (0..4).map(|_| sim.add(every("1h"))).collect();
    let text = sim.tasks.snapshot(sim.clock).unwrap();
    let mut tasks = Tasks::restore(process(), 2, sim.clock, &text).unwrap();
    assert_eq!(tasks.len(), 4);
    assert!(tasks.add(sim.clock, every("1h")).is_err());
    for id in &ids[..3] {
        tasks.cancel(id).unwrap();
    }
    assert!(tasks.add(sim.clock, every("1h")).is_ok());
}

#[test]
fn numbers_go_on_though_the_clock_was_set_back() {
    let mut sim = Sim::new();
    let id = sim.add(every("1h"));
    sim.tasks.cancel(&id).unwrap();
    let text = sim.tasks.snapshot(sim.clock).unwrap();
    sim.set_utc("1970-01-01T00:00:00Z");
    let mut tasks = restore(&sim, &text).unwrap();
    assert_eq!(tasks.add(sim.clock, every("1h")).unwrap().number, TaskNumber(id.number.0 + 1));
}

#[test]
fn what_a_release_has_written_is_read_by_all_later_ones() {
    let text = include_str!("snapshot-1.json");
    let mut sim = Sim::new();
    sim.set_utc("2026-05-04T11:59:10Z");
    let tasks = restore(&sim, text).unwrap();
    let infos: Vec<_> = tasks.list(sim.clock).collect();
    let plans: Vec<String> = infos.iter().map(|info| info.plan.to_string()).collect();
    assert_eq!(plans, ["every 1m 24s", "at 2026-05-04T11:59:30Z and 1 more", "cron 30 4 * * MON-FRI"]);
    let next = ["2026-05-04T12:00:34Z", "2026-05-05T13:00:00Z", "2026-05-05T04:30:00Z"].map(|text| Some(utc(text)));
    assert_eq!(infos.iter().map(|info| info.next_run).collect::<Vec<_>>(), next);
    assert_eq!(infos[1].last_error.as_ref().unwrap().code, "trap");
    assert_eq!(tasks.snapshot(sim.clock).unwrap(), include_str!("snapshot-2.json").trim_end());
}

#[test]
fn what_this_version_writes_it_reads_again() {
    let text = include_str!("snapshot-2.json");
    let mut sim = Sim::new();
    sim.set_utc("2026-05-04T11:59:10Z");
    let tasks = restore(&sim, text).unwrap();
    assert_eq!((tasks.generation(), tasks.snapshot(sim.clock).unwrap()), (0, text.trim_end().to_owned()));
}

#[test]
fn fields_that_are_not_known_are_passed_over_and_later_versions_are_refused() {
    let sim = Sim::new();
    let text = include_str!("snapshot-1.json");
    let grown = text.replacen("\"version\": 1,", "\"version\": 1, \"new\": {\"deep\": [1]},", 1);
    assert_eq!(restore(&sim, &grown).unwrap().len(), 3);
    let later = text.replacen("\"version\": 1,", "\"version\": 3,", 1);
    assert_eq!(restore(&sim, &later).unwrap_err(), SnapshotError::Newer(3));
    assert_eq!(restore(&sim, "{\"version\": 7, \"tasks\": \"all new\"}").unwrap_err(), SnapshotError::Newer(7));
}

#[test]
fn bad_snapshots_are_refused_with_the_reason_on_one_line() {
    let sim = Sim::new();
    let text = include_str!("snapshot-1.json");
    let with = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        restore(&sim, &text.replacen(from, to, 1)).map(drop).unwrap_err()
    };
    let errors = [
        restore(&sim, "").map(drop).unwrap_err(),
        restore(&sim, "[1]").map(drop).unwrap_err(),
        restore(&sim, &text[..text.len() / 2]).map(drop).unwrap_err(),
        with("\"process\": \"backup\"", "\"process\": \"../../etc\""),
        with("\"1m 24s\"", "84"),
        with("0707", "+7"),
        with("\"number\": \"", "\"number\": \"-"),
        with("30 4 * * MON-FRI", "30 4 * * L"),
        with("2026-05-04T11:59:30Z", "soon"),
        with("\"args\": \"", "\"args\": \"%"),
    ];
    for error in &errors {
        assert!(matches!(error, SnapshotError::Unreadable(_)), "{error:?}");
        assert!(!error.to_string().contains('\n'), "{error}");
    }
    let other = with("\"process\": \"backup\"", "\"process\": \"other\"");
    assert!(matches!(other, SnapshotError::OtherProcess { .. }), "{other}");
    let often = with("1m 24s", "0s");
    assert!(matches!(often, SnapshotError::BadTask { error: ScheduleError::TooOften(_), .. }), "{often}");
    let place = with("\"Every\": {\n          \"next\": \"2026-05-04T12:00:34Z\"", "\"At\": {\n          \"done\": 0");
    assert!(matches!(place, SnapshotError::OtherPlan(_)), "{place}");
    let long = " ".repeat(MAX_SNAPSHOT_BYTES + 1);
    assert_eq!(restore(&sim, &long).unwrap_err(), SnapshotError::TooLong(MAX_SNAPSHOT_BYTES + 1));
}

#[test]
fn a_place_beyond_the_times_of_a_plan_is_its_end() {
    let sim = Sim::new();
    let text = include_str!("snapshot-1.json").replacen("\"done\": 1", "\"done\": 4096", 1);
    let mut tasks = restore(&sim, &text).unwrap();
    let finished = tasks.list(sim.clock).filter(|info| info.state == TaskState::Finished).count();
    assert_eq!(finished, 1);
    assert_eq!(tasks.due(sim.clock), None);
}
