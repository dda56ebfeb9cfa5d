//! From bytes to a compiled component with its callbacks, fetchers and needs.
//!
//! | module | holds |
//! |---|---|
//! | [`cache`] | compiled code that is kept |
//! | [`description`] | what a component has, needs and lacks, as plain data |
//! | [`error`] | why a component cannot be loaded |
//! | [`opener`] | components that are opened together, each once |
//! | `sniff`, `parse` | from bytes to validated types |
//! | `types` | from validated types to signatures, with the names that types got where they were defined |
//! | `discover` | from types to a description |
//! | `select` | which exports are callbacks |
//! | `resolve` | which callbacks may serve an import |
//! | `host` | what the host itself provides |
//!
//! Invariant: [`describe`] and [`Opener`] never compile, so they take milliseconds; [`load`] compiles, which can take seconds, and
//! belongs on a thread that may block. Neither keeps anything of the component but what it returns.

pub mod cache;
pub mod description;
mod discover;
pub mod error;
mod host;
mod interface;
pub mod opener;
mod parse;
mod resolve;
mod select;
mod sniff;
mod types;

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use daffi_proto::name::NameGlob;
use wasmtime::Engine;
use wasmtime::component::{Component, ComponentExportIndex};

use self::cache::Cache;
pub use self::description::Description;
use self::description::Place;
pub use self::error::LoadError;
use self::error::{Problem, Problems};
use self::opener::Content;
pub use self::opener::Opener;
use crate::guest::engine::Engines;
use crate::guest::template::Base;

/// Largest component unless the operator says otherwise.
pub const DEFAULT_MAX_COMPONENT_BYTES: u64 = 256 << 20;

/// A compilation that takes longer than this is reported.
pub const SLOW_COMPILATION: Duration = Duration::from_secs(1);

/// What the operator says about a component.
#[derive(Clone)]
pub struct LoadOptions {
    /// Which exports are callbacks. Default: all but what tools add.
    pub callbacks: Option<Vec<NameGlob>>,
    /// Which callbacks serve which imports: the name of an imported interface (or function, after `#`) and that of the
    /// callbacks' interface (or callback). Versions may be left out.
    pub fetchers: Vec<(String, String)>,
    /// Whether to leave out what cannot be served. Default: refuse the component.
    pub skip_unsupported: bool,
    /// Largest component, in bytes.
    pub max_bytes: u64,
    /// Called, from another thread, when compilation takes more than [`SLOW_COMPILATION`], with a message for people.
    pub on_slow: Option<Arc<dyn Fn(String) + Send + Sync>>,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self {
            callbacks: None,
            fetchers: Vec::new(),
            skip_unsupported: false,
            max_bytes: DEFAULT_MAX_COMPONENT_BYTES,
            on_slow: None,
        }
    }
}

/// A compiled component, ready to be linked.
#[derive(Clone)]
pub struct Loaded {
    /// Its engine.
    pub engine: Engine,
    /// All engines: their clock, which interrupts its guests, runs as long as somebody holds this.
    pub engines: Engines,
    /// The compiled code.
    pub component: Component,
    /// What it has and needs.
    pub description: Arc<Description>,
    /// Where its callbacks are, in the order of [`Description::callbacks`].
    pub callbacks: Arc<[ComponentExportIndex]>,
    /// Where its `wasi:cli/run` is, if it has one.
    pub run: Option<ComponentExportIndex>,
    /// Where the functions of its `daffi:runtime/lifecycle` or `lifecycle-async` are, if it has them.
    pub lifecycle: Option<LifecycleExports>,
    /// What its modules share of their linking.
    pub(super) base: Base,
}

/// Where the functions of `daffi:runtime/lifecycle` are, or the async ones of `lifecycle-async`.
#[derive(Clone)]
pub struct LifecycleExports {
    /// `on-init: func()`
    pub on_init: ComponentExportIndex,
    /// `on-connect: func()`
    pub on_connect: ComponentExportIndex,
    /// `on-disconnect: func(reason: string)`
    pub on_disconnect: ComponentExportIndex,
}

/// Reads a component file. It blocks.
///
/// # Errors
/// [`LoadError`] when there is no such file, it is none, is too large or cannot be read.
pub fn read_file(path: &Path, max_bytes: u64) -> Result<Vec<u8>, LoadError> {
    let failed = |source| LoadError::Read { path: path.to_owned(), source };
    let about = std::fs::metadata(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => LoadError::NoSuchFile(path.to_owned()),
        _ => failed(error),
    })?;
    if about.is_dir() {
        return Err(LoadError::Directory(path.to_owned()));
    }
    if !about.is_file() {
        return Err(LoadError::NotAFile(path.to_owned()));
    }
    let too_large = |bytes| LoadError::TooLarge { name: path.display().to_string(), bytes, limit: max_bytes };
    if about.len() > max_bytes {
        return Err(too_large(about.len()));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(about.len()).unwrap_or(0));
    // The file may grow while it is read, so the bound holds for what comes, too.
    let most = max_bytes.saturating_add(1);
    File::open(path).and_then(|file| file.take(most).read_to_end(&mut bytes)).map_err(failed)?;
    let read = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    if read > max_bytes { Err(too_large(read)) } else { Ok(bytes) }
}

