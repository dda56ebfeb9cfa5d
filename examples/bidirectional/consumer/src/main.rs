//! Serves the time, and asks the publisher for sums in a loop.

#[path = "../../settings.rs"]
mod settings;
#[path = "../../time_of_day.rs"]
mod time_of_day;

wit_bindgen::generate!({ world: "consumer", path: "../wit" });

use demo::bidirectional::math::sum_of_two_numbers;

struct Consumer;

impl exports::demo::bidirectional::time::Guest for Consumer {
    fn consumer_time() -> String {
        time_of_day::time_of_day()
    }
}

export!(Consumer);

fn main() -> Result<(), daffi::CallError> {
    daffi::mesh::wait_process("publisher", settings::PATIENCE)?;
    for round in 1..=settings::rounds() {
        println!("sum-of-two-numbers: {round} + 15 = {}", sum_of_two_numbers(round, 15));
        std::thread::sleep(settings::pause());
    }
    println!("consumer is done");
    Ok(())
}
