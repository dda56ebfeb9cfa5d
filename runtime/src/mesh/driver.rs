//! The task that does what the node's state gives to do.
//!
//! ```text
//!   MeshHandle ──Request──▶ ┌────────┐ ◀──frames── link ◀──delivers── dialer
//!                           │ Driver │ ──frames──▶ link
//!   answers, LinkState ◀─── └────────┘ ──Serve::serve──▶ guests (polled once, here)
//! ```
//!
//! | module | holds |
//! |---|---|
//! | `core` | the state, and how the node's outputs are carried out; `core/links`, what goes out and ends; `core/serving`, the calls that its processes get |
//! | `desk` | the state's place, where others than this task may do what they ask for |
//! | `directs` | direct links to other nodes |
//! | `requests` | what each request means to the node |
//!
//! Invariants: what happened first is told first; what a batch of events has to send goes off in one flush; frames of a link
//! that is no more are not heard. Nothing here waits but for the next event, and moments for the desk.

mod core;
mod desk;
mod directs;
mod requests;

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use daffi_proto::frame::Frame;
use daffi_proto::node::{Input, NodeConfig, Via};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use self::core::Called;
use self::core::{Core, LinkNumber, Parts, Waits};
pub use self::desk::Desk;
use self::directs::Sources;
use super::alarm::Alarm;
use super::asked::Ended;
use super::direct::{Arrival, Directs};
use super::handle::{Asks, LinkState, MeshHandle, Port};
use super::ledger::Ledger;
use super::link::{FrameSource, Link, LinkEnd, recv};
use super::news::News;
use super::uplink::{Deliveries, Delivery, Uplink};

/// Most ends of streams that are looked at in one go.
const BELLS_AT_ONCE: usize = 256;

/// What happens to the driver.
enum Event {
    /// Requests are in the core's `requests_left`; none when all handles are gone.
    Requests(usize),
    /// Ends of streams are in the driver's `bells_taken`.
    Bells,
    /// Frames are in the driver's `frames` or `frames_left`; none, when only a part of one has come, or the link ended.
    Frames(Result<(), LinkEnd>),
    /// Something is in `directs_in`.
    Directs,
    /// There is a direct link, or will be none.
    Arrival(Arrival),
    /// The dialer has something.
    Delivery(Option<Delivery>),
    /// The link has room for streams again.
    Room,
    /// There is more to do than there was time for, or somebody else has left something to do.
    Work,
    /// It is time.
    Alarm,
    /// The runtime ends.
    Cancelled,
}

/// See the module.
pub struct Driver {
    desk: Arc<Desk>,
    alarm: Alarm,
    bells: mpsc::UnboundedReceiver<Arc<Port>>,
    bells_taken: Vec<Arc<Port>>,
    deliveries: Deliveries,
    source: Option<(LinkNumber, Box<dyn FrameSource>)>,
    frames: Vec<Frame>,
    /// What an earlier turn has left of the link's frames, and the link's end, which comes after them.
    frames_left: VecDeque<Frame>,
    end_left: Option<LinkEnd>,
    directs_in: Sources,
    arrivals: Option<mpsc::Receiver<Arrival>>,
    /// Empty but for moments: the calls that a turn has ended.
    ended: Ended,
}

impl Driver {
    /// A driver and the handle to it. It orders its first link at once; the dialer may come later. `target` is what the
    /// dialer connects to, for the log. Links that are closed write their rest in tasks of `tasks`.
    pub fn new(config: NodeConfig, target: String, uplink: Uplink, tasks: TaskTracker) -> (MeshHandle, Self) {
        let epoch = Instant::now();
        let not_yet = LinkState::Down { reason: "not connected yet".to_owned() };
        let (link_state, link_states) = watch::channel(not_yet);
        let (handle, Asks { requests, bells, bell }) = MeshHandle::new(epoch, link_states);
        let news = News::new(&config, target);
        let Uplink { orders, deliveries } = uplink;
        let wanted = Arc::default();
        let parts =
            Parts { config, news, epoch, requests, bell, orders, link_state, tasks, wanted: Arc::clone(&wanted) };
        let desk = Arc::new(Desk::new(Core::new(parts), wanted));
        handle.open_desk(desk.clone());
        let driver = Self {
            desk,
            alarm: Alarm::new(epoch),
            bells,
            bells_taken: Vec::with_capacity(BELLS_AT_ONCE),
            deliveries,
            source: None,
            frames: Vec::new(),
            frames_left: VecDeque::new(),
            end_left: None,
            directs_in: Sources::default(),
            arrivals: None,
            ended: Ended::default(),
        };
        (handle, driver)
    }

    /// The same, and what becomes of the scheduled tasks that are kept goes there.
    #[must_use]
    pub fn with_ledger(self, ledger: Option<Ledger>) -> Self {
        if let Some(core) = self.desk.lock().as_deref_mut().and_then(Option::as_mut) {
            core.ledger = ledger;
        }
        self
    }

    /// The same, and it has direct links.
    #[must_use]
    pub fn with_directs(mut self, directs: Option<Directs>) -> Self {
        if let Some(Directs { orders, arrivals }) = directs
            && let Some(core) = self.desk.lock().as_deref_mut().and_then(Option::as_mut)
        {
            core.dials = Some(orders);
            self.arrivals = Some(arrivals);
        }
        self
    }

