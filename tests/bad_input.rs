//! Bad input: each one line of error with what, where and what to do, and the right exit code.

use std::os::unix::fs::PermissionsExt;

use super::cluster::output::says;
use super::cluster::{Cluster, component};

/// Starts a runtime that must fail, and gives its one line.
#[track_caller]
fn refused(cluster: &Cluster, args: &[&str], code: i32) -> String {
    cluster.run(args).one_line_error(code).to_owned()
}

#[test]
fn a_file_that_is_not_there() {
    let cluster = Cluster::new();
    let line = refused(&cluster, &["--controller", "--module", "nothing-here.wasm"], 2);
    says(&line, &["nothing-here.wasm", "no file"]);
    says(&refused(&cluster, &["inspect", "nothing-here.wasm"], 2), &["nothing-here.wasm"]);
    says(&refused(&cluster, &["--controller", "--config", "nothing.toml"], 2), &["nothing.toml"]);
}

#[test]
fn a_file_that_is_not_wasm() {
    let cluster = Cluster::new();
    let files = [
        cluster.file("text.wasm", "hello"),
        cluster.file("empty.wasm", ""),
        cluster.file("truncated.wasm", &std::fs::read(component("fixtures")).unwrap()[..5000]),
        cluster.path("run").display().to_string(),
    ];
    for file in files {
        says(&refused(&cluster, &["--controller", "--module", &file], 2), &[&file]);
        says(&refused(&cluster, &["inspect", &file], 2), &[&file]);
    }
}

#[test]
fn a_core_module_with_how_to_make_it_a_component() {
    let cluster = Cluster::new();
    let module = cluster.file("core.wasm", b"\0asm\x01\0\0\0");
    let line = refused(&cluster, &["--controller", "--module", &module], 2);
    says(&line, &["core.wasm", "not a component", "wasm32-wasip2", "wasm-tools component new"]);
}

#[test]
fn an_import_that_nothing_can_satisfy() {
    let cluster = Cluster::new();
    let path = component("fixtures-impossible").display().to_string();
    let line = refused(&cluster, &["--controller", "--module", &path], 2);
    says(&line, &["wasi:crystal-ball/tomorrow@0.2.0"]);
}

#[test]
fn exports_that_cannot_be_served_are_named_with_the_reason_and_can_be_left_out() {
    let cluster = Cluster::new();
    let path = component("fixtures-unsupported").display().to_string();
    let line = refused(&cluster, &["--controller", "--module", &path], 2);
    says(&line, &["fixtures:unsupported/", "--skip-unsupported"]);
    let server =
        cluster.runtime("server").controller().module("a", "fixtures-unsupported").args(["--skip-unsupported"]).ready();
    assert_eq!(cluster.call("answer()").success(), "42");
    drop(server);
}

#[test]
fn a_socket_in_use() {
    let cluster = Cluster::new();
    let _first = cluster.serving("a");
    let line = refused(&cluster, &["--controller", "--no-node"], 2);
    says(&line, &["controller.sock", "in use", "--listen"]);
}

#[test]
fn a_socket_where_everybody_could_replace_it_by_flag_and_by_file() {
    let cluster = Cluster::new();
    let folder = cluster.path("open");
    std::fs::create_dir(&folder).unwrap();
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o777)).unwrap();
    let url = format!("unix://{}/c.sock", folder.display());
    let config = cluster.file("open.toml", format!("[runtime]\ncontroller = true\nlisten = [{url:?}]\n"));
    for args in [&["--controller", "--no-node", "--listen", &url][..], &["--config", &config]] {
        let line = refused(&cluster, args, 2);
        says(&line, &["open of the controller's socket can be written to by everybody (mode 0777", "chmod o-w"]);
        assert!(!line.contains("--listen"), "{line}");
    }
}

#[test]
fn addresses_that_cannot_be_used() {
    let cluster = Cluster::new();
    let long = format!("unix:///tmp/{}/x.sock", "x".repeat(120));
    for (url, word) in [
        ("127.0.0.1:8888", "tcp://127.0.0.1:8888"),
        ("tcp://0.0.0.0:0", "--insecure"),
        ("http://127.0.0.1", "http"),
        ("unix://relative.sock", "unix:///"),
        ("tcp://127.0.0.1", "port"),
        (&long, "107"),
    ] {
        says(&refused(&cluster, &["--controller", "--no-node", "--listen", url], 2), &[word]);
        says(&refused(&cluster, &["ps", "--connect", url], 2), &[word]);
    }
    let nowhere = format!("unix://{}", cluster.path("no-folder").join("x.sock").display());
    says(&refused(&cluster, &["--controller", "--no-node", "--listen", &nowhere], 2), &["no-folder", "--listen"]);
    let file = format!("unix://{}", cluster.file("a-file", ""));
    says(
        &refused(&cluster, &["--controller", "--no-node", "--listen", &file], 2),
        &["a-file", "no socket", "--listen"],
    );
    assert!(!cluster.path("a-file.lock").exists(), "a lock file was left beside what is no socket");
}

