//! Postcard bytes to JSON. The bytes need not have been checked: this is a check, too.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::super::Limits;
use super::super::check::kind_of;
use super::super::error::{Place, ValueError};
use super::super::read::Reader;
use super::super::text::{Text, option_of};
use crate::signature::{DefKind, Field, Signature, Type};

/// Largest integer, either side of zero, up to which every integer is a float: beyond it they are written as strings.
const MAX_SAFE_INTEGER: u64 = 1 << 53;

/// Arguments in postcard as a JSON array.
///
/// # Errors
/// [`ValueError`] where the bytes are no arguments of this function, or the text would be over the limits.
pub fn args_to_json(signature: &Signature, bytes: &[u8], limits: &Limits) -> Result<String, ValueError> {
    let mut write = Write { signature, reader: Reader::new(bytes, limits)?, text: Text::new(limits) };
    write.text.push("[")?;
    for (at, param) in signature.params.iter().enumerate() {
        write.text.separate(at, ",")?;
        write.value(param.ty, 0).in_name(&param.name)?;
    }
    write.text.push("]")?;
    write.reader.finish()?;
    Ok(write.text.finish())
}

/// A result in postcard as JSON; `null` where the function has none.
///
/// # Errors
/// [`ValueError`] where the bytes are no result of this function, or the text would be over the limits.
pub fn result_to_json(signature: &Signature, bytes: &[u8], limits: &Limits) -> Result<String, ValueError> {
    let mut write = Write { signature, reader: Reader::new(bytes, limits)?, text: Text::new(limits) };
    match signature.result {
        Some(ty) => write.value(ty, 0)?,
        None => write.text.push("null")?,
    }
    write.reader.finish()?;
    Ok(write.text.finish())
}

struct Write<'a> {
    signature: &'a Signature,
    reader: Reader<'a>,
    text: Text,
}

impl<'a> Write<'a> {
    fn value(&mut self, ty: Type, depth: usize) -> Result<(), ValueError> {
        let (reader, text) = (&mut self.reader, &mut self.text);
        match ty {
            Type::Bool => text.push(if reader.bool()? { "true" } else { "false" }),
            Type::S8 => text.signed(reader.byte()?.cast_signed().into()),
            Type::U8 => text.unsigned(reader.byte()?.into()),
            Type::S16 => text.signed(reader.zigzag::<16>()?),
            Type::U16 => text.unsigned(reader.varint::<16>()?),
            Type::S32 => text.signed(reader.zigzag::<32>()?),
            Type::U32 => text.unsigned(reader.varint::<32>()?),
            Type::S64 => {
                let value = reader.zigzag::<64>()?;
                quoted_if(text, value.unsigned_abs() > MAX_SAFE_INTEGER, |text| text.signed(value))
            }
            Type::U64 => {
                let value = reader.varint::<64>()?;
                quoted_if(text, value > MAX_SAFE_INTEGER, |text| text.unsigned(value))
            }
            Type::F32 => {
                let value = f32::from_le_bytes(reader.array()?);
                let short = format!("{value:?}");
                // Readers take a number for an f64 first. Where its nearest f32 is another, all digits are needed.
                let survives = value.is_finite() && short.parse::<f64>().is_ok_and(|read| read as f32 == value);
                if survives { text.push(&short) } else { float(text, f64::from(value)) }
            }
            Type::F64 => float(text, f64::from_le_bytes(reader.array()?)),
            Type::Char => string(text, reader.char()?.encode_utf8(&mut [0; 4])),
            Type::String => string(text, reader.string()?),
            Type::Def(_) => self.def(ty, depth),
        }
    }

