//! A: asks the till for the total, and is asked for the price while it waits. Its functions are synchronous, so that
//! takes a second instance.

#[path = "../../prices.rs"]
mod prices;

wit_bindgen::generate!({ world: "a", path: "../wit" });

use demo::pipeline::till::total;

struct Shop;

impl exports::demo::pipeline::shop::Guest for Shop {
    fn buy(what: String) -> Result<u32, String> {
        total(&what)
    }

    fn price(what: String) -> Result<u32, String> {
        prices::price(&what)
    }
}

export!(Shop);
