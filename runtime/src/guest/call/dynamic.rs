//! From a guest's text and values to a call of the mesh, and back.
//!
//! Invariant: a name is resolved to one full name and signature first, the arguments are encoded by that signature, and
//! the call accepts that signature only: if the callback changes in between, the call fails instead of being misread.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use daffi_proto::call::{Answer, CallReply, CallRequest, ResolveRequest, WhenAbandoned};
use daffi_proto::error::{CallError, code};
use daffi_proto::name::CallbackName;
use daffi_proto::signature::Signature;
use daffi_proto::value::{self, Encoded, Encoding, Limits as ValueLimits, ValueError};

use super::super::instance::{bad_arguments, short, unfit};
use super::super::outgoing::{OpenCall, Unheld};
use super::super::state::CallOrigin;
use super::super::threads::leave_network_with;
use super::options::How;
use super::{call, types};

/// A call that a guest wants, checked as far as it can be without the callback.
pub(super) struct Wish {
    callback: String,
    arguments: types::Value,
    how: How,
    /// How long it may take from its beginning on.
    timeout: Duration,
    since: Instant,
    place: Option<OpenCall>,
}

/// A call whose callback is known.
pub(super) struct Prepared {
    pub request: CallRequest,
    pub reader: Reader,
    /// Its place among the calls that its module has open, unless it was taken before.
    pub place: Option<OpenCall>,
}

/// Makes a guest's value of a reply.
#[derive(Clone)]
pub(super) struct Reader {
    callback: CallbackName,
    signature: Arc<Signature>,
    encoding: Encoding,
    limits: ValueLimits,
}

/// FG. Cancel safe: dropping the future gives the call up.
///
/// # Errors
/// What becomes of the call.
pub(super) async fn fg(
    origin: &CallOrigin,
    callback: String,
    arguments: types::Value,
    options: Option<call::FgOptions>,
) -> Result<types::Value, CallError> {
    let how = How::fg(options, &callback)?;
    let wish = Wish::new(origin, callback, arguments, how)?;
    let prepared = wish.look_up(origin).await?;
    let reply = origin.module.mesh.call(prepared.request).await?;
    leave_network_with(reply.result.len()).await;
    prepared.reader.read(reply)
}

impl Wish {
    /// Checks it, and takes its place among the module's open calls: the arguments are held from here on.
    ///
    /// # Errors
    /// `not-run`: `bad-arguments`, `deadline-exceeded`, `overloaded`
    pub fn new(origin: &CallOrigin, callback: String, arguments: types::Value, how: How) -> Result<Self, CallError> {
        let timeout = how.timeout(origin, &callback)?;
        let place = Some(origin.open(&callback, length(&arguments))?);
        Ok(Self { callback, arguments, how, timeout, since: Instant::now(), place })
    }

    /// The name as the guest wrote it.
    pub fn callback(&self) -> &str {
        &self.callback
    }

    /// Whether it may be waited for before it is placed.
    pub fn waits(&self) -> bool {
        self.how.wait_ready
    }

    /// Whether its acceptance is waited for, and no more.
    pub fn is_acknowledged(&self) -> bool {
        self.how.answer == Answer::Accepted
    }

    /// Takes its place among the module's open calls over.
    pub fn take_place(&mut self) -> Option<OpenCall> {
        self.place.take()
    }

