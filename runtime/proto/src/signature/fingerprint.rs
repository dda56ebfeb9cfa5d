//! The comparison of signatures: fingerprints, and the forms that an import may have.
//!
//! A definition's hash is made of the hashes of those that it refers to, which are earlier in the table, so the cost is
//! linear in the table whatever the size of the tree that it stands for.

use sha2::{Digest, Sha256};

use super::{Def, DefKind, Fingerprint, Form, Signature, Type};

/// What stands at the start of everything hashed: a change of the scheme is a change of this.
const SCHEME: &[u8] = b"daffi signature 1\0";

type Hash = [u8; 32];

impl Signature {
    /// The structure of this signature, in 128 bits.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint_with(self.result, &self.hashes())
    }

    /// The forms in which an import of this signature may be served, each with the fingerprint that the callback must
    /// have: always [`Form::Plain`]; [`Form::Checked`] where the result is `result<T, call-error>`, or [`Form::All`] where
    /// it is `list<tuple<string, result<T, call-error>>>`.
    pub fn forms(&self) -> Vec<(Form, Fingerprint)> {
        let hashes = self.hashes();
        let mut forms = vec![(Form::Plain, self.fingerprint_with(self.result, &hashes))];
        if let Some(ok) = self.checked_result() {
            forms.push((Form::Checked, self.fingerprint_with(ok, &hashes)));
        } else if let Some(ok) = self.gathered_result() {
            forms.push((Form::All, self.fingerprint_with(ok, &hashes)));
        }
        forms
    }

    /// `Some(T)` where the result is `list<tuple<string, result<T, call-error>>>`; T itself may be missing.
    pub fn gathered_result(&self) -> Option<Option<Type>> {
        let DefKind::List(entry) = self.def(self.result?)?.kind else { return None };
        let DefKind::Tuple(parts) = &self.def(entry)?.kind else { return None };
        match parts.as_slice() {
            [Type::String, result] => self.checked_type(*result),
            _ => None,
        }
    }

    /// `Some(T)` where the result is `result<T, call-error>`; T itself may be missing.
    pub fn checked_result(&self) -> Option<Option<Type>> {
        self.checked_type(self.result?)
    }

    fn checked_type(&self, ty: Type) -> Option<Option<Type>> {
        match self.def(ty)?.kind {
            DefKind::Result { ok, err: Some(err) } if self.is_call_error(err) => Some(ok),
            _ => None,
        }
    }

    fn fingerprint_with(&self, result: Option<Type>, hashes: &[Hash]) -> Fingerprint {
        let mut hasher = Sha256::new_with_prefix(SCHEME);
        count(&mut hasher, self.params.len());
        for param in &self.params {
            hash_type(&mut hasher, param.ty, hashes);
        }
        hash_optional(&mut hasher, result, hashes);
        let hash: Hash = hasher.finalize().into();
        let mut short = [0; 16];
        short.iter_mut().zip(hash).for_each(|(short, byte)| *short = byte);
        Fingerprint(short)
    }

    /// The structure of each definition.
    pub(super) fn hashes(&self) -> Vec<Hash> {
        let mut hashes = Vec::with_capacity(self.defs.len());
        for def in &self.defs {
            hashes.push(hash_def(def, &hashes));
        }
        hashes
    }
}

fn hash_def(def: &Def, earlier: &[Hash]) -> Hash {
    let mut hasher = Sha256::new();
    let tag = match &def.kind {
        DefKind::List(_) => 0,
        DefKind::Tuple(_) => 1,
        DefKind::Record(_) => 2,
        DefKind::Variant(_) => 3,
        DefKind::Enum(_) => 4,
        DefKind::Option(_) => 5,
        DefKind::Result { .. } => 6,
        DefKind::Flags(_) => 7,
        DefKind::Stream(_) => 8,
        DefKind::Future(_) => 9,
    };
    hasher.update([tag]);
    match &def.kind {
        DefKind::List(ty) | DefKind::Option(ty) => hash_type(&mut hasher, *ty, earlier),
        DefKind::Tuple(types) => {
            count(&mut hasher, types.len());
            types.iter().for_each(|ty| hash_type(&mut hasher, *ty, earlier));
        }
        DefKind::Record(fields) => {
            count(&mut hasher, fields.len());
            for field in fields {
                hash_name(&mut hasher, &field.name);
                hash_type(&mut hasher, field.ty, earlier);
            }
        }
        DefKind::Variant(cases) => {
            count(&mut hasher, cases.len());
            for case in cases {
                hash_name(&mut hasher, &case.name);
                hash_optional(&mut hasher, case.ty, earlier);
            }
        }
        DefKind::Enum(names) | DefKind::Flags(names) => {
            count(&mut hasher, names.len());
            names.iter().for_each(|name| hash_name(&mut hasher, name));
        }
        DefKind::Result { ok, err } => {
            hash_optional(&mut hasher, *ok, earlier);
            hash_optional(&mut hasher, *err, earlier);
        }
        DefKind::Stream(item) | DefKind::Future(item) => hash_optional(&mut hasher, *item, earlier),
    }
    hasher.finalize().into()
}

