//! Calls beside [`typed`], where the same two guests are bound by types that were known when it was compiled, and beside as many bare
//! bytes: what it costs to know types only when a component is loaded, and what all else costs that a mesh does; and, where a target is
//! told by the bare echo, what of the way to it is wasmtime's and the guests'.

use std::path::Path;

use serde_json::{Value, json};

use crate::report::{Case, How, Sample, micros, sample_json};
use crate::socket::Scheme;
use crate::{ROUNDS, measure, typed};

/// What is called how, bytes where they are not those of the operation's values, how many in flight, and calls of one run.
type Load = (How, &'static str, Option<usize>, usize, u64);

const LOADS: [Load; 13] = [
    (How::Direct, "record", None, 1, 20_000),
    (How::Direct, "records", None, 1, 500),
    (How::Direct, "sum", None, 1, 20_000),
    (How::Direct, "sum", None, 64, 200_000),
    (How::Direct, "sum", None, 256, 200_000),
    (How::Direct, "echo", Some(64 << 10), 1, 5_000),
    (How::Direct, "echo", Some(64 << 10), 64, 10_000),
    (How::Apart(Scheme::Unix), "sum", None, 256, 200_000),
    (How::Broadcast(2), "sum", None, 1, 10_000),
    (How::Broadcast(8), "sum", None, 1, 4_000),
    (How::Broadcast(32), "sum", None, 1, 1_000),
    (How::Local, "sum", None, 1, 100_000),
    (How::Local, "echo", Some(64 << 10), 1, 10_000),
];

/// One round of a row.
struct Three {
    bare: Sample,
    typed: Sample,
    daffi: Sample,
}

/// Measures all of it, and shows it. The rows as JSON.
pub fn rows(folder: &Path) -> anyhow::Result<Vec<Value>> {
    println!(
        "\nbeside a bare echo of as many bytes (8 at least), and beside the same guests bound by bindgen!, with serde over the same \
         socket, one thread a process\n"
    );
    println!(
        "{:<22} {:>9} {:>9} | {:>10} {:>10} {:>10} {:>8} | {:>10} {:>10} {:>8} | {:>9} {:>9} {:>9}",
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
    for (how, op, bytes, in_flight, calls) in LOADS {
        let payload_bytes = bytes.map_or_else(|| typed::payload_bytes(op), Ok)?;
        let case = Case { how, op, payload_bytes, in_flight, calls };
        let mut rounds = Vec::new();
        for _ in 0..ROUNDS {
            eprintln!("measuring {} with {in_flight} in flight beside typed guests", case.label());
            let (bare, daffi) = measure(&case, folder)?;
            rounds.push(Three { bare, typed: typed::measure(&case, folder)?, daffi });
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
        "{:<22} {:>9} {:>9} | {:>8.1}us {:>8.1}us {:>8.1}us {:>7.2}x | {:>10.0} {:>10.0} {:>7.2}x | {:>7.1}us {:>7.1}us {:>7.1}us",
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
