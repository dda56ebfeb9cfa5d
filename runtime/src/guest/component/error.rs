//! Why a component cannot be loaded: each message says what, where, and what to do, in one line.

use std::fmt;
use std::path::PathBuf;

use crate::guest::engine::EngineError;

/// Most problems that one message lists; the others are counted.
const MAX_PROBLEMS_IN_MESSAGE: usize = 8;

/// A component cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Check the path.
    #[error("there is no file `{}`; check the path, or build the guest first", .0.display())]
    NoSuchFile(PathBuf),
    /// Name the file inside.
    #[error("`{}` is a directory; name the component file in it", .0.display())]
    Directory(PathBuf),
    /// Name a file.
    #[error("`{}` is no regular file (a device, a pipe or a socket); name a component file", .0.display())]
    NotAFile(PathBuf),
    /// Check the permissions.
    #[error("cannot read `{}`: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// Raise the limit, or make the component smaller.
    #[error("`{name}` has {bytes} bytes, more than the limit of {limit}; strip it of debug information")]
    TooLarge {
        /// The component.
        name: String,
        /// Its size.
        bytes: u64,
        /// What is allowed.
        limit: u64,
    },
    /// Name another file.
    #[error("`{name}` is no WebAssembly component: it looks like {what}")]
    NotWasm {
        /// The file.
        name: String,
        /// What it looks like, and how to make a component of it where that is known.
        what: &'static str,
    },
    /// Make a component of it.
    #[error(
        "`{name}` is a core WebAssembly module, not a component; build it as one (Rust: `cargo build --target wasm32-wasip2`) \
         or wrap it: `wasm-tools component new {name} -o component.wasm{}`", if *.preview1 { " --adapt wasi_snapshot_preview1.reactor.wasm" } else { "" }
    )]
    CoreModule {
        /// The file.
        name: String,
        /// Whether it imports WASI preview 1, so that it needs the adapter.
        preview1: bool,
    },
    /// Build a component that has this WIT.
    #[error("`{name}` is a WIT package in binary form: it has types and no code; build a component that exports them")]
    WitPackage {
        /// The file.
        name: String,
    },
    /// Build or copy it again.
    #[error("`{name}` is damaged or truncated: at byte {offset} of {bytes}: {message}; build or copy it again")]
    Invalid {
        /// The component.
        name: String,
        /// Where.
        offset: usize,
        /// Its size.
        bytes: usize,
        /// What the validator says.
        message: String,
    },
    /// Change the component, or leave those parts out.
    #[error("`{name}` cannot be served: {problems}")]
    Unservable {
        /// The component.
        name: String,
        /// What is wrong with it.
        problems: Problems,
    },
    /// It would do nothing.
    #[error(
        "`{name}` has nothing to do: it exports no callback, no `wasi:cli/run` and no `daffi:runtime/lifecycle`; \
         `daffi-runtime inspect {name}` shows what it has"
    )]
    NothingToDo {
        /// The component.
        name: String,
    },
    /// Correct the pattern.
    #[error("`callbacks` of `{name}`: `{pattern}` matches no export; there are: {exports}")]
    UnusedPattern {
        /// The component.
        name: String,
        /// The pattern.
        pattern: String,
        /// What it could match.
        exports: String,
    },
    /// Correct the table.
    #[error("`fetchers` of `{name}`: `{entry}` is no import of it; there are: {imports}")]
    UnusedFetcher {
        /// The component.
        name: String,
        /// The entry's key.
        entry: String,
        /// What it could be.
        imports: String,
    },
    /// Correct the table.
    #[error("`fetchers` of `{name}`: `{entry}` = `{target}`: {reason}")]
    BadFetcher {
        /// The component.
        name: String,
        /// The entry's key.
        entry: String,
        /// The entry's value.
        target: String,
        /// What is wrong.
        reason: String,
    },
    /// The engine that it needs cannot be built.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The compiler refuses it.
    #[error("`{name}` cannot be compiled: {message}")]
    Compile {
        /// The component.
        name: String,
        /// What wasmtime says.
        message: String,
    },
}

impl LoadError {
    /// Whether it is one of the path and not of what is in the file.
    pub fn is_of_path(&self) -> bool {
        matches!(self, Self::NoSuchFile(_) | Self::Directory(_) | Self::NotAFile(_) | Self::Read { .. })
    }

    /// Whether it is one of what its module's config says of it.
    pub fn is_of_keys(&self) -> bool {
        matches!(self, Self::UnusedPattern { .. } | Self::UnusedFetcher { .. })
    }
}

/// A part of a component that cannot be served, and why.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Problem {
    /// Whether it is exported or imported.
    pub side: Side,
    /// The function, resource or interface.
    pub name: String,
    /// Why, in words that follow the name: "is a core module".
    pub reason: String,
    /// Whether `--skip-unsupported` loads the rest.
    pub can_skip: bool,
}

/// Which way a part of a component faces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// The component gives it.
    Export,
    /// The component needs it.
    Import,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = match self.side {
            Side::Export => "export",
            Side::Import => "import",
        };
        write!(f, "{side} `{}` {}", self.name, self.reason)
    }
}

/// Problems in one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, problem) in self.0.iter().take(MAX_PROBLEMS_IN_MESSAGE).enumerate() {
            write!(f, "{}{problem}", if nth > 0 { "; " } else { "" })?;
        }
        if let Some(more @ 1..) = self.0.len().checked_sub(MAX_PROBLEMS_IN_MESSAGE) {
            write!(f, "; and {more} more")?;
        }
        if self.0.iter().all(|problem| problem.can_skip) {
            write!(f, "; `--skip-unsupported` loads the rest")?;
        }
        Ok(())
    }
}
