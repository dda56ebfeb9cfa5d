//! What all modules of one tenant in this runtime may use together, beside what each may by itself.
//!
//! Invariants: what was taken is given back when what it was taken for ends, however it does; what a ceiling has no room
//! for is refused at once, so that nobody waits for another module. Each module still has limits of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use daffi_proto::id::TenantName;

/// How much of one thing there may be.
#[derive(Debug)]
struct Gauge {
    used: AtomicUsize,
    most: usize,
}

impl Gauge {
    fn new(most: Option<usize>) -> Self {
        Self { used: AtomicUsize::new(0), most: most.unwrap_or(usize::MAX) }
    }

    fn take(&self, more: usize) -> bool {
        let add = |used: usize| used.checked_add(more).filter(|sum| *sum <= self.most);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).is_ok()
    }

    fn give(&self, less: usize) {
        self.used.fetch_sub(less, Ordering::Relaxed);
    }
}

/// What a tenant may have in this runtime; none for what only its modules' own limits bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CeilingLimits {
    /// Linear memory of all instances.
    pub memory_bytes: Option<usize>,
    /// Instances of all modules, those of `run` too.
    pub instances: Option<usize>,
    /// Calls to others that all modules have open.
    pub open_calls: Option<usize>,
}

/// The ceilings of one tenant, which its modules share.
#[derive(Debug)]
pub struct Ceiling {
    tenant: TenantName,
    memory: Gauge,
    instances: Gauge,
    open_calls: Gauge,
}

/// A tenant has as much as it may.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("tenant {tenant} may have {most} {what} in this runtime, its {key}, and has no room for more")]
pub struct CeilingReached {
    tenant: TenantName,
    most: usize,
    what: &'static str,
    key: &'static str,
}

impl Ceiling {
    /// Nothing of it is used yet.
    pub fn new(tenant: TenantName, limits: CeilingLimits) -> Self {
        Self {
            tenant,
            memory: Gauge::new(limits.memory_bytes),
            instances: Gauge::new(limits.instances),
            open_calls: Gauge::new(limits.open_calls),
        }
    }

    /// No ceiling.
    pub fn none(tenant: TenantName) -> Self {
        Self::new(tenant, CeilingLimits::default())
    }

    /// Takes memory, to be given back by [`Ceiling::give_memory`].
    ///
    /// # Errors
    /// [`CeilingReached`]
    pub(super) fn take_memory(&self, bytes: usize) -> Result<(), CeilingReached> {
        self.take(&self.memory, bytes, "bytes of memory", "max-memory")
    }

    pub(super) fn give_memory(&self, bytes: usize) {
        self.memory.give(bytes);
    }

    /// Takes a place for an instance; it is free again when the result is dropped.
    ///
    /// # Errors
    /// [`CeilingReached`]
    pub(super) fn instance(self: &Arc<Self>) -> Result<InstancePlace, CeilingReached> {
        self.take(&self.instances, 1, "instances", "max-instances")?;
        Ok(InstancePlace(self.clone()))
    }

    /// Takes a place for a call to others, to be given back by [`Ceiling::call_ended`].
    ///
    /// # Errors
    /// [`CeilingReached`]
    pub(super) fn open_call(&self) -> Result<(), CeilingReached> {
        self.take(&self.open_calls, 1, "open calls to others", "max-open-calls")
    }

    pub(super) fn call_ended(&self) {
        self.open_calls.give(1);
    }

    fn take(&self, gauge: &Gauge, more: usize, what: &'static str, key: &'static str) -> Result<(), CeilingReached> {
        match gauge.take(more) {
            true => Ok(()),
            false => Err(CeilingReached { tenant: self.tenant.clone(), most: gauge.most, what, key }),
        }
    }
}

/// An instance's place among those of its tenant.
#[derive(Debug)]
pub(super) struct InstancePlace(Arc<Ceiling>);

impl Drop for InstancePlace {
    fn drop(&mut self) {
        self.0.instances.give(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_back_can_be_taken_again_and_an_error_names_the_ceiling() {
        let limits = CeilingLimits { memory_bytes: Some(10), instances: Some(1), open_calls: Some(0) };
        let ceiling = Arc::new(Ceiling::new(TenantName::default(), limits));
        let place = ceiling.instance().unwrap();
        let error = ceiling.instance().unwrap_err().to_string();
        assert_eq!(
            error,
            "tenant default may have 1 instances in this runtime, its max-instances, and has no room for more"
        );
        drop(place);
        assert!(ceiling.instance().is_ok() && ceiling.instance().is_ok());
        assert!(ceiling.take_memory(6).is_ok() && ceiling.take_memory(5).is_err());
        ceiling.give_memory(6);
        assert!(ceiling.take_memory(10).is_ok());
        assert!(ceiling.open_call().unwrap_err().to_string().contains("max-open-calls"));
    }

    #[test]
    fn without_limits_there_is_room_for_all() {
        let ceiling = Arc::new(Ceiling::none(TenantName::default()));
        assert!(ceiling.take_memory(usize::MAX).is_ok() && ceiling.open_call().is_ok());
    }
}
