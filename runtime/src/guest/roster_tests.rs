//! Seats and queues of modules whose instances are numbers.

use bytes::Bytes;
use daffi_proto::id::{LocalId, ProcessName, TenantName};
use daffi_proto::stream::Flows;

use super::*;
use crate::guest::ceiling::CeilingLimits;

/// Instances are numbers, and seats are busy with nothing.
type Numbers = Roster<u32, ()>;

fn roster(capacity: u32, queue: usize) -> Numbers {
    Roster::new(capacity, queue, Arc::new(Ceiling::none(TenantName::default())))
}

fn own() -> ProcessRef {
    ProcessRef { tenant: TenantName::default(), name: ProcessName::new("own").unwrap() }
}

fn job(id: u64, from_instances: &[u32]) -> Box<Job> {
    let chain: Vec<Hop> = from_instances.iter().map(|&instance| Hop { process: Some(own()), instance }).collect();
    let incoming = Incoming {
        id: ServeId(id),
        process: LocalId(0),
        callback: 0,
        args: Bytes::new(),
        caller: None,
        chain: Arc::from(chain),
        deadline: Duration::from_secs(30),
        answer: daffi_proto::call::Answer::Result,
        channels: Flows::default(),
    };
    let second = Duration::from_secs(1);
    Job::new(incoming, &own(), (Instant::now(), Instant::now() + 30 * second), 60 * second, Vec::new())
}

fn seat(admission: Admission<u32>) -> Seat<u32> {
    match admission {
        Admission::Run(seat, _) => seat,
        other => panic!("expected a seat, found {other:?}"),
    }
}

#[test]
fn calls_beyond_the_instances_wait_in_order_and_beyond_the_queue_are_refused() {
    let mut roster = roster(1, 2);
    let first = seat(roster.admit(job(1, &[]), &own()));
    assert!(matches!(roster.admit(job(2, &[]), &own()), Admission::Queued));
    assert!(matches!(roster.admit(job(3, &[]), &own()), Admission::Queued));
    assert!(matches!(roster.admit(job(4, &[]), &own()), Admission::Refused(Refused::Overloaded, _)));
    let Some((seat, next, _)) = roster.release(Seat { instance: Some(7), ..first }).next else {
        panic!("the queue has calls")
    };
    assert_eq!((next.incoming.id, seat.instance), (ServeId(2), Some(7)));
}

#[test]
fn a_seat_that_lost_its_instance_gets_a_new_number() {
    let mut roster = roster(1, 2);
    let first = seat(roster.admit(job(1, &[]), &own()));
    assert!(matches!(roster.admit(job(2, &[]), &own()), Admission::Queued));
    let Some((second, ..)) = roster.release(Seat { number: first.number, instance: None }).next else {
        panic!("the queue has a call")
    };
    assert_ne!(first.number, second.number);
    assert_eq!(roster.instances(), 1);
}

#[test]
fn a_call_that_returns_to_every_waiting_instance_is_a_cycle() {
    let mut roster = roster(2, 8);
    let first = seat(roster.admit(job(1, &[]), &own())).number;
    let second = seat(roster.admit(job(2, &[first]), &own())).number;
    assert!(matches!(roster.admit(job(3, &[first]), &own()), Admission::Queued));
    assert!(matches!(roster.admit(job(4, &[first, second]), &own()), Admission::Refused(Refused::Cycle, _)));
}

#[test]
fn the_number_of_an_instance_that_has_ended_makes_no_cycle() {
    let mut roster = roster(1, 8);
    let first = seat(roster.admit(job(1, &[]), &own())).number;
    assert!(roster.release(Seat { number: first, instance: None }).next.is_none());
    let _second = seat(roster.admit(job(2, &[first]), &own()));
    assert!(matches!(roster.admit(job(3, &[first]), &own()), Admission::Queued));
}

#[test]
fn a_queued_call_leaves_at_once_and_an_expired_one_is_found() {
    let mut roster = roster(1, 8);
    let _seat = seat(roster.admit(job(1, &[]), &own()));
    for id in 2..5 {
        let _ = roster.admit(job(id, &[]), &own());
    }
    assert!(matches!(roster.leave(ServeId(3)), Left::Queued(_)));
    assert!(matches!(roster.leave(ServeId(3)), Left::Unknown));
    let late = roster.next_expiry().unwrap();
    assert_eq!(roster.expire(late).first().unwrap().incoming.id, ServeId(2));
    assert_eq!(roster.expire(late + Duration::from_secs(1)).len(), 1);
    assert_eq!(roster.next_expiry(), None);
}

#[test]
fn a_call_that_its_caller_gave_up_is_in_flight_until_it_is_over() {
    let mut roster = roster(1, 8);
    let _seat = seat(roster.admit(job(1, &[]), &own()));
    let mut cancel = roster.runs(ServeId(1));
    for _ in 0..2 {
        assert!(matches!(roster.leave(ServeId(1)), Left::Running));
        assert_eq!(roster.in_flight(), 1);
    }
    assert!(cancel.try_recv().is_ok());
    roster.over(ServeId(1));
    assert_eq!(roster.in_flight(), 0);
    assert!(matches!(roster.leave(ServeId(1)), Left::Unknown));
}

