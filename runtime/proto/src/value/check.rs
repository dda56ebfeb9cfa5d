//! The check of untrusted bytes: are they a value of this type, and nothing else?
//!
//! It allocates nothing but errors and the list of channels, and is one pass at memory speed over bytes and floats.
//! What passes can be lowered into a guest without a surprise.

use std::ops::Range;

use super::error::{Place, ValueError};
use super::read::{Reader, least_bytes};
use super::{Channel, Limits};
use crate::signature::{DefKind, MAX_DEPTH, Signature, Type};

/// Checks that `bytes` are arguments for this function.
///
/// # Errors
/// [`ValueError`] with the place, the parameter's name first.
pub fn check_args(signature: &Signature, bytes: &[u8], limits: &Limits) -> Result<(), ValueError> {
    channels_of_args(signature, bytes, limits).map(drop)
}

/// The same, and the channels of the streams and futures in the arguments, by number.
///
/// # Errors
/// As [`check_args`].
pub fn channels_of_args(signature: &Signature, bytes: &[u8], limits: &Limits) -> Result<Vec<Channel>, ValueError> {
    let mut check = Check::new(signature, bytes, limits)?;
    for param in &signature.params {
        check.value(param.ty, 0).in_name(&param.name)?;
    }
    check.finish()
}

/// Checks that `bytes` are a result of this function; no bytes where it has none.
///
/// # Errors
/// [`ValueError`] with the place.
pub fn check_result(signature: &Signature, bytes: &[u8], limits: &Limits) -> Result<(), ValueError> {
    channels_of_result(signature, bytes, limits).map(drop)
}

/// The same, and the channels of the streams and futures in the result, by number.
///
/// # Errors
/// As [`check_result`].
pub fn channels_of_result(signature: &Signature, bytes: &[u8], limits: &Limits) -> Result<Vec<Channel>, ValueError> {
    let mut check = Check::new(signature, bytes, limits)?;
    if let Some(ty) = signature.result {
        check.value(ty, 0)?;
    }
    check.finish()
}

/// Checks that `bytes` are exactly `count` values of a type of this signature, one after another: the items of a
/// stream as they come, or the value of a future.
///
/// # Errors
/// [`ValueError`] with the place, the item's number among these first.
pub fn check_items(
    signature: &Signature,
    item: Type,
    count: usize,
    bytes: &[u8],
    limits: &Limits,
) -> Result<(), ValueError> {
    check_items_from(signature, item, 0..count, bytes, limits)
}

/// The same for items with these numbers in their stream, by which a [`ValueError`] names them.
///
/// # Errors
/// As [`check_items`].
pub fn check_items_from(
    signature: &Signature,
    item: Type,
    mut numbers: Range<usize>,
    bytes: &[u8],
    limits: &Limits,
) -> Result<(), ValueError> {
    let mut check = Check::new(signature, bytes, &limits.of_each(bytes))?;
    match item {
        Type::S8 | Type::U8 => check.reader.bytes(numbers.len()).map(drop)?,
        _ => numbers.try_for_each(|number| {
            let before = check.reader.left();
            let checked = check.value(item, 0);
            checked.and_then(|()| limits.admit_bytes(before - check.reader.left())).in_item(number)
        })?,
    }
    check.finish().map(drop)
}

/// Whether a function can be called with values as text or bytes alone.
///
/// # Errors
/// [`ValueError`] where there is a stream or a future in its type.
pub fn check_plain(signature: &Signature) -> Result<(), ValueError> {
    match signature.has_streams() {
        true => Err(ValueError::new(
            "there is a stream or a future in its type: guests call it by an import of the function or by `stream` of \
             daffi:runtime/call, people by `daffi-runtime call --stream`",
        )),
        false => Ok(()),
    }
}

/// How many of `bytes`, which come one after another for many calls, are the arguments for one call of this function; a
/// function that has parameters. What is behind them is not looked at, and is not limited.
///
/// # Errors
/// As [`check_args`].
pub fn first_args(signature: &Signature, bytes: &[u8], limits: &Limits) -> Result<usize, ValueError> {
    let mut check = Check::new(signature, bytes, &limits.of_each(bytes))?;
    for param in &signature.params {
        check.value(param.ty, 0).in_name(&param.name)?;
    }
    let length = bytes.len() - check.reader.left();
    limits.admit_bytes(length).map(|()| length)
}

