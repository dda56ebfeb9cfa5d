//! Making signatures: a table of types in which equal definitions become one.
//!
//! One builder can serve a whole interface: each function takes from it the definitions that it needs.

use std::collections::HashMap;

use super::{BadSignature, CALL_ERROR, Case, Def, DefKind, Field, Signature, Type, TypeName, needed};

/// Collects definitions and makes signatures of them.
#[derive(Clone, Debug, Default)]
pub struct SignatureBuilder {
    defs: Vec<Def>,
    places: HashMap<Def, u32>,
}

impl SignatureBuilder {
    /// An empty table.
    pub fn new() -> Self {
        Self::default()
    }

    /// A definition; an equal one that is there already is taken again.
    pub fn def(&mut self, def: Def) -> Type {
        if let Some(place) = self.places.get(&def) {
            return Type::Def(*place);
        }
        let place = u32::try_from(self.defs.len()).unwrap_or(u32::MAX);
        self.defs.push(def.clone());
        self.places.insert(def, place);
        Type::Def(place)
    }

    /// The same type under a name: what a WIT type has. A primitive has none and is returned as it is.
    pub fn named(&mut self, ty: Type, interface: Option<&str>, name: &str) -> Type {
        let Some(def) = self.get(ty) else { return ty };
        let name = TypeName { interface: interface.map(str::to_owned), name: name.to_owned() };
        let def = Def { name: Some(name), kind: def.kind.clone() };
        self.def(def)
    }

    /// `list<T>`
    pub fn list(&mut self, ty: Type) -> Type {
        self.unnamed(DefKind::List(ty))
    }

    /// `option<T>`
    pub fn option(&mut self, ty: Type) -> Type {
        self.unnamed(DefKind::Option(ty))
    }

    /// `result<T, E>`
    pub fn result(&mut self, ok: Option<Type>, err: Option<Type>) -> Type {
        self.unnamed(DefKind::Result { ok, err })
    }

    /// `tuple<…>`
    pub fn tuple(&mut self, types: impl IntoIterator<Item = Type>) -> Type {
        self.unnamed(DefKind::Tuple(types.into_iter().collect()))
    }

    /// `record`
    pub fn record<'a>(&mut self, fields: impl IntoIterator<Item = (&'a str, Type)>) -> Type {
        self.unnamed(DefKind::Record(named_types(fields)))
    }

    /// `variant`
    pub fn variant<'a>(&mut self, cases: impl IntoIterator<Item = (&'a str, Option<Type>)>) -> Type {
        let cases = cases.into_iter().map(|(name, ty)| Case { name: name.to_owned(), ty }).collect();
        self.unnamed(DefKind::Variant(cases))
    }

    /// `enum`
    pub fn enumeration<'a>(&mut self, names: impl IntoIterator<Item = &'a str>) -> Type {
        self.unnamed(DefKind::Enum(names.into_iter().map(str::to_owned).collect()))
    }

    /// `flags`
    pub fn flags<'a>(&mut self, names: impl IntoIterator<Item = &'a str>) -> Type {
        self.unnamed(DefKind::Flags(names.into_iter().map(str::to_owned).collect()))
    }

    /// `stream<T>`, or `stream`
    pub fn stream(&mut self, item: Option<Type>) -> Type {
        self.unnamed(DefKind::Stream(item))
    }

    /// `future<T>`, or `future`
    pub fn future(&mut self, value: Option<Type>) -> Type {
        self.unnamed(DefKind::Future(value))
    }

    /// `call-error` of `daffi:runtime/types` in this version.
    pub fn call_error(&mut self, version: &str) -> Type {
        let (interface, name) = CALL_ERROR;
        let interface = format!("{interface}@{version}");
        let outcome = self.enumeration(["not-run", "failed", "unknown"]);
        let outcome = self.named(outcome, Some(&interface), "outcome");
        let text = self.option(Type::String);
        let record = self.record([
            ("outcome", outcome),
            ("code", Type::String),
            ("message", Type::String),
            ("callback", Type::String),
            ("process", text),
            ("retryable", Type::Bool),
            ("trace", text),
        ]);
        self.named(record, Some(&interface), name)
    }

    /// A function over the table's types, with the definitions that it needs and no other.
    ///
    /// # Errors
    /// [`BadSignature`] when it is none that WIT can have, or too large.
    pub fn function<'a>(
        &self,
        params: impl IntoIterator<Item = (&'a str, Type)>,
        result: Option<Type>,
    ) -> Result<Signature, BadSignature> {
        let mut signature = Signature { defs: vec![], params: named_types(params), result, is_async: false };
        let needed = needed(&self.defs, signature.params.iter().map(|param| param.ty).chain(result));
        let mut places: Vec<u32> = Vec::with_capacity(self.defs.len());
        for (def, needed) in self.defs.iter().zip(needed) {
            places.push(u32::try_from(signature.defs.len()).unwrap_or(u32::MAX));
            if needed {
                let kind = def.kind.map_types(|ty| moved(ty, &places));
                signature.defs.push(Def { name: def.name.clone(), kind });
            }
        }
        for param in &mut signature.params {
            param.ty = moved(param.ty, &places);
        }
        signature.result = result.map(|ty| moved(ty, &places));
        signature.check()?;
        Ok(signature)
    }

    fn unnamed(&mut self, kind: DefKind) -> Type {
        self.def(Def { name: None, kind })
    }

    fn get(&self, ty: Type) -> Option<&Def> {
        self.defs.get(place(ty)?)
    }
}

fn named_types<'a>(types: impl IntoIterator<Item = (&'a str, Type)>) -> Vec<Field> {
    types.into_iter().map(|(name, ty)| Field { name: name.to_owned(), ty }).collect()
}

fn place(ty: Type) -> Option<usize> {
    match ty {
        Type::Def(at) => usize::try_from(at).ok(),
        _ => None,
    }
}

fn moved(ty: Type, places: &[u32]) -> Type {
    match ty {
        // One that leads nowhere stays so, and is found by the check.
        Type::Def(_) => Type::Def(place(ty).and_then(|at| places.get(at)).copied().unwrap_or(u32::MAX)),
        primitive => primitive,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_takes_the_definitions_that_it_needs() {
        let mut types = SignatureBuilder::new();
        let bytes = types.list(Type::U8);
        let pair = types.tuple([bytes, bytes]);
        let unused = types.option(pair);
        let words = types.list(Type::String);
        assert_eq!(types.list(Type::U8), bytes);
        let signature = types.function([("a", words), ("b", pair)], Some(bytes)).unwrap();
        assert_eq!(signature.to_wit(), "func(a: list<string>, b: tuple<list<u8>, list<u8>>) -> list<u8>");
        assert_eq!(signature.defs.len(), 3);
        assert_eq!(types.function([("a", unused)], None).unwrap().defs.len(), 3);
    }

    #[test]
    fn a_type_that_is_not_there_is_refused() {
        let types = SignatureBuilder::new();
        assert!(matches!(types.function([("a", Type::Def(3))], None), Err(BadSignature::Reference { .. })));
    }
}
