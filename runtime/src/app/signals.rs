//! SIGINT and SIGTERM: the first asks for the end, the second is the end.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::exit::{self, Failure};

/// The two signals.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

/// A signal that came.
#[derive(Clone, Copy, Debug)]
pub(super) struct Came {
    /// Its name.
    pub(super) name: &'static str,
    /// What a shell calls a process that it ended.
    pub(super) exit_code: u8,
}

impl Signals {
    /// Takes the signals over; until then they end the process by themselves.
    ///
    /// # Errors
    /// When the system does not let us.
    pub(super) fn listen() -> Result<Self, Failure> {
        let listen = |kind| {
            signal(kind).map_err(|error| Failure::new(exit::FAILED, format!("cannot listen to signals: {error}")))
        };
        Ok(Self { interrupt: listen(SignalKind::interrupt())?, terminate: listen(SignalKind::terminate())? })
    }

    /// The next signal. Cancel safe.
    pub(super) async fn next(&mut self) -> Came {
        tokio::select! {
            _ = self.interrupt.recv() => Came { name: "SIGINT", exit_code: 130 },
            _ = self.terminate.recv() => Came { name: "SIGTERM", exit_code: 143 },
        }
    }
}
