//! The caller with many calls in flight: what wasmtime's concurrent calls cost, bound by `bindgen!`. All of it is in one thread, where
//! a runtime has several: what is to be compared is CPU time first.
//!
//! ```text
//!   guest ─▶ sum ─▶ output ─▶ one write for all that there is       (write)
//!     ▲       └───▶ who waits, in order ◀─── all that a read brings (read)
//! ```
//!
//! The callee answers in order, so frames need no number. Bytes are written a frame at a time, and reading goes on meanwhile.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::bail;
use bytes::BytesMut;
use tokio::io::AsyncWriteExt;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Notify, oneshot};
use wasmtime::component::{Access, Accessor, Component, HasSelf, Linker};
use wasmtime::{Config, Engine, Store};
use wasmtime_wasi::{WasiCtxView, WasiView};

use self::caller::CallerAsync;
use self::caller::daffi::bench::ops_async;
use super::{Coded, Wasi, early, put_framed, read_bytes, value_of, write_bytes};
use crate::echo::{block_on, next_frame, read_some};
use crate::guests::component;
use crate::socket::connect;

mod caller {
    wasmtime::component::bindgen!({
        path: "../guests/bench/wit",
        world: "caller-async",
        imports: { default: trappable },
    });
}

/// The calls on the way.
#[derive(Default)]
struct Line {
    /// What is to be written: numbers in their frames.
    output: Vec<u8>,
    /// And bytes, each of which will have a frame.
    bytes: VecDeque<Vec<u8>>,
    /// Who waits, in the order of their calls.
    waiting: VecDeque<Waiting>,
}

/// Who waits for what.
enum Waiting {
    Number(oneshot::Sender<i64>),
    Bytes(oneshot::Sender<Vec<u8>>),
}

/// What the guest imports.
struct Host {
    wasi: Wasi,
    line: Arc<Mutex<Line>>,
    to_write: Arc<Notify>,
}

/// Runs the caller's guest.
pub fn call(socket: &Path) -> anyhow::Result<()> {
    let engine = Engine::new(Config::new().wasm_component_model_async(true))?;
    let component = Component::from_file(&engine, component("bench-caller-async")?)?;
    let mut linker = Linker::new(&engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    ops_async::add_to_linker::<_, HasSelf<_>>(&mut linker, |host: &mut Host| host)?;
    block_on(async {
        let (reader, writer) = connect(socket).await?.into_split();
        let host = Host { wasi: Wasi::new(), line: Arc::default(), to_write: Arc::default() };
        let (line, to_write) = (host.line.clone(), host.to_write.clone());
        let mut store = Store::new(&engine, host);
        let guest = CallerAsync::instantiate_async(&mut store, &component, &linker).await?;
        let run = async |accessor: &Accessor<Host>| guest.wasi_cli0_3_0_run().call_run(accessor).await;
        // The other two do not end before the callee does.
        tokio::select! {
            returned = store.run_concurrent(run) => match returned?? {
                Ok(()) => Ok(()),
                Err(()) => bail!("the caller's guest failed"),
            },
            written = write(writer, &line, &to_write) => Ok(written?),
            read = read(reader, &line) => read.and_then(|()| bail!("the callee ended early")),
        }
    })
}

async fn write(mut writer: OwnedWriteHalf, line: &Mutex<Line>, to_write: &Notify) -> std::io::Result<()> {
    let mut output = Vec::new();
    loop {
        to_write.notified().await;
        std::mem::swap(&mut output, &mut lock(line).output);
        writer.write_all(&output).await?;
        output.clear();
        while let Some(bytes) = { lock(line).bytes.pop_front() } {
            write_bytes(&mut writer, &bytes).await?;
        }
    }
}

async fn read(mut reader: OwnedReadHalf, line: &Mutex<Line>) -> anyhow::Result<()> {
    if std::env::var("OP")? == "echo" {
        while let Some(bytes) = read_bytes(&mut reader).await? {
            let Some(Waiting::Bytes(who)) = next(line) else { bail!("an answer to no call") };
            // Who gave up does not want it.
            let _ = who.send(bytes);
        }
        return Ok(());
    }
    let mut input = BytesMut::new();
    while read_some(&mut reader, &mut input).await? > 0 {
        while let Some(frame) = next_frame(&mut input) {
            let Some(Waiting::Number(who)) = next(line) else { bail!("an answer to no call") };
            let _ = who.send(value_of(&frame)?);
        }
    }
    Ok(())
}

/// Who waits longest.
fn next(line: &Mutex<Line>) -> Option<Waiting> {
    lock(line).waiting.pop_front()
}

fn lock(line: &Mutex<Line>) -> std::sync::MutexGuard<'_, Line> {
    line.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ops_async::Host for Host {}

impl ops_async::HostWithStore<Host> for HasSelf<Host> {
    async fn sum(accessor: &Accessor<Host, Self>, a: i64, b: i64) -> wasmtime::Result<i64> {
        let answer = accessor.with(|mut access| -> Coded<_> {
            let (tell, answer) = oneshot::channel();
            let host = access.get();
            let mut line = lock(&host.line);
            put_framed(&(a, b), &mut line.output)?;
            host.wait(&mut line, Waiting::Number(tell));
            Ok(answer)
        })?;
        answer.await.map_err(|_| early())
    }

    async fn echo(accessor: &Accessor<Host, Self>, bytes: Vec<u8>) -> wasmtime::Result<Vec<u8>> {
        let answer = accessor.with(|mut access: Access<'_, Host, Self>| {
            let (tell, answer) = oneshot::channel();
            let host = access.get();
            let mut line = lock(&host.line);
            line.bytes.push_back(bytes);
            host.wait(&mut line, Waiting::Bytes(tell));
            answer
        });
        answer.await.map_err(|_| early())
    }
}

impl Host {
    fn wait(&self, line: &mut Line, who: Waiting) {
        line.waiting.push_back(who);
        self.to_write.notify_one();
    }
}

impl WasiView for Host {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        self.wasi.ctx()
    }
}
