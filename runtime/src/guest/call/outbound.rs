//! The writing end of a stream, for guests without async.
//!
//! ```text
//!   write ──▶ buffer: 256 items or 64 KiB (192 KiB of bytes), or one that is larger ──▶ pump: waits for room ──▶ mesh
//!     full: the guest waits                                            └── what it came to ──▶ ended
//! ```
//!
//! The guest is not asked for items, it brings them, and may do something else then; so a task carries each stream on.
//! Invariants: items that were taken go in order, before the last word; the guest hears of an end as soon as the
//! mesh has it, also while nothing is written; the task ends with the stream, and that with the guest's handle.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use daffi_proto::error::{CallError, code};
use daffi_proto::stream::{Chunk, Ending, Flow};
use tokio::sync::Notify;
use wasmtime::component::{Access, Resource};
use wasmtime_wasi::p2::{DynPollable, Pollable};
use wasmtime_wasi::{WasiView, async_trait};

use super::super::state::GuestState;
use super::super::transcode::stream::{Room as ItemRoom, StreamRoom};
use super::items::Items;
use super::streaming::Held;
use super::{Guests, call, held, pollable, types};
use crate::mesh::handle::StreamWriter;

/// What a guest holds of a stream that it writes.
pub struct Outbound(Arc<Shared>);

/// A stream, shared by its [`Outbound`], what waits for it and its pump.
struct Shared {
    items: Items,
    flow: Flow,
    callback: String,
    /// For items that are larger than a chunk.
    rooms: StreamRoom,
    state: Mutex<State>,
    /// There is something for the pump.
    given: Notify,
    /// There is room, or the end.
    moved: Notify,
}

#[derive(Default)]
struct State {
    /// What was taken of the guest and is not the mesh's yet.
    chunks: VecDeque<Taken>,
    items: u32,
    bytes: usize,
    word: Option<Word>,
    ending: Option<Ending>,
}

/// Items that go on together.
enum Taken {
    Several {
        count: u32,
        bytes: BytesMut,
    },
    /// One that is larger than a chunk, and has its room.
    Large(Bytes),
}

/// The guest's last word.
enum Word {
    Finish,
    Fail(CallError),
    /// The pump has it.
    Said,
}

/// What the pump does next.
enum Step {
    Give(Chunk),
    Finish,
    Fail(CallError),
}

impl Outbound {
    /// The guest's end of this stream, and its pump.
    pub fn new(
        writer: StreamWriter,
        items: Items,
        callback: String,
        held: Held,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (flow, state, rooms) = (writer.flow(), Mutex::default(), held.room());
        let (given, moved) = (Notify::new(), Notify::new());
        let shared = Arc::new(Shared { items, flow, callback, rooms, state, given, moved });
        (Self(shared.clone()), pump(writer, shared, held))
    }
}

/// For who writes it in the name of a guest with async functions.
impl Outbound {
    /// Gives the next items, when there is room for them. Cancel safety: some of them may have been given.
    ///
    /// # Errors
    /// One is no item of the stream, or none is taken any more.
    pub async fn write_all(&self, items: Vec<types::Value>) -> Result<(), CallError> {
        self.0.write_all(items).await
    }

    /// These were all items.
    pub fn finish(&self) {
        self.0.say(Word::Finish);
    }

    /// There will be no more, for this reason.
    pub fn fail(&self, error: CallError) {
        self.0.say(Word::Fail(error));
    }

    /// Waits for what it comes to. Cancel safe.
    ///
    /// # Errors
    /// It has not come to its end.
    pub async fn until_ended(&self) -> Result<(), CallError> {
        loop {
            let mut moved = pin!(self.0.moved.notified());
            moved.as_mut().enable();
            if let Some(ended) = self.0.ended() {
                return ended;
            }
            moved.await;
        }
    }
}

impl Drop for Outbound {
    fn drop(&mut self) {
        self.0.say(Word::Fail(self.0.failure("the stream was dropped before it was finished")));
    }
}

/// Carries what the guest gives, until the stream has ended.
async fn pump(mut writer: StreamWriter, shared: Arc<Shared>, held: Held) {
    let ending = loop {
        let step = tokio::select! {
            biased;
            ending = writer.ended() => break ending,
            step = shared.next_step() => step,
        };
        match step {
            Step::Give(chunk) => {
                held.place.wrote(chunk.bytes.len());
                if let Err(ending) = writer.write(chunk).await {
                    break ending;
                }
            }
            Step::Finish => writer.finish(),
            Step::Fail(error) => writer.fail(error),
        }
    };
    // Its places are free when the guest hears of the end.
    drop((writer, held));
    let mut state = shared.lock();
    state.ending = Some(ending);
    state.chunks.clear();
    drop(state);
    shared.moved.notify_waiters();
}

