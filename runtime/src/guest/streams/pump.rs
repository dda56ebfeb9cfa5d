//! The pumps: what carries a stream between a guest and the mesh.
//!
//! ```text
//!   room on the far side? ──▶ the next chunk of the near one ──▶ (checked, where it comes from the mesh) ──▶ given ──┐
//!        ▲                                                                                                          │
//!        └──────────────────────────────────────────────────────────────────────────────────────────────────────────┘
//!   either side may end at any time: the other is told
//! ```
//!
//! Invariant: no item is lost or given twice, and none is given behind an end.

use std::sync::Arc;
use std::time::Duration;

use daffi_proto::error::{CallError, code};
use daffi_proto::signature::{Signature, Type};
use daffi_proto::stream::Chunk;
use daffi_proto::value::{self, Channel, Limits as ValueLimits};
use tokio::time::timeout;

use super::super::limits::ModuleLimits;
use super::super::outgoing::OpenCall;
use super::super::threads;
use super::super::transcode::stream::{Drain, Feed, StreamFailure};
use super::of_call::Member;
use super::places::Place;
use crate::mesh::handle::{StreamReader, StreamWriter};

/// Up to so many bytes of items are checked in the network's thread, many of which may be there for many streams.
const NETWORK_ITEMS_BYTES: usize = 8 << 10;

/// What an open stream holds until its pump ends.
pub(in super::super) struct Held {
    place: Place,
    member: Option<Member>,
    call: Option<Arc<OpenCall>>,
    /// How long a guest may leave the end of a stream unread: a part of the time after which the call runs too long.
    patience: Duration,
}

impl Held {
    /// A stream of a call that an instance serves, which stays for its sake.
    pub fn served(place: Place, member: Member, limits: &ModuleLimits) -> Self {
        Self { place, member: Some(member), call: None, patience: limits.max_call_time / 2 }
    }

    /// A stream of a call that the module makes, perhaps for one that it serves.
    pub fn made(place: Place, member: Option<Member>, call: Arc<OpenCall>, limits: &ModuleLimits) -> Self {
        Self { place, member, call: Some(call), patience: limits.max_call_time / 2 }
    }

    fn moved(&self) {
        if let Some(member) = &self.member {
            member.moved();
        }
    }

    /// Whose stop is the stream's: that of the call which an instance serves. A stream of a call that the module made
    /// ends by itself.
    fn served_by(&self) -> Option<&Member> {
        self.member.as_ref().filter(|_| self.call.is_none())
    }

    /// Does what there is to do, until the call is stopped.
    ///
    /// What comes to its end at that moment is stopped too: another thread may stop the call while this one polls, and a
    /// guest that saw so the end of what it reads may have ended what it writes.
    ///
    /// # Errors
    /// The call was stopped, for this reason.
    async fn unless_stopped<T>(&self, work: impl Future<Output = T>) -> Result<T, CallError> {
        let Some(member) = self.served_by() else { return Ok(work.await) };
        let done = tokio::select! {
            biased;
            why = member.stopped() => return Err(why),
            done = work => done,
        };
        member.why_stopped().map_or(Ok(done), Err)
    }
}

/// Checks the items of a stream that come from the mesh.
pub(in super::super) struct ItemCheck {
    signature: Arc<Signature>,
    item: Option<Type>,
    limits: ValueLimits,
    /// What the stream is, for errors: `stream 0 of the arguments of f`.
    what: String,
    /// The kind of error of what is no item.
    code: &'static str,
    callback: Arc<str>,
    /// How many items there were.
    count: usize,
}

impl ItemCheck {
    /// For a channel of the arguments or the result of a callback: an item may have so many bytes.
    pub fn new(
        signature: Arc<Signature>,
        (number, channel): (usize, Channel),
        side: Side,
        callback: Arc<str>,
        payload_bytes: usize,
    ) -> Self {
        let (kind, item) = match channel {
            Channel::Stream(item) => ("stream", item),
            Channel::Future(item) => ("future", item),
        };
        let (of, code) = match side {
            Side::Arguments => ("arguments", code::BAD_ARGUMENTS),
            Side::Result => ("result", code::INTERNAL),
        };
        let what = format!("{kind} {number} of the {of} of {callback}");
        Self { signature, item, limits: ValueLimits::for_payload(payload_bytes), what, code, callback, count: 0 }
    }

