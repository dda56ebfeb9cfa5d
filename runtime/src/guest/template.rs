//! What all instances of one module have in common: the linked component, and where its exports are.
//!
//! Linking happens once per module, so that an instance is made in tens of microseconds; what does not depend on the module, once
//! per component ([`Base`]). What a guest imports is served
//! by WASI ([`super::state`] says how little that gives), by `daffi:runtime` ([`super::call`]) or by a callback of
//! another process ([`super::fetch`]); what was skipped at load traps with its reason.
//! It holds no store.

use std::sync::{Arc, OnceLock};

use daffi_proto::signature::Signature;
use wasmtime::component::{ComponentExportIndex, InstancePre, Linker, ResourceType};
use wasmtime::{Engine, Store};

use super::ceiling::CeilingReached;
use super::component::description::{Place, Stub};
use super::component::{LifecycleExports, Loaded};
use super::engine::{EngineKind, Engines};
use super::state::{GuestState, ModuleContext};
use super::{call, fetch};

/// A callback of a module, as its instances have it.
pub(super) struct Target {
    /// Its full name.
    pub name: Arc<str>,
    pub signature: Arc<Signature>,
    /// Its name as the component has it, `interface#function`.
    pub place: String,
    pub export: ComponentExportIndex,
}

/// What instances are made from.
pub(super) struct Template {
    pub context: Arc<ModuleContext>,
    pub pre: InstancePre<GuestState>,
    pub callbacks: Vec<Target>,
    /// The lifecycle functions; none where the module has none, or keeps no instances.
    pub lifecycle: Option<LifecycleExports>,
    pub run: Option<ComponentExportIndex>,
    /// Whether there is a stream or future in the types of its callbacks or fetchers.
    pub has_streams: bool,
    engine: Engine,
    /// For the clock that interrupts guests, which runs as long as this is held.
    engines: Engines,
    kind: EngineKind,
}

/// The component does not fit what the host has: a defect, since loading checks it.
#[derive(Debug, thiserror::Error)]
#[error("{what} cannot be linked: {reason}")]
pub struct LinkError {
    what: String,
    reason: String,
}

impl Template {
    /// Links the component.
    ///
    /// # Errors
    /// [`LinkError`] names the import that does not fit.
    pub fn new(loaded: &Loaded, context: Arc<ModuleContext>, tells_lifecycle: bool) -> Result<Self, LinkError> {
        let pre = linked(loaded, &context)?;
        let targets = loaded.description.callbacks.iter().zip(loaded.callbacks.iter());
        let callbacks = targets
            .map(|(callback, export)| Target {
                name: callback.name.to_string().into(),
                signature: callback.signature.clone(),
                place: callback.place.to_string(),
                export: *export,
            })
            .collect();
        let fetchers = loaded.description.fetchers.iter().map(|fetcher| &fetcher.signature);
        let signatures = loaded.description.callbacks.iter().map(|callback| &callback.signature).chain(fetchers);
        let has_streams = signatures.into_iter().any(|signature| signature.has_streams());
        Ok(Self {
            context,
            pre,
            callbacks,
            lifecycle: loaded.lifecycle.clone().filter(|_| tells_lifecycle),
            run: loaded.run,
            has_streams,
            engine: loaded.engine.clone(),
            engines: loaded.engines.clone(),
            kind: loaded.description.engine,
        })
    }

    /// A store for an instance of this number.
    ///
    /// # Errors
    /// The tenant has as many instances as it may.
    pub fn new_store(&self, number: u32) -> Result<Store<GuestState>, CeilingReached> {
        GuestState::store((&self.engine, self.engines.clock()), self.context.clone(), number, self.interleaves())
    }

    /// Whether the engine lets calls interleave.
    pub fn interleaves(&self) -> bool {
        self.kind == EngineKind::Concurrent
    }

    /// Whether a callback is an `async func`.
    pub fn is_async(&self, callback: u32) -> bool {
        self.target(callback).is_some_and(|target| target.signature.is_async)
    }

    /// A callback by its place in the module.
    pub fn target(&self, callback: u32) -> Option<&Target> {
        usize::try_from(callback).ok().and_then(|place| self.callbacks.get(place))
    }

