//! How the network's thread stays awake for an answer that is about to come.
//!
//! To sleep and be woken costs a thread more than a call between two guests takes otherwise: on most machines an idle processor is
//! some 5 us away, on a virtual one up to ten times as much. So where something was sent and what comes is mostly there within
//! [`WATCH`], the thread looks for it that long before it sleeps, as kernels do for devices. Where it is in vain for the first time, it is
//! measured what it takes to be woken here, and where that takes long it is watched for longer from then on: two runtimes that both sleep
//! are some wake-ups away from each other, and each finds the other awake only if it waits for as long as that.
//!
//! ```text
//!   sent ──▶ watching ── something came ──▶ sleeps when as much came as was sent, watches when something is sent
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
use std::thread;
use std::time::{Duration, Instant};

use daffi_proto::frame::Frame;
use futures::future::BoxFuture;
use tokio::sync::Notify;

use super::link::{FrameSink, FrameSource, Glance, Link, LinkEnd, Mute, NotTaken};
use super::wake_up::wake_up;

/// How long something that was sent is waited for awake, at least.
const WATCH: Duration = Duration::from_micros(40);

/// And at most.
const MOST_WATCH: Duration = Duration::from_micros(200);

/// It is waited for as long as so many wake-ups take: those of both sides, with what they do, and as much again.
const WAKE_UPS: u32 = 5;

/// Where it takes longer until the processor is given back, somebody else has had it.
const ALONE: Duration = Duration::from_micros(4);

/// After so many looks the clock is looked at, and the processor is offered to others: both take as long as a look.
const LOOKS_BETWEEN_OFFERS: u32 = 2;

/// So often the link that sent something last is looked at by itself between two looks: all of it takes as long as two of them.
const GLANCES_BETWEEN_LOOKS: u32 = 8;

/// The binary logarithm of how seldom it is tried where it does not pay.
const MOST_DOUBLINGS: u32 = 6;

/// Where more was sent, as with a broadcast, it is watched for so many answers at most, one after the other.
const MOST_OWED: u64 = 64;

/// So many times it is not tried where the thread has enough to do.
const PASSES_WHILE_BUSY: u32 = 15;

/// What all links of a runtime tell, and its watcher looks at. Counts wrap, and are compared for equality alone.
#[derive(Clone, Debug, Default)]
pub struct Attention(Option<Arc<Shared>>);

