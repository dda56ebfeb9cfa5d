//! What a signature from the wire must be before anything walks over it.
//!
//! The check is linear in the size of the table. After it: every reference is to an earlier definition, nesting is at
//! most [`MAX_DEPTH`] deep, every count is bounded, no value is of no bytes, and names are WIT names that differ from
//! their neighbours.

use std::collections::HashSet;

use super::{
    Def, DefKind, MAX_ALL_MEMBERS, MAX_DEFS, MAX_DEPTH, MAX_FLAGS, MAX_LABEL_BYTES, MAX_MEMBERS, Signature, Type,
    TypeName, is_with_streams, with_streams,
};
use crate::name::{MAX_CALLBACK_NAME_BYTES, is_label};

/// A signature is none that WIT can have, or is larger than we take.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSignature {
    /// More definitions than [`MAX_DEFS`].
    #[error("the signature has {count} types; at most {MAX_DEFS} are taken")]
    TooManyTypes {
        /// How many.
        count: usize,
    },
    /// More members in all definitions together than [`MAX_ALL_MEMBERS`].
    #[error("the types of the signature have more than {MAX_ALL_MEMBERS} fields and cases in all")]
    TooLarge,
    /// More of something than [`MAX_MEMBERS`], or none where there must be one.
    #[error("{what} has {count} {of}; 1 to {most} are taken")]
    Count {
        /// Of what.
        what: String,
        /// How many.
        count: usize,
        /// Of which kind.
        of: &'static str,
        /// The most.
        most: usize,
    },
    /// A reference to a definition that is not earlier in the table.
    #[error("{what} refers to type {to}, which is not before it")]
    Reference {
        /// Where.
        what: String,
        /// To which.
        to: u32,
    },
    /// Deeper than [`MAX_DEPTH`].
    #[error("{what} is nested more than {MAX_DEPTH} deep")]
    TooDeep {
        /// What.
        what: String,
    },
    /// A stream or future whose items have streams in them.
    #[error("type {at} is a stream of streams, which cannot be carried")]
    StreamOfStreams {
        /// Which definition.
        at: usize,
    },
    /// A name that WIT does not have.
    #[error("{what}: `{name}` is no name: words of letters and digits joined by `-`, {MAX_LABEL_BYTES} bytes at most")]
    Name {
        /// Where.
        what: String,
        /// The name, shortened.
        name: String,
    },
    /// A name twice. WIT names differ in more than upper and lower case.
    #[error("{what} has the name `{name}` twice")]
    Twice {
        /// Where.
        what: String,
        /// The name.
        name: String,
    },
}

impl Signature {
    /// Checks a signature that comes from elsewhere.
    ///
    /// # Errors
    /// [`BadSignature`] with the first thing that is wrong.
    pub fn check(&self) -> Result<(), BadSignature> {
        if self.defs.len() > MAX_DEFS {
            return Err(BadSignature::TooManyTypes { count: self.defs.len() });
        }
        let mut depths: Vec<usize> = Vec::with_capacity(self.defs.len());
        let mut members = 0;
        for def in &self.defs {
            let (depth, count) = check_def(def, &depths)?;
            depths.push(depth);
            members += count;
            if members > MAX_ALL_MEMBERS {
                return Err(BadSignature::TooLarge);
            }
        }
        let streams = with_streams(&self.defs);
        let nested = |def: &Def| match def.kind {
            DefKind::Stream(Some(item)) | DefKind::Future(Some(item)) => is_with_streams(item, &streams),
            _ => false,
        };
        if let Some(at) = self.defs.iter().position(nested) {
            return Err(BadSignature::StreamOfStreams { at });
        }
        let what = || "the function".to_owned();
        if self.params.len() > MAX_MEMBERS {
            return Err(BadSignature::Count {
                what: what(),
                count: self.params.len(),
                of: "parameters",
                most: MAX_MEMBERS,
            });
        }
        check_names(&what, self.params.iter().map(|param| param.name.as_str()))?;
        for ty in self.params.iter().map(|param| param.ty).chain(self.result) {
            depth_of(&what, ty, &depths)?;
        }
        Ok(())
    }
}

