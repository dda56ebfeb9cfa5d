//! How long something takes: the quickest of several rounds, which others disturbed least.

use std::time::{Duration, Instant};

/// Least and most rounds of one measurement.
const ROUNDS: (usize, usize) = (3, 100);

/// After so long no further round begins.
const ENOUGH: Duration = Duration::from_millis(100);

/// Measures the parts of a round that count.
#[derive(Default)]
pub struct Watch {
    spent: Duration,
    operations: usize,
}

impl Watch {
    /// Runs something that counts as so many operations.
    pub fn time<T>(&mut self, operations: usize, run: impl FnOnce() -> T) -> T {
        let began = Instant::now();
        let result = run();
        self.spent += began.elapsed();
        self.operations += operations;
        result
    }

    /// Nanoseconds of an operation.
    pub fn each(&self) -> f64 {
        self.spent.as_nanos() as f64 / self.operations.max(1) as f64
    }
}

/// Nanoseconds of an operation, in the round in which it took least.
///
/// # Errors
/// What a round gives.
pub fn quickest(mut round: impl FnMut(&mut Watch) -> anyhow::Result<()>) -> anyhow::Result<f64> {
    let began = Instant::now();
    let mut least = f64::INFINITY;
    for number in 0..ROUNDS.1 {
        if number >= ROUNDS.0 && began.elapsed() > ENOUGH {
            break;
        }
        let mut watch = Watch::default();
        round(&mut watch)?;
        least = least.min(watch.each());
    }
    Ok(least)
}
