//! The README's table of modifiers, held to the WIT and to the Rust SDK.
//!
//! Its rows name what guests call. A function that is renamed, or a new one, changes the table with it.

use std::collections::BTreeSet;

use wit_parser::{InterfaceId, Resolve, TypeDefKind};

use super::cluster::components::root;

/// The columns that are checked, by their heads.
const DYNAMIC: &str = "dynamic";
const SDK: &str = "Rust SDK";
const TYPED: &str = "typed import";

/// What `daffi:runtime/call` has, by name.
#[derive(Default)]
struct Call {
    /// Functions that belong to no resource.
    functions: BTreeSet<String>,
    resources: BTreeSet<String>,
    /// The fields of the records whose names end in `-options`, and the cases of `plan`.
    options: BTreeSet<String>,
}

#[test]
fn the_table_of_modifiers_names_every_function_and_resource_of_the_dynamic_interface() {
    let call = Call::read();
    assert!(call.functions.contains("fg") && call.resources.contains("pending"), "the WIT was misread");
    let named = quoted(DYNAMIC);
    for name in call.functions.union(&call.resources) {
        assert!(named.contains(name), "`{name}` of wit/call.wit is in no row of the README's table of modifiers");
    }
}

#[test]
fn the_table_of_modifiers_names_nothing_that_the_dynamic_interface_does_not_have() {
    let call = Call::read();
    for name in quoted(DYNAMIC) {
        let there = [&call.functions, &call.resources, &call.options].iter().any(|names| names.contains(&name));
        assert!(there, "the README's table of modifiers names `{name}`, which is not in wit/call.wit");
    }
}

#[test]
fn the_table_of_modifiers_names_modifiers_of_the_rust_sdk() {
    let sdk = std::fs::read_to_string(root().join("guests/sdk/src/lib.rs")).unwrap();
    let mut exported = BTreeSet::new();
    for names in sdk.lines().filter(|line| line.starts_with("pub use ")) {
        exported.extend(names.split(|c: char| !c.is_alphanumeric() && c != '_').map(str::to_owned));
    }
    for example in quoted(SDK) {
        let modifier: String =
            example.trim_start_matches("& ").chars().take_while(char::is_ascii_alphanumeric).collect();
        assert!(exported.contains(&modifier), "`{example}`: the SDK has no {modifier}");
    }
}

#[test]
fn what_the_table_of_modifiers_says_of_typed_imports_is_wit() {
    for example in quoted(TYPED) {
        let parameters = ["T", "U"].map(|name| format!("type {} = u8;", name.to_lowercase())).join(" ");
        // In the README a type parameter is a capital letter, which WIT does not have.
        let text = example.replace('T', "t").replace('U', "u");
        let function = match text.strip_suffix("func") {
            Some(before) => format!("f: {before}func();"),
            None => format!("f: func() -> {text};"),
        };
        let wit =
            format!("package a:b; interface i {{ variant call-error {{ code(string) }} {parameters} {function} }}");
        let parsed = Resolve::default().push_str("README.md", &wit);
        assert!(parsed.is_ok(), "`{example}`: {:#}", parsed.unwrap_err());
    }
}

impl Call {
    fn read() -> Self {
        let mut resolve = Resolve::default();
        let (package, _) = resolve.push_dir(root().join("wit")).unwrap();
        let interfaces = &resolve.packages[package].interfaces;
        Self::of(&resolve, interfaces["call"])
    }

    fn of(resolve: &Resolve, interface: InterfaceId) -> Self {
        let interface = &resolve.interfaces[interface];
        let mut call = Self::default();
        let free = interface.functions.values().filter(|function| function.kind.resource().is_none());
        call.functions.extend(free.map(|function| function.name.clone()));
        for (name, id) in &interface.types {
            match &resolve.types[*id].kind {
                TypeDefKind::Resource => _ = call.resources.insert(name.clone()),
                TypeDefKind::Record(record) if name.ends_with("-options") => {
                    call.options.extend(record.fields.iter().map(|field| field.name.clone()));
                }
                TypeDefKind::Variant(plan) if name == "plan" => {
                    call.options.extend(plan.cases.iter().map(|case| case.name.clone()));
                }
                _ => {}
            }
        }
        call
    }
}

/// All that stands between backticks in this column.
fn quoted(column: &str) -> BTreeSet<String> {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let mut rows = readme.lines().skip_while(|line| !line.starts_with("| modifier |")).map(cells);
    let heads = rows.next().unwrap();
    let place = heads.iter().position(|head| head == column).unwrap_or_else(|| panic!("no column {column}: {heads:?}"));
    let rows: Vec<_> = rows.skip(1).take_while(|row| !row.is_empty()).collect();
    assert!(rows.len() >= 3 && rows.iter().all(|row| row.len() == heads.len()), "{rows:#?}");
    // Every second piece is between two backticks.
    rows.iter().flat_map(|row| row[place].split('`').skip(1).step_by(2)).map(str::to_owned).collect()
}

/// The cells of a row of a table; none of another line.
fn cells(line: &str) -> Vec<String> {
    let row = line.strip_prefix('|').and_then(|line| line.strip_suffix('|'));
    row.map(|row| row.split('|').map(|cell| cell.trim().to_owned()).collect()).unwrap_or_default()
}