    /// Finds out what the name means, and encodes the arguments accordingly. Cancel safe.
    ///
    /// # Errors
    /// `not-run`
    pub async fn look_up(self, origin: &CallOrigin) -> Result<Prepared, CallError> {
        let Self { callback, arguments, how, timeout, since, place } = self;
        let How { receiver, wait_ready, eta, retry, answer, .. } = how;
        let limits = ValueLimits::for_payload(origin.module.limits.payload_bytes);
        let caller = origin.caller(&callback)?;
        // A process's own callbacks do not count, but where it names itself: a schedule may be its own, and a call is
        // told why it is refused. What nobody waits for is not below the call that this guest serves.
        let itself = receiver.as_ref() == Some(&origin.module.process.name);
        let asks = match answer {
            _ if itself => origin.nobody(),
            Answer::Result => caller.clone(),
            Answer::Accepted | Answer::Sent => origin.alone().caller(&callback)?,
        };
        let (pattern, timeout_in_all) = (callback, eta + timeout);
        let question = ResolveRequest {
            caller: asks,
            pattern,
            receiver: receiver.clone(),
            timeout: timeout_in_all,
            spent: Duration::ZERO,
            wait_ready,
        };
        let resolved = origin.module.mesh.resolve(question).await?;
        origin.may_call(&resolved)?;
        let encoding = encoding_of(&arguments);
        leave_network_with(length(&arguments)).await;
        let args = encode(&resolved.signature, arguments, &limits)
            .map_err(|error| bad_arguments(&error, &resolved.callback.to_string(), &resolved.signature))?;
        let elapsed = since.elapsed();
        let late = elapsed.saturating_sub(eta);
        let request = CallRequest {
            tenant: resolved.tenant.clone(),
            accepts: Arc::from([resolved.fingerprint]),
            signature: Some(resolved.signature.clone()),
            receiver,
            args,
            timeout: timeout.saturating_sub(late),
            spent: late,
            wait_ready,
            eta: eta.saturating_sub(elapsed),
            answer,
            retry,
            // Its failure is a value: it ends with the call that it is made for, unless nobody waits for it.
            when_abandoned: match answer {
                Answer::Result => WhenAbandoned::Cancel,
                Answer::Accepted | Answer::Sent => WhenAbandoned::Finish,
            },
            ..CallRequest::new(caller, Arc::from([resolved.callback.clone()]))
        };
        let reader = Reader { callback: resolved.callback, signature: resolved.signature, encoding, limits };
        Ok(Prepared { request, reader, place })
    }
}

impl Reader {
    /// The error of a result that may not be held.
    pub fn unheld(&self, reply: &CallReply, why: &Unheld) -> CallError {
        let message = format!("{} ran, and its result is lost: {why}", self.callback);
        CallError::failed(code::LIMIT_EXCEEDED, message, self.callback.to_string()).at(reply.process.as_str())
    }

    /// The result in the encoding of the arguments.
    ///
    /// # Errors
    /// `failed` when it is no value of its type, or too large: it comes from another machine.
    pub fn read(&self, reply: CallReply) -> Result<types::Value, CallError> {
        decode(&self.signature, reply.result, self.encoding, &self.limits).map_err(|error| {
            let is = short(&self.signature);
            let message = format!("{} gave a result that does not fit its type: {error}; it is {is}", self.callback);
            CallError::failed(unfit(&error), message, self.callback.to_string()).at(reply.process.as_str())
        })
    }
}

/// The encoding of a dynamic call's arguments, which its result is to have too.
pub(super) fn encoding_of(value: &types::Value) -> Encoding {
    match value {
        types::Value::Postcard(_) => Encoding::Postcard,
        types::Value::Json(_) => Encoding::Json,
        types::Value::Wave(_) => Encoding::Wave,
    }
}

/// How many bytes of the host's memory it takes.
pub(super) fn length(value: &types::Value) -> usize {
    match value {
        types::Value::Postcard(bytes) => bytes.len(),
        types::Value::Json(text) | types::Value::Wave(text) => text.len(),
    }
}

fn encode(signature: &Signature, arguments: types::Value, limits: &ValueLimits) -> Result<Bytes, ValueError> {
    value::check_plain(signature)?;
    encode_args(signature, arguments, limits)
}

/// Arguments in postcard, by the function's signature; streams are their numbers.
///
/// # Errors
/// They are no arguments of it.
pub(super) fn encode_args(
    signature: &Signature,
    arguments: types::Value,
    limits: &ValueLimits,
) -> Result<Bytes, ValueError> {
    Encoded::from(arguments).into_args(signature, limits)
}

/// A result in this encoding, by the function's signature.
///
/// # Errors
/// The bytes are no result of it.
pub(super) fn decode(
    signature: &Signature,
    result: Bytes,
    encoding: Encoding,
    limits: &ValueLimits,
) -> Result<types::Value, ValueError> {
    Encoded::of_result(signature, result, encoding, limits).map(types::Value::from)
}
