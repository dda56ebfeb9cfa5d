//! A with asynchronous functions: the instance that waits for the total tells the price meanwhile.

#[path = "../../prices.rs"]
mod prices;

wit_bindgen::generate!({ world: "a-async", path: "../wit" });

use demo::pipeline::till_async::total;

struct Shop;

impl exports::demo::pipeline::shop_async::Guest for Shop {
    async fn buy(what: String) -> Result<u32, String> {
        total(what).await
    }

    async fn price(what: String) -> Result<u32, String> {
        prices::price(&what)
    }
}

export!(Shop);
