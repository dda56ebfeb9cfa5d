//! The mesh, seen from inside this runtime.
//!
//! | module | holds |
//! |---|---|
//! | [`attention`] | how the network's thread stays awake for an answer that is about to come |
//! | [`driver`] | the task that owns the node's state: sockets' frames and users' requests go in, frames and answers come out |
//! | [`hub`] | the same for the controller's state |
//! | [`handle`] | what everybody else holds: a cloneable, asynchronous way to ask the driver |
//! | [`ledger`] | the scheduled tasks that are to be written down, on their way to whoever writes them |
//! | [`link`] | a link as the drivers see it: frames go out, frames come in |
//! | [`news`] | what the log says of a node's link, and how often |
//! | [`pipe`] | a link in memory, between a node and a controller of one process |
//! | `rounds` | what links have said and the hub has not heard, a few frames of each in turn |
//! | `streams` | the ends of streams in this runtime, between whoever holds them and the node |
//! | [`uplink`] | how the driver gets its link to the controller |
//! | `wake_up` | what it takes on this machine to wake a thread on another processor |

mod alarm;
mod asked;
pub mod attention;
pub mod direct;
pub mod driver;
pub mod handle;
pub mod hub;
pub mod ledger;
pub mod link;
pub mod news;
pub mod pipe;
mod rounds;
mod streams;
pub mod uplink;
mod wake_up;
