//! The node's link to the controller.
//!
//! ```text
//!   Down ──LinkUp / Hello──▶ Greeting ──Welcome / Register …──▶ Up, syncing ──Synced──▶ Up, synced
//!     ▲                          │                                  │                      │ all registered:
//!     └──── LinkDown, fault, silence, Refused ──────────────────────┴──────────────────────┘ Connected
//! ```
//!
//! Whatever was in flight over a link ends with it: calls with `unknown`, served calls by cancellation.

use std::time::Duration;

use bytes::Bytes;

use super::{Node, Output, outcome};
use crate::error::code;
use crate::frame::{Frame, Header, plain};
use crate::id::CallId;
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
    pub synced: bool,
    pub connected: bool,
    /// The controller ends soon and passes on no new calls.
    pub draining: bool,
    pub max_payload_bytes: u64,
    pub grace: Duration,
    pub last_incoming: Option<CallId>,
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

    pub(super) fn take_frame(&mut self, frame: Frame) {
        self.heard(frame.header == Header::Ping);
        let taken = match &self.link {
            Link::Down => Ok(()), // what was on its way when the link was closed
            Link::Greeting { .. } => self.take_greeting(frame),
            Link::Up(_) => self.take_news(frame),
        };
        if let Err(fault) = taken {
            self.close_faulty(&fault);
        }
    }

    /// Bytes came, of a ping or of anything else.
    pub(super) fn heard(&mut self, ping: bool) {
        let now = self.now;
        if self.link.up_mut().is_some_and(|up| up.liveness.heard(now, ping)) {
            self.send(Frame::new(Header::Pong));
        }
    }

    /// The frames that answer a `Hello`.
    fn take_greeting(&mut self, frame: Frame) -> Result<(), LinkFault> {
        match frame.header {
            Header::Welcome { heartbeat_ms, missed_heartbeats, grace_ms, max_payload_bytes, .. } => {
                let every = Duration::from_millis(heartbeat_ms.into());
                let liveness = Liveness::new(self.now, every, missed_heartbeats);
                let grace = Duration::from_millis(grace_ms.into());
                self.link = Link::Up(Up {
                    liveness,
                    synced: false,
                    connected: false,
                    draining: false,
                    max_payload_bytes,
                    grace,
                    last_incoming: None,
                });
                if self.draining {
                    self.send(Frame::new(Header::Drain));
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
        match frame.header {
            Header::Ping | Header::Pong => {}
            Header::Registered { number, entry } => self.registered(number, entry),
            Header::NotRegistered { number, code, message, retryable } => {
                self.not_registered(number, &code, &message, retryable);
            }
            Header::Entry { entry, process, node, instances, groups, exports } => {
                let record = (process, node.as_str(), instances.as_str());
                return self.take_entry(entry, record, groups, &exports, &frame.payload);
            }
            Header::Gone { entry } => self.take_gone(entry),
            Header::Synced => self.take_synced(),
            header @ Header::Call { .. } => return self.take_call(header, frame.payload),
            Header::Cancel { id, lost } => self.take_cancel(id, lost),
            Header::Accepted { id, process } => self.take_reply(id, process, None, Bytes::new()),
            Header::Reply { id, process, open, channels } => {
                self.take_reply(id, process, open.then_some(channels), frame.payload);
            }
            Header::Ended { id } => self.take_ended(id),
            Header::Items { .. }
            | Header::End { .. }
            | Header::Grant { .. }
            | Header::Done { .. }
            | Header::Halt { .. }
            | Header::Want { .. } => {
                if let Some((stream, message)) = frame.into_stream(|detail| outcome::garbled(&detail, String::new())) {
                    self.take_stream(stream, message);
                }
            }
            Header::Fail { id, .. } => {
                // One that cannot be read is that call's misfortune: the other calls of this link go on.
                let error =
                    frame.decode_payload().unwrap_or_else(|error| outcome::garbled(&error.to_string(), String::new()));
                self.take_fail(id, error);
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
            | Header::Leave) => return Err(LinkFault::unexpected(&header, "from the controller")),
        }
        Ok(())
    }

    pub(super) fn check_link(&mut self) {
        let now = self.now;
        match &mut self.link {
            Link::Greeting { until } if *until <= now => self.close_faulty(&LinkFault::HandshakeTimeout),
            Link::Up(up) => match up.liveness.check(now) {
                Pulse::Fine => {}
                Pulse::Ping => self.send(Frame::new(Header::Ping)),
                Pulse::Dead => {
                    let silence_ms = up.liveness.silence(now).as_millis();
                    self.close_faulty(&LinkFault::Silent { silence_ms });
                }
            },
            Link::Down | Link::Greeting { .. } => {}
        }
    }

    pub(super) fn close_faulty(&mut self, fault: &LinkFault) {
        let reason = fault.to_string();
        if !matches!(fault, LinkFault::Clogged(_)) {
            self.send(Frame::close(&reason));
        }
        self.close(&reason, true);
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
        self.wake_all();
    }

    /// The link is gone: everything that went over it ends.
    fn lose_link(&mut self, reason: &str) {
        let former = std::mem::replace(&mut self.link, Link::Down);
        self.unlinked = Some(reason.to_owned());
        self.answer_lists();
        self.forget_registrations();
        self.keep_stale();
        self.cancel_incoming(reason);
        self.schedules.forget_link();
        self.fail_remote_calls(code::LINK_LOST, reason);
        self.lose_exchanges(reason);
        if former.up().is_some_and(|up| up.connected) {
            self.outputs.push_back(Output::Disconnected { reason: reason.to_owned() });
        }
    }
}
