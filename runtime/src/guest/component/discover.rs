//! From validated types to a [`Description`]: which exports are callbacks, which imports are fetchers, what the host
//! has to provide, and what of all this cannot be served.
//!
//! Invariants: every exported function is a callback, left out for a reason, or a problem; every imported function is
//! a fetcher, provided by the host, or a problem with a stub. `wasi:*` and `daffi:runtime/*` are always the host's.

use std::sync::Arc;

use daffi_proto::name::CallbackName;
use wasmparser::component_types::{
    ComponentAnyTypeId, ComponentDefinedType, ComponentEntityType, ComponentFuncTypeId, ComponentInstanceTypeId,
    ComponentValType,
};

use super::LoadOptions;
use super::description::{Callback, Description, Fetcher, LeftOut, Lifecycle, Need, Place, Run, Stub};
use super::error::{LoadError, Problem, Side};
use super::host::{self, Missing};
use super::interface::InterfaceName;
use super::parse::Parsed;
use super::resolve::{FetcherTable, candidates};
use super::select::Selection;
use super::types::TypeReader;
use crate::guest::engine::EngineKind;

/// Describes a component.
pub(super) fn discover(name: &str, parsed: &Parsed, options: &LoadOptions) -> Result<Description, LoadError> {
    let mut discovery = Discovery {
        component: name,
        parsed,
        reader: TypeReader::new(&parsed.types, parsed.imports().chain(parsed.exports())),
        selection: Selection::new(options.callbacks.as_deref()),
        table: FetcherTable::new(name, &options.fetchers)?,
        found: Description {
            engine: parsed.engine,
            types: parsed.features,
            callbacks: Vec::new(),
            fetchers: Vec::new(),
            run: None,
            lifecycle: None,
            needs: Vec::new(),
            left_out: Vec::new(),
            problems: Vec::new(),
            stubs: Vec::new(),
            stub_resources: Vec::new(),
        },
    };
    if parsed.has_error_contexts {
        let reason = "is not provided, since what a guest keeps in it is outside of its memory limit; build the component without it";
        discovery.refuse_import("error-context", reason);
    }
    for (name, item) in parsed.imports() {
        discovery.import(name, item.ty);
    }
    for (name, item) in parsed.exports() {
        discovery.export(name, item.ty);
    }
    discovery.finish()
}

struct Discovery<'a> {
    component: &'a str,
    parsed: &'a Parsed,
    reader: TypeReader<'a>,
    selection: Selection<'a>,
    table: FetcherTable,
    found: Description,
}

impl<'a> Discovery<'a> {
    fn finish(mut self) -> Result<Description, LoadError> {
        if let Some(pattern) = self.selection.unused() {
            let callbacks = self.found.callbacks.iter().map(|callback| callback.place.to_string());
            let others = self.found.left_out.iter().map(|out| out.name.clone());
            let exports = listed(callbacks.chain(others).chain(self.troubled(Side::Export)).collect());
            return Err(LoadError::UnusedPattern { name: self.component.to_owned(), pattern, exports });
        }
        if let Some(entry) = self.table.unused() {
            let fetchers = self.found.fetchers.iter().map(|fetcher| fetcher.place.to_string());
            let imports = listed(fetchers.chain(self.troubled(Side::Import)).collect());
            return Err(LoadError::UnusedFetcher { name: self.component.to_owned(), entry, imports });
        }
        let p3 = |interface: &str| {
            InterfaceName::parse(interface)
                .is_some_and(|name| name.is_wasi() && name.version.is_some_and(|version| version.minor >= 3))
        };
        if self.found.needs.iter().any(|need| p3(&need.interface)) || self.found.run.as_ref().is_some_and(Run::is_async)
        {
            self.found.engine = EngineKind::Concurrent;
        }
        Ok(self.found)
    }

    fn troubled(&self, side: Side) -> impl Iterator<Item = String> {
        self.found.problems.iter().filter(move |problem| problem.side == side).map(|problem| problem.name.clone())
    }

