//! One link between a node and a controller: who meets, in which protocol, and whether the other side still lives.
//!
//! These are the parts that both sides share; they hold no frames and send none. The states of a link are in `node/link`
//! and `controller/links`.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::frame::{FrameError, Header};
use crate::grants::NodeGrants;
use crate::id::{NodeKey, ProcessName, ProcessRef, TenantName};
use crate::share::Import;

/// The version of the protocol that this crate speaks.
pub const PROTOCOL_VERSION: u32 = 1;

/// The optional features that this crate knows; none yet.
pub const FEATURES: u64 = 0;

/// How long a handshake may take, from the link's start to `Welcome`.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a lost node's names are kept for it.
pub const GRACE: Duration = Duration::from_secs(5);

/// After how much silence a side pings.
pub const HEARTBEAT: Duration = Duration::from_secs(2);

/// After how many heartbeats without a sign of life the peer is dead.
pub const MISSED_HEARTBEATS: u32 = 3;

/// Shortest and longest pause before a node dials again.
pub const BACKOFF_BOUNDS: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(3));

/// How long a node waits before it registers a refused process again.
pub const REGISTER_RETRY: Duration = Duration::from_millis(500);

/// What a node is to the mesh.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Role {
    /// It may register processes.
    Node,
    /// It only looks and calls, without a name.
    Client,
}

/// Who a node says it is: the payload of a `Hello` in this version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The optional features that it knows.
    pub features: u64,
    /// Its key, by which it takes up its names again.
    pub key: NodeKey,
    /// The runtime's name, for people.
    pub name: String,
    /// What it wants to be.
    pub role: Role,
    /// Its limit of a payload.
    pub max_payload_bytes: u64,
    /// The tenants that it belongs to: its processes are in these, and it sees nothing of others.
    pub tenants: Vec<TenantName>,
    /// What these may call of others: it sees that, where they export it.
    pub imports: Vec<Import>,
}

/// Who is at the other end of a link, as far as the transport knows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PeerIdentity {
    /// A process of this machine, by the socket's credentials.
    Unix {
        /// Its user.
        uid: u32,
        /// Its process, for logs.
        pid: Option<u32>,
    },
    /// Somebody who can connect over TCP.
    Tcp {
        /// From where.
        address: SocketAddr,
    },
    /// A node that proved that it has a certificate's key.
    Certificate {
        /// What the certificate says.
        grants: Arc<NodeGrants>,
        /// From where.
        address: SocketAddr,
    },
    /// Somebody who knows the join token.
    Token {
        /// From where.
        address: SocketAddr,
    },
    /// The node in the controller's own runtime.
    InProcess,
}

impl PeerIdentity {
    /// Whether a peer that comes now is the node that was known as this one: it may take over that one's link while it
    /// lives, and its names within the grace time. The same user of this machine is, and the node that the same name
    /// stands for in a certificate, so also with a renewed one. Only where the transport does not tell one node from
    /// another (a token tells that one may join, not who one is) does the same [`NodeKey`] count.
    pub fn may_succeed(&self, former: &Self, same_key: bool) -> bool {
        match (self, former) {
            (Self::Unix { uid, .. }, Self::Unix { uid: before, .. }) => uid == before,
            (Self::Certificate { grants, .. }, Self::Certificate { grants: before, .. }) => {
                grants.node() == before.node()
            }
            (Self::InProcess, Self::InProcess) => true,
            (Self::Tcp { .. }, Self::Tcp { .. }) | (Self::Token { .. }, Self::Token { .. }) => same_key,
            _ => false,
        }
    }

    /// Whose certificate it has shown, if it has.
    pub fn certified(&self) -> Option<&ProcessName> {
        match self {
            Self::Certificate { grants, .. } => Some(grants.node()),
            _ => None,
        }
    }

    /// Whether a node of this peer may belong to a tenant: the one place where a peer's rights are asked for. Whoever can
    /// connect without a certificate may claim any: the transport says nothing of tenants.
    ///
    /// # Errors
    /// A message that says who may be where.
    pub fn may_claim(&self, tenant: &TenantName) -> Result<(), String> {
        match self {
            Self::Certificate { grants, .. } if !grants.may_join(tenant) => Err(format!(
                "the tenant {:?} is not open to the node {:?}: its certificate allows {grants}; name another with --tenant, or \
                 issue a certificate with --tenant {tenant}",
                tenant.as_str(),
                grants.node().as_str(),
            )),
            _ => Ok(()),
        }
    }

