//! The tasks of one process.
//!
//! Its owner calls [`Tasks::due`] until there is nothing, after whatever it did to the table and at
//! [`Tasks::next_timeout`] at the latest; carries out each [`Step::Run`] as a call without a caller, within its
//! timeout; and tells [`Tasks::ended`] what came of it, exactly once a run.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::time::Duration;

use bytes::Bytes;

use super::info::{RunNumber, TaskId, TaskInfo, TaskNumber, TaskState};
use super::plan::TaskSpec;
use super::task::{Task, Verdict};
use super::ticks::{Mono, Ticks, Wake};
use super::time::{Clock, Utc};
use super::unwritten::{Marks, Unwritten};
use super::{ScheduleError, UTC_CHECK_EVERY};
use crate::error::CallError;
use crate::id::ProcessName;
use crate::name::CallbackName;
use crate::signature::Fingerprint;

/// Tasks of a process that are not finished, where nothing else is said.
pub const DEFAULT_MAX_TASKS: usize = 64;

/// The highest limit of a process's tasks.
pub const MAX_TASKS: usize = 1024;

/// How many finished tasks are still listed; the one that finished first goes first. They do not count for the limit.
pub const KEPT_FINISHED_TASKS: usize = 32;

/// See the module.
#[derive(Clone, Debug)]
pub struct Tasks {
    pub(super) process: ProcessName,
    limit: usize,
    pub(super) next_number: TaskNumber,
    pub(super) tasks: BTreeMap<TaskNumber, Task>,
    wakes: BTreeSet<(Wake, TaskNumber)>,
    /// Tasks whose waiting run may begin.
    ready: BTreeSet<TaskNumber>,
    /// The oldest first.
    finished: VecDeque<TaskNumber>,
    /// The clock when the table was last looked at.
    looked: Clock,
    changes: u64,
    /// See [`Tasks::generation`].
    pub(super) generation: u64,
    pub(super) marks: Marks,
}

/// What to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// Call the callback.
    Run(Run),
    /// For the log: the tick was passed over, since a run is in flight.
    Skipped {
        /// The task.
        task: TaskId,
        /// The tick.
        tick: Utc,
    },
    /// For the log: the tick is too late.
    Missed {
        /// The task.
        task: TaskId,
        /// The tick.
        tick: Utc,
    },
}

/// A run that begins now. Its deadline is its timeout from now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Run {
    /// The task.
    pub task: TaskId,
    /// Which of its runs.
    pub run: RunNumber,
    /// The tick that it is for; earlier than now where it had to wait or was missed.
    pub tick: Utc,
    /// The callback.
    pub callback: CallbackName,
    /// The signature that the arguments were made for; the callback's may have changed since.
    pub fingerprint: Fingerprint,
    /// The arguments in postcard, not checked yet.
    pub args: Bytes,
    /// How long it may take.
    pub timeout: Duration,
}

impl Tasks {
    /// An empty table. The limit is cut to [`MAX_TASKS`].
    pub fn new(process: ProcessName, limit: usize, clock: Clock) -> Self {
        Self {
            process,
            limit: limit.min(MAX_TASKS),
            next_number: TaskNumber(clock.utc.as_micros() / 1000),
            tasks: BTreeMap::new(),
            wakes: BTreeSet::new(),
            ready: BTreeSet::new(),
            finished: VecDeque::new(),
            looked: clock,
            changes: 0,
            // Unlike that of a table of this name before it, whose journal may still be there.
            generation: clock.utc.as_micros(),
            marks: Marks::default(),
        }
    }

    /// Makes a task.
    ///
    /// # Errors
    /// What is wrong with it, or that the table is full.
    pub fn add(&mut self, clock: Clock, spec: TaskSpec) -> Result<TaskId, ScheduleError> {
        self.look(clock);
        let spec = spec.checked(clock.utc)?;
        if self.unfinished() >= self.limit {
            return Err(ScheduleError::TooManyTasks { process: self.process.clone(), limit: self.limit });
        }
        let number = self.next_number;
        self.next_number = TaskNumber(number.0.saturating_add(1));
        self.insert(Task::new(number, spec, clock));
        self.table_changed();
        Ok(self.id(number))
    }

