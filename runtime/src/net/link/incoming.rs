//! The incoming direction of a link over a socket.

use std::io;
use std::pin::pin;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use daffi_proto::frame::{Decoder, Frame};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::mesh::link::{FrameSource, LinkEnd, LinkLimits};

/// Room that is made for a read.
const READ_BYTES: usize = 64 * 1024;

/// Room that a read finds at least.
const MIN_READ_BYTES: usize = 8 * 1024;

pub(super) struct Incoming {
    reader: Box<dyn AsyncRead + Send + Unpin>,
    buffer: BytesMut,
    decoder: Decoder,
    /// Found behind good frames; told after them.
    end: Option<LinkEnd>,
}

impl Incoming {
    pub(super) fn new(reader: Box<dyn AsyncRead + Send + Unpin>, limits: LinkLimits) -> Self {
        Self { reader, buffer: BytesMut::new(), decoder: Decoder::new(limits.max_payload_bytes), end: None }
    }

    fn decode(&mut self, frames: &mut Vec<Frame>) {
        loop {
            match self.decoder.next(&mut self.buffer) {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => return,
                Err(error) => {
                    self.end = Some(error.into());
                    return;
                }
            }
        }
    }
}

impl FrameSource for Incoming {
    fn poll_recv(&mut self, cx: &mut Context<'_>, frames: &mut Vec<Frame>) -> Poll<Result<(), LinkEnd>> {
        let before = frames.len();
        let mut heard = false;
        loop {
            if let Some(end) = self.end.take() {
                return Poll::Ready(Err(end));
            }
            if self.buffer.capacity().saturating_sub(self.buffer.len()) < MIN_READ_BYTES {
                self.buffer.reserve(READ_BYTES);
            }
            // This future holds nothing between polls, so it may be made anew for each.
            let read = match pin!(self.reader.read_buf(&mut self.buffer)).poll(cx) {
                // All that was there is a part of a frame: that it came is told once.
                Poll::Pending if heard => return Poll::Ready(Ok(())),
                read => ready!(read),
            };
            match read {
                Ok(0) if self.buffer.is_empty() => return Poll::Ready(Err(LinkEnd::Closed)),
                Ok(0) => return Poll::Ready(Err(LinkEnd::HalfFrame { bytes: self.buffer.len() })),
                Ok(_) => {
                    heard = true;
                    self.decode(frames);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Poll::Ready(Err(LinkEnd::Broken(error))),
            }
            if frames.len() > before {
                return Poll::Ready(Ok(()));
            }
        }
    }
}
