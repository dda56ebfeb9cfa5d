//! `daffi-runtime inspect`: what a component has, needs and lacks, without compiling it.
//!
//! Three faces of one [`Description`]: a page for people, JSON for programs, and WIT for those who want to call it.
//! A component that cannot be served is inspected like any other, and what is wrong with it is said on the page.

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
    page.line(0, &format!("{name}: a component, {}", human_bytes(bytes)));
    page.section(
        "callbacks (other processes call them)",
        "none",
        description
            .callbacks
            .iter()
            .map(|callback| vec![format!("{}: {}", callback.name, callback.signature.to_wit_with_types())]),
    );
    let fetchers = description.fetchers.iter().map(|fetcher| {
        let mut lines = vec![format!("{}: {}", fetcher.place, fetcher.signature.to_wit_with_types())];
        lines.push(format!("served by {}; a failure {}", candidates(fetcher).join(", else by "), failure(fetcher)));
        lines
    });
    page.section("fetchers (other processes serve them)", "none", fetchers);
    let roles = [
        description.run.as_ref().map(|run| vec![format!("{}: run once, when the node is connected", run.place)]),
        description.lifecycle.as_ref().map(|lifecycle| vec![format!("{}: told about its life", lifecycle.interface)]),
    ];
    page.section("also exports", "", roles.into_iter().flatten());
    let needs = description.needs.iter().map(|need| vec![need.interface.clone()]);
    page.section("needs from the host", "nothing", needs);
    page.section("engine", "", std::iter::once(vec![engine(description.engine).to_owned()]));
    let left_out = description.left_out.iter().map(|out| vec![format!("{}: {}", out.name, out.reason)]);
    page.section("exported, but no callbacks", "", left_out);
    page.section("cannot be served", "", description.problems.iter().map(|problem| vec![problem.to_string()]));
    if !description.problems.is_empty() {
        page.line(
            1,
            if description.problems.iter().all(|problem| problem.can_skip) {
                "`--skip-unsupported` loads the rest"
            } else {
                "this component cannot be loaded"
            },
        );
    }
    page.text
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
                self.line(0, &format!("\n{heading}: {nothing}"));
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
            "signature": callback.signature.to_wit(),
            "async": callback.signature.is_async,
        })
    });
    let fetchers = description.fetchers.iter().map(|fetcher| {
        json!({
            "name": fetcher.place.to_string(),
            "signature": fetcher.signature.to_wit(),
            "async": fetcher.signature.is_async,
            "candidates": candidates(fetcher),
            "checked": is_checked(fetcher),
        })
    });
    let whole = json!({
        "component": name,
        "bytes": bytes,
        "engine": description.engine,
        "callbacks": callbacks.collect::<Vec<_>>(),
        "fetchers": fetchers.collect::<Vec<_>>(),
        "run": description.run.as_ref().map(|run| run.place.interface.as_deref()),
        "lifecycle": description.lifecycle.as_ref().map(|lifecycle| &lifecycle.interface),
        "needs": description.needs,
        "left-out": description.left_out,
        "problems": description.problems,
    });
    format!("{whole:#}\n")
}

fn candidates(fetcher: &Fetcher) -> Vec<String> {
    fetcher.candidates.iter().map(ToString::to_string).collect()
}

fn is_checked(fetcher: &Fetcher) -> bool {
    fetcher.signature.forms().iter().any(|(form, _)| *form == Form::Checked)
}

fn failure(fetcher: &Fetcher) -> &'static str {
    if is_checked(fetcher) { "is a value" } else { "traps the caller" }
}

fn engine(kind: EngineKind) -> &'static str {
    match kind {
        EngineKind::Sync => "synchronous",
        EngineKind::Concurrent => "concurrent (it has async functions or WASI 0.3)",
    }
}
