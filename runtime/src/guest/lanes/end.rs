//! How calls in lanes end, or the waits of their callers.

use super::super::audience::Ticket;

/// A call whose caller waits no longer, or that is over ([`End::is_over`]).
#[derive(Debug, PartialEq, Eq)]
pub struct Open {
    pub ticket: Ticket,
    pub callback: u32,
    pub end: End,
    /// Whether its caller was told before.
    pub told: bool,
    /// Whether he waited for nothing any more: then it was counted.
    pub counted: bool,
}

/// A call that was in a lane that ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost {
    pub ticket: Ticket,
    pub callback: u32,
    /// Whether its caller still waits for its result.
    pub open: bool,
    /// Whether he has it, and waits for its streams.
    pub streams: bool,
    /// Whether the guest was entered for it: if not, no instruction of the callback ran.
    pub begun: bool,
}

/// What ended a call, or the wait of its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Its deadline passed in the queue.
    Expired,
    /// It waited in the queue for as long as it may.
    Overdue,
    /// It gave up in the queue.
    LeftQueue,
    /// The calls before it in its lane ran too long, and the lane ended before it could begin.
    NotBegun,
    /// Its deadline passed while the callback ran. Whether the callback was stopped, here and below.
    Deadline { stopped: bool },
    /// It gave up while the callback ran.
    GaveUp { stopped: bool },
    /// The callback ran longer than the module allows.
    TooLong { stopped: bool },
    /// A stream of its arguments broke.
    Broken { stopped: bool },
}

impl End {
    /// Whether it is the end of the call, which otherwise runs on.
    pub fn is_over(self) -> bool {
        match self {
            Self::Expired | Self::Overdue | Self::LeftQueue | Self::NotBegun => true,
            Self::Deadline { stopped }
            | Self::GaveUp { stopped }
            | Self::TooLong { stopped }
            | Self::Broken { stopped } => stopped,
        }
    }
}
