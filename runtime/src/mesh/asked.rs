//! Who waits for which answer of the node.
//!
//! Invariants: an answer goes to the one who asked with its token, once; who has gone is no error; whoever is at the desk tells first
//! what happened first. The ends of calls are told when he leaves, or before whatever happened next is told: who is woken by one
//! mostly makes the next call, and finds nobody at the desk then. What the requests mean is not known here.

use std::sync::Arc;

use daffi_proto::call::{GatherEnd, GatherEntry, MemberEvent, ProcessInfo, Resolved};
use daffi_proto::error::CallError;
use daffi_proto::id::{LocalId, Token};
use daffi_proto::schedule::TaskPage;
use foldhash::HashMap;
use tokio::sync::{mpsc, oneshot};

use super::handle::{Answer, Gathered, Serve};

/// The first of the tokens that the driver chooses itself; those of handles count from 1.
const OWN_TOKENS: u64 = 1 << 63;

/// The way back to who asks for one thing and may be refused it.
pub(super) type Reply<T> = oneshot::Sender<Result<T, CallError>>;

/// Somebody who waits.
pub(super) enum Asker {
    /// For a process's number; with what serves it.
    Add(Arc<dyn Serve>, Reply<LocalId>),
    /// For the end of a call.
    Call(oneshot::Sender<Answer>),
    /// For the entries of a broadcast and its end.
    Gather(mpsc::Sender<Gathered>),
    /// For what becomes of a schedule, or for tasks.
    Tasks(Reply<TaskPage>),
    /// For what a name means.
    Resolve(Reply<Resolved>),
    /// For a process or callback to come.
    Wait(Reply<()>),
    /// For whatever happens to the processes of a tenant, until he gives up.
    Watch(mpsc::Sender<Result<MemberEvent, CallError>>),
    /// For a list.
    List(oneshot::Sender<Vec<ProcessInfo>>),
}

/// Of the calls that are open, so large a part is told of together when it has ended: the others are on their way meanwhile.
const PART: usize = 4;

/// So many that ended are worth waking their callers for, and are as many as wait to be told of.
const FEW_ENDED: usize = 8;
const MOST_ENDED: usize = 64;

/// Calls that ended, whose callers are not told yet.
#[derive(Default)]
pub(super) struct Ended(Vec<(oneshot::Sender<Answer>, Answer)>);

impl Ended {
    /// Tells them, in their order.
    pub(super) fn tell(&mut self) {
        for (reply, result) in self.0.drain(..) {
            let _ = reply.send(result);
        }
    }
}

/// All who wait.
pub(super) struct Asked {
    askers: HashMap<Token, Asker>,
    /// How many of them wait for the end of a call.
    calls: usize,
    ended: Ended,
    /// How many were told of the end of a call in this turn.
    told: usize,
    last_own_token: u64,
}

impl Asked {
    /// Nobody.
    pub(super) fn new() -> Self {
        Self { askers: HashMap::default(), calls: 0, ended: Ended::default(), told: 0, last_own_token: OWN_TOKENS }
    }

    /// A token for a request whose asker brought none.
    pub(super) fn next_token(&mut self) -> Token {
        self.last_own_token += 1;
        Token(self.last_own_token)
    }

    /// One more.
    pub(super) fn insert(&mut self, token: Token, asker: Asker) {
        self.calls += usize::from(matches!(asker, Asker::Call(_)));
        self.askers.insert(token, asker);
    }

    /// He waits no more.
    pub(super) fn forget(&mut self, token: Token) {
        self.take(token);
    }

    /// How many wait for the end of a call.
    pub(super) fn calls(&self) -> usize {
        self.calls
    }

    fn take(&mut self, token: Token) -> Option<Asker> {
        let asker = self.askers.remove(&token)?;
        self.calls -= usize::from(matches!(asker, Asker::Call(_)));
        Some(asker)
    }

    /// Who wanted to add a process.
    pub(super) fn take_add(&mut self, token: Token) -> Option<(Arc<dyn Serve>, Reply<LocalId>)> {
        match self.take(token) {
            Some(Asker::Add(service, reply)) => Some((service, reply)),
            _ => None,
        }
    }

    /// A call ended. Its caller is told with the next [`Ended::tell`].
    pub(super) fn call_done(&mut self, token: Token, result: Answer) {
        if let Some(Asker::Call(reply)) = self.take(token) {
            self.ended.0.push((reply, result));
            if self.ended.0.len() >= (self.calls / PART).clamp(FEW_ENDED, MOST_ENDED) {
                self.tell_ended();
            }
        }
    }

    /// Whether a call has ended whose caller is not told.
    pub(super) fn has_ended(&self) -> bool {
        !self.ended.0.is_empty()
    }

    /// The calls that ended and whose callers are not told, in exchange for an empty list.
    pub(super) fn swap_ended(&mut self, ended: &mut Ended) {
        std::mem::swap(&mut self.ended, ended);
    }

    /// Tells the callers of all that have ended.
    pub(super) fn tell_ended(&mut self) {
        self.told += self.ended.0.len();
        self.ended.tell();
    }

    /// A turn begins.
    pub(super) fn begin_turn(&mut self) {
        self.told = 0;
    }

    /// Whether so many were told of the end of a call in this turn that they have enough to do.
    pub(super) fn has_told_many(&self) -> bool {
        self.told >= MOST_ENDED
    }

    /// A process has its entry in a broadcast.
    pub(super) fn gathered(&self, token: Token, entry: GatherEntry) {
        if let Some(Asker::Gather(entries)) = self.askers.get(&token) {
            // There is a place for each; only who has gone does not get it.
            let _ = entries.try_send(Gathered::Entry(entry));
        }
    }

    /// A broadcast ended.
    pub(super) fn gather_done(&mut self, token: Token, result: Result<GatherEnd, CallError>) {
        if let Some(Asker::Gather(entries)) = self.take(token) {
            let _ = entries.try_send(Gathered::Done(result));
        }
    }

    /// A schedule was made, or tasks were looked at or cancelled.
    pub(super) fn tasks_done(&mut self, token: Token, result: Result<TaskPage, CallError>) {
        if let Some(Asker::Tasks(reply)) = self.take(token) {
            let _ = reply.send(result);
        }
    }

    /// A name was looked up.
    pub(super) fn resolved(&mut self, token: Token, result: Result<Resolved, CallError>) {
        if let Some(Asker::Resolve(reply)) = self.take(token) {
            let _ = reply.send(result);
        }
    }

    /// A wait ended.
    pub(super) fn wait_done(&mut self, token: Token, result: Result<(), CallError>) {
        if let Some(Asker::Wait(reply)) = self.take(token) {
            let _ = reply.send(result);
        }
    }

    /// A process came or went. False when whoever watches has fallen too far behind, and is not told any more.
    pub(super) fn member(&mut self, token: Token, event: MemberEvent) -> bool {
        let Some(Asker::Watch(events)) = self.askers.get(&token) else { return true };
        let told = events.try_send(Ok(event)).is_ok();
        if !told {
            self.take(token);
        }
        told
    }

    /// There will be nothing to watch.
    pub(super) fn watch_refused(&mut self, token: Token, error: CallError) {
        if let Some(Asker::Watch(events)) = self.take(token) {
            let _ = events.try_send(Err(error));
        }
    }

    /// A list is there.
    pub(super) fn listed(&mut self, token: Token, processes: Vec<ProcessInfo>) {
        if let Some(Asker::List(reply)) = self.take(token) {
            let _ = reply.send(processes);
        }
    }
}
