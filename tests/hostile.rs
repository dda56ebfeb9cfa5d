//! Guests that mean harm: what they do costs them, and nobody else.

use std::path::PathBuf;

use super::cluster::Cluster;
use super::cluster::output::says;

/// `flood(calls, bytes)` begins so many calls of a fixture with so many bytes each, and waits for none of them.
const FLOOD: &str = r#"
(component
  (import "fixtures:guest/payload@0.1.0" (instance $peer
    (export "take" (func async (param "bytes" (list u8)) (result u32)))))
  (core module $libc (memory (export "memory") 32))
  (core instance $libc (instantiate $libc))
  (core func $take (canon lower (func $peer "take") async (memory $libc "memory")))
  (core func $return (canon task.return))
  (core module $m
    (import "host" "take" (func $take (param i32 i32 i32) (result i32)))
    (import "host" "return" (func $return))
    (func (export "flood") (param $calls i32) (param $bytes i32) (result i32)
      (loop
        (drop (call $take (i32.const 8) (local.get $bytes) (i32.const 0)))
        (local.set $calls (i32.sub (local.get $calls) (i32.const 1)))
        (br_if 0 (local.get $calls)))
      (call $return)
      (i32.const 0))
    (func (export "never") (param i32 i32 i32) (result i32) unreachable))
  (core instance $i (instantiate $m
    (with "host" (instance (export "take" (func $take)) (export "return" (func $return))))))
  (func (export "flood") async (param "calls" u32) (param "bytes" u32)
    (canon lift (core func $i "flood") async (callback (func $i "never")))))
"#;

fn hostile(cluster: &Cluster) -> PathBuf {
    cluster.file("hostile.wasm", wat::parse_str(FLOOD).unwrap()).into()
}

#[test]
fn a_guest_that_opens_calls_without_end_fails_and_leaves_memory_and_places_to_others() {
    let cluster = Cluster::new();
    let server = cluster
        .runtime("server")
        .controller()
        .module_at("hostile", &hostile(&cluster))
        .module("other", "fixtures")
        .module("fine", "fixtures")
        .ready();
    // More calls than the whole runtime may have open; then more bytes than it should hold.
    for (flood, why) in [("flood(40000, 1)", "1024 calls"), ("flood(2000, 1000000)", "67108864 bytes")] {
        let output = cluster.run(["call", "--receiver", "hostile", flood]);
        says(output.one_line_error(1), &["take was not called", why]);
        // Both are there for others, also for calls that the guests make themselves.
        let nested = r#"["take", "[[1, 2, 3]]", "other", null]"#;
        let output = cluster.run(["call", "--receiver", "fine", "forward", "--json", nested]);
        says(output.success(), &["ok"]);
    }
    let peak = server.peak_memory_kib();
    assert!(peak < 512 << 10, "{peak} KiB");
    cluster.becomes_idle();
}
