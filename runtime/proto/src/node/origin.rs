//! Who asks something of this node, and what a call of his inherits.

use std::sync::Arc;
use std::time::Duration;

use super::serve::Wish;
use super::{Node, outcome};
use crate::call::{Caller, Hop, WhenAbandoned};
use crate::error::{CallError, Outcome};
use crate::id::{LocalId, ProcessName, ServeId, TenantName};

/// Who asks, as far as the node knows him.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    /// His tenant.
    pub home: TenantName,
    /// The one that he looks into: his own, or another of which something is shared with it.
    pub tenant: TenantName,
    pub process: Option<LocalId>,
    pub name: Option<ProcessName>,
    pub parent: Option<ServeId>,
}

/// An origin with what a call of his inherits.
pub(super) struct Asker {
    pub origin: Origin,
    /// What he is in a chain of calls.
    pub hop: Hop,
    /// The deadline of the call that he serves; [`Duration::MAX`] where there is none.
    pub most: Duration,
    /// The chain of that call.
    pub chain: Arc<[Hop]>,
    /// Whether that one was given up.
    pub abandoned: bool,
}

impl Origin {
    /// Looks into another tenant, where one is named.
    pub fn looking_into(self, tenant: Option<TenantName>) -> Self {
        Self { tenant: tenant.unwrap_or_else(|| self.home.clone()), ..self }
    }

    /// Whether he is the process of this name where he looks.
    pub fn is(&self, process: &ProcessName) -> bool {
        self.tenant == self.home && self.name.as_ref() == Some(process)
    }

    /// A name where he looks, for errors.
    pub fn told(&self, name: &impl std::fmt::Display) -> String {
        if self.tenant == self.home { name.to_string() } else { format!("{}::{name}", self.tenant) }
    }
}

impl Node {
    /// Who asks for something; an error if he may not.
    pub(super) fn asker(&self, caller: &Caller, when_abandoned: WhenAbandoned) -> Result<Asker, CallError> {
        match caller {
            Caller::Client { tenant } => {
                let (home, tenant) = (tenant.clone(), tenant.clone());
                let origin = Origin { home, tenant, process: None, name: None, parent: None };
                let hop = Hop { process: None, instance: 0 };
                Ok(Asker { origin, hop, most: Duration::MAX, chain: Arc::default(), abandoned: false })
            }
            Caller::Process { id, instance, parent, chain } => {
                let Some(local) = self.locals.get(id).filter(|local| !local.removed) else {
                    return Err(outcome::process_left(String::new()));
                };
                // A call that is over has nobody above who could give up, and its caller has seen to its time.
                let parent = parent.filter(|parent| self.serves.contains_key(parent));
                let above = parent.and_then(|parent| self.serves.get(&parent));
                let abandoned = above.is_some_and(|above| above.wish == Wish::Cancelled);
                if abandoned && when_abandoned == WhenAbandoned::Cancel {
                    return Err(outcome::caller_cancelled(Outcome::NotRun, String::new()));
                }
                let origin = Origin {
                    home: local.process.tenant.clone(),
                    tenant: local.process.tenant.clone(),
                    process: Some(*id),
                    name: Some(local.process.name.clone()),
                    parent,
                };
                let hop = Hop { process: Some(local.process.clone()), instance: *instance };
                let (most, chain) = match above {
                    Some(above) => (self.time_of(above), above.chain.clone()),
                    None => (Duration::MAX, Hop::passed(chain)),
                };
                Ok(Asker { origin, hop, most, chain, abandoned })
            }
        }
    }
}