    /// Checks a chunk, in the network's thread where that is quick: so each chunk of a stream is mostly checked where the one
    /// before it was. Cancel safe.
    ///
    /// # Errors
    /// The first item that does not fit its type, or is too large.
    async fn check(&mut self, chunk: &Chunk) -> Result<(), CallError> {
        // A piece of bytes may be any bytes.
        let is_quick = self.item == Some(Type::U8) || chunk.bytes.len() <= NETWORK_ITEMS_BYTES;
        match is_quick {
            true => threads::go_to(threads::Side::Network),
            false => threads::leave_network().await,
        }
        self.check_here(chunk)
    }

    fn check_here(&mut self, chunk: &Chunk) -> Result<(), CallError> {
        let first = self.count;
        self.count = first.saturating_add(usize::try_from(chunk.count).unwrap_or(usize::MAX));
        let checked = match self.item {
            Some(item) => value::check_items_from(&self.signature, item, first..self.count, &chunk.bytes, &self.limits),
            // A stream without a type is refused when a component is loaded.
            None => {
                return Err(CallError::failed(code::INTERNAL, format!("{} has no type", self.what), &*self.callback));
            }
        };
        checked.map_err(|error| {
            let message = format!("{} has an item that does not fit its type: {error}", self.what);
            let code = if error.is_too_large() { code::PAYLOAD_TOO_LARGE } else { self.code };
            CallError::failed(code, message, &*self.callback)
        })
    }
}

/// Which value a stream stands in.
#[derive(Clone, Copy, Debug)]
pub(in super::super) enum Side {
    /// The arguments of a call.
    Arguments,
    /// Its result.
    Result,
}

/// Why a stream into a guest ended before its end.
pub(in super::super) enum Broken {
    /// Its writer failed or is gone, or gave what is no item.
    Failed(CallError),
    /// The guest's call was stopped.
    Stopped(CallError),
}

/// Carries a stream into a guest. When it breaks, `broken` runs before the guest learns of it.
pub(in super::super) async fn into_guest(
    mut reader: StreamReader,
    mut feed: Feed,
    mut check: ItemCheck,
    held: Held,
    broken: impl AsyncFnOnce(&Broken),
) {
    let ended = match held.unless_stopped(fill(&mut reader, &mut feed, &mut check, &held)).await {
        Ok(ended) => ended.map_err(Broken::Failed),
        Err(why) => Err(Broken::Stopped(why)),
    };
    match ended {
        Ok(()) => feed.finish(),
        Err(why) => {
            broken(&why).await;
            let (Broken::Failed(error) | Broken::Stopped(error)) = why;
            reader.cancel(Some(error.clone()));
            feed.fail(error);
        }
    }
    // Its instance stays until the guest has taken what is left and the end, or for as long as may be expected.
    let _ = timeout(held.patience, feed.gone()).await;
}

/// Until either side has ended; an error where the writer did not come to its end.
async fn fill(reader: &mut StreamReader, feed: &mut Feed, check: &mut ItemCheck, held: &Held) -> Result<(), CallError> {
    while feed.ready().await.is_ok() {
        let next = tokio::select! {
            biased;
            () = feed.gone() => break,
            next = reader.next() => next,
        };
        let chunk = match next {
            Ok(Some(chunk)) => chunk,
            Ok(None) => return Ok(()),
            Err(ending) => match ending.error() {
                Some(error) => return Err(error),
                None => return Ok(()),
            },
        };
        check.check(&chunk).await?;
        // There is room: it was waited for, and nobody else feeds.
        held.place.read(chunk.bytes.len());
        let _ = feed.put(chunk);
        held.moved();
    }
    reader.cancel(None);
    Ok(())
}

