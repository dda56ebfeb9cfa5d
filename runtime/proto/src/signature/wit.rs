//! A document of WIT that a guest can import: callbacks as the interfaces that they came from.
//!
//! Every interface is printed whole in itself: the types that its functions need stand in it, under their own names
//! where these are free, with a number where they are not, and with an invented name where there is none. Types are
//! compared by structure on the mesh, so a copy is as good as the original. The document parses whatever the
//! signatures are (they have passed [`Signature::check`]), and is about as long as their tables: no tree is written out.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write as _;

use super::text::{escape, primitive};
use super::{Def, DefKind, Signature, Type, needed};
use crate::name::CallbackName;

/// Longest type without a name that is written where it is used; a longer one gets a name.
const MAX_INLINE_BYTES: usize = 160;

/// The package that the document is, where no callback is of a package of that name.
const PACKAGE: &str = "mesh:callbacks";

/// Functions by name, lower-cased: names in one place of WIT differ in more than upper and lower case.
type Functions<'a> = BTreeMap<String, (&'a CallbackName, &'a Signature)>;

/// Everything the document has: `package name → interface → function`, interfaces without a package, functions
/// without an interface, and what had no place left.
#[derive(Default)]
struct Contents<'a> {
    packages: BTreeMap<String, BTreeMap<String, Functions<'a>>>,
    inline: BTreeMap<String, Functions<'a>>,
    world: Functions<'a>,
    left_out: Vec<String>,
}

/// Callbacks as WIT: their packages, and a world `imports` that imports all of them.
///
/// Of callbacks with one name and different signatures the first is taken, and the others stand in comments.
pub fn wit_document(callbacks: &[(CallbackName, &Signature)]) -> String {
    let contents = Contents::of(callbacks);
    let mut out = String::new();
    let _ = writeln!(out, "package {};\n", contents.free_package());
    for comment in &contents.left_out {
        let _ = writeln!(out, "// {comment}");
    }
    out.push_str("world imports {\n");
    for (package, interfaces) in &contents.packages {
        for interface in interfaces.keys() {
            let _ = writeln!(out, "  import {};", path(package, interface));
        }
    }
    for (interface, functions) in &contents.inline {
        let _ = writeln!(out, "  import {}: interface {{", escape(interface));
        print_functions(&mut out, functions, HashSet::new(), "    ", "");
        out.push_str("  }\n");
    }
    let taken = contents.inline.keys().map(|name| name.to_ascii_lowercase()).collect();
    print_functions(&mut out, &contents.world, taken, "  ", "import ");
    out.push_str("}\n");
    for (package, interfaces) in &contents.packages {
        let _ = write!(out, "\npackage {} {{\n", escape_package(package));
        for (interface, functions) in interfaces {
            let _ = writeln!(out, "  interface {} {{", escape(interface));
            print_functions(&mut out, functions, HashSet::new(), "    ", "");
            out.push_str("  }\n");
        }
        out.push_str("}\n");
    }
    out
}

impl<'a> Contents<'a> {
    fn of(callbacks: &'a [(CallbackName, &'a Signature)]) -> Self {
        let mut contents = Self::default();
        for (name, signature) in callbacks {
            let functions = match name.interface().map(|interface| interface.split_once('/').ok_or(interface)) {
                Some(Ok((package, interface))) => {
                    let version = name.version().map(|version| format!("@{version}")).unwrap_or_default();
                    let interfaces = contents.packages.entry(format!("{package}{version}")).or_default();
                    interfaces.entry(interface.to_owned()).or_default()
                }
                Some(Err(interface)) => contents.inline.entry(interface.to_owned()).or_default(),
                None => &mut contents.world,
            };
            let (_, taken) = functions.entry(name.function().to_ascii_lowercase()).or_insert((name, signature));
            if taken.fingerprint() != signature.fingerprint() {
                contents.left_out.push(format!("Also {name}: {}", signature.to_wit_with_types()));
            }
        }
        // A world has one import of a name, be it a function or an interface.
        let world = &mut contents.world;
        for interface in contents.inline.keys() {
            if let Some((name, signature)) = world.remove(&interface.to_ascii_lowercase()) {
                contents
                    .left_out
                    .push(format!("Beside an interface of its name: {name}: {}", signature.to_wit_with_types()));
            }
        }
        contents
    }

    /// A name for the document's own package that no callback's package has.
    fn free_package(&self) -> String {
        let taken = |name: &str| self.packages.keys().any(|package| package.split('@').next() == Some(name));
        let mut name = PACKAGE.to_owned();
        let mut number = 2;
        while taken(&name) {
            name = format!("{PACKAGE}-{number}");
            number += 1;
        }
        name
    }
}

