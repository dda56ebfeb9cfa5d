//! `wasi:cli/run`, in both versions of WASI.

use super::Bench;
use super::world::{async_runner, runner};
use crate::guest::limits::InstancePolicy;
use crate::guest::run::RunOutcome;

async fn outcome(text: &str) -> RunOutcome {
    Bench::new(text, InstancePolicy::Singleton).await.module.run().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_tells_how_it_ended() {
    assert_eq!(outcome(&runner("(i32.const 0)")).await, RunOutcome::Ok);
    assert_eq!(outcome(&runner("(i32.const 1)")).await, RunOutcome::Err);
    assert_eq!(outcome(&async_runner("")).await, RunOutcome::Ok);
    for text in [runner("unreachable"), async_runner("unreachable")] {
        let RunOutcome::Trapped { message, trace } = outcome(&text).await else { panic!("it traps") };
        assert!(message.contains("unreachable"), "{message}");
        assert!(trace.unwrap().contains("wasm backtrace"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_spins_ends_with_its_module() {
    for text in [runner("(loop (br 0)) unreachable"), async_runner("(loop (br 0))")] {
        let module = Bench::new(&text, InstancePolicy::Singleton).await.module;
        assert!(module.has_run() && !module.has_callbacks());
        let (outcome, ()) = tokio::join!(module.run(), async {
            tokio::task::yield_now().await;
            module.shutdown().await;
        });
        assert_eq!(outcome, Some(RunOutcome::Stopped));
    }
}
