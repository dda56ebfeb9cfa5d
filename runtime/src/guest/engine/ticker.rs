//! The clock that ends busy loops: a thread that advances the epoch of every engine each [`TICK`].
//!
//! Invariants: the thread lives as long as its [`Ticker`] and never blocks on anything but its own channel, so no
//! guest and no task can delay it. When the machine slept, missed ticks are not made up for.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use wasmtime::Engine;

/// How often epochs advance: a guest is interrupted at most this long after it should be.
pub const TICK: Duration = Duration::from_millis(5);

/// Runs the thread; dropping it ends the thread.
pub(super) struct Ticker {
    engines: Option<Sender<Engine>>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    /// Starts the thread, with no engine yet.
    pub(super) fn start() -> io::Result<Self> {
        let (engines, added) = channel();
        let thread = std::thread::Builder::new().name("daffi-epoch".to_owned()).spawn(move || run(&added))?;
        Ok(Self { engines: Some(engines), thread: Some(thread) })
    }

    /// Advances this engine's epoch too, from now on.
    pub(super) fn add(&self, engine: Engine) {
        if let Some(engines) = &self.engines {
            // The thread ends only when this sender is dropped, so there is somebody to receive.
            let _ = engines.send(engine);
        }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        drop(self.engines.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(added: &Receiver<Engine>) {
    let mut engines: Vec<Engine> = Vec::new();
    let mut next = Instant::now() + TICK;
    loop {
        match added.recv_timeout(next.saturating_duration_since(Instant::now())) {
            Ok(engine) => engines.push(engine),
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => {
                for engine in &engines {
                    engine.increment_epoch();
                }
                next = (next + TICK).max(Instant::now());
            }
        }
    }
}
