//! Items of all kinds come back as they went in, in any batches, also from a guest that only passes them on.

use std::fmt::Debug;

use daffi_proto::stream::{CHUNK_BYTES, CHUNK_ITEMS, CHUNK_OF_BYTES};
use daffi_runtime::guest::transcode::stream::{OnFailure, StreamFailure, feed};
use futures::future::join;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::guest::{Guest, MAX_ITEM_BYTES, block_on, chunk, collect, items, send};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Point {
    x: i32,
    name: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Shape {
    None,
    Circle(f64),
    Named(String),
}

/// Sends chunks of these lengths through an echo, and wants back the same items.
fn comes_back<T>(function: &'static str, make: impl Fn(u32) -> T + Send, lengths: &'static [u32])
where
    T: Serialize + DeserializeOwned + Clone + Debug + PartialEq + Send,
{
    let total = lengths.iter().sum();
    let wanted: Vec<T> = (0..total).map(make).collect();
    let (back, drained) = block_on(async {
        let mut guest = Guest::new().await;
        let sent: Vec<Vec<u8>> = wanted.iter().map(|item| postcard::to_stdvec(item).unwrap()).collect();
        guest
            .run(async move |calls| {
                let (mut feed, inflow) = feed(OnFailure::Trap);
                let mut drain = calls.open(function, &0_u32, vec![inflow]).await;
                let feeding = async move {
                    let mut rest = &sent[..];
                    for length in lengths {
                        let (now, later) = rest.split_at(*length as usize);
                        feed.ready().await.unwrap();
                        let bytes = now.concat().into();
                        feed.put(daffi_proto::stream::Chunk { count: *length, bytes }).unwrap();
                        rest = later;
                    }
                    feed.finish();
                };
                let draining = async {
                    let mut chunks = Vec::new();
                    while let Some(chunk) = drain.next().await.unwrap() {
                        chunks.push(chunk);
                    }
                    chunks
                };
                let ((), chunks) = join(feeding, draining).await;
                let counts: Vec<u32> = chunks.iter().map(|chunk| chunk.count).collect();
                (chunks, counts)
            })
            .await
            .unwrap()
    });
    let back: Vec<T> = back.iter().flat_map(items).collect();
    assert_eq!(back, wanted);
    assert_eq!(drained.iter().sum::<u32>(), total);
}

#[test]
fn bytes_come_back() {
    comes_back("echo#bytes", |n| n as u8, &[1, 2, 700, CHUNK_OF_BYTES, 3]);
    comes_back("echo#bytes", |n| n as u8, &[]);
}

#[test]
fn numbers_come_back() {
    comes_back("echo#numbers", |n| u64::MAX >> (n % 64), &[1, 255, CHUNK_ITEMS, CHUNK_ITEMS, 7]);
}

#[test]
fn texts_come_back() {
    comes_back("echo#texts", |n| "é".repeat(n as usize % 300), &[CHUNK_ITEMS, 1, CHUNK_ITEMS]);
}

#[test]
fn records_come_back() {
    comes_back("echo#points", |n| Point { x: -(n as i32), name: format!("p{n}") }, &[3, CHUNK_ITEMS, 1]);
}

#[test]
fn variants_come_back() {
    let shape = |n| match n % 3 {
        0 => Shape::None,
        1 => Shape::Circle(f64::from(n)),
        _ => Shape::Named(format!("shape {n}")),
    };
    comes_back("echo#shapes", shape, &[CHUNK_ITEMS, 5]);
}

#[test]
fn lists_of_bytes_come_back_whatever_their_size() {
    let blob = |n| serde_bytes(if n == 5 { 300_000 } else { n as usize * 1000 });
    comes_back("echo#blobs", blob, &[1, 4, 1, 30]);
}

/// `list<u8>` is the same in postcard as any other list.
fn serde_bytes(length: usize) -> Vec<u8> {
    (0..length).map(|at| at as u8).collect()
}

#[test]
fn a_stream_that_is_passed_on_comes_back_untouched() {
    comes_back("echo#pass-texts", |n| format!("{n}"), &[3, CHUNK_ITEMS, 1]);
    comes_back("echo#pass-bytes", |n| n as u8, &[CHUNK_OF_BYTES, 1]);
}

#[test]
fn the_rest_of_a_stream_that_is_passed_on_begins_behind_what_was_read() {
    block_on(async {
        let mut guest = Guest::new().await;
        let rest = guest
            .run(async |calls| {
                let (mut feed, inflow) = feed(OnFailure::Trap);
                feed.put(chunk(&(0..100_u64).map(|n| n << (n % 50)).collect::<Vec<_>>())).unwrap();
                let mut drain = calls.open("echo#pass-rest", &(0_u32, 3_u32), vec![inflow]).await;
                let feeding = async {
                    assert!(send(&mut feed, &[7_u64]).await);
                    feed.finish();
                };
                join(feeding, collect::<u64>(&mut drain)).await.1
            })
            .await
            .unwrap();
        let expected: Vec<u64> = (3..100_u64).map(|n| n << (n % 50)).chain([7]).collect();
        assert_eq!(rest, expected);
    });
}

#[test]
fn a_future_comes_back_read_or_passed_on() {
    block_on(async {
        for function in ["echo#value", "echo#pass-value"] {
            let mut guest = Guest::new().await;
            let values = guest
                .run(async |calls| {
                    let (mut feed, inflow) = feed(OnFailure::Trap);
                    let mut drain = calls.open(function, &0_u32, vec![inflow]).await;
                    feed.put(chunk(&["what is to come"])).unwrap();
                    collect::<String>(&mut drain).await
                })
                .await
                .unwrap();
            assert_eq!(values, ["what is to come"], "{function}");
        }
    });
}

#[test]
fn streams_stand_anywhere_in_a_value() {
    #[derive(Deserialize)]
    struct Parcel {
        name: String,
        items: Vec<u32>,
        done: Option<u32>,
        kind: Result<u32, String>,
    }
    block_on(async {
        let mut guest = Guest::new().await;
        guest
            .run(async |calls| {
                let (bytes, drains) = calls.call("writers#fill-parcel", &3_u32, vec![]).await.unwrap();
                let parcel: Parcel = postcard::from_bytes(&bytes).unwrap();
                assert_eq!(parcel.name, "parcel");
                assert_eq!((&parcel.items[..], parcel.done, parcel.kind), (&[0, 1, 2][..], Some(3), Ok(4)));
                let [mut none, mut one, mut two, mut done, mut bytes] = <[_; 5]>::try_from(drains).unwrap();
                assert_eq!(collect::<u8>(&mut bytes).await, b"bytes");
                assert_eq!(collect::<String>(&mut done).await, ["done"]);
                assert_eq!(collect::<u64>(&mut two).await, [0, 1]);
                assert_eq!(collect::<u64>(&mut one).await, [0]);
                assert_eq!(collect::<u64>(&mut none).await, [0_u64; 0]);
            })
            .await
            .unwrap();
    });
}

#[test]
fn a_chunk_is_bounded_unless_it_is_one_item() {
    block_on(async {
        let mut guest = Guest::new().await;
        let lengths = [10, 70_000, 10, 30_000, 30_000, 30_000, 65_000, 600, 300_000];
        let chunks = guest
            .run(async move |calls| {
                let mut drain = calls.open("writers#blobs", &lengths.to_vec(), vec![]).await;
                let mut chunks = Vec::new();
                while let Some(chunk) = drain.next().await.unwrap() {
                    chunks.push((chunk.count, chunk.bytes.len()));
                }
                chunks
            })
            .await
            .unwrap();
        assert_eq!(chunks.iter().map(|(count, _)| count).sum::<u32>(), lengths.len() as u32);
        assert!(chunks.iter().all(|(count, bytes)| *count == 1 || *bytes <= CHUNK_BYTES as usize), "{chunks:?}");
        assert!(chunks.iter().any(|(count, _)| *count > 1), "{chunks:?}");
    });
}

#[test]
fn an_item_over_the_limit_ends_its_stream_and_nothing_else() {
    block_on(async {
        let mut guest = Guest::new().await;
        guest
            .run(async |calls| {
                let limit = MAX_ITEM_BYTES as u32;
                let lengths = [limit - 3, 1, limit - 2, 1];
                let mut drain = calls.open("writers#blobs", &lengths.to_vec(), vec![]).await;
                let mut taken = 0;
                let failure = loop {
                    match drain.next().await {
                        Ok(chunk) => taken += chunk.unwrap().count,
                        Err(failure) => break failure,
                    }
                };
                assert_eq!(taken, 2);
                assert_eq!(failure, StreamFailure::ItemTooLarge { limit_bytes: MAX_ITEM_BYTES });
                assert_eq!(calls.ask::<Option<u64>>("writers#counted", &(), vec![]).await.unwrap(), None);
            })
            .await
            .unwrap();
    });
}
