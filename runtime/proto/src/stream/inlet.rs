//! The reader's end of a stream.
//!
//! What has arrived is taken in order; the writer's last word comes behind it, and a lost link too. When half of the
//! window was taken, as much is granted anew.
//!
//! A chunk that is larger than chunks are counts as taken when the reader is done with it ([`Inlet::release`]), and until
//! then the end that comes behind it is not reached: so it is known for how long such bytes are in memory. An item for
//! which the writer asks ([`Inlet::wants`]) is granted when there is room for it ([`Inlet::allow`]): what may be here
//! beyond the window ([`Inlet::beyond`]) is never more than what was allowed.

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
    /// What he took and has not released.
    unreleased: Option<Credit>,
    /// How large an item the writer waits to send.
    wants: Option<u64>,
    /// Whether that waits for room in line.
    in_line: bool,
    /// How large an item must come next, and until when: it was asked for and allowed.
    promised: Option<(u64, Duration)>,
    /// Whether it was allowed just now.
    grant_due: bool,
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
            unreleased: None,
            wants: None,
            in_line: false,
            promised: None,
            grant_due: false,
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
            Push::Want(bytes) => self.want(bytes)?,
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
        if let Some((bytes, _)) = self.promised.take()
            && (chunk.bytes.len() as u64) < bytes
        {
            return Err(BadStream::NotTheWish { bytes: chunk.bytes.len(), wished: bytes });
        }
        self.received = self.received.plus(chunk.size());
        // What was on the way when the reader cancelled is of no use.
        if self.ending.is_none() {
            self.waiting_bytes += chunk.bytes.len();
            self.queue.push_back(chunk);
        }
        Ok(())
    }

    fn want(&mut self, bytes: u64) -> Result<(), BadStream> {
        if bytes <= self.flow.small_bytes() || self.wants.is_some() {
            return Err(BadStream::BadWish { bytes });
        }
        if bytes > self.max_item_bytes as u64 {
            let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
            return Err(BadStream::ItemTooLarge { bytes, limit: self.max_item_bytes });
        }
        if self.ending.is_none() {
            self.wants = Some(bytes);
        }
        Ok(())
    }

    /// How many bytes the item has that the writer waits to send, and that is not allowed yet.
    pub fn wants(&self) -> Option<u64> {
        self.wants
    }

    /// Whether it is to wait in line for room from now on: a stream that has some waits until it has used it.
    pub fn lines_up(&mut self) -> bool {
        let is_due = self.wants.is_some() && !self.in_line && self.beyond() == 0;
        self.in_line |= is_due;
        is_due
    }

    /// There is room for the item that the writer waits to send, and it is to be here by then: an honest writer sends it at once, and
    /// nothing else before it.
    pub fn allow(&mut self, until: Duration) {
        self.in_line = false;
        if let Some(bytes) = self.wants.take() {
            self.promised = Some((bytes, until));
            self.granted.bytes = self.granted.bytes.max(self.received.bytes.saturating_add(bytes));
            self.grant_due = true;
        }
    }

    /// Until when the item must be here that was asked for and allowed.
    pub fn promised_until(&self) -> Option<Duration> {
        self.promised.map(|(_, until)| until).filter(|_| self.ending.is_none() && self.writer == Writer::Open)
    }

    /// How many bytes may be here or come, beyond the window.
    pub fn beyond(&self) -> u64 {
        let here_or_coming = match (&self.ending, self.writer) {
            (Some(_), _) => self.unreleased.unwrap_or_default(),
            (None, Writer::Open) => self.granted.less(self.taken),
            (None, Writer::Ended | Writer::Lost) => self.received.less(self.taken),
        };
        here_or_coming.bytes.saturating_sub(self.flow.window().bytes)
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
        self.wants = None;
        self.last = ending.filter(|_| self.ending.is_none());
        self.settle();
        Ok(())
    }

    /// The next items, where some are there and those before were released.
    pub fn take(&mut self, now: Duration) -> Option<Chunk> {
        if self.unreleased.is_some() {
            return None;
        }
        let chunk = self.queue.pop_front()?;
        match chunk.size() {
            large if large.bytes > self.flow.chunk().bytes => self.unreleased = Some(large),
            size => self.taken = self.taken.plus(size),
        }
        self.waiting_bytes = self.waiting_bytes.saturating_sub(chunk.bytes.len());
        self.last_progress = now;
        self.settle();
        Some(chunk)
    }

    /// The reader is done with what it took last. Nothing where it has said so, or need not.
    pub fn release(&mut self, now: Duration) {
        if let Some(size) = self.unreleased.take() {
            self.taken = self.taken.plus(size);
            self.last_progress = now;
            self.settle();
        }
    }

    /// The reader takes no more: by its own wish, or for a reason. Nothing where the stream has ended for it.
    pub fn cancel(&mut self, why: Option<CallError>) {
        // Who has the value of a future has all of it: the end is on its way.
        let has_value = self.flow == Flow::One && self.received.items > 0 && self.queue.is_empty();
        if self.ending.is_some() || (has_value && why.is_none()) {
            return;
        }
        let why = why.map(Box::new);
        self.queue.clear();
        self.waiting_bytes = 0;
        self.wants = None;
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
        let is_less = free.items < window.items || free.bytes < window.bytes;
        let is_late = is_less && now.saturating_sub(self.granted_at) >= GRANT_AFTER;
        let is_served = self.flow == Flow::One && self.granted.items > 0;
        let is_told = std::mem::take(&mut self.sign_due) | std::mem::take(&mut self.grant_due);
        if is_served || !(is_half_taken || is_late) {
            return is_told.then_some(Pull::Grant(self.granted));
        }
        // What was allowed beyond the window is not taken back.
        let Credit { items, bytes } = self.taken.plus(window);
        self.granted = Credit { items, bytes: bytes.max(self.granted.bytes) };
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
        self.wants = None;
        if self.writer == Writer::Open && self.ending.is_none() {
            self.last = Some(ending);
        }
        self.writer = Writer::Lost;
        self.settle();
    }

    /// What the stream came to, once the reader has taken everything before it and is done with it.
    pub fn ending(&self) -> Option<&Ending> {
        self.ending.as_ref().filter(|_| self.unreleased.is_none())
    }

    /// Whether both last words were said and heard: it may be forgotten.
    pub fn is_closed(&self) -> bool {
        self.ending().is_some() && self.unsent.is_none() && self.writer != Writer::Open
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
        if !self.queue.is_empty() || self.unreleased.is_some() {
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
