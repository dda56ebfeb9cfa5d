//! Reads postcard's scalars from bytes.
//!
//! Total: any bytes give a value or a [`Fault`]. It knows nothing of WIT types; [`super::lower`] asks it for what the
//! type says comes next. Integers are varints (zigzag where signed), at most as long as their width needs, as postcard
//! itself reads them.

use super::error::{Fault, Walk};

/// A position in bytes that are read from the front.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts at the first byte.
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// How many bytes are left.
    pub(super) fn left(&self) -> usize {
        self.rest.len()
    }

    /// Ends the reading; left-over bytes mean that the bytes are of another type.
    pub(super) fn finish(&self) -> Walk<()> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(Fault::problem(format!("{} bytes are left over", self.rest.len())))
        }
    }

    /// One byte.
    #[inline]
    pub(super) fn byte(&mut self) -> Walk<u8> {
        let (byte, rest) = self.rest.split_first().ok_or_else(end)?;
        self.rest = rest;
        Ok(*byte)
    }

    /// The next `count` bytes.
    #[inline]
    pub(super) fn bytes(&mut self, count: usize) -> Walk<&'a [u8]> {
        let (bytes, rest) = self.rest.split_at_checked(count).ok_or_else(end)?;
        self.rest = rest;
        Ok(bytes)
    }

    /// The next `N` bytes, as floats and flags lie there.
    #[inline]
    pub(super) fn array<const N: usize>(&mut self) -> Walk<[u8; N]> {
        let (bytes, rest) = self.rest.split_first_chunk::<N>().ok_or_else(end)?;
        self.rest = rest;
        Ok(*bytes)
    }

    /// A boolean: 0 or 1.
    #[inline]
    pub(super) fn bool(&mut self) -> Walk<u8> {
        match self.byte()? {
            value @ 0..=1 => Ok(value),
            other => Err(Fault::problem(format!("{other} is no bool"))),
        }
    }

    /// An unsigned 16-bit integer.
    #[inline]
    pub(super) fn u16(&mut self) -> Walk<u16> {
        Ok(self.varint::<16>()? as u16)
    }

    /// An unsigned 32-bit integer; also discriminants.
    #[inline]
    pub(super) fn u32(&mut self) -> Walk<u32> {
        Ok(self.varint::<32>()? as u32)
    }

    /// An unsigned 64-bit integer.
    #[inline]
    pub(super) fn u64(&mut self) -> Walk<u64> {
        self.varint::<64>()
    }

    /// A signed 16-bit integer.
    #[inline]
    pub(super) fn i16(&mut self) -> Walk<i16> {
        Ok(unzigzag(self.varint::<16>()?) as i16)
    }

    /// A signed 32-bit integer.
    #[inline]
    pub(super) fn i32(&mut self) -> Walk<i32> {
        Ok(unzigzag(self.varint::<32>()?) as i32)
    }

    /// A signed 64-bit integer.
    #[inline]
    pub(super) fn i64(&mut self) -> Walk<i64> {
        Ok(unzigzag(self.varint::<64>()?))
    }

    /// How many items a list has, or bytes a string. Every item takes at least one byte, so that a count beyond what is
    /// left is wrong whatever the item is; this bounds what a caller allocates for it.
    #[inline]
    pub(super) fn count(&mut self) -> Walk<usize> {
        let count = self.varint::<64>()?;
        match usize::try_from(count) {
            Ok(count) if count <= self.rest.len() => Ok(count),
            _ => Err(Fault::problem(format!("a length of {count} where {} bytes are left", self.rest.len()))),
        }
    }

    /// A string.
    #[inline]
    pub(super) fn str(&mut self) -> Walk<&'a str> {
        let count = self.count()?;
        std::str::from_utf8(self.bytes(count)?).map_err(|error| Fault::problem(error.to_string()))
    }

    /// A `char`: a string of one.
    pub(super) fn char(&mut self) -> Walk<char> {
        let text = self.str()?;
        let mut chars = text.chars();
        match (chars.next(), chars.next()) {
            (Some(only), None) => Ok(only),
            _ => Err(Fault::problem(format!("a char of {} bytes", text.len()))),
        }
    }

    /// A varint of at most `BITS` bits: seven a byte, the lowest first.
    #[inline]
    fn varint<const BITS: u32>(&mut self) -> Walk<u64> {
        match self.rest {
            [byte @ 0..0x80, rest @ ..] => {
                self.rest = rest;
                Ok(u64::from(*byte))
            }
            _ => self.long_varint::<BITS>(),
        }
    }

    /// A varint of up to eight bytes where eight are there, without a step for each byte.
    fn long_varint<const BITS: u32>(&mut self) -> Walk<u64> {
        let Some(word) = self.rest.first_chunk().map(|bytes| u64::from_le_bytes(*bytes)) else {
            return self.slow_varint::<BITS>();
        };
        // The byte whose highest bit is not set is the last one.
        let width = (!word & 0x8080_8080_8080_8080).trailing_zeros() + 1;
        if width > u64::BITS {
            return self.slow_varint::<BITS>();
        }
        // Groups of 7 bits become groups of 14, 28 and 56.
        let groups = word & (u64::MAX >> (u64::BITS - width));
        let pairs = (groups & 0x007f_007f_007f_007f) | ((groups & 0x7f00_7f00_7f00_7f00) >> 1);
        let fours = (pairs & 0x0000_3fff_0000_3fff) | ((pairs & 0x3fff_0000_3fff_0000) >> 2);
        let value = (fours & 0x0fff_ffff) | ((fours & 0x0fff_ffff_0000_0000) >> 4);
        if width / 8 > BITS.div_ceil(7) || value.checked_shr(BITS).is_some_and(|excess| excess != 0) {
            return Err(too_wide::<BITS>());
        }
        self.bytes(width as usize / 8)?;
        Ok(value)
    }

    fn slow_varint<const BITS: u32>(&mut self) -> Walk<u64> {
        let (mut value, mut shift) = (0, 0);
        while shift < BITS {
            let byte = self.byte()?;
            // In the last byte that fits, the bits above the width must be zero.
            if BITS - shift < 7 && byte >> (BITS - shift) != 0 {
                break;
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
            shift += 7;
        }
        Err(too_wide::<BITS>())
    }
}

