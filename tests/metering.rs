//! What processes have done and used, as `ps`, `top` and the metrics endpoint tell it.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::Value;

use super::cluster::Cluster;
use super::cluster::output::says;

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

#[test]
fn top_tells_what_was_used_by_process_and_tenant() {
    let cluster = Cluster::new();
    let both = "[runtime]\ncontroller = true\n[[module]]\nname = 'a'\npath = FIXTURES\ntenant = 'acme'\n\
                [[module]]\nname = 'b'\npath = FIXTURES\ntenant = 'globex'\n";
    let path = format!("{:?}", super::cluster::components::component("fixtures"));
    let _server = cluster.bare("server").config(&both.replace("FIXTURES", &path)).ready();
    for (tenant, calls) in [("acme", 3), ("globex", 2)] {
        for _ in 0..calls {
            cluster.run(["call", "--tenant", tenant, "add(1, 2)"]).success();
        }
    }
    let top = |flags: &[&str]| {
        let words = ["top", "--tenant", "acme", "--also", "globex", "--interval", "1s"];
        cluster.run(words.iter().chain(flags)).success().to_owned()
    };
    // Nodes tell it once a second: it is there after some of them.
    let told = loop {
        let told: Value = serde_json::from_str(&top(&["--json"])).unwrap();
        let served = |tenant: &str| {
            let totals = told["tenants"].as_array().unwrap();
            totals.iter().find(|total| total["tenant"] == tenant).unwrap()["usage"]["calls-served"].clone()
        };
        if served("acme") == 3 && served("globex") == 2 {
            break told;
        }
    };
    let processes = told["processes"].as_array().unwrap();
    assert_eq!(processes.len(), 2, "{told:#}");
    assert!(processes.iter().all(|process| process["usage"]["cpu-seconds"].as_f64().unwrap() > 0.0), "{told:#}");
    let table = top(&["--once"]);
    says(&table, &["PROCESS", "CALLS/S", "P99", "acme", "globex", "all of"]);
    // A tenant in which nobody is has its line too.
    let table = top(&["--once", "--also", "nobody"]);
    assert!(table.lines().any(|line| line.starts_with("all of ") && line.contains(" nobody ")), "{table}");
}

#[test]
fn metrics_are_told_over_http_where_that_is_asked_for() {
    let cluster = Cluster::new();
    let server = cluster.runtime("server").controller().module("a", "fixtures");
    let server = server.args(["--metrics", "127.0.0.1:0"]).ready();
    for _ in 0..4 {
        cluster.call("add(1, 2)").success();
    }
    assert_eq!(cluster.call("divide(1, 0)").code(), 1);
    let line = server.lines().into_iter().find(|line| line.contains("metrics at http://")).unwrap();
    let address = line.split("http://").nth(1).unwrap().split('/').next().unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    let mut told = String::new();
    stream.read_to_string(&mut told).unwrap();
    let of_a = r#"tenant="default",process="a""#;
    let sample = |name: &str| {
        let line = told.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{name} is not in\n{told}")).parse::<f64>().unwrap()
    };
    assert_eq!(sample(&format!(r#"daffi_calls_total{{{of_a},outcome="served",code=""}}"#)), 4.0);
    assert_eq!(sample(&format!(r#"daffi_calls_total{{{of_a},outcome="failed",code="trap"}}"#)), 1.0);
    assert_eq!(sample(&format!("daffi_call_duration_seconds_count{{{of_a}}}")), 4.0);
    assert!(sample(&format!("daffi_guest_cpu_seconds_total{{{of_a}}}")) > 0.0);
    assert!(sample(&format!("daffi_memory_most_bytes{{{of_a}}}")) > 0.0);
    assert!(told.starts_with("HTTP/1.1 200 OK\r\n") && told.ends_with("# EOF\n"));
}

#[test]
fn metrics_are_not_open_to_others_unless_that_is_said() {
    let cluster = Cluster::new();
    let refused =
        cluster.runtime("server").controller().module("a", "fixtures").args(["--metrics", "0.0.0.0:0"]).start();
    says(refused.output().one_line_error(2), &["metrics", "0.0.0.0:0", "--insecure"]);
}
