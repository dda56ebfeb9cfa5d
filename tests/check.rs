//! `check`: a config file is judged without starting anything, and its settings are shown.

use super::cluster::output::says;
use super::cluster::{Cluster, component};

fn config(cluster: &Cluster, more: &str) -> String {
    let path = component("fixtures");
    let text = format!(
        "[runtime]\ncontroller = true\nmax-payload = \"1MiB\"\n[[module]]\npath = {path:?}\nname = \"a\"\n{more}"
    );
    cluster.file("daffi.toml", text)
}

#[test]
fn check_prints_settings_that_a_runtime_starts_with_and_check_prints_again() {
    let cluster = Cluster::new();
    let file = config(&cluster, "queue = 7\n");
    let shown = cluster.run(["check", &file]);
    let text = shown.success().to_owned();
    says(
        &text,
        &["queue = 7", "max-payload = \"1MiB\"", "memory = \"256MiB\"", "tenant = \"default\"", "controller.sock"],
    );
    assert!(!cluster.socket().exists(), "nothing was started");
    let again = cluster.file("again.toml", &text);
    assert_eq!(cluster.run(["check", &again]).success(), text);
    let _server = cluster.bare("server").args(["--config", &again]).ready();
    assert_eq!(cluster.call("add(5, 15)").success(), "20");
}

#[test]
fn check_prints_json() {
    let cluster = Cluster::new();
    let output = cluster.run(["check", "--json", &config(&cluster, "")]);
    let settings: serde_json::Value = serde_json::from_str(output.success()).unwrap();
    assert_eq!(settings["module"][0]["max-call-time"], "30s");
    assert_eq!(settings["runtime"]["controller"], true);
}

#[test]
fn check_tells_mistakes_of_the_file_and_of_components() {
    let cluster = Cluster::new();
    for (more, parts) in [
        ("memroy = \"1MiB\"", &["daffi.toml:7:1: unknown field `memroy`"][..]),
        ("memory = \"1KiB\"", &["daffi.toml:7:10: 1KiB is out of bounds: it is from 64KiB to 32GiB"]),
        ("[[module]]\npath = \"nowhere.wasm\"", &["nowhere.wasm"]),
        ("[[module]]\npath = \"daffi.toml\"", &["daffi.toml", "component"]),
    ] {
        let output = cluster.run(["check", &config(&cluster, more)]);
        says(output.one_line_error(2), parts);
    }
}
