//! Room for large items: those that are larger than a chunk of small ones, and so are bounded by no window.
//!
//! A stream whose items are small holds a few chunks at most. One of large items would hold as many of them as there are
//! places on their way, and a module as many more as it has streams. So a stream has one of them on its way at a time,
//! and a module as many bytes of them as its budget says, as have all modules of a tenant where that has a ceiling; what
//! finds no room stays with the guest that writes it.
//!
//! Invariants: room is taken for as long as the bytes are in memory, wherever they are ([`Room::hold`]); it is given back
//! with them, however that comes. It is taken of the stream, then of the module, then of the tenant, so that nobody has what
//! another waits for and waits for what that one has. One item may be larger than a budget: it has all of it, and goes alone.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Most bytes that a budget may have: as many as can be waited for at once.
const MAX_BUDGET_BYTES: usize = u32::MAX as usize;

/// How many bytes of large items there may be. Whoever waits for some has them in turn.
#[derive(Clone, Debug)]
pub struct ItemBudget {
    bytes: Arc<Semaphore>,
    most: u32,
}

/// What large items a module may have on their way.
#[derive(Clone, Debug)]
pub struct ItemRoom {
    own: ItemBudget,
    /// That of all modules of its tenant, where there is one.
    of_tenant: Option<ItemBudget>,
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
    own: OwnedSemaphorePermit,
    _of_tenant: Option<OwnedSemaphorePermit>,
    _one: OwnedSemaphorePermit,
}

impl ItemBudget {
    /// So many bytes, less than 4 GiB.
    pub fn new(most_bytes: usize) -> Self {
        let most_bytes = most_bytes.min(MAX_BUDGET_BYTES).min(Semaphore::MAX_PERMITS);
        Self { bytes: Arc::new(Semaphore::new(most_bytes)), most: u32::try_from(most_bytes).unwrap_or(u32::MAX) }
    }

    fn permits(&self, bytes: usize) -> u32 {
        u32::try_from(bytes).unwrap_or(u32::MAX).min(self.most)
    }

    fn try_take(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        self.bytes.clone().try_acquire_many_owned(self.permits(bytes)).ok()
    }

    async fn take(&self, bytes: usize) -> OwnedSemaphorePermit {
        match self.bytes.clone().acquire_many_owned(self.permits(bytes)).await {
            Ok(permit) => permit,
            Err(_) => never_closed().await,
        }
    }
}

impl ItemRoom {
    /// For so many bytes.
    pub fn new(most_bytes: usize) -> Self {
        Self { own: ItemBudget::new(most_bytes), of_tenant: None }
    }

    /// The same, within what all modules of its tenant have together.
    pub fn within(self, of_tenant: Option<ItemBudget>) -> Self {
        Self { of_tenant, ..self }
    }

    /// That of a stream that begins.
    pub fn of_stream(&self) -> StreamRoom {
        StreamRoom { all: self.clone(), one: Arc::new(Semaphore::new(1)) }
    }
}

impl StreamRoom {
    /// Room for an item of so many bytes, where there is some now.
    pub fn try_take(&self, bytes: usize) -> Option<Room> {
        let one = self.one.clone().try_acquire_owned().ok()?;
        let own = self.all.own.try_take(bytes)?;
        let of_tenant = match &self.all.of_tenant {
            Some(of_tenant) => Some(of_tenant.try_take(bytes)?),
            None => None,
        };
        Some(Room { own, _of_tenant: of_tenant, _one: one })
    }

    /// Waits for room, in turn with the module's other streams, and then with those of its tenant. Cancel safe: who gives up
    /// has his turn no more.
    pub async fn take(self, bytes: usize) -> Room {
        let Ok(one) = self.one.acquire_owned().await else { return never_closed().await };
        let own = self.all.own.take(bytes).await;
        let of_tenant = match &self.all.of_tenant {
            Some(of_tenant) => Some(of_tenant.take(bytes).await),
            None => None,
        };
        Room { own, _of_tenant: of_tenant, _one: one }
    }
}

impl Room {
    /// Whether it is enough for so many bytes.
    pub fn fits(&self, bytes: usize) -> bool {
        bytes <= self.own.num_permits()
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
async fn never_closed<T>() -> T {
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

    #[test]
    fn modules_of_a_tenant_share_its_budget_in_turn_and_an_item_that_is_larger_has_all_of_it() {
        let of_tenant = ItemBudget::new(1000);
        let module = || ItemRoom::new(800).within(Some(of_tenant.clone()));
        let (one, other, stranger) = (module(), module(), ItemRoom::new(800));
        let first = one.of_stream().try_take(700).unwrap();
        assert!(other.of_stream().try_take(301).is_none(), "its own budget has room, its tenant's has not");
        assert!(stranger.of_stream().try_take(800).is_some());
        let beside = other.of_stream().try_take(300).unwrap();
        // Who waits for the tenant is not overtaken, and who gives up leaves nothing taken.
        let (mut next, mut behind) = (Box::pin(other.of_stream().take(500)), Box::pin(one.of_stream().take(100)));
        assert!((&mut next).now_or_never().is_none() && (&mut behind).now_or_never().is_none());
        drop(beside);
        assert!((&mut behind).now_or_never().is_none() && other.of_stream().try_take(1).is_none());
        drop((next, first));
        assert!(behind.now_or_never().is_some() && other.of_stream().try_take(800).is_some());
        let narrow = ItemRoom::new(800).within(Some(ItemBudget::new(100)));
        let alone = narrow.of_stream().try_take(700).unwrap();
        assert!(alone.fits(700) && narrow.of_stream().try_take(1).is_none());
        drop(alone);
        assert!(narrow.of_stream().try_take(100).is_some());
    }
}
