//! The node's link to the controller.
//!
//! ```text
//!   Down ──LinkUp / Hello──▶ Greeting ──Welcome / Register …──▶ Up, syncing ──Synced──▶ Up, synced
//!     ▲                          │                                  │                      │ all registered:
//!     └──── LinkDown, fault, silence, Refused ──────────────────────┴──────────────────────┘ Connected
//! ```
//!
//! Whatever was in flight over a link ends with it: calls with `unknown`, served calls by cancellation. What goes over direct
//! links goes on without this one.

use std::time::Duration;

use bytes::Bytes;

use super::visits::Visitor;
use super::{Node, Output, Via, Wire, outcome};
use crate::error::code;
use crate::frame::{Frame, Header, Side, plain};
use crate::id::SessionId;
use crate::session::{FEATURES, HANDSHAKE_TIMEOUT, Hello, LinkFault, Liveness, PROTOCOL_VERSION, Pulse};

/// How it stands with the link.
#[derive(Debug)]
pub(super) enum Link {
    Down,
    /// The `Hello` is on its way.
    Greeting {
        until: Duration,
    },
    Up(Up),
}

/// A link after the handshake.
#[derive(Debug)]
pub(super) struct Up {
    liveness: Liveness,
    /// Names this stay.
    pub session: SessionId,
    pub synced: bool,
    pub connected: bool,
    /// The controller ends soon and passes on no new calls.
    pub draining: bool,
    pub max_payload_bytes: u64,
    pub grace: Duration,
}

impl Link {
    pub fn up(&self) -> Option<&Up> {
        match self {
            Self::Up(up) => Some(up),
            Self::Down | Self::Greeting { .. } => None,
        }
    }

    pub fn up_mut(&mut self) -> Option<&mut Up> {
        match self {
            Self::Up(up) => Some(up),
            Self::Down | Self::Greeting { .. } => None,
        }
    }

    pub fn is_synced(&self) -> bool {
        self.up().is_some_and(|up| up.synced)
    }

    pub fn next_check(&self) -> Option<Duration> {
        match self {
            Self::Down => None,
            Self::Greeting { until } => Some(*until),
            Self::Up(up) => Some(up.liveness.next_check()),
        }
    }
}

impl Node {
    pub(super) fn link_up(&mut self) {
        if !matches!(self.link, Link::Down) {
            self.lose_link("another link took its place");
        }
        if let Some(reason) = self.shut.clone() {
            self.outputs.push_back(Output::CloseLink { reason, again: false });
            return;
        }
        self.link = Link::Greeting { until: self.now + HANDSHAKE_TIMEOUT };
        let hello = Hello {
            features: FEATURES,
            key: self.config.key,
            name: self.config.name.clone(),
            role: self.config.role,
            max_payload_bytes: self.config.max_payload_bytes as u64,
            tenants: self.config.tenants.clone(),
            imports: self.config.imports.clone(),
        };
        let header = Header::Hello { version: PROTOCOL_VERSION };
        self.send(Frame::with_payload(header, Frame::encode_payload(&hello)));
    }

    pub(super) fn link_down(&mut self, reason: &str) {
        if !matches!(self.link, Link::Down) {
            self.lose_link(reason);
        }
    }

    pub(super) fn take_frame(&mut self, via: Via, frame: Frame) {
        self.heard(via, frame.header == Header::Ping);
        let taken = match (via, &self.link) {
            (Via::To(id), _) => self.take_road_frame(id, frame),
            (Via::From(id), _) => self.take_visit_frame(id, frame),
            (Via::Controller, Link::Down) => Ok(()), // what was on its way when the link was closed
            (Via::Controller, Link::Greeting { .. }) => self.take_greeting(frame),
            (Via::Controller, Link::Up(_)) => self.take_news(frame),
        };
        if let Err(fault) = taken {
            self.close_faulty(via, &fault);
        }
    }

    /// Bytes came, of a ping or of anything else.
    pub(super) fn heard(&mut self, via: Via, ping: bool) {
        let now = self.now;
        match via {
            Via::To(id) => return self.heard_road(id, ping),
            Via::From(id) => return self.heard_visitor(id, ping),
            Via::Controller => {}
        }
        if self.link.up_mut().is_some_and(|up| up.liveness.heard(now, ping)) {
            self.send(Frame::new(Header::Pong));
        }
    }

