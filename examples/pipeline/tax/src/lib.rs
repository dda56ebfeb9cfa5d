//! C: asks A, which waits for it, for the price. Where A cannot be asked, the reason is this guest's result.

use daffi::{FG, fetchers};

wit_bindgen::generate!({ world: "c", path: "../wit" });

fetchers! {
    /// What it costs at the shop, whichever kind of shop that is.
    fn price(what: &str) -> Result<u32, String> = "price";
}

struct Tax;

impl exports::demo::pipeline::tax::Guest for Tax {
    fn with_tax(what: String) -> Result<u32, String> {
        let price = (price(&what) & FG).map_err(|error| error.message)??;
        Ok(price * 120 / 100)
    }
}

export!(Tax);
