//! Which exported functions are callbacks.
//!
//! Some tools add exports of their own to every component that they make; nobody on the mesh may call these. The
//! config's `callbacks` replaces this rule by patterns.

use std::cell::Cell;

use daffi_proto::name::{CallbackName, NameGlob};
use wasmparser::component_types::ComponentFuncType;

/// Decides over the exports of one component.
pub(super) struct Selection<'a> {
    patterns: Option<Vec<(&'a NameGlob, Cell<bool>)>>,
}

impl<'a> Selection<'a> {
    /// By these patterns, or by the rule for what tools add.
    pub(super) fn new(patterns: Option<&'a [NameGlob]>) -> Self {
        let patterns = patterns.map(|patterns| patterns.iter().map(|glob| (glob, Cell::new(false))).collect());
        Self { patterns }
    }

    /// Whether patterns decide.
    pub(super) fn is_explicit(&self) -> bool {
        self.patterns.is_some()
    }

    /// Whether the function is a callback; the error says why not.
    pub(super) fn takes(&self, name: &CallbackName, ty: &ComponentFuncType) -> Result<(), &'static str> {
        let Some(patterns) = &self.patterns else { return by_tool(name, ty) };
        let mut taken = false;
        for (glob, used) in patterns {
            if glob.matches(name) {
                used.set(true);
                taken = true;
            }
        }
        if taken { Ok(()) } else { Err("no pattern of `callbacks` matches it") }
    }

    /// A pattern that matched nothing.
    pub(super) fn unused(&self) -> Option<String> {
        let unused = |(glob, used): &(&NameGlob, Cell<bool>)| (!used.get()).then(|| glob.as_str().to_owned());
        self.patterns.iter().flatten().find_map(unused)
    }
}

/// The exports that tools add, known by their names and the names of their parameters: a guest's own `init` has others.
fn by_tool(name: &CallbackName, ty: &ComponentFuncType) -> Result<(), &'static str> {
    let has = |wanted: &str| ty.params.iter().any(|(name, _)| name.as_str() == wanted);
    match (name.interface(), name.function()) {
        (None, "init") if has("script") => Err("componentize-qjs adds it to every component"),
        (Some("exports"), "init") if has("app-name") => Err("componentize-py adds it to every component"),
        _ => Ok(()),
    }
}
