//! Orders several dishes at once and takes each as it comes; then some more by name, with the SDK.

use std::future::IntoFuture;
use std::pin::pin;

use daffi::{CallError, FG, fetchers};
use futures::future::{Either, join, select};
use futures::{StreamExt, stream::FuturesUnordered};

wit_bindgen::generate!({ world: "waiter", path: "../wit", generate_all });

use demo::restaurant::kitchen;
use wasi::clocks::monotonic_clock::wait_for;

/// So long takes what nobody waits for to its end.
const AN_HOUR_MS: u64 = 3_600_000;

fetchers! {
    fn cook(dish: &str, ms: u64) -> String = "kitchen#cook";
    fn on_the_stove() -> u32 = "kitchen#on-the-stove";
}

struct Waiter;

impl exports::wasi::cli::run::Guest for Waiter {
    async fn run() -> Result<(), ()> {
        serve().await.map_err(|error| eprintln!("{error}"))
    }
}

async fn serve() -> Result<(), CallError> {
    // Typed: an async import is a future already. These are under way together.
    let mut orders: FuturesUnordered<_> = [("roast", 300), ("soup", 150), ("salad", 1)]
        .map(|(dish, ms)| kitchen::cook(dish.to_owned(), ms))
        .into_iter()
        .collect();
    while let Some(dish) = orders.next().await {
        println!("Here is a {dish}");
    }

    // By name: a call of the SDK is awaited, with options or without.
    let (tea, coffee) = join(cook("tea", 1).into_future(), cook("coffee", 1) & FG.receiver("cook").future()).await;
    println!("Here is a {}, and a {}", tea?, coffee?);

    // A future that is dropped gives its call up. The cook's other dishes do not notice.
    let (stew, patience) = (pin!(cook("stew", AN_HOUR_MS).into_future()), pin!(patience()));
    match select(stew, patience).await {
        Either::Left((stew, _)) => println!("Here is a {}", stew?),
        Either::Right(_) => println!("No stew today"),
    }
    println!("On the stove: {}", on_the_stove().await?);
    Ok(())
}

/// Ends when a dish is on the stove, and not ready a little later.
async fn patience() {
    while on_the_stove().await.is_ok_and(|dishes| dishes == 0) {
        wait_for(1_000_000).await;
    }
    wait_for(50_000_000).await;
}

export!(Waiter);
