//! What a runtime is to do: from flags and the config file to one checked [`RuntimeConfig`].
//!
//! Invariants: a [`RuntimeConfig`] makes sense as a whole (names differ, endpoints are allowed, something is to be
//! done); flags override the file; what cannot be is an error that says where it stands and what to write instead.
//! It opens no socket and loads no component.

pub mod bounds;
pub mod effective;
pub mod file;
mod limits;
pub mod network;
mod shares;
pub mod units;
mod words;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use daffi_proto::controller::MAX_TENANTS_PER_NODE;
use daffi_proto::frame::DEFAULT_MAX_PAYLOAD_BYTES;
use daffi_proto::id::{ProcessName, ProcessRef, TenantName};
use daffi_proto::name::NameGlob;

use daffi_proto::share::{Export, Import};

use crate::cli::args::RunArgs;
use crate::guest::ceiling::CeilingLimits;
use crate::guest::engine::DEFAULT_STACK_BYTES;
use crate::guest::fair::Portion;
use crate::guest::grants::Grants;
use crate::guest::limits::{InstancePolicy, ModuleLimits, OnCancel};
use crate::guest::outside::Outside;
use crate::net::direct::DirectAccess;
use crate::net::endpoint::{Endpoint, EndpointError, Surroundings};
use crate::net::tls::TlsFiles;
use file::{ConfigFile, FileError, ModuleTable, Placed};
use limits::limits_of;
use shares::Shares;
use units::ByteSize;

/// How long calls in flight may take to finish when the runtime ends, unless said otherwise.
pub const DEFAULT_DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// What a runtime is to do.
#[derive(Debug)]
pub struct RuntimeConfig {
    /// Its name, for people.
    pub name: String,
    /// Whether the user gave it that name.
    pub named: bool,
    /// Where it listens, if it is the controller; not empty then.
    pub listen: Vec<Endpoint>,
    /// Where its controller is, if it is not that itself.
    pub connect: Option<Endpoint>,
    /// Whether plain TCP with other machines is allowed.
    pub insecure: bool,
    /// The files of TLS, where an endpoint needs them.
    pub tls: TlsFiles,
    /// What its tenants import of others.
    pub imports: Vec<Import>,
    /// The tables of its tenants, as they were written.
    shares: Shares,
    /// Its modules.
    pub modules: Vec<ModuleConfig>,
    /// Whether it ends when all `run` exports have returned.
    pub exit_after_run: bool,
    /// How long calls in flight may take to finish when it ends.
    pub drain_timeout: Duration,
    /// Where scheduled tasks are kept, if they are to outlive it.
    pub state_dir: Option<PathBuf>,
    /// Where the compiled code of its modules is kept, if anywhere.
    pub cache_dir: Option<PathBuf>,
    /// How other nodes reach this one without the controller; and whether that was said.
    pub direct: DirectAccess,
    pub direct_said: bool,
    /// Where its metrics are told, if anywhere.
    pub metrics: Option<SocketAddr>,
    /// Most bytes of a payload.
    pub max_payload_bytes: usize,
    /// Bytes of stack that wasm may use in a call.
    pub stack_bytes: usize,
    /// What to log, where the user said it.
    pub log: Option<String>,
}

impl RuntimeConfig {
    /// The tenants of its modules, each once.
    pub fn tenants(&self) -> Vec<TenantName> {
        tenants_of(&self.modules).into_iter().collect()
    }

    /// What all modules of a tenant may use together.
    pub fn ceiling(&self, tenant: &TenantName) -> CeilingLimits {
        self.shares.ceiling(tenant)
    }

    /// How many scheduled tasks the modules of a tenant may have together, where there is such a ceiling.
    pub fn max_tasks(&self) -> BTreeMap<TenantName, usize> {
        let of = |tenant: TenantName| self.ceiling(&tenant).schedules.map(|most| (tenant, most));
        self.tenants().into_iter().filter_map(of).collect()
    }

    /// How many bytes of large items of streams they may have to read, where there is such a ceiling.
    pub fn max_stream_bytes(&self) -> BTreeMap<TenantName, usize> {
        let of = |tenant: TenantName| self.ceiling(&tenant).stream_bytes.map(|most| (tenant, most));
        self.tenants().into_iter().filter_map(of).collect()
    }

    /// What part of the guests' threads a tenant has.
    pub fn portion(&self, tenant: &TenantName) -> Portion {
        self.shares.portion(tenant)
    }

    /// Whether this runtime is the controller.
    pub fn is_controller(&self) -> bool {
        !self.listen.is_empty()
    }
}

