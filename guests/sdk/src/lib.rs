//! Calls to other processes of a daffi mesh, from a Rust guest.
//!
//! ```no_run
//! use daffi::{FG, fetchers};
//!
//! fetchers! {
//!     /// Adds two numbers, in whichever process can.
//!     pub fn sum_of_two_numbers(a: i64, b: i64) -> i64 = "demo:tutorial/math#sum-of-two-numbers";
//! }
//!
//! fn main() -> Result<(), daffi::CallError> {
//!     let result = (sum_of_two_numbers(5, 15) & FG)?;
//!     println!("Result = {result}");
//!     Ok(())
//! }
//! ```
//!
//! | to | use |
//! |---|---|
//! | call by name, with Rust types | [`fetchers!`], or [`call`] where the name is known only at run time |
//! | call by name, with JSON or WAVE | [`call_json`], [`call_wave`] |
//! | call and wait for the result | [`FG`], or [`Fg`] with options |
//! | begin a call, and fetch the result later | [`BG`], [`Bg`], [`Pending`]; several at a time: [`select`], [`wait_any`] |
//! | call, or wait, in an async function | [`Call`] is awaited, or `& FG.future()`; [`future`] |
//! | call every process that has the callback | [`BROADCAST`], [`Broadcast`], [`Entry`]; as they arrive: [`Arrivals`] |
//! | stream to a callback, from it, or both | [`STREAM`], [`Stream`], [`Items`], [`Received`]; item by item: [`each`], [`Writer`]; to several processes: [`Receivers`] |
//! | have a callback called over and over, or later | [`Every`], [`At`], [`Cron`], [`Period`]; what is scheduled: [`Task`], [`tasks`] |
//! | see who is on the mesh, and wait for them | [`mesh`] |
//! | carry WIT `flags` in serde types | [`flags`] |
//! | export callbacks, or import an interface as ordinary functions | wit-bindgen; see below |
//!
//! # Beside wit-bindgen
//!
//! A callback is an exported function, so a guest that has some generates bindings for a world of its own with
//! wit-bindgen, and may use this crate at the same time: what each of the two imports is merged when the component is
//! made. A world that names `daffi:runtime` itself, to get failures of typed calls as values, takes the types of this
//! crate instead of a second copy of them:
//!
//! ```text
//! wit_bindgen::generate!({
//!     world: "demo:tutorial/consumer",                         // with its package: two folders have no main one
//!     path: ["../../wit", "wit"],                              // the package daffi:runtime, and the guest's own
//!     with: { "daffi:runtime/types@0.1.0": daffi::types },
//! });
//! ```
//!
//! # In async functions
//!
//! A guest with async functions (wit-bindgen with the features `async` and `async-spawn`) has several calls under way in one
//! task, and other tasks of it go on meanwhile. What is awaited holds up nobody; a plain `& FG` there holds up all of the
//! instance. An async typed import needs no SDK: it is the future already.
//!
//! ```no_run
//! # use daffi::fetchers;
//! # use std::future::IntoFuture;
//! # fetchers! { fn fibonacci(n: u32) -> u64 = "fibonacci"; fn name() -> String = "name"; }
//! # async fn f() -> Result<(), daffi::CallError> {
//! let number = fibonacci(20).await?;
//! # Ok(())
//! # }
//! ```
//!
//! With the crate futures: `futures::try_join!(fibonacci(20).into_future(), name().into_future())`. What is dropped before
//! it has its result is given up.
//!
//! Off wasm this crate compiles, so that a guest's own code can be tested on the host; a call panics there.

#![warn(missing_docs)]

mod background;
mod bindings;
mod broadcast;
mod call;
mod error;
mod fetchers;
pub mod flags;
pub mod future;
pub mod mesh;
mod no_result;
mod period;
mod stream;

pub use background::{BG, Bg, Pending, Wait, select, wait_any};
pub use broadcast::{Arrivals, BROADCAST, Broadcast, Entry, Gather};
pub use call::{Arguments, Call, FG, Fg, Retry, call, call_json, call_wave};
pub use error::CallError;
pub use no_result::{Delivery, NoResult};
pub use period::{At, Cron, Every, Missed, Overlap, Period};
pub use period::{Task, TaskError, TaskInfo, TaskState, tasks, tasks_of, time};
pub use stream::{Each, Items, Open, Opening, Received, Results, STREAM, Stream, Writer, each, items, writer};
pub use stream::{Ended, Receivers, ToReceivers};

/// What the interface `daffi:runtime/types` becomes in Rust, for the `with` of a guest's own bindings.
pub mod types {
    pub use crate::bindings::daffi::runtime::types::{Milliseconds, Outcome, Value};
    pub use crate::error::CallError;
}
pub use types::{Outcome, Value};
