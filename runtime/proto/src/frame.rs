//! Frames: what goes over a link.
//!
//! ```text
//!  0         4                    4+h                    4+n
//!  +---------+---------------------+----------------------+
//!  | n: u32  | header, h bytes     | payload, n-h bytes   |
//!  | LE      | postcard            | raw                  |
//!  +---------+---------------------+----------------------+
//! ```
//!
//! The header's end is known by decoding it; the payload goes from there to the end. A relay changes ids in the header
//! and hands the same payload `Bytes` on: neither encoding nor decoding copies it. Large frames go in parts (`parts`), between
//! which others find room.
//!
//! Invariants: `n` is bounded ([`MAX_HEADER_BYTES`] plus the link's payload limit) and is checked before anything is
//! buffered; the first frame of a link is bounded by [`MAX_FIRST_FRAME_BYTES`], which tells strangers (HTTP, TLS) at
//! their first four bytes. This module knows no order of frames: `session`, `node` and `controller` do.

mod decode;
mod header;
mod parts;
mod stream;

use bytes::{BufMut, Bytes, BytesMut};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use decode::Decoder;
pub use header::{Header, LastWord, LoadList, Loads, MAX_ADDRESSES, Side, StreamRef, Target};
pub use parts::{PART_BYTES, Parts};

/// Bytes of the length prefix.
pub const PREFIX_BYTES: usize = 4;

/// Most bytes of an encoded header.
pub const MAX_HEADER_BYTES: usize = 64 * 1024;

/// The limit of a payload where none is configured.
pub const DEFAULT_MAX_PAYLOAD_BYTES: usize = 16 * 1024 * 1024;

/// The highest limit of a payload that can be configured; with the header it must fit the length prefix.
pub const MAX_PAYLOAD_BYTES: usize = 1024 * 1024 * 1024;

/// The lowest limit of a payload that a link can have, whatever is configured for arguments and results: the
/// registrations of processes must pass.
pub const MIN_PAYLOAD_LIMIT_BYTES: usize = crate::registry::MAX_TABLE_BYTES;

/// Most bytes of a frame, the prefix excepted, whatever is configured.
pub const MAX_FRAME_BYTES: usize = MAX_HEADER_BYTES + MAX_PAYLOAD_BYTES;

/// Most bytes of the first frame of a link, the prefix excepted: nobody has said who he is yet. A `Hello` of
/// a node of as many tenants as are taken, with the longest names, fits.
pub const MAX_FIRST_FRAME_BYTES: usize = 64 * 1024;

/// Smaller payloads are copied out of what they were read with, where they may wait.
const DETACHED_BELOW_BYTES: usize = 4096;

/// Longest text of a reason or message in a header, in bytes; longer ones are cut.
pub const MAX_TEXT_BYTES: usize = 1024;

/// A header and its payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What it is.
    pub header: Header,
    /// The bytes that go with it; empty for most headers.
    pub payload: Bytes,
}

/// A frame cannot be sent, or what arrived is none. Either ends the link.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The length prefix is over the limit.
    #[error("a frame of {bytes} bytes was announced, the limit is {limit}{hint}")]
    TooLong {
        /// What the prefix says.
        bytes: usize,
        /// The limit at this place of the link.
        limit: usize,
        /// What the bytes look like, for people; or nothing.
        hint: &'static str,
    },
    /// The header is over the limit.
    #[error("a header of {bytes} bytes or more, the limit is {MAX_HEADER_BYTES}")]
    HeaderTooLong {
        /// How long it is at least.
        bytes: usize,
    },
    /// The payload is over the link's limit.
    #[error("a payload of {bytes} bytes, the limit is {limit}")]
    PayloadTooLong {
        /// How long it is.
        bytes: usize,
        /// The link's limit.
        limit: usize,
    },
    /// A part of a frame is empty, or goes beyond the frame.
    #[error("a part of a frame has no bytes of it, or more than are left; the peer is defective")]
    BadPart,
    /// The header's bytes are no header of this protocol's version.
    #[error("the header cannot be decoded ({0}); the peer speaks another protocol, or is defective")]
    BadHeader(String),
    /// The payload that the header calls for cannot be decoded.
    #[error("the payload of a {kind} frame cannot be decoded ({detail}); the peer is defective")]
    BadPayload {
        /// The header's name.
        kind: &'static str,
        /// What the decoder says.
        detail: String,
    },
}

