//! WAVE to postcard bytes, led by the type: no tree of the text is made, and the walk is as deep as the type is.

use super::super::Limits;
use super::super::check::kind_of;
use super::super::error::{Place, ValueError, quote};
use super::super::parts::Parts;
use super::super::text::{
    NameTables, Named, check_length, mismatch, no_number, option_of, out_of_range, twice, type_name, unknown,
};
use super::super::tree::wrong_count;
use super::super::write::Writer;
use super::lex::{Lexer, Token, char_of, lines_of, text_of};
use crate::signature::{Case, DefKind, Field, Signature, Type};

/// Arguments from WAVE, `(5, "x")`. Options at the end may be left out.
///
/// # Errors
/// [`ValueError`] with the place in the arguments, or in the text where that is no WAVE.
pub fn args_from_wave(signature: &Signature, text: &str, limits: &Limits) -> Result<Vec<u8>, ValueError> {
    let mut read = Read::new(signature, text, limits)?;
    if !(signature.params.is_empty() && read.lexer.peek()? == Token::End) {
        read.args()?;
    }
    read.finish()
}

/// A result from WAVE, the bare value; nothing where the function has none.
///
/// # Errors
/// [`ValueError`] with the place in the result, or in the text where that is no WAVE.
pub fn result_from_wave(signature: &Signature, text: &str, limits: &Limits) -> Result<Vec<u8>, ValueError> {
    let mut read = Read::new(signature, text, limits)?;
    if let Some(ty) = signature.result {
        read.value(ty, 0)?;
    }
    read.finish()
}

struct Read<'a> {
    signature: &'a Signature,
    lexer: Lexer<'a>,
    writer: Writer,
    names: NameTables<'a>,
}

impl<'a> Read<'a> {
    fn new(signature: &'a Signature, text: &'a str, limits: &Limits) -> Result<Self, ValueError> {
        check_length(text, limits)?;
        Ok(Self { signature, lexer: Lexer::new(text), writer: Writer::new(limits), names: NameTables::default() })
    }

    fn finish(mut self) -> Result<Vec<u8>, ValueError> {
        match self.lexer.peek()? {
            Token::End => Ok(self.writer.finish()),
            token => {
                self.lexer.next()?;
                Err(self.lexer.error(&format!("expected the end, found {}", describe(token))))
            }
        }
    }

    fn args(&mut self) -> Result<(), ValueError> {
        let params = &self.signature.params;
        let mut count = 0;
        self.expect('(')?;
        while !self.closes(count, ')')? {
            let Some(param) = params.get(count) else {
                return Err(ValueError::new(format!("expected {} arguments, found more", params.len())));
            };
            self.value(param.ty, 0).in_name(&param.name)?;
            count += 1;
        }
        for left_out in params.iter().skip(count) {
            match option_of(self.signature, left_out.ty) {
                Some(_) => self.writer.byte(0)?,
                None => return Err(wrong_count("arguments", params.len(), count)),
            }
        }
        Ok(())
    }

    fn value(&mut self, ty: Type, depth: usize) -> Result<(), ValueError> {
        if matches!(ty, Type::Def(_)) {
            return self.def(ty, depth);
        }
        let signature = self.signature;
        let token = self.lexer.next()?;
        let wrong = || mismatch(signature, ty, &describe(token));
        let writer = &mut self.writer;
        match (ty, token) {
            (Type::Bool, Token::Label { word: "true", escaped: false }) => writer.byte(1),
            (Type::Bool, Token::Label { word: "false", escaped: false }) => writer.byte(0),
            (Type::Char, Token::Char(inner)) => writer.char(char_of(inner).ok_or_else(wrong)?),
            (Type::String, Token::Str(inner)) => {
                let text = text_of(inner).ok_or_else(|| self.lexer.error("an unknown escape in the string before"))?;
                writer.byte_list(text.as_bytes())
            }
            (Type::String, Token::Lines(inner)) => {
                let text = lines_of(inner).map_err(|problem| self.lexer.error(problem))?;
                writer.byte_list(text.as_bytes())
            }
            (Type::F32, Token::Number(text) | Token::Label { word: text @ ("inf" | "nan"), escaped: false }) => {
                let value: f32 = text.parse().map_err(|_| wrong())?;
                match value.is_infinite() && !text.ends_with("inf") {
                    true => Err(out_of_range(signature, ty, text)),
                    false => writer.bytes(&value.to_le_bytes()),
                }
            }
            (Type::F64, Token::Number(text) | Token::Label { word: text @ ("inf" | "nan"), escaped: false }) => {
                let value: f64 = text.parse().map_err(|_| wrong())?;
                match value.is_infinite() && !text.ends_with("inf") {
                    true => Err(out_of_range(signature, ty, text)),
                    false => writer.bytes(&value.to_le_bytes()),
                }
            }
            (Type::Bool | Type::Char | Type::String | Type::F32 | Type::F64, _) => Err(wrong()),
            (_, Token::Number(text)) => {
                let whole = text.strip_prefix('-').unwrap_or(text).bytes().all(|b| b.is_ascii_digit());
                let written = match ty {
                    Type::S8 => text.parse().ok().map(|value: i8| writer.byte(value.cast_unsigned())),
                    Type::U8 => text.parse().ok().map(|value| writer.byte(value)),
                    Type::S16 => text.parse().ok().map(|value: i16| writer.zigzag(value.into())),
                    Type::U16 => text.parse().ok().map(|value: u16| writer.varint(value.into())),
                    Type::S32 => text.parse().ok().map(|value: i32| writer.zigzag(value.into())),
                    Type::U32 => text.parse().ok().map(|value: u32| writer.varint(value.into())),
                    Type::S64 => text.parse().ok().map(|value| writer.zigzag(value)),
                    _ => text.parse().ok().map(|value| writer.varint(value)),
                };
                match written {
                    Some(written) => written,
                    None if whole => Err(out_of_range(signature, ty, text)),
                    None => Err(wrong()),
                }
            }
            _ => Err(wrong()),
        }
    }

