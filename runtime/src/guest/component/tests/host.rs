//! What the host provides is what the tables say.

use std::fmt::Write as _;

use wasmtime::component::{Component, Linker, ResourceTable};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use super::*;
use crate::guest::component::host::{DAFFI, WASI_P2, WASI_P3};
use crate::guest::engine::{EngineConfig, EngineKind, Engines};

struct State {
    wasi: WasiCtx,
    table: ResourceTable,
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

/// A component that imports this function of this interface, with some type.
fn importer(interface: &str, function: &str) -> Vec<u8> {
    let mut text = format!(r#"(component (import "{interface}" (instance"#);
    let of_resource = function.split_once(']').map(|(_, rest)| rest.split('.').next().unwrap());
    if let Some(resource) = of_resource {
        let _ = write!(text, r#" (export "{resource}" (type $r (sub resource)))"#);
    }
    let parameter = if function.starts_with("[method]") { r#" (param "self" (borrow $r))"# } else { "" };
    let _ = write!(text, r#" (export "{function}" (func{parameter})))))"#);
    wat(&text)
}

#[test]
fn every_function_of_the_wasi_tables_is_in_the_linker() {
    let engines = Engines::new(EngineConfig::default()).unwrap();
    for (table, version, kind) in [
        (WASI_P2, "0.2.99", EngineKind::Sync),
        (WASI_P2, "0.2.0", EngineKind::Concurrent),
        (WASI_P3, "0.3.0", EngineKind::Concurrent),
    ] {
        let engine = engines.get(kind).unwrap();
        let mut linker: Linker<State> = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker).unwrap();
        if kind == EngineKind::Concurrent {
            wasmtime_wasi::p3::add_to_linker(&mut linker).unwrap();
        }
        for (interface, functions) in table {
            for function in functions.split_ascii_whitespace() {
                let bytes = importer(&format!("{interface}@{version}"), function);
                let linked = linker.instantiate_pre(&Component::new(&engine, bytes).unwrap());
                // The types differ, on purpose; that they are compared shows that the function is there.
                let error = linked.err().map(|error| format!("{error:#}")).unwrap_or_default();
                assert!(!error.contains("missing"), "{interface}#{function}: {error}");
            }
        }
    }
}

#[test]
fn a_function_that_is_in_no_table_is_not_in_the_linker() {
    let engine = Engines::new(EngineConfig::default()).unwrap().get(EngineKind::Sync).unwrap();
    let mut linker: Linker<State> = Linker::new(&engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker).unwrap();
    let component = Component::new(&engine, importer("wasi:cli/exit@0.2.0", "no-such-function")).unwrap();
    let error = format!("{:#}", linker.instantiate_pre(&component).err().unwrap());
    assert!(error.contains("missing"), "{error}");
}

#[test]
fn the_table_of_daffi_runtime_is_what_its_wit_imports() {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit")).unwrap();
    let world = resolve.select_world(&[package], Some("imports-async")).unwrap();
    let mut from_wit = Vec::new();
    for item in resolve.worlds[world].imports.values() {
        if let wit_parser::WorldItem::Interface { id, .. } = item {
            let interface = &resolve.interfaces[*id];
            if interface.package != Some(package) {
                continue; // what it uses of WASI
            }
            let functions: Vec<&str> = interface.functions.keys().map(String::as_str).collect();
            from_wit.push((format!("daffi:runtime/{}", interface.name.as_ref().unwrap()), functions.join(" ")));
        }
    }
    let mut from_table: Vec<_> = DAFFI.iter().map(|(name, functions)| ((*name).into(), (*functions).into())).collect();
    from_wit.sort();
    from_table.sort();
    assert_eq!(from_wit, from_table);
}

#[test]
fn what_the_host_provides_is_a_need_and_no_fetcher() {
    let wit = "package demo:tutorial; world w { import wasi:cli/environment@0.2.7; import daffi:runtime/call@0.1.0; }
        package wasi:cli@0.2.7 { interface environment { get-arguments: func() -> list<string>; } }";
    let found = described(&component(wit));
    assert!(found.fetchers.is_empty() && found.problems.is_empty());
    let needs: Vec<&str> = found.needs.iter().map(|need| need.interface.as_str()).collect();
    assert_eq!(needs, ["wasi:cli/environment@0.2.7", "wasi:io/poll@0.2.0", "daffi:runtime/call@0.1.0"]);
    assert_eq!(found.engine, EngineKind::Sync);
}

#[test]
fn wasi_0_3_needs_the_concurrent_engine_also_without_async_functions() {
    let wit = "package demo:tutorial; world w { import wasi:random/random@0.3.0; export f: func(); }
        package wasi:random@0.3.0 { interface random { get-random-u64: func() -> u64; } }";
    assert_eq!(described(&component(wit)).engine, EngineKind::Concurrent);
}

#[test]
fn an_import_that_nothing_can_satisfy_is_told_by_name() {
    let nested = |package: &str, interface: &str, function: &str| {
        let (name, version) = package.split_once('@').unwrap();
        component(&format!(
            "package demo:tutorial; world w {{ import {name}/{interface}@{version}; }}
             package {package} {{ interface {interface} {{ {function}: func(); }} }}"
        ))
    };
    for (bytes, told) in [
        (
            nested("wasi:nn@0.2.0", "graph", "load"),
            "import `wasi:nn/graph@0.2.0` is an import that nothing can satisfy",
        ),
        (nested("wasi:http@0.2.3", "outgoing-handler", "handle"), "nothing can satisfy"),
        (nested("wasi:cli@0.1.0", "environment", "f"), "it has 0.2 and 0.3"),
        (nested("wasi:cli@0.2.0-rc-2023-11-10", "environment", "f"), "it has 0.2 and 0.3"),
        (nested("daffi:runtime@9.0.0", "call", "fg"), "`daffi:runtime/call@9.0.0` is of a version"),
        (nested("daffi:runtime@0.1.7", "telepathy", "f"), "of daffi:runtime it provides call and mesh"),
        (nested("daffi:runtime@0.1.7", "call", "summon"), "asks for `summon`, which this runtime does not have"),
        (nested("wasi:cli@0.2.0", "exit", "enter"), "asks for `enter`, which this runtime does not have"),
    ] {
        let found = problems(&described(&bytes));
        assert!(found.len() == 1 && found[0].contains(told), "{found:?}");
    }
}
