//! Calls that may come twice: what is known of them, so that they do not run twice.
//!
//! ```text
//!   Call with a key ──▶ runs ──result──▶ kept ──time over, pushed out──▶ forgotten
//!                        │ └── failed, cancelled, its caller was told ──▶ forgotten
//!   the same key again:  │ attached to the run         │ answered        runs
//!                        └── caller's link lost: it runs on for a while, for who asks again
//! ```
//!
//! A key is its node's (the controller refuses keys of others) and belongs to one caller, receiver, callback and list of
//! arguments: with any other it is refused, and finds out nothing. Invariants: a run that is attached to has one caller,
//! the last; what is kept is bounded in number, bytes and time, and what is pushed out is what would be forgotten first.
//! What it promises ends with this node's process, and with what is forgotten: a call that comes after that runs again.

use std::collections::{BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use bytes::Bytes;

use super::serve::{AnswerTo, Served, Wish};
use super::{Node, Wire, outcome};
use crate::call::ServeResult;
use crate::error::CallError;
use crate::frame::{Frame, Header};
use crate::id::{LocalId, ProcessRef, RepeatKey, ServeId};
use crate::session::GRACE;

/// Most results that are kept for those who may ask again.
pub const MAX_KEPT_RESULTS: usize = 4096;

/// Most bytes of them together.
pub const MAX_KEPT_BYTES: usize = 16 * 1024 * 1024;

/// How long a result is kept at most; not longer than its call could take.
pub const KEPT_FOR: Duration = Duration::from_secs(120);

/// What an attempt of a call asks for, and who asks: the same in all attempts.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Attempt {
    process: LocalId,
    callback: u32,
    caller: Option<ProcessRef>,
    /// Of the arguments. It tells a defect from a repetition, and is no defence: keys are nobody's but their node's.
    args: u64,
}

impl Attempt {
    pub fn new(process: LocalId, callback: u32, caller: Option<ProcessRef>, args: &[u8]) -> Self {
        let mut hasher = DefaultHasher::new();
        args.hash(&mut hasher);
        Self { process, callback, caller, args: hasher.finish() }
    }
}

#[derive(Debug)]
enum State {
    Runs(ServeId),
    Done(Bytes),
}

/// What is known of calls that came with a key.
#[derive(Debug, Default)]
pub(super) struct Repeats {
    calls: HashMap<RepeatKey, (Attempt, State)>,
    /// The results, by when they are forgotten.
    kept: BTreeSet<(Duration, RepeatKey)>,
    kept_bytes: usize,
    /// The calls that run on for callers whose links were lost, by how long they do.
    orphans: BTreeSet<(Duration, ServeId)>,
}

impl Repeats {
    /// A call with this key begins here.
    pub fn runs(&mut self, key: RepeatKey, attempt: Attempt, serve: ServeId) {
        self.calls.insert(key, (attempt, State::Runs(serve)));
    }

    /// The run of a call is over, with this result, or what it comes to is of use to nobody.
    fn over(&mut self, key: RepeatKey, serve: ServeId, result: Option<(&Bytes, Duration)>) {
        let Some((_, state)) = self.calls.get_mut(&key) else { return };
        if !matches!(state, State::Runs(runs) if *runs == serve) {
            return;
        }
        match result.filter(|(result, _)| result.len() <= MAX_KEPT_BYTES) {
            Some((result, until)) => {
                *state = State::Done(result.clone());
                self.kept_bytes += result.len();
                self.kept.insert((until, key));
                while self.kept.len() > MAX_KEPT_RESULTS || self.kept_bytes > MAX_KEPT_BYTES {
                    self.forget_first();
                }
            }
            None => drop(self.calls.remove(&key)),
        }
    }

    fn forget_first(&mut self) {
        let Some((_, key)) = self.kept.pop_first() else { return };
        if let Some((_, State::Done(result))) = self.calls.remove(&key) {
            self.kept_bytes -= result.len();
        }
    }

