//! Names, types and requests for the tests.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use daffi_proto::call::{CallRequest, Caller, Incoming, ResolveRequest, ScheduleRequest};
use daffi_proto::error::CallError;
use daffi_proto::frame::Frame;
use daffi_proto::id::{LocalId, ProcessName, ProcessRef, TenantName};
use daffi_proto::name::CallbackName;
use daffi_proto::node::{Input, Via};
use daffi_proto::schedule::{Plan, Terms};
use daffi_proto::signature::{Signature, SignatureBuilder, Type};

/// When every test begins, in UTC: a Monday.
pub const BEGAN: &str = "2026-05-04T12:00:00Z";

pub const SUM: &str = "demo:tutorial/math#sum";

pub fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// `func(a: s64, b: s64) -> s64`
pub fn sum_type() -> Arc<Signature> {
    let builder = SignatureBuilder::new();
    Arc::new(builder.function([("a", Type::S64), ("b", Type::S64)], Some(Type::S64)).unwrap())
}

/// `func(text: string) -> string`
pub fn text_type() -> Arc<Signature> {
    let builder = SignatureBuilder::new();
    Arc::new(builder.function([("text", Type::String)], Some(Type::String)).unwrap())
}

pub fn name(text: &str) -> ProcessName {
    ProcessName::new(text).unwrap()
}

pub fn tenant(text: &str) -> TenantName {
    TenantName::new(text).unwrap()
}

/// `name` of the default tenant, or `tenant::name`.
pub fn process(text: &str) -> ProcessRef {
    match text.split_once("::") {
        Some((of, text)) => ProcessRef { tenant: tenant(of), name: name(text) },
        None => ProcessRef { tenant: TenantName::default(), name: name(text) },
    }
}

pub fn callback(text: &str) -> CallbackName {
    CallbackName::parse(text).unwrap()
}

/// A frame comes from the controller.
pub fn from_controller(frame: Frame) -> Input {
    Input::Frame { via: Via::Controller, frame }
}

/// A frame for the controller found no room.
pub fn not_sent(frame: Frame) -> Input {
    Input::NotSent { via: Via::Controller, frame }
}

/// Streams wait for room on the link to the controller, or no more.
pub fn congested(congested: bool) -> Input {
    Input::Congested { via: Via::Controller, congested }
}

/// What a process does with a call that it gets.
#[derive(Clone, Debug)]
pub enum Behaviour {
    /// Answers with the arguments after this time.
    Echo(Duration),
    /// Leaves it to the test.
    Hold,
    /// Fails at once.
    Fail(CallError),
    /// Answers with the arguments after this time, and minds deadline and cancellation as the runtime's pools do: it
    /// stops then (`kills`), or tells the caller of a deadline and runs on.
    Pool { takes: Duration, kills: bool },
}

/// A call of the type `sum` with a deadline of 10 s.
pub fn call(caller: Option<LocalId>, name: &str) -> CallRequest {
    let caller = match caller {
        Some(id) => Caller::Process { id, instance: 0, parent: None, chain: [].into() },
        None => Caller::Client { tenant: TenantName::default() },
    };
    let signature = sum_type();
    CallRequest {
        accepts: [signature.fingerprint()].into(),
        signature: Some(signature),
        args: Bytes::from_static(b"args"),
        timeout: secs(10),
        ..CallRequest::new(caller, [callback(name)].into())
    }
}

/// The same, made by somebody of this tenant who has no name.
pub fn call_in(text: &str, name: &str) -> CallRequest {
    CallRequest { caller: Caller::Client { tenant: tenant(text) }, ..call(None, name) }
}

/// Two numbers, as arguments of the type `sum`.
pub const ARGS: &[u8] = &[2, 4];

/// A schedule of a callback of the type `sum`, by this plan.
pub fn schedule(caller: Option<LocalId>, name: &str, plan: Plan) -> ScheduleRequest {
    let call = CallRequest { args: Bytes::from_static(ARGS), ..call(caller, name) };
    ScheduleRequest { call, terms: Terms::new(plan) }
}

/// A call that is made while another is served.
pub fn below(parent: &Incoming, name: &str) -> CallRequest {
    let caller =
        Caller::Process { id: parent.process, instance: 7, parent: Some(parent.id), chain: parent.chain.clone() };
    CallRequest { caller, ..call(None, name) }
}

/// A question with a timeout of 10 s.
pub fn question(caller: Option<LocalId>, pattern: &str) -> ResolveRequest {
    let caller = call(caller, SUM).caller;
    let (pattern, timeout, spent) = (pattern.to_owned(), secs(10), secs(0));
    ResolveRequest { caller, pattern, receiver: None, timeout, spent, wait_ready: false }
}
