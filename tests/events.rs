//! Who comes and goes: `daffi-runtime events`, and what guests are told.

use super::cluster::Cluster;
use super::cluster::output::says;

#[test]
fn events_tell_who_is_there_and_then_who_comes_and_goes() {
    let cluster = Cluster::new();
    let controller = cluster.serving("math");
    let events = cluster.bare("events").args(["events"]).start();
    events.wait_for_line_with(&["joined   math", "fixtures:guest/arith@0.1.0#add"]);
    let other = cluster.runtime("other").module("b", "fixtures-names").ready();
    events.wait_for_line("joined   b (other)");
    other.kill();
    events.wait_for_line("left     b (other)");
    controller.kill();
    says(&events.output().stderr, &["the controller has gone"]);
    assert_eq!(events.exit_code(), 5);
}

#[test]
fn events_in_json_are_a_line_each_and_an_interrupt_ends_them_well() {
    let cluster = Cluster::new();
    let _controller = cluster.serving("math");
    let events = cluster.bare("events").args(["events", "--json"]).start();
    let line = events.wait_for_line("joined");
    let event: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&event["event"], &event["process"]), (&"joined".into(), &"math".into()));
    assert!(event["callbacks"].as_array().unwrap().iter().any(|name| name == "fixtures:guest/arith@0.1.0#add"));
    events.signal(rustix::process::Signal::INT);
    assert_eq!(events.exit_code(), 0);
}

#[test]
fn events_without_a_controller_fail_at_once() {
    let cluster = Cluster::new();
    let output = cluster.run(["events"]);
    says(output.one_line_error(5), &["no controller", "--controller"]);
}

#[test]
fn a_guest_is_told_who_is_there_and_then_who_comes_and_goes() {
    let cluster = Cluster::new();
    let _controller = cluster.serving("math");
    let steps =
        ["wait-process math 60000", "watch", "event 60000", "event 60000", "peek-event", "poll-event", "poll-event"];
    let script = cluster.runtime("script").script(&steps).start();
    script.wait_for_line("no event");
    let told: Vec<String> = script.lines().into_iter().filter(|line| line.starts_with("joined ")).collect();
    assert!(told.iter().any(|line| line.starts_with("joined script")), "{told:?}");
    let math = told.iter().find(|line| line.starts_with("joined math ")).unwrap();
    says(math, &["fixtures:guest/arith@0.1.0#add"]);
    let other = cluster.runtime("other").module("b", "fixtures-names").ready();
    says(&script.wait_for_line("joined b "), &["only#unmistakable"]);
    other.kill();
    script.wait_for_line("left b");
    assert_eq!(script.exit_code(), 0);
}

#[test]
fn a_watch_is_one_of_a_guests_open_calls_and_bad_timeouts_are_values() {
    let cluster = Cluster::new();
    let _controller = cluster.serving("math");
    let steps = [
        "wait-process math 60000",
        "watch",
        "event 0",
        "event 604800001",
        "event 60000",
        "event 60000",
        "event 20",
        "call who []",
        "unwatch",
        "call who []",
    ];
    let script = cluster.runtime("script").script(&steps).args(["--open-calls", "1"]).finish();
    let said: Vec<&str> = script.success().lines().collect();
    assert!(said[1..3].iter().all(|line| line.starts_with("event failed: not-run bad-arguments")), "{said:#?}");
    says(said[5], &["event failed: not-run deadline-exceeded"]);
    says(said[6], &["who failed: not-run overloaded"]);
    assert_eq!(said[7], "who = \"math\"");
    cluster.becomes_idle();
}
