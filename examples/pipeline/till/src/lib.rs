//! B: passes on to C.

wit_bindgen::generate!({ world: "b", path: "../wit" });

use demo::pipeline::tax::with_tax;

struct Till;

impl exports::demo::pipeline::till::Guest for Till {
    fn total(what: String) -> Result<u32, String> {
        with_tax(&what)
    }
}

export!(Till);
