//! STREAM to several receivers: every item to each, at each one's pace.

use std::cell::RefCell;
use std::fmt;
use std::ops::BitAnd;
use std::rc::Rc;

use super::each::Run;
use super::feed::{Fan, Feed};
use super::items::Origin;
use super::{Stream, other_streams};
use crate::CallError;
use crate::bindings::daffi::runtime::call as host;
use crate::broadcast::Entry;
use crate::call::{Call, misread, unfit};
use crate::types::Outcome;

/// How many items a fast receiver is ahead of a slow one at most, unless it is said.
const AHEAD: usize = 256;

/// STREAM to several receivers: each has a call of its own, with its own credit, and every item is written to all.
///
/// ```no_run
/// # use daffi::{Items, STREAM, each, fetchers, items};
/// # fetchers! { fn square(n: u64) -> u64 = "square"; fn sum(numbers: Items<u64>) -> u64 = "sum"; }
/// let mut squares = each((0..1000).map(square)) & STREAM.receivers(["a", "b"]);
/// for entry in &mut squares {
///     println!("{}: {:?}", entry.process, entry.result);
/// }
/// for ended in squares.finish() {
///     println!("{}: {} results, {:?}", ended.process, ended.results, ended.outcome);
/// }
/// // A callback that takes a stream: one entry each.
/// for entry in (sum(items(0..1000)) & STREAM.receivers(["a", "b"]))? {
///     println!("{}: {:?}", entry.process, entry.result);
/// }
/// # Ok::<(), daffi::CallError>(())
/// ```
///
/// A slow receiver holds up nobody until the fastest is 256 items ahead of it (beside what is on its way to it); from then on
/// all go at its pace, since every item is for everyone: see [`Receivers::ahead`]. One that stands still has failed when
/// nothing moved in its own streams for the timeout. One that has failed has an error in its entry, and the others go on;
/// see [`Receivers::stop_on_failure`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a modifier does nothing until it is applied to a call: `call & modifier`"]
pub struct Receivers {
    pub(super) stream: Stream,
    pub(super) processes: Vec<String>,
    pub(super) ahead: usize,
    pub(super) stop_on_failure: bool,
}

impl Receivers {
    pub(super) fn new(stream: Stream, processes: Vec<String>) -> Self {
        Self { stream, processes, ahead: AHEAD, stop_on_failure: false }
    }

    /// Keeps so many items for the slowest: 1 at least.
    pub fn ahead(self, items: usize) -> Self {
        Self { ahead: items, ..self }
    }

    /// Gives up all others when one has failed: theirs are `cancelled`, unless they have given a result for every item.
    pub fn stop_on_failure(self) -> Self {
        Self { stop_on_failure: true, ..self }
    }
}

/// How the stream to one receiver ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Ended {
    /// The receiver.
    pub process: String,
    /// How many results it has given.
    pub results: u64,
    /// That it has had all items, or what happened.
    pub outcome: Result<(), CallError>,
}

/// The results of several receivers as they come: an iterator, each `next` of which waits, and makes calls meanwhile.
/// Those of one receiver are in the order of the calls; an error is its last entry, with its process. Dropping it cancels
/// what is not done.
#[must_use = "dropping it cancels the calls"]
pub struct ToReceivers<T>(pub(super) Run<T>);

impl<T> ToReceivers<T> {
    /// Waits for all that is left, drops it, and tells how the stream to each has ended, in the order in which they were named.
    pub fn finish(self) -> Vec<Ended> {
        self.0.finish()
    }
}

impl<T> Iterator for ToReceivers<T> {
    type Item = Entry<T>;

    fn next(&mut self) -> Option<Entry<T>> {
        self.0.next()
    }
}

impl<T> fmt::Debug for ToReceivers<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ToReceivers").field("callback", &self.0.callback()).finish_non_exhaustive()
    }
}

impl<T> BitAnd<Receivers> for Call<T> {
    type Output = Result<Vec<Entry<T>>, CallError>;

