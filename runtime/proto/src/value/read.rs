//! Primitives from postcard bytes, strictly: one encoding of each value.
//!
//! Nothing here allocates, except for errors.

use super::error::ValueError;
use super::{Limits, MAX_CHANNELS};
use crate::signature::Type;

/// Reads primitives from the front of some bytes, within a budget.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    elements_left: usize,
    max_elements: usize,
    /// How many streams and futures there were.
    channels: u32,
}

impl<'a> Reader<'a> {
    /// # Errors
    /// When there are more bytes than the limits allow.
    pub(crate) fn new(bytes: &'a [u8], limits: &Limits) -> Result<Self, ValueError> {
        limits.admit_bytes(bytes.len())?;
        Ok(Self { rest: bytes, elements_left: limits.max_elements, max_elements: limits.max_elements, channels: 0 })
    }

    /// How many bytes are left.
    pub(crate) fn left(&self) -> usize {
        self.rest.len()
    }

    /// # Errors
    /// When bytes are left.
    pub(crate) fn finish(self) -> Result<(), ValueError> {
        match self.rest.len() {
            0 => Ok(()),
            left => Err(ValueError::new(format!("{left} bytes are left over after the last value"))),
        }
    }

    /// The length of a list whose items are of this type, taken from the budget. Items have bytes (those of floats are
    /// known), so that a length which what is left cannot hold is found before anything is made for it.
    pub(crate) fn list_length(&mut self, item: Type) -> Result<usize, ValueError> {
        let count = self.length()?;
        if count.checked_mul(least_bytes(item)).is_none_or(|least| least > self.rest.len()) {
            return Err(too_many_items(count, self.rest.len()));
        }
        match self.elements_left.checked_sub(elements(item, count)) {
            Some(left) => {
                self.elements_left = left;
                Ok(count)
            }
            None => Err(over_elements(self.max_elements)),
        }
    }

    #[inline]
    pub(crate) fn byte(&mut self) -> Result<u8, ValueError> {
        match self.rest.split_first() {
            Some((byte, rest)) => {
                self.rest = rest;
                Ok(*byte)
            }
            None => Err(end("a value")),
        }
    }

