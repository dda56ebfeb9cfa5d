//! State that others rely on, and callers who give up while its keeper is inside a call of its own.

use std::path::Path;

use super::cluster::output::says;
use super::cluster::{Cluster, Running};

/// `keep(ms)` counts itself, and then calls `hold("x", ms)` through a plain typed import; `kept()` gives the count.
const KEEPER: &str = r#"
(component
  (import "fixtures:guest/state@0.1.0" (instance $state
    (export "hold" (func (param "mark" string) (param "ms" u64) (result string)))))
  (core module $libc
    (memory (export "memory") 1)
    (data (i32.const 0) "x")
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024)))
  (core instance $libc (instantiate $libc))
  (core func $hold (canon lower (func $state "hold") (memory $libc "memory") (realloc (func $libc "realloc"))))
  (core module $m
    (import "state" "hold" (func $hold (param i32 i32 i64 i32)))
    (global $kept (mut i64) (i64.const 0))
    (func (export "keep") (param i64)
      (global.set $kept (i64.add (global.get $kept) (i64.const 1)))
      (call $hold (i32.const 0) (i32.const 1) (local.get 0) (i32.const 16)))
    (func (export "kept") (result i64) (global.get $kept)))
  (core instance $i (instantiate $m (with "state" (instance (export "hold" (func $hold))))))
  (func (export "keep") (param "ms" u64) (canon lift (core func $i "keep")))
  (func (export "kept") (result u64) (canon lift (core func $i "kept"))))
"#;

/// A keeper, which is a singleton unless `args` say otherwise.
fn keeper(cluster: &Cluster, args: &[&str]) -> Running {
    let path = cluster.file("keeper.wasm", wat::parse_str(KEEPER).unwrap());
    cluster.runtime("keeper").controller().module_at("keeper", Path::new(&path)).args(args).ready()
}

/// What `hold` is served by: its calls are stopped when nobody waits.
fn holder(cluster: &Cluster) -> Running {
    cluster.runtime("holder").module("holder", "fixtures").args(["--instances", "pool:1"]).ready()
}

#[test]
fn a_caller_that_gives_up_leaves_a_singletons_typed_call_alone_and_its_state_survives() {
    let cluster = Cluster::new();
    let _keeper = keeper(&cluster, &[]);
    let holder = holder(&cluster);
    let call = cluster.calling(&["keep(3000)"]);
    holder.wait_for_line("x started");
    call.kill();
    // It waits behind the call that nobody waits for.
    assert_eq!(cluster.call("kept()").success(), "1");
    // The line may come behind the answer.
    holder.wait_for_line("x finished");
    assert_eq!(holder.count("x finished"), 1);
}

#[test]
fn a_singleton_whose_caller_gave_up_before_its_typed_call_found_anybody_makes_it_all_the_same() {
    let cluster = Cluster::new();
    let _keeper = keeper(&cluster, &[]);
    let call = cluster.calling(&["keep(10)"]);
    // Whoever is listed as in flight is inside: nothing else is called here.
    while cluster.ps()[0]["in-flight"] != 1 {}
    call.kill();
    let holder = holder(&cluster);
    holder.wait_for_line("x finished");
    assert_eq!(cluster.call("kept()").success(), "1");
}

#[test]
fn a_typed_call_that_meets_its_deadline_traps_also_where_its_caller_gave_up() {
    let cluster = Cluster::new();
    let keeper = keeper(&cluster, &[]);
    let holder = holder(&cluster);
    let call = cluster.calling(&["--timeout", "2s", "keep(60000)"]);
    holder.wait_for_line("x started");
    call.kill();
    keeper.wait_for_line("an instance ended");
    assert_eq!(cluster.call("kept()").success(), "0");
}

#[test]
fn where_the_policy_kills_the_typed_call_ends_with_its_instance() {
    let cluster = Cluster::new();
    let _keeper = keeper(&cluster, &["--on-cancel", "kill"]);
    let holder = holder(&cluster);
    let call = cluster.calling(&["keep(60000)"]);
    holder.wait_for_line("x started");
    call.kill();
    assert_eq!(cluster.call("kept()").success(), "0");
    let output = cluster.call(r#"hold("y", 1)"#);
    says(output.success(), &["y"]);
    assert_eq!(holder.count("x finished"), 0);
}