/// Prints the types that some functions need, and then the functions.
fn print_functions(out: &mut String, functions: &Functions<'_>, taken: HashSet<String>, indent: &str, word: &str) {
    let mut scope = Scope { taken, types: HashMap::new(), indent };
    scope.taken.extend(functions.keys().cloned());
    let mut lines = String::new();
    for (name, signature) in functions.values() {
        let types = scope.define(out, signature);
        let is_async = if signature.is_async { "async " } else { "" };
        let _ = write!(lines, "{indent}{word}{}: {is_async}func(", escape(name.function()));
        for (at, param) in signature.params.iter().enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            let _ = write!(lines, "{comma}{}: {}", escape(&param.name), use_of(param.ty, &types));
        }
        lines.push(')');
        if let Some(result) = signature.result {
            let _ = write!(lines, " -> {}", use_of(result, &types));
        }
        lines.push_str(";\n");
    }
    out.push_str(&lines);
}

/// One interface, or the world: where names of types are unique.
struct Scope<'a> {
    /// Names in use, lower-cased.
    taken: HashSet<String>,
    /// Types that are printed, by their name in the signature and their structure, with the name that they got.
    types: HashMap<(Option<String>, [u8; 32]), String>,
    indent: &'a str,
}

impl Scope<'_> {
    /// Prints the types of a signature that are not there yet, and tells how each is written where it is used.
    fn define(&mut self, out: &mut String, signature: &Signature) -> Vec<String> {
        let hashes = signature.hashes();
        let needed = needed(&signature.defs, signature.params.iter().map(|param| param.ty).chain(signature.result));
        let mut types: Vec<String> = Vec::with_capacity(signature.defs.len());
        for ((def, hash), needed) in signature.defs.iter().zip(hashes).zip(needed) {
            let text = if needed { self.define_one(out, def, hash, &types) } else { String::new() };
            types.push(text);
        }
        types
    }

    fn define_one(&mut self, out: &mut String, def: &Def, hash: [u8; 32], types: &[String]) -> String {
        let structure = match &def.kind {
            DefKind::Record(_) | DefKind::Variant(_) | DefKind::Enum(_) | DefKind::Flags(_) => None,
            kind => Some(inline(kind, types)),
        };
        if let (None, Some(structure)) = (&def.name, &structure)
            && structure.len() <= MAX_INLINE_BYTES
        {
            return structure.clone();
        }
        let key = (def.name.as_ref().map(|name| name.name.clone()), hash);
        if let Some(name) = self.types.get(&key) {
            return name.clone();
        }
        let name = escape(&self.free_name(def)).into_owned();
        let indent = self.indent;
        if let Some(interface) = def.name.as_ref().and_then(|name| name.interface.as_ref()) {
            let _ = writeln!(out, "{indent}/// As in `{interface}`.");
        }
        match structure {
            Some(structure) => {
                let _ = writeln!(out, "{indent}type {name} = {structure};");
            }
            None => print_members(out, indent, &name, &def.kind, types),
        }
        self.types.insert(key, name.clone());
        name
    }

    /// The type's own name, or an invented one; with a number where it is taken.
    fn free_name(&mut self, def: &Def) -> String {
        let wanted = match (&def.name, &def.kind) {
            (Some(name), _) => name.name.as_str(),
            (None, DefKind::Record(_)) => "a-record",
            (None, DefKind::Variant(_)) => "a-variant",
            (None, DefKind::Enum(_)) => "an-enum",
            (None, DefKind::Flags(_)) => "some-flags",
            (None, _) => "a-type",
        };
        let mut name = wanted.to_owned();
        let mut number = 2;
        while !self.taken.insert(name.to_ascii_lowercase()) {
            name = format!("{wanted}-{number}");
            number += 1;
        }
        name
    }
}

