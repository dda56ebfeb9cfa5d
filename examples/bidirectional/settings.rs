//! What the environment says about the loops, for all four guests.

use std::time::Duration;

/// How often each calls the other: `ROUNDS`, ten by default.
pub fn rounds() -> i64 {
    number("ROUNDS").unwrap_or(10)
}

/// How long each waits after a call: `PAUSE_MS`, a second by default.
pub fn pause() -> Duration {
    Duration::from_millis(number("PAUSE_MS").unwrap_or(1000))
}

/// How long each waits for the other to come.
pub const PATIENCE: Duration = Duration::from_secs(30);

fn number<T: std::str::FromStr>(name: &str) -> Option<T> {
    std::env::var(name).ok()?.parse().ok()
}
