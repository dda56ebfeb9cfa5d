//! Trees of calls across three runtimes: what a cancel, a kill or a trap at the top does at the bottom; and calls that
//! wait for each other.
//!
//! A held call has 10 minutes, or the default 30 s where the fixture gives it no more, and whoever asks whether it is over
//! has 20 s: only a cancel ends it in time.

use serde_json::{Value, json};

use super::cluster::output::says;
use super::cluster::{Cluster, Running};

/// How long a guest is held that is not to finish.
const FOR_LONG: u64 = 600_000;

/// A runtime whose only process has its name, of the fixtures.
fn serving(cluster: &Cluster, name: &str, args: &[&str]) -> Running {
    cluster.runtime(name).module(name, "fixtures").args(["--max-call-time", "10m"]).args(args).ready()
}

fn controller(cluster: &Cluster) -> Running {
    let controller = cluster.bare("controller").args(["--controller", "--no-node"]).start();
    controller.wait_for_line("listening");
    controller
}

/// What `forward` is to be given for this call.
fn forward(callback: &str, args: &Value, receiver: &str) -> Value {
    json!([callback, args.to_string(), receiver, FOR_LONG])
}

/// The arguments for a `forward` at `b` that holds `c`.
fn hold_at_c(mark: &str, ms: u64) -> Value {
    forward("hold", &json!([mark, ms]), "c")
}

/// Starts a call from the command line to `a`, which calls `b`, which calls this at `c`.
fn through_a_and_b(cluster: &Cluster, at_c: &Value) -> Running {
    let args = forward("forward", at_c, "b").to_string();
    cluster.calling(&["--timeout", "10m", "--receiver", "a", "forward", "--json", &args])
}

/// A script at `a` that has `b` hold `c`, and goes on with `then` when a process `gate` is there.
fn script_at_a(cluster: &Cluster, then: &[&str]) -> Running {
    let begin = format!("bg-with receiver=b,timeout={FOR_LONG} forward {}", hold_at_c("x", FOR_LONG));
    let mut steps = vec![begin.as_str(), "wait-process gate 600000"];
    steps.extend(then);
    cluster.runtime("a").script(&steps).start()
}

/// The answer of this process, which takes the call well before a held one meets its deadline.
fn asked(cluster: &Cluster, process: &str, expression: &str) -> String {
    cluster.run(["call", "--timeout", "20s", "--receiver", process, expression]).success().to_owned()
}

