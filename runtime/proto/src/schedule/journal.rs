//! What is written down of a table between two snapshots: a journal, to which small entries are appended.
//!
//! ```text
//!   journal = "daffi journal 1\n", frames
//!   frame   = mark (4 bytes), length of the body (u32), CRC-32 of length and body (u32), body      little-endian
//!   body    = generation, bytes of the journal that were durable before, entries                   postcard
//! ```
//!
//! An entry says where a task is now, whatever it was before, but for an error that it had before. A journal belongs to
//! the snapshot of its generation and says nothing beside another one: so a new snapshot takes the place of both, and
//! whenever a crash comes, one journal fits or none does.
//!
//! **What a crash leaves.** What was appended since the journal was last made durable may be there in part, in any part;
//! it is passed over from its first hole on, and what it told is as if it had not been written down. A hole in what was
//! durable is damage: a later frame tells. Only of the last frame can nobody tell which of the two it is.

use serde::{Deserialize, Serialize};

use super::info::TaskNumber;
use super::snapshot::Progress;

/// How large a journal may become; past it the table is written anew. So that a table of full size, 90 MB, is written
/// twice a minute at most, and one of the default limit's size hardly ever.
pub const MAX_JOURNAL_BYTES: usize = 4 * 1024 * 1024;

const HEADER: &[u8] = b"daffi journal 1\n";

/// What journals of all versions begin with.
const ANY_HEADER: &[u8] = b"daffi journal ";

/// Where a frame may begin, for whoever looks for one behind a hole.
const MARK: [u8; 4] = *b"\ndj:";

/// Mark, length and checksum.
const HEAD_BYTES: usize = 12;

/// Most bytes of a frame without its entries.
const MAX_FRAME_BYTES: usize = HEAD_BYTES + 3 * MAX_VARINT_BYTES;

const MAX_VARINT_BYTES: usize = 10;

/// A journal cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// It is too long.
    #[error("a journal of {0} bytes: {MAX_JOURNAL_BYTES} are read at most; is this the right file?")]
    TooLong(usize),
    /// It is none.
    #[error("no journal of schedules: it begins with something else")]
    NoJournal,
    /// It was written by a later version.
    #[error(
        "a journal of schedules in a format that this runtime does not know: start the newer runtime that wrote it"
    )]
    Newer,
    /// Something that was on the disk is not what it was.
    #[error("a journal of schedules that is damaged at its byte {0}")]
    Damaged(usize),
    /// A frame that is whole and says nothing that can be understood.
    #[error("a journal of schedules that cannot be read at its byte {at}: {why}")]
    Unreadable {
        /// Where the frame begins.
        at: usize,
        /// What is wrong with it.
        why: String,
    },
    /// A task that the snapshot does not have.
    #[error("a journal of schedules with one, {0}, that is not in the table beside it")]
    NoSuchTask(TaskNumber),
    /// A task whose state belongs to another kind of plan.
    #[error("a journal of schedules in which {0} is at a place that its plan does not have")]
    OtherPlan(TaskNumber),
}

/// Where a task is now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub(super) number: TaskNumber,
    /// Its last error only if there was one since the entry before.
    pub(super) progress: Progress,
}

/// How far a journal has been written, for the one who writes it; who drops it when a write fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Journal {
    generation: u64,
    len: u64,
    durable: u64,
}

impl Journal {
    /// An empty one, which goes with the snapshot of this generation ([`super::Tasks::generation`]).
    pub fn new(generation: u64) -> Self {
        Self { generation, len: 0, durable: 0 }
    }

    /// The bytes that are to be appended for these entries, together.
    ///
    /// # Errors
    /// [`JournalError::TooLong`]
    pub fn append(&mut self, entries: &[Entry]) -> Result<Vec<u8>, JournalError> {
        let unwritable = |error: postcard::Error| JournalError::Unreadable { at: 0, why: error.to_string() };
        let body = postcard::to_stdvec(&(self.generation, self.durable, entries)).map_err(unwritable)?;
        let length = u32::try_from(body.len()).map_err(|_| JournalError::TooLong(body.len()))?.to_le_bytes();
        let mut bytes = if self.len == 0 { HEADER.to_vec() } else { Vec::with_capacity(HEAD_BYTES + body.len()) };
        for part in [&MARK[..], &length, &checksum(&length, &body).to_le_bytes(), &body] {
            bytes.extend_from_slice(part);
        }
        self.len += bytes.len() as u64;
        Ok(bytes)
    }

    /// All that was appended is on the disk.
    pub fn made_durable(&mut self) {
        self.durable = self.len;
    }
}

/// Most bytes that these entries take in a journal.
pub(crate) fn most_bytes(entries: &[Entry]) -> usize {
    let entry = |entry| postcard::to_stdvec(entry).map_or(0, |bytes| bytes.len());
    HEADER.len() + MAX_FRAME_BYTES + entries.iter().map(entry).sum::<usize>()
}

/// What the journal that goes with the snapshot of this generation tells, in its order; nothing where it goes with another.
pub(super) fn read(bytes: &[u8], generation: u64) -> Result<Vec<Entry>, JournalError> {
    if bytes.len() > MAX_JOURNAL_BYTES {
        return Err(JournalError::TooLong(bytes.len()));
    }
    let mut entries = Vec::new();
    let mut at = if has_header(bytes)? { HEADER.len() } else { 0 };
    while at < bytes.len() {
        let Some(body) = frame_at(bytes, at) else {
            sees_a_crash(bytes, at, generation)?;
            break;
        };
        let (of, _, more) = open(body).map_err(|error| JournalError::Unreadable { at, why: error.to_string() })?;
        if of != generation {
            break;
        }
        entries.extend(more);
        at += HEAD_BYTES + body.len();
    }
    Ok(entries)
}

/// False where it was never written, or only in part.
fn has_header(bytes: &[u8]) -> Result<bool, JournalError> {
    let torn = bytes.iter().zip(HEADER).all(|(found, right)| found == right || *found == 0);
    match (bytes.starts_with(HEADER), torn) {
        (true, _) => Ok(true),
        (false, true) => Ok(false),
        (false, false) if bytes.starts_with(ANY_HEADER) => Err(JournalError::Newer),
        (false, false) => Err(JournalError::NoJournal),
    }
}

/// The body of the frame that begins here, if a whole one does.
fn frame_at(bytes: &[u8], at: usize) -> Option<&[u8]> {
    let rest = bytes.get(at..)?.strip_prefix(&MARK)?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let (sum, rest) = rest.split_first_chunk::<4>()?;
    let body = rest.get(..usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
    (checksum(length, body) == u32::from_le_bytes(*sum)).then_some(body)
}

/// Its generation, how much of the journal was durable before it, and its entries.
fn open(body: &[u8]) -> Result<(u64, u64, Vec<Entry>), postcard::Error> {
    postcard::from_bytes(body)
}

/// Sees that a hole may be what a crash has left: no later frame says that this place was on the disk.
fn sees_a_crash(bytes: &[u8], at: usize, generation: u64) -> Result<(), JournalError> {
    let frames = (at + 1..bytes.len()).filter_map(|later| open(frame_at(bytes, later)?).ok());
    let mut durable = frames.filter(|(of, ..)| *of == generation).map(|(_, durable, _)| durable);
    if durable.any(|durable| durable > at as u64) { Err(JournalError::Damaged(at)) } else { Ok(()) }
}

fn checksum(length: &[u8], body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(length);
    hasher.update(body);
    hasher.finalize()
}
