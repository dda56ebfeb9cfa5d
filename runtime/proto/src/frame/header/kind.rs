//! What is the same for all headers of a kind: their names, and what a full link may do with them.

use super::Header;

impl Header {
    /// Whether a full link may give it back, since its sender knows what to do without it: the call fails, or is broken
    /// off. The rest cannot be missed.
    pub fn may_be_refused(&self) -> bool {
        matches!(
            self,
            Self::Call { .. }
                | Self::Reply { .. }
                | Self::Items { .. }
                | Self::End { .. }
                | Self::Grant { .. }
                | Self::Done { .. }
                | Self::Halt { .. }
                | Self::Want { .. }
        )
    }

    /// The variant's name, for logs.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Hello { .. } => "Hello",
            Self::Welcome { .. } => "Welcome",
            Self::Refused { .. } => "Refused",
            Self::Close { .. } => "Close",
            Self::Ping => "Ping",
            Self::Pong => "Pong",
            Self::Register { .. } => "Register",
            Self::Registered { .. } => "Registered",
            Self::NotRegistered { .. } => "NotRegistered",
            Self::Unregister { .. } => "Unregister",
            Self::Entry { .. } => "Entry",
            Self::Gone { .. } => "Gone",
            Self::Synced => "Synced",
            Self::Call { .. } => "Call",
            Self::Reply { .. } => "Reply",
            Self::Fail { .. } => "Fail",
            Self::Cancel { .. } => "Cancel",
            Self::Ended { .. } => "Ended",
            Self::Load { .. } => "Load",
            Self::ListLoads { .. } => "ListLoads",
            Self::Loads { .. } => "Loads",
            Self::Drain => "Drain",
            Self::Leave => "Leave",
            Self::Accepted { .. } => "Accepted",
            Self::Items { .. } => "Items",
            Self::End { .. } => "End",
            Self::Grant { .. } => "Grant",
            Self::Done { .. } => "Done",
            Self::Halt { .. } => "Halt",
            Self::Want { .. } => "Want",
            Self::Usage { .. } => "Usage",
            Self::Reachable { .. } => "Reachable",
            Self::Meet { .. } => "Meet",
            Self::Meeting { .. } => "Meeting",
            Self::Expect { .. } => "Expect",
            Self::Vouch { .. } => "Vouch",
            Self::Unvouch { .. } => "Unvouch",
            Self::Forget { .. } => "Forget",
            Self::Visit { .. } => "Visit",
            Self::Known { .. } => "Known",
            Self::Busy { .. } => "Busy",
        }
    }
}
