//! Serves the benchmark's calls: the cheapest callbacks there can be.

wit_bindgen::generate!({ path: "../wit", world: "server" });

use exports::daffi::bench::ops::Guest;

struct Server;

impl Guest for Server {
    fn sum(a: i64, b: i64) -> i64 {
        a + b
    }

    fn echo(bytes: Vec<u8>) -> Vec<u8> {
        bytes
    }
}

export!(Server);
