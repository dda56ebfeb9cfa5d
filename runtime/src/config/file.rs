//! The config file: TOML with the same keys as the flags.
//!
//! ```toml
//! [runtime]
//! name = "edge"
//! controller = true
//!
//! [[module]]
//! path = "publisher.wasm"        # from the file's own folder
//! tenant = "acme"
//! instances = "pool:4"
//! memory = "64MiB"
//! env = { LEVEL = "info" }
//! fetchers = { "demo:tutorial/math-all" = "demo:tutorial/math" }
//! ```
//!
//! Invariant: an unknown key or a bad value is an error with file, line and column. What goes together is checked in
//! [`super::resolve`].

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use daffi_proto::id::{ProcessName, TenantName};
use daffi_proto::name::NameGlob;
use serde::{Deserialize, Deserializer};

use super::bounds::{self, count};
use super::shares::TenantTable;
use super::units::{ByteSize, parse_address, parse_duration};
use super::words::{self, plain};
use crate::guest::grants::{Act, Callable};
use crate::guest::limits::{InstancePolicy, OnCancel};
use crate::guest::network::Destination;
use crate::guest::outside::Preopen;

/// Largest config file that is read.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// The config file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("{}: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Something in it is wrong.
    #[error("{}:{line}:{column}: {message}", path.display())]
    Wrong {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// From 1, in characters.
        column: usize,
        /// What is wrong.
        message: String,
    },
}

/// What a file says.
#[derive(Default)]
pub(super) struct ConfigFile {
    pub(super) runtime: RuntimeKeys,
    pub(super) tenants: BTreeMap<TenantName, TenantTable>,
    pub(super) modules: Vec<ModuleTable>,
}

/// A value and where it stands.
pub(super) struct Placed<T> {
    pub(super) value: T,
    span: Range<usize>,
    source: Arc<Source>,
}

impl<T> Placed<T> {
    /// An error about this value.
    pub(super) fn error(&self, message: impl fmt::Display) -> FileError {
        self.source.wrong(self.span.start, message)
    }
}

/// `[runtime]`, with the places of what is checked later.
#[derive(Default)]
pub(super) struct RuntimeKeys {
    pub(super) name: Option<ProcessName>,
    pub(super) controller: Option<bool>,
    pub(super) no_node: Option<bool>,
    pub(super) listen: Option<Vec<Placed<String>>>,
    pub(super) connect: Option<Placed<String>>,
    pub(super) insecure: Option<bool>,
    pub(super) tls_ca: Option<PathBuf>,
    pub(super) tls_cert: Option<PathBuf>,
    pub(super) tls_key: Option<PathBuf>,
    pub(super) join_token_file: Option<PathBuf>,
    pub(super) exit_after_run: Option<bool>,
    pub(super) max_payload: Option<ByteSize>,
    pub(super) stack: Option<ByteSize>,
    pub(super) drain_timeout: Option<Duration>,
    pub(super) state_dir: Option<PathBuf>,
    pub(super) direct: Option<Placed<String>>,
    pub(super) cache_dir: Option<PathBuf>,
    pub(super) no_cache: Option<bool>,
    pub(super) metrics: Option<SocketAddr>,
    pub(super) log: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a config file")]
pub(super) struct Tables {
    #[serde(default)]
    runtime: RuntimeTable,
    #[serde(default)]
    tenant: BTreeMap<TenantName, TenantTable>,
    #[serde(default)]
    module: Vec<ModuleTable>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default, expecting = "a table, [runtime]")]
pub(super) struct RuntimeTable {
    name: Option<ProcessName>,
    controller: Option<bool>,
    no_node: Option<bool>,
    listen: Option<Vec<toml::Spanned<String>>>,
    connect: Option<toml::Spanned<String>>,
    insecure: Option<bool>,
    #[serde(deserialize_with = "path")]
    tls_ca: Option<PathBuf>,
    #[serde(deserialize_with = "path")]
    tls_cert: Option<PathBuf>,
    #[serde(deserialize_with = "path")]
    tls_key: Option<PathBuf>,
    #[serde(deserialize_with = "path")]
    join_token_file: Option<PathBuf>,
    exit_after_run: Option<bool>,
    #[serde(deserialize_with = "payload")]
    max_payload: Option<ByteSize>,
    #[serde(deserialize_with = "stack")]
    stack: Option<ByteSize>,
    #[serde(deserialize_with = "duration")]
    drain_timeout: Option<Duration>,
    #[serde(deserialize_with = "path")]
    state_dir: Option<PathBuf>,
    direct: Option<toml::Spanned<String>>,
    #[serde(deserialize_with = "path")]
    cache_dir: Option<PathBuf>,
    no_cache: Option<bool>,
    #[serde(deserialize_with = "address")]
    metrics: Option<SocketAddr>,
    log: Option<String>,
}

