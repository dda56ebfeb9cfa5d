//! How a runtime starts: everything that can go wrong with what the user gave goes wrong here.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use daffi_proto::controller::ControllerConfig;
use daffi_proto::id::{NodeKey, TenantName};
use daffi_proto::name::CallbackName;
use daffi_proto::node::NodeConfig;
use daffi_proto::session::Role;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::exports;
use crate::config::{ModuleConfig, RuntimeConfig};
use crate::exit::{self, Failure};
use crate::guest::ceiling::Ceiling;
use crate::guest::component::cache::Cache;
use crate::guest::component::{LoadError, LoadOptions, Loaded, Opener, Readable};
use crate::guest::engine::{Demand, EngineConfig, EngineKind, Engines, Lodger};
use crate::guest::fair::{Fair, Share};
use crate::guest::limits::ModuleLimits;
use crate::guest::module::{GuestModule, ModuleSpec};
use crate::mesh::attention::Attention;
use crate::mesh::direct;
use crate::mesh::driver::Driver;
use crate::mesh::handle::MeshHandle;
use crate::mesh::hub::{Hub, HubHandle, NewLink, join_in_memory};
use crate::mesh::ledger::Ledger;
use crate::mesh::link::LinkLimits;
use crate::mesh::uplink::{self, Dialing};
use crate::metrics::{Measured, Metrics};
use crate::net::dial::{self, Target};
use crate::net::direct::DirectListener;
use crate::net::listener::{Accepted, Listener, MAX_CONNECTIONS, is_open_to_others};
use crate::output::Printer;
use crate::state_dir::StateDir;

/// A runtime that has started.
pub(super) struct Running {
    /// The node, where there is one.
    pub(super) mesh: Option<MeshHandle>,
    /// The controller, where this is it.
    pub(super) hub: Option<HubHandle>,
    /// The modules, in the order of the config.
    pub(super) modules: Vec<Arc<GuestModule>>,
    /// All tasks but the guests'.
    pub(super) tasks: TaskTracker,
    /// Ends them.
    pub(super) cancel: CancellationToken,
}

/// What was loaded.
pub(super) struct Guests {
    /// The modules, with the limits that this machine leaves them.
    modules: Vec<(Loaded, ModuleLimits)>,
}

/// Builds the engines and loads all modules, before anything else is touched.
///
/// # Errors
/// The first module that cannot be loaded.
pub(super) async fn load(config: &RuntimeConfig) -> Result<Guests, Failure> {
    if config.modules.is_empty() {
        return Ok(Guests { modules: Vec::new() });
    }
    let modules = config.modules.clone();
    let (stack_bytes, cache_dir) = (config.stack_bytes, config.cache_dir.clone());
    let loading = tokio::task::spawn_blocking(move || load_all(&modules, stack_bytes, cache_dir.as_deref()));
    loading.await.map_err(|error| Failure::new(exit::FAILED, format!("loading ended unexpectedly: {error}")))?
}

/// First what takes no time, so that nobody waits for what cannot be; then the engines, which are to carry it all.
fn load_all(modules: &[ModuleConfig], stack_bytes: usize, cache_dir: Option<&Path>) -> Result<Guests, Failure> {
    let opened = open_all(modules)?;
    let demands: Vec<Demand> = modules.iter().zip(&opened).map(|(module, opened)| demand(module, opened)).collect();
    let engines = Engines::new(engine_config(modules, &demands, stack_bytes))
        .map_err(|error| Failure::new(exit::FAILED, error))?;
    let cache = cache_dir.map_or_else(Cache::default, Cache::in_folder);
    let mut guests = Guests { modules: Vec::new() };
    let mut lodgers = Vec::new();
    // Modules that share a component share all that it is loaded to.
    let mut compiled: HashMap<*const Readable, Loaded> = HashMap::new();
    for ((module, opened), demand) in modules.iter().zip(opened).zip(demands) {
        let loaded = match compiled.entry(Arc::as_ptr(&opened)) {
            Entry::Occupied(known) => known.get().clone(),
            Entry::Vacant(place) => {
                let loaded = opened.compile(&engines, &cache).map_err(|error| load_failure(&module.path, &error))?;
                place.insert(loaded).clone()
            }
        };
        let limits = with_stacks(module, &engines, &demand);
        lodgers.push(Lodger::new(module.process.to_string(), demand, &loaded.component));
        guests.modules.push((loaded, limits));
    }
    engines.fit(&lodgers).map_err(Failure::usage)?;
    Ok(guests)
}

