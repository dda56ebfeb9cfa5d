//! Many calls on the way at a time, each timed by the guest's own clock. See `bench/README.md` for the lines that it
//! prints.

#[path = "../../measure.rs"]
mod measure;

wit_bindgen::generate!({ path: "../wit", world: "caller-async", generate_all });

use daffi::bench::ops_async as ops;
use futures::stream::{FuturesUnordered, StreamExt};
use measure::{Job, Op};

struct Caller;

async fn one(job: &Job, payload: &[u8], i: u64) -> u64 {
    let sent = measure::now();
    match job.op {
        Op::Sum => assert_eq!(ops::sum(i as i64 & 63, 1).await, (i as i64 & 63) + 1),
        Op::Echo => assert_eq!(ops::echo(payload.to_vec()).await.len(), payload.len()),
        Op::Record | Op::Records | Op::Spin => panic!("OP is sum or echo for this caller"),
    }
    measure::nanos(sent)
}

/// Keeps `in_flight` calls on the way until `calls` have been answered.
async fn drive(job: &Job, payload: &[u8], calls: u64) -> Vec<u64> {
    let mut latencies = Vec::with_capacity(calls as usize);
    let mut on_the_way = FuturesUnordered::new();
    let mut next = 0..calls;
    on_the_way.extend(next.by_ref().take(job.in_flight).map(|i| one(job, payload, i)));
    while let Some(latency) = on_the_way.next().await {
        latencies.push(latency);
        on_the_way.extend(next.next().map(|i| one(job, payload, i)));
    }
    latencies
}

impl exports::wasi::cli0_3_0::run::Guest for Caller {
    async fn run() -> Result<(), ()> {
        let job = Job::from_env();
        let payload = vec![7u8; job.payload_bytes];
        drive(&job, &payload, job.warm_up).await;
        measure::warm();
        let started = measure::now();
        let latencies = drive(&job, &payload, job.calls).await;
        measure::done(measure::nanos(started), latencies);
        Ok(())
    }
}

export!(Caller);
