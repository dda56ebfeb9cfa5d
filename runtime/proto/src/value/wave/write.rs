//! Postcard bytes to WAVE. The bytes need not have been checked: this is a check, too.

use super::super::Limits;
use super::super::check::kind_of;
use super::super::error::{Place, ValueError};
use super::super::read::Reader;
use super::super::text::{Text, option_of};
use super::KEYWORDS;
use crate::signature::{DefKind, Field, Signature, Type};

/// Arguments in postcard as WAVE, `(5, "x")`.
///
/// # Errors
/// [`ValueError`] where the bytes are no arguments of this function, or the text would be over the limits.
pub fn args_to_wave(signature: &Signature, bytes: &[u8], limits: &Limits) -> Result<String, ValueError> {
    let mut write = Write { signature, reader: Reader::new(bytes, limits)?, text: Text::new(limits) };
    write.args()?;
    write.reader.finish()?;
    Ok(write.text.finish())
}

/// The beginning of what [`args_to_wave`] gives, for people: so many bytes of it at most, and a `…` where that is not all.
/// It costs no more than those bytes. The same for bytes that are no arguments, from where that shows.
pub fn args_to_wave_cut(signature: &Signature, bytes: &[u8], most_bytes: usize) -> String {
    let limits = Limits { max_text_bytes: most_bytes, ..Limits::for_payload(bytes.len()) };
    let Ok(reader) = Reader::new(bytes, &limits) else { return "…".to_owned() };
    let mut write = Write { signature, reader, text: Text::new(&limits) };
    let written = write.args();
    let Write { reader, text, .. } = write;
    let whole = written.and_then(|()| reader.finish()).is_ok();
    if whole { text.finish() } else { text.finish() + "…" }
}

