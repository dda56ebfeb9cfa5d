//! The rules of JSON and WAVE one by one: what is written, and what else is taken.

use daffi_proto::signature::{Signature, SignatureBuilder, Type};
use daffi_proto::value::*;

fn of(ty: impl FnOnce(&mut SignatureBuilder) -> Type) -> Signature {
    let mut types = SignatureBuilder::new();
    let ty = ty(&mut types);
    types.function([], Some(ty)).unwrap()
}

fn option_of(ty: impl FnOnce(&mut SignatureBuilder) -> Type) -> Signature {
    of(|types| {
        let inner = ty(types);
        types.option(inner)
    })
}

/// The first text is written for what it means; each of the others means the same.
fn json(signature: &Signature, texts: &[&str]) {
    let limits = Limits::default();
    let bytes = texts.iter().map(|text| result_from_json(signature, text, &limits).unwrap()).collect::<Vec<_>>();
    assert_eq!(result_to_json(signature, &bytes[0], &limits).unwrap(), texts[0]);
    assert!(bytes.iter().all(|other| *other == bytes[0]), "{texts:?}");
}

/// The same for WAVE.
fn wave(signature: &Signature, texts: &[&str]) {
    let limits = Limits::default();
    let bytes = texts.iter().map(|text| result_from_wave(signature, text, &limits).unwrap()).collect::<Vec<_>>();
    assert_eq!(result_to_wave(signature, &bytes[0], &limits).unwrap(), texts[0]);
    assert!(bytes.iter().all(|other| *other == bytes[0]), "{texts:?}");
}

#[test]
fn json_integers_are_numbers_and_beyond_2_to_53_strings() {
    json(&of(|_| Type::U8), &["5", "\"5\"", " 5 ", "\"05\""]);
    json(&of(|_| Type::S8), &["-5", "\"-5\""]);
    json(&of(|_| Type::S64), &["9007199254740992", "\"9007199254740992\""]);
    json(&of(|_| Type::S64), &["-9007199254740992"]);
    json(&of(|_| Type::S64), &["\"9007199254740993\"", "9007199254740993"]);
    json(&of(|_| Type::S64), &["\"-9223372036854775808\"", "-9223372036854775808"]);
    json(&of(|_| Type::U64), &["\"18446744073709551615\"", "18446744073709551615"]);
}

#[test]
fn json_floats_are_numbers_or_three_words() {
    json(&of(|_| Type::F64), &["20.0", "20", "2e1", "20.00"]);
    json(&of(|_| Type::F64), &["-0.0", "-0"]);
    json(&of(|_| Type::F64), &["0.1"]);
    json(&of(|_| Type::F32), &["0.1", "0.10000000149011612"]);
    json(&of(|_| Type::F64), &["1e300"]);
    json(&of(|_| Type::F32), &["\"Infinity\""]);
    json(&of(|_| Type::F64), &["\"-Infinity\""]);
    json(&of(|_| Type::F64), &["\"NaN\""]);
}

#[test]
fn json_options_are_null_or_the_value() {
    json(&option_of(|_| Type::U8), &["null"]);
    json(&option_of(|_| Type::U8), &["5"]);
    let nested = option_of(|types| types.option(Type::U8));
    json(&nested, &["null"]);
    json(&nested, &["{\"some\":null}"]);
    json(&nested, &["{\"some\":5}"]);
    let thrice = option_of(|types| {
        let inner = types.option(Type::U8);
        types.option(inner)
    });
    json(&thrice, &["{\"some\":{\"some\":null}}"]);
}

#[test]
fn json_variants_and_results_are_tagged() {
    let variant = of(|types| types.variant([("round", Some(Type::F64)), ("flat", None)]));
    json(&variant, &["{\"round\":1.5}"]);
    json(&variant, &["\"flat\"", "{\"flat\":null}"]);
    let result = of(|types| types.result(Some(Type::U8), None));
    json(&result, &["{\"ok\":5}"]);
    json(&result, &["{\"err\":null}", "\"err\""]);
    json(&option_of(|types| types.variant([("a", None)])), &["\"a\""]);
    json(&of(|types| types.enumeration(["a", "b"])), &["\"b\""]);
}

#[test]
fn json_compounds_are_objects_and_arrays() {
    let record = of(|types| {
        let maybe = types.option(Type::U8);
        let list = types.list(Type::String);
        types.record([("a", Type::Char), ("b", maybe), ("c", list)])
    });
    json(
        &record,
        &[
            "{\"a\":\"x\",\"b\":null,\"c\":[\"\\\"\",\"\\u0001\\n\"]}",
            "{\"c\":[\"\\u0022\",\"\\u0001\\u000a\"],\"a\":\"\\u0078\"}",
        ],
    );
    json(&of(|types| types.tuple([Type::U8, Type::Bool])), &["[5,true]"]);
    json(&of(|types| types.flags(["r", "w", "x"])), &["[\"r\",\"x\"]", "[\"x\",\"r\"]"]);
    json(&of(|types| types.list(Type::U8)), &["\"AAECAw==\"", "[0,1,2,3]", "\"AAECAw\""]);
    json(&of(|types| types.list(Type::U8)), &["\"\"", "[]"]);
    json(&of(|types| types.list(Type::S8)), &["[0,-1]"]);
}

