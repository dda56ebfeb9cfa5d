//! What a command that ended has said, and what a test expects of it.

use std::process::ExitStatus;

/// What a command that ended has said.
#[derive(Debug)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Output {
    /// Its exit code; panics when a signal ended it.
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| panic!("ended by a signal: {self:?}"))
    }

    /// Checks that it ended well and gives its standard output, trimmed.
    pub fn success(&self) -> &str {
        assert_eq!(self.code(), 0, "exit code of {self:#?}");
        self.stdout.trim_end()
    }

    /// Checks that it failed as a command should, and gives its one line of error: exit code as given, nothing on the
    /// standard output, one line `error: …` on the other, no backtrace.
    pub fn one_line_error(&self, code: i32) -> &str {
        assert_eq!(self.code(), code, "exit code of {self:#?}");
        assert_eq!(self.stdout, "", "standard output of {self:#?}");
        let line = self.stderr.trim_end();
        assert!(!line.is_empty() && !line.contains('\n'), "not one line of error: {self:#?}");
        for word in ["panicked", "backtrace", "RUST_BACKTRACE", "unwrap"] {
            assert!(!line.contains(word), "{word:?} in an error for users: {self:#?}");
        }
        line
    }
}

/// Checks that a text says all of these.
#[track_caller]
pub fn says(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "{word:?} is not in {text:?}");
    }
}
