//! The publisher: exporting a WIT interface is all that it takes to have callbacks.

wit_bindgen::generate!({ world: "publisher", path: "../wit" });

struct Publisher;

impl exports::demo::tutorial::math::Guest for Publisher {
    fn sum_of_two_numbers(a: i64, b: i64) -> i64 {
        a + b
    }
}

export!(Publisher);
