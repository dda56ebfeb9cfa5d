//! Callback names: parsing, versions and the map to the look-up rules.
//!
//! | a function | its full name |
//! |---|---|
//! | in an interface | `demo:tutorial/math#sum-of-two-numbers`, with `@1.2.0` after the interface where the package has a version |
//! | that the world itself exports | `sum-of-two-numbers` |
//! | in an inline interface of the world | `math#sum-of-two-numbers` |
//!
//! Versions match by the component model's rule, as wasmtime's linker has it (`alternate_lookup_key` in
//! `wasmtime-environ/src/component/names.rs`): the same major version, or below 1.0 the same minor one, newer or older;
//! a `0.0.x` and a pre-release match themselves alone. This is wider than semver's caret, under which an older version
//! does not serve who asks for a newer one: signatures are compared function by function anyway. Who names no version
//! takes any.
//!
//! Invariant: a [`CallbackName`] is made by checks alone, also when it is decoded from the wire, so whatever holds one
//! holds a good one. [`Pattern`] is what a dynamic caller may write for it, [`NameGlob`] what the config may.

mod glob;
mod near;
mod pattern;

use std::fmt;
use std::sync::Arc;

use semver::Version;
use serde::{Deserialize, Serialize};

pub use self::glob::NameGlob;
pub(crate) use self::glob::covers;
pub use self::near::{names_like, nearest};
pub use self::pattern::{Lookup, MAX_NEAR_MATCHES, Pattern, Qualified, split_tenant};

/// Longest callback name, in bytes.
pub const MAX_CALLBACK_NAME_BYTES: usize = 512;

/// The full name of a callback. Clones share it: each call has one.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CallbackName(Arc<Parts>);

#[derive(PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
struct Parts {
    /// `demo:tutorial/math` or `math`, without the version; none for a function of the world itself.
    interface: Option<Box<str>>,
    /// The package's version.
    version: Option<Version>,
    /// `sum-of-two-numbers`
    function: Box<str>,
}

/// A text is no callback name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{name}` is no callback name: {reason}; write `namespace:package/interface#function`, `interface#function` or `function`"
)]
pub struct BadCallbackName {
    name: String,
    reason: &'static str,
}

impl CallbackName {
    /// Parses a full name.
    ///
    /// # Errors
    /// [`BadCallbackName`] says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, BadCallbackName> {
        let (interface, function) = match text.rsplit_once('#') {
            Some((interface, function)) => (Some(interface), function),
            None => (None, text),
        };
        Self::assemble(interface, function, Versions::OfPackages).map_err(|reason| bad(text, reason))
    }

    /// The name of a function in an interface (which may carry its version, `demo:tutorial/math@1.2.0`) or, with none,
    /// of the world itself.
    ///
    /// # Errors
    /// [`BadCallbackName`] says what is wrong with it.
    pub fn new(interface: Option<&str>, function: &str) -> Result<Self, BadCallbackName> {
        Self::assemble(interface, function, Versions::OfPackages).map_err(|reason| match interface {
            Some(interface) => bad(&format!("{interface}#{function}"), reason),
            None => bad(function, reason),
        })
    }

    /// The interface without its version, if the function is in one.
    pub fn interface(&self) -> Option<&str> {
        self.0.interface.as_deref()
    }

    /// The package's version, if it has one.
    pub fn version(&self) -> Option<&Version> {
        self.0.version.as_ref()
    }

    /// The function's own name.
    pub fn function(&self) -> &str {
        &self.0.function
    }

    /// Whether a caller that asks for this full name is served by `registered`: the same interface and function, and a
    /// compatible version. Who names no version takes any.
    pub fn matches(&self, registered: &CallbackName) -> bool {
        self.same_but_version(registered) && version_fits(self.version(), registered.version())
    }

    /// Whether both are one name when versions are left aside.
    pub fn same_but_version(&self, other: &CallbackName) -> bool {
        self.function() == other.function() && self.interface() == other.interface()
    }

    /// The name without its version.
    pub(crate) fn without_version(&self) -> Self {
        Self::of(self.interface(), None, self.function())
    }

    fn assemble(interface: Option<&str>, function: &str, versions: Versions) -> Result<Self, &'static str> {
        let length = function.len() + interface.map_or(0, |interface| interface.len() + 1);
        if length > MAX_CALLBACK_NAME_BYTES {
            return Err("it is longer than 512 bytes");
        }
        if !is_label(function) {
            return Err("a function is words of letters and digits joined by `-`");
        }
        let Some(interface) = interface else {
            return Ok(Self::of(None, None, function));
        };
        let (interface, version) = match interface.split_once('@') {
            Some((interface, version)) => {
                (interface, Some(Version::parse(version).map_err(|_| "a version is three numbers, `@1.2.0`")?))
            }
            None => (interface, None),
        };
        match interface.split_once('/') {
            Some((package, name)) => {
                let good = package.split_once(':').is_some_and(|(space, name)| is_label(space) && is_label(name));
                if !good || !is_label(name) {
                    return Err("an interface of a package is `namespace:package/interface`");
                }
            }
            None if !is_label(interface) => {
                return Err("an interface is `namespace:package/interface` or a plain name");
            }
            None if version.is_some() && matches!(versions, Versions::OfPackages) => {
                return Err("only an interface of a package has a version");
            }
            None => {}
        }
        Ok(Self::of(Some(interface), version, function))
    }

    fn of(interface: Option<&str>, version: Option<Version>, function: &str) -> Self {
        Self(Arc::new(Parts { interface: interface.map(Box::from), version, function: function.into() }))
    }
}

