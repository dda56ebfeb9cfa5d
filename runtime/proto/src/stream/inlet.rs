//! The reader's end of a stream.
//!
//! What has arrived is taken in order; the writer's last word comes behind it, and a lost link too. When half of the
//! window was taken, as much is granted anew.

use std::collections::VecDeque;
use std::time::Duration;

use super::{BadStream, Chunk, Credit, End, Ending, Flow, GRANT_AFTER, Pull, Push};
use crate::error::CallError;

/// The reader's end of a stream.
#[derive(Debug)]
pub struct Inlet {
    flow: Flow,
    max_item_bytes: usize,
    /// How much may come in all.
    granted: Credit,
    granted_at: Duration,
    /// Whether the writer is to be told again, that he sees that all goes on.
    sign_due: bool,
    /// How much came.
    received: Credit,
    /// How much the reader took.
    taken: Credit,
    queue: VecDeque<Chunk>,
    waiting_bytes: usize,
    /// What comes behind the queue.
    last: Option<Ending>,
    /// What the stream came to, as far as the reader is concerned.
    ending: Option<Ending>,
    /// This end's last word, while it is not sent.
    unsent: Option<Pull>,
    writer: Writer,
    last_progress: Duration,
}

/// What is known of the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Writer {
    /// It may send more.
    Open,
    /// It has said its last word.
    Ended,
    /// The link to it broke.
    Lost,
}

impl Inlet {
    /// An end whose whole window is free; the first [`Inlet::transmit`] grants it. An item may have so many bytes.
    pub fn new(flow: Flow, max_item_bytes: usize, now: Duration) -> Self {
        Self {
            flow,
            max_item_bytes,
            granted: Credit::default(),
            granted_at: now,
            sign_due: false,
            received: Credit::default(),
            taken: Credit::default(),
            queue: VecDeque::new(),
            waiting_bytes: 0,
            last: None,
            ending: None,
            unsent: None,
            writer: Writer::Open,
            last_progress: now,
        }
    }

    /// Takes what the writer's end sent.
    ///
    /// # Errors
    /// [`BadStream`]: the peer is defective.
    pub fn receive(&mut self, push: Push, now: Duration) -> Result<(), BadStream> {
        if self.writer != Writer::Open {
            return Err(BadStream::AfterEnd { what: push.what() });
        }
        match push {
            Push::Items(chunk) => self.items(chunk)?,
            Push::End(end) => self.end(end)?,
        }
        self.last_progress = now;
        Ok(())
    }

    fn items(&mut self, chunk: Chunk) -> Result<(), BadStream> {
        chunk.check(self.flow, self.max_item_bytes)?;
        let left = self.granted.less(self.received);
        if !left.admits(&chunk) {
            return Err(BadStream::OverCredit { count: chunk.count, bytes: chunk.bytes.len(), left });
        }
        self.received = self.received.plus(chunk.size());
        // What was on the way when the reader cancelled is of no use.
        if self.ending.is_none() {
            self.waiting_bytes += chunk.bytes.len();
            self.queue.push_back(chunk);
        }
        Ok(())
    }

    fn end(&mut self, end: End) -> Result<(), BadStream> {
        let ending = match end {
            End::Stopped if self.ending.is_none() => return Err(BadStream::Unasked),
            End::Stopped => None,
            End::Finished if self.flow == Flow::One && self.received.items == 0 => return Err(BadStream::NoValue),
            End::Finished => Some(Ending::Finished),
            End::Failed(error) => Some(Ending::Failed(error)),
        };
        self.writer = Writer::Ended;
        self.last = ending.filter(|_| self.ending.is_none());
        self.settle();
        Ok(())
    }

    /// The next items, where some are there.
    pub fn take(&mut self, now: Duration) -> Option<Chunk> {
        let chunk = self.queue.pop_front()?;
        self.taken = self.taken.plus(chunk.size());
        self.waiting_bytes = self.waiting_bytes.saturating_sub(chunk.bytes.len());
        self.last_progress = now;
        self.settle();
        Some(chunk)
    }

    /// The reader takes no more: by its own wish, or for a reason. Nothing where the stream has ended for it.
    pub fn cancel(&mut self, why: Option<CallError>) {
        if self.ending.is_some() {
            return;
        }
        let why = why.map(Box::new);
        self.queue.clear();
        self.waiting_bytes = 0;
        self.last = None;
        if self.writer != Writer::Lost {
            self.unsent = Some(Pull::Cancel(why.clone()));
        }
        self.ending = Some(Ending::Cancelled(why));
    }

    /// Whatever the items are wanted for goes on, though none is taken: lets the writer know.
    pub fn sign(&mut self) {
        self.sign_due = self.granted.items > 0;
    }

    /// What is to be sent to the writer's end now; to be asked until there is nothing.
    pub fn transmit(&mut self, now: Duration) -> Option<Pull> {
        if let Some(word) = self.unsent.take() {
            return Some(word);
        }
        if self.writer != Writer::Open || self.ending.is_some() {
            return None;
        }
        let (window, free) = (self.flow.window(), self.granted.less(self.taken));
        let is_half_taken =
            free.items.saturating_mul(2) <= window.items || free.bytes.saturating_mul(2) <= window.bytes;
        let is_late = free != window && now.saturating_sub(self.granted_at) >= GRANT_AFTER;
        let is_served = self.flow == Flow::One && self.granted.items > 0;
        let is_sign = std::mem::take(&mut self.sign_due);
        if is_served || !(is_half_taken || is_late) {
            return is_sign.then_some(Pull::Grant(self.granted));
        }
        self.granted = self.taken.plus(window);
        self.granted_at = now;
        Some(Pull::Grant(self.granted))
    }

    /// The link to the writer's end broke. What has arrived can still be taken.
    pub fn lost(&mut self) {
        self.cut(Ending::Lost);
    }

    /// Nothing more comes, and nothing can be said. What has arrived can still be taken; then the stream came to this,
    /// unless its end has arrived.
    pub fn cut(&mut self, ending: Ending) {
        self.unsent = None;
        if self.writer == Writer::Open && self.ending.is_none() {
            self.last = Some(ending);
        }
        self.writer = Writer::Lost;
        self.settle();
    }

    /// What the stream came to, once the reader has taken everything before it.
    pub fn ending(&self) -> Option<&Ending> {
        self.ending.as_ref()
    }

    /// Whether both last words were said and heard: it may be forgotten.
    pub fn is_closed(&self) -> bool {
        self.ending.is_some() && self.unsent.is_none() && self.writer != Writer::Open
    }

    /// When something last came or was taken, or when it began.
    pub fn last_progress(&self) -> Duration {
        self.last_progress
    }

    /// How many bytes wait to be taken.
    pub fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    /// When everything was taken, the end is reached.
    fn settle(&mut self) {
        if !self.queue.is_empty() {
            return;
        }
        if let Some(ending) = self.last.take() {
            if self.writer == Writer::Ended {
                self.unsent = Some(Pull::Done);
            }
            self.ending = Some(ending);
        }
    }
}
