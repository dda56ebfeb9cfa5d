//! Cron expressions, in UTC.
//!
//! Five fields (`minute hour day month weekday`), or six with seconds in front; lists, ranges, steps, names, `L`, `W`,
//! `#`, and `@daily` and its like. Where both the day and the weekday are given, either will do, as in cron(8).
//!
//! croner reads the fields and walks the calendar. It takes a few texts that no day fits (an empty list; `L` alone as
//! the weekday) and then walks up to the year 5000, a second at a time at worst; it replaces names anywhere, so that
//! `1FEB` is December. So a text must first be a sentence of the grammar below, in which every field holds a value,
//! and the walk ends at [`HORIZON_YEARS`]: that bounds the work for any text by some thousand steps.
//!
//! ```text
//! expression = @name | [seconds] minute hour day month weekday
//! field      = item { , item }                  day:     … | L | LW | number W
//! item       = ( * | range ) [ / number ]       weekday: … | range # number | range # L | number L
//! range      = atom [ - atom ]                  both:    ?
//! atom       = one to two digits | the name of a month or a weekday
//! ```

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use croner::errors::CronError;
use croner::parser::{CronParser, Seconds, Year};
use croner::{CivilDate, CivilDateTime, CivilTime, CronDateTime, Resolution, Weekday};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::time::Utc;
use super::{ScheduleError, cut};

/// Longest text of a cron expression.
pub const MAX_CRON_BYTES: usize = 256;

/// How far ahead an expression is looked for: more than the 40 years between the rarest days that it can name, the
/// fifth Mondays of February around the year 2100.
const HORIZON_YEARS: i32 = 50;

const SECONDS_PER_DAY: i64 = 86_400;

const NICKNAMES: [&str; 6] = ["@YEARLY", "@ANNUALLY", "@MONTHLY", "@WEEKLY", "@DAILY", "@HOURLY"];
/// What the fields are called, and what they may be.
const FIELDS: [(&str, &str); 6] = [
    ("second", "0 to 59"),
    ("minute", "0 to 59"),
    ("hour", "0 to 23"),
    ("day", "1 to 31"),
    ("month", "1 to 12 or JAN to DEC"),
    ("weekday", "0 to 7 or SUN to SAT"),
];
const MONTHS: [&str; 12] = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const WEEKDAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

/// A cron expression that was read. It may still never come: see [`Cron::after`].
#[derive(Clone)]
pub struct Cron {
    text: Arc<str>,
    fields: Arc<croner::Cron>,
}

impl Cron {
    /// The expression as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The first time that it names after this one; none if there is none for [`HORIZON_YEARS`], which is never. After
    /// the year 5000 no expression names any.
    pub fn after(&self, time: Utc) -> Option<Utc> {
        let start = Instant::new(time)?;
        self.fields.find_next_occurrence(&start, false).ok().and_then(Instant::utc)
    }

    /// The last time that it names, up to this one and that one included.
    pub fn up_to(&self, time: Utc) -> Option<Utc> {
        let start = Instant::new(time)?;
        self.fields.find_previous_occurrence(&start, true).ok().and_then(Instant::utc)
    }
}

impl FromStr for Cron {
    type Err = ScheduleError;

    fn from_str(source: &str) -> Result<Self, ScheduleError> {
        let bad = |why: String| ScheduleError::BadCron { text: cut(source), why };
        if source.len() > MAX_CRON_BYTES {
            return Err(bad(format!("it has {} bytes, {MAX_CRON_BYTES} are allowed", source.len())));
        }
        let text = source.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
        let upper = text.to_ascii_uppercase();
        well_formed(&upper).map_err(bad)?;
        let parser = CronParser::builder().seconds(Seconds::Optional).year(Year::Disallowed).build();
        let fields = parser.parse(&upper).map_err(|error| bad(wrong_field(&parser, &upper, &error)))?;
        Ok(Self { text: text.into(), fields: Arc::new(fields) })
    }
}

/// Which field the library does not take, what may stand there, and its reason.
fn wrong_field(parser: &CronParser, text: &str, error: &CronError) -> String {
    let fields: Vec<&str> = text.split_ascii_whitespace().collect();
    let skipped = FIELDS.len().saturating_sub(fields.len());
    for (at, (field, (name, bounds))) in fields.iter().zip(FIELDS.iter().skip(skipped)).enumerate() {
        // By itself, so that it is its own fault.
        let alone = (0..fields.len()).map(|other| if other == at { *field } else { "*" });
        if let Err(error) = parser.parse(&alone.collect::<Vec<_>>().join(" ")) {
            return format!("its {name} {field:?}, of {bounds}: {}", plain(&error));
        }
    }
    plain(error)
}

