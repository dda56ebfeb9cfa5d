//! JSON to postcard bytes, led by the type: no tree of the text is made, and what is made is within the limits.
//!
//! `serde_json` reads the text and calls one visitor for whatever it finds; the visitor knows the type that is wanted
//! there. Its own errors travel beside serde's, in [`Context::problem`], so that they keep their place.

use std::fmt;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::super::Limits;
use super::super::check::kind_of;
use super::super::error::{ValueError, quote};
use super::super::parts::Parts;
use super::super::text::{NameTables, check_length, mismatch, option_of, out_of_range, twice, type_name, unknown};
use super::super::tree::wrong_count;
use super::super::write::Writer;
use crate::signature::{DefKind, Field, Signature, Type};

/// Base64 with or without the padding at its end.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Arguments from a JSON array, or an object by parameter name. Parameters that are options may be left out, in an
/// array at its end.
///
/// # Errors
/// [`ValueError`] with the place in the arguments, or with line and column where the text is no JSON.
pub fn args_from_json(signature: &Signature, text: &str, limits: &Limits) -> Result<Vec<u8>, ValueError> {
    read(signature, text, limits, Want::Args)
}

/// A result from JSON; `null` or nothing where the function has none.
///
/// # Errors
/// [`ValueError`] with the place in the result, or with line and column where the text is no JSON.
pub fn result_from_json(signature: &Signature, text: &str, limits: &Limits) -> Result<Vec<u8>, ValueError> {
    match signature.result {
        Some(ty) => read(signature, text, limits, Want::Value(ty)),
        None if matches!(text.trim(), "" | "null") => Ok(Vec::new()),
        None => Err(ValueError::new("the function has no result: expected null")),
    }
}

fn read(signature: &Signature, text: &str, limits: &Limits, want: Want) -> Result<Vec<u8>, ValueError> {
    check_length(text, limits)?;
    let mut context = Context { signature, writer: Writer::new(limits), names: NameTables::default(), problem: None };
    let mut json = serde_json::Deserializer::from_str(text);
    let outcome = Seed { context: &mut context, want, depth: 0 }.deserialize(&mut json).and_then(|()| json.end());
    match (outcome, context.problem) {
        (Ok(()), None) => Ok(context.writer.finish()),
        (_, Some(problem)) => Err(problem),
        (Err(error), None) => Err(ValueError::new(format!("the text is no JSON: {error}"))),
    }
}

struct Context<'a> {
    signature: &'a Signature,
    writer: Writer,
    names: NameTables<'a>,
    /// The first thing that was found wrong by us; its place grows on the way up.
    problem: Option<ValueError>,
}

impl Context<'_> {
    /// Turns an error of ours into one of serde's, which carries nothing.
    fn fail<E: serde::de::Error>(&mut self, problem: ValueError) -> E {
        self.problem = Some(problem);
        E::custom("refused")
    }

    fn put<T, E: serde::de::Error>(&mut self, result: Result<T, ValueError>) -> Result<T, E> {
        result.map_err(|problem| self.fail(problem))
    }

    /// Adds to the place of an error that comes up from below.
    fn within<T, E>(&mut self, result: Result<T, E>, add: impl FnOnce(ValueError) -> ValueError) -> Result<T, E> {
        if result.is_err() {
            self.problem = self.problem.take().map(add);
        }
        result
    }
}

/// What is wanted of the JSON that comes next.
#[derive(Clone, Copy)]
enum Want {
    /// The arguments of the function.
    Args,
    /// A value of this type.
    Value(Type),
    /// Nothing: the payload of a case that has none.
    Nothing,
}

struct Seed<'c, 'a> {
    context: &'c mut Context<'a>,
    want: Want,
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for Seed<'_, '_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'c, 'a> Seed<'c, 'a> {
    /// The definition that the JSON is for. Where that is `option<T>` and there is JSON other than `null`, it is
    /// `some`, and the JSON is for T, unless T is an option itself.
    fn settle(&mut self) -> Result<Option<&'a DefKind>, ValueError> {
        loop {
            let Want::Value(ty @ Type::Def(_)) = self.want else { return Ok(None) };
            let kind = kind_of(self.context.signature, ty, self.depth)?;
            self.depth += 1;
            match kind {
                DefKind::Option(inner) if option_of(self.context.signature, *inner).is_none() => {
                    self.context.writer.byte(1)?;
                    self.want = Want::Value(*inner);
                }
                kind => return Ok(Some(kind)),
            }
        }
    }

