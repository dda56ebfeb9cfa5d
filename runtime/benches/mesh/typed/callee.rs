//! The callee: its instance, and the process that serves one connection with it.

use bytes::BytesMut;
use std::path::PathBuf;

use tokio::io::AsyncWriteExt;
use tokio::net::{UnixListener, UnixStream};
use wasmtime::component::{Component, Linker};
use wasmtime::{Engine, Store};

use super::{Wasi, engine, put_framed, read_bytes, value_of, write_bytes};
use crate::echo::{block_on, next_frame, read_some};
use crate::guests::component;

mod server {
    wasmtime::component::bindgen!({
        path: "../guests/bench/wit",
        world: "server",
        additional_derives: [serde::Serialize, serde::Deserialize],
    });
}

/// An instance that can be called.
pub struct Callee {
    store: Store<Wasi>,
    guest: server::Server,
}

impl Callee {
    pub fn new(engine: &Engine) -> anyhow::Result<Self> {
        let component = Component::from_file(engine, component("bench-server")?)?;
        let mut linker = Linker::new(engine);
        wasmtime_wasi::p2::add_to_linker_sync(&mut linker)?;
        let mut store = Store::new(engine, Wasi::new());
        let guest = server::Server::instantiate(&mut store, &component, &linker)?;
        Ok(Self { store, guest })
    }

    pub fn sum(&mut self, a: i64, b: i64) -> wasmtime::Result<i64> {
        self.guest.daffi_bench_ops().call_sum(&mut self.store, a, b)
    }

    pub fn echo(&mut self, bytes: &[u8]) -> wasmtime::Result<Vec<u8>> {
        self.guest.daffi_bench_ops().call_echo(&mut self.store, bytes)
    }

    /// Appends the answer to a frame of that operation.
    fn answer(&mut self, op: &str, frame: &[u8], output: &mut Vec<u8>) -> anyhow::Result<()> {
        match op {
            "sum" => {
                let (a, b) = value_of(frame)?;
                put_framed(&self.sum(a, b)?, output)?;
            }
            "record" => {
                let records = self.guest.daffi_bench_records();
                put_framed(&records.call_echo_entry(&mut self.store, &value_of(frame)?)?, output)?;
            }
            _ => {
                let entries: Vec<_> = value_of(frame)?;
                let records = self.guest.daffi_bench_records();
                put_framed(&records.call_echo_entries(&mut self.store, &entries)?, output)?;
            }
        }
        Ok(())
    }
}

/// Serves one connection until it closes.
pub fn serve(socket: &str) -> anyhow::Result<()> {
    let socket: PathBuf = serde_json::from_str(socket)?;
    let mut callee = Callee::new(&engine()?)?;
    let op = std::env::var("OP")?;
    block_on(async {
        let (stream, _) = UnixListener::bind(socket)?.accept().await?;
        if op == "echo" { echo(&mut callee, stream).await } else { values(&mut callee, &op, stream).await }
    })
}

/// Bytes, as they are: one copy into the guest and one out of it.
async fn echo(callee: &mut Callee, mut stream: UnixStream) -> anyhow::Result<()> {
    while let Some(bytes) = read_bytes(&mut stream).await? {
        let bytes = callee.echo(&bytes)?;
        write_bytes(&mut stream, &bytes).await?;
    }
    Ok(())
}

async fn values(callee: &mut Callee, op: &str, mut stream: UnixStream) -> anyhow::Result<()> {
    let (mut input, mut output) = (BytesMut::new(), Vec::new());
    while read_some(&mut stream, &mut input).await? > 0 {
        while let Some(frame) = next_frame(&mut input) {
            callee.answer(op, &frame, &mut output)?;
        }
        stream.write_all(&output).await?;
        output.clear();
    }
    Ok(())
}
