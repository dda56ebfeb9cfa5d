//! STREAM from guests without async: items to a callback once each, streams in both directions, and how they end.

use super::cluster::output::says;
use super::cluster::{Cluster, Running};

/// A controller with a process of the fixtures, and one of the fixtures that stream.
fn serving(cluster: &Cluster) -> Running {
    let start = cluster.runtime("server").controller();
    start.module("math", "fixtures").module("streams", "fixtures-streams").ready()
}

/// Runs a script to its end; what it said.
#[track_caller]
fn script(cluster: &Cluster, steps: &[&str]) -> Vec<String> {
    let output = cluster.runtime("script").script(steps).finish();
    output.success().lines().map(str::to_owned).collect()
}

#[test]
fn a_callback_without_streams_is_called_once_an_item_and_its_results_come_back_in_order() {
    let cluster = Cluster::new();
    let _server = serving(&cluster);
    let steps = [
        "stream hold []",
        "reply",
        "write 0 [\"a\", 100]",
        "peek-in 0",
        "write 0 {\"ms\": 0, \"mark\": \"b\"}",
        "finish 0",
        "read-all 0",
        "ended 0",
        "stream-wave twice ()",
        "reply",
        "write 0 20",
        "write 0 21",
        "finish 0",
        "read-all 0",
        "stream nothing []",
        "reply",
        "write 0 null",
        "finish 0",
        "read-all 0",
    ];
    let said = script(&cluster, &steps);
    let hold = ["hold = null, 1 streams", "0 has nothing", "0 gave \"a\"", "0 gave \"b\"", "0 ended", "0 arrived"];
    assert_eq!(said[..6], hold);
    assert_eq!(said[6..10], ["twice = , 1 streams", "0 gave 40", "0 gave 42", "0 ended"]);
    assert_eq!(said[10..], ["nothing = null, 1 streams", "0 gave null", "0 ended"]);
    cluster.becomes_idle();
}

#[test]
fn an_item_that_fails_ends_the_stream_and_is_named() {
    let cluster = Cluster::new();
    let _server = serving(&cluster);
    let steps = [
        "stream divide []",
        "reply",
        "write 0 [6, 3]",
        "read 0",
        "write 0 [1, 0]",
        "read 0",
        "read 0",
        "ended 0",
        "write 0 [6, 3]",
        "call add [1, 2]",
    ];
    let said = script(&cluster, &steps);
    assert_eq!(said[..2], ["divide = null, 1 streams", "0 gave 2"]);
    for line in &said[2..5] {
        says(line, &["0 failed: failed trap", "item 1", "divide by zero"]);
    }
    says(&said[5], &["write failed: failed trap"]);
    assert_eq!(said[6], "add = 3");
    cluster.becomes_idle();
}

#[test]
fn an_item_of_the_wrong_type_is_an_error_and_the_stream_goes_on() {
    let cluster = Cluster::new();
    let _server = serving(&cluster);
    let steps = [
        "stream twice []",
        "reply",
        "write 0 \"x\"",
        "write 0 -1",
        "write 0 [1]",
        "write 0 4",
        "finish 0",
        "write 0 5",
        "read-all 0",
        "stream sum [0]",
        "write 0 {}",
        "write 0 7",
        "finish 0",
        "reply",
    ];
    let said = script(&cluster, &steps);
    for line in &said[1..4] {
        says(line, &["write failed: not-run bad-arguments an item for inline#twice: ", "u32"]);
    }
    says(&said[4], &["write failed: failed bad-arguments the stream is finished"]);
    assert_eq!(said[5..7], ["0 gave 8", "0 ended"]);
    says(&said[7], &["write failed: not-run bad-arguments", "expected u64"]);
    assert_eq!(said[8..], ["sum = 7, 0 streams"]);
    cluster.becomes_idle();
}

