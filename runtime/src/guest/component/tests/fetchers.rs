//! Which imports are fetchers, and which callbacks may serve them.

use daffi_proto::signature::Form;

use super::*;
use crate::guest::engine::EngineKind;

fn table(entries: &[(&str, &str)]) -> LoadOptions {
    let entries = entries.iter().map(|(key, target)| ((*key).to_owned(), (*target).to_owned())).collect();
    LoadOptions { fetchers: entries, ..LoadOptions::default() }
}

fn candidates(bytes: &[u8], entries: &[(&str, &str)]) -> Vec<String> {
    let found = describe("test.wasm", bytes, &table(entries)).unwrap();
    found.fetchers.iter().flat_map(|fetcher| fetcher.candidates.iter()).map(ToString::to_string).collect()
}

#[test]
fn an_imported_function_is_served_by_the_callback_of_its_name() {
    let found = described(&demo("interface math { f: func(a: s64) -> s64; }", "import math;"));
    assert_eq!(fetchers(&found), ["demo:tutorial/math#f: func(a: s64) -> s64"]);
    assert_eq!(found.fetchers[0].place.to_string(), "demo:tutorial/math#f");
}

#[test]
fn functions_of_the_world_and_of_inline_interfaces_are_fetchers() {
    let found = described(&demo("", "import now: func() -> u64; import math: interface { f: func(); }"));
    assert_eq!(fetchers(&found), ["math#f: func()", "now: func() -> u64"]);
}

#[test]
fn an_interface_without_functions_is_types_and_no_fetcher() {
    let interfaces = "interface shapes { record point { x: s32 } }
        interface drawing { use shapes.{point}; draw: func(p: point); }";
    let found = described(&demo(interfaces, "import drawing;"));
    assert_eq!(fetchers(&found), ["demo:tutorial/drawing#draw: func(p: point)"]);
    assert!(found.needs.is_empty());
}

#[test]
fn a_suffix_tells_of_another_form_of_the_same_interface() {
    for suffix in ["checked", "all", "async"] {
        let wit = format!(
            "package demo:tutorial@1.0.0; interface math-{suffix} {{ f: func(); }} world w {{ import math-{suffix}; }}"
        );
        let expected = [format!("demo:tutorial/math-{suffix}@1.0.0#f"), "demo:tutorial/math@1.0.0#f".to_owned()];
        assert_eq!(candidates(&component(&wit), &[]), expected);
    }
}

#[test]
fn a_suffix_of_a_function_means_nothing() {
    assert_eq!(candidates(&demo("", "import math-all: func();"), &[]), ["math-all"]);
}

#[test]
fn the_table_comes_first_and_may_leave_out_versions() {
    let wit = "package demo:tutorial@1.0.0; interface math-all { f: func(); } world w { import math-all; }";
    let bytes = component(wit);
    for key in [
        "demo:tutorial/math-all",
        "demo:tutorial/math-all@1.0.0",
        "demo:tutorial/math-all#f",
        "demo:tutorial/math-all@1.0.0#f",
    ] {
        assert_eq!(candidates(&bytes, &[(key, "other:one/sums")])[0], "other:one/sums#f", "{key}");
        assert_eq!(candidates(&bytes, &[(key, "other:one/sums@2.0.0#g")])[0], "other:one/sums@2.0.0#g", "{key}");
    }
    assert_eq!(candidates(&bytes, &[("demo:tutorial/math-all", "other:one/sums")]).len(), 3);
}

#[test]
fn an_entry_for_a_function_comes_before_one_for_its_interface() {
    let bytes = demo("interface math { f: func(); g: func(); }", "import math;");
    let entries = [("demo:tutorial/math", "a:b/c"), ("demo:tutorial/math#g", "d:e/f#h")];
    assert_eq!(candidates(&bytes, &entries), ["a:b/c#f", "demo:tutorial/math#f", "d:e/f#h", "demo:tutorial/math#g"]);
}