/// Reads all components, and says of the first that cannot be served why; compiles none.
///
/// # Errors
/// That one.
pub(super) fn examine(modules: &[ModuleConfig]) -> Result<(), Failure> {
    open_all(modules).map(drop)
}

/// Reads all components, which have together what the config says that they have.
fn open_all(modules: &[ModuleConfig]) -> Result<Vec<Arc<Readable>>, Failure> {
    has_files(modules)?;
    let mut opener = Opener::default();
    let opened = modules.iter().map(|module| open_one(&mut opener, module));
    let opened: Vec<Arc<Readable>> = opened.collect::<Result<_, _>>()?;
    exports::check(modules, &opened)?;
    Ok(opened)
}

/// The callbacks of each module.
///
/// # Errors
/// As [`examine`].
pub(super) fn callbacks(modules: &[ModuleConfig]) -> Result<Vec<Vec<CallbackName>>, Failure> {
    let mut opener = Opener::default();
    let of_module = |module: &ModuleConfig| {
        let opened = open_one(&mut opener, module)?;
        Ok(opened.description.callbacks.iter().map(|callback| callback.name.clone()).collect())
    };
    modules.iter().map(of_module).collect()
}

fn open_one(opener: &mut Opener, module: &ModuleConfig) -> Result<Arc<Readable>, Failure> {
    for folder in module.outside.preopens.iter().map(|preopen| &preopen.host) {
        let unusable = |why: &dyn std::fmt::Display| {
            let (folder, process) = (folder.display(), &module.process);
            let advice = "make it, or leave it out";
            Failure::usage(match &module.file {
                Some(file) => {
                    format!("{}: `preopens` (or --preopen) of {process}: {folder}: {why}: {advice}", file.display())
                }
                None => format!("--preopen of {process}: {folder}: {why}: {advice}"),
            })
        };
        if !std::fs::metadata(folder).map_err(|error| unusable(&error))?.is_dir() {
            return Err(unusable(&"it is no folder"));
        }
    }
    let options = LoadOptions {
        callbacks: module.callbacks.clone(),
        fetchers: module.fetchers.clone().into_iter().collect(),
        skip_unsupported: module.skip_unsupported,
        on_slow: Some(Arc::new(|message| tracing::info!("{message}"))),
        ..LoadOptions::default()
    };
    opener.open(&module.path, options).map_err(|error| {
        let failure = load_failure(&module.path, &error);
        match &module.file {
            // What is wrong with a component is its own matter; where it is, is the file's.
            Some(file) if error.is_of_path() => {
                let (file, process) = (file.display(), &module.process);
                Failure { message: format!("{file}: `path` of {process}: {}", failure.message), ..failure }
            }
            Some(file) if error.is_of_keys() => {
                let (file, process) = (file.display(), &module.process);
                Failure { message: format!("{file}: {process}: {}", failure.message), ..failure }
            }
            _ => failure,
        }
    })
}

fn load_failure(path: &Path, error: &LoadError) -> Failure {
    let (path, message) = (path.display().to_string(), error.to_string());
    Failure::usage(if message.contains(&path) { message } else { format!("{path}: {message}") })
}

/// Whether the runtime may open what its guests may make it open, and has as many left for itself.
fn has_files(modules: &[ModuleConfig]) -> Result<(), Failure> {
    let files = |module: &ModuleConfig| {
        let each = module.outside.handles(module.limits.host_handles) as u64;
        // One more instance for `run`.
        each.saturating_mul(u64::from(module.limits.instances(module.instances)).saturating_add(1))
    };
    let wanted = modules.iter().filter(|module| module.outside.opens_files()).map(files).fold(0, u64::saturating_add);
    let most = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX);
    if wanted > most / 2 {
        return Err(Failure::usage(format!(
            "guests may have {wanted} files and connections open, and this process may have {most}, half of them for itself: \
             lower the `instances`, `concurrency` or `handles` of modules with `preopens` or `network`, or raise `ulimit -Hn`"
        )));
    }
    Ok(())
}