    /// Takes a task out, finished or not. Its runs in flight go on, and their ends are none of ours any more.
    ///
    /// # Errors
    /// [`ScheduleError::NoSuchTask`].
    pub fn cancel(&mut self, id: &TaskId) -> Result<(), ScheduleError> {
        let found = if id.process == self.process { self.tasks.remove(&id.number) } else { None };
        let task = found.ok_or_else(|| ScheduleError::NoSuchTask(id.clone()))?;
        if let Some(wake) = task.ticks.wake() {
            self.wakes.remove(&(wake, task.number));
        }
        self.ready.remove(&id.number);
        self.finished.retain(|number| *number != id.number);
        self.marks.gone(id.number);
        self.table_changed();
        Ok(())
    }

    /// The next thing to do, until there is none.
    pub fn due(&mut self, clock: Clock) -> Option<Step> {
        self.look(clock);
        loop {
            let step = match self.ready.pop_first() {
                Some(number) => self.run_queued(number),
                None => {
                    let number = self.first_due()?;
                    self.tick(number)
                }
            };
            if step.is_some() {
                return step;
            }
        }
    }

    /// A run has ended, with the callback's result dropped. One of a task that was cancelled is none of ours any more.
    pub fn ended(&mut self, clock: Clock, task: &TaskId, run: RunNumber, result: Result<(), &CallError>) {
        self.look(clock);
        let Some(task) = self.tasks.get_mut(&task.number).filter(|_| task.process == self.process) else { return };
        if !task.ended(run, result, clock.utc) {
            return;
        }
        let number = task.number;
        self.marks.ended(number, result.is_err());
        if task.queued.is_some() {
            self.ready.insert(number);
        }
        self.settle(number);
    }

    /// When to call [`Tasks::due`] again at the latest, on the monotonic clock.
    pub fn next_timeout(&self) -> Option<Duration> {
        if !self.ready.is_empty() {
            return Some(self.looked.mono);
        }
        let mono = self.wakes.first().and_then(|(wake, _)| match wake {
            Wake::Mono(at) => Some(at.as_duration()),
            Wake::Utc(_) => None,
        });
        let utc = self.first_utc().map(|(at, _)| {
            let pause = at.since(self.looked.utc).min(UTC_CHECK_EVERY);
            self.looked.mono.saturating_add(pause)
        });
        mono.into_iter().chain(utc).min()
    }

    /// The tasks, the oldest first.
    pub fn list(&self, clock: Clock) -> impl Iterator<Item = TaskInfo> {
        self.list_after(clock, None)
    }

