//! Results in the form `result<T, call-error>`, for imports that take a failure as a value.
//!
//! The bytes are those of `Result<T, CallError>`: 0 and the callback's result, or 1 and the error.

use crate::error::CallError;

/// `ok` with a result of the callback.
pub fn checked_ok(result: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(result.len() + 1);
    bytes.push(0);
    bytes.extend_from_slice(result);
    bytes
}

/// `err` with what happened to the call.
pub fn checked_err(error: &CallError) -> Vec<u8> {
    // Serialising plain strings into a growing vector cannot fail.
    postcard::to_extend(error, vec![1]).unwrap_or_default()
}

/// A list of processes with their checked results: those of [`checked_ok`] and [`checked_err`].
pub fn gathered(entries: &[(String, Vec<u8>)]) -> Vec<u8> {
    // Serialising into a growing vector cannot fail.
    let mut bytes = postcard::to_extend(&entries.len(), Vec::new()).unwrap_or_default();
    for (process, result) in entries {
        bytes = postcard::to_extend(process, bytes).unwrap_or_default();
        bytes.extend_from_slice(result);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::code;
    use crate::signature::{SignatureBuilder, Type};
    use crate::value::{Limits, check_result};

    #[test]
    fn both_outcomes_are_values_of_the_checked_result() {
        let mut types = SignatureBuilder::new();
        let error = types.call_error("0.1.0");
        let result = types.result(Some(Type::String), Some(error));
        let signature = types.function([], Some(result)).unwrap();
        let ok = checked_ok(&postcard::to_stdvec("fine").unwrap());
        let failure = CallError::not_run(code::OVERLOADED, "full", "a:b/c#d").at("p").with_trace("t");
        let err = checked_err(&failure);
        for bytes in [&ok, &err] {
            assert_eq!(check_result(&signature, bytes, &Limits::default()), Ok(()));
        }
        assert_eq!(postcard::from_bytes::<Result<String, CallError>>(&ok).unwrap(), Ok("fine".to_owned()));
        assert_eq!(postcard::from_bytes::<Result<String, CallError>>(&err).unwrap(), Err(failure));
    }
}
