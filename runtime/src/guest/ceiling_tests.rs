//! What a tenant has of its ceilings, and strangers of these.

use super::*;

fn ceiling(limits: CeilingLimits) -> Arc<Ceiling> {
    Arc::new(Ceiling::new(TenantName::default(), limits))
}

#[test]
fn what_is_given_back_can_be_taken_again_and_an_error_names_the_ceiling() {
    let ceiling = ceiling(CeilingLimits { memory_bytes: Some(10), instances: Some(1), ..CeilingLimits::default() });
    let place = ceiling.place(Kind::Instances, Audience::Home).unwrap();
    let error = ceiling.place(Kind::Instances, Audience::Home).unwrap_err().to_string();
    assert_eq!(
        error,
        "tenant default may have 1 instances in this runtime, its max-instances, and has no room for more"
    );
    drop(place);
    assert!(
        ceiling.place(Kind::Instances, Audience::Home).is_ok()
            && ceiling.place(Kind::Instances, Audience::Home).is_ok()
    );
    assert!(ceiling.take(Kind::Memory, 6).is_ok() && ceiling.take(Kind::Memory, 5).is_err());
    ceiling.give(Kind::Memory, 6);
    assert!(ceiling.take(Kind::Memory, 10).is_ok());
}

#[test]
fn each_kind_has_a_ceiling_of_its_own_and_a_key_for_it() {
    let none = Some(0);
    let limits = CeilingLimits {
        memory_bytes: none,
        instances: none,
        open_calls: none,
        held_bytes: none,
        queue: none,
        concurrency: none,
        open_streams: none,
        handles: none,
        ..CeilingLimits::default()
    };
    let full = ceiling(limits);
    for (kind, key, others) in [
        (Kind::Memory, "its max-memory,", CeilingLimits { memory_bytes: None, ..limits }),
        (Kind::Instances, "its max-instances,", CeilingLimits { instances: None, ..limits }),
        (Kind::OpenCalls, "its max-open-calls,", CeilingLimits { open_calls: None, ..limits }),
        (Kind::Held, "its max-held,", CeilingLimits { held_bytes: None, ..limits }),
        (Kind::Queued, "its max-queue,", CeilingLimits { queue: None, ..limits }),
        (Kind::Running, "its max-concurrency,", CeilingLimits { concurrency: None, ..limits }),
        (Kind::OpenStreams, "its max-open-streams,", CeilingLimits { open_streams: None, ..limits }),
        (Kind::Handles, "its max-handles,", CeilingLimits { handles: None, ..limits }),
    ] {
        let error = full.take(kind, 1).unwrap_err().to_string();
        assert!(error.starts_with("tenant default may have 0 ") && error.contains(key), "{error}");
        assert!(ceiling(others).place(kind, Audience::Home).unwrap().is_none(), "{kind:?}");
    }
}

#[test]
fn without_limits_there_is_room_for_all() {
    let ceiling = Arc::new(Ceiling::none(TenantName::default()));
    for _ in 0..2 {
        assert!(ceiling.take(Kind::Memory, usize::MAX).is_ok());
        assert!(ceiling.take(Kind::OpenCalls, 1).is_ok() && ceiling.call(Audience::Home, Instant::now()).is_ok());
    }
    assert!(ceiling.output().is_none() && ceiling.items().is_none());
}

#[test]
fn a_tenant_is_called_as_often_as_it_may_be_and_then_told_when_to_come_again() {
    let ceiling = ceiling(CeilingLimits { calls_per_second: Some(2), ..CeilingLimits::default() });
    let now = Instant::now();
    assert!(ceiling.call(Audience::Home, now).is_ok() && ceiling.call(Audience::Home, now).is_ok());
    let error = ceiling.call(Audience::Home, now).unwrap_err().to_string();
    assert!(error.contains("tenant default takes 2 calls in a second in this runtime, its max-call-rate"), "{error}");
    assert!(ceiling.call(Audience::Home, now + Duration::from_secs(1)).is_ok());
}

#[test]
fn strangers_have_half_of_a_ceiling_at_most_and_at_least_one() {
    for (most, share) in [(1, 1), (2, 1), (3, 2), (8, 4)] {
        let ceiling = ceiling(CeilingLimits { concurrency: Some(most), ..CeilingLimits::default() });
        let place = |audience| ceiling.place(Kind::Running, audience);
        let theirs: Vec<_> = (0..share).map(|_| place(Audience::Strangers).unwrap()).collect();
        let error = place(Audience::Strangers).unwrap_err().to_string();
        assert!(error.contains("half of them for callers of other tenants"), "{error}");
        let own: Vec<_> = (share..most).map(|_| place(Audience::Home).unwrap()).collect();
        let error = place(Audience::Home).unwrap_err().to_string();
        assert!(error.contains("its max-concurrency, and has no room"), "{error}");
        drop((theirs, own));
        // Its own have all of it while no stranger is there, who then has taken nothing.
        let own: Vec<_> = (0..most).map(|_| place(Audience::Home).unwrap()).collect();
        assert!(place(Audience::Strangers).is_err());
        drop(own);
        assert!(place(Audience::Strangers).is_ok());
    }
}

#[test]
fn a_place_that_is_handed_on_counts_for_whoever_has_it() {
    let ceiling = ceiling(CeilingLimits { concurrency: Some(2), ..CeilingLimits::default() });
    let place = |audience| ceiling.place(Kind::Running, audience).map(Option::unwrap);
    let (mut one, mut other) = (place(Audience::Home).unwrap(), place(Audience::Home).unwrap());
    one.hand_on(Audience::Strangers).unwrap();
    assert!(other.hand_on(Audience::Strangers).is_err());
    one.hand_on(Audience::Home).unwrap();
    other.hand_on(Audience::Strangers).unwrap();
    drop((one, other));
    let _theirs = place(Audience::Strangers).unwrap();
    assert!(place(Audience::Strangers).is_err() && place(Audience::Home).is_ok());
}

#[test]
fn strangers_call_a_tenant_half_as_often_as_it_may_be_called() {
    let ceiling = ceiling(CeilingLimits { calls_per_second: Some(4), ..CeilingLimits::default() });
    let now = Instant::now();
    let let_in = |audience| (0..9).filter(|_| ceiling.call(audience, now).is_ok()).count();
    assert_eq!((let_in(Audience::Strangers), let_in(Audience::Home), let_in(Audience::Strangers)), (2, 2, 0));
    let later = now + Duration::from_secs(1);
    let let_in = |audience| (0..9).filter(|_| ceiling.call(audience, later).is_ok()).count();
    assert_eq!((let_in(Audience::Home), let_in(Audience::Strangers)), (4, 0));
    // What was refused for others' sake was none of theirs.
    let later = later + Duration::from_secs(1);
    assert_eq!((0..9).filter(|_| ceiling.call(Audience::Strangers, later).is_ok()).count(), 2);
}
