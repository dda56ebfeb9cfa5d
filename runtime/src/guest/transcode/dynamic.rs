//! The types that stand for a whole list of parameters or results in wasmtime's typed calls. All `unsafe` is here, and
//! in `stream/item`, which does the same for the items of streams.
//!
//! wasmtime's `TypedFunc` and `func_wrap_*` take any type that implements `ComponentType`, `ComponentNamedList` and
//! `Lower` or `Lift`; the output of `bindgen!` implements them for types known when the host is compiled. Ours hold
//! postcard bytes and read the type from the component at run time. The traits are doc-hidden and outside of
//! wasmtime's promises, so the workspace holds wasmtime at 48.0.x: on an upgrade this file is to be read again against
//! `func/typed.rs`, `func/host.rs` and `concurrent/func.rs`, and the differential tests run.
//!
//! # Why this is sound
//! The traits are unsafe because wasmtime reads and writes raw memory by what they say. What it relies on, one by one:
//!
//! * **`Lower` is a sequence of `ValRaw`.** It is `[ValRaw; N]` everywhere.
//! * **`N` is never more than what wasmtime has.** wasmtime casts its slots to `&Lower` (it also asserts the size).
//!   [`Arguments`] has 16, the most that a call has: wasmtime makes the room from `Lower` itself, the trampoline reads
//!   as many as the function has. [`Lifted`] has as many as the type has (17 where there are more than 16, which sends
//!   wasmtime to memory and is never cast), and [`Reply`] as many as results that are returned in slots; `typecheck`
//!   compares both with the component's type before the first call, and refuses a wrong `N`.
//! * **Lowering initialises every slot.** `linear_lower_to_flat` writes zeros to all of them first, by
//!   `MaybeUninit::write`.
//! * **Sizes.** `ABI` says 0 bytes, aligned to 1, since the size of the real type is not known at compile time. wasmtime
//!   uses it to slice the guest's memory (`&memory[address..][..0]`) before `linear_lift_from_memory`, and to step
//!   through lists of a type. The first costs us nothing but the bounds check: the walk takes the address from where
//!   the empty slice lies, and checks the real range and alignment itself, in safe code, so that even a wrong address
//!   could only give a wrong value or an error. The second never happens: the types are private to this module's
//!   parent, which uses them only as whole lists of parameters or results, and `typecheck` refuses all but tuples.
//! * **`typecheck` does not let another type through.** Every type is taken apart by the walks at run time; they match
//!   on the type given with the call, which is the one that was checked. A part that cannot be carried is refused by
//!   `typecheck`, and again by the walks.
//! * **Threads and lifetimes.** The types own `Bytes` and streams, and are `Send + Sync`.
//!
//! There is no `unsafe` block: only the implementations of the traits are unsafe to write.
#![expect(unsafe_code, reason = "wasmtime's traits for typed calls are unsafe to implement; see the header")]

use std::mem::MaybeUninit;

use bytes::Bytes;
use wasmtime::component::__internal::{CanonicalAbiInfo, InstanceType, InterfaceType, LiftContext, LowerContext};
use wasmtime::component::{ComponentNamedList, ComponentType, Lift, Lower};
use wasmtime::{Result, ValRaw};

use super::error::{Fault, TranscodeError};
use super::lift::Lifting;
use super::lower::Lowering;
use super::shape::{self, MAX_SLOTS};
use super::stream::{Inflows, LiftedParts};

/// The canonical ABI of a type whose size is known at run time only.
const fn unsized_abi(slots: usize) -> CanonicalAbiInfo {
    CanonicalAbiInfo { size32: 0, align32: 1, size64: 0, align64: 1, flat_count: Some(slots as u8) }
}

/// The parameters of an export, to be lowered into the guest.
pub(super) struct Arguments(pub(super) Bytes, pub(super) Inflows);

/// The results of an import, to be lowered into the guest: `N` is 1 where they are returned in one slot, else 0.
pub(super) struct Reply<const N: usize>(pub(super) Bytes, pub(super) Inflows);

/// The results of an export or the parameters of an import, lifted from the guest: `N` is the number of slots of their
/// type, 17 where it is more than 16.
pub(super) struct Lifted<const N: usize>(LiftedParts);

// SAFETY: `Lower` is an array of `ValRaw`, as large as any call's parameters; see the header for sizes and types.
unsafe impl ComponentType for Arguments {
    type Lower = [ValRaw; MAX_SLOTS];

    const ABI: CanonicalAbiInfo = unsized_abi(MAX_SLOTS);

    fn typecheck(ty: &InterfaceType, types: &InstanceType<'_>) -> Result<()> {
        shape::tuple(types.types, *ty).map_err(Fault::of_bytes)?;
        Ok(shape::check(types.types, *ty)?)
    }
}

// SAFETY: `typecheck` accepts tuples only, which is what lists of parameters are.
unsafe impl ComponentNamedList for Arguments {}

