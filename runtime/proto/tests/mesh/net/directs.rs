//! Direct links between nodes: dialed, opened, cut; their frames are under way as those of the controller's links are.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use daffi_proto::frame::{DEFAULT_MAX_PAYLOAD_BYTES, Decoder, Frame, Header};
use daffi_proto::grants::NodeGrants;
use daffi_proto::id::{DirectId, ProcessName};
use daffi_proto::node::{self, Via};

use super::{Delivery, Net, ms};

/// One end of a direct link: a node, and what it calls the link.
pub type End = (usize, Via);

/// What there is of one at its other end.
pub struct Direct {
    pub other: End,
    decoder: Decoder,
    /// When the last frame for this end arrives.
    last: Duration,
    /// Frames of calls, and items of streams, find no room.
    pub full: bool,
}

/// What comes to an end.
#[derive(Debug)]
pub enum News {
    Up,
    Bytes(Bytes),
    Down(String),
}

impl Net {
    /// Where a node is reached, as the tests write it.
    pub fn address_of(node: usize) -> String {
        format!("node:{node}")
    }

    /// As a transport does that has certificates, where the host has one: to somebody else it says nothing.
    pub(super) fn dial_directly(&mut self, node: usize, link: DirectId, at: &[String], identity: Option<&ProcessName>) {
        let end = (node, Via::To(link));
        let host: usize = at[0].strip_prefix("node:").unwrap().parse().unwrap();
        if self.nodes[host].dead || self.unreachable {
            let (at, news) = (self.now + ms(1), News::Down("nobody is there".to_owned()));
            return self.put(at, Delivery::Direct { end, news, dialed: true });
        }
        if let Some(shown) = &self.nodes[host].shows
            && identity != Some(shown.node())
        {
            let (at, news) = (self.now + ms(1), News::Down(format!("there is {} and not {identity:?}", shown.node())));
            return self.put(at, Delivery::Direct { end, news, dialed: true });
        }
        self.last_direct += 1;
        let other = (host, Via::From(DirectId(self.last_direct)));
        for (end, other) in [(end, other), (other, end)] {
            let decoder = Decoder::new(DEFAULT_MAX_PAYLOAD_BYTES);
            self.directs.insert(end, Direct { other, decoder, last: self.now, full: false });
        }
        self.put_at_end(other, News::Up);
        self.put_at_end(end, News::Up);
    }

    /// Something comes to an end, behind all that came before.
    fn put_at_end(&mut self, end: End, news: News) {
        let delay = ms(self.random.bits() % (self.delay + 1));
        let Some(direct) = self.directs.get_mut(&end) else { return };
        direct.last = direct.last.max(self.now + delay);
        let at = direct.last;
        self.put(at, Delivery::Direct { end, news, dialed: false });
    }

    pub(super) fn send_directly(&mut self, end: End, frame: &Frame) -> bool {
        let Some(direct) = self.directs.get(&end) else {
            self.told_strangers.push((end, frame.header.clone()));
            return true;
        };
        if direct.full && frame.header.may_be_refused() {
            return false;
        }
        let other = direct.other;
        let mut buffer = BytesMut::new();
        frame.encode_into(&mut buffer).unwrap();
        self.put_at_end(other, News::Bytes(buffer.freeze()));
        true
    }

    /// An end is closed; the other one hears of it behind all that was sent.
    pub(super) fn close_directly(&mut self, end: End, reason: &str) {
        if let Some(direct) = self.directs.remove(&end) {
            self.put_at_end(direct.other, News::Down(reason.to_owned()));
        }
    }

    pub(super) fn arrive_directly(&mut self, end: End, news: News, dialed: bool) {
        let (node, via) = end;
        if self.nodes[node].dead || (!dialed && !self.directs.contains_key(&end)) {
            return;
        }
        let input = match news {
            News::Up => {
                let (other, _) = self.directs[&end].other;
                let grants = self.nodes[other].shows.clone().filter(|_| matches!(via, Via::From(_)));
                node::Input::DirectUp { via, grants }
            }
            News::Bytes(bytes) => {
                let mut buffer = BytesMut::from(bytes);
                let frame = self.directs.get_mut(&end).unwrap().decoder.next(&mut buffer).unwrap().unwrap();
                self.frames_sent_directly += 1;
                node::Input::Frame { via, frame }
            }
            News::Down(reason) => {
                self.directs.remove(&end);
                node::Input::DirectDown { via, reason }
            }
        };
        self.node_input(node, input);
    }

    /// The direct links of a node, by its own ends.
    pub fn directs_of(&self, node: usize) -> Vec<End> {
        self.directs.keys().filter(|(of, _)| *of == node).copied().collect()
    }

    /// Cuts all direct links of a node: what is under way is lost, and both ends hear of it.
    pub fn cut_directs(&mut self, node: usize) {
        for end in self.directs_of(node) {
            let Some(direct) = self.directs.get(&end) else { continue };
            let both = [end, direct.other];
            self.deliveries
                .retain(|_, delivery| !matches!(delivery, Delivery::Direct { end, .. } if both.contains(end)));
            for end in both {
                if !self.nodes[end.0].dead {
                    self.put_at_end(end, News::Down("cut by the test".to_owned()));
                }
            }
        }
    }

    /// Whether a node's direct links have room for what may be refused.
    pub fn fill_directs(&mut self, node: usize, full: bool) {
        for end in self.directs_of(node) {
            self.directs.get_mut(&end).unwrap().full = full;
        }
    }

    /// Connects to a node as somebody of whom it knows nothing.
    pub fn visit_as_stranger(&mut self, node: usize) -> End {
        self.visit_with(node, None)
    }

    /// Connects to a node with this certificate.
    pub fn visit_with(&mut self, node: usize, grants: Option<Arc<NodeGrants>>) -> End {
        self.last_direct += 1;
        let end = (node, Via::From(DirectId(self.last_direct)));
        self.node_input(node, node::Input::DirectUp { via: end.1, grants });
        end
    }

    /// What a node has told somebody who is no node.
    pub fn told_directly(&self, end: End) -> Vec<Header> {
        self.told_strangers.iter().filter(|(of, _)| *of == end).map(|(_, header)| header.clone()).collect()
    }

    /// Feeds a node a frame in the name of the other side of a direct link.
    pub fn forge_directly(&mut self, end: End, frame: Frame) {
        self.node_input(end.0, node::Input::Frame { via: end.1, frame });
    }
}