/// Checks a definition given the depths of those before it, and returns its own and the number of its members.
fn check_def(def: &Def, depths: &[usize]) -> Result<(usize, usize), BadSignature> {
    let what = || match &def.name {
        Some(name) => format!("type {} (`{}`)", depths.len(), shorten(&name.name)),
        None => format!("type {}", depths.len()),
    };
    if let Some(name) = &def.name {
        check_type_name(&what, name)?;
    }
    let (count, of, most) = match &def.kind {
        DefKind::Tuple(types) => (types.len(), "elements", MAX_MEMBERS),
        DefKind::Record(fields) => (fields.len(), "fields", MAX_MEMBERS),
        DefKind::Variant(cases) => (cases.len(), "cases", MAX_MEMBERS),
        DefKind::Enum(names) => (names.len(), "cases", MAX_MEMBERS),
        DefKind::Flags(names) => (names.len(), "flags", MAX_FLAGS),
        DefKind::List(_) | DefKind::Option(_) | DefKind::Result { .. } => (1, "", 1),
        DefKind::Stream(_) | DefKind::Future(_) => (1, "", 1),
    };
    if count == 0 || count > most {
        return Err(BadSignature::Count { what: what(), count, of, most });
    }
    match &def.kind {
        DefKind::Record(fields) => check_names(&what, fields.iter().map(|field| field.name.as_str()))?,
        DefKind::Variant(cases) => check_names(&what, cases.iter().map(|case| case.name.as_str()))?,
        DefKind::Enum(names) | DefKind::Flags(names) => check_names(&what, names.iter().map(String::as_str))?,
        DefKind::List(_) | DefKind::Tuple(_) | DefKind::Option(_) | DefKind::Result { .. } => {}
        DefKind::Stream(_) | DefKind::Future(_) => {}
    }
    let mut deepest = Ok(0);
    def.kind.for_each_type(|ty| {
        if let Ok(so_far) = deepest {
            deepest = depth_of(&what, ty, depths).map(|depth| depth.max(so_far));
        }
    });
    let depth = deepest? + 1;
    if depth > MAX_DEPTH { Err(BadSignature::TooDeep { what: what() }) } else { Ok((depth, count)) }
}

fn depth_of(what: &dyn Fn() -> String, ty: Type, depths: &[usize]) -> Result<usize, BadSignature> {
    let Type::Def(to) = ty else { return Ok(0) };
    let depth = usize::try_from(to).ok().and_then(|to| depths.get(to));
    depth.copied().ok_or_else(|| BadSignature::Reference { what: what(), to })
}

fn check_type_name(what: &dyn Fn() -> String, name: &TypeName) -> Result<(), BadSignature> {
    check_names(what, std::iter::once(name.name.as_str()))?;
    let good = |c: char| c.is_ascii_alphanumeric() || "-:/@.+".contains(c);
    match &name.interface {
        Some(interface) if interface.len() > MAX_CALLBACK_NAME_BYTES || !interface.chars().all(good) => {
            Err(BadSignature::Name { what: what(), name: shorten(interface) })
        }
        _ => Ok(()),
    }
}

fn check_names<'a>(what: &dyn Fn() -> String, names: impl Iterator<Item = &'a str>) -> Result<(), BadSignature> {
    let mut seen = HashSet::new();
    for name in names {
        if name.len() > MAX_LABEL_BYTES || !is_label(name) {
            return Err(BadSignature::Name { what: what(), name: shorten(name) });
        }
        if !seen.insert(name.to_ascii_lowercase()) {
            return Err(BadSignature::Twice { what: what(), name: name.to_owned() });
        }
    }
    Ok(())
}

