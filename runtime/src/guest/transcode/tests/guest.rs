//! Components in WAT that pass values of any type on.
//!
//! A guest that was compiled from source knows its types; these know only their layout. `relay` gives its parameter to
//! the import `f` and `f`'s result back: what a core function of that type gets and gives are the same slots or
//! pointers, so nothing has to be taken apart. `echo-async` gives its slots to `task.return`, `relay-async` and
//! `spill-async` call async-lowered imports, and `hostile` returns whatever the test put into memory.

use std::fmt::Write as _;

use super::types::{Core, Scope, Ty, define};

/// The encodings of strings.
pub const ENCODINGS: [&str; 3] = ["utf8", "utf16", "latin1+utf16"];

/// Memory with an allocator that only goes forward; the first KiB is left to the hostile images.
pub const MEMORY: &str = r#"
(core module $Mem
  (memory (export "memory") 1)
  (global $next (mut i32) (i32.const 1024))
  (func (export "realloc") (param $old i32) (param $old_size i32) (param $align i32) (param $size i32) (result i32)
    (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $next) (i32.sub (local.get $align) (i32.const 1)))
                            (i32.sub (i32.const 0) (local.get $align))))
    (global.set $next (i32.add (local.get $at) (local.get $size)))
    (block $fits (loop $more
      (br_if $fits (i32.le_u (global.get $next) (i32.mul (memory.size) (i32.const 65536))))
      (if (i32.eq (memory.grow (i32.const 1)) (i32.const -1)) (then unreachable))
      (br $more)))
    (memory.copy (local.get $at) (local.get $old)
      (select (local.get $old_size) (local.get $size) (i32.lt_u (local.get $old_size) (local.get $size))))
    (local.get $at)))
(core instance $mem (instantiate $Mem))
(alias core export $mem "memory" (core memory $memory))
(alias core export $mem "realloc" (core func $realloc))
"#;

fn list_of(list: &[Core]) -> String {
    list.iter().map(|core| format!(" {}", core.name())).collect()
}

fn pass(count: usize) -> String {
    (0..count).map(|n| format!("(local.get {n})")).collect()
}

/// The slots of a parameter: itself, or a pointer where there are more than `most`.
fn parameter(ty: &Ty, most: usize) -> Vec<Core> {
    let flat = ty.flat();
    if flat.len() > most { vec![Core::I32] } else { flat }
}

/// A component with the import `host.f: func(v: T) -> T`, and the exports `relay: func(v: T) -> T` and
/// `hostile: func(image: list<u8>, at: u32) -> T`, which returns what the image makes of the place `at`.
pub fn sync_guest(ty: &Ty, encoding: &str) -> String {
    let (mut instance, mut component) = (String::new(), String::new());
    let imported = define(ty, Scope::Instance, &mut instance);
    let t = define(ty, Scope::Component, &mut component);
    let options = format!("(memory $memory) (realloc (func $realloc)) string-encoding={encoding}");
    let params = parameter(ty, 16);
    let (size, count) = (ty.layout().0, params.len());
    let call = format!("(call $f {}", pass(count));
    let (import, result, body, load) = match ty.flat()[..] {
        [only] => {
            let name = only.name();
            let load = format!("({name}.load (local.get 2))");
            (format!("(param{}) (result {name})", list_of(&params)), name, format!("{call})"), load)
        }
        _ => {
            let import = format!("(param{} i32)", list_of(&params));
            let place = format!("(call $realloc (i32.const 0) (i32.const 0) (i32.const 8) (i32.const {size}))");
            let body = format!("(local $at i32) (local.set $at {place}) {call} (local.get $at)) (local.get $at)");
            (import, "i32", body, "(local.get 2)".to_owned())
        }
    };
    format!(
        r#"(component
(import "host" (instance $host
{instance}(export "f" (func (param "v" {imported}) (result {imported})))))
{component}{MEMORY}
(alias export $host "f" (func $f))
(core func $core_f (canon lower (func $f) {options}))
(core module $Main
  (import "mem" "memory" (memory 1))
  (import "mem" "realloc" (func $realloc (param i32 i32 i32 i32) (result i32)))
  (import "host" "f" (func $f {import}))
  (func (export "relay") (param{params}) (result {result}) {body})
  (func (export "hostile") (param i32 i32 i32) (result {result})
    (memory.copy (i32.const 0) (local.get 0) (local.get 1))
    {load}))
(core instance $main (instantiate $Main
  (with "mem" (instance $mem)) (with "host" (instance (export "f" (func $core_f))))))
(func (export "relay") (param "v" {t}) (result {t}) (canon lift (core func $main "relay") {options}))
(func (export "hostile") (param "image" (list u8)) (param "at" u32) (result {t})
  (canon lift (core func $main "hostile") {options})))"#,
        params = list_of(&params),
    )
}

