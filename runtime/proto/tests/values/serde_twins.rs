//! Rust types with serde derives and their WIT twins have the same bytes.

use daffi_proto::signature::{SignatureBuilder, Type};
use daffi_proto::value::{Limits, check_args, check_result, decode_args, decode_result, encode_args, encode_result};
use serde::Serialize;
use serde::de::DeserializeOwned;

#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
struct Item {
    name: String,
    price: f64,
    weight: f32,
    tags: Vec<String>,
    size: Option<(u16, i16)>,
}

#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
enum Shape {
    Nothing,
    Circle(f64),
    Named(Item),
    Pair((i8, u8)),
}

#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
enum Color {
    Red,
    Green,
}

fn item(types: &mut SignatureBuilder) -> Type {
    let tags = types.list(Type::String);
    let pair = types.tuple([Type::U16, Type::S16]);
    let size = types.option(pair);
    types.record([("name", Type::String), ("price", Type::F64), ("weight", Type::F32), ("tags", tags), ("size", size)])
}

fn some_item() -> Item {
    Item {
        name: "Süßstoff\0".to_owned(),
        price: -0.1,
        weight: f32::MIN_POSITIVE,
        tags: vec![String::new(), "a".repeat(300)],
        size: Some((u16::MAX, i16::MIN)),
    }
}

/// Each Rust value encodes to bytes that pass the check for its WIT type, are what our own encoder makes of them, and
/// decode to the same Rust value.
fn twins<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(
    ty: impl Fn(&mut SignatureBuilder) -> Type,
    values: impl IntoIterator<Item = T>,
) {
    let limits = Limits::default();
    let mut types = SignatureBuilder::new();
    let result = ty(&mut types);
    let signature = types.function([], Some(result)).unwrap();
    for value in values {
        let bytes = postcard::to_stdvec(&value).unwrap();
        assert_eq!(check_result(&signature, &bytes, &limits), Ok(()), "{value:?}");
        let tree = decode_result(&signature, &bytes, &limits).unwrap();
        let again = encode_result(&signature, tree.as_ref(), &limits).unwrap();
        assert_eq!(again, bytes, "{value:?}");
        assert_eq!(postcard::from_bytes::<T>(&again).unwrap(), value);
    }
}

#[test]
fn integers_have_the_bytes_that_serde_gives_them() {
    twins(|_| Type::Bool, [false, true]);
    twins(|_| Type::S8, [0, 1, -1, i8::MIN, i8::MAX]);
    twins(|_| Type::U8, [0, 127, 128, u8::MAX]);
    twins(|_| Type::S16, [0, 63, 64, -64, -65, i16::MIN, i16::MAX]);
    twins(|_| Type::U16, [0, 127, 128, 16383, 16384, u16::MAX]);
    twins(|_| Type::S32, [0, -1, i32::MIN, i32::MAX]);
    twins(|_| Type::U32, [0, 1 << 28, u32::MAX]);
    twins(|_| Type::S64, [0, -1, i64::MIN, i64::MAX]);
    twins(|_| Type::U64, [0, 1 << 63, u64::MAX]);
}

#[test]
fn floats_and_texts_have_the_bytes_that_serde_gives_them() {
    twins(|_| Type::F32, [0.0, -0.0, f32::MAX, f32::INFINITY]);
    twins(|_| Type::F64, [0.0, -0.0, f64::MIN_POSITIVE, f64::NEG_INFINITY]);
    twins(|_| Type::Char, ['a', '\0', 'ß', '€', '\u{10ffff}']);
    twins(|_| Type::String, ["", "daffi", "ß€𝄞"].map(str::to_owned));
}

#[test]
fn compounds_have_the_bytes_that_serde_gives_them() {
    twins(item, [some_item()]);
    twins(|types| types.list(Type::U8), [vec![], vec![0_u8, 255], vec![7; 1000]]);
    twins(|types| types.list(Type::S64), [vec![], vec![0_i64, -1, i64::MAX]]);
    twins(|types| types.option(Type::Bool), [None, Some(true)]);
    twins(|types| types.tuple([Type::U8, Type::String]), [(7_u8, "x".to_owned())]);
    twins(
        |types| {
            let inner = types.option(Type::U32);
            types.option(inner)
        },
        [None, Some(None), Some(Some(300_u32))],
    );
    twins(|types| types.result(Some(Type::U32), Some(Type::String)), [Ok(300_u32), Err("no".to_owned())]);
    twins(|types| types.result(None, None), [Ok(()), Err(())]);
    twins(|types| types.enumeration(["red", "green"]), [Color::Red, Color::Green]);
    twins(
        |types| {
            let named = item(types);
            let pair = types.tuple([Type::S8, Type::U8]);
            types.variant([
                ("nothing", None),
                ("circle", Some(Type::F64)),
                ("named", Some(named)),
                ("pair", Some(pair)),
            ])
        },
        [Shape::Nothing, Shape::Circle(1.5), Shape::Named(some_item()), Shape::Pair((-1, 255))],
    );
}

#[test]
fn flags_are_little_endian_bytes() {
    let names: Vec<String> = (0..32).map(|at| format!("f{at}")).collect();
    let of = |count: usize| {
        let names: Vec<&str> = names.iter().take(count).map(String::as_str).collect();
        move |types: &mut SignatureBuilder| types.flags(names.iter().copied())
    };
    twins(of(1), [[0_u8], [1]]);
    twins(of(8), [[0_u8], [255]]);
    twins(of(9), [[1_u8, 0], [255, 1]]);
    twins(of(16), [[255_u8, 128]]);
    twins(of(20), [[1_u8, 2, 15]]);
    twins(of(32), [[1_u8, 2, 3, 255]]);
}

#[test]
fn arguments_are_a_tuple() {
    let limits = Limits::default();
    let mut types = SignatureBuilder::new();
    let item = item(&mut types);
    let signature = types.function([("a", Type::S64), ("b", item), ("c", Type::Char)], None).unwrap();
    let bytes = postcard::to_stdvec(&(-5_i64, some_item(), '€')).unwrap();
    assert_eq!(check_args(&signature, &bytes, &limits), Ok(()));
    let values = decode_args(&signature, &bytes, &limits).unwrap();
    assert_eq!(encode_args(&signature, &values, &limits).unwrap(), bytes);
    assert_eq!(check_result(&signature, &[], &limits), Ok(()));
    let none = types.function([], None).unwrap();
    assert_eq!(check_args(&none, &postcard::to_stdvec(&()).unwrap(), &limits), Ok(()));
}
