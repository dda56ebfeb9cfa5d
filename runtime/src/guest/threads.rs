//! In which threads guests are polled: in those of the guests, or in the network's.
//!
//! ```text
//!   the network's ◀── a guest waits for the host, and was quick till then ──────────── the guests'
//!                 ──── it computes for long, waits for many answers, or its tenant has no time here ──▶
//! ```
//!
//! What a guest waits for is mostly an answer, and the network's thread reads that. To wake another thread for it costs many
//! times what a quick guest does with it, so a guest that waits goes on there. One that waits for many answers at a time is woken for
//! many of them at once, and takes these while the network's thread reads others, unless no other guest runs. A task with guests
//! ([`Threads::roam`]) is on one side at a time; [`super::fair::Stand`], which polls the guest in it, decides where it goes.
//!
//! Invariants: a task changes sides between two polls only, and is polled at once on the other side, so that no wake-up is
//! lost; what a guest waits for of the system (WASI's sockets and timers) belongs to the guests' side, wherever the guest is
//! polled; all tasks are tracked.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::runtime::{EnterGuard, Handle};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Whose threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// The network's, which has everybody's frames to read: for what is quick.
    Network,
    /// The guests', where each has its tenant's turns.
    Guests,
}

/// A value up to this length is checked and lowered in the network's thread; what is longer would hold it up.
pub(super) const NETWORK_BYTES: usize = 256 << 10;

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

thread_local! {
    /// Where the task with guests is that is polled in this thread, if one is.
    static HERE: Cell<Option<Side>> = const { Cell::new(None) };
    /// Where it goes.
    static GOES_TO: Cell<Option<Side>> = const { Cell::new(None) };
    /// What became of the guest that was polled here.
    static POLLED: Cell<Polled> = const { Cell::new(Polled { interrupted: false, awaited: 0 }) };
}

/// Where the task is that is polled here; none where it has not been made to roam.
pub(super) fn here() -> Option<Side> {
    HERE.get()
}

/// The task that is polled here goes there when this poll is over, unless that ends it. Of several words in one poll that for the
/// guests' side counts.
pub(super) fn go_to(side: Side) {
    if GOES_TO.get() != Some(Side::Guests) {
        GOES_TO.set(Some(side));
    }
}

/// Leaves the network's thread, before something that takes long and that no tick interrupts. Cancel safe.
pub(super) async fn leave_network() {
    poll_fn(|cx| match here() {
        Some(Side::Network) => {
            go_to(Side::Guests);
            // Whoever polls this among others polls it again there.
            cx.waker().wake_by_ref();
            Poll::Pending
        }
        Some(Side::Guests) | None => Poll::Ready(()),
    })
    .await;
}

/// Resolves when it was cancelled, where a store may be dropped. Cancel safe.
pub(super) async fn cancelled_and_left(end: &CancellationToken) {
    end.cancelled().await;
    leave_network().await;
}

/// Leaves the network's thread before so many bytes are checked, translated or copied, where they are many. Cancel safe.
pub(super) async fn leave_network_with(bytes: usize) {
    if bytes > NETWORK_BYTES {
        leave_network().await;
    }
}

/// What became of the guest that was polled in this thread since somebody asked last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Polled {
    /// A tick of the epoch has interrupted it: it does not wait for the host.
    pub interrupted: bool,
    /// For how many answers its instance waits, where that may be more than one.
    pub awaited: usize,
}

impl Polled {
    /// Tells it once.
    pub fn take() -> Self {
        POLLED.take()
    }

    /// Another guest is polled in the middle: what became of the outer one is told as if it had not been, when the result is dropped.
    pub fn set_apart() -> Outer {
        Outer(POLLED.take())
    }

    /// For how many answers it waits; that is still to be told.
    pub fn awaited() -> usize {
        POLLED.get().awaited
    }

    /// Whether a tick has interrupted it; that is still to be told.
    pub fn was_interrupted() -> bool {
        POLLED.get().interrupted
    }
}

/// What became of a guest in the middle of whose poll another one is polled.
#[must_use]
pub(super) struct Outer(Polled);

impl Drop for Outer {
    fn drop(&mut self) {
        POLLED.set(self.0);
    }
}

/// A tick of the epoch interrupts the guest that computes in this thread.
pub(super) fn interrupted() {
    POLLED.set(Polled { interrupted: true, ..POLLED.get() });
}

/// The instance that was polled in this thread waits for so many answers.
pub(super) fn note_awaited(awaited: usize) {
    POLLED.set(Polled { awaited, ..POLLED.get() });
}

/// Both sides, and the tasks of one module on them.
#[derive(Clone, Debug)]
pub(super) struct Threads {
    network: Handle,
    guests: Handle,
    tasks: TaskTracker,
}

impl Threads {
    pub fn new(network: Handle, guests: Handle, tasks: TaskTracker) -> Self {
        Self { network, guests, tasks }
    }

