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
    (table 0 funcref)
    (func (export "grow-table") (param i32) (result i32)
      (if (i32.eq (table.grow (ref.null func) (local.get 0)) (i32.const -1)) (then unreachable))
      (table.size))
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
  (func (export "grow-table") (param "elements" u32) (result u32) (canon lift (core func $i "grow-table")))
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

/// The answer of `ask` that lets `relay` trap, in [`ASYNC`].
pub const TRAPS_WHEN_RESUMED: u32 = 57_005;

/// A component with async functions: `relay` waits for an async import beside others, `relay-sync` blocks the instance
/// in a synchronous one.
pub const ASYNC: &str = r#"
(component
  (import "test:peer/api" (instance $peer
    (export "ask" (func async (param "x" u32) (result u32)))
    (export "ask-sync" (func (param "x" u32) (result u32)))))
  (core module $libc (memory (export "memory") 1))
  (core instance $libc (instantiate $libc))
  (core func $ask (canon lower (func $peer "ask") async (memory $libc "memory")))
  (core func $ask-sync (canon lower (func $peer "ask-sync")))
  (core func $return (canon task.return (result u32)))
  (core func $return-nothing (canon task.return))
  (core func $new-set (canon waitable-set.new))
  (core func $join (canon waitable.join))
  (core func $drop-subtask (canon subtask.drop))
  (core func $set-context (canon context.set i32 0))
  (core func $context (canon context.get i32 0))
  (core module $m
    (import "libc" "memory" (memory 1))
    (import "host" "ask" (func $ask (param i32 i32) (result i32)))
    (import "host" "ask-sync" (func $ask-sync (param i32) (result i32)))
    (import "host" "return" (func $return (param i32)))
    (import "host" "return-nothing" (func $return-nothing))
    (import "host" "new-set" (func $new-set (result i32)))
    (import "host" "join" (func $join (param i32 i32)))
    (import "host" "drop-subtask" (func $drop-subtask (param i32)))
    (import "host" "set-context" (func $set-context (param i32)))
    (import "host" "context" (func $context (result i32)))
    (global $next (mut i32) (i32.const 1024))
    (global $count (mut i32) (i32.const 0))
    (global $log (mut i32) (i32.const 0))
    (func $note (param i32)
      (global.set $log (i32.add (i32.mul (global.get $log) (i32.const 10)) (local.get 0))))
    (func (export "relay") (param $x i32) (result i32)
      (local $at i32) (local $status i32) (local $set i32)
      (local.set $at (global.get $next))
      (global.set $next (i32.add (global.get $next) (i32.const 8)))
      (global.set $count (i32.add (global.get $count) (i32.const 1)))
      (local.set $status (call $ask (local.get $x) (local.get $at)))
      (if (i32.eq (i32.and (local.get $status) (i32.const 15)) (i32.const 2))
        (then (call $return (i32.load (local.get $at))) (return (i32.const 0))))
      (local.set $set (call $new-set))
      (i32.store offset=4 (local.get $at) (local.get $set))
      (call $join (i32.shr_u (local.get $status) (i32.const 4)) (local.get $set))
      (call $set-context (local.get $at))
      (i32.or (i32.shl (local.get $set) (i32.const 4)) (i32.const 2)))
    (func (export "callback") (param $event i32) (param $waitable i32) (param $code i32) (result i32)
      (if (i32.ne (local.get $code) (i32.const 2))
        (then (return (i32.or (i32.shl (i32.load offset=4 (call $context)) (i32.const 4)) (i32.const 2)))))
      (call $drop-subtask (local.get $waitable))
      (if (i32.eq (i32.load (call $context)) (i32.const 57005)) (then unreachable))
      (call $return (i32.load (call $context)))
      (i32.const 0))
    (func (export "spin") (result i32) (loop (br 0)) unreachable)
    (func $"[async-lift]trap" (export "trap") (result i32) unreachable)
    (func (export "never") (param i32 i32 i32) (result i32) unreachable)
    (func (export "count") (result i32) (global.get $count))
    (func (export "log") (result i32) (global.get $log))
    (func (export "sum") (param i64 i64) (result i64) (i64.add (local.get 0) (local.get 1)))
    (func (export "relay-sync") (param i32) (result i32) (call $ask-sync (local.get 0)))
    (func (export "on-init") (call $note (i32.const 1)))
    (func (export "on-connect") (call $note (i32.const 2)))
    (func (export "on-disconnect") (param i32 i32) (call $note (i32.const 3)))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 512))
  )
  (core instance $i (instantiate $m
    (with "libc" (instance $libc))
    (with "host" (instance
      (export "ask" (func $ask)) (export "ask-sync" (func $ask-sync)) (export "return" (func $return))
      (export "return-nothing" (func $return-nothing)) (export "new-set" (func $new-set))
      (export "join" (func $join)) (export "drop-subtask" (func $drop-subtask))
      (export "set-context" (func $set-context)) (export "context" (func $context))))))
  (func (export "relay") async (param "x" u32) (result u32)
    (canon lift (core func $i "relay") async (callback (func $i "callback"))))
  (func (export "spin") async (canon lift (core func $i "spin") async (callback (func $i "never"))))
  (func (export "trap") async (canon lift (core func $i "trap") async (callback (func $i "never"))))
  (func (export "count") (result u32) (canon lift (core func $i "count")))
  (func (export "log") (result u32) (canon lift (core func $i "log")))
  (func (export "sum") (param "a" s64) (param "b" s64) (result s64) (canon lift (core func $i "sum")))
  (func (export "relay-sync") (param "x" u32) (result u32) (canon lift (core func $i "relay-sync")))
  (func $on-init (canon lift (core func $i "on-init")))
  (func $on-connect (canon lift (core func $i "on-connect")))
  (func $on-disconnect (param "reason" string)
    (canon lift (core func $i "on-disconnect") (memory $libc "memory") (realloc (func $i "realloc"))))
  (instance $lifecycle
    (export "on-init" (func $on-init))
    (export "on-connect" (func $on-connect))
    (export "on-disconnect" (func $on-disconnect)))
  (export "daffi:runtime/lifecycle@0.1.0" (instance $lifecycle))
)
"#;

