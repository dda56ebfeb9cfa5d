//! BG: calls that guests begin and whose results they fetch later, many at a time.

use super::cluster::output::says;
use super::cluster::{Cluster, Running};

/// A controller with these processes of the fixtures, where a call that nobody waits for is stopped.
fn serving(cluster: &Cluster, names: &[&str]) -> Running {
    let start = cluster.runtime("server").controller().args(["--instances", "pool:1"]);
    names.iter().fold(start, |start, name| start.module(name, "fixtures")).ready()
}

#[test]
fn a_guest_goes_on_while_its_call_runs_and_fetches_the_result_as_often_as_it_likes() {
    let cluster = Cluster::new();
    let _server = serving(&cluster, &["math"]);
    let steps = ["bg hold [\"m\", 200]", "peek 0", "print going on", "await 0", "peek 0", "await 0", "drop 0"];
    let output = cluster.runtime("script").script(&steps).finish();
    let said: Vec<&str> = output.success().lines().collect();
    assert_eq!(said, ["0: nothing yet", "going on", "hold = \"m\"", "hold = \"m\"", "hold = \"m\""]);
    cluster.becomes_idle();
}

#[test]
fn of_many_calls_in_the_background_the_first_to_end_is_waited_for() {
    let cluster = Cluster::new();
    let _server = serving(&cluster, &["a", "b"]);
    // The first call holds one process; those that follow go to the other.
    let steps = ["bg hold [\"slow\", 60000]", "bg who []", "first", "bg add [1, 2]", "first", "peek 0"];
    let output = cluster.runtime("script").script(&steps).finish();
    let said: Vec<&str> = output.success().lines().collect();
    assert!(said[0].starts_with("who = "), "{output:#?}");
    assert_eq!(said[1..], ["add = 3", "0: nothing yet"]);
    cluster.becomes_idle();
}

#[test]
fn a_call_that_is_dropped_or_cancelled_is_stopped_where_it_runs() {
    let cluster = Cluster::new();
    let _server = serving(&cluster, &["math"]);
    let steps = [
        "bg hold [\"dropped\", 60000]",
        "drop 0",
        "call who []",
        "bg hold [\"cancelled\", 60000]",
        "cancel 1",
        "await 1",
        "call who []",
        "bg who []",
        "await 2",
        "cancel 2",
        "await 2",
    ];
    let output = cluster.runtime("script").script(&steps).finish();
    let said: Vec<&str> = output.success().lines().collect();
    assert_eq!(said[0], "who = \"math\"");
    says(said[1], &["hold failed: unknown cancelled"]);
    assert_eq!(said[2..], ["who = \"math\""; 3]);
    cluster.becomes_idle();
}

#[test]
fn what_is_wrong_with_a_call_in_the_background_shows_when_it_is_begun_or_when_it_is_awaited() {
    let cluster = Cluster::new();
    let _server = serving(&cluster, &["math"]);
    let steps = [
        "bg nothing-of-the-kind []",
        "bg add [1]",
        "bg-within 0 add [1, 2]",
        "bg-within 604800001 add [1, 2]",
        "bg divide [1, 0]",
        "await 0",
        "bg-within 100 hold [\"late\", 60000]",
        "await 1",
    ];
    let output = cluster.runtime("script").script(&steps).finish();
    let said: Vec<&str> = output.success().lines().collect();
    says(said[0], &["not-run no-such-callback"]);
    for line in &said[1..4] {
        says(line, &["failed: not-run bad-arguments"]);
    }
    says(said[4], &["divide failed: failed trap", "divide by zero"]);
    says(said[5], &["hold failed: ", "deadline-exceeded"]);
    cluster.becomes_idle();
}

#[test]
fn a_callback_that_is_not_there_yet_is_waited_for_in_the_background() {
    let cluster = Cluster::new();
    let _server = serving(&cluster, &["math"]);
    let steps = ["bg-ready unmistakable []", "peek 0", "await 0"];
    let script = cluster.runtime("script").script(&steps).start();
    script.wait_for_line("0: nothing yet");
    let _names = cluster.runtime("names").module("names", "fixtures-names").ready();
    script.wait_for_line("unmistakable = \"only\"");
    assert_eq!(script.exit_code(), 0);
}

#[test]
fn a_module_has_no_more_calls_in_the_background_than_it_may() {
    let cluster = Cluster::new();
    let _server = serving(&cluster, &["b"]);
    let _a = cluster.runtime("a").module("a", "fixtures").args(["--open-calls", "3"]).ready();
    let at_a = |callback: &str, args: &str| {
        cluster.run(["call", "--receiver", "a", callback, "--json", args]).success().to_owned()
    };
    let refused = at_a("begin", r#"["who", "[]", 4]"#);
    says(&refused, &["\"not-run\"", "\"overloaded\"", "3 calls of its own open"]);
    assert_eq!(at_a("forget", "[]"), "3");
    assert_eq!(at_a("begin", r#"["who", "[]", 3]"#), r#"{"ok":null}"#);
    assert_eq!(at_a("collect", "[]"), r#"[{"ok":"\"b\""},{"ok":"\"b\""},{"ok":"\"b\""}]"#);
    assert_eq!(at_a("begin", r#"["who", "[]", 3]"#), r#"{"ok":null}"#);
    assert_eq!(at_a("forget", "[]"), "3");
    cluster.becomes_idle();
}

#[test]
fn results_that_nobody_drops_are_held_up_to_four_payloads() {
    let cluster = Cluster::new();
    let _server = serving(&cluster, &["math"]);
    let begin = "times 5 bg big-result [900000]";
    let steps = [begin, "await 0", "await 1", "await 2", "await 3", "await 4", "drop 0", "bg who []", "await 5"];
    let script = cluster.runtime("script").script(&steps).args(["--max-payload", "1MiB"]).finish();
    let said = script.success();
    assert_eq!(said.matches("big-result = ").count(), 4);
    assert_eq!(said.matches("big-result failed: failed limit-exceeded").count(), 1);
    says(said, &["who = \"math\""]);
    cluster.becomes_idle();
}

#[test]
fn calls_in_the_background_end_with_the_instance_that_began_them() {
    let cluster = Cluster::new();
    let b = serving(&cluster, &["b"]);
    let _a = cluster.runtime("a").module("a", "fixtures").ready();
    let at_a = ["call", "--receiver", "a", "begin", "--json", r#"["hold", "[\"held\", 60000]", 1]"#];
    assert_eq!(cluster.run(at_a).success(), r#"{"ok":null}"#);
    b.wait_for_line("held started");
    assert_eq!(cluster.run(["call", "--receiver", "a", r#"trap("gone")"#]).code(), 1);
    assert_eq!(cluster.run(["call", "--receiver", "b", "who()"]).success(), "\"b\"");
    cluster.becomes_idle();
}
