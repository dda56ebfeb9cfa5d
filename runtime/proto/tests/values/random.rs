//! Random types and values of them.

use daffi_proto::signature::{Signature, SignatureBuilder, Type};
use daffi_proto::value::Value;
use proptest::prelude::*;

/// A type as a tree, so that values can be made for it and other crates' types from it.
#[derive(Clone, Debug)]
pub enum Shape {
    Primitive(Type),
    List(Box<Shape>),
    Tuple(Vec<Shape>),
    Record(Vec<(String, Shape)>),
    Variant(Vec<(String, Option<Shape>)>),
    Enum(Vec<String>),
    Option(Box<Shape>),
    Result(Option<Box<Shape>>, Option<Box<Shape>>),
    Flags(Vec<String>),
}

/// Names that a careless codec stumbles over, first of all the words of WIT, WAVE and JSON.
const NAMES: &[&str] = &[
    "some", "none", "ok", "err", "true", "false", "inf", "nan", "null", "type", "list", "a-1", "HTTP-2", "x", "y", "z",
];

fn names(count: usize, from: usize) -> Vec<String> {
    let name = |at: usize| match NAMES.get(at) {
        Some(name) => (*name).to_owned(),
        None => format!("name-{at}"),
    };
    (from..from + count).map(name).collect()
}

fn primitive() -> impl Strategy<Value = Type> {
    use Type::*;
    prop::sample::select(vec![Bool, S8, U8, S16, U16, S32, U32, S64, U64, F32, F64, Char, String])
}

fn leaf() -> impl Strategy<Value = Shape> {
    prop_oneof![
        8 => primitive().prop_map(Shape::Primitive),
        1 => (1..20_usize, 0..16_usize).prop_map(|(count, from)| Shape::Enum(names(count, from))),
        1 => Just(Shape::Enum(names(300, 0))),
        1 => (1..=32_usize, 0..16_usize).prop_map(|(count, from)| Shape::Flags(names(count, from))),
    ]
}

/// Any type, some levels deep.
pub fn shape() -> impl Strategy<Value = Shape> {
    leaf().prop_recursive(4, 24, 5, |inner| {
        let from = 0..16_usize;
        let maybe = prop::option::of(inner.clone());
        let boxed = |shape: Option<Shape>| shape.map(Box::new);
        prop_oneof![
            inner.clone().prop_map(|shape| Shape::List(Box::new(shape))),
            inner.clone().prop_map(|shape| Shape::Option(Box::new(shape))),
            prop::collection::vec(inner.clone(), 1..5).prop_map(Shape::Tuple),
            (prop::collection::vec(inner.clone(), 1..5), from.clone())
                .prop_map(|(shapes, from)| Shape::Record(names(shapes.len(), from).into_iter().zip(shapes).collect())),
            (prop::collection::vec(maybe.clone(), 1..5), from)
                .prop_map(|(shapes, from)| Shape::Variant(names(shapes.len(), from).into_iter().zip(shapes).collect())),
            (maybe.clone(), maybe).prop_map(move |(ok, err)| Shape::Result(boxed(ok), boxed(err))),
        ]
    })
}

/// Any value of the type, less NaNs, which texts do not carry bit for bit.
pub fn value(shape: &Shape) -> BoxedStrategy<Value> {
    let payload = |shape: Option<&Shape>| match shape {
        Some(shape) => value(shape).prop_map(|value| Some(Box::new(value))).boxed(),
        None => Just(None).boxed(),
    };
    match shape {
        Shape::Primitive(ty) => primitive_value(*ty),
        Shape::List(item) if matches!(**item, Shape::Primitive(Type::U8)) => {
            prop::collection::vec(any::<u8>(), 0..200).prop_map(Value::Bytes).boxed()
        }
        Shape::List(item) => prop::collection::vec(value(item), 0..5).prop_map(Value::List).boxed(),
        Shape::Tuple(shapes) => shapes.iter().map(value).collect::<Vec<_>>().prop_map(Value::Tuple).boxed(),
        Shape::Record(fields) => {
            let fields = fields.iter().map(|(_, shape)| value(shape)).collect::<Vec<_>>();
            fields.prop_map(Value::Record).boxed()
        }
        Shape::Variant(cases) => {
            let cases = cases.iter().enumerate().map(|(at, (_, shape))| {
                payload(shape.as_ref()).prop_map(move |value| Value::Variant(at as u32, value)).boxed()
            });
            prop::strategy::Union::new(cases).boxed()
        }
        Shape::Enum(names) => (0..names.len() as u32).prop_map(Value::Enum).boxed(),
        Shape::Option(shape) => {
            prop_oneof![Just(Value::Option(None)), payload(Some(shape)).prop_map(Value::Option)].boxed()
        }
        Shape::Result(ok, err) => prop_oneof![
            payload(ok.as_deref()).prop_map(|value| Value::Result(Ok(value))),
            payload(err.as_deref()).prop_map(|value| Value::Result(Err(value))),
        ]
        .boxed(),
        Shape::Flags(names) => {
            let all = (1_u64 << names.len()) - 1;
            any::<u32>().prop_map(move |bits| Value::Flags((u64::from(bits) & all) as u32)).boxed()
        }
    }
}

