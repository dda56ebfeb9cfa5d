//! Exit codes, and errors for the user that carry one.

use std::io::Write;
use std::process::ExitCode;

use crate::plain::plain;

/// All went well.
pub const OK: u8 = 0;
/// A callback failed, or a module's `run` did, or what there was to print could not be printed.
pub const FAILED: u8 = 1;
/// What the user gave cannot be used: flags, a config, a file, arguments.
pub const USAGE: u8 = 2;
/// A call did not run.
pub const NOT_RUN: u8 = 3;
/// A call was sent and no answer came: it may or may not have run.
pub const UNKNOWN: u8 = 4;
/// There is no controller, or it refused this runtime.
pub const NO_CONTROLLER: u8 = 5;
/// A call with streams was interrupted (128 + SIGINT).
pub const INTERRUPTED: u8 = 130;
/// A module trapped in its `run` (128 + SIGABRT, as other wasm runtimes have it).
pub const TRAPPED: u8 = 134;

/// The table, for help texts.
pub const HELP: &str = "\
Exit codes:
  0    all went well
  1    a callback failed (call), fewer values came than were wanted (--first-n, --quorum),
       a module's `run` returned an error, or stdout could not be written (a full disk)
  2    what you gave cannot be used: flags, config, component, arguments, an address in use
  3    the call did not run, or may not (no such callback, overloaded, deadline in the queue, ...)
  4    the call was sent and no answer came: it may or may not have run
  5    there is no controller, or it refused this runtime (a name that is taken, another version)
  134  a module's `run` trapped
  130, 143  ended at once by a second SIGINT or SIGTERM; 130 also: `call --stream` was interrupted
  Any other code is the one that a module ended with (`exit`, or `mesh.stop`).";

/// An error for the user: one line, what may stand below it, and the code that the process ends with.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub code: u8,
    /// What, where, and what to do.
    pub message: String,
    /// Where it happened: the backtrace of a guest.
    pub trace: Option<String>,
}

impl Failure {
    /// What the user gave cannot be used.
    pub fn usage(message: impl ToString) -> Self {
        Self::new(USAGE, message)
    }

    /// Another kind.
    pub fn new(code: u8, message: impl ToString) -> Self {
        Self { code, message: message.to_string(), trace: None }
    }

    /// Prints the error as one line, the trace below it, and gives the code to end with.
    pub fn report(&self) -> ExitCode {
        // A message may carry text from a file or from another machine: line breaks in it are no new errors, and what else
        // moves the cursor stays out of the terminal.
        let line = self.message.split(['\n', '\r']).map(str::trim).filter(|part| !part.is_empty());
        // A reader that has gone is no second failure.
        let _ = writeln!(std::io::stderr(), "error: {}", plain(&line.collect::<Vec<_>>().join("; ")));
        for line in self.trace.iter().flat_map(|trace| trace.trim_end().lines()) {
            let _ = writeln!(std::io::stderr(), "{}", plain(line));
        }
        ExitCode::from(self.code)
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}