fn print_members(out: &mut String, indent: &str, name: &str, kind: &DefKind, types: &[String]) {
    let (word, members): (_, Vec<String>) = match kind {
        DefKind::Record(fields) => (
            "record",
            fields.iter().map(|field| format!("{}: {}", escape(&field.name), use_of(field.ty, types))).collect(),
        ),
        DefKind::Variant(cases) => {
            let case = |case: &super::Case| match case.ty {
                Some(ty) => format!("{}({})", escape(&case.name), use_of(ty, types)),
                None => escape(&case.name).into_owned(),
            };
            ("variant", cases.iter().map(case).collect())
        }
        DefKind::Enum(names) => ("enum", names.iter().map(|name| escape(name).into_owned()).collect()),
        DefKind::Flags(names) => ("flags", names.iter().map(|name| escape(name).into_owned()).collect()),
        DefKind::List(_) | DefKind::Tuple(_) | DefKind::Option(_) | DefKind::Result { .. } => return,
        DefKind::Stream(_) | DefKind::Future(_) => return,
    };
    let _ = writeln!(out, "{indent}{word} {name} {{");
    for member in members {
        let _ = writeln!(out, "{indent}  {member},");
    }
    let _ = writeln!(out, "{indent}}}");
}

/// A type that needs no name of its own.
fn inline(kind: &DefKind, types: &[String]) -> String {
    let used = |ty: &Type| use_of(*ty, types);
    match kind {
        DefKind::List(ty) => format!("list<{}>", used(ty)),
        DefKind::Option(ty) => format!("option<{}>", used(ty)),
        DefKind::Tuple(items) => format!("tuple<{}>", items.iter().map(used).collect::<Vec<_>>().join(", ")),
        DefKind::Result { ok: None, err: None } => "result".to_owned(),
        DefKind::Result { ok: Some(ok), err: None } => format!("result<{}>", used(ok)),
        DefKind::Result { ok, err } => {
            let part = |ty: &Option<Type>| ty.as_ref().map_or("_".into(), used);
            format!("result<{}, {}>", part(ok), part(err))
        }
        DefKind::Stream(None) => "stream".to_owned(),
        DefKind::Stream(Some(item)) => format!("stream<{}>", used(item)),
        DefKind::Future(None) => "future".to_owned(),
        DefKind::Future(Some(item)) => format!("future<{}>", used(item)),
        DefKind::Record(_) | DefKind::Variant(_) | DefKind::Enum(_) | DefKind::Flags(_) => String::new(),
    }
}

fn use_of(ty: Type, types: &[String]) -> std::borrow::Cow<'_, str> {
    match (ty, primitive(ty)) {
        (_, Some(word)) => word.into(),
        (Type::Def(at), None) => {
            usize::try_from(at).ok().and_then(|at| types.get(at)).map_or("", String::as_str).into()
        }
        (_, None) => "".into(),
    }
}

/// `demo:tutorial@1.0.0` with the names that are words of WIT escaped.
fn escape_package(package: &str) -> String {
    let (name, version) = package.split_once('@').map_or((package, None), |(name, version)| (name, Some(version)));
    let name = name.split(':').map(escape).collect::<Vec<_>>().join(":");
    version.map_or(name.clone(), |version| format!("{name}@{version}"))
}

