//! BROADCAST: one call to several processes, each in a runtime of its own; and the bare limit of it: a frame to as many
//! bare servers, whose echoes are all waited for.
//!
//! | | the runtimes | bare |
//! |---|---|---|
//! | direct | the caller's is the controller, and has a link to each other | the caller has a socket to each server |
//! | relayed | the controller is in one of its own, and all goes through it | a process between them writes each frame to all servers, and their echoes back by one write |

use std::io::{ErrorKind, Result};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Instant;

use bytes::BytesMut;
use tokio::io::AsyncWriteExt;
use tokio::net::{UnixListener, UnixStream};

use crate::echo::{block_on, next_frame, put_frame, read_some, start, start_as};
use crate::guests::{Runtime, job, timed};
use crate::report::{Case, Cpu, Sample};
use crate::socket::{Place, connect};

/// Set to its own socket and those of the servers, it turns this binary into what stands between a caller and them.
pub const RELAY_ENV: &str = "DAFFI_BENCH_FAN";

/// Measures `case` with a caller and so many receivers.
pub fn measure(case: &Case, receivers: usize, folder: &Path) -> anyhow::Result<Sample> {
    let socket = folder.join("mesh.sock");
    let caller = caller(&socket, &["--controller"], case, receivers)?;
    timed(caller, &servers(&socket, &[], receivers)?)
}

/// The same through a controller of its own.
pub fn measure_relayed(case: &Case, receivers: usize, folder: &Path) -> anyhow::Result<Sample> {
    let socket = folder.join("mesh.sock");
    let controller = Runtime::with(&socket, &["--controller", "--no-node"])?;
    let caller = caller(&socket, &["--direct", "off"], case, receivers)?;
    let mut others = servers(&socket, &["--direct", "off"], receivers)?;
    others.push(controller);
    timed(caller, &others)
}

fn name(number: usize) -> String {
    format!("server-{number}")
}

fn caller(socket: &Path, args: &[&str], case: &Case, receivers: usize) -> anyhow::Result<Runtime> {
    let names: Vec<String> = (1..=receivers).map(name).collect();
    let mut env = job(case);
    env.extend(["MODIFIER=broadcast".to_owned(), format!("RECEIVERS={}", names.join(","))]);
    Runtime::start(socket, &[args, &["--name", "caller"]].concat(), "bench-caller-dynamic", &env)
}

fn servers(socket: &Path, args: &[&str], receivers: usize) -> anyhow::Result<Vec<Runtime>> {
    let server = |number| Runtime::start(socket, &[args, &["--name", &name(number)]].concat(), "bench-server", &[]);
    (1..=receivers).map(server).collect()
}

/// Measures frames to so many bare servers.
pub fn bare(case: &Case, receivers: usize, folder: &Path) -> anyhow::Result<Sample> {
    let fan = Fan::start(receivers, folder)?;
    let pids = fan.pids();
    block_on(async { Ok(drive(&mut connect_all(&fan.sockets).await?, 1, case, &pids).await?) })
}

/// The same through a process between them.
pub fn bare_relayed(case: &Case, receivers: usize, folder: &Path) -> anyhow::Result<Sample> {
    let mut fan = Fan::start(receivers, folder)?;
    let relay = folder.join("fan.sock");
    let places = serde_json::to_string(&(&relay, &fan.sockets))?;
    fan.children.push(start_as(RELAY_ENV, places)?);
    fan.sockets.push(relay.clone());
    let pids = fan.pids();
    block_on(async { Ok(drive(&mut [connect(&relay).await?], receivers, case, &pids).await?) })
}

/// Stands between one caller and those servers, until the caller goes.
pub fn relay(places: &str) -> anyhow::Result<()> {
    let (own, servers): (PathBuf, Vec<PathBuf>) = serde_json::from_str(places)?;
    block_on(async {
        let mut servers = connect_all(&servers).await?;
        let (mut caller, _) = UnixListener::bind(own)?.accept().await?;
        let (mut input, mut echoes, mut output) = (BytesMut::new(), BytesMut::new(), BytesMut::new());
        let mut request = BytesMut::new();
        while read_some(&mut caller, &mut input).await? > 0 {
            while let Some(frame) = next_frame(&mut input) {
                request.clear();
                put_frame(&mut request, &frame);
                for server in &mut servers {
                    server.write_all(&request).await?;
                }
                for server in &mut servers {
                    put_frame(&mut output, &next_of(server, &mut echoes).await?);
                }
                caller.write_all(&output).await?;
                output.clear();
            }
        }
        Ok(())
    })
}

/// Processes of a bare row, and where they listen. They end with it.
struct Fan {
    children: Vec<Child>,
    sockets: Vec<PathBuf>,
}

impl Fan {
    fn start(receivers: usize, folder: &Path) -> anyhow::Result<Self> {
        let sockets: Vec<_> = (1..=receivers).map(|n| folder.join(format!("fan-{n}.sock"))).collect();
        let mut fan = Self { children: Vec::new(), sockets };
        for socket in &fan.sockets {
            fan.children.push(start(&Place::Unix(socket.clone()))?);
        }
        Ok(fan)
    }

    fn pids(&self) -> Vec<u32> {
        self.children.iter().map(Child::id).collect()
    }
}

impl Drop for Fan {
    fn drop(&mut self) {
        for child in &mut self.children {
            child.kill().ok();
            child.wait().ok();
        }
        // The next round listens at the same paths.
        for socket in &self.sockets {
            std::fs::remove_file(socket).ok();
        }
    }
}

async fn connect_all(sockets: &[PathBuf]) -> Result<Vec<UnixStream>> {
    let mut streams = Vec::new();
    for socket in sockets {
        streams.push(connect(socket).await?);
    }
    Ok(streams)
}

/// The next whole frame, of which a part may have been read.
async fn next_of(stream: &mut UnixStream, input: &mut BytesMut) -> Result<BytesMut> {
    loop {
        if let Some(frame) = next_frame(input) {
            return Ok(frame);
        }
        if read_some(stream, input).await? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
    }
}

/// Writes a frame to each stream, and reads so many of each.
async fn drive(streams: &mut [UnixStream], echoes: usize, case: &Case, others: &[u32]) -> Result<Sample> {
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
                for _ in 0..echoes {
                    next_of(stream, &mut input).await?;
                }
            }
            latencies.push(u64::try_from(sent.elapsed().as_nanos()).unwrap_or(u64::MAX));
        }
        Ok(latencies)
    };
    run(case.warm_up_calls()).await?;
    let cpu = || Cpu::of(std::process::id(), others);
    let before = cpu();
    let started = Instant::now();
    let latencies = run(case.calls).await?;
    Ok(Sample::new(latencies, started.elapsed(), (before, cpu())))
}
