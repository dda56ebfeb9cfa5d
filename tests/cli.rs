//! The commands beside running modules: `call`, `ps`, `inspect`, `doctor`, and the help.

use rustix::process::Signal;

use super::cluster::output::says;
use super::cluster::{Cluster, component};

#[test]
fn call_prints_the_result_in_the_encoding_of_the_arguments() {
    let cluster = Cluster::new();
    let _server = cluster.serving("math");
    assert_eq!(cluster.call("add(5, 15)").success(), "20");
    assert_eq!(cluster.call("fixtures:guest/arith#add(5, 15)").success(), "20");
    assert_eq!(cluster.call("fixtures:guest/arith@0.1.0#add(5, 15)").success(), "20");
    assert_eq!(cluster.call_json("add", "[5, 15]").success(), "20");
    assert_eq!(cluster.call_json("add", r#"{"b": 15, "a": 5}"#).success(), "20");
    assert_eq!(cluster.call(r#"plain-greeting("é")"#).success(), r#""hello, é""#);
}

#[test]
fn the_exit_code_of_a_call_says_what_happened() {
    let cluster = Cluster::new();
    assert_eq!(cluster.call("add(1, 2)").code(), 5, "no controller");
    let _server = cluster.serving("math");
    assert_eq!(cluster.call("add(1, 2)").code(), 0);
    assert_eq!(cluster.call("divide(1, 0)").code(), 1, "it failed");
    assert_eq!(cluster.call("add(1)").code(), 2, "bad arguments");
    assert_eq!(cluster.call("no-such-thing()").code(), 3, "it did not run");
    assert_eq!(cluster.run(["call", "--timeout", "1s", "spin()"]).code(), 4, "nobody knows");
}

#[test]
fn a_call_ends_by_its_timeout_also_where_somebody_listens_who_never_answers() {
    let cluster = Cluster::new();
    let _silent = std::os::unix::net::UnixListener::bind(cluster.socket()).unwrap();
    for more in [&["call", "--timeout", "300ms", "f()"][..], &["call", "--timeout", "300ms", "--wait-ready", "f()"]] {
        let output = cluster.run(more);
        says(output.one_line_error(5), &["no controller", "controller.sock", "300ms"]);
    }
}

#[test]
fn a_client_reaches_a_controller_over_tcp_and_port_0_is_chosen_by_the_system() {
    let cluster = Cluster::new();
    let server =
        cluster.runtime("math").controller().args(["--listen", "tcp://127.0.0.1:0"]).module("math", "fixtures").start();
    let line = server.wait_for_line("tcp://127.0.0.1:");
    let url = line.split_whitespace().find(|word| word.starts_with("tcp://127.0.0.1:")).unwrap().to_owned();
    let output = cluster.run(["call", "--wait-ready", "--connect", &url, "add(5, 15)"]);
    assert_eq!(output.success(), "20");
    assert!(!cluster.socket().exists(), "--listen replaces the default socket");
}

#[test]
fn ps_shows_processes_and_their_callbacks_with_signatures() {
    let cluster = Cluster::new();
    let _server =
        cluster.runtime("server").controller().args(["--instances", "pool:3"]).module("a", "fixtures").ready();
    let _other = cluster.runtime("other").module("b", "fixtures-names").ready();
    let output = cluster.run(["ps"]);
    says(
        output.success(),
        &[
            "server",
            "other",
            "default",
            "pool:3",
            "fixtures:guest/arith@0.1.0#add",
            "func(a: s64, b: s64) -> s64",
            "other:math/ops#which",
        ],
    );
}

#[test]
fn ps_in_json_has_the_same() {
    let cluster = Cluster::new();
    let _server = cluster.serving("a");
    let held = cluster.calling(&[r#"hold("x", 60000)"#]);
    _server.wait_for_line("x started");
    let list = cluster.ps();
    let process = &list.as_array().unwrap()[0];
    assert_eq!((&process["process"], &process["tenant"]), (&"a".into(), &"default".into()), "{list:#}");
    assert_eq!((&process["node"], &process["instances"]), (&"a".into(), &"singleton".into()), "{list:#}");
    assert_eq!(process["in-flight"], 1, "{list:#}");
    let callbacks = process["callbacks"].as_array().unwrap();
    let add = callbacks.iter().find(|callback| callback["name"] == "fixtures:guest/arith@0.1.0#add").unwrap();
    assert_eq!(add["signature"], "func(a: s64, b: s64) -> s64");
    held.kill();
}

#[test]
fn ps_of_an_empty_mesh_says_so() {
    let cluster = Cluster::new();
    let controller = cluster.bare("controller").args(["--controller", "--no-node"]).start();
    controller.wait_for_line("listening");
    assert_eq!(cluster.ps(), serde_json::json!([]));
    assert_eq!(cluster.run(["ps"]).code(), 0);
}

/// Parses WIT text, every package that it has.
#[track_caller]
fn parsed(wit: &str) -> wit_parser::Resolve {
    let mut resolve = wit_parser::Resolve::default();
    let sources = wit_parser::UnresolvedPackageGroup::parse("printed.wit", wit)
        .unwrap_or_else(|(_, error)| panic!("not WIT: {error:?}\n{wit}"));
    resolve.push_group(sources).unwrap_or_else(|error| panic!("not WIT: {error:?}\n{wit}"));
    resolve
}

#[test]
fn ps_prints_wit_that_a_caller_can_import() {
    let cluster = Cluster::new();
    let _server = cluster.serving("a");
    let _names = cluster.runtime("names").module("names", "fixtures-names").ready();
    let output = cluster.run(["ps", "--wit"]);
    let wit = output.success();
    says(
        wit,
        &["package fixtures:guest@0.1.0", "interface arith", "add: func(a: s64, b: s64) -> s64", "variant shape"],
    );
    parsed(wit);
}

#[test]
fn inspect_shows_callbacks_fetchers_and_needs_of_a_component() {
    let cluster = Cluster::new();
    let inspect = |name: &str| {
        let output = cluster.run(["inspect", &component(name).display().to_string()]);
        output.success().to_owned()
    };
    let fixtures = inspect("fixtures");
    says(
        &fixtures,
        &["fixtures:guest/arith@0.1.0#add", "func(a: s64, b: s64) -> s64", "daffi:runtime@0.1.0: call, mesh"],
    );
    let script = inspect("script");
    says(&script, &["fixtures:guest/arith@0.1.0#add", "fixtures:guest/arith-checked@0.1.0#add", "wasi:cli/run"]);
    let unsupported = inspect("fixtures-unsupported");
    says(&unsupported, &["resource", "stream", "future", "map", "fixtures:unsupported/fine#answer"]);
    let impossible = inspect("fixtures-impossible");
    says(&impossible, &["wasi:crystal-ball/tomorrow@0.2.0"]);
}

#[test]
fn inspect_prints_wit_that_a_caller_can_import() {
    let cluster = Cluster::new();
    for name in ["fixtures", "fixtures-names", "fixtures-concurrent"] {
        let output = cluster.run(["inspect", "--wit", &component(name).display().to_string()]);
        parsed(output.success());
    }
}

#[test]
fn doctor_tells_what_the_machine_allows() {
    let cluster = Cluster::new();
    let output = cluster.run(["doctor"]);
    says(output.success(), &["max_map_count", "memory", "controller.sock", "wasm32-wasip2"]);
    let json = cluster.run(["doctor", "--json"]);
    serde_json::from_str::<serde_json::Value>(json.success()).unwrap();
}

#[test]
fn the_help_tells_a_newcomer_what_to_type() {
    let cluster = Cluster::new();
    let help = cluster.run(["--help"]);
    says(help.success(), &["--controller", "--module", "daffi-runtime call", "daffi-runtime ps", "Exit codes"]);
    for command in ["call", "ps", "inspect", "doctor"] {
        let help = cluster.run([command, "--help"]);
        says(help.success(), &["Usage: daffi-runtime", command]);
    }
    says(cluster.run(["--version"]).success(), &["daffi-runtime 0."]);
}

#[test]
fn an_error_is_the_first_line_and_its_backtrace_is_below_it_where_that_is_asked_for() {
    let cluster = Cluster::new();
    let _server = cluster.serving("math");
    let plain = cluster.run(["call", "divide(1, 0)"]);
    assert_eq!((plain.code(), plain.stderr.lines().count()), (1, 1), "{plain:#?}");
    says(&plain.stderr, &["divide by zero"]);
    let traced = cluster.bare("call").args(["call", "divide(1, 0)"]).host_env("RUST_BACKTRACE", "1").finish();
    assert_eq!((traced.code(), traced.stdout.as_str()), (1, ""), "{traced:#?}");
    let lines: Vec<&str> = traced.stderr.lines().collect();
    says(lines[0], &["error: ", "divide by zero", "(failed, trap: "]);
    assert!(lines.len() > 1 && lines[1..].iter().any(|line| line.contains("divide")), "{lines:#?}");
}

#[test]
fn output_that_finds_no_room_is_an_error_and_a_reader_that_has_gone_is_none() {
    let cluster = Cluster::new();
    let _server = cluster.serving("math");
    let guest = component("fixtures").display().to_string();
    let full = || std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    for args in [
        &["ps"][..],
        &["ps", "--json"],
        &["top", "--once", "--interval", "1ms"],
        &["events"],
        &["call", "add(5, 15)"],
        &["call", "add(5, 15)", "--broadcast"],
        &["call", "add(5, 15)", "--broadcast", "--first-n", "1"],
        &["schedule", "ls", "--json"],
        &["inspect", &guest],
        &["doctor"],
        &["--help"],
        &["call", "--help"],
        &["--version"],
    ] {
        let output = cluster.bare("into-a-full-disk").args(args).stdout(full()).finish();
        says(output.one_line_error(1), &["stdout cannot be written: ", "No space left on device"]);
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = cluster.bare("to-nobody").args(args).stdout(writer).finish();
        assert_eq!((output.code(), output.stderr.as_str()), (0, ""), "{args:?}");
    }
    let output = cluster.bare("call").args(["call", "add(5, 15)"]).stdout(full()).finish();
    says(output.one_line_error(1), &["add ran, and its result is lost: stdout"]);
    let (streaming, mut lines) = cluster.bare("call").args(["call", "add", "--stream"]).stdout(full()).start_fed();
    std::io::Write::write_all(&mut lines, b"(1, 2)\n").unwrap();
    // It ends though there may be more lines.
    says(streaming.output().one_line_error(1), &["stdout cannot be written: "]);
}

#[test]
fn who_only_looks_whether_a_controller_listens_is_not_turned_away() {
    let cluster = Cluster::new();
    let controller = cluster.bare("controller").args(["--controller", "--no-node", "--log", "debug"]).start();
    controller.wait_for_line("listening");
    says(cluster.run(["doctor"]).success(), &["a controller listens"]);
    controller.wait_for_line("went without a word");
    assert_eq!(controller.count("turned"), 0);
    // Who says what makes no sense is.
    std::io::Write::write_all(&mut std::os::unix::net::UnixStream::connect(cluster.socket()).unwrap(), &[0xff; 64])
        .unwrap();
    says(&controller.wait_for_line("turned"), &["away: "]);
}

#[test]
fn an_unknown_name_says_where_it_was_looked_for_and_what_is_near() {
    let cluster = Cluster::new();
    let _server = cluster.serving("math");
    let output = cluster.call("ad(1, 2)");
    says(
        output.one_line_error(3),
        &["error: in tenant default: `ad`: ", "did you mean `", "`? (not-run, no-such-callback: ad)"],
    );
}

#[test]
fn with_json_nothing_but_json_goes_to_stdout() {
    let cluster = Cluster::new();
    let _server = cluster.runtime("server").controller().module("a", "fixtures").module("b", "fixtures").ready();
    let args = ["call", "divide", "--json", "[1, 0]", "--broadcast"];
    let output = cluster.bare("call").args(args).host_env("RUST_BACKTRACE", "1").finish();
    assert_eq!(output.code(), 1, "{output:#?}");
    for line in output.stdout.lines() {
        let entry: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(entry["error"]["code"], "trap", "{line}");
    }
    assert_eq!(output.stdout.lines().count(), 2);
    assert_eq!(output.stderr.lines().next(), Some("error: 2 of 2 processes failed"), "what each says is in its line");
}

#[test]
fn a_call_that_ran_out_of_time_says_how_much_it_was_given_and_what_for() {
    let cluster = Cluster::new();
    let controller = cluster.bare("controller").args(["--controller", "--no-node"]).start();
    controller.wait_for_line("listening");
    let math = cluster.runtime("math").module("math", "fixtures").ready();
    math.signal(Signal::STOP); // so that its own word does not come first
    let output = cluster.run(["call", "--timeout", "1s", "add(5, 15)"]);
    math.signal(Signal::CONT);
    says(output.one_line_error(4), &["no answer within 1 s; it may or may not have run", "deadline-exceeded"]);
    let output = cluster.run(["call", "--timeout", "300ms", "--wait-ready", "no-such-thing()"]);
    says(output.one_line_error(3), &["no-such-thing", "in tenant default: waited 0.3 s for it: ", "no-such-callback"]);
    cluster.becomes_idle();
}

#[test]
fn times_have_one_set_of_bounds_and_a_delay_may_be_none() {
    let cluster = Cluster::new();
    let _server = cluster.serving("math");
    assert_eq!(cluster.run(["call", "--eta", "0", "--timeout", "7days", "add(5, 15)"]).success(), "20");
    for (flags, bounds) in [
        (["--timeout", "8days"], "from 1ms to 7days"),
        (["--timeout", "0s"], "from 1ms to 7days"),
        (["--eta", "8days"], "from 0 to 7days"),
    ] {
        let output = cluster.run(["call", "add(5, 15)"].iter().chain(&flags));
        says(output.one_line_error(2), &[flags[1], bounds]);
    }
    let help = cluster.run(["call", "--help"]);
    says(help.success(), &["1ms to 7days", "0 to 7days"]);
    // The same for guests, in milliseconds.
    let steps = ["bg-within 604800000 add [1, 2]", "await 0", "bg-within 604800001 add [1, 2]"];
    let output = cluster.runtime("script").script(&steps).finish();
    let said: Vec<&str> = output.success().lines().collect();
    assert_eq!(said[0], "add = 3");
    says(said[1], &["bad-arguments", "1 to 604800000 milliseconds (7 days), not 604800001"]);
}

#[test]
fn what_a_module_has_open_is_shown_until_it_is_closed() {
    let cluster = Cluster::new();
    let _server =
        cluster.runtime("math").controller().args(["--instances", "pool:1"]).module("math", "fixtures").ready();
    let steps =
        ["bg hold [\"held\", 60000]", "watch", "stream hold []", "reply", "print open", "call hold [\"on\", 60000]"];
    let script = cluster.runtime("script").script(&steps).start();
    script.wait_for_line("open");
    cluster.has("script", "open-streams", 2);
    let list = cluster.ps();
    let process = list.as_array().unwrap().iter().find(|process| process["process"] == "script").unwrap().clone();
    assert!(process["handles"].as_u64().unwrap() >= 4, "a pending, a watch, a reply and two ends: {process}");
    let table = cluster.run(["ps"]);
    says(table.success().lines().next().unwrap(), &["OPEN-CALLS", "STREAMS", "HANDLES"]);
    script.kill();
    cluster.becomes_idle();
}
