//! The slow way, by `wasmtime::component::Val`: what the quick one is compared with.
//!
//! It shares nothing with the walks but postcard's format: it goes by wasmtime's public types, and lets wasmtime lower
//! and lift.

use wasmtime::component::types::{ComponentFunc, Type};
use wasmtime::component::{Func, Val};
use wasmtime::{Result, Store, bail, format_err};

/// Calls an export with postcard bytes.
pub async fn call<T: Send>(store: &mut Store<T>, func: &Func, args: &[u8]) -> Result<Vec<u8>> {
    let ty: ComponentFunc = func.ty(&*store);
    let mut rest = args;
    let params = ty.params().map(|(_, ty)| decode(&ty, &mut rest)).collect::<Result<Vec<_>>>()?;
    if !rest.is_empty() {
        bail!("bytes are left over");
    }
    let mut results = vec![Val::Bool(false); ty.results().len()];
    func.call_async(&mut *store, &params, &mut results).await?;
    let mut out = Vec::new();
    for (ty, result) in ty.results().zip(&results) {
        encode(&ty, result, &mut out)?;
    }
    Ok(out)
}

fn scalar<'a, S: serde::Deserialize<'a>>(bytes: &mut &'a [u8]) -> Result<S> {
    let (value, rest) = postcard::take_from_bytes(bytes)?;
    *bytes = rest;
    Ok(value)
}

/// A value from the front of bytes.
pub fn decode(ty: &Type, bytes: &mut &[u8]) -> Result<Val> {
    Ok(match ty {
        Type::Bool => Val::Bool(scalar(bytes)?),
        Type::S8 => Val::S8(scalar(bytes)?),
        Type::U8 => Val::U8(scalar(bytes)?),
        Type::S16 => Val::S16(scalar(bytes)?),
        Type::U16 => Val::U16(scalar(bytes)?),
        Type::S32 => Val::S32(scalar(bytes)?),
        Type::U32 => Val::U32(scalar(bytes)?),
        Type::S64 => Val::S64(scalar(bytes)?),
        Type::U64 => Val::U64(scalar(bytes)?),
        Type::Float32 => Val::Float32(scalar(bytes)?),
        Type::Float64 => Val::Float64(scalar(bytes)?),
        Type::Char => {
            // postcard itself takes the first of several.
            let text: &str = scalar(bytes)?;
            let mut chars = text.chars();
            match (chars.next(), chars.next()) {
                (Some(only), None) => Val::Char(only),
                _ => bail!("a char is one char"),
            }
        }
        Type::String => Val::String(scalar(bytes)?),
        Type::List(list) => {
            let count: usize = scalar(bytes)?;
            Val::List((0..count).map(|_| decode(&list.ty(), bytes)).collect::<Result<_>>()?)
        }
        Type::Tuple(tuple) => Val::Tuple(tuple.types().map(|ty| decode(&ty, bytes)).collect::<Result<_>>()?),
        Type::Record(record) => {
            let mut field = |name: &str, ty: &Type| Ok((name.to_owned(), decode(ty, bytes)?));
            Val::Record(record.fields().map(|f| field(f.name, &f.ty)).collect::<Result<_>>()?)
        }
        Type::Variant(variant) => {
            let index: u32 = scalar(bytes)?;
            let case = variant.cases().nth(index as usize).ok_or_else(|| format_err!("no case {index}"))?;
            Val::Variant(case.name.to_owned(), payload(case.ty, bytes)?)
        }
        Type::Enum(names) => {
            let index: u32 = scalar(bytes)?;
            let name = names.names().nth(index as usize).ok_or_else(|| format_err!("no case {index}"))?;
            Val::Enum(name.to_owned())
        }
        Type::Option(option) => match scalar(bytes)? {
            0_u32 => Val::Option(None),
            1 => Val::Option(payload(Some(option.ty()), bytes)?),
            index => bail!("no case {index}"),
        },
        Type::Result(result) => match scalar(bytes)? {
            0_u32 => Val::Result(Ok(payload(result.ok(), bytes)?)),
            1 => Val::Result(Err(payload(result.err(), bytes)?)),
            index => bail!("no case {index}"),
        },
        Type::Flags(flags) => {
            let count = flags.names().len();
            let (bits, rest) = bytes.split_at_checked(count.div_ceil(8)).ok_or_else(|| format_err!("too short"))?;
            *bytes = rest;
            let set = |n: usize| bits[n / 8] >> (n % 8) & 1 == 1;
            if (count..bits.len() * 8).any(set) {
                bail!("bits beyond the flags");
            }
            Val::Flags(flags.names().enumerate().filter(|(n, _)| set(*n)).map(|(_, name)| name.to_owned()).collect())
        }
        _ => bail!("no value"),
    })
}