fn hash_type(hasher: &mut Sha256, ty: Type, earlier: &[Hash]) {
    let tag: u8 = match ty {
        Type::Bool => 1,
        Type::S8 => 2,
        Type::U8 => 3,
        Type::S16 => 4,
        Type::U16 => 5,
        Type::S32 => 6,
        Type::U32 => 7,
        Type::S64 => 8,
        Type::U64 => 9,
        Type::F32 => 10,
        Type::F64 => 11,
        Type::Char => 12,
        Type::String => 13,
        Type::Def(_) => 14,
    };
    hasher.update([tag]);
    if let Type::Def(at) = ty {
        // A reference that leads nowhere (in a signature that was not checked) is a type of its own.
        match usize::try_from(at).ok().and_then(|at| earlier.get(at)) {
            Some(hash) => hasher.update(hash),
            None => hasher.update(at.to_le_bytes()),
        }
    }
}

fn hash_optional(hasher: &mut Sha256, ty: Option<Type>, earlier: &[Hash]) {
    match ty {
        Some(ty) => hash_type(hasher, ty, earlier),
        None => hasher.update([0]),
    }
}

fn hash_name(hasher: &mut Sha256, name: &str) {
    count(hasher, name.len());
    hasher.update(name);
}

fn count(hasher: &mut Sha256, count: usize) {
    hasher.update(u64::try_from(count).unwrap_or(u64::MAX).to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signature::{Case, Field, SignatureBuilder};

    fn record(fields: &[(&str, Type)], name: Option<&str>) -> Fingerprint {
        let mut types = SignatureBuilder::new();
        let record = types.record(fields.iter().copied());
        let record = match name {
            Some(name) => types.named(record, Some("a:b/c"), name),
            None => record,
        };
        types.function([("p", record)], None).unwrap().fingerprint()
    }

    #[test]
    fn names_of_types_and_parameters_and_being_async_do_not_count() {
        let fields = [("a", Type::U8), ("b", Type::String)];
        assert_eq!(record(&fields, None), record(&fields, Some("point")));
        let types = SignatureBuilder::new();
        let one = types.function([("a", Type::U8)], Some(Type::U8)).unwrap();
        let mut other = types.function([("b", Type::U8)], Some(Type::U8)).unwrap();
        other.is_async = true;
        assert_eq!(one.fingerprint(), other.fingerprint());
    }

    #[test]
    fn names_and_order_of_fields_and_cases_count() {
        let (a, b) = (("a", Type::U8), ("b", Type::U8));
        let fingerprints = [
            record(&[a, b], None),
            record(&[b, a], None),
            record(&[a, ("c", Type::U8)], None),
            record(&[a, ("b", Type::U16)], None),
            record(&[a], None),
        ];
        for (at, one) in fingerprints.iter().enumerate() {
            assert!(!fingerprints.iter().skip(at + 1).any(|other| one == other));
        }
        let of = |kind: DefKind| {
            let mut types = SignatureBuilder::new();
            let ty = types.def(Def { name: None, kind });
            types.function([("p", ty)], None).unwrap().fingerprint()
        };
        let names = || vec!["a".to_owned(), "b".to_owned()];
        let case = |name: &str, ty| Case { name: name.to_owned(), ty };
        let kinds = [
            of(DefKind::Enum(names())),
            of(DefKind::Enum(names().into_iter().rev().collect())),
            of(DefKind::Flags(names())),
            of(DefKind::Variant(vec![case("a", None), case("b", None)])),
            of(DefKind::Variant(vec![case("a", Some(Type::U8)), case("b", None)])),
            of(DefKind::Variant(vec![case("a", None), case("b", Some(Type::U8))])),
            of(DefKind::Tuple(vec![Type::U8, Type::U8])),
            of(DefKind::Record(vec![Field { name: "a".to_owned(), ty: Type::U8 }])),
            of(DefKind::List(Type::U8)),
            of(DefKind::Option(Type::U8)),
            of(DefKind::Result { ok: Some(Type::U8), err: None }),
            of(DefKind::Result { ok: None, err: Some(Type::U8) }),
            of(DefKind::Stream(Some(Type::U8))),
            of(DefKind::Future(Some(Type::U8))),
            of(DefKind::Stream(None)),
            of(DefKind::Future(None)),
        ];
        for (at, one) in kinds.iter().enumerate() {
            assert!(!kinds.iter().skip(at + 1).any(|other| one == other), "{at}");
        }
    }

    #[test]
    fn a_table_that_stands_for_a_huge_tree_is_hashed_in_no_time() {
        let mut types = SignatureBuilder::new();
        let mut ty = types.tuple([Type::U8, Type::U8]);
        for _ in 0..90 {
            ty = types.tuple([ty, ty]);
        }
        let signature = types.function([("bomb", ty)], Some(ty)).unwrap();
        assert_ne!(signature.fingerprint(), types.function([("bomb", ty)], None).unwrap().fingerprint());
    }

    #[test]
    fn a_shared_definition_and_two_equal_ones_are_the_same_type() {
        let list = || Def { name: None, kind: DefKind::List(Type::U8) };
        let of = |defs: Vec<Def>, result| Signature {
            defs,
            params: vec![],
            result: Some(Type::Def(result)),
            is_async: false,
        };
        let shared = of(vec![list(), Def { name: None, kind: DefKind::Tuple(vec![Type::Def(0), Type::Def(0)]) }], 1);
        let twice =
            of(vec![list(), list(), Def { name: None, kind: DefKind::Tuple(vec![Type::Def(0), Type::Def(1)]) }], 2);
        assert_eq!(shared.fingerprint(), twice.fingerprint());
    }

    #[test]
    fn a_result_with_call_error_gives_two_forms() {
        let checked = |version: &str| {
            let mut types = SignatureBuilder::new();
            let error = types.call_error(version);
            let result = types.result(Some(Type::S64), Some(error));
            types.function([("a", Type::S64)], Some(result)).unwrap()
        };
        let plain = SignatureBuilder::new().function([("x", Type::S64)], Some(Type::S64)).unwrap();
        let forms = checked("0.1.0").forms();
        assert_eq!(forms.len(), 2);
        assert_eq!(forms[0], (Form::Plain, checked("0.9.0").fingerprint()));
        assert_eq!(forms[1], (Form::Checked, plain.fingerprint()));
        assert_eq!(plain.forms(), [(Form::Plain, plain.fingerprint())]);
    }

    #[test]
    fn a_list_of_processes_and_their_checked_results_gives_the_form_of_a_broadcast() {
        let mut types = SignatureBuilder::new();
        let error = types.call_error("0.1.0");
        let result = types.result(Some(Type::S64), Some(error));
        let entry = types.tuple([Type::String, result]);
        let list = types.list(entry);
        let forms = types.function([("a", Type::S64)], Some(list)).unwrap().forms();
        let plain = SignatureBuilder::new().function([("x", Type::S64)], Some(Type::S64)).unwrap();
        assert_eq!(forms[1..], [(Form::All, plain.fingerprint())]);
    }

    #[test]
    fn a_look_alike_from_elsewhere_is_no_call_error() {
        let mut types = SignatureBuilder::new();
        let error = types.call_error("0.1.0");
        let foreign = types.named(error, Some("evil:types/types"), "call-error");
        let small = types.record([("outcome", Type::U8)]);
        let small = types.named(small, Some("daffi:runtime/types@0.1.0"), "call-error");
        for error in [foreign, small] {
            let result = types.result(None, Some(error));
            assert_eq!(types.function([], Some(result)).unwrap().forms().len(), 1);
        }
    }
}
