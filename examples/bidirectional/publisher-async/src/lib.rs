//! Serves sums, and asks the consumer for the time in a loop; both are `async func`.

#[path = "../../settings.rs"]
mod settings;

wit_bindgen::generate!({ world: "publisher-async", path: "../wit", generate_all });

use demo::bidirectional::time_async::consumer_time;
use wasi::clocks::monotonic_clock::wait_for;

struct Publisher;

impl exports::demo::bidirectional::math_async::Guest for Publisher {
    async fn sum_of_two_numbers(a: i64, b: i64) -> i64 {
        a + b
    }
}

impl exports::wasi::cli::run::Guest for Publisher {
    async fn run() -> Result<(), ()> {
        daffi::mesh::wait_process("consumer", settings::PATIENCE).map_err(|error| eprintln!("{error}"))?;
        for _ in 0..settings::rounds() {
            println!("consumer-time: {}", consumer_time().await);
            wait_for(settings::pause().as_nanos() as u64).await;
        }
        println!("publisher is done");
        Ok(())
    }
}

export!(Publisher);
