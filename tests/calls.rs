//! FG: by name and typed; names and versions; who receives a call, and who never does; cycles.

use super::cluster::output::says;
use super::cluster::{Cluster, Running};

/// A controller and nothing else.
fn controller(cluster: &Cluster) -> Running {
    let controller = cluster.bare("controller").args(["--controller", "--no-node"]).start();
    controller.wait_for_line("listening");
    controller
}

/// A controller with these processes, all of the fixtures, in one runtime.
fn serving(cluster: &Cluster, names: &[&str]) -> Running {
    let start = cluster.runtime("server").controller();
    names.iter().fold(start, |start, name| start.module(name, "fixtures")).ready()
}

#[test]
fn a_guest_calls_by_name_with_json_wave_and_postcard_and_is_answered_in_kind() {
    let cluster = Cluster::new();
    let _server = serving(&cluster, &["a", "b"]);
    let forward = |callback: &str, args: &str| {
        cluster.run(["call", callback, "--json", args, "--receiver", "a"]).success().to_owned()
    };
    assert_eq!(forward("forward", r#"["add", "[2, 3]", null, null]"#), r#"{"ok":"5"}"#);
    assert_eq!(forward("forward", r#"["arith#add", "{\"b\": 3, \"a\": 2}", null, null]"#), r#"{"ok":"5"}"#);
    assert_eq!(forward("forward-wave", r#"["fixtures:guest/arith#add", "(2, 3)"]"#), r#"{"ok":"5"}"#);
    // Zigzag: 2 and 3 are 4 and 6, 5 is 10.
    assert_eq!(forward("forward-postcard", r#"["fixtures:guest/arith@0.1.0#add", [4, 6]]"#), r#"{"ok":"Cg=="}"#);
    cluster.becomes_idle();
}

#[test]
fn typed_calls_reach_another_runtime_and_a_failure_is_a_value_where_the_import_says_so() {
    let cluster = Cluster::new();
    let _math = cluster.serving("math");
    let script = cluster.runtime("script").script(&["add 5 15", "checked-add 2 3", "checked-divide 1 0", "add 1 1"]);
    let output = script.finish();
    let lines: Vec<&str> = output.success().lines().collect();
    assert_eq!(lines[..2], ["add = 20", "add = 5"]);
    says(lines[2], &["divide failed: failed trap", "divide by zero"]);
    assert_eq!(lines[3], "add = 2");
    cluster.becomes_idle();
}

#[test]
fn a_failure_of_a_plain_typed_call_traps_the_caller_with_the_message() {
    let cluster = Cluster::new();
    let _math = cluster.serving("math");
    let output = cluster.runtime("script").script(&["divide 1 0", "print not reached"]).finish();
    assert_eq!(output.code(), 134, "{output:#?}");
    assert!(!output.stdout.contains("not reached"));
    says(&output.stderr, &["script", "divide", "divide by zero"]);
    cluster.becomes_idle();
}

#[test]
fn modules_of_one_runtime_call_each_other_without_a_socket() {
    let cluster = Cluster::new();
    let nowhere = cluster.path("run").join("never-dialled.sock");
    let output = cluster
        .runtime("both")
        .args(["--controller", "--listen", &format!("unix://{}", nowhere.display())])
        .module("math", "fixtures")
        .module("script", "script")
        .args(["--env", "SCRIPT=add 5 15\ncall who []\nwhoami\nstop 0"])
        .finish();
    let said = output.success();
    says(said, &["add = 20", "who = \"math\"", "I am script of default in both"]);
}

#[test]
fn a_typed_import_waits_for_its_callback() {
    let cluster = Cluster::new();
    let _controller = controller(&cluster);
    let script = cluster.runtime("script").script(&["print asking", "add 5 15"]).start();
    script.wait_for_line("asking");
    let _math = cluster.runtime("math").module("math", "fixtures").ready();
    script.wait_for_line("add = 20");
    assert_eq!(script.exit_code(), 0);
}

#[test]
fn a_dynamic_call_to_nobody_fails_at_once_unless_it_waits() {
    let cluster = Cluster::new();
    let _controller = controller(&cluster);
    let steps = ["call add [1,2]", "print waiting", "ready add [1,2]"];
    let script = cluster.runtime("script").script(&steps).start();
    says(&script.wait_for_line("add failed"), &["not-run no-such-callback"]);
    script.wait_for_line("waiting");
    let _math = cluster.runtime("math").module("math", "fixtures").ready();
    script.wait_for_line("add = 3");
}

#[test]
fn a_short_name_that_fits_several_callbacks_is_refused_with_the_candidates() {
    let cluster = Cluster::new();
    let _names = cluster.runtime("names").controller().module("names", "fixtures-names").ready();
    let refused = cluster.call("which()");
    says(refused.one_line_error(2), &["other:math/ops#which", "versions:math/ops@1.2.0#which", "which"]);
    let refused = cluster.call("ops#which()");
    says(refused.one_line_error(2), &["other:math/ops#which"]);
    assert_eq!(cluster.call("other:math/ops#which()").success(), r#""other""#);
    assert_eq!(cluster.call("unmistakable()").success(), r#""only""#);
    assert_eq!(cluster.call("only#unmistakable()").success(), r#""only""#);
    cluster.becomes_idle();
}

#[test]
fn versions_match_as_semver_and_the_highest_is_taken() {
    let cluster = Cluster::new();
    let _names = cluster.runtime("names").controller().module("names", "fixtures-names").ready();
    assert_eq!(cluster.call("versions:math/ops@1.0.0#which()").success(), r#""versions 1.2.0""#);
    assert_eq!(cluster.call("versions:math/ops@2.0.0#which()").success(), r#""versions 2.0.0""#);
    let refused = cluster.call("versions:math/ops@3.0.0#which()");
    says(refused.one_line_error(3), &["versions:math/ops@3.0.0#which", "versions:math/ops@2.0.0#which"]);
    // The script imports 1.1.0: 1.0.0 is too old for it, 2.0.0 is another interface.
    let output = cluster.runtime("script").script(&["which"]).finish();
    assert_eq!(output.success(), "which = versions 1.2.0");
    cluster.becomes_idle();
}

#[test]
fn functions_of_the_world_itself_and_of_inline_interfaces_have_names() {
    let cluster = Cluster::new();
    let _server = serving(&cluster, &["a"]);
    assert_eq!(cluster.call(r#"plain-greeting("you")"#).success(), r#""hello, you""#);
    assert_eq!(cluster.call("inline#twice(21)").success(), "42");
    assert_eq!(cluster.call("twice(4)").success(), "8");
    cluster.becomes_idle();
}

#[test]
fn the_fetchers_table_says_who_serves_an_import() {
    let cluster = Cluster::new();
    let _math = cluster.serving("math");
    let config = format!(
        "[[module]]\nname = \"script\"\npath = {:?}\nfetchers = {{ \"fixtures:script/elsewhere\" = \"fixtures:guest/arith\" }}\n",
        super::cluster::component("script")
    );
    let script = cluster.runtime("script").config(&config).args(["--env", "SCRIPT=elsewhere 5 15"]).finish();
    assert_eq!(script.success(), "elsewhere = 20");
    cluster.becomes_idle();
}

#[test]
fn a_mismatch_of_signatures_shows_both_sides_in_wit() {
    let cluster = Cluster::new();
    let _math = cluster.serving("math");
    let config = format!(
        "[[module]]\nname = \"script\"\npath = {:?}\nfetchers = {{ \"fixtures:script/strange\" = \"fixtures:guest/arith\" }}\n",
        super::cluster::component("script")
    );
    let script = cluster.runtime("script").config(&config).args(["--env", "SCRIPT=strange text"]).finish();
    assert_eq!(script.code(), 134, "{script:#?}");
    says(&script.stderr, &["func(a: string) -> string", "func(a: s64, b: s64) -> s64"]);
    cluster.becomes_idle();
}

#[test]
fn a_process_never_serves_its_own_call() {
    let cluster = Cluster::new();
    let _server = serving(&cluster, &["a"]);
    let alone = cluster.call(r#"forward("who", "[]", none, none)"#);
    says(alone.success(), &["not-run", "no-such-callback"]);
    let pinned = cluster.call(r#"forward("who", "[]", some("a"), none)"#);
    says(pinned.success(), &["not-run"]);
    let _other = cluster.runtime("b").module("b", "fixtures").ready();
    let asked: Vec<String> = (0..4)
        .map(|_| cluster.run(["call", "--receiver", "a", r#"forward("who", "[]", none, none)"#]).success().to_owned())
        .collect();
    assert_eq!(asked, [r#"ok("\"b\"")"#; 4]);
    cluster.becomes_idle();
}

#[test]
fn calls_go_to_those_with_fewest_in_flight_and_in_turns() {
    let cluster = Cluster::new();
    let _controller = controller(&cluster);
    let b = cluster.runtime("b").module("b", "fixtures").ready();
    let _c = cluster.runtime("c").module("c", "fixtures").ready();
    let wait = ["wait-process b 30000", "wait-process c 30000"];
    let turns = cluster.runtime("turns").script(&[wait[0], wait[1], "times 8 call who []"]).finish();
    let of = |said: &str, name: &str| said.matches(&format!("who = \"{name}\"")).count();
    assert_eq!((of(turns.success(), "b"), of(turns.success(), "c")), (4, 4), "{turns:#?}");

    let _held = cluster.calling(&["--receiver", "b", r#"hold("at-b", 60000)"#]);
    b.wait_for_line("at-b started");
    let around = cluster.runtime("around").script(&[wait[0], wait[1], "times 4 call who []"]).finish();
    assert_eq!(of(around.success(), "c"), 4, "{around:#?}");
}

#[test]
fn a_pinned_receiver_is_the_one_that_is_called() {
    let cluster = Cluster::new();
    let _server = serving(&cluster, &["a", "b", "c"]);
    for name in ["a", "b", "c", "b"] {
        let answer = cluster.run(["call", "--receiver", name, "who()"]);
        assert_eq!(answer.success(), format!("{name:?}"));
    }
    let nobody = cluster.run(["call", "--receiver", "d", "who()"]);
    says(nobody.one_line_error(3), &["\"d\"", "who"]);
    cluster.becomes_idle();
}

#[test]
fn a_call_that_returns_to_an_instance_that_waits_for_it_is_refused_at_once_with_the_chain() {
    let cluster = Cluster::new();
    let _server = serving(&cluster, &["a", "b"]);
    let back = r#"["forward", "[\"who\", \"[]\", \"a\", null]", "b", null]"#;
    let output = cluster.run(["call", "--receiver", "a", "forward", "--json", back]);
    let answer: serde_json::Value = serde_json::from_str(output.success()).unwrap();
    let inner: serde_json::Value = serde_json::from_str(answer["ok"].as_str().unwrap()).unwrap();
    let error = &inner["err"];
    assert_eq!((error["outcome"].as_str(), error["code"].as_str()), (Some("not-run"), Some("cycle")), "{inner}");
    says(error["message"].as_str().unwrap(), &["a -> b -> a"]);
    cluster.becomes_idle();
}

#[test]
fn another_instance_of_a_pool_takes_a_call_that_returns() {
    let cluster = Cluster::new();
    let _server = cluster
        .runtime("server")
        .controller()
        .module("a", "fixtures")
        .module("b", "fixtures")
        .args(["--instances", "pool:2"])
        .ready();
    let back = r#"["forward", "[\"who\", \"[]\", \"a\", null]", "b", null]"#;
    let output = cluster.run(["call", "--receiver", "a", "forward", "--json", back]);
    says(output.success(), &[r#"{\"ok\":"#]);
    cluster.becomes_idle();
}

#[test]
fn an_async_instance_takes_a_call_that_returns() {
    let cluster = Cluster::new();
    let _a = cluster.runtime("a").controller().module("a", "fixtures-concurrent").ready();
    let _b = cluster.runtime("b").module("b", "fixtures-concurrent").ready();
    let output = cluster.run(["call", "--receiver", "a", "relay(3)"]);
    assert_eq!(output.success(), r#""a b a b""#);
    cluster.becomes_idle();
}

#[test]
fn a_guest_sees_who_is_there_and_waits_for_who_is_not() {
    let cluster = Cluster::new();
    let _math = cluster.serving("math");
    let steps = [
        "whoami",
        "processes",
        "callbacks",
        "wait-process math 1000",
        "wait-process nobody 50",
        "wait-callback nothing-of-the-kind 50",
        "wait-process not,a,name 50",
        "print waiting",
        "wait-process late 60000",
    ];
    let script = cluster.runtime("script").script(&steps).start();
    script.wait_for_line("waiting");
    let said = script.lines().join("\n");
    says(
        &said,
        &[
            "I am script of default in script",
            "process math in math: ",
            "process script in script: ",
            "callback fixtures:guest/arith@0.1.0#add: func(a: s64, b: s64) -> s64 at math",
            "math is there",
            "nobody failed: not-run deadline-exceeded",
            "nothing-of-the-kind failed: not-run deadline-exceeded",
            "not,a,name failed: not-run bad-arguments",
        ],
    );
    let _late = cluster.runtime("late").module("late", "fixtures").ready();
    script.wait_for_line("late is there");
}

#[test]
fn of_two_kinds_of_one_callback_a_typed_caller_reaches_its_own_and_a_dynamic_one_must_pin() {
    let cluster = Cluster::new();
    let _numbers = cluster.serving("numbers");
    let _texts = cluster.runtime("texts").module("texts", "fixtures-kinds").ready();
    let steps = ["wait-process texts 60000", "times 4 add 5 15", "call add [1, 2]", "pinned texts add [\"a\", \"b\"]"];
    let output = cluster.runtime("script").script(&steps).finish();
    let said = output.success();
    assert_eq!(said.matches("add = 20").count(), 4, "{output:#?}");
    says(said, &["add failed: not-run ambiguous", "add = \"ab\""]);
    let refused = cluster.call("add(1, 2)");
    says(refused.one_line_error(2), &["func(a: s64, b: s64) -> s64", "func(a: string, b: string) -> string"]);
    assert_eq!(cluster.run(["call", "--receiver", "numbers", "add(1, 2)"]).success(), "3");
    cluster.becomes_idle();
}

#[test]
fn a_call_that_waits_for_a_callback_says_what_is_not_there() {
    let cluster = Cluster::new();
    let consumer = cluster.runtime("consumer").controller().module("consumer", "consumer").ready();
    says(
        &consumer.wait_for_line("a call waits: "),
        &["consumer: ", "#sum-of-two-numbers`: no process has such a callback"],
    );
    let _publisher = cluster.runtime("publisher").module("publisher", "publisher").ready();
    consumer.wait_for_line("Result = 20");
}