/// `[[module]]`
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", expecting = "a table, [[module]]")]
pub(super) struct ModuleTable {
    #[serde(deserialize_with = "some_path")]
    pub(super) path: PathBuf,
    pub(super) name: Option<ProcessName>,
    pub(super) tenant: Option<TenantName>,
    #[serde(default, deserialize_with = "text")]
    pub(super) instances: Option<InstancePolicy>,
    #[serde(default, deserialize_with = "memory")]
    pub(super) memory: Option<ByteSize>,
    #[serde(default, deserialize_with = "count::<0, { bounds::MAX_TABLE_ELEMENTS }, _>")]
    pub(super) table_elements: Option<u32>,
    #[serde(default, deserialize_with = "count::<1, { bounds::MAX_CORE_INSTANCES }, _>")]
    pub(super) core_instances: Option<u32>,
    #[serde(default, deserialize_with = "count::<0, { bounds::MAX_TABLES }, _>")]
    pub(super) tables: Option<u32>,
    #[serde(default, deserialize_with = "count::<1, { bounds::MAX_MEMORIES }, _>")]
    pub(super) memories: Option<u32>,
    #[serde(default, deserialize_with = "count::<10, { bounds::MAX_HANDLES }, _>")]
    pub(super) handles: Option<u32>,
    #[serde(default, deserialize_with = "duration")]
    pub(super) max_call_time: Option<Duration>,
    #[serde(default, deserialize_with = "duration")]
    pub(super) max_call_cpu: Option<Duration>,
    #[serde(default, deserialize_with = "count::<1, { bounds::MAX_CALL_RATE }, _>")]
    pub(super) call_rate: Option<u32>,
    #[serde(default, deserialize_with = "part")]
    pub(super) max_arguments: Option<ByteSize>,
    #[serde(default, deserialize_with = "part")]
    pub(super) max_result: Option<ByteSize>,
    #[serde(default, deserialize_with = "count::<0, { bounds::MAX_QUEUE }, _>")]
    pub(super) queue: Option<u32>,
    #[serde(default, deserialize_with = "duration")]
    pub(super) queue_time: Option<Duration>,
    #[serde(default, deserialize_with = "count::<1, { bounds::MAX_CONCURRENCY }, _>")]
    pub(super) concurrency: Option<u32>,
    #[serde(default, deserialize_with = "count::<1, { bounds::MAX_CONCURRENCY }, _>")]
    pub(super) async_calls: Option<u32>,
    #[serde(default, deserialize_with = "count::<0, { bounds::MAX_OPEN_CALLS }, _>")]
    pub(super) open_calls: Option<u32>,
    #[serde(default, deserialize_with = "count::<0, { bounds::MAX_SCHEDULES }, _>")]
    pub(super) max_schedules: Option<u32>,
    #[serde(default, deserialize_with = "count::<0, { bounds::MAX_OPEN_STREAMS }, _>")]
    pub(super) open_streams: Option<u32>,
    #[serde(default, deserialize_with = "output_rate")]
    pub(super) output_rate: Option<ByteSize>,
    #[serde(default, deserialize_with = "text")]
    pub(super) on_cancel: Option<OnCancel>,
    #[serde(default)]
    pub(super) env: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) preopens: Vec<Preopen>,
    #[serde(default)]
    pub(super) network: Vec<Destination>,
    pub(super) callbacks: Option<Vec<NameGlob>>,
    pub(super) may_call: Option<Vec<Callable>>,
    #[serde(default)]
    pub(super) deny: BTreeSet<Act>,
    #[serde(default)]
    pub(super) fetchers: BTreeMap<String, String>,
    pub(super) skip_unsupported: Option<bool>,
}

impl ModuleTable {
    /// A module of which only the path is said.
    pub(super) fn at(path: PathBuf) -> Self {
        Self { path, ..Self::default() }
    }
}

