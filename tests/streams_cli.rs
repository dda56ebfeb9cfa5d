//! STREAM from the command line: lines to items, and what they come to.

use std::io::{PipeReader, PipeWriter, Read, Write};

use super::cluster::output::says;
use super::cluster::{Cluster, Output, Running};

/// A controller with a process of the fixtures, and one of the fixtures that stream.
fn serving(cluster: &Cluster) -> Running {
    let start = cluster.runtime("server").controller();
    start.module("math", "fixtures").module("streams", "fixtures-streams").ready()
}

/// Calls with these lines.
fn stream(cluster: &Cluster, lines: &str, args: &[&str]) -> Output {
    let (running, mut stdin) = begin(cluster, args);
    // One that wants no more of them has gone, maybe.
    let _ = stdin.write_all(lines.as_bytes());
    drop(stdin);
    running.output()
}

/// Begins a call whose lines are written by and by.
fn begin(cluster: &Cluster, args: &[&str]) -> (Running, PipeWriter) {
    cluster.bare("call").args(["call", "--stream"]).args(args).start_fed()
}

#[test]
fn a_callback_without_streams_is_called_once_a_line() {
    let cluster = Cluster::new();
    let _server = serving(&cluster);
    assert_eq!(stream(&cluster, "1\n\n20\n21", &["twice"]).success(), "2\n40\n42");
    assert_eq!(stream(&cluster, "(6, 3)\n(9, 3)\n", &["divide()"]).success(), "2\n3");
    let json = stream(&cluster, "[6, 3]\n{\"b\": 2, \"a\": 8}\n", &["divide", "--json", "[]"]);
    assert_eq!(json.success(), "2\n4");
    let escaped = "\"\\u001b\\u009b\"";
    assert_eq!(stream(&cluster, escaped, &["echo#texts", "--json", "[]"]).success(), escaped);
    assert_eq!(stream(&cluster, "\n\n", &["nothing", "--json", "[]"]).success(), "null\nnull");
    assert_eq!(stream(&cluster, "", &["twice"]).success(), "");
    cluster.becomes_idle();
}

#[test]
fn a_callback_with_streams_is_called_once_and_its_stream_is_left_out_of_the_call() {
    let cluster = Cluster::new();
    let _server = serving(&cluster);
    assert_eq!(stream(&cluster, "1\n2\n3\n", &["sum"]).success(), "6");
    assert_eq!(stream(&cluster, "\"a\"\n\"b\\nc\"\n", &["echo#texts()"]).success(), "\"a\"\n\"b\\nc\"");
    assert_eq!(stream(&cluster, "", &["writers#count(3, 1)"]).success(), "0\n1\n2");
    let bytes = stream(&cluster, "\"AQI=\"\n[3]\n", &["readers#measure", "--json", "[]"]);
    assert_eq!(bytes.success(), "3");
    cluster.becomes_idle();
}

#[test]
fn a_callback_that_wants_no_more_ends_the_command_though_stdin_is_open() {
    let cluster = Cluster::new();
    let _server = serving(&cluster);
    let (running, mut stdin) = begin(&cluster, &["readers#take", "--json", r#"{"n": 2}"#]);
    stdin.write_all(b"5\n6\n7\n").unwrap();
    assert_eq!(running.output().success(), "[5,6]");
    drop(stdin);
    cluster.becomes_idle();
}

#[test]
fn results_are_printed_as_they_come_and_an_interrupt_cancels_the_call() {
    let cluster = Cluster::new();
    let server = serving(&cluster);
    let (running, mut stdin) = begin(&cluster, &["hold"]);
    stdin.write_all(b"(\"a\", 0)\n").unwrap();
    running.wait_for_line("\"a\"");
    stdin.write_all(b"(\"b\", 60000)\n").unwrap();
    server.wait_for_line("b started");
    running.signal(rustix::process::Signal::INT);
    let output = running.output();
    assert_eq!(output.code(), 130, "{output:#?}");
    says(&output.stderr, &["interrupted", "cancelled"]);
    cluster.becomes_idle();
}

#[test]
fn a_wrong_line_is_named_and_those_before_it_are_served() {
    let cluster = Cluster::new();
    let _server = serving(&cluster);
    for (wrong, args) in [("x", &["twice"][..]), ("-1", &["twice", "--json", "[]"]), ("[1]", &["twice"])] {
        let output = stream(&cluster, &format!("1\n{wrong}\n2\n"), args);
        assert_eq!((output.code(), output.stdout.as_str()), (2, "2\n"), "{output:#?}");
        says(&output.stderr, &["error: line 2: ", "u32"]);
    }
    let output = stream(&cluster, "1\n2\nx\n", &["sum"]);
    says(output.one_line_error(2), &["line 3: ", "u64"]);
    let output = stream(&cluster, "(1, 1)\n(1, 0)\n(1, 1)\n", &["divide"]);
    assert_eq!((output.code(), output.stdout.as_str()), (1, "1\n"), "{output:#?}");
    says(&output.stderr, &["item 1", "divide by zero"]);
    cluster.becomes_idle();
}

#[test]
fn what_does_not_fit_is_said_before_anything_is_sent() {
    let cluster = Cluster::new();
    let _server = serving(&cluster);
    for (args, parts) in [
        (&["twice(5)"][..], &["once a line", "leave its arguments out"][..]),
        (&["readers#wait"], &["a parameter has a future"]),
        (&["writers#later(\"x\")"], &["its result has a future"]),
        (&["fill-parcel(1)"], &["its result has a future, or a stream within another type"]),
        (&["readers#take"], &["take", "n: u32"]),
        (&["twice", "--broadcast"], &["--broadcast", "cannot be used"]),
        (&["twice", "--eta", "1s"], &["--eta", "cannot be used"]),
    ] {
        let output = stream(&cluster, "", args);
        says(output.one_line_error(2), parts);
    }
    // Who calls one without --stream is told whether that would do.
    let plain = |call: &str| cluster.call(call).one_line_error(2).to_owned();
    says(&plain("sum()"), &["in its type: call it with --stream; it is async func("]);
    let never = plain("fill-parcel(1)");
    says(&never, &["--stream neither, since its result has a future, or a stream within another type: guests do"]);
    says(stream(&cluster, "", &["no-such-thing"]).one_line_error(3), &["no-such-callback"]);
    cluster.becomes_idle();
}

#[test]
fn who_does_not_read_slows_the_callback_and_who_goes_ends_it() {
    let cluster = Cluster::new();
    let _server = serving(&cluster);
    let (running, mut unread): (Running, PipeReader) = cluster
        .bare("call")
        .args(["call", "--stream", "--timeout", "10m", "writers#count(4000000, 1000)"])
        .start_unread();
    let mut first = [0; 4];
    unread.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"0\n1\n");
    // The pipe, the windows and a chunk at each place are full; no more was written than they hold.
    cluster.has_in_flight("streams", 1);
    let written: u64 = cluster.call("written()").success().parse().unwrap();
    assert!(written < 200_000, "{written}");
    let peak = running.peak_memory_kib();
    assert!(peak < 128 << 10, "{peak} KiB");
    drop(unread);
    assert_eq!(running.exit_code(), 0);
    cluster.becomes_idle();
}
