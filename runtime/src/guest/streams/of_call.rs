//! The streams of one call, and of the calls that it makes: for their sake its instance stays, and while they move it does
//! not run too long.
//!
//! Invariant: the count of those that are open goes down when a [`Member`] is dropped, and by nothing else.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use daffi_proto::error::CallError;
use tokio::sync::watch;

/// The streams of a call.
#[derive(Debug)]
pub(in super::super) struct CallStreams {
    state: watch::Sender<State>,
    began: Instant,
    /// When a stream last moved or ended, in milliseconds since `began`; none did at 0.
    moved_ms: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    open: usize,
    stopped: Option<CallError>,
}

impl CallStreams {
    pub fn new() -> Arc<Self> {
        Arc::new(Self { state: watch::Sender::default(), began: Instant::now(), moved_ms: AtomicU64::new(0) })
    }

    /// One more is open.
    pub fn enter(self: &Arc<Self>) -> Member {
        self.state.send_modify(|state| state.open += 1);
        Member(self.clone())
    }

    /// Whether none is open.
    pub fn is_idle(&self) -> bool {
        self.state.borrow().open == 0
    }

    /// Waits until none is open. Cancel safe.
    pub async fn idle(&self) {
        // It ends with `self` at the latest.
        let _ = self.state.subscribe().wait_for(|state| state.open == 0).await;
    }

    /// Ends the call's own streams: the guest gets no more items, and who reads what it writes is told why. The first
    /// reason holds.
    pub fn stop(&self, why: CallError) {
        self.state.send_if_modified(|state| {
            let is_first = state.stopped.is_none();
            state.stopped.get_or_insert(why);
            is_first
        });
    }

    /// Waits until they are ended, for the reason. Cancel safe.
    pub async fn stopped(&self) -> CallError {
        let mut state = self.state.subscribe();
        match state.wait_for(|state| state.stopped.is_some()).await.map(|state| state.stopped.clone()) {
            Ok(Some(why)) => why,
            // unreachable while `self` holds the sender
            _ => std::future::pending().await,
        }
    }

    /// The reason for which they are ended.
    pub fn why_stopped(&self) -> Option<CallError> {
        self.state.borrow().stopped.clone()
    }

    /// When a stream last moved; none did yet.
    pub fn last_moved(&self) -> Option<Instant> {
        match self.moved_ms.load(Ordering::Relaxed) {
            0 => None,
            ms => Some(self.began + Duration::from_millis(ms)),
        }
    }

    fn moved(&self) {
        let ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.moved_ms.fetch_max(ms.max(1), Ordering::Relaxed);
    }
}

/// An open stream of a call.
#[derive(Debug)]
pub(in super::super) struct Member(Arc<CallStreams>);

impl Member {
    /// Items went through it.
    pub fn moved(&self) {
        self.0.moved();
    }

    /// As [`CallStreams::stopped`].
    pub async fn stopped(&self) -> CallError {
        self.0.stopped().await
    }

    /// As [`CallStreams::why_stopped`].
    pub fn why_stopped(&self) -> Option<CallError> {
        self.0.why_stopped()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.0.moved();
        self.0.state.send_modify(|state| state.open = state.open.saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use daffi_proto::error::code;
    use futures::FutureExt;

    use super::*;

    #[test]
    fn a_call_is_idle_when_its_last_stream_has_ended() {
        let streams = CallStreams::new();
        assert!(streams.is_idle() && streams.idle().now_or_never().is_some() && streams.last_moved().is_none());
        let (one, two) = (streams.enter(), streams.enter());
        drop(one);
        assert!(!streams.is_idle() && streams.idle().now_or_never().is_none());
        drop(two);
        assert!(streams.is_idle() && streams.idle().now_or_never().is_some() && streams.last_moved().is_some());
    }

    #[test]
    fn the_first_reason_to_stop_holds() {
        let streams = CallStreams::new();
        assert!(streams.stopped().now_or_never().is_none());
        for message in ["first", "second"] {
            streams.stop(CallError::failed(code::CANCELLED, message, "f"));
        }
        assert_eq!(streams.enter().stopped().now_or_never().unwrap().message, "first");
    }
}
