//! Async callbacks and the async twins of `daffi:runtime`: what goes on beside what, in one instance.

use super::cluster::output::says;
use super::cluster::{Cluster, Running, Start};

/// A controller with these processes of the synchronous fixtures, where a call that nobody waits for is stopped.
fn serving(cluster: &Cluster, names: &[&str]) -> Running {
    let start = cluster.runtime("server").controller().args(["--instances", "pool:1"]);
    names.iter().fold(start, |start, name| start.module(name, "fixtures")).ready()
}

/// The async fixture as a caller with these steps.
fn script<'a>(cluster: &'a Cluster, steps: &[impl AsRef<str>]) -> Start<'a> {
    let lines: Vec<&str> = steps.iter().map(AsRef::as_ref).collect();
    let script = format!("SCRIPT={}", lines.join("\n"));
    cluster.runtime("script").module("script", "fixtures-twins").args(["--env", &script, "--exit-after-run"])
}

/// What the steps print, one after the other, without what its instances are told about their life.
fn said(cluster: &Cluster, steps: &[impl AsRef<str>]) -> Vec<String> {
    let output = script(cluster, steps).finish();
    let lines = output.success().lines().map(str::to_owned);
    lines.filter(|line| !line.starts_with("journal: ")).collect()
}

#[test]
fn a_guest_with_async_functions_schedules_while_its_other_tasks_go_on() {
    let cluster = Cluster::new();
    let server = serving(&cluster, &["math"]);
    let steps = [r#"with call hold ["beside", 100]"#, r#"schedule 20 print ["tick"]"#, "schedule 1 print [\"x\"]"];
    let said = said(&cluster, &steps);
    server.wait_for_line("tick");
    assert!(said.contains(&"print scheduled: every 20ms".to_owned()), "{said:?}");
    assert!(said.contains(&"1 tasks, 1 runs: cancelled".to_owned()), "{said:?}");
    says(said.iter().find(|line| line.contains("failed")).unwrap(), &["not-run bad-arguments", "too often"]);
    assert!(said.contains(&"hold = \"beside\"".to_owned()), "{said:?}");
    cluster.becomes_idle();
}

#[test]
fn a_singleton_serves_a_hundred_calls_that_sleep_in_the_time_of_one_sleep() {
    let cluster = Cluster::new();
    let _server = cluster.runtime("server").controller().module("twins", "fixtures-twins").ready();
    // None of them sleeps before all of them are there.
    let said = said(&cluster, &["with call meet [100, 50]"; 100]);
    let mut came: Vec<u32> = said.iter().map(|line| line.strip_prefix("meet = ").unwrap().parse().unwrap()).collect();
    came.sort_unstable();
    assert_eq!(came, (1..=100).collect::<Vec<u32>>());
    assert_eq!(cluster.call("inside()").success(), "0");
    cluster.becomes_idle();
}

#[test]
fn async_calls_begin_in_the_order_in_which_they_arrive() {
    let cluster = Cluster::new();
    let _server = cluster.runtime("server").controller().module("twins", "fixtures-twins").ready();
    let begun = ["bg meet [5, 1]"; 5].into_iter().map(str::to_owned);
    let steps: Vec<String> = begun.chain((0..5).map(|call| format!("await {call}"))).collect();
    let steps: Vec<&str> = steps.iter().map(String::as_str).collect();
    let output = cluster.runtime("script").script(&steps).finish();
    assert_eq!(output.success(), (1..=5).map(|came| format!("meet = {came}")).collect::<Vec<_>>().join("\n"));
    cluster.becomes_idle();
}

#[test]
fn a_synchronous_export_runs_while_async_ones_wait() {
    let cluster = Cluster::new();
    let _server = cluster.runtime("server").controller().module("twins", "fixtures-twins").ready();
    let first = cluster.calling(&["meet(2, 1)"]);
    while cluster.call("inside()").success() != "1" {}
    assert_eq!(cluster.call("meet(2, 1)").success(), "2");
    assert_eq!(first.output().success(), "1");
}

#[test]
fn a_call_by_the_async_twin_holds_up_nobody_and_one_by_call_all_others_of_the_instance() {
    let cluster = Cluster::new();
    let _server = cluster.runtime("server").controller().module("twins", "fixtures-twins").ready();
    let math = cluster.runtime("math").module("math", "fixtures").args(["--instances", "pool:1"]).ready();
    let asynchronous = cluster.calling(&["tasks#forward", "--json", r#"["hold", "[\"a\", 60000]"]"#]);
    math.wait_for_line("a started");
    assert_eq!(cluster.call("inside()").success(), "0");
    asynchronous.kill();
    let synchronous = cluster.calling(&["tasks#forward-sync", "--json", r#"["hold", "[\"b\", 500]"]"#]);
    math.wait_for_line("b started");
    assert_eq!(cluster.call("inside()").success(), "0");
    assert_eq!(math.count("b finished"), 1, "another call ran while the synchronous one waited");
    assert_eq!(synchronous.output().success(), r#"{"ok":"\"b\""}"#);
}

#[test]
fn calls_go_on_together_and_what_is_wrong_with_one_is_its_own_value() {
    let cluster = Cluster::new();
    let _server = serving(&cluster, &["a", "b"]);
    let said = said(
        &cluster,
        &[
            // The first holds one process; those that follow go to the other.
            "with call hold [\"slow\", 300]",
            "call add [1, 2]",
            "call nothing-of-the-kind []",
            "call add [1]",
            "within 0 add [1, 2]",
            "within 604800001 add [1, 2]",
            "call divide [1, 0]",
            "within 50 hold [\"late\", 60000]",
        ],
    );
    assert_eq!(said[0], "add = 3");
    says(&said[1], &["not-run no-such-callback"]);
    for line in &said[2..5] {
        says(line, &["failed: not-run bad-arguments"]);
    }
    says(&said[5], &["divide failed: failed trap", "divide by zero"]);
    assert!(
        said.iter().any(|line| line.starts_with("hold failed: ") && line.contains("deadline-exceeded")),
        "{said:#?}"
    );
    assert!(said.iter().any(|line| line == "hold = \"slow\""), "{said:#?}");
    cluster.becomes_idle();
}

#[test]
fn a_future_that_is_dropped_gives_its_call_up_where_it_runs() {
    let cluster = Cluster::new();
    let server = serving(&cluster, &["math"]);
    let said = said(&cluster, &["race 100 hold [\"dropped\", 60000]", "call who []"]);
    assert_eq!(said, ["hold is dropped", "who = \"math\""]);
    assert!(server.lines().iter().all(|line| !line.contains("dropped finished")));
    cluster.becomes_idle();
}

#[test]
fn a_broadcast_comes_at_once_or_by_a_stream_and_its_future_says_how_it_ended() {
    let cluster = Cluster::new();
    let _server = serving(&cluster, &["a", "b"]);
    let said = said(
        &cluster,
        &[
            "all - who []",
            "all - nobody-has-it []",
            "gather - nobody-has-it []",
            "gather first=0 who []",
            "gather first=1 who []",
            "gather - who []",
            "drop-gather hold [\"dropped\", 60000]",
            "all - who []",
        ],
    );
    assert_eq!(said[..2], ["who at a = \"a\"", "who at b = \"b\""]);
    assert!(
        said[2..4].iter().all(|line| line.starts_with("nobody-has-it failed: not-run no-such-callback")),
        "{said:#?}"
    );
    says(&said[4], &["who failed: not-run bad-arguments"]);
    assert!(said[5].starts_with("who at ") && said[6] == "who ended: met", "{said:#?}");
    let mut entries = said[7..9].to_vec();
    entries.sort();
    assert_eq!(entries, ["who at a = \"a\"", "who at b = \"b\""]);
    assert_eq!(said[9], "who ended: met");
    says(&said[10], &["hold failed: unknown cancelled"]);
    assert_eq!(said[11..], ["who at a = \"a\"", "who at b = \"b\""]);
    cluster.becomes_idle();
}

#[test]
fn a_call_without_a_result_is_acknowledged_while_others_go_on() {
    let cluster = Cluster::new();
    let server = serving(&cluster, &["a", "b"]);
    let steps = [
        "send nobody-has-it []",
        "send-all nobody-has-it []",
        "send print [\"one has it\"]",
        "send-all print [\"all have it\"]",
    ];
    let said = said(&cluster, &steps);
    assert!(
        said[..2].iter().all(|line| line.starts_with("nobody-has-it failed: not-run no-such-callback")),
        "{said:#?}"
    );
    assert_eq!(said[2..], ["print has it", "a has it: true", "b has it: true"]);
    for line in ["one has it", "all have it", "all have it"] {
        server.wait_for_line(line);
    }
    cluster.becomes_idle();
}

#[test]
fn calls_streams_and_watches_are_open_calls_of_the_module_until_they_end() {
    let cluster = Cluster::new();
    let _server = serving(&cluster, &["a"]);
    let steps =
        ["with call hold [\"held\", 300]", "with watch 1", "call who []", "watch 1", "gather - who []", "ready who []"];
    // The last waits for nothing: those before it have ended when its turn comes.
    let output = script(&cluster, &steps).args(["--open-calls", "2"]).finish();
    let said = output.success();
    assert!(said.matches("not-run overloaded").count() >= 3, "{said}");
    says(said, &["hold = \"held\"", "watch ended: cancelled"]);
    cluster.becomes_idle();
}

#[test]
fn streams_that_have_ended_or_were_dropped_leave_nothing_open() {
    let cluster = Cluster::new();
    let _server = serving(&cluster, &["a"]);
    let round = ["gather first=1 who []", "drop-gather who []", "watch 1", "call who []"];
    let steps = round.repeat(100);
    let output = script(&cluster, &steps).args(["--open-calls", "1"]).finish();
    let said = output.success();
    assert_eq!((said.matches("who = \"a\"").count(), said.matches("overloaded").count()), (100, 0), "{said}");
    cluster.becomes_idle();
}

#[test]
fn a_guest_waits_for_processes_and_callbacks_and_watches_them_by_a_stream() {
    let cluster = Cluster::new();
    let _server = serving(&cluster, &["math"]);
    let steps = [
        "wait-process math 60000",
        "wait-process nobody 20",
        "wait-process math 0",
        "wait-callback arith#add 60000",
        "processes",
        "with watch 4",
        "wait-process names 60000",
    ];
    let script = script(&cluster, &steps).start();
    script.wait_for_line("math is there");
    says(&script.wait_for_line("nobody failed"), &["deadline-exceeded"]);
    says(&script.wait_for_line("math failed"), &["bad-arguments"]);
    script.wait_for_line("arith#add is there");
    script.wait_for_line("2 processes");
    let names = cluster.runtime("names").module("names", "fixtures-names").ready();
    script.wait_for_line("names is there");
    names.kill();
    script.wait_for_line("left names");
    script.wait_for_line("watch ended: cancelled");
    assert_eq!(script.exit_code(), 0);
    assert_eq!(script.lines().iter().filter(|line| line.starts_with("joined ")).count(), 3);
}

#[test]
fn an_instance_is_told_about_its_life_by_async_functions_in_order() {
    let cluster = Cluster::new();
    let start = || {
        let controller = cluster.bare("controller").args(["--controller", "--no-node"]).start();
        controller.wait_for_line("listening");
        controller
    };
    let first = start();
    let a = cluster.runtime("a").module("a", "fixtures-twins").ready();
    a.wait_for_line("journal: connect");
    assert_eq!(cluster.call("journal()").success(), r#"["init", "connect"]"#);
    first.kill();
    a.wait_for_line("journal: disconnect");
    let _second = start();
    a.wait_for_line("journal: connect");
    assert_eq!(cluster.call("journal()").success(), r#"["init", "connect", "disconnect", "connect"]"#);
}

#[test]
fn a_callback_that_nobody_waits_for_any_more_is_told_and_ends_by_itself() {
    let cluster = Cluster::new();
    let server = cluster.runtime("server").controller().module("twins", "fixtures-twins").ready();
    let caller = cluster.calling(&[r#"until-given-up("a")"#]);
    server.wait_for_line("a waits");
    // The innocent call beside it goes on.
    let innocent = cluster.calling(&["meet(2, 1)"]);
    while cluster.call("inside()").success() != "1" {}
    caller.kill();
    server.wait_for_line("a is given up");
    // One that has no time left when it arrives does not run: it is made until one does.
    while server.count("b waits") == 0 {
        let late = cluster.run(["call", "--timeout", "100ms", r#"until-given-up("b")"#]);
        assert_ne!(late.code(), 0, "{late:#?}");
    }
    server.wait_for_line("b is given up");
    assert_eq!(cluster.call("meet(2, 1)").success(), "2");
    assert_eq!(innocent.output().success(), "1");
    cluster.becomes_idle();
}

#[test]
fn what_goes_on_after_a_call_has_returned_has_what_was_left_of_its_time() {
    let cluster = Cluster::new();
    let server =
        cluster.runtime("server").controller().module("math", "fixtures").module("twins", "fixtures-twins").ready();
    assert_eq!(cluster.call_json("later", r#"[1, "add", "[1, 2]"]"#).code(), 0);
    server.wait_for_line("later = 3");
    let call = ["call", "--timeout", "100ms", "later", "--json", r#"[150, "add", "[1, 2]"]"#];
    assert_eq!(cluster.run(call).code(), 0);
    says(&server.wait_for_line("later failed"), &["not-run deadline-exceeded"]);
    cluster.becomes_idle();
}

/// A controller with a process of the fixtures, and one of the fixtures that stream.
fn streaming(cluster: &Cluster) -> Running {
    let start = cluster.runtime("server").controller();
    start.module("math", "fixtures").module("streams", "fixtures-streams").ready()
}

#[test]
fn streams_of_a_call_by_name_are_streams_of_a_guest_with_async_functions() {
    let cluster = Cluster::new();
    let _server = streaming(&cluster);
    let steps = [
        "stream twice [] 20 21",
        "stream sum [0] 1 2 3",
        "stream echo#texts [0] \"a\" \"b\"",
        "stream writers#count [3,1] -",
    ];
    let lines = [
        &["twice = null", "twice gave 40", "twice gave 42", "twice read", "twice written"][..],
        &["sum = 6", "sum written"],
        &["echo#texts = 0", "echo#texts gave \"a\"", "echo#texts gave \"b\"", "echo#texts read", "echo#texts written"],
        &[
            "writers#count = 0",
            "writers#count gave 0",
            "writers#count gave 1",
            "writers#count gave 2",
            "writers#count read",
        ],
    ];
    assert_eq!(said(&cluster, &steps), lines.concat());
    cluster.becomes_idle();
}

#[test]
fn what_goes_wrong_with_a_stream_of_an_async_guest_is_an_error_beside_it() {
    let cluster = Cluster::new();
    let _server = streaming(&cluster);
    let steps = [
        "stream divide [] [6,3] [1,0]",
        "stream twice [] 1 \"x\"",
        "stream sum [0] \"x\"",
        "stream writers#count [3,1] 1",
        "stream writers#trap-after [1] -",
        "stream no-such-thing [] 1",
        "call add [1, 2]",
    ];
    let said = said(&cluster, &steps);
    let of = |name: &str| said.iter().filter(|line| line.starts_with(name)).map(String::as_str).collect::<Vec<_>>();
    let divide = of("divide");
    assert_eq!(divide[..2], ["divide = null", "divide gave 2"]);
    says(divide[2], &["divide failed: failed trap", "item 1"]);
    says(of("twice").last().unwrap(), &["twice failed: not-run bad-arguments", "u32"]);
    says(of("sum")[0], &["sum failed: "]);
    says(of("writers#count")[0], &["not-run bad-arguments", "takes 0 streams, 1 were given"]);
    says(of("writers#trap-after").last().unwrap(), &["failed trap"]);
    says(of("no-such-thing")[0], &["not-run no-such-callback"]);
    assert_eq!(said.last().unwrap(), "add = 3");
    cluster.becomes_idle();
}

#[test]
fn a_guest_that_reads_many_items_at_once_gets_all_of_them_and_how_they_ended() {
    let cluster = Cluster::new();
    let _server = streaming(&cluster);
    let steps =
        ["drain writers#count [10000,512] 64", "drain writers#count [1000,7] 1", "drain writers#trap-after [70] 64"];
    let said = said(&cluster, &steps);
    assert_eq!(said[..2], ["writers#count gave 10000", "writers#count gave 1000"]);
    // The failure may overtake what was written before it, and is told all the same.
    says(&said[2], &["writers#trap-after gave "]);
    says(&said[3], &["writers#trap-after failed: failed trap"]);
    cluster.becomes_idle();
}

#[test]
fn a_writer_whose_items_are_not_read_stands_still_and_all_arrive_when_they_are() {
    let cluster = Cluster::new();
    let _server = streaming(&cluster);
    let said = said(&cluster, &["relay echo#texts 5000 1024"]);
    let stood: u64 = said[0].strip_prefix("echo#texts stood at ").unwrap().parse().unwrap();
    // Both ways' windows of 256 KiB, and what is under way to them and from them.
    assert!(stood < 2_500, "{stood}");
    assert_eq!(said[1..], ["echo#texts gave 5000", "echo#texts written"]);
    cluster.becomes_idle();
}

/// Enough to show that nothing keeps what has gone through.
#[test]
fn what_flows_through_streams_of_a_call_by_name_is_not_held_anywhere() {
    const ITEMS: u64 = 4096;
    const ITEM_BYTES: u64 = 60_000;
    const MOST_KIB: u64 = 160 << 10;
    let cluster = Cluster::new();
    let server = cluster.runtime("server").controller().module("streams", "fixtures-streams");
    let server = server.args(["--memory", "64MiB"]).ready();
    let step = format!("relay echo#texts {ITEMS} {ITEM_BYTES}");
    let script = cluster.runtime("script").module("script", "fixtures-twins");
    // It stays, so that its memory can be asked for.
    let script = script.args(["--memory", "64MiB", "--env", &format!("SCRIPT={step}")]).start();
    script.wait_for_line(&format!("echo#texts gave {ITEMS}"));
    script.wait_for_line("echo#texts written");
    cluster.becomes_idle();
    for runtime in [&server, &script] {
        let peak = runtime.peak_memory_kib();
        assert!(peak < MOST_KIB, "{peak} KiB");
    }
}

#[test]
fn an_instance_that_traps_takes_the_streams_of_its_calls_along() {
    let cluster = Cluster::new();
    let _server = streaming(&cluster);
    let _twins = cluster.runtime("twins").module("twins", "fixtures-twins").ready();
    for (callback, item, reply, why) in
        [("echo#texts", r#"\"a\""#, true, r#"it has read "a""#), ("readers#sum", "1", false, "it has written")]
    {
        let output = cluster.call_json("trap-amid", &format!(r#"["{callback}", "{item}", {reply}]"#));
        assert_eq!(output.code(), 1, "{output:#?}");
        says(&output.stderr, &["trap-amid", why]);
        cluster.becomes_idle();
    }
    // Both have new instances, where theirs are gone.
    assert_eq!(cluster.call("inside()").success(), "0");
    assert_eq!(said(&cluster, &["stream readers#sum [0] 1 2 3"]), ["readers#sum = 6", "readers#sum written"]);
}

#[test]
fn a_call_that_is_dropped_takes_its_streams_along_and_a_stream_that_is_dropped_goes_alone() {
    let cluster = Cluster::new();
    let _server = streaming(&cluster);
    let steps = [
        "drop-stream readers#sum [0] 1",
        "first writers#count [1000000,10]",
        "drop-stream no-such-thing [0] 1",
        "stream readers#sum [0] 1 2 3",
    ];
    let said = said(&cluster, &steps);
    assert_eq!(said[..3], ["readers#sum is dropped", "readers#sum takes no more", "writers#count gave 0"]);
    says(&said[3], &["writers#count failed: failed cancelled the stream was dropped"]);
    says(&said[4], &["no-such-thing failed: not-run no-such-callback"]);
    assert_eq!(said[5..], ["readers#sum = 6", "readers#sum written"]);
    cluster.becomes_idle();
}
