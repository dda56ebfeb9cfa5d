//! A link over a socket: bytes to frames and back.
//!
//! ```text
//!   owner ── send, send, flush ──▶ outgoing ──▶ write now ─ ─ the rest ─▶ writer task ──▶ socket
//!   owner ◀── poll_recv: all frames of a read ── decoder ◀─────────────────────────────── socket
//! ```
//!
//! Invariants: a flush writes at once, in the caller's task, what the socket takes, in one system call for many
//! frames; only the rest costs a wake-up of the writer task. The queue and the writer are behind one lock that is held
//! for an attempt to write, never over an await. A payload of [`COPY_BELOW_BYTES`] or more is never copied. What a frame
//! means is not known here.

mod incoming;
mod outgoing;

use std::io;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_util::task::TaskTracker;

use super::unix;
use crate::mesh::link::{Glance, Link, LinkLimits};
use incoming::Incoming;
use outgoing::{Outgoing, SocketSink};

/// A payload below this is copied next to its header; a larger one is written from where it is.
pub const COPY_BELOW_BYTES: usize = 4 * 1024;

/// The two directions of a connected socket.
pub struct Connection {
    reader: Box<dyn AsyncRead + Send + Unpin>,
    writer: Box<dyn AsyncWrite + Send + Unpin>,
    glance: Option<Arc<dyn Glance>>,
}

impl Connection {
    /// Over a unix socket. It takes two descriptors, and a third one while it is full (without one, a full socket is tried again
    /// every 10 ms).
    ///
    /// # Errors
    /// When the process has no more descriptors.
    pub fn unix(stream: UnixStream) -> io::Result<Self> {
        let (reader, writer) = unix::split(stream)?;
        let glance = reader.glance();
        Ok(Self { glance: Some(glance), ..Self::new(reader, writer) })
    }

    /// Over TCP. Frames are coalesced by us, so the system must not wait for more.
    ///
    /// # Errors
    /// When the connection is broken already.
    pub fn tcp(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        let (reader, writer) = stream.into_split();
        Ok(Self::new(reader, writer))
    }

    /// Over anything else.
    pub fn new(
        reader: impl AsyncRead + Send + Unpin + 'static,
        writer: impl AsyncWrite + Send + Unpin + 'static,
    ) -> Self {
        Self { reader: Box::new(reader), writer: Box::new(writer), glance: None }
    }

    /// Makes a link of it. The link's writer task is tracked by `tasks`, and ends with the link's sink.
    pub fn into_link(self, limits: LinkLimits, tasks: &TaskTracker) -> Link {
        let outgoing = Arc::new(Outgoing::new(self.writer, limits));
        tasks.spawn(Arc::clone(&outgoing).write_the_rest());
        let source = Incoming::new((self.reader, self.glance), limits, Arc::clone(&outgoing));
        Link { sink: Box::new(SocketSink::new(outgoing)), source: Box::new(source) }
    }
}

#[cfg(test)]
#[path = "link_tests.rs"]
mod tests;
