//! Lanes without wasm: placing, deadlines, giving up.

use std::sync::Arc;

use bytes::Bytes;
use daffi_proto::call::Incoming;
use daffi_proto::id::{LocalId, ProcessName, TenantName};
use daffi_proto::stream::Flows;

use super::*;
use crate::guest::audience::Audience;
use crate::guest::ceiling::CeilingLimits;

const SECOND: Duration = Duration::from_secs(1);

fn own() -> ProcessRef {
    ProcessRef { tenant: TenantName::default(), name: ProcessName::new("own").unwrap() }
}

fn shape() -> Shape {
    Shape { lanes: 1, per_lane: 2, queue: 1, single_use: false, kills: false, max_call_time: 30 * SECOND }
}

fn lanes(shape: Shape) -> Lanes {
    Lanes::new(shape, Arc::new(Ceiling::none(TenantName::default())))
}

fn job(id: u64, now: Instant, timeout: Duration) -> Box<Job> {
    let incoming = Incoming {
        id: ServeId(id),
        process: LocalId(0),
        callback: 0,
        args: Bytes::new(),
        caller: None,
        chain: Arc::default(),
        deadline: Duration::ZERO,
        answer: daffi_proto::call::Answer::Result,
        channels: Flows::default(),
    };
    Job::new(incoming, &own(), (now, now + timeout), 60 * SECOND, Vec::new())
}

/// The answer of a call of the process's own tenant.
fn ticket(id: u64) -> Ticket {
    Ticket { id: ServeId(id), audience: Audience::Home }
}

/// Begins a call in the one lane there is to be.
fn begin(lanes: &mut Lanes, job: Box<Job>, now: Instant) -> Option<NewLane> {
    begin_with(lanes, job, now, None)
}

fn begin_with(lanes: &mut Lanes, job: Box<Job>, now: Instant, streams: Option<Arc<CallStreams>>) -> Option<NewLane> {
    let id = job.incoming.id;
    let new = match lanes.admit(job, true, &own()) {
        Placed::New(lane) => Some(lane),
        Placed::Sent => None,
        _ => panic!("there is room"),
    };
    assert!(lanes.begins(0, id, now, streams).is_some());
    new
}

#[test]
fn strangers_have_half_of_what_a_tenant_may_have_running_and_waiting() {
    let limits = CeilingLimits { concurrency: Some(2), queue: Some(2), ..CeilingLimits::default() };
    let ceiling = Arc::new(Ceiling::new(TenantName::default(), limits));
    let new = |per_lane| Lanes::new(Shape { per_lane, queue: 8, ..shape() }, ceiling.clone());
    let (mut one, mut other, now) = (new(8), new(1), Instant::now());
    let strange = |id| Box::new(Job { audience: Audience::Strangers, ..*job(id, now, SECOND) });
    let _lane = begin(&mut one, strange(1), now);
    assert!(matches!(one.admit(strange(2), true, &own()), Placed::Refused(Refused::Tenant(_), _)));
    let _other = begin(&mut other, job(3, now, SECOND), now);
    assert!(matches!(other.admit(strange(4), true, &own()), Placed::Queued));
    assert!(matches!(other.admit(strange(5), true, &own()), Placed::Refused(Refused::Tenant(_), _)));
    assert!(matches!(other.admit(job(6, now, SECOND), true, &own()), Placed::Queued));
    // The stranger at the head of the queue is turned away, and who waits behind him runs.
    assert!(other.returned(0, ServeId(3), now).is_some());
    assert_eq!((other.serve_queue(&own()).turned_away.len(), other.in_flight()), (1, 1));
    let answer = one.returned(0, ServeId(1), now);
    assert_eq!(answer, Some(Ticket { id: ServeId(1), audience: Audience::Strangers }));
    assert!(matches!(one.admit(strange(7), true, &own()), Placed::Sent));
}

#[test]
fn modules_of_a_tenant_share_what_it_may_have_running_and_waiting() {
    let limits = CeilingLimits { concurrency: Some(1), queue: Some(1), ..CeilingLimits::default() };
    let ceiling = Arc::new(Ceiling::new(TenantName::default(), limits));
    let new = |per_lane| Lanes::new(Shape { per_lane, queue: 8, ..shape() }, ceiling.clone());
    let (mut one, mut other, now) = (new(1), new(2), Instant::now());
    let mut lane = begin(&mut one, job(1, now, SECOND), now).unwrap();
    lane.jobs.try_recv().unwrap();
    let refused = |placed: Placed, key: &str| match placed {
        Placed::Refused(Refused::Tenant(reached), _) => assert!(reached.to_string().contains(key), "{reached}"),
        _ => panic!("there is no room"),
    };
    refused(other.admit(job(2, now, SECOND), true, &own()), "max-concurrency");
    assert!(matches!(one.admit(job(3, now, SECOND), true, &own()), Placed::Queued));
    refused(one.admit(job(4, now, SECOND), true, &own()), "max-queue");
    // Another module takes the place before the call that waited does.
    assert!(one.returned(0, ServeId(1), now).is_some());
    let _other_lane = begin(&mut other, job(5, now, SECOND), now);
    let unqueued = one.serve_queue(&own());
    assert_eq!((unqueued.turned_away.len(), one.in_flight()), (1, 0));
    drop(unqueued);
    assert!(other.returned(0, ServeId(5), now).is_some());
    assert!(matches!(one.admit(job(6, now, SECOND), true, &own()), Placed::Sent));
}

