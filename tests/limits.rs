//! Limits: each is run into, and what is left works.

use std::time::{Duration, Instant};

use super::cluster::output::says;
use super::cluster::{Cluster, Running};

fn serving(cluster: &Cluster, component: &str, flags: &[&str]) -> Running {
    cluster.runtime("server").controller().module("a", component).args(flags).ready()
}

/// What must be over long before the default limits of 30 s.
#[track_caller]
fn promptly<T>(what: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = what();
    assert!(start.elapsed() < Duration::from_secs(15), "took {:?}", start.elapsed());
    result
}

#[test]
fn an_instance_cannot_have_more_memory_than_its_limit() {
    let cluster = Cluster::new();
    let _server = serving(&cluster, "fixtures", &["--memory", "64MiB"]);
    cluster.call("grow(32)").success();
    let output = cluster.call("grow(64)");
    assert_eq!(output.code(), 1, "{output:#?}");
    says(&output.stderr, &["memory"]);
    assert_eq!(cluster.call("count()").success(), "1");
    cluster.call("grow(32)").success();
}

#[test]
fn a_module_is_called_no_more_often_than_its_rate_says() {
    let cluster = Cluster::new();
    let _server = serving(&cluster, "fixtures", &["--call-rate", "1"]);
    let refused = loop {
        let output = cluster.call("add(1, 2)");
        if output.code() != 0 {
            break output;
        }
    };
    says(refused.one_line_error(3), &["add", "1 calls in a second", "call-rate", "try again in"]);
    // Who waits as he is told is served.
    assert_eq!(cluster.run(["call", "--retry", "100", "add(1, 2)"]).success(), "3");
}

