//! What the controller is told of this node's processes: their loads, for lists, and how many calls they serve that it
//! does not relay, for whom it gives calls to.
//!
//! Both are told after a change, as they are at that moment, and not more often than each [`LOAD_EVERY`]; calls that begin
//! and end between two reports are not worth a frame.

use std::time::Duration;

use super::directory::{Local, Registration};
use super::{LOAD_EVERY, Node};
use crate::call::Load;
use crate::frame::{Frame, Header};
use crate::id::LocalId;

impl Local {
    /// The calls that it serves and the controller does not see.
    fn apart(&self) -> u32 {
        u32::try_from(self.serving.saturating_sub(self.relayed)).unwrap_or(u32::MAX)
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

    /// The load of a process is to be told as soon as it may.
    pub(super) fn load_changed(&mut self, id: LocalId) {
        let at = self.loads_told_at.map_or(self.now, |told| told + LOAD_EVERY);
        self.tell_load_at(id, at);
    }

    /// It is to be told at once: before an answer that tells of the same.
    pub(super) fn load_changed_now(&mut self, id: LocalId) {
        self.tell_load_at(id, self.now);
        self.tell_loads();
    }

    /// A call that the controller does not relay began or ended.
    pub(super) fn apart_changed(&mut self, id: LocalId) {
        self.tell_load_at(id, self.now + LOAD_EVERY);
    }

    fn tell_load_at(&mut self, id: LocalId, at: Duration) {
        self.loads_changed.insert(id);
        self.loads_due = Some(self.loads_due.map_or(at, |due| due.min(at)));
    }

    /// When changed loads are to be told.
    pub(super) fn next_loads(&self) -> Option<Duration> {
        self.loads_due.filter(|_| self.link.up().is_some())
    }

    pub(super) fn tell_loads(&mut self) {
        if self.next_loads().is_none_or(|at| at > self.now) {
            return;
        }
        self.loads_due = None;
        for number in std::mem::take(&mut self.loads_changed) {
            // One that is not registered yet tells its load when it is.
            let local = self.locals.get_mut(&number);
            let Some(local) = local.filter(|local| matches!(local.registration, Registration::Registered(_))) else {
                continue;
            };
            let (load, apart) = (local.load, local.apart());
            if std::mem::replace(&mut local.told, (load, apart)) != (load, apart) {
                self.loads_told_at = Some(self.now);
                self.send(Frame::new(Header::Load { number: number.0, load, apart }));
            }
        }
    }
}
