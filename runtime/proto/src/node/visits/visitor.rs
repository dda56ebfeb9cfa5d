//! What is known of a node that may come and of a link over which one came, and what of its calls follows from that alone.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use crate::call::Hop;
use crate::frame::plain;
use crate::grants::NodeGrants;
use crate::id::{DirectId, NodeMark, ProcessName, ProcessRef, RepeatKey, SessionId, Ticket};
use crate::session::{LinkFault, Liveness};

/// What the controller says of a node that may come.
#[derive(Debug)]
pub struct Visitor {
    pub node: String,
    /// Whose certificate it has shown to the controller, if it has.
    pub identity: Option<ProcessName>,
    /// Until it is used.
    pub ticket: Option<Ticket>,
    pub mark: NodeMark,
    pub max_payload_bytes: u64,
    /// The processes for which the controller vouches, by its own numbers.
    pub processes: BTreeMap<u32, ProcessRef>,
    /// In whose names it may call over its link: these, as far as the certificate covers them that was shown, if one was.
    pub names: HashSet<ProcessRef>,
    pub link: Option<DirectId>,
}

impl Visitor {
    /// One that has not come yet.
    pub fn new(
        node: &str,
        ticket: Ticket,
        mark: NodeMark,
        max_payload_bytes: u64,
        identity: Option<ProcessName>,
    ) -> Self {
        Self {
            node: plain(node),
            identity,
            ticket: Some(ticket),
            mark,
            max_payload_bytes,
            processes: BTreeMap::new(),
            names: HashSet::new(),
            link: None,
        }
    }
}

/// A link that another node opened.
#[derive(Debug)]
pub struct Inbound {
    pub check_at: Duration,
    /// What the certificate says that was shown when it was opened. A transport that has none says nothing of who it is.
    pub grants: Option<Arc<NodeGrants>>,
    /// What it has shown: who it is, and its ticket.
    pub shown: Option<(SessionId, Ticket)>,
    pub member: Option<Member>,
}

impl Inbound {
    /// Whether the node that the controller means by this may be the one that opened this.
    pub fn may_be_of(&self, visitor: &Visitor) -> bool {
        self.grants.as_ref().is_none_or(|grants| visitor.identity.as_ref() == Some(grants.node()))
    }

    /// Whether its certificate, if there is one, lets it call in the name of this process.
    pub fn covers(&self, process: &ProcessRef) -> bool {
        self.grants.as_ref().is_none_or(|grants| grants.allows(process))
    }
}

/// What a link is once its node has shown its ticket.
#[derive(Debug)]
pub struct Member {
    pub session: SessionId,
    /// Whether the controller that said so, and still does, vouches for it. Another controller numbers its nodes anew, so that the number
    /// alone says nothing.
    pub vouched: bool,
    pub liveness: Liveness,
    pub max_payload_bytes: u64,
}

/// Whether the visitor may call so: in the name of a process that it has, with keys of its own.
pub fn check_caller(visitor: &Visitor, hop: &Hop, key: Option<RepeatKey>) -> Result<(), LinkFault> {
    match &hop.process {
        Some(process) if visitor.names.contains(process) => {}
        Some(process) => {
            let what = format!("a call in the name of the process {}, which {} has not", process.name, visitor.node);
            return Err(LinkFault::Broken(what));
        }
        None => return Err(LinkFault::Broken("a call over a direct link in nobody's name".to_owned())),
    }
    match key.is_some_and(|key| key.node != visitor.mark) {
        true => Err(LinkFault::Broken("a call with a key of another node".to_owned())),
        false => Ok(()),
    }
}
