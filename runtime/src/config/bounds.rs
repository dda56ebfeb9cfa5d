//! The least and the most of what may be asked for: the same on the command line and in the file.
//!
//! Times have theirs in [`super::units`], and what has a type of its own (names, policies) in that type.

use std::fmt;

use daffi_proto::frame::MAX_PAYLOAD_BYTES;
use daffi_proto::schedule::MAX_TASKS;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use super::units::{ByteSize, Processors};
use super::words::number;
use crate::guest::limits;

/// Most calls that may wait for an instance.
pub const MAX_QUEUE: u32 = 1_000_000;
/// Most calls that may run at once.
pub const MAX_CONCURRENCY: u32 = 100_000;
/// Most calls to others that may be open.
pub const MAX_OPEN_CALLS: u32 = 1_000_000;
/// Most streams that may be open.
pub const MAX_OPEN_STREAMS: u32 = 100_000;
/// Most calls in a second.
pub const MAX_CALL_RATE: u32 = 1_000_000;
/// Most elements of all tables of an instance.
pub const MAX_TABLE_ELEMENTS: u32 = 10_000_000;
/// Most core instances of an instance.
pub const MAX_CORE_INSTANCES: u32 = limits::MAX_CORE_INSTANCES;
/// Most tables of an instance.
pub const MAX_TABLES: u32 = limits::MAX_TABLES;
/// Most memories of an instance.
pub const MAX_MEMORIES: u32 = limits::MAX_MEMORIES;
/// Most handles of an instance.
pub const MAX_HANDLES: u32 = 1_000_000;
/// Most bytes of the names and values of an environment.
pub const MAX_ENVIRONMENT_BYTES: usize = 64 << 10;
/// Most weight of a tenant.
pub const MAX_WEIGHT: u32 = 10_000;
/// Most scheduled tasks of a module.
pub const MAX_SCHEDULES: u32 = MAX_TASKS as u32;
/// Most scheduled tasks of all modules of a tenant.
pub const MAX_TENANT_SCHEDULES: u32 = 1_000_000;

/// The least memory of an instance: one page of it.
const MIN_MEMORY: ByteSize = ByteSize(64 << 10);
/// The most: what 32 bits address, for each of the few memories that a component may have.
const MAX_MEMORY: ByteSize = ByteSize(32 << 30);
/// The least bytes of large items of streams: no smaller one is counted.
const MIN_STREAM_BYTES: ByteSize = ByteSize(64 << 10);
const MAX_STREAM_BYTES: ByteSize = ByteSize(4 << 30);
/// The least that may be printed in a second: with less, nothing that guests say would be heard.
const MIN_OUTPUT_RATE: ByteSize = ByteSize(1 << 10);
const MAX_OUTPUT_RATE: ByteSize = ByteSize(1 << 40);
/// The least stack of a call: below it the guests of common toolchains do not start.
const MIN_STACK: ByteSize = ByteSize(64 << 10);
const MAX_STACK: ByteSize = ByteSize(64 << 20);
/// The least arguments and results: none at all.
const NO_BYTES: ByteSize = ByteSize(0);
/// The least time of processors: with less, a turn of a tick is paid for after seconds.
const MIN_PROCESSORS: f64 = 0.01;
const MAX_PROCESSORS: f64 = 1000.0;
/// The least payload: an error has room in it.
const MIN_PAYLOAD: ByteSize = ByteSize(1 << 10);
const MAX_PAYLOAD: ByteSize = ByteSize(MAX_PAYLOAD_BYTES);

/// Reads the memory of an instance.
///
/// # Errors
/// How it is written, or what its bounds are.
pub fn memory(text: &str) -> Result<ByteSize, String> {
    size(text, MIN_MEMORY, MAX_MEMORY)
}

/// Reads the bytes of large items of streams that a tenant may have.
///
/// # Errors
/// The same.
pub fn stream_bytes(text: &str) -> Result<ByteSize, String> {
    size(text, MIN_STREAM_BYTES, MAX_STREAM_BYTES)
}