    /// Makes the calls, writes every item to each, and waits for all results: one entry a receiver, in the order in which they
    /// were named. A callback whose result has streams is refused: read it with a call for each.
    ///
    /// # Errors
    /// Nothing was sent to anybody, since the arguments do not fit, or nobody is named.
    fn bitand(self, how: Receivers) -> Self::Output {
        let arguments = self.arguments.map_err(|why| unfit(&self.callback, &why))?;
        if how.processes.is_empty() {
            return Err(unfit(&self.callback, "it is for no receiver"));
        }
        let mut origins = Vec::new();
        for source in &self.sources {
            match source.take() {
                Some(Origin::Iterator(items)) => origins.push((items, Vec::new())),
                Some(Origin::Writer(_)) => return Err(unfit(&self.callback, "a writer writes to one receiver only")),
                None => return Err(unfit(&self.callback, "a stream is in it twice")),
            }
        }
        let mut replies = Vec::new();
        for process in &how.processes {
            let begun = how.stream.clone().receiver(process).begin(&self.callback, &arguments);
            let begun = begun.and_then(|streams| match streams.outbound.len() {
                wanted if wanted == origins.len() => Ok(streams),
                wanted => Err(other_streams(&self.callback, origins.len(), wanted)),
            });
            let (outbound, reply) = match begun {
                Ok(streams) => (streams.outbound, Ok(streams.reply)),
                Err(error) => (Vec::new(), Err(error)),
            };
            let mut outbound = outbound.into_iter();
            for (_, lanes) in &mut origins {
                lanes.push(outbound.next());
            }
            replies.push(reply);
        }
        let fans = origins.into_iter().map(|(items, lanes)| Fan::new(items, lanes, how.ahead)).collect();
        let feed = Rc::new(RefCell::new(Feed::new(fans)));
        let answers = gather(&feed, replies, how.stop_on_failure);
        let entry = |(process, answer): (String, Result<host::Replied, CallError>)| {
            let result = answer.and_then(|replied| {
                if !replied.inbound.is_empty() {
                    return Err(misread(&self.callback, "its streams would be read from one receiver at a time"));
                }
                (self.result)(replied.result).map_err(|why| misread(&self.callback, &why))
            });
            Entry { process, result }
        };
        Ok(how.processes.into_iter().zip(answers).map(entry).collect())
    }
}

type Answer = Result<host::Replied, CallError>;

/// Writes until all have replied and have had all; what each replied.
fn gather(feed: &RefCell<Feed>, replies: Vec<Result<host::Reply, CallError>>, stop_on_failure: bool) -> Vec<Answer> {
    let mut feed = feed.borrow_mut();
    let mut calls: Vec<Result<host::Reply, Answer>> = replies.into_iter().map(|reply| reply.map_err(Err)).collect();
    loop {
        for (number, call) in calls.iter_mut().enumerate() {
            if let Some(answer) = call.as_ref().ok().and_then(host::Reply::try_get) {
                *call = Err(answer.map_err(|error| {
                    feed.close(number);
                    feed.refused(number).unwrap_or(error)
                }));
            }
        }
        if stop_on_failure && calls.iter().any(|call| matches!(call, Err(Err(_)))) {
            for (number, call) in calls.iter_mut().enumerate().filter(|(_, call)| call.is_ok()) {
                let message = "given up, since the stream to another receiver failed".to_owned();
                *call = Err(Err(CallError::local(Outcome::Unknown, "cancelled", "", message)));
                feed.close(number);
            }
        }
        let waits: Vec<_> = calls.iter().flatten().map(host::Reply::subscribe).collect();
        if waits.is_empty() {
            break;
        }
        if !feed.turn() {
            feed.sleep(waits);
        }
    }
    feed.run();
    let refused = |(number, answer): (usize, Answer)| feed.refused(number).map_or(answer, Err);
    calls.into_iter().filter_map(Result::err).enumerate().map(refused).collect()
}
