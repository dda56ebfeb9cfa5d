//! What can go wrong between bytes and a guest, with the path of the value where it happened.
//!
//! Inside the module a failing walk returns a [`Fault`], one pointer wide, and every level on the way out adds its
//! step of the path; a walk that succeeds pays nothing for paths. At the border to wasmtime a fault becomes a
//! [`TranscodeError`], or, where wasm itself failed (a trap in the guest's allocator), that failure untouched, so that
//! its trap code and backtrace can still be found in it.

use std::borrow::Cow;
use std::fmt;

/// Why a function cannot be carried, or a call of it failed between bytes and guest.
#[derive(Debug, thiserror::Error)]
pub enum TranscodeError {
    /// The function's type has a part that is no value; the loader is to refuse such a function.
    #[error("{what} cannot be carried between processes")]
    Unsupported {
        /// The part: `a stream`, `a resource` …
        what: &'static str,
    },
    /// Bytes that were to be given to the guest are no value of its type: a defect, since they are checked before.
    #[error("the bytes at {path} are no value of the guest's type: {problem}")]
    BadBytes {
        /// Where: the parameter's or result's place, then fields and items (`0.items[3].price`).
        path: String,
        /// What is wrong there.
        problem: String,
    },
    /// The guest gave something that is no value of the type that it declared; its instance must end.
    #[error("the guest gave a bad value at {path}: {problem}")]
    BadGuestValue {
        /// Where: the parameter's or result's place, then fields and items (`0.items[3].price`).
        path: String,
        /// What is wrong there.
        problem: String,
    },
    /// The guest gave more than the store's limit; its instance must end. See [`super::bound_lifts`].
    #[error(
        "the guest gave more than {limit_bytes} bytes of values in one call; send less, or raise the runtime's max-payload"
    )]
    TooLarge {
        /// The limit.
        limit_bytes: usize,
    },
    /// wasmtime refused the function.
    #[error("the function cannot be called or defined: {0}")]
    Refused(String),
}

impl TranscodeError {
    /// Takes the `TranscodeError` out of an error of wasmtime, or wraps what else is in it.
    pub(super) fn from_wasmtime(error: wasmtime::Error) -> Self {
        error.downcast::<Self>().unwrap_or_else(|other| Self::Refused(format!("{other:#}")))
    }
}

/// The result of a step of a walk.
pub(super) type Walk<T> = Result<T, Fault>;

/// Why a walk ended, and where.
pub(super) struct Fault(Box<Inner>);

struct Inner {
    cause: Cause,
    /// From the innermost step outwards.
    steps: Vec<Step>,
}

enum Cause {
    Problem(Cow<'static, str>),
    TooLarge { limit_bytes: usize },
    Wasm(wasmtime::Error),
}

/// One step of a path.
pub(super) enum Step {
    /// A parameter, a result or a member of a tuple.
    Place(usize),
    /// A field of a record, or the payload of a case.
    Field(String),
    /// An item of a list.
    Item(usize),
}

impl Fault {
    /// A value that is not what its type says.
    #[cold]
    pub(super) fn problem(problem: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Cause::Problem(problem.into()))
    }

    /// More bytes than the store allows.
    #[cold]
    pub(super) fn too_large(limit_bytes: usize) -> Self {
        Self::new(Cause::TooLarge { limit_bytes })
    }

    /// A failure of wasm itself.
    #[cold]
    pub(super) fn wasm(error: wasmtime::Error) -> Self {
        Self::new(Cause::Wasm(error))
    }

    /// Whether more was given than the store allows.
    pub(super) fn is_too_large(&self) -> bool {
        matches!(self.0.cause, Cause::TooLarge { .. })
    }

    /// The same fault, one level further out.
    #[cold]
    pub(super) fn at(mut self, step: Step) -> Self {
        self.0.steps.push(step);
        self
    }

    fn new(cause: Cause) -> Self {
        Self(Box::new(Inner { cause, steps: Vec::new() }))
    }

    /// The fault of a walk from bytes into a guest.
    #[cold]
    pub(super) fn of_bytes(self) -> wasmtime::Error {
        self.into_error(|path, problem| TranscodeError::BadBytes { path, problem })
    }

    /// The fault of a walk from a guest to bytes.
    #[cold]
    pub(super) fn of_guest(self) -> wasmtime::Error {
        self.into_error(|path, problem| TranscodeError::BadGuestValue { path, problem })
    }

    fn into_error(self, bad: impl FnOnce(String, String) -> TranscodeError) -> wasmtime::Error {
        let Inner { cause, steps } = *self.0;
        match cause {
            Cause::Problem(problem) => wasmtime::Error::new(bad(Path(&steps).to_string(), problem.into_owned())),
            Cause::TooLarge { limit_bytes } => wasmtime::Error::new(TranscodeError::TooLarge { limit_bytes }),
            Cause::Wasm(error) => error,
        }
    }
}

/// Steps, the innermost first, as text.
struct Path<'a>(&'a [Step]);

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, step) in self.0.iter().rev().enumerate() {
            let dot = if n == 0 { "" } else { "." };
            match step {
                Step::Place(place) => write!(f, "{dot}{place}")?,
                Step::Field(name) => write!(f, "{dot}{name}")?,
                Step::Item(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}