    fn import(&mut self, name: &'a str, ty: ComponentEntityType) {
        match ty {
            ComponentEntityType::Func(id) => self.imported_function(None, name, id),
            ComponentEntityType::Instance(id) => self.imported_interface(name, id),
            ComponentEntityType::Type { created, .. } => {
                self.imported_resource(None, name, created);
            }
            ComponentEntityType::Module(_) => self.refuse_import(name, "is a core module, which nothing can provide"),
            ComponentEntityType::Component(_) => self.refuse_import(name, "is a component, which nothing can provide"),
            ComponentEntityType::Value(_) => self.refuse_import(name, "is a value, which nothing can provide"),
        }
    }

    fn refuse_import(&mut self, name: &str, reason: &str) {
        self.problem(Side::Import, name.to_owned(), reason.to_owned(), false);
    }

    fn imported_interface(&mut self, name: &'a str, id: ComponentInstanceTypeId) {
        let Some(interface) = InterfaceName::parse(name) else {
            return self.refuse_import(name, "is asked for by a kind of name that this runtime does not know (a URL, a hash, a registry); link it into the component");
        };
        if interface.is_wasi() || interface.is_daffi() {
            self.need(name, &interface, id);
            return;
        }
        let parsed = self.parsed;
        for (item, entity) in &parsed.types[id].exports {
            match entity.ty {
                ComponentEntityType::Func(id) => self.imported_function(Some(name), item, id),
                ComponentEntityType::Type { created, .. } => self.imported_resource(Some(name), item, created),
                _ => self.refuse_import(&format!("{name}#{item}"), "is neither a function nor a type"),
            }
        }
    }

    fn imported_function(&mut self, interface: Option<&str>, item: &str, id: ComponentFuncTypeId) {
        let place = Place { interface: interface.map(str::to_owned), item: item.to_owned() };
        let is_async = self.parsed.types[id].async_;
        if is_of_resource(item) {
            // The resource itself is the problem, and is told of where it is defined.
            let reason = "it is a function of a resource, and resources cannot leave their component".to_owned();
            self.found.stubs.push(Stub { place, reason, is_async });
            return;
        }
        let signature = match self.reader.function(id) {
            Ok(signature) => signature,
            Err(reason) => return self.unservable_import(place, is_async, reason),
        };
        if signature.has_streams() && signature.gathered_result().is_some() {
            return self.unservable_import(place, is_async, BROADCAST_STREAM.to_owned());
        }
        let name = match CallbackName::new(interface, item) {
            Ok(name) => name,
            Err(error) => {
                return self.unservable_import(place, is_async, format!("cannot be served: {error}"));
            }
        };
        let (tenant, from_table) = self.table.target(&name).unzip();
        let (tenant, candidates) = match (tenant.flatten(), from_table) {
            // Another tenant's callback is called, or none: who means his own does not say so.
            (Some(tenant), Some(target)) => (Some(tenant), Arc::from([target])),
            (_, from_table) => (None, candidates(&name, interface, from_table)),
        };
        self.found.fetchers.push(Fetcher { tenant, candidates, signature: Arc::new(signature), place });
    }

    fn unservable_import(&mut self, place: Place, is_async: bool, reason: String) {
        self.problem(Side::Import, place.to_string(), reason.clone(), true);
        self.found.stubs.push(Stub { place, reason, is_async });
    }

    fn imported_resource(&mut self, interface: Option<&str>, item: &str, created: ComponentAnyTypeId) {
        let resource = matches!(created, ComponentAnyTypeId::Resource(_));
        if !resource || !self.reader.is_defined_here(created) {
            return;
        }
        let place = Place { interface: interface.map(str::to_owned), item: item.to_owned() };
        self.problem(Side::Import, place.to_string(), A_RESOURCE.to_owned(), true);
        self.found.stub_resources.push(place);
    }

