//! Streams and futures of random types through guests that know only their layout, and guests that mean harm.

use std::fmt::Write as _;

use bytes::Bytes;
use daffi_proto::stream::{CHUNK_ITEMS, Chunk};
use futures::future::join;
use proptest::prelude::*;

use super::guest::{ENCODINGS, MEMORY};
use super::types::{Scope, Ty, any_type, define};
use super::values::{Random, value};
use super::{CONCURRENT, Guest, Host, run};
use crate::guest::transcode::stream::{Drain, Feed, ItemRoom, OnFailure, Terms, ToGuest, feed};
use crate::guest::transcode::{DynFunc, TranscodeError};

/// How many items the guest reads at most at once.
const BUFFER_ITEMS: usize = 100;

/// A component of `async` functions that do in their callback, one after another, what the streams need; what the
/// canonical ABI lays into memory goes back as it lies there.
///
/// * `echo: func(s: stream<T>) -> stream<T>`, `echo-value: func(f: future<T>) -> future<T>`
/// * `hostile: func(image: list<u8>, at: u32, count: u32) -> stream<T>` writes the items that the image makes of the
///   place `at`
/// * `read: func(s: stream<T>, at: u32, count: u32)` reads them to this place
fn stream_guest(ty: &Ty, encoding: &str) -> String {
    let (mut instance, mut component) = (String::new(), String::new());
    define(ty, Scope::Instance, &mut instance);
    let t = define(ty, Scope::Component, &mut component);
    let size = ty.layout().0;
    let options = format!("(memory $memory) string-encoding={encoding}");
    let realloc = "(realloc (func $realloc))";
    let mut out = String::new();
    let lift = |export: &str| {
        format!(
            "(canon lift (core func $main \"{export}\") {options} {realloc} async (callback (func $main \"{export}-on\")))"
        )
    };
    write!(
        out,
        r#"(component
(import "host" (instance $host {instance}))
{component}{MEMORY}
(type $s (stream {t}))
(type $f (future {t}))
(core func $s.new (canon stream.new $s))
(core func $s.read (canon stream.read $s {options} {realloc}))
(core func $s.write (canon stream.write $s {options}))
(core func $s.close-read (canon stream.drop-readable $s))
(core func $s.close-write (canon stream.drop-writable $s))
(core func $s.return (canon task.return (result $s) {options}))
(core func $f.new (canon future.new $f))
(core func $f.read (canon future.read $f {options} {realloc}))
(core func $f.write (canon future.write $f {options}))
(core func $f.close-read (canon future.drop-readable $f))
(core func $f.close-write (canon future.drop-writable $f))
(core func $f.return (canon task.return (result $f) {options}))
(core func $return (canon task.return))
(core module $Main
  (import "mem" "memory" (memory 1))
  (import "mem" "realloc" (func $realloc (param i32 i32 i32 i32) (result i32)))
  (import "s" "new" (func $s.new (result i64)))
  (import "s" "read" (func $s.read (param i32 i32 i32) (result i32)))
  (import "s" "write" (func $s.write (param i32 i32 i32) (result i32)))
  (import "s" "close-read" (func $s.close-read (param i32)))
  (import "s" "close-write" (func $s.close-write (param i32)))
  (import "s" "return" (func $s.return (param i32)))
  (import "f" "new" (func $f.new (result i64)))
  (import "f" "read" (func $f.read (param i32 i32) (result i32)))
  (import "f" "write" (func $f.write (param i32 i32) (result i32)))
  (import "f" "close-read" (func $f.close-read (param i32)))
  (import "f" "close-write" (func $f.close-write (param i32)))
  (import "f" "return" (func $f.return (param i32)))
  (import "s" "done" (func $return))
  (global $in (mut i32) (i32.const 0))
  (global $out (mut i32) (i32.const 0))
  (global $at (mut i32) (i32.const 0))
  (global $count (mut i32) (i32.const 0))
  (func $s.open (local $pair i64)
    (local.set $pair (call $s.new))
    (global.set $out (i32.wrap_i64 (i64.shr_u (local.get $pair) (i64.const 32))))
    (call $s.return (i32.wrap_i64 (local.get $pair))))
  (func $write (param $at i32) (param $count i32) (result i32) (local $code i32)
    (loop $more
      (if (i32.eqz (local.get $count)) (then (return (i32.const 0))))
      (local.set $code (call $s.write (global.get $out) (local.get $at) (local.get $count)))
      (local.set $at (i32.add (local.get $at)
        (i32.mul (i32.shr_u (local.get $code) (i32.const 4)) (i32.const {size}))))
      (local.set $count (i32.sub (local.get $count) (i32.shr_u (local.get $code) (i32.const 4))))
      (br_if $more (i32.eqz (i32.and (local.get $code) (i32.const 15)))))
    (i32.const 1))
  (func $buffer
    (global.set $at (call $realloc (i32.const 0) (i32.const 0) (i32.const 8) (i32.const {buffer}))))
  (func (export "echo") (param i32) (result i32)
    (global.set $in (local.get 0)) (call $buffer) (call $s.open) (i32.const 1))
  (func (export "echo-on") (param i32 i32 i32) (result i32) (local $code i32)
    (block $done (loop $more
      (local.set $code (call $s.read (global.get $in) (global.get $at) (i32.const {BUFFER_ITEMS})))
      (br_if $done (call $write (global.get $at) (i32.shr_u (local.get $code) (i32.const 4))))
      (br_if $more (i32.eqz (i32.and (local.get $code) (i32.const 15))))))
    (call $s.close-read (global.get $in)) (call $s.close-write (global.get $out)) (i32.const 0))
  (func (export "echo-value") (param i32) (result i32) (local $pair i64)
    (global.set $in (local.get 0)) (call $buffer)
    (local.set $pair (call $f.new))
    (global.set $out (i32.wrap_i64 (i64.shr_u (local.get $pair) (i64.const 32))))
    (call $f.return (i32.wrap_i64 (local.get $pair))) (i32.const 1))
  (func (export "echo-value-on") (param i32 i32 i32) (result i32)
    (if (call $f.read (global.get $in) (global.get $at)) (then unreachable))
    (if (call $f.write (global.get $out) (global.get $at)) (then unreachable))
    (call $f.close-read (global.get $in)) (call $f.close-write (global.get $out)) (i32.const 0))
  (func (export "hostile") (param i32 i32 i32 i32) (result i32)
    (memory.copy (i32.const 0) (local.get 0) (local.get 1))
    (global.set $at (local.get 2)) (global.set $count (local.get 3)) (call $s.open) (i32.const 1))
  (func (export "hostile-on") (param i32 i32 i32) (result i32)
    (drop (call $write (global.get $at) (global.get $count))) (call $s.close-write (global.get $out)) (i32.const 0))
  (func (export "read") (param i32 i32 i32) (result i32)
    (global.set $in (local.get 0)) (global.set $at (local.get 1)) (global.set $count (local.get 2)) (i32.const 1))
  (func (export "read-on") (param i32 i32 i32) (result i32)
    (drop (call $s.read (global.get $in) (global.get $at) (global.get $count)))
    (call $s.close-read (global.get $in)) (call $return) (i32.const 0)))
(core instance $main (instantiate $Main (with "mem" (instance $mem))
  (with "s" (instance (export "new" (func $s.new)) (export "read" (func $s.read)) (export "write" (func $s.write))
    (export "close-read" (func $s.close-read)) (export "close-write" (func $s.close-write))
    (export "return" (func $s.return)) (export "done" (func $return))))
  (with "f" (instance (export "new" (func $f.new)) (export "read" (func $f.read)) (export "write" (func $f.write))
    (export "close-read" (func $f.close-read)) (export "close-write" (func $f.close-write))
    (export "return" (func $f.return))))))
(func (export "echo") async (param "s" $s) (result $s) {echo})
(func (export "echo-value") async (param "f" $f) (result $f) {echo_value})
(func (export "hostile") async (param "image" (list u8)) (param "at" u32) (param "count" u32) (result $s) {hostile})
(func (export "read") async (param "s" $s) (param "at" u32) (param "count" u32) {read}))"#,
        buffer = size * BUFFER_ITEMS,
        echo = lift("echo"),
        echo_value = lift("echo-value"),
        hostile = lift("hostile"),
        read = lift("read"),
    )
    .unwrap();
    out
}

