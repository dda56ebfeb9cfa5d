//! Times of UTC, and a clock that is set.

use daffi_proto::schedule::{Missed, Overlap, TaskState, UTC_CHECK_EVERY};

use super::sim::{Sim, at, cron, time, utc, with};

#[test]
fn each_time_of_at_comes_once_and_then_the_task_has_finished() {
    let mut sim = Sim::new();
    let id = sim.add(at(&["2026-05-04T12:00:30Z", "2026-05-04T12:00:02.5Z"]));
    sim.pass(time("20s"));
    assert_eq!(sim.took(), [2500]);
    assert_eq!((sim.info(&id).state, sim.info(&id).next_run), (TaskState::Waiting, Some(utc("2026-05-04T12:00:30Z"))));
    sim.pass(time("1h"));
    assert_eq!(sim.took(), [30_000]);
    assert_eq!((sim.info(&id).state, sim.info(&id).next_run), (TaskState::Finished, None));
    assert_eq!(sim.tasks.next_timeout(), None);
}

#[test]
fn cron_runs_at_the_times_that_it_names() {
    let mut sim = Sim::new();
    sim.add(cron("*/15 12 * * MON"));
    sim.pass(time("7 days 1h"));
    let ticks: Vec<String> = sim.ticks().into_iter().map(|(tick, _)| tick).collect();
    let week = ["2026-05-04T12:15:00Z", "2026-05-04T12:30:00Z", "2026-05-04T12:45:00Z", "2026-05-11T12:00:00Z"];
    assert_eq!(ticks[..4], week);
    assert_eq!(ticks.len(), 7);
}

#[test]
fn ticks_that_were_jumped_over_are_missed_but_for_the_latest_which_runs_at_once() {
    let mut sim = Sim::new();
    let hourly = sim.add(cron("@hourly"));
    let times = sim.add(at(&["2026-05-04T12:10:00Z", "2026-05-04T12:20:00Z", "2026-05-06T00:00:00Z"]));
    sim.set_utc("2026-05-04T15:30:00Z");
    sim.pass(time("1s"));
    let mut ticks: Vec<String> = sim.ticks().into_iter().map(|(tick, _)| tick).collect();
    ticks.sort();
    assert_eq!(ticks, ["2026-05-04T12:20:00Z", "2026-05-04T15:00:00Z"]);
    assert_eq!((sim.counts(&hourly), sim.counts(&times)), ([1, 0, 0, 2], [1, 0, 0, 1]));
}

#[test]
fn a_jump_is_seen_within_the_time_of_a_check() {
    let mut sim = Sim::new();
    sim.add(cron("0 0 1 1 *"));
    sim.pass(time("1m"));
    assert!(sim.tasks.next_timeout().unwrap() <= sim.clock.mono + UTC_CHECK_EVERY);
    sim.set_utc("2026-12-31T23:59:58Z");
    sim.pass(UTC_CHECK_EVERY);
    assert_eq!(sim.ticks()[0].0, "2027-01-01T00:00:00Z");
}

#[test]
fn one_who_wants_no_late_runs_misses_all_that_was_jumped_over() {
    let mut sim = Sim::new();
    let hourly = sim.add(with(cron("@hourly"), Overlap::Skip, Missed::Skip));
    let times = sim.add(with(at(&["2026-05-04T12:10:00Z"]), Overlap::Skip, Missed::Skip));
    sim.set_utc("2026-05-04T15:30:00Z");
    sim.pass(time("20m"));
    assert_eq!((sim.counts(&hourly), sim.counts(&times)), ([0, 0, 0, 3], [0, 0, 0, 1]));
    assert_eq!(sim.info(&times).state, TaskState::Finished);
    sim.pass(time("10m"));
    assert_eq!(sim.counts(&hourly), [1, 0, 0, 3]);
}

#[test]
fn after_a_short_jump_back_no_tick_of_cron_comes_twice() {
    let mut sim = Sim::new();
    let id = sim.add(cron("@hourly"));
    sim.pass(time("1h 10m"));
    sim.set_utc("2026-05-04T12:30:00Z");
    sim.pass(time("1h 29m"));
    assert_eq!(sim.counts(&id), [1, 0, 0, 0]);
    sim.pass(time("2m"));
    let ticks: Vec<String> = sim.ticks().into_iter().map(|(tick, _)| tick).collect();
    assert_eq!(ticks, ["2026-05-04T13:00:00Z", "2026-05-04T14:00:00Z"]);
}

#[test]
fn after_a_long_jump_back_cron_counts_from_the_new_time() {
    let mut sim = Sim::new();
    sim.set_utc("2099-01-01T00:30:00Z");
    let id = sim.add(cron("@hourly"));
    sim.set_utc(super::sim::START);
    sim.look();
    assert_eq!(sim.info(&id).next_run, Some(utc("2026-05-04T13:00:00Z")));
    sim.pass(time("1h 1m"));
    assert_eq!(sim.ticks()[0].0, "2026-05-04T13:00:00Z");
}

#[test]
fn a_jump_back_is_measured_from_the_last_tick() {
    let mut sim = Sim::new();
    let id = sim.add(cron("@hourly"));
    sim.pass(time("10h 1m"));
    sim.set_utc("2026-05-04T18:30:00Z");
    sim.look();
    assert_eq!(sim.info(&id).next_run, Some(utc("2026-05-04T19:00:00Z")));
}

#[test]
fn after_a_jump_back_a_time_of_at_that_has_come_does_not_come_again() {
    let mut sim = Sim::new();
    let id = sim.add(at(&["2026-05-04T12:10:00Z", "2026-05-04T12:20:00Z"]));
    sim.pass(time("15m"));
    sim.set_utc("2026-05-04T06:00:00Z");
    sim.pass(time("7h"));
    assert_eq!(sim.counts(&id), [2, 0, 0, 0]);
}

#[test]
fn a_year_of_seconds_that_nobody_looked_at_costs_little_and_is_counted_to_its_bound() {
    let mut sim = Sim::new();
    let id = sim.add(cron("* * * * * *"));
    sim.pause(time("366 days"));
    sim.look();
    assert_eq!(sim.ticks(), [("2027-05-05T12:00:00Z".to_owned(), "2027-05-05T12:00:00Z".to_owned())]);
    assert_eq!(sim.counts(&id), [1, 0, 0, 100]);
}