/// Reads the bytes that guests may print in a second.
///
/// # Errors
/// The same.
pub fn output_rate(text: &str) -> Result<ByteSize, String> {
    size(text, MIN_OUTPUT_RATE, MAX_OUTPUT_RATE)
}

/// Reads the bytes of arguments or a result.
///
/// # Errors
/// The same.
pub fn payload(text: &str) -> Result<ByteSize, String> {
    size(text, MIN_PAYLOAD, MAX_PAYLOAD)
}

/// Reads the bytes of the arguments, or of the results, of one module's callbacks.
///
/// # Errors
/// The same.
pub fn part(text: &str) -> Result<ByteSize, String> {
    size(text, NO_BYTES, MAX_PAYLOAD)
}

/// Reads the stack of a call.
///
/// # Errors
/// The same.
pub fn stack(text: &str) -> Result<ByteSize, String> {
    size(text, MIN_STACK, MAX_STACK)
}

fn size(text: &str, least: ByteSize, most: ByteSize) -> Result<ByteSize, String> {
    let size: ByteSize = text.parse()?;
    within(size, least, most)
}

fn within<T: PartialOrd + fmt::Display>(value: T, least: T, most: T) -> Result<T, String> {
    if value < least || value > most {
        return Err(format!("{value} is out of bounds: it is from {least} to {most}"));
    }
    Ok(value)
}

/// Reads a number of the command line.
///
/// # Errors
/// That it is none, or what its bounds are.
pub fn flag<const LEAST: u32, const MOST: u32>(text: &str) -> Result<u32, String> {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(text.strip_prefix('-').unwrap_or(text)) {
        return Err("write a whole number, such as 100".to_owned());
    }
    // What has too many digits for any number is out of bounds as well.
    let in_bounds = text.parse().ok().filter(|count| (LEAST..=MOST).contains(count));
    in_bounds.ok_or_else(|| format!("it is out of bounds, which are {LEAST} to {MOST}"))
}

/// Reads a number of the file; the error has its place.
pub(super) fn count<'de, const LEAST: u32, const MOST: u32, D>(deserializer: D) -> Result<Option<u32>, D::Error>
where
    D: Deserializer<'de>,
{
    let count = number(deserializer)?;
    let count = within(count, LEAST.into(), MOST.into()).map_err(D::Error::custom)?;
    u32::try_from(count).map(Some).map_err(D::Error::custom)
}

/// Reads a number of processors of the file; the error has its place.
pub(super) fn processors<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Processors>, D::Error> {
    let number = f64::deserialize(deserializer)?;
    if !(MIN_PROCESSORS..=MAX_PROCESSORS).contains(&number) {
        let message = format!("{number} is out of bounds: it is from {MIN_PROCESSORS} to {MAX_PROCESSORS}");
        return Err(D::Error::custom(message));
    }
    Ok(Some(Processors::new(number)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_out_of_bounds_is_told_with_them() {
        assert_eq!(payload("1MiB"), Ok(ByteSize(1 << 20)));
        for (read, text, bounds) in [
            (payload as fn(&str) -> _, "1B", "1B is out of bounds: it is from 1KiB to"),
            (output_rate, "1023B", "it is from 1KiB to"),
            (memory, "1KiB", "it is from 64KiB to 32GiB"),
            (memory, "33GiB", "it is from 64KiB to 32GiB"),
            (stream_bytes, "5GiB", "it is from 64KiB to 4GiB"),
            (memory, "lots", "such as 256MiB"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(bounds), "{text}: {error}");
        }
    }

    #[test]
    fn a_number_of_the_command_line_is_whole_and_within_its_bounds() {
        assert_eq!((flag::<0, 10>("0"), flag::<0, 10>("10")), (Ok(0), Ok(10)));
        for text in ["-1", "11", "99999999999999999999999", "-0"] {
            assert_eq!(flag::<0, 10>(text).unwrap_err(), "it is out of bounds, which are 0 to 10", "{text}");
        }
        for text in ["", "-", "1.5", "x", "+1", "1e3"] {
            assert!(flag::<0, 10>(text).unwrap_err().contains("a whole number"), "{text}");
        }
    }
}