// SAFETY: all slots are written before the walk, which writes those that the type has.
unsafe impl Lower for Arguments {
    fn linear_lower_to_flat<T>(
        &self,
        cx: &mut LowerContext<'_, T>,
        ty: InterfaceType,
        dst: &mut MaybeUninit<[ValRaw; MAX_SLOTS]>,
    ) -> Result<()> {
        let slots = dst.write([ValRaw::u64(0); MAX_SLOTS]);
        Lowering::new(cx, &self.0, &self.1).tuple_to_slots(ty, slots).map_err(Fault::of_bytes)
    }

    /// wasmtime takes this way only for types of more than 16 slots, which `Arguments` says it has not.
    fn linear_lower_to_memory<T>(&self, cx: &mut LowerContext<'_, T>, ty: InterfaceType, offset: usize) -> Result<()> {
        Lowering::new(cx, &self.0, &self.1).tuple_to_memory(ty, offset).map_err(Fault::of_bytes)
    }
}

// SAFETY: `Lower` is an array of `ValRaw`, as many as `typecheck` found the results to be returned in.
unsafe impl<const N: usize> ComponentType for Reply<N> {
    type Lower = [ValRaw; N];

    const ABI: CanonicalAbiInfo = unsized_abi(N);

    fn typecheck(ty: &InterfaceType, types: &InstanceType<'_>) -> Result<()> {
        let tuple = shape::tuple(types.types, *ty).map_err(Fault::of_bytes)?;
        shape::check(types.types, *ty)?;
        same_slots(N, tuple.abi.flat_count(1).unwrap_or(0))
    }
}

// SAFETY: `typecheck` accepts tuples only, which is what lists of results are.
unsafe impl<const N: usize> ComponentNamedList for Reply<N> {}

// SAFETY: all slots are written before the walk, which writes those that the type has.
unsafe impl<const N: usize> Lower for Reply<N> {
    fn linear_lower_to_flat<T>(
        &self,
        cx: &mut LowerContext<'_, T>,
        ty: InterfaceType,
        dst: &mut MaybeUninit<[ValRaw; N]>,
    ) -> Result<()> {
        let slots = dst.write([ValRaw::u64(0); N]);
        Lowering::new(cx, &self.0, &self.1).tuple_to_slots(ty, slots).map_err(Fault::of_bytes)
    }

    fn linear_lower_to_memory<T>(&self, cx: &mut LowerContext<'_, T>, ty: InterfaceType, offset: usize) -> Result<()> {
        Lowering::new(cx, &self.0, &self.1).tuple_to_memory(ty, offset).map_err(Fault::of_bytes)
    }
}

// SAFETY: `Lower` is an array of `ValRaw`, as many as `typecheck` found the type to have.
unsafe impl<const N: usize> ComponentType for Lifted<N> {
    type Lower = [ValRaw; N];

    const ABI: CanonicalAbiInfo = unsized_abi(N);

    fn typecheck(ty: &InterfaceType, types: &InstanceType<'_>) -> Result<()> {
        let tuple = shape::tuple(types.types, *ty).map_err(Fault::of_guest)?;
        shape::check(types.types, *ty)?;
        same_slots(N, tuple.abi.flat_count(MAX_SLOTS).unwrap_or(MAX_SLOTS + 1))
    }
}

// SAFETY: `typecheck` accepts tuples only, which is what lists of parameters and results are.
unsafe impl<const N: usize> ComponentNamedList for Lifted<N> {}

// SAFETY: the walks check what they read against the type and the bounds of the memory, in safe code.
unsafe impl<const N: usize> Lift for Lifted<N> {
    fn linear_lift_from_flat(cx: &mut LiftContext<'_>, ty: InterfaceType, src: &[ValRaw; N]) -> Result<Self> {
        Lifting::new(cx).tuple_from_slots(ty, src).map(Self).map_err(Fault::of_guest)
    }

    /// `bytes` is empty, see the header; it lies where the value lies.
    fn linear_lift_from_memory(cx: &mut LiftContext<'_>, ty: InterfaceType, bytes: &[u8]) -> Result<Self> {
        let address = bytes.as_ptr().addr().wrapping_sub(cx.memory().as_ptr().addr());
        Lifting::new(cx).tuple_from_memory(ty, address).map(Self).map_err(Fault::of_guest)
    }
}

impl<const N: usize> From<Lifted<N>> for LiftedParts {
    fn from(Lifted(parts): Lifted<N>) -> Self {
        parts
    }
}

/// Refuses a type of another number of slots than the Rust type has.
fn same_slots(ours: usize, theirs: usize) -> Result<()> {
    if ours == theirs {
        Ok(())
    } else {
        Err(TranscodeError::Refused(format!("a type of {theirs} core values where {ours} were expected")).into())
    }
}
