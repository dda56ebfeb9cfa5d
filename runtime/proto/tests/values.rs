//! Values in all their encodings: identities over random types, agreement with serde and with the `wasm-wave` crate,
//! rules of the texts one by one, what malformed input is answered with, channels of
//! streams, and WIT printed and read back.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "the helpers of tests may fail as tests do")]

#[path = "values/channels.rs"]
mod channels;
#[path = "values/malformed.rs"]
mod malformed;
#[path = "values/random.rs"]
mod random;
#[path = "values/round_trips.rs"]
mod round_trips;
#[path = "values/serde_twins.rs"]
mod serde_twins;
#[path = "values/texts.rs"]
mod texts;
#[path = "values/wit_twins.rs"]
mod wit_twins;
