//! Guests: the only place that knows wasmtime.
//!
//! | module | holds |
//! |---|---|
//! | [`engine`] | the wasmtime engines, and what the machine lets them be |
//! | [`component`] | from bytes to a compiled component with its callbacks, fetchers and needs |
//! | [`transcode`] | values between postcard bytes and guests |

pub mod component;
pub mod engine;
pub mod transcode;
