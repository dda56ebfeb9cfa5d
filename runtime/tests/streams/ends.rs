//! How streams end, from either side and in between, and how a slow side slows the other.

use daffi_proto::error::{CallError, code};
use daffi_proto::stream::CHUNK_ITEMS;
use daffi_runtime::guest::transcode::stream::{OnFailure, StreamFailure, feed};
use futures::future::{join, join_all};
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};

use super::guest::{Guest, MAX_ITEM_BYTES, ROOM_BYTES, block_on, chunk, collect, items, send};

fn error(message: &str) -> CallError {
    CallError::failed(code::TRAP, message, "")
}

fn broken(message: &str) -> StreamFailure {
    StreamFailure::Broken(Box::new(error(message)))
}

#[test]
fn large_items_stay_with_the_guest_until_there_is_room_for_them() {
    // Six of them are all that the room has.
    const BYTES: u32 = 300_000;
    let fit = ROOM_BYTES / BYTES as usize;
    block_on(async {
        let mut guest = Guest::new().await;
        guest
            .run(async move |calls| {
                let mut drains = Vec::new();
                for _ in 0..fit + 2 {
                    drains.push(calls.open("writers#blobs", &vec![BYTES; 2], vec![]).await);
                }
                let mut first: FuturesUnordered<_> = drains
                    .iter_mut()
                    .map(async |drain| {
                        let chunk = drain.next().await.unwrap().unwrap();
                        (drain, chunk)
                    })
                    .collect();
                let mut held = Vec::new();
                for _ in 0..fit {
                    held.push(first.next().await.unwrap());
                }
                let look = async || calls.ask::<u64>("writers#written", &(), vec![]).await.unwrap();
                look().await;
                assert!(first.next().now_or_never().is_none(), "all room is taken");
                // What leaves memory makes room for the next stream; and a stream has one of them on its way.
                let (one, chunk) = held.pop().unwrap();
                drop(chunk);
                held.push(first.next().await.unwrap());
                look().await;
                assert!(first.next().now_or_never().is_none() && one.next().now_or_never().is_none());
                let (two, chunk) = held.pop().unwrap();
                let clone = chunk.clone();
                drop(chunk);
                look().await;
                assert!(first.next().now_or_never().is_none() && two.next().now_or_never().is_none());
                drop((clone, held, first));
                let rest = drains.iter_mut().map(async |drain| {
                    let mut bytes = 0;
                    while let Some(chunk) = drain.next().await.unwrap() {
                        bytes += items::<Vec<u8>>(&chunk)[0].len();
                    }
                    bytes
                });
                let rest = join_all(rest).await;
                assert_eq!(rest.iter().sum::<usize>(), (fit + 3) * BYTES as usize);
            })
            .await
            .unwrap();
    });
}

#[test]
fn a_large_value_waits_for_room_and_a_guest_that_passes_it_on_needs_some_too() {
    let text = "x".repeat(200_000);
    block_on(async {
        let mut guest = Guest::new().await;
        guest
            .run(async |calls| {
                let mut drains = Vec::new();
                for _ in 0..12 {
                    drains.push(calls.open("writers#later", &text, vec![]).await);
                }
                let mut chunks = Vec::new();
                for (at, drain) in drains.iter_mut().enumerate() {
                    if at >= 10 {
                        calls.ask::<u64>("writers#written", &(), vec![]).await.unwrap();
                        assert!(drain.next().now_or_never().is_none(), "all room is taken");
                        chunks.pop();
                    }
                    chunks.push(drain.next().await.unwrap().unwrap());
                }
                assert_eq!(items::<String>(&chunks[0]), std::slice::from_ref(&text));
                let (mut feed, inflow) = feed(OnFailure::Trap);
                feed.put(chunk(std::slice::from_ref(&text))).unwrap();
                let mut drain = calls.open("echo#pass-value", &0_u32, vec![inflow]).await;
                calls.ask::<u64>("writers#written", &(), vec![]).await.unwrap();
                assert!(drain.next().now_or_never().is_none(), "all room is taken");
                drop(chunks);
                assert_eq!(items::<String>(&drain.next().await.unwrap().unwrap()), std::slice::from_ref(&text));
            })
            .await
            .unwrap();
    });
}

