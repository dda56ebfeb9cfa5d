//! Nothing that walks over a value allocates more than its budget, whatever the input is. The allocator of this binary
//! counts what each thread holds.

#![expect(unsafe_code, reason = "a global allocator is unsafe to implement; this one hands on to the system's")]
#![expect(clippy::unwrap_used, reason = "the helpers of tests may fail as tests do")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use daffi_proto::signature::{Signature, SignatureBuilder, Type};
use daffi_proto::value::*;
use proptest::prelude::*;

#[path = "values/random.rs"]
mod random;

thread_local! {
    static HELD: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

fn count(added: usize, removed: usize) {
    // A thread that is ending has no counters any more.
    let _ = HELD.try_with(|held| {
        held.set(held.get().saturating_add(added).saturating_sub(removed));
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(held.get())));
    });
}

// SAFETY: every call is handed on to the system's allocator as it came; counting touches no memory of it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        count(0, layout.size());
        // SAFETY: the caller keeps the contract.
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // While a block is moved both are there.
        count(size, 0);
        count(0, layout.size());
        // SAFETY: the caller keeps the contract.
        unsafe { System.realloc(place, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// What `run` gives, and the most bytes that it held at a time beyond those held before.
fn peak<T>(run: impl FnOnce() -> T) -> (T, usize) {
    let before = HELD.get();
    PEAK.set(before);
    let result = run();
    (result, PEAK.get().saturating_sub(before))
}

const LIMITS: Limits = Limits { max_bytes: 4096, max_elements: 4096, max_text_bytes: 16_384 };

/// An error: its place, the words for its type (4 KiB at most, while they are cut), and near names.
const ERROR_BYTES: usize = 32 * 1024;

/// A vector that grows holds its old and its new block while it moves, and up to twice what it needs.
const GROWTH: usize = 4;

/// Runs everything that reads these bytes.
fn read_bytes(signature: &Signature, bytes: &[u8]) {
    let (result, held) = peak(|| check_args(signature, bytes, &LIMITS));
    match result {
        Ok(()) => assert_eq!(held, 0, "the check allocates nothing"),
        Err(_) => assert!(held <= ERROR_BYTES, "{held}"),
    }
    let tree = bytes.len().min(LIMITS.max_bytes) * size_of::<Value>() * GROWTH;
    let (_, held) = peak(|| decode_args(signature, bytes, &LIMITS));
    assert!(held <= tree + ERROR_BYTES, "{held} for {} bytes", bytes.len());
    let text = LIMITS.max_text_bytes * GROWTH;
    let (_, held) = peak(|| args_to_json(signature, bytes, &LIMITS));
    assert!(held <= text + ERROR_BYTES, "{held}");
    let (_, held) = peak(|| args_to_wave(signature, bytes, &LIMITS));
    assert!(held <= text + ERROR_BYTES, "{held}");
}

/// Runs everything that reads this text. Beside the bytes that are made there are copies of strings (as long as the
/// text), the places of the fields of records that are open, and tables of long lists of names.
fn read_text(signature: &Signature, text: &str) {
    let names = 256 * 1024;
    let most = (LIMITS.max_bytes + LIMITS.max_text_bytes) * GROWTH + names + ERROR_BYTES;
    let (_, held) = peak(|| args_from_json(signature, text, &LIMITS));
    assert!(held <= most, "{held} for {} bytes", text.len());
    let (_, held) = peak(|| args_from_wave(signature, text, &LIMITS));
    assert!(held <= most, "{held} for {} bytes", text.len());
}

fn of(ty: impl FnOnce(&mut SignatureBuilder) -> Type) -> Signature {
    let mut types = SignatureBuilder::new();
    let ty = ty(&mut types);
    types.function([("a", ty)], None).unwrap()
}

/// A type that is as deep as types may be.
fn deep(of_level: fn(&mut SignatureBuilder, Type) -> Type) -> Signature {
    of(|types| (0..daffi_proto::signature::MAX_DEPTH).fold(Type::U8, |ty, _| of_level(types, ty)))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_stay_within_the_budget(
        shapes in prop::collection::vec(random::shape(), 0..4),
        bytes in prop::collection::vec(prop_oneof![4 => 0..4_u8, 1 => any::<u8>()], 0..300),
    ) {
        read_bytes(&random::signature(&shapes), &bytes);
    }

    #[test]
    fn random_texts_stay_within_the_budget(
        shapes in prop::collection::vec(random::shape(), 0..4),
        text in "[\\[\\]{}(),:\"a-z0-9 -]{0,300}",
    ) {
        read_text(&random::signature(&shapes), &text);
    }

    #[test]
    fn values_stay_within_the_budget((shapes, values) in random::call()) {
        let signature = random::signature(&shapes);
        let large = Limits::default();
        let bytes = encode_args(&signature, &values, &large).unwrap();
        read_bytes(&signature, &bytes);
        read_text(&signature, &args_to_json(&signature, &bytes, &large).unwrap());
        read_text(&signature, &args_to_wave(&signature, &bytes, &large).unwrap());
    }
}

#[test]
fn lengths_that_promise_too_much_get_no_memory() {
    let huge = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
    let third = [0xab, 0xaa, 0xaa, 0xaa, 0x0a];
    for signature in [
        of(|_| Type::String),
        of(|_| Type::Char),
        of(|types| types.list(Type::U8)),
        of(|types| types.list(Type::F64)),
        of(|types| types.list(Type::String)),
        of(|types| {
            let wide = types.tuple([Type::F64; 1000]);
            types.list(wide)
        }),
        deep(SignatureBuilder::list),
    ] {
        read_bytes(&signature, &huge);
        read_bytes(&signature, &third);
        read_bytes(&signature, &[huge.as_slice(), &[0; 4000]].concat());
        read_bytes(&signature, &[[0x80, 0x1f].as_slice(), &[0; 4000]].concat());
    }
}

#[test]
fn nesting_bombs_end_where_the_type_does() {
    let small = of(|types| types.list(Type::U8));
    for part in ["[", "{\"a\":", "(", "some(", "{a: ", "[[],", "\"\\", "//", "{\"some\":", "ok("] {
        read_text(&small, &part.repeat(16_384 / part.len()));
        for of_level in [SignatureBuilder::list, SignatureBuilder::option] {
            read_text(&deep(of_level), &part.repeat(16_384 / part.len()));
        }
    }
    let limits = Limits::default();
    let signature = deep(SignatureBuilder::option);
    let bytes = [1; 101];
    assert_eq!(check_args(&signature, &bytes, &limits), Ok(()));
    let json = args_to_json(&signature, &bytes, &limits).unwrap();
    assert_eq!(args_from_json(&signature, &json, &limits).unwrap(), bytes);
    let wave = args_to_wave(&signature, &bytes, &limits).unwrap();
    assert_eq!(args_from_wave(&signature, &wave, &limits).unwrap(), bytes);
}

#[test]
fn a_type_of_two_to_the_hundred_nodes_is_walked_no_further_than_its_bytes() {
    let doubled = deep(|types, ty| types.tuple([ty, ty]));
    read_bytes(&doubled, &[0; 4096]);
    read_text(&doubled, &"[".repeat(4096));
    read_text(&doubled, &"(".repeat(4096));
}

#[test]
fn a_long_string_of_escapes_needs_no_stack() {
    let limits = Limits::default();
    let signature = of(|_| Type::String);
    for escape in ["\\n", "\\u{1}"] {
        let text = format!("(\"{}\")", escape.repeat(1_000_000));
        assert!(args_from_wave(&signature, &text, &limits).is_ok());
    }
    let text = format!("[\"{}\"]", "\\u0001é".repeat(1_000_000));
    let bytes = args_from_json(&signature, &text, &limits).unwrap();
    assert_eq!(
        args_from_wave(&signature, &args_to_wave(&signature, &bytes, &limits).unwrap(), &limits).unwrap(),
        bytes
    );
}
