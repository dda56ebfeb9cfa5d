//! How many streams and futures a module has open: those of the calls that it serves and of those that it makes, all its
//! instances together. Small items that wait are bounded for each stream, so that this bounds them for all; large ones are
//! bounded here, for all of them together.
//!
//! Invariant: what was taken is given back when the stream ends, however it does.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::super::audience::Audience;
use super::super::bell::Bell;
use super::super::ceiling::{Ceiling, CeilingReached, Kind};
use super::super::meter::Meter;
use super::super::transcode::stream::{ItemRoom, StreamRoom};

/// The streams that a module has open, and may have.
#[derive(Debug)]
pub(in super::super) struct OpenStreams {
    open: AtomicUsize,
    most: usize,
    room: ItemRoom,
    bell: Arc<Bell>,
    meter: Arc<Meter>,
    /// What all modules of the tenant may have.
    ceiling: Arc<Ceiling>,
}

/// More streams than the module may have open, or all modules of its tenant. In words that follow the module's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(in super::super) enum TooMany {
    #[error(
        "may have {most} streams and futures open and has {open}, and this call has {wanted}: wait for some to end, or \
         raise its limit of open streams, open-streams"
    )]
    OfModule { wanted: usize, open: usize, most: usize },
    #[error("has {wanted} streams and futures in this call, and {reached}; wait for some to end")]
    OfTenant { wanted: usize, reached: CeilingReached },
}

impl OpenStreams {
    /// So many, with large items of so many bytes on their way; changes of their number ring the bell, and what goes
    /// through them is counted.
    pub fn new(most: usize, large_bytes: usize, (bell, meter): (Arc<Bell>, Arc<Meter>), ceiling: Arc<Ceiling>) -> Self {
        let room = ItemRoom::new(large_bytes).within(ceiling.items());
        Self { open: AtomicUsize::new(0), most, room, bell, meter, ceiling }
    }

    /// How many are open, those that its guests read and those that they write.
    pub fn count(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Room for the large items that its guests write.
    pub fn room(&self) -> &ItemRoom {
        &self.room
    }

    /// Takes places for so many streams, or for none: of a call from here or elsewhere, or of one that the module makes, which is
    /// its tenant's own.
    ///
    /// # Errors
    /// [`TooMany`]
    pub fn take(self: &Arc<Self>, wanted: usize, audience: Audience) -> Result<Vec<Place>, TooMany> {
        let add = |open: usize| open.checked_add(wanted).filter(|sum| *sum <= self.most);
        self.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).map_err(|open| TooMany::OfModule {
            wanted,
            open,
            most: self.most,
        })?;
        if let Err(reached) = self.ceiling.take_for(audience, Kind::OpenStreams, wanted) {
            self.open.fetch_sub(wanted, Ordering::Relaxed);
            return Err(TooMany::OfTenant { wanted, reached });
        }
        if wanted > 0 {
            self.bell.load_changed();
        }
        Ok((0..wanted).map(|_| Place { streams: self.clone(), audience }).collect())
    }
}

/// The place of an open stream.
#[derive(Debug)]
pub(in super::super) struct Place {
    streams: Arc<OpenStreams>,
    audience: Audience,
}

impl Place {
    /// A guest was given so many bytes of it.
    pub fn read(&self, bytes: usize) {
        self.streams.meter.streamed_in(bytes);
    }

    /// A guest wrote so many bytes of it.
    pub fn wrote(&self, bytes: usize) {
        self.streams.meter.streamed_out(bytes);
    }

    /// Room for the large items of this stream.
    pub fn room(&self) -> StreamRoom {
        self.streams.room.of_stream()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.streams.open.fetch_sub(1, Ordering::Relaxed);
        self.streams.ceiling.give_for(self.audience, Kind::OpenStreams, 1);
        self.streams.bell.load_changed();
    }
}

#[cfg(test)]
mod tests {
    use daffi_proto::id::TenantName;

    use super::*;
    use crate::guest::ceiling::CeilingLimits;

    fn streams(most: usize, ceiling: &Arc<Ceiling>) -> Arc<OpenStreams> {
        Arc::new(OpenStreams::new(most, 0, Default::default(), ceiling.clone()))
    }

    #[test]
    fn streams_beyond_the_limit_take_nothing_and_those_that_end_make_room() {
        let streams = streams(3, &Arc::new(Ceiling::none(TenantName::default())));
        let two = streams.take(2, Audience::Home).unwrap();
        assert_eq!(streams.take(2, Audience::Home).unwrap_err(), TooMany::OfModule { wanted: 2, open: 2, most: 3 });
        let one = streams.take(1, Audience::Home).unwrap();
        assert_eq!(streams.take(0, Audience::Home).unwrap().len(), 0);
        drop(two);
        assert_eq!(streams.take(2, Audience::Home).unwrap().len(), 2);
        drop(one);
        assert_eq!(Arc::into_inner(streams).unwrap().open.into_inner(), 0);
    }

    #[test]
    fn modules_of_a_tenant_share_its_streams_and_one_that_is_refused_has_taken_none() {
        let limits = CeilingLimits { open_streams: Some(3), ..CeilingLimits::default() };
        let ceiling = Arc::new(Ceiling::new(TenantName::default(), limits));
        let (one, other) = (streams(3, &ceiling), streams(3, &ceiling));
        let two = one.take(2, Audience::Home).unwrap();
        let error = other.take(2, Audience::Home).unwrap_err().to_string();
        assert!(error.contains("tenant default") && error.contains("max-open-streams"), "{error}");
        assert_eq!((other.count(), other.take(1, Audience::Home).unwrap().len()), (0, 1));
        drop(two);
        assert_eq!(other.take(3, Audience::Home).unwrap().len(), 3);
    }

    #[test]
    fn streams_of_calls_from_other_tenants_have_half_of_those_of_the_tenant() {
        let limits = CeilingLimits { open_streams: Some(4), ..CeilingLimits::default() };
        let streams = streams(9, &Arc::new(Ceiling::new(TenantName::default(), limits)));
        assert!(streams.take(3, Audience::Strangers).is_err());
        let theirs = streams.take(2, Audience::Strangers).unwrap();
        assert!(streams.take(1, Audience::Strangers).is_err() && streams.take(3, Audience::Home).is_err());
        assert_eq!(streams.take(2, Audience::Home).unwrap().len(), 2);
        drop(theirs);
        assert_eq!(streams.take(2, Audience::Strangers).unwrap().len(), 2);
    }
}
