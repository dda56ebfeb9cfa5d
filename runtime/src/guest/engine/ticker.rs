//! The clock that ends busy loops: a thread that advances the epoch of every engine each [`TICK`], while there are guests to
//! interrupt.
//!
//! ```text
//!            nobody was in a guest for some ticks
//!   ticking ─────────────────────────────────────▶ asleep, but for a tick each [`SLOW_TICK`]
//!           ◀─────────────────────────────────────
//!             somebody enters a guest ([`Clock::guest`])
//! ```
//!
//! Invariants: while a [`Guest`] lives, the clock ticks, so that a deadline that is set in its time passes. The thread lives as
//! long as its [`Ticker`] and never blocks on anything but its own channel, so no guest and no task can delay it. When the machine
//! slept, missed ticks are not made up for.
//!
//! Who enters and a clock that is about to sleep cannot miss each other: the one counts himself and then looks whether it
//! sleeps, the other says that it sleeps and then looks who is counted.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use wasmtime::Engine;

/// How often epochs advance. A guest gives up its thread at the first tick that finds guests there for a millisecond: after one more than this.
pub const TICK: Duration = Duration::from_millis(5);

/// Ticks without a guest before the clock sleeps: calls that come one after the other do not wake it each time.
const IDLE_TICKS: u32 = 20;

/// How often it ticks while it sleeps. A guest that was entered and not counted, a defect, is interrupted so much later, and
/// not never.
const SLOW_TICK: Duration = Duration::from_secs(1);

/// In the count of guests: one that was entered since the start, and one that is entered now.
const ENTERED: u64 = (1 << 32) + 1;

/// One that was left.
const LEFT: u64 = 1;

/// The guests that are entered now.
const INSIDE: u64 = u32::MAX as u64;

/// Runs the thread; dropping it ends the thread.
pub(super) struct Ticker {
    clock: Clock,
    thread: Option<JoinHandle<()>>,
}

/// What is told to the thread.
enum Word {
    /// Advance this engine's epoch too.
    Engine(Engine),
    /// A guest was entered while the clock slept.
    Wake,
    /// The ticker is dropped.
    End,
}

/// Knows who is in a guest, and keeps the clock ticking as long as somebody is. Clones are the same.
#[derive(Clone)]
pub struct Clock {
    shared: Arc<Shared>,
    words: Sender<Word>,
}

struct Shared {
    /// How many guests were entered (modulo 2^32), and how many are.
    guests: AtomicU64,
    /// Who enters while this is set wakes the clock.
    asleep: AtomicBool,
}

/// Somebody may compute in a guest. As long as this lives, the clock ticks.
#[must_use = "the clock may sleep as soon as this is dropped"]
pub struct Guest<'a>(&'a Shared);

impl Ticker {
    /// Starts the thread, with no engine yet.
    pub(super) fn start() -> io::Result<Self> {
        let (clock, said) = Clock::new();
        let shared = clock.shared.clone();
        let thread = std::thread::Builder::new().name("daffi-epoch".to_owned()).spawn(move || run(&said, &shared))?;
        Ok(Self { clock, thread: Some(thread) })
    }

    /// Advances this engine's epoch too, from now on.
    pub(super) fn add(&self, engine: Engine) {
        // The thread ends only when this is dropped, so there is somebody to hear it.
        let _ = self.clock.words.send(Word::Engine(engine));
    }

    /// Who enters guests tells it.
    pub(super) fn clock(&self) -> &Clock {
        &self.clock
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        let _ = self.clock.words.send(Word::End);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Clock {
    /// A clock that sleeps, and what is said to its thread.
    fn new() -> (Self, Receiver<Word>) {
        let (words, said) = channel();
        let shared = Shared { guests: AtomicU64::new(0), asleep: AtomicBool::new(true) };
        (Self { shared: Arc::new(shared), words }, said)
    }

    /// A guest is entered. To be held while it may compute, at most for one poll: who waits needs no clock.
    pub fn guest(&self) -> Guest<'_> {
        self.shared.guests.fetch_add(ENTERED, Ordering::SeqCst);
        if self.shared.asleep.load(Ordering::SeqCst) && self.shared.asleep.swap(false, Ordering::SeqCst) {
            // Whoever enters a guest holds the engines, and so the thread.
            let _ = self.words.send(Word::Wake);
        }
        Guest(&self.shared)
    }

    /// Whether somebody is in a guest.
    pub fn has_guest(&self) -> bool {
        self.shared.guests.load(Ordering::Relaxed) & INSIDE != 0
    }
}

impl Drop for Guest<'_> {
    fn drop(&mut self) {
        self.0.guests.fetch_sub(LEFT, Ordering::SeqCst);
    }
}

/// What the thread knows.
struct Beat {
    /// The count of guests when it was looked at last.
    seen: u64,
    /// For how many ticks nobody has been in a guest.
    idle_ticks: u32,
}

