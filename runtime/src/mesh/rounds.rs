//! What links have said and the hub has not heard yet, in rounds: a few frames of each link in turn.
//!
//! Invariants: of one link everything is heard in the order in which it was said; between two frames of one link at most
//! [`FRAMES_AT_A_TIME`] of each other link are heard, however many of those wait. A link's pump waits while it has as many
//! batches here as it may, so that what waits is bounded for each link. What frames lay in goes back to the pump, for the next ones.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use daffi_proto::frame::Frame;
use daffi_proto::id::LinkId;
use foldhash::HashMap;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::link::LinkEnd;

/// So many frames of a link are heard before those of the next one.
const FRAMES_AT_A_TIME: usize = 32;

/// Batches of one link that wait.
const BATCHES_A_LINK: usize = 2;

/// What had room for more frames than these is not kept for the next ones.
const MAX_KEPT_FRAMES: usize = 16;

/// What one read of a link brought.
pub(super) struct Batch {
    pub link: LinkId,
    /// None, when only a part of one has come; or the end of the link.
    pub frames: Result<Vec<Frame>, LinkEnd>,
    /// Its place among those that a link may have here.
    pub place: Place,
}

/// The places of one link's batches, and what is left of former ones.
pub(super) struct Places {
    free: Arc<Semaphore>,
    spare: Arc<Spare>,
}

/// One of them; given back when it is dropped.
pub(super) struct Place {
    permit: OwnedSemaphorePermit,
    spare: Arc<Spare>,
}

type Spare = Mutex<Vec<Vec<Frame>>>;

impl Places {
    pub fn new() -> Self {
        Self { free: Arc::new(Semaphore::new(BATCHES_A_LINK)), spare: Arc::default() }
    }

    /// The next that is free; none when there will be none. Cancel safe.
    pub async fn next(&self) -> Option<Place> {
        let permit = Arc::clone(&self.free).acquire_owned().await.ok()?;
        Some(Place { permit, spare: Arc::clone(&self.spare) })
    }

    /// Where frames are put: empty.
    pub fn frames(&self) -> Vec<Frame> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }
}

impl Place {
    /// The pump may read on, and have this again.
    fn give_back(self, mut frames: Vec<Frame>) {
        if (1..=MAX_KEPT_FRAMES).contains(&frames.capacity()) {
            frames.clear();
            self.spare.lock().unwrap_or_else(PoisonError::into_inner).push(frames);
        }
        drop(self.permit);
    }
}

/// What the hub hears next.
#[derive(Debug)]
pub(super) enum Said {
    Frame(Frame),
    /// A part of a frame: the peer lives.
    Something,
    End(LinkEnd),
}

/// The batches of all links.
#[derive(Default)]
pub(super) struct Rounds {
    links: HashMap<LinkId, Waiting>,
    /// Those with something to hear, whose turn it is first.
    order: VecDeque<LinkId>,
    /// How many frames of the first one were heard in its turn.
    heard: usize,
}

#[derive(Default)]
struct Waiting {
    /// Whether it is in the order.
    has_turn: bool,
    said: VecDeque<Batch>,
    /// Of the first batch.
    frames: VecDeque<Frame>,
}

impl Rounds {
    /// A link said something.
    pub fn add(&mut self, batch: Batch) {
        let link = batch.link;
        let waiting = self.links.entry(link).or_default();
        if !std::mem::replace(&mut waiting.has_turn, true) {
            self.order.push_back(link);
        }
        waiting.said.push_back(batch);
    }

    /// Whether everything was heard.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// What is heard next.
    pub fn next(&mut self) -> Option<(LinkId, Said)> {
        loop {
            let link = *self.order.front()?;
            if self.heard >= FRAMES_AT_A_TIME {
                self.heard = 0;
                self.order.rotate_left(1);
                continue;
            }
            match self.links.get_mut(&link).and_then(Waiting::next) {
                Some(said) => {
                    self.heard += 1;
                    return Some((link, said));
                }
                None => {
                    if let Some(waiting) = self.links.get_mut(&link) {
                        waiting.has_turn = false;
                        if waiting.frames.capacity() > MAX_KEPT_FRAMES {
                            waiting.frames = VecDeque::new();
                        }
                    }
                    self.order.pop_front();
                    self.heard = 0;
                }
            }
        }
    }

    /// A link is no more: what it said is not heard any more.
    pub fn forget(&mut self, link: LinkId) {
        if self.links.remove(&link).is_some() {
            if self.order.front() == Some(&link) {
                self.heard = 0;
            }
            self.order.retain(|other| *other != link);
        }
    }
}

