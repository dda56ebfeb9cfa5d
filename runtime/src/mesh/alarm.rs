//! A timer that is set again and again, mostly to the same time or a later one.

use std::pin::Pin;
use std::time::{Duration, Instant};

use tokio::time::Sleep;

/// Rings at a time that counts from an epoch. Setting it to a later time than before costs nothing.
pub(super) struct Alarm {
    epoch: Instant,
    at: Option<Duration>,
    sleep: Pin<Box<Sleep>>,
    /// When the sleep ends, unless it has: at that time or before it.
    sleeps_until: Option<Duration>,
}

impl Alarm {
    /// An alarm that is not set. To be made inside a tokio runtime.
    pub(super) fn new(epoch: Instant) -> Self {
        Self { epoch, at: None, sleep: Box::pin(tokio::time::sleep_until(epoch.into())), sleeps_until: None }
    }

    /// Sets it, or not.
    pub(super) fn set(&mut self, at: Option<Duration>) {
        if let Some(at) = at
            && self.sleeps_until.is_none_or(|until| at < until)
        {
            self.sleep_until(at);
        }
        self.at = at;
    }

    fn sleep_until(&mut self, at: Duration) {
        self.sleep.as_mut().reset((self.epoch + at).into());
        self.sleeps_until = Some(at);
    }

    /// Resolves at the time, once; then it must be set again. Cancel safe.
    pub(super) async fn rings(&mut self) {
        let Some(at) = self.at else { return std::future::pending().await };
        loop {
            self.sleep.as_mut().await;
            match self.sleeps_until.take() {
                Some(until) if until < at => self.sleep_until(at),
                _ => break,
            }
        }
        self.at = None;
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[tokio::test]
    async fn it_rings_at_the_time_that_it_was_set_to_last() {
        let epoch = Instant::now();
        let mut alarm = Alarm::new(epoch);
        // Earlier than it was.
        alarm.set(Some(HOUR));
        assert!(alarm.rings().now_or_never().is_none());
        alarm.set(Some(Duration::from_millis(2)));
        alarm.rings().await;
        assert!(epoch.elapsed() >= Duration::from_millis(2));
        // Later, of which the sleep knows nothing, once with a sleep that is over by then.
        for is_over in [false, true] {
            let soon = epoch.elapsed() + Duration::from_millis(2);
            let later = soon + Duration::from_millis(5);
            alarm.set(Some(soon));
            if is_over {
                tokio::time::sleep_until((epoch + soon).into()).await;
            }
            alarm.set(Some(later));
            alarm.rings().await;
            assert!(epoch.elapsed() >= later);
        }
        alarm.set(Some(epoch.elapsed()));
        alarm.set(None);
        assert!(alarm.rings().now_or_never().is_none());
        alarm.set(Some(HOUR));
        assert!(alarm.rings().now_or_never().is_none(), "the sleep before it has ended");
    }
}
