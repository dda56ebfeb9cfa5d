//! Random values of a type, as postcard bytes.

use super::types::Ty;

/// A small generator of numbers; a seed gives the same values everywhere.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// Numbers of all widths, and the corners.
    fn number(&mut self) -> u64 {
        match self.below(8) {
            0 => 0,
            1 => u64::MAX,
            2 => 1 << self.below(64),
            _ => self.next() >> self.below(64),
        }
    }
}

/// A value of a type.
pub fn value(ty: &Ty, random: &mut Random) -> Vec<u8> {
    let mut out = Vec::new();
    put(ty, random, &mut out);
    out
}

fn put(ty: &Ty, random: &mut Random, out: &mut Vec<u8>) {
    let n = random.number();
    match ty {
        Ty::Bool => out.push(n as u8 & 1),
        Ty::S8 | Ty::U8 => out.push(n as u8),
        Ty::S16 => serialize(&(n as i16), out),
        Ty::U16 => serialize(&(n as u16), out),
        Ty::S32 => serialize(&(n as i32), out),
        Ty::U32 => serialize(&(n as u32), out),
        Ty::S64 => serialize(&(n as i64), out),
        Ty::U64 => serialize(&n, out),
        Ty::F32 => serialize(&f32::from_bits(n as u32), out),
        Ty::F64 => serialize(&f64::from_bits(n), out),
        Ty::Char => serialize(&char(random), out),
        Ty::String => {
            let count = random.below(12);
            let latin1 = random.below(2) == 0;
            let text: String =
                (0..count).map(|_| if latin1 { char::from(random.next() as u8) } else { char(random) }).collect();
            serialize(&text, out);
        }
        Ty::List(item) => {
            let count = random.below(5);
            serialize(&count, out);
            (0..count).for_each(|_| put(item, random, out));
        }
        Ty::Tuple(items) | Ty::Record(items) => items.iter().for_each(|item| put(item, random, out)),
        Ty::Flags(count) => {
            let bits = n & (u64::MAX >> (64 - count));
            out.extend_from_slice(&bits.to_le_bytes()[..count.div_ceil(8)]);
        }
        Ty::Variant(_) | Ty::Enum(_) | Ty::Option(_) | Ty::Result(..) => {
            let cases = ty.cases().unwrap();
            let case = random.below(cases.len());
            serialize(&(case as u32), out);
            if let Some(payload) = cases[case] {
                put(payload, random, out);
            }
        }
    }
}

fn char(random: &mut Random) -> char {
    let bound = [0x80, 0x100, 0x800, 0x1_0000, 0x11_0000][random.below(5)];
    char::from_u32(random.below(bound) as u32).unwrap_or('\u{fffd}')
}

fn serialize(value: &impl serde::Serialize, out: &mut Vec<u8>) {
    out.extend(postcard::to_stdvec(value).unwrap());
}
