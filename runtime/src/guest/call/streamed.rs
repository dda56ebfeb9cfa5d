//! STREAM, for guests with async functions: a call by name whose streams are streams of the guest.
//!
//! ```text
//!   the guest's stream ──▶ consumer ──▶ carry ──▶ outbound ─────────────────────▶ the mesh
//!   a future of the guest ◀── ended ◀─┘
//!   the guest's stream ◀── producer (`flows`) ◀── inbound ◀─────────────────────── the mesh
//! ```
//!
//! Nothing is done here but to join the guest's streams with the handles of [`super::streaming`], which know limits, errors
//! and encodings. Invariants: a batch of a guest's items waits until the one before has found room, so that a slow reader
//! slows the guest; the end of an instance is not taken for the end of what it wrote.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use daffi_proto::error::{CallError, code};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::PollSender;
use wasmtime::component::{
    Accessor, FutureReader, GuardedStreamReader, Source, StreamConsumer, StreamReader, StreamResult,
};
use wasmtime::{AsContextMut, Result, StoreContextMut};

use super::super::state::{CallOrigin, GuestState};
use super::super::transcode::stream::Witness;
use super::outbound::Outbound;
use super::streaming::{Begun, Wish};
use super::{Guests, call, call_async, flows, no_handle, types};

/// Most items that are taken of a guest at once.
const BATCH_ITEMS: usize = 64;

/// How a stream ended.
type End = std::result::Result<(), types::CallError>;

/// Calls, carries what the guest writes, and gives it the reply. Cancel safety: dropping the future cancels the call.
///
/// # Errors
/// Those of the call; `overloaded` where the instance may have no more streams.
pub(super) async fn stream(
    host: &Accessor<GuestState, Guests>,
    callback: String,
    arguments: types::Value,
    items: Vec<StreamReader<types::Value>>,
    options: Option<call::StreamOptions>,
) -> std::result::Result<call_async::Streamed, CallError> {
    // What is not read is closed, whatever happens.
    let items: Vec<_> = items.into_iter().map(|reader| GuardedStreamReader::new(host, reader)).collect();
    let origin = host.with(|mut access| CallOrigin::of(access.as_context_mut()));
    let wish = Wish::new(&origin, callback.clone(), arguments, options)?.with_streams(items.len());
    let Begun { outbound, reply, audience } = wish.begin(&origin).await?;
    let mut ends = Vec::with_capacity(outbound.len());
    for (reader, outbound) in items.into_iter().zip(outbound) {
        let (sender, receiver) = mpsc::channel(1);
        let (tell, ended) = oneshot::channel();
        let reader: StreamReader<types::Value> = reader.into();
        let witness = host.with(|mut access| {
            let consumer = Consumer { to: PollSender::new(sender) };
            let witness = access.get().terms().witness;
            reader
                .pipe(access.as_context_mut(), consumer)
                .map(|()| witness)
                .map_err(|_| no_handle(access.get(), &callback))
        })?;
        let module = origin.module.clone();
        let told = move |why: &CallError| audience.hears(why.clone(), &module.process);
        origin.module.background.spawn(carry(outbound, receiver, (witness, told), tell));
        ends.push(ended);
    }
    let (result, inbound) = reply.wait().await?;
    host.with(|mut access| {
        let mut reply = call_async::Streamed { result, inbound: Vec::new(), outbound: Vec::new() };
        let given = give(access.as_context_mut(), &mut reply, inbound, ends);
        given.map_err(|_| {
            for (stream, end) in &mut reply.inbound {
                // It was made here, and is closed once.
                let _ = stream.close(access.as_context_mut());
                let _ = end.close(access.as_context_mut());
            }
            for end in &mut reply.outbound {
                let _ = end.close(access.as_context_mut());
            }
            no_handle(access.get(), &callback)
        })?;
        Ok(reply)
    })
}

/// Makes the guest's streams and futures.
fn give(
    mut store: StoreContextMut<'_, GuestState>,
    reply: &mut call_async::Streamed,
    inbound: Vec<super::inbound::Inbound>,
    ends: Vec<oneshot::Receiver<End>>,
) -> Result<()> {
    for inbound in inbound {
        reply.inbound.push(flows::received(store.as_context_mut(), inbound)?);
    }
    for end in ends {
        // A task that is gone without a word went with the runtime.
        let end = async move { end.await.or_else(|_| Ok::<_, wasmtime::Error>(Err(gone().into()))) };
        reply.outbound.push(FutureReader::new(store.as_context_mut(), end)?);
    }
    Ok(())
}

fn gone() -> CallError {
    CallError::unknown(code::CANCELLED, "this runtime ended before the stream did", "")
}

/// Carries what a guest writes, until the stream has ended; its reader is told by `told` why the instance has.
async fn carry(
    outbound: Outbound,
    mut items: mpsc::Receiver<Vec<types::Value>>,
    (witness, told): (Witness, impl Fn(&CallError) -> CallError),
    tell: oneshot::Sender<End>,
) {
    let ended = loop {
        let batch = tokio::select! {
            biased;
            ended = outbound.until_ended() => break ended,
            batch = items.recv() => batch,
        };
        match batch {
            Some(batch) => {
                if let Err(error) = outbound.write_all(batch).await {
                    // An item that does not fit: the guest cannot be told before the end, so this is the end.
                    outbound.fail(error.clone());
                    break Err(error);
                }
            }
            None => {
                match witness.ended() {
                    None => outbound.finish(),
                    Some(why) => outbound.fail(told(why)),
                }
                break outbound.until_ended().await;
            }
        }
    };
    let _ = tell.send(ended.map_err(types::CallError::from)); // a guest that has dropped the future does not ask
}

/// Takes what a guest writes; its end is that of the channel.
struct Consumer {
    to: PollSender<Vec<types::Value>>,
}

impl StreamConsumer<GuestState> for Consumer {
    type Item = types::Value;

    fn poll_consume(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut store: StoreContextMut<'_, GuestState>,
        mut source: Source<'_, types::Value>,
        finish: bool,
    ) -> Poll<Result<StreamResult>> {
        let to = &mut self.get_mut().to;
        let room = to.poll_reserve(cx);
        if room.is_pending() && finish {
            return Poll::Ready(Ok(StreamResult::Cancelled));
        }
        if ready!(room).is_err() {
            return Poll::Ready(Ok(StreamResult::Dropped));
        }
        // Without items the guest only asks whether there is room.
        let there = source.remaining(store.as_context_mut()).min(BATCH_ITEMS);
        if there > 0 {
            let mut batch = Vec::with_capacity(there);
            source.read(store, &mut batch)?;
            if to.send_item(batch).is_err() {
                return Poll::Ready(Ok(StreamResult::Dropped));
            }
        }
        Poll::Ready(Ok(StreamResult::Completed))
    }
}
