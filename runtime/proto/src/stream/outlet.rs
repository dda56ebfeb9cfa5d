//! The writer's end of a stream.
//!
//! ```text
//!   Open ── finish, fail ──▶ Last ── End is sent ──▶ Sent ── Done ──▶ Over (as it was sent)
//!     └────── Cancel ───────────┴──────────────────────┴───────────▶ Over (cancelled)
//! ```
//!
//! It holds at most one chunk, the one that waits for credit: a writer that has more waits with it. For an item that no
//! window lets through it asks, once.

use std::time::Duration;

use super::{BadStream, Chunk, Credit, End, Ending, Flow, Pull, Push};
use crate::error::{CallError, code};

/// The writer's end of a stream.
#[derive(Debug)]
pub struct Outlet {
    flow: Flow,
    max_item_bytes: usize,
    /// How much may be sent in all.
    granted: Credit,
    /// How much was sent.
    sent: Credit,
    /// What waits for credit.
    waiting: Option<Chunk>,
    /// Whether the reader's end was told how large it is.
    asked: bool,
    state: State,
    last_progress: Duration,
}

#[derive(Debug)]
enum State {
    /// The writer may have more.
    Open,
    /// The writer said its last word, which goes behind what waits.
    Last(End),
    /// It was sent; the stream has ended so when the reader confirms it.
    Sent(Ending),
    /// The reader said its last word, or the link broke.
    Over { ending: Ending, unanswered: bool },
}

/// A chunk was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// Another one waits: come again when [`Outlet::is_ready`].
    #[error("a chunk of the stream waits to be sent")]
    Full(Chunk),
    /// The stream has ended, or is about to.
    #[error("the stream has ended")]
    Ended,
    /// It is none that a stream has: a defect of the writer's side.
    #[error(transparent)]
    Bad(#[from] BadStream),
}

impl Outlet {
    /// An end that was granted nothing yet. An item may have so many bytes.
    pub fn new(flow: Flow, max_item_bytes: usize, now: Duration) -> Self {
        let (granted, sent) = (Credit::default(), Credit::default());
        Self {
            flow,
            max_item_bytes,
            granted,
            sent,
            waiting: None,
            asked: false,
            state: State::Open,
            last_progress: now,
        }
    }

    /// Whether a chunk would be taken now.
    pub fn is_ready(&self) -> bool {
        matches!(self.state, State::Open) && self.waiting.is_none()
    }

    /// Takes a chunk from the writer; [`Outlet::transmit`] gives it out when there is credit for it. The value of a future
    /// is also its end.
    ///
    /// # Errors
    /// [`NotTaken`]: nothing has changed.
    pub fn push(&mut self, chunk: Chunk) -> Result<(), NotTaken> {
        chunk.check(self.flow, self.max_item_bytes)?;
        match self.state {
            State::Open if self.waiting.is_some() => Err(NotTaken::Full(chunk)),
            State::Open => {
                self.waiting = Some(chunk);
                if self.flow == Flow::One {
                    self.state = State::Last(End::Finished);
                }
                Ok(())
            }
            _ => Err(NotTaken::Ended),
        }
    }

    /// The writer has no more. Nothing where the stream has ended already.
    pub fn finish(&mut self) {
        if !matches!(self.state, State::Open) {
            return;
        }
        if self.flow == Flow::One {
            let message = "the future was dropped before it had a value";
            return self.fail(CallError::failed(code::INTERNAL, message, ""));
        }
        self.state = State::Last(End::Finished);
    }

    /// The writer failed: what waits is dropped, and the reader learns of it behind what was sent. Nothing where the
    /// last word was sent already.
    pub fn fail(&mut self, error: CallError) {
        if matches!(self.state, State::Open | State::Last(_)) {
            self.waiting = None;
            self.state = State::Last(End::Failed(Box::new(error)));
        }
    }

