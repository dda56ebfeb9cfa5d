//! Guests: components and their instances.
//!
//! | module | holds |
//! |---|---|
//! | [`transcode`] | values between postcard bytes and guests |

pub mod transcode;
