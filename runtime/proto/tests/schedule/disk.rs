//! A disk in memory: what was written down of a table, as it stands in its two files.

use daffi_proto::id::ProcessName;
use daffi_proto::schedule::{Clock, Journal, Save, Snapshot, Tasks};

#[derive(Clone, Default)]
pub struct Disk {
    pub table: String,
    pub journal: Vec<u8>,
    writer: Option<Journal>,
    /// How often a table was written.
    pub tables: usize,
    /// How often entries were, and how many of them.
    pub appends: usize,
    pub entries: usize,
    /// How often the disk was waited for.
    pub syncs: usize,
}

impl Disk {
    pub fn write(&mut self, save: &Save, clock: Clock) {
        match save {
            Save::Table(tasks) => {
                self.table = tasks.snapshot(clock).unwrap();
                self.journal.clear();
                self.writer = Some(Journal::new(tasks.generation()));
                self.tables += 1;
                self.syncs += 2;
            }
            Save::Entries { entries, durable } => {
                let writer = self.writer.as_mut().expect("there is a table first");
                if !entries.is_empty() {
                    self.journal.extend(writer.append(entries).unwrap());
                    self.appends += 1;
                }
                if *durable {
                    writer.made_durable();
                    self.syncs += 1;
                }
                self.entries += entries.len();
            }
        }
    }

    /// What a runtime finds that starts now.
    pub fn tasks(&self, process: ProcessName, limit: usize, clock: Clock) -> Tasks {
        let mut snapshot = Snapshot::read(process, &self.table).unwrap();
        snapshot.replay(&self.journal).unwrap();
        snapshot.open(limit, clock).unwrap()
    }
}
