//! Calls that begin later, calls whose results nobody waits for, calls that are made again; and that nothing of them stays.

use super::cluster::output::says;
use super::cluster::{Cluster, Running};

/// A controller with these processes of the fixtures, where a call that nobody waits for is stopped.
fn serving(cluster: &Cluster, names: &[&str]) -> Running {
    let start = cluster.runtime("server").controller().args(["--instances", "pool:1"]);
    names.iter().fold(start, |start, name| start.module(name, "fixtures")).ready()
}

#[test]
fn a_call_whose_result_nobody_waits_for_runs_on_when_its_caller_has_gone() {
    let cluster = Cluster::new();
    let server = serving(&cluster, &["a"]);
    let steps = ["send ack hold [\"acknowledged\", 300]", "send - hold [\"sent\", 1]", "print going"];
    let output = cluster.runtime("script").script(&steps).finish();
    let said: Vec<&str> = output.success().lines().collect();
    assert_eq!(said, ["hold = sent", "hold = sent", "going"]);
    server.wait_for_line("acknowledged finished");
    server.wait_for_line("sent finished");
    cluster.becomes_idle();
}

#[test]
fn a_call_that_is_sent_from_a_callback_outlives_the_call_that_it_was_made_for() {
    let cluster = Cluster::new();
    let server = serving(&cluster, &["a", "b"]);
    let args = r#"["print", "[\"later\"]", 200, false]"#;
    let sent = cluster.run(["call", "--receiver", "a", "fixtures:guest/calls#send", "--json", args]);
    assert_eq!(sent.success(), r#"{"ok":null}"#);
    server.wait_for_line("later");
    cluster.becomes_idle();
}

#[test]
fn a_call_in_the_background_may_begin_later() {
    let cluster = Cluster::new();
    let _server = serving(&cluster, &["a"]);
    let steps = ["bg-with eta=300 who []", "call who []", "peek 0", "await 0"];
    let output = cluster.runtime("script").script(&steps).finish();
    let said: Vec<&str> = output.success().lines().collect();
    assert_eq!(said, ["who = \"a\"", "0: nothing yet", "who = \"a\""]);
    cluster.becomes_idle();
}

#[test]
fn a_broadcast_without_results_says_who_has_it() {
    let cluster = Cluster::new();
    let _server = serving(&cluster, &["a", "b"]);
    let steps = ["send-all ack hold [\"x\", 1]", "send-all - hold [\"y\", 1]"];
    let output = cluster.runtime("script").script(&steps).finish();
    let said: Vec<&str> = output.success().lines().collect();
    assert_eq!(said, ["hold at a = accepted", "hold at b = accepted", "hold was sent", "hold was sent"]);
    cluster.becomes_idle();
}

#[test]
fn an_idempotent_call_that_failed_is_made_again_and_counts_its_attempts() {
    let cluster = Cluster::new();
    let _server = serving(&cluster, &["a"]);
    let steps = [
        "call-with attempts=3,pause=1,idempotent divide [1, 0]",
        "call-with attempts=3,pause=1 divide [1, 0]",
        "call-with attempts=3,pause=1,idempotent add [1, 2]",
    ];
    let output = cluster.runtime("script").script(&steps).finish();
    let said: Vec<&str> = output.success().lines().collect();
    says(said[0], &["divide failed: failed trap", "(attempts: 3)"]);
    assert!(said[1].contains("divide failed: failed trap") && !said[1].contains("attempts"), "{said:#?}");
    assert_eq!(said[2], "add = 3");
    cluster.becomes_idle();
}

#[test]
fn an_idempotent_call_whose_controller_is_replaced_ends_well_and_runs_once() {
    let cluster = Cluster::new();
    let controller = |cluster: &Cluster| {
        let controller = cluster.bare("controller").args(["--controller", "--no-node"]).start();
        controller.wait_for_line("listening");
        controller
    };
    let first = controller(&cluster);
    let b = cluster.runtime("b").module("b", "fixtures").args(["--instances", "pool:1"]).ready();
    let steps = ["wait-process b 60000", "call-with timeout=60000,attempts=50,idempotent hold [\"x\", 2000]"];
    let script = cluster.runtime("script").script(&steps).start();
    b.wait_for_line("x started");
    first.kill();
    let _second = controller(&cluster);
    script.wait_for_line("hold = \"x\"");
    assert_eq!(script.exit_code(), 0);
    assert_eq!(b.count("x started"), 1);
}

#[test]
fn a_call_of_the_command_line_that_begins_later_follows_a_controller_that_is_replaced() {
    let cluster = Cluster::new();
    let first = serving(&cluster, &["a"]);
    let call = cluster.calling(&["add(1, 2)", "--eta", "4s", "--log", "daffi_runtime=debug"]);
    call.wait_for_line("connected to");
    first.kill();
    call.wait_for_line("lost the controller");
    let _second = serving(&cluster, &["a"]);
    assert_eq!(call.exit_code(), 0);
    assert!(call.lines().iter().any(|line| line == "3"), "{:#?}", call.lines());
}

#[test]
fn a_guest_sees_what_is_left_of_its_call_and_less_is_left_further_down() {
    let cluster = Cluster::new();
    let _server = serving(&cluster, &["a", "b"]);
    let own: u64 = some(cluster.run(["call", "--timeout", "20s", "--receiver", "a", "remaining()"]).success());
    assert!((1..=20_000).contains(&own), "{own}");
    let below = cluster.run([
        "call",
        "--timeout",
        "20s",
        "--receiver",
        "a",
        "forward",
        "--json",
        r#"["remaining", "[]", "b", null]"#,
    ]);
    let text = below.success().trim_start_matches(r#"{"ok":""#).trim_end_matches(r#""}"#).to_owned();
    assert!(text.parse::<u64>().unwrap() < 20_000, "{text}");
    let output = cluster.runtime("script").script(&["remaining"]).finish();
    assert_eq!(output.success(), "remaining = None");
    cluster.becomes_idle();
}

fn some(wave: &str) -> u64 {
    wave.trim_start_matches("some(").trim_end_matches(')').parse().unwrap()
}

#[test]
fn what_is_out_of_bounds_is_a_value() {
    let cluster = Cluster::new();
    let _server = serving(&cluster, &["a"]);
    let steps = [
        "bg-with eta=604800001 who []",
        "send eta=604800001 who []",
        "send timeout=0 who []",
        "send-all receiver=a who []",
        "call-with attempts=0 who []",
        "call-with attempts=101 who []",
        "call-with pause=0 who []",
        "call-with pause=60001 who []",
        "send - add [1]",
        "send ack nothing-of-the-kind []",
        "send - nothing-of-the-kind []",
    ];
    let output = cluster.runtime("script").script(&steps).finish();
    let said: Vec<&str> = output.success().lines().collect();
    for line in &said[..9] {
        says(line, &["failed: not-run bad-arguments"]);
    }
    for line in &said[9..] {
        says(line, &["failed: not-run no-such-callback"]);
    }
    assert_eq!(said.len(), steps.len());
    cluster.becomes_idle();
}

#[test]
fn the_command_line_sends_delays_retries_and_broadcasts() {
    let cluster = Cluster::new();
    let server = serving(&cluster, &["a", "b"]);
    assert_eq!(cluster.run(["call", "--eta", "50ms", "--receiver", "a", "who()"]).success(), r#""a""#);
    assert_eq!(cluster.run(["call", "--no-result", r#"hold("kept", 1)"#]).success(), "");
    assert_eq!(cluster.run(["call", "--no-result", "--unacknowledged", r#"hold("gone", 1)"#]).success(), "");
    server.wait_for_line("kept finished");
    server.wait_for_line("gone finished");
    let mut lines: Vec<String> =
        cluster.run(["call", "--broadcast", "who()"]).success().lines().map(str::to_owned).collect();
    lines.sort();
    assert_eq!(lines, [r#"a: "a""#, r#"b: "b""#]);
    let failed = cluster.run(["call", "--broadcast", "divide", "--json", "[1, 0]"]);
    assert_eq!(failed.code(), 1);
    for line in failed.stdout.lines() {
        let entry: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(entry["error"]["code"], "trap", "{entry}");
    }
    assert_eq!(failed.stdout.lines().count(), 2);
    let again = cluster.run(["call", "--retry", "3", "--idempotent", "divide(1, 0)"]);
    assert_eq!(again.code(), 1);
    says(&again.stderr, &["(attempts: 3)"]);
    for bad in [
        &["call", "--unacknowledged", "who()"][..],
        &["call", "--idempotent", "who()"],
        &["call", "--retry", "0", "who()"],
        &["call", "--retry", "2", "--no-result", "who()"],
        &["call", "--broadcast", "--receiver", "a", "who()"],
    ] {
        assert_eq!(cluster.run(bad).code(), 2, "{bad:?}");
    }
    cluster.becomes_idle();
}

#[test]
fn giving_up_at_the_top_stops_the_guest_at_the_bottom_and_frees_its_place() {
    let cluster = Cluster::new();
    let _a = cluster.runtime("a").controller().module("a", "fixtures").args(["--instances", "pool:1"]).ready();
    let _b = cluster.runtime("b").module("b", "fixtures").args(["--instances", "per-call"]).ready();
    let c = cluster.runtime("c").module("c", "fixtures").args(["--instances", "pool:1"]).ready();
    let inner = r#"[\"hold\", \"[\\\"x\\\", 60000]\", \"c\", null]"#;
    let args = format!(r#"["forward", "{inner}", "b", null]"#);
    let call = cluster.calling(&["--receiver", "a", "forward", "--json", &args]);
    c.wait_for_line("x started");
    call.kill();
    cluster.becomes_idle();
    assert_eq!(cluster.run(["call", "--receiver", "c", "who()"]).success(), r#""c""#);
    assert_eq!(c.count("x finished"), 0);
}

#[test]
fn a_runtime_that_is_killed_in_the_middle_leaves_nothing_above_or_below_it() {
    let cluster = Cluster::new();
    let _a = cluster.runtime("a").controller().module("a", "fixtures").args(["--instances", "pool:1"]).ready();
    let b = cluster.runtime("b").module("b", "fixtures").ready();
    let c = cluster.runtime("c").module("c", "fixtures").args(["--instances", "pool:1"]).ready();
    let inner = r#"[\"hold\", \"[\\\"x\\\", 60000]\", \"c\", null]"#;
    let args = format!(r#"["forward", "{inner}", "b", null]"#);
    let call = cluster.calling(&["--receiver", "a", "forward", "--json", &args]);
    c.wait_for_line("x started");
    b.kill();
    says(call.output().success(), &["unknown", "link-lost"]);
    cluster.becomes_idle();
    assert_eq!(c.count("x finished"), 0);
}
