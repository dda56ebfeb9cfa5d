//! What a config file's reader says of a mistake, in the words of those who write such files: they know keys, numbers, lists
//! and tables, and no types of Rust.

use serde::de::{Deserializer, Error, Visitor};
use std::fmt;

/// Reads a whole number that is not negative.
pub(super) fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    struct Number;

    impl Visitor<'_> for Number {
        type Value = u64;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a whole number without quotes")
        }

        fn visit_u64<E: Error>(self, number: u64) -> Result<u64, E> {
            Ok(number)
        }

        fn visit_i64<E: Error>(self, number: i64) -> Result<u64, E> {
            u64::try_from(number).map_err(|_| E::custom(format!("{number} is out of bounds: it is from 0")))
        }
    }

    deserializer.deserialize_u64(Number)
}

/// A message about flags, of keys: these have the flags' names, and what is there or not as a flag is true or not as a key.
pub(super) fn in_keys(message: &str) -> String {
    const SWITCHES: [&str; 2] = ["--controller", "--insecure"];
    let word = |word: &str| {
        let Some(start) = word.find("--") else { return word.to_owned() };
        let (before, flag) = word.split_at(start);
        let end = flag.find(|c: char| c != '-' && !c.is_ascii_lowercase()).unwrap_or(flag.len());
        let (flag, behind) = flag.split_at(end);
        match flag.trim_start_matches('-') {
            "module" => format!("{before}[[module]]{behind}"),
            key => format!("{before}`{key}`{behind}"),
        }
    };
    let mut message = message.to_owned();
    for switch in SWITCHES {
        message =
            message.replace(&format!("say {switch}"), &format!("say `{} = true`", switch.trim_start_matches('-')));
    }
    message.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

/// Reads a text that means something, such as a size; a number or truth value in its place is answered as the same in quotes is.
pub(super) fn text<'de, D: Deserializer<'de>, T>(
    read: impl FnOnce(&str) -> Result<T, String>,
    deserializer: D,
) -> Result<T, D::Error> {
    struct Text<R>(R);

    impl<R: FnOnce(&str) -> Result<T, String>, T> Text<R> {
        fn unquoted<E: Error>(self, value: &dyn fmt::Display) -> E {
            match (self.0)(&value.to_string()) {
                Err(message) => E::custom(format!("{message}, in quotes")),
                Ok(_) => E::custom(format!("{value} stands in quotes here: \"{value}\"")),
            }
        }
    }

    impl<R: FnOnce(&str) -> Result<T, String>, T> Visitor<'_> for Text<R> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a text in quotes")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
            (self.0)(text).map_err(E::custom)
        }

        fn visit_i64<E: Error>(self, number: i64) -> Result<T, E> {
            Err(self.unquoted(&number))
        }

        fn visit_u64<E: Error>(self, number: u64) -> Result<T, E> {
            Err(self.unquoted(&number))
        }

        fn visit_f64<E: Error>(self, number: f64) -> Result<T, E> {
            Err(self.unquoted(&number))
        }

        fn visit_bool<E: Error>(self, truth: bool) -> Result<T, E> {
            Err(self.unquoted(&truth))
        }
    }

    deserializer.deserialize_str(Text(read))
}

/// How serde begins what it says, and how people say it.
const BEGINNINGS: [(&str, &str); 4] = [
    ("unknown field ", "unknown key "),
    ("missing field ", "missing key "),
    ("duplicate field ", "twice the key "),
    ("unknown variant ", "unknown value "),
];

/// What serde expects, and what people call it.
const EXPECTED: [(&str, &str); 5] = [
    ("a sequence", "a list, as in [\"a\", \"b\"], or tables, as in [[module]]"),
    ("a map", "a table, as in { a = \"b\" }"),
    ("a boolean", "true or false"),
    ("path string", "a path"),
    ("f64", "a number without quotes"),
];

/// The message in plain words. What it quotes of the file stays as it is.
pub(super) fn plain(message: &str) -> String {
    let begin = BEGINNINGS.iter().find_map(|(theirs, ours)| Some((message.strip_prefix(theirs)?, *ours)));
    let (rest, begin) = begin.unwrap_or((message, ""));
    let expected = rest.rsplit_once(", expected ").and_then(|(found, expected)| {
        let (_, ours) = EXPECTED.iter().find(|(theirs, _)| *theirs == expected)?;
        Some(format!("{found}, expected {ours}"))
    });
    format!("{begin}{}", expected.as_deref().unwrap_or(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_about_flags_becomes_one_about_keys() {
        for (flags, keys) in [
            ("--state-dir keeps what, and: leave it out", "`state-dir` keeps what, and: leave it out"),
            ("say --controller too, or leave --no-node out", "say `controller = true` too, or leave `no-node` out"),
            ("--listen tls://… needs --tls-cert, (--module)", "`listen` tls://… needs `tls-cert`, ([[module]])"),
        ] {
            assert_eq!(in_keys(flags), keys);
        }
    }

    #[test]
    fn words_of_rust_are_replaced_where_they_stand_and_not_in_what_is_quoted() {
        for (theirs, ours) in [
            ("unknown field `a`, expected `b`", "unknown key `a`, expected `b`"),
            ("missing field `path`", "missing key `path`"),
            ("invalid type: integer `5`, expected a boolean", "invalid type: integer `5`, expected true or false"),
            (
                "invalid type: string \", expected a map\", expected u",
                "invalid type: string \", expected a map\", expected u",
            ),
            ("it is unknown field ", "it is unknown field "),
        ] {
            assert_eq!(plain(theirs), ours);
        }
    }
}
