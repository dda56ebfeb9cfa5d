//! `make bench`: calls between two sandboxed guests in two processes, beside the bare limit of the same socket.
//!
//! Each row is measured in alternation (bare, guests, bare, guests, …) and shows the median pair, so that a machine
//! that slows down slows both. The guests are `bench-server` and `bench-caller` (one call at a time) or
//! `bench-caller-async` (many in flight, `async func` imports); the controller lives in the server's runtime. How far
//! scheduled callbacks run from their plan comes last.

#![expect(clippy::indexing_slicing, reason = "a benchmark may stop at what it did not expect")]

mod drift;
mod echo;
mod guests;
mod report;

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use report::{Case, Report};

/// How often each row is measured; the median pair is shown.
const ROUNDS: usize = 3;

fn cases() -> Vec<Case> {
    // The number of a bare frame, by which its answer is told: the two small s64 of a sum take less.
    let sum_bytes = 8;
    let mut cases = Vec::new();
    for in_flight in [1, 64] {
        let calls = |one: u64, many: u64| if in_flight == 1 { one } else { many };
        cases.push(Case { op: "sum", payload_bytes: sum_bytes, in_flight, calls: calls(20_000, 100_000) });
        cases.push(Case { op: "echo", payload_bytes: 1 << 10, in_flight, calls: calls(20_000, 60_000) });
        cases.push(Case { op: "echo", payload_bytes: 1 << 20, in_flight, calls: calls(300, 600) });
    }
    cases
}

fn main() -> anyhow::Result<()> {
    if let Some(socket) = std::env::var_os(echo::SERVER_ENV) {
        return Ok(echo::serve(&PathBuf::from(socket))?);
    }
    // The folder of a default socket must be private.
    let folder = tempfile::Builder::new().permissions(Permissions::from_mode(0o700)).tempdir()?;
    // `cargo bench --bench mesh -- schedule`: only these rows.
    if std::env::args().any(|arg| arg == "schedule") {
        return drift::rows(folder.path()).map(drop);
    }
    let mut report = Report::default();
    for case in cases() {
        let mut pairs = Vec::new();
        for _ in 0..ROUNDS {
            eprintln!("measuring {} with {} in flight", case.label(), case.in_flight);
            pairs.push((echo::measure(&case, folder.path())?, guests::measure(&case, folder.path())?));
        }
        report.add(&case, pairs);
    }
    println!("\nguest to guest, two processes, unix socket; ratios to a bare tokio echo of the same run\n");
    print!("{}", report.text());
    let drift = drift::rows(folder.path())?;
    if let Some(path) = std::env::var_os("DAFFI_BENCH_JSON") {
        let mut rows = report.json();
        if let Some(rows) = rows.as_array_mut() {
            rows.extend(drift);
        }
        std::fs::write(path, serde_json::to_string_pretty(&rows)?)?;
    }
    Ok(())
}
