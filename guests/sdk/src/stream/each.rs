//! Callbacks without streams, called once an item: an iterator of calls in, an iterator of results out.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt;
use std::ops::BitAnd;

use super::feed::{Encoded, Fan, Feed};
use super::items::AT_ONCE;
use super::{Ended, Receivers, Stream, ToReceivers};
use crate::CallError;
use crate::bindings::daffi::runtime::call as host;
use crate::bindings::wasi::io::poll;
use crate::broadcast::Entry;
use crate::call::{Call, misread, unfit};
use crate::types::{Outcome, Value};

/// Calls of one callback that wait for their modifier: `each(calls) & STREAM`.
#[must_use = "nothing is called until a modifier is applied: `each(calls) & STREAM`"]
pub struct Each<I>(I);

/// Calls of one callback, one after another in one process, over one stream.
///
/// ```no_run
/// # use daffi::{STREAM, each, fetchers};
/// # fetchers! { fn square(n: u64) -> u64 = "square"; }
/// for square in each((0..1_000_000).map(square)) & STREAM {
///     println!("{}", square?);
/// }
/// # Ok::<(), daffi::CallError>(())
/// ```
///
/// The iterator is asked for the next call when there is room for it and no result to give first. Results come in the order
/// of the calls; the first call that fails ends it all with its error, which names the item. Of no calls at all nothing is
/// made.
pub fn each<T, I: IntoIterator<Item = Call<T>>>(calls: I) -> Each<I::IntoIter> {
    Each(calls.into_iter())
}

impl<I> fmt::Debug for Each<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Each").finish_non_exhaustive()
    }
}

impl<T: 'static, I: Iterator<Item = Call<T>> + 'static> BitAnd<Stream> for Each<I> {
    type Output = Results<T>;

    /// Begins. What is wrong shows as the first result.
    fn bitand(self, how: Stream) -> Results<T> {
        Results(Run::new(self.0, vec![how], 1, false))
    }
}

impl<T: 'static, I: Iterator<Item = Call<T>> + 'static> BitAnd<Receivers> for Each<I> {
    type Output = ToReceivers<T>;

    /// Begins. What is wrong with a receiver shows as its entry.
    fn bitand(self, how: Receivers) -> ToReceivers<T> {
        let Receivers { stream, processes, ahead, stop_on_failure } = how;
        let streams = processes.into_iter().map(|process| stream.clone().receiver(process)).collect();
        ToReceivers(Run::new(self.0, streams, ahead, stop_on_failure))
    }
}

/// The results of a callback that is called once an item: an iterator, each `next` of which waits, and makes calls
/// meanwhile. An error is the last that it gives. Dropping it cancels what is not done.
#[must_use = "dropping it cancels the calls"]
pub struct Results<T>(Run<T>);

impl<T> Iterator for Results<T> {
    type Item = Result<T, CallError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(|entry| entry.result)
    }
}

impl<T> fmt::Debug for Results<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Results").field("callback", &self.0.callback).finish_non_exhaustive()
    }
}

/// The calls of all receivers, and the one iterator that feeds them.
pub(super) struct Run<T> {
    callback: Cow<'static, str>,
    result: Option<fn(Value) -> Result<T, String>>,
    feed: Feed,
    receivers: Vec<Receiver>,
    /// Whose turn it is to give a result.
    next: usize,
    stop_on_failure: bool,
}

struct Receiver {
    process: String,
    way: Way,
    here: VecDeque<Value>,
    results: u64,
}

/// Where results come from.
enum Way {
    Reply(host::Reply),
    Inbound(host::Inbound),
    /// Its error is still to be given.
    Failed(CallError),
    Ended(Result<(), CallError>),
}

impl<T: 'static> Run<T> {
    fn new(
        mut calls: impl Iterator<Item = Call<T>> + 'static,
        streams: Vec<Stream>,
        ahead: usize,
        stop_on_failure: bool,
    ) -> Self {
        let receiver = |stream: &Stream, way| Receiver {
            process: stream.receiver.clone().unwrap_or_default(),
            way,
            here: VecDeque::new(),
            results: 0,
        };
        let Some(first) = calls.next() else {
            let receivers = streams.iter().map(|stream| receiver(stream, Way::Ended(Ok(())))).collect();
            let feed = Feed::new(Vec::new());
            return Self { callback: "".into(), result: None, feed, receivers, next: 0, stop_on_failure };
        };
        let (callback, result) = (first.callback.clone(), Some(first.result));
        let (mut outbound, mut receivers) = (Vec::new(), Vec::new());
        for stream in &streams {
            let way = match stream.begin(&callback, &Value::Postcard(Vec::new())) {
                Ok(mut streams) if streams.outbound.len() == 1 => {
                    outbound.push(streams.outbound.pop());
                    Way::Reply(streams.reply)
                }
                Ok(_) => {
                    outbound.push(None);
                    Way::Failed(unfit(&callback, "a callback with streams is not called once an item"))
                }
                Err(error) => {
                    outbound.push(None);
                    Way::Failed(error)
                }
            };
            receivers.push(receiver(stream, way));
        }
        let items = encoded(callback.clone(), std::iter::once(first).chain(calls));
        let feed = Feed::new(vec![Fan::new(items, outbound, ahead)]);
        Self { callback, result, feed, receivers, next: 0, stop_on_failure }
    }
}

