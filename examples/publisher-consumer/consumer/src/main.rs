//! The consumer: calls the publisher's function by its name on the mesh, and knows nothing else of it.

use daffi::{CallError, FG, fetchers};

fetchers! {
    /// The sum of two numbers, by whichever process has it.
    fn sum_of_two_numbers(a: i64, b: i64) -> i64 = "demo:tutorial/math#sum-of-two-numbers";
}

fn main() -> Result<(), CallError> {
    // Both processes are started at once, so the callback may not be there yet.
    let result = (sum_of_two_numbers(5, 15) & FG.wait_ready())?;
    println!("Result = {result}");
    Ok(())
}
