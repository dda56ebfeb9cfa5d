//! STREAM: a guest writes to a call that is under way and another reads, in runtimes of their own; beside a bare tokio stream
//! of the same bytes over the same kind of socket. And what a stream, or large calls, cost the small calls that share their link.

use std::io::{ErrorKind, Result};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::bail;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

use crate::echo::start_as;
use crate::guests::{Runtime, component, job, timed};
use crate::report::{Case, Cpu, How, Sample, micros};
use crate::socket::connect;
use crate::{ROUNDS, SUM_BYTES, typed};

/// Set to a socket's path, it turns this binary into the reader of bare streams.
pub const READER_ENV: &str = "DAFFI_BENCH_READER";

/// Bytes of one write of a bare stream, as of one of the guest; it is read by as many as are there, up to four of them.
const WRITE_BYTES: usize = 64 * 1024;

/// Of each flow. More than of other rows: a stream's bytes go through memory that the kernel takes for each of them, and where a
/// hypervisor gives a page only when it is touched, one run in a few is several times as slow, bare or not.
const STREAM_ROUNDS: usize = 9;

/// What flows.
struct Flow {
    /// As WIT has it, and the writer's guest.
    of: &'static str,
    item_bytes: u64,
    items: u64,
}

const FLOWS: [Flow; 2] =
    [Flow { of: "u32", item_bytes: 4, items: 4 << 20 }, Flow { of: "u8", item_bytes: 1, items: 512 << 20 }];

impl Flow {
    /// Items of a stream before the clock starts.
    fn warm_up(&self) -> u64 {
        self.items / 10
    }
}

/// Measures all of it, and shows it. The rows as JSON.
pub fn rows(folder: &Path) -> anyhow::Result<Vec<Value>> {
    println!("\nstreams, guest to guest, one way; ratios to a bare tokio stream of the same bytes of the same run\n");
    let mut rows = Vec::new();
    for flow in &FLOWS {
        let (mut bares, mut daffis, mut typed) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..STREAM_ROUNDS {
            eprintln!("measuring stream<{}>", flow.of);
            bares.push(bare(flow, folder)?);
            daffis.push(measure(flow, folder)?);
            if flow.of == "u8" {
                typed.push(typed::flow::measure(flow.items, flow.warm_up(), folder)?);
            }
        }
        rows.push(show(flow, bares, daffis, typed));
    }
    for load in [Load::Stream, Load::Calls] {
        rows.push(beside(load, folder)?);
    }
    Ok(rows)
}

/// The medians as a line and as JSON, and that of guests bound by `bindgen!`, where there is one. A sample's one call is the whole
/// stream.
fn show(flow: &Flow, mut bares: Vec<Sample>, mut daffis: Vec<Sample>, mut typed: Vec<Sample>) -> Value {
    for samples in [&mut bares, &mut daffis, &mut typed] {
        samples.sort_by_key(|sample| sample.p50);
    }
    let median = |samples: &[Sample]| samples[samples.len() / 2];
    let (bare, daffi) = (&median(&bares), &median(&daffis));
    let items = |sample: &Sample| flow.items as f64 * sample.calls_per_second;
    let mib = (flow.items * flow.item_bytes) as f64 / f64::from(1 << 20);
    let cpu_per_mib = |sample: &Sample| micros(sample.cpu_per_call.all()) / mib;
    let ratio = daffi.calls_per_second / bare.calls_per_second;
    println!(
        "{:<12} | {:>13.0} items/s | MiB/s bare {:>8.1}, {:>8.1}, ratio {:>5.3}x | cpu a MiB bare {:>8.1}us, {:>8.1}us",
        format!("stream<{}>", flow.of),
        items(daffi),
        mib * bare.calls_per_second,
        mib * daffi.calls_per_second,
        ratio,
        cpu_per_mib(bare),
        cpu_per_mib(daffi),
    );
    let json_of = |samples: &[Sample]| {
        let sample = &median(samples);
        let rates: Vec<f64> = samples.iter().map(|sample| mib * sample.calls_per_second).collect();
        json!({
            "items_per_second": items(sample), "mib_per_second": mib * sample.calls_per_second,
            "cpu_per_mib_us": cpu_per_mib(sample), "mib_per_second_of_all": rates,
        })
    };
    if !typed.is_empty() {
        let typed = &median(&typed);
        println!(
            "{:<12} | {:>23} | MiB/s typed {:>7.1}, ratio to bare {:>5.3}x, ours to it {:>5.3}x | cpu a MiB {:>8.1}us",
            "  typed",
            "",
            mib * typed.calls_per_second,
            typed.calls_per_second / bare.calls_per_second,
            daffi.calls_per_second / typed.calls_per_second,
            cpu_per_mib(typed),
        );
    }
    json!({
        "typed": (!typed.is_empty()).then(|| json_of(&typed)),
        "row": format!("stream<{}>", flow.of), "op": "stream", "item_bytes": flow.item_bytes, "items": flow.items,
        "bare": json_of(&bares), "daffi": json_of(&daffis), "mib_per_second_ratio": ratio,
    })
}

