//! What all callers share: the job from the environment, the clock, and the lines on stdout.

use std::time::{Duration, Instant};

#[allow(dead_code)] // streams are told otherwise
pub enum Op {
    Sum,
    Echo,
    /// One record of ten fields.
    Record,
    /// A list of a thousand of these.
    Records,
    /// Computes for ever, and calls nobody.
    Spin,
}

#[allow(dead_code)] // no caller needs all of it
pub struct Job {
    pub op: Op,
    pub payload_bytes: usize,
    pub in_flight: usize,
    pub calls: u64,
    pub warm_up: u64,
}

/// A number from the environment.
pub fn number(name: &str) -> u64 {
    let text = std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: pass --env {name}=N"));
    text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number"))
}

#[allow(dead_code)] // streams are told otherwise
impl Job {
    pub fn from_env() -> Self {
        let op = match std::env::var("OP").as_deref() {
            Ok("sum") => Op::Sum,
            Ok("echo") => Op::Echo,
            Ok("record") => Op::Record,
            Ok("records") => Op::Records,
            Ok("spin") => Op::Spin,
            other => panic!("OP is {other:?}: pass --env OP=sum|echo|record|records|spin"),
        };
        Job {
            op,
            payload_bytes: number("PAYLOAD_BYTES") as usize,
            in_flight: number("IN_FLIGHT") as usize,
            calls: number("CALLS"),
            warm_up: number("WARM_UP"),
        }
    }
}

pub fn now() -> Instant {
    Instant::now()
}

pub fn nanos(since: Instant) -> u64 {
    since.elapsed().as_nanos() as u64
}

pub fn warm() {
    println!("warm");
}

pub fn done(total_ns: u64, mut latencies_ns: Vec<u64>) {
    println!("done");
    latencies_ns.sort_unstable();
    let calls = latencies_ns.len();
    let (p50, p99) = (latencies_ns[calls * 50 / 100], latencies_ns[calls * 99 / 100]);
    println!("{{\"total_ns\":{total_ns},\"calls\":{calls},\"p50_ns\":{p50},\"p99_ns\":{p99}}}");
    // Who measures reads this process's CPU time at `done`, ends it when he has the line, and must find it there.
    std::thread::sleep(Duration::from_secs(10));
}
