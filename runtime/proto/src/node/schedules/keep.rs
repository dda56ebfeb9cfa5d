//! How tables are written down: what goes out when, and who waits for it.
//!
//! | what has changed | goes out | as |
//! |---|---|---|
//! | a task came, went or finished | at once | the table |
//! | a time of `at` or `cron` came | at once | entries of the journal, to be on the disk for certain |
//! | a run ended that was written down as in flight | at once | entries, handed to the system |
//! | other counts | after [`SAVE_COUNTS_EVERY`] | entries, and all before them, to be on the disk for certain |
//!
//! Of a process one thing is on its way at a time; what changes meanwhile goes out together when that is done with. Nothing
//! waits for it but the answers of those who made or cancelled a task: a run begins at once.
//!
//! Invariants: the first that goes out of a stay is the table, and so is what follows one that failed, since what became of
//! the journal is then not known; a journal never has more than [`MAX_JOURNAL_BYTES`]; what has failed is tried again.

use std::collections::VecDeque;
use std::time::Duration;

use super::{AnswerTo, Table};
use crate::error::CallError;
use crate::id::LocalId;
use crate::node::{Node, Output, outcome};
use crate::schedule::{Clock, MAX_JOURNAL_BYTES, Save, ScheduleError, TaskPage, Tasks, Unwritten, most_bytes};

/// How long counts and last errors that changed wait to be written down, and to be on the disk for certain.
pub const SAVE_COUNTS_EVERY: Duration = Duration::from_secs(10);

/// How a table is written down.
#[derive(Debug, Default)]
pub(super) struct Kept {
    on_its_way: bool,
    /// How large the journal may be by now; none where there must be a table first.
    journal_bytes: Option<usize>,
    /// Entries went out that are not on the disk for certain.
    loose: bool,
    /// When all that changed is to be on the disk.
    due: Option<Duration>,
    /// Answers that wait for it, in the order of their changes.
    unsaved: VecDeque<Unsaved>,
}

/// An answer that waits until its change is written down.
#[derive(Debug)]
pub(super) struct Unsaved {
    /// [`Tasks::changes`] after it.
    pub changes: u64,
    pub to: AnswerTo,
    pub page: TaskPage,
    /// The task was made, and is taken back if it cannot be written down.
    pub made: bool,
}

impl Kept {
    pub fn answer_later(&mut self, unsaved: Unsaved) {
        self.unsaved.push_back(unsaved);
    }

    /// Those who asked over the link have gone with it.
    pub fn forget_link(&mut self) {
        self.unsaved.retain(|unsaved| matches!(unsaved.to, AnswerTo::Call(_)));
    }

    /// When something may be to be written down that is not yet.
    pub fn next_look(&self) -> Option<Duration> {
        self.due.filter(|_| !self.on_its_way)
    }

    /// What is to be written down now.
    fn next(&mut self, tasks: &mut Tasks, clock: Clock) -> Option<Save> {
        let unwritten = tasks.unwritten();
        if self.on_its_way || (unwritten == Unwritten::Nothing && !self.loose) {
            return None;
        }
        let overdue = *self.due.get_or_insert(clock.mono + SAVE_COUNTS_EVERY) <= clock.mono;
        // A disk that is full is not to be asked for a whole table at the end of each run.
        let at_once = if self.journal_bytes.is_some() { Unwritten::Ends } else { Unwritten::Ticks };
        if unwritten < at_once && !overdue {
            return None;
        }
        self.on_its_way = true;
        let journal_bytes = self.journal_bytes.filter(|_| unwritten < Unwritten::Tasks);
        let least = if overdue { Unwritten::Counts } else { at_once };
        let entries = journal_bytes.map(|_| tasks.take_entries(clock, least)).unwrap_or_default();
        let journal_bytes = journal_bytes.map(|bytes| bytes + most_bytes(&entries));
        let appended = journal_bytes.filter(|bytes| *bytes <= MAX_JOURNAL_BYTES);
        self.journal_bytes = appended.or(Some(0));
        let durable = appended.is_none() || overdue || unwritten == Unwritten::Ticks;
        self.loose = !durable;
        let save = match appended {
            Some(_) => Save::Entries { entries, durable },
            None => Save::Table(Box::new(tasks.take_table())),
        };
        if durable && tasks.unwritten() == Unwritten::Nothing {
            self.due = None;
        }
        Some(save)
    }

    /// What went out is done with; whose answer came to this.
    fn done(&mut self, changes: u64) -> VecDeque<Unsaved> {
        self.on_its_way = false;
        let later = self.unsaved.iter().position(|unsaved| unsaved.changes > changes).unwrap_or(self.unsaved.len());
        let rest = self.unsaved.split_off(later);
        std::mem::replace(&mut self.unsaved, rest)
    }
}

impl Node {
    /// Gives out what is to be written down of a table now.
    pub(super) fn save(&mut self, process: LocalId) {
        let clock = self.clock();
        let Some(name) = self.locals.get(&process).map(|local| &local.process) else { return };
        let Some(Table { tasks, kept: Some(kept) }) = self.schedules.tables.get_mut(&process) else { return };
        if let Some(save) = kept.next(tasks, clock) {
            let (name, changes) = (name.clone(), tasks.changes());
            self.outputs.push_back(Output::SaveTasks { process, name, save, changes });
        }
    }

    /// A process has gone: gives out its whole table where the last one does not tell everything, and nobody waits for that.
    pub(super) fn save_last(&mut self, process: LocalId, mut tasks: Tasks, kept: Kept) {
        for unsaved in kept.unsaved {
            self.answer_task_op(unsaved.to, Err(outcome::left_while_saving()), tasks.process());
        }
        let told = tasks.unwritten() == Unwritten::Nothing && kept.journal_bytes.is_none_or(|bytes| bytes == 0);
        let Some(name) = self.locals.get(&process).map(|local| local.process.clone()).filter(|_| !told) else { return };
        let (save, changes) = (Save::Table(Box::new(tasks.take_table())), tasks.changes());
        self.outputs.push_back(Output::SaveTasks { process, name, save, changes });
    }

    /// What went out was written down, or could not be: who waits for that is answered.
    pub(in crate::node) fn tasks_saved(&mut self, process: LocalId, changes: u64, result: Result<(), String>) {
        let Some(Table { tasks, kept: Some(kept) }) = self.schedules.touch(process) else { return };
        let done = kept.done(changes);
        if result.is_err() {
            kept.journal_bytes = None;
            tasks.not_written();
        }
        let name = tasks.process().clone();
        for Unsaved { to, page, made, .. } in done {
            let answer = match &result {
                Ok(()) => Ok(page),
                Err(reason) => Err(self.unsaved(process, &page, made, reason)),
            };
            self.count_tasks(process);
            self.answer_task_op(to, answer, &name);
        }
    }

    /// What was done and could not be written down: a task that was made is taken back.
    fn unsaved(&mut self, process: LocalId, page: &TaskPage, made: bool, reason: &str) -> CallError {
        let Some(task) = page.tasks.first() else { return outcome::internal("nothing was done to a task", "") };
        let callback = task.callback.to_string();
        if made && let Some(table) = self.schedules.touch(process) {
            // It may have been cancelled meanwhile.
            let _: Result<(), ScheduleError> = table.tasks.cancel(&task.id);
        }
        outcome::not_saved(made, &task.id, reason, callback)
    }
}
