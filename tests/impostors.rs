//! Processes that tell of their scheduled tasks what no table of tasks tells: who asks has an error or clean text, soon, and
//! nobody else notices.

use std::time::Duration;

use bytes::Bytes;
use daffi_proto::id::ProcessName;
use daffi_proto::schedule::{
    Counts, LastError, Missed, Overlap, Plan, TaskId, TaskInfo, TaskNumber, TaskOp, TaskPage, TaskState, Utc,
};

use super::cluster::output::says;
use super::cluster::{Cluster, Output};

/// What moves the cursor, begins a line and hides what follows.
const CONTROL: &str = "\u{1b}[2J\nforged\u{9b}8m";

fn task(process: &str, number: u64) -> TaskInfo {
    let now = Utc::from_unix(1_764_000_000, 0);
    TaskInfo {
        id: TaskId { process: ProcessName::new(process).unwrap(), number: TaskNumber(number) },
        callback: "test:mesh/talk#nod".parse().unwrap(),
        plan: Plan::Every(Duration::from_secs(1)),
        timeout: Duration::from_secs(1),
        overlap: Overlap::Skip,
        missed: Missed::Skip,
        creator: None,
        made: now,
        state: TaskState::Waiting,
        next_run: None,
        last_run: None,
        running: 0,
        counts: Counts::default(),
        last_error: Some(LastError { at: now, code: CONTROL.to_owned(), message: CONTROL.to_owned() }),
        arguments: Some(CONTROL.to_owned()),
    }
}

fn page(tasks: impl IntoIterator<Item = TaskInfo>, more: bool) -> Option<Bytes> {
    let page = TaskPage { tasks: tasks.into_iter().collect(), more };
    Some(postcard::to_stdvec(&page).unwrap().into())
}

/// What `schedule ls` says, and with `--json`, when a process answers so. A guest that asks must be told this, and calls of
/// others go on.
#[track_caller]
fn asked(answer: impl Fn(TaskOp) -> Option<Bytes> + Send + 'static, guest_is_told: &[&str]) -> (Output, Output) {
    let cluster = Cluster::new();
    let server = cluster.serving("server");
    let impostor = cluster.impostor("impostor", answer);
    let listed = cluster.run(["schedule", "ls"]);
    let json = cluster.run(["schedule", "ls", "--json"]);
    let script = cluster.runtime("script").script(&["tasks", "tasks-of server", "call add [1, 2]"]).finish();
    let said: Vec<&str> = script.success().lines().collect();
    says(said[0], guest_is_told);
    assert_eq!(said[1..], ["0 tasks", "add = 3"]);
    assert_eq!(cluster.call("add(4, 5)").success(), "9");
    let peak = server.peak_memory_kib();
    assert!(peak < 256 << 10, "{peak} KiB");
    drop(impostor); // which has a task, as it says
    cluster.becomes_idle();
    (listed, json)
}

#[test]
fn a_list_of_tasks_without_end_is_an_error() {
    let endless = |op| match op {
        TaskOp::List(after) => page([task("impostor", after.map_or(1, |after| after.0 + 1))], true),
        _ => None,
    };
    let (listed, json) = asked(endless, &["tasks failed: unknown internal", "more than 1056 tasks"]);
    for output in [listed, json] {
        says(output.one_line_error(4), &["the receiver is defective", "more than 1056 tasks"]);
    }
    // All of them at once, as many as a frame can have.
    let giant = |_| page((0..100_000).map(|number| TaskInfo { last_error: None, ..task("impostor", number) }), true);
    let (listed, _) = asked(giant, &["tasks failed: unknown internal", "more than 1056 tasks"]);
    says(listed.one_line_error(4), &["more than 1056 tasks"]);
}

#[test]
fn a_list_that_says_that_it_goes_on_and_does_not_has_ended() {
    let stuck = |_| page([task("impostor", 1)], true);
    let (listed, _) = asked(stuck, &["tasks"]);
    assert!(listed.success().contains("impostor/1"), "{listed:#?}");
}

#[test]
fn a_task_of_another_process_is_an_error_and_bytes_that_are_no_tasks_are() {
    let foreign = |_| page([task("server", 1)], false);
    let (listed, json) = asked(foreign, &["tasks failed: unknown internal", "a task of server"]);
    for output in [listed, json] {
        says(output.one_line_error(4), &["the receiver is defective", "a task of server"]);
    }
    let garbage = |_| Some(Bytes::from_static(&[0xff; 64]));
    let (listed, _) = asked(garbage, &["tasks failed: unknown"]);
    says(listed.one_line_error(4), &["impostor"]);
}

#[test]
fn control_characters_in_what_a_process_tells_of_its_tasks_reach_no_terminal() {
    let forged = |_| page([task("impostor", 1)], false);
    let (listed, json) = asked(forged, &["1 tasks"]);
    assert!(listed.success().lines().all(|line| !line.chars().any(char::is_control)), "{listed:#?}");
    assert_eq!(listed.success().lines().count(), 3, "{listed:#?}");
    // JSON says what they are, in characters that do nothing.
    assert!(json.success().lines().all(|line| !line.chars().any(char::is_control)), "{json:#?}");
    let tasks: serde_json::Value = serde_json::from_str(json.success()).unwrap();
    assert_eq!(tasks[0]["last-error"]["message"], CONTROL);
}
