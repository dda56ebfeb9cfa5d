//! What both callers send.

use crate::samples;
use crate::test::conformance::types::{Color, Item, Mixed, Nested, NineFlags, Params, SeventeenFlags, Shape};

/// The largest 64-bit integers to send, in magnitude: EXACT_BITS=53 for callees whose language has only f64. Where that
/// is set, u32 ends where s32 does too: QuickJS's bindings take larger ones for negative numbers.
fn limit() -> u64 {
    let bits = std::env::var("EXACT_BITS").ok().and_then(|bits| bits.parse().ok()).unwrap_or(64u32);
    u64::MAX >> 64u32.saturating_sub(bits)
}

/// An s64 within what the callee can hold.
pub fn s64(v: i64) -> i64 {
    let limit = i64::try_from(limit()).unwrap_or(i64::MAX);
    if limit == i64::MAX { v } else { v.clamp(-limit, limit) }
}

/// A u64 within what the callee can hold.
pub fn u64(v: u64) -> u64 {
    v.min(limit())
}

/// The largest u32 that the callee can hold.
fn largest_u32() -> u32 {
    if limit() == u64::MAX { u32::MAX } else { u32::MAX >> 1 }
}

pub fn longs() -> Vec<i64> {
    [0, 1, -1, 63, -64, 64, i64::MIN, i64::MAX, 1 << 53].map(s64).to_vec()
}

pub const F64: [f64; 9] =
    [0.0, -0.0, 1.5, f64::MIN_POSITIVE, f64::MAX, f64::EPSILON, f64::INFINITY, f64::NEG_INFINITY, f64::NAN];

pub fn strings() -> Vec<String> {
    ["", "a", "Grüße, 世界 🦀", "\0 \" \\ \u{7f}\n", &"x".repeat(127), &"é".repeat(40_000)].map(String::from).to_vec()
}

pub fn bytes() -> Vec<Vec<u8>> {
    vec![vec![], vec![0], (0..=255).collect(), vec![7; 1 << 20]]
}

pub fn item(number: u32) -> Item {
    Item { id: number, name: format!("item {number}"), price: f64::from(number) / 8.0 }
}

/// None, one, and a thousand records.
pub fn items() -> Vec<Vec<Item>> {
    vec![vec![], vec![item(0)], (0..1000).map(item).collect()]
}

pub fn mixeds() -> Vec<Mixed> {
    vec![
        Mixed {
            flag: true,
            tiny: i8::MIN,
            small: u16::MAX,
            count: largest_u32(),
            big: s64(i64::MIN),
            ratio: -0.25,
            letter: '🦀',
            text: "text".into(),
            bytes: vec![1, 2, 255],
            maybe: Some("maybe".into()),
        },
        Mixed {
            flag: false,
            tiny: 0,
            small: 1,
            count: 2,
            big: 3,
            ratio: 1e9,
            letter: 'a',
            text: String::new(),
            bytes: vec![],
            maybe: None,
        },
    ]
}

pub fn shapes() -> Vec<Shape> {
    vec![
        Shape::Point,
        Shape::Circle(-2.5),
        Shape::Polygon(vec![]),
        Shape::Polygon(vec![(0.0, 1.0), (2.0, 3.0)]),
        Shape::Named(item(5)),
        Shape::Maybe(None),
        Shape::Maybe(Some(255)),
    ]
}

pub fn results() -> Vec<Result<String, u32>> {
    vec![Ok(String::new()), Ok("good".into()), Err(0), Err(u32::MAX)]
}

pub fn seventeen_flags() -> Vec<SeventeenFlags> {
    let mut all: Vec<_> = (0..17).map(|bit| SeventeenFlags::from_bits_retain(1 << bit)).collect();
    all.extend([SeventeenFlags::empty(), SeventeenFlags::all()]);
    all
}

pub fn nesteds() -> Vec<Nested> {
    let nothing = Nested {
        items: vec![],
        shapes: vec![],
        outcome: Ok(None),
        deep: None,
        rights: NineFlags::empty(),
        pairs: vec![],
    };
    let much = Nested {
        items: (0..50).map(item).collect(),
        shapes: shapes(),
        outcome: Ok(Some(Color::Green)),
        deep: Some(None),
        rights: NineFlags::all(),
        pairs: (0..300).map(|n| (format!("{n}"), if n % 2 == 0 { Ok(()) } else { Err(Color::Red) })).collect(),
    };
    vec![samples::made(), nothing, much]
}

pub fn params() -> Params {
    Params {
        a: 200,
        b: u64(u64::MAX),
        c: 0.5,
        d: "d".into(),
        e: true,
        f: i16::MIN,
        g: 'ß',
        h: -1e-300,
        i: vec![1, 2, 65535],
        j: -1,
        k: Some(7),
        l: Color::Blue,
        m: (8, 1 << 40),
        n: i32::MIN,
        o: 9,
        p: Shape::Named(item(10)),
        q: "q".into(),
        r: s64(i64::MIN),
        s: 11,
        t: SeventeenFlags::F0 | SeventeenFlags::F16,
    }
}