/// `demo:tutorial/math@1.0.0`
fn path(package: &str, interface: &str) -> String {
    match escape_package(package).split_once('@') {
        Some((name, version)) => format!("{name}/{}@{version}", escape(interface)),
        None => format!("{}/{}", escape_package(package), escape(interface)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signature::SignatureBuilder;

    fn name(text: &str) -> CallbackName {
        CallbackName::parse(text).unwrap()
    }

    /// The document as the WIT parser of the field's tools reads it.
    fn parse(document: &str) -> wit_parser::Resolve {
        let mut resolve = wit_parser::Resolve::default();
        if let Err(error) = resolve.push_str("callbacks.wit", document) {
            panic!("{error:#}\n{document}");
        }
        resolve
    }

    #[test]
    fn callbacks_print_as_the_interfaces_that_they_came_from() {
        let mut types = SignatureBuilder::new();
        let point = types.record([("x", Type::S32), ("type", Type::S32)]);
        let point = types.named(point, Some("geo:shapes/types@1.0.0"), "point");
        let points = types.list(point);
        let sum = types.function([("a", Type::S64), ("b", Type::S64)], Some(Type::S64)).unwrap();
        let mut area = types.function([("of", points)], Some(Type::F64)).unwrap();
        area.is_async = true;
        let first = types.function([("list", points)], Some(point)).unwrap();
        let callbacks = [
            (name("demo:tutorial/math#sum"), &sum),
            (name("geo:shapes/areas@1.0.0#area"), &area),
            (name("geo:shapes/areas@1.0.0#first"), &first),
            (name("now#interface"), &sum),
            (name("first"), &first),
        ];
        let document = wit_document(&callbacks);
        let expected = "\
package mesh:callbacks;

world imports {
  import demo:tutorial/math;
  import geo:shapes/areas@1.0.0;
  import now: interface {
    %interface: func(a: s64, b: s64) -> s64;
  }
  /// As in `geo:shapes/types@1.0.0`.
  record point {
    x: s32,
    %type: s32,
  }
  import first: func(%list: list<point>) -> point;
}

package demo:tutorial {
  interface math {
    sum: func(a: s64, b: s64) -> s64;
  }
}

package geo:shapes@1.0.0 {
  interface areas {
    /// As in `geo:shapes/types@1.0.0`.
    record point {
      x: s32,
      %type: s32,
    }
    area: async func(of: list<point>) -> f64;
    first: func(%list: list<point>) -> point;
  }
}
";
        assert_eq!(document, expected);
        assert_eq!(parse(&document).packages.len(), 3);
    }

    #[test]
    fn clashes_of_names_are_resolved() {
        let mut types = SignatureBuilder::new();
        let small = types.record([("x", Type::S32)]);
        let large = types.record([("x", Type::S64)]);
        let named = [small, large, large].map(|ty| types.named(ty, Some("a:b/c"), "get"));
        let unnamed = types.variant([("one", Some(small)), ("two", Some(large))]);
        let get = types.function([("a", named[0]), ("b", named[1]), ("c", unnamed)], Some(named[2])).unwrap();
        let other = types.function([], Some(unnamed)).unwrap();
        let callbacks = [
            (name("a:b/c#get"), &get),
            (name("a:b/c#GET"), &other),
            (name("a:b/c#set"), &other),
            (name("mesh:callbacks/interface@0.1.0-rc.1#get"), &other),
            (name("use:type/record#a-record"), &get),
            (name("get#get"), &get),
            (name("get"), &other),
            (name("a-record"), &get),
        ];
        let document = wit_document(&callbacks);
        parse(&document);
        assert!(document.contains("record get-2 {\n      x: s32"), "{document}");
        assert!(document.contains("// Also a:b/c#GET: func()"), "{document}");
        assert!(document.starts_with("package mesh:callbacks-2;"), "{document}");
        assert!(document.contains("record a-record-2 {"), "{document}");
        assert!(document.contains("// Beside an interface of its name: get: func()"), "{document}");
    }

    #[test]
    fn a_huge_tree_prints_as_its_table() {
        let mut types = SignatureBuilder::new();
        let mut ty = types.tuple([Type::U8, Type::U8]);
        for _ in 0..90 {
            ty = types.tuple([ty, ty]);
        }
        let signature = types.function([("bomb", ty)], Some(ty)).unwrap();
        let document = wit_document(&[(name("a:b/c#d"), &signature)]);
        assert!(document.len() < 20_000, "{}", document.len());
    }

    #[test]
    fn streams_and_futures_are_written_where_they_are_used() {
        let mut types = SignatureBuilder::new();
        let point = types.record([("x", Type::S32)]);
        let point = types.named(point, Some("a:b/c"), "point");
        let (points, ticks) = (types.stream(Some(point)), types.stream(None));
        let (first, done) = (types.future(Some(point)), types.future(None));
        let feed = types.named(points, Some("a:b/c"), "feed");
        let mut signature = types.function([("all", feed), ("ticks", ticks), ("done", done)], Some(first)).unwrap();
        signature.is_async = true;
        let document = wit_document(&[(name("a:b/c#watch"), &signature)]);
        parse(&document);
        assert!(document.contains("type feed = stream<point>;"), "{document}");
        let watch = "watch: async func(all: feed, ticks: stream, done: future) -> future<point>;";
        assert!(document.contains(watch), "{document}");
    }

    #[test]
    fn no_callbacks_are_an_empty_world() {
        parse(&wit_document(&[]));
    }
}
