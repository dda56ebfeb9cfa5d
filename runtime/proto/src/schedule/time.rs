//! The two times that come in: monotonic, and UTC.
//!
//! Invariant: a [`Utc`] lies between 1970 and the end of 9999, so that it can always be written, and sums of two never
//! overflow: arithmetic stops at the borders.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{ScheduleError, cut};

/// A time of UTC, to the microsecond. Leap seconds are not counted, as in Unix time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Utc(u64);

/// What time it is: both clocks, read together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// Since the node's start; never goes back.
    pub mono: Duration,
    /// What the machine takes for UTC; may be set forwards and back.
    pub utc: Utc,
}

impl Utc {
    /// The last microsecond of the year 9999.
    pub const MAX: Self = Self(253_402_300_800_000_000 - 1);

    /// Microseconds since 1970; cut to [`Utc::MAX`].
    pub fn from_micros(micros: u64) -> Self {
        Self(micros).min(Self::MAX)
    }

    /// Seconds and nanoseconds since 1970, as `wasi:clocks` tells them; cut to [`Utc::MAX`].
    pub fn from_unix(seconds: u64, nanoseconds: u32) -> Self {
        Self::from_micros(seconds.saturating_mul(1_000_000).saturating_add(u64::from(nanoseconds / 1000)))
    }

    /// Milliseconds since 1970, as guests tell them.
    ///
    /// # Errors
    /// [`ScheduleError::BadTime`] beyond the year 9999.
    pub fn from_unix_millis(millis: u64) -> Result<Self, ScheduleError> {
        let micros = millis.checked_mul(1000).filter(|micros| *micros <= Self::MAX.0);
        let why = "it is beyond the year 9999, counted in milliseconds since 1970";
        micros.map(Self).ok_or_else(|| ScheduleError::BadTime { text: millis.to_string(), why })
    }

    /// Whole milliseconds since 1970.
    pub fn as_millis(self) -> u64 {
        self.0 / 1000
    }

    /// Microseconds since 1970.
    pub fn as_micros(self) -> u64 {
        self.0
    }

    /// Whole seconds since 1970.
    pub fn as_seconds(self) -> u64 {
        self.0 / 1_000_000
    }

    /// That much later.
    #[must_use]
    pub fn plus(self, time: Duration) -> Self {
        Self::from_micros(self.0.saturating_add(micros(time)))
    }

    /// That much earlier.
    #[must_use]
    pub fn minus(self, time: Duration) -> Self {
        Self(self.0.saturating_sub(micros(time)))
    }

    /// How long after `earlier` it is; zero if it is not.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

impl From<SystemTime> for Utc {
    /// A machine that believes to live before 1970 is taken to live in 1970.
    fn from(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self::from_micros(micros(since))
    }
}

impl fmt::Display for Utc {
    /// RFC 3339, with microseconds where there are any.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = UNIX_EPOCH + Duration::from_micros(self.0);
        match self.0 % 1_000_000 {
            0 => humantime::format_rfc3339_seconds(time).fmt(f),
            _ => humantime::format_rfc3339_micros(time).fmt(f),
        }
    }
}

impl fmt::Debug for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Utc {
    type Err = ScheduleError;

    /// Reads RFC 3339, in UTC or with an offset from it; what is finer than a microsecond is cut off.
    fn from_str(text: &str) -> Result<Self, ScheduleError> {
        let bad = |why| ScheduleError::BadTime { text: cut(text), why };
        let upper = text.trim().to_ascii_uppercase();
        let (local, offset) = split_zone(&upper).ok_or_else(|| bad("it must end in Z or in an offset like +02:00"))?;
        if !is_plain(local) {
            return Err(bad("its form is wrong"));
        }
        let local = humantime::parse_rfc3339(&format!("{local}Z")).map_err(|error| match error {
            humantime::TimestampError::OutOfRange => bad("there is no such day or time from 1970 to 9999"),
            _ => bad("its form is wrong"),
        })?;
        let micros = i64::try_from(Self::from(local).0).ok().and_then(|micros| micros.checked_sub(offset));
        let utc = micros.and_then(|micros| u64::try_from(micros).ok()).map(Self).filter(|utc| *utc <= Self::MAX);
        utc.ok_or_else(|| bad("it is not between 1970 and 9999"))
    }
}

/// Whether a time without its zone is as long as it should be. The library passes over a few bytes behind it.
fn is_plain(local: &str) -> bool {
    match local.split_once('.') {
        Some((whole, rest)) => whole.len() == 19 && !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()),
        None => local.len() == 19,
    }
}

