//! Streams between two ends: random schedules over a link that may break, and the rules one by one.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "the helpers of tests may fail as tests do")]

#[path = "streams/pair.rs"]
mod pair;
#[path = "streams/peers.rs"]
mod peers;
#[path = "streams/schedules.rs"]
mod schedules;