/// A module: a component and its policy.
#[derive(Clone, Debug)]
pub struct ModuleConfig {
    /// The config file that it stands in, unless it is of the command line.
    pub file: Option<PathBuf>,
    /// The tenant of its process, and the name there.
    pub process: ProcessRef,
    /// What of it other tenants may import: what its tenant exports.
    pub exports: Vec<Export>,
    /// The component's file.
    pub path: PathBuf,
    /// What it may ask of the mesh.
    pub grants: Grants,
    /// How its instances are kept.
    pub instances: InstancePolicy,
    /// What it may use.
    pub limits: ModuleLimits,
    /// What becomes of a running call that nobody waits for, where it is not the policy's own way.
    pub on_cancel: Option<OnCancel>,
    /// What of the host its guests see.
    pub outside: Outside,
    /// Which exports are callbacks; none for the sensible default.
    pub callbacks: Option<Vec<NameGlob>>,
    /// Which interface serves which import, where the names do not say it.
    pub fetchers: BTreeMap<String, String>,
    /// Whether to leave out what cannot be served.
    pub skip_unsupported: bool,
}

/// Flags and config cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The config file.
    #[error(transparent)]
    File(#[from] FileError),
    /// An endpoint.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// Flags that do not go together, or miss something.
    #[error("{0}")]
    Flags(String),
    /// The same of keys of the file.
    #[error("{}: {message}", path.display())]
    Keys { path: PathBuf, message: String },
}

fn flags(message: impl Into<String>) -> ConfigError {
    ConfigError::Flags(message.into())
}

/// Who said something, and so how a mistake in it is told: flags by their names, keys by theirs and with their file.
#[derive(Clone, Copy)]
struct Source<'a> {
    file: Option<&'a Path>,
}

impl Source<'_> {
    /// What does not go together, in words for flags; where one of the flags in question was given, it is to be mended there.
    fn wrong(self, by_flag: bool, message: &str) -> ConfigError {
        match self.file {
            Some(path) if !by_flag => ConfigError::Keys { path: path.to_owned(), message: words::in_keys(message) },
            _ => flags(message),
        }
    }

    /// The same with words of their own for either.
    fn either(self, by_flag: bool, of_flags: String, of_keys: String) -> ConfigError {
        match self.file {
            Some(path) if !by_flag => ConfigError::Keys { path: path.to_owned(), message: of_keys },
            _ => flags(of_flags),
        }
    }
}

/// A `--module` flag: `[NAME=]PATH`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModuleArg {
    name: Option<ProcessName>,
    path: PathBuf,
}

impl FromStr for ModuleArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // A name has no slash: `./a=b.wasm` is a path.
        let (name, path) = match text.split_once('=') {
            Some((name, path)) if !name.contains('/') => {
                (Some(ProcessName::new(name).map_err(|error| error.to_string())?), path)
            }
            _ => (None, text),
        };
        if path.is_empty() {
            return Err("the path is missing: write PATH or NAME=PATH".to_owned());
        }
        Ok(Self { name, path: path.into() })
    }
}