impl Shared {
    /// Waits for what the pump does next. Cancel safe.
    async fn next_step(&self) -> Step {
        loop {
            if let Some(step) = self.step() {
                return step;
            }
            self.given.notified().await;
        }
    }

    fn step(&self) -> Option<Step> {
        let mut state = self.lock();
        if let Some(taken) = state.chunks.pop_front() {
            let chunk = match taken {
                Taken::Several { count, bytes } => Chunk { count, bytes: bytes.freeze() },
                Taken::Large(bytes) => Chunk { count: 1, bytes },
            };
            state.items = state.items.saturating_sub(self.counted(chunk.count));
            state.bytes = state.bytes.saturating_sub(chunk.bytes.len());
            drop(state);
            self.moved.notify_waiters();
            return Some(Step::Give(chunk));
        }
        match &mut state.word {
            None | Some(Word::Said) => None,
            Some(word) => match std::mem::replace(word, Word::Said) {
                Word::Fail(error) => Some(Step::Fail(error)),
                Word::Finish | Word::Said => Some(Step::Finish),
            },
        }
    }

    /// How many items it takes now.
    ///
    /// # Errors
    /// None any more.
    fn room(&self) -> Result<u32, CallError> {
        let state = self.lock();
        if let Some(ending) = &state.ending {
            return Err(self.error(ending).unwrap_or_else(|| self.too_late()));
        }
        if state.word.is_some() {
            return Err(self.too_late());
        }
        let most = self.flow.chunk();
        let full = state.bytes >= usize::try_from(most.bytes).unwrap_or(usize::MAX);
        let items = match self.flow {
            // A piece has any number of bytes.
            Flow::Bytes => 1,
            Flow::Items | Flow::One => u32::try_from(most.items).unwrap_or(u32::MAX).saturating_sub(state.items),
        };
        Ok(if full { 0 } else { items })
    }

    /// Waits until it takes an item. Cancel safe.
    ///
    /// # Errors
    /// None any more.
    async fn has_room(&self) -> Result<(), CallError> {
        loop {
            let mut moved = pin!(self.moved.notified());
            moved.as_mut().enable();
            if self.room()? > 0 {
                return Ok(());
            }
            moved.await;
        }
    }

    /// Gives the next items, when there is room for them.
    ///
    /// # Errors
    /// One is no item of the stream: then none is taken. Or none is taken any more.
    async fn write_all(&self, items: Vec<types::Value>) -> Result<(), CallError> {
        let encoded: Result<Vec<Bytes>, _> = items.into_iter().map(|item| self.items.encode(item)).collect();
        for item in encoded.map_err(|error| unfit_item(&error, &self.callback))? {
            let room = self.has_room_for(&item).await?;
            self.take(item, room);
        }
        Ok(())
    }

    /// Waits until it takes this item: for its turn, and where it is larger than a chunk for room. Cancel safe.
    ///
    /// # Errors
    /// None any more.
    async fn has_room_for(&self, item: &Bytes) -> Result<Option<ItemRoom>, CallError> {
        self.has_room().await?;
        if self.flow == Flow::Bytes || item.len() as u64 <= self.flow.chunk().bytes {
            return Ok(None);
        }
        let room = tokio::select! {
            room = self.rooms.clone().take(item.len()) => room,
            closed = self.is_closed() => return Err(closed),
        };
        // Meanwhile it may have ended.
        self.has_room().await?;
        Ok(Some(room))
    }

    /// Waits until it takes no more. Cancel safe.
    async fn is_closed(&self) -> CallError {
        loop {
            let mut moved = pin!(self.moved.notified());
            moved.as_mut().enable();
            if let Err(error) = self.room() {
                return error;
            }
            moved.await;
        }
    }

    /// Takes an item, or a piece of bytes.
    fn take(&self, item: Bytes, room: Option<ItemRoom>) {
        let most = self.flow.chunk();
        let (most_items, most_bytes) = (most.items, usize::try_from(most.bytes).unwrap_or(usize::MAX));
        let (mut state, bytes) = (self.lock(), item.len());
        match self.flow {
            Flow::Bytes => {
                for piece in item.chunks(most_bytes) {
                    let count = u32::try_from(piece.len()).unwrap_or(u32::MAX);
                    state.chunks.push_back(Taken::Several { count, bytes: BytesMut::from(piece) });
                }
            }
            Flow::Items | Flow::One => {
                match (state.chunks.back_mut(), room) {
                    (_, Some(room)) => state.chunks.push_back(Taken::Large(room.hold(item))),
                    (Some(Taken::Several { count, bytes }), None)
                        if u64::from(*count) < most_items && bytes.len() + item.len() <= most_bytes =>
                    {
                        *count += 1;
                        bytes.extend_from_slice(&item);
                    }
                    _ => state.chunks.push_back(Taken::Several { count: 1, bytes: BytesMut::from(&item[..]) }),
                }
                state.items += 1;
            }
        }
        state.bytes += bytes;
        if self.flow == Flow::One {
            state.word = Some(Word::Said); // it is finished by its item
        }
        drop(state);
        self.given.notify_one();
    }

