//! What arrives by and by, as streams of the component model: the entries of a broadcast, the events of a watch,
//! the items of a call's stream.
//!
//! A stream carries what comes, and a future beside it says how it ended; where the guest drops the stream, what it was of
//! is given up, and the future says so. Invariants: an item is taken from its source only for a reader that has room for
//! it; what is open counts for its module until the stream has ended or is dropped.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use daffi_proto::call::GatherEntry;
use daffi_proto::error::{CallError, code};
use tokio::sync::oneshot;
use wasmtime::component::{
    Destination, FutureReader, Lift, Lower, StreamProducer, StreamReader, StreamResult, VecBuffer,
};
use wasmtime::{AsContextMut, Result, StoreContextMut};

use super::super::state::GuestState;
use super::arrivals::{self, Flow};
use super::inbound::Inbound;
use super::watch::{self, Watching};
use super::{call, mesh, types};

/// Most items that are read of a call's stream at once.
const BATCH_ITEMS: u32 = 64;

/// How a broadcast ended that came by a stream.
pub(super) type Verdict = Result<call::Verdict, types::CallError>;

/// What items come from.
trait Source: Send + Sync + Unpin + 'static {
    type Item: Lower + Lift + Send + Sync + Unpin + 'static;
    type End: Lower + Lift + Send + Sync + 'static;

    /// What comes next, or how it ends.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<std::result::Result<Self::Item, Self::End>>;

    /// What came with the one before, so many items at most.
    fn beside(&mut self, _most: usize) -> impl Iterator<Item = Self::Item> {
        std::iter::empty()
    }

    /// What was taken so far was given to the guest.
    fn given(&mut self) {}

    /// How it ends where the guest drops the stream.
    fn dropped() -> Self::End;
}

/// The entries of a broadcast.
struct Entries(Flow);

impl Source for Entries {
    type Item = call::Entry;
    type End = Verdict;

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<std::result::Result<call::Entry, Verdict>> {
        let next: Option<Result<GatherEntry, CallError>> = ready!(self.0.poll_next(cx));
        Poll::Ready(match next {
            Some(Ok(entry)) => Ok(self.0.read(entry)),
            Some(Err(error)) => Err(Err(error.into())),
            None => Err(Ok(self.0.verdict())),
        })
    }

    fn dropped() -> Verdict {
        Err(arrivals::dropped().into())
    }
}

impl Source for Watching {
    type Item = mesh::MemberEvent;
    type End = types::CallError;

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<std::result::Result<mesh::MemberEvent, types::CallError>> {
        let next = ready!(Watching::poll_next(self, cx));
        Poll::Ready(next.map(mesh::MemberEvent::from).map_err(types::CallError::from))
    }

    fn dropped() -> types::CallError {
        watch::dropped().into()
    }
}

/// The items of a stream that a guest reads.
struct Received {
    inbound: Inbound,
    /// They came with the one before.
    items: VecDeque<types::Value>,
    /// What all of them were made of: it counts for as long as one of them is here.
    made_of: Bytes,
}

impl Source for Received {
    type Item = types::Value;
    type End = Result<(), types::CallError>;

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<std::result::Result<types::Value, Self::End>> {
        loop {
            if let Some(item) = self.items.pop_front() {
                return Poll::Ready(Ok(item));
            }
            match ready!(self.inbound.poll_next(cx, BATCH_ITEMS)) {
                Ok((call::Received::Items(items), made_of)) => (self.items, self.made_of) = (items.into(), made_of),
                Ok((call::Received::End, _)) => return Poll::Ready(Err(Ok(()))),
                Err(error) => return Poll::Ready(Err(Err(error.into()))),
            }
        }
    }

    fn beside(&mut self, most: usize) -> impl Iterator<Item = types::Value> {
        self.items.drain(..most.min(self.items.len()))
    }

    fn given(&mut self) {
        if self.items.is_empty() {
            self.made_of = Bytes::new();
        }
    }

    fn dropped() -> Self::End {
        Err(CallError::failed(code::CANCELLED, "the stream was dropped", "").into())
    }
}

