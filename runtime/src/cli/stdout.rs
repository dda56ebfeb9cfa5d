//! What a command prints, and what becomes of it where stdout does not take it.

use std::io::{self, Write};

use crate::exit::{self, Failure};

/// Whether anybody reads stdout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// As far as is known.
    There,
    /// Who read a pipe has closed it.
    Gone,
}

/// Prints a text. A reader that has gone is no failure.
///
/// # Errors
/// It could not be written, such as to a disk that is full.
pub fn print(text: &str) -> Result<Reader, Failure> {
    let mut out = io::stdout();
    outcome(out.write_all(text.as_bytes()).and_then(|()| out.flush()))
}

/// What came of writing to stdout.
///
/// # Errors
/// As of [`print`].
pub fn outcome(written: io::Result<()>) -> Result<Reader, Failure> {
    match written {
        Ok(()) => Ok(Reader::There),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Reader::Gone),
        Err(error) => Err(Failure::new(exit::FAILED, format!("stdout cannot be written: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_has_gone_is_no_failure_and_a_disk_that_is_full_is_one() {
        assert_eq!(outcome(Ok(())).unwrap(), Reader::There);
        assert_eq!(outcome(Err(io::ErrorKind::BrokenPipe.into())).unwrap(), Reader::Gone);
        let failure = outcome(Err(io::ErrorKind::StorageFull.into())).unwrap_err();
        assert_eq!((failure.code, failure.message.as_str()), (1, "stdout cannot be written: no storage space"));
    }
}
