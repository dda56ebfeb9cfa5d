//! From a guest to the host: [`Drain`] is the host's end of a stream or future that a guest writes. The consumers that
//! fill it are what wasmtime calls when the guest writes.
//!
//! A guest's write ends as soon as some of its items are in the slot; then it writes the rest. While nothing of it fits,
//! the write waits; so it does while there is no room for an item that is larger than a chunk, which stays in the guest's
//! memory until there is. How large it is was learned by lifting it, and it is lifted again then.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use daffi_proto::stream::{Chunk, Credit, Flow};
use wasmtime::component::{FutureConsumer, Source, StreamConsumer, StreamResult};
use wasmtime::{AsContextMut, Result, StoreContextMut};

use super::batch::{self, Bounds, Oversize, Stop, Taken};
use super::feed::Inflow;
use super::item::Item;
use super::slot::{Held, ReaderGone, Slot};
use super::{Room, StreamFailure, StreamRoom, Terms};

/// The host's end of a stream or future that a guest writes.
///
/// Dropping it tells the guest that nobody reads any more.
#[derive(Debug)]
pub struct Drain {
    from: From,
}

#[derive(Debug)]
enum From {
    /// Items that a guest writes.
    Guest(Arc<Slot<Vec<u8>>>),
    /// A stream that the guest got from this host and passed on.
    Host(Inflow),
}

impl Drain {
    /// The next items, at most a chunk of them or one that is larger; none at the end.
    ///
    /// Cancel safety: safe.
    ///
    /// # Errors
    /// [`StreamFailure`]: the stream has ended before its end.
    pub async fn next(&mut self) -> std::result::Result<Option<Chunk>, StreamFailure> {
        poll_fn(|cx| match &mut self.from {
            From::Guest(slot) => slot
                .poll_take(cx)
                .map_ok(|held| held.map(|Held { count, bytes, room }| Chunk { count, bytes: kept(bytes, room) })),
            From::Host(inflow) => inflow.poll_chunk(cx),
        })
        .await
    }

    /// What a guest passed on.
    pub(super) fn passed_on(inflow: Inflow) -> Self {
        Self { from: From::Host(inflow) }
    }
}

/// The bytes of items, with the room that they have.
fn kept(bytes: Vec<u8>, room: Option<Room>) -> Bytes {
    match room {
        None => bytes.into(),
        Some(room) => room.hold(bytes.into()),
    }
}

impl Drop for Drain {
    fn drop(&mut self) {
        if let From::Guest(slot) = &self.from {
            slot.leave();
        }
    }
}

/// A turn of a stream among those that wait for room.
type Turn = Pin<Box<dyn Future<Output = Room> + Send>>;

/// Takes what a guest writes.
pub(super) struct Consumer {
    slot: Arc<Slot<Vec<u8>>>,
    terms: Terms,
    flow: Flow,
    rooms: StreamRoom,
    /// What is waited for, for an item that stays in the guest.
    turn: Option<Turn>,
    /// Whether the next item does not fit beside what is in the slot.
    needs_all: bool,
    /// How many bytes there were in the last batch, and so perhaps in the next.
    expected_bytes: usize,
}

impl Consumer {
    /// A consumer, and the drain that it fills.
    pub(super) fn new(flow: Flow, terms: Terms) -> (Self, Drain) {
        let slot = Arc::new(Slot::new());
        let drain = Drain { from: From::Guest(slot.clone()) };
        let rooms = terms.room.of_stream();
        (Self { slot, terms, flow, rooms, turn: None, needs_all: false, expected_bytes: 0 }, drain)
    }

    fn bounds(&self) -> Bounds {
        Bounds { most: self.flow.chunk(), max_item_bytes: self.terms.max_item_bytes }
    }

    /// Waits for room.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<std::result::Result<Held<Vec<u8>>, ReaderGone>> {
        let (most, needs_all) = (self.flow.chunk(), self.needs_all);
        let has_room = |held: &Held<Vec<u8>>| {
            !needs_all && u64::from(held.count) < most.items && (held.bytes.len() as u64) < most.bytes
        };
        self.slot.poll_room(cx, has_room).map_ok(|held| {
            self.needs_all = false;
            held.unwrap_or_else(|| Held { count: 0, bytes: Vec::with_capacity(self.expected_bytes), room: None })
        })
    }

    /// Waits for the room that a large item was found to need, if one was.
    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<std::result::Result<Option<Room>, ReaderGone>> {
        let Some(turn) = &mut self.turn else { return Poll::Ready(Ok(None)) };
        match turn.as_mut().poll(cx) {
            Poll::Ready(room) => {
                self.turn = None;
                Poll::Ready(Ok(Some(room)))
            }
            // Whoever leaves lets nobody wait.
            Poll::Pending => self.slot.poll_gone(cx).map(|()| Err(ReaderGone)),
        }
    }

    /// A large item is to wait for so much.
    fn wait_for_room(&mut self, bytes: usize) {
        self.turn = Some(Box::pin(self.rooms.clone().take(bytes)));
    }

    /// Puts back what [`Consumer::poll_room`] took, with more.
    fn put(&mut self, mut held: Held<Vec<u8>>) {
        if held.room.is_some() {
            // It counts for what it is, not for how it grew.
            held.bytes.shrink_to_fit();
        }
        self.expected_bytes = usize::try_from(self.flow.chunk().bytes).map_or(0, |most| held.bytes.len().min(most));
        // Only this consumer puts anything into the slot.
        let _ = self.slot.put(held);
    }

    fn too_large(&self) {
        self.slot.end(Err(StreamFailure::ItemTooLarge { limit_bytes: self.terms.max_item_bytes }));
    }
}

