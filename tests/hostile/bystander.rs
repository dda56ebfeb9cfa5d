//! Somebody honest, who calls on while others do harm: his calls must all succeed, and how long they took is recorded.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use daffi_proto::id::NodeKey;
use daffi_proto::session::Role;

use crate::cluster::Cluster;

/// His two servers: a module beside the attackers', and a process of another runtime.
pub const SERVERS: [&str; 2] = ["neighbour", "far"];

/// A callback without parameters, whose result is the name of the process.
const WHO: &str = "fixtures:guest/sandbox@0.1.0#who";

/// Somebody who calls on, in a thread and over a link of his own, until he is stopped.
pub struct Bystander {
    stop: Arc<AtomicBool>,
    /// How often he has had an answer of each of his servers.
    rounds: Arc<AtomicUsize>,
    thread: JoinHandle<Vec<Duration>>,
}

impl Bystander {
    /// Begins to call: when this returns he has had an answer of each.
    pub fn start(cluster: &Cluster) -> Self {
        let mut peer = cluster.peer().joined(Role::Client, NodeKey([0; 16]));
        let mut round = move || {
            SERVERS.map(|server| {
                let target = peer.target(server, WHO);
                let start = Instant::now();
                let answer = peer.call(target, Bytes::new());
                let took = start.elapsed();
                let name = answer.unwrap_or_else(|error| panic!("{server}: {}", String::from_utf8_lossy(&error)));
                assert!(name.ends_with(server.as_bytes()), "{server} answered {name:?}");
                took
            })
        };
        round();
        let stop = Arc::new(AtomicBool::new(false));
        let rounds = Arc::new(AtomicUsize::new(0));
        let (stopped, had) = (stop.clone(), rounds.clone());
        let thread = std::thread::spawn(move || {
            let mut took = Vec::new();
            // The last round begins after the attack has ended: what that left behind does not harm him either.
            loop {
                let last = stopped.load(Ordering::Relaxed);
                took.extend(round());
                had.fetch_add(1, Ordering::Relaxed);
                if last {
                    return took;
                }
            }
        });
        Self { stop, rounds, thread }
    }

    /// Whether a whole round of calls was made, from first to last, while this was done; and what it gave.
    pub fn beside<T>(&self, what: impl FnOnce() -> T) -> (bool, T) {
        let before = self.rounds.load(Ordering::Relaxed);
        let result = what();
        // The first that ended in this time may have begun before it.
        (self.rounds.load(Ordering::Relaxed) >= before + 2, result)
    }

    /// Stops him, checks that all his calls succeeded, and tells how long they took.
    pub fn stop(self) -> Latency {
        self.stop.store(true, Ordering::Relaxed);
        let mut took = self.thread.join().expect("a call of the bystander failed");
        took.sort_unstable();
        let at = |share: usize| took.get((took.len() * share / 100).min(took.len() - 1)).copied().unwrap_or_default();
        Latency { calls: took.len(), p50: at(50), p99: at(99) }
    }
}

/// How long his calls took.
pub struct Latency {
    pub calls: usize,
    pub p50: Duration,
    pub p99: Duration,
}
