//! Lanes without wasm: placing, deadlines, giving up.

use std::sync::Arc;

use bytes::Bytes;
use daffi_proto::call::Incoming;
use daffi_proto::id::{LocalId, ProcessName, TenantName};

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn own() -> ProcessRef {
    ProcessRef { tenant: TenantName::default(), name: ProcessName::new("own").unwrap() }
}

fn shape() -> Shape {
    Shape { lanes: 1, per_lane: 2, queue: 1, single_use: false, kills: false, max_call_time: 30 * SECOND }
}

fn job(id: u64, now: Instant, timeout: Duration) -> Job {
    let incoming = Incoming {
        id: ServeId(id),
        process: LocalId(0),
        callback: 0,
        args: Bytes::new(),
        caller: None,
        chain: Arc::from([]),
        deadline: Duration::ZERO,
    };
    Job { incoming, deadline: now + timeout }
}

/// Begins a call in the one lane there is to be.
fn begin(lanes: &mut Lanes, job: Job, now: Instant) -> Option<NewLane> {
    let id = job.incoming.id;
    let new = match lanes.admit(job, true, &own(), now) {
        Placed::New(lane) => Some(lane),
        Placed::Sent => None,
        _ => panic!("there is room"),
    };
    assert!(lanes.begins(0, id));
    new
}

#[test]
fn calls_share_a_lane_until_it_is_full_and_then_wait() {
    let (mut lanes, now) = (Lanes::new(shape()), Instant::now());
    let _lane = begin(&mut lanes, job(1, now, SECOND), now).unwrap();
    assert!(begin(&mut lanes, job(2, now, SECOND), now).is_none());
    assert!(matches!(lanes.admit(job(3, now, SECOND), true, &own(), now), Placed::Queued));
    assert!(matches!(lanes.admit(job(4, now, SECOND), true, &own(), now), Placed::Refused(Refused::Overloaded, _)));
    assert!(lanes.returned(0, ServeId(1), now));
    assert!(lanes.serve_queue(&own(), now).is_empty());
    assert_eq!((lanes.instances(), lanes.in_flight()), (1, 2));
}

#[test]
fn a_deadline_is_answered_once_and_the_result_that_comes_later_is_dropped() {
    let (mut lanes, now) = (Lanes::new(shape()), Instant::now());
    let _lane = begin(&mut lanes, job(1, now, SECOND), now);
    assert_eq!(lanes.arm(), Some(now + SECOND));
    let late = now + 2 * SECOND;
    let expected = Open { id: ServeId(1), callback: 0, end: End::Deadline { stopped: false } };
    assert_eq!(lanes.due(late), [expected]);
    assert!(lanes.due(late).is_empty());
    assert_eq!(lanes.leave(ServeId(1)), None);
    assert!(!lanes.returned(0, ServeId(1), late));
    assert_eq!(lanes.arm(), None);
}

#[test]
fn a_lone_call_is_stopped_where_the_policy_kills() {
    let (mut lanes, now) = (Lanes::new(Shape { kills: true, ..shape() }), Instant::now());
    let lane = begin(&mut lanes, job(1, now, SECOND), now).unwrap();
    let _ = begin(&mut lanes, job(2, now, 3 * SECOND), now);
    let due = lanes.due(now + SECOND);
    assert_eq!(due.first().unwrap().end, End::Deadline { stopped: false });
    assert!(!lane.end.is_cancelled());
    assert!(!lanes.returned(0, ServeId(1), now));
    assert_eq!(lanes.leave(ServeId(2)).unwrap().end, End::GaveUp { stopped: true });
    assert!(lane.end.is_cancelled());
    assert_eq!(lanes.instances(), 0);
}

#[test]
fn a_lane_ends_when_all_its_calls_ran_too_long() {
    let (mut lanes, now) = (Lanes::new(shape()), Instant::now());
    let lane = begin(&mut lanes, job(1, now, 100 * SECOND), now).unwrap();
    let later = now + 20 * SECOND;
    let _ = begin(&mut lanes, job(2, later, 100 * SECOND), later);
    let due = lanes.due(now + 31 * SECOND);
    assert_eq!(due.first().unwrap().end, End::TooLong { stopped: false });
    assert!(!lane.end.is_cancelled());
    assert!(lanes.returned(0, ServeId(2), now + 32 * SECOND));
    assert!(lanes.due(now + 32 * SECOND).is_empty(), "it was answered before");
    assert!(lane.end.is_cancelled());
}

#[test]
fn a_call_whose_lane_is_still_being_made_did_not_run() {
    let (mut lanes, now) = (Lanes::new(shape()), Instant::now());
    let Placed::New(_lane) = lanes.admit(job(1, now, SECOND), true, &own(), now) else { panic!("there is room") };
    assert_eq!(lanes.due(now + SECOND).first().unwrap().end, End::Expired);
    assert!(!lanes.begins(0, ServeId(1)));
}
