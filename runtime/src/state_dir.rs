//! `--state-dir`: what outlives the runtime. Today that is scheduled tasks, two files a process.
//!
//! ```text
//!   DIR/lock                                 held while a runtime has the folder
//!   DIR/schedules/TENANT/PROCESS.json        the tasks, as `daffi_proto::schedule` writes them
//!   DIR/schedules/TENANT/PROCESS.journal     what has come of them since
//!   DIR/schedules/TENANT/PROCESS.json.new    half written, of no use
//! ```
//!
//! Invariants: the folder is the user's own, and nobody else can look into it; one runtime has it at a time; what was told to
//! be written down is on the disk. A file that cannot be understood is left as it is, and the runtime does not start. A
//! folder that is moved away is not made anew. What a file says is not known here; how they are written: [`schedules`].

mod schedules;

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use daffi_proto::id::ProcessRef;
use daffi_proto::schedule::{JournalError, SnapshotError};
use rustix::fs::FlockOperation;

/// The folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateDirError {
    /// It cannot be made, or looked at.
    #[error("--state-dir {}: {what}: {error}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// What the system said.
        error: io::Error,
    },
    /// It is not safe from others.
    #[error("--state-dir {}: {why}", path.display())]
    Unsafe {
        /// The folder.
        path: PathBuf,
        /// What is wrong, and how to mend it.
        why: String,
    },
    /// Another runtime has it.
    #[error("--state-dir {} is in use by another runtime: give each its own", path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// A file that is not what it should be.
    #[error(
        "--state-dir: {}: {error}; the file is left as it is: move it away to begin without its schedules", path.display()
    )]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: SnapshotError,
    },
    /// The same of a journal.
    #[error(
        "--state-dir: {}: {error}; it is left as it is: move it away to begin with the schedules as they are in the file \
         beside it, without what came of them since",
        path.display()
    )]
    UnusableJournal {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: JournalError,
    },
    /// A name that cannot be a file's.
    #[error("--state-dir: no file can be named after the process {0}: give it another name")]
    BadName(String),
}

/// The folder, while this runtime has it.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    /// The lock lives as long as the file is open.
    lock: File,
}

fn failed(path: &Path, what: &'static str) -> impl FnOnce(io::Error) -> StateDirError {
    let path = path.to_owned();
    move |error| StateDirError::Io { path, what, error }
}

impl StateDir {
    /// Takes the folder, and makes it where it is not there.
    ///
    /// # Errors
    /// [`StateDirError`]
    pub fn open(path: &Path) -> Result<Self, StateDirError> {
        private_folder(path)?;
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path.join("lock"))
            .map_err(failed(path, "its lock cannot be opened"))?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { path: path.to_owned(), lock }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(StateDirError::InUse { path: path.to_owned() }),
            Err(error) => Err(failed(path, "its lock cannot be taken")(error.into())),
        }
    }

    /// Sees that the folder is the one that was taken: another one at its place is nobody's, or another runtime's.
    fn still_there(&self) -> io::Result<()> {
        let taken = self.lock.metadata()?;
        match std::fs::metadata(self.path.join("lock")) {
            Ok(found) if (found.dev(), found.ino()) == (taken.dev(), taken.ino()) => Ok(()),
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => {
                let path = self.path.display();
                Err(io::Error::other(format!("{path} was moved or removed while in use: put it back, or start anew")))
            }
        }
    }

    fn file_of(&self, process: &ProcessRef) -> Result<PathBuf, StateDirError> {
        let tenant = process.tenant.as_str();
        if [".", ".."].contains(&tenant) {
            return Err(StateDirError::BadName(format!("{tenant}::{}", process.name)));
        }
        Ok(self.path.join("schedules").join(tenant).join(format!("{}.json", process.name)))
    }
}

/// Makes the folder, or sees that nobody else can look into it.
fn private_folder(path: &Path) -> Result<(), StateDirError> {
    let refused = |why: String| Err(StateDirError::Unsafe { path: path.to_owned(), why });
    match std::fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed(path, "it cannot be made"))
        }
        Err(error) => Err(failed(path, "it cannot be looked at")(error)),
        Ok(found) if !found.is_dir() => refused("it is no folder".to_owned()),
        Ok(found) if found.uid() != rustix::process::getuid().as_raw() => {
            refused(format!("it belongs to uid {}: give one of your own", found.uid()))
        }
        Ok(found) if found.mode() & 0o077 != 0 => {
            let mode = found.mode() & 0o777;
            // Never of a folder that others may need.
            let advice = if is_own(path) { "chmod 700 it, or give another" } else { "give a folder of its own" };
            refused(format!("others can look into it (mode {mode:o}): {advice}"))
        }
        Ok(_) => Ok(()),
    }
}

/// Whether nothing is in the folder but what a runtime puts there.
fn is_own(path: &Path) -> bool {
    let own = |name: std::ffi::OsString| name == "lock" || name == "schedules";
    std::fs::read_dir(path).is_ok_and(|mut all| all.all(|entry| entry.is_ok_and(|entry| own(entry.file_name()))))
}

#[cfg(test)]
#[path = "state_dir_tests.rs"]
mod tests;
