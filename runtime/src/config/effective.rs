//! What a runtime will do, written as the config file that says all of it: defaults included, paths absolute.
//!
//! Invariant: read as a config file, it gives the same settings. Only what has no default and was not said is not in it, and
//! the runtime's own name where it would be made of the host's and a process's number.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use daffi_proto::id::{ProcessName, TenantName};
use serde::Serialize;

use super::shares::Shares;
use super::units::ByteSize;
use super::{ModuleConfig, RuntimeConfig};
use crate::guest::grants::{Act, Callable};
use crate::guest::limits::{InstancePolicy, OnCancel};
use crate::guest::network::Destination;
use crate::guest::outside::Preopen;
use crate::net::direct::DirectAccess;

/// All settings of a runtime.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Effective<'a> {
    runtime: RuntimeKeys<'a>,
    #[serde(rename = "tenant", skip_serializing_if = "Shares::is_empty")]
    tenants: &'a Shares,
    #[serde(rename = "module", skip_serializing_if = "Vec::is_empty")]
    modules: Vec<ModuleKeys<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct RuntimeKeys<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    controller: bool,
    no_node: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    listen: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connect: Option<String>,
    insecure: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls_ca: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls_cert: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls_key: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    join_token_file: Option<PathBuf>,
    exit_after_run: bool,
    max_payload: ByteSize,
    stack: ByteSize,
    #[serde(serialize_with = "time")]
    drain_timeout: Duration,
    #[serde(skip_serializing_if = "Option::is_none")]
    state_dir: Option<PathBuf>,
    direct: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_dir: Option<PathBuf>,
    no_cache: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    metrics: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    log: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct ModuleKeys<'a> {
    path: PathBuf,
    name: &'a ProcessName,
    tenant: &'a TenantName,
    #[serde(serialize_with = "text")]
    instances: InstancePolicy,
    memory: ByteSize,
    table_elements: usize,
    core_instances: usize,
    tables: usize,
    memories: usize,
    handles: usize,
    #[serde(serialize_with = "time")]
    max_call_time: Duration,
    #[serde(serialize_with = "time")]
    max_call_cpu: Duration,
    call_rate: u32,
    max_arguments: ByteSize,
    max_result: ByteSize,
    queue: usize,
    #[serde(serialize_with = "time")]
    queue_time: Duration,
    concurrency: u32,
    async_calls: usize,
    open_calls: usize,
    max_schedules: usize,
    open_streams: usize,
    output_rate: ByteSize,
    #[serde(serialize_with = "text")]
    on_cancel: OnCancel,
    skip_unsupported: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    callbacks: Option<Vec<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    may_call: Option<&'a [Callable]>,
    deny: &'a BTreeSet<Act>,
    network: &'a [Destination],
    preopens: Vec<Preopen>,
    env: BTreeMap<&'a str, &'a str>,
    fetchers: &'a BTreeMap<String, String>,
}

impl<'a> Effective<'a> {
    /// The settings of this runtime.
    pub fn of(config: &'a RuntimeConfig) -> Self {
        let tls = &config.tls;
        let runtime = RuntimeKeys {
            name: config.named.then_some(config.name.as_str()),
            controller: config.is_controller(),
            no_node: config.modules.is_empty(),
            listen: config.listen.iter().map(ToString::to_string).collect(),
            connect: config.connect.as_ref().map(ToString::to_string),
            insecure: config.insecure,
            tls_ca: absolute_of(&tls.ca),
            tls_cert: absolute_of(&tls.cert),
            tls_key: absolute_of(&tls.key),
            join_token_file: absolute_of(&tls.join_token),
            exit_after_run: config.exit_after_run,
            max_payload: ByteSize(config.max_payload_bytes),
            stack: ByteSize(config.stack_bytes),
            drain_timeout: config.drain_timeout,
            state_dir: absolute_of(&config.state_dir),
            direct: match &config.direct {
                DirectAccess::Off => "off".to_owned(),
                DirectAccess::Unix { .. } => "unix".to_owned(),
                DirectAccess::Tcp(endpoint) | DirectAccess::Tls { endpoint, .. } => endpoint.to_string(),
            },
            cache_dir: absolute_of(&config.cache_dir),
            no_cache: config.cache_dir.is_none(),
            metrics: config.metrics.as_ref().map(ToString::to_string),
            log: config.log.as_deref(),
        };
        Self { runtime, tenants: &config.shares, modules: config.modules.iter().map(ModuleKeys::of).collect() }
    }
}

impl<'a> ModuleKeys<'a> {
    fn of(module: &'a ModuleConfig) -> Self {
        let (limits, outside) = (&module.limits, &module.outside);
        let preopen = |preopen: &Preopen| Preopen { host: absolute(&preopen.host), guest: preopen.guest.clone() };
        Self {
            path: absolute(&module.path),
            name: &module.process.name,
            tenant: &module.process.tenant,
            instances: module.instances,
            memory: ByteSize(limits.memory_bytes),
            table_elements: limits.table_elements,
            core_instances: limits.core_instances,
            tables: limits.tables,
            memories: limits.memories,
            handles: limits.host_handles,
            max_call_time: limits.max_call_time,
            max_call_cpu: limits.max_call_cpu,
            call_rate: limits.calls_per_second,
            max_arguments: ByteSize(limits.max_arguments()),
            max_result: ByteSize(limits.max_result()),
            queue: limits.queue,
            queue_time: limits.queue_time,
            concurrency: limits.concurrency,
            async_calls: limits.async_calls,
            open_calls: limits.open_calls,
            max_schedules: limits.schedules,
            open_streams: limits.open_streams,
            output_rate: ByteSize(usize::try_from(limits.output_bytes_per_second).unwrap_or(usize::MAX)),
            on_cancel: module.on_cancel.unwrap_or(OnCancel::default_of(module.instances)),
            skip_unsupported: module.skip_unsupported,
            callbacks: module.callbacks.as_ref().map(|globs| globs.iter().map(|glob| glob.as_str()).collect()),
            may_call: module.grants.may_call.as_deref(),
            deny: &module.grants.denied,
            network: outside.network.destinations(),
            preopens: outside.preopens.iter().map(preopen).collect(),
            env: outside.env.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect(),
            fetchers: &module.fetchers,
        }
    }
}

fn absolute_of(path: &Option<PathBuf>) -> Option<PathBuf> {
    path.as_deref().map(absolute)
}

/// The path from the root; as it is where the working directory cannot be told.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn text<T: std::fmt::Display, S: serde::Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

fn time<S: serde::Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&humantime::format_duration(*time))
}