fn primitive_value(ty: Type) -> BoxedStrategy<Value> {
    use prop::num::{f32, f64};
    match ty {
        Type::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
        Type::S8 => any::<i8>().prop_map(Value::S8).boxed(),
        Type::U8 => any::<u8>().prop_map(Value::U8).boxed(),
        Type::S16 => any::<i16>().prop_map(Value::S16).boxed(),
        Type::U16 => any::<u16>().prop_map(Value::U16).boxed(),
        Type::S32 => any::<i32>().prop_map(Value::S32).boxed(),
        Type::U32 => any::<u32>().prop_map(Value::U32).boxed(),
        Type::S64 => {
            let edges = prop::sample::select(vec![0, 1, -1, i64::MIN, i64::MAX, 1 << 53, -(1 << 53), (1 << 53) + 1]);
            prop_oneof![any::<i64>(), edges].prop_map(Value::S64).boxed()
        }
        Type::U64 => {
            let edges = prop::sample::select(vec![0, 127, 128, u64::MAX, 1 << 53, (1 << 53) + 1]);
            prop_oneof![any::<u64>(), edges].prop_map(Value::U64).boxed()
        }
        Type::F32 => {
            let any = f32::NORMAL | f32::SUBNORMAL | f32::ZERO | f32::INFINITE | f32::POSITIVE | f32::NEGATIVE;
            prop_oneof![any, (-1000..1000_i16).prop_map(|whole| f32::from(whole) / 4.0)].prop_map(Value::F32).boxed()
        }
        Type::F64 => {
            let any = f64::NORMAL | f64::SUBNORMAL | f64::ZERO | f64::INFINITE | f64::POSITIVE | f64::NEGATIVE;
            prop_oneof![any, (-1000..1000_i16).prop_map(|whole| f64::from(whole) / 4.0)].prop_map(Value::F64).boxed()
        }
        Type::Char => any::<char>().prop_map(Value::Char).boxed(),
        Type::String => prop_oneof![
            any::<String>(),
            prop::collection::vec(any::<char>(), 0..20).prop_map(|chars| chars.into_iter().collect()),
            "[ -~\\n\\t\"'\\\\]{0,200}",
        ]
        .prop_map(Value::String)
        .boxed(),
        Type::Def(_) => unreachable!("a primitive"),
    }
}

/// The type in a table.
pub fn build(types: &mut SignatureBuilder, shape: &Shape) -> Type {
    match shape {
        Shape::Primitive(ty) => *ty,
        Shape::List(item) => {
            let item = build(types, item);
            types.list(item)
        }
        Shape::Option(inner) => {
            let inner = build(types, inner);
            types.option(inner)
        }
        Shape::Tuple(shapes) => {
            let shapes: Vec<Type> = shapes.iter().map(|shape| build(types, shape)).collect();
            types.tuple(shapes)
        }
        Shape::Record(fields) => {
            let fields: Vec<_> = fields.iter().map(|(name, shape)| (name.as_str(), build(types, shape))).collect();
            types.record(fields)
        }
        Shape::Variant(cases) => {
            let case = |(name, shape): &(String, Option<Shape>)| {
                (name.clone(), shape.as_ref().map(|shape| build(types, shape)))
            };
            let cases: Vec<_> = cases.iter().map(case).collect();
            types.variant(cases.iter().map(|(name, ty)| (name.as_str(), *ty)))
        }
        Shape::Enum(names) => types.enumeration(names.iter().map(String::as_str)),
        Shape::Flags(names) => types.flags(names.iter().map(String::as_str)),
        Shape::Result(ok, err) => {
            let ok = ok.as_ref().map(|shape| build(types, shape));
            let err = err.as_ref().map(|shape| build(types, shape));
            types.result(ok, err)
        }
    }
}

/// A function of these parameters, with the first one's type as its result.
pub fn signature(shapes: &[Shape]) -> Signature {
    let mut types = SignatureBuilder::new();
    let params: Vec<_> =
        shapes.iter().enumerate().map(|(at, shape)| (format!("p{at}"), build(&mut types, shape))).collect();
    let result = params.first().map(|(_, ty)| *ty);
    types.function(params.iter().map(|(name, ty)| (name.as_str(), *ty)), result).unwrap()
}

/// Parameter types, and arguments for them.
pub fn call() -> impl Strategy<Value = (Vec<Shape>, Vec<Value>)> {
    prop::collection::vec(shape(), 0..4).prop_flat_map(|shapes| {
        let values: Vec<_> = shapes.iter().map(value).collect();
        (Just(shapes), values)
    })
}