/// Reads a value that has a text form of its own; the error then has the value's place.
fn text<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: fmt::Display>,
{
    read_by(|text| text.parse().map_err(|error: T::Err| error.to_string()), deserializer)
}

/// Reads a path, which is not empty: from the file's own folder that would be the folder.
fn some_path<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
    let path = PathBuf::deserialize(deserializer)?;
    if path.as_os_str().is_empty() {
        return Err(serde::de::Error::custom("an empty path: write that of a file or folder, or leave the key out"));
    }
    Ok(path)
}

fn path<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PathBuf>, D::Error> {
    some_path(deserializer).map(Some)
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    read_by(parse_duration, deserializer)
}

fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SocketAddr>, D::Error> {
    read_by(parse_address, deserializer)
}

pub(super) fn memory<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<ByteSize>, D::Error> {
    read_by(bounds::memory, deserializer)
}

pub(super) fn stream_bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<ByteSize>, D::Error> {
    read_by(bounds::stream_bytes, deserializer)
}

pub(super) fn output_rate<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<ByteSize>, D::Error> {
    read_by(bounds::output_rate, deserializer)
}

fn payload<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<ByteSize>, D::Error> {
    read_by(bounds::payload, deserializer)
}

fn part<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<ByteSize>, D::Error> {
    read_by(bounds::part, deserializer)
}

fn stack<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<ByteSize>, D::Error> {
    read_by(bounds::stack, deserializer)
}

fn read_by<'de, D: Deserializer<'de>, T>(
    read: impl FnOnce(&str) -> Result<T, String>,
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    words::text(read, deserializer).map(Some)
}

/// The file's text, for the place of an error.
struct Source {
    path: PathBuf,
    text: String,
}

impl Source {
    fn wrong(&self, at: usize, message: impl fmt::Display) -> FileError {
        let before = self.text.get(..at).unwrap_or(&self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        FileError::Wrong { path: self.path.clone(), line, column, message: message.to_string() }
    }
}

/// Reads a file.
///
/// # Errors
/// [`FileError`]
pub(super) fn read(path: &Path) -> Result<ConfigFile, FileError> {
    let unreadable = |reason: String| FileError::Unreadable { path: path.to_owned(), reason };
    let size = std::fs::metadata(path).map_err(|error| unreadable(format!("cannot be read: {error}")))?.len();
    if size > MAX_FILE_BYTES {
        return Err(unreadable(format!("{size} bytes are too many for a config file")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| unreadable(format!("cannot be read: {error}")))?;
    let source = Arc::new(Source { path: path.to_owned(), text });
    let tables: Tables = toml::from_str(&source.text)
        .map_err(|error| source.wrong(error.span().map_or(0, |span| span.start), plain(error.message())))?;
    Ok(place(tables, &source))
}

fn place(tables: Tables, source: &Arc<Source>) -> ConfigFile {
    let placed = |spanned: toml::Spanned<String>| Placed {
        span: spanned.span(),
        value: spanned.into_inner(),
        source: Arc::clone(source),
    };
    let folder = source.path.parent().unwrap_or(Path::new(""));
    let in_folder = |path: PathBuf| folder.join(path);
    let table = tables.runtime;
    let runtime = RuntimeKeys {
        name: table.name,
        controller: table.controller,
        no_node: table.no_node,
        listen: table.listen.map(|urls| urls.into_iter().map(placed).collect()),
        connect: table.connect.map(placed),
        insecure: table.insecure,
        tls_ca: table.tls_ca.map(in_folder),
        tls_cert: table.tls_cert.map(in_folder),
        tls_key: table.tls_key.map(in_folder),
        join_token_file: table.join_token_file.map(in_folder),
        exit_after_run: table.exit_after_run,
        max_payload: table.max_payload,
        stack: table.stack,
        drain_timeout: table.drain_timeout,
        state_dir: table.state_dir.map(in_folder),
        direct: table.direct.map(placed),
        cache_dir: table.cache_dir.map(in_folder),
        no_cache: table.no_cache,
        metrics: table.metrics,
        log: table.log,
    };
    let preopen = |preopen: Preopen| Preopen { host: in_folder(preopen.host), ..preopen };
    let module = |module: ModuleTable| ModuleTable {
        path: in_folder(module.path),
        preopens: module.preopens.into_iter().map(preopen).collect(),
        ..module
    };
    ConfigFile { runtime, tenants: tables.tenant, modules: tables.module.into_iter().map(module).collect() }
}
