//! Prints the items of a stream as they come.

wit_bindgen::generate!({ world: "spectator", path: "../wit", generate_all });

use demo::space::launch::countdown;

struct Spectator;

impl exports::wasi::cli::run::Guest for Spectator {
    async fn run() -> Result<(), ()> {
        let mut numbers = countdown(3).await;
        while let Some(number) = numbers.next().await {
            println!("{number}");
        }
        println!("Lift-off");
        Ok(())
    }
}

export!(Spectator);
