//! From the validator's types to signatures.
//!
//! Invariants: a type's name is the one that it got where it was defined, however many interfaces `use` it, so that
//! `call-error` is known by its origin; a definition comes after what it refers to. A small file can name large types
//! many times: the validator lets the imports and exports of a component have 1,000,000 parts in all, and nest 100 deep,
//! which bounds time, memory and recursion here.

use std::collections::HashMap;

use daffi_proto::signature::{Case, Def, DefKind, Field, Signature, SignatureBuilder, Type, TypeName};
use wasmparser::PrimitiveValType;
use wasmparser::component_types::{
    ComponentAnyTypeId, ComponentDefinedType, ComponentDefinedTypeId, ComponentEntityType, ComponentFuncTypeId,
    ComponentItem, ComponentValType,
};
use wasmparser::types::Types;

/// Why a type cannot travel between processes; the words follow "has".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unservable {
    #[error("a resource, and resources cannot leave their component")]
    Resource,
    #[error("a stream without a type, which calls do not carry; use `stream<T>`")]
    UntypedStream,
    #[error("a future without a type, which calls do not carry; use `future<T>`")]
    UntypedFuture,
    #[error("a `map`, which is no type that calls carry; use `list<tuple<K, V>>`")]
    Map,
    #[error("a list of fixed length, which is no type that calls carry; use `list<T>` or a tuple")]
    FixedLengthList,
    #[error("an `error-context`, which is no type that calls carry; use `result<T, string>`")]
    ErrorContext,
}

/// Most aliases that are followed from a type to the name that it has. A longer way is no compiler's work; the type at
/// its end counts as one without a name.
const MAX_ALIASES: usize = 64;

/// Reads the types of one component.
pub(super) struct TypeReader<'a> {
    types: &'a Types,
    origins: HashMap<ComponentAnyTypeId, Origin>,
}

/// Where a type that has a name was defined.
#[derive(Clone)]
struct Origin {
    id: ComponentAnyTypeId,
    name: TypeName,
}

impl<'a> TypeReader<'a> {
    /// A reader that knows the names of all types among these imports and exports of the component.
    pub(super) fn new(types: &'a Types, externs: impl Iterator<Item = (&'a str, &'a ComponentItem)>) -> Self {
        let mut reader = Self { types, origins: HashMap::new() };
        for (name, item) in externs {
            reader.name(item, None, name);
            if let ComponentEntityType::Instance(id) = item.ty {
                for (inner, item) in &types[id].exports {
                    reader.name(item, Some(name), inner);
                }
            }
        }
        reader
    }

    /// Whether the type of this item is defined there and not `use`d from elsewhere.
    pub(super) fn is_defined_here(&self, created: ComponentAnyTypeId) -> bool {
        self.origin(created).is_none_or(|origin| origin.id == created)
    }

    /// Reads the type of a function; the error says why it cannot be served, in words that follow its name.
    pub(super) fn function(&self, id: ComponentFuncTypeId) -> Result<Signature, String> {
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
        let signature = signature.map_err(|why| format!("cannot be served: {why}"))?;
        Ok(Signature { is_async: function.async_, ..signature })
    }

    /// Notes the name of an item that is a type. A `use` refers to what it uses, which has its name already.
    fn name(&mut self, item: &ComponentItem, interface: Option<&str>, name: &str) {
        let ComponentEntityType::Type { created, referenced } = item.ty else { return };
        let origin = self.origin(referenced).cloned().unwrap_or_else(|| Origin {
            id: created,
            name: TypeName { interface: interface.map(str::to_owned), name: name.to_owned() },
        });
        self.origins.entry(created).or_insert(origin);
    }

    /// Where the type was defined, if it has a name: instances pass types on as aliases.
    fn origin(&self, id: ComponentAnyTypeId) -> Option<&Origin> {
        let aliases = std::iter::successors(Some(id), |id| self.types.peel_alias(*id));
        aliases.take(MAX_ALIASES).find_map(|id| self.origins.get(&id))
    }
}

fn complaint(what: &str, why: Unservable) -> String {
    format!("cannot be served: its {what} has {why}")
}

/// The table of one signature. Recursion is as deep as types are, which the validator keeps to 100.
struct Table<'r, 'a> {
    reader: &'r TypeReader<'a>,
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
        let origin = self.reader.origin(id.into()).cloned();
        let key = origin.as_ref().map_or_else(|| id.into(), |origin| origin.id);
        if let Some(known) = self.known.get(&key) {
            return Ok(*known);
        }
        let types = self.reader.types;
        let kind = match &types[id] {
            ComponentDefinedType::Primitive(primitive) => return self.primitive(*primitive),
            ComponentDefinedType::Record(record) => {
                let mut fields = Vec::with_capacity(record.fields.len());
                for (name, ty) in &record.fields {
                    fields.push(Field { name: name.to_string(), ty: self.value(ty)? });
                }
                DefKind::Record(fields)
            }
            ComponentDefinedType::Variant(variant) => {
                let mut cases = Vec::with_capacity(variant.cases.len());
                for (name, case) in &variant.cases {
                    cases.push(Case { name: name.to_string(), ty: self.optional(case.ty.as_ref())? });
                }
                DefKind::Variant(cases)
            }
            ComponentDefinedType::List { element, .. } => DefKind::List(self.value(element)?),
            ComponentDefinedType::Tuple(tuple) => {
                DefKind::Tuple(tuple.types.iter().map(|ty| self.value(ty)).collect::<Result<_, _>>()?)
            }
            ComponentDefinedType::Flags(names) => DefKind::Flags(names.iter().map(ToString::to_string).collect()),
            ComponentDefinedType::Enum(names) => DefKind::Enum(names.iter().map(ToString::to_string).collect()),
            ComponentDefinedType::Option { ty, .. } => DefKind::Option(self.value(ty)?),
            ComponentDefinedType::Result { ok, err, .. } => {
                DefKind::Result { ok: self.optional(ok.as_ref())?, err: self.optional(err.as_ref())? }
            }
            ComponentDefinedType::Map { .. } => return Err(Unservable::Map),
            ComponentDefinedType::FixedLengthList { .. } => return Err(Unservable::FixedLengthList),
            ComponentDefinedType::Own(_) | ComponentDefinedType::Borrow(_) => return Err(Unservable::Resource),
            ComponentDefinedType::Stream { ty: Some(item), .. } => DefKind::Stream(Some(self.value(item)?)),
            ComponentDefinedType::Future { ty: Some(value), .. } => DefKind::Future(Some(self.value(value)?)),
            ComponentDefinedType::Stream { ty: None, .. } => return Err(Unservable::UntypedStream),
            ComponentDefinedType::Future { ty: None, .. } => return Err(Unservable::UntypedFuture),
        };
        let ty = self.defs.def(Def { name: origin.map(|origin| origin.name), kind });
        self.known.insert(key, ty);
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
}
