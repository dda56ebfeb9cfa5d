//! Values in whatever encoding their user has: postcard, JSON or WAVE, and what stands for no value in each.

use bytes::Bytes;

use super::{
    UNIT_ITEM, ValueError, args_from_json, args_from_wave, check_args, check_result, result_from_json,
    result_from_wave, result_to_json, result_to_wave,
};
use crate::signature::Signature;
use crate::value::Limits;

/// What a value may be written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// The bytes that the mesh has.
    Postcard,
    /// A text.
    Json,
    /// A text.
    Wave,
}

/// A value, or the arguments of a call, as their user wrote them or is to have them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Encoded {
    /// In postcard.
    Postcard(Bytes),
    /// In JSON.
    Json(String),
    /// In WAVE.
    Wave(String),
}

impl Encoded {
    /// What stands for no value at all.
    pub fn nothing(encoding: Encoding) -> Self {
        match encoding {
            Encoding::Postcard => Self::Postcard(Bytes::new()),
            Encoding::Json => Self::Json("null".to_owned()),
            Encoding::Wave => Self::Wave(String::new()),
        }
    }

    /// Whether these are no arguments.
    pub fn is_nothing(&self) -> bool {
        match self {
            Self::Postcard(bytes) => bytes.is_empty(),
            Self::Json(text) => matches!(text.trim(), "" | "null" | "[]" | "{}"),
            Self::Wave(text) => matches!(text.trim(), "" | "()"),
        }
    }

    /// Arguments in postcard, by the function's signature; streams are their numbers.
    ///
    /// # Errors
    /// They are no arguments of it.
    pub fn into_args(self, signature: &Signature, limits: &Limits) -> Result<Bytes, ValueError> {
        match self {
            Self::Postcard(bytes) => check_args(signature, &bytes, limits).map(|()| bytes),
            Self::Json(text) => args_from_json(signature, &text, limits).map(Bytes::from),
            Self::Wave(text) => args_from_wave(signature, &text, limits).map(Bytes::from),
        }
    }

    /// A result in postcard, by the function's signature.
    ///
    /// # Errors
    /// It is no result of it.
    pub fn into_result(self, signature: &Signature, limits: &Limits) -> Result<Bytes, ValueError> {
        match self {
            Self::Postcard(bytes) => check_result(signature, &bytes, limits).map(|()| bytes),
            Self::Json(text) => result_from_json(signature, &text, limits).map(Bytes::from),
            Self::Wave(text) => result_from_wave(signature, &text, limits).map(Bytes::from),
        }
    }

    /// A result of the mesh in this encoding, by the function's signature.
    ///
    /// # Errors
    /// The bytes are no result of it.
    pub fn of_result(
        signature: &Signature,
        result: Bytes,
        encoding: Encoding,
        limits: &Limits,
    ) -> Result<Self, ValueError> {
        match encoding {
            Encoding::Postcard => check_result(signature, &result, limits).map(|()| Self::Postcard(result)),
            Encoding::Json => result_to_json(signature, &result, limits).map(Self::Json),
            Encoding::Wave => result_to_wave(signature, &result, limits).map(Self::Wave),
        }
    }

    /// The item that has no value.
    ///
    /// # Errors
    /// It has one.
    pub(super) fn into_unit(self) -> Result<Bytes, ValueError> {
        let is_unit = self.is_nothing() || matches!(&self, Self::Postcard(bytes) if bytes == UNIT_ITEM);
        if is_unit {
            Ok(Bytes::from_static(UNIT_ITEM))
        } else {
            Err(ValueError::new("expected an item without a value"))
        }
    }
}
