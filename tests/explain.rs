//! `explain`: whether a process may call a callback, of config files and of a running mesh.

use super::cluster::output::says;
use super::cluster::{Cluster, Output, Running, component};
use super::tenants::{ARITH, sharing};

const ADD: &str = "fixtures:guest/arith@0.1.0#add";

/// The lines of an answer that the call would not run.
#[track_caller]
fn refused(output: &Output) -> &str {
    assert_eq!((output.code(), output.stderr.as_str()), (3, ""), "{output:#?}");
    output.stdout.trim_end()
}

fn explain(cluster: &Cluster, caller: &str, callback: &str) -> Output {
    cluster.run(["explain", caller, callback])
}

#[test]
fn of_files_it_says_which_rules_allow_a_call_and_what_is_missing() {
    let cluster = Cluster::new();
    let import = "'acme::fixtures:guest/arith*'";
    let (acme, globex) = sharing(&cluster, ARITH, import, "");
    let explain = |files: [&str; 2], caller: &str, callback: &str| {
        cluster.run(["explain", "--config", files[0], "--config", files[1], caller, callback])
    };
    let both = [acme.as_str(), &globex];
    let allowed = explain(both, "globex::script", "acme::arith#add");
    let lines: Vec<&str> = allowed.success().lines().collect();
    assert_eq!(lines[0], "globex::script may call acme::fixtures:guest/arith@0.1.0#add");
    for (line, rule) in lines[1..].iter().zip([
        ["callback", "yes", "acme::shop has it", "acme.toml"],
        ["import", "yes", "[tenant.globex] imports \"acme::fixtures:guest/arith*\"", "globex.toml"],
        ["export", "yes", "[tenant.acme] exports \"fixtures:guest/arith*\" to globex", "acme.toml"],
        ["grant", "yes", "no `may-call`", "globex.toml"],
    ]) {
        says(line, &rule);
    }
    assert_eq!(lines.len(), 5);
    // Each thing that is missing, with what to write.
    let refused = |callback: &str, words: &[&str]| {
        let output = explain(both, "globex::script", callback);
        assert_eq!(output.status.code(), Some(3), "{output:?}");
        says(&output.stdout, words);
    };
    refused("acme::who", &["may not call", "import    no", "add imports = [\"acme::fixtures:guest/", "export    no"]);
    refused("acme::nobody", &["callback  no", "no module of tenant acme in these files has such a callback"]);
    refused("add", &["no module of tenant globex in these files"]);
    let text =
        std::fs::read_to_string(&globex).unwrap().replace("tenant = 'globex'", "tenant = 'globex'\nmay-call = ['x']");
    let granted = cluster.file("granted.toml", text);
    let output =
        cluster.run(["explain", "--json", "--config", &acme, "--config", &granted, "globex::script", "acme::add"]);
    assert_eq!(output.status.code(), Some(3));
    let answer: serde_json::Value = serde_json::from_str(&output.stdout).unwrap();
    let grant = "the `may-call` of globex::script does not cover it: write may-call = [\"x\", \"acme::fixtures:guest/arith@0.1.0#add\"]";
    assert_eq!(answer["rules"][3]["because"], grant);
    assert_eq!((&answer["allowed"], &answer["rules"][3]["rule"]), (&false.into(), &"grant".into()));
    assert_eq!(answer["rules"].as_array().unwrap().iter().filter(|rule| rule["allows"] == false).count(), 1);
    let stranger = explain(both, "globex::nobody", "acme::add");
    says(stranger.one_line_error(2), &["no module of these files is globex::nobody", "globex::script"]);
}

#[test]
fn of_files_a_short_name_means_what_is_shared_where_others_have_it_too() {
    let cluster = Cluster::new();
    let module = |tenant: &str, name: &str| {
        let path = component("fixtures-names");
        format!("[[module]]\npath = '{}'\nname = '{name}'\ntenant = '{tenant}'\n", path.display())
    };
    let shares = "[tenant.acme]\nexports = [{ callbacks = ['other:math/*'], to = ['globex'] }]\n\
                  [tenant.globex]\nimports = ['acme::*']\n";
    let config = cluster.file("both.toml", module("acme", "shop") + &module("globex", "caller") + shares);
    let explain = |callback: &str| cluster.run(["explain", "--config", &config, "globex::caller", callback]);
    says(explain("acme::which").success(), &["globex::caller may call acme::other:math/ops#which\n"]);
    says(refused(&explain("acme::versions:math/ops#which")), &["import    yes", "export    no", "add exports ="]);
    let _both = cluster.runtime("host").controller().args(["--config", &config]).ready();
    let live = cluster.run(["explain", "globex::caller", "acme::which"]);
    says(live.success(), &["globex::caller may call acme::other:math/ops#which, as far"]);
}

