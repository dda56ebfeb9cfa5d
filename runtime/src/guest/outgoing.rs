//! The calls that one module has open to others: how many, and how many bytes of arguments they hold.
//!
//! A guest whose calls interleave can begin calls without waiting for any, and the host holds the arguments of each
//! until it ends; it also holds results of BG calls until the guest drops them. What is open is therefore counted for the module, all its instances together, and what is beyond is
//! refused at once: the guest that opened the others is the one to wait.
//! Invariant: what was taken is given back when the call ends, however it does.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use daffi_proto::error::{CallError, code};
use daffi_proto::id::ProcessRef;

use super::bell::Bell;
use super::ceiling::{Ceiling, CeilingReached, Kind};
use super::limits::{InstancePolicy, ModuleLimits};

/// What a module has open, and may have.
#[derive(Debug)]
pub(super) struct Outgoing {
    calls: AtomicUsize,
    max_calls: usize,
    bytes: AtomicUsize,
    max_bytes: usize,
    bell: Arc<Bell>,
    /// What all modules of the tenant may have open.
    ceiling: Arc<Ceiling>,
}

impl Outgoing {
    /// None yet; changes of their number ring the bell.
    pub fn new(limits: &ModuleLimits, policy: InstancePolicy, bell: Arc<Bell>, ceiling: Arc<Ceiling>) -> Self {
        Self {
            calls: AtomicUsize::new(0),
            max_calls: limits.open_calls,
            bytes: AtomicUsize::new(0),
            max_bytes: limits.held_bytes(policy),
            bell,
            ceiling,
        }
    }

    /// How many calls are open.
    pub fn count(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }

    /// Takes a place for a call with so many bytes of arguments; it is free again when the result is dropped.
    ///
    /// # Errors
    /// `not-run`, `overloaded`
    pub fn open(self: &Arc<Self>, own: &ProcessRef, callback: &str, bytes: usize) -> Result<OpenCall, CallError> {
        let refused = |what: &str| {
            let message = format!("{callback} was not called: {} has {what}", own.name);
            CallError::not_run(code::OVERLOADED, message, callback)
        };
        if !take(&self.calls, 1, self.max_calls) {
            let most = self.max_calls;
            return Err(refused(&format!(
                "{most} calls of its own open, as many as it may: wait for some, or raise the module's open-calls"
            )));
        }
        if let Err(reached) = self.ceiling.take(Kind::OpenCalls, 1) {
            self.calls.fetch_sub(1, Ordering::Relaxed);
            let message = format!("{callback} was not called: {reached}; wait for some");
            return Err(CallError::not_run(code::OVERLOADED, message, callback));
        }
        // From here on the place is given back with this, whatever comes.
        let mut open = OpenCall { outgoing: self.clone(), bytes: 0 };
        self.bell.load_changed();
        if !take(&self.bytes, bytes, self.max_bytes) {
            let most = self.max_bytes;
            return Err(refused(&format!(
                "calls of its own open whose arguments and these are more than {most} bytes: wait for some, or raise \
                 the runtime's max-payload"
            )));
        }
        open.bytes = bytes;
        if let Err(reached) = self.ceiling.take(Kind::Held, bytes) {
            // Of the tenant's there are none that it could give back.
            self.bytes.fetch_sub(std::mem::take(&mut open.bytes), Ordering::Relaxed);
            let message = format!("{callback} was not called: {reached}; wait for some calls, or send less");
            return Err(CallError::not_run(code::OVERLOADED, message, callback));
        }
        Ok(open)
    }
}

/// A result is larger than what there is room for. In words that follow what was lost.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unheld {
    #[error(
        "the arguments and results that this module holds may have {0} bytes; drop what was fetched, or raise the runtime's max-payload"
    )]
    OfModule(usize),
    #[error("{0}; drop what was fetched")]
    OfTenant(CeilingReached),
}

fn take(taken: &AtomicUsize, more: usize, most: usize) -> bool {
    let add = |taken: usize| taken.checked_add(more).filter(|sum| *sum <= most);
    taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).is_ok()
}

/// An open call's place.
#[derive(Debug)]
pub(super) struct OpenCall {
    outgoing: Arc<Outgoing>,
    bytes: usize,
}

impl OpenCall {
    /// Holds so many bytes from now on instead of those it held: the arguments have gone, a result came.
    ///
    /// # Errors
    /// Where these are too many; it holds none then.
    pub fn hold(&mut self, bytes: usize) -> Result<(), Unheld> {
        self.give_bytes();
        if !take(&self.outgoing.bytes, bytes, self.outgoing.max_bytes) {
            return Err(Unheld::OfModule(self.outgoing.max_bytes));
        }
        if let Err(reached) = self.outgoing.ceiling.take(Kind::Held, bytes) {
            self.outgoing.bytes.fetch_sub(bytes, Ordering::Relaxed);
            return Err(Unheld::OfTenant(reached));
        }
        self.bytes = bytes;
        Ok(())
    }