    /// The frames that answer a `Hello`.
    fn take_greeting(&mut self, frame: Frame) -> Result<(), LinkFault> {
        match frame.header {
            Header::Welcome { session, heartbeat_ms, missed_heartbeats, grace_ms, max_payload_bytes, .. } => {
                let every = Duration::from_millis(heartbeat_ms.into());
                let liveness = Liveness::new(self.now, every, missed_heartbeats);
                let grace = Duration::from_millis(grace_ms.into());
                self.link = Link::Up(Up {
                    liveness,
                    session,
                    synced: false,
                    connected: false,
                    draining: false,
                    max_payload_bytes,
                    grace,
                });
                if self.draining {
                    self.send(Frame::new(Header::Drain));
                }
                if !self.config.reachable_at.is_empty() {
                    self.send(Frame::new(Header::Reachable { at: self.config.reachable_at.clone() }));
                }
                self.register_all();
                Ok(())
            }
            Header::Refused { code, message, retryable } => {
                let (code, message) = (plain(&code), plain(&message));
                self.close(&message, retryable);
                if !retryable {
                    self.shut = Some(message.clone());
                    self.outputs.push_back(Output::Refused { code, message });
                    self.wake_all();
                }
                Ok(())
            }
            Header::Close { reason } => {
                self.close(&format!("the controller closed the link: {}", plain(&reason)), true);
                Ok(())
            }
            header => Err(LinkFault::unexpected(&header, "before the handshake was answered")),
        }
    }

    /// The frames of a link that is up.
    fn take_news(&mut self, frame: Frame) -> Result<(), LinkFault> {
        let wire = |id| Wire { via: Via::Controller, id };
        match frame.header {
            Header::Ping | Header::Pong => {}
            Header::Registered { number, entry } => self.registered(number, entry),
            Header::NotRegistered { number, code, message, retryable } => {
                self.not_registered(number, &code, &message, retryable);
            }
            Header::Entry { entry, process, node, instances, groups, exports, host } => {
                let record = (process, node.as_str(), instances.as_str());
                if let Some(host) = host {
                    self.roads.note_host(entry, host);
                }
                return self.take_entry(entry, record, groups, &exports, &frame.payload);
            }
            Header::Gone { entry } => self.take_gone(entry),
            Header::Synced => self.take_synced(),
            header @ Header::Call { .. } => return self.take_call(header, frame.payload),
            Header::Cancel { id, lost } => self.take_cancel(wire(id), lost),
            Header::Accepted { id, process } => self.take_reply(wire(id), process, None, Bytes::new()),
            Header::Reply { id, process, open, channels } => {
                self.take_reply(wire(id), process, open.then_some(channels), frame.payload);
            }
            Header::Ended { id } => self.take_ended(wire(id)),
            Header::Items { .. }
            | Header::End { .. }
            | Header::Grant { .. }
            | Header::Done { .. }
            | Header::Halt { .. }
            | Header::Want { .. } => {
                if let Some((stream, message)) = frame.into_stream(|detail| outcome::garbled(&detail, String::new())) {
                    self.take_stream(Via::Controller, stream, message);
                }
            }
            Header::Meeting { session, at, ticket, identity } => self.take_meeting(session, at, ticket, identity),
            Header::Expect { session, node, ticket, mark, max_payload_bytes, identity } => {
                self.take_expect(session, Visitor::new(&node, ticket, mark, max_payload_bytes, identity));
            }
            Header::Vouch { session, number, process } => self.take_vouch(session, number, process),
            Header::Unvouch { session, number } => self.take_unvouch(session, number),
            Header::Forget { session } => self.take_forget(session),
            Header::Fail { id, .. } => {
                // One that cannot be read is that call's misfortune: the other calls of this link go on.
                let error =
                    frame.decode_payload().unwrap_or_else(|error| outcome::garbled(&error.to_string(), String::new()));
                self.take_fail(wire(id), error);
            }
            Header::Loads { id } => {
                let list = frame.decode_payload()?;
                self.take_loads(id, list);
            }
            Header::Drain => {
                if let Some(up) = self.link.up_mut() {
                    up.draining = true;
                }
            }
            Header::Close { reason } => {
                self.close(&format!("the controller closed the link: {}", plain(&reason)), true);
            }
            header @ (Header::Hello { .. }
            | Header::Welcome { .. }
            | Header::Refused { .. }
            | Header::Register { .. }
            | Header::Unregister { .. }
            | Header::Load { .. }
            | Header::Usage { .. }
            | Header::ListLoads { .. }
            | Header::Reachable { .. }
            | Header::Meet { .. }
            | Header::Visit { .. }
            | Header::Known { .. }
            | Header::Busy { .. }
            | Header::Leave) => return Err(LinkFault::unexpected(&header, "from the controller")),
        }
        Ok(())
    }

