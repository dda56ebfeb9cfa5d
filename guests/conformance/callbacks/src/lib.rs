//! Serves `values` in Rust.

#[path = "../../samples.rs"]
mod samples;

wit_bindgen::generate!({ world: "callbacks", path: "../wit" });

use exports::test::conformance::values::Guest;
use test::conformance::types::*;

struct Callbacks;

/// Functions that give back what they get.
macro_rules! echoes {
    ($($name:ident: $type:ty;)*) => {$(
        fn $name(v: $type) -> $type {
            v
        }
    )*};
}

impl Guest for Callbacks {
    fn nothing() {}

    fn no_result(_text: String) {}

    fn no_params() -> u64 {
        u64::MAX
    }

    echoes! {
        echo_bool: bool;
        echo_s8: i8;
        echo_u8: u8;
        echo_s16: i16;
        echo_u16: u16;
        echo_s32: i32;
        echo_u32: u32;
        echo_s64: i64;
        echo_u64: u64;
        echo_f32: f32;
        echo_f64: f64;
        echo_char: char;
        echo_string: String;
        echo_bytes: Vec<u8>;
        echo_strings: Vec<String>;
        echo_doubles: Vec<f64>;
        echo_longs: Vec<i64>;
        echo_bools: Vec<bool>;
        echo_options: Vec<Option<u8>>;
        echo_results: Vec<Result<u8, String>>;
        echo_lists: Vec<Vec<i16>>;
        echo_items: Vec<Item>;
        echo_tuple: (u8, String, f64);
        echo_mixed: Mixed;
        echo_color: Color;
        echo_many_cases: ManyCases;
        echo_shape: Shape;
        echo_option: Option<u32>;
        echo_text_option: Option<String>;
        echo_nested_option: Option<Option<u32>>;
        echo_result: Result<String, u32>;
        echo_result_ok: Result<u8, ()>;
        echo_result_err: Result<(), String>;
        echo_result_none: Result<(), ()>;
        echo_one_flag: OneFlag;
        echo_eight_flags: EightFlags;
        echo_nine_flags: NineFlags;
        echo_seventeen_flags: SeventeenFlags;
        echo_thirty_two_flags: ThirtyTwoFlags;
        echo_nested: Nested;
    }

    fn many_params(
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

    fn describe(v: Mixed) -> String {
        samples::described(&v)
    }

    fn make() -> Nested {
        samples::made()
    }
}

export!(Callbacks);