/// The library's reason, as the middle of a sentence.
fn plain(error: &CronError) -> String {
    match error {
        CronError::ComponentError(why) | CronError::InvalidPattern(why) | CronError::IllegalCharacters(why) => {
            why.trim_end_matches('.').to_owned()
        }
        other => other.to_string(),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Field {
    Time,
    Day,
    Month,
    Weekday,
}

/// Whether an upper-case text is a sentence of the grammar at the top; its numbers may still be out of range.
fn well_formed(text: &str) -> Result<(), String> {
    if text.starts_with('@') {
        let known = NICKNAMES.contains(&text);
        return if known { Ok(()) } else { Err(format!("known are {}", NICKNAMES.join(", ").to_ascii_lowercase())) };
    }
    let fields: Vec<&str> = text.split_ascii_whitespace().collect();
    let kinds = [Field::Time, Field::Time, Field::Time, Field::Day, Field::Month, Field::Weekday];
    let Some(skipped) = kinds.len().checked_sub(fields.len()).filter(|skipped| *skipped <= 1) else {
        return Err(format!("it has {} fields, 5 or, with seconds in front, 6 are needed", fields.len()));
    };
    for (field, kind) in fields.iter().zip(kinds.iter().skip(skipped)) {
        if let Some(item) = field.split(',').find(|item| !is_item(item, *kind)) {
            return Err(format!("{item:?} in its field {field:?} means nothing"));
        }
    }
    Ok(())
}

fn is_item(item: &str, kind: Field) -> bool {
    let by_kind = match kind {
        Field::Day => item == "?" || item == "L" || item == "LW" || item.strip_suffix('W').is_some_and(is_number),
        Field::Weekday => match item.split_once('#') {
            Some((range, nth)) => is_range(range, kind) && (nth == "L" || is_number(nth)),
            None => item == "?" || item.strip_suffix('L').is_some_and(is_number),
        },
        Field::Time | Field::Month => false,
    };
    let (range, step) = item.split_once('/').unwrap_or((item, "1"));
    by_kind || is_number(step) && (range == "*" || is_range(range, kind))
}

fn is_range(range: &str, kind: Field) -> bool {
    let is_atom = |atom: &str| match kind {
        Field::Month => is_number(atom) || MONTHS.contains(&atom),
        Field::Weekday => is_number(atom) || WEEKDAYS.contains(&atom),
        Field::Time | Field::Day => is_number(atom),
    };
    match range.split_once('-') {
        Some((from, to)) => is_atom(from) && is_atom(to),
        None => is_atom(range),
    }
}

fn is_number(text: &str) -> bool {
    matches!(text.len(), 1 | 2) && text.bytes().all(|digit| digit.is_ascii_digit())
}

/// A second of UTC on the library's walk, which ends at the horizon.
#[derive(Clone)]
struct Instant {
    seconds: i64,
    /// The years in which the walk stays.
    years: (i32, i32),
}

impl Instant {
    fn new(time: Utc) -> Option<Self> {
        let seconds = i64::try_from(time.as_seconds()).ok()?;
        let year = civil(seconds)?.year();
        Some(Self { seconds, years: (year - HORIZON_YEARS, year + HORIZON_YEARS) })
    }

    fn utc(self) -> Option<Utc> {
        u64::try_from(self.seconds).ok().map(|seconds| Utc::from_unix(seconds, 0)).filter(|time| *time < Utc::MAX)
    }
}

impl CronDateTime for Instant {
    fn to_civil(&self) -> CivilDateTime {
        // Within the horizon there is always a date; the other value is never seen.
        let nowhere = CivilDateTime::new(CivilDate::from_parts_unchecked(1970, 1, 1), CivilTime::MIDNIGHT);
        civil(self.seconds).unwrap_or(nowhere)
    }

    fn civil_weekday(&self) -> Weekday {
        // The first of January 1970 was a Thursday.
        let days = self.seconds.div_euclid(SECONDS_PER_DAY) + 4;
        Weekday::from_days_from_sunday(u32::try_from(days.rem_euclid(7)).unwrap_or_default())
    }

    fn resolve_civil(&self, civil: CivilDateTime) -> Result<Resolution<Self>, CronError> {
        if !(self.years.0..=self.years.1).contains(&civil.year()) {
            return Err(CronError::TimeSearchLimitExceeded);
        }
        Ok(Resolution::Single(Self { seconds: seconds(civil), years: self.years }))
    }

    fn checked_add_seconds(&self, seconds: i64) -> Option<Self> {
        Some(Self { seconds: self.seconds.checked_add(seconds)?, years: self.years })
    }

    fn cmp_instant(&self, other: &Self) -> Ordering {
        self.seconds.cmp(&other.seconds)
    }
}

/// Seconds since 1970 as a date and a time. Years are counted from March, so that the day that is not always there
/// comes last; 400 of them have 146,097 days.
fn civil(seconds: i64) -> Option<CivilDateTime> {
    let days = seconds.div_euclid(SECONDS_PER_DAY) + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year + i64::from(month <= 2);
    let time = seconds.rem_euclid(SECONDS_PER_DAY);
    let part = |number: i64| u32::try_from(number).ok();
    CivilDateTime::from_ymd_hms_opt(
        i32::try_from(year).ok()?,
        part(month)?,
        part(day)?,
        part(time / 3600)?,
        part(time / 60 % 60)?,
        part(time % 60)?,
    )
}

/// The counterpart of [`civil`].
fn seconds(civil: CivilDateTime) -> i64 {
    let (month, day) = (i64::from(civil.month()), i64::from(civil.day()));
    let year = i64::from(civil.year()) - i64::from(month <= 2);
    let (era, year) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = era * 146_097 + year * 365 + year / 4 - year / 100 + day_of_year - 719_468;
    let time = i64::from(civil.hour()) * 3600 + i64::from(civil.minute()) * 60 + i64::from(civil.second());
    days * SECONDS_PER_DAY + time
}

impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

impl PartialEq for Cron {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Cron {}

impl Serialize for Cron {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Cron {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
#[path = "cron_tests.rs"]
mod tests;