/// Measures a stream from a caller to its callee.
fn measure(flow: &Flow, folder: &Path) -> anyhow::Result<Sample> {
    let socket = folder.join("mesh.sock");
    let reader = Runtime::start(&socket, &["--controller", "--name", "reader"], "bench-stream-reader", &[])?;
    let env = [format!("OF={}", flow.of), format!("ITEMS={}", flow.items), format!("WARM_UP={}", flow.warm_up())];
    let writer = Runtime::start(&socket, &["--name", "writer"], "bench-stream-writer", &env)?;
    timed(writer, &[reader])
}

/// What shares the link with small calls.
#[derive(Clone, Copy)]
enum Load {
    /// A stream of bytes, the way that their answers go.
    Stream,
    /// Calls that send 8 MiB and get them back, one at a time, from another process of the caller's runtime.
    Calls,
}

/// Bytes of a large call.
const LARGE_BYTES: usize = 8 << 20;

impl Load {
    fn label(self) -> &'static str {
        match self {
            Self::Stream => "stream<u8>",
            Self::Calls => "calls of 8 MiB",
        }
    }
}

/// Small calls alone, and beside what shares their link.
fn beside(load: Load, folder: &Path) -> anyhow::Result<Value> {
    let mut samples = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        for (load, samples) in [None, Some(load)].into_iter().zip(&mut samples) {
            eprintln!("measuring sum with 1 in flight beside {}", load.map_or("nothing", Load::label));
            samples.push(match load {
                Some(Load::Calls) => beside_calls(folder)?,
                load => calls(load.is_some(), folder)?,
            });
        }
    }
    for samples in &mut samples {
        samples.sort_by_key(|sample| sample.p50);
    }
    let [alone, beside] = samples.each_ref().map(|samples| &samples[samples.len() / 2]);
    println!(
        "sum, 1 in flight: p50 {:.1}us p99 {:.1}us alone, p50 {:.1}us p99 {:.1}us beside {} over the same link",
        micros(alone.p50),
        micros(alone.p99),
        micros(beside.p50),
        micros(beside.p99),
        load.label(),
    );
    let json_of = |sample: &Sample| json!({ "p50_us": micros(sample.p50), "p99_us": micros(sample.p99) });
    Ok(json!({
        "row": format!("sum beside {}", load.label()), "op": "sum", "in_flight": 1, "calls": CASE.calls,
        "alone": json_of(alone), "beside": json_of(beside),
    }))
}

const CASE: Case = Case { how: How::Direct, op: "sum", payload_bytes: SUM_BYTES, in_flight: 1, calls: 20_000 };

/// The same job with a warm-up that is long enough for what runs beside it to begin in it.
fn late_job() -> Vec<String> {
    let mut env = job(&CASE);
    env.retain(|pair| !pair.starts_with("WARM_UP="));
    env.push(format!("WARM_UP={}", CASE.calls));
    env
}