    /// An interface that is the host's to provide.
    fn need(&mut self, name: &str, interface: &InterfaceName<'_>, id: ComponentInstanceTypeId) {
        let (mut functions, mut resources, mut is_async) = (Vec::new(), Vec::new(), Vec::new());
        for (item, entity) in &self.parsed.types[id].exports {
            match entity.ty {
                ComponentEntityType::Func(id) => {
                    functions.push(item.clone());
                    is_async.push(self.parsed.types[id].async_);
                }
                ComponentEntityType::Type { created: created @ ComponentAnyTypeId::Resource(_), .. }
                    if self.reader.is_defined_here(created) =>
                {
                    resources.push(item.clone());
                }
                _ => {}
            }
        }
        if functions.is_empty() && resources.is_empty() {
            return; // Types only: nothing to provide.
        }
        let place = |item: String| Place { interface: Some(name.to_owned()), item };
        match host::provides(interface, &functions) {
            Ok(()) => {}
            Err(Missing::Interface(reason)) => {
                let stubs = functions.iter().cloned().zip(is_async);
                self.found.stubs.extend(stubs.map(|(item, is_async)| Stub {
                    place: place(item),
                    reason: format!("`{name}` {reason}"),
                    is_async,
                }));
                self.found.stub_resources.extend(resources.into_iter().map(place));
                self.problem(Side::Import, name.to_owned(), reason, true);
            }
            Err(Missing::Functions(missing)) => {
                let reason = format!("asks for `{missing}`, which this runtime does not have in it");
                self.problem(Side::Import, name.to_owned(), reason, false);
            }
        }
        self.found.needs.push(Need { interface: name.to_owned(), functions });
    }

    fn export(&mut self, name: &'a str, ty: ComponentEntityType) {
        match ty {
            ComponentEntityType::Func(id) => self.exported_function(None, name, id),
            ComponentEntityType::Instance(id) => self.exported_interface(name, id),
            ComponentEntityType::Type { .. } => {}
            ComponentEntityType::Module(_) => self.leave_out(name.to_owned(), "it is a core module"),
            ComponentEntityType::Component(_) => self.leave_out(name.to_owned(), "it is a component"),
            ComponentEntityType::Value(_) => self.leave_out(name.to_owned(), "it is a value"),
        }
    }

    fn exported_interface(&mut self, name: &'a str, id: ComponentInstanceTypeId) {
        let Some(interface) = InterfaceName::parse(name) else {
            return self.leave_out(name.to_owned(), "its name is no interface's");
        };
        if interface.is_wasi() {
            return self.exported_wasi(name, &interface, id);
        }
        if interface.is_daffi() {
            self.exported_lifecycle(name, &interface, id);
            return;
        }
        let parsed = self.parsed;
        for (item, entity) in &parsed.types[id].exports {
            match entity.ty {
                ComponentEntityType::Func(id) => self.exported_function(Some(name), item, id),
                ComponentEntityType::Type { created: created @ ComponentAnyTypeId::Resource(_), .. } => {
                    self.exported_resource(name, item, created);
                }
                ComponentEntityType::Type { .. } => {}
                _ => self.leave_out(format!("{name}#{item}"), "it is neither a function nor a type"),
            }
        }
    }

    fn exported_function(&mut self, interface: Option<&'a str>, item: &'a str, id: ComponentFuncTypeId) {
        let place = Place { interface: interface.map(str::to_owned), item: item.to_owned() };
        if is_of_resource(item) {
            return self.leave_out(place.to_string(), "it is a function of a resource");
        }
        let name = match CallbackName::new(interface, item) {
            Ok(name) => name,
            Err(error) => {
                self.problem(Side::Export, place.to_string(), format!("cannot be served: {error}"), true);
                return;
            }
        };
        if let Err(reason) = self.selection.takes(&name, &self.parsed.types[id]) {
            return self.leave_out(place.to_string(), reason);
        }
        match self.reader.function(id) {
            Ok(signature) => self.found.callbacks.push(Callback { name, signature: Arc::new(signature), place }),
            Err(reason) => self.problem(Side::Export, place.to_string(), reason, true),
        }
    }

    fn exported_resource(&mut self, interface: &str, item: &str, created: ComponentAnyTypeId) {
        if self.selection.is_explicit() || !self.reader.is_defined_here(created) {
            return;
        }
        self.problem(Side::Export, format!("{interface}#{item}"), A_RESOURCE.to_owned(), true);
    }