/// The host's ends of a call's streams, as the test uses them inside of `run_concurrent`.
async fn with_stream<R: Send + 'static>(
    guest: &mut Guest,
    name: &str,
    args: Vec<u8>,
    test: impl AsyncFnOnce(Feed, Vec<Drain>) -> R + Send,
) -> wasmtime::Result<R> {
    let function: DynFunc = guest.dynamic(name);
    let terms =
        Terms { witness: guest.store.data().life.witness(), max_item_bytes: 1 << 20, room: ItemRoom::new(1 << 22) };
    let (feed, inflow) = feed(OnFailure::Trap);
    let args = ToGuest { bytes: Bytes::from(args), inflows: vec![inflow] };
    let call = async |accessor: &wasmtime::component::Accessor<Host>| {
        let given = function.call_streaming(accessor, args, terms, |_, _| {}).await?;
        Ok(test(feed, given.drains).await)
    };
    guest.store.run_concurrent(call).await?
}

/// Sends values through an echo in chunks, and gives what came back.
async fn echo(guest: &mut Guest, name: &str, chunks: Vec<Vec<Vec<u8>>>) -> wasmtime::Result<Vec<u8>> {
    with_stream(guest, name, vec![0], async move |mut feed, drains| {
        let feeding = async move {
            for chunk in chunks {
                feed.ready().await.unwrap();
                feed.put(Chunk { count: chunk.len() as u32, bytes: chunk.concat().into() }).unwrap();
            }
            feed.finish();
        };
        let draining = async move {
            let mut back = Vec::new();
            for mut drain in drains {
                while let Some(chunk) = drain.next().await.unwrap() {
                    back.extend_from_slice(&chunk.bytes);
                }
            }
            back
        };
        join(feeding, draining).await.1
    })
    .await
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn items_of_any_type_come_back_in_order(
        // The component model has no `stream<char>` yet.
        ty in any_type().prop_filter("no stream<char>", |ty| !matches!(ty, Ty::Char)),
        seed: u64,
        encoding in 0_usize..3,
        lengths in prop::collection::vec(1..=CHUNK_ITEMS, 0..4),
    ) {
        run(async {
            let mut guest = Guest::new(&CONCURRENT, &stream_guest(&ty, ENCODINGS[encoding])).await;
            let mut random = Random::new(seed);
            let mut chunk = |count| (0..count).map(|_| value(&ty, &mut random)).collect::<Vec<_>>();
            let chunks: Vec<_> = lengths.iter().map(|count| chunk(*count)).collect();
            let one = chunk(1);
            assert_eq!(echo(&mut guest, "echo", chunks.clone()).await.unwrap(), chunks.concat().concat());
            assert_eq!(echo(&mut guest, "echo-value", vec![one.clone()]).await.unwrap(), one.concat());
        });
    }
}

