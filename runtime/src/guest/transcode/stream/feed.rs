//! From the host into a guest: [`Feed`] is the host's end, an [`Inflow`] goes into the guest and becomes its stream or
//! future, whose producers are here.
//!
//! A producer gives a guest what it asks for out of the chunk that is at hand; the rest of the chunk stays here, so that
//! a guest which passes the stream on unread, or half read, passes on all of the rest ([`StreamProducer::try_into`]).

use std::any::{Any, TypeId};
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use daffi_proto::error::{CallError, code};
use daffi_proto::stream::Chunk;
use wasmtime::component::{Destination, FutureProducer, StreamProducer, StreamResult, VecBuffer};
use wasmtime::{Result, StoreContextMut};

use super::item::{Item, Parcel};
use super::slot::{Held, ReaderGone, Slot};
use super::{OnFailure, StreamFailure};

/// The host's end of a stream or future that a guest reads.
///
/// Dropping it without [`Feed::finish`] fails the stream.
#[derive(Debug)]
pub struct Feed {
    slot: Arc<Slot<Bytes>>,
}

/// A stream or future on its way into a guest, as [`ToGuest`](super::ToGuest) carries it. Dropping it is what a guest
/// does that wants no more.
#[derive(Debug)]
pub struct Inflow {
    slot: Arc<Slot<Bytes>>,
    /// What is left of the chunk that was taken last.
    rest: Held<Bytes>,
    on_failure: OnFailure,
}

/// A stream or future for a guest, and the host's end of it.
pub fn feed(on_failure: OnFailure) -> (Feed, Inflow) {
    let slot = Arc::new(Slot::new());
    (Feed { slot: slot.clone() }, Inflow { slot, rest: Held::default(), on_failure })
}

impl Feed {
    /// Waits until the guest has taken what it was given, all but a chunk.
    ///
    /// Cancel safety: safe.
    ///
    /// # Errors
    /// [`ReaderGone`] when the guest has dropped its end, or has ended.
    pub async fn ready(&mut self) -> std::result::Result<(), ReaderGone> {
        poll_fn(|cx| self.slot.poll_room(cx, |_| false).map_ok(drop)).await
    }

    /// Gives the guest the next items, which have been checked. They are dropped where the guest is gone.
    ///
    /// # Errors
    /// The items, where the guest has not taken the ones before: it is not [`Feed::ready`].
    pub fn put(&mut self, chunk: Chunk) -> std::result::Result<(), Chunk> {
        match self.slot.put(Held { count: chunk.count, bytes: chunk.bytes, room: None }) {
            Some(Held { count, bytes, .. }) => Err(Chunk { count, bytes }),
            None => Ok(()),
        }
    }

    /// Waits until the guest has dropped its end, has taken the end of a stream, or has ended itself.
    ///
    /// Cancel safety: safe.
    pub async fn gone(&mut self) {
        poll_fn(|cx| self.slot.poll_gone(cx)).await;
    }

    /// These were all items. What is said first holds.
    pub fn finish(&mut self) {
        self.slot.end(Ok(()));
    }

    /// There will be no more items, for this reason. What is said first holds.
    pub fn fail(&mut self, why: CallError) {
        self.slot.end(Err(StreamFailure::Broken(Box::new(why))));
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.slot.end(Err(StreamFailure::broken(code::CANCELLED, "the stream was given up before its end")));
    }
}

impl Drop for Inflow {
    fn drop(&mut self) {
        self.slot.leave();
    }
}

impl Inflow {
    /// Waits for items at hand; false at the end.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<std::result::Result<bool, StreamFailure>> {
        if self.rest.count == 0 {
            match ready!(self.slot.poll_take(cx))? {
                Some(held) => self.rest = held,
                None => return Poll::Ready(Ok(false)),
            }
        }
        Poll::Ready(Ok(true))
    }

    /// All that is at hand, or what comes next; nothing at the end.
    pub(super) fn poll_chunk(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<std::result::Result<Option<Chunk>, StreamFailure>> {
        let more = ready!(self.poll_more(cx))?;
        let Held { count, bytes, .. } = std::mem::take(&mut self.rest);
        Poll::Ready(Ok(more.then_some(Chunk { count, bytes })))
    }

    /// So many items and bytes were given.
    fn given(&mut self, count: u32, bytes: usize) {
        self.rest.count = self.rest.count.saturating_sub(count);
        self.rest.bytes.advance(bytes.min(self.rest.bytes.len()));
        if self.rest.bytes.is_empty() {
            // Even of nothing it would keep all in memory.
            self.rest.bytes = Bytes::new();
        }
    }

    /// What a reader gets at the end of a stream.
    fn end_of_stream(&self, failure: Option<StreamFailure>) -> Result<StreamResult> {
        match (failure, self.on_failure) {
            (Some(failure), OnFailure::Trap) => Err(failure.into()),
            _ => Ok(StreamResult::Dropped),
        }
    }
}

/// Gives a guest the items of a `stream<T>`.
pub(super) struct ItemProducer {
    inflow: Inflow,
    /// What was given last. It has all the bytes at hand: how many of them were its own is known when it was lowered.
    parcel: Option<Arc<Parcel>>,
}

