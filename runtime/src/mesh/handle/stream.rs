//! The streams of calls, as whoever writes or reads them sees them.
//!
//! ```text
//!   caller                                                      callee
//!   start_streaming ──▶ StreamingCall                           Serve::serve_streams(incoming, readers)
//!     .writers  0 1 …  ─── items ──────────────────────────────▶  readers  0 1 …
//!     .await ◀────────────── the answer ───────────────────────  MeshHandle::reply ──▶ writers 0 1 …
//!   StreamingReply                                              …
//!     .readers  0 1 …  ◀────────────────────────── items ──────  writers  0 1 …
//!                                                               MeshHandle::served: the guest is done with the call
//! ```
//!
//! How to use it:
//! * **To call** with streams in the arguments: set `CallRequest::channels` to their flows in the order of their channels
//!   (`value::channels_of_args`, [`Flow::of`]), ask [`MeshHandle::start_streaming`], and write: items flow before the
//!   answer. The answer comes with the readers of the streams in the result. [`MeshHandle::call`] is for callers who want
//!   no streams: it cancels those that come.
//! * **Once an item** ([`Mode::Each`](daffi_proto::call::Mode)): the one writer takes items that are each the arguments of a
//!   call in postcard, the one reader gives the results. The answer comes as soon as the callee's process is found, so
//!   that what goes wrong later comes by the streams.
//! * **To serve**: [`Serve::serve_streams`](super::Serve::serve_streams) has a reader for each channel that the caller
//!   declared; compare them with `value::channels_of_args`. Dropping the readers is enough to refuse. A result with streams,
//!   or one that is told while the call goes on, is given by [`MeshHandle::reply`], and the call's end by
//!   [`MeshHandle::served`]; a call is over when that was told and all its streams have ended.
//! * **How it ends**: each end learns one [`Ending`], both the same unless a link broke. Dropping a writer that has not
//!   finished fails the stream, dropping a reader cancels it. Giving up the call before its answer, its deadline, and
//!   the cancellation of the call that it is made for end all its streams at both ends.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use daffi_proto::call::{CallReply, CallRequest};
use daffi_proto::error::{CallError, code};
use daffi_proto::id::ServeId;
use daffi_proto::stream::{Chunk, Ending, Flow, Flows, StreamCall, StreamId};
use tokio::sync::oneshot;

use super::port::{Bell, Port, Ring, Word};
use super::{MeshHandle, OpenCall, Request};

/// What the driver tells of a call that has ended: its reply, and the readers of the streams in it.
pub type Answer = Result<StreamingReply, CallError>;

/// The answer to a call, with the streams in it.
pub struct StreamingReply {
    /// The result, and who gave it.
    pub reply: CallReply,
    /// The streams in the result, by the number of their channel.
    pub readers: Vec<StreamReader>,
}

/// A call under way whose streams may be written: a future of its answer. Dropping it before the answer cancels the call
/// and ends all its streams; after the answer they live by themselves.
pub struct StreamingCall {
    /// The streams in the arguments, by the number of their channel.
    pub writers: Vec<StreamWriter>,
    call: OpenCall,
}

impl Future for StreamingCall {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answer> {
        self.call.poll_answer(cx)
    }
}

impl From<StreamingCall> for OpenCall {
    /// Its writers are dropped.
    fn from(call: StreamingCall) -> Self {
        call.call
    }
}

impl MeshHandle {
    /// Begins a call that may have streams in its arguments, in its result, or be made once an item. Its writers are there
    /// at once. Calls begin in the order in which this is asked.
    ///
    /// # Errors
    /// As [`MeshHandle::start`]. Cancel safety: dropping the future, or the [`StreamingCall`] before its answer, cancels the
    /// call, its streams and the tree of calls below it.
    pub async fn start_streaming(&self, request: impl Into<Box<CallRequest>>) -> Result<StreamingCall, CallError> {
        let request = request.into();
        let room = self.room().await?;
        let (token, callbacks) = (room.token, request.callbacks.clone());
        let ports = self.outgoing(StreamCall::Made(token), &request.flows());
        let writers = ports.iter().map(|port| StreamWriter { port: port.clone() }).collect();
        let (reply, answer) = oneshot::channel();
        let open = room.fill(Request::Call { token, request, ports, reply });
        Ok(StreamingCall { writers, call: OpenCall { answer, callbacks, open } })
    }

    /// Tells the caller of a call that [`Serve`](super::Serve) left open its result, while the call goes on: it has streams,
    /// of these flows in the order of their channels, or the guest is not done. [`MeshHandle::served`] is still to follow,
    /// and what that gives is dropped. Where the caller has gone, or the result is too large, the writers learn it.
    pub async fn reply(&self, id: ServeId, result: Bytes, channels: Flows) -> Vec<StreamWriter> {
        let ports = self.outgoing(StreamCall::Served(id), &channels);
        let writers = ports.iter().map(|port| StreamWriter { port: port.clone() }).collect();
        self.tell(Request::Replied { id, result, channels, ports }).await;
        writers
    }

    fn outgoing(&self, call: StreamCall, flows: &[Flow]) -> Vec<Arc<Port>> {
        let numbered = (0..).zip(flows);
        numbered.map(|(number, flow)| Port::new(StreamId { call, number }, *flow, self.shared.bell.clone())).collect()
    }
}

/// The writing end of a stream or future.
///
/// Dropping it before [`StreamWriter::finish`] or [`StreamWriter::fail`] is a failure that the reader is told.
#[derive(Debug)]
pub struct StreamWriter {
    port: Arc<Port>,
}