impl Beat {
    /// After a tick: when the next one is due. Says that the clock sleeps where it does.
    fn pause(&mut self, shared: &Shared) -> Duration {
        let guests = shared.guests.load(Ordering::SeqCst);
        if guests & INSIDE != 0 || guests != self.seen {
            *self = Self { seen: guests, idle_ticks: 0 };
        }
        self.idle_ticks = self.idle_ticks.saturating_add(1);
        if self.idle_ticks <= IDLE_TICKS {
            return TICK;
        }
        shared.asleep.store(true, Ordering::SeqCst);
        if shared.guests.load(Ordering::SeqCst) == self.seen {
            return SLOW_TICK;
        }
        // Somebody came just now, who may not have seen that it sleeps.
        self.idle_ticks = 0;
        shared.asleep.store(false, Ordering::SeqCst);
        TICK
    }
}

fn run(said: &Receiver<Word>, shared: &Shared) {
    let mut engines: Vec<Engine> = Vec::new();
    let mut beat = Beat { seen: 0, idle_ticks: IDLE_TICKS };
    let mut next = Instant::now() + SLOW_TICK;
    loop {
        match said.recv_timeout(next.saturating_duration_since(Instant::now())) {
            Ok(Word::Engine(engine)) => engines.push(engine),
            Ok(Word::Wake) => next = next.min(Instant::now() + TICK),
            Ok(Word::End) | Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => {
                for engine in &engines {
                    engine.increment_epoch();
                }
                next = (next + beat.pause(shared)).max(Instant::now());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A clock whose thread is the test, awake since somebody was in a guest.
    fn awake() -> (Clock, Receiver<Word>, Beat) {
        let (clock, said) = Clock::new();
        drop(clock.guest());
        assert!(matches!(said.try_recv(), Ok(Word::Wake)));
        (clock, said, Beat { seen: 0, idle_ticks: 0 })
    }

    /// Ticks until the clock sleeps: how often.
    fn ticks_to_sleep(clock: &Clock, beat: &mut Beat) -> u32 {
        let mut ticks = 1;
        while beat.pause(&clock.shared) == TICK {
            ticks += 1;
        }
        ticks
    }

    #[test]
    fn a_clock_sleeps_when_nobody_was_in_a_guest_for_some_ticks_and_is_woken_once() {
        let (clock, said, mut beat) = awake();
        assert_eq!(ticks_to_sleep(&clock, &mut beat), IDLE_TICKS + 1);
        let guests = [clock.guest(), clock.guest()];
        assert!(matches!(said.try_recv(), Ok(Word::Wake)) && said.try_recv().is_err());
        drop(guests);
        assert_eq!(ticks_to_sleep(&clock, &mut beat), IDLE_TICKS + 1);
    }

    #[test]
    fn a_clock_ticks_on_while_somebody_is_in_a_guest_however_long() {
        let (clock, _said, mut beat) = awake();
        let guest = clock.guest();
        assert!((0..10 * IDLE_TICKS).all(|_| beat.pause(&clock.shared) == TICK));
        drop(guest);
        assert!(!clock.has_guest());
        assert_eq!(ticks_to_sleep(&clock, &mut beat), IDLE_TICKS + 1);
    }

    #[test]
    fn short_visits_between_ticks_keep_a_clock_awake() {
        let (clock, said, mut beat) = awake();
        for _ in 0..10 * IDLE_TICKS {
            drop(clock.guest());
            assert_eq!(beat.pause(&clock.shared), TICK);
        }
        assert!(said.try_recv().is_err(), "it never slept");
    }

    #[test]
    fn who_enters_while_a_clock_falls_asleep_finds_it_ticking() {
        // The same as whoever ticks and whoever enters do at once, a thread each. Whatever their order: a clock that sleeps
        // although somebody is in a guest has been told to wake.
        let (clock, said, mut beat) = awake();
        std::thread::scope(|scope| {
            let (entered, is_in) = channel();
            let (looked, may_leave) = channel();
            let visitor = clock.clone();
            scope.spawn(move || {
                while may_leave.recv().is_ok() {
                    let _guest = visitor.guest();
                    if entered.send(()).is_err() || may_leave.recv().is_err() {
                        return;
                    }
                }
            });
            for _ in 0..2_000 {
                beat.idle_ticks = IDLE_TICKS;
                beat.seen = clock.shared.guests.load(Ordering::SeqCst);
                looked.send(()).unwrap();
                let pause = beat.pause(&clock.shared);
                is_in.recv().unwrap();
                let woken = std::iter::from_fn(|| said.try_recv().ok()).count();
                assert!(pause == TICK || woken == 1, "{pause:?}, woken {woken} times");
                looked.send(()).unwrap();
            }
        });
    }
}
