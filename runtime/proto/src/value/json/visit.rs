//! What `serde_json` finds, taken for what is wanted there: scalars, texts, and the starts of arrays and objects.

use std::fmt;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::de::{Error, MapAccess, SeqAccess, Visitor};

use super::super::error::{ValueError, quote};
use super::super::text::{mismatch, no_number, option_of, out_of_range, type_name, unknown};
use super::read::{Context, Seed, Want};
use crate::signature::{DefKind, Type};

/// Base64 with or without the padding at its end.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

impl<'de> Visitor<'de> for Seed<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        match self.want {
            Want::Nothing => Ok(()),
            Want::Value(ty) if option_of(self.context.signature, ty).is_some() => {
                let written = self.context.writer.byte(0);
                self.context.put(written)
            }
            _ => Err(self.refuse("null")),
        }
    }

    fn visit_bool<E: Error>(mut self, value: bool) -> Result<(), E> {
        self.settled()?;
        match self.want {
            Want::Value(Type::Bool) => {
                let written = self.context.writer.byte(u8::from(value));
                self.context.put(written)
            }
            _ => Err(self.refuse(if value { "true" } else { "false" })),
        }
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.number(i128::from(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.number(i128::from(value))
    }

    fn visit_f64<E: Error>(mut self, value: f64) -> Result<(), E> {
        self.settled()?;
        let written = match self.want {
            Want::Value(Type::F64) => self.context.writer.bytes(&value.to_le_bytes()),
            Want::Value(ty @ Type::F32) => {
                let narrow = value as f32;
                match narrow.is_finite() {
                    true => self.context.writer.bytes(&narrow.to_le_bytes()),
                    false => Err(out_of_range(self.context.signature, ty, &format!("{value:?}"))),
                }
            }
            _ => return Err(self.refuse(&format!("{value:?}"))),
        };
        self.context.put(written)
    }

    fn visit_str<E: Error>(mut self, text: &str) -> Result<(), E> {
        let kind = self.settled()?;
        let signature = self.context.signature;
        let Want::Value(ty) = self.want else { return Err(self.refuse(&quoted(text))) };
        let writer = &mut self.context.writer;
        let written = match (ty, kind) {
            (Type::String, _) => writer.byte_list(text.as_bytes()),
            (Type::Char, _) => {
                let mut chars = text.chars();
                match (chars.next(), chars.next()) {
                    (Some(c), None) => writer.char(c),
                    _ => Err(mismatch(signature, ty, &quoted(text))),
                }
            }
            (Type::F32 | Type::F64, _) => match special_float(text) {
                Some(value) if matches!(ty, Type::F32) => writer.bytes(&(value as f32).to_le_bytes()),
                Some(value) => writer.bytes(&value.to_le_bytes()),
                None => Err(mismatch(signature, ty, &quoted(text))),
            },
            (Type::Bool, _) => Err(mismatch(signature, ty, &quoted(text))),
            (Type::Def(_), Some(kind)) => return self.text(ty, kind, text),
            (Type::Def(_), None) => Err(mismatch(signature, ty, &quoted(text))),
            (_, _) => {
                let digits = text.strip_prefix('-').unwrap_or(text);
                let decimal = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
                return match (decimal, text.parse::<i128>()) {
                    (true, Ok(value)) => self.integer(value, text),
                    (true, Err(_)) => Err(self.context.fail(out_of_range(signature, ty, text))),
                    (false, _) => Err(self.refuse(&quoted(text))),
                };
            }
        };
        self.context.put(written)
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, items: A) -> Result<(), A::Error> {
        let kind = self.settled()?;
        match (self.want, kind) {
            (Want::Args, _) => self.args(items),
            (_, Some(DefKind::List(item))) => self.list(*item, items),
            (_, Some(DefKind::Tuple(types))) => self.tuple(types, items),
            (_, Some(DefKind::Flags(names))) => self.flags(names, items),
            _ => Err(self.refuse("an array")),
        }
    }

    fn visit_map<A: MapAccess<'de>>(mut self, map: A) -> Result<(), A::Error> {
        let kind = self.settled()?;
        match (self.want, kind) {
            (Want::Args, _) => {
                let params = &self.context.signature.params;
                self.fields(params, "parameter", map)
            }
            (_, Some(DefKind::Record(fields))) => self.fields(fields, "field", map),
            (_, Some(DefKind::Variant(cases))) => self.tagged(cases, "case", map, |writer, at| {
                writer.length(at)?;
                Ok(cases.get(at).and_then(|case| case.ty).map_or(Want::Nothing, Want::Value))
            }),
            (_, Some(DefKind::Option(inner))) => self.tagged(&["some"], "key", map, |writer, _| {
                writer.byte(1)?;
                Ok(Want::Value(*inner))
            }),
            (_, Some(DefKind::Result { ok, err })) => self.tagged(&["ok", "err"], "key", map, |writer, at| {
                writer.length(at)?;
                let payload = if at == 0 { ok } else { err };
                Ok(payload.map_or(Want::Nothing, Want::Value))
            }),
            _ => Err(self.refuse("an object")),
        }
    }
}