#[test]
fn one_spare_instance_waits_for_the_next_call_where_there_is_a_seat_for_it() {
    let mut roster = roster(2, 8);
    let first = seat(roster.admit(job(1, &[]), &own()));
    let spare = roster.seat_for_spare().unwrap();
    assert!(roster.seat_for_spare().is_none(), "both seats are taken");
    assert!(roster.release(Seat { instance: Some(2), ..spare }).next.is_none());
    assert!(roster.release(Seat { instance: None, ..first }).next.is_none());
    assert!(roster.seat_for_spare().is_none(), "one waits already");
    assert_eq!(seat(roster.admit(job(2, &[]), &own())).instance, Some(2));
    roster.seal();
    assert!(roster.seat_for_spare().is_none());
}

#[test]
fn modules_of_a_tenant_share_what_it_may_have_running_and_waiting() {
    let limits = CeilingLimits { concurrency: Some(1), queue: Some(1), ..CeilingLimits::default() };
    let ceiling = Arc::new(Ceiling::new(TenantName::default(), limits));
    let new = || Numbers::new(1, 8, ceiling.clone());
    let (mut one, mut other) = (new(), new());
    let refused = |admission: Admission<u32>, key: &str| match admission {
        Admission::Refused(Refused::Tenant(reached), _) => assert!(reached.to_string().contains(key), "{reached}"),
        other => panic!("expected a refusal, found {other:?}"),
    };
    let first = seat(one.admit(job(1, &[]), &own()));
    refused(other.admit(job(2, &[]), &own()), "max-concurrency");
    assert!(matches!(one.admit(job(3, &[]), &own()), Admission::Queued));
    refused(one.admit(job(4, &[]), &own()), "max-queue");
    // Who follows has the place of the call before it, and its own in the queue is free.
    let Some((next, ..)) = one.release(Seat { instance: Some(1), ..first }).next else {
        panic!("the queue has a call")
    };
    refused(other.admit(job(5, &[]), &own()), "max-concurrency");
    assert!(matches!(one.admit(job(6, &[]), &own()), Admission::Queued));
    assert!(matches!(one.leave(ServeId(6)), Left::Queued(_)));
    assert!(one.release(next).next.is_none());
    let second = seat(other.admit(job(7, &[]), &own()));
    // What ends with its module makes room too.
    drop((other, second));
    let _seat = seat(one.admit(job(8, &[]), &own()));
}

#[test]
fn who_waits_behind_no_call_is_turned_away_when_the_tenant_has_no_place_for_him() {
    let limits = CeilingLimits { concurrency: Some(1), ..CeilingLimits::default() };
    let ceiling = Arc::new(Ceiling::new(TenantName::default(), limits));
    let (mut one, mut other) = (Numbers::new(1, 8, ceiling.clone()), Numbers::new(1, 8, ceiling.clone()));
    let prepared = one.seat_for_new().unwrap();
    assert!(matches!(one.admit(job(1, &[]), &own()), Admission::Queued));
    assert!(matches!(one.admit(job(2, &[]), &own()), Admission::Queued));
    let _seat = seat(other.admit(job(3, &[]), &own()));
    let released = one.release(Seat { instance: Some(1), ..prepared });
    assert_eq!((released.next.is_none(), released.turned_away.len(), one.in_flight()), (true, 2, 0));
}

#[test]
fn a_stranger_for_whom_the_tenant_has_no_place_is_turned_away_and_who_waits_behind_him_is_next() {
    let limits = CeilingLimits { concurrency: Some(2), ..CeilingLimits::default() };
    let ceiling = Arc::new(Ceiling::new(TenantName::default(), limits));
    let new = || Numbers::new(1, 8, ceiling.clone());
    let (mut one, mut other) = (new(), new());
    let strange = |id| Box::new(Job { audience: Audience::Strangers, ..*job(id, &[]) });
    let first = seat(one.admit(job(1, &[]), &own()));
    let theirs = seat(other.admit(strange(2), &own()));
    assert!(matches!(one.admit(strange(3), &own()), Admission::Queued));
    assert!(matches!(one.admit(job(4, &[]), &own()), Admission::Queued));
    assert!(matches!(one.admit(strange(5), &own()), Admission::Queued));
    let released = one.release(Seat { instance: Some(1), ..first });
    let Some((second, next, _)) = released.next else { panic!("the queue has a call") };
    assert_eq!((next.incoming.id, released.turned_away.len()), (ServeId(4), 1));
    // There is a place for strangers when theirs has come back, and it is theirs as long as one of them has it.
    assert!(other.release(theirs).next.is_none());
    let Some((third, next, _)) = one.release(Seat { instance: Some(1), ..second }).next else {
        panic!("the queue has a call")
    };
    assert_eq!(next.incoming.id, ServeId(5));
    assert!(matches!(other.admit(strange(6), &own()), Admission::Refused(Refused::Tenant(_), _)));
    assert!(one.release(third).next.is_none());
    assert!(matches!(other.admit(strange(7), &own()), Admission::Run(..)));
}
