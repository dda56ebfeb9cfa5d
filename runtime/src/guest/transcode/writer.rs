//! Writes postcard's scalars.
//!
//! It knows nothing of WIT types and of budgets; [`super::lift`] says what comes next and pays for it before.

use std::cell::Cell;

use bytes::{Bytes, BytesMut};

/// Most bytes that a thread keeps for the next writer.
const MAX_KEPT_BYTES: usize = 64 * 1024;

/// Most bytes that an integer takes.
const MAX_VARINT_BYTES: usize = 10;

/// Most integers that are written at once.
pub(super) const PIECE_ITEMS: usize = 256;

/// Outputs of up to so many bytes share the memory of a chunk.
const SMALL_BYTES: usize = 128;

/// The memory that small outputs share: of those, one that is kept keeps as much.
const CHUNK_BYTES: usize = 1024;

thread_local! {
    /// Where outputs grow, so that each that is not small costs one allocation of its own size.
    static KEPT: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    /// What is left of a chunk.
    static CHUNK: Cell<Option<BytesMut>> = const { Cell::new(None) };
}

/// These few bytes, in a chunk with others.
fn share_chunk(bytes: &[u8]) -> Bytes {
    let left = CHUNK.take().filter(|chunk| chunk.capacity() >= bytes.len());
    let mut chunk = left.unwrap_or_else(|| BytesMut::with_capacity(CHUNK_BYTES));
    chunk.extend_from_slice(bytes);
    let shared = chunk.split().freeze();
    CHUNK.set(Some(chunk));
    shared
}

/// Bytes that grow at the end.
pub(super) struct Writer {
    out: Vec<u8>,
}

impl Writer {
    /// Starts with nothing.
    pub(super) fn new() -> Self {
        Self { out: KEPT.take() }
    }

    /// Goes on behind these bytes.
    pub(super) fn resume(bytes: Vec<u8>) -> Self {
        Self { out: bytes }
    }

    /// The bytes, to go on behind them later.
    pub(super) fn suspend(self) -> Vec<u8> {
        self.out
    }

    /// How many bytes were written.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.out.len()
    }

    /// What was written.
    pub(super) fn finish(mut self) -> Bytes {
        if self.out.capacity() > MAX_KEPT_BYTES {
            return Bytes::from(self.out);
        }
        let bytes = match self.out.len() {
            // It would keep its chunk for nothing.
            0 => Bytes::new(),
            1..=SMALL_BYTES => share_chunk(&self.out),
            _ => Bytes::copy_from_slice(&self.out),
        };
        self.out.clear();
        KEPT.set(self.out);
        bytes
    }

    /// One byte.
    #[inline]
    pub(super) fn byte(&mut self, byte: u8) {
        self.out.push(byte);
    }

    /// Bytes as they are.
    #[inline]
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// An unsigned integer wider than eight bits, a length or a discriminant.
    #[inline]
    pub(super) fn unsigned(&mut self, value: u64) {
        if value < 0x80 {
            self.out.push(value as u8);
        } else {
            let mut buffer = [0; MAX_VARINT_BYTES];
            let length = varint(&mut buffer, value);
            self.out.extend(buffer.iter().take(length));
        }
    }

    /// Integers one after another, at most `PIECE_ITEMS`.
    #[inline]
    pub(super) fn unsigned_piece(&mut self, values: impl Iterator<Item = u64>) {
        let mut buffer = [0; PIECE_ITEMS * MAX_VARINT_BYTES];
        let mut end = 0;
        for value in values {
            let Some(space) = buffer.get_mut(end..).and_then(|space| space.first_chunk_mut()) else { break };
            end += varint(space, value);
        }
        self.out.extend_from_slice(buffer.get(..end).unwrap_or(&[]));
    }

    /// A signed integer wider than eight bits.
    #[inline]
    pub(super) fn signed(&mut self, value: i64) {
        self.unsigned(zigzag(value));
    }

    /// A `char`: a string of one.
    pub(super) fn char(&mut self, value: char) {
        let mut buffer = [0; 4];
        let text = value.encode_utf8(&mut buffer);
        self.unsigned(text.len() as u64);
        self.bytes(text.as_bytes());
    }
}

/// Postcard's zigzag: 0, 1, 2, 3, … for 0, -1, 1, -2, …
#[inline]
pub(super) fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

/// Seven bits a byte, the lowest first; gives the number of bytes.
#[inline]
fn varint(space: &mut [u8; MAX_VARINT_BYTES], mut value: u64) -> usize {
    for (place, byte) in space.iter_mut().enumerate() {
        if value < 0x80 {
            *byte = value as u8;
            return place + 1;
        }
        *byte = value as u8 | 0x80;
        value >>= 7;
    }
    MAX_VARINT_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_written_as_postcard_writes_them() {
        for value in [0, 1, 127, 128, 16_384, u64::MAX] {
            let mut writer = Writer::new();
            writer.unsigned(value);
            assert_eq!(writer.finish(), postcard::to_stdvec(&value).unwrap());
        }
        for value in [0, -1, 1, -65, i64::MIN, i64::MAX] {
            let mut writer = Writer::new();
            writer.signed(value);
            assert_eq!(writer.finish(), postcard::to_stdvec(&value).unwrap());
        }
        for value in ['a', 'é', '€', '🦀'] {
            let mut writer = Writer::new();
            writer.char(value);
            assert_eq!(writer.finish(), postcard::to_stdvec(&value).unwrap());
        }
    }
}