    /// The tasks that were made after this one, the oldest first.
    pub fn list_after(&self, clock: Clock, after: Option<TaskNumber>) -> impl Iterator<Item = TaskInfo> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.tasks.range((from, Bound::Unbounded)).map(move |(_, task)| task.info(&self.process, clock))
    }

    /// Whose tasks they are.
    pub fn process(&self) -> &ProcessName {
        &self.process
    }

    /// What the tasks call, finished ones included: with which signature.
    pub fn callbacks(&self) -> impl Iterator<Item = (TaskId, &CallbackName, Fingerprint)> {
        self.tasks.values().map(|task| (self.id(task.number), &task.spec.callback, task.spec.fingerprint))
    }

    /// A task.
    ///
    /// # Errors
    /// [`ScheduleError::NoSuchTask`].
    pub fn get(&self, clock: Clock, id: &TaskId) -> Result<TaskInfo, ScheduleError> {
        let found = self.tasks.get(&id.number).filter(|_| id.process == self.process);
        found.map(|task| task.info(&self.process, clock)).ok_or_else(|| ScheduleError::NoSuchTask(id.clone()))
    }

    /// How many tasks there are that have not finished: those that the limit is for.
    pub fn unfinished(&self) -> usize {
        self.tasks.len().saturating_sub(self.finished.len())
    }

    /// How many tasks there are, finished ones included.
    pub fn len(&self) -> usize {
        self.tasks.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    /// How often a task came, went or finished.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// Puts in a task that has a number.
    pub(super) fn insert(&mut self, task: Task) {
        let number = task.number;
        if task.queued.is_some() && task.running.is_empty() {
            self.ready.insert(number);
        }
        if let Some(wake) = task.ticks.wake() {
            self.wakes.insert((wake, number));
        }
        self.tasks.insert(number, task);
        self.settle(number);
    }

    /// Sees what time it is.
    fn look(&mut self, clock: Clock) {
        let before = self.looked;
        self.looked = Clock { mono: clock.mono.max(before.mono), utc: clock.utc };
        if clock.utc >= before.utc {
            return;
        }
        for task in self.tasks.values_mut().filter(|task| task.ticks.wake().is_some()) {
            let was = task.ticks.wake();
            task.ticks.utc_went_back(clock.utc);
            reindex(&mut self.wakes, task, was);
        }
    }

    fn first_utc(&self) -> Option<(Utc, TaskNumber)> {
        let from = (Wake::Utc(Utc::default()), TaskNumber(0));
        self.wakes.range(from..).next().and_then(|(wake, number)| match wake {
            Wake::Utc(at) => Some((*at, *number)),
            Wake::Mono(_) => None,
        })
    }

    /// A task with a tick that has come.
    fn first_due(&self) -> Option<TaskNumber> {
        let now = Mono::new(self.looked.mono);
        match self.wakes.first() {
            Some((Wake::Mono(at), number)) if *at <= now => Some(*number),
            _ => self.first_utc().filter(|(at, _)| *at <= self.looked.utc).map(|(_, number)| number),
        }
    }

    fn tick(&mut self, number: TaskNumber) -> Option<Step> {
        let clock = self.looked;
        let task = self.tasks.get_mut(&number)?;
        let was = task.ticks.wake();
        let due = task.ticks.take(clock);
        reindex(&mut self.wakes, task, was);
        let due = due?;
        self.marks.moved(number, hurry(task));
        let verdict = task.tick(due, clock);
        let step = match verdict {
            Verdict::Run(run) => self.run(number, run, due.tick),
            Verdict::Queued => None,
            Verdict::Skipped => Some(Step::Skipped { task: self.id(number), tick: due.tick }),
            Verdict::Missed => Some(Step::Missed { task: self.id(number), tick: due.tick }),
        };
        self.settle(number);
        step
    }

    fn run_queued(&mut self, number: TaskNumber) -> Option<Step> {
        let task = self.tasks.get_mut(&number)?;
        let (run, tick) = task.take_queued(self.looked)?;
        self.marks.moved(number, hurry(task));
        self.run(number, run, tick)
    }

    fn run(&self, number: TaskNumber, run: RunNumber, tick: Utc) -> Option<Step> {
        let spec = &self.tasks.get(&number)?.spec;
        Some(Step::Run(Run {
            task: self.id(number),
            run,
            tick,
            callback: spec.callback.clone(),
            fingerprint: spec.fingerprint,
            args: spec.args.clone(),
            timeout: spec.timeout,
        }))
    }

    /// Sets a task aside that has finished.
    fn settle(&mut self, number: TaskNumber) {
        let finished = self.tasks.get(&number).is_some_and(|task| task.state() == TaskState::Finished);
        if !finished || self.finished.contains(&number) {
            return;
        }
        self.table_changed();
        self.finished.push_back(number);
        if self.finished.len() > KEPT_FINISHED_TASKS
            && let Some(oldest) = self.finished.pop_front()
        {
            self.tasks.remove(&oldest);
            self.marks.gone(oldest);
        }
    }

    fn table_changed(&mut self) {
        self.changes += 1;
        self.marks.hurry(Unwritten::Tasks);
    }

    fn id(&self, number: TaskNumber) -> TaskId {
        TaskId { process: self.process.clone(), number }
    }
}

/// How much it hurries that a tick of a task is written down.
fn hurry(task: &Task) -> Unwritten {
    match task.ticks {
        Ticks::Every { .. } => Unwritten::Counts,
        Ticks::At { .. } | Ticks::Cron { .. } => Unwritten::Ticks,
    }
}

/// Puts a task that was to be looked at then to its new place.
fn reindex(wakes: &mut BTreeSet<(Wake, TaskNumber)>, task: &Task, was: Option<Wake>) {
    let now = task.ticks.wake();
    if now != was {
        was.map(|wake| wakes.remove(&(wake, task.number)));
        now.map(|wake| wakes.insert((wake, task.number)));
    }
}
