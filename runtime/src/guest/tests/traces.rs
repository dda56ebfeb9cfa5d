//! Traces of hostile guests: what a component says of itself costs the host little when it traps.

use std::time::{Duration, Instant};

use super::{Bench, call};
use crate::guest::fault::MAX_TRACE_BYTES;
use crate::guest::limits::InstancePolicy;

/// A component whose `trap` traps in a function of this name, beside these custom sections.
fn trapping(function: &str, sections: &str) -> String {
    format!(
        r#"(component
          (core module $m
            {sections}
            (func $"{function}" (export "trap") unreachable))
          (core instance $i (instantiate $m))
          (func (export "trap") (canon lift (core func $i "trap"))))"#
    )
}

async fn trace_of(text: &str) -> String {
    let mut bench = Bench::new(text, InstancePolicy::Singleton).await;
    let started = Instant::now();
    let error = bench.call(call("trap", &())).await.unwrap_err();
    assert!(started.elapsed() < Duration::from_secs(5), "took {:?}", started.elapsed());
    let trace = error.trace.unwrap();
    assert!(trace.len() <= MAX_TRACE_BYTES + '…'.len_utf8(), "{} bytes", trace.len());
    trace
}

/// The number of a substitution in a mangled name of C++.
fn substitution(number: u32) -> String {
    match number {
        0 => "S_".to_owned(),
        _ => format!("S{}_", char::from_digit(number - 1, 36).unwrap().to_ascii_uppercase()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_grows_without_end_when_it_is_demangled_is_told_as_it_is() {
    // Each parameter is a template of the one before it, twice.
    let levels = 34;
    let parameters: String = (1..levels).map(|nth| format!("S_I{0}{0}E", substitution(nth))).collect();
    let name = format!("_Z1f1AIiiE{parameters}");
    let trace = trace_of(&trapping(&name, "")).await;
    assert!(trace.contains(&name), "{trace}");
}

#[tokio::test(flavor = "multi_thread")]
async fn debug_info_that_is_nested_without_end_does_no_harm() {
    let depth = 300_000;
    let abbreviations =
        "\\01\\11\\01\\11\\01\\12\\06\\00\\00\\02\\2e\\01\\11\\01\\12\\06\\00\\00\\03\\1d\\01\\00\\00\\00";
    let body = [
        &[4, 0, 0, 0, 0, 0, 4][..],
        &[1, 1, 0, 0, 0, 0xff, 0xff, 0, 0],
        &[2, 1, 0, 0, 0, 0xff, 0xff, 0, 0],
        &vec![3; depth],
        &vec![0; depth + 2],
    ]
    .concat();
    let length = u32::try_from(body.len()).unwrap().to_le_bytes();
    let info: String = length.iter().chain(&body).map(|byte| format!("\\{byte:02x}")).collect();
    let sections = format!(r#"(@custom ".debug_abbrev" "{abbreviations}") (@custom ".debug_info" "{info}")"#);
    assert!(trace_of(&trapping("told", &sections)).await.contains("told"));
}
