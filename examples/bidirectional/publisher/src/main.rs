//! Serves sums, and asks the consumer for the time in a loop.

#[path = "../../settings.rs"]
mod settings;

wit_bindgen::generate!({ world: "publisher", path: "../wit" });

use demo::bidirectional::time::consumer_time;

struct Publisher;

impl exports::demo::bidirectional::math::Guest for Publisher {
    fn sum_of_two_numbers(a: i64, b: i64) -> i64 {
        a + b
    }
}

export!(Publisher);

fn main() -> Result<(), daffi::CallError> {
    daffi::mesh::wait_process("consumer", settings::PATIENCE)?;
    for _ in 0..settings::rounds() {
        println!("consumer-time: {}", consumer_time());
        std::thread::sleep(settings::pause());
    }
    println!("publisher is done");
    Ok(())
}
