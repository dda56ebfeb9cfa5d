//! Cron expressions: what is taken, which times they name, and that no text costs much.

use std::cell::Cell;
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::*;

fn cron(text: &str) -> Cron {
    text.parse().unwrap_or_else(|error| panic!("{error}"))
}

fn utc(text: &str) -> Utc {
    text.parse().unwrap()
}

#[track_caller]
fn names(text: &str, from: &str, times: &[&str]) {
    let cron = cron(text);
    let mut at = utc(from);
    for time in times {
        at = cron.after(at).unwrap();
        assert_eq!(at, utc(time), "{text}");
        assert_eq!(cron.up_to(at), Some(at), "{text}");
    }
}

#[test]
fn the_usual_expressions_name_the_usual_times() {
    let noon = "2026-05-04T12:00:00.5Z"; // a Monday
    names("* * * * *", noon, &["2026-05-04T12:01:00Z", "2026-05-04T12:02:00Z"]);
    names("* * * * * *", noon, &["2026-05-04T12:00:01Z", "2026-05-04T12:00:02Z"]);
    names("30 4 * * MON-FRI", noon, &["2026-05-05T04:30:00Z", "2026-05-06T04:30:00Z"]);
    names("*/20 9-10 * * *", noon, &["2026-05-05T09:00:00Z", "2026-05-05T09:20:00Z"]);
    names("0 0 1,15 * *", noon, &["2026-05-15T00:00:00Z", "2026-06-01T00:00:00Z"]);
    names("0 0 L FEB *", noon, &["2027-02-28T00:00:00Z", "2028-02-29T00:00:00Z"]);
    names("0 0 * * 7", noon, &["2026-05-10T00:00:00Z"]);
    names("0 0 * * FRI-SUN", noon, &["2026-05-08T00:00:00Z", "2026-05-09T00:00:00Z", "2026-05-10T00:00:00Z"]);
    names("0 12 ? * MON#1", noon, &["2026-06-01T12:00:00Z", "2026-07-06T12:00:00Z"]);
    names("0 0 15W * *", noon, &["2026-05-15T00:00:00Z", "2026-06-15T00:00:00Z"]);
    names("0 0 * * 5L", noon, &["2026-05-29T00:00:00Z"]);
    names("@daily", noon, &["2026-05-05T00:00:00Z"]);
    names("  @Weekly ", noon, &["2026-05-10T00:00:00Z"]);
}

#[test]
fn a_day_and_a_weekday_are_either_as_in_cron() {
    names("0 0 13 * FRI", "2026-05-04T00:00:00Z", &["2026-05-08T00:00:00Z", "2026-05-13T00:00:00Z"]);
}

#[test]
fn the_rarest_days_are_found_and_days_that_never_come_are_not() {
    names("0 0 29 2 *", "2096-03-01T00:00:00Z", &["2104-02-29T00:00:00Z"]);
    names("0 0 * 2 MON#5", "2072-03-01T00:00:00Z", &["2112-02-29T00:00:00Z"]);
    for text in ["0 0 30 2 *", "0 0 31 4 *", "0 0 31 2,4,6,9,11 *", "* * * 30,31 FEB ?"] {
        assert_eq!(cron(text).after(utc("2026-01-01T00:00:00Z")), None, "{text}");
        assert_eq!(cron(text).up_to(utc("2026-01-01T00:00:00Z")), None, "{text}");
    }
}

#[test]
fn a_time_is_after_and_never_at_the_one_asked_for() {
    let hourly = cron("@hourly");
    assert_eq!(hourly.after(utc("2026-01-01T00:00:00Z")), Some(utc("2026-01-01T01:00:00Z")));
    assert_eq!(hourly.after(utc("2026-01-01T00:59:59.999999Z")), Some(utc("2026-01-01T01:00:00Z")));
    assert_eq!(hourly.up_to(utc("2026-01-01T00:59:59.999999Z")), Some(utc("2026-01-01T00:00:00Z")));
}

