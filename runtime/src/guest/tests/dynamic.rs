//! `daffi:runtime/call`: dynamic calls, and that nothing in them traps.

use std::time::Duration;

use daffi_proto::call::Resolved;
use daffi_proto::error::{CallError, code};
use daffi_proto::name::CallbackName;
use daffi_proto::signature::{SignatureBuilder, Type};

use super::world::DYNAMIC;
use super::{Bench, call, value};
use crate::guest::limits::InstancePolicy;

fn sum() -> Resolved {
    let params = [("a", Type::S64), ("b", Type::S64)];
    let signature = SignatureBuilder::new().function(params, Some(Type::S64)).unwrap();
    let fingerprint = signature.fingerprint();
    Resolved {
        tenant: None,
        callback: CallbackName::parse("demo:tutorial/math#sum").unwrap(),
        signature: signature.into(),
        fingerprint,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dynamic_call_is_encoded_by_the_signature_that_its_name_means() {
    let mut bench = Bench::new(DYNAMIC, InstancePolicy::Singleton).await;
    let served = bench.serve(call("dynamic", &("sum", "[5, 15]", 5_000u64)));
    let question = bench.next_question().await;
    assert_eq!((question.request.pattern.as_str(), question.request.wait_ready), ("sum", false));
    assert_eq!(question.request.timeout, Duration::from_secs(5));
    question.answer(Ok(sum()));
    let asked = bench.next_asked().await;
    assert_eq!(asked.request.callbacks.first().unwrap().to_string(), "demo:tutorial/math#sum");
    assert_eq!(asked.request.accepts.as_ref(), [sum().fingerprint]);
    assert!(asked.request.timeout <= Duration::from_secs(5));
    assert_eq!(postcard::from_bytes::<(i64, i64)>(&asked.request.args).unwrap(), (5, 15));
    asked.answer(&20i64);
    assert_eq!(value::<String>(served.result().await), "20");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_guest_gets_wrong_in_a_dynamic_call_is_a_value() {
    let mut bench = Bench::new(DYNAMIC, InstancePolicy::Singleton).await;
    for timeout in [0u64, 604_800_001, u64::MAX] {
        let result = bench.call(call("dynamic", &("sum", "[1, 2]", timeout))).await;
        assert_eq!(value::<String>(result), code::BAD_ARGUMENTS);
    }
    for json in ["", "[1", "[1]", "[1, \"x\"]", "{\"a\": 1}"] {
        let served = bench.serve(call("dynamic", &("sum", json, 1_000u64)));
        bench.next_question().await.answer(Ok(sum()));
        assert_eq!(value::<String>(served.result().await), code::BAD_ARGUMENTS);
    }
    let served = bench.serve(call("dynamic", &("nothing", "[]", 1_000u64)));
    bench.next_question().await.answer(Err(CallError::not_run(code::NO_SUCH_CALLBACK, "there is none", "nothing")));
    assert_eq!(value::<String>(served.result().await), code::NO_SUCH_CALLBACK);
    let served = bench.serve(call("dynamic", &("sum", "[1, 2]", 1_000u64)));
    bench.next_question().await.answer(Ok(sum()));
    bench.next_asked().await.answer(&"no number");
    assert_eq!(value::<String>(served.result().await), code::INTERNAL);
}
