//! Writes a stream to a call that is under way, and stops the clock when that returns. See `bench/README.md` for the lines
//! that it prints.

#[path = "../../measure.rs"]
mod measure;

wit_bindgen::generate!({ path: "../wit", world: "stream-writer", generate_all });

use daffi::bench::streams;
use futures::future::join;
use wit_bindgen::StreamWriter;

struct Writer;

/// Items of one write.
const AT_ONCE: u64 = 64 * 1024;

/// Streams 0, 1, … n-1.
async fn numbers(n: u64) {
    let (mut to, reader) = wit_stream::new();
    let write = async move { write_all(&mut to, n, |from, to| (from as u32..to as u32).collect()).await };
    let (sum, ()) = join(streams::sum(reader), write).await;
    assert_eq!(sum, n * n.saturating_sub(1) / 2);
}

/// Streams so many bytes.
async fn bytes(n: u64) {
    let (mut to, reader) = wit_stream::new();
    let write = async move { write_all(&mut to, n, |from, to| vec![7; (to - from) as usize]).await };
    let (length, ()) = join(streams::length(reader), write).await;
    assert_eq!(length, n);
}

/// Writes n items, which `make` gives by their numbers.
async fn write_all<T: wit_stream::StreamPayload>(to: &mut StreamWriter<T>, n: u64, make: impl Fn(u64, u64) -> Vec<T>) {
    let mut next = 0;
    while next < n {
        let end = n.min(next + AT_ONCE);
        let left = to.write_all(make(next, end)).await;
        assert!(left.is_empty(), "nobody reads any more");
        next = end;
    }
}

impl exports::wasi::cli0_3_0::run::Guest for Writer {
    async fn run() -> Result<(), ()> {
        let of = std::env::var("OF");
        let drive = async |n: u64| match of.as_deref() {
            Ok("u32") => numbers(n).await,
            Ok("u8") => bytes(n).await,
            other => panic!("OF is {other:?}: pass --env OF=u32 or --env OF=u8"),
        };
        drive(measure::number("WARM_UP")).await;
        measure::warm();
        let started = measure::now();
        drive(measure::number("ITEMS")).await;
        let total = measure::nanos(started);
        measure::done(total, vec![total]);
        Ok(())
    }
}

export!(Writer);
