//! Serves the time, and asks the publisher for sums in a loop; both are `async func`.

#[path = "../../settings.rs"]
mod settings;
#[path = "../../time_of_day.rs"]
mod time_of_day;

wit_bindgen::generate!({ world: "consumer-async", path: "../wit", generate_all });

use demo::bidirectional::math_async::sum_of_two_numbers;
use wasi::clocks::monotonic_clock::wait_for;

struct Consumer;

impl exports::demo::bidirectional::time_async::Guest for Consumer {
    async fn consumer_time() -> String {
        time_of_day::time_of_day()
    }
}

impl exports::wasi::cli::run::Guest for Consumer {
    async fn run() -> Result<(), ()> {
        daffi::mesh::wait_process("publisher", settings::PATIENCE).map_err(|error| eprintln!("{error}"))?;
        for round in 1..=settings::rounds() {
            println!("sum-of-two-numbers: {round} + 15 = {}", sum_of_two_numbers(round, 15).await);
            wait_for(settings::pause().as_nanos() as u64).await;
        }
        println!("consumer is done");
        Ok(())
    }
}

export!(Consumer);
