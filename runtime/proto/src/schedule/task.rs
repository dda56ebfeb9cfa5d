//! One task: what its ticks come to.
//!
//! ```text
//!            tick                      no run in flight, or beside it ──▶ run
//!  passed ones missed ─▶ too late? ─no─▶ one is in flight ─┬─ QueueOne ──▶ waits (one) ─▶ run, when that has ended
//!                            └yes─▶ missed                 └─ else ──────▶ skipped
//! ```

use std::collections::BTreeSet;

use super::info::{Counts, LastError, RunNumber, TaskId, TaskInfo, TaskNumber, TaskState};
use super::plan::{Missed, Overlap, TaskSpec};
use super::ticks::{Due, Ticks};
use super::time::{Clock, Utc};
use super::{LATE_GRACE, MAX_PARALLEL_RUNS};
use crate::error::CallError;
use crate::id::ProcessName;

#[derive(Clone, Debug)]
pub(super) struct Task {
    pub(super) number: TaskNumber,
    pub(super) spec: TaskSpec,
    pub(super) made: Utc,
    pub(super) ticks: Ticks,
    pub(super) running: BTreeSet<RunNumber>,
    /// The tick whose run waits for the one in flight.
    pub(super) queued: Option<Utc>,
    pub(super) counts: Counts,
    pub(super) last_run: Option<Utc>,
    pub(super) last_error: Option<LastError>,
}

/// What a tick came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    Run(RunNumber),
    Queued,
    Skipped,
    Missed,
}

impl Task {
    pub(super) fn new(number: TaskNumber, spec: TaskSpec, clock: Clock) -> Self {
        let ticks = Ticks::new(&spec.plan, clock);
        Self {
            number,
            spec,
            made: clock.utc,
            ticks,
            running: BTreeSet::new(),
            queued: None,
            counts: Counts::default(),
            last_run: None,
            last_error: None,
        }
    }

    /// A tick has come.
    pub(super) fn tick(&mut self, due: Due, clock: Clock) -> Verdict {
        self.counts.missed = self.counts.missed.saturating_add(due.passed);
        if self.spec.missed == Missed::Skip && due.late > LATE_GRACE {
            self.counts.missed = self.counts.missed.saturating_add(1);
            return Verdict::Missed;
        }
        let most = if self.spec.overlap == Overlap::Parallel { MAX_PARALLEL_RUNS } else { 1 };
        if self.running.len() < most {
            return Verdict::Run(self.begin(clock));
        }
        if self.spec.overlap == Overlap::QueueOne && self.queued.is_none() {
            self.queued = Some(due.tick);
            return Verdict::Queued;
        }
        self.counts.skipped = self.counts.skipped.saturating_add(1);
        Verdict::Skipped
    }

    /// Begins the run that waits, if there is one: its number and its tick.
    pub(super) fn take_queued(&mut self, clock: Clock) -> Option<(RunNumber, Utc)> {
        let tick = self.queued.take()?;
        Some((self.begin(clock), tick))
    }

    fn begin(&mut self, clock: Clock) -> RunNumber {
        self.counts.runs = self.counts.runs.saturating_add(1);
        let run = RunNumber(self.counts.runs);
        self.running.insert(run);
        self.last_run = Some(clock.utc);
        run
    }

    /// A run has ended. False for one that is not in flight.
    pub(super) fn ended(&mut self, run: RunNumber, result: Result<(), &CallError>, now: Utc) -> bool {
        if !self.running.remove(&run) {
            return false;
        }
        if let Err(error) = result {
            self.fail(error, now);
        }
        true
    }

    pub(super) fn fail(&mut self, error: &CallError, now: Utc) {
        self.counts.failures = self.counts.failures.saturating_add(1);
        self.last_error = Some(LastError::new(now, error));
    }

    /// Whether a tick has come that nobody has looked at.
    pub(super) fn is_due(&self, clock: Clock) -> bool {
        self.ticks.next(clock).is_some_and(|next| next <= clock.utc)
    }

    pub(super) fn state(&self) -> TaskState {
        match (self.running.is_empty(), self.queued.is_none() && self.ticks.wake().is_none()) {
            (false, _) => TaskState::Running,
            (true, false) => TaskState::Waiting,
            (true, true) => TaskState::Finished,
        }
    }

    pub(super) fn info(&self, process: &ProcessName, clock: Clock) -> TaskInfo {
        TaskInfo {
            id: TaskId { process: process.clone(), number: self.number },
            callback: self.spec.callback.clone(),
            plan: self.spec.plan.clone(),
            timeout: self.spec.timeout,
            overlap: self.spec.overlap,
            missed: self.spec.missed,
            creator: self.spec.creator.clone(),
            made: self.made,
            state: self.state(),
            next_run: self.ticks.next(clock),
            last_run: self.last_run,
            running: u32::try_from(self.running.len()).unwrap_or(u32::MAX),
            counts: self.counts,
            last_error: self.last_error.clone(),
            arguments: None,
        }
    }
}
