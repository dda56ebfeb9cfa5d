//! From bytes to validated types: what the component imports and exports, without compiling it.
//!
//! Function bodies are not looked at (the compiler does that), so this takes milliseconds also for large components.
//! Invariant: it is total: any bytes give [`Parsed`] or an error, and wasmparser bounds the depth and size of types.

use wasmparser::component_types::{ComponentAnyTypeId, ComponentEntityType, ComponentItem};
use wasmparser::types::Types;
use wasmparser::{Parser, Payload, ValidPayload, Validator, WasmFeatures};

use super::error::LoadError;
use super::sniff::{Sniffed, sniff};
use crate::guest::engine::{EngineKind, TypeFeatures};

/// A component's imports and exports.
pub(super) struct Parsed {
    /// The validator's types, which the items below point into.
    pub(super) types: Types,
    imports: Vec<String>,
    exports: Vec<String>,
    /// The least engine that takes the component.
    pub(super) engine: EngineKind,
    /// The types that the engine has to know.
    pub(super) features: TypeFeatures,
    /// Whether it names `error-context` or its built-ins, at any depth: no engine knows those.
    pub(super) has_error_contexts: bool,
}

impl Parsed {
    /// The imports of the component itself, in order.
    pub(super) fn imports(&self) -> impl Iterator<Item = (&str, &ComponentItem)> {
        self.imports.iter().filter_map(|name| Some((name.as_str(), self.types.component_item_for_import(name)?)))
    }

    /// The exports of the component itself, in order.
    pub(super) fn exports(&self) -> impl Iterator<Item = (&str, &ComponentItem)> {
        self.exports.iter().filter_map(|name| Some((name.as_str(), self.types.component_item_for_export(name)?)))
    }

    /// Whether this is a package of WIT in binary form: nothing but types of components.
    fn is_wit_package(&self) -> bool {
        let component_type = |item: &ComponentItem| {
            matches!(item.ty, ComponentEntityType::Type { created: ComponentAnyTypeId::Component(_), .. })
        };
        self.imports.is_empty() && !self.exports.is_empty() && self.exports().all(|(_, item)| component_type(item))
    }
}

/// The features of a component's async parts: those that the synchronous engine does not have.
const ASYNC: WasmFeatures = WasmFeatures::CM_ASYNC
    .union(WasmFeatures::CM_ASYNC_STACKFUL)
    .union(WasmFeatures::CM_MORE_ASYNC_BUILTINS)
    .union(WasmFeatures::CM_THREADING)
    .union(WasmFeatures::CM_ERROR_CONTEXT);

/// Also known to be read here, so that components with it are told what is wrong, and to no engine: what a guest keeps
/// in error contexts is the host's memory, without a limit.
const ERROR_CONTEXT: WasmFeatures = WasmFeatures::CM_ERROR_CONTEXT;

/// The features that wasmtime has in part only: those of [`TypeFeatures::Experimental`].
const EXPERIMENTAL: WasmFeatures = ERROR_CONTEXT.union(WasmFeatures::CM_MAP).union(WasmFeatures::CM_FIXED_LENGTH_LISTS);

/// Reads a component.
pub(super) fn parse(name: &str, bytes: &[u8]) -> Result<Parsed, LoadError> {
    match sniff(bytes) {
        Sniffed::Component => {}
        Sniffed::CoreModule => {
            return Err(LoadError::CoreModule { name: name.to_owned(), preview1: imports_preview1(bytes) });
        }
        Sniffed::Other(what) => return Err(LoadError::NotWasm { name: name.to_owned(), what }),
    }
    let all = WasmFeatures::all();
    let ways = [
        (all.difference(ASYNC).difference(EXPERIMENTAL), EngineKind::Sync, TypeFeatures::Standard),
        (all.difference(EXPERIMENTAL), EngineKind::Concurrent, TypeFeatures::Standard),
        (all.difference(ASYNC), EngineKind::Sync, TypeFeatures::Experimental),
        (all.difference(ERROR_CONTEXT), EngineKind::Concurrent, TypeFeatures::Experimental),
        (all, EngineKind::Concurrent, TypeFeatures::Experimental),
    ];
    let mut last = None;
    for (features, engine, kind) in ways {
        match validate(bytes, features) {
            Ok((types, imports, exports)) => {
                let has_error_contexts = features.contains(ERROR_CONTEXT);
                let parsed = Parsed { types, imports, exports, engine, features: kind, has_error_contexts };
                if parsed.is_wit_package() {
                    return Err(LoadError::WitPackage { name: name.to_owned() });
                }
                return Ok(parsed);
            }
            Err(error) => last = Some(error),
        }
    }
    let Damage { offset, message } = last.unwrap_or_default();
    Err(LoadError::Invalid { name: name.to_owned(), offset, bytes: bytes.len(), message })
}

type Names = Vec<String>;

/// Where a file is no component, and what is wrong there.
#[derive(Default)]
struct Damage {
    offset: usize,
    message: String,
}

impl From<wasmparser::BinaryReaderError> for Damage {
    fn from(error: wasmparser::BinaryReaderError) -> Self {
        Self { offset: error.offset(), message: error.message().to_owned() }
    }
}

fn validate(bytes: &[u8], features: WasmFeatures) -> Result<(Types, Names, Names), Damage> {
    let mut validator = Validator::new_with_features(features);
    let (mut imports, mut exports, mut types) = (Vec::new(), Vec::new(), None);
    let mut depth = 0_usize;
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload?;
        match validator.payload(&payload)? {
            ValidPayload::Parser(_) => depth += 1,
            ValidPayload::End(of_inner) => {
                // The last end is the component's own.
                depth = depth.saturating_sub(1);
                types = Some(of_inner);
            }
            ValidPayload::Ok | ValidPayload::Func(..) => {}
        }
        match payload {
            Payload::ComponentImportSection(section) if depth == 0 => {
                for import in section {
                    imports.push(import?.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(section) if depth == 0 => {
                for export in section {
                    exports.push(export?.name.name.to_owned());
                }
            }
            _ => {}
        }
    }
    // A file that breaks off has met an error above, so this is a component without an end, which cannot be.
    let types = types.ok_or_else(|| Damage { offset: bytes.len(), message: "it has no end".to_owned() })?;
    Ok((types, imports, exports))
}

/// Whether a core module asks for WASI preview 1.
fn imports_preview1(bytes: &[u8]) -> bool {
    Parser::new(0).parse_all(bytes).map_while(Result::ok).any(|payload| match payload {
        Payload::ImportSection(section) => {
            section.into_imports().map_while(Result::ok).any(|import| import.module == "wasi_snapshot_preview1")
        }
        _ => false,
    })
}
