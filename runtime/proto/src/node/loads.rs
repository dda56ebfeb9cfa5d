//! What the controller is told of this node's processes: their loads and what they have used, for lists, and how many calls
//! they serve that it does not relay, for whom it gives calls to.
//!
//! All is told after a change, as it is at that moment, and not more often than each [`LOAD_EVERY`] and [`USAGE_EVERY`]; calls
//! that begin and end between two reports are not worth a load, but are in what was used.

use std::collections::BTreeSet;
use std::time::Duration;

use super::directory::{Local, Registration};
use super::{LOAD_EVERY, Node};
use crate::call::Load;
use crate::frame::{Frame, Header};
use crate::id::LocalId;
use crate::usage::{USAGE_EVERY, Usage};

/// Of which processes something is to be told, and when.
#[derive(Debug, Default)]
pub(super) struct Reports {
    changed: BTreeSet<LocalId>,
    pub due: Option<Duration>,
    told_at: Option<Duration>,
}

impl Reports {
    /// It is to be told of one as soon as it may, which is so long after the last time.
    fn add(&mut self, id: LocalId, now: Duration, every: Duration) {
        let at = self.told_at.map_or(now, |told| (told + every).max(now));
        self.add_at(id, at);
    }

    pub fn add_at(&mut self, id: LocalId, at: Duration) {
        self.changed.insert(id);
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }

    /// There is nothing to be told of this one any more.
    pub fn forget(&mut self, id: LocalId) {
        self.changed.remove(&id);
    }

    /// Those of which it is to be told now.
    pub fn take_due(&mut self, now: Duration) -> BTreeSet<LocalId> {
        if self.due.is_none_or(|due| due > now) {
            return BTreeSet::new();
        }
        self.due = None;
        std::mem::take(&mut self.changed)
    }
}

impl Local {
    /// The calls that it serves and the controller does not see.
    fn apart(&self) -> u32 {
        u32::try_from(self.serving.saturating_sub(self.relayed)).unwrap_or(u32::MAX)
    }

    /// One that is not registered yet tells of itself when it is.
    fn is_registered(&self) -> bool {
        matches!(self.registration, Registration::Registered(_))
    }
}

impl Node {
    pub(super) fn take_load(&mut self, id: LocalId, load: Load) {
        let Some(local) = self.locals.get_mut(&id) else { return };
        let load = Load { schedules: local.load.schedules, ..load };
        if local.load != load && !local.removed {
            local.load = load;
            self.load_changed(id);
        }
    }

    pub(super) fn take_usage(&mut self, id: LocalId, usage: Box<Usage>) {
        let Some(local) = self.locals.get_mut(&id) else { return };
        if local.usage.as_ref() != Some(&usage) && !local.removed {
            local.usage = Some(usage);
            self.usage_changed(id);
        }
    }

    /// The load of a process is to be told as soon as it may.
    pub(super) fn load_changed(&mut self, id: LocalId) {
        self.loads.add(id, self.now, LOAD_EVERY);
    }

    /// What a process has used is to be told as soon as it may.
    pub(super) fn usage_changed(&mut self, id: LocalId) {
        self.usages.add(id, self.now, USAGE_EVERY);
    }

    /// Its load is to be told at once: before an answer that tells of the same.
    pub(super) fn load_changed_now(&mut self, id: LocalId) {
        self.loads.add_at(id, self.now);
        self.tell_loads();
    }

    /// A call that the controller does not relay began or ended.
    pub(super) fn apart_changed(&mut self, id: LocalId) {
        self.loads.add_at(id, self.now + LOAD_EVERY);
    }

    /// When something is to be told.
    pub(super) fn next_loads(&self) -> Option<Duration> {
        self.link.up()?;
        self.loads.due.into_iter().chain(self.usages.due).min()
    }

    pub(super) fn tell_loads(&mut self) {
        if self.next_loads().is_none_or(|at| at > self.now) {
            return;
        }
        for number in self.loads.take_due(self.now) {
            let Some(local) = self.locals.get_mut(&number).filter(|local| local.is_registered()) else { continue };
            let (load, apart) = (local.load, local.apart());
            if std::mem::replace(&mut local.told, (load, apart)) != (load, apart) {
                self.loads.told_at = Some(self.now);
                self.send(Frame::new(Header::Load { number: number.0, load, apart }));
            }
        }
        for number in self.usages.take_due(self.now) {
            let Some(local) = self.locals.get(&number).filter(|local| local.is_registered()) else { continue };
            if let Some(usage) = &local.usage {
                let payload = usage.encode().into();
                self.usages.told_at = Some(self.now);
                self.send(Frame::with_payload(Header::Usage { number: number.0 }, payload));
            }
        }
    }
}
