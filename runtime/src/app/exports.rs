//! Whether what the tenants of a config export is there: a pattern that matches nothing shares nothing, and is a mistake, as
//! one of `callbacks` is. What is imported may come at any time, so nothing can be said of that.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use daffi_proto::id::TenantName;
use daffi_proto::name::{CallbackName, NameGlob};

use crate::config::ModuleConfig;
use crate::exit::Failure;
use crate::guest::component::Readable;

/// How many callbacks an error names.
const MAX_NAMED: usize = 20;

/// Checks the exports of each tenant against the callbacks of its modules.
///
/// # Errors
/// The first export that matches none.
pub(super) fn check(modules: &[ModuleConfig], opened: &[Arc<Readable>]) -> Result<(), Failure> {
    let mut of_tenants: BTreeMap<&TenantName, BTreeSet<&CallbackName>> = BTreeMap::new();
    for (module, opened) in modules.iter().zip(opened) {
        let callbacks = opened.description.callbacks.iter().map(|callback| &callback.name);
        of_tenants.entry(&module.process.tenant).or_default().extend(callbacks);
    }
    for module in modules {
        let tenant = &module.process.tenant;
        let Some(callbacks) = of_tenants.get(tenant) else { continue };
        let matches_none = |pattern: &NameGlob| !callbacks.iter().any(|name| pattern.matches(name));
        if let Some(export) = module.exports.iter().find(|export| matches_none(&export.callbacks)) {
            let mut there: Vec<String> = callbacks.iter().take(MAX_NAMED).map(ToString::to_string).collect();
            if callbacks.len() > MAX_NAMED {
                there.push("and more".to_owned());
            }
            let there = if there.is_empty() { "none at all".to_owned() } else { there.join(", ") };
            let file = module.file.as_ref().map(|file| format!("{}: ", file.display())).unwrap_or_default();
            return Err(Failure::usage(format!(
                "{file}[tenant.{tenant}]: exports {:?} matches no callback of its modules here; there are: {there}",
                export.callbacks.as_str()
            )));
        }
    }
    Ok(())
}
