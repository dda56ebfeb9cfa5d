//! What the two ends of a stream say to each other, as frames.

use bytes::Bytes;

use super::{Frame, Header, LastWord, StreamRef};
use crate::error::CallError;
use crate::stream::{Chunk, End, Message, Pull, Push};

impl Frame {
    /// The frame that carries this.
    pub(crate) fn of_stream(stream: StreamRef, message: Message) -> Self {
        match message {
            Message::Push(Push::Items(Chunk { count, bytes })) => {
                Self::with_payload(Header::Items { stream, count }, bytes)
            }
            Message::Push(Push::Want(bytes)) => Self::new(Header::Want { stream, bytes }),
            Message::Push(Push::End(end)) => {
                let (last, payload) = match end {
                    End::Finished => (LastWord::Finished, Bytes::new()),
                    End::Failed(error) => (LastWord::Failed, Self::encode_payload(&error.within_bounds())),
                    End::Stopped => (LastWord::Stopped, Bytes::new()),
                };
                Self::with_payload(Header::End { stream, last }, payload)
            }
            Message::Pull(Pull::Grant(total)) => Self::new(Header::Grant { stream, total }),
            Message::Pull(Pull::Done) => Self::new(Header::Done { stream }),
            Message::Pull(Pull::Cancel(why)) => {
                let payload = why.map(|error| Self::encode_payload(&error.within_bounds())).unwrap_or_default();
                Self::with_payload(Header::Halt { stream }, payload)
            }
        }
    }

    /// The stream that a frame is of, and what it says; none of another kind of frame. An error that cannot be read is made
    /// one that says so.
    pub(crate) fn into_stream(self, garbled: impl Fn(String) -> CallError) -> Option<(StreamRef, Message)> {
        let error = |frame: &Self| Box::new(frame.decode_payload().unwrap_or_else(|error| garbled(error.to_string())));
        let (stream, message) = match self.header {
            Header::Items { stream, count } => {
                (stream, Message::Push(Push::Items(Chunk { count, bytes: self.payload })))
            }
            Header::Want { stream, bytes } => (stream, Message::Push(Push::Want(bytes))),
            Header::End { stream, last } => {
                let end = match last {
                    LastWord::Finished => End::Finished,
                    LastWord::Failed => End::Failed(error(&self)),
                    LastWord::Stopped => End::Stopped,
                };
                (stream, Message::Push(Push::End(end)))
            }
            Header::Grant { stream, total } => (stream, Message::Pull(Pull::Grant(total))),
            Header::Done { stream } => (stream, Message::Pull(Pull::Done)),
            Header::Halt { stream } => {
                let why = (!self.payload.is_empty()).then(|| error(&self));
                (stream, Message::Pull(Pull::Cancel(why)))
            }
            _ => return None,
        };
        Some((stream, message))
    }
}

impl Header {
    /// The stream that this is of.
    pub(crate) fn stream_mut(&mut self) -> Option<&mut StreamRef> {
        match self {
            Self::Items { stream, .. }
            | Self::Want { stream, .. }
            | Self::End { stream, .. }
            | Self::Grant { stream, .. }
            | Self::Done { stream }
            | Self::Halt { stream } => Some(stream),
            _ => None,
        }
    }

    /// Whether the payload is an error that a relay is to read.
    pub(crate) fn has_error(&self) -> bool {
        matches!(self, Self::End { last: LastWord::Failed, .. } | Self::Halt { .. })
    }
}
