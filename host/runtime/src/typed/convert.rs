//! Between wasmtime's values, which calls of the concurrent profile take and give, and ours. Wasmtime names
//! cases, fields and flags; we number them: the type has the names.

use bytes::Bytes;
use lattice_protocol::value::{Case, Field, MAX_DEPTH, Signature, Type, Value};
use lattice_protocol::{ErrorCode, Report};
use std::borrow::Borrow;
use wasmtime::component::Val;
use wasmtime::component::types::{self, ComponentFunc};

/// Types in one signature, nested ones included: shared types are counted each time they occur, so
/// a small binary cannot describe an enormous type.
const MAX_TYPES: usize = 10_000;

/// The type of a function as other hosts understand it.
///
/// # Errors
/// `E_FEATURE` for what cannot cross, `E_LIMIT` or `E_NESTING` for what is too large.
pub(crate) fn signature_of(function: &ComponentFunc) -> Result<Signature, Report> {
    let mut left = MAX_TYPES;
    let params = function
        .params()
        .map(|(name, ty)| Ok((name.to_owned(), type_of(&ty, &mut left, 0)?)))
        .collect::<Result<_, Report>>()?;
    let results = function.results().map(|ty| type_of(&ty, &mut left, 0)).collect::<Result<_, _>>()?;
    Ok(Signature { params, results })
}

/// Do caller and callee know a function by the same type? Names of parameters do not matter.
pub(super) fn same(left: &Signature, right: &Signature) -> bool {
    left.params.len() == right.params.len()
        && left.params.iter().zip(&right.params).all(|((_, left), (_, right))| left == right)
        && left.results == right.results
}

fn type_of(ty: &types::Type, left: &mut usize, depth: usize) -> Result<Type, Report> {
    if depth > MAX_DEPTH {
        return Err(Report::new(ErrorCode::Nesting, "type nested too deep").limit(MAX_DEPTH));
    }
    *left = left.checked_sub(1).ok_or_else(|| {
        Report::new(ErrorCode::Limit, "type too large for a call between actors").limit(MAX_TYPES)
    })?;
    let mut inner = |ty: &types::Type| type_of(ty, left, depth + 1);
    let optional = |ty: Option<Type>| ty.map(Box::new);
    Ok(match ty {
        types::Type::Bool => Type::Bool,
        types::Type::S8 => Type::S8,
        types::Type::U8 => Type::U8,
        types::Type::S16 => Type::S16,
        types::Type::U16 => Type::U16,
        types::Type::S32 => Type::S32,
        types::Type::U32 => Type::U32,
        types::Type::S64 => Type::S64,
        types::Type::U64 => Type::U64,
        types::Type::Float32 => Type::F32,
        types::Type::Float64 => Type::F64,
        types::Type::Char => Type::Char,
        types::Type::String => Type::String,
        types::Type::List(list) => Type::list(inner(&list.ty())?),
        types::Type::Record(record) => Type::Record(
            record
                .fields()
                .map(|field| Ok(Field { name: field.name.to_owned(), ty: inner(&field.ty)? }))
                .collect::<Result<_, Report>>()?,
        ),
        types::Type::Tuple(tuple) => {
            Type::Tuple(tuple.types().map(|ty| inner(&ty)).collect::<Result<_, _>>()?)
        }
        types::Type::Variant(variant) => Type::Variant(
            variant
                .cases()
                .map(|case| {
                    let ty = case.ty.map(|ty| inner(&ty)).transpose()?;
                    Ok(Case { name: case.name.to_owned(), ty })
                })
                .collect::<Result<_, Report>>()?,
        ),
        types::Type::Enum(names) => Type::Enum(names.names().map(str::to_owned).collect()),
        types::Type::Flags(names) => Type::Flags(names.names().map(str::to_owned).collect()),
        types::Type::Option(option) => Type::option(inner(&option.ty())?),
        types::Type::Result(result) => {
            let ok = result.ok().map(|ty| inner(&ty)).transpose()?;
            let err = result.err().map(|ty| inner(&ty)).transpose()?;
            Type::Result { ok: optional(ok), err: optional(err) }
        }
        other => {
            return Err(Report::new(
                ErrorCode::Feature,
                "resources, streams and futures cannot cross between actors",
            )
            .got(format!("{other:?}").chars().take(80).collect::<String>())
            .hint("pass values, or an id that the callee understands"));
        }
    })
}

