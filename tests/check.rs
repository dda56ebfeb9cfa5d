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
        ("memroy = \"1MiB\"", &["daffi.toml:7:1: unknown key `memroy`"][..]),
        ("memory = \"1KiB\"", &["daffi.toml:7:10: 1KiB is out of bounds: it is from 64KiB to 32GiB"]),
        (
            "[[module]]\npath = \"nowhere.wasm\"",
            &["daffi.toml: `path` of nowhere: there is no file `", "/nowhere.wasm`"],
        ),
        ("[[module]]\npath = \"daffi.toml\"", &["daffi.toml", "component"]),
        ("callbacks = [\"nope*\"]", &["daffi.toml: a: `callbacks` of `", "`nope*` matches no export"]),
        ("fetchers = { nope = \"nope\" }", &["daffi.toml: a: `fetchers` of `", "`nope` is no import of it"]),
        ("queue = -1", &["daffi.toml:7:9: -1 is out of bounds: it is from 0"]),
        (
            "queue = \"many\"",
            &["daffi.toml:7:9: invalid type: string \"many\", expected a whole number without quotes"],
        ),
        ("preopens = [\"data\"]", &["daffi.toml:7:13: invalid type: string", "expected a folder: { host = \"PATH\""]),
        (
            "preopens = [{ host = \"nowhere\", guest = \"/data\" }]",
            &["daffi.toml: `preopens` (or --preopen) of a: ", "/nowhere: No such file", "make it, or leave it out"],
        ),
        ("network = \"h:1\"", &["daffi.toml:7:11: invalid type: string", "expected a list"]),
        ("[tenant.default]\nexports = [\"a\"]", &["daffi.toml:8:12: invalid type: string", "expected an export: {"]),
        (
            "[tenant.default]\nexports = [{ callbacks = [\"arith#ad\"], to = [\"globex\"] }]",
            &[
                "daffi.toml: [tenant.default]: exports \"arith#ad\" matches no callback of its modules here",
                "arith@0.1.0#add",
            ],
        ),
    ] {
        let output = cluster.run(["check", &config(&cluster, more)]);
        says(output.one_line_error(2), parts);
    }
}

#[test]
fn a_number_or_a_size_that_cannot_be_names_its_flag() {
    let cluster = Cluster::new();
    for (flag, value, why) in [
        ("--queue", "-1", "it is out of bounds, which are 0 to 1000000"),
        ("--queue", "99999999999999999999999", "it is out of bounds"),
        ("--concurrency", "0", "it is out of bounds, which are 1 to 100000"),
        ("--open-streams", "many", "write a whole number"),
        ("--memory", "-1MiB", "is no size"),
        ("--max-call-time", "-5s", "is no time"),
    ] {
        let output = cluster.run(["--controller", flag, value]);
        assert_eq!(output.code(), 2, "{output:#?}");
        says(&output.stderr, &[&format!("invalid value '{value}' for '{flag} <"), why]);
    }
}
