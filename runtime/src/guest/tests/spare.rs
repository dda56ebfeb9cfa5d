//! Instances of `per-call` modules that are made before they are called.

use std::sync::Arc;
use std::time::{Duration, Instant};

use daffi_proto::error::{Outcome, code};
use daffi_proto::id::TenantName;

use super::world::KITCHEN;
use super::{Bench, LONG, call, value};
use crate::guest::ceiling::{Ceiling, CeilingLimits};
use crate::guest::limits::InstancePolicy;

/// `age` says how many nanoseconds ago its instance was made.
const AGE: &str = r#"(component
  (import "wasi:clocks/monotonic-clock@0.2.3" (instance $clock (export "now" (func (result u64)))))
  (core func $now (canon lower (func $clock "now")))
  (core module $m
    (import "host" "now" (func $now (result i64)))
    (global $made (mut i64) (i64.const 0))
    (func $start (global.set $made (call $now)))
    (func (export "age") (result i64) (i64.sub (call $now) (global.get $made)))
    (start $start))
  (core instance $i (instantiate $m (with "host" (instance (export "now" (func $now))))))
  (func (export "age") (result u64) (canon lift (core func $i "age"))))"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_call_has_an_instance_that_was_made_behind_the_one_before_and_that_nobody_called() {
    let mut bench = Bench::new(AGE, InstancePolicy::PerCall).await;
    let began = Instant::now();
    // A machine that is busy with other things may make a call look long, behind which none is made.
    loop {
        let asked = Instant::now();
        let age = Duration::from_nanos(value(bench.call(call("age", &())).await));
        if age > asked.elapsed() {
            break;
        }
        assert!(began.elapsed() < LONG);
        tokio::task::yield_now().await;
    }
    let mut bench = Bench::new(KITCHEN, InstancePolicy::PerCall).await;
    for _ in 0..100 {
        assert_eq!(value::<u32>(bench.call(call("count", &())).await), 1);
        tokio::task::yield_now().await;
    }
    // Nobody calls it any more.
    tokio::time::timeout(LONG, bench.loads.wait_for(|load| load.instances == 0)).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn no_spare_instance_has_what_another_module_of_its_tenant_needs() {
    let one_of_each = [
        CeilingLimits { instances: Some(1), ..CeilingLimits::default() },
        CeilingLimits { memory_bytes: Some(1 << 16), ..CeilingLimits::default() },
        CeilingLimits { concurrency: Some(1), ..CeilingLimits::default() },
    ];
    for limits in one_of_each {
        let ceiling = Arc::new(Ceiling::new(TenantName::default(), limits));
        let module = || Bench::with(KITCHEN, InstancePolicy::PerCall, |spec| spec.ceiling = ceiling.clone());
        let mut both = [module().await, module().await];
        for _ in 0..20 {
            for bench in &mut both {
                assert_eq!(value::<u32>(bench.call(call("count", &())).await), 1, "{limits:?}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_that_is_shut_down_leaves_no_spare_instance() {
    for _ in 0..20 {
        let ceiling = Arc::new(Ceiling::none(TenantName::default()));
        let mut bench = Bench::with(KITCHEN, InstancePolicy::PerCall, |spec| spec.ceiling = ceiling.clone()).await;
        assert_eq!(value::<u32>(bench.call(call("count", &())).await), 1);
        bench.module.shutdown().await;
        drop(bench);
        // Each instance holds it.
        let began = Instant::now();
        while Arc::strong_count(&ceiling) > 1 {
            assert!(began.elapsed() < LONG);
            tokio::task::yield_now().await;
        }
    }
}

/// Its start is over at once, traps, or never ends, as the clock has it.
const MOODY: &str = r#"(component
  (import "wasi:clocks/monotonic-clock@0.2.3" (instance $clock (export "now" (func (result u64)))))
  (core func $now (canon lower (func $clock "now")))
  (core module $m
    (import "host" "now" (func $now (result i64)))
    (func $start (local $mood i64)
      (local.set $mood (i64.rem_u (call $now) (i64.const 8)))
      (if (i64.eq (local.get $mood) (i64.const 0)) (then (loop $forever (br $forever))))
      (if (i64.eq (local.get $mood) (i64.const 1)) (then unreachable)))
    (func (export "fine") (result i32) (i32.const 1))
    (start $start))
  (core instance $i (instantiate $m (with "host" (instance (export "now" (func $now))))))
  (func (export "fine") (result u32) (canon lift (core func $i "fine"))))"#;

#[tokio::test(flavor = "multi_thread")]
async fn instances_whose_start_traps_or_never_ends_leave_their_seats() {
    let mut bench = Bench::with(MOODY, InstancePolicy::PerCall, |spec| {
        // Two that stay would be all.
        spec.limits.concurrency = 2;
        spec.limits.max_call_time = Duration::from_millis(10);
    })
    .await;
    let (began, mut served) = (Instant::now(), 0);
    while served < 200 {
        assert!(began.elapsed() < LONG);
        match bench.call(call("fine", &())).await {
            Ok(_) => served += 1,
            // Of the instance that was made for this call.
            Err(error) => assert_eq!((error.outcome, &*error.code), (Outcome::NotRun, code::INSTANTIATION_FAILED)),
        }
    }
    tokio::time::timeout(LONG, bench.loads.wait_for(|load| load.instances == 0)).await.unwrap().unwrap();
}