/// A component of `async` functions. Exports: `echo-async: func(v: T) -> T`, which returns its slots by `task.return`;
/// `relay-async: func(v: list<T>) -> list<T>`, which calls the import `g` of that type; and
/// `spill-async: func(v: list<T>, a: u32, b: u32, c: u32) -> list<T>`, which calls `h`, whose parameters are more than
/// the four that an async-lowered import takes in slots. The imports must be ready at once.
pub fn async_guest(ty: &Ty, encoding: &str) -> String {
    let list = Ty::List(Box::new(ty.clone()));
    let (mut instance, mut component) = (String::new(), String::new());
    let imported = define(&list, Scope::Instance, &mut instance);
    let l = define(&list, Scope::Component, &mut component);
    // The list is defined last, just after its items, whose text stands in it.
    let t = component.trim_end().rsplit_once("(list ").unwrap().1.trim_end_matches(')').to_owned();
    let options = format!("(memory $memory) string-encoding={encoding}");
    let realloc = "(realloc (func $realloc))";
    let params = parameter(ty, 16);
    let lift = format!("{options} {realloc} async (callback (func $main \"callback\"))");
    let mut out = String::new();
    let result = "(call $return_list (i32.load (local.get $at)) (i32.load (i32.add (local.get $at) (i32.const 4))))";
    let returned = "(if (i32.ne (i32.const 2)) (then unreachable))";
    write!(
        out,
        r#"(component
(import "host" (instance $host
{instance}(export "g" (func async (param "v" {imported}) (result {imported})))
(export "h" (func async (param "v" {imported}) (param "a" u32) (param "b" u32) (param "c" u32) (result {imported})))))
{component}{MEMORY}
(alias export $host "g" (func $g))
(alias export $host "h" (func $h))
(core func $core_g (canon lower (func $g) async {options} {realloc}))
(core func $core_h (canon lower (func $h) async {options} {realloc}))
(core func $return_t (canon task.return (result {t}) {options}))
(core func $return_l (canon task.return (result {l}) {options}))
(core module $Main
  (import "mem" "memory" (memory 1))
  (import "mem" "realloc" (func $realloc (param i32 i32 i32 i32) (result i32)))
  (import "host" "g" (func $g (param i32 i32 i32) (result i32)))
  (import "host" "h" (func $h (param i32 i32) (result i32)))
  (import "host" "return_t" (func $return_t (param{params})))
  (import "host" "return_l" (func $return_list (param i32 i32)))
  (func (export "callback") (param i32 i32 i32) (result i32) unreachable)
  (func (export "echo") (param{params}) (result i32) (call $return_t {args}) (i32.const 0))
  (func (export "relay") (param i32 i32) (result i32) (local $at i32)
    (local.set $at (call $realloc (i32.const 0) (i32.const 0) (i32.const 4) (i32.const 8)))
    (call $g (local.get 0) (local.get 1) (local.get $at)) {returned}
    {result} (i32.const 0))
  (func (export "spill") (param i32 i32 i32 i32 i32) (result i32) (local $at i32) (local $args i32)
    (local.set $at (call $realloc (i32.const 0) (i32.const 0) (i32.const 4) (i32.const 8)))
    (local.set $args (call $realloc (i32.const 0) (i32.const 0) (i32.const 4) (i32.const 20)))
    (i32.store offset=0 (local.get $args) (local.get 0))
    (i32.store offset=4 (local.get $args) (local.get 1))
    (i32.store offset=8 (local.get $args) (local.get 2))
    (i32.store offset=12 (local.get $args) (local.get 3))
    (i32.store offset=16 (local.get $args) (local.get 4))
    (call $h (local.get $args) (local.get $at)) {returned}
    {result} (i32.const 0)))
(core instance $main (instantiate $Main
  (with "mem" (instance $mem))
  (with "host" (instance (export "g" (func $core_g)) (export "h" (func $core_h))
    (export "return_t" (func $return_t)) (export "return_l" (func $return_l))))))
(func (export "echo-async") async (param "v" {t}) (result {t}) (canon lift (core func $main "echo") {lift}))
(func (export "relay-async") async (param "v" {l}) (result {l}) (canon lift (core func $main "relay") {lift}))
(func (export "spill-async") async (param "v" {l}) (param "a" u32) (param "b" u32) (param "c" u32) (result {l})
  (canon lift (core func $main "spill") {lift})))"#,
        params = list_of(&params),
        args = pass(params.len()),
    )
    .unwrap();
    out
}