    fn settled<E: serde::de::Error>(&mut self) -> Result<Option<&'a DefKind>, E> {
        self.settle().map_err(|problem| self.context.fail(problem))
    }

    fn refuse<E: serde::de::Error>(self, found: &str) -> E {
        let problem = match self.want {
            Want::Args => {
                ValueError::new(format!("expected an array of arguments, or an object by parameter, found {found}"))
            }
            Want::Value(ty) => mismatch(self.context.signature, ty, found),
            Want::Nothing => ValueError::new(format!("the case has no payload: expected null, found {found}")),
        };
        self.context.fail(problem)
    }

    fn integer<E: serde::de::Error>(self, value: i128, text: &str) -> Result<(), E> {
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

    fn number<E: serde::de::Error>(mut self, value: i128) -> Result<(), E> {
        self.settled()?;
        match self.want {
            Want::Value(Type::F32) => self.context.writer.bytes(&(value as f32).to_le_bytes()),
            Want::Value(Type::F64) => self.context.writer.bytes(&(value as f64).to_le_bytes()),
            _ => return self.integer(value, &value.to_string()),
        }
        .map_err(|problem| self.context.fail(problem))
    }

    /// Reads the items of a list, whose number is known only at their end.
    fn list<'de, A: SeqAccess<'de>>(self, item: Type, mut items: A) -> Result<(), A::Error> {
        let Self { context, depth, .. } = self;
        let start = context.writer.position();
        let mut count = 0;
        loop {
            let seed = Seed { context, want: Want::Value(item), depth };
            let more = items.next_element_seed(seed);
            if context.within(more, |problem| problem.in_item(count))?.is_none() {
                break;
            }
            count += 1;
            if !matches!(item, Type::U8) {
                let charged = context.writer.charge(1);
                context.put(charged)?;
            }
        }
        let written = context.writer.length_before(start, count);
        context.put(written)
    }

    fn tuple<'de, A: SeqAccess<'de>>(self, types: &[Type], mut items: A) -> Result<(), A::Error> {
        let Self { context, depth, .. } = self;
        for (at, ty) in types.iter().enumerate() {
            let more = items.next_element_seed(Seed { context, want: Want::Value(*ty), depth });
            if context.within(more, |problem| problem.in_item(at))?.is_none() {
                return Err(context.fail(wrong_count("elements", types.len(), at)));
            }
        }
        context.no_more(types.len(), "elements", items)
    }

    fn args<'de, A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let Self { context, .. } = self;
        let params = &context.signature.params;
        for (at, param) in params.iter().enumerate() {
            let more = items.next_element_seed(Seed { context, want: Want::Value(param.ty), depth: 0 });
            if context.within(more, |problem| problem.in_name(&param.name))?.is_some() {
                continue;
            }
            for left_out in params.iter().skip(at) {
                let written = match option_of(context.signature, left_out.ty) {
                    Some(_) => context.writer.byte(0),
                    None => Err(wrong_count("arguments", params.len(), at)),
                };
                context.put(written)?;
            }
            return Ok(());
        }
        context.no_more(params.len(), "arguments", items)
    }

    fn flags<'de, A: SeqAccess<'de>>(self, names: &'a [String], mut items: A) -> Result<(), A::Error> {
        let Self { context, .. } = self;
        let mut bits = 0_u32;
        while let Some(at) = items.next_element_seed(Name { context, names, what: "flag" })? {
            let bit = 1_u32.checked_shl(u32::try_from(at).unwrap_or(u32::MAX)).unwrap_or(0);
            if bits & bit != 0 {
                return Err(context.fail(twice("flag", names.get(at).map_or("", String::as_str))));
            }
            bits |= bit;
        }
        let written = context.writer.flags(bits, names.len());
        context.put(written)
    }

    fn fields<'de, A: MapAccess<'de>>(self, fields: &'a [Field], what: &str, mut map: A) -> Result<(), A::Error> {
        let Self { context, depth, .. } = self;
        let mut parts = Parts::new(fields.len(), context.writer.position());
        while let Some(at) = map.next_key_seed(Name { context, names: fields, what })? {
            let Some(field) = fields.get(at) else { continue };
            if parts.has(at) {
                return Err(context.fail(twice(what, &field.name)));
            }
            let start = context.writer.position();
            let read = map.next_value_seed(Seed { context, want: Want::Value(field.ty), depth });
            context.within(read, |problem| problem.in_name(&field.name))?;
            parts.set(at, start..context.writer.position());
        }
        let written = parts.finish(context.signature, fields, what, &mut context.writer);
        context.put(written)
    }

    /// Reads `{"name": payload}`: `begin` writes what stands for the name and says what the payload is.
    fn tagged<'de, A, T: super::super::text::Named>(
        self,
        names: &'a [T],
        what: &str,
        mut map: A,
        begin: impl FnOnce(&mut Writer, usize) -> Result<Want, ValueError>,
    ) -> Result<(), A::Error>
    where
        A: MapAccess<'de>,
    {
        let Self { context, depth, .. } = self;
        let Some(at) = map.next_key_seed(Name { context, names, what })? else {
            return Err(context.fail(ValueError::new(format!("expected one {what}, found an empty object"))));
        };
        let begun = begin(&mut context.writer, at);
        let want = context.put(begun)?;
        let name = names.get(at).map_or("", |name| name.name());
        let read = map.next_value_seed(Seed { context, want, depth });
        context.within(read, |problem| problem.in_name(name))?;
        match map.next_key_seed(Name { context, names, what })? {
            None => Ok(()),
            Some(_) => Err(context.fail(ValueError::new(format!("expected one {what}, found several")))),
        }
    }
}