/// The arguments of these calls, which are to be of the same callback.
fn encoded<T: 'static>(callback: Cow<'static, str>, calls: impl Iterator<Item = Call<T>> + 'static) -> Encoded {
    Box::new(calls.map(move |call| {
        if call.callback != callback {
            let message = format!("`{}` is called in a stream of calls of `{callback}`", call.callback);
            return Err(CallError::local(Outcome::Failed, "bad-arguments", &callback, message));
        }
        call.arguments.map_err(|why| CallError { outcome: Outcome::Failed, ..unfit(&callback, &why) })
    }))
}

impl<T> Iterator for Run<T> {
    type Item = Entry<T>;

    fn next(&mut self) -> Option<Entry<T>> {
        loop {
            for _ in 0..self.receivers.len() {
                let receiver = self.next;
                self.next = (receiver + 1) % self.receivers.len();
                if let Some(entry) = self.result_of(receiver) {
                    return Some(entry);
                }
            }
            let waits: Vec<_> = self.receivers.iter().filter_map(|receiver| receiver.way.subscribe()).collect();
            if waits.is_empty() {
                return None;
            }
            if !self.feed.turn() {
                self.feed.sleep(waits);
            }
        }
    }
}

impl<T> Run<T> {
    /// What this receiver gives now.
    fn result_of(&mut self, number: usize) -> Option<Entry<T>> {
        let receiver = self.receivers.get_mut(number)?;
        receiver.read();
        if let Some(item) = receiver.here.pop_front() {
            match self.result.map(|result| result(item)) {
                Some(Ok(result)) => {
                    receiver.results += 1;
                    return Some(Entry { process: receiver.process.clone(), result: Ok(result) });
                }
                Some(Err(why)) => {
                    receiver.here.clear();
                    receiver.way = Way::Failed(misread(&self.callback, &why));
                }
                None => {}
            }
        }
        let error = match &receiver.way {
            Way::Failed(error) => self.feed.refused(number).unwrap_or_else(|| error.clone()),
            // The end of what was written is not the end of what was to be written.
            Way::Ended(Ok(())) => self.feed.refused(number)?,
            _ => return None,
        };
        receiver.way = Way::Ended(Err(error.clone()));
        let process = receiver.process.clone();
        self.feed.close(number);
        if self.stop_on_failure {
            self.stop(&process);
        }
        Some(Entry { process, result: Err(error) })
    }

    /// Gives up all others. Whoever has given a result for every item has ended well, though its end is still to be read.
    fn stop(&mut self, failed: &str) {
        for (number, receiver) in self.receivers.iter_mut().enumerate() {
            if matches!(receiver.way, Way::Ended(_)) {
                continue;
            }
            if matches!(receiver.way, Way::Inbound(_)) && self.feed.all_of(number) == Some(receiver.results) {
                receiver.way = Way::Ended(Ok(()));
            } else {
                let message = format!("given up, since the stream to `{failed}` failed");
                let why = CallError::local(Outcome::Unknown, "cancelled", &self.callback, message);
                receiver.here.clear();
                receiver.way = Way::Ended(Err(why));
                self.feed.close(number);
            }
        }
    }

    /// Reads all that is left, and tells how each has ended.
    pub(super) fn finish(mut self) -> Vec<Ended> {
        while self.next().is_some() {}
        let ended = |receiver: Receiver| Ended {
            process: receiver.process,
            results: receiver.results,
            outcome: if let Way::Ended(outcome) = receiver.way { outcome } else { Ok(()) },
        };
        self.receivers.into_iter().map(ended).collect()
    }

    pub(super) fn callback(&self) -> &str {
        &self.callback
    }
}

impl Receiver {
    /// Reads what is there, unless there is something already.
    fn read(&mut self) {
        if !self.here.is_empty() {
            return;
        }
        if let Way::Reply(reply) = &self.way {
            match reply.try_get() {
                None => return,
                Some(Err(error)) => self.way = Way::Failed(error),
                Some(Ok(mut replied)) => match replied.inbound.pop() {
                    Some(inbound) => self.way = Way::Inbound(inbound),
                    None => self.way = Way::Ended(Ok(())),
                },
            }
        }
        if let Way::Inbound(inbound) = &self.way {
            match inbound.try_next(AT_ONCE) {
                Ok(None) => {}
                Ok(Some(host::Received::Items(items))) => self.here = items.into(),
                Ok(Some(host::Received::End)) => self.way = Way::Ended(Ok(())),
                Err(error) => self.way = Way::Failed(error),
            }
        }
    }
}

impl Way {
    fn subscribe(&self) -> Option<poll::Pollable> {
        match self {
            Self::Reply(reply) => Some(reply.subscribe()),
            Self::Inbound(inbound) => Some(inbound.subscribe()),
            Self::Failed(_) | Self::Ended(_) => None,
        }
    }
}
