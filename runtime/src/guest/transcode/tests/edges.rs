//! Functions without parameters or results, handlers that wait and handlers that fail.

use bytes::Bytes;
use wasmtime::Trap;

use super::guest::sync_guest;
use super::types::Ty;
use super::{CONCURRENT, Guest, OnCall, SYNC, run};
use crate::guest::transcode::TranscodeError;

/// Exports that call the imports of the same names, by the canonical ABI of `$async`, without memory.
fn plain_guest(asynchronous: bool) -> String {
    let (word, lower, result) = if asynchronous {
        ("async", "async", ("(result i32)", "(if (i32.ne (i32.const 2)) (then unreachable))"))
    } else {
        ("", "", ("", ""))
    };
    let (status, returned) = result;
    format!(
        r#"(component
(import "host" (instance $host
  (export "nothing" (func {word}))
  (export "take" (func {word} (param "a" u32) (param "b" bool)))))
(alias export $host "nothing" (func $nothing))
(alias export $host "take" (func $take))
(core func $core_nothing (canon lower (func $nothing) {lower}))
(core func $core_take (canon lower (func $take) {lower}))
(core module $Main
  (import "host" "nothing" (func $nothing {status}))
  (import "host" "take" (func $take (param i32 i32) {status}))
  (func (export "nothing") (call $nothing) {returned})
  (func (export "take") (param i32 i32) (call $take (local.get 0) (local.get 1)) {returned})
  (func (export "give") (result i64) (i64.const -3)))
(core instance $main (instantiate $Main
  (with "host" (instance (export "nothing" (func $core_nothing)) (export "take" (func $core_take))))))
(func (export "nothing") {word} (canon lift (core func $main "nothing")))
(func (export "take") {word} (param "a" u32) (param "b" bool) (canon lift (core func $main "take")))
(func (export "give") {word} (result s64) (canon lift (core func $main "give"))))"#
    )
}

#[test]
fn functions_without_parameters_or_results_are_called_with_no_bytes() {
    run(async {
        for (engine, asynchronous) in [(&SYNC, false), (&CONCURRENT, false), (&CONCURRENT, true)] {
            let mut guest = Guest::new(engine, &plain_guest(asynchronous)).await;
            guest.store.data_mut().on_call = OnCall::GiveNothing;
            assert_eq!(guest.call("nothing", &[]).await.unwrap(), Bytes::new());
            assert_eq!(guest.seen(), [Bytes::new()]);
            assert_eq!(guest.call("take", &[200, 1, 1]).await.unwrap(), Bytes::new());
            assert_eq!(guest.seen(), [[200_u8, 1, 1].to_vec()]);
            assert_eq!(guest.call("give", &[]).await.unwrap(), [5_u8].to_vec());
        }
    });
}

#[test]
fn a_guest_waits_for_a_handler_that_waits() {
    run(async {
        for engine in [&SYNC, &CONCURRENT] {
            let mut guest = Guest::new(engine, &sync_guest(&Ty::String, "utf8")).await;
            guest.store.data_mut().on_call = OnCall::Wait;
            let bytes = postcard::to_stdvec("after a while").unwrap();
            assert_eq!(guest.call("relay", &bytes).await.unwrap(), bytes);
            assert_eq!(guest.call("relay", &bytes).await.unwrap(), bytes);
        }
    });
}

#[derive(Debug, thiserror::Error)]
#[error("the handler's own error")]
pub struct Refusal;

#[test]
fn the_error_of_a_handler_is_found_in_the_error_of_the_call() {
    run(async {
        for engine in [&SYNC, &CONCURRENT] {
            let mut guest = Guest::new(engine, &sync_guest(&Ty::U8, "utf8")).await;
            guest.store.data_mut().on_call = OnCall::Fail;
            let error = guest.call("relay", &[1]).await.unwrap_err();
            assert!(error.downcast_ref::<Refusal>().is_some(), "{error:?}");
            assert!(error.downcast_ref::<Trap>().is_none(), "{error:?}");
        }
    });
}

#[test]
fn bytes_of_a_handler_that_are_no_value_end_the_call_with_an_error() {
    run(async {
        for engine in [&SYNC, &CONCURRENT] {
            let mut guest = Guest::new(engine, &sync_guest(&Ty::U8, "utf8")).await;
            guest.store.data_mut().on_call = OnCall::GiveNothing;
            let error = guest.call("relay", &[1]).await.unwrap_err();
            assert!(matches!(error.downcast_ref(), Some(TranscodeError::BadBytes { .. })), "{error:?}");
        }
    });
}
