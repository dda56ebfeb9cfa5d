//! Strings in the encodings that a component may choose: UTF-16 and Latin-1-or-UTF-16 ("compact").
//!
//! UTF-8, which most guests choose, needs nothing of this.

use super::error::{Fault, Walk};

/// The bit of a compact string's length that says UTF-16.
pub(super) const UTF16_TAG: usize = 1 << 31;

/// A string as UTF-16 in little-endian bytes.
pub(super) fn to_utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// A string in the compact encoding.
pub(super) struct Compact {
    /// Latin-1, or UTF-16 in little-endian bytes.
    pub(super) bytes: Vec<u8>,
    /// How many Latin-1 bytes, or how many UTF-16 units and [`UTF16_TAG`].
    pub(super) tagged_length: usize,
}

/// A string as Latin-1 where all its characters are there, as UTF-16 otherwise.
pub(super) fn to_compact(text: &str) -> Compact {
    let latin1: Option<Vec<u8>> = text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect();
    match latin1 {
        Some(bytes) => Compact { tagged_length: bytes.len(), bytes },
        None => {
            let bytes = to_utf16(text);
            Compact { tagged_length: (bytes.len() / 2) | UTF16_TAG, bytes }
        }
    }
}

/// The characters of UTF-16 in little-endian bytes.
pub(super) fn utf16_chars(bytes: &[u8]) -> impl Iterator<Item = Walk<char>> {
    let units = bytes.as_chunks::<2>().0.iter().map(|unit| u16::from_le_bytes(*unit));
    char::decode_utf16(units).map(|unit| unit.map_err(|error| Fault::problem(error.to_string())))
}

/// The characters of Latin-1.
pub(super) fn latin1_chars(bytes: &[u8]) -> impl Iterator<Item = Walk<char>> {
    bytes.iter().map(|byte| Ok(char::from(*byte)))
}
