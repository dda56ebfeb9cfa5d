//! Names of interfaces as components have them.

use semver::Version;

/// A parsed name: `demo:tutorial/math@1.2.0` or, for an inline interface, `math`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct InterfaceName<'a> {
    /// `demo:tutorial` where it is in a package.
    pub(super) package: Option<&'a str>,
    /// The name without the version.
    pub(super) full: &'a str,
    /// The package's version.
    pub(super) version: Option<Version>,
}

impl<'a> InterfaceName<'a> {
    /// Parses what the validator has accepted. `None` for the kinds of names that are no interface: a URL, a hash, a
    /// dependency.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        if text.contains('=') {
            return None;
        }
        let (full, version) = match text.split_once('@') {
            Some((full, version)) => (full, Some(Version::parse(version).ok()?)),
            None => (text, None),
        };
        Some(Self { package: full.split_once('/').map(|(package, _)| package), full, version })
    }

    /// Whether it is one of `wasi:*`.
    pub(super) fn is_wasi(&self) -> bool {
        self.package.is_some_and(|package| package.starts_with("wasi:"))
    }

    /// Whether it is one of `daffi:runtime`.
    pub(super) fn is_daffi(&self) -> bool {
        self.package == Some("daffi:runtime")
    }

    /// The name with another last part's suffix taken off: `demo:tutorial/math-all` less `-all`.
    pub(super) fn without_suffix(&self, suffix: &str) -> Option<String> {
        let short = self.full.strip_suffix(suffix)?;
        if short.is_empty() || short.ends_with('/') {
            return None;
        }
        Some(match &self.version {
            Some(version) => format!("{short}@{version}"),
            None => short.to_owned(),
        })
    }
}