/// Looks at a component without compiling it. What cannot be served is told in [`Description::problems`], not as an
/// error.
///
/// # Errors
/// [`LoadError`] when the bytes are no component, or the options do not fit it.
pub fn describe(name: &str, bytes: &[u8], options: &LoadOptions) -> Result<Description, LoadError> {
    let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    if size > options.max_bytes {
        return Err(LoadError::TooLarge { name: name.to_owned(), bytes: size, limit: options.max_bytes });
    }
    discover::discover(name, &parse::parse(name, bytes)?, options)
}

/// A component that can be served, and is not compiled yet.
pub struct Readable {
    name: String,
    content: Arc<Content>,
    options: LoadOptions,
    /// What it has and needs.
    pub description: Arc<Description>,
}

impl Readable {
    /// Compiles it, where its code was not kept. It blocks, up to a minute for a large component; run it on a thread that may.
    ///
    /// # Errors
    /// [`LoadError`] says what is wrong and what to do.
    pub fn compile(&self, engines: &Engines, cache: &Cache) -> Result<Loaded, LoadError> {
        compile((engines, cache), &self.name, &self.content, self.description.clone(), &self.options)
    }
}

/// Compiles a component; `name` is for messages. It blocks, as [`Readable::compile`] does.
///
/// # Errors
/// [`LoadError`] says what is wrong and what to do.
pub fn load(engines: &Engines, name: &str, bytes: &[u8], options: &LoadOptions) -> Result<Loaded, LoadError> {
    let description = Arc::new(servable(name, bytes, options)?);
    let content = Content { bytes: bytes.to_vec(), digest: cache::digest(bytes) };
    compile((engines, &Cache::default()), name, &content, description, options)
}

fn servable(name: &str, bytes: &[u8], options: &LoadOptions) -> Result<Description, LoadError> {
    let description = describe(name, bytes, options)?;
    refuse_problems(name, &description, options.skip_unsupported)?;
    if description.callbacks.is_empty() && description.run.is_none() && description.lifecycle.is_none() {
        return Err(LoadError::NothingToDo { name: name.to_owned() });
    }
    Ok(description)
}

fn compile(
    (engines, cache): (&Engines, &Cache),
    name: &str,
    content: &Content,
    description: Arc<Description>,
    options: &LoadOptions,
) -> Result<Loaded, LoadError> {
    let engine = engines.with_types(description.engine, description.types)?;
    let bytes = &content.bytes;
    let component = cache
        .get(&engine, &content.digest, || watched(name, bytes.len(), options, || Component::new(&engine, bytes)))
        .map_err(|error| LoadError::Compile { name: name.to_owned(), message: format!("{error:#}") })?;
    let find = |place: &Place| {
        export(&component, place).ok_or_else(|| LoadError::Compile {
            name: name.to_owned(),
            message: format!("the compiled code lacks its export `{place}`"),
        })
    };
    let callbacks = description.callbacks.iter().map(|callback| find(&callback.place)).collect::<Result<_, _>>()?;
    let run = description.run.as_ref().map(|run| find(&run.place)).transpose()?;
    let lifecycle = match &description.lifecycle {
        None => None,
        Some(lifecycle) => {
            let place = |item: &str| Place { interface: Some(lifecycle.interface.clone()), item: item.to_owned() };
            Some(LifecycleExports {
                on_init: find(&place("on-init"))?,
                on_connect: find(&place("on-connect"))?,
                on_disconnect: find(&place("on-disconnect"))?,
            })
        }
    };
    let engines = engines.clone();
    Ok(Loaded { engine, engines, component, description, callbacks, run, lifecycle, base: Base::default() })
}

fn refuse_problems(name: &str, description: &Description, skip: bool) -> Result<(), LoadError> {
    let refused = |problem: &&Problem| !(skip && problem.can_skip);
    let problems: Vec<Problem> = description.problems.iter().filter(refused).cloned().collect();
    if problems.is_empty() {
        return Ok(());
    }
    Err(LoadError::Unservable { name: name.to_owned(), problems: Problems(problems) })
}

fn export(component: &Component, place: &Place) -> Option<ComponentExportIndex> {
    match &place.interface {
        None => component.get_export_index(None, &place.item),
        Some(interface) => {
            let instance = component.get_export_index(None, interface)?;
            component.get_export_index(Some(&instance), &place.item)
        }
    }
}

/// Runs a compilation, and tells when it takes long.
fn watched<T>(name: &str, bytes: usize, options: &LoadOptions, compile: impl FnOnce() -> T) -> T {
    let Some(on_slow) = &options.on_slow else { return compile() };
    let started = Instant::now();
    std::thread::scope(|scope| {
        let (done, finished) = channel::<()>();
        scope.spawn(move || {
            if finished.recv_timeout(SLOW_COMPILATION) == Err(RecvTimeoutError::Timeout) {
                on_slow(format!("compiling `{name}` ({}) takes a while", human_bytes(bytes)));
                // The sender is dropped when the compilation ends.
                let _ = finished.recv();
                on_slow(format!("compiled `{name}` in {:.1} s", started.elapsed().as_secs_f64()));
            }
        });
        let result = compile();
        drop(done);
        result
    })
}

/// `6.5 MiB`, `24 KiB`, `12 bytes`.
pub fn human_bytes(bytes: usize) -> String {
    const KIB: usize = 1 << 10;
    const MIB: usize = 1 << 20;
    match bytes {
        MIB.. => format!("{}.{} MiB", bytes / MIB, bytes % MIB * 10 / MIB),
        KIB.. => format!("{} KiB", bytes / KIB),
        _ => format!("{bytes} bytes"),
    }
}

#[cfg(test)]
pub(crate) mod tests;
