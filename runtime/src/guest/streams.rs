//! Streams between guests and the mesh.
//!
//! ```text
//!   guest ── Drain ──▶ out_of_guest ──▶ StreamWriter      mesh
//!   guest ◀── Feed ─── into_guest ◀──── StreamReader
//! ```
//!
//! Each stream or future has a task of its own, a pump, which carries chunks one after another and the end behind them:
//! it waits for room on the far side before it takes from the near one, so that nothing is buffered but what lies on
//! either side already. A pump outlives the instance for as long as it takes to tell the mesh how that ended.
//!
//! | module | holds |
//! |---|---|
//! | `places` | [`OpenStreams`]: how many streams a module may have open |
//! | `of_call` | [`CallStreams`]: the streams of one call, and of those that it makes: whether some are open, and when one last moved |
//! | `pump` | the two pumps |
//! | `serve` | a callback that is called with streams, or gives some |
//!
//! Invariants: every pump ends when either side has ended; an instance lives until the streams of its calls have ended,
//! unless it ends by force; what comes from the mesh is checked before it is fed.

mod of_call;
mod places;
mod pump;
mod serve;

pub(super) use self::of_call::CallStreams;
pub(super) use self::places::{OpenStreams, Place};
pub(super) use self::pump::{Held, ItemCheck, Side, into_guest, out_of_guest};
pub(super) use self::serve::Serving;