/// Async functions that go on when they have returned: `leave` asks, and asks again with what it was answered until that
/// is 0; `churn` computes, and lets others in now and then. `work` computes for so many turns before it returns.
pub const LEFTOVERS: &str = r#"
(component
  (import "test:peer/api" (instance $peer (export "ask" (func async (param "x" u32) (result u32)))))
  (core module $libc (memory (export "memory") 1))
  (core instance $libc (instantiate $libc))
  (core func $ask (canon lower (func $peer "ask") async (memory $libc "memory")))
  (core func $return (canon task.return (result u32)))
  (core func $return-nothing (canon task.return))
  (core func $new-set (canon waitable-set.new))
  (core func $join (canon waitable.join))
  (core func $drop-subtask (canon subtask.drop))
  (core func $drop-set (canon waitable-set.drop))
  (core module $m
    (import "libc" "memory" (memory 1))
    (import "host" "ask" (func $ask (param i32 i32) (result i32)))
    (import "host" "return" (func $return (param i32)))
    (import "host" "return-nothing" (func $return-nothing))
    (import "host" "new-set" (func $new-set (result i32)))
    (import "host" "join" (func $join (param i32 i32)))
    (import "host" "drop-subtask" (func $drop-subtask (param i32)))
    (import "host" "drop-set" (func $drop-set (param i32)))
    (global $count (mut i32) (i32.const 0))
    (global $set (mut i32) (i32.const 0))
    (func $compute (param $turns i32)
      (loop
        (local.set $turns (i32.sub (local.get $turns) (i32.const 1)))
        (br_if 0 (local.get $turns))))
    (func $ask-and-wait (param $x i32) (result i32)
      (call $join (i32.shr_u (call $ask (local.get $x) (i32.const 64)) (i32.const 4)) (global.get $set))
      (i32.or (i32.shl (global.get $set) (i32.const 4)) (i32.const 2)))
    (func (export "leave") (param $x i32) (result i32)
      (global.set $count (i32.add (global.get $count) (i32.const 1)))
      (call $return (local.get $x))
      (global.set $set (call $new-set))
      (call $ask-and-wait (local.get $x)))
    (func (export "left") (param $event i32) (param $waitable i32) (param $code i32) (result i32)
      (if (i32.ne (local.get $code) (i32.const 2))
        (then (return (i32.or (i32.shl (global.get $set) (i32.const 4)) (i32.const 2)))))
      (call $drop-subtask (local.get $waitable))
      (if (i32.eqz (i32.load (i32.const 64)))
        (then (call $drop-set (global.get $set)) (return (i32.const 0))))
      (call $ask-and-wait (i32.load (i32.const 64))))
    (func (export "churn") (result i32)
      (global.set $count (i32.add (global.get $count) (i32.const 1)))
      (call $return-nothing)
      (i32.const 1))
    (func (export "churning") (param i32 i32 i32) (result i32) (call $compute (i32.const 100000)) (i32.const 1))
    (func (export "work") (param $turns i32) (result i32)
      (call $compute (local.get $turns)) (call $return-nothing) (i32.const 0))
    (func (export "never") (param i32 i32 i32) (result i32) unreachable)
    (func (export "count") (result i32) (global.get $count))
  )
  (core instance $i (instantiate $m
    (with "libc" (instance $libc))
    (with "host" (instance
      (export "ask" (func $ask)) (export "return" (func $return)) (export "return-nothing" (func $return-nothing))
      (export "new-set" (func $new-set)) (export "join" (func $join)) (export "drop-subtask" (func $drop-subtask))
      (export "drop-set" (func $drop-set))))))
  (func (export "leave") async (param "x" u32) (result u32)
    (canon lift (core func $i "leave") async (callback (func $i "left"))))
  (func (export "churn") async (canon lift (core func $i "churn") async (callback (func $i "churning"))))
  (func (export "work") async (param "turns" u32)
    (canon lift (core func $i "work") async (callback (func $i "never"))))
  (func (export "count") (result u32) (canon lift (core func $i "count")))
)
"#;

