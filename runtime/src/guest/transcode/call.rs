//! Exports that are called with postcard bytes.

use bytes::Bytes;
use wasmtime::AsContextMut;
use wasmtime::component::{Accessor, Func, GuestTaskId, HasData, TypedFunc};

use super::dynamic::{Arguments, Lifted};
use super::error::TranscodeError;
use super::shape;
use super::stream::{FromGuest, Inflows, LiftedParts, Terms, ToGuest};

/// An export of an instance: arguments in postcard in, results in postcard out.
///
/// It is made once per instance and cheap to keep: the types are checked then, and looked at in wasmtime's own tables
/// at each call. Arguments are the concatenated parameters; a function without a result gives no bytes.
#[derive(Clone, Copy)]
pub struct DynFunc {
    typed: Typed,
}

impl DynFunc {
    /// Takes an export of an instance in `store`.
    ///
    /// # Errors
    /// [`TranscodeError::Unsupported`] where its type has a part that is no value.
    pub fn new(mut store: impl AsContextMut, func: &Func) -> Result<Self, TranscodeError> {
        let slots = shape::result_slots(&func.ty(store.as_context_mut()))?;
        let typed = Typed::new(store, func, slots).map_err(TranscodeError::from_wasmtime)?;
        Ok(Self { typed })
    }

    /// Calls the export and waits for its result; wasmtime's post-return is included.
    ///
    /// Cancel safety: none; dropping the future in between makes the store unusable.
    ///
    /// # Errors
    /// What wasm fails with (look for `wasmtime::Trap` in it), or a [`TranscodeError`] in the `wasmtime::Error`, which
    /// is [`TranscodeError::Unsupported`] for a result with streams in it. In any case the instance is to be given up.
    pub async fn call(&self, store: impl AsContextMut<Data: Send>, args: Bytes) -> wasmtime::Result<Bytes> {
        self.typed.call(store, args).await?.only_bytes()
    }

    /// Calls the export beside other calls of the same store, in an engine with concurrency. It makes progress while
    /// the store's `run_concurrent` is polled. `started` learns the task that does it, before it runs.
    ///
    /// Cancel safety: dropping the future leaves the call running in the store, with its result dropped.
    ///
    /// # Errors
    /// As [`DynFunc::call`]; a trap also ends `run_concurrent` itself.
    pub async fn call_concurrent<T, D>(
        &self,
        accessor: &Accessor<T, D>,
        args: Bytes,
        started: impl FnOnce(&mut T, GuestTaskId) + Send,
    ) -> wasmtime::Result<Bytes>
    where
        T: Send + 'static,
        D: HasData + ?Sized,
    {
        let args = Arguments(args, Inflows::default());
        self.typed.call_concurrent(accessor, args, started).await?.only_bytes()
    }

    /// Calls an export whose parameters or result may have streams in them, beside other calls of the same store, in an
    /// engine with concurrency. What comes back is the result; its streams flow, as those of the arguments do, while the
    /// store's `run_concurrent` is polled, also when the call has long returned.
    ///
    /// Cancel safety: as [`DynFunc::call_concurrent`]; but a guest whose result had streams in it waits for a reader
    /// for as long as the store lives.
    ///
    /// # Errors
    /// As [`DynFunc::call`]; a trap also ends `run_concurrent` itself.
    pub async fn call_streaming<T, D>(
        &self,
        accessor: &Accessor<T, D>,
        args: ToGuest,
        terms: Terms,
        started: impl FnOnce(&mut T, GuestTaskId) + Send,
    ) -> wasmtime::Result<FromGuest>
    where
        T: Send + 'static,
        D: HasData + ?Sized,
    {
        let args = Arguments(args.bytes, Inflows::new(args.inflows));
        let lifted = self.typed.call_concurrent(accessor, args, started).await?;
        // A reader that is not drained now would keep the guest waiting for ever.
        accessor.with(|mut store| lifted.drained(store.as_context_mut(), &terms))
    }
}

/// A typed function for each number of result slots, since wasmtime must know it when the host is compiled.
macro_rules! typed_by_slots {
    ($($variant:ident = $slots:literal),* $(,)?) => {
        #[derive(Clone, Copy)]
        enum Typed {
            $($variant(TypedFunc<Arguments, Lifted<$slots>>),)*
        }

        impl Typed {
            fn new(store: impl AsContextMut, func: &Func, slots: usize) -> wasmtime::Result<Self> {
                match slots {
                    $($slots => func.typed(store).map(Self::$variant),)*
                    _ => Err(TranscodeError::Refused(format!("{slots} result slots")).into()),
                }
            }

            async fn call(
                &self,
                store: impl AsContextMut<Data: Send>,
                args: Bytes,
            ) -> wasmtime::Result<LiftedParts> {
                let args = Arguments(args, Inflows::default());
                match self {
                    $(Self::$variant(func) => func.call_async(store, args).await.map(LiftedParts::from),)*
                }
            }

            async fn call_concurrent<T, D>(
                &self,
                accessor: &Accessor<T, D>,
                args: Arguments,
                started: impl FnOnce(&mut T, GuestTaskId) + Send,
            ) -> wasmtime::Result<LiftedParts>
            where
                T: Send + 'static,
                D: HasData + ?Sized,
            {
                match self {
                    $(Self::$variant(func) => {
                        let call = accessor.with(|mut store| {
                            let call = func.start_call_concurrent(store.as_context_mut(), args)?;
                            started(store.data_mut(), call.task());
                            Ok::<_, wasmtime::Error>(call)
                        })?;
                        func.finish_call_concurrent(accessor, call).await.map(LiftedParts::from)
                    })*
                }
            }
        }
    };
}

typed_by_slots! {
    S0 = 0, S1 = 1, S2 = 2, S3 = 3, S4 = 4, S5 = 5, S6 = 6, S7 = 7, S8 = 8, S9 = 9, S10 = 10, S11 = 11, S12 = 12,
    S13 = 13, S14 = 14, S15 = 15, S16 = 16, S17 = 17,
}
