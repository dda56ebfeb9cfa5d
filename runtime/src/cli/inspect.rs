//! `daffi-runtime inspect`: what a component has, needs and lacks, without compiling it.
//!
//! Three faces of one [`Description`]: a page for people, JSON for programs, and WIT for those who want to call it.
//! A component that cannot be served is inspected like any other, and what is wrong with it is said on the page.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use daffi_proto::name::CallbackName;
use daffi_proto::signature::wit::wit_document;
use daffi_proto::signature::{Form, Signature};
use serde_json::json;

use crate::guest::component::description::{Description, Fetcher};
use crate::guest::component::{LoadError, LoadOptions, describe, human_bytes, read_file};
use crate::guest::engine::EngineKind;

/// What is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InspectFormat {
    /// A page for people.
    #[default]
    Page,
    /// The same as JSON.
    Json,
    /// The callbacks as WIT that a caller can import.
    Wit,
}

/// Looks at a component file and prints what is asked for, ending in a newline. It blocks while it reads the file.
///
/// # Errors
/// [`LoadError`] when the file is no component, or the options do not fit it.
pub fn inspect(path: &Path, format: InspectFormat, options: &LoadOptions) -> Result<String, LoadError> {
    let bytes = read_file(path, options.max_bytes)?;
    let name = path.display().to_string();
    let description = describe(&name, &bytes, options)?;
    Ok(match format {
        InspectFormat::Page => page(&name, bytes.len(), &description),
        InspectFormat::Json => as_json(&name, bytes.len(), &description),
        InspectFormat::Wit => as_wit(&description),
    })
}

fn as_wit(description: &Description) -> String {
    let callbacks: Vec<(CallbackName, &Signature)> =
        description.callbacks.iter().map(|callback| (callback.name.clone(), callback.signature.as_ref())).collect();
    wit_document(&callbacks)
}

fn page(name: &str, bytes: usize, description: &Description) -> String {
    let mut page = Page::default();
    page.line(0, &format!("{name}: a component, {}; engine: {}", human_bytes(bytes), engine(description.engine)));
    let callbacks = description.callbacks.iter().map(|callback| function(&callback.name, &callback.signature));
    page.section("callbacks (other processes can call them)", "none", callbacks);
    let fetchers = description.fetchers.iter().map(|fetcher| {
        let mut lines = function(&fetcher.place, &fetcher.signature);
        if fetcher.candidates.len() > 1 || fetcher.tenant.is_some() {
            lines.push(format!("served by {}", candidates(fetcher).join(", else by ")));
        }
        if has_form(fetcher, Form::Checked) {
            lines.push("a failure is a value".to_owned());
        }
        if has_form(fetcher, Form::All) {
            lines.push("a broadcast: it calls all who have the callback".to_owned());
        }
        lines
    });
    page.section(
        "fetchers (callbacks of other processes serve them; a failure traps the caller unless it is a value)",
        "none",
        fetchers,
    );
    let roles = [
        description.run.as_ref().map(|run| vec![format!("{}: run once, when the node is connected", run.place)]),
        description.lifecycle.as_ref().map(|lifecycle| vec![format!("{}: told about its life", lifecycle.interface)]),
    ];
    page.section("also exports", "", roles.into_iter().flatten());
    page.section("needs from the host", "nothing", needs(description).into_iter().map(|need| vec![need]));
    let left_out = description.left_out.iter().map(|out| vec![format!("{}: {}", out.name, out.reason)]);
    page.section("exports that are no callbacks", "", left_out);
    page.section("cannot be served", "", description.problems.iter().map(|problem| vec![problem.to_string()]));
    let all_can_be_skipped = description.problems.iter().all(|problem| problem.can_skip);
    match (description.problems.is_empty(), all_can_be_skipped) {
        (true, _) => {}
        (false, true) => page.line(0, "\n`--skip-unsupported` loads the rest."),
        (false, false) => page.line(0, "\nThis component cannot be loaded."),
    }
    page.text
}

/// A function with its signature and, below, the types that have names.
fn function(name: &dyn std::fmt::Display, signature: &Signature) -> Vec<String> {
    let plain = signature.to_wit();
    let types = signature.to_wit_with_types().strip_prefix(&plain).map(|types| types.trim_start().to_owned());
    let mut lines = vec![format!("{name}: {plain}")];
    lines.extend(types.filter(|types| !types.is_empty()));
    lines
}