/// What is quoted of a hostile name stays short, and on one line.
fn shorten(name: &str) -> String {
    name.chars().take(60).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signature::{Case, Field};

    fn def(kind: DefKind) -> Def {
        Def { name: None, kind }
    }

    fn of(defs: Vec<Def>) -> Signature {
        let result = defs.len().checked_sub(1).map(|last| Type::Def(u32::try_from(last).unwrap()));
        Signature { defs, params: vec![], result, is_async: false }
    }

    fn field(name: &str, ty: Type) -> Field {
        Field { name: name.to_owned(), ty }
    }

    #[test]
    fn what_wit_cannot_have_is_refused() {
        let flags = |count: usize| DefKind::Flags((0..count).map(|n| format!("f{n}")).collect());
        assert_eq!(of(vec![def(flags(32))]).check(), Ok(()));
        for (kind, error) in [
            (DefKind::Tuple(vec![]), "type 0 has 0 elements; 1 to 1024 are taken"),
            (DefKind::Record(vec![]), "type 0 has 0 fields; 1 to 1024 are taken"),
            (DefKind::Variant(vec![]), "type 0 has 0 cases; 1 to 1024 are taken"),
            (DefKind::Enum(vec![]), "type 0 has 0 cases; 1 to 1024 are taken"),
            (flags(0), "type 0 has 0 flags; 1 to 32 are taken"),
            (flags(33), "type 0 has 33 flags; 1 to 32 are taken"),
            (DefKind::Tuple(vec![Type::U8; 1025]), "type 0 has 1025 elements; 1 to 1024 are taken"),
            (DefKind::List(Type::Def(0)), "type 0 refers to type 0, which is not before it"),
            (DefKind::Option(Type::Def(7)), "type 0 refers to type 7, which is not before it"),
            (DefKind::Record(vec![field("a", Type::U8), field("A", Type::U8)]), "type 0 has the name `A` twice"),
            (
                DefKind::Variant(vec![Case { name: "no name".to_owned(), ty: None }]),
                "type 0: `no name` is no name: words of letters and digits joined by `-`, 256 bytes at most",
            ),
            (
                DefKind::Enum(vec!["a".repeat(257)]),
                &format!(
                    "type 0: `{}` is no name: words of letters and digits joined by `-`, 256 bytes at most",
                    "a".repeat(60)
                ),
            ),
        ] {
            assert_eq!(of(vec![def(kind)]).check().unwrap_err().to_string(), error);
        }
    }

    #[test]
    fn a_stream_of_streams_is_refused() {
        let stream = |item| def(DefKind::Stream(item));
        let pair = || def(DefKind::Tuple(vec![Type::Def(0), Type::U8]));
        assert_eq!(of(vec![stream(None), pair()]).check(), Ok(()));
        assert!(of(vec![stream(None), pair()]).has_streams());
        assert!(!of(vec![stream(None), def(DefKind::List(Type::U8))]).has_streams(), "it is not used");
        for defs in [
            vec![stream(Some(Type::U8)), stream(Some(Type::Def(0)))],
            vec![def(DefKind::Future(None)), pair(), stream(Some(Type::Def(1)))],
            vec![stream(Some(Type::U8)), pair(), def(DefKind::Future(Some(Type::Def(1))))],
        ] {
            let at = defs.len() - 1;
            assert_eq!(of(defs).check(), Err(BadSignature::StreamOfStreams { at }));
        }
    }

    #[test]
    fn a_function_is_checked_as_its_types_are() {
        let mut signature = of(vec![]);
        signature.params = vec![field("a", Type::U8), field("a", Type::U8)];
        assert_eq!(signature.check().unwrap_err().to_string(), "the function has the name `a` twice");
        signature.params = vec![field("a", Type::Def(0))];
        assert!(matches!(signature.check(), Err(BadSignature::Reference { .. })));
        signature.params = (0..=MAX_MEMBERS).map(|n| field(&format!("p{n}"), Type::U8)).collect();
        assert!(matches!(signature.check(), Err(BadSignature::Count { .. })));
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |depth: u32| {
            let first = std::iter::once(def(DefKind::List(Type::U8)));
            of(first.chain((1..depth).map(|at| def(DefKind::List(Type::Def(at - 1))))).collect())
        };
        assert_eq!(nested(100).check(), Ok(()));
        assert_eq!(nested(101).check().unwrap_err().to_string(), "type 100 is nested more than 100 deep");
        assert!(matches!(nested(5000).check(), Err(BadSignature::TooManyTypes { count: 5000 })));
        let wide = |count: usize| of((0..count).map(|_| def(DefKind::Tuple(vec![Type::U8; 1024]))).collect());
        assert_eq!((wide(16).check(), wide(17).check()), (Ok(()), Err(BadSignature::TooLarge)));
    }
}