/// What a module asks of its engine: its instances, one more for `run`, and where calls interleave a stack for each.
fn demand(module: &ModuleConfig, opened: &Readable) -> Demand {
    let (kind, types) = (opened.description.engine, opened.description.types);
    let serving = module.limits.instances(module.instances);
    let interleaves = kind == EngineKind::Concurrent && module.instances.is_long_lived();
    let calls = if interleaves { u32::try_from(module.limits.async_calls).unwrap_or(u32::MAX) } else { 0 };
    let instances = serving.saturating_add(u32::from(opened.description.run.is_some()));
    Demand { kind, types, instances, calls: serving.saturating_mul(calls) }
}

/// The module's limits, with no more calls at once in an instance than there are stacks for.
fn with_stacks(module: &ModuleConfig, engines: &Engines, demand: &Demand) -> ModuleLimits {
    let wanted = module.limits.async_calls;
    let async_calls = engines.calls(demand, wanted);
    if async_calls < wanted {
        tracing::info!(
            "{}: at most {async_calls} calls at once in an instance, and not {wanted}: this machine has stacks for no more",
            module.process
        );
    }
    ModuleLimits { async_calls, ..module.limits.clone() }
}

/// The engines must carry the largest limit of all modules, and room for all their instances.
fn engine_config(modules: &[ModuleConfig], demands: &[Demand], stack_bytes: usize) -> EngineConfig {
    let default = EngineConfig::default();
    let memory = modules.iter().map(|module| module.limits.memory_bytes).max().unwrap_or_default();
    let tables = modules.iter().map(|module| module.limits.table_elements).max().unwrap_or_default();
    let mut demand: Vec<Demand> = Vec::new();
    for of_module in demands {
        match demand.iter_mut().find(|known| known.is_same_engine(of_module)) {
            Some(sum) => {
                sum.instances = sum.instances.saturating_add(of_module.instances);
                sum.calls = sum.calls.saturating_add(of_module.calls);
            }
            None => demand.push(of_module.clone()),
        }
    }
    EngineConfig {
        max_memory_bytes: u64::try_from(memory).unwrap_or(u64::MAX).min(default.max_memory_bytes),
        max_table_elements: u32::try_from(tables).unwrap_or(u32::MAX).max(default.max_table_elements),
        demand,
        stack_bytes,
        ..default
    }
}

/// Starts everything: addresses first, since they are the user's to choose, then the node and its modules.
///
/// # Errors
/// An address that cannot be taken, or a module that does not fit the host.
pub(super) async fn start(
    config: RuntimeConfig,
    loaded: Guests,
    state: Option<StateDir>,
    guests: Handle,
    printer: &Printer,
) -> Result<Running, Failure> {
    let (tasks, cancel) = (TaskTracker::new(), CancellationToken::new());
    let limits = LinkLimits::for_payload(config.max_payload_bytes);
    let target = config.connect.clone().map(|endpoint| Target::new(endpoint, &config.tls));
    let target = target.transpose().map_err(Failure::usage)?;
    let mut listeners = Vec::with_capacity(config.listen.len());
    for endpoint in &config.listen {
        listeners.push(Listener::bind(endpoint, &config.tls).await.map_err(Failure::usage)?);
    }
    let metrics = match config.metrics {
        Some(address) => Some(metrics_at(address).await?),
        None => None,
    };
    let hub = config.is_controller().then(|| {
        let mut controller = ControllerConfig::new(random_seed());
        controller.max_payload_bytes = config.max_payload_bytes;
        getrandom::fill(&mut controller.secret).map_err(no_random)?;
        let (handle, hub) = Hub::new(controller, tasks.clone());
        tasks.spawn(hub.run(cancel.clone()));
        Ok(handle)
    });
    let hub = hub.transpose()?;
    let direct = direct_listener(&config).await?;
    let Guests { modules: loaded } = loaded;
    let attention = Attention::new();
    let watching = attention.clone().watch();
    tasks.spawn(cancel.clone().run_until_cancelled_owned(watching));
    let mut running = Running { mesh: None, hub, modules: Vec::new(), tasks, cancel };
    if let Some(hub) = &running.hub {
        listen(listeners, hub, limits, &attention, &running);
    }
    if !config.modules.is_empty() {
        let ledger = state.is_some().then(Ledger::default);
        let (mesh, dialing) = start_node(&config, ledger.clone(), direct, limits, &attention, &running)?;
        running.modules = start_modules(&config, &loaded, &mesh, state.as_ref(), &guests, printer, &running).await?;
        if let Some(metrics) = metrics {
            tell_metrics(metrics, &running);
        }
        if let (Some(state), Some(ledger)) = (state, ledger) {
            running.tasks.spawn(state.keep(ledger, mesh.clone(), running.cancel.clone()));
        }
        // Only now: whoever sees the node connected finds all its processes registered.
        dial(dialing, target, limits, &attention, &running);
        running.mesh = Some(mesh);
    }
    Ok(running)
}

