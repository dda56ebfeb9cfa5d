//! `daffi-runtime events`: who comes and goes.

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