fn payload(ty: Option<Type>, bytes: &mut &[u8]) -> Result<Option<Box<Val>>> {
    ty.map(|ty| decode(&ty, bytes).map(Box::new)).transpose()
}

/// A value's bytes.
pub fn encode(ty: &Type, value: &Val, out: &mut Vec<u8>) -> Result<()> {
    match (ty, value) {
        (Type::Bool, Val::Bool(v)) => put(v, out),
        (Type::S8, Val::S8(v)) => put(v, out),
        (Type::U8, Val::U8(v)) => put(v, out),
        (Type::S16, Val::S16(v)) => put(v, out),
        (Type::U16, Val::U16(v)) => put(v, out),
        (Type::S32, Val::S32(v)) => put(v, out),
        (Type::U32, Val::U32(v)) => put(v, out),
        (Type::S64, Val::S64(v)) => put(v, out),
        (Type::U64, Val::U64(v)) => put(v, out),
        (Type::Float32, Val::Float32(v)) => put(v, out),
        (Type::Float64, Val::Float64(v)) => put(v, out),
        (Type::Char, Val::Char(v)) => put(v, out),
        (Type::String, Val::String(v)) => put(v, out),
        (Type::List(list), Val::List(items)) => {
            put(&items.len(), out)?;
            items.iter().try_for_each(|item| encode(&list.ty(), item, out))
        }
        (Type::Tuple(tuple), Val::Tuple(items)) => {
            tuple.types().zip(items).try_for_each(|(ty, item)| encode(&ty, item, out))
        }
        (Type::Record(record), Val::Record(fields)) => {
            record.fields().zip(fields).try_for_each(|(field, (_, value))| encode(&field.ty, value, out))
        }
        (Type::Variant(variant), Val::Variant(name, value)) => {
            let found = variant.cases().enumerate().find(|(_, case)| case.name == name);
            let (index, case) = found.ok_or_else(|| format_err!("no case {name}"))?;
            encode_case(index, case.ty, value.as_deref(), out)
        }
        (Type::Enum(names), Val::Enum(name)) => {
            let index = names.names().position(|n| n == name).ok_or_else(|| format_err!("no case {name}"))?;
            encode_case(index, None, None, out)
        }
        (Type::Option(option), Val::Option(value)) => {
            encode_case(usize::from(value.is_some()), Some(option.ty()), value.as_deref(), out)
        }
        (Type::Result(result), Val::Result(Ok(value))) => encode_case(0, result.ok(), value.as_deref(), out),
        (Type::Result(result), Val::Result(Err(value))) => encode_case(1, result.err(), value.as_deref(), out),
        (Type::Flags(flags), Val::Flags(set)) => {
            let mut bits = vec![0_u8; flags.names().len().div_ceil(8)];
            for (n, _) in flags.names().enumerate().filter(|(_, name)| set.iter().any(|s| s == name)) {
                bits[n / 8] |= 1 << (n % 8);
            }
            out.extend(bits);
            Ok(())
        }
        _ => bail!("a value of another type"),
    }
}

fn encode_case(index: usize, ty: Option<Type>, value: Option<&Val>, out: &mut Vec<u8>) -> Result<()> {
    put(&(index as u32), out)?;
    match (ty, value) {
        (Some(ty), Some(value)) => encode(&ty, value, out),
        _ => Ok(()),
    }
}

fn put(value: &impl serde::Serialize, out: &mut Vec<u8>) -> Result<()> {
    out.extend(postcard::to_stdvec(value)?);
    Ok(())
}