/// Calls while another process of their runtime makes large ones.
fn beside_calls(folder: &Path) -> anyhow::Result<Sample> {
    let socket = folder.join("mesh.sock");
    let server = Runtime::start(&socket, &["--controller", "--name", "server"], "bench-server", &[])?;
    // It says nothing: it never gets beyond its warm-up.
    let case = Case { op: "echo", payload_bytes: LARGE_BYTES, calls: 1, ..CASE };
    let mut large_job = job(&case);
    large_job.retain(|pair| !pair.starts_with("WARM_UP="));
    large_job.push(format!("WARM_UP={}", 1_u64 << 40));
    let module = |name: &str, env: Vec<String>| {
        let env: toml::Table = env
            .iter()
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.into()))
            .collect();
        Ok::<_, anyhow::Error>(toml::Table::from_iter([
            ("path".to_owned(), component("bench-caller")?.into()),
            ("name".to_owned(), name.into()),
            ("env".to_owned(), env.into()),
        ]))
    };
    let modules = vec![module("caller", late_job())?, module("large", large_job)?];
    let config = folder.join("beside.toml");
    std::fs::write(&config, toml::to_string(&toml::Table::from_iter([("module".to_owned(), modules.into())]))?)?;
    let caller = Runtime::with(&socket, &["--config", &config.display().to_string()])?;
    timed(caller, std::slice::from_ref(&server))
}

/// Calls while a stream flows their answers' way, or none does.
fn calls(streams: bool, folder: &Path) -> anyhow::Result<Sample> {
    let socket = folder.join("mesh.sock");
    let (reader, writer) = (component("bench-stream-reader")?, component("bench-stream-writer")?);
    // A stream that outlasts the calls.
    let env = ["OF=u8".to_owned(), format!("ITEMS={}", 1_u64 << 40), format!("WARM_UP={}", 1 << 20)];
    let (mut server_args, mut caller_args) = (vec!["--controller", "--name", "server"], vec!["--name", "caller"]);
    if streams {
        server_args.extend(["--module", &writer]);
        caller_args.extend(["--module", &reader]);
    }
    let mut server = Runtime::start(&socket, &server_args, "bench-server", &env)?;
    let said = server.lines()?;
    let began = std::thread::spawn(move || said.take(1).flatten().any(|line| line == "warm").then(Instant::now));
    let caller = Runtime::start(&socket, &caller_args, "bench-caller", &late_job())?;
    let sample = timed(caller, std::slice::from_ref(&server))?;
    let first_call = Instant::now() - Duration::from_secs_f64(CASE.calls as f64 / sample.calls_per_second);
    drop(server);
    match began.join() {
        Ok(began) if streams == began.is_some_and(|began| began < first_call) => Ok(sample),
        _ => bail!("the stream did not begin before the calls"),
    }
}

/// Reads bare streams: their lengths come before them, and go back when they have been read.
pub fn read(socket: &Path) -> Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let (mut stream, _) = UnixListener::bind(socket)?.accept().await?;
        let mut input = vec![0; 4 * WRITE_BYTES];
        while let Ok(length) = stream.read_u64_le().await {
            let mut left = length;
            while left > 0 {
                match stream.read(&mut input).await? as u64 {
                    0 => return Err(ErrorKind::UnexpectedEof.into()),
                    read => left = left.saturating_sub(read),
                }
            }
            stream.write_u64_le(length).await?;
        }
        Ok(())
    })
}

/// Measures a bare stream of as many bytes.
fn bare(flow: &Flow, folder: &Path) -> Result<Sample> {
    let socket = folder.join("stream.sock");
    let mut reader = start_as(READER_ENV, &socket)?;
    let others = [reader.id()];
    let cpu = || Cpu::of(std::process::id(), &others);
    let sample = tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let mut stream = connect(&socket).await?;
        write(&mut stream, flow.warm_up() * flow.item_bytes).await?;
        let before = cpu();
        let started = Instant::now();
        write(&mut stream, flow.items * flow.item_bytes).await?;
        let total = started.elapsed();
        Ok(Sample::new(vec![total.as_nanos() as u64], total, (before, cpu())))
    });
    reader.kill().ok();
    reader.wait()?;
    // The next round listens at the same path.
    std::fs::remove_file(&socket)?;
    sample
}

async fn write(stream: &mut UnixStream, bytes: u64) -> Result<()> {
    let output = vec![7; WRITE_BYTES];
    stream.write_u64_le(bytes).await?;
    let mut left = bytes as usize;
    while left > 0 {
        let part = left.min(WRITE_BYTES);
        stream.write_all(&output[..part]).await?;
        left -= part;
    }
    match stream.read_u64_le().await? == bytes {
        true => Ok(()),
        false => Err(ErrorKind::InvalidData.into()),
    }
}