/// Takes the node's own address, if it is to have one. Where nobody said so, it can do without.
async fn direct_listener(config: &RuntimeConfig) -> Result<Option<DirectListener>, Failure> {
    if config.modules.is_empty() {
        return Ok(None);
    }
    match DirectListener::bind(config.direct.clone()).await {
        Err(error) if config.direct_said => Err(Failure::usage(format!("direct links: {error}"))),
        Err(error) => {
            tracing::info!("calls between runtimes go by the controller: {error}");
            Ok(None)
        }
        Ok(listener) => Ok(listener),
    }
}

fn no_random(error: getrandom::Error) -> Failure {
    Failure::new(exit::FAILED, format!("the system gives no random numbers: {error}"))
}

async fn metrics_at(address: SocketAddr) -> Result<Metrics, Failure> {
    let failure = |error: std::io::Error| {
        let why = match error.kind() {
            std::io::ErrorKind::AddrInUse => "it is in use".to_owned(),
            _ => error.to_string(),
        };
        Failure::usage(format!("metrics cannot be told at {address}: {why}: choose another address"))
    };
    Metrics::bind(address).await.map_err(failure)
}

/// Tells what the modules use to whoever asks there.
fn tell_metrics(metrics: Metrics, running: &Running) {
    tracing::info!("metrics at http://{}/metrics", metrics.address());
    let modules = running.modules.clone();
    let measure = move || {
        let measured =
            modules.iter().map(|module| Measured { process: module.process().clone(), usage: module.usage() });
        measured.collect()
    };
    running.tasks.spawn(metrics.run(measure, running.tasks.clone(), running.cancel.clone()));
}

/// Accepts connections on all addresses, for the hub.
fn listen(listeners: Vec<Listener>, hub: &HubHandle, limits: LinkLimits, attention: &Attention, running: &Running) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let (accepted, mut connections) = mpsc::channel::<Accepted>(1);
    for listener in listeners {
        tracing::info!("listening on {}", listener.endpoint());
        if is_open_to_others(listener.endpoint()) {
            tracing::warn!("{}: whoever reaches this port can call everything", listener.endpoint());
        }
        running.tasks.spawn(listener.run(accepted.clone(), Arc::clone(&places), running.cancel.clone()));
    }
    let (hub, attention, tasks) = (hub.clone(), attention.clone(), running.tasks.clone());
    running.tasks.spawn(async move {
        // Ends with the listeners, which hold the senders.
        drop(accepted);
        while let Some(Accepted { connection, identity, place }) = connections.recv().await {
            let limits = LinkLimits { passes_on: true, ..limits };
            let link = attention.of(connection.into_link(limits, &tasks));
            hub.add(NewLink { link, identity, place: Some(place) }).await;
        }
    });
}

