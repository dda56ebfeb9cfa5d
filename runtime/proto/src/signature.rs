//! The type of a callback: parameters and result as a table of WIT types.
//!
//! A table rather than a tree, because a component of a few hundred bytes can name a type whose tree has 2^40 nodes.
//! Invariant: a definition refers only to earlier ones, so a table has no cycle and every walk over it ends. Decoding
//! from the wire checks this ([`Signature::check`]).
//!
//! Two signatures are the same when their [`Fingerprint`]s are: names and order of fields, cases and flags count;
//! names of types and parameters, and being `async`, do not.
//!
//! | module | holds |
//! |---|---|
//! | [`build`] | making signatures: equal definitions become one |
//! | `check` | what a signature from the wire must be |
//! | `fingerprint` | the comparison, and the forms of an import |
//! | `text` | one line of WIT for people |
//! | [`wit`] | a document of WIT that a guest can import |

pub mod build;
mod check;
mod fingerprint;
mod text;
pub mod wit;

use serde::{Deserialize, Serialize};

pub use self::build::SignatureBuilder;
pub use self::check::BadSignature;

/// Most definitions in a signature.
pub const MAX_DEFS: usize = 4096;

/// Most parameters of a function; most fields, elements, cases or names in a definition.
pub const MAX_MEMBERS: usize = 1024;

/// Most members of all definitions together.
pub const MAX_ALL_MEMBERS: usize = 16 * 1024;

/// Most bytes in the name of a type, field, case, flag or parameter.
pub const MAX_LABEL_BYTES: usize = 256;

/// Most flags in a `flags`.
pub const MAX_FLAGS: usize = 32;

/// Deepest nesting of types: what bounds the recursion of every walk over a value.
pub const MAX_DEPTH: usize = 100;

/// Where `call-error` comes from, less the version: the interface and the name that mark it.
const CALL_ERROR: (&str, &str) = ("daffi:runtime/types", "call-error");

/// A reference to a type: a primitive, or a definition of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Type {
    /// `bool`
    Bool,
    /// `s8`
    S8,
    /// `u8`
    U8,
    /// `s16`
    S16,
    /// `u16`
    U16,
    /// `s32`
    S32,
    /// `u32`
    U32,
    /// `s64`
    S64,
    /// `u64`
    U64,
    /// `f32`
    F32,
    /// `f64`
    F64,
    /// `char`
    Char,
    /// `string`
    String,
    /// The definition at this place of the table.
    Def(u32),
}

/// A definition, with the name that it has in WIT where it has one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Def {
    /// Its name in WIT; no part of the comparison.
    pub name: Option<TypeName>,
    /// What it is.
    pub kind: DefKind,
}

/// The name of a type and the interface that it comes from.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TypeName {
    /// The interface's full name, version included (`daffi:runtime/types@0.1.0`), where it has one.
    pub interface: Option<String>,
    /// The type's name (`call-error`).
    pub name: String,
}

/// The kinds of definitions.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum DefKind {
    /// `list<T>`
    List(Type),
    /// `tuple<…>`
    Tuple(Vec<Type>),
    /// `record`
    Record(Vec<Field>),
    /// `variant`
    Variant(Vec<Case>),
    /// `enum`
    Enum(Vec<String>),
    /// `option<T>`
    Option(Type),
    /// `result<T, E>`
    Result {
        /// The type of `ok`, if it has one.
        ok: Option<Type>,
        /// The type of `err`, if it has one.
        err: Option<Type>,
    },
    /// `flags`, 1 to 32 of them
    Flags(Vec<String>),
    /// `stream<T>`; without a type `stream`. Its items have no stream in them.
    Stream(Option<Type>),
    /// `future<T>`; without a type `future`. Its value has no stream in it.
    Future(Option<Type>),
}

/// A named field of a record, or a parameter.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// Its type.
    pub ty: Type,
}

/// A case of a variant.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Case {
    /// Its name.
    pub name: String,
    /// Its payload's type, if it has one.
    pub ty: Option<Type>,
}

/// The type of a function.
///
/// One that comes from elsewhere is to be checked ([`Signature::check`]) before it is used: what walks over it is
/// bounded by what the check bounds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature {
    /// The table of definitions.
    pub defs: Vec<Def>,
    /// The parameters; their names are no part of the comparison.
    pub params: Vec<Field>,
    /// The result, if there is one.
    pub result: Option<Type>,
    /// Whether it is an `async func`; no part of the comparison.
    pub is_async: bool,
}

/// What is left of a signature when names of types and parameters are taken away: 128 bits of SHA-256 over its
/// structure. Equal fingerprints are equal signatures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Fingerprint(pub [u8; 16]);

/// How an import's signature stands to the callback's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// The same signature: FG; a failure traps the caller.
    Plain,
    /// `result<T, call-error>` where the callback gives `T`: FG; a failure is a value.
    Checked,
    /// `list<tuple<string, result<T, call-error>>>` where the callback gives `T`: BROADCAST, one entry a process.
    All,
}

impl Signature {
    /// The definition that a type refers to; none for a primitive.
    pub fn def(&self, ty: Type) -> Option<&Def> {
        match ty {
            Type::Def(at) => usize::try_from(at).ok().and_then(|at| self.defs.get(at)),
            _ => None,
        }
    }