/// A dynamic call with JSON: gives the result's JSON, or the error's code.
pub const DYNAMIC: &str = r#"
(component
  (import "daffi:runtime/types@0.1.0" (instance $types
    (type $outcome0 (enum "not-run" "failed" "unknown"))
    (export "outcome" (type $outcome (eq $outcome0)))
    (type $text (option string))
    (type $error0 (record
      (field "outcome" $outcome) (field "code" string) (field "message" string) (field "callback" string)
      (field "process" $text) (field "retryable" bool) (field "trace" $text)))
    (export "call-error" (type (eq $error0)))
    (type $value0 (variant (case "postcard" (list u8)) (case "json" string) (case "wave" string)))
    (export "value" (type (eq $value0)))
    (type $milliseconds0 u64)
    (export "milliseconds" (type (eq $milliseconds0)))))
  (alias export $types "call-error" (type $call-error))
  (alias export $types "value" (type $value))
  (alias export $types "milliseconds" (type $milliseconds))
  (import "daffi:runtime/call@0.1.0" (instance $call
    (export "call-error" (type $error (eq $call-error)))
    (export "value" (type $val (eq $value)))
    (export "milliseconds" (type $ms (eq $milliseconds)))
    (type $timeout (option $ms))
    (type $text (option string))
    (type $retry0 (record (field "attempts" u32) (field "pause" $timeout) (field "idempotent" bool)))
    (export "retry" (type $retry (eq $retry0)))
    (type $maybe-retry (option $retry))
    (type $options0 (record
      (field "timeout" $timeout) (field "receiver" $text) (field "wait-ready" bool) (field "retry" $maybe-retry)))
    (export "fg-options" (type $options (eq $options0)))
    (type $maybe-options (option $options))
    (type $result (result $val (error $error)))
    (export "fg" (func
      (param "callback" string) (param "arguments" $val) (param "options" $maybe-options) (result $result)))))
  (core module $libc
    (memory (export "memory") 1)
    (global $next (mut i32) (i32.const 4096))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (global.set $next (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
      (global.get $next)
      (global.set $next (i32.add (global.get $next) (local.get 3)))))
  (core instance $libc (instantiate $libc))
  (core func $fg (canon lower (func $call "fg") (memory $libc "memory") (realloc (func $libc "realloc"))))
  (core module $m
    (import "libc" "memory" (memory 1))
    (import "call" "fg" (func $fg (param i32 i32)))
    ;; The parameters are more than fit into registers: they lie at 1024, and the options that are not given are zero.
    ;; Both cases of the result have a text at the same place: the value's, or the error's code.
    (func (export "dynamic") (param $name i32) (param $name-len i32) (param $json i32) (param $json-len i32)
      (param $timeout i64) (result i32)
      (i32.store (i32.const 1024) (local.get $name))
      (i32.store (i32.const 1028) (local.get $name-len))
      (i32.store8 (i32.const 1032) (i32.const 1))
      (i32.store (i32.const 1036) (local.get $json))
      (i32.store (i32.const 1040) (local.get $json-len))
      (i32.store8 (i32.const 1048) (i32.const 1))
      (i32.store8 (i32.const 1056) (i32.const 1))
      (i64.store (i32.const 1064) (local.get $timeout))
      (call $fg (i32.const 1024) (i32.const 16))
      (i32.const 24)))
  (core instance $i (instantiate $m
    (with "libc" (instance $libc)) (with "call" (instance (export "fg" (func $fg))))))
  (func (export "dynamic") (param "callback" string) (param "json" string) (param "timeout" u64) (result string)
    (canon lift (core func $i "dynamic") (memory $libc "memory") (realloc (func $libc "realloc"))))
)
"#;

/// Clocks of WASI 0.2: `sleep` waits, `hoard` keeps that many pollables.
pub const CLOCKS: &str = r#"
(component
  (import "wasi:io/poll@0.2.0" (instance $poll
    (export "pollable" (type $pollable (sub resource)))
    (type $borrowed (borrow $pollable))
    (export "[method]pollable.block" (func (param "self" $borrowed)))))
  (alias export $poll "pollable" (type $pollable))
  (import "wasi:clocks/monotonic-clock@0.2.3" (instance $clock
    (export "pollable" (type $same (eq $pollable)))
    (type $owned (own $same))
    (export "subscribe-duration" (func (param "when" u64) (result $owned)))))
  (core func $subscribe (canon lower (func $clock "subscribe-duration")))
  (core func $block (canon lower (func $poll "[method]pollable.block")))
  (core func $drop (canon resource.drop $pollable))
  (core module $m
    (import "host" "subscribe" (func $subscribe (param i64) (result i32)))
    (import "host" "block" (func $block (param i32)))
    (import "host" "drop" (func $drop (param i32)))
    (func (export "sleep") (param i64) (local $p i32)
      (local.set $p (call $subscribe (local.get 0)))
      (call $block (local.get $p))
      (call $drop (local.get $p)))
    (func (export "hoard") (param i32)
      (loop
        (drop (call $subscribe (i64.const 1)))
        (local.set 0 (i32.sub (local.get 0) (i32.const 1)))
        (br_if 0 (local.get 0)))))
  (core instance $i (instantiate $m (with "host" (instance
    (export "subscribe" (func $subscribe)) (export "block" (func $block)) (export "drop" (func $drop))))))
  (func (export "sleep") (param "nanoseconds" u64) (canon lift (core func $i "sleep")))
  (func (export "hoard") (param "count" u32) (canon lift (core func $i "hoard")))
)
"#;

/// A component whose `wasi:cli/run` does this.
pub fn runner(body: &str) -> String {
    format!(
        r#"(component
          (core module $m (memory 1) (func (export "run") (result i32) {body}))
          (core instance $i (instantiate $m))
          (func $run (result (result)) (canon lift (core func $i "run")))
          (instance $cli (export "run" (func $run)))
          (export "wasi:cli/run@0.2.3" (instance $cli)))"#
    )
}

/// The same in WASI 0.3: an async function that returns `ok`, or what the body does.
pub fn async_runner(body: &str) -> String {
    format!(
        r#"(component
          (core func $return (canon task.return (result (result))))
          (core module $m
            (import "host" "return" (func $return (param i32)))
            (func (export "run") (result i32) {body} (call $return (i32.const 0)) (i32.const 0))
            (func (export "never") (param i32 i32 i32) (result i32) unreachable))
          (core instance $i (instantiate $m (with "host" (instance (export "return" (func $return))))))
          (func $run async (result (result))
            (canon lift (core func $i "run") async (callback (func $i "never"))))
          (instance $cli (export "run" (func $run)))
          (export "wasi:cli/run@0.3.0" (instance $cli)))"#
    )
}
