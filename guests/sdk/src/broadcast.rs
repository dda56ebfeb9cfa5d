//! BROADCAST: one call to every process that has the callback.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use crate::CallError;
use crate::background::{Wait, sealed};
use crate::bindings::daffi::runtime::call as host;
use crate::bindings::wasi::io::poll;
use crate::call::misread;
use crate::mesh::milliseconds;
use crate::types::Value;

/// BROADCAST: calls every process that has the callback, but this one, and waits for all, 30 seconds at most.
///
/// ```no_run
/// # use daffi::{BROADCAST, fetchers};
/// # fetchers! { fn menu() -> Vec<String> = "menu"; }
/// for entry in (menu() & BROADCAST)? {
///     match entry.result {
///         Ok(menu) => println!("{}: {}", entry.process, menu.join(", ")),
///         Err(error) => println!("{}: {error}", entry.process),
///     }
/// }
/// # Ok::<(), daffi::CallError>(())
/// ```
pub const BROADCAST: Broadcast = Broadcast { timeout: None, wait_ready: false, first: None, quorum: None, stall: None };

/// BROADCAST with options: `call & Broadcast::timeout(Duration::from_secs(1))`, `call & BROADCAST.quorum(2)`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a modifier does nothing until it is applied to a call: `call & modifier`"]
pub struct Broadcast {
    pub(crate) timeout: Option<Duration>,
    pub(crate) wait_ready: bool,
    first: Option<u32>,
    quorum: Option<u32>,
    stall: Option<Duration>,
}

impl Broadcast {
    /// BROADCAST that takes so long at most; who has not answered then has an error in his entry.
    pub const fn timeout(timeout: Duration) -> Self {
        Self { timeout: Some(timeout), ..BROADCAST }
    }

    /// Where no process has the callback yet, wait for the first within the timeout. Otherwise that fails at once.
    pub const fn wait_ready(self) -> Self {
        Self { wait_ready: true, ..self }
    }

    /// So many values are enough: the other calls are cancelled.
    pub const fn first(self, values: u32) -> Self {
        Self { first: Some(values), ..self }
    }

    /// As [`Broadcast::first`], and it ends as soon as so many cannot come any more.
    pub const fn quorum(self, values: u32) -> Self {
        Self { quorum: Some(values), ..self }
    }

    /// Gives up those who are missing when nobody has answered for so long.
    pub const fn stall(self, stall: Duration) -> Self {
        Self { stall: Some(stall), ..self }
    }

    /// Whether results decide when it ends.
    pub(crate) const fn counts_results(&self) -> bool {
        self.first.is_some() || self.quorum.is_some() || self.stall.is_some()
    }

    /// Gives the entries as they arrive: `call & BROADCAST.as_they_arrive()`.
    pub const fn as_they_arrive(self) -> Gather {
        Gather(self)
    }
}

/// BROADCAST whose entries are given as they arrive.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a modifier does nothing until it is applied to a call: `call & modifier`"]
pub struct Gather(pub(crate) Broadcast);

impl From<Broadcast> for host::BroadcastOptions {
    fn from(how: Broadcast) -> Self {
        Self {
            timeout: how.timeout.map(milliseconds),
            wait_ready: how.wait_ready,
            first_n: how.first,
            quorum: how.quorum,
            stall: how.stall.map(milliseconds),
        }
    }
}

/// What one process gave.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry<T> {
    /// Its name.
    pub process: String,
    /// Its result, or what happened to its call.
    pub result: Result<T, CallError>,
}

impl<T> Entry<T> {
    pub(crate) fn read(entry: host::Entry, callback: &str, result: fn(Value) -> Result<T, String>) -> Self {
        let answer = entry.answer.and_then(|answer| result(answer).map_err(|why| misread(callback, &why)));
        Self { process: entry.process, result: answer }
    }
}

/// The entries of a broadcast as they arrive: an iterator, each `next` of which waits. Dropping it cancels the calls that
/// are open. An error is the last that it gives.
#[must_use = "dropping it cancels the calls"]
pub struct Arrivals<T> {
    arrivals: host::Arrivals,
    callback: Cow<'static, str>,
    result: fn(Value) -> Result<T, String>,
    over: bool,
}

impl<T> Arrivals<T> {
    pub(crate) fn new(
        arrivals: host::Arrivals,
        callback: Cow<'static, str>,
        result: fn(Value) -> Result<T, String>,
    ) -> Self {
        Self { arrivals, callback, result, over: false }
    }
}

impl<T> Iterator for Arrivals<T> {
    type Item = Result<Entry<T>, CallError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.over {
            return None;
        }
        match self.arrivals.next() {
            Ok(host::Arrival::Entry(entry)) => Some(Ok(Entry::read(entry, &self.callback, self.result))),
            Ok(host::Arrival::End(_)) => {
                self.over = true;
                None
            }
            Err(error) => {
                self.over = true;
                Some(Err(error))
            }
        }
    }
}

impl<T> fmt::Debug for Arrivals<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Arrivals").field("callback", &self.callback).finish_non_exhaustive()
    }
}

impl<T> Wait for Arrivals<T> {}

impl<T> sealed::Wait for Arrivals<T> {
    fn subscribe(&self) -> Option<poll::Pollable> {
        Some(self.arrivals.subscribe())
    }
}
