//! Reads the benchmark's streams to their ends, as many items at a time as are there.

wit_bindgen::generate!({ path: "../wit", world: "stream-reader" });

use exports::daffi::bench::streams::Guest;
use wit_bindgen::{StreamReader, StreamResult};
use wit_stream::StreamPayload;

struct Reader;

/// Most items of one read.
const AT_ONCE: usize = 64 * 1024;

/// Gives everything to `each`, to the end.
async fn read<T: StreamPayload>(mut from: StreamReader<T>, mut each: impl FnMut(&[T])) {
    let mut buffer = Vec::with_capacity(AT_ONCE);
    loop {
        let (status, items) = from.read(buffer).await;
        each(&items);
        if status == StreamResult::Dropped {
            return;
        }
        buffer = items;
        buffer.clear();
    }
}

impl Guest for Reader {
    async fn sum(items: StreamReader<u32>) -> u64 {
        let mut sum = 0u64;
        read(items, |items| sum = items.iter().fold(sum, |sum, item| sum.wrapping_add(u64::from(*item)))).await;
        sum
    }

    async fn length(bytes: StreamReader<u8>) -> u64 {
        let mut length = 0;
        read(bytes, |bytes| length += bytes.len() as u64).await;
        length
    }
}

export!(Reader);
