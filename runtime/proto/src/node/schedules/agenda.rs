//! Which tables of tasks are to be looked at, and when: a table costs nothing until it is due or something is done to it.
//!
//! Invariants: a table has one time at most; what is forgotten is not given out any more.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::id::LocalId;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    /// The times of `at`, in their order.
    due: BTreeSet<(Duration, LocalId)>,
    at: BTreeMap<LocalId, Duration>,
    /// Something was done to these since they were looked at.
    touched: BTreeSet<LocalId>,
}

impl Agenda {
    /// Something was done to a table: it is to be looked at next.
    pub fn touch(&mut self, id: LocalId) {
        self.touched.insert(id);
    }

    /// Those that are to be looked at now; then each is told when again ([`Agenda::set`]).
    pub fn take(&mut self, now: Duration) -> BTreeSet<LocalId> {
        let mut ids = std::mem::take(&mut self.touched);
        ids.extend(self.due.iter().take_while(|(at, _)| *at <= now).map(|(_, id)| *id));
        ids
    }

    /// A table was looked at, with all that was done to it, and is to be again at this time.
    pub fn set(&mut self, id: LocalId, at: Option<Duration>) {
        self.forget(id);
        if let Some(at) = at {
            self.at.insert(id, at);
            self.due.insert((at, id));
        }
    }

    /// A table has gone.
    pub fn forget(&mut self, id: LocalId) {
        self.touched.remove(&id);
        if let Some(at) = self.at.remove(&id) {
            self.due.remove(&(at, id));
        }
    }

    /// When to look at one at the latest, but for those that were touched.
    pub fn next(&self) -> Option<Duration> {
        self.due.first().map(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is taken at a time, with the next time of each.
    fn taken(agenda: &mut Agenda, now: u64, again: impl Fn(u32) -> Option<u64>) -> Vec<u32> {
        let ids: Vec<u32> = agenda.take(Duration::from_secs(now)).into_iter().map(|id| id.0).collect();
        for id in &ids {
            agenda.set(LocalId(*id), again(*id).map(Duration::from_secs));
        }
        ids
    }

    #[test]
    fn only_tables_that_are_due_or_were_touched_are_looked_at() {
        let mut agenda = Agenda::default();
        for id in 0..1000 {
            agenda.set(LocalId(id), Some(Duration::from_secs(u64::from(id) + 10)));
        }
        assert_eq!(taken(&mut agenda, 9, |_| None), Vec::<u32>::new());
        agenda.touch(LocalId(500));
        agenda.touch(LocalId(500));
        // One that was touched early keeps its time only if it is told it again.
        assert_eq!(taken(&mut agenda, 11, |id| (id == 500).then_some(12)), [0, 1, 500]);
        assert_eq!(agenda.next(), Some(Duration::from_secs(12)));
        assert_eq!(taken(&mut agenda, 12, |_| None), [2, 500]);
        assert_eq!(taken(&mut agenda, 1008, |_| None).len(), 995);
        assert_eq!(taken(&mut agenda, 1009, |_| None), [999]);
        assert_eq!((agenda.next(), agenda.at.len(), agenda.due.len()), (None, 0, 0));
    }

    #[test]
    fn a_table_that_has_gone_is_not_looked_at() {
        let mut agenda = Agenda::default();
        agenda.set(LocalId(1), Some(Duration::ZERO));
        agenda.touch(LocalId(1));
        agenda.forget(LocalId(1));
        assert_eq!((agenda.take(Duration::MAX).len(), agenda.next()), (0, None));
    }
}
