//! The worker: its callback takes its time.

use std::time::Duration;

wit_bindgen::generate!({ world: "worker", path: "../wit" });

struct Worker;

impl exports::demo::background::numbers::Guest for Worker {
    fn fibonacci(n: u32) -> u64 {
        let (mut this, mut next) = (0u64, 1u64);
        for _ in 0..n {
            // As if each step were hard work.
            std::thread::sleep(Duration::from_millis(10));
            (this, next) = (next, this.wrapping_add(next));
        }
        this
    }
}

export!(Worker);