#[test]
fn calls_share_a_lane_until_it_is_full_and_then_wait() {
    let (mut lanes, now) = (lanes(shape()), Instant::now());
    let _lane = begin(&mut lanes, job(1, now, SECOND), now).unwrap();
    assert!(begin(&mut lanes, job(2, now, SECOND), now).is_none());
    assert!(matches!(lanes.admit(job(3, now, SECOND), true, &own()), Placed::Queued));
    assert!(matches!(lanes.admit(job(4, now, SECOND), true, &own()), Placed::Refused(Refused::Overloaded, _)));
    assert!(lanes.returned(0, ServeId(1), now).is_some());
    assert!(lanes.serve_queue(&own()).lanes.is_empty());
    assert_eq!((lanes.instances(), lanes.in_flight()), (1, 2));
}

#[test]
fn a_deadline_is_told_once_and_the_call_is_in_flight_until_it_returns() {
    let (mut lanes, now) = (lanes(shape()), Instant::now());
    let _lane = begin(&mut lanes, job(1, now, SECOND), now);
    assert_eq!(lanes.arm(), Some(now + SECOND));
    let late = now + 2 * SECOND;
    let expected =
        Open { ticket: ticket(1), callback: 0, end: End::Deadline { stopped: false }, told: false, counted: false };
    assert_eq!(lanes.due(late), [expected]);
    assert!(lanes.due(late).is_empty());
    assert_eq!(lanes.leave(ServeId(1)), None);
    assert_eq!(lanes.in_flight(), 1);
    assert!(lanes.returned(0, ServeId(1), late).is_some());
    assert_eq!(lanes.in_flight(), 0);
    assert_eq!(lanes.arm(), None);
}

#[test]
fn a_lone_call_is_stopped_where_the_policy_kills() {
    let (mut lanes, now) = (lanes(Shape { kills: true, ..shape() }), Instant::now());
    let lane = begin(&mut lanes, job(1, now, SECOND), now).unwrap();
    let _ = begin(&mut lanes, job(2, now, 3 * SECOND), now);
    let due = lanes.due(now + SECOND);
    assert_eq!(due.first().unwrap().end, End::Deadline { stopped: false });
    assert!(!lane.end.is_cancelled());
    assert!(lanes.returned(0, ServeId(1), now).is_some());
    assert_eq!(lanes.leave(ServeId(2)).unwrap().end, End::GaveUp { stopped: true });
    assert!(lane.end.is_cancelled());
    assert_eq!(lanes.instances(), 0);
}

#[test]
fn a_lane_ends_when_all_its_calls_ran_too_long() {
    let (mut lanes, now) = (lanes(shape()), Instant::now());
    let lane = begin(&mut lanes, job(1, now, 100 * SECOND), now).unwrap();
    let later = now + 20 * SECOND;
    let _ = begin(&mut lanes, job(2, later, 100 * SECOND), later);
    let due = lanes.due(now + 31 * SECOND);
    assert_eq!(due.first().unwrap().end, End::TooLong { stopped: false });
    assert!(!lane.end.is_cancelled());
    assert!(lanes.returned(0, ServeId(2), now + 32 * SECOND).is_some());
    let over = Open { ticket: ticket(1), callback: 0, end: End::TooLong { stopped: true }, told: true, counted: true };
    assert_eq!(lanes.due(now + 32 * SECOND), [over], "its caller was told before, its end was not");
    assert!(lane.end.is_cancelled() && lanes.returned(0, ServeId(1), now + 32 * SECOND).is_none());
}

#[test]
fn a_call_whose_lane_is_still_being_made_did_not_run() {
    let (mut lanes, now) = (lanes(shape()), Instant::now());
    let Placed::New(_lane) = lanes.admit(job(1, now, SECOND), true, &own()) else { panic!("there is room") };
    assert_eq!(lanes.due(now + SECOND).first().unwrap().end, End::Expired);
    assert!(lanes.begins(0, ServeId(1), now, None).is_none());
}

