//! Random plans, pauses, jumps and restarts: each tick comes to one thing, at its time, and nothing is left over.

use std::time::Duration;

use daffi_proto::schedule::{MAX_PARALLEL_RUNS, Missed, Overlap, Plan, Step, TaskId, TaskSpec, TaskState, Utc};
use proptest::prelude::*;

use super::sim::{START, Sim, spec, utc, with};

#[derive(Clone, Debug)]
enum Act {
    Pass(Duration),
    Pause(Duration),
    JumpTo(i64),
    Restart(Duration),
    Takes(Duration, bool),
}

fn millis(most: u64) -> impl Strategy<Value = Duration> {
    prop_oneof![0..1000u64, 0..most].prop_map(Duration::from_millis)
}

fn policies() -> impl Strategy<Value = (Overlap, Missed)> {
    let overlap = prop_oneof![Just(Overlap::Skip), Just(Overlap::QueueOne), Just(Overlap::Parallel)];
    (overlap, prop_oneof![Just(Missed::RunOnce), Just(Missed::Skip)])
}

fn intervals() -> impl Strategy<Value = TaskSpec> {
    (10..5000u64, policies())
        .prop_map(|(every, (overlap, missed))| with(spec(Plan::Every(Duration::from_millis(every))), overlap, missed))
}

fn times() -> impl Strategy<Value = TaskSpec> {
    (proptest::collection::vec(0..60_000u64, 1..20), policies()).prop_map(|(times, (overlap, missed))| {
        let at = times.iter().map(|time| utc(START).plus(Duration::from_millis(*time))).collect();
        with(spec(Plan::At(at)), overlap, missed)
    })
}

fn expressions() -> impl Strategy<Value = TaskSpec> {
    (prop_oneof![Just("*/7 * * * * *"), Just("* * * * *")], policies())
        .prop_map(|(cron, (overlap, missed))| with(spec(Plan::Cron(cron.parse().unwrap())), overlap, missed))
}

fn acts(other: impl Strategy<Value = Act> + 'static) -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        4 => millis(20_000).prop_map(Act::Pass),
        2 => millis(20_000).prop_map(Act::Pause),
        2 => (millis(8000), any::<bool>()).prop_map(|(takes, fails)| Act::Takes(takes, fails)),
        2 => other,
    ];
    proptest::collection::vec(act, 1..20)
}

fn act(mut sim: Sim, act: Act) -> Sim {
    match act {
        Act::Pass(time) => sim.pass(time),
        Act::Pause(time) => sim.pause(time),
        Act::Restart(after) => sim = sim.restart(after),
        Act::Takes(takes, fails) => (sim.takes, sim.fails) = (takes, fails),
        Act::JumpTo(seconds) => {
            let by = Duration::from_secs(seconds.unsigned_abs());
            sim.clock.utc = if seconds < 0 { sim.clock.utc.minus(by) } else { sim.clock.utc.plus(by) };
        }
    }
    sim.look();
    sim
}

/// What must hold whenever all has been looked at; the ticks that have come to something.
fn check(sim: &Sim, ids: &[TaskId]) -> Vec<u64> {
    assert!(sim.tasks.next_timeout().is_none_or(|at| at > sim.clock.mono), "it must be looked at again at once");
    let came = |id: &TaskId| {
        let info = sim.info(id);
        let most = if info.overlap == Overlap::Parallel { MAX_PARALLEL_RUNS } else { 1 };
        let flying = sim.running.keys().filter(|(_, task, _)| task == id).count();
        assert!(info.running as usize == flying && flying <= most, "{info:?}");
        assert!(info.next_run.is_some() || info.state != TaskState::Waiting, "{info:?}");
        let [runs, failures, skipped, missed] = sim.counts(id);
        assert!(failures <= runs);
        runs + skipped + missed
    };
    ids.iter().map(came).collect()
}