    fn say(&self, word: Word) {
        let mut state = self.lock();
        if state.word.is_none() && state.ending.is_none() {
            state.word = Some(word);
            drop(state);
            self.given.notify_one();
            self.moved.notify_waiters();
        }
    }

    /// Whether a guest that waits for it is to look.
    fn is_ready(&self) -> bool {
        let state = self.lock();
        if state.word.is_some() || state.ending.is_some() {
            return state.ending.is_some();
        }
        drop(state);
        self.room().is_ok_and(|room| room > 0)
    }

    fn ended(&self) -> Option<Result<(), CallError>> {
        self.lock().ending.as_ref().map(|ending| self.error(ending).map_or(Ok(()), Err))
    }

    /// Bytes are no items that are counted.
    fn counted(&self, count: u32) -> u32 {
        if self.flow == Flow::Bytes { 0 } else { count }
    }

    fn error(&self, ending: &Ending) -> Option<CallError> {
        let error = ending.error()?;
        Some(if error.callback.is_empty() { CallError { callback: self.callback.clone(), ..error } } else { error })
    }

    fn failure(&self, message: &str) -> CallError {
        CallError::failed(code::CANCELLED, message, self.callback.as_str())
    }

    fn too_late(&self) -> CallError {
        let message = "the stream is finished: it takes no more items";
        CallError::failed(code::BAD_ARGUMENTS, message, self.callback.as_str())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl call::HostOutbound for &mut GuestState {}

impl call::HostOutboundWithStore<GuestState> for Guests {
    async fn subscribe(
        mut host: Access<'_, GuestState, Self>,
        outbound: Resource<held::Outbound>,
    ) -> wasmtime::Result<Resource<DynPollable>> {
        let room = Room(host.get().ctx().table.get(&outbound)?.0.clone());
        pollable(host.get(), room)
    }

    async fn check_write(
        mut host: Access<'_, GuestState, Self>,
        outbound: Resource<held::Outbound>,
    ) -> wasmtime::Result<Result<u32, types::CallError>> {
        Ok(host.get().ctx().table.get(&outbound)?.0.room().map_err(types::CallError::from))
    }

    async fn write(
        mut host: Access<'_, GuestState, Self>,
        outbound: Resource<held::Outbound>,
        items: Vec<types::Value>,
    ) -> wasmtime::Result<Result<(), types::CallError>> {
        let shared = host.get().ctx().table.get(&outbound)?.0.clone();
        Ok(shared.write_all(items).await.map_err(types::CallError::from))
    }

    async fn finish(
        mut host: Access<'_, GuestState, Self>,
        outbound: Resource<held::Outbound>,
    ) -> wasmtime::Result<()> {
        host.get().ctx().table.get(&outbound)?.0.say(Word::Finish);
        Ok(())
    }

    async fn fail(
        mut host: Access<'_, GuestState, Self>,
        outbound: Resource<held::Outbound>,
        message: String,
    ) -> wasmtime::Result<()> {
        let shared = host.get().ctx().table.get(&outbound)?.0.clone();
        shared.say(Word::Fail(shared.failure(&message)));
        Ok(())
    }

    async fn ended(
        mut host: Access<'_, GuestState, Self>,
        outbound: Resource<held::Outbound>,
    ) -> wasmtime::Result<Option<Result<(), types::CallError>>> {
        let ended = host.get().ctx().table.get(&outbound)?.0.ended();
        Ok(ended.map(|ended| ended.map_err(types::CallError::from)))
    }

    fn drop(mut host: Access<'_, GuestState, Self>, outbound: Resource<held::Outbound>) -> wasmtime::Result<()> {
        host.get().ctx().table.delete(outbound)?;
        Ok(())
    }
}

/// An item that is not of the stream's type.
fn unfit_item(error: &daffi_proto::value::ValueError, callback: &str) -> CallError {
    let code = if error.is_too_large() { code::PAYLOAD_TOO_LARGE } else { code::BAD_ARGUMENTS };
    CallError::not_run(code, format!("an item for {callback}: {error}"), callback)
}

/// What a guest waits for.
struct Room(Arc<Shared>);

#[async_trait]
impl Pollable for Room {
    async fn ready(&mut self) {
        loop {
            let mut moved = pin!(self.0.moved.notified());
            moved.as_mut().enable();
            if self.0.is_ready() {
                return;
            }
            moved.await;
        }
    }
}

#[cfg(test)]
#[path = "outbound_tests.rs"]
mod tests;
