//! What the walks need to know of a type: whether it can be carried, its cases, its slots.
//!
//! Types are wasmtime's own table (`ComponentTypes`), so that nothing is built per function. "Slots" are the core
//! values (`ValRaw`) that the canonical ABI flattens a type to.
//!
//! The walks recurse by the type, which wasm's validation allows to nest 100 deep at most.

use std::collections::HashSet;

use wasmtime::component::__internal::wasmtime_environ::component::{
    TypeEnum, TypeOption, TypeResult, TypeTuple, TypeVariant, VariantInfo,
};
use wasmtime::component::__internal::{ComponentTypes, InterfaceType};
use wasmtime::component::types::{ComponentFunc, Type};

use super::error::{Fault, TranscodeError, Walk};

/// Most parameters' or results' slots that the canonical ABI passes as core values; more go through memory.
pub(super) const MAX_SLOTS: usize = 16;

/// The tuple of a function's parameters or results.
pub(super) fn tuple(types: &ComponentTypes, ty: InterfaceType) -> Walk<&TypeTuple> {
    match ty {
        InterfaceType::Tuple(index) => Ok(&types[index]),
        _ => Err(Fault::problem("a function's parameters and results are tuples")),
    }
}

/// How many slots a type takes when it is flattened.
#[inline]
pub(super) fn slots(types: &ComponentTypes, ty: InterfaceType) -> usize {
    types.canonical_abi(&ty).flat_count.map_or(usize::MAX, usize::from)
}

/// The four kinds of types that are a discriminant and perhaps a payload.
#[derive(Clone, Copy)]
pub(super) enum Cases<'a> {
    Variant(&'a TypeVariant),
    Enum(&'a TypeEnum),
    Option(&'a TypeOption),
    Result(&'a TypeResult),
}

impl<'a> Cases<'a> {
    /// The type of the payload of a case, if it has one.
    #[inline]
    pub(super) fn payload(self, discriminant: u32) -> Walk<Option<InterfaceType>> {
        let payload = match (self, discriminant) {
            (Self::Variant(ty), _) => ty.cases.get_index(discriminant as usize).map(|(_, payload)| *payload),
            (Self::Enum(ty), _) => ((discriminant as usize) < ty.names.len()).then_some(None),
            (Self::Option(_), 0) => Some(None),
            (Self::Option(ty), 1) => Some(Some(ty.ty)),
            (Self::Result(ty), 0) => Some(ty.ok),
            (Self::Result(ty), 1) => Some(ty.err),
            (Self::Option(_) | Self::Result(_), _) => None,
        };
        payload.ok_or_else(|| self.no_such_case(discriminant))
    }

    #[cold]
    fn no_such_case(self, discriminant: u32) -> Fault {
        let count = match self {
            Self::Variant(ty) => ty.cases.len(),
            Self::Enum(ty) => ty.names.len(),
            Self::Option(_) | Self::Result(_) => 2,
        };
        Fault::problem(format!("case {discriminant} of a type of {count} cases"))
    }

    /// The name of a case, as paths show it.
    #[cold]
    pub(super) fn name(self, discriminant: u32) -> String {
        let name = match (self, discriminant) {
            (Self::Variant(ty), _) => ty.cases.get_index(discriminant as usize).map(|(name, _)| name.as_str()),
            (Self::Enum(ty), _) => ty.names.iter().nth(discriminant as usize).map(String::as_str),
            (Self::Option(_), _) => Some("some"),
            (Self::Result(_), 0) => Some("ok"),
            (Self::Result(_), _) => Some("err"),
        };
        name.unwrap_or("?").to_owned()
    }

    /// Bytes of the discriminant (1, 2 or 4) and offset of the payload in memory.
    #[inline]
    pub(super) fn layout(self) -> (u32, usize) {
        let info: &'a VariantInfo = match self {
            Self::Variant(ty) => &ty.info,
            Self::Enum(ty) => &ty.info,
            Self::Option(ty) => &ty.info,
            Self::Result(ty) => &ty.info,
        };
        (u32::from(info.size), info.payload_offset32 as usize)
    }
}

/// How many bytes flags take in postcard and, rounded up to a power of two, in memory; and the bits that are flags.
#[derive(Clone, Copy)]
pub(super) struct FlagBits {
    pub(super) bytes: usize,
    pub(super) mask: u32,
}

impl FlagBits {
    /// Of so many flags.
    #[inline]
    pub(super) fn of(count: usize) -> Walk<Self> {
        match count {
            1..=32 => Ok(Self { bytes: count.div_ceil(8), mask: u32::MAX >> (32 - count) }),
            _ => Err(Fault::problem(format!("{count} flags; 1 to 32 can be carried"))),
        }
    }
}

/// The type of the items of a stream, or of the value of a future, where it has one.
pub(super) fn item(types: &ComponentTypes, ty: InterfaceType) -> Option<InterfaceType> {
    match ty {
        InterfaceType::Stream(index) => types[types[index].ty].payload,
        InterfaceType::Future(index) => types[types[index].ty].payload,
        _ => None,
    }
}

/// What no process can be sent: a part of a type that is no value, or no value that postcard carries.
///
/// Every definition is looked at once, since a small component can name a type whose tree has 2^40 nodes.
pub(super) fn check(types: &ComponentTypes, ty: InterfaceType) -> Result<(), TranscodeError> {
    Check { types, seen: HashSet::new(), in_stream: false }.visit(ty)
}

/// The same of a type that is an item of a stream.
pub(super) fn check_item(types: &ComponentTypes, ty: InterfaceType) -> Result<(), TranscodeError> {
    Check { types, seen: HashSet::new(), in_stream: true }.visit(ty)
}

struct Check<'a> {
    types: &'a ComponentTypes,
    seen: HashSet<InterfaceType>,
    /// Whether it is about the items of a stream, which have no streams in them.
    in_stream: bool,
}

impl Check<'_> {
    fn visit(&mut self, ty: InterfaceType) -> Result<(), TranscodeError> {
        use InterfaceType as I;
        let unsupported = |what| Err(TranscodeError::Unsupported { what });
        match ty {
            I::Bool | I::S8 | I::U8 | I::S16 | I::U16 | I::S32 | I::U32 | I::S64 | I::U64 => return Ok(()),
            I::Float32 | I::Float64 | I::Char | I::String => return Ok(()),
            I::Own(_) | I::Borrow(_) => return unsupported("a resource"),
            I::Stream(_) | I::Future(_) if self.in_stream => return unsupported("a stream of streams"),
            I::Stream(_) if item(self.types, ty).is_none() => return unsupported("a stream without a type"),
            I::Future(_) if item(self.types, ty).is_none() => return unsupported("a future without a type"),
            I::ErrorContext(_) => return unsupported("an error-context"),
            I::Map(_) => return unsupported("a map"),
            I::FixedLengthList(_) => return unsupported("a list of fixed length"),
            _ if !self.seen.insert(ty) => return Ok(()),
            _ => {}
        }
        let types = self.types;
        if let Some(item) = item(types, ty) {
            return check_item(types, item);
        }
        let mut inner = |ty| self.visit(ty);
        match ty {
            I::List(index) => inner(types[index].element),
            I::Record(index) => types[index].fields.iter().try_for_each(|field| inner(field.ty)),
            I::Tuple(index) => types[index].types.iter().try_for_each(|ty| inner(*ty)),
            I::Variant(index) => types[index].cases.values().flatten().try_for_each(|ty| inner(*ty)),
            I::Option(index) => inner(types[index].ty),
            I::Result(index) => [types[index].ok, types[index].err].into_iter().flatten().try_for_each(inner),
            I::Flags(index) if FlagBits::of(types[index].names.len()).is_err() => unsupported("more than 32 flags"),
            _ => Ok(()),
        }
    }
}

