//! The direct links of a driver: their two directions, and what has come over them and is not done.

use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use daffi_proto::frame::Frame;
use daffi_proto::grants::NodeGrants;
use daffi_proto::node::{Input, Via};
use futures::FutureExt;
use futures::stream::{SelectAll, Stream};

use super::super::direct::{Arrival, DialOrder};
use super::super::link::{FrameSink, FrameSource, Link, LinkEnd};
use super::core::Core;

/// The outgoing directions.
#[derive(Default)]
pub(super) struct Sinks {
    sinks: BTreeMap<Via, Box<dyn FrameSink>>,
    /// Those with something to flush.
    unflushed: Vec<Via>,
}

impl Sinks {
    pub fn get(&self, via: Via) -> Option<&dyn FrameSink> {
        self.sinks.get(&via).map(Box::as_ref)
    }

    pub fn add(&mut self, via: Via, sink: Box<dyn FrameSink>) {
        self.sinks.insert(via, sink);
    }

    pub fn take(&mut self, via: Via) -> Option<Box<dyn FrameSink>> {
        self.unflushed.retain(|other| *other != via);
        self.sinks.remove(&via)
    }

    /// Something was sent.
    pub fn note_sent(&mut self, via: Via) {
        if !self.unflushed.contains(&via) {
            self.unflushed.push(via);
        }
    }

    pub fn flush(&mut self) {
        for via in self.unflushed.drain(..) {
            if let Some(sink) = self.sinks.get(&via) {
                // One that is mute is heard out: its source tells the end.
                let _ = sink.flush();
            }
        }
    }
}

/// The incoming direction of one link.
struct Incoming {
    via: Via,
    /// None, once it has ended.
    source: Option<Box<dyn FrameSource>>,
}

impl Stream for Incoming {
    type Item = (Via, Result<Vec<Frame>, LinkEnd>);

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(source) = self.source.as_mut() else { return Poll::Ready(None) };
        let mut frames = Vec::new();
        let read = std::task::ready!(source.poll_recv(cx, &mut frames));
        if read.is_err() {
            self.source = None;
        }
        Poll::Ready(Some((self.via, read.map(|()| frames))))
    }
}

/// What came over a direct link.
enum Said {
    Frame(Frame),
    /// A part of a frame: the other side lives.
    Something,
    End(LinkEnd),
}

/// The incoming directions of all of them, each in its turn.
#[derive(Default)]
pub(super) struct Sources {
    open: SelectAll<Incoming>,
    left: VecDeque<(Via, Said)>,
}

impl Sources {
    /// Whether something has come that is not done.
    pub fn is_behind(&self) -> bool {
        !self.left.is_empty()
    }

    /// Waits for what comes over any of them, while nothing is left; false when there are none. Cancel safe.
    pub async fn next(&mut self) -> bool {
        if !self.left.is_empty() {
            return true;
        }
        let Some((via, read)) = futures::StreamExt::next(&mut self.open).await else { return false };
        match read {
            Ok(frames) if frames.is_empty() => self.left.push_back((via, Said::Something)),
            Ok(frames) => self.left.extend(frames.into_iter().map(|frame| (via, Said::Frame(frame)))),
            Err(end) => self.left.push_back((via, Said::End(end))),
        }
        true
    }

    /// Tells the node of what has come by now, for one turn.
    pub fn hear_first(&mut self, core: &mut Core) {
        if !self.open.is_empty() {
            self.next().now_or_never();
            self.hear(core);
        }
    }

    /// Tells the node of it, for one turn.
    pub fn hear(&mut self, core: &mut Core) {
        while core.has_turn()
            && let Some((via, said)) = self.left.pop_front()
        {
            match said {
                Said::Frame(frame) => core.tell(Input::Frame { via, frame }),
                Said::Something => core.tell(Input::Heard(via)),
                Said::End(end) => core.lose_direct(via, &end),
            }
            core.carry_out();
        }
    }

    /// A link has come, or will not.
    pub fn take(&mut self, core: &mut Core, Arrival { via, link, grants }: Arrival) {
        match link {
            Ok(Link { sink, source }) => {
                self.open.push(Incoming { via, source: Some(source) });
                core.take_direct(via, sink, grants);
            }
            Err(reason) => core.tell(Input::DirectDown { via, reason }),
        }
    }
}

impl Core {
    fn take_direct(&mut self, via: Via, sink: Box<dyn FrameSink>, grants: Option<Arc<NodeGrants>>) {
        self.directs.add(via, sink);
        self.tell(Input::DirectUp { via, grants });
    }

    /// Nothing more arrives over a direct link.
    fn lose_direct(&mut self, via: Via, end: &LinkEnd) {
        let Some(sink) = self.directs.take(via) else { return };
        if let LinkEnd::Garbage(error) = end {
            // Tell the peer, who is defective, why.
            let _ = sink.send(Frame::close(&error.to_string()));
            let _ = sink.flush();
        }
        let reason = end.to_string();
        tracing::debug!("a direct link ended: {reason}");
        self.set_congested(via, false);
        self.tell(Input::DirectDown { via, reason });
    }

    /// The node wants a link closed, when all that was to be sent before is.
    pub(super) fn close_direct(&mut self, via: Via, reason: &str) {
        tracing::debug!("closing a direct link: {reason}");
        self.set_congested(via, false);
        if let Some(sink) = self.directs.take(via) {
            self.tasks.spawn(sink.close());
        }
    }

    /// The node wants one to another node.
    pub(super) fn dial_directly(&mut self, order: DialOrder) {
        let via = Via::To(order.link);
        let refused = match &self.dials {
            Some(dials) => dials.try_send(order).err().map(|_| "too many are dialed at a time"),
            None => Some("this runtime opens none"),
        };
        if let Some(reason) = refused {
            self.tell(Input::DirectDown { via, reason: reason.to_owned() });
        }
    }
}
