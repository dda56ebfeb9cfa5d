//! Values of every type, the edges included, and the parts that several of these guests share. Included by each of
//! them after its bindings.

use crate::test::conformance::types::{Color, Item, Mixed, Nested, NineFlags, Shape};

/// What `make` gives, in every language.
pub fn made() -> Nested {
    Nested {
        items: vec![
            Item { id: 1, name: "tea".into(), price: 2.5 },
            Item { id: 2_147_483_647, name: "Grüße 🦀".into(), price: -0.0 },
        ],
        shapes: vec![
            Shape::Point,
            Shape::Polygon(vec![(0.0, 1.5), (-2.0, 1e300)]),
            Shape::Maybe(Some(7)),
            Shape::Maybe(None),
        ],
        outcome: Err((9, "nine".into())),
        deep: Some(Some(vec![Some(-1), None, Some(i32::MIN)])),
        rights: NineFlags::F0 | NineFlags::F8,
        pairs: vec![("good".into(), Ok(())), ("bad".into(), Err(Color::Blue))],
    }
}

/// What `describe` gives, in every language.
pub fn described(v: &Mixed) -> String {
    let sum: u64 = v.bytes.iter().map(|byte| u64::from(*byte)).sum();
    let maybe = v.maybe.as_deref().unwrap_or("-");
    format!(
        "{} {} {} {} {} {} {} {} {sum} {maybe}",
        v.flag,
        v.tiny,
        v.small,
        v.count,
        v.big,
        (v.ratio * 4.0) as i64,
        v.letter,
        v.text
    )
}