impl<'a> Seed<'_, 'a> {
    fn integer<E: Error>(self, value: i128, text: &str) -> Result<(), E> {
        let Want::Value(ty) = self.want else { return Err(self.refuse(text)) };
        let writer = &mut self.context.writer;
        let written = match ty {
            Type::S8 => i8::try_from(value).ok().map(|value| writer.byte(value.cast_unsigned())),
            Type::U8 => u8::try_from(value).ok().map(|value| writer.byte(value)),
            Type::S16 => i16::try_from(value).ok().map(|value| writer.zigzag(value.into())),
            Type::U16 => u16::try_from(value).ok().map(|value| writer.varint(value.into())),
            Type::S32 => i32::try_from(value).ok().map(|value| writer.zigzag(value.into())),
            Type::U32 => u32::try_from(value).ok().map(|value| writer.varint(value.into())),
            Type::S64 => i64::try_from(value).ok().map(|value| writer.zigzag(value)),
            Type::U64 => u64::try_from(value).ok().map(|value| writer.varint(value)),
            _ => return Err(self.refuse(text)),
        };
        let written = written.unwrap_or_else(|| Err(out_of_range(self.context.signature, ty, text)));
        self.context.put(written)
    }

    fn number<E: Error>(mut self, value: i128) -> Result<(), E> {
        let kind = self.settled()?;
        match self.want {
            Want::Value(ty) if matches!(kind, Some(DefKind::Stream(_) | DefKind::Future(_))) => {
                match u32::try_from(value) {
                    Ok(number) => self.context.writer.channel(number),
                    Err(_) => Err(no_number(self.context.signature, ty, &value.to_string())),
                }
            }
            Want::Value(Type::F32) => self.context.writer.bytes(&(value as f32).to_le_bytes()),
            Want::Value(Type::F64) => self.context.writer.bytes(&(value as f64).to_le_bytes()),
            _ => return self.integer(value, &value.to_string()),
        }
        .map_err(|problem| self.context.fail(problem))
    }

    /// A text for a definition: base64, or the name of a case.
    fn text<E: Error>(self, ty: Type, kind: &'a DefKind, text: &str) -> Result<(), E> {
        let Context { signature, writer, names, .. } = self.context;
        let written = match kind {
            DefKind::List(Type::U8) => match BASE64.decode(text) {
                Ok(bytes) => writer.byte_list(&bytes),
                Err(error) => Err(ValueError::new(format!("expected bytes in base64: {error}"))),
            },
            DefKind::Enum(known) => match names.find(known, text) {
                Some(at) => writer.length(at),
                None => Err(unknown("case", text, known.iter().map(String::as_str))),
            },
            DefKind::Variant(cases) => match names.find(cases, text).and_then(|at| Some((at, cases.get(at)?))) {
                Some((at, case)) => match case.ty {
                    None => writer.length(at),
                    Some(ty) => Err(ValueError::new(format!(
                        "the case `{0}` has a payload: write {{\"{0}\": …}} with {1}",
                        case.name,
                        type_name(signature, ty)
                    ))),
                },
                None => Err(unknown("case", text, cases.iter().map(|case| case.name.as_str()))),
            },
            DefKind::Result { ok: None, .. } if text == "ok" => writer.byte(0),
            DefKind::Result { err: None, .. } if text == "err" => writer.byte(1),
            _ => Err(mismatch(signature, ty, &quoted(text))),
        };
        self.context.put(written)
    }
}

fn special_float(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(f64::NAN),
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", quote(text))
}
