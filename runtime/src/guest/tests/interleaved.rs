//! Components with async functions: calls that interleave, and what they share.

use std::time::Duration;

use daffi_proto::call::Caller;
use daffi_proto::error::{CallError, Outcome, code};

use super::world::{ASYNC, TRAPS_WHEN_RESUMED};
use super::{Asked, Bench, LONG, call, value};
use crate::guest::limits::InstancePolicy;
use crate::mesh::handle::LinkState;

fn parent(asked: &Asked) -> Option<daffi_proto::id::ServeId> {
    match asked.request.caller {
        Caller::Process { parent, .. } => parent,
        Caller::Client { .. } => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn async_calls_interleave_in_one_instance_and_each_inherits_its_own_call() {
    let mut bench = Bench::new(ASYNC, InstancePolicy::Singleton).await;
    let first = bench.serve(call("relay", &1u32).timeout(Duration::from_secs(20)));
    let second = bench.serve(call("relay", &2u32).timeout(Duration::from_secs(10)));
    let (mut one, mut two) = (bench.next_asked().await, bench.next_asked().await);
    if parent(&one) == Some(second.id()) {
        std::mem::swap(&mut one, &mut two);
    }
    assert_eq!((parent(&one), parent(&two)), (Some(first.id()), Some(second.id())));
    assert_eq!(postcard::from_bytes::<u32>(&two.request.args).unwrap(), 2);
    assert!(one.request.timeout > Duration::from_secs(10) && two.request.timeout <= Duration::from_secs(10));
    two.answer(&20u32);
    assert_eq!(value::<u32>(second.result().await), 20);
    assert_eq!(value::<u32>(bench.call(call("count", &())).await), 2);
    one.answer(&10u32);
    assert_eq!(value::<u32>(first.result().await), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_arguments_do_not_reach_an_interleaving_instance() {
    let mut bench = Bench::new(ASYNC, InstancePolicy::Singleton).await;
    let first = bench.serve(call("relay", &1u32));
    let asked = bench.next_asked().await;
    let error = bench.call(call("sum", &()).raw(b"\xff")).await.unwrap_err();
    assert_eq!((error.outcome, error.code.as_str()), (Outcome::NotRun, code::BAD_ARGUMENTS));
    asked.answer(&10u32);
    assert_eq!(value::<u32>(first.result().await), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trap_fails_the_calls_of_its_instance_and_the_next_call_gets_a_new_one() {
    let mut bench = Bench::new(ASYNC, InstancePolicy::Singleton).await;
    let innocent = bench.serve(call("relay", &1u32));
    let asked = bench.next_asked().await;
    let error = bench.call(call("trap", &())).await.unwrap_err();
    assert_eq!((error.outcome, error.code.as_str()), (Outcome::Failed, code::TRAP));
    assert!(error.message.starts_with("trap trapped: "), "{}", error.message);
    let error = innocent.result().await.unwrap_err();
    assert_eq!((error.outcome, error.code.as_str()), (Outcome::Failed, code::TRAP));
    assert!(error.message.starts_with("relay was lost") && error.message.contains(" in trap"), "{}", error.message);
    asked.abandoned().await;
    assert_eq!(value::<u32>(bench.call(call("count", &())).await), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nobody_knows_which_call_trapped_each_is_told_that_it_may_have_been() {
    let mut bench = Bench::new(ASYNC, InstancePolicy::Singleton).await;
    let (one, two) = (bench.serve(call("relay", &1u32)), bench.serve(call("relay", &2u32)));
    let (asked, _other) = (bench.next_asked().await, bench.next_asked().await);
    // It has waited, and is resumed through a callback that says nothing of its export.
    asked.answer(&TRAPS_WHEN_RESUMED);
    for call in [one, two] {
        let error = call.result().await.unwrap_err();
        assert_eq!((error.outcome, error.code.as_str()), (Outcome::Failed, code::TRAP));
        let told = "relay trapped, or the other call beside it in its instance did: ";
        assert!(error.message.starts_with(told), "{}", error.message);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lone_call_that_traps_says_so_itself() {
    let mut bench = Bench::new(ASYNC, InstancePolicy::Singleton).await;
    let error = bench.call(call("trap", &())).await.unwrap_err();
    assert_eq!((error.outcome, error.code.as_str()), (Outcome::Failed, code::TRAP));
    assert!(error.message.starts_with("trap trapped: "), "{}", error.message);
    assert!(error.trace.unwrap().contains("wasm backtrace"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_answers_its_call_and_the_others_go_on() {
    let mut bench = Bench::new(ASYNC, InstancePolicy::Pool(1)).await;
    let first = bench.serve(call("relay", &1u32));
    let one = bench.next_asked().await;
    let mut second = bench.serve(call("relay", &2u32).timeout(Duration::from_millis(20)));
    let two = bench.next_asked().await;
    let error = second.answer().await.unwrap_err();
    assert_eq!((error.outcome, error.code.as_str()), (Outcome::Unknown, code::DEADLINE_EXCEEDED));
    // It is in flight as long as it runs, though nobody waits for it.
    bench.loads.wait_for(|load| load.in_flight == 2).await.unwrap();
    assert_eq!(bench.in_flight(), 2);
    one.answer(&10u32);
    assert_eq!(value::<u32>(first.result().await), 10);
    two.answer(&20u32);
    second.end().await;
    assert_eq!(value::<u32>(bench.call(call("count", &())).await), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_its_caller_gave_up_is_in_flight_until_it_returns() {
    let mut bench = Bench::new(ASYNC, InstancePolicy::Singleton).await;
    let mut first = bench.serve(call("relay", &1u32));
    let asked = bench.next_asked().await;
    bench.cancel(&first);
    assert_eq!(value::<u32>(bench.call(call("count", &())).await), 1);
    assert_eq!(bench.in_flight(), 1);
    asked.answer(&1u32);
    first.end().await;
    bench.loads.wait_for(|load| load.in_flight == 0).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lone_call_of_a_pool_is_stopped_when_its_caller_gives_up() {
    let mut bench = Bench::new(ASYNC, InstancePolicy::Pool(1)).await;
    let first = bench.serve(call("relay", &1u32));
    let asked = bench.next_asked().await;
    bench.cancel(&first);
    asked.abandoned().await;
    let error = first.result().await.unwrap_err();
    assert_eq!((error.outcome, error.code.as_str()), (Outcome::Failed, code::CANCELLED));
    assert_eq!(value::<u32>(bench.call(call("count", &())).await), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spinning_guest_is_stopped_at_max_call_time() {
    let max = Duration::from_millis(60);
    let mut bench = Bench::with(ASYNC, InstancePolicy::Singleton, |spec| spec.limits.max_call_time = max).await;
    let error = bench.call(call("spin", &())).await.unwrap_err();
    assert_eq!((error.outcome, error.code.as_str()), (Outcome::Failed, code::LIMIT_EXCEEDED));
    assert_eq!(value::<u32>(bench.call(call("count", &())).await), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spinning_guest_does_not_keep_callers_past_their_deadline() {
    let mut bench = Bench::new(ASYNC, InstancePolicy::Singleton).await;
    let error = bench.call(call("spin", &()).timeout(Duration::from_millis(30))).await.unwrap_err();
    assert_eq!((error.outcome, error.code.as_str()), (Outcome::Unknown, code::DEADLINE_EXCEEDED));
    let error = bench.call(call("count", &()).timeout(Duration::from_millis(30))).await.unwrap_err();
    assert_eq!(error.code, code::DEADLINE_EXCEEDED);
    bench.module.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_of_a_per_call_module_share_nothing() {
    let mut bench = Bench::with(ASYNC, InstancePolicy::PerCall, |spec| {
        spec.limits.concurrency = 1;
        spec.limits.queue = 1;
    })
    .await;
    let first = bench.serve(call("relay", &1u32));
    let asked = bench.next_asked().await;
    let queued = bench.serve(call("count", &()));
    assert_eq!(bench.call(call("count", &())).await.unwrap_err().code, code::OVERLOADED);
    asked.answer(&1u32);
    assert!(first.result().await.is_ok());
    assert_eq!(value::<u32>(queued.result().await), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_calls_in_flight_of_an_instance_are_bounded() {
    let mut bench = Bench::with(ASYNC, InstancePolicy::Singleton, |spec| {
        spec.limits.async_calls = 2;
        spec.limits.queue = 1;
    })
    .await;
    let first = bench.serve(call("relay", &1u32));
    let second = bench.serve(call("relay", &2u32));
    let queued = bench.serve(call("count", &()));
    assert_eq!(bench.call(call("count", &())).await.unwrap_err().code, code::OVERLOADED);
    bench.next_asked().await.answer(&1u32);
    assert_eq!(value::<u32>(queued.result().await), 2);
    bench.next_asked().await.answer(&1u32);
    assert!(first.result().await.is_ok() && second.result().await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_async_instance_takes_a_call_that_returns_to_it() {
    let mut bench = Bench::new(ASYNC, InstancePolicy::Singleton).await;
    let first = bench.serve(call("relay", &1u32));
    let asked = bench.next_asked().await;
    let Caller::Process { instance, .. } = asked.request.caller else { panic!("a guest calls as its process") };
    let back = bench.call(call("sum", &(1i64, 2i64)).from("own", instance).from("peer", 0)).await;
    assert_eq!(value::<i64>(back), 3);
    asked.answer(&1u32);
    assert!(first.result().await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_returns_to_a_synchronous_export_is_a_cycle() {
    let mut bench = Bench::new(ASYNC, InstancePolicy::Singleton).await;
    let first = bench.serve(call("relay-sync", &1u32));
    let asked = bench.next_asked().await;
    assert_eq!(parent(&asked), Some(first.id()));
    let Caller::Process { instance, .. } = asked.request.caller else { panic!("a guest calls as its process") };
    let error = bench.call(call("sum", &(1i64, 2i64)).from("own", instance).from("peer", 0)).await.unwrap_err();
    assert_eq!((error.outcome, error.code.as_str()), (Outcome::NotRun, code::CYCLE));
    asked.answer(&1u32);
    assert_eq!(value::<u32>(first.result().await), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_queued_behind_a_blocked_instance_ends_at_its_deadline() {
    let mut bench = Bench::new(ASYNC, InstancePolicy::Singleton).await;
    let first = bench.serve(call("relay-sync", &1u32));
    let asked = bench.next_asked().await;
    let error = bench.call(call("count", &()).timeout(Duration::from_millis(20))).await.unwrap_err();
    assert_eq!(error.code, code::DEADLINE_EXCEEDED);
    asked.answer(&1u32);
    assert!(first.result().await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interleaving_instance_hears_of_the_link_in_turns() {
    let mut bench = Bench::new(ASYNC, InstancePolicy::Singleton).await;
    bench.loads.wait_for(|load| load.instances == 1).await.unwrap();
    let states = [LinkState::Up, LinkState::Down { reason: "unplugged".to_owned() }, LinkState::Up];
    for (state, log) in states.into_iter().zip([12u32, 123, 1232]) {
        bench.link(state);
        let reached = async { while value::<u32>(bench.call(call("log", &())).await) != log {} };
        tokio::time::timeout(LONG, reached).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queued_call_is_not_stranded_behind_calls_that_were_given_up() {
    let mut bench = Bench::with(ASYNC, InstancePolicy::Singleton, |spec| spec.limits.async_calls = 2).await;
    let blocking = bench.serve(call("relay-sync", &1u32));
    let asked = bench.next_asked().await;
    // The instance is blocked: these wait on the way to it, and hold their places there when they are given up.
    for _ in 0..2 {
        let given_up = bench.serve(call("count", &()));
        bench.cancel(&given_up);
        assert_eq!(given_up.result().await.unwrap_err().outcome, Outcome::NotRun);
    }
    let queued = bench.serve(call("count", &()));
    asked.answer(&1u32);
    assert!(blocking.result().await.is_ok());
    assert_eq!(value::<u32>(queued.result().await), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_waits_before_an_instance_that_ends_did_not_run() {
    let mut bench = Bench::new(ASYNC, InstancePolicy::Singleton).await;
    let blocking = bench.serve(call("relay-sync", &1u32));
    let asked = bench.next_asked().await;
    let waiting = bench.serve(call("count", &()));
    asked.fail(CallError::failed(code::TRAP, "no", "ask-sync"));
    let error = blocking.result().await.unwrap_err();
    assert_eq!((error.outcome, error.code.as_str()), (Outcome::Failed, code::TRAP));
    assert!(!error.message.contains("calls at once"), "{}", error.message);
    let error = waiting.result().await.unwrap_err();
    assert_eq!((error.outcome, error.code.as_str()), (Outcome::NotRun, code::INSTANTIATION_FAILED));
    assert!(error.message.contains("ended before it could begin"), "{}", error.message);
    assert!(bench.call(call("count", &())).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_waits_before_an_instance_when_its_runtime_ends_did_not_run() {
    let mut bench = Bench::new(ASYNC, InstancePolicy::Singleton).await;
    let blocking = bench.serve(call("relay-sync", &1u32));
    let _asked = bench.next_asked().await;
    let waiting = bench.serve(call("count", &()));
    bench.module.shutdown().await;
    assert_eq!(blocking.result().await.unwrap_err().outcome, Outcome::Failed);
    let error = waiting.result().await.unwrap_err();
    assert_eq!((error.outcome, error.code.as_str()), (Outcome::NotRun, code::DRAINING));
}
