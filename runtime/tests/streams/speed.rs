//! What an item costs, in batches and one by one. The test checks that all items flow; its output, with `--nocapture`,
//! says how fast.

use std::time::{Duration, Instant};

use daffi_proto::stream::{CHUNK_ITEMS, CHUNK_OF_BYTES, Chunk};
use daffi_runtime::guest::transcode::stream::{OnFailure, feed};
use futures::future::join;
use serde::Serialize;

use super::guest::{Guest, block_on, chunk};

fn report(what: &str, items: u64, took: Duration) {
    println!("{what}: {items} items, {:.1} ns an item", took.as_nanos() as f64 / items as f64);
}

/// Feeds a reader so many chunks.
fn feeding(function: &'static str, what: &str, chunk: Chunk, chunks: u64) {
    let items = chunks * u64::from(chunk.count);
    let took = block_on(async {
        let mut guest = Guest::new().await;
        guest
            .run(async move |calls| {
                let (mut feed, inflow) = feed(OnFailure::Trap);
                let began = Instant::now();
                let feeding = async {
                    for _ in 0..chunks {
                        feed.ready().await.unwrap();
                        feed.put(chunk.clone()).unwrap();
                    }
                    feed.finish();
                };
                join(feeding, calls.call(function, &0_u32, vec![inflow])).await.1.unwrap();
                began.elapsed()
            })
            .await
            .unwrap()
    });
    report(what, items, took);
}

/// Drains a writer.
fn draining(function: &'static str, what: &str, args: impl Serialize + Send, items: u64) {
    let (took, drained) = block_on(async {
        let mut guest = Guest::new().await;
        guest
            .run(async move |calls| {
                let began = Instant::now();
                let mut drain = calls.open(function, &args, vec![]).await;
                let mut drained = 0;
                while let Some(chunk) = drain.next().await.unwrap() {
                    drained += u64::from(chunk.count);
                }
                (began.elapsed(), drained)
            })
            .await
            .unwrap()
    });
    assert_eq!(drained, items);
    report(what, items, took);
}

/// Sends chunks through an echo.
fn echoing(function: &'static str, what: &str, chunk: Chunk, chunks: u64) {
    let items = chunks * u64::from(chunk.count);
    let (took, drained) = block_on(async {
        let mut guest = Guest::new().await;
        guest
            .run(async move |calls| {
                let (mut feed, inflow) = feed(OnFailure::Trap);
                let began = Instant::now();
                let mut drain = calls.open(function, &0_u32, vec![inflow]).await;
                let feeding = async {
                    for _ in 0..chunks {
                        feed.ready().await.unwrap();
                        feed.put(chunk.clone()).unwrap();
                    }
                    feed.finish();
                };
                let draining = async {
                    let mut drained = 0;
                    while let Some(chunk) = drain.next().await.unwrap() {
                        drained += u64::from(chunk.count);
                    }
                    drained
                };
                let ((), drained) = join(feeding, draining).await;
                (began.elapsed(), drained)
            })
            .await
            .unwrap()
    });
    assert_eq!(drained, items);
    report(what, items, took);
}

#[test]
fn items_flow_in_batches_and_one_by_one() {
    let numbers = chunk(&(0..u64::from(CHUNK_ITEMS)).map(|n| n * 1000).collect::<Vec<_>>());
    let points = chunk(&(0..CHUNK_ITEMS as i32).map(|n| (n, format!("point {n}"))).collect::<Vec<_>>());
    let zeros = chunk(&vec![0_u8; CHUNK_OF_BYTES as usize]);
    for _ in 0..2 {
        feeding("readers#sum", "u64 into a guest, 256 a chunk", numbers.clone(), 400);
        feeding("readers#sum-one-by-one", "u64 into a guest, read one by one", numbers.clone(), 20);
        feeding("readers#measure", "u8 into a guest, 192 KiB a chunk", zeros.clone(), 400);
        draining("writers#count", "u64 out of a guest, 1000 a write", (100_000_u64, 1000_u32), 100_000);
        draining("writers#count", "u64 out of a guest, written one by one", (5_000_u64, 1_u32), 5_000);
        draining("writers#fill", "u8 out of a guest, 192 KiB a write", (20_000_000_u64, CHUNK_OF_BYTES), 20_000_000);
        echoing("echo#numbers", "u64 there and back", numbers.clone(), 400);
        echoing("echo#points", "record { s32, string } there and back", points.clone(), 200);
    }
}
