//! Beginning and end: `wasi:cli/run`, exit codes, signals, and the sockets that are left behind.

use rustix::process::Signal;

use super::cluster::output::says;
use super::cluster::{Cluster, Running};

fn controller(cluster: &Cluster) -> Running {
    let controller = cluster.bare("controller").args(["--controller", "--no-node"]).start();
    controller.wait_for_line("listening");
    controller
}

#[test]
fn a_module_without_callbacks_leaves_when_its_run_returns() {
    let cluster = Cluster::new();
    let _controller = controller(&cluster);
    let output = cluster.runtime("script").script(&["print done"]).finish();
    assert_eq!(output.success(), "done");
}

#[test]
fn the_exit_code_says_how_a_run_ended() {
    let cluster = Cluster::new();
    let _controller = controller(&cluster);
    let ended = |steps: &[&str]| cluster.runtime("script").script(steps).finish();
    assert_eq!(ended(&["fail"]).code(), 1);
    assert_eq!(ended(&["exit"]).code(), 1);
    let trapped = ended(&["trap the reason why"]);
    assert_eq!(trapped.code(), 134, "{trapped:#?}");
    says(&trapped.stderr, &["the reason why"]);
    assert_eq!(ended(&["stop 7", "print done"]).code(), 7);
    assert_eq!(ended(&["stop 0", "fail"]).code(), 0, "the first to stop decides");
}

#[test]
fn a_failing_run_does_not_end_a_runtime_with_other_modules_that_serve() {
    let cluster = Cluster::new();
    let server = cluster
        .runtime("server")
        .controller()
        .module("math", "fixtures")
        .module("script", "script")
        .args(["--env", "SCRIPT=trap the reason why"])
        .start();
    server.wait_for_line("the reason why");
    assert_eq!(cluster.call("add(1, 2)").success(), "3");
    assert!(!server.ended());
}

#[test]
fn a_guest_stops_the_runtime_from_a_callback() {
    let cluster = Cluster::new();
    let server = cluster.serving("a");
    cluster.call("stop(9)").success();
    assert_eq!(server.exit_code(), 9);
}

#[test]
fn a_controller_stays_while_nodes_are_connected() {
    let cluster = Cluster::new();
    let server = cluster.runtime("script").controller().script(&["wait-process b 60000", "print done"]).start();
    server.wait_for_line("listening");
    let b = cluster.runtime("b").module("b", "fixtures").ready();
    server.wait_for_line("done");
    assert_eq!(cluster.call("who()").success(), "\"b\"");
    b.terminate();
    assert_eq!(b.exit_code(), 0);
    assert_eq!(server.exit_code(), 0);
}

#[test]
fn exit_after_run_ends_a_runtime_that_has_callbacks() {
    let cluster = Cluster::new();
    let output = cluster
        .runtime("both")
        .controller()
        .module("math", "fixtures")
        .module("script", "script")
        .args(["--exit-after-run", "--env", "SCRIPT=call add [1, 2]"])
        .finish();
    assert_eq!(output.success(), "script | add = 3");
}