/// Undoes postcard's zigzag: 0, -1, 1, -2, … from 0, 1, 2, 3, …
#[inline]
fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -(value & 1).cast_signed()
}

#[cold]
fn too_wide<const BITS: u32>() -> Fault {
    Fault::problem(format!("an integer of more than {BITS} bits"))
}

#[cold]
fn end() -> Fault {
    Fault::problem("the bytes end too early")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<'a, T>(bytes: &'a [u8], read: impl Fn(&mut Reader<'a>) -> Walk<T>) -> Option<T> {
        let mut reader = Reader::new(bytes);
        let value = read(&mut reader).ok()?;
        reader.finish().ok()?;
        Some(value)
    }

    #[test]
    fn integers_are_read_as_postcard_writes_them() {
        for value in [0, 1, 127, 128, 300, 16_383, 16_384, u64::from(u32::MAX), u64::MAX - 1, u64::MAX] {
            let bytes = postcard::to_stdvec(&value).unwrap();
            assert_eq!(read(&bytes, Reader::u64), Some(value));
            assert_eq!(read(&bytes, Reader::u32), u32::try_from(value).ok(), "{value} as u32");
            assert_eq!(read(&bytes, Reader::u16), u16::try_from(value).ok(), "{value} as u16");
        }
        for value in [0, -1, 1, -64, 64, i64::from(i16::MIN), i64::from(i32::MAX), i64::MIN, i64::MAX] {
            let bytes = postcard::to_stdvec(&value).unwrap();
            assert_eq!(read(&bytes, Reader::i64), Some(value));
            assert_eq!(read(&bytes, Reader::i32), i32::try_from(value).ok(), "{value} as s32");
            assert_eq!(read(&bytes, Reader::i16), i16::try_from(value).ok(), "{value} as s16");
        }
    }

    /// What both readers make of the front of bytes: the value and how many bytes are left.
    fn same_as_postcard<'a, T: serde::Deserialize<'a> + PartialEq + std::fmt::Debug>(
        bytes: &'a [u8],
        read: impl Fn(&mut Reader<'a>) -> Walk<T>,
    ) {
        let mut reader = Reader::new(bytes);
        let ours = read(&mut reader).ok().map(|value| (value, reader.rest.len()));
        let theirs = postcard::take_from_bytes(bytes).ok().map(|(value, rest)| (value, rest.len()));
        assert_eq!(ours, theirs, "{bytes:x?}");
    }

    proptest::proptest! {
        #[test]
        fn the_reader_takes_and_refuses_the_same_bytes_as_postcard(
            continued in proptest::collection::vec(0x80_u8.., 0..11),
            last in 0_u8..4,
            shift in 0_u32..8,
            behind in proptest::collection::vec(proptest::num::u8::ANY, 0..10),
        ) {
            let bytes = [continued, vec![last << shift & 0x7f], behind].concat();
            same_as_postcard(&bytes, Reader::u16);
            same_as_postcard(&bytes, Reader::i16);
            same_as_postcard(&bytes, Reader::u32);
            same_as_postcard(&bytes, Reader::i32);
            same_as_postcard(&bytes, Reader::u64);
            same_as_postcard(&bytes, Reader::i64);
        }
    }

    #[test]
    fn a_count_beyond_the_rest_is_refused_before_anything_is_allocated_for_it() {
        let bytes = postcard::to_stdvec(&u64::MAX).unwrap();
        assert!(read(&bytes, Reader::count).is_none());
        assert!(read(&[3, b'a', b'b'], Reader::str).is_none());
    }

    #[test]
    fn a_char_is_one_char() {
        assert_eq!(read(&[2, 0xc3, 0xa9], Reader::char), Some('é'));
        assert_eq!(read(&[2, b'a', b'b'], Reader::char), None);
        assert_eq!(read(&[0], Reader::char), None);
        assert_eq!(read(&[1, 0xff], Reader::char), None);
    }
}
