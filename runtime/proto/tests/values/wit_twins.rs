//! Printed WIT, read back by the `wit-parser` crate, is the same signatures.

use daffi_proto::name::CallbackName;
use daffi_proto::signature::wit::wit_document;
use daffi_proto::signature::{Signature, SignatureBuilder, Type};
use proptest::prelude::*;
use wit_parser::{Resolve, TypeDefKind, WorldItem};

use crate::random::{shape, signature};

/// A type of the parser's in a table of ours.
fn build(types: &mut SignatureBuilder, resolve: &Resolve, ty: &wit_parser::Type) -> Type {
    let id = match ty {
        wit_parser::Type::Bool => return Type::Bool,
        wit_parser::Type::S8 => return Type::S8,
        wit_parser::Type::U8 => return Type::U8,
        wit_parser::Type::S16 => return Type::S16,
        wit_parser::Type::U16 => return Type::U16,
        wit_parser::Type::S32 => return Type::S32,
        wit_parser::Type::U32 => return Type::U32,
        wit_parser::Type::S64 => return Type::S64,
        wit_parser::Type::U64 => return Type::U64,
        wit_parser::Type::F32 => return Type::F32,
        wit_parser::Type::F64 => return Type::F64,
        wit_parser::Type::Char => return Type::Char,
        wit_parser::Type::String => return Type::String,
        wit_parser::Type::ErrorContext => unreachable!("no such type is printed"),
        wit_parser::Type::Id(id) => *id,
    };
    let mut one = |ty: &wit_parser::Type| build(types, resolve, ty);
    match &resolve.types[id].kind {
        TypeDefKind::Type(ty) => one(ty),
        TypeDefKind::List(ty) => {
            let ty = one(ty);
            types.list(ty)
        }
        TypeDefKind::Option(ty) => {
            let ty = one(ty);
            types.option(ty)
        }
        TypeDefKind::Result(result) => {
            let (ok, err) = (result.ok.as_ref().map(&mut one), result.err.as_ref().map(&mut one));
            types.result(ok, err)
        }
        TypeDefKind::Tuple(tuple) => {
            let items: Vec<Type> = tuple.types.iter().map(one).collect();
            types.tuple(items)
        }
        TypeDefKind::Record(record) => {
            let fields: Vec<_> = record.fields.iter().map(|field| (field.name.as_str(), one(&field.ty))).collect();
            types.record(fields)
        }
        TypeDefKind::Variant(variant) => {
            let case = |case: &wit_parser::Case| (case.name.clone(), case.ty.as_ref().map(&mut one));
            let cases: Vec<_> = variant.cases.iter().map(case).collect();
            types.variant(cases.iter().map(|(name, ty)| (name.as_str(), *ty)))
        }
        TypeDefKind::Enum(cases) => types.enumeration(cases.cases.iter().map(|case| case.name.as_str())),
        TypeDefKind::Flags(flags) => types.flags(flags.flags.iter().map(|flag| flag.name.as_str())),
        other => unreachable!("no such type is printed: {other:?}"),
    }
}

fn function(resolve: &Resolve, function: &wit_parser::Function) -> Signature {
    let mut types = SignatureBuilder::new();
    let params = function.params.iter().map(|param| (param.name.as_str(), build(&mut types, resolve, &param.ty)));
    let params: Vec<_> = params.collect();
    let result = function.result.as_ref().map(|ty| build(&mut types, resolve, ty));
    types.function(params, result).unwrap()
}

/// All functions that the world `imports` imports, as callbacks.
fn read_back(document: &str) -> Vec<(CallbackName, Signature)> {
    let mut resolve = Resolve::default();
    let package = resolve.push_str("callbacks.wit", document);
    let package = package.map_err(|error| format!("{error:#}\n{document}")).unwrap();
    let world = resolve.packages[package].worlds["imports"];
    let mut found = Vec::new();
    for (key, item) in &resolve.worlds[world].imports {
        let name = resolve.name_world_key(key);
        match item {
            WorldItem::Function(f) => found.push((CallbackName::new(None, &f.name).unwrap(), function(&resolve, f))),
            WorldItem::Interface { id, .. } => found.extend(
                resolve.interfaces[*id]
                    .functions
                    .values()
                    .map(|f| (CallbackName::new(Some(&name), &f.name).unwrap(), function(&resolve, f))),
            ),
            WorldItem::Type { .. } => {}
        }
    }
    found.sort_by(|(a, _), (b, _)| a.cmp(b));
    found
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn printed_callbacks_are_read_back_as_they_are(
        shapes in prop::collection::vec(prop::collection::vec(shape(), 0..4), 5)
    ) {
        let names = ["a-record", "a:b/c@0.1.0-rc.1+x#d", "a:b/c@1.0.0#d", "a:b/c@1.0.0#type", "list#a-variant"];
        let signatures: Vec<Signature> = shapes.iter().map(|shapes| signature(shapes)).collect();
        let mut callbacks: Vec<(CallbackName, &Signature)> =
            names.iter().map(|name| CallbackName::parse(name).unwrap()).zip(&signatures).collect();
        callbacks.sort_by(|(a, _), (b, _)| a.cmp(b));
        let document = wit_document(&callbacks);
        let back = read_back(&document);
        prop_assert_eq!(back.len(), callbacks.len(), "{}", document);
        for ((name, signature), (back_name, back)) in callbacks.iter().zip(&back) {
            prop_assert_eq!(name, back_name, "{}", document);
            prop_assert_eq!(signature.fingerprint(), back.fingerprint(), "{}", document);
        }
    }
}
