//! The task that owns the controller's state.
//!
//! ```text
//!   listeners ──NewLink──▶ ┌─────┐ ◀──batches of frames── a pump for each link
//!   the own node ────────▶ │ Hub │ ──frames──▶ the links' sinks
//!   the end ──drain──────▶ └─────┘ ──▶ how many nodes are there
//! ```
//!
//! Invariants: [`Controller`] is told everything in the order in which it happened; its outputs are carried out before
//! the next event; links are heard in rounds ([`super::rounds`]), so that one that says much holds up no other; a link that
//! does not read costs its own calls, then itself, never another link. What was said by a
//! link that is closed is not heard any more. Nothing here waits but for the next event.

use std::collections::HashSet;
use std::time::Instant;

use daffi_proto::controller::{Controller, ControllerConfig, Event as Told, Input, Output};
use daffi_proto::frame::Frame;
use daffi_proto::id::LinkId;
use daffi_proto::session::PeerIdentity;
use foldhash::HashMap;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::alarm::Alarm;
use super::handle::passing::pass_on;
use super::link::{FrameSink, FrameSource, Link, LinkEnd, LinkLimits, NotTaken, recv};
use super::pipe;
use super::rounds::{Batch, Places, Rounds, Said};
use super::uplink::{Dialing, Order};

/// Links that were accepted and wait to be taken in.
const MAX_NEW_LINKS: usize = 64;

/// Batches of frames that wait to be handled; each is what one read brought.
const MAX_BATCHES: usize = 256;

/// Most batches that are taken in one go.
const BATCHES_AT_ONCE: usize = 32;

/// Most frames that are handled before what they gave to send is sent, and something else has its turn.
const FRAMES_AT_ONCE: usize = 1024;

/// Who wait to be told that the hub is drained, and have not been heard yet.
const MAX_DRAINS: usize = 4;

/// A link for the controller.
pub struct NewLink {
    /// The link.
    pub link: Link,
    /// Who is there, as far as the transport knows.
    pub identity: PeerIdentity,
    /// The link's place among those that a listener allows, given back when the link ends.
    pub place: Option<OwnedSemaphorePermit>,
}

/// What others hold of a hub.
#[derive(Clone)]
pub struct HubHandle {
    new_links: mpsc::Sender<NewLink>,
    drains: mpsc::Sender<oneshot::Sender<()>>,
    nodes: watch::Receiver<usize>,
}

impl HubHandle {
    /// Gives the controller a link.
    pub async fn add(&self, link: NewLink) {
        let _ = self.new_links.send(link).await;
    }

    /// Passes on no new calls from now on. Resolves when no call is on its way through here. Bound it with a timeout.
    pub async fn drain(&self) {
        let (reply, drained) = oneshot::channel();
        if self.drains.send(reply).await.is_ok() {
            let _ = drained.await;
        }
    }

    /// How many nodes of other runtimes are there.
    pub fn nodes(&self) -> watch::Receiver<usize> {
        self.nodes.clone()
    }
}

/// What happens to the hub.
enum Event {
    NewLink(NewLink),
    /// Batches are in the hub's `batches_taken`.
    Batches,
    /// Not all was heard that links have said.
    Round,
    /// Somebody wants it drained.
    Drain(oneshot::Sender<()>),
    Alarm,
    Cancelled,
}

/// See the module.
pub struct Hub {
    controller: Controller,
    epoch: Instant,
    alarm: Alarm,
    new_links: mpsc::Receiver<NewLink>,
    batches: mpsc::Receiver<Batch>,
    batches_taken: Vec<Batch>,
    rounds: Rounds,
    pumps: mpsc::Sender<Batch>,
    drain_requests: mpsc::Receiver<oneshot::Sender<()>>,
    drained: bool,
    drains: Vec<oneshot::Sender<()>>,
    links: HashMap<LinkId, Open>,
    last_link: u64,
    /// Links with something to flush.
    unflushed: Vec<LinkId>,
    /// Links of other runtimes' nodes that have joined.
    joined: HashSet<LinkId>,
    /// The link of another runtime's node whose frame is being handled.
    heard: Option<LinkId>,
    /// The link whose peer was the last to close his between two frames.
    hung_up: Option<LinkId>,
    nodes: watch::Sender<usize>,
    tasks: TaskTracker,
}

/// A link that is open.
struct Open {
    sink: Box<dyn FrameSink>,
    unflushed: bool,
    /// Ends the pump.
    pump: CancellationToken,
    place: Option<OwnedSemaphorePermit>,
}

