//! STREAM: calls whose arguments and results come bit by bit.
//!
//! A callback that has streams in its type is called once, and they stand in its arguments and its result as [`Items`] and
//! [`Received`]. Any other is called once an item: [`each`]. Where a call waits for something to read it also writes, and
//! the other way round; see `feed`.

mod each;
mod feed;
mod items;
mod receivers;

use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt;
use std::ops::BitAnd;
use std::rc::Rc;
use std::time::Duration;

use crate::CallError;
use crate::background::{Wait, sealed};
use crate::bindings::daffi::runtime::call as host;
use crate::bindings::wasi::io::poll;
use crate::call::{Call, misread, unfit};
use crate::mesh::milliseconds;
use crate::types::{Outcome, Value};
use feed::{Fan, Feed};
use items::Origin;

pub use each::{Each, Results, each};
pub use items::{Items, Received, Writer, items, writer};
pub use receivers::{Ended, Receivers, ToReceivers};

pub(crate) use items::{Source, collect};

/// STREAM: calls one process that has the callback, and streams to it, from it, or both.
///
/// ```no_run
/// # use daffi::{Items, Received, STREAM, each, fetchers, items};
/// fetchers! {
///     fn average(readings: Items<f64>) -> f64 = "demo:weather/statistics#average";
///     fn countdown(from: u32) -> Received<u32> = "demo:space/launch#countdown";
///     fn square(n: u64) -> u64 = "square";
/// }
///
/// let average = (average(items([18.5, 19.0, 21.5])) & STREAM)?;
/// for number in (countdown(3) & STREAM)? {
///     println!("{}", number?);
/// }
/// // A callback without streams is called once an item.
/// for square in each((0..1_000_000).map(square)) & STREAM {
///     println!("{}", square?);
/// }
/// # Ok::<(), daffi::CallError>(())
/// ```
///
/// It gives the result when that is there; items are written meanwhile. Where the result has no stream, all items have
/// been written then, or the callback wants no more; otherwise the rest is written as the result's streams are read.
pub const STREAM: Stream = Stream { timeout: None, receiver: None, wait_ready: false };

/// STREAM with options: `call & Stream::timeout(Duration::from_secs(60))`, `call & STREAM.receiver("worker-2")`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a modifier does nothing until it is applied to a call: `call & modifier`"]
pub struct Stream {
    timeout: Option<Duration>,
    receiver: Option<String>,
    wait_ready: bool,
}

impl Stream {
    /// STREAM that ends when nothing at all moved in it for so long, 30 seconds unless it is said. In total it may take any
    /// time.
    pub const fn timeout(timeout: Duration) -> Self {
        Self { timeout: Some(timeout), receiver: None, wait_ready: false }
    }

    /// Call the process of this name and no other.
    pub fn receiver(self, process: impl Into<String>) -> Self {
        Self { receiver: Some(process.into()), ..self }
    }

    /// Where the callback or the receiver is not there yet, wait for it within the timeout. Otherwise that fails at once.
    pub fn wait_ready(self) -> Self {
        Self { wait_ready: true, ..self }
    }

    /// Call each of these processes, and write every item to all of them; see [`Receivers`].
    pub fn receivers<P: Into<String>>(self, processes: impl IntoIterator<Item = P>) -> Receivers {
        Receivers::new(self, processes.into_iter().map(Into::into).collect())
    }

    /// Begins the call, and does not wait for its result: for those who write its items by hand.
    ///
    /// ```no_run
    /// # use daffi::{Items, STREAM, fetchers, writer};
    /// # fetchers! { fn average(readings: Items<f64>) -> f64 = "average"; }
    /// let (readings, items) = writer();
    /// let call = (average(items) & STREAM.open())?;
    /// readings.write(&18.5)?;
    /// readings.write(&19.0)?;
    /// readings.finish();
    /// println!("{}", call.wait()?);
    /// # Ok::<(), daffi::CallError>(())
    /// ```
    pub fn open(self) -> Opening {
        Opening(self)
    }

