//! Large frames go in parts, so that small ones need not wait for all of one.
//!
//! ```text
//!  0              4         8                                   4+n
//!  +--------------+---------+-----------------------------------+
//!  | PART | n: u32| t: u32  | the frame's first n-4 bytes, of t |    the first part: header and payload begin
//!  | LE           | LE      |                                   |
//!  +--------------+---------+-----------------------------------+
//!  | PART | n: u32| the next n bytes                            |    each other one
//!  +--------------+---------------------------------------------+
//! ```
//!
//! Invariants: of one link one frame is under way in parts; between two parts there are whole frames only; the frame has arrived when
//! its last byte has, and is heard then. What may go before it, see [`Header::may_pass`](super::Header::may_pass).

use bytes::{BufMut, Bytes, BytesMut};

use super::{Frame, FrameError, PREFIX_BYTES};

/// A frame goes in parts of so many bytes when its payload has more of them.
pub const PART_BYTES: usize = 256 * 1024;

/// Marks the prefix of a part. No frame is so long.
pub(super) const PART: u32 = 1 << 31;

/// Bytes of a first part that say how long the frame is.
pub(super) const TOTAL_BYTES: usize = 4;

/// What of a large frame is still to be sent.
#[derive(Debug)]
pub struct Parts {
    /// The frame's header, as long as nothing was sent.
    header: Option<Bytes>,
    payload: Bytes,
}

impl Parts {
    /// All of this frame.
    ///
    /// # Errors
    /// As [`Frame::encode_head`].
    pub fn of(frame: &Frame) -> Result<Self, FrameError> {
        let mut head = BytesMut::new();
        frame.encode_head(&mut head)?;
        let header = head.split_off(PREFIX_BYTES).freeze();
        Ok(Self { header: Some(header), payload: frame.payload.clone() })
    }

    /// The next part: its beginning is appended, and the rest of it is given out, to be sent behind that from where it is.
    /// None, when all is sent.
    pub fn next_into(&mut self, buffer: &mut BytesMut) -> Option<Bytes> {
        let header = self.header.take();
        if header.is_none() && self.payload.is_empty() {
            return None;
        }
        let piece = self.payload.split_to(PART_BYTES.min(self.payload.len()));
        // Both are bounded so that they fit; see MAX_FRAME_BYTES.
        let word = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX);
        match header {
            Some(header) => {
                let total = header.len() + piece.len() + self.payload.len();
                buffer.put_u32_le(PART | word(TOTAL_BYTES + header.len() + piece.len()));
                buffer.put_u32_le(word(total));
                buffer.extend_from_slice(&header);
            }
            None => buffer.put_u32_le(PART | word(piece.len())),
        }
        Some(piece)
    }
}

/// A frame that arrives in parts.
#[derive(Debug)]
pub(super) struct Arriving {
    /// What has arrived.
    pub bytes: BytesMut,
    /// How many there are in all.
    pub total: usize,
    /// Where the part that is arriving ends among them.
    pub part_end: usize,
}

impl Arriving {
    /// Bytes of this part that have not arrived.
    pub fn missing_bytes(&self) -> usize {
        self.part_end.saturating_sub(self.bytes.len())
    }

    /// Whether all of the frame has arrived.
    pub fn is_whole(&self) -> bool {
        self.bytes.len() >= self.total
    }
}