#[test]
fn a_call_that_waits_before_its_lane_longer_than_a_call_may_run_did_not_run_too_long() {
    let (mut lanes, now) = (lanes(shape()), Instant::now());
    let lane = begin(&mut lanes, job(1, now, 100 * SECOND), now).unwrap();
    let Placed::Sent = lanes.admit(job(2, now, 40 * SECOND), true, &own()) else { panic!("there is room") };
    assert!(lanes.returned(0, ServeId(1), now + 29 * SECOND).is_some());
    // Its own time begins with it.
    assert!(lanes.due(now + 35 * SECOND).is_empty());
    assert!(lanes.begins(0, ServeId(2), now + 35 * SECOND, None).is_some());
    let due = lanes.due(now + 40 * SECOND);
    assert_eq!(due.first().unwrap().end, End::Deadline { stopped: false });
    assert!(!lane.end.is_cancelled());
    let over = Open { ticket: ticket(2), callback: 0, end: End::TooLong { stopped: true }, told: true, counted: true };
    assert_eq!(lanes.due(now + 65 * SECOND), [over], "its caller was told before, its end was not");
    assert!(lane.end.is_cancelled());
}

#[test]
fn a_call_that_never_began_is_told_so_when_its_lane_ends() {
    let (mut lanes, now) = (lanes(shape()), Instant::now());
    let _lane = begin(&mut lanes, job(1, now, 100 * SECOND), now).unwrap();
    let Placed::Sent = lanes.admit(job(2, now, 100 * SECOND), true, &own()) else { panic!("there is room") };
    let mut lost = lanes.ended(0);
    lost.sort_by_key(|lost| lost.ticket.id);
    let lost: Vec<(ServeId, bool)> = lost.iter().map(|lost| (lost.ticket.id, lost.begun)).collect();
    assert_eq!(lost, [(ServeId(1), true), (ServeId(2), false)]);
}

#[test]
fn calls_that_never_began_do_not_keep_a_lane_alive_whose_calls_ran_too_long() {
    let (mut lanes, now) = (lanes(shape()), Instant::now());
    let lane = begin(&mut lanes, job(1, now, 100 * SECOND), now).unwrap();
    let later = now + 20 * SECOND;
    let Placed::Sent = lanes.admit(job(2, later, 100 * SECOND), true, &own()) else { panic!("there is room") };
    let mut due = lanes.due(now + 30 * SECOND);
    due.sort_by_key(|open| open.ticket.id);
    let ends: Vec<End> = due.iter().map(|open| open.end).collect();
    assert_eq!(ends, [End::TooLong { stopped: true }, End::NotBegun]);
    assert!(lane.end.is_cancelled());
}

#[test]
fn a_deadline_that_passes_before_a_call_begins_is_told_as_in_the_queue() {
    let (mut lanes, now) = (lanes(Shape { kills: true, ..shape() }), Instant::now());
    let lane = begin(&mut lanes, job(1, now, 100 * SECOND), now).unwrap();
    let Placed::Sent = lanes.admit(job(2, now, SECOND), true, &own()) else { panic!("there is room") };
    assert_eq!(
        lanes.due(now + SECOND),
        [Open { ticket: ticket(2), callback: 0, end: End::Expired, told: false, counted: false }]
    );
    assert!(!lane.end.is_cancelled());
}

#[test]
fn a_lane_whose_tasks_go_on_without_a_call_ends_when_they_did_for_too_long() {
    let (mut lanes, now) = (lanes(shape()), Instant::now());
    let lane = begin(&mut lanes, job(1, now, SECOND), now).unwrap();
    assert_eq!(lanes.lingers(0, now), None, "a call is in it");
    lanes.returned(0, ServeId(1), now);
    assert_eq!(lanes.lingers(0, now), Some(now + 30 * SECOND));
    assert_eq!(lanes.arm(), Some(now + 30 * SECOND));
    assert_eq!(lanes.end_lingering(now + 29 * SECOND), 0);
    assert_eq!(lanes.end_lingering(now + 30 * SECOND), 1);
    assert!(lane.end.is_cancelled() && lanes.instances() == 0);
}

#[test]
fn a_call_or_the_end_of_its_tasks_keeps_a_lane() {
    let (mut lanes, now) = (lanes(shape()), Instant::now());
    let _lane = begin(&mut lanes, job(1, now, SECOND), now).unwrap();
    lanes.returned(0, ServeId(1), now);
    lanes.lingers(0, now);
    begin(&mut lanes, job(2, now, SECOND), now);
    assert_eq!(lanes.end_lingering(now + 60 * SECOND), 0);
    lanes.returned(0, ServeId(2), now);
    lanes.lingers(0, now);
    lanes.is_quiet(0);
    assert_eq!((lanes.arm(), lanes.end_lingering(now + 60 * SECOND)), (None, 0));
}

