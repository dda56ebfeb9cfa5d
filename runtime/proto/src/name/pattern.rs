//! What a dynamic caller may write for a callback, and how it finds the one that is meant.
//!
//! | written | finds |
//! |---|---|
//! | `demo:tutorial/math@1.2.0#sum` | that function, in a compatible version |
//! | `demo:tutorial/math#sum` | that function, in any version |
//! | `math#sum`, `math@1.2.0#sum` | the function `sum` of any interface `math` |
//! | `sum` | any function `sum` |
//!
//! What must be unique is the full name, versions aside. A text that is itself a full name (`sum` of a world, `math#sum`
//! of an inline interface) means that one even when others end in the same words: it has no longer name to be told
//! apart by. Among versions the highest that fits is taken.

use super::near::{Likeness, NEAR};
use super::{BadCallbackName, CallbackName, Versions, bad, version_fits};
use crate::id::TenantName;

/// Most near matches that an error names.
pub const MAX_NEAR_MATCHES: usize = 3;

/// Most candidates that an error about an ambiguous name lists.
const MAX_LISTED: usize = 16;

/// What a caller wrote for a callback.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pattern {
    wanted: CallbackName,
}

/// Why a pattern finds no callback.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Lookup {
    /// No callback has such a name; [`Pattern::near`] tells which are like it.
    #[error("no process has such a callback")]
    NotFound,
    /// Several callbacks have such a name.
    #[error("the name fits several callbacks: {}; write one of them in full", candidates.join(", "))]
    Ambiguous {
        /// Their full names, sorted.
        candidates: Vec<String>,
    },
}

/// What a caller wrote for a callback of his own tenant, or of another one that shares it: `tenant::name`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Qualified {
    /// The other tenant.
    pub tenant: Option<TenantName>,
    /// The callback.
    pub pattern: Pattern,
}

impl Qualified {
    /// Parses what a caller wrote.
    ///
    /// # Errors
    /// [`BadCallbackName`] says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, BadCallbackName> {
        let (tenant, name) = split_tenant(text)?;
        Ok(Self { tenant, pattern: Pattern::parse(name)? })
    }
}

impl std::fmt::Display for Qualified {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.tenant {
            Some(tenant) => write!(f, "{tenant}::{}", self.pattern),
            None => write!(f, "{}", self.pattern),
        }
    }
}

/// The tenant that a text names before `::`, and the rest.
///
/// # Errors
/// [`BadCallbackName`] where that can be no tenant.
pub fn split_tenant(text: &str) -> Result<(Option<TenantName>, &str), BadCallbackName> {
    match text.split_once("::") {
        Some((tenant, name)) => match TenantName::new(tenant) {
            Ok(tenant) => Ok((Some(tenant), name)),
            Err(_) => Err(bad(text, "before `::` stands the name of a tenant")),
        },
        None => Ok((None, text)),
    }
}

impl Pattern {
    /// Parses what a caller wrote.
    ///
    /// # Errors
    /// [`BadCallbackName`] says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, BadCallbackName> {
        let (interface, function) = match text.rsplit_once('#') {
            Some((interface, function)) => (Some(interface), function),
            None => (None, text),
        };
        match CallbackName::assemble(interface, function, Versions::Anywhere) {
            Ok(wanted) => Ok(Self { wanted }),
            Err(reason) => Err(bad(text, reason)),
        }
    }

    /// The name, where only such can be meant as are the same but for versions: that of a package's interface.
    pub(crate) fn full_name(&self) -> Option<&CallbackName> {
        self.wanted.interface().is_some_and(|interface| interface.contains('/')).then_some(&self.wanted)
    }

    /// Whether this may mean `name`.
    pub fn matches(&self, name: &CallbackName) -> bool {
        self.wanted.function() == name.function()
            && self.fits_interface(name.interface())
            && version_fits(self.wanted.version(), name.version())
    }

    /// The callback that is meant, of all that there are; of several versions the highest that fits.
    ///
    /// # Errors
    /// [`Lookup`], with the candidates where there are several.
    pub fn pick<'a, I>(&self, names: I) -> Result<&'a CallbackName, Lookup>
    where
        I: IntoIterator<Item = &'a CallbackName>,
        I::IntoIter: Clone,
    {
        let names = names.into_iter();
        let matching = || names.clone().filter(|name| self.matches(name));
        let highest = |of: &CallbackName| {
            matching().filter(|name| name.same_but_version(of)).max_by(|a, b| a.version().cmp(&b.version()))
        };
        if let Some(found) = highest(&self.wanted) {
            return Ok(found);
        }
        let Some(first) = matching().next() else {
            return Err(Lookup::NotFound);
        };
        if matching().all(|name| name.same_but_version(first)) {
            return Ok(highest(first).unwrap_or(first));
        }
        let mut candidates: Vec<String> = matching().map(ToString::to_string).collect();
        candidates.sort_unstable();
        candidates.dedup();
        candidates.truncate(MAX_LISTED);
        Err(Lookup::Ambiguous { candidates })
    }

    fn fits_interface(&self, interface: Option<&str>) -> bool {
        match (self.wanted.interface(), interface) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(wanted), Some(interface)) => {
                let last = interface.rsplit('/').next().unwrap_or(interface);
                wanted == interface || (wanted == last && !wanted.contains('/'))
            }
        }
    }

    /// Names like this one, [`MAX_NEAR_MATCHES`] at most: the same function elsewhere (or in another version) first, then
    /// by likeness of the whole name or of the function's own. It looks at all of them: only for an error that somebody
    /// reads.
    pub fn near<'a>(&self, names: impl IntoIterator<Item = &'a CallbackName>) -> Vec<String> {
        let function = Likeness::to(self.wanted.function());
        let interface = Likeness::to(self.wanted.interface().unwrap_or(""));
        let names = function.candidates(names.into_iter(), |name| name.function());
        // From 0 to 2: above 1 where the function is the same, and by how much the interface is, too.
        let likeness = |name: &CallbackName| match function.of(name.function()) {
            unlike if unlike < NEAR => 0.0, // which no interface would mend
            functions => {
                let interfaces = interface.of(name.interface().unwrap_or(""));
                if functions == 1.0 { 1.0 + interfaces } else { functions * (0.9 + 0.1 * interfaces) }
            }
        };
        let near = names.into_iter().map(|name| (likeness(name), name));
        let mut near: Vec<(f64, &CallbackName)> = near.filter(|(likeness, _)| *likeness >= NEAR).collect();
        near.sort_by(|(a, x), (b, y)| b.total_cmp(a).then_with(|| x.cmp(y)));
        near.dedup();
        near.into_iter().take(MAX_NEAR_MATCHES).map(|(_, name)| name.to_string()).collect()
    }
}

