//! The daffi mesh protocol without I/O.
//!
//! Everything here is a function of its inputs: frames, commands, a monotonic and a UTC `now`, and a seed. There is
//! no socket, no task, no clock and no randomness of its own, so that many nodes run in one test with virtual time.
//!
//! | module | holds |
//! |---|---|
//! | [`id`] | names and numbers: tenants, processes, nodes, links, calls |
//! | [`name`] | callback names: parsing, look-up rules, versions, near matches |
//! | [`signature`] | WIT function types, their fingerprints, forms and WIT text |
//! | [`value`] | WIT values: the postcard, JSON and WAVE codecs, and the check of untrusted bytes |
//! | [`error`] | `call-error`: what happened to a call that failed |
//! | [`frame`] | headers, framing, limits |
//! | `recent` | what was decoded lately, so that it is not made again |
//! | [`registry`] | who has which callback, and whom a call goes to |
//! | [`call`] | calls as the node's user sees them: requests, incoming calls, outcomes |
//! | [`stream`] | one stream between two nodes: credit, order, how it ends |
//! | [`schedule`] | PERIOD: plans, tasks, what becomes of their ticks |
//! | [`session`] | the handshake and liveness of one link |
//! | [`grants`] | what a certificate says of its node: who it is, which processes it may register |
//! | [`usage`] | what a process has done and used, as counters |
//! | [`share`] | what tenants share: exports and imports |
//! | [`node`] | a node's state machine |
//! | [`controller`] | the controller's state machine |

pub mod call;
pub mod controller;
pub mod error;
pub mod frame;
pub mod grants;
pub mod id;
pub mod name;
pub mod node;
mod recent;
pub mod registry;
pub mod schedule;
pub mod session;
pub mod share;
pub mod signature;
pub mod stream;
pub mod usage;
pub mod value;