    /// What is to be sent to the reader's end now; to be asked until there is nothing.
    pub fn transmit(&mut self, now: Duration) -> Option<Push> {
        match &mut self.state {
            State::Open | State::Last(_) if self.waiting.is_some() => {
                let left = self.left();
                let Some(chunk) = self.waiting.take_if(|chunk| left.admits(chunk)) else { return self.ask() };
                self.asked = false;
                self.sent = self.sent.plus(chunk.size());
                self.last_progress = now;
                Some(Push::Items(chunk))
            }
            State::Last(end) => {
                let end = end.clone();
                self.state = State::Sent(match &end {
                    End::Finished => Ending::Finished,
                    End::Failed(error) => Ending::Failed(error.clone()),
                    End::Stopped => Ending::Cancelled(None),
                });
                self.last_progress = now;
                Some(Push::End(end))
            }
            State::Over { unanswered, .. } if *unanswered => {
                *unanswered = false;
                Some(Push::End(End::Stopped))
            }
            State::Open | State::Sent(_) | State::Over { .. } => None,
        }
    }

    /// Asks for what waits, where no window will ever let it through; not before the reader has shown up.
    fn ask(&mut self) -> Option<Push> {
        let bytes = self.waiting.as_ref()?.size().bytes;
        let is_due = bytes > self.flow.small_bytes() && bytes > self.left().bytes && self.is_begun() && !self.asked;
        self.asked |= is_due;
        is_due.then_some(Push::Want(bytes))
    }

    /// Takes what the reader's end sent.
    ///
    /// # Errors
    /// [`BadStream`]: the peer is defective.
    pub fn receive(&mut self, pull: Pull, now: Duration) -> Result<(), BadStream> {
        match (&self.state, pull) {
            (State::Over { .. }, pull) => Err(BadStream::AfterEnd { what: pull.what() }),
            (_, Pull::Grant(total)) if total.items < self.granted.items || total.bytes < self.granted.bytes => {
                Err(BadStream::LessCredit)
            }
            (_, Pull::Grant(total)) => {
                self.granted = total;
                self.last_progress = now;
                Ok(())
            }
            (State::Sent(ending), Pull::Done) => {
                self.state = State::Over { ending: ending.clone(), unanswered: false };
                Ok(())
            }
            (State::Open | State::Last(_), Pull::Done) => Err(BadStream::DoneTooEarly),
            (state, Pull::Cancel(why)) => {
                let unanswered = !matches!(state, State::Sent(_));
                self.waiting = None;
                self.state = State::Over { ending: Ending::Cancelled(why), unanswered };
                Ok(())
            }
        }
    }

    /// The link to the reader's end broke.
    pub fn lost(&mut self) {
        self.cut(Ending::Lost);
    }

    /// Nothing can be sent any more: the stream came to this, unless it has ended.
    pub fn cut(&mut self, ending: Ending) {
        self.waiting = None;
        match &mut self.state {
            State::Over { unanswered, .. } => *unanswered = false,
            state => *state = State::Over { ending, unanswered: false },
        }
    }

    /// How many bytes wait for credit.
    pub fn waiting_bytes(&self) -> usize {
        self.waiting.as_ref().map_or(0, |chunk| chunk.bytes.len())
    }

    /// Whether the reader has shown up, and may have had something.
    pub fn is_begun(&self) -> bool {
        self.granted != Credit::default()
    }

    /// What the stream came to, once it is over for both ends.
    pub fn ending(&self) -> Option<&Ending> {
        match &self.state {
            State::Over { ending, .. } => Some(ending),
            _ => None,
        }
    }

    /// Whether both last words were said and heard: it may be forgotten.
    pub fn is_closed(&self) -> bool {
        matches!(self.state, State::Over { unanswered: false, .. })
    }

    /// When something was last sent or granted, or when it began.
    pub fn last_progress(&self) -> Duration {
        self.last_progress
    }

    fn left(&self) -> Credit {
        self.granted.less(self.sent)
    }
}
