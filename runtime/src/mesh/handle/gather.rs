//! A broadcast, as whoever asked for it sees it.
//!
//! Invariant: no entry is lost and the driver never waits: the channel has a place for every entry that a broadcast can
//! have and for its end. Its memory is bounded by [`MAX_BROADCAST`] entries and by
//! [`MAX_GATHERED_BYTES`](daffi_proto::node::MAX_GATHERED_BYTES) of results.

use std::task::{Context, Poll};

use daffi_proto::call::{GatherEnd, GatherEntry, GatherRequest};
use daffi_proto::error::CallError;
use daffi_proto::node::MAX_BROADCAST;
use tokio::sync::mpsc;

use super::{MeshHandle, OpenRequest, Request};

/// What the driver tells of a broadcast.
pub enum Gathered {
    /// A process has its entry.
    Entry(GatherEntry),
    /// No more follow.
    Done(Result<GatherEnd, CallError>),
}

/// The entries of a broadcast as they arrive. Dropping it cancels the calls that are open.
pub struct Gather {
    entries: mpsc::Receiver<Gathered>,
    open: OpenRequest,
    end: Option<GatherEnd>,
}

impl MeshHandle {
    /// Calls every process that has the callback now, but the caller.
    ///
    /// # Errors
    /// `overloaded` when this runtime has too many requests open, `not-connected` when it ends; all else comes as the
    /// first and last of the entries. Cancel safety: dropping the future, or the [`Gather`], cancels all of it.
    pub async fn gather(&self, request: GatherRequest) -> Result<Gather, CallError> {
        let (reply, entries) = mpsc::channel(MAX_BROADCAST + 1);
        let open = self.open_with(|token| Request::Gather { token, request, reply }).await?;
        Ok(Gather { entries, open, end: None })
    }
}

impl Gather {
    /// The next entry; `None` when there are no more. Cancel safe.
    ///
    /// # Errors
    /// Why nothing was sent, or why the rest will not come (the call that it was made for was cancelled, this runtime
    /// ends); nothing follows.
    pub async fn next(&mut self) -> Option<Result<GatherEntry, CallError>> {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }

    /// As [`Gather::next`], for those who are polled.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<GatherEntry, CallError>>> {
        if self.open.place.is_none() {
            return Poll::Ready(None);
        }
        self.entries.poll_recv(cx).map(|gathered| match gathered {
            Some(Gathered::Entry(entry)) => Some(Ok(entry)),
            Some(Gathered::Done(result)) => {
                self.open.place = None;
                match result {
                    Ok(end) => {
                        self.end = Some(end);
                        None
                    }
                    Err(error) => Some(Err(error)),
                }
            }
            // Only a driver that has ended drops the sender, and it has had the calls.
            None => {
                self.open.place = None;
                Some(Err(super::open::call_lost(&[])))
            }
        })
    }

    /// Whether what was needed came; known when [`Gather::next`] has given `None`, unless it gave an error before.
    pub fn end(&self) -> Option<GatherEnd> {
        self.end
    }
}
