//! From postcard bytes into a guest: the walk that "lowers".
//!
//! One pass over the bytes, led by the type: scalars go to slots or to the guest's memory, lists and strings into
//! memory that the guest's own `cabi_realloc` gives. No tree of values is built in between.
//!
//! Every store is checked against the memory as it is at that moment, since a `realloc` in between may have moved or
//! grown it. What the guest's allocator returns is checked by wasmtime (in bounds and aligned). A guest may return
//! overlapping memory: then it reads nonsense that is its own.

use std::slice::IterMut;

use wasmtime::ValRaw;
use wasmtime::component::__internal::wasmtime_environ::component::StringEncoding;
use wasmtime::component::__internal::{ComponentTypes, InterfaceType, LowerContext};

use super::error::{Fault, Step, Walk};
use super::reader::Reader;
use super::shape::{self, Cases, FlagBits, MAX_SLOTS};
use super::stream::{Inflows, lower_channel};
use super::text;

/// A walk from bytes into the guest of `cx`.
pub(super) struct Lowering<'w, 'cx, 'b, T: 'static> {
    cx: &'w mut LowerContext<'cx, T>,
    types: &'cx ComponentTypes,
    input: Reader<'b>,
    /// The streams that the bytes name; none where the type has no streams.
    inflows: Option<&'b Inflows>,
}

