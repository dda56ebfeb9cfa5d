//! A node's state machine.
//!
//! The user feeds [`Input`]s with the time and takes [`Output`]s until there are none; `next_timeout` says when to come
//! back with [`Input::Timer`] at the latest.

mod api;

pub use api::{Command, Input, NodeConfig, Output};
