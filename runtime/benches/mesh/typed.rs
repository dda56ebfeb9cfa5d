//! What a call costs without us: two processes with the same two guests, each bound to them by `bindgen!`, so that all
//! types are known when this is compiled; between them serde, postcard and frames over a bare unix socket.
//!
//! ```text
//!   caller's guest ─▶ Entry ─ serde ─▶ frame ─▶ socket ─▶ frame ─ serde ─▶ Entry ─▶ callee's guest, and back
//! ```
//!
//! Nothing else is there: no names, no limits, no interruption by epochs, no deadline. Bytes are sent as they are, and copied once into
//! and once out of each guest. Where many calls are in flight, [`many`] is the caller, and all that a read brings is answered by one write.
//!
//! | how | |
//! |---|---|
//! | direct | a socket between the two |
//! | relayed apart | the bare relay between them |
//! | BROADCAST | a callee in a process of its own for each receiver: the frame is written to all, then an answer is read of each |
//! | STREAM | [`flow`]: bytes alone |
//! | local | the callee's instance is in the caller's process, and called in the caller's thread: no frame and no serde |

mod callee;
pub mod flow;
mod many;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{bail, ensure};
use bytes::{Buf, BytesMut};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::UnixStream;
use wasmtime::component::{Component, HasSelf, Linker, ResourceTable};
use wasmtime::{Config, Engine, Store};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use self::callee::Callee;
pub use self::callee::serve;
use self::caller::daffi::bench::records::{Colour, Entry};
use crate::echo::{self, block_on, next_frame, read_some};
use crate::guests::{Runtime, component, job, timed};
use crate::report::{Case, How, Sample};
use crate::socket::{Place, connect};

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

/// Set to the sockets of the callees as JSON, it turns this binary into the caller, whose guest finds its job in the environment.
/// Without any, the callee is in the same process.
pub const CALLER_ENV: &str = "DAFFI_BENCH_TYPED_CALLER";

/// Measures `case` between such processes.
pub fn measure(case: &Case, folder: &Path) -> anyhow::Result<Sample> {
    let start = |variable: &str, value: String| {
        let mut command = Command::new(std::env::current_exe()?);
        command.env(variable, value).stdin(Stdio::null());
        command.envs(job(case).iter().filter_map(|pair| pair.split_once('=')));
        Runtime::spawn(command)
    };
    let callees = match case.how {
        How::Local => 0,
        How::Broadcast(receivers) => receivers,
        _ => 1,
    };
    let mut sockets: Vec<_> = (1..=callees).map(|number| folder.join(format!("typed-{number}.sock"))).collect();
    let mut others = Vec::new();
    for socket in &sockets {
        others.push(start(SERVER_ENV, serde_json::to_string(socket)?)?);
    }
    if let (How::Apart(_), [server]) = (case.how, sockets.as_slice()) {
        let relay = folder.join("typed-relay.sock");
        let places = (Place::Unix(relay.clone()), Place::Unix(server.clone()));
        let child: Child = echo::start_as(echo::RELAY_ENV, serde_json::to_string(&places)?)?;
        others.push(Runtime { child });
        sockets.insert(0, relay);
    }
    let targets = if matches!(case.how, How::Apart(_)) { &sockets[..1] } else { &sockets[..] };
    let sample = timed(start(CALLER_ENV, serde_json::to_string(targets)?)?, &others);
    drop(others);
    // The next round listens at the same paths.
    for socket in sockets {
        std::fs::remove_file(socket)?;
    }
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

/// Runs the caller's guest.
pub fn call(sockets: &str) -> anyhow::Result<()> {
    let sockets: Vec<PathBuf> = serde_json::from_str(sockets)?;
    if std::env::var("IN_FLIGHT")? != "1" {
        ensure!(sockets.len() == 1, "many calls in flight have one callee here");
        return many::call(&sockets[0]);
    }
    let engine = engine()?;
    let here = if sockets.is_empty() { Some(Callee::new(&engine)?) } else { None };
    let component = Component::from_file(&engine, component("bench-caller")?)?;
    let mut linker = Linker::new(&engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    caller::Caller::add_to_linker::<_, HasSelf<_>>(&mut linker, |host: &mut Host| host)?;
    block_on(async {
        let mut streams = Vec::new();
        for socket in &sockets {
            streams.push(connect(socket).await?);
        }
        let host = Host { wasi: Wasi::new(), here, streams, input: BytesMut::new(), output: Vec::new() };
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

/// Writes bytes behind their length, by one write where the socket takes it.
async fn write_bytes(stream: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> std::io::Result<()> {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes();
    stream.write_all_buf(&mut Buf::chain(length.as_slice(), bytes)).await
}

/// Reads what [`write_bytes`] wrote, into memory of its own; nothing where the stream has ended.
async fn read_bytes(stream: &mut (impl AsyncRead + Unpin)) -> std::io::Result<Option<Vec<u8>>> {
    let mut length = [0; size_of::<u32>()];
    if stream.read(&mut length[..1]).await? == 0 {
        return Ok(None);
    }
    stream.read_exact(&mut length[1..]).await?;
    let mut bytes = Vec::with_capacity(usize::try_from(u32::from_le_bytes(length)).unwrap_or(0));
    while bytes.len() < bytes.capacity() {
        let limit = (bytes.capacity() - bytes.len()) as u64;
        if (&mut *stream).take(limit).read_buf(&mut bytes).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(Some(bytes))
}

/// What both guests import, since Rust's own library does.
struct Wasi {
    ctx: WasiCtx,
    table: ResourceTable,
}

/// What the caller's guest imports.
struct Host {
    wasi: Wasi,
    /// The callee, where it is in this process.
    here: Option<Callee>,
    /// To each callee that is not.
    streams: Vec<UnixStream>,
    input: BytesMut,
    output: Vec<u8>,
}

impl Host {
    /// Asks all, and takes the last one's answer.
    async fn ask<T: DeserializeOwned>(&mut self, value: impl Serialize) -> wasmtime::Result<T> {
        self.output.clear();
        put_framed(&value, &mut self.output)?;
        for stream in &mut self.streams {
            stream.write_all(&self.output).await?;
        }
        let mut last = BytesMut::new();
        for stream in &mut self.streams {
            last = loop {
                if let Some(frame) = next_frame(&mut self.input) {
                    break frame;
                }
                if read_some(stream, &mut self.input).await? == 0 {
                    return Err(early());
                }
            };
        }
        Ok(value_of(&last)?)
    }
}

/// Where an answer was awaited.
fn early() -> wasmtime::Error {
    wasmtime::format_err!("the callee ended early")
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
        match &mut self.here {
            Some(callee) => callee.sum(a, b),
            None => self.ask((a, b)).await,
        }
    }

    async fn echo(&mut self, bytes: Vec<u8>) -> wasmtime::Result<Vec<u8>> {
        if let Some(callee) = &mut self.here {
            return callee.echo(&bytes);
        }
        let [stream] = self.streams.as_mut_slice() else { return Err(wasmtime::format_err!("bytes go to one callee")) };
        write_bytes(stream, &bytes).await?;
        read_bytes(stream).await?.ok_or_else(early)
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
