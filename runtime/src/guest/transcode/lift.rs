//! From a guest to postcard bytes: the walk that "lifts".
//!
//! One pass over slots and memory, led by the type. The guest is not trusted: every pointer is checked for bounds and
//! alignment, every discriminant, `char` and string for being one; booleans and flags are made clean (any nonzero is
//! true, bits beyond the flags are dropped), as the canonical ABI says.
//!
//! # Budget
//! A guest may let a list of 10,000 strings point at the same megabyte. Every written byte is paid for with the
//! store's hostcall fuel, which wasmtime gives anew to each lift ([`super::bound_lifts`] sets it). It is paid in
//! advance in pieces, so that most lifts pay once; what may be written unpaid is bounded by the type alone. Each value
//! of a type writes at least one byte, so that the count of items is bounded too.

use std::slice::Iter;

use wasmtime::ValRaw;
use wasmtime::component::__internal::wasmtime_environ::component::StringEncoding;
use wasmtime::component::__internal::{ComponentTypes, InterfaceType, LiftContext};

use daffi_proto::value::MAX_CHANNELS;

use super::error::{Fault, Step, Walk};
use super::shape::{self, Cases, FlagBits};
use super::stream::{LiftedParts, Reader};
use super::text;
use super::writer::{PIECE_ITEMS, Writer, zigzag};

/// How much is paid in advance.
const PIECE_BYTES: usize = 4096;

/// A walk from the guest of `cx` to bytes.
pub(super) struct Lifting<'w, 'cx> {
    cx: &'w mut LiftContext<'cx>,
    types: &'cx ComponentTypes,
    memory: &'cx [u8],
    output: Writer,
    /// Bytes of output that are paid for.
    paid: usize,
    /// The streams that were met.
    readers: Vec<Reader>,
}

impl<'w, 'cx> Lifting<'w, 'cx> {
    /// Starts with no bytes.
    pub(super) fn new(cx: &'w mut LiftContext<'cx>) -> Self {
        Self::resume(cx, Writer::new(), 0)
    }

    /// Goes on behind what was lifted before; so many bytes are paid for.
    pub(super) fn resume(cx: &'w mut LiftContext<'cx>, output: Writer, paid: usize) -> Self {
        Self { types: cx.types, memory: cx.memory(), cx, output, paid, readers: Vec::new() }
    }

    /// What was lifted, to go on behind it, and how many bytes are paid for.
    pub(super) fn suspend(self) -> (Vec<u8>, usize) {
        (self.output.suspend(), self.paid)
    }

    /// Lifts one value from memory.
    pub(super) fn item_from_memory(&mut self, ty: InterfaceType, address: usize) -> Walk<()> {
        let abi = self.types.canonical_abi(&ty);
        let value = self.range(address, 1, abi.size32 as usize, abi.align32 as usize)?;
        self.lift_memory(ty, value)?;
        self.pay()
    }

    /// Lifts a tuple of parameters or results from its slots.
    pub(super) fn tuple_from_slots(mut self, ty: InterfaceType, slots: &[ValRaw]) -> Walk<LiftedParts> {
        let mut slots = slots.iter();
        for (place, ty) in shape::tuple(self.types, ty)?.types.iter().enumerate() {
            self.lift_slots(*ty, &mut slots).map_err(|fault| fault.at(Step::Place(place)))?;
        }
        self.pay()?;
        Ok(LiftedParts { bytes: self.output.finish(), readers: self.readers })
    }

    /// Lifts a tuple of parameters or results from memory.
    pub(super) fn tuple_from_memory(mut self, ty: InterfaceType, address: usize) -> Walk<LiftedParts> {
        let abi = &shape::tuple(self.types, ty)?.abi;
        let value = self.range(address, 1, abi.size32 as usize, abi.align32 as usize)?;
        self.lift_memory(ty, value)?;
        self.pay()?;
        Ok(LiftedParts { bytes: self.output.finish(), readers: self.readers })
    }