    /// The full name of a callback, for errors.
    pub fn callback_name(&self, callback: u32) -> Arc<str> {
        match self.target(callback) {
            Some(target) => target.name.clone(),
            None => Arc::from(format!("callback number {callback} of {}", self.context.process.name)),
        }
    }
}

/// What modules of one component share of their linking: the functions of the host, without those of fetchers, which know their
/// module. Made by the first of them.
#[derive(Clone, Default)]
pub(super) struct Base(Arc<OnceLock<Linked>>);

struct Linked {
    linker: Linker<GuestState>,
    /// All of it, where there are no fetchers.
    pre: Option<InstancePre<GuestState>>,
}

impl Base {
    fn get(&self, loaded: &Loaded) -> Result<&Linked, LinkError> {
        match self.0.get() {
            Some(linked) => Ok(linked),
            None => {
                let linked = Linked::new(loaded)?;
                Ok(self.0.get_or_init(|| linked))
            }
        }
    }
}

impl Linked {
    fn new(loaded: &Loaded) -> Result<Self, LinkError> {
        let kind = loaded.description.engine;
        let mut linker = Linker::new(&loaded.engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker).map_err(failed("WASI 0.2"))?;
        if kind == EngineKind::Concurrent {
            wasmtime_wasi::p3::add_to_linker(&mut linker).map_err(failed("WASI 0.3"))?;
        }
        call::add_to_linker(&mut linker, kind).map_err(failed("daffi:runtime"))?;
        for place in &loaded.description.stub_resources {
            stub_resource(&mut linker, place).map_err(failed(&place.to_string()))?;
        }
        for stub in &loaded.description.stubs {
            stub_function(&mut linker, stub).map_err(failed(&stub.place.to_string()))?;
        }
        let pre = match loaded.description.fetchers.as_slice() {
            [] => Some(linker.instantiate_pre(&loaded.component).map_err(failed("the component"))?),
            _ => None,
        };
        Ok(Self { linker, pre })
    }
}

/// Links a module.
fn linked(loaded: &Loaded, context: &Arc<ModuleContext>) -> Result<InstancePre<GuestState>, LinkError> {
    let base = loaded.base.get(loaded)?;
    if let Some(pre) = &base.pre {
        return Ok(pre.clone());
    }
    let mut linker = base.linker.clone();
    for fetcher in &loaded.description.fetchers {
        let place = fetcher.place.to_string();
        fetch::add_to_linker(&mut linker, loaded, fetcher, context).map_err(failed(&place))?;
    }
    linker.instantiate_pre(&loaded.component).map_err(failed("the component"))
}

fn failed(what: &str) -> impl FnOnce(wasmtime::Error) -> LinkError {
    let what = what.to_owned();
    move |error| LinkError { what, reason: format!("{error:#}") }
}

/// Defines an import that traps when it is called.
fn stub_function(linker: &mut Linker<GuestState>, stub: &Stub) -> wasmtime::Result<()> {
    let message: Arc<str> = format!("it called {}, which {}", stub.place, stub.reason).into();
    let mut root = linker.root();
    let mut instance = match &stub.place.interface {
        Some(interface) => root.instance(interface)?,
        None => root,
    };
    if stub.is_async {
        return instance.func_new_concurrent(&stub.place.item, move |_, _, _, _| {
            let message = message.clone();
            Box::pin(async move { Err(wasmtime::Error::msg(message)) })
        });
    }
    instance.func_new(&stub.place.item, move |_, _, _, _| Err(wasmtime::Error::msg(message.clone())))
}

/// Defines an imported resource type that nothing provides: it has no values, since nothing makes one.
fn stub_resource(linker: &mut Linker<GuestState>, place: &Place) -> wasmtime::Result<()> {
    enum Nothing {}
    let mut root = linker.root();
    let mut instance = match &place.interface {
        Some(interface) => root.instance(interface)?,
        None => root,
    };
    instance.resource(&place.item, ResourceType::host::<Nothing>(), |_, _| Ok(()))
}
