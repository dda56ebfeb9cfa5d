//! Compiled code that is kept: in a folder, so that a component is compiled once on a machine, and here, so that modules of
//! one component share one copy.
//!
//! ```text
//!   bytes, engine ──▶ key ──▶ had before ─────────────────▶ the component
//!                              └▶ its file, whole and ours ─┘     ▲
//!                                  └▶ compile ──▶ a new file, renamed to the key
//! ```
//!
//! Invariants: a key is made of all that the code was made of (the component's bytes, and wasmtime's version and settings),
//! so that what is stale is never found; a file is read whole and its checksum compared before anything of it is used, so
//! that one that is damaged is a miss; compiled code is native code, so a folder or file that somebody else may write is
//! passed over. No guest can write there: folders that guests are given are read-only. What fails here is logged, and the
//! component compiled: it is never an error.

use std::collections::HashMap;
use std::fs::{DirBuilder, Metadata, OpenOptions};
use std::hash::{Hash, Hasher};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use rustix::fs::OFlags;
use sha2::{Digest, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

/// What a file begins with. Another form has another one.
const MAGIC: [u8; 8] = *b"daffi-c2";

/// Bytes of a checksum, and of a key.
const SUM_BYTES: usize = 32;

/// Most bytes of all files together; those that were not used for longest go first.
const MAX_FOLDER_BYTES: u64 = 1 << 30;

/// The end of a file's name.
const SUFFIX: &str = ".cwasm";

/// The beginning of the name of one that is not whole yet.
const UNFINISHED: &str = ".unfinished-";

/// One that has not been finished for so long never will be.
const UNFINISHED_FOR: Duration = Duration::from_secs(60 * 60);

/// That a file was used is noted no more often than this.
const NOTE_USE_EVERY: Duration = Duration::from_secs(60 * 60);

/// What the code is made of.
type Key = [u8; SUM_BYTES];

/// The sum of a component's bytes.
pub(super) type ContentSum = [u8; SUM_BYTES];

/// The sum of these bytes.
pub(super) fn digest(bytes: &[u8]) -> ContentSum {
    Sha256::digest(bytes).into()
}

/// The code that is kept.
#[derive(Debug, Default)]
pub struct Cache {
    /// None: nothing outlives this.
    folder: Option<PathBuf>,
    /// What was asked for before.
    had: Mutex<HashMap<Key, Component>>,
}

impl Cache {
    /// Keeps code in this folder, which is made where it is not there. One that cannot be used is logged and left alone.
    pub fn in_folder(folder: &Path) -> Self {
        let folder = match own_folder(folder) {
            Ok(()) => Some(folder.to_owned()),
            Err(why) => {
                tracing::info!("compiled code is not kept in {}: {why}", folder.display());
                None
            }
        };
        Self { folder, ..Self::default() }
    }

    /// The compiled component of the bytes that have this sum, for this engine. It blocks as long as the compilation, where
    /// there has to be one.
    ///
    /// # Errors
    /// Those of `compile`.
    pub(super) fn get<E>(
        &self,
        engine: &Engine,
        content: &ContentSum,
        compile: impl FnOnce() -> Result<Component, E>,
    ) -> Result<Component, E> {
        let key = key(engine, content);
        if let Some(component) = self.had().get(&key) {
            return Ok(component.clone());
        }
        let file = self.folder.as_ref().map(|folder| folder.join(hex(&key) + SUFFIX));
        let kept = file.as_ref().and_then(|file| open(file, &key, engine));
        let component = match (kept, &file) {
            (Some(component), _) => component,
            (None, None) => compile()?,
            (None, Some(file)) => {
                let component = compile()?;
                if let Err(error) = keep(file, &key, &component) {
                    tracing::warn!("compiled code is not kept in {}: {error}", file.display());
                }
                component
            }
        };
        Ok(self.had().entry(key).or_insert(component).clone())
    }

    fn had(&self) -> std::sync::MutexGuard<'_, HashMap<Key, Component>> {
        self.had.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Feeds what wasmtime says of an engine to the key.
struct Sum(Sha256);

impl Hasher for Sum {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        0 // nobody asks for it: the sum is taken as it is
    }
}

fn key(engine: &Engine, content: &ContentSum) -> Key {
    let mut sum = Sum(Sha256::new_with_prefix(MAGIC));
    engine.precompile_compatibility_hash().hash(&mut sum);
    // Of a length of its own, so that nothing of the settings can pass for it.
    sum.0.update(content);
    sum.0.finalize().into()
}

fn hex(key: &Key) -> String {
    key.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The code in a file; none where there is no file, or it is not as it was written.
fn open(path: &Path, key: &Key, engine: &Engine) -> Option<Component> {
    let content = match read(path) {
        Ok(content) => content,
        Err(error) if error.kind() == ErrorKind::NotFound => return None,
        Err(error) => {
            tracing::warn!("compiled code in {} is not used: {error}", path.display());
            return None;
        }
    };
    let Some(code) = code_of(key, &content) else {
        tracing::warn!("compiled code in {} is damaged: it is compiled anew", path.display());
        return None;
    };
    #[expect(unsafe_code, reason = "it is how wasmtime takes compiled code")]
    // SAFETY: wasmtime asks that these bytes come from its own `serialize`. They are what `keep` wrote for this key, which is of
    // this wasmtime and these settings, whole and unchanged, as their checksum says; and nobody but this user and the
    // system could write them, as the owners and modes of file and folders say. Whoever is that user needs no trick to run code.
    let component = unsafe { Component::deserialize(engine, code) };
    component.inspect_err(|error| tracing::warn!("compiled code in {} is not used: {error:#}", path.display())).ok()
}

/// What a file has, if it is ours alone.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    // No link is followed, and nothing is waited for.
    let flags = i32::try_from((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits()).unwrap_or_default();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let about = file.metadata()?;
    if !about.is_file() || about.len() > MAX_FOLDER_BYTES {
        return Err(io::Error::other("it is no file of compiled code"));
    }
    private(&about).map_err(io::Error::other)?;
    let mut content = Vec::with_capacity(usize::try_from(about.len()).unwrap_or_default());
    (&file).take(MAX_FOLDER_BYTES).read_to_end(&mut content)?;
    let now = SystemTime::now();
    if about.modified().is_ok_and(|used| now.duration_since(used).is_ok_and(|ago| ago > NOTE_USE_EVERY)) {
        // Without the note it is forgotten sooner.
        let _ = file.set_modified(now);
    }
    Ok(content)
}

/// The code, where all is as it was written for this key.
fn code_of<'a>(key: &Key, content: &'a [u8]) -> Option<&'a [u8]> {
    let (sum, code) = content.strip_prefix(&MAGIC)?.split_at_checked(SUM_BYTES)?;
    (sum_of(key, code) == *sum).then_some(code)
}

