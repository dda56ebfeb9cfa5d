//! The links of a node, and what names a call on one.
//!
//! Calls take the link to the controller, or a direct one to the callback's node; all that belongs to a call takes the link of
//! its `Call`. The ids on a link are the sender's of the call, so that two links may have the same.

use std::collections::BTreeMap;
use std::sync::Arc;

use foldhash::HashMap;

use super::{Node, Output};
use crate::frame::Frame;
use crate::grants::NodeGrants;
use crate::id::{CallId, DirectId};

/// One of a node's links.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Via {
    /// The one to the controller.
    Controller,
    /// A direct one to another node, for calls that are made here. The node numbers it.
    To(DirectId),
    /// A direct one from another node, for calls that are served here. The node's user numbers it.
    From(DirectId),
}

/// A call on a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Wire {
    pub via: Via,
    pub id: CallId,
}

/// Where there are more tables than this, those of links without calls go when one is added. Till then they stay: to make one anew
/// would cost more than a call's other look-ups.
const KEPT_TABLES: usize = 8;

/// What is known of calls on links, by their names there.
#[derive(Debug)]
pub(super) struct ByWire<V> {
    links: BTreeMap<Via, HashMap<CallId, V>>,
    len: usize,
}

impl<V> Default for ByWire<V> {
    fn default() -> Self {
        Self { links: BTreeMap::new(), len: 0 }
    }
}

impl<V: Copy> ByWire<V> {
    pub fn get(&self, wire: &Wire) -> Option<&V> {
        self.links.get(&wire.via)?.get(&wire.id)
    }

    pub fn contains_key(&self, wire: &Wire) -> bool {
        self.get(wire).is_some()
    }

    pub fn insert(&mut self, wire: Wire, value: V) {
        if self.links.len() > KEPT_TABLES && !self.links.contains_key(&wire.via) {
            self.links.retain(|_, calls| !calls.is_empty());
        }
        let before = self.links.entry(wire.via).or_default().insert(wire.id, value);
        self.len += usize::from(before.is_none());
    }

    pub fn remove(&mut self, wire: &Wire) -> Option<V> {
        let value = self.links.get_mut(&wire.via)?.remove(&wire.id)?;
        self.len -= 1;
        Some(value)
    }

    /// How many calls, on all links.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether this link has any.
    pub fn has_any_of(&self, via: Via) -> bool {
        self.links.get(&via).is_some_and(|calls| !calls.is_empty())
    }

    /// Those of this link, in the order of their ids.
    pub fn of(&self, via: Via) -> Vec<(Wire, V)> {
        let calls = self.links.get(&via).into_iter().flatten();
        let mut calls: Vec<_> = calls.map(|(id, value)| (Wire { via, id: *id }, *value)).collect();
        calls.sort_unstable_by_key(|(wire, _)| *wire);
        calls
    }
}

impl Node {
    /// What a call is called that is sent over this link: a fresh id each time: none is used twice on a link.
    pub(super) fn next_wire(&mut self, via: Via) -> Wire {
        self.last_wire += 1;
        Wire { via, id: CallId(self.last_wire) }
    }

    pub(super) fn direct_up(&mut self, via: Via, grants: Option<Arc<NodeGrants>>) {
        match via {
            Via::Controller => {} // that one has a handshake of its own
            Via::To(id) => self.road_up(id),
            Via::From(id) => self.visit_begins(id, grants),
        }
    }

    pub(super) fn direct_down(&mut self, via: Via, reason: &str) {
        match via {
            Via::Controller => {}
            Via::To(id) => self.drop_road(id, reason, false),
            Via::From(id) => self.drop_visit(id, reason, false),
        }
    }

    /// Nothing is sent over a link that is lost, also not by what its loss leads to (a broadcast that lets its other legs go).
    pub(super) fn send_over(&mut self, via: Via, frame: Frame) {
        if self.is_open(via) {
            self.outputs.push_back(Output::Send { via, frame });
        }
    }

    /// Sends something to the controller.
    pub(super) fn send(&mut self, frame: Frame) {
        self.send_over(Via::Controller, frame);
    }

    /// Whether there is this link.
    pub(super) fn is_open(&self, via: Via) -> bool {
        match via {
            Via::Controller => !matches!(self.link, super::link::Link::Down),
            Via::To(id) => self.roads.has_link(id),
            Via::From(id) => self.visits.has_link(id),
        }
    }

    /// Most bytes of a payload that the other end of a link takes; none where it has not said.
    pub(super) fn payload_limit(&self, via: Via) -> Option<u64> {
        match via {
            Via::Controller => self.link.up().map(|up| up.max_payload_bytes),
            Via::To(id) => self.roads.payload_limit(id),
            Via::From(id) => self.visits.payload_limit(id),
        }
    }
}
