//! What callers of another tenant are told of calls that failed: what happened to their call, and nothing of what else went
//! on in the process or in its tenant.

use std::sync::Arc;
use std::time::Duration;

use daffi_proto::error::{CallError, Outcome, code};
use daffi_proto::id::TenantName;

use super::world::{ASYNC, KITCHEN, TRAPS_WHEN_RESUMED};
use super::{Bench, Call, LONG, call};
use crate::guest::ceiling::{Ceiling, CeilingLimits};
use crate::guest::limits::InstancePolicy;

/// As made by a process of another tenant.
fn foreign(call: Call) -> Call {
    call.made_by("globex", "stranger")
}

#[track_caller]
fn is_told(error: &CallError, outcome: Outcome, code: &str, message: &str) {
    assert_eq!((error.outcome, error.code.as_str(), error.message.as_str()), (outcome, code, message));
    assert_eq!((error.process.as_deref(), error.trace.as_deref()), (Some("own"), None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_is_told_that_his_call_trapped_and_not_where_or_why() {
    let mut bench = Bench::new(KITCHEN, InstancePolicy::Singleton).await;
    let error = bench.call(call("trap", &()).from("peer", 0)).await.unwrap_err();
    assert!(error.message.contains("divide by zero") && error.trace.is_some(), "{error:?}");
    let error = bench.call(foreign(call("trap", &()))).await.unwrap_err();
    is_told(&error, Outcome::Failed, code::TRAP, "trap ended with its instance, which trapped");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_whose_instance_another_call_ended_is_told_nothing_of_that_call() {
    let mut bench = Bench::new(ASYNC, InstancePolicy::Singleton).await;
    let (held, own) = (bench.serve(foreign(call("relay", &1u32))), bench.serve(call("relay", &2u32)));
    let _asked = (bench.next_asked().await, bench.next_asked().await);
    assert!(bench.call(call("trap", &())).await.unwrap_err().trace.is_some());
    let error = held.result().await.unwrap_err();
    is_told(&error, Outcome::Failed, code::TRAP, "relay ended with its instance, which trapped");
    // The tenant's own call learns it all.
    let error = own.result().await.unwrap_err();
    assert!(error.message.contains("ended in trap") && error.trace.is_some(), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_is_told_the_same_where_nobody_knows_which_call_trapped() {
    let mut bench = Bench::new(ASYNC, InstancePolicy::Singleton).await;
    let (held, own) = (bench.serve(foreign(call("relay", &1u32))), bench.serve(call("relay", &2u32)));
    let asked = [bench.next_asked().await, bench.next_asked().await];
    for asked in asked {
        if postcard::from_bytes::<u32>(&asked.request.args).unwrap() == 2 {
            asked.answer(&TRAPS_WHEN_RESUMED);
        }
    }
    let error = held.result().await.unwrap_err();
    is_told(&error, Outcome::Failed, code::TRAP, "relay ended with its instance, which trapped");
    assert!(own.result().await.unwrap_err().message.contains("other call"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_is_told_nothing_of_whom_the_callback_called_in_vain() {
    for text in [KITCHEN, ASYNC] {
        let mut bench = Bench::new(text, InstancePolicy::Singleton).await;
        let served = bench.serve(foreign(call("relay", &1u32)));
        let error = CallError::not_run(code::OVERLOADED, "secret-till takes 1 calls in a second", "test:peer/api#ask");
        bench.next_asked().await.fail(error.at("secret-till").with_trace("deep inside"));
        let error = served.result().await.unwrap_err();
        is_told(&error, Outcome::Failed, code::TRAP, "relay ended with its instance, which trapped");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_is_told_no_limit_of_the_tenant_or_the_module() {
    let ceilings = [
        CeilingLimits { concurrency: Some(1), ..CeilingLimits::default() },
        CeilingLimits { instances: Some(1), ..CeilingLimits::default() },
        CeilingLimits { queue: Some(0), ..CeilingLimits::default() },
    ];
    for (limits, instances) in ceilings.into_iter().zip([2, 2, 1]) {
        let policy = InstancePolicy::Pool(instances);
        let ceiling = Arc::new(Ceiling::new(TenantName::default(), limits));
        let mut bench = Bench::with(KITCHEN, policy, |spec| spec.ceiling = ceiling).await;
        let held = bench.serve(call("relay", &1u32));
        let asked = bench.next_asked().await;
        let own = bench.call(call("count", &())).await.unwrap_err();
        assert!(own.message.contains("tenant default"), "{own:?}");
        let error = bench.call(foreign(call("count", &()))).await.unwrap_err();
        let message = "count was not called: there is no room for it now; try later";
        is_told(&error, Outcome::NotRun, code::OVERLOADED, message);
        assert!(error.retryable);
        asked.answer(&1u32);
        assert!(held.result().await.is_ok());
    }
    let mut bench = Bench::with(KITCHEN, InstancePolicy::Singleton, |spec| spec.limits.memory_bytes = 1 << 20).await;
    assert!(bench.call(call("grow", &100u32)).await.unwrap_err().message.contains("memory"));
    let error = bench.call(foreign(call("grow", &100u32))).await.unwrap_err();
    assert!(!error.message.contains("memory") && error.trace.is_none(), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_holds_the_instances_that_a_call_waits_for_is_told_within_the_tenant_alone() {
    for text in [KITCHEN, ASYNC] {
        let mut bench = Bench::new(text, InstancePolicy::Singleton).await;
        let name = if text == KITCHEN { "relay" } else { "relay-sync" };
        let held = bench.serve(call(name, &1u32).from("peer", 0));
        let asked = bench.next_asked().await;
        let soon = || call("count", &()).timeout(Duration::from_millis(20));
        // It holds the instance as soon as it is noted, which is a moment after it asked.
        let words = format!("busy with {name} for peer");
        let told = async { while !bench.call(soon()).await.unwrap_err().message.contains(&words) {} };
        tokio::time::timeout(LONG, told).await.unwrap();
        let error = bench.call(foreign(soon())).await.unwrap_err();
        let message = "count was not called: the call's deadline passed before it could begin";
        is_told(&error, Outcome::NotRun, code::DEADLINE_EXCEEDED, message);
        asked.answer(&1u32);
        assert!(held.result().await.is_ok());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_is_told_what_is_wrong_with_his_own_arguments() {
    let mut bench = Bench::new(KITCHEN, InstancePolicy::Singleton).await;
    let error = bench.call(foreign(call("sum", &()).raw(b"\xff"))).await.unwrap_err();
    assert_eq!((error.outcome, error.code.as_str()), (Outcome::NotRun, code::BAD_ARGUMENTS));
    assert!(error.message.contains("s64"), "{error:?}");
}
