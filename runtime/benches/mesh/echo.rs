//! The bare limit: two tokio processes over the same kind of socket, one frame of the same payload each way, many
//! frames a read, one write for all that a read brought. Nothing else: no header, no names, no check.
//!
//! The server is this binary started again with [`SERVER_ENV`] set to the socket's path; it ends when its client goes. So is
//! what stands between the two where calls are relayed ([`RELAY_ENV`]), which passes on what a read brings.

use std::io::{ErrorKind, Result};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bytes::{Buf, BufMut, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

use crate::report::{Case, Sample, cpu_of};

/// Set to a socket's path, it turns this binary into the echo server.
pub const SERVER_ENV: &str = "DAFFI_BENCH_ECHO";

/// Set to the path of a server's socket, with `.relay` behind it, it turns this binary into what stands before that server.
pub const RELAY_ENV: &str = "DAFFI_BENCH_RELAY";

const READ_BYTES: usize = 256 * 1024;

/// Serves one connection until it closes.
pub fn serve(socket: &Path) -> Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let listener = UnixListener::bind(socket)?;
        let (mut stream, _) = listener.accept().await?;
        let (mut input, mut output) = (BytesMut::with_capacity(READ_BYTES), BytesMut::with_capacity(READ_BYTES));
        while read_some(&mut stream, &mut input).await? > 0 {
            while let Some(frame) = next_frame(&mut input) {
                put_frame(&mut output, &frame);
            }
            stream.write_all(&output).await?;
            output.clear();
        }
        Ok(())
    })
}

/// Stands between one client and the server, until either closes.
pub fn relay(socket: &Path) -> Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let listener = UnixListener::bind(socket)?;
        let mut server = connect(&socket.with_extension("")).await?;
        let (mut client, _) = listener.accept().await?;
        tokio::io::copy_bidirectional_with_sizes(&mut client, &mut server, READ_BYTES, READ_BYTES).await?;
        Ok(())
    })
}

/// Measures `case` against a server of its own.
pub fn measure(case: &Case, folder: &Path) -> Result<Sample> {
    run(case, folder, false)
}

/// The same through a relay.
pub fn measure_relayed(case: &Case, folder: &Path) -> Result<Sample> {
    run(case, folder, true)
}

fn run(case: &Case, folder: &Path, relayed: bool) -> Result<Sample> {
    let at_server = folder.join(format!("echo-{}-{}", case.payload_bytes, case.in_flight));
    let at_relay = at_server.with_extension("relay");
    let mut others = vec![(start(&at_server)?, &at_server)];
    if relayed {
        others.push((start_as(RELAY_ENV, &at_relay)?, &at_relay));
    }
    let pids: Vec<u32> = others.iter().map(|(child, _)| child.id()).collect();
    let socket = if relayed { &at_relay } else { &at_server };
    let sample = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(async { drive(connect(socket).await?, case, &pids).await });
    for (mut child, socket) in others {
        child.kill().ok();
        child.wait()?;
        // The next round listens at the same path.
        std::fs::remove_file(socket)?;
    }
    sample
}

/// Starts a server.
pub fn start(socket: &Path) -> Result<Child> {
    start_as(SERVER_ENV, socket)
}

/// Starts this binary as what that variable makes of it.
pub fn start_as(variable: &str, socket: &Path) -> Result<Child> {
    Command::new(std::env::current_exe()?).env(variable, socket).stdin(Stdio::null()).spawn()
}

/// Connects to a server that may still be starting.
pub async fn connect(socket: &Path) -> Result<UnixStream> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        match UnixStream::connect(socket).await {
            Ok(stream) => return Ok(stream),
            Err(error) if Instant::now() > deadline => return Err(error),
            Err(_) => tokio::time::sleep(Duration::from_millis(2)).await,
        }
    }
}

/// Keeps `in_flight` frames on the way; a frame carries its number, by which its time of departure is found.
async fn drive(mut stream: UnixStream, case: &Case, others: &[u32]) -> Result<Sample> {
    let mut payload = vec![7u8; case.payload_bytes.max(size_of::<u64>())];
    let mut run = async |calls: u64| -> Result<Vec<u64>> {
        let (mut input, mut output) = (BytesMut::with_capacity(READ_BYTES), BytesMut::with_capacity(READ_BYTES));
        let mut departures = Vec::with_capacity(usize::try_from(calls).unwrap_or(0));
        let mut latencies = Vec::with_capacity(departures.capacity());
        let mut send = |output: &mut BytesMut, departures: &mut Vec<Instant>| {
            let number = departures.len() as u64;
            if number < calls {
                payload[..size_of::<u64>()].copy_from_slice(&number.to_le_bytes());
                departures.push(Instant::now());
                put_frame(output, &payload);
            }
        };
        for _ in 0..case.in_flight {
            send(&mut output, &mut departures);
        }
        let (mut reader, mut writer) = stream.split();
        while (latencies.len() as u64) < calls {
            // Reading goes on while there is something to write: the server reads nothing more once both buffers are
            // full of its echoes.
            tokio::select! {
                biased;
                written = writer.write_buf(&mut output), if !output.is_empty() => {
                    written?;
                    continue;
                }
                read = read_some(&mut reader, &mut input) => {
                    if read? == 0 {
                        return Err(ErrorKind::UnexpectedEof.into());
                    }
                }
            }
            while let Some(mut frame) = next_frame(&mut input) {
                let number = usize::try_from(frame.get_u64_le()).unwrap_or(0);
                latencies.push(u64::try_from(departures[number].elapsed().as_nanos()).unwrap_or(u64::MAX));
                send(&mut output, &mut departures);
            }
        }
        Ok(latencies)
    };
    run(case.warm_up_calls()).await?;
    let all: Vec<u32> = others.iter().copied().chain([std::process::id()]).collect();
    let before = cpu_of(&all);
    let started = Instant::now();
    let latencies = run(case.calls).await?;
    Ok(Sample::new(latencies, started.elapsed(), cpu_of(&all).saturating_sub(before)))
}

/// Reads what is there, or waits for something.
pub async fn read_some(stream: &mut (impl AsyncRead + Unpin), input: &mut BytesMut) -> Result<usize> {
    input.reserve(READ_BYTES);
    stream.read_buf(input).await
}

/// Appends a frame.
pub fn put_frame(output: &mut BytesMut, payload: &[u8]) {
    output.put_u32_le(u32::try_from(payload.len()).unwrap_or(u32::MAX));
    output.put_slice(payload);
}

/// Takes the next whole frame.
pub fn next_frame(input: &mut BytesMut) -> Option<BytesMut> {
    let length = usize::try_from(u32::from_le_bytes(*input.first_chunk()?)).ok()?;
    if input.len() < 4 + length {
        return None;
    }
    input.advance(4);
    Some(input.split_to(length))
}
