//! Calls whose results nobody waits for.

use std::ops::BitAnd;

use crate::CallError;
use crate::background::Bg;
use crate::bindings::daffi::runtime::call as host;
use crate::broadcast::Broadcast;
use crate::call::{Call, unfit};
use crate::mesh::milliseconds;
use crate::types::Outcome;

/// A call whose result nobody waits for, to one process or to all who have the callback: `call & BG.no_result()`,
/// `call & BROADCAST.no_result()`. It goes on whatever becomes of this guest; what it comes to is dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a modifier does nothing until it is applied to a call: `call & modifier`"]
pub struct NoResult<How> {
    how: How,
    acknowledge: bool,
}

impl Bg {
    /// BG whose result nobody waits for.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # use daffi::{BG, Bg, fetchers};
    /// # fetchers! { fn note(text: &str) = "note"; }
    /// (note("at once") & BG.no_result())?;
    /// (note("it is in the queue") & BG.no_result().acknowledged())?;
    /// (note("in a minute") & Bg::eta(Duration::from_secs(60)).no_result())?;
    /// # Ok::<(), daffi::CallError>(())
    /// ```
    pub const fn no_result(self) -> NoResult<Self> {
        NoResult { how: self, acknowledge: false }
    }
}

impl Broadcast {
    /// BROADCAST whose results nobody waits for.
    pub const fn no_result(self) -> NoResult<Self> {
        NoResult { how: self, acknowledge: false }
    }
}

impl<How> NoResult<How> {
    /// Waits until the process, or each of them, has the call in its queue or runs it.
    pub fn acknowledged(self) -> Self {
        Self { acknowledge: true, ..self }
    }
}

/// Where one process is in a broadcast whose results nobody waits for.
#[derive(Clone, Debug, PartialEq)]
pub struct Delivery {
    /// Its name.
    pub process: String,
    /// That it has the call, or what happened to it.
    pub accepted: Result<(), CallError>,
}

impl<T> BitAnd<NoResult<Bg>> for Call<T> {
    type Output = Result<(), CallError>;

    /// Sends the call.
    fn bitand(self, how: NoResult<Bg>) -> Self::Output {
        let arguments = self.arguments.map_err(|why| unfit(&self.callback, &why))?;
        let Bg { fg, eta } = how.how;
        if fg.retry.is_some() {
            return Err(senseless(&self.callback, "is not made again"));
        }
        let options = host::SendOptions {
            timeout: fg.timeout.map(milliseconds),
            receiver: fg.receiver,
            wait_ready: fg.wait_ready,
            eta: eta.map(milliseconds),
            acknowledge: how.acknowledge,
        };
        host::send(&self.callback, &arguments, Some(&options))
    }
}

impl<T> BitAnd<NoResult<Broadcast>> for Call<T> {
    type Output = Result<Vec<Delivery>, CallError>;

    /// Sends the call to every process that has the callback. Where that is not acknowledged, the list is empty.
    fn bitand(self, how: NoResult<Broadcast>) -> Self::Output {
        let arguments = self.arguments.map_err(|why| unfit(&self.callback, &why))?;
        if how.how.counts_results() {
            return Err(senseless(&self.callback, "counts none (`first`, `quorum`, `stall`)"));
        }
        let options = host::SendOptions {
            timeout: how.how.timeout.map(milliseconds),
            receiver: None,
            wait_ready: how.how.wait_ready,
            eta: None,
            acknowledge: how.acknowledge,
        };
        let deliveries = host::send_all(&self.callback, &arguments, Some(&options))?;
        let delivery = |of: host::Delivery| Delivery { process: of.process, accepted: of.accepted };
        Ok(deliveries.into_iter().map(delivery).collect())
    }
}

fn senseless(callback: &str, why: &str) -> CallError {
    let message = format!("`{callback}` was not called: a call without a result {why}");
    CallError::local(Outcome::NotRun, "bad-arguments", callback, message)
}