#[test]
fn a_function_of_the_world_can_be_served_by_any_callback() {
    let bytes = demo("", "import sum: func();");
    assert_eq!(candidates(&bytes, &[("sum", "add")])[0], "add");
    assert_eq!(candidates(&bytes, &[("sum", "math#add")])[0], "math#add");
}

#[test]
fn an_entry_that_is_for_no_import_is_an_error_that_lists_them() {
    let bytes = demo("interface math { f: func(); }", "import math;");
    let error = error(&bytes, &table(&[("demo:tutorial/maths", "a:b/c")])).to_string();
    assert!(error.contains("`demo:tutorial/maths` is no import of it"), "{error}");
    assert!(error.contains("demo:tutorial/math#f"), "{error}");
}

#[test]
fn an_entry_that_points_to_no_name_is_an_error() {
    let bytes = demo("interface math { f: func(); }", "import math;");
    let error = error(&bytes, &table(&[("demo:tutorial/math", "not a name")]));
    assert!(matches!(error, LoadError::BadFetcher { .. }), "{error}");
}

#[test]
fn call_error_is_known_by_its_origin_through_uses_and_aliases() {
    let interface = "interface math-checked {
        use daffi:runtime/types@0.1.0.{call-error as failure};
        type trouble = failure;
        f: func() -> result<u32, trouble>;
        g: func() -> result<_, failure>;
    }";
    let found = described(&demo(interface, "import math-checked;"));
    assert!(found.needs.is_empty(), "types alone need nothing of the host");
    for (fetcher, served) in found.fetchers.iter().zip(["func() -> u32", "func()"]) {
        let forms: Vec<Form> = fetcher.signature.forms().into_iter().map(|(form, _)| form).collect();
        assert_eq!(forms, [Form::Plain, Form::Checked], "{served}");
    }
}

#[test]
fn a_record_that_is_only_called_call_error_is_none() {
    let interface = "interface math {
        record call-error { code: string }
        f: func() -> result<u32, call-error>;
    }";
    let found = described(&demo(interface, "import math;"));
    assert_eq!(found.fetchers[0].signature.forms().len(), 1);
}

#[test]
fn an_async_import_needs_the_concurrent_engine() {
    let found = described(&demo("interface math { f: async func(); }", "import math;"));
    assert_eq!(found.engine, EngineKind::Concurrent);
    assert!(found.fetchers[0].signature.is_async);
}

#[test]
fn an_import_with_streams_is_served_as_it_is_or_with_its_failure_as_a_value() {
    let interface = "interface flows-checked {
        use daffi:runtime/types@0.1.0.{call-error};
        pass: async func(items: stream<u8>) -> result<stream<u8>, call-error>;
    }";
    let found = described(&demo(interface, "import flows-checked;"));
    let [fetcher] = found.fetchers.as_slice() else { panic!("{:?}", found.problems) };
    let forms: Vec<Form> = fetcher.signature.forms().into_iter().map(|(form, _)| form).collect();
    assert_eq!(forms, [Form::Plain, Form::Checked]);
    assert!(fetcher.signature.has_streams() && fetcher.signature.gives_streams());
}

#[test]
fn an_import_with_streams_is_no_broadcast() {
    for function in [
        "f: func(items: stream<u8>) -> list<tuple<string, result<u64, call-error>>>",
        "f: async func() -> list<tuple<string, result<stream<u8>, call-error>>>",
    ] {
        let interface = format!("interface flows-all {{ use daffi:runtime/types@0.1.0.{{call-error}}; {function}; }}");
        let found = described(&demo(&interface, "import flows-all;"));
        let [problem] = found.problems.as_slice() else { panic!("{:?}", found.problems) };
        assert!(problem.can_skip && problem.reason.contains("streams go to one process"), "{problem}");
        assert_eq!((found.fetchers.len(), found.stubs.len()), (0, 1));
    }
}
