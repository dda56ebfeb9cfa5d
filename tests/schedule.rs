//! PERIOD: callbacks that their own processes call, made, seen and cancelled by guests and from the command line.

use std::time::Instant;

use serde_json::{Value, json};

use super::cluster::output::says;
use super::cluster::{CONNECTED, Cluster, PATIENCE};

/// `daffi-runtime schedule add`; gives the task's id.
fn add(cluster: &Cluster, args: &[&str]) -> String {
    cluster.run(["schedule", "add"].iter().chain(args)).success().to_owned()
}

/// `daffi-runtime schedule ls --json`, parsed.
fn ls(cluster: &Cluster) -> Value {
    serde_json::from_str(cluster.run(["schedule", "ls", "--json"]).success()).unwrap()
}

/// Asks until the only task is as wanted.
pub fn becomes(cluster: &Cluster, wanted: impl Fn(&Value) -> bool) -> Value {
    let start = Instant::now();
    loop {
        let task = ls(cluster)[0].take();
        if wanted(&task) {
            return task;
        }
        assert!(start.elapsed() < PATIENCE, "it does not come: {task}");
    }
}

fn script(cluster: &Cluster, steps: &[&str]) -> Vec<String> {
    cluster.runtime("script").script(steps).finish().success().lines().map(str::to_owned).collect()
}

#[test]
fn what_a_guest_has_scheduled_goes_on_without_it_until_anybody_cancels_it() {
    let cluster = Cluster::new();
    let server = cluster.serving("server");
    let said = script(&cluster, &["schedule every-text=0.02s - print [\"tick\"]", "tasks", "tasks-of server"]);
    assert_eq!(said, ["print scheduled at server: every 20ms", "1 tasks", "1 tasks"]);
    for _ in 0..3 {
        server.wait_for_line("tick");
    }
    let tasks = ls(&cluster);
    assert_eq!((&tasks[0]["arguments"], &tasks[0]["plan"]), (&"(\"tick\")".into(), &json!({ "every-ms": 20 })));
    assert_eq!(
        (&tasks[0]["creator"], &tasks[0]["callback"]),
        (&"script".into(), &"fixtures:guest/sandbox@0.1.0#print".into())
    );
    let id = tasks[0]["id"].as_str().unwrap();
    assert_eq!(cluster.run(["schedule", "cancel", id]).success(), format!("{id} is cancelled"));
    assert_eq!(cluster.run(["schedule", "ls"]).success(), "nothing is scheduled");
    let again = cluster.run(["schedule", "cancel", id]);
    says(again.one_line_error(3), &["no scheduled task", id, "no-such-task"]);
}

#[test]
fn times_run_once_each_and_the_task_is_finished_then() {
    let cluster = Cluster::new();
    let server = cluster.serving("server");
    script(&cluster, &["schedule at=50+100 - print [\"now\"]"]);
    server.wait_for_line("now");
    server.wait_for_line("now");
    let task = becomes(&cluster, |task| task["state"] == "finished");
    assert_eq!((&task["runs"], &task["failures"], &task["next-run"]), (&2.into(), &0.into(), &Value::Null));
    let id = task["id"].as_str().unwrap();
    says(cluster.run(["schedule", "cancel", id]).success(), &[id, "no more to do"]);
}

#[test]
fn a_cron_expression_shows_when_it_runs_next() {
    let cluster = Cluster::new();
    let _server = cluster.serving("server");
    let id = add(&cluster, &["print", "--json", "[\"new year\"]", "--cron", "0 0 1 1 *"]);
    let task = ls(&cluster)[0].take();
    assert_eq!((task["id"].as_str(), task["state"].as_str()), (Some(id.as_str()), Some("waiting")));
    assert!(task["next-run"].as_str().unwrap().ends_with("-01-01T00:00:00Z"), "{task}");
    let table = cluster.run(["schedule", "ls", "--receiver", "server"]);
    says(table.success(), &["TASK", "cron 0 0 1 1 *", "waiting", &id, "#print(\"new year\")"]);
    assert_eq!(task["plan"], json!({ "cron": "0 0 1 1 *" }));
}

