//! What the tenants of the config file share: `[tenant.NAME]` with `exports` and `imports`.
//!
//! ```toml
//! [tenant.acme]
//! exports = [{ callbacks = ["demo:shop/prices#*"], to = ["globex"] }]
//!
//! [tenant.globex]
//! imports = ["acme::demo:shop/prices#*"]
//! ```
//!
//! Invariant: what is exported or imported here is so by a tenant that has a module here, and crosses a border.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use daffi_proto::id::TenantName;
use daffi_proto::name::{NameGlob, split_tenant};
use daffi_proto::share::{Export, Import, MAX_EXPORTS, MAX_IMPORTS};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::bounds::{self, count};
use super::file::{memory, output_rate, stream_bytes};
use super::units::{ByteSize, Processors};
use crate::guest::ceiling::CeilingLimits;
use crate::guest::fair::{Portion, USUAL_WEIGHT};

/// `[tenant.NAME]`
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default, expecting = "a table, [tenant.NAME]")]
pub(super) struct TenantTable {
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "count::<1, { bounds::MAX_WEIGHT }, _>")]
    weight: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "bounds::processors")]
    max_cpu: Option<Processors>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "memory")]
    max_memory: Option<ByteSize>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "count::<1, { bounds::MAX_CONCURRENCY }, _>")]
    max_instances: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "count::<0, { bounds::MAX_OPEN_CALLS }, _>")]
    max_open_calls: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "memory")]
    max_held: Option<ByteSize>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "count::<0, { bounds::MAX_QUEUE }, _>")]
    max_queue: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "count::<0, { bounds::MAX_CONCURRENCY }, _>")]
    max_concurrency: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "count::<1, { bounds::MAX_CALL_RATE }, _>")]
    max_call_rate: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "count::<0, { bounds::MAX_OPEN_STREAMS }, _>")]
    max_open_streams: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "stream_bytes")]
    max_stream_bytes: Option<ByteSize>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "count::<0, { bounds::MAX_HANDLES }, _>")]
    max_handles: Option<u32>,
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "count::<0, { bounds::MAX_TENANT_SCHEDULES }, _>"
    )]
    max_schedules: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "output_rate")]
    max_output_rate: Option<ByteSize>,
    exports: Vec<ExportTable>,
    imports: Vec<Foreign>,
}

/// One entry of `exports`: all these callbacks, to all these tenants.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(
    deny_unknown_fields,
    rename_all = "kebab-case",
    expecting = "an export: { callbacks = [\"PATTERN\"], to = [\"TENANT\"] }"
)]
struct ExportTable {
    callbacks: Vec<NameGlob>,
    to: Vec<TenantName>,
}

/// One entry of `imports`: `tenant::callbacks`.
#[derive(Clone, Debug)]
struct Foreign {
    tenant: TenantName,
    callbacks: NameGlob,
}

impl FromStr for Foreign {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match split_tenant(text).map_err(|error| error.to_string())? {
            (Some(tenant), callbacks) => {
                Ok(Self { tenant, callbacks: NameGlob::parse(callbacks).map_err(|error| error.to_string())? })
            }
            (None, _) => Err(format!("{text:?}: an import names its tenant: write \"TENANT::CALLBACKS\"")),
        }
    }
}

impl<'de> Deserialize<'de> for Foreign {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl Serialize for Foreign {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{}::{}", self.tenant, self.callbacks))
    }
}

/// What the tenants share, by name.
#[derive(Debug, Default, Serialize)]
pub(super) struct Shares(BTreeMap<TenantName, TenantTable>);

impl Shares {
    /// Checks the tables against the tenants that have modules.
    ///
    /// # Errors
    /// A message.
    pub(super) fn new(tables: BTreeMap<TenantName, TenantTable>, tenants: &[TenantName]) -> Result<Self, String> {
        let shares = Self(tables);
        for (name, table) in &shares.0 {
            let wrong = |what: &dyn fmt::Display| Err(format!("[tenant.{name}]: {what}"));
            if !tenants.contains(name) {
                return wrong(&"no module here is of this tenant: give one `tenant`, or leave the table out");
            }
            let exports = shares.exports(name).len();
            if exports > MAX_EXPORTS {
                return wrong(&format!("{exports} exports, at most {MAX_EXPORTS} are possible: join some with `*`"));
            }
            if table.exports.iter().any(|export| export.to.is_empty() || export.callbacks.is_empty()) {
                return wrong(
                    &"an export names callbacks and the tenants that may import them: one of its lists is empty",
                );
            }
            let own = table.exports.iter().any(|export| export.to.contains(name));
            if own || table.imports.iter().any(|import| import.tenant == *name) {
                return wrong(&"a tenant shares nothing with itself: its own callbacks are there by their names");
            }
        }
        let imports = shares.imports().len();
        if imports > MAX_IMPORTS {
            return Err(format!("{imports} imports, at most {MAX_IMPORTS} are possible: join some with `*`"));
        }
        Ok(shares)
    }

    /// What all modules of a tenant may use.
    pub(super) fn ceiling(&self, tenant: &TenantName) -> CeilingLimits {
        let Some(table) = self.0.get(tenant) else { return CeilingLimits::default() };
        let count = |count: Option<u32>| count.and_then(|count| usize::try_from(count).ok());
        CeilingLimits {
            memory_bytes: table.max_memory.map(|ByteSize(bytes)| bytes),
            instances: count(table.max_instances),
            open_calls: count(table.max_open_calls),
            held_bytes: table.max_held.map(|ByteSize(bytes)| bytes),
            queue: count(table.max_queue),
            concurrency: count(table.max_concurrency),
            open_streams: count(table.max_open_streams),
            stream_bytes: table.max_stream_bytes.map(|ByteSize(bytes)| bytes),
            handles: count(table.max_handles),
            schedules: count(table.max_schedules),
            calls_per_second: table.max_call_rate,
            output_bytes_per_second: table.max_output_rate.and_then(|ByteSize(rate)| u64::try_from(rate).ok()),
        }
    }

    /// What part of the guests' threads a tenant has.
    pub(super) fn portion(&self, tenant: &TenantName) -> Portion {
        let table = self.0.get(tenant);
        Portion {
            weight: table.and_then(|table| table.weight).unwrap_or(USUAL_WEIGHT),
            cpu_millis: table.and_then(|table| table.max_cpu).map(|Processors { thousandths }| thousandths),
        }
    }

    /// Whether no tenant has a table.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What the processes of a tenant export.
    pub(super) fn exports(&self, tenant: &TenantName) -> Vec<Export> {
        let tables = self.0.get(tenant).into_iter().flat_map(|table| &table.exports);
        let each = |export: &ExportTable| -> Vec<Export> {
            let to = |callbacks: &NameGlob| {
                let callbacks = callbacks.clone();
                export.to.iter().map(move |to| Export { to: to.clone(), callbacks: callbacks.clone() })
            };
            export.callbacks.iter().flat_map(to).collect()
        };
        tables.flat_map(each).collect()
    }

    /// What all tenants import.
    pub(super) fn imports(&self) -> Vec<Import> {
        let each = |(into, table): (&TenantName, &TenantTable)| -> Vec<Import> {
            let import = |foreign: &Foreign| Import {
                into: into.clone(),
                from: foreign.tenant.clone(),
                callbacks: foreign.callbacks.clone(),
            };
            table.imports.iter().map(import).collect()
        };
        self.0.iter().flat_map(each).collect()
    }
}