impl Drop for Consumer {
    /// The guest has dropped its end, or the store is gone.
    fn drop(&mut self) {
        self.slot.end(match self.terms.witness.ended() {
            None => Ok(()),
            Some(why) => Err(StreamFailure::Broken(Box::new(why.clone()))),
        });
    }
}

/// Takes the items of a `stream<T>`.
pub(super) struct ItemConsumer(pub(super) Consumer);

impl<D> StreamConsumer<D> for ItemConsumer {
    type Item = Item;

    fn poll_consume(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut store: StoreContextMut<D>,
        mut source: Source<'_, Item>,
        finish: bool,
    ) -> Poll<Result<StreamResult>> {
        let this = &mut self.get_mut().0;
        loop {
            let room = match this.poll_turn(cx) {
                Poll::Ready(Ok(room)) => room,
                Poll::Ready(Err(ReaderGone)) => return Poll::Ready(Ok(StreamResult::Dropped)),
                Poll::Pending if finish => {
                    this.turn = None;
                    return Poll::Ready(Ok(StreamResult::Cancelled));
                }
                Poll::Pending => return Poll::Pending,
            };
            let held = match this.poll_room(cx) {
                Poll::Ready(Ok(held)) => Held { room, ..held },
                Poll::Ready(Err(ReaderGone)) => return Poll::Ready(Ok(StreamResult::Dropped)),
                Poll::Pending if finish => return Poll::Ready(Ok(StreamResult::Cancelled)),
                Poll::Pending => return Poll::Pending,
            };
            if source.remaining(store.as_context_mut()) == 0 {
                // The guest only asks whether there is room.
                this.put(held);
                return Poll::Ready(Ok(StreamResult::Completed));
            }
            let Taken { held, count, stop } =
                batch::take(store.as_context_mut(), &mut source, held, this.bounds(), Oversize::Leave, &this.rooms)?;
            this.put(held);
            match stop {
                _ if count > 0 => return Poll::Ready(Ok(StreamResult::Completed)),
                Some(Stop::TooLarge) => {
                    this.too_large();
                    return Poll::Ready(Ok(StreamResult::Dropped));
                }
                // Perhaps the slot was emptied meanwhile.
                Some(Stop::Full) => this.needs_all = true,
                Some(Stop::NoRoom(bytes)) => this.wait_for_room(bytes),
                None => return Poll::Ready(Err(wasmtime::Error::msg("a stream of another host"))),
            }
        }
    }
}

/// Takes the items of a `stream<u8>`, which need no transcoding.
pub(super) struct ByteConsumer(pub(super) Consumer);

impl<D> StreamConsumer<D> for ByteConsumer {
    type Item = u8;

    fn poll_consume(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        store: StoreContextMut<D>,
        source: Source<'_, u8>,
        finish: bool,
    ) -> Poll<Result<StreamResult>> {
        let this = &mut self.get_mut().0;
        let mut held = match this.poll_room(cx) {
            Poll::Ready(Ok(held)) => held,
            Poll::Ready(Err(ReaderGone)) => return Poll::Ready(Ok(StreamResult::Dropped)),
            Poll::Pending if finish => return Poll::Ready(Ok(StreamResult::Cancelled)),
            Poll::Pending => return Poll::Pending,
        };
        let mut direct = source.as_direct(store);
        let most = usize::try_from(this.flow.chunk().bytes).unwrap_or(usize::MAX);
        let written = direct.remaining();
        let count = written.len().min(most.saturating_sub(held.bytes.len()));
        held.bytes.extend_from_slice(written.get(..count).unwrap_or_default());
        held.count = held.count.saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
        direct.mark_read(count);
        this.put(held);
        Poll::Ready(Ok(StreamResult::Completed))
    }
}

/// Takes the value of a `future<T>`.
pub(super) struct ValueConsumer(pub(super) Consumer);

impl<D> FutureConsumer<D> for ValueConsumer {
    type Item = Item;

    /// The value is taken unless the guest gives its write up: that has no other end.
    fn poll_consume(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut store: StoreContextMut<D>,
        mut source: Source<'_, Item>,
        finish: bool,
    ) -> Poll<Result<()>> {
        let this = &mut self.get_mut().0;
        loop {
            let (room, bounds) = match this.poll_turn(cx) {
                Poll::Ready(Ok(room)) => (room, this.bounds()),
                // Nobody reads it: it is taken so that the write ends, and needs no room.
                Poll::Ready(Err(ReaderGone)) => {
                    this.turn = None;
                    let most = Credit { bytes: u64::MAX, ..this.flow.chunk() };
                    (None, Bounds { most, ..this.bounds() })
                }
                Poll::Pending if finish => return Poll::Ready(Ok(())),
                Poll::Pending => return Poll::Pending,
            };
            let held = Held { room, ..Held::default() };
            let Taken { held, stop, .. } =
                batch::take(store.as_context_mut(), &mut source, held, bounds, Oversize::Drop, &this.rooms)?;
            match stop {
                Some(Stop::NoRoom(bytes)) => this.wait_for_room(bytes),
                Some(Stop::TooLarge | Stop::Full) => {
                    this.too_large();
                    return Poll::Ready(Ok(()));
                }
                None => {
                    this.put(held);
                    this.slot.end(Ok(()));
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }
}