#[test]
fn long_arguments_and_what_would_move_the_cursor_are_shown_cut_and_escaped() {
    let cluster = Cluster::new();
    let _server = cluster.serving("server");
    let text = format!("\u{1b}[2J{}", "x".repeat(1000));
    add(&cluster, &["print", "--json", &json!([text]).to_string(), "--at", "2999-01-01T00:00:00Z"]);
    let task = ls(&cluster)[0].take();
    let shown = task["arguments"].as_str().unwrap();
    assert!(shown.starts_with("(\"\\u{1b}[2Jxxx") && shown.ends_with("x…") && shown.len() < 200, "{shown}");
    assert_eq!(task["plan"], json!({ "at": ["2999-01-01T00:00:00Z"] }));
    let table = cluster.run(["schedule", "ls"]);
    assert!(!table.success().contains('\u{1b}'), "{table:#?}");
}

#[test]
fn ticks_that_come_while_a_run_is_in_flight_are_skipped_unless_the_task_says_otherwise() {
    let cluster = Cluster::new();
    let server =
        cluster.runtime("server").controller().module("server", "fixtures").args(["--instances", "pool:2"]).ready();
    script(&cluster, &["schedule every=20 - hold [\"alone\", 200]"]);
    server.wait_for_line("alone started");
    server.wait_for_line("alone finished");
    server.wait_for_line("alone started");
    let task = becomes(&cluster, |task| task["skipped"].as_u64() > Some(2));
    cluster.run(["schedule", "cancel", task["id"].as_str().unwrap()]).success();
    script(&cluster, &["schedule every=20 overlap=parallel,timeout=60000 hold [\"together\", 60000]"]);
    server.wait_for_line("together started");
    server.wait_for_line("together started");
}

#[test]
fn a_failed_run_is_seen_in_the_list_and_in_the_log() {
    let cluster = Cluster::new();
    let server = cluster.serving("server");
    add(&cluster, &["divide(1, 0)", "--every", "20ms"]);
    server.wait_for_line_with(&["warning: server/", "divide by zero", "(trap)"]);
    let task = becomes(&cluster, |task| task["failures"].as_u64() > Some(0));
    assert_eq!(task["last-error"]["code"], "trap", "{task}");
    says(cluster.run(["schedule", "ls"]).success(), &["last error, at 20", "divide by zero"]);
}

#[test]
fn a_run_that_passes_its_deadline_is_stopped_and_has_failed() {
    let cluster = Cluster::new();
    let server =
        cluster.runtime("server").controller().module("server", "fixtures").args(["--instances", "per-call"]).ready();
    add(&cluster, &["hold(\"late\", 60000)", "--every", "20ms", "--timeout", "100ms"]);
    server.wait_for_line("late started");
    server.wait_for_line("late started");
    let task = becomes(&cluster, |task| task["failures"].as_u64() > Some(0));
    assert_eq!(task["last-error"]["code"], "deadline-exceeded", "{task}");
}