#[test]
fn a_host_that_wants_no_large_item_lets_its_writer_go() {
    block_on(async {
        let mut guest = Guest::new().await;
        guest
            .run(async |calls| {
                let mut filled = Vec::new();
                for _ in 0..2 {
                    let mut drain = calls.open("writers#blobs", &vec![MAX_ITEM_BYTES as u32 - 4], vec![]).await;
                    filled.push(drain.next().await.unwrap().unwrap());
                }
                let waits = calls.open("writers#blobs", &vec![300_000_u32], vec![]).await;
                let value = calls.open("writers#later", &"x".repeat(300_000), vec![]).await;
                calls.ask::<u64>("writers#written", &(), vec![]).await.unwrap();
                drop((waits, value, filled));
                // Nobody stands in the way of the next one.
                let mut drain = calls.open("writers#blobs", &vec![MAX_ITEM_BYTES as u32 - 4], vec![]).await;
                assert!(drain.next().await.unwrap().is_some());
            })
            .await
            .unwrap();
    });
}

#[test]
fn a_guest_reads_to_the_end() {
    block_on(async {
        for function in ["readers#sum", "readers#sum-one-by-one", "readers#hesitate"] {
            let mut guest = Guest::new().await;
            let sum = guest
                .run(async |calls| {
                    let (mut feed, inflow) = feed(OnFailure::Trap);
                    let feeding = async {
                        for _ in 0..5 {
                            tokio::task::yield_now().await;
                            assert!(send(&mut feed, &[1_u64; 100]).await);
                        }
                        feed.finish();
                    };
                    join(feeding, calls.ask::<u64>(function, &0_u32, vec![inflow])).await.1.unwrap()
                })
                .await
                .unwrap();
            assert_eq!(sum, 500, "{function}");
        }
    });
}

#[test]
fn a_guest_that_drops_a_stream_is_gone_for_the_host() {
    block_on(async {
        let mut guest = Guest::new().await;
        guest
            .run(async |calls| {
                let (mut feed, inflow) = feed(OnFailure::Trap);
                feed.put(chunk(&[5_u64, 6, 7, 8])).unwrap();
                let taken: Vec<u64> = calls.ask("readers#take", &(0_u32, 3_u32), vec![inflow]).await.unwrap();
                assert_eq!(taken, [5, 6, 7]);
                feed.gone().await;
                assert!(feed.ready().await.is_err());
                assert!(feed.put(chunk(&[9_u64])).is_ok(), "nobody has it");
            })
            .await
            .unwrap();
    });
}

#[test]
fn a_host_that_drops_a_drain_stops_the_guest() {
    block_on(async {
        let mut guest = Guest::new().await;
        guest
            .run(async |calls| {
                let mut drain = calls.open("writers#count", &(1_000_000_u64, 1000_u32), vec![]).await;
                let first: Vec<u64> = items(&drain.next().await.unwrap().unwrap());
                assert_eq!(first[0], 0);
                drop(drain);
                let counted = loop {
                    if let Some(counted) = calls.ask::<Option<u64>>("writers#counted", &(), vec![]).await.unwrap() {
                        break counted;
                    }
                };
                assert!(counted >= first.len() as u64 && counted <= 2 * u64::from(CHUNK_ITEMS), "{counted}");
            })
            .await
            .unwrap();
    });
}

#[test]
fn a_slow_reader_slows_the_guest_that_writes() {
    block_on(async {
        let mut guest = Guest::new().await;
        guest
            .run(async |calls| {
                let mut drain = calls.open("writers#count", &(100_000_u64, 10_000_u32), vec![]).await;
                let mut next = 0;
                while let Some(chunk) = drain.next().await.unwrap() {
                    assert!(chunk.count <= CHUNK_ITEMS);
                    for item in items::<u64>(&chunk) {
                        assert_eq!(item, next);
                        next += 1;
                    }
                    // The guest runs as much as it can meanwhile, and is never done before its last items are taken.
                    let counted: Option<u64> = calls.ask("writers#counted", &(), vec![]).await.unwrap();
                    assert!(counted.is_none() || next + u64::from(CHUNK_ITEMS) >= 100_000, "{next}");
                }
                assert_eq!(next, 100_000);
            })
            .await
            .unwrap();
    });
}

#[test]
fn small_writes_are_put_together_while_nobody_takes_them() {
    block_on(async {
        let mut guest = Guest::new().await;
        let counts = guest
            .run(async |calls| {
                let mut drain = calls.open("writers#count", &(1000_u64, 1_u32), vec![]).await;
                let mut counts = Vec::new();
                while let Some(chunk) = drain.next().await.unwrap() {
                    counts.push(chunk.count);
                    // Meanwhile the guest writes one number after another.
                    let _: Option<u64> = calls.ask("writers#counted", &(), vec![]).await.unwrap();
                }
                counts
            })
            .await
            .unwrap();
        assert_eq!(counts.iter().sum::<u32>(), 1000);
        assert!(counts.contains(&CHUNK_ITEMS) && counts.len() < 20, "{counts:?}");
    });
}

