//! Calls into synchronous components: policies, queue, limits, faults.

use std::time::Duration;

use daffi_proto::error::{Outcome, code};

use super::world::KITCHEN;
use super::{Bench, call, value};
use crate::guest::limits::{InstancePolicy, OnCancel};

#[tokio::test(flavor = "multi_thread")]
async fn a_singleton_keeps_its_state_and_a_per_call_instance_has_none() {
    let mut singleton = Bench::new(KITCHEN, InstancePolicy::Singleton).await;
    let mut per_call = Bench::new(KITCHEN, InstancePolicy::PerCall).await;
    for expected in 1..4u32 {
        assert_eq!(value::<u32>(singleton.call(call("count", &())).await), expected);
        assert_eq!(value::<u32>(per_call.call(call("count", &())).await), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trap_ends_only_the_call_that_trapped_and_the_instance_is_replaced() {
    let mut bench = Bench::new(KITCHEN, InstancePolicy::Singleton).await;
    assert_eq!(value::<u32>(bench.call(call("count", &())).await), 1);
    let error = bench.call(call("trap", &())).await.unwrap_err();
    assert_eq!((error.outcome, error.code.as_str()), (Outcome::Failed, code::TRAP));
    assert_eq!(error.process.as_deref(), Some("own"));
    assert!(error.message.contains("unreachable"), "{}", error.message);
    assert!(error.trace.unwrap().contains("wasm backtrace"));
    assert_eq!(value::<u32>(bench.call(call("count", &())).await), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_arguments_do_not_reach_the_instance_which_lives_on() {
    let mut bench = Bench::new(KITCHEN, InstancePolicy::Singleton).await;
    assert_eq!(value::<u32>(bench.call(call("count", &())).await), 1);
    for bytes in [&b""[..], b"\x02", b"\x02\x02\x02", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"] {
        let error = bench.call(call("sum", &()).raw(bytes)).await.unwrap_err();
        assert_eq!((error.outcome, error.code.as_str()), (Outcome::NotRun, code::BAD_ARGUMENTS));
    }
    assert_eq!(value::<u32>(bench.call(call("count", &())).await), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_queue_is_bounded_and_served_in_order() {
    let mut bench = Bench::with(KITCHEN, InstancePolicy::Singleton, |spec| spec.limits.queue = 2).await;
    let first = bench.serve(call("relay", &1u32));
    let asked = bench.next_asked().await;
    let second = bench.serve(call("count", &()));
    let third = bench.serve(call("count", &()));
    let error = bench.call(call("count", &())).await.unwrap_err();
    assert_eq!((error.outcome, error.code.as_str(), error.retryable), (Outcome::NotRun, code::OVERLOADED, true));
    asked.answer(&10u32);
    assert_eq!(value::<u32>(first.result().await), 10);
    assert_eq!(value::<u32>(second.result().await), 2);
    assert_eq!(value::<u32>(third.result().await), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queued_call_ends_at_its_deadline_and_hears_who_held_the_instance() {
    let mut bench = Bench::new(KITCHEN, InstancePolicy::Singleton).await;
    let first = bench.serve(call("relay", &1u32).from("holder", 0));
    let asked = bench.next_asked().await;
    let queued = bench.serve(call("count", &()).timeout(Duration::from_millis(20)));
    let error = queued.result().await.unwrap_err();
    assert_eq!((error.outcome, error.code.as_str()), (Outcome::NotRun, code::DEADLINE_EXCEEDED));
    assert!(error.message.contains("relay for holder"), "{}", error.message);
    asked.answer(&1u32);
    assert!(first.result().await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queued_call_that_is_cancelled_leaves_the_queue_at_once() {
    let mut bench = Bench::with(KITCHEN, InstancePolicy::Singleton, |spec| spec.limits.queue = 1).await;
    let first = bench.serve(call("relay", &1u32));
    let asked = bench.next_asked().await;
    let queued = bench.serve(call("count", &()));
    bench.cancel(&queued);
    let error = queued.result().await.unwrap_err();
    assert_eq!((error.outcome, error.code.as_str()), (Outcome::NotRun, code::CANCELLED));
    let again = bench.serve(call("count", &()));
    assert!(!again.is_at_once(), "there is room in the queue again");
    asked.answer(&1u32);
    assert!(first.result().await.is_ok());
    assert_eq!(value::<u32>(again.result().await), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_call_of_a_pool_is_stopped_and_what_it_waits_for_is_cancelled() {
    let mut bench = Bench::new(KITCHEN, InstancePolicy::Pool(1)).await;
    let first = bench.serve(call("relay", &1u32));
    let asked = bench.next_asked().await;
    bench.cancel(&first);
    asked.abandoned().await;
    let error = first.result().await.unwrap_err();
    assert_eq!((error.outcome, error.code.as_str()), (Outcome::Failed, code::CANCELLED));
    assert_eq!(value::<u32>(bench.call(call("count", &())).await), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_call_of_a_singleton_runs_on_and_its_state_survives() {
    let mut bench = Bench::new(KITCHEN, InstancePolicy::Singleton).await;
    let mut first = bench.serve(call("relay", &1u32));
    let asked = bench.next_asked().await;
    bench.cancel(&first);
    let second = bench.serve(call("count", &()));
    // It is in flight as long as it runs, though nobody waits for it.
    bench.loads.wait_for(|load| load.in_flight == 2).await.unwrap();
    assert!(!asked.is_abandoned());
    assert_eq!(bench.in_flight(), 2);
    asked.answer(&1u32);
    first.end().await;
    assert_eq!(value::<u32>(second.result().await), 2);
    bench.loads.wait_for(|load| load.in_flight == 0).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_singletons_caller_is_told_at_his_deadline_and_the_call_is_in_flight_until_it_is_over() {
    let mut bench = Bench::new(KITCHEN, InstancePolicy::Singleton).await;
    let mut first = bench.serve(call("relay", &1u32).timeout(Duration::from_millis(20)));
    let asked = bench.next_asked().await;
    let error = first.answer().await.unwrap_err();
    assert_eq!((error.outcome, error.code.as_str()), (Outcome::Unknown, code::DEADLINE_EXCEEDED));
    assert_eq!(error.process.as_deref(), Some("own"));
    // Its caller gave up in the moment in which he was told.
    bench.cancel(&first);
    let second = bench.serve(call("count", &()));
    bench.loads.wait_for(|load| load.in_flight == 2).await.unwrap();
    asked.answer(&1u32);
    first.end().await;
    assert_eq!(value::<u32>(second.result().await), 2);
    bench.loads.wait_for(|load| load.in_flight == 0).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn on_cancel_overrides_the_policy() {
    let mut bench = Bench::with(KITCHEN, InstancePolicy::Singleton, |spec| spec.on_cancel = Some(OnCancel::Kill)).await;
    let first = bench.serve(call("relay", &1u32));
    let asked = bench.next_asked().await;
    bench.cancel(&first);
    asked.abandoned().await;
    assert_eq!(first.result().await.unwrap_err().outcome, Outcome::Failed);
    assert_eq!(value::<u32>(bench.call(call("count", &())).await), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cycle_into_a_waiting_singleton_is_refused_at_once_with_its_chain() {
    let mut bench = Bench::new(KITCHEN, InstancePolicy::Singleton).await;
    let first = bench.serve(call("relay", &1u32));
    let asked = bench.next_asked().await;
    let instance = caller_instance(&asked.request);
    let served = bench.serve(call("sum", &(1i64, 1i64)).from("own", instance).from("peer", 0));
    assert!(served.is_at_once());
    let error = served.result().await.unwrap_err();
    assert_eq!((error.outcome, error.code.as_str()), (Outcome::NotRun, code::CYCLE));
    assert!(error.message.contains("own -> peer -> own"), "{}", error.message);
    asked.answer(&3u32);
    assert_eq!(value::<u32>(first.result().await), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_instance_of_a_pool_takes_a_call_that_returns() {
    let mut bench = Bench::new(KITCHEN, InstancePolicy::Pool(2)).await;
    let first = bench.serve(call("relay", &1u32));
    let asked = bench.next_asked().await;
    let instance = caller_instance(&asked.request);
    let back = bench.call(call("sum", &(1i64, 1i64)).from("own", instance).from("peer", 0)).await;
    assert_eq!(value::<i64>(back), 2);
    asked.answer(&3u32);
    assert_eq!(value::<u32>(first.result().await), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_runs_its_instances_side_by_side_and_each_has_its_own_state() {
    let mut bench = Bench::new(KITCHEN, InstancePolicy::Pool(2)).await;
    let first = bench.serve(call("relay", &1u32));
    let second = bench.serve(call("relay", &2u32));
    let (one, two) = (bench.next_asked().await, bench.next_asked().await);
    assert_ne!(caller_instance(&one.request), caller_instance(&two.request));
    one.answer(&1u32);
    two.answer(&2u32);
    assert!(first.result().await.is_ok() && second.result().await.is_ok());
    let mut counts =
        [value::<u32>(bench.call(call("count", &())).await), value::<u32>(bench.call(call("count", &())).await)];
    counts.sort_unstable();
    assert_eq!(counts, [2, 3], "the instance that was used last is used again");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_load_is_told() {
    let mut bench = Bench::new(KITCHEN, InstancePolicy::Pool(2)).await;
    let first = bench.serve(call("relay", &1u32));
    let asked = bench.next_asked().await;
    bench.loads.wait_for(|load| load.instances == 1 && load.in_flight == 1).await.unwrap();
    asked.answer(&1u32);
    assert!(first.result().await.is_ok());
    bench.loads.wait_for(|load| load.instances == 1 && load.in_flight == 0).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_ends_what_runs_and_refuses_what_waits() {
    let mut bench = Bench::new(KITCHEN, InstancePolicy::Singleton).await;
    let running = bench.serve(call("spin", &()));
    let queued = bench.serve(call("count", &()));
    bench.module.shutdown().await;
    assert_eq!(running.result().await.unwrap_err().outcome, Outcome::Failed);
    let error = queued.result().await.unwrap_err();
    assert_eq!((error.outcome, error.code.as_str()), (Outcome::NotRun, code::DRAINING));
    assert_eq!(bench.call(call("count", &())).await.unwrap_err().code, code::DRAINING);
}

fn caller_instance(request: &daffi_proto::call::CallRequest) -> u32 {
    match request.caller {
        daffi_proto::call::Caller::Process { instance, .. } => instance,
        daffi_proto::call::Caller::Client { .. } => panic!("a guest calls as its process"),
    }
}
