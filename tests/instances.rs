//! Instances: whose state survives, what runs at once, and what a trap takes with it.

use super::cluster::output::says;
use super::cluster::{Cluster, Running};

fn serving(cluster: &Cluster, component: &str, instances: &str) -> Running {
    cluster.runtime("server").controller().module("a", component).args(["--instances", instances]).ready()
}

fn counts(cluster: &Cluster, calls: usize) -> Vec<String> {
    (0..calls).map(|_| cluster.call("count()").success().to_owned()).collect()
}

#[test]
fn the_state_of_a_singleton_survives_calls() {
    let cluster = Cluster::new();
    let _server = serving(&cluster, "fixtures", "singleton");
    assert_eq!(counts(&cluster, 3), ["1", "2", "3"]);
    cluster.becomes_idle();
}

#[test]
fn each_call_of_a_per_call_module_has_a_fresh_instance() {
    let cluster = Cluster::new();
    let _server = serving(&cluster, "fixtures", "per-call");
    assert_eq!(counts(&cluster, 3), ["1", "1", "1"]);
    cluster.becomes_idle();
}

#[test]
fn calls_of_a_singleton_run_one_at_a_time() {
    let cluster = Cluster::new();
    let server = serving(&cluster, "fixtures", "singleton");
    let first = cluster.calling(&[r#"hold("first", 300)"#]);
    server.wait_for_line("first started");
    let second = cluster.calling(&[r#"hold("second", 1)"#]);
    assert_eq!((first.exit_code(), second.exit_code()), (0, 0));
    server.wait_for_line("second finished");
    let order: Vec<String> = server.lines().into_iter().filter(|line| line.contains("ed")).collect();
    let place = |text: &str| order.iter().position(|line| line.contains(text)).unwrap();
    assert!(place("first finished") < place("second started"), "{order:#?}");
}

#[test]
fn a_pool_runs_as_many_calls_at_once_as_it_has_instances_each_with_its_own_state() {
    let cluster = Cluster::new();
    let server = serving(&cluster, "fixtures", "pool:2");
    let _held = [cluster.calling(&[r#"hold("x", 60000)"#]), cluster.calling(&[r#"hold("y", 60000)"#])];
    server.wait_for_line("x started");
    server.wait_for_line("y started");
    // Both instances are taken: the third call waits, and its time is over before it has run.
    let third = cluster.run(["call", "--timeout", "1s", "count()"]);
    says(third.one_line_error(3), &["count"]);
}

#[test]
fn async_calls_of_one_instance_interleave() {
    let cluster = Cluster::new();
    let server = serving(&cluster, "fixtures-concurrent", "singleton");
    let held = cluster.calling(&[r#"hold("x", 60000)"#]);
    server.wait_for_line("x started");
    assert_eq!(cluster.call(r#"tasks#hold("y", 1)"#).success(), "2");
    assert_eq!(cluster.call("inside()").success(), "1");
    held.kill();
}

#[test]
fn a_trap_ends_only_the_instance_that_trapped_and_the_next_call_has_a_new_one() {
    let cluster = Cluster::new();
    let server = serving(&cluster, "fixtures", "pool:2");
    let held = cluster.calling(&[r#"hold("x", 1500)"#]);
    server.wait_for_line("x started");
    assert_eq!(counts(&cluster, 2), ["1", "2"]);
    let trapped = cluster.call(r#"faults#trap("the reason why")"#);
    says(trapped.stderr.lines().next().unwrap_or_default(), &["error: ", "the reason why", "faults"]);
    assert_eq!(trapped.code(), 1);
    assert_eq!(counts(&cluster, 1), ["1"], "the instance was not replaced");
    assert_eq!(held.output().success(), r#""x""#);
    cluster.becomes_idle();
}

#[test]
fn the_caller_of_a_callback_that_trapped_gets_message_and_backtrace() {
    let cluster = Cluster::new();
    let _server = cluster.runtime("server").controller().module("a", "fixtures").module("b", "fixtures").ready();
    let trap = |callback: &str, args: &str| {
        let call = format!(r#"["{callback}", {}, "b", null]"#, serde_json::Value::from(args));
        let output = cluster.run(["call", "--receiver", "a", "forward", "--json", &call]);
        let answer: serde_json::Value = serde_json::from_str(output.success()).unwrap();
        let error = answer["err"].clone();
        assert_eq!((&error["outcome"], &error["process"]), (&"failed".into(), &"b".into()), "{error}");
        error
    };
    let error = trap("faults#trap", r#"["the reason why"]"#);
    assert_eq!(error["code"], "trap");
    says(error["message"].as_str().unwrap(), &["the reason why"]);
    assert!(!error["message"].as_str().unwrap().contains('\n'), "{error}");
    // The guest's functions by name.
    says(error["trace"].as_str().unwrap(), &["trap", "fixtures"]);

    says(trap("trap-out-of-bounds", "[]")["message"].as_str().unwrap(), &["out of bounds"]);
    says(trap("trap-unreachable", "[]")["message"].as_str().unwrap(), &["unreachable"]);
    says(trap("divide", "[1, 0]")["message"].as_str().unwrap(), &["divide by zero"]);
    trap("exit", "[true]");
    trap("exit", "[false]");
    assert_eq!(counts(&cluster, 1), ["1"]);
    cluster.becomes_idle();
}

#[test]
fn a_trap_in_an_async_instance_fails_all_calls_in_it_and_the_next_has_a_new_one() {
    let cluster = Cluster::new();
    let server = serving(&cluster, "fixtures-concurrent", "singleton");
    let held = cluster.calling(&[r#"hold("x", 60000)"#]);
    server.wait_for_line("x started");
    let trapped = cluster.call(r#"tasks#trap("the reason why", 1)"#);
    assert_eq!(trapped.code(), 1, "{trapped:#?}");
    let unsure = "or the other call beside it in its instance did: ";
    says(&trapped.stderr, &["the reason why", "#trap trapped, ", unsure]);
    let held = held.output();
    assert_eq!(held.code(), 1, "{held:#?}");
    says(&held.stderr, &["the reason why", "#hold trapped, ", unsure]);
    assert_eq!(cluster.call("inside()").success(), "0");
}

#[test]
fn a_long_lived_instance_is_told_about_its_life_in_order() {
    let cluster = Cluster::new();
    let start = || {
        let controller = cluster.bare("controller").args(["--controller", "--no-node"]).start();
        controller.wait_for_line("listening");
        controller
    };
    let first = start();
    let a = cluster.runtime("a").module("a", "fixtures-lifecycle").ready();
    a.wait_for_line("journal: connect");
    assert_eq!(cluster.call("entries()").success(), r#"["init", "connect"]"#);
    first.kill();
    a.wait_for_line("journal: disconnect");
    let _second = start();
    a.wait_for_line("journal: connect");
    assert_eq!(cluster.call("entries()").success(), r#"["init", "connect", "disconnect", "connect"]"#);
    // The one that replaces it after a trap begins anew.
    assert_eq!(cluster.call("journal#trap()").code(), 1);
    a.wait_for_line("journal: init");
    says(cluster.call("entries()").success(), &[r#"["init""#]);
}

#[test]
fn an_instance_of_a_per_call_module_is_told_nothing() {
    let cluster = Cluster::new();
    let _server = serving(&cluster, "fixtures-lifecycle", "per-call");
    assert_eq!(cluster.call("entries()").success(), "[]");
    cluster.becomes_idle();
}

#[test]
fn a_run_has_an_instance_of_its_own() {
    let cluster = Cluster::new();
    let server = cluster.runtime("a").controller().module("a", "fixtures-lifecycle").start();
    server.wait_for_line("run has 0 entries");
    server.wait_for_line("journal: connect");
    assert_eq!(cluster.call("entries()").success(), r#"["init", "connect"]"#);
}

#[test]
fn an_instance_that_traps_or_spins_in_its_first_function_fails_the_call_and_nothing_else() {
    for how in ["trap", "spin"] {
        let cluster = Cluster::new();
        let server = cluster
            .runtime("server")
            .controller()
            .module("a", "fixtures-lifecycle")
            .module("b", "fixtures")
            .args(["--max-call-time", "500ms", "--env", &format!("ON_INIT={how}")])
            .start();
        server.wait_for_line("journal: init");
        let output = cluster.run(["call", "--wait-ready", "--timeout", "10s", "entries()"]);
        assert!([1, 3].contains(&output.code()), "{output:#?}");
        says(&output.stderr, &["on-init"]);
        assert_eq!(cluster.call("add(1, 2)").success(), "3");
    }
}
