//! Many calls of all kinds at once: whatever happens to them, each ends once, and nothing is left over.

use std::time::Duration;

use daffi_proto::error::{CallError, code};

use super::world::{ASYNC, KITCHEN};
use super::{Bench, LONG, Served, call};
use crate::guest::limits::{InstancePolicy, OnCancel};

const CALLS: usize = 400;

/// A small generator of numbers that look random and are the same in each run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

async fn storm(text: &str, policy: InstancePolicy, on_cancel: Option<OnCancel>, seed: u64) {
    let mut bench = Bench::with(text, policy, |spec| {
        spec.on_cancel = on_cancel;
        spec.limits.queue = 16;
        spec.limits.concurrency = 4;
        spec.limits.async_calls = 4;
        spec.limits.max_call_time = Duration::from_millis(100);
    })
    .await;
    let mut dice = Dice(seed);
    let mut open: Vec<Served> = Vec::new();
    let mut answered = 0;
    for _ in 0..CALLS {
        let timeout = Duration::from_millis(1 + dice.below(60));
        let call = match dice.below(10) {
            0 => call("trap", &()),
            1 => call("spin", &()),
            2..=5 => call("relay", &1u32),
            6 => call("sum", &()).raw(b"\xff\xff"),
            _ => call("sum", &(1i64, 2i64)),
        };
        match bench.serve(call.timeout(timeout)) {
            Served::AtOnce(_) => answered += 1,
            later => open.push(later),
        }
        while let Ok(asked) = bench.asked.try_recv() {
            match dice.below(3) {
                0 => asked.fail(CallError::unknown(code::LINK_LOST, "the link broke", "test:peer/api#ask")),
                1 => asked.answer(&1u32),
                // Nobody ever answers this one.
                _ => drop(tokio::spawn(asked.abandoned())),
            }
        }
        if !open.is_empty() && dice.below(4) == 0 {
            let at = dice.below(open.len() as u64) as usize;
            bench.cancel(&open[at]);
        }
        if dice.below(8) == 0 {
            tokio::task::yield_now().await;
        }
    }
    for mut served in open {
        served.end().await;
        answered += 1;
    }
    assert_eq!(answered, CALLS);
    let idle = bench.loads.wait_for(|load| load.in_flight == 0);
    tokio::time::timeout(LONG, idle).await.unwrap().unwrap();
    assert_eq!(bench.in_flight(), 0);
    tokio::time::timeout(LONG, bench.module.shutdown()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_of_a_storm_is_answered_once_by_synchronous_components() {
    for (seed, policy) in
        [InstancePolicy::Singleton, InstancePolicy::Pool(3), InstancePolicy::PerCall].into_iter().enumerate()
    {
        for on_cancel in [None, Some(OnCancel::Kill), Some(OnCancel::Finish)] {
            storm(KITCHEN, policy, on_cancel, seed as u64).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_of_a_storm_is_answered_once_by_components_whose_calls_interleave() {
    for (seed, policy) in
        [InstancePolicy::Singleton, InstancePolicy::Pool(3), InstancePolicy::PerCall].into_iter().enumerate()
    {
        for on_cancel in [None, Some(OnCancel::Kill), Some(OnCancel::Finish)] {
            storm(ASYNC, policy, on_cancel, seed as u64).await;
        }
    }
}
