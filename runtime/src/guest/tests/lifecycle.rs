//! `daffi:runtime/lifecycle`: who is told what, and in which order.

use daffi_proto::error::code;

use super::world::LIFECYCLE;
use super::{Bench, LONG, call, value};
use crate::guest::limits::InstancePolicy;
use crate::mesh::handle::LinkState;

fn down() -> LinkState {
    LinkState::Down { reason: "unplugged".to_owned() }
}

/// Calls until the instance has written this down: links change on their own time.
async fn until_log(bench: &mut Bench, expected: u32) {
    let reached = async {
        while value::<u32>(bench.call(call("log", &())).await) != expected {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, reached).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_instance_is_made_at_the_start_and_told_of_the_link_in_turns() {
    let mut bench = Bench::new(LIFECYCLE, InstancePolicy::Singleton).await;
    bench.loads.wait_for(|load| load.instances == 1).await.unwrap();
    assert_eq!(value::<u32>(bench.call(call("log", &())).await), 1);
    bench.link(LinkState::Up);
    until_log(&mut bench, 12).await;
    bench.link(down());
    until_log(&mut bench, 123).await;
    bench.link(down());
    bench.link(LinkState::Up);
    until_log(&mut bench, 1232).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_replaces_another_starts_over() {
    let mut bench = Bench::new(LIFECYCLE, InstancePolicy::Singleton).await;
    bench.link(LinkState::Up);
    until_log(&mut bench, 12).await;
    assert_eq!(bench.call(call("trap", &())).await.unwrap_err().code, code::TRAP);
    assert_eq!(value::<u32>(bench.call(call("log", &())).await), 12);
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_of_per_call_modules_are_told_nothing() {
    let mut bench = Bench::new(LIFECYCLE, InstancePolicy::PerCall).await;
    bench.link(LinkState::Up);
    assert_eq!(value::<u32>(bench.call(call("log", &())).await), 0);
}
