//! Typed imports: what guests ask the mesh for, and what becomes of the answers.

use std::time::Duration;

use daffi_proto::call::{Caller, DEFAULT_TIMEOUT, WhenAbandoned};
use daffi_proto::error::{CallError, Outcome, code};

use super::world::{ASYNC, CHECKED, KITCHEN};
use super::{Bench, call, value};
use crate::guest::limits::{InstancePolicy, OnCancel};

#[tokio::test(flavor = "multi_thread")]
async fn an_import_is_a_call_that_waits_for_its_callback_and_inherits_the_deadline() {
    let mut bench = Bench::new(KITCHEN, InstancePolicy::Singleton).await;
    let timeout = Duration::from_secs(10);
    let served = bench.serve(call("relay", &42u32).timeout(timeout));
    let asked = bench.next_asked().await;
    let request = &asked.request;
    assert_eq!(request.callbacks.first().unwrap().to_string(), "test:peer/api#ask");
    assert_eq!(postcard::from_bytes::<u32>(&request.args).unwrap(), 42);
    assert!(request.wait_ready && request.receiver.is_none());
    assert!(request.timeout <= timeout && request.timeout < DEFAULT_TIMEOUT);
    assert!(matches!(request.caller, Caller::Process { parent: Some(parent), .. } if parent == served.id()));
    asked.answer(&43u32);
    assert_eq!(value::<u32>(served.result().await), 43);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_traps_a_guest_that_has_no_place_for_it() {
    let mut bench = Bench::new(KITCHEN, InstancePolicy::Singleton).await;
    let served = bench.serve(call("relay", &1u32));
    let error = CallError::failed(code::TRAP, "ask trapped: no", "test:peer/api#ask").with_trace("deep inside");
    bench.next_asked().await.fail(error);
    let error = served.result().await.unwrap_err();
    assert_eq!((error.outcome, error.code.as_str()), (Outcome::Failed, code::TRAP));
    assert_eq!(error.message, "relay trapped: its call of test:peer/api#ask failed: ask trapped: no");
    let trace = error.trace.unwrap();
    assert!(trace.contains("wasm backtrace") && trace.contains("deep inside"), "{trace}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_whose_failure_would_end_an_instance_that_others_rely_on_is_to_be_finished() {
    let (cancel, finish) = (WhenAbandoned::Cancel, WhenAbandoned::Finish);
    for (component, policy, on_cancel, expected) in [
        (KITCHEN, InstancePolicy::Singleton, None, finish),
        (KITCHEN, InstancePolicy::Singleton, Some(OnCancel::Kill), cancel),
        (KITCHEN, InstancePolicy::Pool(1), None, cancel),
        (KITCHEN, InstancePolicy::Pool(1), Some(OnCancel::Finish), finish),
        (KITCHEN, InstancePolicy::PerCall, None, cancel),
        // Its failure is a value.
        (CHECKED, InstancePolicy::Singleton, None, cancel),
        // A call that is not alone in its instance runs on.
        (ASYNC, InstancePolicy::Singleton, None, finish),
        (ASYNC, InstancePolicy::Pool(1), None, finish),
        (ASYNC, InstancePolicy::PerCall, None, cancel),
    ] {
        let mut bench = Bench::with(component, policy, |spec| spec.on_cancel = on_cancel).await;
        let _served = bench.serve(call("relay", &1u32));
        let asked = bench.next_asked().await;
        assert_eq!(asked.request.when_abandoned, expected, "{policy} {on_cancel:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_that_is_no_value_of_its_type_traps_the_caller_and_nothing_else() {
    let mut bench = Bench::new(KITCHEN, InstancePolicy::Singleton).await;
    let served = bench.serve(call("relay", &1u32));
    bench.next_asked().await.answer(&"not a number");
    let error = served.result().await.unwrap_err();
    assert!(error.message.contains("does not fit its type"), "{}", error.message);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checked_import_takes_the_callbacks_plain_result() {
    let mut bench = Bench::new(CHECKED, InstancePolicy::Singleton).await;
    let served = bench.serve(call("relay", &1u32));
    let asked = bench.next_asked().await;
    let names: Vec<String> = asked.request.callbacks.iter().map(ToString::to_string).collect();
    assert_eq!(names, ["test:peer/api-checked#ask", "test:peer/api#ask"]);
    let plain_u32 = *asked.request.accepts.last().unwrap();
    assert_eq!(asked.request.accepts.len(), 2);
    asked.answer_as(&77u32, plain_u32);
    assert_eq!(value::<u32>(served.result().await), 77);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checked_import_takes_a_failure_as_a_value() {
    let mut bench = Bench::new(CHECKED, InstancePolicy::Singleton).await;
    let served = bench.serve(call("relay", &1u32));
    bench.next_asked().await.fail(CallError::unknown(code::LINK_LOST, "the link broke", "test:peer/api#ask"));
    assert_eq!(value::<u32>(served.result().await), 1002);
}
