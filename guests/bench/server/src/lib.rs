//! Serves the benchmark's calls: the cheapest callbacks there can be.

wit_bindgen::generate!({ path: "../wit", world: "server" });

use exports::daffi::bench::{ops, records};
use records::Entry;

struct Server;

impl ops::Guest for Server {
    fn sum(a: i64, b: i64) -> i64 {
        a + b
    }

    fn echo(bytes: Vec<u8>) -> Vec<u8> {
        bytes
    }
}

impl records::Guest for Server {
    fn echo_entry(entry: Entry) -> Entry {
        entry
    }

    fn echo_entries(entries: Vec<Entry>) -> Vec<Entry> {
        entries
    }
}

export!(Server);
