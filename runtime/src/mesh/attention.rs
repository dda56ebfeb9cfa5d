//! How the network's thread stays awake for an answer that is about to come.
//!
//! To sleep and be woken costs a thread more than a call between two guests takes otherwise: on most machines an idle processor is
//! some 10 us away, on a virtual one more. So where something was sent and what comes is mostly there within
//! [`WATCH`], the thread looks for it that long before it sleeps, as kernels do for devices.
//!
//! ```text
//!   sent ──▶ watching ── something came ──▶ sleeps at the next pause, watches when something is sent
//!               ├─────── nothing came ────▶ sleeps; the next 1, 3, 7 … 63 times it does not watch
//!               └─────── it was there ──────▶ the thread is busy: the next 15 times it does not watch
//! ```
//!
//! A look is a round of the thread, and between two of them are a few glances at the one socket from which the answer is to be expected: that of the
//! unix link that has sent something last.
//!
//! Invariants: who sends nothing watches nothing, so an idle runtime sleeps; between two looks all other tasks of the thread have
//! their turn; after a few of them the clock is looked at, and whoever else wants the processor has it, which ends the
//! watching; where it does not pay, one time of 64 is left of it. On a machine with one processor it never pays.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use daffi_proto::frame::Frame;
use futures::future::BoxFuture;
use tokio::sync::Notify;

use super::link::{FrameSink, FrameSource, Glance, Link, LinkEnd, Mute, NotTaken};

/// How long something that was sent is waited for awake.
const WATCH: Duration = Duration::from_micros(40);

/// Where it takes longer until the processor is given back, somebody else has had it.
const ALONE: Duration = Duration::from_micros(4);

/// After so many looks the clock is looked at, and the processor is offered to others: both take as long as a look.
const LOOKS_BETWEEN_OFFERS: u32 = 2;

/// So often the link that sent something last is looked at by itself between two looks: all of it takes as long as two of them.
const GLANCES_BETWEEN_LOOKS: u32 = 8;

/// The binary logarithm of how seldom it is tried where it does not pay.
const MOST_DOUBLINGS: u32 = 6;

/// So many times it is not tried where the thread has enough to do.
const PASSES_WHILE_BUSY: u32 = 15;

/// What all links of a runtime tell, and its watcher looks at. Counts wrap, and are compared for equality alone.
#[derive(Clone, Debug, Default)]
pub struct Attention(Option<Arc<Shared>>);

#[derive(Debug)]
struct Shared {
    /// [`WATCH`] and [`ALONE`].
    watch: Duration,
    alone: Duration,
    sent: AtomicU64,
    heard: AtomicU64,
    watching: AtomicBool,
    /// So many times more it is not tried.
    passes: AtomicU32,
    wanted: Notify,
    /// The link that has sent something last, of those that can be looked at by themselves.
    latest: Mutex<Option<Weak<dyn Glance>>>,
}

impl Attention {
    /// For this machine: where there is one processor, nobody ever watches.
    pub fn new() -> Self {
        let several = std::thread::available_parallelism().is_ok_and(|processors| processors.get() > 1);
        Self(several.then(|| Shared::new(WATCH, ALONE)))
    }

    /// The link, which tells of itself.
    pub fn of(&self, link: Link) -> Link {
        let Some(shared) = &self.0 else { return link };
        let glance = link.source.glance().map(|glance| Arc::downgrade(&glance));
        Link {
            sink: Box::new(Sink { sink: link.sink, glance, shared: Arc::clone(shared) }),
            source: Box::new(Source { source: link.source, shared: Arc::clone(shared) }),
        }
    }

    /// Watches; in the thread of the links. It never ends; cancel safe.
    pub async fn watch(self) {
        let Some(shared) = self.0 else { return std::future::pending().await };
        let (mut seen, mut doublings) = (0, 0);
        shared.watching.store(true, Ordering::Relaxed);
        loop {
            let sent = shared.sent.load(Ordering::Relaxed);
            if sent == seen {
                shared.watching.store(false, Ordering::Relaxed);
                shared.wanted.notified().await;
                shared.watching.store(true, Ordering::Relaxed);
                continue;
            }
            seen = sent;
            let passes = match shared.watch().await {
                Seen::Soon => {
                    doublings = 0;
                    0
                }
                Seen::AtOnce => PASSES_WHILE_BUSY,
                Seen::Nothing => {
                    doublings = MOST_DOUBLINGS.min(doublings + 1);
                    (1 << doublings) - 1
                }
            };
            shared.passes.store(passes, Ordering::Relaxed);
        }
    }
}

