//! Attacks with time, memory, stack, output and traps: mostly callbacks of the fixtures that misbehave on request.

use super::{Arena, Case, Group};

pub const GROUP: Group = Group {
    name: "compute",
    cases: &[
        Case {
            attack: "a busy loop",
            stopped_by: "`max-call-time`",
            sees: "max-call-time",
            run: |arena| arena.said("villain", "spin()"),
        },
        Case {
            attack: "a busy loop in a `start` function",
            stopped_by: "`max-call-time`",
            sees: "instantiation-failed",
            run: |arena| arena.said("starter", "never()"),
        },
        Case {
            attack: "a memory bomb",
            stopped_by: "`memory`",
            sees: "of memory and may have 67108864",
            run: |arena| arena.said("villain", "grow(1000)"),
        },
        Case {
            attack: "a table bomb",
            stopped_by: "100,000 elements of tables in an instance",
            sees: "refused",
            run: |arena| match arena.call("tables", "grow-table(100000000)").success() {
                "4294967295" => "refused".to_owned(), // -1 is what `table.grow` gives then
                other => format!("the table has grown from {other} elements"),
            },
        },
        Case {
            attack: "recursion without end on the engine's stack",
            stopped_by: "1 MiB of wasm stack",
            sees: "its stack overflowed",
            run: |arena| arena.said("villain", "overflow(100000000)"),
        },
        Case {
            attack: "recursion without end on the guest's own stack",
            stopped_by: "the bounds of its memory",
            sees: "out of bounds memory access",
            run: |arena| arena.said("villain", "recurse(100000000)"),
        },
        Case {
            attack: "output without end",
            stopped_by: "`output-rate`, then `max-call-time`",
            sees: "max-call-time",
            run: |arena| arena.said("hostile", "print-without-end()"),
        },
        Case {
            attack: "handles that are not given back",
            stopped_by: "10,000 handles in an instance",
            sees: "10000 handles, as many as it may",
            // It keeps them: the case after it ends its instance.
            run: |arena| arena.said("hostile", "leak-handles(1000000)"),
        },
        Case {
            attack: "handles of its own resources and streams without end",
            stopped_by: "10,000 handles in an instance",
            sees: "handles",
            run: |arena| {
                let said =
                    ["make-resources(100000000)", "make-streams(100000000)"].map(|call| arena.said("maker", call));
                match said.iter().find(|said| !said.contains("handle")) {
                    Some(other) => format!("no such limit: {other}"),
                    None => "handles: ".to_owned() + &said.join("\n"),
                }
            },
        },
        Case {
            attack: "single instructions that take long",
            stopped_by: "`max-call-time`, and other threads than those of the network",
            sees: "max-call-time",
            run: |arena| arena.said("filler", "fill()"),
        },
        Case {
            attack: "calls of the host without end",
            stopped_by: "`max-call-time`",
            sees: "max-call-time",
            run: |arena| arena.said("hostile", "call-the-host(18446744073709551615)"),
        },
        Case {
            attack: "a trap in each callback",
            stopped_by: "the end of the instance",
            sees: "trapped",
            run: trap_in_each,
        },
        Case {
            attack: "an end of the process from within a callback",
            stopped_by: "the end of the instance",
            sees: "it called exit(1)",
            run: |arena| arena.said("villain", "exit(false)"),
        },
    ],
};

/// A component that is never there: its `start` function does not return.
pub const STARTER: &str = r#"
(component
  (core module $m
    (func $start (loop (br 0)))
    (start $start)
    (func (export "never")))
  (core instance $i (instantiate $m))
  (func (export "never") (canon lift (core func $i "never"))))
"#;

/// `grow-table(elements)` asks for so many elements more, and gives what `table.grow` gives: -1 where it has none.
pub const TABLES: &str = r#"
(component
  (core module $m
    (table $t 1 funcref)
    (func (export "grow-table") (param i32) (result i32)
      (table.grow $t (ref.null func) (local.get 0))))
  (core instance $i (instantiate $m))
  (func (export "grow-table") (param "elements" u32) (result u32) (canon lift (core func $i "grow-table"))))
"#;

/// `make-resources(times)` and `make-streams(times)` make so many handles and drop none.
pub const MAKER: &str = r#"
(component
  (type $resource (resource (rep i32)))
  (type $stream (stream u8))
  (core func $resource (canon resource.new $resource))
  (core func $stream (canon stream.new $stream))
  (core module $m
    (import "host" "resource" (func $resource (param i32) (result i32)))
    (import "host" "stream" (func $stream (result i64)))
    (func (export "make-resources") (param $times i32)
      (loop
        (drop (call $resource (i32.const 0)))
        (br_if 0 (local.tee $times (i32.sub (local.get $times) (i32.const 1))))))
    (func (export "make-streams") (param $times i32)
      (loop
        (drop (call $stream))
        (br_if 0 (local.tee $times (i32.sub (local.get $times) (i32.const 1)))))))
  (core instance $i (instantiate $m
    (with "host" (instance (export "resource" (func $resource)) (export "stream" (func $stream))))))
  (func (export "make-resources") (param "times" u32) (canon lift (core func $i "make-resources")))
  (func (export "make-streams") (param "times" u32) (canon lift (core func $i "make-streams"))))
"#;

/// `fill()` writes 62 MiB over and over, each time by one instruction, within which nothing interrupts it.
pub const FILLER: &str = r#"
(component
  (core module $m
    (memory 1000)
    (func (export "fill")
      (loop
        (memory.fill (i32.const 0) (i32.const 7) (i32.const 65536000))
        (br 0))))
  (core instance $i (instantiate $m))
  (func (export "fill") (canon lift (core func $i "fill"))))
"#;

fn trap_in_each(arena: &Arena) -> String {
    let traps =
        [r#"trap("of mine")"#, "trap-out-of-bounds()", "trap-unreachable()", "faults#trap(\"\")", "divide(1, 0)"];
    let said = traps.map(|trap| arena.said("villain", trap));
    match said.iter().find(|said| !said.contains("trap")) {
        Some(other) => format!("no failure: {other}"),
        None => "trapped".to_owned() + &said.join("\n"),
    }
}
