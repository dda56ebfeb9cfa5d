//! What guests have open to others is bounded, and given back.

use daffi_proto::error::{Outcome, code};

use super::world::{CHECKED, DYNAMIC};
use super::{Bench, call, value};
use crate::guest::limits::InstancePolicy;

/// `flood` begins so many calls with so many bytes each, and waits for ever; `hoard` makes so many sets to wait in.
const FLOOD: &str = r#"
(component
  (import "test:peer/api" (instance $peer
    (export "take" (func async (param "bytes" (list u8)) (result u32)))))
  (core module $libc (memory (export "memory") 1))
  (core instance $libc (instantiate $libc))
  (core func $take (canon lower (func $peer "take") async (memory $libc "memory")))
  (core func $new-set (canon waitable-set.new))
  (core func $return (canon task.return))
  (core module $m
    (import "host" "take" (func $take (param i32 i32 i32) (result i32)))
    (import "host" "new-set" (func $new-set (result i32)))
    (import "host" "return" (func $return))
    (func (export "flood") (param $calls i32) (param $bytes i32) (result i32)
      (loop
        (drop (call $take (i32.const 8) (local.get $bytes) (i32.const 0)))
        (local.set $calls (i32.sub (local.get $calls) (i32.const 1)))
        (br_if 0 (local.get $calls)))
      (i32.or (i32.shl (call $new-set) (i32.const 4)) (i32.const 2)))
    (func (export "hoard") (param $sets i32) (result i32)
      (loop
        (drop (call $new-set))
        (local.set $sets (i32.sub (local.get $sets) (i32.const 1)))
        (br_if 0 (local.get $sets)))
      (call $return)
      (i32.const 0))
    (func (export "never") (param i32 i32 i32) (result i32) unreachable))
  (core instance $i (instantiate $m (with "host" (instance
    (export "take" (func $take)) (export "new-set" (func $new-set)) (export "return" (func $return))))))
  (func (export "flood") async (param "calls" u32) (param "bytes" u32)
    (canon lift (core func $i "flood") async (callback (func $i "never"))))
  (func (export "hoard") async (param "sets" u32)
    (canon lift (core func $i "hoard") async (callback (func $i "never")))))
"#;

/// Waits for so many calls, all of which are open when the last one comes.
async fn all_open(bench: &mut Bench, calls: usize) {
    let mut asked = Vec::new();
    for _ in 0..calls {
        asked.push(bench.next_asked().await);
    }
    assert!(asked.iter().all(|asked| !asked.is_abandoned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_beyond_those_that_a_module_may_have_open_does_not_run() {
    let mut bench = Bench::with(CHECKED, InstancePolicy::Pool(3), |spec| spec.limits.open_calls = 2).await;
    let first = bench.serve(call("relay", &1u32));
    let asked = bench.next_asked().await;
    let _second = bench.serve(call("relay", &2u32));
    let _open = bench.next_asked().await;
    let not_run = 1000;
    assert_eq!(value::<u32>(bench.call(call("relay", &3u32)).await), not_run);
    asked.answer(&Ok::<u32, ()>(7));
    assert_eq!(value::<u32>(first.result().await), 7);
    let third = bench.serve(call("relay", &3u32));
    bench.next_asked().await.answer(&Ok::<u32, ()>(8));
    assert_eq!(value::<u32>(third.result().await), 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dynamic_call_counts_from_when_its_callback_is_looked_up() {
    let mut bench = Bench::with(DYNAMIC, InstancePolicy::Pool(2), |spec| spec.limits.open_calls = 1).await;
    let _first = bench.serve(call("dynamic", &("sum", "[1, 2]", 60_000u64)));
    let _looked_up = bench.next_question().await;
    let result = bench.call(call("dynamic", &("sum", "[1, 2]", 60_000u64))).await;
    assert_eq!(value::<String>(result), code::OVERLOADED);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_calls_ends_at_the_limit_and_gives_all_places_back() {
    let mut bench = Bench::with(FLOOD, InstancePolicy::Singleton, |spec| spec.limits.open_calls = 10).await;
    for _ in 0..3 {
        let error = bench.call(call("flood", &(11u32, 1u32))).await.unwrap_err();
        assert_eq!((error.outcome, error.code.as_str()), (Outcome::Failed, code::TRAP));
        assert!(error.message.contains("own has 10 calls of its own open"), "{}", error.message);
        for _ in 0..10 {
            assert!(bench.next_asked().await.is_abandoned());
        }
    }
    let _open = bench.serve(call("flood", &(10u32, 1u32)));
    all_open(&mut bench, 10).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_bytes_ends_at_four_payloads() {
    let mut bench = Bench::with(FLOOD, InstancePolicy::Singleton, |spec| spec.limits.payload_bytes = 1000).await;
    // Two bytes of each are the length.
    let error = bench.call(call("flood", &(5u32, 998u32))).await.unwrap_err();
    assert!(error.message.contains("more than 4000 bytes"), "{}", error.message);
    for _ in 0..4 {
        assert!(bench.next_asked().await.is_abandoned());
    }
    let _open = bench.serve(call("flood", &(4u32, 998u32)));
    all_open(&mut bench, 4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn handles_of_an_instances_own_are_bounded_too() {
    let mut bench = Bench::with(FLOOD, InstancePolicy::Singleton, |spec| {
        spec.limits.host_handles = 50;
        spec.limits.async_calls = 1;
        spec.limits.open_calls = 1;
    })
    .await;
    assert!(bench.call(call("hoard", &40u32)).await.is_ok());
    let error = bench.call(call("hoard", &40u32)).await.unwrap_err();
    assert_eq!((error.outcome, error.code.as_str()), (Outcome::Failed, code::LIMIT_EXCEEDED));
    assert!(error.message.contains("handles"), "{}", error.message);
    assert!(bench.call(call("hoard", &40u32)).await.is_ok());
}
