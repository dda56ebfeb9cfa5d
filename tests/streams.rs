//! STREAM: streams and futures of typed imports, in every direction, between two runtimes and within one; how they end, and
//! what they hold.
//!
//! `streams` has callbacks with streams; `streamer` calls them when the test calls it.

use super::cluster::output::says;
use super::cluster::{Cluster, Output, Running};

/// The sum of 0, 1, … n-1.
fn sum(n: u64) -> u64 {
    n * (n - 1) / 2
}

/// Both fixtures in two runtimes, the controller in that of `streams`.
struct Apart<'a> {
    cluster: &'a Cluster,
    streams: Running,
    streamer: Running,
}

impl<'a> Apart<'a> {
    fn new(cluster: &'a Cluster) -> Self {
        Self::with(cluster, &[], &[])
    }

    /// With these flags for the one and the other.
    fn with(cluster: &'a Cluster, streams: &[&str], streamer: &[&str]) -> Self {
        let streams =
            cluster.runtime("streams").controller().module("streams", "fixtures-streams").args(streams).ready();
        let streamer = cluster.runtime("streamer").module("streamer", "fixtures-streamer").args(streamer).ready();
        Self { cluster, streams, streamer }
    }

    fn drive(&self, call: &str) -> Output {
        drive(self.cluster, call)
    }
}

fn drive(cluster: &Cluster, call: &str) -> Output {
    cluster.call(&format!("drive#{call}"))
}

#[test]
fn items_flow_up_down_and_both_ways_between_two_runtimes() {
    let cluster = Cluster::new();
    let apart = Apart::new(&cluster);
    assert_eq!(apart.drive("sum(10000, 100)").success(), sum(10_000).to_string());
    assert_eq!(apart.drive("count(10000, 100)").success(), sum(10_000).to_string());
    assert_eq!(apart.drive("measure(3000000, 65536)").success(), "3000000");
    assert_eq!(apart.drive("fill(3000000, 65536)").success(), "3000000");
    assert_eq!(apart.drive("echo-bytes(1000000, 5000)").success(), "1000000");
    assert_eq!(apart.drive("echo(1000)").success(), "8");
    assert_eq!(apart.drive("sum(0, 1)").success(), "0");
    cluster.becomes_idle();
}

#[test]
fn a_limit_of_payloads_is_one_of_items_and_not_of_chunks() {
    let cluster = Cluster::new();
    let small = ["--max-payload", "1KiB", "--direct", "off"];
    let apart = Apart::with(&cluster, &small, &small);
    assert_eq!(apart.drive("echo(1000)").success(), "8");
    assert_eq!(apart.drive("measure(1000000, 200000)").success(), "1000000");
    assert_eq!(apart.drive("fill(1000000, 200000)").success(), "1000000");
    assert_eq!(apart.drive("echo-bytes(1000000, 200000)").success(), "1000000");
    cluster.becomes_idle();
}

#[test]
fn items_flow_between_two_modules_of_one_runtime() {
    let cluster = Cluster::new();
    let both = cluster.runtime("both").controller();
    let _both = both.module("streams", "fixtures-streams").module("streamer", "fixtures-streamer").ready();
    assert_eq!(drive(&cluster, "sum(10000, 100)").success(), sum(10_000).to_string());
    assert_eq!(drive(&cluster, "count(10000, 100)").success(), sum(10_000).to_string());
    assert_eq!(drive(&cluster, "echo-bytes(1000000, 5000)").success(), "1000000");
    assert_eq!(drive(&cluster, "echo(100)").success(), "8");
    cluster.becomes_idle();
}

#[test]
fn streams_go_through_functions_that_are_not_async() {
    let cluster = Cluster::new();
    let apart = Apart::new(&cluster);
    assert_eq!(apart.drive("echo-sync(5000)").success(), sum(5000).to_string());
    cluster.becomes_idle();
}