impl StreamWriter {
    /// How its items are counted, and so how large its chunks may be.
    pub fn flow(&self) -> Flow {
        self.port.flow()
    }

    /// Waits until a chunk is taken by [`StreamWriter::put`]. Cancel safe.
    ///
    /// # Errors
    /// The [`Ending`]: the reader takes no more, or cannot be reached.
    pub async fn ready(&mut self) -> Result<(), Ending> {
        poll_fn(|cx| self.poll_ready(cx)).await
    }

    /// As [`StreamWriter::ready`], for those who are polled.
    pub fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Ending>> {
        let mut state = self.port.lock();
        match &state.ending {
            Some(ending) => Poll::Ready(Err(ending.clone())),
            None if state.chunk.is_none() => Poll::Ready(Ok(())),
            None => {
                state.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// Gives a chunk, of at most [`Flow::chunk`] or a single item that is larger. One that is neither, or over the payload
    /// limit, fails the stream. Where nobody is at the driver's desk, and it has credit and room, it is mostly on its way when
    /// this returns.
    ///
    /// # Errors
    /// The chunk, where the one before is still waiting, or the stream has ended.
    pub fn put(&mut self, chunk: Chunk) -> Result<(), Chunk> {
        let mut state = self.port.lock();
        if state.chunk.is_some() || state.word.is_some() || state.ending.is_some() {
            return Err(chunk);
        }
        state.chunk = Some(chunk);
        self.port.ring_here(state);
        Ok(())
    }

    /// Waits for room and gives a chunk. Cancel safety: the chunk is given as a whole or, when the future is dropped, not
    /// at all.
    ///
    /// # Errors
    /// The [`Ending`], where the stream has ended.
    pub async fn write(&mut self, chunk: Chunk) -> Result<(), Ending> {
        let mut chunk = chunk;
        loop {
            self.ready().await?;
            match self.put(chunk) {
                Ok(()) => return Ok(()),
                // Its own last word was said before.
                Err(_) if self.port.lock().word.is_some() => return Err(Ending::Finished),
                Err(back) => chunk = back,
            }
        }
    }

    /// These were all items. Nothing where the stream has ended, or the last word was said.
    pub fn finish(&mut self) {
        self.say(Word::Finish);
    }

    /// There will be no more items, for this reason. Nothing where the stream has ended, or the last word was said.
    pub fn fail(&mut self, error: CallError) {
        self.say(Word::Fail(error));
    }

    /// Waits for what the stream came to: when the reader has taken everything and confirmed it, or wants no more, or the
    /// link is lost. To be waited for also while there is nothing to write. Cancel safe.
    pub async fn ended(&mut self) -> Ending {
        poll_fn(|cx| self.poll_ended(cx)).await
    }

    /// As [`StreamWriter::ended`], for those who are polled.
    pub fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<Ending> {
        let mut state = self.port.lock();
        match &state.ending {
            Some(ending) => Poll::Ready(ending.clone()),
            None => {
                state.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    fn say(&self, word: Word) {
        let mut state = self.port.lock();
        if state.word.is_none() && state.ending.is_none() {
            state.word = Some(word);
            self.port.ring(state);
        }
    }
}

impl Drop for StreamWriter {
    fn drop(&mut self) {
        let message = "the stream was given up before its end";
        self.say(Word::Fail(CallError::failed(code::CANCELLED, message, "")));
    }
}

/// The reading end of a stream or future. Dropping it cancels the stream.
#[derive(Debug)]
pub struct StreamReader {
    port: Arc<Port>,
}

impl StreamReader {
    /// The reader of a stream that the node has, and its port for the driver.
    pub(in crate::mesh) fn new(id: StreamId, flow: Flow, bell: Bell) -> (Self, Arc<Port>) {
        let port = Port::new(id, flow, bell);
        (Self { port: port.clone() }, port)
    }

    /// How its items are counted.
    pub fn flow(&self) -> Flow {
        self.port.flow()
    }

    /// The next items in order; none when these were all. They come from elsewhere, so they are to be checked
    /// (`value::check_items`). Of a chunk that is larger than chunks are, what comes next comes when its bytes were dropped.
    /// Cancel safe.
    ///
    /// # Errors
    /// The [`Ending`], where the stream ended before its end.
    pub async fn next(&mut self) -> Result<Option<Chunk>, Ending> {
        poll_fn(|cx| self.poll_chunk(cx, Port::ring_here)).await
    }

    /// As [`StreamReader::next`], for those who are polled by a guest: nothing is done on his time.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Chunk>, Ending>> {
        self.poll_chunk(cx, Port::ring)
    }

    fn poll_chunk(&mut self, cx: &mut Context<'_>, ring: Ring) -> Poll<Result<Option<Chunk>, Ending>> {
        let mut state = self.port.lock();
        if let Some(chunk) = state.chunk.take() {
            // The driver gets the next one while a small one is looked at.
            return Poll::Ready(Ok(Some(self.port.lend(state, chunk, ring))));
        }
        match &state.ending {
            Some(Ending::Finished) => Poll::Ready(Ok(None)),
            Some(ending) => Poll::Ready(Err(ending.clone())),
            None => {
                state.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// Takes no more, for this reason where it is not the reader's own wish: the writer is told. What has not been read
    /// is dropped. Nothing where the stream has ended.
    pub fn cancel(&mut self, why: Option<CallError>) {
        let mut state = self.port.lock();
        state.chunk = None;
        if state.word.is_none() && state.ending.is_none() {
            state.word = Some(Word::Cancel(why));
            self.port.ring(state);
        }
    }
}

impl Drop for StreamReader {
    fn drop(&mut self) {
        self.cancel(None);
    }
}
