//! From the words of the command line to [`Cli`]; a mistake is one line, as all errors are.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::args::Cli;
use super::stdout;
use crate::exit::{self, Failure};

/// Why there is nothing to carry out.
pub enum Instead {
    /// A help text was asked for, and is printed.
    Answered(ExitCode),
    /// What was said makes no sense.
    Wrong(Failure),
}

/// Reads the words; the first is the program's name.
///
/// # Errors
/// [`Instead`]
pub fn read(words: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> Result<Cli, Instead> {
    let words: Vec<OsString> = words.into_iter().map(Into::into).collect();
    Cli::try_parse_from(&words).map_err(|error| match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => match stdout::outcome(error.print()) {
            Ok(_) => Instead::Answered(ExitCode::from(exit::OK)),
            Err(failure) => Instead::Wrong(failure),
        },
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = error.print();
            Instead::Answered(ExitCode::from(exit::USAGE))
        }
        _ => Instead::Wrong(Failure::usage(one_line(&error.to_string()) + &advice(&error, &words))),
    })
}

/// What clap does not know: that a file in the place of a command is to be run, and that a flag which takes no time has one beside
/// it that does.
fn advice(error: &clap::Error, words: &[OsString]) -> String {
    if let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidArg)
        && error.kind() == ErrorKind::UnknownArgument
        && words
            .windows(2)
            .any(|pair| matches!(pair, [flag, value] if flag == "--wait-ready" && value == word.as_str()))
    {
        let within = if words.iter().any(|word| word == "schedule") { "--within" } else { "--timeout" };
        return format!("; --wait-ready takes no time: {within} says how long it waits");
    }
    let path = match error.get(ContextKind::InvalidSubcommand) {
        Some(ContextValue::String(word)) if word.contains(['/', '.']) => word,
        _ => return String::new(),
    };
    match Path::new(path).extension().is_some_and(|ending| ending == "toml") {
        true => format!("; to run what a config file says: --config {path}"),
        false => format!("; to run a component: --module {path}"),
    }
}

/// The part of clap's text that says what is wrong and what was meant, in one line.
fn one_line(text: &str) -> String {
    let mut said = String::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if line.starts_with("Usage:") || line.starts_with("For more information") {
            break;
        }
        let line = line.strip_prefix("error: ").unwrap_or(line);
        if !said.is_empty() {
            said.push_str(if said.ends_with(':') { " " } else { "; " });
        }
        said.push_str(line);
    }
    said + " (see --help)"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(command: &str) -> String {
        match read(std::iter::once("daffi-runtime").chain(command.split_whitespace())) {
            Err(Instead::Wrong(failure)) => failure.message,
            _ => panic!("{command} is fine"),
        }
    }

    #[test]
    fn mistakes_are_one_line_with_what_is_wrong_and_what_was_meant() {
        for (command, parts) in [
            ("--modul x", &["'--modul'", "'--module'"][..]),
            ("--env X", &["--env", "write KEY=VALUE"]),
            ("--instances pool:0 --module a", &["pool:0", "pool:N"]),
            ("call", &["<CALL>", "required"]),
            ("call f() --timeout soon", &["soon", "500ms"]),
            ("call f() --timeout -5s", &["-5s", "500ms"]),
            ("call f() --wait-ready 2s", &["'2s'", "--wait-ready takes no time: --timeout says how long"]),
            ("schedule add f() --every 5s --wait-ready 2s", &["'2s'", "--within says how long"]),
            ("call f() --eta 8days", &["8days", "from 0 to 7days"]),
            ("call f() --eta -1s", &["-1s", "500ms"]),
            ("call f() --broadcast --stall -1s", &["-1s", "500ms"]),
            ("schedule add f() --every 5s --within -1s", &["-1s", "500ms"]),
            ("schedule add f() --every 5s --timeout 8days", &["8days", "from 1ms to 7days"]),
            ("--module a --max-call-time -1s", &["-1s", "500ms"]),
            ("--module a --drain-timeout 8days", &["8days", "from 1ms to 7days"]),
            ("--module a --queue x", &["--queue"]),
            ("c/publisher.wasm", &["'c/publisher.wasm'", "to run a component: --module c/publisher.wasm"]),
            ("daffi.toml", &["to run what a config file says: --config daffi.toml"]),
            ("--module a --metrics 19465", &["\"19465\" is no address", "such as 127.0.0.1:19465"]),
        ] {
            let line = wrong(command);
            assert!(!line.contains('\n') && !line.contains("error:"), "{line}");
            assert!(parts.iter().all(|part| line.contains(part)), "{command}: {line}");
        }
    }
}
