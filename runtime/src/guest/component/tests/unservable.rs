//! What cannot be served is told by name and reason.

use super::*;
use crate::guest::component::error::{Problems, Side};
use crate::guest::component::load;
use crate::guest::engine::{EngineKind, TypeFeatures};
use crate::guest::tests::ENGINES;

#[test]
fn each_type_that_calls_do_not_carry_is_refused_with_its_reason() {
    let cases = [
        ("f: func(a: stream);", "parameter `a` has a stream without a type"),
        ("f: func() -> option<future>;", "result has a future without a type"),
        ("f: func(a: stream<future<u8>>);", "a stream of streams"),
        ("f: func(a: list<tuple<u8, list<u8, 4>>>);", "a list of fixed length"),
        ("f: func(a: map<string, u8>);", "a `map`"),
    ];
    for (functions, reason) in cases {
        for (side, direction) in [(Side::Export, "export"), (Side::Import, "import")] {
            let found = described(&demo(&format!("interface i {{ {functions} }}"), &format!("{direction} i;")));
            assert!(found.callbacks.is_empty() && found.fetchers.is_empty());
            let [problem] = found.problems.as_slice() else { panic!("{functions}: {:?}", found.problems) };
            assert_eq!((problem.side, problem.name.as_str()), (side, "demo:tutorial/i#f"));
            assert!(problem.can_skip && problem.reason.contains(reason), "{problem}");
            assert_eq!(found.stubs.len(), usize::from(side == Side::Import));
        }
    }
}

#[test]
fn a_resource_is_one_problem_however_many_functions_it_has() {
    let interface = "interface files {
        resource file { constructor(name: string); name: func() -> string; open: static func() -> file; }
        size: func(of: borrow<file>) -> u64;
        count: func() -> u32;
    }";
    let exported = described(&demo(interface, "export files;"));
    assert_eq!(
        problems(&exported),
        [
            "export `demo:tutorial/files#file` is a resource, and resources cannot leave their component",
            "export `demo:tutorial/files#size` cannot be served: its parameter `of` has a resource, and resources \
             cannot leave their component",
        ]
    );
    assert_eq!(callbacks(&exported), ["demo:tutorial/files#count: func() -> u32"]);
    let imported = described(&demo(interface, "import files;"));
    assert_eq!(imported.problems.len(), 2);
    assert_eq!(imported.stub_resources[0].to_string(), "demo:tutorial/files#file");
    let stubs: Vec<String> = imported.stubs.iter().map(|stub| stub.place.item.clone()).collect();
    assert_eq!(stubs, ["[constructor]file", "[method]file.name", "[static]file.open", "size"]);
}

#[test]
fn a_used_resource_is_told_of_where_it_is_defined() {
    let interfaces = "interface files { resource file; }
        interface copying { use files.{file}; copy: func(source: borrow<file>); }";
    let found = described(&demo(interfaces, "import copying;"));
    let names: Vec<&str> = found.problems.iter().map(|problem| problem.name.as_str()).collect();
    assert_eq!(names, ["demo:tutorial/files#file", "demo:tutorial/copying#copy"]);
}

