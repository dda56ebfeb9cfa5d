//! Which exports are callbacks, under which names and with which signatures.

use super::*;
use crate::guest::engine::EngineKind;

const MATH: &str = "interface math { sum-of-two-numbers: func(a: s64, b: s64) -> s64; }";

fn patterns(patterns: &[&str]) -> LoadOptions {
    let globs = patterns.iter().map(|pattern| pattern.parse().unwrap()).collect();
    LoadOptions { callbacks: Some(globs), ..LoadOptions::default() }
}

#[test]
fn a_function_of_an_interface_has_the_interfaces_full_name() {
    let found = described(&demo(MATH, "export math;"));
    assert_eq!(callbacks(&found), ["demo:tutorial/math#sum-of-two-numbers: func(a: s64, b: s64) -> s64"]);
    assert_eq!(found.engine, EngineKind::Sync);
    assert!(found.problems.is_empty() && found.fetchers.is_empty() && found.needs.is_empty());
}

#[test]
fn a_version_of_the_package_is_part_of_the_name() {
    let wit = "package demo:tutorial@1.2.3; interface math { f: func(); } world w { export math; }";
    assert_eq!(callbacks(&described(&component(wit))), ["demo:tutorial/math@1.2.3#f: func()"]);
}

#[test]
fn a_function_of_the_world_has_its_plain_name() {
    let found = described(&demo("", "export sum: func(a: u8) -> u16;"));
    assert_eq!(callbacks(&found), ["sum: func(a: u8) -> u16"]);
    assert_eq!(found.callbacks[0].place.interface, None);
}

#[test]
fn an_inline_interface_gives_its_plain_name() {
    let found = described(&demo("", "export math: interface { f: func(); g: func() -> bool; }"));
    assert_eq!(callbacks(&found), ["math#f: func()", "math#g: func() -> bool"]);
}

#[test]
fn every_type_that_calls_carry_is_read() {
    let types = "interface all {
        record point { x: s8, y: s16, z: s32 }
        variant shape { dot, line(point), text(string) }
        enum colour { red, green }
        flags rights { read, write }
        f: func(a: bool, b: char, c: f32, d: f64, e: list<point>, f: tuple<u8, u16>, g: option<shape>, h: rights)
            -> result<colour, string>;
        g: func(a: result, b: result<u32>, c: result<_, u64>) -> list<list<u8>>;
    }";
    let found = described(&demo(types, "export all;"));
    assert_eq!(
        found.callbacks[0].signature.to_wit_with_types(),
        "func(a: bool, b: char, c: f32, d: f64, e: list<point>, f: tuple<u8, u16>, g: option<shape>, h: rights) \
         -> result<colour, string> where point = record { x: s8, y: s16, z: s32 }, \
         shape = variant { dot, line(point), text(string) }, rights = flags { read, write }, \
         colour = enum { red, green }"
    );
    assert_eq!(
        found.callbacks[1].signature.to_wit(),
        "func(a: result, b: result<u32>, c: result<_, u64>) -> list<list<u8>>"
    );
}

#[test]
fn a_used_type_keeps_the_name_of_the_interface_that_defines_it() {
    let wit = "package demo:tutorial@0.2.0;
        interface shapes { record point { x: s32 } }
        interface drawing { use shapes.{point as dot}; type mark = dot; draw: func(p: mark, q: dot); }
        world w { export drawing; }";
    let found = described(&component(wit));
    let signature = &found.callbacks[0].signature;
    assert_eq!(signature.defs.len(), 1);
    let name = signature.defs[0].name.as_ref().unwrap();
    assert_eq!((name.interface.as_deref(), name.name.as_str()), (Some("demo:tutorial/shapes@0.2.0"), "point"));
}

#[test]
fn a_type_of_the_world_is_named_without_an_interface() {
    let found = described(&demo("", "record point { x: s32 } export f: func(p: point);"));
    let name = found.callbacks[0].signature.defs[0].name.clone().unwrap();
    assert_eq!((name.interface, name.name.as_str()), (None, "point"));
}