    fn give_bytes(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        self.outgoing.bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.outgoing.ceiling.give(Kind::Held, bytes);
    }
}

impl Drop for OpenCall {
    fn drop(&mut self) {
        self.give_bytes();
        self.outgoing.calls.fetch_sub(1, Ordering::Relaxed);
        self.outgoing.ceiling.give(Kind::OpenCalls, 1);
        self.outgoing.bell.load_changed();
    }
}

#[cfg(test)]
mod tests {
    use daffi_proto::error::Outcome;
    use daffi_proto::id::{ProcessName, TenantName};

    use super::*;
    use crate::guest::ceiling::CeilingLimits;

    fn own() -> ProcessRef {
        ProcessRef { tenant: TenantName::default(), name: ProcessName::new("own").unwrap() }
    }

    fn outgoing(policy: InstancePolicy) -> Arc<Outgoing> {
        let limits = ModuleLimits { open_calls: 6, payload_bytes: 100, ..ModuleLimits::default() };
        Outgoing::new(&limits, policy, Arc::default(), Arc::new(Ceiling::none(TenantName::default()))).into()
    }

    #[test]
    fn calls_beyond_the_limit_are_refused_until_one_ends() {
        let outgoing = outgoing(InstancePolicy::Singleton);
        let mut open: Vec<OpenCall> = (0..6).map(|_| outgoing.open(&own(), "f", 1).unwrap()).collect();
        let error = outgoing.open(&own(), "f", 1).unwrap_err();
        assert_eq!((error.outcome, error.code.as_str()), (Outcome::NotRun, code::OVERLOADED));
        open.pop();
        assert!(outgoing.open(&own(), "f", 1).is_ok());
    }

    #[test]
    fn bytes_beyond_the_limit_are_refused_and_take_nothing() {
        let outgoing = outgoing(InstancePolicy::Singleton);
        let open = outgoing.open(&own(), "f", 301).unwrap();
        let error = outgoing.open(&own(), "f", 100).unwrap_err();
        assert!(error.message.contains("more than 400 bytes"), "{}", error.message);
        assert!(outgoing.open(&own(), "f", 99).is_ok());
        drop(open);
        let outgoing = Arc::into_inner(outgoing).unwrap();
        assert_eq!((outgoing.calls.into_inner(), outgoing.bytes.into_inner()), (0, 0));
    }

    #[test]
    fn a_result_is_held_instead_of_the_arguments() {
        let outgoing = outgoing(InstancePolicy::Singleton);
        let mut open = outgoing.open(&own(), "f", 300).unwrap();
        assert_eq!(open.hold(400), Ok(()));
        assert!(outgoing.open(&own(), "f", 1).is_err());
        assert_eq!(open.hold(401), Err(Unheld::OfModule(400)));
        assert!(outgoing.open(&own(), "f", 400).is_ok());
        drop(open);
        assert_eq!(Arc::into_inner(outgoing).unwrap().bytes.into_inner(), 0);
    }

    #[test]
    fn modules_of_a_tenant_share_the_bytes_that_their_calls_hold() {
        let of_tenant = CeilingLimits { held_bytes: Some(500), ..CeilingLimits::default() };
        let ceiling = Arc::new(Ceiling::new(TenantName::default(), of_tenant));
        let limits = ModuleLimits { open_calls: 6, payload_bytes: 100, ..ModuleLimits::default() };
        let new = || Arc::new(Outgoing::new(&limits, InstancePolicy::Singleton, Arc::default(), ceiling.clone()));
        let (one, other) = (new(), new());
        let mut open = one.open(&own(), "f", 300).unwrap();
        let error = other.open(&own(), "f", 201).unwrap_err();
        assert_eq!((error.outcome, error.code.as_str()), (Outcome::NotRun, code::OVERLOADED));
        assert!(error.message.contains("tenant default") && error.message.contains("max-held"), "{error}");
        assert_eq!((other.count(), other.bytes.load(Ordering::Relaxed)), (0, 0));
        let rest = other.open(&own(), "f", 200).unwrap();
        assert!(matches!(open.hold(301), Err(Unheld::OfTenant(_))));
        drop(rest);
        assert!(open.hold(301).is_ok() && other.open(&own(), "f", 199).is_ok());
    }

    #[test]
    fn each_instance_may_have_a_call_of_full_size() {
        let outgoing = outgoing(InstancePolicy::Pool(5));
        let _open: Vec<OpenCall> = (0..5).map(|_| outgoing.open(&own(), "f", 100).unwrap()).collect();
        assert!(outgoing.open(&own(), "f", 1).is_err());
    }
}
