//! JSON, WAVE and postcard through the binary: what goes in comes out, and what does not fit is said where.

use super::cluster::Cluster;
use super::cluster::output::says;

#[test]
fn nested_values_come_back_as_they_went_in_json() {
    let cluster = Cluster::new();
    let _server = cluster.serving("shapes");
    let order = r#"{"id":"18446744073709551615","items":[{"name":"a \"b\" é","price":1.5,"colour":"green","tags":["x",""],"note":null},{"name":"","price":-0.25,"colour":"red","tags":[],"note":"n"}],"rights":["read","run"],"shape":{"circle":2.5},"outcome":{"err":"no"}}"#;
    let output = cluster.call_json("echo-order", &format!("[{order}]"));
    let (sent, got): (serde_json::Value, serde_json::Value) =
        (serde_json::from_str(order).unwrap(), serde_json::from_str(output.success()).unwrap());
    assert_eq!(sent, got);
    // By parameter name too.
    let output = cluster.call_json("echo-order", &format!("{{\"order\": {order}}}"));
    assert_eq!(sent, serde_json::from_str::<serde_json::Value>(output.success()).unwrap());
    cluster.becomes_idle();
}

#[test]
fn nested_values_come_back_as_they_went_in_wave() {
    let cluster = Cluster::new();
    let _server = cluster.serving("shapes");
    let order = r#"{id: 7, items: [{name: "a", price: 1.5, colour: blue, tags: ["x"], note: some("n")}], rights: {read, write}, shape: named("s"), outcome: ok(3)}"#;
    assert_eq!(cluster.call(&format!("echo-order({order})")).success(), order);
    cluster.becomes_idle();
}

#[test]
fn numbers_options_and_bytes_are_written_in_json_as_documented() {
    let cluster = Cluster::new();
    let _server = cluster.serving("shapes");
    let json = |name: &str, args: &str| cluster.call_json(name, args).success().to_owned();
    assert_eq!(
        json("big-numbers", r#"["9007199254740993", -9007199254740993]"#),
        r#"["9007199254740993","-9007199254740993"]"#
    );
    assert_eq!(json("big-numbers", "[9007199254740991, -5]"), "[9007199254740991,-5]");
    assert_eq!(json("floats", r#"["NaN", "-Infinity"]"#), r#"["NaN","-Infinity"]"#);
    assert_eq!(json("nested-option", "[null]"), "null");
    assert_eq!(json("nested-option", r#"[{"some": null}]"#), r#"{"some":null}"#);
    assert_eq!(json("nested-option", r#"[{"some": 5}]"#), r#"{"some":5}"#);
    assert_eq!(json("echo-bytes", r#"["AQID"]"#), r#""AQID""#);
    assert_eq!(json("echo-bytes", "[[1, 2, 3]]"), r#""AQID""#);
    assert_eq!(json("letter", r#"["é"]"#), r#""é""#);
    assert_eq!(json("nothing", "[]"), "null");
    assert_eq!(cluster.call("nothing()").success(), "");
    cluster.becomes_idle();
}

#[test]
fn arguments_that_do_not_fit_are_refused_with_the_place_before_anything_runs() {
    let cluster = Cluster::new();
    let server = cluster.serving("shapes");
    let wrong = [
        ("add", "[1]", "b"),
        ("add", "[1, 2, 3]", "2"),
        ("add", r#"{"a": 1, "c": 2}"#, "c"),
        ("add", r#"[1, "two"]"#, "b"),
        ("add", "[1, 9223372036854775808]", "s64"),
        ("nested-option", "[256]", "u8"),
        ("letter", r#"["ab"]"#, "char"),
        ("echo-order", r#"[{"id": 1}]"#, "items"),
    ];
    for (name, args, place) in wrong {
        let output = cluster.call_json(name, args);
        says(output.one_line_error(2), &[name, place]);
    }
    assert_eq!(server.count("started"), 0);
    for call in ["add(1, 2", "add(1, \"x\")", "add 1 2", "letter('ab')"] {
        cluster.call(call).one_line_error(2);
    }
    assert_eq!(cluster.call("add(1, 2)").success(), "3");
    cluster.becomes_idle();
}

#[test]
fn control_characters_in_results_are_escaped() {
    let cluster = Cluster::new();
    let _server = cluster.serving("server");
    let said = "\"a\\u001b\\u007f\\u009b\\nb\"";
    let arguments = format!("[{said}, 0]");
    assert_eq!(cluster.call_json("hold", &arguments).success(), said);
    let all = cluster.run(["call", "hold", "--json", &arguments, "--broadcast"]);
    assert_eq!(all.success(), format!("{{\"ok\":{said},\"process\":\"server\"}}"));
}
