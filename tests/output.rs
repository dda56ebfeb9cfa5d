//! What guests print and what the runtime logs, where nobody reads it.

use std::io::{BufRead, BufReader, Read};

use super::cluster::Cluster;
use super::cluster::output::says;

#[test]
fn guests_whose_prints_nobody_reads_hold_up_no_other_guest() {
    let cluster = Cluster::new();
    let mut start = cluster.runtime("server").controller().module("a", "fixtures");
    let threads = std::thread::available_parallelism().unwrap().get();
    for printing in 0..=threads {
        start = start.module(&format!("printing-{printing}"), "script");
    }
    let script = format!("SCRIPT=times 100000000 print {}", "and so on ".repeat(500));
    let (server, unread) = start.args(["--env", &script]).start_unread();
    server.wait_for_line("connected to ");
    // A call that runs for long (as long as the others need to fill all there is), one that waits in the host, and one
    // that is stopped by the clock.
    assert_eq!(cluster.call(r#"burn("x", 1000)"#).success(), "\"x\"");
    assert_eq!(cluster.call(r#"hold("x", 50)"#).success(), "\"x\"");
    let late = cluster.run(["call", "--timeout", "300ms", "spin()"]);
    says(&late.stderr, &["deadline"]);
    server.terminate();
    assert_eq!(server.exit_code(), 0);
    drop(unread);
}

#[test]
fn a_reader_that_paused_gets_all_that_was_printed_in_order() {
    let cluster = Cluster::new();
    let (server, mut unread) =
        cluster.runtime("script").controller().script(&["times 300000 print a line", "print the end"]).start_unread();
    server.wait_for_line("connected to ");
    let mut text = String::new();
    unread.read_to_string(&mut text).unwrap();
    assert!(text.ends_with("a line\nthe end\n"));
    assert_eq!(text.lines().count(), 300_001);
    assert_eq!(server.exit_code(), 0);
}

#[test]
fn a_log_that_nobody_reads_holds_up_nothing_and_says_later_how_much_was_lost() {
    let cluster = Cluster::new();
    let start = cluster.runtime("server").controller().module("a", "fixtures");
    let (server, unread) = start.args(["--log", "debug"]).start_unlogged();
    assert_eq!(cluster.run(["call", "--wait-ready", "add(1, 2)"]).success(), "3");
    for _ in 0..10_000 {
        let mut raw = cluster.raw();
        raw.frame(b"nonsense");
        raw.closed();
    }
    assert_eq!(cluster.call("add(1, 2)").success(), "3");
    let mut log = BufReader::new(unread).lines();
    assert!(log.any(|line| line.unwrap().contains("log lines were lost")));
    drop(log);
    server.terminate();
    assert_eq!(server.exit_code(), 0);
}

#[test]
fn a_module_over_its_output_rate_waits_and_others_do_not() {
    let cluster = Cluster::new();
    let start = cluster.runtime("server").controller().module("a", "fixtures").module("b", "fixtures");
    let _server = start.args(["--output-rate", "1KiB", "--instances", "per-call"]).ready();
    let print = format!("print({:?})", "x".repeat(60_000));
    let late = cluster.run(["call", "--timeout", "500ms", "--receiver", "a", &print]);
    says(late.one_line_error(1), &["print", "deadline"]);
    cluster.run(["call", "--receiver", "b", r#"print("hello")"#]).success();
}
