//! Values as trees: for those who look into a value. The calls themselves never make one.

use super::Limits;
use super::check::kind_of;
use super::error::{Place, ValueError};
use super::read::Reader;
use super::write::Writer;
use crate::signature::{DefKind, Signature, Type};

/// A WIT value. Cases, fields and flags are known by their place in the type.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `bool`
    Bool(bool),
    /// `s8`
    S8(i8),
    /// `u8`
    U8(u8),
    /// `s16`
    S16(i16),
    /// `u16`
    U16(u16),
    /// `s32`
    S32(i32),
    /// `u32`
    U32(u32),
    /// `s64`
    S64(i64),
    /// `u64`
    U64(u64),
    /// `f32`
    F32(f32),
    /// `f64`
    F64(f64),
    /// `char`
    Char(char),
    /// `string`
    String(String),
    /// `list<u8>`
    Bytes(Vec<u8>),
    /// Any other `list<T>`
    List(Vec<Value>),
    /// `tuple<…>`
    Tuple(Vec<Value>),
    /// The fields of a `record`, in the type's order
    Record(Vec<Value>),
    /// The case of a `variant`, and its payload
    Variant(u32, Option<Box<Value>>),
    /// The case of an `enum`
    Enum(u32),
    /// `option<T>`
    Option(Option<Box<Value>>),
    /// `result<T, E>`
    Result(Result<Option<Box<Value>>, Option<Box<Value>>>),
    /// The bits of `flags`, the first flag lowest
    Flags(u32),
    /// A `stream` or a `future`: the number of its channel
    Channel(u32),
}

/// The arguments that `bytes` are.
///
/// # Errors
/// As [`super::check_args`]. The tree is at most [`size_of::<Value>()`](Value) times as large as the bytes.
pub fn decode_args(signature: &Signature, bytes: &[u8], limits: &Limits) -> Result<Vec<Value>, ValueError> {
    let mut decode = Decode { signature, reader: Reader::new(bytes, limits)? };
    let values = signature.params.iter().map(|param| decode.value(param.ty, 0).in_name(&param.name));
    let values = values.collect::<Result<_, _>>()?;
    decode.reader.finish()?;
    Ok(values)
}

/// The result that `bytes` are; none where the function has none.
///
/// # Errors
/// As [`super::check_result`].
pub fn decode_result(signature: &Signature, bytes: &[u8], limits: &Limits) -> Result<Option<Value>, ValueError> {
    let mut decode = Decode { signature, reader: Reader::new(bytes, limits)? };
    let value = signature.result.map(|ty| decode.value(ty, 0)).transpose()?;
    decode.reader.finish()?;
    Ok(value)
}

/// Arguments as bytes.
///
/// # Errors
/// [`ValueError`] where a value is not of its parameter's type, or the whole is over the limits.
pub fn encode_args(signature: &Signature, values: &[Value], limits: &Limits) -> Result<Vec<u8>, ValueError> {
    if values.len() != signature.params.len() {
        return Err(wrong_count("arguments", signature.params.len(), values.len()));
    }
    let mut encode = Encode { signature, writer: Writer::new(limits) };
    for (param, value) in signature.params.iter().zip(values) {
        encode.value(param.ty, value, 0).in_name(&param.name)?;
    }
    Ok(encode.writer.finish())
}

/// A result as bytes.
///
/// # Errors
/// [`ValueError`] where the value is not of the result's type, or over the limits.
pub fn encode_result(signature: &Signature, value: Option<&Value>, limits: &Limits) -> Result<Vec<u8>, ValueError> {
    let mut encode = Encode { signature, writer: Writer::new(limits) };
    match (signature.result, value) {
        (Some(ty), Some(value)) => encode.value(ty, value, 0)?,
        (None, None) => {}
        (Some(_), None) => return Err(ValueError::new("a result is missing")),
        (None, Some(_)) => return Err(ValueError::new("the function has no result")),
    }
    Ok(encode.writer.finish())
}

#[cold]
pub(crate) fn wrong_count(what: &str, expected: usize, found: usize) -> ValueError {
    ValueError::new(format!("expected {expected} {what}, found {found}"))
}

