//! The incoming direction of a link over a socket.
//!
//! When nothing can be written any more, what the peer said before is still here or on its way, with answers to calls
//! and a goodbye among it. So this goes on until the peer ends, or takes too long to.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::BytesMut;
use daffi_proto::frame::{Decoder, Frame};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::{Instant, Sleep};

use super::outgoing::Outgoing;
use crate::mesh::link::{FrameSource, Glance, LinkEnd, LinkLimits};

/// Room that is made for a read: for a frame with a payload of 64 KiB, which is as much as many take for a block.
const READ_BYTES: usize = 72 * 1024;

/// Room that a read finds at least.
const MIN_READ_BYTES: usize = 8 * 1024;

/// What is read from, and what says that something is there.
pub(super) type Reader = (Box<dyn AsyncRead + Send + Unpin>, Option<Arc<dyn Glance>>);

pub(super) struct Incoming {
    reader: Box<dyn AsyncRead + Send + Unpin>,
    glance: Option<Arc<dyn Glance>>,
    buffer: BytesMut,
    decoder: Decoder,
    /// Found behind good frames; told after them.
    end: Option<LinkEnd>,
    outgoing: Arc<Outgoing>,
    last_words_timeout: Duration,
    /// Runs once nothing can be written any more; with the reason.
    last_words: Option<(Pin<Box<Sleep>>, String)>,
}

impl Incoming {
    pub(super) fn new((reader, glance): Reader, limits: LinkLimits, outgoing: Arc<Outgoing>) -> Self {
        let LinkLimits { max_payload_bytes, passes_on, last_words_timeout, .. } = limits;
        let decoder = Decoder::new(max_payload_bytes);
        let decoder = if passes_on { decoder.passing_on() } else { decoder };
        let buffer = BytesMut::new();
        Self { reader, glance, buffer, decoder, end: None, outgoing, last_words_timeout, last_words: None }
    }

    /// Ready when nothing can be written any more and the peer has been heard for long enough.
    fn poll_given_up(&mut self, cx: &mut Context<'_>) -> Poll<LinkEnd> {
        if self.last_words.is_none() {
            let reason = ready!(self.outgoing.poll_broken(cx));
            self.last_words = Some((Box::pin(tokio::time::sleep(self.last_words_timeout)), reason));
        }
        let Some((sleep, reason)) = &mut self.last_words else { return Poll::Pending };
        // The time itself is looked at too: a peer who never pauses leaves this task no turn for its timer.
        if sleep.deadline() > Instant::now() {
            ready!(sleep.as_mut().poll(cx));
        }
        Poll::Ready(LinkEnd::Mute(std::mem::take(reason)))
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
    fn glance(&self) -> Option<Arc<dyn Glance>> {
        self.glance.clone()
    }

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
            let read = match pin!(self.reader.read_buf(&mut self.decoder.place(&mut self.buffer))).poll(cx) {
                Poll::Ready(read) => read,
                Poll::Pending => {
                    return match self.poll_given_up(cx) {
                        Poll::Ready(end) => Poll::Ready(Err(end)),
                        // All that was there is a part of a frame: that it came is told once.
                        Poll::Pending if heard => Poll::Ready(Ok(())),
                        Poll::Pending => Poll::Pending,
                    };
                }
            };
            match read {
                Ok(0) => {
                    let end = match self.decoder.unfinished_bytes(&self.buffer) {
                        0 => LinkEnd::Closed,
                        bytes => LinkEnd::HalfFrame { bytes },
                    };
                    return Poll::Ready(Err(end));
                }
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
