//! Streams as arguments and results: what stands for them in serde types.
//!
//! In the encoding a stream is its number. serde has no place for the stream itself, so it is handed over beside the bytes,
//! in a thread-local that is set only while one argument or one result is encoded or decoded.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::marker::PhantomData;
use std::rc::Rc;

use serde::de::{DeserializeOwned, Error as _};
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::feed::{Encoded, Feed};
use crate::CallError;
use crate::background::{Wait, sealed};
use crate::bindings::daffi::runtime::call as host;
use crate::bindings::wasi::io::poll;
use crate::call::decoded;
use crate::types::{Outcome, Value};

/// How many items are read at once at most.
pub(crate) const AT_ONCE: u32 = 64;

thread_local! {
    static GIVEN: RefCell<Option<Vec<Source>>> = const { RefCell::new(None) };
    static TAKEN: RefCell<Option<Taken>> = const { RefCell::new(None) };
}

/// What a stream in the arguments has its items from. It is used by the first stream that is made of it.
#[derive(Clone)]
pub(crate) struct Source(Rc<RefCell<Option<Origin>>>);

pub(crate) enum Origin {
    Iterator(Encoded),
    /// Where its writer waits for it.
    Writer(Rc<RefCell<Option<host::Outbound>>>),
}

impl Source {
    pub(crate) fn take(&self) -> Option<Origin> {
        self.0.borrow_mut().take()
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Source")
    }
}

/// A `stream<T>` in the arguments of a call: items that are written while it goes on.
///
/// Of a `stream<u8>` each item is a piece of it: `Items<Vec<u8>>`. A `future<T>` is one with a single item.
pub struct Items<T> {
    source: Source,
    items: PhantomData<fn(T)>,
}

/// A stream of these items, which are asked for one at a time, when there is room for one.
///
/// ```no_run
/// # use daffi::{Items, STREAM, fetchers, items};
/// fetchers! { fn average(readings: Items<f64>) -> f64 = "demo:weather/statistics#average"; }
///
/// let average = (average(items([18.5, 19.0, 21.5, 21.0])) & STREAM)?;
/// # Ok::<(), daffi::CallError>(())
/// ```
pub fn items<T: Serialize + 'static>(items: impl IntoIterator<Item = T, IntoIter: 'static>) -> Items<T> {
    Items::of(Origin::Iterator(Box::new(items.into_iter().map(|item| encode(&item)))))
}

/// A stream whose items are written by hand, by and by, once its call is begun with [`Stream::open`](super::Stream::open).
pub fn writer<T: Serialize>() -> (Writer<T>, Items<T>) {
    let slot = Rc::new(RefCell::new(None));
    (Writer { outbound: Rc::clone(&slot), items: PhantomData }, Items::of(Origin::Writer(slot)))
}

impl<T> Items<T> {
    fn of(origin: Origin) -> Self {
        Self { source: Source(Rc::new(RefCell::new(Some(origin)))), items: PhantomData }
    }
}

impl<T> Serialize for Items<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let number = GIVEN.with_borrow_mut(|given| {
            let given = given.as_mut()?;
            let number = u32::try_from(given.len()).ok()?;
            given.push(self.source.clone());
            Some(number)
        });
        number.ok_or_else(|| S::Error::custom("a stream stands only in the arguments of a call"))?.serialize(serializer)
    }
}

impl<T> fmt::Debug for Items<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Items").finish_non_exhaustive()
    }
}

/// Encodes with these streams before those that it finds; all of them.
pub(crate) fn collect<R>(before: Vec<Source>, encode: impl FnOnce() -> R) -> (Vec<Source>, R) {
    let outer = GIVEN.replace(Some(before));
    let result = encode();
    (GIVEN.replace(outer).unwrap_or_default(), result)
}

pub(crate) fn encode(item: &impl Serialize) -> Result<Value, CallError> {
    postcard::to_stdvec(item).map(Value::Postcard).map_err(|why| {
        CallError::local(Outcome::Failed, "bad-arguments", "", format!("cannot encode an item of a stream: {why}"))
    })
}

/// Writes the items of a stream by hand. Dropping it before [`Writer::finish`] is a failure that the reader is told.
pub struct Writer<T> {
    outbound: Rc<RefCell<Option<host::Outbound>>>,
    items: PhantomData<fn(T)>,
}

impl<T: Serialize> Writer<T> {
    /// Whether an item can be written now without waiting.
    ///
    /// # Errors
    /// As of [`Writer::write`].
    pub fn has_room(&self) -> Result<bool, CallError> {
        self.with(|outbound| Ok(outbound.check_write()? > 0))
    }

