//! What the tasks of an instance work for, and the time that each has used.
//!
//! A task is a call of one export, with all that it goes on doing after its result is there. Several share an instance
//! and its thread, so that no clock of the whole says who used how much: a tick charges the task that it finds running
//! with the time since the thread was given to the instance, and with a tick's at least: it stands for the short turns that no tick
//! finds. By chance alone that is now too much and now too little for each; over many ticks it is what each used, however
//! many others are busy.
//! Invariants: what a call gave its task (its chain, its deadline) stays with the task after the call has returned; an
//! instance is ended for what one task used, never for what many used together. wasmtime does not tell when a task ends,
//! and uses its id again: then it stands for the new task ([`Tasks::begin`]), so that there never are more entries than
//! there were tasks at one time.

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::hash::Hash;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use super::engine::{Clock, Guest, TICK};
use super::lent::lent;
use super::state::Scope;
use super::threads;

/// The tasks of an instance.
#[derive(Debug)]
pub(super) struct Tasks<Id> {
    tasks: HashMap<Id, Task>,
    /// What those work for that nobody told of: what the instance's start left behind.
    others: Scope,
    /// How much time one may use.
    most: Duration,
    over: Option<Overrun>,
}

#[derive(Debug, Default)]
struct Task {
    scope: Scope,
    /// Since its streams moved last, where it has some.
    used: Duration,
    /// When its streams had moved last.
    moved: Option<Instant>,
    /// Whether the call is over.
    returned: bool,
}

/// A task that used more time than it may.
#[derive(Clone, Debug)]
pub(super) struct Overrun {
    /// What it worked for.
    pub scope: Scope,
    /// Whether that call had its result before.
    pub returned: bool,
}

impl<Id: Eq + Hash> Tasks<Id> {
    pub fn new(most: Duration) -> Self {
        Self { tasks: HashMap::new(), others: Scope::default(), most, over: None }
    }

    /// Tasks of which [`Tasks::begin`] does not tell work for this.
    pub fn others(&mut self, scope: Scope) {
        self.others = scope;
    }

    /// A task begins to work for this.
    pub fn begin(&mut self, id: Id, scope: Scope) {
        self.tasks.insert(id, Task { scope, ..Task::default() });
    }

    /// The task's call has its result, and goes on for the sake of its streams: as long as they move, it has time.
    pub fn streams(&mut self, id: &Id) {
        if let Some(task) = self.tasks.get_mut(id) {
            task.scope.deadline = None;
        }
    }

    /// The task's call is over.
    pub fn returned(&mut self, id: &Id) {
        if let Some(task) = self.tasks.get_mut(id) {
            task.returned = true;
        }
    }

    /// No task is left in the instance.
    pub fn all_ended(&mut self) {
        self.tasks.clear();
    }

    /// What a task works for.
    pub fn scope(&self, id: &Id) -> Scope {
        self.tasks.get(id).map_or(&self.others, |task| &task.scope).clone()
    }

    /// A task has used so much more time. False when that is more than it may.
    pub fn charge(&mut self, id: Id, time: Duration) -> bool {
        let others = || Task { scope: self.others.clone(), ..Task::default() };
        let task = self.tasks.entry(id).or_insert_with(others);
        let moved = task.scope.streams.as_ref().and_then(|streams| streams.last_moved());
        if moved > task.moved {
            (task.used, task.moved) = (Duration::ZERO, moved);
        }
        task.used += time;
        if task.used < self.most {
            return true;
        }
        self.over = Some(Overrun { scope: task.scope.clone(), returned: task.returned });
        false
    }

    /// The task for which the instance was ended, if one was.
    pub fn overrun(&self) -> Option<&Overrun> {
        self.over.as_ref()
    }
}

/// Since when an instance has the thread. Shared by whoever polls its guests and the store, which the guests borrow. While they
/// are polled the epoch ticks, which interrupts them: so all that may enter a guest goes through here.
pub(super) struct Turn {
    clock: Clock,
    epoch: Instant,
    /// By the clock of the thread that has it; 0 while nobody counts.
    since: AtomicU64,
    /// Nanoseconds that the one call of the instance has computed.
    used: AtomicU64,
    /// Whether calls interleave in the instance, so that what comes of any of them is for it at once. Another one waits for one
    /// thing at a time, whatever it has begun.
    interleaves: bool,
    /// For how many answers the instance waits.
    awaited: AtomicUsize,
    /// How many calls were answered at once, one after the other.
    at_once: AtomicUsize,
}

