//! Sizes and times as people write them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use daffi_proto::call::{MAX_TIMEOUT, MIN_TIMEOUT};

/// A number of bytes: `64MiB`, `10MB`, `512KiB`, `4096`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub usize);

/// The units, in the order in which they are tried for showing.
const UNITS: [(&str, u64); 8] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("KB", 1_000),
    ("B", 1),
];

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("{text:?} is no size: write a number with B, KiB, MiB or GiB, such as 256MiB");
        let text = text.trim();
        let unit = UNITS.iter().find(|(unit, _)| text.ends_with(unit));
        let (digits, factor) = match unit {
            Some((unit, factor)) => (text.strip_suffix(unit).unwrap_or(text).trim_end(), *factor),
            None => (text, 1),
        };
        let number: u64 = digits.parse().map_err(|_| bad())?;
        let bytes = number.checked_mul(factor).and_then(|bytes| usize::try_from(bytes).ok()).ok_or_else(bad)?;
        Ok(Self(bytes))
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.0 as u64;
        let whole = UNITS.iter().find(|(_, factor)| bytes > 0 && bytes.is_multiple_of(*factor));
        match whole {
            Some((unit, factor)) => write!(f, "{}{unit}", bytes / factor),
            None => write!(f, "{bytes}B"),
        }
    }
}

impl serde::Serialize for ByteSize {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A number of processors, `0.5` or `2`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Processors {
    /// Thousandths of one.
    pub thousandths: u32,
}

impl Processors {
    /// So many; what is no number or below 0 is none, and there are 4 million at most.
    pub fn new(number: f64) -> Self {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is within the bounds of a u32")]
        let thousandths = (number * 1000.0).round().clamp(0.0, f64::from(u32::MAX)) as u32;
        Self { thousandths }
    }
}

impl serde::Serialize for Processors {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(f64::from(self.thousandths) / 1000.0)
    }
}

/// Reads a time: `500ms`, `30s`, `1.5m`, `1h 30m`; from [`MIN_TIMEOUT`] to [`MAX_TIMEOUT`], as everywhere. Every sum of a
/// few of them and a clock's time can be counted.
///
/// # Errors
/// A message that shows how it is written, or what its bounds are.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    within(text, MIN_TIMEOUT)
}

/// Reads a delay: as [`parse_duration`], and none is one, `0` too.
///
/// # Errors
/// The same.
pub fn parse_delay(text: &str) -> Result<Duration, String> {
    if text.trim() == "0" { Ok(Duration::ZERO) } else { within(text, Duration::ZERO) }
}

fn within(text: &str, least: Duration) -> Result<Duration, String> {
    let time = daffi_proto::schedule::parse_duration(text).map_err(|_| {
        format!("{text:?} is no time: write a number with ms, s, m, h or days, such as 500ms, 30s or 1m 30s")
    })?;
    if !(least..=MAX_TIMEOUT).contains(&time) {
        let least = if least.is_zero() { "0" } else { "1ms" };
        return Err(format!("{text:?} is out of bounds: a time here is from {least} to 7days"));
    }
    Ok(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_and_without_units() {
        for (text, bytes) in [("64MiB", 64 << 20), ("1 GiB", 1 << 30), ("10kB", 10_000), ("17", 17), ("5B", 5)] {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
        }
        for text in ["", "MiB", "-1", "1.5MiB", "1TiB", "99999999999GiB"] {
            assert!(text.parse::<ByteSize>().unwrap_err().contains("such as 256MiB"), "{text}");
        }
    }

    #[test]
    fn sizes_are_shown_in_the_largest_unit_that_fits() {
        for text in ["64MiB", "1GiB", "3B", "10KiB"] {
            assert_eq!(text.parse::<ByteSize>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn times_are_read_with_units_only() {
        assert_eq!(parse_duration("1m 30s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration("1.5m"), Ok(Duration::from_secs(90)));
        assert!(parse_duration("30").is_err());
        assert!(parse_duration("-5s").unwrap_err().contains("such as 500ms"));
        for text in ["0s", "1us", "8days", "9999999y"] {
            assert!(parse_duration(text).unwrap_err().contains("from 1ms to 7days"), "{text}");
        }
        assert_eq!(parse_duration("7 days"), Ok(MAX_TIMEOUT));
    }

    #[test]
    fn a_delay_may_be_none() {
        for text in ["0", " 0 ", "0s", "0ms"] {
            assert_eq!(parse_delay(text), Ok(Duration::ZERO), "{text}");
        }
        assert_eq!(parse_delay("5m"), Ok(Duration::from_secs(300)));
        assert!(parse_delay("8days").unwrap_err().contains("from 0 to 7days"));
        assert!(parse_delay("-5s").unwrap_err().contains("such as 500ms"));
    }
}
