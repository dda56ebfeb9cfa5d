//! Values between postcard bytes and guests, in one pass and without a tree of values in between.
//!
//! A component's types are known when it is loaded, not when the host is compiled. wasmtime's way for that, `Val`, is
//! slow (a 1 MiB `list<u8>` is a million values); its way for known types is quick. Here a type that holds postcard
//! bytes takes the quick way: when wasmtime asks it to lower itself into a guest, or to lift itself out of one, it
//! walks the bytes or the guest's memory by the component's own type.
//!
//! | module | holds |
//! |---|---|
//! | [`call`] | [`DynFunc`]: exports |
//! | [`import`] | [`define_import`], [`define_import_concurrent`]: imports |
//! | [`stream`] | streams and futures |
//! | [`error`] | [`TranscodeError`], and how a path comes to it |
//! | [`lower`] | the walk from bytes into a guest |
//! | [`lift`] | the walk from a guest to bytes, and its budget |
//! | [`dynamic`] | the types that wasmtime sees; `unsafe` (but for the items of streams), and why it is sound |
//! | [`shape`] | what the walks need to know of types |
//! | [`reader`], [`writer`], [`text`] | postcard's scalars, the encodings of strings |
//!
//! It does not check that arguments from the wire are values of the type before a guest is entered: that is
//! `daffi_proto::value`'s, since a fault found here has already entered the guest, whose instance is then lost. The
//! walks are total nevertheless: no bytes and no guest make them panic or write out of bounds.
//!
//! The slow way by `Val` is in the tests, which compare the two on random types, values and hostile memory. No type
//! needs it in the runtime, so nothing calls it there.

mod call;
mod dynamic;
mod error;
mod import;
mod lift;
mod lower;
mod reader;
mod shape;
pub mod stream;
mod text;
mod writer;

pub use call::DynFunc;
pub use error::TranscodeError;
pub use import::{
    ImportFuture, define_import, define_import_concurrent, define_streaming_import, define_streaming_import_concurrent,
};

use wasmtime::Store;

/// The least that [`bound_lifts`] sets: the limit also holds for what WASI takes from the guest, such as one write to a
/// file.
const MIN_LIFT_BYTES: usize = 4 << 20;

/// Bounds what one call may take out of a guest in values: the arguments of one call of an import, or the results of
/// one call of an export. A guest that gives more is ended with [`TranscodeError::TooLarge`] before the host allocates
/// it. It bounds memory and is no less than 4 MiB; a smaller payload limit is the caller's to compare with the length
/// of what it got, which costs no instance.
pub fn bound_lifts<T>(store: &mut Store<T>, bytes: usize) {
    store.set_hostcall_fuel(bytes.max(MIN_LIFT_BYTES));
}

/// What one call may take out of a guest where payloads have so many bytes: one that is a little larger fails its call, and
/// only one far over it ends the instance.
pub fn lifted_bytes(payload_bytes: usize) -> usize {
    payload_bytes.saturating_mul(2).max(MIN_LIFT_BYTES)
}

#[cfg(test)]
mod tests;
