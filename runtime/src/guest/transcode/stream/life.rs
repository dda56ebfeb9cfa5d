//! Whether an instance still lives.
//!
//! wasmtime drops what reads a guest's stream both when the guest drops its end of it and when the whole store is
//! dropped. The first is the stream's end, the second must not be taken for it. So a [`Life`] lies in the store's data,
//! which wasmtime drops before it drops the guest's streams (a test holds it to that).

use std::sync::{Arc, OnceLock};

use daffi_proto::error::{CallError, code};

/// The life of an instance; it lies in the data of the instance's store and ends with it.
#[derive(Debug, Default)]
pub struct Life {
    ended: Arc<OnceLock<CallError>>,
}

/// Knows whether a [`Life`] has ended.
#[derive(Clone, Debug)]
pub struct Witness {
    ended: Arc<OnceLock<CallError>>,
}

impl Life {
    /// Says why the instance is about to end, for who reads its streams; the first reason stays.
    pub fn end(&self, why: CallError) {
        let _ = self.ended.set(why);
    }

    /// One that knows this life's end.
    pub fn witness(&self) -> Witness {
        Witness { ended: self.ended.clone() }
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        self.end(CallError::failed(code::CANCELLED, "the instance that wrote it has ended", ""));
    }
}

impl Witness {
    /// Why the instance has ended; none while it lives.
    pub fn ended(&self) -> Option<&CallError> {
        self.ended.get()
    }
}
