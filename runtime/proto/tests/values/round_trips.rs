//! Identities over random types and values, and totality over random bytes and texts.

use daffi_proto::signature::Signature;
use daffi_proto::value::*;
use proptest::prelude::*;
use wasm_wave::value as wave;

use crate::random::{Shape, call, shape, signature, value};

const LIMITS: Limits = Limits { max_bytes: 1 << 20, max_elements: 1 << 20, max_text_bytes: 1 << 22 };

/// The same type in the words of the `wasm-wave` crate.
fn wave_type(shape: &Shape) -> wave::Type {
    use daffi_proto::signature::Type::*;
    let maybe = |shape: &Option<Box<Shape>>| shape.as_deref().map(wave_type);
    match shape {
        Shape::Primitive(ty) => match ty {
            Bool => wave::Type::BOOL,
            S8 => wave::Type::S8,
            U8 => wave::Type::U8,
            S16 => wave::Type::S16,
            U16 => wave::Type::U16,
            S32 => wave::Type::S32,
            U32 => wave::Type::U32,
            S64 => wave::Type::S64,
            U64 => wave::Type::U64,
            F32 => wave::Type::F32,
            F64 => wave::Type::F64,
            Char => wave::Type::CHAR,
            String => wave::Type::STRING,
            Def(_) => unreachable!("a primitive"),
        },
        Shape::List(item) => wave::Type::list(wave_type(item)),
        Shape::Option(inner) => wave::Type::option(wave_type(inner)),
        Shape::Tuple(shapes) => wave::Type::tuple(shapes.iter().map(wave_type).collect::<Vec<_>>()).unwrap(),
        Shape::Record(fields) => {
            wave::Type::record(fields.iter().map(|(name, shape)| (name.clone(), wave_type(shape)))).unwrap()
        }
        Shape::Variant(cases) => {
            let cases = cases.iter().map(|(name, shape)| (name.clone(), shape.as_ref().map(wave_type)));
            wave::Type::variant(cases).unwrap()
        }
        Shape::Enum(names) => wave::Type::enum_ty(names.iter().cloned()).unwrap(),
        Shape::Flags(names) => wave::Type::flags(names.iter().cloned()).unwrap(),
        Shape::Result(ok, err) => wave::Type::result(maybe(ok), maybe(err)),
    }
}

/// The arguments as an object by parameter name, the last one first.
fn by_name(signature: &Signature, values: &[Value]) -> String {
    let field = |(param, value): (&daffi_proto::signature::Field, &Value)| {
        let alone = Signature { result: Some(param.ty), ..signature.clone() };
        let bytes = encode_result(&alone, Some(value), &LIMITS).unwrap();
        format!("{:?}: {}", param.name, result_to_json(&alone, &bytes, &LIMITS).unwrap())
    };
    format!("{{{}}}", signature.params.iter().zip(values).rev().map(field).collect::<Vec<_>>().join(", "))
}

