//! A stream of bytes from one guest to another, both bound by `bindgen!`: the host of each moves bytes between its guest's memory
//! and a bare socket, and copies nothing beside. A connection is one stream; its end is the stream's, and the length comes back.
//!
//! ```text
//!   writer's guest ─▶ ToSocket ─▶ socket ─▶ FromSocket ─▶ reader's guest
//!        length ◀───────────────── socket ◀───────────── length
//! ```

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{Command, Stdio};
use std::task::{Context, Poll};

use anyhow::bail;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use wasmtime::component::{
    Accessor, Component, Destination, HasSelf, Linker, Source, StreamConsumer, StreamProducer, StreamReader,
    StreamResult, VecBuffer,
};
use wasmtime::{Config, Engine, Result, Store, StoreContextMut};
use wasmtime_wasi::{WasiCtxView, WasiView};

use self::writer::daffi::bench::streams;
use super::Wasi;
use crate::echo::block_on;
use crate::guests::{Runtime, component, timed};
use crate::report::Sample;
use crate::socket::connect;

mod writer {
    wasmtime::component::bindgen!({
        path: "../guests/bench/wit",
        world: "stream-writer",
        imports: { default: trappable },
    });
}

mod reader {
    wasmtime::component::bindgen!({ path: "../guests/bench/wit", world: "stream-reader" });
}

/// Set to a socket's path, it turns this binary into the reader.
pub const READER_ENV: &str = "DAFFI_BENCH_TYPED_READER";

/// Set to a reader's socket, it turns this binary into the writer, whose guest finds its job in the environment.
pub const WRITER_ENV: &str = "DAFFI_BENCH_TYPED_WRITER";

/// Most bytes of one read.
const READ_BYTES: usize = 64 * 1024;

/// Measures a stream of so many bytes, behind one of `warm_up`.
pub fn measure(bytes: u64, warm_up: u64, folder: &Path) -> anyhow::Result<Sample> {
    let socket = folder.join("typed-stream.sock");
    let start = |variable: &str| {
        let mut command = Command::new(std::env::current_exe()?);
        command.env(variable, &socket).env("OF", "u8").env("ITEMS", bytes.to_string());
        command.env("WARM_UP", warm_up.to_string()).stdin(Stdio::null());
        Runtime::spawn(command)
    };
    let reader = start(READER_ENV)?;
    let sample = timed(start(WRITER_ENV)?, std::slice::from_ref(&reader));
    drop(reader);
    // The next round listens at the same path.
    std::fs::remove_file(&socket)?;
    sample
}

fn engine() -> Result<Engine> {
    Engine::new(Config::new().wasm_component_model_async(true))
}

/// What the writer's guest imports.
struct Host {
    wasi: Wasi,
    socket: PathBuf,
    /// For the first stream: the reader was waited for.
    first: Option<UnixStream>,
}

/// Runs the writer's guest.
pub fn write(socket: &str) -> anyhow::Result<()> {
    let engine = engine()?;
    let component = Component::from_file(&engine, component("bench-stream-writer")?)?;
    let mut linker = Linker::new(&engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    streams::add_to_linker::<_, HasSelf<_>>(&mut linker, |host: &mut Host| host)?;
    block_on(async {
        let socket = PathBuf::from(socket);
        let first = Some(connect(&socket).await?);
        let mut store = Store::new(&engine, Host { wasi: Wasi::new(), socket, first });
        let guest = writer::StreamWriter::instantiate_async(&mut store, &component, &linker).await?;
        let run = async |accessor: &Accessor<Host>| guest.wasi_cli0_3_0_run().call_run(accessor).await;
        match store.run_concurrent(run).await?? {
            Ok(()) => Ok(()),
            Err(()) => bail!("the writer's guest failed"),
        }
    })
}

/// Reads streams until the writer has gone.
pub fn read(socket: &str) -> anyhow::Result<()> {
    let engine = engine()?;
    let component = Component::from_file(&engine, component("bench-stream-reader")?)?;
    let mut linker = Linker::new(&engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    block_on(async {
        let listener = UnixListener::bind(socket)?;
        let mut store = Store::new(&engine, Wasi::new());
        let guest = reader::StreamReader::instantiate_async(&mut store, &component, &linker).await?;
        let serve = async |accessor: &Accessor<Wasi>| -> Result<()> {
            loop {
                let (from, mut to) = listener.accept().await?.0.into_split();
                let bytes = accessor.with(|mut access| StreamReader::new(&mut access, FromSocket(from)))?;
                let length = guest.daffi_bench_streams().call_length(accessor, bytes).await?;
                to.write_u64_le(length).await?;
            }
        };
        Ok(store.run_concurrent(serve).await??)
    })
}

impl streams::Host for Host {}

impl streams::HostWithStore<Host> for HasSelf<Host> {
    async fn sum(_: &Accessor<Host, Self>, _: StreamReader<u32>) -> Result<u64> {
        Err(wasmtime::format_err!("numbers are not measured here"))
    }

    async fn length(accessor: &Accessor<Host, Self>, bytes: StreamReader<u8>) -> Result<u64> {
        let (first, socket) = accessor.with(|mut access| (access.get().first.take(), access.get().socket.clone()));
        let stream = match first {
            Some(stream) => stream,
            None => UnixStream::connect(&socket).await?,
        };
        let (mut from, to) = stream.into_split();
        accessor.with(|access| bytes.pipe(access, ToSocket(to)))?;
        Ok(from.read_u64_le().await?)
    }
}

impl WasiView for Host {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        self.wasi.ctx()
    }
}

/// Writes what a guest writes; the connection's direction ends with this.
struct ToSocket(OwnedWriteHalf);

impl<D> StreamConsumer<D> for ToSocket {
    type Item = u8;

    fn poll_consume(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        store: StoreContextMut<D>,
        source: Source<'_, u8>,
        finish: bool,
    ) -> Poll<Result<StreamResult>> {
        let mut source = source.as_direct(store);
        match Pin::new(&mut self.0).poll_write(cx, source.remaining()) {
            Poll::Ready(Ok(written)) => {
                source.mark_read(written);
                Poll::Ready(Ok(StreamResult::Completed))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error.into())),
            Poll::Pending if finish => Poll::Ready(Ok(StreamResult::Cancelled)),
            Poll::Pending => Poll::Pending,
        }
    }
}

/// Gives a guest what comes, to the end.
struct FromSocket(OwnedReadHalf);

impl<D> StreamProducer<D> for FromSocket {
    type Item = u8;
    type Buffer = VecBuffer<u8>;

    fn poll_produce<'a>(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        store: StoreContextMut<'a, D>,
        destination: Destination<'a, u8, VecBuffer<u8>>,
        finish: bool,
    ) -> Poll<Result<StreamResult>> {
        let mut direct = destination.as_direct(store, READ_BYTES);
        let mut space = ReadBuf::new(direct.remaining());
        match Pin::new(&mut self.0).poll_read(cx, &mut space) {
            Poll::Ready(Ok(())) => {
                let read = space.filled().len();
                direct.mark_written(read);
                Poll::Ready(Ok(if read == 0 { StreamResult::Dropped } else { StreamResult::Completed }))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error.into())),
            Poll::Pending if finish => Poll::Ready(Ok(StreamResult::Cancelled)),
            Poll::Pending => Poll::Pending,
        }
    }
}