    /// Begins a call of one process.
    fn begin(&self, callback: &str, arguments: &Value) -> Result<host::Streams, CallError> {
        let options = host::StreamOptions {
            timeout: self.timeout.map(milliseconds),
            receiver: self.receiver.clone(),
            wait_ready: self.wait_ready,
        };
        host::stream(callback, arguments, Some(&options))
    }
}

/// STREAM that is begun and not waited for: [`Stream::open`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a modifier does nothing until it is applied to a call: `call & modifier`"]
pub struct Opening(Stream);

impl<T> BitAnd<Stream> for Call<T> {
    type Output = Result<T, CallError>;

    /// Makes the call, writes its items and waits for its result.
    fn bitand(self, how: Stream) -> Self::Output {
        (self & how.open())?.wait()
    }
}

impl<T> BitAnd<Opening> for Call<T> {
    type Output = Result<Open<T>, CallError>;

    /// Begins the call.
    fn bitand(self, how: Opening) -> Self::Output {
        let arguments = self.arguments.map_err(|why| unfit(&self.callback, &why))?;
        let host::Streams { outbound, reply } = how.0.begin(&self.callback, &arguments)?;
        if outbound.len() != self.sources.len() {
            return Err(other_streams(&self.callback, self.sources.len(), outbound.len()));
        }
        let mut fans = Vec::new();
        for (source, outbound) in self.sources.iter().zip(outbound) {
            match source.take() {
                Some(Origin::Iterator(items)) => fans.push(Fan::new(items, [Some(outbound)], 1)),
                Some(Origin::Writer(slot)) => *slot.borrow_mut() = Some(outbound),
                None => return Err(unfit(&self.callback, "a stream is in it twice")),
            }
        }
        let feed = Rc::new(RefCell::new(Feed::new(fans)));
        Ok(Open { reply, feed, callback: self.callback, result: self.result })
    }
}

/// A call with streams that is under way. Dropping it cancels the call and all its streams.
#[must_use = "dropping it cancels the call"]
pub struct Open<T> {
    reply: host::Reply,
    feed: Rc<RefCell<Feed>>,
    callback: Cow<'static, str>,
    result: fn(Value) -> Result<T, String>,
}

impl<T> Open<T> {
    /// Writes the items of its iterators, and waits for its result. A stream that is written by hand is to be finished
    /// before, where the callback reads it to the end.
    pub fn wait(self) -> Result<T, CallError> {
        let replied = loop {
            if let Some(replied) = self.reply.try_get() {
                break replied;
            }
            let mut feed = self.feed.borrow_mut();
            if !feed.turn() {
                feed.sleep([self.reply.subscribe()]);
            }
        };
        let refused = || self.feed.borrow().refused(0);
        let host::Replied { result, inbound } = replied.map_err(|error| refused().unwrap_or(error))?;
        let result = items::decode(inbound, &self.feed, || (self.result)(result));
        let result = result.map_err(|why| misread(&self.callback, &why))?;
        if Rc::strong_count(&self.feed) == 1 {
            // The result has no stream with which the rest would be written.
            self.feed.borrow_mut().run();
            if let Some(refused) = refused() {
                return Err(refused);
            }
        }
        Ok(result)
    }
}

impl<T> fmt::Debug for Open<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Open").field("callback", &self.callback).finish_non_exhaustive()
    }
}

impl<T> Wait for Open<T> {}

impl<T> sealed::Wait for Open<T> {
    fn subscribe(&self) -> Option<poll::Pollable> {
        Some(self.reply.subscribe())
    }
}

fn other_streams(callback: &str, given: usize, wanted: usize) -> CallError {
    let message = format!(
        "the arguments of `{callback}` have {given} streams, and {wanted} are to be written: a callback without streams is \
         called once an item, with `each`"
    );
    CallError::local(Outcome::NotRun, "bad-arguments", callback, message)
}
