//! Whether what was dialed answers as a controller does: the first bytes that come back tell.
//!
//! A node speaks first, so that a port at which somebody else listens is noticed by the answer alone. Who has never been let in
//! hears that he has the wrong address, and does not try for ever; of an address that was the right one something else may listen
//! there in between. Invariant: a link that gave one frame leads to a controller.

use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use daffi_proto::frame::{Frame, FrameError};

use crate::mesh::link::{FrameSource, Link, LinkEnd};

/// What is learned of a link's other end while the link is in use.
#[derive(Clone, Debug, Default)]
pub struct Stranger(Arc<OnceLock<String>>);

impl Stranger {
    /// Watches how a link begins.
    pub fn watch(link: Link) -> (Link, Self) {
        let stranger = Self::default();
        let source = Beginning { source: link.source, begins: true, stranger: stranger.clone() };
        (Link { source: Box::new(source), ..link }, stranger)
    }

    /// What listens there, once the link has ended, if it is no controller.
    pub fn told(&self) -> Option<&str> {
        self.0.get().map(String::as_str)
    }
}

/// A link's incoming direction until its first frame, and then that alone.
struct Beginning {
    source: Box<dyn FrameSource>,
    begins: bool,
    stranger: Stranger,
}

impl FrameSource for Beginning {
    fn poll_recv(&mut self, cx: &mut Context<'_>, frames: &mut Vec<Frame>) -> Poll<Result<(), LinkEnd>> {
        let before = frames.len();
        let read = ready!(self.source.poll_recv(cx, frames));
        if let (true, Err(LinkEnd::Garbage(FrameError::TooLong { hint, .. }))) = (self.begins, &read) {
            let why = match hint.contains("TLS") {
                true => "what listens there speaks TLS: is it a tls:// address?".to_owned(),
                false => format!("what listens there is no controller{hint}"),
            };
            // There is one end, so that nothing is there before.
            let _ = self.stranger.0.set(why);
        }
        self.begins &= frames.len() == before;
        Poll::Ready(read)
    }
}