    /// Has a task done that never leaves its side.
    pub fn spawn(&self, side: Side, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn_on(task, self.handle(side));
    }

    /// Has a task with guests done, which begins there.
    pub fn roam(&self, side: Side, task: impl Future<Output = ()> + Send + 'static) {
        self.put(side, Box::pin(task));
    }

    /// While this lives, what is made in this thread belongs to the guests' side.
    pub fn enter_guests(&self) -> EnterGuard<'_> {
        self.guests.enter()
    }

    fn put(&self, side: Side, work: Work) {
        self.tasks.spawn_on(Roaming { side, threads: self.clone(), work: Some(work) }, self.handle(side));
    }

    fn handle(&self, side: Side) -> &Handle {
        match side {
            Side::Network => &self.network,
            Side::Guests => &self.guests,
        }
    }
}

/// A task with guests, on one side.
struct Roaming {
    side: Side,
    threads: Threads,
    /// None, once it has left.
    work: Option<Work>,
}

impl Future for Roaming {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let Some(work) = &mut this.work else { return Poll::Ready(()) };
        let visit = Visit::begin(this.side);
        let polled = work.as_mut().poll(cx);
        let goes_to = GOES_TO.take();
        drop(visit);
        match goes_to {
            Some(side) if side != this.side && polled.is_pending() => {
                if let Some(work) = this.work.take() {
                    this.threads.put(side, work);
                }
                Poll::Ready(())
            }
            _ => polled,
        }
    }
}

/// A task with guests is polled in this thread, however that ends.
struct Visit(Option<Side>);

impl Visit {
    fn begin(side: Side) -> Self {
        GOES_TO.set(None);
        Self(HERE.replace(Some(side)))
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        HERE.set(self.0);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    fn threads(names: [&'static str; 2]) -> [tokio::runtime::Runtime; 2] {
        names.map(|name| {
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).thread_name(name).build().unwrap()
        })
    }

    #[test]
    fn a_task_goes_where_it_says_and_is_polled_there_at_once() {
        let [network, guests] = threads(["net", "guests"]);
        let tasks = TaskTracker::new();
        let both = Threads::new(network.handle().clone(), guests.handle().clone(), tasks.clone());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let sees = seen.clone();
        // Where it is already, it is woken by itself.
        let mut way = [Some(Side::Network), None, Some(Side::Guests), None].into_iter();
        both.roam(
            Side::Guests,
            poll_fn(move |cx| {
                let thread = std::thread::current().name().unwrap_or_default().to_owned();
                sees.lock().unwrap().push((here(), thread));
                match way.next() {
                    Some(Some(side)) => go_to(side),
                    Some(None) => cx.waker().wake_by_ref(),
                    None => return Poll::Ready(()),
                }
                Poll::Pending
            }),
        );
        tasks.close();
        guests.block_on(tasks.wait());
        let on = |side, thread: &str| (Some(side), thread.to_owned());
        let [there, here] = [on(Side::Network, "net"), on(Side::Guests, "guests")];
        assert_eq!(*seen.lock().unwrap(), [here.clone(), there.clone(), there, here.clone(), here]);
    }

    #[test]
    fn the_word_for_the_guests_side_counts_and_who_leaves_the_network_goes_on_there() {
        let [network, guests] = threads(["net", "guests"]);
        let tasks = TaskTracker::new();
        let both = Threads::new(network.handle().clone(), guests.handle().clone(), tasks.clone());
        let (tell, sides) = std::sync::mpsc::channel();
        both.roam(Side::Network, async move {
            let _ = tell.send(here());
            leave_network_with(NETWORK_BYTES).await;
            let _ = tell.send(here());
            // Among others, as the futures of an instance are.
            let mut all = futures::stream::FuturesUnordered::new();
            all.push(leave_network_with(NETWORK_BYTES + 1));
            futures::StreamExt::next(&mut all).await;
            let _ = tell.send(here());
            let mut polls = 0;
            poll_fn(|_| {
                polls += 1;
                go_to(Side::Guests);
                go_to(Side::Network);
                if polls == 1 { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
            tokio::task::yield_now().await;
            let _ = tell.send(here());
        });
        tasks.close();
        guests.block_on(tasks.wait());
        let sides: Vec<Side> = sides.iter().flatten().collect();
        assert_eq!(sides, [Side::Network, Side::Network, Side::Guests, Side::Guests]);
    }

    #[test]
    fn what_became_of_a_guest_is_told_once() {
        assert_eq!(Polled::take(), Polled::default());
        interrupted();
        note_awaited(3);
        let outer = Polled::set_apart();
        note_awaited(5);
        assert_eq!(Polled::take(), Polled { interrupted: false, awaited: 5 });
        drop(outer);
        assert_eq!(Polled::take(), Polled { interrupted: true, awaited: 3 });
        assert_eq!(Polled::take(), Polled::default());
    }
}
