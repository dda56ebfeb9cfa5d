//! The consumer with a typed import: calling another process is calling an ordinary function.

wit_bindgen::generate!({ world: "consumer", path: "../wit" });

use demo::tutorial::math::sum_of_two_numbers;

fn main() {
    println!("Result = {}", sum_of_two_numbers(5, 15));
}