#[test]
fn an_export_is_read_by_its_own_type_also_where_an_import_has_the_same_name() {
    let found = described(&wat(r#"(component
        (import "a:b/c" (instance (export "f" (func (param "x" string)))))
        (core module $m (func (export "f") (param i32)))
        (core instance $i (instantiate $m))
        (func $f (param "x" u8) (canon lift (core func $i "f")))
        (instance $e (export "f" (func $f)))
        (export "a:b/c" (instance $e)))"#));
    assert_eq!(callbacks(&found), ["a:b/c#f: func(x: u8)"]);
    assert_eq!(fetchers(&found), ["a:b/c#f: func(x: string)"]);
}

#[test]
fn what_tools_add_is_no_callback() {
    let init = "export init: func(shim: string, script: string, entry-path: option<string>, disable-gc: bool)
        -> result<_, string>;";
    let exports = "export exports: interface { init: func(app-name: string, stub-wasi: bool) -> result<_, string>; }";
    let found = described(&demo(MATH, &format!("export math; {init} {exports}")));
    assert_eq!(found.callbacks.len(), 1);
    let left_out: Vec<&str> = found.left_out.iter().map(|out| out.name.as_str()).collect();
    assert_eq!(left_out, ["init", "exports#init"]);
}

#[test]
fn a_guests_own_init_is_a_callback() {
    let found = described(&demo("", "export init: func(level: u8);"));
    assert_eq!(callbacks(&found), ["init: func(level: u8)"]);
}

#[test]
fn patterns_replace_the_rule() {
    let bytes = demo(MATH, "export math; export init: func(script: string); export helper: func();");
    let found = describe("test.wasm", &bytes, &patterns(&["math#*", "init"])).unwrap();
    assert_eq!(found.callbacks.len(), 2);
    assert_eq!(found.left_out[0].name, "helper");
    assert!(found.left_out[0].reason.contains("no pattern"));
}

#[test]
fn patterns_leave_out_what_could_not_be_served() {
    let bytes = demo("", "export fine: func(); export odd: func(items: list<u8, 4>);");
    assert!(describe("test.wasm", &bytes, &patterns(&["fine"])).unwrap().problems.is_empty());
}

#[test]
fn a_pattern_that_matches_nothing_is_an_error_that_lists_the_exports() {
    let error = error(&demo(MATH, "export math;"), &patterns(&["maths#*"])).to_string();
    assert!(error.contains("`maths#*` matches no export"), "{error}");
    assert!(error.contains("demo:tutorial/math#sum-of-two-numbers"), "{error}");
}

#[test]
fn run_is_recorded_and_is_no_callback() {
    let wit = "package demo:tutorial; world w { export wasi:cli/run@0.2.6; }
        package wasi:cli@0.2.6 { interface run { run: func() -> result; } }";
    let found = described(&component(wit));
    let run = found.run.unwrap();
    assert_eq!(run.place.interface.as_deref(), Some("wasi:cli/run@0.2.6"));
    assert!(!run.is_async());
    assert!(found.callbacks.is_empty() && found.left_out.is_empty());
    assert_eq!(found.engine, EngineKind::Sync);
}

#[test]
fn the_async_run_needs_the_concurrent_engine() {
    let wit = "package demo:tutorial; world w { export wasi:cli/run@0.3.0; }
        package wasi:cli@0.3.0 { interface run { run: async func() -> result; } }";
    let found = described(&component(wit));
    assert!(found.run.unwrap().is_async());
    assert_eq!(found.engine, EngineKind::Concurrent);
}

#[test]
fn a_run_of_another_type_is_a_problem() {
    let wit = "package demo:tutorial; world w { export wasi:cli/run@0.2.0; }
        package wasi:cli@0.2.0 { interface run { run: func() -> u32; } }";
    assert_eq!(
        problems(&described(&component(wit))),
        ["export `wasi:cli/run@0.2.0` is not the `run` of its WASI version"]
    );
}

#[test]
fn other_exports_of_wasi_are_no_callbacks() {
    let wit = "package demo:tutorial; world w { export wasi:http/incoming-handler@0.2.0; }
        package wasi:http@0.2.0 { interface incoming-handler { handle: func(); } }";
    let found = described(&component(wit));
    assert!(found.callbacks.is_empty());
    assert_eq!(found.left_out[0].name, "wasi:http/incoming-handler@0.2.0");
}

#[test]
fn the_lifecycle_is_recorded() {
    let found = described(&demo("", "export daffi:runtime/lifecycle@0.1.0;"));
    assert_eq!(found.lifecycle.unwrap().interface, "daffi:runtime/lifecycle@0.1.0");
    assert!(found.callbacks.is_empty());
}

#[test]
fn a_lifecycle_with_async_functions_is_recorded_and_one_beside_the_other_is_a_problem() {
    let found = described(&demo("", "export daffi:runtime/lifecycle-async@0.1.0;"));
    assert_eq!(found.lifecycle.unwrap().interface, "daffi:runtime/lifecycle-async@0.1.0");
    assert!(found.callbacks.is_empty() && found.problems.is_empty());
    let both = "export daffi:runtime/lifecycle@0.1.0; export daffi:runtime/lifecycle-async@0.1.0;";
    let found = problems(&described(&demo("", both)));
    assert!(found.len() == 1 && found[0].contains("export one of the two"), "{found:?}");
}

#[test]
fn a_lifecycle_of_another_version_is_a_problem() {
    let wit = "package demo:tutorial; world w { export daffi:runtime/lifecycle@7.0.0; }
        package daffi:runtime@7.0.0 { interface lifecycle { on-init: func(); } }";
    let found = problems(&described(&component(wit)));
    assert!(found[0].contains("is unknown to this runtime"), "{found:?}");
}

#[test]
fn a_lifecycle_that_lacks_a_function_is_a_problem() {
    let wit = "package demo:tutorial; world w { export daffi:runtime/lifecycle@0.1.9; }
        package daffi:runtime@0.1.9 { interface lifecycle { on-init: func(); on-connect: func(); } }";
    let found = problems(&described(&component(wit)));
    assert!(found[0].contains("lacks a function"), "{found:?}");
}

#[test]
fn an_async_function_needs_the_concurrent_engine() {
    let found = described(&demo("interface i { f: async func() -> u8; }", "export i;"));
    assert_eq!(callbacks(&found), ["demo:tutorial/i#f: async func() -> u8"]);
    assert_eq!(found.engine, EngineKind::Concurrent);
}

#[test]
fn functions_with_streams_are_callbacks_whether_they_are_async_or_not() {
    let interface = "interface flows {
        record point { x: s32 }
        pass: async func(items: stream<point>) -> stream<point>;
        later: func(value: future<string>) -> option<future<list<u8>>>;
    }";
    let found = described(&demo(interface, "export flows;"));
    assert_eq!(
        callbacks(&found),
        [
            "demo:tutorial/flows#pass: async func(items: stream<point>) -> stream<point>",
            "demo:tutorial/flows#later: func(value: future<string>) -> option<future<list<u8>>>",
        ]
    );
    assert_eq!((found.engine, found.problems.len()), (EngineKind::Concurrent, 0));
    let sync = described(&demo("", "export pass: func(items: stream<u8>) -> stream<u8>;"));
    assert_eq!(sync.engine, EngineKind::Concurrent);
}