fn sum_of(key: &Key, code: &[u8]) -> Key {
    Sha256::new_with_prefix(key).chain_update(code).finalize().into()
}

/// Writes a component's code beside, and gives it its name when it is whole.
fn keep(path: &Path, key: &Key, component: &Component) -> io::Result<()> {
    let code = component.serialize().map_err(io::Error::other)?;
    let Some(folder) = path.parent() else { return Err(io::Error::other("it has no folder")) };
    let bytes = u64::try_from(MAGIC.len() + SUM_BYTES + code.len()).unwrap_or(u64::MAX);
    make_room(folder, bytes, MAX_FOLDER_BYTES)?;
    // A name that nobody else chooses, also where runtimes on several machines share the folder.
    let unfinished = folder.join(format!("{UNFINISHED}{:016x}", getrandom::u64().map_err(io::Error::other)?));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
    let mut write = || {
        file.write_all(&MAGIC)?;
        file.write_all(&sum_of(key, &code))?;
        file.write_all(&code)?;
        std::fs::rename(&unfinished, path)
    };
    write().inspect_err(|_| drop(std::fs::remove_file(&unfinished)))
}

/// Removes what was not used for longest, until so many bytes more are no more than the most, and what was never finished.
fn make_room(folder: &Path, bytes: u64, most_bytes: u64) -> io::Result<()> {
    let now = SystemTime::now();
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        // Somebody else may remove it at the same time.
        let Ok(about) = entry.metadata() else { continue };
        let used = about.modified()?.min(now);
        if !about.is_file() || !(name.ends_with(SUFFIX) || name.starts_with(UNFINISHED)) {
            continue;
        }
        if name.starts_with(UNFINISHED) && now.duration_since(used).is_ok_and(|age| age > UNFINISHED_FOR) {
            let _ = std::fs::remove_file(entry.path());
            continue;
        }
        files.push((used, about.len(), entry.path()));
    }
    files.sort();
    let mut total = files.iter().fold(bytes, |sum, (_, bytes, _)| sum.saturating_add(*bytes));
    for (_, bytes, path) in files {
        if total <= most_bytes {
            break;
        }
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => total = total.saturating_sub(bytes),
        }
    }
    if total > most_bytes {
        return Err(io::Error::other(format!("its {bytes} bytes are more than the folder may have, {most_bytes}")));
    }
    Ok(())
}

/// Makes the folder, or sees that it is ours alone, and that nobody else can put another one in its place.
fn own_folder(folder: &Path) -> Result<(), String> {
    let failed = |error: io::Error| error.to_string();
    let folder = std::path::absolute(folder).map_err(failed)?;
    match std::fs::symlink_metadata(&folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(failed)?;
        }
        Err(error) => return Err(failed(error)),
        Ok(_) => {}
    }
    let about = std::fs::symlink_metadata(&folder).map_err(failed)?;
    if !about.is_dir() {
        return Err("it is no folder".to_owned());
    }
    private(&about)?;
    for above in folder.ancestors().skip(1) {
        let about = std::fs::metadata(above).map_err(failed)?;
        let (is_ours, is_roots) = (about.uid() == rustix::process::getuid().as_raw(), about.uid() == 0);
        // In a folder with the sticky bit nobody replaces what is another's. In one of ours our group may write: often we are
        // all of it.
        let is_open = about.mode() & 0o002 != 0 || (!is_ours && about.mode() & 0o020 != 0);
        if !(is_ours || is_roots) || (is_open && about.mode() & 0o1000 == 0) {
            return Err(format!("others can replace what is in {}", above.display()));
        }
    }
    Ok(())
}

/// Whether it is ours, and nobody else's in any way.
fn private(about: &Metadata) -> Result<(), String> {
    if about.uid() != rustix::process::getuid().as_raw() {
        return Err(format!("it belongs to uid {}", about.uid()));
    }
    match about.mode() & 0o077 {
        0 => Ok(()),
        _ => Err(format!("it is open to others (mode {:o}): chmod go-rwx it", about.mode() & 0o777)),
    }
}

#[cfg(test)]
#[path = "cache_tests.rs"]
mod tests;
