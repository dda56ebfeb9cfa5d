//! Serves `values-async` in Rust: each call is a task of the one instance.

#[path = "../../samples.rs"]
mod samples;

wit_bindgen::generate!({ world: "callbacks-async", path: "../wit" });

use exports::test::conformance::values_async::Guest;
use test::conformance::types::*;

struct Callbacks;

/// Functions that give back what they get, after the other tasks of the instance had their turn.
macro_rules! echoes {
    ($($name:ident: $type:ty;)*) => {$(
        async fn $name(v: $type) -> $type {
            wit_bindgen::yield_async().await;
            v
        }
    )*};
}

impl Guest for Callbacks {
    async fn nothing() {}

    async fn no_result(_text: String) {}

    async fn no_params() -> u64 {
        u64::MAX
    }

    echoes! {
        echo_bool: bool;
        echo_s64: i64;
        echo_f64: f64;
        echo_string: String;
        echo_bytes: Vec<u8>;
        echo_items: Vec<Item>;
        echo_mixed: Mixed;
        echo_shape: Shape;
        echo_result: Result<String, u32>;
        echo_seventeen_flags: SeventeenFlags;
        echo_nested: Nested;
    }

    async fn many_params(
        a: u8,
        b: u64,
        c: f32,
        d: String,
        e: bool,
        f: i16,
        g: char,
        h: f64,
        i: Vec<u16>,
        j: i8,
        k: Option<u32>,
        l: Color,
        m: (u8, u64),
        n: i32,
        o: u16,
        p: Shape,
        q: String,
        r: i64,
        s: u32,
        t: SeventeenFlags,
    ) -> Params {
        Params { a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t }
    }

    async fn describe(v: Mixed) -> String {
        samples::described(&v)
    }

    async fn make() -> Nested {
        samples::made()
    }
}

export!(Callbacks);
