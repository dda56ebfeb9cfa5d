//! A signature as one line of WIT, for people.
//!
//! Types that have a name are written by it, others by their structure. The text is bounded: a table can stand for a
//! tree of any size.

use std::fmt;

use super::{DefKind, Signature, Type};

/// Longest text of a signature, in bytes; the rest is `…`.
const MAX_TEXT_BYTES: usize = 4096;

/// Deepest nesting that is written out.
const MAX_WRITTEN_DEPTH: usize = 32;

/// The words of WIT: as a name they are written with a `%`.
const KEYWORDS: &[&str] = &[
    "as",
    "async",
    "bool",
    "borrow",
    "char",
    "constructor",
    "enum",
    "error-context",
    "export",
    "f32",
    "f64",
    "flags",
    "from",
    "func",
    "future",
    "import",
    "include",
    "interface",
    "list",
    "map",
    "option",
    "own",
    "package",
    "record",
    "resource",
    "result",
    "s16",
    "s32",
    "s64",
    "s8",
    "static",
    "stream",
    "string",
    "tuple",
    "type",
    "u16",
    "u32",
    "u64",
    "u8",
    "use",
    "variant",
    "with",
    "world",
];

impl Signature {
    /// `func(a: s64, b: s64) -> s64`
    pub fn to_wit(&self) -> String {
        let mut text = Text::default();
        text.function(self);
        text.finish()
    }

    /// The same, followed by what its named types are: `func(p: point) where point = record { x: s32, y: s32 }`. Two
    /// signatures that differ in their types alone differ in this.
    pub fn to_wit_with_types(&self) -> String {
        let mut text = Text::default();
        text.function(self);
        let mut word = " where ";
        for def in &self.defs {
            if let Some(name) = &def.name {
                text.push(word);
                text.push(escape(&name.name).as_ref());
                text.push(" = ");
                text.kind(self, &def.kind, 0);
                word = ", ";
            }
        }
        text.finish()
    }

    /// A type of this signature: its name, or its structure where it has none.
    pub fn type_to_wit(&self, ty: Type) -> String {
        let mut text = Text::default();
        text.ty(self, ty, 0);
        text.finish()
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_wit())
    }
}

/// A name as WIT wants it.
pub(super) fn escape(name: &str) -> std::borrow::Cow<'_, str> {
    if KEYWORDS.contains(&name) { format!("%{name}").into() } else { name.into() }
}

/// The WIT word for a primitive type; none for a definition.
pub(crate) fn primitive(ty: Type) -> Option<&'static str> {
    Some(match ty {
        Type::Bool => "bool",
        Type::S8 => "s8",
        Type::U8 => "u8",
        Type::S16 => "s16",
        Type::U16 => "u16",
        Type::S32 => "s32",
        Type::U32 => "u32",
        Type::S64 => "s64",
        Type::U64 => "u64",
        Type::F32 => "f32",
        Type::F64 => "f64",
        Type::Char => "char",
        Type::String => "string",
        Type::Def(_) => return None,
    })
}

#[derive(Default)]
struct Text {
    out: String,
    full: bool,
}

impl Text {
    fn finish(mut self) -> String {
        if self.full {
            self.out.push('…');
        }
        self.out
    }

    fn push(&mut self, part: &str) {
        self.full |= self.out.len() + part.len() > MAX_TEXT_BYTES;
        if !self.full {
            self.out.push_str(part);
        }
    }

    fn function(&mut self, signature: &Signature) {
        self.push(if signature.is_async { "async func(" } else { "func(" });
        self.members(signature, signature.params.iter().map(|param| (Some(param.name.as_str()), Some(param.ty))), 0);
        self.push(")");
        if let Some(result) = signature.result {
            self.push(" -> ");
            self.ty(signature, result, 0);
        }
    }

    fn ty(&mut self, signature: &Signature, ty: Type, depth: usize) {
        if self.full {
            return;
        }
        match (primitive(ty), signature.def(ty)) {
            (Some(word), _) => self.push(word),
            (None, Some(def)) => match &def.name {
                Some(name) => self.push(escape(&name.name).as_ref()),
                None if depth >= MAX_WRITTEN_DEPTH => self.push("…"),
                None => self.kind(signature, &def.kind, depth + 1),
            },
            (None, None) => self.push("?"),
        }
    }