fn start_node(
    config: &RuntimeConfig,
    ledger: Option<Ledger>,
    direct: Option<DirectListener>,
    limits: LinkLimits,
    attention: &Attention,
    running: &Running,
) -> Result<(MeshHandle, Dialing), Failure> {
    let mut key = [0; 16];
    getrandom::fill(&mut key).map_err(no_random)?;
    let node = NodeConfig {
        seed: random_seed(),
        max_payload_bytes: config.max_payload_bytes,
        tenants: config.tenants(),
        imports: config.imports.clone(),
        reachable_at: direct.iter().map(DirectListener::address).collect(),
        max_tasks: config.max_tasks(),
        max_stream_bytes: config.max_stream_bytes(),
        ..NodeConfig::new(NodeKey(key), config.name.clone(), Role::Node)
    };
    let target = match &config.connect {
        Some(endpoint) => endpoint.to_string(),
        None => "the controller in this runtime".to_owned(),
    };
    let (uplink, dialing) = uplink::channel();
    let (mesh, driver) = Driver::new(node, target, uplink, running.tasks.clone());
    let directs = direct.map(|listener| {
        let (directs, dialing) = direct::channel();
        running.tasks.spawn(listener.run(
            dialing,
            limits,
            attention.clone(),
            running.tasks.clone(),
            running.cancel.clone(),
        ));
        directs
    });
    running.tasks.spawn(driver.with_ledger(ledger).with_directs(directs).run(running.cancel.clone()));
    Ok((mesh, dialing))
}

async fn start_modules(
    config: &RuntimeConfig,
    loaded: &[(Loaded, ModuleLimits)],
    mesh: &MeshHandle,
    state: Option<&StateDir>,
    guests: &Handle,
    printer: &Printer,
    running: &Running,
) -> Result<Vec<Arc<GuestModule>>, Failure> {
    let several = config.modules.len() > 1;
    // The guests' runtime has a thread more than there are places: for who is behind all others.
    let fair = Fair::new(guests.metrics().num_workers().saturating_sub(1));
    running.tasks.spawn(fair.clone().keep(running.cancel.clone()));
    let mut tenants: BTreeMap<TenantName, (Arc<Ceiling>, Arc<Share>)> = BTreeMap::new();
    let mut modules = Vec::with_capacity(config.modules.len());
    for (module, (loaded, limits)) in config.modules.iter().zip(loaded) {
        let process = module.process.clone();
        let (ceiling, share) = tenants.entry(process.tenant.clone()).or_insert_with_key(|tenant| {
            let ceiling = Ceiling::new(tenant.clone(), config.ceiling(tenant));
            (Arc::new(ceiling), fair.add(config.portion(tenant)))
        });
        let kept = state.map(|state| state.tasks(&process, limits.schedules, mesh.clock())).transpose();
        let spec = ModuleSpec {
            process,
            node: config.name.clone(),
            policy: module.instances,
            limits: limits.clone(),
            ceiling: ceiling.clone(),
            share: share.clone(),
            on_cancel: module.on_cancel,
            schedules: kept.map_err(Failure::usage)?.map(Box::new),
            outside: module.outside.clone(),
            exports: module.exports.clone().into(),
            grants: module.grants.clone(),
        };
        let name = several.then(|| module.process.to_string());
        let output = printer.output(name.as_deref());
        let started = GuestModule::start(loaded, spec, mesh.clone(), guests.clone(), output).await;
        modules.push(started.map_err(|error| Failure::usage(format!("{}: {error}", module.path.display())))?);
    }
    Ok(modules)
}

/// Lets the node have links: over a socket, or in memory to our own controller.
fn dial(dialing: Dialing, target: Option<Target>, limits: LinkLimits, attention: &Attention, running: &Running) {
    let cancel = running.cancel.clone();
    match (target, &running.hub) {
        (Some(target), _) => {
            let tasks = running.tasks.clone();
            running.tasks.spawn(dial::run(target, limits, attention.clone(), random_seed(), dialing, tasks, cancel));
        }
        (None, Some(hub)) => {
            running.tasks.spawn(join_in_memory(hub.clone(), limits, dialing, cancel));
        }
        // Either there is an address or this is the controller: the config sees to it.
        (None, None) => {}
    }
}

/// For turns and jitter; no secret is made of it.
fn random_seed() -> u64 {
    getrandom::u64().unwrap_or_default()
}
