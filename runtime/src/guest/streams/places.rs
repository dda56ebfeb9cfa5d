//! How many streams and futures a module has open: those of the calls that it serves and of those that it makes, all its
//! instances together. Small items that wait are bounded for each stream, so that this bounds them for all; large ones are
//! bounded here, for all of them together.
//!
//! Invariant: what was taken is given back when the stream ends, however it does.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::super::bell::Bell;
use super::super::transcode::stream::{ItemRoom, StreamRoom};

/// The streams that a module has open, and may have.
#[derive(Debug)]
pub(in super::super) struct OpenStreams {
    open: AtomicUsize,
    most: usize,
    room: ItemRoom,
    bell: Arc<Bell>,
}

/// More streams than the module may have open. In words that follow the module's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "may have {most} streams and futures open and has {open}, and this call has {wanted}: wait for some to end, or raise \
     its limit of open streams"
)]
pub(in super::super) struct TooMany {
    wanted: usize,
    open: usize,
    most: usize,
}

impl OpenStreams {
    /// So many, with large items of so many bytes on their way; changes of their number ring the bell.
    pub fn new(most: usize, large_bytes: usize, bell: Arc<Bell>) -> Self {
        Self { open: AtomicUsize::new(0), most, room: ItemRoom::new(large_bytes), bell }
    }

    /// How many are open, those that its guests read and those that they write.
    pub fn count(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Room for the large items that its guests write.
    pub fn room(&self) -> &ItemRoom {
        &self.room
    }

    /// Takes places for so many streams, or for none.
    ///
    /// # Errors
    /// [`TooMany`]
    pub fn take(self: &Arc<Self>, wanted: usize) -> Result<Vec<Place>, TooMany> {
        let add = |open: usize| open.checked_add(wanted).filter(|sum| *sum <= self.most);
        self.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).map_err(|open| TooMany {
            wanted,
            open,
            most: self.most,
        })?;
        if wanted > 0 {
            self.bell.load_changed();
        }
        Ok((0..wanted).map(|_| Place(self.clone())).collect())
    }
}

/// The place of an open stream.
#[derive(Debug)]
pub(in super::super) struct Place(Arc<OpenStreams>);

impl Place {
    /// Room for the large items of this stream.
    pub fn room(&self) -> StreamRoom {
        self.0.room.of_stream()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
        self.0.bell.load_changed();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_beyond_the_limit_take_nothing_and_those_that_end_make_room() {
        let streams = Arc::new(OpenStreams::new(3, 0, Arc::default()));
        let two = streams.take(2).unwrap();
        assert_eq!(streams.take(2).unwrap_err(), TooMany { wanted: 2, open: 2, most: 3 });
        let one = streams.take(1).unwrap();
        assert_eq!(streams.take(0).unwrap().len(), 0);
        drop(two);
        assert_eq!(streams.take(2).unwrap().len(), 2);
        drop(one);
        assert_eq!(Arc::into_inner(streams).unwrap().open.into_inner(), 0);
    }
}
