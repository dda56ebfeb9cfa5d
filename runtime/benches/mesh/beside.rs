//! Calls beside [`typed`], where the same two guests are bound by types that were known when it was compiled, and beside as many bare
//! bytes: what it costs to know types only when a component is loaded, and what all else costs that a mesh does.

use std::path::Path;

use serde_json::{Value, json};

use crate::guests::Setup;
use crate::report::{Case, How, Sample, micros, sample_json};
use crate::socket::Scheme;
use crate::{ROUNDS, echo, typed};

/// An operation, how many in flight, and calls of one run.
const LOADS: [(&str, usize, u64); 5] =
    [("record", 1, 20_000), ("records", 1, 500), ("sum", 1, 20_000), ("sum", 64, 200_000), ("sum", 256, 200_000)];

/// One round of a row.
struct Three {
    bare: Sample,
    typed: Sample,
    daffi: Sample,
}

/// Measures all of it, and shows it. The rows as JSON.
pub fn rows(folder: &Path) -> anyhow::Result<Vec<Value>> {
    println!(
        "\nover a direct link, beside a bare echo of as many bytes (8 at least), and beside the same guests bound by bindgen!, with \
         serde over the same socket, one thread a process\n"
    );
    println!(
        "{:<14} {:>9} {:>9} | {:>10} {:>10} {:>10} {:>8} | {:>10} {:>10} {:>8} | {:>9} {:>9} {:>9}",
        "op",
        "bytes",
        "in flight",
        "p50 bare",
        "typed",
        "p50",
        "to typed",
        "c/s typed",
        "calls/s",
        "to typed",
        "cpu bare",
        "typed",
        "cpu"
    );
    let mut rows = Vec::new();
    for (op, in_flight, calls) in LOADS {
        let case = Case { how: How::Direct, op, payload_bytes: typed::payload_bytes(op)?, in_flight, calls };
        let mut rounds = Vec::new();
        for _ in 0..ROUNDS {
            eprintln!("measuring {} with {in_flight} in flight beside typed guests", case.label());
            rounds.push(Three {
                bare: echo::measure(&case, folder, Scheme::Unix)?,
                typed: typed::measure(&case, folder)?,
                daffi: Setup::new(&case, folder).two("unix")?.timed()?,
            });
        }
        rows.push(show(&case, rounds));
    }
    Ok(rows)
}

/// The median of the rounds, as a line and as JSON.
fn show(case: &Case, mut rounds: Vec<Three>) -> Value {
    rounds.sort_by_key(|round| round.daffi.p50);
    let Three { bare, typed, daffi } = &rounds[rounds.len() / 2];
    let to = |limit: &Sample| daffi.p50.as_secs_f64() / limit.p50.as_secs_f64();
    let rate_to = |limit: &Sample| daffi.calls_per_second / limit.calls_per_second;
    println!(
        "{:<14} {:>9} {:>9} | {:>8.1}us {:>8.1}us {:>8.1}us {:>7.2}x | {:>10.0} {:>10.0} {:>7.2}x | {:>7.1}us {:>7.1}us {:>7.1}us",
        case.label(),
        case.payload_bytes,
        case.in_flight,
        micros(bare.p50),
        micros(typed.p50),
        micros(daffi.p50),
        to(typed),
        typed.calls_per_second,
        daffi.calls_per_second,
        rate_to(typed),
        micros(bare.cpu_per_call.all()),
        micros(typed.cpu_per_call.all()),
        micros(daffi.cpu_per_call.all()),
    );
    json!({
        "row": format!("{} beside typed", case.label()), "op": case.op, "payload_bytes": case.payload_bytes, "in_flight": case.in_flight, "calls": case.calls,
        "bare": sample_json(bare), "typed": sample_json(typed), "daffi": sample_json(daffi),
        "p50_ratio": to(bare), "calls_per_second_ratio": rate_to(bare),
        "p50_ratio_to_typed": to(typed), "calls_per_second_ratio_to_typed": rate_to(typed),
    })
}
