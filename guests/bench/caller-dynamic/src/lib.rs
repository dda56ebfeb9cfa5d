//! Calls by name, from a guest without async: BG with many on the way, and BROADCAST. See `bench/README.md` for the lines
//! that it prints.

#[path = "../../measure.rs"]
mod measure;

wit_bindgen::generate!({
    path: ["../../../wit", "../wit/deps/wasi-cli-02", "wit"],
    world: "daffi:bench-dynamic/caller-dynamic",
    additional_derives: [PartialEq],
    // They hold handles.
    additional_derives_ignore: ["streams", "replied"],
    generate_all,
});

use std::collections::VecDeque;
use std::time::Instant;

use daffi::runtime::call::{self, Pending};
use daffi::runtime::mesh;
use daffi::runtime::types::Value;
use measure::Job;

const SUM: &str = "daffi:bench/ops#sum";

struct Caller;

impl exports::wasi::cli::run::Guest for Caller {
    fn run() -> Result<(), ()> {
        let job = Job::from_env();
        let drive = match std::env::var("MODIFIER").as_deref() {
            Ok("bg") => background,
            Ok("broadcast") => broadcast,
            other => panic!("MODIFIER is {other:?}: pass --env MODIFIER=bg or --env MODIFIER=broadcast"),
        };
        let receivers = std::env::var("RECEIVERS").expect("RECEIVERS is set: the names of those who answer");
        for receiver in receivers.split(',') {
            mesh::wait_process(receiver, 60_000).expect("it comes");
        }
        drive(&job, job.warm_up);
        measure::warm();
        let started = measure::now();
        let latencies = drive(&job, job.calls);
        measure::done(measure::nanos(started), latencies);
        Ok(())
    }
}

/// Keeps `in_flight` calls on the way until `calls` have been answered; the oldest is waited for.
fn background(job: &Job, calls: u64) -> Vec<u64> {
    let begin = |i: u64| -> (Instant, u64, Pending) {
        let sent = measure::now();
        (sent, i, call::bg(SUM, &arguments(i), None).expect("it is on its way"))
    };
    let mut next = 0..calls;
    let mut on_the_way: VecDeque<_> = next.by_ref().take(job.in_flight).map(begin).collect();
    let mut latencies = Vec::with_capacity(calls as usize);
    while let Some((sent, i, pending)) = on_the_way.pop_front() {
        let answer = pending.wait().expect("it is answered");
        latencies.push(measure::nanos(sent));
        assert_eq!(answer, sum(i));
        on_the_way.extend(next.next().map(begin));
    }
    latencies
}

/// One broadcast after another.
fn broadcast(_: &Job, calls: u64) -> Vec<u64> {
    let one = |i: u64| {
        let sent = measure::now();
        let entries = call::broadcast(SUM, &arguments(i), None).expect("somebody is there");
        let latency = measure::nanos(sent);
        for entry in entries {
            assert_eq!(entry.answer.expect("it is answered"), sum(i));
        }
        latency
    };
    (0..calls).map(one).collect()
}

/// The call number `i`: a small number and 1, as postcard has them.
fn arguments(i: u64) -> Value {
    Value::Postcard(vec![zigzag(i & 31), zigzag(1)])
}

/// What comes of it.
fn sum(i: u64) -> Value {
    Value::Postcard(vec![zigzag((i & 31) + 1)])
}

fn zigzag(small: u64) -> u8 {
    (small as u8) << 1
}

export!(Caller);
