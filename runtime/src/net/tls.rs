//! TLS for `tls://` endpoints, of controllers and of nodes that others reach directly: who may talk to whom over a network, and the
//! only place that names rustls.
//!
//! | module | holds |
//! |---|---|
//! | [`files`] | which files there are, and what is in them: authorities, certificates, keys, the join token |
//! | `kept` | what was made of the files, made anew when they change |
//! | `said` | what a certificate says for itself: whose it is, what it may, its hosts, its end |
//! | `sides` | the settings of the two sides: TLS 1.3, nothing resumed, nothing sent early |
//! | `nodes` | the settings of two nodes, which know each other by their names |
//! | `admission` | what is said after the TLS handshake: welcome, the token, or why not |
//! | [`accept`] | the side of who listens: many handshakes at a time, none of which holds up another |
//! | [`dial`] | a node's side |
//! | `faults` | what went wrong, in words for the one who can mend it |
//!
//! ```text
//!   node ── TCP ── TLS handshake: the controller's certificate, perhaps the node's ── controller
//!        ◀── Welcome │ TokenWanted │ Refused(why) ──
//!        ── the token, if it was asked for ──▶
//!        ◀── Welcome │ Refused(why) ──
//!        ◀══ frames, as over any other link ══▶
//!
//!   node A ── TCP ── TLS handshake: B's certificate, is it of B?, then A's ── node B
//!        ◀── Welcome │ Refused(why) ──
//!        ◀══ frames: the ticket of the controller first, and B asks whether A's certificate goes with it ══▶
//! ```
//!
//! Invariants: nobody's frames are read who has not shown a certificate of the authority or the token; a token goes only
//! to a controller that has shown its own certificate, and into no log; a handshake has [`HANDSHAKE_TIMEOUT`]. What a node may
//! do once it is in is the affair of `daffi_proto::grants`.

pub mod accept;
mod admission;
pub mod dial;
mod faults;
pub mod files;
mod kept;
mod nodes;
mod said;
mod sides;

use std::time::Duration;

pub use accept::Server;
pub use dial::{Client, NodeClient};
pub use files::{TlsFileError, TlsFiles};
pub use said::{Said, ends_at, said_in};
pub use sides::vouches_for;

/// How long it may take from the first byte until a node is let in, or not.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests;
