//! The bare limit: two tokio processes over the same kind of socket, one frame of the same payload each way, many
//! frames a read, one write for all that a read brought. Nothing else: no header, no names, no check.
//!
//! The server is this binary started again with [`SERVER_ENV`] set to its place; it ends when its client goes. So is
//! what stands between the two where calls are relayed ([`RELAY_ENV`]), which passes on what a read brings.

use std::ffi::OsStr;
use std::io::{ErrorKind, Result};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use bytes::{Buf, BufMut, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy_bidirectional_with_sizes, join};

use crate::report::{Case, Cpu, Sample};
use crate::socket::{Ends, Place, Scheme};

/// Set to a place, it turns this binary into the echo server.
pub const SERVER_ENV: &str = "DAFFI_BENCH_ECHO";

/// Set to a place and to that of a server, it turns this binary into what stands before that server.
pub const RELAY_ENV: &str = "DAFFI_BENCH_RELAY";

const READ_BYTES: usize = 256 * 1024;

/// Serves one connection until it closes.
pub fn serve(place: &str) -> anyhow::Result<()> {
    let place: Place = serde_json::from_str(place)?;
    block_on(async {
        let (mut reader, mut writer) = place.accept().await?;
        let (mut input, mut output) = (BytesMut::with_capacity(READ_BYTES), BytesMut::with_capacity(READ_BYTES));
        while read_some(&mut reader, &mut input).await? > 0 {
            while let Some(frame) = next_frame(&mut input) {
                put_frame(&mut output, &frame);
            }
            writer.write_all(&output).await?;
            writer.flush().await?;
            output.clear();
        }
        // The client may have gone.
        writer.shutdown().await.ok();
        Ok(())
    })
}

/// Stands between one client and the server, until either closes.
pub fn relay(places: &str) -> anyhow::Result<()> {
    let (place, server): (Place, Place) = serde_json::from_str(places)?;
    block_on(async {
        let (reader, writer) = server.connect().await?;
        let mut server = join(reader, writer);
        let (reader, writer) = place.accept().await?;
        // Whichever side goes first, that is the end.
        copy_bidirectional_with_sizes(&mut join(reader, writer), &mut server, READ_BYTES, READ_BYTES).await.ok();
        Ok(())
    })
}

/// Measures `case` against a server of its own.
pub fn measure(case: &Case, folder: &Path, scheme: Scheme) -> anyhow::Result<Sample> {
    let server = Place::free(scheme, folder, "echo.sock")?;
    let others = vec![(start(&server)?, server.clone())];
    run(case, &server, others)
}

/// The same through a relay.
pub fn measure_relayed(case: &Case, folder: &Path, scheme: Scheme) -> anyhow::Result<Sample> {
    let server = Place::free(scheme, folder, "echo.sock")?;
    let relay = Place::free(scheme, folder, "relay.sock")?;
    let between = start_as(RELAY_ENV, serde_json::to_string(&(&relay, &server))?)?;
    let others = vec![(start(&server)?, server), (between, relay.clone())];
    run(case, &relay, others)
}

/// Measures frames to that place, and ends those others.
fn run(case: &Case, to: &Place, others: Vec<(Child, Place)>) -> anyhow::Result<Sample> {
    let pids: Vec<u32> = others.iter().map(|(child, _)| child.id()).collect();
    let sample = block_on(async { Ok(drive(to.connect().await?, case, &pids).await?) });
    for (mut child, place) in others {
        child.kill().ok();
        child.wait()?;
        place.clear()?;
    }
    sample
}

/// Does it in this thread.
pub fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

/// Starts a server.
pub fn start(place: &Place) -> anyhow::Result<Child> {
    Ok(start_as(SERVER_ENV, serde_json::to_string(place)?)?)
}

/// Starts this binary as what that variable makes of it.
pub fn start_as(variable: &str, value: impl AsRef<OsStr>) -> Result<Child> {
    Command::new(std::env::current_exe()?).env(variable, value).stdin(Stdio::null()).spawn()
}

/// Keeps `in_flight` frames on the way; a frame carries its number, by which its time of departure is found.
async fn drive((mut reader, mut writer): Ends, case: &Case, others: &[u32]) -> Result<Sample> {
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
        let mut flushed = true;
        while (latencies.len() as u64) < calls {
            // Reading goes on while there is something to write: the server reads nothing more once both buffers are
            // full of its echoes.
            tokio::select! {
                biased;
                written = write_some(&mut writer, &mut output, &mut flushed), if !output.is_empty() || !flushed => {
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
    let cpu = || Cpu::of(std::process::id(), others);
    let before = cpu();
    let started = Instant::now();
    let latencies = run(case.calls).await?;
    let sample = Sample::new(latencies, started.elapsed(), (before, cpu()));
    // TLS tells a stream that ends from one that is cut off.
    writer.shutdown().await?;
    Ok(sample)
}

/// Reads what is there, or waits for something.
pub async fn read_some(stream: &mut (impl AsyncRead + Unpin), input: &mut BytesMut) -> Result<usize> {
    input.reserve(READ_BYTES);
    stream.read_buf(input).await
}

/// Writes what the socket takes, or sees to it that nothing of it is held back, as encryption may.
async fn write_some(writer: &mut (impl AsyncWrite + Unpin), output: &mut BytesMut, flushed: &mut bool) -> Result<()> {
    if output.is_empty() {
        writer.flush().await?;
        *flushed = true;
    } else {
        writer.write_buf(output).await?;
        *flushed = false;
    }
    Ok(())
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