/// Whatever the bytes are, all who read them agree on whether they are arguments; and if they are, they are the only
/// encoding of these.
fn agree(signature: &Signature, bytes: &[u8]) {
    let checked = check_args(signature, bytes, &LIMITS);
    let decoded = decode_args(signature, bytes, &LIMITS);
    assert_eq!(checked.as_ref().err(), decoded.as_ref().err());
    assert_eq!(checked.as_ref().err(), args_to_json(signature, bytes, &LIMITS).as_ref().err());
    assert_eq!(checked.as_ref().err(), args_to_wave(signature, bytes, &LIMITS).as_ref().err());
    if let Ok(values) = decoded {
        assert_eq!(encode_args(signature, &values, &LIMITS).as_deref(), Ok(bytes));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn values_go_through_every_encoding_and_come_back((shapes, values) in call()) {
        let signature = signature(&shapes);
        let bytes = encode_args(&signature, &values, &LIMITS).unwrap();
        prop_assert_eq!(check_args(&signature, &bytes, &LIMITS), Ok(()));
        prop_assert_eq!(&decode_args(&signature, &bytes, &LIMITS).unwrap(), &values);

        let json = args_to_json(&signature, &bytes, &LIMITS).unwrap();
        prop_assert_eq!(&args_from_json(&signature, &json, &LIMITS).unwrap(), &bytes, "{}", json);
        let object = by_name(&signature, &values);
        prop_assert_eq!(&args_from_json(&signature, &object, &LIMITS).unwrap(), &bytes, "{}", object);

        let wave = args_to_wave(&signature, &bytes, &LIMITS).unwrap();
        prop_assert_eq!(&args_from_wave(&signature, &wave, &LIMITS).unwrap(), &bytes, "{}", wave);
    }

    #[test]
    fn results_go_through_every_encoding_and_come_back(
        (shape, value) in shape().prop_flat_map(|shape| { let value = value(&shape); (Just(shape), value) })
    ) {
        let signature = signature(&[shape]);
        let bytes = encode_result(&signature, Some(&value), &LIMITS).unwrap();
        prop_assert_eq!(check_result(&signature, &bytes, &LIMITS), Ok(()));
        prop_assert_eq!(decode_result(&signature, &bytes, &LIMITS).unwrap(), Some(value));
        let json = result_to_json(&signature, &bytes, &LIMITS).unwrap();
        prop_assert!(serde_json::from_str::<serde::de::IgnoredAny>(&json).is_ok(), "{}", json);
        prop_assert_eq!(&result_from_json(&signature, &json, &LIMITS).unwrap(), &bytes, "{}", json);
        let wave = result_to_wave(&signature, &bytes, &LIMITS).unwrap();
        prop_assert_eq!(&result_from_wave(&signature, &wave, &LIMITS).unwrap(), &bytes, "{}", wave);
    }

    #[test]
    fn wave_is_what_the_wasm_wave_crate_reads_and_writes(
        (shape, value) in shape().prop_flat_map(|shape| { let value = value(&shape); (Just(shape), value) })
    ) {
        let signature = signature(std::slice::from_ref(&shape));
        let bytes = encode_result(&signature, Some(&value), &LIMITS).unwrap();
        let ours = result_to_wave(&signature, &bytes, &LIMITS).unwrap();
        let theirs: wave::Value = match wasm_wave::from_str(&wave_type(&shape), &ours) {
            Ok(theirs) => theirs,
            Err(error) => return Err(TestCaseError::fail(format!("{error}: {ours}"))),
        };
        let text = wasm_wave::to_string(&theirs).unwrap();
        prop_assert_eq!(result_from_wave(&signature, &text, &LIMITS).unwrap(), bytes, "{} and {}", ours, text);
    }

    #[test]
    fn random_bytes_are_refused_or_are_the_one_encoding_of_a_value(
        shapes in prop::collection::vec(shape(), 0..4),
        bytes in prop::collection::vec(prop_oneof![3 => 0..4_u8, 1 => any::<u8>()], 0..64),
    ) {
        agree(&signature(&shapes), &bytes);
    }

    #[test]
    fn damaged_values_are_refused_or_are_the_one_encoding_of_a_value(
        (shapes, values) in call(),
        damages in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3_u8), 1..4),
    ) {
        let signature = signature(&shapes);
        let mut bytes = encode_args(&signature, &values, &LIMITS).unwrap();
        for (at, byte, how) in damages {
            let at = at.index(bytes.len() + 1);
            match how {
                0 => bytes.insert(at, byte),
                1 => bytes.truncate(at),
                _ => if let Some(place) = bytes.get_mut(at) { *place = byte },
            }
        }
        agree(&signature, &bytes);
    }

    #[test]
    fn damaged_texts_are_refused_or_make_values(
        (shapes, values) in call(),
        damages in prop::collection::vec((any::<prop::sample::Index>(), "[-0-9a-z{}\\[\\]():,\"'%\\\\ .]|\\PC", any::<bool>()), 1..4),
    ) {
        let signature = signature(&shapes);
        let bytes = encode_args(&signature, &values, &LIMITS).unwrap();
        let damage = |text: String| {
            let mut chars: Vec<char> = text.chars().collect();
            for (at, c, insert) in &damages {
                let at = at.index(chars.len() + 1);
                let until = if *insert { at } else { chars.len().min(at + 1) };
                chars.splice(at..until, c.chars());
            }
            chars.into_iter().collect::<String>()
        };
        let json = damage(args_to_json(&signature, &bytes, &LIMITS).unwrap());
        if let Ok(bytes) = args_from_json(&signature, &json, &LIMITS) {
            prop_assert_eq!(check_args(&signature, &bytes, &LIMITS), Ok(()), "{}", json);
        }
        let wave = damage(args_to_wave(&signature, &bytes, &LIMITS).unwrap());
        if let Ok(bytes) = args_from_wave(&signature, &wave, &LIMITS) {
            prop_assert_eq!(check_args(&signature, &bytes, &LIMITS), Ok(()), "{}", wave);
        }
    }

    #[test]
    fn signatures_travel_and_keep_their_fingerprint(shapes in prop::collection::vec(shape(), 0..4)) {
        let signature = signature(&shapes);
        prop_assert_eq!(signature.check(), Ok(()));
        let bytes = postcard::to_stdvec(&signature).unwrap();
        let read: Signature = postcard::from_bytes(&bytes).unwrap();
        prop_assert_eq!(read.fingerprint(), signature.fingerprint());
    }
}

#[test]
fn a_nan_stays_a_nan_in_texts() {
    use daffi_proto::signature::{SignatureBuilder, Type};
    let signature = SignatureBuilder::new().function([("a", Type::F32), ("b", Type::F64)], None).unwrap();
    let odd = [Value::F32(f32::from_bits(0xffc0_1234)), Value::F64(f64::from_bits(0xfff8_0000_0000_1234))];
    let bytes = encode_args(&signature, &odd, &LIMITS).unwrap();
    assert_eq!(check_args(&signature, &bytes, &LIMITS), Ok(()));
    let canonical = [0, 0, 0xc0, 0x7f, 0, 0, 0, 0, 0, 0, 0xf8, 0x7f];
    let json = args_to_json(&signature, &bytes, &LIMITS).unwrap();
    assert_eq!(json, r#"["NaN","NaN"]"#);
    assert_eq!(args_from_json(&signature, &json, &LIMITS).unwrap(), canonical);
    let wave = args_to_wave(&signature, &bytes, &LIMITS).unwrap();
    assert_eq!(wave, "(nan, nan)");
    assert_eq!(args_from_wave(&signature, &wave, &LIMITS).unwrap(), canonical);
}
