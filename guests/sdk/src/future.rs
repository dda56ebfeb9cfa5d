//! Calls in async functions: futures in place of waiting.

use std::future::{Future, IntoFuture};
use std::ops::BitAnd;
use std::pin::Pin;
use std::time::Duration;

use crate::CallError;
use crate::bindings::daffi::runtime::{call_async, mesh_async};
use crate::broadcast::{Broadcast, Entry};
use crate::call::{Call, FG, Fg, misread};
use crate::mesh::milliseconds;

/// What a call in an async function comes to. Dropping it gives the call up, and the tree of calls below it.
pub type Answer<T> = Pin<Box<dyn Future<Output = Result<T, CallError>>>>;

/// A modifier whose result is awaited: `call & FG.future()`. No other task of the guest waits with it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a modifier does nothing until it is applied to a call: `call & modifier`"]
pub struct Awaited<M>(M);

impl Fg {
    /// For async functions: the call begins when its future is first polled.
    ///
    /// ```no_run
    /// # use daffi::{FG, Fg, fetchers};
    /// # fetchers! { fn fibonacci(n: u32) -> u64 = "fibonacci"; }
    /// # async fn f() -> Result<(), daffi::CallError> {
    /// let number = fibonacci(20).await?; // the same as `& FG.future()`
    /// let number = (fibonacci(20) & FG.receiver("worker-2").future()).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub const fn future(self) -> Awaited<Self> {
        Awaited(self)
    }
}

impl Broadcast {
    /// For async functions: all entries, when they are there.
    ///
    /// ```no_run
    /// # use daffi::{BROADCAST, fetchers};
    /// # fetchers! { fn menu() -> Vec<String> = "menu"; }
    /// # async fn f() -> Result<(), daffi::CallError> {
    /// for entry in (menu() & BROADCAST.future()).await? {
    ///     println!("{}: {:?}", entry.process, entry.result);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub const fn future(self) -> Awaited<Self> {
        Awaited(self)
    }
}

impl<T: 'static> IntoFuture for Call<T> {
    type Output = Result<T, CallError>;
    type IntoFuture = Answer<T>;

    /// FG, with no options.
    fn into_future(self) -> Answer<T> {
        self & FG.future()
    }
}

impl<T: 'static> BitAnd<Awaited<Fg>> for Call<T> {
    type Output = Answer<T>;

    /// FG, awaited.
    fn bitand(self, how: Awaited<Fg>) -> Answer<T> {
        Box::pin(async move {
            let (callback, arguments, result) = self.into_parts()?;
            let answer = call_async::fg(callback.to_string(), arguments, Some(how.0.into())).await?;
            result(answer).map_err(|why| misread(&callback, &why))
        })
    }
}

impl<T: 'static> BitAnd<Awaited<Broadcast>> for Call<T> {
    type Output = Answer<Vec<Entry<T>>>;

    /// BROADCAST, awaited.
    fn bitand(self, how: Awaited<Broadcast>) -> Self::Output {
        Box::pin(async move {
            let (callback, arguments, result) = self.into_parts()?;
            let entries = call_async::broadcast(callback.to_string(), arguments, Some(how.0.into())).await?;
            Ok(entries.into_iter().map(|entry| Entry::read(entry, &callback, result)).collect())
        })
    }
}

/// As [`mesh::wait_process`](crate::mesh::wait_process), awaited.
pub async fn wait_process(name: &str, timeout: Duration) -> Result<(), CallError> {
    mesh_async::wait_process(name.to_owned(), milliseconds(timeout)).await
}

/// As [`mesh::wait_callback`](crate::mesh::wait_callback), awaited.
pub async fn wait_callback(callback: &str, timeout: Duration) -> Result<(), CallError> {
    mesh_async::wait_callback(callback.to_owned(), milliseconds(timeout)).await
}

/// Resolves when nobody waits any more for the call that this task serves: its caller gave it up, its deadline passed, or
/// it has returned. Outside of a callback it never does.
///
/// What an async callback computes for nobody is not stopped, since that would stop the others of its instance: one that
/// works for long awaits this beside its work, and returns.
pub async fn given_up() {
    call_async::given_up().await;
}
