//! Budgets, and types that cannot be carried.

use std::fmt::Write as _;

use super::guest::sync_guest;
use super::types::Ty;
use super::{CONCURRENT, Guest, SYNC, compile, run};
use crate::guest::transcode::{DynFunc, TranscodeError, bound_lifts};

#[test]
fn a_list_that_names_the_same_string_again_and_again_is_stopped_by_the_budget() {
    run(async {
        // 60 strings that all are the first 60,000 bytes of memory.
        let image: Vec<u8> = (0..60).flat_map(|_| [0_u32, 60_000]).flat_map(u32::to_le_bytes).collect();
        let image = [image, [0_u32, 60].into_iter().flat_map(u32::to_le_bytes).collect()].concat();
        let args = postcard::to_stdvec(&(image, 480_u32)).unwrap();
        let ty = Ty::List(Box::new(Ty::String));

        let mut guest = Guest::new(&SYNC, &sync_guest(&ty, "latin1+utf16")).await;
        assert!(guest.call("hostile", &args).await.unwrap().len() > 3_600_000, "within the default");

        let mut guest = Guest::new(&SYNC, &sync_guest(&ty, "latin1+utf16")).await;
        guest.store.set_hostcall_fuel(1_000_000);
        let error = guest.call("hostile", &args).await.unwrap_err();
        let Some(TranscodeError::TooLarge { limit_bytes }) = error.downcast_ref() else { panic!("{error:?}") };
        assert_eq!(*limit_bytes, 1_000_000, "the error tells the limit");
    });
}

#[test]
fn the_budget_is_for_each_call_and_exact() {
    run(async {
        let ty = Ty::List(Box::new(Ty::U8));
        let mut guest = Guest::new(&SYNC, &sync_guest(&ty, "utf8")).await;
        guest.store.set_hostcall_fuel(10_002);
        let fits = postcard::to_stdvec(&vec![1_u8; 10_000]).unwrap();
        for _ in 0..3 {
            assert_eq!(guest.call("relay", &fits).await.unwrap(), fits);
        }
        let over = postcard::to_stdvec(&vec![1_u8; 10_001]).unwrap();
        assert!(guest.call("relay", &over).await.is_err());
    });
}

#[test]
fn a_payload_limit_leaves_room_for_wasi() {
    let mut store = wasmtime::Store::new(&SYNC, ());
    bound_lifts(&mut store, 1000);
    assert_eq!(store.hostcall_fuel(), 4 << 20);
    bound_lifts(&mut store, 16 << 20);
    assert_eq!(store.hostcall_fuel(), 16 << 20);
}

/// A component that exports `f` with a parameter of a type; it traps when called.
fn exporter(definitions: &str, ty: &str, slots: &str) -> String {
    format!(
        r#"(component {definitions}
(core module $M (memory (export "m") 1) (func (export "r") (param i32 i32 i32 i32) (result i32) unreachable)
  (func (export "f") (param{slots})))
(core instance $m (instantiate $M))
(func (export "f") (param "v" {ty})
  (canon lift (core func $m "f") (memory $m "m") (realloc (func $m "r")))))"#
    )
}

#[test]
fn a_type_that_is_no_value_is_refused_when_the_function_is_taken() {
    run(async {
        for (definitions, ty, what) in [
            ("(type $r (resource (rep i32))) (export $R \"r\" (type $r))", "(list (own $R))", "a resource"),
            ("(type $s (stream))", "(tuple $s)", "a stream without a type"),
            ("(type $s (future))", "(option $s)", "a future without a type"),
            ("(type $s (stream u8)) (type $t (stream (option $s)))", "(list $t)", "a stream of streams"),
            ("(type $s (future u8)) (type $t (tuple $s)) (type $u (stream $t))", "(list $u)", "a stream of streams"),
        ] {
            let slots = if ty.starts_with("(tuple") { " i32" } else { " i32 i32" };
            let component = compile(&CONCURRENT, &exporter(definitions, ty, slots));
            let mut guest = Guest::of(&CONCURRENT, &component).await;
            let func = guest.func("f");
            let error = DynFunc::new(&mut guest.store, &func).err().unwrap();
            assert!(matches!(error, TranscodeError::Unsupported { what: w } if w == what), "{error:?}");
        }
    });
}

#[test]
fn a_value_of_the_deepest_type_that_wasm_allows_comes_back() {
    run(async {
        let deepest = (0..98).fold(Ty::U8, |ty, _| Ty::Option(Box::new(ty)));
        let lists = (0..98).fold(Ty::U8, |ty, _| Ty::List(Box::new(ty)));
        for ty in [deepest, lists] {
            let mut guest = Guest::new(&SYNC, &sync_guest(&ty, "utf8")).await;
            let bytes = [vec![1; 98], vec![7]].concat();
            assert_eq!(guest.call("relay", &bytes).await.unwrap(), bytes);
        }
    });
}

#[test]
fn a_type_whose_tree_is_huge_is_looked_at_one_definition_at_a_time() {
    run(async {
        // 2^17 numbers in memory, from 17 definitions.
        let mut definitions = "(type $t0 (tuple u8 u8))".to_owned();
        for n in 1..17 {
            write!(definitions, "(type $t{n} (tuple $t{0} $t{0}))", n - 1).unwrap();
        }
        let component = compile(&SYNC, &exporter(&definitions, "(list $t16)", " i32 i32"));
        let mut guest = Guest::of(&SYNC, &component).await;
        for _ in 0..10_000 {
            guest.dynamic("f");
        }
    });
}
