//! The daffi-runtime host: a map of its modules is in ARCHITECTURE.md.

pub mod cli;
pub mod guest;
pub mod mesh;
