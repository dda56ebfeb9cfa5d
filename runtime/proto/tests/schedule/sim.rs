//! A table of tasks with virtual time: it is looked at when it asks to be, and runs end after a time of their own.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use daffi_proto::error::{CallError, code};
use daffi_proto::id::ProcessName;
use daffi_proto::name::CallbackName;
use daffi_proto::schedule::{
    Clock, Counts, Missed, Overlap, Plan, Run, RunNumber, Step, TaskId, TaskInfo, TaskSpec, Tasks, Utc, parse_duration,
};
use daffi_proto::signature::Fingerprint;

/// When every simulation begins, in UTC: a Monday.
pub const START: &str = "2026-05-04T12:00:00Z";

pub struct Sim {
    pub tasks: Tasks,
    pub clock: Clock,
    /// How long runs take.
    pub takes: Duration,
    /// What they come to.
    pub fails: bool,
    /// The runs in flight, by when they end.
    pub running: BTreeMap<(Duration, TaskId, RunNumber), Run>,
    /// All that was done since it was last taken: in the order of `due`, with the time.
    done: Vec<(Clock, Step)>,
}

pub fn process() -> ProcessName {
    ProcessName::new("backup").unwrap()
}

pub fn utc(text: &str) -> Utc {
    text.parse().unwrap()
}

pub fn time(text: &str) -> Duration {
    parse_duration(text).unwrap()
}

pub fn every(text: &str) -> TaskSpec {
    spec(Plan::Every(time(text)))
}

pub fn at(times: &[&str]) -> TaskSpec {
    spec(Plan::At(times.iter().map(|text| utc(text)).collect()))
}

pub fn cron(text: &str) -> TaskSpec {
    spec(Plan::Cron(text.parse().unwrap()))
}

pub fn spec(plan: Plan) -> TaskSpec {
    let callback = CallbackName::parse("demo:jobs/jobs#backup").unwrap();
    TaskSpec::new(callback, Fingerprint([7; 16]), Bytes::from_static(b"args"), plan)
}

pub fn with(spec: TaskSpec, overlap: Overlap, missed: Missed) -> TaskSpec {
    TaskSpec { overlap, missed, ..spec }
}

impl Sim {
    pub fn new() -> Self {
        let clock = Clock { mono: Duration::from_secs(7), utc: utc(START) };
        Self::of(Tasks::new(process(), 8, clock), clock)
    }

    pub fn of(tasks: Tasks, clock: Clock) -> Self {
        let (running, done) = (BTreeMap::new(), Vec::new());
        Self { tasks, clock, takes: Duration::from_millis(1), fails: false, running, done }
    }

    pub fn add(&mut self, spec: TaskSpec) -> TaskId {
        self.tasks.add(self.clock, spec).unwrap()
    }

    pub fn info(&self, id: &TaskId) -> TaskInfo {
        self.tasks.get(self.clock, id).unwrap()
    }

    /// Runs, failures, skipped, missed.
    pub fn counts(&self, id: &TaskId) -> [u64; 4] {
        let Counts { runs, failures, skipped, missed } = self.info(id).counts;
        [runs, failures, skipped, missed]
    }

    /// Both clocks go on, and all is looked at in its time.
    pub fn pass(&mut self, time: Duration) {
        let end = self.clock.mono + time;
        self.look();
        loop {
            let ends = self.running.keys().next().map(|(at, ..)| *at);
            let wakes = self.tasks.next_timeout();
            let Some(next) = ends.into_iter().chain(wakes).min().filter(|next| *next <= end) else { break };
            // As a timer does, rather a little late than early: a microsecond is the grain of UTC.
            self.advance(next.saturating_sub(self.clock.mono).max(Duration::from_micros(1)));
            self.look();
        }
        self.advance(end.saturating_sub(self.clock.mono));
        self.look();
    }

    /// Both clocks go on, and nobody looks.
    pub fn pause(&mut self, time: Duration) {
        self.advance(time);
    }

    /// UTC alone is set.
    pub fn set_utc(&mut self, text: &str) {
        self.clock.utc = utc(text);
    }

    /// Ends what has ended and begins what is due, now.
    pub fn look(&mut self) {
        self.end_runs();
        while let Some(step) = self.tasks.due(self.clock) {
            if let Step::Run(run) = &step {
                let ends = (self.clock.mono + self.takes, run.task.clone(), run.run);
                assert!(self.running.insert(ends, run.clone()).is_none(), "a run began twice");
            }
            self.done.push((self.clock, step));
        }
    }

    /// What was done since this was last asked.
    pub fn take(&mut self) -> Vec<(Clock, Step)> {
        std::mem::take(&mut self.done)
    }

    /// When runs began since this was last asked, in milliseconds of monotonic time from the start.
    pub fn took(&mut self) -> Vec<u64> {
        let runs = self.take().into_iter().filter(|(_, step)| matches!(step, Step::Run(_)));
        runs.map(|(clock, _)| (clock.mono.as_millis() - 7_000) as u64).collect()
    }

    /// The ticks of the runs that began since this was last asked, and when that was, in UTC.
    pub fn ticks(&mut self) -> Vec<(String, String)> {
        let tick = |(clock, step): (Clock, Step)| match step {
            Step::Run(run) => Some((run.tick.to_string(), clock.utc.to_string())),
            Step::Skipped { .. } | Step::Missed { .. } => None,
        };
        self.take().into_iter().filter_map(tick).collect()
    }

    /// The node ends and comes back after this long, from its snapshot.
    pub fn restart(self, after: Duration) -> Self {
        let text = self.tasks.snapshot(self.clock).unwrap();
        let clock = Clock { mono: Duration::from_millis(3), utc: self.clock.utc.plus(after) };
        let tasks = Tasks::restore(process(), 8, clock, &text).unwrap();
        self.goes_on_with(tasks, clock)
    }

    /// The same with another table, whose runs are none of the old ones.
    pub fn goes_on_with(&self, tasks: Tasks, clock: Clock) -> Self {
        Self { takes: self.takes, fails: self.fails, ..Self::of(tasks, clock) }
    }

    fn end_runs(&mut self) {
        while let Some(((_, task, run), _)) =
            self.running.first_key_value().filter(|((ends, ..), _)| *ends <= self.clock.mono)
        {
            let (task, run) = (task.clone(), *run);
            self.running.pop_first();
            let error = CallError::failed(code::TRAP, "it trapped", "demo:jobs/jobs#backup");
            self.tasks.ended(self.clock, &task, run, if self.fails { Err(&error) } else { Ok(()) });
        }
    }

    fn advance(&mut self, time: Duration) {
        self.clock.mono += time;
        self.clock.utc = self.clock.utc.plus(time);
    }
}
