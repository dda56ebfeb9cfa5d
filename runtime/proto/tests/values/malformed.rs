//! What malformed bytes and texts are answered with: the place and the reason, in one line.

use daffi_proto::signature::{Signature, SignatureBuilder, Type};
use daffi_proto::value::*;

const LIMITS: Limits = Limits { max_bytes: 1 << 16, max_elements: 100, max_text_bytes: 1 << 16 };

fn of(ty: impl FnOnce(&mut SignatureBuilder) -> Type) -> Signature {
    let mut types = SignatureBuilder::new();
    let ty = ty(&mut types);
    types.function([("a", ty)], Some(ty)).unwrap()
}

/// `func(items: list<item>, label: option<string>)` where an item is a record of a name and a price.
fn shop() -> Signature {
    let mut types = SignatureBuilder::new();
    let price = types.variant([("fixed", Some(Type::F64)), ("free", None)]);
    let item = types.record([("name", Type::String), ("price", price)]);
    let item = types.named(item, Some("demo:shop/types"), "item");
    let items = types.list(item);
    let label = types.option(Type::String);
    types.function([("items", items), ("label", label)], None).unwrap()
}

#[test]
fn malformed_bytes_are_answered_with_the_place_and_the_reason() {
    let ten = [0xff; 10];
    let table: &[(Signature, &[u8], &str)] = &[
        (of(|_| Type::Bool), &[2], "a: expected bool (0 or 1), found 2"),
        (of(|_| Type::U8), &[], "a: the bytes end before a value does"),
        (of(|_| Type::U8), &[1, 2, 3], "2 bytes are left over after the last value"),
        (of(|_| Type::U16), &[0x80, 0x80, 0x04], "a: an integer of 16 bits is too large"),
        (of(|_| Type::U16), &[0x80, 0x80, 0x80, 0x00], "a: an integer of 16 bits is too large"),
        (of(|_| Type::S32), &[0x80, 0x80, 0x80, 0x80, 0x10], "a: an integer of 32 bits is too large"),
        (of(|_| Type::U64), &ten, "a: an integer of 64 bits is too large"),
        (of(|_| Type::U64), &[0x80], "a: the bytes end before an integer does"),
        (of(|_| Type::U32), &[0x81, 0x00], "a: an integer of 32 bits is longer than it must be"),
        (of(|_| Type::F32), &[0, 0, 0], "a: the bytes end before a value does"),
        (of(|_| Type::Char), &[0], "a: expected char, found a text of 0 characters"),
        (of(|_| Type::Char), b"\x02ab", "a: expected char, found a text of 2 characters"),
        (of(|_| Type::String), b"\x03ab", "a: a length of 3, but only 2 bytes are left"),
        (of(|_| Type::String), b"\x03a\xff\xff", "a: expected string, found bytes that are no UTF-8 (at byte 1)"),
        (of(|t| t.list(Type::U8)), &[5, 1], "a: a length of 5, but only 1 bytes are left"),
        (of(|t| t.list(Type::F64)), &[2, 0, 0, 0, 0, 0, 0, 0, 0], "a: 2 items cannot be in the 8 bytes that are left"),
        (of(|t| t.list(Type::String)), &[101; 102], "a: the lists have more than the 100 items that are allowed"),
        (of(|t| t.list(Type::Bool)), &[3, 0, 1, 2], "a[2]: expected bool (0 or 1), found 2"),
        (of(|t| t.option(Type::U8)), &[2, 0], "a: expected option (0 or 1), found 2"),
        (of(|t| t.enumeration(["x", "y"])), &[2], "a: there is no case 2; the type has 2"),
        (of(|t| t.variant([("x", None), ("y", Some(Type::Bool))])), &[1, 7], "a.y: expected bool (0 or 1), found 7"),
        (of(|t| t.result(None, Some(Type::Bool))), &[1, 7], "a.err: expected bool (0 or 1), found 7"),
        (of(|t| t.result(None, None)), &[2], "a: there is no case 2; the type has 2"),
        (of(|t| t.flags(["x", "y", "z"])), &[8], "a: bits are set beyond the 3 flags of the type"),
        (of(|t| t.tuple([Type::U8, Type::Bool])), &[7, 7], "a[1]: expected bool (0 or 1), found 7"),
        (shop(), &[2, 0, 1, 0, 2], "items[1].price: there is no case 2; the type has 2"),
        (shop(), &[0, 1, 1, 0xff], "label: expected string, found bytes that are no UTF-8 (at byte 0)"),
    ];
    for (signature, bytes, error) in table {
        assert_eq!(check_args(signature, bytes, &LIMITS).unwrap_err().to_string(), *error, "{bytes:?}");
        assert_eq!(decode_args(signature, bytes, &LIMITS).unwrap_err().to_string(), *error, "{bytes:?}");
        assert_eq!(args_to_json(signature, bytes, &LIMITS).unwrap_err().to_string(), *error, "{bytes:?}");
        assert_eq!(args_to_wave(signature, bytes, &LIMITS).unwrap_err().to_string(), *error, "{bytes:?}");
    }
}