impl<'w, 'cx, 'b, T: 'static> Lowering<'w, 'cx, 'b, T> {
    /// Starts at the first byte.
    pub(super) fn new(cx: &'w mut LowerContext<'cx, T>, bytes: &'b [u8], inflows: &'b Inflows) -> Self {
        Self { types: cx.types, cx, input: Reader::new(bytes), inflows: Some(inflows) }
    }

    /// The same for bytes of a type without streams.
    pub(super) fn without_streams(cx: &'w mut LowerContext<'cx, T>, bytes: &'b [u8]) -> Self {
        Self { types: cx.types, cx, input: Reader::new(bytes), inflows: None }
    }

    /// Lowers a tuple of parameters or results to slots; the slots that it does not need are left as they are.
    /// Where it takes more than [`MAX_SLOTS`], it goes to memory and the first slot is its address.
    pub(super) fn tuple_to_slots(mut self, ty: InterfaceType, slots: &mut [ValRaw]) -> Walk<()> {
        let tuple = shape::tuple(self.types, ty)?;
        if tuple.abi.flat_count(MAX_SLOTS).is_some() {
            let mut slots = slots.iter_mut();
            for (place, ty) in tuple.types.iter().enumerate() {
                self.lower_slots(*ty, &mut slots).map_err(|fault| fault.at(Step::Place(place)))?;
            }
        } else {
            let address = self.allocate(1, tuple.abi.size32 as usize, tuple.abi.align32)?;
            self.lower_memory(ty, address)?;
            put(&mut slots.iter_mut(), ValRaw::u32(address as u32))?;
        }
        self.input.finish()
    }

    /// Lowers a tuple of results to the place in memory that the guest named.
    pub(super) fn tuple_to_memory(mut self, ty: InterfaceType, address: usize) -> Walk<()> {
        self.lower_memory(ty, address)?;
        self.input.finish()
    }

    /// Lowers so many items of a stream to the place in memory that the guest named; how many bytes they had.
    pub(super) fn items_to_memory(mut self, item: InterfaceType, address: usize, count: usize) -> Walk<usize> {
        let align = self.types.canonical_abi(&item).align32 as usize;
        if !address.is_multiple_of(align) {
            return Err(Fault::problem(format!("address {address:#x} is not aligned to {align}")));
        }
        let before = self.input.left();
        self.items(item, address, count)?;
        Ok(before - self.input.left())
    }

    fn lower_slots(&mut self, ty: InterfaceType, slots: &mut IterMut<'_, ValRaw>) -> Walk<()> {
        use InterfaceType as I;
        let types = self.types;
        let value = match ty {
            I::Bool => ValRaw::u32(u32::from(self.input.bool()?)),
            I::U8 => ValRaw::u32(u32::from(self.input.byte()?)),
            I::S8 => ValRaw::i32(i32::from(self.input.byte()?.cast_signed())),
            I::U16 => ValRaw::u32(u32::from(self.input.u16()?)),
            I::S16 => ValRaw::i32(i32::from(self.input.i16()?)),
            I::U32 => ValRaw::u32(self.input.u32()?),
            I::S32 => ValRaw::i32(self.input.i32()?),
            I::U64 => ValRaw::u64(self.input.u64()?),
            I::S64 => ValRaw::i64(self.input.i64()?),
            I::Float32 => ValRaw::f32(u32::from_le_bytes(self.input.array()?)),
            I::Float64 => ValRaw::f64(u64::from_le_bytes(self.input.array()?)),
            I::Char => ValRaw::u32(u32::from(self.input.char()?)),
            I::Flags(index) => ValRaw::u32(self.flags(types[index].names.len())?.0),
            I::String => return self.string().and_then(|pair| put_pair(slots, pair)),
            I::List(index) => return self.list(types[index].element).and_then(|pair| put_pair(slots, pair)),
            I::Record(index) => {
                return types[index].fields.iter().try_for_each(|field| {
                    self.lower_slots(field.ty, slots).map_err(|fault| fault.at(Step::Field(field.name.clone())))
                });
            }
            I::Tuple(index) => {
                return types[index].types.iter().enumerate().try_for_each(|(place, ty)| {
                    self.lower_slots(*ty, slots).map_err(|fault| fault.at(Step::Place(place)))
                });
            }
            I::Variant(index) => return self.case_to_slots(Cases::Variant(&types[index]), ty, slots),
            I::Enum(index) => return self.case_to_slots(Cases::Enum(&types[index]), ty, slots),
            I::Option(index) => return self.case_to_slots(Cases::Option(&types[index]), ty, slots),
            I::Result(index) => return self.case_to_slots(Cases::Result(&types[index]), ty, slots),
            I::Stream(_) | I::Future(_) => self.channel(ty)?,
            _ => return Err(not_a_value()),
        };
        put(slots, value)
    }

    /// A discriminant, its payload, and zeros in the slots that other cases would have used.
    fn case_to_slots(&mut self, cases: Cases<'_>, ty: InterfaceType, slots: &mut IterMut<'_, ValRaw>) -> Walk<()> {
        let discriminant = self.input.u32()?;
        let mut used = 1;
        let payload = cases.payload(discriminant)?;
        put(slots, ValRaw::u32(discriminant))?;
        if let Some(payload) = payload {
            self.lower_slots(payload, slots).map_err(|fault| fault.at(Step::Field(cases.name(discriminant))))?;
            used += shape::slots(self.types, payload);
        }
        for _ in used..shape::slots(self.types, ty) {
            put(slots, ValRaw::u64(0))?;
        }
        Ok(())
    }

    fn lower_memory(&mut self, ty: InterfaceType, address: usize) -> Walk<()> {
        use InterfaceType as I;
        let types = self.types;
        match ty {
            I::Bool => {
                let value = self.input.bool()?;
                self.store(address, [value])
            }
            I::U8 | I::S8 => {
                let value = self.input.byte()?;
                self.store(address, [value])
            }
            I::U16 => {
                let value = self.input.u16()?;
                self.store(address, value.to_le_bytes())
            }
            I::S16 => {
                let value = self.input.i16()?;
                self.store(address, value.to_le_bytes())
            }
            I::U32 => {
                let value = self.input.u32()?;
                self.store(address, value.to_le_bytes())
            }
            I::S32 => {
                let value = self.input.i32()?;
                self.store(address, value.to_le_bytes())
            }
            I::U64 => {
                let value = self.input.u64()?;
                self.store(address, value.to_le_bytes())
            }
            I::S64 => {
                let value = self.input.i64()?;
                self.store(address, value.to_le_bytes())
            }
            I::Float32 => {
                let value = self.input.array::<4>()?;
                self.store(address, value)
            }
            I::Float64 => {
                let value = self.input.array::<8>()?;
                self.store(address, value)
            }
            I::Char => {
                let value = self.input.char()?;
                self.store(address, u32::from(value).to_le_bytes())
            }
            I::String => {
                let pair = self.string()?;
                self.store_pair(address, pair)
            }
            I::List(index) => {
                let pair = self.list(types[index].element)?;
                self.store_pair(address, pair)
            }
            I::Flags(index) => match self.flags(types[index].names.len())? {
                (bits, 1) => self.store(address, (bits as u8).to_le_bytes()),
                (bits, 2) => self.store(address, (bits as u16).to_le_bytes()),
                (bits, _) => self.store(address, bits.to_le_bytes()),
            },
            I::Record(index) => {
                let mut end = 0;
                types[index].fields.iter().try_for_each(|field| {
                    let offset = types.canonical_abi(&field.ty).next_field32_size(&mut end);
                    self.lower_memory(field.ty, address + offset)
                        .map_err(|fault| fault.at(Step::Field(field.name.clone())))
                })
            }
            I::Tuple(index) => {
                let mut end = 0;
                types[index].types.iter().enumerate().try_for_each(|(place, ty)| {
                    let offset = types.canonical_abi(ty).next_field32_size(&mut end);
                    self.lower_memory(*ty, address + offset).map_err(|fault| fault.at(Step::Place(place)))
                })
            }
            I::Variant(index) => self.case_to_memory(Cases::Variant(&types[index]), address),
            I::Enum(index) => self.case_to_memory(Cases::Enum(&types[index]), address),
            I::Option(index) => self.case_to_memory(Cases::Option(&types[index]), address),
            I::Result(index) => self.case_to_memory(Cases::Result(&types[index]), address),
            I::Stream(_) | I::Future(_) => {
                let handle = self.channel(ty)?.get_u32();
                self.store(address, handle.to_le_bytes())
            }
            _ => Err(not_a_value()),
        }
    }

    /// A stream or future: its handle in the guest.
    fn channel(&mut self, ty: InterfaceType) -> Walk<ValRaw> {
        let number = self.input.u32()?;
        let inflows = self.inflows.ok_or_else(not_a_value)?;
        lower_channel(self.cx, ty, number, inflows)
    }

    fn case_to_memory(&mut self, cases: Cases<'_>, address: usize) -> Walk<()> {
        let discriminant = self.input.u32()?;
        let payload = cases.payload(discriminant)?;
        let (size, offset) = cases.layout();
        match size {
            1 => self.store(address, (discriminant as u8).to_le_bytes())?,
            2 => self.store(address, (discriminant as u16).to_le_bytes())?,
            _ => self.store(address, discriminant.to_le_bytes())?,
        }
        match payload {
            Some(payload) => self
                .lower_memory(payload, address + offset)
                .map_err(|fault| fault.at(Step::Field(cases.name(discriminant)))),
            None => Ok(()),
        }
    }

    /// The bits of so many flags, and the bytes that they take in postcard.
    fn flags(&mut self, count: usize) -> Walk<(u32, usize)> {
        let FlagBits { bytes, mask } = FlagBits::of(count)?;
        let mut bits = 0;
        for (place, byte) in self.input.bytes(bytes)?.iter().enumerate() {
            bits |= u32::from(*byte) << (8 * place);
        }
        if bits & !mask != 0 {
            return Err(Fault::problem(format!("bits beyond the {count} flags are set")));
        }
        Ok((bits, bytes))
    }

    /// A string in the guest's encoding: its address, and its length as the canonical ABI counts it.
    fn string(&mut self) -> Walk<(usize, usize)> {
        let value = self.input.str()?;
        match self.cx.options().string_encoding {
            StringEncoding::Utf8 => Ok((self.allocate_and_fill(value.as_bytes(), 1)?, value.len())),
            StringEncoding::Utf16 => {
                let units = text::to_utf16(value);
                Ok((self.allocate_and_fill(&units, 2)?, units.len() / 2))
            }
            StringEncoding::CompactUtf16 => {
                let compact = text::to_compact(value);
                Ok((self.allocate_and_fill(&compact.bytes, 2)?, compact.tagged_length))
            }
        }
    }

    /// A list: its address and its length.
    fn list(&mut self, element: InterfaceType) -> Walk<(usize, usize)> {
        let count = self.input.count()?;
        let abi = self.types.canonical_abi(&element);
        let address = self.allocate(count, abi.size32 as usize, abi.align32)?;
        self.items(element, address, count)?;
        Ok((address, count))
    }

    /// So many values of a type one after another, as in a list or in a stream's buffer.
    fn items(&mut self, element: InterfaceType, address: usize, count: usize) -> Walk<()> {
        use InterfaceType as I;
        match element {
            I::U8 | I::S8 => self.plain(address, count, 1),
            I::Float32 => self.plain(address, count, 4),
            I::Float64 => self.plain(address, count, 8),
            I::U16 => self.integers(address, count, |input| Ok(input.u16()?.to_le_bytes())),
            I::S16 => self.integers(address, count, |input| Ok(input.i16()?.to_le_bytes())),
            I::U32 => self.integers(address, count, |input| Ok(input.u32()?.to_le_bytes())),
            I::S32 => self.integers(address, count, |input| Ok(input.i32()?.to_le_bytes())),
            I::U64 => self.integers(address, count, |input| Ok(input.u64()?.to_le_bytes())),
            I::S64 => self.integers(address, count, |input| Ok(input.i64()?.to_le_bytes())),
            I::Bool => self.integers(address, count, |input| Ok([input.bool()?])),
            I::Char => self.integers(address, count, |input| Ok(u32::from(input.char()?).to_le_bytes())),
            _ => {
                let size = self.types.canonical_abi(&element).size32 as usize;
                (0..count).try_for_each(|index| {
                    self.lower_memory(element, address + index * size).map_err(|fault| fault.at(Step::Item(index)))
                })
            }
        }
    }

    /// Bytes and floats lie in postcard as they lie in memory.
    fn plain(&mut self, address: usize, count: usize, size: usize) -> Walk<()> {
        let bytes = self.input.bytes(count.checked_mul(size).ok_or_else(too_long)?)?;
        self.fill(address, bytes)
    }

    /// Items that take `N` bytes each and need no memory of their own.
    #[inline]
    fn integers<const N: usize>(
        &mut self,
        address: usize,
        count: usize,
        mut next: impl FnMut(&mut Reader<'b>) -> Walk<[u8; N]>,
    ) -> Walk<()> {
        let memory = self.cx.as_slice_mut().get_mut(address..).ok_or_else(outside)?;
        let bytes = count.checked_mul(N).ok_or_else(too_long)?;
        let items = memory.get_mut(..bytes).ok_or_else(outside)?;
        for (index, item) in items.as_chunks_mut::<N>().0.iter_mut().enumerate() {
            *item = next(&mut self.input).map_err(|fault| fault.at(Step::Item(index)))?;
        }
        Ok(())
    }

    /// Memory of the guest for so many items of a size.
    fn allocate(&mut self, count: usize, size: usize, align: u32) -> Walk<usize> {
        let bytes = count.checked_mul(size).filter(|bytes| *bytes <= u32::MAX as usize).ok_or_else(too_long)?;
        self.cx.realloc(0, 0, align, bytes).map_err(Fault::wasm)
    }

    fn allocate_and_fill(&mut self, bytes: &[u8], align: u32) -> Walk<usize> {
        let address = self.allocate(bytes.len(), 1, align)?;
        self.fill(address, bytes)?;
        Ok(address)
    }

    fn fill(&mut self, address: usize, bytes: &[u8]) -> Walk<()> {
        let memory = self.cx.as_slice_mut().get_mut(address..).ok_or_else(outside)?;
        memory.get_mut(..bytes.len()).ok_or_else(outside)?.copy_from_slice(bytes);
        Ok(())
    }

    #[inline]
    fn store<const N: usize>(&mut self, address: usize, bytes: [u8; N]) -> Walk<()> {
        let memory = self.cx.as_slice_mut().get_mut(address..);
        *memory.and_then(<[u8]>::first_chunk_mut::<N>).ok_or_else(outside)? = bytes;
        Ok(())
    }

    fn store_pair(&mut self, address: usize, (pointer, length): (usize, usize)) -> Walk<()> {
        self.store(address, (pointer as u32).to_le_bytes())?;
        self.store(address + 4, (length as u32).to_le_bytes())
    }
}

#[inline]
fn put(slots: &mut IterMut<'_, ValRaw>, value: ValRaw) -> Walk<()> {
    match slots.next() {
        Some(slot) => {
            *slot = value;
            Ok(())
        }
        None => Err(Fault::problem("the type has more slots than were given")),
    }
}

fn put_pair(slots: &mut IterMut<'_, ValRaw>, (pointer, length): (usize, usize)) -> Walk<()> {
    put(slots, ValRaw::u32(pointer as u32))?;
    put(slots, ValRaw::u32(length as u32))
}

#[cold]
fn not_a_value() -> Fault {
    Fault::problem("the type is no value")
}

#[cold]
fn outside() -> Fault {
    Fault::problem("the address lies outside of the guest's memory")
}

#[cold]
fn too_long() -> Fault {
    Fault::problem("the list does not fit into a 32-bit memory")
}