/// A result in postcard as WAVE; empty where the function has none.
///
/// # Errors
/// [`ValueError`] where the bytes are no result of this function, or the text would be over the limits.
pub fn result_to_wave(signature: &Signature, bytes: &[u8], limits: &Limits) -> Result<String, ValueError> {
    let mut write = Write { signature, reader: Reader::new(bytes, limits)?, text: Text::new(limits) };
    if let Some(ty) = signature.result {
        write.value(ty, 0)?;
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
    fn args(&mut self) -> Result<(), ValueError> {
        self.text.push("(")?;
        for (at, param) in self.signature.params.iter().enumerate() {
            self.text.separate(at, ", ")?;
            self.value(param.ty, 0).in_name(&param.name)?;
        }
        self.text.push(")")
    }

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
            Type::S64 => text.signed(reader.zigzag::<64>()?),
            Type::U64 => text.unsigned(reader.varint::<64>()?),
            Type::F32 => {
                let value = f32::from_le_bytes(reader.array()?);
                float(text, value.into(), format_args!("{value}"), format_args!("{value:e}"))
            }
            Type::F64 => {
                let value = f64::from_le_bytes(reader.array()?);
                float(text, value, format_args!("{value}"), format_args!("{value:e}"))
            }
            Type::Char => {
                text.push("'")?;
                character(text, reader.char()?)?;
                text.push("'")
            }
            Type::String => {
                text.push("\"")?;
                reader.string()?.chars().try_for_each(|c| character(text, c))?;
                text.push("\"")
            }
            Type::Def(_) => self.def(ty, depth),
        }
    }

    fn def(&mut self, ty: Type, depth: usize) -> Result<(), ValueError> {
        let kind = kind_of(self.signature, ty, depth)?;
        let depth = depth + 1;
        match kind {
            DefKind::List(Type::U8) => {
                let bytes = self.reader.byte_list()?;
                self.text.push("[")?;
                for (at, byte) in bytes.iter().enumerate() {
                    self.text.separate(at, ", ")?;
                    self.text.unsigned((*byte).into())?;
                }
                self.text.push("]")
            }
            DefKind::List(item) => {
                let count = self.reader.list_length(*item)?;
                self.items("[", (0..count).map(|_| *item), "]", depth)
            }
            DefKind::Tuple(types) => self.items("(", types.iter().copied(), ")", depth),
            DefKind::Record(fields) => self.record(fields, depth),
            DefKind::Variant(cases) => {
                let case = self.reader.case(cases.len())?;
                match cases.get(case) {
                    Some(case) => {
                        self.case(&case.name)?;
                        self.payload(case.ty, depth).in_name(&case.name)
                    }
                    None => Ok(()),
                }
            }
            DefKind::Enum(names) => {
                let case = self.reader.case(names.len())?;
                self.case(names.get(case).map_or("", String::as_str))
            }
            DefKind::Option(ty) => match self.reader.is_some()? {
                false => self.text.push("none"),
                true => {
                    self.text.push("some")?;
                    self.payload(Some(*ty), depth)
                }
            },
            DefKind::Result { ok, err } => {
                let (ty, name) = if self.reader.case(2)? == 0 { (ok, "ok") } else { (err, "err") };
                self.text.push(name)?;
                self.payload(*ty, depth).in_name(name)
            }
            DefKind::Flags(names) => {
                let bits = self.reader.flags(names.len())?;
                let set = names.iter().enumerate().filter(|(at, _)| bits >> at & 1 == 1);
                self.text.push("{")?;
                for (at, (_, name)) in set.enumerate() {
                    self.text.separate(at, ", ")?;
                    self.text.push(name)?;
                }
                self.text.push("}")
            }
            DefKind::Stream(_) | DefKind::Future(_) => self.text.unsigned(self.reader.channel()?.into()),
        }
    }

    fn items(
        &mut self,
        open: &str,
        items: impl Iterator<Item = Type>,
        close: &str,
        depth: usize,
    ) -> Result<(), ValueError> {
        self.text.push(open)?;
        for (at, ty) in items.enumerate() {
            self.text.separate(at, ", ")?;
            self.value(ty, depth).in_item(at)?;
        }
        self.text.push(close)
    }

    /// Fields that are `none` are left out.
    fn record(&mut self, fields: &[Field], depth: usize) -> Result<(), ValueError> {
        self.text.push("{")?;
        let mut written = 0;
        for field in fields {
            if option_of(self.signature, field.ty).is_some() && self.reader.takes_none() {
                continue;
            }
            self.text.separate(written, ", ")?;
            written += 1;
            self.text.push(&field.name)?;
            self.text.push(": ")?;
            self.value(field.ty, depth).in_name(&field.name)?;
        }
        self.text.push(if written == 0 { ":}" } else { "}" })
    }

    fn case(&mut self, name: &str) -> Result<(), ValueError> {
        if KEYWORDS.contains(&name) {
            self.text.push("%")?;
        }
        self.text.push(name)
    }

    fn payload(&mut self, ty: Option<Type>, depth: usize) -> Result<(), ValueError> {
        let Some(ty) = ty else { return Ok(()) };
        self.text.push("(")?;
        self.value(ty, depth)?;
        self.text.push(")")
    }
}

/// The plain text of a number of everyday size, that with an exponent of others.
fn float(
    text: &mut Text,
    value: f64,
    plain: std::fmt::Arguments<'_>,
    exponent: std::fmt::Arguments<'_>,
) -> Result<(), ValueError> {
    let size = value.abs();
    if value.is_nan() {
        text.push("nan")
    } else if value == 0.0 || size.is_infinite() || (1e-5..1e16).contains(&size) {
        text.display(plain)
    } else {
        text.display(exponent)
    }
}

fn character(text: &mut Text, c: char) -> Result<(), ValueError> {
    match c {
        '\\' => text.push("\\\\"),
        '"' => text.push("\\\""),
        '\'' => text.push("\\'"),
        '\n' => text.push("\\n"),
        '\r' => text.push("\\r"),
        '\t' => text.push("\\t"),
        c if c.is_control() => text.push(&format!("\\u{{{:x}}}", u32::from(c))),
        c => text.push_char(c),
    }
}
