//! One instance of the fixture, and the host's side of its streams.

use std::path::PathBuf;
use std::sync::LazyLock;

use bytes::Bytes;
use daffi_proto::stream::Chunk;
use daffi_runtime::guest::transcode::stream::{
    Drain, Feed, FromGuest, Inflow, ItemRoom, Life, OnFailure, Terms, ToGuest, feed,
};
use daffi_runtime::guest::transcode::{DynFunc, define_streaming_import, define_streaming_import_concurrent};
use serde::Serialize;
use serde::de::DeserializeOwned;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Accessor, Component, Instance, Linker, ResourceTable};
use wasmtime::{AsContextMut, Config, Engine, Store};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

/// The payload limit of these tests.
pub const MAX_ITEM_BYTES: usize = 1 << 20;

/// How much room there is for large items.
pub const ROOM_BYTES: usize = 2 << 20;

static FIXTURE: LazyLock<(Engine, Component)> = LazyLock::new(|| {
    let mut config = Config::new();
    config.concurrency_support(true);
    let engine = Engine::new(&config).unwrap();
    let component = Component::from_file(&engine, component("fixtures-streams")).unwrap();
    (engine, component)
});

/// Where the built component of this name is.
pub fn component(name: &str) -> PathBuf {
    let path = components().join(format!("{name}.wasm"));
    assert!(path.is_file(), "there is no {}: run `make guests`", path.display());
    path
}

fn components() -> PathBuf {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned();
    match (std::env::var_os("DAFFI_COMPONENTS"), std::env::var_os("CARGO_TARGET_DIR")) {
        (Some(folder), _) => folder.into(),
        (None, Some(target)) => root.join(target).join("components"),
        (None, None) => root.join("target/components"),
    }
}

/// What the store holds.
pub struct Host {
    wasi: WasiCtx,
    table: ResourceTable,
    pub life: Life,
    room: ItemRoom,
}

impl WasiView for Host {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl Host {
    pub fn terms(&self) -> Terms {
        Terms { witness: self.life.witness(), max_item_bytes: MAX_ITEM_BYTES, room: self.room.clone() }
    }
}

pub struct Guest {
    pub store: Store<Host>,
    instance: Instance,
}

/// Calls into the guest, inside of `run_concurrent`.
#[derive(Clone, Copy)]
pub struct Calls<'a> {
    pub accessor: &'a Accessor<Host>,
    instance: Instance,
}

impl Guest {
    pub async fn new() -> Self {
        let (engine, component) = &*FIXTURE;
        let mut linker = Linker::<Host>::new(engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker).unwrap();
        add_peer(&mut linker, engine, component);
        let host = Host {
            wasi: WasiCtx::builder().build(),
            table: ResourceTable::new(),
            life: Life::default(),
            room: ItemRoom::new(ROOM_BYTES),
        };
        let mut store = Store::new(engine, host);
        let instance = linker.instantiate_async(&mut store, component).await.unwrap();
        Self { store, instance }
    }

    /// Lets the guest's tasks run for as long as the test's part does.
    pub async fn run<R: Send + 'static>(
        &mut self,
        test: impl AsyncFnOnce(Calls<'_>) -> R + Send,
    ) -> wasmtime::Result<R> {
        let instance = self.instance;
        self.store.run_concurrent(async |accessor| test(Calls { accessor, instance }).await).await
    }
}

/// `exchange` gives back what it gets and one number more: the length of the name, or 1000.
fn add_peer(linker: &mut Linker<Host>, engine: &Engine, component: &Component) {
    let name = "fixtures:streams/peer@0.1.0";
    let ty = component.component_type();
    let Some(ComponentItem::ComponentInstance(peer)) = ty.get_import(engine, name).map(|item| item.ty) else { return };
    let mut linker = linker.instance(name).unwrap();
    for (function, item) in peer.exports(engine) {
        let ComponentItem::ComponentFunc(ty) = item.ty else { continue };
        if ty.async_() {
            define_streaming_import_concurrent(&mut linker, function, &ty, Host::terms, |_, args: FromGuest| {
                Box::pin(async move {
                    let (name, channel): (String, u32) = postcard::from_bytes(&args.bytes).unwrap();
                    assert_eq!(channel, 0);
                    Ok(give_back(args.drains, name.len() as u64))
                })
            })
            .unwrap();
        } else {
            define_streaming_import(&mut linker, function, &ty, Host::terms, |_, args: FromGuest| {
                assert_eq!(args.bytes, [0][..]);
                Box::pin(async move { Ok(give_back(args.drains, 1000)) })
            })
            .unwrap();
        }
    }
}

