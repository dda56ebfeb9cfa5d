//! What the runtime says of itself: log lines on stderr.
//!
//! Invariants: stdout belongs to guests and results; the log has colours only on a terminal. What is said by default is
//! what a newcomer wants to know: where the controller listens, who connected, what went wrong.

use std::fmt;
use std::io::IsTerminal;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, Uptime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::registry::LookupSpan;

/// What is logged when nobody says: warnings of all, and the news of our own crates.
const DEFAULT_FILTER: &str = "warn,daffi_runtime=info,daffi_proto=info";

/// A filter cannot be used.
#[derive(Debug, thiserror::Error)]
#[error(
    "{origin} {filter:?} is no log filter ({reason}): say error, warn, info, debug or trace, or daffi_runtime=debug"
)]
pub struct BadFilter {
    origin: &'static str,
    filter: String,
    reason: String,
}

/// Starts the log, once in a process, on a writer that takes a line at each write. `flag` is what `--log` or the config
/// says; `$DAFFI_LOG` is next.
///
/// # Errors
/// [`BadFilter`]
pub fn init<W>(flag: Option<&str>, to: W) -> Result<(), BadFilter>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let variable = std::env::var("DAFFI_LOG").ok().filter(|filter| !filter.is_empty());
    let filter = match (flag, variable) {
        (Some(filter), _) => parse("--log", filter)?,
        (None, Some(filter)) => parse("DAFFI_LOG", &filter)?,
        (None, None) => EnvFilter::new(DEFAULT_FILTER),
    };
    let terminal = std::io::stderr().is_terminal();
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(terminal)
        .with_writer(to)
        .event_format(Line { started: Uptime::default() })
        .finish();
    // A second start is a test's; the first one stays.
    let _ = tracing::subscriber::set_global_default(subscriber);
    Ok(())
}

/// A bare level is meant for us: compilers and runtimes below have too much to say.
fn parse(origin: &'static str, filter: &str) -> Result<EnvFilter, BadFilter> {
    let bad = |reason: String| BadFilter { origin, filter: filter.to_owned(), reason };
    let whole = match filter.trim().to_ascii_lowercase().as_str() {
        "off" | "none" => "off".to_owned(),
        level @ ("error" | "warn") => level.to_owned(),
        level @ ("info" | "debug" | "trace") => format!("warn,daffi_runtime={level},daffi_proto={level}"),
        "" => return Err(bad("it is empty".to_owned())),
        _ => filter.to_owned(),
    };
    EnvFilter::builder().parse(whole).map_err(|error| bad(error.to_string()))
}

/// `warn: publisher: lost the controller: …`; with time and place where details were asked for.
struct Line {
    started: Uptime,
}

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let level = *event.metadata().level();
        let (word, colour) = match level {
            Level::ERROR => ("error", "31"),
            Level::WARN => ("warning", "33"),
            Level::INFO => ("info", "32"),
            Level::DEBUG => ("debug", "34"),
            Level::TRACE => ("trace", "35"),
        };
        if level > Level::INFO {
            self.started.format_time(&mut out)?;
            out.write_char(' ')?;
        }
        if out.has_ansi_escapes() {
            write!(out, "\x1b[{colour}m{word}\x1b[0m: ")?;
        } else {
            write!(out, "{word}: ")?;
        }
        if level > Level::INFO {
            write!(out, "{}: ", event.metadata().target())?;
        }
        context.format_fields(out.by_ref(), event)?;
        writeln!(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_level_is_for_our_own_crates() {
        assert_eq!(parse("--log", "warn").unwrap().to_string(), "warn");
        let debug = parse("--log", "DEBUG").unwrap().to_string();
        assert!(debug.contains("daffi_runtime=debug") && debug.contains("warn"), "{debug}");
    }

    #[test]
    fn a_filter_that_is_none_is_refused() {
        for filter in ["==", "", "daffi_runtime=loud"] {
            let error = parse("--log", filter).unwrap_err().to_string();
            assert!(error.starts_with("--log") && !error.contains('\n'), "{error}");
        }
    }
}
