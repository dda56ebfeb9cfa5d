//! A type, and a text that may be its parameters in JSON or WAVE; or a call, a name, a duration, a cron expression.

use daffi_proto::name::{CallbackName, NameGlob, Pattern};
use daffi_proto::value::{args_from_json, args_from_wave, parse_call, result_from_json, result_from_wave};

use crate::{types, values};

/// See the module.
pub fn run(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        words(text);
    }
    let Some((signature, text)) = types::split(data) else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    if let Ok(bytes) = args_from_json(&signature, text, &values::LIMITS) {
        values::arguments(&signature, &bytes);
    }
    if let Ok(bytes) = args_from_wave(&signature, text, &values::LIMITS) {
        values::arguments(&signature, &bytes);
    }
    let _ = (result_from_json(&signature, text, &values::LIMITS), result_from_wave(&signature, text, &values::LIMITS));
}

/// What is no value.
fn words(text: &str) {
    if let Ok(name) = CallbackName::parse(text) {
        assert_eq!(CallbackName::parse(&name.to_string()).as_ref(), Ok(&name), "a name is read as it is written");
        let pattern = Pattern::parse(text).expect("a full name is a pattern");
        assert!(pattern.matches(&name), "a name means itself");
    }
    let _ = (parse_call(text), NameGlob::parse(text));
}
