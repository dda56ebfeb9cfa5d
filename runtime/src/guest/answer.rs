//! What callers are told of calls that did not run, in words.
//!
//! A message names the callback first, then what happened, then what to do where that is known. Names of other
//! tenants' processes are never told; what a caller of another tenant may know of it, [`Audience`] decides on its way out.

use std::fmt;
use std::time::Instant;

use daffi_proto::call::{Hop, Incoming, ServeResult};
use daffi_proto::error::{CallError, code};
use daffi_proto::id::{ProcessRef, TenantName};

use super::audience::Audience;
use super::roster::{Job, Refused};
use super::template::Template;

/// How many of those who hold a module's instances an error names.
const MAX_HOLDERS_NAMED: usize = 3;

/// What a busy instance is used for.
#[derive(Clone, Debug)]
pub(super) struct Busy {
    pub callback: std::sync::Arc<str>,
    pub caller: Option<ProcessRef>,
}

/// The result as its caller has it: of an error as much as he may know, with the process's name in it.
pub(super) fn signed(template: &Template, audience: Audience, result: ServeResult) -> ServeResult {
    result.map_err(|error| signed_error(template, audience, error))
}

/// The same of an error.
pub(super) fn signed_error(template: &Template, audience: Audience, error: CallError) -> CallError {
    let process = &template.context.process;
    audience.hears(error, process).at(process.name.as_str())
}

/// Whether the arguments are short enough, and calls do not come too often.
///
/// # Errors
/// `payload-too-large`, `overloaded`
pub(super) fn may_enter(template: &Template, job: &Job, now: Instant) -> Result<(), CallError> {
    let (context, incoming) = (&template.context, &job.incoming);
    let (bytes, allowed) = (incoming.args.len(), context.limits.max_arguments());
    if bytes > allowed {
        let name = &*template.callback_name(incoming.callback);
        let message = format!(
            "the arguments of {name} have {bytes} bytes, {allowed} are allowed: raise the module's max-arguments or the \
             runtime's max-payload"
        );
        return Err(CallError::not_run(code::PAYLOAD_TOO_LARGE, message, name));
    }
    let too_often = |why: &dyn fmt::Display| {
        let name = &*template.callback_name(incoming.callback);
        CallError::not_run(code::OVERLOADED, format!("{name} was not called: {why}"), name)
    };
    context.rate.take(now).map_err(|again| {
        let (process, rate, again) = (&context.process.name, context.limits.calls_per_second, again.as_millis() + 1);
        too_often(&format_args!(
            "{process} takes {rate} calls in a second, its call-rate, and has had them; try again in {again} ms"
        ))
    })?;
    context.ceiling.call(job.audience, now).map_err(|of_tenant| {
        context.rate.give_back();
        too_often(&of_tenant)
    })
}

/// The call is not even queued.
pub(super) fn refused(template: &Template, why: &Refused, incoming: &Incoming) -> CallError {
    let name = &*template.callback_name(incoming.callback);
    let process = &template.context.process;
    match why {
        Refused::Overloaded => {
            let queue = template.context.limits.queue;
            let message = format!(
                "{name} was not called: {} has {queue} calls in its queue; try later, or raise the module's queue",
                process.name
            );
            CallError::not_run(code::OVERLOADED, message, name)
        }
        Refused::Tenant(reached) => {
            CallError::not_run(code::OVERLOADED, format!("{name} was not called: {reached}; try later"), name)
        }
        Refused::Cycle => CallError::not_run(code::CYCLE, cycle(name, &incoming.chain, process), name),
        Refused::Closed => {
            CallError::not_run(code::DRAINING, format!("{name} was not called: {} is leaving", process.name), name)
        }
    }
}

/// The deadline passed before the callback was entered.
pub(super) fn late(callback: &str, when: &str) -> CallError {
    let message = format!("{callback} was not called: the call's deadline passed {when}");
    CallError::not_run(code::DEADLINE_EXCEEDED, message, callback)
}

/// The deadline passed in the queue; at the end of a mutual wait it helps to know who held the instances.
pub(super) fn late_in_queue(template: &Template, callback: &str, busy: &[Busy]) -> CallError {
    late(callback, &format!("while it waited for {}", held_by(template, busy)))
}

/// It waited in the queue for as long as the module lets calls wait.
pub(super) fn queued_too_long(template: &Template, callback: &str, busy: &[Busy]) -> CallError {
    let longest = template.context.limits.queue_time;
    let message = format!(
        "{callback} was not called: it waited {longest:?}, the module's queue-time, for {}; try later",
        held_by(template, busy)
    );
    CallError::not_run(code::OVERLOADED, message, callback)
}

/// The process, and who holds its instances.
fn held_by(template: &Template, busy: &[Busy]) -> String {
    let process = &template.context.process;
    let mut holders = busy.iter().map(|busy| match &busy.caller {
        Some(caller) if caller.tenant == process.tenant => format!("{} for {}", busy.callback, caller.name),
        _ => busy.callback.to_string(),
    });
    let first = holders.next().unwrap_or_else(|| "other calls".to_owned());
    let rest: String = holders.take(MAX_HOLDERS_NAMED - 1).map(|busy| format!(", {busy}")).collect();
    format!("{}, busy with {first}{rest}", process.name)
}

/// The caller gave up before the callback was entered.
pub(super) fn given_up(callback: &str) -> CallError {
    CallError::not_run(code::CANCELLED, format!("{callback} was not called: the caller gave up"), callback)
}

/// The caller gave up, or its deadline passed, and the callback runs on.
pub(super) fn runs_on(callback: &str, code: &str, why: &str) -> CallError {
    CallError::unknown(code, format!("{callback} was still running when {why}; it runs on"), callback)
}

/// The tenant of who reads an error: the caller's. A client is of the process's own.
fn reader<'a>(chain: &'a [Hop], own: &'a ProcessRef) -> &'a TenantName {
    chain.last().and_then(|hop| hop.process.as_ref()).map_or(&own.tenant, |caller| &caller.tenant)
}

fn cycle(name: &str, chain: &[Hop], own: &ProcessRef) -> String {
    let reader = reader(chain, own);
    let hops: Vec<&str> = chain
        .iter()
        .map(|hop| match &hop.process {
            Some(process) if process.tenant == *reader || process == own => process.name.as_str(),
            Some(_) => "(another tenant)",
            None => "(a client)",
        })
        .collect();
    format!(
        "{name} was not called: {} -> {} is a cycle, and {} waits for this very call; use an async function or a pool",
        hops.join(" -> "),
        own.name,
        own.name
    )
}
