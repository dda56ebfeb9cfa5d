//! The mesh, seen from inside this runtime.
//!
//! | module | holds |
//! |---|---|
//! | [`driver`] | the task that owns the node's state: sockets' frames and users' requests go in, frames and answers come out |
//! | [`hub`] | the same for the controller's state |
//! | [`handle`] | what everybody else holds: a cloneable, asynchronous way to ask the driver |

pub mod driver;
pub mod handle;
pub mod hub;
