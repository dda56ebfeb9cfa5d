//! What a call costs without us: two processes with the same two guests, each bound to them by `bindgen!`, so that all
//! types are known when this is compiled; between them serde, postcard and frames over a bare unix socket.
//!
//! ```text
//!   caller's guest ─▶ Entry ─ serde ─▶ frame ─▶ socket ─▶ frame ─ serde ─▶ Entry ─▶ callee's guest, and back
//! ```
//!
//! Nothing else is there: no names, no limits, no interruption by epochs, no deadline. Where many calls are in flight, [`many`] is
//! the caller, and all that a read brings is answered by one write.

mod many;

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::bail;
use bytes::BytesMut;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::AsyncWriteExt;
use tokio::net::{UnixListener, UnixStream};
use wasmtime::component::{Component, HasSelf, Linker, ResourceTable};
use wasmtime::{Config, Engine, Store};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use self::caller::daffi::bench::records::{Colour, Entry};
use crate::echo::{block_on, next_frame, read_some};
use crate::guests::{Runtime, component, job, timed};
use crate::report::{Case, Sample};
use crate::socket::connect;

mod server {
    wasmtime::component::bindgen!({
        path: "../guests/bench/wit",
        world: "server",
        additional_derives: [serde::Serialize, serde::Deserialize],
    });
}

mod caller {
    wasmtime::component::bindgen!({
        path: "../guests/bench/wit",
        world: "caller",
        imports: { default: async | trappable },
        exports: { default: async },
        additional_derives: [serde::Serialize, serde::Deserialize],
    });
}

/// Set to a socket's path, it turns this binary into the callee.
pub const SERVER_ENV: &str = "DAFFI_BENCH_TYPED_SERVER";

/// Set to a socket's path, it turns this binary into the caller, whose guest finds its job in the environment.
pub const CALLER_ENV: &str = "DAFFI_BENCH_TYPED_CALLER";

/// Measures `case` between two such processes.
pub fn measure(case: &Case, folder: &Path) -> anyhow::Result<Sample> {
    let socket = folder.join("typed.sock");
    let start = |variable: &str| {
        let mut command = Command::new(std::env::current_exe()?);
        command.env(variable, &socket).stdin(Stdio::null());
        command.envs(job(case).iter().filter_map(|pair| pair.split_once('=')));
        Runtime::spawn(command)
    };
    let server = start(SERVER_ENV)?;
    let sample = timed(start(CALLER_ENV)?, &[server]);
    // The next round listens at the same path.
    std::fs::remove_file(socket)?;
    sample
}

/// Bytes of a sum's arguments, of a record as `bench-caller` makes it, and of a thousand, in postcard.
pub fn payload_bytes(op: &str) -> anyhow::Result<usize> {
    let entry = |id: u64| Entry {
        id,
        balance: -1_000,
        ratio: 0.5,
        grade: 'b',
        open: true,
        name: "a name of usual length".to_owned(),
        colour: Colour::Green,
        parent: Some(7),
        tags: vec!["first".to_owned(), "second".to_owned()],
        digest: vec![7; 16],
    };
    Ok(match op {
        "sum" => postcard::to_stdvec(&(1i64, 1i64))?.len(),
        "record" => postcard::to_stdvec(&entry(1))?.len(),
        _ => postcard::to_stdvec(&(0..1000).map(entry).collect::<Vec<_>>())?.len(),
    })
}

/// As the runtime's, where no component has async functions.
fn engine() -> wasmtime::Result<Engine> {
    Engine::new(Config::new().concurrency_support(false))
}

/// Serves one connection until it closes.
pub fn serve(socket: &Path) -> anyhow::Result<()> {
    let engine = engine()?;
    let component = Component::from_file(&engine, component("bench-server")?)?;
    let mut linker = Linker::new(&engine);
    wasmtime_wasi::p2::add_to_linker_sync(&mut linker)?;
    let mut store = Store::new(&engine, Wasi::new());
    let guest = server::Server::instantiate(&mut store, &component, &linker)?;
    let (records, ops) = (guest.daffi_bench_records(), guest.daffi_bench_ops());
    let op = std::env::var("OP")?;
    let mut answer = |frame: &[u8], output: &mut Vec<u8>| -> anyhow::Result<()> {
        match op.as_str() {
            "sum" => {
                let (a, b) = value_of(frame)?;
                put_framed(&ops.call_sum(&mut store, a, b)?, output)?;
            }
            "record" => put_framed(&records.call_echo_entry(&mut store, &value_of(frame)?)?, output)?,
            _ => {
                let entries: Vec<_> = value_of(frame)?;
                put_framed(&records.call_echo_entries(&mut store, &entries)?, output)?;
            }
        }
        Ok(())
    };
    block_on(async {
        let (mut stream, _) = UnixListener::bind(socket)?.accept().await?;
        let (mut input, mut output) = (BytesMut::new(), Vec::new());
        while read_some(&mut stream, &mut input).await? > 0 {
            while let Some(frame) = next_frame(&mut input) {
                answer(&frame, &mut output)?;
            }
            stream.write_all(&output).await?;
            output.clear();
        }
        Ok(())
    })
}