/// Carries a stream out of a guest. `sign` makes of the error of a failure what its reader is told.
pub(in super::super) async fn out_of_guest(
    mut drain: Drain,
    mut writer: StreamWriter,
    held: Held,
    sign: impl FnOnce(CallError) -> CallError,
) {
    match held.unless_stopped(empty(&mut drain, &mut writer, &held)).await {
        Ok(Ok(())) => writer.finish(),
        Ok(Err(failure)) => writer.fail(sign(error_of(failure))),
        Err(why) => writer.fail(sign(why)),
    }
}

/// Until either side has ended; an error where the guest did not come to its end.
async fn empty(drain: &mut Drain, writer: &mut StreamWriter, held: &Held) -> Result<(), StreamFailure> {
    while writer.ready().await.is_ok() {
        let next = tokio::select! {
            biased;
            _ = writer.ended() => break,
            next = drain.next() => next?,
        };
        let Some(chunk) = next else { break };
        // There is room: it was waited for, and nobody else writes.
        held.place.wrote(chunk.bytes.len());
        let _ = writer.put(chunk);
        held.moved();
    }
    Ok(())
}

fn error_of(failure: StreamFailure) -> CallError {
    match failure {
        StreamFailure::Broken(error) => *error,
        StreamFailure::ItemTooLarge { .. } => CallError::failed(code::PAYLOAD_TOO_LARGE, failure.to_string(), ""),
    }
}

#[cfg(test)]
mod tests {
    use daffi_proto::id::TenantName;
    use futures::FutureExt;
    use tokio::runtime::Handle;
    use tokio::sync::mpsc;
    use tokio_util::task::TaskTracker;

    use super::super::super::audience::Audience;
    use super::super::super::ceiling::Ceiling;
    use super::super::of_call::CallStreams;
    use super::super::places::OpenStreams;
    use super::*;

    #[test]
    fn what_ends_while_its_call_is_stopped_has_not_come_to_its_end() {
        let streams = CallStreams::new();
        let ceiling = Arc::new(Ceiling::none(TenantName::default()));
        let place =
            Arc::new(OpenStreams::new(1, 0, Default::default(), ceiling)).take(1, Audience::Home).unwrap().remove(0);
        let held = Held::served(place, streams.enter(), &ModuleLimits::default());
        let through = held.unless_stopped(async { 1 }).now_or_never();
        assert_eq!(through.unwrap().unwrap(), 1);
        // Polled before the call was stopped, and done because it was.
        let ends = async { streams.stop(CallError::failed(code::CANCELLED, "it broke", "f")) };
        let ended = held.unless_stopped(ends).now_or_never();
        assert_eq!(ended.unwrap().unwrap_err().message, "it broke");
    }

    #[tokio::test]
    async fn many_bytes_of_items_are_checked_on_the_guests_side_and_few_or_a_piece_of_bytes_on_the_networks() {
        let signature = Signature { defs: Vec::new(), params: Vec::new(), result: None, is_async: false };
        let signature = Arc::new(signature);
        let check = |item| {
            let stream = (0, Channel::Stream(Some(item)));
            ItemCheck::new(signature.clone(), stream, Side::Arguments, Arc::from("f"), 2 * NETWORK_ITEMS_BYTES)
        };
        let (mut items, mut pieces) = (check(Type::Bool), check(Type::U8));
        let chunk = |bytes: usize| Chunk { count: u32::try_from(bytes).unwrap(), bytes: vec![1; bytes].into() };
        let (few, many) = (chunk(NETWORK_ITEMS_BYTES), chunk(NETWORK_ITEMS_BYTES + 1));
        let (tell, mut sides) = mpsc::unbounded_channel();
        let threads = threads::Threads::new(Handle::current(), Handle::current(), TaskTracker::new());
        threads.roam(threads::Side::Network, async move {
            let say = |checked: Result<(), CallError>| tell.send(checked.map(|()| threads::here())).unwrap();
            say(items.check(&few).await);
            say(items.check(&many).await);
            say(items.check(&few).await);
            // It goes back between two polls.
            tokio::task::yield_now().await;
            say(pieces.check(&many).await);
        });
        let (network, guests) = (Some(threads::Side::Network), Some(threads::Side::Guests));
        for side in [network, guests, guests, network] {
            assert_eq!(sides.recv().await.unwrap().unwrap(), side);
        }
    }
}
