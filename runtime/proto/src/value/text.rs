//! What the text codecs share: bounded text, finding names in types, and words for errors.

use std::collections::HashMap;

use super::Limits;
use super::error::{ValueError, quote};
use crate::name::nearest;
use crate::signature::{Field, Signature, Type};

/// Text being made, within the limits.
pub(super) struct Text {
    out: String,
    max_text_bytes: usize,
}

impl Text {
    pub(super) fn new(limits: &Limits) -> Self {
        Self { out: String::new(), max_text_bytes: limits.max_text_bytes }
    }

    pub(super) fn finish(self) -> String {
        self.out
    }

    pub(super) fn push(&mut self, part: &str) -> Result<(), ValueError> {
        if self.out.len().saturating_add(part.len()) > self.max_text_bytes {
            // As much as fits: for who shows the beginning of a text.
            let room = self.max_text_bytes.saturating_sub(self.out.len());
            self.out.push_str(part.get(..part.floor_char_boundary(room)).unwrap_or_default());
            return Err(too_long(self.max_text_bytes));
        }
        self.out.push_str(part);
        Ok(())
    }

    pub(super) fn push_char(&mut self, c: char) -> Result<(), ValueError> {
        self.push(c.encode_utf8(&mut [0; 4]))
    }

    pub(super) fn display(&mut self, value: impl std::fmt::Display) -> Result<(), ValueError> {
        // What is shown so is a number: it is short, and the limit may be passed by it before it is seen.
        use std::fmt::Write as _;
        let _ = write!(self.out, "{value}");
        if self.out.len() > self.max_text_bytes { Err(too_long(self.max_text_bytes)) } else { Ok(()) }
    }

    pub(super) fn signed(&mut self, value: i64) -> Result<(), ValueError> {
        if value < 0 {
            self.push("-")?;
        }
        self.unsigned(value.unsigned_abs())
    }

    /// An integer, without the detour over `fmt`: lists of them are what large texts are made of.
    pub(super) fn unsigned(&mut self, mut value: u64) -> Result<(), ValueError> {
        let mut digits = [b'0'; 20];
        let mut count = 0;
        for digit in digits.iter_mut().rev() {
            *digit += (value % 10) as u8;
            value /= 10;
            count += 1;
            if value == 0 {
                break;
            }
        }
        let digits = digits.get(digits.len() - count..).unwrap_or_default();
        self.push(std::str::from_utf8(digits).unwrap_or_default())
    }

    /// Pushes `, ` or what separates items, before every item but the first.
    pub(super) fn separate(&mut self, at: usize, separator: &str) -> Result<(), ValueError> {
        if at == 0 { Ok(()) } else { self.push(separator) }
    }
}

/// Refuses text over the limit before it is read.
pub(super) fn check_length(text: &str, limits: &Limits) -> Result<(), ValueError> {
    if text.len() > limits.max_text_bytes { Err(too_long(limits.max_text_bytes)) } else { Ok(()) }
}

#[cold]
fn too_long(most: usize) -> ValueError {
    ValueError::too_large(format!("the text is longer than the {most} bytes that are allowed"))
}

/// `expected s64, found "x"`
#[cold]
pub(super) fn mismatch(signature: &Signature, ty: Type, found: &str) -> ValueError {
    ValueError::new(format!("expected {}, found {found}", type_name(signature, ty)))
}

/// A type as errors name it: in short.
#[cold]
pub(super) fn type_name(signature: &Signature, ty: Type) -> String {
    const MAX_CHARS: usize = 80;
    let name = signature.type_to_wit(ty);
    match name.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => format!("{}…", name.get(..end).unwrap_or(&name)),
        None => name,
    }
}

/// ``unknown field `pirce`; did you mean `price`?``, or, where nothing is near, what there is if that is short.
#[cold]
pub(super) fn unknown<'a>(what: &str, name: &str, known: impl Iterator<Item = &'a str>) -> ValueError {
    const NEAR_ENOUGH: f64 = 0.5;
    const MAX_COMPARED_BYTES: usize = 64;
    const MAX_LISTED: usize = 4;
    let known: Vec<&str> = known.collect();
    let mut near: Vec<(f64, &str)> = known
        .iter()
        .filter(|known| known.len().max(name.len()) <= MAX_COMPARED_BYTES)
        .map(|known| (strsim::normalized_damerau_levenshtein(known, name), *known))
        .filter(|(likeness, _)| *likeness >= NEAR_ENOUGH)
        .collect();
    near.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    let near: Vec<String> = near.into_iter().take(2).map(|(_, name)| name.to_owned()).collect();
    let hint = match near.is_empty() && known.len() <= MAX_LISTED {
        true => format!("; expected `{}`", known.join("` or `")),
        false => nearest(&near),
    };
    ValueError::new(format!("unknown {what} `{}`{hint}", quote(name)))
}

/// A stream or a future that is written as anything but its number.
#[cold]
pub(super) fn no_number(signature: &Signature, ty: Type, found: &str) -> ValueError {
    ValueError::new(format!("expected the number of a {}, 0 for the first, found {found}", type_name(signature, ty)))
}

#[cold]
pub(super) fn missing(what: &str, name: &str) -> ValueError {
    ValueError::new(format!("the {what} `{name}` is missing"))
}

#[cold]
pub(super) fn twice(what: &str, name: &str) -> ValueError {
    ValueError::new(format!("the {what} `{}` is there twice", quote(name)))
}

#[cold]
pub(super) fn out_of_range(signature: &Signature, ty: Type, found: &str) -> ValueError {
    ValueError::new(format!("{} is out of the range of {}", quote(found), type_name(signature, ty)))
}

/// The names of one list of fields, cases or flags.
pub(super) trait Named {
    fn name(&self) -> &str;
}

impl Named for Field {
    fn name(&self) -> &str {
        &self.name
    }
}

impl Named for crate::signature::Case {
    fn name(&self) -> &str {
        &self.name
    }
}

impl Named for &str {
    fn name(&self) -> &str {
        self
    }
}

impl Named for String {
    fn name(&self) -> &str {
        self
    }
}

/// Finds names in the types of one signature. Long lists of names get a table when they are first met, so that a text
/// that names the last of a thousand cases a million times is not searched a thousand million times.
#[derive(Default)]
pub(super) struct NameTables<'a> {
    tables: HashMap<usize, HashMap<&'a str, usize>>,
}

impl<'a> NameTables<'a> {
    /// The place of a name in `names`, which is a part of the signature.
    pub(super) fn find<T: Named>(&mut self, names: &'a [T], name: &str) -> Option<usize> {
        const MAX_SEARCHED: usize = 16;
        if names.len() <= MAX_SEARCHED {
            return names.iter().position(|known| known.name() == name);
        }
        // A slice of a signature that is borrowed for as long as the table lives is known by its address.
        let table = self
            .tables
            .entry(names.as_ptr().addr())
            .or_insert_with(|| names.iter().enumerate().map(|(at, known)| (known.name(), at)).collect());
        table.get(name).copied()
    }
}

/// Whether the type is an option, and of what.
pub(super) fn option_of(signature: &Signature, ty: Type) -> Option<Type> {
    match signature.def(ty)?.kind {
        crate::signature::DefKind::Option(ty) => Some(ty),
        _ => None,
    }
}
