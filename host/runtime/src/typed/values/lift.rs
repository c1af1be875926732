//! From a guest: what its core values and its memory hold, as [`Value`]s.

use crate::typed::arguments::Parameter;
use bytes::Bytes;
use lattice_protocol::value::Value;
use std::slice::Iter;
use wasmtime::component::__internal::wasmtime_environ::component::VariantInfo;
use wasmtime::component::__internal::{CanonicalAbiInfo, InterfaceType, LiftContext};
use wasmtime::component::{ComponentType, Lift};
use wasmtime::{Result, ValRaw, bail, format_err};

/// Where a value lies.
pub(super) enum Source<'place, 'call> {
    /// In the next core values.
    Flat(&'place mut Iter<'call, ValRaw>),
    /// In the memory, at this offset.
    Memory(usize),
}

impl<'call> Source<'_, 'call> {
    /// Where the next one of several lies.
    fn next(&mut self, abi: &CanonicalAbiInfo) -> Source<'_, 'call> {
        match self {
            Self::Flat(values) => Source::Flat(values),
            Self::Memory(offset) => Source::Memory(abi.next_field32_size(offset)),
        }
    }
}

/// One value after the other.
pub(super) fn all(
    cx: &mut LiftContext<'_>,
    types: &[InterfaceType],
    from: Source<'_, '_>,
) -> Result<Vec<Value>> {
    fields(cx, types.iter().copied(), from)
}

/// The same, but what is a list of bytes or a text stays where it is.
pub(super) fn parameters(
    cx: &mut LiftContext<'_>,
    types: &[InterfaceType],
    from: Source<'_, '_>,
) -> Result<Vec<Parameter>> {
    each(cx, types.iter().copied(), from, parameter)
}

fn parameter(cx: &mut LiftContext<'_>, ty: InterfaceType, from: Source<'_, '_>) -> Result<Parameter> {
    Ok(match ty {
        InterfaceType::String => Parameter::Text(pair(cx, ty, from)?),
        InterfaceType::List(index) if cx.types[index].element == InterfaceType::U8 => {
            Parameter::Octets(pair(cx, ty, from)?)
        }
        _ => Parameter::Value(value(cx, ty, from)?),
    })
}

fn fields(
    cx: &mut LiftContext<'_>,
    types: impl ExactSizeIterator<Item = InterfaceType>,
    from: Source<'_, '_>,
) -> Result<Vec<Value>> {
    each(cx, types, from, value)
}

