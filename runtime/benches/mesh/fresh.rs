//! What an instance for each call costs: the same calls of `sum` served by fresh instances and by one that is kept, in
//! alternation.

use std::path::Path;

use serde_json::{Value, json};

use crate::guests::Setup;
use crate::report::{Case, How, Sample, micros, sample_json};
use crate::{ROUNDS, SUM_BYTES};

/// Calls of one run.
const CALLS: u64 = 5_000;

/// Measures both ways, and shows it. The rows as JSON.
pub fn rows(folder: &Path) -> anyhow::Result<Vec<Value>> {
    println!("\nsum, 1 in flight, served by a fresh instance each (--instances per-call) and by one that is kept\n");
    let mut rows = Vec::new();
    for how in [How::Local, How::Direct] {
        let case = Case { how, op: "sum", payload_bytes: SUM_BYTES, in_flight: 1, calls: CALLS };
        let mut pairs = Vec::new();
        for _ in 0..ROUNDS {
            eprintln!("measuring {} by fresh instances", case.label());
            pairs.push((measure(&case, folder, "singleton")?, measure(&case, folder, "per-call")?));
        }
        rows.push(show(&case, pairs));
    }
    Ok(rows)
}

fn measure(case: &Case, folder: &Path, instances: &str) -> anyhow::Result<Sample> {
    let flags = ["--instances", instances];
    let setup = Setup { flags: &flags, ..Setup::new(case, folder) };
    if case.how == How::Local { setup.local()?.timed() } else { setup.two("unix")?.timed() }
}

/// The median of the pairs, as a line and as JSON.
fn show(case: &Case, mut pairs: Vec<(Sample, Sample)>) -> Value {
    pairs.sort_by_key(|(_, fresh)| fresh.p50);
    let (kept, fresh) = &pairs[pairs.len() / 2];
    let p50_more = micros(fresh.p50) - micros(kept.p50);
    let cpu_more = micros(fresh.cpu_per_call.all()) - micros(kept.cpu_per_call.all());
    println!(
        "{:<10} | p50 kept {:>8.1}us fresh {:>8.1}us {p50_more:>+8.1}us | cpu kept {:>8.1}us fresh {:>8.1}us {cpu_more:>+8.1}us",
        case.label(),
        micros(kept.p50),
        micros(fresh.p50),
        micros(kept.cpu_per_call.all()),
        micros(fresh.cpu_per_call.all()),
    );
    json!({
        "row": format!("{} by fresh instances", case.label()), "op": case.op, "in_flight": case.in_flight, "calls": case.calls,
        "kept": sample_json(kept), "fresh": sample_json(fresh), "p50_more_us": p50_more, "cpu_per_call_more_us": cpu_more,
    })
}
