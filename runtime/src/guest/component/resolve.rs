//! Which callbacks may serve an import: the config's `fetchers` table, its own name, its name less a suffix.
//!
//! Invariant: the candidates are in order of preference and never empty, since an import's own name is one of them.

use std::cell::Cell;
use std::sync::Arc;

use daffi_proto::id::TenantName;
use daffi_proto::name::{BadCallbackName, CallbackName, split_tenant};

use super::error::LoadError;
use super::interface::InterfaceName;

/// What a guest adds to an interface's name when it imports the same functions with results of another form.
const SUFFIXES: [&str; 3] = ["-checked", "-all", "-async"];

/// The config's table of one module.
pub(super) struct FetcherTable {
    entries: Vec<Entry>,
}

struct Entry {
    key: String,
    /// The tenant that shares it, where it is another one.
    tenant: Option<TenantName>,
    target: Target,
    used: Cell<bool>,
}

/// What an entry points to.
enum Target {
    /// The function of the same name in this interface.
    Interface(String),
    /// This very callback.
    Callback(CallbackName),
}

impl FetcherTable {
    /// Checks the entries' values; `component` is for messages.
    pub(super) fn new(component: &str, entries: &[(String, String)]) -> Result<Self, LoadError> {
        let entries = entries
            .iter()
            .map(|(key, written)| {
                let bad = |error: BadCallbackName| LoadError::BadFetcher {
                    name: component.to_owned(),
                    entry: key.clone(),
                    target: written.clone(),
                    reason: error.to_string(),
                };
                let (tenant, target) = split_tenant(written).map_err(bad)?;
                // A key that names a function of the world itself points to one, too.
                let is_function = target.contains('#') || !key.contains(['/', '#']) && !target.contains('/');
                let parsed = match is_function {
                    true => CallbackName::parse(target).map(Target::Callback),
                    false => CallbackName::new(Some(target), "f").map(|_| Target::Interface(target.to_owned())),
                };
                Ok(Entry { key: key.clone(), tenant, target: parsed.map_err(bad)?, used: Cell::new(false) })
            })
            .collect::<Result<_, LoadError>>()?;
        Ok(Self { entries })
    }

    /// The callback that the table has for this import, if it has one. An entry for the function comes before one for
    /// its interface.
    pub(super) fn target(&self, import: &CallbackName) -> Option<(Option<TenantName>, CallbackName)> {
        let function = import.function();
        let mut keys = vec![import.to_string()];
        if let Some(interface) = import.interface() {
            keys.push(format!("{interface}#{function}"));
            let full = import.to_string();
            keys.extend(full.rsplit_once('#').map(|(interface, _)| interface.to_owned()));
            keys.push(interface.to_owned());
        }
        let mut found = None;
        for key in &keys {
            for entry in self.entries.iter().filter(|entry| entry.key == *key) {
                entry.used.set(true);
                if found.is_none() {
                    let name = match &entry.target {
                        Target::Callback(name) => Some(name.clone()),
                        Target::Interface(interface) => CallbackName::new(Some(interface), function).ok(),
                    };
                    found = name.map(|name| (entry.tenant.clone(), name));
                }
            }
        }
        found
    }

    /// A key that was for no import.
    pub(super) fn unused(&self) -> Option<String> {
        self.entries.iter().find(|entry| !entry.used.get()).map(|entry| entry.key.clone())
    }
}

/// The callbacks that may serve an import, the preferred one first.
pub(super) fn candidates(
    import: &CallbackName,
    interface: Option<&str>,
    from_table: Option<CallbackName>,
) -> Arc<[CallbackName]> {
    let mut candidates: Vec<CallbackName> = from_table.into_iter().collect();
    let mut add = |name: CallbackName| {
        if !candidates.contains(&name) {
            candidates.push(name);
        }
    };
    add(import.clone());
    if let Some(interface) = interface.and_then(InterfaceName::parse) {
        for suffix in SUFFIXES {
            let short = interface.without_suffix(suffix);
            if let Some(Ok(name)) = short.map(|short| CallbackName::new(Some(&short), import.function())) {
                add(name);
            }
        }
    }
    candidates.into()
}
