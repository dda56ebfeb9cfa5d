//! The transcoder against guests that are generated for random types, and against wasmtime's own `Val`.

mod edges;
mod guest;
mod hostile;
mod limits;
mod roundtrip;
mod streams;
mod types;
mod val;
mod values;

use std::sync::LazyLock;

use bytes::Bytes;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, Func, Instance, Linker};
use wasmtime::{Config, Engine, Store, StoreLimits};

use super::stream::Life;
use super::{DynFunc, define_import, define_import_concurrent};

/// An engine for synchronous components.
static SYNC: LazyLock<Engine> = LazyLock::new(|| engine(false));

/// An engine for components with `async` functions.
static CONCURRENT: LazyLock<Engine> = LazyLock::new(|| engine(true));

fn engine(concurrency: bool) -> Engine {
    let mut config = Config::new();
    config.concurrency_support(concurrency);
    config.wasm_component_model_async(concurrency);
    // Guests that are written by hand read and write streams in a straight line.
    config.wasm_component_model_more_async_builtins(concurrency);
    Engine::new(&config).unwrap()
}

/// What the imports of a test do when they are called.
#[derive(Clone, Copy, Default)]
enum OnCall {
    /// They give back the first parameter.
    #[default]
    GiveBack,
    /// The same, after they let the executor go on.
    Wait,
    /// They give no bytes.
    GiveNothing,
    /// They fail with [`edges::Refusal`].
    Fail,
}

impl OnCall {
    async fn answer(self, args: Bytes) -> wasmtime::Result<Bytes> {
        match self {
            Self::GiveBack => Ok(args),
            Self::Wait => {
                tokio::task::yield_now().await;
                Ok(args)
            }
            Self::GiveNothing => Ok(Bytes::new()),
            Self::Fail => Err(edges::Refusal.into()),
        }
    }
}

/// What the store of a test holds.
#[derive(Default)]
struct Host {
    on_call: OnCall,
    /// The arguments that imports were called with.
    seen: Vec<Bytes>,
    limits: StoreLimits,
    life: Life,
}

/// One instance of a component, whose imports give back their first parameter's bytes.
struct Guest {
    store: Store<Host>,
    instance: Instance,
}

impl Guest {
    async fn new(engine: &Engine, wat: &str) -> Self {
        let component = compile(engine, wat);
        Self::of(engine, &component).await
    }

    async fn of(engine: &Engine, component: &Component) -> Self {
        let mut linker = Linker::<Host>::new(engine);
        let ty = component.component_type();
        if let Some(ComponentItem::ComponentInstance(instance)) = ty.get_import(engine, "host").map(|item| item.ty) {
            let mut host = linker.instance("host").unwrap();
            for (name, item) in instance.exports(engine) {
                let ComponentItem::ComponentFunc(ty) = item.ty else { continue };
                // `h` has three numbers of one byte each behind what it is to give back.
                let extra = if name == "h" { 3 } else { 0 };
                if ty.async_() {
                    define_import_concurrent(&mut host, name, &ty, move |accessor, args| {
                        let first = args.slice(..args.len() - extra);
                        let on_call = accessor.with(|mut access| {
                            access.get().seen.push(args);
                            access.get().on_call
                        });
                        Box::pin(on_call.answer(first))
                    })
                    .unwrap();
                } else {
                    define_import(&mut host, name, &ty, |mut store, args| {
                        store.data_mut().seen.push(args.clone());
                        Box::pin(store.data().on_call.answer(args))
                    })
                    .unwrap();
                }
            }
        }
        let mut store = Store::new(engine, Host::default());
        let instance = linker.instantiate_async(&mut store, component).await.unwrap();
        Self { store, instance }
    }

    fn func(&mut self, name: &str) -> Func {
        self.instance.get_func(&mut self.store, name).unwrap()
    }

    fn dynamic(&mut self, name: &str) -> DynFunc {
        let func = self.func(name);
        DynFunc::new(&mut self.store, &func).unwrap()
    }

    async fn call(&mut self, name: &str, args: &[u8]) -> wasmtime::Result<Bytes> {
        self.dynamic(name).call(&mut self.store, Bytes::copy_from_slice(args)).await
    }

    async fn call_concurrent(&mut self, name: &str, args: &[u8]) -> wasmtime::Result<Bytes> {
        let (func, args) = (self.dynamic(name), Bytes::copy_from_slice(args));
        self.store.run_concurrent(async |accessor| func.call_concurrent(accessor, args, |_, _| ()).await).await?
    }

    async fn call_val(&mut self, name: &str, args: &[u8]) -> wasmtime::Result<Vec<u8>> {
        let func = self.func(name);
        val::call(&mut self.store, &func, args).await
    }

    /// The arguments that imports were called with since the last time.
    fn seen(&mut self) -> Vec<Bytes> {
        std::mem::take(&mut self.store.data_mut().seen)
    }
}

fn compile(engine: &Engine, wat: &str) -> Component {
    let bytes = wat::parse_str(wat).unwrap_or_else(|error| panic!("{error}\n{wat}"));
    Component::new(engine, bytes).unwrap_or_else(|error| panic!("{error:?}\n{wat}"))
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}