    fn def(&mut self, ty: Type, depth: usize) -> Result<(), ValueError> {
        let kind = kind_of(self.signature, ty, depth)?;
        let depth = depth + 1;
        match kind {
            DefKind::List(item) => self.list(ty, *item, depth),
            DefKind::Tuple(types) => self.tuple(ty, types, depth),
            DefKind::Record(fields) => self.record(ty, fields, depth),
            DefKind::Variant(cases) => self.variant(ty, cases, depth),
            DefKind::Enum(names) => {
                let word = self.label(ty)?;
                match self.names.find(names, word) {
                    Some(at) => self.writer.length(at),
                    None => Err(unknown("case", word, names.iter().map(String::as_str))),
                }
            }
            DefKind::Option(inner) => match self.lexer.peek()? {
                Token::Label { word: "none", escaped: false } => {
                    self.lexer.next()?;
                    self.writer.byte(0)
                }
                Token::Label { word: "some", escaped: false } => {
                    self.lexer.next()?;
                    self.writer.byte(1)?;
                    self.payload(Some(*inner), "some", depth)
                }
                _ if self.stands_alone(*inner) => {
                    self.writer.byte(1)?;
                    self.value(*inner, depth)
                }
                token => Err(mismatch(self.signature, ty, &describe(token))),
            },
            DefKind::Result { ok, err } => match (self.lexer.peek()?, ok) {
                (Token::Label { word: "ok", escaped: false }, ok) => {
                    self.lexer.next()?;
                    self.writer.byte(0)?;
                    self.payload(*ok, "ok", depth).in_name("ok")
                }
                (Token::Label { word: "err", escaped: false }, _) => {
                    self.lexer.next()?;
                    self.writer.byte(1)?;
                    self.payload(*err, "err", depth).in_name("err")
                }
                (_, Some(ok)) if self.stands_alone(*ok) => {
                    self.writer.byte(0)?;
                    self.value(*ok, depth)
                }
                (token, _) => Err(mismatch(self.signature, ty, &describe(token))),
            },
            DefKind::Flags(names) => self.flags(ty, names),
            DefKind::Stream(_) | DefKind::Future(_) => match self.lexer.next()? {
                Token::Number(text) => match text.parse() {
                    Ok(number) => self.writer.channel(number),
                    Err(_) => Err(no_number(self.signature, ty, text)),
                },
                token => Err(no_number(self.signature, ty, &describe(token))),
            },
        }
    }

    /// Whether the payload of an option or result may stand for it: not where it is one itself.
    fn stands_alone(&self, ty: Type) -> bool {
        !matches!(self.signature.def(ty).map(|def| &def.kind), Some(DefKind::Option(_) | DefKind::Result { .. }))
    }

    fn list(&mut self, ty: Type, item: Type, depth: usize) -> Result<(), ValueError> {
        self.open(ty, '[')?;
        let start = self.writer.position();
        let mut count = 0;
        while !self.closes(count, ']')? {
            self.value(item, depth).in_item(count)?;
            count += 1;
            self.writer.charge(item, 1)?;
        }
        self.writer.length_before(start, count)
    }

    fn tuple(&mut self, ty: Type, types: &[Type], depth: usize) -> Result<(), ValueError> {
        self.open(ty, '(')?;
        let mut count = 0;
        while !self.closes(count, ')')? {
            let Some(item) = types.get(count) else {
                return Err(ValueError::new(format!("expected {} elements, found more", types.len())));
            };
            self.value(*item, depth).in_item(count)?;
            count += 1;
        }
        if count == types.len() { Ok(()) } else { Err(wrong_count("elements", types.len(), count)) }
    }