impl Hub {
    /// A hub and the handle to it. The links' pumps and the rest of closed links are tasks of `tasks`.
    pub fn new(config: ControllerConfig, tasks: TaskTracker) -> (HubHandle, Self) {
        let (new_links_in, new_links) = mpsc::channel(MAX_NEW_LINKS);
        let (pumps, batches) = mpsc::channel(MAX_BATCHES);
        let (drain_requests_in, drain_requests) = mpsc::channel(MAX_DRAINS);
        let (nodes, nodes_now) = watch::channel(0);
        let epoch = Instant::now();
        let hub = Self {
            controller: Controller::new(config),
            epoch,
            alarm: Alarm::new(epoch),
            new_links,
            batches,
            batches_taken: Vec::with_capacity(BATCHES_AT_ONCE),
            rounds: Rounds::default(),
            pumps,
            drain_requests,
            drained: false,
            drains: Vec::new(),
            links: HashMap::default(),
            last_link: 0,
            unflushed: Vec::new(),
            joined: HashSet::new(),
            heard: None,
            hung_up: None,
            nodes,
            tasks,
        };
        (HubHandle { new_links: new_links_in, drains: drain_requests_in, nodes: nodes_now }, hub)
    }

    /// Runs until it is cancelled; then it says goodbye on all links.
    pub async fn run(mut self, cancel: CancellationToken) {
        loop {
            match self.next_event(&cancel).await {
                Event::Cancelled => break,
                event => self.handle(event),
            }
            if !self.rounds.is_empty() {
                // Without this, nobody else in this thread would have a turn.
                tokio::task::yield_now().await;
            }
        }
        let all: Vec<LinkId> = self.links.keys().copied().collect();
        for link in all {
            self.send(link, Frame::close("the controller ends"));
            self.close(link);
        }
    }

    /// Cancel safe, as its parts are.
    async fn next_event(&mut self, cancel: &CancellationToken) -> Event {
        self.alarm.set(self.controller.next_timeout());
        tokio::select! {
            // Both senders are held by this very hub, or by a handle whose end is no reason to stop.
            Some(link) = self.new_links.recv() => Event::NewLink(link),
            _ = self.batches.recv_many(&mut self.batches_taken, BATCHES_AT_ONCE) => Event::Batches,
            () = std::future::ready(()), if !self.rounds.is_empty() => Event::Round,
            Some(reply) = self.drain_requests.recv() => Event::Drain(reply),
            () = self.alarm.rings() => Event::Alarm,
            () = cancel.cancelled() => Event::Cancelled,
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::NewLink(link) => self.take_in(link),
            Event::Batches => {
                self.batches_taken.drain(..).for_each(|batch| self.rounds.add(batch));
                self.hear();
            }
            Event::Round => self.hear(),
            Event::Drain(reply) if self.drained => drop(reply.send(())),
            Event::Drain(reply) => {
                self.drains.push(reply);
                self.tell(Input::Drain);
            }
            Event::Alarm => self.tell(Input::Timer),
            Event::Cancelled => {}
        }
        self.carry_out();
        self.flush();
    }

    fn tell(&mut self, input: Input) {
        self.controller.handle(self.epoch.elapsed(), input);
    }

    fn take_in(&mut self, NewLink { link, identity, place }: NewLink) {
        self.last_link += 1;
        let id = LinkId(self.last_link);
        let pump = CancellationToken::new();
        self.tasks.spawn(pump_frames(id, link.source, self.pumps.clone(), pump.clone()));
        let open = Open { sink: link.sink, unflushed: false, pump, place };
        self.links.insert(id, open);
        self.tell(Input::Accepted { link: id, identity });
    }

    /// Hears what links have said, as much as may be heard at once.
    fn hear(&mut self) {
        for _ in 0..FRAMES_AT_ONCE {
            let Some((link, said)) = self.rounds.next() else { return };
            if !self.links.contains_key(&link) {
                self.rounds.forget(link); // said before it was closed
                continue;
            }
            match said {
                Said::Frame(frame) => {
                    self.heard = self.joined.contains(&link).then_some(link);
                    self.tell(Input::Frame { link, frame });
                }
                Said::Something => self.tell(Input::Heard { link }),
                Said::End(end) => {
                    if let LinkEnd::Garbage(error) = &end {
                        // The peer is told why; the log, by the controller's event.
                        self.send(link, Frame::close(&error.to_string()));
                    }
                    self.hung_up = matches!(end, LinkEnd::Closed).then_some(link);
                    self.tell(Input::Closed { link, reason: end.to_string() });
                    self.carry_out();
                    self.close(link);
                }
            }
            self.carry_out();
            self.heard = None;
        }
    }

