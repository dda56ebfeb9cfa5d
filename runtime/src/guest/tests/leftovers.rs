//! Work that goes on in an async instance after its call has returned: what it inherits, and what ends it.

use std::time::Duration;

use daffi_proto::call::Caller;
use daffi_proto::error::{Outcome, code};

use super::world::LEFTOVERS;
use super::{Bench, LONG, call, value};
use crate::guest::limits::InstancePolicy;

async fn bench(max_call_time: Duration) -> Bench {
    Bench::with(LEFTOVERS, InstancePolicy::Singleton, |spec| spec.limits.max_call_time = max_call_time).await
}

#[tokio::test(flavor = "multi_thread")]
async fn its_calls_inherit_the_deadline_and_the_chain_of_the_call_that_has_returned() {
    let mut bench = bench(LONG).await;
    let left = bench.serve(call("leave", &1u32).from("peer", 3).timeout(Duration::from_secs(20)));
    let id = left.id();
    assert_eq!(value::<u32>(left.result().await), 1);
    for answer in [2u32, 0] {
        let asked = bench.next_asked().await;
        assert!(asked.request.timeout <= Duration::from_secs(20), "{:?}", asked.request.timeout);
        let Caller::Process { parent, chain, .. } = &asked.request.caller else {
            panic!("a guest calls as its process")
        };
        assert_eq!((*parent, chain.len(), chain[0].instance), (Some(id), 1, 3));
        asked.answer(&answer);
    }
    assert_eq!(value::<u32>(bench.call(call("count", &())).await), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_in_which_it_goes_on_without_a_call_ends_after_max_call_time() {
    let mut bench = bench(Duration::from_millis(60)).await;
    assert!(bench.call(call("leave", &1u32)).await.is_ok());
    bench.next_asked().await.abandoned().await;
    assert_eq!(value::<u32>(bench.call(call("count", &())).await), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_ends_with_its_instance_when_it_used_max_call_time_though_calls_come() {
    let mut bench = bench(Duration::from_millis(200)).await;
    assert!(bench.call(call("churn", &())).await.is_ok());
    // Until a call is lost with the instance, or finds a new one.
    let ended = loop {
        match bench.call(call("count", &())).await {
            Ok(count) if value::<u32>(Ok(count.clone())) == 1 => {}
            ended => break ended,
        }
    };
    if let Err(error) = ended
        && error.outcome == Outcome::Failed
    {
        assert_eq!(error.code, code::LIMIT_EXCEEDED);
        assert!(error.message.contains("what went on after a call had returned"), "{}", error.message);
    }
    assert_eq!(value::<u32>(bench.call(call("count", &())).await), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_is_never_idle_lives_on_past_max_call_time() {
    let max = Duration::from_secs(1);
    let mut bench = bench(max).await;
    assert!(bench.call(call("leave", &1u32)).await.is_ok());
    let asked = bench.next_asked().await;
    asked.answer(&0u32);
    let began = std::time::Instant::now();
    let mut before = bench.serve(call("work", &3_000_000u32));
    // Always two calls, each of some milliseconds.
    while began.elapsed() < 2 * max {
        let next = bench.serve(call("work", &3_000_000u32));
        assert_eq!(before.result().await, Ok(Default::default()));
        before = next;
    }
    assert!(before.result().await.is_ok());
    assert_eq!(value::<u32>(bench.call(call("count", &())).await), 1);
}
