//! Attacks with the component itself: what is too large, cut short or damaged is refused before it runs.

use std::fmt::Write as _;

use wasm_encoder::{Component, CustomSection};

use super::{Arena, Case, Group};
use crate::cluster::component;

pub const GROUP: Group = Group {
    name: "components",
    cases: &[
        Case {
            attack: "a component with 10,000 exports",
            stopped_by: "1,024 callbacks of a process",
            sees: "a process may have 1024",
            run: |arena| started(arena, "exports", wat::parse_str(many_exports(10_000)).unwrap()),
        },
        Case {
            attack: "a component of 300 MB",
            stopped_by: "256 MiB of a component",
            sees: "more than the limit of 268435456",
            run: |arena| started(arena, "giant", giant(300_000_000)),
        },
        Case {
            attack: "a component that is cut short",
            stopped_by: "the check of a component before it is compiled",
            sees: "is damaged or truncated",
            run: |arena| damaged(arena, |bytes, at| bytes.truncate(at)),
        },
        Case {
            attack: "a component with a flipped bit",
            stopped_by: "the check of a component before it is compiled",
            sees: "is damaged or truncated",
            run: |arena| damaged(arena, |bytes, at| bytes[at] ^= 1 << (at % 8)),
        },
    ],
};

/// How many places of a component are damaged, one at a time.
const PLACES: usize = 24;

/// Starts a runtime with this component, which must refuse it, and gives the last line of its errors.
fn started(arena: &Arena, name: &str, bytes: Vec<u8>) -> String {
    let path = arena.cluster.file(&format!("{name}.wasm"), bytes);
    let output = arena.cluster.runtime(name).module_at(name, path.as_ref()).finish();
    std::fs::remove_file(path).unwrap();
    assert_eq!(output.code(), 2, "{output:#?}");
    output.one_line_error(2).to_owned()
}

fn many_exports(count: u32) -> String {
    let mut wat = r#"(component (core module $m (func (export "f"))) (core instance $i (instantiate $m))"#.to_owned();
    wat += r#"(func $f (canon lift (core func $i "f")))"#;
    for n in 0..count {
        write!(wat, r#"(export "f{n}" (func $f))"#).unwrap();
    }
    wat + ")"
}

/// An empty component with a custom section of so many bytes.
fn giant(bytes: usize) -> Vec<u8> {
    let mut component = Component::new();
    component.section(&CustomSection { name: "ballast".into(), data: vec![7; bytes].into() });
    component.finish()
}

/// Inspects a component with damage at places all over it: one that is refused is refused with one line.
fn damaged(arena: &Arena, damage: fn(&mut Vec<u8>, usize)) -> String {
    let whole = std::fs::read(component("publisher")).unwrap();
    let mut refused = String::new();
    for place in 0..PLACES {
        let mut bytes = whole.clone();
        damage(&mut bytes, 8 + (whole.len() - 9) * place / PLACES);
        let path = arena.cluster.file("damaged.wasm", bytes);
        let output = arena.cluster.run(["inspect", &path]);
        // A bit of a name or of a number may be flipped without harm.
        if output.code() != 0 {
            refused += output.one_line_error(2);
        }
    }
    refused
}