#[test]
fn of_the_mesh_it_says_who_has_the_callback_and_what_only_the_callers_runtime_knows() {
    let cluster = Cluster::new();
    let _math = cluster.serving("math");
    let _names = cluster.runtime("host").module("names", "fixtures-names").ready();
    let output = explain(&cluster, "names", "arith#add");
    let lines: Vec<&str> = output.success().lines().collect();
    assert_eq!(
        lines[0],
        format!(
            "names may call {ADD}, as far as can be told here, where these are not seen: signature, fetchers, grant"
        )
    );
    for (line, rule) in lines[1..].iter().zip([
        &["caller", "yes", "it is on the mesh, in the runtime host"][..],
        &["callback", "yes", "math has it"],
        &["signature", "?", "`func(a: s64, b: s64) -> s64`", "daffi-runtime inspect"],
        &["fetchers", "?", "daffi-runtime check"],
        &["grant", "?", "`may-call` and `deny`", "daffi-runtime explain --config"],
    ]) {
        says(line, rule);
    }
    assert_eq!(lines.len(), 6);
    let json = cluster.run(["explain", "--json", "names", "add"]);
    let answer: serde_json::Value = serde_json::from_str(json.success()).unwrap();
    let rules = answer["rules"].as_array().unwrap();
    assert_eq!((&answer["caller"], &answer["callback"]), (&"names".into(), &ADD.into()));
    assert_eq!((&answer["allowed"], &rules[1]["because"]), (&true.into(), &"math has it".into()));
    let allows: Vec<Option<bool>> = rules.iter().map(|rule| rule["allows"].as_bool()).collect();
    assert_eq!(allows, [Some(true), Some(true), None, None, None], "{answer:#}");
    // Another one with the name, of another type.
    let _texts = cluster.runtime("texts").module("texts", "fixtures-kinds").ready();
    let output = explain(&cluster, "names", "add");
    says(output.success(), &["math, texts have it", "-> s64` at math; `func(a: string", "must name a receiver"]);
}

#[test]
fn of_the_mesh_it_says_why_a_call_would_not_run() {
    let cluster = Cluster::new();
    let _math = cluster.serving("math");
    let _names = cluster.runtime("names").module("names", "fixtures-names").ready();
    let why = |caller: &str, callback: &str, words: &[&str]| {
        let output = explain(&cluster, caller, callback);
        says(refused(&output), words);
        says(&output.stdout, &[&format!("{caller} may not call "), "grant"]);
    };
    why("name", "add", &["caller     no   no process name is on the mesh; did you mean `names`?", "math has it"]);
    why("math", "add", &["callback  no   only the caller itself has it, and no process serves its own calls"]);
    why(
        "names",
        "ad",
        &["no process of tenant default has such a callback; did you mean `fixtures:guest/arith@0.1.0#add`?"],
    );
    why("math", "which", &["the name fits several callbacks", "other:math/ops#which", "versions:math/ops@2.0.0#which"]);
    why("globex::names", "add", &["no process globex::names is on the mesh", "no process of tenant globex has such"]);
    let json = cluster.run(["explain", "--json", "math", "add"]);
    let answer: serde_json::Value = serde_json::from_str(refused(&json)).unwrap();
    assert_eq!((&answer["allowed"], &answer["rules"][1]["allows"]), (&false.into(), &false.into()));
    assert_eq!(answer["callback"], "add");
    cluster.becomes_idle();
}