/// So many calls the tasks of an instance make without a wait, where each is answered at once; then other tasks have their turn. One that
/// never waits would keep them from theirs until the next tick.
const MOST_AT_ONCE: usize = 16;

/// A poll that may enter an instance. Whoever polled it learns what the instance waits for.
pub(super) struct Entered<'a> {
    turn: &'a Turn,
    _guest: Guest<'a>,
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        if self.turn.interleaves {
            threads::note_awaited(self.turn.awaited.load(Ordering::Relaxed));
        }
    }
}

/// An answer that an instance waits for, until this is dropped.
pub(super) struct Awaited(Arc<Turn>);

impl Drop for Awaited {
    fn drop(&mut self) {
        self.0.awaited.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Turn {
    /// `interleaves`: whether calls do in the instance.
    pub fn new(clock: Clock, interleaves: bool) -> Self {
        let (since, used) = (AtomicU64::new(0), AtomicU64::new(0));
        let (awaited, at_once) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Self { clock, epoch: Instant::now(), since, used, interleaves, awaited, at_once }
    }

    /// The instance has the thread from now on, until the end of this poll.
    pub fn begin(&self) -> Entered<'_> {
        self.since.store(self.nanoseconds(), Ordering::Relaxed);
        self.enter()
    }

    fn enter(&self) -> Entered<'_> {
        Entered { turn: self, _guest: self.clock.guest() }
    }

    /// Waits for the answer to a call of one of the instance's tasks. Where it is there at once, others may have their turn first. Cancel
    /// safe as the call is.
    pub async fn answer<T>(&self, call: impl Future<Output = T>) -> T {
        let (mut call, mut at_once) = (pin!(call), true);
        let answer = poll_fn(|cx| {
            let polled = call.as_mut().poll(cx);
            at_once &= polled.is_ready();
            polled
        })
        .await;
        let so_far = if at_once { self.at_once.load(Ordering::Relaxed) + 1 } else { 0 };
        self.at_once.store(so_far % MOST_AT_ONCE, Ordering::Relaxed);
        if so_far == MOST_AT_ONCE {
            let mut had_theirs = false;
            poll_fn(|cx| match std::mem::replace(&mut had_theirs, true) {
                true => Poll::Ready(()),
                false => {
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
            })
            .await;
        }
        answer
    }

    /// The instance waits for one more answer.
    pub fn awaits(self: &Arc<Self>) -> Awaited {
        self.awaited.fetch_add(1, Ordering::Relaxed);
        Awaited(self.clone())
    }

    /// How long it had the thread since it was asked last, or began; none while nobody counts.
    pub fn take(&self) -> Option<Duration> {
        let now = self.nanoseconds();
        let since = self.since.load(Ordering::Relaxed);
        if since == 0 {
            return None;
        }
        self.since.store(now, Ordering::Relaxed);
        Some(Duration::from_nanos(now.wrapping_sub(since)))
    }

    /// A call begins, the only one in the instance.
    pub fn restart(&self) {
        self.since.store(0, Ordering::Relaxed);
        self.used.store(0, Ordering::Relaxed);
    }

    /// Polls what enters the instance, and does not count how long it computes.
    pub async fn entering<T>(&self, guest: impl Future<Output = T>) -> T {
        let mut guest = pin!(guest);
        poll_fn(|cx| {
            let _entered = self.enter();
            guest.as_mut().poll(cx)
        })
        .await
    }

    /// Whether somebody says that he has the thread.
    pub fn is_begun(&self) -> bool {
        self.clock.has_guest()
    }

    /// A tick finds the instance computing: how long its call has computed so far. What is not counted from a beginning
    /// on is taken for a whole tick.
    pub fn tick(&self) -> Duration {
        self.uses(self.take().unwrap_or(TICK))
    }

    /// Polls the one call of the instance, and counts how long it computes. Its first poll, which is all that most calls
    /// need, is not timed: it ends at the first tick, or at the second.
    /// None where it has computed for `most` and waits: no tick may ever find it.
    pub async fn computing<T>(&self, most: Duration, call: impl Future<Output = T>) -> Option<T> {
        let (mut call, mut is_first) = (pin!(call), true);
        poll_fn(|cx| {
            let _entered = if std::mem::replace(&mut is_first, false) { self.enter() } else { self.begin() };
            if let Poll::Ready(done) = call.as_mut().poll(cx) {
                return Poll::Ready(Some(done));
            }
            let Some(time) = self.take() else { return Poll::Pending };
            self.since.store(0, Ordering::Relaxed);
            if self.uses(time) < most { Poll::Pending } else { Poll::Ready(None) }
        })
        .await
    }

    /// The one call of the instance has computed for so much longer: how long in all.
    fn uses(&self, time: Duration) -> Duration {
        let time = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(self.used.fetch_add(time, Ordering::Relaxed).saturating_add(time))
    }

    /// A clock of this thread, which stands still while it runs another guest. Two of its times in one poll have a difference;
    /// alone they mean nothing, and may have gone round.
    fn nanoseconds(&self) -> u64 {
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        nanos(self.epoch.elapsed()).wrapping_sub(nanos(lent())).max(1)
    }
}

#[cfg(test)]
mod tests {
    use daffi_proto::id::ServeId;
    use futures::FutureExt;

