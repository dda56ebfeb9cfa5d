//! Durations as people write them.

use std::time::Duration;

use super::{ScheduleError, cut};

/// Longest text of a duration.
pub const MAX_DURATION_BYTES: usize = 128;

/// Reads a duration: `500ms`, `5s`, `1m24s`, `1.2 minutes`, `1h 30m`, `2 days`.
///
/// Only what a schedule or a deadline makes of it has bounds: zero is a duration here.
///
/// # Errors
/// [`ScheduleError::BadDuration`], which shows how it is written; for a number without a unit too.
pub fn parse_duration(text: &str) -> Result<Duration, ScheduleError> {
    let bad = || ScheduleError::BadDuration { text: cut(text) };
    let trimmed = text.trim();
    if trimmed.len() > MAX_DURATION_BYTES || has_split_number(trimmed) {
        return Err(bad());
    }
    humantime::parse_duration(trimmed).map_err(|_| bad())
}

/// Whether a blank stands within a number: the library would read `1 2s` as twelve seconds.
fn has_split_number(text: &str) -> bool {
    let words: Vec<&str> = text.split_whitespace().collect();
    let ends_open = |word: &str| word.ends_with(|c: char| c.is_ascii_digit() || c == '.');
    let goes_on = |word: &str| word.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    words.windows(2).any(|pair| matches!(pair, [a, b] if ends_open(a) && goes_on(b)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_with_units_fractions_and_blanks() {
        let good = [
            ("500ms", 500),
            ("5s", 5_000),
            ("1m24s", 84_000),
            ("1.2 minutes", 72_000),
            ("1h 30m", 5_400_000),
            (" 0.25s ", 250),
            ("2 days", 172_800_000),
            ("1.5h30min", 7_200_000),
        ];
        for (text, millis) in good {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_told_with_an_example() {
        let long = "1s".repeat(MAX_DURATION_BYTES);
        for text in
            ["", "5", "-5s", "s", "1 2s", "1. 2s", "1.2.3s", "1..s", "5 parsecs", "99999999999999999999h", &long]
        {
            let error = parse_duration(text).unwrap_err().to_string();
            assert!(error.contains("such as 500ms") && error.len() < 250, "{text}: {error}");
        }
    }
}