    /// Whether a stream or a future is among the parameters or in the result.
    pub fn has_streams(&self) -> bool {
        let streams = with_streams(&self.defs);
        self.params.iter().map(|param| param.ty).chain(self.result).any(|ty| is_with_streams(ty, &streams))
    }

    /// Whether a stream or a future is in the result.
    pub fn gives_streams(&self) -> bool {
        self.result.is_some_and(|ty| is_with_streams(ty, &with_streams(&self.defs)))
    }

    /// Whether the type is `call-error` of `daffi:runtime/types`, in any version: by origin, and of the frozen shape.
    pub fn is_call_error(&self, ty: Type) -> bool {
        let Some(Def { name: Some(TypeName { interface: Some(interface), name }), kind }) = self.def(ty) else {
            return false;
        };
        let interface = interface.split('@').next().unwrap_or(interface);
        (interface, name.as_str()) == CALL_ERROR && self.has_call_error_fields(kind)
    }

    fn has_call_error_fields(&self, kind: &DefKind) -> bool {
        let is_text = |ty: Type| matches!(self.def(ty).map(|def| &def.kind), Some(DefKind::Option(Type::String)));
        let is_outcome = |ty: Type| matches!(self.def(ty).map(|def| &def.kind), Some(DefKind::Enum(cases)) if cases == &["not-run", "failed", "unknown"]);
        let DefKind::Record(fields) = kind else { return false };
        let [outcome, code, message, callback, process, retryable, trace] = fields.as_slice() else { return false };
        let names = fields.iter().map(|field| field.name.as_str());
        names.eq(["outcome", "code", "message", "callback", "process", "retryable", "trace"])
            && is_outcome(outcome.ty)
            && [code, message, callback].iter().all(|field| field.ty == Type::String)
            && is_text(process.ty)
            && retryable.ty == Type::Bool
            && is_text(trace.ty)
    }
}

/// Which definitions some types are made of. Since a definition refers to earlier ones only, one pass from the end
/// finds them all.
fn needed(defs: &[Def], of: impl Iterator<Item = Type>) -> Vec<bool> {
    let mut needed = vec![false; defs.len()];
    let mark = |ty: Type, needed: &mut [bool]| {
        let Type::Def(at) = ty else { return };
        if let Some(needed) = usize::try_from(at).ok().and_then(|at| needed.get_mut(at)) {
            *needed = true;
        }
    };
    of.for_each(|ty| mark(ty, &mut needed));
    for (at, def) in defs.iter().enumerate().rev() {
        if needed.get(at) == Some(&true) {
            def.kind.for_each_type(|ty| mark(ty, &mut needed));
        }
    }
    needed
}

/// Which definitions are a stream or a future, or have one in them.
fn with_streams(defs: &[Def]) -> Vec<bool> {
    let mut streams = Vec::with_capacity(defs.len());
    for def in defs {
        let mut found = matches!(def.kind, DefKind::Stream(_) | DefKind::Future(_));
        def.kind.for_each_type(|ty| found |= is_with_streams(ty, &streams));
        streams.push(found);
    }
    streams
}

/// The same of a type, given the definitions before it.
fn is_with_streams(ty: Type, streams: &[bool]) -> bool {
    let Type::Def(at) = ty else { return false };
    usize::try_from(at).ok().and_then(|at| streams.get(at)).copied().unwrap_or(false)
}

impl DefKind {
    /// Calls `each` with the types that this definition is made of, in order.
    pub(crate) fn for_each_type(&self, mut each: impl FnMut(Type)) {
        match self {
            Self::List(ty) | Self::Option(ty) => each(*ty),
            Self::Tuple(types) => types.iter().copied().for_each(each),
            Self::Record(fields) => fields.iter().map(|field| field.ty).for_each(each),
            Self::Variant(cases) => cases.iter().filter_map(|case| case.ty).for_each(each),
            Self::Result { ok, err } => ok.iter().chain(err).copied().for_each(each),
            Self::Stream(item) | Self::Future(item) => item.iter().copied().for_each(each),
            Self::Enum(_) | Self::Flags(_) => {}
        }
    }

    /// The same definition with every type that it is made of put through `map`.
    pub(crate) fn map_types(&self, mut map: impl FnMut(Type) -> Type) -> Self {
        match self {
            Self::List(ty) => Self::List(map(*ty)),
            Self::Option(ty) => Self::Option(map(*ty)),
            Self::Tuple(types) => Self::Tuple(types.iter().map(|ty| map(*ty)).collect()),
            Self::Record(fields) => {
                Self::Record(fields.iter().map(|field| Field { name: field.name.clone(), ty: map(field.ty) }).collect())
            }
            Self::Variant(cases) => Self::Variant(
                cases.iter().map(|case| Case { name: case.name.clone(), ty: case.ty.map(&mut map) }).collect(),
            ),
            Self::Result { ok, err } => Self::Result { ok: ok.map(&mut map), err: err.map(&mut map) },
            Self::Enum(names) => Self::Enum(names.clone()),
            Self::Flags(names) => Self::Flags(names.clone()),
            Self::Stream(item) => Self::Stream(item.map(map)),
            Self::Future(item) => Self::Future(item.map(map)),
        }
    }
}
