//! Intervals: ticks at `start + k × every` of the monotonic clock, whatever else happens.

use std::time::Duration;

use daffi_proto::schedule::{Missed, Overlap, Step};

use super::sim::{Sim, every, time, utc, with};

#[test]
fn the_first_run_is_after_one_interval_and_the_rest_follow_without_drift() {
    let mut sim = Sim::new();
    sim.add(every("333ms"));
    sim.pass(time("1h"));
    let expected: Vec<u64> = (1..=3_600_000 / 333).map(|k| k * 333).collect();
    assert_eq!(sim.took(), expected);
}

#[test]
fn being_looked_at_late_moves_one_run_and_not_those_after_it() {
    let mut sim = Sim::new();
    sim.add(every("1s"));
    sim.pass(time("1500ms"));
    sim.pause(time("800ms"));
    sim.pass(time("2s"));
    assert_eq!(sim.took(), [1000, 2300, 3000, 4000]);
}

#[test]
fn of_the_ticks_of_a_pause_the_latest_runs_and_the_others_are_missed() {
    let mut sim = Sim::new();
    let id = sim.add(every("1s"));
    sim.pause(time("10500ms"));
    sim.pass(time("2s"));
    assert_eq!(sim.ticks()[0], ("2026-05-04T12:00:10Z".to_owned(), "2026-05-04T12:00:10.500000Z".to_owned()));
    assert_eq!(sim.counts(&id), [3, 0, 0, 9]);
}

#[test]
fn one_who_wants_no_late_runs_waits_for_the_next_tick() {
    let mut sim = Sim::new();
    let id = sim.add(with(every("1m"), Overlap::Skip, Missed::Skip));
    sim.pause(time("2m 1.5s"));
    sim.look();
    let steps: Vec<Step> = sim.take().into_iter().map(|(_, step)| step).collect();
    assert_eq!(steps, [Step::Missed { task: id.clone(), tick: utc("2026-05-04T12:02:00Z") }]);
    sim.pass(time("1m"));
    assert_eq!(sim.took(), [180_000]);
    assert_eq!(sim.counts(&id), [1, 0, 0, 2]);
}

#[test]
fn a_tick_within_the_grace_is_on_time() {
    let mut sim = Sim::new();
    let id = sim.add(with(every("1m"), Overlap::Skip, Missed::Skip));
    sim.pause(time("61s"));
    sim.look();
    assert_eq!(sim.counts(&id), [1, 0, 0, 0]);
}

#[test]
fn utc_may_do_what_it_likes() {
    let mut sim = Sim::new();
    sim.add(every("1s"));
    sim.pass(time("1500ms"));
    sim.set_utc("2099-01-01T00:00:00Z");
    sim.pass(time("1s"));
    sim.set_utc("1970-01-01T00:00:00Z");
    sim.pass(time("1s"));
    assert_eq!(sim.took(), [1000, 2000, 3000]);
}

#[test]
fn the_next_run_is_shown_in_utc_as_the_clock_has_it_now() {
    let mut sim = Sim::new();
    let id = sim.add(every("1h"));
    assert_eq!(sim.info(&id).next_run, Some(utc("2026-05-04T13:00:00Z")));
    sim.pass(time("10m"));
    sim.set_utc("2026-05-04T20:00:00Z");
    assert_eq!(sim.info(&id).next_run, Some(utc("2026-05-04T20:50:00Z")));
}

#[test]
fn the_longest_pause_costs_one_run() {
    let mut sim = Sim::new();
    let id = sim.add(every("10ms"));
    sim.pause(Duration::from_secs(100 * 366 * 24 * 3600));
    sim.look();
    assert_eq!(sim.took().len(), 1);
    let [runs, failures, skipped, missed] = sim.counts(&id);
    assert_eq!([runs, failures, skipped, missed], [1, 0, 0, 316_223_999_999]);
}
