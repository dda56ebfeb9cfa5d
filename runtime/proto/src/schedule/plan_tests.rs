//! Plans and tasks within their bounds.

use super::*;
use crate::error::code;

fn utc(text: &str) -> Utc {
    text.parse().unwrap()
}

fn now() -> Utc {
    utc("2026-05-04T12:00:00Z")
}

fn spec(plan: Plan) -> TaskSpec {
    TaskSpec::new(CallbackName::parse("a:b/c#f").unwrap(), Fingerprint([7; 16]), Bytes::new(), plan)
}

#[test]
fn exactly_one_of_every_at_and_cron_is_taken() {
    let second = Some(Duration::from_secs(1));
    let (times, cron) = (|| vec![now()], Some("@daily"));
    assert_eq!(Plan::from_parts(second, vec![], None), Ok(Plan::Every(Duration::from_secs(1))));
    assert_eq!(Plan::from_parts(None, times(), None), Ok(Plan::At([now()].into())));
    assert_eq!(Plan::from_parts(None, vec![], cron), Ok(Plan::Cron("@daily".parse().unwrap())));
    assert_eq!(Plan::from_parts(None, vec![], None), Err(ScheduleError::NoPlan));
    for (every, at, cron, what) in [
        (second, times(), None, "both `every` and `at`"),
        (second, vec![], cron, "both `every` and `cron`"),
        (None, times(), cron, "both `at` and `cron`"),
        (second, times(), cron, "`every`, `at` and `cron`"),
    ] {
        assert_eq!(Plan::from_parts(every, at, cron), Err(ScheduleError::SeveralPlans(what)));
    }
}

#[test]
fn intervals_have_a_least_and_a_greatest() {
    for every in [MIN_EVERY, MAX_EVERY] {
        assert_eq!(Plan::Every(every).checked(now()), Ok(Plan::Every(every)));
    }
    for every in [Duration::ZERO, MIN_EVERY - Duration::from_nanos(1)] {
        assert_eq!(Plan::Every(every).checked(now()), Err(ScheduleError::TooOften(every)));
    }
    for every in [MAX_EVERY + Duration::from_nanos(1), Duration::MAX] {
        assert_eq!(Plan::Every(every).checked(now()), Err(ScheduleError::TooSeldom(every)));
    }
}

#[test]
fn times_are_sorted_and_each_is_taken_once() {
    let (soon, late) = (utc("2026-05-04T12:00:01Z"), utc("2027-01-01T00:00:00Z"));
    assert_eq!(Plan::At([late, soon, late].into()).checked(now()), Ok(Plan::At([soon, late].into())));
}

#[test]
fn a_time_in_the_past_is_refused_with_both_times() {
    let (past, future) = (utc("2026-05-04T11:59:58.9Z"), utc("2026-05-05T00:00:00Z"));
    let refused = Plan::At([future, past].into()).checked(now()).unwrap_err();
    assert_eq!(refused, ScheduleError::Past { time: past, now: now() });
    assert_eq!(
        refused.to_string(),
        "2026-05-04T11:59:58.900000Z is in the past: it is 2026-05-04T12:00:00Z at the receiver"
    );
}

#[test]
fn a_time_that_passed_on_its_way_is_taken() {
    let just = Plan::At([now().minus(PAST_TOLERANCE)].into());
    assert_eq!(just.clone().checked(now()), Ok(just));
}

#[test]
fn no_time_and_too_many_times_are_refused() {
    assert_eq!(Plan::At([].into()).checked(now()), Err(ScheduleError::NoTimes));
    let times = |count: u64| Plan::At((1..=count).map(|second| now().plus(Duration::from_secs(second))).collect());
    assert!(times(MAX_AT_TIMES as u64).checked(now()).is_ok());
    assert_eq!(times(1025).checked(now()), Err(ScheduleError::TooManyTimes(1025)));
}

#[test]
fn a_cron_expression_that_never_comes_is_refused() {
    let never: Cron = "0 0 30 2 *".parse().unwrap();
    assert_eq!(Plan::Cron(never.clone()).checked(now()), Err(ScheduleError::NeverComes(never)));
}

#[test]
fn a_run_has_a_deadline_of_a_millisecond_to_a_day() {
    let with = |timeout| TaskSpec { timeout, ..spec(Plan::Every(MIN_EVERY)) }.checked(now()).map(drop);
    assert_eq!(with(Duration::from_millis(1)), Ok(()));
    assert_eq!(with(MAX_TIMEOUT), Ok(()));
    for timeout in [Duration::ZERO, MAX_TIMEOUT + Duration::from_nanos(1)] {
        assert_eq!(with(timeout), Err(ScheduleError::BadTimeout(timeout)));
    }
}

#[test]
fn arguments_that_are_too_large_to_keep_are_refused() {
    let with = |bytes: usize| TaskSpec { args: vec![0; bytes].into(), ..spec(Plan::Every(MIN_EVERY)) }.checked(now());
    assert!(with(MAX_TASK_ARGS_BYTES).is_ok());
    let refused = with(MAX_TASK_ARGS_BYTES + 1).unwrap_err();
    assert_eq!(refused.into_call_error("a:b/c#f").code, code::PAYLOAD_TOO_LARGE);
}

#[test]
fn plans_are_shown_shortly() {
    let text = |plan: Plan| plan.to_string();
    assert_eq!(text(Plan::Every(Duration::from_millis(72_000))), "every 1m 12s");
    assert_eq!(text(Plan::At([now()].into())), "at 2026-05-04T12:00:00Z");
    assert_eq!(text(Plan::At([now(), now()].into())), "at 2026-05-04T12:00:00Z and 1 more");
    assert_eq!(text(Plan::Cron("0 5 * * *".parse().unwrap())), "cron 0 5 * * *");
}
