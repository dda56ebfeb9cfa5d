//! `make bench`: calls between two sandboxed guests, in two processes or in one, beside the bare limit of the same socket.
//!
//! Each row is measured in alternation (bare, guests, bare, guests, …) and shows the median pair, so that a machine
//! that slows down slows both.
//!
//! | module | measures |
//! |---|---|
//! | [`guests`] | typed calls, one at a time or many (`async func`): local, over direct links, through controllers; unix, TCP, TLS |
//! | [`background`] | BG: 1,000 calls on the way, begun by name from a guest without async |
//! | [`broadcast`] | BROADCAST to 2, 8 and 32 processes, beside one frame to as many bare echoes; direct, and relayed |
//! | [`beside`] | a record of ten fields, a list of a thousand, sums one at a time and many, beside [`typed`]: the same with all types known beforehand |
//! | [`fresh`] | what a fresh instance for each call costs |
//! | [`allocations`] | how often the host asks for memory, a call |
//! | [`streams`] | STREAM of numbers and of bytes, beside a bare tokio stream of the same bytes; small calls beside one |
//! | [`neighbours`] | calls of a quiet tenant beside noisy ones in the same runtime, and alone |
//! | [`drift`] | how far scheduled callbacks run from their plan |
//! | [`start`] | how long runtimes take to start, and what they use while they wait |
//! | [`echo`], over a [`socket`] | the bare limit of all others |
//! | [`report`] | (the rows, and the table of them) |

#![expect(clippy::indexing_slicing, reason = "a benchmark may stop at what it did not expect")]

mod allocations;
mod background;
mod beside;
mod broadcast;
mod drift;
mod echo;
mod fresh;
mod guests;
mod neighbours;
mod report;
mod socket;
mod start;
mod streams;
mod typed;

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::ExitCode;

use guests::Setup;
use report::{Case, How, Report, Sample};
use socket::Scheme;

/// How often each row is measured; the median pair is shown.
const ROUNDS: usize = 3;

/// The number of a bare frame, by which its answer is told: the two small s64 of a sum take less.
const SUM_BYTES: usize = 8;

/// An operation, its bytes, how many in flight, and calls of one run: some two seconds of them at most.
type Load = (&'static str, usize, usize, u64);

const DIRECT: [Load; 11] = [
    ("sum", SUM_BYTES, 1, 20_000),
    ("sum", SUM_BYTES, 8, 40_000),
    ("sum", SUM_BYTES, 32, 60_000),
    ("sum", SUM_BYTES, 64, 100_000),
    ("sum", SUM_BYTES, 256, 100_000),
    ("echo", 1 << 10, 1, 20_000),
    ("echo", 1 << 10, 64, 60_000),
    ("echo", 64 << 10, 1, 5_000),
    ("echo", 64 << 10, 64, 10_000),
    ("echo", 1 << 20, 1, 300),
    ("echo", 1 << 20, 64, 600),
];

const LOCAL: [Load; 4] = [
    ("sum", SUM_BYTES, 1, 100_000),
    ("sum", SUM_BYTES, 64, 100_000),
    ("echo", 64 << 10, 1, 10_000),
    ("echo", 1 << 20, 1, 1_000),
];

const NETWORK: [Load; 4] = [
    ("sum", SUM_BYTES, 1, 10_000),
    ("sum", SUM_BYTES, 64, 60_000),
    ("echo", 64 << 10, 1, 3_000),
    ("echo", 1 << 20, 1, 200),
];

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |how: How, loads: &[Load]| {
        let case = |&(op, payload_bytes, in_flight, calls): &Load| Case { how, op, payload_bytes, in_flight, calls };
        cases.extend(loads.iter().map(case));
    };
    add(How::Direct, &DIRECT);
    add(How::DirectTcp, &NETWORK);
    add(How::DirectTls, &NETWORK);
    add(How::Relayed, &DIRECT);
    add(How::Apart(Scheme::Unix), &NETWORK[..2]);
    add(How::Apart(Scheme::Tcp), &NETWORK);
    add(How::Apart(Scheme::Tls), &NETWORK);
    add(How::Local, &LOCAL);
    add(How::Background, &[("sum", SUM_BYTES, 1000, 100_000)]);
    const BROADCASTS: [(usize, u64); 3] = [(2, 10_000), (8, 4_000), (32, 1_000)];
    for how in [How::Broadcast, How::BroadcastRelayed] {
        for (receivers, calls) in BROADCASTS {
            add(how(receivers), &[("sum", SUM_BYTES, 1, calls)]);
        }
    }
    cases
}