    use super::*;
    use crate::guest::engine::{EngineConfig, Engines};

    fn scope(call: u64) -> Scope {
        Scope { parent: Some(ServeId(call)), ..Scope::default() }
    }

    #[test]
    fn a_task_is_ended_for_its_own_time_and_not_for_that_of_the_others() {
        let mut tasks = Tasks::new(10 * TICK);
        // Busy without a break, in a thousand calls one after the other and two at a time.
        for call in 0..1000 {
            let id = call % 2;
            tasks.begin(id, scope(call));
            assert!(tasks.charge(id, 9 * TICK), "of call {call}");
            tasks.returned(&id);
        }
        assert!(tasks.overrun().is_none());
        tasks.begin(7, scope(1000));
        assert!((0..9).all(|_| tasks.charge(7, TICK) && tasks.charge(8, TICK / 2)));
        assert!(!tasks.charge(7, TICK));
        let over = tasks.overrun().unwrap();
        assert_eq!((over.scope.parent, over.returned), (Some(ServeId(1000)), false));
    }

    #[test]
    fn what_a_call_gave_its_task_stays_after_the_call_has_returned() {
        let mut tasks = Tasks::new(TICK);
        tasks.begin(1, scope(1));
        tasks.returned(&1);
        assert_eq!(tasks.scope(&1).parent, Some(ServeId(1)));
        assert!(!tasks.charge(1, TICK));
        assert!(tasks.overrun().unwrap().returned);
        tasks.all_ended();
        assert_eq!(tasks.scope(&1).parent, None);
    }

    #[test]
    fn the_time_of_a_turn_is_counted_once() {
        let engines = Engines::new(EngineConfig::default()).unwrap();
        let turn = Turn::new(engines.clock().clone(), false);
        assert_eq!(turn.take(), None);
        let guest = turn.begin();
        assert!(turn.is_begun());
        drop(guest);
        assert!(!turn.is_begun());
        let (first, second) = (turn.take().unwrap(), turn.take().unwrap());
        assert!(first + second <= turn.epoch.elapsed());
    }

    #[tokio::test]
    async fn who_has_one_answer_after_the_other_at_once_lets_others_have_their_turn() {
        let engines = Engines::new(EngineConfig::default()).unwrap();
        let turn = Turn::new(engines.clock().clone(), true);
        let at_once = || turn.answer(std::future::ready(())).now_or_never().is_some();
        assert!((1..=3 * MOST_AT_ONCE).all(|round| at_once() != round.is_multiple_of(MOST_AT_ONCE)));
        // One that waits begins the count anew.
        (1..MOST_AT_ONCE).for_each(|_| assert!(at_once()));
        let mut polls = 0;
        let waited = poll_fn(|cx| {
            polls += 1;
            cx.waker().wake_by_ref();
            if polls > 1 { Poll::Ready(()) } else { Poll::Pending }
        });
        turn.answer(waited).await;
        assert!((1..MOST_AT_ONCE).all(|_| turn.answer(std::future::ready(())).now_or_never().is_some()));
    }

    #[test]
    fn whoever_polls_an_instance_in_which_calls_interleave_learns_how_many_answers_it_waits_for() {
        let engines = Engines::new(EngineConfig::default()).unwrap();
        for (interleaves, seen) in [(true, [1, 2, 1]), (false, [0, 0, 0])] {
            let turn = Arc::new(Turn::new(engines.clock().clone(), interleaves));
            let awaited_after = || {
                drop(turn.begin());
                threads::Polled::take().awaited
            };
            let _first = turn.awaits();
            let one = awaited_after();
            let second = turn.awaits();
            let both = awaited_after();
            drop(second);
            assert_eq!([one, both, awaited_after()], seen);
        }
    }
}