    /// Does what the controller wants, until it wants nothing more.
    fn carry_out(&mut self) {
        while let Some(output) = self.controller.poll_output() {
            match output {
                Output::Send { link, frame } => {
                    if self.heard.is_some_and(|from| from != link && self.joined.contains(&link)) {
                        pass_on();
                    }
                    self.send(link, frame);
                }
                Output::Close { link, reason } => {
                    tracing::debug!("closing link {}: {reason}", link.0);
                    self.close(link);
                }
                Output::Drained => {
                    self.drained = true;
                    self.drains.drain(..).for_each(|drain| drain.send(()).unwrap_or(()));
                }
                Output::Event(told) => self.log(told),
            }
        }
    }

    fn send(&mut self, link: LinkId, frame: Frame) {
        let Some(open) = self.links.get_mut(&link) else { return };
        match open.sink.send(frame) {
            Ok(()) if open.unflushed => {}
            Ok(()) => {
                open.unflushed = true;
                self.unflushed.push(link);
            }
            Err(NotTaken(frame)) => self.tell(Input::NotSent { link, frame: *frame }),
        }
    }

    fn flush(&mut self) {
        while let Some(link) = self.unflushed.pop() {
            let Some(open) = self.links.get_mut(&link) else { continue };
            open.unflushed = false;
            // One that is mute is heard out: its pump tells the end.
            let _ = open.sink.flush();
        }
    }

    /// Closes a link when what was to be sent is, without waiting for it.
    fn close(&mut self, link: LinkId) {
        let Some(open) = self.links.remove(&link) else { return };
        self.rounds.forget(link);
        open.pump.cancel();
        let closed = open.sink.close();
        let place = open.place;
        self.tasks.spawn(async move {
            closed.await;
            drop(place);
        });
    }

    fn log(&mut self, told: Told) {
        match told {
            Told::Joined { node, identity, client: true, .. } => tracing::debug!("{node} ({identity}) looks in"),
            Told::Joined { link, node, identity, client: false } => {
                if identity == PeerIdentity::InProcess {
                    return;
                }
                tracing::info!("{node} joined ({identity})");
                self.joined.insert(link);
                self.nodes.send_replace(self.joined.len());
            }
            Told::Left { link, node, reason, orderly } => {
                if self.joined.remove(&link) {
                    if orderly {
                        tracing::info!("{node} left");
                    } else {
                        tracing::warn!("lost {node}: {reason}");
                    }
                    self.nodes.send_replace(self.joined.len());
                }
            }
            // Such as somebody who only looks whether anybody listens.
            Told::TurnedAway { link, identity, .. } if self.hung_up == Some(link) => {
                tracing::debug!("{identity} went without a word");
            }
            Told::TurnedAway { identity, reason, .. } => tracing::warn!("turned {identity} away: {reason}"),
            Told::Registered { process, node, callbacks } => {
                tracing::debug!("{process} of {node} is on the mesh, with {callbacks} callbacks");
            }
            Told::NotRegistered { process, node, reason } => {
                tracing::warn!("{process} of {node} was refused: {reason}");
            }
            Told::Unregistered { process, node } => tracing::debug!("{process} of {node} left the mesh"),
        }
    }
}

/// Carries a link's frames to the hub until the link ends or is closed.
async fn pump_frames(
    link: LinkId,
    mut source: Box<dyn FrameSource>,
    batches: mpsc::Sender<Batch>,
    cancel: CancellationToken,
) {
    let places = Places::new();
    loop {
        let mut frames = places.frames();
        let (place, received) = tokio::select! {
            received = async { (places.next().await, recv(&mut *source, &mut frames).await) } => received,
            () = cancel.cancelled() => return,
        };
        let Some(place) = place else { return };
        let ended = received.is_err();
        let batch = Batch { link, frames: received.map(|()| frames), place };
        if batches.send(batch).await.is_err() || ended {
            return;
        }
    }
}

/// Gives the runtime's own node its links to the controller, for as long as the node wants any.
pub async fn join_in_memory(hub: HubHandle, limits: LinkLimits, mut dialing: Dialing, cancel: CancellationToken) {
    loop {
        let order = tokio::select! {
            order = dialing.order() => order,
            () = cancel.cancelled() => return,
        };
        match order {
            None => return,
            Some(Order::LinkWasGood) => {}
            Some(Order::Dial) => {
                let (near, far) = pipe::pair(limits);
                hub.add(NewLink { link: far, identity: PeerIdentity::InProcess, place: None }).await;
                dialing.connected(near).await;
            }
        }
    }
}
