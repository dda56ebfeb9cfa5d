//! What goes into a controller and what comes out.

use std::fmt;
use std::time::Duration;

use crate::frame::Frame;
use crate::id::{LinkId, ProcessRef};
use crate::session::PeerIdentity;

/// What a controller is made with.
#[derive(Clone)]
pub struct ControllerConfig {
    /// Decides whose turn is first among equals; any number.
    pub seed: u64,
    /// 128 random bits, told to nobody: what lets nodes in at each other is made of it.
    pub secret: [u8; 16],
    /// Most bytes of a payload.
    pub max_payload_bytes: usize,
    /// After how much silence a side pings.
    pub heartbeat: Duration,
    /// After how many heartbeats without a sign of life the peer is dead.
    pub missed_heartbeats: u32,
    /// How long a lost node's names are kept for it.
    pub grace: Duration,
}

impl fmt::Debug for ControllerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, max_payload_bytes, heartbeat, missed_heartbeats, grace, secret: _ } = self;
        let limits = (max_payload_bytes, heartbeat, missed_heartbeats, grace);
        f.debug_struct("ControllerConfig").field("seed", seed).field("limits", &limits).finish_non_exhaustive()
    }
}

/// What happens to a controller.
#[derive(Debug)]
pub enum Input {
    /// Somebody connected.
    Accepted {
        /// The link's number; never used again.
        link: LinkId,
        /// Who, as far as the transport knows.
        identity: PeerIdentity,
    },
    /// A frame arrived.
    Frame {
        /// From where.
        link: LinkId,
        /// The frame.
        frame: Frame,
    },
    /// Bytes arrived that make no whole frame yet: the peer lives. Once for all that a read brought is enough.
    Heard {
        /// From where.
        link: LinkId,
    },
    /// The link broke. Ignored when the controller has closed it itself.
    Closed {
        /// Which.
        link: LinkId,
        /// For the log.
        reason: String,
    },
    /// The link's queue was full: this frame was not sent. A `Call` is answered with `overloaded`; any other frame
    /// cannot be missed, so its link is closed: let calls find a full queue well before the others do.
    NotSent {
        /// Where to.
        link: LinkId,
        /// The frame.
        frame: Frame,
    },
    /// Pass on no new calls: they are refused as `draining`, but for those that calls in flight make to finish.
    /// [`Output::Drained`] tells when nobody waits for an answer any more.
    Drain,
    /// Nothing but the time.
    Timer,
}

/// What a controller wants done.
#[derive(Debug)]
pub enum Output {
    /// Send this.
    Send {
        /// Where to.
        link: LinkId,
        /// The frame.
        frame: Frame,
    },
    /// Close the link when all that was to be sent before this is.
    Close {
        /// Which.
        link: LinkId,
        /// For the log.
        reason: String,
    },
    /// After [`Input::Drain`]: no call is relayed that somebody waits for. Told once.
    Drained,
    /// Something for the log.
    Event(Event),
}

/// What the log says of a controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A node or client is there.
    Joined {
        /// Its link.
        link: LinkId,
        /// Its name.
        node: String,
        /// Who it is.
        identity: PeerIdentity,
        /// Whether it is a client, which registers nothing.
        client: bool,
    },
    /// A node or client has gone.
    Left {
        /// Its link.
        link: LinkId,
        /// Its name.
        node: String,
        /// Why.
        reason: String,
        /// Whether it said goodbye.
        orderly: bool,
    },
    /// Somebody was turned away, or closed for breaking the protocol, before he had joined.
    TurnedAway {
        /// His link.
        link: LinkId,
        /// Who he is.
        identity: PeerIdentity,
        /// Why.
        reason: String,
    },
    /// A process is on the mesh.
    Registered {
        /// The process.
        process: ProcessRef,
        /// Its node.
        node: String,
        /// How many callbacks it has.
        callbacks: usize,
    },
    /// A process was refused.
    NotRegistered {
        /// The process.
        process: ProcessRef,
        /// Its node.
        node: String,
        /// Why.
        reason: String,
    },
    /// A process left the mesh.
    Unregistered {
        /// The process.
        process: ProcessRef,
        /// Its node.
        node: String,
    },
}