impl Context<'_> {
    fn no_more<'de, A: SeqAccess<'de>>(&mut self, count: usize, what: &str, mut items: A) -> Result<(), A::Error> {
        match items.next_element::<serde::de::IgnoredAny>()? {
            None => Ok(()),
            Some(_) => Err(self.fail(ValueError::new(format!("expected {count} {what}, found more")))),
        }
    }
}

impl<'de> Visitor<'de> for Seed<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        match self.want {
            Want::Nothing => Ok(()),
            Want::Value(ty) if option_of(self.context.signature, ty).is_some() => {
                let written = self.context.writer.byte(0);
                self.context.put(written)
            }
            _ => Err(self.refuse("null")),
        }
    }

    fn visit_bool<E: serde::de::Error>(mut self, value: bool) -> Result<(), E> {
        self.settled()?;
        match self.want {
            Want::Value(Type::Bool) => {
                let written = self.context.writer.byte(u8::from(value));
                self.context.put(written)
            }
            _ => Err(self.refuse(if value { "true" } else { "false" })),
        }
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<(), E> {
        self.number(i128::from(value))
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<(), E> {
        self.number(i128::from(value))
    }

    fn visit_f64<E: serde::de::Error>(mut self, value: f64) -> Result<(), E> {
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

    fn visit_str<E: serde::de::Error>(mut self, text: &str) -> Result<(), E> {
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
    /// A text for a definition: base64, or the name of a case.
    fn text<E: serde::de::Error>(self, ty: Type, kind: &'a DefKind, text: &str) -> Result<(), E> {
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

/// Reads a string that is one of some names, and gives its place among them.
struct Name<'c, 'a, 'w, T> {
    context: &'c mut Context<'a>,
    names: &'a [T],
    what: &'w str,
}

impl<'de, T: super::super::text::Named> DeserializeSeed<'de> for Name<'_, '_, '_, T> {
    type Value = usize;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<usize, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<T: super::super::text::Named> Visitor<'_> for Name<'_, '_, '_, T> {
    type Value = usize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the name of a {}", self.what)
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<usize, E> {
        match self.context.names.find(self.names, name) {
            Some(at) => Ok(at),
            None => {
                let known = self.names.iter().map(|known| known.name());
                Err(self.context.fail(unknown(self.what, name, known)))
            }
        }
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