/// Puts flags and config file together.
///
/// # Errors
/// [`ConfigError`]
pub fn resolve(args: RunArgs, around: &Surroundings) -> Result<RuntimeConfig, ConfigError> {
    let ConfigFile { runtime, tenants, modules } = match &args.config {
        Some(path) => file::read(path)?,
        None => ConfigFile::default(),
    };
    let controller = args.controller || runtime.controller.unwrap_or(false);
    let no_node = args.no_node || runtime.no_node.unwrap_or(false);
    let insecure = args.insecure || runtime.insecure.unwrap_or(false);
    let has_modules = !args.module.is_empty() || !modules.is_empty();
    let name = args.name.clone().or(runtime.name.map(String::from));

    let said = Source { file: args.config.as_deref() };
    if no_node && !controller {
        return Err(said.wrong(
            args.no_node,
            "--no-node leaves nothing to do without --controller: say --controller too, or leave it out",
        ));
    }
    if no_node && has_modules {
        return Err(said.wrong(
            args.no_node || !args.module.is_empty(),
            "--no-node means a controller without modules, and there is one: leave out --no-node or --module",
        ));
    }
    if !controller && !has_modules {
        return Err(said.either(
            false,
            "nothing to do: give --module PATH to run a component, --controller to be one, or both".to_owned(),
            "nothing to do: give it a [[module]] with a `path`, `controller = true` in [runtime], or both".to_owned(),
        ));
    }
    if let Some(tenant) = args.tenant.as_ref().filter(|_| args.module.is_empty()) {
        let whose = match has_modules {
            true => format!("a module of the config file says its own, `tenant = \"{tenant}\"` in its [[module]]"),
            false => "give one, or leave --tenant out".to_owned(),
        };
        return Err(flags(format!("--tenant {tenant} is for modules that --module gives, and there is none: {whose}")));
    }
    let listen = endpoints(&args.listen, runtime.listen.unwrap_or_default(), insecure)?;
    let connect = endpoints(args.connect.as_slice(), runtime.connect.into_iter().collect(), insecure)?.pop();
    if controller && connect.is_some() {
        return Err(said.wrong(
            args.connect.is_some() || args.controller,
            "--connect and --controller exclude each other: the controller's own modules join it directly",
        ));
    }
    if !controller && !listen.is_empty() {
        return Err(said.wrong(
            !args.listen.is_empty(),
            "--listen is for the controller: say --controller too, or --connect instead to join one",
        ));
    }
    let (listen, connect) = match (controller, listen.is_empty(), connect) {
        (true, true, _) => (vec![Endpoint::default_socket(around)?], None),
        (true, false, _) => (listen, None),
        (false, _, Some(endpoint)) => (Vec::new(), Some(endpoint)),
        (false, _, None) => (Vec::new(), Some(Endpoint::default_socket(around)?)),
    };
    if connect.as_ref().is_some_and(Endpoint::port_is_open) {
        return Err(said.wrong(args.connect.is_some(), "--connect needs the controller's real port; 0 is for --listen"));
    }

    let given = args.tls.files();
    let tls = TlsFiles {
        ca: given.ca.or(runtime.tls_ca),
        cert: given.cert.or(runtime.tls_cert),
        key: given.key.or(runtime.tls_key),
        join_token: given.join_token.or(runtime.join_token_file),
    };
    let by_flag = !args.tls.files().is_empty() || !args.listen.is_empty() || args.connect.is_some();
    network::check(&listen, connect.as_ref(), &tls).map_err(|message| said.wrong(by_flag, message))?;

    let max_payload_bytes =
        args.max_payload.or(runtime.max_payload).map_or(DEFAULT_MAX_PAYLOAD_BYTES, |ByteSize(bytes)| bytes);
    let state_dir = args.state_dir.clone().or(runtime.state_dir);
    if state_dir.is_some() && !has_modules {
        return Err(said.wrong(
            args.state_dir.is_some(),
            "--state-dir keeps what modules have scheduled, and there is no module: leave it out",
        ));
    }
    let (cache_dir, no_cache) = match args.cache_dir.is_some() || args.no_cache {
        true => (args.cache_dir.clone(), args.no_cache),
        false => (runtime.cache_dir, runtime.no_cache.unwrap_or(false)),
    };
    if no_cache && cache_dir.is_some() {
        return Err(said.wrong(
            args.cache_dir.is_some() || args.no_cache,
            "--cache-dir and --no-cache exclude each other: leave one of them out",
        ));
    }
    let cache_dir = cache_dir.or_else(|| around.cache_dir.clone()).filter(|_| !no_cache);
    let reach = network::Reach { connect: connect.as_ref(), tls: &tls, insecure, around };
    let (direct, direct_said) = reach.direct_access(args.direct.as_deref(), runtime.direct)?;
    let metrics = args.metrics.or(runtime.metrics);
    if let Some(address) = metrics.filter(|address| !address.ip().is_loopback() && !insecure) {
        let message = format!(
            "--metrics {address} is open to whoever reaches the port: use 127.0.0.1, or say --insecure if the network is yours \
             alone"
        );
        return Err(said.wrong(args.metrics.is_some(), &message));
    }
    if metrics.is_some() && !has_modules {
        return Err(said
            .wrong(args.metrics.is_some(), "--metrics tells what modules use, and there is no module: leave it out"));
    }
    let mut modules = modules_of(&args, said, modules, name.as_deref(), max_payload_bytes)?;
    let of_modules: Vec<TenantName> = tenants_of(&modules).into_iter().collect();
    let shares = Shares::new(tenants, &of_modules).map_err(|message| said.wrong(false, &message))?;
    for module in &mut modules {
        module.exports = shares.exports(&module.process.tenant);
        module.grants.among_tenants = of_modules.len() > 1;
    }
    Ok(RuntimeConfig {
        named: name.is_some(),
        name: runtime_name(name)?,
        listen,
        connect,
        insecure,
        tls,
        imports: shares.imports(),
        shares,
        modules,
        exit_after_run: args.exit_after_run || runtime.exit_after_run.unwrap_or(false),
        drain_timeout: args.drain_timeout.or(runtime.drain_timeout).unwrap_or(DEFAULT_DRAIN_TIMEOUT),
        state_dir,
        cache_dir,
        direct,
        direct_said,
        metrics,
        max_payload_bytes,
        stack_bytes: args.stack.or(runtime.stack).map_or(DEFAULT_STACK_BYTES, |ByteSize(bytes)| bytes),
        log: args.log.or(runtime.log),
    })
}

