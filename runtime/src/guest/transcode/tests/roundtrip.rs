//! Values of random types go through a guest and come back as the same bytes, by both ways.

use proptest::prelude::*;

use super::guest::{ENCODINGS, async_guest, sync_guest};
use super::types::{Ty, any_type};
use super::values::{Random, value};
use super::{CONCURRENT, Guest, SYNC, run};

/// Values tried for each type.
const VALUES: usize = 6;

/// Calls `relay` by both ways: argument, what the import saw, and result must be the same bytes.
async fn relay(guest: &mut Guest, bytes: &[u8]) {
    let result = guest.call("relay", bytes).await.unwrap();
    assert_eq!(result, bytes, "through the guest");
    assert_eq!(guest.seen(), [bytes], "at the import");
    let result = guest.call_val("relay", bytes).await.unwrap();
    assert_eq!(result, bytes, "through the guest by Val");
    assert_eq!(guest.seen(), [bytes], "at the import, by Val");
}

proptest! {
    #[test]
    fn a_value_of_any_type_comes_back_from_a_guest_and_from_an_import(
        ty in any_type(), seed: u64, encoding in 0_usize..3, concurrency: bool,
    ) {
        run(async {
            let engine = if concurrency { &CONCURRENT } else { &SYNC };
            let mut guest = Guest::new(engine, &sync_guest(&ty, ENCODINGS[encoding])).await;
            let mut random = Random::new(seed);
            for _ in 0..VALUES {
                relay(&mut guest, &value(&ty, &mut random)).await;
            }
        });
    }

    #[test]
    fn a_value_of_any_type_comes_back_from_async_exports_and_imports(
        ty in any_type(), seed: u64, encoding in 0_usize..3,
    ) {
        run(async {
            let list = Ty::List(Box::new(ty.clone()));
            let mut guest = Guest::new(&CONCURRENT, &async_guest(&ty, ENCODINGS[encoding])).await;
            let mut random = Random::new(seed);
            for _ in 0..VALUES {
                let bytes = value(&ty, &mut random);
                assert_eq!(guest.call_concurrent("echo-async", &bytes).await.unwrap(), bytes);
                assert_eq!(guest.call("echo-async", &bytes).await.unwrap(), bytes);
                let bytes = value(&list, &mut random);
                assert_eq!(guest.call_concurrent("relay-async", &bytes).await.unwrap(), bytes);
                assert_eq!(guest.seen(), [&bytes[..]]);
                let spilled = [&bytes[..], &[1, 2, 3]].concat();
                assert_eq!(guest.call_concurrent("spill-async", &spilled).await.unwrap(), bytes);
                assert_eq!(guest.seen(), [spilled]);
            }
        });
    }
}

#[test]
fn each_kind_of_type_comes_back_in_slots_and_in_memory() {
    run(async {
        let scalars = [
            Ty::Bool,
            Ty::S8,
            Ty::U8,
            Ty::S16,
            Ty::U16,
            Ty::S32,
            Ty::U32,
            Ty::S64,
            Ty::U64,
            Ty::F32,
            Ty::F64,
            Ty::Char,
            Ty::String,
        ];
        let flags = [1, 8, 9, 16, 17, 24, 25, 32].map(Ty::Flags);
        let enums = [1, 256, 257].map(Ty::Enum);
        let mixed = Ty::Variant(vec![None, Some(Ty::F32), Some(Ty::S64), Some(Ty::String), Some(Ty::F64)]);
        let other = [mixed.clone(), Ty::Option(Box::new(mixed)), Ty::Result(None, None)];
        let wide = Ty::Tuple(scalars.to_vec());
        for ty in scalars.into_iter().chain(flags).chain(enums).chain(other).chain([wide]) {
            // By itself, as an item of a list, and beside 16 others, which puts the whole into memory.
            let spilled = Ty::Record([vec![Ty::U64; 16], vec![ty.clone()]].concat());
            let list = Ty::List(Box::new(ty.clone()));
            for (n, ty) in [ty, list, spilled].into_iter().enumerate() {
                let mut guest = Guest::new(&SYNC, &sync_guest(&ty, ENCODINGS[n])).await;
                let mut random = Random::new(n as u64 + 1);
                for _ in 0..20 {
                    relay(&mut guest, &value(&ty, &mut random)).await;
                }
            }
        }
    });
}

#[test]
fn a_serde_type_and_its_wit_twin_have_the_same_bytes() {
    use serde::{Deserialize, Serialize};

    #[derive(Serialize, Deserialize, Debug, PartialEq)]
    enum Shape {
        Nothing,
        Circle(f32),
        Label(String),
    }

    #[derive(Serialize, Deserialize, Debug, PartialEq)]
    struct Thing {
        id: u64,
        small: i8,
        shapes: Vec<Shape>,
        tag: Option<char>,
        outcome: Result<(u16, bool), String>,
    }

    let ty = Ty::Record(vec![
        Ty::U64,
        Ty::S8,
        Ty::List(Box::new(Ty::Variant(vec![None, Some(Ty::F32), Some(Ty::String)]))),
        Ty::Option(Box::new(Ty::Char)),
        Ty::Result(Some(Box::new(Ty::Tuple(vec![Ty::U16, Ty::Bool]))), Some(Box::new(Ty::String))),
    ]);
    let shapes = vec![Shape::Nothing, Shape::Circle(-0.5), Shape::Label("круг".to_owned())];
    let thing = Thing { id: 1 << 40, small: -7, shapes, tag: Some('ж'), outcome: Err("no".to_owned()) };
    run(async {
        let mut guest = Guest::new(&SYNC, &sync_guest(&ty, "utf8")).await;
        let result = guest.call("relay", &postcard::to_stdvec(&thing).unwrap()).await.unwrap();
        assert_eq!(postcard::from_bytes::<Thing>(&result).unwrap(), thing);
    });
}
