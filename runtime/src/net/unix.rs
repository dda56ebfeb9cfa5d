//! A unix socket whose two directions are waited for apart, and that may be read before tokio knows that something has come.
//!
//! A unix socket says that it can be written each time its peer has read something, and tokio's own always waits for both
//! directions: each frame that a peer takes wakes who sent it, for nothing. Here the reading direction waits for what can be
//! read, and the writing direction for nothing but a socket that was full.
//!
//! Who watches for what comes ([`Glance`]) asks the socket itself, which takes a quarter of what a round of the thread through epoll does;
//! what is there is then read at once ([`Reading`]). The word of epoll comes later, and finds nothing.

use std::io::{self, IoSlice, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream as Socket;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;
use tokio::net::unix::pipe;
use tokio::runtime::Handle;
use tokio::time::Sleep;

use crate::mesh::link::Glance;

/// How soon a socket that is full is tried again, where there is no descriptor to wait for it with.
const TRY_AGAIN_AFTER: Duration = Duration::from_millis(10);

/// Most bytes that are read before tokio knows of them.
const READ_AT_ONCE_BYTES: usize = 4 * 1024;

/// The two directions; each has a descriptor of its own.
///
/// # Errors
/// When the process has no more descriptors.
pub(super) fn split(stream: UnixStream) -> io::Result<(Reading, Writing)> {
    let socket = Arc::new(stream.into_std()?);
    // Of all that tokio reads from, a pipe alone waits for one direction; it reads as from any descriptor.
    let receiver = pipe::Receiver::from_owned_fd_unchecked(socket.try_clone()?.into())?;
    let looks = Arc::new(Looks { socket: socket.clone(), come: AtomicBool::new(false), waker: AtomicWaker::new() });
    let writing = Writing { socket, duplicate: Socket::try_clone, full: None, again: None, runtime: Handle::current() };
    Ok((Reading { receiver, looks }, writing))
}

/// The reading direction.
pub(super) struct Reading {
    receiver: pipe::Receiver,
    looks: Arc<Looks>,
}

struct Looks {
    socket: Arc<Socket>,
    /// Whether something was seen that has not been read.
    come: AtomicBool,
    /// Who waits for it.
    waker: AtomicWaker,
}

impl Reading {
    pub(super) fn glance(&self) -> Arc<dyn Glance> {
        self.looks.clone()
    }
}

impl Glance for Looks {
    fn glance(&self) -> bool {
        let has_come = rustix::io::ioctl_fionread(&*self.socket).is_ok_and(|bytes| bytes > 0);
        if has_come {
            self.come.store(true, Ordering::Relaxed);
            self.waker.wake();
        }
        has_come
    }
}

impl AsyncRead for Reading {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.looks.come.swap(false, Ordering::Relaxed) {
            let most = buffer.remaining().min(READ_AT_ONCE_BYTES);
            match (&*self.looks.socket).read(buffer.initialize_unfilled_to(most)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
                // Of what is more, epoll has told or will tell: one read a look, so that all else has its turn.
                Ok(bytes) => {
                    buffer.advance(bytes);
                    return Poll::Ready(Ok(()));
                }
            }
        }
        let read = Pin::new(&mut self.receiver).poll_read(cx, buffer);
        if read.is_pending() {
            self.looks.waker.register(cx.waker());
        }
        read
    }
}