#[test]
fn streams_go_to_a_callback_from_it_and_both_ways() {
    let cluster = Cluster::new();
    let _server = serving(&cluster);
    let steps = [
        "stream writers#count [3, 1]",
        "reply",
        "read-all 0",
        "stream echo#texts [0]",
        "reply",
        "write 0 \"one\"",
        "read 0",
        "write 0 \"two\"",
        "read 0",
        "finish 0",
        "read 0",
        "stream echo#bytes [0]",
        "reply",
        "write 0 \"AAEC\"",
        "read 0",
        "finish 0",
        "read-all 0",
    ];
    let said = script(&cluster, &steps);
    assert_eq!(said[..5], ["writers#count = 0, 1 streams", "0 gave 0", "0 gave 1", "0 gave 2", "0 ended"]);
    assert_eq!(said[5..9], ["echo#texts = 0, 1 streams", "0 gave \"one\"", "0 gave \"two\"", "0 ended"]);
    assert_eq!(said[9..], ["echo#bytes = 0, 1 streams", "0 gave \"AAEC\"", "0 ended"]);
    cluster.becomes_idle();
}

#[test]
fn a_future_takes_one_value() {
    let cluster = Cluster::new();
    let _server = serving(&cluster);
    let steps = ["stream echo#value [0]", "reply", "write 0 \"once\"", "write 0 \"twice\"", "read-all 0", "ended 0"];
    let said = script(&cluster, &steps);
    assert_eq!(said[0], "echo#value = 0, 1 streams");
    says(&said[1], &["write failed: failed bad-arguments"]);
    assert_eq!(said[2..], ["0 gave \"once\"", "0 ended", "0 arrived"]);
    cluster.becomes_idle();
}

#[test]
fn a_reader_that_does_not_read_holds_up_its_writer_and_all_arrives_when_it_does() {
    let cluster = Cluster::new();
    let _server = serving(&cluster);
    // What comes back is not read: each part of the way fills, up to the writer. One item that is read then need not make room there: that
    // depends on how much has come through by then.
    let steps = ["stream echo#numbers [0]", "reply", "fill 0 5", "read 0", "finish 0", "drain 0", "ended 0"];
    let output = cluster.runtime("script").script(&steps).finish();
    let said: Vec<&str> = output.success().lines().collect();
    let took: usize = said[1].strip_prefix("0 took ").unwrap().parse().unwrap();
    assert!((256..20_000).contains(&took), "{took}");
    says(said[2], &["0 "]);
    says(output.success(), &["0 gave 5", &format!("0 gave {} in all", took - 1), "0 ended", "0 arrived"]);
    cluster.becomes_idle();
}

#[test]
fn many_items_go_through_in_order_and_none_is_lost() {
    let cluster = Cluster::new();
    let _server = serving(&cluster);
    let steps = ["stream readers#sum [0]", "flood 0 10000 3", "finish 0", "reply", "ended 0"];
    let said = script(&cluster, &steps);
    assert_eq!(said, ["0 took 10000", "readers#sum = 30000, 0 streams", "0 arrived"]);
    cluster.becomes_idle();
}

#[test]
fn either_end_may_give_up_and_the_other_is_told() {
    let cluster = Cluster::new();
    let _server = serving(&cluster);
    let steps = [
        "stream readers#take [0, 2]",
        "write 0 1",
        "write 0 2",
        "reply",
        "ended 0",
        "stream echo#numbers [0]",
        "reply",
        "drop-in 0",
        // What is on its way may be taken yet: its guest learns of it as it writes. So many are more than may wait.
        "flood 0 100000 1",
        "ended 0",
        "stream twice []",
        "reply",
        "fail-out 0 not today",
        "read 0",
        "ended 0",
        "stream twice []",
        "reply",
        "drop-out 0",
        "read 0",
        "stream readers#sum [0]",
        "drop-reply",
        "ended 0",
        "call add [1, 2]",
    ];
    let said = script(&cluster, &steps);
    assert_eq!(said[0], "readers#take = [1,2], 0 streams");
    says(&said[1], &["0 failed: failed cancelled"]);
    assert_eq!(said[2], "echo#numbers = 0, 1 streams");
    says(&said[3], &["write failed: failed cancelled"]);
    says(&said[4], &["0 failed: failed cancelled"]);
    says(&said[6], &["0 failed: failed cancelled not today"]);
    says(&said[7], &["0 failed: failed cancelled not today"]);
    says(&said[9], &["0 failed: failed cancelled the stream was dropped before it was finished"]);
    says(&said[10], &["0 failed: ", "cancelled"]);
    assert_eq!(said[11..], ["add = 3"]);
    cluster.becomes_idle();
}