struct Decode<'a> {
    signature: &'a Signature,
    reader: Reader<'a>,
}

impl Decode<'_> {
    fn value(&mut self, ty: Type, depth: usize) -> Result<Value, ValueError> {
        let reader = &mut self.reader;
        Ok(match ty {
            Type::Bool => Value::Bool(reader.bool()?),
            Type::S8 => Value::S8(reader.byte()?.cast_signed()),
            Type::U8 => Value::U8(reader.byte()?),
            Type::S16 => Value::S16(reader.zigzag::<16>()? as i16),
            Type::U16 => Value::U16(reader.varint::<16>()? as u16),
            Type::S32 => Value::S32(reader.zigzag::<32>()? as i32),
            Type::U32 => Value::U32(reader.varint::<32>()? as u32),
            Type::S64 => Value::S64(reader.zigzag::<64>()?),
            Type::U64 => Value::U64(reader.varint::<64>()?),
            Type::F32 => Value::F32(f32::from_le_bytes(reader.array()?)),
            Type::F64 => Value::F64(f64::from_le_bytes(reader.array()?)),
            Type::Char => Value::Char(reader.char()?),
            Type::String => Value::String(reader.string()?.to_owned()),
            Type::Def(_) => self.def(ty, depth)?,
        })
    }

    fn def(&mut self, ty: Type, depth: usize) -> Result<Value, ValueError> {
        let kind = kind_of(self.signature, ty, depth)?;
        let depth = depth + 1;
        Ok(match kind {
            DefKind::List(Type::U8) => Value::Bytes(self.reader.byte_list()?.to_vec()),
            DefKind::List(item) => {
                let count = self.reader.list_length(*item)?;
                let items = (0..count).map(|at| self.value(*item, depth).in_item(at));
                Value::List(items.collect::<Result<_, _>>()?)
            }
            DefKind::Tuple(types) => {
                let items = types.iter().enumerate().map(|(at, ty)| self.value(*ty, depth).in_item(at));
                Value::Tuple(items.collect::<Result<_, _>>()?)
            }
            DefKind::Record(fields) => {
                let fields = fields.iter().map(|field| self.value(field.ty, depth).in_name(&field.name));
                Value::Record(fields.collect::<Result<_, _>>()?)
            }
            DefKind::Variant(cases) => {
                let at = self.reader.case(cases.len())?;
                let payload = cases.get(at).and_then(|case| case.ty.map(|ty| (ty, case)));
                let payload = payload.map(|(ty, case)| self.value(ty, depth).in_name(&case.name)).transpose()?;
                Value::Variant(at as u32, payload.map(Box::new))
            }
            DefKind::Enum(names) => Value::Enum(self.reader.case(names.len())? as u32),
            DefKind::Option(ty) => {
                let some = self.reader.is_some()?;
                Value::Option(some.then(|| self.value(*ty, depth).map(Box::new)).transpose()?)
            }
            DefKind::Result { ok, err } => {
                let is_ok = self.reader.case(2)? == 0;
                let (ty, name) = if is_ok { (ok, "ok") } else { (err, "err") };
                let payload = ty.map(|ty| self.value(ty, depth).in_name(name)).transpose()?.map(Box::new);
                Value::Result(if is_ok { Ok(payload) } else { Err(payload) })
            }
            DefKind::Flags(names) => Value::Flags(self.reader.flags(names.len())?),
            DefKind::Stream(_) | DefKind::Future(_) => Value::Channel(self.reader.channel()?),
        })
    }
}

struct Encode<'a> {
    signature: &'a Signature,
    writer: Writer,
}

