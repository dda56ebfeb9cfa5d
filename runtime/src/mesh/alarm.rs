//! A timer that is set again and again, mostly to the same time.

use std::pin::Pin;
use std::time::{Duration, Instant};

use tokio::time::Sleep;

/// Rings at a time that counts from an epoch. Setting it to the time that it is set to costs nothing.
pub(super) struct Alarm {
    epoch: Instant,
    at: Option<Duration>,
    sleep: Pin<Box<Sleep>>,
}

impl Alarm {
    /// An alarm that is not set. To be made inside a tokio runtime.
    pub(super) fn new(epoch: Instant) -> Self {
        Self { epoch, at: None, sleep: Box::pin(tokio::time::sleep_until(epoch.into())) }
    }

    /// Sets it, or not.
    pub(super) fn set(&mut self, at: Option<Duration>) {
        if at != self.at
            && let Some(at) = at
        {
            self.sleep.as_mut().reset((self.epoch + at).into());
        }
        self.at = at;
    }

    /// Resolves at the time, once; then it must be set again. Cancel safe.
    pub(super) async fn rings(&mut self) {
        match self.at {
            Some(_) => self.sleep.as_mut().await,
            None => std::future::pending().await,
        }
        self.at = None;
    }
}