#[test]
fn a_lost_process_and_a_stream_that_stands_still_are_told() {
    let cluster = Cluster::new();
    let _server = serving(&cluster);
    let far = cluster.runtime("far").module("far", "fixtures-streams").ready();
    let steps = [
        "wait-process far 60000",
        "stream-to far hang-after [1]",
        "reply",
        "read 0",
        "print waiting",
        "read 0",
        "stream-within 300 hang-after [1]",
        "reply",
        "read 0",
        "read 0",
    ];
    let running = cluster.runtime("script").script(&steps).start();
    running.wait_for_line("waiting");
    far.kill();
    let output = running.output();
    let said: Vec<&str> = output.success().lines().collect();
    assert_eq!(said[1..4], ["hang-after = 0, 1 streams", "0 gave 0", "waiting"]);
    says(said[4], &["0 failed: unknown link-lost"]);
    assert_eq!(said[5..7], ["hang-after = 0, 1 streams", "0 gave 0"]);
    says(said[7], &["0 failed: ", "deadline-exceeded"]);
    cluster.becomes_idle();
}

#[test]
fn what_is_wrong_with_a_call_that_streams_is_a_value() {
    let cluster = Cluster::new();
    let _server = serving(&cluster);
    let steps = [
        "stream nothing-of-the-kind []",
        "stream add [1, 2]",
        "stream readers#sum [1]",
        "stream readers#sum [[1, 2]]",
        "stream readers#sum []",
        "stream-within 0 twice []",
        "stream-to nobody twice []",
        "call readers#sum [0]",
    ];
    let said = script(&cluster, &steps);
    says(&said[0], &["failed: not-run no-such-callback"]);
    says(&said[1], &["not-run bad-arguments", "called once an item"]);
    says(&said[2], &["not-run bad-arguments", "the channel 1 where 0 comes next"]);
    says(&said[3], &["not-run bad-arguments", "stream<u64>"]);
    says(&said[4], &["not-run bad-arguments"]);
    says(&said[5], &["not-run bad-arguments"]);
    says(&said[6], &["not-run no-such-process"]);
    says(&said[7], &["not-run bad-arguments", "stream"]);
    cluster.becomes_idle();
}

#[test]
fn a_module_has_no_more_streams_open_than_it_may_and_gets_its_places_back() {
    let cluster = Cluster::new();
    let _server = serving(&cluster);
    let steps =
        ["stream twice []", "reply", "stream twice []", "use 0", "finish 0", "read-all 0", "ended 0", "drop-in 0"];
    // A stream of items and one of results; no more fits.
    let start = cluster.runtime("script").script(&steps).args(["--open-streams", "2"]);
    let output = start.finish();
    let said: Vec<&str> = output.success().lines().collect();
    says(said[1], &["twice failed: not-run overloaded"]);
    assert_eq!(said[2..], ["0 ended", "0 arrived"]);
    let again = ["stream readers#sum [0]", "finish 0", "reply", "ended 0", "drop-reply", "drop-out 0"].repeat(5);
    let start = cluster.runtime("script").script(&again).args(["--open-streams", "1", "--open-calls", "1"]);
    let output = start.finish();
    assert_eq!(output.success().matches("readers#sum = 0, 0 streams").count(), 5);
    cluster.becomes_idle();
}