/// The writing end of a stream of what comes from `S`.
struct Producer<S: Source> {
    /// None when it has ended.
    source: Option<S>,
    /// It came, and no reader had room for it yet.
    seen: Option<S::Item>,
    end: Option<oneshot::Sender<S::End>>,
}

impl<S: Source> Producer<S> {
    /// Whether there is an item; there is none any more after the end.
    fn poll_seen(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let (None, Some(source)) = (&self.seen, &mut self.source) else { return Poll::Ready(self.seen.is_some()) };
        match ready!(source.poll_next(cx)) {
            Ok(item) => self.seen = Some(item),
            Err(end) => {
                self.source = None;
                self.tell(end);
            }
        }
        Poll::Ready(self.seen.is_some())
    }

    /// What was seen and what came with it, but no more than there is room for: what waits is here, where it counts.
    fn batch(&mut self, room: usize) -> Vec<S::Item> {
        let mut batch: Vec<S::Item> = self.seen.take().into_iter().collect();
        let left = room.saturating_sub(batch.len());
        batch.extend(self.source.iter_mut().flat_map(|source| source.beside(left)));
        batch
    }

    fn tell(&mut self, end: S::End) {
        if let Some(teller) = self.end.take() {
            let _ = teller.send(end); // a guest that has dropped the future does not ask
        }
    }
}

impl<S: Source> Drop for Producer<S> {
    fn drop(&mut self) {
        self.tell(S::dropped());
    }
}

impl<S: Source> StreamProducer<GuestState> for Producer<S> {
    type Item = S::Item;
    type Buffer = VecBuffer<S::Item>;

    fn poll_produce<'a>(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut store: StoreContextMut<'a, GuestState>,
        mut destination: Destination<'a, Self::Item, Self::Buffer>,
        finish: bool,
    ) -> Poll<Result<StreamResult>> {
        let this = self.get_mut();
        Poll::Ready(Ok(match this.poll_seen(cx) {
            Poll::Ready(true) => {
                // A reader without room asks whether there is something; one of the host has no buffer.
                let room = destination.remaining(store.as_context_mut()).unwrap_or(1);
                if room > 0 {
                    destination.set_buffer(this.batch(room).into());
                    this.source.iter_mut().for_each(S::given);
                }
                StreamResult::Completed
            }
            Poll::Ready(false) => StreamResult::Dropped,
            Poll::Pending if finish => StreamResult::Cancelled,
            Poll::Pending => return Poll::Pending,
        }))
    }
}

/// What comes, and how it will have ended.
pub(super) type Flowing<Item, End> = (StreamReader<Item>, FutureReader<End>);

/// Lets a guest read from a source.
fn carry<S: Source>(mut store: StoreContextMut<'_, GuestState>, source: S) -> Result<Flowing<S::Item, S::End>> {
    let (end, ended) = oneshot::channel();
    let ended = async move { ended.await.or_else(|_| Ok::<_, wasmtime::Error>(S::dropped())) };
    let mut future = FutureReader::new(store.as_context_mut(), ended)?;
    let producer = Producer { source: Some(source), seen: None, end: Some(end) };
    match StreamReader::new(store.as_context_mut(), producer) {
        Ok(stream) => Ok((stream, future)),
        Err(error) => {
            future.close(store)?;
            Err(error)
        }
    }
}

/// The entries of a broadcast.
pub(super) fn entries(store: StoreContextMut<'_, GuestState>, flow: Flow) -> Result<Flowing<call::Entry, Verdict>> {
    carry(store, Entries(flow))
}

/// What a guest reads of a call's stream.
pub(super) fn received(
    store: StoreContextMut<'_, GuestState>,
    inbound: Inbound,
) -> Result<Flowing<types::Value, Result<(), types::CallError>>> {
    carry(store, Received { inbound, items: VecDeque::new(), made_of: Bytes::new() })
}

/// The events of a watch.
pub(super) fn events(
    store: StoreContextMut<'_, GuestState>,
    watching: Watching,
) -> Result<Flowing<mesh::MemberEvent, types::CallError>> {
    carry(store, watching)
}
