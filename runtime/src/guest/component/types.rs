//! From the validator's types to signatures.
//!
//! Invariants: a type's name is the one that it got where it was defined, however many interfaces `use` it, so that
//! `call-error` is known by its origin; a definition comes after what it refers to; the work is bounded by
//! [`MAX_TYPE_PARTS`], since a small file can name large types many times.

use std::collections::HashMap;

use daffi_proto::signature::{Case, Def, DefKind, Field, MAX_FLAGS, Signature, SignatureBuilder, Type, TypeName};
use wasmparser::PrimitiveValType;
use wasmparser::component_types::{
    ComponentAnyTypeId, ComponentDefinedType, ComponentDefinedTypeId, ComponentEntityType, ComponentFuncTypeId,
    ComponentItem, ComponentValType,
};
use wasmparser::types::Types;

/// Most fields, cases and definitions in the signatures of one component together.
pub(super) const MAX_TYPE_PARTS: usize = 1 << 20;

/// Why a type cannot travel between processes; the words follow "has".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unservable {
    #[error("a resource, and resources cannot leave their component")]
    Resource,
    #[error("a stream, and streams cannot be served yet")]
    Stream,
    #[error("a future, and futures cannot be served yet")]
    Future,
    #[error("a `map`, which is no type that calls carry; use `list<tuple<K, V>>`")]
    Map,
    #[error("a list of fixed length, which is no type that calls carry; use `list<T>` or a tuple")]
    FixedLengthList,
    #[error("an `error-context`, which is no type that calls carry; use `result<T, string>`")]
    ErrorContext,
    #[error("flags with {0} names, and {MAX_FLAGS} are the most")]
    Flags(usize),
    #[error("more parts than this runtime looks at")]
    TooMany,
}

/// Why a function cannot be served.
pub(super) enum FunctionError {
    /// This parameter or its result cannot: words that follow the function's name.
    Unservable(String),
    /// The component as a whole is refused.
    TooMany,
}

/// Reads the types of one component.
pub(super) struct TypeReader<'a> {
    types: &'a Types,
    names: HashMap<ComponentAnyTypeId, TypeName>,
    parts_left: usize,
}

impl<'a> TypeReader<'a> {
    /// A reader that knows the names of all types among these imports and exports of the component.
    pub(super) fn new(types: &'a Types, externs: impl Iterator<Item = (&'a str, &'a ComponentItem)>) -> Self {
        let mut reader = Self { types, names: HashMap::new(), parts_left: MAX_TYPE_PARTS };
        for (name, item) in externs {
            match item.ty {
                ComponentEntityType::Type { created, .. } => reader.name(created, None, name),
                ComponentEntityType::Instance(id) => {
                    for (inner, item) in &types[id].exports {
                        if let ComponentEntityType::Type { created, .. } = item.ty {
                            reader.name(created, Some(name), inner);
                        }
                    }
                }
                _ => {}
            }
        }
        reader
    }

    /// Whether the type of this item, named `name` in `interface`, is defined there and not `use`d from elsewhere.
    pub(super) fn is_defined_in(&self, created: ComponentAnyTypeId, interface: Option<&str>, name: &str) -> bool {
        match self.origin(created).1 {
            Some(origin) => origin.interface.as_deref() == interface && origin.name == name,
            None => true,
        }
    }

    /// Reads the type of a function.
    pub(super) fn function(&mut self, id: ComponentFuncTypeId) -> Result<Signature, FunctionError> {
        let types = self.types;
        let function = &types[id];
        let mut table = Table { reader: self, defs: SignatureBuilder::new(), known: HashMap::new() };
        let mut params = Vec::with_capacity(function.params.len());
        for (name, ty) in &function.params {
            let ty = table.value(ty).map_err(|why| complaint(&format!("parameter `{name}`"), why))?;
            params.push((name.as_str(), ty));
        }
        let result = match &function.result {
            Some(ty) => Some(table.value(ty).map_err(|why| complaint("result", why))?),
            None => None,
        };
        let signature = table.defs.function(params, result);
        let signature = signature.map_err(|why| FunctionError::Unservable(format!("cannot be served: {why}")))?;
        Ok(Signature { is_async: function.async_, ..signature })
    }

    fn name(&mut self, id: ComponentAnyTypeId, interface: Option<&str>, name: &str) {
        let name = TypeName { interface: interface.map(str::to_owned), name: name.to_owned() };
        self.names.entry(id).or_insert(name);
    }

    /// The name that the type got first, and the type that got it: `use` makes a new type that is an alias of the used.
    fn origin(&self, id: ComponentAnyTypeId) -> (ComponentAnyTypeId, Option<&TypeName>) {
        let (mut first, mut name) = (id, self.names.get(&id));
        let mut next = self.types.peel_alias(id);
        while let Some(id) = next {
            if let Some(older) = self.names.get(&id) {
                (first, name) = (id, Some(older));
            }
            next = self.types.peel_alias(id);
        }
        (first, name)
    }
}

