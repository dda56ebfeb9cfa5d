//! Counts down in a stream that goes on after the call has returned it.

wit_bindgen::generate!({ world: "launchpad", path: "../wit", generate_all });

use wit_bindgen::{StreamReader, spawn_local};

struct Launchpad;

impl exports::demo::space::launch::Guest for Launchpad {
    async fn countdown(from: u32) -> StreamReader<u32> {
        let (mut numbers, reader) = wit_stream::new();
        spawn_local(async move {
            for number in (0..=from).rev() {
                if numbers.write_one(number).await.is_some() {
                    break; // nobody watches any more
                }
            }
        });
        reader
    }
}

export!(Launchpad);
