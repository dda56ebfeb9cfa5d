//! A guest's ends of streams and futures: out of its table of handles, and into it.
//!
//! wasmtime hands the readable end of a stream from the guest to the host as a `StreamReader<T>`, for a `T` that the
//! host names. It checks `T` against the type of the function, not of the handle, so that here, where the function's
//! type is checked by [`shape`], any `T` can be named: `u8` for what are bytes, else our own item.
//!
//! A reader that is lifted is to be drained at once: dropped as it is, it stays in the store and the guest waits for it.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use daffi_proto::stream::Flow;
use wasmtime::component::__internal::{ComponentTypes, InterfaceType, LiftContext, LowerContext};
use wasmtime::component::{FutureReader, Lift, StreamReader};
use wasmtime::{AsContextMut, Result, ValRaw};

use super::super::error::{Fault, TranscodeError, Walk};
use super::super::shape;
use super::drain::{ByteConsumer, Consumer, Drain, ItemConsumer, ValueConsumer};
use super::feed::{ByteProducer, Inflow, ItemProducer, ValueProducer};
use super::item::{Item, lower_handle};
use super::{FromGuest, Terms};

/// The streams and futures of a value that goes into a guest, by the number of their channel; each goes in once.
#[derive(Debug, Default)]
pub struct Inflows(Mutex<Vec<Option<Inflow>>>);

impl Inflows {
    /// These, in order.
    pub(in super::super) fn new(inflows: Vec<Inflow>) -> Self {
        Self(Mutex::new(inflows.into_iter().map(Some).collect()))
    }

    fn take(&self, number: u32) -> Walk<Inflow> {
        let mut inflows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let inflow = usize::try_from(number).ok().and_then(|at| inflows.get_mut(at)).and_then(Option::take);
        inflow.ok_or_else(|| Fault::problem(format!("the channel {number} was not given, or is there twice")))
    }
}

/// The readable end of a stream or future that a guest gave to the host.
pub struct Reader(Kind);

enum Kind {
    /// A `stream<u8>`.
    Bytes(StreamReader<u8>),
    /// Any other stream.
    Items(StreamReader<Item>),
    /// A future.
    Value(FutureReader<Item>),
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reader")
    }
}

impl Reader {
    /// Takes it out of the guest's table of handles.
    pub(in super::super) fn lift(cx: &mut LiftContext<'_>, ty: InterfaceType, handle: &ValRaw) -> Walk<Self> {
        let lifted = match flow_of(cx.types, ty)? {
            Flow::Bytes => StreamReader::linear_lift_from_flat(cx, ty, handle).map(Kind::Bytes),
            Flow::Items => StreamReader::linear_lift_from_flat(cx, ty, handle).map(Kind::Items),
            Flow::One => FutureReader::linear_lift_from_flat(cx, ty, handle).map(Kind::Value),
        };
        lifted.map(Self).map_err(Fault::wasm)
    }

    /// Lets it flow into a drain.
    ///
    /// # Errors
    /// wasmtime's, which are defects.
    pub(in super::super) fn drain(self, mut store: impl AsContextMut, terms: &Terms) -> Result<Drain> {
        let store = store.as_context_mut();
        let consumer = |flow| Consumer::new(flow, terms.clone());
        match self.0 {
            Kind::Bytes(reader) => pass_on(reader, store, |reader, store| {
                let (consumer, drain) = consumer(Flow::Bytes);
                reader.pipe(store, ByteConsumer(consumer)).map(|()| drain)
            }),
            Kind::Items(reader) => pass_on(reader, store, |reader, store| {
                let (consumer, drain) = consumer(Flow::Items);
                reader.pipe(store, ItemConsumer(consumer)).map(|()| drain)
            }),
            Kind::Value(reader) => {
                let (consumer, drain) = consumer(Flow::One);
                reader.pipe(store, ValueConsumer(consumer)).map(|()| drain)
            }
        }
    }
}

/// What was lifted: bytes, and the streams and futures in them by the number of their channel.
pub struct LiftedParts {
    pub(in super::super) bytes: Bytes,
    pub(in super::super) readers: Vec<Reader>,
}

impl LiftedParts {
    /// The bytes of a value that has no streams; streams where none can be taken are an error.
    pub(in super::super) fn only_bytes(self) -> Result<Bytes> {
        if self.readers.is_empty() {
            Ok(self.bytes)
        } else {
            Err(TranscodeError::Unsupported { what: "a stream" }.into())
        }
    }

    /// The bytes, and the streams from now on.
    pub(in super::super) fn drained(self, mut store: impl AsContextMut, terms: &Terms) -> Result<FromGuest> {
        let drains = self.readers.into_iter().map(|reader| reader.drain(store.as_context_mut(), terms));
        Ok(FromGuest { drains: drains.collect::<Result<_>>()?, bytes: self.bytes })
    }
}

/// A stream that this host made goes on as it is; another one is drained.
fn pass_on<T: 'static, S: AsContextMut>(
    reader: StreamReader<T>,
    mut store: S,
    drain: impl FnOnce(StreamReader<T>, S) -> Result<Drain>,
) -> Result<Drain> {
    match reader.try_into::<Inflow>(&mut store) {
        Ok(inflow) => Ok(Drain::passed_on(inflow)),
        Err(reader) => drain(reader, store),
    }
}

/// Makes a stream or future in the guest and gives its handle.
pub(in super::super) fn lower_channel<T: 'static>(
    cx: &mut LowerContext<'_, T>,
    ty: InterfaceType,
    number: u32,
    inflows: &Inflows,
) -> Walk<ValRaw> {
    let flow = flow_of(cx.types, ty)?;
    let inflow = inflows.take(number)?;
    let store = cx.store.as_context_mut();
    let lowered = match flow {
        Flow::Bytes => StreamReader::new(store, ByteProducer(inflow)).and_then(|reader| lower_handle(&reader, cx, ty)),
        Flow::Items => {
            StreamReader::new(store, ItemProducer::new(inflow)).and_then(|reader| lower_handle(&reader, cx, ty))
        }
        Flow::One => FutureReader::new(store, ValueProducer(inflow)).and_then(|reader| lower_handle(&reader, cx, ty)),
    };
    lowered.map_err(Fault::wasm)
}

/// How a stream or future flows. Its items are bytes only where wasmtime and this module can pass them on untouched.
fn flow_of(types: &ComponentTypes, ty: InterfaceType) -> Walk<Flow> {
    match ty {
        InterfaceType::Stream(_) if matches!(shape::item(types, ty), Some(InterfaceType::U8)) => Ok(Flow::Bytes),
        InterfaceType::Stream(_) => Ok(Flow::Items),
        InterfaceType::Future(_) => Ok(Flow::One),
        _ => Err(Fault::problem("the type is no stream")),
    }
}
