//! The streams of one call between this node and one other.
//!
//! Streams are numbered by the side that sends the value in which they stand, which is also the side that writes them:
//! so this node's outlets and inlets are numbered apart, and what arrives names one of them by what it is.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{BadStream, Inlet, Outlet, Pull, Push};

/// The streams of one call: those that this node writes, and those that it reads.
#[derive(Debug, Default)]
pub struct Channels {
    outlets: BTreeMap<u32, Outlet>,
    inlets: BTreeMap<u32, Inlet>,
    /// The end that is asked first for what it has to send, so that none waits for ever behind the others.
    turn: Option<(Side, u32)>,
}

/// Which of the two tables a number is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Side {
    Inlet,
    Outlet,
}

/// What goes to the other node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// From an outlet, to the inlet of that number there.
    Push(Push),
    /// From an inlet, to the outlet of that number there.
    Pull(Pull),
}

impl Channels {
    /// Adds a stream that this node writes.
    pub fn add_outlet(&mut self, number: u32, outlet: Outlet) {
        self.outlets.insert(number, outlet);
    }

    /// Adds a stream that this node reads.
    pub fn add_inlet(&mut self, number: u32, inlet: Inlet) {
        self.inlets.insert(number, inlet);
    }

    /// A stream that this node writes.
    pub fn outlet(&mut self, number: u32) -> Option<&mut Outlet> {
        self.outlets.get_mut(&number)
    }

    /// A stream that this node reads.
    pub fn inlet(&mut self, number: u32) -> Option<&mut Inlet> {
        self.inlets.get_mut(&number)
    }

    /// Takes a message of the other node.
    ///
    /// # Errors
    /// [`BadStream`]: the peer is defective.
    pub fn receive(&mut self, number: u32, message: Message, now: Duration) -> Result<(), BadStream> {
        match message {
            Message::Push(push) => match self.inlets.get_mut(&number) {
                Some(inlet) => inlet.receive(push, now),
                None => Err(BadStream::Unknown { what: push.what(), number }),
            },
            Message::Pull(pull) => match self.outlets.get_mut(&number) {
                Some(outlet) => outlet.receive(pull, now),
                None => Err(BadStream::Unknown { what: pull.what(), number }),
            },
        }
    }

    /// What is to be sent to the other node now, one stream after another; to be asked until there is nothing.
    pub fn transmit(&mut self, now: Duration) -> Option<(u32, Message)> {
        let inlets = self.inlets.keys().map(|number| (Side::Inlet, *number));
        let outlets = self.outlets.keys().map(|number| (Side::Outlet, *number));
        let all: Vec<(Side, u32)> = inlets.chain(outlets).collect();
        let first = self.turn.map_or(0, |turn| all.partition_point(|key| *key <= turn));
        let (before, after) = all.split_at(first);
        after.iter().chain(before).find_map(|key| {
            let (side, number) = *key;
            let message = match side {
                Side::Inlet => self.inlets.get_mut(&number)?.transmit().map(Message::Pull),
                Side::Outlet => self.outlets.get_mut(&number)?.transmit(now).map(Message::Push),
            }?;
            self.turn = Some(*key);
            Some((number, message))
        })
    }

    /// The link to the other node broke.
    pub fn lost(&mut self) {
        self.outlets.values_mut().for_each(Outlet::lost);
        self.inlets.values_mut().for_each(Inlet::lost);
    }

    /// Forgets the streams that are over for both ends; whether none are left.
    pub fn sweep(&mut self) -> bool {
        self.outlets.retain(|_, outlet| !outlet.is_closed());
        self.inlets.retain(|_, inlet| !inlet.is_closed());
        self.outlets.is_empty() && self.inlets.is_empty()
    }

    /// When the stream that has stood still for longest made its last progress, of those that have not ended.
    pub fn last_progress(&self) -> Option<Duration> {
        let outlets = self.outlets.values().filter(|outlet| outlet.ending().is_none()).map(Outlet::last_progress);
        let inlets = self.inlets.values().filter(|inlet| inlet.ending().is_none()).map(Inlet::last_progress);
        outlets.chain(inlets).min()
    }
}
