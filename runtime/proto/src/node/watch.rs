//! Who is told of processes that come and go.
//!
//! ```text
//!   Watch ──▶ Joined, one for each process that is there
//!             then, in the order in which this node learns of it: Joined, CallbacksChanged, Left
//!   Cancel ─▶ nothing more
//! ```
//!
//! What is told is the replica's: of one process it is always `Joined`, any number of `CallbacksChanged`, `Left`, and so
//! on in turns. While the node has no link nothing is known of the others and nothing is told; those who have not come
//! back when the grace time after the reconnection is over have left then.

use std::collections::BTreeMap;

use super::{MAX_OPEN_REQUESTS, Node, Output, Request, outcome};
use crate::call::{Member, MemberEvent};
use crate::id::{ProcessRef, TenantName, Token};
use crate::registry::{Callback, Process};

/// Most watchers of a node.
pub const MAX_WATCHES: usize = 4096;

/// Who watches which tenant.
#[derive(Debug, Default)]
pub(super) struct Watches {
    tenants: BTreeMap<Token, TenantName>,
}

impl Watches {
    pub fn remove(&mut self, token: Token) {
        self.tenants.remove(&token);
    }

    pub fn len(&self) -> usize {
        self.tenants.len()
    }
}

impl Node {
    pub(super) fn watch(&mut self, token: Token, tenant: TenantName) {
        if self.watches.len() >= MAX_WATCHES || self.requests.len() >= MAX_OPEN_REQUESTS {
            let error = outcome::too_many_requests(String::new());
            self.outputs.push_back(Output::WatchRefused { token, error });
            return;
        }
        let mut there: BTreeMap<&ProcessRef, Member> = BTreeMap::new();
        let stale = self.stale.processes().map(|(_, process)| process);
        for process in self.mesh.processes().map(|(_, process)| process).chain(stale) {
            if process.process.tenant == tenant {
                there.entry(&process.process).or_insert_with(|| member(process));
            }
        }
        let joined = there.into_values().map(|member| Output::Membership { token, event: MemberEvent::Joined(member) });
        self.outputs.extend(joined);
        self.requests.insert(token, Request::Watch);
        self.watches.tenants.insert(token, tenant);
    }

    /// A process is in the mesh now. `former` is what was there of its name before, if nobody was told that it left.
    pub(super) fn tell_joined(&mut self, process: &ProcessRef, former: Option<&Process>) {
        if self.watches.len() == 0 {
            return;
        }
        let holders = self.mesh.named(process);
        let (Some(now), [_]) = (holders.last().and_then(|peer| self.mesh.get(*peer)), holders) else {
            // One of its name was there already: watchers hear of the change when that one leaves.
            return;
        };
        let event = match former {
            None => MemberEvent::Joined(member(now)),
            Some(former) if same_callbacks(&former.callbacks, &now.callbacks) => return,
            Some(_) => MemberEvent::CallbacksChanged(member(now)),
        };
        self.tell_watchers(&process.tenant.clone(), &event);
    }

    /// A process is in the mesh no more.
    pub(super) fn tell_left(&mut self, process: &Process) {
        if self.watches.len() == 0 {
            return;
        }
        // Another of its name is there already, for the moment in which the replica trails the mesh.
        let other = self.mesh.named(&process.process).first().and_then(|peer| self.mesh.get(*peer));
        let event = match other {
            None => MemberEvent::Left { name: process.process.name.clone(), node: process.node.as_ref().to_owned() },
            Some(other) if same_callbacks(&process.callbacks, &other.callbacks) => return,
            Some(other) => MemberEvent::CallbacksChanged(member(other)),
        };
        self.tell_watchers(&process.process.tenant, &event);
    }

    fn tell_watchers(&mut self, tenant: &TenantName, event: &MemberEvent) {
        let watchers = self.watches.tenants.iter().filter(|(_, watched)| *watched == tenant);
        let outputs: Vec<Output> =
            watchers.map(|(token, _)| Output::Membership { token: *token, event: event.clone() }).collect();
        self.outputs.extend(outputs);
    }
}

fn member(process: &Process) -> Member {
    let (name, node) = (process.process.name.clone(), process.node.clone());
    Member { name, node, callbacks: process.callbacks.clone() }
}

fn same_callbacks(before: &[Callback], now: &[Callback]) -> bool {
    let key = |callback: &Callback| (callback.name.to_string(), callback.fingerprint);
    let sorted = |callbacks: &[Callback]| {
        let mut keys: Vec<_> = callbacks.iter().map(key).collect();
        keys.sort();
        keys
    };
    before.len() == now.len() && sorted(before) == sorted(now)
}