#[test]
fn the_ends_of_time_have_no_time_beyond() {
    let daily = cron("@daily");
    assert_eq!(daily.after(Utc::MAX), None);
    assert_eq!(daily.after(utc("5000-12-31T00:00:00Z")), None);
    assert_eq!(daily.up_to(Utc::MAX), None);
    assert_eq!(daily.up_to(Utc::default()), Some(Utc::default()));
    assert_eq!(cron("0 12 * * *").up_to(Utc::default()), None);
}

#[test]
fn hostile_texts_are_refused_with_the_reason_on_one_short_line() {
    let long = "*,".repeat(MAX_CRON_BYTES);
    let bad = [
        "",
        "@",
        "@reboot",
        "@daily @daily",
        "* * * *",
        "* * * * * * *",
        ", * * * *",
        "*,, * * * *",
        "* * , * *",
        "* * * * L",
        "* * * * +1",
        "* * 1 1FEB *",
        "* * 1 JANFEB *",
        "* * * * FRIDAY",
        "* * * MON *",
        "60 * * * *",
        "* 24 * * *",
        "* * 0 * *",
        "* * 32 * *",
        "* * * 13 *",
        "* * * * 8",
        "5-1 * * * *",
        "*/0 * * * *",
        "5/10 * * * *",
        "/5 * * * *",
        "1-2-3 * * * *",
        "*/5/5 * * * *",
        "-1 * * * *",
        "999999999999 * * * *",
        "* * 0W * *",
        "* * * * 1#0",
        "* * * * 1#6",
        "* * * * 1#1#1",
        "* * * * #",
        "L * * * *",
        "* * * * \u{663}",
        "* *\u{a0}* * * *",
        "ﬀ ß * * *",
        "\0 * * * *",
        &long,
    ];
    for text in bad {
        let error = text.parse::<Cron>().unwrap_err().to_string();
        assert!(error.len() < 500 && !error.contains('\n'), "{text}: {error}");
    }
}

#[test]
fn the_field_that_is_not_right_is_named_with_what_it_may_be() {
    for (text, part) in [
        ("60 * * * *", "its minute \"60\", of 0 to 59: "),
        ("0 24 * * *", "its hour \"24\", of 0 to 23: "),
        ("0 0 1,32 * *", "its day \"1,32\", of 1 to 31: "),
        ("61 0 0 1 * *", "its second \"61\", of 0 to 59: "),
        ("0 0 0 1 13 *", "its month \"13\", of 1 to 12 or JAN to DEC: "),
        ("* * * * 8", "its weekday \"8\", of 0 to 7 or SUN to SAT: "),
        ("5-1 * * * *", "its minute \"5-1\", of 0 to 59: "),
        ("* * * * 1#6", "its weekday \"1#6\""),
    ] {
        let error = text.parse::<Cron>().unwrap_err().to_string();
        assert!(error.contains(part), "{text}: {error}");
    }
}

#[test]
fn a_text_is_kept_on_one_line() {
    assert_eq!(cron(" 0\t0\n* *  * ").as_str(), "0 0 * * *");
}

/// Whether croner itself, asked for this very second, says yes.
fn matches(cron: &Cron, seconds: i64) -> bool {
    let instant = Instant { seconds, years: (0, 9999) };
    cron.fields.is_time_matching(&instant).unwrap()
}

/// Items of a field: its numbers, and now and then one that is out of bounds, or a word.
fn item(least: u32, most: u32, words: &'static [&'static str]) -> impl Strategy<Value = String> {
    let number = move || prop_oneof![30 => least..=most, 1 => 0u32..100];
    let range = move || (number(), number()).prop_map(|(a, b)| format!("{}-{}", a.min(b), a.max(b)));
    prop_oneof![
        3 => number().prop_map(|number| number.to_string()),
        2 => range(),
        1 => number().prop_map(|step| format!("*/{step}")),
        1 => (range(), number()).prop_map(|(range, step)| format!("{range}/{step}")),
        2 => proptest::sample::select(words).prop_map(str::to_owned),
    ]
}

