//! Compiling: engines, exports by place, and what is left out.

use std::sync::Mutex;
use std::sync::mpsc::channel;

use super::*;
use crate::guest::component::{load, watched};
use crate::guest::engine::{EngineConfig, EngineKind, Engines};

fn engines() -> Engines {
    Engines::new(EngineConfig::default()).unwrap()
}

#[test]
fn a_component_is_compiled_and_its_exports_are_found() {
    let wit = "package demo:tutorial@1.0.0; interface math { f: func(); g: func() -> u8; }
        world w { export math; export plain: func(); export inline: interface { h: func(); }
                  export wasi:cli/run@0.2.0; export daffi:runtime/lifecycle@0.1.0; }
        package wasi:cli@0.2.0 { interface run { run: func() -> result; } }";
    let loaded = load(&engines(), "test.wasm", &component(wit), &LoadOptions::default()).unwrap();
    assert_eq!(loaded.callbacks.len(), 4);
    assert_eq!(loaded.callbacks.len(), loaded.description.callbacks.len());
    assert!(loaded.run.is_some() && loaded.lifecycle.is_some());
}

#[test]
fn an_async_component_is_compiled_in_the_concurrent_engine() {
    let engines = engines();
    let bytes = demo("interface i { f: async func() -> u8; }", "export i; import i;");
    let loaded = load(&engines, "test.wasm", &bytes, &LoadOptions::default()).unwrap();
    assert!(wasmtime::Engine::same(&loaded.engine, &engines.get(EngineKind::Concurrent).unwrap()));
}

#[test]
fn what_cannot_be_served_is_refused_or_left_out() {
    let engines = engines();
    let exports = "export fine: func(); export fixed: func(a: list<u8, 4>); export maps: func(a: map<string, u8>);
        export streams: func(a: stream); import odd: func(a: list<u8, 4>);";
    let bytes = demo("", exports);
    let refused = load(&engines, "test.wasm", &bytes, &LoadOptions::default()).err().unwrap().to_string();
    for name in ["fixed", "maps", "streams", "odd", "--skip-unsupported"] {
        assert!(refused.contains(name), "{refused}");
    }
    let skip = LoadOptions { skip_unsupported: true, ..LoadOptions::default() };
    let loaded = load(&engines, "test.wasm", &bytes, &skip).unwrap();
    assert_eq!(callbacks(&loaded.description), ["fine: func()"]);
    assert_eq!(loaded.description.stubs[0].place.item, "odd");
}

#[test]
fn what_no_stub_can_help_is_refused_also_when_skipping() {
    let wit = "package demo:tutorial; world w { import wasi:cli/exit@0.2.0; export f: func(); }
        package wasi:cli@0.2.0 { interface exit { enter: func(); } }";
    let skip = LoadOptions { skip_unsupported: true, ..LoadOptions::default() };
    let error = load(&engines(), "test.wasm", &component(wit), &skip).err().unwrap().to_string();
    assert!(error.contains("asks for `enter`") && !error.contains("--skip-unsupported"), "{error}");
}

#[test]
fn a_component_that_would_do_nothing_is_refused() {
    let bytes = demo("interface math { f: func(); }", "import math;");
    let error = load(&engines(), "test.wasm", &bytes, &LoadOptions::default()).err().unwrap();
    assert!(matches!(error, LoadError::NothingToDo { .. }));
}

#[test]
fn what_the_compiler_refuses_is_an_error_in_one_line() {
    // The body leaves nothing on the stack: only the compiler looks at it.
    let mut bytes = wat(r#"(component
        (core module $m (func (export "f") (result i32) i32.const 7))
        (core instance $i (instantiate $m))
        (func (export "f") (result u32) (canon lift (core func $i "f"))))"#);
    let at = bytes.windows(3).position(|window| window == [0x41, 7, 0x0b]).unwrap();
    bytes[at..at + 2].copy_from_slice(&[0x01, 0x01]);
    assert_eq!(callbacks(&described(&bytes)), ["f: func() -> u32"]);
    let error = load(&engines(), "test.wasm", &bytes, &LoadOptions::default()).err().unwrap();
    assert!(matches!(&error, LoadError::Compile { .. }) && !error.to_string().contains('\n'), "{error}");
}

#[test]
fn a_slow_compilation_is_reported_while_it_runs_and_when_it_ends() {
    let (told, hears) = channel();
    let told = Mutex::new(told);
    let options = LoadOptions {
        on_slow: Some(std::sync::Arc::new(move |message| told.lock().unwrap().send(message).unwrap())),
        ..LoadOptions::default()
    };
    let first = watched("big.wasm", 6 << 20, &options, || hears.recv().unwrap());
    assert_eq!(first, "compiling `big.wasm` (6.0 MiB) takes a while");
    assert!(hears.recv().unwrap().starts_with("compiled `big.wasm` in "));
}

#[test]
fn a_quick_compilation_is_not_reported() {
    let options =
        LoadOptions { on_slow: Some(std::sync::Arc::new(|message| panic!("{message}"))), ..LoadOptions::default() };
    watched("small.wasm", 10, &options, || ());
}

#[test]
fn ten_thousand_exports_and_imports_are_found() {
    let each = |text: &dyn Fn(u32) -> String| (0..10_000).map(text).collect::<String>();
    let bytes = wat(&format!(
        r#"(component
            (import "a:b/in" (instance {}))
            (core module $m (func (export "f") (param i32) (result i32) local.get 0))
            (core instance $i (instantiate $m))
            (func $f (param "a" u32) (result u32) (canon lift (core func $i "f")))
            (instance $e {})
            (export "a:b/out" (instance $e)))"#,
        each(&|nth| format!(r#"(export "fn{nth}" (func (param "a" (list string))))"#)),
        each(&|nth| format!(r#"(export "fn{nth}" (func $f))"#)),
    ));
    let loaded = load(&engines(), "test.wasm", &bytes, &LoadOptions::default()).unwrap();
    assert_eq!((loaded.callbacks.len(), loaded.description.fetchers.len()), (10_000, 10_000));
}

#[test]
fn what_is_left_of_a_damaged_component_never_panics_when_compiled() {
    let engines = engines();
    let whole = demo("interface i { f: func(a: list<string>) -> option<u32>; }", "import i; export i;");
    let skip = LoadOptions { skip_unsupported: true, ..LoadOptions::default() };
    let mut loaded = 0;
    // A prime step visits every bit position in turn.
    for bit in (0..whole.len() * 8).step_by(29) {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        loaded += usize::from(load(&engines, "test.wasm", &bytes, &skip).is_ok());
    }
    assert!(loaded > 0, "some bits, as those of custom sections, do not matter");
}
