//! Whom a call goes to: the process with the fewest calls in flight, among equals the one whose turn is longest ago.
//!
//! Calls in flight are those that the registry's owner sees, and those that it is told of: a controller does not see the
//! calls between the processes of one node. What it is told is never what it sees: the two are added, so that old news
//! of some calls does not count against the process that is rid of them twice.
//!
//! The turn is the process's, not the callback's, so that it also decides between versions of one callback. In groups of
//! more than [`MAX_SCANNED_MEMBERS`] each choice looks at a window that moves on by one choice after the other: the
//! work is bounded, and everybody gets his share.

use std::cmp::Ordering;

use super::Registry;
use crate::id::GroupId;
use crate::session::Random;

/// Most members that one choice compares.
pub const MAX_SCANNED_MEMBERS: usize = 64;

/// Turns start above all first turns, which are random below it.
const FIRST_TURN: u64 = 1 << 32;

/// What a process's turn depends on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// Calls in flight that this registry's owner sees.
    seen: u32,
    /// Those that pass it by, as far as it was told.
    apart: u32,
    last: u64,
}

/// How a process stands in line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Turn {
    in_flight: u32,
    last: u64,
}

impl Place {
    fn turn(&self) -> Turn {
        Turn { in_flight: self.seen.saturating_add(self.apart), last: self.last }
    }
}

/// Hands out turns.
#[derive(Debug)]
pub(super) struct Turns {
    random: Random,
    next: u64,
}

impl Turns {
    pub(super) fn new(random: Random) -> Self {
        Self { random, next: FIRST_TURN }
    }

    /// Where a new process stands among equals: anywhere, but before all that had a turn.
    pub(super) fn first(&mut self) -> Place {
        Place { seen: 0, apart: 0, last: self.random.bits() % FIRST_TURN }
    }

    /// Where the window of a choice among this many starts; it moves on with every call that begins.
    fn start(&self, members: usize) -> usize {
        match members {
            0..=MAX_SCANNED_MEMBERS => 0,
            _ => usize::try_from(self.next).unwrap_or(0).wrapping_mul(MAX_SCANNED_MEMBERS) % members,
        }
    }

    fn take(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}

/// A member to be chosen. The least is the best.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Choice<M> {
    turn: Turn,
    /// The process.
    pub process: M,
    /// The callback's place in its table.
    pub callback: u32,
    /// The group that it was found in.
    pub group: GroupId,
}

impl<M: Ord> Choice<M> {
    /// Which of two is to serve; a process that has both serves equally well with either.
    pub fn by_process(&self, other: &Self) -> Ordering {
        (self.turn, &self.process).cmp(&(other.turn, &other.process))
    }
}

impl<M: Copy + Ord> Registry<M> {
    /// The best member of a group among those that may serve.
    pub fn best(&self, id: GroupId, may_serve: impl Fn(M) -> bool) -> Option<Choice<M>> {
        let members = self.groups.get(&id)?.members();
        let (before, from) = members.split_at_checked(self.turns.start(members.len()))?;
        let candidates = from.iter().chain(before).filter(|member| may_serve(member.process));
        let choices = candidates.take(MAX_SCANNED_MEMBERS).filter_map(|member| {
            let turn = self.seats.get(&member.process)?.place.turn();
            Some(Choice { turn, process: member.process, callback: member.callback, group: id })
        });
        choices.min()
    }

    /// The member of a group that is this process.
    pub fn pinned(&self, id: GroupId, process: M) -> Option<Choice<M>> {
        let place = self.groups_of(process).iter().position(|group| *group == id)?;
        let turn = self.seats.get(&process)?.place.turn();
        Some(Choice { turn, process, callback: u32::try_from(place).ok()?, group: id })
    }

    /// A call goes to this process.
    pub fn began(&mut self, process: M) {
        let last = self.turns.take();
        if let Some(seat) = self.seats.get_mut(&process) {
            seat.place = Place { seen: seat.place.seen.saturating_add(1), last, ..seat.place };
        }
    }

    /// A call to this process is over.
    pub fn ended(&mut self, process: M) {
        if let Some(seat) = self.seats.get_mut(&process) {
            seat.place.seen = seat.place.seen.saturating_sub(1);
        }
    }

    /// So many calls to this process pass by this registry's owner.
    pub fn set_apart(&mut self, process: M, apart: u32) {
        if let Some(seat) = self.seats.get_mut(&process) {
            seat.place.apart = apart;
        }
    }

    /// How many calls are in flight to this process that this registry's owner sees, and how many more that it was told
    /// of.
    pub fn in_flight(&self, process: M) -> (u32, u32) {
        self.seats.get(&process).map_or((0, 0), |seat| (seat.place.seen, seat.place.apart))
    }
}
