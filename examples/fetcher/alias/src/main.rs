//! A consumer with a name of its own for the publisher's callback (an alias), and a fetcher with a body.

wit_bindgen::generate!({ world: "bookkeeper", path: "../wit" });

/// A fetcher with a body: an ordinary function that does what it likes before and after the call.
fn total(column: &str) -> i64 {
    let numbers = column.split('+').filter_map(|number| number.trim().parse().ok());
    numbers.fold(0, plus)
}

fn main() {
    println!("Total = {}", total("5 + 15 + 22"));
}