/// The time without its zone, and how far the zone is ahead of UTC, in microseconds.
fn split_zone(text: &str) -> Option<(&str, i64)> {
    if let Some(utc) = text.strip_suffix('Z') {
        return Some((utc, 0));
    }
    let (local, zone) = text.split_at_checked(text.len().checked_sub("+00:00".len())?)?;
    let sign = match zone.get(..1)? {
        "+" => 1,
        "-" => -1,
        _ => return None,
    };
    let (hours, minutes) = zone.get(1..)?.split_once(':')?;
    let number = |digits: &str, most: i64| {
        let plain = digits.len() == 2 && digits.bytes().all(|digit| digit.is_ascii_digit());
        digits.parse::<i64>().ok().filter(|number| plain && *number <= most)
    };
    Some((local, sign * (number(hours, 23)? * 60 + number(minutes, 59)?) * 60_000_000))
}

/// A number on links, RFC 3339 in files.
impl Serialize for Utc {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() { serializer.collect_str(self) } else { serializer.serialize_u64(self.0) }
    }
}

impl<'de> Deserialize<'de> for Utc {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
        } else {
            u64::deserialize(deserializer).map(Self::from_micros)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utc(text: &str) -> Utc {
        text.parse().unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn times_are_written_as_they_are_read() {
        for text in ["1970-01-01T00:00:00Z", "2024-02-29T23:59:59Z", "9999-12-31T23:59:59.999999Z"] {
            assert_eq!(utc(text).to_string(), text);
        }
        assert_eq!(utc("9999-12-31T23:59:59.999999999Z"), Utc::MAX);
        assert_eq!(utc(" 2026-05-04t12:30:00.5z "), Utc::from_unix(1_777_897_800, 500_000_000));
    }

    #[test]
    fn milliseconds_are_taken_up_to_the_last_year_that_can_be_written() {
        assert_eq!(Utc::from_unix_millis(1_777_897_800_500).unwrap().as_millis(), 1_777_897_800_500);
        assert_eq!(Utc::from_unix_millis(Utc::MAX.as_millis()).unwrap().to_string(), "9999-12-31T23:59:59.999000Z");
        for millis in [Utc::MAX.as_millis() + 1, u64::MAX] {
            assert!(Utc::from_unix_millis(millis).unwrap_err().to_string().contains("beyond the year 9999"));
        }
    }

    #[test]
    fn an_offset_is_taken_off() {
        assert_eq!(utc("2026-01-01T01:30:00+02:00"), utc("2025-12-31T23:30:00Z"));
        assert_eq!(utc("2026-01-01T01:30:00-00:30"), utc("2026-01-01T02:00:00Z"));
    }

    #[test]
    fn what_is_no_time_is_told_with_the_reason_on_one_line() {
        let bad = [
            ("", "must end in Z"),
            ("2026-05-04T12:30:00", "must end in Z"),
            ("2026-05-04", "must end in Z"),
            ("2026-05-04T12:30:00+1:000", "must end in Z"),
            ("2026-05-04T12:30:00+24:00", "must end in Z"),
            ("tomorrow at noon Z", "form is wrong"),
            ("2026-02-29T00:00:00Z", "no such day"),
            ("2026-05-04T25:00:00Z", "no such day"),
            ("1969-12-31T23:59:59Z", "no such day"),
            ("1970-01-01T00:30:00+01:00", "not between 1970 and 9999"),
            ("9999-12-31T23:30:00-01:00", "not between 1970 and 9999"),
            ("2026-05-04T12:30:00Z\nZ", "form is wrong"),
            ("2026-05-04T12:30:00ZZZZ", "form is wrong"),
            ("2026-05-04T12:30:00.Z", "form is wrong"),
            ("2026-05-04 12:30:00Z", "form is wrong"),
            ("äöü-05-04T12:30:00Z", "form is wrong"),
            ("2026-05-04T12:30:00+äö:00", "must end in Z"),
        ];
        for (text, why) in bad {
            let error = text.parse::<Utc>().unwrap_err().to_string();
            assert!(error.contains(why) && !error.contains('\n'), "{text}: {error}");
        }
    }

    #[test]
    fn arithmetic_stops_at_the_borders() {
        assert_eq!(Utc::MAX.plus(Duration::MAX), Utc::MAX);
        assert_eq!(Utc::default().minus(Duration::from_secs(1)), Utc::default());
        assert_eq!(Utc::default().since(Utc::MAX), Duration::ZERO);
        assert_eq!(Utc::from_unix(u64::MAX, u32::MAX), Utc::MAX);
        assert_eq!(Utc::from(UNIX_EPOCH - Duration::from_secs(5)), Utc::default());
    }
}