fn give_back(drains: Vec<Drain>, last: u64) -> ToGuest {
    let [mut drain] = <[Drain; 1]>::try_from(drains).unwrap();
    let (mut feed, inflow) = feed(OnFailure::Trap);
    tokio::spawn(async move {
        while let Some(chunk) = drain.next().await.unwrap() {
            if feed.ready().await.is_err() {
                return;
            }
            feed.put(chunk).unwrap();
        }
        send(&mut feed, &[last]).await;
        feed.finish();
    });
    ToGuest { bytes: Bytes::from_static(&[0]), inflows: vec![inflow] }
}

impl Calls<'_> {
    /// Calls a function of the fixture by `interface#name`.
    pub async fn call(
        self,
        name: &str,
        args: &impl Serialize,
        inflows: Vec<Inflow>,
    ) -> wasmtime::Result<(Bytes, Vec<Drain>)> {
        let (interface, function) = name.split_once('#').unwrap();
        let (function, terms) = self.accessor.with(|mut access| {
            let mut store = access.as_context_mut();
            let interface = format!("fixtures:streams/{interface}@0.1.0");
            let interface = self.instance.get_export_index(&mut store, None, &interface).unwrap();
            let function = self.instance.get_export_index(&mut store, Some(&interface), function).unwrap();
            let function = self.instance.get_func(&mut store, function).unwrap();
            (DynFunc::new(&mut store, &function).unwrap(), store.data().terms())
        });
        let args = ToGuest { bytes: postcard::to_stdvec(args).unwrap().into(), inflows };
        let FromGuest { bytes, drains } = function.call_streaming(self.accessor, args, terms, |_, _| {}).await?;
        Ok((bytes, drains))
    }

    /// The same for a function whose result has no streams.
    pub async fn ask<R: DeserializeOwned>(
        self,
        name: &str,
        args: &impl Serialize,
        inflows: Vec<Inflow>,
    ) -> wasmtime::Result<R> {
        let (bytes, drains) = self.call(name, args, inflows).await?;
        assert!(drains.is_empty());
        Ok(postcard::from_bytes(&bytes).unwrap())
    }

    /// The same for a function whose result is one stream or future.
    pub async fn open(self, name: &str, args: &impl Serialize, inflows: Vec<Inflow>) -> Drain {
        let (bytes, drains) = self.call(name, args, inflows).await.unwrap();
        assert_eq!(bytes, [0][..]);
        let [drain] = <[Drain; 1]>::try_from(drains).unwrap();
        drain
    }
}

/// Items as one chunk.
pub fn chunk(items: &[impl Serialize]) -> Chunk {
    let bytes: Vec<u8> = items.iter().flat_map(|item| postcard::to_stdvec(item).unwrap()).collect();
    Chunk { count: items.len() as u32, bytes: bytes.into() }
}

/// The items of a chunk.
pub fn items<T: DeserializeOwned>(chunk: &Chunk) -> Vec<T> {
    let mut rest = &chunk.bytes[..];
    let items = (0..chunk.count).map(|_| {
        let (item, after) = postcard::take_from_bytes(rest).unwrap();
        rest = after;
        item
    });
    let items = items.collect();
    assert!(rest.is_empty());
    items
}

/// Gives items to the guest, as soon as it takes them. False when it is gone.
pub async fn send(feed: &mut Feed, items: &[impl Serialize]) -> bool {
    if feed.ready().await.is_err() {
        return false;
    }
    feed.put(chunk(items)).unwrap();
    true
}

/// Takes all items to the end of the stream.
pub async fn collect<T: DeserializeOwned>(drain: &mut Drain) -> Vec<T> {
    let mut all = Vec::new();
    while let Some(chunk) = drain.next().await.unwrap() {
        all.extend(items::<T>(&chunk));
    }
    all
}

/// Runs a test.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}