    fn lift_slots(&mut self, ty: InterfaceType, slots: &mut Iter<'_, ValRaw>) -> Walk<()> {
        use InterfaceType as I;
        let types = self.types;
        match ty {
            I::Bool => {
                let value = take(slots)?.get_u32();
                self.output.byte(u8::from(value != 0));
            }
            I::U8 | I::S8 => self.output.byte(take(slots)?.get_u32() as u8),
            I::U16 => self.output.unsigned(u64::from(take(slots)?.get_u32() as u16)),
            I::S16 => self.output.signed(i64::from(take(slots)?.get_i32() as i16)),
            I::U32 => self.output.unsigned(u64::from(take(slots)?.get_u32())),
            I::S32 => self.output.signed(i64::from(take(slots)?.get_i32())),
            I::U64 => self.output.unsigned(take(slots)?.get_u64()),
            I::S64 => self.output.signed(take(slots)?.get_i64()),
            I::Float32 => self.output.bytes(&take(slots)?.get_f32().to_le_bytes()),
            I::Float64 => self.output.bytes(&take(slots)?.get_f64().to_le_bytes()),
            I::Char => self.char(take(slots)?.get_u32())?,
            I::Flags(index) => self.flags(types[index].names.len(), take(slots)?.get_u32())?,
            I::String => {
                let (pointer, length) = (take(slots)?.get_u32(), take(slots)?.get_u32());
                self.string(pointer as usize, length as usize)?;
            }
            I::List(index) => {
                let (pointer, length) = (take(slots)?.get_u32(), take(slots)?.get_u32());
                self.list(types[index].element, pointer as usize, length as usize)?;
            }
            I::Record(index) => {
                for field in &types[index].fields {
                    self.lift_slots(field.ty, slots).map_err(|fault| fault.at(Step::Field(field.name.clone())))?;
                }
            }
            I::Tuple(index) => {
                for (place, ty) in types[index].types.iter().enumerate() {
                    self.lift_slots(*ty, slots).map_err(|fault| fault.at(Step::Place(place)))?;
                }
            }
            I::Variant(index) => self.case_from_slots(Cases::Variant(&types[index]), ty, slots)?,
            I::Enum(index) => self.case_from_slots(Cases::Enum(&types[index]), ty, slots)?,
            I::Option(index) => self.case_from_slots(Cases::Option(&types[index]), ty, slots)?,
            I::Result(index) => self.case_from_slots(Cases::Result(&types[index]), ty, slots)?,
            I::Stream(_) | I::Future(_) => self.channel(ty, take(slots)?)?,
            _ => return Err(not_a_value()),
        }
        Ok(())
    }

    /// A discriminant and its payload; the slots that other cases would have used are passed over.
    fn case_from_slots(&mut self, cases: Cases<'_>, ty: InterfaceType, slots: &mut Iter<'_, ValRaw>) -> Walk<()> {
        let discriminant = take(slots)?.get_u32();
        let payload = cases.payload(discriminant)?;
        let mut used = 1;
        self.output.unsigned(u64::from(discriminant));
        if let Some(payload) = payload {
            self.lift_slots(payload, slots).map_err(|fault| fault.at(Step::Field(cases.name(discriminant))))?;
            used += shape::slots(self.types, payload);
        }
        for _ in used..shape::slots(self.types, ty) {
            take(slots)?;
        }
        Ok(())
    }

    /// Lifts the value at the front of `bytes`, which are at least as many as its type takes.
    fn lift_memory(&mut self, ty: InterfaceType, bytes: &[u8]) -> Walk<()> {
        use InterfaceType as I;
        let types = self.types;
        match ty {
            I::Bool => self.output.byte(u8::from(u8::from_le_bytes(load(bytes, 0)?) != 0)),
            I::U8 | I::S8 => self.output.byte(u8::from_le_bytes(load(bytes, 0)?)),
            I::U16 => self.output.unsigned(u64::from(u16::from_le_bytes(load(bytes, 0)?))),
            I::S16 => self.output.signed(i64::from(i16::from_le_bytes(load(bytes, 0)?))),
            I::U32 => self.output.unsigned(u64::from(u32::from_le_bytes(load(bytes, 0)?))),
            I::S32 => self.output.signed(i64::from(i32::from_le_bytes(load(bytes, 0)?))),
            I::U64 => self.output.unsigned(u64::from_le_bytes(load(bytes, 0)?)),
            I::S64 => self.output.signed(i64::from_le_bytes(load(bytes, 0)?)),
            I::Float32 => self.output.bytes(&load::<4>(bytes, 0)?),
            I::Float64 => self.output.bytes(&load::<8>(bytes, 0)?),
            I::Char => self.char(u32::from_le_bytes(load(bytes, 0)?))?,
            I::Flags(index) => {
                let count = types[index].names.len();
                let bits = match count {
                    ..=8 => u32::from(u8::from_le_bytes(load(bytes, 0)?)),
                    9..=16 => u32::from(u16::from_le_bytes(load(bytes, 0)?)),
                    _ => u32::from_le_bytes(load(bytes, 0)?),
                };
                self.flags(count, bits)?;
            }
            I::String => {
                let (pointer, length) = pair(bytes)?;
                self.string(pointer, length)?;
            }
            I::List(index) => {
                let (pointer, length) = pair(bytes)?;
                self.list(types[index].element, pointer, length)?;
            }
            I::Record(index) => {
                let mut end = 0;
                for field in &types[index].fields {
                    let offset = types.canonical_abi(&field.ty).next_field32_size(&mut end);
                    self.lift_memory(field.ty, bytes.get(offset..).ok_or_else(outside)?)
                        .map_err(|fault| fault.at(Step::Field(field.name.clone())))?;
                }
                self.pay()?;
            }
            I::Tuple(index) => {
                let mut end = 0;
                for (place, ty) in types[index].types.iter().enumerate() {
                    let offset = types.canonical_abi(ty).next_field32_size(&mut end);
                    self.lift_memory(*ty, bytes.get(offset..).ok_or_else(outside)?)
                        .map_err(|fault| fault.at(Step::Place(place)))?;
                }
                self.pay()?;
            }
            I::Variant(index) => self.case_from_memory(Cases::Variant(&types[index]), bytes)?,
            I::Enum(index) => self.case_from_memory(Cases::Enum(&types[index]), bytes)?,
            I::Option(index) => self.case_from_memory(Cases::Option(&types[index]), bytes)?,
            I::Result(index) => self.case_from_memory(Cases::Result(&types[index]), bytes)?,
            I::Stream(_) | I::Future(_) => {
                let handle = ValRaw::u32(u32::from_le_bytes(load(bytes, 0)?));
                self.channel(ty, &handle)?;
            }
            _ => return Err(not_a_value()),
        }
        Ok(())
    }