#[test]
fn modules_components_and_values_cannot_be_imported() {
    for (import, reason) in [
        (r#"(import "m" (core module))"#, "import `m` is a core module, which nothing can provide"),
        (r#"(import "c" (component))"#, "import `c` is a component, which nothing can provide"),
        (r#"(import "i" (instance (export "x" (core module))))"#, "import `i#x` is neither a function nor a type"),
        (r#"(import "url=<https://example.org/a>" (func))"#, "cannot be served"),
    ] {
        let found = described(&wat(&format!("(component {import})")));
        let told = problems(&found);
        assert!(told.len() == 1 && told[0].contains(reason), "{told:?}");
    }
}

#[test]
fn other_exports_are_left_out() {
    let found = described(&wat(r#"(component (core module $m) (export "m" (core module $m)))"#));
    assert_eq!((found.left_out[0].name.as_str(), found.left_out[0].reason.as_str()), ("m", "it is a core module"));
}

#[test]
fn types_that_wasmtime_has_in_part_only_are_known_to_an_engine_of_their_own() {
    let plain = described(&demo("", "export f: func(a: u8);"));
    assert_eq!((plain.engine, plain.types), (EngineKind::Sync, TypeFeatures::Standard));
    let fixed = described(&demo("", "export f: func(a: list<u8, 4>);"));
    assert_eq!((fixed.engine, fixed.types), (EngineKind::Sync, TypeFeatures::Experimental));
    let stream = described(&demo("", "export f: func(a: stream<u8>);"));
    assert_eq!((stream.engine, stream.types), (EngineKind::Concurrent, TypeFeatures::Standard));
}

#[test]
fn a_component_that_names_or_makes_error_contexts_is_refused_as_a_whole() {
    let makes = r#"(component
        (core module $libc (memory (export "memory") 1))
        (core instance $libc (instantiate $libc))
        (core func $new (canon error-context.new (memory $libc "memory")))
        (core module $m
            (import "" "new" (func $new (param i32 i32) (result i32)))
            (func (export "f") (drop (call $new (i32.const 0) (i32.const 65536)))))
        (core instance $i (instantiate $m (with "" (instance (export "new" (func $new))))))
        (func (export "f") (canon lift (core func $i "f"))))"#;
    let inside = format!(
        r#"(component (component $c {})
            (instance $i (instantiate $c)) (alias export $i "f" (func $f)) (export "f" (func $f)))"#,
        makes.strip_prefix("(component").unwrap().strip_suffix(')').unwrap()
    );
    let drops = r#"(component
        (core func $drop (canon error-context.drop))
        (core module $m (func (export "f")))
        (core instance $i (instantiate $m))
        (func (export "f") (canon lift (core func $i "f"))))"#;
    let named = demo("", "export f: func(a: error-context); export g: func();");
    let skip = LoadOptions { skip_unsupported: true, ..LoadOptions::default() };
    for bytes in [wat(makes), wat(&inside), wat(drops), named] {
        let found = described(&bytes);
        let problem = found.problems.iter().find(|problem| problem.name == "error-context").unwrap();
        assert!(!problem.can_skip && problem.reason.contains("memory limit"), "{problem}");
        let error = load(&ENGINES, "test.wasm", &bytes, &skip).err().unwrap();
        assert!(matches!(error, LoadError::Unservable { .. }), "{error}");
    }
}

#[test]
fn no_engine_knows_error_contexts() {
    let bytes = wat("(component (core func (canon error-context.drop)))");
    for kind in [EngineKind::Sync, EngineKind::Concurrent] {
        for types in [TypeFeatures::Standard, TypeFeatures::Experimental] {
            let engine = ENGINES.with_types(kind, types).unwrap();
            assert!(wasmtime::component::Component::new(&engine, &bytes).is_err(), "{kind:?} {types:?}");
        }
    }
}

#[test]
fn types_that_are_named_too_often_are_refused_as_a_whole() {
    let fields: String = (0..1000).map(|nth| format!(r#"(field "field{nth}" u8)"#)).collect();
    let functions: String = (0..1100).map(|nth| format!(r#"(export "fn{nth}" (func $f))"#)).collect();
    let bytes = wat(&format!(
        r#"(component
            (type $t (record {fields}))
            (import "big" (type $r (eq $t)))
            (import "f" (func $f (param "r" $r)))
            (instance $e {functions})
            (export "a:b/c" (instance $e)))"#
    ));
    let error = error(&bytes, &LoadOptions::default());
    assert!(error.to_string().contains("effective type size exceeds the limit"), "{error}");
}

#[test]
fn a_long_list_of_problems_is_cut_and_says_how_to_go_on() {
    let functions: String = (0..20).map(|nth| format!("g{nth}: func(r: stream);")).collect();
    let found = described(&demo(&format!("interface i {{ {functions} }}"), "export i;"));
    let text = Problems(found.problems).to_string();
    assert!(text.ends_with("; and 12 more; `--skip-unsupported` loads the rest"), "{text}");
    assert!(!text.contains('\n'));
}
