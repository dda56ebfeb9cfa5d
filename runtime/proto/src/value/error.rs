//! What is wrong with a value, and where in it.
//!
//! The place is put together while the error travels up through the walk, so that a walk that goes well pays nothing
//! for it.

use std::fmt;

/// A value was refused: `items[3].price: expected f64, found "cheap"`.
#[derive(Clone, PartialEq, Eq)]
pub struct ValueError(Box<Inner>);

#[derive(Clone, PartialEq, Eq)]
struct Inner {
    /// The steps to the place, the innermost first.
    path: Vec<Step>,
    problem: String,
    too_large: bool,
}

#[derive(Clone, PartialEq, Eq)]
enum Step {
    Name(String),
    Index(usize),
}

/// Longest part of an input that an error quotes, in characters.
const MAX_QUOTED_CHARS: usize = 40;

impl ValueError {
    /// An error at the place where the walk is.
    #[cold]
    pub fn new(problem: impl Into<String>) -> Self {
        Self(Box::new(Inner { path: Vec::new(), problem: problem.into(), too_large: false }))
    }

    /// The value is larger than a limit.
    #[cold]
    pub(crate) fn too_large(problem: impl Into<String>) -> Self {
        Self(Box::new(Inner { path: Vec::new(), problem: problem.into(), too_large: true }))
    }

    /// Whether the value is refused for its size alone: the code of the call's error is then `payload-too-large`.
    pub fn is_too_large(&self) -> bool {
        self.0.too_large
    }

    /// The place, `items[3].price`; empty for the whole.
    pub fn path(&self) -> String {
        let mut path = String::new();
        for step in self.0.path.iter().rev() {
            match step {
                Step::Name(name) => {
                    if !path.is_empty() {
                        path.push('.');
                    }
                    path.push_str(name);
                }
                Step::Index(index) => path.push_str(&format!("[{index}]")),
            }
        }
        path
    }

    /// What is wrong there.
    pub fn problem(&self) -> &str {
        &self.0.problem
    }

    #[cold]
    pub(crate) fn in_name(mut self, name: &str) -> Self {
        self.0.path.push(Step::Name(name.to_owned()));
        self
    }

    #[cold]
    pub(crate) fn in_item(mut self, index: usize) -> Self {
        self.0.path.push(Step::Index(index));
        self
    }
}

impl fmt::Display for ValueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.0.path.is_empty() {
            write!(f, "{}: ", self.path())?;
        }
        f.write_str(&self.0.problem)
    }
}

impl fmt::Debug for ValueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ValueError({self})")
    }
}

impl std::error::Error for ValueError {}

/// Says where an error happened, on its way up.
pub(crate) trait Place {
    /// In the field, case, element or parameter of this name.
    fn in_name(self, name: &str) -> Self;
    /// In this item of a list or tuple.
    fn in_item(self, index: usize) -> Self;
}

impl<T> Place for Result<T, ValueError> {
    fn in_name(self, name: &str) -> Self {
        self.map_err(|error| error.in_name(name))
    }

    fn in_item(self, index: usize) -> Self {
        self.map_err(|error| error.in_item(index))
    }
}

/// A part of the input as an error quotes it: short, and on one line.
pub(crate) fn quote(text: &str) -> String {
    let mut quoted: String = text.chars().take(MAX_QUOTED_CHARS).flat_map(char::escape_debug).collect();
    if text.chars().nth(MAX_QUOTED_CHARS).is_some() {
        quoted.push('…');
    }
    quoted
}