struct Check<'a> {
    signature: &'a Signature,
    reader: Reader<'a>,
    channels: Vec<Channel>,
}

impl<'a> Check<'a> {
    fn new(signature: &'a Signature, bytes: &'a [u8], limits: &Limits) -> Result<Self, ValueError> {
        Ok(Self { signature, reader: Reader::new(bytes, limits)?, channels: Vec::new() })
    }

    fn finish(self) -> Result<Vec<Channel>, ValueError> {
        self.reader.finish()?;
        Ok(self.channels)
    }

    fn value(&mut self, ty: Type, depth: usize) -> Result<(), ValueError> {
        let reader = &mut self.reader;
        match ty {
            Type::Bool => reader.bool().map(drop),
            Type::S8 | Type::U8 => reader.byte().map(drop),
            Type::S16 | Type::U16 => reader.varint::<16>().map(drop),
            Type::S32 | Type::U32 => reader.varint::<32>().map(drop),
            Type::S64 | Type::U64 => reader.varint::<64>().map(drop),
            Type::F32 => reader.array::<4>().map(drop),
            Type::F64 => reader.array::<8>().map(drop),
            Type::Char => reader.char().map(drop),
            Type::String => reader.string().map(drop),
            Type::Def(_) => self.def(ty, depth),
        }
    }

    fn def(&mut self, ty: Type, depth: usize) -> Result<(), ValueError> {
        let kind = kind_of(self.signature, ty, depth)?;
        let depth = depth + 1;
        match kind {
            DefKind::List(item) => self.list(*item, depth),
            DefKind::Tuple(types) => {
                types.iter().enumerate().try_for_each(|(at, ty)| self.value(*ty, depth).in_item(at))
            }
            DefKind::Record(fields) => {
                fields.iter().try_for_each(|field| self.value(field.ty, depth).in_name(&field.name))
            }
            DefKind::Variant(cases) => {
                let case = self.reader.case(cases.len())?;
                match cases.get(case) {
                    Some(case) => case.ty.map_or(Ok(()), |ty| self.value(ty, depth).in_name(&case.name)),
                    None => Ok(()),
                }
            }
            DefKind::Enum(names) => self.reader.case(names.len()).map(drop),
            DefKind::Option(ty) => match self.reader.is_some()? {
                true => self.value(*ty, depth),
                false => Ok(()),
            },
            DefKind::Result { ok, err } => {
                let (ty, name) = if self.reader.case(2)? == 0 { (ok, "ok") } else { (err, "err") };
                ty.map_or(Ok(()), |ty| self.value(ty, depth).in_name(name))
            }
            DefKind::Flags(names) => self.reader.flags(names.len()).map(drop),
            DefKind::Stream(item) => self.channel(Channel::Stream(*item)),
            DefKind::Future(item) => self.channel(Channel::Future(*item)),
        }
    }

    fn channel(&mut self, channel: Channel) -> Result<(), ValueError> {
        self.reader.channel()?;
        self.channels.push(channel);
        Ok(())
    }

    fn list(&mut self, item: Type, depth: usize) -> Result<(), ValueError> {
        let reader = &mut self.reader;
        if matches!(item, Type::U8) {
            return reader.byte_list().map(drop);
        }
        let count = reader.list_length(item)?;
        match item {
            Type::S8 | Type::F32 | Type::F64 => reader.bytes(count * least_bytes(item)).map(drop),
            _ => (0..count).try_for_each(|at| self.value(item, depth).in_item(at)),
        }
    }
}

/// The definition that a walk at this depth comes to.
///
/// # Errors
/// For a signature that [`Signature::check`] would refuse: walks are total for these, too.
pub(crate) fn kind_of(signature: &Signature, ty: Type, depth: usize) -> Result<&DefKind, ValueError> {
    match signature.def(ty) {
        Some(def) if depth <= MAX_DEPTH => Ok(&def.kind),
        Some(_) => Err(ValueError::new("the type is nested too deep")),
        None => Err(ValueError::new("the type is not in the signature's table")),
    }
}