/// A field, often a star.
fn field(least: u32, most: u32, words: &'static [&'static str]) -> impl Strategy<Value = String> {
    let items = proptest::collection::vec(item(least, most, words), 1..3);
    prop_oneof![2 => Just("*".to_owned()), 3 => items.prop_map(|items| items.join(","))]
}

/// Expressions, most of them good ones.
fn expression() -> impl Strategy<Value = String> {
    let second = prop_oneof![Just(String::new()), field(0, 59, &["*"])];
    let (minute, hour) = (field(0, 59, &["*"]), field(0, 23, &["*"]));
    let day = field(1, 31, &["?", "L", "LW", "1W", "15W", "31W"]);
    let month = field(1, 12, &["JAN", "FEB", "SEP-NOV"]);
    let weekday = field(0, 7, &["?", "MON", "FRI-SUN", "5L", "MON#5", "SUN#L", "1-5#2"]);
    (second, minute, hour, day, month, weekday).prop_map(|(second, minute, hour, day, month, weekday)| {
        format!("{second} {minute} {hour} {day} {month} {weekday}")
    })
}

/// Checks what is taken of many expressions, from random times on.
fn for_each_expression(check: impl Fn(&str, &Cron, Utc)) {
    let cases = 2048;
    let taken = Cell::new(0);
    let mut runner = TestRunner::new(ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() });
    let checked = runner.run(&(expression(), 0u64..8_000_000_000), |(text, from)| {
        if let Ok(cron) = text.parse::<Cron>() {
            taken.set(taken.get() + 1);
            check(&text, &cron, Utc::from_unix(from, 0));
        }
        Ok(())
    });
    checked.unwrap_or_else(|error| panic!("{error}"));
    assert!(taken.get() > cases / 2, "{} of {cases} are good", taken.get());
}

#[test]
fn of_what_is_taken_the_next_and_the_last_time_match_and_nothing_between_does() {
    for_each_expression(|text, cron, now| {
        let next = cron.after(now);
        if let Some(next) = next {
            assert!(next > now && matches(cron, next.as_seconds() as i64), "{text} after {now}: {next}");
            assert_eq!(cron.up_to(next), Some(next), "{text}");
            let last = cron.up_to(next.minus(Duration::from_secs(1)));
            assert!(last.is_none_or(|last| last <= now), "{text} between {now} and {next}: {last:?}");
        }
        // What lies between is tried one by one, as far as it goes.
        let most = now.as_seconds() + 5000;
        for second in now.as_seconds() + 1..next.map_or(most, Utc::as_seconds).min(most) {
            assert!(!matches(cron, second as i64), "{text} after {now}: {}", Utc::from_unix(second, 0));
        }
    });
}

#[test]
fn of_what_is_taken_some_days_of_a_year_fit_the_day_fields() {
    // The library walks from day to day in one go until the day fields fit, whatever the month: as long as some days of
    // a year fit them, the walk does not pass the horizon unseen.
    for_each_expression(|text, cron, _| {
        let pattern = &cron.fields.pattern;
        let year = (0..365).map(|day| civil((day + 20_454) * SECONDS_PER_DAY).unwrap());
        let days = year.zip(0..).filter(|(date, day)| {
            let weekday = Weekday::from_days_from_sunday(4 + day);
            pattern.day_match(date.year(), date.month(), date.day(), weekday).unwrap()
        });
        assert!(days.count() >= 4, "{text}");
    });
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,40}|[*,/\\-0-9LW#?@A-Z ]{0,40}") {
        if let Ok(cron) = text.parse::<Cron>() {
            cron.after(Utc::from_unix(1_800_000_000, 0));
        }
    }

    #[test]
    fn dates_are_the_same_forth_and_back(at in 0i64..253_402_300_800) {
        prop_assert_eq!(seconds(civil(at).unwrap()), at);
        let written = Utc::from_unix(at as u64, 0).to_string();
        prop_assert_eq!(format!("{}Z", civil(at).unwrap()), written);
    }
}
