//! `--state-dir`: schedules that outlive their runtime, however it ends.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use serde_json::Value;

use super::cluster::output::says;
use super::cluster::{Cluster, Running, Start};
use super::schedule::becomes;

/// A controller with a module of this component that keeps its schedules.
fn keeping<'a>(cluster: &'a Cluster, component: &str) -> Start<'a> {
    cluster.runtime("server").controller().module("server", component).args(["--state-dir", "state"])
}

fn kept(cluster: &Cluster) -> PathBuf {
    cluster.path("state/schedules/default/server.json")
}

fn add(cluster: &Cluster, call: &str, every: &str) -> String {
    cluster.run(["schedule", "add", call, "--every", every]).success().to_owned()
}

fn tasks(cluster: &Cluster) -> Value {
    serde_json::from_str(cluster.run(["schedule", "ls", "--json"]).success()).unwrap()
}

fn killed(server: Running) {
    server.kill();
}

#[test]
fn a_schedule_survives_kill_9_and_what_was_not_kept_does_not() {
    let cluster = Cluster::new();
    let server = keeping(&cluster, "fixtures").ready();
    let id = add(&cluster, "print(\"tick\")", "20ms");
    // The answer came: from here on it is on the disk.
    killed(server);
    let server = keeping(&cluster, "fixtures").ready();
    server.wait_for_line("tick");
    server.wait_for_line("tick");
    let now = tasks(&cluster);
    assert_eq!((now[0]["id"].as_str(), now.as_array().map(Vec::len)), (Some(id.as_str()), Some(1)));
    cluster.run(["schedule", "cancel", &id]).success();
    killed(server);
    let server = keeping(&cluster, "fixtures").ready();
    assert_eq!(tasks(&cluster), Value::Array(Vec::new()));
    add(&cluster, "print(\"later\")", "1h");
    killed(server);
    let _server = cluster.serving("server");
    assert_eq!(tasks(&cluster), Value::Array(Vec::new()));
}

/// A controller with two modules that keeps its schedules.
fn keeping_two(cluster: &Cluster) -> Start<'_> {
    keeping(cluster, "fixtures").module("other", "fixtures")
}

/// Has a callback run once, in the future that is near and in one that is far, and waits until all is written down that
/// is to be at once.
fn ran_once(cluster: &Cluster, server: &Running) -> PathBuf {
    let plan = "schedule at=50+3600000 receiver=server print [\"tick\"]";
    cluster.runtime("script").script(&[plan]).finish().success();
    server.wait_for_line("tick");
    becomes(cluster, |task| task["state"] == "waiting" && task["runs"] == 1);
    // What is written down of others has its turn after that: the first of these may have come before the run's end, which
    // waited for what was written down of its beginning.
    for _ in 0..2 {
        cluster.run(["schedule", "add", "print(\"no\")", "--every", "1h", "--receiver", "other"]).success();
    }
    kept(cluster).with_extension("journal")
}

#[test]
fn a_run_that_was_over_before_kill_9_is_told_as_it_was() {
    let cluster = Cluster::new();
    let server = keeping_two(&cluster).ready();
    let journal = ran_once(&cluster, &server);
    killed(server);
    let table: Value = serde_json::from_str(&std::fs::read_to_string(kept(&cluster)).unwrap()).unwrap();
    assert_eq!(table["tasks"][0]["counts"]["runs"], 0, "a tick does not write the table anew: {table}");
    assert!((50..300).contains(&std::fs::metadata(&journal).unwrap().len()));
    let server = keeping_two(&cluster).ready();
    let now = tasks(&cluster);
    let task = now.as_array().unwrap().iter().find(|task| task["runs"] == 1).unwrap();
    assert_eq!((&task["failures"], &task["missed"], &task["last-error"]), (&0.into(), &0.into(), &Value::Null));
    assert_eq!(server.count("tick"), 0, "it ran again");
}

#[test]
fn a_journals_torn_end_is_passed_over_and_one_that_is_not_understood_stops_the_start() {
    let cluster = Cluster::new();
    let server = keeping_two(&cluster).ready();
    let journal = ran_once(&cluster, &server);
    killed(server);
    let whole = std::fs::read(&journal).unwrap();
    let mut damaged = whole.clone();
    // Of a later frame nobody here knows whether there is one: the beginning is damaged, which is never torn so.
    damaged[0] ^= 0xff;
    std::fs::write(&journal, &damaged).unwrap();
    let output = keeping_two(&cluster).finish();
    assert_eq!(output.code(), 2);
    says(&output.stderr, &["error: ", "server.journal", "no journal", "left as it is", "move it away"]);
    assert_eq!(std::fs::read(&journal).unwrap(), damaged);
    std::fs::write(&journal, [&whole[..], &[0; 7]].concat()).unwrap();
    let _server = keeping_two(&cluster).ready();
    let ran = |task: &Value| task["runs"] == 1 && task["failures"] == 0;
    assert_eq!(tasks(&cluster).as_array().unwrap().iter().filter(|task| ran(task)).count(), 1);
}