#[test]
fn futures_and_streams_stand_anywhere_in_a_value() {
    let cluster = Cluster::new();
    let apart = Apart::new(&cluster);
    assert_eq!(apart.drive(r#"wait("later")"#).success(), r#""later""#);
    // The nth stream has the numbers below n.
    assert_eq!(apart.drive("unpack(5)").success(), r#"(10, "parcel done 5")"#);
    cluster.becomes_idle();
}

#[test]
fn many_calls_stream_beside_one_another() {
    let cluster = Cluster::new();
    let _apart = Apart::new(&cluster);
    let calls: Vec<Running> = (0..4).map(|_| cluster.calling(&["drive#echo-bytes(2000000, 30000)"])).collect();
    for call in calls {
        assert_eq!(call.output().success(), "2000000");
    }
    cluster.becomes_idle();
}

#[test]
fn an_instance_of_one_call_lives_until_its_streams_have_ended() {
    let cluster = Cluster::new();
    let apart = Apart::with(&cluster, &["--instances", "per-call"], &["--instances", "per-call"]);
    assert_eq!(apart.drive("count(20000, 100)").success(), sum(20_000).to_string());
    assert_eq!(apart.drive("echo-bytes(1000000, 5000)").success(), "1000000");
    cluster.becomes_idle();
    assert!(cluster.ps().as_array().unwrap().iter().all(|process| process["live-instances"] == 0));
}

#[test]
fn a_slow_reader_slows_the_writer() {
    let cluster = Cluster::new();
    let apart = Apart::new(&cluster);
    let most: u64 = apart.drive("dawdle(100000, 10, 50)").success().parse().unwrap();
    // What was read, and what the windows and a chunk at each place on the way hold.
    assert!((10..10_000).contains(&most), "{most}");
    cluster.becomes_idle();
}

#[test]
fn a_reader_that_drops_a_stream_stops_its_writer_in_either_direction() {
    let cluster = Cluster::new();
    let apart = Apart::new(&cluster);
    assert_eq!(apart.drive("take(100000, 3)").success(), "([0, 1, 2], false)");
    let written: u64 = apart.drive("first(100000, 10)").success().parse().unwrap();
    assert!((10..10_000).contains(&written), "{written}");
    cluster.becomes_idle();
}

#[test]
fn who_reads_a_stream_whose_writer_traps_does_not_take_a_part_for_the_whole() {
    let cluster = Cluster::new();
    let apart = Apart::new(&cluster);
    let output = apart.drive("trap-after(25)");
    assert_eq!(output.code(), 1, "{output:#?}");
    says(&output.stderr, &["#trap-after", "streams", "after 25 items"]);
    // Both have new instances.
    assert_eq!(apart.drive("sum(100, 10)").success(), sum(100).to_string());
    cluster.becomes_idle();
}

#[test]
fn a_callback_that_traps_while_it_reads_fails_its_call_and_stops_the_writer() {
    let cluster = Cluster::new();
    let apart = Apart::new(&cluster);
    let output = apart.drive("trap-at(100000, 50)");
    says(output.success(), &["err(\"failed trap", "at item 50", "true"]);
    cluster.becomes_idle();
}

#[test]
fn a_caller_that_traps_while_it_writes_takes_its_call_along() {
    let cluster = Cluster::new();
    let apart = Apart::new(&cluster);
    let output = apart.drive(r#"panic-after(30, "written")"#);
    assert_eq!(output.code(), 1, "{output:#?}");
    says(&output.stderr, &["after 30 items"]);
    cluster.becomes_idle();
    assert_eq!(apart.drive("sum(100, 10)").success(), sum(100).to_string());
}

#[test]
fn cancelling_a_call_ends_its_streams() {
    let cluster = Cluster::new();
    let flags = ["--on-cancel", "kill"];
    let apart = Apart::with(&cluster, &flags, &flags);
    for call in [r#"drive#stall-after(30, "MARK")"#, r#"drive#hang-after(30, "MARK")"#] {
        let call = cluster.calling(&[call]);
        apart.streamer.wait_for_line("MARK");
        call.kill();
        cluster.becomes_idle();
    }
    assert_eq!(apart.drive("echo-bytes(100000, 1000)").success(), "100000");
}

#[test]
fn a_stream_that_stands_still_ends_with_its_calls_deadline() {
    let cluster = Cluster::new();
    let _apart = Apart::with(&cluster, &["--max-call-time", "2s"], &["--max-call-time", "2s"]);
    for call in [r#"drive#stall-after(30, "MARK")"#, r#"drive#hang-after(30, "MARK")"#] {
        let output = cluster.run(["call", "--timeout", "1s", call]);
        assert_ne!(output.code(), 0, "{output:#?}");
        cluster.becomes_idle();
    }
}

#[test]
fn who_reads_from_a_runtime_that_is_killed_learns_it() {
    let cluster = Cluster::new();
    let _controller = cluster.runtime("controller").args(["--controller", "--no-node"]).start();
    let streams = cluster.runtime("streams").module("streams", "fixtures-streams").ready();
    let streamer = cluster.runtime("streamer").module("streamer", "fixtures-streamer").ready();
    let call = cluster.calling(&[r#"drive#hang-after(30, "reading")"#]);
    streamer.wait_for_line("reading");
    streams.kill();
    let output = call.output();
    assert_eq!(output.code(), 1, "{output:#?}");
    says(&output.stderr, &["#hang-after", "the link broke in the middle of a stream"]);
    let _streams = cluster.runtime("streams").module("streams", "fixtures-streams").ready();
    let call = cluster.calling(&[r#"drive#stall-after(30, "writing")"#]);
    streamer.wait_for_line("writing");
    streamer.kill();
    assert_ne!(call.output().code(), 0);
    cluster.becomes_idle();
}

#[test]
fn a_module_that_ends_fails_the_streams_that_it_writes() {
    let cluster = Cluster::new();
    let _controller = cluster.runtime("controller").args(["--controller", "--no-node"]).start();
    let streams = cluster.runtime("streams").module("streams", "fixtures-streams").args(["--drain-timeout", "100ms"]);
    let streams = streams.ready();
    let streamer = cluster.runtime("streamer").module("streamer", "fixtures-streamer").ready();
    let call = cluster.calling(&[r#"drive#hang-after(30, "reading")"#]);
    streamer.wait_for_line("reading");
    streams.terminate();
    let output = call.output();
    assert_eq!(output.code(), 1, "{output:#?}");
    assert_eq!(streams.exit_code(), 0);
    cluster.becomes_idle();
}

#[test]
fn a_run_that_has_returned_writes_its_streams_to_the_end() {
    let cluster = Cluster::new();
    let _streams = cluster.runtime("streams").controller().module("streams", "fixtures-streams").ready();
    let runs = cluster.runtime("run").module("run", "fixtures-streamer");
    let output = runs.args(["--env", "COUNT=5000", "--exit-after-run"]).finish();
    assert_eq!(output.success(), format!("the sum is {}", sum(5000)));
    cluster.becomes_idle();
}

#[test]
fn streams_beyond_those_that_a_module_may_have_open_are_refused() {
    let cluster = Cluster::new();
    let apart = Apart::with(&cluster, &["--open-streams", "4"], &["--open-streams", "8"]);
    assert_eq!(apart.drive("open(4)").success(), "4");
    cluster.becomes_idle();
    let output = apart.drive("open(5)");
    assert_eq!(output.code(), 1, "{output:#?}");
    says(&output.stderr, &["hang-after", "streams may have 4 streams and futures open", "limit of open streams"]);
    cluster.becomes_idle();
    assert_eq!(apart.drive("open(4)").success(), "4");
    // One each way.
    assert_eq!(apart.drive("echo-bytes(10000, 1000)").success(), "10000");
    cluster.becomes_idle();
}

#[test]
fn a_failure_is_a_value_where_the_import_says_so() {
    let cluster = Cluster::new();
    let apart = Apart::with(&cluster, &["--open-streams", "0"], &[]);
    let refused = apart.drive("sum-checked(10, 1)");
    says(refused.success(), &["err(\"not-run overloaded", "readers", "may have 0 streams and futures open"]);
    let lost = apart.drive("count-checked(10, 1)");
    says(lost.success(), &["err(\"failed overloaded", "its result is lost"]);
    cluster.becomes_idle();
    drop(apart.streams);
    let _streams = cluster.runtime("again").controller().module("streams", "fixtures-streams").ready();
    assert_eq!(apart.cluster.run(["call", "--wait-ready", "drive#count-checked(10, 1)"]).success(), "ok(45)");
}

#[test]
fn who_cannot_stream_is_told_what_can() {
    let cluster = Cluster::new();
    let _streams = cluster.runtime("streams").controller().module("streams", "fixtures-streams").ready();
    for call in ["sum([])", "count(5, 5)"] {
        let refused = cluster.call(call);
        says(refused.one_line_error(2), &["a stream or a future in its type", "call it with --stream"]);
    }
    let refused = cluster.call_json("count", "[5, 5]");
    says(refused.one_line_error(2), &["fixtures:streams/writers@0.1.0#count", "-> stream<u64>"]);
    cluster.becomes_idle();
}

/// Enough to show that nothing keeps what has gone through: with 64 MiB for each guest, and the runtimes' own memory.
#[test]
fn what_flows_is_not_held_anywhere() {
    const BYTES: u64 = 256 << 20;
    const MOST_KIB: u64 = 128 << 10;
    let cluster = Cluster::new();
    let memory = ["--memory", "64MiB"];
    let apart = Apart::with(&cluster, &memory, &memory);
    let call = format!("echo-bytes({BYTES}, 65536)");
    assert_eq!(apart.drive(&call).success(), BYTES.to_string());
    for runtime in [&apart.streams, &apart.streamer] {
        let peak = runtime.peak_memory_kib();
        assert!(peak < MOST_KIB, "{peak} KiB");
    }
    cluster.becomes_idle();
}
