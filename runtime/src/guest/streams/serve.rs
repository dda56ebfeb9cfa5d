//! A callback that is called with streams, or gives some, in an instance whose calls interleave.
//!
//! ```text
//!   readers of the arguments ──▶ take_in ──▶ the guest is entered ──▶ give_out ──▶ the caller has his result
//!                                                                        └──▶ … until the call's streams have ended: over
//! ```
//!
//! When a stream of the arguments breaks, the call is given up for its caller's sake: he is told, all its streams end,
//! and the guest is stopped where that costs no other call. One that runs on sees the end of the stream, as its type
//! has no place for an error: what it makes of that reaches nobody.

use std::sync::Arc;

use bytes::Bytes;
use daffi_proto::error::{CallError, code};
use daffi_proto::stream::{Flow, Flows};
use daffi_proto::value::{self, Channel, Limits as ValueLimits};
use tokio_util::sync::CancellationToken;

use super::super::answer::signed_error;
use super::super::audience::Ticket;
use super::super::instance::{bad_arguments, result_too_large};
use super::super::interleave::Interleave;
use super::super::template::Target;
use super::super::transcode::stream::{FromGuest, Inflow, OnFailure, feed};
use super::of_call::CallStreams;
use super::pump::{Broken, Held, ItemCheck, Side, into_guest, out_of_guest};
use crate::mesh::handle::StreamReader;

/// A call that is served, as its streams know it.
pub(in super::super) struct Serving<'a> {
    pub pool: &'a Arc<Interleave>,
    pub target: &'a Target,
    pub ticket: Ticket,
    pub streams: Arc<CallStreams>,
    /// Fires when nobody waits for any of it any more.
    pub given_up: CancellationToken,
}

impl Serving<'_> {
    /// Lets the streams of the arguments flow, which were found in them, and which the caller has said are there.
    ///
    /// # Errors
    /// `not-run`: `bad-arguments` where the caller has said others, `overloaded`
    pub fn take_in(&self, found: &[Channel], said: Vec<StreamReader>) -> Result<Vec<Inflow>, CallError> {
        let name = &*self.target.name;
        if !found.iter().map(Flow::of).eq(said.iter().map(StreamReader::flow)) {
            let message = format!("arguments of {name}: the streams in them are not those that the caller has opened");
            return Err(CallError::not_run(code::BAD_ARGUMENTS, message, name));
        }
        let context = &self.pool.template.context;
        let places = context.streams.take(found.len(), self.ticket.audience).map_err(|too_many| {
            let message = format!("{name} was not called: {} {too_many}", context.process.name);
            CallError::not_run(code::OVERLOADED, message, name)
        })?;
        let streams = found.iter().zip(said).zip(places).enumerate();
        let inflows = streams.map(|(number, ((channel, reader), place))| {
            let (feed, inflow) = feed(OnFailure::End);
            let held = Held::served(place, self.streams.enter(), &context.limits);
            let (signature, callback) = (self.target.signature.clone(), self.target.name.clone());
            let payload_bytes = context.limits.payload_bytes;
            let check = ItemCheck::new(signature, (number, *channel), Side::Arguments, callback, payload_bytes);
            let (pool, id) = (self.pool.clone(), self.ticket.id);
            let broken = async move |why: &Broken| {
                if let Broken::Failed(error) = why {
                    pool.broken(id, error).await;
                }
            };
            context.background.spawn_pump(into_guest(reader, feed, check, held, broken));
            inflow
        });
        Ok(inflows.collect())
    }

    /// Gives the caller what the guest returned, and waits until the call's streams have ended: then it is over. What it
    /// gives is the caller's answer where he has none yet. Cancel safe.
    ///
    /// # Errors
    /// `failed`: `payload-too-large`, `overloaded`
    pub async fn give_out(&self, returned: FromGuest) -> Result<Bytes, CallError> {
        let FromGuest { bytes, drains } = returned;
        let (name, context) = (&*self.target.name, &self.pool.template.context);
        let allowed = context.limits.max_result();
        if bytes.len() > allowed {
            return Err(result_too_large(bytes.len(), allowed, name));
        }
        if drains.is_empty() && self.streams.is_idle() {
            return Ok(bytes);
        }
        let channels = match drains.is_empty() {
            true => Vec::new(),
            false => value::channels_of_result(&self.target.signature, &bytes, &ValueLimits::for_payload(allowed))
                .map_err(|error| CallError::failed(code::INTERNAL, format!("result of {name}: {error}"), name))?,
        };
        let places = context.streams.take(drains.len(), self.ticket.audience).map_err(|too_many| {
            let message = format!("{name} ran, and its result is lost: {} {too_many}", context.process.name);
            CallError::failed(code::OVERLOADED, message, name)
        })?;
        // From here on they count, so that the instance stays.
        let held = places.into_iter().map(|place| Held::served(place, self.streams.enter(), &context.limits));
        let drains: Vec<_> = drains.into_iter().zip(held).collect();
        let flows: Flows = channels.iter().map(Flow::of).collect();
        // Without writers, nobody waits for it any more: the guest learns that nobody reads.
        let writers = self.pool.reply(self.ticket.id, bytes, flows).await;
        for ((drain, held), writer) in drains.into_iter().zip(writers) {
            let (pool, target, audience) = (self.pool.clone(), self.target.name.clone(), self.ticket.audience);
            let sign = move |error: CallError| {
                let error = CallError { callback: target.to_string(), ..error };
                signed_error(&pool.template, audience, error)
            };
            context.background.spawn_pump(out_of_guest(drain, writer, held, sign));
        }
        self.streams.idle().await;
        Ok(Bytes::new())
    }

    /// Refuses arguments that are no values of their types.
    pub fn check(&self, args: &[u8]) -> Result<Vec<Channel>, CallError> {
        let limits = ValueLimits::for_payload(self.pool.template.context.limits.payload_bytes);
        let channels = value::channels_of_args(&self.target.signature, args, &limits);
        channels.map_err(|error| bad_arguments(&error, &self.target.name, &self.target.signature))
    }
}
