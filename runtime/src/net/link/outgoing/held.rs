//! Large frames on their way out, and what may not go before them.
//!
//! Invariants: what is held goes in the order in which it came, and one part of a large frame at a time; a frame that is not held
//! passes all that are, which it may ([`Header::may_pass`](daffi_proto::frame::Header::may_pass)).

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use daffi_proto::frame::{Frame, FrameError, Header, PART_BYTES, Parts};

use crate::mesh::link::FRAME_COST_BYTES;

/// Behind so many frames whatever comes is held too: each that is not is compared with all of them.
const MAX_COMPARED: usize = 64;

/// See the module.
#[derive(Default)]
pub(super) struct Held {
    frames: VecDeque<Frame>,
    /// What of the first one is still to be sent, once a part of it was.
    parts: Option<Parts>,
    bytes: usize,
    /// How many of them are items of streams.
    items: usize,
}

/// What is sent next.
pub(super) enum Next {
    /// This, whole.
    Frame(Frame),
    /// A part, whose beginning was written already.
    Part(Bytes),
}

impl Held {
    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// What it holds, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether the frame may go before all that is held.
    pub fn lets_pass(&self, frame: &Frame) -> bool {
        let passes = |earlier: &Frame| frame.header.may_pass(&earlier.header);
        !is_large(frame) && self.frames.len() <= MAX_COMPARED && self.frames.iter().all(passes)
    }

    /// Holds the frame: it goes behind all that are.
    pub fn hold(&mut self, mut frame: Frame) {
        frame.detach();
        self.bytes += frame.payload.len() + FRAME_COST_BYTES;
        self.items += usize::from(is_of_items(&frame));
        self.frames.push_back(frame);
    }

    /// Whether streams are to wait: more than one item is held.
    pub fn stops_streams(&self) -> bool {
        self.items > 1
    }

    /// What is sent next, and is held no more; of a part the beginning is appended.
    ///
    /// # Errors
    /// The frame cannot be encoded.
    pub fn next(&mut self, buffer: &mut BytesMut) -> Result<Option<Next>, FrameError> {
        loop {
            let Some(first) = self.frames.front() else { return Ok(None) };
            if !is_large(first) {
                let frame = self.release();
                return Ok(frame.map(Next::Frame));
            }
            let parts = match &mut self.parts {
                Some(parts) => parts,
                none => none.insert(Parts::of(first)?),
            };
            if let Some(part) = parts.next_into(buffer) {
                return Ok(Some(Next::Part(part)));
            }
            self.parts = None;
            self.release();
        }
    }

    fn release(&mut self) -> Option<Frame> {
        let frame = self.frames.pop_front()?;
        self.bytes = self.bytes.saturating_sub(frame.payload.len() + FRAME_COST_BYTES);
        self.items = self.items.saturating_sub(usize::from(is_of_items(&frame)));
        Some(frame)
    }
}

fn is_of_items(frame: &Frame) -> bool {
    matches!(frame.header, Header::Items { .. })
}

fn is_large(frame: &Frame) -> bool {
    frame.payload.len() > PART_BYTES
}
