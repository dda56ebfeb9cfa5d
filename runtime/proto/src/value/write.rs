//! Primitives to postcard bytes, within a budget.

use super::error::ValueError;
use super::read::{bad_channel, elements, over_bytes, over_channels, over_elements};
use super::{Limits, MAX_CHANNELS};
use crate::signature::Type;

/// Collects postcard bytes. What is beyond the limits is refused before it is stored.
pub(crate) struct Writer {
    out: Vec<u8>,
    max_bytes: usize,
    elements_left: usize,
    max_elements: usize,
    /// How many streams and futures there were.
    channels: u32,
}

impl Writer {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            out: Vec::new(),
            max_bytes: limits.max_bytes,
            elements_left: limits.max_elements,
            max_elements: limits.max_elements,
            channels: 0,
        }
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.out
    }

    /// How many bytes there are so far.
    pub(crate) fn position(&self) -> usize {
        self.out.len()
    }

    /// Takes so many items of a list from the budget.
    pub(crate) fn charge(&mut self, item: Type, count: usize) -> Result<(), ValueError> {
        let left = self.elements_left.checked_sub(elements(item, count));
        self.elements_left = left.ok_or_else(|| over_elements(self.max_elements))?;
        Ok(())
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<(), ValueError> {
        let length = self.out.len().saturating_add(bytes.len());
        if length > self.max_bytes {
            return Err(over_bytes(length, self.max_bytes));
        }
        self.out.extend_from_slice(bytes);
        Ok(())
    }

    pub(crate) fn byte(&mut self, byte: u8) -> Result<(), ValueError> {
        self.bytes(&[byte])
    }

    pub(crate) fn varint(&mut self, value: u64) -> Result<(), ValueError> {
        let (bytes, length) = varint_bytes(value);
        self.bytes(bytes.get(..length).unwrap_or(&bytes))
    }

    pub(crate) fn zigzag(&mut self, value: i64) -> Result<(), ValueError> {
        self.varint(((value << 1) ^ (value >> 63)).cast_unsigned())
    }

    /// The length of a string or list, or the index of a case.
    pub(crate) fn length(&mut self, length: usize) -> Result<(), ValueError> {
        self.varint(length as u64)
    }

    /// A string, or a `list<u8>`.
    pub(crate) fn byte_list(&mut self, bytes: &[u8]) -> Result<(), ValueError> {
        self.length(bytes.len())?;
        self.bytes(bytes)
    }

    pub(crate) fn char(&mut self, c: char) -> Result<(), ValueError> {
        self.byte_list(c.encode_utf8(&mut [0; 4]).as_bytes())
    }

    /// The bits of `count` flags.
    pub(crate) fn flags(&mut self, bits: u32, count: usize) -> Result<(), ValueError> {
        let bytes = bits.to_le_bytes();
        self.bytes(bytes.get(..count.div_ceil(8)).unwrap_or(&bytes))
    }

    /// The number of a stream's or a future's channel: one more than that of the one before it.
    pub(crate) fn channel(&mut self, number: u32) -> Result<(), ValueError> {
        if number != self.channels {
            return Err(bad_channel(number.into(), self.channels));
        }
        if number >= MAX_CHANNELS {
            return Err(over_channels());
        }
        self.channels += 1;
        self.varint(number.into())
    }

    /// Puts the length of a list before its items, which are all that was written since `start`: who reads a list from
    /// text knows its length only then.
    pub(crate) fn length_before(&mut self, start: usize, count: usize) -> Result<(), ValueError> {
        let (bytes, length) = varint_bytes(count as u64);
        let end = self.out.len();
        self.bytes(bytes.get(..length).unwrap_or(&bytes))?;
        if let Some(items) = self.out.get_mut(start..).filter(|_| start <= end) {
            items.rotate_right(length);
        }
        Ok(())
    }

    /// Puts the parts of a record, written since `start` in the order in which they came, into the order of `ends`:
    /// for each field of the type the range of its bytes.
    pub(crate) fn reorder(&mut self, start: usize, parts: &[std::ops::Range<usize>]) {
        let mut ordered = Vec::with_capacity(self.out.len().saturating_sub(start));
        for part in parts {
            ordered.extend_from_slice(self.out.get(part.clone()).unwrap_or_default());
        }
        self.out.truncate(start);
        self.out.append(&mut ordered);
    }
}

/// A varint's bytes, and how many of them count.
fn varint_bytes(mut value: u64) -> ([u8; 10], usize) {
    let mut bytes = [0; 10];
    let mut length = 0;
    for byte in &mut bytes {
        length += 1;
        *byte = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            break;
        }
        *byte |= 0x80;
    }
    (bytes, length)
}