    /// Runs until it is cancelled or no handle is left.
    pub async fn run(mut self, cancel: CancellationToken) {
        // These two are waited for from here on, not anew for each event.
        let desk = self.desk.clone();
        let (mut changed, mut cancelled) = (pin!(desk.changed()), pin!(cancel.cancelled()));
        // What is left is there at once: without a pause before it, nobody else in this thread would have a turn.
        while let Some(waits) = self.desk.waits() {
            if waits.work || !self.frames_left.is_empty() || self.directs_in.is_behind() {
                tokio::task::yield_now().await;
            }
            let event = tokio::select! {
                event = self.next_event(waits) => event,
                () = changed.as_mut() => {
                    changed.set(desk.changed());
                    Event::Work
                }
                () = cancelled.as_mut() => Event::Cancelled,
            };
            if matches!(event, Event::Cancelled | Event::Requests(0)) {
                return;
            }
            self.handle(event);
        }
    }

    /// Cancel safe, as its parts are.
    async fn next_event(&mut self, waits: Waits) -> Event {
        self.alarm.set(waits.alarm);
        self.hear_only(waits.link);
        let (source, frames) = (self.source.as_mut(), &mut self.frames);
        let frames_left = self.frames_left.len();
        let arrives = async {
            match source {
                Some(_) if frames_left > 0 => Ok(()),
                Some((_, source)) => recv(&mut **source, frames).await,
                None => std::future::pending().await,
            }
        };
        let arrivals = &mut self.arrivals;
        let arrival = async {
            match arrivals {
                Some(arrivals) => arrivals.recv().await,
                None => None,
            }
        };
        let desk = &self.desk;
        let asks = std::future::poll_fn(|cx| poll_requests(desk, cx));
        let room = std::future::poll_fn(|cx| match desk.lock().as_deref() {
            Some(Some(core)) if core.has_room(cx) => Poll::Ready(()),
            _ => Poll::Pending,
        });
        tokio::select! {
            end = arrives => Event::Frames(end),
            true = self.directs_in.next() => Event::Directs,
            Some(arrival) = arrival => Event::Arrival(arrival),
            // What is asked for meanwhile waits for the next link, rather than fail with one that is as good as lost.
            count = asks, if !waits.mute => Event::Requests(count),
            // It never ends: this very driver holds a bell.
            _ = self.bells.recv_many(&mut self.bells_taken, BELLS_AT_ONCE) => Event::Bells,
            delivery = self.deliveries.next(), if waits.dialing => Event::Delivery(delivery),
            () = room, if waits.congested.is_some() => Event::Room,
            () = std::future::ready(()), if waits.work => Event::Work,
            () = self.alarm.rings() => Event::Alarm,
        }
    }

    fn handle(&mut self, event: Event) {
        let desk = self.desk.clone();
        let mut guard = desk.lock();
        let Some(core) = guard.as_deref_mut().and_then(Option::as_mut) else { return };
        core.begin_turn();
        core.is_attended();
        match event {
            Event::Requests(_) => core.take_requests(),
            Event::Bells => self.bells_taken.drain(..).for_each(|port| core.take_bell(&port)),
            Event::Frames(end) => {
                // What is answered by the controller may follow from what a node has told directly before.
                self.directs_in.hear_first(core);
                self.take_frames(core, end);
            }
            Event::Delivery(delivery) => self.take_delivery(core, delivery),
            Event::Directs => self.directs_in.hear(core),
            Event::Arrival(arrival) => self.directs_in.take(core, arrival),
            Event::Room => {
                core.take_room();
            }
            Event::Alarm => core.tell(Input::Timer),
            Event::Work | Event::Cancelled => {}
        }
        core.end_turn();
        core.asked.swap_ended(&mut self.ended);
        drop(guard);
        self.ended.tell();
    }

    /// Frames of another link than this are not heard any more.
    fn hear_only(&mut self, link: Option<LinkNumber>) {
        if self.source.as_ref().map(|(number, _)| *number) != link {
            self.source = None;
            self.frames.clear();
            self.frames_left.clear();
            self.end_left = None;
        }
    }

    /// Takes frames for one turn, and then the link's end, if it has come.
    fn take_frames(&mut self, core: &mut Core, end: Result<(), LinkEnd>) {
        // Somebody else may have closed it meanwhile.
        self.hear_only(core.link_number());
        let Some((number, _)) = self.source else { return };
        if let Err(end) = end {
            self.end_left = Some(end);
        } else if self.frames.is_empty() && self.frames_left.is_empty() {
            return core.tell(Input::Heard(Via::Controller));
        }
        self.frames_left.extend(self.frames.drain(..));
        while core.has_turn()
            && let Some(frame) = self.frames_left.pop_front()
        {
            core.tell(Input::Frame { via: Via::Controller, frame });
            core.carry_out();
            if core.link_number() != Some(number) {
                return self.hear_only(core.link_number());
            }
        }
        if self.frames_left.is_empty()
            && let Some(end) = self.end_left.take()
        {
            core.lose_link(&end);
        }
    }

    fn take_delivery(&mut self, core: &mut Core, delivery: Option<Delivery>) {
        core.dialing = matches!(delivery, Some(Delivery::NotYet(_)));
        match delivery {
            Some(Delivery::NotYet(reason)) => core.tell(Input::NoLink(reason)),
            Some(Delivery::Link(Link { sink, source })) => {
                let number = core.take_link_in(sink);
                self.hear_only(None);
                self.source = Some((number, source));
            }
            Some(Delivery::Refused(message)) => {
                core.set_link_state(LinkState::Refused { code: "no-controller".to_owned(), message });
            }
            None => core.news().detail("nobody dials any more"),
        }
    }
}

/// As [`Core::poll_requests`]; none, too, when there is no core any more.
fn poll_requests(desk: &Desk, cx: &mut Context<'_>) -> Poll<usize> {
    match desk.lock().as_deref_mut().and_then(Option::as_mut) {
        Some(core) => core.poll_requests(cx),
        None => Poll::Ready(0),
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.desk.close();
    }
}

#[cfg(test)]
#[path = "driver_tests.rs"]
mod tests;