    /// Whether a peer may register this process, if its name is free: all may any, but those who have a certificate.
    ///
    /// # Errors
    /// A message that says who may register what.
    pub fn may_register(&self, process: &ProcessRef) -> Result<(), String> {
        match self {
            Self::Certificate { grants, .. } if !grants.allows(process) => Err(format!(
                "the process name {:?} is not for the node {:?}: its certificate allows {grants}; choose another name, by \
                 --module NAME=PATH or `name` of its [[module]], or issue a certificate with --process {process}",
                process.to_string(),
                grants.node().as_str(),
            )),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for PeerIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix { uid, pid: Some(pid) } => write!(f, "uid {uid}, pid {pid}"),
            Self::Unix { uid, pid: None } => write!(f, "uid {uid}"),
            Self::Tcp { address } => write!(f, "{address}"),
            Self::Certificate { grants, address } => write!(f, "certificate of {}, {address}", grants.node()),
            Self::Token { address } => write!(f, "join token, {address}"),
            Self::InProcess => f.write_str("the controller's own runtime"),
        }
    }
}

/// Why a link is closed by the side that keeps the protocol.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkFault {
    /// The handshake did not come.
    #[error("no handshake within {} s", HANDSHAKE_TIMEOUT.as_secs())]
    HandshakeTimeout,
    /// A frame that this side never takes, or not now.
    #[error("unexpected {kind} frame {place}")]
    Unexpected {
        /// The frame.
        kind: &'static str,
        /// Where in the conversation.
        place: &'static str,
    },
    /// Nothing was heard for too long.
    #[error("no sign of life for {silence_ms} ms")]
    Silent {
        /// For how long.
        silence_ms: u128,
    },
    /// A frame could not be read.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The peer broke a rule.
    #[error("{0}")]
    Broken(String),
    /// The peer does not read what it is sent.
    #[error("the peer does not read what it is sent: no room for a {0} frame")]
    Clogged(&'static str),
}

impl LinkFault {
    /// A frame that has no place here.
    pub fn unexpected(header: &Header, place: &'static str) -> Self {
        Self::Unexpected { kind: header.kind(), place }
    }
}

/// Whether the peer lives: pings after silence, and gives up after several.
///
/// ```text
///   heard ──every──▶ ping 1 ──every──▶ ping 2 … ping n ──every──▶ dead
///     ▲                │                                 any bytes in between
///     └────────────────┴──────────────────────────────────────────┘
/// ```
///
/// Whoever sends much is heard all the time and so is not pinged, while his own pings wait behind what he sends. So a
/// side that hears gives a sign once a heartbeat, unasked: its peer must not take a listener for dead.
#[derive(Clone, Debug)]
pub struct Liveness {
    every: Duration,
    most_missed: u32,
    heard: Duration,
    /// When this side gave its last sign, ping or pong.
    signed: Duration,
    next_check: Duration,
    pings: u32,
}

/// What [`Liveness::check`] asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pulse {
    /// Nothing yet.
    Fine,
    /// Send a ping.
    Ping,
    /// Close the link.
    Dead,
}

impl Liveness {
    /// Starts with a peer that was heard just now.
    pub fn new(now: Duration, every: Duration, most_missed: u32) -> Self {
        // A peer that asks for heartbeats without pause must not make this side spin.
        let every = every.max(Duration::from_millis(10));
        Self { every, most_missed: most_missed.max(1), heard: now, signed: now, next_check: now + every, pings: 0 }
    }

    /// Bytes came, of a ping or of anything else. Tells whether to send a pong.
    pub fn heard(&mut self, now: Duration, ping: bool) -> bool {
        self.heard = now;
        self.next_check = now + self.every;
        self.pings = 0;
        let due = ping || now.saturating_sub(self.signed) >= self.every;
        if due {
            self.signed = now;
        }
        due
    }

    /// When to check next.
    pub fn next_check(&self) -> Duration {
        self.next_check
    }

