//! Every limit of a module, run into.

use std::sync::Arc;
use std::time::Duration;

use daffi_proto::error::{Outcome, code};
use daffi_proto::id::TenantName;

use super::world::{CLOCKS, KITCHEN};
use super::{Bench, call, value};
use crate::guest::ceiling::{Ceiling, CeilingLimits};
use crate::guest::limits::InstancePolicy;

#[tokio::test(flavor = "multi_thread")]
async fn a_payload_over_the_limit_is_refused() {
    let mut bench = Bench::with(KITCHEN, InstancePolicy::Singleton, |spec| spec.limits.payload_bytes = 8).await;
    let error = bench.call(call("sum", &(i64::MIN, i64::MIN))).await.unwrap_err();
    assert_eq!((error.outcome, error.code.as_str()), (Outcome::NotRun, code::PAYLOAD_TOO_LARGE));
    assert_eq!(value::<i64>(bench.call(call("sum", &(1i64, 1i64))).await), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn arguments_and_results_have_limits_of_their_own() {
    let limited = |arguments, result| {
        Bench::with(KITCHEN, InstancePolicy::Singleton, move |spec| {
            (spec.limits.argument_bytes, spec.limits.result_bytes) = (arguments, result);
        })
    };
    let error = limited(3, 100).await.call(call("sum", &(1000i64, 1000i64))).await.unwrap_err();
    assert_eq!((error.outcome, error.code.as_str()), (Outcome::NotRun, code::PAYLOAD_TOO_LARGE));
    assert!(error.message.contains("max-arguments"), "{}", error.message);
    let error = limited(100, 1).await.call(call("sum", &(1000i64, 1000i64))).await.unwrap_err();
    assert_eq!((error.outcome, error.code.as_str()), (Outcome::Failed, code::PAYLOAD_TOO_LARGE));
    assert!(error.message.contains("max-result"), "{}", error.message);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_beyond_the_rate_are_told_when_to_come_again() {
    let mut bench = Bench::with(KITCHEN, InstancePolicy::Singleton, |spec| spec.limits.calls_per_second = 1).await;
    // The first one passes; a later one does where a second went by.
    let mut refused = None;
    while refused.is_none() {
        refused = bench.call(call("sum", &(1i64, 1i64))).await.err();
    }
    let error = refused.unwrap();
    assert_eq!((error.outcome, error.code.as_str(), error.retryable), (Outcome::NotRun, code::OVERLOADED, true));
    assert!(error.message.contains("1 calls in a second, its call-rate"), "{}", error.message);
    assert!(error.message.contains("try again in "), "{}", error.message);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_waits_in_the_queue_no_longer_than_its_queue_time() {
    let short = Duration::from_millis(20);
    let mut bench = Bench::with(KITCHEN, InstancePolicy::Singleton, |spec| spec.limits.queue_time = short).await;
    let first = bench.serve(call("relay", &1u32));
    let asked = bench.next_asked().await;
    let error = bench.call(call("sum", &(1i64, 1i64))).await.unwrap_err();
    assert_eq!((error.outcome, error.code.as_str(), error.retryable), (Outcome::NotRun, code::OVERLOADED, true));
    assert!(error.message.contains("it waited 20ms, the module's queue-time, for own, busy with"), "{}", error.message);
    asked.answer(&3u32);
    assert_eq!(value::<u32>(first.result().await), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_with_too_many_parts_is_told_which_limit_they_pass() {
    for (part, key) in [(0, "core-instances"), (1, "tables"), (2, "memories")] {
        let mut bench = Bench::with(KITCHEN, InstancePolicy::Singleton, |spec| {
            let limits = &mut spec.limits;
            *[&mut limits.core_instances, &mut limits.tables, &mut limits.memories][part] = 0;
        })
        .await;
        let error = bench.call(call("sum", &(1i64, 1i64))).await.unwrap_err();
        assert_eq!((error.outcome, error.code.as_str()), (Outcome::NotRun, code::INSTANTIATION_FAILED));
        assert!(error.message.ends_with(&format!("raise the module's {key}")), "{}", error.message);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_beyond_the_limit_is_named_in_the_error() {
    let mut bench = Bench::with(KITCHEN, InstancePolicy::Singleton, |spec| spec.limits.memory_bytes = 4 << 16).await;
    assert_eq!(value::<u32>(bench.call(call("grow", &3u32)).await), 4);
    let error = bench.call(call("grow", &1u32)).await.unwrap_err();
    assert_eq!((error.outcome, error.code.as_str()), (Outcome::Failed, code::LIMIT_EXCEEDED));
    assert!(error.message.contains("327680 bytes of memory and may have 262144"), "{}", error.message);
    assert_eq!(value::<u32>(bench.call(call("grow", &0u32)).await), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_is_too_large_from_the_start_cannot_be_made() {
    let mut bench = Bench::with(KITCHEN, InstancePolicy::Singleton, |spec| spec.limits.memory_bytes = 100).await;
    let error = bench.call(call("sum", &(1i64, 1i64))).await.unwrap_err();
    assert_eq!((error.outcome, error.code.as_str()), (Outcome::NotRun, code::INSTANTIATION_FAILED));
    assert!(error.message.contains("memory"), "{}", error.message);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stack_that_overflows_is_a_limit() {
    let mut bench = Bench::new(KITCHEN, InstancePolicy::Singleton).await;
    let error = bench.call(call("recurse", &0u32)).await.unwrap_err();
    assert_eq!((error.outcome, error.code.as_str()), (Outcome::Failed, code::LIMIT_EXCEEDED));
    assert!(error.message.contains("stack"), "{}", error.message);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_loop_is_stopped_at_the_deadline_of_a_pool() {
    let mut bench = Bench::new(KITCHEN, InstancePolicy::Pool(1)).await;
    let error = bench.call(call("spin", &()).timeout(Duration::from_millis(30))).await.unwrap_err();
    assert_eq!((error.outcome, error.code.as_str()), (Outcome::Failed, code::DEADLINE_EXCEEDED));
    assert!(error.trace.unwrap().contains("wasm backtrace"));
    assert_eq!(value::<i64>(bench.call(call("sum", &(1i64, 1i64))).await), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_singleton_runs_on_past_the_deadline_and_is_stopped_at_max_call_time() {
    let max = Duration::from_millis(600);
    let mut bench = Bench::with(KITCHEN, InstancePolicy::Singleton, |spec| spec.limits.max_call_time = max).await;
    let started = std::time::Instant::now();
    let error = bench.call(call("spin", &()).timeout(Duration::from_millis(30))).await.unwrap_err();
    assert_eq!((error.outcome, error.code.as_str()), (Outcome::Unknown, code::DEADLINE_EXCEEDED));
    assert!(started.elapsed() < max);
    // The next call waits for the instance that spins, and gets a new one.
    assert_eq!(value::<u32>(bench.call(call("count", &())).await), 1);
    assert!(started.elapsed() >= max);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_meets_max_call_time_before_its_deadline_says_so() {
    let max = Duration::from_millis(30);
    let mut bench = Bench::with(KITCHEN, InstancePolicy::PerCall, |spec| spec.limits.max_call_time = max).await;
    let error = bench.call(call("spin", &())).await.unwrap_err();
    assert_eq!((error.outcome, error.code.as_str()), (Outcome::Failed, code::LIMIT_EXCEEDED));
    assert!(error.message.contains("max-call-time"), "{}", error.message);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_over_the_payload_limit_fails_its_call_and_the_instance_lives_on() {
    let mut bench = Bench::with(KITCHEN, InstancePolicy::Singleton, |spec| spec.limits.payload_bytes = 1).await;
    for _ in 0..126 {
        assert!(bench.call(call("count", &())).await.is_ok());
    }
    assert_eq!(value::<u32>(bench.call(call("count", &())).await), 127);
    let error = bench.call(call("count", &())).await.unwrap_err();
    assert_eq!((error.outcome, error.code.as_str()), (Outcome::Failed, code::PAYLOAD_TOO_LARGE));
    let error = bench.call(call("count", &())).await.unwrap_err();
    assert_eq!(error.code, code::PAYLOAD_TOO_LARGE);
}

#[tokio::test(flavor = "multi_thread")]
async fn table_elements_beyond_the_limit_are_named_in_the_error() {
    let mut bench = Bench::with(KITCHEN, InstancePolicy::Singleton, |spec| spec.limits.table_elements = 10).await;
    assert_eq!(value::<u32>(bench.call(call("grow-table", &10u32)).await), 10);
    let error = bench.call(call("grow-table", &1u32)).await.unwrap_err();
    assert_eq!((error.outcome, error.code.as_str()), (Outcome::Failed, code::LIMIT_EXCEEDED));
    assert!(error.message.contains("11 table elements and may have 10"), "{}", error.message);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_hoards_handles_is_ended() {
    let mut bench = Bench::with(CLOCKS, InstancePolicy::Singleton, |spec| spec.limits.host_handles = 50).await;
    assert!(bench.call(call("hoard", &10u32)).await.is_ok());
    let error = bench.call(call("hoard", &50u32)).await.unwrap_err();
    assert_eq!(error.outcome, Outcome::Failed);
    assert!(bench.call(call("hoard", &10u32)).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn modules_of_a_tenant_share_the_handles_of_wasi_and_an_instance_that_ends_gives_its_own_back() {
    let limits = CeilingLimits { handles: Some(50), ..CeilingLimits::default() };
    let ceiling = Arc::new(Ceiling::new(TenantName::default(), limits));
    let module = || Bench::with(CLOCKS, InstancePolicy::Singleton, |spec| spec.ceiling = ceiling.clone());
    let (mut one, mut other) = (module().await, module().await);
    // Each pollable is two handles of the host, itself and its time.
    assert!(one.call(call("hoard", &10u32)).await.is_ok() && other.call(call("hoard", &10u32)).await.is_ok());
    let error = one.call(call("hoard", &10u32)).await.unwrap_err();
    assert_eq!((error.outcome, error.code.as_str()), (Outcome::Failed, code::LIMIT_EXCEEDED));
    assert!(error.message.contains("tenant default may have 50 handles"), "{}", error.message);
    // What is dropped is given back while the instance lives.
    for _ in 0..100 {
        assert!(other.call(call("sleep", &1u64)).await.is_ok());
    }
    assert!(other.call(call("hoard", &13u32)).await.is_ok() && other.call(call("hoard", &3u32)).await.is_err());
    assert!(one.call(call("hoard", &20u32)).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_waits_in_the_host_is_stopped_too() {
    let mut bench = Bench::new(CLOCKS, InstancePolicy::PerCall).await;
    let hour_ns = 3_600_000_000_000u64;
    let error = bench.call(call("sleep", &hour_ns).timeout(Duration::from_millis(20))).await.unwrap_err();
    assert_eq!((error.outcome, error.code.as_str()), (Outcome::Failed, code::DEADLINE_EXCEEDED));
    assert!(bench.call(call("sleep", &1_000_000u64)).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn random_bytes_beyond_the_limit_are_refused() {
    let text = r#"(component
      (import "wasi:random/random@0.2.3" (instance $random
        (export "get-random-bytes" (func (param "len" u64) (result (list u8))))))
      (core module $libc
        (memory (export "memory") 32)
        (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024)))
      (core instance $libc (instantiate $libc))
      (core func $random (canon lower
        (func $random "get-random-bytes") (memory $libc "memory") (realloc (func $libc "realloc"))))
      (core module $m
        (import "host" "random" (func $random (param i64 i32)))
        (func (export "random") (param i64) (call $random (local.get 0) (i32.const 16))))
      (core instance $i (instantiate $m (with "host" (instance (export "random" (func $random))))))
      (func (export "random") (param "bytes" u64) (canon lift (core func $i "random"))))"#;
    let mut bench = Bench::new(text, InstancePolicy::Singleton).await;
    assert!(bench.call(call("random", &(1u64 << 20))).await.is_ok());
    let error = bench.call(call("random", &((1u64 << 20) + 1))).await.unwrap_err();
    assert_eq!((error.outcome, error.code.as_str()), (Outcome::Failed, code::TRAP));
    assert!(error.message.contains("exceeds limit 1048576"), "{}", error.message);
}
