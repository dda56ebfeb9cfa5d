//! Compares what was sent with what came back. One line a function: `ok NAME`, or what was wrong.

use std::fmt::Debug;

/// What was compared so far.
#[derive(Default)]
pub struct Checks {
    good: usize,
    bad: usize,
}

impl Checks {
    /// The function `name` was called with each of these values and gave these back.
    pub fn echoed<T: Same + Debug>(&mut self, name: &str, pairs: impl IntoIterator<Item = (T, T)>) {
        let wrong = pairs.into_iter().find(|(sent, got)| !sent.same(got));
        match wrong {
            None => {
                self.good += 1;
                println!("ok {name}");
            }
            Some((sent, got)) => {
                self.bad += 1;
                println!("WRONG {name}: sent {sent:?}, got {got:?}");
            }
        }
    }

    /// The last line, and whether all is well.
    pub fn end(self) -> bool {
        let Self { good, bad } = self;
        match bad {
            0 => println!("conformance: all {good} ok"),
            _ => println!("conformance: {bad} of {} WRONG", good + bad),
        }
        bad == 0
    }
}

/// Equality that tells 0 from -0, and takes one NaN for another: languages and the canonical ABI change its payload.
pub trait Same {
    /// Whether both are the same.
    fn same(&self, other: &Self) -> bool;
}

impl Same for f32 {
    fn same(&self, other: &Self) -> bool {
        self.to_bits() == other.to_bits() || self.is_nan() && other.is_nan()
    }
}

impl Same for f64 {
    fn same(&self, other: &Self) -> bool {
        self.to_bits() == other.to_bits() || self.is_nan() && other.is_nan()
    }
}

impl Same for Vec<f64> {
    fn same(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().zip(other).all(|(one, other)| one.same(other))
    }
}

/// Types whose derived equality will do.
#[macro_export]
macro_rules! same {
    ($($type:ty),* $(,)?) => {$(
        impl $crate::check::Same for $type {
            fn same(&self, other: &Self) -> bool {
                self == other
            }
        }
    )*};
}

same! {
    (), bool, i8, u8, i16, u16, i32, u32, i64, u64, char, String, Vec<u8>, Vec<String>, Vec<i64>, Vec<bool>,
    Vec<Option<u8>>, Vec<Result<u8, String>>, Vec<Vec<i16>>, (u8, String, f64), Option<u32>, Option<String>,
    Option<Option<u32>>, Result<String, u32>, Result<u8, ()>, Result<(), String>, Result<(), ()>,
}
