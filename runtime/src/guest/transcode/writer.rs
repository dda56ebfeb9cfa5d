//! Writes postcard's scalars.
//!
//! It knows nothing of WIT types and of budgets; [`super::lift`] says what comes next and pays for it before.

use bytes::Bytes;

/// Bytes that grow at the end.
pub(super) struct Writer {
    out: Vec<u8>,
}

impl Writer {
    /// Starts with nothing.
    pub(super) fn new() -> Self {
        Self { out: Vec::with_capacity(64) }
    }

    /// How many bytes were written.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.out.len()
    }

    /// Makes room for bytes that will be written soon.
    pub(super) fn reserve(&mut self, more: usize) {
        self.out.reserve(more);
    }

    /// What was written.
    pub(super) fn finish(self) -> Bytes {
        Bytes::from(self.out)
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
    pub(super) fn unsigned(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.out.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.out.push(value as u8);
    }

    /// A signed integer wider than eight bits.
    #[inline]
    pub(super) fn signed(&mut self, value: i64) {
        self.unsigned(((value << 1) ^ (value >> 63)).cast_unsigned());
    }

    /// A `char`: a string of one.
    pub(super) fn char(&mut self, value: char) {
        let mut buffer = [0; 4];
        let text = value.encode_utf8(&mut buffer);
        self.unsigned(text.len() as u64);
        self.bytes(text.as_bytes());
    }
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
