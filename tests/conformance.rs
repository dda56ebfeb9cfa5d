//! Every value type, across two processes, compared both ways; served in Rust, JavaScript and Python.
//!
//! The caller compares for itself and prints what it found; see `guests/conformance/README.md`. What could not be built
//! on this machine is skipped with the reason that its build left behind.

use super::cluster::Cluster;
use super::cluster::components::folder;
use super::cluster::output::says;

/// Has `caller` call `callee` in another process over the unix socket.
#[track_caller]
fn agree(caller: &str, callee: &str, flags: &[&str]) {
    if let Ok(reason) = std::fs::read_to_string(folder().join(format!("{callee}.skipped"))) {
        eprintln!("skipped: {callee}: {}", reason.trim());
        return;
    }
    let cluster = Cluster::new();
    let _callee = cluster.runtime("callee").controller().module("callee", callee).ready();
    let output = cluster.runtime("caller").module("caller", caller).args(flags).finish();
    says(output.success(), &["conformance: all ", " ok"]);
    assert!(!output.stdout.contains("MISMATCH"), "{output:#?}");
}

#[test]
fn rust_and_rust_agree() {
    agree("conformance-caller", "conformance", &[]);
}

#[test]
fn rust_and_javascript_agree() {
    agree("conformance-caller", "conformance-js", &["--env", "EXACT_BITS=53"]);
}

#[test]
fn rust_and_python_agree() {
    agree("conformance-caller", "conformance-python", &[]);
}

#[test]
fn async_callers_and_async_callbacks_agree() {
    agree("conformance-caller-async", "conformance-async", &[]);
}

#[test]
fn async_callers_and_synchronous_callbacks_agree() {
    agree("conformance-caller-async", "conformance", &[]);
}
