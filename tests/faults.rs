//! What dies, comes back or talks nonsense, and who notices.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::cluster::output::says;
use super::cluster::{CONNECTED, Cluster, Running};

fn controller(cluster: &Cluster) -> Running {
    let controller = cluster.bare("controller").args(["--controller", "--no-node"]).start();
    controller.wait_for_line("listening");
    controller
}

/// A node whose process takes another call while it is in one.
fn node(cluster: &Cluster, name: &str) -> Running {
    cluster.runtime(name).module(name, "fixtures").args(["--instances", "pool:2"]).ready()
}

#[test]
fn when_the_controller_dies_calls_in_flight_end_as_unknown_and_later_ones_go_through_when_it_is_back() {
    let cluster = Cluster::new();
    let first = controller(&cluster);
    let b = node(&cluster, "b");
    let steps = ["wait-process b 60000", r#"call hold ["x", 60000]"#, "call add [1, 2]", "call who []"];
    let script = cluster.runtime("script").args(["--direct", "off"]).script(&steps).start();
    b.wait_for_line("x started");
    let killed = Instant::now();
    first.kill();
    says(&script.wait_for_line("hold failed"), &["unknown link-lost"]);
    assert!(killed.elapsed() < Duration::from_secs(20), "the caller was told after {:?}", killed.elapsed());
    // The script's next call waits for the mesh.
    let _second = controller(&cluster);
    b.wait_for_line(CONNECTED);
    assert_eq!(script.exit_code(), 0);
    let said = script.lines().join("\n");
    assert!(said.contains("add = 3") && said.contains("who = \"b\""), "{said}");
}

#[test]
fn calls_over_a_direct_link_go_on_without_the_controller() {
    for direct in ["unix", "tcp://127.0.0.1:0"] {
        let cluster = Cluster::new();
        let first = controller(&cluster);
        let direct = ["--direct", direct];
        let b = cluster.runtime("b").module("b", "fixtures").args(direct).ready();
        let steps = ["wait-process b 60000", r#"call hold ["x", 3000]"#, "call add [1, 2]", "call who []"];
        let script = cluster.runtime("script").script(&steps).args(direct).start();
        b.wait_for_line("x started");
        first.kill();
        script.wait_for_line("hold = \"x\"");
        // The script's next call waits for the mesh, where names are looked up.
        let _second = controller(&cluster);
        b.wait_for_line(CONNECTED);
        assert_eq!(script.exit_code(), 0, "{direct:?}");
        let said = script.lines().join("\n");
        assert!(said.contains("add = 3") && said.contains("who = \"b\""), "{said}");
        cluster.becomes_idle();
    }
}

#[test]
fn a_runtime_that_is_killed_ends_the_calls_that_others_have_over_direct_links_to_it() {
    let cluster = Cluster::new();
    let _controller = controller(&cluster);
    let b = node(&cluster, "b");
    let steps = ["wait-process b 60000", r#"call hold ["x", 60000]"#, "print told"];
    let script = cluster.runtime("script").script(&steps).start();
    b.wait_for_line("x started");
    b.kill();
    says(&script.wait_for_line("hold failed"), &["unknown link-lost"]);
    assert_eq!(script.exit_code(), 0);
    // What it left in the folder is cleared away by the next one.
    let sockets = || {
        let names = std::fs::read_dir(cluster.sockets()).unwrap();
        names.filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with("node-")).count()
    };
    assert_eq!(sockets(), 2, "a socket and its lock are left");
    let _c = node(&cluster, "c");
    assert_eq!(sockets(), 2, "those of the new one alone");
}

#[test]
fn what_direct_links_are_to_be_is_off_unix_tcp_or_tls() {
    let cluster = Cluster::new();
    let _controller = controller(&cluster);
    let off = cluster.runtime("off").module("off", "fixtures").args(["--direct", "off"]).ready();
    assert!(!cluster.sockets().exists() || std::fs::read_dir(cluster.sockets()).unwrap().count() == 0);
    off.kill();
    for (said, why) in [
        ("sideways", "\"sideways\" is neither \"unix\", \"off\", tls://HOST:PORT nor tcp://HOST:PORT"),
        ("tcp://192.0.2.1:1", "plain TCP is neither encrypted nor authenticated"),
        ("tcp://127.0.0.1:x", "the port is no number"),
        ("tls://127.0.0.1:0", "give --connect tls://…, --tls-ca, --tls-cert and --tls-key"),
    ] {
        let output = cluster.runtime("bad").module("bad", "fixtures").args(["--direct", said]).finish();
        assert_eq!(output.code(), 2);
        says(&output.stderr, &[why]);
    }
}

#[test]
fn calls_of_one_runtime_go_on_without_the_controller() {
    let cluster = Cluster::new();
    let first = controller(&cluster);
    let both = cluster
        .runtime("both")
        .module("math", "fixtures")
        .module("script", "script")
        .args(["--env", "SCRIPT=call hold [\"before\", 2000]\ncall add [1, 2]\nprint done"])
        .ready();
    both.wait_for_line("before started");
    first.kill();
    both.wait_for_line("hold = \"before\"");
    both.wait_for_line("add = 3");
    let _second = controller(&cluster);
    both.wait_for_line(CONNECTED);
    both.wait_for_line("done");
    assert_eq!(cluster.call("add(4, 5)").success(), "9");
}

#[test]
fn without_a_controller_a_call_is_not_run_at_its_deadline() {
    let cluster = Cluster::new();
    let first = controller(&cluster);
    let b = node(&cluster, "b");
    let steps = ["wait-process b 60000", r#"call hold ["x", 60000]"#, "within 1000 add [1, 2]"];
    let script = cluster.runtime("script").script(&steps).start();
    b.wait_for_line("x started");
    first.kill();
    script.wait_for_line("hold failed");
    says(
        &script.wait_for_line("add failed"),
        &["not-run", "not connected to a controller: no controller at unix://", "controller.sock"],
    );
    assert_eq!(script.exit_code(), 0);
}

#[test]
fn when_a_node_dies_its_callers_have_their_error_at_once() {
    let cluster = Cluster::new();
    let _controller = controller(&cluster);
    let b = node(&cluster, "b");
    let call = cluster.calling(&[r#"hold("x", 60000)"#]);
    b.wait_for_line("x started");
    let killed = Instant::now();
    b.kill();
    let output = call.output();
    assert!(killed.elapsed() < Duration::from_secs(20), "the caller was told after {:?}", killed.elapsed());
    says(output.one_line_error(4), &["hold", "b"]);
}

#[test]
fn nonsense_on_the_socket_closes_that_link_with_a_reason_and_nothing_else_notices() {
    let cluster = Cluster::new();
    let controller = controller(&cluster);
    let b = node(&cluster, "b");
    let held = cluster.calling(&[r#"hold("x", 3000)"#]);
    b.wait_for_line("x started");

    let mut garbage = cluster.raw();
    garbage.frame(&[0xff; 64]);
    garbage.closed();
    controller.wait_for_line_with_any(&["header", "frame"]);

    let mut half = cluster.raw();
    half.write(&[200, 0, 0, 0, 1, 2, 3]);
    half.end();
    half.closed();
    controller.wait_for_line_with_any(&["middle of a frame"]);

    let mut giant = cluster.raw();
    giant.write(&u32::MAX.to_le_bytes());
    giant.closed();
    controller.wait_for_line_with(&["4294967295"]);

    let mut http = cluster.raw();
    http.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    http.closed();
    controller.wait_for_line("HTTP");

    assert_eq!(held.output().success(), r#""x""#);
    assert_eq!(cluster.call("add(1, 2)").success(), "3");
    assert_eq!((controller.ended(), b.ended(), b.count("lost")), (false, false, 0));
}

#[test]
fn another_version_of_the_protocol_is_refused_with_both_versions() {
    let cluster = Cluster::new();
    let controller = controller(&cluster);
    let mut future = cluster.raw();
    let mut hello = vec![0]; // Hello is the first kind of frame, and the version follows as a varint
    hello.extend([0xe7, 0x07]); // 999
    hello.extend([1, 2, 3]); // in whatever layout that version has
    future.frame(&hello);
    let answer = String::from_utf8_lossy(&future.closed()).into_owned();
    says(&answer, &["999", "1"]);
    says(&controller.wait_for_line("999"), &["version"]);
}

#[test]
fn a_name_that_is_taken_is_refused_for_good() {
    let cluster = Cluster::new();
    let _controller = controller(&cluster);
    let _b = node(&cluster, "b");
    let second = cluster.runtime("b").module("b", "fixtures").finish();
    assert_eq!(second.code(), 5, "{second:#?}");
    says(second.stderr.lines().last().unwrap_or_default(), &["error: ", "\"b\"", "name"]);
    assert_eq!(cluster.call("who()").success(), "\"b\"");
}

#[test]
fn after_a_kill_the_same_user_takes_the_name_at_once() {
    let cluster = Cluster::new();
    let _controller = controller(&cluster);
    for _ in 0..3 {
        let b = node(&cluster, "b");
        assert_eq!(cluster.call("count()").success(), "1");
        b.kill();
    }
}

#[test]
fn a_node_that_comes_before_its_controller_keeps_trying_and_says_so() {
    let cluster = Cluster::new();
    let b = cluster.runtime("b").module("b", "fixtures").start();
    says(&b.wait_for_line("no controller"), &["controller.sock"]);
    let _controller = controller(&cluster);
    b.wait_for_line(CONNECTED);
    assert_eq!(cluster.call("who()").success(), "\"b\"");
}

#[test]
fn a_node_that_shows_no_sign_of_life_is_given_up_and_welcome_when_it_is_back() {
    let cluster = Cluster::new();
    let controller = controller(&cluster);
    let b = node(&cluster, "b");
    let call = cluster.calling(&[r#"hold("x", 60000)"#]);
    b.wait_for_line("x started");
    b.signal(Signal::STOP);
    says(call.output().one_line_error(4), &["hold", "b"]);
    controller.wait_for_line_with(&["lost b", "no sign of life"]);
    assert_eq!(cluster.ps(), serde_json::json!([]));
    b.signal(Signal::CONT);
    b.wait_for_line(CONNECTED);
    assert_eq!(cluster.call("who()").success(), "\"b\"");
}

#[test]
fn a_controller_ends_in_time_though_a_node_that_reads_nothing_has_filled_its_link() {
    let cluster = Cluster::new();
    let controller = controller(&cluster);
    let b = node(&cluster, "b");
    b.signal(Signal::STOP);
    // More than a socket holds; each call has been sent when its caller gives up.
    let long = "x".repeat(100_000);
    let call = format!("hold({long:?}, 1)");
    let calls: Vec<_> = (0..8).map(|_| cluster.calling(&["--timeout", "2s", &call])).collect();
    for call in calls {
        assert_eq!(call.output().code(), 4);
    }
    controller.terminate();
    assert_eq!(controller.exit_code(), 0);
    assert_eq!(controller.count("the network took"), 0, "the link to the frozen node was not given up");
    b.signal(Signal::CONT);
}

#[test]
fn a_caller_over_tcp_and_one_over_the_unix_socket_meet_at_one_controller() {
    let cluster = Cluster::new();
    let address = format!("tcp://{}", cluster.loopback());
    let socket = format!("unix://{}", cluster.socket().display());
    let listen = ["--controller", "--no-node", "--listen", &address, "--listen", &socket];
    let controller = cluster.bare("controller").args(listen).start();
    controller.wait_for_line("listening on tcp://");
    controller.wait_for_line("listening on unix://");
    let _far = cluster.runtime("far").module("far", "fixtures").args(["--connect", &address]).ready();
    let _near = cluster.runtime("near").module("near", "fixtures").ready();
    let ask = |receiver: &str| {
        cluster.run(["call", "--receiver", receiver, r#"forward("who", "[]", none, none)"#]).success().to_owned()
    };
    assert_eq!((ask("far").as_str(), ask("near").as_str()), (r#"ok("\"near\"")"#, r#"ok("\"far\"")"#));
    says(cluster.run(["ps", "--connect", &address]).success(), &["far", "near"]);
}