#[test]
fn a_process_schedules_its_own_callback_by_name_and_cancels_it() {
    let cluster = Cluster::new();
    let server = cluster.serving("server");
    let alone = cluster.call_json("remind", r#"["alone", 20, null]"#);
    says(alone.success(), &["not-run", "no-such-callback"]);
    let id = cluster.call_json("remind", r#"["by myself", 20, "server"]"#).success().to_owned();
    let id: Value = serde_json::from_str(&id).unwrap();
    server.wait_for_line("by myself");
    server.wait_for_line("by myself");
    let cancelled = cluster.call_json("cancel-reminder", &format!("[{}]", id["ok"]));
    let runs: Value = serde_json::from_str(cancelled.success()).unwrap();
    assert!(runs["ok"].as_u64() > Some(1), "{runs}");
    assert_eq!(ls(&cluster), Value::Array(Vec::new()));
}

#[test]
fn a_schedule_waits_for_a_callback_that_is_not_there_yet() {
    let cluster = Cluster::new();
    let _controller = cluster.serving("server");
    let steps = ["schedule every=20 - unmistakable []", "schedule every=60000 wait unmistakable []"];
    let script = cluster.runtime("script").script(&steps).start();
    script.wait_for_line_with(&["unmistakable failed: not-run no-such-callback"]);
    let _names = cluster.runtime("names").module("names", "fixtures-names").ready();
    script.wait_for_line("unmistakable scheduled at names: every 1m");
    assert_eq!(script.exit_code(), 0);
}

#[test]
fn schedules_go_on_while_the_controller_is_away_and_are_seen_when_it_is_back() {
    let cluster = Cluster::new();
    let controller = |label: &str| cluster.bare(label).args(["--controller", "--no-node"]).start();
    let first = controller("first");
    first.wait_for_line("listening");
    let server = cluster.runtime("server").module("server", "fixtures").ready();
    let id = add(&cluster, &["print(\"tick\")", "--every", "20ms"]);
    server.wait_for_line("tick");
    first.kill();
    server.wait_for_line("lost the controller");
    let seen = server.count("tick");
    while server.count("tick") < seen + 3 {
        server.wait_for_line("tick");
    }
    let second = controller("second");
    second.wait_for_line("listening");
    server.wait_for_line(CONNECTED);
    assert_eq!(ls(&cluster)[0]["id"], id.as_str());
}

#[test]
fn a_runtime_that_is_asked_to_end_finishes_the_run_in_flight_and_begins_no_other() {
    let cluster = Cluster::new();
    let server = cluster.serving("server");
    add(&cluster, &["hold(\"last\", 400)", "--every", "20ms", "--overlap", "queue-one"]);
    server.wait_for_line("last started");
    server.terminate();
    assert_eq!(server.exit_code(), 0);
    assert_eq!((server.count("last started"), server.count("last finished")), (1, 1));
}

#[test]
fn ps_shows_how_many_schedules_there_are_where_there_are_any() {
    let cluster = Cluster::new();
    let _server = cluster.serving("server");
    assert!(!cluster.run(["ps"]).success().contains("SCHEDULES"));
    for _ in 0..2 {
        add(&cluster, &["print(\"much later\")", "--every", "1h"]);
    }
    says(cluster.run(["ps"]).success(), &["SCHEDULES"]);
    assert_eq!(cluster.ps()[0]["schedules"], 2);
}

#[test]
fn a_module_has_no_more_schedules_than_it_may() {
    let cluster = Cluster::new();
    let start = cluster.runtime("server").controller().module("server", "fixtures").args(["--max-schedules", "1"]);
    let _server = start.ready();
    let said = script(&cluster, &["schedule every=60000 - print [\"a\"]", "schedule every=60000 - print [\"b\"]"]);
    assert_eq!(said[0], "print scheduled at server: every 1m");
    says(&said[1], &["not-run overloaded", "has 1 schedules, its limit"]);
    let refused = cluster.run(["schedule", "add", "print(\"c\")", "--every", "1m"]);
    says(refused.one_line_error(3), &["overloaded", "max-schedules"]);
}

#[test]
fn a_guests_plan_that_is_none_is_an_error_value() {
    let cluster = Cluster::new();
    let _server = cluster.serving("server");
    let steps = [
        ("schedule every=0 - print [\"x\"]", "bad-arguments", "too often"),
        ("schedule every=18446744073709551 - print [\"x\"]", "bad-arguments", "too seldom"),
        ("schedule every-text=-5s - print [\"x\"]", "bad-arguments", "is no duration"),
        ("schedule every-text=soon - print [\"x\"]", "bad-arguments", "is no duration"),
        ("schedule at=-60000 - print [\"x\"]", "bad-arguments", "in the past"),
        ("schedule at=9000000000000000 - print [\"x\"]", "bad-arguments", "beyond the year 9999"),
        ("schedule at-text=tomorrow - print [\"x\"]", "bad-arguments", "is no time"),
        ("schedule cron=whenever - print [\"x\"]", "bad-arguments", "cron expression"),
        ("schedule cron=0_0_30_2_* - print [\"x\"]", "bad-arguments", "never comes"),
        ("schedule every=1000 timeout=0 print [\"x\"]", "bad-arguments", "1 to 604800000"),
        ("schedule every=1000 within=0 print [\"x\"]", "bad-arguments", "1 to 604800000"),
        ("schedule every=1000 - print [5]", "bad-arguments", "print"),
        ("schedule every=1000 - prin [\"x\"]", "no-such-callback", "print"),
        ("schedule every=1000 receiver=serve print [\"x\"]", "no-such-process", "`server`"),
        ("cancel-id nonsense", "bad-arguments", "schedule ls"),
        ("cancel-id server/1", "no-such-task", "server/1"),
        ("cancel-id serve/1", "no-such-process", "`server`"),
        ("tasks-of nobody", "no-such-process", "nobody"),
    ];
    let lines: Vec<&str> = steps.iter().map(|(step, ..)| *step).collect();
    let said = script(&cluster, &lines);
    for (line, (step, code, why)) in said.iter().zip(steps) {
        says(line, &["failed: not-run", code, why]);
        assert!(line.len() < 1000, "{step:.80}");
    }
    assert_eq!(said.len(), steps.len());
    assert_eq!(ls(&cluster), Value::Array(Vec::new()));
}

#[test]
fn what_is_wrong_on_the_command_line_is_one_line_with_its_exit_code() {
    let cluster = Cluster::new();
    let _server = cluster.serving("server");
    let bad = |args: &[&str], code: i32, words: &[&str]| {
        let output = cluster.run(["schedule"].iter().chain(args));
        says(output.one_line_error(code), words);
    };
    bad(&["add", "print(\"x\")"], 2, &["without a time", "--every, --at and --cron"]);
    bad(&["add", "print(\"x\")", "--every", "1s", "--at", "2999-01-01T00:00:00Z"], 2, &["both `every` and `at`"]);
    bad(&["add", "print(\"x\")", "--every", "-1s"], 2, &["is no duration"]);
    bad(&["add", "print(\"x\")", "--every", "1ms"], 2, &["too often"]);
    bad(&["add", "print(\"x\")", "--at", "2020-01-01T00:00:00Z"], 2, &["in the past"]);
    bad(&["add", "print(\"x\")", "--cron", "* * * * 9"], 2, &["cron expression"]);
    bad(&["add", "print(5)", "--every", "1s"], 2, &["print"]);
    bad(&["add", "prin(\"x\")", "--every", "1s"], 3, &["no-such-callback", "print"]);
    bad(&["add", "print(\"x\")", "--every", "1s", "--receiver", "serve"], 3, &["no-such-process", "`server`"]);
    let large = format!("[\"{}\"]", "x".repeat(65_536));
    bad(&["add", "print", "--json", &large, "--every", "1s"], 3, &["payload-too-large", "65536 at most"]);
    bad(&["add", "print(\"x\")", "--every", "1s", "--overlap", "sometimes"], 2, &["queue-one"]);
    bad(&["ls", "--receiver", "serve"], 3, &["no-such-process", "`server`"]);
    bad(&["cancel", "x"], 2, &["no id of a scheduled task"]);
    bad(&["cancel"], 2, &["ID"]);
    assert_eq!(ls(&cluster), Value::Array(Vec::new()));
    let alone = Cluster::new();
    says(alone.run(["schedule", "ls"]).one_line_error(5), &["no controller"]);
}