/// The slots of a function's parameters, or `MAX_SLOTS + 1` where they go through memory.
pub(super) fn parameter_slots(ty: &ComponentFunc) -> Result<usize, TranscodeError> {
    count_all(ty.params().map(|(_, ty)| ty))
}

/// The slots of a function's results, or `MAX_SLOTS + 1` where there are more.
pub(super) fn result_slots(ty: &ComponentFunc) -> Result<usize, TranscodeError> {
    count_all(ty.results())
}

/// The sum, cut off above [`MAX_SLOTS`], which also bounds the work for types with huge trees.
fn count_all(types: impl Iterator<Item = Type>) -> Result<usize, TranscodeError> {
    let mut sum = 0;
    for ty in types {
        sum += count(&ty)?;
        if sum > MAX_SLOTS {
            return Ok(MAX_SLOTS + 1);
        }
    }
    Ok(sum)
}

/// The discriminant's slot and the most that a payload takes.
fn count_cases(types: impl Iterator<Item = Option<Type>>) -> Result<usize, TranscodeError> {
    let mut most = 0;
    for ty in types.flatten() {
        most = most.max(count(&ty)?);
        if most >= MAX_SLOTS {
            return Ok(MAX_SLOTS + 1);
        }
    }
    Ok(1 + most)
}

fn count(ty: &Type) -> Result<usize, TranscodeError> {
    let unsupported = |what| Err(TranscodeError::Unsupported { what });
    match ty {
        Type::Bool | Type::S8 | Type::U8 | Type::S16 | Type::U16 | Type::S32 | Type::U32 => Ok(1),
        Type::S64 | Type::U64 | Type::Float32 | Type::Float64 | Type::Char => Ok(1),
        Type::Enum(_) | Type::Flags(_) | Type::Stream(_) | Type::Future(_) => Ok(1),
        Type::String | Type::List(_) => Ok(2),
        Type::Record(record) => count_all(record.fields().map(|field| field.ty)),
        Type::Tuple(tuple) => count_all(tuple.types()),
        Type::Variant(variant) => count_cases(variant.cases().map(|case| case.ty)),
        Type::Option(option) => count_cases(std::iter::once(Some(option.ty()))),
        Type::Result(result) => count_cases([result.ok(), result.err()].into_iter()),
        Type::Own(_) | Type::Borrow(_) => unsupported("a resource"),
        Type::ErrorContext => unsupported("an error-context"),
        Type::Map(_) => unsupported("a map"),
        Type::FixedLengthList(_) => unsupported("a list of fixed length"),
    }
}
