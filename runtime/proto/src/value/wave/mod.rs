//! WAVE (the WebAssembly value encoding) from and to postcard, led by the type.
//!
//! The language is that of the `wasm-wave` crate, which the tests hold this against: `(5, "text")` for arguments,
//! `{name: value}` for records, `some(1)`, `ok`, `{read, write}`. As there, the value of an option or the `ok` of a
//! result may stand alone where it is no option or result itself, fields that are `none` may be left out, and so may
//! arguments at the end. Cases that are words of WAVE need no `%` here, since the type says what is meant.
//!
//! It is not read by that crate because its lexer recurses once for each escape of a string in unoptimised builds (a
//! text of 200 kB ends the process), and because its tree takes fifty bytes for two of a text.

mod call;
mod lex;
mod read;
mod write;

pub use self::call::{BadCall, parse_call};
pub use self::read::{args_from_wave, result_from_wave};
pub use self::write::{args_to_wave, args_to_wave_cut, result_to_wave};

/// The words that mean something by themselves: as a case they are written with a `%`.
const KEYWORDS: &[&str] = &["true", "false", "some", "none", "ok", "err", "inf", "nan"];
