//! STREAM from the Rust SDK: once an item, streams both ways, by hand, and to several receivers at once; and what it says of
//! types and times that do not fit.

use super::cluster::output::says;
use super::cluster::{Cluster, Start};

/// A guest that does what this case of it says; see `guests/fixtures/sdk-streams`.
fn case<'a>(cluster: &'a Cluster, name: &str) -> Start<'a> {
    cluster.runtime("caller").module("caller", "fixtures-sdk-streams").args(["--env", &format!("CASE={name}")])
}

/// What a case prints beside a process with callbacks and one with streams.
fn said(name: &str) -> Vec<String> {
    let cluster = Cluster::new();
    let server = cluster.runtime("server").controller();
    let _server = server.module("math", "fixtures").module("streams", "fixtures-streams").ready();
    let output = case(&cluster, name).finish();
    let said = output.success().lines().map(str::to_owned).collect();
    cluster.becomes_idle();
    said
}

#[test]
fn an_iterator_of_calls_gives_an_iterator_of_results_and_neither_window_stops_the_other() {
    let said = said("each");
    assert_eq!(said[..2], ["5000 results, in order: true", "divided: 2"]);
    says(&said[2], &["divided failed: ", "item 1", "divide by zero", "failed, trap"]);
    assert_eq!(said[3..], ["of none: 0", "taken: [0, 2, 4]", "afterwards: 3"]);
}

#[test]
fn iterators_are_arguments_and_results_of_callbacks_with_streams() {
    let said = said("whole");
    assert_eq!(said[..3], ["sum: 12497500", "take: [0, 1]", "count: [0, 1, 2, 3, 4]"]);
    assert_eq!(said[3], "echo: 12497500");
    says(said.last().unwrap(), &["number failed: ", "trap"]);
}

#[test]
fn items_are_written_by_hand_and_a_failure_is_told() {
    let said = said("by-hand");
    says(&said[0], &["too early failed: ", "is not begun", "not-run"]);
    assert_eq!(said[1..4], ["sum: 6", "back: Some(7)", "and nothing more: true"]);
    says(&said[4], &["sum failed: ", "not today"]);
}

#[test]
fn whoever_reads_what_a_callback_writes_learns_that_a_stream_which_it_reads_failed() {
    let said = said("failures");
    assert_eq!(said.len(), 201, "{said:?}");
    assert!(said[..200].iter().all(|line| line == "back: Some(7)"), "{said:?}");
    assert_eq!(said[200], "told: 200");
}

#[test]
fn what_does_not_fit_is_an_error_of_the_call() {
    let said = said("refused");
    says(&said[0], &["texts failed: ", "bad-arguments"]);
    says(&said[1], &["no streams failed: ", "bad-arguments"]);
    says(&said[2], &["nobody failed: ", "not-run, no-such-process"]);
    says(&said[3], &["no receiver failed: ", "not-run, bad-arguments"]);
    says(&said[4], &["two callbacks failed: ", "`add`", "twice", "bad-arguments"]);
}

#[test]
fn every_item_goes_to_every_receiver_and_who_is_not_there_has_an_error() {
    let cluster = Cluster::new();
    let server = cluster.runtime("server").controller();
    let _server = server.module("one", "fixtures-streams").module("two", "fixtures-streams").ready();
    let output = case(&cluster, "several").finish();
    let said: Vec<&str> = output.success().lines().collect();
    says(said[1], &["nobody failed: ", "no-such-process"]);
    assert_eq!([said[0], said[2]], ["one: 499500", "two: 499500"]);
    cluster.becomes_idle();
}

/// What it comes to where a receiver is lost while another one stands still and the third is done.
fn one_is_lost(name: &str) -> Vec<String> {
    let cluster = Cluster::new();
    let server = cluster.runtime("server").controller();
    let _server = server.module("fast", "fixtures-twins").module("slow", "fixtures-twins").ready();
    let lost = cluster.runtime("lost").module("lost", "fixtures-twins").ready();
    let caller = case(&cluster, name).start();
    // It has had all 200, though the others stand at the sixth.
    caller.wait_for_line("fast is done");
    lost.kill();
    let output = caller.output();
    let lines = output.success().lines().filter(|line| !line.starts_with("fast is done"));
    lines.map(str::to_owned).collect()
}

#[test]
fn a_slow_receiver_does_not_hold_up_a_fast_one_and_a_lost_one_stops_nobody() {
    let said = one_is_lost("pace");
    says(&said[0], &["lost failed: ", "link-lost"]);
    assert_eq!(said[1..], ["fast: 200 results, well", "slow: 200 results, well", "lost: 5 results, link-lost"]);
}

#[test]
fn a_failure_stops_all_receivers_where_that_is_asked_for() {
    let said = one_is_lost("stop");
    says(&said[0], &["lost failed: ", "link-lost"]);
    assert_eq!(said[1..], ["fast: 200 results, well", "slow: 5 results, cancelled", "lost: 5 results, link-lost"]);
}

#[test]
fn what_does_not_fit_is_said_with_what_the_callback_is_and_what_the_bounds_are() {
    let said = said("misfits");
    let is = "; it is func(a: s64, b: s64) -> s64 (";
    for (line, parts) in
        said.iter().zip([
            &[
                "result failed: the result of `add` is not of the type that this guest declares",
                is,
                "signature-mismatch",
            ][..],
            &["arguments failed: arguments of fixtures:guest/arith@0.1.0#add: ", is, "not-run, bad-arguments"],
            &["timeout failed: a timeout is 1 to 604800000 milliseconds (7 days), not 0", "not-run, bad-arguments"],
            &["every failed: every 0ns is too often: a schedule runs every 10ms at most", "not-run, bad-arguments"],
            &["at failed: `at` without a time: give 1 to 1024", "not-run, bad-arguments"],
        ])
    {
        says(line, parts);
    }
    assert_eq!(said.len(), 5);
}