/// Where a version may be written.
#[derive(Clone, Copy)]
enum Versions {
    /// After the interface of a package: in full names.
    OfPackages,
    /// Also after a short `math`, which stands for the interface of some package: in patterns.
    Anywhere,
}

/// Whether `text` is a name as WIT has them: words joined by `-`, each of lower-case or of upper-case letters and
/// digits, the first of which starts with a letter.
pub fn is_label(text: &str) -> bool {
    let good_word = |word: &str| {
        let lower = word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        let upper = word.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
        !word.is_empty() && (lower || upper)
    };
    text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.split('-').all(good_word)
}

/// Whether a version that is asked for is served by a registered one, as the component model defines it.
fn version_fits(asked: Option<&Version>, registered: Option<&Version>) -> bool {
    match (asked, registered) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(asked), Some(registered)) => compatible(asked, registered),
    }
}

/// The same major version; under 0.x the same minor, under 0.0.x the same patch; newer or older. A pre-release is
/// compatible with itself alone. Build metadata does not count.
fn compatible(a: &Version, b: &Version) -> bool {
    if !a.pre.is_empty() || !b.pre.is_empty() {
        return (a.major, a.minor, a.patch, &a.pre) == (b.major, b.minor, b.patch, &b.pre);
    }
    match (a.major, a.minor) {
        (0, 0) => (b.major, b.minor, b.patch) == (0, 0, a.patch),
        (0, minor) => (b.major, b.minor) == (0, minor),
        (major, _) => b.major == major,
    }
}

fn bad(name: &str, reason: &'static str) -> BadCallbackName {
    // What is quoted of a hostile name stays short, and on one line.
    let name = name.chars().take(80).flat_map(char::escape_debug).collect();
    BadCallbackName { name, reason }
}

impl fmt::Display for CallbackName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(interface) = self.interface() {
            write!(f, "{interface}")?;
            if let Some(version) = self.version() {
                write!(f, "@{version}")?;
            }
            write!(f, "#")?;
        }
        write!(f, "{}", self.function())
    }
}

impl std::str::FromStr for CallbackName {
    type Err = BadCallbackName;
    fn from_str(text: &str) -> Result<Self, BadCallbackName> {
        Self::parse(text)
    }
}

impl TryFrom<String> for CallbackName {
    type Error = BadCallbackName;
    fn try_from(text: String) -> Result<Self, BadCallbackName> {
        Self::parse(&text)
    }
}

