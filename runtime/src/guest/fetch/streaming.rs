//! Typed imports with streams and futures in their parameters or results.
//!
//! ```text
//!   guest calls ──▶ its streams flow at once ──▶ the answer ──▶ the streams in it flow ──▶ … until they have ended
//! ```
//!
//! The streams of a call live on when it has its answer; they are tasks of the module, and the place of the call among
//! those that the module has open is free when the last one has ended. A stream that a guest reads and that ends before
//! its end traps it, whatever the form of the import: `stream<T>` has no place for an error, and a part is not to be taken
//! for the whole. So, as with plain imports, a call whose result has streams is finished when the one that it is made for
//! is given up where others rely on the instance.
//! An import that is no `async func` keeps the whole instance waiting until it has its answer, so that streams in its
//! arguments do not flow before.

use std::sync::Arc;

use bytes::Bytes;
use daffi_proto::call::{CallReply, CallRequest};
use daffi_proto::error::{CallError, Outcome, code};
use daffi_proto::signature::Form;
use daffi_proto::stream::Flow;
use daffi_proto::value::{self, Channel, Limits as ValueLimits, checked_err};
use wasmtime::AsContextMut;
use wasmtime::component::LinkerInstance;
use wasmtime::component::types::ComponentFunc;

use super::super::audience::Audience;
use super::super::fault::FetchFailed;
use super::super::outgoing::OpenCall;
use super::super::state::{CallOrigin, GuestState};
use super::super::streams::{Held, ItemCheck, Place, Side, into_guest, out_of_guest};
use super::super::transcode::stream::{FromGuest, Inflow, OnFailure, ToGuest, feed};
use super::super::transcode::{TranscodeError, define_streaming_import, define_streaming_import_concurrent};
use super::Import;
use crate::mesh::handle::{StreamReader, StreamingReply};

/// Defines an import that has streams in its type.
pub(super) fn define(
    instance: &mut LinkerInstance<'_, GuestState>,
    name: &str,
    ty: &ComponentFunc,
    import: Arc<Import>,
) -> Result<(), TranscodeError> {
    if ty.async_() {
        define_streaming_import_concurrent(instance, name, ty, GuestState::terms, move |accessor, args| {
            let import = import.clone();
            Box::pin(async move {
                let origin = accessor.with(|mut access| CallOrigin::of(access.as_context_mut()));
                import.call_streaming(origin, args).await
            })
        })
    } else {
        define_streaming_import(instance, name, ty, GuestState::terms, move |store, args| {
            let import = import.clone();
            let origin = CallOrigin::of(store);
            Box::pin(async move { import.call_streaming(origin, args).await })
        })
    }
}

impl Import {
    /// Makes the call; an error traps the guest.
    async fn call_streaming(&self, origin: CallOrigin, args: FromGuest) -> wasmtime::Result<ToGuest> {
        match self.ask_streaming(&origin, args).await {
            Ok(result) => Ok(result),
            Err(error) if self.has_form(Form::Checked) => Ok(ToGuest::from(Bytes::from(checked_err(&error)))),
            Err(error) => Err(wasmtime::Error::new(FetchFailed { name: self.name.clone(), error })),
        }
    }

    async fn ask_streaming(&self, origin: &CallOrigin, args: FromGuest) -> Result<ToGuest, CallError> {
        let FromGuest { bytes, drains } = args;
        let mesh = &origin.module.mesh;
        let (request, open) = self.request(origin, bytes)?;
        let open = Arc::new(open);
        let channels = self.given(&request, origin.module.limits.payload_bytes)?;
        let places = self.places(origin, drains.len(), Outcome::NotRun)?;
        let when_abandoned = match self.signature.gives_streams() {
            true => origin.module.plain_calls,
            false => request.when_abandoned,
        };
        let channels = channels.iter().map(Flow::of).collect();
        let mut call = mesh.start_streaming(CallRequest { channels, when_abandoned, ..*request }).await?;
        for ((drain, place), writer) in drains.into_iter().zip(places).zip(std::mem::take(&mut call.writers)) {
            let (module, callback) = (origin.module.clone(), self.name.clone());
            let audience = Audience::of(self.tenant.as_ref(), &module.process.tenant);
            let sign = move |error: CallError| {
                let error = CallError { callback, ..error };
                audience.hears(error, &module.process).at(module.process.name.as_str())
            };
            origin.module.background.spawn_pump(out_of_guest(drain, writer, held(origin, place, &open), sign));
        }
        let awaited = origin.awaits();
        let StreamingReply { reply, readers } = call.await?;
        drop(awaited);
        let (bytes, channels) = self.result(reply.clone(), origin.module.limits.payload_bytes)?;
        let inflows = self.take_in(origin, &open, &reply, channels, readers)?;
        Ok(ToGuest { bytes, inflows })
    }

    /// The streams in the arguments. They come from the guest itself, so that only a defect could make them no values.
    fn given(&self, request: &CallRequest, allowed: usize) -> Result<Vec<Channel>, CallError> {
        let channels = value::channels_of_args(&self.signature, &request.args, &ValueLimits::for_payload(allowed));
        channels.map_err(|error| {
            CallError::not_run(code::BAD_ARGUMENTS, format!("arguments of {}: {error}", self.name), self.name.as_str())
        })
    }

    /// Lets the streams of a result flow into the guest.
    fn take_in(
        &self,
        origin: &CallOrigin,
        open: &Arc<OpenCall>,
        reply: &CallReply,
        channels: Vec<Channel>,
        readers: Vec<StreamReader>,
    ) -> Result<Vec<Inflow>, CallError> {
        if !channels.iter().map(Flow::of).eq(readers.iter().map(StreamReader::flow)) {
            let message = format!("{} gave a result whose streams are not those that it opened", self.name);
            return Err(CallError::failed(code::INTERNAL, message, self.name.as_str()).at(reply.process.as_str()));
        }
        let places = self.places(origin, channels.len(), Outcome::Failed)?;
        let streams = channels.into_iter().zip(readers).zip(places).enumerate();
        let inflows = streams.map(|(number, ((channel, reader), place))| {
            let (feed, inflow) = feed(OnFailure::Trap);
            let payload_bytes = origin.module.limits.payload_bytes;
            let (signature, callback) = (self.signature.clone(), self.name.as_str().into());
            let check = ItemCheck::new(signature, (number, channel), Side::Result, callback, payload_bytes);
            let held = held(origin, place, open);
            origin.module.background.spawn_pump(into_guest(reader, feed, check, held, async |_| ()));
            inflow
        });
        Ok(inflows.collect())
    }

    /// Takes places for streams of the call, which has not run yet or has.
    fn places(&self, origin: &CallOrigin, wanted: usize, outcome: Outcome) -> Result<Vec<Place>, CallError> {
        origin.module.streams.take(wanted, Audience::Home).map_err(|too_many| {
            let process = &origin.module.process.name;
            if outcome == Outcome::NotRun {
                let message = format!("{} was not called: {process} {too_many}", self.name);
                return CallError::not_run(code::OVERLOADED, message, self.name.as_str());
            }
            let message = format!("{} ran, and its result is lost: {process} {too_many}", self.name);
            CallError::failed(code::OVERLOADED, message, self.name.as_str())
        })
    }
}

/// What a stream of a call that the module makes holds.
fn held(origin: &CallOrigin, place: Place, open: &Arc<OpenCall>) -> Held {
    let member = origin.streams.as_ref().map(|streams| streams.enter());
    Held::made(place, member, open.clone(), &origin.module.limits)
}