    /// Writes an item, and waits for room. Where the callback also writes, and that is not read, there may never be any
    /// until the call's time is over: ask [`Writer::has_room`], and wait for either with [`wait_any`](crate::wait_any).
    ///
    /// # Errors
    /// The call is not begun yet, or the stream has ended: `cancelled` where its reader wants no more, otherwise why.
    /// Where the item does not fit (`bad-arguments`, outcome `not-run`), the stream goes on.
    pub fn write(&self, item: &T) -> Result<(), CallError> {
        let item = encode(item)?;
        self.with(|outbound| outbound.write(&[item]))
    }

    /// These were all items.
    pub fn finish(self) {
        if let Some(outbound) = self.outbound.take() {
            outbound.finish();
        }
    }

    /// There would have been more, but for this reason, which the reader is told.
    pub fn fail(self, message: &str) {
        if let Some(outbound) = self.outbound.take() {
            outbound.fail(message);
        }
    }

    fn with<R>(&self, act: impl FnOnce(&host::Outbound) -> Result<R, CallError>) -> Result<R, CallError> {
        match &*self.outbound.borrow() {
            Some(outbound) => act(outbound),
            None => {
                let message = "the call of this stream is not begun".to_owned();
                Err(CallError::local(Outcome::NotRun, "bad-arguments", "", message))
            }
        }
    }
}

impl<T> fmt::Debug for Writer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").finish_non_exhaustive()
    }
}

impl<T> Wait for Writer<T> {}

impl<T> sealed::Wait for Writer<T> {
    fn subscribe(&self) -> Option<poll::Pollable> {
        self.outbound.borrow().as_ref().map(host::Outbound::subscribe)
    }
}

/// The streams of a result that is being decoded.
struct Taken {
    streams: Vec<Option<host::Inbound>>,
    feed: Rc<RefCell<Feed>>,
}

/// Decodes a result that has these streams.
pub(crate) fn decode<R>(streams: Vec<host::Inbound>, feed: &Rc<RefCell<Feed>>, decode: impl FnOnce() -> R) -> R {
    let taken = Taken { streams: streams.into_iter().map(Some).collect(), feed: Rc::clone(feed) };
    let outer = TAKEN.replace(Some(taken));
    let result = decode();
    TAKEN.set(outer);
    result
}

/// A `stream<T>` or `future<T>` in the result of a call: an iterator over its items, each `next` of which waits, and writes
/// the call's own items meanwhile. An error is the last that it gives, and says that the rest will not come; without one,
/// these were all. Dropping it tells the writer that no more is wanted.
///
/// Of a `stream<u8>` each item is a piece of it: `Received<Vec<u8>>`.
#[must_use = "dropping it tells its writer that nothing is wanted"]
pub struct Received<T> {
    inbound: Option<host::Inbound>,
    here: VecDeque<Value>,
    feed: Rc<RefCell<Feed>>,
    items: PhantomData<fn() -> T>,
}

impl<'de, T> Deserialize<'de> for Received<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = u32::deserialize(deserializer)?;
        let taken = TAKEN.with_borrow_mut(|taken| {
            let taken = taken.as_mut()?;
            let inbound = taken.streams.get_mut(usize::try_from(number).ok()?)?.take()?;
            Some((inbound, Rc::clone(&taken.feed)))
        });
        let (inbound, feed) =
            taken.ok_or_else(|| D::Error::custom("a stream stands only in the result of a call `& STREAM`"))?;
        Ok(Self { inbound: Some(inbound), here: VecDeque::new(), feed, items: PhantomData })
    }
}

impl<T: DeserializeOwned> Iterator for Received<T> {
    type Item = Result<T, CallError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(item) = self.here.pop_front() {
                let item = decoded(item).map_err(|why| {
                    let message = format!("an item is not of the type that this guest declares: {why}");
                    CallError::local(Outcome::Failed, "signature-mismatch", "", message)
                });
                if item.is_err() {
                    self.here.clear();
                    self.inbound = None;
                }
                return Some(item);
            }
            let inbound = self.inbound.as_ref()?;
            match inbound.try_next(AT_ONCE) {
                Ok(Some(host::Received::Items(items))) => self.here = items.into(),
                Ok(Some(host::Received::End)) => {
                    self.inbound = None;
                    return self.feed.borrow().refused(0).map(Err);
                }
                Ok(None) => {
                    let mut feed = self.feed.borrow_mut();
                    if !feed.turn() {
                        feed.sleep([inbound.subscribe()]);
                    }
                }
                Err(error) => {
                    self.inbound = None;
                    return Some(Err(self.feed.borrow().refused(0).unwrap_or(error)));
                }
            }
        }
    }
}

impl<T> fmt::Debug for Received<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Received").finish_non_exhaustive()
    }
}

impl<T> Wait for Received<T> {}

impl<T> sealed::Wait for Received<T> {
    fn subscribe(&self) -> Option<poll::Pollable> {
        if self.here.is_empty() { self.inbound.as_ref().map(host::Inbound::subscribe) } else { None }
    }
}
