//! What has a shape: a record of ten fields, and a list of a thousand, beside the same number of bare bytes and beside
//! [`typed`], which knows the types when it is compiled.

use std::path::Path;

use serde_json::{Value, json};

use crate::guests::Setup;
use crate::report::{Case, How, Sample, micros, sample_json};
use crate::socket::Scheme;
use crate::{ROUNDS, echo, typed};

/// One round of a row.
struct Three {
    bare: Sample,
    typed: Sample,
    daffi: Sample,
}

/// Measures all of it, and shows it. The rows as JSON.
pub fn rows(folder: &Path) -> anyhow::Result<Vec<Value>> {
    println!(
        "\nrecords, 1 in flight, over a direct link; ratios to a bare echo of as many bytes, and to guests bound by bindgen!, with \
         serde over the same socket\n"
    );
    println!(
        "{:<14} {:>9} | {:>10} {:>10} {:>10} {:>7} {:>8} | {:>9} {:>9} {:>9}",
        "op", "bytes", "p50 bare", "typed", "p50", "ratio", "to typed", "cpu bare", "typed", "cpu"
    );
    let mut rows = Vec::new();
    for (op, calls) in [("record", 20_000), ("records", 500)] {
        let case = Case { how: How::Direct, op, payload_bytes: typed::payload_bytes(op)?, in_flight: 1, calls };
        let mut rounds = Vec::new();
        for _ in 0..ROUNDS {
            eprintln!("measuring {}", case.label());
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
    println!(
        "{:<14} {:>9} | {:>8.1}us {:>8.1}us {:>8.1}us {:>6.2}x {:>7.2}x | {:>7.1}us {:>7.1}us {:>7.1}us",
        case.label(),
        case.payload_bytes,
        micros(bare.p50),
        micros(typed.p50),
        micros(daffi.p50),
        to(bare),
        to(typed),
        micros(bare.cpu_per_call),
        micros(typed.cpu_per_call),
        micros(daffi.cpu_per_call),
    );
    json!({
        "row": case.label(), "op": case.op, "payload_bytes": case.payload_bytes, "in_flight": case.in_flight, "calls": case.calls,
        "bare": sample_json(bare), "typed": sample_json(typed), "daffi": sample_json(daffi),
        "p50_ratio": to(bare), "calls_per_second_ratio": daffi.calls_per_second / bare.calls_per_second,
        "p50_ratio_to_typed": to(typed),
    })
}
