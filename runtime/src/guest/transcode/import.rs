//! Imports that are served with postcard bytes.
//!
//! The handler gets the arguments as the concatenated parameters and gives the result's bytes, none where the function
//! has no result. An error of the handler traps the guest.

use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use wasmtime::StoreContextMut;
use wasmtime::component::types::ComponentFunc;
use wasmtime::component::{Accessor, LinkerInstance};

use super::dynamic::{Lifted, Reply};
use super::error::TranscodeError;
use super::shape;

/// What a handler of an import gives.
pub type ImportFuture<'a> = Pin<Box<dyn Future<Output = wasmtime::Result<Bytes>> + Send + 'a>>;

type Handler<T> = Arc<dyn for<'a> Fn(StoreContextMut<'a, T>, Bytes) -> ImportFuture<'a> + Send + Sync>;
type ConcurrentHandler<T> = Arc<dyn for<'a> Fn(&'a Accessor<T>, Bytes) -> ImportFuture<'a> + Send + Sync>;

/// Calls one of the functions below with the numbers of slots as constants, since wasmtime must know them when the host
/// is compiled. Results of more than one slot go through memory, whatever their number.
macro_rules! by_slots {
    ($wrap:ident, $ty:expr, $linker:expr, $name:expr, $handler:expr) => {
        by_slots!($wrap, $ty, $linker, $name, $handler, 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17)
    };
    ($wrap:ident, $ty:expr, $linker:expr, $name:expr, $handler:expr, $($slots:literal)*) => {
        match (shape::parameter_slots($ty)?, shape::result_slots($ty)?) {
            $(
                ($slots, 1) => $wrap::<_, $slots, 1>($linker, $name, $handler),
                ($slots, _) => $wrap::<_, $slots, 0>($linker, $name, $handler),
            )*
            (slots, _) => Err(TranscodeError::Refused(format!("{slots} parameter slots")).into()),
        }
    };
}

/// Defines an import whose WIT function is not `async`, in an engine of either kind. The guest waits in the call; in an
/// engine with concurrency all tasks of its store wait with it.
///
/// # Errors
/// [`TranscodeError::Unsupported`] where the type has a part that is no value, [`TranscodeError::Refused`] where the
/// name is defined already.
pub fn define_import<T, H>(
    linker: &mut LinkerInstance<'_, T>,
    name: &str,
    ty: &ComponentFunc,
    handler: H,
) -> Result<(), TranscodeError>
where
    T: Send + 'static,
    H: for<'a> Fn(StoreContextMut<'a, T>, Bytes) -> ImportFuture<'a> + Send + Sync + 'static,
{
    by_slots!(wrap, ty, linker, name, Arc::new(handler)).map_err(TranscodeError::from_wasmtime)
}

/// Defines an import whose WIT function is `async`, in an engine with concurrency.
///
/// # Errors
/// As [`define_import`].
pub fn define_import_concurrent<T, H>(
    linker: &mut LinkerInstance<'_, T>,
    name: &str,
    ty: &ComponentFunc,
    handler: H,
) -> Result<(), TranscodeError>
where
    T: Send + 'static,
    H: for<'a> Fn(&'a Accessor<T>, Bytes) -> ImportFuture<'a> + Send + Sync + 'static,
{
    by_slots!(wrap_concurrent, ty, linker, name, Arc::new(handler)).map_err(TranscodeError::from_wasmtime)
}

fn wrap<T: Send + 'static, const P: usize, const R: usize>(
    linker: &mut LinkerInstance<'_, T>,
    name: &str,
    handler: Handler<T>,
) -> wasmtime::Result<()> {
    linker.func_wrap_async(name, move |store, args: Lifted<P>| {
        let reply = handler(store, args.0);
        Box::new(async move { Ok(Reply::<R>(reply.await?)) })
    })
}

fn wrap_concurrent<T: Send + 'static, const P: usize, const R: usize>(
    linker: &mut LinkerInstance<'_, T>,
    name: &str,
    handler: ConcurrentHandler<T>,
) -> wasmtime::Result<()> {
    linker.func_wrap_concurrent(name, move |accessor, args: Lifted<P>| {
        let reply = handler(accessor, args.0);
        Box::pin(async move { Ok(Reply::<R>(reply.await?)) })
    })
}
