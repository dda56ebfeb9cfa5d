//! The type of a callback: parameters and result as a table of WIT types.
//!
//! A table rather than a tree, because a component of a few hundred bytes can name a type whose tree has 2^40 nodes.
//! Invariant: a definition refers only to earlier ones, so a table has no cycle and every walk over it ends. Decoding
//! from the wire checks this ([`Signature::check`]).
//!
//! Two signatures are the same when their [`Fingerprint`]s are: names and order of fields, cases and flags count;
//! names of types and parameters, and being `async`, do not.

use serde::{Deserialize, Serialize};

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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Def {
    /// Its name in WIT; no part of the comparison.
    pub name: Option<TypeName>,
    /// What it is.
    pub kind: DefKind,
}

/// The name of a type and the interface that it comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TypeName {
    /// The interface's full name, version included (`daffi:runtime/types@0.1.0`), where it has one.
    pub interface: Option<String>,
    /// The type's name (`call-error`).
    pub name: String,
}

/// The kinds of definitions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
}

/// A named field of a record, or a parameter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// Its type.
    pub ty: Type,
}

/// A case of a variant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Case {
    /// Its name.
    pub name: String,
    /// Its payload's type, if it has one.
    pub ty: Option<Type>,
}

/// The type of a function.
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
}