    #[inline]
    pub(crate) fn bytes(&mut self, count: usize) -> Result<&'a [u8], ValueError> {
        match self.rest.split_at_checked(count) {
            Some((bytes, rest)) => {
                self.rest = rest;
                Ok(bytes)
            }
            None => Err(end("a value")),
        }
    }

    #[inline]
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], ValueError> {
        match self.rest.split_first_chunk::<N>() {
            Some((bytes, rest)) => {
                self.rest = rest;
                Ok(*bytes)
            }
            None => Err(end("a value")),
        }
    }

    #[inline]
    pub(crate) fn bool(&mut self) -> Result<bool, ValueError> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(bad_byte("bool", other)),
        }
    }

    /// A varint of at most `BITS` bits in its shortest form.
    #[inline]
    pub(crate) fn varint<const BITS: u32>(&mut self) -> Result<u64, ValueError> {
        match self.rest.split_first() {
            // Most integers, lengths and cases are small.
            Some((byte, rest)) if byte & 0x80 == 0 => {
                self.rest = rest;
                Ok(u64::from(*byte))
            }
            _ => self.long_varint::<BITS>(),
        }
    }

    fn long_varint<const BITS: u32>(&mut self) -> Result<u64, ValueError> {
        let mut value: u64 = 0;
        let mut shift = 0;
        let mut rest = self.rest;
        while let Some((byte, after)) = rest.split_first() {
            rest = after;
            let part = u64::from(byte & 0x7f);
            // The bits of the last byte that are beyond the type, and bytes beyond the last.
            if shift >= BITS || (shift + 7 > BITS && part >> (BITS - shift) != 0) {
                return Err(bad_varint(BITS, "is too large"));
            }
            value |= part << shift;
            if byte & 0x80 == 0 {
                if part == 0 && shift > 0 {
                    return Err(bad_varint(BITS, "is longer than it must be"));
                }
                self.rest = rest;
                return Ok(value);
            }
            shift += 7;
        }
        Err(end("an integer"))
    }

    /// A zigzag varint of at most `BITS` bits.
    #[inline]
    pub(crate) fn zigzag<const BITS: u32>(&mut self) -> Result<i64, ValueError> {
        let value = self.varint::<BITS>()?;
        Ok((value >> 1).cast_signed() ^ -((value & 1).cast_signed()))
    }

    /// The length of a string or list.
    #[inline]
    fn length(&mut self) -> Result<usize, ValueError> {
        let length = self.varint::<64>()?;
        usize::try_from(length).map_err(|_| list_too_long(usize::MAX, self.rest.len()))
    }

    #[inline]
    pub(crate) fn string(&mut self) -> Result<&'a str, ValueError> {
        let length = self.length()?;
        let Some((bytes, rest)) = self.rest.split_at_checked(length) else {
            return Err(list_too_long(length, self.rest.len()));
        };
        self.rest = rest;
        std::str::from_utf8(bytes).map_err(|error| bad_utf8(error.valid_up_to()))
    }

    /// The bytes of a `list<u8>`.
    #[inline]
    pub(crate) fn byte_list(&mut self) -> Result<&'a [u8], ValueError> {
        let length = self.length()?;
        let Some((bytes, rest)) = self.rest.split_at_checked(length) else {
            return Err(list_too_long(length, self.rest.len()));
        };
        self.rest = rest;
        Ok(bytes)
    }

    pub(crate) fn char(&mut self) -> Result<char, ValueError> {
        let text = self.string()?;
        let mut chars = text.chars();
        match (chars.next(), chars.next()) {
            (Some(c), None) => Ok(c),
            _ => Err(bad_char(text)),
        }
    }

    /// The index of a case, below `count`.
    #[inline]
    pub(crate) fn case(&mut self, count: usize) -> Result<usize, ValueError> {
        let index = self.varint::<32>()?;
        match usize::try_from(index) {
            Ok(index) if index < count => Ok(index),
            _ => Err(bad_case(index, count)),
        }
    }

    /// The tag of an option.
    #[inline]
    pub(crate) fn is_some(&mut self) -> Result<bool, ValueError> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(bad_byte("option", other)),
        }
    }

    /// Takes the tag of an option if it is that of `none`.
    pub(crate) fn takes_none(&mut self) -> bool {
        match self.rest.split_first() {
            Some((0, rest)) => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    /// The number of a stream's or a future's channel: one more than that of the one before it.
    pub(crate) fn channel(&mut self) -> Result<u32, ValueError> {
        let number = self.varint::<32>()?;
        if number != u64::from(self.channels) {
            return Err(bad_channel(number, self.channels));
        }
        if self.channels >= MAX_CHANNELS {
            return Err(over_channels());
        }
        let number = self.channels;
        self.channels += 1;
        Ok(number)
    }

    /// The bits of `count` flags.
    pub(crate) fn flags(&mut self, count: usize) -> Result<u32, ValueError> {
        let mut bits: u64 = 0;
        for (at, byte) in self.bytes(count.div_ceil(8))?.iter().enumerate() {
            bits |= u64::from(*byte) << (8 * at.min(7));
        }
        if bits.checked_shr(u32::try_from(count).unwrap_or(u32::MAX)).unwrap_or(0) != 0 {
            return Err(bad_flags(count));
        }
        u32::try_from(bits).map_err(|_| bad_flags(count))
    }
}

/// The fewest bytes that a value of this type has; for those of fixed size, how many they are.
pub(crate) fn least_bytes(ty: Type) -> usize {
    match ty {
        Type::F32 => 4,
        Type::F64 => 8,
        _ => 1,
    }
}

/// What so many items of a list count against the limit of elements.
pub(crate) fn elements(item: Type, count: usize) -> usize {
    match item {
        Type::String | Type::Def(_) => count,
        // In no memory they are more than eight times as large as here, and most are made at once.
        _ => 0,
    }
}

#[cold]
pub(crate) fn over_bytes(bytes: usize, most: usize) -> ValueError {
    ValueError::too_large(format!("{bytes} bytes are more than the {most} that are allowed"))
}

#[cold]
pub(crate) fn over_elements(most: usize) -> ValueError {
    ValueError::too_large(format!("the lists have more than the {most} items that are allowed"))
}

#[cold]
fn end(of: &str) -> ValueError {
    ValueError::new(format!("the bytes end before {of} does"))
}

#[cold]
fn too_many_items(count: usize, left: usize) -> ValueError {
    ValueError::new(format!("{count} items cannot be in the {left} bytes that are left"))
}

#[cold]
fn list_too_long(length: usize, left: usize) -> ValueError {
    ValueError::new(format!("a length of {length}, but only {left} bytes are left"))
}

#[cold]
fn bad_byte(what: &str, byte: u8) -> ValueError {
    ValueError::new(format!("expected {what} (0 or 1), found {byte}"))
}

#[cold]
fn bad_varint(bits: u32, problem: &str) -> ValueError {
    ValueError::new(format!("an integer of {bits} bits {problem}"))
}

#[cold]
fn bad_utf8(at: usize) -> ValueError {
    ValueError::new(format!("expected string, found bytes that are no UTF-8 (at byte {at})"))
}

#[cold]
fn bad_char(text: &str) -> ValueError {
    ValueError::new(format!("expected char, found a text of {} characters", text.chars().count()))
}

#[cold]
fn bad_case(index: u64, count: usize) -> ValueError {
    ValueError::new(format!("there is no case {index}; the type has {count}"))
}

#[cold]
pub(crate) fn bad_channel(number: u64, expected: u32) -> ValueError {
    ValueError::new(format!("the channel {number} where {expected} comes next"))
}

#[cold]
pub(crate) fn over_channels() -> ValueError {
    ValueError::too_large(format!("more streams than the {MAX_CHANNELS} that are allowed in one value"))
}

#[cold]
fn bad_flags(count: usize) -> ValueError {
    ValueError::new(format!("bits are set beyond the {count} flags of the type"))
}