/// The flags' endpoints, or the file's where there are none.
fn endpoints(flags: &[String], file: Vec<Placed<String>>, insecure: bool) -> Result<Vec<Endpoint>, ConfigError> {
    if !flags.is_empty() {
        return Ok(flags.iter().map(|url| Endpoint::parse(url, insecure)).collect::<Result<_, _>>()?);
    }
    let parse = |url: Placed<String>| Endpoint::parse(&url.value, insecure).map_err(|error| url.error(error).into());
    file.into_iter().map(parse).collect()
}

fn runtime_name(name: Option<String>) -> Result<String, ConfigError> {
    match name {
        // The same rule as for processes: the name of a runtime with one module is also that.
        Some(name) => Ok(ProcessName::new(&name).map_err(|error| flags(format!("--name: {error}")))?.into()),
        None => {
            let system = rustix::system::uname();
            let host: String = system.nodename().to_string_lossy().chars().take(64).collect();
            Ok(format!("{host}-{}", std::process::id()))
        }
    }
}

/// All modules: those of the file, then those of the flags; flags of policy hold for all.
fn modules_of(
    args: &RunArgs,
    said: Source<'_>,
    tables: Vec<ModuleTable>,
    runtime_name: Option<&str>,
    max_payload_bytes: usize,
) -> Result<Vec<ModuleConfig>, ConfigError> {
    let of_flags = args.module.iter().map(|module| ModuleTable {
        name: module.name.clone(),
        tenant: args.tenant.clone(),
        ..ModuleTable::at(module.path.clone())
    });
    let of_file = tables.len();
    let tables: Vec<ModuleTable> = tables.into_iter().chain(of_flags).collect();
    let only = tables.len() == 1;
    let mut names = HashSet::new();
    let mut modules = Vec::with_capacity(tables.len());
    for (at, table) in tables.into_iter().enumerate() {
        let by_flag = at >= of_file;
        let module = module_of(args, (said, by_flag), table, runtime_name.filter(|_| only), max_payload_bytes)?;
        if !names.insert(module.process.clone()) {
            let two = format!("two modules are named {:?}: give one of them another", module.process.to_string());
            return Err(said.either(
                by_flag,
                format!("{two} name, with --module NAME=PATH"),
                format!("{two} `name` in its [[module]]"),
            ));
        }
        modules.push(module);
    }
    let tenants = tenants_of(&modules).len();
    if tenants > MAX_TENANTS_PER_NODE {
        return Err(flags(format!(
            "the modules are of {tenants} tenants: a runtime has {MAX_TENANTS_PER_NODE} at most"
        )));
    }
    Ok(modules)
}

/// The tenants of these modules, each once.
fn tenants_of(modules: &[ModuleConfig]) -> BTreeSet<TenantName> {
    modules.iter().map(|module| module.process.tenant.clone()).collect()
}

fn module_of(
    args: &RunArgs,
    (said, by_flag): (Source<'_>, bool),
    table: ModuleTable,
    runtime_name: Option<&str>,
    max_payload_bytes: usize,
) -> Result<ModuleConfig, ConfigError> {
    let limits = limits_of(args, &table, max_payload_bytes);
    let name = match (table.name, runtime_name) {
        (Some(name), _) => name,
        (None, Some(name)) => ProcessName::new(name).map_err(|error| flags(format!("--name: {error}")))?,
        (None, None) => {
            let stem = table.path.file_stem().unwrap_or_default().to_string_lossy();
            ProcessName::new(&stem).map_err(|error| {
                let wrong = format!("{}: {error}; name the process with", table.path.display());
                let of_keys = format!("{wrong} `name` in its [[module]]");
                said.either(by_flag, format!("{wrong} --module NAME=PATH"), of_keys)
            })?
        }
    };
    let instances = args.instances.or(table.instances).unwrap_or_default();
    let mut env: BTreeMap<String, String> = table.env.into_iter().collect();
    env.extend(args.env.iter().cloned());
    let outside = limits::outside_of(args, &name, (table.preopens, table.network), env)
        .map_err(|wrong| said.wrong(by_flag || wrong.by_flag, &wrong.message))?;
    Ok(ModuleConfig {
        file: said.file.filter(|_| !by_flag).map(Path::to_owned),
        process: ProcessRef { tenant: table.tenant.unwrap_or_default(), name },
        exports: Vec::new(),
        path: table.path,
        grants: Grants {
            may_call: if args.may_call.is_empty() { table.may_call } else { Some(args.may_call.clone()) },
            denied: if args.deny.is_empty() { table.deny } else { args.deny.iter().copied().collect() },
            among_tenants: false,
        },
        instances,
        limits,
        on_cancel: args.on_cancel.or(table.on_cancel),
        outside,
        callbacks: table.callbacks,
        fetchers: table.fetchers,
        skip_unsupported: args.skip_unsupported || table.skip_unsupported.unwrap_or(false),
    })
}

#[cfg(test)]
mod example_tests;
#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
