//! What must hold for any bytes: one module a fuzz target, each with a `run` that panics where it does not hold.
//!
//! | target | its input is | what must hold |
//! |---|---|---|
//! | [`frames`] | what comes from a socket | frames or an error; a frame that was read is written and read again the same |
//! | [`values`] | a type, and bytes of it | every reader takes the same bytes; each text of a value reads back as the value |
//! | [`texts`] | a type, and JSON or WAVE of it | what a text was read as passes the checks, and is written and read again the same |
//! | [`journal`] | a journal of scheduled tasks, or entries of one | they go into their table or are refused; torn ends are passed over, damage is seen |
//! | [`controller`] | what three peers say to a controller | it comes to rest, says nothing over a closed link, and ends with nothing left |
//! | [`node`] | what its controller and its user say to a node | the same |
//!
//! `run.sh` fuzzes them. What it found before is in `corpus/`, and each file there runs in `cargo test` of `daffi-proto`
//! (`tests/fuzzed.rs`), which includes these modules: so they name no libFuzzer.

pub mod controller;
pub mod frames;
pub mod journal;
pub mod node;
pub mod script;
pub mod texts;
pub mod types;
pub mod values;
