//! What a module does beside its calls, while its guests leave no thread to anybody.

use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use daffi_proto::error::{Outcome, code};
use tokio::runtime::{Builder, Runtime};

use super::world::{ASYNC, KITCHEN};
use super::{Bench, call};
use crate::guest::limits::InstancePolicy;

/// A runtime for guests that runs nothing until this is dropped, as if all its threads were held by others.
struct Held {
    runtime: Option<Runtime>,
    _held: Sender<()>,
}

impl Held {
    async fn new() -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (hold, held) = channel();
        let (begin, begun) = tokio::sync::oneshot::channel();
        runtime.spawn(async move {
            begin.send(()).unwrap();
            let _ = held.recv();
        });
        begun.await.unwrap();
        Self { runtime: Some(runtime), _held: hold }
    }

    async fn bench(&self, text: &str, policy: InstancePolicy) -> Bench {
        Bench::on(self.runtime.as_ref().unwrap().handle().clone(), text, policy, |_| ()).await
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.runtime.take().unwrap().shutdown_background();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_in_the_queue_ends_at_its_deadline_though_guests_hold_all_their_threads() {
    let held = Held::new().await;
    let mut bench = held.bench(KITCHEN, InstancePolicy::Singleton).await;
    let _spinning = bench.serve(call("spin", &()));
    let error = bench.call(call("count", &()).timeout(Duration::from_millis(20))).await.unwrap_err();
    assert_eq!((error.outcome, error.code.as_str()), (Outcome::NotRun, code::DEADLINE_EXCEEDED));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_given_up_in_the_queue_is_over_though_guests_hold_all_their_threads() {
    let held = Held::new().await;
    let mut bench = held.bench(KITCHEN, InstancePolicy::Singleton).await;
    let _spinning = bench.serve(call("spin", &()));
    let queued = bench.serve(call("count", &()));
    bench.cancel(&queued);
    let error = queued.result().await.unwrap_err();
    assert_eq!((error.outcome, error.code.as_str()), (Outcome::NotRun, code::CANCELLED));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interleaving_call_ends_at_its_deadline_though_guests_hold_all_their_threads() {
    let held = Held::new().await;
    let mut bench = held.bench(ASYNC, InstancePolicy::Singleton).await;
    let error = bench.call(call("count", &()).timeout(Duration::from_millis(20))).await.unwrap_err();
    assert_eq!((error.outcome, error.code.as_str()), (Outcome::NotRun, code::DEADLINE_EXCEEDED));
    let given_up = bench.serve(call("count", &()));
    bench.cancel(&given_up);
    let error = given_up.result().await.unwrap_err();
    assert_eq!((error.outcome, error.code.as_str()), (Outcome::NotRun, code::CANCELLED));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_load_is_told_though_guests_hold_all_their_threads() {
    let held = Held::new().await;
    let mut bench = held.bench(KITCHEN, InstancePolicy::Singleton).await;
    let _spinning = bench.serve(call("spin", &()));
    let _queued = bench.serve(call("count", &()));
    let told = bench.loads.wait_for(|load| load.in_flight == 2);
    tokio::time::timeout(super::LONG, told).await.unwrap().unwrap();
}