/// All tasks are cancelled, and nothing is left.
fn end(mut sim: Sim, ids: &[TaskId]) {
    for id in ids {
        sim.tasks.cancel(id).unwrap();
    }
    sim.pass(Duration::from_secs(3600));
    assert!(sim.tasks.is_empty() && sim.tasks.next_timeout().is_none());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn intervals_lose_no_tick_and_keep_their_phase_whatever_utc_does(
        specs in proptest::collection::vec(intervals(), 1..5),
        acts in acts((-20_000_000i64..20_000_000).prop_map(Act::JumpTo)),
    ) {
        let mut sim = Sim::new();
        let start = sim.clock.mono;
        let ids: Vec<TaskId> = specs.iter().map(|spec| sim.add(spec.clone())).collect();
        for next in acts {
            sim = act(sim, next);
            let came = check(&sim, &ids);
            for ((spec, came), id) in specs.iter().zip(came).zip(&ids) {
                let Plan::Every(every) = spec.plan else { unreachable!() };
                let ticks = (sim.clock.mono - start).as_nanos() / every.as_nanos();
                let waits = u64::from(spec.overlap == Overlap::QueueOne && came < ticks as u64);
                prop_assert_eq!(u128::from(came + waits), ticks, "{:?}", sim.info(id));
            }
            for (clock, step) in sim.take() {
                let Step::Run(run) = step else { continue };
                let spec = &specs[ids.iter().position(|id| *id == run.task).unwrap()];
                let Plan::Every(every) = spec.plan else { unreachable!() };
                // A tick that waited was at its place before UTC jumped.
                if spec.overlap != Overlap::QueueOne {
                    let tick = clock.mono - clock.utc.since(run.tick) - start;
                    prop_assert_eq!(tick.as_micros() % every.as_micros(), 0);
                }
            }
        }
        end(sim, &ids);
    }

    #[test]
    fn restarts_lose_no_tick_of_any_plan(
        specs in proptest::collection::vec(prop_oneof![intervals(), times()], 1..5),
        acts in acts(millis(30_000).prop_map(Act::Restart)),
    ) {
        let mut sim = Sim::new();
        let ids: Vec<TaskId> = specs.iter().map(|spec| sim.add(spec.clone())).collect();
        for next in acts {
            sim = act(sim, next);
            let came = check(&sim, &ids);
            for ((spec, came), id) in specs.iter().zip(came).zip(&ids) {
                let ticks = ticks(&spec.plan, sim.clock.utc);
                let waits = u64::from(spec.overlap == Overlap::QueueOne && came < ticks);
                prop_assert_eq!(came + waits, ticks, "{:?}", sim.info(id));
            }
        }
        end(sim, &ids);
    }

    #[test]
    fn times_of_utc_come_in_order_and_never_early_whatever_the_clock_does(
        specs in proptest::collection::vec(prop_oneof![times(), expressions()], 1..5),
        acts in acts(prop_oneof![-20_000i64..20_000, -60i64..60].prop_map(Act::JumpTo)),
    ) {
        let mut sim = Sim::new();
        let ids: Vec<TaskId> = specs.iter().map(|spec| sim.add(spec.clone())).collect();
        let mut seen = vec![Vec::new(); ids.len()];
        for next in acts {
            sim = act(sim, next);
            check(&sim, &ids);
            for (clock, step) in sim.take() {
                let (Step::Run(run), utc) = (step, clock.utc) else { continue };
                let place = ids.iter().position(|id| *id == run.task).unwrap();
                if specs[place].overlap != Overlap::QueueOne {
                    prop_assert!(run.tick <= utc, "{run:?} at {utc}");
                }
                seen[place].push(run.tick);
            }
        }
        for (spec, seen) in specs.iter().zip(seen) {
            if let Plan::At(times) = &spec.plan {
                prop_assert!(seen.is_sorted_by(|a, b| a < b) && seen.iter().all(|tick| times.contains(tick)));
            }
        }
        end(sim, &ids);
    }
}

/// How many ticks a plan has from the start up to now.
fn ticks(plan: &Plan, now: Utc) -> u64 {
    let passed = now.since(utc(START));
    match plan {
        Plan::Every(every) => (passed.as_micros() / every.as_micros()) as u64,
        Plan::At(times) => {
            let mut times: Vec<Utc> = times.iter().copied().filter(|time| *time <= now).collect();
            times.sort();
            times.dedup();
            times.len() as u64
        }
        Plan::Cron(_) => 0,
    }
}
