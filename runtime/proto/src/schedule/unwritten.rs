//! What of a table is not written down yet, and what is to be written down of it.

use std::collections::{BTreeMap, BTreeSet};

use super::info::TaskNumber;
use super::journal::Entry;
use super::snapshot::Progress;
use super::tasks::Tasks;
use super::time::Clock;

/// The part of a table that is not written down that hurries most.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum Unwritten {
    /// All is.
    #[default]
    Nothing,
    /// Counts and last errors, and ticks of `every`.
    Counts,
    /// The end of a run: what is written down says that it is in flight, and a restart would take it for failed.
    Ends,
    /// A time of `at` or `cron` came, which would come again.
    Ticks,
    /// A task came, went or finished: an entry is not enough.
    Tasks,
}

/// What is to be written down of a table.
#[derive(Clone, Debug)]
pub enum Save {
    /// All of it: [`Tasks::snapshot`], and an empty [`super::Journal`] of its generation.
    Table(Box<Tasks>),
    /// These, appended to the journal.
    Entries {
        /// Maybe none.
        entries: Vec<Entry>,
        /// Whether they, and all that was appended before, are to be on the disk for certain.
        durable: bool,
    },
}

/// What has changed since it was taken to be written down.
#[derive(Clone, Debug, Default)]
pub(super) struct Marks {
    most: Unwritten,
    /// Tasks that have changed.
    tasks: BTreeMap<TaskNumber, Change>,
    /// Tasks that were taken with a run in flight.
    in_flight: BTreeSet<TaskNumber>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Change {
    how: Unwritten,
    /// It has a new last error.
    failed: bool,
}

impl Marks {
    /// Something about the table itself.
    pub(super) fn hurry(&mut self, how: Unwritten) {
        self.most = self.most.max(how);
    }

    /// A task is somewhere else in its plan.
    pub(super) fn moved(&mut self, task: TaskNumber, how: Unwritten) {
        self.hurry(how);
        let change = self.tasks.entry(task).or_default();
        change.how = change.how.max(how);
    }

    /// A run of it has ended.
    pub(super) fn ended(&mut self, task: TaskNumber, failed: bool) {
        self.moved(task, if self.in_flight.contains(&task) { Unwritten::Ends } else { Unwritten::Counts });
        self.tasks.entry(task).or_default().failed |= failed;
    }

    /// A task has gone, which all of the table tells.
    pub(super) fn gone(&mut self, task: TaskNumber) {
        self.hurry(Unwritten::Tasks);
        self.tasks.remove(&task);
        self.in_flight.remove(&task);
    }
}

impl Tasks {
    /// What is not written down.
    pub fn unwritten(&self) -> Unwritten {
        self.marks.most
    }

    /// What was taken to be written down was not: in its time, all of the table is to be.
    pub fn not_written(&mut self) {
        self.marks.hurry(Unwritten::Counts);
    }

    /// All of it, to be written down: the first of a new generation.
    pub fn take_table(&mut self) -> Self {
        self.generation = self.generation.saturating_add(1);
        let in_flight = self.tasks.values().filter(|task| !task.running.is_empty()).map(|task| task.number);
        self.marks = Marks { in_flight: in_flight.collect(), ..Marks::default() };
        self.clone()
    }

    /// Where those tasks are whose changes hurry at least so much, to be written down; enough where no task came, went or
    /// finished. Others wait, so that no run of theirs is written down as in flight whose end would hurry then.
    pub fn take_entries(&mut self, clock: Clock, least: Unwritten) -> Vec<Entry> {
        let changed = self.marks.tasks.extract_if(.., |_, change| change.how >= least).collect::<Vec<_>>();
        let rest = self.marks.tasks.values().map(|change| change.how).max().unwrap_or_default();
        self.marks.most = if self.marks.most == Unwritten::Tasks { Unwritten::Tasks } else { rest };
        changed.into_iter().filter_map(|(number, change)| self.entry(number, change, clock)).collect()
    }

    fn entry(&mut self, number: TaskNumber, change: Change, clock: Clock) -> Option<Entry> {
        let mut progress = Progress::of(self.tasks.get(&number)?, clock);
        if !change.failed {
            progress.last_error = None;
        }
        match progress.running {
            0 => self.marks.in_flight.remove(&number),
            _ => self.marks.in_flight.insert(number),
        };
        Some(Entry { number, progress })
    }

    /// Which of the snapshots of this table is the last; a later one has more.
    pub fn generation(&self) -> u64 {
        self.generation
    }
}
