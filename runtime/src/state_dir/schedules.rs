//! The scheduled tasks in the folder: a table and a journal a process, how they are read and how they are written.
//!
//! ```text
//!   table    PROCESS.json.new, fsync, rename, fsync of the folder, PROCESS.journal emptied
//!   entries  appended to PROCESS.journal in one write; fdatasync where they are to be on the disk for certain
//! ```
//!
//! A crash between the two files costs nothing: a journal goes with the table of its own generation only. After a write that
//! failed a journal is not written any more, and its process's table comes next (`daffi_proto::node` sees to it).

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use daffi_proto::id::ProcessRef;
use daffi_proto::schedule::{
    Clock, Entry, Journal, JournalError, MAX_JOURNAL_BYTES, MAX_SNAPSHOT_BYTES, Save, Snapshot, SnapshotError, Tasks,
};
use tokio_util::sync::CancellationToken;

use super::{StateDir, StateDirError, failed};
use crate::mesh::handle::MeshHandle;
use crate::mesh::ledger::{Ledger, Sheet};

/// The journal of a process, open to be appended to.
#[derive(Debug)]
pub(super) struct JournalFile {
    file: File,
    journal: Journal,
}

impl StateDir {
    /// The tasks of a process: those that were written down, or none yet.
    ///
    /// # Errors
    /// A file that cannot be read, or understood: it would be overwritten.
    pub fn tasks(&self, process: &ProcessRef, limit: usize, clock: Clock) -> Result<Tasks, StateDirError> {
        let path = self.file_of(process)?;
        let unusable = |error: SnapshotError| StateDirError::Unusable { path: path.clone(), error };
        let Some(bytes) = read(&path, MAX_SNAPSHOT_BYTES, |len| unusable(SnapshotError::TooLong(len)))? else {
            // What a journal alone tells is nothing: its table was moved away, to begin without it.
            return Ok(Tasks::new(process.name.clone(), limit, clock));
        };
        let text =
            std::str::from_utf8(&bytes).map_err(|error| unusable(SnapshotError::Unreadable(error.to_string())))?;
        let mut snapshot = Snapshot::read(process.name.clone(), text).map_err(unusable)?;
        let path = path.with_extension("journal");
        let unusable_journal = |error: JournalError| StateDirError::UnusableJournal { path: path.clone(), error };
        let too_long = |len| unusable_journal(JournalError::TooLong(len));
        if let Some(journal) = read(&path, MAX_JOURNAL_BYTES, too_long)? {
            snapshot.replay(&journal).map_err(unusable_journal)?;
        }
        snapshot.open(limit, clock).map_err(unusable)
    }

    /// Writes down tasks until it is cancelled, and then what is left. `tasks` are told of through the mesh.
    pub async fn keep(self, ledger: Ledger, mesh: MeshHandle, cancel: CancellationToken) {
        let (dir, mut journals) = (Arc::new(self), BTreeMap::new());
        loop {
            let sheet = tokio::select! {
                biased;
                sheet = ledger.next() => sheet,
                () = cancel.cancelled() => break,
            };
            Arc::clone(&dir).write(sheet, &mut journals, &mesh).await;
        }
        while let Some(sheet) = ledger.take() {
            Arc::clone(&dir).write(sheet, &mut journals, &mesh).await;
        }
    }

    async fn write(self: Arc<Self>, sheet: Sheet, journals: &mut BTreeMap<ProcessRef, JournalFile>, mesh: &MeshHandle) {
        let Sheet { process, name, save, changes } = sheet;
        let (of, clock, journal) = (name.clone(), mesh.clock(), journals.remove(&name));
        let written = tokio::task::spawn_blocking(move || self.write_now(&of, save, journal, clock));
        let result = match written.await.unwrap_or_else(|error| Err(io::Error::other(error))) {
            Ok(journal) => {
                journals.insert(name, journal);
                Ok(())
            }
            Err(error) => {
                tracing::error!("the schedules of {} are not written down: {error}", name.name);
                Err(error.to_string())
            }
        };
        mesh.tasks_saved(process, changes, result).await;
    }

    /// Writes down this, and gives the journal for what comes next.
    pub(super) fn write_now(
        &self,
        process: &ProcessRef,
        save: Save,
        journal: Option<JournalFile>,
        clock: Clock,
    ) -> io::Result<JournalFile> {
        self.still_there()?;
        match save {
            Save::Table(tasks) => self.write_table(process, &tasks, clock),
            Save::Entries { entries, durable } => {
                let mut journal = journal.ok_or_else(|| io::Error::other("there is no journal to append to"))?;
                journal.append(&entries, durable)?;
                Ok(journal)
            }
        }
    }

    fn write_table(&self, process: &ProcessRef, tasks: &Tasks, clock: Clock) -> io::Result<JournalFile> {
        let path = self.file_of(process).map_err(io::Error::other)?;
        let text = tasks.snapshot(clock).map_err(io::Error::other)?;
        let folder = path.parent().unwrap_or(&self.path);
        for made in [folder.parent().unwrap_or(&self.path), folder] {
            match DirBuilder::new().mode(0o700).create(made) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
        }
        let new = path.with_extension("json.new");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        let journal = path.with_extension("journal");
        let journal = OpenOptions::new().append(true).create(true).mode(0o600).open(journal)?;
        std::fs::rename(&new, &path)?;
        // The folder's own entries, the journal's too: until then the old file may come back after a loss of power, and the
        // journal that goes with it must be what it was.
        File::open(folder)?.sync_all()?;
        journal.set_len(0)?;
        Ok(JournalFile { file: journal, journal: Journal::new(tasks.generation()) })
    }
}

impl JournalFile {
    fn append(&mut self, entries: &[Entry], durable: bool) -> io::Result<()> {
        if !entries.is_empty() {
            self.file.write_all(&self.journal.append(entries).map_err(io::Error::other)?)?;
        }
        if durable {
            self.file.sync_data()?;
            self.journal.made_durable();
        }
        Ok(())
    }
}

/// A file, if it is there; `too_long` says what is wrong with one of more bytes.
fn read(
    path: &Path,
    most_bytes: usize,
    too_long: impl FnOnce(usize) -> StateDirError,
) -> Result<Option<Vec<u8>>, StateDirError> {
    match std::fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(path, "it cannot be looked at")(error)),
        Ok(file) if file.len() > most_bytes as u64 => Err(too_long(usize::try_from(file.len()).unwrap_or(usize::MAX))),
        Ok(_) => std::fs::read(path).map(Some).map_err(failed(path, "it cannot be read")),
    }
}
