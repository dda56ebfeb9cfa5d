//! The type that stands for an item of a stream in wasmtime's typed streams. `unsafe`, as [`super::super::dynamic`].
//!
//! wasmtime's streams are typed by the host: `StreamReader<T>` lifts and lowers `T`. Ours has items whose type is known
//! at run time, so that `T` says nothing of an item's size; what wasmtime does with `T` is made to need none:
//!
//! * **Lifting** goes item by item: wasmtime asks for one after another, always at the address where the first one lies,
//!   since it takes items for empty. [`super::batch`] counts them, and finds each at its real place.
//! * **Lowering** goes in one: `linear_store_list_to_memory` gets all items that fit the guest's buffer. The first of
//!   them carries the bytes of all, the others are only counted.
//!
//! # Why this is sound
//! As in `dynamic`: whatever `ABI` says, the walks check every address and its alignment in safe code, and a wrong one
//! gives a wrong value or an error. wasmtime's own uses of `SIZE32` are checked slices of memory, here always empty. It
//! also adds `SIZE32` times what was read or written before in the same operation of the guest: producers and consumers
//! here do one batch an operation, so that this is nothing. `Lower` is an empty array, since items of streams are never
//! flattened. `typecheck` accepts what the walks can carry.
#![expect(unsafe_code, reason = "wasmtime's traits for typed streams are unsafe to implement; see the header")]

use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use wasmtime::component::__internal::{CanonicalAbiInfo, InstanceType, InterfaceType, LiftContext, LowerContext};
use wasmtime::component::{ComponentType, Lift, Lower};
use wasmtime::{Result, ValRaw};

use super::super::error::{Fault, TranscodeError};
use super::super::lower::Lowering;
use super::super::shape;
use super::batch;

/// An item of a stream, or the value of a future.
pub(super) enum Item {
    /// Lifted: whether its bytes are in the batch.
    Lifted {
        /// Whether it was taken.
        taken: bool,
    },
    /// To be lowered, together with those behind it.
    First(Arc<Parcel>),
    /// To be lowered with the first one.
    Behind,
}

/// Items that are lowered together.
pub(super) struct Parcel {
    /// How many.
    pub(super) count: u32,
    /// Their bytes, and perhaps more; what is lowered is not kept.
    bytes: Mutex<Bytes>,
    is_lowered: AtomicBool,
}

impl Parcel {
    pub(super) fn new(count: u32, bytes: Bytes) -> Self {
        Self { count, bytes: Mutex::new(bytes), is_lowered: AtomicBool::new(false) }
    }

    /// Whether its items are the guest's.
    pub(super) fn is_lowered(&self) -> bool {
        self.is_lowered.load(Ordering::Relaxed)
    }

    /// What is left of its bytes, which may be more than those of its items: all of them while it is not lowered.
    pub(super) fn rest(&self) -> Bytes {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Bytes> {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Item {
    /// The items of a parcel.
    pub(super) fn parcel(parcel: &Arc<Parcel>) -> Vec<Self> {
        let behind = (1..parcel.count).map(|_| Self::Behind);
        std::iter::once(Self::First(parcel.clone())).chain(behind).collect()
    }

    fn lower<T: 'static>(
        items: &[Self],
        cx: &mut LowerContext<'_, T>,
        ty: InterfaceType,
        address: usize,
    ) -> Result<()> {
        match items {
            [Self::First(parcel), ..] if usize::try_from(parcel.count) == Ok(items.len()) => {
                let mut rest = parcel.lock();
                let bytes = Lowering::without_streams(cx, &rest)
                    .items_to_memory(ty, address, items.len())
                    .map_err(Fault::of_bytes)?;
                // Even an empty rest would keep all in memory.
                *rest = if bytes < rest.len() { rest.slice(bytes..) } else { Bytes::new() };
                parcel.is_lowered.store(true, Ordering::Relaxed);
                Ok(())
            }
            [] => Ok(()),
            _ => Err(TranscodeError::Refused("a part of a batch of items".to_owned()).into()),
        }
    }
}

// SAFETY: `Lower` is an empty array of `ValRaw`; for sizes and types see the header.
unsafe impl ComponentType for Item {
    type Lower = [ValRaw; 0];

    const ABI: CanonicalAbiInfo =
        CanonicalAbiInfo { size32: 0, align32: 1, size64: 0, align64: 1, flat_count: Some(0) };

    fn typecheck(ty: &InterfaceType, types: &InstanceType<'_>) -> Result<()> {
        Ok(shape::check_item(types.types, *ty)?)
    }
}

// SAFETY: the walk writes within the guest's memory, at addresses that it checks.
unsafe impl Lower for Item {
    fn linear_lower_to_flat<T>(
        &self,
        _: &mut LowerContext<'_, T>,
        _: InterfaceType,
        _: &mut MaybeUninit<Self::Lower>,
    ) -> Result<()> {
        Err(never_flat())
    }

    fn linear_lower_to_memory<T>(&self, cx: &mut LowerContext<'_, T>, ty: InterfaceType, offset: usize) -> Result<()> {
        Self::lower(std::slice::from_ref(self), cx, ty, offset)
    }

    fn linear_store_list_to_memory<T>(
        cx: &mut LowerContext<'_, T>,
        ty: InterfaceType,
        offset: usize,
        items: &[Self],
    ) -> Result<()> {
        Self::lower(items, cx, ty, offset)
    }
}

// SAFETY: the walk checks what it reads against the type and the bounds of the memory, in safe code.
unsafe impl Lift for Item {
    fn linear_lift_from_flat(_: &mut LiftContext<'_>, _: InterfaceType, _: &Self::Lower) -> Result<Self> {
        Err(never_flat())
    }

    /// `bytes` is empty; it lies where the first item lies.
    fn linear_lift_from_memory(cx: &mut LiftContext<'_>, ty: InterfaceType, bytes: &[u8]) -> Result<Self> {
        let first = bytes.as_ptr().addr().wrapping_sub(cx.memory().as_ptr().addr());
        batch::lift_next(cx, ty, first).map(|taken| Self::Lifted { taken })
    }
}

#[cold]
fn never_flat() -> wasmtime::Error {
    TranscodeError::Refused("an item of a stream that is flattened".to_owned()).into()
}

/// Lowers a handle: what `reader` makes of itself in the guest.
pub(super) fn lower_handle<T, R: Lower<Lower = ValRaw>>(
    reader: &R,
    cx: &mut LowerContext<'_, T>,
    ty: InterfaceType,
) -> Result<ValRaw> {
    let mut handle = MaybeUninit::new(ValRaw::u64(0));
    reader.linear_lower_to_flat(cx, ty, &mut handle)?;
    // SAFETY: it was initialised when it was made, and can only have been written to since.
    Ok(unsafe { handle.assume_init() })
}
