//! The components that the tests use, as text.

/// Functions of all kinds over numbers, and two imports: `test:peer/api#ask` and its checked twin.
pub const KITCHEN: &str = r#"
(component
  (import "test:peer/api" (instance $peer (export "ask" (func (param "x" u32) (result u32)))))
  (core func $ask (canon lower (func $peer "ask")))
  (core module $m
    (import "peer" "ask" (func $ask (param i32) (result i32)))
    (memory (export "memory") 1)
    (global $count (mut i32) (i32.const 0))
    (func (export "sum") (param i64 i64) (result i64) (i64.add (local.get 0) (local.get 1)))
    (func (export "count") (result i32)
      (global.set $count (i32.add (global.get $count) (i32.const 1)))
      (global.get $count))
    (func (export "trap") (drop (i32.div_u (i32.const 1) (global.get $count))) unreachable)
    (func (export "spin") (loop (br 0)))
    (func (export "work") (param i32)
      (loop
        (local.set 0 (i32.sub (local.get 0) (i32.const 1)))
        (br_if 0 (local.get 0))))
    (func (export "grow") (param i32) (result i32)
      (if (i32.eq (memory.grow (local.get 0)) (i32.const -1)) (then unreachable))
      (memory.size))
    (func $recurse (export "recurse") (param i32) (result i32)
      (i32.add (call $recurse (i32.add (local.get 0) (i32.const 1))) (i32.const 1)))
    (func (export "relay") (param i32) (result i32)
      (global.set $count (i32.add (global.get $count) (i32.const 1)))
      (call $ask (local.get 0)))
  )
  (core instance $i (instantiate $m (with "peer" (instance (export "ask" (func $ask))))))
  (func (export "sum") (param "a" s64) (param "b" s64) (result s64) (canon lift (core func $i "sum")))
  (func (export "count") (result u32) (canon lift (core func $i "count")))
  (func (export "trap") (canon lift (core func $i "trap")))
  (func (export "spin") (canon lift (core func $i "spin")))
  (func (export "work") (param "turns" u32) (canon lift (core func $i "work")))
  (func (export "grow") (param "pages" u32) (result u32) (canon lift (core func $i "grow")))
  (func (export "recurse") (param "x" u32) (result u32) (canon lift (core func $i "recurse")))
  (func (export "relay") (param "x" u32) (result u32) (canon lift (core func $i "relay")))
)
"#;

/// Lifecycle functions that write down their calls: `log` gives a digit each, 1 init, 2 connect, 3 disconnect.
pub const LIFECYCLE: &str = r#"
(component
  (core module $m
    (memory (export "memory") 1)
    (global $log (mut i32) (i32.const 0))
    (func $note (param i32)
      (global.set $log (i32.add (i32.mul (global.get $log) (i32.const 10)) (local.get 0))))
    (func (export "on-init") (call $note (i32.const 1)))
    (func (export "on-connect") (call $note (i32.const 2)))
    (func (export "on-disconnect") (param i32 i32) (call $note (i32.const 3)))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
    (func (export "log") (result i32) (global.get $log))
    (func (export "trap") unreachable)
  )
  (core instance $i (instantiate $m))
  (func $on-init (canon lift (core func $i "on-init")))
  (func $on-connect (canon lift (core func $i "on-connect")))
  (func $on-disconnect (param "reason" string)
    (canon lift (core func $i "on-disconnect") (memory $i "memory") (realloc (func $i "realloc"))))
  (instance $lifecycle
    (export "on-init" (func $on-init))
    (export "on-connect" (func $on-connect))
    (export "on-disconnect" (func $on-disconnect)))
  (export "daffi:runtime/lifecycle@0.1.0" (instance $lifecycle))
  (func (export "log") (result u32) (canon lift (core func $i "log")))
  (func (export "trap") (canon lift (core func $i "trap")))
)
"#;

/// An import that takes failures as values: `relay` gives the result, or 1000 and the outcome.
pub const CHECKED: &str = r#"
(component
  (import "daffi:runtime/types@0.1.0" (instance $types
    (type $outcome0 (enum "not-run" "failed" "unknown"))
    (export "outcome" (type $outcome (eq $outcome0)))
    (type $text (option string))
    (type $error0 (record
      (field "outcome" $outcome) (field "code" string) (field "message" string) (field "callback" string)
      (field "process" $text) (field "retryable" bool) (field "trace" $text)))
    (export "call-error" (type (eq $error0)))))
  (alias export $types "call-error" (type $call-error))
  (import "test:peer/api-checked" (instance $peer
    (export "call-error" (type $error (eq $call-error)))
    (type $result (result u32 (error $error)))
    (export "ask" (func (param "x" u32) (result $result)))))
  (core module $libc
    (memory (export "memory") 1)
    (global $next (mut i32) (i32.const 4096))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (global.set $next (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
      (global.get $next)
      (global.set $next (i32.add (global.get $next) (local.get 3)))))
  (core instance $libc (instantiate $libc))
  (core func $ask (canon lower (func $peer "ask") (memory $libc "memory") (realloc (func $libc "realloc"))))
  (core module $m
    (import "libc" "memory" (memory 1))
    (import "peer" "ask" (func $ask (param i32 i32)))
    (func (export "relay") (param i32) (result i32)
      (call $ask (local.get 0) (i32.const 16))
      (if (result i32) (i32.load8_u (i32.const 16))
        (then (i32.add (i32.const 1000) (i32.load8_u (i32.const 20))))
        (else (i32.load (i32.const 20)))))
  )
  (core instance $i (instantiate $m
    (with "libc" (instance $libc))
    (with "peer" (instance (export "ask" (func $ask))))))
  (func (export "relay") (param "x" u32) (result u32) (canon lift (core func $i "relay")))
)
"#;