#[test]
fn malformed_json_is_answered_with_the_place_and_the_reason() {
    let table: &[(Signature, &str, &str)] = &[
        (shop(), r#"[[{"name": "tea", "pirce": "free"}]]"#, "items[0]: unknown field `pirce`; did you mean `price`?"),
        (shop(), r#"[[{"name": "tea"}]]"#, "items[0]: the field `price` is missing"),
        (shop(), r#"[[{"name": "x", "name": "y"}]]"#, "items[0]: the field `name` is there twice"),
        (shop(), r#"[[{"name": 5, "price": "free"}]]"#, "items[0].name: expected string, found 5"),
        (shop(), r#"[[{"name": "x", "price": {"fixed": "no"}}]]"#, "items[0].price.fixed: expected f64, found \"no\""),
        (
            shop(),
            r#"[[{"name": "x", "price": "fixed"}]]"#,
            "items[0].price: the case `fixed` has a payload: write {\"fixed\": …} with f64",
        ),
        (shop(), r#"[[{"name": "x", "price": "fre"}]]"#, "items[0].price: unknown case `fre`; did you mean `free`?"),
        (shop(), r#"[[{"name": "x", "price": {}}]]"#, "items[0].price: expected one case, found an empty object"),
        (
            shop(),
            r#"[[{"name": "x", "price": {"free": null, "fixed": 1}}]]"#,
            "items[0].price: expected one case, found several",
        ),
        (
            shop(),
            r#"[[{"name": "x", "price": {"free": 1}}]]"#,
            "items[0].price.free: the case has no payload: expected null, found 1",
        ),
        (shop(), r#"[[7]]"#, "items[0]: expected item, found 7"),
        (shop(), r#"[{}]"#, "items: expected list<item>, found an object"),
        (shop(), r#"[]"#, "expected 2 arguments, found 0"),
        (shop(), r#"[[], "x", 1]"#, "expected 2 arguments, found more"),
        (shop(), r#"{"label": null}"#, "the parameter `items` is missing"),
        (shop(), r#"{"item": []}"#, "unknown parameter `item`; did you mean `items`?"),
        (shop(), r#"{"items": [], "items": []}"#, "the parameter `items` is there twice"),
        (shop(), "5", "expected an array of arguments, or an object by parameter, found 5"),
        (shop(), "[[]", "the text is no JSON: EOF while parsing a list at line 1 column 3"),
        (shop(), "[[]] x", "the text is no JSON: trailing characters at line 1 column 6"),
        (shop(), "", "the text is no JSON: EOF while parsing a value at line 1 column 0"),
        (of(|_| Type::U8), "[256]", "a: 256 is out of the range of u8"),
        (of(|_| Type::U8), "[-1]", "a: -1 is out of the range of u8"),
        (of(|_| Type::U8), "[1.5]", "a: expected u8, found 1.5"),
        (of(|_| Type::U8), "[\"1e2\"]", "a: expected u8, found \"1e2\""),
        (of(|_| Type::U8), "[\"+1\"]", "a: expected u8, found \"+1\""),
        (of(|_| Type::U64), "[\"18446744073709551616\"]", "a: 18446744073709551616 is out of the range of u64"),
        (
            of(|_| Type::U64),
            "[\"99999999999999999999999999999999999999999999\"]",
            "a: 9999999999999999999999999999999999999999… is out of the range of u64",
        ),
        (of(|_| Type::F32), "[1e300]", "a: 1e300 is out of the range of f32"),
        (of(|_| Type::F64), "[\"inf\"]", "a: expected f64, found \"inf\""),
        (of(|_| Type::Bool), "[null]", "a: expected bool, found null"),
        (of(|_| Type::Char), "[\"ab\"]", "a: expected char, found \"ab\""),
        (of(|_| Type::String), "[true]", "a: expected string, found true"),
        (
            of(|_| Type::Bool),
            &format!("[{:?}]", "x".repeat(99)),
            "a: expected bool, found \"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…\"",
        ),
        (of(|t| t.list(Type::U8)), "[\"a\"]", "a: expected bytes in base64: Invalid input length: 1"),
        (of(|t| t.list(Type::U8)), "[[1, 300]]", "a[1]: 300 is out of the range of u8"),
        (of(|t| t.tuple([Type::U8, Type::U8])), "[[1]]", "a: expected 2 elements, found 1"),
        (of(|t| t.tuple([Type::U8, Type::U8])), "[[1, 2, 3]]", "a: expected 2 elements, found more"),
        (of(|t| t.flags(["r", "w"])), r#"[["r", "r"]]"#, "a: the flag `r` is there twice"),
        (of(|t| t.flags(["read", "w"])), r#"[["reed"]]"#, "a: unknown flag `reed`; did you mean `read`?"),
        (of(|t| t.result(Some(Type::U8), None)), r#"[{"okay": 1}]"#, "a: unknown key `okay`; did you mean `ok`?"),
        (of(|t| t.result(None, None)), r#"[{"value": 1}]"#, "a: unknown key `value`; expected `ok` or `err`"),
        (
            of(|t| {
                let inner = t.option(Type::U8);
                t.option(inner)
            }),
            "[5]",
            "a: expected option<option<u8>>, found 5",
        ),
    ];
    for (signature, text, error) in table {
        let refused = args_from_json(signature, text, &LIMITS).unwrap_err();
        assert_eq!(refused.to_string(), *error, "{text}");
    }
    let none = SignatureBuilder::new().function([], None).unwrap();
    assert_eq!(
        result_from_json(&none, "5", &LIMITS).unwrap_err().to_string(),
        "the function has no result: expected null"
    );
}

#[test]
fn malformed_wave_is_answered_with_the_place_and_the_reason() {
    let table: &[(Signature, &str, &str)] = &[
        (shop(), r#"([{name: "tea", pirce: free}])"#, "items[0]: unknown field `pirce`; did you mean `price`?"),
        (shop(), r#"([{name: "tea"}])"#, "items[0]: the field `price` is missing"),
        (shop(), r#"([{name: "x", name: "y"}])"#, "items[0]: the field `name` is there twice"),
        (shop(), r#"([{name: 5, price: free}])"#, "items[0].name: expected string, found 5"),
        (
            shop(),
            r#"([{name: "x", price: fixed}])"#,
            "items[0].price.fixed: `fixed` has a payload: write `fixed(…)` with f64",
        ),
        (shop(), r#"([{name: "x", price: free(1)}])"#, "items[0].price.free: `free` has no payload"),
        (shop(), r#"([{name: "x", price: fixed("1")}])"#, "items[0].price.fixed: expected f64, found \"1\""),
        (shop(), r#"([{name: "x", price: fre}])"#, "items[0].price: unknown case `fre`; did you mean `free`?"),
        (shop(), "(7)", "items: expected list<item>, found 7"),
        (shop(), "()", "expected 2 arguments, found 0"),
        (shop(), "([], none, 1)", "expected 2 arguments, found more"),
        (shop(), "", "expected `(`, found the end of the text (at byte 0)"),
        (shop(), "([]", "expected `)`, found the end of the text (at byte 3)"),
        (shop(), "([]) x", "expected the end, found `x` (at byte 6)"),
        (shop(), "([], \"x)", "a string without end (at byte 5)"),
        (of(|_| Type::U8), "(256)", "a: 256 is out of the range of u8"),
        (of(|_| Type::U8), "(-1)", "a: -1 is out of the range of u8"),
        (of(|_| Type::U8), "(1.5)", "a: expected u8, found 1.5"),
        (of(|_| Type::U8), "(0x10)", "`0x10` is no number (at byte 1)"),
        (of(|_| Type::F32), "(1e300)", "a: 1e300 is out of the range of f32"),
        (of(|_| Type::Bool), "(yes)", "a: expected bool, found `yes`"),
        (of(|_| Type::Bool), "(%true)", "a: expected bool, found `%true`"),
        (of(|_| Type::Char), "('ab')", "a: expected char, found 'ab'"),
        (of(|_| Type::Char), "('a)", "a char without end (at byte 1)"),
        (of(|_| Type::String), r#"("\q")"#, "a: an unknown escape in the string before (at byte 5)"),
        (
            of(|_| Type::String),
            "(\"\"\"a\"\"\")",
            "a: a string of several lines starts on the line after its quotes (at byte 8)",
        ),
        (of(|_| Type::String), "(ß)", "`ß` is nothing that WAVE has (at byte 1)"),
        (of(|_| Type::String), "(a--b)", "`a--b` is no name (at byte 1)"),
        (of(|t| t.list(Type::U8)), "([1, 300])", "a[1]: 300 is out of the range of u8"),
        (of(|t| t.list(Type::U8)), "([1 2])", "a: expected `]`, found 2 (at byte 5)"),
        (of(|t| t.tuple([Type::U8, Type::U8])), "((1))", "a: expected 2 elements, found 1"),
        (of(|t| t.tuple([Type::U8, Type::U8])), "((1, 2, 3))", "a: expected 2 elements, found more"),
        (of(|t| t.flags(["r", "w"])), "({r, r})", "a: the flag `r` is there twice"),
        (of(|t| t.flags(["read", "w"])), "({reed})", "a: unknown flag `reed`; did you mean `read`?"),
        (of(|t| t.option(Type::U8)), "(some)", "a: `some` has a payload: write `some(…)` with u8"),
        (of(|t| t.result(None, None)), "(5)", "a: expected result, found 5"),
    ];
    for (signature, text, error) in table {
        let refused = args_from_wave(signature, text, &LIMITS).unwrap_err();
        assert_eq!(refused.to_string(), *error, "{text}");
    }
    let none = SignatureBuilder::new().function([], None).unwrap();
    assert_eq!(result_from_wave(&none, "5", &LIMITS).unwrap_err().to_string(), "expected the end, found 5 (at byte 1)");
}

#[test]
fn trees_of_another_type_are_refused() {
    let signature = shop();
    let item = |price| Value::Record(vec![Value::String("x".to_owned()), price]);
    let args = |price| [Value::List(vec![item(price)]), Value::Option(None)];
    let error = |values: &[Value]| encode_args(&signature, values, &LIMITS).unwrap_err().to_string();
    assert!(encode_args(&signature, &args(Value::Variant(1, None)), &LIMITS).is_ok());
    assert_eq!(
        error(&args(Value::Bool(true))),
        "items[0].price: expected variant { fixed(f64), free }, found a value of another type"
    );
    assert_eq!(
        error(&args(Value::Variant(0, None))),
        "items[0].price.fixed: expected f64, found a value of another type"
    );
    assert_eq!(error(&[]), "expected 2 arguments, found 0");
    assert_eq!(
        encode_result(&signature, Some(&Value::Bool(true)), &LIMITS).unwrap_err().to_string(),
        "the function has no result"
    );
}

#[test]
fn what_is_over_a_limit_says_so() {
    let small = Limits { max_bytes: 10, max_elements: 5, max_text_bytes: 40 };
    let bytes = of(|t| t.list(Type::U8));
    let texts = of(|t| t.list(Type::String));
    let words = of(|_| Type::String);
    let empty = format!("[[{}]]", ["\"\""; 6].join(","));
    for error in [
        check_args(&words, b"\x0a0123456789", &small).unwrap_err(),
        args_from_json(&words, "[\"0123456789\"]", &small).unwrap_err(),
        args_from_json(&bytes, "[\"MDEyMzQ1Njc4OTA=\"]", &small).unwrap_err(),
        check_args(&texts, &[6, 0, 0, 0, 0, 0, 0], &small).unwrap_err(),
        args_from_json(&texts, &empty, &small).unwrap_err(),
        args_from_json(&texts, &format!("{empty}{}", " ".repeat(40)), &small).unwrap_err(),
        args_from_wave(&words, "(\"0123456789\")", &small).unwrap_err(),
        args_from_wave(&texts, r#"(["","","","","",""])"#, &small).unwrap_err(),
        args_from_wave(&words, &" ".repeat(41), &small).unwrap_err(),
        args_to_json(&words, b"\x07\x01\x01\x01\x01\x01\x01\x01", &small).unwrap_err(),
        args_to_wave(&bytes, &[9, 255, 255, 255, 255, 255, 255, 255, 255, 255], &small).unwrap_err(),
        encode_args(&bytes, &[Value::Bytes(vec![0; 10])], &small).unwrap_err(),
    ] {
        assert!(error.is_too_large(), "{error}");
    }
    assert!(!check_args(&words, b"\x7f", &small).unwrap_err().is_too_large());
}

#[test]
fn items_that_are_numbers_do_not_count_as_elements() {
    let limits = Limits { max_elements: 5, ..LIMITS };
    let one_byte = [Type::Bool, Type::U8, Type::S8, Type::U16, Type::S32, Type::U64];
    for (item, bytes) in one_byte.map(|item| (item, 1)).into_iter().chain([(Type::F32, 4), (Type::F64, 8)]) {
        let signature = of(|t| t.list(item));
        let bytes = [&[6][..], &vec![0; 6 * bytes]].concat();
        assert!(check_args(&signature, &bytes, &limits).is_ok(), "{item:?}");
        let json = args_to_json(&signature, &bytes, &limits).unwrap();
        assert_eq!(args_from_json(&signature, &json, &limits).unwrap(), bytes, "{json}");
        let wave = args_to_wave(&signature, &bytes, &limits).unwrap();
        assert_eq!(args_from_wave(&signature, &wave, &limits).unwrap(), bytes, "{wave}");
        let tree = decode_args(&signature, &bytes, &limits).unwrap();
        assert_eq!(encode_args(&signature, &tree, &limits).unwrap(), bytes);
    }
}

#[test]
fn the_limit_of_elements_goes_with_the_payload_and_binds() {
    let limits = Limits::for_payload(16 << 20);
    let bytes = of(|t| t.list(Type::U8));
    let texts = of(|t| t.list(Type::String));
    // 2^20 in three bytes, and one less.
    let (many, fewer) = ([0x80, 0x80, 0x40], [0xff, 0xff, 0x3f]);
    let zeros = |length: &[u8], count: usize| [length, &vec![0; count]].concat();
    assert!(check_args(&bytes, &zeros(&many, 1 << 20), &Limits::for_payload(2 << 20)).is_ok());
    assert!(check_args(&texts, &zeros(&fewer, (1 << 20) - 1), &limits).is_ok());
    assert!(check_args(&texts, &zeros(&many, 1 << 20), &limits).is_ok());
    let more = zeros(&[0x81, 0x80, 0x40], (1 << 20) + 1);
    assert!(check_args(&texts, &more, &limits).unwrap_err().is_too_large());
    assert!(check_args(&texts, &more, &Limits::for_payload(32 << 20)).is_ok());
}