impl Waiting {
    fn next(&mut self) -> Option<Said> {
        if let Some(frame) = self.frames.pop_front() {
            return Some(Said::Frame(frame));
        }
        let Batch { frames, place, .. } = self.said.pop_front()?;
        match frames {
            Ok(frames) if frames.is_empty() => {
                place.give_back(frames);
                Some(Said::Something)
            }
            Ok(frames) => {
                place.give_back(std::mem::replace(&mut self.frames, frames.into()).into());
                self.frames.pop_front().map(Said::Frame)
            }
            Err(end) => Some(Said::End(end)),
        }
    }
}

#[cfg(test)]
mod tests {
    use daffi_proto::frame::Header;
    use daffi_proto::id::CallId;
    use futures::FutureExt;

    use super::*;

    /// Batches of so many frames of a link, numbered from the one given.
    async fn batch(link: u64, frames: std::ops::Range<u64>) -> Batch {
        let frames = frames.map(|id| Frame::new(Header::Ended { id: CallId(id) })).collect();
        Batch { link: LinkId(link), frames: Ok(frames), place: place().await }
    }

    async fn place() -> Place {
        Places::new().next().await.unwrap()
    }

    fn heard(rounds: &mut Rounds) -> Option<(u64, u64)> {
        match rounds.next()? {
            (link, Said::Frame(Frame { header: Header::Ended { id }, .. })) => Some((link.0, id.0)),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn who_says_little_waits_for_a_few_frames_of_each_other_link() {
        let mut rounds = Rounds::default();
        for noisy in 1..=3 {
            rounds.add(batch(noisy, 0..1000).await);
            rounds.add(batch(noisy, 1000..2000).await);
        }
        assert_eq!(heard(&mut rounds), Some((1, 0)));
        rounds.add(batch(9, 0..1).await);
        let before = std::iter::from_fn(|| heard(&mut rounds)).take_while(|(link, _)| *link != 9).count();
        assert_eq!(before, 3 * FRAMES_AT_A_TIME - 1);
        // And of each link all is heard, in order.
        let mut next = [0, 0, 0].map(|_| FRAMES_AT_A_TIME as u64);
        while let Some((link, id)) = heard(&mut rounds) {
            let next = &mut next[link as usize - 1];
            assert_eq!(id, *next);
            *next += 1;
        }
        assert_eq!(next, [2000; 3]);
        assert!(rounds.is_empty());
    }

    #[tokio::test]
    async fn the_end_of_a_link_is_heard_behind_what_it_said_and_one_that_is_forgotten_is_not_heard() {
        let mut rounds = Rounds::default();
        rounds.add(batch(1, 0..1).await);
        rounds.add(Batch { link: LinkId(1), frames: Ok(Vec::new()), place: place().await });
        rounds.add(Batch { link: LinkId(1), frames: Err(LinkEnd::Closed), place: place().await });
        rounds.add(batch(2, 0..1).await);
        assert_eq!(heard(&mut rounds), Some((1, 0)));
        assert!(matches!(rounds.next(), Some((LinkId(1), Said::Something))));
        assert!(matches!(rounds.next(), Some((LinkId(1), Said::End(LinkEnd::Closed)))));
        rounds.forget(LinkId(1));
        rounds.add(batch(3, 0..1).await);
        rounds.forget(LinkId(2));
        assert_eq!(heard(&mut rounds), Some((3, 0)));
        assert!(rounds.next().is_none() && rounds.is_empty());
    }

    #[tokio::test]
    async fn a_link_has_few_places_and_what_frames_lay_in_is_used_again() {
        let (places, mut rounds) = (Places::new(), Rounds::default());
        let mut known = Vec::new();
        for _ in 0..10 {
            let mut frames = places.frames();
            assert!(frames.is_empty());
            frames.push(Frame::new(Header::Synced));
            known.push(frames.as_ptr());
            rounds.add(Batch { link: LinkId(1), frames: Ok(frames), place: places.next().await.unwrap() });
            assert!(matches!(rounds.next(), Some((LinkId(1), Said::Frame(_)))));
            assert!(rounds.next().is_none() && rounds.is_empty());
        }
        known.sort_unstable();
        known.dedup();
        assert_eq!(known.len(), 2);
        let _both = (places.next().await, places.next().await);
        assert!(places.next().now_or_never().is_none());
    }
}