    fn kind(&mut self, signature: &Signature, kind: &DefKind, depth: usize) {
        match kind {
            DefKind::List(ty) => self.angled(signature, "list", &[Some(*ty)], depth),
            DefKind::Option(ty) => self.angled(signature, "option", &[Some(*ty)], depth),
            DefKind::Tuple(types) => {
                self.push("tuple<");
                self.members(signature, types.iter().map(|ty| (None, Some(*ty))), depth);
                self.push(">");
            }
            DefKind::Result { ok: None, err: None } => self.push("result"),
            DefKind::Result { ok, err: None } => self.angled(signature, "result", &[*ok], depth),
            DefKind::Result { ok, err } => self.angled(signature, "result", &[*ok, *err], depth),
            DefKind::Record(fields) => {
                self.push("record { ");
                self.members(signature, fields.iter().map(|field| (Some(field.name.as_str()), Some(field.ty))), depth);
                self.push(" }");
            }
            DefKind::Variant(cases) => {
                self.push("variant { ");
                for (at, case) in cases.iter().enumerate() {
                    self.push(if at == 0 { "" } else { ", " });
                    self.push(escape(&case.name).as_ref());
                    if let Some(ty) = case.ty {
                        self.push("(");
                        self.ty(signature, ty, depth);
                        self.push(")");
                    }
                }
                self.push(" }");
            }
            DefKind::Enum(names) => self.names(names, "enum"),
            DefKind::Flags(names) => self.names(names, "flags"),
            DefKind::Stream(None) => self.push("stream"),
            DefKind::Future(None) => self.push("future"),
            DefKind::Stream(item) => self.angled(signature, "stream", &[*item], depth),
            DefKind::Future(item) => self.angled(signature, "future", &[*item], depth),
        }
    }

    fn angled(&mut self, signature: &Signature, word: &str, types: &[Option<Type>], depth: usize) {
        self.push(word);
        self.push("<");
        self.members(signature, types.iter().map(|ty| (None, *ty)), depth);
        self.push(">");
    }

    fn members<'a>(
        &mut self,
        signature: &Signature,
        members: impl Iterator<Item = (Option<&'a str>, Option<Type>)>,
        depth: usize,
    ) {
        for (at, (name, ty)) in members.enumerate() {
            if self.full {
                return;
            }
            self.push(if at == 0 { "" } else { ", " });
            if let Some(name) = name {
                self.push(escape(name).as_ref());
                self.push(": ");
            }
            match ty {
                Some(ty) => self.ty(signature, ty, depth),
                None => self.push("_"),
            }
        }
    }

    fn names(&mut self, names: &[String], word: &str) {
        self.push(word);
        self.push(" { ");
        for (at, name) in names.iter().enumerate() {
            self.push(if at == 0 { "" } else { ", " });
            self.push(escape(name).as_ref());
        }
        self.push(" }");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signature::SignatureBuilder;

    #[test]
    fn a_signature_prints_as_wit() {
        let mut types = SignatureBuilder::new();
        let point = types.record([("x", Type::S32), ("type", Type::S32)]);
        let point = types.named(point, Some("a:b/c"), "point");
        let shape = types.variant([("circle", Some(point)), ("none", None)]);
        let list = types.list(point);
        let maybe = types.option(list);
        let color = types.enumeration(["red", "list"]);
        let bits = types.flags(["r", "w"]);
        let nothing = types.result(None, None);
        let failure = types.result(None, Some(Type::String));
        let fine = types.result(Some(nothing), None);
        let pair = types.tuple([color, bits]);
        let mut signature = types
            .function([("p", point), ("from", maybe), ("s", shape), ("t", pair), ("f", failure)], Some(fine))
            .unwrap();
        assert_eq!(
            signature.to_string(),
            "func(p: point, %from: option<list<point>>, s: variant { circle(point), none }, t: tuple<enum { red, %list }, \
             flags { r, w }>, f: result<_, string>) -> result<result>"
        );
        signature.is_async = true;
        signature.params.truncate(1);
        assert_eq!(
            signature.to_wit_with_types(),
            "async func(p: point) -> result<result> where point = record { x: s32, %type: s32 }"
        );
        assert_eq!(SignatureBuilder::new().function([], None).unwrap().to_wit(), "func()");
    }

    #[test]
    fn streams_and_futures_print_as_wit() {
        let mut types = SignatureBuilder::new();
        let (bytes, ticks) = (types.stream(Some(Type::U8)), types.stream(None));
        let (text, done) = (types.future(Some(Type::String)), types.future(None));
        let pair = types.tuple([bytes, done]);
        let signature = types.function([("a", bytes), ("b", ticks), ("c", text)], Some(pair)).unwrap();
        assert_eq!(
            signature.to_wit(),
            "func(a: stream<u8>, b: stream, c: future<string>) -> tuple<stream<u8>, future>"
        );
    }

    #[test]
    fn the_text_of_a_huge_tree_is_cut() {
        let mut types = SignatureBuilder::new();
        let mut ty = types.tuple([Type::U8, Type::U8]);
        for _ in 0..60 {
            ty = types.tuple([ty, ty]);
        }
        let text = types.function([("bomb", ty)], Some(ty)).unwrap().to_wit();
        assert!(text.len() < MAX_TEXT_BYTES + 8 && text.ends_with('…'));
    }
}