fn unlike(ty: &Type) -> Report {
    Report::new(ErrorCode::Internal, "value is not of its type").limit(ty)
}

/// Wasmtime's values as ours.
pub(crate) fn from_vals<'t>(
    values: &[Val],
    types: impl IntoIterator<Item = &'t Type>,
) -> Result<Vec<Value>, Report> {
    values.iter().zip(types).map(|(value, ty)| from_val(value, ty)).collect()
}

/// Our values as wasmtime takes them.
pub(crate) fn to_vals<'t>(
    values: &[impl Borrow<Value>],
    types: impl IntoIterator<Item = &'t Type>,
) -> Result<Vec<Val>, Report> {
    values.iter().zip(types).map(|(value, ty)| to_val(value.borrow(), ty)).collect()
}

fn from_val(value: &Val, ty: &Type) -> Result<Value, Report> {
    let boxed = |value: &Option<Box<Val>>, ty: &Option<Box<Type>>| match (value, ty) {
        (Some(value), Some(ty)) => from_val(value, ty).map(|value| Some(Box::new(value))),
        (None, None) => Ok(None),
        _ => Err(unlike(&Type::Result { ok: ty.clone(), err: None })),
    };
    Ok(match (value, ty) {
        (Val::Bool(value), Type::Bool) => Value::Bool(*value),
        (Val::S8(value), Type::S8) => Value::S8(*value),
        (Val::U8(value), Type::U8) => Value::U8(*value),
        (Val::S16(value), Type::S16) => Value::S16(*value),
        (Val::U16(value), Type::U16) => Value::U16(*value),
        (Val::S32(value), Type::S32) => Value::S32(*value),
        (Val::U32(value), Type::U32) => Value::U32(*value),
        (Val::S64(value), Type::S64) => Value::S64(*value),
        (Val::U64(value), Type::U64) => Value::U64(*value),
        (Val::Float32(value), Type::F32) => Value::F32(*value),
        (Val::Float64(value), Type::F64) => Value::F64(*value),
        (Val::Char(value), Type::Char) => Value::Char(*value),
        (Val::String(value), Type::String) => Value::String(value.clone()),
        (Val::List(items), Type::List(element)) if **element == Type::U8 => Value::Bytes(octets(items, ty)?),
        (Val::List(items), Type::List(element)) => {
            Value::List(items.iter().map(|item| from_val(item, element)).collect::<Result<_, _>>()?)
        }
        (Val::Record(fields), Type::Record(types)) if fields.len() == types.len() => Value::Record(
            fields
                .iter()
                .zip(types)
                .map(|((_, value), field)| from_val(value, &field.ty))
                .collect::<Result<_, _>>()?,
        ),
        (Val::Tuple(items), Type::Tuple(types)) if items.len() == types.len() => Value::Tuple(
            items.iter().zip(types).map(|(item, ty)| from_val(item, ty)).collect::<Result<_, _>>()?,
        ),
        (Val::Variant(name, payload), Type::Variant(cases)) => {
            let (number, case) = position(cases, |case| case.name == *name).ok_or_else(|| unlike(ty))?;
            let payload = match (payload, &case.ty) {
                (Some(payload), Some(ty)) => Some(Box::new(from_val(payload, ty)?)),
                (None, None) => None,
                _ => return Err(unlike(ty)),
            };
            Value::Variant(number, payload)
        }
        (Val::Enum(name), Type::Enum(names)) => {
            Value::Enum(position(names, |known| known == name).ok_or_else(|| unlike(ty))?.0)
        }
        (Val::Option(value), Type::Option(some)) => {
            Value::Option(value.as_ref().map(|value| from_val(value, some).map(Box::new)).transpose()?)
        }
        (Val::Result(Ok(value)), Type::Result { ok, .. }) => Value::Result(Ok(boxed(value, ok)?)),
        (Val::Result(Err(value)), Type::Result { err, .. }) => Value::Result(Err(boxed(value, err)?)),
        (Val::Flags(set), Type::Flags(names)) => {
            Value::Flags(names.iter().map(|name| set.contains(name)).collect())
        }
        _ => return Err(unlike(ty)),
    })
}

