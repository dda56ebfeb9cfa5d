//! A wasm backtrace as text, in the form that wasmtime gives it, with a bound on the work and on the text.
//!
//! The names in a backtrace are the component's own, which is not trusted. wasmtime's text demangles C++, where a name of
//! 300 bytes can mean 2^36 of them: here only Rust's names are demangled, by a demangler whose work is bounded by what it
//! writes, into a writer that stops. Files and lines are not told: wasmtime would read them from the component's debug
//! info, which can make it recurse without end (see `engine`).

use std::fmt::{self, Write};

use wasmtime::{FrameInfo, WasmBacktrace};

use super::fault::cut;

/// Longest name that is demangled, in bytes; a longer one is told as it is.
const MAX_MANGLED_BYTES: usize = 2 << 10;

/// Longest name of a function or module that is told, in bytes.
const MAX_NAME_BYTES: usize = 1 << 10;

/// The frames of a backtrace, the innermost first; about `max_bytes` long at most.
pub(super) fn text(backtrace: &WasmBacktrace, max_bytes: usize) -> String {
    let mut text = "error while executing at wasm backtrace:".to_owned();
    for (nth, frame) in backtrace.frames().iter().enumerate() {
        if text.len() >= max_bytes {
            break;
        }
        // Writing to a string does not fail.
        let _ = write_frame(&mut text, nth, frame);
    }
    cut(text, max_bytes)
}

fn write_frame(text: &mut String, nth: usize, frame: &FrameInfo) -> fmt::Result {
    write!(text, "\n  {nth:>3}: ")?;
    if let Some(offset) = frame.module_offset() {
        write!(text, "{offset:#8x} - ")?;
    }
    write!(text, "{}!", frame.module().name().map_or_else(|| "<unknown>".to_owned(), plain))?;
    match frame.func_name() {
        Some(name) => text.write_str(&readable(name)),
        None => write!(text, "<wasm function {}>", frame.func_index()),
    }
}

/// A function's name as people know it.
fn readable(name: &str) -> String {
    if name.len() > MAX_MANGLED_BYTES {
        return plain(name);
    }
    let Ok(demangled) = rustc_demangle::try_demangle(name) else { return plain(name) };
    let mut bounded = Bounded { text: String::new(), room: MAX_NAME_BYTES };
    match write!(bounded, "{demangled:#}") {
        Ok(()) => bounded.text,
        Err(fmt::Error) => bounded.text + "…",
    }
}

/// A name that is not demangled: within bounds, and on one line.
fn plain(name: &str) -> String {
    let mut bounded = Bounded { text: String::new(), room: MAX_NAME_BYTES };
    match bounded.write_str(name) {
        Ok(()) => bounded.text,
        Err(fmt::Error) => bounded.text + "…",
    }
}

/// Takes so many bytes and then fails, which ends whoever writes. Control characters, which would make lines of their
/// own, are replaced.
struct Bounded {
    text: String,
    room: usize,
}

impl Write for Bounded {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        for char in more.chars() {
            let char = if char.is_control() { char::REPLACEMENT_CHARACTER } else { char };
            self.room = self.room.checked_sub(char.len_utf8()).ok_or(fmt::Error)?;
            self.text.push(char);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_rust_are_demangled_and_others_are_told_as_they_are() {
        assert_eq!(readable("_ZN4core9panicking5panic17h0123456789abcdefE"), "core::panicking::panic");
        assert_eq!(readable("_RNvNtC8fixtures6faults4trap"), "fixtures::faults::trap");
        assert_eq!(readable("_Z3addii"), "_Z3addii");
        assert_eq!(readable("demo:tutorial/math#sum"), "demo:tutorial/math#sum");
    }

    #[test]
    fn a_name_is_cut_and_stays_on_its_line() {
        assert_eq!(readable("a\n  0: b\x1b[31m"), "a\u{fffd}  0: b\u{fffd}[31m");
        let long = readable(&"ä".repeat(MAX_MANGLED_BYTES));
        assert_eq!(long.len(), MAX_NAME_BYTES + '…'.len_utf8());
    }

    #[test]
    fn a_name_of_rust_that_repeats_itself_without_end_stops_at_the_bound() {
        // `(T, T)` of the tuple before it, thirty times over.
        let mut name = "_RINvC1a1fTuuE".to_owned();
        let mut last = "_RINvC1a1f".len() - "_R".len();
        for _ in 0..30 {
            let back = format!("B{}_", base_62(last));
            last = name.len() - "_R".len();
            name = format!("{name}T{back}{back}E");
        }
        name.push('E');
        let demangled = readable(&name);
        assert!(demangled.starts_with("a::f::<((), ())") && demangled.ends_with('…'), "{demangled}");
    }

    /// A number as names of Rust have it: none for 0, else one less.
    fn base_62(number: usize) -> String {
        let digits = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
        let Some(mut rest) = number.checked_sub(1) else { return String::new() };
        let mut text = Vec::new();
        loop {
            text.insert(0, digits[rest % 62]);
            rest /= 62;
            if rest == 0 {
                return String::from_utf8(text).unwrap();
            }
        }
    }
}
