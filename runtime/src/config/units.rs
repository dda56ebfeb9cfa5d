//! Sizes and times as people write them.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use daffi_proto::call::{MAX_TIMEOUT, MIN_TIMEOUT};

/// A number of bytes: `64MiB`, `512KiB`, `4096B`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub usize);

/// The units, in the order in which they are tried for showing. Those of ten are none: who writes 64MB may mean either.
const UNITS: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// The units of times.
const TIME_UNITS: [&str; 6] = ["ms", "s", "m", "h", "day", "days"];

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("{text:?} is no size: write a number with B, KiB, MiB or GiB, such as 256MiB");
        let (number, unit) = split(text.trim()).ok_or_else(bad)?;
        let (_, factor) = UNITS.iter().find(|(known, _)| *known == unit).ok_or_else(bad)?;
        let number: u64 = number.parse().map_err(|_| bad())?;
        let bytes = number.checked_mul(*factor).and_then(|bytes| usize::try_from(bytes).ok()).ok_or_else(bad)?;
        Ok(Self(bytes))
    }
}

/// A number and what stands behind it, without blanks between them.
fn split(text: &str) -> Option<(&str, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = text.split_at_checked(end)?;
    Some((number, unit.trim_start()))
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

/// Reads where something listens: an address with its port. Names are not looked up.
///
/// # Errors
/// A message that shows how it is written.
pub fn parse_address(text: &str) -> Result<SocketAddr, String> {
    let text = text.trim();
    let bad = |example: &str| format!("{text:?} is no address: write one with its port, such as {example}");
    text.parse().map_err(|_| match text.rsplit_once(':').map_or(text, |(_, port)| port).parse::<u16>() {
        Ok(port) => bad(&format!("127.0.0.1:{port}")),
        Err(_) => bad("127.0.0.1:9464"),
    })
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
    let bad = || format!("{text:?} is no time: write a number with ms, s, m, h or days, such as 500ms, 30s or 1m 30s");
    // The library knows many more units, and some that are written alike.
    let units = text.split(|c: char| !c.is_ascii_alphabetic()).filter(|unit| !unit.is_empty());
    if !units.into_iter().all(|unit| TIME_UNITS.contains(&unit)) {
        return Err(bad());
    }
    let time = daffi_proto::schedule::parse_duration(text).map_err(|_| bad())?;
    if time.subsec_nanos() % 1_000_000 != 0 {
        return Err(bad());
    }
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
    fn sizes_are_read_with_the_units_that_are_documented_and_no_others() {
        for (text, bytes) in [("64MiB", 64 << 20), ("1 GiB", 1 << 30), (" 10KiB ", 10 << 10), ("17B", 17), ("0B", 0)] {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
        }
        for text in
            ["", "MiB", "-1", "-1MiB", "17", "1.5MiB", "1TiB", "64MB", "10kB", "1 K iB", "64mib", "99999999999GiB"]
        {
            assert!(text.parse::<ByteSize>().unwrap_err().contains("such as 256MiB"), "{text}");
        }
    }

    #[test]
    fn sizes_are_shown_in_the_largest_unit_that_fits() {
        for text in ["64MiB", "1GiB", "3B", "10KiB", "1000000B", "0B"] {
            assert_eq!(text.parse::<ByteSize>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn times_are_read_with_units_only() {
        assert_eq!(parse_duration("1m 30s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration("1.5m"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration("1day"), Ok(Duration::from_secs(24 * 3600)));
        for text in ["30", "-5s", "30sec", "1 hour 30sec", "1min", "1M", "1us", "1y", "1µs", "0.0015s", "1 m s"] {
            assert!(parse_duration(text).unwrap_err().contains("such as 500ms"), "{text}");
        }
        for text in ["0s", "8days", "9999999h"] {
            assert!(parse_duration(text).unwrap_err().contains("from 1ms to 7days"), "{text}");
        }
        assert_eq!(parse_duration("7 days"), Ok(MAX_TIMEOUT));
    }

    #[test]
    fn an_address_has_a_port_and_a_mistake_shows_one() {
        assert_eq!(parse_address("[::1]:80").unwrap().port(), 80);
        for (text, example) in [
            ("19465", "such as 127.0.0.1:19465"),
            (":19465", "such as 127.0.0.1:19465"),
            ("localhost:19466", "such as 127.0.0.1:19466"),
            ("127.0.0.1", "such as 127.0.0.1:9464"),
            ("127.0.0.1:70000", "such as 127.0.0.1:9464"),
        ] {
            let error = parse_address(text).unwrap_err();
            assert!(error.starts_with(&format!("{text:?} is no address")) && error.ends_with(example), "{error}");
        }
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
