//! Names of fields, cases and flags in JSON.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, Visitor};

use super::super::text::{Named, unknown};
use super::read::Context;

/// Reads a string that is one of some names, and gives its place among them.
pub(super) struct Name<'c, 'a, 'w, T> {
    pub(super) context: &'c mut Context<'a>,
    pub(super) names: &'a [T],
    pub(super) what: &'w str,
}

impl<'de, T: Named> DeserializeSeed<'de> for Name<'_, '_, '_, T> {
    type Value = usize;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<usize, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<T: Named> Visitor<'_> for Name<'_, '_, '_, T> {
    type Value = usize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the name of a {}", self.what)
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<usize, E> {
        match self.context.names.find(self.names, name) {
            Some(at) => Ok(at),
            None => {
                let known = self.names.iter().map(|known| known.name());
                Err(self.context.fail(unknown(self.what, name, known)))
            }
        }
    }
}
