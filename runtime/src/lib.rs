//! The daffi-runtime host: a map of its modules is in ARCHITECTURE.md.
//!
//! ```text
//!   main ─▶ cli, app ─▶ config, guest, net ─▶ mesh ─▶ daffi-proto
//! ```

pub mod app;
pub mod cli;
pub mod config;
pub mod exit;
pub mod guest;
pub mod mesh;
pub mod metrics;
pub mod net;
pub mod output;
pub mod plain;
pub mod state_dir;
pub mod telemetry;
