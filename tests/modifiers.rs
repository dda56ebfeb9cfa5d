//! The modifiers from guests in languages without an SDK: JavaScript and Python, through the dynamic interface alone.
//!
//! What a guest gives is JSON; see `guests/modifiers`. What could not be built on this machine is skipped with the
//! reason that its build left behind.

use serde_json::{Value, json};

use super::cluster::Cluster;
use super::cluster::components::folder;

/// Calls each modifier's function of a guest in another process, and compares.
#[track_caller]
fn calls_others(guest: &str) {
    if let Ok(reason) = std::fs::read_to_string(folder().join(format!("{guest}.skipped"))) {
        eprintln!("skipped: {guest}: {}", reason.trim());
        return;
    }
    let cluster = Cluster::new();
    let server = cluster.runtime("server").controller().args(["--instances", "pool:1"]);
    let _server = server.module("a", "fixtures").module("b", "fixtures").ready();
    let _guest = cluster.runtime("guest").module("guest", guest).ready();
    let gives = |function: &str| -> Value {
        let output = cluster.call_json(&format!("modifiers#{function}"), "[]");
        serde_json::from_str(output.success()).unwrap()
    };
    assert_eq!(gives("fg"), "20");
    assert_eq!(gives("failures"), json!(["not-run no-such-callback", "failed trap"]));
    assert_eq!(gives("bg"), json!(["2", "4", "6", "unknown cancelled"]));
    let [a, b] = [r#"a: ok "a""#, r#"b: ok "b""#];
    assert_eq!(gives("broadcast"), json!([a, b, a, b, "met"]));
    assert_eq!(gives("stream"), json!(["2", "4", "6", "end", "3", "failed trap"]));
    let who = "fixtures:guest/sandbox@0.1.0#who";
    assert_eq!(gives("period"), json!([who, "every 10ms", "not-run no-such-task"]));
}

#[test]
fn javascript_calls_with_every_modifier() {
    calls_others("modifiers-js");
}

#[test]
fn python_calls_with_every_modifier() {
    calls_others("modifiers-python");
}
