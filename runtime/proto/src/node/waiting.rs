//! Who waits for which callback or process.
//!
//! Indexed by what would end the wait, so that a process that comes wakes those it concerns and nobody else.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::Request;
use crate::id::{LocalId, ProcessRef, SessionId, TenantName};

/// What a request waits for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Key {
    /// A function of this name, in whatever interface.
    Function(TenantName, Box<str>),
    /// A process.
    Process(ProcessRef),
    /// The way to a node.
    Road(SessionId),
    /// That this process of the node, which makes the request, is on the mesh.
    Caller(LocalId),
}

#[derive(Debug, Default)]
pub(super) struct Waiting {
    by_key: HashMap<Key, BTreeSet<Request>>,
    keys: BTreeMap<Request, Vec<Key>>,
}

impl Waiting {
    /// Waits for any of these. A request that waits already goes on waiting for what it did.
    pub fn add(&mut self, request: Request, keys: impl FnOnce() -> Vec<Key>) {
        let by_key = &mut self.by_key;
        self.keys.entry(request).or_insert_with(|| {
            let keys = keys();
            for key in &keys {
                by_key.entry(key.clone()).or_default().insert(request);
            }
            keys
        });
    }

    pub fn remove(&mut self, request: Request) {
        for key in self.keys.remove(&request).into_iter().flatten() {
            if let Some(requests) = self.by_key.get_mut(&key) {
                requests.remove(&request);
                if requests.is_empty() {
                    self.by_key.remove(&key);
                }
            }
        }
    }

    /// Those who wait for any of these, in the order in which they came.
    pub fn for_any(&self, keys: impl Iterator<Item = Key>) -> BTreeSet<Request> {
        keys.filter_map(|key| self.by_key.get(&key)).flatten().copied().collect()
    }

    pub fn all(&self) -> Vec<Request> {
        self.keys.keys().copied().collect()
    }

    pub fn len(&self) -> usize {
        self.keys.len()
    }
}
