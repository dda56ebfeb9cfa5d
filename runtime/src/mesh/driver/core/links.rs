//! The outgoing directions of a core's links, and what becomes of the link to the controller.

use std::task::Context;

use daffi_proto::frame::{Frame, Header};
use daffi_proto::node::{Input, Via};

use super::super::super::link::{FrameSink, LinkEnd, NotTaken};
use super::super::super::uplink::Order;
use super::{Core, LinkNumber};

impl Core {
    /// There is a link. Gives its number.
    pub(in crate::mesh::driver) fn take_link_in(&mut self, sink: Box<dyn FrameSink>) -> LinkNumber {
        self.links = LinkNumber(self.links.0.wrapping_add(1));
        self.link = Some((self.links, sink));
        self.tell(Input::LinkUp);
        self.links
    }

    fn sink(&self, via: Via) -> Option<&dyn FrameSink> {
        match via {
            Via::Controller => self.link.as_ref().map(|(_, sink)| sink.as_ref()),
            Via::To(_) | Via::From(_) => self.directs.get(via),
        }
    }

    pub(super) fn send(&mut self, via: Via, frame: Frame) {
        let is_of_stream = matches!(frame.header, Header::Items { .. });
        let Some(sink) = self.sink(via) else { return };
        if let Err(NotTaken(frame)) = sink.send(frame) {
            return self.tell(Input::NotSent { via, frame: *frame });
        }
        let is_full = is_of_stream && !self.congested.contains(&via) && !sink.has_room();
        self.unflushed = true;
        if via != Via::Controller {
            self.directs.note_sent(via);
        }
        if is_full {
            self.set_congested(via, true);
        }
    }

    /// Whether a link on which streams wait has room for them; where none has, whoever asks is woken when one has.
    pub(in crate::mesh::driver) fn has_room(&self, cx: &mut Context<'_>) -> bool {
        let mut is_ready = |via: &Via| self.sink(*via).is_none_or(|sink| sink.poll_room(cx).is_ready());
        // All of them are asked: each keeps its waker.
        self.congested.iter().filter(|via| is_ready(via)).count() > 0
    }

    /// Lets streams go on where there is room for them; whether there was any.
    pub(in crate::mesh::driver) fn take_room(&mut self) -> bool {
        let has_room = |via: &Via| self.sink(*via).is_none_or(FrameSink::has_room);
        let free: Vec<Via> = self.congested.iter().copied().filter(has_room).collect();
        for via in &free {
            self.set_congested(*via, false);
        }
        !free.is_empty()
    }

    pub(in crate::mesh::driver) fn set_congested(&mut self, via: Via, congested: bool) {
        let changed = if congested { self.congested.insert(via) } else { self.congested.remove(&via) };
        if changed {
            self.congestions = self.congestions.wrapping_add(u64::from(congested));
            self.tell(Input::Congested { via, congested });
        }
    }

    /// Sends off what was sent, and what streams have to send behind it, for as long as the links take all of it and the turn is
    /// not over: to find out later that they did would take an event for each of their chunks.
    pub(in crate::mesh::driver) fn send_off(&mut self) {
        self.flush();
        while !self.congested.is_empty() && self.take_room() {
            self.carry_out();
            if !self.unflushed {
                return;
            }
            self.flush();
        }
    }

    /// Sends off what was sent.
    pub(in crate::mesh::driver) fn flush(&mut self) {
        self.last_flush = self.now;
        self.unflushed = false;
        self.mute = self.link.as_ref().is_some_and(|(_, sink)| sink.flush().is_err());
        self.directs.flush();
    }

    /// Nothing more arrives.
    pub(in crate::mesh::driver) fn lose_link(&mut self, end: &LinkEnd) {
        if let (LinkEnd::Garbage(error), Some((_, sink))) = (end, &self.link) {
            // Tell the peer, who is defective, why.
            let _ = sink.send(Frame::close(&error.to_string()));
            let _ = sink.flush();
        }
        if self.take_link().is_some() {
            let reason = end.to_string();
            self.news.detail(&reason);
            self.tell(Input::LinkDown(reason));
            self.dial();
        }
    }

    /// The node wants the link closed, when all that was to be sent before is.
    pub(super) fn close_link(&mut self, reason: &str, again: bool) {
        let Some(sink) = self.take_link() else { return };
        self.news.detail(&format!("closing the link: {reason}"));
        let leaves = std::mem::take(&mut self.leaves);
        let closed = sink.close();
        self.tasks.spawn(async move {
            closed.await;
            leaves.into_iter().for_each(|leave| leave.send(()).unwrap_or(()));
        });
        if again {
            self.dial();
        }
    }

    /// Forgets the link. Whoever hears it sees by its number that it is no more.
    fn take_link(&mut self) -> Option<Box<dyn FrameSink>> {
        self.set_congested(Via::Controller, false);
        self.link.take().map(|(_, sink)| sink)
    }

    pub(super) fn dial(&mut self) {
        self.dialing = true;
        self.orders.send(Order::Dial);
    }
}