#[test]
fn a_feed_that_fails_traps_the_guest_or_ends_the_stream() {
    block_on(async {
        for (on_failure, function) in [(OnFailure::Trap, "readers#sum"), (OnFailure::Trap, "readers#measure")] {
            let mut guest = Guest::new().await;
            let (mut feed, inflow) = feed(on_failure);
            feed.put(chunk(&[1_u8])).unwrap();
            feed.fail(error("the writer trapped"));
            let outcome = guest.run(async |calls| calls.ask::<u64>(function, &0_u32, vec![inflow]).await).await;
            let error = outcome.and_then(|inner| inner).unwrap_err();
            let failure = error.downcast_ref::<StreamFailure>();
            assert_eq!(failure, Some(&broken("the writer trapped")), "{error:?}");
        }
        for function in ["readers#sum", "readers#measure"] {
            let mut guest = Guest::new().await;
            let (mut feed, inflow) = feed(OnFailure::End);
            feed.put(chunk(&[1_u8])).unwrap();
            drop(feed);
            let sum = guest.run(async |calls| calls.ask::<u64>(function, &0_u32, vec![inflow]).await).await;
            assert_eq!(sum.unwrap().unwrap(), 1);
        }
    });
}

#[test]
fn a_future_that_fails_traps_who_waits_for_it() {
    block_on(async {
        let mut guest = Guest::new().await;
        let (mut feed, inflow) = feed(OnFailure::Trap);
        feed.fail(error("no value"));
        let outcome = guest.run(async |calls| calls.ask::<String>("readers#wait", &0_u32, vec![inflow]).await).await;
        assert!(outcome.and_then(|inner| inner).is_err_and(|error| format!("{error:?}").contains("no value")));
    });
}

#[test]
fn a_guest_that_traps_in_mid_stream_has_not_finished_its_stream() {
    block_on(async {
        let (give, get) = tokio::sync::oneshot::channel();
        let running = async move {
            let mut guest = Guest::new().await;
            let outcome = guest
                .run(async move |calls| {
                    let _ = give.send(calls.open("writers#trap-after", &25_u64, vec![]).await);
                    std::future::pending::<()>().await;
                })
                .await;
            guest.store.data().life.end(error("it trapped"));
            outcome
        };
        let reading = async move {
            let mut drain = get.await.unwrap();
            let mut taken = Vec::new();
            loop {
                match drain.next().await {
                    Ok(chunk) => taken.extend(items::<u64>(&chunk.unwrap())),
                    Err(failure) => return (taken, failure),
                }
            }
        };
        let (outcome, (taken, failure)) = join(running, reading).await;
        assert!(outcome.is_err());
        assert_eq!(taken, (0..25).collect::<Vec<u64>>(), "what was written before is there");
        assert_eq!(failure, broken("it trapped"));
    });
}

#[test]
fn a_store_that_is_dropped_fails_its_streams() {
    block_on(async {
        let mut guest = Guest::new().await;
        let mut drains = guest
            .run(async |calls| {
                let mut drain = calls.open("writers#hang-after", &5_u64, vec![]).await;
                assert_eq!(items::<u64>(&drain.next().await.unwrap().unwrap()), [0, 1, 2, 3, 4]);
                // One whose guest is in the middle of a write, too, and one that has not begun.
                let writing = calls.open("writers#count", &(100_000_u64, 10_000_u32), vec![]).await;
                let future = calls.open("writers#later", &"text", vec![]).await;
                [drain, writing, future]
            })
            .await
            .unwrap();
        let (mut feed, inflow) = feed(OnFailure::Trap);
        drop(guest);
        drop(inflow);
        feed.gone().await;
        for drain in &mut drains {
            let failure = loop {
                match drain.next().await {
                    Ok(Some(_)) => {}
                    Ok(None) => panic!("a stream that was not finished"),
                    Err(failure) => break failure,
                }
            };
            assert!(failure.to_string().contains("the instance that wrote it has ended"), "{failure}");
        }
    });
}

#[test]
fn a_value_of_a_future_is_its_end() {
    block_on(async {
        let mut guest = Guest::new().await;
        let values = guest
            .run(async |calls| {
                let mut drain = calls.open("writers#later", &"text", vec![]).await;
                collect::<String>(&mut drain).await
            })
            .await
            .unwrap();
        assert_eq!(values, ["text"]);
    });
}
