//! Attacks with calls: too many of them, too deep, in circles, and under names of others.

use super::{Arena, Case, Group, either};

pub const GROUP: Group = Group {
    name: "calls",
    cases: &[
        Case {
            attack: "calls that are begun without end",
            stopped_by: "`open-calls`",
            sees: "1024 calls",
            run: |arena| arena.said("caller", "flood(40000, 1)"),
        },
        Case {
            attack: "arguments of open calls without end",
            stopped_by: "arguments that open calls hold",
            sees: "4194304 bytes",
            run: |arena| arena.said("caller", "flood(2000, 100000)"),
        },
        Case {
            attack: "BG calls that nobody fetches",
            stopped_by: "`open-calls`",
            sees: "1024 calls",
            run: |arena| {
                let said = arena.said("villain", r#"begin("hold", "[\"x\", 1]", 5000)"#);
                arena.call("villain", "forget()").success();
                said
            },
        },
        Case {
            attack: "schedules without end",
            stopped_by: "`max-schedules`",
            sees: "has 64 schedules, its limit",
            run: schedule_flood,
        },
        Case {
            attack: "a broadcast that each receiver broadcasts again",
            stopped_by: "`concurrency`, `queue` and deadlines",
            sees: "deadline-exceeded, or overloaded",
            run: |arena| {
                let said = arena.said("accomplice-a", "amplify()");
                // Whichever comes first where it fans out no more.
                either(&said, &["deadline-exceeded", "overloaded"], "deadline-exceeded, or overloaded")
            },
        },
        Case {
            attack: "a call that returns to its caller",
            stopped_by: "the chain of its callers",
            sees: "cycle",
            run: |arena| {
                let there = r#"forward("forward", "[\"who\", \"[]\", \"villain\", null]", some("far"), none)"#;
                arena.said("villain", there)
            },
        },
        Case {
            attack: "a process with a name that is taken",
            stopped_by: "a name is one process's while it lives",
            sees: "is held by the node",
            run: |arena| {
                let squatter = arena.cluster.runtime("neighbour").module("neighbour", "fixtures").finish();
                assert_eq!(squatter.code(), 5, "{squatter:#?}");
                squatter.stderr
            },
        },
    ],
};

/// `flood(calls, bytes)` begins so many calls of a fixture with so many bytes each, and waits for none of them.
pub const FLOOD: &str = r#"
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

fn schedule_flood(arena: &Arena) -> String {
    let said = arena.said("hostile", r#"schedule(5000, "villain")"#);
    let listed = arena.cluster.run(["schedule", "ls", "--json"]);
    let tasks: serde_json::Value = serde_json::from_str(listed.success()).unwrap();
    for task in tasks.as_array().unwrap() {
        arena.cluster.run(["schedule", "cancel", task["id"].as_str().unwrap()]).success();
    }
    said
}