fn complaint(what: &str, why: Unservable) -> FunctionError {
    match why {
        Unservable::TooMany => FunctionError::TooMany,
        why => FunctionError::Unservable(format!("cannot be served: its {what} has {why}")),
    }
}

/// The table of one signature. Recursion is as deep as types are, which the validator keeps to 100.
struct Table<'r, 'a> {
    reader: &'r mut TypeReader<'a>,
    defs: SignatureBuilder,
    known: HashMap<ComponentAnyTypeId, Type>,
}

impl Table<'_, '_> {
    fn value(&mut self, ty: &ComponentValType) -> Result<Type, Unservable> {
        match ty {
            ComponentValType::Primitive(primitive) => self.primitive(*primitive),
            ComponentValType::Type(id) => self.definition(*id),
        }
    }

    fn optional(&mut self, ty: Option<&ComponentValType>) -> Result<Option<Type>, Unservable> {
        ty.map(|ty| self.value(ty)).transpose()
    }

    fn definition(&mut self, id: ComponentDefinedTypeId) -> Result<Type, Unservable> {
        let (origin, name) = self.reader.origin(id.into());
        if let Some(known) = self.known.get(&origin) {
            return Ok(*known);
        }
        let name = name.cloned();
        let types = self.reader.types;
        let kind = match &types[id] {
            ComponentDefinedType::Primitive(primitive) => return self.primitive(*primitive),
            ComponentDefinedType::Record(record) => {
                self.take(record.fields.len())?;
                let mut fields = Vec::with_capacity(record.fields.len());
                for (name, ty) in &record.fields {
                    fields.push(Field { name: name.to_string(), ty: self.value(ty)? });
                }
                DefKind::Record(fields)
            }
            ComponentDefinedType::Variant(variant) => {
                self.take(variant.cases.len())?;
                let mut cases = Vec::with_capacity(variant.cases.len());
                for (name, case) in &variant.cases {
                    cases.push(Case { name: name.to_string(), ty: self.optional(case.ty.as_ref())? });
                }
                DefKind::Variant(cases)
            }
            ComponentDefinedType::List { element, .. } => DefKind::List(self.value(element)?),
            ComponentDefinedType::Tuple(tuple) => {
                self.take(tuple.types.len())?;
                DefKind::Tuple(tuple.types.iter().map(|ty| self.value(ty)).collect::<Result<_, _>>()?)
            }
            ComponentDefinedType::Flags(names) if names.len() > MAX_FLAGS => {
                return Err(Unservable::Flags(names.len()));
            }
            ComponentDefinedType::Flags(names) => {
                self.take(names.len())?;
                DefKind::Flags(names.iter().map(ToString::to_string).collect())
            }
            ComponentDefinedType::Enum(names) => {
                self.take(names.len())?;
                DefKind::Enum(names.iter().map(ToString::to_string).collect())
            }
            ComponentDefinedType::Option { ty, .. } => DefKind::Option(self.value(ty)?),
            ComponentDefinedType::Result { ok, err, .. } => {
                DefKind::Result { ok: self.optional(ok.as_ref())?, err: self.optional(err.as_ref())? }
            }
            ComponentDefinedType::Map { .. } => return Err(Unservable::Map),
            ComponentDefinedType::FixedLengthList { .. } => return Err(Unservable::FixedLengthList),
            ComponentDefinedType::Own(_) | ComponentDefinedType::Borrow(_) => return Err(Unservable::Resource),
            ComponentDefinedType::Future { .. } => return Err(Unservable::Future),
            ComponentDefinedType::Stream { .. } => return Err(Unservable::Stream),
        };
        self.take(1)?;
        let ty = self.defs.def(Def { name, kind });
        self.known.insert(origin, ty);
        Ok(ty)
    }

    fn primitive(&self, ty: PrimitiveValType) -> Result<Type, Unservable> {
        Ok(match ty {
            PrimitiveValType::Bool => Type::Bool,
            PrimitiveValType::S8 => Type::S8,
            PrimitiveValType::U8 => Type::U8,
            PrimitiveValType::S16 => Type::S16,
            PrimitiveValType::U16 => Type::U16,
            PrimitiveValType::S32 => Type::S32,
            PrimitiveValType::U32 => Type::U32,
            PrimitiveValType::S64 => Type::S64,
            PrimitiveValType::U64 => Type::U64,
            PrimitiveValType::F32 => Type::F32,
            PrimitiveValType::F64 => Type::F64,
            PrimitiveValType::Char => Type::Char,
            PrimitiveValType::String => Type::String,
            PrimitiveValType::ErrorContext => return Err(Unservable::ErrorContext),
        })
    }

    /// Pays for parts that go into the table.
    fn take(&mut self, parts: usize) -> Result<(), Unservable> {
        self.reader.parts_left = self.reader.parts_left.checked_sub(parts).ok_or(Unservable::TooMany)?;
        Ok(())
    }
}