#[test]
fn wave_has_the_short_forms_of_the_wasm_wave_crate() {
    wave(&of(|_| Type::S64), &["5", " 5 // five\n"]);
    wave(&of(|_| Type::F64), &["20", "20.0", "2e1"]);
    wave(&of(|_| Type::F64), &["-inf"]);
    wave(&of(|_| Type::F32), &["0.1"]);
    wave(&of(|_| Type::F64), &["1.5e-7", "0.00000015"]);
    wave(&of(|_| Type::F64), &["-0", "-0.0"]);
    wave(&of(|_| Type::Char), &["'\\''", "'\\u{27}'"]);
    wave(&of(|_| Type::String), &["\"a\\nb\\u{1}é\"", "\"\"\"\n  a\n  b\\u{1}\\u{e9}\n  \"\"\""]);
    wave(&option_of(|_| Type::U8), &["some(5)", "5"]);
    wave(&option_of(|_| Type::U8), &["none"]);
    wave(&of(|types| types.result(Some(Type::U8), None)), &["ok(5)", "5"]);
    wave(&of(|types| types.result(None, Some(Type::U8))), &["ok"]);
    wave(&of(|types| types.list(Type::U8)), &["[1, 2]", "[1, 2,]", "[1,2]"]);
    wave(&of(|types| types.flags(["r", "some"])), &["{r, some}", "{%some, r}"]);
    wave(&of(|types| types.flags(["r", "w"])), &["{}"]);
    wave(&of(|types| types.enumeration(["none", "a"])), &["%none", "none"]);
    wave(&option_of(|types| types.enumeration(["none", "a"])), &["some(%none)", "%none", "some(none)"]);
    let record = of(|types| {
        let maybe = types.option(Type::U8);
        types.record([("a", maybe), ("b", maybe)])
    });
    wave(&record, &["{:}", "{}", "{a: none}", "{b: none, a: none}"]);
    wave(&record, &["{b: some(1)}", "{b: 1, a: none}"]);
}

#[test]
fn options_at_the_end_of_the_arguments_may_be_left_out() {
    let limits = Limits::default();
    let mut types = SignatureBuilder::new();
    let maybe = types.option(Type::U8);
    let signature = types.function([("a", Type::U8), ("b", maybe), ("c", maybe)], None).unwrap();
    for text in ["[1]", "[1, null]", "[1, null, null]", "{\"a\": 1}", "{\"c\": null, \"a\": \"1\"}"] {
        assert_eq!(args_from_json(&signature, text, &limits).unwrap(), [1, 0, 0], "{text}");
    }
    for text in ["(1)", "(1,)", "(1, none)", "(1, none, none)"] {
        assert_eq!(args_from_wave(&signature, text, &limits).unwrap(), [1, 0, 0], "{text}");
    }
    assert_eq!(args_from_json(&signature, "{\"c\": 7, \"a\": 1}", &limits).unwrap(), [1, 0, 1, 7]);
}

#[test]
fn no_arguments_and_no_result_have_a_text() {
    let limits = Limits::default();
    let signature = SignatureBuilder::new().function([], None).unwrap();
    assert_eq!(args_to_json(&signature, &[], &limits).unwrap(), "[]");
    assert_eq!(args_to_wave(&signature, &[], &limits).unwrap(), "()");
    assert_eq!(result_to_json(&signature, &[], &limits).unwrap(), "null");
    assert_eq!(result_to_wave(&signature, &[], &limits).unwrap(), "");
    for text in ["[]", "{}", " [ ] "] {
        assert!(args_from_json(&signature, text, &limits).unwrap().is_empty());
    }
    for text in ["()", "", " ( ) "] {
        assert!(args_from_wave(&signature, text, &limits).unwrap().is_empty());
    }
    assert!(result_from_json(&signature, "null", &limits).unwrap().is_empty());
    assert!(result_from_wave(&signature, " ", &limits).unwrap().is_empty());
}

#[test]
fn long_lists_of_names_are_found_as_short_ones_are() {
    let names: Vec<String> = (0..1000).map(|at| format!("n{at}")).collect();
    let signature = of(|types| {
        let cases = types.enumeration(names.iter().map(String::as_str));
        let list = types.list(cases);
        let fields = names.iter().map(|name| (name.as_str(), Type::Bool));
        let record = types.record(fields);
        types.tuple([list, record])
    });
    let fields: Vec<String> = names.iter().rev().map(|name| format!("\"{name}\":true")).collect();
    let text = format!("[[\"n999\",\"n0\"],{{{}}}]", fields.join(","));
    let bytes = result_from_json(&signature, &text, &Limits::default()).unwrap();
    assert_eq!(bytes.len(), 1 + 2 + 1 + 1000);
    let wave = result_to_wave(&signature, &bytes, &Limits::default()).unwrap();
    assert_eq!(result_from_wave(&signature, &wave, &Limits::default()).unwrap(), bytes);
}

#[test]
fn arguments_are_shown_as_far_as_there_is_room() {
    let mut types = SignatureBuilder::new();
    let list = types.list(Type::U16);
    let signature = types.function([("a", Type::String), ("b", list)], None).unwrap();
    let args = args_from_wave(&signature, "(\"x\\n\u{e9}\", [1, 2, 300])", &Limits::default()).unwrap();
    let whole = "(\"x\\n\u{e9}\", [1, 2, 300])";
    for most_bytes in 0..whole.len() {
        let cut = args_to_wave_cut(&signature, &args, most_bytes);
        let beginning = cut.strip_suffix('…').unwrap();
        assert!(beginning.len() <= most_bytes && whole.starts_with(beginning), "{most_bytes}: {cut}");
    }
    assert_eq!(args_to_wave_cut(&signature, &args, whole.len()), whole);
    assert_eq!(args_to_wave_cut(&signature, &args[..3], 100), "(\"…");
}