#[derive(Debug)]
struct Shared {
    /// [`WATCH`], or more, in nanoseconds.
    watch: AtomicU64,
    /// [`ALONE`].
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
        let several = thread::available_parallelism().is_ok_and(|processors| processors.get() > 1);
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
        let (mut seen, mut owed, mut doublings) = (0, 0_u64, 0);
        let mut measure = Some(measure_wake_up);
        shared.watching.store(true, Ordering::Relaxed);
        loop {
            let sent = shared.sent.load(Ordering::Relaxed);
            let fresh = sent.wrapping_sub(seen);
            seen = sent;
            owed = owed.saturating_add(fresh).min(MOST_OWED);
            if owed == 0 {
                shared.watching.store(false, Ordering::Relaxed);
                shared.wanted.notified().await;
                shared.watching.store(true, Ordering::Relaxed);
                continue;
            }
            let passes = match shared.watch().await {
                Seen::Soon(heard) => {
                    (owed, doublings) = (owed.saturating_sub(heard), 0);
                    0
                }
                Seen::AtOnce => {
                    owed = 0;
                    PASSES_WHILE_BUSY
                }
                // Not all that is sent has an answer.
                Seen::Nothing if fresh == 0 => {
                    owed = 0;
                    0
                }
                Seen::Nothing => {
                    owed = 0;
                    if let Some(measure) = measure.take() {
                        measure(&shared);
                    }
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
            watch: AtomicU64::new(nanos(watch)),
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
        let until = Instant::now() + Duration::from_nanos(self.watch.load(Ordering::Relaxed));
        let mut looks = 0;
        loop {
            // Whatever is there by now has its turn, and wakes whom it is for.
            tokio::task::yield_now().await;
            let came = self.heard.load(Ordering::Relaxed).wrapping_sub(heard);
            if came != 0 {
                return if looks == 0 { Seen::AtOnce } else { Seen::Soon(came) };
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
            thread::yield_now();
            if looked.elapsed() > self.alone {
                return Seen::Nothing; // the processor is wanted: who sleeps leaves it to others
            }
        }
    }
}

/// Measures in threads of its own, for some milliseconds, what it takes here to be woken by a socket, and sets how long is watched.
fn measure_wake_up(shared: &Arc<Shared>) {
    let shared = Arc::downgrade(shared);
    let measure = move || {
        // Where it cannot be measured, all stays as it is.
        if let (Ok(wake_up), Some(shared)) = (wake_up(), shared.upgrade()) {
            let watch = watch_of(wake_up);
            tracing::debug!(?wake_up, ?watch, "measured how long it takes to be woken here");
            shared.watch.fetch_max(nanos(watch), Ordering::Relaxed);
        }
    };
    let _ = thread::Builder::new().name("daffi-wake-up".to_owned()).spawn(measure);
}

/// How long is watched where a wake-up takes so long.
fn watch_of(wake_up: Duration) -> Duration {
    (WAKE_UPS * wake_up).clamp(WATCH, MOST_WATCH)
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// What came while somebody watched.
enum Seen {
    /// Something, when he began: the thread had not slept anyway.
    AtOnce,
    /// Something, later: so many times.
    Soon(u64),
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

    fn has_room(&self) -> bool {
        self.sink.has_room()
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

    #[test]
    fn where_it_takes_long_to_be_woken_it_is_watched_for_longer_up_to_a_bound() {
        let micros = Duration::from_micros;
        let watches = [0, 5, 20, 40, 1_000_000].map(|wake_up| watch_of(micros(wake_up)));
        assert_eq!(watches, [40, 40, 100, 200, 200].map(micros));
    }

    #[tokio::test]
    async fn the_first_time_that_it_is_in_vain_a_wake_up_is_measured() {
        let (attention, shared) = attention(Duration::ZERO);
        let mut watching = pin!(attention.watch());
        shared.sent(None);
        // Until the measuring threads have told.
        while shared.watch.load(Ordering::Relaxed) < nanos(WATCH) {
            assert!(poll!(&mut watching).is_pending());
            tokio::task::yield_now().await;
        }
        assert!(shared.watch.load(Ordering::Relaxed) <= nanos(MOST_WATCH));
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
    async fn who_has_sent_twice_is_watched_for_twice_and_a_second_time_in_vain_does_not_count() {
        let (attention, shared) = attention(Duration::from_secs(3600));
        let mut watching = pin!(attention.watch());
        let watched_after =
            |shared: &Shared| (shared.watching.load(Ordering::Relaxed), shared.passes.load(Ordering::Relaxed));
        // Two are sent, and two come, each while it watches.
        (0..2).for_each(|_| shared.sent(None));
        for is_last in [false, true] {
            for _ in 0..2 {
                assert!(poll!(&mut watching).is_pending());
            }
            shared.heard();
            // What watched before ends, and where one is owed the next one begins.
            for _ in 0..2 {
                assert!(poll!(&mut watching).is_pending());
            }
            assert_eq!(watched_after(&shared), (!is_last, 0));
        }
        // Two are sent again, and one comes; the other is watched for, for no time.
        (0..2).for_each(|_| shared.sent(None));
        for _ in 0..2 {
            assert!(poll!(&mut watching).is_pending());
        }
        shared.watch.store(0, Ordering::Relaxed);
        shared.heard();
        let mut watch_to_the_end = async || {
            while poll!(&mut watching).is_pending() && shared.watching.load(Ordering::Relaxed) {
                tokio::task::yield_now().await;
            }
            watched_after(&shared)
        };
        assert_eq!(watch_to_the_end().await, (false, 0));
        // What was sent and brings nothing at all counts.
        shared.sent(None);
        assert_eq!(watch_to_the_end().await, (false, 1));
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
