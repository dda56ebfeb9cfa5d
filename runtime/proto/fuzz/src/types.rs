//! Types of functions for the codecs.

use daffi_proto::signature::{Signature, SignatureBuilder, Type};

/// How many of the types are there from the start.
const KNOWN: u8 = 12;

/// The type that the front of the input names, or is, and what is behind it; none where it is no type.
pub fn split(data: &[u8]) -> Option<(Signature, &[u8])> {
    let (first, rest) = data.split_first()?;
    if *first < KNOWN {
        return Some((known(*first), rest));
    }
    let (signature, rest) = postcard::take_from_bytes::<Signature>(rest).ok()?;
    // What comes from a peer is checked before anything is done with it.
    signature.check().ok()?;
    Some((signature, rest))
}

/// One parameter of a type, and a result of the same.
fn known(number: u8) -> Signature {
    let mut types = SignatureBuilder::new();
    let t = &mut types;
    let ty = match number {
        0 => t.tuple([Type::Bool, Type::S8, Type::U8, Type::S16, Type::U16, Type::S32, Type::U32]),
        1 => t.tuple([Type::S64, Type::U64, Type::F32, Type::F64, Type::Char, Type::String]),
        2 => t.list(Type::U8),
        3 => t.list(Type::String),
        4 => {
            let inner = t.option(Type::String);
            t.option(inner)
        }
        5 => {
            let inner = t.result(Some(Type::U32), Some(Type::String));
            t.list(inner)
        }
        6 => t.flags(["read", "write", "some", "none", "a", "b", "c", "d", "e"]),
        7 => t.enumeration(["some", "none", "ok", "err", "true", "false", "inf", "nan"]),
        8 => {
            let price = t.variant([("fixed", Some(Type::F64)), ("free", None), ("some", Some(Type::String))]);
            let item = t.record([("name", Type::String), ("price", price), ("count", Type::U16)]);
            t.list(item)
        }
        9 => {
            let deep = (0..8).fold(Type::S16, |inner, _| t.option(inner));
            t.result(None, Some(deep))
        }
        10 => {
            let pair = t.tuple([Type::Char, Type::F32]);
            let pairs = t.list(pair);
            t.tuple([pairs, Type::U64])
        }
        _ => t.call_error("0.1.0"),
    };
    types.function([("a", ty), ("label", Type::String)], Some(ty)).expect("these are types of WIT")
}
