//! Which calls run in the driver's task, and which on the workers.

use std::time::Instant;

use super::world::KITCHEN;
use super::{Bench, LONG, call, value};
use crate::guest::limits::InstancePolicy;

/// `fill-and-ask` fills a memory in one instruction, which takes milliseconds and which nothing interrupts, and then
/// waits for another process; `nothing` does nothing. With `(start $fill)` each instance fills its memory first.
fn filler(start: &str) -> String {
    format!(
        r#"(component
          (import "test:peer/api" (instance $peer (export "ask" (func (param "x" u32) (result u32)))))
          (core func $ask (canon lower (func $peer "ask")))
          (core module $m
            (import "peer" "ask" (func $ask (param i32) (result i32)))
            (memory 2000)
            (func $fill (memory.fill (i32.const 0) (i32.const 1) (i32.const 131072000)))
            (func (export "fill-and-ask") (call $fill) (drop (call $ask (i32.const 1))))
            (func (export "nothing"))
            {start})
          (core instance $i (instantiate $m (with "peer" (instance (export "ask" (func $ask))))))
          (func (export "fill-and-ask") (canon lift (core func $i "fill-and-ask")))
          (func (export "nothing") (canon lift (core func $i "nothing"))))"#
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_call_is_answered_in_the_drivers_own_task() {
    let mut bench = Bench::new(KITCHEN, InstancePolicy::Singleton).await;
    assert_eq!(value::<i64>(bench.call(call("sum", &(5i64, 15i64))).await), 20);
    // A machine that is busy with other things may make one call look long, which keeps the next ones out for a while.
    let began = Instant::now();
    loop {
        let served = bench.serve(call("sum", &(-1i64, 1i64)));
        let at_once = served.is_at_once();
        assert_eq!(value::<i64>(served.result().await), 0);
        if at_once {
            return;
        }
        assert!(began.elapsed() < LONG);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_call_moves_to_the_workers_and_the_next_ones_go_there_straight() {
    let mut bench = Bench::new(KITCHEN, InstancePolicy::Singleton).await;
    assert!(bench.call(call("count", &())).await.is_ok());
    let long = bench.serve(call("work", &200_000_000u32));
    assert!(!long.is_at_once());
    assert!(long.result().await.is_ok());
    assert!(!bench.serve(call("sum", &(1i64, 1i64))).is_at_once());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_took_long_before_it_waits_keeps_the_next_ones_out_at_once() {
    let mut bench = Bench::new(&filler(""), InstancePolicy::Pool(2)).await;
    // Two instances, which are made on the workers and kept.
    let both = [bench.serve(call("fill-and-ask", &())), bench.serve(call("fill-and-ask", &()))];
    for _ in 0..2 {
        bench.next_asked().await.answer(&1u32);
    }
    for served in both {
        assert!(served.result().await.is_ok());
    }
    cool(&mut bench).await;
    let waiting = bench.serve(call("fill-and-ask", &()));
    assert!(!waiting.is_at_once());
    assert!(!bench.serve(call("nothing", &())).is_at_once());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_takes_long_to_make_keeps_the_next_ones_out() {
    let mut bench = Bench::new(&filler("(start $fill)"), InstancePolicy::PerCall).await;
    assert!(bench.call(call("nothing", &())).await.is_ok());
    assert!(!bench.serve(call("nothing", &())).is_at_once());
}

/// Waits until calls run in the driver's task again.
async fn cool(bench: &mut Bench) {
    let began = Instant::now();
    loop {
        let served = bench.serve(call("nothing", &()));
        if served.is_at_once() {
            return;
        }
        assert!(served.result().await.is_ok() && began.elapsed() < LONG);
    }
}
