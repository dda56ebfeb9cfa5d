//! What one module's guests print: how much of it, how fast, and where it goes.
//!
//! ```text
//!   instances ──► sinks ([`sink`]) ──► [`ModuleOutput`]: room and rate ──► [`Output`] of the app ──► Printed dropped
//!                  ▲                                                                                 │
//!                  └───────────── a sink without room is pending, and woken ◀────────────────────────┘
//! ```
//!
//! Invariants: what a module's guests printed and nobody has taken away yet is bounded, by [`MAX_WAITING_BYTES`] and
//! what each of its instances may write at once; past it, and past the rate of the module or its tenant, a guest's write
//! is pending, so that it costs a guest its own time and no thread. It does not print.

mod rate;
mod sink;

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use tokio::sync::Notify;
use tokio::time::sleep_until;

pub(super) use self::rate::Rate;
pub(super) use self::sink::LineSink;

/// How much of what one module's guests printed may wait to be taken away.
pub const MAX_WAITING_BYTES: usize = 1 << 20;

/// What a piece counts beside its text: about what it takes to keep it.
const PIECE_BYTES: usize = 128;

/// Which of a guest's two streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GuestStream {
    /// Its standard output.
    Stdout,
    /// Its standard error.
    Stderr,
}

/// Whole lines that a guest printed. They count against what its module may leave waiting until this is dropped.
pub struct Printed {
    /// Where it printed them.
    pub stream: GuestStream,
    /// The lines, each with its line break.
    pub text: String,
    room: Arc<Room>,
}

impl Printed {
    fn bytes(&self) -> usize {
        self.text.len().saturating_add(PIECE_BYTES)
    }
}

impl Drop for Printed {
    fn drop(&mut self) {
        self.room.leave(self.bytes());
    }
}

/// Where the lines of a module's guests go. Called on whatever thread runs the guest: it must be quick.
#[derive(Clone)]
pub struct Output(Arc<Take>);

type Take = dyn Fn(Printed) + Send + Sync;

impl Output {
    /// Passes what is printed to `take`.
    pub fn new(take: impl Fn(Printed) + Send + Sync + 'static) -> Self {
        Self(Arc::new(take))
    }

    /// Drops all lines.
    pub fn none() -> Self {
        Self::new(drop)
    }

    /// Prints as a module of its own does.
    #[cfg(test)]
    pub fn print(&self, stream: GuestStream, text: &str) -> Waits {
        let module = ModuleOutput::new(self.clone(), u64::MAX, None);
        module.pass_on(stream, text.to_owned());
        Waits(module)
    }
}

/// What a test's module printed.
#[cfg(test)]
pub struct Waits(Arc<ModuleOutput>);

#[cfg(test)]
impl Waits {
    /// How much of it waits yet.
    pub fn bytes(&self) -> usize {
        self.0.room.taken_bytes.load(Ordering::Acquire)
    }
}

/// What all instances of a module print to.
pub(super) struct ModuleOutput {
    output: Output,
    room: Arc<Room>,
    /// Its own rate, and its tenant's where that has one.
    rates: Box<[Arc<Rate>]>,
}

/// What was printed and waits.
#[derive(Default)]
struct Room {
    taken_bytes: AtomicUsize,
    /// It is no longer full.
    freed: Notify,
}

impl ModuleOutput {
    pub fn new(output: Output, bytes_per_second: u64, of_tenant: Option<Arc<Rate>>) -> Arc<Self> {
        let own = Arc::new(Rate::new(bytes_per_second, Instant::now()));
        Arc::new(Self { output, room: Arc::default(), rates: [own].into_iter().chain(of_tenant).collect() })
    }

    /// Whether a guest may write now.
    fn is_open(&self) -> bool {
        !self.room.is_full() && self.opens(Instant::now()).is_none()
    }

    /// Waits until a guest may write. Cancel safe.
    async fn opened(&self) {
        loop {
            let mut freed = pin!(self.room.freed.notified());
            // From here on no news is missed.
            freed.as_mut().enable();
            if self.room.is_full() {
                freed.await;
                continue;
            }
            match self.opens(Instant::now()) {
                Some(opens) => sleep_until(opens.into()).await,
                None => return,
            }
        }
    }

    /// A guest wrote this many bytes.
    fn wrote(&self, bytes: usize) {
        let now = Instant::now();
        for rate in &self.rates {
            rate.take(bytes, now);
        }
    }

    /// Passes lines on; it never waits, and there is always room for what a guest was allowed to write.
    fn pass_on(&self, stream: GuestStream, text: String) {
        let printed = Printed { stream, text, room: self.room.clone() };
        self.room.enter(printed.bytes());
        (self.output.0)(printed);
    }

    /// When no rate is against a write any more; none where that is now.
    fn opens(&self, now: Instant) -> Option<Instant> {
        self.rates.iter().filter_map(|rate| rate.opens(now)).max()
    }
}

impl Room {
    fn is_full(&self) -> bool {
        self.taken_bytes.load(Ordering::Acquire) >= MAX_WAITING_BYTES
    }

    fn enter(&self, bytes: usize) {
        self.taken_bytes.fetch_add(bytes, Ordering::AcqRel);
    }

    fn leave(&self, bytes: usize) {
        let before = self.taken_bytes.fetch_sub(bytes, Ordering::AcqRel);
        if before >= MAX_WAITING_BYTES && before.saturating_sub(bytes) < MAX_WAITING_BYTES {
            self.freed.notify_waiters();
        }
    }
}
