//! Imports that are served with postcard bytes.
//!
//! The handler gets the arguments as the concatenated parameters and gives the result's bytes, none where the function
//! has no result. An error of the handler traps the guest.

use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use wasmtime::component::types::ComponentFunc;
use wasmtime::component::{Accessor, LinkerInstance};
use wasmtime::{AsContextMut, StoreContextMut};

use super::dynamic::{Lifted, Reply};
use super::error::TranscodeError;
use super::shape;
use super::stream::{FromGuest, Inflows, LiftedParts, Terms, ToGuest};

/// What a handler of an import gives.
pub type ImportFuture<'a, R = Bytes> = Pin<Box<dyn Future<Output = wasmtime::Result<R>> + Send + 'a>>;

type Handler<T> = Arc<dyn for<'a> Fn(StoreContextMut<'a, T>, Bytes) -> ImportFuture<'a> + Send + Sync>;
type ConcurrentHandler<T> = Arc<dyn for<'a> Fn(&'a Accessor<T>, Bytes) -> ImportFuture<'a> + Send + Sync>;

/// The same for imports that may have streams, and what holds for those in their arguments.
struct Streaming<H: ?Sized, T> {
    terms: fn(&T) -> Terms,
    handler: Box<H>,
}

type StreamingHandler<T> =
    Arc<Streaming<dyn for<'a> Fn(StoreContextMut<'a, T>, FromGuest) -> ImportFuture<'a, ToGuest> + Send + Sync, T>>;
type ConcurrentStreamingHandler<T> =
    Arc<Streaming<dyn for<'a> Fn(&'a Accessor<T>, FromGuest) -> ImportFuture<'a, ToGuest> + Send + Sync, T>>;

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

/// Defines an import that may have streams and futures in its parameters and its result, and whose WIT function is not
/// `async`, in an engine with concurrency. `terms` are those of the streams that the guest gives. The streams flow when
/// the call has returned; while the handler waits, the guest waits with all its tasks, and none does.
///
/// # Errors
/// As [`define_import`].
pub fn define_streaming_import<T, H>(
    linker: &mut LinkerInstance<'_, T>,
    name: &str,
    ty: &ComponentFunc,
    terms: fn(&T) -> Terms,
    handler: H,
) -> Result<(), TranscodeError>
where
    T: Send + 'static,
    H: for<'a> Fn(StoreContextMut<'a, T>, FromGuest) -> ImportFuture<'a, ToGuest> + Send + Sync + 'static,
{
    let handler: StreamingHandler<T> = Arc::new(Streaming { terms, handler: Box::new(handler) });
    by_slots!(wrap_streaming, ty, linker, name, handler).map_err(TranscodeError::from_wasmtime)
}

/// The same for one whose WIT function is `async`: its streams flow while the handler waits, too.
///
/// # Errors
/// As [`define_import`].
pub fn define_streaming_import_concurrent<T, H>(
    linker: &mut LinkerInstance<'_, T>,
    name: &str,
    ty: &ComponentFunc,
    terms: fn(&T) -> Terms,
    handler: H,
) -> Result<(), TranscodeError>
where
    T: Send + 'static,
    H: for<'a> Fn(&'a Accessor<T>, FromGuest) -> ImportFuture<'a, ToGuest> + Send + Sync + 'static,
{
    let handler: ConcurrentStreamingHandler<T> = Arc::new(Streaming { terms, handler: Box::new(handler) });
    by_slots!(wrap_concurrent_streaming, ty, linker, name, handler).map_err(TranscodeError::from_wasmtime)
}

fn wrap<T: Send + 'static, const P: usize, const R: usize>(
    linker: &mut LinkerInstance<'_, T>,
    name: &str,
    handler: Handler<T>,
) -> wasmtime::Result<()> {
    linker.func_wrap_async(name, move |store, args: Lifted<P>| {
        let reply = LiftedParts::from(args).only_bytes().map(|args| handler(store, args));
        Box::new(async move { Ok(Reply::<R>(reply?.await?, Inflows::default())) })
    })
}

fn wrap_concurrent<T: Send + 'static, const P: usize, const R: usize>(
    linker: &mut LinkerInstance<'_, T>,
    name: &str,
    handler: ConcurrentHandler<T>,
) -> wasmtime::Result<()> {
    linker.func_wrap_concurrent(name, move |accessor, args: Lifted<P>| {
        let reply = LiftedParts::from(args).only_bytes().map(|args| handler(accessor, args));
        Box::pin(async move { Ok(Reply::<R>(reply?.await?, Inflows::default())) })
    })
}

fn wrap_streaming<T: Send + 'static, const P: usize, const R: usize>(
    linker: &mut LinkerInstance<'_, T>,
    name: &str,
    streaming: StreamingHandler<T>,
) -> wasmtime::Result<()> {
    linker.func_wrap_async(name, move |mut store, args: Lifted<P>| {
        let terms = (streaming.terms)(store.data());
        let args = LiftedParts::from(args).drained(store.as_context_mut(), &terms);
        let reply = args.map(|args| (streaming.handler)(store, args));
        Box::new(async move {
            let ToGuest { bytes, inflows } = reply?.await?;
            Ok(Reply::<R>(bytes, Inflows::new(inflows)))
        })
    })
}

fn wrap_concurrent_streaming<T: Send + 'static, const P: usize, const R: usize>(
    linker: &mut LinkerInstance<'_, T>,
    name: &str,
    streaming: ConcurrentStreamingHandler<T>,
) -> wasmtime::Result<()> {
    linker.func_wrap_concurrent(name, move |accessor, args: Lifted<P>| {
        let args = accessor.with(|mut store| {
            let terms = (streaming.terms)(store.as_context_mut().data());
            LiftedParts::from(args).drained(store.as_context_mut(), &terms)
        });
        let reply = args.map(|args| (streaming.handler)(accessor, args));
        Box::pin(async move {
            let ToGuest { bytes, inflows } = reply?.await?;
            Ok(Reply::<R>(bytes, Inflows::new(inflows)))
        })
    })
}
