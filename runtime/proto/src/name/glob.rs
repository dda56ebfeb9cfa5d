//! Patterns with `*` for sets of callbacks, as the config's `callbacks = [...]` has them.
//!
//! A glob is held against every way to write the name: in full, without the version, as `math#sum` and as `sum`.
//! `*` stands for any run of characters, also none, and also across `/`, `@` and `#`.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{BadCallbackName, CallbackName, MAX_CALLBACK_NAME_BYTES, bad};

/// A pattern with `*` for the names of callbacks.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NameGlob {
    text: String,
}

impl NameGlob {
    /// Parses a glob.
    ///
    /// # Errors
    /// [`BadCallbackName`] when it is empty, too long, or has characters that no name has.
    pub fn parse(text: &str) -> Result<Self, BadCallbackName> {
        let good = |c: char| c.is_ascii_alphanumeric() || "-:/@#.+*".contains(c);
        if text.is_empty() || text.len() > MAX_CALLBACK_NAME_BYTES {
            return Err(bad(text, "a pattern has 1 to 512 bytes"));
        }
        if !text.chars().all(good) || text.contains("::") {
            return Err(bad(text, "a pattern is made of names and `*`"));
        }
        Ok(Self { text: text.to_owned() })
    }

    /// Whether the glob covers this callback.
    pub fn matches(&self, name: &CallbackName) -> bool {
        let covers = |text: &str| covers(self.text.as_bytes(), text.as_bytes());
        if covers(name.function()) || covers(&name.to_string()) {
            return true;
        }
        let Some(interface) = name.interface() else { return false };
        let short = interface.rsplit('/').next().unwrap_or(interface);
        covers(&format!("{interface}#{}", name.function())) || covers(&format!("{short}#{}", name.function()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl Serialize for NameGlob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for NameGlob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

impl std::str::FromStr for NameGlob {
    type Err = BadCallbackName;
    fn from_str(text: &str) -> Result<Self, BadCallbackName> {
        Self::parse(text)
    }
}

impl std::fmt::Display for NameGlob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

/// Greedy matching that goes back to the last `*` alone: at most glob times text steps, no recursion.
pub(crate) fn covers(glob: &[u8], text: &[u8]) -> bool {
    let (mut at, mut seen) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while let Some(byte) = text.get(seen) {
        match glob.get(at) {
            Some(b'*') => {
                star = Some((at, seen));
                at += 1;
            }
            Some(wanted) if wanted == byte => {
                at += 1;
                seen += 1;
            }
            _ => {
                let Some((star_at, taken)) = star else { return false };
                star = Some((star_at, taken + 1));
                at = star_at + 1;
                seen = taken + 1;
            }
        }
    }
    glob.get(at..).is_some_and(|rest| rest.iter().all(|byte| *byte == b'*'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_glob_covers_any_way_to_write_the_name() {
        let name = CallbackName::parse("demo:tutorial/math@1.2.0#sum-of-two-numbers").unwrap();
        for (glob, covered) in [
            ("*", true),
            ("sum-*", true),
            ("*-numbers", true),
            ("sum-*-two-*", true),
            ("math#*", true),
            ("demo:tutorial/*", true),
            ("demo:tutorial/math#*", true),
            ("demo:tutorial/math@1.2.0#sum-of-two-numbers", true),
            ("demo:tutorial/math@1.*#*", true),
            ("demo:tutorial/math@2.*", false),
            ("sum", false),
            ("sum-*-three-*", false),
            ("tutorial*", false),
            ("*z*", false),
        ] {
            assert_eq!(NameGlob::parse(glob).unwrap().matches(&name), covered, "{glob}");
        }
    }

    #[test]
    fn a_glob_of_many_stars_is_quick() {
        let name = CallbackName::parse(&"a".repeat(500)).unwrap();
        assert!(!NameGlob::parse(&format!("{}b", "*a".repeat(250))).unwrap().matches(&name));
    }

    #[test]
    fn what_no_name_has_is_refused() {
        assert!(NameGlob::parse("").is_err());
        assert!(NameGlob::parse("su?").is_err());
        assert!(NameGlob::parse("sum of").is_err());
    }
}
