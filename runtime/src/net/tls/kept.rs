//! What was made of the files, made anew when they change: so certificates are renewed without a restart.
//!
//! There is no watcher: whoever begins a handshake asks whether the files are still those that were read, which costs
//! four looks at the file system and cannot miss a change. Files that cannot be used are logged once, and what was made
//! before stays. Invariant: what is in use was whole when it was read. Links that stand are not touched.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use super::files::{TlsFileError, TlsFiles};

/// One side's settings, as the files are now.
pub(super) struct Kept<T> {
    files: TlsFiles,
    make: fn(&TlsFiles) -> Result<T, TlsFileError>,
    state: Mutex<State<T>>,
}

struct State<T> {
    /// What the files were when they were last read, whether or not they could be used.
    seen: Vec<Option<Stamp>>,
    made: Arc<T>,
}

/// What tells one content of a file from another.
#[derive(Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    /// Of the file that a link leads to, since links are how whole folders of certificates are exchanged.
    fn of(path: &Path) -> Option<Self> {
        let file = std::fs::metadata(path).ok()?;
        Some(Self {
            device: file.dev(),
            inode: file.ino(),
            size: file.size(),
            modified: (file.mtime(), file.mtime_nsec()),
            changed: (file.ctime(), file.ctime_nsec()),
        })
    }
}

fn stamps(files: &TlsFiles) -> Vec<Option<Stamp>> {
    files.paths().map(Stamp::of).collect()
}

impl<T: Send + Sync + 'static> Kept<T> {
    /// Reads the files for the first time.
    ///
    /// # Errors
    /// What is wrong with them.
    pub(super) fn open(
        files: TlsFiles,
        make: fn(&TlsFiles) -> Result<T, TlsFileError>,
    ) -> Result<Arc<Self>, TlsFileError> {
        // Looked at before they are read: a change in between is found the next time.
        let seen = stamps(&files);
        let made = Arc::new(make(&files)?);
        Ok(Arc::new(Self { files, make, state: Mutex::new(State { seen, made }) }))
    }

    /// As the files are now. Reads them, where they have changed, in a thread that may block.
    pub(super) async fn now(self: &Arc<Self>) -> Arc<T> {
        let kept = Arc::clone(self);
        match tokio::task::spawn_blocking(move || kept.look()).await {
            Ok(made) => made,
            // Only when the runtime ends.
            Err(_) => Arc::clone(&self.lock().made),
        }
    }

    fn look(&self) -> Arc<T> {
        let mut state = self.lock();
        let now = stamps(&self.files);
        if now != state.seen {
            state.seen = now;
            match (self.make)(&self.files) {
                Ok(made) => {
                    state.made = Arc::new(made);
                    tracing::info!("the files of TLS have changed and are in use from now on");
                }
                Err(error) => {
                    tracing::error!("the files of TLS have changed and cannot be used, the former stay: {error}")
                }
            }
        }
        Arc::clone(&state.made)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State<T>> {
        // Nothing panics between two changes that belong together.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> std::fmt::Debug for Kept<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kept").field("files", &self.files).finish_non_exhaustive()
    }
}
