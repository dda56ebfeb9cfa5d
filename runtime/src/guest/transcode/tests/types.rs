//! Random WIT types, and what the canonical ABI makes of them, written a second time and independently of wasmtime.

use proptest::prelude::*;

/// A WIT type as a tree.
#[derive(Clone, Debug)]
pub enum Ty {
    Bool,
    S8,
    U8,
    S16,
    U16,
    S32,
    U32,
    S64,
    U64,
    F32,
    F64,
    Char,
    String,
    List(Box<Ty>),
    Tuple(Vec<Ty>),
    Record(Vec<Ty>),
    Variant(Vec<Option<Ty>>),
    Enum(usize),
    Option(Box<Ty>),
    Result(Option<Box<Ty>>, Option<Box<Ty>>),
    Flags(usize),
}

/// Any type of a moderate size, of all kinds.
pub fn any_type() -> impl Strategy<Value = Ty> {
    let scalar = prop_oneof![
        Just(Ty::Bool),
        Just(Ty::S8),
        Just(Ty::U8),
        Just(Ty::S16),
        Just(Ty::U16),
        Just(Ty::S32),
        Just(Ty::U32),
        Just(Ty::S64),
        Just(Ty::U64),
        Just(Ty::F32),
        Just(Ty::F64),
        Just(Ty::Char),
        Just(Ty::String),
        prop_oneof![1_usize..5, 255_usize..258].prop_map(Ty::Enum),
        (1_usize..=32).prop_map(Ty::Flags),
    ];
    scalar.prop_recursive(4, 24, 6, |inner| {
        let boxed = inner.clone().prop_map(Box::new);
        prop_oneof![
            boxed.clone().prop_map(Ty::List),
            prop::collection::vec(inner.clone(), 1..7).prop_map(Ty::Tuple),
            prop::collection::vec(inner.clone(), 1..7).prop_map(Ty::Record),
            prop::collection::vec(prop::option::of(inner.clone()), 1..6).prop_map(Ty::Variant),
            boxed.clone().prop_map(Ty::Option),
            (prop::option::of(boxed.clone()), prop::option::of(boxed)).prop_map(|(ok, err)| Ty::Result(ok, err)),
        ]
    })
}

/// A core type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Core {
    I32,
    I64,
    F32,
    F64,
}

impl Core {
    pub fn name(self) -> &'static str {
        match self {
            Self::I32 => "i32",
            Self::I64 => "i64",
            Self::F32 => "f32",
            Self::F64 => "f64",
        }
    }

    /// What holds either of two types.
    fn join(self, other: Self) -> Self {
        match (self, other) {
            (a, b) if a == b => a,
            (Self::I32, Self::F32) | (Self::F32, Self::I32) => Self::I32,
            _ => Self::I64,
        }
    }
}

impl Ty {
    /// The cases of a type that is a discriminant and perhaps a payload.
    pub fn cases(&self) -> Option<Vec<Option<&Ty>>> {
        match self {
            Ty::Variant(cases) => Some(cases.iter().map(Option::as_ref).collect()),
            Ty::Enum(count) => Some(vec![None; *count]),
            Ty::Option(some) => Some(vec![None, Some(some)]),
            Ty::Result(ok, err) => Some(vec![ok.as_deref(), err.as_deref()]),
            _ => None,
        }
    }

    /// The core values that it is flattened to.
    pub fn flat(&self) -> Vec<Core> {
        match self {
            Ty::S64 | Ty::U64 => vec![Core::I64],
            Ty::F32 => vec![Core::F32],
            Ty::F64 => vec![Core::F64],
            Ty::String | Ty::List(_) => vec![Core::I32, Core::I32],
            Ty::Tuple(items) | Ty::Record(items) => items.iter().flat_map(Ty::flat).collect(),
            _ => match self.cases() {
                Some(cases) => {
                    let mut slots = vec![Core::I32];
                    for case in cases.into_iter().flatten() {
                        for (n, core) in case.flat().into_iter().enumerate() {
                            match slots.get_mut(n + 1) {
                                Some(slot) => *slot = slot.join(core),
                                None => slots.push(core),
                            }
                        }
                    }
                    slots
                }
                None => vec![Core::I32],
            },
        }
    }