    fn case_from_memory(&mut self, cases: Cases<'_>, bytes: &[u8]) -> Walk<()> {
        let (size, offset) = cases.layout();
        let discriminant = match size {
            1 => u32::from(u8::from_le_bytes(load(bytes, 0)?)),
            2 => u32::from(u16::from_le_bytes(load(bytes, 0)?)),
            _ => u32::from_le_bytes(load(bytes, 0)?),
        };
        let payload = cases.payload(discriminant)?;
        self.output.unsigned(u64::from(discriminant));
        match payload {
            Some(payload) => self
                .lift_memory(payload, bytes.get(offset..).ok_or_else(outside)?)
                .map_err(|fault| fault.at(Step::Field(cases.name(discriminant)))),
            None => Ok(()),
        }
    }

    /// A stream or future: the number of its channel.
    fn channel(&mut self, ty: InterfaceType, handle: &ValRaw) -> Walk<()> {
        let number = self.readers.len();
        if number >= MAX_CHANNELS as usize {
            return Err(Fault::problem(format!("more than {MAX_CHANNELS} streams in one value")));
        }
        self.readers.push(Reader::lift(self.cx, ty, handle)?);
        self.output.unsigned(number as u64);
        Ok(())
    }

    fn char(&mut self, value: u32) -> Walk<()> {
        match char::from_u32(value) {
            Some(value) => {
                self.output.char(value);
                Ok(())
            }
            None => Err(Fault::problem(format!("{value:#x} is no char"))),
        }
    }

    fn flags(&mut self, count: usize, bits: u32) -> Walk<()> {
        let FlagBits { bytes, mask } = FlagBits::of(count)?;
        for byte in (bits & mask).to_le_bytes().iter().take(bytes) {
            self.output.byte(*byte);
        }
        Ok(())
    }

    /// A string in the guest's encoding, written as UTF-8.
    fn string(&mut self, pointer: usize, length: usize) -> Walk<()> {
        match self.cx.options().string_encoding {
            StringEncoding::Utf8 => {
                let bytes = self.range(pointer, length, 1, 1)?;
                self.afford(length)?;
                std::str::from_utf8(bytes).map_err(|error| Fault::problem(error.to_string()))?;
                self.output.unsigned(length as u64);
                self.output.bytes(bytes);
                Ok(())
            }
            StringEncoding::CompactUtf16 if length & text::UTF16_TAG == 0 => {
                let bytes = self.range(pointer, length, 1, 2)?;
                self.transcode(length, || text::latin1_chars(bytes))
            }
            StringEncoding::Utf16 | StringEncoding::CompactUtf16 => {
                let units = match self.cx.options().string_encoding {
                    StringEncoding::CompactUtf16 => length & !text::UTF16_TAG,
                    _ => length,
                };
                let bytes = self.range(pointer, units, 2, 2)?;
                self.transcode(units, || text::utf16_chars(bytes))
            }
        }
    }

    /// Characters of at least `units` bytes in UTF-8; they are gone through twice, for the length and for the bytes.
    fn transcode<I: Iterator<Item = Walk<char>>>(&mut self, units: usize, chars: impl Fn() -> I) -> Walk<()> {
        self.afford(units)?;
        let length = chars().try_fold(0, |sum, char| char.map(|char| sum + char.len_utf8()))?;
        self.afford(length)?;
        self.output.unsigned(length as u64);
        let mut buffer = [0; 4];
        for char in chars() {
            self.output.bytes(char?.encode_utf8(&mut buffer).as_bytes());
        }
        Ok(())
    }

