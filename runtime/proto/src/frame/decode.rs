//! Frames out of a stream of bytes.
//!
//! Invariants: no more is buffered than the limits allow; a payload is cut out of the buffer, not copied, unless it may wait and is so
//! small that it would keep much more in memory than itself; after an error the stream is of no use and the link is closed.

use bytes::buf::Limit;
use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::parts::{Arriving, PART, PART_BYTES, TOTAL_BYTES};
use super::{
    DETACHED_BELOW_BYTES, Frame, FrameError, Header, MAX_FIRST_FRAME_BYTES, MAX_HEADER_BYTES, MAX_PAYLOAD_BYTES,
    MIN_PAYLOAD_LIMIT_BYTES, PREFIX_BYTES,
};

/// Room that is made at once for an announced frame; beyond it the buffer grows with what really arrives.
const RESERVE_AT_ONCE_BYTES: usize = 1024 * 1024;

/// Takes frames off the front of a buffer that the link's reader fills.
#[derive(Debug)]
pub struct Decoder {
    max_payload_bytes: usize,
    first: bool,
    /// Whether payloads go on at once, so that none needs to be detached.
    passes_on: bool,
    /// The frame that arrives in parts.
    arriving: Option<Arriving>,
}

impl Decoder {
    /// A decoder for a fresh link. The limit is raised to [`MIN_PAYLOAD_LIMIT_BYTES`].
    pub fn new(max_payload_bytes: usize) -> Self {
        Self {
            max_payload_bytes: max_payload_bytes.clamp(MIN_PAYLOAD_LIMIT_BYTES, MAX_PAYLOAD_BYTES),
            first: true,
            passes_on: false,
            arriving: None,
        }
    }

    /// The same, for whoever passes frames on at once: it copies nothing. A payload that is kept keeps what was read with it.
    #[must_use]
    pub fn passing_on(self) -> Self {
        Self { passes_on: true, ..self }
    }

    /// The next frame, if all of it has arrived; else makes room in the buffer for more. Call it until `None`.
    ///
    /// # Errors
    /// What arrived is no frame of ours: close the link.
    pub fn next(&mut self, buffer: &mut BytesMut) -> Result<Option<Frame>, FrameError> {
        loop {
            if let Some(mut body) = self.take_part(buffer) {
                let bytes = body.len();
                return self.open(&mut body, bytes).map(Some);
            }
            let Some(prefix) = buffer.first_chunk::<PREFIX_BYTES>().copied() else {
                return Ok(None);
            };
            let word = u32::from_le_bytes(prefix);
            if word & PART == 0 || self.first {
                return self.whole(prefix, buffer);
            }
            if !self.begin_part(word & !PART, buffer)? {
                return Ok(None);
            }
        }
    }

    /// Where the next bytes of the link are best read to: behind what has arrived of a large frame, or else into this buffer.
    pub fn place<'a>(&'a mut self, buffer: &'a mut BytesMut) -> Limit<&'a mut BytesMut> {
        match &mut self.arriving {
            Some(arriving) if buffer.is_empty() && arriving.missing_bytes() > 0 => {
                let missing = arriving.missing_bytes();
                arriving.bytes.reserve(missing);
                (&mut arriving.bytes).limit(missing)
            }
            _ => buffer.limit(usize::MAX),
        }
    }

    /// How many bytes of a frame that is not whole have arrived, with what is in this buffer.
    pub fn unfinished_bytes(&self, buffer: &BytesMut) -> usize {
        buffer.len() + self.arriving.as_ref().map_or(0, |arriving| arriving.bytes.len())
    }

    /// Takes what is in the buffer of the part that is arriving, and the frame, when it was its last one.
    fn take_part(&mut self, buffer: &mut BytesMut) -> Option<BytesMut> {
        let arriving = self.arriving.as_mut()?;
        let here = arriving.missing_bytes().min(buffer.len());
        arriving.bytes.extend_from_slice(buffer.get(..here).unwrap_or_default());
        buffer.advance(here);
        if !arriving.is_whole() {
            return None;
        }
        self.arriving.take().map(|arriving| arriving.bytes)
    }

