//! JSON to postcard bytes, led by the type: no tree of the text is made, and what is made is within the limits.
//!
//! `serde_json` reads the text and calls one visitor for whatever it finds; the visitor knows the type that is wanted
//! there. Its own errors travel beside serde's, in [`Context::problem`], so that they keep their place. This file walks
//! through arrays and objects; `visit` takes what is found, `names` the names in it.

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess};

use super::super::Limits;
use super::super::check::kind_of;
use super::super::error::ValueError;
use super::super::parts::Parts;
use super::super::text::{NameTables, Named, check_length, mismatch, option_of, twice};
use super::super::tree::wrong_count;
use super::super::write::Writer;
use super::names::Name;
use crate::signature::{DefKind, Field, Signature, Type};

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

pub(super) struct Context<'a> {
    pub(super) signature: &'a Signature,
    pub(super) writer: Writer,
    pub(super) names: NameTables<'a>,
    /// The first thing that was found wrong by us; its place grows on the way up.
    problem: Option<ValueError>,
}

impl Context<'_> {
    /// Turns an error of ours into one of serde's, which carries nothing.
    pub(super) fn fail<E: Error>(&mut self, problem: ValueError) -> E {
        self.problem = Some(problem);
        E::custom("refused")
    }

    pub(super) fn put<T, E: Error>(&mut self, result: Result<T, ValueError>) -> Result<T, E> {
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
pub(super) enum Want {
    /// The arguments of the function.
    Args,
    /// A value of this type.
    Value(Type),
    /// Nothing: the payload of a case that has none.
    Nothing,
}

pub(super) struct Seed<'c, 'a> {
    pub(super) context: &'c mut Context<'a>,
    pub(super) want: Want,
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

    pub(super) fn settled<E: Error>(&mut self) -> Result<Option<&'a DefKind>, E> {
        self.settle().map_err(|problem| self.context.fail(problem))
    }

    pub(super) fn refuse<E: Error>(self, found: &str) -> E {
        let problem = match self.want {
            Want::Args => {
                ValueError::new(format!("expected an array of arguments, or an object by parameter, found {found}"))
            }
            Want::Value(ty) => mismatch(self.context.signature, ty, found),
            Want::Nothing => ValueError::new(format!("the case has no payload: expected null, found {found}")),
        };
        self.context.fail(problem)
    }

    /// Reads the items of a list, whose number is known only at their end.
    pub(super) fn list<'de, A: SeqAccess<'de>>(self, item: Type, mut items: A) -> Result<(), A::Error> {
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
            let charged = context.writer.charge(item, 1);
            context.put(charged)?;
        }
        let written = context.writer.length_before(start, count);
        context.put(written)
    }

    pub(super) fn tuple<'de, A: SeqAccess<'de>>(self, types: &[Type], mut items: A) -> Result<(), A::Error> {
        let Self { context, depth, .. } = self;
        for (at, ty) in types.iter().enumerate() {
            let more = items.next_element_seed(Seed { context, want: Want::Value(*ty), depth });
            if context.within(more, |problem| problem.in_item(at))?.is_none() {
                return Err(context.fail(wrong_count("elements", types.len(), at)));
            }
        }
        context.no_more(types.len(), "elements", items)
    }

    pub(super) fn args<'de, A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
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

    pub(super) fn flags<'de, A: SeqAccess<'de>>(self, names: &'a [String], mut items: A) -> Result<(), A::Error> {
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

    pub(super) fn fields<'de, A: MapAccess<'de>>(
        self,
        fields: &'a [Field],
        what: &str,
        mut map: A,
    ) -> Result<(), A::Error> {
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
    pub(super) fn tagged<'de, A, T: Named>(
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
        match items.next_element::<IgnoredAny>()? {
            None => Ok(()),
            Some(_) => Err(self.fail(ValueError::new(format!("expected {count} {what}, found more")))),
        }
    }
}