#[test]
fn a_term_signal_lets_calls_in_flight_finish_and_takes_no_new_ones() {
    let cluster = Cluster::new();
    let _controller = controller(&cluster);
    let b = cluster.runtime("b").module("b", "fixtures").ready();
    let held = cluster.calling(&[r#"hold("x", 1500)"#]);
    b.wait_for_line("x started");
    b.terminate();
    // It leaves the mesh at once, though the call goes on.
    let gone = cluster.runtime("script").script(&["call who []"]).finish();
    says(gone.success(), &["who failed: not-run"]);
    assert_eq!(held.output().success(), r#""x""#);
    assert_eq!(b.exit_code(), 0);
}

#[test]
fn a_runtime_that_is_told_to_end_before_it_has_started_ends_well_too() {
    let cluster = Cluster::new();
    let server = cluster.runtime("a").controller().module("a", "fixtures").args(["--log", "debug"]).start();
    server.wait_for_line("loading the modules");
    server.terminate();
    assert_eq!(server.exit_code(), 0);
}

#[test]
fn a_controller_that_ends_lets_the_calls_through_it_finish_and_takes_no_new_ones() {
    let cluster = Cluster::new();
    let controller = controller(&cluster);
    let b = cluster.runtime("b").module("b", "fixtures").args(["--instances", "pool:2"]).ready();
    let held = cluster.calling(&[r#"hold("x", 5000)"#]);
    b.wait_for_line("x started");
    controller.terminate();
    controller.wait_for_line("SIGTERM");
    let refused = cluster.call("who()");
    says(refused.one_line_error(3), &["draining", "the controller is shutting down"]);
    assert_eq!(held.output().success(), r#""x""#);
    assert_eq!(controller.exit_code(), 0);
}

#[test]
fn an_interrupt_ends_a_runtime_well_too() {
    let cluster = Cluster::new();
    let server = cluster.serving("a");
    server.signal(Signal::INT);
    assert_eq!(server.exit_code(), 0);
    assert!(!cluster.socket().exists(), "the socket was left behind");
}

#[test]
fn calls_that_do_not_finish_in_the_drain_time_are_given_up() {
    let cluster = Cluster::new();
    let _controller = controller(&cluster);
    let b = cluster.runtime("b").module("b", "fixtures").args(["--drain-timeout", "300ms"]).ready();
    let held = cluster.calling(&[r#"hold("x", 60000)"#]);
    b.wait_for_line("x started");
    b.terminate();
    assert_eq!(b.exit_code(), 0);
    let output = held.output();
    assert!([1, 4].contains(&output.code()), "{output:#?}");
}

#[test]
fn a_second_signal_ends_a_runtime_at_once() {
    let hold = ("fixtures", r#"hold("x", 60000)"#);
    let tasks = ("fixtures-concurrent", r#"tasks#hold("x", 60000)"#);
    // Who sleeps in a timer of the guests' runtime and is woken by the end of it: often, since it is not each time in the
    // network's thread.
    let nap = ("fixtures-concurrent", r#"tasks#nap("x", 60000)"#);
    for (module, call) in [hold, tasks].into_iter().chain([nap; 16]) {
        let cluster = Cluster::new();
        let server = cluster.runtime("a").controller().module("a", module).ready();
        let held = cluster.calling(&[call]);
        server.wait_for_line("x started");
        server.terminate();
        server.wait_for_line("signal again");
        server.terminate();
        assert_eq!(server.exit_code(), 143);
        let output = held.output();
        assert!([1, 4].contains(&output.code()), "{output:#?}");
        assert_eq!(server.count("panicked"), 0, "what it leaves is dropped, not polled");
    }
}

#[test]
fn a_socket_that_a_killed_controller_left_is_replaced() {
    let cluster = Cluster::new();
    cluster.serving("a").kill();
    assert!(cluster.socket().exists());
    let _server = cluster.serving("a");
    assert_eq!(cluster.call("count()").success(), "1");
}

#[test]
fn the_default_socket_is_private() {
    use std::os::unix::fs::PermissionsExt;
    let cluster = Cluster::new();
    let temp = cluster.path("tmp");
    std::fs::create_dir(&temp).unwrap();
    let server = cluster
        .bare("server")
        .host_env("DAFFI_SOCKET", "")
        .host_env("TMPDIR", &temp)
        .args(["--controller", "--no-node"])
        .start();
    server.wait_for_line("listening");
    let folder = temp.join(format!("daffi-{}", rustix::process::getuid().as_raw()));
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&folder), mode(&folder.join("controller.sock"))), (0o700, 0o600));
    server.terminate();
    assert_eq!(server.exit_code(), 0);

    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o755)).unwrap();
    let refused = cluster
        .bare("refused")
        .host_env("DAFFI_SOCKET", "")
        .host_env("TMPDIR", &temp)
        .args(["--controller", "--no-node"])
        .finish();
    says(refused.one_line_error(2), &["daffi-", "0755", "chmod 700"]);
}

#[test]
fn a_module_with_callbacks_serves_on_after_its_run_unless_told_to_end() {
    let cluster = Cluster::new();
    let _controller = controller(&cluster);
    let serving = cluster.runtime("a").module("a", "fixtures-lifecycle").start();
    serving.wait_for_line("run has");
    cluster.run(["call", "--wait-ready", "entries()"]).success();
    let ending = cluster.runtime("b").module("b", "fixtures-lifecycle").args(["--exit-after-run"]).finish();
    says(ending.success(), &["run has"]);
}

#[test]
fn when_a_controller_ends_its_nodes_wait_for_the_next_one() {
    let cluster = Cluster::new();
    let first = controller(&cluster);
    let b = cluster.runtime("b").module("b", "fixtures").ready();
    first.terminate();
    assert_eq!(first.exit_code(), 0);
    b.wait_for_line("lost the controller");
    let _second = controller(&cluster);
    b.wait_for_line("connected to");
    assert_eq!(cluster.call("who()").success(), "\"b\"");
}
