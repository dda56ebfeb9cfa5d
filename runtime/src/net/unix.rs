//! A unix socket whose two directions are waited for apart.
//!
//! A unix socket says that it can be written each time its peer has read something, and tokio's own always waits for both
//! directions: each frame that a peer takes wakes who sent it, for nothing. Here the reading direction waits for what can be
//! read, and the writing direction for nothing but a socket that was full.

use std::io::{self, IoSlice, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as Socket;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::AsyncWrite;
use tokio::net::UnixStream;
use tokio::net::unix::pipe;
use tokio::runtime::Handle;

/// The two directions; each has a descriptor of its own.
///
/// # Errors
/// When the process has no more descriptors.
pub(super) fn split(stream: UnixStream) -> io::Result<(pipe::Receiver, Writing)> {
    let socket = stream.into_std()?;
    // Of all that tokio reads from, a pipe alone waits for one direction; it reads as from any descriptor.
    let reading = pipe::Receiver::from_owned_fd_unchecked(socket.try_clone()?.into())?;
    Ok((reading, Writing { socket: Some(socket), full: None, runtime: Handle::current() }))
}

/// The writing direction: a socket that is written to at once, or one that was full and is waited for until all is written. It is
/// neither for a moment only.
pub(super) struct Writing {
    socket: Option<Socket>,
    full: Option<pipe::Sender>,
    /// Whoever writes may be of another one.
    runtime: Handle,
}

impl Writing {
    fn poll_with(
        &mut self,
        cx: &mut Context<'_>,
        write: impl Fn(&Socket) -> io::Result<usize>,
        write_when_free: impl FnOnce(Pin<&mut pipe::Sender>, &mut Context<'_>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if let Some(socket) = &self.socket {
            match write(socket) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let _runtime = self.runtime.enter();
                    let socket = self.socket.take().map(OwnedFd::from);
                    self.full = socket.map(pipe::Sender::from_owned_fd_unchecked).transpose()?;
                }
                written => return Poll::Ready(written),
            }
        }
        match &mut self.full {
            Some(full) => write_when_free(Pin::new(full), cx),
            None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    /// Waits for nothing any more.
    fn free(&mut self) -> io::Result<()> {
        if let Some(full) = self.full.take() {
            self.socket = Some(full.into_nonblocking_fd()?.into());
        }
        Ok(())
    }
}

impl AsyncWrite for Writing {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_with(cx, |mut socket| socket.write(bytes), |full, cx| full.poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_with(cx, |mut socket| socket.write_vectored(pieces), |full, cx| full.poll_write_vectored(cx, pieces))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// All was written: what it waited for is over.
    fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.free())
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.free()?;
        Poll::Ready(self.socket.as_ref().map_or(Ok(()), |socket| socket.shutdown(Shutdown::Write)))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use futures::FutureExt;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn what_finds_the_socket_full_is_written_when_its_peer_reads() {
        let (near, far) = UnixStream::pair().unwrap();
        let ((_, mut writing), (mut reading, _far)) = (split(near).unwrap(), split(far).unwrap());
        let piece = vec![7u8; 100_000];
        let mut sent = 0;
        while let Some(written) = writing.write(&piece).now_or_never() {
            sent += written.unwrap();
        }
        assert!(writing.full.is_some());
        let (mut read, mut buffer) = (0, vec![0u8; 50_000]);
        let more = async {
            let more = writing.write(&piece).await.unwrap();
            writing.flush().await.unwrap();
            more
        };
        let reads = async {
            while read < sent {
                read += reading.read(&mut buffer).await.unwrap();
            }
        };
        let (more, ()) = tokio::join!(more, reads);
        assert!(writing.full.is_none());
        writing.shutdown().await.unwrap();
        let mut rest = Vec::new();
        reading.read_to_end(&mut rest).await.unwrap();
        assert_eq!(read + rest.len(), sent + more);
    }

    #[tokio::test]
    async fn several_pieces_go_in_one_write_and_a_peer_that_has_gone_is_an_error() {
        let (near, far) = UnixStream::pair().unwrap();
        let ((_reading, mut writing), mut far) = (split(near).unwrap(), far);
        let pieces = [IoSlice::new(b"one "), IoSlice::new(b"two")];
        let written = poll_fn(|cx| Pin::new(&mut writing).poll_write_vectored(cx, &pieces)).await.unwrap();
        let mut heard = vec![0u8; written];
        far.read_exact(&mut heard).await.unwrap();
        assert_eq!(heard, b"one two");
        drop(far);
        assert_eq!(writing.write(b"three").await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
