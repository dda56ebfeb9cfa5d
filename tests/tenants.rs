//! Tenants: the same names side by side, and nothing of one to be had in another.

use super::cluster::output::says;
use super::cluster::{Cluster, Output, component};

/// A controller whose config has a process `shop` with the fixtures in each of two tenants.
fn config(cluster: &Cluster) -> String {
    let path = component("fixtures");
    let module =
        |tenant: &str| format!("[[module]]\npath = '{}'\nname = 'shop'\ntenant = '{tenant}'\n", path.display());
    cluster.file("daffi.toml", format!("{}{}", module("acme"), module("globex")))
}

fn in_tenant(cluster: &Cluster, tenant: &str, args: &[&str]) -> Output {
    cluster.run(args.iter().chain(&["--tenant", tenant]))
}

#[test]
fn two_tenants_of_one_runtime_have_processes_of_the_same_name() {
    let cluster = Cluster::new();
    let config = config(&cluster);
    let host = cluster.runtime("host").controller().args(["--config", &config]).ready();
    for tenant in ["acme", "globex"] {
        assert_eq!(in_tenant(&cluster, tenant, &["call", "add(40, 2)", "--receiver", "shop"]).success(), "42");
        assert_eq!(in_tenant(&cluster, tenant, &["call", "add(1, 2)", "--broadcast"]).success(), "shop: 3");
        let list = in_tenant(&cluster, tenant, &["ps", "--json"]);
        let list: serde_json::Value = serde_json::from_str(list.success()).unwrap();
        let [process] = list.as_array().unwrap().as_slice() else { panic!("{list:#}") };
        assert_eq!((&process["process"], &process["tenant"]), (&"shop".into(), &tenant.into()));
    }
    let held = cluster.calling(&[r#"hold("of-acme", 60000)"#, "--tenant", "acme"]);
    says(&host.wait_for_line("of-acme started"), &["acme::shop"]);
    held.kill();
    // Who says no tenant is in another one.
    assert_eq!(cluster.ps(), serde_json::json!([]));
    says(cluster.call("add(1, 2)").one_line_error(3), &["in tenant default", "no-such-callback"]);
    says(in_tenant(&cluster, "acmee", &["call", "add(1, 2)"]).one_line_error(3), &["in tenant acmee"]);
    let nobody = in_tenant(&cluster, "acmee", &["call", "add(1, 2)", "--receiver", "shop"]);
    says(nobody.one_line_error(3), &["no process \"shop\"", "in tenant acmee"]);
    says(in_tenant(&cluster, "acmee", &["ps"]).success(), &["no process of tenant acmee is on the mesh"]);
}

#[test]
fn a_foreign_callback_is_as_unknown_as_one_that_nobody_has() {
    let cluster = Cluster::new();
    let _host = cluster.runtime("host").controller().module("acme-shop", "fixtures").args(["--tenant", "acme"]).ready();
    let error = |name: &str| {
        let output = in_tenant(&cluster, "globex", &["call", name, "--json", "[1, 2]"]);
        output.one_line_error(3).replace(name, "NAME")
    };
    assert_eq!(error("fixtures:guest/arith@0.1.0#add"), error("fixtures:guest/arith@0.1.0#sub-add"));
    let near = in_tenant(&cluster, "globex", &["call", "ad(1, 2)"]);
    assert!(!near.one_line_error(3).contains("arith"), "{}", near.stderr);
    let receiver = |name: &str| {
        let output = in_tenant(&cluster, "globex", &["call", "add(1, 2)", "--receiver", name]);
        output.one_line_error(3).replace(name, "NAME")
    };
    assert_eq!(receiver("acme-shop"), receiver("acme-shoq"));
    cluster.becomes_idle();
}

#[test]
fn a_guest_sees_calls_and_watches_its_own_tenant() {
    let cluster = Cluster::new();
    let _controller =
        cluster.runtime("acme-node").controller().module("acme-shop", "fixtures").args(["--tenant", "acme"]);
    let _controller = _controller.ready();
    let _own = cluster.runtime("own").module("own-shop", "fixtures").args(["--tenant", "globex"]).ready();
    let steps = [
        "wait-process own-shop 60000",
        "whoami",
        "processes",
        "pinned acme-shop add [1, 2]",
        "pinned own-shop add [1, 2]",
        "all - add [1, 2]",
        "wait-process acme-shop 10",
        "tasks-of acme-shop",
    ];
    let script = cluster.runtime("script").script(&steps).args(["--tenant", "globex"]).finish();
    let said = script.success();
    says(
        said,
        &["of globex in script", "own-shop", "add = 3", "add at own-shop = 3", "tasks failed: not-run no-such-process"],
    );
    says(said, &["add failed: not-run no-such-process", "acme-shop failed: not-run deadline-exceeded"]);
    let lines: Vec<&str> = said.lines().filter(|line| line.contains("acme-shop")).collect();
    assert!(lines.iter().all(|line| line.contains("failed")), "{lines:#?}");
    cluster.becomes_idle();
}

#[test]
fn events_and_schedules_end_at_the_border() {
    let cluster = Cluster::new();
    let config = config(&cluster);
    let state = cluster.path("state").display().to_string();
    let host = cluster.runtime("host").controller().args(["--config", &config, "--state-dir", &state]).ready();
    let events = cluster.bare("events").args(["events", "--tenant", "acme"]).start();
    says(&events.wait_for_line("joined"), &["shop (host)"]);
    let id = in_tenant(&cluster, "acme", &["schedule", "add", "add(1, 2)", "--every", "1h", "--receiver", "shop"]);
    let id = id.success().trim().to_owned();
    says(in_tenant(&cluster, "acme", &["schedule", "ls"]).success(), &[&id]);
    assert_eq!(in_tenant(&cluster, "globex", &["schedule", "ls"]).success(), "nothing is scheduled");
    says(in_tenant(&cluster, "globex", &["schedule", "cancel", &id]).one_line_error(3), &["no-such-task"]);
    assert!(cluster.path("state").join("schedules/acme/shop.json").exists());
    let _other = cluster.runtime("other").module("b", "fixtures-names").args(["--tenant", "globex"]).ready();
    let _mine = cluster.runtime("mine").module("c", "fixtures-names").args(["--tenant", "acme"]).ready();
    events.wait_for_line("joined   c (mine)");
    assert!(events.lines().iter().all(|line| !line.contains("(other)")), "{:?}", events.lines());
    // The tasks are there again, each in its tenant, when the runtime is.
    host.kill();
    let _host = cluster.runtime("host").controller().args(["--config", &config, "--state-dir", &state]).ready();
    says(in_tenant(&cluster, "acme", &["schedule", "ls"]).success(), &[&id]);
    assert_eq!(in_tenant(&cluster, "globex", &["schedule", "ls"]).success(), "nothing is scheduled");
}

/// A config with a shop of acme that exports so, and a script of globex that imports so.
pub fn sharing(cluster: &Cluster, exports: &str, imports: &str, fetchers: &str) -> (String, String) {
    let module = |tenant: &str, name: &str, guest: &str| {
        format!("[[module]]\npath = '{}'\nname = '{name}'\ntenant = '{tenant}'\n", component(guest).display())
    };
    let acme = format!("{}[tenant.acme]\nexports = [{exports}]\n", module("acme", "shop", "fixtures"));
    let globex = format!(
        "{}fetchers = {{ {fetchers} }}\n[tenant.globex]\nimports = [{imports}]\n",
        module("globex", "script", "script")
    );
    (cluster.file("acme.toml", acme), cluster.file("globex.toml", globex))
}

/// An export of simple callbacks to globex.
pub const ARITH: &str = "{ callbacks = ['fixtures:guest/arith*'], to = ['globex'] }";

#[test]
fn a_callback_that_one_exports_and_the_other_imports_is_called_by_its_tenant_and_name() {
    let cluster = Cluster::new();
    let alias = "'fixtures:script/elsewhere' = 'acme::fixtures:guest/arith'";
    let (acme, globex) = sharing(&cluster, ARITH, "'acme::fixtures:guest/arith*'", alias);
    let host = cluster.runtime("host").controller().args(["--config", &acme]).ready();
    let steps = [
        "wait-callback acme::arith#add 60000",
        "call acme::fixtures:guest/arith@0.1.0#add [40, 2]",
        "wave acme::add (40, 3)",
        "pinned shop acme::add [1, 2]",
        "all - acme::add [2, 2]",
        "elsewhere 5 15",
        // Not exported, not without its tenant, and not seen.
        "call acme::who []",
        "call acme::nobody []",
        "call add [1, 2]",
        "processes",
        "schedule every=1000 - acme::add [1, 2]",
    ];
    let script = format!("SCRIPT={}", steps.join("\n"));
    let script = cluster.runtime("other").args(["--config", &globex, "--env", &script]).finish();
    let said = script.success();
    says(said, &["#add = 42", "add = 43", "add = 3", "add at shop = 4", "elsewhere = 20"]);
    let error = |name: &str| {
        let line =
            said.lines().find(|line| line.starts_with(&format!("acme::{name} failed: not-run no-such-callback")));
        line.unwrap_or_else(|| panic!("{name}: {said}")).replace(name, "NAME")
    };
    assert_eq!(error("who"), error("nobody"));
    says(said, &["\nadd failed: not-run no-such-callback", "acme::add failed: not-run bad-arguments"]);
    assert!(!said.contains("process shop"), "{said}");
    host.kill();
}

#[test]
fn what_one_side_alone_says_is_not_shared() {
    for (exports, imports) in [(ARITH, ""), ("", "'acme::*'"), (&*ARITH.replace("globex", "initech"), "'acme::*'")] {
        let cluster = Cluster::new();
        let (acme, globex) = sharing(&cluster, exports, imports, "");
        let both = format!("{}\n{}", std::fs::read_to_string(acme).unwrap(), std::fs::read_to_string(globex).unwrap());
        let both = cluster.file("both.toml", both);
        let script = ["--config", &both, "--env", "SCRIPT=call acme::add [1, 2]", "--exit-after-run"];
        let output = cluster.runtime("host").controller().args(script).start();
        says(&output.wait_for_line("acme::add failed"), &["not-run no-such-callback"]);
    }
}