/// Where a header goes: behind what is in the buffer.
struct Tail<'a>(&'a mut BytesMut);

impl postcard::ser_flavors::Flavor for Tail<'_> {
    type Output = ();

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.put_u8(byte);
        Ok(())
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

impl Frame {
    /// A frame without a payload.
    pub fn new(header: Header) -> Self {
        Self { header, payload: Bytes::new() }
    }

    /// A frame with a payload.
    pub fn with_payload(header: Header, payload: Bytes) -> Self {
        Self { header, payload }
    }

    /// Copies a small payload, which may be cut out of a buffer: where it waits, it would keep all that was read with it in memory.
    pub fn detach(&mut self) {
        if self.payload.len() < DETACHED_BELOW_BYTES {
            self.payload = Bytes::copy_from_slice(&self.payload);
        }
    }

    /// The last frame of a link: why it is closed.
    pub fn close(reason: &str) -> Self {
        Self::new(Header::Close { reason: plain(reason) })
    }

    /// Appends the length prefix and the header; the payload is to follow, and may be written from where it is.
    ///
    /// # Errors
    /// [`FrameError::HeaderTooLong`], [`FrameError::TooLong`]: nothing was appended.
    pub fn encode_head(&self, buffer: &mut BytesMut) -> Result<(), FrameError> {
        let start = buffer.len();
        buffer.put_u32_le(0);
        let encoded = postcard::serialize_with_flavor(&self.header, Tail(buffer));
        let header_bytes = buffer.len().saturating_sub(start + PREFIX_BYTES);
        let bytes = header_bytes.saturating_add(self.payload.len());
        let checked = match encoded {
            Err(error) => Err(FrameError::BadHeader(error.to_string())),
            Ok(()) if header_bytes > MAX_HEADER_BYTES => Err(FrameError::HeaderTooLong { bytes: header_bytes }),
            Ok(()) => u32::try_from(bytes).ok().filter(|_| bytes <= MAX_FRAME_BYTES).ok_or(FrameError::TooLong {
                bytes,
                limit: MAX_FRAME_BYTES,
                hint: "",
            }),
        };
        match (checked, buffer.get_mut(start..start + PREFIX_BYTES)) {
            (Ok(length), Some(prefix)) => {
                prefix.copy_from_slice(&length.to_le_bytes());
                Ok(())
            }
            (Err(error), _) => {
                buffer.truncate(start);
                Err(error)
            }
            (Ok(_), None) => Err(FrameError::BadHeader("the buffer shrank".to_owned())),
        }
    }

    /// Appends the whole frame.
    ///
    /// # Errors
    /// As [`Frame::encode_head`].
    pub fn encode_into(&self, buffer: &mut BytesMut) -> Result<(), FrameError> {
        self.encode_head(buffer)?;
        buffer.extend_from_slice(&self.payload);
        Ok(())
    }

    /// A payload that this protocol itself reads, as opposed to the arguments and results that it passes on.
    pub(crate) fn encode_payload<T: Serialize>(value: &T) -> Bytes {
        // Writing to memory fails only for types that postcard cannot carry; those of this crate are all tested.
        postcard::to_stdvec(value).map(Bytes::from).unwrap_or_default()
    }

    /// The counterpart of [`Frame::encode_payload`]. What follows the value is ignored, so that it may grow.
    ///
    /// # Errors
    /// [`FrameError::BadPayload`].
    pub(crate) fn decode_payload<T: DeserializeOwned>(&self) -> Result<T, FrameError> {
        Self::decode_bytes(self.header.kind(), &self.payload)
    }

    /// As [`Frame::decode_payload`], of a frame of this kind that was taken apart.
    ///
    /// # Errors
    /// [`FrameError::BadPayload`].
    pub(crate) fn decode_bytes<T: DeserializeOwned>(kind: &'static str, payload: &[u8]) -> Result<T, FrameError> {
        postcard::take_from_bytes(payload)
            .map(|(value, _)| value)
            .map_err(|error| FrameError::BadPayload { kind, detail: error.to_string() })
    }
}

/// A text of or from a peer, fit for a header and for a log: not too long, and on one line.
pub(crate) fn plain(text: &str) -> String {
    let cut = text.get(..text.floor_char_boundary(MAX_TEXT_BYTES)).unwrap_or(text);
    cut.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