#[test]
fn no_controller_there() {
    let cluster = Cluster::new();
    for command in [vec!["ps"], vec!["call", "add(1, 2)"]] {
        says(&refused(&cluster, &command, 5), &["controller.sock", "--controller"]);
    }
}

#[test]
fn an_unknown_key_in_the_config_with_its_line() {
    let cluster = Cluster::new();
    let config = cluster.file("daffi.toml", "[runtime]\nname = \"x\"\ncontroler = true\n");
    let line = refused(&cluster, &["--config", &config], 2);
    says(&line, &["daffi.toml", "3", "controler", "controller"]);
    let config = cluster.file("broken.toml", "name = \n");
    says(&refused(&cluster, &["--config", &config], 2), &["broken.toml", "1"]);
    let config = cluster.file("wrong.toml", "[runtime]\ncontroller = \"yes\"\n");
    says(&refused(&cluster, &["--config", &config], 2), &["wrong.toml", "2"]);
}

#[test]
fn flags_that_do_not_go_together_or_say_nothing() {
    let cluster = Cluster::new();
    let path = component("fixtures").display().to_string();
    let twice = format!("a={path}");
    says(&refused(&cluster, &["--controller", "--module", &twice, "--module", &twice], 2), &["\"a\""]);
    let bad_name = format!("a b={path}");
    says(&refused(&cluster, &["--controller", "--module", &bad_name], 2), &["a b"]);
    says(&refused(&cluster, &["--no-node"], 2), &["--controller"]);
    says(&refused(&cluster, &["--controller", "--no-node", "--module", &path], 2), &["--no-node", "module"]);
    says(&refused(&cluster, &["--controller", "--module", &path, "--instances", "pool:0"], 2), &["pool:"]);
    says(&refused(&cluster, &["--controller", "--module", &path, "--env", "X"], 2), &["KEY=VALUE"]);
    says(&refused(&cluster, &["--controller", "--module", &path, "--log", "=="], 2), &["--log"]);
}

#[test]
fn a_runtime_with_nothing_to_do_says_what_it_could() {
    let cluster = Cluster::new();
    let output = cluster.run::<&str>([]);
    assert_eq!(output.code(), 2, "{output:#?}");
    says(&output.stderr, &["--module", "--controller"]);
}

#[test]
fn calls_that_are_not_right() {
    let cluster = Cluster::new();
    let _server = cluster.serving("math");
    for (call, word) in [("add(1, 2", "add"), ("add(1, x)", "b"), ("add(1, \"2\")", "s64"), ("(1, 2)", "name")] {
        says(&refused(&cluster, &["call", call], 2), &[word]);
    }
    says(&refused(&cluster, &["call", "add", "--json", "[1, "], 2), &["JSON"]);
    says(&refused(&cluster, &["call", "add", "--json", "[1, true]"], 2), &["b", "s64"]);
    says(&refused(&cluster, &["call", "add(1, 2)", "--json", "[1, 2]"], 2), &["--json"]);
    says(&refused(&cluster, &["call", "add(1, 2)", "--timeout", "soon"], 2), &["soon"]);
    cluster.becomes_idle();
}

#[test]
fn a_callback_that_nobody_has_with_those_that_are_like_it() {
    let cluster = Cluster::new();
    let _server = cluster.serving("math");
    says(&refused(&cluster, &["call", "divde(1, 2)"], 3), &["divde", "fixtures:guest/arith@0.1.0#divide"]);
    says(&refused(&cluster, &["call", "other:guest/arith#add(1, 2)"], 3), &["fixtures:guest/arith@0.1.0#add"]);
    cluster.becomes_idle();
}

#[test]
fn a_pattern_of_callbacks_that_matches_no_export() {
    let cluster = Cluster::new();
    let path = component("fixtures-names");
    let config = cluster.file("daffi.toml", format!("[[module]]\npath = {path:?}\ncallbacks = [\"nope*\"]\n"));
    let line = refused(&cluster, &["--controller", "--config", &config], 2);
    says(&line, &["nope*", "other:math/ops#which"]);
    let config = cluster.file("daffi.toml", format!("[[module]]\npath = {path:?}\ncallbacks = [\"other:*\"]\n"));
    let _server = cluster.runtime("server").args(["--controller", "--config", &config]).ready();
    assert_eq!(cluster.call("which()").success(), r#""other""#);
    says(refused(&cluster, &["call", "unmistakable()"], 3).as_str(), &["unmistakable"]);
    cluster.becomes_idle();
}