    /// A frame of a stream of a call over a direct link, from the side that this one is.
    pub(super) fn take_stream_frame(
        &mut self,
        via: Via,
        from: Side,
        frame: Frame,
        place: &'static str,
    ) -> Result<(), LinkFault> {
        match &frame.header {
            Header::Items { stream, .. }
            | Header::End { stream, .. }
            | Header::Grant { stream, .. }
            | Header::Done { stream }
            | Header::Halt { stream }
            | Header::Want { stream, .. }
                if stream.from == from => {}
            header => return Err(LinkFault::unexpected(header, place)),
        }
        if let Some((stream, message)) = frame.into_stream(|detail| outcome::garbled(&detail, String::new())) {
            self.take_stream(via, stream, message);
        }
        Ok(())
    }

    pub(super) fn check_link(&mut self) {
        let now = self.now;
        match &mut self.link {
            Link::Greeting { until } if *until <= now => {
                self.close_faulty(Via::Controller, &LinkFault::HandshakeTimeout);
            }
            Link::Up(up) => match up.liveness.check(now) {
                Pulse::Fine => {}
                Pulse::Ping => self.send(Frame::new(Header::Ping)),
                Pulse::Dead => {
                    let silence_ms = up.liveness.silence(now).as_millis();
                    self.close_faulty(Via::Controller, &LinkFault::Silent { silence_ms });
                }
            },
            Link::Down | Link::Greeting { .. } => {}
        }
    }

    /// Closes a link whose peer, or whose silence, asks for it.
    pub(super) fn close_faulty(&mut self, via: Via, fault: &LinkFault) {
        let reason = fault.to_string();
        if !matches!(fault, LinkFault::Clogged(_)) {
            self.send_over(via, Frame::close(&reason));
        }
        match via {
            Via::Controller => self.close(&reason, true),
            Via::To(id) => self.drop_road(id, &reason, true),
            Via::From(id) => self.drop_visit(id, &reason, true),
        }
    }

    pub(super) fn close(&mut self, reason: &str, again: bool) {
        self.outputs.push_back(Output::CloseLink { reason: reason.to_owned(), again });
        self.lose_link(reason);
    }

    /// Says goodbye.
    pub(super) fn leave(&mut self) {
        if self.shut.is_some() {
            return;
        }
        let reason = "this runtime left the mesh";
        self.shut = Some(reason.to_owned());
        if self.link.up().is_some() {
            self.send(Frame::new(Header::Leave));
        }
        if !matches!(self.link, Link::Down) {
            self.close(reason, false);
        }
        self.leave_roads();
        self.leave_visits();
        self.wake_all();
    }

    /// The link is gone: everything that went over it ends.
    fn lose_link(&mut self, reason: &str) {
        let former = std::mem::replace(&mut self.link, Link::Down);
        self.unlinked = Some(reason.to_owned());
        self.answer_lists();
        self.forget_registrations();
        self.keep_stale();
        self.cancel_incoming(Via::Controller, reason);
        self.schedules.forget_link();
        self.fail_remote_calls(Via::Controller, code::LINK_LOST, reason);
        self.lose_exchanges(Via::Controller, reason);
        self.forget_roads();
        self.forget_visitors();
        if former.up().is_some_and(|up| up.connected) {
            self.outputs.push_back(Output::Disconnected { reason: reason.to_owned() });
        }
    }
}
