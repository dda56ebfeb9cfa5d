//! Grants: what a module may call, and what else it may do on the mesh, is asked of the caller before anything is sent.

use super::cluster::output::says;
use super::cluster::{Cluster, component};

/// What a script says that was started with these flags, beside a runtime with callbacks.
fn said(flags: &[&str], steps: &[&str]) -> String {
    let cluster = Cluster::new();
    let _server = cluster.runtime("server").controller().module("server", "fixtures").ready();
    let script = format!("SCRIPT={}", steps.join("\n"));
    let output = cluster.runtime("script").module("script", "script").args(flags).args(["--env", &script]).finish();
    let said = output.success().to_owned();
    cluster.becomes_idle();
    said
}

/// The line of a step that was not granted.
fn denied<'a>(said: &'a str, step: &str) -> &'a str {
    let line = said.lines().find(|line| line.starts_with(&format!("{step} failed: not-run permission-denied ")));
    line.unwrap_or_else(|| panic!("{step}: {said}"))
}

#[test]
fn a_module_calls_what_its_grants_cover_and_is_told_what_they_do_not() {
    let flags = ["--may-call", "fixtures:guest/arith#add", "--may-call", "hold"];
    let said = said(
        &flags,
        &[
            "call add [40, 2]",
            "add 5 15",
            "checked-add 1 2",
            "call who []",
            "bg who []",
            "send - who []",
            "schedule every=1000 - who []",
            "checked-divide 4 2",
            "all - who []",
            "call nobody []",
        ],
    );
    says(&said, &["add = 42", "add = 20", "add = 3"]);
    let error = denied(&said, "who");
    says(error, &["fixtures:guest/", "who was not called: the grants of script do not cover it", "`may-call`"]);
    // By name four times: called, in the background, scheduled, and to all.
    let denied_who = said.lines().filter(|line| line.starts_with("who failed: not-run permission-denied")).count();
    assert!(denied_who >= 4, "{said}");
    says(denied(&said, "divide"), &["fixtures:guest/arith-checked@0.1.0#divide was not called"]);
    says(&said, &["nobody failed: not-run no-such-callback"]);
}

#[test]
fn what_stands_in_deny_is_refused_and_calls_go_on() {
    let flags = ["broadcast", "schedule", "list", "watch"].map(|act| ["--deny", act]).concat();
    let said = said(
        &flags,
        &[
            "all - add [1, 2]",
            "gather - add [1, 2]",
            "send-all - add [1, 2]",
            "schedule every=1000 - add [1, 2]",
            "tasks",
            "watch",
            "wait-process server 1000",
            "processes",
            "callbacks",
            "wait-callback add 60000",
            "call add [40, 2]",
        ],
    );
    let broadcasts = said.lines().filter(|line| line.contains("permission-denied script may not call all who")).count();
    assert_eq!(broadcasts, 3, "{said}");
    says(&said, &["script may not schedule callbacks, or see what is scheduled: `schedule` stands in its `deny`"]);
    says(denied(&said, "tasks"), &["may not schedule"]);
    says(denied(&said, "watch"), &["may not watch"]);
    says(&said, &["permission-denied script may not see or wait for other processes", "process script in script"]);
    assert!(!said.contains("process server") && !said.contains("callback fixtures:"), "{said}");
    says(&said, &["add = 42"]);
}

#[test]
fn a_typed_import_that_is_not_granted_traps_with_the_reason_and_so_does_one_to_all() {
    for (flags, step, reason) in [
        (["--may-call", "hold"], "add 5 15", "the grants of script do not cover it"),
        (["--deny", "broadcast"], "all-add 5 15", "script may not call all who have a callback"),
    ] {
        let cluster = Cluster::new();
        let _server = cluster.runtime("server").controller().module("server", "fixtures").ready();
        let script = format!("SCRIPT={step}");
        let output = cluster.runtime("script").module("script", "script").args(flags).args(["--env", &script]).finish();
        assert_eq!(output.status.code(), Some(134), "{output:?}");
        says(&output.stderr, &["its run trapped: its call of fixtures:guest/arith", reason]);
    }
}

#[test]
fn grants_stand_in_the_config_for_each_module_and_for_streams_too() {
    let cluster = Cluster::new();
    let _server = cluster.runtime("server").controller().module("streams", "fixtures-streams").ready();
    let path = component("fixtures-sdk-streams");
    let config = format!(
        "[[module]]\npath = '{}'\nname = 'caller'\nenv = {{ CASE = 'whole' }}\nmay-call = ['readers#take']\n",
        path.display()
    );
    let config = cluster.file("caller.toml", config);
    let output = cluster.runtime("caller").args(["--config", &config]).finish();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    says(&output.stderr, &["permission-denied", "readers@0.1.0#sum was not called"]);
}

#[test]
fn a_guest_stops_its_runtime_unless_that_is_denied_or_another_tenants_modules_live_there() {
    let stop =
        |cluster: &Cluster, tenant: &str| cluster.run(["call", "--tenant", tenant, "--receiver", "server", "stop(7)"]);
    let refused = |config: Option<&[&str]>, flags: &[&str], tenant: &str, why: &str| {
        let cluster = Cluster::new();
        let module = |tenant: &&str| {
            let path = component("fixtures");
            format!("[[module]]\npath = '{}'\nname = 'server'\ntenant = '{tenant}'\n", path.display())
        };
        let server = cluster.runtime("server").controller().args(flags);
        let server = match config {
            None => server.module("server", "fixtures"),
            Some(tenants) => {
                let modules = tenants.iter().map(module).collect::<String>();
                server.args(["--config", &cluster.file("server.toml", modules)])
            }
        };
        let _server = server.ready();
        let error = stop(&cluster, tenant).one_line_error(1).to_owned();
        says(&error, &["trap", "server may not stop the runtime: ", why]);
        // And it lives on.
        assert_eq!(cluster.run(["call", "--tenant", tenant, "add(1, 2)"]).success(), "3");
    };
    refused(None, &["--deny", "stop"], "default", "`stop` stands in its `deny`");
    refused(Some(&["acme", "globex"]), &[], "acme", "modules of several tenants live in it");
    let cluster = Cluster::new();
    let server = cluster.runtime("server").controller().module("server", "fixtures").ready();
    stop(&cluster, "default").success();
    says(&server.wait_for_line("stops this runtime"), &["server stops this runtime with exit code 7"]);
    assert_eq!(server.exit_code(), 7);
}
