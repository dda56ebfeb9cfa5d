//! The streams of one call between this node and one other.
//!
//! Streams are numbered by the side that sends the value in which they stand, which is also the side that writes them:
//! so this node's outlets and inlets are numbered apart, and what arrives names one of them by what it is.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{BadStream, Ending, Inlet, Outlet, Pull, Push};
use crate::error::CallError;

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
                Side::Inlet => self.inlets.get_mut(&number)?.transmit(now).map(Message::Pull),
                Side::Outlet => self.outlets.get_mut(&number)?.transmit(now).map(Message::Push),
            }?;
            self.turn = Some(*key);
            Some((number, message))
        })
    }

    /// Forgets the streams that are over for both ends; whether none are left.
    pub fn sweep(&mut self) -> bool {
        self.outlets.retain(|_, outlet| !outlet.is_closed());
        self.inlets.retain(|_, inlet| !inlet.is_closed());
        self.outlets.is_empty() && self.inlets.is_empty()
    }

    /// When there was progress last, in any of them.
    pub fn last_progress(&self) -> Option<Duration> {
        let outlets = self.outlets.values().map(Outlet::last_progress);
        outlets.chain(self.inlets.values().map(Inlet::last_progress)).max()
    }

    /// The items are wanted for something that goes on, though none is taken: lets a writer know.
    pub fn sign(&mut self) {
        if let Some(inlet) = self.inlets.values_mut().find(|inlet| inlet.ending().is_none()) {
            inlet.sign();
        }
    }

    /// Nothing more comes or goes: what was written is lost, what has arrived can still be read.
    pub fn cut(&mut self, written: &Ending, read: &Ending) {
        self.outlets.values_mut().for_each(|outlet| outlet.cut(written.clone()));
        self.inlets.values_mut().for_each(|inlet| inlet.cut(read.clone()));
    }

    /// Nobody here reads any more, for this reason: what has arrived is dropped.
    pub fn drop_unread(&mut self, error: &CallError) {
        self.inlets.values_mut().for_each(|inlet| inlet.cancel(Some(error.clone())));
    }

    /// Nobody here reads or writes them any more, for this reason.
    pub fn give_up(&mut self, error: &CallError) {
        self.drop_unread(error);
        self.outlets.values_mut().for_each(|outlet| outlet.fail(error.clone()));
    }

    /// Whether the other node knows of a stream that this one writes, and may have had something of it.
    pub fn has_begun(&self) -> bool {
        self.outlets.values().any(Outlet::is_begun)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.outlets.len() + self.inlets.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One of those that are read here and have an item to wait for in line, from now on.
    pub fn lines_up(&mut self) -> Option<u32> {
        self.inlets.iter_mut().find_map(|(number, inlet)| inlet.lines_up().then_some(*number))
    }

    /// How many bytes may be here or come beyond the windows of those that are read here.
    pub fn beyond(&self) -> u64 {
        self.inlets.values().map(Inlet::beyond).sum()
    }

    /// How many bytes wait to be read.
    pub fn waiting_bytes(&self) -> usize {
        self.inlets.values().map(Inlet::waiting_bytes).sum()
    }
}