/// The bare limit, and what the guests reach.
fn measure(case: &Case, folder: &Path) -> anyhow::Result<(Sample, Sample)> {
    let direct = |scheme| echo::measure(case, folder, scheme);
    let relayed = |scheme| echo::measure_relayed(case, folder, scheme);
    let guests = Setup::new(case, folder);
    Ok(match case.how {
        How::Direct => (direct(Scheme::Unix)?, guests.two("unix")?.timed()?),
        How::DirectTcp => (direct(Scheme::Tcp)?, guests.two("tcp://127.0.0.1:0")?.timed()?),
        How::DirectTls => (direct(Scheme::Tls)?, guests.apart(Scheme::Tls, "tls://127.0.0.1:0")?.timed()?),
        How::Relayed => (relayed(Scheme::Unix)?, guests.two("off")?.timed()?),
        How::Apart(scheme) => (relayed(scheme)?, guests.apart(scheme, "off")?.timed()?),
        How::Local => (direct(Scheme::Unix)?, guests.local()?.timed()?),
        How::Background => (direct(Scheme::Unix)?, background::measure(case, folder)?),
        How::Broadcast(receivers) => {
            (broadcast::bare(case, receivers, folder)?, broadcast::measure(case, receivers, folder)?)
        }
        How::BroadcastRelayed(receivers) => {
            (broadcast::bare_relayed(case, receivers, folder)?, broadcast::measure_relayed(case, receivers, folder)?)
        }
    })
}

/// What a process is started as, with what it is told.
type Part = fn(&str) -> anyhow::Result<()>;

/// What this process was started as, when it plays a part in a row.
fn part() -> Option<anyhow::Result<ExitCode>> {
    if std::env::var_os(allocations::RUNTIME_ENV).is_some() {
        return Some(Ok(allocations::run_counted()));
    }
    let parts: [(&str, Part); 8] = [
        (echo::SERVER_ENV, echo::serve),
        (echo::RELAY_ENV, echo::relay),
        (broadcast::RELAY_ENV, broadcast::relay),
        (streams::READER_ENV, |socket| Ok(streams::read(Path::new(socket))?)),
        (typed::SERVER_ENV, typed::serve),
        (typed::CALLER_ENV, typed::call),
        (typed::flow::READER_ENV, typed::flow::read),
        (typed::flow::WRITER_ENV, typed::flow::write),
    ];
    let (part, told) = parts.iter().find_map(|(variable, part)| Some((part, std::env::var(variable).ok()?)))?;
    Some(part(&told).map(|()| ExitCode::SUCCESS))
}

fn main() -> anyhow::Result<ExitCode> {
    if let Some(done) = part() {
        return done;
    }
    // The folder of a default socket must be private.
    let folder = tempfile::Builder::new().permissions(Permissions::from_mode(0o700)).tempdir()?;
    let mut report = Report::default();
    // `cargo bench … -- BG 'at 8' stream` measures the rows that say so, by themselves or for their group. Cargo itself passes a flag.
    let wanted: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let is_wanted = |label: &str| wanted.is_empty() || wanted.iter().any(|part| label.contains(part.as_str()));
    let is_row_wanted = |case: &Case| is_wanted(&format!("{}, {}", case.label(), case.how.group()));
    for case in cases().into_iter().filter(is_row_wanted) {
        let mut pairs = Vec::new();
        for _ in 0..ROUNDS {
            eprintln!("measuring {} with {} in flight", case.label(), case.in_flight);
            pairs.push(measure(&case, folder.path())?);
        }
        report.add(&case, pairs);
    }
    if !report.text().is_empty() {
        println!(
            "\nguest to guest, over unix sockets where nothing else is said; ratios to a bare tokio echo over the same kind of socket of the \
             same run, relayed where the guests' calls are\n"
        );
        print!("{}", report.text());
    }
    let mut others = Vec::new();
    if is_wanted("typed records") {
        others.extend(beside::rows(folder.path())?);
    }
    if is_wanted("fresh") {
        others.extend(fresh::rows(folder.path())?);
    }
    if is_wanted("allocations") {
        others.extend(allocations::rows(folder.path())?);
    }
    if is_wanted("stream") {
        others.extend(streams::rows(folder.path())?);
    }
    if is_wanted("neighbours") {
        others.extend(neighbours::rows(folder.path())?);
    }
    if is_wanted("schedule") {
        others.extend(drift::rows(folder.path())?);
    }
    others.extend(start::rows(folder.path(), is_wanted)?);
    if let Some(path) = std::env::var_os("DAFFI_BENCH_JSON") {
        let mut rows = report.json();
        if let Some(rows) = rows.as_array_mut() {
            rows.extend(others);
        }
        std::fs::write(path, serde_json::to_string_pretty(&rows)?)?;
    }
    Ok(ExitCode::SUCCESS)
}