    fn record(&mut self, ty: Type, fields: &'a [Field], depth: usize) -> Result<(), ValueError> {
        self.open(ty, '{')?;
        let mut parts = Parts::new(fields.len(), self.writer.position());
        let mut count = 0;
        // A record without a field that is there is `{:}`, which tells it from flags without a flag.
        if self.lexer.peek()? == Token::Punct(':') {
            self.lexer.next()?;
            self.expect('}')?;
        } else {
            while !self.closes(count, '}')? {
                let word = self.label(ty)?;
                let Some((at, field)) = self.names.find(fields, word).and_then(|at| Some((at, fields.get(at)?))) else {
                    return Err(unknown("field", word, fields.iter().map(Named::name)));
                };
                if parts.has(at) {
                    return Err(twice("field", word));
                }
                self.expect(':').in_name(word)?;
                let start = self.writer.position();
                self.value(field.ty, depth).in_name(word)?;
                parts.set(at, start..self.writer.position());
                count += 1;
            }
        }
        parts.finish(self.signature, fields, "field", &mut self.writer)
    }

    fn variant(&mut self, ty: Type, cases: &'a [Case], depth: usize) -> Result<(), ValueError> {
        let word = self.label(ty)?;
        let Some((at, case)) = self.names.find(cases, word).and_then(|at| Some((at, cases.get(at)?))) else {
            return Err(unknown("case", word, cases.iter().map(Named::name)));
        };
        self.writer.length(at)?;
        self.payload(case.ty, word, depth).in_name(word)
    }

    fn flags(&mut self, ty: Type, names: &'a [String]) -> Result<(), ValueError> {
        self.open(ty, '{')?;
        let mut bits = 0_u32;
        let mut count = 0;
        while !self.closes(count, '}')? {
            let word = self.label(ty)?;
            let Some(at) = self.names.find(names, word) else {
                return Err(unknown("flag", word, names.iter().map(String::as_str)));
            };
            let bit = 1_u32.checked_shl(u32::try_from(at).unwrap_or(u32::MAX)).unwrap_or(0);
            if bits & bit != 0 {
                return Err(twice("flag", word));
            }
            bits |= bit;
            count += 1;
        }
        self.writer.flags(bits, names.len())
    }

    /// `(value)` where a case has a payload, nothing where it has none.
    fn payload(&mut self, ty: Option<Type>, case: &str, depth: usize) -> Result<(), ValueError> {
        let follows = self.lexer.peek()? == Token::Punct('(');
        match ty {
            Some(ty) if follows => {
                self.expect('(')?;
                self.value(ty, depth)?;
                self.expect(')')
            }
            Some(ty) => {
                let name = type_name(self.signature, ty);
                Err(ValueError::new(format!("`{case}` has a payload: write `{case}(…)` with {name}")))
            }
            None if follows => Err(ValueError::new(format!("`{case}` has no payload"))),
            None => Ok(()),
        }
    }

    fn label(&mut self, ty: Type) -> Result<&'a str, ValueError> {
        match self.lexer.next()? {
            Token::Label { word, .. } => Ok(word),
            token => Err(mismatch(self.signature, ty, &describe(token))),
        }
    }

    /// Takes the bracket that a value of this type starts with.
    fn open(&mut self, ty: Type, bracket: char) -> Result<(), ValueError> {
        match self.lexer.next()? {
            Token::Punct(found) if found == bracket => Ok(()),
            token => Err(mismatch(self.signature, ty, &describe(token))),
        }
    }

    fn expect(&mut self, wanted: char) -> Result<(), ValueError> {
        match self.lexer.next()? {
            Token::Punct(found) if found == wanted => Ok(()),
            token => Err(self.lexer.error(&format!("expected `{wanted}`, found {}", describe(token)))),
        }
    }

    /// After `count` items: takes the bracket that closes, or the comma before one more item. A comma may also stand
    /// before the bracket.
    fn closes(&mut self, count: usize, bracket: char) -> Result<bool, ValueError> {
        if count > 0 && self.lexer.peek()? == Token::Punct(',') {
            self.lexer.next()?;
        } else if count > 0 {
            self.expect(bracket)?;
            return Ok(true);
        }
        let closes = self.lexer.peek()? == Token::Punct(bracket);
        if closes {
            self.lexer.next()?;
        }
        Ok(closes)
    }
}

/// A token as errors show it.
#[cold]
fn describe(token: Token<'_>) -> String {
    match token {
        Token::Punct(c) => format!("`{c}`"),
        Token::Number(text) => quote(text),
        Token::Label { word, escaped } => format!("`{}{}`", if escaped { "%" } else { "" }, quote(word)),
        Token::Char(inner) => format!("'{}'", quote(inner)),
        Token::Str(inner) | Token::Lines(inner) => format!("\"{}\"", quote(inner)),
        Token::End => "the end of the text".to_owned(),
    }
}