/// Runs the caller's guest.
pub fn call(socket: &Path) -> anyhow::Result<()> {
    if std::env::var("IN_FLIGHT")? != "1" {
        return many::call(socket);
    }
    let engine = engine()?;
    let component = Component::from_file(&engine, component("bench-caller")?)?;
    let mut linker = Linker::new(&engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    caller::Caller::add_to_linker::<_, HasSelf<_>>(&mut linker, |host: &mut Host| host)?;
    block_on(async {
        let host =
            Host { wasi: Wasi::new(), stream: connect(socket).await?, input: BytesMut::new(), output: Vec::new() };
        let mut store = Store::new(&engine, host);
        let guest = caller::Caller::instantiate_async(&mut store, &component, &linker).await?;
        match guest.wasi_cli0_2_0_run().call_run(&mut store).await? {
            Ok(()) => Ok(()),
            Err(()) => bail!("the caller's guest failed"),
        }
    })
}

/// What comes of a value's encoding.
type Coded<T> = postcard::Result<T>;

/// The value of a frame.
fn value_of<T: DeserializeOwned>(frame: &[u8]) -> Coded<T> {
    postcard::from_bytes(frame)
}

/// Appends a value behind its length.
fn put_framed(value: &impl Serialize, output: &mut Vec<u8>) -> Coded<()> {
    let begin = output.len();
    output.extend([0; size_of::<u32>()]);
    *output = postcard::to_extend(value, std::mem::take(output))?;
    let length = u32::try_from(output.len() - begin - size_of::<u32>()).unwrap_or(u32::MAX);
    output[begin..][..size_of::<u32>()].copy_from_slice(&length.to_le_bytes());
    Ok(())
}

/// What both guests import, since Rust's own library does.
struct Wasi {
    ctx: WasiCtx,
    table: ResourceTable,
}

/// What the caller's guest imports.
struct Host {
    wasi: Wasi,
    stream: UnixStream,
    input: BytesMut,
    output: Vec<u8>,
}

impl Host {
    async fn ask<T: DeserializeOwned>(&mut self, value: impl Serialize) -> wasmtime::Result<T> {
        self.output.clear();
        put_framed(&value, &mut self.output)?;
        self.stream.write_all(&self.output).await?;
        loop {
            if let Some(frame) = next_frame(&mut self.input) {
                return Ok(value_of(&frame)?);
            }
            if read_some(&mut self.stream, &mut self.input).await? == 0 {
                return Err(wasmtime::format_err!("the callee ended early"));
            }
        }
    }
}

impl caller::daffi::bench::records::Host for Host {
    async fn echo_entry(&mut self, entry: Entry) -> wasmtime::Result<Entry> {
        self.ask(entry).await
    }

    async fn echo_entries(&mut self, entries: Vec<Entry>) -> wasmtime::Result<Vec<Entry>> {
        self.ask(entries).await
    }
}

impl caller::daffi::bench::ops::Host for Host {
    async fn sum(&mut self, a: i64, b: i64) -> wasmtime::Result<i64> {
        self.ask((a, b)).await
    }

    async fn echo(&mut self, _: Vec<u8>) -> wasmtime::Result<Vec<u8>> {
        Err(wasmtime::format_err!("`echo` is not called here"))
    }
}

impl Wasi {
    fn new() -> Self {
        let ctx = WasiCtx::builder().inherit_env().inherit_stdout().inherit_stderr().build();
        Self { ctx, table: ResourceTable::new() }
    }
}

impl WasiView for Wasi {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.ctx, table: &mut self.table }
    }
}

impl WasiView for Host {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        self.wasi.ctx()
    }
}