    /// A part of so many bytes begins in the buffer, if all that is said before it has arrived.
    fn begin_part(&mut self, bytes: u32, buffer: &mut BytesMut) -> Result<bool, FrameError> {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        let longest = TOTAL_BYTES + MAX_HEADER_BYTES + PART_BYTES;
        if bytes > longest {
            return Err(FrameError::TooLong { bytes, limit: longest, hint: "" });
        }
        let begun = match &mut self.arriving {
            // Nothing of a part is missing where a prefix is looked at.
            Some(arriving) => {
                arriving.part_end = arriving.part_end.saturating_add(bytes);
                arriving
            }
            None => {
                let Some(total) = buffer.get(PREFIX_BYTES..).and_then(|rest| rest.first_chunk::<TOTAL_BYTES>()) else {
                    return Ok(false);
                };
                let total = usize::try_from(u32::from_le_bytes(*total)).unwrap_or(usize::MAX);
                let limit = MAX_HEADER_BYTES + self.max_payload_bytes;
                if total > limit {
                    return Err(FrameError::TooLong { bytes: total, limit, hint: "" });
                }
                let part_end = bytes.checked_sub(TOTAL_BYTES).ok_or(FrameError::BadPart)?;
                buffer.advance(TOTAL_BYTES);
                let room = total.min(RESERVE_AT_ONCE_BYTES);
                self.arriving.insert(Arriving { bytes: BytesMut::with_capacity(room), total, part_end })
            }
        };
        // One without bytes would be heard as a sign of life for ever.
        if begun.missing_bytes() == 0 || begun.part_end > begun.total {
            return Err(FrameError::BadPart);
        }
        buffer.advance(PREFIX_BYTES);
        Ok(true)
    }

    /// The frame with this prefix, if the buffer holds all of it.
    fn whole(&mut self, prefix: [u8; PREFIX_BYTES], buffer: &mut BytesMut) -> Result<Option<Frame>, FrameError> {
        let bytes = usize::try_from(u32::from_le_bytes(prefix)).unwrap_or(usize::MAX);
        let limit = match self.first {
            true => MAX_FIRST_FRAME_BYTES,
            false => MAX_HEADER_BYTES + self.max_payload_bytes,
        };
        if bytes > limit {
            return Err(FrameError::TooLong { bytes, limit, hint: looks_like(prefix) });
        }
        let missing = (PREFIX_BYTES + bytes).saturating_sub(buffer.len());
        if missing > 0 {
            buffer.reserve(missing.min(RESERVE_AT_ONCE_BYTES));
            return Ok(None);
        }
        buffer.advance(PREFIX_BYTES);
        let frame = self.open(buffer, bytes)?;
        self.first = false;
        Ok(Some(frame))
    }

    /// The frame of so many bytes, all of which are there.
    fn open(&self, buffer: &mut BytesMut, bytes: usize) -> Result<Frame, FrameError> {
        let body = buffer.get(..bytes).unwrap_or_default();
        let head = body.get(..MAX_HEADER_BYTES).unwrap_or(body);
        let header_bytes = match postcard::take_from_bytes::<Header>(head) {
            Ok((header, rest)) => Ok((header, head.len() - rest.len())),
            Err(postcard::Error::DeserializeUnexpectedEnd) if head.len() == MAX_HEADER_BYTES => {
                Err(FrameError::HeaderTooLong { bytes: body.len().min(MAX_HEADER_BYTES + 1) })
            }
            Err(error) => Err(FrameError::BadHeader(error.to_string())),
        };
        let (header, header_bytes) = header_bytes?;
        let payload = body.get(header_bytes..).unwrap_or_default();
        if payload.len() > self.max_payload_bytes {
            return Err(FrameError::PayloadTooLong { bytes: payload.len(), limit: self.max_payload_bytes });
        }
        // Even an empty slice would keep the whole read buffer alive.
        let is_copied = payload.is_empty() || (!self.passes_on && payload.len() < DETACHED_BELOW_BYTES);
        let payload = if is_copied {
            let payload = Bytes::copy_from_slice(payload);
            buffer.advance(bytes);
            payload
        } else {
            let payload_bytes = payload.len();
            buffer.advance(header_bytes);
            buffer.split_to(payload_bytes).freeze()
        };
        Ok(Frame { header, payload })
    }
}

/// What the first bytes of a link look like, when they are no frame.
fn looks_like(prefix: [u8; PREFIX_BYTES]) -> &'static str {
    match &prefix {
        b"GET " | b"POST" | b"PUT " | b"HEAD" | b"HTTP" | b"OPTI" | b"DELE" | b"PATC" | b"CONN" | b"TRAC" | b"PRI " => {
            "; this looks like HTTP, which is not spoken here"
        }
        // A handshake, or an alert.
        [0x15 | 0x16, 3, 0..=4, _] => "; this looks like TLS: one side uses tls:// and the other does not",
        b"SSH-" => "; this looks like SSH, which is not spoken here",
        _ => "; the peer does not speak this protocol",
    }
}