/// The writing direction: the socket is written to at once, or was full and is waited for until all is written.
pub(super) struct Writing {
    socket: Arc<Socket>,
    /// Gives a descriptor of its own to wait for it with.
    duplicate: fn(&Socket) -> io::Result<Socket>,
    /// While it is waited for.
    full: Option<pipe::Sender>,
    /// The same, where the process has no more descriptors.
    again: Option<Pin<Box<Sleep>>>,
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
        loop {
            if let Some(full) = &mut self.full {
                return write_when_free(Pin::new(full), cx);
            }
            if let Some(again) = &mut self.again {
                ready!(again.as_mut().poll(cx));
                self.again = None;
            }
            match write(&self.socket) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wait(),
                written => return Poll::Ready(written),
            }
        }
    }

    /// The socket is full: from here on it is waited for, or for the time to try again.
    fn wait(&mut self) {
        let _runtime = self.runtime.enter();
        let socket = (self.duplicate)(&self.socket);
        match socket.and_then(|socket| pipe::Sender::from_owned_fd_unchecked(socket.into())) {
            Ok(full) => self.full = Some(full),
            Err(_) => self.again = Some(Box::pin(tokio::time::sleep(TRY_AGAIN_AFTER))),
        }
    }

    /// Waits for nothing any more.
    fn free(&mut self) {
        (self.full, self.again) = (None, None);
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
        self.free();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.free();
        Poll::Ready(self.socket.shutdown(Shutdown::Write))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::task::{Wake, Waker};

    use futures::FutureExt;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

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
    async fn what_a_look_has_seen_is_read_before_tokio_knows_and_nothing_is_lost_after_it() {
        let (near, far) = UnixStream::pair().unwrap();
        let ((mut reading, _near), (_far, mut writing)) = (split(near).unwrap(), split(far).unwrap());
        let (look, mut buffer) = (reading.glance(), vec![0u8; 3 * READ_AT_ONCE_BYTES]);
        // Nobody has a turn between these, so that tokio learns of nothing.
        assert!(!look.glance());
        for written in [&b"a few"[..], &[7; READ_AT_ONCE_BYTES]] {
            let (woken, mut reads) =
                (Arc::new(Woken::default()), Box::pin(reading.read_exact(&mut buffer[..written.len()])));
            let waker = Waker::from(woken.clone());
            let mut poll = || reads.poll_unpin(&mut Context::from_waker(&waker));
            assert!(poll().is_pending() && !woken.0.load(Ordering::Relaxed));
            writing.write_all(written).now_or_never().unwrap().unwrap();
            assert!(look.glance() && woken.0.load(Ordering::Relaxed) && poll().is_ready());
            assert!(buffer.starts_with(written) && !look.glance());
        }
        // By now it knows of what was read long ago.
        tokio::task::yield_now().await;
        assert!(reading.read(&mut buffer).now_or_never().is_none());
        writing.write_all(b"more").await.unwrap();
        assert_eq!(reading.read(&mut buffer).await.unwrap(), 4);
        // Of more than is read at once, the rest comes as ever.
        let much = [8; 3 * READ_AT_ONCE_BYTES];
        let mut reads = Box::pin(reading.read_exact(&mut buffer));
        assert!((&mut reads).now_or_never().is_none());
        writing.write_all(&much).await.unwrap();
        assert!(look.glance() && (&mut reads).now_or_never().is_none());
        reads.await.unwrap();
        assert_eq!(buffer, much);
    }

    #[tokio::test]
    async fn a_full_socket_without_a_descriptor_to_wait_with_is_tried_again() {
        let (near, far) = UnixStream::pair().unwrap();
        let ((_, mut writing), (mut reading, _far)) = (split(near).unwrap(), split(far).unwrap());
        writing.duplicate = |_| Err(io::ErrorKind::Other.into());
        let piece = vec![7u8; 100_000];
        let mut sent = 0;
        while let Some(written) = writing.write(&piece).now_or_never() {
            sent += written.unwrap();
        }
        assert!(writing.full.is_none() && writing.again.is_some());
        // It is still full when it is tried again.
        tokio::time::sleep(2 * TRY_AGAIN_AFTER).await;
        assert!(writing.write(&piece).now_or_never().is_none() && writing.again.is_some());
        let mut buffer = vec![0u8; 50_000];
        let more = async {
            let more = writing.write(&piece).await.unwrap();
            writing.flush().await.unwrap();
            more
        };
        let reads = async {
            let mut read = 0;
            while read < sent {
                read += reading.read(&mut buffer).await.unwrap();
            }
            read
        };
        let (more, read) = tokio::join!(more, reads);
        assert!(writing.full.is_none() && writing.again.is_none());
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