/// `wasi:cli@0.2.12: environment, exit`, a line a package.
fn needs(description: &Description) -> Vec<String> {
    let mut packages: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for need in &description.needs {
        let (name, version) = need.interface.split_once('@').unwrap_or((&need.interface, ""));
        let (package, interface) = name.split_once('/').unwrap_or(("", name));
        let at = if version.is_empty() { "" } else { "@" };
        packages.entry(format!("{package}{at}{version}")).or_default().push(interface);
    }
    packages.into_iter().map(|(package, interfaces)| format!("{package}: {}", interfaces.join(", "))).collect()
}

/// Lines under headings.
#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    /// A heading with its entries; `nothing` stands in for them, or, where it is empty, there is no heading either.
    fn section(&mut self, heading: &str, nothing: &str, entries: impl Iterator<Item = Vec<String>>) {
        let mut entries = entries.peekable();
        if entries.peek().is_none() {
            if !nothing.is_empty() {
                let (word, _explained) = heading.split_once(" (").unwrap_or((heading, ""));
                self.line(0, &format!("\n{word}: {nothing}"));
            }
            return;
        }
        self.line(0, &format!("\n{heading}:"));
        for entry in entries {
            for (nth, line) in entry.iter().enumerate() {
                self.line(1 + nth.min(1) * 2, line);
            }
        }
    }

    fn line(&mut self, indent: usize, line: &str) {
        let _ = writeln!(self.text, "{:1$}{line}", "", indent * 2);
    }
}

fn as_json(name: &str, bytes: usize, description: &Description) -> String {
    let callbacks = description.callbacks.iter().map(|callback| {
        json!({
            "name": callback.name.to_string(),
            "signature": callback.signature.to_wit_with_types(),
            "async": callback.signature.is_async,
        })
    });
    let fetchers = description.fetchers.iter().map(|fetcher| {
        json!({
            "name": fetcher.place.to_string(),
            "signature": fetcher.signature.to_wit_with_types(),
            "async": fetcher.signature.is_async,
            "candidates": candidates(fetcher),
            "checked": has_form(fetcher, Form::Checked),
            "broadcast": has_form(fetcher, Form::All),
        })
    });
    let whole = json!({
        "component": name,
        "bytes": bytes,
        "engine": description.engine,
        "callbacks": callbacks.collect::<Vec<_>>(),
        "fetchers": fetchers.collect::<Vec<_>>(),
        "run": description.run.as_ref().and_then(|run| run.place.interface.as_deref()),
        "lifecycle": description.lifecycle.as_ref().map(|lifecycle| &lifecycle.interface),
        "needs": description.needs,
        "left-out": description.left_out,
        "problems": description.problems,
    });
    format!("{whole:#}\n")
}

fn candidates(fetcher: &Fetcher) -> Vec<String> {
    let of = fetcher.tenant.as_ref().map(|tenant| format!("{tenant}::")).unwrap_or_default();
    fetcher.candidates.iter().map(|candidate| format!("{of}{candidate}")).collect()
}

fn has_form(fetcher: &Fetcher, form: Form) -> bool {
    fetcher.signature.forms().iter().any(|(has, _)| *has == form)
}