    fn def(&mut self, ty: Type, depth: usize) -> Result<(), ValueError> {
        let kind = kind_of(self.signature, ty, depth)?;
        let depth = depth + 1;
        match kind {
            DefKind::List(Type::U8) => {
                let bytes = self.reader.byte_list()?;
                self.text.push("\"")?;
                // A multiple of three bytes at a time is encoded without padding between.
                for chunk in bytes.chunks(3 * 1024) {
                    self.text.push(&STANDARD.encode(chunk))?;
                }
                self.text.push("\"")
            }
            DefKind::List(item) => {
                let count = self.reader.list_length(*item)?;
                self.array((0..count).map(|_| *item), depth)
            }
            DefKind::Tuple(types) => self.array(types.iter().copied(), depth),
            DefKind::Record(fields) => self.record(fields, depth),
            DefKind::Variant(cases) => {
                let case = self.reader.case(cases.len())?;
                match cases.get(case) {
                    Some(case) => match case.ty {
                        Some(ty) => self.tagged(&case.name, Some(ty), depth),
                        None => string(&mut self.text, &case.name),
                    },
                    None => Ok(()),
                }
            }
            DefKind::Enum(names) => {
                let case = self.reader.case(names.len())?;
                string(&mut self.text, names.get(case).map_or("", String::as_str))
            }
            DefKind::Option(ty) => match self.reader.is_some()? {
                false => self.text.push("null"),
                true if option_of(self.signature, *ty).is_some() => {
                    self.text.push("{\"some\":")?;
                    self.value(*ty, depth)?;
                    self.text.push("}")
                }
                true => self.value(*ty, depth),
            },
            DefKind::Result { ok, err } => match self.reader.case(2)? {
                0 => self.tagged("ok", *ok, depth),
                _ => self.tagged("err", *err, depth),
            },
            DefKind::Flags(names) => {
                let bits = self.reader.flags(names.len())?;
                let set = names.iter().enumerate().filter(|(at, _)| bits >> at & 1 == 1);
                self.text.push("[")?;
                for (at, (_, name)) in set.enumerate() {
                    self.text.separate(at, ",")?;
                    string(&mut self.text, name)?;
                }
                self.text.push("]")
            }
            DefKind::Stream(_) | DefKind::Future(_) => self.text.unsigned(self.reader.channel()?.into()),
        }
    }

    fn array(&mut self, items: impl Iterator<Item = Type>, depth: usize) -> Result<(), ValueError> {
        self.text.push("[")?;
        for (at, ty) in items.enumerate() {
            self.text.separate(at, ",")?;
            self.value(ty, depth).in_item(at)?;
        }
        self.text.push("]")
    }

    fn record(&mut self, fields: &[Field], depth: usize) -> Result<(), ValueError> {
        self.text.push("{")?;
        for (at, field) in fields.iter().enumerate() {
            self.text.separate(at, ",")?;
            string(&mut self.text, &field.name)?;
            self.text.push(":")?;
            self.value(field.ty, depth).in_name(&field.name)?;
        }
        self.text.push("}")
    }

    /// `{"name": value}`
    fn tagged(&mut self, name: &str, ty: Option<Type>, depth: usize) -> Result<(), ValueError> {
        self.text.push("{")?;
        string(&mut self.text, name)?;
        self.text.push(":")?;
        match ty {
            Some(ty) => self.value(ty, depth).in_name(name)?,
            None => self.text.push("null")?,
        }
        self.text.push("}")
    }
}

fn quoted_if(
    text: &mut Text,
    quoted: bool,
    write: impl FnOnce(&mut Text) -> Result<(), ValueError>,
) -> Result<(), ValueError> {
    text.push(if quoted { "\"" } else { "" })?;
    write(text)?;
    text.push(if quoted { "\"" } else { "" })
}

fn float(text: &mut Text, value: f64) -> Result<(), ValueError> {
    if value.is_nan() {
        text.push("\"NaN\"")
    } else if value.is_infinite() {
        text.push(if value > 0.0 { "\"Infinity\"" } else { "\"-Infinity\"" })
    } else {
        // `Debug` is the shortest text that reads as the same number, with an exponent where that is shorter.
        text.push(&format!("{value:?}"))
    }
}

fn string(text: &mut Text, value: &str) -> Result<(), ValueError> {
    text.push("\"")?;
    let mut rest = value;
    while let Some(at) = rest.find(|c: char| c < ' ' || c == '"' || c == '\\') {
        let (plain, special) = rest.split_at(at);
        text.push(plain)?;
        let mut chars = special.chars();
        match chars.next() {
            Some('\n') => text.push("\\n")?,
            Some('\r') => text.push("\\r")?,
            Some('\t') => text.push("\\t")?,
            Some('"') => text.push("\\\"")?,
            Some('\\') => text.push("\\\\")?,
            Some(control) => text.push(&format!("\\u{:04x}", u32::from(control)))?,
            None => {}
        }
        rest = chars.as_str();
    }
    text.push(rest)?;
    text.push("\"")
}