impl From<CallbackName> for String {
    fn from(name: CallbackName) -> String {
        name.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> CallbackName {
        CallbackName::parse(text).unwrap()
    }

    #[test]
    fn full_names_print_as_they_were_written() {
        for text in [
            "sum-of-two-numbers",
            "math#sum-of-two-numbers",
            "demo:tutorial/math#sum-of-two-numbers",
            "demo:tutorial/math@1.2.0#sum-of-two-numbers",
            "demo:tutorial/math@0.1.0-rc.1+build.5#f",
            "a:b/HTTP-2-client#GET-3d",
        ] {
            assert_eq!(name(text).to_string(), text);
            let bytes = postcard::to_stdvec(&name(text)).unwrap();
            assert_eq!(postcard::from_bytes::<CallbackName>(&bytes).unwrap(), name(text));
        }
    }

    #[test]
    fn what_is_no_name_is_refused_with_the_reason() {
        for (text, reason) in [
            ("", "a function is words"),
            ("a:b/c#", "a function is words"),
            ("a:b/c#d#e", "an interface of a package"),
            ("Sum", "a function is words"),
            ("sum--of", "a function is words"),
            ("1sum", "a function is words"),
            ("a:b/c", "a function is words"),
            ("[method]r.x", "a function is words"),
            ("a:b#f", "an interface is `namespace"),
            ("b/c#f", "an interface of a package"),
            ("a:b:c/d#f", "an interface of a package"),
            ("a:b/c@1#f", "three numbers"),
            ("math@1.0.0#f", "only an interface of a package"),
            ("tenant::f", "a function is words"),
        ] {
            let error = CallbackName::parse(text).unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
        let long = "a".repeat(MAX_CALLBACK_NAME_BYTES + 1);
        assert!(CallbackName::parse(&long).unwrap_err().to_string().contains("longer than 512 bytes"));
        assert!(postcard::from_bytes::<CallbackName>(b"\x03a:b").is_err());
    }

    #[test]
    fn an_interface_with_its_version_makes_a_name() {
        let made = CallbackName::new(Some("a:b/c@1.2.3"), "f").unwrap();
        assert_eq!(made, name("a:b/c@1.2.3#f"));
        assert_eq!((made.interface(), made.function(), made.version().unwrap().minor), (Some("a:b/c"), "f", 2));
        assert_eq!(CallbackName::new(None, "f").unwrap(), name("f"));
    }

    #[test]
    fn versions_match_as_the_component_model_says() {
        for (asked, registered, fits) in [
            ("1.2.0", "1.9.3", true),
            ("1.2.0", "1.0.0", true),
            ("1.2.0", "2.0.0", false),
            ("0.2.1", "0.2.9", true),
            ("0.2.1", "0.3.0", false),
            ("0.2.1", "1.2.1", false),
            ("0.0.3", "0.0.3", true),
            ("0.0.3", "0.0.4", false),
            ("1.0.0-rc.1", "1.0.0-rc.1", true),
            ("1.0.0-rc.1", "1.0.0-rc.2", false),
            ("1.0.0-rc.1", "1.0.0", false),
            ("1.0.0+a", "1.0.0+b", true),
        ] {
            let (a, b) = (name(&format!("a:b/c@{asked}#f")), name(&format!("a:b/c@{registered}#f")));
            assert_eq!(a.matches(&b), fits, "{asked} {registered}");
            assert_eq!(b.matches(&a), fits, "{registered} {asked}");
        }
        assert!(name("a:b/c#f").matches(&name("a:b/c@3.0.0#f")));
        assert!(!name("a:b/c@3.0.0#f").matches(&name("a:b/c#f")));
        assert!(!name("a:b/c#f").matches(&name("a:b/d#f")));
        assert!(!name("a:b/c#f").matches(&name("a:b/c#g")));
        assert!(!name("f").matches(&name("a:b/c#f")));
    }
}
