//! Serves the benchmark's calls from an instance in which they interleave.

wit_bindgen::generate!({ path: "../wit", world: "server-async" });

use exports::daffi::bench::ops_async::Guest;

struct Server;

impl Guest for Server {
    async fn sum(a: i64, b: i64) -> i64 {
        a + b
    }

    async fn echo(bytes: Vec<u8>) -> Vec<u8> {
        bytes
    }
}

export!(Server);