fn octets(items: &[Val], ty: &Type) -> Result<Bytes, Report> {
    let octet = |item: &Val| match item {
        Val::U8(octet) => Ok(*octet),
        _ => Err(unlike(ty)),
    };
    items.iter().map(octet).collect::<Result<Vec<u8>, _>>().map(Bytes::from)
}

fn position<T>(items: &[T], wanted: impl Fn(&T) -> bool) -> Option<(u32, &T)> {
    (0u32..).zip(items).find(|(_, item)| wanted(item))
}

fn nth<'t, T>(items: &'t [T], number: u32, ty: &Type) -> Result<&'t T, Report> {
    usize::try_from(number).ok().and_then(|number| items.get(number)).ok_or_else(|| unlike(ty))
}

fn to_val(value: &Value, ty: &Type) -> Result<Val, Report> {
    let boxed = |value: &Option<Box<Value>>, inner: &Option<Box<Type>>| match (value, inner) {
        (Some(value), Some(inner)) => to_val(value, inner).map(|value| Some(Box::new(value))),
        (None, None) => Ok(None),
        _ => Err(unlike(ty)),
    };
    Ok(match (value, ty) {
        (Value::Bool(value), Type::Bool) => Val::Bool(*value),
        (Value::S8(value), Type::S8) => Val::S8(*value),
        (Value::U8(value), Type::U8) => Val::U8(*value),
        (Value::S16(value), Type::S16) => Val::S16(*value),
        (Value::U16(value), Type::U16) => Val::U16(*value),
        (Value::S32(value), Type::S32) => Val::S32(*value),
        (Value::U32(value), Type::U32) => Val::U32(*value),
        (Value::S64(value), Type::S64) => Val::S64(*value),
        (Value::U64(value), Type::U64) => Val::U64(*value),
        (Value::F32(value), Type::F32) => Val::Float32(*value),
        (Value::F64(value), Type::F64) => Val::Float64(*value),
        (Value::Char(value), Type::Char) => Val::Char(*value),
        (Value::String(value), Type::String) => Val::String(value.clone()),
        (Value::Bytes(octets), Type::List(element)) if **element == Type::U8 => {
            Val::List(octets.iter().map(|octet| Val::U8(*octet)).collect())
        }
        (Value::List(items), Type::List(element)) => {
            Val::List(items.iter().map(|item| to_val(item, element)).collect::<Result<_, _>>()?)
        }
        (Value::Record(values), Type::Record(fields)) if values.len() == fields.len() => Val::Record(
            values
                .iter()
                .zip(fields)
                .map(|(value, field)| Ok((field.name.clone(), to_val(value, &field.ty)?)))
                .collect::<Result<_, Report>>()?,
        ),
        (Value::Tuple(values), Type::Tuple(types)) if values.len() == types.len() => Val::Tuple(
            values.iter().zip(types).map(|(value, ty)| to_val(value, ty)).collect::<Result<_, _>>()?,
        ),
        (Value::Variant(number, payload), Type::Variant(cases)) => {
            let case = nth(cases, *number, ty)?;
            let payload = match (payload, &case.ty) {
                (Some(payload), Some(ty)) => Some(Box::new(to_val(payload, ty)?)),
                (None, None) => None,
                _ => return Err(unlike(ty)),
            };
            Val::Variant(case.name.clone(), payload)
        }
        (Value::Enum(number), Type::Enum(names)) => Val::Enum(nth(names, *number, ty)?.clone()),
        (Value::Option(value), Type::Option(some)) => {
            Val::Option(value.as_ref().map(|value| to_val(value, some).map(Box::new)).transpose()?)
        }
        (Value::Result(Ok(value)), Type::Result { ok, .. }) => Val::Result(Ok(boxed(value, ok)?)),
        (Value::Result(Err(value)), Type::Result { err, .. }) => Val::Result(Err(boxed(value, err)?)),
        (Value::Flags(bits), Type::Flags(names)) if bits.len() == names.len() => Val::Flags(
            names.iter().zip(bits).filter(|(_, set)| **set).map(|(name, _)| name.clone()).collect(),
        ),
        _ => return Err(unlike(ty)),
    })
}
