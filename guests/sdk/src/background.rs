//! BG: calls whose results are fetched later.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use crate::CallError;
use crate::bindings::daffi::runtime::call as host;
use crate::bindings::wasi::io::poll;
use crate::call::{FG, Fg, Retry, misread};
use crate::mesh::milliseconds;
use crate::types::Value;

/// BG: begins a call of one process that has the callback; its [`Pending`] gives the result, after 30 seconds at most.
///
/// ```no_run
/// # use daffi::{BG, fetchers};
/// # fetchers! { fn fibonacci(n: u32) -> u64 = "fibonacci"; }
/// let mut fibonacci = fibonacci(20) & BG;
/// while fibonacci.try_get().is_none() {
///     // Something else.
/// }
/// println!("{}", fibonacci.wait()?);
/// # Ok::<(), daffi::CallError>(())
/// ```
pub const BG: Bg = Bg { fg: FG, eta: None };

/// BG with options, those of [`Fg`] and a delay: `call & Bg::timeout(Duration::from_secs(60))`,
/// `call & Bg::eta(Duration::from_secs(5)).receiver("worker-2")`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a modifier does nothing until it is applied to a call: `call & modifier`"]
pub struct Bg {
    pub(crate) fg: Fg,
    pub(crate) eta: Option<Duration>,
}

impl Bg {
    /// BG whose call takes so long at most, 1 ms to 7 days. Where it is made while serving another one, what is left of that one's time
    /// is the most.
    pub const fn timeout(timeout: Duration) -> Self {
        Self { fg: Fg::timeout(timeout), eta: None }
    }

    /// Call the process of this name and no other.
    pub fn receiver(self, process: impl Into<String>) -> Self {
        Self { fg: self.fg.receiver(process), ..self }
    }

    /// Where the callback or the receiver is not there yet, wait for it, in the background, within the timeout.
    pub fn wait_ready(self) -> Self {
        Self { fg: self.fg.wait_ready(), ..self }
    }

    /// As [`Fg::retry`].
    pub fn retry(self, retry: Retry) -> Self {
        Self { fg: self.fg.retry(retry), ..self }
    }

    /// BG whose call begins after so long, 7 days at most. Its timeout counts from then.
    pub const fn eta(delay: Duration) -> Self {
        Self { fg: FG, eta: Some(delay) }
    }

    /// As [`Bg::eta`], with other options: `Bg::timeout(…).after(…)`.
    pub fn after(self, delay: Duration) -> Self {
        Self { eta: Some(delay), ..self }
    }
}

impl From<Bg> for host::BgOptions {
    fn from(how: Bg) -> Self {
        let host::FgOptions { timeout, receiver, wait_ready, retry } = how.fg.into();
        Self { timeout, receiver, wait_ready, retry, eta: how.eta.map(milliseconds) }
    }
}

/// A call in the background. Dropping it cancels the call, unless its result is there.
#[must_use = "dropping it cancels the call"]
pub struct Pending<T> {
    call: Result<host::Pending, CallError>,
    callback: Cow<'static, str>,
    result: fn(Value) -> Result<T, String>,
}

impl<T> Pending<T> {
    pub(crate) fn new(
        call: Result<host::Pending, CallError>,
        callback: Cow<'static, str>,
        result: fn(Value) -> Result<T, String>,
    ) -> Self {
        Self { call, callback, result }
    }

    /// The result, as often as it is asked for; none while it is not there.
    pub fn try_get(&self) -> Option<Result<T, CallError>> {
        match &self.call {
            Ok(call) => Some(self.read(call.try_get()?)),
            Err(error) => Some(Err(error.clone())),
        }
    }

    /// Waits for the result.
    pub fn wait(self) -> Result<T, CallError> {
        match &self.call {
            Ok(call) => self.read(call.wait()),
            Err(error) => Err(error.clone()),
        }
    }

    /// Gives the call up, and the tree of calls below it.
    pub fn cancel(self) {}

    fn read(&self, answer: Result<Value, CallError>) -> Result<T, CallError> {
        (self.result)(answer?).map_err(|why| misread(&self.callback, &why))
    }
}

impl<T> fmt::Debug for Pending<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pending").field("callback", &self.callback).finish_non_exhaustive()
    }
}

/// Something that one can wait for together with others: [`wait_any`].
pub trait Wait: sealed::Wait {}

pub(crate) mod sealed {
    pub trait Wait {
        /// What tells when it is there; none where it is there already.
        fn subscribe(&self) -> Option<crate::bindings::wasi::io::poll::Pollable>;
    }
}

impl<T> Wait for Pending<T> {}

impl<T> sealed::Wait for Pending<T> {
    fn subscribe(&self) -> Option<poll::Pollable> {
        self.call.as_ref().ok().map(host::Pending::subscribe)
    }
}

/// Waits until one of these has something to give, and says which: its place in the list. None in an empty list.
///
/// ```no_run
/// # use daffi::{BG, fetchers, wait_any};
/// # fetchers! { fn fibonacci(n: u32) -> u64 = "fibonacci"; fn name() -> String = "name"; }
/// let (number, name) = (fibonacci(20) & BG, name() & BG);
/// match wait_any(&[&number, &name]) {
///     Some(0) => println!("{}", number.wait()?),
///     _ => println!("{}", name.wait()?),
/// }
/// # Ok::<(), daffi::CallError>(())
/// ```
pub fn wait_any(these: &[&dyn Wait]) -> Option<usize> {
    first(these.iter().map(|this| this.subscribe()))
}

/// Waits for the first of these calls that ends, takes it out, and gives its result. None when there are none.
///
/// ```no_run
/// # use daffi::{BG, fetchers, select};
/// # fetchers! { fn fibonacci(n: u32) -> u64 = "fibonacci"; }
/// let mut calls: Vec<_> = (0..20).map(|n| fibonacci(n) & BG).collect();
/// while let Some(number) = select(&mut calls) {
///     println!("{}", number?);
/// }
/// # Ok::<(), daffi::CallError>(())
/// ```
pub fn select<T>(calls: &mut Vec<Pending<T>>) -> Option<Result<T, CallError>> {
    let place = first(calls.iter().map(sealed::Wait::subscribe))?;
    Some(calls.remove(place).wait())
}

fn first(pollables: impl Iterator<Item = Option<poll::Pollable>>) -> Option<usize> {
    let mut waited = Vec::new();
    for (place, pollable) in pollables.enumerate() {
        match pollable {
            Some(pollable) => waited.push(pollable),
            None => return Some(place),
        }
    }
    if waited.is_empty() {
        return None; // the host would trap
    }
    let ready = poll::poll(&waited.iter().collect::<Vec<_>>());
    ready.first().and_then(|place| usize::try_from(*place).ok())
}
