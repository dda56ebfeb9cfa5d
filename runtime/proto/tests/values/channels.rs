//! Streams and futures in values: numbers of channels in postcard, no form in texts; and the check of their items.

use daffi_proto::signature::{Signature, SignatureBuilder, Type};
use daffi_proto::value::*;

/// `func(s: stream<u8>, more: option<list<future<string>>>) -> tuple<u8, stream<point>>`
fn signature() -> Signature {
    let mut types = SignatureBuilder::new();
    let point = types.record([("x", Type::S32), ("name", Type::String)]);
    let (bytes, text, points) =
        (types.stream(Some(Type::U8)), types.future(Some(Type::String)), types.stream(Some(point)));
    let texts = types.list(text);
    let more = types.option(texts);
    let pair = types.tuple([Type::U8, points]);
    types.function([("s", bytes), ("more", more)], Some(pair)).unwrap()
}

fn item_of(channel: Channel) -> Type {
    match channel {
        Channel::Stream(item) | Channel::Future(item) => item.unwrap(),
    }
}

#[test]
fn a_stream_is_the_number_of_its_channel_in_the_order_of_the_value() {
    let (signature, limits) = (signature(), Limits::default());
    let futures = Value::List(vec![Value::Channel(1), Value::Channel(2)]);
    let args = [Value::Channel(0), Value::Option(Some(Box::new(futures)))];
    let bytes = encode_args(&signature, &args, &limits).unwrap();
    assert_eq!(bytes, [0, 1, 2, 1, 2]);
    assert_eq!(decode_args(&signature, &bytes, &limits).unwrap(), args);
    assert_eq!(
        channels_of_args(&signature, &bytes, &limits).unwrap(),
        [Channel::Stream(Some(Type::U8)), Channel::Future(Some(Type::String)), Channel::Future(Some(Type::String))]
    );
    assert_eq!(channels_of_args(&signature, &[0, 0], &limits).unwrap(), [Channel::Stream(Some(Type::U8))]);
    let result = channels_of_result(&signature, &[7, 0], &limits).unwrap();
    assert!(matches!(result[..], [Channel::Stream(Some(Type::Def(_)))]), "{result:?}");
}

#[test]
fn a_channel_that_is_not_the_next_one_is_refused_with_its_place() {
    let (signature, limits) = (signature(), Limits::default());
    for (bytes, message) in [
        (&[1, 0][..], "s: the channel 1 where 0 comes next"),
        (&[0, 1, 1, 0], "more[0]: the channel 0 where 1 comes next"),
        (&[0, 1, 2, 1, 3], "more[1]: the channel 3 where 2 comes next"),
        (&[0x80, 0, 0], "s: an integer of 32 bits is longer than it must be"),
    ] {
        assert_eq!(check_args(&signature, bytes, &limits).unwrap_err().to_string(), message);
        assert_eq!(decode_args(&signature, bytes, &limits).unwrap_err().to_string(), message);
    }
    let twice = [Value::Channel(0), Value::Option(Some(Box::new(Value::List(vec![Value::Channel(0)]))))];
    let error = encode_args(&signature, &twice, &limits).unwrap_err();
    assert_eq!(error.to_string(), "more[0]: the channel 0 where 1 comes next");
}

#[test]
fn a_value_has_at_most_so_many_streams() {
    let mut types = SignatureBuilder::new();
    let stream = types.stream(Some(Type::U8));
    let list = types.list(stream);
    let signature = types.function([("all", list)], None).unwrap();
    let all = |count: u32| [Value::List((0..count).map(Value::Channel).collect())];
    let limits = Limits::default();
    let most = encode_args(&signature, &all(MAX_CHANNELS), &limits).unwrap();
    assert_eq!(channels_of_args(&signature, &most, &limits).unwrap().len(), 256);
    assert!(encode_args(&signature, &all(MAX_CHANNELS + 1), &limits).unwrap_err().is_too_large());
    let over = postcard::to_stdvec(&((0..=MAX_CHANNELS).collect::<Vec<u32>>())).unwrap();
    assert!(check_args(&signature, &over, &limits).unwrap_err().is_too_large());
}