impl Shared {
    fn new(watch: Duration, alone: Duration) -> Arc<Self> {
        Arc::new(Self {
            watch,
            alone,
            sent: AtomicU64::new(0),
            heard: AtomicU64::new(0),
            watching: AtomicBool::new(false),
            passes: AtomicU32::new(0),
            wanted: Notify::new(),
            latest: Mutex::default(),
        })
    }

    fn sent(&self, by: Option<&Weak<dyn Glance>>) {
        let passes = self.passes.load(Ordering::Relaxed);
        if passes > 0 {
            // Who counts at the same time counts for one.
            return self.passes.store(passes - 1, Ordering::Relaxed);
        }
        if let Some(by) = by {
            let mut latest = self.latest();
            if !latest.as_ref().is_some_and(|latest| latest.ptr_eq(by)) {
                *latest = Some(by.clone());
            }
        }
        self.sent.fetch_add(1, Ordering::Relaxed);
        if !self.watching.load(Ordering::Relaxed) {
            self.wanted.notify_one();
        }
    }

    fn heard(&self) {
        self.heard.fetch_add(1, Ordering::Relaxed);
    }

    fn latest(&self) -> MutexGuard<'_, Option<Weak<dyn Glance>>> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the link that has sent something last, where that can be.
    fn glance(&self) {
        // One that has ended is not kept for it.
        let Some(latest) = self.latest().as_ref().and_then(Weak::upgrade) else { return };
        for _ in 0..GLANCES_BETWEEN_LOOKS {
            if latest.glance() {
                return;
            }
        }
    }

    /// Looks until something comes, or it does not pay any more.
    async fn watch(&self) -> Seen {
        let heard = self.heard.load(Ordering::Relaxed);
        let until = Instant::now() + self.watch;
        let mut looks = 0;
        loop {
            // Whatever is there by now has its turn, and wakes whom it is for.
            tokio::task::yield_now().await;
            if self.heard.load(Ordering::Relaxed) != heard {
                return if looks == 0 { Seen::AtOnce } else { Seen::Soon };
            }
            looks += 1;
            self.glance();
            if looks % LOOKS_BETWEEN_OFFERS != 0 {
                continue;
            }
            let looked = Instant::now();
            if looked >= until {
                return Seen::Nothing;
            }
            std::thread::yield_now();
            if looked.elapsed() > self.alone {
                return Seen::Nothing; // the processor is wanted: who sleeps leaves it to others
            }
        }
    }
}

/// What came while somebody watched.
enum Seen {
    /// Something, when he began: the thread had not slept anyway.
    AtOnce,
    /// Something, later.
    Soon,
    Nothing,
}

struct Sink {
    sink: Box<dyn FrameSink>,
    glance: Option<Weak<dyn Glance>>,
    shared: Arc<Shared>,
}

impl FrameSink for Sink {
    fn send(&self, frame: Frame) -> Result<(), NotTaken> {
        self.sink.send(frame)
    }

    fn flush(&self) -> Result<(), Mute> {
        self.shared.sent(self.glance.as_ref());
        self.sink.flush()
    }