#[test]
fn each_kind_of_type_is_an_item() {
    run(async {
        let flags = [1, 8, 9, 17, 32].map(Ty::Flags);
        let others = [
            Ty::Bool,
            Ty::S8,
            Ty::U8,
            Ty::U16,
            Ty::S32,
            Ty::F32,
            Ty::F64,
            Ty::Option(Box::new(Ty::Char)),
            Ty::String,
            Ty::Enum(300),
            Ty::List(Box::new(Ty::U8)),
            Ty::Option(Box::new(Ty::U64)),
            Ty::Result(None, Some(Box::new(Ty::String))),
            Ty::Variant(vec![None, Some(Ty::F64), Some(Ty::String)]),
            Ty::Record(vec![Ty::U8, Ty::S64, Ty::U16]),
        ];
        for ty in flags.into_iter().chain(others) {
            let mut guest = Guest::new(&CONCURRENT, &stream_guest(&ty, "utf8")).await;
            let mut random = Random::new(7);
            let chunk: Vec<_> = (0..CHUNK_ITEMS).map(|_| value(&ty, &mut random)).collect();
            let back = echo(&mut guest, "echo", vec![chunk.clone(), chunk.clone()]).await.unwrap();
            assert_eq!(back, [chunk.concat(), chunk.concat()].concat(), "{ty:?}");
            let one = vec![value(&ty, &mut random)];
            assert_eq!(echo(&mut guest, "echo-value", vec![one.clone()]).await.unwrap(), one.concat(), "{ty:?}");
        }
    });
}

