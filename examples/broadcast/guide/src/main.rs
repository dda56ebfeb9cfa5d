//! The guide: asks all restaurants for their menus with one call, and prints them as a table.

use std::time::Duration;

use daffi::{BROADCAST, CallError, fetchers, mesh};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Dish {
    name: String,
    price: f64,
}

fetchers! {
    /// What a restaurant has today.
    fn menu() -> Vec<Dish> = "demo:restaurants/menus#menu";
}

fn main() -> Result<(), CallError> {
    // A broadcast goes to those who are there when it begins.
    for restaurant in ["green-dragon", "prancing-pony"] {
        mesh::wait_process(restaurant, Duration::from_secs(30))?;
    }
    println!("{:<14} | {:<12} | {:>6}", "restaurant", "dish", "price");
    for entry in (menu() & BROADCAST)? {
        match entry.result {
            Ok(menu) => {
                menu.iter().for_each(|dish| println!("{:<14} | {:<12} | {:>6.2}", entry.process, dish.name, dish.price))
            }
            Err(error) => println!("{:<14} | {error}", entry.process),
        }
    }
    // One is enough for who is hungry.
    for entry in (menu() & BROADCAST.first(1).as_they_arrive())? {
        println!("The first to answer has {} dishes", entry?.result?.len());
    }
    Ok(())
}