fn each<V>(
    cx: &mut LiftContext<'_>,
    types: impl ExactSizeIterator<Item = InterfaceType>,
    mut from: Source<'_, '_>,
    one: impl Fn(&mut LiftContext<'_>, InterfaceType, Source<'_, '_>) -> Result<V>,
) -> Result<Vec<V>> {
    cx.consume_fuel_array(types.len(), size_of::<V>())?;
    let mut values = Vec::with_capacity(types.len());
    for ty in types {
        let place = from.next(cx.types.canonical_abi(&ty));
        values.push(one(cx, ty, place)?);
    }
    Ok(values)
}

fn value(cx: &mut LiftContext<'_>, ty: InterfaceType, from: Source<'_, '_>) -> Result<Value> {
    let types = cx.types;
    Ok(match ty {
        InterfaceType::Bool => Value::Bool(plain(cx, ty, from)?),
        InterfaceType::S8 => Value::S8(plain(cx, ty, from)?),
        InterfaceType::U8 => Value::U8(plain(cx, ty, from)?),
        InterfaceType::S16 => Value::S16(plain(cx, ty, from)?),
        InterfaceType::U16 => Value::U16(plain(cx, ty, from)?),
        InterfaceType::S32 => Value::S32(plain(cx, ty, from)?),
        InterfaceType::U32 => Value::U32(plain(cx, ty, from)?),
        InterfaceType::S64 => Value::S64(plain(cx, ty, from)?),
        InterfaceType::U64 => Value::U64(plain(cx, ty, from)?),
        InterfaceType::Float32 => Value::F32(plain(cx, ty, from)?),
        InterfaceType::Float64 => Value::F64(plain(cx, ty, from)?),
        InterfaceType::Char => Value::Char(plain(cx, ty, from)?),
        InterfaceType::String => Value::String(pair(cx, ty, from)?),
        InterfaceType::List(index) => match types[index].element {
            InterfaceType::U8 => Value::Bytes(Bytes::from(pair::<Vec<u8>>(cx, ty, from)?)),
            element => Value::List(list(cx, element, from)?),
        },
        InterfaceType::Record(index) => {
            Value::Record(fields(cx, types[index].fields.iter().map(|field| field.ty), from)?)
        }
        InterfaceType::Tuple(index) => Value::Tuple(fields(cx, types[index].types.iter().copied(), from)?),
        InterfaceType::Variant(index) => {
            let ty = &types[index];
            let payload = |number| ty.cases.get_index(number).map(|(_, payload)| *payload);
            let (number, payload) = case(cx, (&ty.abi, &ty.info), payload, from)?;
            Value::Variant(number, payload)
        }
        InterfaceType::Enum(index) => {
            let ty = &types[index];
            let payload = |number| (number < ty.names.len()).then_some(None);
            Value::Enum(case(cx, (&ty.abi, &ty.info), payload, from)?.0)
        }
        InterfaceType::Option(index) => {
            let ty = &types[index];
            let payload = |number| [None, Some(ty.ty)].get(number).copied();
            Value::Option(case(cx, (&ty.abi, &ty.info), payload, from)?.1)
        }
        InterfaceType::Result(index) => {
            let ty = &types[index];
            let payload = |number| [ty.ok, ty.err].get(number).copied();
            Value::Result(match case(cx, (&ty.abi, &ty.info), payload, from)? {
                (0, payload) => Ok(payload),
                (_, payload) => Err(payload),
            })
        }
        InterfaceType::Flags(index) => {
            let ty = &types[index];
            Value::Flags(flags(cx, ty.names.len(), &ty.abi, from)?)
        }
        other => bail!("{other:?} cannot cross between actors"),
    })
}

fn next(values: &mut Iter<'_, ValRaw>) -> Result<ValRaw> {
    values.next().copied().ok_or_else(|| format_err!("a core value is missing"))
}

fn slice(memory: &[u8], at: usize, length: usize) -> Result<&[u8]> {
    let part = memory.get(at..).and_then(|rest| rest.get(..length));
    part.ok_or_else(|| format_err!("pointer out of bounds of memory"))
}

/// Is a place of the memory where such a value may lie?
pub(super) fn aligned(at: usize, abi: &CanonicalAbiInfo) -> Result<()> {
    if !at.is_multiple_of(usize::try_from(abi.align32)?) {
        bail!("pointer not aligned");
    }
    Ok(())
}

fn stored<V: Lift>(cx: &mut LiftContext<'_>, ty: InterfaceType, at: usize) -> Result<V> {
    let part = slice(cx.memory(), at, V::SIZE32)?;
    V::linear_lift_from_memory(cx, ty, part)
}

/// A value that is one core value.
fn plain<V: Lift + ComponentType<Lower = ValRaw>>(
    cx: &mut LiftContext<'_>,
    ty: InterfaceType,
    from: Source<'_, '_>,
) -> Result<V> {
    match from {
        Source::Flat(values) => V::linear_lift_from_flat(cx, ty, &next(values)?),
        Source::Memory(at) => stored(cx, ty, at),
    }
}

/// A value that is a pointer and a length.
fn pair<V: Lift + ComponentType<Lower = [ValRaw; 2]>>(
    cx: &mut LiftContext<'_>,
    ty: InterfaceType,
    from: Source<'_, '_>,
) -> Result<V> {
    match from {
        Source::Flat(values) => V::linear_lift_from_flat(cx, ty, &[next(values)?, next(values)?]),
        Source::Memory(at) => stored(cx, ty, at),
    }
}

fn list(cx: &mut LiftContext<'_>, element: InterfaceType, from: Source<'_, '_>) -> Result<Vec<Value>> {
    let (at, length) = match from {
        Source::Flat(values) => (next(values)?.get_u32(), next(values)?.get_u32()),
        Source::Memory(at) => {
            (stored(cx, InterfaceType::U32, at)?, stored(cx, InterfaceType::U32, at.saturating_add(4))?)
        }
    };
    let (at, length) = (usize::try_from(at)?, usize::try_from(length)?);
    let abi = cx.types.canonical_abi(&element);
    let size = usize::try_from(abi.size32)?;
    aligned(at, abi)?;
    slice(cx.memory(), at, length.saturating_mul(size))?;
    fields(cx, std::iter::repeat_n(element, length), Source::Memory(at))
}

/// Which case it is, and its payload. `payloads` tells a case's payload, and nothing for a case that
/// there is not.
fn case(
    cx: &mut LiftContext<'_>,
    (abi, info): (&CanonicalAbiInfo, &VariantInfo),
    payloads: impl FnOnce(usize) -> Option<Option<InterfaceType>>,
    from: Source<'_, '_>,
) -> Result<(u32, Option<Box<Value>>)> {
    let number = match &from {
        Source::Flat(values) => next(&mut values.as_slice().iter())?.get_u32(),
        Source::Memory(at) => match usize::from(info.size) {
            1 => stored::<u8>(cx, InterfaceType::U8, *at)?.into(),
            2 => stored::<u16>(cx, InterfaceType::U16, *at)?.into(),
            _ => stored(cx, InterfaceType::U32, *at)?,
        },
    };
    let payload = payloads(usize::try_from(number)?);
    let payload = payload.ok_or_else(|| format_err!("there is no case {number}"))?;
    cx.consume_fuel_array(payload.iter().len(), size_of::<Value>())?;
    let mut inside = |ty: Option<InterfaceType>, from: Source<'_, '_>| {
        ty.map(|ty| value(cx, ty, from).map(Box::new)).transpose()
    };
    let payload = match from {
        Source::Flat(values) => {
            // All cases take as many core values as the largest.
            let all = values.as_slice().get(..abi.flat_count(usize::MAX).unwrap_or(0));
            let all = all.ok_or_else(|| format_err!("a core value is missing"))?;
            for _ in all {
                next(values)?;
            }
            let mut own = all.iter();
            next(&mut own)?;
            inside(payload, Source::Flat(&mut own))?
        }
        Source::Memory(at) => {
            let at = at.saturating_add(usize::try_from(info.payload_offset32)?);
            inside(payload, Source::Memory(at))?
        }
    };
    Ok((number, payload))
}

fn flags(
    cx: &mut LiftContext<'_>,
    names: usize,
    abi: &CanonicalAbiInfo,
    from: Source<'_, '_>,
) -> Result<Vec<bool>> {
    cx.consume_fuel(names)?;
    let octets: Vec<u8> = match from {
        Source::Flat(values) => {
            let words: Vec<ValRaw> = values.by_ref().take(names.div_ceil(32)).copied().collect();
            words.iter().flat_map(|word| word.get_u32().to_le_bytes()).collect()
        }
        Source::Memory(at) => slice(cx.memory(), at, usize::try_from(abi.size32)?)?.to_vec(),
    };
    let bit = |number: usize| octets.get(number / 8).map(|octet| octet >> (number % 8) & 1 == 1);
    (0..names).map(bit).collect::<Option<_>>().ok_or_else(|| format_err!("a core value is missing"))
}
