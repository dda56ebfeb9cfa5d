//! A type, and bytes that may be its parameters: the codecs must agree on them.

use daffi_proto::signature::Signature;
use daffi_proto::value::{
    Limits, args_from_json, args_from_wave, args_to_json, args_to_wave, check_args, check_plain, check_result,
    decode_args, decode_result, encode_args, encode_result, result_to_json, result_to_wave,
};

use crate::types;

/// Small, so that the fuzzer meets them.
pub const LIMITS: Limits = Limits { max_bytes: 4096, max_elements: 512, max_text_bytes: 1 << 16 };

/// See the module.
pub fn run(data: &[u8]) {
    let Some((signature, bytes)) = types::split(data) else { return };
    arguments(&signature, bytes);
    result(&signature, bytes);
}

/// Checks that all readers agree on these bytes, and that what each writes is read as the same again.
pub fn arguments(signature: &Signature, bytes: &[u8]) {
    let decoded = decode_args(signature, bytes, &LIMITS);
    let checked = check_args(signature, bytes, &LIMITS);
    assert_eq!(checked.as_ref().err().map(ToString::to_string), decoded.as_ref().err().map(ToString::to_string));
    let Ok(values) = decoded else { return };
    let encoded = encode_args(signature, &values, &LIMITS).expect("what was decoded is a value of the type");
    assert_eq!(encoded, bytes, "there is one way to write a value");
    // A stream is no text.
    if check_plain(signature).is_err() {
        return;
    }
    // A text may be longer than is taken, where the bytes are not.
    if let Ok(json) = args_to_json(signature, bytes, &LIMITS) {
        let again = args_from_json(signature, &json, &LIMITS).expect("our JSON is read");
        // Compared as text: of a NaN's bits only that it is one is kept.
        assert_eq!(args_to_json(signature, &again, &LIMITS).expect("and written"), json);
    }
    if let Ok(wave) = args_to_wave(signature, bytes, &LIMITS) {
        let again = args_from_wave(signature, &wave, &LIMITS).expect("our WAVE is read");
        assert_eq!(args_to_wave(signature, &again, &LIMITS).expect("and written"), wave);
    }
}

fn result(signature: &Signature, bytes: &[u8]) {
    let decoded = decode_result(signature, bytes, &LIMITS);
    let checked = check_result(signature, bytes, &LIMITS);
    assert_eq!(checked.as_ref().err().map(ToString::to_string), decoded.as_ref().err().map(ToString::to_string));
    let Ok(value) = decoded else { return };
    assert_eq!(encode_result(signature, value.as_ref(), &LIMITS).expect("it is a value of the type"), bytes);
    let _ = (result_to_json(signature, bytes, &LIMITS), result_to_wave(signature, bytes, &LIMITS));
}