    fn exported_wasi(&mut self, name: &str, interface: &InterfaceName<'_>, id: ComponentInstanceTypeId) {
        let version = interface.version.clone().filter(|version| {
            interface.full == "wasi:cli/run"
                && version.major == 0
                && (2..=3).contains(&version.minor)
                && version.pre.is_empty()
        });
        let Some(version) = version else {
            return self.leave_out(name.to_owned(), "it is WASI's, and the host calls nothing of it");
        };
        let is_async = version.minor >= 3;
        if !self.has(id, "run", &[], &[], is_async, true) {
            let reason = "is not the `run` of its WASI version".to_owned();
            self.problem(Side::Export, name.to_owned(), reason, true);
            return;
        }
        let place = Place { interface: Some(name.to_owned()), item: "run".to_owned() };
        if self.found.run.is_some() {
            return self.leave_out(name.to_owned(), "there is another `wasi:cli/run`, which is run");
        }
        self.found.run = Some(Run { place, version });
    }

    fn exported_lifecycle(&mut self, name: &str, interface: &InterfaceName<'_>, id: ComponentInstanceTypeId) {
        let is_async = interface.full == host::LIFECYCLE_ASYNC;
        let known = (is_async || interface.full == host::LIFECYCLE)
            && interface.version.as_ref().is_some_and(|v| (v.major, v.minor) == (0, 1) && v.pre.is_empty());
        let text = ComponentValType::Primitive(wasmparser::PrimitiveValType::String);
        let reason = if !known {
            "is unknown to this runtime, which calls `daffi:runtime/lifecycle@0.1` or `lifecycle-async@0.1` only"
                .to_owned()
        } else if !self.has(id, "on-init", &[], &[], is_async, false)
            || !self.has(id, "on-connect", &[], &[], is_async, false)
            || !self.has(id, "on-disconnect", &["reason"], &[text], is_async, false)
        {
            "lacks a function of it, or has one of another type".to_owned()
        } else if let Some(other) = &self.found.lifecycle {
            format!(
                "is exported beside `{}`, and an instance is told about its life once; export one of the two",
                other.interface
            )
        } else {
            self.found.lifecycle = Some(Lifecycle { interface: name.to_owned() });
            return;
        };
        self.problem(Side::Export, name.to_owned(), reason, true);
    }

    /// Whether an instance has a function of this type; the result is none, or `result` without payloads.
    fn has(
        &self,
        id: ComponentInstanceTypeId,
        name: &str,
        names: &[&str],
        params: &[ComponentValType],
        is_async: bool,
        result: bool,
    ) -> bool {
        let types = &self.parsed.types;
        let Some(ComponentEntityType::Func(id)) = types[id].exports.get(name).map(|item| item.ty) else { return false };
        let function = &types[id];
        let good_result = match &function.result {
            None => !result,
            Some(ComponentValType::Type(id)) => {
                result && matches!(&types[*id], ComponentDefinedType::Result { ok: None, err: None, .. })
            }
            Some(ComponentValType::Primitive(_)) => false,
        };
        let good_params = function.params.len() == params.len()
            && function.params.iter().zip(names.iter().zip(params)).all(|((name, ty), (want_name, want))| {
                name.as_str() == *want_name
                    && matches!((ty, want), (ComponentValType::Primitive(a), ComponentValType::Primitive(b)) if a == b)
            });
        good_result && good_params && function.async_ == is_async
    }

    fn leave_out(&mut self, name: String, reason: &str) {
        self.found.left_out.push(LeftOut { name, reason: reason.to_owned() });
    }

    fn problem(&mut self, side: Side, name: String, reason: String, can_skip: bool) {
        self.found.problems.push(Problem { side, name, reason, can_skip });
    }
}

const BROADCAST_STREAM: &str = "cannot be served: it is a broadcast, and streams go to one process; import it with the \
                                callback's own result, or as `result<T, call-error>`";

const A_RESOURCE: &str = "is a resource, and resources cannot leave their component";

/// `[method]r.f`, `[static]r.f` or `[constructor]r`.
fn is_of_resource(item: &str) -> bool {
    item.starts_with('[')
}

/// A list for a message, or that there is nothing.
fn listed(mut names: Vec<String>) -> String {
    const MOST: usize = 12;
    names.sort_unstable();
    names.dedup();
    let more = names.len().saturating_sub(MOST);
    names.truncate(MOST);
    match (names.is_empty(), more) {
        (true, _) => "none".to_owned(),
        (false, 0) => names.join(", "),
        (false, more) => format!("{} and {more} more", names.join(", ")),
    }
}
