//! BROADCAST: one call to several processes, each in a runtime of its own; and the bare limit of it, a frame to as many
//! bare servers, whose echoes are all waited for.
//!
//! The caller's runtime is the controller, so that a broadcast takes as many sockets as the bare frames do.

use std::io::{ErrorKind, Result};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Instant;

use bytes::BytesMut;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;

use crate::echo::{next_frame, put_frame, read_some, start};
use crate::guests::{Runtime, job, timed};
use crate::report::{Case, Sample, cpu_of};
use crate::socket::{Place, connect};

/// Measures `case` with a caller and so many receivers.
pub fn measure(case: &Case, receivers: usize, folder: &Path) -> anyhow::Result<Sample> {
    let socket = folder.join("mesh.sock");
    let names: Vec<String> = (1..=receivers).map(|n| format!("server-{n}")).collect();
    let mut env = job(case);
    env.extend(["MODIFIER=broadcast".to_owned(), format!("RECEIVERS={}", names.join(","))]);
    let caller = Runtime::start(&socket, &["--controller", "--name", "caller"], "bench-caller-dynamic", &env)?;
    let server = |name: &String| Runtime::start(&socket, &["--name", name], "bench-server", &[]);
    let servers = names.iter().map(server).collect::<anyhow::Result<Vec<_>>>()?;
    timed(caller, &servers)
}

/// Measures frames to so many bare servers.
pub fn bare(case: &Case, receivers: usize, folder: &Path) -> anyhow::Result<Sample> {
    let sockets: Vec<_> = (1..=receivers).map(|n| folder.join(format!("fan-{n}.sock"))).collect();
    let start = |socket: &PathBuf| start(&Place::Unix(socket.clone()));
    let mut servers = sockets.iter().map(start).collect::<anyhow::Result<Vec<Child>>>()?;
    let pids: Vec<u32> = servers.iter().map(Child::id).chain([std::process::id()]).collect();
    let sample = tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let mut streams = Vec::new();
        for socket in &sockets {
            streams.push(connect(socket).await?);
        }
        drive(&mut streams, case, &pids).await
    });
    for (server, socket) in servers.iter_mut().zip(&sockets) {
        server.kill().ok();
        server.wait()?;
        // The next round listens at the same path.
        std::fs::remove_file(socket)?;
    }
    Ok(sample?)
}

async fn drive(streams: &mut [UnixStream], case: &Case, pids: &[u32]) -> Result<Sample> {
    let mut frame = BytesMut::new();
    put_frame(&mut frame, &vec![7; case.payload_bytes]);
    let mut input = BytesMut::new();
    let mut run = async |calls: u64| -> Result<Vec<u64>> {
        let mut latencies = Vec::new();
        for _ in 0..calls {
            let sent = Instant::now();
            for stream in &mut *streams {
                stream.write_all(&frame).await?;
            }
            for stream in &mut *streams {
                while next_frame(&mut input).is_none() {
                    if read_some(stream, &mut input).await? == 0 {
                        return Err(ErrorKind::UnexpectedEof.into());
                    }
                }
            }
            latencies.push(u64::try_from(sent.elapsed().as_nanos()).unwrap_or(u64::MAX));
        }
        Ok(latencies)
    };
    run(case.warm_up_calls()).await?;
    let before = cpu_of(pids);
    let started = Instant::now();
    let latencies = run(case.calls).await?;
    Ok(Sample::new(latencies, started.elapsed(), cpu_of(pids).saturating_sub(before)))
}