    fn list(&mut self, element: InterfaceType, pointer: usize, length: usize) -> Walk<()> {
        use InterfaceType as I;
        let abi = self.types.canonical_abi(&element);
        let size = abi.size32 as usize;
        let bytes = self.range(pointer, length, size, abi.align32 as usize)?;
        self.afford(length)?;
        self.output.unsigned(length as u64);
        match element {
            I::U8 | I::S8 | I::Float32 | I::Float64 => {
                self.afford(bytes.len())?;
                self.output.bytes(bytes);
                Ok(())
            }
            I::U16 => self.integers(bytes, |item| u64::from(u16::from_le_bytes(item))),
            I::S16 => self.integers(bytes, |item| zigzag(i64::from(i16::from_le_bytes(item)))),
            I::U32 => self.integers(bytes, |item| u64::from(u32::from_le_bytes(item))),
            I::S32 => self.integers(bytes, |item| zigzag(i64::from(i32::from_le_bytes(item)))),
            I::U64 => self.integers(bytes, u64::from_le_bytes),
            I::S64 => self.integers(bytes, |item| zigzag(i64::from_le_bytes(item))),
            I::Bool => self.integers(bytes, |[item]| u64::from(item != 0)),
            _ => {
                // No type has the size 0 (records, tuples, flags and enums of nothing are no valid types), so the
                // chunks are as many as the items.
                for (index, item) in bytes.chunks_exact(size.max(1)).enumerate() {
                    self.lift_memory(element, item).map_err(|fault| fault.at(Step::Item(index)))?;
                    self.pay()?;
                }
                Ok(())
            }
        }
    }

    fn integers<const N: usize>(&mut self, bytes: &[u8], value: impl Fn([u8; N]) -> u64) -> Walk<()> {
        for piece in bytes.as_chunks::<N>().0.chunks(PIECE_ITEMS) {
            self.output.unsigned_piece(piece.iter().map(|item| value(*item)));
            self.pay()?;
        }
        Ok(())
    }

    /// The part of memory that holds so many items of a size; checked for bounds and alignment.
    fn range(&self, pointer: usize, count: usize, size: usize, align: usize) -> Walk<&'cx [u8]> {
        if !pointer.is_multiple_of(align) {
            return Err(Fault::problem(format!("address {pointer:#x} is not aligned to {align}")));
        }
        let end = count.checked_mul(size).and_then(|length| pointer.checked_add(length));
        end.and_then(|end| self.memory.get(pointer..end)).ok_or_else(outside)
    }

    /// Pays for bytes that are going to be written.
    #[inline]
    fn afford(&mut self, more: usize) -> Walk<()> {
        let needed = self.output.len().saturating_add(more);
        if needed <= self.paid { Ok(()) } else { self.pay_up_to(needed) }
    }

    /// Pays for what was written.
    #[inline]
    fn pay(&mut self) -> Walk<()> {
        self.afford(0)
    }

    fn pay_up_to(&mut self, needed: usize) -> Walk<()> {
        let missing = needed - self.paid;
        for amount in [missing.saturating_add(PIECE_BYTES), missing] {
            if self.cx.consume_fuel(amount).is_ok() {
                self.paid += amount;
                return Ok(());
            }
        }
        Err(Fault::too_large(self.paid.saturating_add(self.drain_fuel())))
    }

    /// Takes all fuel that is left, to learn how much it was: wasmtime does not tell.
    #[cold]
    fn drain_fuel(&mut self) -> usize {
        let amounts = (0..usize::BITS).rev().map(|bit| 1 << bit);
        amounts.filter(|amount| self.cx.consume_fuel(*amount).is_ok()).sum()
    }
}

#[inline]
fn take<'a>(slots: &mut Iter<'a, ValRaw>) -> Walk<&'a ValRaw> {
    slots.next().ok_or_else(|| Fault::problem("the type has more slots than were given"))
}

#[inline]
fn load<const N: usize>(bytes: &[u8], at: usize) -> Walk<[u8; N]> {
    bytes.get(at..).and_then(<[u8]>::first_chunk::<N>).copied().ok_or_else(outside)
}

fn pair(bytes: &[u8]) -> Walk<(usize, usize)> {
    let (pointer, length) = (u32::from_le_bytes(load(bytes, 0)?), u32::from_le_bytes(load(bytes, 4)?));
    Ok((pointer as usize, length as usize))
}

#[cold]
fn not_a_value() -> Fault {
    Fault::problem("the type is no value")
}

#[cold]
fn outside() -> Fault {
    Fault::problem("an address outside of the guest's memory")
}
