//! Every value type, across two processes, compared both ways; served in Rust, JavaScript and Python.
//!
//! The caller compares for itself and prints what it found; see `guests/conformance/README.md`. What could not be built
//! on this machine is skipped with the reason that its build left behind.

use super::cluster::Cluster;
use super::cluster::components::folder;
use super::cluster::output::says;

/// How many checks a synchronous caller makes: one for each function of the conformance world.
const CHECKS: usize = 60;

/// How many an asynchronous one makes.
const ASYNC_CHECKS: usize = 18;

/// Has `caller` call `callee` in another process over the unix socket.
#[track_caller]
fn agree(caller: &str, callee: &str, checks: usize, flags: &[&str]) {
    // A callee that could not be built here; the Rust ones always can.
    if let Ok(reason) = std::fs::read_to_string(folder().join(format!("{callee}.skipped"))) {
        eprintln!("skipped: {callee}: {}", reason.trim());
        return;
    }
    let cluster = Cluster::new();
    let _callee = cluster.runtime("callee").controller().module("callee", callee).ready();
    let output = cluster.runtime("caller").module("caller", caller).args(flags).finish();
    says(output.success(), &[&format!("conformance: all {checks} ok")]);
}

#[test]
fn rust_and_rust_agree() {
    agree("conformance-caller", "conformance", CHECKS, &[]);
}

#[test]
fn rust_and_javascript_agree() {
    agree("conformance-caller", "conformance-js", CHECKS, &["--env", "EXACT_BITS=53"]);
}

#[test]
fn rust_and_python_agree() {
    agree("conformance-caller", "conformance-python", CHECKS, &[]);
}

#[test]
fn async_callers_and_async_callbacks_agree() {
    agree("conformance-caller-async", "conformance-async", ASYNC_CHECKS, &[]);
}

#[test]
fn async_callers_and_synchronous_callbacks_agree() {
    agree("conformance-caller-async", "conformance", ASYNC_CHECKS, &[]);
}