    /// Size and alignment in memory.
    pub fn layout(&self) -> (usize, usize) {
        match self {
            Ty::Bool | Ty::S8 | Ty::U8 => (1, 1),
            Ty::S16 | Ty::U16 => (2, 2),
            Ty::S32 | Ty::U32 | Ty::F32 | Ty::Char => (4, 4),
            Ty::S64 | Ty::U64 | Ty::F64 => (8, 8),
            Ty::String | Ty::List(_) => (8, 4),
            Ty::Flags(1..=8) => (1, 1),
            Ty::Flags(9..=16) => (2, 2),
            Ty::Flags(_) => (4, 4),
            Ty::Tuple(items) | Ty::Record(items) => {
                let (end, align) = items.iter().fold((0_usize, 1), |(end, most), item| {
                    let (size, align) = item.layout();
                    (end.next_multiple_of(align) + size, most.max(align))
                });
                (end.next_multiple_of(align), align)
            }
            _ => {
                let cases = self.cases().unwrap();
                let discriminant = if cases.len() <= 256 { 1 } else { 2 };
                let (size, align) = cases
                    .into_iter()
                    .flatten()
                    .map(Ty::layout)
                    .fold((0, 1), |(s, a), (size, align)| (s.max(size), a.max(align)));
                let align = align.max(discriminant);
                ((discriminant.next_multiple_of(align) + size).next_multiple_of(align), align)
            }
        }
    }
}

/// Where the definitions of a type are written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// In the type of the imported instance: types with names are exported there.
    Instance,
    /// In the component, where those are aliases of the instance's.
    Component,
}

/// Writes the definitions that a type needs, and gives the text that names it.
pub fn define(ty: &Ty, scope: Scope, out: &mut String) -> String {
    Definer { scope, out, count: 0 }.define(ty)
}

struct Definer<'a> {
    scope: Scope,
    out: &'a mut String,
    count: usize,
}

impl Definer<'_> {
    fn define(&mut self, ty: &Ty) -> String {
        let (named, text) = match ty {
            Ty::Bool => return "bool".to_owned(),
            Ty::S8 => return "s8".to_owned(),
            Ty::U8 => return "u8".to_owned(),
            Ty::S16 => return "s16".to_owned(),
            Ty::U16 => return "u16".to_owned(),
            Ty::S32 => return "s32".to_owned(),
            Ty::U32 => return "u32".to_owned(),
            Ty::S64 => return "s64".to_owned(),
            Ty::U64 => return "u64".to_owned(),
            Ty::F32 => return "f32".to_owned(),
            Ty::F64 => return "f64".to_owned(),
            Ty::Char => return "char".to_owned(),
            Ty::String => return "string".to_owned(),
            Ty::List(item) => (false, format!("(list {})", self.define(item))),
            Ty::Option(some) => (false, format!("(option {})", self.define(some))),
            Ty::Tuple(items) => {
                let items: String = items.iter().map(|item| format!(" {}", self.define(item))).collect();
                (false, format!("(tuple{items})"))
            }
            Ty::Result(ok, err) => {
                let ok = ok.as_ref().map(|ok| format!(" {}", self.define(ok))).unwrap_or_default();
                let err = err.as_ref().map(|err| format!(" (error {})", self.define(err))).unwrap_or_default();
                (false, format!("(result{ok}{err})"))
            }
            Ty::Record(fields) => {
                let fields = fields.iter().enumerate();
                let fields: String = fields.map(|(n, ty)| format!(" (field \"f{n}\" {})", self.define(ty))).collect();
                (true, format!("(record{fields})"))
            }
            Ty::Variant(cases) => {
                let cases = cases.iter().enumerate();
                let case = |(n, ty): (usize, &Option<Ty>)| match ty {
                    Some(ty) => format!(" (case \"c{n}\" {})", self.define(ty)),
                    None => format!(" (case \"c{n}\")"),
                };
                (true, format!("(variant{})", cases.map(case).collect::<String>()))
            }
            Ty::Enum(count) => (true, format!("(enum{})", labels(*count))),
            Ty::Flags(count) => (true, format!("(flags{})", labels(*count))),
        };
        self.count += 1;
        let n = self.count;
        let line = match (named, self.scope) {
            (false, _) => format!("(type $t{n} {text})\n"),
            (true, Scope::Instance) => format!("(type $d{n} {text}) (export \"t{n}\" (type $t{n} (eq $d{n})))\n"),
            (true, Scope::Component) => format!("(alias export $host \"t{n}\" (type $t{n}))\n"),
        };
        self.out.push_str(&line);
        format!("$t{n}")
    }
}

fn labels(count: usize) -> String {
    (0..count).map(|n| format!(" \"l{n}\"")).collect()
}