fn engine(kind: EngineKind) -> &'static str {
    match kind {
        EngineKind::Sync => "synchronous",
        EngineKind::Concurrent => "concurrent (it has async functions, streams or WASI 0.3)",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::guest::component::tests::component;

    const WIT: &str = "package demo:tutorial@1.0.0;
        interface math {
            record point { x: s64, y: s64 }
            add: func(a: point, b: point) -> point;
        }
        interface clock-checked {
            use daffi:runtime/types@0.1.0.{call-error};
            now: func() -> result<u64, call-error>;
        }
        interface flows { use math.{point}; pass: async func(items: stream<point>) -> future<u8>; }
        interface odd { pass: async func(items: stream); }
        world w {
            import clock-checked;
            import wasi:cli/stdout@0.2.3;
            import wasi:cli/exit@0.2.3;
            import daffi:runtime/call@0.1.0;
            export math;
            export flows;
            export odd;
            export wasi:cli/run@0.2.3;
            export wasi:cli/other@0.2.3;
        }
        package wasi:cli@0.2.3 {
            interface run { run: func() -> result; }
            interface stdout { get-stdout: func() -> u8; }
            interface exit { exit: func(); }
            interface other { f: func(); }
        }";

    fn inspected(wit: &str, format: InspectFormat) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.wasm");
        std::fs::write(&path, component(wit)).unwrap();
        let text = inspect(&path, format, &LoadOptions::default()).unwrap();
        text.replace(&path.display().to_string(), "app.wasm")
    }

    #[test]
    fn the_page_shows_what_a_component_has_needs_and_lacks() {
        let page = inspected(WIT, InspectFormat::Page);
        let (first, rest) = page.split_once("\n\n").unwrap();
        assert!(first.starts_with("app.wasm: a component, "), "{first}");
        assert!(first.ends_with("; engine: concurrent (it has async functions, streams or WASI 0.3)"), "{first}");
        let (fetchers, rest) = rest.split_once("\n\nalso").unwrap();
        assert!(fetchers.starts_with(
            "callbacks (other processes can call them):
  demo:tutorial/math@1.0.0#add: func(a: point, b: point) -> point
      where point = record { x: s64, y: s64 }
  demo:tutorial/flows@1.0.0#pass: async func(items: stream<point>) -> future<u8>
      where point = record { x: s64, y: s64 }

fetchers (callbacks of other processes serve them; a failure traps the caller unless it is a value):
  demo:tutorial/clock-checked@1.0.0#now: func() -> result<u64, call-error>
      where "
        ));
        assert!(fetchers.ends_with(
            "
      served by demo:tutorial/clock-checked@1.0.0#now, else by demo:tutorial/clock@1.0.0#now
      a failure is a value"
        ));
        assert_eq!(
            rest,
            " exports:
  wasi:cli/run@0.2.3#run: run once, when the node is connected

needs from the host:
  daffi:runtime@0.1.0: call
  wasi:cli@0.2.3: stdout, exit
  wasi:io@0.2.0: poll

exports that are no callbacks:
  wasi:cli/other@0.2.3: it is WASI's, and the host calls nothing of it

cannot be served:
  export `demo:tutorial/odd@1.0.0#pass` cannot be served: its parameter `items` has a stream without a type, \
             which calls do not carry; use `stream<T>`

`--skip-unsupported` loads the rest.
"
        );
    }

    #[test]
    fn the_page_of_a_plain_component_is_short() {
        let page = inspected("package a:b; world w { export f: func(); }", InspectFormat::Page);
        let (_, rest) = page.split_once("engine: ").unwrap();
        assert_eq!(
            rest,
            "synchronous

callbacks (other processes can call them):
  f: func()

fetchers: none

needs from the host: nothing
"
        );
    }

    #[test]
    fn a_component_that_cannot_be_loaded_is_inspected_and_told_so() {
        let wit = "package a:b; world w { import wasi:cli/exit@0.2.3; }
            package wasi:cli@0.2.3 { interface exit { enter: func(); } }";
        assert!(inspected(wit, InspectFormat::Page).ends_with("\n\nThis component cannot be loaded.\n"));
    }

    #[test]
    fn the_json_has_the_same() {
        let json: Value = serde_json::from_str(&inspected(WIT, InspectFormat::Json)).unwrap();
        assert_eq!(json["component"], "app.wasm");
        assert_eq!(json["engine"], "concurrent");
        assert_eq!(json["callbacks"][0]["name"], "demo:tutorial/math@1.0.0#add");
        assert_eq!(json["fetchers"][0]["candidates"][1], "demo:tutorial/clock@1.0.0#now");
        assert_eq!(json["fetchers"][0]["checked"], true);
        assert_eq!(json["run"], "wasi:cli/run@0.2.3");
        assert_eq!(json["lifecycle"], Value::Null);
        assert_eq!(json["needs"][0]["functions"].as_array().unwrap().len(), 1);
        assert_eq!(json["problems"][0]["side"], "export");
    }

    #[test]
    fn the_wit_is_what_a_caller_can_import() {
        let text = inspected(WIT, InspectFormat::Wit);
        let mut resolve = wit_parser::Resolve::default();
        resolve.push_str("printed.wit", &text).unwrap();
        assert!(text.contains("add: func(a: point, b: point) -> point;"), "{text}");
        assert!(text.contains("pass: async func(items: stream<point>) -> future<u8>;"), "{text}");
        assert!(!text.contains("odd"), "what cannot be served is not offered: {text}");
    }
}
