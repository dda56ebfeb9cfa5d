//! WIT `flags` in serde types: `[u8; ceil(n/8)]`, the first flag in the lowest bit of the first byte.
//!
//! It is not what the bitflags crate derives, hence this adapter for its types, the ones that wit-bindgen generates
//! included. As a parameter or result: [`Flags`]. In a field: `#[serde(with = "daffi::flags")]`.
//!
//! ```
//! use daffi::flags::Flags;
//! # use bitflags::bitflags;
//!
//! bitflags! {
//!     #[derive(Debug, PartialEq)]
//!     pub struct Permissions: u8 { const READ = 1; const WRITE = 2; const EXECUTE = 4; }
//! }
//! #[derive(serde::Serialize)]
//! pub struct File { name: String, #[serde(with = "daffi::flags")] permissions: Permissions }
//!
//! daffi::fetchers! {
//!     /// Whether the user may do all of this.
//!     pub fn may(user: &str, permissions: Flags<Permissions>) -> bool = "demo:files/access#may";
//! }
//! ```

use std::fmt;

use bitflags::Flags as Bitflags;
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::ser::SerializeTuple;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A parameter, result or item of a WIT `flags` type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags<T>(pub T);

impl<T: Bitflags> Serialize for Flags<T>
where
    T::Bits: Into<u32>,
{
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize(&self.0, serializer)
    }
}

impl<'de, T: Bitflags> Deserialize<'de> for Flags<T>
where
    T::Bits: Into<u32> + TryFrom<u32>,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserialize(deserializer).map(Self)
    }
}

/// How many bytes the flags of `T` take, by the highest one.
fn size_of<T: Bitflags>() -> usize
where
    T::Bits: Into<u32>,
{
    let all: u32 = T::all().bits().into();
    (u32::BITS - all.leading_zeros()).div_ceil(8) as usize
}

/// For `#[serde(with = "daffi::flags")]`.
pub fn serialize<T: Bitflags, S: Serializer>(flags: &T, serializer: S) -> Result<S::Ok, S::Error>
where
    T::Bits: Into<u32>,
{
    let bits: u32 = flags.bits().into();
    let size = size_of::<T>();
    let mut tuple = serializer.serialize_tuple(size)?;
    for byte in bits.to_le_bytes().iter().take(size) {
        tuple.serialize_element(byte)?;
    }
    tuple.end()
}

/// For `#[serde(with = "daffi::flags")]`.
pub fn deserialize<'de, T: Bitflags, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error>
where
    T::Bits: Into<u32> + TryFrom<u32>,
{
    let bits = deserializer.deserialize_tuple(size_of::<T>(), Bytes(size_of::<T>()))?;
    let flags = T::Bits::try_from(bits).ok().and_then(T::from_bits);
    flags.ok_or_else(|| D::Error::custom(format_args!("{bits:#b} has a bit that is no flag of this type")))
}

/// Reads this many bytes, the lowest first.
struct Bytes(usize);

impl<'de> Visitor<'de> for Bytes {
    type Value = u32;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes of flags", self.0)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut bytes: A) -> Result<u32, A::Error> {
        let mut bits = 0;
        for place in 0..self.0 {
            let byte: u8 = bytes.next_element()?.ok_or_else(|| A::Error::invalid_length(place, &self))?;
            bits |= u32::from(byte) << (8 * place);
        }
        Ok(bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    bitflags::bitflags! {
        #[derive(Clone, Copy, Debug, PartialEq)]
        struct Nine: u16 { const A = 1; const B = 1 << 1; const H = 1 << 7; const I = 1 << 8; const BOTH = 3; }
    }
    bitflags::bitflags! {
        #[derive(Clone, Copy, Debug, PartialEq)]
        struct One: u8 { const A = 1; }
    }

    #[test]
    fn the_first_flag_is_the_lowest_bit_of_the_first_byte() {
        assert_eq!(postcard::to_stdvec(&Flags(Nine::A | Nine::I)).unwrap(), [1, 1]);
        assert_eq!(postcard::to_stdvec(&Flags(One::A)).unwrap(), [1]);
        assert_eq!(postcard::from_bytes::<Flags<Nine>>(&[0x80, 1]).unwrap(), Flags(Nine::H | Nine::I));
        assert_eq!(postcard::from_bytes::<Flags<One>>(&[0]).unwrap(), Flags(One::empty()));
    }

    #[test]
    fn bits_that_are_no_flags_are_refused() {
        assert!(postcard::from_bytes::<Flags<Nine>>(&[0, 2]).is_err());
        assert!(postcard::from_bytes::<Flags<One>>(&[2]).is_err());
        assert!(postcard::from_bytes::<Flags<Nine>>(&[1]).is_err());
    }
}
