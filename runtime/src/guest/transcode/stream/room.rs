//! Room for large items: those that are larger than a chunk of small ones, and so are bounded by no window.
//!
//! A stream whose items are small holds a few chunks at most. One of large items would hold as many of them as there are
//! places on their way, and a module as many more as it has streams. So a stream has one of them on its way at a time,
//! and a module as many bytes of them as its budget says; what finds no room stays with the guest that writes it.
//!
//! Invariant: room is taken for as long as the bytes are in memory, wherever they are ([`Room::hold`]); it is given back
//! with them, however that comes.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What large items a module may have on their way.
#[derive(Clone, Debug)]
pub struct ItemRoom {
    bytes: Arc<Semaphore>,
    most: u32,
}

/// The part that one stream has in it.
#[derive(Clone, Debug)]
pub struct StreamRoom {
    all: ItemRoom,
    one: Arc<Semaphore>,
}

/// Room for an item.
#[derive(Debug)]
pub struct Room {
    bytes: OwnedSemaphorePermit,
    _one: OwnedSemaphorePermit,
}

impl ItemRoom {
    /// For so many bytes. An item may be as large as all of it, or waits for all of it.
    pub fn new(most_bytes: usize) -> Self {
        let most = u32::try_from(most_bytes.min(Semaphore::MAX_PERMITS)).unwrap_or(u32::MAX);
        Self { bytes: Arc::new(Semaphore::new(usize::try_from(most).unwrap_or(Semaphore::MAX_PERMITS))), most }
    }

    /// That of a stream that begins.
    pub fn of_stream(&self) -> StreamRoom {
        StreamRoom { all: self.clone(), one: Arc::new(Semaphore::new(1)) }
    }

    fn permits(&self, bytes: usize) -> u32 {
        u32::try_from(bytes).unwrap_or(u32::MAX).min(self.most)
    }
}

impl StreamRoom {
    /// Room for an item of so many bytes, where there is some now.
    pub fn try_take(&self, bytes: usize) -> Option<Room> {
        let one = self.one.clone().try_acquire_owned().ok()?;
        let bytes = self.all.bytes.clone().try_acquire_many_owned(self.all.permits(bytes)).ok()?;
        Some(Room { bytes, _one: one })
    }

    /// Waits for room, in turn with the module's other streams. Cancel safe: who gives up has his turn no more.
    pub async fn take(self, bytes: usize) -> Room {
        let Ok(one) = self.one.acquire_owned().await else { return never_closed().await };
        let permits = self.all.permits(bytes);
        let Ok(bytes) = self.all.bytes.acquire_many_owned(permits).await else { return never_closed().await };
        Room { bytes, _one: one }
    }
}

impl Room {
    /// Whether it is enough for so many bytes.
    pub fn fits(&self, bytes: usize) -> bool {
        bytes <= self.bytes.num_permits()
    }

    /// The item, which has this room for as long as something refers to its bytes.
    pub fn hold(self, item: Bytes) -> Bytes {
        Bytes::from_owner(Holding { item, _room: self })
    }
}

struct Holding {
    item: Bytes,
    _room: Room,
}

impl AsRef<[u8]> for Holding {
    fn as_ref(&self) -> &[u8] {
        &self.item
    }
}

/// Nobody closes the semaphores.
async fn never_closed() -> Room {
    std::future::pending().await
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn a_stream_has_one_large_item_on_its_way_and_a_module_as_many_bytes_as_it_may() {
        let all = ItemRoom::new(1000);
        let (one, two, three) = (all.of_stream(), all.of_stream(), all.of_stream());
        let first = one.try_take(400).unwrap().hold(Bytes::from(vec![1; 400]));
        assert!(one.try_take(1).is_none(), "it has one on its way");
        let second = two.try_take(600).unwrap();
        assert!(three.try_take(1).is_none(), "all is taken");
        drop(second);
        assert!(two.try_take(601).is_none() && three.try_take(600).is_some());
        // A part of it keeps all of it in memory.
        let part = first.slice(..1);
        drop(first);
        assert!(one.try_take(1).is_none());
        drop(part);
        assert!(one.try_take(1000).is_some());
    }

    #[test]
    fn who_waits_has_room_in_turn_and_who_gives_up_has_none() {
        let all = ItemRoom::new(1000);
        let taken = all.of_stream().try_take(1000).unwrap();
        let (mut one, mut two) = (Box::pin(all.of_stream().take(900)), Box::pin(all.of_stream().take(200)));
        assert!((&mut one).now_or_never().is_none() && (&mut two).now_or_never().is_none());
        drop(taken);
        let first = one.now_or_never().unwrap();
        assert!(first.fits(900) && !first.fits(901) && (&mut two).now_or_never().is_none());
        let mut three = Box::pin(all.of_stream().take(1000));
        assert!((&mut three).now_or_never().is_none());
        drop((two, first));
        assert!(three.now_or_never().is_some());
    }
}
