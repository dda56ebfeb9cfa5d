//! WIT values: the postcard, JSON and WAVE codecs, and the check of untrusted bytes.
//!
//! On the mesh a value is postcard bytes, exactly what serde derives give for the matching Rust type:
//!
//! | WIT | bytes |
//! |---|---|
//! | `bool` | 0 or 1 |
//! | `u8`, `s8` | one byte |
//! | `u16` … `u64` | varint, low seven bits first |
//! | `s16` … `s64` | zigzag, then varint |
//! | `f32`, `f64` | 4 or 8 bytes, little-endian |
//! | `char` | a string of one character |
//! | `string`, `list<T>` | varint length (of strings: in bytes), then the bytes or items |
//! | `option` | 0, or 1 and the value |
//! | `variant`, `enum`, `result` | varint index (`ok` 0, `err` 1), then the payload where there is one |
//! | `record`, `tuple`, arguments | the parts in order |
//! | `flags` | `ceil(n/8)` bytes, the first flag lowest |
//! | `stream`, `future` | varint number of its channel: 0, 1, … in the order in which they stand in the value; a number in texts, too |
//!
//! There is one encoding of each value: longer varints, other bits and bytes left over are errors.
//!
//! Every walk is led by the type and bounded by [`Limits`]: any input gives a value of that type, or an error that names
//! the place. The text codecs go straight from text to bytes and back; [`Value`] is for those who want a tree.
//! Identities hold up to the bits of a NaN, which texts do not carry.
//!
//! | module | holds |
//! |---|---|
//! | `error` | [`ValueError`]: what is wrong, and where |
//! | `read`, `write` | primitives from and to postcard |
//! | `check` | the check of untrusted bytes |
//! | `tree` | [`Value`] from and to postcard |
//! | `json`, `wave` | texts from and to postcard |
//! | `text`, `parts` | what the two share |
//! | `checked` | results in the form `result<T, call-error>` |
//! | `encoded` | [`Encoded`]: a value in whatever encoding its user has |
//! | `items` | [`Items`]: those of a stream whose type is known at run time |

mod check;
mod checked;
mod encoded;
mod error;
mod items;
mod json;
mod parts;
mod read;
mod text;
mod tree;
mod wave;
mod write;

pub use self::check::{
    channels_of_args, channels_of_result, check_args, check_items, check_items_from, check_plain, check_result,
    first_args,
};
pub use self::checked::{checked_err, checked_ok, gathered};
pub use self::encoded::{Encoded, Encoding};
pub use self::error::ValueError;
pub use self::items::Items;
pub use self::json::{args_from_json, args_to_json, result_from_json, result_to_json};
pub use self::tree::{Value, decode_args, decode_result, encode_args, encode_result};
pub use self::wave::{
    BadCall, args_from_wave, args_to_wave, args_to_wave_cut, parse_call, result_from_wave, result_to_wave,
};

use crate::signature::Type;

/// Most streams and futures in one value: the arguments of a call, or its result.
pub const MAX_CHANNELS: u32 = 256;

/// The item that stands for no value at all, where a function without parameters or without a result is called once an
/// item: every item has at least one byte. It is the value of an enum of one case.
pub const UNIT_ITEM: &[u8] = &[0];

/// A stream or future that stands in a value, with the type of its items where it has one. Its number, which is all
/// that the value says of it, is its place among the channels of the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// `stream<T>`
    Stream(Option<Type>),
    /// `future<T>`
    Future(Option<Type>),
}

/// List items that a value may have whatever its bytes, unless a limit is set by hand.
pub const MIN_ELEMENTS: usize = 1 << 20;

/// What a codec may take and make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most bytes in postcard.
    pub max_bytes: usize,
    /// Most items in all lists together, those of numbers, `bool` and `char` not counted: an item of another type may
    /// take much more in a guest's memory than its bytes here.
    pub max_elements: usize,
    /// Most bytes of text, JSON or WAVE, taken or made.
    pub max_text_bytes: usize,
}

impl Limits {
    /// The limits that go with a payload of at most so many bytes: a list item for 16 of them, but [`MIN_ELEMENTS`] in any
    /// case, and four times the text.
    pub const fn for_payload(max_bytes: usize) -> Self {
        let items = max_bytes / 16;
        let max_elements = if items > MIN_ELEMENTS { items } else { MIN_ELEMENTS };
        Self { max_bytes, max_elements, max_text_bytes: max_bytes.saturating_mul(4) }
    }

    /// The same where each of these bytes' values is limited ([`Limits::admit_bytes`]), and not all of them together.
    fn of_each(&self, bytes: &[u8]) -> Self {
        Self { max_bytes: self.max_bytes.max(bytes.len()), ..*self }
    }

    /// Whether a value may have so many bytes.
    ///
    /// # Errors
    /// [`ValueError::is_too_large`]
    fn admit_bytes(&self, bytes: usize) -> Result<(), ValueError> {
        if bytes > self.max_bytes { Err(read::over_bytes(bytes, self.max_bytes)) } else { Ok(()) }
    }
}

impl Default for Limits {
    /// The limits of a payload of 16 MiB.
    fn default() -> Self {
        Self::for_payload(16 * 1024 * 1024)
    }
}
