//! `make bench`: calls between two sandboxed guests, in two processes or in one, beside the bare limit of the same socket.
//!
//! Each row is measured in alternation (bare, guests, bare, guests, …) and shows the median pair, so that a machine
//! that slows down slows both.
//!
//! | module | measures |
//! |---|---|
//! | [`guests`] | typed calls, one at a time or many (`async func`), between two processes |
//! | [`background`] | BG: 1,000 calls on the way, begun by name from a guest without async |
//! | [`broadcast`] | BROADCAST to 2, 8 and 32 processes, beside one frame to as many bare echoes |
//! | [`streams`] | STREAM of numbers and of bytes, beside a bare tokio stream of the same bytes; small calls beside one |
//! | [`neighbours`] | calls of a quiet tenant beside noisy ones in the same runtime, and alone |
//! | [`drift`] | how far scheduled callbacks run from their plan |
//! | [`start`] | how long runtimes take to start, and what they use while they wait |
//! | [`echo`] | the bare limit of all others |
//! | [`report`] | (the rows, and the table of them) |

#![expect(clippy::indexing_slicing, reason = "a benchmark may stop at what it did not expect")]

mod background;
mod broadcast;
mod drift;
mod echo;
mod guests;
mod neighbours;
mod report;
mod start;
mod streams;

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use report::{Case, How, Report, Sample};

/// How often each row is measured; the median pair is shown.
const ROUNDS: usize = 3;

/// The number of a bare frame, by which its answer is told: the two small s64 of a sum take less.
const SUM_BYTES: usize = 8;

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (how, in_flight) in [(How::Direct, 1), (How::Direct, 64), (How::Relayed, 1), (How::Relayed, 64)] {
        let calls = |one: u64, many: u64| if in_flight == 1 { one } else { many };
        cases.push(Case { how, op: "sum", payload_bytes: SUM_BYTES, in_flight, calls: calls(20_000, 100_000) });
        cases.push(Case { how, op: "echo", payload_bytes: 1 << 10, in_flight, calls: calls(20_000, 60_000) });
        cases.push(Case { how, op: "echo", payload_bytes: 1 << 20, in_flight, calls: calls(300, 600) });
    }
    for (in_flight, calls) in [(1, 100_000), (64, 200_000)] {
        cases.push(Case { how: How::Local, op: "sum", payload_bytes: SUM_BYTES, in_flight, calls });
    }
    cases.push(Case { how: How::Local, op: "echo", payload_bytes: 1 << 20, in_flight: 1, calls: 1_000 });
    cases.push(Case { how: How::Background, op: "sum", payload_bytes: SUM_BYTES, in_flight: 1000, calls: 100_000 });
    for (receivers, calls) in [(2, 10_000), (8, 4_000), (32, 1_000)] {
        let how = How::Broadcast(receivers);
        cases.push(Case { how, op: "sum", payload_bytes: SUM_BYTES, in_flight: 1, calls });
    }
    cases
}

/// The bare limit, and what the guests reach.
fn measure(case: &Case, folder: &Path) -> anyhow::Result<(Sample, Sample)> {
    Ok(match case.how {
        How::Direct => (echo::measure(case, folder)?, guests::measure(case, folder, "unix")?),
        How::Relayed => (echo::measure_relayed(case, folder)?, guests::measure(case, folder, "off")?),
        How::Local => (echo::measure(case, folder)?, guests::measure_local(case, folder)?),
        How::Background => (echo::measure(case, folder)?, background::measure(case, folder)?),
        How::Broadcast(receivers) => {
            (broadcast::bare(case, receivers, folder)?, broadcast::measure(case, receivers, folder)?)
        }
    })
}

fn main() -> anyhow::Result<()> {
    if let Some(socket) = std::env::var_os(echo::SERVER_ENV) {
        return Ok(echo::serve(&PathBuf::from(socket))?);
    }
    if let Some(socket) = std::env::var_os(echo::RELAY_ENV) {
        return Ok(echo::relay(&PathBuf::from(socket))?);
    }
    if let Some(socket) = std::env::var_os(streams::READER_ENV) {
        return Ok(streams::read(&PathBuf::from(socket))?);
    }
    // The folder of a default socket must be private.
    let folder = tempfile::Builder::new().permissions(Permissions::from_mode(0o700)).tempdir()?;
    let mut report = Report::default();
    // `cargo bench … -- BG 'at 8' stream` measures the rows that say so. Cargo itself passes a flag.
    let wanted: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let is_wanted = |label: &str| wanted.is_empty() || wanted.iter().any(|part| label.contains(part.as_str()));
    for case in cases().into_iter().filter(|case| is_wanted(&case.label())) {
        let mut pairs = Vec::new();
        for _ in 0..ROUNDS {
            eprintln!("measuring {} with {} in flight", case.label(), case.in_flight);
            pairs.push(measure(&case, folder.path())?);
        }
        report.add(&case, pairs);
    }
    if !report.text().is_empty() {
        println!(
            "\nguest to guest over unix sockets, directly or through the controller, or local; ratios to a bare tokio echo of the same \
             run, relayed where the guests' calls are\n"
        );
        print!("{}", report.text());
    }
    let mut others = Vec::new();
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
    Ok(())
}
