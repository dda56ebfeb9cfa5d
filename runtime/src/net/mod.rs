//! Sockets: where the mesh listens, how a node gets there, and how bytes become frames.
//!
//! | module | holds |
//! |---|---|
//! | [`endpoint`] | the URLs of a controller, the default socket, and which addresses are allowed |
//! | [`listener`] | the controller's side: bind, lock, accept, who is it |
//! | [`dial`] | a node's side: connect, and connect again with backoff |
//! | [`stranger`] | whether what was dialed is a controller |
//! | [`tls`] | certificates, the join token, and handshakes with strangers |
//! | [`link`] | one connection as two queues of frames |
//! | `unix` | a unix socket that wakes nobody for nothing |
//!
//! What frames mean is known to `daffi-proto`; what is done with them, to [`crate::mesh`].

pub mod dial;
pub mod direct;
pub mod endpoint;
pub mod link;
pub mod listener;
pub mod stranger;
pub mod tls;
mod unix;

#[cfg(test)]
mod tests;