    /// What the time calls for. A ping gets its whole time to be answered, also where this side itself was asleep:
    /// what it did not hear then says nothing of the peer.
    pub fn check(&mut self, now: Duration) -> Pulse {
        if now < self.next_check {
            Pulse::Fine
        } else if self.pings >= self.most_missed {
            Pulse::Dead
        } else {
            self.pings += 1;
            self.signed = now;
            self.next_check = now + self.every;
            Pulse::Ping
        }
    }

    /// For how long nothing was heard.
    pub fn silence(&self, now: Duration) -> Duration {
        now.saturating_sub(self.heard)
    }
}

/// The pauses before a node dials again: doubling, with jitter, so that a thousand nodes do not come at once.
#[derive(Clone, Debug)]
pub struct Backoff {
    random: Random,
    failures: u32,
}

impl Backoff {
    /// The first pause is the shortest.
    pub fn new(seed: u64) -> Self {
        Self { random: Random::new(seed), failures: 0 }
    }

    /// The next pause: between half and all of the shortest pause doubled once a failure, up to the longest.
    pub fn pause(&mut self) -> Duration {
        let (shortest, longest) = BACKOFF_BOUNDS;
        let whole = shortest.saturating_mul(1 << self.failures.min(16)).min(longest);
        self.failures = self.failures.saturating_add(1);
        let half = whole / 2;
        half + half.mul_f64(self.random.fraction())
    }

    /// The link stood: the next pause is the shortest again.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

/// Seeded numbers for jitter and first turns (splitmix64); no secret is made of them.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The same seed gives the same numbers.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Any 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 up to, not including, 1.
    pub fn fraction(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// The kinds of refusals: codes of `Refused` and `NotRegistered`.
pub mod refusal {
    /// The controller speaks another version of the protocol.
    pub const VERSION: &str = "version";
    /// The handshake cannot be read, or says what cannot be.
    pub const BAD_HELLO: &str = "bad-hello";
    /// The controller has as many links as it takes, or as many callbacks.
    pub const FULL: &str = "full";
    /// The peer may not claim a tenant that it claims.
    pub const FORBIDDEN: &str = "forbidden";
    /// Another process has the name.
    pub const NAME_TAKEN: &str = "name-taken";
    /// The process's callbacks cannot be read, or are more than a node may register.
    pub const BAD_PROCESS: &str = "bad-process";
    /// The node's certificate does not allow that name.
    pub const NOT_ALLOWED: &str = "not-allowed";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_never_fall_below_half() {
        let mut backoff = Backoff::new(1);
        let (shortest, longest) = BACKOFF_BOUNDS;
        for failures in 0..40u32 {
            let whole = shortest.saturating_mul(1 << failures.min(16)).min(longest);
            let pause = backoff.pause();
            assert!(pause >= whole / 2 && pause <= whole, "{failures}: {pause:?}");
        }
        backoff.reset();
        assert!(backoff.pause() <= shortest);
    }

    #[test]
    fn nodes_with_different_seeds_do_not_come_at_once() {
        let pauses: std::collections::BTreeSet<_> = (0..100).map(|seed| Backoff::new(seed).pause()).collect();
        assert!(pauses.len() > 95);
    }

    #[test]
    fn only_the_same_user_of_the_machine_succeeds_a_lost_node_and_elsewhere_only_the_same_key() {
        let user = |uid| PeerIdentity::Unix { uid, pid: None };
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        let (tcp, token) = (PeerIdentity::Tcp { address }, PeerIdentity::Token { address });
        for same_key in [true, false] {
            assert!(user(1).may_succeed(&PeerIdentity::Unix { uid: 1, pid: Some(7) }, same_key));
            assert!(PeerIdentity::InProcess.may_succeed(&PeerIdentity::InProcess, same_key));
            for (one, other) in [(user(1), user(2)), (user(1), tcp.clone()), (tcp.clone(), token.clone())] {
                assert!(!one.may_succeed(&other, same_key) && !other.may_succeed(&one, same_key), "{one} {other}");
            }
            for one in [&tcp, &token] {
                assert_eq!(one.may_succeed(one, same_key), same_key);
            }
        }
    }
}