#[test]
fn a_cancel_at_the_top_gives_a_place_in_the_queue_at_the_bottom_to_the_next_call() {
    let cluster = Cluster::new();
    let _controller = controller(&cluster);
    let _a = serving(&cluster, "a", &["--instances", "pool:1"]);
    let _b = serving(&cluster, "b", &["--instances", "pool:1"]);
    let c = serving(&cluster, "c", &["--instances", "pool:1", "--queue", "1"]);
    let held = cluster.calling(&["--timeout", "10m", "--receiver", "c", r#"hold("held", 600000)"#]);
    c.wait_for_line("held started");
    let queued = through_a_and_b(&cluster, &hold_at_c("queued", 1));
    cluster.has_in_flight("c", 2);
    let full = cluster.run(["call", "--receiver", "c", "who()"]);
    says(full.one_line_error(3), &["overloaded"]);

    queued.kill();
    cluster.has_in_flight("c", 1);
    // It ends when the call has its place in the queue.
    let next = cluster.run(["call", "--timeout", "10m", "--no-result", "--receiver", "c", r#"hold("next", 1)"#]);
    assert_eq!((next.success(), held.ended()), ("", false));
    held.kill();
    c.wait_for_line("next finished");
    cluster.becomes_idle();
    assert_eq!((c.count("held finished"), c.count("queued started")), (0, 0));
}

#[test]
fn a_dropped_call_stops_the_guest_at_the_bottom_in_a_pool_in_an_instance_of_its_own_and_where_the_policy_kills() {
    for args in [["--instances", "pool:1"], ["--instances", "per-call"], ["--on-cancel", "kill"]] {
        let cluster = Cluster::new();
        let _controller = controller(&cluster);
        let _b = serving(&cluster, "b", &["--instances", "pool:1"]);
        // One call at a time under each policy: another is answered only where the first has been stopped.
        let c = serving(&cluster, "c", &[&args[..], &["--concurrency", "1"]].concat());
        let a = script_at_a(&cluster, &["drop 0", "print dropped", "wait-process end 600000"]);
        c.wait_for_line("x started");
        let _gate = serving(&cluster, "gate", &[]);
        a.wait_for_line("dropped");
        assert_eq!(asked(&cluster, "c", "count()"), "1", "{args:?}: the instance was not replaced");
        assert_eq!((c.count("x finished"), a.ended()), (0, false), "{args:?}");
        // Its wait is an open call, too.
        let _end = serving(&cluster, "end", &[]);
        cluster.becomes_idle();
    }
}

#[test]
fn a_singleton_at_the_bottom_runs_on_when_the_top_has_given_up_and_keeps_its_state() {
    let cluster = Cluster::new();
    let _controller = controller(&cluster);
    let _a = serving(&cluster, "a", &["--instances", "pool:1"]);
    let _b = serving(&cluster, "b", &["--instances", "pool:1"]);
    let c = serving(&cluster, "c", &[]);
    assert_eq!(asked(&cluster, "c", "count()"), "1");
    let call = through_a_and_b(&cluster, &hold_at_c("x", 2000));
    c.wait_for_line("x started");
    call.kill();
    // Whoever waited for it is free at once; the next call of `c` waits until the singleton is.
    assert_eq!((asked(&cluster, "a", "who()"), asked(&cluster, "b", "who()")), ("\"a\"".into(), "\"b\"".into()));
    assert_eq!(asked(&cluster, "c", "count()"), "2");
    c.wait_for_line("x finished");
    cluster.becomes_idle();
}

#[test]
fn a_singleton_in_the_middle_does_not_keep_the_guest_below_it_running() {
    let cluster = Cluster::new();
    let _controller = controller(&cluster);
    let _a = serving(&cluster, "a", &[]);
    let _b = serving(&cluster, "b", &[]);
    let c = serving(&cluster, "c", &["--instances", "pool:1"]);
    let call = through_a_and_b(&cluster, &hold_at_c("x", FOR_LONG));
    c.wait_for_line("x started");
    call.kill();
    for process in ["a", "b", "c"] {
        assert_eq!(asked(&cluster, process, "count()"), "1");
    }
    cluster.becomes_idle();
    assert_eq!(c.count("x finished"), 0);
}

#[test]
fn a_runtime_that_is_killed_at_the_top_stops_the_guest_at_the_bottom() {
    let cluster = Cluster::new();
    let _controller = controller(&cluster);
    let a = serving(&cluster, "a", &[]);
    let _b = serving(&cluster, "b", &["--instances", "pool:1"]);
    let c = serving(&cluster, "c", &["--instances", "pool:1"]);
    let call = through_a_and_b(&cluster, &hold_at_c("x", FOR_LONG));
    c.wait_for_line("x started");
    a.kill();
    says(call.output().one_line_error(4), &["forward", "a"]);
    cluster.becomes_idle();
    assert_eq!((asked(&cluster, "b", "count()"), asked(&cluster, "c", "count()")), ("1".into(), "1".into()));
    assert_eq!(c.count("x finished"), 0);
}

#[test]
fn a_run_that_traps_takes_its_calls_in_the_background_with_it_down_to_the_bottom() {
    let cluster = Cluster::new();
    let _controller = controller(&cluster);
    let _b = serving(&cluster, "b", &["--instances", "pool:1"]);
    let c = serving(&cluster, "c", &["--instances", "pool:1"]);
    let a = script_at_a(&cluster, &["trap gone"]);
    c.wait_for_line("x started");
    let _gate = serving(&cluster, "gate", &[]);
    assert_eq!(a.exit_code(), 134);
    assert_eq!(asked(&cluster, "c", "count()"), "1");
    cluster.becomes_idle();
    assert_eq!(c.count("x finished"), 0);
}

#[test]
fn a_callback_that_traps_ends_the_calls_that_its_instance_began_down_to_the_bottom_and_no_others() {
    let cluster = Cluster::new();
    let _controller = controller(&cluster);
    let a = serving(&cluster, "a", &[]);
    let _b = serving(&cluster, "b", &["--instances", "pool:1"]);
    let c = serving(&cluster, "c", &["--instances", "pool:2"]);
    // It makes `c` the busier one, so that `a` calls `b`.
    let innocent = cluster.calling(&["--timeout", "10m", "--receiver", "c", r#"hold("innocent", 600000)"#]);
    c.wait_for_line("innocent started");
    let begin = json!(["forward", hold_at_c("x", FOR_LONG).to_string(), 1]).to_string();
    let begun = cluster.run(["call", "--timeout", "10m", "--receiver", "a", "begin", "--json", &begin]);
    assert_eq!(begun.success(), r#"{"ok":null}"#);
    c.wait_for_line("x started");
    assert_eq!(cluster.run(["call", "--receiver", "a", r#"trap("gone")"#]).code(), 1);
    assert_eq!(asked(&cluster, "c", "who()"), "\"c\"");
    assert_eq!((c.count("x finished"), innocent.ended(), a.ended()), (0, false, false));
    innocent.kill();
    cluster.becomes_idle();
}

/// What a call answers that goes from `a` to `b`, in another runtime, and back to `a`.
fn there_and_back(cluster: &Cluster) -> Value {
    let args = forward("forward", &forward("who", &json!([]), "a"), "b").to_string();
    let output = cluster.run(["call", "--timeout", "10m", "--receiver", "a", "forward", "--json", &args]);
    inner(&serde_json::from_str(output.success()).unwrap())
}

/// The answer in the answer of a `forward`.
fn inner(answer: &Value) -> Value {
    serde_json::from_str(answer["ok"].as_str().unwrap_or_else(|| panic!("no answer: {answer}"))).unwrap()
}

#[test]
fn a_call_that_returns_to_a_waiting_singleton_over_other_runtimes_is_refused_with_the_chain() {
    let cluster = Cluster::new();
    let _controller = controller(&cluster);
    let _runtimes = ["a", "b", "c"].map(|name| serving(&cluster, name, &[]));
    let cycle = |answer: &Value, chain: &str| {
        let error = &answer["err"];
        let what = ["outcome", "code", "process"].map(|field| error[field].as_str().unwrap());
        assert_eq!(what, ["not-run", "cycle", "a"], "{answer}");
        says(error["message"].as_str().unwrap(), &[chain]);
    };
    cycle(&there_and_back(&cluster), "a -> b -> a");
    let longer = through_a_and_b(&cluster, &forward("forward", &forward("who", &json!([]), "a"), "c"));
    let answer = inner(&inner(&serde_json::from_str(longer.output().success()).unwrap()));
    cycle(&answer, "a -> b -> c -> a");
    cluster.becomes_idle();
}

#[test]
fn a_call_that_returns_over_another_runtime_is_taken_by_a_pool_and_by_an_instance_of_its_own() {
    for instances in ["pool:2", "per-call"] {
        let cluster = Cluster::new();
        let _controller = controller(&cluster);
        let _a = serving(&cluster, "a", &["--instances", instances]);
        let _b = serving(&cluster, "b", &[]);
        assert_eq!(there_and_back(&cluster), json!({ "ok": "\"a\"" }), "{instances}");
        cluster.becomes_idle();
    }
}

#[test]
fn two_singletons_that_wait_for_each_other_do_so_until_a_deadline_that_says_who_held_the_instance() {
    let cluster = Cluster::new();
    let _controller = controller(&cluster);
    let a = serving(&cluster, "a", &["--on-cancel", "kill"]);
    let _b = serving(&cluster, "b", &[]);
    // Behind a call that holds `a` until both are in its queue: a call of `a` that calls `b`, then one that `b` makes.
    let gate = cluster.calling(&["--timeout", "10m", "--receiver", "a", r#"hold("gate", 600000)"#]);
    a.wait_for_line("gate started");
    let at_a = r#"forward("who", "[]", some("b"), some(1000))"#;
    let short = cluster.calling(&["--timeout", "10m", "--receiver", "a", at_a]);
    cluster.has_in_flight("a", 2);
    let at_b = forward("who", &json!([]), "a");
    let step = format!("call-with receiver=b,timeout={FOR_LONG} forward {at_b}");
    let rival = cluster.runtime("rival").script(&[&step]).start();
    cluster.has_in_flight("a", 3);
    gate.kill();
    says(
        short.output().success(),
        &["not-run", "deadline-exceeded", "while it waited for b, busy with", "forward for rival"],
    );
    // The other one has what it waited for.
    rival.wait_for_line(r#"forward = {"ok":"\"a\""}"#);
    assert_eq!(rival.exit_code(), 0);
    cluster.becomes_idle();
}
