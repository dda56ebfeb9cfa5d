//! What a component has, needs and lacks, as plain data.
//!
//! Invariant: names in a [`Place`] are the component's own, letter by letter, so that its exports and imports are found
//! by them; a [`CallbackName`] is what the mesh calls the same function.

use std::sync::Arc;

use daffi_proto::id::TenantName;
use daffi_proto::name::CallbackName;
use daffi_proto::signature::Signature;
use semver::Version;

use super::error::Problem;
use crate::guest::engine::{EngineKind, TypeFeatures};

/// What a component has, needs and lacks.
#[derive(Clone, Debug)]
pub struct Description {
    /// The engine that it runs in.
    pub engine: EngineKind,
    /// The types that its engine has to know.
    pub types: TypeFeatures,
    /// The functions that other processes can call, in the component's order.
    pub callbacks: Vec<Callback>,
    /// The functions that it wants of other processes, in the component's order.
    pub fetchers: Vec<Fetcher>,
    /// Its `wasi:cli/run`, if it has one.
    pub run: Option<Run>,
    /// Its `daffi:runtime/lifecycle` or `lifecycle-async`, if it has one.
    pub lifecycle: Option<Lifecycle>,
    /// What it needs of the host: interfaces of `wasi:*` and `daffi:runtime/*`.
    pub needs: Vec<Need>,
    /// Exported functions that are no callbacks, and why.
    pub left_out: Vec<LeftOut>,
    /// What of it cannot be served, and why.
    pub problems: Vec<Problem>,
    /// Imported functions that trap when called, since nothing serves them.
    pub stubs: Vec<Stub>,
    /// Imported resource types that nothing provides; the linker wants something for each.
    pub stub_resources: Vec<Place>,
}

/// Where a function or type is among a component's imports or exports.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// The interface's name as the component has it, version included; none for a function of the world itself.
    pub interface: Option<String>,
    /// Its name there.
    pub item: String,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(interface) = &self.interface {
            write!(f, "{interface}#")?;
        }
        f.write_str(&self.item)
    }
}

/// An exported function that other processes can call.
#[derive(Clone, Debug)]
pub struct Callback {
    /// Its name on the mesh.
    pub name: CallbackName,
    /// Its type.
    pub signature: Arc<Signature>,
    /// Where it is.
    pub place: Place,
}

/// An imported function that a callback of another process serves.
#[derive(Clone, Debug)]
pub struct Fetcher {
    /// The tenant that shares them, where it is another one.
    pub tenant: Option<TenantName>,
    /// The callbacks that may serve it, in order of preference; never empty.
    pub candidates: Arc<[CallbackName]>,
    /// Its type.
    pub signature: Arc<Signature>,
    /// Where it is.
    pub place: Place,
}

/// An exported `wasi:cli/run`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Where it is.
    pub place: Place,
    /// Its version: 0.2.x is a plain function, 0.3.x an async one.
    pub version: Version,
}

impl Run {
    /// Whether it is an async function.
    pub fn is_async(&self) -> bool {
        self.version.minor >= 3
    }
}

/// An exported `daffi:runtime/lifecycle` or `lifecycle-async`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lifecycle {
    /// The interface's name as the component has it.
    pub interface: String,
}

/// An interface that the host provides, or should.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Need {
    /// Its name, version included.
    pub interface: String,
    /// What of it is used.
    pub functions: Vec<String>,
}

/// An exported function that is no callback.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct LeftOut {
    /// The function or interface.
    pub name: String,
    /// Why.
    pub reason: String,
}

/// An imported function that traps when called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stub {
    /// Where it is.
    pub place: Place,
    /// Why, for the trap's message.
    pub reason: String,
    /// Whether it is an async function; its stub must be one too.
    pub is_async: bool,
}