#[test]
fn a_stream_is_its_number_in_texts() {
    let (signature, limits) = (signature(), Limits::default());
    let bytes = encode_args(&signature, &[Value::Channel(0), Value::Option(None)], &limits).unwrap();
    assert_eq!(args_to_json(&signature, &bytes, &limits).unwrap(), "[0,null]");
    assert_eq!(args_to_wave(&signature, &bytes, &limits).unwrap(), "(0, none)");
    for json in ["[0, null]", "[0]", r#"{"s": 0}"#] {
        assert_eq!(args_from_json(&signature, json, &limits).unwrap(), bytes);
    }
    assert_eq!(args_from_wave(&signature, "(0, none)", &limits).unwrap(), bytes);
    let errors = [
        (args_from_json(&signature, "[[1, 2], null]", &limits), "s: expected stream<u8>, found an array"),
        (
            args_from_json(&signature, "[-1]", &limits),
            "s: expected the number of a stream<u8>, 0 for the first, found -1",
        ),
        (args_from_json(&signature, "[1]", &limits), "s: the channel 1 where 0 comes next"),
        (
            args_from_wave(&signature, "(x)", &limits),
            "s: expected the number of a stream<u8>, 0 for the first, found `x`",
        ),
        (
            args_from_wave(&signature, "(0.5)", &limits),
            "s: expected the number of a stream<u8>, 0 for the first, found 0.5",
        ),
    ];
    for (result, message) in errors {
        assert_eq!(result.unwrap_err().to_string(), message);
    }
}

#[test]
fn items_are_checked_one_after_another() {
    let (signature, limits) = (signature(), Limits::default());
    let channels = channels_of_result(&signature, &[7, 0], &limits).unwrap();
    let point = item_of(channels[0]);
    let points = [(1_i32, "a"), (-70, "bc")].map(|point| postcard::to_stdvec(&point).unwrap()).concat();
    assert_eq!(check_items(&signature, point, 2, &points, &limits), Ok(()));
    for (count, bytes, message) in [
        (3, &points[..], "[2].x: the bytes end before an integer does"),
        (1, &points, "5 bytes are left over after the last value"),
        (2, &[2, 1, 0xff, 0, 0], "[0].name: expected string, found bytes that are no UTF-8 (at byte 0)"),
        (0, &[0], "1 bytes are left over after the last value"),
    ] {
        assert_eq!(check_items(&signature, point, count, bytes, &limits).unwrap_err().to_string(), message);
    }
    let error = check_items_from(&signature, point, 256..258, &[2, 1, b'a', 2, 2, b'b'], &limits).unwrap_err();
    assert_eq!(error.to_string(), "[257].name: a length of 2, but only 1 bytes are left");
    assert_eq!(check_items(&signature, Type::U8, 3, &[1, 2, 3], &limits), Ok(()));
    assert!(check_items(&signature, Type::U8, 2, &[1, 2, 3], &limits).is_err());
    assert!(check_items(&signature, Type::U8, usize::MAX, &[1], &limits).is_err());
    // An item may have so many bytes, not all of them.
    let texts = [2, b'a', b'b', 1, b'c'];
    assert_eq!(check_items(&signature, Type::String, 2, &texts, &Limits::for_payload(3)), Ok(()));
    let error = check_items(&signature, Type::String, 2, &texts, &Limits::for_payload(2)).unwrap_err();
    assert!(error.is_too_large());
    assert_eq!(error.to_string(), "[0]: 3 bytes are more than the 2 that are allowed");
    let call = SignatureBuilder::new().function([("s", Type::String)], None).unwrap();
    assert_eq!(first_args(&call, &texts, &Limits::for_payload(3)), Ok(3));
    assert!(first_args(&call, &texts, &Limits::for_payload(2)).unwrap_err().is_too_large());
}
