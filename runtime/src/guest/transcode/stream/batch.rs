//! Items that are lifted at once: as many of a guest's write as a slot has room for.
//!
//! wasmtime lifts items one after another through a function that knows neither the item's place nor where to put it
//! ([`super::item`]). Both are in a [`Batch`] that lies in a variable of the thread while [`take`] lets wasmtime read:
//! the reading is one call that neither waits nor enters the guest, so that it begins and ends on one thread with
//! nothing in between.

use std::cell::RefCell;

use bytes::Bytes;
use daffi_proto::stream::Credit;
use wasmtime::component::__internal::{InterfaceType, LiftContext};
use wasmtime::component::{ReadBuffer, Source, WriteBuffer};
use wasmtime::{AsContextMut, Result};

use super::super::error::{Step, TranscodeError};
use super::super::lift::Lifting;
use super::super::writer::Writer;
use super::item::Item;
use super::slot::Held;
use super::{Room, StreamRoom};

thread_local! {
    static BATCH: RefCell<Option<Batch>> = const { RefCell::new(None) };
}

/// How much a batch may take.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    /// Most items and bytes together, unless it is one item.
    pub(super) most: Credit,
    /// Most bytes of an item.
    pub(super) max_item_bytes: usize,
}

/// Why a batch took no more although there was more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// The next item does not fit beside what is there.
    Full,
    /// The next item is larger than an item may be.
    TooLarge,
    /// The next item has so many bytes, more than a chunk, and there is no room for it now.
    NoRoom(usize),
}

/// What becomes of an item that is larger than an item may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Oversize {
    /// The guest keeps it.
    Leave,
    /// It is taken from the guest, and dropped.
    Drop,
}

/// What came of a batch.
pub(super) struct Taken {
    /// What was there before, and what was taken.
    pub(super) held: Held<Vec<u8>>,
    /// How many items were taken.
    pub(super) count: u32,
    /// Why it was not all.
    pub(super) stop: Option<Stop>,
}

struct Batch {
    held: Held<Vec<u8>>,
    /// Bytes of it that are paid for with the store's fuel.
    paid: usize,
    /// The place of the next item in the guest's buffer.
    next: usize,
    bounds: Bounds,
    oversize: Oversize,
    /// Where room for a large item is taken.
    rooms: StreamRoom,
    /// What was taken.
    room: Option<Room>,
    stop: Option<Stop>,
}

/// Takes items of a guest's write, behind what is held already; a large one into the room that is held, or what there is.
pub(super) fn take(
    store: impl AsContextMut,
    source: &mut Source<'_, Item>,
    held: Held<Vec<u8>>,
    bounds: Bounds,
    oversize: Oversize,
    rooms: &StreamRoom,
) -> Result<Taken> {
    let (before, rooms) = (held.count, rooms.clone());
    let Held { count, bytes, room } = held;
    let held = Held { count, bytes, room: None };
    let left = bounds.most.items.saturating_sub(before.into());
    let mut taker = Taker { room: usize::try_from(left).unwrap_or(usize::MAX), passed: None };
    let paid = held.bytes.len();
    BATCH.replace(Some(Batch { held, paid, next: 0, bounds, oversize, rooms, room, stop: None }));
    let read = source.read(store, &mut taker);
    let batch = BATCH.take();
    read?;
    let Batch { mut held, stop, room, .. } = batch.ok_or_else(|| lost("the batch is gone"))?;
    if let Some((count, bytes)) = taker.passed {
        held.count = held.count.saturating_add(count);
        held.bytes.extend_from_slice(&bytes);
    }
    held.room = room.filter(|_| held.bytes.len() as u64 > bounds.most.bytes);
    Ok(Taken { count: held.count - before, held, stop })
}

/// Lifts the next item of the batch into it; false where it takes no more. The first of them lies at `first`.
pub(super) fn lift_next(cx: &mut LiftContext<'_>, ty: InterfaceType, first: usize) -> Result<bool> {
    BATCH.with_borrow_mut(|batch| match batch {
        Some(batch) => batch.lift(cx, ty, first),
        None => Err(lost("an item is lifted that nobody takes")),
    })
}

impl Batch {
    fn lift(&mut self, cx: &mut LiftContext<'_>, ty: InterfaceType, first: usize) -> Result<bool> {
        if self.stop.is_some() {
            return Ok(false);
        }
        let place = self.next;
        self.next += 1;
        let size = cx.types.canonical_abi(&ty).size32 as usize;
        // An address that is not there is found by the walk.
        let address = first.saturating_add(place.saturating_mul(size));
        let before = self.held.bytes.len();
        let mut lifting = Lifting::resume(cx, Writer::resume(std::mem::take(&mut self.held.bytes)), self.paid);
        let lifted = lifting.item_from_memory(ty, address);
        (self.held.bytes, self.paid) = lifting.suspend();

        let is_alone = self.held.count == 0;
        let after = self.held.bytes.len();
        let stop = match lifted {
            Err(fault) if !fault.is_too_large() => return Err(fault.at(Step::Item(place)).of_guest()),
            Err(_) if is_alone => Some(Stop::TooLarge),
            // The budget is for all items together: alone it may fit.
            Err(_) => Some(Stop::Full),
            Ok(()) if !is_alone && after as u64 > self.bounds.most.bytes => Some(Stop::Full),
            Ok(()) if after - before > self.bounds.max_item_bytes => Some(Stop::TooLarge),
            Ok(()) if !self.admits(after) => self.stop,
            Ok(()) => None,
        };
        if stop.is_some() {
            self.held.bytes.truncate(before);
            self.stop = stop;
            return Ok(stop == Some(Stop::TooLarge) && self.oversize == Oversize::Drop);
        }
        self.held.count += 1;
        Ok(true)
    }

    /// Whether so many bytes may be held. A large item needs room: what was waited for, or what there is now.
    fn admits(&mut self, bytes: usize) -> bool {
        if bytes as u64 <= self.bounds.most.bytes {
            return true;
        }
        let waited_for = self.room.take().filter(|room| room.fits(bytes));
        self.room = waited_for.or_else(|| self.rooms.try_take(bytes));
        if self.room.is_none() {
            self.stop = Some(Stop::NoRoom(bytes));
        }
        self.room.is_some()
    }
}

/// Counts what is taken, for wasmtime.
struct Taker {
    /// How many more items may be taken.
    room: usize,
    /// What came from a host's own future that a guest passed on, without being lifted.
    passed: Option<(u32, Bytes)>,
}

impl ReadBuffer<Item> for Taker {
    fn extend<I: IntoIterator<Item = Item>>(&mut self, items: I) {
        let taken = items.into_iter().filter(|item| matches!(item, Item::Lifted { taken: true })).count();
        self.room = self.room.saturating_sub(taken);
    }

    fn remaining_capacity(&self) -> usize {
        self.room
    }

    /// Streams that a guest passes on are taken from it whole, so that this is for futures alone.
    fn move_from(&mut self, input: &mut dyn WriteBuffer<Item>, count: usize) {
        if let [Item::First(parcel)] = input.remaining() {
            let (count_of_parcel, bytes) = (parcel.count, parcel.rest());
            let admitted = BATCH.with_borrow_mut(|batch| batch.as_mut().is_some_and(|batch| batch.admits(bytes.len())));
            if admitted {
                self.passed = Some((count_of_parcel, bytes));
                self.room = self.room.saturating_sub(1);
                input.skip(count.min(1));
            }
        }
    }
}

#[cold]
fn lost(what: &str) -> wasmtime::Error {
    TranscodeError::Refused(what.to_owned()).into()
}
