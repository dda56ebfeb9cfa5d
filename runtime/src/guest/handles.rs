//! The handles that a module's guests hold of `daffi:runtime`: calls, streams, watches, and what they wait for of these.
//!
//! They are bounded for each instance and each tenant by the instance's table ([`super::handle_table`]); here they are counted
//! for the module, so that a leak shows. Handles of WASI are not among them: a guest keeps its standard output for as long as
//! it lives.
//! Invariant: a handle counts from when it is made until it is dropped, by its guest or with its guest's store.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use wasmtime_wasi::async_trait;
use wasmtime_wasi::p2::Pollable;

use super::bell::Bell;

/// How many handles a module's guests hold, all its instances together.
#[derive(Debug)]
pub(super) struct Handles {
    held: AtomicUsize,
    bell: Arc<Bell>,
}

impl Handles {
    /// None yet; changes ring the bell.
    pub fn new(bell: Arc<Bell>) -> Self {
        Self { held: AtomicUsize::new(0), bell }
    }

    /// A handle of this.
    pub fn of<T>(self: &Arc<Self>, what: T) -> Handle<T> {
        self.held.fetch_add(1, Ordering::Relaxed);
        self.bell.load_changed();
        Handle { what, _count: Count(self.clone()) }
    }

    /// How many are held.
    pub fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }
}

/// What is in a guest's table, and counted while it is.
#[derive(Debug)]
pub struct Handle<T> {
    what: T,
    _count: Count,
}

#[derive(Debug)]
struct Count(Arc<Handles>);

impl Drop for Count {
    fn drop(&mut self) {
        self.0.held.fetch_sub(1, Ordering::Relaxed);
        self.0.bell.load_changed();
    }
}

impl<T> Deref for Handle<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.what
    }
}

#[async_trait]
impl<T: Pollable> Pollable for Handle<T> {
    async fn ready(&mut self) {
        self.what.ready().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_counts_until_it_is_dropped_and_each_change_is_to_be_told() {
        let bell = Arc::new(Bell::default());
        let handles = Arc::new(Handles::new(bell.clone()));
        let (one, two) = (handles.of("one"), handles.of("two"));
        assert_eq!((handles.held(), *one), (2, "one"));
        assert!(bell.take_load() && !bell.has_load());
        drop(one);
        assert!(bell.take_load());
        drop(two);
        assert_eq!((handles.held(), bell.has_load()), (0, true));
    }
}