    /// When something is to be forgotten or given up.
    pub fn next_due(&self) -> Option<Duration> {
        let kept = self.kept.first().map(|(until, _)| *until);
        kept.into_iter().chain(self.orphans.first().map(|(until, _)| *until)).min()
    }

    pub fn len(&self) -> usize {
        self.calls.len()
    }
}

impl Node {
    /// Takes an attempt of a call that is here already. False when it is not: it is to run.
    pub(super) fn take_repeated(&mut self, id: Wire, key: RepeatKey, attempt: &Attempt) -> bool {
        let Some((known, state)) = self.repeats.calls.get(&key) else { return false };
        let name = self.locals.get(&known.process).map(|local| local.process.name.clone());
        if known != attempt {
            let name = self.locals.get(&attempt.process).map(|local| local.process.name.clone());
            self.fail_incoming(id, &outcome::other_call_of_key(name.as_ref()), false);
            return true;
        }
        match state {
            State::Runs(serve) => self.attach(id, *serve),
            State::Done(result) => {
                let result = Ok(result.clone());
                self.answer_incoming(id, name, result);
            }
        }
        true
    }

    /// A further attempt waits for a call that runs; the one before waits no more.
    fn attach(&mut self, id: Wire, serve: ServeId) {
        let Some(served) = self.serves.get_mut(&serve) else { return };
        let orphan = served.orphan_until.take();
        let (former, process) = (std::mem::replace(&mut served.caller, AnswerTo::Link(id)), served.process);
        self.incoming.insert(id, serve);
        if let Some(until) = orphan {
            self.repeats.orphans.remove(&(until, serve));
        }
        match former {
            AnswerTo::Link(former) => {
                self.incoming.remove(&former);
                match orphan {
                    Some(_) => self.send_over(former.via, Frame::new(Header::Ended { id: former.id })),
                    None => self.fail_incoming(former, &outcome::superseded(), false),
                }
            }
            AnswerTo::Nobody => {
                if let Some(local) = self.locals.get_mut(&process) {
                    local.relayed += 1;
                }
                self.apart_changed(process);
            }
            AnswerTo::Call(_) | AnswerTo::Item(_) | AnswerTo::Task { .. } => {} // those have no keys
        }
    }

    /// The link of a call's caller was lost: one that may be asked for again runs on for a while, any other is cancelled.
    pub(super) fn caller_lost(&mut self, id: ServeId, error: &CallError) {
        let until = self.now + GRACE;
        match self.serves.get_mut(&id) {
            Some(served) if served.repeat.is_some() && served.wish == Wish::Wanted => {
                if served.orphan_until.is_none() {
                    served.orphan_until = Some(until);
                    self.repeats.orphans.insert((until, id));
                }
            }
            _ => self.cancel_serve_for(id, error),
        }
    }

    /// Nobody is to be attached to this call any more.
    pub(super) fn forget_repeat(&mut self, id: ServeId) {
        let Some(served) = self.serves.get_mut(&id) else { return };
        if let Some(key) = served.repeat.take() {
            self.repeats.over(key, id, None);
        }
        if let Some(until) = served.orphan_until.take() {
            self.repeats.orphans.remove(&(until, id));
        }
    }

    /// A call is over: its result is kept, if somebody may ask for it again.
    pub(super) fn keep_for_repeat(&mut self, id: ServeId, served: &Served, result: &ServeResult) {
        let until = served.deadline.min(self.now + KEPT_FOR);
        if let Some(key) = served.repeat {
            self.repeats.over(key, id, result.as_ref().ok().map(|result| (result, until)));
        }
        if let Some(orphan_until) = served.orphan_until {
            self.repeats.orphans.remove(&(orphan_until, id));
        }
    }

    /// Forgets what is kept for too long, and gives up those who did not come back.
    pub(super) fn check_repeats(&mut self) {
        while self.repeats.kept.first().is_some_and(|(until, _)| *until <= self.now) {
            self.repeats.forget_first();
        }
        while let Some((until, serve)) = self.repeats.orphans.first().copied() {
            if until > self.now {
                return;
            }
            self.cancel_serve(serve);
        }
    }
}