#[test]
fn a_call_that_waits_for_longer_than_the_queue_time_is_refused() {
    for component in ["fixtures", "fixtures-concurrent"] {
        let cluster = Cluster::new();
        let server = serving(&cluster, component, &["--queue-time", "200ms", "--concurrency", "1"]);
        let held = cluster.calling(&[r#"hold("x", 60000)"#]);
        server.wait_for_line("x started");
        says(cluster.call(r#"hold("y", 1)"#).one_line_error(3), &["hold", "200ms", "queue-time", "busy with"]);
        held.kill();
    }
}

#[test]
fn the_stack_of_a_call_is_as_large_as_the_runtime_says() {
    let text = r#"(component
      (core module $m
        (func $down (export "down") (param i32) (result i32)
          (if (result i32) (i32.eqz (local.get 0))
            (then (i32.const 0))
            (else (i32.add (i32.const 1) (call $down (i32.sub (local.get 0) (i32.const 1))))))))
      (core instance $i (instantiate $m))
      (func (export "down") (param "depth" u32) (result u32) (canon lift (core func $i "down"))))"#;
    let bytes = wat::parse_str(text).unwrap();
    for (flags, code) in [(&[][..], 0), (&["--stack", "64KiB"], 1)] {
        let cluster = Cluster::new();
        let path = cluster.file("down.wasm", &bytes);
        let server = cluster.runtime("server").controller().module_at("a", path.as_ref());
        let _server = server.args(flags).ready();
        let output = cluster.call("down(5000)");
        assert_eq!(output.code(), code, "{output:#?}");
        assert_eq!(cluster.call("down(100)").success(), "100");
        if code != 0 {
            says(&output.stderr, &["stack overflowed"]);
        }
    }
}

/// A component whose callback `fill` makes handles until it may have no more: clocks to wait for, or resources of its own.
fn filling(of_host: bool) -> Vec<u8> {
    let (import, make) = match of_host {
        true => (
            r#"(import "wasi:io/poll@0.2.0" (instance $poll (export "pollable" (type (sub resource)))))
               (alias export $poll "pollable" (type $pollable))
               (import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock
                 (alias outer 1 $pollable (type $p)) (export "pollable" (type (eq $p)))
                 (export "subscribe-duration" (func (param "when" u64) (result (own 1))))))"#,
            r#"(core func $one (canon lower (func $clock "subscribe-duration")))"#,
        ),
        false => ("(type $own (resource (rep i32)))", "(core func $one (canon resource.new $own))"),
    };
    let ty = if of_host { "i64" } else { "i32" };
    let text = format!(
        r#"(component
          {import}
          {make}
          (core module $m
            (import "" "one" (func $one (param {ty}) (result i32)))
            (func (export "fill") (loop (drop (call $one ({ty}.const 1))) (br 0))))
          (core instance $i (instantiate $m (with "" (instance (export "one" (func $one))))))
          (func (export "fill") (canon lift (core func $i "fill"))))"#
    );
    wat::parse_str(text).unwrap()
}

#[test]
fn an_instance_out_of_handles_is_told_which_limit_it_passed() {
    for (of_host, handles) in [(true, "100"), (false, "20000")] {
        let cluster = Cluster::new();
        let path = cluster.file("filling.wasm", filling(of_host));
        let config = format!(
            "[runtime]\ncontroller = true\n[[module]]\npath = {path:?}\nhandles = {handles}\nasync-calls = 1\nopen-calls = 0\n"
        );
        let _server = cluster.bare("server").config(&config).ready();
        for _ in 0..2 {
            let output = cluster.call("fill()");
            assert_eq!(output.code(), 1, "{output:#?}");
            says(
                &output.stderr,
                &["limit-exceeded", &format!("it has {handles} handles"), "raise the module's handles"],
            );
        }
    }
}

#[test]
fn a_guest_that_gives_the_host_far_too_much_is_told_which_limit_it_passed() {
    let cluster = Cluster::new();
    let _server = serving(&cluster, "fixtures-hostile", &["--max-payload", "1MiB"]);
    let output = cluster.call("long-json(5000000)");
    assert_eq!(output.code(), 1, "{output:#?}");
    says(&output.stderr, &["limit-exceeded", "more than 4194304 bytes at once", "raise the runtime's max-payload"]);
}

#[test]
fn a_guest_that_recurses_without_end_fails_and_the_next_call_works() {
    let cluster = Cluster::new();
    let _server = serving(&cluster, "fixtures", &[]);
    let output = cluster.call("recurse(100000000)");
    assert_eq!(output.code(), 1, "{output:#?}");
    cluster.call("recurse(100)").success();
}

#[test]
fn a_spinning_guest_of_a_pool_is_stopped_at_the_deadline() {
    let cluster = Cluster::new();
    let _server = serving(&cluster, "fixtures", &["--instances", "pool:1"]);
    let output = promptly(|| cluster.run(["call", "--timeout", "1s", "spin()"]));
    assert_eq!(output.code(), 1, "{output:#?}");
    says(&output.stderr, &["spin", "deadline"]);
    assert_eq!(promptly(|| cluster.call("count()").success().to_owned()), "1");
}

#[test]
fn a_spinning_guest_of_a_per_call_module_is_stopped_at_the_deadline() {
    let cluster = Cluster::new();
    let _server = serving(&cluster, "fixtures", &["--instances", "per-call"]);
    let output = promptly(|| cluster.run(["call", "--timeout", "1s", "spin()"]));
    assert_eq!(output.code(), 1, "{output:#?}");
}

#[test]
fn a_singleton_runs_on_after_the_deadline_until_its_own_limit() {
    let cluster = Cluster::new();
    let _server = serving(&cluster, "fixtures", &["--max-call-time", "1500ms"]);
    assert_eq!(cluster.call("count()").success(), "1");
    let output = promptly(|| cluster.run(["call", "--timeout", "500ms", "spin()"]));
    assert_eq!(output.code(), 4, "{output:#?}");
    // It waits behind the spinning call, which loses its instance at the module's own limit.
    assert_eq!(promptly(|| cluster.call("count()").success().to_owned()), "1");
}

#[test]
fn a_call_may_wait_for_longer_than_it_may_compute() {
    let cluster = Cluster::new();
    let server = serving(&cluster, "fixtures", &["--max-call-cpu", "100ms"]);
    assert_eq!(cluster.call("count()").success(), "1");
    assert_eq!(cluster.call(r#"hold("x", 1000)"#).success(), r#""x""#);
    assert_eq!(cluster.call("count()").success(), "2");
    let error = cluster.call("spin()").one_line_error(1).to_owned();
    says(&error, &["limit-exceeded", "it computed for longer than the module's max-call-cpu, 100ms"]);
    assert_eq!(cluster.call("count()").success(), "1");
    drop(server);
    // Where calls interleave, each has its own.
    let cluster = Cluster::new();
    let _server = serving(&cluster, "fixtures-concurrent", &["--max-call-cpu", "100ms"]);
    let error = cluster.call("spin()").one_line_error(1).to_owned();
    says(&error, &["limit-exceeded", "max-call-cpu, 100ms"]);
}

#[test]
fn what_a_call_computes_in_pieces_counts_too() {
    for guest in ["fixtures", "fixtures-concurrent"] {
        let cluster = Cluster::new();
        let _server = serving(&cluster, guest, &["--max-call-cpu", "200ms", "--max-call-time", "10m"]);
        let error = promptly(|| cluster.call("spin-and-wait()").one_line_error(1).to_owned());
        says(&error, &["limit-exceeded", "max-call-cpu, 200ms"]);
    }
}

#[test]
fn the_state_of_a_singleton_survives_a_call_that_nobody_waits_for() {
    let cluster = Cluster::new();
    let server = serving(&cluster, "fixtures", &[]);
    assert_eq!(cluster.call("count()").success(), "1");
    let output = promptly(|| cluster.run(["call", "--timeout", "500ms", r#"hold("x", 1000)"#]));
    assert_eq!(output.code(), 4, "{output:#?}");
    server.wait_for_line("x finished");
    assert_eq!(cluster.call("count()").success(), "2");
}

#[test]
fn a_singleton_that_runs_for_nobody_is_shown_as_busy_until_it_is_done() {
    let cluster = Cluster::new();
    let server = serving(&cluster, "fixtures", &[]);
    let output = promptly(|| cluster.run(["call", "--timeout", "1s", r#"hold("x", 4000)"#]));
    assert_eq!(output.code(), 4, "{output:#?}");
    let mut looks = 0;
    loop {
        let processes = cluster.ps();
        if server.count("x finished") > 0 {
            break;
        }
        if processes[0]["in-flight"] == 0 {
            // It has said so before; the line may be on its way here.
            let idle = Instant::now();
            server.wait_for_line("x finished");
            assert!(idle.elapsed() < Duration::from_secs(2), "it was shown as idle while it ran: {processes:#}");
            break;
        }
        assert_eq!(processes[0]["in-flight"], 1, "{processes:#}");
        looks += 1;
    }
    assert!(looks > 0, "it was done before anybody looked");
}

#[test]
fn waits_and_questions_about_tasks_are_open_calls_too() {
    let cluster = Cluster::new();
    let _server = serving(&cluster, "fixtures", &[]);
    let questions = ["wait-process nobody 1", "wait-callback nobody#f 1", "tasks", "cancel-id fixtures/1"];
    let steps: Vec<&str> = ["bg hold [\"a\", 60000]"].into_iter().chain(questions).collect();
    let output = cluster.runtime("script").script(&steps).args(["--open-calls", "1"]).finish();
    let said: Vec<&str> = output.success().lines().collect();
    assert_eq!(
        said.iter().filter(|line| line.contains("failed: not-run overloaded")).count(),
        questions.len(),
        "{said:#?}"
    );
    cluster.becomes_idle();
}

#[test]
fn a_singleton_does_not_go_on_waiting_for_a_callback_when_its_caller_gave_up() {
    let cluster = Cluster::new();
    let _server = serving(&cluster, "fixtures", &[]);
    let call = cluster.calling(&[r#"wait-callback("nobody#f", 60000)"#]);
    while cluster.ps()[0]["in-flight"] != 1 {}
    call.kill();
    assert_eq!(promptly(|| cluster.call("count()").success().to_owned()), "1");
}

#[test]
fn calls_pass_by_a_singleton_that_runs_for_a_caller_who_gave_up() {
    let cluster = Cluster::new();
    let a = cluster.serving("a");
    let _b = cluster.runtime("b").module("b", "fixtures").ready();
    let held = cluster.calling(&["--receiver", "a", r#"hold("x", 60000)"#]);
    a.wait_for_line("x started");
    held.kill();
    for _ in 0..6 {
        assert_eq!(promptly(|| cluster.call("who()").success().to_owned()), r#""b""#);
    }
}

#[test]
fn a_sleeping_guest_of_a_pool_is_stopped_at_the_deadline() {
    let cluster = Cluster::new();
    let _server = serving(&cluster, "fixtures", &["--instances", "pool:1"]);
    let output = promptly(|| cluster.run(["call", "--timeout", "1s", r#"hold("x", 60000)"#]));
    assert_eq!(output.code(), 1, "{output:#?}");
    assert_eq!(promptly(|| cluster.call("count()").success().to_owned()), "1");
}

#[test]
fn on_cancel_overrides_what_becomes_of_a_call_that_nobody_waits_for() {
    let cluster = Cluster::new();
    let _server = serving(&cluster, "fixtures", &["--on-cancel", "kill"]);
    assert_eq!(cluster.call("count()").success(), "1");
    let output = promptly(|| cluster.run(["call", "--timeout", "1s", "spin()"]));
    assert_eq!(output.code(), 1, "{output:#?}");
    assert_eq!(promptly(|| cluster.call("count()").success().to_owned()), "1");
}

#[test]
fn the_end_of_a_caller_frees_the_pool() {
    let cluster = Cluster::new();
    let server = serving(&cluster, "fixtures", &["--instances", "pool:1"]);
    let held = cluster.calling(&[r#"hold("x", 60000)"#]);
    server.wait_for_line("x started");
    held.kill();
    assert_eq!(promptly(|| cluster.call("count()").success().to_owned()), "1");
}

#[test]
fn a_spinning_async_guest_is_stopped() {
    let cluster = Cluster::new();
    let _server = serving(&cluster, "fixtures-concurrent", &["--instances", "pool:1"]);
    let output = promptly(|| cluster.run(["call", "--timeout", "1s", "tasks#spin()"]));
    assert_eq!(output.code(), 1, "{output:#?}");
    assert_eq!(promptly(|| cluster.call("inside()").success().to_owned()), "0");
}

#[test]
fn a_nested_call_has_no_more_time_than_the_call_that_it_is_made_for() {
    let cluster = Cluster::new();
    let server = cluster.runtime("server").controller().module("a", "fixtures").module("b", "fixtures").ready();
    let nested = r#"["hold", "[\"x\", 60000]", "b", 60000]"#;
    let args = ["call", "--timeout", "1s", "--receiver", "a", "forward", "--json", nested];
    let output = promptly(|| cluster.run(args));
    server.wait_for_line("x started");
    // Either the inner verdict arrives in time, or the outer deadline decides.
    assert!(output.stdout.contains("deadline-exceeded") || output.code() == 4, "{output:#?}");
}

#[test]
fn spinning_guests_delay_neither_other_guests_nor_heartbeats() {
    let cluster = Cluster::new();
    let server = cluster
        .runtime("server")
        .controller()
        .args(["--instances", "pool:4"])
        .module("spinner", "fixtures")
        .module("other", "fixtures")
        .ready();
    let node = cluster.runtime("node").module("node", "fixtures").ready();
    let _spinning: Vec<Running> =
        (0..4).map(|n| cluster.calling(&["--receiver", "spinner", &format!(r#"burn("spin-{n}", 25000)"#)])).collect();
    server.wait_for_line("spin-0 started");
    for _ in 0..3 {
        let output = promptly(|| cluster.run(["call", "--receiver", "other", r#"hold("x", 10)"#]));
        assert_eq!(output.success(), r#""x""#);
        let output = promptly(|| cluster.run(["call", "--receiver", "node", "who()"]));
        assert_eq!(output.success(), r#""node""#);
    }
    assert_eq!(node.count("lost"), 0);
}

#[test]
fn a_payload_over_the_limit_is_refused_on_the_way_there_and_failed_on_the_way_back() {
    let cluster = Cluster::new();
    let _server = cluster
        .runtime("server")
        .controller()
        .module("a", "fixtures")
        .module("b", "fixtures")
        .args(["--max-payload", "64KiB"])
        .ready();
    // Zeros in base64, four characters for three bytes.
    let bytes = |count: usize| format!("[\"{}\"]", "AAAA".repeat(count / 3));
    assert_eq!(cluster.call_json("take", &bytes(60_000)).success(), "60000");
    let output = cluster.call_json("take", &bytes(70_002));
    says(output.one_line_error(3), &["take", "65536"]);
    let output = cluster.call("big-result(70000)");
    says(output.one_line_error(1), &["big-result", "65536"]);
    assert!(cluster.call("big-result(60000)").success().len() > 60_000);
    cluster.becomes_idle();
}

#[test]
fn more_instances_than_any_machine_has_room_for_are_refused_at_the_start() {
    let cluster = Cluster::new();
    let start = cluster.runtime("server").controller().module("a", "fixtures").module("b", "fixtures");
    let output = start.args(["--instances", "per-call", "--concurrency", "90000"]).finish();
    says(&output.stderr, &["module a: its 90000 instances do not fit", "room for", "`concurrency`"]);
    assert_eq!(output.code(), 2);
}

#[test]
fn calls_beyond_the_queue_are_refused_at_once_as_overloaded() {
    let cluster = Cluster::new();
    let server = cluster
        .runtime("server")
        .controller()
        .module("a", "fixtures")
        .module("b", "fixtures")
        .args(["--queue", "1"])
        .ready();
    let _held = cluster.calling(&["--receiver", "a", r#"hold("x", 60000)"#]);
    server.wait_for_line("x started");
    let queued = cluster.calling(&["--receiver", "a", "count()"]);
    // Whichever of the two comes second finds the queue full.
    let refused = cluster.calling(&["--receiver", "a", "count()"]);
    let first_end = promptly(|| {
        loop {
            if queued.ended() {
                break queued.output();
            }
            if refused.ended() {
                break refused.output();
            }
            std::thread::yield_now();
        }
    });
    says(first_end.one_line_error(3), &["overloaded"]);
}

#[test]
fn a_guest_sees_nothing_of_the_machine_but_what_it_is_given() {
    let cluster = Cluster::new();
    let secret = cluster.file("secret", "secret");
    let _server = cluster
        .runtime("server")
        .controller()
        .host_env("HOST_SECRET", "secret")
        .module("a", "fixtures")
        .args(["--env", "GIVEN=yes"])
        .ready();
    assert_eq!(cluster.call(r#"env("GIVEN")"#).success(), r#"some("yes")"#);
    for hidden in ["HOST_SECRET", "PATH", "HOME", "DAFFI_SOCKET"] {
        assert_eq!(cluster.call(&format!("env({hidden:?})")).success(), "none");
    }
    for path in [secret.as_str(), "/etc/passwd", "../secret", "/"] {
        says(cluster.call(&format!("read-file({path:?})")).success(), &["err("]);
    }
    says(cluster.call(r#"connect("127.0.0.1:1")"#).success(), &["err("]);
}

#[test]
fn guests_read_the_folders_that_were_given_and_nothing_beside_or_above_them() {
    let cluster = Cluster::new();
    let secret = cluster.file("secret", "secret");
    let folder = cluster.path("data");
    std::fs::create_dir_all(folder.join("inner")).unwrap();
    std::fs::write(folder.join("inner/given"), "12345").unwrap();
    for (link, to) in [("out", secret.as_str()), ("up", "../secret"), ("top", "/"), ("in", "inner/given")] {
        std::os::unix::fs::symlink(to, folder.join(link)).unwrap();
    }
    let preopen = format!("{}::/data", folder.display());
    let _server = serving(&cluster, "fixtures", &["--preopen", &preopen]);
    for readable in ["/data/inner/given", "/data/inner/../inner/given", "/data/in"] {
        assert_eq!(cluster.call(&format!("read-file({readable:?})")).success(), "ok(5)", "{readable}");
    }
    let outside = ["/data/../secret", "/data/inner/../../secret", "/data/out", "/data/up", "/data/top/etc/passwd"];
    for path in outside.into_iter().chain([secret.as_str(), "secret", "/etc/passwd"]) {
        says(cluster.call(&format!("read-file({path:?})")).success(), &["err("]);
    }
    for path in ["/data/inner/given", "/data/new", "/data/in", "/data/out"] {
        says(cluster.call(&format!("write-file({path:?})")).success(), &["err("]);
    }
    assert_eq!(std::fs::read_to_string(folder.join("inner/given")).unwrap(), "12345");
    assert!(!folder.join("new").exists() && std::fs::read_to_string(secret).unwrap() == "secret");
}

#[test]
fn guests_connect_where_they_may_and_to_loopback_only_where_it_is_named() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, other) = (listener.local_addr().unwrap().port(), std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    let address = format!("127.0.0.1:{port}");
    for (entry, connects) in [
        (address.clone(), true),
        ("127.0.0.0/8:*".to_owned(), true),
        (format!("localhost:{port}"), true),
        ("0.0.0.0/0:*".to_owned(), false),
        (format!("10.0.0.0/8:{port}"), false),
        (format!("127.0.0.1:{}", other.local_addr().unwrap().port()), false),
    ] {
        let cluster = Cluster::new();
        let _server = serving(&cluster, "fixtures", &["--network", &entry]);
        let output = cluster.call(&format!("connect({address:?})"));
        assert_eq!(output.success() == "ok", connects, "{entry}: {output:#?}");
        // The unspecified address is this machine too.
        says(cluster.call(&format!(r#"connect("0.0.0.0:{port}")"#)).success(), &["err("]);
    }
}

#[test]
fn a_name_that_was_granted_is_resolved_for_the_guest_and_no_other_is_reached() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let cluster = Cluster::new();
    let _server = serving(&cluster, "fixtures", &["--network", &format!("localhost:{port}")]);
    assert_eq!(cluster.call(&format!(r#"connect("localhost:{port}")"#)).success(), "ok");
    says(cluster.call(r#"connect("localhost:1")"#).success(), &["err("]);
}

#[test]
fn what_guests_are_given_must_be_there_and_must_fit() {
    let cluster = Cluster::new();
    let file = cluster.file("file", "x");
    for (flags, parts) in [
        (["--preopen", "nowhere::/data"], ["nowhere", "a:"]),
        (["--preopen", &format!("{file}::/data")], ["file", "no folder"]),
        (["--network", "10.0.0.1"], ["10.0.0.1", "no port"]),
    ] {
        let server = cluster.runtime("server").controller().module("a", "fixtures").args(flags);
        says(server.finish().one_line_error(2), &parts);
    }
    let flags = ["--instances", "pool:4096", "--preopen", &format!("{}::/x", cluster.path("run").display())];
    let server = cluster.runtime("server").controller().module("a", "fixtures").args(flags);
    let output = server.finish();
    says(output.one_line_error(2), &["ulimit -Hn"]);
}

#[test]
fn the_end_of_a_caller_ends_the_tree_of_calls_below_it() {
    let cluster = Cluster::new();
    let _a = cluster.serving("a");
    let b = cluster.runtime("b").module("b", "fixtures").args(["--instances", "pool:1"]).ready();
    let nested = r#"["hold", "[\"x\", 60000]", "b", 60000]"#;
    let call = cluster.calling(&["--receiver", "a", "forward", "--json", nested]);
    b.wait_for_line("x started");
    call.kill();
    // b's one instance is free again, and so is a, whose own call was waiting for b's.
    assert_eq!(promptly(|| cluster.run(["call", "--receiver", "b", "count()"]).success().to_owned()), "1");
    assert_eq!(promptly(|| cluster.run(["call", "--receiver", "a", "count()"]).success().to_owned()), "1");
    assert_eq!(b.count("x finished"), 0);
}

#[test]
fn a_guest_that_overflows_the_stack_fails_and_the_next_call_works() {
    let cluster = Cluster::new();
    let _server = cluster.runtime("server").controller().module("a", "fixtures").module("b", "fixtures").ready();
    let args = r#"["overflow", "[100000000]", "b", null]"#;
    let output = cluster.run(["call", "--receiver", "a", "forward", "--json", args]);
    let answer: serde_json::Value = serde_json::from_str(output.success()).unwrap();
    assert_eq!(answer["err"]["outcome"], "failed", "{answer:#}");
    assert_eq!(answer["err"]["code"], "limit-exceeded", "{answer:#}");
    says(answer["err"]["message"].as_str().unwrap(), &["stack"]);
    cluster.call("overflow(100)").success();
}

#[test]
fn a_call_that_ends_for_want_of_memory_says_so() {
    let cluster = Cluster::new();
    let _server = cluster.runtime("server").controller().module("a", "fixtures").module("b", "fixtures").ready();
    let args = r#"["grow", "[1000]", "b", null]"#;
    let output = cluster.run(["call", "--receiver", "a", "forward", "--json", args]);
    let answer: serde_json::Value = serde_json::from_str(output.success()).unwrap();
    assert_eq!((&answer["err"]["outcome"], &answer["err"]["code"]), (&"failed".into(), &"limit-exceeded".into()));
    says(answer["err"]["message"].as_str().unwrap(), &["memory"]);
}