/// A shop of acme that exports arith to globex, and a caller of globex in another runtime that imports it, and waits.
fn meeting(cluster: &Cluster) -> [Running; 2] {
    let (acme, globex) = sharing(cluster, ARITH, "'acme::fixtures:guest/arith*'", "");
    let shop = cluster.runtime("host").controller().args(["--config", &acme]).ready();
    let waits = ["--config", &globex, "--env", "SCRIPT=wait-process nobody 600000"];
    [shop, cluster.runtime("other").args(waits).ready()]
}

#[test]
fn of_another_tenant_it_says_what_that_exports_to_the_callers() {
    let cluster = Cluster::new();
    let _runtimes = meeting(&cluster);
    let output = explain(&cluster, "globex::script", "acme::add");
    let answer = output.success();
    says(
        answer,
        &[&format!("globex::script may call acme::{ADD}, as far"), "in the runtime other", "acme::shop has it"],
    );
    says(answer, &["export     yes  acme exports it to globex", "import     ?", "imports \"acme::fixtures:guest/"]);
    assert_eq!(cluster.run(["explain", "--tenant", "globex", "script", "acme::add"]).success(), answer);
    // Another process of the caller's tenant, if it were there, could call it too; of another tenant none.
    says(refused(&explain(&cluster, "globex::nobody", "acme::add")), &["caller     no", "export     yes"]);
    says(refused(&explain(&cluster, "initech::script", "acme::add")), &["caller    no", "callback  no"]);
    // By its bare name it is not there, and in its own tenant it is at home.
    says(refused(&explain(&cluster, "globex::script", "add")), &["no process of tenant globex has such a callback"]);
    says(refused(&explain(&cluster, "acme::shop", "acme::add")), &["only the caller itself has it"]);
}

#[test]
fn of_another_tenant_what_is_not_exported_what_nobody_has_and_a_tenant_that_is_not_there_look_the_same() {
    let cluster = Cluster::new();
    let _runtimes = meeting(&cluster);
    for format in [&[][..], &["--json"]] {
        let answer = |caller: &str, tenant: &str, callback: &str| {
            let name = format!("{tenant}::{callback}");
            let output = cluster.run(["explain", caller, &name].iter().chain(format));
            let answer = refused(&output).replace(&name, "NAME").replace(&format!("{tenant} has no"), "TENANT has no");
            assert!(!answer.contains("shop") && !answer.contains("did you mean"), "{answer}");
            answer
        };
        let unknown = answer("globex::script", "acme", "nobody");
        says(&unknown, &["TENANT has no such callback, or does not export it to globex"]);
        // In full, and short; and a word that is near to what is not exported.
        for callback in ["who", "fixtures:guest/sandbox@0.1.0#who", "echo-order", "echo-ordr"] {
            assert_eq!(answer("globex::script", "acme", callback), unknown, "{callback}");
        }
        assert_eq!(answer("globex::script", "nowhere", "nobody"), unknown);
        // To whom nothing is exported.
        assert_eq!(answer("initech::script", "acme", "add"), answer("initech::script", "acme", "nobody"));
    }
    // What is like it and is exported is told, as a call does.
    let near = explain(&cluster, "globex::script", "acme::ad");
    says(refused(&near), &[&format!("did you mean `acme::{ADD}`?")]);
}

#[test]
fn a_question_is_asked_of_the_mesh_or_of_files_and_says_what_to_do_where_it_cannot_be_asked() {
    let cluster = Cluster::new();
    let output = explain(&cluster, "a", "add");
    says(output.one_line_error(5), &["controller.sock", "daffi-runtime --controller", "--connect"]);
    let (acme, _) = sharing(&cluster, ARITH, "", "");
    for (args, words) in [
        (
            &["--config", &acme, "--connect", "tcp://127.0.0.1:1", "a", "f"][..],
            &["--connect is for a running mesh"][..],
        ),
        (&["--config", &acme, "--tenant", "default", "a", "f"], &["leave --tenant out to ask the files"]),
        (&["--tenant", "acme", "globex::a", "f"], &["globex::a is not of --tenant acme", "leave --tenant out"]),
        (&["a", "no callback"], &["is no callback name"]),
        (&["a::b::c", "f"], &["name"]),
    ] {
        let output = cluster.run(["explain"].iter().chain(args));
        says(output.one_line_error(2), words);
    }
    says(cluster.run(["explain", "--help"]).success(), &["Usage: daffi-runtime explain", "--connect", "--config"]);
}