    fn poll_room(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.sink.poll_room(cx)
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, ()> {
        self.sink.close()
    }
}

struct Source {
    source: Box<dyn FrameSource>,
    shared: Arc<Shared>,
}

impl FrameSource for Source {
    fn poll_recv(&mut self, cx: &mut Context<'_>, frames: &mut Vec<Frame>) -> Poll<Result<(), LinkEnd>> {
        let received = ready!(self.source.poll_recv(cx, frames));
        self.shared.heard();
        Poll::Ready(received)
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;
    use crate::mesh::link::LinkLimits;
    use crate::mesh::pipe;
    use daffi_proto::frame::Header;
    use futures::poll;

    fn attention(watch: Duration) -> (Attention, Arc<Shared>) {
        let shared = Shared::new(watch, Duration::MAX);
        (Attention(Some(Arc::clone(&shared))), shared)
    }

    #[tokio::test]
    async fn where_nothing_comes_it_is_watched_for_ever_more_seldom() {
        let (attention, shared) = attention(Duration::ZERO);
        let mut watching = pin!(attention.watch());
        let mut passed = Vec::new();
        for _ in 0..8 {
            // This one is watched for: all that were to pass have passed.
            shared.sent(None);
            while poll!(&mut watching).is_pending() && shared.watching.load(Ordering::Relaxed) {
                tokio::task::yield_now().await;
            }
            let passes = shared.passes.load(Ordering::Relaxed);
            (0..passes).for_each(|_| shared.sent(None));
            assert!(poll!(&mut watching).is_pending() && !shared.watching.load(Ordering::Relaxed));
            passed.push(passes);
        }
        assert_eq!(passed, [1, 3, 7, 15, 31, 63, 63, 63]);
    }

    /// A source that never has anything, and counts how often it is looked at.
    struct Quiet(Arc<Looked>);

    #[derive(Default)]
    struct Looked(AtomicU32);

    impl Glance for Looked {
        fn glance(&self) -> bool {
            self.0.fetch_add(1, Ordering::Relaxed);
            false
        }
    }

    impl FrameSource for Quiet {
        fn poll_recv(&mut self, _: &mut Context<'_>, _: &mut Vec<Frame>) -> Poll<Result<(), LinkEnd>> {
            Poll::Pending
        }

        fn glance(&self) -> Option<Arc<dyn Glance>> {
            Some(self.0.clone())
        }
    }

    #[tokio::test]
    async fn the_link_that_has_sent_last_is_looked_at_between_two_rounds_and_not_kept() {
        let (attention, _) = attention(Duration::from_secs(3600));
        let [first, second] = [(); 2].map(|()| Arc::new(Looked::default()));
        let link = |looked: &Arc<Looked>| {
            let (near, far) = pipe::pair(LinkLimits::default());
            (attention.of(Link { source: Box::new(Quiet(looked.clone())), ..near }), far)
        };
        let (one, other) = (link(&first), link(&second));
        let counts = || [&first, &second].map(|looked| looked.0.load(Ordering::Relaxed));
        let mut watching = pin!(attention.clone().watch());
        one.0.sink.flush().unwrap();
        assert!(poll!(&mut watching).is_pending() && counts() == [0, 0], "others have their turn first");
        assert!(poll!(&mut watching).is_pending());
        assert_eq!(counts(), [GLANCES_BETWEEN_LOOKS, 0]);
        other.0.sink.flush().unwrap();
        assert!(poll!(&mut watching).is_pending());
        assert_eq!(counts(), [GLANCES_BETWEEN_LOOKS; 2]);
        let kept = Arc::downgrade(&second);
        drop((other, second));
        assert!(poll!(&mut watching).is_pending() && kept.upgrade().is_none());
    }

    #[tokio::test]
    async fn what_comes_while_it_watches_makes_it_watch_the_next_time() {
        let (attention, shared) = attention(Duration::from_secs(3600));
        let (near, far) = pipe::pair(LinkLimits::default());
        let mut near = attention.of(near);
        let mut watching = pin!(attention.watch());
        for _ in 0..10 {
            near.sink.send(Frame::new(Header::Ping)).unwrap();
            near.sink.flush().unwrap();
            for _ in 0..2 {
                assert!(poll!(&mut watching).is_pending() && shared.watching.load(Ordering::Relaxed));
            }
            far.sink.send(Frame::new(Header::Pong)).unwrap();
            far.sink.flush().unwrap();
            let mut frames = Vec::new();
            crate::mesh::link::recv(&mut *near.source, &mut frames).await.unwrap();
            assert_eq!(frames.len(), 1);
            while poll!(&mut watching).is_pending() && shared.watching.load(Ordering::Relaxed) {
                tokio::task::yield_now().await;
            }
            assert_eq!(shared.passes.load(Ordering::Relaxed), 0);
        }
    }
}