impl ItemProducer {
    pub(super) fn new(inflow: Inflow) -> Self {
        Self { inflow, parcel: None }
    }

    fn settle(&mut self) {
        if let Some(parcel) = self.parcel.take() {
            self.inflow.rest.bytes = parcel.rest();
            if parcel.is_lowered() {
                self.inflow.given(parcel.count, 0);
            }
        }
    }
}

impl<D> StreamProducer<D> for ItemProducer {
    type Item = Item;
    type Buffer = VecBuffer<Item>;

    fn poll_produce<'a>(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        store: StoreContextMut<'a, D>,
        mut destination: Destination<'a, Item, VecBuffer<Item>>,
        finish: bool,
    ) -> Poll<Result<StreamResult>> {
        let this = self.get_mut();
        this.settle();
        match this.inflow.poll_more(cx) {
            Poll::Ready(Ok(true)) => {
                let wanted = destination.remaining(store).map(|room| u32::try_from(room).unwrap_or(u32::MAX));
                let rest = &mut this.inflow.rest;
                // None is wanted by a guest that only asks whether there is something.
                let count = wanted.unwrap_or(u32::MAX).min(rest.count);
                if count > 0 {
                    let parcel = Arc::new(Parcel::new(count, std::mem::take(&mut rest.bytes)));
                    destination.set_buffer(VecBuffer::from(Item::parcel(&parcel)));
                    this.parcel = Some(parcel);
                }
                Poll::Ready(Ok(StreamResult::Completed))
            }
            Poll::Ready(Ok(false)) => Poll::Ready(this.inflow.end_of_stream(None)),
            Poll::Ready(Err(failure)) => Poll::Ready(this.inflow.end_of_stream(Some(failure))),
            Poll::Pending if finish => Poll::Ready(Ok(StreamResult::Cancelled)),
            Poll::Pending => Poll::Pending,
        }
    }

    fn try_into(me: Pin<Box<Self>>, ty: TypeId) -> std::result::Result<Box<dyn Any>, Pin<Box<Self>>> {
        if ty != TypeId::of::<Inflow>() {
            return Err(me);
        }
        let mut this = *Pin::into_inner(me);
        this.settle();
        Ok(Box::new(this.inflow))
    }
}

/// Gives a guest the items of a `stream<u8>`, which need no transcoding.
pub(super) struct ByteProducer(pub(super) Inflow);

impl<D> StreamProducer<D> for ByteProducer {
    type Item = u8;
    type Buffer = VecBuffer<u8>;

    fn poll_produce<'a>(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        store: StoreContextMut<'a, D>,
        destination: Destination<'a, u8, VecBuffer<u8>>,
        finish: bool,
    ) -> Poll<Result<StreamResult>> {
        let inflow = &mut self.get_mut().0;
        match inflow.poll_more(cx) {
            Poll::Ready(Ok(true)) => {
                let mut direct = destination.as_direct(store, inflow.rest.bytes.len());
                let space = direct.remaining();
                let count = space.len().min(inflow.rest.bytes.len());
                if let (Some(to), Some(from)) = (space.get_mut(..count), inflow.rest.bytes.get(..count)) {
                    to.copy_from_slice(from);
                }
                direct.mark_written(count);
                inflow.given(u32::try_from(count).unwrap_or(u32::MAX), count);
                Poll::Ready(Ok(StreamResult::Completed))
            }
            Poll::Ready(Ok(false)) => Poll::Ready(inflow.end_of_stream(None)),
            Poll::Ready(Err(failure)) => Poll::Ready(inflow.end_of_stream(Some(failure))),
            Poll::Pending if finish => Poll::Ready(Ok(StreamResult::Cancelled)),
            Poll::Pending => Poll::Pending,
        }
    }

    fn try_into(me: Pin<Box<Self>>, ty: TypeId) -> std::result::Result<Box<dyn Any>, Pin<Box<Self>>> {
        if ty == TypeId::of::<Inflow>() { Ok(Box::new(Pin::into_inner(me).0)) } else { Err(me) }
    }
}

/// Gives a guest the value of a `future<T>`.
pub(super) struct ValueProducer(pub(super) Inflow);

impl<D> FutureProducer<D> for ValueProducer {
    type Item = Item;

    fn poll_produce(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        _: StoreContextMut<D>,
        finish: bool,
    ) -> Poll<Result<Option<Item>>> {
        let inflow = &mut self.get_mut().0;
        let failure = match inflow.poll_more(cx) {
            Poll::Ready(Ok(true)) => {
                let Held { count, bytes, .. } = std::mem::take(&mut inflow.rest);
                return Poll::Ready(Ok(Item::parcel(&Arc::new(Parcel::new(count, bytes))).into_iter().next()));
            }
            Poll::Ready(Ok(false)) => Some(StreamFailure::broken(code::INTERNAL, "the future ended without a value")),
            Poll::Ready(Err(failure)) => Some(failure),
            Poll::Pending => None,
        };
        match failure {
            Some(failure) if inflow.on_failure == OnFailure::Trap => Poll::Ready(Err(failure.into())),
            _ if finish => Poll::Ready(Ok(None)),
            // A future that has failed has no other end: who reads it waits.
            _ => Poll::Pending,
        }
    }
}