#[test]
fn counts_are_kept_by_a_runtime_that_ends_in_good_order() {
    let cluster = Cluster::new();
    let server = keeping(&cluster, "fixtures").ready();
    add(&cluster, "print(\"tick\")", "20ms");
    for _ in 0..3 {
        server.wait_for_line("tick");
    }
    server.terminate();
    assert_eq!(server.exit_code(), 0);
    let ran = server.count("tick") as u64;
    let saved: Value = serde_json::from_str(&std::fs::read_to_string(kept(&cluster)).unwrap()).unwrap();
    assert_eq!(saved["tasks"][0]["counts"]["runs"], ran, "{saved}");
}

#[test]
fn a_run_that_was_cut_off_has_failed_and_the_next_one_runs() {
    let cluster = Cluster::new();
    let server = keeping(&cluster, "fixtures").ready();
    let at = cluster.run(["schedule", "add", "hold(\"cut\", 60000)", "--every", "1h"]);
    let hourly = at.success().to_owned();
    add(&cluster, "hold(\"cut\", 60000)", "20ms");
    server.wait_for_line("cut started");
    // Whatever changes the table writes all of it down: the run in flight, too.
    cluster.run(["schedule", "cancel", &hourly]).success();
    killed(server);
    let server = keeping(&cluster, "fixtures").ready();
    server.wait_for_line("cut started");
    let task = tasks(&cluster)[0].take();
    assert_eq!(task["failures"], 1, "{task}");
    says(task["last-error"]["message"].as_str().unwrap(), &["the runtime ended while it ran"]);
}

#[test]
fn a_task_whose_callback_is_gone_stays_and_fails_until_it_is_back() {
    let cluster = Cluster::new();
    let server = keeping(&cluster, "fixtures").ready();
    let id = add(&cluster, "print(\"tick\")", "20ms");
    killed(server);
    let server = keeping(&cluster, "fixtures-names").ready();
    server.wait_for_line_with(&["warning: ", &id, "no callback", "#print"]);
    let task = tasks(&cluster)[0].take();
    assert_eq!(
        (task["id"].as_str(), task["last-error"]["code"].as_str()),
        (Some(id.as_str()), Some("no-such-callback"))
    );
    killed(server);
    let server = keeping(&cluster, "fixtures").ready();
    server.wait_for_line("tick");
}

#[test]
fn a_runtime_does_not_start_with_a_file_that_cannot_be_understood_and_leaves_it_as_it_is() {
    let cluster = Cluster::new();
    let server = keeping(&cluster, "fixtures").ready();
    add(&cluster, "print(\"tick\")", "1h");
    killed(server);
    let saved = std::fs::read_to_string(kept(&cluster)).unwrap();
    let truncated = &saved[..saved.len() / 2];
    let foreign = saved.replace("\"process\": \"server\"", "\"process\": \"stranger\"");
    let newer = "{\"version\": 99}";
    let all = [(truncated, "cannot be read"), (foreign.as_str(), "stranger"), ("", "cannot be read"), (newer, "newer")];
    for (content, why) in all {
        std::fs::write(kept(&cluster), content).unwrap();
        let output = keeping(&cluster, "fixtures").finish();
        assert_eq!(output.code(), 2);
        says(&output.stderr, &["error: ", "server.json", why, "left as it is", "move it away"]);
        assert_eq!(std::fs::read_to_string(kept(&cluster)).unwrap(), content);
    }
    std::fs::write(kept(&cluster), &saved).unwrap();
    let _server = keeping(&cluster, "fixtures").ready();
    assert_eq!(tasks(&cluster).as_array().map(Vec::len), Some(1));
}

#[test]
fn a_schedule_is_refused_once_the_folder_has_been_moved_away() {
    let cluster = Cluster::new();
    let server = keeping(&cluster, "fixtures").ready();
    std::fs::rename(cluster.path("state"), cluster.path("away")).unwrap();
    let output = cluster.run(["schedule", "add", "print(\"tick\")", "--every", "1h"]);
    says(output.one_line_error(3), &["state", "moved or removed"]);
    server.wait_for_line_with(&["error: ", "not written down", "moved or removed"]);
    assert!(!cluster.path("state").exists());
    assert_eq!(tasks(&cluster), Value::Array(Vec::new()));
}

#[test]
fn a_state_folder_is_private_and_one_runtimes_at_a_time() {
    let cluster = Cluster::new();
    let _server = keeping(&cluster, "fixtures").ready();
    let mode = std::fs::metadata(cluster.path("state")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    let second = cluster.runtime("second").module("second", "fixtures").args(["--state-dir", "state"]).finish();
    says(second.one_line_error(2), &["--state-dir state is in use by another runtime"]);
    std::fs::create_dir(cluster.path("open")).unwrap();
    std::fs::set_permissions(cluster.path("open"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let open = cluster.runtime("third").module("third", "fixtures").args(["--state-dir", "open"]).finish();
    says(open.one_line_error(2), &["mode 755", "chmod 700"]);
    let nothing = cluster.run(["--controller", "--no-node", "--state-dir", "state"]);
    says(nothing.one_line_error(2), &["--state-dir", "no module"]);
}