impl Encode<'_> {
    fn value(&mut self, ty: Type, value: &Value, depth: usize) -> Result<(), ValueError> {
        let writer = &mut self.writer;
        match (ty, value) {
            (Type::Bool, Value::Bool(value)) => writer.byte(u8::from(*value)),
            (Type::S8, Value::S8(value)) => writer.byte(value.cast_unsigned()),
            (Type::U8, Value::U8(value)) => writer.byte(*value),
            (Type::S16, Value::S16(value)) => writer.zigzag(i64::from(*value)),
            (Type::U16, Value::U16(value)) => writer.varint(u64::from(*value)),
            (Type::S32, Value::S32(value)) => writer.zigzag(i64::from(*value)),
            (Type::U32, Value::U32(value)) => writer.varint(u64::from(*value)),
            (Type::S64, Value::S64(value)) => writer.zigzag(*value),
            (Type::U64, Value::U64(value)) => writer.varint(*value),
            (Type::F32, Value::F32(value)) => writer.bytes(&value.to_le_bytes()),
            (Type::F64, Value::F64(value)) => writer.bytes(&value.to_le_bytes()),
            (Type::Char, Value::Char(value)) => writer.char(*value),
            (Type::String, Value::String(value)) => writer.byte_list(value.as_bytes()),
            (Type::Def(_), value) => self.def(ty, value, depth),
            (ty, _) => Err(self.mismatch(ty)),
        }
    }

    fn def(&mut self, ty: Type, value: &Value, depth: usize) -> Result<(), ValueError> {
        let kind = kind_of(self.signature, ty, depth)?;
        let depth = depth + 1;
        match (kind, value) {
            (DefKind::List(Type::U8), Value::Bytes(bytes)) => self.writer.byte_list(bytes),
            (DefKind::List(item), Value::List(items)) if !matches!(item, Type::U8) => {
                self.writer.charge(*item, items.len())?;
                self.writer.length(items.len())?;
                let mut items = items.iter().enumerate();
                items.try_for_each(|(at, value)| self.value(*item, value, depth).in_item(at))
            }
            (DefKind::Tuple(types), Value::Tuple(items)) if types.len() == items.len() => {
                let mut items = types.iter().zip(items).enumerate();
                items.try_for_each(|(at, (ty, value))| self.value(*ty, value, depth).in_item(at))
            }
            (DefKind::Record(fields), Value::Record(values)) if fields.len() == values.len() => {
                let mut fields = fields.iter().zip(values);
                fields.try_for_each(|(field, value)| self.value(field.ty, value, depth).in_name(&field.name))
            }
            (DefKind::Variant(cases), Value::Variant(at, payload)) => match cases.get(*at as usize) {
                Some(case) => {
                    self.writer.varint(u64::from(*at))?;
                    self.payload(case.ty, payload.as_deref(), depth).in_name(&case.name)
                }
                None => Err(self.mismatch(ty)),
            },
            (DefKind::Enum(names), Value::Enum(at)) if (*at as usize) < names.len() => {
                self.writer.varint(u64::from(*at))
            }
            (DefKind::Option(ty), Value::Option(value)) => {
                self.writer.byte(u8::from(value.is_some()))?;
                value.as_ref().map_or(Ok(()), |value| self.value(*ty, value, depth))
            }
            (DefKind::Result { ok, .. }, Value::Result(Ok(value))) => {
                self.writer.byte(0)?;
                self.payload(*ok, value.as_deref(), depth).in_name("ok")
            }
            (DefKind::Result { err, .. }, Value::Result(Err(value))) => {
                self.writer.byte(1)?;
                self.payload(*err, value.as_deref(), depth).in_name("err")
            }
            (DefKind::Flags(names), Value::Flags(bits)) if u64::from(*bits) >> names.len().min(63) == 0 => {
                self.writer.flags(*bits, names.len())
            }
            (DefKind::Stream(_) | DefKind::Future(_), Value::Channel(number)) => self.writer.channel(*number),
            _ => Err(self.mismatch(ty)),
        }
    }

    fn payload(&mut self, ty: Option<Type>, value: Option<&Value>, depth: usize) -> Result<(), ValueError> {
        match (ty, value) {
            (Some(ty), Some(value)) => self.value(ty, value, depth),
            (None, None) => Ok(()),
            (Some(ty), None) => Err(self.mismatch(ty)),
            (None, Some(_)) => Err(ValueError::new("expected no payload")),
        }
    }

    #[cold]
    fn mismatch(&self, ty: Type) -> ValueError {
        ValueError::new(format!("expected {}, found a value of another type", self.signature.type_to_wit(ty)))
    }
}
