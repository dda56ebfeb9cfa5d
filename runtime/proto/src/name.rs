//! Callback names: parsing, look-up rules, versions, near matches.
//!
//! | a function | its full name |
//! |---|---|
//! | in an interface | `demo:tutorial/math#sum-of-two-numbers`, with `@1.2.0` after the interface where the package has a version |
//! | that the world itself exports | `sum-of-two-numbers` |
//! | in an inline interface of the world | `math#sum-of-two-numbers` |

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Longest callback name, in bytes.
pub const MAX_CALLBACK_NAME_BYTES: usize = 512;

/// The full name of a callback.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct CallbackName {
    /// `demo:tutorial/math` or `math`, without the version; none for a function of the world itself.
    interface: Option<Arc<str>>,
    /// The package's version.
    version: Option<semver::Version>,
    /// `sum-of-two-numbers`
    function: Arc<str>,
}

impl CallbackName {
    /// The interface without its version, if the function is in one.
    pub fn interface(&self) -> Option<&str> {
        self.interface.as_deref()
    }

    /// The package's version, if it has one.
    pub fn version(&self) -> Option<&semver::Version> {
        self.version.as_ref()
    }

    /// The function's own name.
    pub fn function(&self) -> &str {
        &self.function
    }
}

impl fmt::Display for CallbackName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(interface) = &self.interface {
            write!(f, "{interface}")?;
            if let Some(version) = &self.version {
                write!(f, "@{version}")?;
            }
            write!(f, "#")?;
        }
        write!(f, "{}", self.function)
    }
}
