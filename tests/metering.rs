//! What processes have done and used, as `ps`, `top` and the metrics endpoint tell it.

use serde_json::Value;

use super::cluster::Cluster;

/// How many calls ended so.
fn failures(usage: &Value, outcome: &str, code: &str) -> u64 {
    let failures = usage["failures"].as_array().unwrap().iter();
    let of_kind = failures.filter(|failures| failures["outcome"] == outcome && failures["code"] == code);
    of_kind.map(|failures| failures["calls"].as_u64().unwrap()).sum()
}

fn number(usage: &Value, what: &str) -> f64 {
    usage[what].as_f64().unwrap()
}

#[test]
fn each_call_is_counted_once_by_what_it_came_to() {
    let guests = [
        ("fixtures", "add(1, 2)", r#"trap("on purpose")"#),
        ("fixtures-concurrent", "inside()", r#"trap("on purpose", 0)"#),
    ];
    for (component, serves, traps) in guests {
        let cluster = Cluster::new();
        let server = cluster.runtime("server").controller().module("a", component);
        let server = server.args(["--queue", "1", "--async-calls", "1"]).ready();
        for _ in 0..5 {
            cluster.call(serves).success();
        }
        for _ in 0..4 {
            assert_eq!(cluster.call(traps).code(), 1);
        }
        // One holds the instance, one waits, and two find the queue full.
        let held = cluster.calling(&[r#"hold("x", 600000)"#, "--timeout", "10m"]);
        server.wait_for_line("x started");
        let waits = cluster.calling(&[r#"hold("y", 1)"#, "--timeout", "10m"]);
        cluster.has_in_flight("a", 2);
        for _ in 0..2 {
            assert_eq!(cluster.call(serves).code(), 3);
        }
        waits.kill();
        cluster.has_in_flight("a", 1);
        // A singleton runs on for nobody: it is counted when its caller has gone, and not again.
        held.kill();
        let counted = cluster.usage("a", "8 failures", |usage| number(usage, "calls-failed") >= 8.0);
        assert_eq!((&counted["calls-served"], &counted["calls-failed"]), (&5.into(), &8.into()), "{counted:#}");
        let kinds = [("failed", "trap", 4), ("not-run", "overloaded", 2), ("not-run", "cancelled", 1)];
        for (outcome, code, calls) in kinds.into_iter().chain([("unknown", "cancelled", 1)]) {
            assert_eq!(failures(&counted, outcome, code), calls, "{outcome} {code}: {counted:#}");
        }
        assert!(number(&counted, "p99-seconds") >= number(&counted, "p50-seconds"));
        assert!(number(&counted, "argument-bytes") > 0.0 && number(&counted, "result-bytes") >= 5.0);
        let in_buckets = counted["latencies"].as_array().unwrap().iter();
        assert_eq!(in_buckets.map(|bucket| bucket["calls"].as_u64().unwrap()).sum::<u64>(), 5);
    }
}

#[test]
fn what_a_guest_computes_and_its_memory_are_counted_while_it_runs() {
    for (component, call, mib) in [("fixtures", "grow(32)", 32), ("fixtures-concurrent", "inside()", 1)] {
        let cluster = Cluster::new();
        let server = cluster.runtime("server").controller().module("a", component);
        let _server = server.args(["--on-cancel", "kill"]).ready();
        cluster.call(call).success();
        let idle = cluster.usage("a", "a call", |usage| number(usage, "calls-served") == 1.0);
        let bytes = f64::from(mib << 20);
        assert!(number(&idle, "memory-bytes") >= bytes, "{idle:#}");
        let spinner = cluster.calling(&["spin()", "--timeout", "10m"]);
        let busy = cluster.usage("a", "half a second", |usage| number(usage, "cpu-seconds") > 0.5);
        assert_eq!(busy["calls-served"], 1, "it is not over: {busy:#}");
        spinner.kill();
        // Its instance ends with it, and the most that it had stays.
        let ended = cluster.usage("a", "a cancelled call", |usage| failures(usage, "failed", "cancelled") == 1);
        assert!(number(&ended, "memory-most-bytes") >= bytes, "{ended:#}");
        cluster.usage("a", "no memory any more", |usage| number(usage, "memory-bytes") == 0.0);
    }
}

#[test]
fn waits_for_an_instance_are_counted() {
    let cluster = Cluster::new();
    let server = cluster.runtime("server").controller().module("a", "fixtures").ready();
    let held = cluster.calling(&[r#"hold("x", 300)"#]);
    server.wait_for_line("x started");
    cluster.call("add(1, 2)").success();
    held.output().success();
    let counted = cluster.usage("a", "two calls", |usage| number(usage, "calls-served") == 2.0);
    let (all, longest) = (number(&counted, "queue-seconds"), number(&counted, "queue-longest-seconds"));
    assert!(longest > 0.0 && all >= longest, "{counted:#}");
}