#[test]
fn a_call_runs_too_long_when_its_streams_have_stood_still_for_so_long() {
    let (mut lanes, now) = (lanes(shape()), Instant::now());
    let streams = CallStreams::new();
    let lane = begin_with(&mut lanes, job(1, now, 1000 * SECOND), now, Some(streams.clone())).unwrap();
    // One moves, a little after the call has begun.
    streams.enter().moved();
    assert!(lanes.due(now + 30 * SECOND).is_empty());
    assert!(lanes.arm().is_some_and(|alarm| alarm > now + 30 * SECOND));
    let due = lanes.due(now + 60 * SECOND);
    assert_eq!(due.first().unwrap().end, End::TooLong { stopped: true });
    assert!(lane.end.is_cancelled());
}

#[test]
fn a_call_that_has_replied_has_no_deadline_and_is_over_when_it_returns() {
    let (mut lanes, now) = (lanes(Shape { kills: true, ..shape() }), Instant::now());
    let lane = begin_with(&mut lanes, job(1, now, SECOND), now, Some(CallStreams::new())).unwrap();
    assert!(lanes.replies(ServeId(1)));
    assert!(lanes.due(now + 2 * SECOND).is_empty());
    assert_eq!((lanes.in_flight(), lane.end.is_cancelled()), (1, false));
    assert!(lanes.returned(0, ServeId(1), now + 3 * SECOND).is_some());
    assert_eq!(lanes.in_flight(), 0);
    assert!(lanes.due(now + 60 * SECOND).is_empty());
}

#[test]
fn nobody_has_a_reply_who_gave_up_before_it() {
    let (mut lanes, now) = (lanes(shape()), Instant::now());
    let _lane = begin_with(&mut lanes, job(1, now, SECOND), now, Some(CallStreams::new()));
    assert_eq!(lanes.leave(ServeId(1)).unwrap().end, End::GaveUp { stopped: false });
    assert!(!lanes.replies(ServeId(1)));
    assert!(lanes.returned(0, ServeId(1), now).is_some());
}

#[test]
fn a_call_whose_stream_breaks_is_stopped_where_the_policy_kills_also_when_it_has_replied() {
    for kills in [true, false] {
        let (mut lanes, now) = (lanes(Shape { kills, ..shape() }), Instant::now());
        let lane = begin_with(&mut lanes, job(1, now, SECOND), now, Some(CallStreams::new())).unwrap();
        assert!(lanes.replies(ServeId(1)));
        let broken = lanes.breaks(ServeId(1)).unwrap();
        assert_eq!((broken.end, broken.told), (End::Broken { stopped: kills }, true));
        assert_eq!(lane.end.is_cancelled(), kills);
        assert_eq!(lanes.breaks(ServeId(1)), None, "once");
    }
}

#[test]
fn a_synchronous_callback_that_has_returned_keeps_nobody_out() {
    let (mut lanes, now) = (lanes(shape()), Instant::now());
    let back = |id| {
        let mut job = job(id, now, SECOND);
        job.incoming.chain = Arc::from([Hop { process: Some(own()), instance: 0 }]);
        job
    };
    let Placed::New(_lane) = lanes.admit(job(1, now, SECOND), false, &own()) else { panic!("there is room") };
    assert!(lanes.begins(0, ServeId(1), now, Some(CallStreams::new())).is_some());
    assert!(matches!(lanes.admit(back(2), false, &own()), Placed::Refused(Refused::Cycle, _)));
    assert!(lanes.replies(ServeId(1)));
    assert!(matches!(lanes.admit(back(3), false, &own()), Placed::Sent));
}

#[test]
fn a_call_leaves_the_queue_when_it_waited_for_as_long_as_it_may_also_one_on_its_way_to_a_lane() {
    let (mut lanes, now) = (lanes(shape()), Instant::now());
    let impatient = |id| Box::new(Job { waits_until: now + SECOND, ..*job(id, now, 30 * SECOND) });
    let _lane = begin(&mut lanes, impatient(1), now).unwrap();
    assert!(matches!(lanes.admit(impatient(2), true, &own()), Placed::Sent));
    assert!(matches!(lanes.admit(impatient(3), true, &own()), Placed::Queued));
    assert!(lanes.due(now).is_empty());
    let due = lanes.due(now + SECOND);
    let ends: Vec<(ServeId, End)> = due.iter().map(|open| (open.ticket.id, open.end)).collect();
    assert_eq!(ends, [(ServeId(3), End::Overdue), (ServeId(2), End::Overdue)], "the first one has begun");
    assert_eq!(lanes.in_flight(), 1);
}