/// What `hostile` of a type makes of words at 0.
async fn written(ty: &Ty, words: &[u32], at: u32, count: u32) -> wasmtime::Result<Vec<u8>> {
    let image: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let mut guest = Guest::new(&CONCURRENT, &stream_guest(ty, "utf8")).await;
    let args = postcard::to_stdvec(&(image, at, count)).unwrap();
    with_stream(&mut guest, "hostile", args, async |_, drains| {
        let mut back = Vec::new();
        for mut drain in drains {
            // The trap ends the whole of `run_concurrent`: this never ends then.
            while let Some(chunk) = drain.next().await.unwrap() {
                back.extend_from_slice(&chunk.bytes);
            }
        }
        back
    })
    .await
}

#[test]
fn a_guest_that_writes_what_is_no_item_is_ended() {
    run(async {
        let point = Ty::Record(vec![Ty::U32, Ty::Option(Box::new(Ty::Char))]);
        // Two items, the second one's char is a surrogate.
        let error = written(&point, &[7, 1, 0x61, 8, 1, 0xd800], 0, 2).await.unwrap_err();
        let Some(TranscodeError::BadGuestValue { path, problem }) = error.downcast_ref() else { panic!("{error:?}") };
        assert_eq!((&path[..], &problem[..]), ("[1].f1.some", "0xd800 is no char"));
        assert_eq!(written(&point, &[7, 1, 0x61, 8, 0, 0], 0, 2).await.unwrap(), [7, 1, 1, 0x61, 8, 0]);

        // Not aligned; beyond the memory; a string beyond the memory.
        assert!(written(&Ty::U32, &[1, 2, 3], 2, 1).await.is_err());
        assert!(written(&Ty::U32, &[], 0xffff_0000, 1).await.is_err());
        assert!(written(&Ty::U8, &[], 0xffff_0000, 1).await.is_err());
        assert!(written(&Ty::U64, &[], 0, 1 << 27).await.is_err());
        assert!(written(&Ty::String, &[0xffff_0000, 4], 0, 1).await.is_err());
        assert!(written(&Ty::U64, &[], 0, 1 << 28).await.is_err());
    });
}

#[test]
fn a_guest_that_reads_to_where_it_cannot_is_ended() {
    run(async {
        for (at, count, fits) in [(512_u32, 4_u32, true), (514, 4, false), (0xffff_fffc, 1, false)] {
            let mut guest = Guest::new(&CONCURRENT, &stream_guest(&Ty::U32, "utf8")).await;
            // The parameters are lowered before the stream has anything.
            let args = postcard::to_stdvec(&(0_u32, at, count)).unwrap();
            let function = guest.dynamic("read");
            let terms =
                Terms { witness: guest.store.data().life.witness(), max_item_bytes: 100, room: ItemRoom::new(400) };
            let (mut feed, inflow) = feed(OnFailure::Trap);
            feed.put(Chunk { count: 2, bytes: Bytes::from_static(&[1, 2]) }).unwrap();
            let args = ToGuest { bytes: args.into(), inflows: vec![inflow] };
            let outcome = guest
                .store
                .run_concurrent(async |accessor| function.call_streaming(accessor, args, terms, |_, _| {}).await)
                .await;
            assert_eq!(outcome.and_then(|inner| inner).is_ok(), fits, "{at:#x}");
        }
    });
}

#[test]
fn a_channel_that_was_not_given_is_refused() {
    run(async {
        for args in [&[1][..], &[0x80]] {
            let mut guest = Guest::new(&CONCURRENT, &stream_guest(&Ty::U32, "utf8")).await;
            let error = with_stream(&mut guest, "echo", args.to_vec(), async |_, _| ()).await.unwrap_err();
            assert!(matches!(error.downcast_ref(), Some(TranscodeError::BadBytes { .. })), "{error:?}");
        }
    });
}

#[test]
fn a_call_that_knows_of_no_streams_gets_none() {
    run(async {
        let mut guest = Guest::new(&CONCURRENT, &stream_guest(&Ty::U32, "utf8")).await;
        let args = postcard::to_stdvec(&(Vec::<u8>::new(), 0_u32, 0_u32)).unwrap();
        let error = guest.call_concurrent("hostile", &args).await.unwrap_err();
        assert!(matches!(error.downcast_ref(), Some(TranscodeError::Unsupported { .. })), "{error:?}");
        let mut guest = Guest::new(&CONCURRENT, &stream_guest(&Ty::U32, "utf8")).await;
        assert!(guest.call_concurrent("echo", &[0]).await.is_err());
    });
}
