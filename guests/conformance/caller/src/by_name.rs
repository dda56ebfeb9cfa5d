//! Calls by name: with serde's postcard, the types written by hand, and with JSON and WAVE.

use daffi::{FG, call_json, call_wave, fetchers, flags::Flags};
use serde::{Deserialize, Serialize};

use crate::check::{Checks, Same};
use crate::inputs;
use crate::test::conformance::types::{NineFlags, SeventeenFlags};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Item {
    id: u32,
    name: String,
    price: f64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Color {
    Red,
    Green,
    Blue,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Shape {
    Point,
    Circle(f64),
    Polygon(Vec<(f64, f64)>),
    Named(Item),
    Maybe(Option<u8>),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Nested {
    items: Vec<Item>,
    shapes: Vec<Shape>,
    outcome: Result<Option<Color>, (u8, String)>,
    deep: Option<Option<Vec<Option<i32>>>>,
    #[serde(with = "daffi::flags")]
    rights: NineFlags,
    pairs: Vec<(String, Result<(), Color>)>,
}

fetchers! {
    fn nothing() = "test:conformance/values@1.0.0#nothing";
    fn no_params() -> u64 = "test:conformance/values#no-params";
    fn echo_char(v: char) -> char = "values#echo-char";
    fn echo_bytes(v: &[u8]) -> Vec<u8> = "test:conformance/values#echo-bytes";
    fn echo_seventeen_flags(v: Flags<SeventeenFlags>) -> Flags<SeventeenFlags> = "test:conformance/values#echo-seventeen-flags";
    fn echo_shape(v: &Shape) -> Shape = "test:conformance/values#echo-shape";
    fn echo_nested(v: &Nested) -> Nested = "test:conformance/values#echo-nested";
}

impl Same for Vec<Shape> {
    fn same(&self, other: &Self) -> bool {
        self == other
    }
}

impl Same for Result<String, String> {
    fn same(&self, other: &Self) -> bool {
        self == other
    }
}

fn nested() -> Nested {
    Nested {
        items: vec![Item { id: 1, name: "tea".into(), price: 2.5 }],
        shapes: shapes(),
        outcome: Ok(Some(Color::Green)),
        deep: Some(Some(vec![None, Some(-3)])),
        rights: NineFlags::F1 | NineFlags::F8,
        pairs: vec![("good".into(), Ok(())), ("bad".into(), Err(Color::Red)), ("worse".into(), Err(Color::Blue))],
    }
}

fn shapes() -> Vec<Shape> {
    vec![
        Shape::Point,
        Shape::Circle(0.5),
        Shape::Polygon(vec![(1.0, -2.0)]),
        Shape::Named(Item { id: u32::MAX, name: "ü".into(), price: 0.0 }),
        Shape::Maybe(None),
        Shape::Maybe(Some(200)),
    ]
}

pub fn check(checks: &mut Checks) {
    checks.echoed("postcard nothing", [(Ok(()), nothing() & FG)]);
    checks.echoed("postcard no-params", [(Ok(inputs::u64(u64::MAX)), no_params() & FG)]);
    checks.echoed("postcard echo-char", ['a', '🦀'].map(|v| (Ok(v), echo_char(v) & FG)));
    let bytes: Vec<u8> = (0..=255).collect();
    checks.echoed("postcard echo-bytes", [(Ok(bytes.clone()), echo_bytes(&bytes) & FG)]);
    let some = Flags(SeventeenFlags::F3 | SeventeenFlags::F16);
    checks.echoed("postcard echo-seventeen-flags", [(Ok(some), echo_seventeen_flags(some) & FG)]);
    checks.echoed("postcard echo-shape", shapes().into_iter().map(|v| (Ok(v.clone()), echo_shape(&v) & FG)));
    checks.echoed("postcard echo-nested", [(Ok(nested()), echo_nested(&nested()) & FG)]);

    let text = |result: Result<String, daffi::CallError>| result.map_err(|error| error.to_string());
    let json = [
        ("echo-s64", "[-5]", "-5"),
        ("echo-u32", r#"{"v":"4294967295"}"#, "4294967295"),
        ("echo-bytes", r#"["AQL/"]"#, r#""AQL/""#),
        ("echo-nested-option", r#"[{"some":null}]"#, r#"{"some":null}"#),
        ("echo-shape", r#"[{"circle":0.5}]"#, r#"{"circle":0.5}"#),
        ("echo-nine-flags", r#"[["f0","f8"]]"#, r#"["f0","f8"]"#),
        ("nothing", "[]", "null"),
    ];
    checks.echoed(
        "json",
        json.map(|(name, sent, back)| {
            (Ok(back.into()), text(call_json(format!("test:conformance/values#{name}"), sent) & FG))
        }),
    );
    let wave = [
        ("echo-s64", "(-5)", "-5"),
        ("echo-string", r#"("text")"#, r#""text""#),
        ("echo-shape", "(circle(0.5))", "circle(0.5)"),
        ("echo-nine-flags", "({f0, f8})", "{f0, f8}"),
        ("nothing", "()", ""),
    ];
    checks.echoed(
        "wave",
        wave.map(|(name, sent, back)| {
            (Ok(back.into()), text(call_wave(format!("test:conformance/values#{name}"), sent) & FG))
        }),
    );
}