impl std::fmt::Display for Pattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.wanted.fmt(f)
    }
}

impl From<CallbackName> for Pattern {
    fn from(wanted: CallbackName) -> Self {
        Self { wanted }
    }
}

impl std::str::FromStr for Pattern {
    type Err = BadCallbackName;
    fn from_str(text: &str) -> Result<Self, BadCallbackName> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(texts: &[&str]) -> Vec<CallbackName> {
        texts.iter().map(|text| CallbackName::parse(text).unwrap()).collect()
    }

    fn pick(pattern: &str, texts: &[&str]) -> Result<String, Lookup> {
        Pattern::parse(pattern).unwrap().pick(&names(texts)).map(ToString::to_string)
    }

    const MESH: &[&str] = &[
        "demo:tutorial/math@1.2.0#sum-of-two-numbers",
        "demo:tutorial/math@1.10.0#sum-of-two-numbers",
        "demo:tutorial/math@2.0.0#sum-of-two-numbers",
        "other:tutorial/math#product",
        "demo:tutorial/math@1.2.0#product",
        "clock#now",
        "a:b/clock#now",
        "now",
        "greet",
    ];

    #[test]
    fn every_way_to_write_a_name_finds_the_highest_version_that_fits() {
        for (pattern, found) in [
            ("sum-of-two-numbers", "demo:tutorial/math@2.0.0#sum-of-two-numbers"),
            ("math#sum-of-two-numbers", "demo:tutorial/math@2.0.0#sum-of-two-numbers"),
            ("math@1.0.0#sum-of-two-numbers", "demo:tutorial/math@1.10.0#sum-of-two-numbers"),
            ("demo:tutorial/math#sum-of-two-numbers", "demo:tutorial/math@2.0.0#sum-of-two-numbers"),
            ("demo:tutorial/math@1.2.0#sum-of-two-numbers", "demo:tutorial/math@1.10.0#sum-of-two-numbers"),
            ("other:tutorial/math#product", "other:tutorial/math#product"),
            ("greet", "greet"),
        ] {
            assert_eq!(pick(pattern, MESH).as_deref(), Ok(found), "{pattern}");
        }
    }

    #[test]
    fn a_short_name_that_is_a_full_name_means_that_one() {
        assert_eq!(pick("now", MESH).as_deref(), Ok("now"));
        assert_eq!(pick("clock#now", MESH).as_deref(), Ok("clock#now"));
    }

    #[test]
    fn an_ambiguous_name_lists_the_candidates() {
        let candidates = vec!["demo:tutorial/math@1.2.0#product".to_owned(), "other:tutorial/math#product".to_owned()];
        assert_eq!(pick("product", MESH), Err(Lookup::Ambiguous { candidates: candidates.clone() }));
        let error = pick("math#product", MESH).unwrap_err();
        assert_eq!(error, Lookup::Ambiguous { candidates });
        assert_eq!(
            error.to_string(),
            "the name fits several callbacks: demo:tutorial/math@1.2.0#product, other:tutorial/math#product; write \
             one of them in full"
        );
    }

    #[test]
    fn an_unknown_name_lists_what_is_near() {
        let near = |pattern| {
            assert_eq!(pick(pattern, MESH), Err(Lookup::NotFound));
            Pattern::parse(pattern).unwrap().near(&names(MESH))
        };
        assert_eq!(near("gret"), ["greet"]);
        assert_eq!(near("sum-of-two-number")[0], "demo:tutorial/math@1.2.0#sum-of-two-numbers");
        assert_eq!(near("sum-of-two-number").len(), 3);
        // The function is right, the version is not.
        assert_eq!(near("demo:tutorial/math@3.0.0#product")[0], "demo:tutorial/math@1.2.0#product");
        // The function is right, the interface is not.
        assert_eq!(near("maths#product").len(), 2);
        assert_eq!(near("nothing-like-it"), [""; 0]);
    }
}
